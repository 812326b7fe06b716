//! Terminals: the socket on which an engine receives one, and one of our own.

use super::{Call, wait_for};
use rustix::event::PollFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, accept_with, recvmsg,
};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Where a runtime sends a file descriptor: `--console-socket`, `--pidfd-socket`.
pub struct FdSocket {
    listener: UnixListener,
    pub path: PathBuf,
}

impl FdSocket {
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("fd.sock");
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// The one descriptor of the one message, and the message's data.
    pub fn receive(&self) -> (OwnedFd, String) {
        assert!(wait_for(&self.listener, PollFlags::IN), "nobody connected to the socket");
        let peer = accept_with(&self.listener, SocketFlags::CLOEXEC).unwrap();
        assert!(wait_for(&peer, PollFlags::IN), "no message on the socket");
        let mut data = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut data)];
        let got = recvmsg(&peer, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let mut fds: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(fds.len(), 1, "one descriptor");
        let name = String::from_utf8_lossy(&data[..got.bytes]).trim_end_matches('\0').to_owned();
        (fds.remove(0), name)
    }
}

/// A pseudo-terminal of the test, as a user's terminal window has one.
pub struct Terminal {
    pub master: OwnedFd,
    name: String,
}

impl Terminal {
    pub fn new(rows: u16, columns: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = Self { master, name };
        terminal.resize(rows, columns);
        terminal
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// A call of `program` with this terminal as stdio and controlling terminal.
    pub fn call(&self, program: &Path, args: &[&str]) -> Call {
        let tty = || File::options().read(true).write(true).open(&self.name).unwrap();
        Call::new("/usr/bin/setsid")
            .args(["--ctty", "--wait", program.to_str().unwrap()])
            .args(args)
            .stdin_from(tty())
            .output_to(tty(), tty())
    }
}

/// Everything that comes out of a pty's master until its other side is closed.
pub fn read_all(master: &OwnedFd) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(wait_for(master, PollFlags::IN), "the terminal stays open: {text:?}");
        match rustix::io::read(master, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

/// What comes out of a pty's master up to the first `word`.
pub fn read_until(master: &OwnedFd, word: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1];
    while !text.contains(word) {
        assert!(wait_for(master, PollFlags::IN), "no {word:?} in {text:?}");
        let count = rustix::io::read(master, &mut buffer)
            .unwrap_or_else(|error| panic!("{error} before {word:?} in {text:?}"));
        assert!(count > 0, "the end before {word:?} in {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}
