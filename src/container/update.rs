//! `update`: changes the limits of a container, and its saved configuration
//! with them, or neither.

use super::{Container, Observed, Runtime, not_running, serve};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::plan::{Findings, intel_rdt};
use crate::spec::{self, Cpu, IntelRdt, Resources};
use serde_json::{Map, Value};

/// Fields of which 0 says nothing: no such limit can be wanted, and engines send it for each
/// field that is not to change (Docker 20.10). Elsewhere 0 is a value: `cpu.idle`, `cpu.burst`,
/// `memory.swappiness`, rates and huge pages.
const ZERO_IS_UNSET: [(&str, &[&str]); 3] = [
    ("memory", &["limit", "reservation", "swap", "kernel", "kernelTCP"]),
    ("cpu", &["shares", "quota", "period", "realtimePeriod"]),
    ("blockIO", &["weight", "leafWeight"]),
];

/// The same in a document, which may hold what its writer has not set. An option of the
/// command line names it, and then 0 is a limit of its own.
const ZERO_IS_UNSET_IN_A_DOCUMENT: [(&str, &[&str]); 2] =
    [("cpu", &["realtimeRuntime"]), ("pids", &["limit"])];

/// What is to be changed.
#[derive(Debug, Default)]
pub struct Change {
    /// A `linux.resources` object that an engine has written.
    pub document: Value,
    /// The same with the fields that options name: they win.
    pub options: Value,
    /// A `linux.intelRdt` object with only the schemata that change.
    pub rdt: Value,
}

/// Changes what `change` names, and nothing else.
///
/// # Errors
/// A container that is not running; what the kernel refuses, with the field's
/// name. Everything is then as it was.
pub fn update(runtime: &Runtime, id: &str, change: &Change) -> Result<()> {
    let mut container = Container::find(runtime, id)?;
    let _lock = container.dir.lock()?;
    // Of this directory: another container may have got the id since.
    container.record = container.dir.load()?;
    match container.observe()? {
        Observed::Created(init) | Observed::Running(init) | Observed::Paused(init) => {
            change_limits(&container, change).map_err(|error| serve::look_again(error, id, init))
        }
        Observed::Stopped => Err(not_running(id)),
        Observed::Creating(_) => {
            Err(Error::new(format!("cannot update container {id}: it is being created")))
        }
    }
}

fn change_limits(container: &Container, change: &Change) -> Result<()> {
    let mut config: Value = spec::parse("config.json", &container.dir.config()?)?;
    let linux = child(&mut config, "linux");
    let kept = child(linux, "resources");
    let old = resources(kept)?;
    let named = change.resources();
    merge(kept, &named);
    forget_swap(kept, &named);
    let wanted = complete(resources(&named)?, &resources(kept)?);
    if !change.rdt.is_null() {
        keep_rdt(child(linux, "intelRdt"), &change.rdt);
    }
    let cgroup = container.own_cgroup()?;
    let undo = cgroup.change(&cgroup.updates(&wanted)?, &restore_devices(cgroup, old)?)?;
    // systemd cannot be told to forget, so nothing that may fail comes after it.
    change_rdt(container, change)
        .and_then(|()| container.dir.prepare_config(config.to_string().as_bytes()))
        .and_then(|config| cgroup.update_unit(&wanted).and_then(|()| config.commit()))
        .map_err(|error| cgroup.undo_change(&undo, error))
}

impl Change {
    /// The fields that are to change.
    fn resources(&self) -> Value {
        let mut document = self.document.clone();
        forget_zeros(&mut document, &ZERO_IS_UNSET_IN_A_DOCUMENT);
        merge(&mut document, &self.options);
        forget_zeros(&mut document, &ZERO_IS_UNSET);
        document
    }
}

/// As if the writer had left them out.
fn forget_zeros(resources: &mut Value, unset: &[(&str, &[&str])]) {
    for (object, fields) in unset {
        for field in *fields {
            let value = resources.get_mut(*object).and_then(|object| object.get_mut(*field));
            if let Some(zero) = value.filter(|value| value.as_i64() == Some(0)) {
                *zero = Value::Null;
            }
        }
    }
}

