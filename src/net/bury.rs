//! What the dead have left.

use super::bridges::{self, Host};
use super::conntrack;
use super::lease::{Entry, Network, Store};
use super::nft::{self, element};
use crate::error::Result;

/// Removes what a dead lease has left.
pub(super) fn bury(host: &mut Host, store: &Store, network: &Network, entry: &Entry) -> Result<()> {
    let mut closed = true;
    if let Some(lease) = store.lease(&network.name, entry)? {
        let elements = element::ports(&lease.ports, &lease.addresses, "");
        closed = nft::remove(&mut host.filter, &elements)?;
        conntrack::forget_container(&mut host.filter, &lease.ports, &lease.addresses)?;
    }
    store.drop_lease(&network.name, entry)?;
    if closed { Ok(()) } else { bridges::reload(host, store) }
}
