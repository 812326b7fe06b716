//! Flags of network devices: netdevice(7).

use super::errno::last_errno;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::ffi::CStr;
use std::os::fd::AsRawFd;

/// Sets `IFF_UP` and `IFF_RUNNING` on a device that has no other flag to keep
/// (a new loopback has none).
///
/// # Errors
/// `ENODEV`, `EPERM`.
pub fn set_up(name: &CStr) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = *from as _;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request is a valid ifreq that outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
