//! The conversation between the runtime and a new process, when one of them is killed,
//! stopped or frozen, or a call of theirs fails: what is told is what has happened, and
//! nobody waits for ever.

#![allow(unsafe_code)] // pre_exec

use crate::harness::{
    Bundle, Call, Container, Lacks, Output, Running, exits, is_pinnace, leftovers_of, needs,
    runtime, until,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// No call of these tests has to wait for anything.
const SOON: Duration = Duration::from_secs(20);

fn has_strace() -> bool {
    is_pinnace() && Path::new("/usr/bin/strace").exists()
}

/// A call under strace, which fails or kills at what `inject` says.
fn injected(c: &Container, flags: &[&str], inject: &str, args: &[&str]) -> Call {
    Call::new("/usr/bin/strace")
        .args(["-qq", "-o", "/dev/null"])
        .args(flags)
        .args(["-e", &format!("inject={inject}")])
        .args([runtime().path.as_os_str()])
        .args(["--root", c.root().to_str().unwrap()])
        .args(args)
        .output_to(c.log("stdout"), c.log("stderr"))
}

/// Whether the process sleeps in that call.
fn sleeps_in(pid: Pid, place: &str) -> bool {
    let place_of = fs::read_to_string(format!("/proc/{}/wchan", pid.as_raw_nonzero()));
    place_of.is_ok_and(|wchan| wchan.contains(place))
}

fn status_letter(pid: Pid) -> char {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    text[text.rfind(')').unwrap() + 2..].chars().next().unwrap()
}

#[track_caller]
fn soon(begun: Instant, out: Output) -> Output {
    assert!(begun.elapsed() < SOON, "{:?}: {out:#?}", begun.elapsed());
    out
}

fn stopped_start(c: &Container) -> (Pid, Running) {
    let init = c.pid();
    kill_process(init, Signal::STOP).unwrap();
    until("init stops", || status_letter(init) == 'T');
    let start = c.call(["start", &c.id]).spawn();
    until("start waits for init", || sleeps_in(start.pid(), "poll"));
    (init, start)
}

#[test]
fn a_created_container_that_is_paused_is_told_as_paused_and_refuses_start_and_exec() {
    needs!(is_pinnace(), "pinnace");
    let c = Bundle::sleeper().container();
    c.create().ok();
    c.call(["pause", &c.id]).run().ok();
    assert_eq!(c.status(), "paused");
    let begun = Instant::now();
    c.start().fails_with(&["cannot start a container in the paused state"]);
    let out = soon(begun, c.exec(["true"]));
    out.fails_with(&["cannot exec in a paused container"]);
    soon(begun, c.call(["resume", &c.id]).run()).ok();
    assert_eq!(c.status(), "created");
    c.start().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn a_created_container_that_is_paused_is_deleted_by_force_at_once() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    c.call(["pause", &c.id]).run().ok();
    let begun = Instant::now();
    soon(begun, c.call(["delete", "--force", &c.id]).run()).ok();
}

#[test]
fn a_container_that_somebody_froze_while_start_waits_is_resumed_and_deleted() {
    needs!(is_pinnace(), "pinnace");
    for verb in ["resume", "delete"] {
        let c = Bundle::sleeper().container();
        c.create().ok();
        let (init, start) = stopped_start(&c);
        // `pause` waits for the lock of `start`, which an engine that writes the file does not.
        let (v1, file) = if c.cgroup("freezer").join("freezer.state").exists() {
            ("FROZEN", c.cgroup("freezer").join("freezer.state"))
        } else {
            ("1", c.cgroup("freezer").join("cgroup.freeze"))
        };
        fs::write(&file, v1).unwrap();
        let begun = Instant::now();
        if verb == "resume" {
            soon(begun, c.call(["resume", &c.id]).run()).ok();
            kill_process(init, Signal::CONT).unwrap();
            soon(begun, start.wait()).ok();
            assert_eq!(c.status(), "running");
        } else {
            soon(begun, c.call(["delete", "--force", &c.id]).run()).ok();
            soon(begun, start.wait()).fails_with(&["not running"]);
        }
    }
}

/// On cgroup v1 `pause` gives its order again until all stand still.
#[test]
fn what_is_resumed_while_pause_is_at_work_runs() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::sleeper().container().up();
    let pause = injected(&c, &[], "write:delay_exit=500000:when=1", &["pause", &c.id]).spawn();
    until("it is told to freeze", || c.status() == "paused");
    c.call(["resume", &c.id]).run().ok();
    pause.wait().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn start_that_is_killed_before_it_removes_the_socket_has_started_the_container() {
    needs!(has_strace(), "pinnace and strace");
    for inject in ["unlinkat:signal=KILL", "unlinkat:error=EROFS", "unlinkat:error=EIO"] {
        let c = Bundle::sleeper().container();
        c.create().ok();
        let out = injected(&c, &[], inject, &["start", &c.id]).run();
        assert!(inject.contains("KILL") || out.code == 0, "{inject}: {out:#?} {}", c.stderr());
        assert_eq!(c.status(), "running", "{inject}");
        c.start().fails_with(&["cannot start an already running container"]);
        c.exec(["true"]).ok();
    }
}

#[test]
fn start_of_an_init_that_is_killed_fails() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    let (init, start) = stopped_start(&c);
    kill_process(init, Signal::KILL).unwrap();
    let out = start.wait();
    out.fails_with(&["container not running"]);
    assert_eq!(c.status(), "stopped");
}

