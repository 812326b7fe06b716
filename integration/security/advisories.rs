//! Advisories as tests. The races of the originals are made certain by hooks
//! that do the swap which an attacker would have raced. A decoy is a file or
//! directory of the host that must stay as it is.

use crate::harness::{
    Bundle, Call, Container, Lacks, copy_program, deviates, directory, exits, is_pinnace, json,
    runtime,
};
use pinnace::sys::mount::{Attributes, Change, RDONLY, mount_setattr};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

pub(super) struct Decoy {
    pub dir: PathBuf,
}

impl Decoy {
    /// A directory next to the bundle with one file, `decoy`.
    pub fn new(bundle: &Bundle) -> Self {
        let dir = bundle.dir().join("decoy");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("decoy"), "untouched").unwrap();
        Self { dir }
    }

    #[track_caller]
    pub fn is_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["decoy"], "something came to {}", self.dir.display());
        assert_eq!(fs::read_to_string(self.dir.join("decoy")).unwrap(), "untouched");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.dir.to_str().unwrap()), "something is mounted there");
    }
}

/// `run`, or `create` and `start`, to the end; either may fail.
fn run_or_start(c: &Container, verb: &str) {
    if verb == "run" {
        c.run();
    } else if c.create().code == 0 {
        let pid = c.pid();
        if c.start().code == 0 {
            assert!(exits(pid), "the container does not end");
        }
        c.call(["delete", "--force", &c.id]).run().ok();
    }
}

fn sum(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// A hook of that kind that runs a shell command on the host's tree.
pub(super) fn hook(bundle: Bundle, kind: &str, command: &str) -> Bundle {
    let args = json!(["sh", "-c", command]);
    let env = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
    bundle.set(&format!("/hooks/{kind}/-"), json!({"path": "/bin/sh", "args": args, "env": env}))
}

/// CVE-2019-5736
#[test]
fn r448_the_runtimes_binary_cannot_be_written_through_proc_exe() {
    let before = sum(&runtime().path);
    let inode = fs::metadata(&runtime().path).unwrap().ino();
    for args in [["/proc/self/exe", "--version"], ["/script", ""]] {
        let c = Bundle::new(args).file("script", "#!/proc/self/exe\n").container();
        chmod(&c.bundle.rootfs("script"));
        c.run();
    }
    // A running container tries to write to whatever enters it.
    let script = "echo > /ready; n=0; while [ $n -lt 300 ]; do n=$((n+1)); \
                  for p in /proc/[0-9]*; do [ $p = /proc/1 ] || : >> $p/exe; done; done 2>/dev/null; \
                  sleep 1000";
    let c = Bundle::sh(script).capability("CAP_SYS_PTRACE").container().up_and_ready();
    for _ in 0..20 {
        c.exec(["true"]);
    }
    assert_eq!(sum(&runtime().path), before);
    assert_eq!(fs::metadata(&runtime().path).unwrap().ino(), inode);
}

fn chmod(path: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(path, mode).unwrap();
}

/// CVE-2019-5736: before exec, init runs from a copy, not from the host's file.
#[test]
fn r448_init_of_a_created_container_does_not_run_the_hosts_binary() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    let exe = format!("/proc/{}/exe", c.pid().as_raw_pid());
    let (host, init) = (fs::metadata(&runtime().path).unwrap(), fs::metadata(&exe).unwrap());
    // The same inode is right only on a read-only mount.
    if (host.dev(), host.ino()) == (init.dev(), init.ino()) {
        let opened = fs::OpenOptions::new().append(true).open(&exe);
        assert!(opened.is_err(), "init's binary is the host's, and can be written");
    }
}

