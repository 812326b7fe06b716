//! Small files in few calls: std asks for size and position first, and reads
//! what procfs shows in pieces of 32 bytes.

use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Result, retry_on_intr};
use rustix::path::Arg;
use std::path::Path;
use std::sync::OnceLock;

/// Most files that are read here are smaller.
const ROOM: usize = 4000;

/// The whole content of the file at `path` below `dir`.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read_at(dir: BorrowedFd<'_>, path: impl Arg) -> Result<Vec<u8>> {
    read_until(dir, path, 0)
}

/// The same of a file that the kernel makes, with short lines, or of one on a
/// local disk: they fill what they are given, the former with whole lines, so a
/// read of less than half of it was the last.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read_short_at(dir: BorrowedFd<'_>, path: impl Arg) -> Result<Vec<u8>> {
    read_until(dir, path, ROOM / 2)
}

/// As [`read_short_at`], by an absolute path.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read_short(path: impl Arg) -> Result<Vec<u8>> {
    read_short_at(CWD, path)
}

fn read_until(dir: BorrowedFd<'_>, path: impl Arg, end: usize) -> Result<Vec<u8>> {
    let file = openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    loop {
        text.reserve(ROOM);
        if retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut text)))? <= end {
            return Ok(text);
        }
    }
}

/// Where cgroups are mounted on every usual host.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// A path with the directory to walk from: `/sys/fs/cgroup`, opened once in a
/// process, for all below it. A walk from `/` to there takes the lock of sysfs in
/// each directory (`kernfs_dop_revalidate`), and waits for it while the devices of
/// anybody's new network namespace are registered: for who walks there often.
pub fn near(path: &(impl AsRef<Path> + ?Sized)) -> (BorrowedFd<'static>, &Path) {
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
