//! One clone3(2); two where the kernel demands it. A pid namespace is joined
//! only by later children, and a process that enters a user namespace loses
//! its privileges over everything outside: then a middle process joins, makes
//! the real one as its sibling, passes the pid back, and ends.

use crate::error::{Context, Error, Result};
use crate::namespaces::{self, Join};
use crate::plan::Kind;
use crate::sync::{ChildEnd, ParentEnd, ToParent};
use crate::sys::process::{Child, CloneArgs, Namespaces, clone3, exit_now};
use crate::sys::start::hide_command_line;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};

/// Where a new process belongs.
#[derive(Debug)]
pub struct Birth<'a> {
    /// Namespaces to make with it.
    pub create: Namespaces,
    /// Namespaces to join.
    pub join: &'a Join,
    /// cgroup v2 directory to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// cgroup v1: files to enter by at once.
    pub doors: &'a [String],
}

impl Birth<'_> {
    /// Whether a middle process is needed. Otherwise the new process joins by
    /// itself (see [`Join::enter`]).
    pub fn needs_middle(&self) -> bool {
        let new_user = self.create.0 & Kind::User.flag().0 != 0;
        self.join.has(Kind::User) || (new_user && !self.join.is_empty()) || self.join.has(Kind::Pid)
    }
}

/// Makes the process; `body` is what it does, and it never returns. `hear` waits
/// for a middle process's only message.
///
/// # Errors
/// Those of clone3(2), and what the middle process met.
pub fn spawn(
    birth: &Birth<'_>,
    wire: (ParentEnd, ChildEnd),
    hear: impl FnOnce(&ParentEnd) -> Result<Option<ToParent>>,
    body: impl FnOnce(ChildEnd) -> Infallible,
) -> Result<(Child, ParentEnd)> {
    let (parent, child) = wire;
    if birth.needs_middle() {
        return spawn_by_middle(birth, parent, child, hear, body);
    }
    let args = CloneArgs { namespaces: birth.create, cgroup: birth.cgroup, sibling: false };
    match clone3(args).map_err(|errno| explain(errno, birth))? {
        Some(made) => Ok((made, parent)),
        None => {
            drop(parent);
            if let Err(error) = enter_cgroups(birth.doors) {
                fail(&child, error);
            }
            // `body` cannot return, so there is nothing to match.
            #[expect(unreachable_code, reason = "the type of `body` says that it never returns")]
            match body(child) {}
        }
    }
}

fn spawn_by_middle(
    birth: &Birth<'_>,
    parent: ParentEnd,
    child: ChildEnd,
    hear: impl FnOnce(&ParentEnd) -> Result<Option<ToParent>>,
    body: impl FnOnce(ChildEnd) -> Infallible,
) -> Result<(Child, ParentEnd)> {
    let args = CloneArgs { cgroup: birth.cgroup, ..CloneArgs::default() };
    let Some(middle) = clone3(args).call(|| "clone3".into())? else {
        drop(parent);
        middle_main(birth, child, body);
    };
    drop(child);
    let answer = match hear(&parent) {
        Ok(answer) => answer,
        Err(error) => {
            let killed = pidfd_send_signal(&middle.pidfd, Signal::KILL);
            let killed = killed.call(|| "kill the middle process".into());
            return Err(error.and(killed.and_then(|()| reap(&middle))));
        }
    };
    reap(&middle)?;
    match answer {
        Some(ToParent::Spawned(child)) => Ok((child, parent)),
        Some(ToParent::Failed(error)) => Err(error),
        _ => Err(Error::new("the process that joins the namespaces ended without a word")),
    }
}

/// It has sent its only message, and ends; unless somebody stops it.
fn reap(middle: &Child) -> Result<()> {
    const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut fds = [PollFd::new(&middle.pidfd, PollFlags::IN)];
    if retry_on_intr(|| poll(&mut fds, Some(&PATIENCE))).call(|| "poll a pidfd".into())? == 0 {
        return Err(Error::new("the process that joins the namespaces does not end")
            .hint("is it stopped, or its cgroup frozen?"));
    }
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    waitid(WaitId::PidFd(middle.pidfd.as_fd()), options)
        .call(|| "wait for the middle process".into())?;
    Ok(())
}

fn middle_main(birth: &Birth<'_>, wire: ChildEnd, body: impl FnOnce(ChildEnd) -> Infallible) -> ! {
    // Before a pod sees the process that is made here: it is a copy.
    hide_command_line();
    let args = CloneArgs { namespaces: birth.create, cgroup: None, sibling: true };
    let made = enter_cgroups(birth.doors)
        .and_then(|()| birth.join.enter())
        .and_then(|()| clone3(args).map_err(|errno| explain(errno, birth)));
    let message = match made {
        Ok(None) => match body(wire) {},
        Ok(Some(child)) => ToParent::Spawned(child),
        Err(error) => fail(&wire, error),
    };
    // If this cannot be sent, the end of the file tells the parent.
    exit_now(i32::from(wire.send(&message).is_err()));
}

fn fail(wire: &ChildEnd, error: Error) -> ! {
    let _the_parent_is_gone = wire.send(&ToParent::Failed(error)).is_err();
    exit_now(1)
}

/// Before anything else: what follows is charged to the container.
fn enter_cgroups(doors: &[String]) -> Result<()> {
    doors.iter().try_for_each(|path| {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let door = open(path.as_str(), flags, Mode::empty()).call(|| format!("open {path}"))?;
        namespaces::enter_cgroup(path, door.as_fd())
    })
}

fn explain(errno: Errno, birth: &Birth<'_>) -> Error {
    match errno {
        Errno::BUSY => Error::os("linux.namespaces: clone3", errno)
            .hint("the cgroup has controllers enabled for its children"),
        _ => namespaces::explain("clone3", birth.create, errno),
    }
}
