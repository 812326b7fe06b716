//! The container's tree while somebody changes the image under it. Hooks do what an
//! attacker would have to win a race for; `races` has the races themselves.

use crate::harness::{
    Bundle, Call, Container, Output, Terminal, deviates, is_pinnace, json, runtime,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A directory of the host that must stay as it is.
pub(super) struct Decoy {
    pub dir: PathBuf,
}

impl Decoy {
    /// `decoy/` next to the bundle, with one file in each of its directories.
    pub fn new(bundle: &Bundle) -> Self {
        let dir = bundle.dir().join("decoy");
        for sub in ["", "b", "b/c"] {
            fs::create_dir(dir.join(sub)).unwrap();
            fs::write(dir.join(sub).join("decoy"), "untouched").unwrap();
        }
        Self { dir }
    }

    #[track_caller]
    pub fn is_untouched(&self) {
        for (sub, wanted) in
            [("", &["b", "decoy"][..]), ("b", &["c", "decoy"]), ("b/c", &["decoy"])]
        {
            let dir = self.dir.join(sub);
            let entries = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = entries.collect();
            names.sort();
            assert_eq!(names, wanted, "something came to {}", dir.display());
            assert_eq!(fs::read_to_string(dir.join("decoy")).unwrap(), "untouched");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.dir.to_str().unwrap()), "something is mounted there");
    }
}

/// A hook that runs a shell command in the rootfs.
fn hook(bundle: Bundle, kind: &str, command: &str) -> Bundle {
    let command = format!("cd {} && {command}", bundle.rootfs("").display());
    let args = json!(["sh", "-c", command]);
    let env = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
    bundle.set(&format!("/hooks/{kind}/-"), json!({"path": "/bin/sh", "args": args, "env": env}))
}

/// Fails because something is not at its destination, and names the field.
#[track_caller]
fn is_refused(out: &Output, destination: &str) {
    deviates!(
        ["runc", "crun"],
        "CVE-2023-27561, CVE-2023-28642: an image that is changed by a hook"
    );
    let text = out.fails();
    assert!(text.contains("does not lead to") && text.contains(destination), "{text}");
    assert!(!out.stdout.contains("ran"), "{out:?}");
}

fn volume(bundle: Bundle, destination: &str) -> Bundle {
    let dir = bundle.dir().join("volume");
    fs::create_dir_all(dir.join("inner")).unwrap();
    fs::write(dir.join("file"), "of the volume").unwrap();
    bundle.bind(&dir, destination, &["rbind"])
}

/// A7, CVE-2019-19921, CVE-2023-27561: the mount goes with the directory that is renamed, and
/// its masks would be looked for in the new one.
#[test]
fn a_mount_point_that_a_hook_renames_is_refused() {
    for kind in ["createRuntime", "prestart"] {
        for name in ["proc", "sys", "dev", "vol", "copied", "a", "a/b"] {
            let bundle = volume(Bundle::sh("echo ran"), "/vol").file("copied/file", "text");
            fs::create_dir_all(bundle.rootfs("vol")).unwrap();
            fs::create_dir_all(bundle.rootfs("a/b/c")).unwrap();
            let bundle = bundle.mount("tmpfs", "tmpfs", "/a/b/c", &[]).mount(
                "tmpfs",
                "tmpfs",
                "/copied",
                &["tmpcopyup"],
            );
            let swap = format!("mv {name} moved && mkdir -p {name}");
            is_refused(&hook(bundle, kind, &swap).run(), &format!("/{name}"));
        }
    }
}

/// The same with a link to where the mount is now: procfs is mounted on a directory.
#[test]
fn proc_and_sys_behind_a_link_are_refused() {
    for name in ["proc", "sys"] {
        let swap = format!("mv {name} moved && ln -s moved {name}");
        is_refused(&hook(Bundle::sh("echo ran"), "createRuntime", &swap).run(), name);
    }
}

