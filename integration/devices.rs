//! Device nodes: the defaults, those of `linux.devices`, and the links of /dev.

use crate::harness::{Bundle, Value, deviates, json, needs};
use crate::security::rootless::{Rootless, rootless};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn device(kind: &str, path: &str, major: u32, minor: u32) -> Value {
    json!({"type": kind, "path": path, "major": major, "minor": minor, "fileMode": 0o640,
           "uid": 3, "gid": 4})
}

fn allow_all(bundle: Bundle) -> Bundle {
    bundle.set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]))
}

#[test]
fn r153_the_default_devices() {
    let out = Bundle::sh("cd /dev; stat -c '%n %t:%T %a' full null random tty urandom zero").run();
    let want = "full 1:7 666\nnull 1:3 666\nrandom 1:8 666\ntty 5:0 666\nurandom 1:9 666\n\
                zero 1:5 666\n";
    assert_eq!(out.ok(), want);
}

#[test]
fn r153_the_default_devices_work() {
    let out = Bundle::sh(
        "echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1; \
                          head -c 1 /dev/urandom > /dev/null; echo x > /dev/full",
    )
    .run();
    assert_eq!(out.stdout.trim(), "00 00 00");
    assert!(out.stderr.contains("No space left on device"), "{out:?}");
}

#[test]
fn r153_the_modes_do_not_depend_on_the_callers_umask() {
    let c = Bundle::new(["stat", "-c", "%a", "/dev/null"]).container();
    let program = crate::harness::runtime().path.display();
    let script = format!(
        "umask 077; exec {program} --root {} run -b {} {}",
        c.root().display(),
        c.bundle.path().display(),
        c.id
    );
    let out = crate::harness::Call::new("/bin/sh").args(["-c", &script]).run();
    assert_eq!(out.ok(), "666\n");
}

#[test]
fn r155_ptmx_is_that_of_the_containers_devpts() {
    let out = Bundle::sh("readlink /dev/ptmx || stat -L -c %t:%T /dev/ptmx").run();
    assert!(["pts/ptmx\n", "/dev/pts/ptmx\n", "5:2\n"].contains(&out.ok()), "{out:?}");
}

#[test]
fn r163_the_links_of_dev() {
    let out = Bundle::sh("cd /dev; for f in fd stdin stdout stderr; do readlink $f; done").run();
    assert_eq!(out.ok(), "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n");
}

#[test]
fn r146_r149_r150_r151_devices_of_each_type() {
    let out = allow_all(Bundle::sh("stat -c '%F %t:%T %a %u:%g' /dev/c /dev/u /dev/b /dev/p"))
        .set("/linux/devices/-", device("c", "/dev/c", 10, 229))
        .set("/linux/devices/-", device("u", "/dev/u", 10, 200))
        .set("/linux/devices/-", device("b", "/dev/b", 7, 99))
        .set("/linux/devices/-", device("p", "/dev/p", 0, 0))
        .run();
    let want = "character special file a:e5 640 3:4\ncharacter special file a:c8 640 3:4\n\
                block special file 7:63 640 3:4\nfifo 0:0 640 3:4\n";
    assert_eq!(out.ok(), want);
}

#[test]
fn r149_a_fifo_needs_no_numbers() {
    let out = Bundle::sh("stat -c %F /dev/p")
        .set("/linux/devices/-", json!({"type": "p", "path": "/dev/p"}))
        .run();
    assert_eq!(out.ok(), "fifo\n");
}

#[test]
fn r150_the_default_mode_is_0666() {
    let out = allow_all(Bundle::sh("stat -c '%a %u:%g' /dev/x"))
        .set("/linux/devices/-", json!({"type": "c", "path": "/dev/x", "major": 10, "minor": 229}))
        .run();
    deviates!("crun", "R150: crun 1.8.1 wants a mode");
    assert_eq!(out.ok(), "666 0:0\n");
}

#[test]
fn r147_a_device_outside_of_dev() {
    let out = allow_all(Bundle::sh("stat -c %t:%T /some/where/x"))
        .set("/linux/devices/-", device("c", "/some/where/x", 1, 5))
        .run();
    assert_eq!(out.ok(), "1:5\n");
}

