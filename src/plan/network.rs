//! `--network`, `--publish` and their like: what was typed, and what it means. Nothing of it
//! is in the runtime-spec: it becomes namespaces, hooks and mounts, which are.

use crate::error::{Error, Result};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

pub use super::subnet::{Subnet, octets};

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
    /// The host's address; none: all of both families; an unspecified one: all of its family.
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
            && (self.address.is_none_or(|address| other.is_for(address))
                || other.address.is_none_or(|address| self.is_for(address)))
    }

    /// Whether what is sent to that address of the host is meant.
    pub fn is_for(&self, address: IpAddr) -> bool {
        self.has_family(address.is_ipv4())
            && self.address.is_none_or(|own| own.is_unspecified() || own == address)
    }

    /// Whether it is published on addresses of IPv4, or of IPv6.
    pub fn has_family(&self, is_ipv4: bool) -> bool {
        self.address.is_none_or(|address| address.is_ipv4() == is_ipv4)
    }

    /// The one address that it is published on.
    pub fn single(&self) -> Option<IpAddr> {
        self.address.filter(|address| !address.is_unspecified())
    }

    /// Whether the host reaches it by 127.0.0.0/8.
    pub fn reaches_loopback(&self) -> bool {
        self.has_family(true) && self.single().is_none_or(|address| address.is_loopback())
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
        self.mac.iter().for_each(|mac| option("--mac", mac_text(*mac)));
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

/// A hardware address, as [`parse_mac`] reads it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
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
            ("0.0.0.0:8080:80", "0.0.0.0:8080:80/tcp"),
            ("[::]:8080:80", "[::]:8080:80/tcp"),
            (":::8080:80", "[::]:8080:80/tcp"),
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
            ("127.0.0.1:80:1", "0.0.0.0:80:1", true),
            ("127.0.0.1:80:1", "[::]:80:1", false),
            ("0.0.0.0:80:1", "0.0.0.0:80:2", true),
            ("0.0.0.0:80:1", "80:2", true),
            ("0.0.0.0:80:1", "[::]:80:1", false),
            ("[2001:db8::1]:80:1", "[::]:80:1", true),
        ] {
            assert_eq!(meet(one, two), wanted, "{one} {two}");
            assert_eq!(meet(two, one), wanted, "{two} {one}");
        }
    }

    #[test]
    fn addresses_that_a_port_is_published_on() {
        for (text, wanted) in [
            ("80:1", [true, true, true, true]),
            ("0.0.0.0:80:1", [true, true, false, false]),
            ("[::]:80:1", [false, false, true, true]),
            ("127.0.0.1:80:1", [true, false, false, false]),
            ("[2001:db8::1]:80:1", [false, false, false, true]),
        ] {
            let publish = Publish::parse(text).unwrap();
            let addresses = ["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1"];
            let found = addresses.map(|address| publish.is_for(address.parse().unwrap()));
            assert_eq!(found, wanted, "{text}");
            assert_eq!(publish.reaches_loopback(), wanted[0], "{text}");
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
