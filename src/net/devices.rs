//! Moves network devices of the host into the container's network namespace
//! (config-linux.md, "Network Devices"): done by the runtime, whose privileges
//! it takes, while the new process waits.
//!
//! The kernel takes a device that changes namespaces down, drops its addresses,
//! and may give it another index: so the addresses are read before and given
//! back after, the new index is heard of, and the device is set up. It is not
//! moved back when the container ends: the kernel does that, or removes it.

use super::netlink::{Message, Request, Socket, number};
use crate::error::{At, Context, Error, Result};
use crate::plan::NetDevice;
use crate::sys::namespace::join;
use crate::sys::process::Namespaces;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTMGRP_LINK: u32 = 1;
const NLM_F_EXCL_CREATE: u16 = 0x200 | 0x400;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NEW_IFINDEX: u16 = 49;
const IFA_LABEL: u16 = 3;
const IFA_FLAGS: u16 = 8;
/// Attributes of an address that can be given back: `IFA_ADDRESS`, `IFA_LOCAL`,
/// `IFA_LABEL`, `IFA_BROADCAST`, `IFA_CACHEINFO`, `IFA_FLAGS`,
/// `IFA_RT_PRIORITY`, `IFA_PROTO`.
const KEPT_ATTRIBUTES: [u16; 8] = [1, 2, IFA_LABEL, 4, 6, IFA_FLAGS, 9, 11];
const IFA_F_PERMANENT: u32 = 0x80;
/// Flags that are wishes, not states: `NODAD`, `HOMEADDRESS`, `MANAGETEMPADDR`,
/// `NOPREFIXROUTE`, `MCAUTOJOIN`.
const KEPT_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
/// Lengths of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK: usize = 16;
const ADDRESS: usize = 8;
const IFF_UP: u32 = libc::IFF_UP as u32;

/// A device, found on the host.
#[derive(Debug)]
struct Device {
    plan: NetDevice,
    index: u32,
    up: bool,
}

/// Devices that are there and can be asked for.
#[derive(Debug)]
pub struct Found(Vec<Device>);

/// One network namespace: where to ask, where to listen, where to move to.
#[derive(Debug)]
struct Side {
    socket: Socket,
    link_events: Socket,
    namespace: OwnedFd,
}

/// A device that has been moved, for the way back.
#[derive(Debug)]
struct Moved {
    host_name: String,
    index: u32,
    addresses: Vec<Message>,
    was_up: bool,
}

/// Devices that have been handed over. They stay where they are when this is
/// dropped.
#[derive(Debug)]
pub struct Handed {
    host: Side,
    inside: Side,
    moved: Vec<Moved>,
}

/// Looks for the devices, before anything is made.
///
/// # Errors
/// A device that is not there, with its field.
pub fn find(devices: &[NetDevice]) -> Result<Found> {
    if devices.is_empty() {
        return Ok(Found(Vec::new()));
    }
    let mut socket = Socket::open(0)?;
    let one = |plan: &NetDevice| {
        let (index, flags) = look_up(&mut socket, plan, &plan.host)?
            .ok_or_else(|| Error::new("the host has no such network device").at(plan.field()))?;
        if flags & libc::IFF_LOOPBACK as u32 != 0 {
            return Err(Error::new("a loopback device cannot be moved").at(plan.field()));
        }
        Ok(Device { plan: plan.clone(), index, up: flags & IFF_UP != 0 })
    };
    devices.iter().map(one).collect::<Result<_>>().map(Found)
}

/// The file of the network namespace of a process that we have made.
///
/// # Errors
/// Those of open(2).
pub fn namespace_of(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open {path}"))
}

/// Moves the devices into `target`, all or none.
///
/// # Errors
/// A name that is taken there; a device that the kernel does not let go.
pub fn hand_over(found: &Found, target: BorrowedFd<'_>) -> Result<Handed> {
    let host = Side::here()?;
    if same(host.namespace.as_fd(), target)? {
        return Err(Error::new("the network namespace is the runtime's own").at("linux.netDevices"));
    }
    let inside = Side::of(target, &host)?;
    let mut handed = Handed { host, inside, moved: Vec::new() };
    for device in &found.0 {
        if let Err(error) = handed.take(device) {
            return Err(error.and(handed.give_back()));
        }
    }
    Ok(handed)
}

impl Handed {
    fn take(&mut self, device: &Device) -> Result<()> {
        let plan = &device.plan;
        let field = || plan.field();
        // A template asks for a free name; otherwise the kernel would move the
        // device first and find out then.
        if !plan.is_template() && look_up(&mut self.inside.socket, plan, plan.inside())?.is_some() {
            return Err(Error::os(
                format!("{:?} is taken in the container", plan.inside()),
                Errno::EXIST,
            )
            .at(format_args!("{}.name", field())));
        }
        let addresses = addresses(&mut self.host.socket, device.index).at(field)?;
        let (index, moved) = shift(&mut self.host, &self.inside, device.index, plan.inside());
        if let Some(index) = index {
            let host_name = plan.host.clone();
            self.moved.push(Moved { host_name, index, addresses, was_up: device.up });
        }
        moved.at(field)?;
        let Some(moved) = self.moved.last().filter(|_| index.is_some()) else {
            return Err(Error::new("moved, but to which index?").at(field()));
        };
        let keep_labels = plan.inside() == plan.host;
        set_up(&mut self.inside.socket, moved, keep_labels, true).at(field)
    }