/// CVE-2019-5736: what runs init is read-only for good, whoever asks. Root of the
/// host can do no less than root of a container.
#[test]
fn r448_the_program_of_init_stays_read_only() {
    deviates!("crun", "CVE-2019-5736: a copy of its own kind");
    deviates!("runc", "CVE-2019-5736: a copy of its own kind");
    let c = Bundle::sleeper().container();
    c.create().ok();
    let exe = fs::File::open(format!("/proc/{}/exe", c.pid().as_raw_pid())).unwrap();
    if rustix::fs::fcntl_get_seals(&exe).is_ok_and(|s| s.contains(rustix::fs::SealFlags::WRITE)) {
        return;
    }
    let flags = rustix::fs::fstatvfs(&exe).unwrap().f_flag;
    assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{flags:?}");
    let attributes = Attributes { set: 0, clear: RDONLY };
    let change = Change { attributes, ..Change::default() };
    assert_eq!(mount_setattr(exe.as_fd(), &change), Err(rustix::io::Errno::INVAL));
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH;
    assert!(open_tree(&exe, "", clone).is_err(), "cloned");
}

/// A program that needs no other file runs where there is none.
#[test]
fn r446_the_program_is_one_file() {
    deviates!(["runc", "crun"], "R446: dynamic");
    let dir = directory();
    copy_program(&runtime().path, &dir.path().join("runtime"));
    for (args, said) in [(["--version"], "spec: 1."), (["features"], "SCMP_ACT_NOTIFY")] {
        let out = Call::new("/usr/sbin/chroot").args([dir.path()]).args(["/runtime"]).args(args);
        assert!(out.run().ok().contains(said));
    }
}

/// mount(2) takes paths, and who looks a path up twice may find two things.
#[test]
fn r452_every_mount_is_made_by_the_new_calls() {
    deviates!(["runc", "crun"], "R452: mount(2), too");
    // But for MS_SHARED and its like, which make nothing.
    let (call, errno) = (libc::SYS_mount, libc::ENOSYS);
    let none = Lacks { call, argument: 3, mask: 0x001e_0000, value: 0, errno };
    let bundle = Bundle::sh("cat /proc/self/mountinfo");
    let volume = bundle.dir().join("volume");
    fs::create_dir(&volume).unwrap();
    let c = bundle
        .bind(&volume, "/volume", &["rbind", "ro", "rslave"])
        .mount("tmpfs", "tmpfs", "/made", &["size=4k", "noexec"])
        .set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/scsi"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]))
        .set("/root/readonly", json!(true))
        .container();
    let path = c.bundle.path().to_str().unwrap().to_owned();
    let out = c.call(["run", "--bundle", &path, &c.id]).without(&[none]).run();
    for place in [" / ro,", " /proc ", " /dev/pts ", " /volume ro,", " /made ", " /proc/sys ro,"] {
        assert!(out.ok().contains(place), "{place}: {}", out.stdout);
    }
}

