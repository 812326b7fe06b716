//! Finds the program, the working directory and HOME inside the container,
//! before `create` returns, so that a mistake is found early.

use crate::error::{At, Context, Error, Result};
use crate::plan::Process;
use crate::rootfs::Root;
use crate::sys::file::is_view;
use crate::sys::process::is_program;
use crate::sys::resolve;
use rustix::fs::{FileType, OFlags, ResolveFlags, fstat, stat};
use rustix::io::Errno;
use rustix::process::fchdir;
use std::ffi::{CStr, CString};
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};

/// What execvp(3) falls back to, and the peers.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The largest /etc/passwd that is looked at; the image may hold anything.
const PASSWD: u64 = 1 << 20;

/// Resolves `process.args[0]` with execvp(3)'s rules. This process has the ids, groups and
/// capabilities that execve(2) will be called with, so the kernel gives the same answer: a
/// file that only root may execute is not a program for others, unless they may override that.
///
/// # Errors
/// In the words that engines turn into their exit codes 126 and 127.
pub fn find(process: &Process) -> Result<CString> {
    match process.args.first() {
        Some(name) => search(process, name),
        None => Err(Error::new("is empty").at("process.args")),
    }
}

fn search(process: &Process, name: &CStr) -> Result<CString> {
    let shown = name.to_string_lossy();
    if name.to_bytes().contains(&b'/') {
        return is_program(name)
            .call(|| format!("exec: {shown:?}: stat {shown}"))
            .at(|| "process.args[0]")
            .map(|()| name.to_owned())
            .map_err(|error| match stat(name).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                Ok(FileType::Directory) => error.hint("it is a directory"),
                Err(Errno::NOENT) if has_blank(name) => error.hint(ONE_WORD),
                _ => error,
            });
    }
    let path = variable(process, "PATH").unwrap_or(DEFAULT_PATH);
    let mut denied = false;
    let mut hint = format!("PATH is {path}");
    if has_blank(name) {
        hint = format!("{ONE_WORD}; {hint}");
    }
    for folder in path.split(':').filter(|_| !name.is_empty()) {
        let folder = if folder.is_empty() { "." } else { folder };
        let candidate = [folder.as_bytes(), b"/", name.to_bytes()].concat();
        let Ok(candidate) = CString::new(candidate) else { continue };
        match is_program(&candidate) {
            Ok(()) => return Ok(candidate),
            // Who may not search a directory does not know what is in it.
            Err(Errno::ACCESS) if stat(&*candidate).is_err() => {
                hint = format!("{hint}; user {} may not search {folder}", process.uid);
            }
            Err(errno) => denied |= errno == Errno::ACCESS,
        }
    }
    let fail = format!("exec: {shown:?}");
    if denied {
        return Err(Error::os(fail, Errno::ACCESS).at("process.args[0]"));
    }
    let error = Error::new("executable file not found in $PATH").at(fail);
    Err(error.at("process.args[0]").hint(hint))
}

/// For who has written a command line into one string.
const ONE_WORD: &str = "it has a blank: each word is an entry of its own";

fn has_blank(name: &CStr) -> bool {
    name.to_bytes().contains(&b' ')
}

fn variable<'a>(process: &'a Process, name: &str) -> Option<&'a str> {
    let value = |entry: &'a CString| entry.to_str().ok()?.strip_prefix(name)?.strip_prefix('=');
    process.env.iter().find_map(value)
}

/// Makes the working directory of a new container if it is missing. That comes before
/// anything becomes read-only, and with the rights of root of the container.
///
/// # Errors
/// If it cannot be made.
pub fn make_directory(root: &Root, process: &Process) -> Result<()> {
    if process.cwd == "/" {
        return Ok(());
    }
    root.make_directory(&process.cwd).at(|| "process.cwd").map_err(|error| {
        let why = match error.errno() {
            Some(Errno::ROFS) => "what it would lie in is read-only",
            Some(Errno::ACCESS | Errno::PERM) => "root of the container may not make it",
            _ => return error,
        };
        error.hint(format!("it is missing, and {why}"))
    })
}

