//! The documents that we print.

use super::fixtures;
use super::schema::Schemas;
use pinnace::plan::{Kind, capabilities, hooks, options};
use pinnace::spec::{self, OCI_VERSION, State, Status};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

fn features() -> Value {
    pinnace::container::features().unwrap()
}

fn listed(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// What the command prints is valid, and is what the parser's tables have.
#[test]
fn r273_r274_r275_r276_r277_features() {
    let out = Command::new(env!("CARGO_BIN_EXE_pinnace")).arg("features").output().unwrap();
    assert!(out.status.success());
    let seen: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(Schemas::default().check("features-schema.json", &seen), [""; 0]);
    assert_eq!(seen, features());
    assert_eq!(seen["ociVersionMin"], "1.0.0");
    assert_eq!(seen["ociVersionMax"], OCI_VERSION);
    assert_eq!(listed(&seen["hooks"]), hooks::KINDS);
    assert_eq!(listed(&seen["mountOptions"]), options::names().collect::<Vec<_>>());
    assert_eq!(listed(&seen["linux"]["namespaces"]), Kind::ALL.map(Kind::name));
    assert_eq!(listed(&seen["linux"]["capabilities"]), capabilities::NAMES);
}

#[test]
fn r278_r279_features_of_cgroups() {
    let cgroup = features()["linux"]["cgroup"].clone();
    for known in ["v1", "v2", "rdma", "systemdUser"] {
        assert_eq!(cgroup[known], true, "{known}");
    }
    // As the option says when it is given.
    let out = Command::new(env!("CARGO_BIN_EXE_pinnace"))
        .args(["--systemd-cgroup", "features"])
        .output()
        .unwrap();
    assert_eq!(cgroup["systemd"] == true, out.status.success());
}

/// Whatever is listed must be taken by the compiler, whatever is known supported
/// by this kernel or not.
#[test]
fn r280_r281_r282_features_of_seccomp() {
    let document = features();
    let seccomp = &document["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], true);
    let defs = std::fs::read(fixtures().join("defs-linux.json")).unwrap();
    let defs: Value = serde_json::from_slice(&defs).unwrap();
    for (ours, theirs) in [
        ("actions", "SeccompAction"),
        ("operators", "SeccompOperators"),
        ("archs", "SeccompArch"),
        ("knownFlags", "SeccompFlag"),
    ] {
        let mut wanted = listed(&defs["definitions"][theirs]["enum"]);
        let mut seen = listed(&seccomp[ours]);
        wanted.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, wanted, "{ours}");
    }
    let known = listed(&seccomp["knownFlags"]);
    let supported = listed(&seccomp["supportedFlags"]);
    assert!(supported.iter().all(|flag| known.contains(flag)));
    // Linux 4.17 and later have these.
    for flag in ["TSYNC", "LOG", "SPEC_ALLOW"] {
        assert!(supported.contains(&format!("SECCOMP_FILTER_FLAG_{flag}").as_str()), "{flag}");
    }
}

/// `enabled` says what a configuration with the property meets.
#[test]
fn r283_r284_r285_r286_r287_r288_features_do_not_lie() {
    let linux = features()["linux"].clone();
    assert!(linux["apparmor"]["enabled"] == true && linux["selinux"]["enabled"] == true);
    assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true);
    let taken = |part: Value| {
        let mut config = json!({"ociVersion": "1.3.0", "root": {"path": "r"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}]}});
        config["linux"].as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        let spec = spec::parse_str("config.json", &config.to_string()).unwrap();
        !super::preview(&spec).to_string().contains("not supported yet")
    };
    let devices = taken(json!({"netDevices": {"eth0": {}}}));
    assert_eq!(linux["netDevices"]["enabled"] == true, devices);
    assert_eq!(linux["intelRdt"]["enabled"] == true, taken(json!({"intelRdt": {}})));
    for known in ["schemata", "monitoring"] {
        assert_eq!(linux["intelRdt"][known], true, "{known}");
    }
    let defs = std::fs::read(fixtures().join("defs-linux.json")).unwrap();
    let defs: Value = serde_json::from_slice(&defs).unwrap();
    for (ours, theirs) in [("modes", "MemoryPolicyMode"), ("flags", "MemoryPolicyFlag")] {
        let mut wanted = listed(&defs["definitions"][theirs]["enum"]);
        let mut seen = listed(&linux["memoryPolicy"][ours]);
        wanted.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, wanted, "{ours}");
    }
    assert!(taken(json!({"memoryPolicy": {"mode": "MPOL_DEFAULT"}})));
}

#[test]
fn r289_r290_features_of_annotations() {
    let document = features();
    assert_eq!(document["annotations"], json!({"org.pinnace.version": env!("CARGO_PKG_VERSION")}));
    // What the systemd driver passes on to the unit, the groups of the caller, and an image's
    // layers; nothing else has an effect beyond the state.
    let unsafe_ones =
        json!(["org.systemd.property.", "run.oci.keep_original_groups", "run.pinnace.layers"]);
    assert_eq!(document["potentiallyUnsafeConfigAnnotations"], unsafe_ones);
}

#[test]
fn r255_r258_r259_the_state_is_valid_in_every_status() {
    let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    for (status, word) in [
        (Status::Creating, "creating"),
        (Status::Created, "created"),
        (Status::Running, "running"),
        (Status::Stopped, "stopped"),
    ] {
        let state = State {
            oci_version: OCI_VERSION,
            id: "x",
            pid: 1,
            status,
            bundle: "/bundle",
            rootfs: None,
            created: None,
            annotations: &annotations,
            owner: None,
        };
        let document = serde_json::to_value(state).unwrap();
        assert_eq!(Schemas::default().check("state-schema.json", &document), [""; 0]);
        let wanted = json!({"ociVersion": OCI_VERSION, "id": "x", "pid": 1, "status": word,
            "bundle": "/bundle", "annotations": {"a": "b"}});
        assert_eq!(document, wanted);
    }
}