/// CVE-2016-9962
#[test]
fn a_container_cannot_look_into_what_enters_it() {
    let script = "echo > /ready; while :; do for p in /proc/[0-9]*; do \
                  [ $p = /proc/1 ] || ls -l $p/fd 2>/dev/null >> /tmp/seen; done; done";
    let c = Bundle::sh(script).container().up_and_ready();
    for _ in 0..30 {
        c.exec(["true"]);
    }
    c.stop();
    let seen = fs::read_to_string(c.bundle.rootfs("tmp/seen")).unwrap_or_default();
    let host = c.bundle.dir().to_str().unwrap();
    assert!(!seen.contains(host) && !seen.contains("/run/"), "{seen}");
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2025-54867
#[test]
fn proc_and_sys_must_be_directories() {
    for (name, target) in [
        ("proc", "/tmp"),
        ("proc", "tmp"),
        ("proc", "tmp/../etc"),
        ("proc", "/dev/../tmp"),
        ("proc", "/proc/1/root/tmp"),
        ("sys", "/tmp"),
        ("sys", "../tmp"),
        ("sys", "etc/../tmp"),
    ] {
        let bundle = Bundle::sh("true");
        fs::remove_dir(bundle.rootfs(name)).unwrap();
        symlink(target, bundle.rootfs(name)).unwrap();
        let out = bundle.run();
        deviates!("crun", "CVE-2023-27561: the link is followed inside the rootfs");
        out.fails_with(&[name]);
    }
}

/// CVE-2019-16884
#[test]
fn proc_cannot_be_replaced_by_a_bind() {
    deviates!("crun", "CVE-2019-16884: no allow-list");
    let bundle = Bundle::sh("true");
    let fake = bundle.dir().join("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    fs::write(fake.join("self/attr/exec"), "").unwrap();
    bundle.bind(&fake, "/proc", &["bind"]).run().fails_with(&["/proc"]);
}

/// CVE-2021-30465: the destination becomes a link while mounts are made.
#[test]
fn a_destination_swapped_for_a_link_does_not_lead_out() {
    let bundle = Bundle::sh("ls /a/b; ls /");
    let decoy = Decoy::new(&bundle);
    let rootfs = bundle.path().join("rootfs");
    fs::create_dir_all(rootfs.join("a/b")).unwrap();
    let swap = format!("cd {0} && mv a old && ln -s {1} a", rootfs.display(), decoy.dir.display());
    let c = hook(bundle, "createRuntime", &swap).mount("tmpfs", "tmpfs", "/a/b", &[]).container();
    c.run(); // may fail, may succeed; what counts is outside
    decoy.is_untouched();
}

/// CVE-2019-18837, CVE-2024-45310: nothing is made behind a link that leads out, be it the first
/// part of the path, the last, or one between.
#[test]
fn mount_points_are_not_made_behind_a_link() {
    for (place, up) in [("vol", "../.."), ("vol/x", "../../.."), ("vol/x/y", "../../../..")] {
        for absolute in [true, false] {
            for file in [true, false] {
                let bundle = Bundle::sh("true");
                let decoy = Decoy::new(&bundle);
                let link = bundle.rootfs(place);
                fs::create_dir_all(link.parent().unwrap()).unwrap();
                let target = if absolute { decoy.dir.clone() } else { Path::new(up).join("decoy") };
                symlink(target, link).unwrap();
                let bundle = match file {
                    true => bundle.bind(Path::new("/etc/hostname"), "/vol/x/y/z", &["bind"]),
                    false => bundle.mount("tmpfs", "tmpfs", "/vol/x/y/z", &[]),
                };
                let c = bundle.container();
                for verb in ["run", "start"] {
                    run_or_start(&c, verb);
                    decoy.is_untouched();
                }
            }
        }
    }
}

#[test]
fn mount_points_are_not_made_behind_a_link_that_a_hook_swaps_in() {
    for kind in ["createRuntime", "prestart"] {
        let bundle = Bundle::sh("true");
        let decoy = Decoy::new(&bundle);
        let vol = bundle.rootfs("vol");
        let swap = format!("ln -s {} {}", decoy.dir.display(), vol.display());
        let c = hook(bundle, kind, &swap).mount("tmpfs", "tmpfs", "/vol/x/y", &[]).container();
        c.run();
        decoy.is_untouched();
    }
}

/// CVE-2024-21626
#[test]
fn r083_r453_cwd_through_a_leaked_descriptor_is_refused() {
    for n in 3..16 {
        let c = Bundle::sh("pwd; ls").set("/process/cwd", json!(format!("/proc/self/fd/{n}")));
        let c = c.container();
        let out = c.run();
        assert!(out.code != 0, "fd {n}: {out:?}");
    }
}

/// CVE-2024-21626, by a link of the image, and by exec.
#[test]
fn r083_r453_cwd_through_a_link_to_a_descriptor_is_refused() {
    // Without a pid namespace /proc/self is there for who has only joined the others, too.
    for bundle in [Bundle::sleeper(), Bundle::sleeper().without_namespace("pid")] {
        let c = bundle.container();
        for n in 3..12 {
            symlink(format!("/proc/self/fd/{n}"), c.bundle.rootfs(&format!("fd{n}"))).unwrap();
        }
        c.create().ok();
        c.start().ok();
        for n in 3..12 {
            c.exec_with(["--cwd", &format!("/fd{n}")], ["ls"]).fails();
        }
    }
}

/// CVE-2025-31133: /dev/null becomes a link before masks are made with it. The
/// link leads to a file of the image: a vulnerable runtime would do real harm
/// with the procfs file of the original (and did).
#[test]
fn masks_are_not_made_with_a_false_dev_null() {
    let bundle = Bundle::sh("stat -L -c %t:%T /proc/keys; wc -c < /proc/keys");
    let null = bundle.rootfs("dev/null");
    let swap = format!("rm -f {0}; ln -s /etc/decoy {0}", null.display());
    let c = hook(bundle, "createContainer", &swap)
        .file("etc/decoy", "untouched")
        .set("/linux/maskedPaths", json!(["/proc/keys"]))
        .container();
    let out = c.run();
    deviates!(["runc", "crun"], "CVE-2025-31133: not fixed in these");
    assert!(out.code != 0 || out.stdout == "1:3\n0\n", "{out:?}");
    let decoy = fs::read_to_string(c.bundle.rootfs("etc/decoy")).unwrap();
    assert_eq!(decoy, "untouched", "nor may it become the container's stdio");
}

#[test]
fn masked_directories_cannot_be_written() {
    let out = Bundle::sh("mkdir /etc/a/x; mkdir /etc/b/x; ls /etc/a /etc/b")
        .file("etc/a/secret", "")
        .file("etc/b/secret", "")
        .capability("CAP_DAC_OVERRIDE")
        .set("/linux/maskedPaths", json!(["/etc/a", "/etc/b"]))
        .run();
    assert_eq!(out.stdout, "/etc/a:\n\n/etc/b:\n");
}

/// CVE-2025-52565: /dev/console becomes a link before the terminal is bound.
#[test]
fn the_console_is_not_bound_onto_a_link() {
    let bundle = Bundle::sh("true").set("/process/terminal", json!(true));
    let decoy = Decoy::new(&bundle);
    let console = bundle.rootfs("dev/console");
    let target = decoy.dir.join("decoy");
    let swap = format!("ln -s {} {}", target.display(), console.display());
    let c = hook(bundle, "createContainer", &swap).container();
    let terminal = crate::harness::Terminal::new(24, 80);
    let (root, path) = (c.root(), c.bundle.path());
    let args = ["--root", root.to_str().unwrap(), "run", "-b", path.to_str().unwrap(), &c.id];
    terminal.call(&runtime().path, &args).spawn().wait();
    decoy.is_untouched();
}

/// CVE-2025-52881: a sysctl must reach procfs, or fail, but not a fake file.
#[test]
fn r451_sysctl_does_not_go_to_a_fake_file() {
    let bundle = Bundle::sh("cat /proc/sys/net/ipv4/ping_group_range");
    let decoy = Decoy::new(&bundle);
    let rootfs = bundle.path().join("rootfs");
    let swap = format!(
        "mount --bind {}/decoy {}/proc/sys/net/ipv4/ping_group_range",
        decoy.dir.display(),
        rootfs.display()
    );
    let c = hook(bundle, "createContainer", &swap)
        .set("/linux/sysctl", json!({"net.ipv4.ping_group_range": "7 9"}))
        .container();
    let out = c.run();
    if out.code != 0 {
        decoy.is_untouched();
        return;
    }
    deviates!(["runc", "crun"], "CVE-2025-52881: not fixed in these");
    decoy.is_untouched();
}

#[test]
fn a_mount_through_a_link_to_proc_is_refused() {
    let bundle = Bundle::sh("true");
    symlink("/proc/self/attr", bundle.rootfs("foo")).unwrap();
    let source = bundle.dir().join("data");
    fs::create_dir(&source).unwrap();
    let out = bundle.bind(&source, "/foo", &["bind"]).run();
    deviates!("crun", "CVE-2025-52881: no allow-list under /proc");
    out.fails_with(&["proc"]);
}

/// CVE-2026-41579, CVE-2026-47766: /dev of the image is a link that leads out.
#[test]
fn dev_that_is_a_link_does_not_put_devices_on_the_host() {
    for absolute in [true, false] {
        let bundle = Bundle::sh("true").edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        });
        let dir = bundle.dir().join("decoy");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("ptmx"), "untouched").unwrap();
        fs::remove_dir(bundle.rootfs("dev")).unwrap();
        let target = if absolute { dir.clone() } else { "../../decoy".into() };
        symlink(target, bundle.rootfs("dev")).unwrap();
        let c = bundle.container();
        for verb in ["run", "start"] {
            run_or_start(&c, verb);
            deviates!(["runc", "crun"], "CVE-2026-41579, CVE-2026-47766: not fixed in these");
            let entries = fs::read_dir(&dir).unwrap();
            let names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, ["ptmx"], "{verb}");
            assert_eq!(fs::read_to_string(dir.join("ptmx")).unwrap(), "untouched", "{verb}");
        }
    }
}

