//! The only unsafe code: one small file a family of system calls that rustix
//! lacks, each wrapped in a safe and typed function.
#![allow(unsafe_code)]

pub mod alloc;
pub mod bpf;
pub mod denied;
mod errno;
pub mod exe;
pub mod file;
pub mod iptables;
pub mod keyring;
pub mod landlock;
pub mod lock;
mod memory;
pub mod mount;
pub mod mountinfo;
pub mod namespace;
pub mod netdevice;
pub mod netlink;
pub mod process;
pub mod random;
pub mod regex;
pub mod resolve;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod start;
#[cfg(no_unwind)]
mod unwind;
pub mod userfault;
pub mod userns;
