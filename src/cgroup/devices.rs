//! Device rules: an ordered list, in which the last rule that speaks about an
//! access decides about it (config-linux.md, "Allowed Device list").
//!
//! A container starts with nothing allowed, as under runc, and every rule that
//! covers all devices and accesses starts anew. The devices that a container
//! must have (config-linux.md, "Default Devices") and the making of nodes come
//! *after all rules*, as under runc: no rule takes them away. Docker denies
//! `c 10:229 rwm` in each container, and wants its other devices made.
//!
//! * v2: [`program`] tests the rules from the last to the first, with a mask of
//!   the accesses that are not decided yet: the order is kept exactly.
//! * v1: the kernel keeps a default and a *set* of exceptions
//!   (`security/device_cgroup.c`), removes one only if it is named exactly, and
//!   ignores what it can't use. [`policy`] computes the set that means the same
//!   as the list, and refuses a list that no set can mean.

use crate::error::{Error, Result};
use crate::plan::Findings;
use crate::spec::DeviceRule;
use crate::sys::bpf::Insn;
use std::collections::BTreeMap;
use std::fmt;

const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// Character or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `c`
    Char,
    /// `b`
    Block,
}

/// A set of devices and of accesses to them. `None` is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Devices {
    kind: Option<Kind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

/// One rule; `index` is its place in `linux.resources.devices`, none for ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    allow: bool,
    devices: Devices,
    index: Option<usize>,
}

/// What v1 can hold: a default and exceptions from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether what is no exception is allowed.
    pub allow: bool,
    /// What the default does not hold for.
    pub exceptions: Vec<Exception>,
}

/// One exception of a v1 policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// What it is about.
    pub devices: Devices,
    /// The rule that it comes from, none for ours.
    pub index: Option<usize>,
}

impl Devices {
    const fn char(major: Option<u32>, minor: Option<u32>, access: u8) -> Self {
        Self { kind: Some(Kind::Char), major, minor, access }
    }

    /// Every access to every device.
    fn is_all(&self) -> bool {
        (self.kind, self.major, self.minor, self.access) == (None, None, None, ALL)
    }

    fn same_devices(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    /// Whether all devices of `other`, whatever the access, are among these.
    fn covers(&self, other: &Self) -> bool {
        fn within<T: PartialEq>(all: Option<T>, part: Option<T>) -> bool {
            all.is_none() || all == part
        }
        within(self.kind, other.kind)
            && within(self.major, other.major)
            && within(self.minor, other.minor)
    }

    fn meets(&self, other: &Self) -> bool {
        fn both<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        self.access & other.access != 0
            && both(self.kind, other.kind)
            && both(self.major, other.major)
            && both(self.minor, other.minor)
    }

    /// Parses a line of v1's `devices.list`.
    pub(super) fn parse_line(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let kind = match words.next()? {
            "a" => None,
            "c" => Some(Kind::Char),
            "b" => Some(Kind::Block),
            _ => return None,
        };
        let (major, minor) = words.next()?.split_once(':')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            text => text.parse().ok().map(Some),
        };
        Some(Self {
            kind,
            major: number(major)?,
            minor: number(minor)?,
            access: Some(access_bits(words.next()?)).filter(|bits| *bits != 0)?,
        })
    }
}

/// As v1's `devices.allow` and `devices.deny` want it.
impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            None => 'a',
            Some(Kind::Char) => 'c',
            Some(Kind::Block) => 'b',
        };
        let number = |n: Option<u32>| n.map_or_else(|| "*".into(), |n| n.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            f.write_str(if self.access & bit == 0 { "" } else { letter })?;
        }
        Ok(())
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allow { "allow all but" } else { "deny all but" })?;
        for (i, exception) in self.exceptions.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { " " } else { ", " }, exception.devices)?;
        }
        Ok(())
    }
}

/// What every container may use: making nodes, null, zero, full, random,
/// urandom, tty, console, ptmx and pseudo-terminals.
const DEFAULTS: [Devices; 11] = [
    Devices::char(None, None, MKNOD),
    Devices { kind: Some(Kind::Block), major: None, minor: None, access: MKNOD },
    Devices::char(Some(1), Some(3), ALL),
    Devices::char(Some(1), Some(5), ALL),
    Devices::char(Some(1), Some(7), ALL),
    Devices::char(Some(1), Some(8), ALL),
    Devices::char(Some(1), Some(9), ALL),
    Devices::char(Some(5), Some(0), ALL),
    Devices::char(Some(5), Some(1), ALL),
    Devices::char(Some(5), Some(2), ALL),
    Devices::char(Some(136), None, ALL),
];

