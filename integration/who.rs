//! Who may run and enter what: decided as the kernel will decide for the process,
//! not as it would for the runtime or for root of the container.

use crate::harness::{
    Bundle, Call, Container, Lacks, Output, deviates, is_pinnace, json, needs, runtime,
};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

const NOT_FOUND: &[&str] = &["executable file not found in", "not found in $path"];
const DENIED: &[&str] = &["permission denied"];

/// A container of uid 1000 with these capabilities in the three usual sets.
fn user_with(bundle: Bundle, capabilities: &[&str]) -> Bundle {
    let sets =
        json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
    bundle
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/capabilities", sets)
}

/// A directory of the rootfs with another name for busybox in it.
fn program(bundle: &Bundle, path: &str, mode: u32) {
    let path = bundle.rootfs(path);
    let dir = path.parent().unwrap();
    fs::create_dir_all(dir).unwrap();
    fs::hard_link(bundle.rootfs("bin/busybox"), &path).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
}

/// A script that only the owner, root, may execute; all may read it.
fn script(bundle: Bundle, path: &str) -> Bundle {
    let bundle = bundle.file(path, "#!/bin/sh\necho ran\n");
    mode(&bundle, path, 0o744);
    bundle
}

fn mode(bundle: &Bundle, path: &str, mode: u32) {
    fs::set_permissions(bundle.rootfs(path), fs::Permissions::from_mode(mode)).unwrap();
}

/// A directory of the rootfs: owner, group, mode.
fn directory(bundle: &Bundle, path: &str, uid: u32, gid: u32, bits: u32) {
    fs::create_dir_all(bundle.rootfs(path)).unwrap();
    chown(bundle.rootfs(path), Some(uid), Some(gid)).unwrap();
    mode(bundle, path, bits);
}

/// The output by `run`, which must be that of `create` and `start`, too.
#[track_caller]
fn both(bundle: Bundle) -> String {
    let c = bundle.container();
    let text = c.run().ok().to_owned();
    assert_eq!(c.output(), text, "create and start");
    text
}

/// What `create` of it says, which fails.
#[track_caller]
fn refused(bundle: Bundle, any_of: &[&str]) -> Output {
    let out = bundle.container().create();
    out.fails_with(any_of);
    out
}

/// Kubernetes' `runAsUser`: the engine's default capabilities, though the user is not root.
#[test]
fn r085_a_user_who_overrides_modes_runs_what_only_root_may() {
    for args in [json!(["/opt/only"]), json!(["only"])] {
        let bundle = script(Bundle::new(["true"]), "opt/only");
        let bundle = user_with(bundle, &["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL"])
            .set("/process/env", json!(["PATH=/bin:/opt"]))
            .set("/process/args", args);
        assert_eq!(both(bundle), "ran\n");
    }
}

/// And what lies in a directory that only root may search.
#[test]
fn r085_a_user_who_overrides_modes_runs_what_is_hidden() {
    for capability in ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"] {
        for args in [json!(["/opt/echo", "ran"]), json!(["echo", "ran"])] {
            let bundle = user_with(Bundle::new(["true"]), &[capability])
                .set("/process/env", json!(["PATH=/opt"]))
                .set("/process/args", args);
            program(&bundle, "opt/echo", 0o700);
            assert_eq!(both(bundle), "ran\n", "{capability}");
        }
    }
}

/// execve(2) is called with the effective set: the bounding one lets nobody do anything.
#[test]
fn r085_a_capability_that_is_not_effective_lets_nobody_run() {
    deviates!("crun", "R085: looked for as root, and found out by start");
    let capabilities = ["CAP_DAC_OVERRIDE"];
    for sets in [
        json!({"bounding": capabilities}),
        json!({"bounding": capabilities, "permitted": capabilities}),
        json!({"bounding": capabilities, "permitted": capabilities, "inheritable": capabilities}),
    ] {
        let bundle = script(Bundle::new(["/opt/only"]), "opt/only");
        let bundle = user_with(bundle, &[]).set("/process/capabilities", sets);
        refused(bundle, DENIED);
    }
}

