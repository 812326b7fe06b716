//! A container that is gone, with all its traces, when its test is over.

use super::call::{Running, exits, wait_for};
use super::{Bundle, Call, Output, Value, by_systemd, leftovers, runtime};
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use std::fs::{self, File};
use std::path::PathBuf;

/// A container, created or not. Dropping it deletes it by force and fails the
/// test if anything of it is left on the machine.
pub struct Container {
    pub id: String,
    pub bundle: Bundle,
}

impl Container {
    pub fn new(bundle: Bundle) -> Self {
        Self { id: bundle.id.clone(), bundle }
    }

    /// The state directory (`--root`) of this test alone.
    pub fn root(&self) -> PathBuf {
        self.bundle.dir().join("state")
    }

    /// The options in front of the command: `--root`, and the cgroup driver.
    pub fn global(&self) -> Vec<String> {
        let mut all = vec!["--root".to_owned(), self.root().to_str().unwrap().to_owned()];
        all.extend(by_systemd().then(|| "--systemd-cgroup".to_owned()));
        all
    }

    /// A call of the runtime with `--root`.
    pub fn call<const N: usize>(&self, args: [&str; N]) -> Call {
        Call::new(&runtime().path).args(self.global()).args(args)
    }

    /// As `call`, where the runtime can write to the test's own files only.
    pub fn caged<const N: usize>(&self, args: [&str; N]) -> Call {
        Call::caged(&runtime().path, self.bundle.dir()).args(self.global()).args(args)
    }

    fn bundle_path(&self) -> String {
        self.bundle.path().to_str().unwrap().to_owned()
    }

    /// `run --bundle B ID`, to its end.
    pub fn run(&self) -> Output {
        self.call(["run", "--bundle", &self.bundle_path(), &self.id]).run()
    }

    /// `run` in the background of the test, in the foreground of the runtime.
    pub fn spawn_run(&self) -> Running {
        self.call(["run", "--bundle", &self.bundle_path(), &self.id]).spawn()
    }

    /// `run --detach`; the container's output is read by `stdout`, `stderr`.
    pub fn run_detached(&self) -> Output {
        self.detached(["run", "--detach", "--bundle", &self.bundle_path(), &self.id])
    }

    /// `create`; the container's output is read by `stdout`, `stderr`.
    pub fn create(&self) -> Output {
        self.detached(["create", "--bundle", &self.bundle_path(), &self.id])
    }

    /// Any call whose container outlives it.
    pub fn detached<const N: usize>(&self, args: [&str; N]) -> Output {
        let before = self.read("stderr").len();
        let mut output = self.call(args).output_to(self.log("stdout"), self.log("stderr")).run();
        output.stdout = String::new();
        output.stderr = String::from_utf8_lossy(&self.read("stderr")[before..]).into_owned();
        output
    }

    pub fn start(&self) -> Output {
        self.call(["start", &self.id]).run()
    }

    pub fn kill(&self, signal: &str) -> Output {
        self.call(["kill", &self.id, signal]).run()
    }

    pub fn delete(&self) -> Output {
        self.call(["delete", &self.id]).run()
    }

    /// The document that `state` prints.
    #[track_caller]
    pub fn state(&self) -> Value {
        serde_json::from_str(self.call(["state", &self.id]).run().ok()).unwrap()
    }

    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// The host's pid of the container's init.
    #[track_caller]
    pub fn pid(&self) -> Pid {
        let pid = self.state()["pid"].as_i64().unwrap();
        Pid::from_raw(i32::try_from(pid).unwrap()).expect("the container has no process")
    }

    /// `exec ID ARGS`.
    pub fn exec<const N: usize>(&self, args: [&str; N]) -> Output {
        self.call(["exec", &self.id]).args(args).run()
    }

    /// `exec FLAGS ID ARGS`.
    pub fn exec_with<const F: usize, const N: usize>(
        &self,
        flags: [&str; F],
        args: [&str; N],
    ) -> Output {
        self.call(["exec"]).args(flags).args([&self.id]).args(args).run()
    }

    /// Creates and starts; both must succeed.
    #[track_caller]
    pub fn up(self) -> Self {
        self.create().ok();
        self.start().ok();
        self
    }

    /// As `up`, until `Bundle::server` says that it is ready.
    #[track_caller]
    pub fn up_and_ready(self) -> Self {
        let up = self.up();
        up.wait_ready();
        up
    }

    /// Waits until the container has written to `/ready`.
    #[track_caller]
    pub fn wait_ready(&self) {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fifo = rustix::fs::open(self.bundle.rootfs("ready"), flags, Mode::empty()).unwrap();
        assert!(wait_for(fifo, PollFlags::IN), "nothing came through /ready");
    }

    /// Starts the created container and waits until its init has exited.
    #[track_caller]
    pub fn start_and_wait(&self) {
        let pid = self.pid();
        self.start().ok();
        assert!(exits(pid), "the container does not end");
    }

    /// Kills init and waits for its end.
    #[track_caller]
    pub fn stop(&self) {
        let pid = self.pid();
        self.kill("KILL").ok();
        assert!(exits(pid), "the container does not end");
    }

    /// Create, start, wait: the container's standard output.
    #[track_caller]
    pub fn output(&self) -> String {
        self.create().ok();
        self.start_and_wait();
        self.stdout()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.read("stdout")).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.read("stderr")).into_owned()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.bundle.dir().join(name)).unwrap_or_default()
    }

    pub fn log(&self, name: &str) -> File {
        File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(self.bundle.dir().join(name))
            .unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let deleted = self.call(["delete", "--force", &self.id]).run();
        let mut found = leftovers::of(self);
        if deleted.code != 0 {
            found.push(format!("delete --force: {deleted:?}"));
        }
        if !found.is_empty() {
            leftovers::remove(self);
        }
        // A second panic would abort and hide the first.
        if !std::thread::panicking() {
            assert!(found.is_empty(), "left behind: {found:#?}");
        }
    }
}
