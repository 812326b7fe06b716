//! `state`: the state document (runtime.md, "State").

use super::observed::observe_summary;
use super::{Runtime, state_of};
use crate::error::{Error, Result};

/// The document as runc prints it: two spaces a level, no newline at the end.
///
/// # Errors
/// "container does not exist".
pub fn state_json(runtime: &Runtime, id: &str) -> Result<String> {
    let record = runtime.store.summary(id)?;
    let observed = observe_summary(&runtime.store, &record)?;
    serde_json::to_string_pretty(&state_of(&record, observed.status()))
        .map_err(|error| Error::new(format!("state: {error}")))
}
