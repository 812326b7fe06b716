//! Making processes: clone3(2), execve(2), unshare(2), `_exit`(2).

use super::denied;
use super::errno::last_errno;
use super::seccomp::may_deny;
use crate::error::{self, Context as _};
use rustix::fs::{FileType, stat};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions, kill_process, pidfd_send_signal, waitid,
};
use rustix::thread::UnshareFlags;
use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::marker::PhantomData;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};

/// What a new process shares with its maker and where it is put.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneArgs<'a> {
    /// Namespaces to make, as for unshare(2).
    pub namespaces: Namespaces,
    /// cgroup v2 directory for `CLONE_INTO_CGROUP` (Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether the new process becomes a sibling (`CLONE_PARENT`): it is then
    /// reaped by our parent and signals it as we would.
    pub sibling: bool,
    /// Where the kernel writes its pid before it runs (`CLONE_PARENT_SETTID`): who shares
    /// it can find the process though its maker dies before it has told of it.
    pub noted: Option<&'a Note>,
}

/// A pid in memory that this process and those that it makes share.
#[derive(Debug)]
pub struct Note(NonNull<AtomicI32>);

impl Note {
    /// Memory for one, with nothing in it.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new() -> Result<Self, Errno> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let size = size_of::<AtomicI32>();
        // SAFETY: a new mapping, placed by the kernel, in nobody's way.
        let place = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0) };
        if place == libc::MAP_FAILED {
            return Err(last_errno());
        }
        NonNull::new(place.cast()).map(Self).ok_or(Errno::NOMEM)
    }

    /// The pid that has been noted.
    pub fn pid(&self) -> Option<Pid> {
        // SAFETY: mapped until this is dropped, and filled with zeros by the kernel.
        one(unsafe { self.0.as_ref() }.load(Ordering::Relaxed))
    }

    /// Notes one, where the kernel could not.
    fn set(&self, pid: Pid) {
        // SAFETY: as for `pid`; nobody else writes to it then.
        unsafe { self.0.as_ref() }.store(pid.as_raw_nonzero().get(), Ordering::Relaxed);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody else has the address.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<AtomicI32>()) };
    }
}

/// Bits of `CLONE_NEW*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces(pub u32);

/// A process that we made: its pid, and its pidfd against pid reuse.
#[derive(Debug)]
pub struct Child {
    /// pid in the maker's pid namespace.
    pub pid: Pid,
    /// Readable when the process has ended.
    pub pidfd: OwnedFd,
}

impl Child {
    /// As [`send_signal`].
    ///
    /// # Errors
    /// `ESRCH` once it has been reaped.
    pub fn signal(&self, signal: Signal) -> Result<(), Errno> {
        send_signal(self.pidfd.as_fd(), self.pid.as_raw_nonzero().get(), signal)
    }
}

/// Sends a signal to the process of that pid and pidfd, by the latter. Where that is denied
/// a child gets it by its pid, which is nobody else's until we have reaped it.
///
/// # Errors
/// Those of `pidfd_send_signal(2)`: `ESRCH` if the process has been reaped.
pub fn send_signal(pidfd: BorrowedFd<'_>, pid: i32, signal: Signal) -> Result<(), Errno> {
    let denied = match pidfd_send_signal(pidfd, signal) {
        Err(errno) if may_deny(errno) => errno,
        sent => return sent,
    };
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match (waitid(WaitId::PidFd(pidfd), peek), one(pid)) {
        (Ok(_), Some(pid)) => kill_process(pid, signal),
        (Err(Errno::CHILD), _) if !denied::has_pid(pidfd)? => Err(Errno::SRCH),
        _ => Err(denied),
    }
}

/// linux/sched.h; libc's constant has too narrow a type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// clone(2) has one argument for this and for `CLONE_PIDFD`.
const PARENT_SETTID: u64 = libc::CLONE_PARENT_SETTID as u64;

/// Mirrors `struct clone_args` of clone3(2), version 2 (with `cgroup`).
#[repr(C)]
#[derive(Default)]
struct KernelCloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks. `None` is returned in the new process.
///
/// The caller's program has one thread, so the copy may go on as the original
/// would: no lock can be held by a thread that does not exist in it.
///
/// # Errors
/// Those of clone3(2): `EPERM` without the privilege for a namespace, `ENOSPC`
/// at the limit of nested namespaces, `EBUSY` for a cgroup that has enabled
/// controllers.
pub fn clone3(args: CloneArgs<'_>) -> Result<Option<Child>, Errno> {
    let mut pidfd: c_int = -1;
    let mut flags = u64::from(args.namespaces.0) | libc::CLONE_PIDFD as u64;
    let mut cgroup = 0;
    if let Some(fd) = args.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = fd.as_raw_fd() as u64;
    }
    // With CLONE_PARENT the exit signal is the maker's own and must be 0 here.
    let mut exit_signal = libc::SIGCHLD as u64;
    if args.sibling {
        flags |= libc::CLONE_PARENT as u64;
        exit_signal = 0;
    }
    let mut parent_tid = 0;
    if let Some(note) = args.noted {
        flags |= PARENT_SETTID;
        parent_tid = note.0.as_ptr() as u64;
    }
    let kernel = KernelCloneArgs {
        flags,
        pidfd: &raw mut pidfd as u64,
        parent_tid,
        exit_signal,
        cgroup,
        ..KernelCloneArgs::default()
    };
    // SAFETY: the structure outlives the call and its size is passed; without
    // CLONE_VM the child gets its own copy of the memory and of this stack.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const kernel, size_of::<KernelCloneArgs>()) };
    match made(result, pidfd) {
        // Only clone3(2) takes CLONE_INTO_CGROUP.
        Err(errno) if args.cgroup.is_none() && may_deny(errno) => {
            let (result, pidfd) = denied::clone(flags & !PARENT_SETTID | exit_signal);
            let made = made(result, pidfd)?;
            if let (Some(child), Some(note)) = (&made, args.noted) {
                note.set(child.pid);
            }
            Ok(made)
        }
        made => made,
    }
}

