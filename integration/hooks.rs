//! The six kinds of hooks: when, in which namespaces, with what, and what a failure means.

use crate::harness::{Bundle, Container, Value, deviates, json};
use std::fs;
use std::path::PathBuf;

pub const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A bundle and a file outside of it to which hooks append.
fn with_log(bundle: Bundle) -> (Bundle, PathBuf) {
    let log = bundle.dir().join("log");
    fs::write(&log, "").unwrap();
    (bundle, log)
}

fn read(path: impl AsRef<std::path::Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Hooks of every kind that note their name. Those of the container resolve, or
/// run, inside: they write to /log, which is the log bound into the container.
fn noting(bundle: Bundle, log: &std::path::Path) -> Bundle {
    KINDS.iter().fold(bundle.bind(log, "/log", &["bind"]), |bundle, kind| {
        let note = |text: &str| match *kind {
            "startContainer" => json!({"path": "/bin/sh", "args":
                ["sh", "-c", format!("echo {text} >> /log")]}),
            _ => json!({"path": "/bin/sh", "args":
                ["sh", "-c", format!("echo {text} >> {}", log.display())]}),
        };
        let hooks = json!([note(&format!("{kind}1")), note(&format!("{kind}2"))]);
        bundle.set(&format!("/hooks/{kind}"), hooks)
    })
}

#[test]
fn r113_r119_hooks_run_at_their_time_in_their_order() {
    let (bundle, log) = with_log(Bundle::sh("echo program >> /log"));
    let c = noting(bundle, &log).container();
    c.create().ok();
    let after_create = "prestart1\nprestart2\ncreateRuntime1\ncreateRuntime2\n\
                        createContainer1\ncreateContainer2\n";
    let seen = read(&log);
    assert!(seen.starts_with(after_create), "{seen}");
    c.start_and_wait();
    c.delete().ok();
    let seen = read(&log);
    assert!(seen.ends_with("poststop1\npoststop2\n"), "{seen}");
    let at = |word: &str| seen.find(word).unwrap_or_else(|| panic!("no {word} in {seen}"));
    assert!(at("startContainer1") < at("startContainer2"));
    assert!(at("startContainer2") < at("program"));
    assert!(at("poststart1") < at("poststart2"));
    assert_eq!(seen.lines().count(), 13, "{seen}");
}

#[test]
fn r117_poststart_runs_in_start() {
    let (bundle, log) = with_log(Bundle::sleeper());
    let c = noting(bundle, &log).container();
    c.create().ok();
    deviates!("runc", "R117: poststart runs at the end of create");
    assert!(!read(&log).contains("poststart"));
    c.start().ok();
    assert!(read(&log).contains("poststart2"), "before start returns");
}

/// A hook that keeps the state that it was given.
fn keeping(kind: &str, c: Bundle) -> (Container, PathBuf) {
    let file = c.dir().join("state.json");
    fs::write(&file, "").unwrap();
    let target = if kind == "startContainer" { "/state.json".into() } else { file.clone() };
    let command = format!("cat > {}", target.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", command]}]);
    let c = c.bind(&file, "/state.json", &["bind"]).set(&format!("/hooks/{kind}"), hook);
    (c.set("/annotations/a", json!("b")).container(), file)
}

/// The state that a hook of that kind reads from its standard input.
fn state_of(kind: &str) -> (Container, Value, i32) {
    let (c, file) = keeping(kind, Bundle::sleeper());
    c.create().ok();
    let pid = c.pid().as_raw_pid();
    c.start().ok();
    // The hook of startContainer may still be at it when start returns.
    if kind == "startContainer" {
        c.exec(["true"]).ok();
    }
    c.stop();
    c.delete().ok();
    let text = read(&file);
    let state = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{kind}: {e}: {text:?}"));
    (c, state, pid)
}

#[test]
fn r124_the_state_has_id_bundle_and_annotations() {
    deviates!("crun", "R124: bundle is / in the hooks of create");
    for kind in KINDS {
        let (c, state, _) = state_of(kind);
        assert_eq!(state["id"], json!(c.id), "{kind}");
        assert_eq!(state["bundle"], json!(c.bundle.path()), "{kind}");
        assert_eq!(state["annotations"]["a"], json!("b"), "{kind}");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{kind}");
    }
}

#[test]
fn r124_the_state_has_the_right_pid_in_the_runtime_namespace() {
    for kind in ["prestart", "createRuntime", "poststart"] {
        let (_c, state, pid) = state_of(kind);
        assert_eq!(state["pid"], json!(pid), "{kind}");
    }
}

#[test]
fn r115_r116_the_pid_in_the_container_is_that_seen_inside() {
    for kind in ["createContainer", "startContainer"] {
        let (_c, state, _) = state_of(kind);
        deviates!("crun", "R115: pid 0");
        assert_eq!(state["pid"], json!(1), "{kind}");
    }
}

#[test]
fn r114_r115_r256_status_is_creating_in_create() {
    for kind in ["createRuntime", "createContainer"] {
        let (_c, state, _) = state_of(kind);
        deviates!("crun", "R114: created");
        assert_eq!(state["status"], json!("creating"), "{kind}");
    }
}

/// The specification says "after step 2" of that status, and prestart hooks are
/// step 3; the validation suite asks for it (hooks_stdin).
#[test]
fn r113_status_is_created_in_prestart() {
    let (_c, state, _) = state_of("prestart");
    deviates!("runc", "R113: creating");
    assert_eq!(state["status"], json!("created"));
}

#[test]
fn r116_status_is_created_in_start_container() {
    let (_c, state, _) = state_of("startContainer");
    deviates!("crun", "R116: starting");
    assert_eq!(state["status"], json!("created"));
}

#[test]
fn r117_r118_status_is_running_then_stopped() {
    let (_c, state, _) = state_of("poststop");
    assert_eq!(state["status"], json!("stopped"));
    let (_c, state, _) = state_of("poststart");
    deviates!("runc", "R117: in create, so the status is created");
    assert_eq!(state["status"], json!("running"));
}

/// Where a hook is, by links of /proc.
fn namespace_of(kind: &str) -> (String, String) {
    let bundle = Bundle::sleeper();
    let file = bundle.dir().join("link");
    fs::write(&file, "").unwrap();
    let target = if kind == "startContainer" { "/link".into() } else { file.clone() };
    let command =
        format!("(readlink /proc/self/ns/mnt; readlink /proc/self/ns/net) > {}", target.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", command],
                       "env": ["PATH=/usr/bin:/bin"]}]);
    let c = bundle.bind(&file, "/link", &["bind"]).set(&format!("/hooks/{kind}"), hook).container();
    c.create().ok();
    let pid = c.pid().as_raw_pid();
    let inside = ["mnt", "net"].map(|name| {
        fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().to_str().unwrap().to_owned()
    });
    c.start().ok();
    c.exec(["true"]).ok();
    c.stop();
    c.delete().ok();
    (read(&file), inside.join("\n") + "\n")
}

