//! `linux.resources` in the words of systemd (systemd.resource-control(5)),
//! which are those of cgroup v2. What it has no words for is written by us
//! alone; errors are left to the writes, which are computed from the same.

use super::{Property, Value};
use crate::cgroup::resources::given;
use crate::cgroup::v2::weight;
use crate::error::{Error, Result};
use crate::spec::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

/// How systemd writes that there is no limit.
const INFINITY: u64 = u64::MAX;

/// All properties that follow.
///
/// # Errors
/// A list of CPUs that is none.
pub fn properties(resources: &Resources) -> Result<Vec<Property>> {
    let mut all = Vec::new();
    if let Some(memory) = &resources.memory {
        all.extend(memory_properties(&given(memory)));
    }
    if let Some(cpu) = &resources.cpu {
        all.extend(cpu_properties(cpu));
        for (name, field, list) in
            [("AllowedCPUs", "cpus", &cpu.cpus), ("AllowedMemoryNodes", "mems", &cpu.mems)]
        {
            if let Some(list) = list.as_deref().filter(|list| !list.trim().is_empty()) {
                let mask = mask(list).ok_or_else(|| {
                    Error::new(format!("{list:?} is no list such as 0-3,7"))
                        .at(format!("linux.resources.cpu.{field}"))
                })?;
                all.push((name.into(), mask));
            }
        }
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        // systemd takes no 0: 1, the process itself, means the same, and we
        // write the 0.
        let limit = if limit < 0 { INFINITY } else { limit.unsigned_abs().max(1) };
        all.push(("TasksMax".into(), Value::number(limit)));
    }
    if let Some(block_io) = &resources.block_io {
        all.extend(io_properties(block_io));
    }
    for (name, property) in [
        ("memory.min", "MemoryMin"),
        ("memory.low", "MemoryLow"),
        ("memory.high", "MemoryHigh"),
        ("memory.max", "MemoryMax"),
        ("memory.swap.max", "MemorySwapMax"),
        ("pids.max", "TasksMax"),
        ("cpu.weight", "CPUWeight"),
    ] {
        let value = resources.unified.get(name).map(|text| match text.trim() {
            "max" => Some(INFINITY),
            text => text.parse().ok(),
        });
        if let Some(Some(value)) = value {
            all.retain(|(other, _)| other != property);
            all.push((property.into(), Value::number(value)));
        }
    }
    Ok(all)
}

fn limit(bytes: i64) -> Value {
    Value::number(if bytes < 0 { INFINITY } else { bytes.unsigned_abs() })
}

fn memory_properties(memory: &Memory) -> Vec<Property> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: Option<i64>| {
        all.extend(value.map(|value| (name.to_owned(), limit(value))));
    };
    add("MemoryMax", memory.limit);
    add("MemoryLow", memory.reservation);
    add(
        "MemorySwapMax",
        match (memory.limit, memory.swap) {
            (Some(-1), None) | (_, Some(-1)) => Some(-1),
            (Some(limit), Some(swap)) => Some(swap.saturating_sub(limit)),
            _ => None,
        },
    );
    all
}

/// `CPUQuotaPerSecUSec` is the time in a second, not in the period.
fn cpu_properties(cpu: &Cpu) -> Vec<Property> {
    let mut all = Vec::new();
    match (cpu.idle, cpu.shares.filter(|&shares| shares != 0)) {
        // 0 is `idle` (systemd 252).
        (Some(1), _) => all.push(("CPUWeight".into(), Value::number(0))),
        (_, Some(shares)) => all.push(("CPUWeight".into(), Value::number(weight(shares)))),
        _ => {}
    }
    let period = cpu.period.filter(|&period| period != 0);
    if let Some(period) = period {
        all.push(("CPUQuotaPeriodUSec".into(), Value::number(period)));
    }
    if let Some(quota) = cpu.quota.filter(|&quota| quota != 0) {
        let second = match u64::try_from(quota) {
            Err(_) => INFINITY,
            // Up to 10 ms, as it shows them in percent.
            Ok(quota) => (quota.saturating_mul(1_000_000) / period.unwrap_or(100_000))
                .checked_next_multiple_of(10_000)
                .unwrap_or(INFINITY),
        };
        all.push(("CPUQuotaPerSecUSec".into(), Value::number(second)));
    }
    all
}

