//! The mount namespace to begin with. To make one is to copy the one that we are
//! in, at a price for every mount in it; so init enters a bare one first, which
//! has next to nothing in it.
//!
//! Linux 7.0 makes such a one. Before that the kernel has one all the same: its
//! thread that keeps devtmpfs took one of its own while the kernel started
//! (drivers/base/devtmpfs.c), as the first ever, so it comes right after that of
//! the other threads. Init copies it at once.
//!
//! Nothing in it matters. The container's root is attached on its `/`, and what
//! lies below goes with the old root. All that the container is made of is a
//! detached tree by then (see [`super::open`]), and needs no path of the host.

use super::mount;
use crate::error::{Context, Result};
use crate::plan::namespaces::Kind;
use crate::sys::namespace::{join, next_mount_namespace};
use crate::sys::process::unshare;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};

/// A bare mount namespace.
#[derive(Debug)]
pub struct Bare {
    file: OwnedFd,
    /// Whether it was made for us alone.
    own: bool,
}

/// `PID_NS_INIT_INO`, linux/nsfs.h: the number of the first pid namespace.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
/// More than any kernel mounts there; a copy of that many costs nothing.
const FEW: u32 = 8;

impl Bare {
    /// Finds one. `None` where the kernel has none for us: then the host's
    /// mounts are copied.
    pub fn find(proc: BorrowedFd<'_>) -> Option<Self> {
        if let Ok(file) = mount::namespace_of_root() {
            return Some(Self { file, own: true });
        }
        let pid_namespace = statat(proc, "self/ns/pid", AtFlags::empty()).ok()?;
        if pid_namespace.st_ino != FIRST_PID_NAMESPACE {
            return None; // its process 2 is not the parent of the kernel's threads
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let first = openat(proc, "2/ns/mnt", flags, Mode::empty()).ok()?;
        let (file, mounts) = next_mount_namespace(first.as_fd()).ok()?;
        (mounts <= FEW).then_some(Self { file, own: false })
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
