//! An exclusive flock(2) that gives up after a while.

use super::errno::last_errno;
use super::signal::{set_mask, unblock};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

extern "C" fn on_alarm(_signal: libc::c_int) {}

/// Locks `fd`, waiting at most `seconds` and one more: an alarm interrupts the call.
///
/// # Errors
/// `EINTR` when the time is up; those of flock(2).
pub fn lock_exclusive(fd: BorrowedFd<'_>, seconds: u32) -> Result<(), Errno> {
    match flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => wait(fd, FlockOperation::LockExclusive, seconds),
        result => result,
    }
}

/// The same for a lock that others may share.
///
/// # Errors
/// As [`lock_exclusive`].
pub fn lock_shared(fd: BorrowedFd<'_>, seconds: u32) -> Result<(), Errno> {
    match flock(fd, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => wait(fd, FlockOperation::LockShared, seconds),
        result => result,
    }
}

fn wait(fd: BorrowedFd<'_>, how: FlockOperation, seconds: u32) -> Result<(), Errno> {
    let handler: extern "C" fn(libc::c_int) = on_alarm;
    // SAFETY: all-zero is a valid sigaction: default handler, no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    let mut old = action;
    // SAFETY: the handler does nothing; no SA_RESTART, so that flock returns.
    if unsafe { libc::sigaction(libc::SIGALRM, &raw const action, &raw mut old) } != 0 {
        return Err(last_errno());
    }
    // A mask outlives execve(2): a caller that blocks SIGALRM would have us wait
    // for ever.
    let before = unblock(libc::SIGALRM)?;
    let result = lock_until(fd, how, Instant::now() + Duration::from_secs(seconds.into()));
    set_mask(&before)?;
    // SAFETY: puts back what was there.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const old, std::ptr::null_mut()) };
    result
}

/// An alarm may be another's: one that was pending when it was blocked, or the one that
/// our caller has set (execve(2) keeps both). So the clock says when the time is up. It
/// comes again each second: who is stopped just before flock(2) may miss the first.
fn lock_until(fd: BorrowedFd<'_>, how: FlockOperation, end: Instant) -> Result<(), Errno> {
    let begin = Instant::now();
    let left = end.saturating_duration_since(begin);
    let callers = set_timer(left.max(SHORTEST), Duration::from_secs(1))?;
    let result = loop {
        match flock(fd, how) {
            Err(Errno::INTR) if Instant::now() < end => {}
            result => break result,
        }
    };
    let left = match callers {
        Duration::ZERO => callers,
        callers => callers.saturating_sub(begin.elapsed()).max(SHORTEST),
    };
    set_timer(left, Duration::ZERO)?;
    result
}

/// Zero would disarm the timer.
const SHORTEST: Duration = Duration::from_millis(1);

/// Sets the timer of SIGALRM; returns what was left of the one before.
fn set_timer(value: Duration, interval: Duration) -> Result<Duration, Errno> {
    let time = |time: Duration| libc::timeval {
        tv_sec: time.as_secs() as _,
        tv_usec: time.subsec_micros() as _,
    };
    let new = libc::itimerval { it_value: time(value), it_interval: time(interval) };
    let mut old = libc::itimerval { it_value: time(Duration::ZERO), ..new };
    // SAFETY: both structures outlive the call.
    if unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const new, &raw mut old) } < 0 {
        return Err(last_errno());
    }
    let micros = Duration::from_micros(old.it_value.tv_usec as u64);
    Ok(Duration::from_secs(old.it_value.tv_sec as u64) + micros)
}