#[test]
fn r113_r114_r117_r118_hooks_of_the_runtime_namespace() {
    let own = ["mnt", "net"].map(|name| {
        fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_str().unwrap().to_owned()
    });
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        assert_eq!(namespace_of(kind).0, own.join("\n") + "\n", "{kind}");
    }
}

#[test]
fn r115_r116_hooks_of_the_container_namespace() {
    for kind in ["createContainer", "startContainer"] {
        let (hook, container) = namespace_of(kind);
        assert_eq!(hook, container, "{kind}");
    }
}

#[test]
fn r115_create_container_sees_the_mounts_before_pivot_root() {
    let bundle = Bundle::sh("cat /m/f");
    let at = bundle.rootfs("m/f");
    let hook = json!([{"path": "/bin/sh", "args":
        ["sh", "-c", format!("echo made by the hook > {}", at.display())]}]);
    let c = bundle.mount("tmpfs", "tmpfs", "/m", &[]).set("/hooks/createContainer", hook);
    let c = c.container();
    assert_eq!(c.run().ok(), "made by the hook\n");
    assert!(!c.bundle.rootfs("m/f").exists(), "on the tmpfs of the container only");
}

#[test]
fn r114_create_runtime_may_configure_the_network() {
    let script = "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); \
                  nsenter -t $pid -n ip link set lo mtu 1234";
    let bundle = Bundle::new(["cat", "/sys/class/net/lo/mtu"]);
    let hook = bundle.script("hook", script);
    let hook = json!([{"path": hook, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]);
    assert_eq!(bundle.set("/hooks/createRuntime", hook).run().ok(), "1234\n");
}

#[test]
fn r121_r122_args_and_env() {
    let bundle = Bundle::sh("true");
    let file = bundle.dir().join("out");
    let command = format!("echo \"$0 $1 $A\" > {}; env >> {}", file.display(), file.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", command, "zero", "one"],
                       "env": ["A=b", "PATH=/usr/bin:/bin"]}]);
    let c = bundle.set("/hooks/createRuntime", hook).container();
    let path = c.bundle.path();
    c.call(["run", "-b", path.to_str().unwrap(), &c.id]).env("SECRET", "1").run().ok();
    let text = read(&file);
    assert!(text.starts_with("zero one b\n"), "{text}");
    assert!(!text.contains("SECRET"), "only what env says: {text}");
}

