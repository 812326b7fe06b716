//! What a configuration, a caller or an image makes the runtime read, hold or print has a bound.

use crate::harness::{Bundle, Call, Output, Value, deviates, directory, json, runtime};
use rustix::fs::{CWD, FileType, Mode};
use std::fs;
use std::path::Path;

/// The most bytes of an error line, with the program's name and the line's end.
const LINE: usize = 4096;

/// One line of standard error, whatever is wrong, that a terminal can show.
#[track_caller]
fn is_one_short_line(text: &str) {
    assert!(text.len() <= LINE && !text.is_empty(), "{} bytes", text.len());
    assert_eq!(text.find('\n'), Some(text.len() - 1), "{text:?}");
    let shown = |c: char| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c);
    assert!(text.trim_end_matches('\n').chars().all(shown), "{text:?}");
}

/// `plan` in little memory and time: 256 MiB, 10 s.
#[track_caller]
fn plan(bundle: &Bundle, args: &[&str]) -> Output {
    bundle.write_config();
    bounded(&["plan", "--bundle", bundle.path().to_str().unwrap()], args)
}

fn bounded(first: &[&str], more: &[&str]) -> Output {
    let script = "ulimit -v 262144; ulimit -t 10; exec \"$0\" \"$@\"";
    let call = Call::new("/bin/sh").args(["-c", script]).args([&runtime().path]);
    call.args(first).args(more).run()
}

fn only_ours() {
    deviates!(["runc", "crun"], "`plan` is pinnace's");
}

/// A format's width has 16 bits.
#[test]
fn a_plan_with_wide_cells_is_shown() {
    only_ours();
    let env: Vec<String> = (0..10_000).map(|n| format!("VARIABLE_{n}=value")).collect();
    for bundle in [
        Bundle::new(["x"]).set("/process/env", json!(env)),
        Bundle::new(["x"]).set("/process/args/-", json!("x".repeat(70_000))),
        Bundle::new(["x"]).set("/process/user/additionalGids", json!(vec![7; 60_000])),
        Bundle::new(["x"]).set("/ociVersion", json!("1".repeat(70_000))),
    ] {
        let out = plan(&bundle, &[]);
        // Of what is refused, the finding shows a part.
        assert!(out.code == 1 || out.stdout.contains("... (--json shows it all)"), "{}", out.code);
        assert!(out.stdout.len() < 50_000, "{}", out.stdout.len());
        let out = plan(&bundle, &["--json"]);
        let document: Value = serde_json::from_str(&out.stdout).unwrap();
        assert!(out.code == 1 || document["plan"]["process"]["env"].is_array());
    }
}

#[test]
fn a_plan_of_many_things_takes_time_and_memory_in_proportion() {
    only_ours();
    let mount = |n: usize| {
        let destination =
            if n == 0 { format!("/{}", "d".repeat(60_000)) } else { format!("/m{n}") };
        json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"})
    };
    let device =
        |n: usize| json!({"path": format!("/dev/d{n}"), "type": "c", "major": 9, "minor": n});
    let rule = |n: usize| json!({"allow": true, "type": "c", "major": n / 7000, "minor": n % 7000});
    let condition = |n: u64| {
        json!({"names": ["read"], "action": "SCMP_ACT_LOG",
        "args": [{"index": 0, "value": 3 * n, "op": "SCMP_CMP_EQ"}]})
    };
    let seccomp = |syscalls: Value, architectures: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": syscalls});
    let all =
        |count: usize, make: &dyn Fn(usize) -> Value| -> Value { (0..count).map(make).collect() };
    let conditions: Vec<Value> = (0..40_000).map(condition).collect();
    let args: Vec<Value> =
        (0..10_000_u64).map(|n| json!({"index": 0, "value": n * 5, "op": "SCMP_CMP_GT"})).collect();
    let product =
        json!([{"names": vec!["swapon"; 10_000], "args": args, "action": "SCMP_ACT_ERRNO"}]);
    let ranges = vec!["0-8191"; 50_000].join(",");
    let policy = json!({"mode": "MPOL_BIND", "nodes": ranges});
    for (pointer, value, field) in [
        ("/mounts", all(10_000, &mount), None),
        ("/linux/devices", all(40_000, &device), None),
        ("/linux/resources/devices", all(5_000, &rule), None),
        ("/linux/resources/devices", all(100_000, &rule), Some("linux.resources.devices: ")),
        ("/linux/memoryPolicy", policy, None),
        ("/linux/seccomp", seccomp(json!([]), json!(vec!["SCMP_ARCH_ARM"; 50_000])), None),
        ("/linux/seccomp", seccomp(conditions.into(), json!([])), Some("linux.seccomp.syscalls[")),
        ("/linux/seccomp", seccomp(product, json!([])), Some("linux.seccomp.syscalls")),
    ] {
        let bundle = Bundle::new(["x"]).set(pointer, value);
        let out = plan(&bundle, &["--json"]);
        let told = out.stdout.get(..2000).unwrap_or(&out.stdout);
        assert_eq!(out.code, i32::from(field.is_some()), "{pointer}: {told} {}", out.stderr);
        let document: Value = serde_json::from_str(&out.stdout).unwrap();
        let error = &document["findings"][0];
        let whole = format!("{}: {}", error["field"].as_str().unwrap_or(""), error["rule"]);
        assert!(field.is_none_or(|field| whole.starts_with(field)), "{field:?}: {whole}");
        let text = plan(&bundle, &[]).stdout;
        assert!(text.len() < 20_000_000, "{pointer}: {}", text.len());
    }
}

