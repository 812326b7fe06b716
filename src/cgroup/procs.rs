//! Processes of a cgroup: moving them in, listing and signalling them.

use super::apply::write_file;
use super::freeze;
use super::node::{Node, children, open_dir, open_file, read};
use super::plan::SubPath;
use super::{Cgroup, plan};
use crate::error::{Context, Error, Result};
use crate::sys::file::near;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often a sweep may find processes that the one before did not know. Who
/// has been sent SIGKILL can't fork any more, so it takes few.
const SWEEPS: usize = 64;

pub(super) fn attach(cgroup: &Cgroup, pid: i32, below: &[SubPath]) -> Result<()> {
    for sub in below {
        for controller in &sub.controllers {
            if !cgroup.nodes().iter().any(|node| node.name.is_some() && node.has(controller)) {
                return Err(Error::new(format!(
                    "this host has no cgroup v1 hierarchy {controller}"
                ))
                .at(format!("--cgroup {controller}:{}", sub.path)));
            }
        }
    }
    for node in cgroup.nodes() {
        let sub = below
            .iter()
            .find(|sub| sub.controllers.is_empty() || sub.controllers.iter().any(|c| node.has(c)));
        match sub {
            None => enter(node, node.dir()?, "", pid)?,
            Some(sub) => match open_dir(node.dir()?, &sub.path) {
                Ok(fd) => enter(node, fd.as_fd(), &sub.path, pid)?,
                // The unified one beside v1 controls nothing: a missing path is fine.
                Err(Errno::NOENT) if node.controllers.is_some() => {
                    enter(node, node.dir()?, "", pid)?
                }
                Err(errno) => {
                    let path = format!("{}/{}", node.path(), sub.path);
                    return Err(Error::os(format!("open cgroup {path}"), errno).at("--cgroup"));
                }
            },
        }
    }
    Ok(())
}

fn enter(node: &Node, dir: BorrowedFd<'_>, below: &str, pid: i32) -> Result<()> {
    write_file(dir, "cgroup.procs", &pid.to_string()).map_err(|errno| {
        let slash = if below.is_empty() { "" } else { "/" };
        let path = format!("{}{slash}{below}", node.path());
        let error = Error::os(format!("write {pid} to {path}/cgroup.procs"), errno);
        match errno {
            Errno::BUSY => error.hint("it has controlled cgroups below, so it takes no processes"),
            Errno::OPNOTSUPP => error.hint("it is threaded or of an invalid type; see cgroup.type"),
            Errno::NOSPC => error.hint("its cpuset has no CPUs or no memory nodes"),
            _ => error,
        }
    })
}

/// v1's files in which a process of one thread moves itself by writing `0`.
///
/// `cgroup.procs` would do, too, from outside; but that keeps all processes of the
/// host from forking meanwhile, and to begin with waits for an RCU grace period:
/// 10 ms and more. One thread that moves itself needs no such lock
/// (`cgroup_procs_write_start` in kernel/cgroup/cgroup.c, Linux 5.5).
pub(super) fn doors(cgroup: &Cgroup) -> Vec<String> {
    let hierarchies = cgroup.nodes().iter().filter(|node| !node.unified());
    hierarchies.map(|node| format!("{}/tasks", node.path())).collect()
}

/// The same, opened: for who will not see them, or not have the right.
pub(super) fn open_doors(cgroup: &Cgroup) -> Result<Vec<OwnedFd>> {
    let open = |path: &String| {
        let (dir, below) = near(path);
        open_file(dir, below, OFlags::WRONLY).call(|| format!("open {path}"))
    };
    doors(cgroup).iter().map(open).collect()
}

/// The same place as another process of the container, which must be within it.
pub(super) fn attach_beside(cgroup: &Cgroup, pid: i32, init: i32) -> Result<()> {
    let text = places(init)?;
    for node in cgroup.nodes() {
        let (fd, below) = place_of(node, &text, init)?;
        enter(node, fd.as_fd(), &below, pid)?;
    }
    Ok(())
}

/// v2: that place, for CLONE_INTO_CGROUP.
pub(super) fn dir_beside(cgroup: &Cgroup, init: i32) -> Result<Option<OwnedFd>> {
    match cgroup {
        Cgroup::V2(v2) if v2.exists => Ok(Some(place_of(&v2.node, &places(init)?, init)?.0)),
        _ => Ok(None),
    }
}

fn places(pid: i32) -> Result<String> {
    let file = format!("/proc/{pid}/cgroup");
    read(rustix::fs::CWD, &file).call(|| format!("read {file}"))
}

