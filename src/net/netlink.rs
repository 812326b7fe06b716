//! The little of rtnetlink(7) that is needed here: one request, one answer.

use crate::error::{Context, Error, Result, errno};
use crate::sys::netlink::ask_for_words;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use std::os::fd::{AsFd, OwnedFd};

/// linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The kernel's messages are at most half as long (`NLMSG_GOODSIZE`, dumps).
const BUFFER: usize = 64 * 1024;
/// How often a list that changed while it was read is read again.
const TRIES: usize = 16;

/// A request: its type, and the fixed part and attributes that follow.
#[derive(Debug, Clone)]
pub(super) struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
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
        Self { kind, flags: flags | NLM_F_REQUEST | NLM_F_ACK, body: fixed.to_vec() }
    }

    /// A request for a list.
    pub fn list(kind: u16, fixed: &[u8]) -> Self {
        Self { kind, flags: NLM_F_REQUEST | NLM_F_DUMP, body: fixed.to_vec() }
    }

    /// Appends an attribute (`struct rtattr`), padded to four bytes.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = 4 + value.len();
        self.body.extend((length as u16).to_ne_bytes());
        self.body.extend(kind.to_ne_bytes());
        self.body.extend(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    fn bytes(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend(((HEADER + self.body.len()) as u32).to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.body);
        bytes
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
    /// The value of the first of that type.
    pub fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
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
        let call = || "socket(AF_NETLINK, NETLINK_ROUTE)".to_owned();
        // NETLINK_ROUTE is protocol 0.
        let flags = SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).call(call)?;
        ask_for_words(fd.as_fd()).call(call)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups)).call(call)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends a request and returns the answer. A refusal is an error named
    /// `call`, with the kernel's words as its hint.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn ask(&mut self, request: &Request, call: impl Fn() -> String) -> Result<Vec<Message>> {
        for _ in 0..TRIES {
            self.sequence += 1;
            let bytes = request.bytes(self.sequence);
            rustix::io::retry_on_intr(|| send(&self.fd, &bytes, SendFlags::empty())).call(&call)?;
            let answer = self.answer(&call)?;
            if answer.iter().all(|message| message.flags & NLM_F_DUMP_INTR == 0) {
                return Ok(answer);
            }
        }
        Err(Error::new(format!("{}: the list changes all the time", call())))
    }

    fn answer(&self, call: &impl Fn() -> String) -> Result<Vec<Message>> {
        let mut answer = Vec::new();
        loop {
            for message in self.receive(RecvFlags::empty()).call(call)? {
                if message.sequence != self.sequence {
                    continue;
                }
                match message.kind {
                    NLMSG_DONE => return Ok(answer),
                    NLMSG_ERROR => return verdict(&message, call).map(|()| answer),
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
        let (count, _) = rustix::io::retry_on_intr(|| recv(&self.fd, &mut *buffer, flags))?;
        Ok(messages(&buffer[..count]))
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
/// attributes that [`ask_for_words`] has asked for.
fn verdict(message: &Message, call: &impl Fn() -> String) -> Result<()> {
    // A verdict without a number is none.
    let code = number(&message.body).map_or(-libc::EIO, u32::cast_signed);
    if code == 0 {
        return Ok(());
    }
    let error = Error::os(call(), errno(code.saturating_neg()));
    let words = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| message.attributes(4 + HEADER).get(NLMSGERR_ATTR_MSG))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_written() {
        let request = Request::new(16, 0, &[1; 16]).attribute(3, b"eth0\0").attribute(28, &[7; 4]);
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
        let (kind, flags, sequence) = (NLMSG_ERROR, 0, 0);
        let empty = Message { kind, flags, sequence, body: Vec::new() };
        assert!(verdict(&empty, &|| "x".into()).is_err());
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