/// Reads the list and completes it: the first rule covers everything, the
/// defaults are the last ones.
pub fn rules(list: &[DeviceRule], findings: &mut Findings) -> Vec<Rule> {
    let mut read: Vec<Rule> = Vec::with_capacity(list.len());
    for (i, entry) in list.iter().enumerate() {
        read.extend(findings.keep(rule(i, entry)));
        warn_of_access(i, entry, findings);
    }
    let anew = read.iter().rposition(|rule| rule.devices.is_all());
    let everything = Devices { kind: None, major: None, minor: None, access: ALL };
    let first = anew.map_or(Rule { allow: false, devices: everything, index: None }, |i| read[i]);
    let rest = read.into_iter().skip(anew.map_or(0, |i| i + 1));
    let defaults = DEFAULTS.map(|devices| Rule { allow: true, devices, index: None });
    // Engines repeat the defaults; each would cost six steps at every open.
    let all = without_repeats([first].into_iter().chain(rest).chain(defaults));
    let mut all = without_repeats(all.into_iter().rev());
    all.reverse();
    if all.len() > MAX_RULES {
        let many = all.len();
        findings.error(
            Error::new(format!("{many} rules are more than {MAX_RULES}"))
                .at("linux.resources.devices")
                .hint("a rule without minor is for all devices of a major number"),
        );
        all.truncate(1);
    }
    all
}

/// The rules but for those that say no more than one before them, where nothing
/// to the contrary stands in between.
fn without_repeats(rules: impl Iterator<Item = Rule>) -> Vec<Rule> {
    let mut run = Run { allow: false, said: BTreeMap::new() };
    rules.filter(|rule| run.adds(rule)).collect()
}

/// The most rules of a container: each is a step of every open, or a write on v1.
const MAX_RULES: usize = 8192;

/// The last rules of a list that all allow, or all deny.
struct Run {
    allow: bool,
    /// The sets of accesses, a bit each.
    said: BTreeMap<Place, u8>,
}

/// Kind, major and minor.
type Place = (Option<Kind>, Option<u32>, Option<u32>);

impl Run {
    fn note(&mut self, devices: &Devices) {
        let place = (devices.kind, devices.major, devices.minor);
        *self.said.entry(place).or_default() |= 1 << devices.access;
    }

    /// Notes a rule; whether it says what none of the run does.
    fn adds(&mut self, rule: &Rule) -> bool {
        if rule.allow != self.allow {
            *self = Self { allow: rule.allow, said: BTreeMap::new() };
        }
        let Devices { kind, major, minor, access } = rule.devices;
        let said = |kind: Option<Kind>, major, minor| {
            let sets = self.said.get(&(kind, major, minor)).copied().unwrap_or_default();
            (0..8).any(|set| sets & 1 << set != 0 && access & !set == 0)
        };
        let wider = [kind, None].into_iter().flat_map(|kind| {
            [major, None].into_iter().flat_map(move |major| [minor, None].map(|m| (kind, major, m)))
        });
        if wider.into_iter().any(|(kind, major, minor)| said(kind, major, minor)) {
            return false;
        }
        self.note(&rule.devices);
        true
    }
}

fn rule(index: usize, rule: &DeviceRule) -> Result<Rule> {
    let wrong = |field: &str, what: String| {
        Error::new(what).at(format!("linux.resources.devices[{index}].{field}"))
    };
    let kind = match rule.kind.as_deref() {
        None | Some("a" | "") => None,
        Some("c") => Some(Kind::Char),
        Some("b") => Some(Kind::Block),
        Some(other) => return Err(wrong("type", format!("{other:?} is none of a, c and b"))),
    };
    let number = |field, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| wrong(field, format!("{n} is no number of a device"))),
    };
    let access = match rule.access.as_deref() {
        // Go leaves an empty string out: the two mean the same.
        None | Some("") => ALL,
        Some(letters) => match access_bits(letters) {
            0 => return Err(wrong("access", format!("{letters:?} is not made of r, w and m"))),
            bits => bits,
        },
    };
    let devices = Devices {
        kind,
        major: number("major", rule.major)?,
        minor: number("minor", rule.minor)?,
        access,
    };
    Ok(Rule { allow: rule.allow, devices, index: Some(index) })
}

