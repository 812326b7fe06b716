//! `ps`: the processes of a container, by its cgroup.

use super::{Container, Runtime, not_running};
use crate::error::Result;
use crate::spec::Status;

/// The pids of all processes, in the runtime's view, ascending.
///
/// # Errors
/// If the container is not running.
pub fn pids(runtime: &Runtime, id: &str) -> Result<Vec<i32>> {
    let container = Container::find(runtime, id)?;
    if container.status()? == Status::Stopped {
        return Err(not_running(id));
    }
    let mut pids = container.record.cgroup.pids()?;
    pids.sort_unstable();
    // One that moved while they were listed, or whose threads are in several cgroups.
    pids.dedup();
    Ok(pids)
}
