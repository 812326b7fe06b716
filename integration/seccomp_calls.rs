//! Filters, by calls that no shell makes: of other architectures, with arguments of 64 bits. And
//! what an agent is sent.

use crate::harness::{Bundle, Value, deviates, json, wait_for, write_program};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, accept_with, recvmsg,
};
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

const ALL: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// How a program of x86-64 may ask the kernel for something.
#[derive(Debug, Clone, Copy)]
enum Gate {
    /// The calls of x86-64 and, by bit 30 of the number, of x32.
    Syscall,
    /// Those of i386.
    Int80,
}

/// A static program of x86-64: one call with these arguments, then exit with its errno.
fn program(gate: Gate, number: u32, args: [u64; 6]) -> Vec<u8> {
    let mut code: Vec<u8> = Vec::new();
    // mov rdi, rsi, rdx, r10, r8, r9; of i386: ebx, ecx, edx, esi, edi.
    let registers: [[u8; 2]; 6] = match gate {
        Gate::Syscall => {
            [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba], [0x49, 0xb8], [0x49, 0xb9]]
        }
        Gate::Int80 => {
            [[0x48, 0xbb], [0x48, 0xb9], [0x48, 0xba], [0x48, 0xbe], [0x48, 0xbf], [0x48, 0xbd]]
        }
    };
    for (register, value) in registers.iter().zip(args) {
        code.extend(register);
        code.extend(value.to_le_bytes());
    }
    code.push(0xb8); // mov eax
    code.extend(number.to_le_bytes());
    code.extend(match gate {
        Gate::Syscall => [0x0f, 0x05],
        Gate::Int80 => [0xcd, 0x80],
    });
    // neg eax; mov edi, eax; mov eax, 60 (exit); syscall
    code.extend([0xf7, 0xd8, 0x89, 0xc7, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05]);
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |value: u64, bytes: usize| file.extend(&value.to_le_bytes()[..bytes]);
    // elf(5): an executable of EM_X86_64, entry, one header of a segment after this one.
    for (value, bytes) in [(2, 2), (0x3e, 2), (1, 4), (BASE + START, 8), (64, 8), (0, 8), (0, 4)] {
        put(value, bytes);
    }
    for (value, bytes) in [(64, 2), (56, 2), (1, 2), (64, 2), (0, 2), (0, 2)] {
        put(value, bytes);
    }
    let length = START + code.len() as u64;
    for (value, bytes) in
        [(1, 4), (5, 4), (0, 8), (BASE, 8), (BASE, 8), (length, 8), (length, 8), (4096, 8)]
    {
        put(value, bytes);
    }
    file.extend(PATH);
    file.extend(code);
    file
}

const BASE: u64 = 0x40_0000;
/// What stands between the headers and the code.
const PATH: &[u8; 8] = b"/tmp/x\0\0";
const START: u64 = 120 + 8;

/// mkdir(2) of `PATH`, under the number that it has there.
fn mkdir(gate: Gate, number: u32) -> Vec<u8> {
    program(gate, number, [BASE + 120, 0o777, 0, 0, 0, 0])
}

/// The exit code of a program under a filter: an errno, or 128 and a signal.
fn under(seccomp: Option<&Value>, file: &[u8]) -> i32 {
    let bundle = Bundle::new(["/call"]);
    let path = bundle.rootfs("call");
    write_program(&path, file);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let bundle = match seccomp {
        Some(profile) => bundle.set("/linux/seccomp", profile.clone()),
        None => bundle,
    };
    bundle.run().code
}

fn forbidding_mkdir(archs: &[&str]) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs,
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]})
}

