//! The tree that the container sees: mounts, their order and places, masks,
//! read-only paths, propagation of the root.

use crate::harness::{Bundle, Call, Hierarchy, deviates, is_pinnace, json, needs, runtime};
use rustix::fs::{CWD, FileType, mknodat};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// As the OCI validation suite has it.
#[test]
fn r003_root_path_may_be_the_bundle_itself() {
    let out = Bundle::new(["/rootfs/bin/busybox", "ls", "/config.json"])
        .set("/root/path", json!("."))
        .run();
    assert_eq!(out.ok(), "/config.json\n");
}

#[test]
fn r003_root_path_may_be_absolute() {
    let bundle = Bundle::sh("echo in");
    let path = bundle.path().join("rootfs");
    assert_eq!(bundle.set("/root/path", json!(path)).run().ok(), "in\n");
}

#[test]
fn r003_root_path_with_a_symlink_before_the_rootfs() {
    let bundle = Bundle::sh("echo in");
    symlink("bundle", bundle.dir().join("link")).unwrap();
    let path = bundle.dir().join("link/rootfs");
    let out = bundle.set("/root/path", json!(path)).run();
    deviates!("runc", "R003: a path with a symlink in it is refused");
    assert_eq!(out.ok(), "in\n");
}

#[test]
fn r004_root_readonly() {
    let out = Bundle::sh("touch /x; touch /dev/shm/x && echo elsewhere")
        .set("/root/readonly", json!(true))
        .run();
    assert_eq!(out.ok(), "elsewhere\n");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

/// The whole of it, for whoever is root there: each kind of change, everywhere but on mounts of
/// the configuration.
#[test]
fn r004_nothing_of_a_readonly_root_can_be_changed() {
    let script = "for try in 'touch /etc/x' 'mkdir /tmp/x' 'rm /etc/f' 'mv /etc/f /etc/g' \
        'chmod 700 /etc/f' 'mknod /tmp/n p' 'dd if=/dev/null of=/etc/f' 'touch /mine/x'; do \
            $try 2>&1 && echo \"done: $try\"; done; \
        awk '$5 == \"/\" { split($6, word, \",\"); print word[1] }' /proc/self/mountinfo";
    let c = Bundle::sh(script)
        .file("etc/f", "as it was\n")
        .mount("tmpfs", "tmpfs", "/mine", &[])
        .set("/root/readonly", json!(true))
        .container();
    let out = c.run();
    assert!(out.ok().ends_with("done: touch /mine/x\nro\n"), "{out:?}");
    assert_eq!(out.stdout.matches("done: ").count(), 1, "{out:?}");
    assert_eq!(out.stdout.matches("Read-only file system").count(), 7, "{out:?}");
    assert_eq!(fs::read_to_string(c.bundle.rootfs("etc/f")).unwrap(), "as it was\n");
}

#[test]
fn r004_root_is_writable_by_default() {
    let c = Bundle::sh("echo written > /x").container();
    c.run().ok();
    assert_eq!(fs::read_to_string(c.bundle.rootfs("x")).unwrap(), "written\n");
}

#[test]
fn the_host_is_out_of_sight() {
    let c = Bundle::new(["cat", "/proc/self/mountinfo"]).container();
    let out = c.run();
    let count = out.ok().lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
    assert_eq!(count, 1, "one root and nothing under it: {out:?}");
    assert!(!out.stdout.contains("/sys/fs/cgroup"), "no mount of the host: {out:?}");
}

#[test]
fn r005_mounts_are_made_in_order() {
    let bundle = Bundle::sh("ls /m; ls /m/inner");
    for name in ["first", "second"] {
        fs::create_dir_all(bundle.dir().join(name).join("inner")).unwrap();
        fs::write(bundle.dir().join(name).join(name), "").unwrap();
    }
    let (first, second) = (bundle.dir().join("first"), bundle.dir().join("second"));
    let out = bundle.bind(&first, "/m", &["bind"]).bind(&second, "/m", &["bind"]);
    let out = out.mount("tmpfs", "tmpfs", "/m/inner", &["size=1m"]).run();
    assert_eq!(out.ok(), "inner\nsecond\n");
}

/// As far as it can be seen: Linux lists mounts in the order in which they came into
/// being (the validation suite, mounts).
#[test]
fn r005_the_table_of_mounts_is_in_order() {
    let bundle = Bundle::sh("cut -d' ' -f5 /proc/self/mountinfo | grep ^/m");
    let source = bundle.dir().join("source");
    fs::create_dir(&source).unwrap();
    let out = bundle
        .bind(&source, "/m1", &["bind"])
        .mount("tmpfs", "tmpfs", "/m2", &[])
        .bind(&source, "/m3", &["rbind"])
        .bind(&source, "/m4", &["bind", "ro"])
        .mount("tmpfs", "tmpfs", "/m5", &[])
        .bind(&source, "/m6", &["bind"])
        .run();
    assert_eq!(out.ok(), "/m1\n/m2\n/m3\n/m4\n/m5\n/m6\n");
}

#[test]
fn r006_a_relative_destination_is_taken_from_the_root() {
    let out = Bundle::sh("grep -c ' /some/where ' /proc/self/mountinfo")
        .mount("tmpfs", "tmpfs", "some/where", &[])
        .run();
    assert_eq!(out.ok(), "1\n");
}

#[test]
fn r007_a_relative_bind_source_is_taken_from_the_bundle() {
    let bundle = Bundle::sh("cat /m/f");
    fs::create_dir(bundle.path().join("data")).unwrap();
    fs::write(bundle.path().join("data/f"), "of the bundle\n").unwrap();
    let out = bundle.mount("none", "data", "/m", &["bind"]).run();
    assert_eq!(out.ok(), "of the bundle\n");
}

#[test]
fn r007_a_missing_bind_source_is_an_error() {
    let out = Bundle::sh("true").mount("none", "/no/such/source", "/m", &["bind"]).run();
    out.fails_with(&["/no/such/source", "no such file or directory"]);
}

#[test]
fn r007_a_tmpfs_needs_no_source() {
    let out = Bundle::sh("grep -c ' /m ' /proc/self/mountinfo")
        .set("/mounts/-", json!({"destination": "/m", "type": "tmpfs"}))
        .run();
    assert_eq!(out.ok(), "1\n");
}

#[test]
fn r008_type_and_source_of_a_bind_may_be_anything() {
    let bundle = Bundle::sh("cat /m");
    fs::write(bundle.dir().join("f"), "bound\n").unwrap();
    let source = bundle.dir().join("f");
    let entry = json!({"destination": "/m", "source": source, "options": ["rbind"]});
    let out = bundle.set("/mounts/-", entry).run();
    assert_eq!(out.ok(), "bound\n");
    let bundle = Bundle::sh("cat /m");
    fs::write(bundle.dir().join("f"), "bound\n").unwrap();
    let source = bundle.dir().join("f");
    let out = bundle.mount("ext4", source.to_str().unwrap(), "/m", &["bind"]).run();
    assert_eq!(out.ok(), "bound\n");
}

#[test]
fn r009_an_unknown_option_goes_to_the_filesystem() {
    let out = Bundle::sh("grep ' /m ' /proc/self/mountinfo; stat -c %a /m")
        .mount("tmpfs", "tmpfs", "/m", &["size=1048576", "mode=0710", "uid=5"])
        .run();
    assert!(out.ok().contains("size=1024k") && out.stdout.contains("uid=5"), "{out:?}");
    assert!(out.stdout.ends_with("\n710\n"), "{out:?}");
}

#[test]
fn r009_an_option_that_the_filesystem_refuses() {
    let out = Bundle::sh("true").mount("tmpfs", "tmpfs", "/m", &["nonsense=1"]).run();
    out.fails_with(&["invalid argument", "nonsense"]);
}

/// mount(2) ignores such data with MS_BIND (the validation suite, mounts).
#[test]
fn r009_an_option_of_a_file_system_on_a_bind_is_ignored() {
    let out = Bundle::sh("grep ' /m ' /proc/self/mountinfo")
        .bind("/etc".as_ref(), "/m", &["nosuid", "mode=755", "size=1k", "rbind"])
        .run();
    assert!(out.ok().contains("nosuid") && !out.stdout.contains("1k"), "{out:?}");
}

#[test]
fn an_unknown_filesystem_type() {
    let out = Bundle::sh("true").mount("nonsensefs", "x", "/m", &[]).run();
    out.fails_with(&["no such device"]);
}

#[test]
fn r019_a_bind_of_a_file_makes_the_file() {
    let bundle = Bundle::sh("cat /some/new/file");
    fs::write(bundle.dir().join("f"), "bound\n").unwrap();
    let source = bundle.dir().join("f");
    let c = bundle.bind(&source, "/some/new/file", &["bind"]).container();
    assert_eq!(c.run().ok(), "bound\n");
    assert!(c.bundle.rootfs("some/new/file").is_file());
}

#[test]
fn r019_a_bind_of_a_socket_device_or_fifo() {
    let out = Bundle::sh("stat -c %F /m").bind("/dev/zero".as_ref(), "/m", &["bind"]).run();
    assert_eq!(out.ok(), "character special file\n");
    let bundle = Bundle::sh("stat -c %F /m");
    let path = bundle.dir().join("sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(bundle.bind(&path, "/m", &["bind"]).run().ok(), "socket\n");
}

#[test]
fn r019_writes_go_through_a_bind() {
    let bundle = Bundle::sh("echo inside > /m/f");
    let source = bundle.dir().join("data");
    fs::create_dir(&source).unwrap();
    let c = bundle.bind(&source, "/m", &["bind"]).container();
    c.run().ok();
    assert_eq!(fs::read_to_string(source.join("f")).unwrap(), "inside\n");
}

#[test]
fn r012_a_destination_through_a_symlink_stays_inside() {
    for link in ["/etc", "../../../../../../etc", "/etc/../etc"] {
        let bundle = Bundle::sh("cat /etc/f");
        symlink(link, bundle.rootfs("link")).unwrap();
        fs::write(bundle.dir().join("f"), "bound\n").unwrap();
        let source = bundle.dir().join("f");
        let c = bundle.bind(&source, "/link/f", &["bind"]).container();
        assert_eq!(c.run().ok(), "bound\n", "{link}");
        assert!(c.bundle.rootfs("etc/f").is_file());
    }
    assert!(!fs::exists("/etc/f").unwrap());
}

#[test]
fn r012_dot_dot_in_a_destination_stays_inside() {
    let c = Bundle::sh("grep -c ' /m ' /proc/self/mountinfo")
        .mount("tmpfs", "tmpfs", "/../../m", &[])
        .container();
    assert_eq!(c.run().ok(), "1\n");
}

#[test]
fn r013_nothing_is_bound_over_proc() {
    deviates!("crun", "R013: no allow-list");
    for destination in ["/proc", "/proc/sys", "/proc/self/attr", "/proc/1", "/proc/new"] {
        let bundle = Bundle::sh("true");
        let source = bundle.dir().join("data");
        fs::create_dir(&source).unwrap();
        let out = bundle.bind(&source, destination, &["bind"]).run();
        if destination != "/proc" {
            deviates!("crun", "R013: no allow-list under /proc");
        }
        out.fails_with(&["/proc"]);
    }
}

#[test]
fn r013_no_other_filesystem_is_mounted_over_proc() {
    for destination in ["/proc", "/proc/sys", "/proc/new"] {
        let out = Bundle::sh("true").mount("tmpfs", "tmpfs", destination, &[]).run();
        deviates!(["runc", "crun"], "R013: runc 1.1.5 forgets tmpfs; crun has no allow-list");
        out.fails_with(&["/proc"]);
    }
}

#[test]
fn r013_the_files_of_lxcfs_may_be_mounted() {
    for name in ["cpuinfo", "meminfo", "stat", "uptime", "loadavg", "swaps", "diskstats"] {
        let bundle = Bundle::new(["cat", &format!("/proc/{name}")]);
        fs::write(bundle.dir().join("f"), "of lxcfs\n").unwrap();
        let source = bundle.dir().join("f");
        let out = bundle.bind(&source, &format!("/proc/{name}"), &["bind"]).run();
        assert_eq!(out.ok(), "of lxcfs\n", "{name}");
    }
}

#[test]
fn r014_tmpfs_has_the_mode_of_its_mount_point() {
    deviates!("crun", "R014: newer than crun 1.8.1");
    let bundle = Bundle::sh("stat -c %a /m").file("m/.keep", "");
    fs::set_permissions(bundle.rootfs("m"), fs::Permissions::from_mode(0o1710)).unwrap();
    assert_eq!(bundle.mount("tmpfs", "tmpfs", "/m", &[]).run().ok(), "1710\n");
}

#[test]
fn r014_a_mode_that_is_given_counts() {
    let out = Bundle::sh("stat -c %a /m /new")
        .file("m/.keep", "")
        .mount("tmpfs", "tmpfs", "/m", &["mode=0701"])
        .mount("tmpfs", "tmpfs", "/new", &["mode=0701"])
        .run();
    deviates!("runc", "R014: runc 1.1.5 overrides a mode by the mount point's");
    assert_eq!(out.ok(), "701\n701\n");
}

#[test]
fn r015_a_bound_dev_is_left_alone() {
    let bundle = Bundle::sh("ls /dev");
    let dev = bundle.dir().join("dev");
    fs::create_dir_all(dev.join("pts")).unwrap();
    for dir in ["shm", "mqueue"] {
        fs::create_dir(dev.join(dir)).unwrap();
    }
    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, 0o666.into());
    let number = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, dev.join("null"), kind, mode, number).unwrap();
    let entry = json!({"destination": "/dev", "type": "none", "source": dev,
                       "options": ["rbind"]});
    let out = bundle.set("/mounts/1", entry).run();
    assert_eq!(out.ok(), "mqueue\nnull\npts\nshm\n");
}

