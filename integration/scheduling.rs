//! When and where the process runs: scheduler, I/O priority, CPUs, memory nodes.

use crate::harness::{Bundle, Container, Hierarchy, Value, by_systemd, deviates, json, needs};
use std::fs;
use std::path::Path;

/// Policy (field 41 of proc_pid_stat(5)) and nice value (19) of a container.
fn stat_with(scheduler: Value) -> crate::harness::Output {
    Bundle::new(["awk", "{print $41, $19, $40}", "/proc/self/stat"])
        .set("/process/scheduler", scheduler)
        .run()
}

/// `struct sched_attr` (sched_setattr(2)).
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// What the kernel says of the init of a container with this scheduler.
#[track_caller]
fn attributes_with(scheduler: Value) -> Attributes {
    let c = Bundle::sleeper().set("/process/scheduler", scheduler).container().up();
    let mut seen = Attributes::default();
    let (pid, size) = (c.pid().as_raw_pid(), size_of::<Attributes>());
    // SAFETY: the structure is as long as the kernel is told, and outlives the call.
    #[expect(unsafe_code, reason = "rustix has no sched_getattr")]
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut seen, size, 0) };
    assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
    assert_eq!(seen.size as usize, size);
    seen
}

fn refused(pointer: &str, value: Value, field: &str) {
    let c = Bundle::sh("echo ran").set(pointer, value.clone()).container();
    let out = c.create();
    assert!(out.fails().contains(field), "{value}: {field}: {out:?}");
    c.call(["state", &c.id]).run().is_unknown();
}

/// `exec --process` of a document made from the container's own.
fn exec_process(c: &Container, change: impl FnOnce(&mut Value)) -> crate::harness::Output {
    let mut process = c.bundle.config()["process"].clone();
    change(&mut process);
    let file = c.bundle.dir().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    c.call(["exec", "--process", file.to_str().unwrap(), &c.id]).run()
}

fn two_cpus() -> bool {
    std::thread::available_parallelism().is_ok_and(|n| n.get() > 1)
}

fn numa() -> bool {
    Path::new("/proc/self/numa_maps").exists()
}

#[test]
fn r100_r101_affinity_of_exec_in_each_form() {
    deviates!(["runc", "crun"], "R100: newer than these");
    needs!(two_cpus(), "two CPUs");
    let c = Bundle::sleeper().container().up();
    for (affinity, cpus) in [
        (json!({"final": "1"}), "1"),
        (json!({"final": "0-1"}), "0-1"),
        (json!({"initial": "1", "final": "0"}), "0"),
        (json!({"initial": "0", "final": "0,1"}), "0-1"),
        // CPUs that are not there are left out, as long as one is.
        (json!({"final": "1,8000"}), "1"),
        (json!({"initial": "", "final": ""}), "0-1"),
    ] {
        let out = exec_process(&c, |p| {
            p["args"] = json!(["grep", "Cpus_allowed_list", "/proc/self/status"]);
            p["execCPUAffinity"] = affinity.clone();
        });
        assert_eq!(out.field("Cpus_allowed_list"), cpus, "{affinity}");
    }
}

/// The container's own configuration holds for every exec, not for init.
#[test]
fn r100_r101_affinity_from_config_json_is_for_exec_only() {
    deviates!(["runc", "crun"], "R100: newer than these");
    needs!(two_cpus(), "two CPUs");
    let c = Bundle::sleeper().set("/process/execCPUAffinity", json!({"final": "1"})).container();
    let c = c.up();
    let out = c.exec(["grep", "Cpus_allowed_list", "/proc/1/status", "/proc/self/status"]);
    let out = out.ok();
    assert!(out.contains("/proc/1/status:Cpus_allowed_list:\t0-1\n"), "{out}");
    assert!(out.contains("/proc/self/status:Cpus_allowed_list:\t1\n"), "{out}");
}

#[test]
fn r100_r101_bad_affinity_is_refused() {
    deviates!(["runc", "crun"], "R100: newer than these");
    for list in ["a", "1-", "3-1", "-1", "0,,1", "9000", "0x1"] {
        for name in ["initial", "final"] {
            refused(
                "/process/execCPUAffinity",
                json!({name: list}),
                &format!("process.execCPUAffinity.{name}"),
            );
        }
    }
    let c = Bundle::sleeper().container().up();
    let out = exec_process(&c, |p| p["execCPUAffinity"] = json!({"final": "8000"}));
    out.fails_with(&["process.execCPUAffinity.final"]);
    let out = exec_process(&c, |p| p["execCPUAffinity"] = json!({"initial": "8000"}));
    out.fails_with(&["process.execCPUAffinity.initial"]);
}

