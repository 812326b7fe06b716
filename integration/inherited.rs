//! What the caller leaves us: dispositions and masks of signals, a umask, a variable of a
//! supervisor that has gone, a terminal whose reader has stopped. The container's process is the
//! same whoever calls.

use crate::harness::{
    Bundle, Call, Container, Lacks, Output, Running, Terminal, deviates, exits, is_pinnace, json,
    runtime, until,
};
use rustix::process::{Signal, kill_process};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

/// A call whose caller env(1) has bent by these options.
fn by_env(c: &Container, options: &[&str], args: &[&str]) -> Call {
    Call::new("/usr/bin/env")
        .args(options)
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(args)
}

/// A call whose caller has that umask.
fn by_umask(c: &Container, umask: &str, args: &[&str]) -> Call {
    Call::new("/bin/sh")
        .args(["-c", "umask \"$0\"; exec \"$@\"", umask])
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(args)
}

fn bundle_of(c: &Container) -> String {
    c.bundle.path().to_str().unwrap().to_owned()
}

/// What the container prints: of `run`, of `create` and `start`, and of `exec`.
fn three_ways(program: &[&str], call: impl Fn(&Container, &[&str]) -> Call) -> [String; 3] {
    let bundle = || Bundle::sleeper().set("/process/args", json!(program));
    let c = bundle().container();
    let run = call(&c, &["run", "--bundle", &bundle_of(&c), &c.id]).run().ok().to_owned();
    let c = bundle().container();
    let logs = |call: Call| call.output_to(c.log("stdout"), c.log("stderr"));
    logs(call(&c, &["create", "--bundle", &bundle_of(&c), &c.id])).run().ok();
    let pid = c.pid();
    call(&c, &["start", &c.id]).run().ok();
    assert!(exits(pid));
    let created = c.stdout();
    let c = Bundle::sleeper().container().up();
    let exec = call(&c, &[&["exec", &c.id], program].concat()).run().ok().to_owned();
    [run, created, exec]
}

/// A mask of `/proc/PID/status`.
fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

#[test]
fn no_container_ignores_what_its_caller_ignores() {
    for option in [
        "--ignore-signal",
        "--ignore-signal=CHLD",
        "--ignore-signal=HUP,INT,QUIT,PIPE,TERM,USR1,XFSZ,TSTP",
    ] {
        let all = three_ways(&["cat", "/proc/self/status"], |c, args| by_env(c, &[option], args));
        for status in all {
            // Those below 64 that a C library keeps for itself, runc leaves.
            let own = if is_pinnace() { 0 } else { 0b111 << 31 };
            assert_eq!(mask(&status, "SigIgn:") & !own, 0, "{option}: {status}");
        }
    }
}

#[test]
fn a_container_blocks_what_its_caller_blocks() {
    const USR1: u64 = 1 << (libc::SIGUSR1 - 1);
    let options = ["--block-signal=USR1"];
    for status in three_ways(&["cat", "/proc/self/status"], |c, args| by_env(c, &options, args)) {
        assert_eq!(mask(&status, "SigBlk:"), USR1, "{status}");
    }
}