#[test]
fn r016_a_cgroup_mount_shows_the_containers_cgroup() {
    deviates!("crun", "R016: /sys/fs/cgroup itself can be written");
    let c = Bundle::sh(
        "ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids/cgroup.procs; echo; \
                        touch /sys/fs/cgroup/x; mkdir /sys/fs/cgroup/pids/x",
    )
    .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"])
    .container();
    needs!(Hierarchy::of_host() == Hierarchy::V1, "cgroup v1");
    let out = c.run();
    assert!(out.stdout.contains("memory\n"), "{out:?}");
    assert!(out.stdout.lines().any(|line| line == "1"), "only its own processes: {out:?}");
    assert!(out.stderr.contains("touch: "), "{out:?}");
    assert!(out.stderr.ends_with("Read-only file system\n"), "{out:?}");
}

#[test]
fn r016_a_writable_cgroup_mount() {
    let c = Bundle::sh("mkdir /sys/fs/cgroup/pids/made && echo made")
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev"])
        .container();
    needs!(Hierarchy::of_host() == Hierarchy::V1, "cgroup v1");
    assert_eq!(c.run().ok(), "made\n");
}

#[test]
fn r016_a_cgroup_mount_with_a_cgroup_namespace() {
    let out =
        Bundle::sh("cat /sys/fs/cgroup/pids/cgroup.procs; grep -c 'pids:/$' /proc/self/cgroup")
            .namespace("cgroup", None)
            .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"])
            .container();
    needs!(Hierarchy::of_host() == Hierarchy::V1, "cgroup v1");
    let out = out.run();
    assert!(out.ok().starts_with("1\n") && out.stdout.ends_with("\n1\n"), "{out:?}");
}

