//! The table of known keys is the spec's own schema, key for key.

use super::engines::configurations;
use super::leaves::{IGNORED, maximal};
use pinnace::spec::known::{keys, unknown};
use serde_json::Value;
use std::collections::BTreeSet;

/// Members of these have names of the user's choice.
const MAPS: [&str; 6] = [
    "annotations",
    "linux.sysctl",
    "linux.timeOffsets",
    "linux.netDevices",
    "linux.resources.rdma",
    "linux.resources.unified",
];

/// The paths of all keys below a value, without places in lists and names of members.
fn collect(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| collect(item, path, paths)),
        Value::Object(object) if MAPS.contains(&path) => {
            object.values().for_each(|member| collect_keys(member, path, paths));
        }
        _ => collect_keys(value, path, paths),
    }
}

fn collect_keys(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(value, &path, paths);
        paths.insert(path);
    }
}

/// The same of the table.
fn collect_known(path: &str, paths: &mut BTreeSet<String>) {
    for name in keys(path) {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        collect_known(&path, paths);
        paths.insert(path);
    }
}

#[test]
fn the_known_keys_are_those_of_the_schema() {
    let (config, _) = maximal();
    let (mut schema, mut known) = (BTreeSet::new(), BTreeSet::new());
    collect(&config, "", &mut schema);
    collect_known("", &mut known);
    assert!(schema.len() > 150, "{}", schema.len());
    let missing: Vec<_> = schema.difference(&known).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    let more: Vec<_> = known.difference(&schema).map(String::as_str).collect();
    let other = |path: &&str| {
        // Other platforms, and a spelling that is read as well.
        let name = path.rsplit('.').next().unwrap();
        !IGNORED.contains(&name) && *path != "linux.resources.hugepageLimits.pagesize"
    };
    let more: Vec<_> = more.into_iter().filter(other).collect();
    assert!(more.is_empty(), "not in the schema: {more:?}");
}

#[test]
fn a_configuration_with_everything_has_no_unknown_keys() {
    let (config, _) = maximal();
    assert_eq!(unknown(&config.to_string(), ""), []);
    assert_eq!(unknown(&config["linux"]["resources"].to_string(), "linux.resources"), []);
}

/// A letter is left out of each key in its turn: the table finds the slip, and nothing else.
#[test]
fn a_slip_in_any_key_is_told_with_its_path_and_the_key() {
    let (config, _) = maximal();
    let mut paths = BTreeSet::new();
    collect(&config, "", &mut paths);
    let text = config.to_string();
    let names: BTreeSet<&str> = paths.iter().filter_map(|path| path.rsplit('.').next()).collect();
    for name in names.into_iter().filter(|name| name.len() > 2) {
        let slip = format!("{}{}", &name[..1], &name[2..]);
        let changed = text.replace(&format!("{name:?}:"), &format!("{slip:?}:"));
        let found = unknown(&changed, "");
        assert!(!found.is_empty(), "{slip}");
        for one in found {
            assert!(one.path.ends_with(&slip), "{slip}: {one:?}");
            assert_eq!(one.near.as_deref(), Some(name), "{slip}: {one:?}");
        }
    }
}

/// What engines write has no unknown keys: whoever looks at it is not told of any.
#[test]
fn engines_write_no_unknown_keys() {
    let all = configurations();
    assert!(all.len() > 5, "{}", all.len());
    for (name, text) in all {
        assert_eq!(unknown(&text, ""), [], "{name}");
    }
}
