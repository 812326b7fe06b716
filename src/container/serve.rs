//! Waits for processes of a container, and what the kernel tells of them.

use crate::create::never_ran;
use crate::error::{Context, Error, Kind, Result};
use crate::init::StartSocket;
use crate::plan::Hook;
use crate::store::{Dir, ProcessId, START};
use crate::sync::{ParentEnd, ToParent};
use crate::sys::file::read_short;
use crate::sys::process::{Child, stat_fields};
use crate::sys::signal::{Signals, reap_others};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen as listen_on, send, socket_with,
};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a process of a container may say nothing while it is set up.
const SETUP: Duration = Duration::from_secs(120);

/// How many messages a process sends at most: each kind once, and fewer than this.
/// Whoever has taken its place sends more, into our log, or to keep us here.
pub(super) const MESSAGES: usize = 8;

/// How long a killed process may take to end.
const END: Duration = Duration::from_secs(10);

/// What ends a wait for a process of a container, which may be stopped, frozen or
/// traced: time, or a signal by which a user or a supervisor ends the command.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitLimit<'a> {
    /// The signals of a command that has blocked them.
    signals: Option<&'a Signals>,
    /// Without a limit while a hook runs that has none.
    limit: Option<Duration>,
}

impl<'a> WaitLimit<'a> {
    /// For a process that also runs `hooks`.
    pub fn new(signals: Option<&'a Signals>, hooks: &[Hook]) -> Self {
        let limit = hooks.iter().try_fold(SETUP, |sum, hook| hook.timeout.map(|time| sum + time));
        Self { signals, limit }
    }

    /// Waits until one of `fds` is ready.
    ///
    /// # Errors
    /// If it is ended before.
    pub fn poll<'f>(&self, fds: &mut Vec<PollFd<'f>>) -> Result<()>
    where
        'a: 'f,
    {
        let count = fds.len();
        let until = self.limit.map(|limit| Instant::now() + limit);
        fds.extend(self.signals.map(|signals| PollFd::new(signals, PollFlags::IN)));
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            match poll(fds, left.as_ref()) {
                Ok(0) => {
                    let seconds = self.limit.unwrap_or_default().as_secs();
                    return Err(Error::new(format!("init has said nothing for {seconds} s"))
                        .hint("is it stopped, or its cgroup frozen?"));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::os("poll", errno)),
            }
            // News of the process first: who has its answer is not interrupted.
            if fds[..count].iter().any(|fd| !fd.revents().is_empty()) {
                fds.truncate(count);
                return Ok(());
            }
            if let Some(signal) = ending(self.signals)? {
                return Err(Error::new(format!("ended by signal {signal}, waiting for init")));
            }
        }
    }

    /// The next message, as [`ParentEnd::receive`]; `None` also when the process has ended.
    /// Its end of the channel may be open all the same, in a process that it has made.
    ///
    /// # Errors
    /// Those of [`Self::poll`] and of [`ParentEnd::receive`].
    pub fn receive(
        &self,
        channel: &ParentEnd,
        process: BorrowedFd<'_>,
    ) -> Result<Option<ToParent>> {
        let fd = PollFd::from_borrowed_fd(process, PollFlags::IN);
        let mut fds = vec![PollFd::new(channel, PollFlags::IN), fd];
        self.poll(&mut fds)?;
        // What it said last may have come between the looks at the one and at the other.
        if fds[0].revents().is_empty() && !is_ready(channel.as_fd())? {
            return Ok(None);
        }
        channel.receive()
    }

    /// Whether there is no limit but a signal.
    pub fn is_endless(&self) -> bool {
        self.limit.is_none()
    }
}

/// Whether there is something to be read; waits for nothing.
pub(super) fn is_ready(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = retry_on_intr(|| poll(&mut fds, Some(&now))).call(|| "poll".into())?;
    Ok(ready > 0)
}

