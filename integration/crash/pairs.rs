//! `pairs`: one command is held at each of its system calls while another one runs on the same
//! container: races, one by one. If the second waits for the first, that one goes on.

use super::at::{Act, Place, Trace};
use super::names::name_of;
use super::points::{Calls, begin, listed};
use super::report::{Worker, hash};
use super::run::{self, Ended, Started};
use super::sys;
use super::verbs::{Trial, Verb, kinds};
use super::world::World;
use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

pub const OPTIONS: &[(&str, &str, &str)] = &[
    ("first", "V,..", "who is held"),
    ("second", "V,..", "who runs meanwhile"),
    ("bundles", "B,..", "default,rich"),
    ("pair", "PLACE", "this call alone, as a failure names it"),
];
const FIRST: &str = "create,run -d,start,exec,delete,delete -f,pause,resume,update,kill,state,list";
const SECOND: &str = "delete -f,delete,start,kill,pause,create,state,exec,list";

/// What a verb may say if another one was faster.
fn may_say(verb: Verb, other: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Create | Verb::RunDetached if other == Verb::Kill => {
            &["already exists", "process was killed"]
        }
        // A container that waits to be started is deleted without force, too.
        Verb::Create | Verb::RunDetached if [Verb::DeleteForce, Verb::Delete].contains(&other) => {
            &["already exists", "was deleted meanwhile", "process was killed"]
        }
        Verb::Exec | Verb::ExecDetached if [Verb::Kill, Verb::DeleteForce].contains(&other) => {
            &["does not exist", "not running", "stopped", "process was killed"]
        }
        Verb::Create | Verb::Run | Verb::RunDetached => &["already exists"],
        Verb::Start => &[
            "does not exist",
            "already running",
            "being started",
            "stopped",
            "not running",
            "paused",
            "creat",
        ],
        Verb::Delete | Verb::DeleteRunning => {
            &["does not exist", "that is not stopped", "not stopped"]
        }
        Verb::DeleteForce | Verb::List => &[],
        Verb::State => &["does not exist"],
        Verb::Exec | Verb::ExecDetached => {
            // An ordinary user cannot enter who is not dumpable, as init is before its program.
            &[
                "does not exist",
                "not running",
                "paused",
                "being created",
                "stopped",
                "ns/user: permission",
            ]
        }
        Verb::Pause => {
            &["does not exist", "not running", "already paused", "paused", "stopped", "has thawed"]
        }
        Verb::Resume => &["does not exist", "not paused", "not running", "stopped"],
        Verb::Kill | Verb::Update => &["does not exist", "not running", "stopped"],
    }
}

/// What one of two said must be legal.
fn words(which: &str, verb: Verb, other: Verb, ended: &Ended) -> Option<String> {
    let lines: Vec<_> = ended.err.lines().filter(|line| !line.contains("warning")).collect();
    let expected = if verb.is_foreground() { 7 } else { 0 };
    let said = format!("{which}, {}: {}", verb.name(), ended.brief());
    if ended.hung {
        let places = ended.seen.hung.join("; ");
        return Some(format!("{said} {places}"));
    }
    // A forced deletion kills the creator.
    let is_killed = verb.creates() && other == Verb::DeleteForce && ended.code == -libc::SIGKILL;
    let is_ended = verb.is_foreground() && ended.code == 128 + libc::SIGKILL && lines.is_empty();
    let is_good = match ended.code {
        code if code == expected => lines.is_empty(),
        code if code < 0 => is_killed,
        _ => {
            is_ended
                || lines.len() == 1
                    && may_say(verb, other).iter().any(|words| lines[0].contains(words))
        }
    };
    (!is_good).then_some(said)
}

/// Holds the verb of the trial there, and runs the second meanwhile.
fn pair(world: &mut World, trial: &mut Trial, place: Place, second: Verb) -> Result<Vec<String>> {
    trial.before(world)?;
    let (here, reached) = pipe_with(PipeFlags::CLOEXEC)?;
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&wait, true)?;
    let act = Act::Hold { reached, go: wait };
    let first = begin(world, trial, Trace { at: Some((place, act)), ..Trace::default() })?;
    // If the place is not reached, the first has ended.
    let end = Timespec { tv_sec: 10, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&here, PollFlags::IN)], Some(&end)))?;
    let words_of_second = match second {
        Verb::Delete => vec!["delete".to_owned(), trial.id.clone()],
        verb => trial.words_of(verb, world),
    };
    let other = run::start(world.command(words_of_second), &world.dir.join("second"), None)?;
    // Who was frozen by the other goes on when it is thawed.
    let thaw = || run::start(world.command(["resume", &trial.id]), &world.dir.join("thaw"), None);
    let pauses = [(trial.verb, first.pid()), (second, other.pid())];
    let pauses = pauses.into_iter().find(|(verb, _)| *verb == Verb::Pause);
    let thaw: Option<(i32, Thaw)> = pauses.map(|(_, pid)| (pid, &thaw as Thaw));
    let (first, other) = both(first, other, go, thaw)?;
    let mut wrong = Vec::new();
    wrong.extend(words("first", trial.verb, second, &first));
    wrong.extend(words("second", second, trial.verb, &other));
    world.accept_terminals();
    let (state, asked) = world.state(&trial.id)?;
    match state.as_ref().and_then(|state| state["status"].as_str()) {
        None if asked.err.contains("does not exist") && !asked.hung => {
            let left = world.leftovers()?;
            wrong.extend(
                left.first().map(|first| format!("gone, but left: {first} ({})", left.len())),
            );
        }
        None => wrong.push(format!("state: {}", asked.brief())),
        Some("creating") => wrong.push("it is being created for ever".into()),
        Some("created") => {
            let started = world.call(["start", &trial.id])?;
            // The signal may still have been on its way.
            let says = |words| started.err.contains(words);
            let is_killed = second == Verb::Kill && (says("not running") || says("has stopped"));
            if !started.is_good() && !is_killed {
                wrong.push(format!("created, but start: {}", started.brief()));
            }
        }
        Some(_) => {}
    }
    wrong.extend(trial.remove(world)?);
    Ok(wrong)
}

