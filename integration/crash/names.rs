//! Names of system calls and of errors.

use pinnace::security::seccomp::{Arch, calls};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The name of a system call, or its number.
pub fn name_of(number: i64) -> String {
    static NAMES: LazyLock<HashMap<i64, &'static str>> = LazyLock::new(|| {
        let number = |name| Arch::native().number(name).map(|number| (number.into(), name));
        calls().filter_map(number).collect()
    });
    NAMES.get(&number).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// The number of a system call.
pub fn number_of(name: &str) -> Option<i64> {
    Arch::native().number(name).map(i64::from).or_else(|| name.parse().ok())
}

/// The errors that calls are made to fail with.
const ERRORS: &[(&str, i32)] = &[
    ("EPERM", libc::EPERM),
    ("ENOENT", libc::ENOENT),
    ("EINTR", libc::EINTR),
    ("EIO", libc::EIO),
    ("EAGAIN", libc::EAGAIN),
    ("ENOMEM", libc::ENOMEM),
    ("EMFILE", libc::EMFILE),
    ("ENOSPC", libc::ENOSPC),
    ("ENOSYS", libc::ENOSYS),
];

/// The number of an error.
pub fn errno_of(name: &str) -> Option<i32> {
    ERRORS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}
