//! What `create` has made: `create` leaves it, `run` starts it.

use super::seccomp::Receiver;
use super::{NewProcess, Runtime, delete, serve};
use crate::error::{Context, Error, Kind, Result};
use crate::plan::Plan;
use crate::store::{Dir, Record, START};
use crate::sys::signal::{self, Mask, Signals};
use std::os::fd::OwnedFd;

/// A container that waits to be started.
#[derive(Debug)]
pub struct Created {
    pub(super) dir: Dir,
    pub(super) record: Record,
    pub(super) plan: Plan,
    pub(super) process: NewProcess,
    /// The terminal's master, if our own process relays it.
    pub(super) master: Option<OwnedFd>,
    /// Who gets the filter's notification fd.
    pub(super) receiver: Option<Receiver>,
    /// The caller's signal mask, to be put back.
    pub(super) caller_mask: Mask,
    /// What would interrupt us, had we not blocked it.
    pub(super) signals: Signals,
}

impl Created {
    /// Leaves the container to itself: `create` is done.
    ///
    /// # Errors
    /// If init does not hear of it, which would end as soon as we do; nothing is left then.
    pub fn leave(self, runtime: &Runtime) -> Result<()> {
        if let Err(error) = self.process.leave() {
            return Err(self.give_up(runtime, error));
        }
        debug_assert!(matches!(self.dir.has(START), Ok(true)));
        signal::set_mask(&self.caller_mask).call(|| "sigprocmask".into())?;
        Ok(())
    }

    /// Destroys what cannot go on, unless another command does.
    pub(super) fn give_up(&self, runtime: &Runtime, error: Error) -> Error {
        match self.dir.lock() {
            Err(gone) if gone.get_kind() == Kind::NoContainer => serve::deleted(&self.record.id),
            Err(busy) => error.and(Err(busy)),
            Ok(_lock) => error.and(self.destroy(runtime)),
        }
    }

    /// Takes back all of it.
    pub(super) fn destroy(&self, runtime: &Runtime) -> Result<()> {
        let (hooks, signals) = (&self.plan.hooks, Some(&self.signals));
        let init = Some(self.process.lend());
        delete::destroy(&self.dir, &self.record, init, hooks, &runtime.log, signals)
    }
}
