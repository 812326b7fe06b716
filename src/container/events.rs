//! `events`: what a container uses, and when it lacks memory.

use super::{Container, Observed, Runtime, not_running};
use crate::cgroup::OomWatch;
use crate::error::{Context, Error, Result};
use crate::store::ProcessId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// One record of what the container uses now, as runc's JSON.
///
/// # Errors
/// A container that is not running.
pub fn stats(runtime: &Runtime, id: &str) -> Result<String> {
    record(&running(runtime, id)?.0)
}

/// A container with an init, which may end at any time.
fn running(runtime: &Runtime, id: &str) -> Result<(Container, ProcessId)> {
    let container = Container::find(runtime, id)?;
    match container.observe()? {
        Observed::Created(init) | Observed::Running(init) | Observed::Paused(init) => {
            Ok((container, init))
        }
        Observed::Stopped => Err(not_running(id)),
        // Its cgroup, or its init, may not be there yet.
        Observed::Creating(_) => {
            Err(Error::new(format!("cannot tell what container {id} uses: it is being created")))
        }
    }
}

fn record(container: &Container) -> Result<String> {
    let id = container.dir.id();
    let data = container.record.cgroup.stats()?;
    Ok(format!("{{\"type\":\"stats\",\"id\":\"{id}\",\"data\":{data}}}\n"))
}

/// A record every `interval`, and one each time that a process was killed for
/// lack of memory, until the container has ended or `reader`, who gets them
/// through `print`, has gone.
///
/// # Errors
/// A container that is not running, or has no cgroup.
pub fn events(
    runtime: &Runtime,
    id: &str,
    interval: Duration,
    reader: BorrowedFd<'_>,
    print: fn(&str) -> Result<()>,
) -> Result<()> {
    let (container, init) = running(runtime, id)?;
    let pidfd = init.open()?.ok_or_else(|| not_running(id))?;
    let mut oom = container.record.cgroup.watch_oom()?;
    let mut next = Instant::now() + interval;
    loop {
        let news = wait(pidfd.as_fd(), reader, oom.as_ref(), next)?;
        if let Some(oom) = oom.as_mut().filter(|_| news.oom)
            && oom.take()?
        {
            let text = format!("{{\"type\":\"oom\",\"id\":\"{id}\"}}\n");
            if !has_taken(print(&text))? {
                return Ok(());
            }
        }
        if news.ended {
            return Ok(());
        }
        let now = Instant::now();
        if now >= next {
            match record(&container) {
                Ok(text) if !has_taken(print(&text))? => return Ok(()),
                Ok(_) => {}
                // Between its end and ours somebody, or systemd, may have removed the
                // cgroup; ENODEV: while we read its files.
                Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV)) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            next = now.max(next + interval);
        }
    }
}

/// Whether the reader is still there. A stream has no other end than the one that the
/// reader or the container gives it, so that the reader has gone is no error here.
fn has_taken(printed: Result<()>) -> Result<bool> {
    match printed {
        Err(error) if error.errno() == Some(Errno::PIPE) => Ok(false),
        printed => printed.map(|()| true),
    }
}

/// What one wait has brought.
struct News {
    /// The container or the reader.
    ended: bool,
    oom: bool,
}

fn wait(
    pidfd: BorrowedFd<'_>,
    reader: BorrowedFd<'_>,
    oom: Option<&OomWatch<'_>>,
    until: Instant,
) -> Result<News> {
    // Of the reader only the hang-up is wanted, which is told unasked.
    let mut fds = vec![
        PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
        PollFd::from_borrowed_fd(reader, PollFlags::empty()),
    ];
    fds.extend(oom.map(|oom| PollFd::from_borrowed_fd(oom.as_fd(), PollFlags::IN)));
    let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
    match poll(&mut fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno).call(|| "poll".into()),
    }
    let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Ok(News { ended: ready(0) || ready(1), oom: ready(2) })
}
