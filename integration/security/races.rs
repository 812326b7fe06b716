//! Races as they are: a thread exchanges two names of the image as fast as the kernel can,
//! while containers are made of it. Whoever wins, nothing of the host is reached, and a
//! container that runs has the tree that was asked for. Each test runs for two seconds; how
//! often which side won is told with `--nocapture`.

use super::tree::Decoy;
use crate::harness::{
    Bundle, Call, Container, Output, Terminal, deviates, exits, json, read_all, runtime,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LENGTH: Duration = Duration::from_secs(2);

/// Exchanges pairs of names until it is dropped.
struct Swapper {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn new(pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (end, counter) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    // It may fail while a runtime has just made or removed something.
                    if renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok() {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self { stop, count, thread: Some(thread) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What stands against a name of the image.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Against {
    /// A link to the decoy, absolute.
    Link,
    /// A link to the decoy, relative.
    Up,
    /// Another directory.
    Directory,
}

/// Puts the other one beside each of `names`, as NAME.x.
fn pairs(
    bundle: &Bundle,
    decoy: &Decoy,
    names: &[&str],
    against: Against,
) -> Vec<(PathBuf, PathBuf)> {
    let one = |name: &&str| {
        let path = bundle.rootfs(name);
        let other = bundle.rootfs(&format!("{name}.x"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.exists() {
            fs::create_dir(&path).unwrap();
        }
        match against {
            Against::Link => symlink(&decoy.dir, &other).unwrap(),
            Against::Up => {
                let up = "../".repeat(name.split('/').count() + 1);
                symlink(Path::new(&up).join("decoy"), &other).unwrap();
            }
            Against::Directory => fs::create_dir(&other).unwrap(),
        }
        (path, other)
    };
    names.iter().map(one).collect()
}

/// What the container says of itself: that each procfs and sysfs has its masks, wherever it is
/// by now. Told by the ids in mountinfo, for the names change on while it looks.
const LOOK: &str = r#"m=; n=0
while [ -z "$m" ] && [ $n -lt 300 ]; do
    n=$((n+1)); m=$(cat /proc/self/mountinfo 2>/dev/null || cat /proc.x/self/mountinfo 2>/dev/null)
done
echo "$m" | awk '
    { for (i = 7; i < NF; i++) if ($i == "-") kind = $(i+1) }
    kind == "proc" && $4 == "/" { proc[$1] = $5 }
    kind == "sysfs" && $4 == "/" { sys[$1] = $5 }
    $4 ~ /\/null$/ { null[$2] = 1 }
    kind == "proc" && $4 == "/sys" && $6 ~ /^ro/ { readonly[$2] = 1 }
    kind == "tmpfs" && $6 ~ /^ro/ { empty[$2] = 1 }
    END {
        for (id in proc) if (!null[id] || !readonly[id]) bad = bad " " proc[id]
        for (id in sys) if (!empty[id]) bad = bad " " sys[id]
        if (bad != "") { print "bad" bad; exit 99 }
    }' || { echo "$m"; exit 99; }
echo ran"#;

fn looking(script: &str) -> Bundle {
    Bundle::sh(&format!("{LOOK}; {script}"))
        .set("/linux/maskedPaths", json!(["/proc/timer_list", "/sys/kernel"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]))
}

#[track_caller]
fn judge(what: &str, out: &Output, decoy: &Decoy) -> bool {
    assert!(!out.stdout.contains("bad") && out.code != 99, "{what}: {out:?}");
    assert!(out.code < 128 && !out.stderr.contains("panicked"), "{what}: {out:?}");
    decoy.is_untouched();
    out.code == 0
}

fn tell(what: &str, swapper: &Swapper, ran: usize, all: usize) {
    let swaps = swapper.count.load(Ordering::Relaxed);
    eprintln!("{what}: {ran} of {all} ran, {swaps} swaps");
    assert!(swaps > 0 && all > 0, "{what}: no race");
}

/// `run`, again and again.
fn race_runs(what: &str, bundle: Bundle, names: &[&str], against: Against, terminal: bool) {
    let decoy = Decoy::new(&bundle);
    let pairs = pairs(&bundle, &decoy, names, against);
    let c = bundle.container();
    let swapper = Swapper::new(pairs);
    let (begin, mut ran, mut all) = (Instant::now(), 0, 0);
    while begin.elapsed() < LENGTH {
        let out = if terminal { in_terminal(&c) } else { c.run() };
        all += 1;
        ran += usize::from(judge(what, &out, &decoy));
        clean(&c);
    }
    tell(what, &swapper, ran, all);
}

fn in_terminal(c: &Container) -> Output {
    let terminal = Terminal::new(24, 80);
    let path = c.bundle.path();
    let root = c.root();
    let args = ["--root", root.to_str().unwrap(), "run", "-b", path.to_str().unwrap(), &c.id];
    let running = terminal.call(&runtime().path, &args).spawn();
    // While names change, a shell may say some 30 kB of what it cannot open; the runtime waits
    // until somebody takes that out of the terminal.
    std::thread::scope(|scope| {
        let text = scope.spawn(|| read_all(&terminal.master));
        let mut out = running.wait();
        out.stdout = text.join().unwrap();
        out.stderr.clone_from(&out.stdout);
        out
    })
}

/// Takes away what a failed container may have left in its rootfs.
fn clean(c: &Container) {
    for name in ["made", "made.x"] {
        fs::remove_dir_all(c.bundle.rootfs(name)).ok();
    }
}

fn all_ways(what: &str, bundle: impl Fn() -> Bundle, names: &[&str]) {
    for against in [Against::Link, Against::Up, Against::Directory] {
        race_runs(&format!("{what}, {against:?}"), bundle(), names, against, false);
    }
}

/// A7, CVE-2019-19921, CVE-2023-27561: a procfs without masks at another place.
#[test]
fn race_for_proc() {
    deviates!(["runc", "crun"], "A7: not looked for in these");
    all_ways("proc", || looking("true"), &["proc"]);
}

#[test]
fn race_for_sys() {
    deviates!(["runc", "crun"], "A7: not looked for in these");
    all_ways("sys", || looking("true"), &["sys"]);
}

/// CVE-2025-31133, CVE-2026-41579: /dev, with the devices, devpts and null in it.
#[test]
fn race_for_dev() {
    deviates!(["runc", "crun"], "A7: not looked for in these");
    all_ways("dev", || looking("true"), &["dev"]);
}

/// The same where /dev is a directory of the image.
#[test]
fn race_for_a_dev_of_the_image() {
    deviates!(["runc", "crun"], "CVE-2026-41579: not fixed in these");
    let bundle = || {
        looking("true").edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        })
    };
    all_ways("dev of the image", bundle, &["dev"]);
}

/// CVE-2021-30465: more than one component, and mounts of several kinds.
#[test]
fn race_for_mount_points_of_several_components() {
    deviates!(["runc", "crun"], "CVE-2021-30465: what of it is not fixed");
    let bundle = || {
        let bundle = looking("true");
        let volume = bundle.dir().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("file"), "of the volume").unwrap();
        bundle
            .mount("tmpfs", "t", "/a/b/c", &[])
            .bind(&volume, "/a/b/d", &["rbind"])
            .mount("tmpfs", "t", "/a/b/e", &["silent"])
            .bind(&volume.join("file"), "/a/f", &["bind"])
    };
    all_ways("components", bundle, &["a/b", "a"]);
    all_ways("last component", bundle, &["a/b/c", "a/b/d"]);
}

/// CVE-2024-45310: directories and files are made where there are none.
#[test]
fn race_for_mount_points_that_are_made() {
    deviates!(["runc", "crun"], "CVE-2024-45310: what of it is not fixed");
    let bundle = || looking("true").mount("tmpfs", "t", "/a/b/made/x/y", &[]);
    all_ways("made", bundle, &["a/b", "a"]);
}

#[test]
fn race_for_devices_outside_of_dev() {
    deviates!(["runc", "crun"], "CVE-2026-41579: not fixed in these");
    let device = json!({"path": "/a/b/null", "type": "c", "major": 1, "minor": 3,
        "fileMode": 0o666, "uid": 7, "gid": 7});
    let bundle = || looking("true").set("/linux/devices/-", device.clone());
    all_ways("devices", bundle, &["a/b", "a"]);
}

#[test]
fn race_for_masked_and_readonly_paths() {
    deviates!(["runc", "crun"], "what of it is not fixed");
    let bundle = || {
        looking("true")
            .set("/linux/maskedPaths/-", json!("/a/b/masked"))
            .set("/linux/readonlyPaths/-", json!("/a/b/readonly"))
            .file("a/b/masked", "secret")
            .file("a/b/readonly", "text")
    };
    all_ways("masks", bundle, &["a/b", "a"]);
}

/// CVE-2024-21626: what is made in the working directory must not be made in the decoy.
#[test]
fn race_for_the_working_directory() {
    deviates!(["runc", "crun"], "what of it is not fixed");
    let bundle = || looking(": > here; true").set("/process/cwd", json!("/a/b/c"));
    all_ways("cwd", bundle, &["a/b", "a"]);
}

/// CVE-2025-52565
#[test]
fn race_for_the_console() {
    deviates!(["runc", "crun"], "CVE-2025-52565: not fixed in these");
    for against in [Against::Link, Against::Directory] {
        let bundle = looking("true").set("/process/terminal", json!(true));
        race_runs("console", bundle, &["dev"], against, true);
        let bundle = looking("true").set("/process/terminal", json!(true)).edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            mounts.retain(|m| m["destination"] != "/dev" && m["destination"] != "/dev/shm");
        });
        race_runs("console in the image", bundle, &["dev"], against, true);
    }
}

/// What is copied is of the image: files of the decoy are not, and no device is read.
#[test]
fn race_for_what_tmpcopyup_copies() {
    deviates!(["runc", "crun"], "what of it is not fixed");
    for against in [Against::Link, Against::Up, Against::Directory] {
        let script = "if find /src -name decoy | grep -q .; then exit 99; fi";
        let mut bundle = looking(script).mount("tmpfs", "t", "/src", &["tmpcopyup", "size=1m"]);
        for n in 0..40 {
            bundle = bundle.file(&format!("src/a/b/file{n}"), "text");
        }
        // The same race for single files: with a device that never ends, and with a fifo.
        let zero = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 5));
        for (n, (kind, device)) in [zero, (rustix::fs::FileType::Fifo, 0)].into_iter().enumerate() {
            let path = bundle.rootfs(&format!("src/a/b/file{n}.x"));
            rustix::fs::mknodat(CWD, path, kind, 0o666.into(), device).unwrap();
        }
        let decoy = Decoy::new(&bundle);
        let mut pairs = pairs(&bundle, &decoy, &["src/a/b", "src/a"], against);
        for n in 0..2 {
            let one = bundle.rootfs(&format!("src/a/b/file{n}"));
            pairs.push((one, bundle.rootfs(&format!("src/a/b/file{n}.x"))));
        }
        let c = bundle.container();
        let swapper = Swapper::new(pairs);
        let (begin, mut ran, mut all) = (Instant::now(), 0, 0);
        while begin.elapsed() < LENGTH {
            all += 1;
            ran += usize::from(judge("tmpcopyup", &c.run(), &decoy));
        }
        tell(&format!("tmpcopyup, {against:?}"), &swapper, ran, all);
    }
}

