//! What comes from the image runs as the container does: hooks, umask, files that are read. And
//! whatever it does, the runtime hears signals and comes to an end.

use super::attacker::{self, Attacker};
use crate::harness::{
    Bundle, Call, Container, Running, Step, deviates, is_pinnace, json, runtime, until, wait_for,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What says as whom a process runs.
const WHO: &str = "grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp\
                   |Seccomp_filters|Umask):' /proc/self/status; \
                   cat /proc/self/attr/current 2>/dev/null; ulimit -n; cat /proc/self/cgroup; \
                   readlink /proc/self/ns/*; cat /proc/self/oom_score_adj; \
                   (mkdir /tmp/forbidden && rmdir /tmp/forbidden) 2>&1; true";

fn forbids_mkdir() -> crate::harness::Value {
    let rule = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule})
}

/// A startContainer hook and the process of that bundle each tell who they are.
#[track_caller]
fn hook_is_as_the_process(what: &str, bundle: Bundle) {
    let tell = |name: &str| format!("({WHO}) > /tmp/{name}");
    let args = json!(["sh", "-c", tell("hook")]);
    let hook = json!({"path": "/bin/sh", "args": args, "env": ["PATH=/bin"]});
    let c = bundle
        .set("/process/args", json!(["sh", "-c", tell("process")]))
        .set("/process/user/umask", json!(0o22))
        .set("/hooks/startContainer/-", hook)
        .container();
    for verb in ["run", "start"] {
        if verb == "run" {
            c.run().ok();
        } else {
            c.create().ok();
            c.start_and_wait();
            c.delete().ok();
        }
        let read = |name: &str| {
            let path = c.bundle.rootfs(&format!("tmp/{name}"));
            let text = fs::read_to_string(&path).unwrap();
            fs::remove_file(path).unwrap();
            text
        };
        let (hook, process) = (read("hook"), read("process"));
        assert!(process.contains("CapEff"), "{process}");
        assert_eq!(hook, process, "{verb}, {what}: the hook on the left");
    }
}

/// A4: the hook is a file of the image.
#[test]
fn a_start_container_hook_runs_as_the_process() {
    let user = json!({"uid": 1000, "gid": 1000, "additionalGids": [7]});
    let bundle = || Bundle::new(["true"]);
    let no_caps = json!({"bounding": [], "effective": [], "permitted": []});
    hook_is_as_the_process("root", bundle());
    hook_is_as_the_process("a user", bundle().set("/process/user", user.clone()));
    hook_is_as_the_process("no capabilities", bundle().set("/process/capabilities", no_caps));
    let free = bundle().set("/process/noNewPrivileges", json!(false));
    hook_is_as_the_process("privileges may grow", free);
    let ambient = bundle().edit(|c| {
        let caps = &mut c["process"]["capabilities"];
        (caps["inheritable"], caps["ambient"]) = (json!(["CAP_KILL"]), json!(["CAP_KILL"]));
    });
    hook_is_as_the_process("ambient", ambient.set("/process/user", user.clone()));
    hook_is_as_the_process("user namespace", bundle().user_namespace().set("/process/user", user));
}

/// A4: under the filter, too, by which a call of the hook fails as the process's does.
#[test]
fn a_start_container_hook_is_under_the_filter() {
    let user = json!({"uid": 1000, "gid": 1000});
    for no_new_privileges in [true, false] {
        for bundle in
            [Bundle::new(["true"]), Bundle::new(["true"]).set("/process/user", user.clone())]
        {
            let bundle = bundle
                .set("/linux/seccomp", forbids_mkdir())
                .set("/process/noNewPrivileges", json!(no_new_privileges));
            hook_is_as_the_process(&format!("filter, {no_new_privileges}"), bundle);
        }
    }
}

/// A call of the runtime whose caller has that umask.
fn with_umask(c: &Container, umask: &str, args: &[&str]) -> Call {
    Call::new("/bin/sh")
        .args(["-c", "umask \"$0\"; exec \"$@\"", umask, runtime().path.to_str().unwrap()])
        .args(c.global())
        .args(args)
        .output_to(c.log("stdout"), c.log("stderr"))
}

/// B2
#[test]
fn hooks_do_not_inherit_a_umask() {
    let kinds =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for umask in ["0", "077"] {
        let bundle = Bundle::new(["true"]);
        let log = bundle.dir().join("log");
        fs::write(&log, "").unwrap();
        fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let bundle = kinds.iter().fold(bundle.bind(&log, "/log", &["bind"]), |bundle, kind| {
            let file = if *kind == "startContainer" { Path::new("/log") } else { &log };
            let script = format!("echo {kind} $(umask) >> {}", file.display());
            let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
            bundle.set(&format!("/hooks/{kind}"), json!([hook]))
        });
        let c = bundle.container();
        let path = c.bundle.path();
        let args = ["create", "--bundle", path.to_str().unwrap(), &c.id];
        with_umask(&c, umask, &args).run().ok();
        let pid = c.pid();
        with_umask(&c, umask, &["start", &c.id]).run().ok();
        assert!(crate::harness::exits(pid));
        with_umask(&c, umask, &["delete", &c.id]).run().ok();
        let text = fs::read_to_string(&log).unwrap();
        deviates!(["runc", "crun"], "B2: hooks of the runtime have the caller's umask");
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        let mut wanted = kinds.map(|kind| format!("{kind} 0022"));
        wanted.sort();
        assert_eq!(lines, wanted, "with {umask}");
    }
}

