//! The state machine: create, start, kill, delete, pause, resume, and what each
//! says in the wrong state. The words in `fails_with` are matched by engines.

use crate::harness::{
    Bundle, Call, Hierarchy, deviates, directory_in, exits, is_pinnace, needs, runtime, until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;

/// Words by which containerd and CRI-O know that the process has gone.
const GONE: &[&str] =
    &["process already finished", "container not running", "no such process", "invalid process"];

#[test]
fn r325_create_does_not_run_the_program() {
    let c = Bundle::sh("echo ran > /tmp/ran").container();
    c.create().ok();
    assert_eq!(c.status(), "created");
    assert!(!c.bundle.rootfs("tmp/ran").exists());
}

#[test]
fn r327_start_runs_the_program() {
    let c = Bundle::sh("echo ran > /tmp/ran").container();
    c.create().ok();
    c.start_and_wait();
    assert_eq!(c.status(), "stopped");
    assert!(c.bundle.rootfs("tmp/ran").exists());
    c.delete().ok();
}

#[test]
fn r326_run_gives_the_exit_code() {
    for code in [0, 1, 42, 255] {
        assert_eq!(Bundle::sh(&format!("exit {code}")).run().code, code);
    }
}

#[test]
fn r326_run_gives_128_and_the_signal() {
    // Init cannot kill itself: it lacks a handler, and its pid namespace shields it.
    for (signal, code) in [("9", 137), ("15", 143)] {
        let script = format!("kill -{signal} $$; sleep 10");
        let out = Bundle::sh(&script).without_namespace("pid").run();
        assert_eq!(out.code, code, "{out:#?}");
    }
}

#[test]
fn r326_run_deletes_the_container() {
    let c = Bundle::sh("true").container();
    c.run().ok();
    c.call(["state", &c.id]).run().is_unknown();
}

#[test]
fn r337_run_keep_keeps_the_stopped_container() {
    let c = Bundle::sh("exit 3").container();
    let bundle = c.bundle.path();
    let out = c.call(["run", "--keep", "--bundle", bundle.to_str().unwrap(), &c.id]).run();
    deviates!("crun", "R337: crun 1.8.1 has no --keep that counts");
    assert_eq!(out.code, 3);
    assert_eq!(c.status(), "stopped");
    c.delete().ok();
    c.call(["state", &c.id]).run().fails();
}

#[test]
fn r336_run_detached_returns_while_the_container_runs() {
    let c = Bundle::server().container();
    c.run_detached().ok();
    c.wait_ready();
    assert_eq!(c.status(), "running");
}

#[test]
fn r326_run_passes_output_and_input_through() {
    let c = Bundle::sh("cat; echo to stderr >&2").container();
    let bundle = c.bundle.path();
    let out = c.call(["run", "-b", bundle.to_str().unwrap(), &c.id]).stdin("through\n").run();
    assert_eq!((out.code, &*out.stdout, &*out.stderr), (0, "through\n", "to stderr\n"));
}

#[test]
fn r255_state_names_id_bundle_and_version() {
    deviates!("crun", "R255: rootfs as written in the bundle");
    let c = Bundle::sleeper().container().up();
    let state = c.state();
    assert_eq!(state["id"], json!(c.id));
    assert_eq!(state["bundle"], json!(c.bundle.path()));
    assert_eq!(state["rootfs"], json!(c.bundle.rootfs("").to_str().unwrap().trim_end_matches('/')));
    let version = state["ociVersion"].as_str().unwrap();
    assert!(version.starts_with("1."), "{version}");
}

#[test]
fn r257_state_of_each_status() {
    let c = Bundle::server().container();
    c.create().ok();
    assert_eq!(c.status(), "created");
    c.start().ok();
    c.wait_ready();
    assert_eq!(c.status(), "running");
    c.call(["pause", &c.id]).run().ok();
    assert_eq!(c.status(), "paused");
    c.call(["resume", &c.id]).run().ok();
    assert_eq!(c.status(), "running");
    c.stop();
    assert_eq!(c.status(), "stopped");
}

#[test]
fn r258_state_pid_is_inits_and_0_when_stopped() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    let pid = c.pid();
    c.start().ok();
    assert_eq!(c.pid(), pid);
    let cmdline = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).unwrap();
    assert!(status.lines().any(|l| l.starts_with("NSpid:") && l.ends_with("\t1")), "{status}");
    assert!(!cmdline.is_empty());
    c.stop();
    assert_eq!(c.state()["pid"], json!(0));
}

