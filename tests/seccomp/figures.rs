//! Length and time, ours and libseccomp's:
//! `cargo test --release --test seccomp -- --ignored --nocapture figures`

use crate::oracle::{cut, oracle};
use crate::{DOCKER, PODMAN, compile, parse};
use pinnace::security::seccomp::{ARCHS, Arch, Program};
use pinnace::sys::seccomp as sys;
use std::time::{Duration, Instant};

/// The best of many runs: others share the machine.
fn best(times: usize, mut run: impl FnMut()) -> Duration {
    let mut taken: Vec<Duration> = (0..times)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    taken.sort();
    taken[0]
}

/// Each filter on a thread of its own: filters add up, and the kernel runs all.
fn install(program: &Program) -> Duration {
    let mut taken: Vec<Duration> = (0..101)
        .map(|_| {
            let instructions = program.instructions.clone();
            let thread = std::thread::spawn(move || {
                rustix::thread::set_no_new_privs(true).unwrap();
                let start = Instant::now();
                sys::load(&instructions, sys::FLAG_SPEC_ALLOW).unwrap();
                start.elapsed()
            });
            thread.join().unwrap()
        })
        .collect();
    taken.sort();
    taken[0]
}

#[test]
#[ignore = "prints figures; run it alone and in release"]
fn figures() {
    let three = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
    let all: Vec<&str> = ARCHS.iter().map(|arch| arch.name).collect();
    for (name, json) in [("docker", DOCKER), ("podman", PODMAN)] {
        for archs in [&three[..1], &three[..], &all[..]] {
            let mut profile = parse(json);
            profile.architectures = archs.iter().map(|name| (*name).into()).collect();
            let program = compile(&profile).unwrap().program;
            let time = best(2001, || drop(compile(&profile)));
            println!(
                "{name}, {} architectures: {} instructions, compile {time:?}, install {:?}",
                archs.len(),
                program.instructions.len(),
                install(&program)
            );
            if archs.len() <= 3 {
                let archs: Vec<&Arch> =
                    archs.iter().map(|name| Arch::find(name).unwrap()).collect();
                let profile = cut(&profile, &archs);
                let program = oracle(&profile, &archs).unwrap();
                let time = best(21, || drop(oracle(&profile, &archs)));
                println!(
                    "  libseccomp: {} instructions, compile {time:?}, install {:?}",
                    program.instructions.len(),
                    install(&program)
                );
            }
        }
    }
}
