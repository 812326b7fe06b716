//! `pinnace-image` on real files: layers, bundles, and images that were made to do harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::type_complexity, missing_docs)]

mod archive;
mod attacks;
mod bundles;
mod differential;
mod guard;
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../harness/mod.rs"]
mod harness;
mod input;
mod layers;
mod limits;
mod store;
mod user;
mod world;
