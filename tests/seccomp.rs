//! The seccomp compiler against libseccomp: both make a program of the same
//! profile as runc would, and both programs are asked for their verdicts.
//!
//! libseccomp knows the calls of its own release only (2.5.4 of Debian 12: Linux
//! 5.17), so profiles are first cut to the calls on whose number both agree.

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
    get_syscall_from_name,
};
use pinnace::security::seccomp::{
    self, ARCHS, Arch, ERRNO, Filter, Handover, KILL_THREAD, Program, TRACE, compile,
};
use pinnace::spec::{Seccomp, SyscallArg, SyscallRule};
use pinnace::sys::seccomp::{self as sys, Instruction};
use std::os::fd::AsFd;

const X32_BIT: u32 = 0x4000_0000;
/// `__AUDIT_ARCH_LE` of linux/audit.h.
const LITTLE_ENDIAN: u32 = 0x4000_0000;
const ENOSYS: u32 = ERRNO | 38;
const DOCKER: &str = include_str!("fixtures/seccomp/docker.json");
const PODMAN: &str = include_str!("fixtures/seccomp/podman.json");

fn parse(json: &str) -> Seccomp {
    serde_json::from_str(json).unwrap()
}

fn scmp_arch(arch: &Arch) -> ScmpArch {
    arch.name.parse().unwrap()
}

fn scmp_action(name: &str, errno: Option<u32>) -> ScmpAction {
    let errno = errno.unwrap_or(1);
    match name {
        "SCMP_ACT_ALLOW" => ScmpAction::Allow,
        "SCMP_ACT_ERRNO" => ScmpAction::Errno(errno.try_into().unwrap()),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => ScmpAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => ScmpAction::KillProcess,
        "SCMP_ACT_LOG" => ScmpAction::Log,
        "SCMP_ACT_TRACE" => ScmpAction::Trace(errno.try_into().unwrap()),
        "SCMP_ACT_TRAP" => ScmpAction::Trap,
        other => panic!("{other}"),
    }
}

fn scmp_compare(arg: &SyscallArg) -> ScmpArgCompare {
    let (op, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (ScmpCompareOp::NotEqual, arg.value),
        "SCMP_CMP_LT" => (ScmpCompareOp::Less, arg.value),
        "SCMP_CMP_LE" => (ScmpCompareOp::LessOrEqual, arg.value),
        "SCMP_CMP_EQ" => (ScmpCompareOp::Equal, arg.value),
        "SCMP_CMP_GE" => (ScmpCompareOp::GreaterEqual, arg.value),
        "SCMP_CMP_GT" => (ScmpCompareOp::Greater, arg.value),
        "SCMP_CMP_MASKED_EQ" => (ScmpCompareOp::MaskedEqual(arg.value), arg.value_two),
        other => panic!("{other}"),
    };
    ScmpArgCompare::new(arg.index, op, value)
}

/// What runc does with libseccomp, for the architectures given. `None`: refused.
fn oracle(profile: &Seccomp, archs: &[&Arch]) -> Option<Program> {
    let default = scmp_action(&profile.default_action, profile.default_errno_ret);
    let mut filter = ScmpFilterContext::new(default).unwrap();
    if !archs.contains(&Arch::native()) {
        filter.remove_arch(ScmpArch::Native).unwrap();
    }
    for arch in archs {
        filter.add_arch(scmp_arch(arch)).ok()?;
    }
    for rule in &profile.syscalls {
        let action = scmp_action(&rule.action, rule.errno_ret);
        if action == default {
            continue;
        }
        let twice =
            (0..6).any(|index| rule.args.iter().filter(|arg| arg.index == index).count() > 1);
        let compare: Vec<ScmpArgCompare> = rule.args.iter().map(scmp_compare).collect();
        for name in &rule.names {
            let call = ScmpSyscall::from_name(name).unwrap();
            if twice {
                for one in &compare {
                    filter.add_rule_conditional(action, call, &[*one]).ok()?;
                }
            } else {
                filter.add_rule_conditional(action, call, &compare).ok()?;
            }
        }
    }
    let memory = rustix::fs::memfd_create("bpf", rustix::fs::MemfdFlags::empty()).unwrap();
    filter.export_bpf(memory.as_fd()).unwrap();
    // libseccomp writes the target's byte order; a filter's architectures share it.
    let little = archs[0].token & LITTLE_ENDIAN != 0;
    let mut bytes = [0; 65536];
    let len = rustix::io::pread(&memory, &mut bytes, 0).unwrap();
    let instructions = bytes[..len].chunks(8).map(|b| {
        let (code, k) = ([b[0], b[1]], [b[4], b[5], b[6], b[7]]);
        let code = if little { u16::from_le_bytes(code) } else { u16::from_be_bytes(code) };
        // But the operands of returns (6) it leaves in ours now and then.
        let swapped = !little && (code != 6 || is_answer(u32::from_be_bytes(k)));
        let k = if swapped { u32::from_be_bytes(k) } else { u32::from_le_bytes(k) };
        Instruction { code, jt: b[2], jf: b[3], k }
    });
    Some(Program { instructions: instructions.collect() })
}

