//! Small files in few calls: std asks for size and position first, and reads
//! what procfs shows in pieces of 32 bytes.

use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Result, retry_on_intr};
use rustix::path::Arg;

/// Most files that are read here are smaller.
const ROOM: usize = 4000;

/// The whole content of the file at `path` below `dir`.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read_at(dir: BorrowedFd<'_>, path: impl Arg) -> Result<Vec<u8>> {
    read_rest(openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The whole content of a file.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read(path: impl Arg) -> Result<Vec<u8>> {
    read_at(CWD, path)
}

/// From where an open file stands to its end.
///
/// # Errors
/// Those of read(2).
pub fn read_rest(file: impl AsFd) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(ROOM);
    loop {
        text.reserve(ROOM / 4);
        if retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut text)))? == 0 {
            return Ok(text);
        }
    }
}

/// Whether a file is on a devpts (`DEVPTS_SUPER_MAGIC` of linux/magic.h).
///
/// # Errors
/// Those of fstatfs(2).
pub fn is_devpts(file: impl AsFd) -> Result<bool> {
    #[allow(clippy::cast_possible_truncation)] // its type is not the same everywhere
    Ok(rustix::fs::fstatfs(file)?.f_type as u32 == 0x1cd1)
}
