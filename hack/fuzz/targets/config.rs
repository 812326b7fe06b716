//! A configuration to what `plan` shows of it, on cgroup v1 and v2, as text and as JSON.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pinnace::cgroup::Cgroup;
use pinnace::container::Preview;
use pinnace::spec;
use pinnace_fuzz::{mutate_json, told};
use serde_json::{Value, json};
use std::path::Path;

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    mutate_json(data, size, most, seed)
});

fuzz_target!(|data: &[u8]| {
    if let Err(error) = spec::parse::<spec::ExecSpec>("config.json", data) {
        told(&error.to_string());
    }
    let spec: spec::Spec = match spec::parse("config.json", data) {
        Ok(spec) => spec,
        Err(error) => return told(&error.to_string()),
    };
    let node = json!({"root": "/sys/fs/cgroup", "path": "pod/web", "name": null, "made": 0});
    let rules = json!({"rootless": false, "default_path": false});
    let v2 = json!({"V2": {"node": node, "exists": true, "rules": rules}});
    let names =
        ["memory", "cpu", "devices", "pids", "blkio", "cpuset", "hugetlb", "net_cls", "rdma"];
    let nodes: Vec<Value> = names
        .iter()
        .map(|name| json!([format!("/sys/fs/cgroup/{name}"), name, null, 0, false]))
        .collect();
    let v1 = json!({"V1": {"nodes": ["pod/web", nodes], "rules": rules}});
    for cgroup in [v1, v2] {
        let Ok(cgroup) = serde_json::from_value::<Cgroup>(cgroup) else {
            panic!("a cgroup of another form");
        };
        let preview = Preview::on(cgroup, &spec, Path::new("/bundle"));
        let text = preview.to_string();
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
        assert!(text.len() < 100_000 + 1000 * data.len());
        let document = preview.to_json();
        for finding in document["findings"].as_array().into_iter().flatten() {
            told(finding["rule"].as_str().unwrap_or_default());
        }
        assert!(!has_nul(&document));
        assert_eq!(preview.is_refused(), document["plan"].is_null());
    }
});

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}
