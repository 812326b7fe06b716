//! The mount namespace to begin with. To make one is to copy the one that we are
//! in, at a price for every mount in it; so init enters a bare one first, which
//! has next to nothing in it.
//!
//! Linux 7.0 makes such a one. Before that the kernel has one all the same: its
//! thread that keeps devtmpfs took one of its own while the kernel started
//! (drivers/base/devtmpfs.c). Of all that were ever made it is the second, and so
//! it is found, or by that thread, before Linux 6.12; init copies it at once.
//!
//! That is checked, for the number of a namespace proves nothing: it must belong to the
//! first user namespace, have next to no mounts, and a root that is devtmpfs. What else is
//! in it does not matter. The container's root is attached on its `/`, and the rest goes
//! with the old root. All that the container is made of is a detached tree by then (see
//! [`super::open`]), and needs no path of the host.

use super::mount;
use crate::error::{Context, Result};
use crate::plan::namespaces::Kind;
use crate::sys::file::{Magic, is_on};
use crate::sys::namespace::{join, newer_mount_namespace, older_mount_namespace, owner_of};
use crate::sys::process::unshare;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, makedev, openat, statat};
use rustix::io::Errno;
use rustix::process::{chroot, fchdir};

/// A bare mount namespace.
#[derive(Debug)]
pub struct Bare {
    file: OwnedFd,
    /// The runtime's own, if `file` was not made for us alone: to go back to.
    host: Option<OwnedFd>,
}

/// From our own mount namespace to the first there is hardly a step for an engine
/// on a host; each costs 2 us.
const STEPS: usize = 64;
/// More than any kernel mounts there; a copy of that many costs nothing.
const FEW: u32 = 8;
/// `PROC_USER_INIT_INO`: the number of the first user namespace (linux/proc_ns.h).
const FIRST_USER_NAMESPACE: u64 = 0xefff_fffd;

impl Bare {
    /// Finds one. `None` where the kernel has none for us: then the host's
    /// mounts are copied.
    pub fn find(proc: BorrowedFd<'_>) -> Option<Self> {
        if let Ok(file) = mount::namespace_of_root() {
            return Some(Self { file, host: None });
        }
        let host = super::host::mount_namespace(proc).ok()?;
        let file = match second(host.as_fd()) {
            Err(Errno::NOTTY) => of_devtmpfs(proc).ok()??,
            found => found.ok()??,
        };
        let owner = owner_of(file.as_fd()).ok()?;
        let is_first = fstat(owner).ok()?.st_ino == FIRST_USER_NAMESPACE;
        is_first.then_some(Self { file, host: Some(host) })
    }

    /// In init, which has no mount namespace of its own yet: begins in the bare
    /// one. `false` if that may not be entered or is another than it should be, and the
    /// host's was copied.
    ///
    /// # Errors
    /// Those of unshare(2); of setns(2), on the way back.
    pub fn enter(self) -> Result<bool> {
        let entered = match &self.host {
            None => join(self.file.as_fd(), Kind::Mount.flag()).is_ok(),
            Some(host) => enter_devtmpfs(self.file.as_fd(), host.as_fd())?,
        };
        if !(entered && self.host.is_none()) {
            unshare(Kind::Mount.flag())
                .call(|| "linux.namespaces: unshare the mount namespace".into())?;
        }
        Ok(entered)
    }
}

/// Enters the kernel's own one. What turns out to be another is left again.
fn enter_devtmpfs(file: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, "/", flags, Mode::empty()).call(|| "open /".into())?;
    if join(file, Kind::Mount.flag()).is_err() {
        return Ok(false);
    }
    if is_devtmpfs().unwrap_or(false) {
        return Ok(true);
    }
    join(host, Kind::Mount.flag()).call(|| "setns to the host's mount namespace".into())?;
    fchdir(&root).call(|| "fchdir".into())?;
    chroot(".").call(|| "chroot".into())?;
    Ok(false)
}

/// Whether our root is a devtmpfs: nodes of devices on a tmpfs, whose magic number it has.
fn is_devtmpfs() -> rustix::io::Result<bool> {
    let null =
        openat(CWD, "/null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&null)?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(1, 3);
    Ok(is_null && is_on(&null, Magic::Tmpfs)?)
}

/// The second of all mount namespaces, if it is bare and the first is not far.
fn second(own: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let mut first = None;
    for _ in 0..STEPS {
        let from = first.as_ref().map_or(own, AsFd::as_fd);
        match older_mount_namespace(from) {
            Ok(older) => first = Some(older),
            Err(Errno::NOENT) => {
                let (second, mounts) = newer_mount_namespace(from)?;
                return Ok((mounts <= FEW).then_some(second));
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// `PROC_PID_INIT_INO`: the number of the first pid namespace (linux/proc_ns.h).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
/// Threads that the kernel starts as it boots; kdevtmpfs is among the first
/// thirty. Ids below 300 are not given again (`RESERVED_PIDS`, kernel/pid.c).
const EARLY_THREADS: std::ops::Range<u32> = 3..100;

/// The one of the kernel's thread: unlike that of process 2, the parent of all
/// kernel threads. Only the first pid namespace shows them.
fn of_devtmpfs(proc: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let number = |path: &str| statat(proc, path, AtFlags::empty()).map(|stat| stat.st_ino);
    if number("self/ns/pid")? != FIRST_PID_NAMESPACE {
        return Ok(None);
    }
    let usual = number("2/ns/mnt")?;
    for pid in EARLY_THREADS {
        match number(&format!("{pid}/ns/mnt")) {
            Ok(number) if number != usual => return open_if_devtmpfs(proc, pid),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

fn open_if_devtmpfs(proc: BorrowedFd<'_>, pid: u32) -> rustix::io::Result<Option<OwnedFd>> {
    let open = |name: &str| {
        openat(proc, format!("{pid}/{name}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    let mut name = [0; 16];
    let length = rustix::io::read(open("comm")?, &mut name)?;
    if name[..length] == *b"kdevtmpfs\n" { open("ns/mnt").map(Some) } else { Ok(None) }
}
