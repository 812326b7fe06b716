//! Calls that newer kernels have brought, denied one after the other by a filter around the
//! runtime, as by the engine of an older host whose container it runs in. Each command either
//! does its work by other means or tells in one line which call it lacks and that a filter may be
//! why; none waits, goes round in circles or reports what is not so. Whatever it leaves,
//! `delete --force` without the filter removes.

use crate::harness::{
    Bundle, Call, Container, Lacks, Output, deviates, exits, json, runtime, until,
};
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What becomes of a command without the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// Every command works: see "Calls that a filter may deny" in ARCHITECTURE.md.
    Works,
    /// Some work, the others say so.
    Says,
}
use Without::{Says, Works};

/// The calls of Linux 3.17 and later, and others that engines deny.
const CALLS: &[(libc::c_long, &str, Without)] = &[
    (libc::SYS_bpf, "bpf", Says),
    (libc::SYS_clone3, "clone3", Works),
    (libc::SYS_close_range, "close_range", Works),
    (libc::SYS_execveat, "execveat", Says),
    (libc::SYS_faccessat2, "faccessat2", Works),
    (libc::SYS_fsconfig, "fsconfig", Says),
    (libc::SYS_fsmount, "fsmount", Says),
    (libc::SYS_fsopen, "fsopen", Says),
    (libc::SYS_fspick, "fspick", Says),
    (libc::SYS_getrandom, "getrandom", Says),
    (libc::SYS_keyctl, "keyctl", Says),
    (libc::SYS_memfd_create, "memfd_create", Says),
    (libc::SYS_mount_setattr, "mount_setattr", Works),
    (libc::SYS_move_mount, "move_mount", Says),
    (libc::SYS_open_tree, "open_tree", Says),
    (libc::SYS_openat2, "openat2", Works),
    (libc::SYS_pidfd_getfd, "pidfd_getfd", Says),
    (libc::SYS_pidfd_open, "pidfd_open", Says),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal", Says),
    (libc::SYS_sched_setaffinity, "sched_setaffinity", Works),
    (libc::SYS_statx, "statx", Works),
    (libc::SYS_userfaultfd, "userfaultfd", Says),
    (457, "statmount", Works),
    (458, "listmount", Works),
];

/// Numbers that all architectures have in common, from `pidfd_send_signal` on; of calls that are
/// not in the list.
const COMMON: std::ops::Range<libc::c_long> = 424..480;

fn denied(calls: &[libc::c_long], errno: i32) -> Vec<Lacks> {
    calls.iter().map(|call| Lacks { call: *call, argument: 0, mask: 0, value: 0, errno }).collect()
}

/// The calls of the list that a command makes.
fn made_by(c: &Container, args: &[&str]) -> Vec<(libc::c_long, &'static str, Without)> {
    let watched: Vec<_> = COMMON.chain(CALLS.iter().map(|call| call.0)).collect();
    let made = Arc::new(Mutex::new(BTreeSet::new()));
    let note = Arc::clone(&made);
    let call = c.call([]).args(args).output_to(c.log("stdout"), c.log("stderr"));
    let (running, _) = call.stepwise_at(&watched, move |step| {
        note.lock().unwrap().insert(libc::c_long::from(step.call));
    });
    let out = running.wait();
    assert_eq!(out.code, 0, "{args:?}: {} {}", c.stdout(), c.stderr());
    let known = |number| CALLS.iter().find(|call| call.0 == number).copied();
    let made = made.lock().unwrap();
    made.iter()
        .map(|made| known(*made).unwrap_or_else(|| panic!("call {made}: a new one")))
        .collect()
}

