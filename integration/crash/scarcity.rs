//! `scarcity`: too little of everything, and surroundings that lack something. Each verb must end in
//! time, tell the truth in one line, and leave nothing that `delete --force` does not remove.

use super::Suite;
use super::judge::{Fault, judge};
use super::report::Worker;
use super::run::{self, Ended};
use super::verbs::{Trial, VERBS, Verb};
use super::world::{BASE, Kind, ROOTLESS, USER, World};
use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

pub const SUITE: Suite = Suite {
    name: "scarcity",
    about: "little of everything, odd surroundings, callers that are dead or deaf",
    is_alone: false,
    options: &[
        ("only", "NAMES", "scenarios, with commas between them"),
        ("verbs", "NAMES", "verbs, with commas between them"),
        ("bundle", "KIND", "default or rich; both if not given"),
    ],
    work,
};

type Scenario = fn(&mut Scarcity) -> Result<()>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("plenty", plenty),
    ("descriptors", descriptors),
    ("limits", limits),
    ("memory", memory),
    ("space", space),
    ("inodes", inodes),
    ("read-only", read_only),
    ("ext4", ext4),
    ("surroundings", surroundings),
    ("closed", closed),
    ("full", full),
    ("signals", super::callers::signals),
    ("init", super::callers::init),
    ("dead", super::callers::dead),
    ("deaf", super::deaf::deaf),
];

fn work(worker: &mut Worker) -> Result<()> {
    let only = worker.options.get("only", "").to_owned();
    let verbs = match worker.options.get("verbs", "all") {
        "all" => VERBS
            .iter()
            .map(|(_, verb)| *verb)
            .filter(|verb| *verb != Verb::DeleteRunning)
            .collect::<Vec<_>>(),
        names => Verb::of(names)?,
    };
    let has_cgroups = worker.world.has_cgroups();
    let verbs = verbs.into_iter().filter(|verb| has_cgroups || !verb.needs_cgroup()).collect();
    let kinds = [("default", Kind::Default), ("rich", Kind::Rich)];
    let wanted = worker.options.get("bundle", "both").to_owned();
    let kinds = kinds.into_iter().filter(|(name, _)| [*name, "both"].contains(&wanted.as_str()));
    let kinds = kinds.collect();
    let mut scarcity = Scarcity { worker, verbs, kinds, scenario: "", count: 0 };
    for (name, scenario) in SCENARIOS {
        if only.is_empty() || only.split(',').any(|wanted| wanted == *name) {
            scarcity.scenario = name;
            scenario(&mut scarcity)?;
        }
    }
    Ok(())
}

/// What all scenarios need.
pub struct Scarcity<'a, 'b> {
    pub worker: &'a mut Worker<'b>,
    verbs: Vec<Verb>,
    kinds: Vec<(&'static str, Kind)>,
    scenario: &'static str,
    /// Of all cases, by which they are shared among the workers.
    count: u64,
}

impl Scarcity<'_, '_> {
    /// Whether the next case is one of this worker's, and there is time for it.
    pub fn is_due(&mut self, what: &str) -> Result<bool> {
        self.count += 1;
        let (which, of) = self.worker.options.share;
        let jobs = self.worker.options.jobs as u64;
        let is_shared = self.count % of == which;
        let is_mine = is_shared && self.count / of % jobs == self.worker.index as u64;
        if is_mine && self.worker.is_late() {
            self.worker.skip(&self.group(), what, "no time")?;
            return Ok(false);
        }
        Ok(is_mine)
    }

    fn group(&self) -> String {
        format!("scarcity {}", self.scenario)
    }

    pub fn tell(&self, what: &str, wrong: Vec<String>, more: &str) -> Result<()> {
        let again = format!("scarcity --only {}{more}", self.scenario);
        self.worker.tell(&self.group(), what, wrong, &again)
    }

    pub fn skip(&self, what: &str, why: &str) -> Result<()> {
        self.worker.skip(&self.group(), what, why)
    }

    pub fn world(&mut self) -> &mut World {
        &mut self.worker.world
    }

