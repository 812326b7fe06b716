//! A container cannot make itself unkillable or undeletable, whatever it does to
//! its cgroups and processes: more of them than we have descriptors, deeper than
//! a path is long, with names that are no text, frozen, stopped, traced.

use crate::harness::{
    Bundle, Call, Container, Hierarchy, Output, Running, Value, by_systemd, deviates, exits,
    is_pinnace, json, needs, runtime, until,
};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// With so few descriptors as a caller may have.
fn few<const N: usize>(c: &Container, descriptors: u32, args: [&str; N]) -> Call {
    Call::new("/bin/sh")
        .args(["-c", "ulimit -n $0 && exec \"$@\"", &descriptors.to_string()])
        .args([&runtime().path])
        .args(c.global())
        .args(args)
}

/// Without `cgroup.kill`, as before Linux 5.14: strace lets no call open it. With
/// few descriptors as well.
fn without_kill<const N: usize>(c: &Container, args: [&str; N]) -> Call {
    Call::new("/usr/bin/strace")
        .args(["-qq", "-o", "/dev/null", "-P", "cgroup.kill"])
        .args(["-e", "trace=openat", "-e", "inject=openat:error=ENOENT"])
        .args(["/bin/sh", "-c", "ulimit -n 32 && exec \"$@\"", "sh"])
        .args([&runtime().path])
        .args(c.global())
        .args(args)
}

fn v2() -> bool {
    Hierarchy::of_host() == Hierarchy::V2
}

fn has_strace() -> bool {
    Path::new("/usr/bin/strace").exists()
}

/// A container in the host's pid namespace, where the end of init is not that of
/// the others.
fn shared(script: &str) -> Bundle {
    Bundle::sh(script).without_namespace("pid")
}

/// `count` processes beside init.
fn crowd(count: usize) -> Container {
    let script = format!(
        "n=0; while [ $n -lt {count} ]; do sleep 1000 & n=$((n+1)); done; echo > /ready; wait"
    );
    shared(&script).container().up_and_ready()
}

fn pids(out: &Output) -> Vec<i32> {
    serde_json::from_str(out.ok()).unwrap()
}

fn ps(c: &Container) -> Vec<i32> {
    pids(&c.call(["ps", "--format", "json", &c.id]).run())
}

#[track_caller]
fn all_end(pids: &[i32]) {
    for pid in pids {
        assert!(exits(Pid::from_raw(*pid).unwrap()), "{pid} stays");
    }
}

/// Where processes are listed and frozen.
fn cgroup(c: &Container) -> PathBuf {
    c.cgroup("freezer")
}

fn freeze(dir: &Path) {
    let (file, text) = if v2() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    fs::write(dir.join(file), text).unwrap();
}

/// Moves a process; what is read of the files is the host's view.
fn enter(dir: &Path, pid: i32) {
    fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
}

/// A6
#[test]
fn more_processes_than_descriptors_are_signalled_listed_and_paused() {
    deviates!("crun", "ps is not there");
    let c = crowd(1500);
    for descriptors in [16, 32, 1024] {
        let listed = pids(&few(&c, descriptors, ["ps", "--format", "json", &c.id]).run());
        assert_eq!(listed.len(), 1501, "{descriptors}");
        few(&c, descriptors, ["pause", &c.id]).run().ok();
        few(&c, descriptors, ["resume", &c.id]).run().ok();
        few(&c, descriptors, ["kill", "--all", &c.id, "CONT"]).run().ok();
    }
    let before = ps(&c);
    few(&c, 16, ["kill", "--all", &c.id, "TERM"]).run().ok();
    all_end(&before);
}

/// A6
#[test]
fn more_processes_than_descriptors_are_deleted() {
    for descriptors in [16, 1024] {
        let c = crowd(1500);
        let before = ps(&c);
        few(&c, descriptors, ["delete", "--force", &c.id]).run().ok();
        all_end(&before);
    }
}

/// A6, before Linux 5.14
#[test]
fn more_processes_than_descriptors_are_killed_without_cgroup_kill() {
    needs!(v2() && has_strace(), "cgroup v2 and strace");
    let c = crowd(1500);
    let before = ps(&c);
    without_kill(&c, ["kill", "--all", &c.id, "KILL"]).run().ok();
    all_end(&before);
}

