//! `race`: random operations of several workers on few ids. Each answer must be explained by some
//! order of the operations that overlap it (`model.rs`), in words that are true of the container,
//! not of a file, a process or a socket that another command has just removed.

use super::Suite;
use super::fleet::Fleet;
use super::harness::{Hierarchy, Value};
use super::model::{Row, Step, Violation, change, check, look};
use super::parallel::{Answer, Exit};
use super::report::Worker;
use super::world::Kind;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often each verb is tried.
const VERBS: &[(&str, u64)] = &[
    ("create", 20),
    ("run -d", 5),
    ("start", 16),
    ("kill", 8),
    ("delete", 10),
    ("delete -f", 5),
    ("state", 11),
    ("list", 2),
    ("exec", 11),
    ("pause", 6),
    ("resume", 7),
    ("update", 3),
    ("ps", 3),
    ("events --stats", 3),
];

/// Words of a refusal, and what must have been so for them to be true.
const REFUSALS: &[(&str, Step)] = &[
    (" is creating", look::creating),
    ("already exists", look::there),
    ("does not exist", look::not_there),
    ("container not running: ", look::not_running),
    ("cannot start a container that has stopped", look::ended),
    ("cannot start an already running container", look::started),
    ("it is being started", look::created),
    ("cannot start a container in the paused state", look::frozen),
    ("cannot exec in a paused container", look::frozen),
    // Init is not dumpable before its program: an ordinary user cannot enter it.
    ("/ns/user: permission denied", look::created),
    ("is being created", look::creating),
    ("not stopped: creating", look::creating),
    ("not stopped: running", look::running),
    ("not stopped: paused", look::frozen),
    ("it is creating, not ", look::creating),
    ("it is created, not ", look::created),
    ("it is running, not ", look::running),
    ("it is paused, not ", look::frozen),
    ("it is paused already", look::frozen),
    // By a kill that overlaps: nothing frozen could die.
    ("another command has thawed it meanwhile", look::there),
];

/// What only a file, a process or a socket of ours can have said.
const RACE_WORDS: &[&str] = &[
    "no such process",
    "no such file",
    "connection refused",
    "connection reset",
    "broken pipe",
    "out of memory",
    "bad file descriptor",
    "no child process",
    "stale",
    "is busy",
];

/// How long a call may take, unless the container is paused under it.
fn timeout() -> Duration {
    super::at::limit()
}

/// SplitMix64: the same numbers for the same seed, everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn verb(&mut self) -> &'static str {
        let mut at = self.below(VERBS.iter().map(|(_, weight)| weight).sum());
        for (verb, weight) in VERBS {
            if at < *weight {
                return verb;
            }
            at -= weight;
        }
        unreachable!()
    }
}

pub const SUITE: Suite = Suite {
    name: "race",
    about: "random operations of several callers on few containers, checked against a model",
    is_alone: true,
    options: &[
        ("ops", "N", "operations (10000)"),
        ("callers", "N", "callers side by side (8)"),
        ("ids", "N", "containers (50)"),
        ("seed", "N", "of the random choice (1)"),
        ("bundle", "KIND", "default or rich; both if not given"),
        ("without", "VERBS", "verbs that are not tried"),
    ],
    work,
};

fn work(worker: &mut Worker) -> anyhow::Result<()> {
    for (name, kind) in [("default", Kind::Default), ("rich", Kind::Rich)] {
        if [name, "both"].contains(&worker.options.get("bundle", "both")) {
            one(worker, name, kind)?;
        }
    }
    Ok(())
}

/// All calls, by the id that they were on.
type Rows = BTreeMap<usize, Vec<Row>>;