#[test]
fn r249_masked_files_are_empty_and_masked_directories_too() {
    let out = Bundle::sh(
        "stat -c '%F %t:%T' /etc/secret; wc -c < /etc/secret; ls /etc/secrets; \
                          touch /etc/secrets/x; echo > /etc/secret",
    )
    .file("etc/secret", "secret")
    .file("etc/secrets/one", "secret")
    .set("/linux/maskedPaths", json!(["/etc/secret", "/etc/secrets"]))
    .run();
    assert_eq!(out.stdout, "character special file 1:3\n0\n", "{out:?}");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

#[test]
fn r249_a_masked_path_that_is_not_there_is_no_error() {
    let out = Bundle::sh("echo ran")
        .set("/linux/maskedPaths", json!(["/no/such/path", "/proc/nope"]))
        .run();
    assert_eq!(out.ok(), "ran\n");
}

#[test]
fn r249_masks_cover_what_mounts_brought() {
    let bundle = Bundle::sh("wc -c < /m/secret");
    let source = bundle.dir().join("data");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("secret"), "secret").unwrap();
    let out =
        bundle.bind(&source, "/m", &["bind"]).set("/linux/maskedPaths", json!(["/m/secret"])).run();
    assert_eq!(out.ok(), "0\n");
}

/// One below the other, and device nodes and fifos, which must not block.
#[test]
fn r249_r250_paths_below_each_other_and_special_files() {
    let files = |bundle: Bundle| {
        let bundle = bundle.file("dir/sub/file", "secret").file("dir/file", "secret");
        for (name, kind) in [
            ("block", FileType::BlockDevice),
            ("char", FileType::CharacterDevice),
            ("fifo", FileType::Fifo),
        ] {
            mknodat(CWD, bundle.rootfs(name), kind, 0o666.into(), 0).unwrap();
        }
        bundle
    };
    let paths = ["/dir", "/dir/sub", "/dir/file", "/dir/sub/file", "/block", "/char", "/fifo"];
    let out = files(Bundle::sh("ls /dir; cat /block /char /fifo | wc -c"))
        .set("/linux/maskedPaths", json!(paths))
        .run();
    assert_eq!(out.ok(), "0\n");
    let script = "for f in /dir/new /dir/sub/new /dir/file; do echo > $f; done; cat /dir/sub/file";
    let out = files(Bundle::sh(script)).set("/linux/readonlyPaths", json!(paths)).run();
    assert_eq!(out.ok(), "secret");
    assert_eq!(out.stderr.matches("Read-only file system").count(), 3, "{out:?}");
}

