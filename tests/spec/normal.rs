//! One form for what means the same.

use serde_json::{Value, json};

/// What a field means that is left out, where we or they have no other word for it.
const UNSET: &[(&str, &str, Unset)] = &[
    ("root", "readonly", Unset::False),
    ("process", "terminal", Unset::False),
    ("process", "noNewPrivileges", Unset::False),
    ("process.scheduler", "nice", Unset::Zero),
    ("process.scheduler", "priority", Unset::Zero),
    ("process.scheduler", "runtime", Unset::Zero),
    ("process.scheduler", "deadline", Unset::Zero),
    ("process.scheduler", "period", Unset::Zero),
    ("linux.timeOffsets.any", "secs", Unset::Zero),
    ("linux.timeOffsets.any", "nanosecs", Unset::Zero),
    ("linux.intelRdt", "enableMonitoring", Unset::False),
    ("linux.seccomp.syscalls[0].args[0]", "valueTwo", Unset::Zero),
    // Only they cannot tell.
    ("linux.devices[0]", "major", Unset::Zero),
    ("linux.devices[0]", "minor", Unset::Zero),
    ("linux.resources.pids", "limit", Unset::Zero),
];

#[derive(Clone, Copy)]
enum Unset {
    False,
    Zero,
}

/// Objects whose members have names of their own.
const MAPS: &[&str] = &[
    "annotations",
    "linux.netDevices",
    "linux.resources.rdma",
    "linux.resources.unified",
    "linux.sysctl",
    "linux.timeOffsets",
];

/// A document in which equal meaning is equal text: without what is unset or
/// empty, and capabilities, which are sets, in order.
pub fn normal(field: &str, value: Value) -> Value {
    let below = |name: &str| match (field.is_empty(), MAPS.contains(&field)) {
        (true, _) => name.to_owned(),
        (_, true) => format!("{field}.any"),
        _ => format!("{field}.{name}"),
    };
    match value {
        Value::Object(mut object) => {
            for (parent, name, unset) in UNSET {
                let member = object.get(*name).is_none_or(Value::is_null);
                if *parent == field && member {
                    let value = match unset {
                        Unset::False => json!(false),
                        Unset::Zero => json!(0),
                    };
                    object.insert((*name).into(), value);
                }
            }
            let members = object.into_iter();
            let members = members.map(|(name, value)| (name.clone(), normal(&below(&name), value)));
            let nothing = |name: &str, value: &Value| match value {
                Value::Null => true,
                // Unset leaves the choice of flags to us.
                Value::Array(list) => list.is_empty() && below(name) != "linux.seccomp.flags",
                Value::Object(object) => object.is_empty() && !MAPS.contains(&field),
                _ => false,
            };
            members.filter(|(name, value)| !nothing(name, value)).collect()
        }
        Value::Array(list) => {
            let list = list.into_iter().map(|item| normal(&format!("{field}[0]"), item));
            let mut list: Vec<Value> = list.collect();
            if field.starts_with("process.capabilities.") {
                list.sort_by_key(Value::to_string);
                list.dedup();
            }
            Value::Array(list)
        }
        other => other,
    }
}
