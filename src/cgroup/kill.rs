//! A signal to all processes of a cgroup.

use super::node::{Node, write_file};
use super::procs::{each, open_pid};
use super::walk::{Step, has_children, walk};
use super::{Cgroup, freeze};
use crate::error::{Context, Error, Result};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often a sweep may find processes that the one before did not know. Who
/// has been sent SIGKILL can't fork any more, so it takes few.
const MAX_SWEEPS: usize = 16;
/// When no sweep is begun any more.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// How many processes are signalled at once: each takes a descriptor, and a usual
/// limit is 1024. Each batch lists the directory again, so few are too slow.
const BATCH: usize = 900;

pub(super) fn kill(cgroup: &Cgroup, signal: Signal) -> Result<()> {
    let node = cgroup.main_node()?;
    let Some(dir) = node.dir_if_there()? else {
        return Ok(());
    };
    if signal == Signal::KILL && node.unified() {
        // Linux 5.14: all at once, those being forked and those frozen too.
        match write_file(dir, "cgroup.kill", "1") {
            // EOPNOTSUPP: a threaded cgroup kills only as a part of its domain.
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
            done => return done.call(|| format!("write 1 to {}/cgroup.kill", node.path())),
        }
    }
    let mut sweep = Sweep::new(node, dir, signal);
    if signal != Signal::KILL {
        return sweep.repeat().map(drop);
    }
    if !has_children(dir).call(|| format!("stat {}", node.path()))?
        && sweep.repeat()?
        && !sweep.nested
    {
        return if sweep.met { freeze::thaw_all(cgroup) } else { Ok(()) };
    }
    // Somebody forks faster than we read, or may go from one directory to another
    // while we read a third: they can't while frozen. Whether all stand still in
    // time does not matter, the sweep that follows does.
    let held = freeze::hold(cgroup, Duration::from_secs(1));
    let swept = sweep.repeat();
    if sweep.met {
        freeze::thaw_all(cgroup)?;
    } else if held.is_ok() {
        freeze::thaw_top(cgroup)?; // nobody was met, so nobody is frozen below
    }
    match swept? {
        true => Ok(()),
        false => held.and(Err(Error::new(format!("processes of {} fork too fast", node.path())))),
    }
}

/// A signal to everybody in a cgroup and below, and to who is forked meanwhile.
///
/// A pid may be another's by the time it is used. A pidfd is not: it is opened,
/// and only if the cgroup still lists the pid *after that* it is signalled; if
/// the pid changed hands in between, the pidfd's process is gone and nothing
/// is sent.
struct Sweep<'a> {
    node: &'a Node,
    dir: BorrowedFd<'a>,
    signal: Signal,
    /// Who has got the signal and is still listed. A pid that was not listed in
    /// between is another process.
    known: BTreeSet<i32>,
    /// Whether anybody was met.
    met: bool,
    /// Whether there is more than one directory.
    nested: bool,
    /// One that could not be signalled must not keep the others.
    failed: Result<()>,
}

impl<'a> Sweep<'a> {
    fn new(node: &'a Node, dir: BorrowedFd<'a>, signal: Signal) -> Self {
        let known = BTreeSet::new();
        Self { node, dir, signal, known, met: false, nested: false, failed: Ok(()) }
    }

    /// Until nobody new turns up; false if that did not happen.
    fn repeat(&mut self) -> Result<bool> {
        let until = Instant::now() + KILL_TIMEOUT;
        for _ in 0..MAX_SWEEPS {
            let before = std::mem::take(&mut self.known);
            let mut quiet = true;
            let mut directories = 0;
            walk(self.node, self.dir, |step| {
                if let Step::Enter(dir) = step {
                    directories += 1;
                    quiet &= self.one(dir, &before)?;
                }
                Ok(())
            })?;
            self.nested = directories > 1;
            std::mem::replace(&mut self.failed, Ok(()))?;
            if quiet {
                return Ok(true);
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(false)
    }

    /// One directory; whether nobody was there but those of `before`.
    fn one(&mut self, dir: BorrowedFd<'_>, before: &BTreeSet<i32>) -> Result<bool> {
        let mut new = Vec::new();
        let known = &mut self.known;
        each(self.node, dir, |pid| match before.contains(&pid) {
            true => drop(known.insert(pid)),
            false => new.push(pid),
        })?;
        new.retain(|pid| !self.known.contains(pid));
        let mut quiet = true;
        let mut left = &new[..];
        while !left.is_empty() {
            let (mut opened, rest) = open_batch(dir, left)?;
            left = rest;
            if opened.is_empty() {
                continue;
            }
            quiet = false;
            opened.sort_unstable_by_key(|(pid, _)| *pid);
            let mut listed = vec![false; opened.len()];
            each(self.node, dir, |pid| {
                if let Ok(at) = opened.binary_search_by_key(&pid, |(pid, _)| *pid) {
                    listed[at] = true;
                }
            })?;
            for ((pid, fd), _) in opened.iter().zip(listed).filter(|(_, listed)| *listed) {
                let sent = self.send(*pid, fd);
                self.failed = std::mem::replace(&mut self.failed, Ok(())).and(sent);
                self.known.insert(*pid);
            }
        }
        self.met |= !quiet;
        Ok(quiet)
    }

    fn send(&self, pid: i32, fd: &OwnedFd) -> Result<()> {
        match pidfd_send_signal(fd, self.signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => {
                let call = format!("pidfd_send_signal({}) to {pid}", self.signal.as_raw());
                Err(Error::os(call, errno))
            }
        }
    }
}

/// A process by its pid and by its pidfd.
type Opened = (i32, OwnedFd);

/// Opens as many of the processes as a batch, and our limit of descriptors, allow;
/// the rest is returned with them. One descriptor is left for the list that follows.
fn open_batch<'p>(dir: BorrowedFd<'_>, pids: &'p [i32]) -> Result<(Vec<Opened>, &'p [i32])> {
    let _spare = fcntl_dupfd_cloexec(dir, 0).call(|| "dup a cgroup's directory".into())?;
    let mut opened = Vec::new();
    for (at, &pid) in pids.iter().enumerate() {
        if opened.len() == BATCH {
            return Ok((opened, &pids[at..]));
        }
        match open_pid(pid) {
            Ok(fd) => opened.extend(fd.map(|fd| (pid, fd))),
            Err(error) if error.errno() == Some(Errno::MFILE) && !opened.is_empty() => {
                return Ok((opened, &pids[at..]));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((opened, &[]))
}