/// What leads nowhere but to itself can be neither masked nor made read-only.
#[test]
fn r249_r250_a_link_that_loops_is_an_error() {
    for field in ["maskedPaths", "readonlyPaths"] {
        let bundle = Bundle::new(["true"]);
        symlink("../loop", bundle.rootfs("loop")).unwrap();
        let out = bundle.set(&format!("/linux/{field}"), json!(["/loop"])).run();
        deviates!("crun", "R249: passed over");
        out.fails();
        if is_pinnace() {
            out.fails_with(&[&format!("linux.{field}[0]: /loop")]);
        }
    }
}

/// The source of a mount is what mountinfo tells (proc(5)), also where it means nothing.
#[test]
fn r007_r008_mountinfo_has_type_and_source() {
    let out = Bundle::sh("while read -r l; do echo ${l#*- }; done < /proc/self/mountinfo")
        .mount("tmpfs", "some-name", "/m", &[])
        .run();
    for line in ["proc proc rw", "tmpfs shm rw", "mqueue mqueue rw", "tmpfs some-name rw"] {
        assert!(out.ok().contains(line), "{line}: {out:?}");
    }
}

#[test]
fn r249_the_default_masks() {
    let out =
        Bundle::sh("wc -c < /proc/keys; wc -c < /proc/timer_list; ls /sys/firmware | wc -l").run();
    assert_eq!(out.ok(), "0\n0\n0\n");
}

