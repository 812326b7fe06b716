//! pinnace: a low-level OCI container runtime for Linux.
//!
//! Data flows one way: `spec` (what the bundle says) -> `plan` (what will be
//! done) -> `container` (the verbs), which drives `create` on the host's side
//! and `init` on the container's side. ARCHITECTURE.md tells the story;
//! `tests/layers.rs` keeps the imports pointing down.

pub mod error;
pub mod plan;
pub mod rootfs;
pub mod spec;
pub mod sys;
