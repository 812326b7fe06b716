//! A new process of a container, from clone3(2) to its program: the runtime's half of the
//! one conversation that `create`, `run` and `exec` have (see [`crate::sync`]).

use super::observed::ProcessRef;
use super::seccomp::Receiver;
use super::serve::{self, MESSAGES, WaitLimit};
use super::start::Waiting;
use crate::create::{SpawnArgs, limits, never_ran, spawn};
use crate::error::{At, Error, Kind, Result};
use crate::log::Log;
use crate::plan::Process;
use crate::resctrl::Groups;
use crate::security::scheduling;
use crate::spec::Status;
use crate::store::Record;
use crate::sync::{self, ChildEnd, ParentEnd, ToChild, ToParent, send_fd};
use crate::sys::process::Child;
use rustix::process::Pid;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A process that was made, and that we speak with.
#[derive(Debug)]
pub struct NewProcess {
    /// The one that becomes the program.
    pub(super) child: Child,
    /// The one that has made it in the container's pid namespace, and ends; if there is one.
    maker: Option<Child>,
    /// Whether it waits to be let go.
    pub(super) waits: bool,
    channel: ParentEnd,
    /// The terminal's master, once the process has sent it.
    master: Option<OwnedFd>,
}

/// What only the runtime may do for the process, which may have lost the right to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside<'a> {
    /// The process to be; none if the container has none.
    pub process: Option<&'a Process>,
    /// The container's class of caches and memory bandwidth.
    pub groups: Option<&'a Groups>,
    /// Whether we lack root's privileges over the host.
    pub rootless: bool,
    /// Whether the process goes on in a child that it makes.
    pub forks: bool,
}

impl Outside<'_> {
    /// Whether the process has to wait for it. The score can be written while it goes on, but
    /// by root alone (it forbids tracing), and before it hands the score on to its child.
    pub fn must_come_first(&self) -> bool {
        let scored = self.process.is_some_and(|process| process.oom_score_adj.is_some())
            && (self.forks || !rustix::process::geteuid().is_root());
        self.groups.is_some() || scored || self.process.is_some_and(limits::are_above_ours)
    }

    /// Does it.
    pub fn apply(&self, pid: Pid) -> Result<()> {
        if let Some(groups) = self.groups {
            groups.enter(pid.as_raw_nonzero().get())?;
        }
        let Some(process) = self.process else { return Ok(()) };
        limits::raise_rlimits(pid, process)?;
        limits::set_oom_score(pid, process, self.rootless)
    }
}

/// What is done while a process makes itself ready.
pub(super) struct Meanwhile<'a> {
    /// For its warnings.
    pub log: &'a Log,
    /// What ends the wait for it.
    pub wait_limit: WaitLimit<'a>,
    /// Runs the hooks that belong before `pivot_root`.
    pub on_hooks: &'a mut dyn FnMut() -> Result<()>,
    /// Takes the notification fd of its filter.
    pub on_listener: &'a mut dyn FnMut(&OwnedFd) -> Result<()>,
}

impl NewProcess {
    /// Makes it; `begin` returns what it does, which begins with a wait for [`Self::let_go`] if
    /// it `waits`.
    pub fn spawn<Body: FnOnce(ChildEnd) -> Infallible>(
        spawn_args: &SpawnArgs<'_>,
        waits: bool,
        wait_limit: WaitLimit<'_>,
        begin: impl FnOnce() -> Result<Body>,
    ) -> Result<Self> {
        let receive = |channel: &ParentEnd, intermediate: &Child| {
            wait_limit.receive(channel, intermediate.pidfd.as_fd())
        };
        let (child, channel) = spawn(spawn_args, sync::pair()?, receive, begin)?;
        Ok(Self { child, maker: None, waits, channel, master: None })
    }

    /// Its pid, as the runtime sees it.
    pub fn pid(&self) -> i32 {
        self.child.pid.as_raw_nonzero().get()
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Both.
    pub fn lend(&self) -> ProcessRef<'_> {
        ProcessRef { pid: self.pid(), pidfd: self.pidfd() }
    }

    /// What had to be done from outside is done.
    pub fn let_go(&self) -> Result<()> {
        if self.waits { self.channel.send(ToChild::Go) } else { Ok(()) }
    }

