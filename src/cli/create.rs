//! `pinnace create`.

use super::Verb;
use super::arguments::arguments;
use super::shared::Creation;
use crate::container::{self, Runtime};
use crate::error::Result;

arguments! {
    /// Arguments of `create`.
    pub struct Create {
        ..creation: Creation,
    }
}

impl Verb for Create {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::create(runtime, &self.creation.settings(runtime.inherited_fds, false, false)?)?
            .leave(runtime)?;
        Ok(0)
    }
}
