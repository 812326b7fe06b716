//! The root becomes `/` and the host's tree goes.

use super::mount;
use super::root::Root;
use crate::error::{At, Context, Error, Result};
use crate::plan::Rootfs;
use crate::plan::options::{PRIVATE, Reach, SHARED, UNBINDABLE};
use crate::sys::mount::{Change, mount_id};
use crate::sys::mountinfo;
use crate::sys::resolve;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat};
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use std::path::Path;

/// Makes the tree the root of this process and its mount namespace. `no_pivot`
/// is for a host whose root cannot be left (initramfs): it is weaker, and so
/// only done on demand.
pub fn enter(plan: &Rootfs, root: &Root, no_pivot: bool) -> Result<()> {
    fchdir(root.fd()).call(|| "fchdir to the root filesystem".into())?;
    match (plan.mount_namespace, no_pivot) {
        (false, _) => chroot(".").call(|| "chroot".into())?,
        (true, true) => move_root(root)?,
        (true, false) => pivot()?,
    }
    chdir("/").call(|| "chdir /".into())
}

/// `pivot_root(".", ".")` stacks the old root upon the new one, so that no
/// directory of the container is needed for it (`pivot_root(2)`, "Notes").
fn pivot() -> Result<()> {
    pivot_root(".", ".")
        .call(|| "pivot_root . .".into())
        .hint(|| "a root on an initramfs cannot be left: see --no-pivot")?;
    // "." is now the old root. Its mounts are slaves of the host's since build().
    unmount(".", UnmountFlags::DETACH).call(|| "umount the old root".into())
}

fn move_root(root: &Root) -> Result<()> {
    remove_kernel_views()?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(root.fd(), "", CWD, "/", flags).call(|| "move_mount to /".into())?;
    chroot(".").call(|| "chroot".into())
}

/// The host's tree stays below the new root. A whole proc or sysfs in it would
/// let a user namespace in the container mount its own, without masks.
fn remove_kernel_views() -> Result<()> {
    let here = std::env::current_dir().call(|| "getcwd".into())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Kept, for /proc is one of those that go.
    let proc = openat(CWD, "/proc", flags, Mode::empty()).call(|| "open /proc".into())?;
    for row in mountinfo::rows(&mountinfo::read_at(proc.as_fd())?).rev() {
        let point = row.point();
        if !point.starts_with(&here) && (row.kind == b"proc" || row.kind == b"sysfs") {
            remove(row.id, &point, proc.as_fd())
                .map_err(|error: Error| error.hint("--no-pivot must hide the host's"))?;
        }
    }
    Ok(())
}

/// Unmounts the mount with this id at `point`, which is opened once: the path of a mount may
/// lead through a directory of anybody.
fn remove(id: u64, point: &Path, proc: BorrowedFd<'_>) -> Result<()> {
    let shown = point.display();
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mount = resolve::open(CWD, point, flags, links).call(|| format!("openat2 {shown}"))?;
    if mount_id(mount.as_fd()).call(|| format!("statx {shown}"))? != id {
        return Err(Error::new(format!("umount {shown}: another mount lies upon it")));
    }
    let private = Change { propagation: PRIVATE, ..Change::default() };
    mount::change(mount.as_fd(), &private).at(|| format!("make {shown} private"))?;
    let here =
        openat(CWD, ".", flags | OFlags::DIRECTORY, Mode::empty()).call(|| "open .".into())?;
    fchdir(proc).call(|| "fchdir to /proc".into())?;
    unmount(format!("self/fd/{}", mount.as_raw_fd()), UnmountFlags::DETACH)
        .call(|| format!("umount {shown}"))?;
    fchdir(&here).call(|| "fchdir back".into())
}

/// pivot_root(2) refuses a shared root, and nothing can be bound from an
/// unbindable one: so these come last of all.
pub(super) fn propagate(plan: &Rootfs, root: &Root) -> Result<()> {
    match plan.propagation {
        Some(wanted) if wanted.flag == SHARED || wanted.flag == UNBINDABLE => {
            let recursive = wanted.reach == Reach::All;
            let change = Change { propagation: wanted.flag, recursive, ..Change::default() };
            mount::change(root.fd(), &change).at(|| "linux.rootfsPropagation")
        }
        _ => Ok(()),
    }
}