#[test]
fn r121_without_args_the_path_is_argv_0() {
    let (bundle, log) = with_log(Bundle::sh("true"));
    let hook = bundle.script("hook", &format!("echo \"$0 $#\" > {}", log.display()));
    let c = bundle.set("/hooks/createRuntime", json!([{"path": hook}])).container();
    c.run().ok();
    assert_eq!(read(&log), format!("{} 0\n", hook.display()));
    // A script's name is from the kernel, busybox's is argv[0]: it is what it is called.
    let bundle = Bundle::sh("true");
    let hook = bundle.dir().join("false");
    std::os::unix::fs::symlink(bundle.rootfs("bin/busybox"), &hook).unwrap();
    let out = bundle.set("/hooks/createRuntime", json!([{"path": hook}])).container().create();
    assert!(!out.fails().contains("applet not found"), "{out:?}");
    out.fails_with(&["exit status 1", "exit code 1", "failed with 1", "exited with status 1"]);
}

#[test]
fn r312_a_failing_hook_fails_create_and_undoes_it() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let (bundle, log) = with_log(Bundle::sh("echo program >> /log"));
        let first = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo sorry >&2; exit 3"]});
        let command = format!("echo second >> {}", log.display());
        let second = json!({"path": "/bin/sh", "args": ["sh", "-c", command]});
        let c = bundle
            .bind(&log, "/log", &["bind"])
            .set(&format!("/hooks/{kind}"), json!([first, second]))
            .container();
        let out = c.create();
        out.fails_with(&["hook"]);
        c.call(["state", &c.id]).run().is_unknown();
        assert_eq!(read(&log), "", "{kind}: the rest must not run");
        deviates!("crun", "R125: output only by annotation");
        assert!(out.stderr.contains("sorry") || kind == "createContainer", "{kind}: {out:?}");
    }
}

