//! A walk through a cgroup and all those below it. A container that may make
//! cgroups makes as many of them, as deep and with such names as it likes, and
//! goes on while others look. So the walk keeps at most three descriptors,
//! knows names as bytes, does not recurse, and ends in time.

use super::node::{Node, open_dir};
use crate::error::{Context, Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, RawDir, Stat, fstat, openat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// How long a walk may take. Only who makes cgroups as fast as they are walked
/// can make one last: 6,000 take a tenth of a second.
const LIMIT: Duration = Duration::from_secs(30);

/// What the walk has come to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    /// A cgroup, before those below it.
    Enter(BorrowedFd<'a>),
    /// A cgroup, after those below it: the directory above, and its name there.
    Leave(BorrowedFd<'a>, &'a CStr),
}

/// Walks from `top`, the directory of `node`, which is entered and never left.
/// What goes meanwhile is passed over; `visit` must expect that, too.
///
/// The way up is `..`: in a cgroup hierarchy a directory stays in the one that
/// it was made in (v1's rename keeps it there, v2 has none), even when it is gone.
pub(super) fn walk(
    node: &Node,
    top: BorrowedFd<'_>,
    mut visit: impl FnMut(Step<'_>) -> Result<()>,
) -> Result<()> {
    let call = || format!("walk the cgroups below {}", node.path());
    let until = Instant::now() + LIMIT;
    // Where the walk is: none for the top; the names on the way there; of each
    // level, and of the top, the directories that are yet to be entered.
    let mut here: Option<OwnedFd> = None;
    let mut path: Vec<CString> = Vec::new();
    visit(Step::Enter(top))?;
    let mut levels = vec![children(top).call(call)?];
    while let Some(level) = levels.last_mut() {
        let dir = here.as_ref().map_or(top, AsFd::as_fd);
        if let Some(name) = level.pop() {
            let below = match open_dir(dir, &*name) {
                Err(Errno::NOENT | Errno::NODEV) => continue,
                below => below.call(call)?,
            };
            visit(Step::Enter(below.as_fd()))?;
            levels.push(children(below.as_fd()).call(call)?);
            path.push(name);
            here = Some(below);
            if Instant::now() >= until {
                return Err(Error::os(call(), Errno::TIMEDOUT)
                    .hint("somebody makes new ones as fast as they are walked"));
            }
            continue;
        }
        levels.pop();
        let Some(name) = path.pop() else { break };
        here = if path.is_empty() { None } else { Some(open_dir(dir, c"..").call(call)?) };
        visit(Step::Leave(here.as_ref().map_or(top, AsFd::as_fd), &name))?;
    }
    Ok(())
}

/// Whether there are cgroups below.
pub(super) fn has_children(dir: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    fstat(dir).map(|stat| has_links(&stat))
}

/// The link count of a cgroup's directory is that of those below it plus two.
pub(super) fn has_links(stat: &Stat) -> bool {
    stat.st_nlink != 2
}

/// Names of the cgroups right below; none of one that is gone.
fn children(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    match list(dir) {
        Err(Errno::NOENT | Errno::NODEV) => Ok(Vec::new()),
        names => names,
    }
}

fn list(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    if !has_children(dir)? {
        return Ok(names);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(dir, c".", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(fd, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