fn one(worker: &Worker, name: &str, kind: Kind) -> anyhow::Result<()> {
    let number = |name, default| worker.options.number(name, default).map(|n| n as usize);
    let (callers, ids) = (number("callers", 8)?, number("ids", 50)?);
    let (seed, operations) = (number("seed", 1)?, number("ops", 10_000)?);
    let mut without: Vec<_> = worker.options.get("without", "").split(',').collect();
    if !worker.world.has_cgroups() {
        without.extend(["pause", "resume", "update", "ps", "events --stats"]);
    } else if !Hierarchy::of_host().has("pids") {
        without.push("update");
    }
    let fleet = Fleet::new(&worker.world, kind);
    for n in 0..ids {
        fleet.make_bundle(n);
    }
    let began = Instant::now();
    let mut rows = Rows::new();
    std::thread::scope(|scope| {
        let call = |number| {
            let random = Random((seed * 1000 + number) as u64);
            let (fleet, without, end) = (&fleet, &without, worker.end());
            let caller = Caller { number, fleet, ids, began, random, without, rows: Rows::new() };
            scope.spawn(move || caller.work(operations / callers, end))
        };
        let threads: Vec<_> = (0..callers).map(call).collect();
        for thread in threads {
            for (id, more) in thread.join().unwrap() {
                rows.entry(id).or_default().extend(more);
            }
        }
    });
    let took = began.elapsed();
    let mut again = format!(
        "race --seed {seed} --ops {operations} --callers {callers} --ids {ids} --bundle {name}"
    );
    if let Some(names) = worker.options.own.get("without") {
        again += &format!(" --without {names}");
    }
    let group = format!("race {name}");
    worker.tell(&format!("{group}, left"), "all containers", fleet.delete_all(0..ids)?, &again)?;
    figures(name, &rows, took);
    for (n, rows) in &mut rows {
        rows.sort_by_key(|row| row.begin);
        let mut wrong = judge(rows);
        for (place, row) in rows.iter().enumerate().filter(|(_, row)| row.worker != OBSERVED) {
            let found = wrong.remove(&place).unwrap_or_default();
            worker.tell(&format!("{group}, {}", row.verb), &fleet.id(*n), found, &again)?;
        }
        for found in wrong.into_values() {
            worker.tell(&format!("{group}, list"), &fleet.id(*n), found, &again)?;
        }
    }
    Ok(())
}

fn figures(kind: &str, rows: &Rows, took: Duration) {
    let mut counts = BTreeMap::<&str, [usize; 2]>::new();
    let all = || rows.values().flatten().filter(|row| row.worker != OBSERVED);
    for row in all() {
        let is_good = row.exit == if row.verb == "exec" { "7" } else { "0" };
        counts.entry(row.verb).or_default()[usize::from(!is_good)] += 1;
    }
    let slowest = all().max_by_key(|row| row.end - row.begin);
    let slowest = slowest.map_or_else(String::new, |row| {
        format!("{} {:.2} s", row.verb, (row.end - row.begin).as_secs_f64())
    });
    let (count, seconds) = (all().count(), took.as_secs_f64());
    eprintln!("race {kind}: {count} operations in {seconds:.0} s, slowest {slowest}");
    let line = counts.iter().map(|(verb, [good, not])| format!("{verb} {good}/{}", good + not));
    eprintln!("    done of tried: {}", line.collect::<Vec<_>>().join(", "));
}

/// The worker of what a `list` showed of one id.
const OBSERVED: usize = usize::MAX;

/// What is wrong with the calls on one id, by their place.
fn judge(rows: &[Row]) -> BTreeMap<usize, Vec<String>> {
    let beside = |row: &Row| {
        let (begin, end) = (row.begin, row.end);
        rows.iter().filter(move |r| r.begin < end && r.end > begin)
    };
    let overlaps = |row: &Row, verbs: &[&str]| beside(row).any(|r| verbs.contains(&r.verb));
    let mut found = check(rows);
    for (n, row) in rows.iter().enumerate() {
        let is_creator = ["create", "run -d"].contains(&row.verb);
        let forced = is_creator && overlaps(row, &["delete -f"]);
        if row.exit.starts_with("signal") && !forced {
            found.push(Violation { row: n, why: "died of a signal".into() });
        }
        if row.words == "creating" && !overlaps(row, &["create", "run -d"]) {
            found.push(Violation { row: n, why: "creating for ever".into() });
        }
    }
    let mut wrong = BTreeMap::<usize, Vec<String>>::new();
    for Violation { row: n, why } in found {
        let row = &rows[n];
        let mut text = format!("{}: {}", line(row), why);
        let first = beside(row).map(|r| r.begin).min().unwrap_or(row.begin);
        let around = rows.iter().filter(|r| r.begin < row.end && r.end > first);
        // What could not have happened has, perhaps, been excluded by something before.
        let before = rows.iter().rev().filter(|r| r.end <= first).take(4);
        for other in before.collect::<Vec<_>>().into_iter().rev().chain(around) {
            text += &format!("\n        {}", line(other));
        }
        wrong.entry(n).or_default().push(text);
    }
    wrong
}

