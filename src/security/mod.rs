//! What confines the process: capabilities, labels, keyring, scheduling,
//! system-call filter.
pub mod capabilities;
pub mod keyring;
pub mod lsm;
pub mod scheduling;
//! What confines the container's process, one mechanism a module.
pub mod seccomp;
