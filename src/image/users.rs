//! The user of an image: numbers, or names that its own passwd(5) and group(5) know.

use super::merged::Merged;
use crate::error::{Error, Result};

/// The most bytes of a list of users or groups.
const MAX_LIST: u64 = 1 << 20;
/// The most groups that a user is in besides (`NGROUPS_MAX`).
const GROUPS: usize = 65_536;

/// Who a process is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home directory, if one is known.
    pub home: Option<String>,
}

/// Where lists are read.
pub trait Lists {
    /// A list; none if there is none.
    ///
    /// # Errors
    /// One that is too long, or no file.
    fn list(&self, path: &str) -> Result<Option<Vec<u8>>>;
}

impl Lists for Merged<'_> {
    fn list(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.read(path, MAX_LIST)
    }
}

/// The user that `text` names: `USER`, `UID`, with `:GROUP` or `:GID` (image-spec, config.md).
/// Numbers are taken as they are. A user without a group has those of the lists.
///
/// # Errors
/// A name that the lists do not have.
pub fn find(text: &str, lists: &impl Lists) -> Result<User> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let at = |error: Error| error.at(format!("User {text:?}"));
    let number = number(name).map_err(at)?;
    // Who gives both numbers needs no list, which may be the attacker's.
    let passwd = match (number, group) {
        (Some(_), Some(_)) => None,
        _ => lists.list("etc/passwd").map_err(at)?,
    };
    let passwd = passwd.unwrap_or_default();
    let mut rows = passwd.split(|byte| *byte == b'\n').filter_map(row::<7>);
    let found = rows.find(|row| match number {
        Some(uid) => id(row[2]) == Some(uid),
        None => row[0] == name,
    });
    let mut user = User::default();
    match (&found, number) {
        (_, Some(uid)) => user.uid = uid,
        (Some(row), None) => {
            let uid = id(row[2]);
            user.uid = uid.ok_or_else(|| at(Error::new("its row of /etc/passwd has no uid")))?;
        }
        (None, None) => {
            return Err(at(Error::new(format!("the image's /etc/passwd has no {name:?}")))
                .hint("--user UID:GID takes numbers instead"));
        }
    }
    if let Some(row) = &found {
        user.gid = id(row[3]).unwrap_or(0);
        user.home = Some(row[5].to_owned()).filter(|home| home.starts_with('/'));
    }
    match group {
        Some(group) => user.gid = group_of(group, lists).map_err(at)?,
        None if number.is_none() => user.groups = groups_of(name, lists).map_err(at)?,
        None => {}
    }
    Ok(user)
}

fn group_of(group: &str, lists: &impl Lists) -> Result<u32> {
    if let Some(gid) = number(group)? {
        return Ok(gid);
    }
    let text = lists.list("etc/group")?.unwrap_or_default();
    let mut rows = text.split(|byte| *byte == b'\n').filter_map(row::<4>);
    let found = rows.find(|row| row[0] == group).and_then(|row| id(row[2]));
    found.ok_or_else(|| {
        Error::new(format!("the image's /etc/group has no {group:?}"))
            .hint("--user UID:GID takes numbers instead")
    })
}

/// Those whose rows have the user among their members.
fn groups_of(name: &str, lists: &impl Lists) -> Result<Vec<u32>> {
    let text = lists.list("etc/group")?.unwrap_or_default();
    let rows = text.split(|byte| *byte == b'\n').filter_map(row::<4>);
    let mut groups: Vec<_> = rows
        .filter(|row| row[3].split(',').any(|member| member.trim() == name))
        .filter_map(|row| id(row[2]))
        .take(GROUPS)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// A row of so many fields.
fn row<const N: usize>(line: &[u8]) -> Option<[&str; N]> {
    let mut fields = [""; N];
    let mut parts = std::str::from_utf8(line).ok()?.split(':');
    for field in &mut fields {
        *field = parts.next()?;
    }
    Some(fields)
}

/// Digits alone are a number, and no name; one that wraps around would be root (CVE-2024-40635).
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty()
        || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        || text == "-"
    {
        return match text {
            "" => Err(Error::new("the group's name is empty")),
            _ => Ok(None),
        };
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('-') {
        return Ok(None);
    }
    match id(text) {
        Some(id) => Ok(Some(id)),
        None => Err(Error::new("from 0 to 4294967294 can be").at(format_args!("{text} is no id"))),
    }
}

fn id(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(&'static str, &'static str);
    impl Lists for Files {
        fn list(&self, path: &str) -> Result<Option<Vec<u8>>> {
            let text = if path == "etc/passwd" { self.0 } else { self.1 };
            Ok(Some(text.as_bytes().to_vec()))
        }
    }
    const FILES: Files = Files(
        "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:Web:/srv:/bin/false\n#x:y\nbad:x:-1:0::/:\n",
        "root:x:0:\nweb:x:34:\nssl:x:50:other,web\nmail:x:8:web\nhuge:x:4294967296:\n",
    );

    #[test]
    fn users_are_found_as_conversion_says() {
        let user = |uid, gid, groups: &[u32], home: Option<&str>| User {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.map(str::to_owned),
        };
        for (text, wanted) in [
            ("", user(0, 0, &[], Some("/root"))),
            ("web", user(33, 34, &[8, 50], Some("/srv"))),
            ("web:ssl", user(33, 50, &[], Some("/srv"))),
            ("web:7", user(33, 7, &[], Some("/srv"))),
            ("33", user(33, 34, &[], Some("/srv"))),
            ("4294967294:4294967294", user(u32::MAX - 1, u32::MAX - 1, &[], None)),
            ("1000", user(1000, 0, &[], None)),
            ("1000:web", user(1000, 34, &[], None)),
        ] {
            assert_eq!(find(text, &FILES).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn nobody_becomes_root_by_mistake() {
        for text in [
            "nobody",
            "web:nobody",
            "4294967296",
            "4294967295",
            "-1",
            "-1:0",
            "0:-1",
            "0:4294967296",
            "web:",
            "bad",
            "web:huge",
            "99999999999999999999",
        ] {
            find(text, &FILES).unwrap_err();
        }
    }
}
