//! What libc leaves in `errno`.

use rustix::io::Errno;

/// The errno of the call that just failed through libc.
pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
