//! `churn`: many containers alive, then many more that come and go beside them. Nothing may fail,
//! nothing may be left, and the machine's memory, descriptors and cgroups must be as before.

use super::Suite;
use super::fleet::Fleet;
use super::harness::{is_pinnace, runtime};
use super::parallel::{Answer, Exit};
use super::report::Worker;
use super::world::Kind;
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// How long the kernel may take to free what nobody holds any more.
const SETTLE: Duration = Duration::from_secs(30);

pub const SUITE: Suite = Suite {
    name: "churn",
    about: "many containers alive, and many more that come and go beside them",
    is_alone: true,
    options: &[
        ("alive", "N", "containers alive (1000)"),
        ("churned", "N", "containers that come and go (5000)"),
        ("callers", "N", "callers side by side (16)"),
    ],
    work,
};

fn work(worker: &mut Worker) -> anyhow::Result<()> {
    let worker = &*worker;
    let number = |name, default| worker.options.number(name, default).map(|n| n as usize);
    let (callers, alive) = (number("callers", 16)?, number("alive", 1000)?);
    let churned = number("churned", 5000)?;
    let fleet = Fleet::new(&worker.world, Kind::Default);
    let churn = Churn {
        worker,
        callers,
        again: format!("churn --alive {alive} --churned {churned} --callers {callers}"),
    };
    // What is made once, such as slabs of the kernel, is not counted as growth.
    fleet.make_bundle(0);
    cycle(&fleet, 0, 0, &mut Figures::default());
    let before = Machine::look(&fleet);
    eprintln!("{}: before: {before}", runtime().name);
    churn.all("alive", alive, |caller, n, figures| {
        let bundle = fleet.make_bundle(n);
        figures.call(&fleet, caller, &["run", "-d", "--bundle", &bundle, &fleet.id(n)]);
    })?;
    eprintln!("{}: alive: {}", runtime().name, Machine::look(&fleet));
    churn.list(&fleet, alive)?;

    let mut first = None;
    for part in 0..5 {
        let count = churned / 5;
        churn.all("churned", count, |caller, n, figures| {
            let n = alive + part * count + n;
            fleet.make_bundle(n);
            cycle(&fleet, caller, n, figures);
            fs::remove_dir_all(fleet.bundle(n)).unwrap();
        })?;
        let now = Machine::look(&fleet);
        eprintln!("{}: churned {}: {now}", runtime().name, (part + 1) * count);
        // The first part fills the kernel's caches; from there on all must be flat.
        first.get_or_insert(now);
    }
    if let Some(first) = first {
        churn.flat("after the churn", &Machine::look(&fleet), &first)?;
    }

    // Whatever the time: what was made must go.
    churn.until(&|| false, "deleted by force", alive, |caller, n, figures| {
        figures.call(&fleet, caller, &["delete", "--force", &fleet.id(n)]);
    })?;
    let left = fleet.world.leftovers()?;
    let left = left.into_iter().map(|line| format!("left: {line}")).collect();
    worker.tell("churn, left", "all containers", left, &churn.again)?;
    fleet.world.keyrings();
    // The kernel frees cgroups and namespaces a while after their end, and no event tells of it.
    let end = Instant::now() + SETTLE;
    let mut after = Machine::look(&fleet);
    while !after.is_flat(&before) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
        after = Machine::look(&fleet);
    }
    eprintln!("{}: after: {after}", runtime().name);
    churn.flat("after all", &after, &before)
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
        let early = ["not stopped", "is not in `created` or `stopped` state"]
            .iter()
            .any(|text| answer.err.contains(text));
        if answer.is_ok() || !early || began.elapsed() > Duration::from_secs(10) {
            figures.note("delete", &answer);
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Churn<'a> {
    worker: &'a Worker<'a>,
    callers: usize,
    /// What repeats it.
    again: String,
}

