//! Options that crun, youki or rootless callers know, and that runc has not.

use crate::harness::{Bundle, Call, Container, by_systemd, deviates, json, runtime};
use serde_json::Value;
use std::fs;

fn detached(c: &Container, options: &[&str], id: &str) -> String {
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let (out, err) = (c.log("stdout"), c.log("stderr"));
    let before = c.stderr().len();
    let call = c.call([]).args(options).args(["create", "--bundle", &bundle, id]);
    call.output_to(out, err).run().ok();
    c.stderr()[before..].to_owned()
}

#[test]
fn r316_log_level_is_how_much_is_told() {
    deviates!(["runc", "crun"], "R316: none, and newer than 1.8.1");
    let c = Bundle::sleeper().capability("CAP_NONSENSE").container();
    for (options, warns, tells) in [
        (vec![], true, false),
        (vec!["--log-level", "warning"], true, false),
        (vec!["--log-level=error"], false, false),
        (vec!["--log-level", "debug"], true, true),
        (vec!["--debug", "--log-level", "error"], true, true),
    ] {
        let told = detached(&c, &options, &c.id);
        c.call(["delete", "--force", &c.id]).run().ok();
        assert_eq!(told.contains("CAP_NONSENSE"), warns, "{options:?}: {told}");
        assert_eq!(told.contains("debug: "), tells, "{options:?}: {told}");
    }
    let out = c.call(["--log-level", "loud", "list"]).run();
    assert!(out.fails().contains("--log-level: \"loud\" is not one of"), "{out:?}");
}

#[test]
fn r316_errors_are_told_at_every_log_level() {
    deviates!(["runc", "crun"], "R316: none, and newer than 1.8.1");
    let c = Bundle::sleeper().container();
    let log = c.bundle.dir().join("log");
    let options = ["--log", log.to_str().unwrap(), "--log-level", "error", "state", &c.id];
    assert!(c.call(options).run().fails().contains("does not exist"));
    assert!(fs::read_to_string(log).unwrap().contains("level=error"));
}

