//! Set-up and take-down killed before each of their system calls, and each of these failing.

use super::world::{HOST, Namespace, Protocol, World};
use crate::harness::{Output, deviates, needs, runtime};
use std::collections::BTreeMap;
use std::path::Path;

const SETUP: &str = "-p 8080:80 --ip 10.77.0.9";

/// Runs before there is anything to lose, and what a process does with its own memory.
const IDLE: &[&str] = &[
    "arch_prctl",
    "rt_sigprocmask",
    "brk",
    "close_range",
    "execve",
    "exit_group",
    "getpid",
    "mmap",
    "munmap",
    "poll",
    "rt_sigaction",
    "set_tid_address",
    "close",
    "fcntl",
    "fstat",
    "setsockopt",
];

/// What changes anything that another process sees.
const CHANGES: &[&str] = &[
    "flock",
    "ftruncate",
    "mkdir",
    "mkdirat",
    "pwrite64",
    "rename",
    "renameat",
    "rmdir",
    "sendto",
    "setns",
    "unlink",
    "unlinkat",
    "write",
];

struct Lab {
    world: World,
    spare: Namespace,
}

impl Lab {
    fn new() -> Self {
        Self { world: World::new(), spare: World::namespace() }
    }

    /// `pinnace network` under strace(1).
    fn traced(&self, options: &str, words: &str) -> Output {
        let program = runtime().path.to_str().unwrap();
        let line = format!("/usr/bin/strace {options} {program} network {words}");
        self.world.host.call(&line).run()
    }

    fn setup(&self) -> String {
        format!("setup --netns {} --name web {SETUP}", self.spare.path().display())
    }

    /// How often each call is made.
    fn calls(&self, words: &str) -> Vec<(String, usize)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        self.traced(&format!("-o {}", file.path().display()), words).ok();
        let mut all: BTreeMap<String, usize> = BTreeMap::new();
        for line in std::fs::read_to_string(file.path()).unwrap().lines() {
            let Some((name, _)) = line.split_once('(') else { continue };
            if !IDLE.contains(&name) {
                *all.entry(name.to_owned()).or_default() += 1;
            }
        }
        all.into_iter().collect()
    }

    fn each(&self, words: &str, act: &mut dyn FnMut(&str, usize)) {
        for (call, count) in self.calls(words) {
            (1..=count).for_each(|n| act(&call, n));
        }
    }

    /// Before a call that changes nothing it is as before the next one.
    fn each_change(&self, words: &str, act: &mut dyn FnMut(&str, usize)) {
        self.each(words, &mut |call, n| {
            if CHANGES.contains(&call) {
                act(call, n);
            }
        });
    }

    /// What a namespace lost that was thrown away with its container.
    fn lose(&self) {
        self.spare.call("/usr/sbin/ip link del eth0").run();
    }

    #[track_caller]
    fn is_empty(&self, what: &str) {
        let left = self.world.left();
        assert!(left.is_empty(), "{what}: {left:#?}");
    }
}

macro_rules! needs_strace {
    () => {
        deviates!(["runc", "crun"], "they have no networks");
        needs!(Path::new("/usr/sbin/nft").exists(), "nft");
        needs!(Path::new("/usr/bin/strace").exists(), "strace");
    };
}

