//! `--network`, `--publish` and their like: what was typed, and what it means. Nothing of it
//! is in the runtime-spec: it becomes namespaces, hooks and mounts, which are.

use crate::error::{Error, Result};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The network that `bridge` alone means.
pub const DEFAULT: &str = "pinnace";

/// How a container is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// A network namespace of its own with nothing but `lo`.
    None,
    /// No network namespace.
    Host,
    /// The network namespace of that container.
    Container(String),
    /// A network namespace of its own, with a cable to the bridge of that network.
    Bridge(String),
}

impl Mode {
    /// Reads `none`, `host`, `container:ID` or `bridge[:NAME]`.
    ///
    /// # Errors
    /// What else there is.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':').map_or((text, None), |(mode, name)| (mode, Some(name))) {
            ("none", None) => Ok(Self::None),
            ("host", None) => Ok(Self::Host),
            ("bridge", None) => Ok(Self::Bridge(DEFAULT.into())),
            ("bridge", Some(name)) => check_name(name).map(|()| Self::Bridge(name.into())),
            ("container", Some(id)) if !id.is_empty() => Ok(Self::Container(id.into())),
            _ => Err(Error::new(format!("{text:?} is no network"))
                .hint("none, host, bridge, bridge:NAME and container:ID are")),
        }
    }
}

/// Checks the name of a network: it is the name of a directory, and part of that of a device.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_name(name: &str) -> Result<()> {
    let letter = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let good = name.len() <= NAME && name.chars().all(letter);
    if good && name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Error::new(format!("{name:?} is no name of a network"))
        .hint(format!("1 to {NAME} of A-Z, a-z, 0-9 and _.- are, with a letter or digit first")))
}

/// The longest name of a network.
const NAME: usize = 40;

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number (IANA).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Ports of the host that lead to as many of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The host's address; none: all of both families.
    pub address: Option<IpAddr>,
    /// First port of the host.
    pub host: u16,
    /// First port of the container.
    pub container: u16,
    /// How many.
    pub count: u16,
    /// Their protocol.
    pub protocol: Protocol,
}

impl Publish {
    /// Reads `[IP:]HOSTPORT[-RANGE]:PORT[/tcp|udp]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(|why| {
            Error::new(format!("{text:?}: {why}"))
                .hint("[IP:]HOSTPORT[-LAST]:PORT[/tcp|udp], as 8080:80, 127.0.0.1:8080:80/udp, [2001:db8::1]:8000-8009:8000")
        })
    }

    fn read(text: &str) -> std::result::Result<Self, &'static str> {
        let (left, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((left, "tcp")) => (left, Protocol::Tcp),
            Some((left, "udp")) => (left, Protocol::Udp),
            Some(_) => return Err("the protocol is neither tcp nor udp"),
        };
        let (left, inside) = left.rsplit_once(':').ok_or("a port of the container is missing")?;
        let (address, outside) = match left.rsplit_once(':') {
            None => (None, left),
            Some((address, port)) => {
                let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let parsed = bare.unwrap_or(address).parse::<IpAddr>();
                (Some(parsed.map_err(|_| "that is no IP address")?), port)
            }
        };
        // All of both families: the way to say it in the language of sockets.
        let address = address.filter(|address| !address.is_unspecified());
        let ((host, count), (container, inner)) = (range(outside)?, range(inside)?);
        if inner != 1 && inner != count {
            return Err("the ranges have not the same length");
        }
        if u32::from(container) + u32::from(count) > 65536 {
            return Err("the container has no port above 65535");
        }
        Ok(Self { address, host, container, count, protocol })
    }

    /// Whether a port of the host is one of these.
    pub fn has(&self, port: u16) -> bool {
        port.checked_sub(self.host).is_some_and(|n| n < self.count)
    }

    /// Whether a port of the host is meant by both.
    pub fn meets(&self, other: &Self) -> bool {
        let last = |ports: &Self| u32::from(ports.host) + u32::from(ports.count);
        self.protocol == other.protocol
            && u32::from(self.host) < last(other)
            && u32::from(other.host) < last(self)
            && match (self.address, other.address) {
                (Some(one), Some(two)) => one == two,
                _ => true,
            }
    }
}

