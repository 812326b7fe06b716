//! `linux.intelRdt` against a tree of plain files that looks like resctrl:
//! machines with Intel RDT are rare. What the kernel would do by itself (fill a
//! new directory, empty one that is removed) the tests do.
#![allow(clippy::unwrap_used, missing_docs)]

use pinnace::plan::{Findings, IntelRdt, intel_rdt};
use pinnace::resctrl::{Groups, find};
use pinnace::spec;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const DEFAULT: &str = "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n";

/// A resctrl with its default class.
fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    fs::create_dir(dir.path().join("info")).unwrap();
    fs::write(dir.path().join("info/last_cmd_status"), "ok\n").unwrap();
    dir
}

/// What the kernel puts into a new class.
fn fill(class: &Path) {
    fs::create_dir_all(class.join("mon_groups")).unwrap();
    fs::write(class.join("schemata"), DEFAULT).unwrap();
    fs::write(class.join("tasks"), "").unwrap();
}

/// rmdir(2) of a real class takes its files along.
fn empty(class: &Path) {
    for name in ["schemata", "tasks"] {
        drop(fs::remove_file(class.join(name)));
    }
    drop(fs::remove_dir(class.join("mon_groups")));
}

fn parse(json: &str, id: &str) -> Result<(IntelRdt, Vec<String>), String> {
    let rdt: spec::IntelRdt = serde_json::from_str(json).unwrap();
    let mut findings = Findings::default();
    let plan = intel_rdt::plan(Some(&rdt), id, &mut findings);
    let (plan, warnings) = findings.finish(plan).map_err(|error| error.to_string())?;
    Ok((plan.unwrap(), warnings.iter().map(ToString::to_string).collect()))
}

fn rdt(json: &str) -> IntelRdt {
    parse(json, "box").unwrap().0
}