/// Where a process is, as far as it is in the container's part of the tree.
fn place_of(node: &Node, places: &str, pid: i32) -> Result<(OwnedFd, String)> {
    let name = node.name.as_deref().unwrap_or_default();
    let path = places.lines().find_map(|line| {
        let (its_name, path) = line.split_once(':')?.1.split_once(':')?;
        (its_name == name).then(|| path.trim_start_matches('/'))
    });
    let path = path.unwrap_or_default();
    let inside = path.strip_prefix(&node.path).filter(|p| p.is_empty() || p.starts_with('/'));
    let Some(below) = inside.filter(|_| !plan::leads_up(path)) else {
        return Err(Error::new(format!("process {pid} is in /{path}, not in /{}", node.path)));
    };
    let whole = format!("{}/{path}", node.root);
    let fd = open_dir(rustix::fs::CWD, &whole).call(|| format!("open cgroup {whole}"))?;
    Ok((fd, below.trim_start_matches('/').to_owned()))
}

pub(super) fn pids(cgroup: &Cgroup) -> Result<Vec<i32>> {
    below(cgroup.main_node()?)
}

/// Processes of a directory and of those below it; none if it is gone.
pub(super) fn below(node: &Node) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    let Some(dir) = node.dir_if_there()? else {
        return Ok(pids);
    };
    collect(dir, &mut pids).call(|| format!("list the processes of {}", node.path()))?;
    Ok(pids)
}

fn collect(dir: BorrowedFd<'_>, pids: &mut Vec<i32>) -> rustix::io::Result<()> {
    match read(dir, "cgroup.procs") {
        // Removed while we looked: ENODEV once it was open.
        Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        // A threaded cgroup below lists its processes at its domain.
        Err(Errno::OPNOTSUPP) => {}
        text => pids.extend(text?.lines().filter_map(|line| line.parse::<i32>().ok())),
    }
    for child in children(dir)? {
        match open_dir(dir, &child) {
            Ok(fd) => collect(fd.as_fd(), pids)?,
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

pub(super) fn kill(cgroup: &Cgroup, signal: Signal) -> Result<()> {
    let node = cgroup.main_node()?;
    let Some(dir) = node.dir_if_there()? else {
        return Ok(());
    };
    if signal == Signal::KILL && node.unified() {
        // Linux 5.14: all at once, those being forked and those frozen too.
        match write_file(dir, "cgroup.kill", "1") {
            Err(Errno::NOENT | Errno::NODEV) => {}
            done => return done.call(|| format!("write 1 to {}/cgroup.kill", node.path())),
        }
    }
    let pids = below(node)?;
    if pids.is_empty() {
        return Ok(());
    }
    let quiet = sweep(node, signal, pids)?;
    if signal != Signal::KILL {
        return Ok(());
    }
    if !quiet {
        // Somebody forks faster than we read: they can't while frozen. Whether
        // all stand still in time does not matter, the sweep that follows does.
        let frozen = freeze::freeze_within(cgroup, Duration::from_secs(1));
        let quiet = sweep(node, signal, below(node)?)?;
        if !quiet {
            return frozen
                .and(Err(Error::new(format!("processes of {} fork too fast", node.path()))));
        }
    }
    freeze::thaw_all(cgroup)
}

/// Signals everybody until nobody new turns up; false if that did not happen.
///
/// A pid may be another's by the time it is used. A pidfd is not: it is opened,
/// and only if the cgroup still lists the pid *after that* it is signalled; if
/// the pid changed hands in between, the pidfd's process is gone and nothing
/// is sent.
fn sweep(node: &Node, signal: Signal, mut pids: Vec<i32>) -> Result<bool> {
    let mut done = BTreeSet::new();
    for _ in 0..SWEEPS {
        let mut opened = Vec::new();
        for &pid in pids.iter().filter(|&pid| !done.contains(pid)) {
            if let Some(fd) = open_pid(pid)? {
                opened.push((pid, fd));
            }
        }
        if opened.is_empty() {
            return Ok(true);
        }
        pids = below(node)?;
        for (pid, fd) in opened.iter().filter(|(pid, _)| pids.contains(pid)) {
            match pidfd_send_signal(fd, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    return Err(Error::os(
                        format!("signal {} to process {pid}", signal.as_raw()),
                        errno,
                    ));
                }
            }
            done.insert(*pid);
        }
    }
    Ok(false)
}

/// None if there is no such process, or none that we can name (0: it lives in a
/// pid namespace beside ours).
pub(super) fn open_pid(pid: i32) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(None);
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // EINVAL: a thread of a leader that went.
        Err(Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(errno) => Err(Error::os(format!("pidfd_open {}", pid.as_raw_nonzero()), errno)),
    }
}
