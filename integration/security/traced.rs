//! No process of the runtime that a container sees can be traced or read, in create, run and exec.
//!
//! The runtime is held at each of its system calls, and attacked from inside before it goes on: what
//! a loop would meet by luck is met each time. One test loops, to be sure of the holding.

use super::attacker::{self, Attacker, Attacks, under_attack};
use super::rootless::{Rootless, rootless};
use crate::harness::{Bundle, Call, Container, deviates, json};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

/// `run` or `create` of a container whose output goes to its log.
fn making(c: &Container, verb: &str) -> Call {
    let path = c.bundle.path();
    let call = c.call([verb, "--bundle", path.to_str().unwrap(), &c.id]);
    call.output_to(c.log("stdout"), c.log("stderr"))
}

/// Ends a container, whose attacker may have ended before.
fn remove(c: &Container) {
    c.call(["delete", "--force", &c.id]).run().ok();
}

/// Attacks everything that enters the attacker's container by `exec`.
fn attack_exec(bundle: Bundle) -> Attacks {
    let c = bundle.container();
    let attacker = Attacker::up(&c);
    let (running, steps, attacks) =
        under_attack(c.call(["exec", "--env", "TOKEN=SECRET-xyz", &c.id, "/bin/true"]), attacker);
    let out = running.wait();
    remove(&c);
    steps.end();
    if attacks.reached().is_empty() {
        out.ok();
    }
    attacks
}

/// Attacks a container while it is made, by `run` and by `create` and `start`.
fn attack_making(victim: &dyn Fn(&Container) -> Bundle, attacker: &dyn Fn() -> Bundle) {
    for verb in ["run", "create"] {
        let first = attacker().container();
        let from = Attacker::up(&first);
        let second = victim(&first).container();
        let (running, steps, attacks) = under_attack(making(&second, verb), from);
        let out = running.wait();
        if verb == "create" && out.code == 0 {
            second.start();
        }
        remove(&second);
        remove(&first);
        steps.end();
        attacks.found_nothing();
        assert_eq!(out.code, 0, "{}", second.stderr());
    }
}

/// The namespaces of a container that a second one joins.
fn joining(first: &Container, kinds: &[&str]) -> Bundle {
    let pid = first.pid().as_raw_pid();
    let bundle = Bundle::new(["true"]).user_namespace().without_namespace("user");
    let bundle = bundle.unset("/linux", "uidMappings").unset("/linux", "gidMappings");
    let path = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    kinds.iter().fold(bundle, |bundle, kind| bundle.namespace(kind, Some(&path(kind))))
}

fn tracer() -> Bundle {
    attacker::bundle("tracer")
}

/// A2, CVE-2016-9962: root of the container's user namespace may trace all that is in it, but for
/// what is not dumpable.
#[test]
fn exec_cannot_be_traced_by_root_of_the_containers_user_namespace() {
    let attacks = attack_exec(tracer().user_namespace().capability("CAP_SYS_PTRACE"));
    deviates!(["runc", "crun"], "CVE-2016-9962: not dumpable only once it has joined");
    attacks.found_nothing();
}

/// A2: the same by a loop beside a runtime that nobody holds.
#[test]
fn exec_cannot_be_traced_by_a_loop() {
    let bundle = attacker::bundle("looper").user_namespace().capability("CAP_SYS_PTRACE");
    let c = bundle.container();
    let mut attacker = Attacker::up(&c);
    let found = std::thread::spawn(move || attacker.ask(3));
    while !found.is_finished() {
        c.exec(["/bin/true"]);
    }
    assert_eq!(found.join().unwrap(), "");
}

/// A2: without root's privileges, too.
#[test]
fn exec_of_a_user_cannot_be_traced_by_root_of_the_containers_user_namespace() {
    deviates!(["runc", "crun"], "CVE-2016-9962: not dumpable only once it has joined");
    let c = rootless(tracer().capability("CAP_SYS_PTRACE")).container();
    let user = Rootless::new(&c);
    let attacker = Attacker::by(&c, |args| user.call(args));
    let (running, steps, attacks) =
        under_attack(user.call(&["exec", &c.id, "/bin/true"]), attacker);
    let out = running.wait();
    user.call(&["delete", "--force", &c.id]).run().ok();
    steps.end();
    attacks.found_nothing();
    out.ok();
}

