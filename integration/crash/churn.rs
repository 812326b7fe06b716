//! `churn`: many containers alive, then many more that come and go beside them. Nothing may fail,
//! nothing may be left, and the machine's memory, descriptors and cgroups must be as before.

use crate::fleet::Fleet;
use crate::harness::{Bundle, is_pinnace, runtime};
use crate::options::{Options, Tally};
use crate::parallel::{Answer, Exit};
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// How long the kernel may take to collect what was freed.
const SETTLE: Duration = Duration::from_secs(10);

pub fn churn(options: &Options) -> Tally {
    let (workers, alive) = (options.number("workers", 16), options.number("alive", 1000));
    let churned = options.number("churned", 5000);
    let name = &runtime().name;
    let repeat = format!("churn --alive {alive} --churned {churned} --workers {workers}");
    let fleet = Fleet::new(Bundle::sleeper());
    let mut tally = Tally::default();
    // What is made once (the level of cgroups, slabs of the kernel) is not counted as growth.
    fleet.make_bundle(0);
    cycle(&fleet, 0, 0, &mut Figures::default());
    let before = Machine::look(&fleet);
    println!("{name}: before: {before}");

    let began = Instant::now();
    let figures = parallel(workers, alive, options, |worker, n, figures| {
        fleet.make_bundle(n);
        let bundle = fleet.bundle(n);
        figures.call(&fleet, worker, &["run", "-d", "--bundle", bundle.to_str().unwrap(), &fleet.id(n)]);
    });
    figures.report(name, "alive", alive, began, &mut tally, &repeat);
    println!("{name}: alive: {}", Machine::look(&fleet));
    list(&fleet, alive, &mut tally, &repeat);

    let mut first = None;
    for part in 0..5 {
        let began = Instant::now();
        let count = churned / 5;
        let figures = parallel(workers, count, options, |worker, n, figures| {
            let n = alive + part * count + n;
            fleet.make_bundle(n);
            cycle(&fleet, worker, n, figures);
            drop(fs::remove_dir_all(fleet.bundle(n)));
        });
        figures.report(name, "churned", count, began, &mut tally, &repeat);
        let now = Machine::look(&fleet);
        println!("{name}: churned {}: {now}", (part + 1) * count);
        first.get_or_insert(now);
    }
    // A first part warms the kernel's caches up; from there on all must be flat.
    if let Some(first) = first {
        Machine::look(&fleet).is_flat(&first, &mut tally, &repeat);
    }

    let began = Instant::now();
    let figures = parallel(workers, alive, options, |worker, n, figures| {
        figures.call(&fleet, worker, &["delete", "--force", &fleet.id(n)]);
    });
    figures.report(name, "deleted by force", alive, began, &mut tally, &repeat);
    for line in fleet.left() {
        tally.fail(&format!("left behind: {line}"), &repeat);
    }
    let end = Instant::now() + SETTLE;
    while fleet.keyrings() > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100)); // no event tells of the kernel's collection
    }
    let after = Machine::look(&fleet);
    println!("{name}: after: {after}");
    after.is_flat(&before, &mut tally, &repeat);
    tally
}

