//! What a test needs: a bundle, a container that cannot outlive its test, calls
//! with an end in time, and a search for whatever a runtime left behind.

mod agent;
mod bundle;
mod call;
mod cgroup;
mod container;
pub mod guard;
mod leftovers;
mod older;
mod pty;
mod runtime;
mod steps;

pub use agent::{let_through, next_call, resume};
pub use bundle::Bundle;
pub use call::{Call, Output, Running, copy_program, exits, until, wait_for, write_program};
pub use cgroup::{Hierarchy, is_cgroup};
pub use container::Container;
pub use guard::{directory, directory_in};
pub use leftovers::{Name, of as leftovers_of, of_program as leftovers_of_program};
pub use older::Lacks;
pub use pty::{FdSocket, Terminal, read_all, read_until};
pub use runtime::{by_systemd, is_pinnace, known_to_differ, lacks, runtime};
pub use serde_json::{Value, json};
pub use steps::{Step, Steps};

/// Ends the test here for a runtime that is known to behave differently.
///
/// `deviates!("runc", "R118: aborts at the first failure")`: what stands above
/// holds for every runtime, what stands below for pinnace and the rest.
macro_rules! deviates {
    ($runtimes:expr, $why:expr) => {
        if $crate::harness::known_to_differ($runtimes, $why) {
            return;
        }
    };
}
pub(crate) use deviates;

/// Ends the test here when the machine lacks something, and says so.
macro_rules! needs {
    ($condition:expr, $what:expr) => {
        if !($condition) {
            $crate::harness::lacks($what);
            return;
        }
    };
}
pub(crate) use needs;
