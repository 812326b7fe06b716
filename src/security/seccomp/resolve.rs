//! `config.json` to values: names to rows, actions, operators and flags, each
//! from the one table that also says what is supported.

use super::arch::{ARCHS, Arch};
use super::field::{Bad, Result, Within, keep};
use super::table::Row;
use crate::nearest::nearest;
use crate::plan::Findings;
use crate::spec::{Seccomp, SyscallArg, SyscallRule};
use crate::sys::seccomp as sys;
use std::collections::BTreeSet;

/// What a filter answers: `SECCOMP_RET_*` of linux/seccomp.h.
pub const KILL_PROCESS: u32 = 0x8000_0000;
/// Kills the thread.
pub const KILL_THREAD: u32 = 0x0000_0000;
/// Sends SIGSYS.
pub const TRAP: u32 = 0x0003_0000;
/// Fails the call; the errno is in the lower 16 bits.
pub const ERRNO: u32 = 0x0005_0000;
/// Asks the listener.
pub const USER_NOTIF: u32 = 0x7fc0_0000;
/// Asks the tracer; the message is in the lower 16 bits.
pub const TRACE: u32 = 0x7ff0_0000;
/// Lets the call through and logs it.
pub const LOG: u32 = 0x7ffc_0000;
/// Lets the call through.
pub const ALLOW: u32 = 0x7fff_0000;

/// `SECCOMP_RET_ACTION_FULL`: the part of an answer that is not its data.
pub const ACTION_MASK: u32 = 0xffff_0000;

/// The actions of config-linux.md with what the filter returns for them.
pub const ACTIONS: [(&str, u32); 9] = [
    ("SCMP_ACT_ALLOW", ALLOW),
    ("SCMP_ACT_ERRNO", ERRNO),
    ("SCMP_ACT_KILL", KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", KILL_THREAD),
    ("SCMP_ACT_LOG", LOG),
    ("SCMP_ACT_NOTIFY", USER_NOTIF),
    ("SCMP_ACT_TRACE", TRACE),
    ("SCMP_ACT_TRAP", TRAP),
];

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Equal.
    Eq,
    /// Greater or equal.
    Ge,
    /// Greater.
    Gt,
    /// Equal in the bits of a mask.
    MaskedEq,
}

/// The operators of config-linux.md.
pub const OPERATORS: [(&str, Operator); 7] = [
    ("SCMP_CMP_EQ", Operator::Eq),
    ("SCMP_CMP_GE", Operator::Ge),
    ("SCMP_CMP_GT", Operator::Gt),
    ("SCMP_CMP_LE", Operator::Le),
    ("SCMP_CMP_LT", Operator::Lt),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEq),
    ("SCMP_CMP_NE", Operator::Ne),
];

/// The flags of config-linux.md.
pub const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", sys::FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", sys::FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", sys::FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", sys::FLAG_WAIT_KILLABLE_RECV),
];

const ARGS: u32 = 6;
const MAX_ERRNO: u32 = 4095;
const MAX_TRACE: u32 = 0xffff;
#[allow(clippy::cast_sign_loss)]
const EPERM: u32 = libc::EPERM as u32;

/// One comparison: `argument & mask OP value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    pub(super) arg: u32,
    pub(super) op: Operator,
    pub(super) mask: u64,
    pub(super) value: u64,
}

/// One entry of `syscalls`.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) rows: Vec<Row>,
    pub(super) action: u32,
    /// Any of these must hold; one empty alternative: always.
    pub(super) any: Vec<Vec<Condition>>,
}

/// A profile without names.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) default: u32,
    /// The native architecture first; no architecture twice.
    pub(super) archs: Vec<&'static Arch>,
    /// As in `config.json`, index for index.
    pub(super) rules: Vec<Rule>,
    pub(super) skipped: Vec<String>,
}

/// Resolves all but the flags and the listener; `None` if a rule is wrong.
pub(super) fn profile(config: &Seccomp, findings: &mut Findings) -> Option<Profile> {
    let default = action(
        ["defaultAction", "defaultErrnoRet"],
        &config.default_action,
        config.default_errno_ret,
    );
    let default = keep(default, findings);
    let archs = archs(&config.architectures, findings);
    let mut skipped = Vec::new();
    let mut rules = Vec::with_capacity(config.syscalls.len());
    for (index, entry) in config.syscalls.iter().enumerate() {
        let rule = rule(entry, &mut skipped).within(|| format!("syscalls[{index}]"));
        rules.extend(keep(rule, findings));
    }
    // Later messages count the rules: they must be those of the configuration.
    let complete = rules.len() == config.syscalls.len();
    complete.then_some(Profile { default: default?, archs, rules, skipped })
}

fn lookup<T: Copy>(field: &str, table: &[(&str, T)], name: &str) -> Result<T> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = table.iter().map(|(known, _)| *known).collect();
        let known = format!("one of {}", known.join(", "));
        if name.is_empty() {
            return Bad::new(field, "is missing or empty").hint(format!("it must be {known}"));
        }
        let near = nearest(name, table.iter().map(|(known, _)| *known));
        Bad::new(field, format!("unknown value {name:?}")).guess(near).hint(known)
    })
}