/// Other letters beside r, w and m say nothing: runc passes over them, and its own tests
/// have some.
fn warn_of_access(index: usize, rule: &DeviceRule, findings: &mut Findings) {
    let letters = rule.access.as_deref().unwrap_or_default();
    if access_bits(letters) != 0 && letters.contains(|letter| !"rwm".contains(letter)) {
        findings.warn(
            Error::new(format!("of {letters:?} only r, w and m count"))
                .at(format_args!("linux.resources.devices[{index}].access")),
        );
    }
}

fn access_bits(letters: &str) -> u8 {
    letters.chars().fold(0, |bits, letter| match letter {
        'r' => bits | READ,
        'w' => bits | WRITE,
        'm' => bits | MKNOD,
        _ => bits,
    })
}

/// The v1 policy that means the same as a list from [`rules`].
pub fn policy(rules: &[Rule]) -> Result<Policy> {
    let mut policy =
        Policy { allow: rules.first().is_some_and(|r| r.allow), exceptions: Vec::new() };
    for rule in rules.iter().skip(1) {
        // "a 1:3 rw" would be read as "a" alone, that is everything.
        let kinds = match rule.devices.kind {
            None => [Some(Kind::Char), Some(Kind::Block)].to_vec(),
            kind => vec![kind],
        };
        for kind in kinds {
            let devices = Devices { kind, ..rule.devices };
            if rule.allow == policy.allow {
                take_away(&mut policy.exceptions, &devices, rule)?;
            } else {
                add(&mut policy.exceptions, devices, rule.index);
            }
        }
    }
    if !policy.allow {
        // The kernel wants one exception that holds all accesses of an open.
        let all = policy.exceptions.clone();
        for exception in &mut policy.exceptions {
            let wider = all.iter().filter(|wide| wide.devices.covers(&exception.devices));
            let more = wider.fold(0, |bits, wide| bits | wide.devices.access);
            exception.devices.access |= more & (READ | WRITE);
        }
    }
    // The kernel lists them as they came: first those of the configuration, in its order.
    policy.exceptions.sort_by_key(|exception| exception.index.unwrap_or(usize::MAX));
    Ok(policy)
}

fn add(exceptions: &mut Vec<Exception>, devices: Devices, index: Option<usize>) {
    match exceptions.iter_mut().find(|have| have.devices.same_devices(&devices)) {
        Some(have) => {
            have.devices.access |= devices.access;
            have.index = index.or(have.index);
        }
        None => exceptions.push(Exception { devices, index }),
    }
}

fn take_away(exceptions: &mut Vec<Exception>, devices: &Devices, rule: &Rule) -> Result<()> {
    for exception in exceptions.iter_mut().filter(|e| e.devices.meets(devices)) {
        if !devices.covers(&exception.devices) {
            // A default gives way to a denial of more than itself.
            if rule.index.is_none() {
                continue;
            }
            let verb = if rule.allow { "allow" } else { "deny" };
            let at = rule.index.map(|i| format!("linux.resources.devices[{i}]"));
            return Err(Error::new(format!(
                "cgroup v1 cannot {verb} \"{devices}\" out of the wider \"{}\" before it",
                exception.devices
            ))
            .at(at.unwrap_or_default())
            .hint("name the devices one by one, or use cgroup v2"));
        }
        exception.devices.access &= !devices.access;
    }
    exceptions.retain(|exception| exception.devices.access != 0);
    Ok(())
}

