//! RLIMIT_NOFILE for many mounts: each is a descriptor until it is attached, and the caller's
//! soft limit may be lower than that.

use crate::error::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are open beside those of mounts, at most.
const OTHER_FDS: u64 = 100;
/// Every caller allows so many: for fewer the limit is not even read.
const USUAL_LIMIT: u64 = 256;

/// A raised soft limit of open files: what it was before, if it was raised.
#[derive(Debug, Clone, Copy, Default)]
pub struct RaisedNofile(Option<Rlimit>);

impl RaisedNofile {
    /// Raises it for so many mounts, as far as the hard limit goes.
    ///
    /// # Errors
    /// Those of setrlimit(2), which does not refuse this.
    pub(super) fn raise_for(mounts: usize) -> Result<Self> {
        // One that a later mount hides keeps what it hides open, too.
        let needed = 2 * mounts as u64 + OTHER_FDS;
        if needed <= USUAL_LIMIT {
            return Ok(Self(None));
        }
        let before = getrlimit(Resource::Nofile);
        if before.current.is_none_or(|soft| soft >= needed) {
            return Ok(Self(None));
        }
        let raised = Rlimit { current: before.maximum, ..before };
        setrlimit(Resource::Nofile, raised).call(|| "setrlimit(RLIMIT_NOFILE)".into())?;
        Ok(Self(Some(before)))
    }

    /// Whether the caller's limit was too low.
    pub(super) fn is_raised(&self) -> bool {
        self.0.is_some()
    }

    /// Puts the limit back, in each process by itself: the container and hooks
    /// have the caller's.
    ///
    /// # Errors
    /// As [`Self::raise_for`].
    pub fn restore(self) -> Result<()> {
        let Some(before) = self.0 else { return Ok(()) };
        setrlimit(Resource::Nofile, before).call(|| "setrlimit(RLIMIT_NOFILE)".into())
    }
}
