//! Messages that a stranger can act on: each names the field, the rule and the way out, on
//! one line, and shows no more than a part of a long value.

use crate::harness::{
    Bundle, Call, Output, by_systemd, deviates, is_pinnace, json, runtime, until,
};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const BOTH: [&str; 2] = ["runc", "crun"];

/// One line that has all the words, and is no longer than such a line can be.
#[track_caller]
pub fn says(out: &Output, words: &[&str]) {
    let line = out.fails();
    if !is_pinnace() {
        return;
    }
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.len() < 1500, "{} bytes: {line}", line.len());
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
}

/// `create` fails with these words and has made nothing.
#[track_caller]
fn refused(bundle: Bundle, words: &[&str]) {
    let c = bundle.container();
    says(&c.create(), words);
    c.call(["state", &c.id]).run().is_unknown();
}

/// As engines map ids: 0 to 65535.
fn mapped() -> Bundle {
    Bundle::sh("echo ran").user_namespace()
}

fn maps(name: &str, map: &Value) -> Bundle {
    mapped().set(&format!("/linux/{name}"), map.clone())
}

#[test]
fn more_groups_than_the_kernel_takes_are_told_by_their_number() {
    let groups: Vec<u32> = (1..=65_537).collect();
    let words = ["process.user.additionalGids: has 65537 groups, more than 65536 (setgroups(2)"];
    refused(Bundle::sh("true").set("/process/user/additionalGids", json!(groups)), &words);
    // In exec, too; and as many as the kernel takes are taken.
    let c = Bundle::sleeper().container().up();
    let process = |count: u32| {
        let groups: Vec<u32> = (1..=count).collect();
        let file = c.bundle.dir().join("process.json");
        let user = json!({"uid": 0, "gid": 0, "additionalGids": groups});
        let process = json!({"args": ["true"], "cwd": "/", "user": user});
        fs::write(&file, process.to_string()).unwrap();
        c.exec_with(["--process", file.to_str().unwrap()], [])
    };
    says(&process(65_537), &words);
    deviates!("runc", "more than its own message between its processes can hold");
    process(65_536).ok();
}

#[test]
fn a_group_that_is_not_mapped_is_told_by_its_place() {
    let bundle = mapped().set("/process/user/additionalGids", json!([5, 100_000, 6]));
    refused(
        bundle,
        &[
            "process.user.additionalGids[1]: 100000 is not mapped by linux.gidMappings",
            "(mapped are 0-65535)",
        ],
    );
    let bundle = Bundle::sh("true").set("/process/user/additionalGids", json!([5, u32::MAX]));
    refused(bundle, &["process.user.additionalGids[1]: 4294967295 is not an id"]);
}

#[test]
fn a_user_who_is_not_mapped_is_told_with_what_is() {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 10},
        {"containerID": 1000, "hostID": 101_000, "size": 1}]);
    for (name, field) in [("uid", "uidMappings"), ("gid", "gidMappings")] {
        let bundle = maps(field, &map).set(&format!("/process/user/{name}"), json!(999));
        let told = format!("process.user.{name}: 999 is not mapped by linux.{field}");
        refused(bundle, &[&told, "(mapped are 0-9, 1000-1000)"]);
    }
}

#[test]
fn exec_as_somebody_who_is_not_mapped_names_the_id_and_the_maps() {
    deviates!(BOTH, "other words");
    let c = Bundle::sleeper().user_namespace().container().up();
    for (options, words) in [
        (["--user", "70000"], ["process.user.uid: setresuid(70000)", "does not map this uid"]),
        (["--user", "0:70000"], ["process.user.gid: setresgid(70000)", "does not map this gid"]),
        (
            ["--additional-gids", "70000"],
            ["process.user.additionalGids[0]: setgroups([70000])", "does not map this gid"],
        ),
    ] {
        says(&c.exec_with(options, ["true"]), &words);
    }
}

