//! The systemd driver: what systemd knows of a container, and that nothing of it
//! is left. Where there is no systemd with cgroup v2, these are skipped.

use crate::harness::{
    Bundle, Call, Container, Hierarchy, Output, deviates, is_pinnace, json, needs, runtime, until,
};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::Path;

pub fn here() -> bool {
    Path::new("/run/systemd/system").is_dir() && Hierarchy::of_host() == Hierarchy::V2
}

/// A sleeper in `system.slice`; the unit's name.
pub fn unit(bundle: Bundle) -> (Container, String) {
    let path = format!("system.slice:it:{}", bundle.id);
    let unit = format!("it-{}.scope", bundle.id);
    (bundle.set("/linux/cgroupsPath", json!(path)).container(), unit)
}

fn has_strace() -> bool {
    Path::new("/usr/bin/strace").exists()
}

pub fn create(c: &Container) -> Output {
    c.detached(["--systemd-cgroup", "create", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
}

pub fn show(unit: &str, property: &str) -> String {
    let call = Call::new("systemctl").args(["show", "--value", "-p", property, unit]);
    call.run().ok().trim().to_owned()
}

#[test]
fn r207_limits_are_the_units_and_outlive_a_reload() {
    needs!(here(), "systemd with cgroup v2");
    let (c, unit) = unit(Bundle::sleeper().set(
        "/linux/resources",
        json!({"memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 1 << 20},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
            "pids": {"limit": 33}}),
    ));
    create(&c).ok();
    c.start().ok();
    for (property, want) in [
        ("MemoryMax", "67108864"),
        ("MemorySwapMax", "33554432"),
        ("MemoryLow", "1048576"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("AllowedCPUs", "0"),
        ("TasksMax", "33"),
        ("Delegate", "yes"),
        ("Slice", "system.slice"),
    ] {
        assert_eq!(show(&unit, property), want, "{property}");
    }
    c.call(["update", "--memory", "32m", "--pids-limit", "22", &c.id]).run().ok();
    Call::new("systemctl").args(["daemon-reload"]).run().ok();
    assert_eq!(c.cgroup_value("", "memory.max"), (32 << 20).to_string());
    assert_eq!(c.cgroup_value("", "pids.max"), "22");
    assert_eq!(c.cgroup_value("", "cpu.max"), "50000 100000");
    assert_eq!(show(&unit, "MemoryMax"), (32 << 20).to_string());
    c.exec(["true"]).ok();
    c.stop();
    c.delete().ok();
    assert_eq!(show(&unit, "LoadState"), "not-found");
}

#[test]
fn r207_devices_outlive_a_reload() {
    needs!(here() && Path::new("/dev/fuse").exists(), "systemd with cgroup v2, /dev/fuse");
    let rule =
        |minor| json!({"allow": true, "type": "c", "major": 10, "minor": minor, "access": "rwm"});
    let rules = json!([{"allow": false, "access": "rwm"}, rule(229)]);
    let (c, _) = unit(
        Bundle::sleeper()
            .set("/linux/resources/devices", rules)
            .capability("CAP_MKNOD")
            .capability("CAP_DAC_OVERRIDE")
            // By dmesg_restrict the log would be denied without it, whatever the rules are.
            .capability("CAP_SYSLOG"),
    );
    create(&c).ok();
    c.start().ok();
    c.exec(["mknod", "/tmp/fuse", "c", "10", "229"]).ok();
    let denied = || c.exec(["sh", "-c", "mknod /tmp/kmsg c 1 11; : < /tmp/kmsg"]).code != 0;
    assert!(denied());
    Call::new("systemctl").args(["daemon-reload"]).run().ok();
    c.exec(["sh", "-c", ": < /tmp/fuse"]).ok();
    assert!(denied());
}

#[test]
fn r167_cgroups_path_is_slice_prefix_name() {
    needs!(here(), "systemd with cgroup v2");
    for path in ["/a/b", "system.slice:b", "a:b:c", "system.slice:b:c:d", "a/b.slice:c:d"] {
        let c = Bundle::sleeper().set("/linux/cgroupsPath", json!(path)).container();
        let out = create(&c);
        deviates!("crun", "R167: other forms are taken for paths");
        out.fails();
        if is_pinnace() {
            out.fails_with(&["linux.cgroupsPath"]);
        }
    }
}

#[test]
fn r168_r318_the_default_unit_has_the_id() {
    needs!(here(), "systemd with cgroup v2");
    let c = Bundle::sleeper().container();
    create(&c).ok();
    assert!(
        c.cgroup("").ends_with(format!("system.slice/{}-{}.scope", "pinnace", c.id))
            || !is_pinnace()
    );
}

#[test]
fn r433_annotations_are_properties() {
    needs!(here(), "systemd with cgroup v2");
    let set = json!({"org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.Description": "'of a test'"});
    let (c, unit) = unit(Bundle::sleeper().set("/annotations", set));
    create(&c).ok();
    assert_eq!(show(&unit, "TimeoutStopUSec"), "7s");
    assert_eq!(show(&unit, "Description"), "of a test");
    let set = json!({"org.systemd.property.NoSuchThing": "true"});
    let (bad, _) = self::unit(Bundle::sleeper().set("/annotations", set));
    create(&bad).fails_with(&["NoSuchThing"]);
}

#[test]
fn r207_a_bus_that_is_gone() {
    needs!(here(), "systemd with cgroup v2");
    deviates!(["runc", "crun"], "R207: they need not tell the option");
    let (c, _) = unit(Bundle::sleeper());
    let bundle = c.bundle.path();
    c.call(["--systemd-cgroup", "create", "--bundle", bundle.to_str().unwrap(), &c.id])
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")
        .run()
        .fails_with(&["--systemd-cgroup"]);
    create(&c).ok();
    // Without its cgroup the unit ends by itself.
    c.call(["delete", "--force", &c.id])
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")
        .run()
        .ok();
}

#[test]
fn r207_many_at_once_and_one_name_again_and_again() {
    needs!(here(), "systemd with cgroup v2");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (c, unit) = unit(Bundle::sleeper());
                for _ in 0..4 {
                    create(&c).ok();
                    c.call(["delete", "--force", &c.id]).run().ok();
                    assert_eq!(show(&unit, "LoadState"), "not-found");
                }
            });
        }
    });
}

