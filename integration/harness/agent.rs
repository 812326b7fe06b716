//! A seccomp agent: hears of calls under `SCMP_ACT_NOTIFY`, and lets them
//! through (`seccomp_unotify(2)`).
#![allow(unsafe_code)]

use super::wait_for;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};
use std::os::fd::OwnedFd;

/// `struct seccomp_notif`
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    arch: u32,
    pointer: u64,
    args: [u64; 6],
}

/// `struct seccomp_notif_resp`
#[repr(C)]
#[derive(Default)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const RECEIVE: u32 = opcode::read_write::<Notification>(b'!', 0);
const SEND: u32 = opcode::read_write::<Response>(b'!', 1);
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`
const CONTINUE: u32 = 1;

/// Lets every call through until nobody is left under the filter; the numbers
/// of the calls in their order.
pub fn let_through(listener: &OwnedFd) -> Vec<i32> {
    let mut calls = Vec::new();
    loop {
        assert!(wait_for(listener, PollFlags::IN), "no call and no end after {calls:?}");
        let Some((id, _, call)) = next_call(listener) else { return calls };
        calls.push(call);
        resume(listener, id);
    }
}

/// The next call under the filter: its id, process and number. `None` when nobody
/// is left.
pub fn next_call(listener: &OwnedFd) -> Option<(u64, i32, i32)> {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).unwrap();
        if !fds[0].revents().contains(PollFlags::IN) {
            return None;
        }
        let mut call = Notification::default();
        // SAFETY: the request and its structure belong together.
        let request = unsafe { Updater::<RECEIVE, _>::new(&mut call) };
        // SAFETY: the structure lives until the call returns.
        match unsafe { ioctl(listener, request) } {
            // Its process has been killed meanwhile.
            Err(Errno::NOENT | Errno::INTR) => {}
            received => {
                received.unwrap();
                return Some((call.id, call.pid.cast_signed(), call.number));
            }
        }
    }
}

/// Lets a call go on.
pub fn resume(listener: &OwnedFd, id: u64) {
    let mut response = Response { id, flags: CONTINUE, ..Response::default() };
    // SAFETY: the request and its structure belong together.
    let request = unsafe { Updater::<SEND, _>::new(&mut response) };
    // SAFETY: the structure lives until the call returns.
    match unsafe { ioctl(listener, request) } {
        Err(Errno::NOENT) => {}
        sent => sent.unwrap(),
    }
}
