//! The host's view, for a child that has a mount namespace of its own.
//!
//! Since Linux 6.8 `/proc/PID/mountinfo` lists mounts in the order in which they came
//! into being, not in that of their mounting. A copy of a host's mount that the parent
//! makes is older than every file system that the child makes; so those that come later
//! in the configuration are copied in their turn, by the child, who goes back to the
//! runtime's mount namespace for it.

use crate::error::{Context as _, Result};
use crate::plan::namespaces::Kind;
use crate::sys::namespace::{WayBack, join, own_mount_namespace};
use crate::sys::process::unshare;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};

/// The way there and back.
#[derive(Debug)]
pub(super) struct Host {
    host: OwnedFd,
    own: WayBack,
}

/// The mount namespace that we are in.
pub(super) fn mount_namespace(proc: BorrowedFd<'_>) -> Result<OwnedFd> {
    own_mount_namespace(proc).call(|| "open /proc/self/ns/mnt".into())
}

/// The way back to where we are.
pub(super) fn way_back(proc: BorrowedFd<'_>) -> Result<WayBack> {
    WayBack::note(proc).call(|| "open the root, the working directory and /proc/self/ns/mnt".into())
}

/// Goes back.
pub(super) fn go_back(way: &WayBack) -> Result<()> {
    way.go().call(|| "setns back to our own mount namespace".into())
}

/// Makes a copy of the mount namespace that we are in. What is mounted in it from here on
/// nobody else sees.
pub(super) fn enter_copy() -> Result<()> {
    unshare(Kind::Mount.flag()).call(|| "unshare the mount namespace".into())?;
    make_slave()
}

/// Our mounts do not reach the host; a slave, not private, so that the host's unmounts reach
/// us and we pin nothing of it.
pub(super) fn make_slave() -> Result<()> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).call(|| "make / rslave".into())
}

impl Host {
    /// From a namespace in which nothing has been mounted yet.
    pub(super) fn new(host: OwnedFd, proc: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self { host, own: way_back(proc)? })
    }

    /// Does something in the runtime's mount namespace; nothing if a security module
    /// forbids setns(2), so that ours is a copy.
    pub(super) fn visit(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        match join(self.host.as_fd(), Kind::Mount.flag()) {
            Err(Errno::PERM) => return Ok(()),
            joined => joined.call(|| "setns to the host's mount namespace".into())?,
        }
        let done = work();
        go_back(&self.own)?;
        done
    }
}

/// Does something in a copy of the mount namespace that we are in, which ends with it.
pub(super) fn in_a_copy<T>(proc: BorrowedFd<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let way = way_back(proc)?;
    let done = enter_copy().and_then(|()| work());
    go_back(&way)?;
    done
}
