//! `pinnace run`.

use super::Verb;
use super::arguments::arguments;
use super::shared::Creation;
use crate::container::{self, RunOptions, Runtime};
use crate::error::Result;

arguments! {
    /// Arguments of `run`.
    pub struct Run {
        ..creation: Creation,
        /// Return as soon as the program runs
        detach: bool = "-d, --detach",
        /// Keep the container after its program has ended
        keep: bool = "--keep",
        /// Do not adopt the processes that the container leaves behind
        no_subreaper: bool = "--no-subreaper",
    }
}

impl Verb for Run {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let ending =
            RunOptions { detach: self.detach, keep: self.keep, no_subreaper: self.no_subreaper };
        container::run(
            runtime,
            &self.creation.settings(runtime.inherited_fds, true, !self.detach)?,
            ending,
        )
    }
}
