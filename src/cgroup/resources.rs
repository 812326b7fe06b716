//! `linux.resources` -> the list of writes. Each controller is told in the
//! words of the version that it lives in: on a hybrid host the two are mixed.
//! What that version cannot do is an error with the field's name; a value that
//! asks for what is so anyway (`swappiness` unset, `kernel: -1`) is not.

use super::write::{File, Write};
use super::{devices, v1, v2};
use crate::error::{Error, Result};
use crate::spec::{BlockIo, Cpu, Memory, Resources};

/// Where a controller lives on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In a hierarchy of its own.
    V1,
    /// In the unified hierarchy.
    V2,
    /// In none.
    Nowhere,
}

/// Whether the cgroup is new or in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// New: what is not named has the kernel's default, and the devices are
    /// limited in any case.
    Create,
    /// In use: what is not named stays as it is, devices too.
    Update,
}

/// All writes, in the order in which they are to be done.
pub fn writes(
    resources: &Resources,
    home: impl Fn(&str) -> Home,
    when: When,
) -> Result<Vec<Write>> {
    let mut all = Vec::new();
    if when == When::Create || !resources.devices.is_empty() {
        let rules = devices::rules(&resources.devices)?;
        let update = when == When::Update;
        match known(home("devices"), "devices", "devices")? {
            Home::V1 => all.push(Write::DeviceList { policy: devices::policy(&rules)?, update }),
            _ => all.push(Write::DeviceProgram { code: devices::program(&rules), update }),
        }
    }
    if let Some(memory) = resources.memory.as_ref().filter(|m| **m != Memory::default()) {
        check_memory(memory)?;
        all.extend(match known(home("memory"), "memory", "memory")? {
            Home::V1 => v1::memory(memory, when)?,
            _ => v2::memory(memory)?,
        });
    }
    if let Some(cpu) = &resources.cpu {
        check_cpu(cpu)?;
        let cpuset = (cpu.cpus.as_deref(), cpu.mems.as_deref());
        let time = Cpu { cpus: None, mems: None, ..cpu.clone() };
        if time != Cpu::default() {
            all.extend(match known(home("cpu"), "cpu", "cpu")? {
                Home::V1 => v1::cpu(cpu)?,
                _ => v2::cpu(cpu, when)?,
            });
        }
        for (name, field, list) in [
            ("cpuset.cpus", "linux.resources.cpu.cpus", cpuset.0),
            ("cpuset.mems", "linux.resources.cpu.mems", cpuset.1),
        ] {
            if let Some(list) = list.filter(|list| !list.is_empty()) {
                known(home("cpuset"), "cpuset", field.trim_start_matches("linux.resources."))?;
                all.push(File::new("cpuset", name, list, field).into()); // the same in both
            }
        }
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        known(home("pids"), "pids", "pids.limit")?;
        // 0 is a limit of its own: no fork at all (the spec says so).
        let text = if limit < 0 { "max".into() } else { limit.to_string() };
        all.push(File::new("pids", "pids.max", text, "linux.resources.pids.limit").into());
    }
    if let Some(block_io) = resources.block_io.as_ref().filter(|b| **b != BlockIo::default()) {
        check_block_io(block_io)?;
        all.extend(match known(home("blkio"), "blkio", "blockIO")? {
            Home::V1 => v1::block_io(block_io),
            _ => v2::block_io(block_io)?,
        });
    }
    all.extend(others(resources, &home)?);
    all.extend(unified(resources, &home)?);
    Ok(all)
}

/// Huge pages, network, RDMA.
fn others(resources: &Resources, home: &impl Fn(&str) -> Home) -> Result<Vec<Write>> {
    let mut all = Vec::new();
    for (i, limit) in resources.hugepage_limits.iter().enumerate() {
        let field = format!("hugepageLimits[{i}]");
        check_page_size(&limit.page_size)
            .map_err(|e| e.at(format!("linux.resources.{field}.pageSize")))?;
        let (rsvd, usage) = match known(home("hugetlb"), "hugetlb", &field)? {
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
        all.push(file(rsvd).or_holds().into());
    }
    if let Some(network) = &resources.network {
        if network.class_id.is_some() {
            only_v1(home("net_cls"), "net_cls", "network.classID")?;
        }
        if !network.priorities.is_empty() {
            only_v1(home("net_prio"), "net_prio", "network.priorities")?;
        }
        all.extend(v1::network(network)?);
    }
    for (device, limit) in &resources.rdma {
        let field = format!("rdma.{device}");
        known(home("rdma"), "rdma", &field)?;
        let field = format!("linux.resources.{field}");
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(Error::new("is not the name of a device").at(field));
        }
        let handles = limit.hca_handles.map(|n| format!(" hca_handle={n}"));
        let objects = limit.hca_objects.map(|n| format!(" hca_object={n}"));
        if handles.is_none() && objects.is_none() {
            return Err(Error::new("needs hcaHandles or hcaObjects").at(field));
        }
        let text =
            format!("{device}{}{}", handles.unwrap_or_default(), objects.unwrap_or_default());
        all.push(File::new("rdma", "rdma.max", text, field).into()); // the same in both
    }
    Ok(all)
}

