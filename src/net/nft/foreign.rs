//! Other people's firewalls. A packet is dropped for good by whoever drops it, so a FORWARD
//! chain that drops what it does not know (Docker's, ufw's) is asked to let our bridges pass:
//! with consent two rules are put into it, and taken out again.

use super::super::netlink::{Attributes, Message, Request, Socket};
use super::element::comment;
use super::expression::{Meta, REGISTER_1, Step, Verdict};
use super::table::rule;
use super::{
    NFNL_SUBSYS_NFTABLES, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6, NO_TABLES, TABLE, explain,
    message,
};
use crate::error::{Error, Result};
use rustix::io::Errno;

// linux/netfilter/nf_tables.h.
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_DELRULE: u16 = 8;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NF_INET_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;
/// Length of `struct nfgenmsg`.
const FIXED: usize = 4;
/// Where Docker leaves room for others, and never flushes.
const DOCKER: &str = "DOCKER-USER";

/// A chain that drops what is forwarded, or the one before it in which others may have a say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::net) struct Chain {
    family: u8,
    table: String,
    name: String,
}

impl Chain {
    /// The commands that let a bridge pass.
    pub fn commands(&self, bridge: &str) -> String {
        let Self { family, table, name } = self;
        match (*family, table.as_str()) {
            (NFPROTO_INET, _) => format!(
                "nft insert rule inet {table} {name} iifname {bridge} accept; \
                 nft insert rule inet {table} {name} oifname {bridge} accept"
            ),
            (NFPROTO_IPV4, "filter") => iptables("iptables", name, bridge),
            (NFPROTO_IPV6, "filter") => iptables("ip6tables", name, bridge),
            (family, _) => {
                let family = if family == NFPROTO_IPV4 { "ip" } else { "ip6" };
                format!(
                    "nft insert rule {family} {table} {name} iifname {bridge} accept; \
                     nft insert rule {family} {table} {name} oifname {bridge} accept"
                )
            }
        }
    }

    fn describe(&self) -> String {
        format!("{} {}", self.table, self.name)
    }

    /// What is to be done about it.
    pub fn refusal(&self, bridge: &str) -> Error {
        let (chain, commands) = (self.describe(), self.commands(bridge));
        Error::new(format!(
            "another firewall drops what goes through {bridge} (chain {chain})"
        ))
        .hint(format!(
            "let it pass by: {commands}; --firewall insert does that, --firewall none goes on without"
        ))
    }

    /// Puts the two rules into it that let a bridge pass.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn insert(&self, socket: &mut Socket, bridge: &str) -> Result<()> {
        let rule = |key| {
            let accept = Step::End(Verdict::Accept, "");
            let steps = [Step::Meta(key, REGISTER_1), Step::Named(bridge), Step::Count, accept];
            let mut rule = rule(self.family, 0, (&self.table, &self.name), &steps);
            rule.attribute(NFTA_RULE_USERDATA, &userdata(bridge));
            rule
        };
        let both = [rule(Meta::OutName), rule(Meta::InName)];
        let call = || format!("nf_tables: insert into {}", self.describe());
        socket.batch(NFNL_SUBSYS_NFTABLES, &both, &call)
    }
}

fn iptables(program: &str, chain: &str, bridge: &str) -> String {
    format!(
        "{program} -I {chain} -i {bridge} -j ACCEPT; {program} -I {chain} -o {bridge} -j ACCEPT"
    )
}

fn text(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(value.unwrap_or_default()).trim_end_matches('\0').to_owned()
}

fn be32(value: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_be_bytes(*value?.first_chunk()?))
}

