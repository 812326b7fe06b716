//! Terminals: handed out through a socket, relayed in the foreground, resized;
//! and signals to a foreground runtime.

use crate::harness::{
    Bundle, Call, Container, FdSocket, Output, Terminal, deviates, json, read_all, read_until,
    runtime, wait_for,
};
use rustix::event::PollFlags;
use rustix::process::Signal;
use rustix::termios::{isatty, tcgetwinsize};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

fn with_terminal(script: &str) -> Bundle {
    Bundle::sh(script).set("/process/terminal", json!(true))
}

/// `create --console-socket`; the master that came through it.
fn create(c: &Container) -> (OwnedFd, String) {
    let socket = FdSocket::new(c.bundle.dir());
    let (bundle, path) = (c.bundle.path(), socket.path.clone());
    let bundle = bundle.to_str().unwrap();
    let path = path.to_str().unwrap();
    let create = c.call(["create", "--bundle", bundle, "--console-socket", path, &c.id]).spawn();
    let master = socket.receive();
    create.wait().ok();
    master
}

#[test]
fn r080_r330_r461_console_socket_receives_the_master() {
    let c = with_terminal("tty; echo hello; test -t 0 && test -t 1 && test -t 2 && echo all")
        .container();
    let (master, name) = create(&c);
    assert!(isatty(&master));
    assert!(!name.is_empty(), "the name goes as data");
    c.start().ok();
    assert_eq!(read_all(&master), "/dev/pts/0\nhello\nall\n");
}

#[test]
fn r080_the_terminal_controls_the_session() {
    let c = with_terminal(
        "trap 'echo interrupted; exit' INT; echo ready; while :; do sleep 1000 & wait; done",
    )
    .container();
    let (master, _) = create(&c);
    c.start().ok();
    read_until(&master, "ready");
    rustix::io::write(&master, b"\x03").unwrap();
    read_until(&master, "interrupted");
}

#[test]
fn r080_typed_text_arrives() {
    let c = with_terminal("read line; echo \"got $line\"").container();
    let (master, _) = create(&c);
    c.start().ok();
    rustix::io::write(&master, b"hi\n").unwrap();
    read_until(&master, "got hi");
}

#[test]
fn r081_console_size() {
    let c = with_terminal("stty size")
        .set("/process/consoleSize", json!({"height": 25, "width": 81}))
        .container();
    let (master, _) = create(&c);
    let size = tcgetwinsize(&master).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (25, 81));
    c.start().ok();
    assert_eq!(read_all(&master), "25 81\n");
}

#[test]
fn r081_console_size_is_ignored_without_a_terminal() {
    for size in [
        json!({"height": 25, "width": 81}),
        json!({"height": 65536, "width": 4_294_967_295_u32}),
        json!({"height": 1}),
        json!({}),
    ] {
        let out =
            Bundle::sh("test -t 0 || echo none").set("/process/consoleSize", size.clone()).run();
        assert_eq!(out.ok(), "none\n", "{size}");
        let unset = Bundle::sh("test -t 0 || echo none").unset("/process", "terminal");
        let c = unset.set("/process/consoleSize", size.clone()).container();
        assert_eq!(c.run().ok(), "none\n", "{size}");
        let mut process = c.bundle.config()["process"].clone();
        process["args"] = json!(["echo", "no terminal"]);
        let file = c.bundle.dir().join("process.json");
        std::fs::write(&file, process.to_string()).unwrap();
        let c = Bundle::sleeper().container().up();
        let out = c.exec_with(["--process", file.to_str().unwrap()], []);
        assert_eq!(out.ok(), "no terminal\n", "{size}");
    }
}

#[test]
fn r081_console_size_that_no_terminal_has() {
    deviates!(["runc", "crun"], "R081: not checked");
    for (size, word) in [
        (json!({"height": 65536, "width": 1}), "process.consoleSize.height"),
        (json!({"height": 1}), "process.consoleSize.width"),
    ] {
        let c = with_terminal("true").set("/process/consoleSize", size).container();
        c.run().fails_with(&[word]);
    }
}

