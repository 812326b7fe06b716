//! The seccomp compiler against libseccomp: both make a program of the same
//! profile as runc would, and both programs are asked for their verdicts.
//!
//! libseccomp knows the calls of its own release only (2.5.4 of Debian 12: Linux
//! 5.17), so profiles are first cut to the calls on whose number both agree.
//! And against seccompiler, as far as that goes (`seccompiler`).

#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

mod compare;
mod errors;
mod figures;
mod kernel;
mod numbers;
mod oracle;
mod plain;
mod random;
#[path = "../rng.rs"]
mod rng;
mod seccompiler;

use compare::{Outcome, differ};
use oracle::{alone, known_archs};
use pinnace::security::seccomp::{self, Arch, ERRNO};
use pinnace::spec::{Seccomp, SyscallArg, SyscallRule};
use random::{ACTIONS, random, random_long};
use rng::Rng;

const X32_BIT: u32 = 0x4000_0000;
/// `__AUDIT_ARCH_LE` of linux/audit.h.
const LITTLE_ENDIAN: u32 = 0x4000_0000;
const ENOSYS: u32 = ERRNO | 38;
const DOCKER: &str = include_str!("../fixtures/seccomp/docker.json");
const PODMAN: &str = include_str!("../fixtures/seccomp/podman.json");

/// The filter, or all that is wrong in one line.
fn compile(profile: &Seccomp) -> Result<seccomp::Filter, pinnace::error::Error> {
    let mut findings = pinnace::plan::Findings::default();
    let filter = seccomp::compile(profile, &mut findings);
    findings.check(filter).map(Option::unwrap)
}

fn parse(json: &str) -> Seccomp {
    serde_json::from_str(json).unwrap()
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
            assert_eq!(differ(&profile, &archs), Some(Outcome::default()));
        }
        for arch in known_archs() {
            assert_eq!(differ(&profile, &alone(arch)), Some(Outcome::default()), "{}", arch.name);
        }
    }
    println!("architectures: {:?}", known_archs().iter().map(|arch| arch.name).collect::<Vec<_>>());
}

/// The rule that newer Docker profiles have for socket(2).
#[test]
fn long_lists_of_values_too() {
    let mut profile = parse(DOCKER);
    profile.syscalls.retain(|rule| !rule.names.iter().eq(["socket"]));
    let values =
        [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41];
    for (op, value) in
        [("SCMP_CMP_LT", 12)].into_iter().chain(values.map(|value| ("SCMP_CMP_EQ", value)))
    {
        profile.syscalls.push(SyscallRule {
            names: ["socket"].into_iter().collect(),
            action: "SCMP_ACT_ALLOW".into(),
            args: vec![SyscallArg { op: op.into(), value, ..SyscallArg::default() }],
            errno_ret: None,
        });
    }
    for name in ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"] {
        let arch = Arch::find(name).unwrap();
        assert_eq!(differ(&profile, &[arch]), Some(Outcome::default()), "{name}");
    }
}

#[test]
fn a_kept_filter_is_the_same_and_damage_is_seen() {
    let filter = compile(&parse(DOCKER)).unwrap();
    let bytes = filter.to_bytes().unwrap();
    let kept = seccomp::Filter::from_bytes(&bytes).unwrap();
    assert_eq!((&kept.program, kept.flags), (&filter.program, filter.flags));
    for length in [0, 3, 4, bytes.len() - 1] {
        assert!(seccomp::Filter::from_bytes(&bytes[..length]).is_none(), "{length}");
    }
}

#[test]
fn r228_numbers_are_those_of_libseccomp() {
    let (mut checked, mut differences) = (0, Vec::new());
    for arch in known_archs() {
        for name in seccomp::calls() {
            if let (Some(number @ 0..), Some(ours)) =
                (oracle::number(name, arch), arch.number(name))
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

#[test]
fn random_profiles_with_one_conditional_action() {
    let mut rng = Rng(0x5eed);
    let archs = known_archs();
    let (mut taken, mut decided) = (0, 0);
    for _ in 0..600 {
        let action = rng.pick(&ACTIONS);
        let profile = random(&mut rng, &[action], 3);
        if let Some(outcome) = differ(&profile, &alone(rng.pick(&archs))) {
            taken += 1;
            decided += usize::from(outcome.wrong > 0);
        }
    }
    println!("{taken} of 600 profiles taken by libseccomp, which errs in {decided}");
    assert!(taken > 300);
}

/// Every number of every call there is, on the architectures that engines list
/// together and on one by chance.
#[test]
fn random_long_profiles_for_every_number() {
    let mut rng = Rng(0xc0ffee);
    let all = known_archs();
    // libseccomp 2.5.4 knows its number on PPC and makes no rule of it.
    let calls = seccomp::calls().filter(|call| *call != "sys_debug_setcontext");
    let calls: Vec<&str> = calls.collect();
    let x86 = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
    let x86: Vec<&Arch> = x86.iter().map(|name| Arch::find(name).unwrap()).collect();
    let (mut taken, mut decided) = (0, 0);
    for turn in 0..120 {
        let profile = random_long(&mut rng, &calls);
        let archs = if turn % 2 == 0 { x86.clone() } else { alone(rng.pick(&all)) };
        if let Some(outcome) = differ(&profile, &archs) {
            taken += 1;
            decided += usize::from(outcome.wrong > 0);
        }
    }
    println!("{taken} of 120 profiles taken by libseccomp, which errs in {decided}");
    assert!(taken > 60);
}

/// Where rules of one call have several actions their order matters: ours must
/// be libseccomp's, and what we refuse it must refuse.
#[test]
fn random_profiles_with_several_conditional_actions() {
    let mut rng = Rng(0xbeef);
    let archs = known_archs();
    let (mut taken, mut wrong, mut order) = (0, 0, 0);
    for _ in 0..600 {
        let profile = random(&mut rng, &ACTIONS, 2);
        if let Some(outcome) = differ(&profile, &alone(rng.pick(&archs))) {
            taken += 1;
            wrong += usize::from(outcome.wrong > 0);
            order += usize::from(outcome.order > 0);
        }
    }
    println!(
        "{taken} of 600 profiles taken by libseccomp, which errs in {wrong}; another order in {order}"
    );
}
