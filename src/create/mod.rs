//! The parent's side of a new process: it is made here, its ids are mapped and
//! its limits set from outside, where the privileges are.

pub mod idmap;
pub mod limits;
pub mod spawn;

pub use spawn::{SpawnArgs, never_ran, spawn};
