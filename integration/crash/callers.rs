//! `scarcity`: callers that are odd or dead, and an init that is killed or stopped at each stage of its
//! life.

use super::judge::{Fault, judge};
use super::race::Random;
use super::run::{self, Ended};
use super::scarcity::{Excuse, Scarcity, prefixed};
use super::sys;
use super::verbs::{Trial, Verb};
use super::world::{Kind, World};
use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Signals that the caller ignores or blocks are inherited.
pub fn signals(s: &mut Scarcity) -> Result<()> {
    for option in [
        "--ignore-signal=CHLD",
        "--ignore-signal=PIPE",
        "--ignore-signal=ALRM",
        "--ignore-signal=CHLD,PIPE,ALRM,TERM,INT,HUP,XFSZ",
        "--block-signal",
    ] {
        s.each(option, |command| prefixed(&["env", option], &command), Excuse::default())?;
    }
    Ok(())
}

/// One case of init: a container at some stage, and what is done then; each lie is a line.
type Case = fn(&mut World, &mut Trial) -> Result<Vec<String>>;

pub fn init(s: &mut Scarcity) -> Result<()> {
    let cases: &[(&str, Verb, Case)] = &[
        ("created, killed", Verb::Start, created_killed),
        ("created, stopped, continued", Verb::Start, created_continued),
        ("created, stopped, deleted", Verb::Start, created_deleted),
        ("created, stopped, deleted before start", Verb::Start, created_and_not_started),
        ("created, stopped, killed while start waits", Verb::Start, created_killed_in_start),
        ("created, paused", Verb::Start, created_paused),
        ("started, killed", Verb::Kill, started_killed),
        ("started, stopped", Verb::Kill, started_stopped),
        ("started, stopped, deleted", Verb::DeleteForce, started_deleted),
        ("started, paused, deleted", Verb::DeleteForce, paused_deleted),
        ("stopping, stopped", Verb::Kill, stopping),
        ("stopping, paused", Verb::Kill, stopping_paused),
    ];
    for (what, verb, case) in cases {
        if s.is_due(what)? {
            if what.contains("paused") && !s.world().has_cgroups() {
                s.skip(what, "needs a cgroup")?;
                continue;
            }
            let world = s.world();
            let mut trial = Trial::new(world, *verb, Kind::Default);
            trial.before(world)?;
            let mut wrong =
                case(world, &mut trial).unwrap_or_else(|error| vec![format!("harness: {error:#}")]);
            let world = s.world();
            wrong.extend(trial.remove(world)?);
            s.tell(what, wrong, "")?;
        }
    }
    for signal in [libc::SIGKILL, libc::SIGSTOP] {
        for hook in ["createRuntime", "createContainer", "startContainer"] {
            let what = format!("in {hook}, signal {signal}");
            if s.is_due(&what)? {
                let mut wrong = in_hook(s.world(), hook, signal)
                    .unwrap_or_else(|error| vec![format!("harness: {error:#}")]);
                if !wrong.is_empty() {
                    s.world().clean()?;
                    wrong.extend(s.world().leftovers()?);
                }
                s.tell(&what, wrong, "")?;
            }
        }
    }
    Ok(())
}

fn signal_init(world: &World, trial: &Trial, signal: i32) -> Result<()> {
    let (state, asked) = world.state(&trial.id)?;
    let state = state.with_context(|| asked.brief())?;
    let pid = state["pid"].as_i64().filter(|pid| *pid > 1).context("no init")?;
    sys::kill(i32::try_from(pid)?, signal);
    Ok(())
}

/// What `state` says, or how it fails.
pub fn status(world: &World, trial: &Trial) -> Result<String> {
    let (state, asked) = world.state(&trial.id)?;
    Ok(state
        .and_then(|state| Some(state["status"].as_str()?.to_owned()))
        .unwrap_or_else(|| asked.brief()))
}

fn call(world: &World, trial: &Trial, words: &[&str]) -> Result<Ended> {
    let mut all = words.to_vec();
    all.insert(1, &trial.id);
    Ok(world.call(all)?)
}

/// A call in the background. Whoever reaps it, a shell has written its exit code down.
pub struct Background {
    pidfd: OwnedFd,
    pid: i32,
    dir: PathBuf,
}

fn spawn(world: &World, words: &[&str]) -> Result<Background> {
    background(world, &world.command(words))
}