/// A number that somebody else has written, if it can name a process: `kill(2)` takes 0 for
/// the own process group and a negative number for another or for all.
pub fn one(number: i32) -> Option<Pid> {
    if number > 0 { Pid::from_raw(number) } else { None }
}

/// What a call with CLONE_PIDFD has returned and stored.
fn made(result: c_long, pidfd: c_int) -> Result<Option<Child>, Errno> {
    match result {
        -1 => Err(last_errno()),
        0 => Ok(None),
        pid => Ok(Some(Child {
            pid: Pid::from_raw(pid as i32).ok_or(Errno::SRCH)?,
            // SAFETY: the call has succeeded, so CLONE_PIDFD stored a new descriptor
            // that nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        })),
    }
}

/// The flags of [`clone_sibling`], all that a filter sees of it.
pub const SIBLING: u64 = (libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD) as u64;

/// As [`clone3`] for a sibling, by clone(2): a filter can look at its flags, so one
/// that refuses clone3(2) may allow this.
///
/// # Errors
/// Those of clone(2).
pub fn clone_sibling() -> Result<Option<Child>, Errno> {
    let (result, pidfd) = denied::clone(SIBLING);
    made(result, pidfd)
}

/// unshare(2).
///
/// # Errors
/// Those of unshare(2).
pub fn unshare(namespaces: Namespaces) -> Result<(), Errno> {
    let flags = UnshareFlags::from_bits_retain(namespaces.0);
    // SAFETY: only CLONE_NEW* bits are passed, never CLONE_FILES, which is what
    // makes unshare unsafe for owned descriptors.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// The arguments of execve(2), made ready: once a filter is in force, memory
/// might not be had any more.
#[derive(Debug)]
pub struct Execve<'a> {
    path: &'a CStr,
    args: Vec<*const c_char>,
    env: Vec<*const c_char>,
    _strings: PhantomData<&'a CStr>,
}

impl<'a> Execve<'a> {
    /// What is to be run, with which arguments and variables.
    pub fn new(
        path: &'a CStr,
        args: impl Iterator<Item = &'a CStr>,
        env: impl Iterator<Item = &'a CStr>,
    ) -> Self {
        let (args, env) = (null_terminated(args), null_terminated(env));
        Self { path, args, env, _strings: PhantomData }
    }

    /// The call with its first argument, for a message.
    pub fn describe(&self) -> String {
        format!("execve {}", self.path.to_string_lossy())
    }

    /// Returns only on failure, and makes no other system call.
    pub fn call(&self) -> Errno {
        // SAFETY: both arrays end in a null pointer and hold valid C strings
        // that live as long as `self`.
        unsafe { libc::execve(self.path.as_ptr(), self.args.as_ptr(), self.env.as_ptr()) };
        last_errno()
    }
}

fn null_terminated<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    strings.map(CStr::as_ptr).chain([std::ptr::null()]).collect()
}

/// Whether the process behind a pidfd has still its pid: it runs, or nobody has reaped it.
/// What was read of that pid before was of this process then.
///
/// # Errors
/// Those of `pidfd_send_signal(2)`.
pub fn has_pid(pidfd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: signal 0 is sent to nobody; the kernel fills in what is not given.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, no_info, 0) } {
        -1 => match last_errno() {
            Errno::SRCH => Ok(false),
            errno if may_deny(errno) => denied::has_pid(pidfd),
            Errno::PERM => Ok(true),
            errno => Err(errno),
        },
        _ => Ok(true),
    }
}

/// `struct pidfd_info` (linux/pidfd.h), version 0.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// The wait status of a process that others have reaped; `None` if it has not ended.
///
/// # Errors
/// Those of ioctl(2), before Linux 6.15.
pub fn ended_with(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    /// `PIDFD_GET_INFO`: `_IOWR(0xff, 11, struct pidfd_info)`.
    const GET_INFO: u32 = 0xc040_ff0b;
    /// `PIDFD_INFO_EXIT`.
    const EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel fills in a structure of the size that is in the number.
    match unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) } {
        -1 => Err(last_errno()),
        _ => Ok((info.mask & EXIT != 0).then_some(info.exit_code)),
    }
}

