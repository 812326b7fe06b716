//! `linux.resources` -> the list of writes. Each controller is told in the
//! words of the version that it lives in: on a hybrid host the two are mixed.
//! What that version cannot do is an error with the field's name; a value that
//! asks for what is so anyway (`swappiness` unset, `kernel: -1`) is not.

use super::write::{File, When, Write};
use super::{DENIED, devices, v1, v2};
use crate::error::{At, Error, Result};
use crate::plan::Findings;
use crate::spec::{BlockIo, Cpu, HugepageLimit, Memory, Rdma, Resources};

/// Where a controller lives on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In a hierarchy of its own.
    V1,
    /// In the unified hierarchy.
    V2,
    /// In none.
    NotSupported,
    /// The host has it, but the container has no cgroup there.
    Denied,
}

/// All writes, in the order in which they are to be done; good only if no error
/// is added to `findings`.
pub fn writes(
    resources: &Resources,
    home: &dyn Fn(&str) -> Home,
    when: When,
    findings: &mut Findings,
) -> Vec<Write> {
    let mut all = Vec::new();
    if when == When::Create || !resources.devices.is_empty() {
        let rules = devices::rules(&resources.devices, findings);
        let update = when == When::Update;
        match known(home("devices"), "devices", "devices", findings) {
            Some(Home::V1) => {
                let policy = findings.keep(devices::policy(&rules));
                all.extend(policy.map(|policy| Write::DeviceList { policy, update }));
            }
            Some(_) => all.push(Write::DeviceProgram { code: devices::program(&rules), update }),
            None => {}
        }
    }
    if let Some(memory) = resources.memory.as_ref().map(given).filter(|m| *m != Memory::default()) {
        check_memory(&memory, findings);
        match known(home("memory"), "memory", "memory", findings) {
            Some(Home::V1) => all.extend(v1::memory(&memory, when, findings)),
            Some(_) => all.extend(v2::memory(&memory, findings)),
            None => {}
        }
    }
    if let Some(cpu) = &resources.cpu {
        check_cpu(cpu, findings);
        all.extend(processors(cpu, home, when, findings));
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        known(home("pids"), "pids", "pids.limit", findings);
        all.push(pids(limit, findings));
    }
    if let Some(block_io) = resources.block_io.as_ref().filter(|b| **b != BlockIo::default()) {
        check_block_io(block_io, findings);
        match known(home("blkio"), "blkio", "blockIO", findings) {
            Some(Home::V1) => all.extend(v1::block_io(block_io)),
            Some(_) => all.extend(v2::block_io(block_io, findings)),
            None => {}
        }
    }
    huge_pages(&resources.hugepage_limits, home, &mut all, findings);
    if let Some(network) = &resources.network {
        if network.class_id.is_some() {
            only_v1(home("net_cls"), "net_cls", "network.classID", findings);
        }
        if !network.priorities.is_empty() {
            only_v1(home("net_prio"), "net_prio", "network.priorities", findings);
        }
        all.extend(v1::network(network, findings));
    }
    for (device, limit) in &resources.rdma {
        known(home("rdma"), "rdma", &format!("rdma.{device}"), findings);
        all.extend(findings.keep(rdma(device, limit)));
    }
    unified(resources, home, &mut all, findings);
    all
}

/// A size of 0 says nothing: engines that know no unset fields send it (CRI-O, Docker 20.10),
/// and no process could live with such a limit.
pub(super) fn given(memory: &Memory) -> Memory {
    let size = |size: Option<i64>| size.filter(|&bytes| bytes != 0);
    Memory {
        limit: size(memory.limit),
        reservation: size(memory.reservation),
        swap: size(memory.swap),
        kernel: size(memory.kernel),
        kernel_tcp: size(memory.kernel_tcp),
        ..memory.clone()
    }
}

