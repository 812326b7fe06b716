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
        if expanded(pattern.as_bytes()) > MAX_ATOMS {
            return Err(wrong("it is too long, its repetitions written out")
                .hint(format!("at most {MAX_ATOMS} characters")));
        }
        let mut buffer = Box::new(MaybeUninit::<libc::regex_t>::uninit());
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: `buffer` is writable and of that type, `text` ends with a NUL.
        let code = unsafe { libc::regcomp(buffer.as_mut_ptr(), text.as_ptr(), flags) };
        if code != 0 {
            let mut why = [0_u8; 128];
            // SAFETY: at most `why.len()` bytes are written, the last of them a NUL;
            // after a failure the compiled pattern is not looked at (regerror(3)).
            unsafe { libc::regerror(code, buffer.as_ptr(), why.as_mut_ptr().cast(), why.len()) };
            let end = why.iter().position(|byte| *byte == 0).unwrap_or(why.len());
            return Err(wrong(&String::from_utf8_lossy(&why[..end])));
        }
        // SAFETY: regcomp(3) has succeeded and so has filled it in.
        Ok(Self { compiled: unsafe { buffer.assume_init() } })
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

/// The most atoms of a pattern with its bounds written out: regcomp(3) does so,
/// and takes time and memory with the square of it.
const MAX_ATOMS: usize = 2000;

/// How many atoms a pattern has once each `{m,n}` is written out.
fn expanded(pattern: &[u8]) -> usize {
    // Of each open group, itself an atom: the atoms before the last one, and those of
    // the last.
    let mut groups = vec![(0_usize, 0_usize)];
    let mut left = pattern;
    while let [byte, rest @ ..] = left {
        left = rest;
        let depth = groups.len();
        let Some((sum, last)) = groups.last_mut() else { break };
        match byte {
            b'{' => {
                let end = left.iter().position(|byte| *byte == b'}').unwrap_or(left.len());
                *last = last.saturating_mul(copies(&left[..end]).max(1));
                left = left.get(end + 1..).unwrap_or_default();
                continue;
            }
            // Nested ones take time with the power of their depth.
            b'*' | b'?' | b'+' => {
                *last = last.saturating_mul(2);
                continue;
            }
            b'(' => {
                groups.push((1, 0));
                continue;
            }
            b')' if depth > 1 => {
                let inner = sum.saturating_add(*last);
                groups.pop();
                if let Some((sum, last)) = groups.last_mut() {
                    *sum = sum.saturating_add(*last);
                    *last = inner;
                }
                continue;
            }
            b'\\' => left = left.get(1..).unwrap_or_default(),
            b'[' => {
                // A bracket right behind the opening one, or behind ^, is an item.
                let skip = 1 + usize::from(left.first() == Some(&b'^'));
                let items = left.get(skip..).unwrap_or_default();
                let end = items.iter().position(|byte| *byte == b']');
                left = items.get(end.unwrap_or(items.len()) + 1..).unwrap_or_default();
            }
            _ => {}
        }
        *sum = sum.saturating_add(*last);
        *last = 1;
    }
    groups.iter().fold(0, |all, (sum, last)| all.saturating_add(*sum).saturating_add(*last))
}

/// How often an atom with the bounds `m,n` is written: `m,` is m and any number.
fn copies(bounds: &[u8]) -> usize {
    let number =
        |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    let mut parts = bounds.split(|byte| *byte == b',');
    let first = parts.next().and_then(number);
    match parts.next() {
        None => first.unwrap_or(1),
        Some(b"") => first.unwrap_or(0_usize).saturating_add(1),
        Some(last) => first.max(number(last)).unwrap_or(1),
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
    use super::{MAX_ATOMS, Regex, expanded};

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

    #[test]
    fn a_pattern_has_a_size() {
        for (pattern, size) in [
            ("", 0),
            ("abc", 3),
            ("a{3}b", 4),
            ("(ab){2,5}c", 16),
            ("[]x{9}]{4}", 4),
            ("(a+b)+", 8),
            ("a*b?c.*", 2 + 2 + 1 + 2),
            ("a{2,}", 3),
            ("(a{,7}b{3,x}){100}", 100 * (1 + 7 + 3)),
            (r"\({3}", 3),
            ("((a{2}){3}){4}", 4 * (3 * (2 + 1) + 1)),
        ] {
            assert_eq!(expanded(pattern.as_bytes()), size, "{pattern}");
        }
        for long in [
            "a{255}{255}{255}",
            "((a{255}){255}){255}",
            "a?????????++++++++",
            &("a".to_owned() + &"+".repeat(30)),
            &"a".repeat(MAX_ATOMS + 1),
            &"(".repeat(9000),
        ] {
            let error = Regex::new(long).err().unwrap().to_string();
            assert!(error.contains("is no regular expression: "), "{error}");
        }
        assert!(Regex::new("^[a-z0-9]{1,64}(-[0-9]+){0,8}$").unwrap().is_in("web-1-2"));
    }
}
