//! Verdicts to code: a balanced tree of comparisons over ranges of numbers.
//!
//! The code is made back to front. So every jump's target exists when the jump
//! is written, its distance is known at once, and a target that is too far
//! (offsets have eight bits) gets a stand-in just behind the jump.

use super::arch::X32_BIT;
use super::field::{Bad, Result};
use super::resolve::{Condition, Operator};
use super::rules::{Arguments, BAD_ARCH, Clause, Leaf, Range, Verdicts};
use crate::sys::seccomp::{Instruction, MAX_INSTRUCTIONS};
use std::collections::BTreeMap;

/// Operations that filters use (linux/bpf_common.h).
pub(super) mod op {
    pub const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    pub const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    pub const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    pub const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
    pub const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    pub const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    pub const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    pub const ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
}

/// Offsets in `struct seccomp_data`.
pub(super) const NR: u32 = 0;
pub(super) const ARCH: u32 = 4;
pub(super) const ARGS: u32 = 16;

/// Two stand-ins fit between a jump and a target as far as this.
const NEAR: usize = 252;

/// A range of numbers counts at most this much, as most of them are nobody's.
const MAX_WEIGHT: u32 = 128;

/// How many numbers of a span may have another label; and where the kernel does
/// not run the filter for each number, so that only its length counts.
const MAX_OTHERS: usize = 3;
const MAX_OTHERS_BEYOND: usize = 8;

/// A place in the code, counted from its end.
type Label = usize;

/// Writes the program.
pub(super) fn program(verdicts: &Verdicts) -> Result<Vec<Instruction>> {
    let mut code = Code::default();
    let default = match verdicts.leaves.first() {
        Some(Leaf::Return(action)) => code.answer(*action),
        _ => code.answer(BAD_ARCH),
    };
    // What all trees point at comes last in the program, so it is written first.
    let mut leaves = vec![default; verdicts.leaves.len()];
    for (label, leaf) in leaves.iter_mut().zip(&verdicts.leaves) {
        if let Leaf::Return(action) = leaf {
            *label = code.answer(*action);
        }
    }
    for (label, leaf) in leaves.iter_mut().zip(&verdicts.leaves) {
        if let Leaf::Arguments(arguments) = leaf {
            *label = code.arguments(arguments, default);
        }
    }
    let mut roots: Vec<Label> = Vec::with_capacity(verdicts.sections.len());
    // Back to front: the native architecture's tree ends up nearest to its jump.
    for (index, section) in verdicts.sections.iter().enumerate().rev() {
        let done = verdicts.sections[index + 1..]
            .iter()
            .rev()
            .position(|other| other.ranges == section.ranges);
        roots.push(match done {
            Some(at) => roots[at],
            None => code.section(&section.ranges, &leaves),
        });
    }
    let mut next = code.answer(BAD_ARCH);
    for (section, root) in verdicts.sections.iter().rev().zip(roots) {
        next = code.branch(op::EQUAL, section.token, root, next);
    }
    code.load(ARCH);
    code.reversed.reverse();
    if code.reversed.len() > MAX_INSTRUCTIONS {
        let message = format!(
            "makes {} instructions; the kernel takes {MAX_INSTRUCTIONS}",
            code.reversed.len()
        );
        let hint = "name fewer architectures, or fewer values of arguments";
        return Err(Bad::new("syscalls", message).hint(hint));
    }
    Ok(code.reversed)
}

/// Neighbours that have the label of the first, but for a few numbers: those
/// of the ranges in between. Most calls that a profile leaves out stand alone;
/// to ask for each of a few costs no more than to cut around one.
type Span<'a> = &'a [(u32, Label)];

#[derive(Default)]
struct Code {
    reversed: Vec<Instruction>,
    /// The newest `return` of each answer.
    answers: BTreeMap<u32, Label>,
    /// The newest stand-in of each far target.
    relays: BTreeMap<Label, Label>,
}

