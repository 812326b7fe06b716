//! `network setup` and `network teardown`: a container comes to a network, and goes.
//!
//! Under one lock the place is taken: lease, firewall, name files. Then, side by side with
//! others, the veth is made, with its other end inside. Whoever is killed between leaves a
//! lease without a device, which is dead: the next that needs what it holds takes it over.

use super::bridges::{self, Host};
use super::claim::{Member, claim};
use super::lease::{Lease, Network, Store, key, mac_of};
use super::links::{self, End};
use super::netlink::Socket;
use super::nft::{self, Added, element};
use super::{conntrack, names, sysctl};
use crate::error::{Context, Error, Result};
use crate::plan::network::{Protocol, Publish, Wish};
use crate::sys::namespace::join;
use crate::sys::process::Namespaces;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The container's device.
const INSIDE: &str = "eth0";
/// The index of `lo` in every network namespace (linux/loopback: `LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Connects a network namespace.
///
/// # Errors
/// Whatever fails; nothing is left then.
pub fn setup(wish: &Wish, member: &Member<'_>, namespace: BorrowedFd<'_>) -> Result<Lease> {
    let home = own_namespace()?;
    let id = |file: BorrowedFd<'_>| fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    if id(home.as_fd()).call(|| "stat a namespace".into())?
        == id(namespace).call(|| "stat a namespace".into())?
    {
        return Err(Error::new(
            "the container has the network of the host: there is nothing to connect",
        ));
    }
    let mut host = Host::open()?;
    let inside = inside(home.as_fd(), namespace).map_err(nft::explain)?;
    let store = Store::lock()?;
    check_ports(&wish.publish)?;
    let (mut network, bridge) = bridges::raise(&mut host, &store, &wish.network)?;
    let claimed = claim(&mut host, &store, &network, wish, member, inside.has_ipv6);
    let claimed = claimed.and_then(|(lease, held)| {
        // Until they are there, the ports in the firewall are another's.
        if let Err(error) = publish(&mut host, &store, &mut network, &lease, wish) {
            return Err(error.and(store.undo(&network.name, &lease)));
        }
        let told = forget_senders(&mut host, &store, &lease);
        match told.and_then(|()| publish_names(&store, &network, &lease, wish)) {
            Ok(()) => Ok((lease, held)),
            Err(error) => Err(error.and(take_back(&mut host, &store, &network, &lease))),
        }
    });
    let (lease, held) = match claimed {
        Ok(claimed) => claimed,
        Err(error) => return Err(error.and(leave_empty(&mut host, &store, &network))),
    };
    drop(store);
    let mac = lease.mac.unwrap_or_else(|| mac_of(lease.addresses[0]));
    let cabled = cable(&mut host, &network, &lease, bridge, mac, (inside.route, namespace));
    if let Err(error) = cabled {
        let undone = undo(&mut host, &network, &lease);
        return Err(error.and(undone));
    }
    drop(held);
    Ok(lease)
}

fn own_namespace() -> Result<OwnedFd> {
    let path = "/proc/self/ns/net";
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open {path}"))
}

/// Tells the switches of the kernel and the firewall, that one last.
fn publish(
    host: &mut Host,
    store: &Store,
    network: &mut Network,
    lease: &Lease,
    wish: &Wish,
) -> Result<()> {
    bridges::forward(store, network)?;
    if lease.ports.iter().any(Publish::reaches_loopback) {
        bridges::open_loopback(store, network)?;
    }
    bridges::pass(host, store, network, wish.firewall)?;
    // Those of the network are there, as a rule; they tell whether the table is.
    let mut elements = element::network(&network.bridge, &network.subnets);
    elements.extend(element::ports(&lease.ports, &lease.addresses, &lease.owner(&network.name)));
    // A port of one address and the same of all are elements of two maps.
    let (any, one): (Vec<_>, Vec<_>) =
        lease.ports.iter().cloned().partition(|publish| publish.single().is_none());
    let one: Vec<_> = one.into_iter().map(of_family).collect();
    let added = match !any.is_empty() && nft::has_one(&mut host.filter, &any)? {
        true => Added::Taken,
        false => {
            let free = element::ports(&one, &lease.addresses, "");
            nft::add(&mut host.filter, &elements, &free)?
        }
    };
    match added {
        Added::Yes => Ok(()),
        Added::NoTable | Added::Taken => {
            check_others(host, store, network, lease)?;
            bridges::reload(host, store)
        }
    }
}

