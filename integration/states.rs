//! Every command in every state; signals to what waits to be started; the state root that is
//! not there, and one in which containers come and go.

use crate::harness::{
    Bundle, Call, Container, Hierarchy, Value, deviates, directory, exits, is_pinnace, json, needs,
    runtime,
};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Words by which engines know that the process has gone.
const GONE: &str = "container not running";

/// What a command does in the states created, running, paused and stopped: nothing said, or
/// what its refusal says.
type Row = (&'static [&'static str], [Result<(), &'static str>; 4]);

/// `ID` stands for the container's.
const ROWS: &[Row] = &[
    (&["state", "ID"], [Ok(()); 4]),
    (
        &["start", "ID"],
        [
            Ok(()),
            Err("cannot start an already running container"),
            Err("cannot start a container in the paused state"),
            Err("cannot start a container that has stopped"),
        ],
    ),
    (&["pause", "ID"], [Ok(()), Ok(()), Err("it is paused, not running"), Err(GONE)]),
    (
        &["resume", "ID"],
        [Err("it is created, not paused"), Err("it is running, not paused"), Ok(()), Err(GONE)],
    ),
    (&["kill", "ID", "0"], [Ok(()), Ok(()), Ok(()), Err(GONE)]),
    (&["kill", "ID", "KILL"], [Ok(()), Ok(()), Ok(()), Err(GONE)]),
    (&["kill", "ID", "9"], [Ok(()), Ok(()), Ok(()), Err(GONE)]),
    (&["kill", "ID", "WINCH"], [Ok(()), Ok(()), Ok(()), Err(GONE)]),
    (&["kill", "ID", "RTMIN+1"], [Ok(()), Ok(()), Ok(()), Err(GONE)]),
    (&["kill", "--all", "ID", "KILL"], [Ok(()); 4]),
    (&["exec", "ID", "true"], [Ok(()), Ok(()), Err("paused container"), Err(GONE)]),
    (&["ps", "ID"], [Ok(()); 4]),
    (&["ps", "--format", "json", "ID"], [Ok(()); 4]),
    (&["events", "--stats", "ID"], [Ok(()), Ok(()), Ok(()), Err(GONE)]),
    (&["update", "--pids-limit", "9", "ID"], [Ok(()), Ok(()), Ok(()), Err(GONE)]),
    (&["delete", "ID"], [Ok(()), Err("not stopped: running"), Err("not stopped: paused"), Ok(())]),
    (&["delete", "--force", "ID"], [Ok(()); 4]),
    (&["create", "--bundle", "BUNDLE", "ID"], [Err("already exists"); 4]),
    (&["run", "--bundle", "BUNDLE", "ID"], [Err("already exists"); 4]),
    (&["list"], [Ok(()); 4]),
];

const STATES: [&str; 4] = ["created", "running", "paused", "stopped"];

fn container_in(state: &str) -> Container {
    let c = Bundle::sleeper().container();
    c.create().ok();
    if state != "created" {
        c.start().ok();
    }
    match state {
        "paused" => drop(c.call(["pause", &c.id]).run().ok()),
        "stopped" => c.stop(),
        _ => {}
    }
    assert_eq!(c.status(), state);
    c
}

#[test]
fn every_command_in_every_state_does_it_or_says_why_not() {
    deviates!(["runc", "crun"], "other words");
    let has_pids = Hierarchy::of_host().has("pids");
    for (args, answers) in ROWS.iter().filter(|(args, _)| args[0] != "update" || has_pids) {
        for (state, answer) in STATES.iter().zip(answers) {
            let c = container_in(state);
            let bundle = c.bundle.path();
            let words = args.iter().map(|word| match *word {
                "ID" => c.id.as_str(),
                "BUNDLE" => bundle.to_str().unwrap(),
                word => word,
            });
            let out = c.call([]).args(words).run();
            match answer {
                Ok(()) => assert_eq!((out.code, &*out.stderr), (0, ""), "{state}, {args:?}"),
                Err(why) => {
                    assert!(out.fails().contains(why), "{state}, {args:?}: {out:?}");
                    assert_eq!(out.stderr.lines().count(), 1, "{state}, {args:?}: {out:?}");
                    assert_eq!(c.status(), *state, "{args:?}");
                }
            }
        }
    }
}

/// CRI-O removes a container that it has not started with TERM, and waits for its end.
#[test]
fn a_signal_ends_a_container_that_waits_to_be_started() {
    deviates!(
        ["runc", "crun"],
        "TERM does not end crun's init, and runc's has stopped a moment later"
    );
    for signal in ["TERM", "SIGTERM", "15", "HUP", "INT", "QUIT", "KILL"] {
        for own_pids in [true, false] {
            // Of a pid namespace it is the first process, whom the kernel spares much.
            let bundle = Bundle::sleeper();
            let bundle = if own_pids { bundle } else { bundle.without_namespace("pid") };
            let c = bundle.container();
            c.create().ok();
            let pid = c.pid();
            // Meant for the program, which is not there yet.
            for other in ["USR1", "USR2", "ALRM", "CHLD", "CONT", "WINCH"] {
                c.kill(other).ok();
            }
            assert_eq!(c.status(), "created", "{signal}");
            assert_eq!(c.kill(signal).ok(), "", "{signal}");
            assert!(exits(pid), "{signal}: it goes on");
            assert_eq!(c.status(), "stopped", "{signal}");
            c.start().fails_with(&["cannot start a container that has stopped"]);
            c.kill(signal).fails_with(&[GONE]);
            c.delete().ok();
        }
    }
}

/// What is there is not disturbed by what has stopped, and the other way round.
#[test]
fn an_id_is_in_use_until_its_container_is_deleted() {
    let c = Bundle::sh("exit 3").container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let run = c.call(["run", "--keep", "--bundle", &bundle, &c.id]).run();
    deviates!("crun", "R337: crun 1.8.1 has no --keep that counts");
    assert_eq!(run.code, 3);
    for verb in ["create", "run"] {
        let out = c.call([verb, "--bundle", &bundle, &c.id]).run();
        out.fails_with(&["already exist", "given id"]);
        assert_eq!(c.status(), "stopped");
    }
    c.delete().ok();
    c.create().ok();
    assert_eq!(c.status(), "created");
}

#[test]
fn r366_r367_ps_of_a_stopped_container_is_a_heading() {
    deviates!(["runc", "crun"], "null for an empty array, or an error");
    let c = container_in("stopped");
    let out = c.call(["ps", &c.id]).run();
    assert!(out.ok().contains("PID") && out.stdout.lines().count() == 1, "{out:?}");
    let out = c.call(["ps", &c.id, "-o", "pid,comm"]).run();
    assert_eq!(out.ok().split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND"]);
    assert_eq!(c.call(["ps", "--format", "json", &c.id]).run().ok(), "[]\n");
}

/// Without a pid namespace others may outlive init.
#[test]
fn r367_ps_of_a_stopped_container_tells_who_has_outlived_it() {
    needs!(is_pinnace(), "pinnace");
    let c = Bundle::sh("sleep 1000 & echo > /ready; wait").without_namespace("pid").container();
    let c = c.up_and_ready();
    let pid = c.pid();
    kill_process(pid, Signal::KILL).unwrap();
    assert!(exits(pid));
    assert_eq!(c.status(), "stopped");
    let pids = c.call(["ps", "--format", "json", &c.id]).run();
    let pids: Vec<i32> = serde_json::from_str(pids.ok()).unwrap();
    assert!(pids.len() == 1 && pids[0] != pid.as_raw_pid(), "{pids:?}");
    c.delete().ok();
}

/// The `delete` of a container that waits, and its `start`: one of them wins.
#[test]
fn of_a_start_and_a_delete_at_once_one_wins() {
    needs!(is_pinnace(), "pinnace");
    let (mut started, mut deleted) = (0, 0);
    for _ in 0..40 {
        let c = Bundle::sleeper().container();
        c.create().ok();
        let pid = c.pid();
        let start = c.call(["start", &c.id]).spawn();
        let delete = c.call(["delete", &c.id]).spawn();
        let (start, delete) = (start.wait(), delete.wait());
        match (start.code, delete.code) {
            (0, 1) => {
                assert!(delete.stderr.contains("not stopped: running"), "{delete:?}");
                assert_eq!((c.status().as_str(), c.pid()), ("running", pid));
                c.exec(["true"]).ok();
                started += 1;
            }
            (1, 0) => {
                let words = ["does not exist", "not running", "has stopped"];
                start.fails_with(&words);
                c.call(["state", &c.id]).run().is_unknown();
                deleted += 1;
            }
            _ => panic!("{start:?} {delete:?}"),
        }
    }
    eprintln!("{started} started, {deleted} deleted");
}

/// In the startContainer hook init is not its program yet, and `start` has no lock.
#[test]
fn a_delete_while_a_hook_of_start_runs_ends_both() {
    needs!(is_pinnace(), "pinnace");
    for killed in [false, true] {
        let c = Bundle::sleeper().file("hook", "#!/bin/sh\necho > /ready\nexec sleep 1000\n");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(c.rootfs("hook"), mode).unwrap();
        let c = c.set("/hooks/startContainer", json!([{"path": "/hook"}])).container();
        c.create().ok();
        let pid = c.pid();
        let start = c.call(["start", &c.id]).spawn();
        c.wait_ready();
        assert_eq!(c.status(), "created");
        // Whoever drops it kills it.
        let start = (!killed).then_some(start);
        c.start().fails_with(&["it is being started"]);
        assert_eq!(c.status(), "created");
        c.delete().ok();
        assert!(exits(pid));
        if let Some(start) = start {
            start.wait().fails_with(&["not running"]);
        }
        c.call(["state", &c.id]).run().is_unknown();
    }
}

fn at_root(root: &Path, args: &[&str]) -> Call {
    Call::new(&runtime().path).args(["--root", root.to_str().unwrap()]).args(args)
}

const LISTS: [&[&str]; 3] = [&["list"], &["list", "-q"], &["list", "--format", "json"]];

#[test]
fn r317_r363_list_of_a_named_root_that_is_not_there_is_an_error() {
    deviates!(["runc", "crun"], "R363: 1.1.5 and 1.8.1 take it for empty");
    let dir = directory();
    for (root, words) in [
        (dir.path().join("nowhere"), "no such file or directory"),
        (dir.path().join("no/where"), "no such file or directory"),
    ] {
        for args in LISTS {
            let out = at_root(&root, args).run();
            assert_eq!((out.code, out.stdout.as_str()), (1, ""), "{args:?}: {out:?}");
            assert!(out.stderr.contains(words), "{args:?}: {out:?}");
            assert!(out.stderr.contains(root.to_str().unwrap()), "{args:?}: {out:?}");
            assert!(!root.exists());
        }
        needs!(is_pinnace(), "pinnace");
        // A typing error is one for these, too; but what does not exist is deleted by force.
        at_root(&root, &["kill", "--regex", ".", "KILL"]).run().fails_with(&[words]);
        at_root(&root, &["delete", "--regex", "."]).run().fails_with(&[words]);
        at_root(&root, &["delete", "--force", "--regex", "."]).run().ok();
    }
}

#[test]
fn r363_list_of_an_empty_root_is_empty() {
    deviates!("crun", "R364: [] for an empty list");
    let dir = directory();
    let root = dir.path().join("state");
    fs::create_dir(&root).unwrap();
    assert!(at_root(&root, LISTS[0]).run().ok().starts_with("ID"));
    assert_eq!(at_root(&root, LISTS[1]).run().ok(), "");
    assert_eq!(at_root(&root, LISTS[2]).run().ok().trim(), "null");
}

/// Nobody has named it: a host on which no container has been made yet.
#[test]
fn r363_list_of_the_default_root_that_is_not_there_is_empty() {
    deviates!("crun", "R364: [] for an empty list");
    for args in LISTS {
        let cage = "mount -t tmpfs none /run && exec \"$0\" \"$@\"";
        let out = Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", cage])
            .args([runtime().path.as_os_str()])
            .args(args)
            .run();
        assert!(["", "null"].contains(&out.ok().trim()) || out.stdout.starts_with("ID"), "{out:?}");
        assert_eq!((out.stdout.lines().count() <= 1, out.stderr.as_str()), (true, ""), "{out:?}");
    }
}

/// The words that engines match, on hosts where no container has been made yet.
#[test]
fn other_commands_at_a_root_that_is_not_there_know_no_container() {
    let dir = directory();
    let root = dir.path().join("nowhere");
    for args in [
        &["state", "x"][..],
        &["start", "x"],
        &["kill", "x", "9"],
        &["kill", "--all", "x", "9"],
        &["delete", "x"],
        &["ps", "x"],
        &["exec", "x", "true"],
        &["pause", "x"],
        &["resume", "x"],
    ] {
        at_root(&root, args).run().is_unknown();
    }
    assert_eq!(at_root(&root, &["delete", "--force", "x"]).run().ok(), "");
    needs!(is_pinnace(), "pinnace");
    // And the first container makes it.
    assert!(!root.exists());
}

#[test]
fn a_root_that_is_a_file_is_told() {
    deviates!(["runc", "crun"], "other words");
    let dir = directory();
    let root = dir.path().join("file");
    fs::write(&root, "").unwrap();
    for args in [
        &["list"][..],
        &["list", "-q"],
        &["state", "x"],
        &["kill", "x", "9"],
        &["delete", "x"],
        &["delete", "--force", "x"],
    ] {
        let out = at_root(&root, args).run();
        assert!(out.fails().contains("--root: ") && out.stderr.contains("no directory"), "{out:?}");
        assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    }
}

#[test]
fn list_is_whole_while_containers_come_and_go() {
    deviates!(["runc", "crun"], "they tell of what goes meanwhile, or fail");
    let c = Bundle::sleeper().container().up();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (c, bundle, done) = (&c, &bundle, &done);
            scope.spawn(move || {
                let id = format!("{}-{worker}", c.id);
                while !done.load(Ordering::Relaxed) {
                    let out = |name| fs::File::create(c.bundle.dir().join(name)).unwrap();
                    let files = [0, 1].map(|n| out(format!("out-{worker}-{n}")));
                    let [stdout, stderr] = files;
                    let create = c.call(["create", "--bundle", bundle, &id]);
                    create.output_to(stdout, stderr).run().ok();
                    c.call(["delete", "--force", &id]).run().ok();
                }
            });
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..60 {
                let out = c.call(["list", "--format", "json"]).run();
                let listed: Vec<Value> = serde_json::from_str(out.ok()).unwrap();
                assert_eq!(out.stderr, "");
                let own = listed.iter().find(|one| one["id"] == c.id.as_str()).unwrap();
                assert_eq!(own["status"], "running");
                c.call(["list"]).run().ok();
            }
        }));
        done.store(true, Ordering::Relaxed);
        ended.unwrap();
    });
}
