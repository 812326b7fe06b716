//! The kernel's mount API with file descriptors only: `fsopen(2)`,
//! `fsmount(2)`, `open_tree(2)`, `move_mount(2)`, `mount_setattr(2)`.

use crate::error::{At, Context, Error, Result};
use crate::plan::mounts::FileSystem;
use crate::plan::options::Super;
use crate::sys::mount::{self as sys, Attributes, Change, RDONLY};
use crate::sys::mountinfo;
use crate::sys::seccomp::may_deny;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, FsWord, Mode, PROC_SUPER_MAGIC, StatVfsMountFlags, fstat, fstatvfs,
    mkdirat, statat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, MountPropagationFlags,
    MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_reconfigure,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick, mount_change, mount_remount,
    move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir};
use std::ffi::CString;
use std::path::Path;

/// Kernel file systems by type, and by their number in `statfs(2)`: what is hidden or read-only
/// at its own place would not be so at another one.
pub(super) const KERNELS: [(&str, FsWord); 10] = [
    ("proc", PROC_SUPER_MAGIC),
    ("sysfs", 0x6265_6572),
    ("cgroup", 0x0027_e0eb),
    ("cgroup2", 0x6367_7270),
    ("debugfs", 0x6462_6720),
    ("tracefs", 0x7472_6163),
    ("securityfs", 0x7363_6673),
    ("efivarfs", 0xde5e_81e4),
    ("pstore", 0x6165_676c),
    ("bpf", 0xcafe_4a11),
];

/// `fsconfig(2)` takes strings below this length.
const LONGEST_VALUE: usize = 255;

/// Attaches a detached mount to a directory or file.
pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags)
}

/// [`attach`] in `words`. Of a directory and another file move_mount(2) says EINVAL; the
/// word is mount(2)'s, ENOTDIR, for which engines look.
pub(super) fn attach_as(
    tree: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    words: impl FnOnce() -> String,
) -> Result<()> {
    let Err(errno) = attach(tree, target) else { return Ok(()) };
    let hint = match (errno, is_directory(tree), is_directory(target)) {
        (Errno::INVAL, Ok(true), Ok(false)) => "a directory cannot be mounted on another file",
        (Errno::INVAL, Ok(false), Ok(true)) => "only a directory can be mounted on a directory",
        _ => return Err(Error::os(words(), errno)),
    };
    Err(Error::os(words(), Errno::NOTDIR).hint(hint))
}

/// Whether it is a directory. A FUSE tells only its user; but that no other file has a "."
/// in it the kernel knows itself.
pub(super) fn is_directory(fd: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    match fstat(fd) {
        Err(Errno::ACCESS) => match statat(fd, ".", AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) | Err(Errno::ACCESS) => Ok(true),
            Err(Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(errno),
        },
        stat => Ok(FileType::from_raw_mode(stat?.st_mode) == FileType::Directory),
    }
}

/// Not even root gets into a FUSE of another user.
pub(super) fn explain_access(error: Error) -> Error {
    error.hint_on(
        Errno::ACCESS,
        "a directory there is closed to us, as a FUSE of another user is without allow_other",
    )
}

