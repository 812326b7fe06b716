//! Ends a hook with everything that it has started, also what has left its
//! process group and session: while the hook runs we are a subreaper, so all of
//! it, however often forked, is below us in the tree of processes.
//!
//! Only direct children are killed: they cannot be mistaken for others, as
//! their pids are not used again before we have reaped them. Then those below
//! them become our children, and so on until there are none.

use crate::error::{Context, Error, Result};
use crate::sys::process;
use crate::sys::process::stat_fields;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, child_subreaper, getpid, kill_process, pidfd_open,
    set_child_subreaper, waitpid,
};
use std::os::fd::AsFd as _;

/// More rounds than a tree is deep; only a program that forks faster than it
/// can be killed needs more.
const MAX_ROUNDS: usize = 1000;

/// What is ours to end: children begun since, but for the container's init.
#[derive(Debug)]
pub(super) struct Tree {
    /// None if /proc did not tell: then nobody can be told from our other children.
    since: Option<u64>,
    init: i32,
    /// Whether our caller had made us a subreaper already.
    was_subreaper: bool,
}

impl Tree {
    /// Before the hook is started: from now on its orphans are our children.
    pub fn watch(init: i32) -> Result<Self> {
        let was_subreaper = child_subreaper().call(|| "prctl(PR_GET_CHILD_SUBREAPER)".into())?;
        set_child_subreaper(Some(getpid())).call(|| "prctl(PR_SET_CHILD_SUBREAPER)".into())?;
        Ok(Self { since: None, init, was_subreaper: was_subreaper.is_some() })
    }

    /// The hook has been started: who began before it is not of it.
    pub fn began(&mut self, hook: i32) {
        self.since = read(hook).ok().flatten().map(|process| process.start_time);
    }

    /// After the hook: what it has left running on purpose belongs to whoever
    /// adopts it, as without us.
    ///
    /// # Errors
    /// Those of prctl(2).
    pub fn let_go(self) -> Result<()> {
        if self.was_subreaper {
            return Ok(());
        }
        set_child_subreaper(None).call(|| "prctl(PR_SET_CHILD_SUBREAPER)".into())
    }

    /// Kills and reaps all of it. The hook itself has been.
    ///
    /// # Errors
    /// A process that we may not kill; one that forks without end; no /proc.
    pub fn end(&self) -> Result<()> {
        let since = self.since.ok_or_else(|| {
            Error::new("/proc does not tell when the hook began: what it has started may be left")
        })?;
        for _ in 0..MAX_ROUNDS {
            let children = self.children(since)?;
            if children.is_empty() {
                return Ok(());
            }
            for pid in &children {
                kill_process(*pid, Signal::KILL)
                    .call(|| format!("kill the hook's child {}", pid.as_raw_nonzero()))?;
            }
            for pid in children {
                let ended = reap(pid).call(|| "pidfd_open of the hook's child".into())?;
                if !ended {
                    let pid = pid.as_raw_nonzero();
                    return Err(Error::new(format!("the hook's child {pid} does not end")));
                }
            }
        }
        Err(Error::new("the hook's children fork without end"))
    }

    /// One look at the whole table. A zombie counts: it is reaped, and what was
    /// below it is found in the next round.
    fn children(&self, since: u64) -> Result<Vec<Pid>> {
        let me = getpid().as_raw_nonzero().get();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").call(|| "read /proc".into())? {
            let name = entry.call(|| "read /proc".into())?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let ours = |process: &Process| process.parent == me && process.start_time >= since;
            if pid != self.init && read(pid)?.as_ref().is_some_and(ours) {
                found.extend(process::one(pid));
            }
        }
        Ok(found)
    }
}

/// Reaps a child that has been killed; false if it does not end in time.
fn reap(pid: Pid) -> rustix::io::Result<bool> {
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(true),
        pidfd => pidfd?,
    };
    if !super::ends(pidfd.as_fd())? {
        return Ok(false);
    }
    match rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty())) {
        Ok(_) | Err(Errno::CHILD) => Ok(true),
        Err(errno) => Err(errno),
    }
}

struct Process {
    parent: i32,
    start_time: u64,
}

/// None if it is gone.
fn read(pid: i32) -> Result<Option<Process>> {
    let path = format!("/proc/{pid}/stat");
    match std::fs::read_to_string(&path) {
        Ok(stat) => Ok(parse(&stat)),
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error).call(|| format!("read {path}")),
    }
}

/// The kernel says ESRCH if the process ended between open and read.
fn gone(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

/// Fields 4 and 22 of `proc_pid_stat(5)`, counted from the end of the name,
/// which may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let mut fields = stat_fields(stat)?;
    let parent = fields.nth(1)?.parse().ok()?;
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Process { parent, start_time })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn parent_and_start_time() {
        let stat = "42 (a) b (c) R 7 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 0";
        let process = parse(stat).unwrap();
        assert_eq!((process.parent, process.start_time), (7, 4711));
    }
}
