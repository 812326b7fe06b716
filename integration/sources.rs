//! Sources of binds: those that lie in the root filesystem, where an earlier mount may have
//! brought them; those of another kind than their destination; those that cannot be looked at.

use crate::harness::{Bundle, Call, Container, Output, deviates, is_pinnace, json, needs, runtime};
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A directory of the host: `f`, and `sub/g`.
fn volume(bundle: &Bundle) -> PathBuf {
    let volume = bundle.dir().join("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    fs::write(volume.join("f"), "of the volume\n").unwrap();
    fs::write(volume.join("sub/g"), "below\n").unwrap();
    volume
}

/// The volume on `/vol`, then the source on `/seen`.
fn seen(bundle: Bundle, source: &str, options: &[&str]) -> Bundle {
    let volume = volume(&bundle);
    bundle.bind(&volume, "/vol", &["rbind"]).mount("none", source, "/seen", options)
}

/// config.md, "Mounts": "The runtime MUST mount entries in the listed order".
#[test]
fn r005_a_source_in_the_rootfs_is_what_an_earlier_mount_brought() {
    for in_the_image in [true, false] {
        for source in ["{root}/vol", "rootfs/vol", "{root}//vol/./", "{root}/../rootfs/vol"] {
            let mut bundle = Bundle::sh("cat /seen/f /seen/sub/g; ls /seen");
            if in_the_image {
                bundle = bundle.file("vol/of-the-image", "");
            }
            let source = source.replace("{root}", bundle.rootfs("").to_str().unwrap());
            let out = seen(bundle, &source, &["bind"]).run();
            assert_eq!(out.ok(), "of the volume\nbelow\nf\nsub\n", "{source} {in_the_image}");
        }
    }
}

/// A link of the host, to the rootfs, to a directory in it and to one that is not there yet.
#[test]
fn r005_a_link_of_the_host_leads_to_what_an_earlier_mount_brought() {
    for (target, below) in [("", "/vol"), ("vol", ""), ("vol/sub/..", ""), (".", "/vol/sub/..")] {
        let bundle = Bundle::sh("cat /seen/f; ls /seen");
        symlink(bundle.rootfs(target), bundle.dir().join("one")).unwrap();
        symlink("one", bundle.dir().join("two")).unwrap();
        let source = format!("{}/two{below}", bundle.dir().display());
        let out = seen(bundle, &source, &["bind"]).run();
        assert_eq!(out.ok(), "of the volume\nf\nsub\n", "{target} {below}");
    }
}

#[test]
fn r003_r005_a_root_path_with_a_link_before_it() {
    for source in ["link/rootfs/vol", "bundle/rootfs/vol", "link/../bundle/rootfs/vol"] {
        let bundle = Bundle::sh("cat /seen/f");
        symlink("bundle", bundle.dir().join("link")).unwrap();
        let dir = bundle.dir().to_owned();
        let bundle = bundle.set("/root/path", json!(dir.join("link/rootfs")));
        let out = seen(bundle, dir.join(source).to_str().unwrap(), &["bind"]).run();
        deviates!("runc", "R003: a path with a symlink in it is refused");
        assert_eq!(out.ok(), "of the volume\n", "{source}");
    }
}

/// So it has always been: these are opened by the kernel, where the container's tree is built.
#[test]
fn r005_layers_of_an_overlay_are_what_an_earlier_mount_brought() {
    let bundle = Bundle::sh("cat /seen/f");
    let (volume, layer) = (volume(&bundle), bundle.rootfs("vol"));
    fs::create_dir(bundle.dir().join("other")).unwrap();
    let layers = format!("lowerdir={}:{}", layer.display(), bundle.dir().join("other").display());
    let bundle = bundle.bind(&volume, "/vol", &["bind"]);
    let out = bundle.mount("overlay", "overlay", "/seen", &[&layers]).run();
    assert_eq!(out.ok(), "of the volume\n");
}

/// Options of crun's.
#[test]
fn r005_a_link_that_an_earlier_mount_brought_is_copied_or_bound() {
    let bundle = Bundle::sh("readlink /copied; readlink /bound; cat /copied /file");
    let volume = volume(&bundle);
    symlink("vol/f", volume.join("link")).unwrap();
    let (link, file) = (bundle.rootfs("vol/link"), bundle.rootfs("vol/f"));
    let out = bundle
        .bind(&volume, "/vol", &["bind"])
        .bind(&link, "/copied", &["bind", "copy-symlink"])
        .bind(&file, "/file", &["bind", "copy-symlink"])
        .bind(&link, "/bound", &["bind", "src-nofollow", "dest-nofollow"])
        .run();
    deviates!(["runc", "crun"], "newer than crun 1.8.1; runc has no such options");
    assert_eq!(out.ok(), "vol/f\nvol/f\nof the volume\nof the volume\n");
}

#[test]
fn r005_a_source_below_an_earlier_mount() {
    let bundle = Bundle::sh("cat /seen/g; cat /file");
    let (below, file) = (bundle.rootfs("vol/sub"), bundle.rootfs("vol/f"));
    let bundle = seen(bundle, below.to_str().unwrap(), &["bind", "ro"]);
    assert_eq!(bundle.bind(&file, "/file", &["bind"]).run().ok(), "below\nof the volume\n");
}

/// The other way round: the image's own is no longer to be seen, nor after a third mount.
#[test]
fn r005_what_an_earlier_mount_hides_is_hidden() {
    let bundle = Bundle::sh("ls -a /seen | wc -l; cat /last/f").file("vol/secret", "secret");
    let (volume, source) = (volume(&bundle), bundle.rootfs("vol"));
    let out = bundle
        .mount("tmpfs", "tmpfs", "/vol", &[])
        .bind(&source, "/seen", &["bind"])
        .bind(&volume, "/vol", &["bind"])
        .bind(&source, "/last", &["bind"])
        .run();
    assert_eq!(out.ok(), "2\nof the volume\n");
}

#[test]
fn r005_r042_mounts_below_come_along_if_the_bind_is_recursive() {
    let bundle = Bundle::sh("ls /seen/sub; echo; ls /flat/sub; echo; ls /seen/sub/inner");
    let (volume, source) = (volume(&bundle), bundle.rootfs("vol"));
    let out = bundle
        .bind(&volume, "/vol", &["bind"])
        .mount("tmpfs", "tmpfs", "/vol/sub", &[])
        .mount("tmpfs", "tmpfs", "/vol/sub/inner", &[])
        .bind(&source, "/seen", &["rbind"])
        .bind(&source, "/flat", &["bind"])
        .run();
    assert_eq!(out.ok(), "inner\n\ng\n\n");
}

#[test]
fn r005_a_source_in_the_rootfs_with_a_user_namespace() {
    let bundle = Bundle::sh("cat /seen/f").user_namespace();
    let source = bundle.rootfs("vol");
    let out = seen(bundle, source.to_str().unwrap(), &["rbind"]).run();
    deviates!("runc", "R005: opened before there is a mount, by runc 1.1.5");
    assert_eq!(out.ok(), "of the volume\n");
}

/// With a hook the container begins in a copy of the host's mounts.
#[test]
fn r005_a_source_in_the_rootfs_with_hooks() {
    let bundle = Bundle::sh("cat /seen/f");
    let hook = json!([{"path": "/bin/true", "args": ["true"]}]);
    let source = bundle.rootfs("vol");
    let bundle = seen(bundle, source.to_str().unwrap(), &["rbind"]);
    assert_eq!(bundle.set("/hooks/createContainer", hook).run().ok(), "of the volume\n");
}

#[test]
fn r005_the_table_is_in_order_with_a_source_in_the_rootfs() {
    let bundle = Bundle::sh("cut -d' ' -f5 /proc/self/mountinfo | grep ^/m")
        .edit(|c| c["mounts"].as_array_mut().unwrap().truncate(1));
    let source = bundle.rootfs("m1");
    let out = bundle
        .bind("/etc".as_ref(), "/m1", &["bind"])
        .bind("/etc".as_ref(), "/m2", &["bind"])
        .bind(&source, "/m3", &["bind"])
        .bind("/etc".as_ref(), "/m4", &["bind"])
        .mount("tmpfs", "tmpfs", "/m5", &[])
        .bind(&source, "/m6", &["bind"])
        .run();
    assert_eq!(out.ok(), "/m1\n/m2\n/m3\n/m4\n/m5\n/m6\n");
}

#[test]
fn r007_a_source_that_neither_the_image_nor_a_mount_has() {
    let bundle = Bundle::sh("true");
    let source = bundle.rootfs("vol/no/such");
    let out = seen(bundle, source.to_str().unwrap(), &["bind"]).run();
    out.fails_with(&["no such file or directory"]);
    if is_pinnace() {
        out.fails_with(&["mounts[7]: "]);
        out.fails_with(&["/vol/no/such in the root filesystem"]);
    }
}

/// A link of the image goes on in the container, to what an earlier mount brought, too.
#[test]
fn a_link_of_the_image_in_a_source_stays_in_the_container() {
    for link in ["vol", "/vol", "../../../../vol", "vol/sub/.."] {
        let bundle = Bundle::sh("cat /seen/f /seen/sub/g");
        symlink(link, bundle.rootfs("link")).unwrap();
        let source = bundle.rootfs("link");
        let out = seen(bundle, source.to_str().unwrap(), &["bind"]).run();
        if link != "vol" {
            deviates!(["runc", "crun"], "a link of the image leads to the host's files");
        }
        assert_eq!(out.ok(), "of the volume\nbelow\n", "{link}");
    }
}

#[test]
fn a_link_of_the_image_in_a_source_does_not_lead_to_the_host() {
    deviates!(["runc", "crun"], "a link of the image leads to the host's files");
    for absolute in [true, false] {
        for below in ["", "/inner"] {
            let bundle = Bundle::sh("ls -R /seen; cat /seen/decoy");
            let decoy = bundle.dir().join("decoy");
            fs::create_dir_all(decoy.join("inner")).unwrap();
            fs::write(decoy.join("decoy"), "of the host").unwrap();
            fs::write(decoy.join("inner/decoy"), "of the host").unwrap();
            let relative = PathBuf::from("../../decoy");
            let target = if absolute { decoy } else { relative };
            symlink(target, bundle.rootfs("link")).unwrap();
            let source = format!("{}{below}", bundle.rootfs("link").display());
            let bundle = seen(bundle, &source, &["rbind"]);
            // As the last of all mounts, and as the first.
            let last = bundle.container();
            let out = last.run();
            assert!(!format!("{out:?}").contains("of the host"), "{out:?}");
            out.fails();
            let mut config = last.bundle.config().clone();
            config["mounts"].as_array_mut().unwrap().rotate_right(1);
            fs::write(last.bundle.path().join("config.json"), config.to_string()).unwrap();
            let out = last.run();
            assert!(!format!("{out:?}").contains("of the host"), "{out:?}");
            out.fails();
        }
    }
}

/// There it would lie open to be written: masks and read-only paths are by name.
#[test]
fn a_link_of_the_image_in_a_source_does_not_lead_to_a_file_of_the_kernel() {
    for target in ["/proc/version", "proc/sys", "proc", "/sys", "dev/../sys/kernel"] {
        let bundle = Bundle::sh("ls -R /seen");
        symlink(target, bundle.rootfs("link")).unwrap();
        let source = bundle.rootfs("link");
        let out = seen(bundle, source.to_str().unwrap(), &["rbind", "rw"]).run();
        deviates!(["runc", "crun"], "not looked at");
        out.fails_with(&["leads to a file of the kernel's"]);
    }
}

/// Nor to a directory that has them below it.
#[test]
fn a_link_of_the_image_in_a_source_does_not_copy_what_the_kernel_shows_below_it() {
    for target in ["/", ".", "etc/..", "sub/up"] {
        let bundle = Bundle::sh("ls /seen; ls /seen/proc /seen/sys/firmware");
        fs::create_dir(bundle.rootfs("sub")).unwrap();
        symlink("..", bundle.rootfs("sub/up")).unwrap();
        symlink(target, bundle.rootfs("link")).unwrap();
        let source = bundle.rootfs("link");
        let source = source.to_str().unwrap();
        let bundle = seen(bundle, source, &["rbind", "ro"]);
        deviates!(["runc", "crun"], "not looked at");
        bundle.run().fails_with(&["leads to a file of the kernel's"]);
    }
    // What is mounted below it otherwise comes along, and a plain bind copies no other mount.
    let bundle = Bundle::sh("cat /seen/vol/f; ls /plain/proc");
    let volume = volume(&bundle);
    symlink("/", bundle.rootfs("top")).unwrap();
    symlink("/a", bundle.rootfs("link")).unwrap();
    fs::create_dir_all(bundle.rootfs("a/vol")).unwrap();
    let (link, top) = (bundle.rootfs("link"), bundle.rootfs("top"));
    let bundle = bundle.bind(&volume, "/a/vol", &["rbind"]).bind(&link, "/seen", &["rbind"]);
    assert_eq!(bundle.bind(&top, "/plain", &["bind"]).run().ok(), "of the volume\n");
}

/// Nor does it make writable what the configuration has bound read-only.
#[test]
fn a_link_of_the_image_in_a_source_clears_no_attribute() {
    for options in [&["bind", "rw"][..], &["rbind", "rrw"], &["bind", "nodev"], &["rbind", "exec"]]
    {
        let bundle = Bundle::sh("touch /seen/new");
        let volume = volume(&bundle);
        symlink("vol", bundle.rootfs("link")).unwrap();
        let source = bundle.rootfs("link");
        let out =
            bundle.bind(&volume, "/vol", &["bind", "ro"]).bind(&source, "/seen", options).run();
        deviates!(["runc", "crun"], "a link of the image gains what a bind has");
        out.fails_with(&["read-only file system"]);
        assert!(!volume.join("new").exists(), "{options:?}");
    }
}

/// By its own name it does, as the configuration says so.
#[test]
fn a_second_bind_in_the_rootfs_has_the_attributes_that_it_names() {
    let bundle = Bundle::sh("touch /seen/new && echo written; touch /vol/x");
    let (volume, source) = (volume(&bundle), bundle.rootfs("vol"));
    let bundle = bundle.bind(&volume, "/vol", &["bind", "ro"]);
    let out = bundle.bind(&source, "/seen", &["bind", "rw"]).run();
    deviates!("runc", "newer than runc 1.1.5");
    assert_eq!(out.stdout, "written\n", "{out:?}");
    out.fails_with(&["read-only file system"]);
}

/// moby looks for these words of mount(2), and adds its advice.
#[test]
fn r019_a_file_on_a_directory_and_a_directory_on_a_file() {
    let mismatched = |what: &dyn Fn(Bundle) -> Bundle| {
        let bundle = what(Bundle::sh("true").file("etc/file", "").file("etc/dir/x", ""));
        bundle.run().fails_with(&["not a directory"]);
    };
    mismatched(&|b| b.bind("/etc/passwd".as_ref(), "/etc/dir", &["bind"]));
    mismatched(&|b| b.bind("/etc/passwd".as_ref(), "/etc/dir", &["rbind", "ro"]));
    mismatched(&|b| b.bind("/etc".as_ref(), "/etc/file", &["bind"]));
    mismatched(&|b| b.bind("/etc".as_ref(), "/etc/file", &["rbind", "ro"]));
    mismatched(&|b| b.bind("/etc".as_ref(), "/etc/file/below", &["bind"]));
    mismatched(&|b| b.bind("/etc/passwd/".as_ref(), "/new", &["bind"]));
    mismatched(&|b| b.bind("/dev/null".as_ref(), "/etc/dir", &["bind"]));
    mismatched(&|b| b.mount("tmpfs", "tmpfs", "/etc/file", &[]));
    mismatched(&|b| b.mount("tmpfs", "tmpfs", "/etc/file/below", &[]));
    mismatched(&|b| {
        let fifo = b.rootfs("ready");
        b.bind(&fifo, "/etc/dir", &["bind"])
    });
    mismatched(&|b| {
        let path = b.dir().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        b.bind(&path, "/etc/dir", &["bind"])
    });
}

#[test]
fn r019_a_mismatch_names_the_field_and_both_paths() {
    let out = Bundle::sh("true").bind("/etc/passwd".as_ref(), "/tmp", &["bind"]).run();
    deviates!(["runc", "crun"], "in other words");
    let wanted = "mounts[6]: bind /etc/passwd on /tmp: not a directory (only a directory can be \
                  mounted on a directory)";
    assert!(out.fails().contains(wanted), "{out:?}");
}

#[test]
fn r148_a_device_on_a_directory() {
    let device = json!({"type": "c", "path": "/opt/x", "major": 1, "minor": 5});
    let out = Bundle::sh("true").file("opt/x/y", "").set("/linux/devices/-", device).run();
    deviates!(["runc", "crun"], "R148: EEXIST is accepted unseen");
    out.fails_with(&["linux.devices[0]: /opt/x: mknodat: file exists (a directory is there"]);
}

#[test]
fn several_options_in_one_string_are_told() {
    deviates!(["runc", "crun"], "no such device, or the options are lost");
    for (option, hint) in [
        ("rbind,ro", r#"["rbind", "ro"]"#),
        ("ro,rbind", r#"["ro", "rbind"]"#),
        ("bind, nosuid", r#"["bind", "nosuid"]"#),
        ("rbind,size=1k", r#"["rbind", "size=1k"]"#),
        ("remount,ro", r#"["remount", "ro"]"#),
    ] {
        let out = Bundle::sh("true").bind("/etc".as_ref(), "/m", &[option]).run();
        out.fails_with(&[&format!("mounts[6].options[0]: {option:?} is several options")]);
        out.fails_with(&[&format!("(each is a string of its own: {hint})")]);
    }
    let out = Bundle::sh("true").bind("/etc".as_ref(), "/m", &["rbind", "ro,nosuid"]).run();
    out.fails_with(&["mounts[6].options[1]: \"ro,nosuid\" is several options"]);
    let out = Bundle::sh("true").mount("tmpfs", "t", "/m", &["nosuid,nodev,size=1m"]).run();
    out.fails_with(&["mounts[6].options[0]: \"nosuid,nodev,size=1m\" is several options"]);
}

/// What the file system itself reads may be in one string.
#[test]
fn options_of_a_file_system_may_be_one_string() {
    let out = Bundle::sh("grep ' /m ' /proc/self/mountinfo")
        .mount("tmpfs", "t", "/m", &["ro,size=1m", "nosuid"])
        .run();
    assert!(out.ok().contains("size=1024k") && out.stdout.contains("nosuid"), "{out:?}");
}

#[test]
fn a_bind_without_the_option_is_told() {
    for kind in ["none", "bind"] {
        let out = Bundle::sh("true").mount(kind, "/etc", "/m", &["ro"]).run();
        deviates!("runc", "no such device");
        deviates!("crun", "taken for a bind");
        out.fails_with(&["needs the option \"bind\" or \"rbind\""]);
    }
}

/// A FUSE of uid 1000, which lets nobody else in, in a private mount namespace. Nobody
/// answers its requests: whoever may not ask any is refused before.
fn with_fuse(c: &Container) -> Output {
    let fuse = c.bundle.dir().join("fuse");
    fs::create_dir(&fuse).unwrap();
    chown(&fuse, Some(1000), Some(1000)).unwrap();
    let script = "exec 9<>/dev/fuse && fuse=$1 && shift && \
        busybox mount -i -t fuse -o fd=9,rootmode=40000,user_id=1000,group_id=1000 none $fuse && \
        \"$@\"";
    Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"])
        .args([fuse.as_os_str(), runtime().path.as_os_str()])
        .args(c.global())
        .args(["run", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
        .run()
}

#[test]
fn a_fuse_of_another_user_is_bound_all_the_same() {
    needs!(Path::new("/dev/fuse").exists(), "/dev/fuse");
    let bundle = Bundle::sh("grep -c ' /m .* fuse ' /proc/self/mountinfo; ls /m");
    let fuse = bundle.dir().join("fuse");
    let out = with_fuse(&bundle.bind(&fuse, "/m", &["rbind"]).container());
    deviates!(["runc", "crun"], "stat of it: permission denied");
    assert_eq!(out.stdout, "1\n", "{out:?}");
    out.fails_with(&["permission denied"]);
}

#[test]
fn a_fuse_that_cannot_be_looked_into_is_told_by_its_path() {
    needs!(Path::new("/dev/fuse").exists(), "/dev/fuse");
    let bundle = Bundle::sh("true");
    let inner = bundle.dir().join("fuse/inner");
    let out = with_fuse(&bundle.bind(&inner, "/m", &["rbind"]).container());
    out.fails_with(&["permission denied"]);
    deviates!(["runc", "crun"], "without a hint");
    out.fails_with(&[&format!("mounts[6]: bind {}: ", inner.display())]);
    out.fails_with(&["allow_other"]);
    let bundle = Bundle::sh("true");
    let fuse = bundle.dir().join("fuse");
    let bundle = bundle.bind(&fuse, "/m", &["rbind"]).mount("tmpfs", "tmpfs", "/m", &[]);
    let out = with_fuse(&bundle.container());
    out.fails_with(&["mounts[7]: fstat /m in the root filesystem: permission denied"]);
    out.fails_with(&["allow_other"]);
}
