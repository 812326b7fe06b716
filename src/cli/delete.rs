//! `pinnace delete`.

use super::Verb;
use super::arguments::arguments;
use crate::container::{self, Runtime};
use crate::error::Result;

arguments! {
    /// Arguments of `delete`.
    pub struct Delete {
        /// Kill what runs; a container that does not exist is no error
        force: bool = "-f, --force",
        /// Name of the container
        id: String = "CONTAINER",
    }
}

impl Verb for Delete {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        container::delete(runtime, &self.id, self.force)?;
        Ok(0)
    }
}
