//! The firewall: one nf_tables table, `inet pinnace`. Its rules are the same for ever
//! ([`table`]); networks, containers and published ports are elements of its sets and maps
//! ([`element`]). All is told to the kernel by netlink, in transactions: a batch is carried out
//! whole or not at all.

pub(super) mod element;
mod expression;
pub(super) mod foreign;
pub(super) mod legacy;
mod table;

use super::netlink::{Message, Request, Socket};
use crate::error::{Error, Result};
use crate::plan::network::Publish;
use element::Element;
use rustix::io::Errno;

/// linux/netfilter/nfnetlink.h.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// linux/netfilter.h.
const NFPROTO_INET: u8 = 1;
pub(super) const NFPROTO_IPV4: u8 = 2;
pub(super) const NFPROTO_IPV6: u8 = 10;
/// The name of the table.
pub(super) const TABLE: &str = "pinnace";
/// How many elements one message holds: an attribute is shorter than 64 KiB.
const ELEMENTS: usize = 300;

// linux/netfilter/nf_tables.h.
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
/// Length of `struct nfgenmsg`.
const FIXED: usize = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// A message of a batch; the fixed part is `struct nfgenmsg`.
fn message(kind: u16, flags: u16, family: u8) -> Request {
    Request::part(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, &[family, 0, 0, 0])
}

/// Messages that add elements, or remove them. Elements of one set follow each other.
fn messages(elements: &[Element], kind: u16, flags: u16) -> Vec<Request> {
    let mut all = Vec::new();
    let mut left = elements;
    while let Some(first) = left.first() {
        let count = left.iter().take(ELEMENTS).take_while(|one| one.set == first.set).count();
        let (group, rest) = left.split_at(count);
        let mut request = message(kind, flags, NFPROTO_INET);
        request
            .text(NFTA_SET_ELEM_LIST_TABLE, TABLE)
            .text(NFTA_SET_ELEM_LIST_SET, first.set)
            .nested(NFTA_SET_ELEM_LIST_ELEMENTS, &|request| {
                group.iter().for_each(|one| one.write(request, kind == NFT_MSG_NEWSETELEM));
            });
        all.push(request);
        left = rest;
    }
    all
}

/// What the kernel answers when elements are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// All are there.
    Yes,
    /// The table is not, or not whole: nobody has made it, or somebody has flushed it.
    NoTable,
    /// One of them is there with another value.
    Taken,
}

/// Adds elements; one that is there with the same value stays. None of `free` may be there.
///
/// # Errors
/// Those of the kernel.
pub(super) fn add(socket: &mut Socket, elements: &[Element], free: &[Element]) -> Result<Added> {
    let mut all = messages(free, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL);
    all.extend(messages(free, NFT_MSG_DELSETELEM, 0));
    all.extend(messages(elements, NFT_MSG_NEWSETELEM, NLM_F_CREATE));
    let call = || format!("nf_tables: add {} elements to {TABLE}", elements.len());
    match socket.batch(NFNL_SUBSYS_NFTABLES, &all, &call) {
        Ok(()) => Ok(Added::Yes),
        Err(error) => match error.errno() {
            Some(Errno::NOENT) => Ok(Added::NoTable),
            _ if is_taken(&error) => Ok(Added::Taken),
            _ => Err(explain(error)),
        },
    }
}

/// Removes elements that have these values. That one is not there is no error. False if one has
/// another value: it is another's by now, and all stay.
///
/// # Errors
/// Those of the kernel.
pub(super) fn remove(socket: &mut Socket, elements: &[Element]) -> Result<bool> {
    // What is added first is there to be removed, or is refused because it is another's.
    let mut all = messages(elements, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
    all.extend(messages(elements, NFT_MSG_DELSETELEM, 0));
    let call = || format!("nf_tables: remove {} elements of {TABLE}", elements.len());
    match socket.batch(NFNL_SUBSYS_NFTABLES, &all, &call) {
        // There is no table.
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(true),
        Err(error) if is_taken(&error) => Ok(false),
        removed => removed.map(|()| true).map_err(explain),
    }
}

/// Whether an element was refused because it is there with another value.
fn is_taken(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EXIST | Errno::BUSY))
}

/// Whether one of these ports, of all addresses of a family, is published on one of them.
///
/// # Errors
/// Those of the list.
pub(super) fn has_one(socket: &mut Socket, ports: &[Publish]) -> Result<bool> {
    for (set, is_ipv4) in [(element::ONE4, true), (element::ONE6, false)] {
        let ports: Vec<_> = ports.iter().filter(|one| one.has_family(is_ipv4)).cloned().collect();
        if ports.is_empty() {
            continue;
        }
        let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM;
        let mut request = Request::list(kind, &[NFPROTO_INET, 0, 0, 0]);
        request.text(NFTA_SET_ELEM_LIST_TABLE, TABLE).text(NFTA_SET_ELEM_LIST_SET, set);
        let list = match socket.ask(&request, &|| format!("nf_tables: list {set}")) {
            Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(false),
            list => list.map_err(explain)?,
        };
        let elements = |message: &Message| {
            let list = message.attributes(FIXED).within(NFTA_SET_ELEM_LIST_ELEMENTS);
            element::has_port(list, &ports)
        };
        if list.iter().any(elements) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the table anew with all these elements, in one transaction.
///
/// # Errors
/// Those of the kernel.
pub(super) fn replace(socket: &mut Socket, elements: &[Element]) -> Result<()> {
    let mut all = table::rebuild();
    all.extend(messages(elements, NFT_MSG_NEWSETELEM, NLM_F_CREATE));
    let call = || format!("nf_tables: make the table {TABLE}");
    socket.batch(NFNL_SUBSYS_NFTABLES, &all, &call).map_err(|error| match error.errno() {
        // All that it names is in the batch, but for the kinds of expressions.
        Some(Errno::NOENT) => error.hint("the kernel lacks NAT or fib of nf_tables (CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_FIB_INET)"),
        _ => explain(error),
    })
}

/// Removes the table.
///
/// # Errors
/// Those of the kernel. That there is none is not one.
pub(super) fn drop_table(socket: &mut Socket) -> Result<()> {
    let call = || format!("nf_tables: remove the table {TABLE}");
    match socket.batch(NFNL_SUBSYS_NFTABLES, &[table::delete()], &call) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        done => done.map_err(explain),
    }
}

/// What to do without.
const NO_TABLES: &str =
    "the kernel has no nf_tables (CONFIG_NF_TABLES_INET): --network host and none need it not";

/// Says what a kernel lacks.
pub(super) fn explain(error: Error) -> Error {
    match error.errno() {
        Some(Errno::OPNOTSUPP | Errno::PROTONOSUPPORT) => error.hint(NO_TABLES),
        Some(Errno::PERM) => error.hint(
            "a bridge needs CAP_NET_ADMIN: without it there are --network host, none, and pasta(1)",
        ),
        _ => error,
    }
}
