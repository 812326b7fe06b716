//! Collects everything that is wrong with a configuration, so that one run
//! tells it all.

use super::sections::section;
use crate::error::{Error, Result, brief};

/// What the checks found so far: the one list that every planner adds to.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Vec<Error>,
    warnings: Vec<Error>,
    told: Vec<Error>,
    advice: Vec<Error>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// A MUST is broken, or we cannot do what is asked: nothing is made.
    Error,
    /// A SHOULD of the configuration is broken: logged, and we go on. Or a part of it has no
    /// effect, as the spec demands: told by `pinnace plan` alone.
    Warning,
    /// Legal, and perhaps not meant: told by `pinnace plan` alone.
    Advice,
}

/// One finding, taken apart for those who read it by program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Path of the field, as `mounts[3].destination`; empty if it is about the host.
    pub field: String,
    /// What is wrong with it.
    pub rule: String,
    /// Where the spec speaks of the field.
    pub section: &'static str,
}

impl Findings {
    /// Something that makes the configuration unusable.
    pub fn error(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// A rule that a field breaks.
    pub fn refuse(&mut self, field: impl std::fmt::Display, rule: impl Into<String>) {
        self.error(Error::new(rule).at(field));
    }

    /// Something that the spec asks to log and to go on with.
    pub fn warn(&mut self, warning: Error) {
        self.warnings.push(warning);
    }

    /// Something that has no effect, or not the one that was meant, and that the spec does not
    /// want to be in the way: only who asks hears of it.
    pub fn tell(&mut self, finding: Error) {
        self.told.push(finding);
    }

    /// Something that only a person who asks wants to hear.
    pub fn advise(&mut self, advice: Error) {
        self.advice.push(advice);
    }

    /// The value of `result`, or its error noted and `None`.
    pub fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    /// The errors so far.
    pub fn errors(&self) -> &[Error] {
        &self.errors
    }

    /// The warnings so far.
    pub fn warnings(&self) -> &[Error] {
        &self.warnings
    }

    /// All findings, the worst first, in the order of the checks.
    pub fn list(&self) -> Vec<Finding> {
        let of = |severity, list, unknown| {
            <[Error]>::iter(list).map(move |error| Finding::of(severity, error, unknown))
        };
        of(Severity::Error, &self.errors, "")
            .chain(of(Severity::Warning, &self.warnings, ""))
            .chain(of(Severity::Warning, &self.told, "config.md, Extensibility"))
            .chain(of(Severity::Advice, &self.advice, ""))
            .collect()
    }

    /// `value`, or the errors as one line, as many as fit.
    ///
    /// # Errors
    /// If there was any.
    pub fn check<T>(mut self, value: T) -> Result<T> {
        match self.errors.as_slice() {
            [] => Ok(value),
            [_] => Err(self.errors.remove(0)),
            all => {
                let (texts, more) = told(all);
                let mut texts = texts.join("; ");
                if more > 0 {
                    texts.push_str(&format!("; and {more} more"));
                }
                Err(Error::new(texts).at(format_args!("{} problems", all.len())))
            }
        }
    }

    /// `value` and the warnings, or the errors of `config.json` as one line.
    ///
    /// # Errors
    /// If there was any.
    pub fn finish<T>(self, value: T) -> Result<(T, Vec<Error>)> {
        self.finish_as("config.json", value)
    }

    /// As [`Self::finish`], for a document of another name.
    ///
    /// # Errors
    /// If there was any.
    pub fn finish_as<T>(mut self, name: &str, value: T) -> Result<(T, Vec<Error>)> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if let Some(more) = warnings.len().checked_sub(MAX_FINDINGS).filter(|more| *more > 0) {
            warnings.truncate(MAX_FINDINGS);
            warnings.push(Error::new(format!("and {more} more warnings: {PLAN}")));
        }
        let cut = told(&self.errors).1 > 0;
        self.check((value, warnings)).map_err(|error| {
            // An option is not in the document.
            let of_option = error.place().starts_with("--");
            let error = if of_option { error } else { error.at(name) };
            if cut { error.hint(PLAN) } else { error }
        })
    }
}

/// A field that must be there and is not, or is empty, which types of a configuration do
/// not tell apart. `rule` says what it must be.
pub fn missing(field: impl std::fmt::Display, rule: &str) -> Error {
    Error::new("is missing or empty").at(&field).hint(format!("it must be {rule}"))
}

/// The most findings of a kind that are told in one run, and their bytes.
const MAX_FINDINGS: usize = 20;
const BYTES: usize = 3000;
const PLAN: &str = "`pinnace plan` lists them all";

/// The errors that fit on a line, and the number of the others.
fn told(errors: &[Error]) -> (Vec<String>, usize) {
    let mut left = BYTES;
    let mut texts = Vec::new();
    for error in errors.iter().take(MAX_FINDINGS) {
        let text = brief(&error.to_string());
        left = match left.checked_sub(text.len()) {
            None if !texts.is_empty() => break,
            left => left.unwrap_or(0),
        };
        texts.push(text);
    }
    let more = errors.len() - texts.len();
    (texts, more)
}

impl Finding {
    /// The outermost place is the field, if the spec knows it, or has `unknown` to say of it.
    fn of(severity: Severity, error: &Error, unknown: &'static str) -> Self {
        let field = error.place();
        let (field, rule, section) = match (section(field), unknown) {
            ("", "") => ("", error.to_string(), ""),
            ("", section) | (section, _) => (field, error.rule(), section),
        };
        Self { severity, field: brief(field), rule: brief(&rule), section }
    }
}
