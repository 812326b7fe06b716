//! `NOTIFY_SOCKET`: a container under systemd tells that it is ready
//! (`sd_notify(3)`). The supervisor trusts only processes of its own service, so
//! we listen on a socket of our own inside the container and pass on what it may say:
//! that it is ready or alive, and texts about that ([`said`]). What would change or end
//! the service, or keep descriptors, is not the container's to ask for; nor is any
//! descriptor of the container received: to close one may take for ever (FUSE).

use super::Settings;
use super::observed::ProcessRef;
use crate::error::{Context, Error, Result};
use crate::log::Log;
use crate::spec::Mount;
use crate::store::Dir;
use crate::sys::signal::Signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, chmodat, fchmod, mkdirat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, connect, recv, sendmsg, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::umask;
use std::ffi::CString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// A longer message is none: systemd takes no more either (`NOTIFY_BUFFER_MAX`).
const LONGEST: usize = 4096;

/// The longest text of a status.
const STATUS: usize = 512;

/// How long the supervisor may keep `start` waiting that has `READY=1` for it, in seconds.
const SUPERVISOR_TIMEOUT: i64 = 30;

/// Directory of the socket in the state directory; bound into the container.
pub(crate) const DIRECTORY: &str = "notify";
/// Name of the socket.
const SOCKET: &str = "notify.sock";
/// Where the container sees the directory, as with runc.
const INSIDE: &str = "/run/notify";

/// The supervisor's socket, from our environment.
pub(super) fn supervisor() -> Option<String> {
    std::env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty())
}

/// The mount and the variable that a container needs to notify.
pub(super) fn for_container(state: &Path, settings: &mut Settings) -> Mount {
    let variable = format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}");
    settings.extra_env.extend(CString::new(variable));
    Mount {
        destination: INSIDE.into(),
        kind: Some("bind".into()),
        source: Some(state.join(DIRECTORY).to_string_lossy().into_owned()),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(String::from).to_vec(),
        ..Mount::default()
    }
}

/// Makes the directory, so that it can be bound. Every user of the container may
/// look into it; from the host the way there is through ours, which nobody may enter.
///
/// # Errors
/// Those of mkdir(2) and chmod(2).
pub(super) fn prepare(dir: &Dir) -> Result<()> {
    let call = || format!("mkdir {}/{DIRECTORY}", dir.path().display());
    let mode = Mode::from_raw_mode(0o755);
    mkdirat(dir, DIRECTORY, mode).call(call)?;
    // Whatever the umask is. Nobody else has seen it yet.
    chmodat(dir, DIRECTORY, mode, AtFlags::empty()).call(call)
}

/// Both ends of the relay.
#[derive(Debug)]
pub(super) struct Relay {
    inside: OwnedFd,
    outside: OwnedFd,
    doing: Doing,
}

/// What the relay waits for.
#[derive(Debug)]
enum Doing {
    /// The next message of the container.
    Listening,
    /// Space for our message at the supervisor; with a barrier, both ends of its pipe.
    Sending { text: String, barrier: Option<(OwnedFd, OwnedFd)> },
    /// The supervisor has our end of a pipe, and closes it when it has dealt with all
    /// that was said before (`sd_notify_barrier(3)`). The container's message is taken
    /// from its queue then, which closes the descriptor in it.
    Barrier(OwnedFd),
}

