//! /dev: device nodes, symbolic links, ptmx. By descriptor of the directory and
//! a single name that is never followed: /dev of the image may be a link to
//! anywhere (CVE-2026-41579).

use super::nodes::{explain_missing, host_device, kind_and_numbers};
use super::root::{Links, Node, Root};
use super::sources::Sources;
use super::{mount, nodes};
use crate::error::{At, Context, Error, Result};
use crate::plan::Rootfs;
use crate::plan::rootfs::{Asked, Device, DeviceKind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, mknodat, openat, readlinkat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;

/// Links that programs expect (runtime-linux.md, "Dev symbolic links").
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes the devices and populates /dev, unless /dev is the host's.
pub(super) fn create(plan: &Rootfs, sources: &Sources, root: &mut Root) -> Result<()> {
    let mut parent: Option<(&str, OwnedFd)> = None;
    let mut unlike = Vec::new();
    if let Some(nodes) = &sources.nodes {
        nodes.show(root.fd())?;
    }
    for (index, device) in plan.devices.iter().enumerate() {
        let field = || format!("{}: {}", device.field(), device.path);
        if plan.is_in_bound_dev(device) {
            if device.index.is_some() && !is_there(root, device) {
                unlike.push(format!("{}: is not made where /dev is bound, and not there", field()));
            }
            continue;
        }
        let (directory, name) = device.path.rsplit_once('/').unwrap_or(("", ""));
        // Nearly all devices are in one directory.
        let dir = match parent.take() {
            Some((path, fd)) if path == directory => fd,
            _ => open_dir(root, directory)?,
        };
        let own = sources.nodes.as_ref().filter(|nodes| nodes.has(index));
        let mut place = Place {
            plan,
            device,
            dir: dir.as_fd(),
            name,
            root: root.fd(),
            host: sources.devices.get(index).and_then(Option::as_ref),
            own: own.map(|nodes| nodes.tree(index)).transpose()?,
            may_make: sources.nodes.is_some(),
            laid: None,
        };
        let made = place.fill().at(field)?;
        if let Some(node) = place.laid.take() {
            root.lay(&device.path, node);
        }
        unlike.extend(made.map(|words| format!("{}: {words}", field())));
        parent = Some((directory, dir));
    }
    if let Some(nodes) = &sources.nodes {
        nodes.hide()?;
    }
    if !unlike.is_empty() {
        root.warning = Some(unlike.join("; "));
    }
    if plan.populate_dev {
        let dir = match parent {
            Some(("/dev", fd)) => fd,
            _ => open_dir(root, "/dev")?,
        };
        links(root, dir.as_fd())?;
        // The console and the mask's /dev/null are looked for in there later.
        root.hold_directory("/dev", dir);
    }
    Ok(())
}

/// Whether a device is to be seen where none is made.
fn is_there(root: &Root, device: &Device) -> bool {
    let found = root.open(&device.path, Links::Follow).and_then(fstat);
    found.is_ok_and(|stat| matches(device, &stat))
}

fn open_dir(root: &Root, path: &str) -> Result<OwnedFd> {
    let path = if path.is_empty() { "/" } else { path };
    Ok(root.ensure(path, Links::Follow, || Ok(Node::Dir))?.fd)
}

/// A device and where it is wanted.
struct Place<'a> {
    plan: &'a Rootfs,
    device: &'a Device,
    dir: BorrowedFd<'a>,
    name: &'a str,
    root: BorrowedFd<'a>,
    /// The host's node, if it was taken.
    host: Option<&'a OwnedFd>,
    /// One that was made for the container.
    own: Option<OwnedFd>,
    /// Whether the caller may make any.
    may_make: bool,
    /// What has been laid upon a node that was there.
    laid: Option<OwnedFd>,
}

