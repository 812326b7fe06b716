//! Resources in the words of cgroup v2
//! (`Documentation/admin-guide/cgroup-v2.rst` of the kernel).

use super::write::{File, When, Write};
use crate::error::Error;
use crate::plan::Findings;
use crate::spec::{BlockIo, Cpu, Memory, ThrottleDevice};
use std::collections::BTreeMap;

/// The spec: "If the conversion is not possible the runtime MUST generate an error."
pub fn cannot(field: &str) -> Error {
    Error::new("cgroup v2 has nothing like it").at(field)
}

fn max(n: i64) -> String {
    if n < 0 { "max".into() } else { n.to_string() }
}

/// `memory.*`.
pub fn memory(memory: &Memory, findings: &mut Findings) -> Vec<Write> {
    if memory.swappiness.is_some() {
        findings.error(cannot("linux.resources.memory.swappiness"));
    }
    if memory.disable_oom_killer == Some(true) {
        findings.error(cannot("linux.resources.memory.disableOOMKiller"));
    }
    if memory.use_hierarchy == Some(false) {
        findings.error(cannot("linux.resources.memory.useHierarchy")); // it is always on
    }
    for (field, value) in [("kernel", memory.kernel), ("kernelTCP", memory.kernel_tcp)] {
        if value.is_some_and(|value| value != -1) {
            findings.error(cannot(&format!("linux.resources.memory.{field}")));
        }
    }
    let file = |name, text: String, field| File::new("memory", name, text, field);
    let mut all = Vec::new();
    if let Some(limit) =
        memory.limit.filter(|&n| n >= 0 && memory.check_before_update == Some(true))
    {
        all.push(Write::AtMost {
            controller: "memory",
            name: "memory.current",
            limit: limit.unsigned_abs(),
            field: "linux.resources.memory.limit",
        });
    }
    let swap = match (memory.limit, memory.swap) {
        (Some(-1), None) | (_, Some(-1)) => Some(-1),
        (None, Some(_)) => {
            let message = "is memory and swap, so it needs memory.limit beside it";
            findings.refuse("linux.resources.memory.swap", message);
            None
        }
        (Some(limit), Some(swap)) => Some(swap.saturating_sub(limit)), // equal: 0, no swap
        (_, None) => None,
    };
    if let Some(swap) = swap {
        let write = file("memory.swap.max", max(swap), "linux.resources.memory.swap");
        // A kernel that does not count swap has no such file; both extremes are
        // what engines send by default.
        all.push(if swap <= 0 { write.or_ignore() } else { write }.into());
    }
    if let Some(limit) = memory.limit {
        all.push(file("memory.max", max(limit), "linux.resources.memory.limit").into());
    }
    if let Some(n) = memory.reservation {
        all.push(file("memory.low", max(n), "linux.resources.memory.reservation").into());
    }
    all
}

/// `cpu.*`. 0 means unset, but for `idle`, `burst` and `realtimeRuntime`.
pub fn cpu(cpu: &Cpu, when: When, findings: &mut Findings) -> Vec<Write> {
    if cpu.realtime_runtime.is_some_and(|n| n != 0) {
        findings.error(cannot("linux.resources.cpu.realtimeRuntime"));
    }
    if cpu.realtime_period.is_some_and(|n| n != 0) {
        findings.error(cannot("linux.resources.cpu.realtimePeriod"));
    }
    let mut all = Vec::new();
    if let Some(idle) = cpu.idle {
        // First: with idle at 1 the kernel takes no weight.
        let idle = File::new("cpu", "cpu.idle", idle, "linux.resources.cpu.idle");
        all.push(idle.or_ignore_zero().into());
    }
    if let Some(shares) = cpu.shares.filter(|&n| n != 0 && cpu.idle != Some(1)) {
        all.push(
            File::new("cpu", "cpu.weight", weight(shares), "linux.resources.cpu.shares").into(),
        );
    }
    let quota = cpu.quota.filter(|&n| n != 0).map(max);
    let burst = |n| File::new("cpu", "cpu.max.burst", n, "linux.resources.cpu.burst");
    let burst = cpu.burst.map(|n| burst(n).or_ignore_zero());
    let max = match (quota, cpu.period.filter(|&n| n != 0)) {
        // Without a period the kernel keeps the one that stands there.
        (Some(quota), None) => {
            Some(File::new("cpu", "cpu.max", quota, "linux.resources.cpu.quota"))
        }
        (Some(quota), Some(period)) => Some(File::new(
            "cpu",
            "cpu.max",
            format!("{quota} {period}"),
            "linux.resources.cpu.quota",
        )),
        (None, Some(period)) if when == When::Create => {
            Some(File::new("cpu", "cpu.max", format!("max {period}"), "linux.resources.cpu.period"))
        }
        (None, Some(period)) => {
            all.push(Write::Period { period });
            None
        }
        (None, None) => None,
    };
    match (max, burst) {
        (Some(max), Some(burst)) => all.push(Write::AnyOrder(vec![max, burst])),
        (one, other) => all.extend(one.or(other).map(Write::from)),
    }
    all
}

