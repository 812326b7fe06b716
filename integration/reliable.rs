//! An error is never taken for an answer: what cannot be looked at has not stopped, what cannot
//! be read is there, what was not written has not succeeded. And whatever dies, what it has made
//! is found again.

use crate::harness::{
    Bundle, Call, Container, Lacks, Output, Running, by_systemd, deviates, exits, is_pinnace, json,
    leftovers_of, needs, runtime, until,
};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a test may try one point after the other, on a machine that is busy.
const TIME: Duration = Duration::from_secs(40);

const ERRNOS: [&str; 6] = ["EPERM", "EIO", "ENOMEM", "EMFILE", "EINTR", "EACCES"];

/// The runtime under a shell that has changed something for it alone.
fn after(c: &Container, script: &str, args: &[&str]) -> Output {
    Call::new("/usr/bin/unshare")
        .args(["--mount", "/bin/sh", "-c", &format!("{script}; exec \"$@\""), "sh"])
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(args)
        .run()
}

/// The runtime under strace, which makes calls fail, or kills at them.
fn injected(c: &Container, flags: &[&str], args: &[&str]) -> Output {
    Call::new("/usr/bin/strace")
        .args(["-qq", "-o"])
        .args([c.bundle.dir().join("trace")])
        .args(flags)
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(args)
        .output_to(c.log("injected"), c.log("injected-error"))
        .run()
}

fn has_strace() -> bool {
    is_pinnace() && Path::new("/usr/bin/strace").exists()
}

fn create_args(c: &Container) -> [String; 4] {
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    ["create".into(), "--bundle".into(), bundle, c.id.clone()]
}

/// Every verb that asks where the container is in its life.
fn verbs(id: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["state", id],
        vec!["list"],
        vec!["list", "--quiet"],
        vec!["ps", "-f", "json", id],
        vec!["events", "--stats", id],
        vec!["kill", id, "TERM"],
        vec!["update", "--pids-limit", "99", id],
        vec!["pause", id],
        vec!["exec", id, "true"],
        vec!["start", id],
        vec!["delete", id],
        vec!["delete", "--force", id],
    ]
}

/// A record on a tmpfs knows the process by its pidfd, for which no procfs is read.
fn is_known_by_procfs(c: &Container) -> bool {
    !fs::read_to_string(c.root().join(&c.id).join("state.json")).unwrap().contains("inode")
}

#[test]
fn without_procfs_no_container_has_stopped() {
    deviates!(["runc", "crun"], "they read procfs, and take what is not there for an end");
    let c = Bundle::sleeper().container().up();
    needs!(is_known_by_procfs(&c), "a state root that survives a reboot");
    let pid = c.pid();
    for args in verbs(&c.id) {
        let out = after(&c, "umount -l /proc", &args);
        let text = out.fails();
        assert!(!text.contains("not running") && !text.contains("stopped"), "{args:?}: {text}");
        assert_eq!((c.status().as_str(), c.pid()), ("running", pid), "{args:?}: {text}");
    }
}

#[test]
fn an_error_while_looking_at_a_process_is_not_its_end() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::sleeper().container().up();
    needs!(is_known_by_procfs(&c), "a state root that survives a reboot");
    let pid = c.pid();
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    for errno in ERRNOS {
        let inject = format!("inject=openat:error={errno}");
        for args in [["state", &c.id], ["delete", &c.id], ["list", "--quiet"]] {
            let out = injected(&c, &["-P", &stat, "-e", &inject], &args);
            assert_ne!(out.code, 0, "{errno} {args:?}");
            assert_eq!((c.status().as_str(), c.pid()), ("running", pid), "{errno} {args:?}");
        }
    }
}

