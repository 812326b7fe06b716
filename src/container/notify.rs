//! `NOTIFY_SOCKET`: a container under systemd tells that it is ready
//! (`sd_notify(3)`). The supervisor trusts only processes of its own service, so
//! we listen on a socket of our own inside the container and pass on what comes.

use super::Settings;
use crate::error::{Context, Error, Result};
use crate::spec::Mount;
use crate::store::Dir;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    recvmsg, sendmsg, socket_with,
};
use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

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

/// Makes the directory, so that it can be bound.
///
/// # Errors
/// Those of mkdir(2).
pub(super) fn prepare(dir: &Dir) -> Result<()> {
    rustix::fs::mkdirat(dir, DIRECTORY, Mode::from_raw_mode(0o755))
        .call(|| format!("mkdir {}/{DIRECTORY}", dir.path().display()))
}

/// Both ends of the relay.
#[derive(Debug)]
pub(super) struct Relay {
    inside: OwnedFd,
    outside: OwnedFd,
}

impl Relay {
    /// Listens in the container's directory and connects to the supervisor.
    /// `None` if the container was not prepared for it, or nobody supervises.
    ///
    /// # Errors
    /// Those of bind(2) and connect(2).
    pub fn open(dir: &Dir) -> Result<Option<Self>> {
        let Some(path) = supervisor().filter(|_| dir.has(DIRECTORY)) else { return Ok(None) };
        let own = format!("/proc/self/fd/{}/{DIRECTORY}/{SOCKET}", dir.as_fd().as_raw_fd());
        let call = || format!("NOTIFY_SOCKET: bind {}/{DIRECTORY}/{SOCKET}", dir.path().display());
        let inside = datagram().call(call)?;
        bind(&inside, &SocketAddrUnix::new(own.as_str()).call(call)?).call(call)?;
        // Whoever the container's user is may notify.
        rustix::fs::chmodat(
            CWD,
            own.as_str(),
            Mode::from_raw_mode(0o777),
            rustix::fs::AtFlags::empty(),
        )
        .call(call)?;
        let call = || format!("NOTIFY_SOCKET: connect {path}");
        let outside = datagram().call(call)?;
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(path.as_str()),
        };
        connect(&outside, &address.call(call)?).call(call)?;
        Ok(Some(Self { inside, outside }))
    }

    /// To wait for the next message.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }

    /// Passes on one message; true if it said `READY=1`. A pid of the container
    /// means nothing outside, so the pid of init is told instead.
    ///
    /// # Errors
    /// Those of recvmsg(2) and sendmsg(2).
    pub fn pass_on(&self, init: i32) -> Result<bool> {
        let mut buffer = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            &self.inside,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        );
        let count = match got {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            got => got.call(|| "NOTIFY_SOCKET: recvmsg".into())?.bytes,
        };
        let fds: Vec<OwnedFd> = control
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
                _ => Vec::new(),
            })
            .collect();
        let text = String::from_utf8_lossy(&buffer[..count]);
        let ready = text.lines().any(|line| line == "READY=1");
        let mut lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("MAINPID=")).collect();
        let main = format!("MAINPID={init}");
        if ready {
            lines.push(&main);
        }
        self.send(&lines.join("\n"), &fds)?;
        Ok(ready)
    }

    fn send(&self, text: &str, fds: &[OwnedFd]) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // A barrier (`sd_notify_barrier(3)`) is a descriptor that we must not keep.
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        if !borrowed.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&borrowed));
        }
        sendmsg(&self.outside, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)
            .call(|| "NOTIFY_SOCKET: sendmsg".into())?;
        Ok(())
    }

    /// Until the container is ready, or has ended.
    ///
    /// # Errors
    /// Those of poll(2) and of passing on.
    pub fn until_ready(&self, pidfd: &OwnedFd, init: i32) -> Result<()> {
        loop {
            let mut fds =
                [PollFd::new(&self.inside, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::os("poll", errno)),
            }
            let (message, ended) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            if (message && self.pass_on(init)?) || (ended && !message) {
                return Ok(());
            }
        }
    }
}

fn datagram() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}
