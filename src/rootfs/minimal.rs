//! The mount namespace to begin with. To make one is to copy the one that we are
//! in, at a price for every mount in it; so init enters a minimal one first, which
//! has next to nothing in it.
//!
//! Linux 7.0 makes one for us (OPEN_TREE_NAMESPACE). Older kernels have one: kdevtmpfs unshares
//! it at boot (drivers/base/devtmpfs.c). Init copies it at once, so the kernel's own stays as
//! it is.
//!
//! It was the second mount namespace to be made, and has the second id before Linux 6.18. Since
//! then each CPU gives ids from a range of 4096 of its own, so other namespaces may lie between.
//! So the search goes up by the ids from the first one (NS_MNT_GET_NEXT), and asks for the type
//! of the root of each that has few mounts. Where that fails, or takes too many steps, the
//! namespace is opened by the thread, as before Linux 6.12.
//!
//! Init looks again once it is there, for the id of a namespace proves nothing: it must belong
//! to the first user namespace, and its root must be devtmpfs. What else is in it does not
//! matter. The container's root is attached on its `/`, and the rest goes with the old root. All that the container is made of is a detached tree by then (see
//! [`super::open`]), and needs no path of the host.

use super::host::WayBack;
use super::{Ground, mount};
use crate::error::{At, Context, Result};
use crate::plan::namespaces::Kind;
use crate::sys::file::{Magic, is_on};
use crate::sys::namespace::{
    has_root_of_type, join, next_mount_namespace, owner_of, previous_mount_namespace,
};
use crate::sys::process::unshare;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, makedev, openat, statat};
use rustix::io::Errno;

/// A minimal mount namespace.
#[derive(Debug)]
pub struct Minimal {
    file: OwnedFd,
    /// To the runtime's own, if `file` was not made for us alone.
    back: Option<WayBack>,
}

/// Give up after so many NS_MNT_GET_PREV calls, of 2 us each, on the way to the first namespace.
const STEPS_DOWN: usize = 64;
/// From the first to the kernel's there is one step; in Linux 6.18 one more for each that
/// lives since the first CPU gave its first 4096 ids. So many cost less than their mounts.
const STEPS_UP: usize = 256;
/// More than any kernel mounts there; a copy of that many costs nothing.
const MAX_MOUNTS: u32 = 8;
/// `PROC_USER_INIT_INO`: the number of the first user namespace (linux/proc_ns.h).
pub(super) const FIRST_USER_NAMESPACE: u64 = 0xefff_fffd;

impl Minimal {
    /// Finds one. `None` where the kernel has none for us: then the host's
    /// mounts are copied.
    pub fn find(proc: BorrowedFd<'_>) -> Option<Self> {
        if let Ok(file) = mount::namespace_of_root() {
            return Some(Self { file, back: None });
        }
        let back = WayBack::note(proc).ok()?;
        let file = match by_id(back.namespace.as_fd()) {
            Ok(Some(file)) => file,
            // Neither no answer nor another one means that the thread has none.
            Ok(None) | Err(_) => of_devtmpfs(proc).ok()??,
        };
        let owner = owner_of(file.as_fd()).ok()?;
        let is_first = fstat(owner).ok()?.st_ino == FIRST_USER_NAMESPACE;
        is_first.then_some(Self { file, back: Some(back) })
    }

    /// In init, which has no mount namespace of its own yet: begins in the minimal one; in a copy
    /// of the host's if that may not be entered or is another than it should be.
    pub fn enter(self) -> Result<Ground> {
        let entered = match &self.back {
            None => join(self.file.as_fd(), Kind::Mount.flag()).is_ok(),
            Some(back) => enter_devtmpfs(self.file.as_fd(), back)?,
        };
        if !(entered && self.back.is_none()) {
            unshare(Kind::Mount.flag())
                .call(|| "unshare the mount namespace".into())
                .at(|| "linux.namespaces")?;
        }
        Ok(if entered { Ground::Minimal } else { Ground::Copy })
    }
}

/// Enters the kernel's own one. What turns out to be another is left again.
fn enter_devtmpfs(file: BorrowedFd<'_>, back: &WayBack) -> Result<bool> {
    if join(file, Kind::Mount.flag()).is_err() {
        return Ok(false);
    }
    if is_devtmpfs().unwrap_or(false) {
        return Ok(true);
    }
    back.go()?;
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

/// The kernel's minimal one: from our own down to the first mount namespace, then up by the ids.
fn by_id(own: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let mut at: Option<OwnedFd> = None;
    for step in 0.. {
        match previous_mount_namespace(at.as_ref().map_or(own, AsFd::as_fd)) {
            Ok(_) if step == STEPS_DOWN => return Ok(None),
            Ok(previous) => at = Some(previous.file),
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        }
    }
    for _ in 0..STEPS_UP {
        let next = match next_mount_namespace(at.as_ref().map_or(own, AsFd::as_fd)) {
            Err(Errno::NOENT) => return Ok(None),
            next => next?,
        };
        if next.mounts <= MAX_MOUNTS && is_devtmpfs_in(next.id)? {
            return Ok(Some(next.file));
        }
        at = Some(next.file);
    }
    Ok(None)
}

/// `false` also for a mount namespace that has ended meanwhile.
fn is_devtmpfs_in(id: u64) -> rustix::io::Result<bool> {
    match has_root_of_type(id, "devtmpfs") {
        Err(Errno::NOENT) => Ok(false),
        answer => answer,
    }
}

/// `PROC_PID_INIT_INO`: the number of the first pid namespace (linux/proc_ns.h).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
/// Threads that the kernel starts as it boots; kdevtmpfs comes after six for each CPU.
/// Ids below 300 are not given again (`RESERVED_PIDS`, kernel/pid.c).
const EARLY_THREADS: std::ops::Range<u32> = 3..300;

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