    /// It is on record, and may be left alone.
    pub fn leave(&self) -> Result<()> {
        self.channel.send(ToChild::Done)
    }

    /// Hands over descriptors that it expects.
    pub fn send_fds(&self, fds: &[OwnedFd]) -> Result<()> {
        self.channel.send_fds(fds)
    }

    /// Hears the process out until it is ready to be started. One that `outside` says to go
    /// on in a child gives its place to that.
    pub fn until_ready(
        &mut self,
        outside: &Outside<'_>,
        meanwhile: &mut Meanwhile<'_>,
    ) -> Result<()> {
        for _ in 0..MESSAGES {
            match meanwhile.wait_limit.receive(&self.channel, self.child.pidfd.as_fd())? {
                Some(ToParent::Ready) => return Ok(()),
                Some(ToParent::Spawned(child)) if outside.forks => {
                    self.maker = Some(std::mem::replace(&mut self.child, child));
                    return self.hand_on(outside);
                }
                Some(ToParent::Hooks) => {
                    (meanwhile.on_hooks)()?;
                    self.channel.send(ToChild::Done)?;
                }
                Some(ToParent::Console(master)) => self.master = Some(master),
                Some(ToParent::Listener(listener)) => (meanwhile.on_listener)(&listener)?,
                Some(ToParent::Warning(text)) => meanwhile.log.warning(&text),
                Some(ToParent::Failed(error)) => return Err(error),
                Some(other) => {
                    return Err(Error::new(format!(
                        "the process said {other:?} before it was ready"
                    )));
                }
                None => return Err(serve::ended_early(&self.child)),
            }
        }
        Err(serve::too_much())
    }

    /// What fork(2) does not hand on.
    fn hand_on(&self, outside: &Outside<'_>) -> Result<()> {
        match outside.process.map(|process| process.scheduling) {
            Some(scheduling) if scheduling.ends_at_fork() => {
                scheduling::apply(Some(self.child.pid), scheduling)
            }
            _ => Ok(()),
        }
    }

    /// Gives the process's terminal and its pidfd to those who wait for them;
    /// returns a terminal that nobody else took.
    pub fn hand_over(
        &mut self,
        console: Option<&Path>,
        pidfd: Option<&Path>,
    ) -> Result<Option<OwnedFd>> {
        let mut master = self.master.take();
        if let (Some(socket), Some(fd)) = (console, &master) {
            // The name as data is what runc's callers expect.
            send_fd(socket, b"/dev/ptmx", fd.as_fd()).at(|| "--console-socket")?;
            master = None;
        }
        if let Some(socket) = pidfd {
            send_fd(socket, b"pidfd", self.pidfd()).at(|| "--pidfd-socket")?;
        }
        Ok(master)
    }

    /// Tells it to become its program, and waits until it has. `status` is the
    /// container's, as a seccomp agent is told.
    pub fn start(
        &self,
        (record, status): (&Record, Status),
        receiver: Option<&Receiver>,
        wait_limit: WaitLimit<'_>,
        log: &Log,
    ) -> Result<()> {
        let waiting = Waiting {
            channel: &self.channel,
            process: self.lend(),
            is_child: true,
            record,
            status,
            wait_limit,
            receiver,
            log,
        };
        waiting.begin()
    }

    /// The error, marked if the process was killed as it was made; then it may be tried again.
    pub fn explain(&self, error: Error) -> Error {
        if never_ran(&self.child) { error.kind(Kind::NeverRan) } else { error }
    }

    /// Kills and reaps it, and who has made it.
    pub fn end(&self) -> Result<()> {
        self.maker.as_ref().map_or(Ok(()), serve::end).and(serve::end(&self.child))
    }

    /// Kills it, and who has made it, and waits for neither.
    pub fn kill(&self) -> Result<()> {
        let mut all = self.maker.iter().chain([&self.child]);
        all.try_for_each(|process| serve::kill(process.pidfd.as_fd()))
    }

    /// The process alone: who has made it has ended, or does so now.
    pub fn into_child(self, log: &Log) -> Child {
        if let Some(maker) = self.maker
            && let Err(error) = serve::reap(&maker)
        {
            log.warning(&format!("exec: {error}"));
        }
        self.child
    }
}
