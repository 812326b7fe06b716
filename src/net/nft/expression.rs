//! Expressions of nf_tables: the instructions that a rule is made of. Registers are loaded,
//! compared, looked up; a verdict or a translation ends the rule.

use super::super::netlink::Request;

// linux/netfilter/nf_tables.h.
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
pub(super) const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
/// `NFT_REG_VERDICT`: what ends a rule.
const VERDICT_REGISTER: u32 = 0;
/// `NFT_LOOKUP_F_INV`
const INVERTED: u32 = 1;
/// `NFT_NAT_DNAT`
const DNAT: u32 = 1;

/// A register of sixteen bytes.
pub(super) const REGISTER_1: u32 = 1;
/// The next one.
pub(super) const REGISTER_2: u32 = 2;
/// The second four bytes of the first (`NFT_REG32_01`).
pub(super) const REGISTER_1_4: u32 = 9;
/// The third and fourth.
pub(super) const REGISTER_1_8: u32 = 10;
/// The second four bytes of the second.
pub(super) const REGISTER_2_4: u32 = 13;

/// What is loaded of a packet's surroundings (`enum nft_meta_keys`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Meta {
    /// The name of the device that it came in by.
    InName = 6,
    /// The name of the device that it goes out by.
    OutName = 7,
    /// IPv4 or IPv6.
    Family = 15,
    /// TCP, UDP or another.
    Protocol = 16,
}

/// Of which header (`enum nft_payload_bases`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Header {
    /// IPv4 or IPv6.
    Network = 1,
    /// TCP or UDP.
    Transport = 2,
}

/// What is loaded of a connection (`enum nft_ct_keys`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Tracked {
    /// Where it is in its life.
    State = 0,
    /// What is done with it.
    Status = 2,
}

/// How a rule ends (linux/netfilter.h, `enum nft_verdicts`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    Drop = 0,
    Accept = 1,
    Jump = -3,
    Return = -5,
}

/// One expression.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// Loads what is known of the packet.
    Meta(Meta, u32),
    /// Loads bytes of the packet: header, offset, length.
    Payload(Header, u32, u32, u32),
    /// Loads what is known of the connection.
    Ct(Tracked),
    /// Loads the type of the destination address (`RTN_LOCAL` ...).
    DestinationType,
    /// Keeps some bits of the first register.
    Mask(&'static [u8]),
    /// Goes on if the first register holds this.
    Equal(&'static [u8]),
    /// Goes on if it does not.
    Differs(&'static [u8]),
    /// Goes on if the first register holds that name, to its NUL: as iptables compares.
    Named(&'a str),
    /// Goes on if what begins in the first register is in the set.
    In(&'static str),
    /// Goes on if it is not.
    NotIn(&'static str),
    /// Goes on if it is a key of the map, with the value in the first register.
    Mapped(&'static str),
    /// Ends the rule, perhaps with the name of a chain.
    End(Verdict, &'static str),
    /// Translates the destination to the address in the first register and the port in that one.
    Destination(u8, u32),
    /// Translates the source to the address of the device that the packet goes out by.
    Masquerade,
    /// Counts.
    Count,
}

impl Step<'_> {
    /// Appends it to the list of a rule.
    pub fn write(self, request: &mut Request) {
        request.nested(NFTA_LIST_ELEM, &|request| {
            request.text(NFTA_EXPR_NAME, self.name()).nested(NFTA_EXPR_DATA, &|request| {
                self.data(request);
            });
        });
    }

    fn name(self) -> &'static str {
        match self {
            Self::Meta(..) => "meta",
            Self::Payload(..) => "payload",
            Self::Ct(_) => "ct",
            Self::DestinationType => "fib",
            Self::Mask(_) => "bitwise",
            Self::Equal(_) | Self::Differs(_) | Self::Named(_) => "cmp",
            Self::In(_) | Self::NotIn(_) | Self::Mapped(_) => "lookup",
            Self::End(..) => "immediate",
            Self::Destination(..) => "nat",
            Self::Masquerade => "masq",
            Self::Count => "counter",
        }
    }

    /// Its attributes, by the numbers of `enum nft_*_attributes`.
    fn data(self, request: &mut Request) {
        match self {
            Self::Meta(key, register) => numbers(request, &[(1, register), (2, key as u32)]),
            Self::Payload(header, offset, length, register) => {
                numbers(request, &[(1, register), (2, header as u32), (3, offset), (4, length)]);
            }
            Self::Ct(key) => numbers(request, &[(1, REGISTER_1), (2, key as u32)]),
            // NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR.
            Self::DestinationType => numbers(request, &[(1, REGISTER_1), (2, 3), (3, 2)]),
            Self::Mask(mask) => {
                numbers(request, &[(1, REGISTER_1), (2, REGISTER_1), (3, mask.len() as u32)]);
                value(request, 4, mask);
                value(request, 5, &[0; 4]);
            }
            Self::Equal(bytes) | Self::Differs(bytes) => {
                let differs = u32::from(matches!(self, Self::Differs(_)));
                numbers(request, &[(1, REGISTER_1), (2, differs)]);
                value(request, 3, bytes);
            }
            Self::Named(name) => {
                numbers(request, &[(1, REGISTER_1), (2, 0)]);
                value(request, 3, &[name.as_bytes(), b"\0"].concat());
            }
            Self::In(set) | Self::NotIn(set) | Self::Mapped(set) => {
                request.text(1, set).be32(2, REGISTER_1);
                match self {
                    Self::NotIn(_) => request.be32(5, INVERTED),
                    Self::Mapped(_) => request.be32(3, REGISTER_1),
                    _ => request,
                };
            }
            Self::End(verdict, chain) => {
                request.be32(1, VERDICT_REGISTER).nested(2, &|request| {
                    request.nested(NFTA_DATA_VERDICT, &|request| {
                        request.be32(NFTA_VERDICT_CODE, (verdict as i32).cast_unsigned());
                        if !chain.is_empty() {
                            request.text(NFTA_VERDICT_CHAIN, chain);
                        }
                    });
                });
            }
            Self::Destination(family, port) => {
                numbers(request, &[(1, DNAT), (2, family.into()), (3, REGISTER_1), (5, port)]);
            }
            Self::Masquerade | Self::Count => {}
        }
    }
}

fn numbers(request: &mut Request, list: &[(u16, u32)]) {
    for (kind, number) in list {
        request.be32(*kind, *number);
    }
}

/// `struct nft_data` as an attribute.
pub(super) fn value(request: &mut Request, kind: u16, bytes: &[u8]) {
    request.nested(kind, &|request| {
        request.attribute(NFTA_DATA_VALUE, bytes);
    });
}
