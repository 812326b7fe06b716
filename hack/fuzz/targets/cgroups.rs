//! Paths of cgroups, names of units, limits in systemd's words, files of the kernel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinnace::cgroup::{Cgroup, SubPath};
use pinnace::spec::{Cpu, Memory, Resources};
use pinnace_fuzz::told;
use std::collections::BTreeMap;

fuzz_target!(|text: &str| {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    if let Err(error) = SubPath::parse(first) {
        told(&error.to_string());
    }
    let number = |at: usize| rest.split(' ').nth(at).and_then(|word| word.parse::<i64>().ok());
    let cpu = Cpu {
        cpus: Some(rest.to_owned()),
        quota: number(0),
        period: number(1).map(i64::unsigned_abs),
        shares: number(2).map(i64::unsigned_abs),
        ..Cpu::default()
    };
    let memory =
        Memory { limit: number(0), swap: number(1), reservation: number(2), ..Memory::default() };
    let unified = BTreeMap::from([("memory.high".to_owned(), rest.to_owned())]);
    let resources =
        Resources { cpu: Some(cpu), memory: Some(memory), unified, ..Resources::default() };
    for user in [false, true] {
        let planned = Cgroup::locate_unit(Some(first), "id", user, &resources, &BTreeMap::new());
        if let Err(error) = planned {
            told(&error.to_string());
        }
    }
    if !first.contains('\0') {
        if let Err(error) = Cgroup::locate(Some(first), "id", false) {
            told(&error.to_string());
        }
    }
    pinnace::cgroup::fuzz::files(text);
    std::hint::black_box(pinnace::resctrl::find(text.as_bytes()));
});
