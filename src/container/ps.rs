//! `ps`: the processes of a container, by its cgroup.

use super::{Container, Runtime};
use crate::error::Result;
use crate::spec::Status;

/// The pids of all processes, in the runtime's view, ascending. Of a container that has
/// stopped these are the ones that have outlived its init, mostly none.
///
/// # Errors
/// A container that does not exist; what keeps us from knowing them.
pub fn pids(runtime: &Runtime, id: &str) -> Result<Vec<i32>> {
    let container = Container::find(runtime, id)?;
    let cgroup = &container.record.cgroup;
    // Whoever is in a cgroup that another container has taken since is not of this one.
    if container.status()? == Status::Stopped && !cgroup.is_held()? {
        return Ok(Vec::new());
    }
    let mut pids = cgroup.pids()?;
    pids.sort_unstable();
    // One that moved while they were listed, or whose threads are in several cgroups.
    pids.dedup();
    Ok(pids)
}
