//! What shows nowhere but in the system call: words of mount options that no table of mounts has,
//! flags that only the kernel sees, and what comes before what. Told by strace(1).

use crate::harness::{Bundle, Call, Container, Output, Value, deviates, json, needs, runtime};
use std::fs;

const STRACE: &str = "/usr/bin/strace";

fn has_strace() -> bool {
    fs::exists(STRACE).unwrap()
}

/// A call of the runtime, and those of `names` that it and all its children make.
fn traced<const N: usize>(c: &Container, names: &str, args: [&str; N]) -> (Output, Vec<String>) {
    let trace = c.bundle.dir().join("trace");
    let out = Call::new(STRACE)
        .args(["-f", "-qq", "-s", "256", "-e", &format!("trace={names}"), "-o"])
        .args([trace.as_os_str(), runtime().path.as_os_str()])
        .args(c.global())
        .args(args)
        .run();
    let text = fs::read_to_string(trace).unwrap();
    (out, text.lines().map(str::to_owned).collect())
}

fn traced_run(bundle: Bundle, names: &str) -> (Output, Vec<String>) {
    let c = bundle.container();
    let path = c.bundle.path();
    traced(&c, names, ["run", "--bundle", path.to_str().unwrap(), &c.id])
}

/// The flags of mount(2), for a tmpfs with these options.
fn flags_of(options: &[&str]) -> String {
    let bundle = Bundle::new(["true"]).mount("tmpfs", "boat", "/m", options);
    let (out, calls) = traced_run(bundle, "mount");
    out.ok();
    calls.into_iter().filter(|line| line.contains("\"boat\"")).collect()
}

#[test]
fn r025_r033_the_last_word_on_versions_of_inodes_reaches_the_kernel() {
    needs!(has_strace(), STRACE);
    deviates!("crun", "R025, R033: EINVAL, or unknown");
    assert!(flags_of(&["iversion"]).contains("MS_I_VERSION"));
    assert!(flags_of(&["noiversion", "iversion"]).contains("MS_I_VERSION"));
    let flags = flags_of(&["iversion", "noiversion", "silent"]);
    assert!(!flags.contains("MS_I_VERSION") && flags.contains("MS_SILENT"), "{flags}");
}

#[test]
fn r027_r069_the_last_word_on_silence_reaches_the_kernel() {
    needs!(has_strace(), STRACE);
    deviates!(["runc", "crun"], "R027, R069: unknown, or an option of the file system");
    assert!(flags_of(&["silent"]).contains("MS_SILENT"));
    assert!(flags_of(&["loud", "silent"]).contains("MS_SILENT"));
    let flags = flags_of(&["silent", "loud", "iversion"]);
    assert!(!flags.contains("MS_SILENT") && flags.contains("MS_I_VERSION"), "{flags}");
}

/// The flags with which a filter was loaded.
fn filter_flags(flags: &Value) -> Vec<String> {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags,
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]});
    let (out, calls) = traced_run(Bundle::new(["true"]).set("/linux/seccomp", profile), "seccomp");
    out.ok();
    let loaded = calls.iter().filter(|line| line.contains("SECCOMP_SET_MODE_FILTER"));
    let loaded = loaded.filter(|line| line.contains("{len=") && line.contains(" = 0"));
    loaded.map(|line| line.split(", ").nth(1).unwrap().to_owned()).collect()
}

/// The first two have no effect that a single process could feel, and no kernel since 5.16
/// mitigates what the third one is about.
#[test]
fn r229_r230_r231_each_flag_reaches_the_kernel() {
    needs!(has_strace(), STRACE);
    deviates!(["runc", "crun"], "R229: newer than these, or set by themselves");
    for names in [&["TSYNC"][..], &["LOG"], &["SPEC_ALLOW"], &["TSYNC", "LOG", "SPEC_ALLOW"], &[]] {
        let names: Vec<_> =
            names.iter().map(|name| format!("SECCOMP_FILTER_FLAG_{name}")).collect();
        let shown = if names.is_empty() { "0".to_owned() } else { names.join("|") };
        assert_eq!(filter_flags(&json!(names)), [shown], "{names:?}");
    }
}

/// The spec has no field for the value: the least is 0, the most a whole CPU.
#[test]
fn r096_r097_flags_of_utilisation_come_with_their_value() {
    needs!(has_strace(), STRACE);
    deviates!(["runc", "crun"], "R097: newer than these, or 0 for both");
    for (flag, value) in [("MIN", "sched_util_min=0"), ("MAX", "sched_util_max=1024")] {
        let flag = format!("SCHED_FLAG_UTIL_CLAMP_{flag}");
        let scheduler = json!({"policy": "SCHED_BATCH", "flags": [flag]});
        let bundle = Bundle::new(["true"]).set("/process/scheduler", scheduler);
        let (out, calls) = traced_run(bundle, "sched_setattr");
        let call = calls.iter().find(|line| line.contains("SCHED_BATCH"));
        let call = call.unwrap_or_else(|| panic!("{calls:?}"));
        assert!(call.contains(&flag) && call.contains(value), "{call}");
        // A kernel without them says so, and that is told.
        assert_eq!(out.code == 0, call.contains(" = 0"), "{out:?} {call}");
    }
}

/// config.md, Linux Process: "initially, before the transition to container's cgroup"; without
/// `final` nothing changes it afterwards.
#[test]
fn r100_initial_alone_holds_before_the_cgroup_is_entered() {
    needs!(has_strace(), STRACE);
    deviates!(["runc", "crun"], "R100: newer than these");
    needs!(std::thread::available_parallelism().is_ok_and(|n| n.get() > 1), "two CPUs");
    let c = Bundle::sleeper().container().up();
    let mut process = c.bundle.config()["process"].clone();
    process["args"] = json!(["grep", "Cpus_allowed_list", "/proc/self/status"]);
    process["execCPUAffinity"] = json!({"initial": "1"});
    let file = c.bundle.dir().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let names = "sched_setaffinity,clone3,openat,openat2";
    let args = ["exec", "--process", file.to_str().unwrap(), c.id.as_str()];
    let (out, calls) = traced(&c, names, args);
    assert_eq!(out.field("Cpus_allowed_list"), "1");
    let at = |words: &[&str]| {
        let all = calls.iter().enumerate();
        let all = all.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        all.map(|(place, _)| place).collect::<Vec<_>>()
    };
    let (set, entered) = (at(&["sched_setaffinity("]), at(&["CLONE_INTO_CGROUP", "cgroup.procs"]));
    assert!(set.len() == 1 && !entered.is_empty() && set[0] < entered[0], "{calls:#?}");
}
