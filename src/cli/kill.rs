//! `pinnace kill`.

use super::Verb;
use super::arguments::arguments;
use super::shared::to_each;
use crate::container::{self, Runtime};
use crate::error::Result;

arguments! {
    /// Arguments of `kill`.
    pub struct Kill {
        /// Send the signal to all processes of the container (obsolete)
        all: bool = "-a, --all",
        /// CONTAINER is a regular expression, regex(7): all in whose name it is found
        regex: bool = "-r, --regex",
        /// Name of the container
        id: String = "CONTAINER",
        /// Name or number [default: the image's stop signal, or TERM]
        signal: Option<String> = "[SIGNAL]",
    }
}

impl Verb for Kill {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        to_each(runtime, &self.id, self.regex, |id| {
            container::kill(runtime, id, self.signal.as_deref(), self.all)
        })?;
        Ok(0)
    }
}