/// A3, CVE-2016-9962
#[test]
fn exec_cannot_be_traced_by_an_equal() {
    for host_pids in [false, true] {
        let bundle = if host_pids { tracer().without_namespace("pid") } else { tracer() };
        let attacks = attack_exec(bundle);
        deviates!(["runc", "crun"], "CVE-2016-9962: not dumpable only once it has joined");
        attacks.found_nothing();
    }
}

/// A2: a pod whose containers share their user and pid namespaces.
#[test]
fn init_cannot_be_traced_from_the_pod_that_it_joins() {
    deviates!(["runc", "crun"], "R135: mappings are wanted for a joined namespace");
    attack_making(&|first| joining(first, &["user", "pid"]), &|| {
        tracer().user_namespace().capability("CAP_SYS_PTRACE")
    });
}

/// A3: a pod whose containers share their pid namespace.
#[test]
fn init_cannot_be_traced_from_the_pid_namespace_that_it_joins() {
    attack_making(&|first| joining(first, &["pid"]), &tracer);
}

/// A2, A3: the pid namespace is the host's, the user namespace the other container's.
#[test]
fn init_cannot_be_traced_from_the_user_namespace_that_it_joins() {
    deviates!(["runc", "crun"], "R135: mappings are wanted for a joined namespace");
    attack_making(&|first| joining(first, &["user"]), &|| {
        tracer()
            .user_namespace()
            .capability("CAP_SYS_PTRACE")
            .without_namespace("pid")
            .edit(bind_proc)
    });
}

/// A procfs of the host's pid namespace cannot be mounted from a user namespace.
fn bind_proc(config: &mut crate::harness::Value) {
    config["mounts"][0] = json!({"destination": "/proc", "type": "none", "source": "/proc",
                                 "options": ["rbind"]});
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
}

/// A3: init has user and capabilities of the attacker for a moment, and is no different otherwise.
#[test]
fn init_cannot_be_traced_from_the_hosts_pid_namespace() {
    deviates!(["runc", "crun"], "CVE-2016-9962: dumpable again before execve");
    attack_making(&|_| Bundle::new(["true"]), &|| tracer().without_namespace("pid"));
}

/// A3, of a user without privilege.
#[test]
fn init_cannot_be_traced_by_a_user_of_the_hosts_pid_namespace() {
    let user = json!({"uid": 1000, "gid": 1000});
    attack_making(&|_| Bundle::new(["true"]).set("/process/user", user.clone()), &|| {
        tracer().without_namespace("pid").set("/process/user", user.clone())
    });
}

/// A3: a process in a created container against its own init, from then until it is started.
#[test]
fn init_of_a_created_container_cannot_be_traced_by_what_exec_has_started() {
    deviates!(["runc", "crun"], "CVE-2016-9962: dumpable again before execve");
    for users in [false, true] {
        let bundle = tracer();
        let bundle = match users {
            true => bundle.user_namespace().capability("CAP_SYS_PTRACE"),
            false => bundle,
        };
        let c = bundle.container();
        let attacker = std::sync::Arc::new(std::sync::Mutex::new(None));
        let (attacks, inner) = (Attacks::default(), attacker.clone());
        let seen = attacks.clone();
        let looks = move |step| {
            if let Some(attacker) = inner.lock().unwrap().as_mut() {
                seen.at(attacker, step);
            }
        };
        let (running, steps) = making(&c, "create").stepwise(looks);
        running.wait().ok();
        *attacker.lock().unwrap() = Some(Attacker::exec(&c));
        c.start().ok();
        remove(&c);
        steps.end();
        attacks.found_nothing();
    }
}

