//! A runtime, one system call at a time: every process of it is held at each call of a list, until
//! the test has looked. What a race would meet once in many tries is met each time
//! (`seccomp_unotify(2)`).
#![allow(unsafe_code)]

use super::agent::{next_call, resume};
use super::call::{Running, SECONDS};
use super::{Call, Output};
use std::io::{Error, Result};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// The calls at which a set-up of a process can change what others may do to it, or what it holds.
const CALLS: &[libc::c_long] = &[
    libc::SYS_capset,
    libc::SYS_chroot,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_execve,
    libc::SYS_exit_group,
    libc::SYS_fchdir,
    libc::SYS_fcntl,
    libc::SYS_getpid,
    libc::SYS_keyctl,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_move_mount,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_open_tree,
    libc::SYS_personality,
    libc::SYS_pivot_root,
    libc::SYS_prctl,
    libc::SYS_recvmsg,
    libc::SYS_sched_setaffinity,
    libc::SYS_seccomp,
    libc::SYS_setgroups,
    libc::SYS_setns,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setsid,
    libc::SYS_symlinkat,
    libc::SYS_umask,
    libc::SYS_unshare,
    libc::SYS_write,
];

/// A process that is held, and the number of the call that it was about to make.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub pid: i32,
    pub call: i32,
}

impl Step {
    /// Its pids, from the test's pid namespace down to its own.
    pub fn pids(self) -> Vec<i32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        line.unwrap_or_default().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Where its link of procfs leads, such as `exe`.
    pub fn link(self, name: &str) -> String {
        let link = std::fs::read_link(format!("/proc/{}/{name}", self.pid));
        link.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// The calls of a runtime and of all that it starts, until the last of these has ended.
pub struct Steps(JoinHandle<()>);

impl Steps {
    /// To be called once nobody is left; fails as the looking did.
    pub fn end(self) {
        if let Err(panic) = self.0.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A runtime that is held at a call.
pub struct Held {
    running: Running,
    go_on: Sender<()>,
}

impl Held {
    /// Lets it go on, to its end.
    pub fn go_on(self) -> Output {
        drop(self.go_on);
        self.running.wait()
    }
}

impl Call {
    /// Starts the program, which is held at each step until `look` has returned.
    pub fn stepwise(self, look: impl FnMut(Step) + Send + 'static) -> (Running, Steps) {
        self.stepwise_at(CALLS, look)
    }

    /// Starts the program and returns when one of its processes is about to make one of `calls`,
    /// for the first time that `is_it` says so. It waits there for `Held::go_on`.
    #[track_caller]
    pub fn held_at(
        self,
        calls: &[libc::c_long],
        mut is_it: impl FnMut() -> bool + Send + 'static,
    ) -> Held {
        let (reached, is_reached) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let mut waits = true;
        let (running, _) = self.stepwise_at(calls, move |_| {
            if waits && is_it() {
                waits = false;
                reached.send(()).ok();
                // Who is gone does not want it held.
                may_go_on.recv().ok();
            }
        });
        let time = Duration::from_secs(SECONDS.unsigned_abs());
        is_reached.recv_timeout(time).expect("it does not come to one of these calls");
        Held { running, go_on }
    }

    /// Starts the program, which is held at each of `calls` until `look` has returned.
    pub fn stepwise_at(
        mut self,
        calls: &[libc::c_long],
        mut look: impl FnMut(Step) + Send + 'static,
    ) -> (Running, Steps) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        // Under a number that the program itself does not come to.
        let theirs = rustix::io::fcntl_dupfd_cloexec(&theirs, SOCKET).unwrap();
        let socket = theirs.as_raw_fd();
        let filter = filter(calls, socket);
        let install = move || send(socket, listen(&filter)?);
        // SAFETY: between fork and exec only system calls are made, with memory
        // that was allocated before.
        unsafe { self.command.pre_exec(install) };
        let steps = spawn(move || {
            let Some(listener) = receive(ours.as_raw_fd()) else { return };
            while let Some((id, pid, call)) = next_call(&listener) {
                look(Step { pid, call });
                resume(&listener, id);
            }
        });
        let running = self.spawn();
        drop(theirs);
        (running, Steps(steps))
    }
}

/// The least number of the socket that takes the listener over.
const SOCKET: RawFd = 900;

/// Each call of the list is told to the listener, all others are let through; so is the
/// message with which the listener is handed over, before which nobody listens.
fn filter(calls: &[libc::c_long], socket: RawFd) -> Vec<libc::sock_filter> {
    let one = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let first = u32::try_from(std::mem::offset_of!(libc::seccomp_data, args)).unwrap();
    let mut program = vec![
        one(0x20, 0, 0, 0),
        one(0x15, 0, 4, u32::try_from(libc::SYS_sendmsg).unwrap()),
        one(0x20, 0, 0, first),
        one(0x15, 0, 1, u32::try_from(socket).unwrap()),
        one(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
        one(0x20, 0, 0, 0),
    ];
    for call in calls {
        program.push(one(0x15, 0, 1, u32::try_from(*call).unwrap()));
        program.push(one(0x06, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    }
    program.push(one(0x06, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

fn listen(filter: &[libc::sock_filter]) -> Result<RawFd> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the kernel reads the filter, which lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    if fd < 0 { Err(Error::last_os_error()) } else { Ok(fd as RawFd) }
}

/// A control message for one descriptor: its header, the descriptor, padding.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    fd: RawFd,
    padding: RawFd,
}

/// Calls `body` with a message of one byte that has room for a descriptor.
fn with_message<T>(fd: RawFd, body: impl FnOnce(&mut libc::msghdr, &mut Control) -> T) -> T {
    // SAFETY: all of these are plain data, for which zero is valid.
    let (mut message, mut header): (libc::msghdr, libc::cmsghdr) = unsafe { zeroed() };
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<RawFd>()) as _;
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    let mut control = Control { header, fd, padding: 0 };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    body(&mut message, &mut control)
}

fn send(socket: RawFd, fd: RawFd) -> Result<()> {
    let sent = with_message(fd, |message, _| {
        // SAFETY: the message and what it points to live until the call returns.
        unsafe { libc::sendmsg(socket, message, 0) }
    });
    if sent < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// `None` if the program could not be started.
fn receive(socket: RawFd) -> Option<OwnedFd> {
    with_message(-1, |message, control| {
        // SAFETY: as above.
        let got = unsafe { libc::recvmsg(socket, message, libc::MSG_CMSG_CLOEXEC) };
        // SAFETY: the kernel has just made this descriptor for us.
        (got > 0 && control.fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(control.fd) })
    })
}
