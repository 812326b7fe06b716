//! What engines type and parse: pid files, logs, exit codes, lists, versions.

use crate::harness::{Bundle, Call, deviates, directory, is_pinnace, json, runtime};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn r332_pid_file_is_digits_without_newline() {
    let c = Bundle::sleeper().container();
    let (bundle, file) = (c.bundle.path(), c.bundle.dir().join("pid"));
    let args = ["create", "--bundle", bundle.to_str().unwrap(), "--pid-file"];
    let [a, b, d, e] = args;
    c.detached([a, b, d, e, file.to_str().unwrap(), &c.id]).ok();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, c.pid().as_raw_pid().to_string());
}

#[test]
fn r332_no_pid_file_when_create_fails() {
    let c = Bundle::new(["/no/such/program"]).container();
    let (bundle, file) = (c.bundle.path(), c.bundle.dir().join("pid"));
    let out = c.detached([
        "create",
        "--bundle",
        bundle.to_str().unwrap(),
        "--pid-file",
        file.to_str().unwrap(),
        &c.id,
    ]);
    out.fails();
    assert!(!file.exists());
}

#[test]
fn r332_run_detached_writes_the_pid_file() {
    let c = Bundle::sleeper().container();
    let (bundle, file) = (c.bundle.path(), c.bundle.dir().join("pid"));
    c.detached([
        "run",
        "-d",
        "-b",
        bundle.to_str().unwrap(),
        "--pid-file",
        file.to_str().unwrap(),
        &c.id,
    ])
    .ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().as_raw_pid().to_string());
}

#[test]
fn r328_bundle_is_the_current_directory_by_default() {
    let c = Bundle::sh("echo here").container();
    let out = c.call(["run", &c.id]).current_dir(&c.bundle.path()).run();
    assert_eq!(out.ok(), "here\n");
}

#[test]
fn r328_bundle_may_be_relative() {
    let c = Bundle::sleeper().container();
    let out = c
        .call(["run", "-d", "--bundle", "bundle", &c.id])
        .output_to(tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap())
        .current_dir(c.bundle.dir())
        .run();
    out.ok();
    assert_eq!(c.state()["bundle"], json!(c.bundle.path()), "absolute in the state");
}

#[test]
fn r317_root_holds_the_state() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    assert!(c.root().join(&c.id).exists());
    c.call(["state", &c.id]).run().ok();
    let other = c.bundle.dir().join("other");
    let elsewhere = Call::new(&runtime().path).args(["--root", other.to_str().unwrap(), "state"]);
    elsewhere.args([&c.id]).run().is_unknown();
}

#[test]
fn r317_root_is_for_its_owner_only() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&c.root().join(&c.id)) & 0o066, 0, "others can read the state");
}

/// conmon-rs gives the global flags twice; `--x=v` and `--x v` mean the same.
#[test]
fn global_flags_may_be_repeated() {
    let c = Bundle::sh("echo ran").container();
    let root = format!("--root={}", c.root().display());
    let bundle = c.bundle.path();
    let out = c.call([&root, "run", &format!("--bundle={}", bundle.display()), &c.id]).run();
    assert_eq!(out.ok(), "ran\n");
}

#[test]
fn r314_log_text_has_the_error_and_stderr_has_it_once() {
    deviates!("crun", "R260: other words for an unknown id");
    let c = Bundle::sleeper().container();
    let log = c.bundle.dir().join("log");
    let out = c.call(["--log", log.to_str().unwrap(), "state", "nobody"]).run();
    out.is_unknown();
    assert_eq!(out.stderr.matches("does not exist").count(), 1, "{}", out.stderr);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("does not exist").count(), 1, "{log}");
}

/// podman reads the whole file as one object; go-runc looks for level, msg, time.
/// Also what is wrong with the call itself: engines show their users the log.
#[test]
fn r314_r315_usage_errors_are_in_the_log() {
    let c = Bundle::new(["true"]).container();
    let log = c.bundle.dir().join("log.json");
    let calls: [&[&str]; 3] = [&["state"], &["no-such-command"], &["kill", "--no-such-flag", "x"]];
    for (i, call) in calls.iter().enumerate() {
        let flags = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        let out = c.call(flags).args(*call).run();
        deviates!(["runc", "crun"], "R314: errors of the call are on standard error only");
        let told = out.fails().trim_end().trim_start_matches("pinnace: ").to_owned();
        let text = fs::read_to_string(&log).unwrap();
        let line: Value = serde_json::from_str(text.lines().nth(i).unwrap()).unwrap();
        assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!(told)), "{text}");
    }
}

