//! `start`: tells the waiting init to become the user's program, and waits until it has.

use super::notify::Relay;
use super::observed::{Observed, ProcessRef};
use super::seccomp::{self, Receiver};
use super::serve::{self, WaitLimit};
use super::{Container, Runtime, SavedConfig, delete, is_paused, state_of};
use crate::error::{At as _, Context, Error, Kind, Result};
use crate::hooks::{self, Runner};
use crate::log::Log;
use crate::plan::Hooks;
use crate::spec::Status;
use crate::store::{Dir, Record, START};
use crate::sync::{ParentEnd, ToChild, ToParent};
use crate::sys::process;
use crate::sys::signal::Signals;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Starts a created container.
///
/// # Errors
/// If it is not created; if its hooks or its program fail.
pub fn start(runtime: &Runtime, id: &str) -> Result<()> {
    let container = Container::find(runtime, id)?;
    let saved = SavedConfig::of(&container)?;
    if !saved.process {
        return Err(
            Error::new("is not set in config.json, so there is nothing to start").at("process")
        );
    }
    let lock = container.dir.lock()?;
    let opened = must_be_created(&container, container.observe_by_socket()?)?;
    let init = opened.lend();
    container.record.cgroup.must_run().at(|| format!("cannot start container {id}"))?;
    let relay = Relay::open(&container.dir, &runtime.log)?;
    let channel = connect(&container, init)?;
    let wait_limit = WaitLimit::new(None, &saved.hooks.start_container);
    if wait_limit.is_endless() {
        // Another `start` meanwhile is not heard, and told so by what init has not read.
        drop(lock);
    }
    let waiting = Waiting {
        channel: &channel,
        process: init,
        is_child: false,
        record: &container.record,
        status: Status::Creating,
        wait_limit,
        receiver: saved.receiver.as_ref(),
        log: &runtime.log,
    };
    let begun = waiting.begin().map_err(|error| match error.errno() {
        // It does not listen any more: it has heard another `start`, as we connected.
        Some(Errno::CONNRESET)
            if serve::connect_to(&container.dir, None)
                .is_err_and(|error| error.errno() == Some(Errno::CONNREFUSED)) =>
        {
            being_started(id)
        }
        _ => error,
    });
    // That it cannot be removed changes nothing: the kernel says that init has gone on.
    if (begun.is_ok() || serve::is_ready(init.pidfd).is_ok_and(|ended| ended))
        && let Err(error) = container.dir.remove_file(START)
    {
        runtime.log.debug(|| format!("start {id}: {error}"));
    }
    let Container { dir, record } = &container;
    if let Err(error) = begun {
        let error = match error.get_kind() {
            Kind::Killed => {
                let why = error.clone().bare().to_string();
                serve::look_again(error, id, opened.id).hint(why)
            }
            // What init says ends it, too.
            _ => error,
        };
        return Err(give_up(error, (dir, record), init, &saved.hooks, runtime, None));
    }
    after(dir, record, init, &saved.hooks, runtime, None)?;
    relay.map_or(Ok(()), |relay| relay.until_ready(init, None))
}

/// Who does not listen any more has ended, or been started: by a `start` that was killed
/// before it could remove the socket, or by one that still waits.
fn connect(container: &Container, init: ProcessRef<'_>) -> Result<ParentEnd> {
    let connected = serve::connect_to(&container.dir, container.record.start_word.as_deref());
    connected.or_else(|error| match error.errno() {
        Some(Errno::CONNREFUSED | Errno::NOENT) => {
            must_be_created(container, container.observe()?)?;
            match process_waits(init)? {
                // It listens until it has heard one.
                true => Err(being_started(container.dir.id())),
                false => Err(super::not_running(container.dir.id())),
            }
        }
        _ => Err(error),
    })
}

/// Whether a process that has closed a connection has neither executed nor ended, so that
/// it goes on with what another has told it. The kernel is asked, and no time waited for.
fn process_waits(waiting: ProcessRef<'_>) -> Result<bool> {
    let doing = serve::doing(waiting.pid)?;
    let has_pid = process::has_pid(waiting.pidfd).call(|| "pidfd_send_signal(0)".into())?;
    Ok(has_pid && doing.is_some_and(|doing| !doing.executed && !doing.exits))
}

fn being_started(id: &str) -> Error {
    Error::new(format!("cannot start container {id}: it is being started"))
}

/// Returns the init that waits.
fn must_be_created<I>(container: &Container, observed: Observed<I>) -> Result<I> {
    let id = container.dir.id();
    match observed {
        Observed::Created(init) => Ok(init),
        Observed::Stopped => Err(Error::new("cannot start a container that has stopped")),
        // Init is frozen, and would not read the message.
        Observed::Paused(_) => {
            Err(is_paused(container, "cannot start a container in the paused state", ""))
        }
        Observed::Creating(_) => {
            Err(Error::new(format!("cannot start container {id}: it is being created")))
        }
        Observed::Running(_) => Err(already(id)),
    }
}

fn already(id: &str) -> Error {
    Error::new(format!("cannot start an already running container: {id} is running"))
}

/// A process that waits to be started.
pub(super) struct Waiting<'a> {
    pub channel: &'a ParentEnd,
    pub process: ProcessRef<'a>,
    /// Whether nobody but us can reap it.
    pub is_child: bool,
    pub record: &'a Record,
    /// The container's, as a seccomp agent is told.
    pub status: Status,
    pub wait_limit: WaitLimit<'a>,
    /// Who gets the listener of its filter.
    pub receiver: Option<&'a Receiver>,
    pub log: &'a Log,
}

