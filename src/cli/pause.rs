//! `pinnace pause` and `pinnace resume`.

use super::Verb;
use crate::container::{self, Runtime};
use crate::error::Result;
use clap::Args;

/// Arguments of `pause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Pause {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::pause(runtime, &self.id)?;
        Ok(0)
    }
}

impl Verb for Resume {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::resume(runtime, &self.id)?;
        Ok(0)
    }
}