/// runtime.md, Lifecycle 3 to 5: "continue at step 12", which is destroy and poststop.
#[test]
fn r312_a_failing_create_hook_is_followed_by_poststop() {
    let fails = |path: &str| json!({"path": path, "timeout": 20});
    for (kind, hooks) in [
        ("createRuntime", json!([fails("/bin/false")])),
        ("prestart", json!([fails("/bin/false")])),
        ("createContainer", json!([fails("/bin/false")])),
        ("createContainer", json!([fails("/bin/true"), fails("/bin/false")])),
        ("createContainer", json!([fails("/no/such/hook")])),
        (
            "createContainer",
            json!([{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]),
        ),
    ] {
        for verb in ["create", "run"] {
            let (bundle, log) = with_log(Bundle::sh("true"));
            let command = format!("echo poststop >> {}", log.display());
            let c = bundle
                .set(&format!("/hooks/{kind}"), hooks.clone())
                .set("/hooks/poststop", json!([{"path": "/bin/sh", "args": ["sh", "-c", command]}]))
                .container();
            let out = if verb == "run" { c.run() } else { c.create() };
            out.fails();
            deviates!("crun", "R312: runs no poststop hooks then");
            assert_eq!(read(&log), "poststop\n", "{verb} {kind} {hooks}");
        }
    }
}

/// What hooks have done is undone, whatever fails after them.
#[test]
fn r312_poststop_follows_hooks_that_have_run() {
    for kind in ["createRuntime", "createContainer"] {
        let (bundle, log) = with_log(Bundle::new(["no-such-program"]));
        let command = format!("echo poststop >> {}", log.display());
        let c = bundle
            .set(&format!("/hooks/{kind}"), json!([{"path": "/bin/true"}]))
            .set("/hooks/poststop", json!([{"path": "/bin/sh", "args": ["sh", "-c", command]}]))
            .container();
        c.create().fails();
        deviates!("crun", "R312: runs no poststop hooks then");
        assert_eq!(read(&log), "poststop\n", "{kind}");
    }
}

#[test]
fn r116_r312_a_failing_start_container_hook_stops_the_container() {
    let c = Bundle::sh("echo program > /tmp/ran")
        .set("/hooks/startContainer", json!([{"path": "/bin/false"}]))
        .container();
    c.create().ok();
    let pid = c.pid();
    let out = c.start();
    assert!(crate::harness::exits(pid));
    assert!(!c.bundle.rootfs("tmp/ran").exists());
    deviates!(["runc", "crun"], "R116: start has returned 0 already");
    out.fails_with(&["hooks.startContainer[0]"]);
}

#[test]
fn r117_r312_a_failing_poststart_hook_stops_the_container() {
    deviates!("crun", "R117: start succeeds");
    let c = Bundle::sleeper().set("/hooks/poststart", json!([{"path": "/bin/false"}])).container();
    let out = c.create();
    deviates!("runc", "R117: poststart runs in create and fails it");
    out.ok();
    let pid = c.pid();
    c.start().fails();
    assert!(crate::harness::exits(pid));
    c.call(["state", &c.id]).run().is_unknown();
}

#[test]
fn r118_r312_a_failing_poststop_hook_only_warns() {
    let (bundle, log) = with_log(Bundle::sh("true"));
    let command = format!("echo second >> {}", log.display());
    let hooks = json!([{"path": "/bin/false"},
                       {"path": "/bin/sh", "args": ["sh", "-c", command]}]);
    let c = bundle.set("/hooks/poststop", hooks).container();
    c.create().ok();
    c.start_and_wait();
    let out = c.delete();
    deviates!("runc", "R118: the first failure aborts the rest and delete returns it");
    out.ok();
    assert_eq!(read(&log), "second\n");
    c.call(["state", &c.id]).run().is_unknown();
}

#[test]
fn r118_poststop_runs_after_the_cgroup_is_gone() {
    let (bundle, log) = with_log(Bundle::sleeper());
    let command = format!(
        "find /sys/fs/cgroup ! -fstype tmpfs -name '{}*' | wc -l >> {}",
        bundle.id,
        log.display()
    );
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", command],
                       "env": ["PATH=/usr/bin:/bin"]}]);
    let c = bundle.set("/hooks/poststop", hook).container().up();
    c.stop();
    c.delete().ok();
    assert_eq!(read(&log), "0\n");
}

#[test]
fn r118_poststop_runs_after_run() {
    let (bundle, log) = with_log(Bundle::sh("exit 5"));
    let command = format!("echo poststop >> {}", log.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", command]}]);
    let c = bundle.set("/hooks/poststop", hook).container();
    assert_eq!(c.run().code, 5);
    assert_eq!(read(&log), "poststop\n");
}

#[test]
fn r123_a_hook_is_killed_after_its_timeout() {
    for kind in ["createRuntime", "createContainer"] {
        let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]);
        let c = Bundle::sh("true").set(&format!("/hooks/{kind}"), hook).container();
        c.create().fails_with(&["hook", "timeout", "timed out"]);
    }
}

#[test]
fn r126_a_timeout_ends_the_hooks_children_too() {
    let bundle = Bundle::sh("true");
    // The guard looks for processes with the id in their command line.
    let hook = bundle.script("hook", &format!("sh -c 'sleep 1000; : {}' & wait", bundle.id));
    let hooks = json!([{"path": hook, "timeout": 1}]);
    deviates!(["runc", "crun"], "R126: only the direct child is killed");
    let c = bundle.set("/hooks/createRuntime", hooks).container();
    c.create().fails();
}