/// Root without the capability is an owner like any other.
#[test]
fn r085_root_that_overrides_nothing_is_refused_as_execve_would() {
    deviates!("crun", "R085: looked for as root, and found out by start");
    let bundle = script(Bundle::new(["/opt/only"]), "opt/only");
    chown(bundle.rootfs("opt/only"), Some(1000), Some(1000)).unwrap();
    refused(bundle, DENIED);
    let bundle = script(Bundle::new(["/opt/only"]), "opt/only").capability("CAP_DAC_OVERRIDE");
    chown(bundle.rootfs("opt/only"), Some(1000), Some(1000)).unwrap();
    assert_eq!(both(bundle), "ran\n");
}

/// Root of a user namespace overrides the modes of what belongs to mapped ids, and no others.
#[test]
fn r085_root_of_a_user_namespace_overrides_what_is_mapped() {
    let bundle = |uid| {
        let bundle = script(Bundle::new(["/opt/only"]).user_namespace(), "opt/only");
        chown(bundle.rootfs("opt/only"), Some(uid), Some(uid)).unwrap();
        bundle.capability("CAP_DAC_OVERRIDE")
    };
    assert_eq!(both(bundle(100_000)), "ran\n");
    assert_eq!(both(bundle(101_000)), "ran\n");
    refused(bundle(0), DENIED);
    let user = json!({"uid": 1000, "gid": 1000});
    assert_eq!(both(bundle(101_000).set("/process/user", user.clone())), "ran\n");
    assert_eq!(both(bundle(102_000).set("/process/user", user)), "ran\n");
}

/// A group counts whose member the process becomes.
#[test]
fn r085_r105_a_program_of_an_additional_group() {
    for users in [false, true] {
        let bundle = Bundle::new(["/opt/echo", "ran"]);
        let bundle = if users { bundle.user_namespace() } else { bundle };
        program(&bundle, "opt/echo", 0o710);
        let group = if users { 100_007 } else { 7 };
        chown(bundle.rootfs("opt"), Some(0), Some(group)).unwrap();
        let user = json!({"uid": 1000, "gid": 1000, "additionalGids": [7]});
        assert_eq!(both(user_with(bundle, &[]).set("/process/user", user)), "ran\n");
    }
}

/// A directory of PATH that may not be searched is passed over, and hides nothing.
#[test]
fn r085_directories_that_may_not_be_searched_are_passed_over() {
    deviates!("crun", "R085: looked for as root");
    let bundle = |name: &str| {
        let bundle = user_with(Bundle::new(["true"]), &[])
            .set("/process/env", json!(["PATH=/secret:/bin"]))
            .set("/process/args", json!([name, "ran"]));
        program(&bundle, "secret/echo", 0o700);
        program(&bundle, "secret/hidden", 0o700);
        bundle
    };
    assert_eq!(both(bundle("echo")), "ran\n");
    for name in ["hidden", "nonsense"] {
        let out = refused(bundle(name), NOT_FOUND);
        if is_pinnace() {
            assert!(out.stderr.contains("user 1000 may not search /secret"), "{out:?}");
        }
    }
}

/// What comes later in PATH is found though an earlier file of that name is not for us.
#[test]
fn r085_a_file_that_may_not_be_executed_is_passed_over() {
    let bundle = script(Bundle::new(["echo", "found"]), "opt/echo");
    let bundle = user_with(bundle, &[]).set("/process/env", json!(["PATH=/opt:/etc:/bin"]));
    fs::create_dir_all(bundle.rootfs("etc/echo")).unwrap();
    deviates!(["runc", "crun"], "R085: the first one is taken (runc 1.1.5), or looked for as root");
    assert_eq!(both(bundle), "found\n");
}

/// No capability is above `noexec`.
#[test]
fn r085_a_noexec_mount_is_refused_and_passed_over() {
    let bundle = |args| {
        let bundle = Bundle::new(["true"]).capability("CAP_DAC_OVERRIDE");
        let source = bundle.rootfs("bin");
        bundle
            .bind(&source, "/noexec", &["bind", "noexec"])
            .set("/process/env", json!(["PATH=/noexec:/bin"]))
            .set("/process/args", args)
    };
    refused(bundle(json!(["/noexec/echo", "ran"])), DENIED);
    deviates!("runc", "R085: the first one is taken (runc 1.1.5)");
    assert_eq!(both(bundle(json!(["echo", "ran"]))), "ran\n");
}

