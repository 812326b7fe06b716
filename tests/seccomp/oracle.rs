//! What runc does with libseccomp.

use crate::LITTLE_ENDIAN;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use pinnace::security::seccomp::{self, ARCHS, Arch, KILL_THREAD, Program};
use pinnace::spec::{Seccomp, SyscallArg};
use pinnace::sys::seccomp::Instruction;
use std::os::fd::AsFd;

/// libseccomp's number of a call: below 0 if only a multiplexer or nobody has it.
pub fn number(name: &str, arch: &Arch) -> Option<i32> {
    ScmpSyscall::from_name_by_arch(name, scmp_arch(arch)).ok().map(i32::from)
}

pub fn scmp_arch(arch: &Arch) -> ScmpArch {
    arch.name.parse().unwrap()
}

pub fn scmp_action(name: &str, errno: Option<u32>) -> ScmpAction {
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

pub fn scmp_compare(arg: &SyscallArg) -> ScmpArgCompare {
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
pub fn oracle(profile: &Seccomp, archs: &[&Arch]) -> Option<Program> {
    let default = scmp_action(&profile.default_action, profile.default_errno_ret);
    let mut filter = ScmpFilterContext::new(default).unwrap();
    if !archs.contains(&Arch::native()) {
        filter.remove_arch(ScmpArch::Native).unwrap();
    }
    for arch in archs {
        filter.add_arch(scmp_arch(arch)).ok()?;
    }
    let calls: usize = profile.syscalls.iter().map(|rule| rule.names.iter().len()).sum();
    if calls > 32 {
        filter.set_ctl_optimize(2).unwrap(); // a tree, as runc asks for
    }
    for rule in &profile.syscalls {
        let action = scmp_action(&rule.action, rule.errno_ret);
        if action == default {
            continue;
        }
        let twice =
            (0..6).any(|index| rule.args.iter().filter(|arg| arg.index == index).count() > 1);
        let compare: Vec<ScmpArgCompare> = rule.args.iter().map(scmp_compare).collect();
        for name in rule.names.iter() {
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

pub fn is_answer(k: u32) -> bool {
    let known = seccomp::ACTIONS.iter().any(|(_, action)| *action == k & seccomp::ACTION_MASK);
    k == KILL_THREAD || (k >> 16 != 0 && known)
}

/// Whether libseccomp gives the call the number that we give it. Numbers below
/// 0 stand for "not here", or for a call that socketcall or ipc carries, too.
pub fn agreed(name: &str, arch: &Arch) -> bool {
    let scmp = scmp_arch(arch);
    let Some(number) = number(name, arch) else { return false };
    let ours = arch.number(name);
    if number >= 0 {
        return ours == u32::try_from(number).ok();
    }
    let raw = ScmpSyscall::from_name_by_arch_rewrite(name, scmp).map(i32::from);
    // A multiplexed call: whether it also has a number is to be seen in the filter.
    ours.is_none() || raw.is_ok_and(|raw| raw >= 0)
}

/// The profile without the calls on which libseccomp is ignorant or of another opinion.
pub fn cut(profile: &Seccomp, archs: &[&Arch]) -> Seccomp {
    let mut profile = profile.clone();
    for rule in &mut profile.syscalls {
        let known = |name: &&str| {
            ScmpSyscall::from_name(name).is_ok() && archs.iter().all(|arch| agreed(name, arch))
        };
        rule.names = rule.names.iter().filter(known).collect();
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    profile.architectures = archs.iter().map(|arch| arch.name.into()).collect();
    profile
}

/// A filter for one architecture; x32 comes with the native one.
pub fn alone(arch: &'static Arch) -> Vec<&'static Arch> {
    if arch.token == Arch::native().token && arch != Arch::native() {
        vec![Arch::native(), arch]
    } else {
        vec![arch]
    }
}

pub fn known_archs() -> Vec<&'static Arch> {
    let known = |arch: &&Arch| {
        let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
        filter.remove_arch(ScmpArch::Native).unwrap();
        filter.add_arch(scmp_arch(arch)).is_ok()
    };
    ARCHS.iter().filter(known).collect()
}
