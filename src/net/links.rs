//! Requests of rtnetlink(7) as values: bridges, veth devices, addresses, routes; and what the
//! kernel lists of them. Nothing is sent here.

use super::netlink::{CREATE, Message, Request, Socket, number};
use crate::error::Result;
use crate::plan::network::{Subnet, octets};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

// linux/rtnetlink.h.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
// linux/if_link.h.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
/// linux/veth.h.
const VETH_INFO_PEER: u16 = 1;
// linux/if_addr.h.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 2;
const IFF_UP: u32 = libc::IFF_UP as u32;

/// The family's number, and the width of its addresses.
fn family(address: IpAddr) -> (u8, u8) {
    match address {
        IpAddr::V4(_) => (libc::AF_INET as u8, 32),
        IpAddr::V6(_) => (libc::AF_INET6 as u8, 128),
    }
}

/// `struct ifinfomsg`.
fn info(index: u32, up: bool) -> [u8; 16] {
    let up = if up { IFF_UP } else { 0 };
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&up.to_ne_bytes());
    fixed[12..].copy_from_slice(&up.to_ne_bytes());
    fixed
}

/// Makes a bridge, which is not up yet. Its hardware address is its own: without one it would
/// take that of its first port, and change it with the ports.
pub(super) fn bridge(name: &str, mac: [u8; 6]) -> Request {
    let mut request = Request::new(RTM_NEWLINK, CREATE, &info(0, false));
    request.text(IFLA_IFNAME, name).attribute(IFLA_ADDRESS, &mac).nested(
        IFLA_LINKINFO,
        &|request| {
            request.text(IFLA_INFO_KIND, "bridge");
        },
    );
    request
}

/// Sets a device up, with an alias and an MTU. A bridge that was given one keeps it.
pub(super) fn set_up(index: u32, alias: &str, mtu: u32) -> Request {
    let mut request = Request::new(RTM_NEWLINK, 0, &info(index, true));
    if mtu > 0 {
        request.number(IFLA_MTU, mtu);
    }
    if !alias.is_empty() {
        request.attribute(IFLA_IFALIAS, alias.as_bytes());
    }
    request
}

/// One end of a veth pair.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub name: &'a str,
    pub mtu: u32,
}

/// Makes a veth pair: the end that is here is up and a port of the bridge, the other is
/// in `namespace` and down.
pub(super) fn veth(
    here: &End<'_>,
    bridge: u32,
    there: &End<'_>,
    mac: [u8; 6],
    namespace: BorrowedFd<'_>,
) -> Request {
    let mut request = Request::new(RTM_NEWLINK, CREATE, &info(0, true));
    request
        .text(IFLA_IFNAME, here.name)
        .number(IFLA_MTU, here.mtu)
        .number(IFLA_MASTER, bridge)
        .nested(IFLA_LINKINFO, &|request| {
            request.text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, &|request| {
                request.nested(VETH_INFO_PEER, &|request| {
                    request
                        .raw(&info(0, false))
                        .text(IFLA_IFNAME, there.name)
                        .number(IFLA_MTU, there.mtu)
                        .attribute(IFLA_ADDRESS, &mac)
                        .number(IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned());
                });
            });
        });
    request
}

/// Names the owner of a port of a bridge, for people and for who tidies up. With `hairpin` it
/// may get back what it has sent.
pub(super) fn port(name: &str, alias: &str, hairpin: bool) -> Request {
    let mut request = Request::new(RTM_NEWLINK, 0, &info(0, false));
    request.text(IFLA_IFNAME, name).attribute(IFLA_IFALIAS, alias.as_bytes());
    if hairpin {
        request.nested(IFLA_LINKINFO, &|request| {
            request.text(IFLA_INFO_SLAVE_KIND, "bridge").nested(IFLA_INFO_SLAVE_DATA, &|request| {
                request.attribute(IFLA_BRPORT_MODE, &[1]);
            });
        });
    }
    request
}

/// Makes a device a port of a bridge, and sets it up.
pub(super) fn join(name: &str, bridge: u32) -> Request {
    let mut request = Request::new(RTM_NEWLINK, 0, &info(0, true));
    request.text(IFLA_IFNAME, name).number(IFLA_MASTER, bridge);
    request
}

