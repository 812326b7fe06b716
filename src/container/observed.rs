//! What state a container is in, by what the kernel shows and never by what a file says
//! (runtime.md, "State"). A state carries what exists in it: a verb that is handed init need
//! not ask whether there is one, and cannot pass over the states that have none.

use super::{Container, serve};
use crate::cgroup;
use crate::error::Result;
use crate::spec::{OCI_VERSION, State, Status};
use crate::store::{Dir, ProcessId, Record, RecordSummary, START, Store};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The state of a container. `I` is what the verb needs of init: its identity, or the
/// open process.
#[derive(Debug)]
pub(super) enum Observed<I = ProcessId> {
    /// `create` is at work, and may have noted an init already.
    Creating(Option<ProcessId>),
    /// Init waits for `start`.
    Created(I),
    /// Init has executed the program.
    Running(I),
    /// The cgroup is frozen, whether init waits or runs the program.
    Paused(I),
    /// Init has ended, or `create` was killed before it had made one.
    Stopped,
}

impl<I> Observed<I> {
    /// The spec's word for it.
    pub fn status(&self) -> Status {
        match self {
            Self::Creating(_) => Status::Creating,
            Self::Created(_) => Status::Created,
            Self::Running(_) => Status::Running,
            Self::Paused(_) => Status::Paused,
            Self::Stopped => Status::Stopped,
        }
    }
}

/// A process with its pidfd: what is sent there reaches this process or none.
#[derive(Debug)]
pub(super) struct OpenProcess {
    /// Who it is.
    pub id: ProcessId,
    /// Its pidfd.
    pub pidfd: OwnedFd,
}

impl OpenProcess {
    /// `None` if it has ended.
    fn open(id: ProcessId) -> Result<Option<Self>> {
        Ok(id.open_alive()?.map(|pidfd| Self { id, pidfd }))
    }

    /// The same, lent.
    pub fn lend(&self) -> ProcessRef<'_> {
        ProcessRef { pid: self.id.pid, pidfd: self.pidfd.as_fd() }
    }
}

/// A process by its pidfd; the pid is for procfs, and for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessRef<'a> {
    /// Its pid.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: BorrowedFd<'a>,
}

impl Container {
    /// The state, with the identity of init. Nothing holds init: it may end at any time.
    ///
    /// # Errors
    /// If the state cannot be known: a container that cannot be looked at has not stopped.
    pub(super) fn observe(&self) -> Result<Observed> {
        observe_in(&self.dir, &self.record)
    }

    /// The state, with init opened.
    ///
    /// # Errors
    /// As [`Self::observe`], and those of `pidfd_open(2)`.
    pub(super) fn observe_open(&self) -> Result<Observed<OpenProcess>> {
        observe(&self.record, || self.dir.has(START), OpenProcess::open)
    }

    /// As [`Self::observe_open`] for `start`, which learns when it connects that a start socket
    /// was left behind.
    ///
    /// # Errors
    /// As [`Self::observe_open`].
    pub(super) fn observe_by_socket(&self) -> Result<Observed<OpenProcess>> {
        observe_by_socket(&self.record, || self.dir.has(START), OpenProcess::open)
    }
}

/// As [`Container::observe`], by what it has on disk.
///
/// # Errors
/// As [`Container::observe`].
pub(super) fn observe_in(dir: &Dir, record: &Record) -> Result<Observed> {
    observe(record, || dir.has(START), identity)
}

/// The state of a container of which only the summary of its record is read.
///
/// # Errors
/// As [`Container::observe`].
pub(super) fn observe_summary(store: &Store, record: &RecordSummary) -> Result<Observed> {
    observe(record, || store.has(&record.id, START), identity)
}

fn identity(init: ProcessId) -> Result<Option<ProcessId>> {
    Ok(init.is_alive()?.then_some(init))
}

/// `open` gives what the verb needs of an init that is alive, and `None` of one that is not.
fn observe<C, I>(
    record: &Record<C>,
    has_socket: impl FnOnce() -> Result<bool>,
    open: impl FnOnce(ProcessId) -> Result<Option<I>>,
) -> Result<Observed<I>> {
    let open = |id: ProcessId| Ok(open(id)?.map(|init| (id.pid, init)));
    Ok(match observe_by_socket(record, has_socket, open)? {
        // A `start` that was killed has not removed the socket.
        Observed::Created((pid, init)) if serve::has_executed(pid)? == Some(true) => {
            Observed::Running(init)
        }
        Observed::Created((_, init)) => Observed::Created(init),
        Observed::Running((_, init)) => Observed::Running(init),
        Observed::Paused((_, init)) => Observed::Paused(init),
        Observed::Creating(init) => Observed::Creating(init),
        Observed::Stopped => Observed::Stopped,
    })
}

/// As [`observe`], but the start socket alone says whether init waits. That a container is
/// paused counts first: one whose init waits for `start` can be paused, too, and would not
/// read the message.
fn observe_by_socket<C, I>(
    record: &Record<C>,
    has_socket: impl FnOnce() -> Result<bool>,
    open: impl FnOnce(ProcessId) -> Result<Option<I>>,
) -> Result<Observed<I>> {
    if let Some(creator) = record.creator
        && creator.is_alive()?
    {
        return Ok(Observed::Creating(record.init));
    }
    // An init whose creator has died half-way is nobody's to start, or to enter.
    let init = record.init.filter(|_| record.creator.is_none());
    let Some(id) = init else { return Ok(Observed::Stopped) };
    // Before init: `delete` removes the socket, too, but only of an init that has ended.
    let has_socket = has_socket()?;
    let Some(init) = open(id)? else { return Ok(Observed::Stopped) };
    match &record.freezer {
        Some(freezer) if cgroup::is_frozen(freezer)? && id.is_alive()? => {
            Ok(Observed::Paused(init))
        }
        _ if has_socket => Ok(Observed::Created(init)),
        _ => Ok(Observed::Running(init)),
    }
}

/// The state document of a record (runtime.md, "State"). `pid` is the runtime's view.
pub(super) fn state_of<C>(record: &Record<C>, status: Status) -> State<'_> {
    let pid = match status {
        Status::Stopped => 0,
        _ => record.init.map_or(0, |init| init.pid),
    };
    State {
        oci_version: OCI_VERSION,
        id: &record.id,
        pid,
        status,
        bundle: &record.bundle,
        rootfs: Some(&record.rootfs),
        created: Some(&record.created),
        annotations: &record.annotations,
        owner: Some(""),
    }
}
