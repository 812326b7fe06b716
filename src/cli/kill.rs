//! `pinnace kill`.

use super::Verb;
use crate::container::{self, Runtime};
use crate::error::Result;
use clap::Args;

/// Arguments of `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Send the signal to all processes of the container (obsolete)
    #[arg(short, long)]
    all: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
    /// Name or number [default: the image's stop signal, or TERM]
    #[arg(value_name = "SIGNAL")]
    signal: Option<String>,
}

impl Verb for Kill {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::kill(runtime, &self.id, self.signal.as_deref(), self.all)?;
        Ok(0)
    }
}
