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
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
/// Verdicts (linux/netfilter.h, linux/netfilter/nf_tables.h).
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;
const GOTO: i32 = -4;
/// Length of `struct nfgenmsg`.
const FIXED: usize = 4;
/// Where Docker leaves room for others, and never flushes.
pub(super) const DOCKER: &str = "DOCKER-USER";
/// The table that firewalld makes anew when it is reloaded, without rules of others.
const FIREWALLD: &str = "firewalld";

/// A chain that drops what is forwarded, or the one before it in which others may have a say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::net) struct Chain {
    family: u8,
    table: String,
    name: String,
    is_legacy: bool,
}

impl Chain {
    /// One of iptables-legacy.
    pub(super) fn legacy(family: u8, table: &str, name: &str) -> Self {
        Self { family, table: table.to_owned(), name: name.to_owned(), is_legacy: true }
    }

    /// Whether rules can be put into it that stay there.
    pub fn takes_rules(&self) -> bool {
        !self.is_legacy && self.table != FIREWALLD
    }

    /// The commands that let a bridge pass.
    fn commands(&self, bridge: &str) -> String {
        let Self { family, table, name, is_legacy } = self;
        let (program, family) = match *family {
            NFPROTO_IPV4 => ("iptables", "ip"),
            NFPROTO_IPV6 => ("ip6tables", "ip6"),
            _ => ("", "inet"),
        };
        let legacy = if *is_legacy { "-legacy" } else { "" };
        if table == FIREWALLD {
            format!("firewall-cmd --zone=trusted --add-interface={bridge}")
        } else if table == "filter" && !program.is_empty() {
            let one = |way| format!("{program}{legacy} -I {name} {way} {bridge} -j ACCEPT");
            format!("{}; {}", one("-i"), one("-o"))
        } else {
            let one =
                |way| format!("nft insert rule {family} {table} {name} {way} {bridge} accept");
            format!("{}; {}", one("iifname"), one("oifname"))
        }
    }

    fn describe(&self) -> String {
        let of = if self.is_legacy { " of iptables-legacy" } else { "" };
        format!("{} {}{of}", self.table, self.name)
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

/// What is to be done about chains that drop what goes through a bridge.
pub(in crate::net) fn refusal(chains: &[Chain], bridge: &str) -> Error {
    let all = |what: &dyn Fn(&Chain) -> String, between| {
        chains.iter().map(what).collect::<Vec<_>>().join(between)
    };
    let names = all(&Chain::describe, ", ");
    let commands = all(&|chain| chain.commands(bridge), "; ");
    let insert = match chains.iter().all(Chain::takes_rules) {
        true => "--firewall insert does that, ",
        false => "",
    };
    Error::new(format!("another firewall drops what goes through {bridge} (chain {names})"))
        .hint(format!("let it pass by: {commands}; {insert}--firewall none goes on without"))
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
        for message in list.iter().filter(|message| is_forwarding(message.attributes(FIXED))) {
            let attributes = message.attributes(FIXED);
            let table = text(attributes.get(NFTA_CHAIN_TABLE));
            if table == TABLE {
                continue;
            }
            let mut name = text(attributes.get(NFTA_CHAIN_NAME));
            let drops = be32(attributes.get(NFTA_CHAIN_POLICY)) == Some(NF_DROP);
            let rules = rules(socket, family, Some(&table), bridge)?;
            let Some(reached) = blocks(&name, drops, &rules) else { continue };
            if reached.iter().any(|name| name == DOCKER) {
                DOCKER.clone_into(&mut name);
            }
            found.push(Chain { family, table, name, is_legacy: false });
        }
    }
    Ok(found)
}

fn is_forwarding(attributes: Attributes<'_>) -> bool {
    let hook = be32(attributes.within(NFTA_CHAIN_HOOK).get(NFTA_HOOK_HOOKNUM));
    hook == Some(NF_INET_FORWARD)
}

/// How a rule ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    On,
    Accept,
    Drop,
    To(String),
}

/// A rule of another's table.
struct Rule {
    table: String,
    chain: String,
    handle: Vec<u8>,
    is_ours: bool,
    names_it: bool,
    /// Whether every packet comes to its end.
    is_for_all: bool,
    end: End,
}

