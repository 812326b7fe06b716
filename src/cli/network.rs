//! `pinnace network`: networks, and the connections of containers to them. A table of commands
//! of its own.

use super::arguments::{Help, arguments};
use super::connection::Connection;
use super::usage::{print, print_json};
use super::{Entry, Parsed, Verb, Words, entry};
use crate::container::Runtime;
use crate::container::network::{self, Lease, Network, Subject, View};
use crate::error::{At as _, Error, Result, printable};
use crate::plan::network::{DEFAULT, Firewall, NewNetwork, Publish, Subnet, Wish, check_name};
use serde_json::{Value, json};
use std::path::PathBuf;

pub(super) static COMMANDS: [Entry; 8] = [
    entry::<Create>(
        "network create",
        "Make a network that stays until it is removed",
        "pinnace network create blue --subnet 10.2.0.0/24",
    ),
    entry::<List>("network ls", "List the networks", "pinnace network ls"),
    entry::<Inspect>(
        "network inspect",
        "Show a network, its members and their ports",
        "pinnace network inspect blue",
    ),
    entry::<Remove>("network rm", "Remove a network that nobody uses", "pinnace network rm blue"),
    entry::<Prune>(
        "network prune",
        "Remove what crashes have left, and networks without members",
        "pinnace network prune",
    ),
    entry::<Reload>(
        "network reload",
        "Put back the firewall's rules, bridges and their members",
        "pinnace network reload",
    ),
    entry::<Setup>(
        "network setup",
        "Connect a container; a createRuntime hook, or with --netns",
        "pinnace network setup blue --netns /run/netns/web --name web --publish 8080:80",
    ),
    entry::<Teardown>(
        "network teardown",
        "Disconnect a container; a poststop hook, or with --name",
        "pinnace network teardown blue --name web",
    ),
];

/// The command's own command line.
pub(super) const NETWORK: Entry = Entry {
    name: "network",
    about: "Connect containers by a bridge: create, ls, inspect, rm, prune, reload, setup, teardown",
    example: "",
    parse: parse_command,
    failure: 1,
    sealed: false,
};

fn parse_command(entry: &Entry, words: &mut Words) -> Result<Parsed> {
    let short = |entry: &'static Entry| entry.name.split(' ').nth(1).unwrap_or_default();
    let help = || "`pinnace network --help` lists what there is";
    let Some(word) = words.next() else {
        return Err(Error::new("network: a command is missing").hint(help()));
    };
    let word = word.to_string_lossy();
    if matches!(&*word, "-h" | "--help" | "-help" | "help") {
        let help = Help::new("pinnace network".to_owned(), entry.about, &[], "");
        let commands = COMMANDS.iter().map(|entry| (short(entry), entry.about)).collect();
        return Ok(Parsed::Help(Help { commands, ..help }));
    }
    let found = COMMANDS.iter().find(|entry| short(entry) == word);
    let found = found
        .ok_or_else(|| Error::new(format!("network: unknown command {word:?}")).hint(help()))?;
    (found.parse)(found, words)
}

arguments! {
    /// Arguments of `network create`.
    pub struct Create {
        /// IPv4 subnet, as 10.77.0.0/24 [default: the first that is free]
        subnet: Option<String> = "--subnet SUBNET",
        /// IPv6 subnet, as fd77::/64 [default: a unique local one]
        subnet6: Option<String> = "--subnet6 SUBNET",
        /// Largest packet [default: that of the default route's device]
        mtu: u32 = "--mtu BYTES",
        /// Use this bridge as it is, with its addresses
        bridge: Option<String> = "--bridge DEVICE",
        /// When another firewall drops what is forwarded: tell how to let it pass, do it, go on
        firewall: String = "--firewall WHAT" in Firewall::WORDS,
        /// Name of the network
        name: String = "NAME",
    }
}

/// What that means.
const SWITCHED: &str = "switched on: this host routes between its other devices, too, from now on";

