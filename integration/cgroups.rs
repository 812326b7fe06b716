//! What is written into cgroup files, and its effect inside. A pair of names is
//! the file of v1 and the file of v2.

use crate::harness::{
    Bundle, Call, Container, Hierarchy, by_systemd, deviates, is_cgroup, is_pinnace, json, needs,
};
use std::fs;
use std::path::Path;

fn v1() -> bool {
    Hierarchy::of_host() == Hierarchy::V1
}

fn limited(resources: &str, value: serde_json::Value) -> Container {
    Bundle::sleeper().set(&format!("/linux/resources/{resources}"), value).container()
}

fn created(resources: &str, value: serde_json::Value) -> Container {
    let c = limited(resources, value);
    c.create().ok();
    c
}

/// A path of the cgroup tree that no other test has.
fn unique_path(bundle: &Bundle) -> String {
    format!("/{}/sub", bundle.id)
}

#[test]
fn r165_an_absolute_cgroups_path() {
    needs!(!by_systemd(), "the cgroupfs driver");
    let bundle = Bundle::sleeper();
    let path = unique_path(&bundle);
    let c = bundle.set("/linux/cgroupsPath", json!(path)).container();
    c.create().ok();
    assert!(c.cgroup("pids").ends_with(&path[1..]), "{:?}", c.cgroup("pids"));
    assert!(c.cgroup("freezer").ends_with(&path[1..]));
    c.call(["delete", "--force", &c.id]).run().ok();
    remove_parents(&c);
}

fn remove_parents_of(path: &str) {
    for dir in everywhere(path) {
        drop(fs::remove_dir(dir.parent().unwrap()));
    }
}

/// A parent that the runtime made may stay for others; the test cleans up.
fn remove_parents(c: &Container) {
    for controller in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        drop(fs::remove_dir(controller.path().join(&c.id)));
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next().unwrap(), parts.next().unwrap());
        let dir = names.split('=').next_back().unwrap();
        let dir = format!("/sys/fs/cgroup/{dir}{path}/{}", c.id);
        drop(fs::remove_dir(dir));
    }
    drop(fs::remove_dir(Path::new("/sys/fs/cgroup").join(&c.id)));
}

#[test]
fn r166_a_relative_cgroups_path_is_always_the_same_place() {
    needs!(!by_systemd(), "the cgroupfs driver");
    let mut places = Vec::new();
    let name = format!("{}-relative", Bundle::sleeper().id);
    for _ in 0..2 {
        let c = Bundle::sleeper().set("/linux/cgroupsPath", json!(name)).container();
        c.create().ok();
        places.push(c.cgroup("pids"));
        c.stop();
        c.delete().ok();
        assert!(!places[0].exists(), "R270: removed with the container");
    }
    assert_eq!(places[0], places[1]);
    assert!(places[0].ends_with(&name));
}

/// Where a process of this test could make a cgroup, in every hierarchy.
fn everywhere(path: &str) -> Vec<std::path::PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(top).unwrap().flatten().map(|entry| entry.path());
    let all = below.filter(|dir| !dir.is_symlink() && is_cgroup(dir));
    match v1() {
        true => all.map(|dir| dir.join(&path[1..])).collect(),
        false => vec![top.join(&path[1..])],
    }
}

/// runtime.md, "Delete": what the container did not create is not deleted.
#[test]
fn r269_r270_a_cgroup_of_the_callers_stays() {
    needs!(!by_systemd(), "the cgroupfs driver");
    deviates!(["runc", "crun"], "R269: they remove it");
    let path = unique_path(&Bundle::sleeper());
    let dirs = everywhere(&path);
    dirs.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    for (at, value) in [
        ("/linux/sysctl", json!({"net.ipv4.no_such_key": "1"})),
        ("/process/args", json!(["/no/such/program"])),
    ] {
        let c = Bundle::sleeper().set("/linux/cgroupsPath", json!(path)).set(at, value).container();
        c.create().fails();
        for dir in &dirs {
            let list = fs::read_to_string(dir.join("cgroup.procs"));
            assert_eq!(list.unwrap_or_else(|e| panic!("{}: {e}", dir.display())), "");
        }
    }
    for _ in 0..2 {
        let c = Bundle::sleeper().set("/linux/cgroupsPath", json!(path)).container();
        c.create().ok();
        assert!(c.cgroup("pids").ends_with(&path[1..]));
        // What is below it is the container's.
        fs::create_dir(c.cgroup("pids").join("below")).unwrap();
        c.start().ok();
        c.exec(["true"]).ok();
        c.call(["delete", "--force", &c.id]).run().ok();
        for dir in &dirs {
            let list = fs::read_to_string(dir.join("cgroup.procs"));
            assert_eq!(list.unwrap_or_else(|e| panic!("{}: {e}", dir.display())), "");
            assert!(!dir.join("below").exists());
        }
    }
    // Nor is what may be done in it the container's any more.
    if !v1() && Path::new("/dev/kmsg").exists() {
        let script = format!("echo 0 >{}/cgroup.procs && : </dev/kmsg", dirs[0].display());
        Call::new("/bin/sh").args(["-c", &script]).run().ok();
    }
    for dir in &dirs {
        fs::remove_dir(dir).unwrap();
        fs::remove_dir(dir.parent().unwrap()).unwrap();
    }
}