/// All cgroup hierarchies read-only, as somebody without rights finds them.
fn without_cgroups(c: &Container, options: &[&str]) -> Call {
    let script = "for dir in $(awk '$5 ~ \"^/sys/fs/cgroup\" {print $5}' /proc/self/mountinfo); do \
        mount -o remount,bind,ro $dir || exit 99; done; exec \"$0\" \"$@\"";
    let unshare = ["--mount", "--propagation", "private", "/bin/sh", "-c", script];
    Call::new("/usr/bin/unshare")
        .args(unshare)
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(options)
        .args(["run", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
}

#[test]
fn r319_r466_rootless_goes_on_without_a_cgroup() {
    if by_systemd() {
        return; // systemd would make it
    }
    let bundle =
        || Bundle::sh("echo went on; cat /proc/self/cgroup").unset("/linux", "cgroupsPath");
    let c = bundle().container();
    let out = without_cgroups(&c, &["--rootless", "true"]).run();
    assert!(out.ok().starts_with("went on\n") && !out.stdout.contains(&c.id), "{out:?}");
    // By its own rights this caller is root, and root does not go on.
    for when in ["false", "auto"] {
        let out = without_cgroups(&c, &["--rootless", when]).run();
        assert!(out.fails().contains("/sys/fs/cgroup") && out.stdout.is_empty(), "{out:?}");
    }
    // Whoever asks for a certain cgroup, or for limits, is not content without.
    for (pointer, value) in [
        ("/linux/cgroupsPath", json!(format!("/{}", c.id))),
        ("/linux/resources/pids/limit", json!(9)),
    ] {
        let c = bundle().set(pointer, value).container();
        without_cgroups(&c, &["--rootless=true"]).run().fails();
    }
}

#[test]
fn r329_config_is_another_file() {
    let c = Bundle::sh("echo the bundle's own").container();
    c.bundle.write_config();
    let mut other = c.bundle.config().clone();
    other["process"]["args"] = json!(["sh", "-c", "echo the other one; cat /etc/mark"]);
    let dir = c.bundle.dir().join("elsewhere");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("other.json"), other.to_string()).unwrap();
    fs::write(c.bundle.rootfs("etc/mark"), "the bundle's root\n").unwrap();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    deviates!("runc", "R329: none");
    // Relative to the caller's directory, not to the bundle.
    let run = c.call(["run", "-b", &bundle, "-f", "other.json", &c.id]).current_dir(&dir).run();
    assert_eq!(run.ok(), "the other one\nthe bundle's root\n");
    let path = dir.join("other.json").to_str().unwrap().to_owned();
    c.detached(["create", "--bundle", &bundle, "--config", &path, &c.id]).ok();
    fs::remove_file(&path).unwrap();
    c.start_and_wait();
    assert_eq!(c.stdout(), "the other one\nthe bundle's root\n", "kept, whatever becomes of it");
    let out = c.call(["run", "-b", &bundle, "-f", "other.json", "x"]).run();
    assert!(out.fails().contains("other.json"), "{out:?}");
}

#[test]
fn r329_a_mistake_in_another_file_is_told_by_its_name() {
    deviates!(["runc", "crun"], "R329: none, and other words");
    let c = Bundle::sleeper().container();
    let path = c.bundle.dir().join("wrong.json");
    fs::write(&path, "{\"ociVersion\": 1}").unwrap();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    for verb in ["create", "run"] {
        let options = ["--bundle", &bundle, "--config", path.to_str().unwrap(), &c.id];
        let out = c.call([verb]).args(options).run();
        assert!(out.fails().contains("wrong.json: line 1 column 16: ociVersion"), "{out:?}");
    }
    let options = ["plan", "--bundle", &bundle, "--config", path.to_str().unwrap()];
    assert!(c.call(options).run().fails().contains("wrong.json: line 1"));
}

/// Containers beside `c` under its state root, whose names begin with its own.
fn beside(c: &Container, names: &[&str]) -> Vec<String> {
    let ids: Vec<String> = names.iter().map(|name| format!("{}-{name}", c.id)).collect();
    for id in &ids {
        detached(c, &[], id);
    }
    ids
}

fn status(c: &Container, id: &str) -> String {
    let state: Value = serde_json::from_str(c.call(["state", id]).run().ok()).unwrap();
    state["status"].as_str().unwrap().to_owned()
}

fn stopped(c: &Container, id: &str) -> bool {
    let state: Value = serde_json::from_str(c.call(["state", id]).run().ok()).unwrap();
    let pid = i32::try_from(state["pid"].as_i64().unwrap()).unwrap();
    rustix::process::Pid::from_raw(pid).is_none_or(crate::harness::exits)
}

#[test]
fn r376_r379_regex_is_for_all_whose_name_fits() {
    let c = Bundle::sleeper().container().up();
    deviates!("runc", "R376: none");
    let ids = beside(&c, &["web1", "web22", "db"]);
    c.call(["kill", "--regex", "web[0-9]+$", "KILL"]).run().ok();
    assert!(stopped(&c, &ids[0]) && stopped(&c, &ids[1]));
    assert_eq!(status(&c, &ids[2]), "created");
    c.call(["start", &ids[2]]).run().ok();
    assert_eq!(c.status(), "running", "a pattern is not a prefix");
    // Those that can be deleted are, whatever happens to the others.
    let out = c.call(["delete", "-r", "(web1|db)$"]).run();
    deviates!("crun", "R379: other words");
    assert!(out.fails().contains(&ids[2]) && out.stderr.contains("not stopped"), "{out:?}");
    c.call(["state", &ids[0]]).run().is_unknown();
    assert_eq!(status(&c, &ids[1]), "stopped", "it was not asked for");
    c.call(["delete", "--force", "--regex", &format!("^{}-", c.id)]).run().ok();
    assert_eq!(c.call(["list", "--quiet"]).run().ok(), format!("{}\n", c.id));
    // None is no error, as for a shell's `for`; two errors are told in one.
    c.call(["delete", "--regex", "no such container"]).run().ok();
    for id in beside(&c, &["a", "b"]) {
        c.call(["start", &id]).run().ok();
    }
    let out = c.call(["delete", "--regex", "."]).run();
    assert!(out.fails().contains("3 of 3 containers: "), "{out:?}");
    c.call(["delete", "--force", "--regex", &format!("^{}-", c.id)]).run().ok();
}

#[test]
fn r376_r379_a_pattern_that_is_none() {
    let c = Bundle::sleeper().container().up();
    deviates!(["runc", "crun"], "R376: none, and other words");
    for verb in ["kill", "delete"] {
        let out = c.call([verb, "--regex", "("]).run();
        assert!(out.fails().contains("--regex: \"(\" is no regular expression: "), "{out:?}");
    }
    assert_eq!(c.status(), "running");
}

/// There is no resctrl here: its class is one of plain files, named by the
/// container's record as if it had been made.
#[test]
fn r394_update_of_schemata() {
    let c = Bundle::sleeper().container().up();
    deviates!(["runc", "crun"], "R394: none");
    let class = c.bundle.dir().join("class");
    fs::create_dir(&class).unwrap();
    fs::write(class.join("schemata"), "L3:0=ff\nMB:0=100\n").unwrap();
    let schemata = || fs::read_to_string(class.join("schemata")).unwrap();
    let call = |line: &str| c.call(["update", "--schemata", line, &c.id]).run();
    let refused = call("MB:0=30");
    assert!(refused.fails().contains("linux.intelRdt.schemata[0]"), "{refused:?}");
    let dir = c.root().join(&c.id);
    let edit = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut document: Value =
            serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap();
        change(&mut document);
        fs::write(dir.join(name), document.to_string()).unwrap();
    };
    let groups = json!({"class": class, "own": false, "monitor": null});
    edit("state.json", &|record| record["rdt"] = groups.clone());
    let lines = json!({"closID": "class", "schemata": ["L3:0=ff", "MB:0=100"]});
    edit("config.json", &|config| config["linux"]["intelRdt"] = lines.clone());
    let out = c.call(["update", "--schemata", "MB:0=30", "--schemata=L2:0=1", &c.id]).run();
    out.ok();
    assert_eq!(schemata(), "L3:0=ff\nMB:0=100\nMB:0=30\nL2:0=1\n", "a line is a command");
    let kept: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    let lines = json!(["L3:0=ff", "MB:0=30", "L2:0=1"]);
    assert_eq!(kept["linux"]["intelRdt"], json!({"closID": "class", "schemata": lines}));
    let before = schemata();
    let refused = call("MB:0=1\nL3:0=1");
    assert!(refused.fails().contains("is not one line"), "{refused:?}");
    assert_eq!(schemata(), before);
}