/// A create that is killed as it begins to hear the bus for that time; what it said and heard.
fn killed_create(c: &Container, heard: u32) -> String {
    let trace = c.bundle.dir().join("trace");
    let killed = Call::new("/usr/bin/strace")
        .args(["-qq", "-s", "1000", "-e", "trace=sendto,recvfrom", "-o", trace.to_str().unwrap()])
        .args(["-e", &format!("inject=recvfrom:signal=KILL:when={heard}")])
        .args([runtime().path.as_os_str()])
        .args(["--root", c.root().to_str().unwrap(), "--systemd-cgroup", "create"])
        .args(["--bundle", c.bundle.path().to_str().unwrap(), &c.id])
        .output_to(c.log("stdout"), c.log("stderr"))
        .run();
    assert_eq!(killed.code, 128 + 9, "{killed:?}");
    fs::read_to_string(trace).unwrap()
}

/// systemd has been asked, and whoever asked is dead before it begins.
#[test]
fn a_unit_that_systemd_makes_after_its_creator_was_killed_goes_with_delete() {
    needs!(here() && is_pinnace() && has_strace(), "pinnace, strace, and systemd with cgroup v2");
    let (c, unit) = unit(Bundle::sleeper());
    for _ in 0..10 {
        // The bus has answered who asks.
        assert!(killed_create(&c, 2).contains("StartTransientUnit"));
        c.call(["delete", "--force", &c.id]).run().ok();
        assert_eq!(show(&unit, "ActiveState"), "inactive");
        // systemd forgets a unit that it had not begun with a moment later.
        until("it is forgotten", || show(&unit, "LoadState") == "not-found");
    }
}

/// Names of units are global: a slice makes no other of them, nor does the same description.
#[test]
fn a_unit_of_somebody_else_with_the_same_name_lives_on() {
    needs!(here() && is_pinnace() && has_strace(), "pinnace, strace, and systemd with cgroup v2");
    for (slice, description) in [("it-other", None), ("system", Some("'the same'"))] {
        let described = |bundle: Bundle| match description {
            Some(text) => bundle.set("/annotations/org.systemd.property.Description", json!(text)),
            None => bundle,
        };
        let (first, name) = unit(described(Bundle::sleeper()));
        create(&first).ok();
        let path = format!("{slice}.slice:it:{}", first.id);
        let second = described(Bundle::sleeper()).set("/linux/cgroupsPath", json!(path));
        let second = second.container();
        create(&second).fails_with(&[&format!("{name} is in use")]);
        assert_eq!(show(&name, "ActiveState"), "active");
        for heard in [1, 2] {
            killed_create(&second, heard);
            second.call(["delete", "--force", &second.id]).run().ok();
            let state = (first.status(), show(&name, "ActiveState"));
            assert_eq!(state, ("created".into(), "active".into()), "{slice}, {heard}");
        }
    }
}

/// What is half made can be neither started nor entered.
#[test]
fn a_container_whose_creator_was_killed_is_stopped() {
    needs!(here() && is_pinnace(), "pinnace, and systemd with cgroup v2");
    let bundle = Bundle::sleeper();
    let began = bundle.dir().join("began");
    let script = format!("echo >{}; exec sleep 1000", began.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let (c, unit) = unit(bundle.set("/hooks/createContainer/-", hook));
    let call = c.call(["--systemd-cgroup", "create"]).args(["--bundle"]).args([c.bundle.path()]);
    let creating = call.args([&c.id]).output_to(c.log("stdout"), c.log("stderr")).spawn();
    until("the hook runs", || began.exists());
    kill_process(creating.pid(), Signal::KILL).unwrap();
    assert_eq!(creating.wait().code, 128 + 9);
    assert_eq!(c.status(), "stopped");
    c.exec(["true"]).fails_with(&["not running"]);
    c.delete().ok();
    until("it is forgotten", || show(&unit, "LoadState") == "not-found");
}
