//! `process.scheduler` and `process.ioPriority` (`sched_setattr(2)`,
//! `ioprio_set(2)`).

use super::Findings;
use super::findings::missing;
use crate::error::Error;
use crate::nearest::nearest;
use crate::spec;

/// What to set; `None` leaves it alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// CPU scheduler attributes.
    pub cpu: Option<CpuScheduling>,
    /// The `ioprio` value: class in bits 13 to 15, level below.
    pub io: Option<u16>,
}

impl Scheduling {
    /// Whether a child does not have it, or could not be made: with
    /// `SCHED_FLAG_RESET_ON_FORK` and under `SCHED_DEADLINE` (sched(7)).
    pub fn ends_at_fork(&self) -> bool {
        self.cpu.is_some_and(|cpu| cpu.flags & RESET_ON_FORK != 0 || cpu.policy == DEADLINE)
    }
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
    pub util_max: u32,
    /// The policy's name, for messages.
    pub name: &'static str,
}

/// linux/sched.h. `SCHED_ISO` is not among them: the kernel has reserved number
/// 4 for it since 2002 and has never had it.
pub const POLICIES: [(&str, u32); 6] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", DEADLINE),
];

/// linux/sched.h.
const DEADLINE: u32 = 6;
const RESET_ON_FORK: u64 = 0x01;

/// The shortest `runtime` in nanoseconds, `sched_setattr(2)`: 1024, the grain of
/// the kernel's arithmetic.
const GRAIN: u64 = 1024;

/// `util_max` when `SCHED_FLAG_UTIL_CLAMP_MAX` is set. The spec has no field for
/// the value; 0, as the peers pass, would let the process hardly run at all,
/// so it is the whole of a CPU (`SCHED_CAPACITY_SCALE`).
const WHOLE_CPU: u32 = 1024;

/// linux/sched.h, `SCHED_FLAG_*`.
pub const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", RESET_ON_FORK),
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
    let (name, policy) = policy(&scheduler.policy, findings);
    let flags = flags(&scheduler.flags, findings);
    if !(-20..=19).contains(&scheduler.nice) {
        findings.refuse(
            "process.scheduler.nice",
            format!("{} is not between -20 and 19", scheduler.nice),
        );
    }
    let real_time = policy == 1 || policy == 2;
    if scheduler.priority != 0 && !real_time {
        findings.refuse("process.scheduler.priority", "only SCHED_FIFO and SCHED_RR have one");
    }
    if real_time && !(1..=99).contains(&scheduler.priority) {
        findings.refuse(
            "process.scheduler.priority",
            format!("{} is not between 1 and 99 (sched(7))", scheduler.priority),
        );
    }
    if name == "SCHED_DEADLINE" {
        deadline(scheduler, flags, findings);
    } else {
        for (field, value) in times(scheduler).into_iter().filter(|(_, value)| *value != 0) {
            findings.refuse(
                format_args!("process.scheduler.{field}"),
                format!("{value} is set, but it belongs to SCHED_DEADLINE only"),
            );
        }
    }
    CpuScheduling {
        policy,
        flags,
        nice: scheduler.nice,
        priority: scheduler.priority.unsigned_abs(),
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        util_max: WHOLE_CPU,
        name,
    }
}

/// Its name and number; those of `SCHED_OTHER` for one that is refused.
fn policy(asked: &str, findings: &mut Findings) -> (&'static str, u32) {
    let policy = POLICIES.into_iter().find(|(name, _)| *name == asked);
    if asked == "SCHED_ISO" {
        findings.error(
            Error::new("no Linux kernel has SCHED_ISO")
                .at("process.scheduler.policy")
                .hint("the number is reserved only (sched(7)); SCHED_RR may be what is meant"),
        );
    } else if policy.is_none() {
        let names = POLICIES.map(|(name, _)| name);
        let known = format!("one of {}", names.join(", "));
        findings.error(if asked.is_empty() {
            missing("process.scheduler.policy", &known)
        } else {
            Error::new(format!("unknown policy {asked:?}"))
                .at("process.scheduler.policy")
                .guess(nearest(asked, names))
                .hint(known)
        });
    }
    policy.unwrap_or(("SCHED_OTHER", 0))
}

fn flags(names: &[String], findings: &mut Findings) -> u64 {
    let mut flags = 0;
    for (i, flag) in names.iter().enumerate() {
        match FLAGS.iter().find(|(name, _)| name == flag) {
            Some((_, bit)) => flags |= bit,
            None => findings.error(
                Error::new(format!("unknown flag {flag:?}"))
                    .at(format_args!("process.scheduler.flags[{i}]"))
                    .guess(nearest(flag, FLAGS.map(|(name, _)| name)))
                    .hint(format!("one of {}", FLAGS.map(|(name, _)| name).join(", "))),
            ),
        }
    }
    flags
}

fn times(scheduler: &spec::Scheduler) -> [(&'static str, u64); 3] {
    let spec::Scheduler { runtime, deadline, period, .. } = *scheduler;
    [("runtime", runtime), ("deadline", deadline), ("period", period)]
}

/// The kernel answers all of this with EINVAL (`sched_setattr(2)`): runtime <=
/// deadline <= period, where a period of 0 means the deadline.
fn deadline(scheduler: &spec::Scheduler, flags: u64, findings: &mut Findings) {
    let spec::Scheduler { runtime, deadline, period, .. } = *scheduler;
    let mut wrong = |field: &str, value: u64, why: String| {
        findings.refuse(format_args!("process.scheduler.{field}"), format!("{value} ns {why}"));
    };
    for (field, value) in times(scheduler).into_iter().filter(|(_, value)| *value >> 63 != 0) {
        wrong(field, value, "is above 9223372036854775807".into());
    }
    if runtime < GRAIN {
        wrong("runtime", runtime, format!("is below {GRAIN}, the least that SCHED_DEADLINE takes"));
    }
    if runtime > deadline {
        wrong("runtime", runtime, format!("is above the deadline of {deadline}"));
    }
    if period != 0 && deadline > period {
        wrong("deadline", deadline, format!("is above the period of {period}"));
    }
    let [(_, reset_on_fork), ..] = FLAGS;
    if flags & reset_on_fork == 0 {
        findings.warn(
            Error::new("a SCHED_DEADLINE process cannot fork without SCHED_FLAG_RESET_ON_FORK")
                .at("process.scheduler"),
        );
    }
}

fn io(priority: &spec::IoPriority, findings: &mut Findings) -> Option<u16> {
    let class = IO_CLASSES.iter().find(|(name, _)| *name == priority.class);
    if class.is_none() {
        let known = "one of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE";
        findings.error(if priority.class.is_empty() {
            missing("process.ioPriority.class", known)
        } else {
            Error::new(format!("unknown class {:?}", priority.class))
                .at("process.ioPriority.class")
                .guess(nearest(&priority.class, IO_CLASSES.map(|(name, _)| name)))
                .hint(known)
        });
    }
    let level = priority.priority.unwrap_or_else(|| {
        findings.advise(
            Error::new("is required; taken for 0, the highest").at("process.ioPriority.priority"),
        );
        0
    });
    if !(0..=7).contains(&level) {
        findings.refuse("process.ioPriority.priority", format!("{level} is not between 0 and 7"));
        return None;
    }
    class.map(|(_, number)| number << 13 | level as u16)
}
