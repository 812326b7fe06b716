//! Limits that are set on the new process from outside: in a user namespace it
//! could not raise them itself.

use crate::error::{At, Context, Result};
use crate::plan::Process;
use crate::plan::rlimits::Rlimit as Limit;
use rustix::io::Errno;
use rustix::process::{Pid, Rlimit, getrlimit, prlimit};

/// Raises the limits of `pid`, which has those of this process, as far as
/// `process.rlimits` wants more. To lower them is the process's own affair, and
/// its last: they would bind what it has to do until then.
///
/// # Errors
/// `EPERM` for a hard limit above ours without `CAP_SYS_RESOURCE`.
pub fn raise_rlimits(pid: Pid, process: &Process) -> Result<()> {
    for (i, limit) in process.rlimits.iter().enumerate() {
        let own = getrlimit(limit.resource);
        if !is_above(limit.hard, own.maximum) {
            continue;
        }
        let current = if is_above(limit.soft, own.current) { limit.soft } else { own.current };
        prlimit(Some(pid), limit.resource, Rlimit { current, maximum: limit.hard })
            .call(|| {
                let show = |value: Option<u64>| value.map_or("unlimited".into(), |v| v.to_string());
                let (soft, hard) = (show(limit.soft), show(limit.hard));
                format!("prlimit({}, soft {soft}, hard {hard})", limit.name)
            })
            .at(|| format!("process.rlimits[{i}]"))
            .hint_on(Errno::PERM, || "the hard limit is above the runtime's own")?;
    }
    Ok(())
}

/// Whether `process.rlimits` has one that [`raise_rlimits`] would have to raise.
pub fn are_above_ours(process: &Process) -> bool {
    let is_above_ours = |limit: &Limit| is_above(limit.hard, getrlimit(limit.resource).maximum);
    process.rlimits.iter().any(is_above_ours)
}

/// `None` is no limit.
fn is_above(one: Option<u64>, other: Option<u64>) -> bool {
    other.is_some_and(|other| one.is_none_or(|one| one > other))
}

/// Sets `process.oomScoreAdj` on `pid`.
///
/// # Errors
/// `EACCES` when it is lowered without `CAP_SYS_RESOURCE`.
pub fn set_oom_score(pid: Pid, process: &Process, rootless: bool) -> Result<()> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    let written = std::fs::write(&path, score.to_string())
        .call(|| format!("write {score} to {path}"))
        .at(|| "process.oomScoreAdj");
    match written {
        Err(error) if rootless && error.errno() == Some(Errno::ACCESS) && already(&path, score) => {
            Ok(())
        }
        Err(error) if error.errno() == Some(Errno::ACCESS) => {
            Err(error.hint("below what the runtime has itself only root may go"))
        }
        written => written,
    }
}

/// Without privilege the score cannot go below what it is: then a value that
/// is there already is no failure.
fn already(path: &str, score: i32) -> bool {
    std::fs::read_to_string(path).is_ok_and(|now| now.trim() == score.to_string())
}
