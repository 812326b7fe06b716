//! The firewall: one nf_tables table, `inet pinnace`. Its rules are the same for ever
//! ([`table`]); networks, containers and published ports are elements of its sets and maps
//! ([`element`]). All is told to the kernel by netlink, in transactions: a batch is carried out
//! whole or not at all.

pub(super) mod element;
mod expression;
pub(super) mod foreign;
mod table;

use super::netlink::{Request, Socket};
use crate::error::{Error, Result};
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
const NFT_MSG_DELSETELEM: u16 = 14;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
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

/// Adds elements; one that is there with the same value stays.
///
/// # Errors
/// Those of the kernel.
pub(super) fn add(socket: &mut Socket, elements: &[Element]) -> Result<Added> {
    let all = messages(elements, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
    let call = || format!("nf_tables: add {} elements to {TABLE}", elements.len());
    match socket.batch(NFNL_SUBSYS_NFTABLES, &all, &call) {
        Ok(()) => Ok(Added::Yes),
        Err(error) => match error.errno() {
            Some(Errno::NOENT) => Ok(Added::NoTable),
            Some(Errno::EXIST | Errno::BUSY) => Ok(Added::Taken),
            _ => Err(explain(error)),
        },
    }
}

/// Removes elements, each by itself: one that is not there is no error, and keeps no other.
///
/// # Errors
/// Those of the kernel.
pub(super) fn remove(socket: &mut Socket, elements: &[Element]) -> Result<()> {
    let all = messages(elements, NFT_MSG_DELSETELEM, 0);
    let call = || format!("nf_tables: remove {} elements of {TABLE}", elements.len());
    match socket.batch(NFNL_SUBSYS_NFTABLES, &all, &call) {
        Err(error) if error.errno() == Some(Errno::NOENT) => {}
        removed => return removed.map_err(explain),
    }
    for element in elements {
        let one = messages(std::slice::from_ref(element), NFT_MSG_DELSETELEM, 0);
        match socket.batch(NFNL_SUBSYS_NFTABLES, &one, &call) {
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            removed => removed.map_err(explain)?,
        }
    }
    Ok(())
}

/// Makes the table anew with all these elements, in one transaction.
///
/// # Errors
/// Those of the kernel.
pub(super) fn replace(socket: &mut Socket, elements: &[Element]) -> Result<()> {
    let mut all = table::rebuild();
    all.extend(messages(elements, NFT_MSG_NEWSETELEM, NLM_F_CREATE));
    let call = || format!("nf_tables: make the table {TABLE}");
    socket.batch(NFNL_SUBSYS_NFTABLES, &all, &call).map_err(explain)
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

/// Says what a kernel lacks.
pub(super) fn explain(error: Error) -> Error {
    match error.errno() {
        Some(Errno::OPNOTSUPP | Errno::PROTONOSUPPORT) => error
            .hint("the kernel has no nf_tables (CONFIG_NF_TABLES_INET): host and none need it not"),
        Some(Errno::PERM) => error.hint(
            "a bridge needs CAP_NET_ADMIN: without it there are --network host, none, and pasta(1)",
        ),
        _ => error,
    }
}