/// An interpreter is looked at by execve(2) alone.
#[test]
fn r085_an_interpreter_that_may_not_be_executed() {
    let bundle = Bundle::new(["/opt/run"]).file("opt/run", "#!/secret/sh\necho ran\n");
    mode(&bundle, "opt/run", 0o755);
    program(&bundle, "secret/sh", 0o700);
    user_with(bundle, &[]).run().fails_with(DENIED);
    let bundle = Bundle::new(["/opt/run"]).file("opt/run", "#!/secret/sh\necho ran\n");
    mode(&bundle, "opt/run", 0o755);
    program(&bundle, "secret/sh", 0o700);
    assert_eq!(both(user_with(bundle, &["CAP_DAC_READ_SEARCH"])), "ran\n");
}

#[test]
fn r343_exec_runs_what_its_process_may() {
    let capabilities = ["CAP_DAC_OVERRIDE"];
    let c = user_with(script(Bundle::sleeper(), "opt/only"), &capabilities).container().up();
    assert_eq!(c.exec(["/opt/only"]).ok(), "ran\n");
    assert_eq!(c.exec_with(["--user", "2000:2000"], ["/opt/only"]).ok(), "ran\n");
    let c = user_with(script(Bundle::sleeper(), "opt/only"), &[]).container().up();
    deviates!("crun", "R343: crun 1.8.1 forgets the user");
    c.exec(["/opt/only"]).fails_with(DENIED);
    assert_eq!(c.exec_with(["--cap", "CAP_DAC_OVERRIDE"], ["/opt/only"]).ok(), "ran\n");
}

/// An older engine's filter around the runtime, or Linux 5.7, has no faccessat2(2).
#[test]
fn r085_without_faccessat2_nobody_is_refused_who_may() {
    deviates!(["runc", "crun"], "R085: the capabilities do not count then");
    for errno in [libc::EPERM, libc::ENOSYS] {
        let lacks = Lacks { call: libc::SYS_faccessat2, argument: 0, mask: 0, value: 0, errno };
        let run = |bundle: Bundle| {
            let c = bundle.container();
            let path = c.bundle.path();
            c.call(["run", "--bundle", path.to_str().unwrap(), &c.id]).without(&[lacks]).run()
        };
        let bundle = |args, capabilities: &[&str]| {
            let bundle = script(Bundle::new(["true"]), "opt/only").file("etc/text", "text");
            program(&bundle, "secret/echo", 0o700);
            user_with(bundle, capabilities)
                .set("/process/env", json!(["PATH=/secret:/opt:/bin"]))
                .set("/process/args", args)
        };
        let overrides = &["CAP_DAC_OVERRIDE"];
        assert_eq!(run(bundle(json!(["/opt/only"]), overrides)).ok(), "ran\n");
        assert_eq!(run(bundle(json!(["only"]), overrides)).ok(), "ran\n");
        assert_eq!(run(bundle(json!(["/secret/echo", "ran"]), overrides)).ok(), "ran\n");
        let searches = &["CAP_DAC_READ_SEARCH"];
        assert_eq!(run(bundle(json!(["/secret/echo", "ran"]), searches)).ok(), "ran\n");
        assert_eq!(run(bundle(json!(["echo", "ran"]), &[])).ok(), "ran\n");
        run(bundle(json!(["/opt/only"]), &[])).fails_with(DENIED);
        run(bundle(json!(["/etc/text"]), overrides)).fails_with(DENIED);
        run(bundle(json!(["/opt"]), overrides)).fails_with(&["permission denied", "directory"]);
        run(bundle(json!(["nonsense"]), &[])).fails_with(NOT_FOUND);
        run(bundle(json!(["/no/such"]), overrides)).fails_with(&["no such file"]);
        let root = json!({"uid": 0, "gid": 0});
        assert_eq!(run(bundle(json!(["only"]), &[]).set("/process/user", root)).ok(), "ran\n");
    }
}

/// Owners, groups and modes of a directory that the user may enter, and root of the user
/// namespace may not: an id of each has no name inside.
const FOR_USER: &[(u32, u32, u32)] =
    &[(101_000, 0, 0o700), (0, 100_007, 0o770), (0, 101_000, 0o710)];

fn user_in_namespace(bundle: Bundle) -> Bundle {
    let user = json!({"uid": 1000, "gid": 1000, "additionalGids": [7]});
    bundle.user_namespace().set("/process/user", user)
}