/// Whether a chain drops what two rules do not let pass, in it or in those that it leads to: then
/// the names of all of these.
fn blocks(chain: &str, policy_drops: bool, rules: &[Rule]) -> Option<Vec<String>> {
    let of = |chain: &str| rules.iter().filter(|rule| rule.chain == chain).collect::<Vec<_>>();
    let mut own = of(chain);
    let is_last = |rule: &&Rule| rule.is_for_all && matches!(rule.end, End::Accept | End::Drop);
    let last = own.iter().position(is_last);
    let drops = last.map_or(policy_drops, |last| own[last].end == End::Drop);
    own.truncate(last.unwrap_or(own.len()));
    let (mut reached, mut next, mut passes) = (vec![chain.to_owned()], 0, 0);
    while drops && let Some(name) = reached.get(next) {
        for rule in if next == 0 { std::mem::take(&mut own) } else { of(name) } {
            let passing = matches!(rule.end, End::Accept | End::To(_));
            passes += usize::from(rule.names_it && passing);
            if let End::To(chain) = &rule.end
                && !reached.contains(chain)
            {
                reached.push(chain.clone());
            }
        }
        next += 1;
    }
    (drops && passes < 2).then_some(reached)
}

/// Whether every packet comes to the end of a rule, and how that is.
fn read_steps(list: &[u8]) -> (bool, End) {
    let (mut is_for_all, mut end) = (true, End::On);
    for (_, step) in Attributes::of(list) {
        let data = Attributes::of(step).within(NFTA_EXPR_DATA);
        // Of iptables' own: NFTA_TARGET_NAME, NFTA_MATCH_NAME.
        let extension = text(data.get(1));
        match (text(Attributes::of(step).get(NFTA_EXPR_NAME)).as_str(), extension.as_str()) {
            ("counter" | "log", _) | ("match", "comment") => {}
            ("reject", _) | ("target", "REJECT" | "DROP") => end = End::Drop,
            ("target", _) => {}
            ("immediate", _) => {
                let verdict = data.within(NFTA_IMMEDIATE_DATA).within(NFTA_DATA_VERDICT);
                match be32(verdict.get(NFTA_VERDICT_CODE)).map(u32::cast_signed) {
                    Some(DROP) => end = End::Drop,
                    Some(ACCEPT) => end = End::Accept,
                    Some(JUMP | GOTO) => end = End::To(text(verdict.get(NFTA_VERDICT_CHAIN))),
                    _ => {}
                }
            }
            _ => is_for_all = false,
        }
    }
    (is_for_all, end)
}

/// The rules of a table, or of all of a family.
fn rules(socket: &mut Socket, family: u8, table: Option<&str>, bridge: &str) -> Result<Vec<Rule>> {
    let mut request =
        Request::list(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, &[family, 0, 0, 0]);
    if let Some(table) = table {
        request.text(NFTA_RULE_TABLE, table);
    }
    let list = match socket.ask(&request, &|| "nf_tables: list rules".into()) {
        Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(Vec::new()),
        list => list?,
    };
    let name = format!("{bridge}\0");
    let ours = userdata(bridge);
    let rule = |message: &Message| {
        let attributes = message.attributes(FIXED);
        let expressions = attributes.get(NFTA_RULE_EXPRESSIONS).unwrap_or_default();
        let (is_for_all, end) = read_steps(expressions);
        let rule = Rule {
            table: text(attributes.get(NFTA_RULE_TABLE)),
            chain: text(attributes.get(NFTA_RULE_CHAIN)),
            handle: attributes.get(NFTA_RULE_HANDLE)?.to_vec(),
            is_ours: attributes.get(NFTA_RULE_USERDATA) == Some(&ours),
            names_it: expressions.windows(name.len()).any(|bytes| bytes == name.as_bytes()),
            is_for_all,
            end,
        };
        // A kernel may not heed the table that was asked for.
        table.is_none_or(|table| table == rule.table).then_some(rule)
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
                .text(NFTA_RULE_TABLE, &rule.table)
                .text(NFTA_RULE_CHAIN, &rule.chain)
                .attribute(NFTA_RULE_HANDLE, &rule.handle);
            let call = || format!("nf_tables: remove a rule of {} {}", rule.table, rule.chain);
            match socket.batch(NFNL_SUBSYS_NFTABLES, &[request], &call) {
                Err(error) if error.errno() == Some(Errno::NOENT) => {}
                done => done?,
            }
        }
    }
    Ok(())
}
