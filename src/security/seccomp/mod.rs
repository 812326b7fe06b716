//! A profile to a filter: our own compiler from `linux.seccomp` to BPF.
//!
//! ```text
//! config.json --resolve--> rules --rules--> number ranges --bpf--> program
//! ```
//!
//! Names, actions and operators become values (`resolve`, from `table` and
//! `arch`); rules become, for each architecture, ranges of numbers with one
//! verdict (`rules`); these become a balanced tree of comparisons (`bpf`).
//! Everything is pure, and a program can be asked for its verdict without a
//! kernel (`program`); only [`crate::sys::seccomp::load`] acts.
//!
//! Why not libseccomp: it takes 2 to 18 ms for an engine's default profile, and
//! its filters are 5 times as long (which the kernel pays at each install).
//! What a profile means is decided by it all the same; `tests/seccomp`
//! compares the two, verdict by verdict.

mod arch;
mod bpf;
mod field;
mod names;
mod program;
mod resolve;
mod rules;
mod table;

pub use arch::{ARCHS, Arch, calls};
pub use program::Program;
pub use resolve::{
    ACTION_MASK, ACTIONS, ALLOW, ERRNO, FLAGS, KILL_PROCESS, KILL_THREAD, LOG, OPERATORS, Operator,
    TRACE, TRAP, USER_NOTIF,
};

use crate::plan::Findings;
use crate::spec::Seccomp;
use crate::sys::seccomp::Instruction;
use field::{Bad, keep};
use resolve::Profile;

/// A compiled profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The code.
    pub program: Program,
    /// `SECCOMP_FILTER_FLAG_*` to load it with, `NEW_LISTENER` included.
    pub flags: u32,
    /// Where the listener's fd goes; only if a rule or the default is
    /// `SCMP_ACT_NOTIFY`.
    pub listener: Option<Listener>,
    /// Names of system calls that nobody knows, for the debug log.
    pub skipped: Vec<String>,
}

/// Who gets the fd that `SECCOMP_FILTER_FLAG_NEW_LISTENER` returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `listenerPath`.
    pub path: String,
    /// `listenerMetadata`, empty if unset.
    pub metadata: String,
}

impl Filter {
    /// As bytes, for [`Filter::from_bytes`] on this machine. A filter with a
    /// listener has none: who listens is not all that it is about.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.listener.is_some() {
            return None;
        }
        let mut bytes = self.flags.to_ne_bytes().to_vec();
        for Instruction { code, jt, jf, k } in &self.program.instructions {
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes.extend_from_slice(&[*jt, *jf]);
            bytes.extend_from_slice(&k.to_ne_bytes());
        }
        Some(bytes)
    }

    /// What [`Filter::to_bytes`] has made; `None` if it has not made this.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (flags, code) = bytes.split_first_chunk::<4>()?;
        let (code, rest) = code.as_chunks::<8>();
        let instruction = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| Instruction {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        };
        let program = Program { instructions: code.iter().map(instruction).collect() };
        let flags = u32::from_ne_bytes(*flags);
        let whole = rest.is_empty() && !program.instructions.is_empty();
        whole.then_some(Self { program, flags, listener: None, skipped: Vec::new() })
    }

    /// The answer to a native call, if it does not depend on the arguments.
    pub fn verdict_of(&self, nr: u32) -> Option<u32> {
        self.program.certain(nr, Arch::native().token)
    }

    /// Whether a process that has just confined itself can surely still pass
    /// its listener on, report an error and exit. If one of these calls were to
    /// ask the listener that it passes on, it would wait for ever.
    pub fn lets_us_speak(&self) -> bool {
        ["sendmsg", "exit_group"].iter().all(|call| self.allows(call) == Some(true))
    }

    /// Whether a native call surely goes through, whatever its arguments are; so does
    /// one that this architecture has not.
    pub fn surely_allows(&self, call: &str) -> bool {
        Arch::native().number(call).is_none_or(|number| {
            matches!(self.verdict_of(number).map(|v| v & ACTION_MASK), Some(ALLOW | LOG))
        })
    }

    /// Whether a native call goes through with these first two arguments, and with
    /// others behind them that are nobody's to choose.
    pub fn allows_with(&self, call: &str, first: u64, second: u64) -> bool {
        let native = Arch::native();
        native.number(call).is_some_and(|number| {
            [0, u64::MAX].into_iter().all(|rest| {
                let args = [first, second, rest, rest, rest, rest];
                let verdict = self.program.verdict(number, native.token, args);
                matches!(verdict & ACTION_MASK, ALLOW | LOG)
            })
        })
    }

    /// Whether the native call goes through; `None` if that depends on its
    /// arguments or the listener.
    pub fn allows(&self, call: &str) -> Option<bool> {
        match self.verdict_of(Arch::native().number(call)?)? & ACTION_MASK {
            ALLOW | LOG => Some(true),
            USER_NOTIF | TRACE => None,
            _ => Some(false),
        }
    }
}

/// Compiles `linux.seccomp`; `None` if an error was added to `findings`.
pub fn compile(config: &Seccomp, findings: &mut Findings) -> Option<Filter> {
    let before = findings.errors().len();
    let profile = resolve::profile(config, findings);
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if set(&config.listener_metadata) && !set(&config.listener_path) {
        let bad = Bad::new("listenerMetadata", "must not be set without listenerPath");
        findings.error(bad.into_error());
    }
    let program = profile.as_ref().and_then(|profile| keep(code(profile), findings));
    // Without a program nobody knows: then no flag is wrong for that.
    let notifies = program.as_ref().is_none_or(Program::notifies);
    let flags = resolve::flags(config, notifies, findings);
    let (profile, program) = (profile?, program?);
    let listener = if notifies { Some(keep(listener(config), findings)?) } else { None };
    let filter = Filter { program, flags, listener, skipped: profile.skipped };
    (findings.errors().len() == before).then_some(filter)
}

fn code(profile: &Profile) -> field::Result<Program> {
    Ok(Program { instructions: bpf::program(&rules::verdicts(profile)?)? })
}

fn listener(config: &Seccomp) -> field::Result<Listener> {
    let path = config.listener_path.clone().filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| Bad::new("listenerPath", "is needed for SCMP_ACT_NOTIFY"))?;
    Ok(Listener { path, metadata: config.listener_metadata.clone().unwrap_or_default() })
}