#[test]
fn r120_r123_r297_bad_hooks_are_refused_before_anything_runs() {
    for (hook, words) in [
        (json!({"path": "bin/true"}), "hooks.poststop[0].path"),
        (json!({"path": "true"}), "hooks.poststop[0].path"),
        (json!({"path": "/bin/true", "timeout": 0}), "hooks.poststop[0].timeout"),
        (json!({"path": "/bin/true", "timeout": -1}), "hooks.poststop[0].timeout"),
    ] {
        let out = Bundle::sh("true").set("/hooks/poststop", json!([hook])).container().create();
        deviates!(["runc", "crun"], "R120, R123: not checked");
        out.fails_with(&[words]);
    }
}

#[test]
fn r312_a_hook_that_is_not_there() {
    deviates!("crun", "R312: does not say what is missing");
    let c = Bundle::sh("true")
        .set("/hooks/createRuntime", json!([{"path": "/no/such/hook"}]))
        .container();
    c.create().fails_with(&["no such file or directory"]);
}

#[test]
fn hooks_do_not_get_the_runtimes_descriptors() {
    let (bundle, log) = with_log(Bundle::sh("true"));
    let command = format!("ls -l /proc/self/fd > {}", log.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", command],
                       "env": ["PATH=/usr/bin:/bin"]}]);
    let c = bundle.set("/hooks/createRuntime", hook).container();
    c.run().ok();
    // 0, 1, 2 and the directory that ls reads.
    let open = read(&log).lines().filter(|line| line.contains(" -> ")).count();
    assert_eq!(open, 4, "{}", read(&log));
}

/// A script whose children leave its process group, its session and its tree.
/// The guard finds what is left by the id in its command line.
fn fugitives(id: &str) -> String {
    format!(
        "sleep='sleep 1000; : {id}'; setsid sh -c \"$sleep\" & (setsid sh -c \"$sleep\" &) & \
         setsid sh -c \"(setsid sh -c '$sleep' &)\"; trap '' TERM; wait; sleep 1000"
    )
}

#[test]
fn r126_a_timeout_ends_what_has_left_the_session() {
    deviates!(["runc", "crun"], "R126: only the direct child is killed");
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = Bundle::sh("true");
        let hook = bundle.script("hook", &fugitives(&bundle.id));
        let hooks = json!([{"path": hook, "timeout": 1, "env": ["PATH=/usr/bin:/bin"]}]);
        let c = bundle.set(&format!("/hooks/{kind}"), hooks).container();
        c.create().fails_with(&[&format!("hooks.{kind}[0]")]);
        drop(c); // looks for what is left
    }
}

/// Without a pid namespace the container's end does not take them along.
#[test]
fn r126_the_same_without_a_pid_namespace() {
    deviates!(["runc", "crun"], "R126: only the direct child is killed");
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        let bundle = Bundle::sh("true").without_namespace("pid");
        let id = bundle.id.clone();
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", fugitives(&id)], "timeout": 1,
                           "env": ["PATH=/usr/bin:/bin"]}]);
        let c = bundle.set(&format!("/hooks/{kind}"), hook).container();
        let out = c.create();
        let out = if kind == "startContainer" { c.start() } else { out };
        out.fails_with(&[&format!("hooks.{kind}[0]")]);
        drop(c);
    }
}

#[test]
fn r126_a_timeout_of_poststart_and_poststop() {
    deviates!(["runc", "crun"], "R126: only the direct child is killed");
    for kind in ["poststart", "poststop"] {
        let bundle = Bundle::sleeper();
        let hook = bundle.script("hook", &fugitives(&bundle.id));
        let hooks = json!([{"path": hook, "timeout": 1, "env": ["PATH=/usr/bin:/bin"]}]);
        let c = bundle.set(&format!("/hooks/{kind}"), hooks).container();
        c.create().ok();
        let started = c.start();
        if kind == "poststart" {
            started.fails_with(&["hooks.poststart[0]", "timeout"]);
            c.call(["state", &c.id]).run().is_unknown();
        } else {
            started.ok();
            let out = c.call(["delete", "--force", &c.id]).run();
            out.ok();
            assert!(out.stderr.contains("hooks.poststop[0]"), "R118: warned: {out:?}");
        }
        drop(c);
    }
}