#[test]
fn r146_a_listed_device_may_be_used() {
    let out = allow_all(Bundle::sh("head -c 2 /dev/mine | od -An -tx1"))
        .set("/linux/devices/-", json!({"type": "c", "path": "/dev/mine", "major": 1, "minor": 5}))
        .run();
    assert_eq!(out.ok().trim(), "00 00");
}

/// A file of the image stands where a device is wanted.
fn existing(text: &str, destination: &str) -> Bundle {
    allow_all(Bundle::sh("stat -c %t:%T /opt/x"))
        .file("opt/x", text)
        .set("/linux/devices/-", device("c", destination, 1, 5))
}

#[test]
fn r148_r301_an_existing_file_that_does_not_match() {
    let out = existing("a file", "/opt/x").run();
    deviates!(["runc", "crun"], "R148: EEXIST is accepted unseen");
    out.fails_with(&["/opt/x"]);
}

#[test]
fn r148_an_existing_node_of_other_numbers() {
    let bundle = existing("", "/opt/x");
    let path = bundle.rootfs("opt/x");
    fs::remove_file(&path).unwrap();
    node(&path, 1, 3);
    let out = bundle.run();
    deviates!(["runc", "crun"], "R148: EEXIST is accepted unseen");
    out.fails_with(&["/opt/x"]);
}

#[test]
fn r148_an_existing_node_that_matches_is_taken() {
    let bundle = existing("", "/opt/x");
    let path = bundle.rootfs("opt/x");
    fs::remove_file(&path).unwrap();
    node(&path, 1, 5);
    assert_eq!(bundle.run().ok(), "1:5\n");
}

fn node(path: &std::path::Path, major: u32, minor: u32) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::CharacterDevice,
        0o600.into(),
        rustix::fs::makedev(major, minor),
    )
    .unwrap();
}

#[test]
fn r110_a_device_of_an_unknown_type() {
    let out = Bundle::sh("true").set("/linux/devices/-", device("z", "/dev/z", 1, 5)).run();
    deviates!("crun", "R146: any other letter becomes c");
    out.fails();
}

#[test]
fn r156_the_default_devices_in_a_user_namespace() {
    let out = Bundle::sh(
        "echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1; \
                          cd /dev; stat -c '%n %t:%T' full null random tty urandom zero",
    )
    .user_namespace()
    .run();
    let want = "full 1:7\nnull 1:3\nrandom 1:8\ntty 5:0\nurandom 1:9\nzero 1:5\n";
    assert!(out.ok().ends_with(want), "{out:?}");
    assert!(out.stdout.trim_start().starts_with("00 00 00\n"), "{out:?}");
}

#[test]
fn r156_a_listed_device_in_a_user_namespace_is_bound() {
    let out = allow_all(Bundle::sh("stat -c %t:%T /dev/fuse"))
        .user_namespace()
        .set("/linux/devices/-", device("c", "/dev/fuse", 10, 229))
        .run();
    crate::harness::needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    assert_eq!(out.ok(), "a:e5\n");
}

/// config-linux.md, Devices: `uid` and `gid` are ids in the container; what cannot be applied is
/// an error (runtime.md, Create). Whoever the node is for can open it, and nobody else.
#[test]
fn r150_r151_r156_a_listed_device_has_its_mode_and_owner_in_a_user_namespace() {
    crate::harness::needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    for (mode, uid, gid, user, opens) in [
        (0o666, 1, 2, 7, true),
        (0o600, 7, 0, 7, true),
        (0o600, 1, 2, 7, false),
        (0o640, 0, 0, 0, true),
    ] {
        let device = json!({"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229,
            "fileMode": mode, "uid": uid, "gid": gid});
        let out = allow_all(Bundle::sh(
            "stat -c '%F %t:%T %a %u:%g' /dev/fuse; (: < /dev/fuse) 2>/dev/null && echo opened",
        ))
        .user_namespace()
        .set("/process/user", json!({"uid": user, "gid": user}))
        .set("/linux/devices/-", device)
        .run();
        deviates!(["runc", "crun"], "R150: as it is on the host; crun since 1.28 as pinnace");
        let wanted = format!("character special file a:e5 {mode:o} {uid}:{gid}\n");
        let opened = if opens { "opened\n" } else { "" };
        assert_eq!(out.stdout, wanted + opened, "{out:?}");
    }
}