/// Each ABI has numbers of its own: a rule is made for each that is listed, and the calls of the
/// others end the program, as libseccomp has it.
#[test]
#[cfg(target_arch = "x86_64")]
fn r228_a_rule_holds_for_each_architecture_that_is_listed() {
    let (own, other, x32) = (Gate::Syscall, Gate::Int80, 0x4000_0000);
    // 39 is getpid(2) of x86-64, 83 is nothing that could fail so on i386.
    let calls = [mkdir(own, 83), mkdir(other, 39), mkdir(own, x32 + 83)];
    assert_eq!(under(None, &calls[0]), 0);
    let here = [true, under(None, &calls[1]) == 0, true];
    for (archs, expected) in [
        (&ALL[..], [28, 28, 28]),
        (&ALL[..2], [28, 28, 159]),
        (&ALL[..1], [28, 159, 159]),
        (&["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_X86"][..], [28, 28, 159]),
    ] {
        for ((call, expected), here) in calls.iter().zip(expected).zip(here) {
            let code = under(Some(&forbidding_mkdir(archs)), call);
            assert!(!here || code == expected, "{archs:?}: {code}, not {expected}");
        }
    }
}

/// What getppid(2), which looks at none, is answered with these arguments.
fn verdict(conditions: &Value, args: [u64; 6]) -> i32 {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid"],
        "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": conditions}]});
    under(Some(&profile), &program(Gate::Syscall, 110, args))
}

#[test]
#[cfg(target_arch = "x86_64")]
fn r241_r242_arguments_have_64_bits() {
    const HIGH: u64 = 1 << 32;
    let yes = 28;
    for (op, value, two, cases) in [
        ("EQ", HIGH + 1, 0, [(HIGH + 1, yes), (1, 0), (HIGH, 0)]),
        ("NE", HIGH + 1, 0, [(HIGH + 1, 0), (1, yes), (HIGH, yes)]),
        ("GT", HIGH - 1, 0, [(HIGH, yes), (HIGH - 1, 0), (u64::MAX, yes)]),
        ("GE", HIGH, 0, [(HIGH, yes), (HIGH - 1, 0), (1 << 63, yes)]),
        ("LT", HIGH, 0, [(HIGH, 0), (HIGH - 1, yes), (u64::MAX, 0)]),
        ("LE", HIGH, 0, [(HIGH, yes), (HIGH + 1, 0), (5, yes)]),
        ("MASKED_EQ", u64::MAX << 32, HIGH, [(HIGH + 0xdead, yes), (1, 0), (3 << 32, 0)]),
    ] {
        let condition = json!([{"index": 5, "value": value, "valueTwo": two,
            "op": format!("SCMP_CMP_{op}")}]);
        for (argument, expected) in cases {
            let code = verdict(&condition, [7, 7, 7, 7, 7, argument]);
            assert_eq!(code, expected, "{argument:#x} {op} {value:#x}");
        }
    }
}

/// Of different arguments all must hold; of one argument each is a rule of its own, as with runc.
#[test]
#[cfg(target_arch = "x86_64")]
fn r241_two_conditions_of_one_rule() {
    let equals =
        |index: u32, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let both = json!([equals(0, 5), equals(1, 6)]);
    for (args, expected) in [([5, 6], 28), ([5, 7], 0), ([4, 6], 0)] {
        assert_eq!(verdict(&both, [args[0], args[1], 0, 0, 0, 0]), expected, "{args:?}");
    }
    let one = json!([equals(0, 5), equals(0, 6)]);
    for (first, expected) in [(5, 28), (6, 28), (7, 0)] {
        deviates!("crun", "R241: all must hold, which nothing can");
        assert_eq!(verdict(&one, [first, 0, 0, 0, 0, 0]), expected, "{first}");
    }
}

/// The rule is as if it were not there, and the filter is loaded all the same.
#[test]
fn r243_an_unknown_call_alone_forbids_nothing() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["nor_this_one"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    let out =
        Bundle::sh("mkdir /tmp/x && cat /proc/self/status").set("/linux/seccomp", profile).run();
    assert_eq!(out.field("Seccomp"), "2");
}