/// `cpu.shares` (2 to 262144, 1024) as `cpu.weight` (1 to 10000, 100): the
/// parabola in log space through the three points, as in runc 1.3.2 and later
/// (the line that came before, and that crun still has, made 1024 into 39).
pub fn weight(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1..=2 => 1,
        3..262_144 => {
            let l = (shares as f64).log2();
            10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
        _ => 10_000,
    }
}

/// `io.*`: bfq's own weights if the kernel has them, else `io.weight` by
/// conversion from 10..1000 to 1..10000.
pub fn block_io(block_io: &BlockIo, findings: &mut Findings) -> Vec<Write> {
    let field = |name: &str| format!("linux.resources.blockIO.{name}");
    if block_io.leaf_weight.is_some_and(|n| n != 0) {
        findings.error(cannot(&field("leafWeight")));
    }
    let mut all = Vec::new();
    let weigh = |device: &str, n: u16, field: String| {
        let weight = 1 + (u64::from(n.max(10)) - 10) * 9999 / 990;
        Write::FirstOf(vec![
            File::new("io", "io.bfq.weight", format!("{device}{n}"), field.clone()),
            File::new("io", "io.weight", format!("{device}{weight}"), field),
        ])
    };
    if let Some(n) = block_io.weight.filter(|&n| n != 0) {
        all.push(weigh("", n, field("weight")));
    }
    for (i, device) in block_io.weight_device.iter().enumerate() {
        if device.leaf_weight.is_some_and(|n| n != 0) {
            findings.error(cannot(&field(&format!("weightDevice[{i}].leafWeight"))));
        }
        if let Some(n) = device.weight {
            let numbers = format!("{}:{} ", device.major, device.minor);
            all.push(weigh(&numbers, n, field(&format!("weightDevice[{i}].weight"))));
        }
    }
    // One line a device; a rate of 0 lifts the limit, as on v1.
    let mut rates: BTreeMap<(i64, i64), (String, String)> = BTreeMap::new();
    let mut collect = |key, name: &str, devices: &[ThrottleDevice]| {
        for (i, device) in devices.iter().enumerate() {
            let rate = if device.rate == 0 { "max".into() } else { device.rate.to_string() };
            let line = rates
                .entry((device.major, device.minor))
                .or_insert_with(|| (field(&format!("{name}[{i}]")), String::new()));
            line.1.push_str(&format!(" {key}={rate}"));
        }
    };
    collect("rbps", "throttleReadBpsDevice", &block_io.throttle_read_bps_device);
    collect("wbps", "throttleWriteBpsDevice", &block_io.throttle_write_bps_device);
    collect("riops", "throttleReadIOPSDevice", &block_io.throttle_read_iops_device);
    collect("wiops", "throttleWriteIOPSDevice", &block_io.throttle_write_iops_device);
    for ((major, minor), (field, line)) in rates {
        all.push(File::new("io", "io.max", format!("{major}:{minor}{line}"), field).into());
    }
    all
}
