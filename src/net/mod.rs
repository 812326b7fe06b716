//! The container's network devices.

pub mod devices;
mod netlink;

#[cfg(fuzzing)]
pub use netlink::fuzz;

use crate::error::{Context, Result};
use crate::sys::netdevice;

/// Brings the loopback device of this network namespace up, as every peer does.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` over the namespace.
pub fn loopback_up() -> Result<()> {
    netdevice::set_up(c"lo").call(|| "ioctl(SIOCSIFFLAGS, lo, IFF_UP)".into())
}
