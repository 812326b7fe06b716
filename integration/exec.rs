//! `exec`: another process in a running container, and every flag of it.

use crate::harness::{Bundle, Call, Container, Hierarchy, deviates, json, needs, runtime};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

fn up() -> Container {
    Bundle::sleeper().container().up()
}

/// A process document as containerd writes it.
fn process_file(c: &Container, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut process = c.bundle.config()["process"].clone();
    change(&mut process);
    let file = c.bundle.dir().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    file
}

#[test]
fn r343_exec_runs_a_command_with_the_containers_settings() {
    deviates!("crun", "R343: crun 1.8.1 forgets user, cwd and rlimits");
    let c = Bundle::sleeper()
        .set("/process/env", json!(["PATH=/bin", "MINE=1"]))
        .set("/process/cwd", json!("/etc"))
        .set("/process/user", json!({"uid": 11, "gid": 22, "additionalGids": [33]}))
        .container()
        .up();
    let out = c.exec(["sh", "-c", "id -u; id -g; id -G; pwd; echo $MINE; ulimit -n"]);
    assert_eq!(out.ok(), "11\n22\n22 33\n/etc\n1\n1024\n");
}

#[test]
fn r343_exec_has_the_containers_confinement() {
    deviates!("crun", "R343: crun 1.8.1 forgets noNewPrivileges");
    let c = up();
    let init = fs::read_to_string(format!("/proc/{}/status", c.pid().as_raw_pid())).unwrap();
    let out = c.exec(["cat", "/proc/self/status"]);
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"] {
        let of_init = init.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).unwrap();
        assert_eq!(out.field(name), of_init.trim(), "{name}");
    }
}

#[test]
fn r343_exec_joins_every_namespace() {
    let c = Bundle::sleeper().namespace("cgroup", None).user_namespace().container().up();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let init = fs::read_link(format!("/proc/{}/ns/{name}", c.pid().as_raw_pid())).unwrap();
        let out = c.exec(["readlink", &format!("/proc/self/ns/{name}")]);
        assert_eq!(out.ok().trim(), init.to_str().unwrap(), "{name}");
    }
}

#[test]
fn r343_exec_joins_every_cgroup() {
    let c = up();
    let init = fs::read_to_string(format!("/proc/{}/cgroup", c.pid().as_raw_pid())).unwrap();
    assert_eq!(c.exec(["cat", "/proc/self/cgroup"]).ok(), init);
}

#[test]
fn r343_exec_runs_without_a_pid_of_its_own_namespace_host() {
    let out = up().exec(["sh", "-c", "echo $$; cat /proc/1/cmdline"]);
    assert!(out.ok().ends_with("sleep\x001000\0"), "{out:?}");
    assert!(out.stdout.lines().next().unwrap().parse::<u32>().unwrap() < 100);
}

#[test]
fn r361_exec_gives_the_exit_code() {
    let c = up();
    for code in [0, 1, 42, 255] {
        assert_eq!(c.exec(["sh", "-c", &format!("exit {code}")]).code, code);
    }
    assert_eq!(c.exec(["sh", "-c", "kill -9 $$"]).code, 137);
}

#[test]
fn r361_exec_gives_255_when_the_runtime_fails() {
    let c = up();
    let out = c.exec(["nonsense"]);
    out.fails_with(&["executable file not found in", "not found in $path"]);
    deviates!("crun", "R361: crun 1.8.1 gives 1");
    assert_eq!(out.code, 255);
    let out = c.exec(["/no/such/program"]);
    out.fails_with(&["no such file or directory"]);
    assert_eq!(out.code, 255);
    let out = c.exec(["/etc"]);
    out.fails_with(&["permission denied", "is a directory"]);
    assert_eq!(out.code, 255);
}

#[test]
fn r361_exec_in_an_unknown_container() {
    let c = Bundle::sleeper().container();
    c.exec(["true"]).is_unknown();
}

#[test]
fn r343_exec_in_a_stopped_container() {
    let c = up();
    c.stop();
    c.exec(["true"]).fails_with(&["stopped", "not running"]);
}

