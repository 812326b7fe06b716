//! One clone3(2); two where the kernel demands it. A pid namespace is joined
//! only by later children, and a process that enters a user namespace loses
//! its privileges over everything outside: then an intermediate process joins, makes
//! the real one as its sibling, passes the pid back, and ends. So it does where the host's
//! mounts are laid out for the new process: the runtime itself stays where it is.

use crate::error::{self, Context, Error, Result};
use crate::namespaces::{self, Clocks, Join};
use crate::plan::Kind;
use crate::sync::{ChildEnd, ParentEnd, ToParent};
use crate::sys::file::read_short;
use crate::sys::process::{Child, CloneArgs, Namespaces, Note, clone3, exit_now, stat_fields};
use crate::sys::seccomp::may_deny;
use crate::sys::start::hide_command_line;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid,
};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};

/// Where a new process belongs.
#[derive(Debug)]
pub struct SpawnArgs<'a> {
    /// Namespaces to make with it.
    pub create: Namespaces,
    /// Namespaces to join.
    pub join: &'a Join,
    /// cgroup v2 directory for `CLONE_INTO_CGROUP`.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// cgroup v1: `tasks` files to write to at once.
    pub tasks_files: &'a [String],
    /// A new time namespace that the joined user namespace will own: only the intermediate process
    /// can open the file for its offsets before it joins.
    pub clocks: Option<Clocks<'a>>,
    /// Whether the new process begins in a mount namespace that is made ready before, by the
    /// `begin` of [`spawn`].
    pub lays: bool,
}

impl SpawnArgs<'_> {
    /// Whether an intermediate process is needed. Otherwise the new process joins by
    /// itself (see [`Join::enter`]).
    pub fn needs_intermediate(&self) -> bool {
        let new_user = self.create.0 & Kind::User.flag().0 != 0;
        self.lays
            || self.join.has(Kind::User)
            || (new_user && !self.join.is_empty())
            || self.join.has(Kind::Pid)
    }
}

/// Makes the process. `begin` comes before it, in an intermediate process if there is one; what it
/// returns is what the new process does, and that never returns. `receive` waits for an intermediate
/// process's only message, or for its end.
///
/// # Errors
/// Those of clone3(2), and what the intermediate process met.
pub fn spawn<Body: FnOnce(ChildEnd) -> Infallible>(
    spawn_args: &SpawnArgs<'_>,
    channel: (ParentEnd, ChildEnd),
    receive: impl FnOnce(&ParentEnd, &Child) -> Result<Option<ToParent>>,
    begin: impl FnOnce() -> Result<Body>,
) -> Result<(Child, ParentEnd)> {
    let (parent, child) = channel;
    if spawn_args.needs_intermediate() {
        return spawn_by_intermediate(spawn_args, parent, child, receive, begin);
    }
    let args = CloneArgs {
        namespaces: spawn_args.create,
        cgroup: spawn_args.cgroup,
        ..CloneArgs::default()
    };
    match make(args).map_err(|errno| explain(errno, spawn_args))? {
        Some(made) => Ok((made, parent)),
        None => {
            drop(parent);
            match enter_cgroups(spawn_args.tasks_files).and_then(|()| begin()) {
                // It cannot return, so there is nothing to match.
                #[expect(unreachable_code, reason = "the type says that it never returns")]
                Ok(body) => match body(child) {},
                Err(error) => fail(&child, error),
            }
        }
    }
}

fn spawn_by_intermediate<Body: FnOnce(ChildEnd) -> Infallible>(
    spawn_args: &SpawnArgs<'_>,
    parent: ParentEnd,
    child: ChildEnd,
    receive: impl FnOnce(&ParentEnd, &Child) -> Result<Option<ToParent>>,
    begin: impl FnOnce() -> Result<Body>,
) -> Result<(Child, ParentEnd)> {
    // It may die before it can tell of the process that it has made.
    let note = Note::new().call(|| "mmap".into())?;
    // An intermediate process that joins nothing keeps the right to clone into the cgroup, whose
    // pids limit may allow just one process.
    let cgroup = spawn_args.cgroup.filter(|_| !spawn_args.join.is_empty());
    let args = CloneArgs { cgroup, ..CloneArgs::default() };
    let Some(intermediate) = make(args).call(|| "clone3".into())? else {
        drop(parent);
        intermediate_main(spawn_args, child, &note, begin);
    };
    drop(child);
    let error = match receive(&parent, &intermediate) {
        Ok(Some(ToParent::Spawned(child))) => match reap(&intermediate) {
            Ok(()) => return Ok((child, parent)),
            Err(error) => error,
        },
        Ok(Some(ToParent::Failed(error))) => error,
        Ok(_) => Error::new("the process that joins the namespaces ended without a word")
            .kind(error::Kind::Killed),
        Err(error) => error,
    };
    let kind = if never_ran(&intermediate) { error::Kind::NeverRan } else { error.get_kind() };
    Err(error.and(end(&intermediate)).and(end_noted(&note)).kind(kind))
}

/// Whether a child, which is not reaped yet, was killed before its first instruction: that
/// would have been a page fault. The kernel does so to a process that it clones into a cgroup,
/// if that or its parent's has been killed as a whole before (`cgroup_post_fork` compares the
/// `kill_seq` of one with that of the other; Linux 6.14 to 6.18 at least).
pub fn never_ran(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = retry_on_intr(|| waitid(WaitId::PidFd(child.pidfd.as_fd()), options));
    let signal = status.ok().flatten().and_then(|status| status.terminating_signal());
    if signal != Some(Signal::KILL.as_raw()) {
        return false;
    }
    let Ok(text) = read_short(format!("/proc/{}/stat", child.pid.as_raw_nonzero())) else {
        return false;
    };
    let text = String::from_utf8_lossy(&text);
    // proc_pid_stat(5), field 10.
    let faults = stat_fields(&text).and_then(|mut fields| fields.nth(7));
    faults == Some("0")
}