/// The chains that would drop what goes through a bridge.
///
/// # Errors
/// Those of the lists.
pub(in crate::net) fn blockers(
    socket: &mut Socket,
    bridge: &str,
    has_ipv6: bool,
) -> Result<Vec<Chain>> {
    let mut found = Vec::new();
    let families = [NFPROTO_IPV4, NFPROTO_INET].into_iter().chain(has_ipv6.then_some(NFPROTO_IPV6));
    for family in families {
        let request =
            Request::list(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, &[family, 0, 0, 0]);
        let list = socket.ask(&request, &|| "nf_tables: list chains".into());
        let list = list.map_err(|error| match error.errno() {
            // So nfnetlink refuses a list of a subsystem that it has not.
            Some(Errno::INVAL) => error.hint(NO_TABLES),
            _ => explain(error),
        })?;
        let chain = |message: &Message| {
            let attributes = message.attributes(FIXED);
            let table = text(attributes.get(NFTA_CHAIN_TABLE));
            Chain { family, table, name: text(attributes.get(NFTA_CHAIN_NAME)) }
        };
        for message in list.iter().filter(|message| drops_forwarded(message.attributes(FIXED))) {
            let base = chain(message);
            if base.table == TABLE {
                continue;
            }
            let docker = Chain { name: DOCKER.into(), ..base.clone() };
            let has_docker = list.iter().any(|message| chain(message) == docker);
            let chain = if has_docker { docker } else { base };
            if rules(socket, family, Some(&chain), bridge)?.len() < 2 {
                found.push(chain);
            }
        }
    }
    Ok(found)
}

fn drops_forwarded(attributes: Attributes<'_>) -> bool {
    let hook = be32(attributes.within(NFTA_CHAIN_HOOK).get(NFTA_HOOK_HOOKNUM));
    hook == Some(NF_INET_FORWARD) && be32(attributes.get(NFTA_CHAIN_POLICY)) == Some(NF_DROP)
}

/// A rule of another's chain that names a bridge.
struct Rule {
    chain: Chain,
    handle: Vec<u8>,
    is_ours: bool,
}

/// The rules that name the bridge, of one chain or of all of a family.
fn rules(
    socket: &mut Socket,
    family: u8,
    chain: Option<&Chain>,
    bridge: &str,
) -> Result<Vec<Rule>> {
    let mut request =
        Request::list(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, &[family, 0, 0, 0]);
    if let Some(chain) = chain {
        request.text(NFTA_RULE_TABLE, &chain.table).text(NFTA_RULE_CHAIN, &chain.name);
    }
    let list = match socket.ask(&request, &|| "nf_tables: list rules".into()) {
        Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(Vec::new()),
        list => list?,
    };
    let name = format!("{bridge}\0");
    let ours = userdata(bridge);
    let rule = |message: &Message| {
        let attributes = message.attributes(FIXED);
        let table = text(attributes.get(NFTA_RULE_TABLE));
        let found = Chain { family, table, name: text(attributes.get(NFTA_RULE_CHAIN)) };
        let expressions = attributes.get(NFTA_RULE_EXPRESSIONS)?;
        let names_it = expressions.windows(name.len()).any(|bytes| bytes == name.as_bytes());
        let is_ours = attributes.get(NFTA_RULE_USERDATA) == Some(&ours);
        let handle = attributes.get(NFTA_RULE_HANDLE)?.to_vec();
        // A kernel may not heed the chain that was asked for.
        let fits = names_it && chain.is_none_or(|chain| *chain == found);
        fits.then_some(Rule { chain: found, handle, is_ours })
    };
    Ok(list.iter().filter_map(rule).collect())
}

fn userdata(bridge: &str) -> Vec<u8> {
    comment(&format!("pinnace {bridge}"))
}

/// Takes out the rules that [`Chain::insert`] has put in, wherever they are.
///
/// # Errors
/// Those of the kernel.
pub(in crate::net) fn take_back(socket: &mut Socket, bridge: &str) -> Result<()> {
    for family in [NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET] {
        let ours = rules(socket, family, None, bridge)?;
        for rule in ours.iter().filter(|rule| rule.is_ours) {
            let mut request = message(NFT_MSG_DELRULE, 0, family);
            request
                .text(NFTA_RULE_TABLE, &rule.chain.table)
                .text(NFTA_RULE_CHAIN, &rule.chain.name)
                .attribute(NFTA_RULE_HANDLE, &rule.handle);
            let call = || format!("nf_tables: remove a rule of {}", rule.chain.describe());
            match socket.batch(NFNL_SUBSYS_NFTABLES, &[request], &call) {
                Err(error) if error.errno() == Some(Errno::NOENT) => {}
                done => done?,
            }
        }
    }
    Ok(())
}