#[test]
fn r082_cwd_that_only_the_user_may_enter_in_a_user_namespace() {
    for (uid, gid, bits) in FOR_USER {
        for cwd in ["/home", "/home/below"] {
            let bundle = user_in_namespace(Bundle::sh("pwd")).set("/process/cwd", json!(cwd));
            directory(&bundle, "home", *uid, *gid, *bits);
            directory(&bundle, "home/below", 0, 0, 0o755);
            if cwd != "/home" {
                deviates!("runc", "R082: root of the container must see that it is there");
            }
            assert_eq!(both(bundle), format!("{cwd}\n"), "{uid}:{gid} {bits:o}");
        }
    }
}

#[test]
fn r347_exec_cwd_that_only_the_user_may_enter_in_a_user_namespace() {
    let bundle = user_in_namespace(Bundle::sleeper());
    for (n, (uid, gid, bits)) in FOR_USER.iter().enumerate() {
        directory(&bundle, &format!("home{n}"), *uid, *gid, *bits);
    }
    directory(&bundle, "home-of-2000", 102_000, 0, 0o700);
    let c = bundle.container().up();
    deviates!("crun", "R343: crun 1.8.1 forgets the user");
    for n in 0..FOR_USER.len() {
        let cwd = format!("/home{n}");
        assert_eq!(c.exec_with(["--cwd", &cwd], ["pwd"]).ok(), format!("{cwd}\n"));
    }
    let cwd = ["--cwd", "/home-of-2000", "--user", "2000:2000"];
    assert_eq!(c.exec_with(cwd, ["pwd"]).ok(), "/home-of-2000\n");
    c.exec_with(["--cwd", "/home-of-2000"], ["pwd"]).fails_with(DENIED);
}

/// Root of the container may enter what the user may not: so it was, and so do the peers.
#[test]
fn r082_cwd_that_only_root_of_the_container_may_enter() {
    for users in [false, true] {
        let bundle = Bundle::new(["readlink", "/proc/self/cwd"]);
        let bundle = if users { bundle.user_namespace() } else { bundle };
        let bundle = user_with(bundle, &[]).set("/process/cwd", json!("/home"));
        let root = if users { 100_000 } else { 0 };
        directory(&bundle, "home", root, root, 0o700);
        assert_eq!(both(bundle), "/home\n");
    }
}

#[test]
fn r082_cwd_that_nobody_may_enter_is_named() {
    let bundle = user_in_namespace(Bundle::sh("pwd")).set("/process/cwd", json!("/home"));
    directory(&bundle, "home", 0, 0, 0o700);
    let out = refused(bundle, DENIED);
    if is_pinnace() {
        let words = "process.cwd: chdir /home: permission denied (neither root of the container nor user 1000";
        assert!(out.stderr.contains(words), "{out:?}");
    }
}

/// CVE-2024-21626, the second attempt: links of procfs lead nowhere, others not out.
#[test]
fn r083_cwd_that_only_the_user_may_enter_leads_nowhere_else() {
    for link in ["/proc/self/fd/3", "/proc/self/root", "/proc/1/cwd", "/proc/self/fd/7/../.."] {
        let bundle =
            user_in_namespace(Bundle::sh("pwd; ls")).set("/process/cwd", json!("/home/link"));
        directory(&bundle, "home", 101_000, 0, 0o700);
        std::os::unix::fs::symlink(link, bundle.rootfs("home/link")).unwrap();
        let c = bundle.container();
        deviates!("crun", "R083: the links are followed, inside the root");
        assert_ne!(c.run().code, 0, "{link}");
        assert_ne!(c.create().code, 0, "{link}");
    }
    let bundle =
        user_in_namespace(Bundle::sh("/bin/pwd -P")).set("/process/cwd", json!("/home/up"));
    directory(&bundle, "home", 101_000, 0, 0o700);
    std::os::unix::fs::symlink("../../../../../etc", bundle.rootfs("home/up")).unwrap();
    deviates!("runc", "R082: root of the container must see that it is there");
    assert_eq!(both(bundle), "/etc\n");
}

