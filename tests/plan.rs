//! `pinnace plan`: the plans of three bundles against `tests/golden/plan`, as
//! text and as JSON, and the command itself, as an ordinary user.
//! `BLESS=1 cargo test --test plan` writes the golden files anew.
#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

use pinnace::cgroup::Cgroup;
use pinnace::container::Preview;
use pinnace::spec;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Cgroup v2 and one path, whatever the host of the test runs.
fn preview(text: &str) -> Preview {
    let node = json!({"root": "/sys/fs/cgroup", "path": "pod/web", "name": null, "made": 0});
    let rules = json!({"rootless": false, "default_path": false});
    let v2 = json!({"V2": {"node": node, "exists": true, "rules": rules}});
    let cgroup: Cgroup = serde_json::from_value(v2).unwrap();
    let spec = spec::parse_str("config.json", text).unwrap();
    Preview::on(cgroup, &spec, Path::new("/bundle"))
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan").join(name)
}

#[track_caller]
fn compare(name: &str, seen: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(golden(name), seen).unwrap();
    }
    let wanted = fs::read_to_string(golden(name)).unwrap();
    assert_eq!(seen, wanted, "{name}: BLESS=1 if that is meant");
}

#[test]
fn plans_are_golden() {
    for name in ["example", "kubernetes", "ten_errors"] {
        let preview = preview(&fs::read_to_string(golden(&format!("{name}.config.json"))).unwrap());
        assert_eq!(preview.is_refused(), name == "ten_errors");
        if cfg!(target_arch = "x86_64") {
            compare(&format!("{name}.txt"), &preview.to_string());
            let json = serde_json::to_string_pretty(&preview.to_json()).unwrap();
            compare(&format!("{name}.json"), &format!("{json}\n"));
        }
    }
}

/// A MUST each, which no peer enforces: all are told in one run.
#[test]
fn r088_r111_r120_r123_r138_r202_r235_r237_r251_r291_r295_r297_told_at_once() {
    let text = fs::read_to_string(golden("ten_errors.config.json")).unwrap();
    let document = preview(&text).to_json();
    let list = document["findings"].as_array().unwrap();
    let fields: Vec<&str> = list
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .map(|finding| finding["field"].as_str().unwrap())
        .collect();
    for field in [
        "ociVersion",
        "process.cwd",
        "process.rlimits[1].type",
        "hooks.prestart[0].path",
        "hooks.prestart[0].timeout",
        "annotations",
        "linux.namespaces[1].path",
        "linux.resources.rdma.mlx5_1",
        "linux.seccomp.listenerMetadata",
        "linux.seccomp.syscalls[0].names",
        "linux.seccomp.syscalls[1].action",
        "linux.maskedPaths[0]",
    ] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
    assert!(list.iter().all(|finding| finding["section"].as_str().unwrap().contains(".md, ")));
    assert_eq!(document["plan"], Value::Null);
}

/// The SHOULDs: told, and not in the way.
#[test]
fn r006_r011_r091_r152_r296_shoulds_are_no_errors() {
    let preview = preview(
        r#"{"ociVersion": "1.3.0", "root": {"path": "r"},
        "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["x"], "capabilities": {"bounding": ["CAP_X"]}},
        "mounts": [{"destination": "rel", "type": "tmpfs"},
            {"destination": "/b", "source": "/b", "options": ["bind"],
             "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
             "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}],
        "linux": {"namespaces": [{"type": "mount"}], "devices": [
            {"type": "c", "path": "/dev/a", "major": 1, "minor": 3}]}}"#,
    );
    assert!(!preview.is_refused(), "{preview}");
    let document = preview.to_json();
    let seen: Vec<(&str, &str)> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["severity"].as_str().unwrap(), f["field"].as_str().unwrap()))
        .collect();
    let advice = ("advice", "default filesystems");
    assert_eq!(
        seen,
        [
            ("warning", "mounts[0].destination"),
            ("warning", "mounts[1].uidMappings"),
            ("warning", "linux.devices[0]"),
            ("warning", "process.capabilities.bounding"),
            advice,
            advice,
            advice,
            advice,
            ("advice", "default devices"),
        ]
    );
}

fn command(bundle: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pinnace"))
        .arg("--root")
        .arg(bundle.join("state"))
        .arg("plan")
        .arg("--bundle")
        .arg(bundle)
        .args(args)
        .output()
        .unwrap()
}

/// The configuration that `spec` writes into an empty directory.
fn spec(args: &[&str], dir: &Path) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinnace"));
    let out = command.arg("spec").args(args).arg("--bundle").arg(dir).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    fs::read(dir.join("config.json")).unwrap()
}

#[test]
fn the_command_says_by_its_exit_code_whether_it_would_be_done() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    // It looks at the host as its caller, who may be anybody.
    let own: Value = serde_json::from_slice(&spec(&["--rootless"], dir.path())).unwrap();
    let mut example: Value =
        serde_json::from_str(&fs::read_to_string(golden("example.config.json")).unwrap()).unwrap();
    if !rustix::process::geteuid().is_root() {
        for field in ["namespaces", "uidMappings", "gidMappings"] {
            example["linux"][field] = own["linux"][field].clone();
        }
        example["linux"].as_object_mut().unwrap().remove("resources");
    }
    fs::write(&config, example.to_string()).unwrap();
    let out = command(dir.path(), &[]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("root.path") && text.contains("nothing would be done"), "{text}");
    fs::create_dir(dir.path().join("rootfs")).unwrap();
    let out = command(dir.path(), &[]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{text}");
    assert!(text.contains("\nmounts\n") && text.contains("/dev/pts"), "{text}");

    fs::copy(golden("ten_errors.config.json"), &config).unwrap();
    let out = command(dir.path(), &["--json"]);
    assert_eq!(out.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(document["findings"].as_array().unwrap().len() > 10);

    fs::write(&config, "{").unwrap();
    let out = command(dir.path(), &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("config.json: line 1"));
}
