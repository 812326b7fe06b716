//! Numbers that the profile does not name: newer calls, x32, other architectures.

use crate::{DOCKER, ENOSYS, PODMAN, X32_BIT, compile, parse};
use pinnace::security::seccomp::{ALLOW, ARCHS, Arch, ERRNO, KILL_THREAD, Program, TRAP};

const X86_64: u32 = 0xc000_003e;

fn program(json: &str) -> Program {
    compile(&parse(json)).unwrap().program
}

/// runc's `patchbpf`: a program that tries a new call must be able to fall back.
#[test]
fn r244_r457_calls_newer_than_the_profile_fail_with_enosys() {
    for (default, newer) in [
        ("SCMP_ACT_ERRNO", ENOSYS),
        ("SCMP_ACT_KILL", ENOSYS),
        ("SCMP_ACT_KILL_PROCESS", ENOSYS),
        ("SCMP_ACT_TRAP", ENOSYS),
        ("SCMP_ACT_ALLOW", ALLOW),
    ] {
        // A rule with the default action answers nothing, but shows what is known.
        let program = program(&format!(
            r#"{{"defaultAction":"{default}","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_AARCH64","SCMP_ARCH_S390X"],
                "syscalls":[{{"names":["read","openat2"],"action":"SCMP_ACT_LOG"}},
                            {{"names":["faccessat2"],"action":"{default}"}}]}}"#
        ));
        for name in ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X"] {
            let arch = Arch::find(name).unwrap();
            let ask = |nr| program.certain(nr, arch.token);
            let top = arch.number("faccessat2").unwrap();
            let default = ask(top);
            assert_ne!(default, Some(ENOSYS));
            assert_eq!(ask(top - 1), default, "{default:?} {name}");
            assert_eq!(ask(top + 1), Some(newer), "{default:?} {name}");
            assert_eq!(ask(X32_BIT - 1), Some(newer));
        }
        let s390x = Arch::find("SCMP_ARCH_S390X").unwrap().token;
        assert_eq!(program.certain(0, s390x), Some(newer), "call 0 of s390x is a number too large");
    }
}

#[test]
fn arm_private_calls_do_not_hide_newer_ones() {
    let program = program(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_ARM"],
            "syscalls":[{"names":["read","set_tls"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let arch = Arch::find("SCMP_ARCH_ARM").unwrap();
    let ask = |nr| program.certain(nr, arch.token);
    assert_eq!(ask(arch.number("set_tls").unwrap()), Some(ALLOW));
    assert_eq!(ask(arch.number("get_tls").unwrap()), Some(ERRNO | 1));
    assert_eq!(ask(arch.number("openat2").unwrap()), Some(ENOSYS));
}

#[test]
fn x32_is_a_bad_architecture_unless_listed() {
    let json = |archs: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_TRAP","architectures":[{archs}],
                "syscalls":[{{"names":["read","kill"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        )
    };
    let only = program(&json(r#""SCMP_ARCH_X86_64""#));
    let both = program(&json(r#""SCMP_ARCH_X86_64","SCMP_ARCH_X32""#));
    for (nr, without, with) in [
        (0, ALLOW, ALLOW),
        (1, TRAP, TRAP),
        (63, ENOSYS, ENOSYS),
        (X32_BIT - 1, ENOSYS, ENOSYS),
        (X32_BIT, KILL_THREAD, ALLOW),
        (X32_BIT + 1, KILL_THREAD, TRAP),
        (X32_BIT + 63, KILL_THREAD, ENOSYS),
        (2 * X32_BIT, ENOSYS, ENOSYS),
        (3 * X32_BIT, KILL_THREAD, ENOSYS),
        // A tracer's way to skip a call.
        (u32::MAX, TRAP, ENOSYS),
    ] {
        assert_eq!(only.certain(nr, X86_64), Some(without), "{nr:#x}, x86_64 only");
        assert_eq!(both.certain(nr, X86_64), Some(with), "{nr:#x}, x86_64 and x32");
    }
}

#[test]
fn an_architecture_means_the_same_alone_and_among_all() {
    for json in [DOCKER, PODMAN] {
        let mut profile = parse(json);
        profile.architectures = ARCHS.iter().map(|arch| arch.name.into()).collect();
        let all = compile(&profile).unwrap().program;
        for arch in &ARCHS {
            let x32 = Arch::find("SCMP_ARCH_X32").unwrap();
            let names = if arch.token == x32.token { vec![arch, x32] } else { vec![arch] };
            profile.architectures = names.iter().map(|arch| arch.name.into()).collect();
            let alone = compile(&profile).unwrap().program;
            for nr in (arch.base..arch.base + 600).chain([0, 1, 0xf_0005, X32_BIT, u32::MAX]) {
                for args in [[0; 6], [1; 6], [40; 6], [u64::MAX; 6], [0x1_0000_0000; 6], [8; 6]] {
                    let verdicts =
                        [&all, &alone].map(|program| program.verdict(nr, arch.token, args));
                    assert_eq!(verdicts[0], verdicts[1], "{} {nr} {args:x?}", arch.name);
                }
            }
        }
        assert_eq!(all.certain(0, 0xdead_beef), Some(KILL_THREAD), "an unknown architecture");
    }
}
