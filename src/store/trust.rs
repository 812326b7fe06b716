//! Whom state is taken from. A record names processes to kill, mounts to take off
//! and hooks to run: whoever can write one has the privileges of the caller. So
//! nobody else may have made, or be able to replace, the state root, a directory
//! above it or a container's directory.

use crate::error::{At, Context, Error, Result};
use rustix::fs::{CWD, FileType, Mode, RawMode, Stat, lstat, readlinkat, stat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// Where root's state is by default. Directory and links above are the host's own.
pub const DEFAULT: &str = "/run/pinnace";

/// As many as the kernel follows (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// Whether the state root is there, once it is known that it may be used.
pub(super) fn root(path: &Path) -> Result<bool> {
    let found = if path == Path::new(DEFAULT) {
        match stat(path) {
            Err(Errno::NOENT) => None,
            found => Some(found.call(|| format!("stat {DEFAULT}"))?),
        }
    } else {
        walk(path)?
    };
    let Some(found) = found else { return Ok(false) };
    let way = "`chown` or `chmod go-w` it if all that is in it is yours, or give another --root";
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(Error::new(format!("{} is no directory", path.display())));
    }
    private(path, &found).hint(|| way)?;
    Ok(true)
}

/// Whether a container's directory may be used.
pub(super) fn container(path: &Path, found: &Stat) -> Result<()> {
    let way = "pinnace has not made it: remove it, or move it away";
    private(path, found).hint(|| way)
}

/// A directory of the caller or of root in which nobody else can write.
fn private(path: &Path, found: &Stat) -> Result<()> {
    let fail = |what: String| Err(Error::new(format!("{} {what}", path.display())));
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return fail("is no directory".into());
    }
    if !is_caller_or_root(found.st_uid) {
        return fail(format!("belongs to uid {}, not to the caller or to root", found.st_uid));
    }
    match others_may_write(found) {
        true => fail(format!("can be written by others, mode {:04o}", bits(found))),
        false => Ok(()),
    }
}

fn is_caller_or_root(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

fn others_may_write(found: &Stat) -> bool {
    Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP | Mode::WOTH)
}

fn bits(found: &Stat) -> RawMode {
    Mode::from_raw_mode(found.st_mode).as_raw_mode()
}

/// Whoever owns `/` has everything. In a user namespace without the host's root that
/// shows as the overflow id, and so do `/run` and `/tmp`.
fn owns_the_host(uid: u32, gid: u32) -> Result<(bool, bool)> {
    let host = stat("/").call(|| "stat /".into())?;
    Ok((uid == host.st_uid, gid == host.st_gid))
}

/// Of a directory above a state root: whoever may write in one can put another root in
/// the place of ours. In a sticky one, such as `/tmp`, only its owner replaces an entry:
/// that of the next level is looked at, too. The caller's own group is that of the
/// caller alone where umask 002 is usual.
fn check_above(path: &Path, found: &Stat) -> Result<()> {
    let refuse = |what: String| {
        let error = format!("{} {what}, who could replace what is in it", path.display());
        Err(Error::new(error).hint("give a --root below directories of root or of your own"))
    };
    let (uid, gid) = (found.st_uid, found.st_gid);
    if !is_caller_or_root(uid) && !owns_the_host(uid, gid)?.0 {
        return refuse(format!("belongs to uid {uid}"));
    }
    let mode = Mode::from_raw_mode(found.st_mode);
    if mode.contains(Mode::SVTX) || !others_may_write(found) {
        return Ok(());
    }
    let own_group = gid == 0 || gid == getegid().as_raw() || owns_the_host(uid, gid)?.1;
    match mode.contains(Mode::WOTH) || !own_group {
        true => refuse(format!("can be written by others (mode {:04o})", bits(found))),
        false => Ok(()),
    }
}

/// Goes down from `/`, links followed, and looks at each directory below that, as
/// OpenSSH's StrictModes does. The last one is returned, if it is there.
fn walk(path: &Path) -> Result<Option<Stat>> {
    let look = |path: &Path| match lstat(path) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some).call(|| format!("stat {}", path.display())),
    };
    let mut at = PathBuf::from("/");
    let mut found = None;
    let mut todo = names(path);
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if let Some(found) = &found {
            check_above(&at, found)?;
        }
        let next = if name == ".." {
            at.parent().unwrap_or(Path::new("/")).to_owned()
        } else {
            at.join(&name)
        };
        let Some(next_found) = look(&next)? else { return Ok(None) };
        if FileType::from_raw_mode(next_found.st_mode) != FileType::Symlink {
            (at, found) = (next, Some(next_found));
            continue;
        }
        let (owner, group) = (next_found.st_uid, next_found.st_gid);
        if !is_caller_or_root(owner) && !owns_the_host(owner, group)?.0 {
            return Err(Error::new(format!("{} is a link of uid {owner}", next.display()))
                .hint("give a --root without links of others"));
        }
        links += 1;
        if links > LINKS {
            return Err(Error::os(path.display().to_string(), Errno::LOOP));
        }
        let target =
            readlinkat(CWD, &next, Vec::new()).call(|| format!("readlink {}", next.display()))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            (at, found) = (PathBuf::from("/"), None);
        }
        todo.extend(names(&target));
    }
    Ok(found)
}

/// The names in a path, last first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_root_is_private_and_nobody_can_replace_it() {
        let dir = tempfile::tempdir().unwrap();
        let (above, state) = (dir.path().join("a"), dir.path().join("a/state"));
        assert!(!root(&state).unwrap(), "it is not there yet");
        create_dir(&above).unwrap();
        create_dir(&state).unwrap();
        for (above_mode, state_mode, good) in [
            (0o755, 0o700, true),
            (0o755, 0o1711, true),
            (0o1777, 0o700, true),
            (0o777, 0o700, false),
            (0o755, 0o777, false),
            (0o755, 0o1777, false),
            (0o755, 0o720, false),
        ] {
            mode(&above, above_mode);
            mode(&state, state_mode);
            assert_eq!(root(&state).is_ok(), good, "{above_mode:o} {state_mode:o}");
        }
    }

    #[test]
    fn links_on_the_way_are_followed_and_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        create_dir(&real).unwrap();
        create_dir(real.join("state")).unwrap();
        symlink("./real/../real", &link).unwrap();
        assert!(root(&link.join("state")).unwrap());
        mode(&real, 0o777);
        let error = root(&link.join("state")).unwrap_err().to_string();
        assert!(error.contains("real can be written by others (mode 0777)"), "{error}");
        symlink("round", dir.path().join("round")).unwrap();
        assert_eq!(root(&dir.path().join("round")).unwrap_err().errno(), Some(Errno::LOOP));
    }
}
