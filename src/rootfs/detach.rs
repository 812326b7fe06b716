//! The end of a tree that was built in the runtime's own mount namespace.

use crate::error::{Context, Error, Result};
use crate::sys::mount::mount_id;
use crate::sys::mountinfo;
use rustix::fd::{AsFd as _, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::path::Path;

/// Takes the mount with this id off `path`, and all that hangs on it. Where it is not
/// in our mount namespace, it is gone already, or has gone with the one it was in.
///
/// # Errors
/// If something else has been mounted upon it, or those of umount(2).
pub fn detach(path: &Path, id: u64) -> Result<()> {
    let show = path.display();
    if let Some(root) = open(path).call(|| format!("open {show}"))?
        && mount_id(root.as_fd()).call(|| format!("statx {show}"))? == id
    {
        // By the descriptor: the path may lead elsewhere by now.
        let by_fd = format!("/proc/self/fd/{}", root.as_raw_fd());
        return unmount(by_fd, UnmountFlags::DETACH).call(|| format!("umount {show}"));
    }
    if is_listed(id)? {
        return Err(Error::new(format!("umount {show}: another mount lies upon the container's")));
    }
    Ok(())
}

fn open(path: &Path) -> rustix::io::Result<Option<OwnedFd>> {
    match openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Whether a mount with this id is in our mount namespace (`proc_pid_mountinfo(5)`).
fn is_listed(id: u64) -> Result<bool> {
    Ok(mountinfo::rows(&mountinfo::read()?).any(|row| row.id == id))
}