/// CVE-2021-43784: lengths beyond 16 bits.
#[test]
fn very_long_values_fail_cleanly_or_work() {
    let long = "x".repeat(70_000);
    let out = Bundle::sh("echo ran").set("/annotations/long", json!(long)).run();
    assert_eq!(out.ok(), "ran\n");
    let out = Bundle::sh("true").mount("none", &format!("/{long}"), "/m", &["bind"]).run();
    out.fails_with(&["file name too long", "name too long"]);
    let map: Vec<_> =
        (0..5000).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect();
    let out = Bundle::sh("true")
        .user_namespace()
        .set("/linux/uidMappings", json!(map))
        .set("/linux/gidMappings", json!(map))
        .run();
    out.fails(); // more than the kernel takes
}

#[test]
fn a_large_environment_and_many_arguments() {
    let value = "v".repeat(100_000);
    let out = Bundle::sh("echo ${#BIG}").set("/process/env/-", json!(format!("BIG={value}"))).run();
    assert_eq!(out.ok(), "100000\n");
}

/// The cage itself: only the test's own files can be written in it.
#[test]
fn the_cage_keeps_the_host_safe() {
    let c = Bundle::sleeper().container();
    let dir = c.bundle.dir();
    let script = format!("touch {}/own; touch /var/cage-has-a-hole", dir.display());
    let out = Call::caged("/bin/sh", dir).args(["-c", &script]).run();
    assert!(out.fails().contains("Read-only file system"), "{out:?}");
    assert!(dir.join("own").exists());
    assert!(!Path::new("/var/cage-has-a-hole").exists());
}

