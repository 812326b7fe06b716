//! CPU and I/O scheduling of the new process.

use crate::error::{Context, Result};
use crate::plan::scheduling::Scheduling;
use crate::sys::sched::{self, SchedAttr};

/// Applies what is set, to this process.
///
/// # Errors
/// Those of `sched_setattr(2)` and `ioprio_set(2)`.
pub fn apply(scheduling: Scheduling) -> Result<()> {
    if let Some(cpu) = scheduling.cpu {
        let attributes = SchedAttr {
            policy: cpu.policy,
            flags: cpu.flags,
            nice: cpu.nice,
            priority: cpu.priority,
            runtime: cpu.runtime,
            deadline: cpu.deadline,
            period: cpu.period,
            ..SchedAttr::default()
        };
        sched::set_attributes(attributes)
            .call(|| format!("sched_setattr(policy {}, nice {})", cpu.policy, cpu.nice))
            .map_err(|error| error.at("process.scheduler"))?;
    }
    if let Some(priority) = scheduling.io {
        sched::set_io_priority(priority)
            .call(|| format!("ioprio_set({priority:#x})"))
            .map_err(|error| error.at("process.ioPriority"))?;
    }
    Ok(())
}