#[test]
fn r343_exec_in_a_created_container() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    assert_eq!(c.exec(["echo", "in"]).ok(), "in\n");
    assert_eq!(c.status(), "created");
}

#[test]
fn r360_exec_in_a_paused_container_is_refused() {
    let c = up();
    c.call(["pause", &c.id]).run().ok();
    c.exec(["true"]).fails_with(&["paused"]);
    c.call(["resume", &c.id]).run().ok();
    c.exec(["true"]).ok();
}

#[test]
fn r360_exec_ignore_paused_waits_for_the_thaw() {
    let c = up();
    c.call(["pause", &c.id]).run().ok();
    let out = c.call(["exec", "--ignore-paused", &c.id, "echo", "thawed"]).spawn();
    deviates!("crun", "R360: no such flag");
    c.call(["resume", &c.id]).run().ok();
    assert_eq!(out.wait().ok(), "thawed\n");
}

#[test]
fn r343_r461_exec_passes_stdio_through() {
    let c = up();
    let call = c.call(["exec", &c.id, "sh", "-c", "cat; echo err >&2"]);
    let out = call.stdin("in\n").run();
    assert_eq!((out.ok(), &*out.stderr), ("in\n", "err\n"));
}

#[test]
fn r343_exec_takes_flags_of_the_command_for_its_own() {
    assert_eq!(up().exec(["echo", "-e", "--user", "--"]).ok(), "--user --\n");
}

#[test]
fn r344_exec_process_file() {
    let c = up();
    let file = process_file(&c, |p| {
        p["args"] = json!(["sh", "-c", "id -u; pwd; echo $A; ulimit -c; umask"]);
        p["env"] = json!(["PATH=/bin", "A=b"]);
        p["cwd"] = json!("/tmp");
        p["user"] = json!({"uid": 7, "gid": 8, "umask": 0o077});
        p["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 51200, "hard": 102_400}]);
    });
    for flag in ["--process", "-p"] {
        let out = c.call(["exec", flag, file.to_str().unwrap(), &c.id]).run();
        assert!(out.ok().starts_with("7\n/tmp\nb\n100\n"), "{out:?}");
        deviates!(["runc", "crun"], "R104: umask is ignored in exec");
        assert!(out.ok().ends_with("\n0077\n"), "{out:?}");
    }
}

#[test]
fn r344_exec_process_file_with_capabilities() {
    let c = up();
    let file = process_file(&c, |p| {
        p["args"] = json!(["cat", "/proc/self/status"]);
        let caps = json!(["CAP_NET_RAW", "CAP_KILL"]);
        p["capabilities"] = json!({"bounding": caps, "effective": caps, "permitted": caps});
        p["noNewPrivileges"] = json!(false);
        p["oomScoreAdj"] = json!(700);
    });
    let out = c.call(["exec", "--process", file.to_str().unwrap(), &c.id]).run();
    assert_eq!(out.field("CapEff"), "0000000000002020");
    assert_eq!(out.field("CapBnd"), "0000000000002020");
    assert_eq!(out.field("NoNewPrivs"), "0");
}

/// What a document does not say is as in the container's own process.
#[test]
fn r344_exec_process_file_without_what_it_need_not_say() {
    deviates!("crun", "R344: crun 1.8.1 takes what is absent for none");
    let mut bundle = Bundle::sleeper()
        .set("/process/env", json!(["PATH=/bin", "MINE=1"]))
        .set("/process/cwd", json!("/etc"))
        .set("/process/user", json!({"uid": 11, "gid": 22, "additionalGids": [33], "umask": 0o27}))
        .set("/process/oomScoreAdj", json!(321))
        .capability("CAP_NET_RAW");
    bundle = bundle.set("/process/noNewPrivileges", json!(true));
    let c = bundle.container().up();
    let file = c.bundle.dir().join("process.json");
    let script = "cat /proc/self/status; echo Limit: $(ulimit -n); cat /proc/self/oom_score_adj";
    let run = |process: &Value| {
        fs::write(&file, process.to_string()).unwrap();
        c.call(["exec", "--process", file.to_str().unwrap(), &c.id]).run()
    };
    let own = c.exec(["sh", "-c", script]);
    let few = json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"],
        "user": {"uid": 11, "gid": 22, "additionalGids": [33], "umask": 0o27}});
    let out = run(&few);
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Limit"] {
        assert_eq!(out.field(name), own.field(name), "{name}");
    }
    assert!(out.ok().ends_with("\n321\n"), "{out:?}");
    deviates!("runc", "R344: drops noNewPrivileges, wants cwd, and takes an absent user for root");
    assert_eq!(out.field("NoNewPrivs"), "1");
    for process in [
        json!({"args": ["sh", "-c", "id -u; id -G; pwd; echo $MINE; umask"]}),
        json!({"args": ["sh", "-c", "id -u; id -G; pwd; echo $MINE; umask"],
            "cwd": null, "env": null, "user": null, "capabilities": null, "rlimits": null}),
    ] {
        assert_eq!(run(&process).ok(), "11\n22 33\n/etc\n1\n0027\n", "{process}");
    }
    // What it says is taken, also if that is nothing.
    let out = run(&json!({"args": ["/bin/cat", "/proc/self/status"], "env": [],
        "capabilities": {}, "noNewPrivileges": false}));
    assert_eq!((out.field("CapEff"), out.field("NoNewPrivs")), ("0000000000000000", "0"));
    fs::write(&file, json!({"args": ["/bin/env"], "env": []}).to_string()).unwrap();
    let out = c.call(["exec", "--process", file.to_str().unwrap(), &c.id]).run();
    assert_eq!(out.ok(), "HOME=/\n");
}

