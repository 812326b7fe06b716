//! The verbs: what must be there before, what is called.

use super::run::{self, Ended};
use super::world::{Kind, Program, Template, World};
use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Start,
    RunDetached,
    Run,
    Exec,
    ExecDetached,
    Kill,
    Pause,
    Resume,
    Update,
    Delete,
    DeleteRunning,
    DeleteForce,
    State,
    List,
}

/// All, with their names.
pub const VERBS: &[(&str, Verb)] = &[
    ("create", Verb::Create),
    ("start", Verb::Start),
    ("run -d", Verb::RunDetached),
    ("run", Verb::Run),
    ("exec", Verb::Exec),
    ("exec -d", Verb::ExecDetached),
    ("kill", Verb::Kill),
    ("pause", Verb::Pause),
    ("resume", Verb::Resume),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("delete running", Verb::DeleteRunning),
    ("delete -f", Verb::DeleteForce),
    ("state", Verb::State),
    ("list", Verb::List),
];

impl Verb {
    /// Those of a list of names, or all.
    pub fn of(names: &str) -> Result<Vec<Self>> {
        if names == "all" {
            return Ok(VERBS.iter().map(|(_, verb)| *verb).collect());
        }
        let one = |name: &str| {
            let found = VERBS.iter().find(|(known, _)| *known == name);
            found.map(|(_, verb)| *verb).ok_or_else(|| anyhow::anyhow!("no verb {name:?}"))
        };
        names.split(',').map(one).collect()
    }

    pub fn name(self) -> &'static str {
        VERBS.iter().find(|(_, verb)| *verb == self).map_or("?", |(name, _)| name)
    }

    /// Makes a container itself.
    pub fn creates(self) -> bool {
        matches!(self, Self::Create | Self::Run | Self::RunDetached)
    }

    /// Its exit code is that of the program, which is 7.
    pub fn is_foreground(self) -> bool {
        matches!(self, Self::Run | Self::Exec)
    }

    /// Needs a cgroup of the container's own.
    pub fn needs_cgroup(self) -> bool {
        matches!(self, Self::Pause | Self::Resume | Self::Update)
    }
}

/// Bundles of a list of names.
pub fn kinds(names: &str) -> Result<Vec<(&'static str, Kind)>> {
    let all = [("default", Kind::Default), ("rich", Kind::Rich)];
    let one = |name: &str| {
        let found = all.iter().find(|(known, _)| *known == name);
        found.copied().ok_or_else(|| anyhow::anyhow!("no bundle {name:?}"))
    };
    names.split(',').map(one).collect()
}

/// One verb on containers of one kind.
pub struct Trial {
    pub verb: Verb,
    template: Template,
    has_terminal: bool,
    /// Of the container at hand.
    pub id: String,
    /// Before `update`.
    pub limit: Option<String>,
}

impl Trial {
    pub fn new(world: &World, verb: Verb, kind: Kind) -> Self {
        // `run` in the foreground would need a terminal of its own for that.
        let has_terminal = kind == Kind::Rich && verb != Verb::Run;
        let program = match verb {
            Verb::Run => Program::Short,
            _ if has_terminal => Program::Terminal,
            _ => Program::Sleeper,
        };
        let template = world.template(kind, program);
        Self { verb, template, has_terminal, id: String::new(), limit: None }
    }

    /// Makes what must be there.
    pub fn before(&mut self, world: &mut World) -> Result<()> {
        self.id = world.new_id();
        self.template.write(&self.id, &world.bundle())?;
        std::fs::remove_file(world.pid_file()).ok();
        if self.verb.creates() {
            return Ok(());
        }
        good(world.call(self.create(world, None))?)?;
        if self.verb == Verb::Start {
            return Ok(());
        }
        good(world.call(["start", &self.id])?)?;
        match self.verb {
            Verb::Resume => good(world.call(["pause", &self.id])?)?,
            Verb::Delete => {
                good(world.call(["kill", &self.id, "KILL"])?)?;
                ensure!(
                    self.becomes(world, "stopped", super::at::limit() / 2)?,
                    "it does not stop"
                );
            }
            Verb::Update => self.limit = limit(world, &self.id),
            _ => {}
        }
        Ok(())
    }

    /// The words of `create`.
    pub fn create(&self, world: &World, pid_file: Option<PathBuf>) -> Vec<String> {
        let mut words = vec!["create".into(), "--bundle".into(), text(world.bundle())];
        if let Some(file) = pid_file {
            words.extend(["--pid-file".into(), text(file)]);
        }
        self.with_console(world, &mut words);
        words.push(self.id.clone());
        words
    }