    /// All verbs on all bundles, where `wrap` makes the call scarce.
    pub fn each(
        &mut self,
        label: &str,
        wrap: impl Fn(Command) -> Command,
        excuse: Excuse,
    ) -> Result<()> {
        for (name, kind) in self.kinds.clone() {
            for verb in self.verbs.clone() {
                let nothing = |_: &mut World| Ok(());
                self.one(label, name, kind, verb, &wrap, excuse, (&nothing, &nothing))?;
            }
        }
        Ok(())
    }

    /// One verb on one bundle; `around` is done before and after the call.
    #[allow(clippy::too_many_arguments, reason = "a case has so many sides")]
    fn one(
        &mut self,
        label: &str,
        name: &str,
        kind: Kind,
        verb: Verb,
        wrap: &dyn Fn(Command) -> Command,
        excuse: Excuse,
        around: (Hook<'_>, Hook<'_>),
    ) -> Result<()> {
        let what = format!("{label}: {} ({name})", verb.name());
        if !self.is_due(&what)? {
            return Ok(());
        }
        let world = &mut self.worker.world;
        let mut trial = Trial::new(world, verb, kind);
        let tried = (|| {
            trial.before(world)?;
            around.0(world)?;
            let called = run::start(wrap(trial.command(world)), &world.dir.join("call"), None);
            let ended = called.and_then(run::Started::wait);
            around.1(world)?;
            Ok::<_, anyhow::Error>(ended?)
        })();
        let wrong = match tried {
            Ok(ended) => {
                let fault = excuse.fault(&ended);
                let mut wrong =
                    if ended.hung { vec![format!("hung: {}", ended.brief())] } else { Vec::new() };
                wrong.extend(judge(world, &trial, &ended, fault)?);
                wrong.retain(|line| !excuse.lines.iter().any(|part| line.starts_with(part)));
                wrong
            }
            Err(error) => {
                around.1(world)?;
                world.clean()?;
                vec![format!("harness: {error:#}")]
            }
        };
        let wrong = wrong.into_iter().map(|line| format!("{}: {line}", verb.name())).collect();
        self.tell(&what, wrong, &format!(" --bundle {name} --verbs '{}'", verb.name()))
    }
}

type Hook<'a> = &'a dyn Fn(&mut World) -> Result<()>;

/// What cannot be otherwise there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excuse {
    /// The kernel may kill the runtime.
    pub may_be_killed: bool,
    /// It cannot say anything.
    pub is_mute: bool,
    /// Lies that are none there, by their beginnings.
    pub lines: &'static [&'static str],
}

impl Excuse {
    fn fault(self, ended: &Ended) -> Fault {
        let signals = [libc::SIGKILL, libc::SIGXFSZ, libc::SIGSEGV];
        let died = signals.iter().any(|signal| ended.code == -signal || ended.code == 128 + signal);
        let killed = self.may_be_killed && died;
        Fault {
            main_died: killed,
            init_died: killed,
            write_failed: self.is_mute,
            // What is scarce is so for the undoing, too.
            persists: true,
            ..Fault::default()
        }
    }
}

/// The command, called by a shell that has prepared something.
pub fn shell(script: &str, command: Command) -> Command {
    prefixed(&["/bin/sh", "-c", &format!("{script}; exec \"$@\""), "sh"], &command)
}

