//! `pinnace delete`.

use super::Verb;
use super::arguments::arguments;
use super::shared::{matching, to_each};
use crate::container::{self, Runtime};
use crate::error::{Error, Kind, Result};

arguments! {
    /// Arguments of `delete`.
    pub struct Delete {
        /// Kill what runs; a container that does not exist is no error
        force: bool = "-f, --force",
        /// CONTAINER is a regular expression, regex(7): all in whose name it is found
        regex: bool = "-r, --regex",
        /// All containers of the state directory
        all: bool = "-a, --all",
        /// Name of the container; there may be several
        ids: Vec<String> = "[CONTAINER...]",
    }
}

impl Verb for Delete {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let help = "`pinnace delete --help` lists what there is";
        match (self.all, self.ids.is_empty()) {
            (false, true) => return Err(Error::new("CONTAINER is missing").hint(help)),
            (true, false) => {
                return Err(Error::new("a CONTAINER is given, too").at("--all").hint(help));
            }
            _ => {}
        }
        let ids = if self.all {
            runtime.store.ids()
        } else if self.regex {
            matching(runtime, &self.ids)
        } else {
            Ok(self.ids)
        };
        let are_named = !self.all && !self.regex;
        let deleted = ids.and_then(|ids| {
            to_each(&ids, are_named, |id| container::delete(runtime, id, self.force))
        });
        match deleted {
            // Of a state root that is not there yet: as of a container.
            Err(error) if self.force && error.get_kind() == Kind::NoContainer => Ok(0),
            deleted => deleted.map(|()| 0),
        }
    }
}
