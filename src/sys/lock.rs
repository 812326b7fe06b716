//! An exclusive flock(2) that gives up after a while.

use super::process::last_errno;
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
        Err(Errno::WOULDBLOCK) => {}
        result => return result,
    }
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
    let result = lock_until(fd, Instant::now() + Duration::from_secs(seconds.into()));
    set_mask(&before)?;
    // SAFETY: puts back what was there.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const old, std::ptr::null_mut()) };
    result
}

/// An alarm may be another's: one that was pending when it was blocked, or the one that
/// our caller has set (execve(2) keeps both). So the clock says when the time is up.
fn lock_until(fd: BorrowedFd<'_>, end: Instant) -> Result<(), Errno> {
    let begin = Instant::now();
    let mut callers = None;
    let result = loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break Err(Errno::INTR);
        }
        // SAFETY: alarm takes and returns integers.
        let other = unsafe { libc::alarm(left.as_secs() as u32 + 1) };
        callers.get_or_insert(other);
        match flock(fd, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            result => break result,
        }
    };
    let left = match callers {
        Some(seconds @ 1..) => seconds.saturating_sub(begin.elapsed().as_secs() as u32).max(1),
        _ => 0,
    };
    // SAFETY: as above; 0 cancels ours.
    unsafe { libc::alarm(left) };
    result
}