/// A7: what a hook in the container's own mount namespace does to the mounts themselves.
#[test]
fn a_mount_that_a_hook_takes_away_or_covers_is_refused() {
    for (command, name) in [
        ("umount -l proc", "/proc"),
        ("mkdir p2 && mount --move proc p2", "/proc"),
        ("mount -t tmpfs none proc", "/proc"),
        ("mount -t tmpfs none sys", "/sys"),
        ("mount -t tmpfs none dev", "/dev"),
        ("umount -l dev/pts", "/dev/pts"),
        ("umount -l dev/pts && rmdir dev/pts && ln -s shm dev/pts", "/dev/pts"),
        ("mount -t tmpfs none dev/pts", "/dev/pts"),
    ] {
        let out = hook(Bundle::sh("echo ran"), "createContainer", command).run();
        is_refused(&out, name);
    }
}

/// Without a mount on /dev: its directory holds the devices that were made.
#[test]
fn a_dev_of_the_image_that_a_hook_renames_is_refused() {
    let bundle = Bundle::sh("echo ran").edit(|c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    });
    let out = hook(bundle, "createRuntime", "mv dev moved && mkdir dev").run();
    is_refused(&out, "/dev");
}

/// CVE-2025-31133: a device, but another one.
#[test]
fn a_mask_is_not_made_with_another_device_than_null() {
    let bundle = Bundle::sh("head -c 1 /proc/timer_list | wc -c; echo ran")
        .set("/linux/maskedPaths", json!(["/proc/timer_list"]));
    let swap = "rm dev/null && mknod dev/null c 1 5";
    let out = hook(bundle, "createContainer", swap).run();
    deviates!(["runc", "crun"], "CVE-2025-31133: not fixed in these");
    assert!(out.fails().contains("maskedPaths"), "{out:?}");
    assert!(!out.stdout.contains("ran"));
}

/// A name that the kernel lacks is no mistake; one that is a directory of the image is hidden.
#[test]
fn masks_are_skipped_only_where_the_name_does_not_exist() {
    let out = Bundle::sh("ls /proc/uptime /secret; wc -c < /proc/uptime")
        .file("secret/file", "")
        .set(
            "/linux/maskedPaths",
            json!([
                "/proc/no-such-file",
                "/proc/uptime/below",
                "/no/such",
                "/secret",
                "/proc/uptime"
            ]),
        )
        .set("/linux/readonlyPaths", json!(["/proc/no-such-file", "/sys/no/such"]))
        .run();
    assert_eq!(out.ok(), "/proc/uptime\n\n/secret:\n0\n");
}

/// Masks and read-only paths in a mount are found through its links, as the container does.
#[test]
fn masks_follow_the_links_of_a_volume() {
    let bundle = volume(Bundle::sh("cat /vol/inside /vol/outside; touch /vol/dir/x"), "/vol");
    let dir = bundle.dir().join("volume");
    symlink("file", dir.join("inside")).unwrap();
    symlink("/etc/secret", dir.join("outside")).unwrap();
    symlink("/vol/inner", dir.join("dir")).unwrap();
    let out = bundle
        .file("etc/secret", "secret")
        .set("/linux/maskedPaths", json!(["/vol/inside", "/vol/outside"]))
        .set("/linux/readonlyPaths", json!(["/vol/dir"]))
        .run();
    assert_eq!(out.stdout, "");
    out.fails_with(&["read-only file system"]);
    assert!(!dir.join("inner/x").exists());
}

/// A destination may be masked itself, or lie beneath what is.
#[test]
fn masks_may_lie_on_destinations() {
    let out = Bundle::sh("ls /a /b /c; touch /c/x")
        .mount("tmpfs", "t", "/a/x", &[])
        .mount("tmpfs", "t", "/b", &[])
        .mount("tmpfs", "t", "/c", &[])
        .set("/linux/maskedPaths", json!(["/a", "/b", "/proc"]))
        .set("/linux/readonlyPaths", json!(["/c", "/sys"]))
        .run();
    assert_eq!(out.stdout, "/a:\n\n/b:\n\n/c:\n");
    out.fails_with(&["read-only file system"]);
}

