//! The host's view, for a child that has a mount namespace of its own.
//!
//! Since Linux 6.8 `/proc/PID/mountinfo` lists mounts in the order in which they came
//! into being, not in that of their mounting. A copy of a host's mount that the parent
//! makes is older than every file system that the child makes; so those that come later
//! in the configuration are copied in their turn, by the child, who goes back to the
//! runtime's mount namespace for it.

use crate::error::{Context as _, Result};
use crate::plan::namespaces::Kind;
use crate::sys::namespace::join;
use crate::sys::process::unshare;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{chroot, fchdir};

/// The way there and back.
#[derive(Debug)]
pub(super) struct Host {
    host: OwnedFd,
    own: OwnedFd,
    /// setns(2) ends in whatever lies upon the root of a mount namespace.
    root: OwnedFd,
}

/// The mount namespace that we are in.
pub(super) fn mount_namespace(proc: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat(proc, "self/ns/mnt", flags, Mode::empty()).call(|| "open /proc/self/ns/mnt".into())
}

impl Host {
    /// From a namespace in which nothing has been mounted yet.
    pub(super) fn new(host: OwnedFd, proc: BorrowedFd<'_>) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, "/", flags, Mode::empty()).call(|| "open /".into())?;
        Ok(Self { host, own: mount_namespace(proc)?, root })
    }

    /// Does something in the runtime's mount namespace; nothing if a security module
    /// forbids setns(2), so that ours is a copy. The working directory is the root
    /// afterwards.
    pub(super) fn visit(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        match join(self.host.as_fd(), Kind::Mount.flag()) {
            Err(Errno::PERM) => return Ok(()),
            joined => joined.call(|| "setns to the host's mount namespace".into())?,
        }
        let done = work();
        join(self.own.as_fd(), Kind::Mount.flag())
            .call(|| "setns to the container's mount namespace".into())?;
        fchdir(&self.root).call(|| "fchdir".into())?;
        chroot(".").call(|| "chroot".into())?;
        done
    }
}

/// Does something in a copy of the mount namespace that we are in, which ends with it: what is
/// mounted there nobody else sees. The working directory stays.
pub(super) fn in_a_copy<T>(proc: BorrowedFd<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = mount_namespace(proc)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path| openat(CWD, path, flags, Mode::empty()).call(|| format!("open {path}"));
    let (root, here) = (open("/")?, open(".")?);
    unshare(Kind::Mount.flag()).call(|| "unshare the mount namespace".into())?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    let done = mount_change("/", slave).call(|| "make / rslave".into()).and_then(|()| work());
    join(own.as_fd(), Kind::Mount.flag()).call(|| "setns to our own mount namespace".into())?;
    fchdir(&root).call(|| "fchdir".into())?;
    chroot(".").call(|| "chroot".into())?;
    fchdir(&here).call(|| "fchdir back".into())?;
    done
}
