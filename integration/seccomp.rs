//! Filters, by what a call answers inside.

use crate::harness::{Bundle, Output, Value, deviates, is_pinnace, json, needs, wait_for};
use rustix::event::PollFlags;
use std::fs;

const ARCHS: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

fn profile(syscalls: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ARCHS, "syscalls": syscalls})
}

fn run(script: &str, seccomp: Value) -> Output {
    Bundle::sh(script).set("/linux/seccomp", seccomp).run()
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

#[test]
fn r238_errno_is_eperm_by_default() {
    let out = run("mkdir /tmp/x", profile(json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}])));
    assert!(out.fails().contains("Operation not permitted"), "{out:?}");
}

#[test]
fn r240_errno_ret() {
    let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
    let out = run("mkdir /tmp/x", profile(rule));
    assert!(out.fails().contains("No space left on device"), "{out:?}");
}

#[test]
fn r238_the_filter_is_on() {
    let out = run(
        "cat /proc/self/status",
        profile(json!([{"names": MKDIR,
        "action": "SCMP_ACT_ERRNO"}])),
    );
    assert_eq!(out.field("Seccomp"), "2");
    assert_eq!(Bundle::new(["cat", "/proc/self/status"]).run().field("Seccomp"), "0");
}

#[test]
fn r238_kill_process_ends_with_sigsys() {
    for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        let out =
            run("mkdir /tmp/x; echo $?", profile(json!([{"names": MKDIR, "action": action}])));
        assert_eq!(out.ok(), "159\n", "128 + SIGSYS: {action}");
    }
}

#[test]
fn r238_trap_sends_sigsys() {
    let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_TRAP"}]);
    let out = run("mkdir /tmp/x; echo $?", profile(rule));
    assert_eq!(out.ok(), "159\n");
}

#[test]
fn r238_log_and_allow_let_it_pass() {
    for action in ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
        let out = run(
            "mkdir /tmp/x && echo made",
            profile(json!([{"names": MKDIR,
            "action": action}])),
        );
        assert_eq!(out.ok(), "made\n", "{action}");
    }
}

#[test]
fn r238_trace_without_a_tracer_is_enosys() {
    let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_TRACE", "errnoRet": 1}]);
    let out = run("mkdir /tmp/x", profile(rule));
    assert!(out.fails().contains("Function not implemented"), "{out:?}");
}

#[test]
fn r226_r227_the_default_action_with_its_errno() {
    // Everything that the shell needs is allowed; mkdir is not listed.
    let mut allowed = default_profile();
    needs!(!allowed.is_null(), "/usr/share/containers/seccomp.json");
    for group in allowed["syscalls"].as_array_mut().unwrap() {
        let names = group["names"].as_array_mut().unwrap();
        names.retain(|name| name != "mkdir" && name != "mkdirat");
    }
    allowed["defaultErrnoRet"] = json!(28);
    let out = run("mkdir /tmp/x", allowed);
    deviates!("runc", "R227: newer than runc 1.1.5 when built against spec 1.0.2");
    assert!(out.fails().contains("No space left on device"), "{out:?}");
}

/// podman's default, without the parts that only podman understands.
fn default_profile() -> Value {
    let Ok(text) = fs::read_to_string("/usr/share/containers/seccomp.json") else {
        return Value::Null;
    };
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    let keep = |group: &Value| {
        let of = |part: &str| group[part]["caps"].as_array().is_none_or(Vec::is_empty);
        let arches = group["includes"]["arches"].as_array();
        of("includes") && arches.is_none_or(|a| a.contains(&json!("amd64")))
    };
    let groups: Vec<Value> = profile["syscalls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|group| keep(group))
        .map(|group| {
            let mut clean = json!({"names": group["names"], "action": group["action"]});
            for key in ["args", "errnoRet"] {
                if !group[key].is_null() {
                    clean[key] = group[key].clone();
                }
            }
            clean
        })
        .collect();
    profile = json!({"defaultAction": profile["defaultAction"], "architectures": ARCHS,
                     "syscalls": groups});
    profile
}

#[test]
fn podmans_default_profile_lets_a_shell_work() {
    let profile = default_profile();
    needs!(!profile.is_null(), "/usr/share/containers/seccomp.json");
    let script = "ls / > /dev/null && mkdir /tmp/x && busybox linux64 true && \
                  cat /proc/self/status; busybox swapoff /x";
    let out = run(script, profile);
    assert!(out.stdout.contains("Seccomp:\t2"), "{out:?}");
    assert_ne!(out.code, 0, "swapoff is not allowed");
}

/// kill(2) of pid 1 (ourselves) with signal 0 and 18, told apart by argument.
fn with_arg(op: &str, value: u64, value_two: u64) -> Output {
    let rule = json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
        "args": [{"index": 1, "value": value, "valueTwo": value_two, "op": op}]}]);
    run("for s in 0 18 23; do kill -$s 1 2>/dev/null && echo $s; done; true", profile(rule))
}