/// WORKDIR of an image with `--read-only`.
#[test]
fn r004_r082_a_missing_cwd_is_made_before_the_root_becomes_readonly() {
    let script = "pwd; touch x 2>/dev/null || echo readonly; stat -c %a:%u:%g .";
    for users in [false, true] {
        let bundle = Bundle::sh(script);
        let bundle = if users { bundle.user_namespace() } else { bundle };
        let bundle = bundle.set("/root/readonly", json!(true));
        let c = bundle.set("/process/cwd", json!("/made/for/me")).container();
        assert_eq!(c.run().ok(), "/made/for/me\nreadonly\n755:0:0\n");
        fs::remove_dir_all(c.bundle.rootfs("made")).unwrap();
        assert_eq!(c.output(), "/made/for/me\nreadonly\n755:0:0\n");
    }
}

/// The same below a path or a tmpfs that becomes read-only.
#[test]
fn r082_r250_a_missing_cwd_is_made_before_what_it_lies_in_becomes_readonly() {
    let script = "pwd; touch x 2>/dev/null || echo readonly";
    let bundle = Bundle::sh(script)
        .set("/linux/readonlyPaths/-", json!("/etc"))
        .set("/process/cwd", json!("/etc/made"));
    assert_eq!(both(bundle), "/etc/made\nreadonly\n");
    let bundle = Bundle::sh(script)
        .mount("tmpfs", "tmpfs", "/ro", &["ro"])
        .set("/process/cwd", json!("/ro/made"));
    assert_eq!(both(bundle), "/ro/made\nreadonly\n");
    // Through a link of the image, too.
    let bundle = Bundle::sh("/bin/pwd -P")
        .set("/root/readonly", json!(true))
        .set("/process/cwd", json!("/link/made"));
    std::os::unix::fs::symlink("/etc", bundle.rootfs("link")).unwrap();
    assert_eq!(both(bundle), "/etc/made\n");
}

/// Nothing is made where the caller wants nothing written.
#[test]
fn r082_a_missing_cwd_on_a_readonly_mount_is_named() {
    let bundle = Bundle::sh("pwd");
    let source = bundle.dir().join("source");
    fs::create_dir_all(source.join("there")).unwrap();
    let bundle = bundle.bind(&source, "/volume", &["rbind", "ro"]);
    let c = bundle.set("/process/cwd", json!("/volume/missing")).container();
    let out = c.create();
    deviates!("crun", "R082: made before the mounts, and missed by start");
    out.fails_with(&["read-only file system"]);
    if is_pinnace() {
        let words = "process.cwd: mkdir /volume/missing in the root filesystem: read-only file system \
                     (it is missing";
        assert!(out.stderr.contains(words), "{out:?}");
    }
    let bundle = Bundle::sh("pwd");
    let source = bundle.dir().join("source");
    fs::create_dir_all(source.join("there")).unwrap();
    let bundle = bundle.bind(&source, "/volume", &["rbind", "ro"]);
    assert_eq!(both(bundle.set("/process/cwd", json!("/volume/there"))), "/volume/there\n");
}

/// Where root of the container may not write, either.
#[test]
fn r082_a_missing_cwd_that_cannot_be_made_is_named() {
    let bundle = Bundle::sh("pwd").user_namespace().set("/process/cwd", json!("/opt/missing"));
    directory(&bundle, "opt", 0, 0, 0o755);
    deviates!("crun", "R082: told that it is missing");
    let out = refused(bundle, DENIED);
    if is_pinnace() {
        assert!(out.stderr.contains("process.cwd: mkdir /opt/missing"), "{out:?}");
    }
}

/// The warnings of a call that succeeds.
fn warnings(out: &Output) -> Vec<&str> {
    out.ok();
    out.stderr.lines().filter(|line| line.contains("warning")).collect()
}

fn sets(output: &Output) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|name| u64::from_str_radix(output.field(name), 16).unwrap())
}

fn with_sets(uid: u32, capabilities: crate::harness::Value) -> Container {
    Bundle::new(["cat", "/proc/self/status"])
        .set("/process/user/uid", json!(uid))
        .set("/process/capabilities", capabilities)
        .container()
}

const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;
const SETPCAP: u64 = 1 << 8;

