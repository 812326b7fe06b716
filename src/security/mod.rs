//! What confines the process: capabilities, labels, keyring, scheduling,
//! system-call filter.

pub mod capabilities;
pub mod keyring;
pub mod lsm;
pub mod scheduling;