#[test]
fn a_setup_that_is_killed_leaves_nothing_that_the_next_does_not_take() {
    needs_strace!();
    let lab = Lab::new();
    let setup = lab.setup();
    // First with nothing there, then beside another member.
    for beside in [false, true] {
        let _db = beside.then(|| lab.world.member("db", "--ip 10.77.0.10"));
        lab.each_change(&setup, &mut |call, n| {
            lab.world.network("teardown --name web").ok();
            let options =
                format!("-o /dev/null -e trace={call} -e inject={call}:signal=KILL:when={n}");
            let out = lab.traced(&options, &setup);
            let what = format!("killed at {call} {n}, beside: {beside}: {out:?}");
            // The next one with the same port and address, then with the same name.
            lab.lose();
            for name in ["other", "web"] {
                let words =
                    format!("setup --netns {} --name {name} {SETUP}", lab.spare.path().display());
                let out = lab.world.network(&words);
                assert_eq!(out.code, 0, "{what}: {out:?}");
                let rules = lab.world.ruleset();
                assert!(rules.contains("10.77.0.9 . 80"), "{what}: {rules}");
                lab.world.network(&format!("teardown --name {name}")).ok();
            }
            if !beside {
                lab.world.network("prune").ok();
                lab.is_empty(&what);
            }
        });
        lab.world.network("teardown --name web").ok();
    }
    // And by prune alone.
    lab.world.network("teardown --name db").ok();
    lab.world.network("prune").ok();
    lab.each_change(&setup, &mut |call, n| {
        lab.world.network("teardown --name web").ok();
        let options = format!("-o /dev/null -e trace={call} -e inject={call}:signal=KILL:when={n}");
        lab.traced(&options, &setup);
        lab.lose();
        lab.world.network("prune").ok();
        lab.is_empty(&format!("{call} {n}, pruned"));
    });
}

/// What calls fail with: each in its turn, so that a test ends in time.
const ERRORS: [&str; 8] =
    ["EIO", "EPERM", "ENOMEM", "ENOSPC", "EAGAIN", "EINTR", "ENOBUFS", "EMFILE"];

/// Which of the 16 turns this is: another can be had, to see all errors of all calls.
fn turn() -> usize {
    let turn = std::env::var("PINNACE_TEST_TURN").ok().and_then(|turn| turn.parse().ok());
    turn.unwrap_or(0)
}

/// The error of the next call.
fn errors() -> impl Iterator<Item = &'static str> {
    ERRORS.into_iter().cycle().skip(turn() % ERRORS.len())
}

/// Of the calls that change nothing, every second has its turn.
fn has_its_turn(call: &str, n: usize) -> bool {
    CHANGES.contains(&call) || (n + turn() / ERRORS.len()).is_multiple_of(2)
}

#[test]
fn a_setup_of_which_a_call_fails_leaves_nothing() {
    needs_strace!();
    let lab = Lab::new();
    let setup = lab.setup();
    let mut errors = errors();
    lab.each(&setup, &mut |call, n| {
        if !has_its_turn(call, n) {
            return;
        }
        // The one of which the calls were counted, or one that did without.
        if lab.spare.ip("-o link show").contains("eth0") {
            lab.world.network("teardown --name web").ok();
        }
        let how = format!("error={}", errors.next().unwrap());
        let options = format!("-o /dev/null -e trace={call} -e inject={call}:{how}:when={n}");
        let out = lab.traced(&options, &setup);
        let what = format!("{call} {n} {how}: {out:?}");
        let has_device = lab.spare.ip("-o link show").contains("eth0");
        if out.code == 0 {
            assert!(has_device, "{what}");
        } else {
            assert_eq!(out.stderr.lines().count(), 1, "{what}");
            assert!(!has_device, "{what}");
            lab.is_empty(&what);
        }
    });
}

#[test]
fn a_teardown_that_is_killed_or_fails_can_be_repeated() {
    needs_strace!();
    let lab = Lab::new();
    let (setup, teardown) = (lab.setup(), "teardown --name web");
    lab.world.network(&setup).ok();
    let mut errors = errors();
    for is_killed in [true, false] {
        let each = if is_killed { Lab::each_change } else { Lab::each };
        each(&lab, teardown, &mut |call, n| {
            if !has_its_turn(call, n) {
                return;
            }
            let how = match is_killed {
                true => "signal=KILL".to_owned(),
                false => format!("error={}", errors.next().unwrap()),
            };
            lab.world.network("prune").ok();
            lab.world.network(&setup).ok();
            let options = format!("-o /dev/null -e trace={call} -e inject={call}:{how}:when={n}");
            let out = lab.traced(&options, teardown);
            lab.world.network(teardown).ok();
            // A device may be all that was left, or a network without members.
            lab.lose();
            lab.world.network("prune").ok();
            lab.is_empty(&format!("{call} {n} {how}: {out:?}"));
        });
        lab.world.network(&setup).ok();
    }
    lab.world.network(teardown).ok();
    assert!(lab.world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_err());
}