#[test]
fn r398_spec_writes_another_file() {
    deviates!("runc", "R398: none");
    let c = Bundle::sleeper().container();
    let path = c.bundle.dir().join("mine.json");
    let call = || c.call(["spec", "-f", path.to_str().unwrap()]).run();
    deviates!("crun", "R398: newer than 1.8.1");
    call().ok();
    let spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(spec["process"]["args"], json!(["sh"]));
    assert!(call().fails().contains("mine.json"), "an existing file is not overwritten");
}

/// By a caller with these supplementary groups.
fn run_with_groups(c: &Container) -> crate::harness::Output {
    Call::new("/usr/bin/setpriv")
        .args(["--groups", "4242,4343"])
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(["run", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
        .run()
}

#[test]
fn r418_the_callers_groups_may_be_kept() {
    let script = "grep Groups: /proc/self/status; id -G";
    let annotation = "/annotations/run.oci.keep_original_groups";
    let dropped = run_with_groups(&Bundle::sh(script).container());
    assert!(!dropped.ok().contains("42"), "{dropped:?}");
    let kept = Bundle::sh(script).set(annotation, json!("1")).container();
    let kept = run_with_groups(&kept);
    deviates!("runc", "R418: none");
    assert_eq!(kept.field("Groups"), "4242 4343");
    // In a user namespace that does not map them they are nobody's, and yet there.
    let inside = Bundle::sh(script).user_namespace().set(annotation, json!("1")).container();
    assert_eq!(run_with_groups(&inside).field("Groups"), "65534 65534");
    let off = Bundle::sh(script).set(annotation, json!("0")).container();
    assert_eq!(run_with_groups(&off).field("Groups"), "");
    deviates!("crun", "R418: other words");
    let both = Bundle::sh(script)
        .set(annotation, json!("1"))
        .set("/process/user/additionalGids", json!([7]))
        .container();
    let both = run_with_groups(&both);
    assert!(both.stderr.contains("warning: process.user.additionalGids"), "{both:?}");
    assert_eq!(both.field("Groups"), "4242 4343");
}

#[test]
fn r418_exec_keeps_its_callers_groups_too() {
    deviates!("runc", "R418: none");
    let annotation = "/annotations/run.oci.keep_original_groups";
    let c = Bundle::sleeper().set(annotation, json!("1")).container().up();
    let out = Call::new("/usr/bin/setpriv")
        .args(["--groups", "4545"])
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(["exec", &c.id, "grep", "Groups:", "/proc/self/status"])
        .run();
    assert_eq!(out.field("Groups"), "4545");
}