/// strace kills the process at the entry of the execve(2) with that path.
fn killed_at_execve(c: &Container, args: &[&str]) -> Output {
    injected(c, &["-f", "-P", "/bin/sleep"], "execve:signal=KILL", args).run()
}

#[test]
fn a_process_that_is_killed_before_its_program_is_no_success() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::server().container().up_and_ready();
    let out = killed_at_execve(&c, &["exec", "--detach", &c.id, "sleep", "100"]);
    assert!(c.stderr().contains("before it ran its program"), "{out:?} {}", c.stderr());
    out.fails();
    c.exec(["true"]).ok();

    let c = Bundle::sleeper().container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let out = killed_at_execve(&c, &["run", "--detach", "--bundle", &bundle, &c.id]);
    assert!(c.stderr().contains("before it ran its program"), "{out:?} {}", c.stderr());
    out.fails();
    assert!(leftovers_of(&c).is_empty(), "{:#?}", leftovers_of(&c));
}

#[test]
fn a_short_program_is_never_taken_for_one_that_was_killed() {
    for _ in 0..20 {
        let c = Bundle::new(["true"]).container();
        c.run_detached().ok();
        let c = Bundle::new(["true"]).container();
        c.create().ok();
        c.start().ok();
    }
    let c = Bundle::server().container().up_and_ready();
    for _ in 0..20 {
        c.exec_with(["--detach"], ["true"]).ok();
    }
}

#[test]
fn a_process_between_that_dies_before_it_has_told_keeps_nobody_waiting() {
    needs!(has_strace(), "pinnace and strace");
    let host = Bundle::server().container().up_and_ready();
    let begun = Instant::now();
    let out = injected(&host, &["-f"], "sendmsg:signal=KILL:when=1", &["exec", &host.id, "true"]);
    soon(begun, out.run()).fails();
    host.exec(["true"]).ok();
    let pids = format!("/proc/{}/ns/pid", host.pid().as_raw_nonzero());
    for inject in ["sendmsg:signal=KILL:when=1", "sendmsg:error=ENOMEM:when=1"] {
        let c = Bundle::sleeper().namespace("pid", Some(&pids)).container();
        let bundle = c.bundle.path().to_str().unwrap().to_owned();
        let create = ["create", "--bundle", &bundle, &c.id];
        soon(Instant::now(), injected(&c, &["-f"], inject, &create).run()).fails();
        assert!(leftovers_of(&c).is_empty(), "{inject}: {:#?}", leftovers_of(&c));
    }
}

