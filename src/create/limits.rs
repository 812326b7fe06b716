//! Limits that are set on the new process from outside: in a user namespace it
//! could not raise them itself.

use crate::error::{Context, Result};
use crate::plan::Process;
use rustix::io::Errno;
use rustix::process::{Pid, Rlimit, prlimit};

/// Sets `process.rlimits` on `pid`. It comes last, so that they do not bind
/// the set-up.
///
/// # Errors
/// `EPERM` for a hard limit above ours without `CAP_SYS_RESOURCE`.
pub fn set_rlimits(pid: Pid, process: &Process) -> Result<()> {
    for (i, limit) in process.rlimits.iter().enumerate() {
        let new = Rlimit { current: limit.soft, maximum: limit.hard };
        prlimit(Some(pid), limit.resource, new)
            .call(|| {
                let show = |value: Option<u64>| value.map_or("unlimited".into(), |v| v.to_string());
                format!(
                    "process.rlimits[{i}]: prlimit({}, soft {}, hard {})",
                    limit.name,
                    show(limit.soft),
                    show(limit.hard)
                )
            })
            .map_err(|error| match error.errno() {
                Some(Errno::PERM) => error.hint("the hard limit is above the runtime's own"),
                _ => error,
            })?;
    }
    Ok(())
}

/// Sets `process.oomScoreAdj` on `pid`.
///
/// # Errors
/// `EACCES` when it is lowered without `CAP_SYS_RESOURCE`.
pub fn set_oom_score(pid: Pid, process: &Process, rootless: bool) -> Result<()> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    let written = std::fs::write(&path, score.to_string())
        .call(|| format!("process.oomScoreAdj: write {score} to {path}"));
    match written {
        Err(error) if rootless && error.errno() == Some(Errno::ACCESS) && already(&path, score) => {
            Ok(())
        }
        written => written,
    }
}

/// Without privilege the score cannot go below what it is: then a value that
/// is there already is no failure.
fn already(path: &str, score: i32) -> bool {
    std::fs::read_to_string(path).is_ok_and(|now| now.trim() == score.to_string())
}
