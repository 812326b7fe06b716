//! A profile to a filter: what that answers is what the rules say, read plainly.
//! The interpreter here is not the compiler's own.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pinnace::plan::Findings;
use pinnace::security::seccomp::{self, Arch, Filter};
use pinnace::spec::Seccomp;
use pinnace_fuzz::{Rng, mutate_json, told};

#[path = "../../../tests/seccomp/plain.rs"]
mod plain;

/// As tests/seccomp has it, for `plain`.
fn compile(profile: &Seccomp) -> Result<Filter, pinnace::error::Error> {
    let mut findings = Findings::default();
    let filter = seccomp::compile(profile, &mut findings);
    findings
        .check(filter)
        .map(|filter| filter.unwrap_or_else(|| panic!("neither filter nor error")))
}

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    mutate_json(data, size, most, seed)
});

fuzz_target!(|data: &[u8]| {
    let Ok(profile) = pinnace::spec::parse::<Seccomp>("seccomp", data) else { return };
    let filter = match compile(&profile) {
        Ok(filter) => filter,
        Err(error) => return told(&error.to_string()),
    };
    well_formed(&filter);
    if let Some(bytes) = filter.to_bytes() {
        let kept = Filter::from_bytes(&bytes);
        assert_eq!(kept.map(|kept| kept.program), Some(filter.program.clone()));
    }
    let mut archs = vec![Arch::native()];
    archs.extend(profile.architectures.iter().filter_map(|name| Arch::find(name)));
    let values: Vec<u64> = profile
        .syscalls
        .iter()
        .flat_map(|rule| &rule.args)
        .flat_map(|arg| {
            [arg.value, arg.value_two, arg.value.wrapping_add(1), arg.value.wrapping_sub(1)]
        })
        .chain([0, 1, u64::MAX, 1 << 32])
        .collect();
    let mut rng =
        Rng::new(data.len() as u32 * 77 + data.iter().map(|b| u32::from(*b)).sum::<u32>());
    for arch in archs.into_iter().take(4) {
        let calls: Vec<u32> = profile
            .syscalls
            .iter()
            .flat_map(|rule| rule.names.iter())
            .filter_map(|name| arch.number(name))
            .collect();
        for _ in 0..40.min(calls.len()) {
            let nr = rng.pick(&calls);
            let args = [(); 6].map(|()| rng.pick(&values));
            ask(&filter, &profile, arch, nr, args);
        }
    }
});

fn ask(filter: &Filter, profile: &Seccomp, arch: &Arch, nr: u32, args: [u64; 6]) {
    let got = interpret(filter, nr, arch.token, args);
    assert_eq!(got, filter.program.verdict(nr, arch.token, args), "two interpreters");
    // Multiplexers and the number that stands for those of s390 are tests/seccomp's.
    let mux = ["socketcall", "ipc"].iter().any(|call| plain::is_mux(arch, call, nr));
    if mux || (arch.name.contains("S390") && nr == 0) {
        return;
    }
    let wanted = plain::plain(profile, arch, nr, args);
    assert!(
        wanted.contains(&got),
        "{} {nr} {args:x?}: {got:x}, the rules say {wanted:x?}",
        arch.name
    );
}

/// What the kernel checks (seccomp_check_filter, bpf_check_classic).
fn well_formed(filter: &Filter) {
    let code = &filter.program.instructions;
    assert!((1..=4096).contains(&code.len()));
    for (at, instruction) in code.iter().enumerate() {
        let left = code.len() - at - 1;
        match instruction.code & 7 {
            5 if instruction.code == 5 => assert!((instruction.k as usize) < left),
            5 => assert!(usize::from(instruction.jt.max(instruction.jf)) < left),
            0 => assert!(instruction.k % 4 == 0 && instruction.k < 64),
            _ => {}
        }
    }
    assert_eq!(code.last().map(|last| last.code), Some(6));
}

fn interpret(filter: &Filter, nr: u32, arch: u32, args: [u64; 6]) -> u32 {
    let mut data = [0_u8; 64];
    let little = arch & 0x4000_0000 != 0;
    let number = |value: u32| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    data[..4].copy_from_slice(&number(nr));
    data[4..8].copy_from_slice(&number(arch));
    for (place, arg) in data[16..].chunks_mut(8).zip(args) {
        place.copy_from_slice(&if little { arg.to_le_bytes() } else { arg.to_be_bytes() });
    }
    let (mut a, mut pc) = (0_u32, 0);
    loop {
        let instruction = &filter.program.instructions[pc];
        let k = instruction.k;
        pc += 1;
        let holds = match instruction.code {
            0x06 => return k,
            0x20 => {
                let at = k as usize;
                let word = [data[at], data[at + 1], data[at + 2], data[at + 3]];
                a = if little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) };
                continue;
            }
            0x54 => {
                a &= k;
                continue;
            }
            0x05 => {
                pc += k as usize;
                continue;
            }
            0x15 => a == k,
            0x25 => a > k,
            0x35 => a >= k,
            0x45 => a & k != 0,
            code => panic!("operation {code:x}"),
        };
        pc += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
}
