//! Opaque directories: overlay reads them by an attribute. That of root is set by the process
//! outside the sandbox, which alone may (`CAP_SYS_ADMIN`); it gets nothing but a descriptor.

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// Root's attribute (overlayfs.rst).
pub const TRUSTED: &str = "trusted.overlay.opaque";
/// A user's.
pub const USER: &str = "user.overlay.opaque";

/// The words of a request.
const MARK: u8 = b'm';
const LOOK: u8 = b'l';

/// Who marks.
#[derive(Debug)]
pub enum Marker<'a> {
    /// The process at the other end.
    Outside(BorrowedFd<'a>),
    /// This one.
    Own,
}

impl Marker<'_> {
    /// Marks a directory.
    ///
    /// # Errors
    /// Those of setxattr(2), and of asking for it.
    pub fn mark(&self, dir: OwnedFd) -> Result<()> {
        match self {
            Self::Own => fsetxattr(&dir, USER, b"y", XattrFlags::empty()),
            Self::Outside(socket) => match ask(*socket, MARK, dir.as_fd())? {
                0 => Ok(()),
                code => Err(crate::error::errno(code)),
            },
        }
    }

    /// Whether a directory hides what is below it.
    ///
    /// # Errors
    /// As [`Self::mark`].
    pub fn is_opaque(&self, dir: BorrowedFd<'_>) -> Result<bool> {
        match self {
            Self::Own => has(dir, USER),
            Self::Outside(socket) => match ask(*socket, LOOK, dir)? {
                0 => Ok(true),
                code if code == Errno::NODATA.raw_os_error() => Ok(false),
                code => Err(crate::error::errno(code)),
            },
        }
    }

    /// The attribute that this one sets.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Own => USER,
            Self::Outside(_) => TRUSTED,
        }
    }
}

fn has(dir: BorrowedFd<'_>, name: &str) -> Result<bool> {
    let mut value = [0; 8];
    match fgetxattr(dir, name, &mut value) {
        Ok(length) => Ok(value.get(..length) == Some(b"y")),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
        // No value of overlay's is so long.
        Err(Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Sends a word with a descriptor; returns the number of the error that was the answer.
fn ask(socket: BorrowedFd<'_>, word: u8, dir: BorrowedFd<'_>) -> Result<i32> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let fds = [dir];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let word = [word];
    let word = [IoSlice::new(&word)];
    retry_on_intr(|| sendmsg(socket, &word, &mut control, SendFlags::NOSIGNAL))?;
    let mut answer = [0; 4];
    let got = retry_on_intr(|| rustix::io::read(socket, &mut answer))?;
    if got == 4 { Ok(i32::from_ne_bytes(answer)) } else { Err(Errno::PIPE) }
}

/// Does what was asked for at this end. False at the end of the conversation.
///
/// # Errors
/// Those of the socket.
pub fn serve(socket: BorrowedFd<'_>) -> Result<bool> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0; 1];
    let mut buffer = [IoSliceMut::new(&mut word)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = retry_on_intr(|| recvmsg(socket, &mut buffer, &mut control, flags))?;
    if got.bytes == 0 {
        return Ok(false);
    }
    let mut dir = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            dir = fds.next();
        }
    }
    let done = match (dir, word) {
        (Some(dir), [MARK]) => fsetxattr(&dir, TRUSTED, b"y", XattrFlags::empty()),
        (Some(dir), [LOOK]) => match has(dir.as_fd(), TRUSTED) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Errno::NODATA),
            Err(errno) => Err(errno),
        },
        _ => Err(Errno::BADF),
    };
    let code = done.err().map_or(0, Errno::raw_os_error);
    retry_on_intr(|| rustix::io::write(socket, &code.to_ne_bytes()))?;
    Ok(true)
}
