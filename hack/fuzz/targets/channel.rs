//! The channel between init and the runtime, both ends, with and without a descriptor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pinnace::error::{Error, errno};
use pinnace::sync::{ChildEnd, ParentEnd, ToChild, ToParent};
use pinnace_fuzz::told;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
};
use rustix::net::{SocketType, sendmsg, socketpair};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

fn pair() -> (OwnedFd, OwnedFd) {
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    pair.unwrap_or_else(|errno| panic!("socketpair: {errno}"))
}

fn send(to: &OwnedFd, packet: &[u8], fds: usize) {
    let fds = vec![to.as_fd(); fds];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(70))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    // A packet that is too long for the socket is not sent.
    let _sent = sendmsg(to, &[IoSlice::new(packet)], &mut control, SendFlags::DONTWAIT).is_ok();
}

fuzz_target!(|data: &[u8]| {
    let [how, packet @ ..] = data else { return };
    let fds = [0, 1, 2, 64, 65][usize::from(*how) % 5];
    // To the runtime.
    let (parent, child) = pair();
    send(&child, packet, fds);
    if fds == 1 {
        send(&child, &vec![b'w'; 20_000], 0);
    }
    let parent = ParentEnd::from_socket(parent);
    drop(child);
    for _ in 0..3 {
        match parent.receive() {
            Ok(None) => break,
            Ok(Some(ToParent::Failed(error))) => again(&error),
            Ok(Some(said)) => told(&format!("{said:?}")),
            Err(error) => told(&error.to_string()),
        }
    }
    // To init.
    let (parent, child) = pair();
    send(&parent, packet, fds);
    send(&parent, packet, fds);
    drop(parent);
    let child = ChildEnd::from_socket(child);
    let expected = [ToChild::Go, ToChild::Done, ToChild::Start][usize::from(*how) % 3];
    let understood = child.expect(expected).is_ok();
    assert!(!understood || packet.len() == 1);
    let _ = child.receive_fds();
    // Any error crosses, whole but for its length.
    let text = String::from_utf8_lossy(packet);
    let (message, hint) =
        text.split_at(text.char_indices().nth(usize::from(*how)).map_or(0, |(at, _)| at));
    again(&Error::os(message, errno(i32::from(*how) * 17)).hint(hint));
});

fn again(error: &Error) {
    let (parent, child) = pair();
    let said = ToParent::Failed(error.clone());
    if let Err(error) = ChildEnd::from_socket(child).send(&said) {
        panic!("{error}");
    }
    let Ok(Some(ToParent::Failed(heard))) = ParentEnd::from_socket(parent).receive() else {
        panic!("not heard: {error:?}");
    };
    let text = heard.to_string();
    assert!(heard.errno() == error.errno());
    // What is long is cut, and a part of no letter takes room, too.
    assert!(heard == *error || error.to_string().len() > 400);
    told(&text);
}
