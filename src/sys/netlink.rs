//! Options of netlink sockets: netlink(7).

use super::errno::last_errno;
use rustix::io::Errno;
use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `NETLINK_CAP_ACK`, linux/netlink.h.
const CAP_ACK: c_int = 10;
/// `NETLINK_EXT_ACK`, linux/netlink.h.
const EXT_ACK: c_int = 11;

/// Asks for refusals in words, and not to have the request sent back with them.
///
/// # Errors
/// `ENOPROTOOPT` if `socket` is no netlink socket.
pub fn enable_extended_ack(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    set(socket, CAP_ACK)?;
    set(socket, EXT_ACK)
}

fn set(socket: BorrowedFd<'_>, option: c_int) -> Result<(), Errno> {
    let on: c_int = 1;
    // SAFETY: the value is an int that outlives the call, and its size is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}