/// Destinations that a later mount hides are no longer looked for.
#[test]
fn mounts_that_later_ones_cover_still_work() {
    let show = "cat /proc/self/mountinfo | grep -c ' /[ab]'; echo ran";
    for list in [
        &["/a/b", "/a"][..],
        &["/a/b/c", "/a/b", "/a"],
        &["/a", "/a"],
        &["/a", "/a/b", "/a", "/a/b"],
        &["/proc", "/sys", "/dev/shm"],
    ] {
        let mut bundle = Bundle::sh(show);
        for destination in list {
            let kind = if *destination == "/proc" { "proc" } else { "tmpfs" };
            bundle = bundle.mount(kind, "none", destination, &[]);
        }
        let out = bundle.run();
        assert!(out.stdout.ends_with("ran\n"), "{list:?}: {out:?}");
    }
    // And by links of the image: /x is /a, /y is /a/b.
    for list in [&["/a/b", "/x"][..], &["/x/b", "/a"], &["/y", "/a"], &["/a", "/y", "/x/b", "/x"]] {
        let mut bundle = Bundle::sh("echo ran");
        fs::create_dir_all(bundle.rootfs("a/b")).unwrap();
        symlink("a", bundle.rootfs("x")).unwrap();
        symlink("/a/b", bundle.rootfs("y")).unwrap();
        for destination in list {
            bundle = bundle.mount("tmpfs", "none", destination, &[]);
        }
        assert_eq!(bundle.run().ok(), "ran\n", "{list:?}");
    }
}

/// All mounts before it are hidden, the root is another one.
#[test]
fn a_mount_on_the_root_covers_all() {
    let bundle = Bundle::sh("echo ran; grep -c . /proc/self/mountinfo");
    let root = bundle.rootfs("");
    let out = bundle
        .edit(|c| {
            let list = c["mounts"].as_array_mut().unwrap();
            let entry = json!({"destination": "/", "type": "none", "source": root,
                "options": ["rbind"]});
            list.insert(2, entry);
            list.push(json!({"destination": "/proc", "type": "proc", "source": "proc"}));
        })
        .run();
    assert!(out.ok().starts_with("ran\n"), "{out:?}");
}

/// A covered mount that was moved away first is not hidden: /a/b is visible as /moved.
#[test]
fn what_a_later_mount_was_to_cover_is_looked_for_where_it_is() {
    let bundle = Bundle::sh("echo ran; cat /moved/uptime")
        .mount("proc", "proc", "/a/b", &[])
        .mount("tmpfs", "tmpfs", "/a", &[]);
    is_refused(&hook(bundle, "createRuntime", "mv a/b moved; mkdir -p a/b").run(), "/a/b");
}

/// More mounts than descriptors: then most are known by their ids alone.
#[test]
fn of_very_many_mounts_all_are_looked_for() {
    for swap in ["true", "mv m200 moved && mkdir m200"] {
        let mut bundle = Bundle::sh("echo ran");
        for n in 0..300 {
            bundle = bundle.mount("tmpfs", "none", &format!("/m{n}"), &["size=4k"]);
        }
        let c = hook(bundle, "createRuntime", swap).container();
        let path = c.bundle.path();
        let command = "ulimit -Sn 200 && exec \"$@\"";
        let out = Call::new("/bin/sh")
            .args(["-c", command, "sh"])
            .args([runtime().path.as_os_str()])
            .args(c.global())
            .args(["run", "--bundle", path.to_str().unwrap(), &c.id])
            .run();
        deviates!(["runc", "crun"], "as a_mount_point_that_a_hook_renames_is_refused");
        match swap {
            "true" => assert_eq!(out.ok(), "ran\n"),
            _ => is_refused(&out, "/m200"),
        }
    }
}