/// `fields` name the action and its errno.
fn action(fields: [&str; 2], name: &str, errno: Option<u32>) -> Result<u32> {
    let action = lookup(fields[0], &ACTIONS, name)?;
    let most = match (action, errno) {
        (ERRNO, _) => MAX_ERRNO,
        (TRACE, _) => MAX_TRACE,
        (_, None) => return Ok(action),
        (_, Some(_)) => {
            let message = format!("{name} takes no errno; only ERRNO and TRACE do");
            return Err(Bad::new(fields[1], message));
        }
    };
    let data = errno.unwrap_or(EPERM);
    if data > most {
        return Err(Bad::new(fields[1], format!("{data} is above {most}")));
    }
    Ok(action | data)
}

fn archs(names: &[String], findings: &mut Findings) -> Vec<&'static Arch> {
    // The native one is in every filter, listed or not: so does libseccomp.
    let mut archs = vec![Arch::native()];
    for (index, name) in names.iter().enumerate() {
        let arch = Arch::find(name).ok_or_else(|| {
            let near = nearest(name, ARCHS.iter().map(|arch| arch.name));
            Bad::new(format!("architectures[{index}]"), format!("unknown architecture {name:?}"))
                .guess(near)
                .hint("one of the SCMP_ARCH_* names of config-linux.md, Seccomp")
        });
        archs.extend(keep(arch, findings).filter(|arch| !archs.contains(arch)));
    }
    archs
}

/// The flags to load with. Unset leaves the choice to us: SPEC_ALLOW, as runc.
pub(super) fn flags(config: &Seccomp, notifies: bool, findings: &mut Findings) -> u32 {
    let mut flags = 0;
    for (index, name) in config.flags.iter().flatten().enumerate() {
        let field = format!("flags[{index}]");
        let flag = lookup(&field, &FLAGS, name).and_then(|flag| {
            if flag == sys::FLAG_WAIT_KILLABLE_RECV && !notifies {
                // seccomp(2) answers EINVAL: there is nobody to wait for.
                let message = format!("{name} has no meaning without SCMP_ACT_NOTIFY");
                return Err(Bad::new(field.clone(), message));
            }
            Ok(flag)
        });
        flags |= keep(flag, findings).unwrap_or_default();
    }
    if config.flags.is_none() {
        flags = sys::FLAG_SPEC_ALLOW;
    }
    if notifies {
        flags |= sys::FLAG_NEW_LISTENER;
        if flags & sys::FLAG_TSYNC != 0 {
            // Without it, both would want the return value: EINVAL.
            flags |= sys::FLAG_TSYNC_ESRCH;
        }
    }
    flags
}

fn rule(entry: &SyscallRule, skipped: &mut Vec<String>) -> Result<Rule> {
    if entry.names.is_empty() {
        return Err(Bad::new("names", "must contain at least one name"));
    }
    let action = action(["action", "errnoRet"], &entry.action, entry.errno_ret)?;
    let mut rows = Vec::with_capacity(entry.names.iter().len().min(Row::COUNT));
    let mut listed = [false; Row::COUNT];
    for (index, name) in entry.names.iter().enumerate() {
        if name.is_empty() {
            return Err(Bad::new(format!("names[{index}]"), "is empty"));
        }
        match Row::find(name) {
            // Each call once, however often the rule names it.
            Some(row) if std::mem::replace(&mut listed[row.index()], true) => {}
            Some(row) => rows.push(row),
            None => skipped.push(name.to_owned()),
        }
    }
    let mut conditions = Vec::with_capacity(entry.args.len());
    for (index, arg) in entry.args.iter().enumerate() {
        conditions.push(condition(arg).within(|| format!("args[{index}]"))?);
    }
    Ok(Rule { rows, action, any: alternatives(conditions) })
}

fn condition(arg: &SyscallArg) -> Result<Condition> {
    if arg.index >= ARGS {
        return Err(Bad::new("index", format!("{} is above {}", arg.index, ARGS - 1)));
    }
    let op = lookup("op", &OPERATORS, &arg.op)?;
    let (mask, value) = match op {
        Operator::MaskedEq => (arg.value, arg.value_two & arg.value),
        _ => (u64::MAX, arg.value),
    };
    Ok(Condition { arg: arg.index, op, mask, value })
}

/// Conditions on different arguments must all hold. If one argument has two,
/// each condition is a rule of its own, as runc has always done.
fn alternatives(mut conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let mut seen = 0_u8;
    let twice = conditions.iter().any(|condition| {
        let (before, bit) = (seen, 1 << condition.arg);
        seen |= bit;
        before & bit != 0
    });
    if twice {
        let mut listed = BTreeSet::new();
        conditions.retain(|condition| listed.insert(*condition));
        return conditions.into_iter().map(|condition| vec![condition]).collect();
    }
    conditions.sort_by_key(|condition| condition.arg);
    vec![conditions]
}
