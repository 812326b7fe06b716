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
