//! `process`: the program, its user, limits, capabilities, and the names and
//! kernel parameters around it.

use crate::harness::{Bundle, Call, Container, Output, deviates, json, runtime};
use std::fs;

const NOT_FOUND: &[&str] = &["executable file not found in", "not found in $path"];

#[test]
fn r085_args_are_looked_up_in_path() {
    let out = Bundle::new(["hi", "there"])
        .file("opt/hi", "#!/bin/sh\necho $0 $1")
        .edit(|c| c["process"]["env"] = json!(["PATH=/nowhere:/opt:/bin"]));
    chmod(&out, "opt/hi");
    assert_eq!(out.run().ok(), "/opt/hi there\n");
}

#[test]
fn r085_a_name_with_a_slash_is_taken_from_cwd() {
    let bundle = Bundle::new(["./hi"])
        .file("opt/hi", "#!/bin/sh\necho ran")
        .set("/process/cwd", json!("/opt"));
    chmod(&bundle, "opt/hi");
    assert_eq!(bundle.run().ok(), "ran\n");
}

#[test]
fn r085_argv0_is_what_args_say() {
    let out = Bundle::new(["cat", "/proc/self/cmdline"]).run();
    assert_eq!(out.ok(), "cat\0/proc/self/cmdline\0");
}

#[test]
fn r085_empty_and_odd_arguments_are_kept() {
    let out = Bundle::new(["printf", "[%s]", "", "a b", "ü\n"]).run();
    assert_eq!(out.ok(), "[][a b][ü\n]");
}

#[test]
fn r085_a_missing_program_fails_create() {
    let c = Bundle::new(["nonsense"]).container();
    c.create().fails_with(NOT_FOUND);
    let c = Bundle::new(["/no/such/program"]).container();
    c.create().fails_with(&["no such file or directory"]);
}

#[test]
fn r085_a_file_that_is_not_executable_fails_create() {
    let c = Bundle::new(["/etc/text"]).file("etc/text", "text").container();
    c.create().fails_with(&["permission denied"]);
}

#[test]
fn r085_a_directory_fails_create() {
    deviates!("crun", "R085: other words");
    let c = Bundle::new(["/etc"]).container();
    c.create().fails_with(&["permission denied", "is a directory"]);
}

#[test]
fn r082_cwd() {
    let out = Bundle::sh("pwd").set("/process/cwd", json!("/etc")).run();
    assert_eq!(out.ok(), "/etc\n");
}

#[test]
fn r082_cwd_is_made_when_missing() {
    let out = Bundle::sh("pwd").set("/process/cwd", json!("/made/for/me")).run();
    assert_eq!(out.ok(), "/made/for/me\n");
}