/// As clone3(2), which may be denied: see [`clone3`].
fn make(args: CloneArgs<'_>) -> rustix::io::Result<Option<Child>> {
    match (clone3(args), args.cgroup) {
        (Err(errno), Some(cgroup)) if may_deny(errno) => make_and_move(args, cgroup),
        (made, _) => made,
    }
}

/// Makes the process outside of its cgroup. It waits until we have moved it in there.
fn make_and_move(args: CloneArgs<'_>, cgroup: BorrowedFd<'_>) -> rustix::io::Result<Option<Child>> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let procs = openat(cgroup, "cgroup.procs", flags, Mode::empty())?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(child) = clone3(CloneArgs { cgroup: None, ..args })? else {
        drop(writer);
        // If it is not told so, its maker ends it, or has ended.
        if retry_on_intr(|| read(&reader, &mut [0_u8])) != Ok(1) {
            exit_now(1);
        }
        return Ok(None);
    };
    let pid = child.pid.as_raw_nonzero().to_string();
    match write(&procs, pid.as_bytes()).and_then(|_| write(&writer, b"m")) {
        Ok(_) => Ok(Some(child)),
        Err(errno) => {
            drop((reader, writer));
            // It ends by itself now. That it is slow to do so is not what has failed.
            let _is_slow = reap(&child).is_err();
            Err(errno)
        }
    }
}

/// Ends what the intermediate process has made. It is our child: nobody else can reap it, so
/// its pid is no other's.
fn end_noted(note: &Note) -> Result<()> {
    let Some(pid) = note.pid() else { return Ok(()) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => Ok(()),
        Err(errno) if may_deny(errno) => {
            kill_process(pid, Signal::KILL).call(|| format!("kill {}", pid.as_raw_nonzero()))
        }
        pidfd => end(&Child { pid, pidfd: pidfd.call(|| format!("pidfd_open {pid}"))? }),
    }
}

fn end(process: &Child) -> Result<()> {
    match process.signal(Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => reap(process),
        Err(errno) => Err(Error::os("kill the intermediate process", errno)),
    }
}

/// It has sent its only message, and ends; unless somebody stops it.
fn reap(intermediate: &Child) -> Result<()> {
    const EXIT_TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut fds = [PollFd::new(&intermediate.pidfd, PollFlags::IN)];
    if retry_on_intr(|| poll(&mut fds, Some(&EXIT_TIMEOUT))).call(|| "poll a pidfd".into())? == 0 {
        return Err(Error::new("the process that joins the namespaces does not end")
            .hint("is it stopped, or its cgroup frozen?"));
    }
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match retry_on_intr(|| waitid(WaitId::PidFd(intermediate.pidfd.as_fd()), options)) {
        // It has been reaped before.
        Ok(_) | Err(Errno::CHILD) => Ok(()),
        Err(errno) => Err(Error::os("wait for the intermediate process", errno)),
    }
}

fn intermediate_main<Body: FnOnce(ChildEnd) -> Infallible>(
    spawn_args: &SpawnArgs<'_>,
    channel: ChildEnd,
    note: &Note,
    begin: impl FnOnce() -> Result<Body>,
) -> ! {
    // Before a pod sees the process that is made here: it is a copy.
    hide_command_line();
    let args = CloneArgs {
        namespaces: spawn_args.create,
        cgroup: spawn_args.cgroup.filter(|_| spawn_args.join.is_empty()),
        sibling: true,
        noted: Some(note),
    };
    let begun = enter_cgroups(spawn_args.tasks_files)
        .and_then(|()| begin())
        .and_then(|body| enter_namespaces(spawn_args).map(|()| body));
    let body = begun.unwrap_or_else(|error| fail(&channel, error));
    let message = match make(args) {
        Ok(None) => match body(channel) {},
        Ok(Some(child)) => ToParent::Spawned(child),
        Err(errno) => fail(&channel, explain(errno, spawn_args)),
    };
    // If this cannot be sent, our end tells the parent, which finds the other by the note.
    exit_now(i32::from(channel.send(&message).is_err()));
}

/// Children that are made after this begin in the time namespace.
fn enter_namespaces(spawn_args: &SpawnArgs<'_>) -> Result<()> {
    let clocks = spawn_args.clocks.map(Clocks::open).transpose()?;
    spawn_args.join.enter()?;
    clocks.map_or(Ok(()), |clocks| clocks.make())
}

fn fail(channel: &ChildEnd, error: Error) -> ! {
    let _the_parent_is_gone = channel.send(&ToParent::Failed(error)).is_err();
    exit_now(1)
}

/// Before anything else: what follows is charged to the container.
fn enter_cgroups(tasks_files: &[String]) -> Result<()> {
    tasks_files.iter().try_for_each(|path| {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = open(path.as_str(), flags, Mode::empty()).call(|| format!("open {path}"))?;
        namespaces::enter_cgroup(path, file.as_fd())
    })
}

fn explain(errno: Errno, spawn_args: &SpawnArgs<'_>) -> Error {
    match errno {
        Errno::BUSY => Error::os("clone3", errno)
            .at("linux.namespaces")
            .hint("the cgroup has controllers enabled for its children"),
        Errno::NOMEM if spawn_args.join.has(Kind::Pid) => {
            namespaces::lacks_init("clone3 in the joined pid namespace", errno)
                .at("linux.namespaces")
        }
        _ => namespaces::explain("clone3", spawn_args.create, errno),
    }
}
