//! `linux.netDevices` (config-linux.md, "Network Devices").

use super::{Findings, Kind, Namespaces};
use crate::error::Error;
use crate::spec;
use std::collections::BTreeMap;

/// The longest name: `IFNAMSIZ` of linux/if.h with its NUL.
const LONGEST: usize = 15;

/// A device of the host that goes into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container, or a template with `%d`; `None` keeps it.
    pub name: Option<String>,
}

impl NetDevice {
    /// The field of the configuration.
    pub fn field(&self) -> String {
        format!("linux.netDevices.{}", self.host)
    }

    /// The name, or the template, in the container.
    pub fn inside(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.host)
    }

    /// Whether the kernel is to put a number for `%d`.
    pub fn is_template(&self) -> bool {
        self.name.as_ref().is_some_and(|name| name.contains('%'))
    }
}

/// Checks names, and that there is a namespace to move to.
pub fn plan(
    devices: &BTreeMap<String, spec::NetDevice>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Vec<NetDevice> {
    if !devices.is_empty() && !namespaces.has(Kind::Network) {
        findings.error(
            Error::new("needs a network namespace of the container's own")
                .at("linux.netDevices")
                .hint("add {\"type\": \"network\"} to linux.namespaces"),
        );
    }
    let mut planned: Vec<NetDevice> = Vec::with_capacity(devices.len());
    let mut inside: BTreeMap<String, usize> = BTreeMap::new();
    for (host, device) in devices {
        let name = device.name.clone().filter(|name| !name.is_empty());
        let device = NetDevice { host: host.clone(), name };
        let field = device.field();
        if let Some(why) = wrong(host, false) {
            findings.refuse("linux.netDevices", format!("the device name {host:?} {why}"));
        }
        if let Some(why) = device.name.as_deref().and_then(|name| wrong(name, true)) {
            findings.refuse(format_args!("{field}.name"), format!("{:?} {why}", device.inside()));
        }
        if device.inside() == "lo" {
            findings.refuse(&field, "\"lo\" is the loopback device of every network namespace");
        }
        let twin = *inside.entry(device.inside().to_owned()).or_insert(planned.len());
        if let Some(twin) = planned.get(twin).filter(|_| !device.is_template()) {
            findings.refuse(
                format_args!("{field}.name"),
                format!("{:?} is the name of {} already", device.inside(), twin.field()),
            );
        }
        planned.push(device);
    }
    planned
}

/// What the kernel's `dev_valid_name` and `dev_prep_valid_name` refuse.
fn wrong(name: &str, template: bool) -> Option<String> {
    if name.is_empty() || name == "." || name == ".." {
        return Some("is not the name of a network device".into());
    }
    if name.len() > LONGEST {
        return Some(format!("is longer than {LONGEST} bytes (IFNAMSIZ)"));
    }
    let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace() || c == '\x0b';
    if let Some(character) = name.chars().find(|c| bad(*c)) {
        return Some(format!("contains {character:?}"));
    }
    let (percents, templates) = (name.matches('%').count(), name.matches("%d").count());
    if percents > 0 && !(template && percents == 1 && templates == 1) {
        return Some("contains a % that is not one %d of a template".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::wrong;

    #[test]
    fn names_are_those_of_the_kernel() {
        for name in ["eth0", "a23456789012345", "x%d", "%d", "br-0.1", "ä"] {
            assert_eq!(wrong(name, true), None, "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\tb",
            "a234567890123456",
            "%",
            "%s",
            "%d%d",
            "x%%d",
        ] {
            assert!(wrong(name, true).is_some(), "{name}");
        }
        assert!(wrong("eth%d", false).is_some());
    }
}
