//! What confines the container's process, one mechanism a module.

pub mod seccomp;