/// B13: what a configuration, an image or a caller holds reaches a terminal.
#[test]
fn an_error_is_one_short_line_without_escapes() {
    deviates!(["runc", "crun"], "other words, without a bound");
    let evil = "\u{1b}[31m\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}\n\r";
    let many: Vec<Value> = (0..10_000)
        .map(|n| json!({"destination": "/x", "type": format!("{evil}{n}"), "options": [evil]}))
        .collect();
    for (pointer, value) in [
        ("/mounts", json!(many)),
        ("/mounts", json!(evil.repeat(20_000))),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "bind", "source": evil, "options": ["bind"]}),
        ),
        ("/mounts/-", json!({"destination": "/x", "type": evil.repeat(9)})),
        ("/linux/sysctl", json!({evil: "1"})),
        ("/linux/mountLabel", json!(evil)),
        ("/linux/devices/-", json!({"path": format!("/dev/{evil}"), "type": "x"})),
        ("/process/args", json!([evil])),
        ("/process/args", json!(["/no\u{1b}[31m"])),
        ("/process/cwd", json!("x".repeat(100_000))),
        ("/ociVersion", json!("\u{e4}".repeat(100_000))),
    ] {
        let c = Bundle::sh("true").set(pointer, value).container();
        let log = c.bundle.dir().join("log");
        let path = c.bundle.path().to_str().unwrap().to_owned();
        for format in ["json", "text"] {
            drop(fs::remove_file(&log));
            let options = ["--log", log.to_str().unwrap(), "--log-format", format];
            let out = c.call(options).args(["run", "--bundle", &path, &c.id]).run();
            is_one_short_line(out.fails());
            let logged = fs::read_to_string(&log).unwrap();
            let logged = logged.lines().last().unwrap();
            assert!(logged.len() < 3 * LINE && !logged.contains(char::is_control), "{logged:?}");
        }
    }
    for args in [["state", evil], [evil, "x"], ["kill", &"x".repeat(100_000)]] {
        is_one_short_line(Call::new(&runtime().path).args(args).run().fails());
    }
}

#[test]
fn a_thousand_mistakes_are_counted_and_the_rest_is_plans() {
    deviates!(["runc", "crun"], "one mistake is told");
    let bad = json!({"destination": "/x", "options": ["bind"]});
    let out = Bundle::sh("true").set("/mounts", json!(vec![bad; 1000])).run();
    is_one_short_line(out.fails());
    out.fails_with(&["more (`pinnace plan` lists them all)"]);
}

/// Warnings are lines of their own: they have a bound together.
#[test]
fn a_thousand_warnings_are_not_a_thousand_lines() {
    deviates!(["runc", "crun"], "no such warnings");
    let device =
        |n: usize| json!({"path": format!("/dev/d{n}"), "type": "c", "major": 1, "minor": 3});
    let devices: Value = (0..1000).map(device).collect();
    let out =
        Bundle::sh("true").set("/linux/devices", devices).set("/process/cwd", json!("/no")).run();
    assert!(out.stderr.lines().count() < 30, "{}", out.stderr.lines().count());
    assert!(out.stderr.contains(" more warnings"), "{}", out.stderr);
}

#[test]
fn no_string_of_a_configuration_may_hold_a_nul() {
    deviates!("runc", "cut at the NUL, or refused by the kernel");
    deviates!("crun", "cut at the NUL");
    for (pointer, value, field) in [
        ("/linux/maskedPaths", json!(["/p\0q"]), "linux.maskedPaths[0]"),
        ("/linux/readonlyPaths", json!(["/p\0q"]), "linux.readonlyPaths[0]"),
        ("/linux/devices/-", json!({"path": "/dev/a\0", "type": "p"}), "linux.devices[0].path"),
        ("/linux/mountLabel", json!("a\0b"), "linux.mountLabel"),
        ("/linux/sysctl", json!({"net.a\0b": "1"}), "linux.sysctl"),
        ("/linux/sysctl", json!({"net.a": "1\0"}), "linux.sysctl.net.a"),
        ("/root/path", json!("rootfs\0x"), "root.path"),
        ("/hostname", json!("a\0b"), "hostname"),
        ("/domainname", json!("a\0b"), "domainname"),
        ("/process/selinuxLabel", json!("a\0b"), "process.selinuxLabel"),
        ("/hooks/poststop/-", json!({"path": "/a\0"}), "hooks.poststop[0].path"),
        ("/annotations", json!({"a": "\0"}), "annotations.a"),
    ] {
        let c = Bundle::sh("true").set(pointer, value).container();
        let path = c.bundle.path().to_str().unwrap().to_owned();
        for args in [["create", "--bundle", &path, &c.id].as_slice(), &["plan", "--bundle", &path]]
        {
            let out = c.call([]).args(args).run();
            is_one_short_line(out.fails());
            out.fails_with(&[&format!("config.json: {field}: contains a NUL")]);
        }
    }
    // What nobody knows is passed over (config.md, "Extensibility").
    assert_eq!(Bundle::sh("echo ran").set("/unknown", json!({"a": "\0"})).run().ok(), "ran\n");
}

