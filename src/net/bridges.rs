//! Networks: a bridge, its subnets, its place in the firewall.

use super::lease::{Entry, Lease, Network, Store, TAG, hash};
use super::links::{self, Link};
use super::netlink::{Request, Socket};
use super::nft::{self, element, foreign, legacy};
use super::sysctl;
use crate::error::{At as _, Error, Result};
use crate::plan::network::{DEFAULT, Firewall, NewNetwork, Publish, Subnet};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv6 wants packets of that size to pass (RFC 8200, section 5).
const LEAST_MTU_OF_IPV6: u32 = 1280;
/// A bridge has no larger one (`ETH_MAX_MTU`); that of `lo` is one more.
const LARGEST_MTU: u32 = 65535;
/// The usual one, where no default route tells another.
const USUAL_MTU: u32 = 1500;

/// How this network namespace is asked and told.
#[derive(Debug)]
pub(super) struct Host {
    pub route: Socket,
    pub filter: Socket,
}

impl Host {
    /// Opens both sockets.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn open() -> Result<Self> {
        Ok(Self { route: Socket::open(0)?, filter: Socket::netfilter().map_err(nft::explain)? })
    }
}

/// The name of a network's bridge: 15 bytes at most.
fn device(network: &str) -> String {
    match network {
        DEFAULT => format!("{DEFAULT}0"),
        short if short.len() <= 12 => format!("pn-{short}"),
        long => format!("pn-{:012x}", hash(long.as_bytes()) & 0xffff_ffff_ffff),
    }
}

/// A hardware address of its own for each bridge, the same on every start: locally
/// administered, not that of a group.
pub(super) fn mac(bridge: &str) -> [u8; 6] {
    let [a, b, c, d, ..] = hash(bridge.as_bytes()).to_be_bytes();
    [0x02, 0x42, a, b, c, d]
}

/// The network of that name, with its bridge up; made if there is none. Returns the index of
/// the bridge.
///
/// # Errors
/// A bridge of somebody else's, no free subnet, no privilege.
pub(super) fn raise(host: &mut Host, store: &Store, name: &str) -> Result<(Network, u32)> {
    let Some(mut network) = store.network(name)? else {
        return make(host, store, &NewNetwork::new(name), false);
    };
    let found = links::find(&mut host.route, &network.bridge)?;
    let index = match found {
        Some(link) if network.adopted || link.alias.starts_with(TAG) => {
            check_bridge(&link)?;
            if !link.is_up && !network.adopted {
                let call = || format!("set {} up", link.name);
                host.route.ask(&links::set_up(link.index, "", 0), &call)?;
            }
            return Ok((network, link.index));
        }
        None if network.adopted => {
            return Err(Error::new(format!(
                "network {name}: its bridge {} is gone, and was not ours",
                network.bridge
            )));
        }
        // It was being made by somebody who was killed.
        Some(link) if is_ours(&link) => link.index,
        Some(link) => return Err(foreign_device(&link.name)),
        None => 0,
    };
    if index > 0 {
        host.route.ask(&links::delete(index), &|| format!("remove {}", network.bridge))?;
    }
    check_free(host, store, &network.name, &network.subnets)?;
    let index = build(host, &network)?;
    let living = living(host, store, name)?;
    rejoin(host, store, &mut network, index, &living)?;
    Ok((network, index))
}

/// The addresses that the bridge is to have; none if it is somebody else's.
pub(super) fn addresses(network: &Network, index: u32) -> Vec<Request> {
    let ends = network.subnets.iter().zip(&network.gateways).filter(|_| !network.adopted);
    // One that is there stays; IPv6 may have been switched off since.
    let address = |(subnet, gateway): (&Subnet, &IpAddr)| {
        links::address(index, *gateway, subnet).excuse(&[Errno::EXIST, Errno::ACCESS])
    };
    ends.map(address).collect()
}

