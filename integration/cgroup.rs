//! Real cgroups of this machine, whichever version it runs; needs root. Run on
//! v1 and hybrid hosts as well as in a v2 machine: the same file.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use pinnace::cgroup::{Cgroup, SubPath, Write};
use pinnace::plan::Findings;
use pinnace::spec::Resources;
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

fn writes(cgroup: &Cgroup, resources: &Resources) -> Vec<Write> {
    let mut findings = Findings::default();
    let writes = cgroup.writes(resources, &mut findings);
    findings.check(writes).unwrap()
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).expect(json)
}

/// A cgroup of its own that is gone at the end, whatever happens.
struct Place(Cgroup);

impl Place {
    fn new(name: &str) -> Self {
        let path = format!("/pinnace-test-{}-{name}/{name}", std::process::id());
        let mut cgroup = Cgroup::locate(Some(&path), name, false).unwrap();
        cgroup.create().unwrap();
        Self(cgroup)
    }

    fn dirs(&self) -> Vec<PathBuf> {
        self.0.mounts().into_iter().map(|mount| mount.source).collect()
    }

    fn apply(&self, json: &str) {
        self.0.apply(&writes(&self.0, &resources(json))).unwrap();
    }

    fn update(&self, json: &str) -> pinnace::error::Result<()> {
        self.0.apply(&self.0.updates(&resources(json)).unwrap())
    }

    fn read(&self, controller: &str, file: &str) -> String {
        let path = self.0.path_for(controller).unwrap().join(file);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).trim().into()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.kill(Signal::KILL).unwrap();
        self.0.remove().unwrap();
    }
}

/// A shell that runs a script once it is told to, so that it can be moved first.
struct Held(Child);

