//! Connections that the kernel remembers (ctnetlink). One that began before a port was
//! published, or that went to a container that is gone, keeps its old translation as long as
//! somebody sends: so it is forgotten when ports come and go.

use super::links::ip;
use super::netlink::{Attributes, Request, Socket};
use super::sysctl;
use crate::error::Result;
use crate::plan::network::{Protocol, Publish, Subnet};
use rustix::io::Errno;
use std::net::IpAddr;

/// linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h.
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;
/// Length of `struct nfgenmsg`.
const FIXED: usize = 4;

/// One direction of a connection.
#[derive(Debug)]
struct Tuple {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    port: u16,
}

impl Tuple {
    fn read(attributes: Attributes<'_>) -> Option<Self> {
        let addresses = attributes.within(CTA_TUPLE_IP);
        // CTA_IP_V4_SRC and _DST are 1 and 2, those of IPv6 3 and 4.
        let address = |one, other| addresses.get(one).or(addresses.get(other)).and_then(ip);
        let protocol = attributes.within(CTA_TUPLE_PROTO);
        let port = protocol.get(CTA_PROTO_DST_PORT)?;
        Some(Self {
            from: address(1, 3)?,
            to: address(2, 4)?,
            protocol: *protocol.get(CTA_PROTO_NUM)?.first()?,
            port: u16::from_be_bytes(*port.first_chunk()?),
        })
    }
}

/// Forgets what is sent to ports of UDP that are published from now on: what was not
/// translated, and what went to a container of `subnets`. A connection of TCP ends by itself.
///
/// # Errors
/// Those of the kernel.
pub(super) fn forget_ports(
    socket: &mut Socket,
    ports: &[Publish],
    subnets: &[Subnet],
) -> Result<()> {
    if ports.iter().all(|publish| publish.protocol != Protocol::Udp) {
        return Ok(());
    }
    forget(socket, &|one, back| {
        let untranslated = one.to == back.from && one.from == back.to;
        let is_ours = || subnets.iter().any(|subnet| subnet.contains(back.from));
        let is_meant = |publish: &Publish| {
            publish.protocol.number() == one.protocol
                && publish.has(one.port)
                && publish.is_for(one.to)
        };
        ports.iter().any(is_meant) && (untranslated || is_ours())
    })
}

/// Forgets the connections of a container that has published ports.
///
/// # Errors
/// Those of the kernel.
pub(super) fn forget_container(
    socket: &mut Socket,
    ports: &[Publish],
    addresses: &[IpAddr],
) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    forget(socket, &|one, back| addresses.contains(&back.from) || addresses.contains(&one.from))
}

/// The kernel looks through a table that is large whatever is in it, and all namespaces share:
/// that takes more time than all else, so it is done only where there is something to forget.
fn forget(socket: &mut Socket, is_meant: &dyn Fn(&Tuple, &Tuple) -> bool) -> Result<()> {
    if sysctl::read("netfilter/nf_conntrack_count")?.is_none_or(|count| count == "0") {
        return Ok(());
    }
    // Of both families at once.
    let request = Request::list(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, &[0; FIXED]);
    let list = match socket.ask(&request, &|| "conntrack: list connections".into()) {
        // A kernel that cannot list them.
        Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::INVAL)) => {
            return Ok(());
        }
        list => list?,
    };
    for message in list {
        let attributes = message.attributes(FIXED);
        let one = Tuple::read(attributes.within(CTA_TUPLE_ORIG));
        let back = Tuple::read(attributes.within(CTA_TUPLE_REPLY));
        if !one.zip(back).is_some_and(|(one, back)| is_meant(&one, &back)) {
            continue;
        }
        let fixed = message.body.get(..FIXED).unwrap_or_default();
        let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
        let mut request = Request::new(kind, 0, fixed);
        for attribute in [CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE] {
            let flag = if attribute == CTA_TUPLE_ORIG { NLA_F_NESTED } else { 0 };
            if let Some(value) = attributes.get(attribute) {
                request.attribute(attribute | flag, value);
            }
        }
        match socket.ask(&request, &|| "conntrack: forget a connection".into()) {
            // It has just ended.
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            done => drop(done?),
        }
    }
    Ok(())
}