#[test]
fn r154_dev_console_is_the_terminal() {
    let c = with_terminal("echo by name > /dev/console; stat -c %t /dev/console").container();
    let (master, _) = create(&c);
    c.start().ok();
    assert_eq!(read_all(&master), "by name\n88\n", "major of pts, in hex");
}

#[test]
fn r154_no_dev_console_without_a_terminal() {
    let out = Bundle::sh("test -e /dev/console || echo none").run();
    assert_eq!(out.ok(), "none\n");
}

#[test]
fn r080_the_terminal_belongs_to_the_user() {
    let c = with_terminal("stat -L -c %u /proc/self/fd/0; echo mine > /dev/tty")
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .container();
    let (master, _) = create(&c);
    c.start().ok();
    assert_eq!(read_all(&master), "1000\nmine\n");
}

#[test]
fn r080_the_terminal_in_a_user_namespace() {
    let c = with_terminal("echo by name > /dev/console; stat -L -c %u /proc/self/fd/0")
        .user_namespace()
        .container();
    let (master, _) = create(&c);
    c.start().ok();
    assert_eq!(read_all(&master), "by name\n0\n");
}

#[test]
fn r330_create_wants_a_console_socket_for_a_terminal() {
    let c = with_terminal("true").container();
    c.create().fails_with(&["console"]);
    c.run_detached().fails_with(&["console"]);
}

#[test]
fn r330_a_console_socket_without_a_terminal_is_refused() {
    let c = Bundle::sh("true").container();
    let socket = FdSocket::new(c.bundle.dir());
    let (bundle, path) = (c.bundle.path(), socket.path.clone());
    let flags = ["create", "-b", bundle.to_str().unwrap(), "--console-socket"];
    let [a, b, d, e] = flags;
    let out = c.detached([a, b, d, e, path.to_str().unwrap(), &c.id]);
    deviates!("crun", "R330: the socket is ignored");
    out.fails_with(&["console socket"]);
}

#[test]
fn r330_a_console_socket_that_nobody_serves() {
    let c = with_terminal("true").container();
    let bundle = c.bundle.path();
    let flags = ["create", "-b", bundle.to_str().unwrap(), "--console-socket", "/no/such/socket"];
    let [a, b, d, e, f] = flags;
    c.detached([a, b, d, e, f, &c.id]).fails();
}

/// `run` in the foreground of a terminal.
fn run_on(terminal: &Terminal, c: &Container) -> crate::harness::Running {
    let (root, bundle) = (c.root(), c.bundle.path());
    let args = ["--root", root.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), &c.id];
    terminal.call(&runtime().path, &args).spawn()
}

#[test]
fn r080_r461_foreground_run_relays_the_terminal() {
    let terminal = Terminal::new(24, 80);
    let c =
        with_terminal("test -t 0 && echo ready; read line; echo \"got $line\"; exit 3").container();
    let run = run_on(&terminal, &c);
    read_until(&terminal.master, "ready");
    rustix::io::write(&terminal.master, b"hi\n").unwrap();
    read_until(&terminal.master, "got hi");
    assert_eq!(run.wait().code, 3);
}

#[test]
fn r080_the_size_is_there_before_the_program_starts() {
    deviates!(["runc", "crun"], "R080: the size is set while the program already runs");
    let terminal = Terminal::new(30, 90);
    let c = with_terminal("stty size").container();
    let run = run_on(&terminal, &c);
    read_until(&terminal.master, "30 90");
    run.wait().ok();
}

#[test]
fn r340_the_size_follows_the_users_terminal() {
    let terminal = Terminal::new(30, 90);
    let script = "is() { until [ \"$(stty size 2>/dev/null)\" = \"$1\" ]; do sleep 0.02; done; }; \
                  is '30 90'; echo ready; is '33 99'; echo resized";
    let c = with_terminal(script).container();
    let run = run_on(&terminal, &c);
    read_until(&terminal.master, "ready");
    terminal.resize(33, 99);
    read_until(&terminal.master, "resized");
    run.wait().ok();
}