#[test]
fn r163_dev_without_any_mount_is_filled_in_the_rootfs() {
    let c = Bundle::sh("ls -l /dev/null && readlink /dev/fd").edit(|c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    });
    assert!(c.run().ok().ends_with("/proc/self/fd\n"));
}

/// What Docker's default configuration says of devices, and what it says of `--device
/// /dev/kmsg:/dev/mykmsg:r`.
fn docker(script: &str) -> Bundle {
    let char = |allow: bool, major: u32, minor: u32, access: &str| json!({"allow": allow, "type": "c", "major": major, "minor": minor, "access": access});
    Bundle::sh(script).capability("CAP_MKNOD").capability("CAP_DAC_OVERRIDE").set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"},
            char(true, 1, 5, "rwm"),
            char(true, 1, 3, "rwm"),
            char(true, 1, 9, "rwm"),
            char(true, 1, 8, "rwm"),
            char(true, 5, 0, "rwm"),
            char(true, 5, 1, "rwm"),
            char(false, 10, 229, "rwm"),
            char(true, 1, 11, "r"),
        ]),
    )
}

#[test]
fn r174_a_denied_device_leaves_the_making_of_others() {
    let script = "cd /tmp && mknod x c 10 200 && mknod y b 8 0 && mknod z c 10 229 && echo made; \
                  : < z";
    let out = docker(script).run();
    assert_eq!(out.stdout, "made\n", "{out:?}");
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
}

#[test]
fn r174_a_device_that_may_only_be_read_is_made() {
    let device = json!({"type": "c", "path": "/dev/mykmsg", "major": 1, "minor": 11,
                        "fileMode": 0o666});
    let out = docker("stat -c %t:%T /dev/mykmsg; (: > /dev/mykmsg)")
        .set("/linux/devices/-", device)
        .run();
    assert_eq!(out.stdout, "1:b\n", "{out:?}");
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
}

/// Of each kind, by rules of each width.
#[test]
fn r146_r174_a_device_that_a_rule_denies_is_made_and_cannot_be_used() {
    for denied in [
        json!({"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}),
        json!({"allow": false, "type": "c", "major": 10, "access": "rwm"}),
        json!({"allow": false, "type": "c", "access": "rwm"}),
        json!({"allow": false, "major": 10, "minor": 229, "access": "rwm"}),
        json!({"allow": false, "access": "rwm"}),
    ] {
        for first in [false, true] {
            let out = Bundle::sh("stat -c %t:%T /dev/x; (: < /dev/x); : < /dev/null && echo 3")
                .set("/linux/resources/devices", json!([{"allow": first, "access": "rwm"}, denied]))
                .set(
                    "/linux/devices/-",
                    json!({"type": "c", "path": "/dev/x", "major": 10, "minor": 229,
                           "fileMode": 0o666}),
                )
                .run();
            if first && denied["type"] == "c" && denied["major"].is_null() {
                // v1 has no words for a default out of that: it is denied as well.
                continue;
            }
            if first {
                deviates!("crun", "R174: its defaults do not outlive a denial");
                deviates!("runc", "R174: refuses what v1 has no words for");
            }
            assert_eq!(out.stdout, "a:e5\n3\n", "{denied} {first}: {out:?}");
            assert!(out.stderr.contains("Operation not permitted"), "{denied} {first}: {out:?}");
        }
    }
}

/// On v2 as on v1: no rule takes the defaults away.
#[test]
fn r174_the_default_devices_outlive_a_denial_of_one() {
    let out = Bundle::sh("head -c 1 /dev/zero > /dev/null && mknod /tmp/n c 1 5 && echo made")
        .capability("CAP_MKNOD")
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"},
                   {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
                   {"allow": false, "type": "c", "access": "m"}]),
        )
        .run();
    assert_eq!(out.ok(), "made\n");
}