#[test]
fn r313_debug_tells_of_the_cgroup_and_of_the_process() {
    let c = Bundle::sleeper().container();
    let (bundle, log) = (c.bundle.path(), c.bundle.dir().join("log"));
    let (bundle, log_path) = (bundle.to_str().unwrap(), log.to_str().unwrap());
    c.detached(["--log", log_path, "create", "--bundle", bundle, &c.id]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "", "not asked for");
    c.call(["delete", "--force", &c.id]).run().ok();
    c.detached(["--debug", "--log", log_path, "create", "--bundle", bundle, &c.id]).ok();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() >= 1 && text.lines().all(|l| l.contains("level=debug")), "{text}");
    deviates!(["runc", "crun"], "R313: other words");
    let pid = c.pid().as_raw_pid();
    assert!(text.contains(&format!("init is process {pid}\"")), "{text}");
    let cgroup = c.cgroup("memory");
    assert!(text.contains(cgroup.to_str().unwrap()), "{text}");
}

#[test]
fn r315_log_json_is_one_object_with_the_error() {
    let c = Bundle::new(["/no/such/program"]).container();
    let log = c.bundle.dir().join("log.json");
    let bundle = c.bundle.path();
    let out = c.detached([
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "create",
        "--bundle",
        bundle.to_str().unwrap(),
        &c.id,
    ]);
    out.fails();
    deviates!("crun", "R315: crun logs at its own levels");
    let text = fs::read_to_string(&log).unwrap();
    let errors: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["level"] == "error")
        .collect();
    assert_eq!(errors.len(), 1, "{text}");
    let message = errors[0]["msg"].as_str().unwrap();
    assert!(message.contains("no such file or directory"), "{message}");
    assert!(is_rfc3339(errors[0]["time"].as_str().unwrap()), "{text}");
    assert!(out.stderr.contains("no such file or directory"), "also on stderr");
    deviates!("runc", "R315: warnings about the failed create stand in the log too");
    let whole: Value = serde_json::from_str(&text).expect("podman wants ONE object");
    let mut keys: Vec<_> = whole.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["level", "msg", "time"]);
}

