//! Signals: masks, dispositions and signalfd(2).

use super::errno::last_errno;
use super::file::own_stat;
use rustix::io::Errno;
use rustix::process::Signal;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A signal mask to be restored.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

/// Blocks every signal that can be blocked but SIGPIPE; returns the mask before. That one
/// is ignored (`ignore_sigpipe`), but what is blocked is kept all the same (`sig_ignored`):
/// it would end the program that a process of ours becomes.
///
/// # Errors
/// None in practice: the arguments are always valid.
pub fn block_all() -> Result<Mask, Errno> {
    let mut set = full();
    // SAFETY: the set is whole, and SIGPIPE a signal's number.
    unsafe { libc::sigdelset(&raw mut set, libc::SIGPIPE) };
    set_mask(&Mask(set))
}

/// Every signal.
fn full() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    // SAFETY: sigfillset writes the whole set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: written above.
    unsafe { all.assume_init() }
}

/// Lets one signal through; returns the mask before.
///
/// # Errors
/// None in practice: the arguments are always valid.
pub fn unblock(signal: i32) -> Result<Mask, Errno> {
    let mut one = MaybeUninit::uninit();
    let mut old = MaybeUninit::uninit();
    // SAFETY: sigemptyset writes the whole set.
    unsafe { libc::sigemptyset(one.as_mut_ptr()) };
    // SAFETY: the set was written above.
    unsafe { libc::sigaddset(one.as_mut_ptr(), signal) };
    // SAFETY: both pointers are valid for the call; `old` is written on success.
    match unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, one.as_ptr(), old.as_mut_ptr()) } {
        // SAFETY: the call succeeded and wrote it.
        0 => Ok(Mask(unsafe { old.assume_init() })),
        _ => Err(last_errno()),
    }
}

/// Installs `mask`; returns the one before.
///
/// # Errors
/// None in practice: the arguments are always valid.
pub fn set_mask(mask: &Mask) -> Result<Mask, Errno> {
    let mut old = MaybeUninit::uninit();
    // SAFETY: both pointers are valid for the call; `old` is written on success.
    match unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const mask.0, old.as_mut_ptr()) } {
        // SAFETY: the call succeeded and wrote it.
        0 => Ok(Mask(unsafe { old.assume_init() })),
        _ => Err(last_errno()),
    }
}

/// Lets every signal through.
///
/// # Errors
/// None in practice: the arguments are always valid.
pub fn unblock_all() -> Result<Mask, Errno> {
    let mut none = MaybeUninit::uninit();
    // SAFETY: sigemptyset writes the whole set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: written above.
    set_mask(&Mask(unsafe { none.assume_init() }))
}