#[test]
fn r082_cwd_of_a_directory_only_the_user_may_enter() {
    let bundle = Bundle::sh("pwd")
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/cwd", json!("/home"));
    fs::create_dir(bundle.rootfs("home")).unwrap();
    std::os::unix::fs::chown(bundle.rootfs("home"), Some(1000), Some(1000)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(bundle.rootfs("home"), mode).unwrap();
    assert_eq!(bundle.run().ok(), "/home\n");
}

#[test]
fn r082_cwd_through_a_symlink_of_the_rootfs() {
    let bundle = Bundle::sh("/bin/pwd -P").set("/process/cwd", json!("/link"));
    std::os::unix::fs::symlink("/etc", bundle.rootfs("link")).unwrap();
    assert_eq!(bundle.run().ok(), "/etc\n");
}

#[test]
fn r084_env_keeps_its_order() {
    let env = json!(["Z=1", "PATH=/bin", "A=2", "EMPTY=", "M=a=b", "HOME=/h"]);
    let out = Bundle::new(["env"]).set("/process/env", env).run();
    assert_eq!(out.ok(), "Z=1\nPATH=/bin\nA=2\nEMPTY=\nM=a=b\nHOME=/h\n");
}

#[test]
fn r084_the_last_of_two_equal_names_counts() {
    let env = json!(["PATH=/bin", "A=first", "A=last", "HOME=/h"]);
    let out = Bundle::new(["env"]).set("/process/env", env).run();
    deviates!("crun", "R084: crun passes duplicates on");
    assert_eq!(out.ok().matches("A=").count(), 1, "{out:?}");
    assert!(out.stdout.contains("A=last\n"), "{out:?}");
}

#[test]
fn r084_home_comes_from_passwd_when_unset() {
    deviates!("crun", "R084: empty for an unknown user");
    let passwd = "root:x:0:0::/of-root:/bin/sh\nuser:x:1000:1000::/of-user:/bin/sh\n";
    for (uid, home) in [(0, "/of-root"), (1000, "/of-user"), (77, "/")] {
        let out = Bundle::sh("echo $HOME")
            .file("etc/passwd", passwd)
            .set("/process/user/uid", json!(uid))
            .run();
        assert_eq!(out.ok(), format!("{home}\n"));
    }
}

/// What is empty is none: one HOME, of the user.
#[test]
fn r084_an_empty_home_is_as_none() {
    for (env, home) in [
        (json!(["PATH=/bin", "HOME="]), "/of-root"),
        (json!(["HOME=", "PATH=/bin"]), "/of-root"),
        (json!(["PATH=/bin", "HOME=/a", "HOME="]), "/of-root"),
        (json!(["PATH=/bin", "HOME=", "HOME=/a"]), "/a"),
        (json!(["PATH=/bin", "HOME=/a", "HOME=/b"]), "/b"),
        (json!(["PATH=/bin"]), "/of-root"),
        (json!(["PATH=/bin", "HOME= "]), " "),
    ] {
        let bundle = Bundle::new(["env"]).file("etc/passwd", "root:x:0:0::/of-root:/bin/sh\n");
        let out = bundle.set("/process/env", env.clone()).run();
        deviates!("crun", "R084: crun passes duplicates on");
        let homes: Vec<_> = out.ok().lines().filter_map(|l| l.strip_prefix("HOME=")).collect();
        assert_eq!(homes, [home], "{env}");
    }
}

/// There is a default, as of execvp(3).
#[test]
fn r085_without_a_path_the_usual_directories_are_searched() {
    let out = Bundle::new(["env"]).set("/process/env", json!(["HOME=/h"])).run();
    deviates!(["runc", "crun"], "R085: nothing is found");
    assert_eq!(out.ok(), "HOME=/h\n");
}

#[test]
fn r085_with_an_empty_path_nothing_but_the_working_directory_is_searched() {
    let c = Bundle::new(["env"]).set("/process/env", json!(["HOME=/h", "PATH="])).container();
    c.create().fails_with(NOT_FOUND);
}

/// No variable is made up or passed on for a terminal.
#[test]
fn r084_term_is_what_env_says() {
    for env in [json!(["PATH=/bin", "TERM=a", "TERM=b"]), json!(["PATH=/bin", "TERM=b"])] {
        let out = Bundle::new(["env"]).set("/process/env", env).run();
        deviates!("crun", "R084: crun passes duplicates on");
        assert_eq!(out.ok(), "PATH=/bin\nTERM=b\nHOME=/\n");
    }
    let out = Bundle::new(["env"]).set("/process/env", json!(["PATH=/bin"])).run();
    assert!(!out.ok().contains("TERM="), "{out:?}");
}

#[test]
fn r084_nothing_of_the_callers_environment_is_seen() {
    let c = Bundle::new(["env"]).container();
    let bundle = c.bundle.path();
    let out = c.call(["run", "-b", bundle.to_str().unwrap(), &c.id]).env("SECRET", "1").run();
    let names: Vec<_> = out.ok().lines().map(|l| l.split('=').next().unwrap()).collect();
    assert_eq!(names, ["PATH", "TERM", "HOME"]);
}

#[test]
fn r103_user_and_group() {
    let out = Bundle::sh("id -u; id -g").set("/process/user", json!({"uid": 11, "gid": 22})).run();
    assert_eq!(out.ok(), "11\n22\n");
}

#[test]
fn r103_all_four_ids_are_set() {
    let out = status(Bundle::sh("").set("/process/user", json!({"uid": 11, "gid": 22})));
    assert_eq!(out.field("Uid"), "11\t11\t11\t11");
    assert_eq!(out.field("Gid"), "22\t22\t22\t22");
}

#[test]
fn r105_additional_groups() {
    let user = json!({"uid": 11, "gid": 22, "additionalGids": [5, 6]});
    let out = status(Bundle::sh("").set("/process/user", user));
    let groups: Vec<_> = out.field("Groups").split_whitespace().collect();
    assert!(groups.contains(&"5") && groups.contains(&"6"), "{groups:?}");
}

#[test]
fn r105_the_callers_groups_are_dropped() {
    let c = Bundle::new(["cat", "/proc/self/status"]).container();
    let run = [runtime().path.to_str().unwrap(), "--root", c.root().to_str().unwrap()].join(" ");
    let run = format!("{run} run -b {} {}", c.bundle.path().display(), c.id);
    let setpriv = ["--reuid=0", "--regid=0", "--groups=4242", "sh", "-c", &run];
    let out = Call::new("/usr/bin/setpriv").args(setpriv).run();
    assert!(!out.field("Groups").contains("4242"), "{}", out.stdout);
}

#[test]
fn r104_umask() {
    let out = Bundle::sh("umask").set("/process/user/umask", json!(0o027)).run();
    assert_eq!(out.ok(), "0027\n");
}

/// Type, line of /proc/self/limits, soft, hard. Hard limits can only be lowered
/// without `CAP_SYS_RESOURCE`, so all are low.
const RLIMITS: &[(&str, &str, u64, u64)] = &[
    ("RLIMIT_AS", "Max address space", 1 << 40, 1 << 41),
    ("RLIMIT_CORE", "Max core file size", 1000, 2000),
    ("RLIMIT_CPU", "Max cpu time", 100, 200),
    ("RLIMIT_DATA", "Max data size", 1 << 40, 1 << 41),
    ("RLIMIT_FSIZE", "Max file size", 1 << 30, 1 << 31),
    ("RLIMIT_LOCKS", "Max file locks", 100, 200),
    ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 8192),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 1000, 2000),
    ("RLIMIT_NICE", "Max nice priority", 0, 0),
    ("RLIMIT_NOFILE", "Max open files", 512, 1024),
    ("RLIMIT_NPROC", "Max processes", 500, 600),
    ("RLIMIT_RSS", "Max resident set", 1 << 30, 1 << 31),
    ("RLIMIT_RTPRIO", "Max realtime priority", 0, 0),
    ("RLIMIT_RTTIME", "Max realtime timeout", 1_000_000, 2_000_000),
    ("RLIMIT_SIGPENDING", "Max pending signals", 100, 200),
    ("RLIMIT_STACK", "Max stack size", 1 << 20, 1 << 21),
];

