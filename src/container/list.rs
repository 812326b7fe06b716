//! `list`: all containers under the state root.

use super::{Container, Runtime};
use crate::error::{Kind, Result};
use crate::spec::Status;

/// One container as it is now.
#[derive(Debug)]
pub struct Entry {
    /// What is on disk of it.
    pub container: Container,
    /// Where it is in its life.
    pub status: Status,
}

/// All containers, by id. One that is deleted meanwhile is left out.
///
/// # Errors
/// If the state root or a record cannot be read.
pub fn list(runtime: &Runtime) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for id in runtime.store.ids()? {
        let container = match Container::find(runtime, &id) {
            Err(error) if error.get_kind() == Kind::NoContainer => continue,
            found => found?,
        };
        let status = container.status()?;
        entries.push(Entry { container, status });
    }
    Ok(entries)
}
