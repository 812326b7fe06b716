//! Resources in the words of cgroup v1
//! (`Documentation/admin-guide/cgroup-v1/` of the kernel).

use super::write::{File, When, Write};
use crate::plan::Findings;
use crate::spec::{BlockIo, Cpu, Memory, Network, ThrottleDevice};

/// `memory.*` (memory.rst).
pub fn memory(memory: &Memory, when: When, findings: &mut Findings) -> Vec<Write> {
    let file = |name, value: i64, field| File::new("memory", name, value, field);
    let limit =
        memory.limit.map(|n| file("memory.limit_in_bytes", n, "linux.resources.memory.limit"));
    let memsw = |n| file("memory.memsw.limit_in_bytes", n, "linux.resources.memory.swap");
    let swap = match (memory.limit, memory.swap) {
        // No limit of memory means none of memory and swap either.
        (Some(-1), None) | (_, Some(-1)) => Some(memsw(-1).or_ignore()),
        (None, Some(_)) if when == When::Create => {
            let message = "needs memory.limit beside it";
            findings.refuse("linux.resources.memory.swap", message);
            None
        }
        (_, swap) => swap.map(memsw),
    };
    let mut all = Vec::new();
    if let Some(on) = memory.use_hierarchy.map(i64::from) {
        let field = "linux.resources.memory.useHierarchy";
        all.push(file("memory.use_hierarchy", on, field).into());
    }
    match (limit, swap) {
        (Some(limit), Some(swap)) => all.push(Write::AnyOrder(vec![limit, swap])),
        (one, other) => all.extend(one.or(other).map(Write::from)),
    }
    let kernel = [
        ("memory.kmem.limit_in_bytes", memory.kernel, "linux.resources.memory.kernel"),
        ("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp, "linux.resources.memory.kernelTCP"),
    ];
    for (name, value, field) in kernel {
        if let Some(value) = value {
            let write = file(name, value, field);
            all.push(if value == -1 { write.or_ignore() } else { write }.into());
        }
    }
    if let Some(n) = memory.reservation {
        let field = "linux.resources.memory.reservation";
        all.push(file("memory.soft_limit_in_bytes", n, field).into());
    }
    if let Some(n) = memory.swappiness {
        let field = "linux.resources.memory.swappiness";
        all.push(File::new("memory", "memory.swappiness", n, field).into());
    }
    if let Some(off) = memory.disable_oom_killer {
        let field = "linux.resources.memory.disableOOMKiller";
        all.push(file("memory.oom_control", i64::from(off), field).into());
    }
    // checkBeforeUpdate: the kernel itself refuses a limit below the use.
    all
}

/// `cpu.*` (scheduler/sched-bwc.rst, sched-rt-group.rst). 0 means unset.
pub fn cpu(cpu: &Cpu, findings: &mut Findings) -> Vec<Write> {
    let mut all = Vec::new();
    let idle =
        |n| File::new("cpu", "cpu.idle", n, "linux.resources.cpu.idle").or_ignore_zero().into();
    if cpu.idle == Some(0) {
        all.push(idle(0)); // first: an idle cgroup takes no shares
    }
    // An idle cgroup has the least shares there are, whatever was asked for.
    if let Some(shares) = cpu.shares.filter(|&n| n != 0 && cpu.idle != Some(1)) {
        if !(2..=262_144).contains(&shares) {
            let message = format!("{shares} is not from 2 to 262144");
            findings.refuse("linux.resources.cpu.shares", message);
        }
        all.push(File::new("cpu", "cpu.shares", shares, "linux.resources.cpu.shares").into());
    }
    let file = |name, value: Option<String>, field: &'static str| {
        value.map(|value| File::new("cpu", name, value, field))
    };
    let number = |value: Option<u64>| value.filter(|&n| n != 0).map(|n| n.to_string());
    let quota = cpu.quota.filter(|&n| n != 0).map(|n| n.max(-1).to_string());
    let burst = cpu.burst.map(|n| n.to_string());
    for group in [
        vec![
            file("cpu.cfs_period_us", number(cpu.period), "linux.resources.cpu.period"),
            file("cpu.cfs_quota_us", quota, "linux.resources.cpu.quota"),
            file("cpu.cfs_burst_us", burst, "linux.resources.cpu.burst").map(File::or_ignore_zero),
        ],
        vec![
            file(
                "cpu.rt_period_us",
                number(cpu.realtime_period),
                "linux.resources.cpu.realtimePeriod",
            ),
            // A kernel without CONFIG_RT_GROUP_SCHED has no such file.
            file(
                "cpu.rt_runtime_us",
                cpu.realtime_runtime.map(|n| n.to_string()),
                "linux.resources.cpu.realtimeRuntime",
            )
            .map(File::or_ignore_zero),
        ],
    ] {
        let mut group: Vec<File> = group.into_iter().flatten().collect();
        match group.len() {
            0 => {}
            1 => all.extend(group.pop().map(Write::from)),
            _ => all.push(Write::AnyOrder(group)),
        }
    }
    if cpu.idle == Some(1) {
        all.push(idle(1));
    }
    all
}

