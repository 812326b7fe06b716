//! The life of a container: one verb a file, each reads like the man page.
//! A container's state is what the kernel shows, never what a file says: `observed.rs` looks.

mod bundle;
mod context;
mod create;
mod created;
mod decide;
mod delete;
mod entry;
mod events;
mod exec;
mod features;
mod foreground;
mod kill;
mod list;
mod look;
mod lost;
pub(crate) mod network;
mod notify;
mod observed;
mod overlay;
mod pause;
mod preview;
mod process;
mod ps;
mod run;
mod saved_config;
mod seccomp;
mod serve;
mod spawn;
mod start;
mod state;
mod update;
mod wiring;

pub use bundle::Bundle;
pub(crate) use context::Settings;
pub(crate) use create::create;
pub(crate) use created::Created;
pub use decide::{Decided, Driver};
pub(crate) use delete::delete;
pub(crate) use events::{events, stats};
pub(crate) use exec::{Request, exec};
pub use features::features;
pub(crate) use kill::kill;
pub use kill::{parse_signal, signal_names};
pub(crate) use list::{list, matching};
pub(crate) use pause::{pause, resume};
pub use preview::Preview;
pub(crate) use ps::pids;
pub(crate) use run::{RunOptions, run};
pub(crate) use start::start;
pub(crate) use state::state_json;
pub(crate) use update::{Change, update};
pub(crate) use wiring::{Holder, Wiring};

use crate::cgroup;
use crate::error::{Context, Error, Kind, Result};
use crate::log::Log;
use crate::store::{Dir, Record, Store};
use crate::sys::file;
use observed::{Observed, state_of};
use process::NewProcess;
use rustix::io::Errno;
use saved_config::SavedConfig;

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