/// What a container of ours has left becomes the next one's altogether.
#[test]
fn r270_a_cgroup_that_is_handed_on_goes_with_the_last() {
    needs!(!by_systemd(), "the cgroupfs driver");
    let path = unique_path(&Bundle::sleeper());
    let up = || {
        let c = Bundle::sleeper().set("/linux/cgroupsPath", json!(path)).container();
        c.create().ok();
        c
    };
    let first = up();
    let dir = first.cgroup("pids");
    first.stop();
    first.call(["kill", "--all", &first.id, "KILL"]).run();
    let second = up();
    second.exec(["true"]).ok();
    second.stop();
    second.delete().ok();
    deviates!(["runc", "crun"], "R270: the first delete removes what the second container has");
    assert!(everywhere(&path).iter().all(|dir| !dir.exists()), "{}", dir.display());
    first.delete().ok();
    remove_parents_of(&path);
}

/// The kernel kills who is cloned into another cgroup, if that of its parent has ever been killed
/// as a whole (`cgroup_css_set_fork`): a supervisor may have done so to the service that we are in.
#[test]
fn r210_the_runtimes_own_cgroup_may_have_been_killed_once() {
    needs!(!by_systemd(), "the cgroupfs driver");
    let c = Bundle::sleeper().container();
    let top = Path::new("/sys/fs/cgroup");
    let top = if v1() { top.join("unified") } else { top.into() };
    let own = top.join(format!("{}-own", c.id));
    fs::create_dir(&own).unwrap();
    needs!(own.join("cgroup.kill").exists(), "cgroup.kill");
    fs::write(own.join("cgroup.kill"), "1").unwrap();
    let inside = |args: &[&str]| {
        let script = format!("echo 0 > {}/cgroup.procs; exec \"$@\"", own.display());
        let program = crate::harness::runtime().path.to_str().unwrap();
        let call = Call::new("/bin/sh").args(["-c", &script, "sh", program]).args(c.global());
        call.args(args).output_to(c.log("out"), c.log("err")).run()
    };
    inside(&["create", "--bundle", c.bundle.path().to_str().unwrap(), &c.id]).ok();
    inside(&["start", &c.id]).ok();
    inside(&["exec", &c.id, "sh", "-c", "echo > /tmp/made"]).ok();
    assert!(c.bundle.rootfs("tmp/made").exists());
    let places = fs::read_to_string(format!("/proc/{}/cgroup", c.pid().as_raw_pid())).unwrap();
    assert!(places.lines().any(|l| l.starts_with("0::") && l.ends_with(&c.id)), "{places}");
    assert!(c.cgroup("freezer").ends_with(&c.id), "{places}");
    c.call(["delete", "--force", &c.id]).run().ok();
    fs::remove_dir(&own).unwrap();
}

/// v2: what kills and lists a cgroup's processes is not there in a threaded one.
#[test]
fn r203_r270_a_threaded_cgroup_can_be_deleted() {
    needs!(!v1() && !by_systemd(), "cgroup v2, the cgroupfs driver");
    deviates!(["runc", "crun"], "R203: EOPNOTSUPP");
    let unified = json!({"cgroup.type": "threaded"});
    for script in ["true", "sleep 1000 & sleep 1000"] {
        let c = Bundle::sh(script).set("/linux/resources/unified", unified.clone()).container();
        // Beside a domain controller the kernel refuses it.
        if c.run_detached().code == 0 {
            c.call(["delete", "--force", &c.id]).run().ok();
            c.call(["state", &c.id]).run().is_unknown();
        }
    }
}

#[test]
fn r168_the_default_path_has_the_id() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    assert!(c.cgroup("pids").to_str().unwrap().contains(&c.id));
}

#[test]
fn r165_r464_every_controller_is_joined() {
    needs!(v1(), "cgroup v1");
    let c = Bundle::sleeper().container();
    c.create().ok();
    for name in ["cpu", "cpuset", "memory", "devices", "freezer", "blkio", "pids"] {
        assert!(c.cgroup(name).ends_with(&c.id), "{name}");
    }
}