/// Who forks all the time is killed, too: as a user who may have some hundred
/// processes, in the host's pid namespace, where nothing else ends them.
fn fork_bomb(uid: u32) -> Container {
    let script = "bomb() { while :; do (:) & (:) & wait; done; }; n=0; \
                  while [ $n -lt 60 ]; do bomb & n=$((n+1)); done; echo > /ready; bomb";
    let bundle = shared(script);
    fs::set_permissions(bundle.rootfs("ready"), fs::Permissions::from_mode(0o666)).unwrap();
    bundle
        .set("/process/user/uid", json!(uid))
        .set("/process/rlimits/-", json!({"type": "RLIMIT_NPROC", "hard": 400, "soft": 400}))
        .container()
        .up_and_ready()
}

#[test]
fn a_fork_bomb_ends() {
    for (uid, forced) in [(54_001, true), (54_002, false)] {
        let c = fork_bomb(uid);
        let own = cgroup(&c);
        let start = Instant::now();
        match forced {
            true => few(&c, 64, ["delete", "--force", &c.id]).run().ok(),
            false => few(&c, 64, ["kill", "--all", &c.id, "KILL"]).run().ok(),
        };
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        if !forced {
            // The call has returned, so nobody is left to fork.
            let left = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
            all_end(&left.lines().map(|line| line.parse().unwrap()).collect::<Vec<_>>());
            let more = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
            assert_eq!(more, "");
        }
    }
}

/// Before Linux 5.14
#[test]
fn a_fork_bomb_ends_without_cgroup_kill() {
    needs!(v2() && has_strace(), "cgroup v2 and strace");
    let c = fork_bomb(54_003);
    without_kill(&c, ["delete", "--force", &c.id]).run().ok();
}

/// With the right to its cgroups a container makes them while we look, deeper and
/// deeper, and its processes move from one to another. Each moves itself only (0): in
/// the host's pid namespace the number of a parent may be another's by then.
#[test]
fn a_container_that_makes_cgroups_and_moves_meanwhile_is_deleted() {
    let script = "cd /sys/fs/cgroup; [ ! -d freezer ] || cd freezer; mkdir a b; \
                  hop() { while :; do echo 0 > a/cgroup.procs; echo 0 > b/cgroup.procs; done; }; \
                  deep() { while mkdir x; do cd x; done; }; \
                  hop & hop & (deep) & echo > /ready; n=0; \
                  while :; do mkdir flat$n; n=$((n+1)); done";
    let c = shared(script)
        .namespace("cgroup", None)
        .edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/sys");
        })
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rw", "nosuid", "nodev", "noexec"])
        .container()
        .up_and_ready();
    ps(&c);
    let start = Instant::now();
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Names that are no text, or text that could be mistaken for something else.
const NAMES: [&[u8]; 7] =
    [b"\xff\xfe", b"a b", b"tab\t\x1b[31m", b"gone (deleted)", b"0::a", b"-rf", b"\xc3"];

/// A cgroup of which nothing stays below, whatever the runtime left there.
struct Below(PathBuf);

impl Below {
    /// Deepest last.
    fn each(dir: &Path, what: &mut impl FnMut(&Path)) {
        what(dir);
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                Self::each(&entry.path(), what);
            }
        }
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        let mut killed = Vec::new();
        let mut dirs = Vec::new();
        Self::each(&self.0, &mut |dir| {
            for (file, text) in [("cgroup.freeze", "0"), ("freezer.state", "THAWED")] {
                let file = dir.join(file);
                drop(file.exists().then(|| fs::write(file, text)));
            }
            let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            killed.extend(pids.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
            dirs.push(dir.to_owned());
        });
        for pid in &killed {
            kill_process(*pid, Signal::KILL).ok();
        }
        killed.into_iter().for_each(|pid| assert!(exits(pid), "it stays"));
        dirs.iter().skip(1).rev().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}