/// Removes a device.
pub(super) fn delete(index: u32) -> Request {
    Request::new(RTM_DELLINK, 0, &info(index, false))
}

/// Gives a device an address of a subnet. It is used at once: that no other has it, the
/// leases say.
pub(super) fn address(index: u32, address: IpAddr, subnet: &Subnet) -> Request {
    let (family, _) = family(address);
    let flags = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    // struct ifaddrmsg: family, prefix, flags, scope, index.
    let mut fixed = vec![family, subnet.prefix, flags, 0];
    fixed.extend(index.to_ne_bytes());
    let bytes = octets(address);
    let mut request = Request::new(RTM_NEWADDR, CREATE, &fixed);
    request.attribute(IFA_LOCAL, &bytes).attribute(IFA_ADDRESS, &bytes);
    if let Some(IpAddr::V4(end)) = subnet.end() {
        let last = Ipv4Addr::from_bits(end.to_bits().wrapping_sub(1));
        request.attribute(IFA_BROADCAST, &last.octets());
    }
    request
}

/// The default route.
pub(super) fn default_route(index: u32, gateway: IpAddr) -> Request {
    let (family, _) = family(gateway);
    // struct rtmsg: family, two prefixes, TOS, table, protocol, scope, type, flags.
    let fixed = [family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 0, RTN_UNICAST, 0, 0, 0, 0];
    let mut request = Request::new(RTM_NEWROUTE, CREATE, &fixed);
    request.attribute(RTA_GATEWAY, &octets(gateway)).number(RTA_OIF, index);
    request
}

/// A device that is there.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    pub kind: String,
    pub alias: String,
    pub mac: Vec<u8>,
    pub mtu: u32,
    pub is_up: bool,
}

impl Link {
    fn read(message: &Message) -> Self {
        let attributes = message.attributes(16);
        let text = |value: Option<&[u8]>| {
            let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            text.trim_end_matches('\0').to_owned()
        };
        let number = |kind| attributes.get(kind).and_then(number).unwrap_or_default();
        let info = attributes.within(IFLA_LINKINFO);
        Self {
            index: message.number(4),
            name: text(attributes.get(IFLA_IFNAME)),
            kind: text(info.get(IFLA_INFO_KIND)),
            alias: text(attributes.get(IFLA_IFALIAS)),
            mac: attributes.get(IFLA_ADDRESS).unwrap_or_default().to_vec(),
            mtu: number(IFLA_MTU),
            is_up: message.number(8) & IFF_UP != 0,
        }
    }
}

