//! The one error type. A message reads from the outside in: the field of
//! `config.json`, the call with its arguments, the errno in words, a hint.
//!
//! An error is returned or printed, never both, and it crosses the socket
//! between init and its parent unchanged (see [`crate::sync`]).

use rustix::io::Errno;
use std::fmt;

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
            Some(code) => Self::os(call, Errno::from_raw_os_error(code)),
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
    pub fn from_parts(kind: Kind, message: String, errno: i32, hint: String) -> Self {
        Self {
            kind,
            message,
            errno: (errno != 0).then(|| Errno::from_raw_os_error(errno)),
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
