//! What confines the process, one mechanism a module: capabilities, labels,
//! keyring, scheduling, memory policy, system-call filter.

pub(crate) mod capabilities;
pub(crate) mod keyring;
pub(crate) mod lsm;
pub(crate) mod memory;
pub(crate) mod scheduling;
pub mod seccomp;
