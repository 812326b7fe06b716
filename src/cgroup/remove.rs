//! Removing a container's directories: those below first, then its own, then
//! those above that it made. A cgroup with a process in it can't go (EBUSY), and
//! a process is in it until the very end of its exit: that end is waited for, on
//! `cgroup.events` under v2, on the processes' pidfds under v1.

use super::apply;
use super::freeze::{pause, wait_event};
use super::node::{Node, write_file};
use super::walk::{Step, has_children, walk};
use super::{Cgroup, Unified, owner, procs};
use crate::error::{Context, Error, Result};
use crate::sys::file::from_cgroup_root;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::path::Arg;
use std::time::{Duration, Instant};

/// How long dying processes are waited for.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long who has ended may be in its cgroup: since Linux 6.19 a process leaves it some moments
/// after its parent was told of its end.
pub(super) const LEAVING: Duration = Duration::from_millis(100);
/// How long removing may take in all: a user who was given the cgroup can make new
/// ones in it all the time.
const LIMIT: Duration = Duration::from_secs(60);
/// How many of those that do not end are named.
const SHOWN: usize = 8;

pub(super) fn remove(cgroup: &Cgroup) -> Result<()> {
    remove_ours(cgroup).and(remove_empty(cgroup))
}

pub(super) fn remove_ours(cgroup: &Cgroup) -> Result<()> {
    let mut until = Instant::now() + EXIT_TIMEOUT;
    if let Cgroup::V2(Unified { unit: Some(unit), node, .. }) = cgroup
        && node.ours
    {
        // Once its cgroup is empty the unit ends by itself: a bus that is gone is an
        // error only if the cgroup stays.
        let Some(dir) = node.dir_if_there()? else { return unit.stop().or(Ok(())) };
        let is_ours = owner::is_ours(cgroup)?;
        let stopped = unit.stop();
        if stopped.is_err() {
            left_to_systemd(node, until).call(|| format!("wait for {}", node.path()))?;
        }
        // Another container's unit may have got the name, before or since.
        if !is_ours || !node.leads_to(dir)? {
            return Ok(());
        }
        return remove_node(node, &mut until).map_err(|error| match error.errno() {
            // Who is still in it is the reason for the other, too.
            Some(Errno::BUSY) => error,
            _ => stopped.err().unwrap_or(error),
        });
    }
    // We have only the directory that init is cloned into. Another `create` may have made the one that
    // tells whose it is; or our word stands there, and the record does not say so yet.
    if let Ok(main) = cgroup.main_node()
        && !main.ours
        && cgroup.nodes().iter().any(|node| node.ours)
        && !(owner::has_owner(main)? && owner::is_ours(cgroup)?)
    {
        return let_go(cgroup, true);
    }
    // All are tried: one that can't go must not keep the others.
    let mut first = Ok(());
    for node in cgroup.nodes().iter().filter(|node| node.ours) {
        let done = match node.made {
            0 => leave_node(node, &mut until),
            _ => remove_node(node, &mut until),
        };
        first = first.and(done);
    }
    if first.is_err() || !cgroup.nodes().iter().any(|node| node.ours && node.made == 0) {
        return first;
    }
    if let Cgroup::V2(v2) = cgroup {
        apply::detach_program(cgroup, &v2.node)?;
    }
    owner::unmark(cgroup)?;
    for node in cgroup.nodes().iter().filter(|node| node.ours && node.made == 0) {
        // Made by a container that has lost it to this one: see `let_go`.
        if owner::is_bequeathed(&node.path())? {
            remove_node(node, &mut until)?;
        }
    }
    Ok(())
}

/// What was made for a container, and is another's by now, is left to that one: it finds a mark
/// when it goes. If that has gone `just_now`, nobody else will take it away. The mark comes
/// before the look, and theirs after their word has gone, so one of both sees the other.
pub(super) fn let_go(cgroup: &Cgroup, just_now: bool) -> Result<()> {
    let made = || cgroup.nodes().iter().filter(|node| node.ours && node.made > 0);
    let (Ok(main), Some(_)) = (cgroup.main_node(), made().next()) else { return Ok(()) };
    // Whoever has no word in it may have made it anew since.
    if !just_now && !owner::has_owner(main)? {
        return Ok(());
    }
    for node in made() {
        owner::bequeath(&node.path())?;
    }
    if !just_now || owner::has_owner(main)? {
        return Ok(());
    }
    let until = Instant::now() + EXIT_TIMEOUT;
    made().try_for_each(|node| remove_unless_taken(node, main, until))
}