impl Code {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }

    fn load(&mut self, offset: u32) -> Label {
        self.push(op::LOAD, 0, 0, offset)
    }

    fn answer(&mut self, action: u32) -> Label {
        if let Some(label) = self.answers.get(&action) {
            return *label;
        }
        let label = self.push(op::RETURN, 0, 0, action);
        self.answers.insert(action, label);
        label
    }

    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - target - 1
    }

    /// The target, or a stand-in for it that a conditional jump can reach.
    fn near(&mut self, target: Label) -> Label {
        if self.distance(target) <= NEAR {
            return target;
        }
        let Instruction { code, k, .. } = self.reversed[target];
        if code == op::RETURN {
            let label = self.answer(k);
            if self.distance(label) <= NEAR {
                return label;
            }
            let label = self.push(op::RETURN, 0, 0, k);
            self.answers.insert(k, label);
            return label;
        }
        let relay = self.relays.get(&target);
        if let Some(relay) = relay.filter(|relay| self.distance(**relay) <= NEAR) {
            return *relay;
        }
        #[allow(clippy::cast_possible_truncation)] // MAX_INSTRUCTIONS bounds what is used
        let skip = self.distance(target) as u32;
        let relay = self.push(op::JUMP, 0, 0, skip);
        self.relays.insert(target, relay);
        relay
    }

    /// A comparison of the accumulator. Always the newest instruction after it.
    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let yes = self.near(yes);
        let no = self.near(no);
        #[allow(clippy::cast_possible_truncation)] // near() saw to it
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(code, jt, jf, k)
    }

    /// Loads the number and finds its leaf.
    fn section(&mut self, ranges: &[Range], leaves: &[Label]) -> Label {
        let ranges: Vec<(u32, Label)> =
            ranges.iter().map(|range| (range.start, leaves[range.leaf])).collect();
        self.search(NR, &ranges)
    }

    /// Loads a word and finds the label of its range.
    fn search(&mut self, offset: u32, ranges: &[(u32, Label)]) -> Label {
        match ranges {
            [(_, leaf)] => *leaf,
            _ => {
                self.tree(&spans(ranges));
                self.load(offset)
            }
        }
    }

    fn tree(&mut self, spans: &[Span<'_>]) -> Label {
        if let [span] = spans {
            return self.leaf(span);
        }
        let (left, right) = spans.split_at(middle(spans));
        let start = right.first().map_or(0, |span| start(span));
        let right = self.tree(right);
        let left = self.tree(left);
        self.branch(op::AT_LEAST, start, right, left)
    }

    fn leaf(&mut self, span: Span<'_>) -> Label {
        let [(_, leaf), rest @ ..] = span else { return 0 };
        let mut next = *leaf;
        for pair in rest.windows(2).rev() {
            let (number, label) = pair[0];
            if label != *leaf {
                next = self.branch(op::EQUAL, number, label, next);
            }
        }
        next
    }

    fn arguments(&mut self, arguments: &Arguments, default: Label) -> Label {
        let mut next = default;
        let mut rest = arguments.clauses.as_slice();
        while let Some(clause) = rest.last() {
            let run = rest.iter().rev().take_while(|other| is_listed(clause, other)).count();
            let (before, values) = rest.split_at(rest.len() - run.max(1));
            next = match run {
                0 | 1 => self.clause(arguments, clause, next),
                _ => self.one_of(arguments, values, next),
            };
            rest = before;
        }
        next
    }

    /// All conditions of a clause, or on to the next.
    fn clause(&mut self, arguments: &Arguments, clause: &Clause, next: Label) -> Label {
        let yes = self.answer(clause.action);
        clause
            .conditions
            .iter()
            .rev()
            .fold(yes, |yes, condition| self.condition(arguments, condition, yes, next))
    }

    /// Clauses with one action that each want one argument to have one value.
    fn one_of(&mut self, arguments: &Arguments, clauses: &[Clause], next: Label) -> Label {
        let Some(Condition { arg, .. }) =
            clauses.first().and_then(|clause| clause.conditions.first())
        else {
            return next;
        };
        let yes = clauses.first().map_or(next, |clause| self.answer(clause.action));
        let mut values: Vec<(u32, u32)> = clauses
            .iter()
            .flat_map(|clause| &clause.conditions)
            .map(|condition| halves(condition.value))
            .collect();
        values.sort_unstable();
        values.dedup();
        let (high, low) = offsets(arguments, *arg);
        let mut highs = Vec::new();
        for group in values.chunk_by(|one, other| one.0 == other.0) {
            let mut ranges = vec![(0, next)];
            for (_, value) in group {
                set(&mut ranges, *value, yes, next);
            }
            highs.push((group[0].0, self.search(low, &ranges)));
        }
        match (arguments.wide, highs.as_slice()) {
            (false, [(_, label)]) => *label,
            _ => {
                let mut ranges = vec![(0, next)];
                for (value, label) in highs {
                    set(&mut ranges, value, label, next);
                }
                self.search(high, &ranges)
            }
        }
    }

    fn condition(
        &mut self,
        arguments: &Arguments,
        condition: &Condition,
        yes: Label,
        no: Label,
    ) -> Label {
        match condition.op {
            Operator::Eq | Operator::MaskedEq => self.equal(arguments, condition, yes, no),
            Operator::Ne => self.equal(arguments, condition, no, yes),
            Operator::Gt => self.above(arguments, condition, op::GREATER, yes, no),
            Operator::Ge => self.above(arguments, condition, op::AT_LEAST, yes, no),
            Operator::Lt => self.above(arguments, condition, op::AT_LEAST, no, yes),
            Operator::Le => self.above(arguments, condition, op::GREATER, no, yes),
        }
    }

    fn equal(
        &mut self,
        arguments: &Arguments,
        condition: &Condition,
        yes: Label,
        no: Label,
    ) -> Label {
        let (high, low) = offsets(arguments, condition.arg);
        let (mask_high, mask_low) = halves(condition.mask);
        let (value_high, value_low) = halves(condition.value);
        let yes = self.equal_half(low, mask_low, value_low, yes, no);
        if arguments.wide { self.equal_half(high, mask_high, value_high, yes, no) } else { yes }
    }

    fn equal_half(&mut self, offset: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        match (mask, value) {
            (0, _) => return yes,
            (u32::MAX, _) => {
                self.branch(op::EQUAL, value, yes, no);
            }
            (_, 0) => {
                self.branch(op::ANY_BIT, mask, no, yes);
            }
            _ => {
                self.branch(op::EQUAL, value, yes, no);
                self.push(op::AND, 0, 0, mask);
            }
        }
        self.load(offset)
    }

    /// `compare` is how the lower halves compare once the upper ones are equal.
    fn above(
        &mut self,
        arguments: &Arguments,
        condition: &Condition,
        compare: u16,
        yes: Label,
        no: Label,
    ) -> Label {
        let (high, low) = offsets(arguments, condition.arg);
        let (value_high, value_low) = halves(condition.value);
        self.branch(compare, value_low, yes, no);
        let lower = self.load(low);
        if !arguments.wide {
            return lower;
        }
        let equal = self.branch(op::EQUAL, value_high, lower, no);
        self.branch(op::GREATER, value_high, yes, equal);
        self.load(high)
    }
}

