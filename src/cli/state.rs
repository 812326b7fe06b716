//! `pinnace state`.

use super::Verb;
use super::arguments::arguments;
use super::usage::print;
use crate::container::{self, Runtime};
use crate::error::Result;

arguments! {
    /// Arguments of `state`.
    pub struct State {
        /// Name of the container
        id: String = "CONTAINER",
    }
}

impl Verb for State {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        print(&container::state_json(runtime, &self.id)?)?;
        Ok(0)
    }
}