/// Whether it ends in that time. It is killed if it does not.
fn ends_within(running: &Running, seconds: i64) -> bool {
    let Ok(pidfd) = pidfd_open(running.pid(), PidfdFlags::empty()) else { return true };
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&time))).unwrap() == 1
}

fn fifo(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let cwd = rustix::fs::CWD;
    rustix::fs::mknodat(cwd, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
}

/// B5: whether `AppArmor` is on is the host's to say. In a private mount namespace the host says
/// yes; the container's file of that name never says anything.
#[test]
fn exec_does_not_ask_the_container_whether_apparmor_is_on() {
    let host_says_yes = "mount -t tmpfs none /sys/module && mkdir -p /sys/module/apparmor/parameters && \
                         echo Y > /sys/module/apparmor/parameters/enabled && exec \"$@\"";
    for file in ["module/apparmor/parameters/enabled", "kernel/security/apparmor/profiles"] {
        let bundle = Bundle::sleeper().edit(|c| {
            c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/sys");
        });
        let bundle = bundle.file("sys/module/apparmor/parameters/enabled", "Y\n");
        fs::remove_file(bundle.rootfs("sys/module/apparmor/parameters/enabled")).unwrap();
        if !file.starts_with("module") {
            let yes = bundle.rootfs("sys/module/apparmor/parameters/enabled");
            fs::write(yes, "Y\n").unwrap();
        }
        fifo(&bundle.rootfs("sys").join(file));
        let c = bundle.container().up();
        let running = Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", host_says_yes, "sh"])
            .args([&runtime().path])
            .args(c.global())
            .args(["exec", "--apparmor", "unconfined", &c.id, "true"])
            .spawn();
        assert!(ends_within(&running, 10), "{file}: exec waits for a file of the container");
    }
}

/// B5: nor does it need the container to know that the host has none.
#[test]
fn exec_refuses_a_label_that_the_host_cannot_give() {
    if Path::new("/sys/module/apparmor").exists() {
        return;
    }
    let c = Bundle::sleeper().container().up();
    let running = c.call(["exec", "--apparmor", "unconfined", &c.id, "true"]).spawn();
    assert!(ends_within(&running, 10));
    running.wait().fails_with(&["apparmor"]);
}

/// B7: a command that hears TERM ends soon, says so in one line and leaves nothing.
#[track_caller]
fn ends_by_term(what: &str, running: Running) {
    kill_process(running.pid(), Signal::TERM).unwrap();
    assert!(ends_within(&running, 5), "{what}: TERM is not heard");
    let out = running.wait();
    assert_ne!(out.code, 0, "{what}: {out:?}");
    if is_pinnace() {
        assert_eq!(out.stderr.lines().count(), 1, "{what}: {out:?}");
    }
}

/// A fifo on which a hook says that it is at it.
struct Sign(OwnedFd, PathBuf);

/// A process of the host that must not outlive a test.
struct Stray(OwnedFd);

impl Stray {
    fn has_ended(&self) -> bool {
        let time = Timespec { tv_sec: 5, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&time))).unwrap() == 1
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        rustix::process::pidfd_send_signal(&self.0, Signal::KILL).ok();
    }
}

impl Sign {
    fn new(bundle: &Bundle) -> Self {
        let path = bundle.dir().join("sign");
        fifo(&path);
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self(rustix::fs::open(&path, flags, Mode::empty()).unwrap(), path)
    }

    /// The line that the hook has said.
    #[track_caller]
    fn wait(&self) -> String {
        assert!(wait_for(&self.0, PollFlags::IN), "the hook does not run");
        let mut line = [0; 32];
        let count = rustix::io::read(&self.0, &mut line).unwrap();
        String::from_utf8_lossy(&line[..count]).trim().to_owned()
    }
}

/// B7: hooks of all kinds that never end.
#[test]
fn create_and_run_hear_term_while_a_hook_hangs() {
    deviates!(["runc", "crun"], "B7: what is left is for delete --force");
    for kind in ["prestart", "createRuntime", "createContainer"] {
        for verb in ["create", "run"] {
            let bundle = Bundle::sleeper();
            let sign = Sign::new(&bundle);
            let script = format!("echo $$ > {}; exec sleep 300", sign.1.display());
            let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]});
            let c = bundle.set(&format!("/hooks/{kind}/-"), hook).container();
            let path = c.bundle.path();
            let running = c.call([verb, "--bundle", path.to_str().unwrap(), &c.id]).spawn();
            let pid = sign.wait().parse().unwrap();
            // In the container's pid namespace the kernel ends it with init.
            let on_host = kind != "createContainer";
            let stray = on_host.then(|| {
                Stray(pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap())
            });
            ends_by_term(&format!("{verb}, {kind}"), running);
            assert!(stray.is_none_or(|hook| hook.has_ended()), "the hook goes on");
            c.call(["state", &c.id]).run().is_unknown();
        }
    }
}