#[test]
fn r259_state_has_the_annotations() {
    let c = Bundle::sleeper()
        .set("/annotations", json!({"org.example.key": "value", "org.example.empty": ""}))
        .container();
    c.create().ok();
    let annotations = &c.state()["annotations"];
    assert_eq!(annotations["org.example.key"], json!("value"));
    assert_eq!(annotations["org.example.empty"], json!(""));
}

#[test]
fn r111_an_annotation_with_an_equals_sign_stays_whole() {
    let c = Bundle::sleeper().set("/annotations", json!({"a=b": "c=d"})).container();
    c.create().ok();
    deviates!("runc", "R111: runc keeps key=value labels and splits at the first =");
    assert_eq!(c.state()["annotations"], json!({"a=b": "c=d"}));
}

#[test]
fn r362_state_created_is_rfc3339_in_utc() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    let created = c.state()["created"].as_str().unwrap().to_owned();
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");
    assert_eq!(created.as_bytes()[10], b'T');
}

#[test]
fn r260_state_of_an_unknown_id() {
    let c = Bundle::sleeper().container();
    let out = c.call(["state", "nobody"]).run();
    out.is_unknown();
    assert_eq!(out.stdout, "");
}

#[test]
fn r261_create_of_a_known_id() {
    let c = Bundle::sleeper().container().up();
    let pid = c.pid();
    c.create().fails_with(&["exist", "already", "given id"]);
    assert_eq!(c.pid(), pid, "the first container was touched");
    assert_eq!(c.status(), "running");
}

#[test]
fn r261_an_id_is_free_again_after_delete() {
    let c = Bundle::sh("true").container();
    for _ in 0..2 {
        c.create().ok();
        c.start_and_wait();
        c.delete().ok();
    }
}

