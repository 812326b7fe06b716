//! The channel between a new process and its maker: one SEQPACKET socket pair,
//! one enum a direction, one packet a message. The conversation:
//!
//! ```text
//! parent                              child
//!                                     Spawned + pidfd   only if an intermediate process had to join first; exec: instead of Ready
//! Go             id maps are written, limits raised (only if there is such a thing)
//! fds            cgroup v1: the files to enter by; and for each mount of type `cgroup` what is bound there
//!                                     Hooks             mounts are made; run what belongs before pivot_root
//! Done
//!                                     Console + fd      the terminal's master side
//!                                     Listener + fd     `create`: the filter is loaded and has a notification fd
//!                                     Ready             all is done but what comes after Start
//! Done           recorded (`create` only, which is left alone now)
//! Start          (for `create` over a connection on the container's start socket)
//!                                     Listener + fd     the same, for a filter that had to come last
//!                                     Reports + fd      the filter will forbid to send anything: see `fault_reports`
//!                                     end of file       execve has succeeded, or it is dead
//! ```
//!
//! At any point the child may send `Failed`, and then it ends. The end of the file alone
//! tells nothing: who is killed closes its files, too. So the kernel is asked whether the
//! process has executed a program (`has_executed` in `container/serve.rs`).

mod fault_reports;
mod handover;

pub use fault_reports::{ReportReader, Reporter, cannot_run};
pub use handover::send_fd;

use crate::error::{Context, Error, Kind, Result, errno, start};
use crate::sys::process::{self, Child};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use std::cell::Cell;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The longest packet. What is longer in words is cut.
const PACKET: usize = 16 * 1024;

/// Descriptors in a packet: a host has fewer cgroup hierarchies.
const FDS: usize = 64;

/// What the child sends.
#[derive(Debug)]
pub enum ToParent {
    /// The real process, which another one has made after it joined.
    Spawned(Child),
    /// Run the hooks that belong before `pivot_root`.
    Hooks,
    /// The master side of the terminal.
    Console(OwnedFd),
    /// Waiting to be started.
    Ready,
    /// The notification fd of the seccomp filter.
    Listener(OwnedFd),
    /// How to read the reports that come after this, which are no messages.
    Reports(ReportReader),
    /// Something to log and to go on with.
    Warning(String),
    /// The end.
    Failed(Error),
}

/// What the parent sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToChild {
    /// Ids are mapped, or the cgroup is entered.
    Go,
    /// What was asked for is done.
    Done,
    /// Become the user's program.
    Start,
}

/// The maker's end.
#[derive(Debug)]
pub struct ParentEnd {
    socket: OwnedFd,
    /// Whether the other side was closed before it had read all of ours.
    is_unread: Cell<bool>,
}

/// The new process's end.
#[derive(Debug)]
pub struct ChildEnd(OwnedFd);

/// A connected pair, closed on exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub fn pair() -> Result<(ParentEnd, ChildEnd)> {
    let (parent, child) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .call(|| "socketpair".into())?;
    Ok((ParentEnd::from_socket(parent), ChildEnd(child)))
}

