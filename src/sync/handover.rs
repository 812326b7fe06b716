//! Handing a descriptor to a stranger who listens on a Unix socket: a terminal,
//! a seccomp listener.

use super::PACKET;
use crate::error::{Context, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, sendmsg, socket_with,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// How long a listener may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to `path`, sends `data` with the descriptor as `SCM_RIGHTS` in its
/// first message, and closes the connection.
///
/// # Errors
/// If nobody listens there; `EAGAIN` if nobody takes it in time.
pub fn send_fd(path: &Path, data: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
    let call = || format!("connect {}", path.display());
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call(call)?;
    // A listener that is deaf must not keep us: connect(2) waits for it, too.
    set_socket_timeout(&socket, Timeout::Send, Some(SEND_TIMEOUT)).call(call)?;
    // Through a descriptor: the path may be longer than a socket's name can be.
    let at = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(call)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", at.as_raw_fd())).call(call)?;
    connect(&socket, &address).call(call)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let fds = [fd];
    let mut sent = 0;
    while sent < data.len() {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if sent == 0 {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let chunk = &data[sent..data.len().min(sent + PACKET)];
        sent += rustix::io::retry_on_intr(|| {
            sendmsg(&socket, &[IoSlice::new(chunk)], &mut control, SendFlags::NOSIGNAL)
        })
        .call(|| format!("send a descriptor to {}", path.display()))?;
    }
    Ok(())
}
