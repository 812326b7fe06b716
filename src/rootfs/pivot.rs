//! The root becomes `/` and the host's tree goes.

use super::mount;
use super::root::Root;
use crate::error::{Context, Error, Result};
use crate::plan::Rootfs;
use crate::plan::options::{Reach, SHARED, UNBINDABLE};
use crate::sys::mount::Change;
use rustix::fs::CWD;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};
use rustix::process::{chdir, chroot, fchdir, pivot_root};

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
pub(super) fn pivot() -> Result<()> {
    pivot_root(".", ".")
        .call(|| "pivot_root . .".into())
        .map_err(|error| error.hint("a root on an initramfs cannot be left: see --no-pivot"))?;
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
    let path = "/proc/self/mountinfo";
    let table = std::fs::read_to_string(path).call(|| format!("read {path}"))?;
    let here = std::env::current_dir().call(|| "getcwd".into())?;
    for line in table.lines().rev() {
        let Some((point, kind)) = point_and_kind(line) else { continue };
        let ours = std::path::Path::new(&point).starts_with(&here);
        if !ours && (kind == "proc" || kind == "sysfs") {
            mount_change(point.as_str(), MountPropagationFlags::PRIVATE)
                .call(|| format!("make {point} private"))?;
            unmount(point.as_str(), UnmountFlags::DETACH)
                .call(|| format!("umount {point}"))
                .map_err(|error: Error| error.hint("--no-pivot must hide the host's"))?;
        }
    }
    Ok(())
}

/// Fifth and first field after the dash (`proc_pid_mountinfo(5)`), with the
/// octal escapes undone.
fn point_and_kind(line: &str) -> Option<(String, &str)> {
    let point = line.split(' ').nth(4)?;
    let kind = line.split_once(" - ")?.1.split(' ').next()?;
    let point = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(point.to_owned(), |text, (escape, letter)| text.replace(escape, letter));
    Some((point, kind))
}

/// pivot_root(2) refuses a shared root, and nothing can be bound from an
/// unbindable one: so these come last of all.
pub(super) fn propagate(plan: &Rootfs, root: &Root) -> Result<()> {
    match plan.propagation {
        Some(wanted) if wanted.flag == SHARED || wanted.flag == UNBINDABLE => {
            let recursive = wanted.reach == Reach::All;
            let change = Change { propagation: wanted.flag, recursive, ..Change::default() };
            mount::change(root.fd(), &change).map_err(|error| error.at("linux.rootfsPropagation"))
        }
        _ => Ok(()),
    }
}
