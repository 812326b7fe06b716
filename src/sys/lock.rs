//! An exclusive flock(2) that gives up after a while.

use super::process::last_errno;
use super::signal::{set_mask, unblock};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

extern "C" fn on_alarm(_signal: libc::c_int) {}

/// Locks `fd`, waiting at most `seconds`: an alarm interrupts the call.
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
    // SAFETY: alarm takes an integer.
    unsafe { libc::alarm(seconds) };
    let result = flock(fd, FlockOperation::LockExclusive);
    // SAFETY: cancels the alarm.
    unsafe { libc::alarm(0) };
    set_mask(&before)?;
    // SAFETY: puts back what was there.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const old, std::ptr::null_mut()) };
    result
}
