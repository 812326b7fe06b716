//! The mount namespace to begin with. To make one is to copy the one that we are
//! in, at a price for every mount in it; so init enters a bare one first, which
//! has next to nothing in it.
//!
//! Linux 7.0 makes such a one. Before that the kernel has one all the same: its
//! thread that keeps devtmpfs took one of its own while the kernel started
//! (drivers/base/devtmpfs.c). Of all that were ever made it is the second, and so
//! it is found; init copies it at once.
//!
//! What is in it does not matter. The container's root is attached on its `/`,
//! and the rest goes with the old root. All that the container is made of is a
//! detached tree by then (see [`super::open`]), and needs no path of the host.

use super::mount;
use crate::error::{Context, Result};
use crate::plan::namespaces::Kind;
use crate::sys::namespace::{join, newer_mount_namespace, older_mount_namespace};
use crate::sys::process::unshare;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// A bare mount namespace.
#[derive(Debug)]
pub struct Bare {
    file: OwnedFd,
    /// Whether it was made for us alone.
    own: bool,
}

/// From our own mount namespace to the first there is hardly a step for an engine
/// on a host; each costs 2 us.
const STEPS: usize = 64;
/// More than any kernel mounts there; a copy of that many costs nothing.
const FEW: u32 = 8;

impl Bare {
    /// Finds one. `None` where the kernel has none for us: then the host's
    /// mounts are copied.
    pub fn find(proc: BorrowedFd<'_>) -> Option<Self> {
        if let Ok(file) = mount::namespace_of_root() {
            return Some(Self { file, own: true });
        }
        let file = second(proc).ok()??;
        Some(Self { file, own: false })
    }

    /// In init, which has no mount namespace of its own yet: begins in the bare
    /// one. `false` if that may not be entered, and the host's was copied.
    ///
    /// # Errors
    /// Those of unshare(2).
    pub fn enter(self) -> Result<bool> {
        let entered = join(self.file.as_fd(), Kind::Mount.flag()).is_ok();
        if !(entered && self.own) {
            unshare(Kind::Mount.flag())
                .call(|| "linux.namespaces: unshare the mount namespace".into())?;
        }
        Ok(entered)
    }
}

/// The second of all mount namespaces, if it is bare and the first is not far.
fn second(proc: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut first = openat(proc, "self/ns/mnt", flags, Mode::empty())?;
    for _ in 0..STEPS {
        match older_mount_namespace(first.as_fd()) {
            Ok(older) => first = older,
            Err(Errno::NOENT) => {
                let (second, mounts) = newer_mount_namespace(first.as_fd())?;
                return Ok((mounts <= FEW).then_some(second));
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}