/// B3
#[test]
fn cgroups_may_have_any_name() {
    deviates!("crun", "ps is not there");
    let c = crowd(NAMES.len());
    let own = cgroup(&c);
    let _below = Below(own.clone());
    let mut members = ps(&c);
    members.retain(|pid| *pid != c.pid().as_raw_pid());
    for (name, pid) in NAMES.iter().zip(&members) {
        let dir = own.join(OsStr::from_bytes(name));
        fs::create_dir(&dir).unwrap();
        enter(&dir, *pid);
        fs::create_dir(dir.join(OsStr::from_bytes(b"\x80"))).unwrap();
        freeze(&dir);
    }
    let listed = ps(&c);
    assert!(members.iter().all(|pid| listed.contains(pid)), "{members:?} {listed:?}");
    c.call(["pause", &c.id]).run().ok();
    c.call(["resume", &c.id]).run().ok();
    c.call(["kill", "--all", &c.id, "KILL"]).run().ok();
    all_end(&listed);
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(!own.exists());
}

/// B3: exec goes to where init is, if the container has its own cgroups below.
#[test]
fn exec_follows_init_into_a_cgroup_of_any_name() {
    needs!(v2(), "cgroup v2");
    let c = Bundle::sleeper().container().up();
    let own = cgroup(&c);
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap();
    let one = controllers.split_whitespace().next_back();
    needs!(one.is_some(), "a controller");
    let _below = Below(own.clone());
    let below = own.join(OsStr::from_bytes(b"\xff \x1b[31m"));
    fs::create_dir(&below).unwrap();
    enter(&below, c.pid().as_raw_pid());
    fs::write(own.join("cgroup.subtree_control"), format!("+{}", one.unwrap())).unwrap();
    c.exec(["true"]).ok();
}

/// Numbers of the container's cgroup are found by the names of its files, not by
/// those of the cgroups that it has made there.
#[test]
fn names_of_cgroups_do_not_come_into_the_output_of_events() {
    needs!(Hierarchy::of_host().has("hugetlb") || v2(), "hugetlb");
    let c = Bundle::sleeper().container().up();
    let own = c.cgroup("hugetlb");
    for last in ["current", "usage_in_bytes"] {
        fs::create_dir(own.join(format!("hugetlb.x\":{{}},\"forged.{last}"))).unwrap();
        fs::create_dir(own.join(format!("hugetlb.9MB.{last}"))).unwrap();
    }
    let out = c.call(["events", "--stats", &c.id]).run();
    let all: Value = serde_json::from_str(out.ok()).unwrap();
    let sizes = all["data"]["hugetlb"].as_object().unwrap();
    assert!(sizes.keys().all(|size| size != "9MB" && size.ends_with('B')), "{sizes:?}");
}

/// Cgroups one below the other, removed at the end whatever the runtime did.
struct Chain {
    top: OwnedFd,
    name: &'static CStr,
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Chain {
    /// As deep as that in `dir`; with the deepest directory.
    fn new(dir: &Path, name: &'static CStr, depth: usize) -> (Self, OwnedFd) {
        let top = openat(CWD, dir, DIRECTORY, Mode::empty()).unwrap();
        let chain = Self { top: top.try_clone().unwrap(), name };
        let mut here = top;
        for _ in 0..depth {
            mkdirat(&here, name, Mode::from_raw_mode(0o755)).unwrap();
            here = openat(&here, name, DIRECTORY, Mode::empty()).unwrap();
        }
        (chain, here)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let mut here = self.top.try_clone().unwrap();
        let mut depth = 0;
        while let Ok(below) = openat(&here, self.name, DIRECTORY, Mode::empty()) {
            (here, depth) = (below, depth + 1);
        }
        let procs = openat(&here, "cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let text = procs.and_then(|fd| {
            let mut text = [0; 64];
            rustix::io::read(&fd, &mut text)
                .map(|n| String::from_utf8_lossy(&text[..n]).into_owned())
        });
        for pid in text.unwrap_or_default().lines().filter_map(|line| line.parse().ok()) {
            let pid = Pid::from_raw(pid).unwrap();
            kill_process(pid, Signal::KILL).ok();
            exits(pid);
        }
        for _ in 0..depth {
            here = openat(&here, "..", DIRECTORY, Mode::empty()).unwrap();
            unlinkat(&here, self.name, AtFlags::REMOVEDIR).ok();
        }
    }
}

