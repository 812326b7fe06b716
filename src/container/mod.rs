//! The life of a container: one verb a file, each reads like the man page.
//! A container's status is what the kernel shows, never what a file says.

mod birth;
mod bundle;
mod create;
mod created;
mod decide;
mod delete;
mod entry;
mod events;
mod exec;
mod features;
mod foreground;
mod kept;
mod kill;
mod list;
mod look;
mod lost;
pub mod network;
mod notify;
mod overlay;
mod pause;
mod preview;
mod process;
mod ps;
mod run;
mod seccomp;
mod serve;
mod start;
mod state;
mod update;
mod wiring;
mod work;

pub use bundle::Bundle;
pub use create::create;
pub use created::Created;
pub use decide::{Decided, Driver};
pub use delete::delete;
pub use events::{events, stats};
pub use exec::{Request, exec};
pub use features::features;
pub use kill::{kill, parse_signal};
pub use list::{list, matching};
pub use pause::{pause, resume};
pub use preview::Preview;
pub use ps::pids;
pub use run::{Ending, run};
pub use start::start;
pub use state::state_json;
pub use update::{Change, update};
pub use wiring::{Holder, Wiring};
pub use work::Settings;

use crate::cgroup;
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;
use crate::spec::{OCI_VERSION, State, Status};
use crate::store::{Dir, Glance, ProcessId, Record, START, Store};
use crate::sys::file;
use kept::Kept;
use process::NewProcess;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// What every verb works with.
#[derive(Debug)]
pub struct Runtime {
    /// The state root.
    pub store: Store,
    /// Where messages go.
    pub log: Log,
    /// Whether we lack root's privileges over the host, if the caller says it.
    pub rootless: Option<bool>,
    /// Whether systemd makes the cgroups of new containers.
    pub systemd: bool,
    /// How many descriptors from 3 on our caller has left open to us.
    pub inherited_fds: u32,
}

impl Runtime {
    /// Who makes the cgroup of a new container.
    ///
    /// # Errors
    /// As [`is_rootless`].
    pub fn driver(&self) -> Result<Driver> {
        let rootless = self.rootless.map_or_else(is_rootless, Ok)?;
        Ok(Driver { rootless, systemd: self.systemd })
    }
}

/// A container that exists on disk.
#[derive(Debug)]
pub struct Container {
    /// Its directory.
    pub dir: Dir,
    /// Its record.
    pub record: Record,
}

impl Container {
    /// Finds a container by its id.
    ///
    /// # Errors
    /// "container does not exist".
    pub fn find(runtime: &Runtime, id: &str) -> Result<Self> {
        let dir = runtime.store.get(id)?;
        let record = dir.load()?;
        Ok(Self { dir, record })
    }

    /// Its cgroup, for who is about to change it.
    ///
    /// # Errors
    /// If another container has been given the path since.
    fn own_cgroup(&self) -> Result<&cgroup::Cgroup> {
        self.record.cgroup.must_be_held().map(|()| &self.record.cgroup)
    }

    /// Where it is in its life, by what the kernel shows.
    ///
    /// # Errors
    /// If that cannot be known: a container that cannot be looked at has not stopped.
    pub fn status(&self) -> Result<Status> {
        self.status_if(ProcessId::is_alive)
    }

    /// As [`Self::status`], with a pidfd of the process that was looked at, if
    /// it is there.
    ///
    /// # Errors
    /// As [`Self::status`], and those of `pidfd_open(2)`.
    pub fn status_and_init(&self) -> Result<(Status, Option<OwnedFd>)> {
        let mut pidfd = None;
        let status = self.status_if(|init| {
            pidfd = init.open_alive()?;
            Ok(pidfd.is_some())
        })?;
        Ok((status, pidfd))
    }

    /// As [`Self::status_and_init`] for `start`, which hears of a start socket that nobody
    /// has removed when it connects.
    ///
    /// # Errors
    /// As [`Self::status_and_init`].
    fn status_before_start(&self) -> Result<(Status, Option<OwnedFd>)> {
        let mut pidfd = None;
        let status = status_by_socket(
            &self.record,
            || self.dir.has(START),
            |init| {
                pidfd = init.open_alive()?;
                Ok(pidfd.is_some())
            },
        )?;
        Ok((status, pidfd))
    }

