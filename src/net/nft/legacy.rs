//! iptables-legacy, whose rules nf_tables does not show. They are read, and never written: the
//! kernel takes nothing but a whole table, and knows no comment by which ours were found again.

use super::foreign::{Chain, DOCKER};
use super::{NFPROTO_IPV4, NFPROTO_IPV6};
use crate::error::{Context, Error, Result};
use crate::sys::file;
use crate::sys::iptables::read_option;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::ffi::c_int;
use std::os::fd::AsFd as _;

/// Who asks for the table that is not there has the kernel make it.
const TABLE: &str = "filter";
/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`
const GET_INFO: c_int = 64;
/// `IPT_SO_GET_ENTRIES` and `IP6T_SO_GET_ENTRIES`
const GET_ENTRIES: c_int = 65;
/// Length of `struct ipt_getinfo`; within it where the rules of FORWARD begin, and how long all are.
const INFO: usize = 84;
const FORWARD: usize = 44;
const SIZE: usize = 80;
/// `struct ipt_get_entries`: the length, and where the rules begin.
const ENTRIES_SIZE: usize = 32;
const ENTRIES: usize = 40;
/// Length of a device's name, and of `struct xt_entry_target`, before its data.
const DEVICE: usize = 16;
const TARGET: usize = 32;
/// How often a table that changed while it was read is read again.
const MAX_ATTEMPTS: usize = 16;

/// `struct ipt_entry`, or `ip6t_entry`.
struct Layout {
    family: u8,
    sockets: AddressFamily,
    level: c_int,
    names: &'static str,
    /// What a packet is compared with comes first, and is this long: all zero, it is for all.
    conditions: usize,
    /// Where in it the names of the two devices are.
    devices: usize,
    /// Two numbers: where the target is, and the next rule.
    offsets: usize,
    /// Length of what every rule has.
    head: usize,
}

const LAYOUTS: [Layout; 2] = [
    Layout {
        family: NFPROTO_IPV4,
        sockets: AddressFamily::INET,
        level: libc::IPPROTO_IP,
        names: "/proc/net/ip_tables_names",
        conditions: 84,
        devices: 16,
        offsets: 88,
        head: 112,
    },
    Layout {
        family: NFPROTO_IPV6,
        sockets: AddressFamily::INET6,
        level: libc::IPPROTO_IPV6,
        names: "/proc/net/ip6_tables_names",
        conditions: 136,
        devices: 64,
        offsets: 140,
        head: 168,
    },
];

/// How a rule ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    On,
    Accept,
    Drop,
    Return,
    To(usize),
}

struct Rule {
    length: usize,
    is_for_all: bool,
    names_it: bool,
    end: End,
}

/// The chains that would drop what goes through a bridge.
///
/// # Errors
/// Those of the tables.
pub(in crate::net) fn blockers(bridge: &str, has_ipv6: bool) -> Result<Vec<Chain>> {
    let mut found = Vec::new();
    for layout in LAYOUTS.iter().take(if has_ipv6 { 2 } else { 1 }) {
        let tables = match file::read_short(layout.names) {
            Err(Errno::NOENT) => continue,
            tables => tables.call(|| format!("read {}", layout.names))?,
        };
        if !tables.split(|byte| *byte == b'\n').any(|name| name == TABLE.as_bytes()) {
            continue;
        }
        let (start, rules) = read(layout)?;
        if blocks(layout, &rules, start, bridge) {
            let has_docker = rules
                .windows(DOCKER.len() + 1)
                .any(|bytes| bytes.strip_prefix(DOCKER.as_bytes()).is_some_and(|rest| rest == [0]));
            let name = if has_docker { DOCKER } else { "FORWARD" };
            found.push(Chain::legacy(layout.family, TABLE, name));
        }
    }
    Ok(found)
}

/// Where the rules of FORWARD begin, and all rules.
fn read(layout: &Layout) -> Result<(usize, Vec<u8>)> {
    let call = || format!("iptables-legacy: read the table {TABLE}");
    // Any socket of the family will do; one for packets would take a further privilege.
    let socket = socket_with(layout.sockets, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let socket = socket.call(call)?;
    for _ in 0..MAX_ATTEMPTS {
        let mut info = vec![0; INFO];
        info[..TABLE.len()].copy_from_slice(TABLE.as_bytes());
        read_option(socket.as_fd(), layout.level, GET_INFO, &mut info).call(call)?;
        let (start, size) = (number(&info, FORWARD), number(&info, SIZE));
        let mut entries = info[..ENTRIES_SIZE].to_vec();
        entries.extend((size as u32).to_ne_bytes());
        entries.resize(ENTRIES + size, 0);
        match read_option(socket.as_fd(), layout.level, GET_ENTRIES, &mut entries) {
            Err(Errno::AGAIN) => {}
            done => return done.call(call).map(|_| (start, entries.split_off(ENTRIES))),
        }
    }
    Err(Error::new("it changes all the time").at(call()))
}

fn number(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes) as usize)
}

impl Rule {
    /// The rule at that place; none if there is no whole one.
    fn read(layout: &Layout, rules: &[u8], at: usize, bridge: &str) -> Option<Self> {
        let rule = rules.get(at..)?;
        let short =
            |at: usize| Some(usize::from(u16::from_ne_bytes(*rule.get(at..)?.first_chunk()?)));
        let (target, length) = (short(layout.offsets)?, short(layout.offsets + 2)?);
        let rule = rule.get(..length).filter(|_| length >= layout.head + TARGET)?;
        let device = |at: usize| {
            let name = &rule[layout.devices + at..][..DEVICE];
            name.strip_prefix(bridge.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        };
        // struct xt_entry_target: a length, a name, a revision; the standard one has none.
        let name = rule.get(target + 2..target + TARGET)?;
        let end = match name {
            [0, ..] => match (number(rule, target + TARGET) as u32).cast_signed() {
                // A verdict is its negative number less one.
                -1 => End::Drop,
                -2 => End::Accept,
                -5 => End::Return,
                to if to >= 0 && to as usize != at + length => End::To(to as usize),
                _ => End::On,
            },
            [b'R', b'E', b'J', b'E', b'C', b'T', 0, ..] => End::Drop,
            _ => End::On,
        };
        let has_none = rule[..layout.conditions].iter().all(|byte| *byte == 0);
        let is_for_all = target == layout.head && has_none;
        Some(Self { length, is_for_all, names_it: device(0) || device(DEVICE), end })
    }
}

/// Whether the chain that begins there drops what two rules do not let pass, in it or in those
/// that it leads to. Each chain ends with a rule for all, its policy or a return.
fn blocks(layout: &Layout, rules: &[u8], start: usize, bridge: &str) -> bool {
    let (mut chains, mut next) = (vec![start], 0);
    let (mut drops, mut passes) = (false, 0);
    while let Some(mut at) = chains.get(next).copied() {
        while let Some(rule) = Rule::read(layout, rules, at, bridge) {
            passes += usize::from(rule.names_it && matches!(rule.end, End::Accept | End::To(_)));
            match rule.end {
                End::To(chain) if !chains.contains(&chain) => chains.push(chain),
                End::Accept | End::Drop | End::Return if rule.is_for_all => {
                    drops |= next == 0 && rule.end == End::Drop;
                    break;
                }
                _ => {}
            }
            at += rule.length;
        }
        next += 1;
    }
    drops && passes < 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule with the name of the device that a packet comes in by.
    fn rule(layout: &Layout, device: &str, target: &str, verdict: i32) -> Vec<u8> {
        let mut rule = vec![0; layout.head + TARGET + 8];
        rule[layout.devices..][..device.len()].copy_from_slice(device.as_bytes());
        let (at, length) = (layout.head as u16, rule.len() as u16);
        rule[layout.offsets..][..2].copy_from_slice(&at.to_ne_bytes());
        rule[layout.offsets + 2..][..2].copy_from_slice(&length.to_ne_bytes());
        rule[layout.head + 2..][..target.len()].copy_from_slice(target.as_bytes());
        rule[layout.head + TARGET..][..4].copy_from_slice(&verdict.to_ne_bytes());
        rule
    }

    /// What iptables-legacy(8) writes, the tests of networks show.
    #[test]
    fn chains_are_followed_to_their_ends() {
        for layout in &LAYOUTS {
            let of = |list: &[(&str, &str, i32)]| {
                let rules = list
                    .iter()
                    .map(|(device, target, verdict)| rule(layout, device, target, *verdict));
                blocks(layout, &rules.collect::<Vec<_>>().concat(), 0, "br0")
            };
            let length = (layout.head + TARGET + 8) as i32;
            assert!(of(&[("", "", -1)]));
            assert!(!of(&[("", "", -2)]));
            assert!(of(&[("", "REJECT", 0), ("", "", -2)]));
            assert!(!of(&[("", "LOG", 0), ("", "", -2)]));
            assert!(!of(&[("br0", "", -2), ("br0", "", -2), ("", "", -1)]));
            assert!(of(&[("br0", "", -2), ("br01", "", -2), ("", "", -1)]));
            assert!(of(&[("br0", "", -2), ("", "", -1), ("br0", "", -2)]));
            // Into a chain behind, and from it to itself.
            let chain = [("br0", "", -2), ("br0", "", -2), ("", "", 2 * length), ("", "", -5)];
            let lead = [("", "", 2 * length), ("", "", -1)];
            assert!(!of(&[&lead[..], &chain].concat()));
            // A rule without a target goes on to the next.
            assert!(of(&[("br0", "", length), ("br0", "", 2 * length), ("", "", -1)]));
        }
    }

    #[test]
    fn what_is_damaged_ends_the_reading() {
        for layout in &LAYOUTS {
            assert!(!blocks(layout, &[], 0, "br0"));
            assert!(!blocks(layout, &[255; 400], 7, "br0"));
            assert!(!blocks(layout, &[0; 400], 0, "br0"));
            let whole = rule(layout, "", "", -1);
            assert!(!blocks(layout, &whole[..whole.len() - 1], 0, "br0"));
        }
    }
}
