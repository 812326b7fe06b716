//! `delete`: takes back everything that `create` made.

use super::observed::{OpenProcess, ProcessRef, observe_in};
use super::{Observed, Runtime, SavedConfig, lost, serve, state_of};
use crate::cgroup::is_frozen;
use crate::error::{Error, Kind, Result};
use crate::hooks::{self, Runner};
use crate::log::Log;
use crate::plan::Hooks;
use crate::resctrl::Groups;
use crate::rootfs;
use crate::spec::Status;
use crate::store::{self, Dir, ProcessId, Record, is_damaged};
use crate::sys::process;
use crate::sys::signal::Signals;
use rustix::io::Errno;
use rustix::process::Signal;
use std::os::fd::AsFd;
use std::path::Path;

/// Deletes a stopped container, and one that has not been started, which is killed before;
/// with `force`, any. By the letter of runtime.md, "Delete", one that is created would be an
/// error: but all engines, and those who have come from runc, take it for this.
///
/// # Errors
/// A container that does not exist (without `force`), or is running or paused; whatever keeps
/// us from knowing that. Then the record stays, and all can be repeated.
pub fn delete(runtime: &Runtime, id: &str, force: bool) -> Result<()> {
    store::check_id(id)?;
    match delete_found(runtime, id, force) {
        // Nothing there, or another command was faster.
        Err(error) if force && error.get_kind() == Kind::NoContainer => Ok(()),
        deleted => deleted,
    }
}

fn delete_found(runtime: &Runtime, id: &str, force: bool) -> Result<()> {
    let dir = runtime.store.get(id)?;
    if force && let Found::Record(record) = read(&dir)? {
        // A `start` that waits for it, or for its seccomp agent, has the lock.
        end_init(&record)?;
    }
    let _lock = dir.lock_empty()?;
    // Only now: another command may have changed it while we waited.
    let record = match read(&dir)? {
        Found::Record(record) => *record,
        Found::Nothing => return dir.clear().and_then(|()| dir.remove(None)),
        Found::Damaged(error) if force => return lost::delete(runtime, &dir, &error),
        Found::Damaged(error) => return Err(error),
    };
    if !force {
        // A `start` that is at work has the lock, or waits for a hook that may take for ever.
        must_be_deletable(id, &observe_in(&dir, &record)?)?;
    }
    let record = end_creator(&dir, record)?;
    let saved = match SavedConfig::read(&dir, &record) {
        Ok(saved) => saved,
        // Then no hook is known, but the rest must go all the same.
        Err(error) if error.get_kind() == Kind::NoContainer => SavedConfig::default(),
        Err(error) if force && is_damaged(&error) => {
            runtime.log.warning(&format!("hooks.poststop of {id} are not known any more: {error}"));
            SavedConfig::default()
        }
        Err(error) => return Err(error),
    };
    destroy(&dir, &record, None, &saved.hooks, &runtime.log, None)
}

/// What is in the place of a record.
enum Found {
    Record(Box<Record>),
    /// No `create` has come so far, or a `delete` has come so far: nothing else is there.
    Nothing,
    Damaged(Error),
}

/// # Errors
/// What keeps us from reading it now, such as a lack of descriptors or of memory: that
/// says nothing of the container, which may be running.
fn read(dir: &Dir) -> Result<Found> {
    match dir.load() {
        Ok(record) => Ok(Found::Record(Box::new(record))),
        Err(error) if error.get_kind() == Kind::NoContainer => Ok(Found::Nothing),
        Err(error) if is_damaged(&error) => Ok(Found::Damaged(error)),
        Err(error) => Err(error),
    }
}

fn must_be_deletable(id: &str, observed: &Observed) -> Result<()> {
    if let Observed::Stopped | Observed::Created(_) = observed {
        return Ok(());
    }
    let status = observed.status().as_str();
    Err(Error::new(format!("cannot delete container {id} that is not stopped: {status}"))
        .hint("stop it first, or use --force"))
}

/// Kills init. On cgroup v1 a frozen process cannot even die, unless the whole cgroup is killed.
fn end_init(record: &Record) -> Result<()> {
    let Some(init) = record.init else { return Ok(()) };
    if kill(init)?.is_none() {
        return Ok(());
    }
    match &record.freezer {
        Some(freezer) if is_frozen(freezer)? && record.cgroup.is_held()? => {
            record.cgroup.kill(Signal::KILL)
        }
        _ => Ok(()),
    }
}

