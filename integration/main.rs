//! Black-box tests: a real runtime, a real kernel, as root, nothing mocked.
//!
//! `RUNTIME=pinnace|runc|crun|/path cargo test --test integration` runs the
//! same tests with any runtime (default: `bin/pinnace` of this checkout). A
//! test named `r123_...` proves row R123 of the feature matrix by its effect
//! inside the container. One module a subject; README.md tells the rest.

// A failed step of a test is a failed test: `unwrap` says where.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod harness;

mod apparmor;
mod bad_input;
mod budget;
mod bus;
mod callers;
mod cgroups;
mod cli;
mod conversation;
mod damaged;
mod denied;
mod devices;
mod events;
mod exec;
mod fds;
mod features;
mod frozen;
mod guard;
mod hook_process;
mod hooks;
mod inherited;
mod killed;
mod letter;
mod lifecycle;
mod limits;
mod locks;
mod masks;
mod minimal;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod network;
mod odd_values;
mod options;
mod overlay;
mod people;
mod plan;
mod process;
mod reliable;
mod resources;
mod scheduling;
mod seccomp;
mod seccomp_calls;
mod security;
mod sources;
mod states;
mod suites;
mod syscalls;
mod systemd;
mod terminal;
mod tour;
mod undone;
mod upgrade;
mod warnings;
mod who;
mod words;
