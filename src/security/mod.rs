//! What confines the process, one mechanism a module: capabilities, labels,
//! keyring, scheduling, memory policy, system-call filter.

pub mod capabilities;
pub mod keyring;
pub mod lsm;
pub mod memory;
pub mod scheduling;
pub mod seccomp;