#[test]
fn r086_r087_all_sixteen_rlimits() {
    let list: Vec<_> = RLIMITS
        .iter()
        .map(|(kind, _, soft, hard)| json!({"type": kind, "soft": soft, "hard": hard}))
        .collect();
    let out = Bundle::new(["cat", "/proc/self/limits"]).set("/process/rlimits", json!(list)).run();
    for (_, name, soft, hard) in RLIMITS {
        let line = out.ok().lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let values: Vec<_> = line.split_whitespace().take(2).collect();
        assert_eq!(values, [soft.to_string(), hard.to_string()], "{name}");
    }
}

#[test]
fn r087_rlimits_hold_for_init_of_a_created_container() {
    let c = Bundle::sh("ulimit -n; ulimit -Hn").container();
    assert_eq!(c.output(), "1024\n1024\n");
}

/// AUDIT_WRITE 29, NET_BIND_SERVICE 10, KILL 5.
const THREE: &str = "0000000020000420";
const KILL: &str = "0000000000000020";
const NONE: &str = "0000000000000000";

#[test]
fn r090_capabilities_of_root() {
    let out = status(Bundle::sh(""));
    assert_eq!(caps(&out), [NONE, THREE, THREE, THREE, NONE]);
}

#[test]
fn r090_capabilities_of_a_user_end_with_exec() {
    let out = status(Bundle::sh("").set("/process/user/uid", json!(1000)));
    assert_eq!(caps(&out), [NONE, NONE, NONE, THREE, NONE]);
}