/// Ends a `create` that is at work; returns what it has recorded until then.
fn end_creator(dir: &Dir, record: Record) -> Result<Record> {
    match record.creator {
        Some(creator) if creator.is_alive()? => {
            end(creator)?;
            dir.load()
        }
        _ => Ok(record),
    }
}

/// Ends what lives, removes what is left, and runs the `poststop` hooks. The
/// record goes last, so that this can be repeated wherever it was interrupted. A step that
/// fails keeps none from being tried that does not need it: all processes are signalled
/// before anything is given up, and nothing is taken from under one that may live.
/// A caller that has the pidfd of init lends it: there may be no descriptor left to open another.
/// `signals` are those of a command that has blocked them: one of them ends a hook.
///
/// # Errors
/// A process that does not die, a cgroup that cannot be removed.
pub(super) fn destroy(
    dir: &Dir,
    record: &Record,
    init: Option<ProcessRef<'_>>,
    hooks: &Hooks,
    log: &Log,
    signals: Option<&Signals>,
) -> Result<()> {
    // First, and whatever keeps us from ending the others: init is the program.
    let opened = match init {
        Some(init) => signal(init).map(|_| None),
        None => record.init.map_or(Ok(None), kill),
    };
    // The whole cgroup: without a pid namespace of its own, others outlive
    // init; and what is frozen could not even die.
    let held = record.cgroup.is_held().and_then(|held| match held {
        true => record.cgroup.kill(Signal::KILL).map(|()| true),
        false => Ok(false),
    });
    let ended = opened.and_then(|opened| {
        let init = opened.as_ref().map(OpenProcess::lend).or(init);
        init.map_or(Ok(()), |init| serve::wait_until_ended(init.pidfd, init.pid))
    });
    let held = match (held, ended) {
        (Ok(held), ended) => ended.map(|()| held)?,
        (Err(error), Ok(())) => {
            return Err(error.hint("its init has ended; `delete --force` ends what else there is"));
        }
        (Err(error), ended) => return Err(error.and(ended)),
    };
    let detached = match record.tree {
        Some(tree) => rootfs::detach(Path::new(&record.rootfs), tree),
        None => Ok(()),
    };
    // Of one that another container has taken since, nothing is ours any more.
    let removed = match held || !record.cgroup.exists() {
        true => record.cgroup.remove(),
        false => record.cgroup.let_go(false),
    };
    let rdt = record.rdt.as_ref().map_or(Ok(()), Groups::remove);
    both(both(detached, removed), rdt)?;
    dir.clear()?;
    // The hooks are known no more: they run now, even if a directory stays.
    let removed = dir.remove(Some(record));
    log.debug(|| format!("{} is deleted", record.id));
    poststop(hooks, record, log, signals);
    removed
}

/// The first failure of two steps of which neither needs the other.
fn both(first: Result<()>, second: Result<()>) -> Result<()> {
    match first {
        Ok(()) => second,
        Err(error) => Err(error.and(second)),
    }
}

/// Every `poststop` hook is run; a failure only warns (runtime.md, step 13).
pub(super) fn poststop(hooks: &Hooks, record: &Record, log: &Log, signals: Option<&Signals>) {
    let state = state_of(record, Status::Stopped);
    for (i, hook) in hooks.poststop.iter().enumerate() {
        if let Err(error) = hooks::run(hook, &state, Runner::Runtime(signals)) {
            log.warning(&format!("hooks.poststop[{i}]: {error}"));
        }
    }
}

/// Kills a process and waits until it has ended.
fn end(process: ProcessId) -> Result<()> {
    match kill(process)? {
        Some(killed) => serve::wait_until_ended(killed.pidfd.as_fd(), process.pid),
        None => Ok(()),
    }
}

/// Kills a process that is still there.
fn kill(id: ProcessId) -> Result<Option<OpenProcess>> {
    let Some(pidfd) = id.open()? else { return Ok(None) };
    let process = OpenProcess { id, pidfd };
    Ok(signal(process.lend())?.then_some(process))
}

/// False if it has been reaped already.
fn signal(ProcessRef { pid, pidfd }: ProcessRef<'_>) -> Result<bool> {
    match process::send_signal(pidfd, pid, Signal::KILL) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(errno) => Err(Error::os(format!("pidfd_send_signal(KILL) to {pid}"), errno)),
    }
}