/// A command, what comes before it, and whether it has done its work.
struct Verb {
    args: fn(&Container) -> Vec<String>,
    before: fn(&Container),
    is_done: fn(&Container, &Output) -> bool,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn bundle_of(c: &Container) -> String {
    c.bundle.path().to_str().unwrap().to_owned()
}

fn created(c: &Container) {
    c.create().ok();
}

fn running(c: &Container) {
    c.create().ok();
    c.start().ok();
}

fn exists(c: &Container) -> bool {
    c.root().join(&c.id).exists()
}

fn printed(_: &Container, out: &Output) -> bool {
    !out.stdout.is_empty()
}

/// A command without each of the calls that it makes, with both errnos.
fn try_each(bundle: Bundle, verb: &Verb) {
    deviates!(["runc", "crun"], "no such promise");
    let c = bundle.container();
    let again = || {
        c.call(["delete", "--force", &c.id]).run().ok();
        assert!(!exists(&c));
    };
    (verb.before)(&c);
    let args = (verb.args)(&c);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let calls = made_by(&c, &args);
    again();
    for (number, name, without) in calls {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let what = format!("{args:?} without {name} (errno {errno})");
            (verb.before)(&c);
            let begin = Instant::now();
            let call = c.call([]).args(&args).without(&denied(&[number], errno));
            let stdout = c.bundle.dir().join("denied");
            let file = |path| {
                fs::File::options().write(true).read(true).create(true).truncate(true).open(path)
            };
            let stderr = c.bundle.dir().join("denied-error");
            let mut out = call.output_to(file(&stdout).unwrap(), file(&stderr).unwrap()).run();
            assert!(begin.elapsed() < Duration::from_secs(10), "{what}: {:?}", begin.elapsed());
            (out.stdout, out.stderr) =
                (fs::read_to_string(stdout).unwrap(), fs::read_to_string(stderr).unwrap());
            assert_eq!((verb.is_done)(&c, &out), out.code == 0, "{what}: {out:?}");
            if out.code == 0 {
                assert_eq!(out.stderr, "", "{what}");
            } else {
                assert_eq!(without, Says, "{what}: {out:?}");
                let wanted = if args[0] == "exec" { 255 } else { 1 };
                assert_eq!((out.code, out.stderr.lines().count()), (wanted, 1), "{what}: {out:?}");
                for word in [name, "seccomp"] {
                    assert!(out.stderr.contains(word), "{what}: no {word:?} in {out:?}");
                }
            }
            again();
        }
    }
}

#[test]
fn create() {
    let verb = Verb {
        args: |c| words(&["create", "--bundle", &bundle_of(c), &c.id]),
        before: |_| {},
        is_done: |c, _| exists(c) && c.status() == "created",
    };
    try_each(Bundle::sleeper(), &verb);
}

#[test]
fn run() {
    let verb = Verb {
        args: |c| words(&["run", "--bundle", &bundle_of(c), &c.id]),
        before: |c| drop(fs::remove_file(c.bundle.rootfs("tmp/ran"))),
        is_done: |c, _| c.bundle.rootfs("tmp/ran").exists(),
    };
    try_each(Bundle::sh("echo > /tmp/ran"), &verb);
}

#[test]
fn start() {
    let verb = Verb {
        args: |c| words(&["start", &c.id]),
        before: created,
        is_done: |c, _| c.status() == "running",
    };
    try_each(Bundle::sleeper(), &verb);
}

#[test]
fn exec() {
    let verb = Verb {
        args: |c| words(&["exec", &c.id, "sh", "-c", "echo > /tmp/ran"]),
        before: |c| {
            drop(fs::remove_file(c.bundle.rootfs("tmp/ran")));
            running(c);
        },
        is_done: |c, _| c.bundle.rootfs("tmp/ran").exists(),
    };
    try_each(Bundle::sleeper(), &verb);
}

#[test]
fn kill_and_delete() {
    let verb = Verb {
        args: |c| words(&["kill", &c.id, "KILL"]),
        before: running,
        // It is on its way when kill returns.
        is_done: |c, out| {
            if out.code == 0 {
                until("the container ends", || c.status() == "stopped");
            }
            c.status() == "stopped"
        },
    };
    try_each(Bundle::sleeper(), &verb);
    let verb = Verb {
        args: |c| words(&["delete", &c.id]),
        before: |c| {
            running(c);
            c.stop();
        },
        is_done: |c, _| !exists(c),
    };
    try_each(Bundle::sleeper(), &verb);
    let verb = Verb {
        args: |c| words(&["delete", "--force", &c.id]),
        before: running,
        is_done: |c, _| !exists(c),
    };
    try_each(Bundle::sleeper(), &verb);
    let verb = Verb { before: created, ..verb };
    try_each(Bundle::sleeper(), &verb);
}

