//! `pinnace-image`: images become layers and bundles. Another program than the runtime, as its
//! input is made by strangers: it holds no container, and reads archives in a process that has
//! given up all but two directories ([`sandbox`]).
//!
//! `cli` -> `verbs` -> [`layout`] (which image) -> `layer` (each into the [`store`]: `stream`
//! decompresses, [`tar`] reads entries, `unpack` makes files of them) -> [`config`] (the bundle).

pub mod cli;
pub mod config;
mod copy;
pub mod digest;
mod documents;
mod layer;
pub mod layout;
mod mark;
mod merged;
mod pax;
mod progress;
mod sandbox;
mod store;
mod stream;
pub mod tar;
mod tell;
mod tree;
mod unpack;
mod users;
mod verbs;