#[test]
fn a_map_that_the_kernel_refuses_is_told_by_its_rule_before_anything_is_made() {
    let range = |c: u32, h: u32, size: u32| json!({"containerID": c, "hostID": h, "size": size});
    let many = |count: u32| -> Value { (0..count).map(|n| range(n, n, 1)).collect() };
    let long: Value = (0..330).map(|n| range(3_000_000_000 + n, 3_000_000_000 + n, 1)).collect();
    for (map, words) in [
        (
            json!([range(0, 1000, 10), range(9, 5000, 5)]),
            ["[1].containerID: 9-13 overlaps ", "0-9"],
        ),
        (
            json!([range(0, 1000, 10), range(20, 1009, 5)]),
            ["[1].hostID: 1009-1013 overlaps ", "[0]"],
        ),
        (json!([range(0, 1000, 0)]), ["[0].size: is 0", "at least one id"]),
        (json!([range(0, u32::MAX, 1)]), ["[0].hostID: 4294967295 with size 1", "the last id"]),
        (
            json!([range(1, 1, u32::MAX)]),
            ["[0].containerID: 1 with size 4294967295", "the last id"],
        ),
        (many(341), [": has 341 ranges, more than 340", "user_namespaces(7)"]),
        (long, [": is a map of ", "user_namespaces(7)"]),
    ] {
        for name in ["uidMappings", "gidMappings"] {
            let field = format!("linux.{name}");
            refused(maps(name, &map), &[&field, words[0], words[1]]);
        }
        deviates!(BOTH, "newer than these, or found out later");
        // And that of a mount, whose other map is good.
        for name in ["uidMappings", "gidMappings"] {
            let dir = tempfile::tempdir().unwrap();
            let bundle = Bundle::sh("echo ran").bind(dir.path(), "/m", &["rbind", "idmap"]);
            let at = bundle.config()["mounts"].as_array().unwrap().len() - 1;
            let good = json!([range(0, 1000, 10)]);
            let bundle = ["uidMappings", "gidMappings"].iter().fold(bundle, |bundle, field| {
                let map = if *field == name { &map } else { &good };
                bundle.set(&format!("/mounts/{at}/{field}"), map.clone())
            });
            let field = format!("mounts[{at}].{name}");
            refused(bundle, &[&field, words[0], words[1]]);
        }
    }
}

/// All cgroup hierarchies read-only, as an ordinary user finds those of v1.
const READ_ONLY: &str = "for dir in $(awk '$5 ~ \"^/sys/fs/cgroup\" {print $5}' \
    /proc/self/mountinfo); do mount -o remount,bind,ro $dir || exit 99; done; exec \"$0\" \"$@\"";

#[test]
fn without_a_cgroup_it_is_said_that_the_container_has_none_and_why() {
    deviates!(BOTH, "other words");
    if by_systemd() {
        return; // systemd would make it
    }
    let c = Bundle::server().unset("/linux", "cgroupsPath").container();
    let (out, err) = (c.log("stdout"), c.log("stderr"));
    Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", READ_ONLY])
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(["--rootless", "true", "run", "--detach", "--bundle"])
        .args([c.bundle.path().to_str().unwrap(), &c.id])
        .output_to(out, err)
        .run()
        .ok();
    c.wait_ready();
    let why = "may not make cgroups";
    for option in ["--pids-limit=5", "--memory=64m", "--cpu-quota=50000", "--cpuset-cpus=0"] {
        let out = c.call(["update", option, &c.id]).run();
        says(&out, &["linux.resources.", "could not get a cgroup", why]);
        assert!(!out.stderr.contains("this host has no"), "{out:?}");
    }
    says(&c.call(["pause", &c.id]).run(), &["no cgroup", why]);
    says(&c.call(["events", "--stats", &c.id]).run(), &["no cgroup", why]);
    // Its processes are those of its pid namespace; the shell makes a child.
    let init = c.pid().as_raw_pid();
    until("ps shows both", || {
        let out = c.call(["ps", "--format=json", &c.id]).run();
        let pids: Vec<i32> = serde_json::from_str(out.ok()).unwrap();
        assert!(pids.len() <= 2 && pids.contains(&init), "{pids:?}");
        pids.len() == 2
    });
    c.stop();
}

/// A process whose children are made in a pid namespace that has no init any more.
struct Childless(std::process::Child);

