//! The table: chains, rules, sets and maps, the same on every host and for ever.
//!
//! Order matters. What is published on one address comes before what is on all, and `to a
//! bridge: drop` is what keeps everything else out: only a connection that `ports` has
//! translated gets past it.

use super::element::{ANY4, ANY6, BRIDGES, NETS4, NETS6, ONE4, ONE6, PAIRS};
use super::expression::{
    Header, Meta, REGISTER_1, REGISTER_1_4, REGISTER_1_8, REGISTER_2, REGISTER_2_4, Step, Tracked,
    Verdict,
};
use super::{NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6, NLM_F_APPEND, NLM_F_CREATE, TABLE, message};
use crate::net::netlink::Request;

// linux/netfilter/nf_tables.h.
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_NEWSET: u16 = 9;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFT_SET_INTERVAL: u32 = 4;
const NFT_SET_MAP: u32 = 8;

/// A type of a field, by the number that nft(8) shows it by (libnftables, `enum datatypes`),
/// and its length in registers.
type Field = (u32, u32);
const IPV4: Field = (7, 4);
const IPV6: Field = (8, 16);
const PROTOCOL: Field = (12, 4);
const PORT: Field = (13, 4);
const NAME: Field = (41, 16);

/// A set or a map: its name, the fields of its key, and those of its value.
struct Set {
    name: &'static str,
    key: &'static [Field],
    value: &'static [Field],
    interval: bool,
}

const SETS: &[Set] = &[
    Set { name: BRIDGES, key: &[NAME], value: &[], interval: false },
    Set { name: PAIRS, key: &[NAME, NAME], value: &[], interval: false },
    Set { name: NETS4, key: &[IPV4], value: &[], interval: true },
    Set { name: NETS6, key: &[IPV6], value: &[], interval: true },
    Set { name: ANY4, key: &[PROTOCOL, PORT], value: &[IPV4, PORT], interval: false },
    Set { name: ONE4, key: &[IPV4, PROTOCOL, PORT], value: &[IPV4, PORT], interval: false },
    Set { name: ANY6, key: &[PROTOCOL, PORT], value: &[IPV6, PORT], interval: false },
    Set { name: ONE6, key: &[IPV6, PROTOCOL, PORT], value: &[IPV6, PORT], interval: false },
];

/// A chain that packets come by: type, hook (linux/netfilter.h) and priority
/// (linux/netfilter_ipv4.h).
type Base = (&'static str, u32, i32);

const CHAINS: &[(&str, Option<Base>)] = &[
    ("ports", None),
    ("guard", Some(("filter", 0, -300))),
    ("pre", Some(("nat", 0, -100))),
    ("out", Some(("nat", 3, -100))),
    ("post", Some(("nat", 4, 100))),
    ("forward", Some(("filter", 2, 0))),
];

const IN: Step<'_> = Step::Meta(Meta::InName, REGISTER_1);
const OUT: Step<'_> = Step::Meta(Meta::OutName, REGISTER_1);
const FAMILY: Step<'_> = Step::Meta(Meta::Family, REGISTER_1);
const IS_4: Step<'_> = Step::Equal(&[NFPROTO_IPV4]);
const IS_6: Step<'_> = Step::Equal(&[NFPROTO_IPV6]);
const STATE: Step<'_> = Step::Ct(Tracked::State);
const STATUS: Step<'_> = Step::Ct(Tracked::Status);
const NONE: Step<'_> = Step::Differs(&[0; 4]);
const ACCEPT: Step<'_> = Step::End(Verdict::Accept, "");
const DROP: Step<'_> = Step::End(Verdict::Drop, "");
/// `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)` and that of `IP_CT_RELATED`.
const GOES_ON: Step<'_> = Step::Mask(&(2_u32 | 4).to_ne_bytes());
/// `NF_CT_STATE_INVALID_BIT`
const IS_INVALID: Step<'_> = Step::Mask(&1_u32.to_ne_bytes());
/// `IPS_DST_NAT`
const IS_PUBLISHED: Step<'_> = Step::Mask(&0x20_u32.to_ne_bytes());
/// `RTN_LOCAL`
const IS_LOCAL: Step<'_> = Step::Equal(&2_u32.to_ne_bytes());

/// Bytes of the header of IP.
const fn ip(offset: u32, length: u32) -> Step<'static> {
    Step::Payload(Header::Network, offset, length, REGISTER_1)
}

const fn protocol(register: u32) -> Step<'static> {
    Step::Meta(Meta::Protocol, register)
}

/// The destination port, at the same place in TCP and UDP.
const fn port(register: u32) -> Step<'static> {
    Step::Payload(Header::Transport, 2, 2, register)
}

