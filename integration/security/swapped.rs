//! Advisories about what is replaced while the runtime is at work: the terminals, procfs, the parts
//! of a path. A hook does the swap, a container that may mount does it, or the test while it holds
//! the runtime at one of its system calls.

use super::advisories::{Decoy, hook};
use super::rootless::{Rootless, rootless};
use crate::harness::{Bundle, Call, Container, Hierarchy, Terminal, deviates, json, runtime};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};

/// `run` with a terminal of our own.
fn run_on_a_terminal(c: &Container) -> i32 {
    let terminal = Terminal::new(24, 80);
    let (root, path) = (c.root(), c.bundle.path());
    let args = ["--root", root.to_str().unwrap(), "run", "-b", path.to_str().unwrap(), &c.id];
    terminal.call(&runtime().path, &args).spawn().wait().code
}

/// CVE-2025-52565: the terminal comes from the container's own devpts, or from nowhere.
#[test]
fn dev_pts_that_is_no_devpts_gives_no_terminal() {
    let swaps = [
        "umount $R/dev/pts && rmdir $R/dev/pts && ln -s $D $R/dev/pts",
        "umount $R/dev/pts && cp -r $D/. $R/dev/pts/",
        "mount --bind $D $R/dev/pts",
        "rm -f $R/dev/ptmx && ln -s $D/ptmx $R/dev/ptmx && umount $R/dev/pts",
        "mount -t tmpfs none $R/dev && mkdir $R/dev/pts && ln -s $D/ptmx $R/dev/pts/ptmx && \
         ln -s pts/ptmx $R/dev/ptmx && ln -s $D/0 $R/dev/console && ln -s $D/0 $R/dev/pts/0",
    ];
    for swap in swaps {
        let script = "stat -c '%F %t' /dev/console > /tmp/console";
        let bundle = Bundle::sh(script).set("/process/terminal", json!(true));
        let dir = bundle.dir().join("decoy");
        fs::create_dir(&dir).unwrap();
        let files = ["0", "1", "ptmx"].map(|name| dir.join(name));
        let state = |path: &PathBuf| {
            let data = fs::metadata(path).unwrap();
            (data.uid(), data.gid(), data.mode(), fs::read_to_string(path).unwrap())
        };
        files.iter().for_each(|path| fs::write(path, "untouched").unwrap());
        let before = files.each_ref().map(state);
        let rootfs = bundle.path().join("rootfs");
        let swap = format!("R={} D={}; {swap}", rootfs.display(), dir.display());
        let c = hook(bundle, "createContainer", &swap).container();
        let code = run_on_a_terminal(&c);
        assert_eq!(files.each_ref().map(state), before, "{swap}");
        let console = fs::read_to_string(c.bundle.rootfs("tmp/console")).unwrap_or_default();
        deviates!(["runc", "crun"], "CVE-2025-52565: not fixed in these");
        assert!(code != 0 || console == "character special file 88\n", "{swap}: {console:?}");
    }
}

/// The files of procfs that a runtime writes.
const WRITTEN: [&str; 14] = [
    "self/attr/exec",
    "self/attr/apparmor/exec",
    "self/oom_score_adj",
    "self/setgroups",
    "self/uid_map",
    "self/timens_offsets",
    "thread-self/attr/exec",
    "thread-self/attr/apparmor/exec",
    "thread-self/attr/keycreate",
    "1/oom_score_adj",
    "1/attr/exec",
    "1/uid_map",
    "sys/net/ipv4/ping_group_range",
    "sys/kernel/hostname",
];

fn fake_procfs(dir: &Path) {
    for name in WRITTEN {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "untouched").unwrap();
    }
}

#[track_caller]
fn is_untouched_procfs(dir: &Path) {
    for name in WRITTEN {
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "untouched", "{name}");
    }
}