/// Hooks run as the container does, but for the mask: nobody unblocks a signal for them.
#[test]
fn hooks_have_default_dispositions_and_no_signal_blocked() {
    let bundle = Bundle::sleeper();
    let file = bundle.dir().join("hooks");
    let mut hooks = json!({});
    for kind in
        ["createRuntime", "createContainer", "startContainer", "poststart", "poststop", "prestart"]
    {
        // That one writes into the container's root.
        let to = if kind == "startContainer" { Path::new("/hooks") } else { &file };
        let script =
            format!("grep -h 'Sig[IB]' /proc/self/status | sed 's/^/{kind} /' >> {}", to.display());
        hooks[kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/bin:/usr/bin"]}]);
    }
    let c = bundle.set("/hooks", hooks).container();
    let options = ["--ignore-signal", "--block-signal=USR1"];
    let call = |args: &[&str]| {
        by_env(&c, &options, args).output_to(c.log("stdout"), c.log("stderr")).run().ok();
    };
    call(&["create", "--bundle", &bundle_of(&c), &c.id]);
    call(&["start", &c.id]);
    call(&["delete", "--force", &c.id]);
    deviates!(["runc", "crun"], "hooks have the caller's dispositions, or its mask");
    let inside = fs::read_to_string(c.bundle.rootfs("hooks")).unwrap();
    let outside = fs::read_to_string(file).unwrap();
    assert_eq!(inside.lines().count() + outside.lines().count(), 12);
    for line in inside.lines().chain(outside.lines()) {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
}

#[test]
fn a_caller_who_ignores_the_end_of_children_is_told_all_the_same() {
    let ignoring = |c: &Container, args: &[&str]| by_env(c, &["--ignore-signal=CHLD"], args);
    let c = Bundle::sh("exit 7").container();
    assert_eq!(ignoring(&c, &["run", "--bundle", &bundle_of(&c), &c.id]).run().code, 7);
    let c = Bundle::sleeper().container().up();
    assert_eq!(ignoring(&c, &["exec", &c.id, "sh", "-c", "exit 7"]).run().code, 7);
    let out = ignoring(&c, &["ps", &c.id]).run();
    assert!(out.ok().contains("sleep 1000"), "{out:?}");
    let hooks = Bundle::sleeper();
    let hook = json!([{"path": hooks.script("hook", "exit 0")}]);
    let c = hooks
        .set("/hooks/createRuntime", hook.clone())
        .set("/hooks/poststart", hook.clone())
        .set("/hooks/poststop", hook)
        .container();
    for args in [
        &["create", "--bundle", &bundle_of(&c), &c.id][..],
        &["start", &c.id],
        &["delete", "--force", &c.id],
    ] {
        let call = ignoring(&c, args).output_to(c.log("stdout"), c.log("stderr"));
        assert_eq!((call.run().code, c.stderr().as_str()), (0, ""), "{args:?}");
    }
}

/// Also of a copy of the program, which it makes of itself where statx(2) is denied.
#[test]
fn under_nohup_a_hangup_reaches_nobody() {
    let statx = libc::SYS_statx;
    let lacks = Lacks { call: statx, argument: 0, mask: 0, value: 0, errno: libc::EPERM };
    for lacking in [&[][..], &[lacks]] {
        let program = "trap 'exit 9' HUP; trap 'exit 3' TERM; echo > /ready; sleep 1000 & wait";
        let c = Bundle::sh(program).container();
        let run = by_env(&c, &["--ignore-signal=HUP"], &["run", "--bundle", &bundle_of(&c), &c.id]);
        let run = run.without(lacking).spawn();
        c.wait_ready();
        kill_process(run.pid(), Signal::HUP).unwrap();
        deviates!(["runc", "crun"], "the hangup is passed on");
        kill_process(run.pid(), Signal::TERM).unwrap();
        assert_eq!(run.wait().code, 3);
    }
}

#[test]
fn r104_umask_unset_is_0022_in_a_container_and_the_callers_in_exec() {
    for umask in ["0000", "0077", "0037"] {
        let all = three_ways(&["sh", "-c", "umask"], |c, args| by_umask(c, umask, args));
        let exec = format!("{umask}\n");
        assert_eq!(all, ["0022\n", "0022\n", exec.as_str()], "of a caller with {umask}");
    }
    // As a build daemon runs a step of a Dockerfile.
    let c = Bundle::sh("touch /f; mkdir /d; stat -c %a /f /d").container();
    let out = by_umask(&c, "0", &["run", "--bundle", &bundle_of(&c), &c.id]).run();
    assert_eq!(out.ok(), "644\n755\n");
}

#[test]
fn a_stale_notify_socket_is_a_warning() {
    deviates!(["runc", "crun"], "the container is not started");
    let bundle = Bundle::new(["true"]);
    let at = |name: &str| bundle.dir().join(name).to_str().unwrap().to_owned();
    fs::write(at("file"), "").unwrap();
    fs::create_dir(at("directory")).unwrap();
    drop(UnixDatagram::bind(at("dead")).unwrap());
    let _stream = UnixListener::bind(at("stream")).unwrap();
    let stale = [
        at("missing"),
        at("missing/too"),
        at("file"),
        at("directory"),
        at("dead"),
        at("stream"),
        at(&"long".repeat(50)),
        format!("@{}", bundle.id),
        "relative".into(),
        "vsock:2:9".into(),
        "x".into(),
    ];
    let c = bundle.container();
    let one_warning = |out: &Output, socket: &str| {
        let is_clear =
            out.stderr.contains("warning: NOTIFY_SOCKET") && out.stderr.lines().count() == 1;
        assert!(out.code == 0 && is_clear, "{socket}: {out:?}");
    };
    for socket in &stale {
        let run = c.call(["run", "--bundle", &bundle_of(&c), &c.id]).env("NOTIFY_SOCKET", socket);
        one_warning(&run.run(), socket);
        let call = |args: &[&str]| c.call([]).args(args).env("NOTIFY_SOCKET", socket);
        let create = call(&["create", "--bundle", &bundle_of(&c), &c.id]);
        create.output_to(c.log("stdout"), c.log("stderr")).run().ok();
        one_warning(&call(&["start", &c.id]).run(), socket);
        c.call(["delete", "--force", &c.id]).run().ok();
    }
}

/// What a caller has inherited itself is for another process.
#[test]
fn variables_for_another_process_are_passed_over() {
    let c = Bundle::sh("echo \"[$LISTEN_FDS]\"").container();
    let listen = ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"];
    let out = by_env(&c, &listen, &["run", "--bundle", &bundle_of(&c), &c.id]).run();
    deviates!("crun", "the pid is not looked at");
    assert_eq!(out.ok(), "[]\n");
    let copied = ["PINNACE_COPIED=1"];
    by_env(&c, &copied, &["run", "--bundle", &bundle_of(&c), &c.id]).run().ok();
    // A hook that calls the runtime has the variables of the runtime that runs it.
    let again = Bundle::sleeper();
    let call = format!(
        "{} --root {} run --bundle {} {} > {}/said 2>&1",
        runtime().path.display(),
        c.root().display(),
        bundle_of(&c),
        c.id,
        again.dir().display()
    );
    let hook = json!([{"path": again.script("hook", &call)}]);
    let said = again.dir().join("said");
    let outer = again.set("/hooks/poststart", hook).container();
    outer.run_detached().ok();
    assert_eq!(fs::read_to_string(said).unwrap(), "[]\n");
}

/// A runtime in the foreground whose output nobody reads.
fn unread(c: &Container, args: &[&str]) -> (Running, OwnedFd) {
    let (reader, writer) = full_pipe();
    (c.call([]).args(args).output_to(writer, c.log("stderr")).spawn(), reader)
}

/// A pipe that takes nothing more, and its reader.
fn full_pipe() -> (OwnedFd, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader.into(), writer)
}

/// What prints so much that some of it is left in the container's terminal.
fn printing(bytes: usize) -> String {
    format!("head -c {bytes} /dev/zero | tr '\\0' x; exit 3")
}

/// Whether SIGTERM ends it, with the exit status of the container.
#[track_caller]
fn is_ended(run: Running, code: i32) {
    let begin = Instant::now();
    kill_process(run.pid(), Signal::TERM).unwrap();
    let out = run.wait();
    assert!(begin.elapsed() < Duration::from_secs(10), "it takes {:?}", begin.elapsed());
    assert_eq!(out.code, code, "{out:?}");
}

/// Waits until that process sleeps, and goes on to.
fn until_it_sleeps(run: &Running) {
    let stat = format!("/proc/{}/stat", run.pid().as_raw_pid());
    let mut quiet = 0;
    until("it waits for its reader", || {
        let stat = fs::read_to_string(&stat).unwrap();
        let sleeps = stat.rsplit(')').next().unwrap().trim_start().starts_with('S');
        quiet = if sleeps { quiet + 1 } else { 0 };
        quiet > 50
    });
}

fn with_terminal(script: &str) -> Container {
    Bundle::sh(script).set("/process/terminal", json!(true)).container()
}

/// More than the user's terminal holds, less than that and the container's own together.
const TERMINAL: usize = 16_000;
/// Less than the container's terminal holds.
const PIPE: usize = 2000;

#[test]
fn a_run_whose_terminal_nobody_reads_can_be_ended_once_its_container_has() {
    deviates!(["runc", "crun"], "deaf, or gone with its container");
    let terminal = Terminal::new(24, 80);
    let c = with_terminal(&printing(TERMINAL));
    let global = c.global();
    let global: Vec<_> = global.iter().map(String::as_str).collect();
    let bundle = bundle_of(&c);
    let args = [&global[..], &["run", "--bundle", &bundle, &c.id]].concat();
    let run = terminal.call(&runtime().path, &args).spawn();
    until("the container runs", || c.call(["state", &c.id]).run().code == 0);
    until("the container ends", || c.status() == "stopped");
    until_it_sleeps(&run);
    is_ended(run, 3);
}

#[test]
fn a_run_whose_terminal_nobody_reads_passes_signals_on() {
    deviates!(["runc", "crun"], "deaf, or gone with its container");
    let terminal = Terminal::new(24, 80);
    let c = with_terminal("trap 'exit 3' TERM; echo > /ready; yes & wait");
    let global = c.global();
    let global: Vec<_> = global.iter().map(String::as_str).collect();
    let bundle = bundle_of(&c);
    let args = [&global[..], &["run", "--bundle", &bundle, &c.id]].concat();
    let run = terminal.call(&runtime().path, &args).spawn();
    c.wait_ready();
    until_it_sleeps(&run);
    is_ended(run, 3);
}

#[test]
fn a_run_whose_pipe_nobody_reads_can_be_ended() {
    deviates!(["runc", "crun"], "deaf, or gone with its container");
    let c = with_terminal(&printing(PIPE));
    let (run, _reader) = unread(&c, &["run", "--bundle", &bundle_of(&c), &c.id]);
    until("the container runs", || c.call(["state", &c.id]).run().code == 0);
    until("the container ends", || c.status() == "stopped");
    until_it_sleeps(&run);
    is_ended(run, 3);
    let c = with_terminal("trap 'exit 3' TERM; echo > /ready; yes & wait");
    let (run, _reader) = unread(&c, &["run", "--bundle", &bundle_of(&c), &c.id]);
    c.wait_ready();
    until_it_sleeps(&run);
    is_ended(run, 3);
}

#[test]
fn an_exec_whose_output_nobody_reads_can_be_ended() {
    deviates!(["runc", "crun"], "deaf, or gone with its container");
    let c = Bundle::sleeper().container().up();
    let script = printing(PIPE);
    let (exec, _reader) = unread(&c, &["exec", "--tty", &c.id, "sh", "-c", &script]);
    until("its process ends", || {
        let table = c.call(["ps", &c.id]).run();
        !table.ok().contains("head -c")
    });
    until_it_sleeps(&exec);
    is_ended(exec, 3);
    let script = "trap 'exit 3' TERM; echo > /ready; yes & wait";
    let (exec, _reader) = unread(&c, &["exec", "--tty", &c.id, "sh", "-c", script]);
    c.wait_ready();
    until_it_sleeps(&exec);
    is_ended(exec, 3);
    // As on a terminal.
    let terminal = Terminal::new(24, 80);
    let global = c.global();
    let global: Vec<_> = global.iter().map(String::as_str).collect();
    let args = [&global[..], &["exec", "--tty", &c.id, "sh", "-c", script]].concat();
    let exec = terminal.call(&runtime().path, &args).spawn();
    c.wait_ready();
    until_it_sleeps(&exec);
    is_ended(exec, 3);
}

/// Signals are blocked while a container is made: a message must not wait for a reader.
#[test]
fn an_error_that_nobody_reads_keeps_nobody_waiting() {
    deviates!(["runc", "crun"], "they wait, as most programs do");
    let c = Bundle::new(["/no/such/program"]).container();
    let (reader, writer) = full_pipe();
    let begin = Instant::now();
    let call = c.call(["create", "--bundle", &bundle_of(&c), &c.id]);
    let out = call.output_to(c.log("stdout"), writer).run();
    assert_eq!(out.code, 1, "{out:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
    drop(reader);
}

/// A filter under which keyctl(2) fails so.
fn keyctl(errno: i32) -> [Lacks; 1] {
    [Lacks { call: libc::SYS_keyctl, argument: 0, mask: 0, value: 0, errno }]
}

#[test]
fn keyrings_that_cannot_be_had_can_be_done_without() {
    for (errno, words) in [(libc::EPERM, "--no-new-keyring"), (libc::EDQUOT, "maxkeys")] {
        let c = Bundle::new(["true"]).container();
        let bundle = bundle_of(&c);
        for verb in ["create", "run"] {
            let out = c.call([verb, "--bundle", &bundle, &c.id]).without(&keyctl(errno)).run();
            out.fails_with(&["keyctl", "session key"]);
            deviates!(["runc", "crun"], "no hint");
            out.fails_with(&[words]);
            out.fails_with(&["--no-new-keyring"]);
            assert_eq!((out.code, out.stderr.lines().count()), (1, 1), "{out:?}");
        }
        let c = Bundle::sleeper().container().up();
        let out = c.call(["exec", &c.id, "true"]).without(&keyctl(errno)).run();
        out.fails_with(&["--no-new-keyring"]);
        assert_eq!((out.code, out.stderr.lines().count()), (255, 1), "{out:?}");
    }
    let c = Bundle::sleeper().container();
    let create = ["create", "--no-new-keyring", "--bundle", &bundle_of(&c), &c.id];
    let create = c.call(create).without(&keyctl(libc::EPERM));
    create.output_to(c.log("stdout"), c.log("stderr")).run().ok();
    c.call(["start", &c.id]).without(&keyctl(libc::EPERM)).run().ok();
    c.call(["exec", &c.id, "true"]).without(&keyctl(libc::EPERM)).run().ok();
    // A kernel without keyrings has none to hide.
    let c = Bundle::new(["true"]).container();
    let run = c.call(["run", "--bundle", &bundle_of(&c), &c.id]).without(&keyctl(libc::ENOSYS));
    run.run().ok();
}

#[test]
fn a_configuration_that_does_not_fit_on_the_disk_is_an_error() {
    deviates!(["runc", "crun"], "their spec leaves half a file");
    let dir = crate::harness::directory();
    let script = "mount -t tmpfs -o size=8k t \"$0\" && cd \"$0\" && \n                  head -c 8192 /dev/zero > full; exec \"$1\" spec";
    let full = Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
        .args([dir.path().as_os_str(), runtime().path.as_os_str()])
        .run();
    full.fails_with(&["write config.json"]);
    assert!(is_pinnace() && full.stderr.lines().count() == 1, "{full:?}");
}