/// The command, called by another one.
pub fn prefixed(prefix: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(prefix[0]);
    outer.args(&prefix[1..]);
    if ROOTLESS.load(Ordering::Relaxed) {
        // A command does not tell whose it is to be.
        let ids = [format!("--reuid={USER}"), format!("--regid={USER}")];
        outer.arg("/usr/bin/setpriv").args(ids).arg("--clear-groups");
    }
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// The harness itself: nothing is scarce.
fn plenty(s: &mut Scarcity) -> Result<()> {
    s.each("plenty", |command| command, Excuse::default())
}

fn descriptors(s: &mut Scarcity) -> Result<()> {
    let all = 3..=40;
    for n in all {
        let limit = format!("--nofile={n}");
        s.each(&limit, |command| prefixed(&["prlimit", &limit], &command), Excuse::default())?;
    }
    Ok(())
}

fn limits(s: &mut Scarcity) -> Result<()> {
    for limit in [
        "--fsize=0",
        "--fsize=1",
        "--nproc=0",
        "--nproc=1",
        "--as=20000000",
        "--as=4000000",
        "--stack=65536",
        "--stack=16384",
        "--memlock=0",
        "--sigpending=0",
        "--core=0",
        "--rss=0",
        "--msgqueue=0",
    ] {
        // Of a warning, such as that of a hook that could not write, one byte gets through.
        let lines = &["success with an error: \"p\""];
        let excuse = Excuse { may_be_killed: true, is_mute: limit.contains("fsize"), lines };
        s.each(limit, |command| prefixed(&["prlimit", limit], &command), excuse)?;
    }
    for umask in ["0777", "0", "0666"] {
        let script = format!("umask {umask}");
        s.each(&script, |command| shell(&script, command), Excuse::default())?;
    }
    Ok(())
}

/// The runtime in a memory cgroup: the kernel may kill it, but nothing is left.
fn memory(s: &mut Scarcity) -> Result<()> {
    let group = format!("/sys/fs/cgroup/memory/{}-small", s.world().name);
    if fs::create_dir(&group).is_err() {
        return s.skip("memory", "no memory hierarchy of v1 that can be written");
    }
    let mut done = Ok(());
    for kib in [200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000, 3000, 5000] {
        fs::write(format!("{group}/memory.limit_in_bytes"), (kib << 10).to_string())?;
        let script = format!("echo 0 > {group}/cgroup.procs");
        let excuse = Excuse { may_be_killed: true, ..Excuse::default() };
        done = done.and(s.each(&format!("{kib} KiB"), |command| shell(&script, command), excuse));
    }
    fs::remove_dir(group)?;
    done
}

/// A state root on a file system of its own; its mount is no leftover, as it is not in the world's directory.
struct Root {
    link: PathBuf,
    target: PathBuf,
}

impl Root {
    fn new(world: &World, mount_it: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let (link, target) =
            (world.dir.join("root"), PathBuf::from(format!("{BASE}/{}.root", world.name)));
        fs::create_dir_all(&target)?;
        mount_it(&target)?;
        world.hand_over(&target)?;
        fs::remove_dir(&link)?;
        std::os::unix::fs::symlink(&target, &link)?;
        Ok(Self { link, target })
    }

    fn end(self, world: &World) -> Result<()> {
        fs::remove_file(&self.link)?;
        fs::create_dir(&self.link)?;
        world.hand_over(&self.link)?;
        Ok(unmount(&self.target, UnmountFlags::DETACH)?)
    }
}

fn tmpfs(options: &'static str) -> impl FnOnce(&Path) -> Result<()> {
    move |at| {
        let options = std::ffi::CString::new(options)?;
        Ok(mount("none", at, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))?)
    }
}

/// Verbs on a state root that `fill` leaves so much space in.
fn filled(s: &mut Scarcity, fill: fn(&Path, u64) -> Result<()>) -> Result<()> {
    let root = Root::new(s.world(), tmpfs("size=512k,nr_inodes=60,mode=711"))?;
    let mut done = Ok(());
    for free in 0..=12 {
        for (name, kind) in s.kinds.clone() {
            for verb in s.verbs.clone() {
                let filler = root.target.join(".filler");
                let before = |_: &mut World| fill(&filler, free);
                let after = |_: &mut World| {
                    if filler.is_dir() {
                        fs::remove_dir_all(&filler)?;
                    } else if filler.exists() {
                        fs::remove_file(&filler)?;
                    }
                    Ok(())
                };
                let as_is = |command| command;
                let label = format!("{free} free");
                let one =
                    s.one(&label, name, kind, verb, &as_is, Excuse::default(), (&before, &after));
                done = done.and(one);
            }
        }
    }
    root.end(s.world())?;
    done
}

fn space(s: &mut Scarcity) -> Result<()> {
    filled(s, |filler, free| {
        let mut file = fs::File::create(filler)?;
        while file.write_all(&[1; 4096]).is_ok() {}
        let size = file.metadata()?.len() / 4096 * 4096;
        Ok(file.set_len(size.saturating_sub(4096 * free))?)
    })
}

fn inodes(s: &mut Scarcity) -> Result<()> {
    filled(s, |filler, free| {
        fs::create_dir(filler)?;
        let mut made = 0_u64;
        while fs::File::create(filler.join(made.to_string())).is_ok() {
            made += 1;
        }
        for n in made.saturating_sub(free)..made {
            fs::remove_file(filler.join(n.to_string()))?;
        }
        Ok(())
    })
}

