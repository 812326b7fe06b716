//! Collects everything that is wrong with a configuration, so that one run
//! tells it all.

use super::sections::section;
use crate::error::{Error, Result, brief};

/// What the checks found so far: the one list that every planner adds to.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Vec<Error>,
    warnings: Vec<String>,
    /// Field and rule.
    told: Vec<(String, String)>,
    advice: Vec<String>,
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

    /// Something that the spec asks to log and to go on with.
    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Something that has no effect, or not the one that was meant, and that the spec does not
    /// want to be in the way: only who asks hears of it.
    pub fn tell(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.told.push((field.into(), rule.into()));
    }

    /// Something that only a person who asks wants to hear.
    pub fn advise(&mut self, advice: impl Into<String>) {
        self.advice.push(advice.into());
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
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All findings, the worst first, in the order of the checks.
    pub fn list(&self) -> Vec<Finding> {
        let errors = self.errors.iter().map(|error| split(Severity::Error, &error.to_string()));
        let warnings = self.warnings.iter().map(|text| split(Severity::Warning, text));
        let told = self.told.iter().map(|(field, rule)| Finding {
            severity: Severity::Warning,
            field: brief(field),
            rule: brief(rule),
            section: match section(field) {
                "" => "config.md, Extensibility",
                section => section,
            },
        });
        let advice = self.advice.iter().map(|text| split(Severity::Advice, text));
        errors.chain(warnings).chain(told).chain(advice).collect()
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
                let texts = texts.join("; ");
                let message = format!("{} problems: {texts}", all.len());
                Err(if more == 0 {
                    Error::new(message)
                } else {
                    Error::new(format!("{message}; and {more} more"))
                })
            }
        }
    }

    /// `value` and the warnings, or the errors of `config.json` as one line.
    ///
    /// # Errors
    /// If there was any.
    pub fn finish<T>(self, value: T) -> Result<(T, Vec<String>)> {
        self.finish_as("config.json", value)
    }

    /// As [`Self::finish`], for a document of another name.
    ///
    /// # Errors
    /// If there was any.
    pub fn finish_as<T>(mut self, name: &str, value: T) -> Result<(T, Vec<String>)> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if let Some(more) = warnings.len().checked_sub(MOST).filter(|more| *more > 0) {
            warnings.truncate(MOST);
            warnings.push(format!("and {more} more warnings: {PLAN}"));
        }
        let cut = told(&self.errors).1 > 0;
        self.check((value, warnings)).map_err(|error| {
            // An option is not in the document.
            let of_option = error.parts().0.starts_with("--");
            let error = if of_option { error } else { error.at(name) };
            if cut { error.hint(PLAN) } else { error }
        })
    }
}

/// A field that must be there and is not, or is empty, which types of a configuration do
/// not tell apart. `rule` says what it must be.
pub fn missing(field: impl std::fmt::Display, rule: &str) -> Error {
    Error::new(format!("{field}: is missing or empty")).hint(format!("it must be {rule}"))
}

/// The most findings of a kind that are told in one run, and their bytes.
const MOST: usize = 20;
const BYTES: usize = 3000;
const PLAN: &str = "`pinnace plan` lists them all";

/// The errors that fit on a line, and the number of the others.
fn told(errors: &[Error]) -> (Vec<String>, usize) {
    let mut room = BYTES;
    let mut texts = Vec::new();
    for error in errors.iter().take(MOST) {
        let text = brief(&error.to_string());
        room = match room.checked_sub(text.len()) {
            None if !texts.is_empty() => break,
            left => left.unwrap_or(0),
        };
        texts.push(text);
    }
    let more = errors.len() - texts.len();
    (texts, more)
}

/// Every message begins with its field, if it has one.
fn split(severity: Severity, text: &str) -> Finding {
    let text = brief(text);
    let (field, rule) = match text.split_once(": ") {
        Some((field, rule)) if !section(field).is_empty() => (field, rule),
        _ => ("", text.as_str()),
    };
    Finding { severity, field: field.into(), rule: rule.into(), section: section(field) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(errors: &[&str]) -> Findings {
        let mut findings = Findings::default();
        errors.iter().for_each(|text| findings.error(Error::new(*text)));
        findings
    }

    #[test]
    fn all_errors_are_one_line() {
        assert!(findings(&[]).finish(1).is_ok());
        let line = |texts: &[&str]| findings(texts).finish(()).unwrap_err().to_string();
        assert_eq!(line(&["root: required"]), "config.json: root: required");
        assert_eq!(line(&["a: b", "c: d"]), "config.json: 2 problems: a: b; c: d");
    }

    #[test]
    fn a_thousand_errors_are_one_short_line() {
        let all: Vec<String> =
            (0..1000).map(|n| format!("mounts[{n}]: {}", "x".repeat(n))).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let line = findings(&all).finish(()).unwrap_err().to_string();
        assert!(line.len() < 4096, "{}", line.len());
        assert!(line.starts_with("config.json: 1000 problems: mounts[0]: ; mounts[1]: x; "));
        assert!(line.ends_with("; and 980 more (`pinnace plan` lists them all)"), "{line}");
        let mut findings = Findings::default();
        (0..1000).for_each(|n| findings.warn(n.to_string()));
        let ((), warnings) = findings.finish(()).unwrap();
        assert_eq!(warnings.len(), MOST + 1);
        assert!(warnings[MOST].starts_with("and 980 more warnings: "), "{warnings:?}");
    }

    #[test]
    fn what_is_told_to_who_asks_has_a_field_and_a_section_and_is_never_logged() {
        let mut findings = Findings::default();
        findings.tell("hostName", "x: y");
        findings.tell("process.capabilites", "z");
        findings.advise("mounts: no /proc");
        let list = findings.list();
        let seen: Vec<_> = list
            .iter()
            .map(|f| (f.severity, f.field.as_str(), f.rule.as_str(), f.section))
            .collect();
        let warning = Severity::Warning;
        assert_eq!(
            seen,
            [
                (warning, "hostName", "x: y", "config.md, Extensibility"),
                (warning, "process.capabilites", "z", "config.md, Process"),
                (Severity::Advice, "mounts", "no /proc", "config.md, Mounts"),
            ]
        );
        assert_eq!(findings.finish(()).unwrap().1, [""; 0]);
    }

    #[test]
    fn a_finding_has_field_rule_and_section() {
        let mut findings =
            findings(&["process.rlimits[1].type: twice", "no cgroup: here", "linux.seccomp.x: y"]);
        findings.warn("mounts[0].destination: is relative");
        findings.advise("mounts: no /proc");
        let list = findings.list();
        let seen: Vec<_> = list.iter().map(|f| (f.field.as_str(), f.section)).collect();
        assert_eq!(
            seen,
            [
                ("process.rlimits[1].type", "config.md, POSIX process"),
                ("", ""),
                ("linux.seccomp.x", "config-linux.md, Seccomp"),
                ("mounts[0].destination", "config.md, Mounts"),
                ("mounts", "config.md, Mounts"),
            ]
        );
        assert_eq!(
            (list[1].rule.as_str(), list[3].severity),
            ("no cgroup: here", Severity::Warning)
        );
    }
}
