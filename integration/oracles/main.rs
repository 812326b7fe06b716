//! What others make of the same words: libcgroups of the same limits.
#![allow(missing_docs, clippy::unwrap_used)]

mod limits;