/// The signal that is to end the command, if one has come.
///
/// # Errors
/// Those of read(2).
pub(super) fn ending(signals: Option<&Signals>) -> Result<Option<i32>> {
    signals.map_or(Ok(None), |signals| signals.ending().call(|| "read a signalfd".into()))
}

/// More than [`MESSAGES`].
pub(super) fn too_much() -> Error {
    Error::new("the process says more than it has to say")
        .hint("has another process taken its place?")
}

/// How a process ended that should have said something.
pub(super) fn ended_early(child: &Child) -> Error {
    // As long as it is a zombie.
    let waited = wait_until_ended(child.pidfd.as_fd(), child.pid.as_raw_nonzero().get());
    let kind = if never_ran(child) { Kind::NeverRan } else { Kind::Killed };
    match waited.and_then(|()| reap(child)) {
        Ok(Some(status)) if status.killed() || status.dumped() => {
            killed_by(status.terminating_signal(), "during the set-up").kind(kind)
        }
        Ok(status) => Error::new(format!(
            "the process ended without a word, exit status {}",
            status.and_then(|status| status.exit_status()).unwrap_or(-1)
        )),
        Err(error) => error,
    }
}

/// The error for a process of ours that another has killed; `signal` if it is known.
pub(super) fn killed_by(signal: Option<i32>, when: &str) -> Error {
    let by = signal.map_or(String::new(), |signal| format!(" by signal {signal}"));
    let error = Error::new(format!("the process was killed{by} {when}")).kind(Kind::Killed);
    match signal {
        None | Some(9) => error
            .hint("linux.resources.memory.limit may be too low, or another command has killed it"),
        Some(31) => error.hint("linux.seccomp forbids a call that the set-up needs"),
        _ => error,
    }
}

/// The signal that has ended a child, which stays to be reaped; `None` for others.
pub(super) fn signal_of(process: BorrowedFd<'_>) -> Option<i32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    retry_on_intr(|| waitid(WaitId::PidFd(process), options)).ok()??.terminating_signal()
}

/// Whether a process has executed a program since it was made; `None` if there is no such
/// process.
///
/// # Errors
/// As [`doing`].
pub(super) fn has_executed(pid: i32) -> Result<Option<bool>> {
    Ok(doing(pid)?.map(|doing| doing.executed))
}

/// How far a process has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doing {
    /// Whether it has executed a program since it was made: `PF_FORKNOEXEC` (linux/sched.h),
    /// which also ps(1) shows, is gone before execve(2) closes a descriptor.
    pub executed: bool,
    /// Whether it ends: `PF_EXITING` is set before its files are closed. That is true of
    /// a process of one thread, as ours are before execve(2).
    pub exits: bool,
    /// Whether SIGKILL awaits it.
    pub is_to_die: bool,
}

/// What the flags of a process tell. A zombie still has them.
///
/// # Errors
/// If it cannot be known.
pub(super) fn doing(pid: i32) -> Result<Option<Doing>> {
    const EXITING: u64 = 0x4;
    const FORKED_ONLY: u64 = 0x40;
    const KILL: u64 = 1 << 8;
    let path = format!("/proc/{pid}/stat");
    let text = match read_short(&path) {
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        text => text.call(|| format!("read {path}"))?,
    };
    let text = String::from_utf8_lossy(&text);
    // proc_pid_stat(5): flags are field 9, pending signals field 31.
    let numbers = stat_fields(&text).and_then(|mut fields| {
        let mut number = |skipped| fields.nth(skipped)?.parse::<u64>().ok();
        Some((number(6)?, number(21)?))
    });
    let (flags, pending) = numbers.ok_or_else(|| Error::new("makes no sense").at(&path))?;
    Ok(Some(Doing {
        executed: flags & FORKED_ONLY == 0,
        exits: flags & EXITING != 0,
        is_to_die: pending & KILL != 0,
    }))
}

/// Whether a process ends that has closed its files.
///
/// # Errors
/// Those of poll(2).
pub(super) fn ends_soon(process: BorrowedFd<'_>) -> Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    let ended = retry_on_intr(|| poll(&mut fds, Some(&LAG))).call(|| "poll a pidfd".into())?;
    Ok(ended > 0)
}