#[test]
fn r261_ids_may_hold_letters_digits_and_these_signs() {
    let c = Bundle::sleeper().container();
    let bundle = c.bundle.path();
    for id in ["aZ09", "a_b", "a+b", "a-b", "a.b"] {
        let id = format!("{}{id}", c.id);
        c.detached(["create", "-b", bundle.to_str().unwrap(), &id]).ok();
        c.call(["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn r264_r310_start_needs_a_created_container() {
    let c = Bundle::sleeper().container();
    c.start().is_unknown();
    c.create().ok();
    c.start().ok();
    let pid = c.pid();
    c.start().fails();
    assert_eq!(c.pid(), pid);
    c.stop();
    c.start().fails();
    assert_eq!(c.status(), "stopped");
}

#[test]
fn r265_kill_of_a_stopped_container() {
    let c = Bundle::sh("true").container();
    c.create().ok();
    c.start_and_wait();
    c.kill("KILL").fails_with(GONE);
    c.kill("0").fails_with(GONE);
}

#[test]
fn r265_kill_of_an_unknown_container() {
    let c = Bundle::sh("true").container();
    c.kill("KILL").is_unknown();
}

#[test]
fn r265_kill_of_a_created_container() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    c.stop();
    assert_eq!(c.status(), "stopped");
}

#[test]
fn r374_kill_takes_name_signame_and_number() {
    for signal in ["TERM", "SIGTERM", "15", "term"] {
        let c = Bundle::server().container().up_and_ready();
        let pid = c.pid();
        let out = c.kill(signal);
        if signal == "term" {
            deviates!("crun", "R374: crun wants capitals");
        }
        assert_eq!(out.ok(), "", "an engine's user sees this");
        assert_eq!(out.stderr, "");
        assert!(crate::harness::exits(pid));
    }
}

#[test]
fn r374_kill_sends_term_by_default() {
    let c = Bundle::server().container().up_and_ready();
    let pid = c.pid();
    c.call(["kill", &c.id]).run().ok();
    assert!(crate::harness::exits(pid));
}

#[test]
fn r374_kill_takes_realtime_signals() {
    let c = Bundle::sh("trap 'exit 0' 36; echo > /ready; while :; do sleep 1000 & wait; done")
        .container()
        .up_and_ready();
    let pid = c.pid();
    c.kill("36").ok();
    assert!(crate::harness::exits(pid));
}

#[test]
fn r374_kill_refuses_an_unknown_signal() {
    deviates!("crun", "R374: 9x is taken for 9");
    let c = Bundle::sleeper().container().up();
    for signal in ["SIGNONSENSE", "99", "-1", "9x"] {
        c.kill(signal).fails();
    }
    assert_eq!(c.status(), "running");
}

#[test]
fn r112_kill_sends_the_images_stop_signal_by_default() {
    let script = "trap 'exit 0' USR1; echo > /ready; while :; do sleep 1000 & wait; done";
    let c = Bundle::sh(script)
        .set("/annotations", json!({"org.opencontainers.image.stopSignal": "SIGUSR1"}))
        .container()
        .up_and_ready();
    let pid = c.pid();
    c.call(["kill", &c.id]).run().ok();
    deviates!(["runc", "crun"], "R112: the default is always SIGTERM");
    assert!(crate::harness::exits(pid));
}

/// What a stopped process is sent stays pending, and can be seen there.
#[test]
fn r266_kill_reaches_only_init() {
    let script = "sleep 1000 & trap 'echo > /tmp/told' USR1; echo > /ready; \
                  while :; do sleep 1000 & wait $!; done";
    let c = Bundle::sh(script).container().up_and_ready();
    let init = c.pid().as_raw_pid().to_string();
    let pids = fs::read_to_string(c.cgroup("pids").join("cgroup.procs")).unwrap();
    let child = pids.lines().find(|pid| *pid != init).unwrap();
    let status = || fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    kill_process(Pid::from_raw(child.parse().unwrap()).unwrap(), Signal::STOP).unwrap();
    until("a child is stopped", || status().contains("State:\tT"));
    c.kill("USR1").ok();
    assert!(status().contains("ShdPnd:\t0000000000000000\n"), "{}", status());
    until("init has the signal", || c.bundle.rootfs("tmp/told").exists());
    assert_eq!(c.status(), "running");
}

#[test]
fn r267_kill_ends_every_process_without_a_pid_namespace() {
    let c = Bundle::sh("sleep 1000 & sleep 1000 & echo > /ready; wait")
        .without_namespace("pid")
        .container()
        .up_and_ready();
    let procs = fs::read_to_string(c.cgroup("pids").join("cgroup.procs")).unwrap();
    let pids: Vec<_> = procs.lines().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect();
    assert_eq!(pids.len(), 3);
    c.kill("KILL").ok();
    deviates!(["runc", "crun"], "R267: the rest ends with delete");
    assert!(pids.into_iter().flatten().all(exits), "not all have ended");
    c.delete().ok();
}

#[test]
fn r375_kill_all_is_no_error_when_nothing_runs() {
    let c = Bundle::sh("true").container();
    c.create().ok();
    c.start_and_wait();
    let out = c.call(["kill", "--all", &c.id, "KILL"]).run();
    deviates!("crun", "R375: says that the cgroup or process is gone");
    out.ok();
}

#[test]
fn r377_delete_of_a_stopped_container() {
    let c = Bundle::sh("true").container();
    c.create().ok();
    c.start_and_wait();
    let out = c.delete();
    assert_eq!(out.ok(), "");
    assert_eq!(out.stderr, "");
    c.call(["state", &c.id]).run().is_unknown();
}

#[test]
fn r268_delete_of_a_running_container() {
    let c = Bundle::sleeper().container().up();
    let pid = c.pid();
    let out = c.delete();
    deviates!("crun", "R268: other words, and a paused one is deleted");
    out.fails_with(&["not stopped", "stopped state", "running"]);
    assert_eq!(c.status(), "running");
    c.call(["pause", &c.id]).run().ok();
    c.delete().fails_with(&["not stopped", "stopped state", "paused"]);
    assert_eq!(c.status(), "paused");
    assert_eq!(c.pid(), pid);
}

/// Against the letter of runtime.md, "Delete": it "is not stopped".
#[test]
fn r268_delete_of_a_created_container() {
    let bundle = Bundle::sh("echo ran > /tmp/ran");
    let told = bundle.dir().join("told");
    let hook = bundle.script("hook", &format!("exec /bin/cat > {}", told.display()));
    let c = bundle.set("/hooks/poststop", json!([{"path": hook}])).container();
    c.create().ok();
    let pid = c.pid();
    let out = c.delete();
    assert_eq!((out.ok(), out.stderr.as_str()), ("", ""));
    assert!(exits(pid));
    c.call(["state", &c.id]).run().is_unknown();
    assert!(!c.bundle.rootfs("tmp/ran").exists());
    let told: Value = serde_json::from_str(&fs::read_to_string(told).unwrap()).unwrap();
    assert_eq!(told["status"], "stopped");
    c.create().ok();
}

#[test]
fn r378_delete_by_force_ends_a_running_container() {
    let c = Bundle::sleeper().container().up();
    let pid = c.pid();
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(crate::harness::exits(pid));
}

#[test]
fn r378_delete_by_force_ends_a_paused_container() {
    let c = Bundle::sleeper().container().up();
    c.call(["pause", &c.id]).run().ok();
    let out = c.call(["delete", "-f", &c.id]).run();
    out.ok();
    c.call(["state", &c.id]).run().fails();
}

/// What the container itself has frozen cannot even die under v1.
#[test]
fn r378_delete_by_force_ends_what_is_frozen_below() {
    deviates!(["runc", "crun"], "R378: under v1 they wait for a frozen cgroup below");
    let c = Bundle::sh("sleep 1000 & echo > /ready; wait").container().up_and_ready();
    let own = c.cgroup("freezer");
    let below = own.join("below");
    fs::create_dir(&below).unwrap();
    let init = c.pid().as_raw_pid().to_string();
    let pids = fs::read_to_string(own.join("cgroup.procs")).unwrap();
    let child = pids.lines().find(|pid| *pid != init).unwrap();
    fs::write(below.join("cgroup.procs"), child).unwrap();
    let (file, word) = match Hierarchy::of_host() {
        Hierarchy::V1 => ("freezer.state", "FROZEN"),
        Hierarchy::V2 => ("cgroup.freeze", "1"),
    };
    fs::write(below.join(file), word).unwrap();
    let child = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(exits(child));
    assert!(!below.exists());
}

#[test]
fn r378_delete_by_force_of_an_unknown_id_is_success() {
    let c = Bundle::sleeper().container();
    let out = c.call(["delete", "--force", "nobody"]).run();
    assert_eq!(out.ok(), "");
    assert_eq!(out.stderr, "");
}

#[test]
fn r311_delete_of_an_unknown_id() {
    let c = Bundle::sleeper().container();
    c.call(["delete", "nobody"]).run().is_unknown();
}

#[test]
fn r270_delete_removes_cgroups_that_the_container_made() {
    deviates!("crun", "R270: an empty cgroupsPath is taken for the hierarchy root");
    let c = Bundle::sleeper().set("/linux/cgroupsPath", json!("")).container().up();
    let sub = c.cgroup("pids").join("made-inside");
    fs::create_dir(&sub).unwrap();
    c.stop();
    c.delete().ok();
    assert!(!sub.exists());
}

/// An administrator, or systemd, may have cleaned up before us.
#[test]
fn r270_cgroups_that_were_removed_behind_our_back() {
    let c = Bundle::sleeper().container().up();
    let own = fs::read_to_string(format!("/proc/{}/cgroup", c.pid().as_raw_pid())).unwrap();
    c.stop();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next().unwrap(), parts.next().unwrap());
        for mount in [names.trim_start_matches("name="), "unified"] {
            let dir = format!("/sys/fs/cgroup/{mount}{path}");
            if dir.contains(&c.id) {
                drop(fs::remove_dir(&dir));
                assert!(!fs::exists(&dir).unwrap(), "{dir}");
            }
        }
    }
    assert_eq!(c.status(), "stopped");
    for args in [["pause", &c.id], ["resume", &c.id], ["ps", &c.id], ["events", &c.id]] {
        let out = c.call(args).run();
        assert!(out.code != 0 || args[0] == "ps", "{args:?}: {out:?}");
    }
    c.delete().ok();
}