/// What a hook leaves running on purpose, as pasta and slirp4netns are, lives on,
/// and so does the container's init.
#[test]
fn r126_a_hook_in_time_may_leave_a_daemon() {
    let bundle = Bundle::sleeper();
    let file = bundle.dir().join("daemon");
    let script =
        format!("setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! > {}", file.display());
    let hook = bundle.script("hook", &script);
    let hooks = json!([{"path": hook, "timeout": 60, "env": ["PATH=/usr/bin:/bin"]}]);
    let c = bundle.set("/hooks/createRuntime", hooks).container().up();
    let daemon: i32 = read(&file).trim().parse().unwrap();
    let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
    let alive = rustix::process::test_kill_process(daemon).is_ok();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).ok();
    assert!(alive, "the daemon was ended");
    assert_eq!(c.status(), "running");
}

/// runtime.md, Lifecycle 7: error, stop, destroy, poststop.
#[test]
fn r116_r312_a_failing_start_container_hook_destroys_the_container() {
    deviates!(["runc", "crun"], "R116: start has returned 0 already");
    let (bundle, log) = with_log(Bundle::sh("echo program >> /log"));
    let poststop = format!("cat >/dev/null; echo poststop >> {}", log.display());
    let c = bundle
        .bind(&log, "/log", &["bind"])
        .set(
            "/hooks",
            json!({"startContainer": [
                       {"path": "/bin/sh", "args": ["sh", "-c", "echo sorry >&2; exit 3"]},
                       {"path": "/bin/sh", "args": ["sh", "-c", "echo second >> /log"]}],
                   "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", poststop],
                                 "env": ["PATH=/usr/bin:/bin"]}]}),
        )
        .container();
    c.create().ok();
    let out = c.start();
    out.fails_with(&["hooks.startContainer[0]"]);
    assert!(out.stderr.contains("exit status 3") && out.stderr.contains("sorry"), "R125: {out:?}");
    c.call(["state", &c.id]).run().is_unknown();
    assert_eq!(read(&log), "poststop\n");
}

#[test]
fn r116_r312_a_failing_start_container_hook_fails_run() {
    deviates!(["runc", "crun"], "R116: start has returned 0 already");
    let c = Bundle::sh("echo ran").set("/hooks/startContainer", json!([{"path": "/bin/false"}]));
    let c = c.container();
    let out = c.run();
    out.fails_with(&["hooks.startContainer[0]"]);
    assert_eq!(out.stdout, "");
    c.call(["state", &c.id]).run().is_unknown();
}

#[test]
fn r117_r312_a_failing_poststart_hook_is_followed_by_poststop() {
    deviates!(["runc", "crun"], "R117: poststart runs in create, or its failure is dropped");
    let (bundle, log) = with_log(Bundle::sleeper());
    let poststop = format!("echo poststop >> {}", log.display());
    let c = bundle
        .set(
            "/hooks",
            json!({"poststart": [{"path": "/bin/false"}],
                   "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", poststop]}]}),
        )
        .container();
    c.create().ok();
    c.start().fails_with(&["hooks.poststart[0]"]);
    assert_eq!(read(&log), "poststop\n");
}

#[test]
fn r116_a_timeout_of_start_container_reaches_start() {
    deviates!(["runc", "crun"], "R116: start has returned 0 already");
    let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]);
    let c = Bundle::sh("true").set("/hooks/startContainer", hook).container();
    c.create().ok();
    c.start().fails_with(&["hooks.startContainer[0]"]);
    c.call(["state", &c.id]).run().is_unknown();
}

/// What a failed hook has said is in the error; a good one's words are nobody's.
#[test]
fn r125_hook_output() {
    let script = "echo to-stdout; echo to-stderr >&2; exit 3";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let c = Bundle::sh("true").set("/hooks/createRuntime", hook).container();
    let out = c.create();
    deviates!("crun", "R125: only by annotation");
    out.fails_with(&["to-stderr"]);

    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo noise"]}]);
    let c = Bundle::sh("echo program").set("/hooks/createRuntime", hook).container();
    assert_eq!(c.output(), "program\n");
}