    fn with_console(&self, world: &World, words: &mut Vec<String>) {
        if self.has_terminal {
            words.extend(["--console-socket".into(), text(world.console_socket())]);
        }
    }

    /// The words of the verb.
    pub fn words(&self, world: &World) -> Vec<String> {
        self.words_of(self.verb, world)
    }

    /// The words of another verb on the same container.
    pub fn words_of(&self, verb: Verb, world: &World) -> Vec<String> {
        let id = self.id.as_str();
        let pid_file = world.pid_file();
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match verb {
            Verb::Create => self.create(world, Some(pid_file)),
            Verb::Start => own(&["start", id]),
            Verb::RunDetached => {
                let mut words = own(&["run", "--detach", "--bundle", &text(world.bundle())]);
                words.extend(["--pid-file".into(), text(pid_file)]);
                self.with_console(world, &mut words);
                words.push(id.to_owned());
                words
            }
            Verb::Run => own(&["run", "--bundle", &text(world.bundle()), id]),
            Verb::Exec => own(&["exec", id, "sh", "-c", "echo hi; exit 7"]),
            Verb::ExecDetached => {
                let mut words = own(&["exec", "--detach", "--pid-file", &text(pid_file)]);
                if self.has_terminal {
                    words.push("--tty".into());
                }
                self.with_console(world, &mut words);
                words.extend(own(&[id, "sleep", "1001"]));
                words
            }
            Verb::Kill => own(&["kill", id, "KILL"]),
            Verb::Pause => own(&["pause", id]),
            Verb::Resume => own(&["resume", id]),
            Verb::Update => update(world, id),
            Verb::Delete | Verb::DeleteRunning => own(&["delete", id]),
            Verb::DeleteForce => own(&["delete", "--force", id]),
            Verb::State => own(&["state", id]),
            Verb::List => own(&["list", "--format", "json"]),
        }
    }

    pub fn command(&self, world: &World) -> Command {
        world.command(self.words(world))
    }

    /// Waits until `state` says so.
    pub fn becomes(&self, world: &World, status: &str, timeout: Duration) -> Result<bool> {
        let end = Instant::now() + timeout;
        loop {
            let (state, _) = world.state(&self.id)?;
            if state.is_some_and(|state| state["status"] == status) {
                return Ok(true);
            }
            if Instant::now() > end {
                return Ok(false);
            }
            // What is killed is a moment on its way out.
            run::reap_all(Duration::from_millis(2))?;
        }
    }

    /// Removes the container, whatever became of it, and says what is wrong with that.
    pub fn remove(&self, world: &mut World) -> Result<Vec<String>> {
        let removed = world.call(["delete", "--force", &self.id])?;
        let mut wrong = Vec::new();
        if !removed.is_good() {
            wrong.push(format!("delete --force: {}", removed.brief()));
        }
        world.close_terminals();
        let left = world.leftovers()?;
        if !left.is_empty() {
            wrong.push(format!("left after delete --force: {} ({})", left[0], left.len()));
            world.clean()?;
        }
        Ok(wrong)
    }
}

/// What `update` sets: a limit of memory, or else of huge pages.
pub const LIMIT: &str = "67108864";
const LIMIT_FILES: &[&str] = &["memory.limit_in_bytes", "memory.max", "hugetlb.2MB.max"];

/// The limit that `update` changes, as it is.
pub fn limit(world: &World, id: &str) -> Option<String> {
    // No limit is `max`, or the largest number of pages: it depends on who has written it last.
    let is_limit = |text: &String| text.parse::<u64>().is_ok_and(|limit| limit < 1 << 62);
    world.cgroup_file(id, LIMIT_FILES).filter(is_limit)
}

fn update(world: &World, id: &str) -> Vec<String> {
    let file = world.dir.join("resources");
    let resources = if super::harness::Hierarchy::of_host().has("memory") {
        format!(r#"{{"memory": {{"limit": {LIMIT}, "swap": {LIMIT}}}}}"#)
    } else {
        format!(r#"{{"hugepageLimits": [{{"pageSize": "2MB", "limit": {LIMIT}}}]}}"#)
    };
    std::fs::write(&file, resources).unwrap();
    vec!["update".into(), "--resources".into(), text(file), id.into()]
}

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

fn good(ended: Ended) -> Result<()> {
    ensure!(ended.is_good(), "preparation: {}", ended.brief());
    Ok(())
}