impl Relay {
    /// Listens in the container's directory and connects to the supervisor.
    /// `None` if the container was not prepared for it, or nobody supervises: the variable
    /// may have outlived who set it, in a shell or a daemon, and then only a warning tells.
    ///
    /// # Errors
    /// Those of bind(2).
    pub fn open(dir: &Dir, log: &Log) -> Result<Option<Self>> {
        let Some(path) = supervisor() else { return Ok(None) };
        if !dir.has(DIRECTORY)? {
            return Ok(None);
        }
        let own = format!("/proc/self/fd/{}/{DIRECTORY}/{SOCKET}", dir.as_fd().as_raw_fd());
        let call = || format!("NOTIFY_SOCKET: bind {}/{DIRECTORY}/{SOCKET}", dir.path().display());
        let inside = datagram().call(call)?;
        // Whoever the container's user is may notify. The socket gets its mode before it
        // has a name: a name in there could be a link by the time it is used again.
        fchmod(&inside, Mode::from_raw_mode(0o666)).call(call)?;
        let address = SocketAddrUnix::new(own.as_str()).call(call)?;
        let caller_umask = umask(Mode::empty());
        let bound = bind(&inside, &address);
        umask(caller_umask);
        bound.call(call)?;
        match connected_to(&path) {
            Ok(outside) => Ok(Some(Self { inside, outside, doing: Doing::Listening })),
            Err(error) => {
                log.warning(&format!("{error}; nobody is told that the container is ready"));
                Ok(None)
            }
        }
    }

    /// What is to be waited for before [`Self::pass_on`].
    pub fn awaits(&self) -> PollFd<'_> {
        match &self.doing {
            Doing::Listening => PollFd::new(&self.inside, PollFlags::IN),
            Doing::Sending { .. } => PollFd::new(&self.outside, PollFlags::OUT),
            Doing::Barrier(reader) => PollFd::new(reader, PollFlags::IN),
        }
    }

    /// One step, which waits for nobody; true if the supervisor has been told
    /// `READY=1`. A pid of the container means nothing outside, so the pid of init is
    /// told instead.
    ///
    /// # Errors
    /// Those of recv(2), pipe(2) and sendmsg(2).
    pub fn pass_on(&mut self, init: i32) -> Result<bool> {
        match std::mem::replace(&mut self.doing, Doing::Listening) {
            Doing::Listening => self.hear(init),
            Doing::Sending { text, barrier } => self.send(text, barrier),
            Doing::Barrier(_) => self.receive(&mut [0; LONGEST], RecvFlags::empty()).map(|_| false),
        }
    }

    fn hear(&mut self, init: i32) -> Result<bool> {
        let mut buffer = [0; LONGEST];
        let Some(length) = self.receive(&mut buffer, RecvFlags::PEEK)? else { return Ok(false) };
        let whole = buffer.get(..length).unwrap_or_default();
        if whole.trim_ascii_end() == b"BARRIER=1" {
            let pipe = pipe_with(PipeFlags::CLOEXEC).call(|| "NOTIFY_SOCKET: pipe2".into())?;
            return self.send("BARRIER=1".into(), Some(pipe));
        }
        let text = said(whole, init);
        self.receive(&mut buffer, RecvFlags::empty())?;
        if text.is_empty() { Ok(false) } else { self.send(text, None) }
    }

    /// The length of the next message, also of one that does not fit. Its descriptors,
    /// for which there is no room, the kernel closes.
    fn receive(&self, buffer: &mut [u8], flags: RecvFlags) -> Result<Option<usize>> {
        match recv(&self.inside, buffer, flags | RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            got => Ok(Some(got.call(|| "NOTIFY_SOCKET: recv".into())?.1)),
        }
    }

    fn send(&mut self, text: String, barrier: Option<(OwnedFd, OwnedFd)>) -> Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let writer = barrier.as_ref().map(|(_, writer)| [writer.as_fd()]);
        if let Some(writer) = &writer {
            control.push(SendAncillaryMessage::ScmRights(writer));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(&self.outside, &[IoSlice::new(text.as_bytes())], &mut control, flags) {
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => {
                self.doing = Doing::Sending { text, barrier };
                return Ok(false);
            }
            // The supervisor is gone, and nobody is left to be told.
            Err(Errno::CONNREFUSED | Errno::CONNRESET | Errno::NOTCONN | Errno::PIPE) => {}
            sent => drop(sent.call(|| "NOTIFY_SOCKET: sendmsg".into())?),
        }
        if let Some((reader, _)) = barrier {
            self.doing = Doing::Barrier(reader);
        }
        Ok(text.lines().any(|line| line == READY))
    }

    /// Until the container is ready, or has ended. `signals` are those of a command
    /// that has blocked them.
    ///
    /// # Errors
    /// Those of poll(2) and of passing on; a supervisor that takes nothing; a signal.
    pub fn until_ready(mut self, init: ProcessRef<'_>, signals: Option<&Signals>) -> Result<()> {
        let wait_limit = Timespec { tv_sec: SUPERVISOR_TIMEOUT, tv_nsec: 0 };
        loop {
            let limit = matches!(self.doing, Doing::Sending { .. }).then_some(&wait_limit);
            let mut fds = vec![self.awaits(), PollFd::from_borrowed_fd(init.pidfd, PollFlags::IN)];
            fds.extend(signals.map(|signals| PollFd::new(signals, PollFlags::IN)));
            match poll(&mut fds, limit) {
                Ok(0) => {
                    return Err(Error::new(format!(
                        "NOTIFY_SOCKET: the supervisor has taken nothing for {SUPERVISOR_TIMEOUT} s"
                    )));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::os("poll", errno)),
            }
            let (message, ended) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            drop(fds);
            if (message && self.pass_on(init.pid)?) || (ended && !message) {
                return Ok(());
            }
            if let Some(signal) = super::serve::ending(signals)? {
                return Err(Error::new(format!(
                    "NOTIFY_SOCKET: ended by signal {signal}, waiting for {READY}"
                )));
            }
        }
    }
}