#[test]
fn r102_the_cpuset_bounds_the_reset_affinity() {
    deviates!("crun", "R102: newer than crun 1.8.1");
    needs!(two_cpus(), "two CPUs");
    let out = Bundle::new(["grep", "Cpus_allowed_list", "/proc/self/status"])
        .set("/linux/resources/cpu", json!({"cpus": "1"}))
        .run();
    assert_eq!(out.field("Cpus_allowed_list"), "1");
}

/// The first line that numa_maps(5) prints shows the process's policy.
fn policy_of(policy: &Value) -> String {
    let c = Bundle::sleeper().set("/linux/memoryPolicy", policy.clone()).container().up();
    let maps = c.exec(["cat", "/proc/1/numa_maps"]);
    maps.ok().lines().next().unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn r219_r220_r221_memory_policies() {
    deviates!(["runc", "crun"], "R219: newer than these");
    needs!(numa(), "NUMA");
    for (policy, shown) in [
        (json!({"mode": "MPOL_DEFAULT"}), "default"),
        (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), "interleave:0"),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
        (json!({"mode": "MPOL_PREFERRED"}), "local"),
        (json!({"mode": "MPOL_LOCAL", "nodes": ""}), "local"),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "bind=static:0",
        ),
        (
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
            "interleave=relative:0",
        ),
    ] {
        assert_eq!(policy_of(&policy), shown, "{policy}");
    }
}

/// Modes and flags that came after Linux 5.10: either the kernel has them, or
/// its refusal is told with the field.
#[test]
fn r219_r221_newer_memory_policies() {
    deviates!(["runc", "crun"], "R219: newer than these");
    needs!(numa(), "NUMA");
    for (policy, shown) in [
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), "prefer (many):0"),
        (json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}), "weighted interleave:0"),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            "bind=balancing:0",
        ),
    ] {
        let c = Bundle::new(["cat", "/proc/self/numa_maps"]);
        let out = c.set("/linux/memoryPolicy", policy.clone()).run();
        if out.code == 0 {
            let first = out.stdout.lines().next().unwrap();
            assert!(first.contains(shown) || first.contains("bind"), "{policy}: {first}");
        } else {
            assert!(out.stderr.contains("linux.memoryPolicy: set_mempolicy"), "{out:?}");
        }
    }
}

/// As runc: a further process of the container has its policy, too.
#[test]
fn r222_exec_has_the_memory_policy() {
    deviates!(["runc", "crun"], "R222: newer than these");
    needs!(numa(), "NUMA");
    let policy = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"});
    let c = Bundle::sleeper().set("/linux/memoryPolicy", policy).container().up();
    let out = c.exec(["cat", "/proc/self/numa_maps"]);
    assert!(out.ok().lines().next().unwrap().contains("interleave:0"), "{out:?}");
}

#[test]
fn r219_r220_r221_bad_memory_policies_are_refused() {
    deviates!(["runc", "crun"], "R219: newer than these");
    for (policy, field) in [
        (json!({"mode": "MPOL_NONSENSE"}), "linux.memoryPolicy.mode"),
        (json!({"mode": ""}), "linux.memoryPolicy.mode"),
        (json!({"nodes": "0"}), "linux.memoryPolicy"),
        (json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), "linux.memoryPolicy.nodes"),
        (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "linux.memoryPolicy.nodes"),
        (json!({"mode": "MPOL_BIND"}), "linux.memoryPolicy.nodes"),
        (json!({"mode": "MPOL_BIND", "nodes": "0-"}), "linux.memoryPolicy.nodes"),
        (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}), "linux.memoryPolicy.flags[0]"),
        // The kernel's judgement, after the process exists, and still nothing is left.
        (json!({"mode": "MPOL_BIND", "nodes": "1023"}), "linux.memoryPolicy"),
    ] {
        refused("/linux/memoryPolicy", policy, field);
    }
}