/// All at once, by `create` and `start`, as an engine does it.
#[test]
fn race_for_everything_with_create_and_start() {
    deviates!(["runc", "crun"], "A7: not looked for in these");
    for against in [Against::Link, Against::Directory] {
        let bundle = looking(": > here; true")
            .mount("tmpfs", "t", "/a/b/c", &[])
            .set("/process/cwd", json!("/a/b/c"))
            .set("/linux/maskedPaths/-", json!("/a/d"));
        let decoy = Decoy::new(&bundle);
        let pairs = pairs(&bundle, &decoy, &["proc", "sys", "dev", "a/b", "a"], against);
        let c = bundle.container();
        let swapper = Swapper::new(pairs);
        let (begin, mut ran, mut all) = (Instant::now(), 0, 0);
        while begin.elapsed() < LENGTH {
            all += 1;
            if c.create().code == 0 {
                let pid = c.pid();
                assert!(c.start().code != 0 || exits(pid), "the container does not end");
                c.call(["delete", "--force", &c.id]).run().ok();
            }
            let stdout = c.stdout();
            assert!(!stdout.contains("bad"), "{stdout}");
            decoy.is_untouched();
            ran = stdout.matches("ran").count();
        }
        tell(&format!("create, {against:?}"), &swapper, ran, all);
    }
}