#[test]
fn r270_delete_leaves_the_bundle_alone() {
    let c = Bundle::sh("true").container();
    let before = fs::read(c.bundle.path().join("config.json")).unwrap();
    c.create().ok();
    c.start_and_wait();
    c.delete().ok();
    assert_eq!(fs::read(c.bundle.path().join("config.json")).unwrap(), before);
    assert!(c.bundle.rootfs("bin/busybox").exists());
}

#[test]
fn r269_delete_works_without_the_bundle() {
    let c = Bundle::sleeper().container().up();
    c.stop();
    fs::remove_file(c.bundle.path().join("config.json")).unwrap();
    c.delete().ok();
}

/// A mount is made upon the root file system, which by a link would be elsewhere.
#[test]
fn r003_the_root_may_be_a_symbolic_link() {
    let hook = json!([{"path": "/bin/true"}]);
    for (what, pointer, value) in [
        ("a plain one", "/annotations/x", json!("y")),
        ("hooks", "/hooks/createRuntime", hook),
        ("a mount by path", "/mounts/0/options", json!([])),
    ] {
        let bundle = Bundle::sh("echo in").set(pointer, value);
        let rootfs = bundle.path().join("rootfs");
        std::os::unix::fs::symlink(&rootfs, bundle.path().join("link")).unwrap();
        let c = bundle.set("/root/path", json!("link")).container();
        let out = c.run();
        deviates!("runc", "R003: a link is refused");
        assert_eq!(out.ok(), "in\n", "{what}");
    }
}

