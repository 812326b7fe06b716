//! Session keyrings: keyctl(2).

use super::errno::last_errno;
use rustix::io::Errno;
use std::ffi::{CStr, c_long};

// linux/keyctl.h
const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
const KEYCTL_SETPERM: c_long = 5;
const KEYCTL_DESCRIBE: c_long = 6;
const KEYCTL_READ: c_long = 11;

/// Joins the session keyring of that name, a new one if none can be found; returns
/// its serial number.
///
/// # Errors
/// `ENOSYS` where keyrings are not built in, `EDQUOT`, `EPERM` under seccomp.
pub fn join_session(name: &CStr) -> Result<i32, Errno> {
    // SAFETY: the name is a C string that outlives the call.
    let key =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    if key < 0 { Err(last_errno()) } else { Ok(key as i32) }
}

/// The description of a key: `type;uid;gid;perm;name`.
///
/// # Errors
/// `EACCES`, `ENOKEY`.
pub fn describe(key: i32) -> Result<String, Errno> {
    // An id may be that long by itself.
    let mut text = [0u8; 512];
    // SAFETY: the kernel writes at most the given length into the buffer.
    let got = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_DESCRIBE, key, text.as_mut_ptr(), text.len())
    };
    if got < 0 {
        return Err(last_errno());
    }
    let text = &text[..(got as usize).min(text.len())];
    Ok(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
}

/// How many bytes a key holds: none in an empty keyring.
///
/// # Errors
/// `EACCES`, `ENOKEY`.
pub fn size(key: i32) -> Result<usize, Errno> {
    let nothing: *mut u8 = std::ptr::null_mut();
    // SAFETY: with a length of 0 the kernel writes nothing and only counts.
    match unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_READ, key, nothing, 0_usize) } {
        -1 => Err(last_errno()),
        size => Ok(size as usize),
    }
}

/// Sets the permission mask of a key.
///
/// # Errors
/// `EACCES`, `ENOKEY`.
pub fn set_permissions(key: i32, mask: u32) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    match unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, mask) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