fn line(row: &Row) -> String {
    let (begin, end) = (row.begin.as_secs_f64(), row.end.as_secs_f64());
    format!("{} -> {} {:?} ({begin:.4} to {end:.4})", row.verb, row.exit, row.words)
}

struct Caller<'a> {
    number: usize,
    fleet: &'a Fleet<'a>,
    ids: usize,
    began: Instant,
    random: Random,
    without: &'a [&'a str],
    rows: Rows,
}

impl Caller<'_> {
    fn work(mut self, operations: usize, end: Option<Instant>) -> Rows {
        for _ in 0..operations {
            if end.is_some_and(|end| Instant::now() > end) {
                break;
            }
            let n = self.random.below(self.ids as u64) as usize;
            let mut verb = self.random.verb();
            while self.without.contains(&verb) {
                verb = self.random.verb();
            }
            let signal = ["KILL", "KILL", "TERM", "0"][self.random.below(4) as usize];
            let id = self.fleet.id(n);
            let bundle = self.fleet.bundle(n);
            let bundle = bundle.to_str().unwrap();
            let words: Vec<&str> = match verb {
                "create" => vec!["create", "--bundle", bundle, &id],
                "run -d" => vec!["run", "-d", "--bundle", bundle, &id],
                "delete -f" => vec!["delete", "--force", &id],
                "kill" => vec!["kill", &id, signal],
                "list" => vec!["list", "-f", "json"],
                "exec" => vec!["exec", &id, "sh", "-c", "exit 7"],
                "update" => vec!["update", "--pids-limit", "100", &id],
                "events --stats" => vec!["events", "--stats", &id],
                verb => vec![verb, &id],
            };
            let started = self.fleet.start(self.number, &words);
            // What runs in a frozen cgroup waits for who thaws it; if all workers do, that is us.
            let frozen = ["exec", "start", "run -d"].contains(&verb);
            for _ in 0..4 {
                if !frozen || started.ends(timeout() / 5) {
                    break;
                }
                self.resume(n, &id);
            }
            let answer = started.answer(timeout());
            let signal = if verb == "kill" { signal } else { "" };
            self.note(n, verb, signal, &answer);
        }
        self.rows
    }

    fn resume(&mut self, n: usize, id: &str) {
        let answer = self.fleet.call(self.number + 1000, &["resume", id]);
        self.note(n, "resume", "", &answer);
    }

    fn note(&mut self, n: usize, verb: &'static str, signal: &str, answer: &Answer) {
        let exit = match answer.exit {
            Exit::Code(code) => code.to_string(),
            Exit::Signal(signal) => format!("signal {signal}"),
            Exit::Hung => "HUNG".into(),
        };
        let row = Row {
            begin: answer.began - self.began,
            end: answer.ended - self.began,
            worker: self.number,
            verb,
            exit,
            words: answer.err.clone(),
            steps: steps(verb, signal, answer),
        };
        if verb == "list" && answer.is_ok() {
            self.note_list(row, &answer.out);
        } else if verb == "state" && answer.is_ok() {
            let words = status_of(&answer.out).unwrap_or_default();
            self.rows.entry(n).or_default().push(Row { words, ..row });
        } else {
            self.rows.entry(n).or_default().push(row);
        }
    }

    /// A list tells of every id, also by saying nothing of it.
    fn note_list(&mut self, row: Row, out: &str) {
        let listed = listed(out).unwrap_or_default();
        for n in 0..self.ids {
            let id = self.fleet.id(n);
            let found = listed.iter().find(|container| container["id"] == id.as_str());
            let status = found.map(|container| container["status"].as_str().unwrap_or_default());
            let steps = match status {
                None => Ok(vec![look::not_there as Step]),
                Some(name) => seen(name),
            };
            let words = status.unwrap_or("not listed").to_owned();
            let row = Row { worker: OBSERVED, words, steps, ..row.clone() };
            self.rows.entry(n).or_default().push(row);
        }
        self.rows.entry(0).or_default().push(row);
    }
}

