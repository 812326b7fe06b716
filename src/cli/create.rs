//! `pinnace create`.

use super::Verb;
use super::shared::Creation;
use crate::container::{self, Runtime};
use crate::error::Result;
use clap::Args;

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    creation: Creation,
}

impl Verb for Create {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::create(runtime, &self.creation.settings(runtime.inherited_fds, false, false)?)?
            .leave()?;
        Ok(0)
    }
}