/// config.md: what cannot be granted MUST be logged as a warning.
#[test]
fn r091_an_ambient_capability_that_is_not_permitted_or_inheritable_warns() {
    let (one, two) = (json!(["CAP_KILL"]), json!(["CAP_KILL", "CAP_NET_RAW"]));
    let cases = [
        (&two, &one, "not in process.capabilities.inheritable"),
        (&one, &two, "not in process.capabilities.permitted"),
        (&one, &one, "not in process.capabilities.permitted"),
    ];
    for (permitted, inheritable, why) in cases {
        let c = with_sets(
            1000,
            json!({"bounding": two, "effective": one, "permitted": permitted,
                "inheritable": inheritable, "ambient": two}),
        );
        let out = c.run();
        deviates!("crun", "R091: EPERM fails the create");
        assert_eq!(sets(&out)[1..], [KILL, KILL, KILL | NET_RAW, KILL], "{out:?}");
        deviates!("runc", "R091: silent");
        let wanted = format!("process.capabilities.ambient: cannot grant CAP_NET_RAW: {why}");
        let told = warnings(&out);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(&wanted), "{told:?}");
    }
}

#[test]
fn r091_an_effective_capability_that_is_not_permitted_warns() {
    let (one, two) = (json!(["CAP_KILL"]), json!(["CAP_KILL", "CAP_NET_RAW"]));
    let c = with_sets(0, json!({"bounding": two, "effective": two, "permitted": one}));
    let out = c.run();
    deviates!(["runc", "crun"], "R091: EPERM fails the create");
    let told = warnings(&out);
    let wanted = "process.capabilities.effective: cannot grant CAP_NET_RAW: not in process.capabilities.permitted";
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(wanted), "{told:?}");
}

/// execve(2) takes away what is beyond the bounding set.
#[test]
fn r091_a_permitted_capability_beyond_the_bounding_set_warns() {
    let (one, two) = (json!(["CAP_KILL"]), json!(["CAP_KILL", "CAP_NET_RAW"]));
    for uid in [0, 1000] {
        let c = with_sets(uid, json!({"bounding": one, "effective": two, "permitted": two}));
        let out = c.run();
        let granted = if uid == 0 { KILL } else { 0 };
        assert_eq!(sets(&out), [0, granted, granted, KILL, 0]);
        deviates!(["runc", "crun"], "R091: silent");
        let told = warnings(&out);
        let wanted = "process.capabilities.permitted: cannot grant CAP_NET_RAW: not in process.capabilities.bounding";
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(wanted), "{told:?}");
    }
}

/// capset(2) would refuse it: config.md has it logged, and the container made.
#[test]
fn r091_an_inheritable_capability_beyond_the_bounding_set_warns() {
    let (one, two) = (json!(["CAP_KILL"]), json!(["CAP_KILL", "CAP_NET_RAW"]));
    let raw = json!(["CAP_NET_RAW"]);
    let none = json!([]);
    for (bounding, permitted, inheritable, granted) in [
        (&one, &one, &raw, [0, KILL, KILL, KILL, 0]),
        (&one, &two, &two, [KILL, KILL, KILL, KILL, 0]),
        (&none, &one, &one, [0, 0, 0, 0, 0]),
        (&none, &one, &none, [0, 0, 0, 0, 0]),
    ] {
        let c = with_sets(
            0,
            json!({"bounding": bounding, "effective": permitted, "permitted": permitted,
                "inheritable": inheritable}),
        );
        let out = c.run();
        deviates!(["runc", "crun"], "R091: EPERM fails the create, or silent");
        assert_eq!(sets(&out), granted, "{bounding} {permitted} {inheritable}");
        let told = warnings(&out);
        for (set, wanted) in [("inheritable", inheritable), ("permitted", permitted)] {
            let beyond = wanted
                .as_array()
                .unwrap()
                .iter()
                .any(|name| !bounding.as_array().unwrap().contains(name));
            let field = format!("process.capabilities.{set}: cannot grant CAP_");
            let count = told.iter().filter(|line| line.contains(&field)).count();
            assert_eq!(
                count,
                usize::from(beyond),
                "{bounding} {permitted} {inheritable}: {told:?}"
            );
        }
    }
}