/// Who was in it has ended, and leaves it soon; or it is another's, which has its word in the
/// main one in a moment.
fn remove_unless_taken(node: &Node, main: &Node, until: Instant) -> Result<()> {
    let mut wait = Duration::from_micros(100);
    loop {
        match rmdir(&node.path()) {
            Err(Errno::BUSY) if Instant::now() < until && !owner::has_owner(main)? => {}
            Err(Errno::BUSY) => return Ok(()),
            removed => return or_gone(node, removed).and_then(|()| remove_above(node)),
        }
        // No event tells that a directory can be removed: see `remove_busy`.
        pause(&mut [], wait).call(|| "poll".into())?;
        wait = (wait * 2).min(Duration::from_millis(20));
    }
}

/// runtime.md, "Delete": what this container did not create stays, and is empty.
fn leave_node(node: &Node, until: &mut Instant) -> Result<()> {
    let mut wait = Duration::from_micros(100);
    let limit = Instant::now() + LIMIT;
    loop {
        let start = Instant::now();
        let Some(dir) = node.open()? else { return Ok(()) };
        remove_below(node, dir.as_fd())?;
        *until = limit.min(*until + start.elapsed());
        let waited = wait_empty(node, *until)?;
        if !has_children(dir.as_fd()).call(|| format!("stat {}", node.path()))? && !waited {
            return Ok(());
        }
        if !waited {
            pause(&mut [], wait).call(|| "poll".into())?;
            wait = (wait * 2).min(Duration::from_millis(20));
        }
        if Instant::now() >= *until {
            return Err(
                Error::os(format!("empty {}", node.path()), Errno::BUSY).hint(why_busy(node)?)
            );
        }
    }
}

/// A unit that has not become ours: whoever asked for it has not heard the answer.
pub(super) fn end_unheard_unit(cgroup: &Cgroup) -> Result<()> {
    let Cgroup::V2(Unified { unit: Some(unit), node, .. }) = cgroup else { return Ok(()) };
    if node.ours {
        return Ok(());
    }
    let dir = node.open()?;
    unit.end(dir.map_or(Ok(None), |dir| node.is_populated(dir.as_fd()))?)
}

/// What has not become ours, if it is empty.
fn remove_empty(cgroup: &Cgroup) -> Result<()> {
    end_unheard_unit(cgroup)?;
    let nodes = if cgroup.is_unit() { &[] } else { cgroup.nodes() };
    nodes.iter().filter(|node| !node.ours).try_for_each(|node| match rmdir(&node.path()) {
        Err(Errno::BUSY) => Ok(()),
        removed => {
            or_gone(node, removed)?;
            remove_above(node)
        }
    })
}

/// A cgroup that was removed, or was gone already.
fn or_gone(node: &Node, removed: rustix::io::Result<()>) -> Result<()> {
    match removed {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => node.is_gone(),
        Err(errno) => Err(Error::os(format!("rmdir {}", node.path()), errno)),
    }
}