/// How long the end of a container may lag behind what has failed because of it.
const LAG: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Whether init ends, or is about to; it has ended then, if that takes no unusual time.
/// The init of a pid namespace ends after all others in it have been reaped
/// (pid_namespaces(7)), and a child of ours may be one of them.
fn will_end(init: BorrowedFd<'_>, pid: i32) -> bool {
    let reap = || reap_others(pid).ok();
    reap();
    if ends_soon(init).unwrap_or(false) {
        return true;
    }
    let dies = is_dying(pid);
    if dies {
        // Who has traced our child has let it go meanwhile (ptrace(2)).
        reap();
        // On a machine that has much else to do it may take its time.
        wait_until_ended(init, pid).ok();
    }
    dies
}

/// What has failed in a container that was running, in the words that fit: if the container
/// has ended meanwhile, that is why, and not what the kernel said of its remains.
pub(super) fn look_again(error: Error, id: &str, init: ProcessId) -> Error {
    let lags = match error.errno() {
        Some(Errno::SRCH | Errno::NOMEM | Errno::CONNREFUSED | Errno::CONNRESET) => true,
        Some(Errno::NOENT | Errno::NODEV) => false,
        _ if matches!(error.get_kind(), Kind::Killed | Kind::NeverRan) => true,
        _ => return error,
    };
    let ended = match init.open_alive() {
        Ok(Some(pidfd)) if lags => will_end(pidfd.as_fd(), init.pid),
        Ok(Some(pidfd)) => is_ready(pidfd.as_fd()).unwrap_or(false),
        Ok(None) => true,
        Err(_) => false,
    };
    if ended { super::not_running(id) } else { error }
}

/// Whether the kernel has begun to end a process, as far as that can be known.
fn is_dying(pid: i32) -> bool {
    doing(pid).is_ok_and(|doing| doing.is_some_and(|doing| doing.exits || doing.is_to_die))
}

/// Whether another command has removed the directory that is held here.
pub(super) fn is_deleted(dir: &Dir) -> bool {
    rustix::fs::fstat(dir).is_ok_and(|stat| stat.st_nlink == 0)
}

/// The error of a command whose container went while it was made.
pub(super) fn deleted(id: &str) -> Error {
    Error::new(format!("container {id:?} was deleted meanwhile")).kind(Kind::NoContainer)
}

/// Waits for a process that is about to end, and reaps it. `None` if it is not
/// ours to reap: a process that traces it has it until it lets go (ptrace(2)).
///
/// # Errors
/// A process that does not end in time; those of waitid(2).
pub(super) fn reap(child: &Child) -> Result<Option<WaitIdStatus>> {
    wait_until_ended(child.pidfd.as_fd(), child.pid.as_raw_nonzero().get())?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match retry_on_intr(|| waitid(WaitId::PidFd(child.pidfd.as_fd()), options)) {
        Err(Errno::CHILD) => Ok(None),
        status => status.call(|| "wait for init".into()),
    }
}

/// Waits for the end of a process, of which only that matters.
///
/// # Errors
/// A process that does not end in time; those of poll(2).
pub(super) fn wait_until_ended(pidfd: BorrowedFd<'_>, pid: i32) -> Result<()> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let limit = Timespec { tv_sec: END.as_secs() as i64, tv_nsec: 0 };
    if retry_on_intr(|| poll(&mut fds, Some(&limit))).call(|| "poll a pidfd".into())? == 0 {
        let seconds = END.as_secs();
        return Err(Error::new(format!("process {pid} has not ended within {seconds} s"))
            .hint("is its cgroup frozen?"));
    }
    Ok(())
}