fn read_only(s: &mut Scarcity) -> Result<()> {
    let root = Root::new(s.world(), tmpfs("mode=711"))?;
    let remount = |flags| -> Result<()> { Ok(mount_remount(&root.target, flags, "")?) };
    let mut done = Ok(());
    for (name, kind) in s.kinds.clone() {
        for verb in s.verbs.clone() {
            let before = |_: &mut World| remount(MountFlags::RDONLY);
            let after = |_: &mut World| remount(MountFlags::empty());
            let as_is = |command| command;
            done = done.and(s.one(
                "read-only",
                name,
                kind,
                verb,
                &as_is,
                Excuse::default(),
                (&before, &after),
            ));
        }
    }
    root.end(s.world())?;
    done
}

/// As on most machines; marks of processes and locks go other ways there than on tmpfs.
fn ext4(s: &mut Scarcity) -> Result<()> {
    let image = format!("{BASE}/{}.ext4", s.world().name);
    fs::File::create(&image)?.set_len(16 << 20)?;
    let made = Command::new("mkfs.ext4").args(["-q", "-F", &image]).status();
    if !made.is_ok_and(|status| status.success()) {
        return s.skip("ext4", "no mkfs.ext4");
    }
    let on = |at: &Path| -> Result<()> {
        let status = Command::new("mount").args(["-o", "loop", &image]).arg(at).status()?;
        ensure!(status.success(), "mount {image}: {status}");
        fs::remove_dir(at.join("lost+found")).context("lost+found")
    };
    let root = match Root::new(s.world(), on) {
        Ok(root) => root,
        Err(error) => return s.skip("ext4", &format!("{error:#}")),
    };
    let done = s.each("ext4", |command| command, Excuse::default());
    root.end(s.world())?;
    fs::remove_file(image)?;
    done
}

fn surroundings(s: &mut Scarcity) -> Result<()> {
    for (label, script) in [
        ("no /proc", "umount -l /proc"),
        ("hidepid=2", "mount -t proc -o hidepid=2 proc /proc"),
        ("a tmpfs on /proc", "mount -t tmpfs none /proc"),
        ("no /sys", "umount -R -l /sys"),
        ("no cgroups", "umount -R -l /sys/fs/cgroup"),
        ("an empty /dev", "mount -t tmpfs none /dev"),
        (
            "cgroups read-only",
            "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,bind,ro $d 2>/dev/null; done",
        ),
        ("/ read-only", "mount -o remount,bind,ro /"),
        ("no /etc", "mount -t tmpfs none /etc"),
        ("no /tmp, no /run/pinnace", "mount -t tmpfs -o ro none /tmp"),
    ] {
        let script = format!("{script}; exec \"$@\"");
        let prefix =
            ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", &script, "sh"];
        s.each(label, |command| prefixed(&prefix, &command), Excuse::default())?;
    }
    Ok(())
}

fn closed(s: &mut Scarcity) -> Result<()> {
    for which in 1..8 {
        let parts = ["0<&-", "1>&-", "2>&-"];
        let chosen = (0..3).filter(|n| which & (1 << n) != 0).map(|n| parts[n]);
        let chosen = chosen.collect::<Vec<_>>().join(" ");
        let script = format!("exec \"$@\" {chosen}");
        let lines: &[&str] = if chosen.contains('1') { &["exit 7 without output"] } else { &[] };
        let excuse = Excuse { is_mute: chosen.contains('2'), lines, ..Excuse::default() };
        s.each(&chosen, |command| prefixed(&["/bin/sh", "-c", &script, "sh"], &command), excuse)?;
    }
    Ok(())
}

/// What nobody could write is no success.
fn full(s: &mut Scarcity) -> Result<()> {
    // There it is the program that has something to say.
    let lines = &["exit 7 without output", "success with an error: \"sh: write error"];
    let excuse = Excuse { lines, ..Excuse::default() };
    s.each(
        ">/dev/full",
        |command| prefixed(&["/bin/sh", "-c", "exec \"$@\" >/dev/full", "sh"], &command),
        excuse,
    )
}
