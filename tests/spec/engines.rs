//! What engines write (`tests/fixtures/engines`): valid by the schema, read
//! without loss, and planned without a complaint, but for one that is due.

use super::schema::Schemas;
use super::{fixtures, parse, preview};
use serde_json::Value;
use std::fs;

pub fn configurations() -> Vec<(String, String)> {
    let dir = fixtures().join("../engines");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn engines_configurations_are_read_and_planned() {
    let mut schemas = Schemas::default();
    let all = configurations();
    assert_eq!(all.len(), 8);
    for (name, text) in all {
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut invalid = schemas.check("config-schema.json", &document);
        // podman writes the type of a device into its mode; runc takes it, so do we.
        invalid.retain(|what| !(name == "podman-privileged" && what.contains("/fileMode: ")));
        assert_eq!(invalid, [""; 0], "{name}");
        let spec = parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let preview = preview(&spec).to_json();
        let mut findings = preview["findings"].as_array().unwrap().clone();
        // buildah makes them ambient and not inheritable, which nobody can.
        findings.retain(|f| !(name == "buildah" && f["field"] == "process.capabilities.ambient"));
        assert_eq!(findings, Vec::<Value>::new(), "{name}");
        let plan = &preview["plan"];
        let count = |value: &Value| value.as_array().map_or(0, Vec::len);
        assert_eq!(count(&plan["mounts"]), count(&document["mounts"]), "{name}: {plan:#}");
    }
}

/// Each value that is changed to one of another type is missed: nothing that
/// engines write is passed over unread.
#[test]
fn engines_values_are_all_read() {
    for (name, text) in configurations() {
        let document: Value = serde_json::from_str(&text).unwrap();
        for pointer in leaves(&document) {
            // Of long lists of names the first is as good as all.
            if pointer.contains("/names/") && !pointer.ends_with("/0") {
                continue;
            }
            let mut bent = document.clone();
            *bent.pointer_mut(&pointer).unwrap() = serde_json::json!([{"no": "such type"}]);
            assert!(parse(&bent.to_string()).is_err(), "{name}: {pointer} is not read");
        }
    }
}

fn leaves(value: &Value) -> Vec<String> {
    let below = |key: &str, value: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        leaves(value).into_iter().map(move |rest| format!("/{key}{rest}")).collect::<Vec<_>>()
    };
    match value {
        Value::Object(map) => map.iter().flat_map(|(key, value)| below(key, value)).collect(),
        Value::Array(list) => {
            let list = list.iter().enumerate();
            list.flat_map(|(index, value)| below(&index.to_string(), value)).collect()
        }
        _ => vec![String::new()],
    }
}