impl Place<'_> {
    /// Puts the device there. What is returned is to be told: how it differs from what is
    /// asked, if that cannot be had.
    fn fill(&mut self) -> Result<Option<String>> {
        let (device, dir, name) = (self.device, self.dir, self.name);
        if self.is_bound() {
            return self.bind().map_err(explain_missing);
        }
        let (kind, numbers) = kind_and_numbers(device);
        self.may_make = true;
        match mknodat(dir, name, kind, Mode::from_raw_mode(device.mode), numbers) {
            Ok(()) => {
                own(device, dir, name)?;
                if device.mode & SET_IDS == 0 || (device.uid, device.gid) == (0, 0) {
                    return Ok(None);
                }
                // chown(2) has taken them away.
                self.exists()
            }
            Err(Errno::EXIST) => self.exists(),
            // Inside someone else's user namespace, or a cgroup around us denies it.
            Err(Errno::PERM) => {
                // Or it is the file system that takes none.
                if device.asked != Asked::default() && self.plan.is_mounted() {
                    self.own = self.make_own()?;
                }
                self.may_make = self.own.is_some();
                self.bind().map_err(|error| {
                    let needs = "needs CAP_MKNOD and a device cgroup around us that allows it";
                    Error::os("mknodat", Errno::PERM)
                        .hint(format!("{needs}; in its place: {error}"))
                })
            }
            Err(errno) => Err(Error::os("mknodat", errno)),
        }
    }

    /// Whether it is none that the new process could make.
    fn is_bound(&self) -> bool {
        self.plan.user_namespace && self.device.kind != DeviceKind::Fifo
    }

    /// What is there already must be that device (config-linux.md, "Devices").
    fn exists(&mut self) -> Result<Option<String>> {
        let there = open_node(self.dir, self.name)?;
        let stat = fstat(&there).call(|| "fstat".into())?;
        if !matches(self.device, &stat) {
            return Err(exists(&stat));
        }
        if is_like(self.device, &stat) { Ok(None) } else { self.cover(&there, &stat) }
    }

    /// A node that is there may be the host's, or the image's: it is not changed, but one of
    /// the container's own is laid upon it.
    fn cover(&mut self, there: &OwnedFd, stat: &Stat) -> Result<Option<String>> {
        if !self.plan.is_mounted() {
            return self.unlike(stat);
        }
        let tree = match self.own.take() {
            Some(tree) => tree,
            None if !self.may_make || self.is_bound() => return self.unlike(stat),
            None => match self.make_own()? {
                Some(tree) => tree,
                None => {
                    self.may_make = false;
                    return self.unlike(stat);
                }
            },
        };
        mount::attach(tree.as_fd(), there.as_fd()).call(|| "bind a node of its own".into())?;
        self.laid = Some(tree);
        Ok(None)
    }

    /// A node of the container's own; `None` if the caller may make none.
    fn make_own(&self) -> Result<Option<OwnedFd>> {
        match nodes::one(self.plan, self.device, self.root) {
            Err(error) if error.errno() == Some(Errno::PERM) => Ok(None),
            made => made.map(Some),
        }
    }

    /// Binds a node on an empty file.
    fn bind(&mut self) -> Result<Option<String>> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let target = match openat(self.dir, self.name, flags, Mode::from_raw_mode(0o644)) {
            Ok(made) => made,
            Err(Errno::EXIST) => {
                let there = open_node(self.dir, self.name)?;
                let stat = fstat(&there).call(|| "fstat".into())?;
                if matches(self.device, &stat) {
                    let is_like = is_like(self.device, &stat);
                    return if is_like { Ok(None) } else { self.cover(&there, &stat) };
                }
                // Left by an earlier container in the same root.
                let empty = stat.st_size == 0
                    && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                if !empty {
                    return Err(exists(&stat));
                }
                there
            }
            Err(errno) => return Err(Error::os("make its mount point", errno)),
        };
        let found = match self.own.as_ref().or(self.host) {
            Some(_) => None,
            None => host_device(self.device)?,
        };
        let Some(tree) = self.own.as_ref().or(self.host).or(found.as_ref()) else {
            return Ok(None);
        };
        mount::attach(tree.as_fd(), target.as_fd()).call(|| "bind a device".into())?;
        if self.device.asked == Asked::default() {
            return Ok(None);
        }
        let stat = fstat(tree).call(|| "fstat".into())?;
        if is_like(self.device, &stat) { Ok(None) } else { self.unlike(&stat) }
    }

    /// runtime.md, "Create": what cannot be applied is an error. But a caller who may make no
    /// node is told: engines write there whose the process is, and what they see.
    fn unlike(&self, stat: &Stat) -> Result<Option<String>> {
        let Device { mode, uid, gid, asked, .. } = self.device;
        let (has, of_uid, of_gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        let mode = if asked.mode { *mode } else { has };
        let uid = if asked.uid { *uid } else { of_uid };
        let gid = if asked.gid { *gid } else { of_gid };
        let words = format!(
            "is a node of mode {has:04o} and owner {of_uid}:{of_gid}, not {mode:04o} and {uid}:{gid}"
        );
        if self.may_make {
            let why = match self.plan.user_namespace {
                true => "the user namespace does not map this owner, so no other node can be made",
                false => "without mounts no other node can be laid upon it",
            };
            return Err(Error::new(words).hint(why));
        }
        Ok(Some(format!("{words}: the caller may make no other")))
    }
}