/// B7: init that does not go on, as it was stopped.
#[test]
fn create_and_run_hear_term_while_init_is_stopped() {
    deviates!(["runc", "crun"], "B7: what is left is for delete --force");
    for verb in ["create", "run"] {
        let bundle = Bundle::sleeper();
        let sign = Sign::new(&bundle);
        let script = format!(
            "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); kill -STOP $pid; echo > {}",
            sign.1.display()
        );
        let hook =
            json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]});
        let c = bundle.set("/hooks/createRuntime/-", hook).container();
        let path = c.bundle.path();
        let running = c.call([verb, "--bundle", path.to_str().unwrap(), &c.id]).spawn();
        sign.wait();
        ends_by_term(verb, running);
        c.call(["state", &c.id]).run().is_unknown();
    }
}

/// Waits until a process has a child; it need not be ours, so no event tells of it.
fn wait_for_child(pid: Pid) {
    let file = format!("/proc/{0}/task/{0}/children", pid.as_raw_pid());
    until("it has a child", || !fs::read_to_string(&file).unwrap().is_empty());
}

/// B7: what `exec` starts is frozen before it can speak.
#[test]
fn exec_hears_term_in_a_paused_container() {
    deviates!(["runc", "crun"], "B7: TERM is passed on to the frozen process");
    let c = Bundle::sleeper().container().up();
    c.call(["pause", &c.id]).run().ok();
    let running = c.call(["exec", "--ignore-paused", &c.id, "true"]).spawn();
    wait_for_child(running.pid());
    ends_by_term("exec", running);
    c.call(["resume", &c.id]).run().ok();
    assert_eq!(c.exec(["echo", "fine"]).ok(), "fine\n");
}

/// B7: a process of the container stops what enters it.
#[test]
fn exec_hears_term_while_its_process_is_stopped() {
    deviates!(["runc", "crun"], "B7: waits for the stopped process");
    for users in [false, true] {
        let bundle = Bundle::sleeper();
        let bundle = if users { bundle.user_namespace() } else { bundle };
        let c = bundle.container().up();
        let sign = Sign::new(&c.bundle);
        let path = sign.1.clone();
        let mut stopped = false;
        let stop = move |step: Step| {
            if !stopped && step.pids().len() > 1 {
                stopped = true;
                kill_process(Pid::from_raw(step.pid).unwrap(), Signal::STOP).unwrap();
                fs::write(&path, "\n").unwrap();
            }
        };
        let (running, steps) = c.call(["exec", &c.id, "true"]).stepwise(stop);
        sign.wait();
        ends_by_term("exec", running);
        c.stop();
        steps.end();
    }
}

/// B11: a process of the container traces the program of `exec` and never waits for it: the program
/// stays a zombie that its parent cannot reap.
#[test]
fn exec_ends_with_its_program_though_that_is_traced() {
    for (how, code) in [("exit 7", 7), ("kill -KILL $$", 137)] {
        let c = attacker::bundle("keeper").container();
        let mut keeper = Attacker::up(&c);
        let (stdin, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let script = format!("echo $$ > /tmp/pid; echo > /ready; read x; {how}");
        let running =
            c.call(["exec", &c.id, "sh", "-c", &script]).stdin_from(File::from(stdin)).spawn();
        c.wait_ready();
        let pid = fs::read_to_string(c.bundle.rootfs("tmp/pid")).unwrap();
        assert_eq!(keeper.ask(pid.trim().parse().unwrap()), "PTRACE_SEIZE");
        drop(go);
        deviates!(["runc", "crun"], "B11: waits for the tracer");
        let ended = ends_within(&running, 5);
        if !ended {
            kill_process(running.pid(), Signal::TERM).unwrap();
            assert!(ends_within(&running, 3), "{how}: exec hangs, and does not hear TERM");
        }
        assert!(ended, "{how}: exec hangs until TERM");
        assert_eq!(running.wait().code, code, "{how}");
    }
}

/// As above, by TERM.
#[test]
fn exec_hears_term_though_its_program_is_traced() {
    let c = attacker::bundle("keeper").container();
    let mut keeper = Attacker::up(&c);
    let script = "echo $$ > /tmp/pid; echo > /ready; exec sleep 300";
    let running = c.call(["exec", &c.id, "sh", "-c", script]).spawn();
    c.wait_ready();
    let pid = fs::read_to_string(c.bundle.rootfs("tmp/pid")).unwrap();
    assert_eq!(keeper.ask(pid.trim().parse().unwrap()), "PTRACE_SEIZE");
    deviates!(["runc", "crun"], "B11: waits for the tracer");
    // The tracer's process stops at the signal and waits for it: a second one must end exec.
    kill_process(running.pid(), Signal::TERM).unwrap();
    if !ends_within(&running, 3) {
        kill_process(running.pid(), Signal::TERM).unwrap();
    }
    assert!(ends_within(&running, 5), "TERM is not heard");
}