#[test]
fn looks() {
    for args in [
        |c: &Container| words(&["state", &c.id]),
        |c: &Container| words(&["ps", "--format", "json", &c.id]),
        |c: &Container| words(&["events", "--stats", &c.id]),
        |_: &Container| words(&["features"]),
        |_: &Container| words(&["--version"]),
        |_: &Container| words(&["--help"]),
        |c: &Container| words(&["plan", "--bundle", &bundle_of(c)]),
    ] {
        let args: fn(&Container) -> Vec<String> = args;
        try_each(Bundle::sleeper(), &Verb { args, before: running, is_done: printed });
    }
    let list = Verb {
        args: |_| words(&["list"]),
        before: running,
        is_done: |c, out| out.stdout.contains(&c.id),
    };
    try_each(Bundle::sleeper(), &list);
    let spec = Verb {
        args: |c| words(&["spec", "--bundle", c.bundle.dir().to_str().unwrap()]),
        before: |c| drop(fs::remove_file(c.bundle.dir().join("config.json"))),
        is_done: |c, _| c.bundle.dir().join("config.json").exists(),
    };
    try_each(Bundle::sleeper(), &spec);
}

#[test]
fn changes() {
    let verb = Verb {
        args: |c| words(&["pause", &c.id]),
        before: running,
        is_done: |c, _| c.status() == "paused",
    };
    try_each(Bundle::sleeper(), &verb);
    let verb = Verb {
        args: |c| words(&["resume", &c.id]),
        before: |c| {
            running(c);
            c.call(["pause", &c.id]).run().ok();
        },
        is_done: |c, _| c.status() == "running",
    };
    try_each(Bundle::sleeper(), &verb);
    let verb = Verb {
        args: |c| words(&["update", "--pids-limit", "99", &c.id]),
        before: running,
        is_done: |c, _| c.cgroup_value("pids.max", "pids.max") == "99",
    };
    try_each(Bundle::sleeper(), &verb);
}

/// All calls without which every command works.
fn dispensable() -> Vec<libc::c_long> {
    CALLS.iter().filter(|call| call.2 == Works).map(|call| call.0).collect()
}

/// A whole life in a container of an engine whose libseccomp is of 2019.
#[test]
fn a_container_lives_without_all_of_them() {
    deviates!(["runc", "crun"], "no such promise");
    for errno in [libc::EPERM, libc::ENOSYS] {
        let bundle = Bundle::server();
        let hooked = bundle.dir().join("hooked");
        let all =
            json!([{"path": bundle.script("hook", &format!("echo >> {}", hooked.display()))}]);
        let inside = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo > /hooked"]}]);
        let bundle = bundle
            .set("/hooks/createRuntime", all.clone())
            .set("/hooks/createContainer", all.clone())
            .set("/hooks/startContainer", inside)
            .set("/hooks/poststop", all)
            .file("data/file", "text")
            .mount("tmpfs", "tmpfs", "/data", &["ro", "tmpcopyup"]);
        let volume = bundle.dir().join("volume");
        fs::create_dir(&volume).unwrap();
        let c = bundle.bind(&volume, "/volume", &["rbind", "ro"]).container();
        let call = |args: &[&str]| {
            let call = c.call([]).args(args).without(&denied(&dispensable(), errno));
            call.output_to(c.log("stdout"), c.log("stderr")).run()
        };
        call(&["create", "--bundle", &bundle_of(&c), &c.id]).ok();
        call(&["start", &c.id]).ok();
        c.wait_ready();
        assert_eq!(c.stderr(), "");
        let script = "cat /data/file; touch /volume/x || touch /data/x || echo ' read-only'; id -u";
        for (user, wanted) in [("0", "text read-only\n0\n"), ("7:8", "text read-only\n7\n")] {
            let exec = c.call(["exec", "--user", user, &c.id, "sh", "-c", script]);
            let out = exec.without(&denied(&dispensable(), errno)).run();
            assert_eq!(out.ok(), wanted, "{out:?}");
        }
        for args in [
            &["state", &c.id][..],
            &["list"],
            &["ps", "--format", "json", &c.id],
            &["pause", &c.id],
            &["resume", &c.id],
            &["update", "--pids-limit", "99", &c.id],
            &["events", "--stats", &c.id],
        ] {
            assert_eq!(call(args).code, 0, "{args:?}: {}", c.stderr());
        }
        let pid = c.pid();
        call(&["kill", &c.id, "TERM"]).ok();
        assert!(exits(pid));
        call(&["delete", &c.id]).ok();
        assert_eq!(fs::read_to_string(&hooked).unwrap().lines().count(), 3);
        assert!(c.bundle.rootfs("hooked").exists());
    }
}

