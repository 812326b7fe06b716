//! `pinnace kill`.

use super::Verb;
use super::arguments::arguments;
use super::shared::{matching, to_each};
use crate::container::{self, Runtime, parse_signal};
use crate::error::Result;

arguments! {
    /// Arguments of `kill`.
    pub struct Kill {
        /// Send the signal to all processes of the container (obsolete)
        all: bool = "-a, --all",
        /// CONTAINER is a regular expression, regex(7): all in whose name it is found
        regex: bool = "-r, --regex",
        /// Name of the container; there may be several
        words: Vec<String> = "CONTAINER...",
        /// Name or number [default: the image's stop signal, or TERM]
        signal: Option<String> = "[SIGNAL]",
    }
}

impl Verb for Kill {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let Self { all, regex, mut words, .. } = self;
        // All words were taken for names: the last of several may be the signal.
        let has_signal = words.len() > 1 && (regex || is_signal(runtime, &words)?);
        let signal = if has_signal { words.pop() } else { None };
        let signal = signal.filter(|signal| !signal.is_empty());
        let ids = if regex { matching(runtime, &words)? } else { words };
        to_each(&ids, !regex, |id| container::kill(runtime, id, signal.as_deref(), all))?;
        Ok(0)
    }
}

/// Whether the last word is a signal. Else it must be a container, as the others must: who has
/// mistyped a signal does not want another one to be sent.
fn is_signal(runtime: &Runtime, words: &[String]) -> Result<bool> {
    let Some((last, others)) = words.split_last() else { return Ok(false) };
    let unknown = match parse_signal(last) {
        Err(error) if !last.is_empty() => error,
        _ => return Ok(true),
    };
    others.iter().try_for_each(|id| runtime.store.summary(id).map(drop))?;
    match runtime.store.summary(last) {
        Ok(_) => Ok(false),
        // Nor has a container that name, or could have it.
        Err(_) => Err(unknown),
    }
}