/// CVE-2025-52881, CVE-2019-16884: what goes to procfs goes to a real one, whatever lies upon /proc.
#[test]
fn a_false_procfs_over_the_real_one_is_never_written_by_create() {
    for way in ["mount --bind $D $R/proc", "mount -t tmpfs none $R/proc && cp -r $D/. $R/proc/"] {
        for users in [false, true] {
            let bundle = Bundle::sleeper()
                .set("/linux/sysctl", json!({"net.ipv4.ping_group_range": "7 9"}))
                .set("/process/oomScoreAdj", json!(77));
            let bundle = if users { bundle.user_namespace() } else { bundle };
            let dir = bundle.dir().join("fake");
            fake_procfs(&dir);
            let swap =
                format!("R={} D={}; {way}", bundle.path().join("rootfs").display(), dir.display());
            let c = hook(bundle, "createContainer", &swap).container();
            let out = c.create();
            deviates!(["runc", "crun"], "CVE-2025-52881: not fixed in these");
            is_untouched_procfs(&dir);
            if out.code != 0 {
                continue;
            }
            let pid = c.pid().as_raw_pid();
            let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
            assert_eq!(score, "77\n", "{way}");
            let range = Call::new("/usr/bin/nsenter")
                .args(["-t", &pid.to_string(), "-n", "cat", "/proc/sys/net/ipv4/ping_group_range"])
                .run();
            let wanted = if users { "100007\t100009\n" } else { "7\t9\n" };
            assert_eq!(range.ok(), wanted, "{way}");
            c.start();
            is_untouched_procfs(&dir);
            let inside = PathBuf::from(format!("/proc/{pid}/root/proc"));
            is_untouched_procfs(&inside);
        }
    }
}

/// CVE-2025-52881: as above, by a container that may mount, before something enters it.
#[test]
fn a_false_procfs_over_the_real_one_is_never_written_by_exec() {
    for users in [false, true] {
        let script =
            "mount -t tmpfs none /proc && cp -r /fake/. /proc/ && echo > /ready; sleep 1000";
        let bundle = Bundle::sh(script).set("/process/oomScoreAdj", json!(77));
        fake_procfs(&bundle.rootfs("fake"));
        let bundle = if users { bundle.user_namespace() } else { bundle };
        let bundle =
            ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"].iter().fold(bundle, |b, name| b.capability(name));
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(bundle.rootfs("ready"), all).unwrap();
        let c = bundle.container().up_and_ready();
        let file = c.bundle.dir().join("pid");
        let flags =
            ["exec", "--detach", "--pid-file", file.to_str().unwrap(), &c.id, "sleep", "1000"];
        let out = c.detached(flags);
        let inside = PathBuf::from(format!("/proc/{}/root/proc", c.pid().as_raw_pid()));
        is_untouched_procfs(&inside);
        deviates!(["runc", "crun"], "CVE-2025-52881: needs a procfs of the container");
        out.ok();
        let pid = fs::read_to_string(&file).unwrap();
        let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", pid.trim())).unwrap();
        assert_eq!(score, "77\n");
    }
}

/// A cgroup that belongs to uid 1000.
struct CgroupDecoy(PathBuf);

impl CgroupDecoy {
    fn new(id: &str) -> Self {
        let mount = Path::new("/sys/fs/cgroup");
        let hierarchy = match Hierarchy::of_host() {
            Hierarchy::V1 => mount.join("pids"),
            Hierarchy::V2 => mount.to_owned(),
        };
        let dir = hierarchy.join(format!("{id}-decoy"));
        fs::create_dir(&dir).unwrap();
        let decoy = Self(dir);
        for name in ["", "cgroup.procs"] {
            chown(decoy.0.join(name), Some(1000), Some(1000)).unwrap();
        }
        decoy
    }
}

impl Drop for CgroupDecoy {
    fn drop(&mut self) {
        fs::remove_dir(self.0.join("x")).ok();
        fs::remove_dir(&self.0).ok();
    }
}

