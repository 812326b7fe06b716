//! What a member gets: an address that nobody else has, and a lease for it.

use super::bridges::{self, Host};
use super::bury::bury;
use super::lease::{Entry, Held, Lease, Network, Store, key, mac_of};
use crate::error::{Context, Error, Result};
use crate::plan::network::{Subnet, Wish, mac_text};
use crate::sys::random;
use std::net::IpAddr;

/// Who is connected.
#[derive(Debug)]
pub struct Member<'a> {
    /// The container.
    pub id: &'a str,
    /// Its bundle: with the id it is one of a kind.
    pub bundle: &'a str,
}

/// Takes an address, and writes the lease.
///
/// # Errors
/// An address that another has; no address that is free.
pub(super) fn claim(
    host: &mut Host,
    store: &Store,
    network: &Network,
    wish: &Wish,
    member: &Member<'_>,
    has_ipv6: bool,
) -> Result<(Lease, Held)> {
    let key = key(member.bundle);
    let mut entries = store.entries(&network.name)?;
    for at in (0..entries.len()).rev() {
        let entry = &entries[at];
        if entry.key != key || (entry.id != member.id && !entry.has_files) {
            continue;
        }
        if !store.is_live(&mut host.route, &network.name, entry)? {
            bury(host, store, network, entry)?;
            entries.remove(at);
        } else if entry.id == member.id {
            let (id, address) = (&entry.id, entry.address);
            return Err(Error::new(format!(
                "{id} is connected to {} already, as {address}",
                network.name
            )));
        } else if store.lease(&network.name, entry)?.is_some_and(|lease| lease.files == wish.files)
        {
            return Err(Error::new(format!(
                "container {} uses the name files of this bundle",
                entry.id
            ))
            .hint("two containers at once need two bundles, or `run --network`"));
        }
    }
    let mut addresses = choose(host, store, network, wish, member, &entries)?;
    if !has_ipv6 {
        addresses.truncate(1);
    }
    check_ipv6(network, wish, &addresses)?;
    let number = network.subnets[0].number_of(addresses[0]);
    let usual = network.subnets.get(1).zip(number).map(|(subnet, number)| subnet.nth(number));
    let differs = addresses.get(1).is_some_and(|address| Some(*address) != usual);
    if let Some(mac) = wish.mac {
        check_mac(host, store, network, mac, addresses[0])?;
    }
    let [word] = random::words().call(|| "getrandom".into())?;
    let lease = Lease {
        id: member.id.to_owned(),
        key,
        addresses,
        device: format!("pn{}", &word[..10]),
        bundle: member.bundle.to_owned(),
        ports: wish.publish.clone(),
        files: wish.files.clone(),
        mac: wish.mac,
        differs,
    };
    let held = store.take(&network.name, &lease)?;
    Ok((lease, held))
}

/// Whether what is asked of IPv6 can be had.
fn check_ipv6(network: &Network, wish: &Wish, addresses: &[IpAddr]) -> Result<()> {
    if addresses.len() > 1 {
        return Ok(());
    }
    let published = wish.publish.iter().find(|one| one.address.is_some_and(|to| to.is_ipv6()));
    let option = match (published, wish.ip6) {
        (Some(publish), _) => format!("--publish {publish}"),
        (None, Some(address)) => format!("--ip6: {address}"),
        (None, None) => return Ok(()),
    };
    let rule = match network.subnets.len() {
        1 => format!("network {} has no IPv6", network.name),
        _ => "IPv6 is off in the container's network namespace".into(),
    };
    Err(Error::new(rule).at(option))
}

/// The addresses: those that are wished for, or those of a number that depends on the name, so
/// that a container finds its own again as long as nobody else has taken it.
fn choose(
    host: &mut Host,
    store: &Store,
    network: &Network,
    wish: &Wish,
    member: &Member<'_>,
    entries: &[Entry],
) -> Result<Vec<IpAddr>> {
    let subnet = network.subnets[0];
    let number = match wish.ip {
        Some(address) => {
            let number = subnet.number_of(address);
            let number = number.filter(|number| (1..=subnet.hosts() + 1).contains(number));
            let number = number.filter(|_| !network.gateways.contains(&address));
            number.ok_or_else(|| wrong("--ip", address, network))?
        }
        None => match first_free(network, member, entries) {
            Some(number) => number,
            None => first_dead(host, store, network, entries)?,
        },
    };
    let address = subnet.nth(number);
    if let Some(entry) = entries.iter().find(|entry| entry.address == address) {
        if store.is_live(&mut host.route, &network.name, entry)? {
            return Err(of_another("--ip", address, entry));
        }
        bury(host, store, network, entry)?;
    }
    let mut addresses = vec![address];
    match (network.subnets.get(1), wish.ip6) {
        (Some(subnet), Some(address)) => {
            check_v6(host, store, network, subnet, address)?;
            addresses.push(address);
        }
        (Some(subnet), None) => {
            addresses.push(free_v6(host, store, network, subnet, number, entries)?);
        }
        // Whoever wishes for one is told.
        (None, _) => {}
    }
    Ok(addresses)
}