/// Without openat2(2) the image has no more power than with it.
#[test]
fn links_of_the_image_lead_nowhere_else() {
    deviates!(["runc", "crun"], "no such promise");
    for errno in [libc::EPERM, libc::ENOSYS] {
        let bundle = Bundle::sh("cat /proc/self/mountinfo");
        let decoy = bundle.dir().join("decoy");
        fs::create_dir(&decoy).unwrap();
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, bundle.rootfs(name)).unwrap();
        };
        link(decoy.to_str().unwrap(), "absolute");
        link("../../../../../../../../..", "up");
        link("loop", "loop");
        link("/proc/self/fd", "fds");
        let mask = json!(["/absolute", "/up/absolute", "/fds"]);
        let inside = format!("{}/new", decoy.display());
        let bundle = bundle
            .mount("tmpfs", "t", "/absolute/new", &[])
            .mount("tmpfs", "t", "/up/there", &[])
            .set("/linux/maskedPaths", mask);
        let c = bundle.container();
        let run = c.call(["run", "--bundle", &bundle_of(&c), &c.id]);
        let out = run.without(&denied(&dispensable(), errno)).run();
        let points: Vec<_> = out.ok().lines().filter_map(|line| line.split(' ').nth(4)).collect();
        assert!(points.contains(&inside.as_str()) && points.contains(&"/there"), "{points:?}");
        assert_eq!(fs::read_dir(&decoy).unwrap().count(), 0);
        let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!host.contains(decoy.to_str().unwrap()), "{host}");
    }
}

/// Nor is a source in the root filesystem another one: it is what an earlier mount brought, also
/// where a link of the image says something else to the host.
#[test]
fn sources_in_the_rootfs_are_found_there() {
    deviates!(["runc", "crun"], "no such promise");
    for errno in [libc::EPERM, libc::ENOSYS] {
        for through_link in [false, true] {
            let bundle = Bundle::sh("cat /seen/file");
            let (volume, decoy) = (bundle.dir().join("volume"), bundle.dir().join("decoy"));
            for (dir, text) in [(&volume, "of the volume"), (&decoy, "of the host")] {
                fs::create_dir(dir).unwrap();
                fs::write(dir.join("file"), text).unwrap();
            }
            let (mut place, mut source) = ("/vol", bundle.rootfs("vol"));
            if through_link {
                place = decoy.to_str().unwrap();
                source = bundle.rootfs("link");
                std::os::unix::fs::symlink(&decoy, &source).unwrap();
            }
            let bundle = bundle.bind(&volume, place, &["bind"]).bind(&source, "/seen", &["bind"]);
            let c = bundle.container();
            let run = c.call(["run", "--bundle", &bundle_of(&c), &c.id]);
            let out = run.without(&denied(&dispensable(), errno)).run();
            assert_eq!(out.ok(), "of the volume", "{through_link}");
        }
    }
}