#[test]
fn r169_r303_a_cgroup_that_is_not_empty_is_refused() {
    needs!(!by_systemd(), "the cgroupfs driver");
    let first = Bundle::sleeper().container();
    first.create().ok();
    let own = first.cgroup("pids");
    let below = own.join("below");
    fs::create_dir(&below).unwrap();
    let path = own.strip_prefix("/sys/fs/cgroup").unwrap();
    let path = path.strip_prefix("pids").unwrap_or(path);
    let absolute = format!("/{}", path.display());
    let second = Bundle::sleeper().set("/linux/cgroupsPath", json!(absolute)).container();
    let out = second.create();
    deviates!(["runc", "crun"], "R169: runc 1.1.5 only warns; crun does not look");
    out.fails_with(&["cgroup"]);
    assert_eq!(first.status(), "created");
    assert!(below.exists(), "another's");
    // Nor is there a record by which somebody would take the cgroup for the second's.
    assert!(!second.root().join(&second.id).exists());
    second.call(["delete", "--force", &second.id]).run().ok();
    assert_eq!(first.status(), "created");
}

/// `row: resources path, value => v1 file, v2 file, content of each`
macro_rules! written {
    ($($name:ident: $at:literal, $value:tt => $v1:literal $want1:literal, $v2:literal $want2:literal
        $(, not $who:expr)?;)*) => { $(
        #[test]
        fn $name() {
            $( deviates!($who, concat!(stringify!($name), ": EPERM or EINVAL")); )?
            let controller = $v1.split('.').next().unwrap();
            let host = Hierarchy::of_host();
            needs!(host.has(if v1() { controller } else { $v2.split('.').next().unwrap() }), controller);
            let c = created($at, json!($value));
            let want = if v1() { $want1 } else { $want2 };
            assert_eq!(c.cgroup_value($v1, $v2), want);
        }
    )* };
}

written! {
    r175_memory_limit: "memory", {"limit": 67_108_864} =>
        "memory.limit_in_bytes" "67108864", "memory.max" "67108864";
    r175_memory_unlimited: "memory", {"limit": -1} =>
        "memory.limit_in_bytes" "9223372036854771712", "memory.max" "max";
    r176_memory_reservation: "memory", {"reservation": 33_554_432} =>
        "memory.soft_limit_in_bytes" "33554432", "memory.low" "33554432";
    r184_cpu_shares: "cpu", {"shares": 512} =>
        "cpu.shares" "512", "cpu.weight" "59";
    r185_cpu_quota: "cpu", {"quota": 50_000, "period": 200_000} =>
        "cpu.cfs_quota_us" "50000", "cpu.max" "50000 200000";
    r185_cpu_period: "cpu", {"quota": 50_000, "period": 200_000} =>
        "cpu.cfs_period_us" "200000", "cpu.max" "50000 200000";
    r185_cpu_period_alone: "cpu", {"period": 50_000} =>
        "cpu.cfs_period_us" "50000", "cpu.max" "max 50000";
    r185_cpu_no_quota: "cpu", {"quota": -1} =>
        "cpu.cfs_quota_us" "-1", "cpu.max" "max 100000", not "crun";
    r188_cpuset_cpus: "cpu", {"cpus": "0"} =>
        "cpuset.cpus" "0", "cpuset.cpus" "0";
    r199_pids_limit: "pids", {"limit": 20} => "pids.max" "20", "pids.max" "20";
    r199_pids_unlimited: "pids", {"limit": -1} => "pids.max" "max", "pids.max" "max", not "crun";
}

/// -1 is a limit, too: none, whatever the cgroup had.
#[test]
fn r175_r185_r199_no_limit_lifts_the_one_that_is_there() {
    needs!(!by_systemd(), "the cgroupfs driver");
    let bundle = Bundle::sleeper();
    let path = format!("/{}", bundle.id);
    let files = [
        (
            ("memory", "memory.limit_in_bytes", "9223372036854771712"),
            ("memory.max", "max"),
            "67108864",
        ),
        (("cpu", "cpu.cfs_quota_us", "-1"), ("cpu.max", "max 100000"), "50000"),
        (("pids", "pids.max", "max"), ("pids.max", "max"), "20"),
    ];
    let has = |name: &str| Hierarchy::of_host().has(name);
    needs!(files.iter().all(|((name, ..), ..)| has(name)), "memory, cpu and pids");
    let dirs = everywhere(&path);
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    for ((name, v1_file, _), (v2_file, _), limit) in files {
        let top = Path::new("/sys/fs/cgroup");
        let (top, file) = if v1() { (top.join(name), v1_file) } else { (top.into(), v2_file) };
        if fs::write(top.join(&path[1..]).join(file), limit).is_err() {
            dirs.iter().for_each(|dir| drop(fs::remove_dir(dir)));
            needs!(false, "controllers that are on in every cgroup");
        }
    }
    let c = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set("/linux/resources/memory", json!({"limit": -1}))
        .set("/linux/resources/cpu", json!({"quota": -1}))
        .set("/linux/resources/pids", json!({"limit": -1}))
        .container();
    let out = c.create();
    let values = |c: &Container| files.map(|((_, a, _), (b, _), _)| c.cgroup_value(a, b));
    let seen = if out.code == 0 { values(&c).to_vec() } else { Vec::new() };
    c.call(["delete", "--force", &c.id]).run();
    dirs.iter().for_each(|dir| drop(fs::remove_dir(dir)));
    deviates!(["runc", "crun"], "R185, R199: -1 is passed over, or EPERM");
    out.ok();
    assert_eq!(seen, files.map(|((_, _, a), (_, b), _)| if v1() { a } else { b }));
}