impl Churn<'_> {
    /// Does `work` for `count` numbers, with all callers, and tells how it went.
    fn all(
        &self,
        what: &str,
        count: usize,
        work: impl Fn(usize, usize, &mut Figures) + Sync,
    ) -> anyhow::Result<()> {
        self.until(&|| self.worker.is_late(), what, count, work)
    }

    /// As `all`, for as long as it is not too late.
    fn until(
        &self,
        is_late: &(dyn Fn() -> bool + Sync),
        what: &str,
        count: usize,
        work: impl Fn(usize, usize, &mut Figures) + Sync,
    ) -> anyhow::Result<()> {
        let (began, work, callers) = (Instant::now(), &work, self.callers);
        let mut all = Figures::default();
        std::thread::scope(|scope| {
            let one = |caller: usize| {
                move || {
                    let mut figures = Figures::default();
                    for n in (caller..count).step_by(callers) {
                        if is_late() {
                            figures.skipped += 1;
                        } else {
                            work(caller, n, &mut figures);
                        }
                    }
                    figures
                }
            };
            let threads: Vec<_> = (0..callers).map(|caller| scope.spawn(one(caller))).collect();
            for thread in threads {
                all.add(thread.join().unwrap());
            }
        });
        all.print(what, count, began.elapsed());
        let group = format!("churn, {what}");
        for _ in all.failures.len()..all.calls {
            self.worker.tell(&group, "", Vec::new(), &self.again)?;
        }
        for failure in all.failures {
            self.worker.tell(&group, "a call", vec![failure], &self.again)?;
        }
        for _ in 0..all.skipped {
            self.worker.skip(&group, "a container", "no time")?;
        }
        Ok(())
    }

    fn list(&self, fleet: &Fleet, alive: usize) -> anyhow::Result<()> {
        let answer = fleet.call(0, &["list", "-q"]);
        let found = answer.out.lines().count();
        eprintln!("{}: list: {found} in {:.3} s", runtime().name, answer.took().as_secs_f64());
        let is_good = answer.is_ok() && found == alive || self.worker.is_late();
        let wrong = (!is_good).then(|| format!("list shows {found} of {alive}: {}", answer.err));
        self.worker.tell("churn, list", "all", wrong.into_iter().collect(), &self.again)
    }

    fn flat(&self, when: &str, now: &Machine, before: &Machine) -> anyhow::Result<()> {
        for (what, now, before, slack) in now.beside(before) {
            let wrong = (now > before + slack).then(|| format!("{what}: {before} -> {now}"));
            let group = format!("churn, flat {when}");
            self.worker.tell(&group, what, wrong.into_iter().collect(), &self.again)?;
        }
        Ok(())
    }
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

    fn print(&self, what: &str, count: usize, took: Duration) {
        let mut slowest: Vec<_> = self.slowest.iter().collect();
        slowest.sort_by_key(|(_, took)| std::cmp::Reverse(**took));
        let slowest = slowest.iter().map(|(verb, t)| format!("{verb} {:.2} s", t.as_secs_f64()));
        eprintln!(
            "{}: {count} {what} in {:.1} s, {} calls, {} failed, slowest: {}",
            runtime().name,
            took.as_secs_f64(),
            self.calls,
            self.failures.len(),
            slowest.collect::<Vec<_>>().join(", ")
        );
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
        let (keyrings, mark) = (read("/proc/keys"), format!("_ses.{}-", fleet.world.name));
        let first = |text: &str, at: usize| text.split_whitespace().nth(at)?.parse().ok();
        Self {
            used: memory("MemTotal:") - memory("MemAvailable:"),
            slab: memory("SUnreclaim:"),
            files: first(&read("/proc/sys/fs/file-nr"), 0).unwrap_or(0),
            cgroups: cgroups.and_then(|line| first(line, 1)).unwrap_or(0),
            mounts: read("/proc/self/mountinfo").lines().count() as i64,
            keyrings: keyrings.lines().filter(|line| line.contains(&mark)).count() as i64,
        }
    }

    /// Others use the machine, too: what grows with each of thousands of containers is much more.
    /// Name, now, before, and how much others may have taken meanwhile: what grows with each of
    /// thousands of containers is much more.
    fn beside(&self, before: &Self) -> [(&'static str, i64, i64, i64); 6] {
        [
            ("memory, KiB", self.used, before.used, 256 << 10),
            ("unreclaimable slab, KiB", self.slab, before.slab, 96 << 10),
            ("open files", self.files, before.files, 1000),
            ("memory cgroups", self.cgroups, before.cgroups, 200),
            ("mounts", self.mounts, before.mounts, 0),
            ("keyrings", self.keyrings, before.keyrings, 50),
        ]
    }
}

impl Machine {
    fn is_flat(&self, before: &Self) -> bool {
        self.beside(before).iter().all(|(_, now, before, slack)| now <= &(before + slack))
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