#[test]
fn r241_r242_arguments_and_operators() {
    for (op, value, two, passed) in [
        ("SCMP_CMP_EQ", 18, 0, "0 23"),
        ("SCMP_CMP_NE", 18, 0, "18"),
        ("SCMP_CMP_LT", 18, 0, "18 23"),
        ("SCMP_CMP_LE", 18, 0, "23"),
        ("SCMP_CMP_GT", 18, 0, "0 18"),
        ("SCMP_CMP_GE", 18, 0, "0"),
        ("SCMP_CMP_MASKED_EQ", 16, 16, "0"),
    ] {
        let out = with_arg(op, value, two);
        let got: Vec<_> = out.ok().split_whitespace().collect();
        assert_eq!(got.join(" "), passed, "{op} {value}");
    }
}

#[test]
fn r241_two_conditions_on_one_argument_are_alternatives_in_two_rules() {
    let rule = |value: u64| {
        json!({"names": ["kill"], "action": "SCMP_ACT_ERRNO",
               "args": [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]})
    };
    let out = run(
        "for s in 0 18 23; do kill -$s 1 2>/dev/null && echo $s; done; true",
        profile(json!([rule(18), rule(23)])),
    );
    assert_eq!(out.ok(), "0\n");
}

#[test]
fn r243_an_unknown_call_is_skipped() {
    let rule = json!([{"names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let out = run("mkdir /tmp/x", profile(rule));
    assert!(out.fails().contains("Operation not permitted"), "{out:?}");
}

#[test]
fn r246_works_without_no_new_privileges() {
    let out = Bundle::sh("mkdir /tmp/x")
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/user/uid", json!(1000))
        .set("/linux/seccomp", profile(json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}])))
        .run();
    assert!(out.fails().contains("Operation not permitted"), "{out:?}");
}

#[test]
fn r247_exec_has_the_filter() {
    let c = Bundle::sleeper()
        .set("/linux/seccomp", profile(json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}])))
        .container()
        .up();
    let out = c.exec(["mkdir", "/tmp/x"]);
    assert!(out.fails().contains("Operation not permitted"), "{out:?}");
    assert_eq!(c.exec(["cat", "/proc/self/status"]).field("Seccomp"), "2");
    if is_pinnace() {
        // The compiled one is kept; without it, it is compiled again.
        fs::remove_file(c.root().join(&c.id).join("filter")).unwrap();
        let out = c.exec(["mkdir", "/tmp/x"]);
        assert!(out.fails().contains("Operation not permitted"), "{out:?}");
    }
}

/// What `create` compiled is kept for `exec`: another program in its place is used.
#[test]
fn r245_the_compiled_filter_is_kept() {
    deviates!(["runc", "crun"], "R245: runc has no cache, crun's has another form");
    let c = Bundle::sleeper()
        .set("/linux/seccomp", profile(json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}])))
        .container()
        .up();
    c.exec(["mkdir", "/tmp/x"]).fails();
    // No flags; BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
    let mut bytes = vec![0, 0, 0, 0, 6, 0, 0, 0];
    bytes.extend(0x7fff_0000_u32.to_ne_bytes());
    fs::write(c.root().join(&c.id).join("filter"), bytes).unwrap();
    c.exec(["mkdir", "/tmp/x"]).ok();
}