/// Nothing that fails lets a running container be taken for one that can be deleted.
#[test]
fn whatever_fails_a_running_container_is_not_deleted() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::sleeper().container().up();
    let pid = c.pid();
    let names = ["openat", "read", "fstat", "statx", "newfstatat", "flock", "poll", "pidfd_open"];
    for name in names {
        for n in 1..20 {
            let inject = format!("inject={name}:error=EIO:when={n}");
            let out = injected(&c, &["-e", &inject], &["delete", &c.id]);
            assert_ne!(out.code, 0, "{name}, {n}. time: {out:?}");
            assert_eq!((c.status().as_str(), c.pid()), ("running", pid), "{name}, {n}. time");
            let trace = fs::read_to_string(c.bundle.dir().join("trace")).unwrap();
            if !trace.contains("INJECTED") {
                break;
            }
        }
    }
}

#[test]
fn a_record_that_cannot_be_read_is_there() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::sleeper().container().up();
    let pid = c.pid();
    let dir = c.root().join(&c.id);
    for errno in ERRNOS {
        let inject = format!("inject=openat:error={errno}");
        let path = dir.to_str().unwrap();
        for force in [&["--force"][..], &[]] {
            let args = [&["delete"], force, &[c.id.as_str()]].concat();
            let out = injected(&c, &["-P", path, "-e", &inject], &args);
            assert_ne!(out.code, 0, "{errno} {force:?}");
            assert_eq!((c.status().as_str(), c.pid()), ("running", pid), "{errno} {force:?}");
        }
    }
}

/// The saved configuration tells where its cgroup is, and the mark there that it is its.
#[test]
fn a_container_with_a_damaged_record_is_deleted_with_its_processes() {
    deviates!(["runc", "crun"], "they leave what runs, or refuse");
    for lost in [&["state.json"][..], &["state.json", "config.json"]] {
        let bundle = Bundle::sh("sleep 1000 & exec sleep 1000").without_namespace("pid");
        let bundle = match lost.len() {
            1 => bundle,
            _ => bundle.edit(|config| {
                config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
            }),
        };
        let c = bundle.container().up();
        let pid = c.pid();
        for name in lost {
            fs::write(c.root().join(&c.id).join(name), "{").unwrap();
        }
        c.delete().fails_with(&["--force"]);
        let out = c.call(["delete", "--force", &c.id]).run();
        out.ok();
        assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
        assert!(out.stderr.contains("damaged") && out.stderr.contains("cgroup"), "{out:?}");
        assert!(exits(pid));
        assert!(leftovers_of(&c).is_empty(), "{:?}", leftovers_of(&c));
    }
}

/// Of a damaged record whose cgroup is another's by now nothing else is touched.
#[test]
fn a_damaged_record_takes_no_cgroup_of_another() {
    deviates!(["runc", "crun"], "they know no owner of a cgroup");
    needs!(!by_systemd(), "the cgroupfs driver");
    let other = Bundle::sleeper().container();
    let path = format!("/{}", other.id);
    let with_path = |bundle: Bundle| bundle.set("/linux/cgroupsPath", json!(path));
    let c = with_path(Bundle::sleeper()).container().up();
    c.stop();
    let (id, bundle) = (&other.id, with_path(Bundle::sleeper()));
    let bundle = bundle.container();
    let path = bundle.bundle.path().to_str().unwrap().to_owned();
    let create = ["create", "--bundle", &path, id];
    other.detached(create).ok();
    let pid = other.pid();
    fs::write(c.root().join(&c.id).join("state.json"), "").unwrap();
    let out = c.call(["delete", "--force", &c.id]).run();
    out.ok();
    assert!(out.stderr.contains("stays"), "{out:?}");
    assert_eq!((other.status().as_str(), other.pid()), ("created", pid));
}

#[test]
fn hooks_that_cannot_be_read_any_more_are_told() {
    deviates!(["runc", "crun"], "their record and configuration are one");
    let hook = json!([{"path": "/bin/true", "args": ["true"]}]);
    let c = Bundle::sleeper().set("/hooks/poststop", hook).container().up();
    fs::write(c.root().join(&c.id).join("config.json"), "{").unwrap();
    c.stop();
    c.delete().fails();
    let out = c.call(["delete", "--force", &c.id]).run();
    out.ok();
    assert!(out.stderr.contains("hooks.poststop"), "{out:?}");
}

