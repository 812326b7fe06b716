//! `linux.seccomp` (config-linux.md, "Seccomp").

use super::{null_as_default, objects};
use serde::Deserialize;

/// A seccomp profile as the bundle writes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// `SCMP_ACT_*` for calls that no rule names.
    pub default_action: String,
    /// errno of the default action.
    pub default_errno_ret: Option<u32>,
    /// `SCMP_ARCH_*` names; empty means the native one.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_*` names; unset leaves the choice to the runtime.
    pub flags: Option<Vec<String>>,
    /// Socket that receives the notification fd.
    pub listener_path: Option<String>,
    /// Opaque data for the listener.
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(default, deserialize_with = "objects")]
    pub syscalls: Vec<SyscallRule>,
}

/// One entry of `seccomp.syscalls`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyscallRule {
    /// Names of the system calls.
    #[serde(default, deserialize_with = "null_as_default")]
    pub names: Vec<String>,
    /// `SCMP_ACT_*`.
    pub action: String,
    /// errno or trace value of the action.
    pub errno_ret: Option<u32>,
    /// Conditions on the arguments.
    #[serde(default, deserialize_with = "objects")]
    pub args: Vec<SyscallArg>,
}

/// A condition on one argument of a system call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyscallArg {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// Value to compare with; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// The value of `SCMP_CMP_MASKED_EQ`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub value_two: u64,
    /// `SCMP_CMP_*`.
    pub op: String,
}
