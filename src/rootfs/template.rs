//! A mount namespace that holds one empty tmpfs and nothing of the host. To make
//! a new mount namespace is to copy the one that we are in, at a price for every
//! mount in it: init enters this one first, and copies that.
//!
//! Without processes in it, it is kept by a bind mount of its file under the state
//! root. All that a container is made of is a detached tree by then (see
//! [`super::open`]), and those may be attached in any mount namespace of ours.

use super::{mount, pivot};
use crate::error::{Context, Error, Result};
use crate::plan::mounts::FileSystem;
use crate::plan::namespaces::Kind;
use crate::sys::lock::lock_exclusive;
use crate::sys::namespace::{join, kind_of};
use crate::sys::process::{CloneArgs, clone3, exit_now, unshare};
use crate::sys::{file, mount as sys};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat, open, openat, statfs, unlink};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, fchdir, waitid};
use std::path::{Path, PathBuf};

/// Where in it the container's root is attached.
pub const SEAT: &str = "/pinnace-root";

/// Its file under the state root: no container can have this name.
const NAME: &str = "@template";

/// `TMPFS_MAGIC`
const TMPFS: u64 = 0x0102_1994;

/// How long a command waits for another one that makes or removes it, in seconds.
const PATIENCE: u32 = 5;

/// The namespace that is kept under the state root `root`, if it is one.
pub fn find(root: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path(root), flags, Mode::empty()).ok()?;
    (kind_of(file.as_fd()) == Ok(Kind::Mount.flag())).then_some(file)
}

/// Makes it. `None` where it may not be made, or another command is just at it.
///
/// # Errors
/// Whatever fails; a copy of the host's mounts does as well then.
pub fn make(root: &Path) -> Result<Option<OwnedFd>> {
    let dir = open_dir(root)?;
    match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked.call(|| format!("flock {}", root.display()))?,
    }
    if let Some(made) = find(root) {
        return Ok(Some(made));
    }
    // Elsewhere the kernel mounts a procfs only beside one that is seen whole.
    if !in_initial_user_namespace() {
        return Ok(None);
    }
    clear(root)?;
    let path = path(root);
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    open(&path, flags, Mode::RUSR).call(|| format!("create {}", path.display()))?;
    pin(&path, root)?;
    find(root).map(Some).ok_or_else(|| Error::new(format!("{}: not mounted", path.display())))
}

/// Removes it, unless a container is left under `root`.
///
/// # Errors
/// If it cannot be unmounted or removed.
pub fn remove_if_last(root: &Path) -> Result<()> {
    match rustix::fs::lstat(path(root)) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        found => found.call(|| format!("stat {}", path(root).display()))?,
    };
    let dir = open_dir(root)?;
    lock_exclusive(dir.as_fd(), PATIENCE).call(|| format!("flock {}", root.display()))?;
    let mut entries = std::fs::read_dir(root).call(|| format!("read {}", root.display()))?;
    let is_dir = |entry: std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    if entries.any(|entry| entry.is_ok_and(is_dir)) { Ok(()) } else { clear(root) }
}

/// In init: enters it and copies it; or else the host's, which is told by `false`.
/// `creator` is a process that is still there, by its number in `proc`.
///
/// # Errors
/// Those of unshare(2).
pub fn enter(template: BorrowedFd<'_>, proc: &OwnedFd, creator: u32) -> Result<bool> {
    let call = || "linux.namespaces: unshare the mount namespace".into();
    let mut entered = join(template, Kind::Mount.flag()).is_ok();
    // Whatever else somebody may have mounted there.
    if entered && !statfs(SEAT).is_ok_and(|fs| fs.f_type as u64 == TMPFS) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let host = openat(proc, format!("{creator}/ns/mnt"), flags, Mode::empty()).call(call)?;
        join(host.as_fd(), Kind::Mount.flag()).call(call)?;
        entered = false;
    }
    unshare(Kind::Mount.flag()).call(call)?;
    Ok(entered)
}

fn path(root: &Path) -> PathBuf {
    root.join(NAME)
}

fn open_dir(root: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(root, flags, Mode::empty()).call(|| format!("open {}", root.display()))
}

fn in_initial_user_namespace() -> bool {
    file::read("/proc/self/uid_map").is_ok_and(|map| {
        String::from_utf8_lossy(&map).split_ascii_whitespace().eq(["0", "0", "4294967295"])
    })
}

/// Takes away what is there under that name, ours or not.
fn clear(root: &Path) -> Result<()> {
    let path = path(root);
    match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Not a mount, or not there.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(errno) => return Err(Error::os(format!("umount {}", path.display()), errno)),
    }
    match unlink(&path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::os(format!("unlink {}", path.display()), errno)),
    }
}

/// A short-lived process makes the namespace and stays until its file is mounted.
fn pin(path: &Path, root: &Path) -> Result<()> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).call(|| "pipe".into());
    let ((ready, say_ready), (hold, let_go)) = (pipe()?, pipe()?);
    let args = CloneArgs { namespaces: Kind::Mount.flag(), ..CloneArgs::default() };
    let Some(maker) = clone3(args).call(|| "clone3(mount)".into())? else {
        drop((ready, let_go));
        let done = furnish(root).is_ok() && write(&say_ready, b"x").is_ok();
        // The end of the file lets us go, also if the other side is killed.
        let ended = retry_on_intr(|| read(&hold, &mut [0; 1]));
        exit_now(i32::from(!done || ended.is_err()));
    };
    drop((say_ready, hold));
    let pinned = match retry_on_intr(|| read(&ready, &mut [0; 1])) {
        Ok(1) => mount_bind(format!("/proc/{}/ns/mnt", maker.pid), path)
            .call(|| format!("bind a mount namespace on {}", path.display())),
        _ => Err(Error::new("the template of mount namespaces could not be made")),
    };
    drop((ready, let_go));
    let waited =
        retry_on_intr(|| waitid(WaitId::PidFd(maker.pidfd.as_fd()), WaitIdOptions::EXITED));
    waited.call(|| "wait for the maker of the template".into())?;
    pinned
}

/// In a copy of the host's mount namespace: everything of it goes.
fn furnish(root: &Path) -> Result<()> {
    let private =
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    // First, or our mounts and unmounts reach the host.
    rustix::mount::mount_change("/", private).call(|| "make / rprivate".into())?;
    let option = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let fs = FileSystem {
        kind: "tmpfs".into(),
        source: Some("template".into()),
        data: vec![option("size", "4096"), option("nr_inodes", "4"), option("mode", "700")],
        ..FileSystem::default()
    };
    let tmpfs = mount::new(&fs, sys::NOSUID | sys::NODEV | sys::NOEXEC, None)?;
    mkdirat(&tmpfs, SEAT.trim_start_matches('/'), Mode::RWXU).call(|| "mkdir".into())?;
    mount::attach_at(tmpfs.as_fd(), root).call(|| format!("move_mount to {}", root.display()))?;
    fchdir(&tmpfs).call(|| "fchdir".into())?;
    pivot::pivot()
}