#[test]
fn r250_readonly_paths() {
    let out = Bundle::sh("echo 1 > /etc/ro/f; cat /etc/ro/f; echo 1 > /proc/sys/kernel/msgmax")
        .file("etc/ro/f", "kept\n")
        .set("/linux/readonlyPaths", json!(["/etc/ro", "/proc/sys", "/no/such/path"]))
        .run();
    assert_eq!(out.stdout, "kept\n");
    assert_eq!(out.stderr.matches("Read-only file system").count(), 2, "{out:?}");
}

#[test]
fn r250_readonly_paths_keep_other_flags() {
    deviates!("crun", "R250: nosuid, nodev and noexec are lost");
    let out = Bundle::sh("grep ' /m ' /proc/self/mountinfo | tail -n 1")
        .mount("tmpfs", "tmpfs", "/m", &["nosuid", "nodev", "noexec"])
        .set("/linux/readonlyPaths", json!(["/m"]))
        .run();
    assert!(out.ok().contains(" ro,nosuid,nodev,noexec,"), "{out:?}");
}

#[test]
fn r251_relative_masked_and_readonly_paths() {
    for field in ["maskedPaths", "readonlyPaths"] {
        let out = Bundle::sh("true").set(&format!("/linux/{field}"), json!(["proc/keys"])).run();
        deviates!(["runc", "crun"], "R251: not checked");
        out.fails_with(&[&format!("linux.{field}[0]")]);
    }
}

