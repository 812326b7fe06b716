//! The only unsafe code: one small file a family of system calls that rustix
//! lacks, each wrapped in a safe and typed function.
#![allow(unsafe_code)]

pub mod alloc;
pub mod bpf;
pub(crate) mod denied;
mod errno;
pub(crate) mod exe;
pub(crate) mod file;
pub(crate) mod iptables;
pub mod keyring;
pub(crate) mod landlock;
pub(crate) mod lock;
mod memory;
pub mod mount;
pub(crate) mod mountinfo;
pub(crate) mod namespace;
pub(crate) mod netdevice;
pub(crate) mod netlink;
pub(crate) mod process;
pub(crate) mod random;
pub mod regex;
pub(crate) mod resolve;
pub(crate) mod sched;
pub mod seccomp;
pub mod signal;
pub mod start;
#[cfg(no_unwind)]
mod unwind;
pub(crate) mod userfault;
pub(crate) mod userns;
