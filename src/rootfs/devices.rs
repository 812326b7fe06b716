//! /dev: device nodes, symbolic links, ptmx. By descriptor of the directory and
//! a single name that is never followed: /dev of the image may be a link to
//! anywhere (CVE-2026-41579).

use super::mount;
use super::root::{Links, Node, Root};
use super::sources::{Sources, explain_missing, host_device};
use crate::error::{At, Context, Error, Result};
use crate::plan::Rootfs;
use crate::plan::paths::is_under;
use crate::plan::rootfs::{Device, DeviceKind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, makedev, mknodat, openat,
    readlinkat, statat, symlinkat, unlinkat,
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
    for (index, device) in plan.devices.iter().enumerate() {
        if !plan.populate_dev && is_under(&device.path, "/dev") {
            continue;
        }
        let (directory, name) = device.path.rsplit_once('/').unwrap_or(("", ""));
        // Nearly all devices are in one directory.
        let dir = match parent.take() {
            Some((path, fd)) if path == directory => fd,
            _ => open_dir(root, directory)?,
        };
        let host = sources.devices.get(index).and_then(Option::as_ref);
        one(plan, device, host, dir.as_fd(), name)
            .at(|| format!("{}: {}", device.field(), device.path))?;
        parent = Some((directory, dir));
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

fn open_dir(root: &Root, path: &str) -> Result<OwnedFd> {
    let path = if path.is_empty() { "/" } else { path };
    Ok(root.ensure(path, Links::Follow, || Ok(Node::Dir))?.fd)
}

fn one(
    plan: &Rootfs,
    device: &Device,
    host: Option<&OwnedFd>,
    dir: BorrowedFd<'_>,
    name: &str,
) -> Result<()> {
    if plan.user_namespace && device.kind != DeviceKind::Fifo {
        return bind(device, host, dir, name).map_err(explain_missing);
    }
    let (kind, numbers) = kind_and_numbers(device);
    match mknodat(dir, name, kind, Mode::from_raw_mode(device.mode), numbers) {
        Ok(()) => own(device, dir, name),
        Err(Errno::EXIST) => check_existing(device, dir, name),
        // Inside someone else's user namespace, or a cgroup around us denies it.
        Err(Errno::PERM) => bind(device, None, dir, name).map_err(|error| {
            let needs = "needs CAP_MKNOD and a device cgroup around us that allows it";
            Error::os("mknodat", Errno::PERM).hint(format!("{needs}; in its place: {error}"))
        }),
        Err(errno) => Err(Error::os("mknodat", errno)),
    }
}

fn kind_and_numbers(device: &Device) -> (FileType, u64) {
    match device.kind {
        DeviceKind::Char(major, minor) => (FileType::CharacterDevice, makedev(major, minor)),
        DeviceKind::Block(major, minor) => (FileType::BlockDevice, makedev(major, minor)),
        DeviceKind::Fifo => (FileType::Fifo, 0),
    }
}

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
    chownat(&node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .call(|| format!("fchownat {}:{}", device.uid, device.gid))
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

/// What is there already must be that device (config-linux.md, "Devices").
fn check_existing(device: &Device, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).call(|| "fstatat".into())?;
    if matches(device, &stat) {
        return Ok(());
    }
    Err(exists(&stat))
}

fn exists(stat: &Stat) -> Error {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => "directory",
        _ => "file",
    };
    let hint = format!("a {what} is there already that is not this device");
    Error::os("mknodat", Errno::EXIST).hint(hint)
}

/// Binds the host's node on an empty file.
fn bind(device: &Device, host: Option<&OwnedFd>, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let target = match openat(dir, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(made) => made,
        Err(Errno::EXIST) => {
            let there = open_node(dir, name)?;
            let stat = fstat(&there).call(|| "fstat".into())?;
            if matches(device, &stat) {
                return Ok(());
            }
            // Left by an earlier container in the same root.
            let empty =
                stat.st_size == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if !empty {
                return Err(exists(&stat));
            }
            there
        }
        Err(errno) => return Err(Error::os("make its mount point", errno)),
    };
    let own = match host {
        Some(_) => None,
        None => host_device(device)?,
    };
    let Some(tree) = host.or(own.as_ref()) else { return Ok(()) };
    mount::attach(tree.as_fd(), target.as_fd()).call(|| "bind the host's device".into())
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
