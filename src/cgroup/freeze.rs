//! Stopping and starting all processes of a container at once.
//!
//! v2 reports by an event on `cgroup.events` when all processes are frozen. v1 updates
//! `freezer.state` only when it is read, so it is polled with growing pauses. FROZEN is written
//! again each time, as a task that was entering the group may have been missed
//! (cgroup-v1/freezer-subsystem.rst).

use super::node::{Node, is_file_gone, keyed, open_dir, open_file, read, read_fd, write_file};
use super::procs;
use super::walk::{Step, has_links, walk};
use super::{Cgroup, DENIED, Home};
use crate::error::{Context, Error, Result};
use crate::sys::file::{from_cgroup_root, read_short};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// How long a freeze may take. A task in an uninterruptible call can't freeze.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn freeze(cgroup: &Cgroup) -> Result<()> {
    freeze_within(cgroup, FREEZE_TIMEOUT)
}

pub(super) fn freeze_within(cgroup: &Cgroup, timeout: Duration) -> Result<()> {
    let (node, name, text) = switch(cgroup, true)?;
    let until = Instant::now() + timeout;
    let stopped = write_file(node.dir()?, name, text)
        .call(|| format!("write {text} to {}/{name}", node.path()))
        .and_then(|()| wait_until_frozen(node, until, Thawed::GiveUp));
    let Err(error) = stopped else {
        return Ok(());
    };
    // Half frozen is worse than running.
    Err(error.and(thaw(cgroup)))
}

/// Nothing to wait for: both kernels wake everybody within the write, unless a
/// cgroup above is frozen, which is not ours to change.
pub(super) fn thaw(cgroup: &Cgroup) -> Result<()> {
    let (node, name, text) = switch(cgroup, false)?;
    write_file(node.dir()?, name, text).call(|| format!("write {text} to {}/{name}", node.path()))
}

pub(super) fn file(cgroup: &Cgroup) -> Option<String> {
    let (node, name, _) = switch(cgroup, true).ok().filter(|_| cgroup.exists())?;
    Some(format!("{}/{name}", node.path()))
}

/// Whether the processes of a cgroup stand still, or are asked to, by the file of
/// [`Cgroup::freezer`].
///
/// # Errors
/// If it is there and cannot be read, or if no hierarchy is mounted there.
pub fn is_frozen(file: &str) -> Result<bool> {
    match read_short(file) {
        Err(Errno::NODEV) => Ok(false),
        Err(Errno::NOENT) => is_file_gone(file).map(|()| false),
        text => {
            let text = text.call(|| format!("read {file}"))?;
            Ok(!matches!(text.trim_ascii_end(), b"0" | b"THAWED"))
        }
    }
}

/// Fails if a cgroup above this one is frozen, or about to be. There is none for one right
/// below the root of its hierarchy, which cannot be frozen. On v1 a file of its own tells of
/// all above; on v2 `cgroup.events` would only tell once all stand still.
pub(super) fn must_run(node: &Node) -> Result<()> {
    let Some(above) = frozen_above(node)? else { return Ok(()) };
    let way = match node.unified() {
        true => format!("write 0 to {above}/cgroup.freeze"),
        false => format!("write THAWED to {above}/freezer.state"),
    };
    Err(Error::new(format!(
        "cgroup {above} is frozen, and all that is in it or below stands still"
    ))
    .at("linux.cgroupsPath")
    .hint(format!("resume it: {way}")))
}