/// The same ports of all addresses of the family.
fn of_family(publish: Publish) -> Publish {
    let all: IpAddr = match publish.address {
        Some(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    Publish { address: Some(all), ..publish }
}

/// Forgets what is sent by UDP to ports that are published from now on, and went elsewhere: also
/// to a container of another network that is dead.
fn forget_senders(host: &mut Host, store: &Store, lease: &Lease) -> Result<()> {
    if lease.ports.iter().all(|publish| publish.protocol != Protocol::Udp) {
        return Ok(());
    }
    let subnets: Vec<_> = bridges::others(store, "")?.into_iter().map(|(_, net)| net).collect();
    conntrack::forget_ports(&mut host.filter, &lease.ports, &subnets)
}

/// Looks for the one who has a port: it is in the firewall with another address. Who is dead
/// has it no more, and no lease either: to bury that later would take the port from us.
fn check_others(host: &mut Host, store: &Store, network: &Network, lease: &Lease) -> Result<()> {
    for name in store.names()? {
        for (entry, other) in bridges::leases(store, &name)? {
            let is_own = name == network.name && entry.id == lease.id && entry.key == lease.key;
            let pair =
                lease.ports.iter().find_map(|port| other.ports.iter().find(|one| one.meets(port)));
            let Some(port) = pair.filter(|_| !is_own) else { continue };
            if !store.is_live(&mut host.route, &name, &entry)? {
                store.drop_lease(&name, &entry)?;
            } else {
                return Err(Error::new(format!(
                    "{port} is published by container {} (network {name})",
                    entry.id
                ))
                .at("--publish"));
            }
        }
    }
    Ok(())
}

/// Whether a program of the host has one of the ports: it would get nothing any more.
fn check_ports(ports: &[Publish]) -> Result<()> {
    for publish in ports {
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let addresses = publish.address.as_ref().map_or(&all[..], std::slice::from_ref);
        for address in addresses {
            for port in (0..publish.count).map(|n| publish.host + n) {
                match try_port(*address, port, publish.protocol) {
                    Ok(()) | Err(Errno::AFNOSUPPORT) => {}
                    Err(Errno::ADDRINUSE) => {
                        return Err(Error::new(format!("a program of the host has port {port}"))
                            .at(format_args!("--publish {publish}"))
                            .hint(format!("`ss -lnp sport = :{port}` tells which")));
                    }
                    Err(Errno::ADDRNOTAVAIL) if publish.address.is_some() => {
                        return Err(Error::new(format!("{address} is no address of this host"))
                            .at(format_args!("--publish {publish}")));
                    }
                    // IPv6 is off.
                    Err(Errno::ADDRNOTAVAIL) => {}
                    Err(errno) => {
                        return Err(Error::os(format!("bind {address}"), errno)
                            .at(format_args!("--publish {publish}")));
                    }
                }
            }
        }
    }
    Ok(())
}

fn try_port(address: IpAddr, port: u16, protocol: Protocol) -> rustix::io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if protocol == Protocol::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // What is left of connections that have ended is nobody's.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, port))?;
    if protocol == Protocol::Tcp { listen(&socket, 1) } else { Ok(()) }
}

fn publish_names(store: &Store, network: &Network, lease: &Lease, wish: &Wish) -> Result<()> {
    if let Some(files) = &lease.files {
        names::write(files, &wish.names, lease)?;
    }
    tell_members(store, network, Some(lease))
}

/// Writes the names of the members into the files of all: into those of `own` surely.
pub(super) fn tell_members(store: &Store, network: &Network, own: Option<&Lease>) -> Result<()> {
    if !store.entries(&network.name)?.iter().any(|entry| entry.has_files) {
        return Ok(());
    }
    let all = bridges::leases(store, &network.name)?;
    names::members(network, &all.into_iter().map(|(_, lease)| lease).collect::<Vec<_>>(), own)
}

/// Makes the veth pair, and what is inside: `lo`, addresses, routes.
fn cable(
    host: &mut Host,
    network: &Network,
    lease: &Lease,
    bridge: u32,
    mac: [u8; 6],
    (mut inside, namespace): (Socket, BorrowedFd<'_>),
) -> Result<()> {
    let here = End { name: &lease.device, mtu: network.mtu };
    let there = End { name: INSIDE, mtu: network.mtu };
    let mut all = vec![
        links::veth(&here, bridge, &there, mac, namespace),
        links::port(&lease.device, &lease.owner(&network.name), sysctl::filters_bridges()?),
    ];
    all.extend(bridges::addresses(network, bridge));
    host.route
        .ask_all(&all, &|place| match place {
            0 => format!("make {} and {INSIDE} of the container", lease.device),
            1 => format!("name the owner of {}", lease.device),
            _ => format!("give {} its addresses", network.bridge),
        })
        .map_err(|error| match error.errno() {
            Some(Errno::EXIST) => {
                error.hint(format!("the container has a device {INSIDE} already"))
            }
            _ => nft::explain(error),
        })?;
    let Some(link) = links::find(&mut inside, INSIDE)? else {
        return Err(Error::new(format!("{INSIDE} is gone again")));
    };
    let mut all = vec![links::set_up(LOOPBACK, "", 0)];
    let ends = || network.subnets.iter().zip(&network.gateways).zip(&lease.addresses);
    all.extend(ends().map(|((subnet, _), address)| links::address(link.index, *address, subnet)));
    all.push(links::set_up(link.index, "", 0));
    all.extend(ends().map(|((_, gateway), _)| links::default_route(link.index, *gateway)));
    let count = lease.addresses.len();
    inside.ask_all(&all, &|place| match place {
        0 => "set lo of the container up".into(),
        n if n <= count => format!("give {INSIDE} the address {}", lease.addresses[n - 1]),
        n if n == count + 1 => format!("set {INSIDE} up"),
        n => format!("route by {}", network.gateways[n - count - 2]),
    })
}

/// The container's namespace.
struct Inside {
    route: Socket,
    has_ipv6: bool,
}

/// Opens a socket in the container's namespace. Whatever device is made there from now on
/// believes no router, and tells its neighbours when it gets an address.
fn inside(home: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<Inside> {
    let network = Namespaces(libc::CLONE_NEWNET as u32);
    join(namespace, network).call(|| "setns to the container's network namespace".into())?;
    let socket = sysctl::ignore_routers("default")
        .and_then(|()| sysctl::set("ipv4/conf/default/arp_notify", "1"))
        .and_then(|_| Ok(Inside { route: Socket::open(0)?, has_ipv6: sysctl::has_ipv6()? }));
    join(home, network).call(|| "setns back to the runtime's network namespace".into())?;
    socket
}

/// Takes back what was told, while the lock is held.
fn take_back(host: &mut Host, store: &Store, network: &Network, lease: &Lease) -> Result<()> {
    let elements = element::ports(&lease.ports, &lease.addresses, "");
    let closed = nft::remove(&mut host.filter, &elements);
    store.undo(&network.name, lease)?;
    if !closed? {
        bridges::reload(host, store)?;
    }
    tell_members(store, network, None)
}

/// Takes back all, when the device could not be made.
fn undo(host: &mut Host, network: &Network, lease: &Lease) -> Result<()> {
    let unplugged = unplug(host, lease);
    let store = Store::lock()?;
    let taken = take_back(host, &store, network, lease);
    unplugged.and(taken).and_then(|()| leave_empty(host, &store, network))
}

fn unplug(host: &mut Host, lease: &Lease) -> Result<()> {
    let Some(link) = links::find(&mut host.route, &lease.device)? else { return Ok(()) };
    match host.route.ask(&links::delete(link.index), &|| format!("remove {}", lease.device)) {
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
        done => done.map(drop),
    }
}

/// Removes a network that was made for containers and has none any more.
pub(super) fn leave_empty(host: &mut Host, store: &Store, network: &Network) -> Result<()> {
    if network.kept || !store.entries(&network.name)?.is_empty() {
        return Ok(());
    }
    // A change of another command counts: what is on record now, not what was.
    match store.network(&network.name)? {
        Some(network) if !network.kept => bridges::remove(host, store, &network),
        _ => Ok(()),
    }
}

/// Disconnects a container. Whatever is not there any more is no error: the namespace may be
/// gone, and the device with it.
///
/// # Errors
/// Those of the kernel; then it can be repeated.
pub fn teardown(network: &str, member: &Member<'_>) -> Result<()> {
    let Some(store) = Store::lock_if_there()? else { return Ok(()) };
    let Some(network) = store.network(network)? else { return Ok(()) };
    let key = key(member.bundle);
    let entries = store.entries(&network.name)?;
    let entry = entries.iter().find(|entry| entry.id == member.id && entry.key == key);
    let Some(entry) = entry else { return Ok(()) };
    let _held = store.hold(&network.name, entry)?;
    let Some(mut lease) = store.lease(&network.name, entry)? else { return Ok(()) };
    let mut host = Host::open()?;
    let elements = element::ports(&lease.ports, &lease.addresses, "");
    let closed = nft::remove(&mut host.filter, &elements)?;
    conntrack::forget_container(&mut host.filter, &lease.ports, &lease.addresses)?;
    // Whoever makes the table anew meanwhile must not put them back.
    lease.ports.clear();
    let held = store.take(&network.name, &lease)?;
    if !closed {
        bridges::reload(&mut host, &store)?;
    }
    drop(store);
    // The kernel takes its time for this one: others need not wait for it.
    unplug(&mut host, &lease)?;
    let store = Store::lock()?;
    store.drop_lease(&network.name, entry)?;
    drop(held);
    tell_members(&store, &network, None)?;
    leave_empty(&mut host, &store, &network)
}
