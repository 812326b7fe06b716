//! `mount_setattr(2)` (Linux 5.12), which rustix lacks, and what statx(2) tells of mounts.

use super::denied;
use super::seccomp::may_deny;
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, fstat, major, minor, statx};
use rustix::io::{Errno, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `MOUNT_ATTR_RDONLY`
pub const RDONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`
pub const NOSUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`
pub const NODEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`
pub const NOEXEC: u64 = 0x8;
/// `MOUNT_ATTR__ATIME`: the field, not a flag. Whoever sets a mode of access
/// times must clear the whole field in the same call.
pub const ATIME_FIELD: u64 = 0x70;
/// `MOUNT_ATTR_NOATIME`
pub const NOATIME: u64 = 0x10;
/// `MOUNT_ATTR_STRICTATIME`
pub const STRICTATIME: u64 = 0x20;
/// `MOUNT_ATTR_NODIRATIME`
pub const NODIRATIME: u64 = 0x80;
/// `MOUNT_ATTR_NOSYMFOLLOW` (Linux 5.14)
pub const NOSYMFOLLOW: u64 = 0x20_0000;

/// `MOUNT_ATTR_IDMAP`
const IDMAP: u64 = 0x10_0000;

/// `struct mount_attr`, version 0.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Attributes to set and to clear; what is in neither stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `attr_set`
    pub set: u64,
    /// `attr_clr`
    pub clear: u64,
}

impl Attributes {
    /// Whether nothing is to be changed.
    pub fn is_empty(self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

/// The whole of a change. `propagation` is one of `MS_SHARED`, `MS_SLAVE`,
/// `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 to leave it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'fd> {
    /// Attributes.
    pub attributes: Attributes,
    /// Propagation type.
    pub propagation: u64,
    /// A user namespace whose mapping the mount takes (`MOUNT_ATTR_IDMAP`).
    pub idmap: Option<BorrowedFd<'fd>>,
    /// `AT_RECURSIVE`
    pub recursive: bool,
}

/// Changes the mount whose root `fd` refers to.
pub fn mount_setattr(fd: BorrowedFd<'_>, change: &Change<'_>) -> Result<()> {
    let mut attr = MountAttr {
        attr_set: change.attributes.set,
        attr_clr: change.attributes.clear,
        propagation: change.propagation,
        userns_fd: 0,
    };
    if let Some(userns) = change.idmap {
        attr.attr_set |= IDMAP;
        attr.userns_fd = u64::from(userns.as_raw_fd().unsigned_abs());
    }
    let recursive = if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: both fds are borrowed for the call; the path is a terminated
    // string; `attr` outlives the call and its own size is passed with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// The id of the mount that an open file is on, as mountinfo has it.
///
/// # Errors
/// None in practice.
pub fn mount_id(fd: BorrowedFd<'_>) -> Result<u64> {
    match statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
        Err(errno) if may_deny(errno) => denied::mount_id(fd),
        stat => stat.map(|stat| stat.stx_mnt_id),
    }
}

/// A mount, and a file on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The unique id of the mount (Linux 6.8), or else the one of mountinfo.
    pub mount: u64,
    /// Device and inode of the file.
    pub inode: (u32, u32, u64),
    /// Whether the file is known to be the root of the mount.
    pub is_root: bool,
}

/// `STATX_MNT_ID_UNIQUE` (Linux 6.8): not given again after an unmount. Before that the
/// other id has to do, which the kernel does not give again while the mount is held.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
/// `STATX_ATTR_MOUNT_ROOT` (Linux 5.8).
const MOUNT_ROOT: StatxAttributes = StatxAttributes::from_bits_retain(0x2000);

/// The mount of a file, and the file in it. An automount is not set off, and no server of
/// FUSE or NFS is asked, which may never answer. A FUSE without `allow_other` lets nobody
/// but its user ask for anything; the id of the mount is told all the same.
///
/// # Errors
/// Those of statx(2).
pub fn place(dir: BorrowedFd<'_>, path: &str, flags: AtFlags) -> Result<Place> {
    let wanted = StatxFlags::MNT_ID | MNT_ID_UNIQUE | StatxFlags::INO;
    let flags = flags | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = match statx(dir, path, flags, wanted) {
        Err(Errno::ACCESS) => statx(dir, path, flags, StatxFlags::empty()),
        Err(errno) if path.is_empty() && may_deny(errno) => {
            let (mount, stat) = (denied::mount_id(dir)?, fstat(dir)?);
            let inode = (major(stat.st_dev), minor(stat.st_dev), stat.st_ino);
            return Ok(Place { mount, inode, is_root: false });
        }
        stat => stat,
    }?;
    let inode = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
    let is_root = stat.stx_attributes.contains(MOUNT_ROOT);
    Ok(Place { mount: stat.stx_mnt_id, inode, is_root })
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