/// An error of the request is not one of the container's `config.json`.
#[test]
fn r344_r348_exec_names_the_file_or_the_option_that_is_wrong() {
    deviates!(["runc", "crun"], "R344: their messages name neither");
    let c = up();
    let file = process_file(&c, |p| p["env"] = json!(["PATH=/bin", "FOO"]));
    let file = file.to_str().unwrap();
    let out = c.call(["exec", "--process", file, &c.id]).run();
    out.fails_with(&["--process", file, "process.env[1]"]);
    assert!(!out.stderr.contains("config.json"), "{out:?}");
    for (flags, word) in [
        (["--env", "FOO"], "--env: \"FOO\" is not of the form NAME=value"),
        (["-e", "=x"], "--env: \"=x\" is not"),
        (["--cwd", "etc"], "--cwd: \"etc\" is not an absolute path"),
        (["--cgroup", "../x"], "--cgroup \"../x\""),
        (["--user", "x"], "--user"),
        // Whether the host has these modules or not.
        (["--apparmor", "no-such-profile"], "--apparmor: process.apparmorProfile: "),
        (["--process-label", "no-such-label"], "--process-label: "),
    ] {
        if flags[0] == "--process-label" && std::path::Path::new("/sys/fs/selinux/enforce").exists()
        {
            continue;
        }
        let out = c.exec_with(flags, ["true"]);
        assert!(out.fails().contains(word), "{out:?}");
        assert!(!out.stderr.contains("config.json"), "{out:?}");
        assert_eq!(out.stderr.matches("--c").count().max(1), 1, "named once: {out:?}");
    }
}

#[test]
fn r344_exec_process_file_that_is_bad() {
    let c = up();
    let good = process_file(&c, |_| {});
    for text in ["", "{", "[]", "{\"args\": 1}", "{\"cwd\": \"/\", \"args\": []}"] {
        fs::write(&good, text).unwrap();
        c.call(["exec", "--process", good.to_str().unwrap(), &c.id]).run().fails();
    }
    c.call(["exec", "--process", "/no/such/file", &c.id]).run().fails();
    c.call(["exec", &c.id]).run().fails();
}

#[test]
fn r347_exec_cwd() {
    let c = up();
    assert_eq!(c.exec_with(["--cwd", "/etc"], ["pwd"]).ok(), "/etc\n");
    let out = c.exec_with(["--cwd", "etc"], ["pwd"]);
    deviates!(["runc", "crun"], "R347: a relative path is taken");
    out.fails_with(&["absolute"]);
}

