//! Options of sockets by which iptables-legacy reads its tables (linux/netfilter/x_tables.h).

use super::errno::last_errno;
use rustix::io::Errno;
use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Reads an option. `value` also says what is asked for; returns how much of it was filled.
///
/// # Errors
/// Those of getsockopt(2).
pub fn read_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &mut [u8],
) -> Result<usize, Errno> {
    let Ok(mut length) = libc::socklen_t::try_from(value.len()) else { return Err(Errno::NOMEM) };
    // SAFETY: the kernel writes at most `length` bytes, which the slice has; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(length as usize) } else { Err(last_errno()) }
}
