//! `network create`, `rm`, `ls`, `inspect`, `prune` and `reload`.

use super::bridges::{self, Host};
use super::bury::bury;
use super::connect::{leave_empty, tell_members};
use super::lease::{Lease, Network, Store, TAG};
use super::links;
use super::nft;
use crate::error::{Error, Result};
use crate::plan::network::{Firewall, NewNetwork};

/// A network as it is now.
#[derive(Debug)]
pub struct View {
    /// What is on record.
    pub network: Network,
    /// Whether its bridge is there.
    pub is_up: bool,
    /// Its members, and whether each is alive.
    pub members: Vec<(Lease, bool)>,
}

/// Makes a network that stays until it is removed.
///
/// # Errors
/// A name, a bridge or a subnet that is taken.
pub fn create(wish: &NewNetwork, firewall: Firewall) -> Result<Network> {
    let mut host = Host::open()?;
    let store = Store::lock()?;
    if store.network(&wish.name)?.is_some() {
        return Err(Error::new(format!("network {} is there already", wish.name))
            .hint(format!("`pinnace network inspect {}` shows it", wish.name)));
    }
    let (mut network, _) = bridges::make(&mut host, &store, wish, true)?;
    let told = bridges::pass(&mut host, &store, &mut network, firewall)
        .and_then(|()| bridges::forward(&store, &mut network))
        .and_then(|()| bridges::reload(&mut host, &store));
    match told {
        Ok(()) => Ok(network),
        Err(error) => Err(error.and(bridges::remove(&mut host, &store, &network))),
    }
}

/// All networks, or those of these names.
///
/// # Errors
/// A name that no network has.
pub fn list(names: &[String]) -> Result<Vec<View>> {
    let mut route = super::netlink::Socket::open(0)?;
    let Some(store) = Store::lock_if_there()? else {
        return names.first().map_or(Ok(Vec::new()), |name| Err(unknown(name)));
    };
    let all = if names.is_empty() { store.names()? } else { names.to_vec() };
    let mut views = Vec::new();
    for name in all {
        let Some(network) = store.network(&name)? else {
            if names.is_empty() {
                continue;
            }
            return Err(unknown(&name));
        };
        let is_up = links::find(&mut route, &network.bridge)?.is_some();
        let mut members = Vec::new();
        for (entry, lease) in bridges::leases(&store, &name)? {
            let is_live = store.is_live(&mut route, &name, &entry)?;
            members.push((lease, is_live));
        }
        views.push(View { network, is_up, members });
    }
    Ok(views)
}

fn unknown(name: &str) -> Error {
    Error::new(format!("there is no network {name:?}")).hint("`pinnace network ls` lists them")
}

/// Removes a network that nobody uses.
///
/// # Errors
/// Its members.
pub fn rm(name: &str) -> Result<()> {
    let mut host = Host::open()?;
    let Some(store) = Store::lock_if_there()? else { return Err(unknown(name)) };
    let network = store.network(name)?.ok_or_else(|| unknown(name))?;
    let mut members = Vec::new();
    for entry in store.entries(name)? {
        match store.is_live(&mut host.route, name, &entry)? {
            true => members.push(entry.id),
            false => bury(&mut host, &store, &network, &entry)?,
        }
    }
    if !members.is_empty() {
        return Err(Error::new(format!("network {name} is used by {}", members.join(", "))));
    }
    bridges::remove(&mut host, &store, &network)
}

/// Removes what crashes have left: dead leases, networks of theirs, devices that nobody has a
/// lease for. Returns what it has removed.
///
/// # Errors
/// Those of the kernel.
pub fn prune() -> Result<Vec<String>> {
    let mut host = Host::open()?;
    let store = Store::lock()?;
    let (mut removed, mut devices) = (Vec::new(), Vec::new());
    for name in store.names()? {
        let Some(network) = store.network(&name)? else {
            store.sweep(&name)?;
            removed.push(format!("record of {name}"));
            continue;
        };
        for (entry, lease) in bridges::leases(&store, &name)? {
            if store.is_live(&mut host.route, &name, &entry)? {
                devices.push(lease.device);
            } else {
                bury(&mut host, &store, &network, &entry)?;
                removed.push(format!("lease of {} in {name}", entry.id));
            }
        }
        tell_members(&store, &network, None)?;
        store.tidy(&name)?;
        leave_empty(&mut host, &store, &network)?;
        match store.network(&name)? {
            Some(network) => devices.push(network.bridge),
            None => removed.push(format!("network {name}")),
        }
    }
    for link in links::all(&mut host.route)? {
        if link.alias.starts_with(TAG) && !devices.contains(&link.name) {
            host.route.ask(&links::delete(link.index), &|| format!("remove {}", link.name))?;
            removed.push(format!("device {}", link.name));
        }
    }
    bridges::reload(&mut host, &store)?;
    Ok(removed)
}

/// Makes the firewall's table anew, after somebody has flushed it, and puts back bridges, their
/// addresses and members.
///
/// # Errors
/// Those of the kernel.
pub fn reload() -> Result<()> {
    let mut host = Host::open()?;
    let store = Store::lock()?;
    let mut result = bridges::reload(&mut host, &store).map_err(nft::explain);
    for name in store.names()? {
        let Some(mut network) = store.network(&name)? else { continue };
        let mended = bridges::mend(&mut host, &store, &network);
        result = result.and(mended);
        if network.inserted {
            let passed = bridges::pass(&mut host, &store, &mut network, Firewall::Insert);
            result = result.and(passed);
        }
    }
    result
}
