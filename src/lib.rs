//! pinnace: a low-level OCI container runtime for Linux.
//!
//! Data flows one way: `spec` (what the bundle says) -> `plan` (what will be
//! done) -> `container` (the verbs), which drives `create` on the host's side
//! and `init` on the container's side. ARCHITECTURE.md tells the story;
//! `tests/layers.rs` keeps the imports pointing down.

pub mod arguments;
pub mod cgroup;
pub mod cli;
pub mod container;
mod create;
pub mod error;
mod hooks;
pub mod image;
mod init;
mod log;
mod namespaces;
mod nearest;
#[cfg(fuzzing)]
pub mod net;
#[cfg(not(fuzzing))]
mod net;
pub mod plan;
pub mod resctrl;
pub mod rootfs;
pub mod security;
pub mod spec;
pub mod store;
pub mod sync;
pub mod sys;
mod terminal;

/// The version of both programs.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