fn wrong(option: &str, address: IpAddr, network: &Network) -> Error {
    let list: Vec<_> = network.subnets.iter().map(ToString::to_string).collect();
    let (list, gateway) = (list.join(" and "), network.gateways[0]);
    Error::new(format!("{address} is no address for a container of {}", network.name))
        .at(option)
        .hint(format!("it has {list}, of which {gateway} is the bridge's"))
}

fn of_another(option: &str, address: IpAddr, entry: &Entry) -> Error {
    Error::new(format!("{address} is that of container {}", entry.id)).at(option)
}

/// The first number that nobody has, from the one on that depends on the name.
fn first_free(network: &Network, member: &Member<'_>, entries: &[Entry]) -> Option<u32> {
    let subnet = network.subnets[0];
    let hosts = subnet.hosts();
    let first = super::lease::hash(format!("{}@{}", member.id, member.bundle).as_bytes());
    let mut all = (0..hosts).map(|n| 2 + (first as u32 % hosts + n) % hosts);
    all.find(|number| {
        let address = subnet.nth(*number);
        !network.gateways.contains(&address) && entries.iter().all(|one| one.address != address)
    })
}

/// Whether that address of IPv6 can be had.
fn check_v6(
    host: &mut Host,
    store: &Store,
    network: &Network,
    subnet: &Subnet,
    address: IpAddr,
) -> Result<()> {
    let is_own = network.gateways.contains(&address) || address == subnet.address;
    if is_own || !subnet.contains(address) {
        return Err(wrong("--ip6", address, network));
    }
    for (entry, lease) in bridges::leases(store, &network.name)? {
        if lease.addresses.contains(&address)
            && store.is_live(&mut host.route, &network.name, &entry)?
        {
            return Err(of_another("--ip6", address, &entry));
        }
    }
    Ok(())
}

/// An address of IPv6: the one with the same number, or the next that is free. The bridge of
/// somebody else has any number, and the subnet may be smaller than the other one.
fn free_v6(
    host: &mut Host,
    store: &Store,
    network: &Network,
    subnet: &Subnet,
    number: u32,
    entries: &[Entry],
) -> Result<IpAddr> {
    let mut taken = network.gateways.clone();
    for entry in entries.iter().filter(|entry| entry.differs) {
        if store.is_live(&mut host.route, &network.name, entry)? {
            taken.extend(store.lease(&network.name, entry)?.into_iter().flat_map(|l| l.addresses));
        }
    }
    let has_number = |entry: &Entry, other: u32| {
        !entry.differs && network.subnets[0].number_of(entry.address) == Some(other)
    };
    let hosts = subnet.hosts();
    let mut all = (0..hosts).map(|n| 2 + (number.saturating_sub(2) % hosts + n) % hosts);
    let free = all.find(|other| {
        !taken.contains(&subnet.nth(*other))
            && (*other == number || !entries.iter().any(|entry| has_number(entry, *other)))
    });
    let free = free.map(|number| subnet.nth(number));
    free.ok_or_else(|| {
        Error::new(format!("network {} has no free address in {subnet}", network.name))
            .hint("`pinnace network create --subnet6` makes a larger one")
    })
}

/// The number of an address whose owner is dead, of a network without a free one.
fn first_dead(host: &mut Host, store: &Store, network: &Network, entries: &[Entry]) -> Result<u32> {
    for entry in entries {
        if !store.is_live(&mut host.route, &network.name, entry)?
            && let Some(number) = network.subnets[0].number_of(entry.address)
        {
            return Ok(number);
        }
    }
    Err(Error::new(format!(
        "network {} has no free address: {} containers are in it",
        network.name,
        entries.len()
    ))
    .hint("`pinnace network create --subnet` makes a larger one"))
}

/// Two of one hardware address on a bridge get each other's packets, by turns.
fn check_mac(
    host: &mut Host,
    store: &Store,
    network: &Network,
    mac: [u8; 6],
    own: IpAddr,
) -> Result<()> {
    let taken = |whose: String| {
        Err(Error::new(format!("{} is that of {whose}", mac_text(mac))).at("--mac"))
    };
    if mac == bridges::mac(&network.bridge) {
        return taken(format!("the bridge {}", network.bridge));
    }
    for (entry, lease) in bridges::leases(store, &network.name)? {
        let theirs = lease.mac.unwrap_or_else(|| mac_of(entry.address));
        if theirs == mac && store.is_live(&mut host.route, &network.name, &entry)? {
            return taken(format!("container {}", entry.id));
        }
    }
    // Whoever comes later gets one that says its address.
    let [.., a, b, c, d] = mac;
    let address = IpAddr::from([a, b, c, d]);
    match mac_of(address) == mac && address != own && network.subnets[0].contains(address) {
        true => taken(format!("whoever has the address {address}")),
        false => Ok(()),
    }
}
