//! Small files in few calls: std asks for size and position first, and reads
//! what procfs shows in pieces of 32 bytes.

use crate::error::Error;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::path::Arg;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Most files that are read here are smaller.
const BUFFER: usize = 4000;

/// The most that is read of a file. Engines' configurations have less than 1 MiB.
pub const MAX_FILE: usize = 16 << 20;
/// How long whoever writes into a pipe may take, in seconds.
const PIPE_TIMEOUT: u64 = 30;

/// The whole content of the file at `path` below `dir`.
///
/// # Errors
/// Those of open(2) and read(2); `EFBIG` for more than [`MAX_FILE`] bytes.
pub fn read_at(dir: BorrowedFd<'_>, path: impl Arg) -> Result<Vec<u8>> {
    read_until(dir, path, 0)
}

/// The same of a file that the kernel makes, with short lines, or of one on a
/// local disk: they fill what they are given, the former with whole lines, so a
/// read of less than half of it was the last.
///
/// # Errors
/// As [`read_at`].
pub fn read_short_at(dir: BorrowedFd<'_>, path: impl Arg) -> Result<Vec<u8>> {
    read_until(dir, path, BUFFER / 2)
}

/// As [`read_short_at`], by an absolute path.
///
/// # Errors
/// As [`read_at`].
pub fn read_short(path: impl Arg) -> Result<Vec<u8>> {
    read_short_at(CWD, path)
}

/// `/proc/self/stat`, read once, for what does not change in it or was before us
/// (`proc_pid_stat(5)`).
///
/// # Errors
/// As [`read_at`].
pub fn own_stat() -> Result<&'static [u8]> {
    static READ: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(known) = READ.get() {
        return Ok(known);
    }
    let text = read_short("/proc/self/stat")?;
    Ok(READ.get_or_init(|| text))
}

fn read_until(dir: BorrowedFd<'_>, path: impl Arg, end: usize) -> Result<Vec<u8>> {
    // A pipe in the place of a file is empty then, and keeps nobody waiting.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(dir, path, flags, Mode::empty())?;
    let mut text = Vec::new();
    loop {
        text.reserve(BUFFER);
        if retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut text)))? <= end {
            return Ok(text);
        }
        if text.len() > MAX_FILE {
            return Err(Errno::FBIG);
        }
    }
}

/// The content of a file that the caller names: one on disk, or a pipe.
///
/// # Errors
/// As [`read_at`]; `ETIMEDOUT` for a pipe into which nobody writes.
pub fn read_given(dir: BorrowedFd<'_>, path: impl Arg) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(dir, path, flags, Mode::empty())?;
    let mut text = Vec::new();
    let mut until = None;
    loop {
        text.reserve(BUFFER);
        match retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut text))) {
            Ok(0) if text.is_empty() && until.is_none() && is_fifo(&file)? => {}
            Ok(0) => return Ok(text),
            Ok(_) if text.len() > MAX_FILE => return Err(Errno::FBIG),
            Ok(_) => continue,
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        // Only a pipe comes here: one into which nobody has written yet.
        let until =
            *until.get_or_insert_with(|| Instant::now() + Duration::from_secs(PIPE_TIMEOUT));
        let left = until.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let ready = retry_on_intr(|| poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&wait)))?;
        if ready == 0 || left.is_zero() {
            return Err(Errno::TIMEDOUT);
        }
    }
}

/// Says what has to be known of [`MAX_FILE`] and of pipes.
pub fn explain(error: Error) -> Error {
    error
        .hint_on(Errno::FBIG, format!("at most {} MiB are read", MAX_FILE >> 20))
        .hint_on(Errno::TIMEDOUT, format!("nobody wrote into it for {PIPE_TIMEOUT} s"))
}

fn is_fifo(file: &OwnedFd) -> Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Fifo)
}

/// All that comes from a stream.
///
/// # Errors
/// As [`read_at`].
pub fn read_stream(stream: impl AsFd) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        text.reserve(BUFFER);
        match retry_on_intr(|| rustix::io::read(&stream, spare_capacity(&mut text)))? {
            0 => return Ok(text),
            _ if text.len() > MAX_FILE => return Err(Errno::FBIG),
            _ => {}
        }
    }
}

/// Where cgroups are mounted on every usual host.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Splits a path below `/sys/fs/cgroup` into a descriptor of that directory, opened once in a
/// process, and the rest. A walk from `/` takes the lock of sysfs in each directory
/// (`kernfs_dop_revalidate`), which is contended while network namespaces are created.
pub fn from_cgroup_root(path: &(impl AsRef<Path> + ?Sized)) -> (BorrowedFd<'static>, &Path) {
    static OPENED: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || openat(CWD, CGROUPS, flags, Mode::empty()).ok();
    let path = path.as_ref();
    match path.strip_prefix(CGROUPS).ok().filter(|below| !below.as_os_str().is_empty()) {
        Some(below) => match OPENED.get_or_init(open) {
            Some(dir) => (dir.as_fd(), below),
            None => (CWD, path),
        },
        None => (CWD, path),
    }
}

/// A type of file system, by its number in linux/magic.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Magic {
    /// Terminals.
    Devpts = 0x1cd1,
    /// pidfds, each with an inode of its own (Linux 6.9).
    Pidfs = 0x5049_4446,
    /// Memory, gone with this boot.
    Tmpfs = 0x0102_1994,
}

/// Whether a file is on a file system of that type.
///
/// # Errors
/// Those of fstatfs(2).
pub fn is_on(file: impl AsFd, magic: Magic) -> Result<bool> {
    #[allow(clippy::cast_possible_truncation)] // its type is not the same everywhere
    Ok(rustix::fs::fstatfs(file)?.f_type as u32 == magic as u32)
}

/// File systems in which a file is a view of the kernel, by their numbers in linux/magic.h:
/// to read one may drain it, wait, or show what is not the reader's. FUSE and overlay are
/// not among them, for images lie on both.
const VIEWS: &[u32] = &[
    0x0027_e0eb, // cgroup
    0x0765_5821, // resctrl
    0x0000_1cd1, // devpts
    0x1980_0202, // mqueue
    0x4249_4e4d, // binfmt_misc
    0x4341_5d53, // smackfs
    0x5049_4446, // pidfs
    0x6165_676c, // pstore
    0x6265_6570, // configfs
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x6e73_6673, // nsfs
    0x7363_6673, // securityfs
    0x7472_6163, // tracefs
    0xcafe_4a11, // bpf
    0xde5e_81e4, // efivarfs
    0xf97c_ff8c, // selinuxfs
    0x0000_9fa0, // proc
];

/// Whether a file is such a view, and not what somebody has written.
///
/// # Errors
/// Those of fstatfs(2).
pub fn is_view(file: impl AsFd) -> Result<bool> {
    #[allow(clippy::cast_possible_truncation)] // its type is not the same everywhere
    let magic = rustix::fs::fstatfs(file)?.f_type as u32;
    Ok(VIEWS.contains(&magic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn no_file_is_read_without_end() {
        assert_eq!(read_given(CWD, "/dev/zero").unwrap_err(), Errno::FBIG);
        assert_eq!(read_at(CWD, "/dev/zero").unwrap_err(), Errno::FBIG);
        let zero = std::fs::File::open("/dev/zero").unwrap();
        assert_eq!(read_stream(zero).unwrap_err(), Errno::FBIG);
        assert!(read_given(CWD, "/dev/null").unwrap().is_empty());
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let text = vec![b'x'; 100_000];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Waits until the reader is there.
                std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(&text)
            });
            assert_eq!(read_given(CWD, &path).unwrap(), text);
        });
    }
}