#[test]
fn what_create_leaves_before_the_first_record_can_be_deleted() {
    deviates!(["runc", "crun"], "they want --force, or know it not at all");
    let c = Bundle::sleeper().container();
    c.create().ok();
    c.call(["delete", "--force", &c.id]).run().ok();
    for args in [&["delete"][..], &["delete", "--force"]] {
        fs::create_dir(c.root().join(&c.id)).unwrap();
        c.create().fails_with(&["already exists"]);
        c.call([]).args(args).args([&c.id]).run().ok();
        c.delete().is_unknown();
    }
    c.create().ok();
}

/// A `create` at work on its first record has the directory locked.
#[test]
fn a_delete_waits_for_the_first_record() {
    deviates!(["runc", "crun"], "they have no such lock");
    let c = Bundle::sleeper().container();
    fs::create_dir_all(c.root().join(&c.id)).unwrap();
    let held = File::open(c.root().join(&c.id)).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let delete = c.call(["delete", &c.id]).spawn();
    wait_for_lock(&delete);
    assert!(c.root().join(&c.id).exists());
    drop(held);
    delete.wait().ok();
    assert!(leftovers_of(&c).is_empty());
}

#[test]
fn a_create_without_descriptors_leaves_nothing() {
    let c = Bundle::sleeper().container();
    fs::create_dir_all(c.root()).unwrap();
    for most in 3..14 {
        let out = Call::new("/usr/bin/prlimit")
            .args([format!("--nofile={most}")])
            .args([runtime().path.as_os_str()])
            .args(c.global())
            .args(create_args(&c))
            .output_to(c.log("stdout"), c.log("stderr"))
            .run();
        if out.code != 0 {
            if by_systemd() {
                // To stop a unit takes a descriptor, too: where there was none, that is told.
                c.call(["delete", "--force", &c.id]).run().ok();
            }
            assert!(leftovers_of(&c).is_empty(), "{most}: {:?}", leftovers_of(&c));
        }
    }
}

#[test]
fn a_create_that_cannot_open_its_directory_leaves_none() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::sleeper().container();
    let dir = c.root().join(&c.id);
    let args = create_args(&c);
    for call in ["open", "openat", "fstat", "newfstatat"] {
        for errno in ERRNOS {
            let inject = format!("inject={call}:error={errno}:when=1");
            let flags = ["-P", dir.to_str().unwrap(), "-e", &inject];
            let out = injected(&c, &flags, &args.each_ref().map(String::as_str));
            if out.code == 0 {
                c.call(["delete", "--force", &c.id]).run().ok();
            }
            assert!(leftovers_of(&c).is_empty(), "{inject}: {:?}", leftovers_of(&c));
        }
    }
}

/// Waits until a process waits for a lock: `->` in proc_locks(5).
fn wait_for_lock(running: &Running) {
    let pid = format!(" {} ", running.pid().as_raw_nonzero());
    until("it waits for the lock", || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains("->") && line.contains(&pid))
    });
}

#[test]
fn a_forced_delete_that_another_was_faster_than_is_no_error() {
    deviates!(["runc", "crun"], "they have no such lock");
    let c = Bundle::sleeper().container().up();
    c.stop();
    let held = File::open(c.root().join(&c.id)).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let deletes = [0; 3].map(|_| c.call(["delete", "--force", &c.id]).spawn());
    deletes.iter().for_each(wait_for_lock);
    drop(held);
    for delete in deletes {
        let out = delete.wait();
        assert_eq!((out.ok(), out.stderr.as_str()), ("", ""));
    }
}

