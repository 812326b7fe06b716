//! `mount_setattr(2)` (Linux 5.12), which rustix lacks.

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

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