/// One connection: its descriptors came with the first message, and it has an end.
fn connection(listener: &UnixListener) -> (Vec<OwnedFd>, Value) {
    assert!(wait_for(listener, PollFlags::IN), "nobody connects");
    let peer = accept_with(listener, SocketFlags::CLOEXEC).unwrap();
    let (mut fds, mut text) = (Vec::new(), Vec::new());
    loop {
        assert!(wait_for(&peer, PollFlags::IN), "no end after {text:?}");
        let mut data = vec![0; 65536];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut data)];
        let got = recvmsg(&peer, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let first = text.is_empty();
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(received) = message else { continue };
            assert!(first, "a descriptor after the first message");
            fds.extend(received);
        }
        if got.bytes == 0 {
            break;
        }
        text.extend_from_slice(&data[..got.bytes]);
    }
    (fds, serde_json::from_slice(&text).unwrap())
}

fn is_quiet(listener: &UnixListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    let quiet = accept_with(listener, SocketFlags::CLOEXEC).is_err_and(|e| e == Errno::AGAIN);
    listener.set_nonblocking(false).unwrap();
    quiet
}

/// config-linux.md, "The Container Process State": all of its fields, once for each process.
#[test]
fn r234_r236_an_agent_gets_one_whole_state_a_connection() {
    let bundle = Bundle::sh("mkdir /tmp/x; exec sleep 1000");
    let path = bundle.dir().join("agent");
    let agent = UnixListener::bind(&path).unwrap();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
        "listenerMetadata": "some words",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
    let c = bundle
        .set("/linux/seccomp", profile)
        .set("/annotations", json!({"a": "b", "c": ""}))
        .container();
    let create = c.create();
    deviates!(["runc", "crun"], "R236: another version, or the listener comes with start");
    create.ok();
    let (listeners, state) = connection(&agent);
    let (version, init) = (c.state()["ociVersion"].clone(), c.pid().as_raw_pid());
    let container = |status: &str| {
        json!({"ociVersion": version, "id": c.id, "status": status, "pid": init,
            "bundle": c.bundle.path(), "annotations": {"a": "b", "c": ""}})
    };
    let whole = |pid: i32, status: &str| {
        json!({"ociVersion": version, "fds": ["seccompFd"], "pid": pid, "metadata": "some words",
            "state": container(status)})
    };
    assert_eq!(listeners.len(), 1);
    assert_eq!(of_the_spec(state), whole(init, "creating"));
    c.start().ok();
    assert!(is_quiet(&agent), "a second state of one process");
    // A further process has a filter, a state and a connection of its own.
    let exec = c.call(["exec", &c.id, "mkdir", "/tmp/y"]).spawn();
    let (further, state) = connection(&agent);
    assert_eq!(further.len(), 1);
    let pid = i32::try_from(state["pid"].as_i64().unwrap()).unwrap();
    assert_eq!(of_the_spec(state), whole(pid, "running"));
    assert_ne!(pid, init);
    let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_eq!(link(pid), link(init), "a process of the container, as the runtime sees it");
    drop((listeners, further));
    exec.wait().fails();
    assert!(is_quiet(&agent));
}

/// Without what this runtime adds to the state.
fn of_the_spec(mut document: Value) -> Value {
    let known = ["ociVersion", "id", "status", "pid", "bundle", "annotations"];
    document["state"].as_object_mut().unwrap().retain(|key, _| known.contains(&key.as_str()));
    document
}

/// config-linux.md: no listener, no connection, if no rule notifies.
#[test]
fn r234_no_agent_is_asked_where_nothing_notifies() {
    let bundle = Bundle::sh("mkdir /tmp/x");
    let path = bundle.dir().join("agent");
    let agent = UnixListener::bind(&path).unwrap();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
        "syscalls": [{"names": ["rmdir"], "action": "SCMP_ACT_ERRNO"}]});
    let out = bundle.set("/linux/seccomp", profile).run();
    deviates!("crun", "R234: connects all the same");
    out.ok();
    assert!(is_quiet(&agent));
}
