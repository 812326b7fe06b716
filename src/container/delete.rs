//! `delete`: takes back everything that `create` made.

use super::{Container, Kept, Runtime, serve, state_of};
use crate::cgroup;
use crate::error::{Error, Kind, Result};
use crate::hooks::{self, Runner};
use crate::log::Log;
use crate::plan::Hooks;
use crate::rootfs;
use crate::spec::Status;
use crate::store::{self, Dir, ProcessId, Record};
use crate::sys::signal::Signals;
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// Deletes a stopped container; with `force`, any.
///
/// # Errors
/// A container that does not exist (without `force`), or is not stopped.
pub fn delete(runtime: &Runtime, id: &str, force: bool) -> Result<()> {
    store::check_id(id)?;
    let container = match Container::find(runtime, id) {
        // Nothing there, or a record that nobody can read any more.
        Err(error) if error.get_kind() == Kind::NoContainer || (force && is_damaged(&error)) => {
            return missing(runtime, id, force, error);
        }
        found => found?,
    };
    if force && let Some(init) = container.record.init {
        // A `start` that waits for it, or for its seccomp agent, has the lock.
        kill(init)?;
        let cgroup = &container.record.cgroup;
        if let Some(freezer) = container.record.freezer.as_ref().filter(|_| cgroup.has_doors())
            && cgroup::is_frozen(freezer)?
            && cgroup.is_held()?
        {
            // v1: what is frozen does not even die.
            cgroup.thaw()?;
        }
    }
    let _lock = container.dir.lock()?;
    // Another command may have changed it while we waited.
    let container = Container::find(runtime, id)?;
    if !force {
        check_stopped(&container)?;
    }
    if let Some(creator) = container.record.creator.filter(ProcessId::is_alive) {
        end(creator)?;
    }
    let kept = match Kept::of(&container) {
        // Then no hook is known, but the rest must go all the same.
        Err(error) if error.get_kind() == Kind::NoContainer => Kept::default(),
        kept => kept?,
    };
    destroy(&container.dir, &container.record, &kept.hooks, &runtime.log, None)
}

fn check_stopped(container: &Container) -> Result<()> {
    let status = container.status()?;
    if status == Status::Stopped {
        return Ok(());
    }
    let (id, status) = (container.dir.id(), status.as_str());
    Err(Error::new(format!("cannot delete container {id} that is not stopped: {status}"))
        .hint("stop it first, or use --force"))
}

/// Whether the record is no record: what keeps us from reading it now, such as a lack
/// of descriptors or of memory, says nothing of the container, which may be running.
fn is_damaged(error: &Error) -> bool {
    matches!(error.errno(), None | Some(Errno::FBIG | Errno::ISDIR | Errno::LOOP | Errno::NXIO))
}

/// No record: either there is nothing, or `create` was killed before it wrote
/// one, and then nothing but the directory can be there. A record that has been
/// damaged names nothing, and must not stay for ever.
fn missing(runtime: &Runtime, id: &str, force: bool, error: Error) -> Result<()> {
    match runtime.store.get(id) {
        Ok(dir) if force => dir.remove(),
        Err(error) if force && error.get_kind() == Kind::NoContainer => Ok(()),
        Err(error) if force => Err(error),
        _ => Err(error),
    }
}

/// Ends what lives, removes what is left, and runs the `poststop` hooks. The
/// record goes last, so that this can be repeated wherever it was interrupted.
/// `signals` are those of a command that has blocked them: one of them ends a hook.
///
/// # Errors
/// A process that does not die, a cgroup that cannot be removed.
pub(super) fn destroy(
    dir: &Dir,
    record: &Record,
    hooks: &Hooks,
    log: &Log,
    signals: Option<&Signals>,
) -> Result<()> {
    // The whole cgroup: without a pid namespace of its own, others outlive
    // init; and what is frozen could not even die.
    let held = record.cgroup.is_held()?;
    if held {
        record.cgroup.kill(Signal::KILL)?;
    }
    if let Some(init) = record.init {
        end(init)?;
    }
    if let Some(tree) = record.tree {
        rootfs::detach(Path::new(&record.rootfs), tree)?;
    }
    // Of one that another container has taken since, nothing is ours any more.
    if held || !record.cgroup.exists() {
        record.cgroup.remove()?;
    }
    if let Some(groups) = &record.rdt {
        groups.remove()?;
    }
    dir.remove()?;
    log.debug(|| format!("{} is deleted", record.id));
    poststop(hooks, record, log, signals);
    Ok(())
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
        Some(pidfd) => serve::wait_until_ended(pidfd.as_fd(), process.pid),
        None => Ok(()),
    }
}

/// Kills a process that is still there.
fn kill(process: ProcessId) -> Result<Option<OwnedFd>> {
    let Some(pidfd) = process.open()? else { return Ok(None) };
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) => Ok(Some(pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(Error::os(format!("kill {}", process.pid), errno)),
    }
}