#[test]
fn levels_above_the_cgroup_are_found_again_wherever_create_was_killed() {
    needs!(has_strace(), "pinnace and strace");
    let bundle = Bundle::sleeper();
    let path = format!("/{}-a/{}-b/{}", bundle.id, bundle.id, bundle.id);
    let c = bundle.set("/linux/cgroupsPath", json!(path)).container();
    let end = Instant::now() + TIME;
    for name in ["mkdirat", "mkdir", "renameat", "clone3"] {
        for n in (1..80).take_while(|_| Instant::now() < end) {
            let inject = format!("inject={name}:signal=KILL:when={n}");
            let args = create_args(&c);
            let out = injected(&c, &["-e", &inject], &args.each_ref().map(String::as_str));
            c.call(["delete", "--force", &c.id]).run().ok();
            let left = leftovers_of(&c);
            assert!(left.is_empty(), "killed at {name}, {n}. time: {left:#?}");
            if out.code == 0 {
                break;
            }
        }
    }
}

/// Whether it is there beforehand or not: nothing but the file itself is ever seen.
#[test]
fn a_pid_file_leaves_no_temporary() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::sleeper().container();
    let dir = c.bundle.dir().join("pids");
    fs::create_dir(&dir).unwrap();
    let file = dir.join("pid");
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let args = ["create", "--bundle", &bundle, "--pid-file", file.to_str().unwrap(), &c.id];
    let faults = ["signal=KILL", "error=EIO"];
    for (name, fault) in ["linkat", "rename", "renameat", "unlinkat", "unlink", "write"]
        .into_iter()
        .flat_map(|name| faults.map(|fault| (name, fault)))
    {
        for n in 1..12 {
            let inject = format!("inject={name}:{fault}:when={n}");
            let out = injected(&c, &["-e", &inject], &args);
            c.call(["delete", "--force", &c.id]).run().ok();
            let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
            let names: Vec<_> = names.filter(|name| name != "pid").collect();
            assert!(names.is_empty(), "{inject}: {names:?}");
            let trace = fs::read_to_string(c.bundle.dir().join("trace")).unwrap();
            if out.code == 0 && !trace.contains("INJECTED") {
                break;
            }
        }
    }
}

/// Who has just started a container can end it, without a descriptor for another look at it.
#[test]
fn a_start_that_fails_without_descriptors_leaves_no_program() {
    needs!(is_pinnace(), "pinnace");
    for limit in 3..16 {
        let hooks = json!([{"path": "/bin/false"}]);
        let c = Bundle::sleeper().set("/hooks/poststart", hooks).container();
        c.create().ok();
        let out = after(&c, &format!("ulimit -n {limit}"), &["start", &c.id]);
        if out.stderr.contains("hooks.poststart") {
            let gone = c.call(["state", &c.id]).run();
            assert!(gone.code != 0 || c.status() == "stopped", "{limit}: {out:?}");
        }
        c.call(["delete", "--force", &c.id]).run().ok();
        assert!(leftovers_of(&c).is_empty(), "{limit}: {:?}", leftovers_of(&c));
    }
}