/// Attaches a detached mount to a path of this mount namespace.
pub(super) fn attach_at(tree: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<()> {
    move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Attaches a detached mount to what has this name in `dir`.
pub(super) fn attach_at_name(
    tree: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    name: &str,
) -> rustix::io::Result<()> {
    move_mount(tree, "", dir, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// A detached copy of the mounts at `path`.
pub(super) fn clone_path(
    path: &Path,
    recursive: bool,
    nofollow: bool,
) -> rustix::io::Result<OwnedFd> {
    let mut flags = clone_flags(recursive);
    if nofollow {
        flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    }
    open_tree(CWD, path, flags)
}

/// A detached copy of the mounts at `path` below `dir`.
pub(super) fn clone_at(
    dir: BorrowedFd<'_>,
    path: &Path,
    recursive: bool,
) -> rustix::io::Result<OwnedFd> {
    open_tree(dir, path, clone_flags(recursive))
}

/// A detached copy of the mounts at what `fd` refers to.
pub(super) fn clone_fd(fd: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    open_tree(fd, "", clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)
}

/// A new mount namespace with nothing but a copy of the mount of our root in it:
/// `OPEN_TREE_NAMESPACE`, Linux 7.0; `EINVAL` before.
pub(super) fn namespace_of_root() -> rustix::io::Result<OwnedFd> {
    let namespace = OpenTreeFlags::from_bits_retain(2);
    open_tree(CWD, "/", namespace | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// Makes a new file system: a detached mount with these attributes.
pub(super) fn new(fs: &FileSystem, attributes: u64, label: Option<&str>) -> Result<OwnedFd> {
    let context = fsopen(&fs.kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .call(|| format!("fsopen {}", fs.kind))
        .map_err(|error| explain_missing(error, &fs.kind))?;
    let configured = configure(context.as_fd(), fs, attributes, label)
        .and_then(|()| fsconfig_create(&context).call(|| format!("mount {}", fs.kind)));
    configured.map_err(|error| explain(context.as_fd(), error))?;
    let attributes = if fs.late_readonly { attributes & !RDONLY } else { attributes };
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr_flags(attributes))
        .call(|| format!("fsmount {}", fs.kind))
        .map_err(|error| explain(context.as_fd(), error))
}

/// The low bits of `MOUNT_ATTR_*`, all that fsmount(2) knows.
pub(super) fn attr_flags(attributes: u64) -> MountAttrFlags {
    MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(u32::MAX))
}

pub(super) fn configure(
    context: BorrowedFd<'_>,
    fs: &FileSystem,
    attributes: u64,
    label: Option<&str>,
) -> Result<()> {
    if let Some(source) = &fs.source {
        fsconfig_set_string(context, "source", source.as_str())
            .call(|| format!("fsconfig source={source}"))?;
    }
    // As mount(2) does with MS_RDONLY: the file system as well as the mount.
    if attributes & RDONLY != 0 && !fs.late_readonly {
        fsconfig_set_flag(context, "ro").call(|| "fsconfig ro".into())?;
    }
    for flag in fs.flags.iter().filter_map(|&(flag, on)| super_flag(flag, on)) {
        fsconfig_set_flag(context, flag).call(|| format!("fsconfig {flag}"))?;
    }
    for (key, value) in &fs.data {
        match value {
            Some(value) => fsconfig_set_string(context, key.as_str(), value.as_str())
                .call(|| format!("fsconfig {key}={value}"))?,
            None => fsconfig_set_flag(context, key.as_str()).call(|| format!("fsconfig {key}"))?,
        }
    }
    if let Some(label) = label {
        fsconfig_set_string(context, "context", label)
            .call(|| format!("fsconfig context={label}"))
            .hint(|| "linux.mountLabel needs a kernel with SELinux enabled")?;
    }
    Ok(())
}

/// Name of a superblock flag. Off is what a new file system begins with, but
/// for a remount it must be said. `silent` and `iversion` have no name: see
/// [`needs_classic`].
fn super_flag(flag: Super, on: bool) -> Option<&'static str> {
    match (flag, on) {
        (Super::Sync, true) => Some("sync"),
        (Super::Sync, false) => Some("async"),
        (Super::DirSync, true) => Some("dirsync"),
        (Super::Mand, true) => Some("mand"),
        (Super::Mand, false) => Some("nomand"),
        (Super::LazyTime, true) => Some("lazytime"),
        (Super::LazyTime, false) => Some("nolazytime"),
        (Super::DirSync, false) | (Super::IVersion | Super::Silent, _) => None,
    }
}

/// The kernel's own words from the log of a file-system context.
pub(super) fn explain(context: BorrowedFd<'_>, error: Error) -> Error {
    let mut line = [0u8; 512];
    let Ok(length) = rustix::io::read(context, &mut line) else { return error };
    let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
    // A line begins with its level: "e ", "w " or "i ".
    match text.split_once(' ') {
        Some((_, text)) => error.hint(text.trim_end()),
        None => error,
    }
}

pub(super) fn explain_missing(error: Error, kind: &str) -> Error {
    error.hint_on(Errno::NODEV, format!("the kernel has no file system {kind:?}"))
}

/// Whether only mount(2) can make it: the new API has no name for two old
/// flags, no subtype (`fuse.sshfs`), and takes short strings only.
pub(super) fn needs_classic(fs: &FileSystem) -> bool {
    let long = |value: &Option<String>| value.as_ref().is_some_and(|v| v.len() > LONGEST_VALUE);
    fs.kind.contains('.')
        || fs.flags.iter().any(|(flag, on)| *on && matches!(flag, Super::IVersion | Super::Silent))
        || long(&fs.source)
        || fs.data.iter().any(|(_, value)| long(value))
}

/// As [`new`], by mount(2), which wants a path: that of a directory in a new tmpfs on
/// `place`. Nobody else can change it, and it is gone again afterwards.
pub(super) fn new_classic(
    fs: &FileSystem,
    attributes: u64,
    label: Option<&str>,
    place: BorrowedFd<'_>,
) -> Result<OwnedFd> {
    let mut data: Vec<String> = Vec::with_capacity(fs.data.len() + 1);
    for (key, value) in &fs.data {
        data.push(value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}={value}")));
    }
    data.extend(label.map(|label| format!("context=\"{label}\"")));
    let data =
        CString::new(data.join(",")).map_err(|_| Error::new("options must not hold a NUL byte"))?;
    let attributes = if fs.late_readonly { attributes & !RDONLY } else { attributes };
    let mut flags = classic_flags(attributes);
    for (flag, on) in &fs.flags {
        flags.set(super_bit(*flag), *on);
    }
    let source = fs.source.as_deref().unwrap_or("none");
    let scratch = FileSystem { kind: "tmpfs".into(), ..FileSystem::default() };
    let scratch = new(&scratch, 0, None)?;
    attach(scratch.as_fd(), place).call(|| "move_mount of a tmpfs for mount(2)".into())?;
    fchdir(&scratch).call(|| "fchdir".into())?;
    let made = mkdirat(&scratch, "new", Mode::RWXU).call(|| "mkdirat".into()).and_then(|()| {
        rustix::mount::mount(source, "new", fs.kind.as_str(), flags, data.as_c_str())
            .call(|| format!("mount {}", fs.kind))?;
        clone_at(scratch.as_fd(), Path::new("new"), false).call(|| "open_tree".into())
    });
    // "." is the root of the tmpfs itself.
    unmount(".", UnmountFlags::DETACH).call(|| "umount the tmpfs for mount(2)".into())?;
    chdir("/").call(|| "chdir /".into())?;
    made
}

fn super_bit(flag: Super) -> MountFlags {
    match flag {
        Super::Sync => MountFlags::SYNCHRONOUS,
        Super::DirSync => MountFlags::DIRSYNC,
        Super::Mand => MountFlags::PERMIT_MANDATORY_FILE_LOCKING,
        Super::LazyTime => MountFlags::LAZYTIME,
        Super::IVersion => MountFlags::from_bits_retain(1 << 23),
        Super::Silent => MountFlags::SILENT,
    }
}

fn classic_flags(attributes: u64) -> MountFlags {
    let mut flags = MountFlags::empty();
    for (attribute, flag) in [
        (RDONLY, MountFlags::RDONLY),
        (sys::NOSUID, MountFlags::NOSUID),
        (sys::NODEV, MountFlags::NODEV),
        (sys::NOEXEC, MountFlags::NOEXEC),
        (sys::NOATIME, MountFlags::NOATIME),
        (sys::STRICTATIME, MountFlags::STRICTATIME),
        (sys::NODIRATIME, MountFlags::NODIRATIME),
        (sys::NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
    ] {
        flags.set(flag, attributes & attribute != 0);
    }
    flags
}

/// Changes flags and data of the file system that is mounted at `fd`.
pub(super) fn reconfigure(fd: BorrowedFd<'_>, fs: &FileSystem, set: Attributes) -> Result<()> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = fspick(fd, "", flags).call(|| "fspick".into())?;
    let unnamed = FileSystem { source: None, late_readonly: false, ..fs.clone() };
    let changed = configure(context.as_fd(), &unnamed, set.set, None).and_then(|()| {
        if set.clear & RDONLY != 0 {
            fsconfig_set_flag(&context, "rw").call(|| "fsconfig rw".into())?;
        }
        fsconfig_reconfigure(&context).call(|| "remount".into())
    });
    changed.map_err(|error| explain(context.as_fd(), error))
}

/// Changes attributes and propagation of an attached mount.
pub(super) fn change(mount: BorrowedFd<'_>, change: &Change<'_>) -> Result<()> {
    match sys::mount_setattr(mount, change) {
        Err(errno) if may_deny(errno) => change_classic(mount, change, errno),
        result => result.call(|| describe(change)),
    }
}

/// What [`change`] calls, in words.
pub(super) fn describe(change: &Change<'_>) -> String {
    let recursive = if change.recursive { " recursively" } else { "" };
    let idmap = if change.idmap.is_some() { " with an id mapping" } else { "" };
    let Attributes { set, clear } = change.attributes;
    format!(
        "mount_setattr set {set:#x} clear {clear:#x} propagation {:#x}{idmap}{recursive}",
        change.propagation
    )
}

/// The same before Linux 5.12, or where a filter denies it. mount(2) wants a path: one
/// through a procfs that nobody else has, since /proc may be anything by now. It changes
/// the attributes of one mount, so a change must not be meant for others below it.
fn change_classic(mount: BorrowedFd<'_>, change: &Change<'_>, errno: Errno) -> Result<()> {
    if change.idmap.is_some() {
        return Err(Error::os(describe(change), errno).hint("id-mapped mounts need Linux 5.12"));
    }
    let proc = FileSystem { kind: "proc".into(), ..FileSystem::default() };
    let proc = new(&proc, 0, None)?;
    fchdir(&proc).call(|| "fchdir".into())?;
    let path = format!("self/fd/{}", mount.as_raw_fd());
    if !change.attributes.is_empty() {
        if change.recursive && has_mounts_below(mount, proc.as_fd())? {
            return Err(Error::os(describe(change), errno)
                .hint("mount(2) would change the first mount only, and not those below it"));
        }
        let now = fstatvfs(mount).call(|| "fstatfs".into())?.f_flag;
        let now = attributes_of(now);
        let wanted = (now & !change.attributes.clear) | change.attributes.set;
        mount_remount(&path, classic_flags(wanted) | MountFlags::BIND, "")
            .call(|| format!("remount with attributes {wanted:#x}"))?;
    }
    if change.propagation != 0 {
        let mut flags =
            MountPropagationFlags::from_bits_retain(u32::try_from(change.propagation).unwrap_or(0));
        flags.set(MountPropagationFlags::REC, change.recursive);
        mount_change(&path, flags).call(|| describe(change))?;
    }
    chdir("/").call(|| "chdir /".into())
}

/// Whether mounts lie on an attached mount (`proc_pid_mountinfo(5)`).
fn has_mounts_below(mount: BorrowedFd<'_>, proc: BorrowedFd<'_>) -> Result<bool> {
    let id = sys::mount_id(mount).call(|| "statx".into())?;
    Ok(mountinfo::rows(&mountinfo::read_at(proc)?).any(|row| row.parent == id))
}

fn attributes_of(flags: StatVfsMountFlags) -> u64 {
    let mut attributes = 0;
    for (flag, attribute) in [
        (StatVfsMountFlags::RDONLY, RDONLY),
        (StatVfsMountFlags::NOSUID, sys::NOSUID),
        (StatVfsMountFlags::NODEV, sys::NODEV),
        (StatVfsMountFlags::NOEXEC, sys::NOEXEC),
        (StatVfsMountFlags::NOATIME, sys::NOATIME),
        (StatVfsMountFlags::NODIRATIME, sys::NODIRATIME),
    ] {
        if flags.contains(flag) {
            attributes |= attribute;
        }
    }
    let atime = StatVfsMountFlags::NOATIME | StatVfsMountFlags::RELATIME;
    if !flags.intersects(atime) {
        attributes |= sys::STRICTATIME;
    }
    attributes
}