impl Childless {
    fn new() -> Self {
        let mut child = Command::new("/usr/bin/unshare")
            .args(["--pid", "sh", "-c", "true & wait; echo there; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "there\n");
        Self(child)
    }
}

impl Drop for Childless {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_joined_pid_namespace_without_an_init_is_told_as_such() {
    let holder = Childless::new();
    let path = format!("/proc/{}/ns/pid_for_children", holder.0.id());
    for bundle in
        [Bundle::sh("true"), Bundle::sh("true").without_namespace("uts").unset("", "hostname")]
    {
        let words = ["joined pid namespace", "first process", "has ended", "pid_namespaces(7)"];
        refused(bundle.namespace("pid", Some(&path)), &words);
    }
}

#[test]
fn a_namespace_file_that_is_none_is_told_with_what_would_be_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (path, words) in [
        ("/no/such/file", ["no such file or directory", "/proc/PID/ns/net of a process"]),
        (path, ["is not a namespace file", "/proc/PID/ns/net of a process"]),
        ("/proc/self/ns/uts", ["is a namespace of type uts", "its entry has the type network"]),
    ] {
        let bundle = Bundle::sh("true").namespace("network", Some(path));
        refused(bundle, &["linux.namespaces[", "].path: ", words[0], words[1]]);
    }
}

/// `name: JSON pointer = value => [words]`: what is not there is not shown as `""`.
macro_rules! missing {
    ($($name:ident: $at:literal = $value:tt => $field:literal $rule:literal;)*) => { $(
        #[test]
        fn $name() {
            deviates!(BOTH, "accepted, or other words");
            let bundle = Bundle::sh("true").set($at, json!($value));
            refused(bundle, &[concat!($field, ": is missing or empty (it must be "), $rule]);
        }
    )* };
}

missing! {
    an_empty_cwd: "/process/cwd" = "" => "process.cwd" "an absolute path";
    an_empty_version: "/ociVersion" = "" => "ociVersion" "a version, such as 1.0.2";
    an_empty_limit: "/process/rlimits/0/type" = "" => "process.rlimits[0].type" "RLIMIT_";
    an_empty_kind_of_namespace: "/linux/namespaces/0/type" = "" => "linux.namespaces[0].type" "one of user, pid";
    an_empty_hook: "/hooks" = {"poststop": [{"path": ""}]} => "hooks.poststop[0].path" "an absolute path";
    an_empty_masked_path: "/linux/maskedPaths" = [""] => "linux.maskedPaths[0]" "an absolute path";
    an_empty_readonly_path: "/linux/readonlyPaths" = ["/proc/bus", ""] => "linux.readonlyPaths[1]" "an absolute path";
    an_empty_path_of_a_device: "/linux/devices" = [{"type": "c", "path": "", "major": 1, "minor": 3}] =>
        "linux.devices[0].path" "an absolute path";
    an_empty_type_of_a_device: "/linux/devices" = [{"type": "", "path": "/dev/x", "major": 1, "minor": 3}] =>
        "linux.devices[0].type" "one of c, b, u, p";
    an_empty_personality: "/linux/personality" = {"domain": ""} => "linux.personality.domain" "LINUX or LINUX32";
    an_empty_memory_policy: "/linux/memoryPolicy" = {"mode": ""} => "linux.memoryPolicy.mode" "one of MPOL_";
    an_empty_scheduler: "/process/scheduler" = {"policy": ""} => "process.scheduler.policy" "one of SCHED_";
    an_empty_class: "/process/ioPriority" = {"class": "", "priority": 1} => "process.ioPriority.class" "one of IOPRIO_";
    an_empty_default_action: "/linux/seccomp" = {"defaultAction": ""} => "linux.seccomp.defaultAction" "one of SCMP_ACT_";
    an_empty_action: "/linux/seccomp" = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": ""}]} =>
        "linux.seccomp.syscalls[0].action" "one of SCMP_ACT_";
}

#[test]
fn a_missing_cwd_is_told_as_missing() {
    deviates!("crun", "taken for /");
    refused(Bundle::sh("true").unset("/process", "cwd"), &["process.cwd: is missing or empty"]);
}

/// Long, with blanks, with line breaks and controls, and quoted.
fn long_values() -> [String; 4] {
    ["x".repeat(5000), "a b ".repeat(1250), "c\nd\u{1b}[2J".repeat(900), "e\"f\\ ".repeat(1000)]
}

/// No control character, and no more than 500 bytes of the value.
#[track_caller]
fn shows_a_part(out: &Output, what: &str) {
    let line = out.fails();
    let start = line.chars().take(900).collect::<String>();
    assert!(line.len() < 1500, "{what}: {} bytes: {start:?}", line.len());
    assert!(!line.trim_end_matches('\n').contains(char::is_control), "{what}: {line:?}");
}

/// A JSON pointer, and what is to be there with the long text in it.
type Field = (&'static str, fn(&str) -> Value);

const FIELDS: &[Field] = &[
    ("/ociVersion", |text| json!(text)),
    ("/root/path", |text| json!(text)),
    ("/process/cwd", |text| json!(text)),
    ("/process/cwd", |text| json!(format!("/{text}"))),
    ("/process/args", |text| json!([text])),
    ("/process/args", |text| json!([format!("/{text}")])),
    ("/process/env", |text| json!([text])),
    ("/process/env", |text| json!([format!("PATH={text}")])),
    ("/process/rlimits/0/type", |text| json!(text)),
    ("/process/scheduler", |text| json!({"policy": text})),
    ("/process/ioPriority", |text| json!({"class": text})),
    ("/process/apparmorProfile", |text| json!(text)),
    ("/process/selinuxLabel", |text| json!(text)),
    ("/hostname", |text| json!(text)),
    ("/mounts/0/type", |text| json!(text)),
    ("/mounts/0/destination", |text| json!(format!("/{text}"))),
    ("/mounts/1/options", |text| json!([text])),
    ("/mounts/1", |text| json!({"destination": "/m", "source": text, "options": ["bind"]})),
    ("/mounts/1", |text| json!({"destination": "/m", "source": "/", "options": ["bind", text]})),
    ("/hooks", |text| json!({"createRuntime": [{"path": text}]})),
    ("/hooks", |text| json!({"createRuntime": [{"path": format!("/{text}")}]})),
    ("/linux/namespaces/0/type", |text| json!(text)),
    ("/linux/namespaces/0/path", |text| json!(format!("/{text}"))),
    ("/linux/cgroupsPath", |text| json!(format!("/{text}"))),
    ("/linux/rootfsPropagation", |text| json!(text)),
    ("/linux/maskedPaths", |text| json!([text])),
    ("/linux/devices", |text| json!([{"type": text, "path": "/dev/x"}])),
    ("/linux/devices", |text| json!([{"type": "p", "path": text}])),
    ("/linux/devices", |text| json!([{"type": "p", "path": format!("/dev/{text}")}])),
    ("/linux/sysctl", |text| json!({format!("net.{text}"): "1"})),
    ("/linux/sysctl", |text| json!({"kernel.shm_rmid_forced": text})),
    ("/linux/timeOffsets", |text| json!({text: {"secs": 1}})),
    ("/linux/netDevices", |text| json!({text: {}})),
    ("/linux/personality", |text| json!({"domain": text})),
    ("/linux/memoryPolicy", |text| json!({"mode": text})),
    ("/linux/memoryPolicy", |text| json!({"mode": "MPOL_BIND", "nodes": text})),
    ("/linux/intelRdt", |text| json!({"closID": text})),
    ("/linux/intelRdt", |text| json!({"memBwSchema": text})),
    ("/linux/resources/cpu", |text| json!({"cpus": text})),
    ("/linux/resources/devices", |text| json!([{"allow": true, "type": text}])),
    ("/linux/resources/devices", |text| json!([{"allow": true, "type": "c", "access": text}])),
    ("/linux/resources/hugepageLimits", |text| json!([{"pageSize": text, "limit": 1}])),
    ("/linux/resources/rdma", |text| json!({text: {"hcaHandles": 1}})),
    ("/linux/resources/network", |text| json!({"priorities": [{"name": text, "priority": 1}]})),
    ("/linux/seccomp", |text| json!({"defaultAction": text})),
    ("/linux/seccomp", |text| json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [text]})),
    ("/linux/seccomp", |text| json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [text]})),
];

