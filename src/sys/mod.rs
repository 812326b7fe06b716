//! The only unsafe code: one small file a family of system calls that rustix
//! lacks, each wrapped in a safe and typed function.
#![allow(unsafe_code)]

pub mod mount;
pub mod userns;
