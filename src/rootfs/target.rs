//! Where a mount goes, and its attributes once it is attached.

use super::mount;
use super::root::{Found, Links, Node, Root};
use crate::error::{Context, Error, Result};
use crate::plan::mounts::Mount;
use crate::plan::options::Reach;
use crate::sys::mount::Change;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs};

/// How symbolic links in the destination are treated.
pub(super) fn links(mount: &Mount) -> Links {
    match mount {
        _ if mount.refuses_symlinks() => Links::Refuse,
        _ if mount.destination_nofollow => Links::NotLast,
        _ => Links::Follow,
    }
}

/// Opens the destination of `mount`, making it when it is missing. A link in the
/// image may lead to a procfs where the text of the path did not (CVE-2025-52881).
pub(super) fn target(
    mount: &Mount,
    root: &Root,
    node: impl FnOnce() -> Result<Node>,
) -> Result<Found> {
    let found = root.ensure(&mount.destination, links(mount), node)?;
    if !mount.may_cover_proc() {
        let fs = fstatfs(&found.fd).call(|| format!("fstatfs {}", mount.destination))?;
        if fs.f_type == PROC_SUPER_MAGIC {
            return Err(Error::new(format!(
                "{:?} cannot be mounted because it is inside /proc",
                mount.destination
            )));
        }
    }
    Ok(found)
}

/// Sets the attributes and the propagation of a mount that is attached.
pub(super) fn change_attached(mount: &Mount, fd: BorrowedFd<'_>) -> Result<()> {
    for (attributes, recursive) in [(mount.attributes.all, true), (mount.attributes.one, false)] {
        if !attributes.is_empty() {
            mount::change(fd, &Change { attributes, recursive, ..Change::default() })?;
        }
    }
    propagate(mount, fd)
}

pub(super) fn propagate(mount: &Mount, fd: BorrowedFd<'_>) -> Result<()> {
    for propagation in &mount.propagation {
        let recursive = propagation.reach == Reach::All;
        let change = Change { propagation: propagation.flag, recursive, ..Change::default() };
        mount::change(fd, &change)?;
    }
    Ok(())
}

/// A tree of the child's own view: the last resort of an unprivileged caller.
pub(super) fn own_view(path: &str, recursive: bool) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).call(|| format!("open {path}"))?;
    mount::clone_fd(fd.as_fd(), recursive).call(|| format!("open_tree {path}"))
}