/// Puts back what somebody has taken away: the bridge, its addresses, its living members.
///
/// # Errors
/// A bridge of somebody else's that is gone.
pub(super) fn mend(host: &mut Host, store: &Store, network: &Network) -> Result<()> {
    let living = living(host, store, &network.name)?;
    if living.is_empty() && (network.adopted || !network.kept) {
        return Ok(());
    }
    let (mut network, index) = raise(host, store, &network.name)?;
    let name = network.bridge.clone();
    let call = |_| format!("give {name} its addresses");
    host.route.ask_all(&addresses(&network, index), &call)?;
    rejoin(host, store, &mut network, index, &living)
}

/// Makes the devices of members ports of a bridge again.
fn rejoin(
    host: &mut Host,
    store: &Store,
    network: &mut Network,
    index: u32,
    members: &[Lease],
) -> Result<()> {
    let hairpin = sysctl::filters_bridges()?;
    for lease in members {
        let alias = lease.owner(&network.name);
        let all = [links::join(&lease.device, index), links::port(&lease.device, &alias, hairpin)];
        let call = |_| format!("make {} a port of {}", lease.device, network.bridge);
        match host.route.ask_all(&all, &call) {
            // It has just ended, or its device is still being made.
            Err(error) if error.errno() == Some(Errno::NODEV) => {}
            done => done?,
        }
    }
    match members.iter().flat_map(|lease| &lease.ports).any(Publish::reaches_loopback) {
        true => open_loopback(store, network),
        false => Ok(()),
    }
}

fn living(host: &mut Host, store: &Store, network: &str) -> Result<Vec<Lease>> {
    let mut living = Vec::new();
    for (entry, lease) in leases(store, network)? {
        if store.is_live(&mut host.route, network, &entry)? {
            living.push(lease);
        }
    }
    Ok(living)
}

/// Lets the host forward packets; what that has switched on, for the host's other devices too, is
/// on record.
///
/// # Errors
/// A switch that cannot be set, a record that cannot be written.
pub(super) fn forward(store: &Store, network: &mut Network) -> Result<()> {
    let switched = sysctl::forward(network.subnets.len() > 1)?;
    if switched.is_empty() {
        return Ok(());
    }
    network.switched.extend(switched.into_iter().map(str::to_owned));
    store.save(network)
}

/// Whether we have made it. One that was being made by somebody who was killed has no alias
/// yet, but our hardware address.
fn is_ours(link: &Link) -> bool {
    link.kind == "bridge" && (link.alias.starts_with(TAG) || link.mac == mac(&link.name))
}

fn foreign_device(name: &str) -> Error {
    Error::new(format!("the device {name} is there, and not ours"))
        .hint(format!("`ip link del {name}` removes it, `--bridge {name}` uses it as it is"))
}

fn check_bridge(link: &Link) -> Result<()> {
    if link.kind == "bridge" {
        return Ok(());
    }
    Err(Error::new(format!("the device {} is no bridge", link.name)))
}

/// Makes a network. The record comes first: it names what could be left.
///
/// # Errors
/// As [`raise`].
pub(super) fn make(
    host: &mut Host,
    store: &Store,
    wish: &NewNetwork,
    kept: bool,
) -> Result<(Network, u32)> {
    let bridge = wish.bridge.clone().unwrap_or_else(|| device(&wish.name));
    let found = links::find(&mut host.route, &bridge)?;
    if wish.bridge.is_some() {
        let link = found
            .ok_or_else(|| Error::new(format!("no device is named {bridge}")).at("--bridge"))?;
        return adopt(host, store, wish, &link);
    }
    if let Some(link) = found {
        // Ours of a record that is gone may go, too.
        if !is_ours(&link) {
            return Err(foreign_device(&bridge));
        }
        host.route.ask(&links::delete(link.index), &|| format!("remove {bridge}"))?;
    }
    let (used, uplink) = links::used(&mut host.route, false)?;
    let (used6, uplink6) = links::used(&mut host.route, true)?;
    let mtu = match wish.mtu {
        Some(mtu) => mtu,
        None => mtu_of(host, uplink.or(uplink6))?,
    };
    let others = others(store, &wish.name)?;
    let mut subnets = vec![match &wish.subnet {
        Some(subnet) => {
            check(subnet, &used, &others)?;
            *subnet
        }
        None => free_v4(&used, &others)?,
    }];
    if sysctl::has_ipv6()? && mtu >= LEAST_MTU_OF_IPV6 {
        subnets.push(match &wish.subnet6 {
            Some(subnet) => {
                check(subnet, &used6, &others)?;
                *subnet
            }
            None => free_v6(&wish.name, &used6, &others)?,
        });
    } else if wish.subnet6.is_some() {
        return Err(
            Error::new("IPv6 is off on this host, or the MTU is below 1280").at("--subnet6")
        );
    }
    let gateways = subnets.iter().map(|subnet| subnet.nth(1)).collect();
    let name = wish.name.clone();
    let (adopted, inserted, opened) = (false, false, false);
    let switched = Vec::new();
    let network =
        Network { name, bridge, subnets, gateways, mtu, kept, adopted, inserted, opened, switched };
    store.save(&network)?;
    match build(host, &network) {
        Ok(index) => Ok((network, index)),
        Err(error) => Err(error.and(remove(host, store, &network))),
    }
}

