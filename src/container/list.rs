//! `list`: all containers under the state root.

use super::{Runtime, look_at, state_of};
use crate::error::{Kind, Result};
use crate::spec::{State, Status};
use crate::store::Record;

/// One container as it is now. It holds no descriptors: there may be more
/// containers than a process may have of those.
#[derive(Debug)]
pub struct Entry {
    /// What is on disk of it.
    pub record: Record,
    /// Where it is in its life.
    pub status: Status,
}

impl Entry {
    /// The state document (runtime.md, "State").
    pub fn state(&self) -> State<'_> {
        state_of(&self.record, self.status)
    }
}

/// All containers, by id. One that is deleted meanwhile is left out.
///
/// # Errors
/// If the state root or a record cannot be read.
pub fn list(runtime: &Runtime) -> Result<Vec<Entry>> {
    let ids = runtime.store.ids()?;
    let mut entries = Vec::with_capacity(ids.len());
    for id in ids {
        let (mut record, status) = match look_at(runtime, &id) {
            Err(error) if error.get_kind() == Kind::NoContainer => continue,
            found => found?,
        };
        record.cgroup.close();
        entries.push(Entry { record, status });
    }
    Ok(entries)
}
