//! Device nodes of the container's own, where the root filesystem cannot have them: a user
//! namespace makes none, and a node that is there already may be the host's. They are made on a
//! tmpfs that nobody else sees, and bound from there.

use super::{Context, mount};
use crate::error::{At, Context as _, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::FileSystem;
use crate::plan::rootfs::{Device, DeviceKind};
use crate::sys::mount::{Change, NOSUID, mount_setattr};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, chmodat, chownat, fstat, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir};
use std::path::Path;

/// A tmpfs, and which devices have a node on it: each is named by its place in the plan.
#[derive(Debug)]
pub(super) struct Nodes {
    tmpfs: OwnedFd,
    made: Vec<usize>,
}

/// Nodes for the listed devices of a container with a user namespace, whose ids own them.
/// `None` if there are none, or the caller may not make any.
pub(super) fn of_listed(plan: &Rootfs, context: &Context<'_>) -> Result<Option<Nodes>> {
    let is_listed = |device: &Device| {
        device.index.is_some() && device.kind != DeviceKind::Fifo && !plan.is_in_bound_dev(device)
    };
    if !plan.devices.iter().any(is_listed) {
        return Ok(None);
    }
    match make_listed(plan, is_listed, context) {
        // Neither may a caller without privileges, nor one in a user namespace.
        Err(error) if error.errno() == Some(Errno::PERM) => Ok(None),
        made => made,
    }
}

fn make_listed(
    plan: &Rootfs,
    is_listed: impl Fn(&Device) -> bool,
    context: &Context<'_>,
) -> Result<Option<Nodes>> {
    let mut nodes = Nodes::new(plan)?;
    for (index, device) in plan.devices.iter().enumerate().filter(|(_, one)| is_listed(one)) {
        if let Some(owner) = device.on_host {
            let made = nodes.make(index, device, owner);
            made.at(|| &device.path).at(|| device.field())?;
        }
    }
    let Some(userns) = context.joined_user_namespace else { return Ok(Some(nodes)) };
    // Its maps are not ours to know: a mount of it shows the ids as it has them.
    let change = Change { idmap: Some(userns), ..Change::default() };
    match mount_setattr(nodes.tmpfs.as_fd(), &change) {
        // A tmpfs can have one since Linux 6.3.
        Err(Errno::INVAL | Errno::NOSYS) => Ok(None),
        done => done.call(|| mount::describe(&change)).map(|()| Some(nodes)),
    }
}

/// The node of one device, made by the caller: a tree to be bound.
pub(super) fn one(plan: &Rootfs, device: &Device, root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut nodes = Nodes::new(plan)?;
    nodes.make(0, device, (device.uid, device.gid))?;
    nodes.show(root)?;
    let tree = nodes.tree(0);
    nodes.hide()?;
    tree
}

impl Nodes {
    /// Whoever is in the container's user namespace must find the nodes by their names.
    fn new(plan: &Rootfs) -> Result<Self> {
        let fs = FileSystem {
            kind: "tmpfs".into(),
            data: vec![("mode".into(), Some("0711".into()))],
            ..FileSystem::default()
        };
        let tmpfs = mount::new(&fs, NOSUID, plan.mount_label.as_deref())?;
        Ok(Self { tmpfs, made: Vec::new() })
    }

    fn make(&mut self, index: usize, device: &Device, (uid, gid): (u32, u32)) -> Result<()> {
        let (kind, numbers) = kind_and_numbers(device);
        let (name, mode) = (index.to_string(), Mode::from_raw_mode(device.mode));
        let (dir, name) = (self.tmpfs.as_fd(), name.as_str());
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        mknodat(dir, name, kind, mode, numbers).call(|| "mknodat".into())?;
        chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .call(|| format!("fchownat {}:{}", device.uid, device.gid))
            .map_err(explain_unmapped)?;
        // Neither umask(2) nor chown(2) takes bits away.
        chmodat(dir, name, mode, AtFlags::empty())
            .call(|| format!("fchmodat {:04o}", device.mode))?;
        self.made.push(index);
        Ok(())
    }

    /// Whether the device at this place has a node.
    pub fn has(&self, index: usize) -> bool {
        self.made.contains(&index)
    }

    /// Mounts them upon `root`, without hiding what is found from there by descriptor. Before
    /// Linux 6.15 only a mount that is attached can be copied.
    pub fn show(&self, root: BorrowedFd<'_>) -> Result<()> {
        mount::attach(self.tmpfs.as_fd(), root).call(|| "move_mount of a tmpfs for devices".into())
    }

    /// The node of the device at this place as a tree to be bound.
    pub fn tree(&self, index: usize) -> Result<OwnedFd> {
        mount::clone_at(self.tmpfs.as_fd(), Path::new(&index.to_string()), false)
            .call(|| "open_tree of a device".into())
    }

    /// Takes them off again: trees stay. Leaves the working directory at `/`.
    pub fn hide(&self) -> Result<()> {
        // "." is the root of the tmpfs itself.
        fchdir(&self.tmpfs).call(|| "fchdir".into())?;
        unmount(".", UnmountFlags::DETACH).call(|| "umount the tmpfs for devices".into())?;
        chdir("/").call(|| "chdir /".into())
    }
}

/// Of chown(2) in a user namespace.
pub(super) fn explain_unmapped(error: Error) -> Error {
    error.hint_on(Errno::INVAL, "the user namespace does not map one of these ids")
}

pub(super) fn kind_and_numbers(device: &Device) -> (FileType, u64) {
    match device.kind {
        DeviceKind::Char(major, minor) => (FileType::CharacterDevice, makedev(major, minor)),
        DeviceKind::Block(major, minor) => (FileType::BlockDevice, makedev(major, minor)),
        DeviceKind::Fifo => (FileType::Fifo, 0),
    }
}

/// Of [`host_device`], for a container with a user namespace.
pub(super) fn explain_missing(error: Error) -> Error {
    error.hint_on(Errno::NXIO, "a user namespace cannot make devices, only bind those of the host")
}

/// The host's node by its path, or else by its numbers.
pub(super) fn host_device(device: &Device) -> Result<Option<OwnedFd>> {
    let (directory, kind, major, minor) = match device.kind {
        DeviceKind::Char(major, minor) => ("char", FileType::CharacterDevice, major, minor),
        DeviceKind::Block(major, minor) => ("block", FileType::BlockDevice, major, minor),
        DeviceKind::Fifo => return Ok(None),
    };
    let by_number = format!("/dev/{directory}/{major}:{minor}");
    for path in [device.path.as_str(), by_number.as_str()] {
        let tree = match mount::clone_path(Path::new(path), false, false) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            result => result.call(|| format!("open_tree {path}"))?,
        };
        let stat = fstat(&tree).call(|| format!("fstat {path}"))?;
        if FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == makedev(major, minor) {
            return Ok(Some(tree));
        }
    }
    let words = format!("no {directory} device {major}:{minor} is to be seen on the host");
    Err(Error::os(words, Errno::NXIO))
}