/// Who names the file is told of that one.
#[test]
fn r329_messages_name_the_configuration_that_was_given() {
    deviates!(["runc", "crun"], "R329: no --config, or an error without a file");
    let c = Bundle::sh("true").set("/process/args", json!([])).container();
    c.bundle.write_config();
    let other = c.bundle.path().join("c2.json");
    fs::rename(c.bundle.path().join("config.json"), &other).unwrap();
    let (bundle, other) = (c.bundle.path(), other.to_str().unwrap().to_owned());
    let out = c.call(["run", "-b", bundle.to_str().unwrap(), "-f", &other, &c.id]).run();
    out.fails_with(&["c2.json: process.args"]);
    assert!(!out.stderr.contains("config.json"), "{out:?}");
}

#[test]
fn r263_config_changes_after_create_do_not_matter() {
    let c = Bundle::sh("hostname > /tmp/name; echo > /ready; sleep 1000").container();
    c.create().ok();
    fs::write(c.bundle.path().join("config.json"), "garbage").unwrap();
    c.start().ok();
    c.wait_ready();
    assert_eq!(fs::read_to_string(c.bundle.rootfs("tmp/name")).unwrap(), "boat\n");
    deviates!("runc", "R263: exec reads the bundle's config.json again");
    c.exec(["true"]).ok();
}

#[test]
fn r380_pause_stops_every_process_and_resume_lets_them_go() {
    let c = Bundle::server().container().up_and_ready();
    c.call(["pause", &c.id]).run().ok();
    let value = c.cgroup_value("freezer.state", "cgroup.freeze");
    assert!(["FROZEN", "1"].contains(&value.as_str()), "{value}");
    c.kill("TERM").ok();
    assert_eq!(c.status(), "paused", "a frozen process cannot handle a signal");
    let pid = c.pid();
    c.call(["resume", &c.id]).run().ok();
    assert!(crate::harness::exits(pid));
}

#[test]
fn r380_pause_and_resume_in_the_wrong_state() {
    deviates!("crun", "R380: no error");
    let c = Bundle::sleeper().container();
    c.call(["pause", &c.id]).run().is_unknown();
    c.create().ok();
    c.start().ok();
    c.call(["resume", &c.id]).run().fails();
    c.call(["pause", &c.id]).run().ok();
    deviates!("crun", "R380: pausing twice is no error");
    c.call(["pause", &c.id]).run().fails();
    c.call(["resume", &c.id]).run().ok();
    c.stop();
    c.call(["pause", &c.id]).run().fails_with(&["not running", "stopped", "does not exist"]);
}

#[test]
fn r079_r310_create_without_process_start_refuses() {
    let c = Bundle::sleeper().unset("", "process").container();
    let out = c.create();
    deviates!(["runc", "crun"], "R079: create refuses a bundle without process");
    out.ok();
    assert_eq!(c.status(), "created");
    c.start().fails_with(&["process"]);
    assert_eq!(c.status(), "created");
}

#[test]
fn r459_orphans_of_a_foreground_run_are_reaped() {
    let script = "(sleep 0.05; echo late > /tmp/late) & exit 7";
    let out = Bundle::sh(script).run();
    assert_eq!(out.code, 7);
}

