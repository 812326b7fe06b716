//! `pinnace pause` and `pinnace resume`.

use super::Verb;
use super::arguments::arguments;
use crate::container::{self, Runtime};
use crate::error::Result;

arguments! {
    /// Arguments of `pause`.
    pub struct Pause {
        /// Name of the container
        id: String = "CONTAINER",
    }
}

arguments! {
    /// Arguments of `resume`.
    pub struct Resume {
        /// Name of the container
        id: String = "CONTAINER",
    }
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
