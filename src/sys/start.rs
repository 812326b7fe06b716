//! The program's entry, by `program!`: what Rust's runtime does before
//! `main` without what nobody needs here, a handler for overflows of the stack
//! with a stack of its own (12 system calls at each start, and a start is most
//! of what `state` or `kill` cost).

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Makes `$main`, a `fn(Vec<OsString>) -> i32`, the program. Standard output
/// is not flushed at the end: who prints, writes.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// Called by the C library.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main(
            argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: the C library passes what it got from the kernel.
            unsafe { $crate::sys::start::run(argc, argv, $main) }
        }
    };
}

/// The body of `program!`.
///
/// # Safety
/// `argv` must hold `argc` C strings that live as long as the program.
pub unsafe fn run(
    argc: c_int,
    argv: *const *const c_char,
    main: fn(Vec<OsString>) -> i32,
) -> c_int {
    open_stdio();
    // SAFETY: the caller's promise.
    unsafe { remember(argc, argv) };
    super::signal::ignore_sigpipe();
    let one = |index| {
        // SAFETY: `index` is below `argc`.
        let place = unsafe { argv.add(index) };
        // SAFETY: as above.
        let arg = unsafe { *place };
        // SAFETY: the caller guarantees a C string.
        OsStr::from_bytes(unsafe { CStr::from_ptr(arg) }.to_bytes()).to_owned()
    };
    main((0..argc.max(0) as usize).map(one).collect())
}

/// Where the kernel finds the command line and the environment of this process.
static STRINGS: (AtomicPtr<c_char>, AtomicUsize) =
    (AtomicPtr::new(std::ptr::null_mut()), AtomicUsize::new(0));

/// Notes where the strings of `argv` and of the environment are. The kernel puts
/// them one after the other (`fs/exec.c`), so the last one tells the end.
///
/// # Safety
/// As [`run`].
unsafe fn remember(argc: c_int, argv: *const *const c_char) {
    if argc < 1 {
        return;
    }
    // SAFETY: there is a first argument.
    let first = unsafe { *argv };
    let mut last = first;
    let mut place = argv;
    // The list of variables begins behind the null pointer that ends `argv`.
    for _ in 0..2 {
        loop {
            // SAFETY: neither list has been left: each ends in a null pointer.
            let string = unsafe { *place };
            // SAFETY: the place after one that is in a list, or after its end.
            place = unsafe { place.add(1) };
            if string.is_null() {
                break;
            }
            last = string;
        }
    }
    // SAFETY: a C string that the kernel has put there.
    let length = unsafe { CStr::from_ptr(last) }.to_bytes_with_nul().len();
    let end = last.addr() + length;
    STRINGS.1.store(end.saturating_sub(first.addr()), Ordering::Relaxed);
    STRINGS.0.store(first.cast_mut(), Ordering::Relaxed);
}

/// Takes the command line and the environment out of this process's memory, for
/// a process that a container sees: `/proc/PID/cmdline` shows paths of the host
/// and the variables of `exec -e` to everybody inside. The name stays.
///
/// The environment cannot be read any more after it.
pub fn hide_command_line() {
    let start = STRINGS.0.load(Ordering::Relaxed).cast::<u8>();
    let length = STRINGS.1.load(Ordering::Relaxed);
    if start.is_null() {
        return;
    }
    // SAFETY: the strings that the kernel has put there, one after the other, on
    // writable memory of the stack; what is read later, has been copied before.
    let bytes = unsafe { std::slice::from_raw_parts_mut(start, length) };
    bytes.fill(0);
    for (to, from) in bytes.iter_mut().zip(b"pinnace") {
        *to = *from;
    }
    if let Some(last) = bytes.last_mut() {
        *last = 0;
    }
}

/// Whether the caller had closed standard output.
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether standard output was closed when the program began: `/dev/null` is in its
/// place, and what is written there reaches nobody.
pub fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

/// A caller may have closed 0, 1 or 2: then something of ours would get that
/// number, and the container with it.
fn open_stdio() {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three valid entries; only asks.
    unsafe { libc::poll(fds.as_mut_ptr(), 3, 0) };
    for fd in fds {
        if fd.revents & libc::POLLNVAL != 0 {
            STDOUT_CLOSED.fetch_or(fd.fd == 1, Ordering::Relaxed);
            // SAFETY: takes a C string. The lowest free number is the one that
            // is missing, and it is meant to stay open.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}
