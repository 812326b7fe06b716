//! `pinnace features`: what this runtime supports, from the tables that parse
//! the configuration, so that it cannot lie (features.md, features-linux.md).

use super::Verb;
use super::arguments::arguments;
use super::usage::print;
use crate::container::{Runtime, features};
use crate::error::{Error, Result};

arguments! {
    /// Arguments of `features`: none.
    pub struct Features {
    }
}

impl Verb for Features {
    fn run(self, _runtime: &Runtime) -> Result<i32> {
        let text = serde_json::to_string_pretty(&features()?)
            .map_err(|error| Error::new(format!("features: {error}")))?;
        print(&format!("{text}\n"))?;
        Ok(0)
    }
}
