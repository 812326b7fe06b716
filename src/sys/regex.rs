//! Regular expressions of regex(7), by the C library.

use crate::error::{Error, Result};
use std::ffi::CString;
use std::mem::MaybeUninit;

/// A compiled extended regular expression.
pub struct Regex {
    compiled: Box<libc::regex_t>,
}

impl Regex {
    /// Compiles `pattern`, see regcomp(3).
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn new(pattern: &str) -> Result<Self> {
        let wrong = |why: &str| Error::new(format!("{pattern:?} is no regular expression: {why}"));
        let text = CString::new(pattern).map_err(|_| wrong("it has a NUL byte"))?;
        let mut room = Box::new(MaybeUninit::<libc::regex_t>::uninit());
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: `room` is writable and of that type, `text` ends with a NUL.
        let code = unsafe { libc::regcomp(room.as_mut_ptr(), text.as_ptr(), flags) };
        if code != 0 {
            let mut why = [0_u8; 128];
            // SAFETY: at most `why.len()` bytes are written, the last of them a NUL;
            // after a failure the compiled pattern is not looked at (regerror(3)).
            unsafe { libc::regerror(code, room.as_ptr(), why.as_mut_ptr().cast(), why.len()) };
            let end = why.iter().position(|byte| *byte == 0).unwrap_or(why.len());
            return Err(wrong(&String::from_utf8_lossy(&why[..end])));
        }
        // SAFETY: regcomp(3) has succeeded and so has filled it in.
        Ok(Self { compiled: unsafe { room.assume_init() } })
    }

    /// Whether the pattern is found somewhere in `text`.
    pub fn is_in(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: `compiled` is a compiled pattern, `text` ends with a NUL, and no
        // place of a match is asked for.
        unsafe {
            libc::regexec(&raw const *self.compiled, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0
        }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it was compiled by regcomp(3) and is freed once.
        unsafe { libc::regfree(&raw mut *self.compiled) };
    }
}

#[cfg(test)]
mod tests {
    use super::Regex;

    #[test]
    fn patterns_are_extended_and_found_anywhere() {
        let pattern = Regex::new("^web-[0-9]+$|b{2}").unwrap();
        for (text, is_in) in [("web-12", true), ("web-", false), ("abba", true), ("x\0bb", false)] {
            assert_eq!(pattern.is_in(text), is_in, "{text}");
        }
        for wrong in ["(", "[", "a\0"] {
            let error = Regex::new(wrong).err().unwrap().to_string();
            assert!(error.contains("is no regular expression: "), "{error}");
        }
    }
}