/// CVE-2023-25809: without root's privileges and without a cgroup namespace, the cgroups of the
/// host's user are not the container's to change.
#[test]
fn cgroups_of_the_user_cannot_be_written_without_a_cgroup_namespace() {
    let script = "find /sys/fs/cgroup -name '*-decoy' -exec mkdir {}/x ';'; \
                  echo ran > /tmp/ran; mkdir /sys/fs/cgroup/x";
    for bind in [false, true] {
        let mut bundle = rootless(Bundle::sh(script)).without_namespace("network");
        if bind {
            let sys = json!({"destination": "/sys", "type": "none", "source": "/sys",
                             "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
            bundle =
                bundle.edit(|c| *c["mounts"].as_array_mut().unwrap().last_mut().unwrap() = sys);
        } else {
            bundle = bundle.namespace("network", None);
        }
        let bundle = bundle.mount(
            "cgroup",
            "cgroup",
            "/sys/fs/cgroup",
            &["nosuid", "noexec", "nodev", "ro"],
        );
        let c = bundle.container();
        let rootless = Rootless::new(&c);
        let decoy = CgroupDecoy::new(&c.id);
        let path = c.bundle.path();
        let out = rootless.call(&["run", "--bundle", path.to_str().unwrap(), &c.id]).run();
        assert!(!decoy.0.join("x").exists(), "{out:?}");
        let made = Path::new("/sys/fs/cgroup/x");
        assert!(!made.exists(), "{out:?}");
        if out.code != 0 && !c.bundle.rootfs("tmp/ran").exists() {
            deviates!(["runc", "crun"], "R319: wants a cgroup");
            panic!("did not run: {out:?}");
        }
    }
}

/// CVE-2025-24965: what the runtime itself puts into the root, such as the directory of the notify
/// socket, is not put behind a link that leads out.
#[test]
fn the_notify_socket_is_not_put_behind_a_link() {
    for absolute in [true, false] {
        for name in ["run", "notify", "var"] {
            let bundle = Bundle::sh("true");
            let decoy = Decoy::new(&bundle);
            let target = if absolute { decoy.dir.clone() } else { "../../decoy".into() };
            symlink(target, bundle.rootfs(name)).unwrap();
            let socket = bundle.dir().join("notify.sock");
            let _socket = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
            let c = bundle.container();
            deviates!(["runc", "crun"], "R342: waits for READY=1, or shows the host's path");
            let path = c.bundle.path();
            c.call(["run", "--bundle", path.to_str().unwrap(), &c.id])
                .env("NOTIFY_SOCKET", socket.to_str().unwrap())
                .run();
            decoy.is_untouched();
        }
    }
}

/// CVE-2021-30465, CVE-2024-45310: each part of a destination becomes a link, at each moment.
#[test]
fn each_part_of_a_destination_may_become_a_link_at_each_call() {
    let calls = [
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_move_mount,
        libc::SYS_openat2,
        libc::SYS_open_tree,
        libc::SYS_symlinkat,
    ];
    let mut at = 0;
    let mut parts = ["a", "a/b", "a/b/c"].iter().cycle();
    // As many runs as there are calls: one more each time, until there is none at that place.
    loop {
        let bundle = Bundle::sh("ls /a/b/c/decoy; ls /");
        let decoy = Decoy::new(&bundle);
        fs::create_dir_all(bundle.rootfs("a/b")).unwrap();
        let (part, link) = (bundle.rootfs(parts.next().unwrap()), bundle.dir().join("link"));
        symlink(&decoy.dir, &link).unwrap();
        let c = bundle
            .mount("tmpfs", "tmpfs", "/a/b/c", &[])
            .mount("tmpfs", "tmpfs", "/a/b/d/e/f", &[])
            .file("data", "data")
            .container();
        let path = c.bundle.path();
        let (mut seen, (moved, from)) = (0, (part.clone(), link));
        let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let tell = done.clone();
        let swap = move |step: crate::harness::Step| {
            if !calls.contains(&i64::from(step.call)) {
                return;
            }
            if seen == at {
                if fs::rename(&moved, moved.with_extension("old")).is_ok() {
                    fs::rename(&from, &moved).unwrap();
                }
                tell.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            seen += 1;
        };
        let call = c.call(["run", "--bundle", path.to_str().unwrap(), &c.id]);
        let (running, steps) = call.stepwise(swap);
        let out = running.wait();
        steps.end();
        deviates!("runc", "CVE-2024-45310: not fixed in this one");
        decoy.is_untouched();
        assert!(!out.stdout.contains("decoy"), "{at}, {}: {out:?}", part.display());
        if !done.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        // In a slow machine, or with many calls, not all of them.
        at += 1 + at / 8;
    }
    assert!(at > 3, "the runtime was never held");
}
