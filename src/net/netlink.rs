//! The little of netlink(7) that is needed here: one request, one answer; several requests in
//! one write; and batches, which nfnetlink carries out whole or not at all.

use crate::error::{Context, Error, Result, errno};
use crate::sys::netlink::enable_extended_ack;
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, send,
    socket_with,
};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLA_F_NESTED: u16 = 0x8000;
/// `NLM_F_EXCL | NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x200 | 0x400;
/// linux/netfilter/nfnetlink.h.
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The kernel's messages are at most half as long (`NLMSG_GOODSIZE`, dumps).
const BUFFER: usize = 64 * 1024;
/// How long a list that changes while it is read is read again.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// What a socket's buffer takes without being asked to (net.core.wmem_default).
const USUAL_SEND_BUFFER: usize = 200 * 1024;

/// How a call is named when it fails.
pub(super) type Name<'a> = &'a dyn Fn() -> String;

/// A request: its type, and the fixed part and attributes that follow.
#[derive(Debug, Clone)]
pub(super) struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
    /// Refusals that are none ([`Socket::ask_all`]).
    excused: &'static [Errno],
}

/// A message of the kernel.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub kind: u16,
    flags: u16,
    sequence: u32,
    pub body: Vec<u8>,
}

/// A socket, in the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Request {
    /// A request whose answer is one message, or only that it is done.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        Self { kind, flags: flags | NLM_F_REQUEST | NLM_F_ACK, body: fixed.to_vec(), excused: &[] }
    }

    /// A request for a list.
    pub fn list(kind: u16, fixed: &[u8]) -> Self {
        Self { kind, flags: NLM_F_REQUEST | NLM_F_DUMP, body: fixed.to_vec(), excused: &[] }
    }

    /// A request that is a part of a batch: only a refusal is answered.
    pub fn part(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        Self { kind, flags: flags | NLM_F_REQUEST, body: fixed.to_vec(), excused: &[] }
    }

    /// The same, of which such a refusal is none.
    pub fn excuse(self, excused: &'static [Errno]) -> Self {
        Self { excused, ..self }
    }

    /// What follows the header.
    #[cfg(test)]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// How long it will be.
    pub fn len(&self) -> usize {
        HEADER + self.body.len()
    }

    /// Appends an attribute (`struct rtattr`), padded to four bytes.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = 4 + value.len();
        self.body.extend_from_slice(&(length as u16).to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    /// Appends an attribute that holds others.
    pub fn nested(&mut self, kind: u16, fill: &dyn Fn(&mut Self)) -> &mut Self {
        let start = self.body.len();
        self.attribute(kind | NLA_F_NESTED, &[]);
        fill(self);
        // An attribute is shorter than 64 KiB: who fills it sees to that.
        let length = (self.body.len() - start) as u16;
        self.body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Appends a C string.
    pub fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut value = Vec::with_capacity(text.len() + 1);
        value.extend_from_slice(text.as_bytes());
        value.push(0);
        self.attribute(kind, &value)
    }

    /// Appends a number in the machine's order.
    pub fn number(&mut self, kind: u16, number: u32) -> &mut Self {
        self.attribute(kind, &number.to_ne_bytes())
    }

    /// Appends a number as netfilter has them: big-endian.
    pub fn be32(&mut self, kind: u16, number: u32) -> &mut Self {
        self.attribute(kind, &number.to_be_bytes())
    }

    /// Appends bytes that are part of the fixed structure of a nested attribute.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.body.extend_from_slice(bytes);
        self
    }

    fn bytes(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, 0, sequence);
        bytes
    }

    /// Appends the message; `body` is always a multiple of four bytes long.
    fn write(&self, bytes: &mut Vec<u8>, flags: u16, sequence: u32) {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&(self.len() as u32).to_ne_bytes());
        header[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(self.flags | flags).to_ne_bytes());
        header[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&self.body);
    }
}

impl Message {
    /// The attributes after a fixed part of that length.
    pub fn attributes(&self, fixed: usize) -> Attributes<'_> {
        Attributes(self.body.get(fixed..).unwrap_or_default())
    }

    /// A 32-bit number of the fixed part.
    pub fn number(&self, at: usize) -> u32 {
        number(self.body.get(at..).unwrap_or_default()).unwrap_or_default()
    }
}