    /// Moves the devices back to the host, for a container that is not made
    /// after all.
    ///
    /// # Errors
    /// The first that could not be moved; the others are.
    pub fn give_back(&mut self) -> Result<()> {
        let mut result = Ok(());
        for mut moved in std::mem::take(&mut self.moved).into_iter().rev() {
            let name = moved.host_name.clone();
            let (index, back) = shift(&mut self.inside, &self.host, moved.index, &name);
            let settled = back.and_then(|()| {
                moved.index = index.ok_or_else(|| Error::new("moved, but to which index?"))?;
                set_up(&mut self.host.socket, &moved, true, moved.was_up)
            });
            result = result.and(settled.at(|| name));
        }
        result
    }
}

impl Side {
    /// The namespace that we are in.
    fn here() -> Result<Self> {
        let path = "/proc/self/ns/net";
        let namespace = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open {path}"))?;
        Ok(Self { socket: Socket::open(0)?, link_events: Socket::open(RTMGRP_LINK)?, namespace })
    }

    /// Another namespace: a socket belongs to the one in which it was opened,
    /// so we go there, open it, and come home.
    fn of(target: BorrowedFd<'_>, home: &Self) -> Result<Self> {
        let network = Namespaces(libc::CLONE_NEWNET as u32);
        let (at, call) = (|| "linux.netDevices", || "setns to the network namespace".to_owned());
        join(target, network).call(call).at(at)?;
        let side = Self::here();
        join(home.namespace.as_fd(), network)
            .call(|| format!("{} of the runtime", call()))
            .at(at)?;
        side
    }
}

fn same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool> {
    let id = |file| fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    Ok(id(one).call(|| "stat a namespace".into())?
        == id(other).call(|| "stat a namespace".into())?)
}

/// Index and flags of the device of that name.
fn look_up(socket: &mut Socket, plan: &NetDevice, name: &str) -> Result<Option<(u32, u32)>> {
    let mut request = Request::new(RTM_GETLINK, 0, &link(0, 0));
    request.text(IFLA_IFNAME, name);
    match socket.ask(&request, &|| format!("look for {name}")).at(|| plan.field()) {
        Ok(found) => Ok(found.first().map(|link| (link.number(4), link.number(8)))),
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Moves and renames a device. The new index is returned even if only the
/// renaming failed: it has moved then.
fn shift(from: &mut Side, to: &Side, index: u32, name: &str) -> (Option<u32>, Result<()>) {
    let mut request = Request::new(RTM_NEWLINK, 0, &link(index, 0));
    request.attribute(IFLA_NET_NS_FD, &to.namespace.as_raw_fd().to_ne_bytes());
    request.text(IFLA_IFNAME, name);
    // What was said before does not matter.
    if let Err(error) = from.link_events.heard() {
        return (None, Err(error));
    }
    let done = from
        .socket
        .ask(&request, &|| format!("move to another network namespace as {name:?}"))
        .hint_on(Errno::PERM, || "needs CAP_NET_ADMIN in both network namespaces");
    match from.link_events.heard() {
        Ok(heard) => (heard.iter().find_map(|message| new_index(message, index)), done.map(drop)),
        Err(error) => (None, done.and(Err(error))),
    }
}

/// The namespace that a device has left hears its new index (Linux 4.15).
fn new_index(message: &Message, index: u32) -> Option<u32> {
    let left = message.kind == RTM_DELLINK && message.number(4) == index;
    left.then(|| message.attributes(LINK).get(IFLA_NEW_IFINDEX).and_then(number)).flatten()
}

/// The addresses to keep: permanent and of global scope (RFC 3549).
fn addresses(socket: &mut Socket, index: u32) -> Result<Vec<Message>> {
    // Of a list of one device's alone the kernel does not tell that it has changed meanwhile.
    let list =
        socket.ask(&Request::list(RTM_GETADDR, &[0; ADDRESS]), &|| "list addresses".into())?;
    let keep = |address: &Message| {
        let scope = address.body.get(3).copied();
        address.number(4) == index
            && scope == Some(0) // RT_SCOPE_UNIVERSE
            && flags(address) & IFA_F_PERMANENT != 0
    };
    Ok(list.into_iter().filter(keep).collect())
}

/// `IFA_FLAGS` has them all, the field only the first eight.
fn flags(address: &Message) -> u32 {
    let whole = address.attributes(ADDRESS).get(IFA_FLAGS).and_then(number);
    whole.unwrap_or_else(|| address.body.get(2).copied().unwrap_or_default().into())
}

/// Gives a device its addresses back and sets it up.
fn set_up(socket: &mut Socket, moved: &Moved, keep_labels: bool, up: bool) -> Result<()> {
    for address in &moved.addresses {
        let mut fixed = address.body[..4].to_vec();
        fixed[2] = 0;
        fixed.extend(moved.index.to_ne_bytes());
        let mut request = Request::new(RTM_NEWADDR, NLM_F_EXCL_CREATE, &fixed);
        for (kind, value) in address.attributes(ADDRESS) {
            // A label begins with the name of the device.
            if kind != IFA_FLAGS
                && KEPT_ATTRIBUTES.contains(&kind)
                && (keep_labels || kind != IFA_LABEL)
            {
                request.attribute(kind, value);
            }
        }
        let wishes = flags(address) & KEPT_FLAGS;
        request.number(IFA_FLAGS, wishes);
        socket.ask(&request, &|| "give it its address back".into())?;
    }
    if up {
        let request = Request::new(RTM_NEWLINK, 0, &link(moved.index, IFF_UP));
        socket.ask(&request, &|| "set it up".into())?;
    }
    Ok(())
}

/// `struct ifinfomsg`, with flags to set.
fn link(index: u32, up: u32) -> [u8; LINK] {
    let mut fixed = [0; LINK];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&up.to_ne_bytes());
    fixed[12..].copy_from_slice(&up.to_ne_bytes());
    fixed
}