fn change_rdt(container: &Container, change: &Change) -> Result<()> {
    if change.rdt.is_null() {
        return Ok(());
    }
    let rdt: IntelRdt = spec::parse_str("linux.intelRdt", &change.rdt.to_string())?;
    let mut findings = Findings::default();
    let lines = intel_rdt::schemata(&rdt, &mut findings);
    let lines = findings.check(lines)?;
    let groups = container.record.rdt.as_ref().ok_or_else(|| {
        let first = lines.first().map_or("linux.intelRdt", |(field, _)| field);
        Error::new("the container has no linux.intelRdt").at(first)
    })?;
    groups.change(&lines)
}

/// Lays changed schemata over the kept ones: of `schemata`, a line replaces that
/// of the same resource.
fn keep_rdt(kept: &mut Value, change: &Value) {
    let resource =
        |line: &Value| line.as_str()?.split_once(':').map(|(name, _)| name.trim().to_owned());
    for (field, new) in change.as_object().into_iter().flatten() {
        let old = &mut kept[field.as_str()];
        match (&mut *old, new) {
            (Value::Array(old), Value::Array(new)) => {
                for line in new {
                    match old.iter_mut().find(|other| resource(other) == resource(line)) {
                        Some(same) => *same = line.clone(),
                        None => old.push(line.clone()),
                    }
                }
            }
            _ => *old = new.clone(),
        }
    }
}

/// The typed view of an object, with errors that name the field.
fn resources(value: &Value) -> Result<Resources> {
    if value.is_null() {
        return Ok(Resources::default());
    }
    spec::parse_str("linux.resources", &value.to_string())
}

/// A field that is an object, made if need be.
fn child<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let field = &mut value[name];
    if !field.is_object() {
        *field = Value::Object(Map::new());
    }
    field
}