/// Goes to the working directory, found inside `root` and never through a link
/// of procfs, which could lead to a directory of the host (CVE-2024-21626).
/// Returns whether root of the container may: else [`change_directory_as_user`]
/// is for later. In a user namespace root has no rights over what other ids have a part in.
///
/// # Errors
/// If it is missing, or no directory.
pub fn change_directory(root: &Root, process: &Process) -> Result<bool> {
    match enter(root, process) {
        Err(error) if matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM)) => Ok(false),
        entered => entered.map(|()| true),
    }
}

/// The second attempt, when this process has the ids, groups and capabilities of the user.
///
/// # Errors
/// If the user may not enter it, either.
pub fn change_directory_as_user(process: &Process) -> Result<()> {
    enter(&Root::current()?, process).map_err(|error| match error.errno() {
        Some(Errno::ACCESS | Errno::PERM) => {
            let uid = process.uid;
            error.hint(format!("neither root of the container nor user {uid} may enter it"))
        }
        _ => error,
    })
}

fn enter(root: &Root, process: &Process) -> Result<()> {
    let call = || format!("chdir {}", process.cwd);
    let directory = root.existing(&process.cwd).call(call).at(|| "process.cwd")?;
    fchdir(&directory).call(call).at(|| "process.cwd")
}

/// HOME of the user by the container's /etc/passwd, for an environment without
/// one; `/` if it is not listed there.
pub fn home(root: &Root, process: &Process) -> Option<CString> {
    if variable(process, "HOME").is_some_and(|home| !home.is_empty()) {
        return None;
    }
    let home = passwd(root.fd())
        .and_then(|text| home_of(&text, process.uid).map(str::to_owned))
        .unwrap_or_else(|| "/".into());
    CString::new(format!("HOME={home}")).ok()
}

/// The image made that file, and the container may change it while `exec` reads it. A link
/// of the image leads to any file of its own file system, but not across a mount: not to
/// /proc/kmsg, which would be drained, nor to another process's environment. Only an engine
/// mounts /etc or /etc/passwd itself, and then no link may be in it.
fn passwd(root: BorrowedFd<'_>) -> Option<String> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    match read_plain(root, "etc/passwd", inside) {
        Err(Errno::XDEV) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let etc = resolve::open(root, "etc", flags, how).ok()?;
            let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            read_plain(etc.as_fd(), "passwd", how).ok()?
        }
        text => text.ok()?,
    }
}

/// The beginning of a regular file that somebody has written; `None` for any other. What is
/// opened for reading is first looked at by `O_PATH`, which does nothing to a device or a
/// fifo, and is read only if it is still the same.
fn read_plain(
    dir: BorrowedFd<'_>,
    path: &str,
    how: ResolveFlags,
) -> rustix::io::Result<Option<String>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let seen = fstat(&resolve::open(dir, path, flags, how)?)?;
    if FileType::from_raw_mode(seen.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = resolve::open(dir, path, flags, how)?;
    let stat = fstat(&file)?;
    if (stat.st_dev, stat.st_ino) != (seen.st_dev, seen.st_ino) || is_view(&file)? {
        return Ok(None);
    }
    let limit = u64::try_from(stat.st_size).unwrap_or(0).min(PASSWD);
    let mut text = Vec::new();
    let read = std::fs::File::from(file).take(limit).read_to_end(&mut text);
    Ok(read.is_ok().then(|| String::from_utf8_lossy(&text).into_owned()))
}

fn home_of(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.nth(2)?.parse::<u32>().ok()? == uid;
        let home = fields.nth(2)?;
        (found && !home.is_empty()).then_some(home)
    })
}

#[cfg(test)]
mod tests {
    use super::home_of;

    #[test]
    fn the_home_is_the_sixth_field() {
        let passwd = "bad\nroot:x:0:0:root:/root:/bin/sh\napp:x:7:7::/srv:/bin/sh\n";
        assert_eq!(home_of(passwd, 0), Some("/root"));
        assert_eq!(home_of(passwd, 7), Some("/srv"));
        assert_eq!(home_of(passwd, 8), None);
    }
}
