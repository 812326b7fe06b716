//! Rules to verdicts: for each `AUDIT_ARCH_*`, which numbers get which answer.
//!
//! The semantics are libseccomp's (2.6, `src/db.c`), as runc uses it:
//!
//! * a rule with the default action is dropped;
//! * the first unconditional rule of a call beats every other rule of it;
//! * of conditional rules, those that ask for the later argument come first,
//!   then EQ, LT and GT in this order, the narrower before the wider;
//! * the same conditions with two actions are an error;
//! * where socketcall(2) or ipc(2) exist, a rule for a call behind them also
//!   makes one for them, whose first argument is the call's code.
//!
//! On top of that, calls that are newer than the profile fail with ENOSYS
//! instead of a restrictive default, so that programs fall back (runc,
//! `libcontainer/seccomp/patchbpf`).

use super::arch::{ARM_PRIVATE, Arch, X32_BIT, X86_64, is_little_endian};
use super::field::{Bad, Result};
use super::resolve::{
    ACTION_MASK, ALLOW, Condition, ERRNO, KILL_THREAD, LOG, Operator, Profile, TRACE,
};
use super::table::{Mux, Place, Row};
use crate::sys::seccomp::MAX_INSTRUCTIONS;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

#[allow(clippy::cast_sign_loss)]
const ENOSYS: u32 = ERRNO | libc::ENOSYS as u32;

/// An answer, or the arguments on which it depends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    Return(u32),
    Arguments(Arguments),
}

/// The first clause that holds answers, else the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) wide: bool,
    pub(super) little: bool,
    pub(super) clauses: Vec<Clause>,
}

/// All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: u32,
}

/// From `start` on, up to the next range, numbers have one leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) leaf: usize,
}

/// Verdicts for all numbers under one `AUDIT_ARCH_*`.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) token: u32,
    pub(super) ranges: Vec<Range>,
}

/// The whole filter before it is code.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// Leaf 0 is the default.
    pub(super) leaves: Vec<Leaf>,
    /// The native architecture first.
    pub(super) sections: Vec<Section>,
}

/// What libseccomp answers to an architecture that is not in the filter.
pub(super) const BAD_ARCH: u32 = KILL_THREAD;
const DEFAULT: usize = 0;

/// Computes the verdicts of a profile.
pub(super) fn verdicts(profile: &Profile) -> Result<Verdicts> {
    let mut leaves = Leaves::default();
    leaves.answer(profile.default);
    let permissive = matches!(profile.default & ACTION_MASK, ALLOW | LOG | TRACE);
    let mut sections: Vec<Section> = Vec::with_capacity(profile.archs.len());
    for arch in &profile.archs {
        if sections.iter().any(|section| section.token == arch.token) {
            continue; // x32 or x86_64, done with the other
        }
        let mut ranges = Vec::with_capacity(256);
        if arch.token == X86_64 {
            x86_64(profile, permissive, &mut leaves, &mut ranges)?;
        } else {
            let mut slots = Slots::fill(profile, arch, &mut leaves)?;
            let unknown = unknown(&mut slots, arch, permissive, &mut leaves);
            slots.append(arch, unknown, &mut ranges);
        }
        sections.push(Section { token: arch.token, ranges });
    }
    Ok(Verdicts { leaves: leaves.all, sections })
}