#[test]
fn what_a_container_uses_while_it_is_created_cannot_be_told() {
    needs!(is_pinnace(), "pinnace");
    let hooks = json!([{"path": "/bin/sleep", "args": ["sleep", "2"]}]);
    let c = Bundle::sleeper().set("/hooks/createRuntime", hooks).container();
    let args = create_args(&c);
    let create = c
        .call(args.each_ref().map(String::as_str))
        .output_to(c.log("stdout"), c.log("stderr"))
        .spawn();
    let end = Instant::now() + TIME;
    while !c.call(["state", &c.id]).run().stdout.contains("\"creating\"") {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    for args in [["events", "--stats", &c.id], ["events", "--interval=1s", &c.id]] {
        c.call(args).run().fails_with(&["it is being created"]);
    }
    create.wait().ok();
    c.call(["events", "--stats", &c.id]).run().ok();
}

/// Several containers in a level that the first has made, as engines give paths.
#[test]
fn a_level_above_goes_with_the_last_container_in_it() {
    needs!(is_pinnace() && !by_systemd(), "pinnace, and the cgroupfs driver");
    let bundle = Bundle::sleeper();
    let level = format!("{}-level", bundle.id);
    let path = |id: &str| json!(format!("/{level}/{id}"));
    let first = bundle.set("/linux/cgroupsPath", path("first")).container().up();
    let second = Bundle::sleeper().set("/linux/cgroupsPath", path("second")).container().up();
    let above = second.cgroup("freezer").parent().unwrap().to_owned();
    assert!(above.ends_with(&level), "{above:?}");
    first.call(["delete", "--force", &first.id]).run().ok();
    assert_eq!(second.status(), "running");
    second.call(["delete", "--force", &second.id]).run().ok();
    assert!(!above.exists(), "{above:?} has stayed");
}

/// Whichever removal fails, the container is still known, and a second delete is enough.
#[test]
fn a_delete_that_failed_can_be_repeated() {
    needs!(has_strace(), "pinnace and strace");
    for name in ["rmdir", "unlinkat", "unlink"] {
        for n in 1..40 {
            let c = Bundle::sleeper().container().up();
            c.stop();
            let inject = format!("inject={name}:error=EIO:when={n}");
            let out = injected(&c, &["-e", &inject], &["delete", &c.id]);
            if out.code == 0 {
                break;
            }
            assert_eq!(c.status(), "stopped", "{name}, {n}. time");
            c.delete().ok();
            assert!(leftovers_of(&c).is_empty(), "{name}, {n}. time: {:?}", leftovers_of(&c));
        }
    }
}

#[test]
fn what_standard_output_did_not_take_was_not_printed() {
    deviates!(["runc", "crun"], "they do not look");
    let c = Bundle::sleeper().container().up();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    for args in [
        &["state", &c.id][..],
        &["list"],
        &["list", "--quiet"],
        &["list", "--format", "json"],
        &["ps", &c.id],
        &["ps", "--format", "json", &c.id],
        &["events", "--stats", &c.id],
        &["events", "--interval", "10ms", &c.id],
        &["plan", "--bundle", &bundle],
        &["plan", "--json", "--bundle", &bundle],
        &["features"],
        &["--version"],
        &["--help"],
        &["state", "--help"],
    ] {
        for to in [">/dev/full", ">&-"] {
            let out = after(&c, &format!("exec {to}"), args);
            out.fails_with(&["write to standard output"]);
            assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let call = c.call([]).args(args).output_to(OwnedFd::from(writer).into(), c.log("pipe"));
        // A stream of events has no end of its own: its reader's is its.
        assert_eq!(call.run().code == 0, args.contains(&"10ms"), "{args:?}");
    }
}

#[test]
fn cgroups_that_cannot_be_seen_are_not_gone() {
    deviates!(["runc", "crun"], "they take what is not mounted for removed");
    for unmount in ["umount -R -l /sys/fs/cgroup", "umount -R -l /sys"] {
        for force in [false, true] {
            let c = Bundle::sleeper().container().up();
            let args = if force { vec!["delete", "--force", &c.id] } else { vec!["delete", &c.id] };
            let out = after(&c, unmount, &["ps", "--format", "json", &c.id]);
            out.fails_with(&["mounted"]);
            if !force {
                c.stop();
            }
            let pid = c.state()["pid"].as_i64().and_then(|pid| Pid::from_raw(pid as i32));
            after(&c, unmount, &args).fails_with(&["mounted"]);
            assert!(pid.is_none_or(exits));
            assert_eq!(c.status(), "stopped");
            c.delete().ok();
        }
    }
}

#[test]
fn without_random_numbers_nothing_panics() {
    deviates!(["runc", "crun"], "their languages draw some before they begin");
    let none =
        [Lacks { call: libc::SYS_getrandom, argument: 0, mask: 0, value: 0, errno: libc::EIO }];
    let c = Bundle::sleeper().container();
    let args = create_args(&c);
    let out = c.call([]).args(&args).without(&none).run();
    out.fails_with(&["getrandom"]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    assert!(leftovers_of(&c).is_empty());
    let c = c.up();
    for args in [&["state", &c.id][..], &["list"], &["exec", &c.id, "true"]] {
        c.call([]).args(args).without(&none).run().ok();
    }
    c.call(["delete", "--force", &c.id]).without(&none).run().ok();
}