/// `exec` into a container whose files are exchanged: working directory, passwd, program.
#[test]
fn race_for_exec() {
    deviates!(["runc", "crun"], "what of it is not fixed");
    let c = Bundle::sleeper().file("etc/passwd", "root:x:0:0::/right:/bin/sh\n").container();
    let decoy = Decoy::new(&c.bundle);
    let mut pairs = pairs(&c.bundle, &decoy, &["a/b", "a"], Against::Link);
    symlink("/proc/self/environ", c.bundle.rootfs("etc/passwd.x")).unwrap();
    pairs.push((c.bundle.rootfs("etc/passwd"), c.bundle.rootfs("etc/passwd.x")));
    let c = c.up();
    let swapper = Swapper::new(pairs);
    let (begin, mut ran, mut all) = (Instant::now(), 0, 0);
    while begin.elapsed() < LENGTH {
        let out = exec(&c);
        all += 1;
        assert!(!out.stdout.contains("leaked"), "{out:?}");
        ran += usize::from(out.code == 0);
        decoy.is_untouched();
    }
    tell("exec", &swapper, ran, all);
}

/// With a variable that would be an entry of passwd, if the caller's environment were read.
fn exec(c: &Container) -> Output {
    let leak = "\nroot:x:0:0::/leaked:/bin/sh\n";
    let script = ": > here; echo $HOME";
    let call: Call = c.call(["exec", "--cwd", "/a/b/c", &c.id, "sh", "-c", script]);
    call.env("DECOY", leak).run()
}
