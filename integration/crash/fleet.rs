//! Many containers of one bundle, with ids and bundles of their own, which end together.

use crate::harness::{Bundle, Container, Value, json, leftovers_of, runtime};
use crate::parallel::{Answer, Started, start};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Containers whose ids begin with the name of one that is never created.
pub struct Fleet {
    first: Container,
}

impl Fleet {
    pub fn new(bundle: Bundle) -> Self {
        let first = bundle.container();
        fs::create_dir_all(first.bundle.dir().join("bundles")).unwrap();
        let fleet = Self { first };
        fleet.make_level();
        fleet
    }

    /// The cgroup above those of all containers: what several share belongs to none of them.
    fn level(&self) -> String {
        format!("/{}-cg", self.first.id)
    }

    fn levels(&self) -> Vec<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let cgroups = lines.filter(|line| line[2].starts_with("cgroup") && line[1].starts_with("/sys/fs/cgroup"));
        cgroups.map(|line| PathBuf::from(format!("{}{}", line[1], self.level()))).collect()
    }

    fn make_level(&self) {
        for dir in self.levels() {
            fs::create_dir_all(&dir).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(all) = fs::read_to_string(dir.with_file_name(file)) {
                    fs::write(dir.join(file), all).unwrap();
                }
            }
        }
    }

    /// The id of the `n`th container.
    pub fn id(&self, n: usize) -> String {
        format!("{}-{n}", self.first.id)
    }

    /// Makes the bundle of the `n`th container; they share a root file system.
    pub fn make_bundle(&self, n: usize) {
        let mut config: Value = self.first.bundle.config().clone();
        config["root"]["path"] = json!(self.first.bundle.path().join("rootfs"));
        config["linux"]["cgroupsPath"] = json!(format!("{}/{}", self.level(), self.id(n)));
        fs::create_dir_all(self.bundle(n)).unwrap();
        fs::write(self.bundle(n).join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    }

    pub fn bundle(&self, n: usize) -> PathBuf {
        self.first.bundle.dir().join("bundles").join(n.to_string())
    }

    /// A directory of its own for a worker.
    pub fn scratch(&self, worker: usize) -> PathBuf {
        let dir = self.first.bundle.dir().join(format!("worker-{worker}"));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    pub fn start(&self, worker: usize, words: &[&str]) -> Started {
        let mut command = Command::new(&runtime().path);
        command.args(self.first.global()).args(words);
        start(command, &self.scratch(worker))
    }

    pub fn call(&self, worker: usize, words: &[&str]) -> Answer {
        self.start(worker, words).answer(Duration::from_secs(60))
    }

    /// Deletes all of these; what cannot be deleted, and what is left then.
    pub fn delete_all(&self, numbers: impl Iterator<Item = usize>) -> Vec<String> {
        let mut wrong = Vec::new();
        for n in numbers {
            let answer = self.call(0, &["delete", "--force", &self.id(n)]);
            let is_unknown = answer.err.contains("does not exist"); // crun says so
            if !(answer.is_ok() || is_unknown) {
                wrong.push(format!("delete --force {}: {:?} {}", self.id(n), answer.exit, answer.err));
            }
        }
        wrong.extend(self.left());
        wrong
    }

    /// Whatever of them is left on the machine.
    pub fn left(&self) -> Vec<String> {
        let mut found = leftovers_of(&self.first);
        let level = self.level();
        found.retain(|line| !line.ends_with(&level));
        found.extend(children().into_iter().map(|line| format!("child {line}")));
        found
    }

    /// Session keyrings, which the kernel collects a few seconds after their last process.
    pub fn keyrings(&self) -> usize {
        let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
        keys.lines().filter(|line| line.contains(&format!("_ses.{}-", self.first.id))).count()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for dir in self.levels() {
            fs::remove_dir(dir).ok();
        }
    }
}

/// Our children that are still there: no call runs, so each is left behind.
fn children() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")));
    let pids: Vec<_> = lists.flat_map(|list| words(&list.unwrap_or_default())).collect();
    let alive = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    let left: Vec<i32> = pids.into_iter().filter(alive).collect();
    for pid in &left {
        kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).ok();
    }
    left.iter().map(i32::to_string).collect()
}

fn words(list: &str) -> Vec<i32> {
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