fn is_answer(k: u32) -> bool {
    let known = seccomp::ACTIONS.iter().any(|(_, action)| *action == k & seccomp::ACTION_MASK);
    k == KILL_THREAD || (k >> 16 != 0 && known)
}

/// Whether libseccomp gives the call the number that we give it. Numbers below
/// 0 stand for "not here", or for a call that socketcall or ipc carries, too.
fn agreed(name: &str, arch: &Arch) -> bool {
    let scmp = scmp_arch(arch);
    let Ok(number) = get_syscall_from_name(name, Some(scmp)) else { return false };
    let ours = arch.number(name);
    if number >= 0 {
        return ours == u32::try_from(number).ok();
    }
    let raw = ScmpSyscall::from_name_by_arch_rewrite(name, scmp).map(i32::from);
    // A multiplexed call: whether it also has a number is to be seen in the filter.
    ours.is_none() || raw.is_ok_and(|raw| raw >= 0)
}

/// The profile without the calls on which libseccomp is ignorant or of another opinion.
fn cut(profile: &Seccomp, archs: &[&Arch]) -> Seccomp {
    let mut profile = profile.clone();
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| {
            ScmpSyscall::from_name(name).is_ok() && archs.iter().all(|arch| agreed(name, arch))
        });
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    profile.architectures = archs.iter().map(|arch| arch.name.into()).collect();
    profile
}

/// Every number of the arch's table, some beyond, and some that nobody uses.
fn numbers(arch: &Arch) -> impl Iterator<Item = u32> {
    let around =
        [0, 1, 4000, 0xf_0005, X32_BIT - 1, X32_BIT, X32_BIT + 1, 2 * X32_BIT, 3 * X32_BIT];
    (arch.base..arch.base + 620).chain(around).chain([0xffff_fffe, u32::MAX])
}

