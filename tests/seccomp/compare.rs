//! One profile, two programs, many calls.

use crate::oracle::{cut, oracle};
use crate::plain::{conditions, default_verdict, plain};
use crate::{ENOSYS, X32_BIT, compile};
use pinnace::security::seccomp::{Arch, KILL_THREAD, Program};
use pinnace::spec::{Seccomp, SyscallArg};
use pinnace::sys::seccomp::Instruction;

/// Every number of the arch's table, some beyond, and some that nobody uses.
pub fn numbers(arch: &Arch) -> impl Iterator<Item = u32> {
    let around =
        [0, 1, 4000, 0xf_0005, X32_BIT - 1, X32_BIT, X32_BIT + 1, 2 * X32_BIT, 3 * X32_BIT];
    (arch.base..arch.base + 620).chain(around).chain([0xffff_fffe, u32::MAX])
}

/// Values around each constant of the profile, in either half.
pub fn values(profile: &Seccomp) -> Vec<u64> {
    let mut values = vec![0, 1, u64::from(u32::MAX), u64::MAX, 1 << 32];
    for arg in profile.syscalls.iter().flat_map(|rule| &rule.args) {
        for value in [arg.value, arg.value_two] {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), !value]);
            values.extend([value ^ 1 << 32, value & 0xffff_ffff, value << 32, value ^ 1 << 63]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

/// runc's ENOSYS for calls newer than the profile is not libseccomp's. It also
/// comes before libseccomp's look at bit 30, for numbers of no ABI.
pub fn is_enosys_for_new(ours: u32, theirs: u32, default: u32, nr: u32, top: Option<u32>) -> bool {
    let nobodys = nr >> 30 == 2 && theirs == KILL_THREAD;
    ours == ENOSYS && (theirs == default || nobodys) && top.is_some_and(|top| nr > top)
}

/// The highest number that the profile names.
pub fn top(profile: &Seccomp, arch: &Arch) -> Option<u32> {
    let names = profile.syscalls.iter().flat_map(|rule| rule.names.iter());
    names.filter_map(|name| arch.number(name)).filter(|nr| nr - arch.base < 0xf000).max()
}

/// libseccomp merges the rules of a call into one tree, and gets it wrong when
/// comparisons other than EQ meet others there. And in some small filters it forgets
/// to load the number. Then the plain reading decides.
pub fn libseccomp_may_err(case: &Case<'_>, nr: u32, arch: &Arch) -> bool {
    let profile = case.profile;
    let loads_number = |i: &Instruction| i.code == 0x20 && i.k == 0;
    let tricky =
        |arg: &SyscallArg| ["LT", "LE", "GT", "GE", "NE"].iter().any(|op| arg.op.ends_with(op));
    let args = profile.syscalls.iter().flat_map(|rule| conditions(rule, arch, nr)).flatten();
    let args: Vec<SyscallArg> = args.collect();
    !case.theirs.instructions.iter().any(loads_number)
        || (args.len() > 1 && args.iter().any(tricky))
}

/// How often libseccomp's answer was another.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// That of another rule that holds.
    pub order: usize,
    /// That of no rule that holds.
    pub wrong: usize,
}

pub struct Case<'a> {
    profile: &'a Seccomp,
    archs: &'a [&'a Arch],
    ours: Program,
    theirs: Program,
}

/// Asks both programs; the profile's calls with arguments, the others without.
pub fn compare(case: &Case<'_>) -> Outcome {
    let outcomes = std::cell::Cell::new(Outcome::default());
    let Case { profile, archs, ours, theirs } = case;
    let default = ours.verdict(0x3fff_ffff, 0, [0; 6]);
    assert_eq!(default, KILL_THREAD, "an architecture that is not in the filter");
    let values = values(profile);
    for arch in *archs {
        let (mine, x32) = (top(profile, arch), Arch::find("SCMP_ARCH_X32").unwrap());
        let default = default_verdict(profile);
        let ask = |nr: u32, args: [u64; 6]| {
            let top = match arch.name {
                "SCMP_ARCH_X86_64" if nr & X32_BIT != 0 && archs.contains(&x32) => {
                    top(profile, x32)
                }
                "SCMP_ARCH_X86_64" if nr & X32_BIT != 0 => None,
                // Call 0 of s390 is what a number that it cannot hold becomes.
                "SCMP_ARCH_S390" | "SCMP_ARCH_S390X" if nr == 0 => return,
                "SCMP_ARCH_X32" if nr & X32_BIT == 0 => return, // asked as x86_64
                _ => mine,
            };
            let (ours, theirs) =
                (ours.verdict(nr, arch.token, args), theirs.verdict(nr, arch.token, args));
            if ours != theirs && libseccomp_may_err(case, nr, arch) {
                let plain = plain(profile, arch, nr, args);
                if plain.contains(&ours) {
                    let outcome = outcomes.get();
                    outcomes.set(match plain.contains(&theirs) {
                        true => Outcome { order: outcome.order + 1, ..outcome },
                        false => Outcome { wrong: outcome.wrong + 1, ..outcome },
                    });
                    return;
                }
            }
            assert!(
                ours == theirs || is_enosys_for_new(ours, theirs, default, nr, top),
                "{} {nr} {args:x?}: ours {ours:#x}, libseccomp {theirs:#x}\n{}",
                arch.name,
                brief(profile)
            );
        };
        for nr in numbers(arch) {
            ask(nr, [0; 6]);
            ask(nr, [u64::MAX; 6]);
        }
        let with_args = profile.syscalls.iter().filter(|rule| !rule.args.is_empty());
        let mut names: Vec<&str> = with_args.flat_map(|rule| rule.names.iter()).collect();
        names.extend(["socketcall", "ipc"]);
        for nr in names.iter().filter_map(|name| arch.number(name)) {
            for (index, value) in
                (0..6).flat_map(|index| values.iter().map(move |value| (index, *value)))
            {
                for other in [0, 5] {
                    let mut args = [other; 6];
                    args[index] = value;
                    ask(nr, args);
                }
            }
        }
    }
    outcomes.get()
}

/// A profile in a few lines, for messages.
pub fn brief(profile: &Seccomp) -> String {
    let rules = profile.syscalls.iter().map(|rule| {
        let args: Vec<String> = rule
            .args
            .iter()
            .map(|arg| format!("{} {} {:#x} {:#x}", arg.index, arg.op, arg.value, arg.value_two))
            .collect();
        let names: Vec<&str> = rule.names.iter().take(4).collect();
        format!("{} {:?} {names:?} {args:?}\n", rule.action, rule.errno_ret)
    });
    format!(
        "default {} {:?}\n{}",
        profile.default_action,
        profile.default_errno_ret,
        rules.collect::<String>()
    )
}

/// Compiles both ways and compares. Whether libseccomp took the profile.
pub fn differ(profile: &Seccomp, archs: &[&Arch]) -> Option<Outcome> {
    let profile = &cut(profile, archs);
    match (compile(profile), oracle(profile, archs)) {
        (Ok(ours), Some(theirs)) => {
            Some(compare(&Case { profile, archs, ours: ours.program, theirs }))
        }
        // What libseccomp refuses (two actions for what it takes for one rule)
        // we may order; what we refuse it must refuse.
        (_, None) => None,
        (Err(error), Some(_)) => panic!("{error}\n{}", brief(profile)),
    }
}