#[test]
fn r314_log_is_appended_to() {
    let c = Bundle::sleeper().container();
    let log = c.bundle.dir().join("log");
    fs::write(&log, "kept\n").unwrap();
    for id in ["nobody1", "nobody2"] {
        c.call(["--log", log.to_str().unwrap(), "--log-format=json", "state", id]).run().fails();
    }
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("kept\n"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn r314_log_stays_empty_on_success() {
    let c = Bundle::sh("true").container();
    let (log, bundle) = (c.bundle.dir().join("log"), c.bundle.path());
    c.call(["--log", log.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), &c.id])
        .run()
        .ok();
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn r314_a_log_that_cannot_be_opened_is_an_error() {
    let c = Bundle::sleeper().container();
    c.call(["--log", "/no/such/directory/log", "state", "nobody"]).run().fails();
}

#[test]
fn r315_an_unknown_log_format_is_an_error() {
    let c = Bundle::sleeper().container();
    c.call(["--log-format", "xml", "list"]).run().fails();
}

#[test]
fn r322_version_names_version_and_spec() {
    for flag in ["--version", "-v"] {
        let out = Call::new(&runtime().path).args([flag]).run();
        if flag == "-v" {
            deviates!("crun", "R322: -v is not --version");
        }
        let text = out.ok();
        let first: Vec<_> = text.lines().next().unwrap().split(' ').collect();
        assert_eq!(first[1], "version", "{text}");
        assert_eq!(first.len(), 3, "nerdctl wants three words: {text}");
        assert!(text.lines().any(|line| line.starts_with("spec: ")), "{text}");
        assert!(text.lines().any(|line| line.starts_with("commit: ")), "{text}");
    }
}

#[test]
fn r323_help_of_every_command() {
    let commands = [
        "create", "delete", "exec", "kill", "list", "pause", "ps", "resume", "run", "spec",
        "start", "state", "update",
    ];
    for command in commands {
        let out = Call::new(&runtime().path).args([command, "--help"]).run();
        assert!(out.ok().contains(command), "{command}: {out:?}");
    }
    assert!(Call::new(&runtime().path).args(["--help"]).run().ok().contains("create"));
}

#[test]
fn r323_an_unknown_command_or_flag_is_an_error() {
    let c = Bundle::sleeper().container();
    c.call(["nonsense"]).run().fails();
    c.call(["state", "--nonsense", "x"]).run().fails();
    c.call(["state"]).run().fails();
    c.call(["state", "a", "b"]).run().fails();
}

#[test]
fn r363_list_has_a_table() {
    let c = Bundle::sleeper().container().up();
    let out = c.call(["list"]).run();
    let lines: Vec<Vec<&str>> =
        out.ok().lines().map(|line| line.split_whitespace().collect()).collect();
    deviates!("crun", "R363: other columns (NAME, BUNDLE PATH)");
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let pid = c.pid().as_raw_pid().to_string();
    assert_eq!(&lines[1][..4], [&c.id, &pid, "running", c.bundle.path().to_str().unwrap()]);
    assert_eq!(lines[1][5], "root");
}

#[test]
fn r363_list_has_room_for_many() {
    let c = Bundle::sleeper().container().up();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let ids: Vec<String> = (0..20).map(|n| format!("{}-{n}", c.id)).collect();
    for id in &ids {
        c.detached(["create", "--bundle", &bundle, id]).ok();
    }
    // Fewer descriptors than there are containers, twice.
    let listed = Call::new("/bin/sh")
        .args(["-c", "ulimit -n 16; exec \"$0\" \"$@\""])
        .args([runtime().path.as_os_str(), "--root".as_ref(), c.root().as_os_str()])
        .args(["list", "--quiet"])
        .run();
    for id in &ids {
        c.call(["delete", "--force", id]).run().ok();
    }
    assert_eq!(listed.ok().lines().count(), 1 + ids.len());
}

#[test]
fn r364_list_as_json() {
    let c = Bundle::sleeper().container().up();
    let out = c.call(["list", "--format", "json"]).run();
    let list: Value = serde_json::from_str(out.ok()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["id"], json!(c.id));
    assert_eq!(list[0]["status"], json!("running"));
    assert_eq!(list[0]["pid"], json!(c.pid().as_raw_pid()));
    assert_eq!(list[0]["owner"], json!("root"));
    assert!(is_rfc3339(list[0]["created"].as_str().unwrap()));
}

#[test]
fn r364_list_of_nothing_is_null() {
    let c = Bundle::sleeper().container();
    fs::create_dir(c.root()).unwrap();
    let out = c.call(["list", "-f", "json"]).run();
    deviates!("crun", "R364: crun prints []");
    assert_eq!(out.ok().trim(), "null", "as runc; go-runc reads both");
    assert_eq!(c.call(["list", "-q"]).run().ok(), "");
}

#[test]
fn r365_list_quiet_has_only_ids() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    for flag in ["-q", "--quiet"] {
        assert_eq!(c.call(["list", flag]).run().ok(), format!("{}\n", c.id));
    }
}

#[test]
fn r364_list_refuses_an_unknown_format() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    c.call(["list", "--format", "xml"]).run().fails();
}

#[test]
fn r367_ps_as_json_is_an_array_of_host_pids() {
    let c = Bundle::sh("sleep 1000 & echo > /ready; wait").container().up_and_ready();
    let out = c.call(["ps", "--format", "json", &c.id]).run();
    let pids: Vec<i32> = serde_json::from_str(out.ok()).unwrap();
    assert_eq!(out.stderr, "", "containerd reads both together");
    assert_eq!(pids.len(), 2);
    assert!(pids.contains(&c.pid().as_raw_pid()));
}