/// As another program reads them: by capget(2) of the process. execve(2) gives root what the
/// bounding set has, and others what is ambient.
#[test]
fn r090_sets_are_what_the_crate_caps_reads() {
    use caps::{CapSet, Capability, CapsHashSet};
    let all = ["CAP_CHOWN", "CAP_KILL", "CAP_FOWNER"];
    let (some, one): (&[&str], &[&str]) = (&["CAP_CHOWN", "CAP_KILL"], &["CAP_KILL"]);
    for (uid, ambient, left) in [(0, &[][..], &all[..]), (1000, one, one)] {
        let sets = json!({"bounding": all, "permitted": all, "effective": one,
            "inheritable": some, "ambient": ambient});
        let bundle = Bundle::sleeper().set("/process/user/uid", json!(uid));
        let c = bundle.set("/process/capabilities", sets).container();
        c.run_detached().ok();
        let pid = c.pid().as_raw_nonzero().get();
        let sets =
            [(CapSet::Inheritable, some), (CapSet::Permitted, left), (CapSet::Effective, left)];
        for (set, names) in sets {
            let wanted = names.iter().map(|name| name.parse::<Capability>().unwrap());
            let read = caps::read(Some(pid), set).unwrap();
            assert_eq!(read, wanted.collect::<CapsHashSet>(), "{uid}, {set:?}");
        }
    }
}

#[test]
fn r090_ambient_capabilities_reach_a_user() {
    let bundle = Bundle::sh("")
        .set("/process/user/uid", json!(1000))
        .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
        .set("/process/capabilities/ambient", json!(["CAP_KILL"]));
    assert_eq!(caps(&status(bundle)), [KILL, KILL, KILL, THREE, KILL]);
}

#[test]
fn r090_inheritable_and_bounding_are_separate() {
    let bundle = Bundle::sh("")
        .set("/process/user/uid", json!(1000))
        .set("/process/capabilities/inheritable", json!(["CAP_KILL"]));
    assert_eq!(caps(&status(bundle)), [KILL, NONE, NONE, THREE, NONE]);
}

#[test]
fn r090_no_capabilities_means_none() {
    let out = status(Bundle::sh("").set("/process/capabilities", json!({})));
    assert_eq!(caps(&out), [NONE; 5]);
    let out = status(Bundle::sh("").unset("/process", "capabilities"));
    deviates!("crun", "R090: crun leaves the caller's sets when none are given");
    assert_eq!(caps(&out), [NONE; 5]);
}

#[test]
fn r091_r296_an_unknown_capability_only_warns() {
    let out = status(Bundle::sh("").capability("CAP_NONSENSE"));
    deviates!("crun", "R091: a hard error");
    assert_eq!(caps(&out), [NONE, THREE, THREE, THREE, NONE]);
}

#[test]
fn r091_a_capability_that_the_runtime_lacks_only_warns() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    crate::harness::needs!(!own.contains("CapBnd:\t000001ffffffffff"), "a missing capability");
    let out = status(Bundle::sh("").capability("CAP_SYS_RESOURCE"));
    deviates!(["runc", "crun"], "R091: EPERM fails the create");
    assert_eq!(caps(&out), [NONE, THREE, THREE, THREE, NONE]);
    let told = "process.capabilities: cannot grant CAP_SYS_RESOURCE: not the runtime's own";
    assert!(out.stderr.contains(told), "{out:?}");
}

#[test]
fn r092_no_new_privileges() {
    for (value, want) in [(true, "1"), (false, "0")] {
        let out = status(Bundle::sh("").set("/process/noNewPrivileges", json!(value)));
        assert_eq!(out.field("NoNewPrivs"), want);
    }
}

#[test]
fn r093_oom_score_adj() {
    let out = Bundle::new(["cat", "/proc/self/oom_score_adj"])
        .set("/process/oomScoreAdj", json!(500))
        .run();
    assert_eq!(out.ok(), "500\n");
}

#[test]
fn r093_oom_score_adj_unset_is_not_changed() {
    let c = Bundle::new(["cat", "/proc/self/oom_score_adj"]).container();
    let run = [runtime().path.to_str().unwrap(), "--root", c.root().to_str().unwrap()].join(" ");
    let run = format!(
        "echo 123 > /proc/$$/oom_score_adj; {run} run -b {} {}",
        c.bundle.path().display(),
        c.id
    );
    assert_eq!(Call::new("/bin/sh").args(["-c", &run]).run().ok(), "123\n");
}

#[test]
fn r094_r095_scheduler() {
    let out = Bundle::new(["awk", "{print $19, $41}", "/proc/self/stat"])
        .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}))
        .run();
    deviates!(["runc", "crun"], "R094: newer than these");
    assert_eq!(out.ok(), "5 3\n", "nice, SCHED_BATCH");
}