/// x86_64 and x32 share a token; bit 30 of the number tells them apart. The one
/// that is not in the filter is a bad architecture, but for call -1, by which a
/// tracer skips a call (seccomp(2)).
fn x86_64(
    profile: &Profile,
    permissive: bool,
    leaves: &mut Leaves,
    ranges: &mut Vec<Range>,
) -> Result<()> {
    let bad = leaves.answer(BAD_ARCH);
    let both = profile.archs.iter().filter(|arch| arch.token == X86_64).count() == 2;
    let mut last = DEFAULT;
    let mut low = bad;
    for (name, base) in [("SCMP_ARCH_X86_64", 0), ("SCMP_ARCH_X32", X32_BIT)] {
        let Some(arch) = profile.archs.iter().find(|arch| arch.name == name) else {
            put(ranges, base, bad);
            continue;
        };
        let mut slots = Slots::fill(profile, arch, leaves)?;
        let unknown = unknown(&mut slots, arch, permissive, leaves);
        slots.append(arch, unknown, ranges);
        last = unknown;
        if base == 0 {
            low = unknown;
        }
    }
    // Bit 31 without bit 30 is neither; the ENOSYS stub of runc takes it for x86_64.
    let stub = low != DEFAULT && low != bad;
    if both || profile.archs.iter().any(|arch| arch.name == "SCMP_ARCH_X32") {
        put(ranges, 2 * X32_BIT, if both { low } else { DEFAULT });
        put(ranges, 3 * X32_BIT, last);
    } else {
        put(ranges, 2 * X32_BIT, if stub { low } else { bad });
        put(ranges, 3 * X32_BIT, bad);
        put(ranges, u32::MAX, DEFAULT);
    }
    Ok(())
}

/// The leaf of numbers above the highest that the profile names.
fn unknown(slots: &mut Slots, arch: &Arch, permissive: bool, leaves: &mut Leaves) -> usize {
    if permissive || slots.top == 0 {
        return DEFAULT;
    }
    let leaf = leaves.answer(ENOSYS);
    if arch.is_s390() {
        // A number that s390 cannot hold arrives as call 0 (setup, long gone).
        slots.leaf[0] = UNSET;
        slots.set(0, leaf);
    }
    leaf
}

/// Starts a range, unless it continues the one before.
fn put(ranges: &mut Vec<Range>, start: u32, leaf: usize) {
    if let Some(last) = ranges.last_mut() {
        if last.leaf == leaf {
            return;
        }
        if last.start == start {
            last.leaf = leaf;
            return;
        }
    }
    ranges.push(Range { start, leaf });
}

/// The leaves so far, each once.
#[derive(Default)]
struct Leaves {
    all: Vec<Leaf>,
    answers: BTreeMap<u32, usize>,
    /// How many clauses all leaves have.
    clauses: usize,
}

impl Leaves {
    fn answer(&mut self, action: u32) -> usize {
        *self.answers.entry(action).or_insert_with(|| {
            self.all.push(Leaf::Return(action));
            self.all.len() - 1
        })
    }

    fn arguments(&mut self, leaf: Arguments) -> usize {
        let same = |known: &Leaf| matches!(known, Leaf::Arguments(known) if *known == leaf);
        self.all.iter().position(same).unwrap_or_else(|| {
            self.clauses += leaf.clauses.len();
            self.all.push(Leaf::Arguments(leaf));
            self.all.len() - 1
        })
    }

    /// An error once no filter can hold them: each leaf is an instruction at least.
    fn check(&self, pending: usize, rule: usize) -> Result<()> {
        let what = match self.clauses + pending {
            _ if self.all.len() > MAX_INSTRUCTIONS => "makes too many different answers",
            count if count > MOST_CLAUSES => "its calls times its conditions are too many",
            _ => return Ok(()),
        };
        let what = format!("{what}: the kernel takes {MAX_INSTRUCTIONS} instructions");
        let hint = "list fewer values for arguments, or ranges of them (SCMP_CMP_GE and \
                    SCMP_CMP_LE), or fewer architectures";
        Err(Bad::new(format!("syscalls[{rule}]"), what).hint(hint))
    }
}

/// More than any filter has room for: only lists of neighbouring values take less
/// than an instruction each.
const MOST_CLAUSES: usize = 8 * MAX_INSTRUCTIONS;

/// One slot a number, ARM's private ones last; no ABI has more.
const SLOTS: usize = 1024;
const PRIVATE: usize = SLOTS - 16;
/// No rule speaks of the number.
const UNSET: u16 = u16::MAX;

/// The leaves of an architecture's numbers.
struct Slots {
    leaf: [u16; SLOTS],
    /// The highest number that the profile names.
    top: usize,
}