#[test]
fn r094_r095_r096_policies_of_the_scheduler() {
    deviates!(["runc", "crun"], "R094: newer than these");
    for (scheduler, shown) in [
        (json!({"policy": "SCHED_OTHER", "nice": 7}), "0 7 0\n"),
        (json!({"policy": "SCHED_OTHER", "nice": -5}), "0 -5 0\n"),
        (json!({"policy": "SCHED_BATCH", "nice": 3}), "3 3 0\n"),
        (json!({"policy": "SCHED_IDLE"}), "5 0 0\n"),
        (json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}), "3 0 0\n"),
    ] {
        assert_eq!(stat_with(scheduler.clone()).ok(), shown, "{scheduler}");
    }
}

/// Under cgroup v1 a real-time process needs a budget (sched-rt-group.rst).
#[test]
fn r094_r095_real_time_policies() {
    needs!(!by_systemd(), "the cgroupfs driver");
    deviates!(["runc", "crun"], "R094: newer than these");
    for (policy, priority, shown) in [("SCHED_FIFO", 10, "1 0 10\n"), ("SCHED_RR", 99, "2 0 99\n")]
    {
        let bundle = Bundle::new(["awk", "{print $41, $19, $40}", "/proc/self/stat"]);
        let path = format!("/{}", bundle.id);
        let bundle = bundle
            .set("/process/scheduler", json!({"policy": policy, "priority": priority}))
            .set("/linux/cgroupsPath", json!(path));
        let bundle = match Hierarchy::of_host() {
            Hierarchy::V1 => bundle.set("/linux/resources/cpu", json!({"realtimeRuntime": 10_000})),
            Hierarchy::V2 => bundle,
        };
        let out = bundle.run();
        needs!(!out.stderr.contains("cpu.rt_runtime_us"), "a real-time budget");
        assert_eq!(out.ok(), shown, "{policy}");
    }
}

#[test]
fn r094_r095_r096_deadline_policy() {
    deviates!(["runc", "crun"], "R094: newer than these");
    let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000,
        "deadline": 10_000_000, "period": 20_000_000, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    let out = stat_with(scheduler);
    assert_eq!(out.ok(), "6 0 0\n");
    assert_eq!(out.stderr, "");
    for (flags, shown) in [
        (&[][..], 0),
        (&["SCHED_FLAG_RESET_ON_FORK"][..], 1),
        (&["SCHED_FLAG_RECLAIM"][..], 2),
        (&["SCHED_FLAG_DL_OVERRUN"][..], 4),
        (&["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM"][..], 7),
    ] {
        let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_001,
            "deadline": 10_000_002, "period": 20_000_003, "flags": flags});
        let seen = attributes_with(scheduler);
        assert_eq!((seen.policy, seen.flags), (6, shown), "{flags:?}");
        assert_eq!((seen.runtime, seen.deadline, seen.period), (1_000_001, 10_000_002, 20_000_003));
    }
    // More than the machine has: the kernel's EBUSY comes with its meaning. Not
    // a test of its own, as it would take away what the above needs.
    let whole = json!({"policy": "SCHED_DEADLINE", "runtime": 20_000_000,
        "deadline": 20_000_000, "period": 20_000_000});
    let bundles: Vec<_> = (0..64)
        .map(|_| Bundle::sleeper().set("/process/scheduler", whole.clone()).container())
        .collect();
    let out = bundles.iter().map(Container::create).find(|out| out.code != 0);
    let out = out.expect("64 whole CPUs");
    out.fails_with(&["process.scheduler: sched_setattr(SCHED_DEADLINE"]);
    assert!(out.stderr.contains("deadlines already granted"), "{out:?}");
}

#[test]
fn r094_r095_r096_bad_schedulers_are_refused() {
    deviates!(["runc", "crun"], "R094: newer than these");
    let deadline = |runtime: u64, deadline: u64, period: u64| {
        json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline,
               "period": period})
    };
    let at = |name: &str| format!("process.scheduler.{name}");
    for (scheduler, field) in [
        (json!({"policy": "SCHED_ISO"}), at("policy")),
        (json!({"policy": "SCHED_OTHER", "nice": 20}), at("nice")),
        (json!({"policy": "SCHED_OTHER", "nice": -21}), at("nice")),
        (json!({"policy": "SCHED_OTHER", "priority": 1}), at("priority")),
        (json!({"policy": "SCHED_FIFO"}), at("priority")),
        (json!({"policy": "SCHED_RR", "priority": 100}), at("priority")),
        (json!({"policy": "SCHED_RR", "priority": -1}), at("priority")),
        (json!({"policy": "SCHED_OTHER", "runtime": 5000}), at("runtime")),
        (json!({"policy": "SCHED_FIFO", "priority": 1, "period": 5000}), at("period")),
        (deadline(0, 0, 0), at("runtime")),
        (deadline(1000, 10_000, 10_000), at("runtime")),
        (deadline(20_000, 10_000, 30_000), at("runtime")),
        (deadline(5_000, 10_000, 9_000), at("deadline")),
        (deadline(5_000, 1 << 63, 0), at("deadline")),
        (json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]}), at("flags[0]")),
    ] {
        refused("/process/scheduler", scheduler, &field);
    }
}

