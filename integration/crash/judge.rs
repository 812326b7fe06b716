//! What must be true after a point: the command ended in time, with one clear line if it failed; its
//! exit code is true to what it did; `state` is true; who repeats the command gets there; `delete
//! --force` leaves nothing. Each lie is a line.

use super::run::{Ended, brief};
use super::verbs::{LIMIT, Trial, Verb, limit};
use super::world::World;
use anyhow::Result;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// Who was killed has that long to end, on a busy machine.
fn timeout() -> Duration {
    super::at::limit() / 2
}

/// What was done to the command, as far as it excuses something.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fault {
    /// It was killed itself, so that it says nothing.
    pub main_died: bool,
    /// A process that it made was killed by us.
    pub init_died: bool,
    /// That one was killed at a call of its own, so before it executed a program.
    pub before_program: bool,
    /// A call of a process that it made failed.
    pub init_failed: bool,
    /// A write of its own failed, perhaps that of its message.
    pub write_failed: bool,
    /// All later calls of the kind failed, too.
    pub persists: bool,
}

/// The look at one container.
pub struct Judge<'a> {
    world: &'a mut World,
    trial: &'a Trial,
    ended: &'a Ended,
    fault: Fault,
    success: bool,
    /// The status that `state` tells; `None`: there is no container.
    now: Option<String>,
    pid: i64,
    wrong: Vec<String>,
}

/// All lies about the container of a trial, which is removed.
pub fn judge(world: &mut World, trial: &Trial, ended: &Ended, fault: Fault) -> Result<Vec<String>> {
    world.accept_terminals();
    let expected = if trial.verb.is_foreground() { 7 } else { 0 };
    // A command that hung was killed.
    let main_died = fault.main_died || ended.hung;
    let fault = Fault { main_died, ..fault };
    let success = !main_died && ended.code == expected;
    let (now, pid, wrong) = (None, 0, Vec::new());
    let mut judge = Judge { world, trial, ended, fault, success, now, pid, wrong };
    for line in &ended.seen.hung {
        judge.wrong.push(format!("HANGS: {line}"));
    }
    if !main_died {
        judge.words();
    }
    judge.state()?;
    judge.effect()?;
    judge.again()?;
    let removed = trial.remove(judge.world)?;
    judge.wrong.extend(removed);
    Ok(judge.wrong)
}