#[test]
fn r349_exec_with_a_terminal() {
    let c = Bundle::sleeper().container().up();
    let socket = FdSocket::new(c.bundle.dir());
    let path = socket.path.to_str().unwrap();
    let exec = c.call(["exec", "--tty", "--console-socket", path, "-d", &c.id]);
    let exec = exec.args(["sh", "-c", "test -t 0 && echo yes"]).spawn();
    let (master, _) = socket.receive();
    exec.wait().ok();
    assert_eq!(read_all(&master), "yes\n");
}

#[test]
fn r349_exec_with_the_users_terminal() {
    let terminal = Terminal::new(24, 80);
    let c = Bundle::sleeper().container().up();
    let root = c.root();
    let args = ["--root", root.to_str().unwrap(), "exec", "-t", &c.id];
    let args = [
        &args[..],
        &["sh", "-c", "until stty size 2>/dev/null; do :; done; test -t 0 && echo yes; exit 5"],
    ]
    .concat();
    let exec = terminal.call(&runtime().path, &args).spawn();
    let text = read_until(&terminal.master, "yes");
    assert!(text.contains("24 80"), "{text}");
    assert_eq!(exec.wait().code, 5);
}

#[test]
fn r345_exec_console_size_of_the_process_file() {
    let c = Bundle::sleeper().container().up();
    let mut process = c.bundle.config()["process"].clone();
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({"height": 11, "width": 22});
    process["args"] = json!(["stty", "size"]);
    let file = c.bundle.dir().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let socket = FdSocket::new(c.bundle.dir());
    let path = socket.path.to_str().unwrap();
    let exec = ["exec", "--process", file.to_str().unwrap(), "--console-socket", path, "-d", &c.id];
    let exec = c.call(exec).spawn();
    let (master, _) = socket.receive();
    exec.wait().ok();
    assert_eq!(read_all(&master), "11 22\n");
}

fn forwarded(signal: Signal, name: &str) -> Output {
    let script =
        format!("trap 'exit 42' {name}; echo > /ready; while :; do sleep 1000 & wait; done");
    let c = Bundle::sh(&script).container();
    let run = c.spawn_run();
    c.wait_ready();
    rustix::process::kill_process(run.pid(), signal).unwrap();
    run.wait()
}

#[test]
fn r340_signals_to_a_foreground_run_reach_init() {
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
        (Signal::QUIT, "QUIT"),
    ] {
        assert_eq!(forwarded(signal, name).code, 42, "{name}");
    }
}

#[test]
fn r331_pidfd_socket_receives_inits_pidfd() {
    let c = Bundle::sleeper().container();
    let socket = FdSocket::new(c.bundle.dir());
    let (bundle, path) = (c.bundle.path(), socket.path.clone());
    let flags = ["create", "-b", bundle.to_str().unwrap(), "--pidfd-socket"];
    let [a, b, d, e] = flags;
    deviates!(["runc", "crun"], "R331: newer than these");
    let create = c.call([a, b, d, e, path.to_str().unwrap(), &c.id]).spawn();
    let (pidfd, _) = socket.receive();
    create.wait().ok();
    rustix::process::pidfd_send_signal(pidfd, Signal::KILL).unwrap();
    c.call(["state", &c.id]).run().ok();
}

#[test]
fn r346_pidfd_socket_of_exec_receives_the_processes_pidfd() {
    let c = Bundle::sleeper().container().up();
    let socket = FdSocket::new(c.bundle.dir());
    let (path, pid_file) = (socket.path.clone(), c.bundle.dir().join("exec.pid"));
    let (path, pid_file) = (path.to_str().unwrap(), pid_file.to_str().unwrap());
    deviates!(["runc", "crun"], "R346: newer than these");
    let exec = ["exec", "-d", "--pidfd-socket", path, "--pid-file", pid_file];
    let [a, b, d, e, f, g] = exec;
    let exec = c.call([a, b, d, e, f, g, &c.id, "sleep", "1000"]).spawn();
    let (pidfd, _) = socket.receive();
    exec.wait().ok();
    let pid: i32 = fs::read_to_string(pid_file).unwrap().parse().unwrap();
    let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = fs::read_to_string(info).unwrap();
    assert!(info.lines().any(|line| line == format!("Pid:\t{pid}")), "{pid}: {info}");
    rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
    assert!(wait_for(&pidfd, PollFlags::IN), "it has not ended");
    assert_eq!(c.status(), "running", "the container's own process is another one");
}

