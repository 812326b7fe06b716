//! `list`: all containers under the state root.

use super::observed::observe_summary;
use super::{Runtime, state_of};
use crate::error::{At as _, Error, Kind, Result};
use crate::spec::State;
use crate::sys::regex::Regex;

/// The ids of the containers in whose id the pattern is found, regex(7).
///
/// # Errors
/// A pattern that is none; if the state root cannot be read.
pub fn matching(runtime: &Runtime, pattern: &str) -> Result<Vec<String>> {
    let pattern = Regex::new(pattern).at(|| "--regex")?;
    let mut ids = runtime.store.ids()?;
    ids.retain(|id| pattern.is_in(id));
    Ok(ids)
}

/// Shows the state of each container to `each`, by id, with the uid of who made
/// it. One that is deleted meanwhile is left out. Nothing of a container is kept: there may
/// be many. Returns, by id, why others are not shown: one whose record is damaged, or that
/// cannot be looked at, hides no other.
///
/// # Errors
/// If the state root cannot be read, and those of `each`.
pub fn list(
    runtime: &Runtime,
    mut each: impl FnMut(State<'_>, u32) -> Result<()>,
) -> Result<Vec<(String, Error)>> {
    let mut unknown = Vec::new();
    for id in runtime.store.ids()? {
        let looked = runtime.store.summary(&id).and_then(|record| {
            let observed = observe_summary(&runtime.store, &record);
            let status = observed.at(|| format!("container {id}"))?.status();
            Ok((record, status))
        });
        match looked {
            Ok((record, status)) => each(state_of(&record, status), record.owner)?,
            Err(error) if error.get_kind() == Kind::NoContainer => {}
            Err(error) => unknown.push((id, error)),
        }
    }
    Ok(unknown)
}