impl Judge<'_> {
    fn say(&mut self, text: impl Into<String>) {
        self.wrong.push(text.into());
    }

    /// What it says beside a lie.
    fn said(&self) -> String {
        format!("{:?}", brief(&self.ended.err))
    }

    /// The exit code and the message, by themselves.
    fn words(&mut self) {
        let ended = self.ended;
        let lines: Vec<_> = ended.err.lines().filter(|line| !line.contains("warning")).collect();
        if ended.code < 0 {
            self.say(format!("died of signal {}: {}", -ended.code, self.said()));
        } else if ended.err.contains("panicked") {
            self.say(format!("panic: {}", self.said()));
        } else if self.success && !lines.is_empty() && !ended.err.contains("hook") {
            self.say(format!("success with an error: {}", self.said()));
        } else if !self.success && self.trial.verb.is_foreground() && ended.code == 0 {
            self.say(format!("exit 0 instead of 7: {}", self.said()));
        } else if !self.success && lines.len() != 1 {
            let killed = ended.code == 128 + libc::SIGKILL && self.trial.verb.is_foreground();
            let is_told = killed && self.fault.init_died;
            let is_mute = lines.is_empty() && self.fault.write_failed;
            if !is_told && !is_mute {
                self.say(format!(
                    "exit {} with {} lines: {}",
                    ended.code,
                    lines.len(),
                    self.said()
                ));
            }
        }
    }

    fn state(&mut self) -> Result<()> {
        let (state, asked) = self.world.state(&self.trial.id)?;
        match state {
            Some(state) => {
                self.now = state["status"].as_str().map(str::to_owned);
                self.pid = state["pid"].as_i64().unwrap_or(0);
            }
            None if asked.err.contains("does not exist") && !asked.hung => {}
            None => self.say(format!("state: {}", asked.brief())),
        }
        match self.now.as_deref() {
            Some("stopped") => self.nobody_is_alive(),
            Some(now @ ("created" | "running" | "paused")) if self.pid <= 0 => {
                let text = format!("state says {now}, but the pid {}", self.pid);
                self.say(text);
            }
            None | Some("creating" | "created" | "running" | "paused") => {}
            Some(other) => {
                let text = format!("state says {other}");
                self.say(text);
            }
        }
        Ok(())
    }

    /// `stopped` is true if nobody is in the cgroup, but for who is on the way out.
    fn nobody_is_alive(&mut self) {
        let end = Instant::now() + timeout();
        // Init may have died with others in its namespace, which end when they are reaped.
        while !self.world.pids_in(&self.trial.id).is_empty() {
            if Instant::now() > end {
                let text = format!("state says stopped, but it runs: {}", self.said());
                return self.say(text);
            }
            super::run::reap_all(Duration::from_millis(2)).ok();
        }
    }

    fn is(&self, status: &str) -> bool {
        self.now.as_deref() == Some(status)
    }

    /// The status that a success of the verb promises.
    fn must_be(&mut self, status: &str) -> bool {
        if self.success && !self.is(status) {
            let stopped = self.is("stopped");
            // Who was killed after its program began has stopped, and nobody lied.
            // After `create` it need not have begun: it was ready.
            let may_be = !self.fault.before_program || self.trial.verb == Verb::Create;
            if !(stopped && self.fault.init_died && may_be) {
                let text = format!(
                    "success, but {}: {}",
                    self.now.as_deref().unwrap_or("gone"),
                    self.said()
                );
                self.say(text);
            }
            return false;
        }
        self.success
    }

    /// The failure of the verb has had its effect.
    fn must_not_be(&mut self, status: &str) {
        if self.failed() && self.is(status) && !self.is_told() {
            let text = format!("failure, but {status}: {}", self.said());
            self.say(text);
        }
    }

    fn failed(&self) -> bool {
        !self.success && !self.fault.main_died
    }

    fn effect(&mut self) -> Result<()> {
        match self.trial.verb {
            Verb::Create => {
                // Init may have failed after it was ready: that is for `start` to tell.
                let told_later = self.fault.init_failed && self.is("stopped");
                if !told_later && self.must_be("created") {
                    self.pid_file(self.pid);
                    self.usable(true)?;
                }
                self.gone_if_failed()?;
            }
            Verb::RunDetached => {
                if self.must_be("running") {
                    self.pid_file(self.pid);
                    self.usable(false)?;
                }
                self.gone_if_failed()?;
            }
            Verb::Run => self.after_run()?,
            Verb::Start => {
                if self.must_be("running") {
                    self.usable(false)?;
                }
                self.must_not_be("running");
                if self.fault.main_died && !self.fault.init_died && self.is("stopped") {
                    self.say("it was killed, and init has ended with it");
                }
            }
            Verb::Exec => self.has_said_hi(),
            Verb::ExecDetached => self.after_exec_detached(),
            Verb::Kill => {
                if self.success && !self.trial.becomes(self.world, "stopped", timeout())? {
                    self.say("success, but it does not stop");
                }
            }
            Verb::Pause => {
                self.must_be("paused");
                self.must_not_be("paused");
            }
            Verb::Resume => {
                self.must_be("running");
                self.must_not_be("running");
            }
            Verb::Update => {
                let (now, before) = (limit(self.world, &self.trial.id), self.trial.limit.clone());
                if self.success && now.as_deref() != Some(LIMIT) {
                    self.say(format!("success, but the limit is {now:?}"));
                }
                if self.failed() && now != before && !self.is_told() {
                    self.say(format!("failure, but the limit is {now:?}: {}", self.said()));
                }
            }
            Verb::Delete | Verb::DeleteForce => {
                if self.success {
                    self.gone()?;
                }
                if self.failed() && self.now.is_none() {
                    self.say(format!("failure, but gone: {}", self.said()));
                }
            }
            Verb::DeleteRunning => {
                if self.success || (!self.fault.main_died && !self.is("running")) {
                    let now = self.now.as_deref().unwrap_or("gone");
                    self.say(format!(
                        "a running container was deleted: {now}, {}",
                        self.ended.brief()
                    ));
                }
            }
            Verb::State => self.printed(|value, _| value["status"] == "running"),
            Verb::List => self.printed(|value, id| {
                value.as_array().is_some_and(|all| {
                    all.len() == 1 && all[0]["id"] == id && all[0]["status"] == "running"
                })
            }),
        }
        Ok(())
    }

    /// Of a program in the foreground nothing is left; but if that was told, it may be a record.
    fn after_run(&mut self) -> Result<()> {
        self.has_said_hi();
        if self.success {
            self.gone()?;
        } else if !self.is("stopped") {
            self.gone_if_failed()?;
        }
        Ok(())
    }

    fn has_said_hi(&mut self) {
        if self.success && !self.ended.out.contains("hi") {
            self.say("exit 7 without output");
        }
    }

    fn after_exec_detached(&mut self) {
        let pids = self.world.pids_in(&self.trial.id);
        let is_it = |pid: &&i32| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.contains("1001")
        };
        let alive = pids.iter().find(is_it).copied();
        match alive {
            Some(pid) if self.success => self.pid_file(pid.into()),
            Some(_) if self.failed() => self.say(format!("failure, but it runs: {}", self.said())),
            None if self.success && !self.world.has_cgroups() => {}
            None if self.success && (!self.fault.init_died || self.fault.before_program) => {
                self.say("success, but the program never ran");
            }
            _ => {}
        }
    }

    fn pid_file(&mut self, pid: i64) {
        let text = fs::read_to_string(self.world.pid_file()).unwrap_or_default();
        if text != pid.to_string() {
            self.say(format!("the pid file says {text:?}, not {pid}"));
        }
    }

    fn printed(&mut self, is_true: impl Fn(&Value, &str) -> bool) {
        if !self.success {
            return;
        }
        let value: Option<Value> = serde_json::from_str(&self.ended.out).ok();
        if !value.is_some_and(|value| is_true(&value, &self.trial.id)) {
            self.say(format!("success, but it says {:?}", brief(&self.ended.out)));
        }
    }

    /// A container that is there is of use: it can be started, and entered.
    fn usable(&mut self, starts: bool) -> Result<()> {
        // Init was killed: perhaps after we looked.
        let is_dead = self.fault.init_died;
        if starts {
            let started = self.world.call(["start", &self.trial.id])?;
            // What failed in init after it was ready, start tells in one line.
            let is_told =
                self.fault.init_failed && started.err.lines().count() == 1 && !started.hung;
            if !started.is_good() && !is_dead && !is_told {
                self.say(format!("success, but then start: {}", started.brief()));
            }
            if !started.is_good() {
                return Ok(());
            }
        }
        let entered = self.world.call(["exec", &self.trial.id, "true"])?;
        if entered.hung || !(entered.is_good() || is_dead) {
            self.say(format!("not usable: exec: {}", entered.brief()));
        }
        Ok(())
    }

    /// What could not be undone, as the undoing failed for the same reason, has been told, or could not.
    fn is_told(&self) -> bool {
        let err = &self.ended.err;
        let is_said = err.contains("and then: ");
        self.fault.persists && (is_said || self.fault.write_failed && err.is_empty())
    }

    fn gone_if_failed(&mut self) -> Result<()> {
        if self.failed() && !self.is_told() { self.gone() } else { Ok(()) }
    }

    fn gone(&mut self) -> Result<()> {
        if let Some(now) = self.now.clone() {
            self.say(format!("still there: {now}: {}", self.said()));
        }
        let left = self.world.leftovers()?;
        if let Some(first) = left.first() {
            self.say(format!("left: {first} ({}): {}", left.len(), self.said()));
        }
        Ok(())
    }

    /// Who repeats an interrupted command gets where it wanted to go.
    fn again(&mut self) -> Result<()> {
        let (id, words) = (self.trial.id.clone(), self.trial.words(self.world));
        if self.success || self.fault.init_died && !self.fault.main_died {
            return Ok(());
        }
        match self.trial.verb {
            Verb::Start if self.is("created") => {
                let started = self.world.call(["start", &id])?;
                // Or init goes on, as it had been told by the one that was killed.
                let going_on = ["already running", "it is being started"];
                let ran = going_on.iter().any(|words| started.err.contains(words))
                    && self.trial.becomes(self.world, "running", timeout())?;
                if started.hung || !(started.is_good() || self.fault.init_died || ran) {
                    self.say(format!("created, but start again: {}", started.brief()));
                }
            }
            Verb::Pause | Verb::Resume if self.is("running") || self.is("paused") => {
                if self.is("paused") {
                    let resumed = self.world.call(["resume", &id])?;
                    if !resumed.is_good() {
                        self.say(format!("resume again: {}", resumed.brief()));
                    }
                }
                self.usable(false)?;
            }
            Verb::Update => {
                let again = self.world.call(words)?;
                let now = limit(self.world, &id);
                if !again.is_good() || now.as_deref() != Some(LIMIT) {
                    self.say(format!("update again: {now:?}, {}", again.brief()));
                }
            }
            Verb::Kill => {
                let again = self.world.call(words)?;
                let good = again.is_good() || again.err.contains("not running");
                if !good || !self.trial.becomes(self.world, "stopped", timeout())? {
                    self.say(format!("kill again: {}", again.brief()));
                }
            }
            Verb::Exec | Verb::ExecDetached | Verb::State | Verb::List if self.is("running") => {
                self.usable(false)?;
            }
            Verb::Delete if self.now.is_some() => {
                let again = self.world.call(words)?;
                if again.hung || !(again.is_good() || again.err.contains("does not exist")) {
                    self.say(format!("delete again: {}", again.brief()));
                }
            }
            Verb::Create if self.fault.main_died && self.now.is_some() => {
                let again = self.world.call(words)?;
                if again.hung || !again.err.contains("exist") {
                    self.say(format!("create again: {}", again.brief()));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
