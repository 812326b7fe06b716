//! The container's network: devices of the host that are moved in, and for who has no engine
//! bridges with a firewall of their own. `links`, `nft` and `conntrack` speak to the kernel,
//! `lease` to the disk; `bridges`, `connect` and `manage` tell the story.

mod bridges;
mod bury;
mod claim;
mod connect;
mod conntrack;
pub mod devices;
mod lease;
mod links;
mod manage;
mod names;
mod netlink;
mod nft;
mod sysctl;

pub use claim::Member;
pub use connect::{setup, teardown};
pub use lease::{Lease, Network};
pub use manage::{View, create, list, prune, reload, rm};
pub use names::FILES;

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