/// Set-user-ID and set-group-ID (inode(7)).
const SET_IDS: u32 = 0o6000;

/// A node is made as root's. Somebody may have put another file in its place since, which
/// is not to be given away.
fn own(device: &Device, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    if device.uid == 0 && device.gid == 0 {
        return Ok(());
    }
    let node = open_node(dir, name)?;
    if !matches(device, &fstat(&node).call(|| "fstat".into())?) {
        return Err(Error::new("is another file than the one that was just made"));
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    chownat(node.as_fd(), "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .call(|| format!("fchownat {}:{}", device.uid, device.gid))
        .map_err(nodes::explain_unmapped)
}

fn open_node(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).call(|| "open".into())
}

fn matches(device: &Device, stat: &Stat) -> bool {
    let (kind, numbers) = kind_and_numbers(device);
    FileType::from_raw_mode(stat.st_mode) == kind
        && (kind == FileType::Fifo || stat.st_rdev == numbers)
}

fn is_like(device: &Device, stat: &Stat) -> bool {
    device.is_like(stat.st_mode, stat.st_uid, stat.st_gid)
}

fn exists(stat: &Stat) -> Error {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => "directory",
        _ => "file",
    };
    let hint = format!("a {what} is there already that is not this device");
    Error::os("mknodat", Errno::EXIST).hint(hint)
}

fn links(root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    for (name, target) in LINKS {
        link(dev, name, target)?;
    }
    // Only where the kernel offers it.
    if root.open("/proc/kcore", Links::Follow).is_ok() {
        link(dev, "core", "/proc/kcore")?;
    }
    ptmx(dev)
}

fn link(dev: BorrowedFd<'_>, name: &str, target: &str) -> Result<()> {
    match symlinkat(target, dev, name) {
        // The image's own, or a mount.
        Err(Errno::EXIST) => Ok(()),
        result => result.call(|| format!("/dev/{name}: symlinkat to {target}")),
    }
}

/// /dev/ptmx must be that of the container's own devpts, so what the image has
/// there goes; a mount stays, it was asked for.
fn ptmx(dev: BorrowedFd<'_>) -> Result<()> {
    const TARGET: &str = "pts/ptmx";
    match symlinkat(TARGET, dev, "ptmx") {
        Err(Errno::EXIST) => {}
        result => return result.call(|| "/dev/ptmx: symlinkat".into()),
    }
    if readlinkat(dev, "ptmx", Vec::new()).is_ok_and(|link| link.as_bytes() == TARGET.as_bytes()) {
        return Ok(());
    }
    match unlinkat(dev, "ptmx", AtFlags::empty()) {
        Err(Errno::BUSY) => return Ok(()),
        result => result.call(|| "/dev/ptmx: unlinkat".into())?,
    }
    symlinkat(TARGET, dev, "ptmx").call(|| "/dev/ptmx: symlinkat".into())
}
