//! The pause between `create` and `start`.

use crate::error::{Context, Error, Kind, Result};
use crate::sync::{ChildEnd, ToChild};
use crate::sys::process::exit_now;
use crate::sys::signal::Signals;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// How many connections may be silent at a time; the oldest gives way.
const SILENT: usize = 8;

/// Where init waits for `start`.
#[derive(Debug)]
pub struct StartSocket {
    /// It listens.
    pub socket: OwnedFd,
    /// What `start` says first. It stands in the record, which the container's owner
    /// and root can read. The uid of a peer (SO_PEERCRED) would not tell them from
    /// others: in a user namespace all users that are not mapped are the same one.
    pub word: Option<String>,
}

/// Waits to be started: by a connection on the container's start socket, or
/// where there is none (`run`, `exec`), by the process that made us. From then
/// on `channel` leads to whoever started us. A `start` that ends before it said so
/// has started nothing: the next one may. One of `signals` ends this process meanwhile.
///
/// # Errors
/// If the other end goes away before it said so.
pub fn wait(channel: &mut ChildEnd, socket: Option<StartSocket>, signals: Signals) -> Result<()> {
    let Some(socket) = socket else { return channel.expect(ToChild::Start) };
    // The runtime has recorded us. If it ends before, nobody would find us.
    channel.expect(ToChild::Done)?;
    loop {
        match socket.accept(&signals) {
            Ok(peer) => *channel = ChildEnd::from_socket(peer),
            Err(error) => {
                // Closed by the end of this process: who sees it closed finds us ending.
                std::mem::forget(socket);
                return Err(error);
            }
        }
        // Who has said the word may be stopped before it says more.
        until_ready(&mut vec![PollFd::new(channel, PollFlags::IN)], &signals)?;
        match channel.expect(ToChild::Start) {
            Err(error) if error.get_kind() == Kind::Killed => {}
            result => return result,
        }
    }
}

/// Waits until one of `fds` is ready. A signal ends this process as it would end a program:
/// the kernel ignores it otherwise, as all are blocked, and the first process of a pid
/// namespace has no defaults (`pid_namespaces(7)`).
fn until_ready<'f>(fds: &mut Vec<PollFd<'f>>, signals: &'f Signals) -> Result<()> {
    fds.push(PollFd::new(signals, PollFlags::IN));
    loop {
        match poll(fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::os("poll the start socket", errno)),
        }
        if fds.last().is_some_and(|fd| !fd.revents().is_empty())
            && let Some(signal) = signals.next().call(|| "read a signalfd".into())?
        {
            exit_now(128 + signal);
        }
        let others = &fds[..fds.len() - 1];
        if others.iter().any(|fd| !fd.revents().is_empty()) {
            fds.pop();
            return Ok(());
        }
    }
}

impl StartSocket {
    /// The first connection that says the word. Others are closed, and who says
    /// nothing keeps nobody waiting.
    fn accept(&self, signals: &Signals) -> Result<OwnedFd> {
        let mut silent: VecDeque<OwnedFd> = VecDeque::new();
        let accepted = self.accept_known(&mut silent, signals);
        if accepted.is_err() {
            std::mem::forget(silent);
        }
        accepted
    }

    fn accept_known(&self, silent: &mut VecDeque<OwnedFd>, signals: &Signals) -> Result<OwnedFd> {
        loop {
            let mut fds = vec![PollFd::new(&self.socket, PollFlags::IN)];
            fds.extend(silent.iter().map(|peer| PollFd::new(peer, PollFlags::IN)));
            until_ready(&mut fds, signals)?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            // Backwards: what is taken out moves those behind it.
            for place in (0..silent.len()).rev().filter(|place| ready[place + 1]) {
                if let Some(peer) = silent.remove(place).filter(|peer| self.is_known(peer)) {
                    return Ok(peer);
                }
            }
            if ready[0] {
                let accept = || accept_with(&self.socket, SocketFlags::CLOEXEC);
                let peer = retry_on_intr(accept).call(|| "accept on the start socket".into())?;
                if self.word.is_none() {
                    return Ok(peer);
                }
                silent.truncate(SILENT - 1);
                silent.push_front(peer);
            }
        }
    }

    fn is_known(&self, peer: &OwnedFd) -> bool {
        let mut said = [0u8; 64];
        let heard = retry_on_intr(|| recv(peer, &mut said, RecvFlags::DONTWAIT));
        match (heard, &self.word) {
            (Ok((count, _)), Some(word)) => &said[..count] == word.as_bytes(),
            _ => false,
        }
    }
}