#[test]
fn create_whose_last_word_cannot_be_sent_leaves_nothing() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::sleeper().container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let create = ["create", "--bundle", &bundle, &c.id];
    let trace = c.bundle.dir().join("trace");
    let path = trace.to_str().unwrap();
    injected(&c, &["-o", path, "-e", "trace=sendmsg"], "sendmsg:delay_enter=1", &create).run().ok();
    c.call(["delete", "--force", &c.id]).run().ok();
    let sent = fs::read_to_string(&trace).unwrap().matches("sendmsg(").count();
    assert!(sent > 0);
    let inject = format!("sendmsg:error=ENOMEM:when={sent}");
    injected(&c, &[], &inject, &create).run().fails();
    assert!(leftovers_of(&c).is_empty(), "{:#?}", leftovers_of(&c));
}

/// The call of a caller who ignores that signal.
fn ignoring(mut call: std::process::Command, signal: libc::c_int) -> std::process::Command {
    let ignore = move || {
        // SAFETY: no memory is involved.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
        Ok(())
    };
    // SAFETY: signal(2) may be called between fork and exec.
    unsafe { call.pre_exec(ignore) };
    call
}

fn plain(c: &Container, args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(&runtime().path);
    command.args(c.global()).args(args).stdin(std::process::Stdio::null());
    command
}

#[test]
fn a_caller_who_ignores_the_end_of_children_gets_exit_codes() {
    let hook = Bundle::sh("exit 7");
    let script = hook.script("hook", "exit 0");
    let hooks = serde_json::json!([{"path": script}]);
    let c = hook.set("/hooks/createRuntime", hooks.clone()).set("/hooks/poststop", hooks);
    let c = c.container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let run = ignoring(plain(&c, &["run", "--bundle", &bundle, &c.id]), libc::SIGCHLD).output();
    assert_eq!(run.as_ref().unwrap().status.code(), Some(7), "{run:?}");
    assert!(leftovers_of(&c).is_empty(), "{:#?}", leftovers_of(&c));

    let c = Bundle::server().container().up_and_ready();
    let exec = plain(&c, &["exec", &c.id, "sh", "-c", "exit 7"]);
    let out = ignoring(exec, libc::SIGCHLD).output().unwrap();
    assert_eq!(out.status.code(), Some(7), "{out:?}");
    needs!(is_pinnace(), "pinnace");
    let exec = plain(&c, &["exec", &c.id, "cat", "/proc/self/status"]);
    let out = ignoring(exec, libc::SIGCHLD).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(!ignores(&text, libc::SIGCHLD), "{text}");
    assert!(!ignores(c.exec(["cat", "/proc/self/status"]).ok(), libc::SIGCHLD));
}

/// Whether the process of that `/proc/PID/status` ignores a signal.
fn ignores(status: &str, signal: libc::c_int) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 << (signal - 1) != 0
}

#[test]
fn a_caller_s_limit_of_file_sizes_is_an_error_and_not_a_death() {
    needs!(is_pinnace(), "pinnace");
    let c = Bundle::sleeper().container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let words = format!(
        "ulimit -f 0; exec \"$0\" --root {} create -b {bundle} {}",
        c.root().display(),
        c.id
    );
    let out = Call::new("/bin/sh").args(["-c", &words]).args([&runtime().path]).run();
    // Not even the message can be written to a file.
    assert_eq!(out.code, 1, "{out:?}");
    assert!(leftovers_of(&c).is_empty(), "{:#?}", leftovers_of(&c));
    let c = Bundle::server().container().up_and_ready();
    assert!(!ignores(c.exec(["cat", "/proc/self/status"]).ok(), libc::SIGXFSZ));
}