impl ParentEnd {
    /// An end made from a connection to a container's start socket.
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self { socket, is_unread: Cell::new(false) }
    }

    /// Whether the child is gone without having read all that was said: the kernel tells
    /// by `ECONNRESET` (unix(7)). What it has done then, another has told it to do.
    pub fn is_unread(&self) -> bool {
        self.is_unread.get()
    }

    /// Notes that.
    pub fn set_unread(&self) {
        self.is_unread.set(true);
    }

    /// Says `message`. A child that is gone is noticed by the next [`Self::receive`].
    ///
    /// # Errors
    /// Those of sendmsg(2), but for a closed connection.
    pub fn send(&self, message: ToChild) -> Result<()> {
        let byte = match message {
            ToChild::Go => b'g',
            ToChild::Done => b'd',
            ToChild::Start => b's',
        };
        self.send_packet(byte, &[])
    }

    /// Hands over descriptors, by the expectation of the other side: what they
    /// are is not said.
    ///
    /// # Errors
    /// Those of sendmsg(2), but for a closed connection.
    pub fn send_fds(&self, fds: &[OwnedFd]) -> Result<()> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.send_packet(b'f', &fds)
    }

    fn send_packet(&self, kind: u8, fds: &[BorrowedFd<'_>]) -> Result<()> {
        match send(self.socket.as_fd(), &[kind], fds) {
            Err(Errno::PIPE | Errno::CONNRESET) => {
                self.set_unread();
                Ok(())
            }
            result => result.call(|| "sendmsg to init".into()),
        }
    }

    /// The next message; `None` when the child has closed its end.
    ///
    /// # Errors
    /// Those of recvmsg(2), or a packet that nobody sends.
    pub fn receive(&self) -> Result<Option<ToParent>> {
        let mut packet = [0; PACKET];
        let received = match receive(self.socket.as_fd(), &mut packet) {
            // The child has ended with data of ours unread. The kernel reports that once, and
            // delivers the child's last messages after it.
            Err(Errno::CONNRESET) => {
                self.set_unread();
                receive(self.socket.as_fd(), &mut packet)
            }
            received => received,
        };
        let (length, fds) = match received {
            Ok(received) => received,
            Err(Errno::CONNRESET) => return Ok(None),
            Err(errno) => return Err(Error::os("recvmsg from init", errno)),
        };
        let Some((kind, body)) = packet[..length].split_first() else { return Ok(None) };
        decode(*kind, body, fds.into_iter().next()).map(Some).ok_or_else(|| {
            Error::new(format!("init sent a packet of kind {kind} that makes no sense"))
        })
    }
}

impl AsFd for ParentEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ChildEnd {
    /// An end made from a connection accepted on the start socket.
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Says `message`.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn send(&self, message: &ToParent) -> Result<()> {
        let mut packet = Vec::with_capacity(64);
        let mut fd = None;
        match message {
            ToParent::Spawned(child) => {
                packet.push(b'p');
                packet.extend_from_slice(&child.pid.as_raw_nonzero().get().to_le_bytes());
                fd = Some(child.pidfd.as_fd());
            }
            ToParent::Hooks => packet.push(b'h'),
            ToParent::Console(master) => {
                packet.push(b'c');
                fd = Some(master.as_fd());
            }
            ToParent::Ready => packet.push(b'r'),
            ToParent::Listener(listener) => {
                packet.push(b'l');
                fd = Some(listener.as_fd());
            }
            ToParent::Reports(reader) => {
                packet.push(b'q');
                packet.extend_from_slice(&reader.start.to_le_bytes());
                packet.extend_from_slice(&reader.listener.unwrap_or(-1).to_le_bytes());
                packet.extend_from_slice(start(&reader.program, PACKET - 64).as_bytes());
                fd = Some(reader.faults.as_fd());
            }
            ToParent::Warning(text) => {
                packet.push(b'w');
                packet.extend_from_slice(start(text, PACKET - 64).as_bytes());
            }
            ToParent::Failed(error) => {
                packet.push(match error.get_kind() {
                    Kind::Hook => b'k',
                    Kind::NotShown => b'n',
                    _ => b'e',
                });
                packet.extend(error.encode(PACKET - 64));
            }
        }
        send(self.0.as_fd(), &packet, fd.as_slice()).call(|| "sendmsg to the runtime".into())
    }

    /// Waits for `expected`.
    ///
    /// # Errors
    /// If the runtime is gone, or says something else.
    pub fn expect(&self, expected: ToChild) -> Result<()> {
        let message = match self.receive_packet()?.0 {
            b'g' => ToChild::Go,
            b'd' => ToChild::Done,
            b's' => ToChild::Start,
            _ => return Err(Error::new("the runtime sent a packet that makes no sense")),
        };
        if message == expected {
            return Ok(());
        }
        Err(Error::new(format!("the runtime said {message:?} where {expected:?} was due")))
    }

    /// Waits for descriptors.
    ///
    /// # Errors
    /// If the runtime is gone, or says something else.
    pub fn receive_fds(&self) -> Result<Vec<OwnedFd>> {
        match self.receive_packet()? {
            (b'f', fds) => Ok(fds),
            _ => Err(Error::new("the runtime sent a packet that makes no sense")),
        }
    }

    fn receive_packet(&self) -> Result<(u8, Vec<OwnedFd>)> {
        let mut packet = [0; 8];
        let (length, fds) =
            receive(self.0.as_fd(), &mut packet).call(|| "recvmsg from the runtime".into())?;
        match &packet[..length] {
            [kind] => Ok((*kind, fds)),
            [] => Err(Error::new("the runtime ended while init waited for it").kind(Kind::Killed)),
            _ => Err(Error::new("the runtime sent a packet that makes no sense")),
        }
    }
}