#[test]
fn r096_scheduler_flags() {
    let c = Bundle::sleeper()
        .set(
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
        )
        .container();
    let out = c.create();
    deviates!(["runc", "crun"], "R096: newer than these");
    out.ok();
    c.start().ok();
    let pid = c.pid().as_raw_nonzero().to_string();
    let out = crate::harness::Call::new("/usr/bin/chrt").args(["-p", &pid]).run();
    assert!(out.ok().contains("SCHED_BATCH|SCHED_RESET_ON_FORK"), "{out:?}");
}

#[test]
fn r094_scheduler_idle() {
    let out = Bundle::new(["awk", "{print $41}", "/proc/self/stat"])
        .set("/process/scheduler", json!({"policy": "SCHED_IDLE"}))
        .run();
    deviates!(["runc", "crun"], "R094: newer than these");
    assert_eq!(out.ok(), "5\n");
}

#[test]
fn r099_io_priority() {
    let out = Bundle::new(["busybox", "ionice"])
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}))
        .run();
    deviates!(["runc", "crun"], "R099: newer than these");
    assert_eq!(out.ok(), "best-effort: prio 6\n");
}

#[test]
fn r102_cpu_affinity_is_reset_to_the_cpuset() {
    deviates!("crun", "R102: newer than crun 1.8.1");
    let c = Bundle::new(["grep", "Cpus_allowed_list", "/proc/self/status"]).container();
    let run = [runtime().path.to_str().unwrap(), "--root", c.root().to_str().unwrap()].join(" ");
    let run = format!("{run} run -b {} {}", c.bundle.path().display(), c.id);
    let free = Call::new("/bin/grep").args(["Cpus_allowed_list", "/proc/self/status"]).run();
    let out = Call::new("/usr/bin/taskset").args(["1", "sh", "-c", &run]).run();
    deviates!("runc", "R102: newer than runc 1.1.5");
    assert_eq!(out.ok(), free.stdout);
}

#[test]
fn r107_hostname() {
    let out = Bundle::new(["hostname"]).set("/hostname", json!("mrsdalloway")).run();
    assert_eq!(out.ok(), "mrsdalloway\n");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(host, "mrsdalloway\n");
}

#[test]
fn r107_hostname_needs_a_uts_namespace() {
    let out = Bundle::new(["hostname"]).without_namespace("uts").run();
    out.fails_with(&["uts"]);
}

#[test]
fn r108_domainname() {
    let out = Bundle::new(["cat", "/proc/sys/kernel/domainname"])
        .set("/domainname", json!("foobarbaz.test"))
        .run();
    deviates!("runc", "R108: newer than runc 1.1.5");
    assert_eq!(out.ok(), "foobarbaz.test\n");
}

#[test]
fn r109_r298_unknown_properties_are_ignored() {
    let out = Bundle::sh("echo ran")
        .set("/nonsense", json!({"a": [1]}))
        .set("/process/nonsense", json!(true))
        .set("/linux/nonsense", json!("x"))
        .set("/windows", json!({"layerFolders": []}))
        .run();
    assert_eq!(out.ok(), "ran\n");
}

#[test]
fn null_is_as_absent() {
    let out = Bundle::sh("echo ran")
        .set("/hooks", json!(null))
        .set("/annotations", json!(null))
        .set("/process/rlimits", json!(null))
        .set("/linux/devices", json!(null))
        .set("/linux/seccomp", json!(null))
        .set("/linux/sysctl", json!(null))
        .run();
    assert_eq!(out.ok(), "ran\n");
}

#[test]
fn r223_sysctl() {
    let out = Bundle::sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "7777"}))
        .run();
    assert_eq!(out.ok(), "1\n7777\n");
    assert_ne!(fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), "7777\n");
}

#[test]
fn r225_sysctl_with_slashes() {
    let out = Bundle::sh("cat /proc/sys/net/ipv4/conf/lo/log_martians")
        .set("/linux/sysctl", json!({"net/ipv4/conf/lo/log_martians": "1"}))
        .run();
    assert_eq!(out.ok(), "1\n");
}