/// Time and places.
fn processors(
    cpu: &Cpu,
    home: &dyn Fn(&str) -> Home,
    when: When,
    findings: &mut Findings,
) -> Vec<Write> {
    let mut all = Vec::new();
    let time = Cpu { cpus: None, mems: None, ..cpu.clone() };
    if time != Cpu::default() {
        match known(home("cpu"), "cpu", "cpu", findings) {
            Some(Home::V1) => all.extend(v1::cpu(cpu, findings)),
            Some(_) => all.extend(v2::cpu(cpu, when, findings)),
            None => {}
        }
    }
    for (name, field, list) in [
        ("cpuset.cpus", "linux.resources.cpu.cpus", &cpu.cpus),
        ("cpuset.mems", "linux.resources.cpu.mems", &cpu.mems),
    ] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            known(home("cpuset"), "cpuset", field.trim_start_matches("linux.resources."), findings);
            all.push(File::new("cpuset", name, list, field).into()); // the same in both
        }
    }
    all
}

/// `pids.max`, the same in both versions.
fn pids(limit: i64, findings: &mut Findings) -> Write {
    let field = "linux.resources.pids.limit";
    if limit < -1 {
        let error = Error::new(format!("{limit} is negative")).at(field);
        findings.error(error.hint("-1 means no limit"));
    }
    // 0 is a limit of its own: no fork at all (the spec says so).
    let text = if limit < 0 { "max".into() } else { limit.to_string() };
    File::new("pids", "pids.max", text, field).into()
}

fn huge_pages(
    limits: &[HugepageLimit],
    home: &dyn Fn(&str) -> Home,
    all: &mut Vec<Write>,
    findings: &mut Findings,
) {
    for (i, limit) in limits.iter().enumerate() {
        let field = format!("hugepageLimits[{i}]");
        let good =
            check_page_size(&limit.page_size).at(|| format!("linux.resources.{field}.pageSize"));
        let home = known(home("hugetlb"), "hugetlb", &field, findings);
        let (Some(home), Some(())) = (home, findings.keep(good)) else { continue };
        let (rsvd, usage) = match home {
            Home::V1 => ("rsvd.limit_in_bytes", "limit_in_bytes"),
            _ => ("rsvd.max", "max"),
        };
        // Reservations count if the kernel counts them; the limit of use is the
        // same number and can't bite first (hugetlb.rst; runc does the same).
        let file = |name| {
            let name = format!("hugetlb.{}.{name}", limit.page_size);
            File::new("hugetlb", name, limit.limit, format!("linux.resources.{field}"))
        };
        all.push(file(usage).into());
        all.push(file(rsvd).or_ignore().into());
    }
}

/// `rdma.max`, the same in both versions.
fn rdma(device: &str, limit: &Rdma) -> Result<Write> {
    let field = format!("linux.resources.rdma.{device}");
    if device.is_empty() || device.contains(char::is_whitespace) {
        return Err(Error::new("is not the name of a device").at(field));
    }
    let handles = limit.hca_handles.map(|n| format!(" hca_handle={n}"));
    let objects = limit.hca_objects.map(|n| format!(" hca_object={n}"));
    if handles.is_none() && objects.is_none() {
        return Err(Error::new("needs hcaHandles or hcaObjects").at(field));
    }
    let text = format!("{device}{}{}", handles.unwrap_or_default(), objects.unwrap_or_default());
    Ok(File::new("rdma", "rdma.max", text, field).into())
}

/// Files of v2 by name; last, so that they win over what was converted.
fn unified(
    resources: &Resources,
    home: &dyn Fn(&str) -> Home,
    all: &mut Vec<Write>,
    findings: &mut Findings,
) {
    for (name, value) in &resources.unified {
        let field = format!("linux.resources.unified[{name:?}]");
        if home("memory") != Home::V2 {
            let message = "needs cgroup v2, and this host runs cgroup v1";
            findings.refuse(field, message);
            return; // the same is true of every other key
        }
        if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
            let message = "must be the name of a file, without slashes";
            findings.refuse(field, message);
            continue;
        }
        // The kernel reads one line a write.
        for line in value.lines() {
            all.push(File::new("", name.clone(), line, field.clone()).into());
        }
        if value.is_empty() {
            all.push(File::new("", name.clone(), "", field).into());
        }
    }
}

/// Where the controller is; `None` and a finding if it is nowhere.
fn known(home: Home, controller: &str, field: &str, findings: &mut Findings) -> Option<Home> {
    let error = match home {
        Home::V1 | Home::V2 => return Some(home),
        Home::NotSupported => {
            Error::new(format!("this host has no cgroup controller {controller}"))
                .hint("/proc/cgroups and /sys/fs/cgroup/cgroup.controllers list what there is")
        }
        Home::Denied => {
            Error::new("the container could not get a cgroup for this limit").hint(DENIED)
        }
    };
    findings.error(error.at(format!("linux.resources.{field}")));
    None
}