/// Lays `change` over `kept`. What is null or empty stays as it is;
/// limits by device, page size or interface are replaced one by one, as the
/// kernel does; device rules are an ordered whole.
fn merge(kept: &mut Value, change: &Value) {
    let Value::Object(change) = change else { return };
    for (name, new) in change {
        let unset = match new {
            Value::Null => true,
            Value::String(text) => text.is_empty() && name != "type",
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        if unset {
            continue;
        }
        let old = &mut kept[name.as_str()];
        match (old, new) {
            (Value::Array(old), Value::Array(new)) if name != "devices" => {
                for item in new {
                    match old.iter_mut().find(|other| key(other) == key(item)) {
                        Some(same) => merge(same, item),
                        None => old.push(item.clone()),
                    }
                }
            }
            (old @ Value::Object(_), Value::Object(_)) => merge(old, new),
            (old, new) => *old = new.clone(),
        }
    }
}

/// What an entry of a list is about.
fn key(item: &Value) -> [&Value; 4] {
    ["major", "minor", "pageSize", "name"].map(|name| &item[name])
}

/// No limit of memory means none of memory and swap either, unless it is named.
fn forget_swap(kept: &mut Value, change: &Value) {
    let memory = &change["memory"];
    if memory["limit"].as_i64() == Some(-1) && memory["swap"].is_null() {
        kept["memory"]["swap"] = Value::from(-1);
    }
}

/// Adds to a change what the kernel counts together with it: memory with swap
/// (v2 wants the difference), a burst with its quota, shares with idleness.
fn complete(mut change: Resources, all: &Resources) -> Resources {
    if let (Some(memory), Some(all)) = (&mut change.memory, &all.memory)
        && (memory.limit.is_some() || memory.swap.is_some())
    {
        (memory.limit, memory.swap) = (all.limit, all.swap);
    }
    if let (Some(cpu), Some(all)) = (&mut change.cpu, &all.cpu) {
        complete_cpu(cpu, all);
    }
    change
}

fn complete_cpu(cpu: &mut Cpu, all: &Cpu) {
    if cpu.burst.is_some() {
        cpu.quota = all.quota;
    }
    // An idle cgroup takes no shares, and gets the default back with its end.
    if cpu.idle == Some(0) {
        cpu.shares = all.shares;
    } else if cpu.shares.is_some() && all.idle == Some(1) {
        cpu.idle = all.idle;
    }
}

/// The device rules as they were, should the change fail half way.
fn restore_devices(cgroup: &Cgroup, old: Resources) -> Result<Vec<crate::cgroup::Write>> {
    cgroup.updates(&Resources { devices: old.devices, ..Resources::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_laid_over_what_is_kept() {
        let mut kept = json!({
            "memory": {"limit": 100, "swap": 200}, "cpu": {"shares": 512},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 2}],
            "devices": [{"allow": false}, {"allow": true, "major": 1}],
        });
        let change = json!({
            "memory": {"limit": 50, "swap": null}, "cpu": {"cpus": ""}, "network": null,
            "hugepageLimits": [{"pageSize": "1GB", "limit": 0}],
            "devices": [{"allow": true}], "pids": {"limit": 0},
        });
        merge(&mut kept, &change);
        let want = json!({
            "memory": {"limit": 50, "swap": 200}, "cpu": {"shares": 512},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 0}],
            "devices": [{"allow": true}], "pids": {"limit": 0},
        });
        assert_eq!(kept, want);
    }

    #[test]
    fn a_zero_changes_nothing_where_no_engine_can_mean_it() {
        let document = json!({
            "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": 0,
                       "swappiness": 0},
            "cpu": {"shares": 300, "quota": 0, "period": 0, "realtimeRuntime": 0,
                    "realtimePeriod": 0, "burst": 0, "idle": 0, "cpus": "", "mems": ""},
            "blockIO": {"weight": 0, "leafWeight": 0}, "pids": {"limit": 0},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
        });
        let change = Change { document, ..Change::default() };
        let want = json!({
            "memory": {"limit": null, "reservation": null, "swap": null, "kernel": null,
                       "kernelTCP": null, "swappiness": 0},
            "cpu": {"shares": 300, "quota": null, "period": null, "realtimeRuntime": null,
                    "realtimePeriod": null, "burst": 0, "idle": 0, "cpus": "", "mems": ""},
            "blockIO": {"weight": null, "leafWeight": null}, "pids": {"limit": null},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
        });
        assert_eq!(change.resources(), want);
    }

    #[test]
    fn an_option_wins_and_its_zero_is_a_limit_where_there_is_such_a_one() {
        let document = json!({"memory": {"limit": 7}, "pids": {"limit": 3}});
        let options = json!({"memory": {"limit": 9, "swap": 0}, "pids": {"limit": 0},
            "cpu": {"realtimeRuntime": 0, "shares": 0}});
        let change = Change { document, options, ..Change::default() };
        let want = json!({"memory": {"limit": 9, "swap": null}, "pids": {"limit": 0},
            "cpu": {"realtimeRuntime": 0, "shares": null}});
        assert_eq!(change.resources(), want);
        assert_eq!(Change::default().resources(), Value::Null);
    }

    #[test]
    fn a_schema_replaces_that_of_its_resource() {
        let mut kept = json!({"closID": "x", "schemata": ["L3:0=ff", "MB:0=50"]});
        let change = json!({"l3CacheSchema": "L3:0=f", "schemata": ["MB:0=70", "L2:0=1"]});
        keep_rdt(&mut kept, &change);
        let schemata = json!(["L3:0=ff", "MB:0=70", "L2:0=1"]);
        assert_eq!(kept, json!({"closID": "x", "l3CacheSchema": "L3:0=f", "schemata": schemata}));
    }

    #[test]
    fn what_belongs_together_is_changed_together() {
        let all: Resources = resources(&json!({
            "memory": {"limit": 50, "swap": 200}, "cpu": {"shares": 512, "idle": 1, "quota": 9},
        }))
        .unwrap();
        let memory = complete(resources(&json!({"memory": {"limit": 50}})).unwrap(), &all);
        assert_eq!(memory.memory, all.memory);
        let cpu = complete(resources(&json!({"cpu": {"idle": 0, "burst": 3}})).unwrap(), &all);
        let cpu = cpu.cpu.unwrap();
        assert_eq!((cpu.shares, cpu.quota, cpu.idle), (Some(512), Some(9), Some(0)));
    }

    #[test]
    fn no_limit_of_memory_lifts_that_of_swap() {
        let mut kept = json!({"memory": {"limit": -1, "swap": 200}});
        forget_swap(&mut kept, &json!({"memory": {"limit": -1}}));
        assert_eq!(kept["memory"]["swap"], -1);
    }
}