/// Values around each constant of the profile, in either half.
fn values(profile: &Seccomp) -> Vec<u64> {
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
fn is_enosys_for_new(ours: u32, theirs: u32, default: u32, nr: u32, top: Option<u32>) -> bool {
    let nobodys = nr >> 30 == 2 && theirs == KILL_THREAD;
    ours == ENOSYS && (theirs == default || nobodys) && top.is_some_and(|top| nr > top)
}

/// The highest number that the profile names.
fn top(profile: &Seccomp, arch: &Arch) -> Option<u32> {
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    names.filter_map(|name| arch.number(name)).filter(|nr| nr - arch.base < 0xf000).max()
}

/// A rule's conditions as they apply to a number, if the rule speaks of it: as
/// they are, or behind the multiplexer, where the first one is the call's code.
fn conditions(rule: &SyscallRule, arch: &Arch, nr: u32) -> Vec<Vec<SyscallArg>> {
    let twice = (0..6).any(|index| rule.args.iter().filter(|arg| arg.index == index).count() > 1);
    let alternatives: Vec<Vec<SyscallArg>> = match twice {
        true => rule.args.iter().map(|arg| vec![arg.clone()]).collect(),
        false => vec![rule.args.clone()],
    };
    let codes = [("socket", "socketcall", 1), ("bind", "socketcall", 2), ("semop", "ipc", 1)];
    let mut found = Vec::new();
    for name in &rule.names {
        if arch.number(name) == Some(nr) {
            found.extend(alternatives.clone());
        }
        for (_, _, code) in
            codes.iter().filter(|(call, mux, _)| call == name && is_mux(arch, mux, nr))
        {
            let first =
                SyscallArg { op: "SCMP_CMP_EQ".into(), value: *code, ..SyscallArg::default() };
            for rest in &alternatives {
                let rest = rest.iter().filter(|arg| arg.index != 0).cloned();
                found.push(std::iter::once(first.clone()).chain(rest).collect());
            }
        }
    }
    found
}

/// mips64n32 and parisc list an ipc that never carried anything.
fn is_mux(arch: &Arch, mux: &str, nr: u32) -> bool {
    let has =
        ["X86", "MIPS", "MIPSEL", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "M68K", "SH", "SHEB"];
    has.contains(&&arch.name["SCMP_ARCH_".len()..])
        && nr == arch.number(mux).unwrap_or(arch.base + if mux == "ipc" { 117 } else { 102 })
}

/// What the profile says, read plainly: for a call whose conditional rules all
/// have one action, so that their order does not matter.
fn plain(profile: &Seccomp, arch: &Arch, nr: u32, args: [u64; 6]) -> u32 {
    let wide = !NARROW.contains(&arch.name);
    let verdict = |rule: &SyscallRule| {
        let (action, errno) = (&rule.action, rule.errno_ret);
        default_verdict(&Seccomp {
            default_action: action.clone(),
            default_errno_ret: errno,
            ..Seccomp::default()
        })
    };
    let half = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let holds = |arg: &SyscallArg| {
        let (asked, value) = (half(args[arg.index as usize]), half(arg.value));
        match arg.op.as_str() {
            "SCMP_CMP_NE" => asked != value,
            "SCMP_CMP_LT" => asked < value,
            "SCMP_CMP_LE" => asked <= value,
            "SCMP_CMP_EQ" => asked == value,
            "SCMP_CMP_GE" => asked >= value,
            "SCMP_CMP_GT" => asked > value,
            _ => asked & value == half(arg.value_two) & value,
        }
    };
    let empty = |arg: &SyscallArg| arg.op == "SCMP_CMP_MASKED_EQ" && half(arg.value) == 0;
    let default = default_verdict(profile);
    let (mut always, mut sometimes) = (None, None);
    for rule in &profile.syscalls {
        let action = verdict(rule);
        for conditions in conditions(rule, arch, nr) {
            if action == default {
                continue;
            }
            if conditions.iter().all(empty) {
                always = always.or(Some(action));
            } else if conditions.iter().all(holds) {
                sometimes = Some(action);
            }
        }
    }
    always.or(sometimes).unwrap_or(default)
}

const NARROW: [&str; 13] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

/// libseccomp merges the rules of a call into one tree, and gets it wrong when
/// comparisons other than EQ meet others there. And in some small filters it forgets
/// to load the number. Then the plain reading decides.
fn libseccomp_may_err(case: &Case<'_>, nr: u32, arch: &Arch) -> bool {
    let profile = case.profile;
    let loads_number = |i: &Instruction| i.code == 0x20 && i.k == 0;
    let tricky =
        |arg: &SyscallArg| ["LT", "LE", "GT", "GE", "NE"].iter().any(|op| arg.op.ends_with(op));
    let args = profile.syscalls.iter().flat_map(|rule| conditions(rule, arch, nr)).flatten();
    let args: Vec<SyscallArg> = args.collect();
    !case.theirs.instructions.iter().any(loads_number)
        || (args.len() > 1 && args.iter().any(tricky))
}

struct Case<'a> {
    profile: &'a Seccomp,
    archs: &'a [&'a Arch],
    ours: Program,
    theirs: Program,
}