impl AsRawFd for ChildEnd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn decode(kind: u8, body: &[u8], fd: Option<OwnedFd>) -> Option<ToParent> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match kind {
        b'p' => {
            let pid = process::one(i32::from_le_bytes(body.try_into().ok()?))?;
            ToParent::Spawned(Child { pid, pidfd: fd? })
        }
        b'h' => ToParent::Hooks,
        b'c' => ToParent::Console(fd?),
        b'r' => ToParent::Ready,
        b'l' => ToParent::Listener(fd?),
        b'q' => {
            let (start, body) = body.split_first_chunk::<8>()?;
            let (listener, program) = body.split_first_chunk::<4>()?;
            let listener = i32::from_le_bytes(*listener);
            ToParent::Reports(ReportReader {
                faults: fd?,
                start: u64::from_le_bytes(*start),
                listener: (listener >= 0).then_some(listener),
                program: text(program),
            })
        }
        b'w' => ToParent::Warning(text(body)),
        b'e' | b'k' | b'n' => {
            let kind = match kind {
                b'k' => Kind::Hook,
                b'n' => Kind::NotShown,
                _ => Kind::Other,
            };
            ToParent::Failed(Error::decode(kind, body).or_else(|| older(kind, body))?)
        }
        _ => return None,
    })
}

/// The forms of before, as this version may start what an older one has created. Each begins with
/// errno. Then 0.1.0 had the message and the hint, with a NUL between them; what came after it, the
/// length of the message, the message and the hint. No packet is as long as four letters would say.
fn older(kind: Kind, body: &[u8]) -> Option<Error> {
    let (code, rest) = body.split_first_chunk::<4>()?;
    let (first, counted) = rest.split_first_chunk::<4>()?;
    let (message, hint) = if first.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        (&rest[..end], rest.get(end + 1..).unwrap_or_default())
    } else {
        counted.split_at_checked(u32::from_le_bytes(*first) as usize)?
    };
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let error = match i32::from_le_bytes(*code) {
        0 => Error::new(text(message)),
        code => Error::os(text(message), errno(code)),
    };
    Some(if hint.is_empty() { error } else { error.hint(text(hint)) }.kind(kind))
}