fn status_of(out: &str) -> Option<String> {
    let state: Value = serde_json::from_str(out).ok()?;
    Some(state["status"].as_str()?.to_owned())
}

/// As with runc, a list of none is `null`.
fn listed(out: &str) -> Result<Vec<Value>, String> {
    let listed = serde_json::from_str::<Option<Vec<Value>>>(out);
    listed.map(Option::unwrap_or_default).map_err(|e| format!("list: {e}"))
}

fn seen(status: &str) -> Result<Vec<Step>, String> {
    look::status(status).map(|step| vec![step]).ok_or_else(|| format!("illegal status {status:?}"))
}

/// What must have happened for this answer.
fn steps(verb: &str, signal: &str, answer: &Answer) -> Result<Vec<Step>, String> {
    let success = if verb == "exec" { 7 } else { 0 };
    match answer.exit {
        Exit::Hung => Err("hung".into()),
        Exit::Code(code) if code == success => match answer.err.as_str() {
            "" => done(verb, signal, answer),
            words => Err(format!("success with words: {words}")),
        },
        Exit::Code(137) if verb == "exec" && answer.err.is_empty() => {
            Ok(vec![look::usable, look::ended])
        }
        Exit::Signal(_) if ["create", "run -d"].contains(&verb) => {
            Ok([begun(verb), vec![change::undone]].concat())
        }
        Exit::Signal(_) => Ok(Vec::new()),
        Exit::Code(_) => refused(verb, &answer.err),
    }
}

fn done(verb: &str, signal: &str, answer: &Answer) -> Result<Vec<Step>, String> {
    Ok(match (verb, signal) {
        ("create", _) => vec![change::claim, change::made],
        ("run -d", _) => vec![change::claim, change::made, change::started],
        ("start", _) => vec![change::started],
        ("kill", "KILL") => vec![change::killed],
        ("kill", "TERM") => vec![change::terminated],
        ("kill" | "update" | "events --stats", _) => vec![look::alive],
        // Of a container that has stopped, too: nobody.
        ("ps", _) => vec![look::there],
        ("delete", _) => vec![change::removing, change::gone],
        ("delete -f", _) => {
            vec![change::killed_if_alive, change::removing_by_force, change::gone_if_there]
        }
        ("state", _) => return seen(&status_of(&answer.out).ok_or("state is no JSON")?),
        ("list", _) => {
            return listed(&answer.out).map(|_| Vec::new());
        }
        ("exec", _) => vec![look::usable],
        ("pause", _) => vec![change::frozen],
        ("resume", _) => vec![change::thawed],
        other => return Err(format!("no model of {other:?}")),
    })
}

/// What a creator that failed has done before.
fn begun(verb: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![change::claim, change::perhaps_made];
    if verb == "run -d" {
        steps.push(change::perhaps_started);
    }
    steps
}

fn refused(verb: &str, words: &str) -> Result<Vec<Step>, String> {
    if words.lines().count() != 1 {
        return Err(format!("{} lines of error", words.lines().count()));
    }
    if let Some(of_race) = RACE_WORDS.iter().find(|text| words.to_lowercase().contains(*text)) {
        return Err(format!("words of a race, {of_race:?}"));
    }
    if verb == "delete -f" {
        return Err("to delete by force what is not there is no error".into());
    }
    let is_creator = ["create", "run -d"].contains(&verb);
    if is_creator && !words.contains("already exists") {
        let known = ["killed", "deleted", "does not exist", "not running", "that has stopped"];
        return match known.iter().any(|text| words.contains(text)) {
            true => Ok([begun(verb), vec![look::ended, change::undone]].concat()),
            false => Err("unknown words".into()),
        };
    }
    match REFUSALS.iter().find(|(text, _)| words.contains(text)) {
        Some((_, step)) => Ok(vec![*step]),
        None => Err("unknown words".into()),
    }
}