/// Asks both programs; the profile's calls with arguments, the others without.
/// Returns how often the plain reading had to decide.
fn compare(case: &Case<'_>) -> usize {
    let decided = std::cell::Cell::new(0);
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
            if ours != theirs
                && libseccomp_may_err(case, nr, arch)
                && ours == plain(profile, arch, nr, args)
            {
                decided.set(decided.get() + 1);
                return;
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
        let mut names: Vec<&str> =
            with_args.flat_map(|rule| &rule.names).map(String::as_str).collect();
        names.extend(["socketcall", "ipc"]);
        for nr in names.iter().filter_map(|name| arch.number(name)) {
            for (index, value) in
                (0..6).flat_map(|index| values.iter().map(move |value| (index, *value)))
            {
                for other in [0, 1, 5, values[values.len() / 2]] {
                    let mut args = [other; 6];
                    args[index] = value;
                    ask(nr, args);
                }
            }
        }
    }
    decided.get()
}

/// A profile in a few lines, for messages.
fn brief(profile: &Seccomp) -> String {
    let rules = profile.syscalls.iter().map(|rule| {
        let args: Vec<String> = rule
            .args
            .iter()
            .map(|arg| format!("{} {} {:#x} {:#x}", arg.index, arg.op, arg.value, arg.value_two))
            .collect();
        let names = &rule.names[..rule.names.len().min(4)];
        format!("{} {:?} {names:?} {args:?}\n", rule.action, rule.errno_ret)
    });
    format!(
        "default {} {:?}\n{}",
        profile.default_action,
        profile.default_errno_ret,
        rules.collect::<String>()
    )
}

fn default_verdict(profile: &Seccomp) -> u32 {
    let json = format!(
        r#"{{"defaultAction":"{}","defaultErrnoRet":{}}}"#,
        profile.default_action,
        profile.default_errno_ret.map_or("null".into(), |errno| errno.to_string())
    );
    compile(&parse(&json)).unwrap().verdict_of(0).unwrap()
}