const TO_4: u32 = 16;
const TO_6: u32 = 24;
const FROM_4: Step<'_> = ip(12, 4);
const FROM_6: Step<'_> = ip(8, 16);
/// 127.0.0.0/8: the first byte is all.
const LOOPBACK: Step<'_> = Step::Equal(&[127]);
const LOOPBACK_6: Step<'_> = Step::Equal(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const DNAT_4: Step<'_> = Step::Destination(NFPROTO_IPV4, REGISTER_1_4);
const DNAT_6: Step<'_> = Step::Destination(NFPROTO_IPV6, REGISTER_2);

/// Every rule with its chain, in order.
const RULES: &[(&str, &[Step<'_>])] = &[
    // Nobody can be translated from ::1: refused at once is better than no answer.
    ("ports", &[FAMILY, IS_6, ip(TO_6, 16), LOOPBACK_6, Step::End(Verdict::Return, "")]),
    (
        "ports",
        &[
            FAMILY,
            IS_4,
            ip(TO_4, 4),
            protocol(REGISTER_1_4),
            port(REGISTER_1_8),
            Step::Mapped(ONE4),
            DNAT_4,
        ],
    ),
    (
        "ports",
        &[FAMILY, IS_4, protocol(REGISTER_1), port(REGISTER_1_4), Step::Mapped(ANY4), DNAT_4],
    ),
    (
        "ports",
        &[
            FAMILY,
            IS_6,
            ip(TO_6, 16),
            protocol(REGISTER_2),
            port(REGISTER_2_4),
            Step::Mapped(ONE6),
            DNAT_6,
        ],
    ),
    (
        "ports",
        &[FAMILY, IS_6, protocol(REGISTER_1), port(REGISTER_1_4), Step::Mapped(ANY6), DNAT_6],
    ),
    // With route_localnet a container would reach the host's loopback (CVE-2020-8558).
    ("guard", &[IN, Step::In(BRIDGES), FAMILY, IS_4, ip(TO_4, 1), LOOPBACK, DROP]),
    // Nor does it pass for a program of the host.
    ("guard", &[IN, Step::In(BRIDGES), FAMILY, IS_4, ip(12, 1), LOOPBACK, DROP]),
    // The kernel drops these when they come from a wire, but not what they are translated to.
    ("pre", &[FAMILY, IS_4, ip(TO_4, 1), LOOPBACK, Step::End(Verdict::Return, "")]),
    // Only what is meant for this host: not a container's own way out (CVE-2025-67499).
    ("pre", &[Step::DestinationType, IS_LOCAL, Step::End(Verdict::Jump, "ports")]),
    ("out", &[Step::DestinationType, IS_LOCAL, Step::End(Verdict::Jump, "ports")]),
    (
        "post",
        &[
            FAMILY,
            IS_4,
            ip(TO_4, 4),
            Step::Mask(&[0xf0, 0, 0, 0]),
            Step::Equal(&[224, 0, 0, 0]),
            ACCEPT,
        ],
    ),
    ("post", &[FAMILY, IS_6, ip(TO_6, 1), Step::Equal(&[0xff]), ACCEPT]),
    // The answer has to come back by us, also from a neighbour or from the container itself.
    (
        "post",
        &[
            OUT,
            Step::In(BRIDGES),
            STATUS,
            IS_PUBLISHED,
            NONE,
            FAMILY,
            IS_4,
            FROM_4,
            Step::In(NETS4),
            Step::Masquerade,
        ],
    ),
    (
        "post",
        &[
            OUT,
            Step::In(BRIDGES),
            STATUS,
            IS_PUBLISHED,
            NONE,
            FAMILY,
            IS_6,
            FROM_6,
            Step::In(NETS6),
            Step::Masquerade,
        ],
    ),
    ("post", &[OUT, Step::In(BRIDGES), FAMILY, IS_4, ip(12, 1), LOOPBACK, Step::Masquerade]),
    ("post", &[OUT, Step::NotIn(BRIDGES), FAMILY, IS_4, FROM_4, Step::In(NETS4), Step::Masquerade]),
    ("post", &[OUT, Step::NotIn(BRIDGES), FAMILY, IS_6, FROM_6, Step::In(NETS6), Step::Masquerade]),
    ("forward", &[STATE, GOES_ON, NONE, ACCEPT]),
    ("forward", &[OUT, Step::In(BRIDGES), STATUS, IS_PUBLISHED, NONE, ACCEPT]),
    ("forward", &[IN, Step::Meta(Meta::OutName, REGISTER_2), Step::In(PAIRS), ACCEPT]),
    ("forward", &[OUT, Step::In(BRIDGES), DROP]),
    ("forward", &[STATE, IS_INVALID, NONE, IN, Step::In(BRIDGES), DROP]),
    ("forward", &[IN, Step::In(BRIDGES), ACCEPT]),
];

fn table(kind: u16) -> Request {
    let mut request = message(kind, NLM_F_CREATE, NFPROTO_INET);
    request.text(NFTA_TABLE_NAME, TABLE);
    request
}

/// Removes the table.
pub(super) fn delete() -> Request {
    let mut request = message(NFT_MSG_DELTABLE, 0, NFPROTO_INET);
    request.text(NFTA_TABLE_NAME, TABLE);
    request
}

/// Makes the table without elements, in the place of one that there may be.
pub(super) fn rebuild() -> Vec<Request> {
    // Made first, so that there is one to remove.
    let mut all = vec![table(NFT_MSG_NEWTABLE), delete(), table(NFT_MSG_NEWTABLE)];
    all.extend((1..).zip(SETS).map(|(id, set)| set.message(id)));
    all.extend(CHAINS.iter().map(|(name, base)| chain(name, *base)));
    let rule = |(chain, steps): &(&str, &[Step<'_>])| {
        rule(NFPROTO_INET, NLM_F_APPEND, (TABLE, chain), steps)
    };
    all.extend(RULES.iter().map(rule));
    all
}

impl Set {
    fn message(&self, id: u32) -> Request {
        let flags = if self.value.is_empty() { 0 } else { NFT_SET_MAP };
        let flags = if self.interval { flags | NFT_SET_INTERVAL } else { flags };
        let mut request = message(NFT_MSG_NEWSET, NLM_F_CREATE, NFPROTO_INET);
        request
            .text(NFTA_SET_TABLE, TABLE)
            .text(NFTA_SET_NAME, self.name)
            .be32(NFTA_SET_FLAGS, flags)
            .be32(NFTA_SET_KEY_TYPE, kind(self.key))
            .be32(NFTA_SET_KEY_LEN, length(self.key))
            .be32(NFTA_SET_ID, id);
        if let [NAME] = self.key {
            // For nft(8) alone, which would show a name as none: NFTNL_UDATA_SET_KEYBYTEORDER,
            // four bytes, BYTEORDER_HOST_ENDIAN.
            let [a, b, c, d] = 1_u32.to_ne_bytes();
            request.attribute(NFTA_SET_USERDATA, &[0, 4, a, b, c, d]);
        }
        if !self.value.is_empty() {
            request
                .be32(NFTA_SET_DATA_TYPE, kind(self.value))
                .be32(NFTA_SET_DATA_LEN, length(self.value));
        }
        request
    }
}

/// Types of a concatenation, six bits each.
fn kind(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |all, (kind, _)| all << 6 | kind)
}

fn length(fields: &[Field]) -> u32 {
    fields.iter().map(|(_, length)| length).sum()
}

fn chain(name: &str, base: Option<Base>) -> Request {
    let mut request = message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_INET);
    request.text(NFTA_CHAIN_TABLE, TABLE).text(NFTA_CHAIN_NAME, name);
    if let Some((kind, hook, priority)) = base {
        request.nested(NFTA_CHAIN_HOOK, &|request| {
            request
                .be32(NFTA_HOOK_HOOKNUM, hook)
                .be32(NFTA_HOOK_PRIORITY, priority.cast_unsigned());
        });
        request.text(NFTA_CHAIN_TYPE, kind);
    }
    request
}

/// A rule of a chain of a table: the last, or without `NLM_F_APPEND` the first.
pub(super) fn rule(
    family: u8,
    flags: u16,
    (table, chain): (&str, &str),
    steps: &[Step<'_>],
) -> Request {
    let mut request = message(NFT_MSG_NEWRULE, NLM_F_CREATE | flags, family);
    request
        .text(NFTA_RULE_TABLE, table)
        .text(NFTA_RULE_CHAIN, chain)
        .nested(NFTA_RULE_EXPRESSIONS, &|request| {
            steps.iter().for_each(|step| step.write(request))
        });
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netlink::golden;
    use crate::net::nft::element::{Element, network, ports};
    use crate::net::nft::{NFT_MSG_NEWSETELEM, messages};
    use crate::plan::network::{Publish, Subnet};

    fn one(elements: &[Element], set: &str) -> Request {
        let of_set: Vec<_> =
            elements.iter().filter(|element| element.set == set).cloned().collect();
        let mut all = messages(&of_set, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// What it is as a whole, nft(8) tells in the tests of networks.
    #[test]
    fn the_table_in_bytes() {
        let all = rebuild();
        assert_eq!(all.len(), 3 + SETS.len() + CHAINS.len() + RULES.len());
        let at = 3 + SETS.iter().position(|set| set.name == ONE4).unwrap_or_default();
        golden(
            &all[at],
            &[
                "010000000c00010070696e6e61636500",
                "090002006f6e65340000000008000300",
                "00000008080004000000730d08000500",
                "0000000c08000a000000000608000600",
                "000001cd0800070000000008",
            ],
        );
        golden(
            &all[3 + SETS.len() + 1],
            &[
                "010000000c00010070696e6e61636500",
                "0a000300677561726400000014000480",
                "080001000000000008000200fffffed4",
                "0b00070066696c7465720000",
            ],
        );
        golden(
            &all[3 + SETS.len() + CHAINS.len() + 1],
            &[
                "010000000c00010070696e6e61636500",
                "0a000200706f72747300000040010480",
                "24000180090001006d65746100000000",
                "14000280080001000000000108000200",
                "0000000f2c00018008000100636d7000",
                "20000280080001000000000108000200",
                "000000000c0003800500010002000000",
                "340001800c0001007061796c6f616400",
                "24000280080001000000000108000200",
                "00000001080003000000001008000400",
                "0000000424000180090001006d657461",
                "00000000140002800800010000000009",
                "0800020000000010340001800c000100",
                "7061796c6f6164002400028008000100",
                "0000000a080002000000000208000300",
                "00000002080004000000000230000180",
                "0b0001006c6f6f6b7570000020000280",
                "090001006f6e65340000000008000200",
                "00000001080003000000000130000180",
                "080001006e6174002400028008000100",
                "00000001080002000000000208000300",
                "000000010800050000000009",
            ],
        );
    }

    #[test]
    fn elements_in_bytes() {
        let subnets = [Subnet::parse("10.77.0.0/24").unwrap()];
        let network = network("pinnace0", &subnets);
        golden(
            &one(&network, NETS4),
            &[
                "010000000c00010070696e6e61636500",
                "0a0002006e657473340000002c000380",
                "100001800c000180080001000a4d0000",
                "180001800c000180080001000a4d0100",
                "0800030000000001",
            ],
        );
        let publish = [Publish::parse("127.0.0.1:8080:80/udp").unwrap()];
        let all =
            ports(&publish, &["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()], "web");
        assert_eq!(all.len(), 1);
        golden(
            &one(&all, ONE4),
            &[
                "010000000c00010070696e6e61636500",
                "090002006f6e65340000000038000380",
                "3400018014000180100001007f000001",
                "110000001f900000100002800c000100",
                "0a4d0002005000000a00060000047765",
                "62000000",
            ],
        );
        let publish = [Publish::parse("8080-8081:80").unwrap()];
        let all =
            ports(&publish, &["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()], "web");
        assert_eq!(all.iter().map(|one| one.set).collect::<Vec<_>>(), [ANY4, ANY4, ANY6, ANY6]);
        golden(
            &one(&all, ANY6),
            &[
                "010000000c00010070696e6e61636500",
                "09000200616e7936000000007c000380",
                "3c000180100001800c00010006000000",
                "1f9000001c00028018000100fd770000",
                "00000000000000000000000200500000",
                "0a00060000047765620000003c000180",
                "100001800c000100060000001f910000",
                "1c00028018000100fd77000000000000",
                "0000000000000002005100000a000600",
                "0004776562000000",
            ],
        );
    }

    #[test]
    fn an_unspecified_address_is_all_of_its_family() {
        let addresses = ["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()];
        let sets = |text: &str| {
            let all = ports(&[Publish::parse(text).unwrap()], &addresses, "web");
            all.iter().map(|one| one.set).collect::<Vec<_>>()
        };
        assert_eq!(sets("0.0.0.0:80:80"), [ANY4]);
        assert_eq!(sets("[::]:80:80"), [ANY6]);
        assert_eq!(sets("[2001:db8::1]:80:80"), [ONE6]);
        let any = |text: &str| ports(&[Publish::parse(text).unwrap()], &addresses, "web");
        assert_eq!(any("0.0.0.0:80:80")[..], any("80:80")[..1]);
    }

    /// No attribute is longer than 64 KiB.
    #[test]
    fn many_ports_are_several_messages() {
        let publish = [Publish::parse("1-65535:1").unwrap()];
        let all = ports(&publish, &["10.77.0.2".parse().unwrap()], &"x".repeat(300));
        let messages = messages(&all, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
        assert!(messages.iter().all(|message| message.len() < 65536), "{}", messages.len());
    }
}