/// B14: mount(2) took the path a second time. It has a place of its own now.
#[test]
fn what_only_mount_2_can_make_is_mounted_once() {
    let script = "grep -c ' /silent ' /proc/self/mountinfo; \
        awk '$5 != \"/\"' /proc/self/mountinfo | grep tmpfs | \
        grep -vcE ' /(silent|dev|sys|proc)'; cat /silent/file";
    let bundle = Bundle::sh(script).file("real/file", "copied\n");
    symlink("real", bundle.rootfs("silent")).unwrap();
    let out = bundle.mount("tmpfs", "tmpfs", "/silent", &["silent", "size=4k"]).run();
    // Over the link's target, and empty.
    assert_eq!(out.stdout, "0\n1\n");
    let bundle = Bundle::sh(script).file("silent/file", "copied\n");
    let out = bundle.mount("tmpfs", "tmpfs", "/silent", &["silent", "tmpcopyup"]).run();
    deviates!(["runc", "crun"], "whatever they do with these two together");
    assert_eq!(out.ok(), "1\n0\ncopied\n");
}

/// The image may nest directories as deep as it likes.
#[test]
fn a_copy_of_very_deep_directories_ends_well_or_with_an_error() {
    for (limit, levels) in [("256", 3000), ("20000", 6000)] {
        let bundle = Bundle::sh("echo ran").unset("/process", "rlimits");
        let bundle = bundle.mount("tmpfs", "t", "/deep", &["tmpcopyup"]);
        let deep = bundle.rootfs("deep");
        fs::create_dir(&deep).unwrap();
        nest(&deep, levels);
        let c = bundle.container();
        let path = c.bundle.path();
        let command = "ulimit -n $0 2>/dev/null; exec \"$@\"";
        let out = Call::new("/bin/sh")
            .args(["-c", command, limit])
            .args([runtime().path.as_os_str()])
            .args(c.global())
            .args(["run", "--bundle", path.to_str().unwrap(), &c.id])
            .run();
        // It is deeper than remove_dir_all(3) of the test can go.
        Call::new("/bin/rm").args(["-rf", deep.to_str().unwrap()]).run().ok();
        deviates!(["runc", "crun"], "a path of so many names is too long for them");
        if out.code != 0 {
            assert!(out.stderr.contains("mounts[6]: tmpcopyup: "), "{out:?}");
            out.fails_with(&["too many open files", "no file descriptors"]);
        } else {
            assert_eq!(out.stdout, "ran\n");
        }
    }
}

fn nest(top: &Path, levels: usize) {
    use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = open(top, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
        dir = openat(&dir, "d", flags, Mode::empty()).unwrap();
    }
}

/// What a path of the configuration is used for.
#[derive(Debug, Clone, Copy)]
enum Use {
    Mount,
    Classic,
    BindFile,
    CopyUp,
    CopySymlink,
    Device,
    Cwd,
    Masked,
    Readonly,
}

impl Use {
    const ALL: [Self; 9] = [
        Self::Mount,
        Self::Classic,
        Self::BindFile,
        Self::CopyUp,
        Self::CopySymlink,
        Self::Device,
        Self::Cwd,
        Self::Masked,
        Self::Readonly,
    ];