/// Every command that takes an id, with ids that lead to a decoy. In the cage.
#[test]
fn ids_that_are_paths_are_refused() {
    deviates!(
        "crun",
        "R261: crun 1.8.1 takes an id for a path and deletes what is there; never try"
    );
    let c = Bundle::sleeper().container();
    let decoy = Decoy::new(&c.bundle);
    let bundle = c.bundle.path();
    for id in ["../decoy", decoy.dir.to_str().unwrap(), "a/../../decoy", "./../decoy"] {
        c.caged(["create", "-b", bundle.to_str().unwrap(), id]).run().fails();
        c.caged(["state", id]).run().fails();
        c.caged(["kill", id]).run().fails();
        c.caged(["delete", id]).run().fails();
        let forced = c.caged(["delete", "--force", id]).run();
        if is_pinnace() {
            forced.fails_with(&["id"]);
        }
        decoy.is_untouched();
    }
}

/// What is set on init can be seen in the state directory by root only, and the
/// container has no way to it.
#[test]
fn the_state_directory_is_out_of_the_containers_reach() {
    let c = Bundle::sleeper().container().up();
    let out = c.exec(["ls", c.root().to_str().unwrap()]);
    out.fails();
}

#[test]
fn init_cannot_be_traced_before_it_execs() {
    let c = Bundle::sleeper().container();
    c.create().ok();
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid().as_raw_pid())).unwrap();
    assert!(status.contains("TracerPid:\t0"));
    // Not dumpable: its /proc entries belong to root of the host, whoever it is.
    let owner = fs::metadata(format!("/proc/{}/environ", c.pid().as_raw_pid())).unwrap();
    assert_eq!(owner.uid(), 0);
    if is_pinnace() {
        let user = Bundle::sleeper().set("/process/user/uid", json!(1000)).container();
        user.create().ok();
        let owner = fs::metadata(format!("/proc/{}/environ", user.pid().as_raw_pid())).unwrap();
        assert_eq!(owner.uid(), 0);
    }
}
