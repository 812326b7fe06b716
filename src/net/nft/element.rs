//! Elements: what changes in the table.

use super::super::netlink::{Attributes, Request};
use super::expression::{NFTA_DATA_VALUE, value};
use crate::plan::network::{Publish, Subnet, octets};
use std::net::IpAddr;

/// The bridges.
pub(super) const BRIDGES: &str = "bridges";
/// Bridges between which packets pass: each with itself.
pub(super) const PAIRS: &str = "pairs";
/// The subnets.
pub(super) const NETS4: &str = "nets4";
/// The subnets of IPv6.
pub(super) const NETS6: &str = "nets6";
/// What is published on all addresses: protocol and port to address and port.
pub(super) const ANY4: &str = "any4";
/// The same of IPv6.
pub(super) const ANY6: &str = "any6";
/// What is published on one: address, protocol and port to address and port.
pub(super) const ONE4: &str = "one4";
/// The same of IPv6.
pub(super) const ONE6: &str = "one6";

// linux/netfilter/nf_tables.h.
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
/// libnftnl, udata.h: a comment that nft(8) shows.
const COMMENT: u8 = 0;
/// The longest comment that nft(8) shows.
const LONGEST: usize = 127;

/// An element of a set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::net) struct Element {
    /// Whose it is.
    pub set: &'static str,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Whether it ends an interval, and is not in it any more.
    ends: bool,
    comment: String,
}

impl Element {
    fn new(set: &'static str, key: Vec<u8>) -> Self {
        Self { set, key, value: Vec::new(), ends: false, comment: String::new() }
    }

    /// Appends it to a list; one that is to be removed has only its key.
    pub(super) fn write(&self, request: &mut Request, is_new: bool) {
        request.nested(NFTA_LIST_ELEM, &|request| {
            value(request, NFTA_SET_ELEM_KEY, &self.key);
            if self.ends {
                request.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            }
            if is_new && !self.value.is_empty() {
                value(request, NFTA_SET_ELEM_DATA, &self.value);
                request.attribute(NFTA_SET_ELEM_USERDATA, &comment(&self.comment));
            }
        });
    }
}

/// A comment as nft(8) shows it.
pub(super) fn comment(text: &str) -> Vec<u8> {
    let text = text.get(..LONGEST).unwrap_or(text).as_bytes();
    let mut bytes = vec![COMMENT, text.len() as u8 + 1];
    bytes.extend_from_slice(text);
    bytes.push(0);
    bytes
}

/// The name of a device as a register holds it.
fn name(bridge: &str) -> Vec<u8> {
    let mut name = bridge.as_bytes().to_vec();
    name.resize(16, 0);
    name
}

/// What a network has.
pub(in crate::net) fn network(device: &str, subnets: &[Subnet]) -> Vec<Element> {
    let mut all = vec![
        Element::new(BRIDGES, name(device)),
        Element::new(PAIRS, [name(device), name(device)].concat()),
    ];
    for subnet in subnets {
        let set = if subnet.address.is_ipv4() { NETS4 } else { NETS6 };
        all.push(Element::new(set, octets(subnet.address)));
        // An interval that nothing ends goes on to the last address.
        if let Some(end) = subnet.end() {
            all.push(Element { ends: true, ..Element::new(set, octets(end)) });
        }
    }
    all
}

/// What published ports are, for a container with these addresses.
pub(in crate::net) fn ports(ports: &[Publish], addresses: &[IpAddr], owner: &str) -> Vec<Element> {
    let mut all = Vec::new();
    for set in [ANY4, ONE4, ANY6, ONE6] {
        for address in addresses.iter().filter(|address| address.is_ipv4() == set.ends_with('4')) {
            let fits = |publish: &&Publish| {
                publish.has_family(address.is_ipv4())
                    && publish.single().is_some() == set.starts_with("one")
            };
            for publish in ports.iter().filter(fits) {
                all.extend((0..publish.count).map(|n| port(set, publish, n, *address, owner)));
            }
        }
    }
    all
}

/// Whether a list of elements has one of the ports, whatever the address.
pub(super) fn has_port(list: Attributes<'_>, ports: &[Publish]) -> bool {
    list.into_iter().any(|(_, element)| {
        let key = Attributes::of(element).within(NFTA_SET_ELEM_KEY).get(NFTA_DATA_VALUE);
        let Some(&[protocol, _, _, _, high, low, _, _]) = key.and_then(|key| key.last_chunk())
        else {
            return false;
        };
        let port = u16::from_be_bytes([high, low]);
        ports.iter().any(|publish| publish.protocol.number() == protocol && publish.has(port))
    })
}

/// One port. A register has four bytes, so that is what each field takes.
fn port(set: &'static str, publish: &Publish, n: u16, address: IpAddr, owner: &str) -> Element {
    let field = |port: u16| [port.to_be_bytes(), [0; 2]].concat();
    let protocol = [publish.protocol.number(), 0, 0, 0];
    let key = [
        publish.single().map(octets).unwrap_or_default(),
        protocol.to_vec(),
        field(publish.host + n),
    ];
    let value = [octets(address), field(publish.container + n)].concat();
    let comment = owner.to_owned();
    Element { value, comment, ..Element::new(set, key.concat()) }
}