/// A native 32-bit number at the beginning of `bytes`.
pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Attributes, as type and value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Those that are in the value of another.
    pub fn of(value: &'a [u8]) -> Self {
        Self(value)
    }

    /// The value of the first of that type.
    pub fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// Those within the first of that type.
    pub fn within(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        // The two upper bits are flags (linux/netlink.h, NLA_TYPE_MASK).
        let kind = u16::from_ne_bytes(*self.0.get(2..)?.first_chunk()?) & 0x3fff;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl Socket {
    /// A socket in the present network namespace; with `groups`, one that hears
    /// of what happens there.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2).
    pub fn open(groups: u32) -> Result<Self> {
        // NETLINK_ROUTE is protocol 0.
        Self::of(None, groups, "socket(AF_NETLINK, NETLINK_ROUTE)")
    }

    /// A socket for nf_tables and conntrack.
    ///
    /// # Errors
    /// Those of socket(2): `EPROTONOSUPPORT` of a kernel without netfilter.
    pub fn netfilter() -> Result<Self> {
        Self::of(Some(NETFILTER), 0, "socket(AF_NETLINK, NETLINK_NETFILTER)")
    }

    fn of(protocol: Option<Protocol>, groups: u32, call: &str) -> Result<Self> {
        let call = || call.to_owned();
        let flags = SocketFlags::CLOEXEC;
        let fd =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol).call(call)?;
        enable_extended_ack(fd.as_fd()).call(call)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups)).call(call)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends a request and returns the answer. A refusal is an error named
    /// `call`, with the kernel's words as its hint.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn ask(&mut self, request: &Request, call: Name<'_>) -> Result<Vec<Message>> {
        let mut until = None;
        loop {
            self.sequence += 1;
            let bytes = request.bytes(self.sequence);
            rustix::io::retry_on_intr(|| send(&self.fd, &bytes, SendFlags::empty())).call(call)?;
            if let Some(answer) = self.answer(call)? {
                return Ok(answer);
            }
            if *until.get_or_insert_with(|| Instant::now() + LIST_TIMEOUT) <= Instant::now() {
                return Err(Error::new("the list changes all the time").at(call()));
            }
        }
    }

    /// Sends several requests in one write. Each is carried out, whatever becomes of another.
    /// The refusal of the first of them that is refused is the error; `call` names it by its
    /// place.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ask_all(&mut self, requests: &[Request], call: &dyn Fn(usize) -> String) -> Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        let first = self.sequence + 1;
        let mut bytes = Vec::new();
        for request in requests {
            self.sequence += 1;
            request.write(&mut bytes, NLM_F_ACK, self.sequence);
        }
        self.send_whole(&bytes, &|| call(0))?;
        let mut left = requests.len();
        let mut result = Ok(());
        while left > 0 {
            for message in self.receive(RecvFlags::empty()).call(|| call(0))? {
                let place = message.sequence.wrapping_sub(first) as usize;
                if message.kind == NLMSG_ERROR && place < requests.len() {
                    left -= 1;
                    let excused = requests[place].excused;
                    result = match verdict(&message, &|| call(place)) {
                        Err(error) if error.errno().is_some_and(|no| excused.contains(&no)) => {
                            result
                        }
                        verdict => result.and(verdict),
                    };
                }
            }
        }
        result
    }

    /// Has a subsystem of nfnetlink carry out all requests, or none.
    ///
    /// # Errors
    /// The first refusal.
    pub fn batch(&mut self, subsystem: u16, requests: &[Request], call: Name<'_>) -> Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        // struct nfgenmsg: family, version, and the subsystem as a big-endian number.
        let [high, low] = subsystem.to_be_bytes();
        let edge = |kind| Request::part(kind, 0, &[0, 0, high, low]);
        let begin = self.sequence + 1;
        let last = begin + requests.len() as u32;
        self.sequence = last + 1;
        let mut bytes = Vec::new();
        edge(NFNL_MSG_BATCH_BEGIN).write(&mut bytes, 0, begin);
        for (request, sequence) in requests.iter().zip(begin + 1..) {
            let flags = if sequence == last { NLM_F_ACK } else { 0 };
            request.write(&mut bytes, flags, sequence);
        }
        edge(NFNL_MSG_BATCH_END).write(&mut bytes, 0, self.sequence);
        self.send_whole(&bytes, call)?;
        // What there is to answer has been when send(2) returns. A refusal of the whole names
        // its first message and may be all; else the last message is answered after the others.
        let mut result = Err(Error::os(call(), Errno::IO).hint("the kernel does not answer"));
        loop {
            let messages = match self.receive(RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => return result,
                // More refusals than the socket holds: the first of them are there.
                Err(Errno::NOBUFS) => continue,
                messages => messages.call(call)?,
            };
            for message in messages {
                if message.kind != NLMSG_ERROR || !(begin..=last).contains(&message.sequence) {
                    continue;
                }
                match verdict(&message, call) {
                    Err(refusal) => return self.heard().and(Err(refusal)),
                    Ok(()) if message.sequence == last => result = Ok(()),
                    Ok(()) => {}
                }
            }
        }
    }

    fn send_whole(&self, bytes: &[u8], call: Name<'_>) -> Result<()> {
        if bytes.len() > USUAL_SEND_BUFFER {
            // The kernel doubles it, for what it keeps beside the bytes.
            set_socket_send_buffer_size_force(&self.fd, bytes.len() + BUFFER).call(call)?;
        }
        let sent = rustix::io::retry_on_intr(|| send(&self.fd, bytes, SendFlags::empty()));
        sent.call(call).map(drop)
    }

    /// None if it is a list that has changed while it was read: one may lack in it.
    fn answer(&self, call: Name<'_>) -> Result<Option<Vec<Message>>> {
        let (mut answer, mut is_whole) = (Vec::new(), true);
        loop {
            for message in self.receive(RecvFlags::empty()).call(call)? {
                if message.sequence != self.sequence {
                    continue;
                }
                is_whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return verdict(&message, call).map(|()| is_whole.then_some(answer));
                    }
                    _ => answer.push(message),
                }
            }
        }
    }

    /// What has been heard since the last time.
    ///
    /// # Errors
    /// Those of recv(2). What was lost, because too much was said, is not one.
    pub fn heard(&self) -> Result<Vec<Message>> {
        let mut heard = Vec::new();
        loop {
            match self.receive(RecvFlags::DONTWAIT) {
                Ok(messages) => heard.extend(messages),
                Err(Errno::AGAIN) => return Ok(heard),
                Err(Errno::NOBUFS) => {}
                Err(errno) => return Err(Error::os("recv from netlink", errno)),
            }
        }
    }

    fn receive(&self, flags: RecvFlags) -> rustix::io::Result<Vec<Message>> {
        let mut buffer = vec![0; BUFFER];
        let (count, _, from) =
            rustix::io::retry_on_intr(|| recvfrom(&self.fd, &mut *buffer, flags))?;
        // Who is privileged in a container's namespace may send to sockets there: the kernel is 0.
        let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
        let is_kernel = from.is_some_and(|from| from.pid() == 0);
        Ok(if is_kernel { messages(&buffer[..count]) } else { Vec::new() })
    }
}

fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(length) = number(bytes).map(|length| length as usize) {
        let Some(message) = bytes.get(..length).filter(|message| message.len() >= HEADER) else {
            break;
        };
        let short = |at: usize| u16::from_ne_bytes([message[at], message[at + 1]]);
        messages.push(Message {
            kind: short(4),
            flags: short(6),
            sequence: number(&message[8..]).unwrap_or_default(),
            body: message[HEADER..].to_vec(),
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// `struct nlmsgerr`: 0 or a negative errno, the head of the request, and the
/// attributes that [`enable_extended_ack`] has asked for. A list ends with the number and these.
fn verdict(message: &Message, call: Name<'_>) -> Result<()> {
    // A verdict without a number is none.
    let (missing, head) = if message.kind == NLMSG_DONE { (0, 0) } else { (-libc::EIO, HEADER) };
    let code = number(&message.body).map_or(missing, u32::cast_signed);
    if code == 0 {
        return Ok(());
    }
    let error = Error::os(call(), errno(code.saturating_neg()));
    let words = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| message.attributes(4 + head).get(NLMSGERR_ATTR_MSG))
        .flatten();
    match words.map(|words| String::from_utf8_lossy(words).trim_end_matches('\0').to_owned()) {
        Some(words) if !words.is_empty() => Err(error.hint(format!("the kernel says: {words}"))),
        _ => Err(error),
    }
}

/// Reads whatever the kernel may say; for hack/fuzz.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    for message in messages(bytes) {
        let _verdict = verdict(&message, &|| "fuzz".into()).is_ok();
        message.attributes(16).for_each(drop);
        message.attributes(message.number(4) as usize).get(3);
    }
    Attributes(bytes).for_each(drop);
}

