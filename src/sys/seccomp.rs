//! seccomp(2): a filter's form, and the call that installs one.

use super::errno::last_errno;
use crate::error::{Error, Result};
use rustix::io::Errno;
use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of classic BPF: `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the test holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Synchronise the filter to all threads of the process.
pub const FLAG_TSYNC: u32 = 1 << 0;
/// Log every action but ALLOW.
pub const FLAG_LOG: u32 = 1 << 1;
/// Leave the speculative store bypass mitigation off.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// Return a listener for `SECCOMP_RET_USER_NOTIF`.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// TSYNC reports failure by ESRCH, which leaves the return value to the listener.
pub const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// A process that waits for the listener's answer is woken by fatal signals only.
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// `SECCOMP_SET_MODE_FILTER` of linux/seccomp.h.
const SET_MODE_FILTER: libc::c_uint = 1;
/// `BPF_MAXINSNS` of linux/bpf_common.h: the longest program the kernel takes.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Installs `program` on the calling thread (on all, with `FLAG_TSYNC`).
/// With `FLAG_NEW_LISTENER` the listener comes back. Needs `no_new_privs` or
/// `CAP_SYS_ADMIN` in the user namespace.
pub fn load(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let describe = || format!("seccomp SET_MODE_FILTER with flags {flags:#x}");
    let len = u16::try_from(program.len()).map_err(|_| Error::os(describe(), Errno::INVAL))?;
    let filter = program.as_ptr().cast_mut().cast::<libc::sock_filter>();
    let fprog = libc::sock_fprog { len, filter };
    // SAFETY: `fprog` and the program that it points to outlive the call, which
    // copies both; `Instruction` has the layout of `sock_filter` and the kernel
    // only reads through the pointer.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const fprog) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        let hint = match error.raw_os_error() {
            Some(libc::EINVAL) if flags != 0 => "the kernel may lack one of the flags",
            Some(libc::EACCES) => "needs noNewPrivileges or CAP_SYS_ADMIN",
            _ => return Err(Error::io(describe(), &error)),
        };
        return Err(Error::io(describe(), &error).hint(hint));
    }
    if flags & FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let fd = i32::try_from(result).map_err(|_| Error::os(describe(), Errno::BADF))?;
    // SAFETY: with NEW_LISTENER a successful call returns a new fd that is ours.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Whether a filter may be why a call has failed so: one around us, of a container engine
/// that does not know the call, answers `EPERM` or `ENOSYS`. Without a filter `EPERM` is the
/// kernel's own word.
pub fn may_deny(errno: Errno) -> bool {
    errno == Errno::NOSYS || (errno == Errno::PERM && is_filtered())
}

/// Whether this process is under a filter (`PR_GET_SECCOMP(2const)`).
pub fn is_filtered() -> bool {
    // SAFETY: this operation takes no argument.
    match unsafe { libc::prctl(libc::PR_GET_SECCOMP) } {
        // Only a filter denies it; EINVAL is that of a kernel without filters.
        -1 => last_errno() != Errno::INVAL,
        mode => mode != 0,
    }
}

/// Whether the kernel knows every flag in `flags`. Installs nothing: the null
/// program is found out (EFAULT) only after the flags (EINVAL), see seccomp(2).
pub fn knows(flags: u32) -> bool {
    // WAIT_KILLABLE_RECV is refused without a listener.
    let listener = if flags & FLAG_WAIT_KILLABLE_RECV != 0 { FLAG_NEW_LISTENER } else { 0 };
    let none = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: a null program is what makes the kernel fail before it does anything.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags | listener, none) };
    result < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}
