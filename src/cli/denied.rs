//! An error that comes of a filter around us says so: whoever runs us in a container of an
//! engine that does not know a call (runc#4984) looks for the cause in us else.

use crate::error::Error;
use crate::sys::seccomp::is_filtered;
use rustix::io::Errno;

/// Calls that a filter of an engine denies or does not know, and the Linux that brought
/// them, if that matters.
const CALLS: &[(&str, &str)] = &[
    ("bpf", ""),
    ("clone", ""),
    ("clone3", "5.3"),
    ("close_range", "5.9"),
    ("execveat", "3.19"),
    ("faccessat2", "5.8"),
    ("fsconfig", "5.2"),
    ("fsmount", "5.2"),
    ("fsopen", "5.2"),
    ("fspick", "5.2"),
    ("getrandom", "3.17"),
    ("keyctl", ""),
    ("memfd_create", "3.17"),
    ("mount", ""),
    ("mount_setattr", "5.12"),
    ("move_mount", "5.2"),
    ("open_tree", "5.2"),
    ("openat2", "5.6"),
    ("pidfd_getfd", "5.6"),
    ("pidfd_open", "5.3"),
    ("pidfd_send_signal", "5.1"),
    ("pivot_root", ""),
    ("sched_setaffinity", ""),
    ("set_mempolicy", ""),
    ("setns", ""),
    ("statx", "4.11"),
    ("unshare", ""),
    ("userfaultfd", "5.11"),
];

/// The same error, with what a filter or an older kernel has to do with it.
pub fn explain(error: Error) -> Error {
    let errno = error.errno();
    if !matches!(errno, Some(Errno::PERM | Errno::NOSYS)) {
        return error;
    }
    let Some((name, since)) = call_in(&error) else { return error };
    if is_filtered() {
        error.also(format!(
            "does the seccomp filter around pinnace deny {name}? update the container engine \
             there and its libseccomp, or give it seccomp=unconfined"
        ))
    } else if errno == Some(Errno::NOSYS) && !since.is_empty() {
        error.also(format!("{name} needs Linux {since}"))
    } else {
        error
    }
}

/// The call that an error names: the first one of its innermost part that names any.
fn call_in(error: &Error) -> Option<(&'static str, &'static str)> {
    let is_part_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    error.outwards().find_map(|part| {
        let mut words = part.split(|letter| !is_part_of_name(letter));
        words.find_map(|word| CALLS.iter().find(|(name, _)| *name == word).copied())
    })
}

#[cfg(test)]
mod tests {
    use super::{Error, call_in};

    #[test]
    fn an_error_names_its_call() {
        for (place, call, name) in [
            ("mounts[0]", "fsconfig source=proc", Some("fsconfig")),
            ("linux.namespaces", "clone3(uts, mount)", Some("clone3")),
            ("linux.seccomp", "userfaultfd", Some("userfaultfd")),
            ("memfd_create", "copy /proc/self/exe", Some("memfd_create")),
            ("bind /srv/mount", "open_tree", Some("open_tree")),
            ("root.path", "open_tree /mnt/mount", Some("open_tree")),
            ("mounts[2].options", "write to /proc/1/uid_map", None),
        ] {
            let error = Error::new(call).at(place);
            assert_eq!(call_in(&error).map(|(name, _)| name), name, "{error}");
        }
    }
}