/// Only create and run make a working directory: here it is a typing error.
#[test]
fn r347_exec_makes_no_directory() {
    let c = up();
    deviates!("crun", "R347: exits with 1");
    for path in ["/nope", "/tmp/nope/deeper", "/bin/busybox", "/bin/busybox/x"] {
        let out = c.exec_with(["--cwd", path], ["pwd"]);
        assert_eq!(out.code, 255, "{path}: {out:?}");
        let file = process_file(&c, |p| p["cwd"] = json!(path));
        let out = c.call(["exec", "--process", file.to_str().unwrap(), &c.id]).run();
        assert_eq!(out.code, 255, "{path}: {out:?}");
        deviates!("runc", "R347: says no more than that chdir has failed");
        out.fails_with(&["process.cwd", "chdir", path]);
    }
    c.exec(["test", "!", "-e", "/nope"]).ok();
    c.exec(["test", "!", "-e", "/tmp/nope"]).ok();
}

#[test]
fn r253_exec_has_the_personality_of_the_container() {
    let c = Bundle::sleeper().set("/linux/personality", json!({"domain": "LINUX32"})).container();
    let c = c.up();
    deviates!("runc", "R253: newer than runc 1.1.5");
    assert_eq!(c.exec(["cat", "/proc/self/personality"]).ok(), "00000008\n");
    assert_eq!(c.exec(["uname", "-m"]).ok(), "i686\n");
    let c = up();
    assert_eq!(c.exec(["cat", "/proc/self/personality"]).ok(), "00000000\n");
}

/// The CPUs of who calls us are not the container's: as `run`.
#[test]
fn r102_exec_resets_the_affinity_of_its_caller() {
    needs!(std::thread::available_parallelism().is_ok_and(|n| n.get() > 1), "two CPUs");
    let c = up();
    let free = c.exec(["grep", "Cpus_allowed_list", "/proc/self/status"]);
    let by_caller = |args: &[&str]| {
        let root = c.root();
        let global = [runtime().path.to_str().unwrap(), "--root", root.to_str().unwrap()];
        Call::new("/usr/bin/taskset").args(["1"].iter().chain(&global).chain(args)).run()
    };
    let show = ["exec", &c.id, "grep", "Cpus_allowed_list", "/proc/self/status"];
    deviates!(["runc", "crun"], "R102: newer than these");
    assert_eq!(by_caller(&show).ok(), free.ok());
    // Who says where it begins leaves the rest to the kernel (config.md, "Linux Process").
    let file = process_file(&c, |p| {
        p["args"] = json!(["grep", "Cpus_allowed_list", "/proc/self/status"]);
        p["execCPUAffinity"] = json!({"initial": "1"});
    });
    let out = by_caller(&["exec", "--process", file.to_str().unwrap(), &c.id]);
    assert_eq!(out.field("Cpus_allowed_list"), "1");
}

#[test]
fn r348_exec_env_is_added() {
    deviates!("crun", "R348: the container environment is not kept");
    let c = Bundle::sleeper().set("/process/env", json!(["PATH=/bin", "A=1", "B=1"])).container();
    let c = c.up();
    for flag in ["--env", "-e"] {
        let out = c.exec_with([flag, "B=2", flag, "C=3"], ["sh", "-c", "echo $A $B $C"]);
        assert_eq!(out.ok(), "1 2 3\n");
    }
}

