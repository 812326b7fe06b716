//! An error that knows which field of `linux.seccomp` it is about.

use crate::error::Error;
use crate::plan::Findings;

/// A finding, and the way to its field.
#[derive(Debug)]
pub(super) struct Bad {
    field: String,
    error: Error,
}

pub(super) type Result<T> = std::result::Result<T, Bad>;

impl Bad {
    /// A finding in a field.
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), error: Error::new(message) }
    }

    /// Appends the way out.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { error: self.error.hint(hint), ..self }
    }

    /// As [`Bad::hint`], with the word that may have been meant.
    pub(super) fn guess(self, near: Option<&str>) -> Self {
        Self { error: self.error.guess(near), ..self }
    }

    /// The error as the caller sees it: `linux.seccomp.syscalls[3].action: ...`.
    pub(super) fn into_error(self) -> Error {
        self.error.at(format!("linux.seccomp.{}", self.field))
    }
}

/// The value, or its finding noted with the whole path of the field.
pub(super) fn keep<T>(result: Result<T>, findings: &mut Findings) -> Option<T> {
    findings.keep(result.map_err(Bad::into_error))
}

/// Puts the outer field in front.
pub(super) trait Within<T> {
    fn within(self, field: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Within<T> for Result<T> {
    fn within(self, outer: impl FnOnce() -> String) -> Self {
        self.map_err(|bad| Bad { field: format!("{}.{}", outer(), bad.field), ..bad })
    }
}