/// The largest packet of the default route's device.
fn mtu_of(host: &mut Host, uplink: Option<u32>) -> Result<u32> {
    let Some(index) = uplink else { return Ok(USUAL_MTU) };
    let link = links::all(&mut host.route)?.into_iter().find(|link| link.index == index);
    Ok(link.map_or(USUAL_MTU, |link| link.mtu.min(LARGEST_MTU)))
}

/// Uses a bridge as it is: containers get addresses of its first subnets.
fn adopt(host: &mut Host, store: &Store, wish: &NewNetwork, link: &Link) -> Result<(Network, u32)> {
    check_bridge(link)?;
    for name in store.names()? {
        // Each network chooses addresses by its own leases, and removes its own elements.
        if store.network(&name)?.is_some_and(|network| network.bridge == link.name) {
            return Err(
                Error::new(format!("{} is that of network {name}", link.name)).at("--bridge")
            );
        }
    }
    let others = others(store, &wish.name)?;
    let (mut subnets, mut gateways) = (Vec::new(), Vec::new());
    for is_ipv6 in [false, true] {
        let found = links::addresses_of(&mut host.route, link.index, is_ipv6)?;
        if let Some((address, prefix)) = found.first() {
            let subnet = Subnet::parse(&Subnet::new(*address, *prefix).to_string());
            if is_ipv6 && subnet.is_err() {
                // Containers go without.
                continue;
            }
            let subnet = subnet.at(|| format!("--bridge {}", link.name))?;
            check(&subnet, &[], &others)?;
            subnets.push(subnet);
            gateways.push(*address);
        }
    }
    if !gateways.first().is_some_and(IpAddr::is_ipv4) {
        return Err(Error::new(format!("{} has no IPv4 address", link.name))
            .at("--bridge")
            .hint("containers get theirs from its subnet"));
    }
    let network = Network {
        name: wish.name.clone(),
        bridge: link.name.clone(),
        subnets,
        gateways,
        mtu: link.mtu,
        kept: true,
        adopted: true,
        inserted: false,
        opened: false,
        switched: Vec::new(),
    };
    store.save(&network)?;
    Ok((network, link.index))
}