fn deep(depth: usize, seconds: u64) {
    let c = crowd(1);
    let member = *ps(&c).iter().find(|pid| **pid != c.pid().as_raw_pid()).unwrap();
    let start = Instant::now();
    let (chain, deepest) = Chain::new(&cgroup(&c), c"d", depth);
    let made = start.elapsed();
    let procs = openat(&deepest, "cgroup.procs", OFlags::WRONLY, Mode::empty()).unwrap();
    File::from(procs).write_all(member.to_string().as_bytes()).unwrap();
    let mut times = Vec::new();
    let mut timed = |name: &'static str, call: Call| {
        let start = Instant::now();
        let out = call.run();
        times.push((name, start.elapsed()));
        out
    };
    let listed = pids(&timed("ps", few(&c, 32, ["ps", "--format", "json", &c.id])));
    assert!(listed.contains(&member));
    timed("pause", few(&c, 32, ["pause", &c.id])).ok();
    timed("resume", few(&c, 32, ["resume", &c.id])).ok();
    timed("kill", few(&c, 32, ["kill", "--all", &c.id, "TERM"])).ok();
    all_end(&listed);
    timed("delete", few(&c, 32, ["delete", "--force", &c.id])).ok();
    println!("{depth} deep: made in {made:?}, {times:?}");
    let slow = times.iter().find(|(_, time)| *time > Duration::from_secs(seconds));
    assert!(slow.is_none(), "made in {made:?}, {times:?}");
    drop(chain);
}

/// B4: more levels than descriptors, and deeper than a path can name. It takes the
/// kernel most of the time: what it does to make and remove one grows with its depth.
#[test]
fn cgroups_deeper_than_any_path_are_listed_and_removed() {
    deep(2100, 30);
}

/// B4, and the limit of descriptors of all hierarchies.
#[test]
fn every_hierarchy_is_removed_with_few_descriptors() {
    let c = crowd(20);
    let mut places = Vec::new();
    let of = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    for line in of.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (name, path) = (fields.next().unwrap(), fields.next().unwrap());
        let hierarchy = match name {
            "" if v2() => "",
            "" => "unified",
            name => name.trim_start_matches("name="),
        };
        let dir = Path::new("/sys/fs/cgroup").join(hierarchy).join(path.trim_start_matches('/'));
        if dir.to_str().unwrap().contains(&c.id) && dir.exists() {
            places.push(Chain::new(&dir, c"e", 30).0);
        }
    }
    assert!(!places.is_empty());
    few(&c, 16, ["delete", "--force", &c.id]).run().ok();
}

/// On v1 nothing frozen can die, init of a pid namespace only after all of it.
#[test]
fn what_is_frozen_below_dies() {
    for by in ["kill KILL", "kill --all KILL", "delete"] {
        let c = Bundle::sh("sleep 1000 & echo > /ready; wait").container().up_and_ready();
        let own = cgroup(&c);
        let _below = Below(own.clone());
        let (dir, below) = (own.join("a"), own.join("a/b"));
        fs::create_dir_all(&below).unwrap();
        let listed = ps(&c);
        let init = c.pid().as_raw_pid();
        enter(&dir, init);
        enter(&below, *listed.iter().find(|pid| **pid != init).unwrap());
        freeze(&below);
        freeze(&dir);
        match by {
            "kill KILL" => c.kill("KILL").ok().to_owned(),
            "kill --all KILL" => c.call(["kill", "--all", &c.id, "KILL"]).run().ok().to_owned(),
            _ => c.call(["delete", "--force", &c.id]).run().ok().to_owned(),
        };
        all_end(&listed);
    }
}

#[test]
fn what_is_stopped_or_paused_dies() {
    for paused in [false, true] {
        let c = crowd(5);
        let listed = ps(&c);
        c.call(["kill", "--all", &c.id, "STOP"]).run().ok();
        if paused {
            c.call(["pause", &c.id]).run().ok();
        }
        c.call(["delete", "--force", &c.id]).run().ok();
        all_end(&listed);
    }
}