/// Starts what thaws the container.
type Thaw<'a> = &'a dyn Fn() -> std::io::Result<Started>;

/// Waits for the second, until it has ended or waits for something itself; then lets the first go on.
/// `thaw`: what is done once the one of that pid has ended, who pauses.
fn both(
    first: Started,
    second: Started,
    go: OwnedFd,
    mut thaw: Option<(i32, Thaw)>,
) -> Result<(Ended, Ended)> {
    let (one, two) = (first.pid(), second.pid());
    let (mut ended, mut go) = (HashMap::new(), Some(go));
    let (began, mut calm) = (Instant::now(), 0);
    while !(ended.contains_key(&one) && ended.contains_key(&two)) {
        // Nothing tells that a process has come to wait.
        sys::alarm(Duration::from_millis(if go.is_some() { 4 } else { 250 }))?;
        match sys::wait_any(true) {
            Ok(Some((pid, status))) => drop(ended.insert(pid, status)),
            Ok(None) => break,
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {
                calm = if sleeps(two) { calm + 1 } else { 0 };
            }
            Err(error) => return Err(error.into()),
        }
        if (ended.contains_key(&two) || calm > 5)
            && let Some(go) = go.take()
        {
            // Nobody reads it if the second has killed the first.
            rustix::io::write(&go, b"x").ok();
        }
        if began.elapsed() > Duration::from_secs(1)
            && thaw.as_ref().is_some_and(|(pauses, _)| ended.contains_key(pauses))
            && let Some((_, thaw)) = thaw.take()
        {
            thaw()?; // reaped like whoever else ends
        }
        if began.elapsed() > super::at::limit() * 9 / 2 {
            break;
        }
    }
    sys::alarm(Duration::ZERO)?;
    drop(go);
    let mut end = |started: Started| {
        let status = ended.remove(&started.pid());
        match status {
            Some(status) => started.ended(status, false),
            None => started.wait(),
        }
    };
    Ok((end(first)?, end(second)?))
}

fn sleeps(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}

/// The places of the command itself.
fn places(calls: &Calls) -> Vec<Place> {
    let mut counts: HashMap<i64, u32> = HashMap::new();
    let own = calls.iter().filter(|(who, _)| *who == 0);
    own.map(|(who, number)| {
        let count = counts.entry(*number).or_default();
        *count += 1;
        Place { who: *who, number: *number, count: *count }
    })
    .collect()
}

/// What a worker does.
pub fn work(worker: &mut Worker) -> Result<()> {
    let options = worker.options;
    let (first, second) =
        (Verb::of(options.get("first", FIRST))?, Verb::of(options.get("second", SECOND))?);
    for (kind_name, kind) in kinds(options.get("bundles", "default"))? {
        for &verb in &first {
            if verb.needs_cgroup() && !worker.world.has_cgroups() {
                continue;
            }
            let mut trial = Trial::new(&worker.world, verb, kind);
            let calls = listed(worker, &mut trial, kind_name).context(verb.name())?;
            let mut todo = Vec::new();
            for place in places(&calls) {
                let call = format!("{}.{}", name_of(place.number), place.count);
                for &second in
                    second.iter().filter(|v| worker.world.has_cgroups() || !v.needs_cgroup())
                {
                    todo.push((
                        place,
                        second,
                        format!("{} {kind_name} {call} {}", verb.name(), second.name()),
                        call.clone(),
                    ));
                }
            }
            todo.retain(|(_, _, name, call)| match options.own.get("pair") {
                Some(only) => only == call && worker.index == 0,
                None => worker.is_mine(name),
            });
            todo.sort_by_cached_key(|(_, _, name, _)| hash(name));
            for (place, second, name, call) in todo {
                let group = format!("{} held", verb.name());
                if worker.is_late() {
                    worker.skip(&group, &name, "no time")?;
                    continue;
                }
                let again = format!(
                    "pairs --first '{}' --second '{}' --bundles {kind_name} --pair {call}",
                    verb.name(),
                    second.name()
                );
                let wrong = match pair(&mut worker.world, &mut trial, place, second) {
                    Ok(wrong) => wrong,
                    Err(error) => {
                        worker.world.clean()?;
                        vec![format!("harness: {error:#}")]
                    }
                };
                worker.tell(&group, &name, wrong, &again)?;
            }
        }
    }
    Ok(())
}
