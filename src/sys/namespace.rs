//! Namespace files: setns(2), `ioctl_nsfs(2)`.

use super::process::{Namespaces, last_errno};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `NS_GET_USERNS`, linux/nsfs.h.
const NS_GET_USERNS: u32 = 0xb701;
/// `NS_GET_NSTYPE`, the same.
const NS_GET_NSTYPE: u32 = 0xb703;
/// `NS_MNT_GET_NEXT`, linux/nsfs.h, Linux 6.12.
const NS_MNT_GET_NEXT: u32 = 0x8010_b70b;
/// `NS_MNT_GET_PREV`, the same.
const NS_MNT_GET_PREV: u32 = 0x8010_b70c;

/// `struct mnt_ns_info`, version 0.
#[repr(C)]
#[derive(Default)]
struct MountNamespaceInfo {
    size: u32,
    mounts: u32,
    id: u64,
}

/// Which kind of namespace a file stands for.
///
/// # Errors
/// `ENOTTY` if it is no namespace file.
pub fn kind_of(file: BorrowedFd<'_>) -> Result<Namespaces, Errno> {
    // SAFETY: this ioctl takes no argument and returns a CLONE_NEW* value.
    match unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) } {
        -1 => Err(last_errno()),
        kind => Ok(Namespaces(kind as u32)),
    }
}

/// The user namespace that owns the namespace of `file`.
///
/// # Errors
/// `EPERM` if it is neither ours nor one of its descendants.
pub fn owner_of(file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: this ioctl takes no argument.
    match unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_USERNS as _) } {
        -1 => Err(last_errno()),
        // SAFETY: the ioctl has opened a new descriptor that nobody else owns.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// Joins one namespace by its file, or those of a process by its pidfd
/// (Linux 5.8). A pid namespace takes effect for the next child.
///
/// # Errors
/// `EPERM`, or `EINVAL` for the user namespace that we are in.
pub fn join(fd: BorrowedFd<'_>, kinds: Namespaces) -> Result<(), Errno> {
    // SAFETY: takes an open descriptor and an integer.
    match unsafe { libc::setns(fd.as_raw_fd(), kinds.0 as i32) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// The mount namespace that was made next after `file`, of those that we may
/// enter, and how many mounts it has.
///
/// # Errors
/// `ENOENT` if there is none, `ENOTTY` before Linux 6.12.
pub fn newer_mount_namespace(file: BorrowedFd<'_>) -> Result<(OwnedFd, u32), Errno> {
    neighbour(file, NS_MNT_GET_NEXT)
}

/// The one that was made before `file`.
///
/// # Errors
/// As [`newer_mount_namespace`].
pub fn older_mount_namespace(file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    Ok(neighbour(file, NS_MNT_GET_PREV)?.0)
}

fn neighbour(file: BorrowedFd<'_>, which: u32) -> Result<(OwnedFd, u32), Errno> {
    let mut info = MountNamespaceInfo::default();
    // SAFETY: `info` outlives the call; the number of the ioctl holds its size.
    match unsafe { libc::ioctl(file.as_raw_fd(), which as _, &raw mut info) } {
        -1 => Err(last_errno()),
        // SAFETY: the ioctl has opened a new descriptor that nobody else owns.
        fd => Ok((unsafe { OwnedFd::from_raw_fd(fd) }, info.mounts)),
    }
}