/// Where to cut, so that both sides have as many numbers. At each install the
/// kernel runs the filter once for every number that it has, to learn which
/// are always allowed: long ranges belong near the root.
fn middle(spans: &[Span<'_>]) -> usize {
    let width = |at: usize| match (spans.get(at), spans.get(at + 1)) {
        (Some(span), _) if start(span) >= X32_BIT => 1, // not asked by the kernel
        (Some(span), Some(next)) => (start(next) - start(span)).min(MAX_WEIGHT),
        _ => 1,
    };
    let total: u32 = (0..spans.len()).map(width).sum();
    let mut sum = 0;
    let cut = (0..spans.len()).position(|at| {
        sum += width(at);
        2 * sum >= total
    });
    // The span in the middle goes to the lighter side.
    let cut = cut.unwrap_or_default();
    let before = sum - width(cut);
    let after = total - sum;
    (if before < after { cut + 1 } else { cut }).clamp(1, spans.len() - 1)
}

fn start(span: Span<'_>) -> u32 {
    span.first().map_or(0, |(start, _)| *start)
}

/// Cuts ranges into spans as long as can be.
fn spans(ranges: &[(u32, Label)]) -> Vec<Span<'_>> {
    let mut spans = Vec::with_capacity(ranges.len());
    let mut rest = ranges;
    while let [(start, leaf), after @ ..] = rest {
        let most = if *start >= X32_BIT { MAX_OTHERS_BEYOND } else { MAX_OTHERS };
        let (mut taken, mut numbers) = (1, 0);
        for (at, pair) in after.windows(2).enumerate() {
            let ((number, label), (next, back)) = (pair[0], pair[1]);
            if label == *leaf {
                continue;
            }
            numbers += 1;
            if numbers > most || next != number + 1 {
                break;
            }
            if back == *leaf {
                taken = at + 3;
            }
        }
        let (span, after) = rest.split_at(taken);
        spans.push(span);
        rest = after;
    }
    spans
}

/// Gives one value, above all before it, another label.
fn set(ranges: &mut Vec<(u32, Label)>, value: u32, label: Label, rest: Label) {
    match ranges.last_mut() {
        Some(last) if last.0 == value => last.1 = label,
        _ => ranges.push((value, label)),
    }
    if matches!(ranges.as_slice(), [.., (_, before), (_, last)] if before == last) {
        ranges.pop();
    }
    if let Some(after) = value.checked_add(1) {
        ranges.push((after, rest));
    }
}

/// Whether both clauses ask one argument for one value, for the same answer.
fn is_listed(one: &Clause, other: &Clause) -> bool {
    let asks = |clause: &Clause| match clause.conditions.as_slice() {
        [Condition { arg, op: Operator::Eq, .. }] => Some(*arg),
        _ => None,
    };
    one.action == other.action && asks(one).is_some() && asks(one) == asks(other)
}

fn halves(value: u64) -> (u32, u32) {
    #[allow(clippy::cast_possible_truncation)] // that is the point
    let low = value as u32;
    #[allow(clippy::cast_possible_truncation)]
    let high = (value >> 32) as u32;
    (high, low)
}

/// Where the upper and the lower half of an argument lie.
fn offsets(arguments: &Arguments, arg: u32) -> (u32, u32) {
    let at = ARGS + 8 * arg;
    if arguments.little { (at + 4, at) } else { (at, at + 4) }
}