/// The device of that name.
///
/// # Errors
/// If that cannot be known.
pub(super) fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    let mut request = Request::new(RTM_GETLINK, 0, &info(0, false));
    request.text(IFLA_IFNAME, name);
    match socket.ask(&request, &|| format!("look for the device {name}")) {
        Ok(found) => Ok(found.first().map(Link::read)),
        Err(error) if error.errno() == Some(Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All devices.
///
/// # Errors
/// Those of the list.
pub(super) fn all(socket: &mut Socket) -> Result<Vec<Link>> {
    let list =
        socket.ask(&Request::list(RTM_GETLINK, &info(0, false)), &|| "list devices".into())?;
    Ok(list.iter().map(Link::read).collect())
}

/// What addresses and routes there are, of all tables and of one family; and over which device
/// the default route of the main table leads.
///
/// # Errors
/// Those of the lists.
pub(super) fn used(socket: &mut Socket, is_ipv6: bool) -> Result<(Vec<Subnet>, Option<u32>)> {
    let family = if is_ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    let mut used = Vec::new();
    let mut fixed = [0; 12];
    fixed[0] = family;
    let list = socket.ask(&Request::list(RTM_GETADDR, &fixed[..8]), &|| "list addresses".into())?;
    for message in &list {
        let prefix = message.body.get(1).copied().unwrap_or_default();
        let attributes = message.attributes(8);
        // Of a tunnel the one is the address here, the other that of the far end.
        let here = attributes.get(IFA_LOCAL).into_iter().chain(attributes.get(IFA_ADDRESS));
        used.extend(here.filter_map(ip).map(|address| Subnet::new(address, prefix)));
    }
    let list = socket.ask(&Request::list(RTM_GETROUTE, &fixed), &|| "list routes".into())?;
    let mut uplink = None;
    for message in &list {
        let byte = |at: usize| message.body.get(at).copied().unwrap_or_default();
        let attributes = message.attributes(12);
        match attributes.get(RTA_DST).and_then(ip) {
            Some(address) if byte(1) > 0 => used.push(Subnet::new(address, byte(1))),
            _ if byte(1) == 0 && byte(4) == RT_TABLE_MAIN && byte(7) == RTN_UNICAST => {
                uplink = uplink.or_else(|| attributes.get(RTA_OIF).and_then(number));
            }
            _ => {}
        }
    }
    Ok((used, uplink))
}

/// The permanent addresses of global scope of a device, with the lengths of their prefixes.
///
/// # Errors
/// Those of the list.
pub(super) fn addresses_of(
    socket: &mut Socket,
    index: u32,
    is_ipv6: bool,
) -> Result<Vec<(IpAddr, u8)>> {
    let family = if is_ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    let list = Request::list(RTM_GETADDR, &[family, 0, 0, 0, 0, 0, 0, 0]);
    let list = socket.ask(&list, &|| "list addresses".into())?;
    let address = |message: &Message| {
        let attributes = message.attributes(8);
        let address = attributes.get(IFA_LOCAL).or(attributes.get(IFA_ADDRESS)).and_then(ip)?;
        let is_global = message.body.get(3) == Some(&0);
        (message.number(4) == index && is_global).then(|| (address, message.body[1]))
    };
    Ok(list.iter().filter_map(address).collect())
}

/// An address, by its length.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    // `ip -d link`, `ip address` and `ip route` show what the kernel makes of these bytes in the
    // tests of networks.
    use super::*;
    use crate::net::netlink::golden;

    #[test]
    fn a_bridge() {
        let request = bridge("pinnace0", [2, 0x42, 1, 2, 3, 4]);
        golden(
            &request,
            &[
                "00000000000000000000000000000000",
                "0d00030070696e6e6163653000000000",
                "0a000100024201020304000010001280",
                "0b0001006272696467650000",
            ],
        );
    }

    #[test]
    fn a_veth_with_its_other_end_in_another_namespace() {
        let (here, there) = (End { name: "pn01", mtu: 1500 }, End { name: "eth0", mtu: 1500 });
        // Descriptor 0 stands for the namespace.
        let namespace = rustix::stdio::stdin();
        golden(
            &veth(&here, 7, &there, [2, 0x42, 10, 77, 0, 2], namespace),
            &[
                "00000000000000000100000001000000",
                "09000300706e30310000000008000400",
                "dc05000008000a000700000050001280",
                "09000100766574680000000040000280",
                "3c000180000000000000000000000000",
                "00000000090003006574683000000000",
                "08000400dc0500000a00010002420a4d",
                "0002000008001c0000000000",
            ],
        );
        golden(
            &port("pn01", "pinnace:a:b", true),
            &[
                "00000000000000000000000000000000",
                "09000300706e3031000000000f001400",
                "70696e6e6163653a613a62001c001280",
                "0b00040062726964676500000c000580",
                "0500040001000000",
            ],
        );
    }

    #[test]
    fn addresses_and_routes() {
        let subnet = |text: &str| Subnet::parse(text).unwrap();
        let (four, six) = (subnet("10.77.0.0/24"), subnet("fd77::/64"));
        golden(
            &address(2, four.nth(2), &four),
            &["0218000002000000080002000a4d0002", "080001000a4d0002080004000a4d00ff"],
        );
        golden(
            &address(2, six.nth(2), &six),
            &[
                "0a4002000200000014000200fd770000",
                "00000000000000000000000214000100",
                "fd770000000000000000000000000002",
            ],
        );
        golden(
            &default_route(2, four.nth(1)),
            &["02000000fe0400010000000008000500", "0a4d00010800040002000000"],
        );
        golden(
            &default_route(2, six.nth(1)),
            &[
                "0a000000fe0400010000000014000500",
                "fd770000000000000000000000000001",
                "0800040002000000",
            ],
        );
    }
}