pub fn background(world: &World, command: &std::process::Command) -> Result<Background> {
    let dir = world.dir.join("background");
    fs::create_dir_all(&dir)?;
    fs::remove_file(dir.join("code")).ok();
    let script =
        format!("\"$@\" 2>{0}/err </dev/null >/dev/null; echo $? >{0}/code", dir.display());
    let child = prefixed(&["/bin/sh", "-c", &script, "sh"], command).spawn()?;
    let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    Ok(Background { pidfd, pid: child.id().cast_signed(), dir })
}

impl Background {
    /// Whether it ends by then; whoever else ends is reaped meanwhile.
    fn ends(&self, limit: Duration) -> Result<bool> {
        let end = Instant::now() + limit;
        loop {
            let slice = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut fds, Some(&slice)))?;
            if !fds[0].revents().is_empty() {
                return Ok(true);
            }
            if Instant::now() > end {
                return Ok(false);
            }
            run::reap_now()?;
        }
    }

    /// Its end; a listener that is deaf may take ten seconds of it.
    pub fn wait(self) -> Result<Ended> {
        let hung = !self.ends(super::at::limit() * 3 / 2)?;
        if hung {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid));
            for pid in children.unwrap_or_default().split_whitespace() {
                sys::kill(pid.parse()?, libc::SIGKILL);
            }
            self.ends(super::at::limit())?;
        }
        let text = |name| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        let code = text("code").trim().parse().unwrap_or(-libc::SIGKILL);
        Ok(Ended { code, err: text("err"), hung, ..Ended::default() })
    }
}

/// Whether it still runs after a while in which it could have ended.
fn waits(started: &Background) -> Result<bool> {
    Ok(!started.ends(Duration::from_millis(300))?)
}

/// What is wrong, each in a line.
pub struct Lies(pub Vec<String>);

impl Lies {
    pub fn unless(&mut self, is_true: bool, text: impl FnOnce() -> String) {
        if !is_true {
            self.0.push(text());
        }
    }

    pub fn good(&mut self, what: &str, ended: &Ended) {
        self.unless(ended.is_good() && ended.err.is_empty(), || {
            format!("{what}: {}", ended.brief())
        });
    }

    /// One line that says so.
    fn refused(&mut self, what: &str, ended: &Ended, words: &str) {
        let is_clear = !ended.hung && ended.code > 0 && ended.err.lines().count() == 1;
        let says_it = words.split('|').any(|part| ended.err.contains(part));
        self.unless(is_clear && says_it, || format!("{what}: {}", ended.brief()));
    }

    fn status(&mut self, world: &World, trial: &Trial, expected: &str) -> Result<()> {
        let now = status(world, trial)?;
        self.unless(expected.split('|').any(|status| status == now), || {
            format!("it is {now}, not {expected}")
        });
        Ok(())
    }
}

fn created_killed(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGKILL)?;
    trial.becomes(world, "stopped", super::at::limit() / 5)?;
    lies.status(world, trial, "stopped")?;
    lies.refused("start", &call(world, trial, &["start"])?, "stopped|not running");
    lies.refused("exec", &call(world, trial, &["exec", "true"])?, "not running");
    lies.refused("pause", &call(world, trial, &["pause"])?, "not running");
    lies.good("delete", &call(world, trial, &["delete"])?);
    Ok(lies.0)
}

fn created_continued(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGSTOP)?;
    let starting = spawn(world, &["start", &trial.id])?;
    lies.unless(waits(&starting)?, || "start does not wait for an init that is stopped".into());
    signal_init(world, trial, libc::SIGCONT)?;
    lies.good("start", &starting.wait()?);
    lies.status(world, trial, "running")?;
    Ok(lies.0)
}

fn created_and_not_started(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGSTOP)?;
    lies.good("delete", &call(world, trial, &["delete"])?);
    lies.refused("start", &call(world, trial, &["start"])?, "does not exist");
    Ok(lies.0)
}

fn created_deleted(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGSTOP)?;
    let starting = spawn(world, &["start", &trial.id])?;
    waits(&starting)?;
    lies.good("delete --force", &call(world, trial, &["delete", "--force"])?);
    lies.refused("start", &starting.wait()?, "not running|stopped|killed|does not exist|ended");
    Ok(lies.0)
}

fn created_killed_in_start(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGSTOP)?;
    let starting = spawn(world, &["start", &trial.id])?;
    waits(&starting)?;
    signal_init(world, trial, libc::SIGKILL)?;
    lies.refused("start", &starting.wait()?, "not running|stopped|killed|ended");
    lies.status(world, trial, "stopped")?;
    Ok(lies.0)
}