#[test]
fn r228_all_architectures_are_known() {
    for arch in [
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC64LE",
        "MIPS",
        "RISCV64",
        "MIPS64",
        "MIPS64N32",
        "PPC",
        "PPC64",
        "S390",
        "S390X",
        "PARISC",
        "PARISC64",
        "LOONGARCH64",
        "M68K",
        "SH",
        "SHEB",
    ] {
        let mut profile = profile(json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]));
        profile["architectures"] = json!(["SCMP_ARCH_X86_64", format!("SCMP_ARCH_{arch}")]);
        let out = run("mkdir /tmp/x", profile);
        if arch == "MIPS" {
            deviates!(
                ["runc", "crun"],
                "R228: some are unknown, and libseccomp refuses to mix byte orders"
            );
        }
        assert!(out.fails().contains("Operation not permitted"), "{arch}: {out:?}");
    }
}

#[test]
fn a_filter_works_with_each_flag() {
    for flag in ["TSYNC", "LOG", "SPEC_ALLOW"] {
        let mut profile = profile(json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]));
        profile["flags"] = json!([format!("SECCOMP_FILTER_FLAG_{flag}")]);
        let out = run("mkdir /tmp/x", profile);
        deviates!("runc", "R229: flags are newer than runc 1.1.5");
        assert!(out.fails().contains("Operation not permitted"), "{flag}: {out:?}");
    }
}

#[test]
fn with_spec_allow_no_mitigation_is_forced() {
    let mut with = profile(json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]));
    with["flags"] = json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]);
    let out = run("cat /proc/self/status", with);
    deviates!("runc", "R231: flags are newer than runc 1.1.5");
    assert!(!out.field("Speculation_Store_Bypass").contains("force mitigated"), "{out:?}");
}

#[test]
fn r239_r234_r236_notify_sends_the_state_and_a_descriptor() {
    use crate::harness::FdSocket;
    let bundle = Bundle::sh("mkdir /tmp/x");
    let socket = FdSocket::new(bundle.dir());
    let mut profile = profile(json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!(socket.path);
    profile["listenerMetadata"] = json!("meta");
    let c = bundle.set("/linux/seccomp", profile).set("/annotations/a", json!("b")).container();
    let run = c.spawn_run();
    let (listener, state) = socket.receive();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], json!("meta"));
    assert_eq!(state["state"]["id"], json!(c.id));
    assert_eq!(state["state"]["annotations"]["a"], json!("b"));
    assert!(state["pid"].as_i64().unwrap() > 1);
    // Nobody listens any more: the kernel answers ENOSYS.
    drop(listener);
    let out = run.wait();
    assert!(out.fails().contains("Function not implemented"), "{out:?}");
}

/// As runc: the agent has the listener before `create` returns, with the state of a container
/// that is being created. Calls of the set-up that follow are none of its affair.
#[test]
fn r239_r234_the_listener_comes_with_create() {
    use crate::harness::FdSocket;
    for no_new_privileges in [false, true] {
        let bundle = Bundle::sh("mkdir /tmp/x; exit 4");
        let socket = FdSocket::new(bundle.dir());
        let mut profile = profile(json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}]));
        profile["listenerPath"] = json!(socket.path);
        let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let c = bundle.set("/linux/seccomp", profile).container();
        c.create().ok();
        let (listener, state) = socket.receive();
        let state: Value = serde_json::from_str(&state).unwrap();
        assert_eq!(state["state"]["status"], json!("creating"));
        assert_eq!(state["pid"], state["state"]["pid"]);
        assert_eq!(state["pid"], json!(c.pid().as_raw_pid()));
        assert_eq!(c.status(), "created");
        let start = c.call(["start", &c.id]).spawn();
        start.wait().ok();
        assert!(wait_for(&listener, PollFlags::IN), "no call");
    }
}