/// Makes the bridge: what routers say is not believed from before it is up.
fn build(host: &mut Host, network: &Network) -> Result<u32> {
    let name = &network.bridge;
    let call = || format!("make the bridge {name}");
    host.route.ask(&links::bridge(name, mac(name)), &call).map_err(nft::explain)?;
    let Some(link) = links::find(&mut host.route, name)? else {
        return Err(Error::new(format!("the bridge {name} is gone again")));
    };
    sysctl::ignore_routers(name)?;
    // It asks for neighbours from its link-local address, which is its own by its hardware address.
    sysctl::set(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
    let alias = format!("{TAG}{}", network.name);
    let mut all = vec![links::set_up(link.index, &alias, network.mtu)];
    let ends = network.subnets.iter().zip(&network.gateways);
    all.extend(ends.map(|(subnet, gateway)| links::address(link.index, *gateway, subnet)));
    host.route.ask_all(&all, &|place| match place {
        0 => format!("set {name} up"),
        n => format!("give {name} an address of {}", network.subnets[n - 1]),
    })?;
    Ok(link.index)
}

/// Networks and their subnets, but for that one.
pub(super) fn others(store: &Store, but: &str) -> Result<Vec<(String, Subnet)>> {
    let mut all = Vec::new();
    for name in store.names()?.into_iter().filter(|name| name != but) {
        let Some(network) = store.network(&name)? else { continue };
        all.extend(network.subnets.iter().map(|subnet| (name.clone(), *subnet)));
    }
    Ok(all)
}

fn check(subnet: &Subnet, used: &[Subnet], others: &[(String, Subnet)]) -> Result<()> {
    if let Some((name, other)) = others.iter().find(|(_, other)| other.overlaps(subnet)) {
        return Err(Error::new(format!("subnet {subnet}: network {name} has {other}")));
    }
    match used.iter().find(|other| other.overlaps(subnet)) {
        Some(other) => Err(Error::new(format!(
            "subnet {subnet}: this host has a route or an address in {other}"
        ))
        .hint("--subnet chooses another")),
        None => Ok(()),
    }
}

fn check_free(host: &mut Host, store: &Store, name: &str, subnets: &[Subnet]) -> Result<()> {
    let others = others(store, name)?;
    for subnet in subnets {
        let (used, _) = links::used(&mut host.route, subnet.address.is_ipv6())?;
        check(subnet, &used, &others).map_err(|error| {
            error
                .at(format!("network {name}"))
                .also("`pinnace network rm` and `create` make it anew")
        })?;
    }
    Ok(())
}

/// The first /24 of 10.0.0.0/8 from 10.77 on in which nobody has an address or a route. A tunnel
/// may lead to all of that: then of the other private ranges (RFC 1918).
fn free_v4(used: &[Subnet], others: &[(String, Subnet)]) -> Result<Subnet> {
    let ten = (0..=u16::MAX).map(|n| {
        let [high, low] = n.wrapping_add(77 << 8).to_be_bytes();
        Ipv4Addr::new(10, high, low, 0)
    });
    let twelve = (16..32).flat_map(|high| (0..=255).map(move |low| (172, high, low)));
    let sixteen = (0..=255).map(|low| (192, 168, low));
    let rest = twelve.chain(sixteen).map(|(a, b, c)| Ipv4Addr::new(a, b, c, 0));
    first_free(ten.chain(rest).map(|first| Subnet::new(first.into(), 24)), used, others)
}

/// A unique local one (RFC 4193): the same on every start of this machine, as its id tells.
fn free_v6(name: &str, used: &[Subnet], others: &[(String, Subnet)]) -> Result<Subnet> {
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    let global = hash(&machine).to_be_bytes();
    let first = hash(name.as_bytes()) as u16;
    let candidates = (0..=u16::MAX).map(|n| {
        let [a, b, c, d, e, ..] = global;
        let [f, g] = first.wrapping_add(n).to_be_bytes();
        let address = Ipv6Addr::from([0xfd, a, b, c, d, e, f, g, 0, 0, 0, 0, 0, 0, 0, 0]);
        Subnet::new(address.into(), 64)
    });
    first_free(candidates, used, others)
}

fn first_free(
    mut candidates: impl Iterator<Item = Subnet>,
    used: &[Subnet],
    others: &[(String, Subnet)],
) -> Result<Subnet> {
    let is_free = |subnet: &Subnet| check(subnet, used, others).is_ok();
    candidates.find(is_free).ok_or_else(|| {
        Error::new("no subnet is free: routes or addresses of this host are everywhere")
            .hint("`pinnace network create --subnet` takes one that you name")
    })
}

/// Sees to it that another firewall lets the bridge pass, or says what has to be done.
///
/// # Errors
/// A chain that drops what is forwarded, unless rules may be inserted.
pub(super) fn pass(
    host: &mut Host,
    store: &Store,
    network: &mut Network,
    firewall: Firewall,
) -> Result<()> {
    if firewall == Firewall::None {
        return Ok(());
    }
    let insert = firewall == Firewall::Insert || network.inserted;
    let bridge = &network.bridge;
    let has_ipv6 = network.subnets.len() > 1;
    let mut chains = foreign::blockers(&mut host.filter, bridge, has_ipv6)?;
    let older = legacy::blockers(bridge, has_ipv6)?;
    chains.extend(older);
    let closed: Vec<_> =
        chains.iter().filter(|chain| !insert || !chain.takes_rules()).cloned().collect();
    if !closed.is_empty() {
        return Err(foreign::refusal(&closed, bridge));
    }
    if chains.is_empty() {
        return Ok(());
    }
    // On record before it is done: who is killed meanwhile leaves rules that are known of.
    if !network.inserted {
        network.inserted = true;
        store.save(network)?;
    }
    chains.iter().try_for_each(|chain| chain.insert(&mut host.filter, &network.bridge))
}

fn loopback_switch(network: &Network) -> String {
    format!("ipv4/conf/{}/route_localnet", network.bridge)
}

/// Lets the host reach published ports by 127.0.0.0/8. A bridge that is somebody else's is put
/// back when the network goes, as nobody guards it then: that is on record before it is done.
///
/// # Errors
/// A switch that cannot be set, a record that cannot be written.
pub(super) fn open_loopback(store: &Store, network: &mut Network) -> Result<()> {
    let switch = loopback_switch(network);
    let is_off = || Ok(sysctl::read(&switch)?.is_some_and(|value| value == "0"));
    if network.adopted && !network.opened && is_off()? {
        network.opened = true;
        store.save(network)?;
    }
    sysctl::set(&switch, "1").map(drop)
}

/// All that the table is to hold.
///
/// # Errors
/// A record that cannot be read.
pub(super) fn elements(host: &mut Host, store: &Store) -> Result<Vec<element::Element>> {
    let mut all = Vec::new();
    for name in store.names()? {
        let Some(network) = store.network(&name)? else { continue };
        all.extend(element::network(&network.bridge, &network.subnets));
        for (entry, lease) in leases(store, &name)? {
            if store.is_live(&mut host.route, &name, &entry)? {
                all.extend(element::ports(&lease.ports, &lease.addresses, &lease.owner(&name)));
            }
        }
    }
    // Those of one set go into one message.
    all.sort_by_key(|element| element.set);
    Ok(all)
}

/// All leases of a network.
///
/// # Errors
/// Those of the files.
pub(super) fn leases(store: &Store, network: &str) -> Result<Vec<(Entry, Lease)>> {
    let mut all = Vec::new();
    for entry in store.entries(network)? {
        if let Some(lease) = store.lease(network, &entry)? {
            all.push((entry, lease));
        }
    }
    Ok(all)
}

/// Makes the table anew from what is on record: that is how a flushed one heals.
///
/// # Errors
/// Those of the kernel.
pub(super) fn reload(host: &mut Host, store: &Store) -> Result<()> {
    let all = elements(host, store)?;
    match store.names()?.is_empty() {
        true => nft::drop_table(&mut host.filter),
        false => nft::replace(&mut host.filter, &all),
    }
}

/// Removes a network that has no members: elements first, so that nothing is led to where
/// nobody is, then the bridge, the record last.
///
/// # Errors
/// Those of the kernel.
pub(super) fn remove(host: &mut Host, store: &Store, network: &Network) -> Result<()> {
    if network.opened {
        sysctl::set(&loopback_switch(network), "0")?;
    }
    let elements = element::network(&network.bridge, &network.subnets);
    // A set has no values that could differ, and no two networks have one subnet.
    nft::remove(&mut host.filter, &elements).map(drop)?;
    if network.inserted {
        foreign::take_back(&mut host.filter, &network.bridge)?;
    }
    if !network.adopted
        && let Some(link) = links::find(&mut host.route, &network.bridge)?
        && is_ours(&link)
    {
        host.route
            .ask(&links::delete(link.index), &|| format!("remove the bridge {}", network.bridge))?;
    }
    store.forget(network)?;
    match store.names()?.is_empty() {
        true => nft::drop_table(&mut host.filter),
        false => Ok(()),
    }
}
