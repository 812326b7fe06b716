//! What is done in the place of a call that a filter around us denies, or that the kernel
//! lacks: see "Calls that a filter may deny" in ARCHITECTURE.md. procfs shows most of what
//! the newer calls tell.

use rustix::fs::{
    Access, AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, RawDir, accessat, fstat, fstatfs, open,
    openat,
};
use rustix::io::{Errno, FdFlags, Result, fcntl_setfd};
use rustix::thread::CapabilitySet;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// `PROC` before it is opened.
const NONE: RawFd = -1;
/// `PROC` after [`forget`].
const CLOSED: RawFd = -2;

/// The procfs of the runtime's mount namespace.
static PROC: AtomicI32 = AtomicI32::new(NONE);
/// Whether [`proc`] will be needed where /proc is the container's.
static WANTED: AtomicBool = AtomicBool::new(false);
/// The greatest descriptor that [`close_all_but`] has left.
static LEFT: AtomicI32 = AtomicI32::new(NONE);

/// More than init opens after [`close_all_but`]: the pipes of a hook, a connection.
const MAX_LATER_FDS: RawFd = 256;

/// Notes that a call is denied whose answer procfs has to give, in the container too.
pub fn expect() {
    WANTED.store(true, Ordering::Relaxed);
}

/// Opens the procfs of the host if it will be needed: once the descriptors of our caller
/// have been counted, which this one must not be among.
///
/// # Errors
/// As [`proc`].
pub fn prepare() -> Result<()> {
    if WANTED.load(Ordering::Relaxed) { proc().map(drop) } else { Ok(()) }
}

/// The procfs of the runtime's mount namespace, opened once.
///
/// # Errors
/// `ENOENT` if there is none at /proc.
fn proc() -> Result<BorrowedFd<'static>> {
    let known = PROC.load(Ordering::Relaxed);
    if known == CLOSED {
        return Err(Errno::BADF);
    }
    if known == NONE {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, "/proc", flags, Mode::empty())?;
        if fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
            return Err(Errno::NOENT);
        }
        PROC.store(proc.into_raw_fd(), Ordering::Relaxed);
    }
    // SAFETY: open until `process::with_only`, which calls `forget`.
    Ok(unsafe { BorrowedFd::borrow_raw(PROC.load(Ordering::Relaxed)) })
}

/// Marks every descriptor from `first` on as closed on exec: for `close_range(2)`.
///
/// # Errors
/// Those of reading `/proc/self/fd`.
pub(super) fn mark_from(first: RawFd) -> Result<()> {
    for number in listed()?.into_iter().filter(|number| *number >= first) {
        // SAFETY: listed as open, and only a flag of it is changed.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        match fcntl_setfd(fd, FdFlags::CLOEXEC) {
            // That of the list itself.
            Ok(()) | Err(Errno::BADF) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on but those of `keep`: for `close_range(2)`. The
/// procfs is among them. What is opened after that has low numbers, for a second call.
///
/// # Errors
/// Those of reading `/proc/self/fd`.
pub(super) fn close_all_but(first: RawFd, keep: &[RawFd]) -> Result<()> {
    let numbers = match LEFT.load(Ordering::Relaxed) {
        NONE => listed()?,
        left => (first..left.saturating_add(MAX_LATER_FDS)).collect(),
    };
    for number in numbers.into_iter().filter(|number| *number >= first && !keep.contains(number)) {
        // SAFETY: its owner is in a frame to which this process never returns: see
        // `process::with_only`. A number that is not open is no harm.
        unsafe { libc::close(number) };
    }
    let greatest = keep.iter().copied().max().unwrap_or(first).max(first);
    LEFT.store(greatest, Ordering::Relaxed);
    Ok(())
}

/// The procfs is closed, and its number may be another descriptor's: one of the container's.
pub(super) fn forget() {
    PROC.store(CLOSED, Ordering::Relaxed);
}

/// The descriptors that are open, and that by which they were listed.
fn listed() -> Result<Vec<RawFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let list = openat(proc()?, "self/fd", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(list, &mut buffer);
    let mut numbers = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        numbers.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<RawFd>().ok()));
    }
    Ok(numbers)
}

/// The id of the mount that an open file is on: for statx(2).
///
/// # Errors
/// Those of reading `/proc/self/fdinfo`.
pub fn mount_id(fd: BorrowedFd<'_>) -> Result<u64> {
    told(fd, "mnt_id:")?.parse().map_err(|_| Errno::IO)
}

/// Whether the process behind a pidfd has its pid still: for `pidfd_send_signal(2)`.
///
/// # Errors
/// As [`mount_id`].
pub(super) fn has_pid(pidfd: BorrowedFd<'_>) -> Result<bool> {
    Ok(told(pidfd, "Pid:")? != "-1")
}

/// A field of `/proc/self/fdinfo/N` (`proc_pid_fdinfo(5)`).
fn told(fd: BorrowedFd<'_>, field: &str) -> Result<String> {
    let path = format!("self/fdinfo/{}", fd.as_raw_fd());
    let text = super::file::read_short_at(proc()?, path)?;
    let text = String::from_utf8_lossy(&text);
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    value.map(|value| value.trim().to_owned()).ok_or(Errno::IO)
}

/// Whether the present credentials may execute `path`: for faccessat2(2). access(2) asks
/// for the real ids, which are the effective ones by now, but grants no capability to other
/// users than root (`access(2)`, "Warning"). So nobody is refused who has one that overrides
/// modes, if they find the file and anybody may execute it.
///
/// # Errors
/// `ENOENT`, `EACCES`.
pub(super) fn may_execute(path: &CStr) -> Result<()> {
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()) {
        Err(Errno::ACCESS) => {}
        answer => return answer,
    }
    let overrides = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    if !rustix::thread::capabilities(None)?.effective.intersects(overrides) {
        return Err(Errno::ACCESS);
    }
    let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let executable = Mode::XUSR | Mode::XGRP | Mode::XOTH;
    let mode = Mode::from_raw_mode(fstat(&file)?.st_mode);
    if mode.intersects(executable) { Ok(()) } else { Err(Errno::ACCESS) }
}

/// clone(2) with `CLONE_PIDFD`: for clone3(2). The result of the call, and the pidfd.
pub(super) fn clone(flags: u64) -> (libc::c_long, libc::c_int) {
    let mut pidfd: libc::c_int = -1;
    let no_stack: usize = 0;
    let pidfd_at = &raw mut pidfd;
    #[cfg(not(target_arch = "s390x"))]
    let (first, second) = (flags as usize, no_stack);
    #[cfg(target_arch = "s390x")]
    let (first, second) = (no_stack, flags as usize);
    // SAFETY: with CLONE_PIDFD the kernel stores a descriptor behind the third argument;
    // without CLONE_VM the child gets its own copy of the memory and of this stack.
    let result = unsafe { libc::syscall(libc::SYS_clone, first, second, pidfd_at, 0, 0) };
    (result, pidfd)
}