impl Verb for Create {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        check_name(&self.name)?;
        let subnet = |option: &str, text: Option<&String>, is_ipv4: bool| match text {
            None => Ok(None),
            Some(text) => match Subnet::parse(text).at(|| option)? {
                subnet if subnet.address.is_ipv4() == is_ipv4 => Ok(Some(subnet)),
                subnet => Err(Error::new(format!("{subnet} is of the other family")).at(option)),
            },
        };
        if self.bridge.is_some()
            && (self.subnet.is_some() || self.subnet6.is_some() || self.mtu > 0)
        {
            return Err(Error::new("subnets and MTU are those of the bridge").at("--bridge"));
        }
        if self.mtu > 0 && !(68..=65535).contains(&self.mtu) {
            return Err(Error::new(format!("{} is not from 68 to 65535", self.mtu)).at("--mtu"));
        }
        let wish = NewNetwork {
            subnet: subnet("--subnet", self.subnet.as_ref(), true)?,
            subnet6: subnet("--subnet6", self.subnet6.as_ref(), false)?,
            mtu: (self.mtu > 0).then_some(self.mtu),
            bridge: self.bridge,
            name: self.name,
        };
        let network = network::create_network(&wish, Firewall::parse(&self.firewall))?;
        match network.switched.as_slice() {
            [] => Ok(0),
            switched => print(&format!("{}: {}\n", joined(switched), SWITCHED)).map(|()| 0),
        }
    }
}

arguments! {
    /// Arguments of `network ls`.
    pub struct List {
        /// Format of the output
        format: String = "-f, --format FORMAT" in ["table", "json"],
    }
}

impl Verb for List {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        let views = network::networks(&[])?;
        if self.format == "json" {
            return print_json(&views.iter().map(document).collect::<Vec<_>>()).map(|()| 0);
        }
        let mut rows =
            vec![["NETWORK", "BRIDGE", "SUBNETS", "MEMBERS"].map(str::to_owned).to_vec()];
        for View { network, members, .. } in &views {
            let subnets = joined(&network.subnets);
            rows.push(vec![
                network.name.clone(),
                network.bridge.clone(),
                subnets,
                members.len().to_string(),
            ]);
        }
        print(&table(&rows)).map(|()| 0)
    }
}

fn joined<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn document(view: &View) -> Value {
    let View { network, is_up, members } = view;
    let texts =
        |list: &[std::net::IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let member = |(lease, is_live): &(Lease, bool)| {
        json!({
            "id": lease.id,
            "alive": is_live,
            "addresses": texts(&lease.addresses),
            "device": lease.device,
            "bundle": lease.bundle,
            "ports": lease.ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    let Network { name, bridge, subnets, gateways, mtu, .. } = network;
    json!({
        "name": name,
        "bridge": bridge,
        "up": is_up,
        "subnets": subnets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "gateways": texts(gateways),
        "mtu": mtu,
        "created": network.kept,
        "adopted": network.adopted,
        "rulesInserted": network.inserted,
        "loopbackOpened": network.opened,
        "switchedOn": network.switched,
        "members": members.iter().map(member).collect::<Vec<_>>(),
    })
}

/// Columns as wide as their widest cell and three spaces.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len() + 3).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

arguments! {
    /// Arguments of `network inspect`.
    pub struct Inspect {
        /// Format of the output
        format: String = "-f, --format FORMAT" in ["table", "json"],
        /// Names of networks
        names: Vec<String> = "NETWORK...",
    }
}

impl Verb for Inspect {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        let views = network::networks(&self.names)?;
        if self.format == "json" {
            return print_json(&views.iter().map(document).collect::<Vec<_>>()).map(|()| 0);
        }
        let mut text = String::new();
        for View { network, is_up, members } in &views {
            let yes = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
            let switched = match network.switched.as_slice() {
                [] => "nothing".to_owned(),
                switched => joined(switched),
            };
            let ipv6 = if network.subnets.len() > 1 { "yes" } else { "no: off on this host" };
            let rows = [
                ("network", network.name.clone()),
                ("bridge", network.bridge.clone()),
                ("up", yes(*is_up)),
                ("subnets", joined(&network.subnets)),
                ("gateways", joined(&network.gateways)),
                ("ipv6", ipv6.to_owned()),
                ("mtu", network.mtu.to_string()),
                ("stays without members", yes(network.kept)),
                ("rules in another firewall", yes(network.inserted)),
                ("switched on for this host", switched),
            ];
            text.push_str(&table(&rows.map(|(name, value)| vec![name.to_owned(), value])));
            let mut rows = vec![
                ["MEMBER", "ADDRESSES", "DEVICE", "ALIVE", "PORTS"].map(str::to_owned).to_vec(),
            ];
            for (lease, is_live) in members {
                let (id, device) = (lease.id.clone(), printable(&lease.device).into_owned());
                rows.push(vec![
                    id,
                    joined(&lease.addresses),
                    device,
                    yes(*is_live),
                    joined(&lease.ports),
                ]);
            }
            if rows.len() > 1 {
                text.push('\n');
                text.push_str(&table(&rows));
            }
        }
        print(&text).map(|()| 0)
    }
}

arguments! {
    /// Arguments of `network rm`.
    pub struct Remove {
        /// Names of networks
        names: Vec<String> = "NETWORK...",
    }
}

impl Verb for Remove {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        self.names.iter().try_for_each(|name| network::remove_network(name)).map(|()| 0)
    }
}

arguments! {
    /// Arguments of `network prune`.
    pub struct Prune {}
}

impl Verb for Prune {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        let removed = network::prune_networks()?;
        print(&removed.iter().map(|line| format!("{line}\n")).collect::<String>()).map(|()| 0)
    }
}

arguments! {
    /// Arguments of `network reload`.
    pub struct Reload {}
}

impl Verb for Reload {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        network::reload_firewall().map(|()| 0)
    }
}