#[test]
fn r094_sched_iso_is_refused_with_a_reason() {
    deviates!(["runc", "crun"], "R094: newer than these");
    let out = stat_with(json!({"policy": "SCHED_ISO"}));
    assert!(out.fails().contains("no Linux kernel"), "{out:?}");
}

#[test]
fn r096_reset_on_fork_reaches_the_kernel() {
    deviates!(["runc", "crun"], "R096: newer than these");
    // The shell's child falls back to nice 0: it was below.
    let scheduler = json!({"policy": "SCHED_OTHER", "nice": -5,
                           "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    let out = Bundle::sh("awk '{print $19}' /proc/self/stat; awk '{print $19}' /proc/1/stat")
        .set("/process/scheduler", scheduler)
        .run();
    assert_eq!(out.ok(), "0\n-5\n");
}

#[test]
fn r099_io_priorities() {
    deviates!(["runc", "crun"], "R099: newer than these");
    for (class, priority, shown) in [
        ("IOPRIO_CLASS_RT", 0, "realtime: prio 0\n"),
        ("IOPRIO_CLASS_BE", 7, "best-effort: prio 7\n"),
        ("IOPRIO_CLASS_IDLE", 0, "idle\n"),
    ] {
        let out = Bundle::new(["busybox", "ionice"])
            .set("/process/ioPriority", json!({"class": class, "priority": priority}))
            .run();
        let seen = out.ok().replace("idle: prio 0", "idle");
        assert_eq!(seen, shown, "{class}");
    }
}

#[test]
fn r099_exec_has_its_own_io_priority() {
    deviates!(["runc", "crun"], "R099: newer than these");
    let c = Bundle::sleeper().container().up();
    let out = exec_process(&c, |p| {
        p["args"] = json!(["busybox", "ionice"]);
        p["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 5});
    });
    assert_eq!(out.ok(), "best-effort: prio 5\n");
}

/// sched_setattr(2): what is kept is what the caller had, whatever stands beside the flag.
#[test]
fn r096_what_is_to_be_kept_is_kept() {
    deviates!(["runc", "crun"], "R096: newer than these");
    let own = |flags: &[&str]| {
        let seen = attributes_with(json!({"policy": "SCHED_BATCH", "nice": 7, "flags": flags}));
        (seen.policy, seen.nice, seen.flags)
    };
    let (policy, params) = ("SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS");
    assert_eq!(own(&[]), (3, 7, 0));
    assert_eq!(own(&[policy]), (0, 7, 0));
    // Linux takes the policy for one of the parameters.
    assert_eq!(own(&[params]).1, 0);
    assert_eq!(own(&[policy, params]), (0, 0, 0));
    assert_eq!(own(&["SCHED_FLAG_RESET_ON_FORK"]), (3, 7, 1));
}

/// Where the kernel has clamps the values are read back, elsewhere its refusal is told.
#[test]
fn r096_r097_clamps_of_utilisation() {
    deviates!(["runc", "crun"], "R097: 0 for both");
    for (flag, least, most) in [
        ("SCHED_FLAG_UTIL_CLAMP_MIN", Some(0), None),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", None, Some(1024)),
    ] {
        let scheduler = json!({"policy": "SCHED_BATCH", "flags": [flag]});
        let out = stat_with(scheduler.clone());
        if out.code != 0 {
            out.fails_with(&["process.scheduler: sched_setattr(SCHED_BATCH"]);
            out.fails_with(&["no utilisation clamp"]);
            continue;
        }
        let seen = attributes_with(scheduler);
        assert!(least.is_none_or(|least| seen.util_min == least), "{seen:?}");
        assert!(most.is_none_or(|most| seen.util_max == most), "{seen:?}");
    }
}
