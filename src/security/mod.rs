//! What confines the process, one mechanism a module: capabilities, labels,
//! keyring, scheduling, system-call filter.

pub mod capabilities;
pub mod keyring;
pub mod lsm;
pub mod scheduling;
pub mod seccomp;
