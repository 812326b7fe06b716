//! Container ids.

use crate::error::{Error, Result};

/// An id is a file name, a cgroup name and part of a keyring's name, so only
/// `[A-Za-z0-9_+.-]` is taken, as runc does; not `.` and `..`, and no leading
/// dash, which would read as a flag.
///
/// # Errors
/// Says what is wrong with it.
pub fn check(id: &str) -> Result<()> {
    let fail = |why: &str| Err(Error::new(format!("invalid container id {id:?}: {why}")));
    if id.is_empty() {
        return Err(Error::new("container id cannot be empty"));
    }
    if id.len() > 255 {
        return fail("longer than 255 bytes");
    }
    if id == "." || id == ".." || id.starts_with('-') {
        return fail("must not be . or .. or begin with a dash");
    }
    let valid = |c: char| c.is_ascii_alphanumeric() || "_+.-".contains(c);
    match id.chars().find(|c| !valid(*c)) {
        Some(c) => fail(&format!("{c:?} is not allowed; letters, digits and _+.- are")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_harmless_names_pass() {
        for id in ["a", "web-1", "A.b_c+d", &"x".repeat(255)] {
            assert!(check(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "-a", "a/b", "../x", "a b", "a\0", "ä", &"x".repeat(256)] {
            assert!(check(id).is_err(), "{id}");
        }
    }
}
