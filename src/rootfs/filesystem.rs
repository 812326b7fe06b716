//! New file systems: proc, sysfs, tmpfs, devpts, mqueue and any other.

use super::root::{Found, Node, Root};
use super::target::{self, change_attached, own_view};
use super::{copy, mount};
use crate::error::{At, Context, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::{FileSystem, Mount};
use crate::plan::options::{PRIVATE, Reach};
use crate::sys::mount::{Change, mount_setattr};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, fstat, openat};
use rustix::io::Errno;

/// Where a file system is to be mounted.
pub(super) struct Target {
    pub found: Found,
    /// Whether it was there before.
    existed: bool,
}

/// Opens the mount point, making it when it is missing.
pub(super) fn target(mount: &Mount, fs: &FileSystem, root: &Root) -> Result<Target> {
    let mut existed = true;
    let missing = || {
        existed = false;
        Ok(Node::Dir)
    };
    let found =
        target::target(mount, root, missing).map_err(|error| explain_target(error, mount, fs))?;
    Ok(Target { found, existed })
}

/// Makes a file system and mounts it.
pub(super) fn make(
    plan: &Rootfs,
    mount: &Mount,
    fs: &FileSystem,
    idmap: Option<BorrowedFd<'_>>,
    instead: Option<OwnedFd>,
    target: &Target,
    root: &Root,
) -> Result<OwnedFd> {
    let existed = target.existed;
    let target = target.found.fd.as_fd();
    let with_mode = if existed { copy_mode(mount, fs, target)? } else { None };
    let fs = with_mode.as_ref().unwrap_or(fs);
    let label = label_option(plan, fs);
    let attributes = mount.attributes.flat();
    let made = if mount::needs_classic(fs) {
        mount::new_classic(fs, attributes, label, root.fd())
    } else {
        mount::new(fs, attributes, label)
    };
    let made = match made {
        Err(error) if fs.kind == "sysfs" && error.errno() == Some(Errno::PERM) => {
            return bind_sys(mount, instead, target);
        }
        result => result.map_err(|error| explain(error, plan, fs))?,
    };
    if let Some(userns) = idmap {
        let change = Change {
            idmap: Some(userns),
            recursive: mount.idmap.as_ref().is_some_and(|idmap| idmap.reach == Reach::All),
            ..Change::default()
        };
        mount_setattr(made.as_fd(), &change)
            .call(|| mount::describe(&change))
            .hint(|| format!("{} cannot be id-mapped", fs.kind))?;
    }
    if fs.copy_up {
        copy::directory(target, made.as_fd())?;
    }
    mount::attach_as(made.as_fd(), target, || {
        format!("mount {} on {}", fs.kind, mount.destination)
    })
    .map_err(|error| explain_target(error, mount, fs))?;
    if fs.kind == "mqueue" && plan.mount_label.is_some() {
        label_root(plan, made.as_fd())?;
    }
    propagate(mount, made.as_fd())?;
    Ok(made)
}

/// The attributes came with the mount; a new mount is private until told
/// otherwise.
fn propagate(mount: &Mount, fd: BorrowedFd<'_>) -> Result<()> {
    for propagation in mount.propagation.iter().skip_while(|p| p.flag == PRIVATE) {
        let recursive = propagation.reach == Reach::All;
        let change = Change { propagation: propagation.flag, recursive, ..Change::default() };
        mount::change(fd, &change)?;
    }
    Ok(())
}

/// A tmpfs without a mode takes that of its mount point, if the image has one.
fn copy_mode(mount: &Mount, fs: &FileSystem, target: BorrowedFd<'_>) -> Result<Option<FileSystem>> {
    if fs.kind != "tmpfs" || fs.data.iter().any(|(key, _)| key == "mode") {
        return Ok(None);
    }
    let stat = fstat(target)
        .call(|| format!("fstat {} in the root filesystem", mount.destination))
        .map_err(mount::explain_access)?;
    let mode = stat.st_mode & 0o7777;
    let mut fs = fs.clone();
    fs.data.push(("mode".into(), Some(format!("{mode:04o}"))));
    Ok(Some(fs))
}

/// proc and sysfs have labels of their own; mqueue takes its label afterwards.
fn label_option<'a>(plan: &'a Rootfs, fs: &FileSystem) -> Option<&'a str> {
    match fs.kind.as_str() {
        "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2" => None,
        _ => plan.mount_label.as_deref(),
    }
}

fn label_root(plan: &Rootfs, mount: BorrowedFd<'_>) -> Result<()> {
    let Some(label) = &plan.mount_label else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(mount, ".", flags, Mode::empty()).call(|| "open the mount".into())?;
    fsetxattr(&dir, "security.selinux", label.as_bytes(), XattrFlags::empty())
        .call(|| "fsetxattr security.selinux".into())
        .at(|| "linux.mountLabel")
}

/// A sysfs belongs to a network namespace. Where that is not one of the
/// container's user namespace, /sys as it is takes its place; `ro` then reaches
/// all that is mounted below it (CVE-2023-25809).
fn bind_sys(mount: &Mount, instead: Option<OwnedFd>, target: BorrowedFd<'_>) -> Result<OwnedFd> {
    let tree = match instead {
        Some(tree) => tree,
        None => own_view("/sys", true)?,
    };
    mount::attach_as(tree.as_fd(), target, || format!("bind /sys on {}", mount.destination))?;
    let attributes = mount.attributes.one;
    if !attributes.is_empty() {
        mount::change(tree.as_fd(), &Change { attributes, recursive: true, ..Change::default() })?;
    }
    let rest = Mount { attributes: crate::plan::options::Gathered::default(), ..mount.clone() };
    change_attached(&rest, tree.as_fd())?;
    Ok(tree)
}

fn explain_target(error: Error, mount: &Mount, fs: &FileSystem) -> Error {
    let symlink = matches!(error.errno(), Some(Errno::LOOP | Errno::NOTDIR));
    if symlink && mount.refuses_symlinks() {
        return Error::new(format!(
            "filesystem {:?} must be mounted on ordinary directory",
            fs.kind
        ))
        .hint(format!("{} in the root filesystem is none", mount.destination));
    }
    error
}

fn explain(error: Error, plan: &Rootfs, fs: &FileSystem) -> Error {
    if !plan.user_namespace {
        return error;
    }
    let ids = fs.data.iter().any(|(key, _)| key == "gid" || key == "uid");
    match (error.errno(), fs.kind.as_str()) {
        (Some(Errno::INVAL), _) if ids => {
            error.at("uid= and gid= must be mapped in the user namespace")
        }
        (Some(Errno::PERM), "proc") => error.hint(
            "a user namespace may mount proc only with a pid namespace of its own, and where the host shows a whole proc",
        ),
        (Some(Errno::PERM), "mqueue") => {
            error.hint("a user namespace may mount mqueue only with an ipc namespace of its own")
        }
        (Some(Errno::PERM), _) => error.hint("not every file system may be mounted in a user namespace"),
        _ => error,
    }
}