fn created_paused(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    let paused = call(world, trial, &["pause"])?;
    if paused.is_good() {
        lies.refused("start", &call(world, trial, &["start"])?, "paused");
        lies.good("resume", &call(world, trial, &["resume"])?);
    }
    lies.good("start", &call(world, trial, &["start"])?);
    lies.status(world, trial, "running")?;
    Ok(lies.0)
}

fn started_killed(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGKILL)?;
    trial.becomes(world, "stopped", super::at::limit() / 5)?;
    lies.status(world, trial, "stopped")?;
    lies.refused("exec", &call(world, trial, &["exec", "true"])?, "not running");
    lies.refused("kill", &call(world, trial, &["kill"])?, "not running");
    lies.good("ps", &call(world, trial, &["ps"])?);
    lies.good("delete", &call(world, trial, &["delete"])?);
    Ok(lies.0)
}

fn started_stopped(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGSTOP)?;
    lies.status(world, trial, "running")?;
    lies.good("exec", &call(world, trial, &["exec", "true"])?);
    if world.has_cgroups() {
        lies.good("pause", &call(world, trial, &["pause"])?);
        lies.good("resume", &call(world, trial, &["resume"])?);
    }
    lies.refused("delete", &call(world, trial, &["delete"])?, "not stopped");
    lies.good("kill", &call(world, trial, &["kill", "KILL"])?);
    lies.unless(trial.becomes(world, "stopped", super::at::limit() / 5)?, || {
        "it does not stop".into()
    });
    Ok(lies.0)
}

fn started_deleted(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGSTOP)?;
    lies.good("delete --force", &call(world, trial, &["delete", "--force"])?);
    Ok(lies.0)
}

fn paused_deleted(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    lies.good("pause", &call(world, trial, &["pause"])?);
    lies.refused("delete", &call(world, trial, &["delete"])?, "not stopped");
    lies.good("delete --force", &call(world, trial, &["delete", "--force"])?);
    Ok(lies.0)
}

/// SIGKILL ends what SIGSTOP holds.
fn stopping(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    signal_init(world, trial, libc::SIGSTOP)?;
    lies.good("kill", &call(world, trial, &["kill", "KILL"])?);
    lies.unless(trial.becomes(world, "stopped", super::at::limit() / 5)?, || {
        "it does not stop".into()
    });
    lies.good("delete", &call(world, trial, &["delete"])?);
    Ok(lies.0)
}

fn stopping_paused(world: &mut World, trial: &mut Trial) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    lies.good("pause", &call(world, trial, &["pause"])?);
    lies.good("kill", &call(world, trial, &["kill", "KILL"])?);
    lies.status(world, trial, "paused|running|stopped")?;
    if status(world, trial)? == "paused" {
        lies.good("resume", &call(world, trial, &["resume"])?);
    }
    lies.unless(trial.becomes(world, "stopped", super::at::limit() / 5)?, || {
        "it does not stop".into()
    });
    lies.good("delete", &call(world, trial, &["delete"])?);
    Ok(lies.0)
}

