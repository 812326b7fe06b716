//! A cgroup above the container's that somebody has frozen: nothing that is made or woken
//! below it ever answers. So every command says so at once, and what is killed ends.

use crate::harness::{
    Bundle, Call, Container, Output, by_systemd, exits, is_pinnace, json, leftovers_of, needs,
    until,
};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No call of these tests has to wait for anything.
const SOON: Duration = Duration::from_secs(8);

/// A cgroup for containers to lie in, and how it is frozen.
struct Above {
    name: String,
    root: &'static str,
    file: &'static str,
    words: [&'static str; 2],
}

impl Above {
    /// One in each hierarchy that can freeze: of a hybrid host that is two.
    fn all() -> Vec<Self> {
        let v1 = ("/sys/fs/cgroup/freezer", "freezer.state", ["FROZEN", "THAWED"]);
        let v2 = |root| (root, "cgroup.freeze", ["1", "0"]);
        let places = [v1, v2("/sys/fs/cgroup/unified"), v2("/sys/fs/cgroup")];
        places.into_iter().filter_map(|(root, file, words)| Self::make(root, file, words)).collect()
    }

    fn make(root: &'static str, file: &'static str, words: [&'static str; 2]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Of the test program, but of none of its containers.
        let name = format!("it-{}-above{count}", std::process::id());
        let is_there = Path::new(root).join("cgroup.procs").exists();
        is_there.then(|| fs::create_dir(Path::new(root).join(&name)).unwrap())?;
        Some(Self { name, root, file, words })
    }

    fn dir(&self) -> PathBuf {
        Path::new(self.root).join(&self.name)
    }

    fn freeze(&self) {
        fs::write(self.dir().join(self.file), self.words[0]).unwrap();
    }

    fn thaw(&self) {
        fs::write(self.dir().join(self.file), self.words[1]).unwrap();
    }

    /// A container in it, `levels` below.
    fn container(&self, bundle: Bundle, levels: &str) -> Container {
        let path = format!("/{}{levels}/{}", self.name, bundle.id);
        bundle.set("/linux/cgroupsPath", json!(path)).container()
    }

    /// The words that name the field, the cgroup and the way out.
    #[track_caller]
    fn is_told(&self, out: &Output) {
        let text = out.fails();
        assert_eq!(text.lines().count(), 1, "{out:?}");
        let path = self.dir();
        let file = path.join(self.file);
        for word in [
            "linux.cgroupsPath: cgroup",
            path.to_str().unwrap(),
            "resume it",
            file.to_str().unwrap(),
        ] {
            assert!(text.contains(word), "{word}: {out:?}");
        }
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        self.thaw();
        let end = Instant::now() + SOON;
        let roots = || fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let all =
            || roots().chain([PathBuf::from("/sys/fs/cgroup")]).map(|root| root.join(&self.name));
        while all().any(|dir| dir.join("cgroup.procs").exists()) && Instant::now() < end {
            all().for_each(|dir| remove(&dir));
        }
    }
}

fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(dir).ok();
}

#[track_caller]
fn soon(call: Call) -> Output {
    let begun = Instant::now();
    let out = call.run();
    assert!(begun.elapsed() < SOON, "{:?}: {out:#?}", begun.elapsed());
    out
}

fn quiet(c: &Container, call: Call) -> Output {
    let out = soon(call.output_to(c.log("stdout"), c.log("stderr")));
    let stderr = c.stderr();
    fs::write(c.bundle.dir().join("stderr"), "").unwrap();
    Output { stderr, ..out }
}

fn is_for_these_tests() -> bool {
    is_pinnace() && !by_systemd()
}

#[test]
fn what_is_created_below_a_frozen_cgroup_is_refused_at_once() {
    needs!(is_for_these_tests(), "pinnace, and the cgroupfs driver");
    for above in Above::all() {
        for levels in ["", "/deep/er"] {
            above.freeze();
            let c = above.container(Bundle::sleeper(), levels);
            let bundle = c.bundle.path().to_str().unwrap().to_owned();
            for verb in [&["create"][..], &["run"], &["run", "-d"]] {
                let args = [verb, &["--bundle", &bundle, &c.id]].concat();
                let out = quiet(&c, c.call([]).args(&args));
                above.is_told(&out);
                assert!(leftovers_of(&c).is_empty(), "{verb:?}: {:?}", leftovers_of(&c));
                let left = fs::read_dir(above.dir()).unwrap().flatten();
                let left = left.filter(|entry| entry.file_type().unwrap().is_dir()).count();
                assert_eq!(left, 0, "{verb:?}: levels of the cgroup are left");
            }
            above.thaw();
            c.create().ok();
            c.start().ok();
            assert_eq!(c.status(), "running");
        }
    }
}

/// The container's own, which is empty.
#[test]
fn r169_a_frozen_cgroup_is_refused() {
    needs!(is_for_these_tests(), "pinnace, and the cgroupfs driver");
    for above in Above::all() {
        let path = format!("/{}", above.name);
        let c = Bundle::sleeper().set("/linux/cgroupsPath", json!(path)).container();
        above.freeze();
        let out = c.create();
        above.thaw();
        let words = format!("{} exists and is frozen", above.dir().display());
        assert!(out.fails().contains(&words), "{out:?}");
        assert!(leftovers_of(&c).is_empty(), "{:?}", leftovers_of(&c));
    }
}

/// An empty one that is there already, too.
#[test]
fn a_cgroup_that_is_there_below_a_frozen_one_is_refused_at_once() {
    needs!(is_for_these_tests(), "pinnace, and the cgroupfs driver");
    for above in Above::all() {
        let c = above.container(Bundle::sleeper(), "");
        fs::create_dir(above.dir().join(&c.id)).unwrap();
        above.freeze();
        above.is_told(&c.create());
        fs::remove_dir(above.dir().join(&c.id)).unwrap();
    }
}

#[test]
fn start_and_exec_below_a_cgroup_that_was_frozen_since_say_so_at_once() {
    needs!(is_for_these_tests(), "pinnace, and the cgroupfs driver");
    for above in Above::all() {
        let c = above.container(Bundle::sleeper(), "");
        c.create().ok();
        above.freeze();
        above.is_told(&soon(c.call(["start", &c.id])));
        above.is_told(&soon(c.call(["exec", &c.id, "true"])));
        assert!(["created", "paused"].contains(&&*c.status()), "{}", c.status());
        above.thaw();
        assert_eq!(c.status(), "created");
        c.start().ok();
        above.freeze();
        above.is_told(&soon(c.call(["exec", &c.id, "true"])));
        soon(c.call(["ps", &c.id])).ok();
        soon(c.call(["kill", &c.id, "0"])).ok();
        above.thaw();
        assert_eq!(c.status(), "running");
        c.exec(["true"]).ok();
    }
}

#[test]
fn resume_below_a_cgroup_that_was_frozen_says_that_nothing_goes_on() {
    needs!(is_for_these_tests(), "pinnace, and the cgroupfs driver");
    for above in Above::all() {
        let c = above.container(Bundle::sleeper(), "").up();
        c.call(["pause", &c.id]).run().ok();
        above.freeze();
        assert_eq!(c.status(), "paused");
        above.is_told(&soon(c.call(["resume", &c.id])));
        above.thaw();
        assert_eq!(c.status(), "running");
        c.exec(["true"]).ok();
    }
}

/// On cgroup v1 nothing frozen can die: what was killed is moved to where nothing is frozen.
#[test]
fn what_is_killed_or_deleted_below_a_frozen_cgroup_ends_at_once() {
    needs!(is_for_these_tests(), "pinnace, and the cgroupfs driver");
    for above in Above::all() {
        for pids in ["own", "host"] {
            for verb in [&["kill"][..], &["kill", "--all"], &["delete", "--force"]] {
                let bundle = Bundle::sh("sleep 1000 & sleep 1000 & echo > /ready; wait");
                let bundle = if pids == "own" { bundle } else { bundle.without_namespace("pid") };
                let c = above.container(bundle, "").up_and_ready();
                let pid = c.pid();
                above.freeze();
                let signal = if verb[0] == "kill" { &["KILL"][..] } else { &[] };
                let args = [verb, &[c.id.as_str()], signal].concat();
                soon(c.call([]).args(&args)).ok();
                assert!(exits(pid), "{verb:?}");
                if verb[0] == "kill" {
                    assert_eq!(c.status(), "stopped");
                    soon(c.call(["delete", &c.id])).ok();
                }
                assert!(leftovers_of(&c).is_empty(), "{verb:?}: {:?}", leftovers_of(&c));
                above.thaw();
            }
        }
    }
}

/// One that has not been started: `delete` kills it.
#[test]
fn a_created_container_below_a_frozen_cgroup_is_deleted_by_force_at_once() {
    needs!(is_for_these_tests(), "pinnace, and the cgroupfs driver");
    for above in Above::all() {
        let c = above.container(Bundle::sleeper(), "");
        c.create().ok();
        above.freeze();
        soon(c.call(["delete", "--force", &c.id])).ok();
        assert!(leftovers_of(&c).is_empty(), "{:?}", leftovers_of(&c));
        above.thaw();
    }
}

/// Whoever freezes it a moment later has it wait; a signal ends that, and nothing is left.
#[test]
fn create_below_a_cgroup_that_is_frozen_meanwhile_ends_by_term() {
    needs!(is_for_these_tests(), "pinnace, and the cgroupfs driver");
    for above in Above::all() {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            // A hook that lasts until the test goes on: its process is one of the host.
            let bundle = Bundle::sleeper();
            let (began, go) = (bundle.dir().join("began"), bundle.dir().join("go"));
            let text = format!(
                "echo $$ > {0}.new\n/bin/busybox mv {0}.new {0}\n\
                 while [ ! -e {1} ]; do /bin/busybox sleep 0.01; done",
                began.display(),
                go.display()
            );
            let hook = bundle.script("hook", &text);
            let bundle = bundle.set("/hooks/createRuntime", json!([{"path": hook}]));
            let c = above.container(bundle, "");
            let path = c.bundle.path().to_str().unwrap().to_owned();
            let create = c.call(["create", "--bundle", &path, &c.id]);
            let create = create.output_to(c.log("stdout"), c.log("stderr")).spawn();
            until("the hook runs", || began.exists());
            let hook = fs::read_to_string(&began).unwrap();
            let hook = format!("/proc/{}", hook.trim());
            above.freeze();
            fs::write(&go, "").unwrap();
            until("the hook has ended", || !Path::new(&hook).exists());
            let wchan = format!("/proc/{}/wchan", create.pid().as_raw_nonzero());
            until("create waits for init", || fs::read_to_string(&wchan).unwrap().contains("poll"));
            kill_process(create.pid(), signal).unwrap();
            let begun = Instant::now();
            create.wait().fails();
            assert!(begun.elapsed() < SOON, "{:?}: {}", begun.elapsed(), c.stderr());
            assert!(leftovers_of(&c).is_empty(), "{:?} {}", leftovers_of(&c), c.stderr());
            above.thaw();
        }
    }
}
