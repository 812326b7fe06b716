//! The one error type. It keeps its parts, and they are joined to one line only where it is
//! shown, from the outside in: the field of `config.json`, the call with its arguments, the
//! errno in words, and in brackets the way out and what failed while it was undone.
//!
//! An error is returned or printed, never both, and its parts cross the socket between init
//! and its parent (see [`crate::sync`]).

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

/// One failure, told once. It is as small as a pointer: most results are no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    kind: Kind,
    /// Fields and steps, the innermost first.
    places: Vec<String>,
    /// With its arguments; or a sentence, if no system call reported the failure.
    call: String,
    errno: Option<Errno>,
    notes: Vec<Note>,
}

/// What stands in the brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Note {
    Hint(String),
    /// What failed while the failure was undone.
    Then(Error),
}

impl Error {
    /// A failure that no system call reported.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(message.into(), None)
    }

    /// A failed system call: `call` names it with its arguments.
    pub fn os(call: impl Into<String>, errno: impl Into<Errno>) -> Self {
        Self::of(call.into(), Some(errno.into()))
    }

    fn of(call: String, errno: Option<Errno>) -> Self {
        let (places, notes) = (Vec::new(), Vec::new());
        Self(Box::new(Parts { kind: Kind::Other, places, call, errno, notes }))
    }

    /// As [`Error::os`] for a `std` call; the error of the system is kept.
    pub fn io(call: impl Into<String>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => Self::os(call, errno(code)),
            None => Self::new(error.to_string()).at(call.into()),
        }
    }

    /// Puts a step or a field of the configuration in front.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.places.push(place.to_string());
        self
    }

    /// The way out. The first hint wins: it is nearest to the cause.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if !self.0.notes.iter().any(|note| matches!(note, Note::Hint(_))) {
            self.0.notes.insert(0, Note::Hint(hint.into()));
        }
        self
    }

    /// As [`Error::hint`], if the call has failed with `errno`.
    #[must_use]
    pub fn hint_on(self, errno: Errno, hint: impl Into<String>) -> Self {
        if self.errno() == Some(errno) { self.hint(hint) } else { self }
    }

    /// As [`Error::hint`], with the known word that may have been meant, if there is one.
    #[must_use]
    pub fn guess(self, near: Option<&str>) -> Self {
        match near {
            Some(near) => self.hint(format!("did you mean {near:?}?")),
            None => self,
        }
    }

    /// Another way out beside the one that there may be.
    #[must_use]
    pub fn also(mut self, hint: impl Into<String>) -> Self {
        self.0.notes.push(Note::Hint(hint.into()));
        self
    }

    /// The same with what went wrong when it was undone, if anything did.
    #[must_use]
    pub fn and(mut self, undone: Result<()>) -> Self {
        self.0.notes.extend(undone.err().map(Note::Then));
        self
    }

    /// Sets the kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The failure alone, of no kind, without what stands in the brackets.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.0.notes.clear();
        self.kind(Kind::Other)
    }

    /// The kind.
    pub fn get_kind(&self) -> Kind {
        self.0.kind
    }

    /// The errno, when a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// The outermost place; empty if there is none.
    pub fn place(&self) -> &str {
        self.0.places.last().map_or("", String::as_str)
    }

    /// What is shown behind the outermost place.
    pub fn rule(&self) -> String {
        let inner = self.0.places.split_last().map_or(&[][..], |(_, inner)| inner);
        Shown(self, inner).to_string()
    }

    /// The call, and then the places around it, outwards.
    pub fn outwards(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.0.call).chain(&self.0.places).map(String::as_str)
    }

    /// The parts but for the kind, in no more than `most` bytes: errno, and of each other part
    /// a letter, its length and its text. What is long is cut, the notes before all else.
    pub fn encode(&self, most: usize) -> Vec<u8> {
        let parts = &*self.0;
        let mut bytes = parts.errno.map_or(0, Errno::raw_os_error).to_le_bytes().to_vec();
        let mut put = |letter: u8, most: usize, text: &dyn Fn(usize) -> Vec<u8>| {
            if let Some(left) = most.checked_sub(bytes.len() + 5).filter(|left| *left >= 4) {
                let text = text(left);
                bytes.push(letter);
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text);
            }
        };
        let cut = |text: &str, left: usize| start(text, left).into();
        for note in &parts.notes {
            match note {
                Note::Hint(hint) => put(b'h', most.min(NOTES), &|left| cut(hint, left)),
                Note::Then(second) => put(b't', most.min(NOTES), &|left| second.encode(left)),
            }
        }
        parts.places.iter().rev().for_each(|place| put(b'p', most, &|left| cut(place, left)));
        put(b'c', most, &|left| cut(&parts.call, left));
        bytes
    }

    /// The opposite of [`Error::encode`]; `None` if the bytes make no sense.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Option<Self> {
        Self::decode_to(DEPTH, bytes).map(|error| error.kind(kind))
    }

    fn decode_to(depth: usize, bytes: &[u8]) -> Option<Self> {
        let (code, mut rest) = bytes.split_first_chunk::<4>()?;
        let code = i32::from_le_bytes(*code);
        let mut error = Self::of(String::new(), (code != 0).then(|| errno(code)));
        while let Some((letter, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk::<4>()?;
            let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = after;
            let words = || String::from_utf8_lossy(text).into_owned();
            match letter {
                b'h' => error = error.also(words()),
                b't' => error = error.and(Err(Self::decode_to(depth.checked_sub(1)?, text)?)),
                b'p' => error.0.places.insert(0, words()),
                b'c' => error.0.call = words(),
                _ => return None,
            }
        }
        Some(error)
    }
}

