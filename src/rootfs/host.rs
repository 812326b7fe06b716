//! The host's view, for a child that has a mount namespace of its own.
//!
//! Since Linux 6.8 `/proc/PID/mountinfo` lists mounts in the order in which they were made,
//! not in that of their attachment. A copy of a host's mount that the parent makes is older
//! than every file system that the child makes. So the child copies those that come later in
//! the configuration, in the order of the mounts, and goes back to the runtime's mount
//! namespace for it.

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
    own: WayBack,
}

/// The way back to a mount namespace, with its root and working directory: setns(2) ends
/// in whatever lies upon the root of one.
#[derive(Debug)]
pub(super) struct WayBack {
    pub namespace: OwnedFd,
    root: OwnedFd,
    directory: OwnedFd,
}

impl WayBack {
    /// The way to where we are.
    pub fn note(proc: BorrowedFd<'_>) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path| openat(CWD, path, flags, Mode::empty()).call(|| format!("open {path}"));
        Ok(Self { namespace: mount_namespace(proc)?, root: open("/")?, directory: open(".")? })
    }

    /// Goes there, from wherever.
    pub fn go(&self) -> Result<()> {
        let call = || "setns back to our own mount namespace".into();
        join(self.namespace.as_fd(), Kind::Mount.flag()).call(call)?;
        fchdir(&self.root).call(|| "fchdir".into())?;
        chroot(".").call(|| "chroot".into())?;
        fchdir(&self.directory).call(|| "fchdir back".into())
    }
}

/// The mount namespace that we are in.
pub(super) fn mount_namespace(proc: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat(proc, "self/ns/mnt", flags, Mode::empty()).call(|| "open /proc/self/ns/mnt".into())
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
        Ok(Self { host, own: WayBack::note(proc)? })
    }

    /// Does something in the runtime's mount namespace; nothing if a security module
    /// forbids setns(2), so that ours is a copy.
    pub(super) fn visit(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        match join(self.host.as_fd(), Kind::Mount.flag()) {
            Err(Errno::PERM) => return Ok(()),
            joined => joined.call(|| "setns to the host's mount namespace".into())?,
        }
        let done = work();
        self.own.go()?;
        done
    }
}

/// Does something in a copy of the mount namespace that we are in, which ends with it.
pub(super) fn in_a_copy<T>(proc: BorrowedFd<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let way = WayBack::note(proc)?;
    let done = enter_copy().and_then(|()| work());
    way.go()?;
    done
}
