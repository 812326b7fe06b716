//! Workers and what they find: the main process starts them, each in a mount namespace of its own, reads
//! a row of each thing tried from each, and sums up.

use super::world::{BASE, SHARED, World, remove_stale};
use super::{Options, Suite, sys};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// One thing that was tried.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// What it is counted with, such as `create, kill main`.
    pub group: String,
    /// What it was.
    pub what: String,
    pub outcome: Outcome,
    /// What is wrong, each in a line; or why it was skipped.
    pub wrong: Vec<String>,
    /// The words after `hack/crash` that repeat it.
    pub again: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// A process that tries things, and tells of them.
pub struct Worker<'a> {
    pub options: &'a Options,
    /// Its number, of `options.jobs`.
    pub index: usize,
    pub world: World,
    end: Option<Instant>,
}

impl Worker<'_> {
    /// Whether nothing new is to be begun.
    pub fn is_late(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() > end)
    }

    /// Until when something may be begun.
    pub fn end(&self) -> Option<Instant> {
        self.end
    }

    /// A directory that all workers of this run see.
    pub fn shared(&self) -> PathBuf {
        shared(std::os::unix::process::parent_id())
    }

    /// Whether this worker is to try the thing of that name: it is in the share that was asked for, and
    /// not another worker's.
    pub fn is_mine(&self, name: &str) -> bool {
        let (which, of) = self.options.share;
        let hash = hash(name);
        hash % of == which && (hash / of) % self.options.jobs as u64 == self.index as u64
    }

    /// Tells of a thing that was tried: it failed if anything is wrong. `again`: the words that repeat
    /// it, without those that choose the world.
    pub fn tell(&self, group: &str, what: &str, wrong: Vec<String>, again: &str) -> Result<()> {
        let outcome = if wrong.is_empty() { Outcome::Passed } else { Outcome::Failed };
        self.row(group, what, outcome, wrong, again)
    }

    /// Tells of a thing that was not tried.
    pub fn skip(&self, group: &str, what: &str, why: &str) -> Result<()> {
        self.row(group, what, Outcome::Skipped, vec![why.to_owned()], "")
    }

    fn row(
        &self,
        group: &str,
        what: &str,
        outcome: Outcome,
        wrong: Vec<String>,
        again: &str,
    ) -> Result<()> {
        let again = format!("{again}{}", self.options.again());
        let row = Row { group: group.into(), what: what.into(), outcome, wrong, again };
        let mut line = serde_json::to_vec(&row)?;
        line.push(b'\n');
        Ok(std::io::stdout().write_all(&line)?)
    }
}

fn shared(main: u32) -> PathBuf {
    Path::new(SHARED).join(main.to_string())
}

/// The life of a worker.
pub fn work(suite: &Suite, options: &Options, index: usize) -> Result<bool> {
    sys::die_with_parent()?;
    let name = format!("crash-{}-{index}", std::os::unix::process::parent_id());
    let world = World::new(&name, options)?;
    let end = options.time.map(|time| Instant::now() + time);
    let mut worker = Worker { options, index, world, end };
    (suite.work)(&mut worker)?;
    let keyrings = worker.world.keyrings();
    let wrong = keyrings.into_iter().map(|line| format!("left: keyring {line}")).collect();
    worker.tell("keyrings", "all that was done", wrong, suite.name)?;
    Ok(true)
}

