//! `state`: the state document (runtime.md, "State").

use super::{Container, Runtime};
use crate::error::{Error, Result};

/// The document as runc prints it: two spaces a level, no newline at the end.
///
/// # Errors
/// "container does not exist".
pub fn state_json(runtime: &Runtime, id: &str) -> Result<String> {
    let container = Container::find(runtime, id)?;
    let state = container.state(container.status()?);
    serde_json::to_string_pretty(&state).map_err(|error| Error::new(format!("state: {error}")))
}