/// Ends the process without running anything that belongs to its maker.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// personality(2).
///
/// # Errors
/// `EINVAL` if the kernel refuses the domain.
pub fn personality(domain: u64) -> Result<(), Errno> {
    // SAFETY: takes and returns integers.
    match unsafe { libc::personality(domain) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Marks every descriptor from `first` on as closed on exec: whatever our
/// caller left open, the container does not get (CVE-2024-21626).
///
/// # Errors
/// Those of reading `/proc/self/fd`, where `close_range(2)` is denied or is older than
/// Linux 5.11.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: only a flag of descriptors changes; none is closed under an owner.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) } {
        -1 => match last_errno() {
            errno if errno == Errno::INVAL || may_deny(errno) => denied::mark_from(first as RawFd),
            errno => Err(errno),
        },
        _ => Ok(()),
    }?;
    denied::prepare()
}

/// Closes every descriptor from `first` on but those of `keep`, and then runs
/// `rest`, which ends in execve(2) or `_exit`(2).
///
/// To mark them as closed on exec is too late: execve(2) resolves the names of
/// the program and its interpreter while they are open, and an image may have
/// links to `/proc/self/fd/N` there (CVE-2024-21626).
///
/// `rest` must hold no owner of a descriptor that is not in `keep`.
///
/// # Errors
/// Those of closing, and those of `rest`.
pub fn with_only(
    first: u32,
    keep: &[RawFd],
    rest: impl FnOnce() -> error::Result<Infallible>,
) -> error::Result<Infallible> {
    match close_all_but(first, keep) {
        Err(errno) if may_deny(errno) => denied::close_all_but(first as RawFd, keep),
        closed => closed,
    }
    .call(|| "close_range".into())?;
    denied::forget();
    rest()
}

fn close_all_but(first: u32, keep: &[RawFd]) -> Result<(), Errno> {
    let mut numbers: Vec<u32> = keep.iter().map(|fd| fd.unsigned_abs()).collect();
    numbers.sort_unstable();
    let mut from = first;
    for number in numbers.into_iter().filter(|number| *number >= first) {
        if number > from {
            close_range(from, number - 1)?;
        }
        from = number + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: the owners of these descriptors are in the frames of a process
    // that never returns to them: see `with_only`.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Keeps other processes from tracing this one, from reading its memory and from
/// reaching its descriptors, unless they have `CAP_SYS_PTRACE` in the host's user
/// namespace (`PR_SET_DUMPABLE(2const)`, CVE-2016-9962). A child inherits it.
///
/// The kernel may undo it when ids change: where `fs.suid_dumpable` is 1. So it
/// is asked for again after each change.
///
/// # Errors
/// None in practice: the arguments are always valid.
pub fn forbid_tracing() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// How many descriptors from 3 on our caller has left open to us, without a
/// gap. To be asked before anything is opened.
pub fn count_inherited() -> u32 {
    // No process has more (fs.nr_open).
    (3..1 << 20).take_while(|number| fcntl_getfd(borrow_inherited(*number)).is_ok()).count() as u32
}

/// Lets those descriptors outlive execve(2) again.
///
/// # Errors
/// `EBADF` if one is not open.
pub fn keep_inherited(count: u32) -> Result<(), Errno> {
    (3..)
        .take(count as usize)
        .try_for_each(|number| fcntl_setfd(borrow_inherited(number), FdFlags::empty()))
}

fn borrow_inherited(number: i32) -> BorrowedFd<'static> {
    // SAFETY: not -1 (counted from 3), and only fcntl(2) on its flags is done
    // with it, which fails for one that is not open.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// The fields of `proc_pid_stat(5)` from the third on, the state. The name before
/// it may hold anything, so they are counted from its end.
pub fn stat_fields(stat: &str) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    Some(stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace())
}

/// Whether the present credentials may execute `path`: `faccessat2(2)` with
/// `AT_EACCESS`, which the C library would emulate with the wrong ids.
///
/// # Errors
/// `ENOENT`, `EACCES`.
pub fn may_execute(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a C string that outlives the call.
    match unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::X_OK,
            libc::AT_EACCESS,
        )
    } {
        -1 => match last_errno() {
            errno if may_deny(errno) => denied::may_execute(path),
            errno => Err(errno),
        },
        _ => Ok(()),
    }
}

/// As [`is_program`], by the bytes of a path.
///
/// # Errors
/// As [`is_program`]; `EINVAL` for a NUL byte.
pub fn is_program_at(path: &[u8]) -> Result<(), Errno> {
    is_program(&CString::new(path).map_err(|_| Errno::INVAL)?)
}

/// Whether `execve(2)` would take a file for a program: the caller may execute it, and it is
/// no directory.
///
/// # Errors
/// `ENOENT`, `EACCES`.
pub fn is_program(path: &CStr) -> Result<(), Errno> {
    may_execute(path)?;
    match FileType::from_raw_mode(stat(path)?.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(Errno::ACCESS),
    }
}
