//! userfaultfd(2): memory whose first touch waits for whoever holds the
//! descriptor. A process under a filter that lets nothing through can still
//! touch memory: the number of the page is what it reports, the byte that it
//! then finds there is the answer.

use super::errno::last_errno;
use rustix::io::{Errno, Result};
use std::ffi::{c_long, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// How many different reports there are: every errno, and 0.
pub const PAGES: usize = 4096;

// linux/userfaultfd.h
const USER_MODE_ONLY: libc::c_int = 1;
const FLAGS: libc::c_int = libc::O_CLOEXEC | libc::O_NONBLOCK | USER_MODE_ONLY;
const API_VERSION: u64 = 0xaa;
const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const COPY: u64 = 0xc028_aa03;
const REGISTER_MODE_MISSING: u64 = 1;
const EVENT_PAGEFAULT: u8 = 0x12;

#[repr(C)]
#[derive(Default)]
struct ApiArgs {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Default)]
struct RegisterArgs {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Default)]
struct CopyArgs {
    dst: u64,
    src: u64,
    len: u64,
    mode: u64,
    copy: i64,
}

/// `struct uffd_msg`, as far as faults fill it.
#[repr(C)]
#[derive(Default)]
struct Message {
    event: u8,
    reserved: [u8; 7],
    flags: u64,
    address: u64,
    thread: u64,
}

/// The memory, in the process that reports. It is never unmapped: execve(2) or
/// the end of the process takes it.
#[derive(Debug)]
pub struct Pages {
    start: *mut u8,
    page: usize,
}

impl Pages {
    /// Maps the memory, and makes the descriptor by which its faults are read.
    ///
    /// # Errors
    /// `ENOSYS` without CONFIG_USERFAULTFD, `EPERM` where it is forbidden.
    pub fn new() -> Result<(Self, OwnedFd)> {
        // SAFETY: takes flags, returns a new descriptor.
        let fd = checked(unsafe { libc::syscall(libc::SYS_userfaultfd, FLAGS) })?;
        let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
        // SAFETY: just made, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let api = ApiArgs { api: API_VERSION, ..ApiArgs::default() };
        // SAFETY: the structure of this request, alive for the call.
        checked(unsafe { ioctl(&fd, API, (&raw const api).cast()) })?;
        let pages = Self::map()?;
        let register = RegisterArgs {
            start: pages.address(),
            len: (PAGES * pages.page) as u64,
            mode: REGISTER_MODE_MISSING,
            ..RegisterArgs::default()
        };
        // SAFETY: as above; the range is the mapping just made.
        checked(unsafe { ioctl(&fd, REGISTER, (&raw const register).cast()) })?;
        Ok((pages, fd))
    }

    /// A page for each report, and behind them one that must not be touched.
    fn map() -> Result<Self> {
        let page = page_size();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let len = (PAGES + 1) * page;
        // SAFETY: a new private mapping at a place of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a part of the mapping just made, which nobody else knows.
        checked(unsafe { libc::mprotect(start, PAGES * page, access) }.into())?;
        Ok(Self { start: start.cast(), page })
    }

    /// Where the memory begins.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Touches page `word` and waits for the answer: the byte that was given to
    /// [`answer`], or 0 if whoever should answer has gone. No system call.
    pub fn touch(&self, word: usize) -> u8 {
        let page = self.start.wrapping_add(word.min(PAGES - 1) * self.page);
        // SAFETY: inside the mapping, which lives as long as the process. Volatile,
        // as the read itself is the report.
        unsafe { page.read_volatile() }
    }

    /// Ends the process without a system call: by SIGSEGV.
    pub fn end(&self) -> ! {
        let guard = self.start.wrapping_add(PAGES * self.page);
        loop {
            // SAFETY: no memory of Rust's: the mapping's last page, which the
            // kernel lets nobody read.
            unsafe { guard.read_volatile() };
        }
    }
}

/// How many bytes a page of memory has.
pub fn page_size() -> usize {
    // SAFETY: takes and returns integers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// The page that the process has touched last. `None` if the fault is gone (a signal has
/// come in between; the process will touch the page again). `start` is [`Pages::address`].
///
/// # Errors
/// Those of read(2).
pub fn read_fault(fd: BorrowedFd<'_>, start: u64) -> Result<Option<usize>> {
    let mut message = Message::default();
    // SAFETY: reads at most the size of the structure, which any bytes may fill.
    let read = unsafe {
        libc::read(fd.as_raw_fd(), (&raw mut message).cast::<c_void>(), size_of::<Message>())
    };
    match checked(read as c_long) {
        Ok(_) if message.event == EVENT_PAGEFAULT => {
            let word = message.address.checked_sub(start).map(|at| at / page_size() as u64);
            Ok(word.and_then(|word| usize::try_from(word).ok()))
        }
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Lets the process go on from `word`, where it finds `byte`.
///
/// # Errors
/// `ESRCH` if the process has ended.
pub fn answer(fd: BorrowedFd<'_>, start: u64, word: usize, byte: u8) -> Result<()> {
    let size = page_size();
    let mut page = vec![0_u8; size];
    if let Some(first) = page.first_mut() {
        *first = byte;
    }
    let copy = CopyArgs {
        dst: start + (word * size) as u64,
        src: page.as_ptr() as u64,
        len: size as u64,
        ..CopyArgs::default()
    };
    // SAFETY: the structure of this request and the page that it points to live
    // through the call; the kernel only reads the page.
    match checked(unsafe { ioctl(&fd, COPY, (&raw const copy).cast()) }) {
        // Touched twice around a signal, and answered before.
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// # Safety
/// `args` must point to the structure of the request.
unsafe fn ioctl(fd: &impl AsRawFd, request: u64, args: *const c_void) -> c_long {
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), request, args) }
}

fn checked(result: c_long) -> Result<c_long> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}