fn io_properties(block_io: &BlockIo) -> Vec<Property> {
    let mut all = Vec::new();
    let weight = |n: u16| 1 + (u64::from(n.max(10)) - 10) * 9999 / 990;
    if let Some(n) = block_io.weight.filter(|&n| n != 0) {
        all.push(("IOWeight".into(), Value::number(weight(n))));
    }
    let entry = |major: i64, minor: i64, value: u64| {
        Value::all([Value::text(format!("/dev/block/{major}:{minor}")), Value::number(value)])
    };
    let weights = block_io
        .weight_device
        .iter()
        .filter_map(|device| Some(entry(device.major, device.minor, weight(device.weight?))));
    let weights: Vec<_> = weights.collect();
    if !weights.is_empty() {
        all.push(("IODeviceWeight".into(), Value::Array("(st)".into(), weights)));
    }
    let throttle = |device: &ThrottleDevice| {
        let rate = if device.rate == 0 { INFINITY } else { device.rate };
        entry(device.major, device.minor, rate)
    };
    for (name, devices) in [
        ("IOReadBandwidthMax", &block_io.throttle_read_bps_device),
        ("IOWriteBandwidthMax", &block_io.throttle_write_bps_device),
        ("IOReadIOPSMax", &block_io.throttle_read_iops_device),
        ("IOWriteIOPSMax", &block_io.throttle_write_iops_device),
    ] {
        if !devices.is_empty() {
            let values = devices.iter().map(throttle).collect();
            all.push((name.into(), Value::Array("(st)".into(), values)));
        }
    }
    all
}

/// `0-3,7` as bits, the lowest first.
fn mask(list: &str) -> Option<Value> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        ranges.push(Some((first, last)).filter(|_| first <= last)?);
    }
    ranges.sort_unstable();
    let mut bytes: Vec<u8> = Vec::new();
    let mut next = 0;
    for (first, last) in ranges {
        // Each number once, however often it is listed.
        for n in first.max(next)..=last {
            let at = usize::from(n / 8);
            bytes.resize(bytes.len().max(at + 1), 0);
            bytes[at] |= 1 << (n % 8);
        }
        next = next.max(last.saturating_add(1));
    }
    let bytes = bytes.into_iter().map(|byte| Value::Number(b'y', byte.into()));
    Some(Value::Array("y".into(), bytes.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_properties() {
        let resources: Resources = serde_json::from_str(
            r#"{"memory": {"limit": 100, "swap": 150, "reservation": 50},
                "cpu": {"shares": 1024, "quota": 50000, "period": 200000, "cpus": "0-1,9"},
                "pids": {"limit": 0}, "unified": {"memory.high": "80", "memory.max": "max"}}"#,
        )
        .unwrap();
        let all = properties(&resources).unwrap();
        let get = |name: &str| &all.iter().find(|(other, _)| other == name).unwrap().1;
        for (name, want) in [
            ("MemoryMax", INFINITY),
            ("MemoryLow", 50),
            ("MemorySwapMax", 50),
            ("MemoryHigh", 80),
            ("CPUWeight", 100),
            ("CPUQuotaPeriodUSec", 200_000),
            ("CPUQuotaPerSecUSec", 250_000),
            ("TasksMax", 1),
        ] {
            assert_eq!(*get(name), Value::number(want), "{name}");
        }
        let bytes = [3, 2].map(|byte| Value::Number(b'y', byte)).to_vec();
        assert_eq!(*get("AllowedCPUs"), Value::Array("y".into(), bytes));
    }

    #[test]
    fn lists_of_cpus_are_bits() {
        let bits = |bytes: &[u8]| {
            let bytes = bytes.iter().map(|byte| Value::Number(b'y', i128::from(*byte)));
            Some(Value::Array("y".into(), bytes.collect()))
        };
        assert_eq!(mask("9,0-1, 1 ,0-1"), bits(&[3, 2]));
        assert_eq!(mask(&["0-65535"; 50_000].join(",")), bits(&[0xff; 8192]));
        for wrong in ["", "1-", "-1", "3-1", "65536", "a", "1,,2"] {
            assert_eq!(mask(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_limits_overflow() {
        let memory = Memory { limit: Some(-2), swap: Some(i64::MAX), ..Memory::default() };
        let all = memory_properties(&memory);
        assert!(all.contains(&("MemorySwapMax".into(), limit(i64::MAX))), "{all:?}");
    }

    #[test]
    fn what_is_not_named_is_not_set() {
        assert!(properties(&Resources::default()).unwrap().is_empty());
    }
}