/// The lines that lead from what `devices.list` says to the policy:
/// `(true, ..)` goes to `devices.allow`. What is allowed comes first, so that
/// nothing which stays allowed is refused in between.
pub fn transition(now: &str, target: &Policy) -> Vec<(bool, Exception)> {
    let now: Vec<Devices> = now.lines().filter_map(Devices::parse_line).collect();
    if target.allow || now.iter().any(|devices| devices.kind.is_none()) {
        return fresh(target); // exceptions from "allow all" are not listed
    }
    let mut lines = Vec::new();
    for exception in &target.exceptions {
        let have = now.iter().find(|d| d.same_devices(&exception.devices)).map_or(0, |d| d.access);
        if exception.devices.access & !have != 0 {
            lines.push((true, *exception));
        }
    }
    for devices in now {
        let same = target.exceptions.iter().find(|e| e.devices.same_devices(&devices));
        let access = devices.access & !same.map_or(0, |e| e.devices.access);
        if access != 0 {
            lines.push((false, Exception { devices: Devices { access, ..devices }, index: None }));
        }
    }
    lines
}

/// The lines that make the policy on a new cgroup.
pub fn fresh(target: &Policy) -> Vec<(bool, Exception)> {
    let everything = Devices { kind: None, major: None, minor: None, access: ALL };
    let mut lines = vec![(target.allow, Exception { devices: everything, index: None })];
    lines.extend(target.exceptions.iter().map(|exception| (!target.allow, *exception)));
    lines
}

// Operation codes (Documentation/bpf/standardization/instruction-set.rst).
const LOAD_WORD: u8 = 0x61;
const SHIFT_RIGHT: u8 = 0x74;
const AND: u8 = 0x54;
const MOVE: u8 = 0xb4;
const COPY: u8 = 0xbc;
const JUMP_IF_OTHER: u8 = 0x56;
const JUMP_IF_SAME: u8 = 0x16;
const EXIT: u8 = 0x95;

// Registers: the result, the context (later scratch), and what it says.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The v2 program for a list from [`rules`], `BPF_PROG_TYPE_CGROUP_DEVICE`
/// (Documentation/admin-guide/cgroup-v2.rst, "Device controller").
///
/// It goes from the last rule to the first. An allowing rule that matches takes
/// its accesses off the mask and ends with yes once the mask is empty; a denying
/// one ends with no if the mask has any of its accesses.
pub fn program(rules: &[Rule]) -> Vec<Insn> {
    let op = |code, to, constant| Insn::new(code, to, 0, 0, constant);
    // struct bpf_cgroup_dev_ctx { access << 16 | kind, major, minor }
    let mut code = vec![
        Insn::new(LOAD_WORD, KIND, CONTEXT, 0, 0),
        Insn::new(LOAD_WORD, ACCESS, CONTEXT, 0, 0),
        Insn::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        Insn::new(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        op(AND, KIND, 0xffff),
        op(SHIFT_RIGHT, ACCESS, 16),
    ];
    for rule in rules.iter().skip(1).rev() {
        let Devices { kind, major, minor, access } = rule.devices;
        let decide = decision(rule.allow, access);
        let kind = kind.map(|kind| if kind == Kind::Block { 1 } else { 2 });
        let tests = [(KIND, kind), (MAJOR, major), (MINOR, minor)];
        let mut left = tests.iter().filter(|(_, value)| value.is_some()).count();
        for (register, value) in tests {
            if let Some(value) = value {
                left -= 1;
                // At most 2 tests and 6 steps lie in between.
                let over = (left + decide.len()) as i16;
                code.push(Insn::new(JUMP_IF_OTHER, register, 0, over, value.cast_signed()));
            }
        }
        code.extend(decide);
    }
    let last = rules.first().is_some_and(|rule| rule.allow);
    code.extend([op(MOVE, RESULT, i32::from(last)), op(EXIT, 0, 0)]);
    code
}

/// What a rule does with an access to a device that it matches.
fn decision(allow: bool, access: u8) -> Vec<Insn> {
    let op = |code, to, constant| Insn::new(code, to, 0, 0, constant);
    let end = [op(MOVE, RESULT, i32::from(allow)), op(EXIT, 0, 0)];
    if access == ALL {
        return end.to_vec(); // reached only by a match, so never the last steps
    }
    let mut steps = if allow {
        vec![op(AND, ACCESS, i32::from(ALL & !access)), Insn::new(JUMP_IF_OTHER, ACCESS, 0, 2, 0)]
    } else {
        vec![
            Insn::new(COPY, CONTEXT, ACCESS, 0, 0),
            op(AND, CONTEXT, i32::from(access)),
            Insn::new(JUMP_IF_SAME, CONTEXT, 0, 2, 0),
        ]
    };
    steps.extend(end);
    steps
}