/// Starts workers, and tells what they have found; whether all is good.
pub fn conduct(options: &Options, words: &[String]) -> Result<bool> {
    remove_stale();
    std::fs::create_dir_all(BASE)?;
    let shared = shared(std::process::id());
    std::fs::create_dir_all(&shared)?;
    let began = Instant::now();
    let mut report = options.report.as_ref().map(File::create).transpose()?;
    let (sender, rows) = mpsc::channel();
    let mut workers = Vec::new();
    for index in 0..options.jobs {
        let mut child = worker(options, words, index).spawn().context("a worker")?;
        let output = BufReader::new(child.stdout.take().context("its output")?);
        workers.push(child);
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let mut sum = Sum::default();
    for line in rows {
        if let Some(file) = &mut report {
            writeln!(file, "{line}")?;
        }
        sum.add(serde_json::from_str(&line).with_context(|| format!("a worker said {line:?}"))?);
    }
    for (index, worker) in workers.into_iter().enumerate() {
        sum.ended(index, worker)?;
    }
    std::fs::remove_dir_all(shared)?;
    remove_stale();
    Ok(sum.tell(began.elapsed()))
}

fn worker(options: &Options, words: &[String], index: usize) -> Command {
    let mut script = format!("mount -t tmpfs -o mode=755 crash {BASE} && ");
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private"]);
    if options.v2 {
        command.arg("--cgroup");
        script += "umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && ";
    }
    script += "exec \"$@\"";
    command.args(["/bin/sh", "-c", &script, "sh"]);
    command
        .arg(std::env::current_exe().unwrap())
        .args(words)
        .args(["--worker", &index.to_string()]);
    command.env("TMPDIR", BASE).stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, value) in [("RUNTIME", &options.runtime), ("DRIVER", &options.driver)] {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

/// Rows that have the same fault.
#[derive(Default)]
struct Same {
    rows: usize,
    groups: BTreeMap<String, usize>,
    what: String,
    wrong: String,
    again: String,
}

#[derive(Default)]
struct Sum {
    /// Passed, failed, skipped.
    groups: BTreeMap<String, [usize; 3]>,
    symptoms: BTreeMap<String, Same>,
}

impl Sum {
    fn add(&mut self, row: Row) {
        self.groups.entry(row.group.clone()).or_default()[row.outcome as usize] += 1;
        if row.outcome != Outcome::Failed {
            return;
        }
        for wrong in row.wrong {
            let same = self.symptoms.entry(symptom(&wrong)).or_default();
            *same.groups.entry(row.group.clone()).or_default() += 1;
            if same.rows == 0 {
                (same.what, same.again, same.wrong) = (row.what.clone(), row.again.clone(), wrong);
            }
            same.rows += 1;
        }
    }

    /// A worker that ended badly is a failure.
    fn ended(&mut self, index: usize, mut worker: Child) -> Result<()> {
        let status = worker.wait()?;
        if !status.success() {
            self.add(Row {
                group: "harness".into(),
                what: format!("worker {index}"),
                outcome: Outcome::Failed,
                wrong: vec![format!("a worker ended: {status}")],
                again: String::new(),
            });
        }
        Ok(())
    }

    fn tell(self, took: Duration) -> bool {
        for (group, [passed, failed, skipped]) in &self.groups {
            println!("{group:32} {passed:6} passed {failed:5} failed {skipped:5} skipped");
        }
        let mut symptoms: Vec<_> = self.symptoms.into_values().collect();
        symptoms.sort_by_key(|same| std::cmp::Reverse(same.rows));
        for same in symptoms {
            let groups: Vec<_> =
                same.groups.iter().map(|(name, n)| format!("{name} x{n}")).collect();
            println!("\n{} x {}", same.rows, same.wrong);
            println!("    {}", groups.join("; "));
            println!("    such as {}: hack/crash {}", same.what, same.again);
        }
        let all =
            |which| self.groups.values().map(|group: &[usize; 3]| group[which]).sum::<usize>();
        let (passed, failed, skipped) = (all(0), all(1), all(2));
        let tried = (passed + failed).max(1) as f64;
        println!("\n{:.0} s, {:.1} ms each", took.as_secs_f64(), took.as_secs_f64() * 1e3 / tried);
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        failed == 0
    }
}

/// What is the same in messages that differ in their numbers, hierarchies and errors.
fn symptom(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let word = match word.strip_prefix("/sys/fs/cgroup/").and_then(|rest| rest.split_once('/'))
        {
            Some((_, rest)) => rest,
            None => word,
        };
        let mut found = String::new();
        for c in word.chars() {
            if !c.is_ascii_digit() {
                found.push(c);
            } else if !found.ends_with('#') {
                found.push('#');
            }
        }
        // What follows the colon of a path is the error.
        let is_path = found.starts_with('/') && found.ends_with(':');
        words.push(found);
        if is_path || words.len() > 20 {
            break;
        }
    }
    words.join(" ")
}

/// The same number for the same text, on every machine and at every time (FNV-1a).
pub fn hash(text: &str) -> u64 {
    let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    // Its low bits alone are poor.
    hash ^ (hash >> 32)
}
