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

    /// The value of a part that collects by itself.
    pub fn absorb<T>(
        &mut self,
        part: std::result::Result<(T, Vec<String>), Vec<Error>>,
    ) -> Option<T> {
        match part {
            Ok((value, warnings)) => {
                self.warnings.extend(warnings);
                Some(value)
            }
            Err(errors) => {
                self.errors.extend(errors);
                None
            }
        }
    }

    /// All errors as one.
    ///
    /// # Errors
    /// Always.
    pub fn fail<T>(self) -> Result<T> {
        let all: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
        match self.errors.into_iter().next() {
            Some(only) if all.len() == 1 => Err(only.at("config.json")),
            _ => {
                Err(Error::new(format!("config.json: {} problems: {}", all.len(), all.join("; "))))
            }
        }
    }

    /// `value` and the warnings, or all errors as one.
    ///
    /// # Errors
    /// If there was any.
    pub fn finish<T>(self, value: T) -> Result<(T, Vec<String>)> {
        if self.errors.is_empty() { Ok((value, self.warnings)) } else { self.fail() }
    }
}
