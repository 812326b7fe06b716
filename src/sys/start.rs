//! The program's entry, by [`program!`]: what Rust's runtime does before
//! `main` without what nobody needs here, a handler for overflows of the stack
//! with a stack of its own (12 system calls at each start, and a start is most
//! of what `state` or `kill` cost).

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;

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

/// The body of [`program!`].
///
/// # Safety
/// `argv` must hold `argc` C strings that live as long as the program.
pub unsafe fn run(
    argc: c_int,
    argv: *const *const c_char,
    main: fn(Vec<OsString>) -> i32,
) -> c_int {
    open_stdio();
    // SAFETY: SIG_IGN is a valid disposition. Writing to a hook that has gone
    // must be an error; execve(2) gets the default back by `default_sigpipe`.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
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

/// A caller may have closed 0, 1 or 2: then something of ours would get that
/// number, and the container with it.
fn open_stdio() {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three valid entries; only asks.
    unsafe { libc::poll(fds.as_mut_ptr(), 3, 0) };
    for fd in fds {
        if fd.revents & libc::POLLNVAL != 0 {
            // SAFETY: takes a C string. The lowest free number is the one that
            // is missing, and it is meant to stay open.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}
