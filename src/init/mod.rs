//! The child's side. `first` becomes a container's init, `join` a further
//! process in it. Both go through `prepare`, and end in `confine`, the last steps,
//! which have one order for all.

pub mod confine;
pub mod first;
mod identity;
pub mod join;
pub mod prepare;
mod program;
mod start;

pub use first::Init;
pub use join::Exec;
pub use prepare::Shared;
pub use start::StartSocket;

use crate::error::Result;
use crate::sync::{ChildEnd, ToParent};
use crate::sys::process::exit_now;
use std::convert::Infallible;

/// Runs `body`, which ends in execve(2); if it fails instead, tells the other
/// end why and exits.
fn run(
    mut channel: ChildEnd,
    body: impl FnOnce(&mut ChildEnd) -> Result<Infallible>,
) -> Infallible {
    let error = match body(&mut channel) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // Nobody to tell: then the runtime is gone, and only ending is left.
    let _untold = channel.send(&ToParent::Failed(error)).is_err();
    exit_now(1)
}