#[test]
fn of_a_long_value_of_the_configuration_only_a_part_is_shown() {
    deviates!(BOTH, "shown whole");
    for (pointer, value) in FIELDS {
        for text in long_values() {
            let what = format!("{pointer} = {}...", &text[..8]);
            let c = Bundle::sh("true").set(pointer, value(&text)).container();
            shows_a_part(&c.create(), &what);
            let out = c.call(["plan", "--bundle", c.bundle.path().to_str().unwrap()]).run();
            let longest = out.stdout.lines().map(str::len).max().unwrap_or_default();
            assert!(out.code == 0 || longest < 1500, "{what}: {longest} bytes in {out:?}");
        }
    }
}

#[test]
fn of_a_long_word_of_the_command_line_only_a_part_is_shown() {
    deviates!(BOTH, "shown whole");
    let c = Bundle::sleeper().container().up();
    let bundle = c.bundle.path();
    let bundle = bundle.to_str().unwrap();
    for text in long_values() {
        let option = format!("--{text}");
        let given = format!("--unknown={text}");
        let cgroup = format!("x:{text}");
        let calls: &[&[&str]] = &[
            &[&text],
            &[&option],
            &[&given, "list"],
            &["list", &given],
            &["state", &text],
            &["state", &c.id, &text],
            &["delete", &text],
            &["kill", &c.id, &text],
            &["kill", "--regex", &text],
            &["list", "--format", &text],
            &["ps", "--format", &text, &c.id],
            &["--log-format", &text, "list"],
            &["--log-level", &text, "list"],
            &["--rootless", &text, "list"],
            &["--log", &text, "state", "x"],
            &["events", "--interval", &text, &c.id],
            &["update", "--memory", &text, &c.id],
            &["update", "--cpu-share", &text, &c.id],
            &["update", "--cpuset-cpus", &text, &c.id],
            &["update", "--resources", &text, &c.id],
            &["update", "--l3-cache-schema", &text, &c.id],
            &["exec", "--user", &text, &c.id, "true"],
            &["exec", "--cwd", &text, &c.id, "true"],
            &["exec", "--env", &text, &c.id, "true"],
            &["exec", "--process", &text, &c.id],
            &["exec", "--cgroup", &cgroup, &c.id, "true"],
            &["exec", "--apparmor", &text, &c.id, "true"],
            &["exec", "--pid-file", &text, &c.id, "true"],
            &["exec", "--tty", "--console-socket", &text, &c.id, "true"],
            &["exec", &c.id, &text],
            &["create", "--bundle", &text, "x"],
            &["create", "--bundle", bundle, "--config", &text, "x"],
            &["create", "--bundle", bundle, "--pid-file", &text, "x"],
            &["create", "--bundle", bundle, "--preserve-fds", &text, "x"],
            &["spec", "--bundle", &text],
        ];
        for call in calls {
            let dir = c.bundle.dir();
            let out = c.call([]).args(*call).current_dir(dir).run();
            shows_a_part(&out, &format!("{} of {:?}...", call[0], &text[..8]));
        }
    }
}