fn frozen_above(node: &Node) -> Result<Option<String>> {
    let levels = node.path.split('/').count();
    if levels < 2 || !(node.unified() || node.has("freezer")) {
        return Ok(None);
    }
    let told = |path: &str, name: &str| {
        let path = format!("{path}/{name}");
        let (dir, below) = from_cgroup_root(&path);
        match read(dir, below) {
            // Removed meanwhile, or a kernel without that file.
            Err(Errno::NOENT | Errno::NODEV) => Ok(String::new()),
            text => text.call(|| format!("read {path}")),
        }
    };
    let own = match node.unified() {
        true => "cgroup.freeze",
        false if told(&node.path(), "freezer.parent_freezing")?.trim() != "1" => return Ok(None),
        false => "freezer.self_freezing",
    };
    for level in (1..levels).rev() {
        let path = node.level(level);
        if told(&path, own)?.trim() == "1" {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Keeps processes from forking, and from moving, for a kill: who has not come to
/// a stop in time will before it can do either again. Only an order that could not
/// be given is an error.
pub(super) fn hold(cgroup: &Cgroup, timeout: Duration) -> Result<()> {
    let (node, name, text) = switch(cgroup, true)?;
    let until = Instant::now() + timeout;
    write_file(node.dir()?, name, text)
        .call(|| format!("write {text} to {}/{name}", node.path()))?;
    match wait_until_frozen(node, until, Thawed::FreezeAgain) {
        Err(error) if error.errno() == Some(Errno::TIMEDOUT) => Ok(()),
        settled => settled,
    }
}

/// v1, for processes that were sent SIGKILL: see [`thaw_all`].
pub(super) fn thaw_dying(cgroup: &Cgroup) -> Result<()> {
    let Ok((node, ..)) = switch(cgroup, false) else { return Ok(()) };
    if node.unified() {
        return Ok(());
    }
    match rustix::fs::stat(node.path()) {
        Err(Errno::NOENT) => node.is_gone(),
        Err(errno) => Err(Error::os(format!("stat {}", node.path()), errno)),
        Ok(stat) if has_links(&stat) => thaw_all(cgroup),
        Ok(_) => Ok(()),
    }
}

/// Takes back [`hold`], if there was anything to hold by.
pub(super) fn thaw_top(cgroup: &Cgroup) -> Result<()> {
    if switch(cgroup, false).is_err() {
        return Ok(());
    }
    match thaw(cgroup) {
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV)) => Ok(()),
        thawed => thawed,
    }
}

/// Thaws the container's cgroup and every one below it: for a kill.
pub(super) fn thaw_all(cgroup: &Cgroup) -> Result<()> {
    let Ok((node, name, text)) = switch(cgroup, false) else {
        return Ok(()); // nothing can be frozen
    };
    let Some(top) = node.dir_if_there()? else {
        return Ok(());
    };
    walk(node, top, |step| {
        let Step::Enter(dir) = step else { return Ok(()) };
        let thawed = match node.unified() {
            false if !is_self_frozen(dir) => Ok(()),
            _ => write_file(dir, name, text),
        };
        match thawed {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(errno) => Err(Error::os(format!("thaw the cgroups of {}", node.path()), errno)),
        }
    })?;
    match node.unified() || frozen_above(node)?.is_none() {
        true => Ok(()),
        false => move_out(node),
    }
}

/// v1: out of a cgroup that stands still because of one above, which is not ours to thaw. All
/// have been sent SIGKILL, and end as soon as they are where nothing is frozen.
fn move_out(node: &Node) -> Result<()> {
    let (dir, below) = from_cgroup_root(&node.root);
    let root = open_dir(dir, below).call(|| format!("open {}", node.root))?;
    for pid in procs::below(node)? {
        match write_file(root.as_fd(), "cgroup.procs", &pid.to_string()) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => {
                let call = format!("write {pid} to {}/cgroup.procs", node.root);
                return Err(Error::os(call, errno).hint("a cgroup above is frozen: resume it"));
            }
        }
    }
    Ok(())
}

/// v1: whether this cgroup, and not only one above it, was told to freeze. What
/// cannot be read is taken for frozen. A write goes through all those below, this
/// does not: of many, one below the other, few were told.
fn is_self_frozen(dir: BorrowedFd<'_>) -> bool {
    read(dir, "freezer.self_freezing").map_or(true, |text| text.trim() != "0")
}

/// Directory, file and word.
fn switch(cgroup: &Cgroup, freeze: bool) -> Result<(&Node, &'static str, &'static str)> {
    let nodes = cgroup.nodes();
    if let Some(node) = nodes.iter().find(|node| !node.unified() && node.has("freezer")) {
        return Ok((node, "freezer.state", if freeze { "FROZEN" } else { "THAWED" }));
    }
    if let Some(node) = nodes.iter().find(|node| node.unified()) {
        return Ok((node, "cgroup.freeze", if freeze { "1" } else { "0" }));
    }
    let error = Error::new("the container has no cgroup that can be frozen");
    Err(match cgroup.home("freezer") {
        Home::Denied | Home::V2 => error.hint(DENIED),
        _ => error.hint("mount the freezer hierarchy, or run with cgroup v2"),
    })
}