fn send(socket: BorrowedFd<'_>, packet: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    if fds.len() > FDS {
        return Err(Errno::TOOMANYREFS);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, packet: &mut [u8]) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            fds.extend(some);
        }
    }
    // Half a message says something else than the whole.
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((received.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_unchanged_and_the_end_of_file_is_seen() {
        let (parent, child) = pair().unwrap();
        let error = Error::os("mount x", Errno::PERM).at("mounts[1]").hint("be root");
        child.send(&ToParent::Failed(error.clone())).unwrap();
        child.send(&ToParent::Ready).unwrap();
        drop(child);
        assert!(matches!(parent.receive().unwrap(), Some(ToParent::Failed(e)) if e == error));
        assert!(matches!(parent.receive().unwrap(), Some(ToParent::Ready)));
        assert!(parent.receive().unwrap().is_none());
    }

    #[test]
    fn an_error_of_an_init_of_before_is_understood() {
        for message in ["exec /x", &"x".repeat(usize::from(b'c')), &"x".repeat(0x6300 + 0x68)] {
            let length = (message.len() as u32).to_le_bytes();
            let packet = [&2_i32.to_le_bytes()[..], &length, message.as_bytes(), b"look"].concat();
            let Some(ToParent::Failed(error)) = decode(b'k', &packet, None) else { panic!() };
            assert_eq!(error, Error::os(message, Errno::NOENT).hint("look").kind(Kind::Hook));
        }
    }

    #[test]
    fn an_error_of_an_init_of_0_1_0_is_understood() {
        for (words, hint) in [("exec /x\0look", "look"), ("exec /x\0", ""), ("exec /x", "")] {
            let packet = [&2_i32.to_le_bytes()[..], words.as_bytes()].concat();
            let Some(ToParent::Failed(error)) = decode(b'e', &packet, None) else { panic!() };
            let expected = Error::os("exec /x", Errno::NOENT);
            assert_eq!(error, if hint.is_empty() { expected } else { expected.hint(hint) });
        }
    }

    #[test]
    fn a_number_that_names_no_process_makes_no_sense() {
        for number in [0, -1, i32::MIN] {
            assert!(
                decode(b'p', &i32::to_le_bytes(number), pair().ok().map(|(end, _)| end.socket))
                    .is_none()
            );
        }
    }

    #[test]
    fn words_with_nul_and_of_any_length_stay_apart() {
        for (message, hint) in [
            ("/p\0q: invalid argument".to_owned(), "a\0b".to_owned()),
            ("\u{e4}".repeat(PACKET), "hint".to_owned()),
            ("m".to_owned(), "\u{e4}".repeat(PACKET)),
            ("m".repeat(PACKET * 2), "h".repeat(PACKET)),
        ] {
            let (parent, child) = pair().unwrap();
            let error = Error::os(message.clone(), Errno::INVAL).hint(hint.clone());
            child.send(&ToParent::Failed(error)).unwrap();
            let Some(ToParent::Failed(error)) = parent.receive().unwrap() else { panic!() };
            assert_eq!(error.errno(), Some(Errno::INVAL));
            let got = error.outwards().next().unwrap();
            assert!(message.starts_with(got) && got.len() >= message.len().min(12_000));
            let kept: String = hint.chars().take(1000).collect();
            assert!(error.to_string().contains(&format!(" ({kept}")));
            child.send(&ToParent::Warning(message.clone())).unwrap();
            let Some(ToParent::Warning(got)) = parent.receive().unwrap() else { panic!() };
            assert!(message.starts_with(&got) && got.len() >= message.len().min(12_000));
        }
    }

    #[test]
    fn no_packet_makes_the_runtime_panic() {
        for errno in [4096, -1, i32::MIN, i32::MAX] {
            for length in [0, 1, 2, 3, u32::MAX] {
                let mut body = i32::to_le_bytes(errno).to_vec();
                body.push(b'c');
                body.extend(length.to_le_bytes());
                body.extend(b"xy");
                assert_eq!(decode(b'e', &body, None).is_some(), length == 2, "{errno} {length}");
            }
        }
        let (parent, child) = pair().unwrap();
        rustix::io::write(&child, &[b'w'; PACKET + 1]).unwrap();
        assert!(parent.receive().is_err());
        rustix::io::write(&parent, &[b'g'; 9]).unwrap();
        assert!(child.expect(ToChild::Go).is_err());
    }

    #[test]
    fn descriptors_cross_in_their_order() {
        let (parent, child) = pair().unwrap();
        let fds = || (0..20).map(|_| rustix::pipe::pipe().unwrap().0).collect::<Vec<_>>();
        let sent = fds();
        parent.send_fds(&sent).unwrap();
        parent.send_fds(&[]).unwrap();
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let inodes = |fds: &[OwnedFd]| fds.iter().map(inode).collect::<Vec<_>>();
        assert_eq!(inodes(&child.receive_fds().unwrap()), inodes(&sent));
        assert!(child.receive_fds().unwrap().is_empty());
        parent.send(ToChild::Go).unwrap();
        assert!(child.receive_fds().is_err());
        let many: Vec<_> = (0..FDS + 1).map(|_| rustix::pipe::pipe().unwrap().0).collect();
        assert!(parent.send_fds(&many).is_err());
    }

    #[test]
    fn last_words_are_heard_though_ours_were_not_read() {
        let (parent, child) = pair().unwrap();
        parent.send(ToChild::Go).unwrap();
        child.send(&ToParent::Failed(Error::new("no"))).unwrap();
        drop(child);
        assert!(matches!(parent.receive().unwrap(), Some(ToParent::Failed(_))));
        assert!(parent.receive().unwrap().is_none());
        assert!(parent.is_unread());
    }

    #[test]
    fn the_child_notices_a_wrong_word_and_a_lost_runtime() {
        let (parent, child) = pair().unwrap();
        parent.send(ToChild::Go).unwrap();
        parent.send(ToChild::Done).unwrap();
        assert!(child.expect(ToChild::Go).is_ok());
        assert!(child.expect(ToChild::Start).is_err());
        drop(parent);
        assert!(child.expect(ToChild::Start).is_err());
    }
}
