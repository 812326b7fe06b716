//! Limits of worlds that the test makes: cgroup v2 where the host has v1, controllers that
//! nobody has mounted, a disk whose scheduler knows weights, a cgroup that is in debt.

use crate::harness::{
    Bundle, Call, Container, Hierarchy, Output, Value, by_systemd, deviates, directory_in,
    is_cgroup, json, needs, runtime,
};
use std::fs;
use std::path::{Path, PathBuf};

fn v1() -> bool {
    Hierarchy::of_host() == Hierarchy::V1
}

fn limited(resources: &str, value: Value) -> Container {
    Bundle::sleeper().set(&format!("/linux/resources/{resources}"), value).container()
}

/// The unified hierarchy, wherever the host has it.
fn unified() -> &'static Path {
    Path::new(if v1() { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" })
}

/// A call of the runtime where the unified hierarchy is all there is.
fn on_v2(c: &Container, args: &[&str]) -> Output {
    let script = "umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup || exit 99; \
                  exec \"$@\"";
    let call = match v1() {
        true => Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"])
            .args([runtime().path.as_os_str()]),
        false => Call::new(&runtime().path),
    };
    call.args(c.global()).args(args).output_to(c.log("stdout"), c.log("stderr")).run()
}

fn create_on_v2(c: &Container) -> Output {
    on_v2(c, &["create", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
}

/// Each controller's keys, with values that are nobody's default.
const KEYS: [(&str, &str, &str); 9] = [
    ("hugetlb", "hugetlb.2MB.max", "4194304"),
    ("hugetlb", "hugetlb.2MB.rsvd.max", "2097152"),
    ("memory", "memory.high", "50331648"),
    ("memory", "memory.oom.group", "1"),
    ("pids", "pids.max", "33"),
    ("cpu", "cpu.weight", "77"),
    ("cpuset", "cpuset.cpus.partition", "member"),
    ("cgroup", "cgroup.max.descendants", "7"),
    ("cgroup", "cgroup.max.depth", "3"),
];

/// Those of `KEYS` that this kernel has on its unified hierarchy.
fn keys() -> Vec<(&'static str, &'static str)> {
    let list = fs::read_to_string(unified().join("cgroup.controllers")).unwrap_or_default();
    let has = |name: &str| name == "cgroup" || list.split_whitespace().any(|one| one == name);
    let known = KEYS.iter().filter(|(controller, ..)| has(controller));
    known.map(|(_, key, value)| (*key, *value)).collect()
}

/// config-linux.md, Unified: each key is the name of a file, whatever the runtime knows of it, and
/// the controller is made available from the top down.
#[test]
fn r203_each_key_of_unified_is_a_file_of_v2() {
    needs!(!by_systemd(), "the cgroupfs driver");
    needs!(is_cgroup(unified()), "a unified hierarchy");
    let bundle = Bundle::sleeper();
    let top = unified().join(&bundle.id);
    let path = format!("/{}/middle/own", bundle.id);
    let keys = keys();
    let wanted: Value = keys.iter().map(|(key, value)| (*key, json!(value))).collect();
    let c = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set("/linux/resources/unified", wanted)
        .container();
    let out = create_on_v2(&c);
    needs!(out.code != 99, "a unified hierarchy");
    deviates!("crun", "refuses a hybrid host's root cgroup");
    out.ok();
    let own = top.join("middle/own");
    for (key, value) in keys {
        let text = fs::read_to_string(own.join(key)).unwrap_or_else(|e| panic!("{key}: {e}"));
        assert_eq!(text.trim_end(), value, "{key}");
    }
    assert_ne!(fs::read_to_string(own.join("cgroup.procs")).unwrap(), "");
    on_v2(&c, &["delete", "--force", &c.id]).ok();
    assert!(!own.exists());
    for dir in [top.join("middle"), top] {
        fs::remove_dir(dir).ok();
    }
}

/// Where each container has a place that the driver chooses.
#[test]
fn r203_keys_of_unified_with_either_driver() {
    needs!(!v1(), "cgroup v2");
    let keys = keys();
    let wanted: Value = keys.iter().map(|(key, value)| (*key, json!(value))).collect();
    let c = limited("unified", wanted);
    c.create().ok();
    for (key, value) in keys {
        assert_eq!(c.cgroup_value("", key), value, "{key}");
    }
}

/// A key that has no file is an error that names it, and nothing is left.
#[test]
fn r203_a_key_without_a_file_is_refused_on_v2() {
    needs!(!by_systemd(), "the cgroupfs driver");
    for key in ["cgroup.no_such_file", "nonsense.max"] {
        let c = limited("unified", json!({key: "1"}));
        let out = create_on_v2(&c);
        needs!(out.code != 99, "a unified hierarchy");
        deviates!("crun", "refuses a hybrid host's root cgroup");
        out.fails_with(&[key]);
        let left = fs::read_dir(c.root()).map(|dir| dir.count()).unwrap_or(0);
        assert_eq!(left, 0, "{key}");
    }
}

/// "If the conversion is not possible the runtime MUST generate an error" (config-linux.md).
#[test]
fn r178_r179_r180_r181_r182_r187_r197_r198_r206_what_v2_has_no_word_for_is_refused() {
    needs!(!by_systemd(), "the cgroupfs driver");
    deviates!(["runc", "crun"], "R206: ignored, or less said");
    for (section, value, field) in [
        ("memory", json!({"disableOOMKiller": true}), "memory.disableOOMKiller"),
        ("memory", json!({"swappiness": 7}), "memory.swappiness"),
        ("memory", json!({"useHierarchy": false}), "memory.useHierarchy"),
        ("memory", json!({"kernel": 1 << 24}), "memory.kernel"),
        ("memory", json!({"kernelTCP": 1 << 24}), "memory.kernelTCP"),
        ("cpu", json!({"realtimeRuntime": 1000}), "cpu.realtimeRuntime"),
        ("cpu", json!({"realtimePeriod": 500_000}), "cpu.realtimePeriod"),
        ("network", json!({"classID": 1}), "network.classID"),
        ("network", json!({"priorities": [{"name": "lo", "priority": 1}]}), "network.priorities"),
    ] {
        let c = limited(section, value);
        let out = create_on_v2(&c);
        needs!(out.code != 99, "a unified hierarchy");
        out.fails_with(&[&format!("linux.resources.{field}: cgroup v2 has nothing like it")]);
        assert!(!c.root().join(&c.id).exists(), "{field}");
    }
}

/// A block device that nobody has opened, under a scheduler that knows weights. It gets its own
/// scheduler back.
struct Weighed {
    queue: PathBuf,
    before: String,
    numbers: String,
}

impl Weighed {
    fn find() -> Option<Self> {
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let disks = fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.path());
        let is_free = |disk: &PathBuf| {
            let name = disk.file_name().unwrap().to_string_lossy();
            name.starts_with("loop") && read(disk.join("size")).trim() == "0"
        };
        for disk in disks.filter(is_free) {
            let queue = disk.join("queue/scheduler");
            let list = read(queue.clone());
            let numbers = read(disk.join("dev")).trim().to_owned();
            let before = list.split(['[', ']']).nth(1).unwrap_or("none").to_owned();
            if list.contains("bfq") && fs::write(&queue, "bfq").is_ok() {
                return Some(Self { queue, before, numbers });
            }
        }
        None
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        fs::write(&self.queue, &self.before).ok();
    }
}

#[test]
fn r192_a_weight_for_a_device() {
    needs!(Hierarchy::of_host().has(if v1() { "blkio" } else { "io" }), "block I/O");
    deviates!("crun", "R192: not bfq's file on v1, and leaves cgroups after the failed create");
    let disk = Weighed::find();
    needs!(disk.is_some(), "a free loop device and the scheduler bfq");
    let disk = disk.unwrap();
    let (major, minor) = disk.numbers.split_once(':').unwrap();
    let (major, minor): (u32, u32) = (major.parse().unwrap(), minor.parse().unwrap());
    let entry = json!([{"major": major, "minor": minor, "weight": 321}]);
    let c = limited("blockIO", json!({"weight": 123, "weightDevice": entry}));
    c.create().ok();
    let text = c.cgroup_value("blkio.bfq.weight_device", "io.bfq.weight");
    assert!(text.lines().any(|line| line == format!("{} 321", disk.numbers)), "{text}");
    // The weight of the rest is another one.
    let text = c.cgroup_value("blkio.bfq.weight", "io.bfq.weight");
    assert!(text.lines().any(|line| line.split(' ').next_back() == Some("123")), "{text}");
}

fn current_limit(c: &Container) -> String {
    c.cgroup_value("memory.limit_in_bytes", "memory.max")
}

/// v1 has no swap to put the pages into: its kernel refuses by itself, as runc relies on.
fn with_pages_that_stay(limit: u32, check: bool) -> Value {
    match v1() {
        true => json!({"limit": limit, "swappiness": 0, "checkBeforeUpdate": check}),
        false => json!({"limit": limit, "checkBeforeUpdate": check}),
    }
}

#[test]
fn r183_r304_an_update_to_less_than_is_used_changes_nothing() {
    needs!(Hierarchy::of_host().has("memory"), "the memory controller");
    let script =
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; echo > /ready; sleep 1000";
    let c = Bundle::sh(script)
        .set("/linux/resources/memory", with_pages_that_stay(64 << 20, false))
        .container()
        .up_and_ready();
    let wanted = json!({"memory": {"limit": 16 << 20, "checkBeforeUpdate": true}}).to_string();
    let out = c.call(["update", "-r", "-", &c.id]).stdin(&wanted).run();
    deviates!("crun", "R183: not looked at");
    out.fails_with(&["memory"]);
    assert_eq!(current_limit(&c), (64 << 20).to_string());
    assert_eq!(c.status(), "running");
    // What is enough is taken.
    let wanted = json!({"memory": {"limit": 56 << 20, "checkBeforeUpdate": true}}).to_string();
    c.call(["update", "-r", "-", &c.id]).stdin(&wanted).run().ok();
    assert_eq!(current_limit(&c), (56 << 20).to_string());
}

/// A cgroup that the caller has made may be in debt: who wrote a file in memory is gone, the file
/// is not.
#[test]
fn r183_r304_less_than_is_used_is_refused_at_create() {
    needs!(!by_systemd(), "the cgroupfs driver");
    needs!(Hierarchy::of_host().has("memory"), "the memory controller");
    let files = directory_in("/dev/shm".as_ref());
    let file = files.path().join("file");
    let bundle = Bundle::sleeper();
    let top = Path::new("/sys/fs/cgroup").join(if v1() { "memory" } else { "" });
    let parent = top.join(&bundle.id);
    let own = parent.join("own");
    fs::create_dir(&parent).unwrap();
    if !v1() {
        fs::write(parent.join("cgroup.subtree_control"), "+memory").unwrap();
    }
    fs::create_dir(&own).unwrap();
    if v1() {
        fs::write(own.join("memory.swappiness"), "0").unwrap();
    }
    let script = format!(
        "echo 0 > {}/cgroup.procs && dd if=/dev/zero of={} bs=1M count=40",
        own.display(),
        file.display()
    );
    Call::new("/bin/sh").args(["-c", &script]).run().ok();
    let c = bundle
        .edit(|config| {
            let path = format!("/{}/own", parent.file_name().unwrap().to_str().unwrap());
            config["linux"]["cgroupsPath"] = json!(path);
            config["linux"]["resources"]["memory"] =
                json!({"limit": 16 << 20, "checkBeforeUpdate": true});
        })
        .container();
    let refused = c.create();
    let state = c.call(["state", &c.id]).run();
    // Nothing is owed any more.
    drop(files);
    let taken = c.create();
    let limit = (taken.code == 0).then(|| current_limit(&c));
    c.call(["delete", "--force", &c.id]).run();
    for dir in [&own, &parent] {
        fs::remove_dir(dir).ok();
    }
    remove_others(&c);
    deviates!(["runc", "crun"], "R183: other words, and what was refused stays");
    refused.fails_with(&["linux.resources.memory.limit"]);
    state.is_unknown();
    taken.ok();
    assert_eq!(limit, Some((16 << 20).to_string()));
}

/// Parents that the runtime has made in the other hierarchies.
fn remove_others(c: &Container) {
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        for dir in ["own", ""] {
            fs::remove_dir(hierarchy.path().join(&c.id).join(dir)).ok();
        }
    }
}

/// A limit that is huge is none, and no number is cut on the way.
#[test]
fn r195_r196_huge_pages_have_64_bits() {
    needs!(!by_systemd(), "the cgroupfs driver");
    let list = fs::read_to_string(unified().join("cgroup.controllers")).unwrap_or_default();
    needs!(list.split_whitespace().any(|name| name == "hugetlb"), "the hugetlb controller of v2");
    let bundle = Bundle::sleeper();
    let own = unified().join(&bundle.id).join("own");
    let path = format!("/{}/own", bundle.id);
    let c = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set(
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 6_442_450_944_u64}]),
        )
        .container();
    let out = create_on_v2(&c);
    needs!(out.code != 99, "a unified hierarchy");
    deviates!("crun", "refuses a hybrid host's root cgroup");
    out.ok();
    deviates!("runc", "R196: 1.1.5 does not limit reservations");
    for (file, value) in [("hugetlb.2MB.max", "6442450944"), ("hugetlb.2MB.rsvd.max", "6442450944")]
    {
        assert_eq!(fs::read_to_string(own.join(file)).unwrap().trim_end(), value, "{file}");
    }
    on_v2(&c, &["delete", "--force", &c.id]).ok();
    fs::remove_dir(own.parent().unwrap()).ok();
}