/// What is done if somebody else thaws what is being frozen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thawed {
    /// Who is killed while they are frozen could not die.
    GiveUp,
    FreezeAgain,
}

fn wait_until_frozen(node: &Node, until: Instant, thawed: Thawed) -> Result<()> {
    let done = if node.unified() {
        // A cgroup whose last process ends meanwhile is not called frozen (Linux 6.18).
        wait_events(node.dir()?, &[("frozen", "1"), ("populated", "0")], until)
    } else {
        wait_until_frozen_v1(node.dir()?, until, thawed)
    };
    match done {
        Err(Errno::CANCELED) => Err(Error::os(format!("freeze {}", node.path()), Errno::CANCELED)
            .hint("another command has thawed it meanwhile")),
        Err(Errno::TIMEDOUT) => Err(Error::os(format!("freeze {}", node.path()), Errno::TIMEDOUT)
            .hint("a process of it sits in an uninterruptible call")),
        done => done.call(|| format!("freeze {}", node.path())),
    }
}

/// Waits until a line of `cgroup.events` has this value: the kernel reports a
/// change as POLLPRI (cgroup-v2.rst, "cgroup.events").
pub(super) fn wait_event(
    dir: BorrowedFd<'_>,
    key: &str,
    value: &str,
    until: Instant,
) -> rustix::io::Result<()> {
    wait_events(dir, &[(key, value)], until)
}

/// The same, for any of several lines.
fn wait_events(
    dir: BorrowedFd<'_>,
    wanted: &[(&str, &str)],
    until: Instant,
) -> rustix::io::Result<()> {
    let fd = open_file(dir, "cgroup.events", OFlags::RDONLY)?;
    loop {
        let events = read_fd(fd.as_fd())?;
        if wanted.iter().any(|(key, value)| keyed(&events, key) == Some(value)) {
            return Ok(());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::TIMEDOUT);
        }
        pause(&mut [PollFd::new(&fd, PollFlags::PRI)], left)?;
    }
}

fn wait_until_frozen_v1(
    dir: BorrowedFd<'_>,
    until: Instant,
    thawed: Thawed,
) -> rustix::io::Result<()> {
    let mut wait = Duration::from_micros(50);
    loop {
        match read(dir, "freezer.state")?.trim() {
            "FROZEN" => return Ok(()),
            "THAWED" if thawed == Thawed::GiveUp => return Err(Errno::CANCELED),
            _ => {}
        }
        if Instant::now() >= until {
            return Err(Errno::TIMEDOUT);
        }
        pause(&mut [], wait)?;
        wait = (wait * 2).min(Duration::from_millis(10));
        write_file(dir, "freezer.state", "FROZEN")?;
    }
}

/// Waits for an event, or for the time where the kernel has none to offer. A
/// signal ends it early: all callers look again.
pub(super) fn pause(fds: &mut [PollFd<'_>], time: Duration) -> rustix::io::Result<()> {
    let time = Timespec::try_from(time).map_err(|_| Errno::INVAL)?;
    match poll(fds, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs root and this machine's cgroups.
    #[test]
    fn a_freeze_that_takes_too_long_is_undone() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let path = format!("/pinnace-test-{}-impatient", std::process::id());
        let mut cgroup = Cgroup::locate(Some(&path), "", false).unwrap();
        cgroup.create().unwrap();
        let mut busy =
            std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        cgroup.attach(busy.id().cast_signed()).unwrap();
        let mut failed = 0;
        for _ in 0..20 {
            match freeze_within(&cgroup, Duration::ZERO) {
                Ok(()) => thaw(&cgroup).unwrap(),
                Err(error) => {
                    assert_eq!(error.errno(), Some(Errno::TIMEDOUT));
                    assert!(!cgroup.is_frozen().unwrap());
                    failed += 1;
                }
            }
        }
        cgroup.kill(rustix::process::Signal::KILL).unwrap();
        busy.wait().unwrap();
        cgroup.remove().unwrap();
        eprintln!("{failed} of 20 failed");
    }
}