/// `run`, by another program that restricts it.
fn restricted(c: &Container, around: &[&str]) -> Output {
    Call::new(around[0])
        .args(&around[1..])
        .args([&runtime().path])
        .args(c.global())
        .args(["run", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
        .run()
}

/// Without `CAP_SETPCAP` nothing can be dropped from the bounding set: fine if there is nothing.
#[test]
fn r091_a_runtime_that_cannot_limit_the_bounding_set() {
    let around = ["/usr/bin/setpriv", "--bounding-set=-setpcap"];
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    let own = u64::from_str_radix(own.trim(), 16).unwrap() & !SETPCAP;
    let names: Vec<_> = pinnace::plan::capabilities::names(own).collect();
    let all = json!({"bounding": names, "effective": names, "permitted": names});
    let out = restricted(&with_sets(0, all), &around);
    deviates!(["runc", "crun"], "R091: silent, or EPERM");
    assert_eq!(sets(&out), [0, own, own, own, 0]);
    assert_eq!(warnings(&out), [""; 0]);
    let one = json!(["CAP_KILL"]);
    let c = with_sets(0, json!({"bounding": one, "effective": one, "permitted": one}));
    let field = "process.capabilities.bounding: prctl(PR_CAPBSET_DROP, 0)";
    restricted(&c, &around).fails_with(&[field]);
}

#[test]
fn r091_ambient_capabilities_that_the_caller_has_forbidden_warn() {
    needs!(Path::new("/usr/sbin/capsh").exists(), "capsh, of libcap2-bin");
    let one = json!(["CAP_KILL"]);
    let c = with_sets(
        1000,
        json!({"bounding": one, "effective": one, "permitted": one, "inheritable": one,
            "ambient": one}),
    );
    // SECBIT_NO_CAP_AMBIENT_RAISE
    let out =
        restricted(&c, &["/usr/sbin/capsh", "--secbits=64", "--", "-c", "exec \"$0\" \"$@\""]);
    deviates!(["runc", "crun"], "R091: silent, or EPERM");
    assert_eq!(sets(&out), [KILL, 0, 0, KILL, 0]);
    let told = warnings(&out);
    assert_eq!(told.len(), 1, "{told:?}");
    let wanted =
        "process.capabilities.ambient: cannot grant CAP_KILL: the caller has set SECBIT_NO_CAP";
    assert!(told[0].contains(wanted), "{told:?}");
}

/// Once each, however often and in how many sets it stands.
#[test]
fn r091_r296_an_unknown_capability_warns_once() {
    let names = json!(["CAP_NONSENSE", "CAP_KILL", "CAP_KILL", "CAP_NONSENSE", "cap_kill"]);
    let c = with_sets(0, json!({"bounding": names, "effective": names, "permitted": names}));
    let out = c.run();
    deviates!("crun", "R091: a hard error");
    assert_eq!(sets(&out), [0, KILL, KILL, KILL, 0]);
    deviates!("runc", "R091: one warning with all names");
    let told = warnings(&out);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("CAP_NONSENSE") && told[1].contains("cap_kill"), "{told:?}");
}

#[test]
fn r091_r344_exec_warns_of_what_it_cannot_grant() {
    let c = Bundle::sleeper().container().up();
    let process = |capabilities| {
        let file = c.bundle.dir().join("process.json");
        let mut process = c.bundle.config()["process"].clone();
        process["args"] = json!(["cat", "/proc/self/status"]);
        process["capabilities"] = capabilities;
        fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
        c.call(["exec", "--process", file.to_str().unwrap(), &c.id]).run()
    };
    let one = json!(["CAP_KILL"]);
    let out = process(json!({"bounding": one, "effective": one, "permitted": one, "ambient": one}));
    deviates!("crun", "R091: EPERM fails the exec");
    deviates!("runc", "R091: silent");
    assert_eq!(sets(&out), [0, KILL, KILL, KILL, 0]);
    let told = warnings(&out);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("process.capabilities.ambient: cannot grant CAP_KILL"), "{told:?}");
    let out = process(json!({"inheritable": one}));
    assert_eq!(sets(&out), [0; 5]);
    let told = "process.capabilities.inheritable: cannot grant CAP_KILL: not in process.capabilities.bounding";
    assert!(warnings(&out)[0].contains(told), "{out:?}");
    // What is the container's own, `create` has told.
    let own = json!({"bounding": one, "effective": one, "permitted": one, "ambient": one});
    let c = Bundle::sleeper().set("/process/capabilities", own).container().up();
    let out = c.exec(["true"]);
    assert_eq!((out.ok(), warnings(&out).len()), ("", 0), "{out:?}");
}