    /// A container that uses `path` so, and writes to it.
    fn bundle(self, path: &str) -> Bundle {
        let script = format!("echo x > {path}/x; echo x > {path}; echo x > x; echo ran");
        let bundle = Bundle::sh(&script);
        match self {
            Self::Mount => bundle.mount("tmpfs", "t", path, &[]),
            Self::Classic => bundle.mount("tmpfs", "t", path, &["silent"]),
            Self::CopyUp => bundle.mount("tmpfs", "t", path, &["tmpcopyup"]),
            Self::BindFile => {
                let file = bundle.dir().join("file");
                fs::write(&file, "bound").unwrap();
                bundle.bind(&file, path, &["bind"])
            }
            Self::CopySymlink => {
                let link = bundle.dir().join("link");
                symlink("somewhere", &link).unwrap();
                bundle.bind(&link, path, &["bind", "copy-symlink"])
            }
            Self::Device => {
                let device = json!({"path": path, "type": "c", "major": 1, "minor": 3,
                    "fileMode": 0o666, "uid": 7, "gid": 7});
                bundle.set("/linux/devices/-", device)
            }
            Self::Cwd => bundle.set("/process/cwd", json!(path)),
            Self::Masked => bundle.set("/linux/maskedPaths/-", json!(path)),
            Self::Readonly => bundle.set("/linux/readonlyPaths/-", json!(path)),
        }
    }
}

/// Puts a link to the decoy in the place of one component of /a/b/c. What was left of the
/// path exists in the decoy, too.
fn plant(bundle: &Bundle, decoy: &Decoy, component: usize, absolute: bool) {
    let parts = ["a", "b", "c"];
    let above = bundle.rootfs(&parts[..component].join("/"));
    fs::create_dir_all(&above).unwrap();
    let target = match absolute {
        true => decoy.dir.clone(),
        false => PathBuf::from("../".repeat(component + 2)).join("decoy"),
    };
    symlink(target, above.join(parts[component])).unwrap();
}

/// Symbolic links at each component of each path that is opened or made.
#[test]
fn links_at_any_component_do_not_lead_out() {
    for used in Use::ALL {
        for component in 0..3 {
            for absolute in [true, false] {
                let bundle = used.bundle("/a/b/c");
                let decoy = Decoy::new(&bundle);
                plant(&bundle, &decoy, component, absolute);
                let c = bundle.container();
                let out = c.run();
                if matches!(used, Use::Device) {
                    deviates!("crun", "CVE-2026-41579: not fixed");
                }
                decoy.is_untouched();
                assert!(!out.stderr.contains("panicked"), "{used:?} {component}: {out:?}");
            }
        }
    }
}

/// The same, put there by a hook: after the mounts, before cwd and masks.
#[test]
fn links_that_a_hook_puts_there_do_not_lead_out() {
    for used in Use::ALL {
        for component in 0..3 {
            let bundle = used.bundle("/a/b/c");
            let decoy = Decoy::new(&bundle);
            let part = ["a", "a/b", "a/b/c"][component];
            let swap = format!(
                "mkdir -p a/b && if [ -e {part} ]; then mv {part} moved; fi; ln -s {} {part}",
                decoy.dir.display()
            );
            let c = hook(bundle, "createRuntime", &swap).container();
            c.run();
            decoy.is_untouched();
        }
    }
}

/// And in `exec`, which finds its working directory in the same way and makes nothing.
#[test]
fn links_in_the_cwd_of_exec_do_not_lead_out() {
    let c = Bundle::sleeper().container();
    let decoy = Decoy::new(&c.bundle);
    fs::create_dir_all(c.bundle.rootfs("a/b")).unwrap();
    symlink(&decoy.dir, c.bundle.rootfs("abs")).unwrap();
    symlink("../decoy", c.bundle.rootfs("up")).unwrap();
    symlink("../../../../decoy", c.bundle.rootfs("a/b/up")).unwrap();
    let c = c.up();
    for cwd in ["/abs", "/up", "/abs/b", "/abs/new/dir", "/a/b/up/new", "/a/b/up/b/c"] {
        c.exec_with(["--cwd", cwd], ["touch", "x"]);
        decoy.is_untouched();
    }
}

fn in_terminal(c: &Container) -> Output {
    let terminal = Terminal::new(24, 80);
    let path = c.bundle.path();
    let root = c.root();
    let args = ["--root", root.to_str().unwrap(), "run", "-b", path.to_str().unwrap(), &c.id];
    terminal.call(&runtime().path, &args).spawn().wait()
}