#[test]
fn r180_r206_memory_swappiness() {
    let c = limited("memory", json!({"swappiness": 7}));
    let out = c.create();
    if v1() {
        out.ok();
        assert_eq!(c.cgroup_value("memory.swappiness", ""), "7");
    } else {
        deviates!("runc", "R180: silently ignored on v2");
        out.fails_with(&["swappiness"]);
    }
}

#[test]
fn r175_the_memory_limit_is_felt() {
    let out = Bundle::sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=60; echo survived")
        .set("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 32 << 20}))
        .run();
    assert_eq!(out.code, 0, "the shell lives: {out:?}");
    assert!(out.stderr.contains("Killed"), "{out:?}");
}

#[test]
fn r177_memory_swap() {
    let has = fs::exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").unwrap() || !v1();
    needs!(has, "swap accounting");
    let c = created("memory", json!({"limit": 64 << 20, "swap": 96 << 20}));
    let want = if v1() { 96 << 20 } else { 32 << 20 };
    let value = c.cgroup_value("memory.memsw.limit_in_bytes", "memory.swap.max");
    assert_eq!(value, want.to_string());
}

#[test]
fn r181_disable_oom_killer() {
    needs!(v1(), "cgroup v1");
    let c = created("memory", json!({"limit": 64 << 20, "disableOOMKiller": true}));
    let value = c.cgroup_value("memory.oom_control", "");
    assert!(value.starts_with("oom_kill_disable 1\n"), "{value}");
}

#[test]
fn r186_cpu_burst() {
    let c = limited("cpu", json!({"quota": 50_000, "period": 100_000, "burst": 20_000}));
    let out = c.create();
    deviates!(["runc", "crun"], "R186: newer than these");
    out.ok();
    assert_eq!(c.cgroup_value("cpu.cfs_burst_us", "cpu.max.burst"), "20000");
}

#[test]
fn r189_cpu_idle() {
    let c = limited("cpu", json!({"idle": 1}));
    let out = c.create();
    deviates!(["runc", "crun"], "R189: newer than these");
    out.ok();
    assert_eq!(c.cgroup_value("cpu.idle", "cpu.idle"), "1");
}

/// Most machines have one node, and then a new cpuset of v1 has it anyway.
#[test]
fn r188_cpuset_mems() {
    needs!(Hierarchy::of_host().has("cpuset"), "cpuset");
    let c = created("cpu", json!({"mems": "0"}));
    assert_eq!(c.cgroup_value("cpuset.mems", "cpuset.mems"), "0");
    deviates!("crun", "leaves its cgroups after the failed create");
    limited("cpu", json!({"mems": "63"})).create().fails_with(&["cpu.mems", "cpuset.mems"]);
}

#[test]
fn r188_the_cpuset_is_felt() {
    let out = Bundle::new(["grep", "Cpus_allowed_list", "/proc/self/status"])
        .set("/linux/resources/cpu", json!({"cpus": "0"}))
        .run();
    assert_eq!(out.field("Cpus_allowed_list"), "0");
}

#[test]
fn r188_a_cpu_that_is_not_there() {
    deviates!("crun", "leaves its cgroups after the failed create");
    let c = limited("cpu", json!({"cpus": "4000"}));
    c.create().fails();
}

#[test]
fn r199_the_pids_limit_is_felt() {
    let script = "n=0; while [ $n -lt 20 ]; do sleep 10 & n=$((n+1)); done; echo all";
    let out = Bundle::sh(script).set("/linux/resources/pids", json!({"limit": 8})).run();
    assert_ne!(out.stdout, "all\n");
    assert!(out.stderr.contains("can't fork"), "{out:?}");
}

#[test]
fn r200_pids_limit_0_is_a_limit() {
    let c = limited("pids", json!({"limit": 0}));
    let out = c.create();
    deviates!(["runc", "crun"], "R200: skipped or made 1");
    out.ok();
    assert_eq!(c.cgroup_value("pids.max", "pids.max"), "0");
}

#[test]
fn r194_a_throttle_of_one_device() {
    needs!(Hierarchy::of_host().has(if v1() { "blkio" } else { "io" }), "block devices");
    let Some((major, minor)) = disk() else { return };
    let entry = json!([{"major": major, "minor": minor, "rate": 1_048_576}]);
    let c = limited("blockIO", json!({"throttleReadBpsDevice": entry}));
    c.create().ok();
    let value = c.cgroup_value("blkio.throttle.read_bps_device", "io.max");
    assert!(value.contains(&format!("{major}:{minor}")) && value.contains("1048576"), "{value}");
}

/// A whole disk, as throttling wants one.
pub(crate) fn disk() -> Option<(u32, u32)> {
    let entry = fs::read_dir("/sys/block").ok()?.flatten().next()?;
    let text = fs::read_to_string(entry.path().join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn r203_r205_r305_unified_on_v1_is_refused() {
    deviates!("crun", "leaves its cgroups after the failed create");
    needs!(v1(), "cgroup v1");
    let c = limited("unified", json!({"memory.max": "1000000"}));
    let words =
        if is_pinnace() { "needs cgroup v2, and this host runs cgroup v1" } else { "cgroup" };
    c.create().fails_with(&[words]);
}

#[test]
fn r204_r305_unified_of_an_absent_controller() {
    needs!(!v1(), "cgroup v2");
    let c = limited("unified", json!({"nonsense.max": "1"}));
    c.create().fails_with(&["nonsense"]);
}

fn devices(rules: serde_json::Value, script: &str) -> crate::harness::Output {
    Bundle::sh(script)
        .set("/linux/resources/devices", rules)
        .capability("CAP_MKNOD")
        .capability("CAP_DAC_OVERRIDE")
        .run()
}

#[test]
fn r171_r172_a_denied_device_cannot_be_opened() {
    needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    let deny = json!([{"allow": false, "access": "rwm"}]);
    // Nothing but the rule keeps root from it.
    let out = devices(deny, "mknod /tmp/n c 10 229; (: < /tmp/n)");
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
}

#[test]
fn r171_r172_an_allowed_device_can_be_opened() {
    let rules = json!([{"allow": false, "access": "rwm"},
                       {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]);
    let out = devices(rules, "mknod /tmp/n c 10 229 && : < /tmp/n && echo opened");
    needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    assert_eq!(out.ok(), "opened\n");
}

#[test]
fn r171_r172_access_is_per_direction() {
    needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    let rules = json!([{"allow": false, "access": "rwm"},
                       {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rm"}]);
    let out = devices(rules, "mknod /tmp/n c 10 229 && : < /tmp/n && echo read; : > /tmp/n");
    assert_eq!(out.stdout, "read\n", "{out:?}");
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
}

#[test]
fn r171_r172_the_last_rule_counts() {
    needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    let rules = json!([{"allow": true, "access": "rwm"},
                       {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rw"}]);
    let out = devices(rules, "mknod /tmp/n c 10 229 && : < /tmp/n");
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
}

/// As the validation suite reads it (linux_cgroups_devices).
#[test]
fn r172_the_list_of_v1_begins_with_the_rules_in_their_order() {
    needs!(v1(), "cgroup v1");
    let rules = json!([{"allow": false, "access": "rwm"},
                       {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
                       {"allow": true, "type": "b", "major": 8, "minor": 20, "access": "rw"},
                       {"allow": true, "type": "b", "major": 10, "minor": 200, "access": "r"}]);
    let c = Bundle::sleeper().set("/linux/resources/devices", rules).container().up();
    deviates!("runc", "R172: sorts them");
    let list = c.cgroup_value("devices.list", "");
    assert!(list.starts_with("c 10:229 rwm\nb 8:20 rw\nb 10:200 r\n"), "{list}");
}

#[test]
fn r174_the_default_devices_stay_allowed() {
    let out =
        devices(json!([{"allow": false, "access": "rwm"}]), "head -c 1 /dev/zero > /dev/null");
    out.ok();
}

#[test]
fn r173_access_may_be_empty() {
    deviates!("crun", "R173: fails, and leaves its cgroups");
    let rules = json!([{"allow": true, "type": "c", "major": 10, "minor": 229}]);
    let out = devices(rules, "mknod /tmp/n c 10 229 && : <> /tmp/n && echo opened");
    deviates!("runc", "R173: an error");
    needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    assert_eq!(out.ok(), "opened\n", "all accesses are meant");
}

#[test]
fn r209_pause_freezes_the_cgroup() {
    let c = Bundle::sleeper().container().up();
    let value = || c.cgroup_value("freezer.state", "cgroup.freeze");
    c.call(["pause", &c.id]).run().ok();
    assert!(["FROZEN", "1"].contains(&value().as_str()), "{}", value());
    c.call(["resume", &c.id]).run().ok();
    assert!(["THAWED", "0"].contains(&value().as_str()), "{}", value());
}

#[test]
fn r381_update_from_a_file_and_from_stdin() {
    let c = created("memory", json!({"limit": 64 << 20}));
    let resources = json!({"memory": {"limit": 32 << 20}, "pids": {"limit": 33}}).to_string();
    let file = c.bundle.dir().join("resources.json");
    fs::write(&file, &resources).unwrap();
    c.call(["update", "--resources", file.to_str().unwrap(), &c.id]).run().ok();
    let limit = || c.cgroup_value("memory.limit_in_bytes", "memory.max");
    assert_eq!(limit(), "33554432");
    assert_eq!(c.cgroup_value("pids.max", "pids.max"), "33");
    for flag in ["--resources=-", "-r"] {
        let resources = json!({"memory": {"limit": 48 << 20}}).to_string();
        let call = match flag {
            "-r" => c.call(["update", "-r", "-", &c.id]),
            flag => c.call(["update", flag, &c.id]),
        };
        call.stdin(&resources).run().ok();
        assert_eq!(limit(), "50331648");
    }
    assert_eq!(c.cgroup_value("pids.max", "pids.max"), "33", "left alone");
}

/// `row: flags => v1 file, content, v2 file, content`
macro_rules! updated {
    ($($name:ident: $flags:expr => $v1:literal $want1:literal, $v2:literal $want2:literal;)*) => { $(
        #[test]
        fn $name() {
            let c = Bundle::sleeper().container();
            c.create().ok();
            c.call(["update"]).args($flags).args([&c.id]).run().ok();
            let want = if v1() { $want1 } else { $want2 };
            assert_eq!(c.cgroup_value($v1, $v2), want);
        }
    )* };
}

updated! {
    r383_update_cpu_share: ["--cpu-share", "512"] =>
        "cpu.shares" "512", "cpu.weight" "59";
    r383_update_cpu_quota: ["--cpu-period", "200000", "--cpu-quota", "50000"] =>
        "cpu.cfs_quota_us" "50000", "cpu.max" "50000 200000";
    r387_update_cpuset: ["--cpuset-cpus", "0", "--cpuset-mems", "0"] =>
        "cpuset.cpus" "0", "cpuset.cpus" "0";
    r388_update_memory: ["--memory", "33554432"] =>
        "memory.limit_in_bytes" "33554432", "memory.max" "33554432";
    r388_update_reservation: ["--memory-reservation", "33554432"] =>
        "memory.soft_limit_in_bytes" "33554432", "memory.low" "33554432";
    r390_update_pids: ["--pids-limit", "44"] => "pids.max" "44", "pids.max" "44";
}

#[test]
fn r388_update_memory_with_a_unit() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    let out = c.call(["update", "--memory", "32M", &c.id]).run();
    deviates!("crun", "R388: no units");
    out.ok();
    assert_eq!(c.cgroup_value("memory.limit_in_bytes", "memory.max"), "33554432");
}

#[test]
fn r381_update_of_what_is_not_there_or_bad() {
    deviates!("crun", "R381: a stopped container is updated");
    let c = Bundle::sleeper().container();
    c.call(["update", "--pids-limit", "5", "nobody"]).run().is_unknown();
    c.create().ok();
    c.call(["update", "--resources", "/no/such/file", &c.id]).run().fails();
    c.call(["update", "--resources", "-", &c.id]).stdin("{").run().fails();
    c.call(["update", "--pids-limit", "many", &c.id]).run().fails();
    c.stop();
    c.call(["update", "--pids-limit", "5", &c.id]).run().fails();
}

#[test]
fn r392_update_is_kept_in_the_state() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    c.call(["update", "--pids-limit", "44", &c.id]).run().ok();
    c.call(["update", "--memory", "33554432", &c.id]).run().ok();
    assert_eq!(c.cgroup_value("pids.max", "pids.max"), "44");
}

#[test]
fn r392_a_failed_update_changes_nothing() {
    deviates!(["runc", "crun"], "R392: what came before the failure stays");
    let c = created("memory", json!({"limit": 64 << 20}));
    let files = || {
        [
            c.cgroup_value("memory.limit_in_bytes", "memory.max"),
            c.cgroup_value("cpu.shares", "cpu.weight"),
            c.cgroup_value("pids.max", "pids.max"),
        ]
    };
    let before = files();
    let change = json!({"memory": {"limit": 32 << 20}, "cpu": {"shares": 77, "cpus": "4000"},
                        "pids": {"limit": 5}});
    let call = c.call(["update", "-r", "-", &c.id]).stdin(change.to_string());
    call.run().fails_with(&["linux.resources.cpu.cpus"]);
    assert_eq!(files(), before);
    let kept = fs::read_to_string(c.root().join(&c.id).join("config.json")).unwrap();
    assert!(!kept.contains("4000"), "{kept}");
}

#[test]
fn r392_what_is_not_named_is_remembered() {
    needs!(
        !v1() || fs::exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").unwrap(),
        "swap"
    );
    deviates!("crun", "R392: only the cgroup is changed");
    let c = created("memory", json!({"limit": 64 << 20, "swap": 96 << 20}));
    c.call(["update", "--memory", "32m", &c.id]).run().ok();
    // v2 has no file for both together: the swap that is left grows.
    let value = c.cgroup_value("memory.memsw.limit_in_bytes", "memory.swap.max");
    assert_eq!(value, if v1() { 96 << 20 } else { 64 << 20 }.to_string());
    c.call(["update", "--memory", "128m", &c.id]).run().fails_with(&["memory"]);
    assert_eq!(c.cgroup_value("memory.limit_in_bytes", "memory.max"), (32 << 20).to_string());
    c.call(["update", "--memory=-1", &c.id]).run().ok();
    assert_eq!(c.cgroup_value("memory.memsw.limit_in_bytes", "memory.swap.max"), unlimited());
}

fn unlimited() -> &'static str {
    if v1() { "9223372036854771712" } else { "max" }
}

#[test]
fn r384_r386_update_of_burst_and_idle() {
    let c = created("cpu", json!({"quota": 50_000, "period": 100_000, "shares": 512}));
    let update = |flag: &str, value: &str| c.call(["update", flag, value, &c.id]).run();
    let out = update("--cpu-burst", "20000");
    deviates!(["runc", "crun"], "R384: newer than these");
    out.ok();
    assert_eq!(c.cgroup_value("cpu.cfs_burst_us", "cpu.max.burst"), "20000");
    update("--cpu-burst", "60000").fails_with(&["linux.resources.cpu.burst"]);
    update("--cpu-idle", "1").ok();
    assert_eq!(c.cgroup_value("cpu.idle", "cpu.idle"), "1");
    update("--cpu-share", "256").ok();
    update("--cpu-idle", "0").ok();
    let want = if v1() { "256" } else { "35" };
    assert_eq!(c.cgroup_value("cpu.shares", "cpu.weight"), want, "kept while idle");
}

#[test]
fn r382_r391_update_of_what_the_host_lacks_names_the_field() {
    deviates!(["runc", "crun"], "R391: accepted, or other words");
    let c = Bundle::sleeper().container();
    c.create().ok();
    let update = |flag: &str, value: &str| c.call(["update", flag, value, &c.id]).run();
    update("--blkio-weight", "5").fails_with(&["linux.resources.blockIO.weight"]);
    update("--blkio-weight", "70000").fails_with(&["blockIO.weight"]);
    update("--l3-cache-schema", "L3:0=f").fails_with(&["linux.intelRdt.l3CacheSchema"]);
    update("--mem-bw-schema", "MB:0=20").fails_with(&["linux.intelRdt.memBwSchema"]);
    update("--cpu-rt-runtime", "-7").fails_with(&["linux.resources.cpu.realtimeRuntime"]);
}

#[test]
fn r393_update_of_devices() {
    needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    deviates!("runc", "R393: SkipDevices");
    let c = Bundle::sleeper()
        .set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]))
        .capability("CAP_MKNOD")
        .capability("CAP_DAC_OVERRIDE")
        .container()
        .up();
    let opens = || c.exec(["sh", "-c", ": < /tmp/n"]).code == 0;
    let rules = |allow: bool| {
        json!({"devices": [{"allow": false, "access": "rwm"}, {"allow": allow, "type": "c",
            "major": 10, "minor": 229, "access": "rwm"}]})
    };
    let update = |rules: &serde_json::Value| {
        c.call(["update", "-r", "-", &c.id]).stdin(rules.to_string()).run()
    };
    update(&rules(true)).ok();
    c.exec(["mknod", "/tmp/n", "c", "10", "229"]).ok();
    assert!(opens());
    update(&rules(false)).ok();
    assert!(!opens());
    c.call(["update", "--pids-limit", "50", &c.id]).run().ok();
    assert!(!opens(), "left alone");
}

#[test]
fn r381_update_of_a_paused_container() {
    let c = Bundle::sleeper().container().up();
    c.call(["pause", &c.id]).run().ok();
    c.call(["update", "--pids-limit", "44", &c.id]).run().ok();
    assert_eq!(c.cgroup_value("pids.max", "pids.max"), "44");
    assert_eq!(c.status(), "paused");
}

/// No resctrl, no container; where there is one, the process is in its class.
#[test]
fn r211_r212_intel_rdt() {
    deviates!(["runc", "crun"], "R212: other words");
    let c =
        Bundle::sleeper().set("/linux/intelRdt", json!({"enableMonitoring": false})).container();
    let out = c.create();
    if !std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        assert!(out.fails().contains("linux.intelRdt: no resctrl file system is mounted"));
        assert!(!c.root().join(&c.id).exists());
        return;
    }
    out.ok();
    let tasks = std::path::Path::new("/sys/fs/resctrl").join(&c.id).join("tasks");
    let pid = c.pid().as_raw_pid().to_string();
    assert!(std::fs::read_to_string(&tasks).unwrap().lines().any(|line| line == pid));
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(!tasks.exists(), "R218: the class goes with the container");
}

/// A call of the runtime where cgroup v2 is all there is: on a host with v1, in a
/// mount namespace of its own that has the unified hierarchy in its place.
fn on_v2(c: &Container) -> crate::harness::Output {
    let bundle = c.bundle.path();
    let run = ["run", "--bundle", bundle.to_str().unwrap(), &c.id];
    if !v1() {
        return c.call(run).run();
    }
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; \
                  mount -t cgroup2 none /sys/fs/cgroup || exit 99; exec \"$@\"";
    crate::harness::Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"])
        .args([crate::harness::runtime().path.as_os_str()])
        .args(["--root", c.root().to_str().unwrap()])
        .args(run)
        .run()
}

/// Owners of the container's cgroup and of some of its files.
const OWNERS: &str = "cd /sys/fs/cgroup; \
    for f in . cgroup.procs cgroup.subtree_control cgroup.threads cgroup.type cgroup.max.depth; do \
    [ ! -e $f ] || echo $f $(stat -c %u $f); done; cat /sys/kernel/cgroup/delegate | tr '\\n' ' '";

fn delegating(uid: u32, options: &[&str]) -> Bundle {
    Bundle::sh(OWNERS).namespace("cgroup", None).set("/process/user/uid", json!(uid)).mount(
        "cgroup",
        "cgroup",
        "/sys/fs/cgroup",
        options,
    )
}

#[test]
fn r170_the_cgroup_belongs_to_the_containers_user() {
    let out = on_v2(&delegating(1000, &["nosuid", "noexec", "nodev"]).container());
    needs!(out.code != 99, "a unified hierarchy");
    deviates!("crun", "R170: refuses the host's hybrid hierarchy");
    deviates!("runc", "R170: newer than runc 1.1.5");
    let seen = out.ok();
    for file in [". ", "cgroup.procs ", "cgroup.subtree_control ", "cgroup.threads "] {
        assert!(seen.contains(&format!("{file}1000\n")), "{file}: {seen}");
    }
    for file in ["cgroup.type ", "cgroup.max.depth "] {
        assert!(seen.contains(&format!("{file}0\n")), "{file}: {seen}");
    }
}

#[test]
fn r170_the_user_may_make_cgroups_below() {
    let script =
        "mkdir /sys/fs/cgroup/mine && ls -d /sys/fs/cgroup/mine; rmdir /sys/fs/cgroup/mine";
    let c = delegating(1000, &[]).set("/process/args/2", json!(script)).container();
    let out = on_v2(&c);
    needs!(out.code != 99, "a unified hierarchy");
    deviates!("crun", "R170: refuses the host's hybrid hierarchy");
    deviates!("runc", "R170: newer than runc 1.1.5");
    assert_eq!(out.ok(), "/sys/fs/cgroup/mine\n");
}

#[test]
fn r170_in_a_user_namespace_it_is_the_mapped_user() {
    let c = delegating(7, &[]).user_namespace().container();
    let out = on_v2(&c);
    needs!(out.code != 99, "a unified hierarchy");
    deviates!("crun", "R170: refuses the host's hybrid hierarchy");
    deviates!("runc", "R170: newer than runc 1.1.5");
    assert!(out.ok().contains("cgroup.procs 7\n"), "{out:?}");
    assert!(out.stdout.contains("cgroup.max.depth 65534\n"), "{out:?}");
}

#[test]
fn r170_without_a_writable_mount_or_a_new_namespace_it_stays_roots() {
    for bundle in [delegating(1000, &["ro"]), delegating(1000, &[]).without_namespace("cgroup")] {
        let out = on_v2(&bundle.container());
        needs!(out.code != 99, "a unified hierarchy");
        deviates!("crun", "R170: refuses the host's hybrid hierarchy");
        assert!(out.ok().contains("cgroup.procs 0\n"), "{out:?}");
    }
}