/// A device of the test's own, zero by another name.
fn zero(path: &str, mode: u32, uid: u32, gid: u32) -> Value {
    json!({"type": "c", "path": path, "major": 1, "minor": 5, "fileMode": mode, "uid": uid,
           "gid": gid})
}

/// A node outside of the container, which must stay as it is: type and numbers, mode, owner.
fn decoy(bundle: &Bundle, name: &str) -> (std::path::PathBuf, [u64; 4]) {
    let path = bundle.dir().join(name);
    node(&path, 1, 5);
    let seen = attributes(&path);
    (path, seen)
}

fn attributes(path: &std::path::Path) -> [u64; 4] {
    let stat = fs::symlink_metadata(path).unwrap();
    [stat.rdev(), stat.mode().into(), stat.uid().into(), stat.gid().into()]
}

/// config-linux.md, "Devices": the owner is "in the container namespace". There is one mount at
/// `/`, and nobody else's node has changed.
#[test]
fn r150_r151_r156_a_device_in_a_user_namespace_has_its_mode_and_owner() {
    let script = "stat -c '%n %t:%T %a %u:%g' /dev/mine /dev/block /dev/null /some/where/x; \
                  head -c 2 /dev/mine | od -An -tx1; awk '$5 == \"/\"' /proc/self/mountinfo | wc -l";
    let bundle = allow_all(Bundle::sh(script)).user_namespace();
    let host = attributes("/dev/null".as_ref());
    let out = bundle
        .set("/process/user", json!({"uid": 1, "gid": 7}))
        .set("/linux/devices/-", zero("/dev/mine", 0o640, 1, 2))
        .set("/linux/devices/-", device("b", "/dev/block", 7, 99))
        .set(
            "/linux/devices/-",
            json!({"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o602,
                   "uid": 9}),
        )
        .set("/linux/devices/-", zero("/some/where/x", 0o6751, 65535, 0))
        .run();
    assert_eq!(attributes("/dev/null".as_ref()), host);
    deviates!(["runc", "crun"], "R151: the host's own node is bound");
    assert_eq!(
        out.ok(),
        "/dev/mine 1:5 640 1:2\n/dev/block 7:63 640 3:4\n/dev/null 1:3 602 9:0\n\
         /some/where/x 1:5 6751 65535:0\n 00 00\n1\n"
    );
}

#[test]
fn r151_r156_a_device_in_a_joined_user_namespace_has_its_mode_and_owner() {
    let first = Bundle::sleeper().user_namespace().container().up();
    let path = format!("/proc/{}/ns/user", first.pid().as_raw_pid());
    let out = allow_all(Bundle::sh("stat -c '%t:%T %a %u:%g' /dev/mine; : < /dev/mine && echo 3"))
        .user_namespace()
        .namespace("user", Some(&path))
        .set("/process/user", json!({"uid": 1, "gid": 7}))
        .set("/linux/devices/-", zero("/dev/mine", 0o400, 1, 2))
        .run();
    deviates!(["runc", "crun"], "R151: the host's own node is bound");
    crate::harness::needs!(kernel_has_idmapped_tmpfs(), "Linux 6.3");
    assert_eq!(out.ok(), "1:5 400 1:2\n3\n");
}

fn kernel_has_idmapped_tmpfs() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 3)
}

/// runtime.md, "Create": what cannot be applied is an error.
#[test]
fn r151_an_owner_that_the_user_namespace_does_not_map_is_refused() {
    for (uid, gid) in [(70_000, 0), (0, 70_000)] {
        let c = allow_all(Bundle::sh("true"))
            .user_namespace()
            .set("/linux/devices/-", zero("/dev/zero", 0o666, uid, gid))
            .container();
        deviates!(["runc", "crun"], "R151: the host's own node is bound");
        c.create().fails_with(&["linux.devices[0]: /dev/zero: is a node of mode 0666 and owner"]);
        c.create().fails_with(&["the user namespace does not map this owner"]);
        let fifo = json!({"type": "p", "path": "/dev/p", "uid": uid, "gid": gid});
        let out = Bundle::sh("true").user_namespace().set("/linux/devices/-", fifo).run();
        out.fails_with(&["linux.devices[0]: /dev/p"]);
    }
}