/// The exit status of a process that has ended, as a shell would tell it.
///
/// # Errors
/// Those of [`reap`]; if the status is nobody's to know.
pub(super) fn exit_status(child: &Child) -> Result<i32> {
    let of = |code: Option<i32>, signal: Option<i32>| match (code, signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    if let Some(status) = reap(child)? {
        return Ok(of(status.exit_status(), status.terminating_signal()));
    }
    // Still there, for the process that traces it: its status can be read.
    let status =
        wait_status(&stat(child)?).ok_or_else(|| Error::new("the process was reaped elsewhere"))?;
    let signal = status & 0x7f;
    Ok(of((signal == 0).then_some(status >> 8 & 0xff), Some(signal)))
}

/// Whether a process is stopped, by a signal or by one that traces it.
pub(super) fn is_stopped(child: &Child) -> bool {
    stat(child).is_ok_and(|stat| {
        stat_fields(&stat).is_some_and(|mut fields| matches!(fields.next(), Some("T" | "t")))
    })
}

fn stat(child: &Child) -> Result<String> {
    let path = format!("/proc/{}/stat", child.pid.as_raw_nonzero());
    let text = read_short(&path).call(|| format!("read {path}"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Field 52, of a zombie.
fn wait_status(stat: &str) -> Option<i32> {
    let mut fields = stat_fields(stat)?;
    if fields.next()? == "Z" { fields.nth(48)?.parse().ok() } else { None }
}

/// Kills and reaps a process that must not go on.
///
/// # Errors
/// Those of `pidfd_send_signal(2)` and [`reap`].
pub(super) fn end(child: &Child) -> Result<()> {
    match child.signal(Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => reap(child).map(drop),
        Err(errno) => Err(Error::os("pidfd_send_signal(KILL) to init", errno)),
    }
}

/// Kills a process that must not go on.
///
/// # Errors
/// Those of `pidfd_send_signal(2)`.
pub(super) fn kill(process: BorrowedFd<'_>) -> Result<()> {
    match pidfd_send_signal(process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::os("pidfd_send_signal(KILL) to init", errno)),
    }
}

/// The socket on which init waits for `start`. It is made through the open
/// directory, as the path may be longer than a socket's name can be. Its mode is set
/// before it has a name (`unix_bind` takes that of the socket), so that the caller's
/// umask opens it to nobody.
///
/// # Errors
/// Those of bind(2).
pub(super) fn listen(dir: &Dir, word: Option<String>) -> Result<StartSocket> {
    let call = || format!("bind {}/{START}", dir.path().display());
    let socket = start_socket().call(call)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).call(call)?;
    bind(&socket, &address(dir)?).call(call)?;
    listen_on(&socket, 8).call(call)?;
    Ok(StartSocket { socket, word })
}

/// A connection to the init of a created container, who has been told who we are.
///
/// # Errors
/// `ECONNREFUSED` if init is gone.
pub(super) fn connect_to(dir: &Dir, word: Option<&str>) -> Result<ParentEnd> {
    let call = || format!("connect {}/{START}", dir.path().display());
    let socket = start_socket().call(call)?;
    connect(&socket, &address(dir)?).call(call)?;
    let channel = ParentEnd::from_socket(socket);
    if let Some(word) = word {
        match send(&channel, word.as_bytes(), SendFlags::NOSIGNAL) {
            Ok(_) => {}
            // It is gone: that is noticed where its words are waited for.
            Err(Errno::PIPE | Errno::CONNRESET) => channel.set_unread(),
            Err(errno) => return Err(Error::os("send to init", errno)),
        }
    }
    Ok(channel)
}

fn start_socket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn address(dir: &Dir) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{START}", dir.as_fd().as_raw_fd()))
        .call(|| "the address of the start socket".into())
}

#[cfg(test)]
mod tests {
    use super::wait_status;

    #[test]
    fn the_status_of_a_zombie_is_its_last_field() {
        let fields = |state: &str| {
            let zeros = "0 ".repeat(48);
            format!("42 (a) b (c) {state} {zeros}1792\n")
        };
        assert_eq!(wait_status(&fields("Z")), Some(1792));
        assert_eq!(wait_status(&fields("R")), None);
    }
}
