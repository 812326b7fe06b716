//! The process that reads what nobody trusts: it has the directories that it needs and no
//! others, no privilege but for owners, modes and nodes, no network, and little of everything.
//! The one that has made it waits for it, marks directories for it, and tidies up after it.

use super::mark::{self, Marker};
use super::tell;
use crate::error::{Context as _, Error, Result};
use crate::sys::landlock::{Access, restrict};
use crate::sys::process::{Child, CloneArgs, clone3, exit_now, with_only};
use crate::sys::signal::{self, Signals};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, XattrFlags, fremovexattr, fsetxattr};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getppid, setrlimit, waitid,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

/// What is left of root: owners, modes, nodes, and the capability of a file. Files of an image
/// belong to others, so it must be able to go on in a directory that is not its own.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// The most memory that it may ask for, with what threads reserve.
const MEMORY: u64 = 1 << 30;

/// Whether this process may set overlay's attributes of root, in that directory.
///
/// # Errors
/// A file system that has none.
pub fn is_privileged(store: BorrowedFd<'_>) -> Result<bool> {
    const PROBE: &str = "trusted.pinnace.probe";
    match fsetxattr(store, PROBE, b"y", XattrFlags::empty()) {
        Ok(()) => {
            fremovexattr(store, PROBE).call(|| format!("remove {PROBE}"))?;
            Ok(true)
        }
        Err(Errno::PERM) => Ok(false),
        Err(errno) => Err(Error::os("set an attribute of the store", errno)
            .hint("overlay needs trusted.* attributes there: --store DIR names another disk")),
    }
}

/// Runs `job` in a process of its own, which has these directories, the first of them as its
/// root. Returns its exit status; 128 and the number of a signal that has ended it.
///
/// # Errors
/// Those of making the process. The job's own are told by it.
pub fn run(
    directories: &[(BorrowedFd<'_>, Access)],
    is_privileged: bool,
    job: impl FnOnce(&Marker<'_>) -> Result<()>,
) -> Result<i32> {
    let call = || "socketpair".to_owned();
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .call(call)?;
    // A caller who ignores SIGCHLD would have the kernel reap the child.
    signal::take_over();
    let parent = rustix::process::getpid();
    let mask = signal::block_all().call(|| "sigprocmask".into())?;
    let Some(child) = clone3(CloneArgs::default()).call(|| "clone3".into())? else {
        drop(ours);
        let keep: Vec<RawFd> =
            directories.iter().map(|(fd, _)| fd.as_raw_fd()).chain([theirs.as_raw_fd()]).collect();
        let ended = with_only(3, &keep, || {
            signal::set_mask(&mask).call(|| "sigprocmask".into())?;
            confine(directories, parent)?;
            let marker = match is_privileged {
                true => Marker::Outside(theirs.as_fd()),
                false => Marker::Own,
            };
            job(&marker)?;
            exit_now(0)
        });
        let Err(error) = ended;
        tell::error(&error);
        exit_now(1)
    };
    drop(theirs);
    let ended = serve(&ours, &child);
    signal::set_mask(&mask).call(|| "sigprocmask".into())?;
    ended
}

/// Gives up all that the job does not need, for ever.
fn confine(directories: &[(BorrowedFd<'_>, Access)], parent: Pid) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .call(|| "prctl(PR_SET_PDEATHSIG)".into())?;
    // It may have ended before that.
    if getppid() != Some(parent) {
        return Err(Error::new("the command was killed"));
    }
    rustix::process::umask(Mode::empty());
    for (resource, most) in [(Resource::Core, 0), (Resource::As, MEMORY)] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).call(|| "setrlimit".into())?;
    }
    // Each layer is an open directory while users are looked for.
    let files = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: files, maximum: files };
    setrlimit(Resource::Nofile, limit).call(|| "setrlimit".into())?;
    let own = capabilities(None).call(|| "capget".into())?;
    if own.effective.contains(CapabilitySet::SYS_CHROOT)
        && let Some((root, _)) = directories.first()
    {
        rustix::process::fchdir(*root).call(|| "fchdir".into())?;
        rustix::process::chroot(".").call(|| "chroot".into())?;
    }
    rustix::thread::set_no_new_privs(true).call(|| "prctl(PR_SET_NO_NEW_PRIVS)".into())?;
    restrict(directories).call(|| "landlock".into())?;
    let kept = own.permitted & KEPT;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: none };
    set_capabilities(None, sets).call(|| "capset".into())
}

/// Does what the child asks for until it ends; a signal that ends us ends it.
fn serve(socket: &OwnedFd, child: &Child) -> Result<i32> {
    let signals = Signals::fatal().call(|| "signalfd".into())?;
    let mut ended_by = None;
    let mut talks = true;
    loop {
        let mut fds = [
            PollFd::new(&child.pidfd, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
            PollFd::new(socket, PollFlags::IN),
        ];
        let watched = if talks { 3 } else { 2 };
        retry_on_intr(|| poll(&mut fds[..watched], None)).call(|| "poll".into())?;
        let asks = talks && !fds[2].revents().is_empty();
        let has_ended = !fds[0].revents().is_empty();
        if !fds[1].revents().is_empty()
            && let Some(number) = signals.ending().call(|| "read a signal".into())?
        {
            ended_by = Some(number);
            match child.signal(Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(Error::os("kill", errno)),
            }
        }
        if asks {
            talks = mark::serve(socket.as_fd()).unwrap_or(false);
        }
        if has_ended {
            break;
        }
    }
    let status =
        retry_on_intr(|| waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED))
            .call(|| "waitid".into())?;
    let status = status.ok_or_else(|| Error::new("waitid: nothing to wait for"))?;
    // It may have been done before the signal came.
    if let (Some(number), None) = (ended_by, status.exit_status()) {
        return Ok(128 + number);
    }
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ok(code),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            Err(Error::new(format!(
                "the process that reads the image was killed by signal {signal}"
            ))
            .hint("6 and 9 are often a lack of memory"))
        }
    }
}
