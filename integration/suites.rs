//! What the peers' own suites try and no other file here does.

use crate::harness::{Bundle, deviates, exits, is_pinnace, json};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// Processes that live on in the host's pid namespace when init has ended.
#[test]
fn kill_ends_what_has_outlived_an_init_without_a_pid_namespace() {
    let c = Bundle::server().without_namespace("pid").container().up_and_ready();
    for _ in 0..3 {
        c.exec_with(["--detach"], ["sleep", "1000"]).ok();
    }
    let (init, procs) = (c.pid(), c.cgroup("pids").join("cgroup.procs"));
    kill_process(init, Signal::KILL).unwrap();
    assert!(exits(init));
    let pids = || -> Vec<Pid> {
        let text = fs::read_to_string(&procs).unwrap_or_default();
        text.lines().map(|line| Pid::from_raw(line.parse().unwrap()).unwrap()).collect()
    };
    let left = pids();
    assert!(left.len() >= 3, "{left:?}");
    deviates!(["runc", "crun"], "runc 1.1.5, and crun, only with --all");
    // Other signals are for init alone, which is not there.
    assert!(c.kill("TERM").fails().contains("not running"));
    assert_eq!(pids().len(), left.len());
    c.kill("KILL").ok();
    assert!(left.into_iter().all(exits));
    // Now there is nobody, as engines have to be told.
    assert!(c.kill("KILL").fails().contains("not running"));
    assert_eq!(c.status(), "stopped");
}

#[test]
fn letters_that_are_no_access_are_passed_over_with_a_warning() {
    let rule = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwa"});
    let c = Bundle::sh("echo ran").set("/linux/resources/devices/-", rule).container();
    let out = c.run();
    deviates!("crun", "refused by the kernel");
    assert_eq!(out.ok(), "ran\n");
    let told = out.stderr.contains("linux.resources.devices[1].access: of \"rwa\" only r, w and m");
    assert!(told || !is_pinnace(), "{out:?}");
}

#[test]
fn a_size_of_pages_may_be_named_as_go_reads_it() {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").map(|dir| dir.count()).unwrap_or(0);
    crate::harness::needs!(sizes > 0, "huge pages");
    deviates!(["runc", "crun"], "R195: runc does not look for them in v2's half; crun: pageSize");
    let limit = json!([{"pagesize": "2MB", "limit": 2_097_152}]);
    let out = Bundle::sh("echo ran").set("/linux/resources/hugepageLimits", limit).run();
    assert_eq!(out.ok(), "ran\n");
}