/// `blkio.*` (blkio-controller.rst, block/bfq-iosched.rst). 0 removes a rate.
pub fn block_io(block_io: &BlockIo) -> Vec<Write> {
    let mut all = Vec::new();
    let either = |bfq: &'static str, cfq: &'static str, text: String, field: String| {
        Write::FirstOf(vec![
            File::new("blkio", bfq, &text, field.clone()),
            File::new("blkio", cfq, &text, field),
        ])
    };
    let field = |name: String| format!("linux.resources.blockIO.{name}");
    if let Some(n) = block_io.weight.filter(|&n| n != 0) {
        all.push(either("blkio.bfq.weight", "blkio.weight", n.to_string(), field("weight".into())));
    }
    if let Some(n) = block_io.leaf_weight.filter(|&n| n != 0) {
        all.push(File::new("blkio", "blkio.leaf_weight", n, field("leafWeight".into())).into());
    }
    for (i, device) in block_io.weight_device.iter().enumerate() {
        let numbers = format!("{}:{}", device.major, device.minor);
        if let Some(n) = device.weight {
            let field = field(format!("weightDevice[{i}].weight"));
            let text = format!("{numbers} {n}");
            all.push(either("blkio.bfq.weight_device", "blkio.weight_device", text, field));
        }
        if let Some(n) = device.leaf_weight {
            let field = field(format!("weightDevice[{i}].leafWeight"));
            let text = format!("{numbers} {n}");
            all.push(File::new("blkio", "blkio.leaf_weight_device", text, field).into());
        }
    }
    let throttle = |name: &'static str, kind: &str, devices: &[ThrottleDevice]| -> Vec<Write> {
        let write = |(i, device): (usize, &ThrottleDevice)| {
            let text = format!("{}:{} {}", device.major, device.minor, device.rate);
            File::new("blkio", name, text, field(format!("{kind}[{i}]"))).into()
        };
        devices.iter().enumerate().map(write).collect()
    };
    all.extend(throttle(
        "blkio.throttle.read_bps_device",
        "throttleReadBpsDevice",
        &block_io.throttle_read_bps_device,
    ));
    all.extend(throttle(
        "blkio.throttle.write_bps_device",
        "throttleWriteBpsDevice",
        &block_io.throttle_write_bps_device,
    ));
    all.extend(throttle(
        "blkio.throttle.read_iops_device",
        "throttleReadIOPSDevice",
        &block_io.throttle_read_iops_device,
    ));
    all.extend(throttle(
        "blkio.throttle.write_iops_device",
        "throttleWriteIOPSDevice",
        &block_io.throttle_write_iops_device,
    ));
    all
}

/// `net_cls.*` and `net_prio.*` (net_cls.rst, net_prio.rst).
pub fn network(network: &Network, findings: &mut Findings) -> Vec<Write> {
    let mut all = Vec::new();
    if let Some(class) = network.class_id {
        all.push(
            File::new("net_cls", "net_cls.classid", class, "linux.resources.network.classID")
                .into(),
        );
    }
    for (i, entry) in network.priorities.iter().enumerate() {
        let field = format!("linux.resources.network.priorities[{i}]");
        if entry.name.is_empty() || entry.name.contains(char::is_whitespace) {
            let message = format!("{:?} is not the name of an interface", entry.name);
            findings.refuse(field, message);
            continue;
        }
        let text = format!("{} {}", entry.name, entry.priority);
        all.push(File::new("net_prio", "net_prio.ifpriomap", text, field).into());
    }
    all
}
