//! Nothing but tests: `main.rs`.