impl Held {
    fn new(script: &str) -> Self {
        let script = format!("read go; {script}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn go(mut self) -> String {
        self.start();
        String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap()
    }

    fn start(&mut self) {
        drop(self.0.stdin.take());
    }
}

/// What a script prints inside the cgroup.
fn inside(place: &Place, script: &str) -> String {
    let held = Held::new(script);
    place.0.attach(held.pid()).unwrap();
    held.go()
}

fn is_v2(place: &Place) -> bool {
    matches!(place.0, Cgroup::V2(_))
}

#[test]
fn made_entered_and_removed_with_its_parent() {
    if !root() {
        return;
    }
    let place = Place::new("life");
    let dirs = place.dirs();
    assert!(!dirs.is_empty() && dirs.iter().all(|dir| dir.is_dir()), "{dirs:?}");
    let lines = inside(&place, "cat /proc/self/cgroup");
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(lines.lines().count(), own.lines().count());
    assert!(lines.lines().all(|line| line.ends_with("/life")), "{lines}");
    drop(place);
    for dir in dirs {
        assert!(!dir.exists() && !dir.parent().unwrap().exists(), "{dir:?}");
    }
}

#[test]
fn the_record_is_enough_for_later() {
    if !root() {
        return;
    }
    let place = Place::new("record");
    let text = serde_json::to_string(&place.0).unwrap();
    eprintln!("{} bytes: {text}", text.len());
    let later: Cgroup = serde_json::from_str(&text).unwrap();
    assert_eq!(later.mounts(), place.0.mounts());
    later.remove().unwrap();
    assert!(place.dirs().iter().all(|dir| !dir.exists()));
    later.remove().unwrap();
}

#[test]
fn a_cgroup_in_use_is_refused() {
    if !root() {
        return;
    }
    let place = Place::new("busy");
    let path = format!("/pinnace-test-{}-busy/busy", std::process::id());
    let again = || Cgroup::locate(Some(&path), "x", false).unwrap();
    again().create().unwrap(); // empty: fine
    let held = Held::new("true");
    place.0.attach(held.pid()).unwrap();
    let error = again().create().unwrap_err().to_string();
    assert!(error.contains("exists and holds processes"), "{error}");
    assert!(place.dirs().iter().all(|dir| dir.is_dir()));
    held.go();
    place.0.freeze().unwrap();
    let error = again().create().unwrap_err().to_string();
    assert!(error.contains("exists and is frozen"), "{error}");
    place.0.thaw().unwrap();
}

#[test]
fn what_engines_send_by_default() {
    if !root() {
        return;
    }
    let place = Place::new("limits");
    place.apply(
        r#"{"devices":[{"allow":false,"access":"rwm"}],
            "memory":{"limit":67108864,"swap":67108864,"reservation":33554432,"disableOOMKiller":false,
                "kernel":-1,"kernelTCP":-1},
            "cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0","mems":"0"},
            "pids":{"limit":100}}"#,
    );
    assert_eq!(place.read("pids", "pids.max"), "100");
    assert_eq!(place.read("cpuset", "cpuset.cpus"), "0");
    if is_v2(&place) {
        assert_eq!(place.read("cpu", "cpu.weight"), "59");
        assert_eq!(place.read("cpu", "cpu.max"), "50000 100000");
        assert_eq!(place.read("memory", "memory.max"), "67108864");
        assert_eq!(place.read("memory", "memory.swap.max"), "0");
        assert_eq!(place.read("memory", "memory.low"), "33554432");
    } else {
        assert_eq!(place.read("cpu", "cpu.shares"), "512");
        assert_eq!(place.read("cpu", "cpu.cfs_quota_us"), "50000");
        assert_eq!(place.read("memory", "memory.memsw.limit_in_bytes"), "67108864");
        assert_eq!(place.read("memory", "memory.soft_limit_in_bytes"), "33554432");
    }
    // Up and down again, in the order that the kernel needs.
    place.update(r#"{"memory":{"limit":134217728,"swap":134217728}}"#).unwrap();
    place.update(r#"{"memory":{"limit":33554432,"swap":50331648}}"#).unwrap();
    place.update(r#"{"cpu":{"period":50000}}"#).unwrap();
    place.update(r#"{"cpu":{"quota":20000,"burst":10000}}"#).unwrap();
    place.update(r#"{"cpu":{"quota":5000,"burst":5000}}"#).unwrap();
    place.update(r#"{"cpu":{"quota":30000,"burst":30000}}"#).unwrap();
    place.update(r#"{"cpu":{"quota":-1}}"#).unwrap();
    place.update(r#"{"cpu":{"idle":1}}"#).unwrap();
    place.update(r#"{"cpu":{"idle":0,"shares":1024}}"#).unwrap();
    place.update(r#"{"pids":{"limit":-1}}"#).unwrap();
    assert_eq!(place.read("pids", "pids.max"), "max");
    if is_v2(&place) {
        assert_eq!(place.read("cpu", "cpu.max"), "max 50000");
        assert_eq!(place.read("memory", "memory.swap.max"), "16777216");
        let error = place.update(r#"{"unified":{"made.up":"1"}}"#).unwrap_err().to_string();
        assert!(error.contains("controller \"made\" is not available"), "{error}");
        place.update(r#"{"unified":{"memory.high":"33554432","cpu.weight":"7"}}"#).unwrap();
        assert_eq!(place.read("cpu", "cpu.weight"), "7");
    } else {
        assert_eq!(place.read("cpu", "cpu.cfs_period_us"), "50000");
        assert_eq!(place.read("memory", "memory.memsw.limit_in_bytes"), "50331648");
    }
}

#[test]
fn a_limit_below_the_use_is_refused() {
    if !root() {
        return;
    }
    let place = Place::new("below");
    let mut held = Held::new("sleep 1000; true");
    place.apply(r#"{"memory":{"limit":67108864}}"#);
    place.0.attach(held.pid()).unwrap();
    held.start();
    while place.0.pids().unwrap().len() < 2 {
        std::thread::yield_now();
    }
    let error = place.update(r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#).unwrap_err();
    assert!(error.to_string().starts_with("linux.resources.memory.limit: "), "{error}");
    assert!(!place.0.pids().unwrap().is_empty());
    eprintln!("{error}");
}

#[test]
fn no_forks_with_a_limit_of_zero() {
    if !root() {
        return;
    }
    let place = Place::new("pids");
    place.apply(r#"{"pids":{"limit":0}}"#);
    assert_eq!(inside(&place, "(true) && echo forked"), "");
}

#[test]
fn huge_pages_wherever_their_controller_lives() {
    if !root() || !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        return;
    }
    let place = Place::new("huge");
    if place.0.path_for("hugetlb").is_none() {
        return;
    }
    place.apply(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#);
    let dir = place.0.path_for("hugetlb").unwrap();
    let v2 = dir.join("hugetlb.2MB.max").exists();
    let (usage, rsvd) =
        if v2 { ("max", "rsvd.max") } else { ("limit_in_bytes", "rsvd.limit_in_bytes") };
    assert_eq!(place.read("hugetlb", &format!("hugetlb.2MB.{usage}")), "4194304");
    assert_eq!(place.read("hugetlb", &format!("hugetlb.2MB.{rsvd}")), "4194304");
    let error = place.update(r#"{"hugepageLimits":[{"pageSize":"3MB","limit":0}]}"#).unwrap_err();
    assert!(error.to_string().starts_with("linux.resources.hugepageLimits[0]"), "{error}");
}

/// Makes and opens character device 1:11 (kmsg) and 1:3 (null) and prints what went.
const DEVICES: &str = r#"mknod $d/new c 1 11 && printf "made "; rm -f $d/new
    ( exec 3<$d/kmsg ) 2>/dev/null && printf "read "
    ( exec 3>>$d/kmsg ) 2>/dev/null && printf "write "
    echo x >/dev/null && printf "null"; rm -r $d"#;

fn try_devices(place: &Place) -> String {
    let dir = format!("/tmp/pinnace-test-{}", std::process::id());
    let made = Command::new("sh")
        .args(["-c", &format!("mkdir {dir} && mknod {dir}/kmsg c 1 11")])
        .status();
    assert!(made.unwrap().success());
    inside(place, &format!("d={dir}; {DEVICES}"))
}

#[test]
fn devices() {
    if !root() {
        return;
    }
    let place = Place::new("devices");
    place.apply("{}");
    assert_eq!(try_devices(&place), "made null");
    let kmsg = |access: &str| {
        format!(
            r#"{{"devices":[{{"allow":false,"access":"rwm"}},
            {{"allow":true,"type":"c","major":1,"minor":11,"access":"{access}"}}]}}"#
        )
    };
    place.update(&kmsg("r")).unwrap();
    assert_eq!(try_devices(&place), "made read null");
    place.update(&kmsg("rw")).unwrap();
    assert_eq!(try_devices(&place), "made read write null");
    place.update(&kmsg("w")).unwrap();
    assert_eq!(try_devices(&place), "made write null");
    // What is not about devices leaves them alone.
    place.update(r#"{"pids":{"limit":50}}"#).unwrap();
    assert_eq!(try_devices(&place), "made write null");
    // No rule takes a default away.
    place
        .update(
            r#"{"devices":[{"allow":false,"access":"rwm"},
                {"allow":false,"type":"c","major":1,"minor":3,"access":"rw"}]}"#,
        )
        .unwrap();
    assert_eq!(try_devices(&place), "made null");
    place.update(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#).unwrap();
    assert_eq!(try_devices(&place), "made read write null");
    place
        .update(
            r#"{"devices":[{"allow":true},
                {"allow":false,"type":"c","major":1,"minor":11,"access":"rm"}]}"#,
        )
        .unwrap();
    assert_eq!(try_devices(&place), "made write null");
    if let (Cgroup::V2(_), Some(dir)) = (&place.0, place.0.dir().unwrap()) {
        assert_eq!(
            pinnace::sys::bpf::attached(dir).unwrap().len(),
            1,
            "programs replace each other"
        );
    }
}

#[test]
fn frozen_thawed_and_killed_while_frozen() {
    if !root() {
        return;
    }
    let place = Place::new("freeze");
    let mut held = Held::new("while :; do :; done");
    place.0.attach(held.pid()).unwrap();
    held.start();
    assert!(!place.0.is_frozen().unwrap());
    let start = Instant::now();
    place.0.freeze().unwrap();
    eprintln!("freeze {:?}", start.elapsed());
    assert!(place.0.is_frozen().unwrap());
    let used = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let before = used(held.pid());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(before, used(held.pid()), "it ran on");
    place.0.thaw().unwrap();
    assert!(!place.0.is_frozen().unwrap());
    place.0.freeze().unwrap();
    place.0.kill(Signal::KILL).unwrap();
    held.0.wait().unwrap();
}

#[test]
fn a_frozen_cgroup_below_does_not_stop_a_kill() {
    if !root() {
        return;
    }
    let place = Place::new("nested");
    for dir in place.dirs() {
        fs::create_dir(dir.join("below")).unwrap();
    }
    if let Some(dir) = place.0.path_for("cpuset").filter(|_| !is_v2(&place)) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            fs::write(dir.join("below").join(file), fs::read(dir.join(file)).unwrap()).unwrap();
        }
    }
    let mut held = Held::new("exec sleep 1000");
    place.0.attach_below(held.pid(), &[SubPath::parse("below").unwrap()]).unwrap();
    held.start();
    let beside = Held::new("cat /proc/self/cgroup");
    place.0.attach_beside(beside.pid(), held.pid()).unwrap();
    let told = beside.go();
    assert!(told.lines().all(|line| line.ends_with("/nested/below")), "{told}");
    assert_eq!(place.0.pids().unwrap(), [held.pid()]);
    let below = |controller: &str| place.0.path_for(controller).unwrap().join("below");
    match is_v2(&place) {
        true => fs::write(below("").join("cgroup.freeze"), "1").unwrap(),
        false => fs::write(below("freezer").join("freezer.state"), "FROZEN").unwrap(),
    }
    place.0.kill(Signal::KILL).unwrap();
    held.0.wait().unwrap();
    assert!(place.0.attach_below(1, &[SubPath::parse("absent").unwrap()]).is_err());
}

#[test]
fn every_process_gets_the_signal() {
    if !root() {
        return;
    }
    let place = Place::new("kill");
    let mut forks =
        Held::new("for i in 1 2 3 4 5 6 7 8 9; do (trap 'exit 3' TERM; sleep 1000) & done; wait");
    place.0.attach(forks.pid()).unwrap();
    forks.start();
    while place.0.pids().unwrap().len() < 19 {
        std::thread::yield_now();
    }
    place.0.kill(Signal::TERM).unwrap();
    forks.0.wait().unwrap();
    let mut bomb = Held::new("f() { f | f; }; f");
    place.apply(r#"{"pids":{"limit":200}}"#);
    place.0.attach(bomb.pid()).unwrap();
    bomb.start();
    while place.0.pids().unwrap().len() < 100 {
        std::thread::yield_now();
    }
    let start = Instant::now();
    place.0.kill(Signal::KILL).unwrap();
    bomb.0.wait().unwrap();
    place.0.remove().unwrap();
    eprintln!("a fork bomb: killed and removed in {:?}", start.elapsed());
}

#[test]
fn remove_waits_for_the_end_of_an_exit() {
    if !root() {
        return;
    }
    let place = Place::new("exit");
    // Not our child and with much memory: it takes its time to go.
    let mut held = Held::new("head -c 200m /dev/zero | tail -c 200m | sleep 1000");
    place.0.attach(held.pid()).unwrap();
    held.start();
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    place.0.kill(Signal::KILL).unwrap();
    place.0.remove().unwrap();
    eprintln!("killed and removed in {:?}", start.elapsed());
    held.0.wait().unwrap();
}

#[test]
fn without_rights_and_without_wishes() {
    if root() {
        read_only(&["cgroup", "cgroup2"], "all");
    }
}

#[test]
fn a_failure_half_way_is_undone() {
    if root() {
        read_only(&["cgroup"], "half");
    }
}

/// Runs `inner` where some hierarchies can't be written.
fn read_only(types: &[&str], what: &str) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_one =
        |line: &&str| types.contains(&line.split(" - ").nth(1).unwrap().split(' ').next().unwrap());
    let points = table.lines().filter(is_one).map(|line| line.split(' ').nth(4).unwrap());
    let count = if what == "all" { usize::MAX } else { 5 };
    let points: Vec<&str> = points.take(count).collect();
    let script = format!(
        "for m in {}; do mount -o remount,bind,ro $m || exit 9; done; \
         PINNACE_INNER={what} exec {} --exact --nocapture inner",
        points.join(" "),
        std::env::current_exe().unwrap().display()
    );
    let out = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("inner ran"), "{text}");
}

#[test]
fn inner() {
    match std::env::var("PINNACE_INNER").as_deref() {
        Ok("all") => {}
        Ok(_) => {
            let mut half = Cgroup::locate(Some("/pinnace-half/x"), "x", true).unwrap();
            match half.create() {
                Ok(()) => assert!(is_v2(&Place(half))), // all of it is writable there
                Err(error) => {
                    assert!(error.to_string().contains("read-only file system"), "{error}")
                }
            }
            for entry in fs::read_dir("/sys/fs/cgroup").unwrap() {
                let path = entry.unwrap().path();
                assert!(!path.join("pinnace-half").exists() && !path.ends_with("pinnace-half"));
            }
            eprintln!("inner ran");
            return;
        }
        Err(_) => return,
    }
    let mut mine = Cgroup::locate(None, "pinnace-inner", true).unwrap();
    mine.create().unwrap();
    assert!(!mine.exists() && mine.dir().unwrap().is_none());
    let mut findings = Findings::default();
    let writes = mine.writes(&resources("{}"), &mut findings);
    mine.apply(if findings.errors().is_empty() { &writes } else { &[] }).unwrap();
    mine.attach(1).unwrap();
    mine.remove().unwrap();
    let mut named = Cgroup::locate(Some("/pinnace-inner"), "pinnace-inner", true).unwrap();
    assert!(named.create().unwrap_err().to_string().contains("read-only file system"));
    eprintln!("inner ran");
}

#[test]
fn many_at_once_below_one_directory() {
    if !root() {
        return;
    }
    let parent = format!("/pinnace-test-{}-many", std::process::id());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for i in 0..8 {
            let parent = &parent;
            scope.spawn(move || {
                for _ in 0..25 {
                    let path = format!("{parent}/a/{i}");
                    let mut cgroup = Cgroup::locate(Some(&path), "", false).unwrap();
                    cgroup.create().unwrap();
                    cgroup.apply(&writes(&cgroup, &resources(r#"{"pids":{"limit":9}}"#))).unwrap();
                    cgroup.remove().unwrap();
                }
            });
        }
    });
    eprintln!("200 made and removed in {:?}", start.elapsed());
    // Who made a directory above may be gone before the last who used it.
    let mut last = Cgroup::locate(Some(&format!("{parent}/a/last")), "", false).unwrap();
    last.create().unwrap();
    last.remove().unwrap();
    for mount in last.mounts() {
        let above = mount.source.parent().unwrap().to_owned();
        drop((fs::remove_dir(&above), fs::remove_dir(above.parent().unwrap())));
        assert!(!above.parent().unwrap().exists(), "{above:?}");
    }
}

#[test]
fn rates_and_weights_of_a_block_device() {
    let Some(device) = fs::read_dir("/sys/block")
        .unwrap()
        .find_map(|entry| fs::read_to_string(entry.unwrap().path().join("dev")).ok())
    else {
        return;
    };
    if !root() {
        return;
    }
    let (major, minor) = device.trim().split_once(':').unwrap();
    let place = Place::new("block");
    place.apply(&format!(
        r#"{{"blockIO":{{"throttleReadBpsDevice":[{{"major":{major},"minor":{minor},"rate":1048576}}],
            "throttleWriteIOPSDevice":[{{"major":{major},"minor":{minor},"rate":100}}]}}}}"#
    ));
    let device = device.trim();
    if is_v2(&place) {
        assert_eq!(
            place.read("io", "io.max"),
            format!("{device} rbps=1048576 wbps=max riops=max wiops=100")
        );
        if place.0.path_for("io").unwrap().join("io.weight").exists() {
            place.apply(r#"{"blockIO":{"weight":500}}"#);
            assert_eq!(place.read("io", "io.weight"), "default 4950");
        }
    } else {
        assert_eq!(
            place.read("blkio", "blkio.throttle.read_bps_device"),
            format!("{device} 1048576")
        );
        if !place.0.path_for("blkio").unwrap().join("blkio.bfq.weight").exists() {
            let error = place.update(r#"{"blockIO":{"weight":500}}"#).unwrap_err().to_string();
            assert!(error.starts_with("linux.resources.blockIO.weight: write \"500\""), "{error}");
        }
    }
}

/// As a user in a delegated scope of pure v2; elsewhere there is nothing to test.
#[test]
fn a_user_makes_one_beside_the_own() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.trim().trim_start_matches("0::");
    if rustix::process::geteuid().is_root() || own.contains('\n') {
        return;
    }
    let mut cgroup = Cgroup::locate(None, "pinnace-user", true).unwrap();
    cgroup.create().unwrap();
    let dir = cgroup.path_for("pids").expect("delegated");
    assert_eq!(dir.parent(), Path::new(&format!("/sys/fs/cgroup{own}")).parent());
    let limits = resources(r#"{"pids":{"limit":9},"memory":{"limit":9999360}}"#);
    cgroup.apply(&writes(&cgroup, &limits)).unwrap();
    let place = Place(cgroup);
    assert_eq!(place.read("pids", "pids.max"), "9");
    assert_eq!(place.read("memory", "memory.max"), "9998336");
    assert!(inside(&place, "cat /proc/self/cgroup").trim().ends_with("/pinnace-user"));
    place.0.freeze().unwrap();
    place.0.thaw().unwrap();
    let error = Cgroup::locate(Some("/pinnace-user"), "x", true).unwrap().create().unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    eprintln!("ran as a user in {dir:?}");
}

/// A harmless call that is easy to find in a trace.
fn mark() {
    assert!(rustix::process::getppid().is_some());
}

/// For strace and clocks: PINNACE_ROUNDS=200.
#[test]
fn rounds() {
    let Some(rounds) = std::env::var("PINNACE_ROUNDS").ok().and_then(|n| n.parse::<u32>().ok())
    else {
        return;
    };
    let docker = resources(
        r#"{"devices":[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":9,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":8,"access":"rwm"},
            {"allow":true,"type":"c","major":5,"minor":0,"access":"rwm"},
            {"allow":true,"type":"c","major":5,"minor":1,"access":"rwm"}],
            "memory":{"limit":67108864,"swap":67108864},"cpu":{"shares":512},"pids":{"limit":100}}"#,
    );
    let held = Held::new("sleep 1000");
    let mut spent = [Duration::ZERO; 5];
    for _ in 0..rounds {
        let mut at = Instant::now();
        let mut step = |i: usize| {
            spent[i] += at.elapsed();
            mark();
            at = Instant::now();
        };
        let mut cgroup = Cgroup::locate(None, "pinnace-rounds", false).unwrap();
        let writes = writes(&cgroup, &docker);
        step(0);
        cgroup.create().unwrap();
        step(1);
        cgroup.apply(&writes).unwrap();
        step(2);
        cgroup.attach(held.pid()).unwrap();
        step(3);
        let mut park = Cgroup::locate(Some("/pinnace-park"), "", false).unwrap();
        park.create().unwrap();
        park.attach(held.pid()).unwrap();
        mark();
        let at = Instant::now();
        cgroup.remove().unwrap();
        spent[4] += at.elapsed();
        mark();
    }
    println!("plan, create, apply, attach, remove: {:?}", spent.map(|time| time / rounds));
    let park = Cgroup::locate(Some("/pinnace-park"), "", false).unwrap();
    park.kill(Signal::KILL).unwrap();
    park.remove().unwrap();
}