/// Also if it will be asked about the program itself, which is none of `create`'s calls.
#[test]
fn r239_r234_the_listener_for_execve_comes_with_create() {
    use crate::harness::{FdSocket, let_through};
    let bundle = Bundle::sh("exit 4");
    let socket = FdSocket::new(bundle.dir());
    let mut profile = profile(json!([{"names": ["execve"], "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!(socket.path);
    let c = bundle.set("/linux/seccomp", profile).container();
    c.create().ok();
    let (listener, state) = socket.receive();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["state"]["status"], json!("creating"));
    let start = c.call(["start", &c.id]).spawn();
    assert_eq!(let_through(&listener), [libc::SYS_execve as i32]);
    start.wait().ok();
}

/// The agent's error is one of `create`, and nothing is left.
#[test]
fn r239_no_container_without_its_listener() {
    let bundle = Bundle::sh("true");
    let mut profile = profile(json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!(bundle.dir().join("nobody"));
    let c = bundle.set("/linux/seccomp", profile).container();
    c.create().fails();
    c.call(["state", &c.id]).run().is_unknown();
}

#[test]
fn a_call_that_waits_for_its_listener_can_be_killed() {
    use crate::harness::FdSocket;
    let bundle = Bundle::sh("mkdir /tmp/x");
    let socket = FdSocket::new(bundle.dir());
    let mut profile = profile(json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!(socket.path);
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    deviates!(["runc", "crun"], "R232: newer than these");
    let c = bundle.set("/linux/seccomp", profile).container();
    let run = c.spawn_run();
    let (listener, _) = socket.receive();
    // Before that call, it would be the set-up that is killed.
    assert!(wait_for(&listener, PollFlags::IN), "no call");
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    assert_eq!(run.wait().code, 137, "a call that nobody answers can be killed");
    drop(listener);
}

/// What the agent has taken up is not given up for a signal: without the flag the call would
/// fail with EINTR (seccomp_unotify(2)).
#[test]
fn r232_a_call_that_is_taken_up_outlives_other_signals() {
    use crate::harness::{FdSocket, let_through, next_call, resume};
    deviates!(["runc", "crun"], "R232: newer than these");
    let bundle = Bundle::sh("trap 'echo trapped' USR1; cd /tmp && echo there");
    let socket = FdSocket::new(bundle.dir());
    let mut profile = profile(json!([{"names": ["chdir"], "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!(socket.path);
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    let c = bundle.set("/linux/seccomp", profile).container();
    let run = c.spawn_run();
    let (listener, _) = socket.receive();
    assert!(wait_for(&listener, PollFlags::IN), "no call");
    let (id, ..) = next_call(&listener).unwrap();
    c.kill("USR1").ok();
    // Time enough to be woken by it.
    assert_eq!(c.status(), "running");
    resume(&listener, id);
    assert_eq!(let_through(&listener), [0_i32; 0], "called again");
    let out = run.wait();
    assert!(out.ok().contains("there\n") && out.stdout.contains("trapped\n"), "{out:?}");
}

/// Profiles under which the runtime itself, once it has loaded them, may not
/// do or has to ask for what it needs, up to everything.
fn silencing() -> [Value; 4] {
    let notify = |names: &[&str]| json!([{"names": names, "action": "SCMP_ACT_NOTIFY"}]);
    let mut all = profile(json!([]));
    all["defaultAction"] = json!("SCMP_ACT_NOTIFY");
    [
        profile(notify(&["execve"])),
        profile(notify(&["sendmsg", "execve"])),
        profile(notify(&["sendmsg", "write", "close", "exit_group", "futex", "execve"])),
        all,
    ]
}

#[test]
fn r239_r234_calls_that_the_runtime_uses_may_be_notified() {
    use crate::harness::{FdSocket, let_through};
    deviates!(["runc", "crun"], "R239: these refuse or hang where write or sendmsg is notified");
    for mut profile in silencing() {
        let bundle = Bundle::sh("exit 7");
        let socket = FdSocket::new(bundle.dir());
        profile["listenerPath"] = json!(socket.path);
        let c = bundle.set("/linux/seccomp", profile.clone()).container();
        let run = c.spawn_run();
        let (listener, _) = socket.receive();
        let calls = let_through(&listener);
        assert_eq!(run.wait().code, 7, "{profile}");
        assert_eq!(calls[0], libc::SYS_execve as i32, "{profile}: {calls:?}");
    }
}

#[test]
fn r239_r234_r247_start_and_exec_with_everything_notified() {
    use crate::harness::{FdSocket, let_through};
    deviates!(["runc", "crun"], "R239: these refuse or hang where write or sendmsg is notified");
    for (i, mut profile) in silencing().into_iter().enumerate() {
        let bundle =
            Bundle::sh("trap 'exit 3' TERM; echo > /ready; while :; do sleep 1000 & wait; done");
        let socket = FdSocket::new(bundle.dir());
        profile["listenerPath"] = json!(socket.path);
        let c = bundle.set("/linux/seccomp", profile).container();
        c.create().ok();
        let start = c.call(["start", &c.id]).spawn();
        let (listener, state) = socket.receive();
        let state: Value = serde_json::from_str(&state).unwrap();
        assert_eq!(state["pid"], state["state"]["pid"]);
        let agent = std::thread::spawn(move || let_through(&listener));
        start.wait().ok();
        c.wait_ready();
        let exec = c.call(["exec", &c.id, "sh", "-c", "exit 5"]).spawn();
        let (listener, state) = socket.receive();
        let state: Value = serde_json::from_str(&state).unwrap();
        assert_ne!(state["pid"], state["state"]["pid"], "the process and the container's init");
        assert_eq!(state["state"]["status"], json!("running"));
        assert_eq!(let_through(&listener)[0], libc::SYS_execve as i32);
        assert_eq!(exec.wait().code, 5, "profile {i}");
        c.stop();
        assert_eq!(agent.join().unwrap()[0], libc::SYS_execve as i32);
    }
}

/// What the runtime needs to say goodbye is denied; the program runs all the same.
#[test]
fn r238_only_execve_is_needed_once_the_filter_is_loaded() {
    let names = ["sendmsg", "recvmsg", "close", "futex", "write", "munmap", "fcntl", "openat"];
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
        let profile = profile(json!([{"names": names, "action": action}]));
        deviates!("runc", "R238: needs some of these calls for itself");
        Bundle::new(["true"]).set("/linux/seccomp", profile.clone()).run().ok();
        let c = Bundle::sh("exit 4").set("/linux/seccomp", profile).container();
        c.create().ok();
        c.start_and_wait();
    }
}

/// An exec that fails after the filter is loaded is told, and is no success.
#[test]
fn r238_r247_a_program_that_cannot_be_run_is_told_of_through_any_filter() {
    let silent = ["sendmsg", "write", "exit_group", "exit", "close"];
    for names in [&["mkdir"][..], &silent[..]] {
        let profile = profile(json!([{"names": names, "action": "SCMP_ACT_ERRNO"}]));
        let bundle = || {
            let bundle = Bundle::new(["/script"]).file("script", "#!/nowhere\n");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(bundle.rootfs("script"), mode).unwrap();
            bundle.set("/linux/seccomp", profile.clone())
        };
        deviates!(["runc", "crun"], "R238: start has returned before, or the error is lost");
        bundle().run().fails_with(&["process.args[0]: exec /script: no such file"]);
        let c = bundle().container();
        c.create().ok();
        c.start().fails_with(&["process.args[0]: exec /script: no such file"]);
        assert_eq!(c.status(), "stopped");
        let c = bundle().set("/process/args", json!(["sleep", "1000"])).container().up();
        let out = c.exec(["/script"]);
        assert_eq!(out.code, 255);
        out.fails_with(&["process.args[0]: exec /script: no such file"]);
        assert_eq!(c.status(), "running");
    }
}

#[test]
fn r238_a_filter_that_forbids_execve_is_refused() {
    let out = run("true", profile(json!([{"names": ["execve"], "action": "SCMP_ACT_ERRNO"}])));
    out.fails();
    if is_pinnace() {
        out.fails_with(&["linux.seccomp.syscalls: execve is not allowed"]);
    }
}

/// An agent that takes the listener and never answers: whoever starts waits,
/// but can be rid of the container.
#[test]
fn r239_r378_an_agent_that_never_answers_keeps_nobody_from_deleting() {
    use crate::harness::FdSocket;
    deviates!(["runc", "crun"], "R239: start does not wait for execve");
    let bundle = Bundle::sh("true");
    let socket = FdSocket::new(bundle.dir());
    let mut profile = profile(json!([{"names": ["execve"], "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!(socket.path);
    let c = bundle.set("/linux/seccomp", profile).container();
    c.create().ok();
    let start = c.call(["start", &c.id]).spawn();
    // The listener comes with `create`; it has something to tell when init calls execve(2).
    let (listener, _) = socket.receive();
    assert!(wait_for(&listener, PollFlags::IN));
    c.call(["delete", "--force", &c.id]).run().ok();
    // It has not lost its patience before.
    start.wait().fails_with(&["the process was killed"]);
}

/// The listener is not there: the error says so, and nothing is left.
#[test]
fn r307_a_listener_that_does_not_listen() {
    let mut profile = profile(json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!("/no/such/socket");
    deviates!("crun", "R307: another message");
    run("mkdir /tmp/x", profile).fails_with(&["listenerPath", "/no/such/socket"]);
}

#[test]
fn r239_notify_without_a_listener_path_is_refused() {
    deviates!("crun", "R239: accepted when unused");
    let out = run("true", profile(json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}])));
    out.fails_with(&["listenerPath", "notify", "listener path"]);
    if is_pinnace() {
        out.fails_with(&["linux.seccomp.listenerPath: is needed for SCMP_ACT_NOTIFY"]);
    }
}

/// `row: what is bad => words`
macro_rules! refused {
    ($($name:ident: $at:literal = $value:tt => $words:expr $(, not $who:expr)?;)*) => { $(
        #[test]
        fn $name() {
            let bundle = Bundle::sh("true")
                .set("/linux/seccomp", profile(json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}])))
                .set(concat!("/linux/seccomp/", $at), json!($value));
            let out = bundle.run();
            $( deviates!($who, concat!(stringify!($name), ": accepted")); )?
            if is_pinnace() {
                out.fails_with(&$words);
            }
            out.fails();
        }
    )* };
}

refused! {
    r110_unknown_default_action: "defaultAction" = "SCMP_ACT_NONSENSE" => ["linux.seccomp.defaultAction"];
    r110_unknown_action: "syscalls/0/action" = "SCMP_ACT_NONSENSE" => ["linux.seccomp.syscalls[0].action"];
    r110_unknown_arch: "architectures" = ["SCMP_ARCH_NONSENSE"] => ["linux.seccomp.architectures[0]"], not "crun";
    r233_r307_unknown_flag: "flags" = ["SECCOMP_FILTER_FLAG_NONSENSE"] => ["linux.seccomp.flags[0]"];
    r110_unknown_operator: "syscalls/0/args" = [{"index": 0, "value": 1, "op": "SCMP_CMP_NONSENSE"}] => ["linux.seccomp.syscalls[0].args[0].op"];
    r110_argument_index_6: "syscalls/0/args" = [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}] => ["linux.seccomp.syscalls[0].args[0].index"];
    r237_no_names: "syscalls/0/names" = [] => ["linux.seccomp.syscalls[0].names"], not ["runc", "crun"];
    r227_r307_default_errno_of_an_action_without: "defaultErrnoRet" = 5 => ["linux.seccomp.defaultErrnoRet"], not ["runc", "crun"];
    r240_r307_errno_of_an_action_without: "syscalls/0" = {"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 5} => ["linux.seccomp.syscalls[0].errnoRet"], not ["runc", "crun"];
    r235_metadata_without_path: "listenerMetadata" = "x" => ["linux.seccomp.listenerMetadata"], not ["runc", "crun"];
}
