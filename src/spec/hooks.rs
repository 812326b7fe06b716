//! `hooks` (config.md, "POSIX-platform Hooks").

use super::{null_as_default, objects};
use serde::Deserialize;

/// The six kinds of hooks, each in the order in which it is to be run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// Deprecated: run before `createRuntime`, in the runtime's namespaces.
    #[serde(default, deserialize_with = "objects")]
    pub prestart: Vec<Hook>,
    /// During create, before `pivot_root`, in the runtime's namespaces.
    #[serde(default, deserialize_with = "objects")]
    pub create_runtime: Vec<Hook>,
    /// During create, before `pivot_root`, in the container's namespaces.
    #[serde(default, deserialize_with = "objects")]
    pub create_container: Vec<Hook>,
    /// During start, before the user's program, in the container.
    #[serde(default, deserialize_with = "objects")]
    pub start_container: Vec<Hook>,
    /// During start, after the user's program runs.
    #[serde(default, deserialize_with = "objects")]
    pub poststart: Vec<Hook>,
    /// After delete has removed everything; a failure only warns.
    #[serde(default, deserialize_with = "objects")]
    pub poststop: Vec<Hook>,
}

/// One program to run.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: String,
    /// argv, argv\[0\] included.
    #[serde(default, deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    /// The whole environment, if there is one; an empty one is one, too.
    pub env: Option<Vec<String>>,
    /// Seconds after which the hook is aborted.
    pub timeout: Option<i64>,
}