/// The parent of a process that its own parent has left behind.
fn guardian_of_an_orphan(flags: &[&str]) -> (i32, i32) {
    // In the host's pid namespace it does not fall to the container's init.
    let script = "(sleep 1000 & echo $! > /orphan); echo > /ready; exec sleep 1000";
    let c = Bundle::sh(script).without_namespace("pid").container();
    let bundle = c.bundle.path();
    let args: Vec<_> =
        ["run", "--bundle", bundle.to_str().unwrap()].iter().chain(flags).copied().collect();
    let run = c.call([]).args(args).args([&c.id]).spawn();
    c.wait_ready();
    let orphan = fs::read_to_string(c.bundle.rootfs("orphan")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", orphan.trim())).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    let found = (run.pid().as_raw_pid(), parent.parse().unwrap());
    c.kill("KILL").ok();
    run.wait();
    found
}

#[test]
fn r338_run_adopts_orphans_unless_no_subreaper() {
    let (run, guardian) = guardian_of_an_orphan(&[]);
    deviates!("crun", "R338: crun 1.8.1 accepts the option and adopts nobody");
    assert_eq!(guardian, run);
    let (run, guardian) = guardian_of_an_orphan(&["--no-subreaper"]);
    assert_ne!(guardian, run);
}

/// Files, pipes and what is no terminal at all get what the program has printed.
#[test]
fn r080_a_relayed_terminal_keeps_line_feeds_for_a_file_and_for_a_pipe() {
    deviates!(["runc", "crun"], "R080: refused if standard input is no terminal");
    let c = with_terminal("echo one; echo two >&2; printf 'three\\r\\n'; exit 3").container();
    let out = c.run();
    assert_eq!((out.stdout.as_str(), out.code), ("one\ntwo\nthree\r\n", 3), "{out:?}");
    let c = Bundle::sleeper().container().up();
    let out = c.exec_with(["--tty"], ["printf", "a\\nb\\n"]);
    assert_eq!(out.ok(), "a\nb\n");
    let script = "\"$0\" \"$@\" | od -An -c";
    let args =
        [c.global(), ["exec", "-t", &c.id, "echo", "hi"].map(str::to_owned).to_vec()].concat();
    let piped = Call::new("/bin/sh").args(["-c", script]).args([runtime().path.as_os_str()]);
    let seen = piped.args(args).run();
    assert_eq!(seen.ok().split_whitespace().collect::<Vec<_>>(), ["h", "i", "\\n"]);
}

/// With a socket the engine sets the modes: the terminal comes as the kernel makes it.
#[test]
fn r330_a_terminal_that_an_engine_takes_has_the_kernels_modes() {
    let c = with_terminal("stty -a; echo end").container();
    let (master, _) = create(&c);
    c.start().ok();
    let modes = read_all(&master);
    let has = |mode: &str| modes.split_whitespace().any(|word| word == mode);
    assert!(has("onlcr") && has("opost"), "{modes}");
}

/// What a program of the container and a pager beside it print looks as ever.
#[test]
fn r080_r461_on_a_terminal_lines_end_as_there() {
    let terminal = Terminal::new(24, 80);
    let c = with_terminal("echo one; echo two").container();
    let run = run_on(&terminal, &c);
    let mut text = read_until(&terminal.master, "two\r\n");
    assert!(text.contains("one\r\ntwo\r\n") && !text.contains("\r\r"), "{text:?}");
    run.wait().ok();
    // Input from it, output to a pipe to who prints there.
    let c = with_terminal("echo three; echo four").container();
    let (root, bundle) = (c.root(), c.bundle.path());
    let script = "\"$0\" --root \"$1\" run -b \"$2\" \"$3\" | cat";
    let path = runtime().path.to_str().unwrap();
    let (root, bundle) = (root.to_str().unwrap(), bundle.to_str().unwrap());
    let run =
        terminal.call(Path::new("/bin/sh"), &["-c", script, path, root, bundle, &c.id]).spawn();
    text = read_until(&terminal.master, "four\r\n");
    assert!(text.contains("three\r\nfour\r\n") && !text.contains("\r\r"), "{text:?}");
    run.wait().ok();
}

/// The modes of a terminal, as `stty` prints them for itself.
fn modes(terminal: &Terminal) -> String {
    terminal.call(Path::new("/bin/stty"), &["-g"]).run().ok();
    read_until(&terminal.master, "\r\n")
}

#[test]
fn r080_the_users_terminal_has_its_modes_back_in_the_end() {
    for (script, code) in [("exit 3", 3), ("stty raw -echo; exit 4", 4)] {
        let terminal = Terminal::new(24, 80);
        let before = modes(&terminal);
        let c = with_terminal(script).container();
        assert_eq!(run_on(&terminal, &c).wait().code, code, "{script}");
        assert_eq!(modes(&terminal), before, "{script}");
    }
    let terminal = Terminal::new(24, 80);
    let before = modes(&terminal);
    let c = with_terminal("echo up; exec sleep 1000").container();
    let run = run_on(&terminal, &c);
    read_until(&terminal.master, "up\r\n");
    c.kill("KILL").ok();
    assert_eq!(run.wait().code, 137);
    assert_eq!(modes(&terminal), before, "after a kill");
    let c = Bundle::new(["/no/such/program"]).set("/process/terminal", json!(true)).container();
    assert_ne!(run_on(&terminal, &c).wait().code, 0);
    read_until(&terminal.master, "no such file");
    read_until(&terminal.master, "\r\n");
    assert_eq!(modes(&terminal), before, "after a failed run");
}

#[test]
fn r080_input_from_a_pipe_is_typed_and_its_end_is_none_of_the_terminal() {
    deviates!(["runc", "crun"], "R080: refused if standard input is no terminal");
    let script = "read a; read b; echo \"got $a $b\"; sleep 0.1; echo still here; exit 5";
    let c = with_terminal(script).container();
    let path = c.bundle.path().to_str().unwrap().to_owned();
    let out = c.call(["run", "--bundle", &path, &c.id]).stdin("x\ny\n").run();
    assert_eq!(out.code, 5, "{out:?}");
    assert!(out.stdout.ends_with("got x y\nstill here\n"), "{out:?}");
    assert!(!out.stdout.contains('\r'), "{out:?}");
    // None at all: the program goes on, and nobody is busy with it.
    let c = with_terminal("sleep 0.1; echo done").container();
    assert_eq!(c.run().ok(), "done\n");
}

#[test]
fn r080_more_input_and_output_than_a_pipe_holds_is_relayed_whole() {
    deviates!(["runc", "crun"], "R080: refused if standard input is no terminal");
    let script = "stty -echo; echo ready; head -n 3000 | while read l; do echo \"<$l>\"; done";
    let c = with_terminal(script).container();
    let text: String = (0..3000).map(|n| format!("line {n} {}\n", "x".repeat(40))).collect();
    let path = c.bundle.path().to_str().unwrap().to_owned();
    let out = c.call(["run", "--bundle", &path, &c.id]).stdin(&text).run();
    let lines = out.ok().lines().filter(|line| line.starts_with("<line ")).count();
    assert_eq!(lines, 3000, "{}", out.stdout.len());
}

/// The size is that of the user's terminal, wherever that is.
#[test]
fn r080_the_size_is_that_of_the_terminal_that_there_is() {
    for redirection in ["", "</dev/null", "</dev/null 2>/dev/null", ">/dev/null"] {
        let terminal = Terminal::new(31, 91);
        let script =
            "until [ \"$(stty size)\" = '31 91' ]; do sleep 0.02; done; echo > /ready; exit 7";
        let c = with_terminal(script).container();
        let (root, bundle) = (c.root(), c.bundle.path());
        let call = format!("\"$0\" --root \"$1\" run -b \"$2\" \"$3\" {redirection}");
        let path = runtime().path.to_str().unwrap();
        let (root, bundle) = (root.to_str().unwrap(), bundle.to_str().unwrap());
        let run =
            terminal.call(Path::new("/bin/sh"), &["-c", &call, path, root, bundle, &c.id]).spawn();
        c.wait_ready();
        assert_eq!(run.wait().code, 7, "{redirection}");
    }
}
