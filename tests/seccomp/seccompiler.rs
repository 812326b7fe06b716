//! The compiler against seccompiler, which others use to confine virtual
//! machines. It says less: one action besides the default, one architecture, no
//! multiplexers, nothing of x32 or of calls that are newer than the profile.
//! Unlike libseccomp it has the numbers of Linux 6.12, so a profile needs fewer
//! cuts, and it does not merge rules.

use crate::compare::{brief, numbers, top, values};
use crate::plain::default_verdict;
use crate::random::{ACTIONS, random, random_long};
use crate::rng::Rng;
use crate::{DOCKER, ENOSYS, PODMAN, X32_BIT, compile, parse};
use pinnace::security::seccomp::{self, Arch, Program, TRAP};
use pinnace::spec::{Seccomp, SyscallArg, SyscallRule};
use pinnace::sys::seccomp::Instruction;
use seccompiler::{TargetArch, compile_from_json, sock_filter};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const ARCHS: [(&str, TargetArch); 3] = [
    ("SCMP_ARCH_X86_64", TargetArch::x86_64),
    ("SCMP_ARCH_AARCH64", TargetArch::aarch64),
    ("SCMP_ARCH_RISCV64", TargetArch::riscv64),
];

/// `filter` as their JSON says it. `None`: it has a name that they do not know.
fn program(filter: &Value, arch: TargetArch) -> Option<Program> {
    let text = json!({"x": filter}).to_string();
    let mut programs = match compile_from_json(text.as_bytes(), arch) {
        Ok(programs) => programs,
        Err(error) if error.to_string().contains("Invalid syscall name") => return None,
        Err(error) => panic!("{error}: {filter}"),
    };
    let program = programs.remove("x").unwrap().into_iter();
    let instruction = |i: sock_filter| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k };
    Some(Program { instructions: program.map(instruction).collect() })
}

/// The calls of which they know the number, with it.
fn table(arch: &'static Arch, target: TargetArch) -> Vec<(&'static str, u32)> {
    let number = |name: &'static str| {
        let filter = json!({"mismatch_action": "allow", "match_action": "trap",
            "filter": [{"syscall": name}]});
        let program = program(&filter, target)?;
        let mut hit = (0..1024).filter(|nr| program.certain(*nr, arch.token) == Some(TRAP));
        let found = hit.next().unwrap_or_else(|| panic!("{name} is nowhere"));
        assert_eq!(hit.next(), None, "{name}");
        Some((name, found))
    };
    seccomp::calls().filter_map(number).collect()
}

fn action(name: &str, errno: Option<u32>) -> Value {
    let errno = errno.unwrap_or(1);
    match name {
        "SCMP_ACT_ALLOW" => json!("allow"),
        "SCMP_ACT_ERRNO" => json!({"errno": errno}),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => json!("kill_thread"),
        "SCMP_ACT_KILL_PROCESS" => json!("kill_process"),
        "SCMP_ACT_LOG" => json!("log"),
        "SCMP_ACT_TRACE" => json!({"trace": errno}),
        "SCMP_ACT_TRAP" => json!("trap"),
        other => panic!("{other}"),
    }
}

fn condition(arg: &SyscallArg) -> Value {
    let (op, value) = match arg.op.as_str() {
        "SCMP_CMP_MASKED_EQ" => (json!({"masked_eq": arg.value}), arg.value_two),
        other => (json!(other["SCMP_CMP_".len()..].to_lowercase()), arg.value),
    };
    json!({"index": arg.index, "type": "qword", "op": op, "val": value})
}

