//! Arguments of a container's network, which `spec`, `create`, `run` and `network setup` share.

use super::arguments::arguments;
use crate::container::Wiring;
use crate::error::{At as _, Error, Result};
use crate::plan::network::{Firewall, Mode, Names, Publish, Wish, parse_mac};
use std::net::{IpAddr, Ipv6Addr};

arguments! {
    /// What a bridge may be asked for.
    pub struct Connection {
        /// Let ports of the host lead to the container: [IP:]HOSTPORT[-LAST]:PORT[/tcp|udp]
        publish: Vec<String> = "-p, --publish PORTS",
        /// Address of the container [default: a free one of the network]
        ip: Option<String> = "--ip ADDRESS",
        /// IPv6 address of the container
        ip6: Option<String> = "--ip6 ADDRESS",
        /// Hardware address of the container
        mac: Option<String> = "--mac ADDRESS",
        /// Host name of the container
        hostname: Option<String> = "--hostname NAME",
        /// Name server [default: those of the host]
        dns: Vec<String> = "--dns ADDRESS",
        /// Domain to search for names [default: those of the host]
        dns_search: Vec<String> = "--dns-search DOMAIN",
        /// A further line of /etc/hosts, as NAME:ADDRESS
        add_host: Vec<String> = "--add-host NAME:ADDRESS",
        /// When another firewall drops what is forwarded: tell how to let it pass, do it, go on
        firewall: Option<String> = "--firewall check|insert|none",
    }
}

arguments! {
    /// How a container is connected.
    pub struct Networking {
        ..connection: Connection,
        /// How it is connected: none, host, container:ID, bridge[:NAME]
        network: Option<String> = "--network MODE",
    }
}

fn address(option: &str, text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Error::new(format!("{text:?} is no IP address")).at(option))
}

fn one_address(option: &str, text: Option<&String>, is_ipv6: bool) -> Result<Option<IpAddr>> {
    let Some(text) = text else { return Ok(None) };
    let address = address(option, text)?;
    if address.is_ipv6() == is_ipv6 {
        return Ok(Some(address));
    }
    Err(Error::new(format!("{text} is of the other family")).at(option))
}

/// A word of a file of lines and words.
fn word(option: &str, text: &str) -> Result<String> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    if text.is_empty() || text.contains(is_bad) {
        return Err(Error::new(format!("{text:?} is no name")).at(option));
    }
    Ok(text.to_owned())
}

impl Connection {
    /// As the verbs want it.
    ///
    /// # Errors
    /// A word that means nothing.
    pub fn wish(&self, network: String) -> Result<Wish> {
        let publish = self.publish.iter().map(|text| Publish::parse(text));
        let publish: Vec<_> = publish.collect::<Result<_>>().at(|| "--publish")?;
        for (at, one) in publish.iter().enumerate() {
            if one.address.is_some_and(|address| address == Ipv6Addr::LOCALHOST) {
                return Err(Error::new(format!("{one}: the kernel leads nothing from ::1"))
                    .at("--publish")
                    .hint("127.0.0.1 is for this host alone, too"));
            }
            if let Some(other) = publish[..at].iter().find(|other| one.meets(other)) {
                return Err(Error::new(format!("{other} and {one} are the same port of the host"))
                    .at("--publish"));
            }
        }
        let firewall = match self.firewall.as_deref() {
            None => Firewall::Check,
            Some(word) if Firewall::WORDS.contains(&word) => Firewall::parse(word),
            Some(word) => {
                let words = Firewall::WORDS.join(", ");
                return Err(Error::new(format!("{word:?} is not one of {words}")).at("--firewall"));
            }
        };
        let host = |text: &String| {
            let (name, target) = text.split_once(':').ok_or_else(|| {
                Error::new(format!("{text:?} has no address"))
                    .at("--add-host")
                    .hint("as db:10.0.0.5")
            })?;
            Ok((word("--add-host", name)?, address("--add-host", target)?))
        };
        Ok(Wish {
            network,
            publish,
            ip: one_address("--ip", self.ip.as_ref(), false)?,
            ip6: one_address("--ip6", self.ip6.as_ref(), true)?,
            mac: self.mac.as_deref().map(parse_mac).transpose().at(|| "--mac")?,
            firewall,
            files: None,
            names: Names {
                hostname: self
                    .hostname
                    .as_deref()
                    .map(|name| word("--hostname", name))
                    .transpose()?,
                dns: self.dns.iter().map(|text| address("--dns", text)).collect::<Result<_>>()?,
                search: self
                    .dns_search
                    .iter()
                    .map(|text| word("--dns-search", text))
                    .collect::<Result<_>>()?,
                hosts: self.add_host.iter().map(host).collect::<Result<_>>()?,
            },
        })
    }

    /// The first option that only a bridge knows.
    fn only_for_bridges(&self) -> Option<&'static str> {
        [
            ("--publish", !self.publish.is_empty()),
            ("--ip", self.ip.is_some()),
            ("--ip6", self.ip6.is_some()),
            ("--mac", self.mac.is_some()),
            ("--dns", !self.dns.is_empty()),
            ("--dns-search", !self.dns_search.is_empty()),
            ("--add-host", !self.add_host.is_empty()),
            ("--firewall", self.firewall.is_some()),
        ]
        .into_iter()
        .find_map(|(option, given)| given.then_some(option))
    }
}

impl Networking {
    /// As the verbs want it.
    ///
    /// # Errors
    /// A word that means nothing; an option that only a bridge knows, without one.
    pub fn wiring(&self) -> Result<Wiring> {
        let mode = self.network.as_deref().map(Mode::parse).transpose().at(|| "--network")?;
        let name = match &mode {
            Some(Mode::Bridge(name)) => name.clone(),
            _ => match self.connection.only_for_bridges() {
                Some(option) => {
                    return Err(Error::new("needs --network bridge").at(option));
                }
                None => String::new(),
            },
        };
        let wish = self.connection.wish(name)?;
        let hostname = wish.names.hostname.clone();
        Ok(Wiring { mode, wish, hostname })
    }
}
