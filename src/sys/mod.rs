//! The only unsafe code: one small file a family of system calls that rustix
//! lacks, each wrapped in a safe and typed function.
#![allow(unsafe_code)]

pub mod exe;
pub mod file;
pub mod keyring;
pub mod lock;
pub mod namespace;
pub mod netdevice;
pub mod process;
pub mod sched;
pub mod signal;
pub mod seccomp;
pub mod start;
pub mod alloc;
pub mod bpf;
pub mod mount;
pub mod userns;
