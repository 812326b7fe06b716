//! Pid files: they lie where the caller wants them, maybe in a directory of many.

use super::dir::write_all;
use crate::error::{At, Context, Error, Result};
use crate::sys::random;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, linkat, lstat, open, rename, unlink};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

/// How often a pid file that comes back is replaced.
const MAX_ATTEMPTS: usize = 16;

/// Whether a pid file can be written there: to be asked before anything is made.
/// What is there is replaced by rename(2), so it must not be a device, and no link
/// that somebody has planted is taken for a place of the caller's choice.
///
/// # Errors
/// Something that is no regular file.
pub fn check_pid_file(path: Option<&Path>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let found = match lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        found => found.call(|| format!("stat {}", path.display())).at(|| "--pid-file")?,
    };
    let what = match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a fifo",
        FileType::Socket => "a socket",
        _ => "a device",
    };
    Err(Error::new(format!("{} is {what}, not a regular file", path.display()))
        .at("--pid-file")
        .hint("name a file that pinnace may create or replace"))
}

/// Writes the pid file: decimal, no newline, complete when it appears, as
/// conmon and containerd read it. It has no name until then (`O_TMPFILE`), so whoever
/// is killed here leaves nothing.
///
/// # Errors
/// Those of open(2), write(2) and linkat(2); as [`check_pid_file`].
pub fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let (call, at) = (|| format!("write {}", path.display()), || "--pid-file");
    if path.file_name().is_none() {
        return Err(Error::new(call()).at(at()).hint("it has no name"));
    }
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = match open(dir, flags, Mode::from_raw_mode(0o644)) {
        // open(2), "O_TMPFILE": the file system has none; EISDIR, EINVAL: as some of them say it.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return write_named(path, pid),
        file => file.call(call).at(at)?,
    };
    write_all(file.as_fd(), pid.to_string().as_bytes()).call(call).at(at)?;
    for _ in 0..MAX_ATTEMPTS {
        match link(&file, path) {
            // linkat(2) replaces nothing: what is there goes first.
            Err(Errno::EXIST) => check_pid_file(Some(path))?,
            linked => return linked.call(call).at(at),
        }
        match unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::os(call(), errno).at(at())),
        }
    }
    Err(Error::os(call(), Errno::EXIST)
        .at(at())
        .hint("somebody makes it as often as it is replaced"))
}

/// Gives a file its name. Root may name it by its descriptor, everybody by procfs
/// (linkat(2), "AT_EMPTY_PATH").
fn link(file: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    match linkat(file, "", CWD, path, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT) => {
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)
        }
        linked => linked,
    }
}

/// Where files without a name do not exist. The temporary is a new file beside it, of a
/// name that nobody can have taken, and goes if anything fails; only SIGKILL leaves it.
fn write_named(path: &Path, pid: i32) -> Result<()> {
    let call = || format!("write {}", path.display());
    let [word] = random::words().call(|| "getrandom".into())?;
    let temporary = path.with_file_name(format!(".pid.{word}"));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        open(&temporary, flags, Mode::from_raw_mode(0o644)).call(call).at(|| "--pid-file")?;
    let written = write_all(file.as_fd(), pid.to_string().as_bytes())
        .call(call)
        .at(|| "--pid-file")
        .and_then(|()| check_pid_file(Some(path)))
        .and_then(|()| rename(&temporary, path).call(call).at(|| "--pid-file"));
    written.map_err(|error| match unlink(&temporary) {
        Ok(()) | Err(Errno::NOENT) => error,
        left => error.and(left.call(|| format!("unlink {}", temporary.display()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_regular_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("decoy"), "untouched").unwrap();
        symlink(path("decoy"), path("link")).unwrap();
        fs::create_dir(path("directory")).unwrap();
        for (name, what) in [("link", "a symbolic link"), ("directory", "a directory")] {
            let writers = [check_pid_file(Some(&path(name))), write_pid_file(&path(name), 42)];
            for refused in writers.into_iter().chain([write_named(&path(name), 42)]) {
                assert!(refused.unwrap_err().to_string().contains(what), "{name}");
            }
        }
        let device = check_pid_file(Some(Path::new("/dev/null"))).unwrap_err().to_string();
        assert!(device.contains("/dev/null is a device"), "{device}");
        write_pid_file(&path("decoy"), 42).unwrap();
        write_pid_file(&path("new"), 42).unwrap();
        write_named(&path("decoy"), 43).unwrap();
        assert_eq!(fs::read_to_string(path("new")).unwrap(), "42");
        assert_eq!(fs::read_to_string(path("decoy")).unwrap(), "43");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "a temporary has stayed");
    }
}