/// The most bytes of notes in a packet.
const NOTES: usize = 2100;
/// So many errors within one another are read: whoever sends more has not failed, but attacks.
const DEPTH: usize = 8;

/// An error and the places that are shown of it, the innermost first.
struct Shown<'a>(&'a Error, &'a [String]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Error(parts), places) = self;
        places.iter().rev().try_for_each(|place| write!(f, "{place}: "))?;
        f.write_str(&parts.call)?;
        if let Some(errno) = parts.errno {
            write!(f, ": {}", errno_text(errno))?;
        }
        for (i, note) in parts.notes.iter().enumerate() {
            f.write_str(if i == 0 { " (" } else { "; " })?;
            match note {
                Note::Hint(hint) => f.write_str(hint)?,
                Note::Then(second) => write!(f, "and then: {second}")?,
            }
        }
        f.write_str(if parts.notes.is_empty() { "" } else { ")" })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(self, &self.0.places).fmt(f)
    }
}

impl std::error::Error for Error {}

/// The first bytes of a text, at most that many, whole characters only.
pub fn start(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rfind(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

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
    let mut parts = Pieces(message);
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
    let left = most.saturating_sub(MARK);
    let boundary = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=left * 2 / 3).rfind(boundary).unwrap_or(0);
    let tail = (text.len() - left / 3..text.len()).find(boundary).unwrap_or(text.len());
    line.push_str(&text[..head]);
    // A String takes all that is written to it.
    let _cannot_fail = write!(line, "... {} bytes ...", tail - head).is_err();
    line.push_str(&text[tail..]);
}

/// A message in pieces: quoted values, and what stands before the next of them, colon,
/// semicolon or hint.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
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

/// Adds to a `Result` that is ours already what [`Error`] has a method for; computed only
/// on failure.
pub trait At<T> {
    /// As [`Error::at`].
    fn at<P: fmt::Display>(self, place: impl FnOnce() -> P) -> Result<T>;
    /// As [`Error::hint`].
    fn hint<H: Into<String>>(self, hint: impl FnOnce() -> H) -> Result<T>;
    /// As [`Error::hint_on`].
    fn hint_on<H: Into<String>>(self, errno: Errno, hint: impl FnOnce() -> H) -> Result<T>;
}

impl<T> At<T> for Result<T> {
    fn at<P: fmt::Display>(self, place: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|error| error.at(place()))
    }

    fn hint<H: Into<String>>(self, hint: impl FnOnce() -> H) -> Result<T> {
        self.map_err(|error| error.hint(hint()))
    }

    fn hint_on<H: Into<String>>(self, errno: Errno, hint: impl FnOnce() -> H) -> Result<T> {
        self.map_err(|error| if error.errno() == Some(errno) { error.hint(hint()) } else { error })
    }
}