arguments! {
    /// Who is connected.
    pub struct Who {
        /// A network namespace, instead of that of the container whose state is on stdin
        netns: Option<PathBuf> = "--netns PATH",
        /// A name for it
        name: Option<String> = "--name NAME",
    }
}

impl Who {
    fn subject(self, needs_path: bool) -> Result<Subject> {
        match (self.netns, self.name) {
            (None, None) => Ok(Subject::Hook),
            (Some(path), Some(name)) => Ok(Subject::Namespace(path, name)),
            (None, Some(name)) if !needs_path => Ok(Subject::Namespace(PathBuf::new(), name)),
            (Some(_), None) => {
                Err(Error::new("needs a --name, by which it is found again").at("--netns"))
            }
            (None, Some(_)) => {
                Err(Error::new("needs --netns, the namespace of that name").at("--name"))
            }
        }
    }
}

arguments! {
    /// Arguments of `network setup`.
    pub struct Setup {
        ..connection: Connection,
        ..who: Who,
        /// Directory with the files hosts, resolv.conf and hostname, which are filled in
        files: Option<PathBuf> = "--files DIR",
        /// Name of the network [default: pinnace]
        network: Option<String> = "[NETWORK]",
    }
}

fn named(network: Option<String>) -> Result<String> {
    let name = network.unwrap_or_else(|| DEFAULT.to_owned());
    check_name(&name).map(|()| name)
}

impl Verb for Setup {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        let wish = self.connection.wish(named(self.network)?)?;
        let wish = Wish { files: self.files, ..wish };
        network::setup(wish, self.who.subject(true)?, |lease| print(&published(lease))).map(|()| 0)
    }
}

/// What is reachable from where is nobody's guess.
fn published(lease: &Lease) -> String {
    let line = |port: &Publish| {
        let open = if port.single().is_none() { " from everywhere" } else { "" };
        let to = lease.addresses.iter().filter(|address| port.has_family(address.is_ipv4()));
        format!("{}: {port} published{open}, to {}\n", lease.id, joined(&to.collect::<Vec<_>>()))
    };
    lease.ports.iter().map(line).collect()
}

arguments! {
    /// Arguments of `network teardown`.
    pub struct Teardown {
        ..who: Who,
        /// Name of the network [default: pinnace]
        network: Option<String> = "[NETWORK]",
    }
}

impl Verb for Teardown {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        network::teardown(&named(self.network)?, self.who.subject(false)?).map(|()| 0)
    }
}
