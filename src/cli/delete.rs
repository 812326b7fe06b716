//! `pinnace delete`.

use super::Verb;
use crate::container::{self, Runtime};
use crate::error::Result;
use clap::Args;

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Kill what runs; a container that does not exist is no error
    #[arg(short, long)]
    force: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Delete {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::delete(runtime, &self.id, self.force)?;
        Ok(0)
    }
}