/// Behind a first dot a slash is the dot of a name, and the other way round (sysctl(8)).
#[test]
fn r225_sysctl_of_an_interface_with_a_dot() {
    let script = "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); \
                  nsenter -t $pid -n ip link add a.b type veth peer name c.d";
    let bundle = Bundle::sh("cd /proc/sys/net/ipv4/conf; cat a.b/log_martians c.d/arp_ignore");
    let hook = bundle.script("hook", script);
    let hook = json!([{"path": hook, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]);
    let sysctl =
        json!({"net.ipv4.conf.a/b.log_martians": "1", "net/ipv4/conf/c.d/arp_ignore": "2"});
    let out = bundle.set("/hooks/createRuntime", hook).set("/linux/sysctl", sysctl).run();
    deviates!(["runc", "crun"], "R225: every dot is a slash");
    assert_eq!(out.ok(), "1\n2\n");
}

/// With the host's own value, so that a runtime that writes it does no harm.
#[test]
fn r224_sysctl_only_of_a_namespace() {
    for key in ["vm.swappiness", "kernel.core_pattern", "fs.file-max"] {
        let own = fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/"))).unwrap();
        let out = Bundle::sh("true").set("/linux/sysctl", json!({key: own.trim()})).run();
        out.fails_with(&[key]);
    }
}

#[test]
fn r224_sysctl_of_net_needs_a_network_namespace() {
    let own = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let bundle =
        Bundle::sh("true").set("/linux/sysctl", json!({"net.ipv4.ip_forward": own.trim()}));
    bundle.without_namespace("network").run().fails_with(&["net.ipv4.ip_forward"]);
}

#[test]
fn r253_personality() {
    let out =
        Bundle::new(["uname", "-m"]).set("/linux/personality", json!({"domain": "LINUX32"})).run();
    deviates!("runc", "R253: newer than runc 1.1.5");
    assert_eq!(out.ok(), "i686\n");
    let out =
        Bundle::new(["uname", "-m"]).set("/linux/personality", json!({"domain": "LINUX"})).run();
    assert_eq!(out.ok(), "x86_64\n");
}

#[test]
fn r219_r220_memory_policy() {
    let out = Bundle::new(["cat", "/proc/self/numa_maps"])
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}))
        .run();
    deviates!(["runc", "crun"], "R219: newer than these");
    crate::harness::needs!(std::path::Path::new("/proc/self/numa_maps").exists(), "NUMA");
    assert!(out.ok().lines().next().unwrap().contains("bind:0"), "{out:?}");
}

/// A program that may only append to its own output must also get it by name.
#[test]
fn r106_the_user_may_open_its_own_stdout() {
    let c = Bundle::sh("echo by name > /dev/stdout && echo and > /dev/stderr")
        .set("/process/user/uid", json!(1000))
        .container();
    let out = c.output();
    deviates!("crun", "R106: only a pty changes hands");
    assert_eq!(out, "by name\n", "{}", c.stderr());
}

#[test]
fn r339_session_keyring_is_new() {
    deviates!("crun", "R339: another name");
    let c = Bundle::sh("cat /proc/keys; true").set("/linux/maskedPaths", json!([])).container();
    let own = "_ses.".to_owned() + &c.id;
    let out = c.run();
    assert!(out.ok().contains(&own) || out.ok().is_empty(), "{out:?}");
}

#[test]
fn r334_no_new_keyring_keeps_the_callers() {
    let c = Bundle::sh("cat /proc/keys; true").set("/linux/maskedPaths", json!([])).container();
    let bundle = c.bundle.path();
    let args = ["run", "--no-new-keyring", "-b", bundle.to_str().unwrap(), &c.id];
    let out = c.call(args).run();
    assert!(!out.ok().contains(&format!("_ses.{}", c.id)), "{out:?}");
}

fn chmod(bundle: &Bundle, path: &str) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.rootfs(path), mode).unwrap();
}

/// /proc/self/status of a process that has done nothing itself.
fn status(bundle: Bundle) -> Output {
    Container::run(&bundle.set("/process/args", json!(["cat", "/proc/self/status"])).container())
}

fn caps(output: &Output) -> [&str; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| output.field(name))
}

/// The spec requires both; the peers take what is not there for 0.
#[test]
fn r103_an_user_without_ids_is_root_and_told() {
    for user in [json!({}), json!({"uid": 0}), json!({"username": "nobody"})] {
        let c = Bundle::new(["id", "-u"]).set("/process/user", user.clone()).container();
        let out = c.run();
        assert_eq!(out.ok(), "0\n", "{user}");
        deviates!(["runc", "crun"], "R103: silent");
        assert!(out.stderr.contains("process.user.gid: is required"), "{user}: {out:?}");
    }
    let out = Bundle::new(["id", "-u"]).unset("/process", "user").run();
    assert_eq!(out.ok(), "0\n");
    assert!(out.stderr.contains("process.user.uid: is required"), "{out:?}");
}
