//! `pinnace start`.

use super::Verb;
use crate::container::{self, Runtime};
use crate::error::Result;
use clap::Args;

/// Arguments of `start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Start {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::start(runtime, &self.id)?;
        Ok(0)
    }
}
