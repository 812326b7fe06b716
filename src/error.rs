//! The one error type. A message reads from the outside in: the field of
//! `config.json`, the call with its arguments, the errno in words, a hint.
//!
//! An error is returned or printed, never both, and it crosses the socket
//! between init and its parent unchanged (see [`crate::sync`]).

use rustix::io::Errno;
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything else.
    Other,
    /// No container has that id. Engines match "does not exist".
    NoContainer,
    /// The container has no process. Engines match "container not running".
    NotRunning,
    /// A hook failed: the container must be destroyed.
    Hook,
    /// A process of ours has been killed. Whoever ends a container kills them all.
    Killed,
    /// A process of ours was killed as it was made, and may be made in another way.
    NeverRan,
    /// A file system was refused for want of another one that the host may show elsewhere.
    NotShown,
}

impl Kind {
    /// Whether another way may lead to where this one has not.
    pub fn is_of_the_way(self) -> bool {
        matches!(self, Self::NeverRan | Self::NotShown)
    }
}

/// One failure, told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    /// Context and message, outermost first, already joined by ": ".
    message: String,
    errno: Option<Errno>,
    hint: Option<String>,
}

impl Error {
    /// A failure that no system call reported.
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: Kind::Other, message: message.into(), errno: None, hint: None }
    }

    /// A failed system call: `call` names it with its arguments.
    pub fn os(call: impl Into<String>, errno: impl Into<Errno>) -> Self {
        Self { errno: Some(errno.into()), ..Self::new(call) }
    }

    /// As [`Error::os`] for a `std` call; the error of the system is kept.
    pub fn io(call: impl Into<String>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => Self::os(call, errno(code)),
            None => Self::new(format!("{}: {error}", call.into())),
        }
    }

    /// Puts a step or a field of the configuration in front.
    #[must_use]
    pub fn at(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Appends the way out. The first hint wins: it is nearest to the cause.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }

    /// As [`Error::hint`], with the known word that may have been meant, if there is one.
    #[must_use]
    pub fn guess(self, near: Option<&str>) -> Self {
        match near {
            Some(near) => self.hint(format!("did you mean {near:?}?")),
            None => self,
        }
    }

    /// Appends another way out to the one that there may be.
    #[must_use]
    pub fn also(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.hint = Some(match self.hint {
            Some(first) => format!("{first}; {hint}"),
            None => hint,
        });
        self
    }

    /// The same with what went wrong when it was undone, if anything did.
    #[must_use]
    pub fn and(self, undone: Result<()>) -> Self {
        match undone {
            Ok(()) => self,
            Err(second) => self.also(format!("and then: {second}")),
        }
    }

    /// Sets the kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The kind.
    pub fn get_kind(&self) -> Kind {
        self.kind
    }

    /// The errno, when a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// The parts, for the wire: message, errno (0 for none), hint ("" for none).
    /// The kind goes separately.
    pub fn parts(&self) -> (&str, i32, &str) {
        let errno = self.errno.map_or(0, Errno::raw_os_error);
        (&self.message, errno, self.hint.as_deref().unwrap_or_default())
    }

    /// The opposite of [`Error::parts`] and [`Error::get_kind`].
    pub fn from_parts(kind: Kind, message: String, code: i32, hint: String) -> Self {
        Self {
            kind,
            message,
            errno: (code != 0).then(|| errno(code)),
            hint: (!hint.is_empty()).then_some(hint),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(errno) = self.errno {
            write!(f, ": {}", errno_text(errno))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The errno with that number; EIO for a number that no errno has (the kernel's
/// `MAX_ERRNO` is 4095).
pub fn errno(code: i32) -> Errno {
    if (1..=4095).contains(&code) { Errno::from_raw_os_error(code) } else { Errno::IO }
}

/// Text that may be shown on a terminal: characters that would move the cursor,
/// change the terminal or the direction of writing, or not be seen are escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_unseen(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown.into()
}

/// Control characters of ASCII and of Latin-1, line and paragraph separators,
/// marks of direction (Unicode, UAX #9), and tags.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

/// The most bytes of a message that are shown.
pub const LINE: usize = 4000;
/// The most bytes of one value in it.
pub const VALUE: usize = 500;
/// The most bytes of what stands between colons: two values and what is said of them.
const SENTENCE: usize = 2 * VALUE + 100;

/// A message for one short line: line breaks become spaces, what is unseen is
/// escaped. A part beyond [`VALUE`] bytes and a message beyond [`LINE`] lose their
/// middle. The end of a message names the cause. No sentence of ours is that long, so
/// only values are cut, also lists and paths that are not quoted.
pub fn brief(message: &str) -> String {
    let shown = |part: &str| printable(&part.replace(['\n', '\r'], " ")).into_owned();
    let mut line = String::with_capacity(message.len().min(LINE) + 16);
    let mut parts = Parts(message);
    // Where the sentence begins that the next part belongs to: a value may be full of quotes.
    let mut sentence = 0;
    while let Some(part) = parts.next() {
        cut(&mut line, &shown(part), VALUE);
        let is_whole = parts.0.is_empty() || part.ends_with([':', ';']) || part.ends_with(" (");
        if line.len() > 16 * LINE {
            cut(&mut line, &shown(parts.0), LINE);
            break;
        }
        if is_whole && line.len() - sentence > SENTENCE {
            let long = line.split_off(sentence);
            cut(&mut line, &long, SENTENCE);
        }
        sentence = if is_whole { line.len() } else { sentence };
    }
    if line.len() <= LINE {
        return line;
    }
    let mut short = String::with_capacity(LINE);
    cut(&mut short, &line, LINE);
    short
}

/// Appends `text`, without its middle if it is longer than `most` bytes. The result is not,
/// so that to shorten it again changes nothing.
fn cut(line: &mut String, text: &str, most: usize) {
    /// What stands for the middle, and a number of 20 digits.
    const MARK: usize = "...  bytes ...".len() + 20;
    if text.len() <= most {
        return line.push_str(text);
    }
    let room = most.saturating_sub(MARK);
    let boundary = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=room * 2 / 3).rfind(boundary).unwrap_or(0);
    let tail = (text.len() - room / 3..text.len()).find(boundary).unwrap_or(text.len());
    line.push_str(&text[..head]);
    // A String takes all that is written to it.
    let _cannot_fail = write!(line, "... {} bytes ...", tail - head).is_err();
    line.push_str(&text[tail..]);
}

/// A message in pieces: quoted values, and what stands before the next of them, colon,
/// semicolon or hint.
struct Parts<'a>(&'a str);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0;
        let length = match text.as_bytes().first()? {
            b'"' => {
                let mut escaped = false;
                let closing = |byte: &u8| {
                    let found = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    found
                };
                text.as_bytes()[1..].iter().position(closing).map_or(text.len(), |at| at + 2)
            }
            // All of these are ASCII, so they begin and end no other character. A quote
            // within a word is the value's own.
            _ => {
                let ends = |pair: &[u8]| match pair {
                    [before, b'"'] => !before.is_ascii_alphanumeric(),
                    _ => matches!(pair, b": " | b"; " | b" ("),
                };
                text.as_bytes().windows(2).position(ends).map_or(text.len(), |at| at + 1)
            }
        };
        let (part, rest) = text.split_at(length);
        self.0 = rest;
        Some(part)
    }
}