#[test]
fn an_unknown_option_names_itself_and_not_its_value() {
    deviates!(BOTH, "other words");
    let c = Bundle::sleeper().container();
    for (args, words) in [
        (&["list", "--token=secret"][..], ["--token: unknown flag", "`pinnace list --help`"]),
        (&["--token=secret", "list"], ["--token: unknown flag", "`pinnace --help`"]),
        (&["state", "-xsecret"], ["-xsecret: unknown flag", "`pinnace state --help`"]),
        (&["list", "--root", "/x"], ["--root: unknown flag", "it stands before the command"]),
        (
            &["list", "--format", "xml"],
            ["--format: \"xml\" is not one of table, json", "list --help"],
        ),
        (
            &["ps", "--format=xml", "x"],
            ["--format: \"xml\" is not one of table, json", "ps --help"],
        ),
        (&["--log-format", "xml", "list"], ["\"xml\" is not one of text, json", "pinnace --help"]),
        (
            &["--log-level", "loud", "list"],
            ["is not one of auto, warning, error, debug", "pinnace --help"],
        ),
        (&["--rootless", "maybe", "list"], ["is not one of auto, true, false", "pinnace --help"]),
        (
            &["exec", "--tty=maybe", "x", "y"],
            ["--tty: \"maybe\": is neither true nor false", "exec"],
        ),
        (
            &["exec", "--preserve-fds=x", "x", "y"],
            ["--preserve-fds: \"x\": is not a number", "exec"],
        ),
        (&["run", "--preserve-fds"], ["--preserve-fds: flag needs an argument", "run --help"]),
    ] {
        let out = c.call([]).args(args).run();
        says(&out, &words);
        assert!(!out.stderr.contains("=secret"), "{out:?}");
    }
}
