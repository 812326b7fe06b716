//! Subnets: ranges of addresses.

use crate::error::{Error, Result};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// This host, its loopback, groups (RFC 6890); of IPv6 the same and those of one link.
const RESERVED: [(IpAddr, u8); 6] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 96),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// Its first address: no bit is set beyond the prefix.
    pub address: IpAddr,
    /// Length of the prefix.
    pub prefix: u8,
}

impl Subnet {
    /// Cuts off what is beyond the prefix.
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let bits = to_bits(address) & mask(prefix, width(address));
        Self { address: from_bits(bits, address), prefix }
    }

    /// Reads `ADDRESS/PREFIX`.
    ///
    /// # Errors
    /// What is wrong with it: also bits beyond the prefix, and a prefix that leaves no address for
    /// a bridge and a container.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::new(format!("{text:?}: {why}")).hint("as 10.77.0.0/24");
        let (address, prefix) = text.split_once('/').ok_or_else(|| wrong("has no prefix"))?;
        let address: IpAddr = address.parse().map_err(|_| wrong("is no IP address"))?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong("is no length of a prefix"))?;
        let subnet = Self::new(address, prefix.min(width(address)));
        if subnet.prefix != prefix || prefix == 0 {
            return Err(wrong("is no length of a prefix"));
        }
        if subnet.address != address {
            return Err(wrong(&format!("has bits beyond the prefix; {subnet} is meant?")));
        }
        if width(address) - prefix < 2 {
            return Err(wrong("leaves no address for a container"));
        }
        if RESERVED.iter().any(|(reserved, prefix)| Self::new(*reserved, *prefix).overlaps(&subnet))
        {
            return Err(wrong("has addresses that no container may have"));
        }
        Ok(subnet)
    }

    /// Whether they have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4() && {
            let prefix = self.prefix.min(other.prefix);
            Self::new(self.address, prefix) == Self::new(other.address, prefix)
        }
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.overlaps(&Self { address, prefix: width(address) })
    }

    /// The address with that number in it.
    pub fn nth(&self, number: u32) -> IpAddr {
        from_bits(to_bits(self.address) + u128::from(number), self.address)
    }

    /// The number of an address in it.
    pub fn number_of(&self, address: IpAddr) -> Option<u32> {
        u32::try_from(to_bits(address).checked_sub(to_bits(self.address))?).ok()
    }

    /// How many addresses containers may have: not the network's own, not the bridge's, and
    /// not the last, which for IPv4 is everybody's.
    pub fn hosts(&self) -> u32 {
        let bits = u32::from(width(self.address) - self.prefix).min(24);
        (1 << bits) - 3
    }

    /// The last address and one more, for what the kernel calls an interval.
    pub fn end(&self) -> Option<IpAddr> {
        let width = width(self.address);
        let size = 1u128.checked_shl(u32::from(width - self.prefix))?;
        let end = to_bits(self.address).checked_add(size)?;
        (width == 128 || end >> width == 0).then(|| from_bits(end, self.address))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mask(prefix: u8, width: u8) -> u128 {
    let host = u32::from(width - prefix.min(width));
    u128::MAX.checked_shl(host).unwrap_or(0)
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn from_bits(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// The bytes of an address, as the wire has them.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_ranges() {
        let net = Subnet::parse("10.77.0.0/24").unwrap();
        assert_eq!((net.nth(1).to_string(), net.hosts()), ("10.77.0.1".into(), 253));
        assert_eq!(net.number_of(net.nth(254)), Some(254));
        assert_eq!(net.end().unwrap().to_string(), "10.77.1.0");
        assert_eq!(Subnet::parse("255.255.255.0/24").unwrap().end(), None);
        assert_eq!(Subnet::parse("10.0.0.0/30").unwrap().hosts(), 1);
        let six = Subnet::parse("fd00:1::/64").unwrap();
        assert_eq!(six.end().unwrap().to_string(), "fd00:1:0:1::");
        assert_eq!(six.hosts(), (1 << 24) - 3);
        for (one, two, wanted) in [
            ("10.77.0.0/24", "10.77.0.128/25", true),
            ("10.77.0.0/24", "10.77.1.0/24", false),
            ("10.0.0.0/8", "10.77.1.0/24", true),
            ("fd00::/8", "10.0.0.0/8", false),
        ] {
            let meet = Subnet::parse(one).unwrap().overlaps(&Subnet::parse(two).unwrap());
            assert_eq!(meet, wanted, "{one} {two}");
        }
        for text in [
            "10.77.0.0",
            "10.77.0.0/33",
            "10.77.0.1/24",
            "10.77.0.0/31",
            "10.77.0.0/0",
            "x/24",
            "10.77.0.0/",
            "fd00::/127",
            "fd00::1/64",
            "127.9.0.0/24",
            "0.0.0.0/4",
            "224.0.0.0/24",
            "fe80::/64",
            "ff00::/64",
            "fd00::/129",
            "10.77.0.0/-1",
        ] {
            assert!(Subnet::parse(text).is_err(), "{text}");
        }
    }
}