/// Compares the bytes after the header, sixteen a line.
#[cfg(test)]
#[track_caller]
pub(super) fn golden(request: &Request, wanted: &[&str]) {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<_> = request.body().chunks(16).map(line).collect();
    assert_eq!(lines, wanted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_written() {
        let mut request = Request::new(16, 0, &[1; 16]);
        request.attribute(3, b"eth0\0").attribute(28, &[7; 4]);
        let bytes = request.bytes(9);
        assert_eq!(bytes.len(), 16 + 16 + 12 + 8);
        let all = messages(&bytes);
        assert_eq!((all.len(), all[0].kind, all[0].sequence), (1, 16, 9));
        let found: Vec<_> = all[0].attributes(16).collect();
        assert_eq!(found, [(3, &b"eth0\0"[..]), (28, &[7; 4][..])]);
        assert_eq!(all[0].attributes(16).get(28), Some(&[7; 4][..]));
    }

    #[test]
    fn any_verdict_is_an_answer() {
        for code in [0, -1, -4095, -4096, 1, i32::MIN, i32::MAX] {
            let (kind, flags, sequence) = (NLMSG_ERROR, NLM_F_ACK_TLVS, 0);
            let message = Message { kind, flags, sequence, body: i32::to_ne_bytes(code).to_vec() };
            assert_eq!(verdict(&message, &|| "x".into()).is_ok(), code == 0, "{code}");
        }
        for (kind, is_ok) in [(NLMSG_ERROR, false), (NLMSG_DONE, true)] {
            let empty = Message { kind, flags: 0, sequence: 0, body: Vec::new() };
            assert_eq!(verdict(&empty, &|| "x".into()).is_ok(), is_ok);
        }
    }

    #[test]
    fn a_list_that_ends_with_an_error_is_none() {
        let mut body = i32::to_ne_bytes(-libc::EINVAL).to_vec();
        body.extend([8, 0, NLMSGERR_ATTR_MSG as u8, 0, b'w', b'h', b'y', 0]);
        let message = Message { kind: NLMSG_DONE, flags: NLM_F_ACK_TLVS, sequence: 0, body };
        let error = verdict(&message, &|| "list".into()).unwrap_err().to_string();
        assert!(error.starts_with("list: invalid argument") && error.contains("why"), "{error}");
    }

    #[test]
    fn only_the_kernel_is_heard() {
        use rustix::net::{getsockname, sendto};
        let (ours, theirs) = (Socket::open(0).unwrap(), Socket::open(0).unwrap());
        let address = SocketAddrNetlink::try_from(getsockname(&ours.fd).unwrap()).unwrap();
        let forged = Request::new(NLMSG_DONE, 0, &[0; 4]).bytes(1);
        // It takes a privilege over the namespace, as a container may have over its own.
        if sendto(&theirs.fd, &forged, SendFlags::empty(), &address) == Err(Errno::PERM) {
            return;
        }
        assert!(ours.receive(RecvFlags::DONTWAIT).unwrap().is_empty());
    }

    #[test]
    fn broken_messages_end_the_reading() {
        assert!(messages(&[]).is_empty());
        assert!(messages(&[8, 0, 0, 0, 1, 0, 0, 0]).is_empty());
        assert!(messages(&[255; 20]).is_empty());
        assert_eq!(Attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(Attributes(&[200, 0, 1, 0, 1, 2]).count(), 0);
    }
}
