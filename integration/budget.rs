//! No needless system call: each command has a budget, counted by strace. The
//! figures are those of cgroup v1 with ten hierarchies, where there are most;
//! a change that needs more says why, here and in docs/performance.md.
//!
//! What the protections of SECURITY.md cost in calls: `create` has a signalfd and a
//! poll before each message, so that a signal ends it, and two statx for each mount
//! that is held; `exec` makes a second process, which enters nothing, and its end.
//! Four to five of each are a look at the owners of the state root, of what is above it
//! and of the container's directory; two at the default root. Two of `create` ask what the
//! root of a mount namespace is, before it is taken for the kernel's minimal one.
//!
//! That the end of the channel is no success costs `start`, `exec` and `run` a look at the
//! flags of the process, of three calls; `start` asks for the freezer, too, and whether
//! the process is still the one. Dispositions of signals that are taken over and given
//! back are three calls of each command that makes processes.
//!
//! A record on a disk, as the ones here, tells its process by the inode of a pidfd beside the
//! start time: that is one fstat for `state` and `kill`.
//!
//! Where two processes are counted the order in which they run counts too: who
//! finds the other ready makes no call to wait, who is woken by two events one
//! after the other waits twice. That is under ten calls, and the margin for it.

use crate::harness::{Bundle, Call, Container, is_pinnace, runtime, wait_for};
use rustix::event::PollFlags;
use rustix::process::{PidfdFlags, pidfd_open};
use std::fs;

/// The number of calls that `args` makes; with its children's in `whole`.
fn count(c: &Container, whole: bool, args: &[&str]) -> usize {
    let trace = c.bundle.dir().join("trace");
    let strace = Call::new("/usr/bin/strace").args(["-qq", "-o"]).args([&trace]);
    let strace = if whole { strace.args(["-f"]) } else { strace };
    strace
        .args([runtime().path.as_os_str()])
        .args(["--root", c.root().to_str().unwrap()])
        .args(args)
        .output_to(c.log("stdout"), c.log("stderr"))
        .run()
        .ok();
    let text = fs::read_to_string(&trace).unwrap();
    let begun =
        |line: &&str| line.contains('(') && !line.contains(" resumed>") && !line.contains("+++");
    text.lines().filter(begun).count() - others(&text)
}

/// Calls that depend on what else lives on the machine: a mount namespace on the way to the
/// kernel's minimal one is opened and closed, and asked for its root if it has few mounts. Two
/// steps and one question are due anywhere.
fn others(trace: &str) -> usize {
    let count = |words: &[&str]| {
        trace.lines().filter(|line| words.iter().any(|word| line.contains(word))).count()
    };
    // Older versions of strace have no names for these.
    let steps = count(&["0xb7, 0xb,", "0xb7, 0xc,", "NS_MNT_GET_NEXT", "NS_MNT_GET_PREV"]);
    let questions = count(&["listmount(", "statmount(", "syscall_0x1c9(", "syscall_0x1ca("]);
    2 * steps.saturating_sub(2) + questions.saturating_sub(2)
}

#[test]
fn no_command_makes_more_calls_than_it_needs() {
    if !is_pinnace() || !fs::exists("/usr/bin/strace").unwrap() {
        eprintln!("skipped: counts pinnace's calls with strace");
        return;
    }
    let c = Bundle::sleeper().container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let id = c.id.as_str();
    let mut wrong = Vec::new();
    let mut check = |name: &str, budget: usize, got: usize| {
        if got > budget {
            wrong.push(format!("{name}: {got}, budget {budget}"));
        }
    };
    check("create, its own side", 229, count(&c, false, &["create", "--bundle", &bundle, id]));
    check("start", 42, count(&c, false, &["start", id]));
    check("state", 26, count(&c, false, &["state", id]));
    check("exec", 219, count(&c, true, &["exec", id, "true"]));
    let init = pidfd_open(c.pid(), PidfdFlags::empty()).unwrap();
    check("kill", 29, count(&c, false, &["kill", id, "KILL"]));
    assert!(wait_for(&init, PollFlags::IN));
    check("delete", 62, count(&c, false, &["delete", id]));
    let once = Bundle::new(["true"]).container();
    let bundle = once.bundle.path().to_str().unwrap().to_owned();
    check("run", 572, count(&once, true, &["run", "--bundle", &bundle, &once.id]));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