/// A whole life.
fn cycle(fleet: &Fleet, worker: usize, n: usize, figures: &mut Figures) {
    let (id, bundle) = (fleet.id(n), fleet.bundle(n));
    figures.call(fleet, worker, &["create", "--bundle", bundle.to_str().unwrap(), &id]);
    figures.call(fleet, worker, &["start", &id]);
    figures.call(fleet, worker, &["exec", &id, "true"]);
    figures.call(fleet, worker, &["kill", &id, "KILL"]);
    // The signal is sent; the end is a moment later, and only the pid of `state` tells of it.
    let began = Instant::now();
    loop {
        let answer = fleet.call(worker, &["delete", &id]);
        let early = ["not stopped", "running"].iter().any(|text| answer.err.contains(text));
        if answer.is_ok() || !early || began.elapsed() > Duration::from_secs(10) {
            figures.note("delete", &answer);
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn list(fleet: &Fleet, alive: usize, tally: &mut Tally, repeat: &str) {
    let answer = fleet.call(0, &["list", "-q"]);
    let found = answer.out.lines().count();
    println!("{}: list: {found} in {:.3} s", runtime().name, answer.took().as_secs_f64());
    if answer.is_ok() && found == alive {
        tally.pass();
    } else {
        tally.fail(&format!("list shows {found} of {alive}: {}", answer.err), repeat);
    }
}

/// Does `work` for `count` numbers with so many workers.
fn parallel(
    workers: usize,
    count: usize,
    options: &Options,
    work: impl Fn(usize, usize, &mut Figures) + Sync,
) -> Figures {
    let work = &work;
    let mut all = Figures::default();
    std::thread::scope(|scope| {
        let one = |worker: usize| {
            move || {
                let mut figures = Figures::default();
                for n in (worker..count).step_by(workers) {
                    if options.is_over() {
                        figures.skipped += 1;
                    } else {
                        work(worker, n, &mut figures);
                    }
                }
                figures
            }
        };
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(one(worker))).collect();
        for thread in threads {
            all.add(thread.join().unwrap());
        }
    });
    all
}

/// Calls that were made, and how they went.
#[derive(Default)]
struct Figures {
    calls: usize,
    slowest: HashMap<String, Duration>,
    failures: Vec<String>,
    skipped: usize,
}

impl Figures {
    fn call(&mut self, fleet: &Fleet, worker: usize, words: &[&str]) {
        let answer = fleet.call(worker, words);
        self.note(words[0], &answer);
    }

    fn note(&mut self, verb: &str, answer: &Answer) {
        self.calls += 1;
        let slowest = self.slowest.entry(verb.to_owned()).or_default();
        *slowest = (*slowest).max(answer.took());
        if answer.exit != Exit::Code(0) || (is_pinnace() && !answer.err.is_empty()) {
            self.failures.push(format!("{verb}: {:?} {}", answer.exit, answer.err));
        }
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        for (verb, took) in other.slowest {
            let slowest = self.slowest.entry(verb).or_default();
            *slowest = (*slowest).max(took);
        }
    }

    fn report(&self, name: &str, what: &str, count: usize, began: Instant, tally: &mut Tally, repeat: &str) {
        let mut slowest: Vec<_> = self.slowest.iter().collect();
        slowest.sort_by_key(|(_, took)| std::cmp::Reverse(**took));
        let slowest = slowest.iter().map(|(verb, took)| format!("{verb} {:.2} s", took.as_secs_f64()));
        println!(
            "{name}: {count} {what} in {:.1} s, {} calls, {} failed, slowest: {}",
            began.elapsed().as_secs_f64(),
            self.calls,
            self.failures.len(),
            slowest.collect::<Vec<_>>().join(", ")
        );
        tally.passed += self.calls - self.failures.len();
        tally.skipped += self.skipped;
        for failure in &self.failures {
            tally.fail(&format!("{what}: {failure}"), repeat);
        }
    }
}

/// What the kernel holds, for everybody on the machine.
struct Machine {
    used: i64,
    slab: i64,
    files: i64,
    cgroups: i64,
    mounts: i64,
    keyrings: i64,
}

impl Machine {
    fn look(fleet: &Fleet) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let meminfo = read("/proc/meminfo");
        let memory = |name: &str| -> i64 {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let cgroups = read("/proc/cgroups");
        let cgroups = cgroups.lines().find_map(|line| line.strip_prefix("memory\t"));
        let first = |text: &str, at: usize| text.split_whitespace().nth(at)?.parse().ok();
        Self {
            used: memory("MemTotal:") - memory("MemAvailable:"),
            slab: memory("SUnreclaim:"),
            files: first(&read("/proc/sys/fs/file-nr"), 0).unwrap_or(0),
            cgroups: cgroups.and_then(|line| first(line, 1)).unwrap_or(0),
            mounts: read("/proc/self/mountinfo").lines().count() as i64,
            keyrings: fleet.keyrings() as i64,
        }
    }

    /// Others use the machine, too: what grows with each of thousands of containers is much more.
    fn is_flat(&self, before: &Self, tally: &mut Tally, repeat: &str) {
        let all = [
            ("memory, KiB", self.used, before.used, 256 << 10),
            ("unreclaimable slab, KiB", self.slab, before.slab, 96 << 10),
            ("open files", self.files, before.files, 1000),
            ("memory cgroups", self.cgroups, before.cgroups, 200),
            ("mounts", self.mounts, before.mounts, 0),
            ("keyrings", self.keyrings, before.keyrings, 50),
        ];
        for (what, now, before, slack) in all {
            if now > before + slack {
                tally.fail(&format!("{what}: {before} -> {now}"), repeat);
            } else {
                tally.pass();
            }
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "used {} MiB, slab {} MiB, files {}, memory cgroups {}, mounts {}, keyrings {}",
            self.used >> 10,
            self.slab >> 10,
            self.files,
            self.cgroups,
            self.mounts,
            self.keyrings
        )
    }
}
