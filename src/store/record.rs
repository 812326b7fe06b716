//! What must be found again by a later command, or after a crash.

use super::ProcessId;
use crate::cgroup::Cgroup;
use crate::resctrl::Groups;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A record for who only looks at the container. Its cgroups, up to ten on v1, are
/// most of the text, and passed over.
pub type RecordSummary = Record<IgnoredAny>;

/// Written before the first thing that could leak, and again when the
/// container is created.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record<C = Cgroup> {
    /// Container id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root filesystem.
    pub rootfs: String,
    /// RFC 3339 time of creation.
    pub created: String,
    /// User who made it.
    pub owner: u32,
    /// Annotations of the configuration.
    pub annotations: BTreeMap<String, String>,
    /// The `create` at work, until it is done.
    pub creator: Option<ProcessId>,
    /// The container's process, as soon as there is one.
    pub init: Option<ProcessId>,
    /// Where its cgroup is.
    pub cgroup: C,
    /// The file that tells whether it is frozen, if it can be.
    #[serde(default)]
    pub freezer: Option<String>,
    /// The mount that its tree hangs on, if that is in the runtime's mount namespace.
    #[serde(default)]
    pub tree: Option<u64>,
    /// Its class of service and monitoring group.
    #[serde(default)]
    pub rdt: Option<Groups>,
    /// Kinds of namespaces that are not the runtime's, by the spec's names.
    pub namespaces: Vec<String>,
    /// Whether its pid namespace was there before it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joins_pids: bool,
    /// Whether cgroup errors are to be forgiven.
    pub rootless: bool,
    /// Whether it has a session keyring of its own.
    pub keyring: bool,
    /// The name of that, which nobody else can know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring_name: Option<String>,
    /// What `start` says first to the waiting init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_word: Option<String>,
    /// Whether the saved configuration holds nothing for `start` and `delete`.
    #[serde(default, rename = "plain")]
    pub config_not_needed: bool,
}

impl<C> Record<C> {
    /// Whether the container has a namespace of this kind that is not the runtime's.
    pub fn has_namespace(&self, kind: &str) -> bool {
        self.namespaces.iter().any(|own| own == kind)
    }

    /// Whether the container's process is the init of its pid namespace, so that all others in
    /// it end with that one.
    pub fn has_own_pids(&self) -> bool {
        self.has_namespace("pid") && !self.joins_pids
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's shape
fn is_false(flag: &bool) -> bool {
    !flag
}