/// A tracer keeps its tracee as a zombie, also past the end of its parent.
#[test]
fn a_zombie_that_its_tracer_keeps_is_in_nobodys_way() {
    for of_init in [false, true] {
        let c = crowd(1);
        let init = c.pid().as_raw_pid();
        let own = cgroup(&c);
        let tracee = *ps(&c).iter().find(|pid| (**pid == init) == of_init).unwrap();
        let traced = Traced::new(tracee);
        c.call(["delete", "--force", &c.id]).run().ok();
        let stat = fs::read_to_string(format!("/proc/{tracee}/stat")).unwrap();
        assert!(stat.contains(") Z "), "{stat}");
        assert!(!own.exists());
        drop(traced);
    }
}

/// A stopped tracee of this thread.
struct Traced(i32);

impl Traced {
    #[expect(unsafe_code, reason = "rustix has no ptrace(2)")]
    fn new(pid: i32) -> Self {
        // SAFETY: takes integers only.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) };
        assert_eq!(seized, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: as above.
        let stopped = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) };
        assert_eq!(stopped, 0, "{}", std::io::Error::last_os_error());
        let traced = Self(pid);
        traced.wait();
        traced
    }

    #[expect(unsafe_code, reason = "rustix has no __WALL")]
    fn wait(&self) {
        // SAFETY: the status is not wanted.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL) };
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        kill_process(Pid::from_raw(self.0).unwrap(), Signal::KILL).ok();
        self.wait();
    }
}

/// A threaded cgroup does not list its processes, its domain does.
#[test]
fn processes_of_threaded_cgroups_are_listed_and_killed() {
    needs!(v2(), "cgroup v2");
    let c = crowd(3);
    let own = cgroup(&c);
    let dir = own.join("threads");
    fs::create_dir_all(dir.join("below")).unwrap();
    let made = fs::write(dir.join("cgroup.type"), "threaded");
    needs!(made.is_ok(), "threaded cgroups, which need a domain without controllers");
    fs::write(dir.join("below/cgroup.type"), "threaded").unwrap();
    let listed = ps(&c);
    for pid in &listed {
        enter(&dir.join("below"), *pid);
    }
    assert_eq!(ps(&c), listed);
    match has_strace() {
        true => without_kill(&c, ["kill", "--all", &c.id, "KILL"]).run().ok().to_owned(),
        false => c.call(["kill", "--all", &c.id, "TERM"]).run().ok().to_owned(),
    };
    all_end(&listed);
}

/// What the kernel keeps alive: a process in a call to a file system whose server
/// does not answer (FUSE) can neither die nor freeze, until the server goes.
struct Stuck {
    server: OwnedFd,
    process: Running,
}