/// Those by which a user or a supervisor ends a command.
pub const ENDS: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Every blocked signal, to be waited for by poll(2): `signalfd(2)`.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// A descriptor that yields them.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn new() -> Result<Self, Errno> {
        Self::of(&full())
    }

    /// One that yields those by which a supervisor ends a process. Others that would end a program
    /// without a handler may be meant for one that is not there yet.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn fatal() -> Result<Self, Errno> {
        let mut set = full();
        for signal in (1..=RTMAX).filter(|signal| !ENDS.contains(signal)) {
            // SAFETY: the set is whole, and the number is a signal's.
            unsafe { libc::sigdelset(&raw mut set, signal) };
        }
        Self::of(&set)
    }

    fn of(set: &libc::sigset_t) -> Result<Self, Errno> {
        // SAFETY: the set is whole and outlives the call.
        match unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) } {
            -1 => Err(last_errno()),
            // SAFETY: a new descriptor that nobody else owns.
            fd => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }

    /// Takes one that is pending.
    ///
    /// # Errors
    /// Those of read(2) but for none that is pending. Who took one for that would poll
    /// again, and be told at once that there is one.
    pub fn next(&self) -> Result<Option<i32>, Errno> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer holds one record.
        let got = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if got == size as isize {
            // SAFETY: a full record was written, and every bit pattern is valid for it.
            return Ok(Some(unsafe { info.assume_init() }.ssi_signo as i32));
        }
        match if got < 0 { last_errno() } else { Errno::IO } {
            Errno::AGAIN | Errno::INTR => Ok(None),
            errno => Err(errno),
        }
    }

    /// Takes those that are pending, up to one of [`ENDS`].
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn ending(&self) -> Result<Option<i32>, Errno> {
        while let Some(signal) = self.next()? {
            if ENDS.contains(&signal) && !(signal == libc::SIGHUP && ignores_hangups()) {
                return Ok(Some(signal));
            }
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The signals that our caller ignores, signal 1 the lowest bit. All, if that is not known.
static IGNORED: AtomicU64 = AtomicU64::new(u64::MAX);

/// Whether [`take_over`] has been called.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Sets the dispositions on which who makes processes or files depends. One that is to
/// ignore a signal outlives execve(2), so that our caller's choice is ours: with SIGCHLD
/// ignored the kernel reaps our children, and their exit status is nobody's (waitid(2),
/// "NOTES").
///
/// To write beyond `ulimit -f` must be an error (SIGXFSZ).
pub fn take_over() {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Ok(stat) = own_stat() {
        let ignored = ignored_in(&String::from_utf8_lossy(stat));
        IGNORED.store(ignored.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
    // SAFETY: SIG_IGN is a valid disposition of SIGXFSZ.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    // SAFETY: SIG_DFL is a valid disposition of SIGCHLD.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Runs `write`, to which `ulimit -f` is an error and no signal (SIGXFSZ), whatever our caller
/// has chosen; that is as before then, for a copy of us to find.
pub fn with_errors_of_limits<T>(write: impl FnOnce() -> T) -> T {
    // SAFETY: SIG_IGN is a valid disposition of SIGXFSZ.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let written = write();
    // SAFETY: the disposition that it had.
    unsafe { libc::signal(libc::SIGXFSZ, before) };
    written
}

/// Field 33 of `proc_pid_stat(5)`. It has the signals below 32; who ignores none of these is
/// taken to ignore none at all.
fn ignored_in(stat: &str) -> Option<u64> {
    super::process::stat_fields(stat)?.nth(30)?.parse().ok()
}

/// Whether our caller has made us immune to hangups, as nohup(1) does: had we not blocked
/// the signal, it would never have come.
pub fn ignores_hangups() -> bool {
    TAKEN.load(Ordering::Relaxed) && IGNORED.load(Ordering::Relaxed) & bit(libc::SIGHUP) != 0
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// To write to a hook that has gone must be an error.
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid disposition of SIGPIPE.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Before execve(2): what our caller or we ignore has its default disposition again. A
/// program whose caller is a daemon or `nohup` expects no other, and `kill` would do nothing.
pub fn give_back() {
    let ours = bit(libc::SIGPIPE) | bit(libc::SIGXFSZ);
    let theirs = IGNORED.load(Ordering::Relaxed) & !bit(libc::SIGPIPE) != 0;
    let ignored = if theirs { u64::MAX } else { ours };
    for signal in (1..=64).filter(|signal| ignored & bit(*signal) != 0) {
        // `struct sigaction` of the kernel: SIG_DFL, no flags, no mask. The C library does
        // not let us at signals that it uses itself.
        static DEFAULT: [u64; 8] = [0; 8];
        let (old, size) = (std::ptr::null::<u64>(), size_of::<u64>());
        // SAFETY: the kernel reads a structure that is smaller than this, and writes none.
        // That it refuses SIGKILL and SIGSTOP changes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), old, size) };
    }
}

/// The smallest real-time signal that programs have (signal(7)): glibc, by which the programs
/// in containers and all who name such signals count, keeps 32 and 33. musl, in our own
/// program, keeps 34 as well, but to send it is nobody's harm but the receiver's.
pub const RTMIN: i32 = 34;

/// The largest real-time signal of the kernel.
pub const RTMAX: i32 = 64;

/// A signal by its number, real-time ones included.
pub fn from_number(number: i32) -> Option<Signal> {
    if let Some(signal) = Signal::from_named_raw(number) {
        return Some(signal);
    }
    // SAFETY: a number that the kernel knows as a real-time signal. It is sent to others only,
    // never handled here, so that no handler of our C library runs for it.
    (32..=RTMAX).contains(&number).then(|| unsafe { Signal::from_raw_unchecked(number) })
}

/// Reaps every child that has ended, but for `keep`, which may have ended too.
///
/// # Errors
/// Those of waitid(2).
pub fn reap_others(keep: i32) -> Result<(), Errno> {
    loop {
        // SAFETY: all-zero is a valid siginfo.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let peek = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the result goes to a valid siginfo.
        if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, peek) } != 0 {
            return match last_errno() {
                Errno::CHILD => Ok(()),
                errno => Err(errno),
            };
        }
        // SAFETY: waitid fills in si_pid, or leaves 0 if no child has ended.
        let pid = unsafe { info.si_pid() };
        if pid == 0 || pid == keep {
            return Ok(());
        }
        // SAFETY: as above; this one takes the child away.
        if unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, libc::WEXITED) }
            != 0
        {
            // It would be found again, for ever.
            return Err(last_errno());
        }
    }
}
