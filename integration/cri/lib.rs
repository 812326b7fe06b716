//! A node as Kubernetes has it: a containerd with its CRI plugin, and a client in the kubelet's place.
//!
//! The client is a package of its own, as the crates that it is made of take
//! minutes to compile. The machine that the containerd runs in is that of the
//! other engines' tests, in `integration/engines`.

#[path = "../engines/call.rs"]
pub mod call;
pub mod client;
#[path = "../engines/documents.rs"]
pub mod documents;
#[path = "../engines/leftovers.rs"]
pub mod leftovers;
#[path = "../engines/machine.rs"]
pub mod machine;
pub mod node;
pub mod pod;
pub mod stream;
#[path = "../engines/suite.rs"]
pub mod suite;

/// The directory of the checkout.
const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