fn only_v1(home: Home, controller: &str, field: &str, findings: &mut Findings) {
    if known(home, controller, field, findings) == Some(Home::V2) {
        findings.error(v2::cannot(&format!("linux.resources.{field}")));
    }
}

fn check_memory(memory: &Memory, findings: &mut Findings) {
    let mut wrong = |field: &str, what: String| {
        findings.refuse(format!("linux.resources.memory.{field}"), what);
    };
    let fields = [
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernel", memory.kernel),
        ("kernelTCP", memory.kernel_tcp),
    ];
    for (field, value) in fields {
        if let Some(value) = value.filter(|&value| value < -1) {
            wrong(field, format!("{value} is neither a size nor -1"));
        }
    }
    match (memory.limit, memory.swap) {
        (Some(-1), Some(swap)) if swap > 0 => {
            wrong("swap", format!("{swap} is a limit of memory and swap, and memory has none"));
        }
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            let rule = "is memory and swap, so no less than memory.limit";
            wrong("swap", format!("{swap} {rule}, {limit}"));
        }
        _ => {}
    }
    if let Some(n) = memory.swappiness.filter(|n| *n > 100) {
        wrong("swappiness", format!("{n} is above 100"));
    }
}

fn check_cpu(cpu: &Cpu, findings: &mut Findings) {
    let mut wrong = |field: &str, what: String| {
        findings.refuse(format!("linux.resources.cpu.{field}"), what);
    };
    if let (Some(burst), Some(quota)) = (cpu.burst, cpu.quota.filter(|&quota| quota > 0))
        && burst > quota.unsigned_abs()
    {
        wrong("burst", format!("{burst} is more than cpu.quota, {quota}"));
    }
    for (field, time) in [("quota", cpu.quota), ("realtimeRuntime", cpu.realtime_runtime)] {
        if let Some(time) = time.filter(|time| *time < -1) {
            wrong(field, format!("{time} is neither a time nor -1"));
        }
    }
    if let Some(idle) = cpu.idle.filter(|idle| !(0..=1).contains(idle)) {
        wrong("idle", format!("{idle} is neither 0 nor 1"));
    }
    for (field, list) in [("cpus", &cpu.cpus), ("mems", &cpu.mems)] {
        let strange =
            |c: char| !c.is_ascii_digit() && !matches!(c, ',' | '-' | ':' | '/' | ' ' | '\n');
        if let Some(list) = list.as_ref().filter(|list| list.contains(strange)) {
            wrong(field, format!("{list:?} is no list such as 0-3,7"));
        }
    }
}

fn check_block_io(block_io: &BlockIo, findings: &mut Findings) {
    let mut wrong = |field: String, what: String| {
        findings.refuse(format!("linux.resources.blockIO.{field}"), what);
    };
    let mut range = |weight: Option<u16>, field: String| {
        if let Some(n) = weight.filter(|n| !matches!(n, 0 | 10..=1000)) {
            wrong(field, format!("{n} is not from 10 to 1000"));
        }
    };
    range(block_io.weight, "weight".into());
    range(block_io.leaf_weight, "leafWeight".into());
    for (i, device) in block_io.weight_device.iter().enumerate() {
        range(device.weight, format!("weightDevice[{i}].weight"));
        range(device.leaf_weight, format!("weightDevice[{i}].leafWeight"));
    }
    for (i, device) in block_io.weight_device.iter().enumerate() {
        if device.weight.is_none() && device.leaf_weight.is_none() {
            wrong(format!("weightDevice[{i}]"), "needs weight or leafWeight".into());
        }
    }
}

/// `64KB`, `2MB`, `1GB`: it becomes part of a file's name.
fn check_page_size(size: &str) -> Result<()> {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    match number {
        Some(n) if !n.starts_with('0') && n.parse::<u64>().is_ok() => Ok(()),
        _ => Err(Error::new(format!("{size:?} is no size such as 2MB"))),
    }
}