impl Waiting<'_> {
    /// Says `Start` and listens until execve(2) has closed the other end.
    ///
    /// # Errors
    /// What the process reports, or that it was killed before execve(2). It has ended
    /// then, or been killed.
    pub fn begin(&self) -> Result<()> {
        self.channel.send(ToChild::Start).map_err(|error| self.kill(error))?;
        for _ in 0..serve::MESSAGES {
            let heard = match self.wait_limit.receive(self.channel, self.process.pidfd) {
                Ok(None) => return self.closed(),
                Ok(Some(ToParent::Failed(error))) => return Err(self.until_ended(error, false)),
                Ok(Some(ToParent::Warning(text))) => {
                    self.log.warning(&text);
                    Ok(())
                }
                Ok(Some(ToParent::Listener(listener))) => self.notify(&listener),
                Ok(Some(ToParent::Reports(reader))) => {
                    let wait = |fds: &[BorrowedFd<'_>; 2]| self.either(fds);
                    reader
                        .listen(self.channel, self.process.pidfd, wait, &mut |fd| self.notify(&fd))
                        .map_err(|error| self.kill(error))?;
                    return self.closed();
                }
                Ok(Some(other)) => {
                    Err(Error::new(format!("the process said {other:?} while it was started")))
                }
                Err(error) => Err(error),
            };
            heard.map_err(|error| self.kill(error))?;
        }
        Err(self.kill(serve::too_much()))
    }

    /// The channel is closed, or the process has ended: whether it has become its program.
    fn closed(&self) -> Result<()> {
        match self.has_executed().map_err(|error| self.kill(error))? {
            true if self.is_child || !self.channel.is_unread() => {
                self.log.debug(|| format!("process {} runs its program", self.process.pid));
                Ok(())
            }
            // It has heard another `start`; or none, if a signal has ended it.
            true if serve::is_ready(self.process.pidfd)? => {
                Err(super::not_running(&self.record.id))
            }
            true => Err(already(&self.record.id)),
            false if !self.is_child && process_waits(self.process)? => {
                Err(Error::os("start: init has closed the connection", Errno::CONNRESET).hint(
                    "another start was heard, or init could not read what was sent; try again",
                ))
            }
            false => {
                // Who has ended needs no end.
                let ended = self.wait(true);
                Err(serve::killed_by(self.signal(), "before it ran its program").and(ended))
            }
        }
    }

    /// What procfs says is of this process only as long as it has its pid, which nobody
    /// but us takes from a child.
    fn has_executed(&self) -> Result<bool> {
        let told = serve::has_executed(self.process.pid);
        if let Ok(Some(executed)) = told
            && (self.is_child || process::has_pid(self.process.pidfd).is_ok_and(|has| has))
        {
            return Ok(executed);
        }
        // Who was killed closes its files, and ends; how, may be all that is left to be known.
        Ok(!serve::ends_soon(self.process.pidfd)? || self.signal() != Some(Signal::KILL.as_raw()))
    }

    /// What has ended it, if that is known and was a signal. Before Linux 6.15 it is not
    /// known of a process that others have reaped.
    fn signal(&self) -> Option<i32> {
        serve::signal_of(self.process.pidfd).or_else(|| {
            let status = process::ended_with(self.process.pidfd).ok().flatten()?;
            Some(status & 0x7f).filter(|signal| *signal != 0)
        })
    }

    /// Waits for either; whether it is the first one.
    fn either(&self, fds: &[BorrowedFd<'_>; 2]) -> Result<bool> {
        let all = fds.iter().chain([&self.process.pidfd]);
        let mut fds: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        self.wait_limit.poll(&mut fds)?;
        let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        if !ready(0) && !ready(1) {
            return Err(serve::killed_by(self.signal(), "under its filter"));
        }
        Ok(ready(0))
    }

    fn notify(&self, listener: &OwnedFd) -> Result<()> {
        seccomp::notify(self.receiver, self.record, self.status, self.process.pid, listener)
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
        if kill {
            serve::kill(self.process.pidfd)?;
        }
        serve::wait_until_ended(self.process.pidfd, self.process.pid)
    }
}

/// The `poststart` hooks; their failure ends the container (runtime.md,
/// "Lifecycle", step 9).
/// `signals` are those of a command that has blocked them.
pub(super) fn after(
    dir: &Dir,
    record: &Record,
    init: ProcessRef<'_>,
    hooks: &Hooks,
    runtime: &Runtime,
    signals: Option<&Signals>,
) -> Result<()> {
    let state = state_of(record, Status::Running);
    let ran = hooks::run_all("poststart", &hooks.poststart, &state, Runner::Runtime(signals));
    ran.map(drop).map_err(|error| give_up(error, (dir, record), init, hooks, runtime, signals))
}

/// After a failed hook the life cycle goes on at step 12: the container is
/// destroyed. A program that could not be run leaves a stopped container, as
/// with runc: its caller deletes it.
fn give_up(
    error: Error,
    (dir, record): (&Dir, &Record),
    init: ProcessRef<'_>,
    hooks: &Hooks,
    runtime: &Runtime,
    signals: Option<&Signals>,
) -> Error {
    if error.get_kind() != Kind::Hook {
        return error;
    }
    error.and(delete::destroy(dir, record, Some(init), hooks, &runtime.log, signals))
}