/// A filter for one architecture; x32 comes with the native one.
fn alone(arch: &'static Arch) -> Vec<&'static Arch> {
    if arch.token == Arch::native().token && arch != Arch::native() {
        vec![Arch::native(), arch]
    } else {
        vec![arch]
    }
}

/// Compiles both ways and compares. Whether libseccomp took the profile.
fn differ(profile: &Seccomp, archs: &[&Arch]) -> Option<usize> {
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

fn known_archs() -> Vec<&'static Arch> {
    let known = |arch: &&Arch| {
        let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
        filter.remove_arch(ScmpArch::Native).unwrap();
        filter.add_arch(scmp_arch(arch)).is_ok()
    };
    ARCHS.iter().filter(known).collect()
}

#[test]
fn engines_profiles_mean_what_libseccomp_makes_of_them() {
    let find = |names: &[&str]| -> Vec<&Arch> {
        names.iter().map(|name| Arch::find(name).unwrap()).collect()
    };
    for json in [DOCKER, PODMAN] {
        let profile = parse(json);
        for archs in [
            find(&["SCMP_ARCH_X86_64"]),
            find(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
            find(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
            find(&["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_RISCV64"]),
        ] {
            assert_eq!(differ(&profile, &archs), Some(0));
        }
        for arch in known_archs() {
            assert_eq!(differ(&profile, &alone(arch)), Some(0), "{}", arch.name);
        }
    }
    println!("architectures: {:?}", known_archs().iter().map(|arch| arch.name).collect::<Vec<_>>());
}

/// The rule that newer Docker profiles have for socket(2).
#[test]
fn long_lists_of_values_too() {
    let mut profile = parse(DOCKER);
    profile.syscalls.retain(|rule| rule.names != ["socket"]);
    let values =
        [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41];
    for (op, value) in
        [("SCMP_CMP_LT", 12)].into_iter().chain(values.map(|value| ("SCMP_CMP_EQ", value)))
    {
        profile.syscalls.push(SyscallRule {
            names: vec!["socket".into()],
            action: "SCMP_ACT_ALLOW".into(),
            args: vec![SyscallArg { op: op.into(), value, ..SyscallArg::default() }],
            errno_ret: None,
        });
    }
    for arch in known_archs() {
        assert_eq!(differ(&profile, &alone(arch)), Some(0), "{}", arch.name);
    }
}

#[test]
fn numbers_are_those_of_libseccomp() {
    let (mut checked, mut differences) = (0, Vec::new());
    for arch in known_archs() {
        for name in seccomp::calls() {
            if let (Ok(number @ 0..), Some(ours)) =
                (get_syscall_from_name(name, Some(scmp_arch(arch))), arch.number(name))
            {
                checked += 1;
                if ours != u32::try_from(number).unwrap() {
                    differences.push(format!("{} {name}: {ours}, libseccomp {number}", arch.name));
                }
            }
        }
    }
    println!("{checked} numbers the same; {differences:#?}");
    assert!(checked > 5000);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// xorshift64*: tests that need no seed from outside repeat exactly.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }
}

const ACTIONS: [(&str, Option<u32>); 9] = [
    ("SCMP_ACT_ALLOW", None),
    ("SCMP_ACT_ERRNO", None),
    ("SCMP_ACT_ERRNO", Some(5)),
    ("SCMP_ACT_KILL", None),
    ("SCMP_ACT_KILL_PROCESS", None),
    ("SCMP_ACT_TRAP", None),
    ("SCMP_ACT_TRACE", Some(9)),
    ("SCMP_ACT_TRACE", None),
    ("SCMP_ACT_LOG", None),
];
const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];
const VALUES: [u64; 12] = [
    0,
    1,
    2,
    5,
    0x10,
    0x7e02_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0x5_0000_0000,
    u64::MAX,
];

/// `actions`: how many different ones a profile's conditional rules have.
fn random(dice: &mut Dice, conditional: &[(&str, Option<u32>)], most_args: u64) -> Seccomp {
    let calls = [
        "read",
        "write",
        "socket",
        "bind",
        "semop",
        "personality",
        "clone",
        "kill",
        "mmap",
        "futex",
    ];
    let (default_action, default_errno_ret) = dice.pick(&ACTIONS);
    let mut profile =
        Seccomp { default_action: default_action.into(), default_errno_ret, ..Seccomp::default() };
    for _ in 0..1 + dice.roll(8) {
        let args: Vec<SyscallArg> = (0..dice.roll(most_args + 1))
            .map(|_| SyscallArg {
                index: u32::try_from(dice.roll(3)).unwrap(),
                value: dice.pick(&VALUES),
                value_two: dice.pick(&VALUES),
                op: dice.pick(&OPERATORS).into(),
            })
            .collect();
        let names: Vec<String> = (0..1 + dice.roll(3)).map(|_| dice.pick(&calls).into()).collect();
        // Behind a multiplexer every rule is conditional.
        let conditional_too =
            ["socket", "bind", "semop"].iter().any(|mux| names.contains(&(*mux).into()));
        let free = args.is_empty() && !conditional_too;
        let (action, errno_ret) = dice.pick(if free { &ACTIONS } else { conditional });
        profile.syscalls.push(SyscallRule { names, action: action.into(), errno_ret, args });
    }
    profile
}

#[test]
fn random_profiles_with_one_conditional_action() {
    let mut dice = Dice(0x5eed);
    let archs = known_archs();
    let (mut taken, mut decided) = (0, 0);
    for _ in 0..600 {
        let action = dice.pick(&ACTIONS);
        let profile = random(&mut dice, &[action], 3);
        if let Some(by_reading) = differ(&profile, &alone(dice.pick(&archs))) {
            taken += 1;
            decided += usize::from(by_reading > 0);
        }
    }
    println!("{taken} of 600 profiles taken by libseccomp, which errs in {decided}");
    assert!(taken > 300);
}
