//! CPU and I/O scheduling of the new process.

use crate::error::{At, Context, Error, Result};
use crate::plan::mask::Mask;
use crate::plan::scheduling::Scheduling;
use crate::sys::sched::{self, SchedAttr};
use crate::sys::seccomp::may_deny;
use rustix::io::Errno;
use rustix::process::Pid;

/// All CPUs that any kernel can have.
const ALL_CPUS: [u64; 128] = [u64::MAX; 128];

/// Lets this process run on all CPUs of its cpuset: those of whoever called the
/// runtime are not those of the container (runc does so too). Where a filter around us
/// denies the call, the container keeps the caller's CPUs, which are some of its own.
///
/// # Errors
/// Those of `sched_setaffinity(2)`.
pub fn reset_affinity() -> Result<()> {
    match sched::set_affinity(&ALL_CPUS) {
        Err(errno) if may_deny(errno) => Ok(()),
        set => set.call(|| "sched_setaffinity(all CPUs)".into()),
    }
}

/// Lets this process run on those CPUs only; `field` says who wants it.
///
/// # Errors
/// `EINVAL` if none of them is there and in the cpuset.
pub fn set_affinity(field: &str, cpus: Option<&Mask>) -> Result<()> {
    let Some(cpus) = cpus else { return Ok(()) };
    sched::set_affinity(cpus)
        .call(|| "sched_setaffinity".into())
        .at(|| &field)
        .hint(|| "none of the CPUs is online and in the cpuset")
}

/// Applies what is set, to this process or to another one.
///
/// # Errors
/// Those of `sched_setattr(2)` and `ioprio_set(2)`.
pub fn apply(process: Option<Pid>, scheduling: Scheduling) -> Result<()> {
    let pid = process.map_or(0, |pid| pid.as_raw_nonzero().get());
    if let Some(cpu) = scheduling.cpu {
        let attributes = SchedAttr {
            policy: cpu.policy,
            flags: cpu.flags,
            nice: cpu.nice,
            priority: cpu.priority,
            runtime: cpu.runtime,
            deadline: cpu.deadline,
            period: cpu.period,
            util_min: 0,
            util_max: cpu.util_max,
            ..SchedAttr::default()
        };
        sched::set_attributes(pid, attributes)
            .call(|| format!("sched_setattr({}, nice {})", cpu.name, cpu.nice))
            .at(|| "process.scheduler")
            .map_err(|error| explain(error, cpu.name))?;
    }
    if let Some(priority) = scheduling.io {
        sched::set_io_priority(pid, priority)
            .call(|| format!("ioprio_set({priority:#x})"))
            .at(|| "process.ioPriority")?;
    }
    Ok(())
}

/// sched(7) and `sched_setattr(2)` name more than one cause for most of these.
fn explain(error: Error, policy: &str) -> Error {
    match (error.errno(), policy) {
        (Some(Errno::BUSY), "SCHED_DEADLINE") => {
            error.hint("the deadlines already granted leave no room for runtime / period")
        }
        (Some(Errno::PERM), "SCHED_DEADLINE") => error.hint(
            "needs CAP_SYS_NICE and the use of all CPUs: no linux.resources.cpu.cpus",
        ),
        (Some(Errno::INVAL), "SCHED_DEADLINE") => error.hint(
            "the period must lie between those of /proc/sys/kernel/sched_deadline_period_min_us and _max_us",
        ),
        (Some(Errno::PERM), "SCHED_FIFO" | "SCHED_RR") => error.hint(
            "needs CAP_SYS_NICE, and on cgroup v1 linux.resources.cpu.realtimeRuntime",
        ),
        (Some(Errno::PERM), _) => error.hint("needs CAP_SYS_NICE"),
        (Some(Errno::OPNOTSUPP), _) => error.hint("this kernel has no utilisation clamp"),
        _ => error,
    }
}
