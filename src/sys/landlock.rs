//! Landlock (landlock(7)): a process gives up the file system but for a few directories, for
//! ever, without any privilege.

use super::errno::last_errno;
use super::seccomp::may_deny;
use rustix::io::Errno;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;
/// Links and renames between directories are judged, and not all denied, since version 2.
const NEEDED: i64 = 2;

/// `LANDLOCK_ACCESS_FS_READ_FILE` and `_READ_DIR`.
const READ: u64 = 1 << 2 | 1 << 3;
/// Rights over files by version: 13 at first, then REFER, TRUNCATE, IOCTL_DEV.
const RIGHTS: [(i64, u64); 4] = [(1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15)];
/// `LANDLOCK_ACCESS_FS_EXECUTE`.
const EXECUTE: u64 = 1;

/// `struct landlock_ruleset_attr`, as of version 4.
#[repr(C)]
struct Ruleset {
    access_fs: u64,
    access_net: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    parent: i32,
}

/// What may be done beneath a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// All but executing.
    Change,
}

/// Restricts this thread and those that it makes: no file but beneath these directories, no
/// network. `no_new_privs` must be set. False where the kernel cannot.
///
/// # Errors
/// Those of the calls, but for a kernel or a filter without them.
pub fn restrict(directories: &[(BorrowedFd<'_>, Access)]) -> Result<bool, Errno> {
    let none = std::ptr::null::<Ruleset>();
    // SAFETY: with this flag no memory is looked at.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    if version < 0 {
        return match last_errno() {
            // Not compiled in, or not switched on.
            Errno::NOSYS | Errno::OPNOTSUPP => Ok(false),
            errno if may_deny(errno) => Ok(false),
            errno => Err(errno),
        };
    }
    if version < NEEDED {
        return Ok(false);
    }
    let handled = RIGHTS.iter().filter(|(since, _)| *since <= version).map(|(_, bits)| bits);
    let handled = handled.fold(0, |all, bits| all | bits);
    // Binding and connecting by TCP.
    let ruleset = Ruleset { access_fs: handled, access_net: if version >= 4 { 3 } else { 0 } };
    let size = if version >= 4 { size_of::<Ruleset>() } else { size_of::<u64>() };
    // SAFETY: the structure outlives the call, and has at least `size` bytes.
    let fd =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size, 0) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let rules = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    for (directory, access) in directories {
        let access = match access {
            Access::Read => READ & handled,
            Access::Change => handled & !EXECUTE,
        };
        let rule = PathBeneath { access, parent: directory.as_raw_fd() };
        let fd = rules.as_raw_fd();
        // SAFETY: the structure outlives the call, both descriptors are open.
        let added = unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, fd, PATH_BENEATH, &raw const rule, 0)
        };
        if added != 0 {
            return Err(last_errno());
        }
    }
    // SAFETY: only takes a descriptor, which is open.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) } {
        0 => Ok(true),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;
    use std::os::fd::AsFd as _;

    #[test]
    fn who_is_shut_in_reaches_these_directories_alone() {
        let (own, read) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(read.path().join("a"), "a").unwrap();
        // A thread is restricted alone, and is gone afterwards.
        let shut_in = || {
            rustix::thread::set_no_new_privs(true).unwrap();
            let (a, b) =
                (fs::File::open(own.path()).unwrap(), fs::File::open(read.path()).unwrap());
            let all = [(a.as_fd(), Access::Change), (b.as_fd(), Access::Read)];
            if !restrict(&all).unwrap() {
                return;
            }
            fs::write(own.path().join("a"), "a").unwrap();
            fs::create_dir(own.path().join("d")).unwrap();
            fs::hard_link(own.path().join("a"), own.path().join("d/b")).unwrap();
            assert_eq!(fs::read(read.path().join("a")).unwrap(), b"a");
            for denied in [
                fs::write(read.path().join("a"), "b"),
                fs::remove_file(read.path().join("a")),
                fs::read("/etc/passwd").map(drop),
                fs::read_dir("/").map(drop),
                fs::write("/dev/null", ""),
                std::process::Command::new("/bin/true").status().map(drop),
            ] {
                assert_eq!(denied.unwrap_err().kind(), ErrorKind::PermissionDenied);
            }
        };
        std::thread::scope(|scope| scope.spawn(shut_in).join()).unwrap();
    }
}
