//! `start`: tells the waiting init to become the user's program, and hears
//! whether it did.

use super::notify::Relay;
use super::seccomp::{self, Receiver};
use super::serve::{self, Patience};
use super::{Container, Kept, Runtime, delete, state_of};
use crate::error::{Error, Kind, Result};
use crate::hooks::{self, Runner};
use crate::log::Log;
use crate::plan::Hooks;
use crate::spec::Status;
use crate::store::{Dir, Record, START};
use crate::sync::{ParentEnd, ToChild, ToParent};
use crate::sys::signal::Signals;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
        let wire = serve::connect_to(&container.dir, container.record.start_word.as_deref())?;
        let init = container.record.init.ok_or_else(|| super::not_running(id))?;
        let waiting = Waiting {
            wire: &wire,
            pid: init.pid,
            pidfd: &|| init.open()?.ok_or_else(|| super::not_running(id)),
            record: &container.record,
            status: Status::Creating,
            patience: Patience::until_signal(None),
            receiver: kept.receiver.as_ref(),
            log: &runtime.log,
        };
        let begun = waiting.begin();
        container.dir.remove_file(START)?;
        if let Err(error) = begun {
            let (dir, record) = (&container.dir, &container.record);
            return Err(give_up(error, dir, record, &kept.hooks, runtime, None));
        }
        relay
    };
    after(&container.dir, &container.record, &kept.hooks, runtime, None)?;
    match (relay, container.record.init) {
        (Some(relay), Some(init)) => match init.open()? {
            Some(pidfd) => relay.until_ready(&pidfd, init.pid, None),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// A process that waits to be started.
pub(super) struct Waiting<'a> {
    pub wire: &'a ParentEnd,
    pub pid: i32,
    /// Opens its pidfd, which is rarely wanted.
    pub pidfd: &'a dyn Fn() -> Result<OwnedFd>,
    pub record: &'a Record,
    /// The container's, as a seccomp agent is told.
    pub status: Status,
    pub patience: Patience<'a>,
    /// Who gets the listener of its filter.
    pub receiver: Option<&'a Receiver>,
    pub log: &'a Log,
}

impl Waiting<'_> {
    /// Says `Start` and listens until execve(2) has closed the other end.
    ///
    /// # Errors
    /// What the process reports. It has ended then, or been killed.
    pub fn begin(&self) -> Result<()> {
        self.wire.send(ToChild::Start)?;
        for _ in 0..serve::MESSAGES {
            let heard = match self.patience.receive(self.wire) {
                Ok(None) => {
                    self.log.debug(|| format!("process {} runs its program", self.pid));
                    return Ok(());
                }
                Ok(Some(ToParent::Failed(error))) => return Err(self.until_ended(error, false)),
                Ok(Some(ToParent::Warning(text))) => {
                    self.log.warning(&text);
                    Ok(())
                }
                Ok(Some(ToParent::Listener(listener))) => self.notify(&listener),
                Ok(Some(ToParent::Silent(ear))) => {
                    let heard = (self.pidfd)().and_then(|pidfd| {
                        let wait = |fds: &[BorrowedFd<'_>; 2]| self.either(fds);
                        ear.listen(self.wire, pidfd.as_fd(), wait, &mut |fd| self.notify(&fd))
                    });
                    return heard.map_err(|error| self.kill(error));
                }
                Ok(Some(other)) => {
                    Err(Error::new(format!("init said {other:?} while it was started")))
                }
                Err(error) => Err(error),
            };
            heard.map_err(|error| self.kill(error))?;
        }
        Err(self.kill(serve::too_much()))
    }

    /// Waits for either; whether it is the first one.
    fn either(&self, fds: &[BorrowedFd<'_>; 2]) -> Result<bool> {
        let mut fds: Vec<_> =
            fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        self.patience.poll(&mut fds)?;
        Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty()))
    }

    fn notify(&self, listener: &OwnedFd) -> Result<()> {
        seccomp::notify(self.receiver, self.record, self.status, self.pid, listener)
    }

    /// Nobody supervises it, or it waits for an answer: it must not run on.
    fn kill(&self, error: Error) -> Error {
        self.until_ended(error, true)
    }

    /// The error, once the process has ended: whoever hears of it may ask for
    /// the container's status at once.
    fn until_ended(&self, error: Error, kill: bool) -> Error {
        error.and(self.wait(kill))
    }

    fn wait(&self, kill: bool) -> Result<()> {
        let pidfd = match (self.pidfd)() {
            Err(error) if error.get_kind() == Kind::NotRunning => return Ok(()),
            pidfd => pidfd?,
        };
        match if kill { pidfd_send_signal(&pidfd, Signal::KILL) } else { Ok(()) } {
            Ok(()) | Err(Errno::SRCH) => delete::wait_until_ended(&pidfd, self.pid),
            Err(errno) => Err(Error::os("kill init", errno)),
        }
    }
}

/// The `poststart` hooks; their failure ends the container (runtime.md,
/// "Lifecycle", step 9).
/// `signals` are those of a command that has blocked them.
pub(super) fn after(
    dir: &Dir,
    record: &Record,
    hooks: &Hooks,
    runtime: &Runtime,
    signals: Option<&Signals>,
) -> Result<()> {
    let state = state_of(record, Status::Running);
    let ran = hooks::run_all("poststart", &hooks.poststart, &state, Runner::Runtime(signals));
    ran.map_err(|error| give_up(error, dir, record, hooks, runtime, signals))
}

/// After a failed hook the life cycle goes on at step 12: the container is
/// destroyed. A program that could not be run leaves a stopped container, as
/// with runc: its caller deletes it.
fn give_up(
    error: Error,
    dir: &Dir,
    record: &Record,
    hooks: &Hooks,
    runtime: &Runtime,
    signals: Option<&Signals>,
) -> Error {
    if error.get_kind() != Kind::Hook {
        return error;
    }
    error.and(delete::destroy(dir, record, hooks, &runtime.log, signals))
}