/// Neither the image's node nor one of the host is changed: another is laid upon it.
#[test]
fn r148_r150_r151_an_existing_node_has_the_mode_and_owner_that_are_asked() {
    for user_namespace in [false, true] {
        let script = "stat -c '%F %t:%T %a %u:%g' /opt/x /opt/p /opt/host; \
                      awk '$5 == \"/\"' /proc/self/mountinfo | wc -l";
        let bundle = allow_all(Bundle::sh(script)).file("opt/host", "");
        let (x, p) = (bundle.rootfs("opt/x"), bundle.rootfs("opt/p"));
        node(&x, 1, 5);
        let (kind, cwd) = (rustix::fs::FileType::Fifo, rustix::fs::CWD);
        rustix::fs::mknodat(cwd, &p, kind, 0o600.into(), 0).unwrap();
        let (host, of_host) = decoy(&bundle, "decoy");
        let (of_x, of_p) = (attributes(&x), attributes(&p));
        let bundle = if user_namespace { bundle.user_namespace() } else { bundle };
        let c = bundle
            .bind(&host, "/opt/host", &["bind"])
            .set("/linux/devices/-", zero("/opt/x", 0o6666, 9, 10))
            .set(
                "/linux/devices/-",
                json!({"type": "p", "path": "/opt/p", "fileMode": 0o622, "uid": 3, "gid": 4}),
            )
            .set("/linux/devices/-", zero("/opt/host", 0o604, 5, 6))
            .container();
        let out = c.run();
        assert_eq!(attributes(&x), of_x);
        assert_eq!(attributes(&p), of_p);
        assert_eq!(attributes(&host), of_host);
        deviates!(["runc", "crun"], "R148: what is there is taken as it is");
        assert_eq!(
            out.ok(),
            "character special file 1:5 6666 9:10\nfifo 0:0 622 3:4\n\
             character special file 1:5 604 5:6\n1\n",
            "{user_namespace}"
        );
    }
}

/// What the configuration does not say is left as it is.
#[test]
fn r148_an_existing_node_is_taken_where_nothing_is_said_of_it() {
    let bundle = allow_all(Bundle::sh("stat -c '%a %u:%g' /opt/x")).file("opt/y", "");
    node(&bundle.rootfs("opt/x"), 1, 5);
    let entry = json!({"type": "c", "path": "/opt/x", "major": 1, "minor": 5});
    assert_eq!(bundle.set("/linux/devices/-", entry).run().ok(), "600 0:0\n");
}

/// Wherever a link of the image leads.
#[test]
fn r148_a_link_in_the_place_of_a_device_is_refused() {
    for (user_namespace, inside) in [(false, false), (false, true), (true, false), (true, true)] {
        let bundle = allow_all(Bundle::sh("true")).file("opt/y", "");
        let (host, of_host) = decoy(&bundle, "decoy");
        node(&bundle.rootfs("opt/zero"), 1, 5);
        let target = if inside { "zero" } else { host.to_str().unwrap() };
        std::os::unix::fs::symlink(target, bundle.rootfs("opt/link")).unwrap();
        let bundle = if user_namespace { bundle.user_namespace() } else { bundle };
        let c = bundle.set("/linux/devices/-", zero("/opt/link", 0o666, 1, 1)).container();
        let out = c.create();
        assert_eq!(attributes(&host), of_host);
        assert_eq!(attributes(&c.bundle.rootfs("opt/zero"))[2..], [0, 0]);
        deviates!(["runc", "crun"], "R148: EEXIST is accepted unseen");
        out.fails_with(&["linux.devices[0]: /opt/link: mknodat"]);
    }
}

/// chown(2) takes set-id bits away.
#[test]
fn r150_every_bit_of_the_mode_is_there() {
    let out = allow_all(Bundle::sh("stat -c '%a %u:%g' /dev/a /dev/b"))
        .set("/linux/devices/-", zero("/dev/a", 0o6751, 3, 4))
        .set("/linux/devices/-", zero("/dev/b", 0o21_640, 0, 0))
        .run();
    deviates!(["runc", "crun"], "R150: not these");
    assert_eq!(out.ok(), "6751 3:4\n1640 0:0\n");
}

