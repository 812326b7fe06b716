//! Collects everything that is wrong with a configuration, so that one run
//! tells it all.

use crate::error::{Error, Result};

/// What the checks found so far.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Vec<Error>,
    warnings: Vec<String>,
}

impl Findings {
    /// Something that makes the configuration unusable.
    pub fn error(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// Something that the spec asks to log and to go on with.
    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// The value of `result`, or its error noted and `None`.
    pub fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    /// `value` and the warnings, or all errors as one.
    ///
    /// # Errors
    /// If there was any.
    pub fn finish<T>(mut self, value: T) -> Result<(T, Vec<String>)> {
        match self.errors.len() {
            0 => Ok((value, self.warnings)),
            1 => Err(self.errors.remove(0).at("config.json")),
            count => {
                let all: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
                Err(Error::new(format!("config.json: {count} problems: {}", all.join("; "))))
            }
        }
    }
}