/// Without `close_range(2)` nothing of the caller, and nothing of ours, is open in the container,
/// in a hook or in what `exec` runs; what is preserved is.
#[test]
fn no_descriptor_stays_open() {
    deviates!(["runc", "crun"], "no such promise");
    for errno in [libc::EPERM, libc::ENOSYS] {
        let bundle = Bundle::sh("ls /proc/self/fd; ls -l /proc/1/fd; echo > /ready; sleep 1000");
        let listed = bundle.dir().join("listed");
        // That of coreutils wants statx(2).
        let ls = "/bin/busybox ls /proc/self/fd | tr '\\n' ' '";
        let script = format!("{ls} >> {}", listed.display());
        let hook = json!([{"path": bundle.script("hook", &script)}]);
        let inside = format!("{ls} > /listed");
        let c = bundle
            .set("/hooks/createRuntime", hook.clone())
            .set("/hooks/createContainer", hook)
            .set(
                "/hooks/startContainer",
                json!([{"path": "/bin/sh", "args": ["sh", "-c", inside]}]),
            )
            .container();
        let call = |args: &[&str]| {
            let open = "exec 3</etc/passwd 4</ 7</etc 9</proc; exec \"$@\"";
            Call::new("/bin/bash")
                .args(["-c", open, "sh", runtime().path.to_str().unwrap()])
                .args(c.global())
                .args(args)
                .without(&denied(&dispensable(), errno))
        };
        let create = call(&["create", "--preserve-fds", "1", "--bundle", &bundle_of(&c), &c.id]);
        create.output_to(c.log("stdout"), c.log("stderr")).run().ok();
        call(&["start", &c.id]).run().ok();
        c.wait_ready();
        let (own, init) = (c.stdout(), c.stdout());
        assert!(own.starts_with("0\n1\n2\n3\n4\n"), "its own, one preserved, that of ls: {own}");
        assert_eq!(init.lines().filter(|line| line.contains(" -> ")).count(), 4, "{init}");
        let out = call(&["exec", "--preserve-fds", "1", &c.id, "ls", "/proc/self/fd"]).run();
        assert_eq!(out.ok(), "0\n1\n2\n3\n4\n");
        let out = call(&["exec", &c.id, "ls", "/proc/self/fd"]).run();
        assert_eq!(out.ok(), "0\n1\n2\n3\n");
        assert_eq!(fs::read_to_string(listed).unwrap(), "0 1 2 3 0 1 2 3 ");
        assert_eq!(fs::read_to_string(c.bundle.rootfs("listed")).unwrap(), "0 1 2 3 ");
    }
}

/// Without clone3(2) a process is moved into its cgroup before it does anything.
#[test]
fn on_v2_every_process_is_in_its_cgroup() {
    deviates!(["runc", "crun"], "no such promise");
    for errno in [libc::EPERM, libc::ENOSYS] {
        let c = Bundle::sh("cat /proc/self/cgroup").container();
        let script = "umount -R -l /sys/fs/cgroup; mount -t cgroup2 c /sys/fs/cgroup || exit 99
            \"$0\" $GLOBAL run --bundle \"$BUNDLE\" \"$ID\" || exit
            sed -i 's/cat .proc.self.cgroup/sleep 1000/' \"$BUNDLE/config.json\"
            \"$0\" $GLOBAL run -d --bundle \"$BUNDLE\" \"$ID\" >/dev/null 2>&1 </dev/null || exit
            \"$0\" $GLOBAL exec \"$ID\" cat /proc/self/cgroup || exit
            \"$0\" $GLOBAL delete --force \"$ID\"";
        let out = Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
            .args([runtime().path.as_os_str()])
            .env("GLOBAL", &c.global().join(" "))
            .env("BUNDLE", &bundle_of(&c))
            .env("ID", &c.id)
            .without(&denied(&dispensable(), errno))
            .run();
        let places: Vec<_> = out.ok().lines().filter(|line| line.starts_with("0::")).collect();
        assert_eq!(places.len(), 2, "{out:?}");
        assert!(places.iter().all(|place| place.contains(&c.id)), "{places:?}");
    }
}
