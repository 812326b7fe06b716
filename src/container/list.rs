//! `list`: all containers under the state root.

use super::{Runtime, glance_at, state_of};
use crate::error::{At as _, Kind, Result};
use crate::spec::State;
use crate::sys::regex::Regex;

/// The ids of the containers in whose id the pattern is found, regex(7).
///
/// # Errors
/// A pattern that is none; if the state root cannot be read.
pub fn matching(runtime: &Runtime, pattern: &str) -> Result<Vec<String>> {
    let pattern = Regex::new(pattern)?;
    let mut ids = runtime.store.ids()?;
    ids.retain(|id| pattern.is_in(id));
    Ok(ids)
}

/// Shows the state of each container to `each`, by id, with the uid of who made
/// it. One that is deleted meanwhile is left out; one whose record is damaged does not
/// hide the others, and is told of. Nothing of a container is kept: there may be many.
///
/// # Errors
/// If the state root or a record cannot be read or a container cannot be looked at, and
/// those of `each`.
pub fn list(runtime: &Runtime, mut each: impl FnMut(State<'_>, u32) -> Result<()>) -> Result<()> {
    for id in runtime.store.ids()? {
        let record = match runtime.store.glance(&id) {
            Err(error) if error.get_kind() == Kind::NoContainer => continue,
            Err(error) if error.errno().is_none() && runtime.store.get(&id).is_ok() => {
                runtime.log.warning(&format!("container {id} is not listed: {error}"));
                continue;
            }
            record => record?,
        };
        let status = glance_at(&runtime.store, &record).at(|| format!("container {id}"))?;
        each(state_of(&record, status), record.owner)?;
    }
    Ok(())
}