/// What is on the host's /dev is the host's.
#[test]
fn r015_r146_a_listed_device_that_a_bound_dev_lacks_is_told() {
    let bundle = Bundle::sh("ls /dev");
    let dev = bundle.dir().join("dev");
    for dir in ["pts", "shm", "mqueue"] {
        fs::create_dir_all(dev.join(dir)).unwrap();
    }
    node(&dev.join("zero"), 1, 5);
    node(&dev.join("other"), 1, 3);
    let entry = json!({"destination": "/dev", "type": "none", "source": dev, "options": ["rbind"]});
    let device = |path: &str| json!({"type": "c", "path": path, "major": 1, "minor": 5});
    let out = bundle
        .set("/mounts/1", entry)
        .set("/linux/maskedPaths", json!([]))
        .set(
            "/linux/devices",
            json!([device("/dev/zero"), device("/dev/other"), device("/dev/missing")]),
        )
        .run();
    assert_eq!(out.ok(), "mqueue\nother\npts\nshm\nzero\n");
    deviates!(["runc", "crun"], "R146: silent");
    let warnings: Vec<_> = out.stderr.lines().filter(|line| line.contains("is bound")).collect();
    assert_eq!(warnings.len(), 1, "{out:?}");
    for (path, is_told) in [("/dev/zero", false), ("/dev/other", true), ("/dev/missing", true)] {
        let told = format!("{path}: is not made where /dev is bound");
        assert_eq!(warnings[0].contains(&told), is_told, "{path}: {out:?}");
    }
}

/// As within another container: the host's nodes are bound as they are.
#[test]
fn r150_r151_a_caller_who_may_make_no_node_is_told_how_it_differs() {
    let run = |device: Value| {
        // With a hook the new process sees the host's /dev for a while.
        let c = allow_all(Bundle::sh("stat -c '%a %u:%g' /dev/zero"))
            .set("/linux/devices/-", device)
            .set("/hooks/createRuntime", json!([{"path": "/bin/true"}]))
            .container();
        let runtime = crate::harness::runtime();
        crate::harness::Call::new("/usr/bin/setpriv")
            .args(["--bounding-set=-mknod", runtime.path.to_str().unwrap()])
            .args(c.global())
            .args(["run", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
            .run()
    };
    let out = run(zero("/dev/zero", 0o666, 0, 0));
    deviates!(["runc", "crun"], "R150: silent, or EPERM");
    assert_eq!((out.ok(), out.stderr.as_str()), ("666 0:0\n", ""));
    let out = run(zero("/dev/zero", 0o600, 1, 0));
    assert_eq!(out.ok(), "666 0:0\n");
    let told =
        "linux.devices[0]: /dev/zero: is a node of mode 0666 and owner 0:0, not 0600 and 1:0";
    assert!(out.stderr.contains("warning") && out.stderr.contains(told), "{out:?}");
}

#[test]
fn r150_r151_r156_a_user_without_privileges_is_told_how_a_node_differs() {
    let script = "stat -c '%t:%T %a' /dev/zero; head -c 1 /dev/zero | od -An -tx1";
    let c = rootless(Bundle::sh(script))
        .set("/linux/devices/-", zero("/dev/zero", 0o600, 1, 0))
        .container();
    let user = Rootless::new(&c);
    let out = user.call(&["run", "--bundle", c.bundle.path().to_str().unwrap(), &c.id]).run();
    deviates!(["runc", "crun"], "R150: silent");
    assert_eq!(out.ok(), "1:5 666\n 00\n");
    let told = "linux.devices[0]: /dev/zero: is a node of mode 0666 and owner 65534:65534, not 0600 \
                and 1:0: the caller may make no other";
    assert!(out.stderr.contains(told), "{out:?}");
}

/// The kernel asks the device rules of whoever mounts a file system of a block device: they must
/// hold before init makes its mounts.
#[test]
fn a_file_system_of_a_denied_block_device_is_refused() {
    let device = Path::new("/dev/loop0");
    needs!(device.exists(), "a loop device");
    let bundle = Bundle::new(["true"]).mount("ext4", device.to_str().unwrap(), "/mnt", &["ro"]);
    bundle.run().fails_with(&["operation not permitted"]);
}