/// A conditional rule that waits until all unconditional ones are known.
struct Pending {
    slot: usize,
    rule: usize,
    call: Row,
    clause: Clause,
}

impl Slots {
    fn fill(profile: &Profile, arch: &Arch, leaves: &mut Leaves) -> Result<Self> {
        let mut slots = Self { leaf: [UNSET; SLOTS], top: 0 };
        let mut pending = Vec::new();
        for (index, rule) in profile.rules.iter().enumerate() {
            let narrowed: Vec<Vec<Condition>>;
            let any = match rule.any.iter().all(Vec::is_empty) {
                true => &rule.any, // as nearly always
                false => {
                    narrowed = rule.any.iter().map(|any| narrow(any, arch.wide)).collect();
                    &narrowed
                }
            };
            let dropped = rule.action == profile.default;
            let leaf = if dropped { 0 } else { leaves.answer(rule.action) };
            let always = any.iter().any(Vec::is_empty);
            leaves.check(pending.len(), index)?;
            for &call in &rule.rows {
                let place = call.place(arch.abi);
                if let Some(Place::Common(number)) = place {
                    slots.top = slots.top.max(usize::from(number));
                }
                if dropped {
                    continue;
                }
                let mux = arch.mux.and_then(|numbers| Some((numbers, call.mux()?)));
                if always && mux.is_none() {
                    if let Some(place) = place {
                        slots.set(slot_of(place), leaf);
                    }
                    continue;
                }
                for conditions in any {
                    let mut add = |slot: usize, conditions: &[Condition]| {
                        if conditions.is_empty() {
                            slots.set(slot, leaf);
                        } else if slots.leaf[slot] == UNSET {
                            let conditions = conditions.to_vec();
                            let clause = Clause { conditions, action: rule.action };
                            pending.push(Pending { slot, rule: index, call, clause });
                        }
                    };
                    if let Some((numbers, mux)) = mux {
                        let (number, code) = match mux {
                            Mux::Socketcall(code) => (numbers.0, code),
                            Mux::Ipc(code) => (numbers.1, code),
                        };
                        add((number - arch.base) as usize, &behind(conditions, code));
                    }
                    if let Some(place) = place {
                        add(slot_of(place), conditions);
                    }
                }
                leaves.check(pending.len(), index)?;
            }
        }
        slots.conditional(pending, arch, leaves)?;
        Ok(slots)
    }

    /// The first unconditional rule stays.
    fn set(&mut self, slot: usize, leaf: usize) {
        if let (UNSET, Ok(leaf)) = (self.leaf[slot], u16::try_from(leaf)) {
            self.leaf[slot] = leaf;
        }
    }

    fn conditional(
        &mut self,
        mut pending: Vec<Pending>,
        arch: &Arch,
        leaves: &mut Leaves,
    ) -> Result<()> {
        pending.retain(|pending| self.leaf[pending.slot] == UNSET);
        pending.sort_by_key(|pending| pending.slot); // stable: the profile's order within a call
        for group in pending.chunk_by(|one, other| one.slot == other.slot) {
            let mut clauses: Vec<Clause> = Vec::with_capacity(group.len());
            let mut known: BTreeMap<&[Condition], &Pending> = BTreeMap::new();
            for new in group {
                match known.insert(&new.clause.conditions, new) {
                    Some(old) if old.clause.action != new.clause.action => {
                        return Err(contradiction(old, new, arch));
                    }
                    Some(_) => {}
                    None => clauses.push(new.clause.clone()),
                }
            }
            if clauses.iter().any(|clause| clause.action != clauses[0].action) {
                clauses.sort_by(precedence);
            }
            let little = is_little_endian(arch.token);
            let leaf = leaves.arguments(Arguments { wide: arch.wide, little, clauses });
            leaves.check(0, group[0].rule)?;
            self.set(group[0].slot, leaf);
        }
        Ok(())
    }