/// The tags of `/` in mountinfo: what the container's root propagates. The runtime is run where
/// all mounts are shared, in a mount namespace of its own: a slave of private ones is private.
fn root_tags(value: Option<&str>) -> String {
    let bundle = Bundle::sh("grep ' / / \\| /rootfs / \\|rootfs / ' /proc/self/mountinfo");
    let bundle = match value {
        Some(value) => bundle.set("/linux/rootfsPropagation", json!(value)),
        None => bundle,
    };
    let c = bundle.container();
    let share = "mount --make-rshared / && exec \"$@\"";
    let out = Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", share, "sh"])
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(["run", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
        .run();
    let line = out.ok().lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    let tags = line.split(" - ").next().unwrap().split(' ').skip(6).collect::<Vec<_>>().join(" ");
    tags.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn r248_rootfs_propagation_private() {
    assert_eq!(root_tags(Some("private")), "");
    assert_eq!(root_tags(Some("rprivate")), "");
}

#[test]
fn r248_rootfs_propagation_unset() {
    deviates!("crun", "R248: private");
    // It follows the host's unmounts, but nothing of it reaches the host.
    assert_eq!(root_tags(None), "master:");
}

#[test]
fn r248_rootfs_propagation_slave() {
    deviates!("crun", "R248: private");
    assert_eq!(root_tags(Some("slave")), "master:");
    assert_eq!(root_tags(Some("rslave")), "master:");
}

#[test]
fn r248_rootfs_propagation_shared() {
    deviates!("runc", "R248: runc 1.1.5 leaves / private in the end");
    assert_eq!(root_tags(Some("shared")), "shared:");
    assert_eq!(root_tags(Some("rshared")), "shared:");
}

#[test]
fn r248_rootfs_propagation_unbindable() {
    deviates!("crun", "R248: runbindable fails with EINVAL");
    deviates!("runc", "R248: runc 1.1.5 fails with EINVAL");
    assert_eq!(root_tags(Some("unbindable")), "unbindable");
    let out = Bundle::sh("true").set("/linux/rootfsPropagation", json!("runbindable")).run();
    out.ok();
}

#[test]
fn mounts_of_the_container_do_not_reach_the_host() {
    let c = Bundle::sh("mount -t tmpfs tmpfs /tmp && echo mounted")
        .capability("CAP_SYS_ADMIN")
        .set("/linux/rootfsPropagation", json!("shared"))
        .container();
    assert_eq!(c.run().ok(), "mounted\n"); // and the guard finds no mount
}

#[test]
fn r333_no_pivot() {
    let c = Bundle::sh("ls -d /bin /usr 2>/dev/null; pwd").container();
    let bundle = c.bundle.path();
    let out = c.call(["run", "--no-pivot", "-b", bundle.to_str().unwrap(), &c.id]).run();
    assert_eq!(out.ok(), "/bin\n/\n");
}

#[test]
fn mqueue_and_shm_are_the_containers_own() {
    let out = Bundle::sh("touch /dev/shm/x /dev/mqueue/x; ls /dev/shm /dev/mqueue").run();
    assert_eq!(out.ok(), "/dev/mqueue:\nx\n\n/dev/shm:\nx\n");
    assert!(!fs::exists("/dev/shm/x").unwrap());
}

#[test]
fn overlay_and_proc_options_reach_the_kernel() {
    let bundle = Bundle::sh("cat /m/a /m/b; grep ' /proc ' /proc/self/mountinfo");
    let dir = bundle.dir().to_owned();
    for (name, file) in [("lower", "a"), ("upper", "b"), ("work", "")] {
        fs::create_dir(dir.join(name)).unwrap();
        if !file.is_empty() {
            fs::write(dir.join(name).join(file), format!("{file}\n")).unwrap();
        }
    }
    let layer = |name: &str| format!("{name}dir={}", dir.join(name).display());
    let options = [layer("lower"), layer("upper"), layer("work")];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let out = bundle
        .mount("overlay", "overlay", "/m", &options)
        .set("/mounts/0/options", json!(["hidepid=2"]))
        .run();
    assert!(out.ok().starts_with("a\nb\n"), "{out:?}");
    assert!(out.stdout.contains("hidepid="), "{out:?}");
}

#[test]
fn a_rootfs_that_is_a_mount_point() {
    let bundle = Bundle::sh("cat /f");
    let dir = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::BIND;
    rustix::mount::mount(bundle.path().join("rootfs"), dir.path(), "", flags, None).unwrap();
    let c = bundle.file("f", "seen\n").set("/root/path", json!(dir.path())).container();
    let out = c.run();
    rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(out.ok(), "seen\n");
}

#[test]
fn a_long_list_of_mounts() {
    let mut bundle = Bundle::sh("grep -c ' /m/' /proc/self/mountinfo");
    for n in 0..100 {
        bundle = bundle.mount("tmpfs", "tmpfs", &format!("/m/{n}"), &["size=4k"]);
    }
    assert_eq!(bundle.run().ok(), "100\n");
}

#[test]
fn a_read_only_rootfs_with_all_mount_points_there() {
    let bundle = Bundle::sh("echo ran");
    let tmpfs = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::BIND;
    let root = bundle.path().join("rootfs");
    rustix::mount::mount(&root, tmpfs.path(), "", flags, None).unwrap();
    let ro = flags | rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount_remount(tmpfs.path(), ro, "").unwrap();
    let bundle = bundle.set("/root/path", json!(tmpfs.path()));
    let c = bundle.set("/root/readonly", json!(true)).container();
    let out = c.run();
    rustix::mount::unmount(tmpfs.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(out.ok(), "ran\n");
}

#[test]
fn nothing_is_open_below_the_bundle_afterwards() {
    let c = Bundle::sleeper().container().up();
    let fds = format!("/proc/{}/fd", c.pid().as_raw_pid());
    for entry in fs::read_dir(fds).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap();
        let target = target.to_string_lossy();
        let ours = target.ends_with("/stdout") || target.ends_with("/stderr");
        assert!(ours || target.starts_with("/dev/null"), "{target}");
    }
}

#[test]
fn more_mounts_than_the_soft_limit_of_open_files() {
    let mut bundle = Bundle::sh(
        "ulimit -Sn; ls /many | wc -l; grep -c ' /many/' /proc/self/mountinfo",
    )
    .edit(|config| {
        config["process"].as_object_mut().unwrap().remove("rlimits");
    });
    for n in 0..300 {
        let volume = bundle.dir().join(format!("volume-{n}"));
        fs::create_dir(&volume).unwrap();
        bundle = bundle.bind(&volume, &format!("/many/{n}"), &["bind"]);
    }
    let c = bundle.container();
    let few = "ulimit -Sn 256 && exec \"$@\"";
    let out = Call::new("/bin/sh")
        .args(["-c", few, "sh", runtime().path.to_str().unwrap()])
        .args(["--root", c.root().to_str().unwrap(), "run", "--bundle"])
        .args([c.bundle.path().to_str().unwrap(), &c.id])
        .run();
    assert!(out.ok().ends_with("\n300\n300\n"), "{out:?}");
    deviates!("runc", "R087: Go's start-up raises the limit, and runc 1.1.5 leaves it so");
    assert_eq!(out.ok(), "256\n300\n300\n", "the container has its caller's limit");
}

/// As runc has it: callers write there what they see.
#[test]
fn r005_a_destination_may_begin_with_the_path_of_the_root() {
    let bundle = Bundle::new(["cat", "/proc/self/mountinfo"]);
    let destination = format!("{}/mnt/below", bundle.rootfs("").display());
    let out = bundle.mount("tmpfs", "tmpfs", &destination.replace("//", "/"), &[]).run();
    deviates!("crun", "R005: made below the root once more");
    assert!(out.ok().lines().any(|line| line.contains(" /mnt/below ")), "{out:?}");
}
