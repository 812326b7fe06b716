//! The system calls that only the crash harness makes: ptrace(2), fork(2), the wait for whoever
//! ends, the alarm that ends such a wait.
#![allow(unsafe_code)]
#![allow(clippy::unnecessary_cast)] // some types of libc differ between glibc and musl

use std::io::{Error, Result};
use std::mem::{size_of_val, zeroed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the crash harness knows the registers of x86_64 only");

pub const CONT: u32 = libc::PTRACE_CONT as u32;
pub const SYSCALL: u32 = libc::PTRACE_SYSCALL as u32;
/// These numbers are of ptrace.h: libc has them for some systems only.
pub const INTERRUPT: u32 = 0x4207;
pub const LISTEN: u32 = 0x4208;
const GET_SYSCALL_INFO: u32 = 0x420e;
/// The event of a stop that PTRACE_INTERRUPT or a stopping signal has caused.
pub const EVENT_STOP: i32 = 128;

/// Where in a system call a stopped process is.
pub enum Info {
    /// About to make the call of that number.
    Entry(i64),
    Exit,
}

fn request(request: u32, pid: i32, addr: usize, data: usize) -> Result<i64> {
    // SAFETY: the kernel writes to the memory of ours at `data` only for the requests below that
    // pass a pointer, to a structure of theirs that lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, u64::from(request), pid, addr, data) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// A request about a tracee with a number as its data, such as a signal.
pub fn ptrace(what: u32, pid: i32, data: i32) -> Result<()> {
    request(what, pid, 0, data as usize).map(drop)
}

/// Begins to trace a process, with all that it will make.
pub fn seize(pid: i32) -> Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    request(libc::PTRACE_SEIZE as u32, pid, 0, options as usize).map(drop)
}

/// The process that has just been made.
pub fn event_message(tid: i32) -> Option<i32> {
    let mut message: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG as u32, tid, 0, &raw mut message as usize).ok()?;
    i32::try_from(message).ok().filter(|pid| *pid > 0)
}

/// `None` if it has been killed, or is not in a call.
pub fn call_info(tid: i32) -> Option<Info> {
    // The first part of `struct ptrace_syscall_info`: op and padding, architecture, two pointers, number.
    let mut info = [0_u64; 4];
    request(GET_SYSCALL_INFO, tid, size_of_val(&info), &raw mut info as usize).ok()?;
    match info[0] & 0xff {
        1 => Some(Info::Entry(info[3].cast_signed())),
        2 => Some(Info::Exit),
        _ => None,
    }
}

fn change_registers(tid: i32, change: impl FnOnce(&mut libc::user_regs_struct)) {
    // SAFETY: plain numbers, for which zero is valid.
    let mut registers: libc::user_regs_struct = unsafe { zeroed() };
    if request(libc::PTRACE_GETREGS as u32, tid, 0, &raw mut registers as usize).is_ok() {
        change(&mut registers);
        // If it has been killed meanwhile, nothing is to be changed.
        request(libc::PTRACE_SETREGS as u32, tid, 0, &raw mut registers as usize).ok();
    }
}

/// At entry of a call: it will not be done.
pub fn skip_call(tid: i32) {
    change_registers(tid, |registers| registers.orig_rax = u64::MAX);
}

/// At exit of a call: it fails.
pub fn set_result(tid: i32, errno: i32) {
    change_registers(tid, |registers| registers.rax = i64::from(-errno).cast_unsigned());
}

/// A child that runs `body` and ends with its result. To be called by a process of one thread only.
pub fn fork(body: impl FnOnce() -> i32) -> Result<i32> {
    // SAFETY: the process has one thread, so the child finds no lock taken.
    match unsafe { libc::fork() } {
        0 => {
            let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(126);
            // SAFETY: it ends the process; nothing of the parent's is run or flushed.
            unsafe { libc::_exit(code) }
        }
        pid if pid > 0 => Ok(pid),
        _ => Err(Error::last_os_error()),
    }
}

pub fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) };
}

/// The next child or tracee that has ended or stopped, reaped, with its status; `None`: there are
/// none at all, or, without `block`, none for now. An alarm ends the wait with EINTR.
pub fn wait_any(block: bool) -> Result<Option<(i32, i32)>> {
    let mut status = 0;
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    // SAFETY: the status lives until the call returns.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
    match pid {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some((pid, status))),
        _ => match Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            error => Err(error),
        },
    }
}

extern "C" fn on_alarm(_: i32) {}

/// From then on waits are ended, again and again. No time: no more.
pub fn alarm(after: Duration) -> Result<()> {
    // SAFETY: plain data, for which zero is valid.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = on_alarm as *const () as usize;
    // SAFETY: the handler does nothing, so it may run at any time.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    let again = libc::timeval { tv_sec: 0, tv_usec: if after.is_zero() { 0 } else { 20_000 } };
    let first =
        libc::timeval { tv_sec: after.as_secs() as i64, tv_usec: after.subsec_micros().into() };
    let timer = libc::itimerval { it_interval: again, it_value: first };
    // SAFETY: the timer is read before the call returns.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    if set < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Whoever loses its parent among our descendants becomes our child.
pub fn be_subreaper() -> Result<()> {
    // SAFETY: no memory is involved.
    let set = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    if set < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// The kernel kills us when the process that made us ends.
pub fn die_with_parent() -> Result<()> {
    // SAFETY: no memory is involved.
    let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    if set < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// The process of a thread.
pub fn process_of(tid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|pid| pid.trim().parse().ok()).unwrap_or(tid)
}