#[test]
fn an_alarm_that_is_pending_does_not_end_the_wait_for_a_lock() {
    needs!(is_pinnace(), "pinnace");
    let c = Bundle::sleeper().container();
    c.create().ok();
    let dir = fs::File::open(c.root().join(&c.id)).unwrap();
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut command = plain(&c, &["start", &c.id]);
    let block_and_raise = || {
        // SAFETY: plain data, for which zero is valid.
        let mut alarm = unsafe { std::mem::zeroed() };
        // SAFETY: the set lives until the call returns.
        unsafe { libc::sigemptyset(&raw mut alarm) };
        // SAFETY: as above.
        unsafe { libc::sigaddset(&raw mut alarm, libc::SIGALRM) };
        // SAFETY: as above; the old mask is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const alarm, std::ptr::null_mut()) };
        // SAFETY: no memory is involved.
        unsafe { libc::raise(libc::SIGALRM) };
        Ok(())
    };
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(block_and_raise) };
    let mut start = command.spawn().unwrap();
    let pid = Pid::from_child(&start);
    until("start waits for the lock", || {
        sleeps_in(pid, "lock") || start.try_wait().unwrap().is_some()
    });
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::Unlock).unwrap();
    assert!(exits(pid));
    assert!(start.wait().unwrap().success());
    assert_eq!(c.status(), "running");
}

#[test]
fn a_program_that_cannot_know_whether_it_is_sealed_does_not_start_itself_for_ever() {
    needs!(is_pinnace(), "pinnace");
    for (call, errno, works) in [
        (libc::SYS_statx, libc::ENOSYS, true),
        (libc::SYS_statx, libc::EPERM, true),
        (libc::SYS_statx, libc::EIO, true),
        (libc::SYS_fstatfs, libc::EPERM, false),
        (libc::SYS_execveat, libc::EPERM, false),
        (libc::SYS_open_tree, libc::ENOSYS, true),
        (libc::SYS_mount_setattr, libc::EPERM, true),
    ] {
        let c = Bundle::new(["true"]).container();
        let bundle = c.bundle.path().to_str().unwrap().to_owned();
        let fails = Lacks { call, argument: 0, mask: 0, value: 0, errno };
        let begun = Instant::now();
        let out = c.call(["create", "--bundle", &bundle, &c.id]);
        let out = out.output_to(c.log("stdout"), c.log("stderr")).without(&[fails]).run();
        let out = soon(begun, out);
        // Where it goes on, the container may want the call as well.
        let sealed = !c.stderr().contains("sealed");
        assert_eq!(sealed, works, "{call}: {out:?} {}", c.stderr());
        assert!(out.code <= 1, "{call}: {out:?} {}", c.stderr());
    }
    // The memfd's way, too.
    let c = Bundle::new(["true"]).container();
    let one = |call, argument, value, errno| Lacks { call, argument, mask: !0, value, errno };
    let seals = [
        Lacks { mask: 0, value: 0, ..one(libc::SYS_statx, 0, 0, libc::ENOSYS) },
        one(libc::SYS_fcntl, 1, 1034, libc::EINVAL),
    ];
    let begun = Instant::now();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let out = c.call(["create", "--bundle", &bundle, &c.id]).without(&seals).run();
    soon(begun, out).fails_with(&["sealed"]);
}

#[test]
fn exec_in_a_container_that_ends_meanwhile_says_that_it_does_not_run() {
    needs!(is_pinnace(), "pinnace");
    for call in [libc::SYS_setns, libc::SYS_fchdir, libc::SYS_setsid, libc::SYS_clone] {
        let c = Bundle::server().container().up_and_ready();
        let exec = c.call(["exec", &c.id, "true"]).held_at(&[call], || true);
        c.stop();
        exec.go_on().fails_with(&["container not running"]);
    }
}

#[test]
fn start_of_a_container_that_ends_meanwhile_says_that_it_does_not_run() {
    needs!(is_pinnace(), "pinnace");
    for call in [libc::SYS_connect, libc::SYS_sendto, libc::SYS_sendmsg] {
        let c = Bundle::sleeper().container();
        c.create().ok();
        let start = c.call(["start", &c.id]).held_at(&[call], || true);
        c.stop();
        start.go_on().fails_with(&["container not running", "a container that has stopped"]);
    }
}