/// Files of v2 by name; last, so that they win over what was converted.
fn unified(resources: &Resources, home: &impl Fn(&str) -> Home) -> Result<Vec<Write>> {
    let mut all = Vec::new();
    for (name, value) in &resources.unified {
        let field = format!("linux.resources.unified[{name:?}]");
        if home("memory") != Home::V2 {
            return Err(Error::new("needs cgroup v2, and this host runs cgroup v1").at(field));
        }
        if name.is_empty()
            || name.contains('/')
            || name == "."
            || name == ".."
            || name.contains('\0')
        {
            return Err(Error::new("must be the name of a file, without slashes").at(field));
        }
        // The kernel reads one line a write.
        for line in value.lines() {
            all.push(File::new("", name.clone(), line, field.clone()).into());
        }
        if value.is_empty() {
            all.push(File::new("", name.clone(), "", field).into());
        }
    }
    Ok(all)
}

fn known(home: Home, controller: &str, field: &str) -> Result<Home> {
    if home == Home::Nowhere {
        return Err(Error::new(format!("this host has no cgroup controller {controller}"))
            .at(format!("linux.resources.{field}")));
    }
    Ok(home)
}

fn only_v1(home: Home, controller: &str, field: &str) -> Result<()> {
    match known(home, controller, field)? {
        Home::V1 => Ok(()),
        _ => Err(v2::cannot(&format!("linux.resources.{field}"))),
    }
}

fn check_memory(memory: &Memory) -> Result<()> {
    let fields = [
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernel", memory.kernel),
        ("kernelTCP", memory.kernel_tcp),
    ];
    for (field, value) in fields {
        if let Some(value) = value.filter(|&value| value < -1) {
            return Err(Error::new(format!("{value} is neither a size nor -1"))
                .at(format!("linux.resources.memory.{field}")));
        }
    }
    let at =
        |what: String, field| Err(Error::new(what).at(format!("linux.resources.memory.{field}")));
    match (memory.limit, memory.swap) {
        (Some(-1), Some(swap)) if swap > 0 => {
            at(format!("{swap} is a limit of memory and swap, and memory has none"), "swap")
        }
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            at(format!("{swap} is memory and swap, so no less than memory.limit, {limit}"), "swap")
        }
        _ => match memory.swappiness {
            Some(n) if n > 100 => at(format!("{n} is above 100"), "swappiness"),
            _ => Ok(()),
        },
    }
}

fn check_cpu(cpu: &Cpu) -> Result<()> {
    let at = |what: String, field| Err(Error::new(what).at(format!("linux.resources.cpu.{field}")));
    if let (Some(burst), Some(quota)) = (cpu.burst, cpu.quota.filter(|&quota| quota > 0))
        && burst > quota.unsigned_abs()
    {
        return at(format!("{burst} is more than cpu.quota, {quota}"), "burst");
    }
    if let Some(idle) = cpu.idle.filter(|idle| !(0..=1).contains(idle)) {
        return at(format!("{idle} is neither 0 nor 1"), "idle");
    }
    for (field, list) in [("cpus", &cpu.cpus), ("mems", &cpu.mems)] {
        let wrong =
            |c: char| !c.is_ascii_digit() && !matches!(c, ',' | '-' | ':' | '/' | ' ' | '\n');
        if let Some(list) = list.as_ref().filter(|list| list.contains(wrong)) {
            return at(format!("{list:?} is no list such as 0-3,7"), field);
        }
    }
    Ok(())
}

fn check_block_io(block_io: &BlockIo) -> Result<()> {
    let range = |weight: Option<u16>, field: String| match weight {
        None | Some(0 | 10..=1000) => Ok(()),
        Some(n) => Err(Error::new(format!("{n} is not from 10 to 1000"))
            .at(format!("linux.resources.blockIO.{field}"))),
    };
    range(block_io.weight, "weight".into())?;
    range(block_io.leaf_weight, "leafWeight".into())?;
    for (i, device) in block_io.weight_device.iter().enumerate() {
        range(device.weight, format!("weightDevice[{i}].weight"))?;
        range(device.leaf_weight, format!("weightDevice[{i}].leafWeight"))?;
        if device.weight.is_none() && device.leaf_weight.is_none() {
            return Err(Error::new("needs weight or leafWeight")
                .at(format!("linux.resources.blockIO.weightDevice[{i}]")));
        }
    }
    Ok(())
}

/// `64KB`, `2MB`, `1GB`: it becomes part of a file's name.
fn check_page_size(size: &str) -> Result<()> {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    match number {
        Some(n) if !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
        _ => Err(Error::new(format!("{size:?} is no size such as 2MB"))),
    }
}