/// A10, B8: what every user of the container may read of a process tells nothing of the host: no
/// mount, no socket, no command line.
#[test]
fn exec_shows_nothing_of_the_host() {
    for users in [false, true] {
        let bundle = attacker::bundle("reader");
        let name = format!("socket-of-{}", bundle.id);
        let _socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap());
        // Not the bundle's: where the root comes from is in the container's own mountinfo.
        let state = bundle.dir().join("state");
        let state = state.display();
        let secrets = format!("{}=SECRET-xyz\n{name}\n{state}", attacker::SECRETS);
        let bundle = bundle
            .set("/process/env/-", json!(secrets))
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let bundle = if users { bundle.user_namespace() } else { bundle };
        let attacks = attack_exec(bundle);
        deviates!("crun", "B8: its command line is seen");
        attacks.found_nothing();
    }
}

/// B8: nor does a container show the runtime's command line to the pod that it joins.
#[test]
fn a_container_shows_no_command_line_to_its_pod() {
    deviates!("crun", "B8: its command line is seen");
    attack_making(&|first| joining(first, &["pid"]), &|| {
        let bundle = attacker::bundle("pod");
        let secrets = json!(format!("{}=/state", attacker::SECRETS));
        bundle.set("/process/env/-", secrets)
    });
}

/// CAP_SYS_PTRACE in the host's user namespace takes the channel. What comes over it then neither
/// fills the host's log nor keeps the caller.
#[test]
fn whoever_takes_the_wire_cannot_fill_the_log() {
    deviates!(["runc", "crun"], "they speak otherwise");
    let c = attacker::bundle("flooder").capability("CAP_SYS_PTRACE").container();
    let attacker = Attacker::up(&c);
    let (running, steps, attacks) = under_attack(c.call(["exec", &c.id, "/bin/true"]), attacker);
    let out = running.wait();
    remove(&c);
    steps.end();
    assert!(!attacks.reached().is_empty(), "nobody has taken the channel");
    assert_ne!(out.code, 0, "{out:?}");
    let told = out.stderr.matches("flood").count();
    assert!(told < 20, "{told} warnings: {out:?}");
    assert!(out.stderr.contains("more than it has to say"), "{out:?}");
}

/// The permitted capabilities of a process.
fn permitted(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let text = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
    u64::from_str_radix(text.trim(), 16).ok()
}

/// CAP_SYS_PTRACE in the host's user namespace is stronger than PR_SET_DUMPABLE: who has it finds no
/// capability to take, though seccomp(2) wants CAP_SYS_ADMIN without `no_new_privs`.
#[test]
fn what_exec_shows_has_the_capabilities_of_the_container() {
    let rule = json!([{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]);
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule});
    for created in [false, true] {
        let c = Bundle::sleeper()
            .capability("CAP_SYS_PTRACE")
            .set("/process/noNewPrivileges", json!(false))
            .set("/linux/seccomp", filter.clone())
            .container();
        c.create().ok();
        if !created {
            c.start().ok();
        }
        let init = c.pid().as_raw_pid();
        // CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE, CAP_SYS_PTRACE.
        let own: u64 = [29, 5, 10, 19].iter().map(|bit| 1 << bit).sum();
        let seen = std::sync::Arc::new(std::sync::Mutex::new(vec![permitted(init)]));
        let noted = std::sync::Arc::clone(&seen);
        let look = move |step: crate::harness::Step| {
            // In the container's pid namespace.
            if step.pids().len() > 1 {
                noted.lock().unwrap().push(permitted(step.pid));
            }
        };
        let (running, steps) = c.call(["exec", &c.id, "/bin/true"]).stepwise(look);
        running.wait().ok();
        c.call(["delete", "--force", &c.id]).run().ok();
        steps.end();
        let seen = seen.lock().unwrap();
        assert!(seen.len() > 1, "nobody was seen");
        deviates!(["runc", "crun"], "they enter with all of their capabilities");
        assert!(seen.iter().flatten().all(|set| set & !own == 0), "{created}: {seen:x?}");
    }
}
