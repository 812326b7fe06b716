//! A session keyring of the container's own, so that it can neither see nor
//! fill the one of the user who started it (session-keyring(7)).

use crate::error::{Context, Error, Result};
use crate::sys::keyring;
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::CString;

/// `KEY_USR_SEARCH`: lets the processes of the container find the keyring
/// by its user permissions (linux/key.h).
const USER_SEARCH: u32 = 0x0008_0000;

/// What the name finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A keyring of its own for a new container.
    New,
    /// That of the container, for a further process.
    Own,
}

/// The name of a container's keyring. Names are shared by all users of a user
/// namespace, and who makes one of a name first is joined by it: so part of it
/// cannot be guessed.
pub fn name(id: &str, word: &str) -> String {
    format!("_ses.{id}.{word}")
}

/// Joins the session keyring of that name.
///
/// # Errors
/// Those of keyctl(2), but for a kernel without keyrings; a keyring that somebody
/// else has made.
pub fn join(name: &str, expected: Expected) -> Result<()> {
    join_keyring(name, expected).map_err(explain)
}

/// Docker's filter denies keyctl(2) to a container, and so to a runtime in it.
fn explain(error: Error) -> Error {
    error.hint_on(Errno::PERM, "create or run with --no-new-keyring does without").hint_on(
        Errno::DQUOT,
        "the keys of this user are too many (sysctl kernel.keys.maxkeys, root_maxkeys); \
             create or run with --no-new-keyring makes none",
    )
}

fn join_keyring(name: &str, expected: Expected) -> Result<()> {
    let text = CString::new(name).map_err(|_| Error::new("id: contains NUL"))?;
    let key = match keyring::join_session(&text) {
        Err(Errno::NOSYS) => return Ok(()),
        result => result.call(|| format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name})"))?,
    };
    let description = keyring::describe(key).call(|| "keyctl(KEYCTL_DESCRIBE)".into())?;
    let parsed = parse(&description);
    let (uid, mask) = parsed
        .filter(|_| description.ends_with(name))
        .ok_or_else(|| Error::new(format!("keyctl(KEYCTL_DESCRIBE): {description:?}")))?;
    if uid != geteuid().as_raw() {
        return Err(Error::new(format!("session keyring {name}: uid {uid} has made it")));
    }
    if expected == Expected::New
        && keyring::size(key).call(|| format!("keyctl(KEYCTL_READ, {name})"))? != 0
    {
        return Err(Error::new(format!("session keyring {name}: it is not new")));
    }
    keyring::set_permissions(key, mask | USER_SEARCH).call(|| "keyctl(KEYCTL_SETPERM)".into())
}

/// Owner and permissions of a keyring, of `type;uid;gid;perm;name`.
fn parse(description: &str) -> Option<(u32, u32)> {
    let mut fields = description.split(';');
    let is_keyring = fields.next()? == "keyring";
    let uid = fields.next()?.parse().ok()?;
    let mask = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
    is_keyring.then_some((uid, mask))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn owner_and_permissions_are_found() {
        assert_eq!(parse("keyring;7;8;3f130000;_ses.a;b"), Some((7, 0x3f13_0000)));
        for wrong in ["", "user;7;8;3f130000;_ses.a", "keyring;7;8", "keyring;x;8;1;n"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
