//! `start`: tells the waiting init to become the user's program, and hears
//! whether it did.

use super::notify::Relay;
use super::seccomp::{self, Receiver};
use super::{Container, Kept, Runtime, delete, serve, state_of};
use crate::error::{Error, Kind, Result};
use crate::hooks::{self, Runner};
use crate::plan::Hooks;
use crate::spec::Status;
use crate::store::{Dir, Record, START};
use crate::sync::{ParentEnd, ToChild, ToParent};

/// Starts a created container.
///
/// # Errors
/// If it is not created; if its hooks or its program fail.
pub fn start(runtime: &Runtime, id: &str) -> Result<()> {
    let container = Container::find(runtime, id)?;
    let kept = Kept::of(&container)?;
    if !kept.process {
        return Err(Error::new("process: is not set in config.json, so there is nothing to start"));
    }
    let relay = {
        let _lock = container.dir.lock()?;
        match container.status()? {
            Status::Created => {}
            Status::Stopped => {
                return Err(Error::new("cannot start a container that has stopped"));
            }
            status => {
                return Err(Error::new(format!(
                    "cannot start an already running container: {id} is {}",
                    status.as_str()
                )));
            }
        }
        let relay = Relay::open(&container.dir)?;
        let wire = serve::connect_to(&container.dir)?;
        let begun = begin(&wire, &container.record, kept.receiver.as_ref(), runtime);
        container.dir.remove_file(START)?;
        if let Err(error) = begun {
            return Err(give_up(error, &container.dir, &container.record, &kept.hooks, runtime));
        }
        relay
    };
    after(&container.dir, &container.record, &kept.hooks, runtime)?;
    match (relay, container.record.init) {
        (Some(relay), Some(init)) => match init.open()? {
            Some(pidfd) => relay.until_ready(&pidfd, init.pid),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Says `Start` and listens until execve(2) has closed the other end.
pub(super) fn begin(
    wire: &ParentEnd,
    record: &Record,
    receiver: Option<&Receiver>,
    runtime: &Runtime,
) -> Result<()> {
    wire.send(ToChild::Start)?;
    loop {
        match wire.receive()? {
            None => return Ok(()),
            Some(ToParent::Warning(text)) => runtime.log.warning(&text),
            Some(ToParent::Listener(fd)) => {
                let pid = record.init.map_or(0, |init| init.pid);
                seccomp::notify(receiver, record, pid, Status::Creating, fd)?;
            }
            Some(ToParent::Failed(error)) => return Err(error),
            Some(other) => {
                return Err(Error::new(format!("init said {other:?} while it was started")));
            }
        }
    }
}

/// The `poststart` hooks; their failure ends the container (runtime.md,
/// "Lifecycle", step 9).
pub(super) fn after(dir: &Dir, record: &Record, hooks: &Hooks, runtime: &Runtime) -> Result<()> {
    let state = state_of(record, Status::Running);
    let ran = hooks::run_all("poststart", &hooks.poststart, &state, Runner::Runtime);
    ran.map_err(|error| give_up(error, dir, record, hooks, runtime))
}

/// After a failed hook the life cycle goes on at step 12: the container is
/// destroyed. A program that could not be run leaves a stopped container, as
/// with runc: its caller deletes it.
fn give_up(error: Error, dir: &Dir, record: &Record, hooks: &Hooks, runtime: &Runtime) -> Error {
    if error.get_kind() != Kind::Hook {
        return error;
    }
    match delete::destroy(dir, record, hooks, &runtime.log) {
        Ok(()) => error,
        Err(second) => error.hint(format!("and then: {second}")),
    }
}
