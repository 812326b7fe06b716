//! `pause` and `resume`: the freezer.

use super::{Container, Observed, Runtime, serve};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};

/// Stops all processes of a container where they stand.
///
/// # Errors
/// If it is not running or created.
pub fn pause(runtime: &Runtime, id: &str) -> Result<()> {
    let container = Container::find(runtime, id)?;
    let _lock = container.dir.lock()?;
    match container.observe()? {
        Observed::Running(init) | Observed::Created(init) => {
            let _order = container.dir.lock_record()?;
            let frozen = container.own_cgroup().and_then(Cgroup::freeze);
            frozen.map_err(|error| serve::look_again(error, id, init))
        }
        other => Err(wrong(id, &other, "running", "pause")),
    }
}

/// Lets them run on.
///
/// # Errors
/// If it is not paused; if a cgroup above is frozen, so that they do not run all the same.
pub fn resume(runtime: &Runtime, id: &str) -> Result<()> {
    // Without the container's lock: who has it may wait for a process that stands still.
    // A `pause` at work does not, and what it freezes is thawed only once it has done so.
    let container = Container::find(runtime, id)?;
    let mut observed = container.observe()?;
    if let Observed::Paused(_) = observed {
        let _order = container.dir.lock_record()?;
        observed = container.observe()?;
        if let Observed::Paused(init) = observed {
            // Nobody else is kept from deleting it meanwhile.
            let thawed = container.own_cgroup().and_then(|cgroup| {
                // Asked first: what cannot be known then has changed nothing.
                match cgroup.must_run() {
                    Err(error) if error.errno().is_some() => Err(error),
                    above => cgroup.thaw().and(above),
                }
            });
            return thawed.map_err(|error| serve::look_again(error, id, init));
        }
    }
    Err(wrong(id, &observed, "paused", "resume"))
}

fn wrong(id: &str, observed: &Observed, needed: &str, verb: &str) -> Error {
    match observed {
        Observed::Stopped => super::not_running(id),
        _ => Error::new(format!(
            "cannot {verb} container {id}: it is {}, not {needed}",
            observed.status().as_str()
        )),
    }
}
