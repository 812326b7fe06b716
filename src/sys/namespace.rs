//! Namespace files: setns(2), `ioctl_nsfs(2)`.

use super::errno::last_errno;
use super::process::Namespaces;
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

/// A mount namespace beside another one.
#[derive(Debug)]
pub struct Neighbour {
    /// Its file.
    pub file: OwnedFd,
    /// How many mounts it has.
    pub mounts: u32,
    /// The id that statmount(2) and listmount(2) know it by.
    pub id: u64,
}

/// The mount namespace with the next greater id, of those that we may enter.
///
/// # Errors
/// `ENOENT` if there is none, `ENOTTY` before Linux 6.12.
pub fn next_mount_namespace(file: BorrowedFd<'_>) -> Result<Neighbour, Errno> {
    neighbour(file, NS_MNT_GET_NEXT)
}

/// The one with the next smaller id.
///
/// # Errors
/// As [`next_mount_namespace`].
pub fn previous_mount_namespace(file: BorrowedFd<'_>) -> Result<Neighbour, Errno> {
    neighbour(file, NS_MNT_GET_PREV)
}

fn neighbour(file: BorrowedFd<'_>, which: u32) -> Result<Neighbour, Errno> {
    let mut info = MountNamespaceInfo::default();
    // SAFETY: `info` outlives the call; the number of the ioctl holds its size.
    match unsafe { libc::ioctl(file.as_raw_fd(), which as _, &raw mut info) } {
        -1 => Err(last_errno()),
        fd => {
            // SAFETY: the ioctl has opened a new descriptor that nobody else owns.
            let file = unsafe { OwnedFd::from_raw_fd(fd) };
            Ok(Neighbour { file, mounts: info.mounts, id: info.id })
        }
    }
}

/// `struct mnt_id_req` of linux/mount.h, version 1 (Linux 6.11).
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
    namespace: u64,
}

/// `struct statmount` of linux/mount.h, up to the field that is asked for, and its strings.
#[repr(C)]
struct MountStatus {
    size: u32,
    options: u32,
    mask: u64,
    device: [u32; 2],
    magic: u64,
    flags: u32,
    file_system_type: u32,
    rest: [u64; 59],
    strings: [u8; 64],
}

/// `__NR_statmount`, the same on all architectures but alpha.
const SYS_STATMOUNT: libc::c_long = 457;
/// `__NR_listmount`, the same.
const SYS_LISTMOUNT: libc::c_long = 458;
/// `LSMT_ROOT`
const ROOT: u64 = u64::MAX;
/// `STATMOUNT_FS_TYPE`
const STATMOUNT_FS_TYPE: u64 = 0x20;

/// Whether the root of the mount namespace `id` is a file system of type `name`. Nothing
/// is entered or opened for it.
///
/// # Errors
/// `ENOSYS` before Linux 6.8; `ENOENT` if the namespace is gone.
pub fn has_root_of_type(id: u64, name: &str) -> Result<bool, Errno> {
    let mut request = MountRequest { size: 32, spare: 0, mount: ROOT, param: 0, namespace: id };
    let mut root = 0_u64;
    // SAFETY: the request and the buffer for one id live until the call returns.
    let count =
        unsafe { libc::syscall(SYS_LISTMOUNT, &raw const request, &raw mut root, 1_usize, 0_u32) };
    match count {
        -1 => return Err(last_errno()),
        0 => return Ok(false),
        _ => {}
    }
    (request.mount, request.param) = (root, STATMOUNT_FS_TYPE);
    let mut status = MountStatus {
        size: 0,
        options: 0,
        mask: 0,
        device: [0; 2],
        magic: 0,
        flags: 0,
        file_system_type: 0,
        rest: [0; 59],
        strings: [0; 64],
    };
    let size = size_of::<MountStatus>();
    // SAFETY: the request and the buffer of `size` bytes live until the call returns.
    let result =
        unsafe { libc::syscall(SYS_STATMOUNT, &raw const request, &raw mut status, size, 0_u32) };
    if result == -1 {
        return Err(last_errno());
    }
    let told = status.mask & STATMOUNT_FS_TYPE != 0;
    let text = status.strings.get(status.file_system_type as usize..).unwrap_or_default();
    Ok(told && text.split(|byte| *byte == 0).next() == Some(name.as_bytes()))
}
