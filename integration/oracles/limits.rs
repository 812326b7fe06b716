//! `linux.resources` becomes the same values of cgroup v2 as libcgroups makes of it; where they
//! differ, the reason stands beside the difference.

use libcgroups::common::{CgroupManager as _, ControllerOpt};
use libcgroups::v2::manager::Manager;
use oci_spec::runtime::LinuxResources;
use pinnace::cgroup::{self, Home, When};
use pinnace::plan::Findings;
use pinnace::spec::Resources;
use std::collections::BTreeMap;
use std::fs;

/// The files that either may write.
const FILES: &[&str] = &[
    "memory.max",
    "memory.high",
    "memory.low",
    "memory.swap.max",
    "cpu.weight",
    "cpu.max",
    "cpu.max.burst",
    "cpu.idle",
    "cpuset.cpus",
    "cpuset.mems",
    "pids.max",
    "io.bfq.weight",
    "io.weight",
    "io.max",
    "hugetlb.2MB.max",
    "hugetlb.2MB.rsvd.max",
];

/// Both mean the same.
const SAME: &[&str] = &[
    r#"{"memory":{"limit":1048576}}"#,
    r#"{"memory":{"limit":1048576,"swap":3145728,"reservation":524288}}"#,
    r#"{"cpu":{"quota":50000,"period":100000}}"#,
    r#"{"cpu":{"quota":50000,"period":100000,"burst":20000}}"#,
    r#"{"cpu":{"quota":-1,"period":100000}}"#,
    r#"{"cpu":{"idle":1}}"#,
    r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#,
    r#"{"pids":{"limit":7}}"#,
    r#"{"pids":{"limit":-1}}"#,
    r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
    r#"{"cpu":{"shares":1024}}"#,
    r#"{"cpu":{"shares":2}}"#,
    r#"{"memory":{"limit":-1}}"#,
    r#"{"memory":{"limit":1048576,"swap":-1}}"#,
    r#"{"blockIO":{"weight":500}}"#,
    r#"{"unified":{"memory.high":"1000"}}"#,
    r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000000}]}}"#,
];

/// Files and texts.
type List = &'static [(&'static str, &'static str)];

/// What we write, what libcgroups writes, and why.
const DIFFERENT: &[(&str, List, List)] = &[
    // The field is memory and swap: there is none left for swap, and Docker means that.
    (
        r#"{"memory":{"limit":1048576,"swap":1048576}}"#,
        &[("memory.max", "1048576"), ("memory.swap.max", "0")],
        &[("memory.max", "1048576")],
    ),
    // A period holds without a quota, too: a later quota counts by it.
    (r#"{"cpu":{"period":100000}}"#, &[("cpu.max", "max 100000")], &[]),
    // The spec has no other meaning for 0 than the number: nobody may be born.
    (r#"{"pids":{"limit":0}}"#, &[("pids.max", "0")], &[("pids.max", "1")]),
];

#[test]
fn limits_that_libcgroups_understands_otherwise() {
    let values = |list: List| -> Values {
        list.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    };
    for (json, own, other) in DIFFERENT {
        assert_eq!((ours(json), theirs(json)), (values(own), Ok(values(other))), "{json}");
    }
}

#[test]
fn limits_are_what_libcgroups_makes_of_them() {
    let bad: Vec<_> = SAME.iter().filter(|json| Ok(ours(json)) != theirs(json)).collect();
    let told = |json| format!("{json}\n  ours   {:?}\n  theirs {:?}", ours(json), theirs(json));
    assert!(bad.is_empty(), "{}", bad.iter().map(|json| told(json)).collect::<Vec<_>>().join("\n"));
}

/// File and text, in the order of the names.
type Values = BTreeMap<String, String>;

fn ours(json: &str) -> Values {
    let resources: Resources = serde_json::from_str(json).unwrap();
    let mut findings = Findings::default();
    let writes = cgroup::writes(&resources, &|_| Home::V2, When::Create, &mut findings);
    let writes = findings.check(writes).unwrap();
    let lines = writes.iter().map(ToString::to_string);
    // ` & `: both, in whatever order the kernel takes them; ` | `: the first that there is.
    let alone = lines.flat_map(|line| {
        let all = line.split(" & ").map(|one| one.split(" | ").next().unwrap().to_owned());
        all.collect::<Vec<_>>()
    });
    let pairs = alone.filter_map(|line| {
        let (file, text) = line.split_once(" = ")?;
        Some((file.trim_end_matches('?').to_owned(), text.to_owned()))
    });
    pairs.collect()
}

fn theirs(json: &str) -> Result<Values, String> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("container");
    fs::create_dir(&dir).unwrap();
    for file in ["cgroup.controllers", "cgroup.subtree_control"] {
        fs::write(root.path().join(file), "cpuset cpu io memory hugetlb pids").unwrap();
        fs::write(dir.join(file), "cpuset cpu io memory hugetlb pids").unwrap();
    }
    FILES.iter().for_each(|file| fs::write(dir.join(file), "").unwrap());
    let options = ControllerOpt {
        resources: &resources,
        disable_oom_killer: false,
        oom_score_adj: None,
        freezer_state: None,
    };
    let manager = Manager::new(root.path().into(), "container".into()).unwrap();
    manager.apply(&options).map_err(|error| error.to_string())?;
    let text = |file: &str| fs::read_to_string(dir.join(file)).unwrap();
    let written = FILES.iter().map(|file| ((*file).to_owned(), text(file)));
    Ok(written.filter(|(_, text)| !text.is_empty()).collect())
}