#[test]
fn no_file_is_read_without_end() {
    deviates!(["runc", "crun"], "reads until memory ends");
    let bundle = Bundle::sleeper();
    let dir = bundle.dir().to_owned();
    let path = bundle.path();
    let path = path.to_str().unwrap();
    is_too_long(&bounded(&["plan", "--bundle", path, "-f", "/dev/zero"], &[]));
    let c = bundle.container();
    is_too_long(&bounded(&["create", "--bundle", path, "-f", "/dev/zero", "x"], &[]));
    c.create().ok();
    c.start().ok();
    let root = c.root();
    let root = ["--root", root.to_str().unwrap()];
    is_too_long(&bounded(&root, &["exec", "-p", "/dev/zero", &c.id]));
    is_too_long(&bounded(&root, &["update", "-r", "/dev/zero", &c.id]));
    let script = "ulimit -v 262144; exec \"$0\" \"$@\" </dev/zero";
    let call = Call::new("/bin/sh").args(["-c", script]).args([&runtime().path]);
    is_too_long(&call.args(root).args(["update", "-r", "-", &c.id]).run());
    // A record of any length.
    let record = c.root().join(&c.id).join("state.json");
    let kept = fs::read(&record).unwrap();
    fs::write(&record, vec![b' '; 20 << 20]).unwrap();
    is_too_long(&bounded(&root, &["state", &c.id]));
    fs::write(&record, kept).unwrap();
    // A pipe is read when somebody writes into it.
    let fifo = dir.join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    pipe_is_read(&c.bundle, &fifo);
}

#[track_caller]
fn is_too_long(out: &Output) {
    is_one_short_line(out.fails());
    out.fails_with(&["file too large (at most 16 MiB are read"]);
}

fn pipe_is_read(bundle: &Bundle, fifo: &Path) {
    let text = serde_json::to_vec(bundle.config()).unwrap();
    let path = bundle.path();
    std::thread::scope(|scope| {
        scope.spawn(|| fs::write(fifo, text).unwrap());
        let args = ["plan", "--bundle", path.to_str().unwrap(), "-f", fifo.to_str().unwrap()];
        bounded(&args, &[]).ok();
    });
}

#[test]
fn a_pattern_cannot_take_all_time() {
    deviates!(["runc", "crun"], "no such option, or without a bound");
    for pattern in ["a{255}{255}{255}", "((a{1,200}){1,200}){1,200}", &"a".repeat(50_000)] {
        let dir = directory();
        let root = dir.path().to_str().unwrap();
        let out = bounded(&["--root", root, "kill", "--regex", pattern, "KILL"], &[]);
        is_one_short_line(out.fails());
        out.fails_with(&["is no regular expression: it is too long"]);
    }
}

/// A type of GVariant that is none: SIGABRT, half way through `create`.
#[test]
fn an_annotation_for_systemd_has_a_type_of_dbus() {
    only_ours();
    for value in ["@a []", "[@a []]", "@azzz []", "@a{sv} []"] {
        let bundle = Bundle::sh("true").set("/linux/cgroupsPath", json!("a.slice:b:c"));
        let bundle = bundle.set("/annotations", json!({"org.systemd.property.Abc": value}));
        bundle.write_config();
        let path = bundle.path();
        // As on a host with cgroup v2.
        let script = "umount -R -l /sys/fs/cgroup; mount -t cgroup2 c /sys/fs/cgroup; exec \"$@\"";
        let private = ["-m", "--propagation", "private", "/bin/sh", "-c", script, "sh"];
        let args = ["--systemd-cgroup", "plan", "--bundle", path.to_str().unwrap()];
        let call = Call::new("/usr/bin/unshare").args(private).args([&runtime().path]);
        let out = call.args(args).run();
        assert_eq!(out.code, 1, "{value}: {out:?}");
        assert!(out.stdout.contains("annotations[\"org.systemd.property.Abc\"]"), "{}", out.stdout);
    }
}
