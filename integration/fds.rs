//! File descriptors: what is open in the container, what may be passed, and the
//! two protocols of systemd.

use crate::harness::{Bundle, Call, Container, Output, deviates, runtime};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// `run` by a shell that first opens what `before` says.
fn run_with(c: &Container, before: &str, flags: &str) -> Output {
    let script = format!(
        "{before} exec {} --root {} run {flags} --bundle {} {}",
        runtime().path.display(),
        c.root().display(),
        c.bundle.path().display(),
        c.id
    );
    Call::new("/bin/sh").args(["-c", &script]).run()
}

/// The numbers that are open, without the one that lists them.
const LIST: &str = "for fd in 0 1 2 3 4 5 6 7 8 9; do \
                    [ -e /proc/$$/fd/$fd ] && echo $fd; done; true";

#[test]
fn r164_r453_only_stdio_is_open() {
    let c = Bundle::sh(LIST).container();
    assert_eq!(run_with(&c, "exec 3</ 5</etc/passwd 7>&1;", "").ok(), "0\n1\n2\n");
}

#[test]
fn r164_r453_init_holds_nothing_of_the_host() {
    let c = Bundle::sleeper().container().up();
    let dir = format!("/proc/{}/fd", c.pid().as_raw_pid());
    let mut open: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
}

#[test]
fn r335_preserve_fds() {
    let c = Bundle::sh(&format!("{LIST}; cat <&3; cat <&4")).container();
    let files = ["three\n", "four\n", "five\n"].map(|text| {
        let path = c.bundle.dir().join(text.trim());
        fs::write(&path, text).unwrap();
        path.display().to_string()
    });
    let [three, four, five] = files;
    let before = format!("exec 3<{three} 4<{four} 5<{five};");
    let out = run_with(&c, &before, "--preserve-fds 2");
    assert_eq!(out.ok(), "0\n1\n2\n3\n4\nthree\nfour\n", "5 is not passed");
}

#[test]
fn r335_preserve_fds_that_are_not_open() {
    let c = Bundle::sh("true").container();
    let out = run_with(&c, "exec 3<&- 4<&-;", "--preserve-fds 2");
    deviates!(["runc", "crun"], "R335: runc 1.1.5 takes its own for them, crun passes over them");
    out.fails();
}

#[test]
fn r341_listen_fds_are_passed_with_pid_1() {
    deviates!("crun", "R341: LISTEN_PID is unset");
    let c = Bundle::sh(&format!("{LIST}; cat <&3; echo $LISTEN_FDS $LISTEN_PID")).container();
    let file = c.bundle.dir().join("f");
    fs::write(&file, "listening\n").unwrap();
    let before = format!("exec 3<{} 4</; export LISTEN_FDS=1 LISTEN_PID=$$;", file.display());
    let out = run_with(&c, &before, "");
    assert_eq!(out.ok(), "0\n1\n2\n3\nlistening\n1 1\n");
}

#[test]
fn r341_listen_fds_and_preserve_fds_add_up() {
    let c = Bundle::sh(LIST).container();
    let before = "exec 3</ 4</etc/passwd 5</; export LISTEN_FDS=1 LISTEN_PID=$$;";
    assert_eq!(run_with(&c, before, "--preserve-fds 1").ok(), "0\n1\n2\n3\n4\n");
}

#[test]
fn r342_notify_socket_is_relayed() {
    let script = "[ -S \"$NOTIFY_SOCKET\" ] && echo there; echo > /ready; sleep 1000";
    let bundle = Bundle::sh(script);
    let path = bundle.dir().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let c = bundle.container();
    let bundle = c.bundle.path();
    let run = c
        .call(["run", "--bundle", bundle.to_str().unwrap(), &c.id])
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .spawn();
    c.wait_ready();
    // From inside: the socket of the container, reached through init's root.
    let environ = fs::read(format!("/proc/{}/environ", c.pid().as_raw_pid())).unwrap();
    let environ = String::from_utf8_lossy(&environ).into_owned();
    let name = environ.split('\0').find_map(|line| line.strip_prefix("NOTIFY_SOCKET=")).unwrap();
    let through = format!("/proc/{}/root{name}", c.pid().as_raw_pid());
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(b"READY=1\nSTATUS=up\n", through).unwrap();
    let mut seen = String::new();
    while !seen.contains("READY=1") {
        let mut buffer = [0; 4096];
        let count = socket.recv(&mut buffer).expect("READY=1 must be passed on");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    c.stop();
    assert_eq!(run.wait().code, 137);
}

#[test]
fn r342_a_container_that_never_notifies_may_end() {
    deviates!("crun", "R342: the socket is seen under its path on the host");
    deviates!("runc", "R342: waits for READY=1 for ever");
    let c = Bundle::sh("echo \"[$NOTIFY_SOCKET]\"").container();
    let bundle = c.bundle.path();
    let dir = c.bundle.dir().join("notify.sock");
    let _socket = UnixDatagram::bind(&dir).unwrap();
    let out = c
        .call(["run", "--bundle", bundle.to_str().unwrap(), &c.id])
        .env("NOTIFY_SOCKET", dir.to_str().unwrap())
        .run();
    assert!(!out.ok().contains(dir.to_str().unwrap()), "{out:?}");
}

#[test]
fn stdio_may_be_closed() {
    let c = Bundle::sh("echo ran > /tmp/ran").container();
    run_with(&c, "exec 0<&- 1>&- 2>&-;", "");
    deviates!("crun", "crun 1.8.1 mixes up closed stdio");
    assert!(c.bundle.rootfs("tmp/ran").exists());
}

#[test]
fn a_broken_stdout_is_no_reason_to_hang() {
    let c = Bundle::sh("yes | head -n 100000").container();
    let script = format!(
        "{} --root {} run --bundle {} {} | head -n 1",
        runtime().path.display(),
        c.root().display(),
        c.bundle.path().display(),
        c.id
    );
    let out = Call::new("/bin/sh").args(["-c", &script]).run();
    assert!(out.ok().len() <= 2, "{out:?}");
}
