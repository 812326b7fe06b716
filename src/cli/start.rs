//! `pinnace start`.

use super::Verb;
use super::arguments::arguments;
use crate::container::{self, Runtime};
use crate::error::Result;

arguments! {
    /// Arguments of `start`.
    pub struct Start {
        /// Name of the container
        id: String = "CONTAINER",
    }
}

impl Verb for Start {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::start(runtime, &self.id)?;
        Ok(0)
    }
}