    /// Appends the ranges of the architecture: from its base, or 0 where that is
    /// not another's, to its end.
    fn append(&self, arch: &Arch, unknown: usize, ranges: &mut Vec<Range>) {
        let start = if arch.base == X32_BIT { X32_BIT } else { 0 };
        put(ranges, start, DEFAULT);
        let leaf = |slot: usize| match self.leaf[slot] {
            UNSET => DEFAULT,
            leaf => usize::from(leaf),
        };
        let named =
            self.leaf[..PRIVATE].iter().rposition(|leaf| *leaf != UNSET).map_or(0, |at| at + 1);
        let end = named.max(self.top + 1);
        let (mut slot, mut number) = (0, arch.base);
        for run in self.leaf[..end].chunk_by(|one, other| one == other) {
            put(ranges, number, leaf(slot));
            slot += run.len();
            #[allow(clippy::cast_possible_truncation)] // below SLOTS
            let len = run.len() as u32;
            number += len;
        }
        put(ranges, number, unknown);
        if self.leaf[PRIVATE..].iter().any(|leaf| *leaf != UNSET) {
            for (slot, number) in (PRIVATE..SLOTS).zip(ARM_PRIVATE..) {
                put(ranges, number, leaf(slot));
            }
            put(ranges, ARM_PRIVATE + 16, unknown);
        }
    }
}

fn slot_of(place: Place) -> usize {
    match place {
        Place::Common(number) => usize::from(number).min(PRIVATE - 1),
        Place::Private(number) => PRIVATE + usize::from(number) % 16,
    }
}

/// The conditions as the architecture can ask them: 32-bit ones see the lower
/// halves only, and a comparison under an empty mask always holds.
fn narrow(conditions: &[Condition], wide: bool) -> Vec<Condition> {
    let half = u64::from(u32::MAX);
    conditions
        .iter()
        .map(|condition| match wide {
            true => *condition,
            false => Condition {
                mask: condition.mask & half,
                value: condition.value & half,
                ..*condition
            },
        })
        .filter(|condition| condition.mask != 0)
        .collect()
}

/// The conditions for the call's multiplexer, whose first argument is the code.
/// The others stay: they then see a pointer, which no filter can follow. This
/// is what libseccomp does, too.
fn behind(conditions: &[Condition], code: u32) -> Vec<Condition> {
    let code = Condition { arg: 0, op: Operator::Eq, mask: u64::MAX, value: u64::from(code) };
    let rest = conditions.iter().filter(|condition| condition.arg != 0);
    std::iter::once(code).chain(rest.copied()).collect()
}

/// Which clause is asked first when their actions differ: see the module.
fn precedence(one: &Clause, other: &Clause) -> Ordering {
    let mut pairs = one.conditions.iter().zip(&other.conditions);
    let first = pairs.find_map(|(one, other)| {
        let order = key(other).cmp(&key(one));
        order.is_ne().then_some(order)
    });
    first.unwrap_or_else(|| one.conditions.len().cmp(&other.conditions.len()))
}

/// Greater comes first: the later argument; EQ, LT, GT; then of LT the smaller
/// value, else the greater one.
fn key(condition: &Condition) -> (u32, u8, u64, Reverse<u64>) {
    let (rank, value, below) = match condition.op {
        Operator::Eq | Operator::Ne | Operator::MaskedEq => (3, condition.value, 0),
        Operator::Le | Operator::Lt => (2, 0, condition.value),
        Operator::Ge | Operator::Gt => (1, condition.value, 0),
    };
    (condition.arg, rank, value, Reverse(below))
}

fn contradiction(old: &Pending, new: &Pending, arch: &Arch) -> Bad {
    let call = new.call.name();
    let what = if old.call == new.call {
        format!("the same conditions for {call:?} as in syscalls[{}] with another action", old.rule)
    } else {
        let (arch, other) = (arch.name, old.call.name());
        format!("{call:?} and {other:?} of syscalls[{}] contradict each other on {arch}", old.rule)
    };
    Bad::new(format!("syscalls[{}]", new.rule), what)
}