/// CVE-2025-52565: what is at /dev/console, or at /dev, when the terminal is bound.
#[test]
fn the_console_goes_to_the_dev_that_was_mounted() {
    let swaps = [
        ("createRuntime", "mv dev moved && ln -s DECOY dev"),
        ("createContainer", "ln -s DECOY/decoy dev/console"),
        ("createContainer", "mkdir dev/console"),
        ("createContainer", "mount -t tmpfs none dev && ln -s DECOY/decoy dev/console"),
    ];
    for (kind, swap) in swaps {
        let bundle = Bundle::sh("true").set("/process/terminal", json!(true));
        let decoy = Decoy::new(&bundle);
        let swap = swap.replace("DECOY", decoy.dir.to_str().unwrap());
        let c = hook(bundle, kind, &swap).container();
        let out = in_terminal(&c);
        decoy.is_untouched();
        deviates!(["runc", "crun"], "CVE-2025-52565: not fixed in these");
        assert!(out.code != 0, "{swap}: {out:?}");
    }
}

/// CVE-2025-52565: a false ptmx is not even opened: to open a device may do something.
#[test]
fn a_terminal_comes_from_a_devpts_only() {
    let swaps = [
        "umount -l dev/pts && mkfifo dev/pts/ptmx",
        "umount -l dev/pts && mknod dev/pts/ptmx c 5 2",
        "umount -l dev/pts && rmdir dev/pts && ln -s /decoy dev/pts",
        "mount -t tmpfs none dev/pts && mknod dev/pts/ptmx c 1 5",
        "mount --bind dev/null dev/pts/ptmx",
    ];
    for swap in swaps {
        let bundle = Bundle::sh("true").set("/process/terminal", json!(true));
        let c = hook(bundle, "createContainer", swap).container();
        let out = in_terminal(&c);
        deviates!(["runc", "crun"], "CVE-2025-52565: not fixed in these");
        assert!(out.code != 0, "{swap}: {out:?}");
    }
}

/// B12: all in namespaces of the test's own, which would be changed otherwise.
#[test]
fn nothing_is_set_in_a_namespace_of_the_runtimes_own() {
    if !is_pinnace() {
        return;
    }
    let cases = [
        (
            "network",
            "net",
            "/linux/sysctl",
            json!({"net.ipv4.ip_forward": "1"}),
            "linux.sysctl.net",
        ),
        ("ipc", "ipc", "/linux/sysctl", json!({"kernel.msgmax": "9000"}), "linux.sysctl.kernel"),
        ("ipc", "ipc", "/linux/sysctl", json!({"fs.mqueue.msg_max": "9"}), "linux.sysctl.fs"),
        ("uts", "uts", "/linux/sysctl", json!({"kernel.domainname": "x"}), "linux.sysctl.kernel"),
        ("uts", "uts", "/hostname", json!("decoy"), "hostname"),
        ("uts", "uts", "/domainname", json!("decoy"), "domainname"),
    ];
    for (kind, file, pointer, value, field) in cases {
        let bundle = Bundle::sh("echo ran").set("/hostname", json!(null));
        let path = format!("/proc/self/ns/{file}");
        let c = bundle.namespace(kind, Some(&path)).set(pointer, value).container();
        let bundle = c.bundle.path();
        let out = Call::new("/usr/bin/unshare")
            .args(["--net", "--ipc", "--uts"])
            .args([runtime().path.as_os_str()])
            .args(c.global())
            .args(["run", "--bundle", bundle.to_str().unwrap(), &c.id])
            .run();
        assert!(out.fails().contains(field), "{out:?}");
        assert!(out.stderr.contains("own"), "{out:?}");
        assert!(!c.root().join(&c.id).exists(), "something was made");
    }
}
