//! What hooks, listeners and callers read: the container's state (runtime.md,
//! "State") and the container process state (config-linux.md).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Ready; the user's program has not been run.
    Created,
    /// The user's program runs.
    Running,
    /// Running, and frozen. An additional value, as runc has it.
    Paused,
    /// The process has exited.
    Stopped,
}

impl Status {
    /// The word that the state document uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// The state document, with runc's additions, in runc's order.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'a> {
    /// Spec version of this document.
    pub oci_version: &'a str,
    /// Container id.
    pub id: &'a str,
    /// pid of the container's process; 0 when stopped.
    pub pid: i32,
    /// Where the container is in its life.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: &'a str,
    /// Absolute path of the root filesystem. Not in the spec; runc has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<&'a str>,
    /// RFC 3339 time of creation. Not in the spec; runc has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<&'a str>,
    /// Annotations of the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
    /// User who made it. Not in the spec; runc has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a str>,
}

/// What a hook of ours needs of the state document of any runtime.
#[derive(Debug, Deserialize)]
pub struct HookState {
    /// Container id.
    pub id: String,
    /// pid of the container's process; absent or 0 when stopped.
    #[serde(default)]
    pub pid: i32,
    /// Absolute path of the bundle.
    pub bundle: String,
}

/// What a seccomp listener receives beside the fd.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState<'a> {
    /// Spec version of this document.
    pub oci_version: &'a str,
    /// Names of the fds that come with it.
    pub fds: &'a [&'a str],
    /// pid as seen by the runtime.
    pub pid: i32,
    /// `seccomp.listenerMetadata`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a str>,
    /// The container's state.
    pub state: State<'a>,
}