impl Stuck {
    /// A process in a mount namespace of its own.
    fn new(dir: &Path) -> Self {
        let server = openat(CWD, "/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let server = server.unwrap();
        let mount = "mount -i -t fuse -o fd=0,rootmode=40000,user_id=0,group_id=0 fuse \"$0\" \
                     && exec stat \"$0/file\" </dev/null";
        let process = Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", mount])
            .args([dir])
            .stdin_from(File::from(server.try_clone().unwrap()))
            .spawn();
        let mut request = vec![0; 1 << 17];
        let end = Instant::now() + Duration::from_secs(20);
        // FUSE_INIT (26) is answered with the least that will do, version 7.31.
        loop {
            match rustix::io::read(&server, &mut request) {
                // Not mounted yet.
                Err(Errno::PERM) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                read => read.unwrap(),
            };
            if request[4..8] != 26_u32.to_ne_bytes() {
                return Self { server, process };
            }
            let mut answer = [0; 16 + 64];
            answer[0..4].copy_from_slice(&80_u32.to_ne_bytes());
            answer[8..16].copy_from_slice(&request[8..16]);
            answer[16..20].copy_from_slice(&7_u32.to_ne_bytes());
            answer[20..24].copy_from_slice(&31_u32.to_ne_bytes());
            answer[36..40].copy_from_slice(&4096_u32.to_ne_bytes());
            rustix::io::write(&server, &answer).unwrap();
        }
    }
}

/// Every wait has an end, and SIGTERM is one at once.
#[test]
fn who_cannot_die_or_freeze_keeps_nobody_waiting() {
    needs!(Path::new("/dev/fuse").exists(), "FUSE");
    let c = crowd(1);
    let own = cgroup(&c);
    let dir = c.bundle.dir().join("stuck");
    fs::create_dir(&dir).unwrap();
    let stuck = Stuck::new(&dir);
    let pid = stuck.process.pid();
    enter(&own, pid.as_raw_pid());
    let pausing = c.call(["pause", &c.id]).spawn();
    until_frozen(&own);
    terminated(pausing);
    c.call(["resume", &c.id]).run().ok();
    let start = Instant::now();
    c.call(["pause", &c.id]).run().fails_with(&["timed out"]);
    // Half frozen is worse than running.
    assert_eq!(c.status(), "running");
    let init = c.pid();
    let deleting = c.call(["delete", "--force", &c.id]).spawn();
    assert!(exits(init), "init stays");
    terminated(deleting);
    let out = c.call(["delete", "--force", &c.id]).run();
    out.fails_with(&[&pid.to_string()]);
    // systemd is given 30 s more for its part.
    let limit = if by_systemd() { 70 } else { 40 };
    assert!(start.elapsed() < Duration::from_secs(limit), "{:?}", start.elapsed());
    // The server goes.
    drop(stuck.server);
    drop(stuck.process);
    c.call(["delete", "--force", &c.id]).run().ok();
}

fn until_frozen(dir: &Path) {
    let file = dir.join(if v2() { "cgroup.freeze" } else { "freezer.self_freezing" });
    until("it is told to freeze", || fs::read_to_string(&file).unwrap().trim() == "1");
}

/// SIGTERM ends it at once.
#[track_caller]
fn terminated(command: Running) {
    let start = Instant::now();
    kill_process(command.pid(), Signal::TERM).unwrap();
    let out = command.wait();
    assert_eq!(out.code, 128 + Signal::TERM.as_raw(), "{out:?}");
    // Before the end of whatever it waits for, on a busy machine.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

/// The lock of a container, held by somebody who does not give it back.
#[test]
fn a_lock_that_is_held_keeps_nobody_for_long() {
    needs!(is_pinnace(), "pinnace's lock");
    let c = Bundle::sleeper().container().up();
    let created = Bundle::sleeper().container();
    created.create().ok();
    let dirs = [&c, &created].map(|c| File::open(c.root().join(&c.id)).unwrap());
    for dir in &dirs {
        flock(dir, FlockOperation::LockExclusive).unwrap();
    }
    let id = &c.id;
    let waiting = [
        c.call(["delete", id]).spawn(),
        c.call(["update", "--pids-limit", "100", id]).spawn(),
        c.call(["pause", id]).spawn(),
        created.call(["start", &created.id]).spawn(),
    ];
    // A mask outlives execve(2): the limit must not hang on the caller's.
    let patient = Call::new("/usr/bin/env").args(["--block-signal=ALRM"]).args([&runtime().path]);
    let patient = patient.args(c.global()).args(["pause", id]).spawn();
    let start = Instant::now();
    // These want no lock. Who has it may wait for what `resume` thaws.
    c.call(["resume", id]).run().fails_with(&["not paused"]);
    terminated(c.call(["events", id]).spawn());
    c.call(["state", id]).run().ok();
    c.call(["kill", id, "CONT"]).run().ok();
    for command in waiting {
        until_waiting(&command);
        terminated(command);
    }
    // This one kills first.
    let command = created.call(["delete", "--force", &created.id]).spawn();
    until_waiting(&command);
    terminated(command);
    patient.wait().fails_with(&["busy"]);
    // systemd is given 30 s more for its part.
    let limit = if by_systemd() { 70 } else { 40 };
    assert!(start.elapsed() < Duration::from_secs(limit), "{:?}", start.elapsed());
}

/// Until it is in flock(2).
fn until_waiting(command: &Running) {
    let call = format!("/proc/{}/syscall", command.pid());
    let wanted = format!("{} ", libc::SYS_flock);
    until("it waits for the lock", || fs::read_to_string(&call).unwrap().starts_with(&wanted));
}