/// The C library's words for an errno, begun in lower case as they stand in
/// the middle of a line. Engines match some of them.
fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Adds context to a `Result`.
pub trait Context<T> {
    /// Turns a failure of the call named by `call` into an [`Error`].
    fn call(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::os(call(), errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::io(call(), &error))
    }
}

/// Adds an outer step or field to a `Result` that is ours already.
pub trait At<T> {
    /// As [`Error::at`], computed only on failure.
    fn at(self, context: impl FnOnce() -> String) -> Result<T>;
    /// As [`Error::hint`].
    fn or_hint(self, hint: &str) -> Result<T>;
}

impl<T> At<T> for Result<T> {
    fn at(self, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.at(context()))
    }
    fn or_hint(self, hint: &str) -> Result<T> {
        self.map_err(|error| error.hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_can_be_shown() {
        for (text, want) in [
            ("plain \u{e4}\u{4e2d} text", "plain \u{e4}\u{4e2d} text"),
            ("a\r\nb", "a  b"),
            ("\u{1b}[31m\u{7f}\u{9b}2J\u{0}\t", r"\u{1b}[31m\u{7f}\u{9b}2J\u{0}\t"),
            ("\u{202e}evil\u{2069}\u{2028}", r"\u{202e}evil\u{2069}\u{2028}"),
        ] {
            assert_eq!(brief(text), want);
        }
        let long = "\u{e4}".repeat(50_000);
        for value in [long.clone(), format!("{:?}", "a b ".repeat(50_000))] {
            let line = brief(&format!("mounts[1].type: {value} is none (so)"));
            assert!(line.len() < 600 && line.starts_with("mounts[1].type: "), "{line}");
            assert!(line.ends_with(" is none (so)") && line.contains("... "), "{line}");
        }
        let numbers: Vec<u32> = (0..70_000).collect();
        for value in [format!("{numbers:?}"), "a b ".repeat(1 << 20), "\u{1b} \n".repeat(999)]
            .into_iter()
            .chain(["e\"f\\ ", " \"x\" ", "\"", "'\"\\\""].map(|text| text.repeat(2000)))
        {
            let line = brief(&format!("process.x: call({value}): invalid (so); and {value}"));
            assert!(line.len() < 2400 && line.starts_with("process.x: call("), "{line}");
            assert!(line.contains("... "), "{line}");
            assert!(value.contains('"') || brief(&line) == line, "{line}");
        }
        for text in ["a: b ".repeat(1 << 20), "\u{1b} ".repeat(5000), "\"".repeat(9001)] {
            assert!(brief(&text).len() <= LINE);
        }
        assert_eq!(brief(""), "");
    }

    #[test]
    fn any_number_is_an_errno() {
        for code in [i32::MIN, -1, 4096, i32::MAX] {
            let error = Error::from_parts(Kind::Other, "x".into(), code, String::new());
            assert_eq!(error.errno(), Some(Errno::IO), "{code}");
        }
        assert_eq!(Error::from_parts(Kind::Other, "x".into(), 0, String::new()).errno(), None);
    }

    #[test]
    fn reads_from_the_outside_in() {
        let error = Error::os("mount tmpfs on /dev/shm", Errno::PERM)
            .at("mounts[3]")
            .hint("needs CAP_SYS_ADMIN");
        assert_eq!(
            error.to_string(),
            "mounts[3]: mount tmpfs on /dev/shm: operation not permitted (needs CAP_SYS_ADMIN)"
        );
        let (message, errno, hint) = error.parts();
        assert_eq!(Error::from_parts(Kind::Other, message.into(), errno, hint.into()), error);
    }
}