#[test]
fn r348_exec_with_an_empty_home_has_the_users() {
    let passwd = "root:x:0:0::/of-root:/bin/sh\nuser:x:1000:1000::/of-user:/bin/sh\n";
    let c = Bundle::sleeper().file("etc/passwd", passwd).set("/process/env/-", json!("HOME=/set"));
    let c = c.container().up();
    let homes = |flags: &[&str]| {
        let out = c.call(["exec"]).args(flags).args([c.id.as_str(), "env"]).run();
        out.ok().lines().filter_map(|line| line.strip_prefix("HOME=")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(homes(&[]), "/set");
    deviates!("crun", "R348: the container environment is not kept");
    assert_eq!(homes(&["-e", "HOME="]), "/of-root");
    assert_eq!(homes(&["-e", "HOME=", "-u", "1000"]), "/of-user");
    assert_eq!(homes(&["-e", "HOME=/given"]), "/given");
}

#[test]
fn r350_exec_user() {
    let c = up();
    for (user, ids) in [("1", "1 0"), ("1:2", "1 2"), ("0", "0 0"), ("0:7", "0 7")] {
        let out = c.exec_with(["--user", user], ["sh", "-c", "echo $(id -u) $(id -g)"]);
        if user == "1" {
            deviates!("crun", "CVE-2026-30892: -u 1 is taken for root");
        }
        assert_eq!(out.ok().trim(), ids, "--user {user}");
    }
}

/// Scripts give `--cwd "$DIR"`, whether there is one or not.
#[test]
fn r344_an_option_with_an_empty_value_is_not_given() {
    let c = up();
    deviates!("crun", "R344: refuses some");
    for option in ["--cwd", "--pid-file", "--console-socket", "--process", "--apparmor"] {
        c.exec_with([option, ""], ["true"]).ok();
    }
    for option in ["--memory", "--resources", "--cpuset-cpus"] {
        c.call(["update", option, "", &c.id]).run().ok();
    }
    assert_ne!(c.call(["update", "--pids-limit", "", &c.id]).run().code, 0);
}

/// CVE-2026-30892, and containerd's CVE-2026-46680: never root by accident.
#[test]
fn r350_exec_user_that_is_no_number() {
    let c = up();
    let bad = [
        "x",
        "1:",
        ":1",
        "1:x",
        "",
        " 1",
        "1 ",
        "-1",
        "1:-1",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "0x1",
        "1:4294967295",
        "1:2:3",
    ];
    let mut accepted = Vec::new();
    for user in bad {
        let out = c.exec_with(["--user", user], ["id", "-u"]);
        if out.code == 0 {
            accepted.push(format!("{user:?} became {}", out.stdout.trim()));
        }
    }
    deviates!(["runc", "crun"], "CVE-2026-30892: takes numbers beyond an uid, or text for root");
    assert!(accepted.is_empty(), "{accepted:?}");
}

#[test]
fn r351_exec_additional_gids() {
    let c = up();
    for flag in ["--additional-gids", "-g"] {
        let out = c.exec_with([flag, "5", flag, "6"], ["id", "-G"]);
        deviates!("crun", "R351: no such flag");
        let groups: Vec<_> = out.ok().split_whitespace().collect();
        assert!(groups.contains(&"5") && groups.contains(&"6"), "{groups:?}");
    }
}

#[test]
fn r352_r353_exec_detached_with_pid_file() {
    let c = up();
    let file = c.bundle.dir().join("exec.pid");
    let flags = ["exec", "--detach", "--pid-file", file.to_str().unwrap(), &c.id];
    let [a, b, d, e, f] = flags;
    c.detached([a, b, d, e, f, "sh", "-c", "echo > /ready; sleep 1000; true"]).ok();
    let text = fs::read_to_string(&file).unwrap();
    let pid: i32 = text.parse().expect("digits without newline");
    c.wait_ready();
    let status = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(status.starts_with("sh\0"), "{status:?}");
    c.stop(); // kills it too
}

/// conmon takes a missing pid file for "the runtime failed".
#[test]
fn r353_no_pid_file_when_exec_fails() {
    let c = up();
    let file = c.bundle.dir().join("exec.pid");
    let out = c.call(["exec", "-d", "--pid-file", file.to_str().unwrap(), &c.id, "nonsense"]).run();
    out.fails();
    deviates!("crun", "R353: crun 1.8.1 writes the file first");
    assert!(!file.exists());
}

#[test]
fn r356_exec_no_new_privs() {
    let c = Bundle::sleeper().set("/process/noNewPrivileges", json!(false)).container().up();
    assert_eq!(c.exec(["cat", "/proc/self/status"]).field("NoNewPrivs"), "0");
    let out = c.exec_with(["--no-new-privs"], ["cat", "/proc/self/status"]);
    assert_eq!(out.field("NoNewPrivs"), "1");
}

/// CVE-2022-29162, CVE-2022-27650: nothing becomes inheritable.
#[test]
fn r357_exec_cap_is_bounding_effective_permitted_only() {
    deviates!("crun", "R357: replaces the sets");
    let c = up();
    let out = c.exec_with(["--cap", "CAP_NET_RAW"], ["cat", "/proc/self/status"]);
    assert_eq!(out.field("CapInh"), "0000000000000000");
    assert_eq!(out.field("CapEff"), "0000000020002420");
    assert_eq!(out.field("CapPrm"), "0000000020002420");
    assert_eq!(out.field("CapBnd"), "0000000020002420");
    assert_eq!(out.field("CapAmb"), "0000000000000000");
}

/// CVE-2025-27612: no default sets.
#[test]
fn r357_exec_without_capabilities_has_none() {
    let c = Bundle::sleeper().set("/process/capabilities", json!({})).container().up();
    let out = c.exec(["cat", "/proc/self/status"]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(out.field(set), "0000000000000000", "{set}");
    }
}

#[test]
fn r358_exec_preserve_fds() {
    let c = up();
    let file = c.bundle.dir().join("kept");
    fs::write(&file, "kept\n").unwrap();
    let program = runtime().path.display();
    let script = format!(
        "exec 3<{}; exec {program} --root {} exec --preserve-fds 1 {} cat /proc/self/fd/3",
        file.display(),
        c.root().display(),
        c.id
    );
    assert_eq!(Call::new("/bin/sh").args(["-c", &script]).run().ok(), "kept\n");
}

#[test]
fn r164_exec_has_only_stdio_open() {
    let c = up();
    let program = runtime().path.display();
    let list = "for fd in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo $fd; done; true";
    let script = format!(
        "exec 3</ 7</; exec {program} --root {} exec {} sh -c '{list}'",
        c.root().display(),
        c.id
    );
    assert_eq!(Call::new("/bin/sh").args(["-c", &script]).run().ok(), "0\n1\n2\n");
}

/// v2 takes no processes where there are controlled cgroups below: a container that
/// runs its own, as systemd or Docker in it do, has moved its init down.
fn moved_down() -> Container {
    let c = up();
    let own = c.cgroup("");
    fs::create_dir(own.join("init")).unwrap();
    fs::write(own.join("init/cgroup.procs"), c.pid().as_raw_pid().to_string()).unwrap();
    fs::write(own.join("cgroup.subtree_control"), "+pids").unwrap();
    c
}

#[test]
fn r343_exec_goes_where_init_has_moved() {
    needs!(Hierarchy::of_host() == Hierarchy::V2, "cgroup v2");
    let c = moved_down();
    let seen = c.exec(["cat", "/proc/self/cgroup"]);
    assert!(seen.ok().trim_end().ends_with("/init"), "{seen:?}");
}

#[test]
fn r359_exec_cgroup() {
    let c = up();
    let v1 = crate::harness::Hierarchy::of_host() == crate::harness::Hierarchy::V1;
    fs::create_dir(c.cgroup("pids").join("sub")).unwrap();
    let flag = if v1 { "pids:sub" } else { "sub" };
    let out = c.exec_with(["--cgroup", flag], ["grep", "/sub$", "/proc/self/cgroup"]);
    deviates!("crun", "R359: one path for all controllers");
    assert_eq!(out.ok().lines().count(), 1);
}

/// man runc-exec: the container's top cgroup.
#[test]
fn r359_exec_cgroup_may_be_the_containers_own() {
    let c = up();
    let init = fs::read_to_string(format!("/proc/{}/cgroup", c.pid().as_raw_pid())).unwrap();
    let v1 = Hierarchy::of_host() == Hierarchy::V1;
    deviates!("crun", "R359: one path for all controllers");
    for path in ["/", "", ".", "./"] {
        assert_eq!(c.exec_with(["--cgroup", path], ["cat", "/proc/self/cgroup"]).ok(), init);
        let one = format!("pids:{path}");
        let out = c.exec_with(["--cgroup", &one], ["cat", "/proc/self/cgroup"]);
        match v1 {
            true => assert_eq!(out.ok(), init, "{one}"),
            false => out.fails_with(&["--cgroup", "hierarchy"]),
        }
    }
}

/// v2: what may not be in the top cgroup does not go elsewhere, if that was asked for.
#[test]
fn r359_exec_cgroup_of_the_container_has_no_second_best() {
    needs!(Hierarchy::of_host() == Hierarchy::V2, "cgroup v2");
    let c = moved_down();
    c.exec(["true"]).ok();
    deviates!("crun", "R359: has no such rule");
    c.exec_with(["--cgroup", "/"], ["true"]).fails();
}

#[test]
fn r359_exec_cgroup_stays_inside_the_containers() {
    deviates!("crun", "R359: --cgroup ../ is accepted in crun 1.8.1");
    let c = up();
    for path in ["../", "../x", "sub/../../x", "no-such-cgroup"] {
        c.exec_with(["--cgroup", path], ["true"]).fails();
    }
}

#[test]
fn r100_r101_exec_cpu_affinity() {
    needs!(std::thread::available_parallelism().is_ok_and(|n| n.get() > 1), "two CPUs");
    let c = up();
    let file = process_file(&c, |p| {
        p["args"] = json!(["grep", "Cpus_allowed_list", "/proc/self/status"]);
        p["execCPUAffinity"] = json!({"initial": "0", "final": "1"});
    });
    let out = c.call(["exec", "--process", file.to_str().unwrap(), &c.id]).run();
    deviates!(["runc", "crun"], "R100: newer than these");
    assert_eq!(out.field("Cpus_allowed_list"), "1");
}

#[test]
fn r127_exec_runs_no_hooks() {
    let bundle = Bundle::sleeper();
    let hook = bundle.script("hook", &format!("echo ran >> {}/hooked", bundle.dir().display()));
    let hooks = json!([{"path": hook}]);
    let c = bundle.set("/hooks", json!({"createRuntime": hooks, "poststart": hooks})).container();
    let c = c.up();
    let before = fs::read_to_string(c.bundle.dir().join("hooked")).unwrap();
    c.exec(["true"]).ok();
    assert_eq!(fs::read_to_string(c.bundle.dir().join("hooked")).unwrap(), before);
}

#[test]
fn r332_exec_pid_file_has_the_hosts_pid() {
    let c = up();
    let file = c.bundle.dir().join("exec.pid");
    let flags = ["--pid-file", file.to_str().unwrap()];
    c.exec_with(flags, ["true"]).ok();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.parse::<i32>().unwrap() > 1, "{text:?}");
    let mode = fs::metadata(&file).unwrap();
    assert!(mode.is_file());
}

#[test]
fn r343_many_execs_at_once() {
    let c = up();
    let calls: Vec<_> = (0..8)
        .map(|n| (n, c.call(["exec", &c.id, "sh", "-c", &format!("exit {n}")]).spawn()))
        .collect();
    for (n, call) in calls {
        assert_eq!(call.wait().code, n);
    }
}

#[test]
fn r343_exec_is_killed_with_the_container() {
    let c = up();
    let exec = c.call(["exec", &c.id, "sh", "-c", "echo > /ready; sleep 1000"]).spawn();
    c.wait_ready();
    c.stop();
    assert_eq!(exec.wait().code, 137);
}

#[test]
fn r103_exec_in_a_user_namespace_is_root_inside() {
    let c = Bundle::sleeper().user_namespace().container().up();
    let out = c.exec(["cat", "/proc/self/status"]);
    assert_eq!(out.field("Uid"), "0\t0\t0\t0");
    let out = c.exec_with(["--user", "5:6"], ["sh", "-c", "id -u; id -g"]);
    assert_eq!(out.ok(), "5\n6\n");
}
