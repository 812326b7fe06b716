//! Hearing of processes that were killed for lack of memory: by inotify on
//! `memory.events` under v2 (cgroup-v2.rst), by an eventfd that is tied to
//! `memory.oom_control` under v1 (memory.rst, "OOM Control").

use super::Cgroup;
use super::node::{Node, keyed, open_file, write_file};
use crate::error::{Context, Result};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, inotify};
use rustix::io::Errno;

/// A descriptor that is readable when there may be news.
#[derive(Debug)]
pub struct OomWatch<'a> {
    node: &'a Node,
    fd: OwnedFd,
    /// v2: how many were known.
    killed: u64,
}

/// None if the container has no memory cgroup.
pub(super) fn watch(cgroup: &Cgroup) -> Result<Option<OomWatch<'_>>> {
    let Some(node) = cgroup.nodes().iter().find(|node| node.has("memory")) else {
        return Ok(None);
    };
    let call = || format!("watch {} for lack of memory", node.path());
    if node.unified() {
        let Some(killed) = killed(node)? else { return Ok(None) };
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .call(call)?;
        let file = format!("{}/memory.events", node.path());
        inotify::add_watch(&fd, file, inotify::WatchFlags::MODIFY).call(call)?;
        return Ok(Some(OomWatch { node, fd, killed }));
    }
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).call(call)?;
    let control = match open_file(node.dir()?, "memory.oom_control", OFlags::RDONLY) {
        Err(Errno::NOENT) => return Ok(None),
        control => control.call(call)?,
    };
    let text = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
    write_file(node.dir()?, "cgroup.event_control", &text).call(call)?;
    Ok(Some(OomWatch { node, fd, killed: 0 }))
}

/// The count of `memory.events`, if there is such a file.
fn killed(node: &Node) -> Result<Option<u64>> {
    match node.read("memory.events") {
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV)) => Ok(None),
        text => Ok(keyed(&text?, "oom_kill").and_then(|count| count.parse().ok())),
    }
}

impl OomWatch<'_> {
    /// Takes the news; whether somebody was killed since the last time.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn take(&mut self) -> Result<bool> {
        let mut buffer = [0; 512];
        match rustix::io::read(&self.fd, &mut buffer) {
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno).call(|| "read the news of memory".into()),
        }
        if !self.node.unified() {
            // The end of a cgroup is told, too.
            return self.node.open().map(|dir| dir.is_some());
        }
        let now = killed(self.node)?.unwrap_or(self.killed);
        let more = now > self.killed;
        self.killed = now;
        Ok(more)
    }
}

impl AsFd for OomWatch<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
