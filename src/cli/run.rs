//! `pinnace run`.

use super::Verb;
use super::shared::Creation;
use crate::container::{self, Ending, Runtime};
use crate::error::Result;
use clap::Args;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    creation: Creation,
    /// Return as soon as the program runs
    #[arg(short, long)]
    detach: bool,
    /// Keep the container after its program has ended
    #[arg(long)]
    keep: bool,
    /// Do not adopt the processes that the container leaves behind
    #[arg(long)]
    no_subreaper: bool,
}

impl Verb for Run {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let ending =
            Ending { detach: self.detach, keep: self.keep, no_subreaper: self.no_subreaper };
        container::run(
            runtime,
            &self.creation.settings(runtime.inherited_fds, true, !self.detach)?,
            ending,
        )
    }
}