/// Plans and creates for the container `box`.
fn create(json: &str, root: &Path) -> Result<Groups, String> {
    let rdt = rdt(json);
    let mut groups = Groups::locate(&rdt, "box", root).map_err(|error| error.to_string())?;
    groups.create(&rdt).map_err(|error| error.to_string())?;
    Ok(groups)
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn r211_without_clos_id_the_class_has_the_containers_id_and_goes_with_it() {
    let tree = tree();
    let groups = create("{}", tree.path()).unwrap();
    let class = tree.path().join("box");
    assert!(class.is_dir());
    groups.enter(4711).unwrap();
    assert_eq!(read(class.join("tasks")), "4711");
    assert!(!class.join("schemata").exists(), "no schema is written that is not given");
    empty(&class);
    groups.remove().unwrap();
    assert!(!class.exists());
    groups.remove().unwrap();
}

#[test]
fn r211_the_root_class() {
    let tree = tree();
    let groups = create(r#"{"closID": "/"}"#, tree.path()).unwrap();
    groups.enter(1).unwrap();
    assert_eq!(read(tree.path().join("tasks")), "1");
    groups.remove().unwrap();
    assert!(tree.path().is_dir());
    assert_eq!(read(tree.path().join("schemata")), DEFAULT);
}

#[test]
fn r211_an_own_class_that_is_there_is_not_ours() {
    let tree = tree();
    fill(&tree.path().join("box"));
    let error = create("{}", tree.path()).unwrap_err();
    assert!(error.starts_with("linux.intelRdt.closID: "), "{error}");
    // Made by another between plan and create: still not ours.
    fs::rename(tree.path().join("box"), tree.path().join("other")).unwrap();
    let rdt = rdt(r#"{"enableMonitoring": true}"#);
    let mut groups = Groups::locate(&rdt, "box", tree.path()).unwrap();
    fs::create_dir(tree.path().join("box")).unwrap();
    let error = groups.create(&rdt).unwrap_err().to_string();
    assert!(error.contains("file exists"), "{error}");
    groups.remove().unwrap();
    assert!(tree.path().join("box").is_dir());
}

#[test]
fn r213_r216_schemata_are_written_in_their_order() {
    let tree = tree();
    let json = r#"{"closID": "gold", "schemata": ["L2:0=f", "MB:1=70"],
                   "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=7f0;1=1f"}"#;
    create(json, tree.path()).unwrap();
    let written = read(tree.path().join("gold/schemata"));
    assert_eq!(written, "L3:0=7f0;1=1f\nMB:0=20\nL2:0=f\nMB:1=70\n");
}

#[test]
fn r214_a_class_that_is_there_must_have_those_limits() {
    let tree = tree();
    let class = tree.path().join("gold");
    fill(&class);
    fs::write(class.join("schemata"), "    L3:0=0f0;1=7ff\n    MB:0= 20;1=100\n").unwrap();
    for json in [
        r#"{"closID": "gold", "l3CacheSchema": "L3:0=f0;1=7ff"}"#,
        r#"{"closID": "gold", "l3CacheSchema": "L3:0=f0"}"#,
        r#"{"closID": "gold", "memBwSchema": "MB:0=20;1=100", "l3CacheSchema": "L3:1=7ff"}"#,
        r#"{"closID": "gold", "schemata": ["L3:1=7ff", "MB:1=100"]}"#,
    ] {
        let groups = create(json, tree.path()).unwrap_or_else(|error| panic!("{json}: {error}"));
        groups.remove().unwrap();
        assert!(class.is_dir(), "it is not the container's own");
    }
    for (json, field) in [
        (r#"{"closID": "gold", "l3CacheSchema": "L3:0=ff"}"#, "l3CacheSchema"),
        (r#"{"closID": "gold", "l3CacheSchema": "L3:2=f0"}"#, "l3CacheSchema"),
        (r#"{"closID": "gold", "memBwSchema": "MB:0=30"}"#, "memBwSchema"),
        (r#"{"closID": "gold", "schemata": ["MB:1=100", "L3:0=1"]}"#, "schemata[1]"),
        (r#"{"closID": "gold", "schemata": ["L2:0=1"]}"#, "schemata[0]"),
        (r#"{"closID": "/", "l3CacheSchema": "L3:0=1"}"#, "l3CacheSchema"),
    ] {
        let error = create(json, tree.path()).unwrap_err();
        assert!(error.starts_with(&format!("linux.intelRdt.{field}: ")), "{json}: {error}");
    }
}

#[test]
fn r215_a_class_without_schema_must_be_there() {
    let tree = tree();
    let error = create(r#"{"closID": "gold"}"#, tree.path()).unwrap_err();
    assert!(error.starts_with("linux.intelRdt.closID: "), "{error}");
    assert!(!tree.path().join("gold").exists());
    fill(&tree.path().join("gold"));
    let groups = create(r#"{"closID": "gold"}"#, tree.path()).unwrap();
    groups.enter(7).unwrap();
    assert_eq!(read(tree.path().join("gold/tasks")), "7");
    assert_eq!(read(tree.path().join("gold/schemata")), DEFAULT, "not written");
}

#[test]
fn r217_r306_a_monitoring_group_is_made_and_removed() {
    let tree = tree();
    fill(&tree.path().join("gold"));
    let json = r#"{"closID": "gold", "enableMonitoring": true}"#;
    let groups = create(json, tree.path()).unwrap();
    let monitor = tree.path().join("gold/mon_groups/box");
    groups.enter(7).unwrap();
    assert_eq!(
        (read(tree.path().join("gold/tasks")), read(monitor.join("tasks"))),
        ("7".into(), "7".into())
    );
    // Another container of that name would be mixed up with this one.
    let error = create(json, tree.path()).unwrap_err();
    assert!(error.starts_with("linux.intelRdt.enableMonitoring: "), "{error}");
    empty(&monitor);
    groups.remove().unwrap();
    assert!(!monitor.exists() && tree.path().join("gold").is_dir());
}

#[test]
fn r306_without_monitoring_groups_it_is_an_error_and_nothing_is_left() {
    let tree = tree();
    // The plain directory lacks mon_groups, as a machine without monitoring does.
    let error = create(r#"{"enableMonitoring": true}"#, tree.path()).unwrap_err();
    assert!(error.starts_with("linux.intelRdt.enableMonitoring: mkdir "), "{error}");
    assert!(!tree.path().join("box").exists());
}

#[test]
fn r218_a_record_removes_what_it_names() {
    let tree = tree();
    let groups = create("{}", tree.path()).unwrap();
    let text = serde_json::to_string(&groups).unwrap();
    let groups: Groups = serde_json::from_str(&text).unwrap();
    groups.remove().unwrap();
    assert!(!tree.path().join("box").exists());
    let class = tree.path().join("gold");
    fill(&class);
    let groups = create(r#"{"closID": "gold", "enableMonitoring": true}"#, tree.path()).unwrap();
    let text = serde_json::to_string(&groups).unwrap();
    let groups: Groups = serde_json::from_str(&text).unwrap();
    assert!(class.join("mon_groups/box").is_dir());
    groups.remove().unwrap();
    assert!(!class.join("mon_groups/box").exists() && class.is_dir());
}

#[test]
fn r211_r213_r216_bad_fields_are_told() {
    for (json, field) in [
        (r#"{"closID": ".."}"#, "closID"),
        (r#"{"closID": "a/b"}"#, "closID"),
        (r#"{"closID": "/a"}"#, "closID"),
        (r#"{"closID": "info"}"#, "closID"),
        (r#"{"closID": "mon_groups"}"#, "closID"),
        (r#"{"memBwSchema": "L3:0=1"}"#, "memBwSchema"),
        (r#"{"memBwSchema": "MB:0=1\nL3:0=1"}"#, "memBwSchema"),
        (r#"{"schemata": ["L3:0=1", "L3:0=1\nMB:0=1"]}"#, "schemata[1]"),
        (r#"{"schemata": [""]}"#, "schemata[0]"),
    ] {
        let error = parse(json, "box").unwrap_err();
        assert!(error.contains(&format!("linux.intelRdt.{field}: ")), "{json}: {error}");
    }
    assert!(parse("{}", "info").is_err());
    let (_, warnings) = parse(r#"{"l3CacheSchema": "0=1"}"#, "box").unwrap();
    assert!(warnings[0].starts_with("linux.intelRdt.l3CacheSchema: "), "{warnings:?}");
}

#[test]
fn r212_the_mount_is_found_by_its_type() {
    let table = "22 1 0:21 / /sys rw - sysfs sysfs rw\n\
                 30 22 0:30 / /sys/fs/resctrl rw,relatime shared:9 - resctrl resctrl rw\n\
                 31 22 0:31 / /resctrl rw - tmpfs resctrl rw\n";
    assert_eq!(find(table.as_bytes()), Some(PathBuf::from("/sys/fs/resctrl")));
    assert_eq!(find(b"22 1 0:21 / /sys rw - sysfs sysfs rw\n"), None);
}

#[test]
fn r391_an_update_writes_one_line_a_schema() {
    let tree = tree();
    let groups = create("{}", tree.path()).unwrap();
    fill(&tree.path().join("box"));
    let line = |field: &str, line: &str| (format!("linux.intelRdt.{field}"), line.to_owned());
    let lines = [line("l3CacheSchema", "L3:0=f"), line("memBwSchema", "MB:0=20")];
    groups.change(&lines).unwrap();
    let schemata = read(tree.path().join("box/schemata"));
    assert_eq!(schemata, format!("{DEFAULT}L3:0=f\nMB:0=20\n"));
    empty(&tree.path().join("box"));
    let error = groups.change(&lines).unwrap_err().to_string();
    assert!(error.starts_with("linux.intelRdt: read "), "{error}");
}