#[test]
fn r366_ps_prints_ps_lines_of_the_container_only() {
    let c = Bundle::sleeper().container().up();
    let out = c.call(["ps", &c.id]).run();
    let lines: Vec<_> = out.ok().lines().collect();
    deviates!("crun", "R366: crun prints a column of pids");
    assert!(lines[0].contains("UID") && lines[0].contains("PID") && lines[0].contains("CMD"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("sleep 1000"), "{lines:?}");
}

#[test]
fn r368_ps_passes_arguments_on() {
    let c = Bundle::sleeper().container().up();
    let out = c.call(["ps", &c.id, "-o", "pid,comm"]).run();
    deviates!("crun", "R368: exactly one argument");
    let lines: Vec<_> = out.ok().lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND"]);
}

#[test]
fn r366_ps_of_an_unknown_container() {
    let c = Bundle::sleeper().container();
    c.call(["ps", "nobody"]).run().is_unknown();
}

#[test]
fn r371_events_stats_is_one_record() {
    let c = Bundle::sleeper().container().up();
    let out = c.call(["events", "--stats", &c.id]).run();
    deviates!("crun", "R369: no such command");
    let event: Value = serde_json::from_str(out.ok()).unwrap();
    assert_eq!(event["type"], json!("stats"));
    assert_eq!(event["id"], json!(c.id));
    assert!(event["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{event}");
    assert!(event["data"]["pids"]["current"].as_u64().unwrap() >= 1, "{event}");
    assert!(event["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{event}");
}

#[test]
fn r395_r396_spec_writes_a_bundle_that_is_not_overwritten() {
    let c = Bundle::sleeper().container();
    let dir = directory();
    c.call(["spec", "--bundle", dir.path().to_str().unwrap()]).run().ok();
    let text = fs::read_to_string(dir.path().join("config.json")).unwrap();
    let spec: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(spec["root"]["path"], json!("rootfs"));
    assert_eq!(spec["process"]["args"], json!(["sh"]));
    assert_eq!(spec["process"]["terminal"], json!(true));
    assert!(spec["process"]["capabilities"].get("inheritable").is_none() || !is_pinnace());
    c.call(["spec", "--bundle", dir.path().to_str().unwrap()]).run().fails();
    assert_eq!(fs::read_to_string(dir.path().join("config.json")).unwrap(), text);
}

#[test]
fn r395_what_spec_writes_runs() {
    let c = Bundle::sleeper().container();
    let path = c.bundle.path();
    fs::remove_file(path.join("config.json")).unwrap();
    c.call(["spec"]).current_dir(&path).run().ok();
    let file = path.join("config.json");
    let mut spec: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["sh", "-c", "echo ran; touch /tmp/x"]);
    fs::write(&file, spec.to_string()).unwrap();
    let out = c.run();
    assert_eq!(out.stdout, "ran\n");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn r397_spec_rootless_maps_the_caller() {
    deviates!("crun", "R397: no mappings in crun 1.8.1");
    let c = Bundle::sleeper().container();
    let dir = directory();
    c.call(["spec", "--rootless"]).current_dir(dir.path()).run().ok();
    let text = fs::read_to_string(dir.path().join("config.json")).unwrap();
    let spec: Value = serde_json::from_str(&text).unwrap();
    let types: Vec<_> =
        spec["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
    assert!(types.contains(&&json!("user")), "{types:?}");
    assert_eq!(spec["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": 0, "size": 1}]));
}

#[test]
fn r372_features_lists_what_the_spec_knows() {
    let out = Call::new(&runtime().path).args(["features"]).run();
    deviates!("crun", "R372: crun 1.8.1 has no features command");
    assert_eq!(out.stderr, "", "CRI-O reads both together");
    let features: Value = serde_json::from_str(out.ok()).unwrap();
    let has = |pointer: &str, value: &str| {
        let list = features.pointer(pointer).and_then(Value::as_array).cloned();
        assert!(list.is_some_and(|l| l.contains(&json!(value))), "{pointer}: no {value}");
    };
    has("/linux/namespaces", "user");
    has("/mountOptions", "rro");
    has("/linux/capabilities", "CAP_SYS_ADMIN");
    has("/hooks", "createRuntime");
    has("/linux/seccomp/actions", "SCMP_ACT_NOTIFY");
    assert_eq!(features["linux"]["cgroup"]["v1"], json!(true));
    deviates!("runc", "R273..R290: runc 1.1.5 knows spec 1.0.2 only");
    assert_eq!(features["ociVersionMax"], json!("1.3.0"));
    has("/linux/namespaces", "time");
    has("/mountOptions", "idmap");
    has("/mountOptions", "ridmap");
    has("/linux/memoryPolicy/modes", "MPOL_INTERLEAVE");
    has("/linux/seccomp/knownFlags", "SECCOMP_FILTER_FLAG_TSYNC");
    has("/linux/seccomp/archs", "SCMP_ARCH_X86_64");
    for pointer in [
        "/linux/mountExtensions/idmap/enabled",
        "/linux/netDevices/enabled",
        "/linux/intelRdt/enabled",
        "/linux/seccomp/enabled",
    ] {
        assert_eq!(features.pointer(pointer), Some(&json!(true)), "{pointer}");
    }
}

pub fn is_rfc3339(text: &str) -> bool {
    let shape: String =
        text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).take(19).collect();
    shape == "0000-00-00T00:00:00" && (text.ends_with('Z') || text[19..].contains(['+', '-']))
}
