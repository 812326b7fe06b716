//! `process.scheduler` and `process.ioPriority` (`sched_setattr(2)`,
//! `ioprio_set(2)`).

use super::Findings;
use crate::error::Error;
use crate::spec;

/// What to set; `None` leaves it alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// CPU scheduler attributes.
    pub cpu: Option<CpuScheduling>,
    /// The `ioprio` value: class in bits 13 to 15, level below.
    pub io: Option<u16>,
}

/// The fields of `struct sched_attr`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CpuScheduling {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// linux/sched.h. There is no `SCHED_ISO` in the kernel: number 4 is reserved
/// for it and refused with EINVAL.
pub const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// linux/sched.h, `SCHED_FLAG_*`.
pub const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// linux/ioprio.h.
const IO_CLASSES: [(&str, u16); 3] =
    [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// The name of a policy.
pub fn policy_name(number: u32) -> Option<&'static str> {
    POLICIES.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// Checks both.
pub fn plan(process: &spec::Process, findings: &mut Findings) -> Scheduling {
    Scheduling {
        cpu: process.scheduler.as_ref().map(|scheduler| cpu(scheduler, findings)),
        io: process.io_priority.as_ref().and_then(|priority| io(priority, findings)),
    }
}

fn cpu(scheduler: &spec::Scheduler, findings: &mut Findings) -> CpuScheduling {
    let policy = POLICIES.iter().find(|(name, _)| *name == scheduler.policy);
    if policy.is_none() {
        findings.error(Error::new(format!(
            "process.scheduler.policy: unknown policy {:?}",
            scheduler.policy
        )));
    }
    let mut flags = 0;
    for (i, flag) in scheduler.flags.iter().enumerate() {
        match FLAGS.iter().find(|(name, _)| name == flag) {
            Some((_, bit)) => flags |= bit,
            None => findings
                .error(Error::new(format!("process.scheduler.flags[{i}]: unknown flag {flag:?}"))),
        }
    }
    let policy = policy.map_or(0, |(_, number)| *number);
    if !(-20..=19).contains(&scheduler.nice) {
        findings.error(Error::new(format!(
            "process.scheduler.nice: {} is not between -20 and 19",
            scheduler.nice
        )));
    }
    let real_time = policy == 1 || policy == 2;
    if scheduler.priority != 0 && !real_time {
        findings
            .error(Error::new("process.scheduler.priority: only SCHED_FIFO and SCHED_RR have one"));
    }
    let deadline = scheduler.runtime | scheduler.deadline | scheduler.period;
    if deadline != 0 && policy != 6 {
        findings.error(Error::new(
            "process.scheduler: runtime, deadline and period belong to SCHED_DEADLINE",
        ));
    }
    CpuScheduling {
        policy,
        flags,
        nice: scheduler.nice,
        priority: scheduler.priority.unsigned_abs(),
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    }
}

fn io(priority: &spec::IoPriority, findings: &mut Findings) -> Option<u16> {
    let class = IO_CLASSES.iter().find(|(name, _)| *name == priority.class);
    if class.is_none() {
        findings.error(
            Error::new(format!("process.ioPriority.class: unknown class {:?}", priority.class))
                .hint("IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE"),
        );
    }
    if !(0..=7).contains(&priority.priority) {
        findings.error(Error::new(format!(
            "process.ioPriority.priority: {} is not between 0 and 7",
            priority.priority
        )));
        return None;
    }
    class.map(|(_, number)| number << 13 | priority.priority as u16)
}
