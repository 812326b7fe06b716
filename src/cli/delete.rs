//! `pinnace delete`.

use super::Verb;
use super::arguments::arguments;
use super::shared::to_each;
use crate::container::{self, Runtime};
use crate::error::{Kind, Result};

arguments! {
    /// Arguments of `delete`.
    pub struct Delete {
        /// Kill what runs; a container that does not exist is no error
        force: bool = "-f, --force",
        /// CONTAINER is a regular expression, regex(7): all in whose name it is found
        regex: bool = "-r, --regex",
        /// Name of the container
        id: String = "CONTAINER",
    }
}

impl Verb for Delete {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let act = |id: &str| container::delete(runtime, id, self.force);
        match to_each(runtime, &self.id, self.regex, act) {
            // Of a state root that is not there yet: as of a container.
            Err(error) if self.force && error.get_kind() == Kind::NoContainer => Ok(0),
            deleted => deleted.map(|()| 0),
        }
    }
}