/// An empty directory that nobody holds is what a killed `create` leaves: a `delete` removes it.
#[test]
fn a_create_whose_empty_directory_is_deleted_makes_it_again() {
    needs!(is_pinnace(), "pinnace");
    let c = Bundle::sleeper().container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let dir = c.root().join(&c.id);
    let create = c.call(["create", "--bundle", &bundle, &c.id]);
    let create = create.output_to(c.log("stdout"), c.log("stderr"));
    let create = create.held_at(&[libc::SYS_open, libc::SYS_openat], move || dir.exists());
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(!c.root().join(&c.id).exists());
    create.go_on().ok();
    assert_eq!(c.status(), "created", "{}", c.stderr());
}

/// Its startContainer hook says that it has begun, and waits for a word at `/ready`.
fn with_a_hook_that_waits() -> Container {
    let hook = "#!/bin/sh\necho > /began\nread go < /ready\n";
    let c = Bundle::sleeper().file("hook", hook);
    fs::set_permissions(c.rootfs("hook"), fs::Permissions::from_mode(0o755)).unwrap();
    let hooks = serde_json::json!([{"path": "/hook"}]);
    c.set("/hooks/startContainer", hooks).container()
}

/// A connection that init has not accepted when it stops to listen.
#[test]
fn start_that_connects_while_init_hears_another_one_says_so_at_once() {
    needs!(is_pinnace(), "pinnace");
    let c = with_a_hook_that_waits();
    c.create().ok();
    let init = c.pid();
    kill_process(init, Signal::STOP).unwrap();
    until("init stops", || status_letter(init) == 'T');
    let starts = [0, 1].map(|_| {
        let start = c.call(["start", &c.id]).spawn();
        until("start waits for init", || sleeps_in(start.pid(), "poll"));
        start
    });
    let begun = Instant::now();
    kill_process(init, Signal::CONT).unwrap();
    let [first, second] = starts;
    second.wait().fails_with(&["it is being started"]);
    let needed = begun.elapsed();
    assert!(needed < Duration::from_millis(900), "{needed:?}: it has waited for init's end");
    until("the hook runs", || c.bundle.rootfs("began").exists());
    fs::write(c.bundle.rootfs("ready"), "go\n").unwrap();
    first.wait().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn start_whose_word_cannot_be_sent_ends_init_before_it_says_so() {
    needs!(has_strace(), "pinnace and strace");
    let c = Bundle::sleeper().container();
    c.create().ok();
    injected(&c, &[], "sendmsg:error=ENOMEM", &["start", &c.id]).run().fails();
    assert_eq!(c.status(), "stopped");
}

/// A hook without a timeout gives others no lock to wait for, and who comes second is told
/// at once, so that nobody waits for them either.
#[test]
fn two_starts_at_once_are_one_start_whatever_becomes_of_the_first() {
    needs!(is_pinnace(), "pinnace");
    for killed in [false, true] {
        let c = with_a_hook_that_waits();
        c.create().ok();
        let mut first = Some(c.call(["start", &c.id]).spawn());
        until("the hook runs", || c.bundle.rootfs("began").exists());
        if killed {
            drop(first.take());
        }
        let begun = Instant::now();
        c.start().fails_with(&["it is being started"]);
        let needed = begun.elapsed();
        assert!(needed < Duration::from_millis(900), "{needed:?}: it has waited for init's end");
        assert_eq!(c.status(), "created");
        let init = c.pid();
        fs::write(c.bundle.rootfs("ready"), "go\n").unwrap();
        if let Some(first) = first {
            first.wait().ok();
        }
        let program = format!("/proc/{}/cmdline", init.as_raw_nonzero());
        until("the program runs", || fs::read(&program).unwrap().starts_with(b"sleep"));
        assert_eq!(c.status(), "running");
    }
}
