//! Black-box tests of a runtime under real engines: containerd, podman (as root
//! and rootless), buildah and Docker.
//!
//! `RUNTIME=pinnace|runc|crun|/path cargo test --test engines [NAME...]` runs
//! those whose name contains one of NAME (default: all), with `bin/pinnace` of
//! this checkout or with another runtime. Needs root, and nothing of the
//! machine's own: all happens in private mount, network and pid namespaces with
//! an empty /run (`machine.rs`), so that the engines' storage, bridges, packet
//! filters and daemons end with the program, and what a container leaves behind
//! is easy to see. After every test nothing may be left (`leftovers.rs`).
//!
//! A test whose engine is not installed is skipped and says so; where the
//! variable CI is set it fails.

mod buildah;
mod call;
mod compose;
mod containerd;
mod docker;
mod documents;
mod leftovers;
mod machine;
mod podman;
mod rootless;
mod suite;

use std::process::ExitCode;

use suite::{Engine, Test};

/// The directory of the checkout.
const TOP: &str = env!("CARGO_MANIFEST_DIR");

fn main() -> ExitCode {
    suite::run(&[
        suite::test::<containerd::Containerd>,
        suite::test::<podman::Podman>,
        suite::test::<rootless::Rootless>,
        suite::test::<buildah::Buildah>,
        suite::test::<docker::Docker>,
    ])
}
