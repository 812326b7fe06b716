//! What a profile says, read plainly.

use pinnace::security::seccomp::{ACTIONS, Arch, ERRNO, TRACE};
use pinnace::spec::{Seccomp, SyscallArg, SyscallRule};

/// A rule's conditions as they apply to a number, if the rule speaks of it: as
/// they are, or behind the multiplexer, where the first one is the call's code.
pub fn conditions(rule: &SyscallRule, arch: &Arch, nr: u32) -> Vec<Vec<SyscallArg>> {
    let twice = (0..6).any(|index| rule.args.iter().filter(|arg| arg.index == index).count() > 1);
    let alternatives: Vec<Vec<SyscallArg>> = match twice {
        true => rule.args.iter().map(|arg| vec![arg.clone()]).collect(),
        false => vec![rule.args.clone()],
    };
    let codes = [("socket", "socketcall", 1), ("bind", "socketcall", 2), ("semop", "ipc", 1)];
    let mut found = Vec::new();
    for name in rule.names.iter() {
        if arch.number(name) == Some(nr) {
            found.extend(alternatives.clone());
        }
        for (_, _, code) in
            codes.iter().filter(|(call, mux, _)| *call == name && is_mux(arch, mux, nr))
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
pub fn is_mux(arch: &Arch, mux: &str, nr: u32) -> bool {
    let has =
        ["X86", "MIPS", "MIPSEL", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "M68K", "SH", "SHEB"];
    has.contains(&&arch.name["SCMP_ARCH_".len()..])
        && nr == arch.number(mux).unwrap_or(arch.base + if mux == "ipc" { 117 } else { 102 })
}

/// What the profile says, read plainly: the answers of all rules that hold.
pub fn plain(profile: &Seccomp, arch: &Arch, nr: u32, args: [u64; 6]) -> Vec<u32> {
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
    let (mut always, mut sometimes) = (None, Vec::new());
    for rule in &profile.syscalls {
        let action = verdict(rule);
        for conditions in conditions(rule, arch, nr) {
            if action == default {
                continue;
            }
            if conditions.iter().all(empty) {
                always = always.or(Some(action));
            } else if conditions.iter().all(holds) {
                sometimes.push(action);
            }
        }
    }
    match always {
        Some(action) => vec![action],
        None if sometimes.is_empty() => vec![default],
        None => sometimes,
    }
}

pub const NARROW: [&str; 13] = [
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

/// An action with its errno, EPERM unless it is named.
pub fn default_verdict(profile: &Seccomp) -> u32 {
    let known = ACTIONS.iter().find(|(name, _)| *name == profile.default_action);
    match known.unwrap().1 {
        action @ (ERRNO | TRACE) => action | profile.default_errno_ret.unwrap_or(1),
        action => action,
    }
}
