//! `race`: random operations of several workers on few ids. Each answer must be explained by some
//! order of the operations that overlap it (`model.rs`), in words that are true of the container,
//! not of a file, a process or a socket that another command has just removed.

use crate::fleet::Fleet;
use crate::harness::Value;
use crate::model::{Row, Step, change, check, look};
use crate::options::{Options, Tally};
use crate::parallel::{Answer, Exit};
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
    ("already exists", look::there),
    ("does not exist", look::not_there),
    ("container not running: ", look::not_running),
    ("cannot start a container that has stopped", look::ended),
    ("cannot start an already running container", look::started),
    ("cannot start a paused container", look::frozen),
    ("cannot exec in a paused container", look::frozen),
    ("is being created", look::creating),
    ("not stopped: creating", look::creating),
    ("not stopped: created", look::created),
    ("not stopped: running", look::running),
    ("not stopped: paused", look::frozen),
    ("it is creating, not ", look::creating),
    ("it is created, not ", look::created),
    ("it is running, not ", look::running),
    ("it is paused, not ", look::frozen),
    ("it is paused already", look::frozen),
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
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Runs the race on the default and on a rich bundle.
pub fn race(options: &Options) -> Tally {
    let mut tally = Tally::default();
    for (kind, bundle) in options.bundles() {
        tally.add(one(options, kind, &Fleet::new(bundle)));
    }
    tally
}

/// All calls, by the id that they were on.
type Rows = BTreeMap<usize, Vec<Row>>;

