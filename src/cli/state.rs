//! `pinnace state`.

use super::Verb;
use super::usage::print;
use crate::container::{self, Runtime};
use crate::error::Result;
use clap::Args;

/// Arguments of `state`.
#[derive(Debug, Args)]
pub struct State {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for State {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        print(&container::state_json(runtime, &self.id)?);
        Ok(0)
    }
}