/// A hook holds the set-up; meanwhile init gets a signal, and the hook goes on.
fn in_hook(world: &mut World, hook: &str, signal: i32) -> Result<Vec<String>> {
    let mut lies = Lies(Vec::new());
    let mut trial = Trial::new(world, Verb::Create, Kind::Default);
    trial.before(world)?;
    let file = world.bundle().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let (program, is_inside) = ("/bin/busybox", hook == "startContainer");
    // The bundle's root file system is not the host's, but the fifos are in both.
    let root = if is_inside {
        PathBuf::new()
    } else {
        PathBuf::from(config["root"]["path"].as_str().context("root")?)
    };
    let script =
        format!("cat > {0}/tmp/state; echo > {0}/tmp/held; read line < {0}/tmp/go", root.display());
    let host = PathBuf::from(config["root"]["path"].as_str().context("root")?).join("tmp");
    for fifo in ["held", "go"] {
        fs::remove_file(host.join(fifo)).ok();
        let mode = 0o666.into();
        rustix::fs::mknodat(rustix::fs::CWD, host.join(fifo), rustix::fs::FileType::Fifo, mode, 0)?;
        world.hand_over(&host.join(fifo))?;
    }
    config["hooks"] = json!({hook: [{"path": program, "args": ["busybox", "sh", "-c", script]}]});
    fs::write(&file, config.to_string())?;
    let words = if is_inside {
        lies.good("create", &world.call(trial.create(world, None))?);
        vec!["start".to_owned(), trial.id.clone()]
    } else {
        trial.create(world, None)
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let calling = spawn(world, &words)?;
    // Opening waits for the hook; without it, for ever: so for reading and writing.
    let open = |name: &str| fs::File::options().read(true).write(true).open(host.join(name));
    let held = open("held")?;
    let go = open("go")?;
    let in_time = Timespec { tv_sec: 5, tv_nsec: 0 };
    let runs = rustix::io::retry_on_intr(|| {
        poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&in_time))
    })?;
    anyhow::ensure!(runs == 1, "the hook does not run: {}", calling.wait()?.brief());
    let state: Value = serde_json::from_slice(&fs::read(host.join("state"))?)?;
    let in_state = state["pid"].as_i64().context("no pid in the hook's state")?;
    let asked = world.state(&trial.id)?.0;
    let shown = asked.and_then(|state| state["pid"].as_i64()).filter(|pid| *pid > 0);
    // Hooks inside may see the pid of their own namespace, which is somebody else here.
    let pid = shown.or((hook == "createRuntime").then_some(in_state));
    let pid = pid.or_else(|| init_of(world, &trial.id)).filter(|pid| *pid > 1);
    sys::kill(i32::try_from(pid.context("no pid of init")?)?, signal);
    std::io::Write::write_all(&mut &go, b"\n")?;
    if signal == libc::SIGSTOP {
        lies.unless(waits(&calling)?, || {
            format!("{} does not wait for an init that is stopped", words[0])
        });
        lies.good("delete --force", &call(world, &trial, &["delete", "--force"])?);
    }
    let ended = calling.wait()?;
    // A creator may be killed by who deletes its container.
    if !(signal == libc::SIGSTOP && ended.code == 128 + libc::SIGKILL) {
        lies.refused(words[0], &ended, "killed|not running|stopped|deleted|ended");
    }
    let now = status(world, &trial)?;
    let may_stay = is_inside && signal == libc::SIGKILL && now == "stopped";
    lies.unless(now.contains("does not exist") || may_stay, || format!("afterwards: {now}"));
    let more = trial.remove(world)?;
    lies.0.extend(more);
    Ok(lies.0)
}

/// The process of the container's cgroup that is the first one in its pid namespace.
fn init_of(world: &World, id: &str) -> Option<i64> {
    let is_first = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
    };
    world.pids_in(id).into_iter().find(is_first).map(i64::from)
}

/// The caller is killed at a random moment, and the runtime with it, or not.
pub fn dead(s: &mut Scarcity) -> Result<()> {
    let verbs = [
        Verb::Create,
        Verb::Start,
        Verb::RunDetached,
        Verb::Run,
        Verb::Exec,
        Verb::ExecDetached,
        Verb::Delete,
        Verb::DeleteForce,
        Verb::Pause,
        Verb::Kill,
    ];
    let mut random = Random(7);
    for (name, kind) in [("default", Kind::Default), ("rich", Kind::Rich)] {
        for verb in verbs {
            for n in 0..30 {
                let delay = random.below(1000).pow(2) as f64 / 1e6 * 0.06;
                let dies = n % 3 != 0;
                let what = format!(
                    "{} ({name}), caller dead after {delay:.4} s, {}",
                    verb.name(),
                    if dies { "and the runtime" } else { "the runtime goes on" }
                );
                if !s.is_due(&what)? {
                    continue;
                }
                let world = s.world();
                let mut trial = Trial::new(world, verb, kind);
                trial.before(world)?;
                // Whoever has lost its caller before that is set is not told of it any more.
                let death = if dies {
                    "setpriv --pdeathsig KILL sh -c '[ $PPID = $0 ] && exec \"$@\"' $$ "
                } else {
                    ""
                };
                let script = format!("{death}\"$@\" & sleep {delay:.4}; kill -9 $$");
                let command = prefixed(&["/bin/sh", "-c", &script, "sh"], &trial.command(world));
                // What runs on writes into a file that no later call uses.
                let out = world.dir.join("dead");
                fs::remove_file(&out).ok();
                let ended = run::start(command, &out, None)?.wait()?;
                // It is one of ours now, and ends of itself.
                run::reap_until(0, Duration::from_millis(if dies { 20 } else { 400 }))?;
                let fault = Fault { main_died: true, ..Fault::default() };
                let wrong = judge(world, &trial, &ended, fault)?;
                let wrong =
                    wrong.into_iter().map(|line| format!("{}: {line}", verb.name())).collect();
                s.tell(&what, wrong, "")?;
            }
        }
    }
    Ok(())
}
