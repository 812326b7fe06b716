//! The parent's half of the conversation with a new process (see
//! [`crate::sync`]).

use crate::error::{At, Context, Error, Result};
use crate::init::StartSocket;
use crate::log::Log;
use crate::store::{Dir, START};
use crate::sync::{ParentEnd, ToChild, ToParent, send_fd};
use crate::sys::process::Child;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen as listen_on, send, socket_with,
};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Hears a new process out until it is ready to be started.
pub(super) struct Conversation<'a> {
    pub wire: &'a ParentEnd,
    pub child: &'a Child,
    pub log: &'a Log,
    /// The terminal's master, once the process has sent it.
    pub master: Option<OwnedFd>,
    /// Runs the hooks that belong before `pivot_root`.
    pub on_hooks: &'a mut dyn FnMut() -> Result<()>,
}

impl Conversation<'_> {
    /// Until `Ready`.
    ///
    /// # Errors
    /// What the process reports, or how it ended without a word.
    pub fn until_ready(&mut self) -> Result<()> {
        loop {
            match self.wire.receive()? {
                Some(ToParent::Ready) => return Ok(()),
                Some(ToParent::Hooks) => {
                    (self.on_hooks)()?;
                    self.wire.send(ToChild::Done)?;
                }
                Some(ToParent::Console(master)) => self.master = Some(master),
                Some(ToParent::Warning(text)) => self.log.warning(&text),
                Some(ToParent::Failed(error)) => return Err(error),
                Some(other) => {
                    return Err(Error::new(format!("init said {other:?} before it was ready")));
                }
                None => return Err(ended_early(self.child)),
            }
        }
    }
}

impl Conversation<'_> {
    /// Gives the process's terminal and its pidfd to those who wait for them;
    /// returns a terminal that nobody else took.
    ///
    /// # Errors
    /// If nobody listens on a socket.
    pub fn hand_over(
        &mut self,
        console: Option<&Path>,
        pidfd: Option<&Path>,
    ) -> Result<Option<OwnedFd>> {
        let mut master = self.master.take();
        if let (Some(socket), Some(fd)) = (console, &master) {
            // The name as data is what runc's callers expect.
            send_fd(socket, b"/dev/ptmx", fd.as_fd()).at(|| "--console-socket".into())?;
            master = None;
        }
        if let Some(socket) = pidfd {
            send_fd(socket, b"pidfd", self.child.pidfd.as_fd()).at(|| "--pidfd-socket".into())?;
        }
        Ok(master)
    }
}

/// How a process ended that should have said something.
fn ended_early(child: &Child) -> Error {
    match reap(child) {
        Ok(Some(status)) if status.killed() || status.dumped() => {
            let signal = status.terminating_signal().unwrap_or_default();
            let error = Error::new(format!("init was killed by signal {signal} during the set-up"));
            match signal {
                9 => error.hint("linux.resources.memory.limit may be too low"),
                31 => error.hint("linux.seccomp forbids a call that the set-up needs"),
                _ => error,
            }
        }
        Ok(status) => Error::new(format!(
            "init ended without a word, exit status {}",
            status.and_then(|status| status.exit_status()).unwrap_or(-1)
        )),
        Err(error) => error,
    }
}

/// The pidfd of a child, for one that keeps it.
///
/// # Errors
/// `EMFILE`.
pub(super) fn pidfd_of(child: &Child) -> Result<OwnedFd> {
    child.pidfd.try_clone().call(|| "dup a pidfd".into())
}

/// Waits for a process that is about to end, and reaps it.
///
/// # Errors
/// Those of waitid(2).
pub(super) fn reap(child: &Child) -> Result<Option<WaitIdStatus>> {
    let wait = || waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
    match rustix::io::retry_on_intr(wait) {
        Err(Errno::CHILD) => Ok(None),
        status => status.call(|| "wait for init".into()),
    }
}

/// Kills and reaps a process that must not go on.
///
/// # Errors
/// Those of `pidfd_send_signal(2)` and waitid(2).
pub(super) fn end(child: &Child) -> Result<()> {
    match pidfd_send_signal(&child.pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(Error::os("kill init", errno)),
    }
    reap(child).map(drop)
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
    if let Some(word) = word {
        match send(&socket, word.as_bytes(), SendFlags::NOSIGNAL) {
            // It is gone: that is noticed where its words are waited for.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(errno) => return Err(Error::os("send to init", errno)),
        }
    }
    Ok(ParentEnd::from_socket(socket))
}

fn start_socket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn address(dir: &Dir) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{START}", dir.as_fd().as_raw_fd()))
        .call(|| "the address of the start socket".into())
}