/// SemVer of any 1.x is taken; the state tells what the runtime itself complies with.
#[test]
fn r001_oci_version() {
    let long = "1.0.18446744073709551616";
    for version in ["1.0.0", "1.0.2-dev", "1.2.1+dev", "1.0.0-0.a-b.--+00", "1.99.0", long] {
        let c = Bundle::sleeper().set("/ociVersion", json!(version)).container();
        c.create().ok();
        deviates!("crun", "R001: 1.0.0 whatever the configuration");
        assert!(c.state()["ociVersion"].as_str().unwrap().starts_with("1."));
    }
}

/// Whatever step fails, the guard finds nothing of the container afterwards.
#[test]
fn r262_r309_a_failed_create_leaves_no_trace() {
    for (at, value) in [
        ("/process/args", json!(["/no/such/program"])),
        ("/root/path", json!("no-such-dir")),
        ("/mounts/0", json!({"destination": "/x", "type": "nonsense", "source": "x"})),
        ("/hooks", json!({"createRuntime": [{"path": "/bin/false"}]})),
        ("/hooks", json!({"createContainer": [{"path": "/bin/false"}]})),
        ("/linux/sysctl", json!({"net.ipv4.no_such_key": "1"})),
        ("/linux/resources/cpu", json!({"cpus": "4000"})),
    ] {
        deviates!("crun", "R262: leaves cgroups after a failed create");
        let c = Bundle::sleeper().set(at, value).container();
        c.create().fails();
        c.call(["state", &c.id]).run().is_unknown();
        let left = std::fs::read_dir(c.root()).map(|dir| dir.count()).unwrap_or(0);
        assert_eq!(left, 0, "{at}: the state directory is not empty");
    }
}

/// A record that is gone with this boot knows its process by a pidfd's inode
/// (Linux 6.9), another one by its start time: neither takes one process for
/// another that has got its pid.
#[test]
fn r271_another_process_of_the_same_pid_is_not_the_containers() {
    needs!(is_pinnace(), "pinnace");
    for parent in ["/dev/shm", "/var/tmp"] {
        let roots = directory_in(parent.as_ref());
        let root = roots.path().to_str().unwrap();
        let c = Bundle::sleeper().container();
        let bundle = c.bundle.path().to_str().unwrap().to_owned();
        let call = |args: &[&str]| {
            let call = Call::new(&runtime().path).args(["--root", root]).args(args);
            // The container would keep a pipe open.
            let call = if args[0] == "create" {
                call.output_to(c.log("stdout"), c.log("stderr"))
            } else {
                call
            };
            call.run()
        };
        let status =
            || -> Value { serde_json::from_str(call(&["state", &c.id]).ok()).unwrap_or_default() };
        call(&["create", "--bundle", &bundle, &c.id]).ok();
        assert_eq!(status()["status"], "created", "{parent}");
        call(&["start", &c.id]).ok();
        call(&["pause", &c.id]).ok();
        assert_eq!(status()["status"], "paused", "{parent}");
        call(&["resume", &c.id]).ok();
        assert_eq!(status()["status"], "running", "{parent}");
        let file = roots.path().join(&c.id).join("state.json");
        let record = fs::read_to_string(&file).unwrap();
        let real: Value = serde_json::from_str(&record).unwrap();
        let marks = real["init"].as_object().unwrap().keys().filter(|name| *name != "pid");
        let marks: Vec<_> = marks.collect();
        assert!(!marks.is_empty(), "{record}");
        // Each mark alone tells another process.
        for mark in marks {
            let mut other = real.clone();
            other["init"][mark] = (real["init"][mark].as_u64().unwrap() + 1).into();
            fs::write(&file, other.to_string()).unwrap();
            assert_eq!(status()["status"], "stopped", "{parent} {mark}");
            let told = call(&["kill", &c.id, "KILL"]);
            assert!(told.fails().contains("not running"), "{parent} {mark}");
            let told = call(&["exec", &c.id, "true"]);
            assert!(told.fails().contains("stopped"), "{parent} {mark}");
        }
        fs::write(&file, &record).unwrap();
        let pid = status()["pid"].as_i64().unwrap() as i32;
        assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "{parent}: it was ended");
        call(&["delete", "--force", &c.id]).ok();
        assert!(!file.exists(), "{parent}");
    }
}
