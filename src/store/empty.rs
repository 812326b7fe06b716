//! Emptying a container's directory.

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};

/// Removes what is in a directory and `goes`, by its very bytes. A container may have
/// made a deep tree in ours: each level is moved up, so that two are open at a time.
pub(super) fn empty(dir: BorrowedFd<'_>, goes: impl Fn(&CStr) -> bool) -> rustix::io::Result<()> {
    let mut todo = names(dir)?;
    todo.retain(|name| goes(name));
    let mut moved = 0;
    while let Some(name) = todo.pop() {
        match unlinkat(dir, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = openat(dir, &name, flags, Mode::empty())?;
        for inner in names(below.as_fd())? {
            match unlinkat(&below, &inner, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => todo.push(move_up(below.as_fd(), &inner, dir, &mut moved)?),
                Err(errno) => return Err(errno),
            }
        }
        unlinkat(dir, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// To a name that is free: a removal may have been interrupted here.
fn move_up(
    below: BorrowedFd<'_>,
    name: &CStr,
    dir: BorrowedFd<'_>,
    moved: &mut u32,
) -> rustix::io::Result<CString> {
    loop {
        *moved += 1;
        let up = CString::new(format!(".level.{moved}")).unwrap_or_default();
        match renameat(below, name, dir, &up) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            renamed => return renamed.map(|()| up),
        }
    }
}

/// The names in a directory, from its beginning.
fn names(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    rustix::fs::seek(dir, SeekFrom::Start(0))?;
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        match entry {
            // Somebody else has removed the directory.
            Err(Errno::NOENT) => break,
            entry => names.push(entry?.file_name().to_owned()),
        }
    }
    names.retain(|name| ![c".", c".."].contains(&name.as_c_str()));
    Ok(names)
}