fn one(options: &Options, kind: &str, fleet: &Fleet) -> Tally {
    let (workers, ids) = (options.number("workers", 8), options.number("ids", 50));
    let (seed, operations) = (options.number("seed", 1), options.number("ops", 10_000));
    (0..ids).for_each(|n| fleet.make_bundle(n));
    let without = || options.text("without").map_or_else(Vec::new, |list| list.split(',').collect());
    let began = Instant::now();
    let end = options.end();
    let mut rows = Rows::new();
    std::thread::scope(|scope| {
        let work = |number| {
            let random = Random((seed * 1000 + number) as u64);
            let worker = Worker { number, fleet, ids, began, random, without: without(), rows: Rows::new() };
            scope.spawn(move || worker.work(operations / workers, end))
        };
        let threads: Vec<_> = (0..workers).map(work).collect();
        for thread in threads {
            for (id, more) in thread.join().unwrap() {
                rows.entry(id).or_default().extend(more);
            }
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let left = fleet.delete_all(0..ids);
    let repeat = format!("race --seed {seed} --ops {operations} --workers {workers} --ids {ids} --bundle {kind}");
    let mut tally = Tally::default();
    for line in left {
        tally.fail(&format!("left behind: {line}"), &repeat);
    }
    report(kind, &rows, seconds);
    for (id, rows) in &mut rows {
        judge(&fleet.id(*id), rows, &repeat, &mut tally);
    }
    tally
}

fn report(kind: &str, rows: &Rows, seconds: f64) {
    let mut counts = BTreeMap::<(&str, bool), usize>::new();
    let all = || rows.values().flatten().filter(|row| row.worker != OBSERVED);
    for row in all() {
        let good = row.exit == if row.verb == "exec" { "7" } else { "0" };
        *counts.entry((row.verb, good)).or_default() += 1;
    }
    let slowest = all().max_by_key(|row| row.end - row.begin);
    println!("race, {kind} bundle: {} operations in {seconds:.0} s", all().count());
    if let Some(row) = slowest {
        println!("    slowest: {} {:.2} s", row.verb, (row.end - row.begin).as_secs_f64());
    }
    let line = counts.iter().map(|((verb, good), count)| {
        format!("{verb} {} {count}", if *good { "done" } else { "refused" })
    });
    println!("    {}", line.collect::<Vec<_>>().join(", "));
}

/// The worker of what a `list` showed of one id.
const OBSERVED: usize = usize::MAX;

fn judge(id: &str, rows: &mut Vec<Row>, repeat: &str, tally: &mut Tally) {
    rows.sort_by_key(|row| row.begin);
    let overlap = |row: &Row, verbs: &[&str]| {
        rows.iter().any(|r| verbs.contains(&r.verb) && r.begin < row.end && r.end > row.begin)
    };
    let mut wrong = check(rows);
    for (n, row) in rows.iter().enumerate() {
        let of_signal = row.exit.starts_with("signal");
        let is_creator = ["create", "run -d"].contains(&row.verb);
        if of_signal && !(is_creator && overlap(row, &["delete -f"])) {
            wrong.push(crate::model::Violation { row: n, why: "died of a signal".into() });
        }
        if row.words == "creating" && !overlap(row, &["create", "run -d"]) {
            wrong.push(crate::model::Violation { row: n, why: "creating for ever".into() });
        }
    }
    let mine = rows.iter().filter(|row| row.worker != OBSERVED).count();
    tally.passed += mine.saturating_sub(wrong.len());
    for violation in wrong {
        let row = &rows[violation.row];
        let mut text = format!("{id}: {}: {}", violation.why, line(row));
        for other in rows.iter().filter(|r| r.begin < row.end && r.end > row.begin) {
            text += &format!("\n        beside {}", line(other));
        }
        if let Some(last) = rows.iter().rev().find(|r| r.end < row.begin && r.exit == "0") {
            text += &format!("\n        after {}", line(last));
        }
        tally.fail(&text, repeat);
    }
}

fn line(row: &Row) -> String {
    let (begin, end) = (row.begin.as_secs_f64(), row.end.as_secs_f64());
    format!("{begin:.4}-{end:.4} {} -> {} {:?}", row.verb, row.exit, row.words)
}

struct Worker<'a> {
    number: usize,
    fleet: &'a Fleet,
    ids: usize,
    began: Instant,
    random: Random,
    without: Vec<&'a str>,
    rows: Rows,
}

impl Worker<'_> {
    fn work(mut self, operations: usize, end: Instant) -> Rows {
        for _ in 0..operations {
            if Instant::now() > end {
                break;
            }
            let n = self.random.below(self.ids as u64) as usize;
            let verb = self.random.verb();
            if self.without.contains(&verb) {
                continue;
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
                if !frozen || started.ends(PATIENCE / 5) {
                    break;
                }
                self.resume(n, &id);
            }
            let answer = started.answer(PATIENCE);
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
        if answer.exit == Exit::Hung {
            println!("hung: {verb} {}", self.fleet.id(n));
        }
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
        let listed: Vec<Value> = serde_json::from_str(out).unwrap_or_default();
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
            Ok(vec![change::claim, change::perhaps_made, change::undone])
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
        ("kill" | "update" | "ps" | "events --stats", _) => vec![look::alive],
        ("delete", _) => vec![change::removing, change::gone],
        ("delete -f", _) => {
            vec![change::killed_if_alive, change::removing_by_force, change::gone_if_there]
        }
        ("state", _) => return seen(&status_of(&answer.out).ok_or("state is no JSON")?),
        ("list", _) => {
            let listed = serde_json::from_str::<Vec<Value>>(&answer.out);
            return listed.map(|_| Vec::new()).map_err(|e| format!("list: {e}"));
        }
        ("exec", _) => vec![look::usable],
        ("pause", _) => vec![change::frozen],
        ("resume", _) => vec![change::thawed],
        other => return Err(format!("no model of {other:?}")),
    })
}

fn refused(verb: &str, words: &str) -> Result<Vec<Step>, String> {
    if words.lines().count() != 1 {
        return Err(format!("{} lines of error", words.lines().count()));
    }
    if let Some(of_race) = RACE_WORDS.iter().find(|text| words.to_lowercase().contains(*text)) {
        return Err(format!("words of a race, {of_race:?}"));
    }
    let is_creator = ["create", "run -d"].contains(&verb);
    if is_creator && !words.contains("already exists") {
        let known = ["killed", "deleted", "does not exist", "not running", "that has stopped"];
        return match known.iter().any(|text| words.contains(text)) {
            true => Ok(vec![change::claim, change::perhaps_made, look::ended, change::undone]),
            false => Err("unknown words".into()),
        };
    }
    match REFUSALS.iter().find(|(text, _)| words.contains(text)) {
        Some((_, step)) => Ok(vec![*step]),
        None => Err("unknown words".into()),
    }
}