/// systemd watches the cgroup, and removes it when it is empty. If we were faster
/// it might miss that, and keep the unit. No event tells that a directory is gone.
fn left_to_systemd(node: &Node, until: Instant) -> rustix::io::Result<()> {
    let mut wait = Duration::from_millis(1);
    let is_there = || match rustix::fs::stat(node.path()) {
        Err(Errno::NOENT) => Ok(false),
        found => found.map(|_| true),
    };
    while Instant::now() < until && is_there()? {
        pause(&mut [], wait)?;
        wait = (wait * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

fn remove_node(node: &Node, until: &mut Instant) -> Result<()> {
    let path = node.path();
    match rmdir(&path) {
        Err(Errno::BUSY) => remove_busy(node, until)?,
        removed => or_gone(node, removed)?,
    }
    remove_above(node)
}

fn rmdir(path: &str) -> rustix::io::Result<()> {
    let (dir, below) = from_cgroup_root(path);
    rmdir_at(dir, below)
}

fn rmdir_at(dir: BorrowedFd<'_>, path: impl Arg) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(dir, path, AtFlags::REMOVEDIR)
}

/// Takes away the levels above that were made for this container, and those that were left
/// to it. What others use by now is left to them: the last one takes it away. Its mark comes
/// before the second try, and theirs goes before they look for it, so one of both sees it.
fn remove_above(node: &Node) -> Result<()> {
    let levels = node.path.split('/').count();
    for n in (1..levels).rev() {
        let path = node.level(n);
        let is_own = n + node.made > levels;
        if !is_own && !owner::is_bequeathed(&path)? {
            break;
        }
        match rmdir(&path) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::BUSY) if is_own => {}
            Err(Errno::BUSY) => break,
            Err(errno) => return Err(Error::os(format!("rmdir {path}"), errno)),
        }
        owner::bequeath(&path)?;
        match rmdir(&path) {
            Ok(()) | Err(Errno::NOENT | Errno::BUSY) => {}
            Err(errno) => return Err(Error::os(format!("rmdir {path}"), errno)),
        }
    }
    Ok(())
}

/// Undoes a create, whose directories have seen no process of ours.
pub(super) fn take_back(node: &mut Node) -> Result<()> {
    if node.made == 0 {
        return Ok(());
    }
    let path = node.path();
    let done = match rmdir(&path) {
        Ok(()) | Err(Errno::NOENT) => remove_above(node),
        // Another container has taken it meanwhile.
        Err(Errno::BUSY) => owner::bequeath(&path),
        Err(errno) => Err(Error::os(format!("rmdir {path}"), errno)),
    };
    node.made = 0;
    done
}

fn remove_busy(node: &Node, until: &mut Instant) -> Result<()> {
    let path = node.path();
    let mut wait = Duration::from_micros(100);
    let limit = Instant::now() + LIMIT;
    loop {
        // The time is for processes to end: what removing takes is not of it.
        let start = Instant::now();
        if let Some(dir) = node.open()? {
            take_no_more(node, dir.as_fd());
            remove_below(node, dir.as_fd())?;
        }
        *until = limit.min(*until + start.elapsed());
        match rmdir(&path) {
            Err(Errno::BUSY) => {}
            removed => return or_gone(node, removed),
        }
        if Instant::now() >= *until {
            return Err(Error::os(format!("rmdir {path}"), Errno::BUSY).hint(why_busy(node)?));
        }
        if !wait_empty(node, *until)? {
            // Empty as far as anybody can see; since Linux 6.19 a task leaves
            // some moments after its parent was told, and v1 has no event.
            pause(&mut [], wait).call(|| "poll".into())?;
            wait = (wait * 2).min(Duration::from_millis(20));
        }
    }
}

/// Lets nobody make cgroups in it any more (cgroup-v2.rst, "cgroup.max.descendants").
/// Best effort: v1 and old kernels have no such limit, and time ends it there.
fn take_no_more(node: &Node, dir: BorrowedFd<'_>) {
    if node.unified() {
        write_file(dir, "cgroup.max.descendants", "0").unwrap_or_default();
    }
}

/// Who is in it still, as far as that fits into a line.
fn why_busy(node: &Node) -> Result<String> {
    let pids = procs::below(node)?;
    Ok(match pids.len() {
        0 => "no process is in it; somebody else makes cgroups in it".into(),
        1..=SHOWN => format!("processes {pids:?} are still in it"),
        n => format!("processes {:?} and {} more are still in it", &pids[..SHOWN], n - SHOWN),
    })
}

/// Deepest first; those with processes are left for the next round.
fn remove_below(node: &Node, top: BorrowedFd<'_>) -> Result<()> {
    walk(node, top, |step| {
        let Step::Leave(above, name) = step else { return Ok(()) };
        match rmdir_at(above, name) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV | Errno::BUSY) => Ok(()),
            Err(errno) => {
                let call =
                    format!("rmdir {:?} below {}", name.to_bytes().escape_ascii(), node.path());
                Err(Error::os(call, errno))
            }
        }
    })
}

/// As [`wait_empty`], of the cgroup of v2 whose directory is `dir`.
pub(super) fn wait_unpopulated(node: &Node, dir: BorrowedFd<'_>, until: Instant) -> Result<bool> {
    if node.is_populated(dir)? != Some(true) {
        return Ok(false);
    }
    match wait_event(dir, "populated", "0", until) {
        Ok(()) | Err(Errno::TIMEDOUT | Errno::NODEV | Errno::NOENT) => Ok(true),
        Err(errno) => Err(Error::os(format!("wait on {}/cgroup.events", node.path()), errno)),
    }
}

/// Waits until no process is left; false if there was none to wait for.
fn wait_empty(node: &Node, until: Instant) -> Result<bool> {
    let Some(dir) = node.dir_if_there()? else {
        return Ok(false);
    };
    if node.unified() {
        return wait_unpopulated(node, dir, until);
    }
    let mut waited = false;
    for pid in procs::below(node)? {
        let Some(fd) = procs::open_pid(pid)? else { continue };
        let mut exit = [PollFd::new(&fd, PollFlags::IN)];
        pause(&mut exit, Duration::ZERO).call(|| "poll a pidfd".into())?;
        if exit[0].revents().is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            pause(&mut exit, left).call(|| "poll a pidfd".into())?;
            waited = true;
        }
    }
    Ok(waited)
}