const READY: &str = "READY=1";

/// What a container may say of what it said (`sd_notify(3)`): that it is ready or alive,
/// a status, an errno. `STOPPING`, `RELOADING`, `EXTEND_TIMEOUT_USEC`, `WATCHDOG=trigger`
/// and the like act on the service; `MAINPID`, `NOTIFYACCESS`, `FDSTORE` give it away.
fn said(text: &[u8], init: i32) -> String {
    let mut lines = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let may = match line.split_once('=') {
            Some(("READY" | "WATCHDOG", value)) => value == "1",
            Some(("STATUS", value)) => value.len() <= STATUS && !value.contains(char::is_control),
            Some(("ERRNO", value)) => value.parse::<u16>().is_ok(),
            _ => false,
        };
        if may && !lines.contains(&line) {
            lines.push(line);
        }
    }
    let main = format!("MAINPID={init}");
    if lines.contains(&READY) {
        lines.push(&main);
    }
    lines.join("\n")
}

/// A socket that sends to the supervisor's, whose path may be an abstract name
/// (`sd_notify(3)`).
fn connected_to(path: &str) -> Result<OwnedFd> {
    let call = || format!("NOTIFY_SOCKET: connect {path}");
    let socket = datagram().call(call)?;
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        None => SocketAddrUnix::new(path),
    };
    connect(&socket, &address.call(call)?).call(call)?;
    Ok(socket)
}

fn datagram() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use super::{STATUS, said};

    #[test]
    fn a_container_may_speak_of_itself_alone() {
        let long = format!("STATUS={}", "x".repeat(STATUS + 1));
        for (text, passed) in [
            ("READY=1\nSTATUS=up\nMAINPID=1\n", "READY=1\nSTATUS=up\nMAINPID=42"),
            ("WATCHDOG=1\nWATCHDOG=trigger\nWATCHDOG_USEC=1", "WATCHDOG=1"),
            ("STOPPING=1\nRELOADING=1\nNOTIFYACCESS=all\nFDSTORE=1\nFDNAME=x", ""),
            ("EXTEND_TIMEOUT_USEC=9\nBUSERROR=x\nEXIT_STATUS=0\nX_Y=1\nREADY=2\nready=1", ""),
            ("ERRNO=2\nERRNO=-1\nERRNO=x\nSTATUS=\u{1b}[2J\nREADY=1 ", "ERRNO=2"),
            ("BARRIER=1\nREADY=1\nREADY=1", "READY=1\nMAINPID=42"),
            (&*long, ""),
            ("", ""),
        ] {
            assert_eq!(said(text.as_bytes(), 42), passed, "{text:?}");
        }
        assert_eq!(said(b"STATUS=\xff\nREADY=1", 42), "READY=1\nMAINPID=42");
    }
}