    fn status_if(&self, is_alive: impl FnOnce(&ProcessId) -> Result<bool>) -> Result<Status> {
        status_of(&self.record, || self.dir.has(START), is_alive)
    }

    /// The state document (runtime.md, "State"). `pid` is the runtime's view.
    pub fn state(&self, status: Status) -> State<'_> {
        state_of(&self.record, status)
    }
}

/// Where a container is, by what the kernel shows.
///
/// # Errors
/// If that cannot be known.
fn status_of<C>(
    record: &Record<C>,
    has_socket: impl FnOnce() -> Result<bool>,
    is_alive: impl FnOnce(&ProcessId) -> Result<bool>,
) -> Result<Status> {
    let status = status_by_socket(record, has_socket, is_alive)?;
    match (status, record.init) {
        // A `start` that was killed has not removed the socket.
        (Status::Created, Some(init)) if serve::has_executed(init.pid)? == Some(true) => {
            Ok(Status::Running)
        }
        _ => Ok(status),
    }
}

/// As [`status_of`], but the start socket alone says whether init waits. What is paused is
/// told first: a container whose init has not been started can be paused, too, and would
/// not hear `start`.
fn status_by_socket<C>(
    record: &Record<C>,
    has_socket: impl FnOnce() -> Result<bool>,
    is_alive: impl FnOnce(&ProcessId) -> Result<bool>,
) -> Result<Status> {
    if let Some(creator) = record.creator
        && creator.is_alive()?
    {
        return Ok(Status::Creating);
    }
    let Some(init) = record.init else { return Ok(Status::Stopped) };
    // Asked first: a delete takes the socket away, too, but only of a process that has ended.
    let has_socket = has_socket()?;
    if !is_alive(&init)? {
        return Ok(Status::Stopped);
    }
    match &record.freezer {
        Some(freezer) if cgroup::is_frozen(freezer)? && init.is_alive()? => Ok(Status::Paused),
        _ if has_socket => Ok(Status::Created),
        _ => Ok(Status::Running),
    }
}

/// A container for who only looks at it, once.
///
/// # Errors
/// As [`Container::find`] and [`Container::status`].
fn look_at(store: &Store, id: &str) -> Result<(Glance, Status)> {
    let record = store.glance(id)?;
    let status = glance_at(store, &record)?;
    Ok((record, status))
}

fn glance_at(store: &Store, record: &Glance) -> Result<Status> {
    status_of(record, || store.has(&record.id, START), ProcessId::is_alive)
}

/// The state document of a record.
fn state_of<C>(record: &Record<C>, status: Status) -> State<'_> {
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

/// The error of a verb that a process of a paused container would have to answer to; `or`
/// is another way out.
fn is_paused(container: &Container, message: &str, or: &str) -> Error {
    match container.record.cgroup.must_run() {
        // By somebody else.
        Err(above) => above.at(message),
        Ok(()) => {
            let id = container.dir.id();
            Error::new(message).hint(format!("`pinnace resume {id}` first{or}"))
        }
    }
}

/// The error of a verb that wants a running container. Engines match it.
fn not_running(id: &str) -> Error {
    Error::new(format!("container not running: {id}")).kind(Kind::NotRunning)
}

/// Whether we lack root's privileges over the host: not uid 0, or uid 0 of a
/// user namespace that an ordinary user has made, as rootless engines do.
///
/// # Errors
/// If that cannot be known: what is forgiven to a user must not be to root.
pub fn is_rootless() -> Result<bool> {
    if !rustix::process::geteuid().is_root() {
        return Ok(true);
    }
    if std::env::var_os("USER").is_some_and(|user| user == "root") {
        return Ok(false);
    }
    let map = match file::read_short("/proc/self/uid_map") {
        // A kernel without user namespaces has no such file, but the rest of procfs.
        Err(Errno::NOENT) if std::fs::exists("/proc/self/stat").call(|| "stat /proc".into())? => {
            return Ok(false);
        }
        map => map.call(|| "read /proc/self/uid_map".into()),
    }?;
    let map = String::from_utf8_lossy(&map);
    Ok(!map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}