/// The profile in what seccompiler can say: one action besides the default, one
/// condition for an argument, calls that it knows.
fn cut(profile: &mut Seccomp, arch: &str, calls: &BTreeMap<&str, u32>, rest: (&str, Option<u32>)) {
    profile.architectures = vec![arch.into()];
    for rule in &mut profile.syscalls {
        rule.names = rule.names.iter().filter(|name| calls.contains_key(name)).collect();
        (rule.action, rule.errno_ret) = (rest.0.into(), rest.1);
        let mut seen = BTreeSet::new();
        rule.args.retain(|arg| seen.insert(arg.index));
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
}

/// What seccompiler makes of a profile that was cut.
fn theirs(profile: &Seccomp, target: TargetArch) -> Program {
    // Where a call has conditions it overlooks a rule without any.
    let free = profile.syscalls.iter().filter(|rule| rule.args.is_empty());
    let free: BTreeSet<&str> = free.flat_map(|rule| rule.names.iter()).collect();
    let rules = |rule: &SyscallRule| {
        let args: Vec<Value> = rule.args.iter().map(condition).collect();
        let named = rule.names.iter().filter(|name| args.is_empty() || !free.contains(name));
        let one = |name| match args.is_empty() {
            true => json!({"syscall": name}),
            false => json!({"syscall": name, "args": args}),
        };
        named.map(one).collect::<Vec<_>>()
    };
    let filter: Vec<Value> = profile.syscalls.iter().flat_map(rules).collect();
    let first = &profile.syscalls[0];
    let filter = json!({
        "mismatch_action": action(&profile.default_action, profile.default_errno_ret),
        "match_action": action(&first.action, first.errno_ret), "filter": filter,
    });
    program(&filter, target).unwrap()
}

/// Asks both for every number, and for those with rules about arguments with
/// values around the constants. How often.
fn compare(profile: &Seccomp, arch: &Arch, target: TargetArch) -> usize {
    let programs = [compile(profile).unwrap().program, theirs(profile, target)];
    let (default, top) = (default_verdict(profile), top(profile, arch).unwrap());
    let mut asked = 0;
    let mut ask = |nr: u32, args: [u64; 6]| {
        let [ours, theirs] = programs.each_ref().map(|code| code.verdict(nr, arch.token, args));
        // What is newer than the profile is ours alone, and so is x32.
        let newer = nr > top && ours == ENOSYS && theirs == default;
        let x32 = arch.name == "SCMP_ARCH_X86_64" && nr >= X32_BIT && theirs == default;
        asked += 1;
        assert!(
            ours == theirs || newer || x32,
            "{} {nr} {args:x?}: ours {ours:#x}, seccompiler {theirs:#x}\n{}",
            arch.name,
            brief(profile)
        );
    };
    for nr in numbers(arch) {
        ask(nr, [0; 6]);
        ask(nr, [u64::MAX; 6]);
    }
    let values = values(profile);
    let with_args = profile.syscalls.iter().filter(|rule| !rule.args.is_empty());
    let names: BTreeSet<&str> = with_args.flat_map(|rule| rule.names.iter()).collect();
    for nr in names.iter().filter_map(|name| arch.number(name)) {
        for (index, value) in (0..6).flat_map(|index| values.iter().map(move |v| (index, *v))) {
            for other in [0, 5] {
                let mut args = [other; 6];
                args[index] = value;
                ask(nr, args);
            }
        }
    }
    asked
}

#[test]
fn numbers_are_those_of_seccompiler() {
    for (name, target) in ARCHS {
        let arch = Arch::find(name).unwrap();
        let theirs = table(arch, target);
        let differing: Vec<_> =
            theirs.iter().filter(|(call, number)| arch.number(call) != Some(*number)).collect();
        assert!(differing.is_empty(), "{name}: {differing:?}");
        println!("{name}: {} numbers the same", theirs.len());
        assert!(theirs.len() > 300);
    }
}

#[test]
fn profiles_mean_what_seccompiler_makes_of_them() {
    let mut rng = Rng(0xf11e);
    for (name, target) in ARCHS {
        let arch = Arch::find(name).unwrap();
        let calls: BTreeMap<&str, u32> = table(arch, target).into_iter().collect();
        let listed: Vec<&str> = calls.keys().copied().collect();
        let (mut profiles, mut asked) = (0, 0);
        let allow = ("SCMP_ACT_ALLOW", None);
        let mut all: Vec<(Seccomp, (&str, Option<u32>))> = Vec::new();
        for json in [DOCKER, PODMAN] {
            let mut profile = parse(json);
            profile.syscalls.retain(|rule| rule.action == allow.0);
            all.push((profile, allow));
        }
        for _ in 0..40 {
            let action = rng.pick(&ACTIONS);
            all.push((random_long(&mut rng, &listed), action));
        }
        for _ in 0..400 {
            let action = rng.pick(&ACTIONS);
            all.push((random(&mut rng, &[action], 3), action));
        }
        for (mut profile, rest) in all {
            cut(&mut profile, name, &calls, rest);
            let other = action(&profile.default_action, profile.default_errno_ret);
            // They refuse a filter that answers the same to everything.
            if profile.syscalls.is_empty() || other == action(rest.0, rest.1) {
                continue;
            }
            profiles += 1;
            asked += compare(&profile, arch, target);
        }
        println!("{name}: {profiles} profiles, {asked} calls, each with the same verdict");
        assert!(profiles > 300);
    }
}