/// First port, and how many.
fn range(text: &str) -> std::result::Result<(u16, u16), &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port > 0)
    };
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last - first + 1)),
        (Some(_), Some(_)) => Err("the range ends before it begins"),
        _ => Err("a port is a number from 1 to 65535"),
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(address) => write!(f, "{address}:")?,
            None => {}
        }
        let last = |first: u16| match self.count {
            1 => String::new(),
            count => format!("-{}", u32::from(first) + u32::from(count) - 1),
        };
        let (host, inside) = (self.host, self.container);
        let (host_end, inside_end) = (last(host), last(inside));
        write!(f, "{host}{host_end}:{inside}{inside_end}/{}", self.protocol.name())
    }
}

/// What is done about another firewall that drops what is forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Firewall {
    /// It is an error that tells what to do.
    #[default]
    Check,
    /// Two rules are put into it.
    Insert,
    /// Nothing.
    None,
}

impl Firewall {
    /// Its words, the default first.
    pub const WORDS: [&'static str; 3] = ["check", "insert", "none"];

    /// Reads one of the words.
    pub fn parse(word: &str) -> Self {
        match word {
            "insert" => Self::Insert,
            "none" => Self::None,
            _ => Self::Check,
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// A network to be made.
#[derive(Debug, Clone, Default)]
pub struct NewNetwork {
    /// Its name, checked.
    pub name: String,
    /// Of IPv4, if not the first that is free.
    pub subnet: Option<Subnet>,
    /// Of IPv6, likewise.
    pub subnet6: Option<Subnet>,
    /// Largest packet, if not that of the default route's device.
    pub mtu: Option<u32>,
    /// A bridge that is there and is to be used as it is.
    pub bridge: Option<String>,
}

impl NewNetwork {
    /// One with nothing but a name.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// How a container is to be connected to a network.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The network's name, checked.
    pub network: String,
    /// Ports of the host that lead to it.
    pub publish: Vec<Publish>,
    /// Its address, if not any that is free.
    pub ip: Option<IpAddr>,
    /// Its address of IPv6, if not that with the same number.
    pub ip6: Option<IpAddr>,
    /// Its hardware address, if not that of its IPv4 address.
    pub mac: Option<[u8; 6]>,
    /// What is done about another firewall.
    pub firewall: Firewall,
    /// Where `hosts`, `resolv.conf` and `hostname` are to be filled in.
    pub files: Option<PathBuf>,
    /// What they are to say.
    pub names: Names,
}

impl Wish {
    /// The command line of `network setup` that says the same.
    pub fn arguments(&self) -> Vec<String> {
        let mut all = vec![self.network.clone()];
        let mut option = |name: &str, value: String| all.extend([name.to_owned(), value]);
        let names = &self.names;
        self.publish.iter().for_each(|ports| option("--publish", ports.to_string()));
        self.ip.iter().for_each(|address| option("--ip", address.to_string()));
        self.ip6.iter().for_each(|address| option("--ip6", address.to_string()));
        self.mac
            .iter()
            .for_each(|mac| option("--mac", mac.map(|byte| format!("{byte:02x}")).join(":")));
        if self.firewall != Firewall::Check {
            option("--firewall", self.firewall.word().to_owned());
        }
        names.hostname.iter().for_each(|name| option("--hostname", name.clone()));
        names.dns.iter().for_each(|server| option("--dns", server.to_string()));
        names.search.iter().for_each(|domain| option("--dns-search", domain.clone()));
        names
            .hosts
            .iter()
            .for_each(|(name, address)| option("--add-host", format!("{name}:{address}")));
        self.files.iter().for_each(|files| option("--files", files.display().to_string()));
        all
    }
}

/// What a container's name files say.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The host name.
    pub hostname: Option<String>,
    /// Name servers, if not those of the host.
    pub dns: Vec<IpAddr>,
    /// Domains to search, if not those of the host.
    pub search: Vec<String>,
    /// Further names, with their addresses.
    pub hosts: Vec<(String, IpAddr)>,
}

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
    /// What is wrong with it: also bits beyond the prefix, and a prefix that leaves no room for
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
    pub fn room(&self) -> u32 {
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

/// Reads a hardware address.
///
/// # Errors
/// One that no container may have: not six bytes, or that of a group.
pub fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
        .collect();
    let mac = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    mac.filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]).ok_or_else(|| {
        Error::new(format!("{text:?} is no hardware address of a device"))
            .hint("as 02:42:0a:4d:00:02")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        for (text, wanted) in [
            ("8080:80", "8080:80/tcp"),
            ("8080:80/udp", "8080:80/udp"),
            ("127.0.0.1:1:65535/tcp", "127.0.0.1:1:65535/tcp"),
            ("[::1]:8080:80", "[::1]:8080:80/tcp"),
            ("::1:8080:80", "[::1]:8080:80/tcp"),
            ("0.0.0.0:8080:80", "8080:80/tcp"),
            ("[::]:8080:80", "8080:80/tcp"),
            ("8000-8009:9000", "8000-8009:9000-9009/tcp"),
            ("8000-8009:9000-9009/udp", "8000-8009:9000-9009/udp"),
            ("1-65535:1", "1-65535:1-65535/tcp"),
        ] {
            assert_eq!(Publish::parse(text).unwrap().to_string(), wanted, "{text}");
        }
        for text in [
            "",
            "80",
            ":80",
            "80:",
            "0:80",
            "80:0",
            "65536:80",
            "80:65536",
            "+80:80",
            "x:80",
            "80:80/sctp",
            "80:80/",
            "1.2.3:80:80",
            "9-8:80",
            "80-89:80-88",
            "80-89:65530",
            "-:80",
            "8080:80 ",
            "[::1:8080:80",
            "a:b:c",
        ] {
            assert!(Publish::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_port_of_the_host_is_seen() {
        let meet = |one: &str, two: &str| {
            Publish::parse(one).unwrap().meets(&Publish::parse(two).unwrap())
        };
        for (one, two, wanted) in [
            ("80:1", "80:2", true),
            ("80:1", "81:1", false),
            ("80:1", "80:1/udp", false),
            ("80-89:1", "89:1", true),
            ("80-89:1", "90:1", false),
            ("127.0.0.1:80:1", "80:1", true),
            ("127.0.0.1:80:1", "127.0.0.2:80:1", false),
        ] {
            assert_eq!(meet(one, two), wanted, "{one} {two}");
            assert_eq!(meet(two, one), wanted, "{two} {one}");
        }
    }

    #[test]
    fn subnets_are_ranges() {
        let net = Subnet::parse("10.77.0.0/24").unwrap();
        assert_eq!((net.nth(1).to_string(), net.room()), ("10.77.0.1".into(), 253));
        assert_eq!(net.number_of(net.nth(254)), Some(254));
        assert_eq!(net.end().unwrap().to_string(), "10.77.1.0");
        assert_eq!(Subnet::parse("255.255.255.0/24").unwrap().end(), None);
        assert_eq!(Subnet::parse("10.0.0.0/30").unwrap().room(), 1);
        let six = Subnet::parse("fd00:1::/64").unwrap();
        assert_eq!(six.end().unwrap().to_string(), "fd00:1:0:1::");
        assert_eq!(six.room(), (1 << 24) - 3);
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

    #[test]
    fn modes_are_read() {
        assert_eq!(Mode::parse("bridge").unwrap(), Mode::Bridge(DEFAULT.into()));
        assert_eq!(Mode::parse("bridge:web").unwrap(), Mode::Bridge("web".into()));
        assert_eq!(Mode::parse("container:a").unwrap(), Mode::Container("a".into()));
        for text in ["", "x", "none:", "host:x", "bridge:", "bridge:a/b", "container", "container:"]
        {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
        assert!(check_name(&"a".repeat(41)).is_err() && check_name(".a").is_err());
    }

    #[test]
    fn hardware_addresses_are_read() {
        assert_eq!(parse_mac("02:42:0a:4d:00:02").unwrap(), [2, 0x42, 10, 77, 0, 2]);
        for text in ["", "02:42", "01:42:0a:4d:00:02", "00:00:00:00:00:00", "2:42:0a:4d:00:02"] {
            assert!(parse_mac(text).is_err(), "{text}");
        }
    }
}