/// What was put into another firewall is on record before.
#[test]
fn a_setup_that_is_killed_leaves_no_rule_in_another_firewall() {
    needs_strace!();
    needs!(Path::new("/usr/sbin/iptables-nft").exists(), "iptables-nft");
    let lab = Lab::new();
    let iptables = |words: &str| lab.world.host.call(&format!("/usr/sbin/{words}")).run();
    let both = || ["iptables-nft -S", "ip6tables-nft -S"].map(|words| iptables(words).stdout);
    iptables("iptables-nft -P FORWARD DROP").ok();
    iptables("ip6tables-nft -P FORWARD DROP").ok();
    let before = both();
    let setup = format!("{} --firewall insert", lab.setup());
    for how in ["signal=KILL", "error=ENOSPC"] {
        lab.each_change(&setup, &mut |call, n| {
            lab.world.network("teardown --name web").ok();
            let options = format!("-o /dev/null -e trace={call} -e inject={call}:{how}:when={n}");
            let out = lab.traced(&options, &setup);
            lab.lose();
            lab.world.network("prune").ok();
            let what = format!("{how} {call} {n}: {out:?}");
            lab.is_empty(&what);
            assert_eq!(both(), before, "{what}");
        });
    }
}

/// A neighbour's `hosts` is a file that is being read, by a program that does not wait.
#[test]
fn a_setup_that_is_killed_or_fails_leaves_its_neighbours_their_names() {
    needs_strace!();
    let lab = Lab::new();
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    for name in ["hosts", "resolv.conf", "hostname"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let words = format!("--files {} --dns 192.0.2.53", dir.path().display());
    let _db = lab.world.member("db", &words);
    let setup = lab.setup();
    for how in ["signal=KILL", "error=ENOSPC", "error=EPERM"] {
        for call in ["openat", "write", "ftruncate"] {
            // Of all files only that one.
            let options = format!("-o /dev/null -P {} -e inject={call}:{how}", hosts.display());
            let out = lab.traced(&options, &setup);
            let text = std::fs::read_to_string(&hosts).unwrap();
            let what = format!("{how} at {call}: {out:?}");
            assert!(text.contains("localhost") && text.contains(" db\n"), "{what}: {text}");
            // What cannot be written there hurts nobody else, but reading comes before.
            assert!(how == "signal=KILL" || call == "openat" || out.code == 0, "{what}");
            lab.lose();
            lab.world.network("prune").ok();
        }
    }
    lab.world.network(&setup).ok();
    assert!(std::fs::read_to_string(&hosts).unwrap().contains(" web\n"));
}

#[test]
fn prune_removes_what_a_killed_command_was_writing() {
    needs_strace!();
    let lab = Lab::new();
    lab.world.network("create kept").ok();
    let before = lab.world.left();
    let setup = lab.setup().replace("setup", "setup kept");
    let setup = setup.replace(SETUP, "").trim().to_owned();
    for (call, n) in lab.calls(&setup) {
        lab.world.network("teardown kept --name web").ok();
        if !call.starts_with("rename") {
            continue;
        }
        let options = format!("-o /dev/null -e trace={call} -e inject={call}:signal=KILL:when={n}");
        lab.traced(&options, &setup);
        assert_ne!(lab.world.left(), before);
        lab.world.network("prune").ok();
        assert_eq!(lab.world.left(), before);
    }
}
