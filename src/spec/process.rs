//! `process` (config.md, "Process"), also the document of `exec --process`.

use super::{null_as_default, object, object_or_default, objects};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// The program to run and everything that belongs to its process.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Whether a pseudo-terminal becomes the process's stdio.
    #[serde(default, deserialize_with = "null_as_default")]
    pub terminal: bool,
    /// Initial size of that terminal.
    #[serde(default, deserialize_with = "object")]
    pub console_size: Option<ConsoleSize>,
    /// Working directory, absolute.
    #[serde(default, deserialize_with = "null_as_default")]
    pub cwd: String,
    /// Environment, `NAME=value` each.
    #[serde(default, deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// argv, with execvp(3) semantics.
    #[serde(default, deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    /// Only for Windows; ignored.
    pub command_line: Option<String>,
    /// Resource limits.
    #[serde(default, deserialize_with = "objects")]
    pub rlimits: Vec<Rlimit>,
    /// `AppArmor` profile to enter on exec.
    pub apparmor_profile: Option<String>,
    /// The five capability sets.
    #[serde(default, deserialize_with = "object")]
    pub capabilities: Option<Capabilities>,
    /// Whether to set `no_new_privs`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub no_new_privileges: bool,
    /// Value for `/proc/self/oom_score_adj`; unset leaves it alone.
    pub oom_score_adj: Option<i32>,
    /// CPU scheduler attributes.
    #[serde(default, deserialize_with = "object")]
    pub scheduler: Option<Scheduler>,
    /// `SELinux` label of the process.
    pub selinux_label: Option<String>,
    /// I/O scheduling class.
    #[serde(default, deserialize_with = "object")]
    pub io_priority: Option<IoPriority>,
    /// CPUs of `exec`ed processes.
    #[serde(rename = "execCPUAffinity", default, deserialize_with = "object")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
    /// User and groups.
    #[serde(default, deserialize_with = "object_or_default")]
    pub user: User,
}

/// The fields that a document has, whatever is in them: `null` is nothing.
pub type Given = BTreeMap<String, Option<IgnoredAny>>;

impl Process {
    /// This process, and `own` in what its document does not say; but for a terminal, which is
    /// the caller's affair, and the program.
    #[must_use]
    pub fn or(self, own: Self, given: &Given) -> Self {
        fn pick<T>(given: bool, this: T, own: T) -> T {
            if given { this } else { own }
        }
        let has = |name: &str| matches!(given.get(name), Some(Some(_)));
        // An empty name is none, and takes no confinement away.
        let named = |name: Option<String>| name.filter(|name| !name.is_empty());
        Self {
            terminal: self.terminal,
            console_size: self.console_size,
            cwd: pick(has("cwd"), self.cwd, own.cwd),
            env: pick(has("env"), self.env, own.env),
            args: self.args,
            command_line: self.command_line,
            rlimits: pick(has("rlimits"), self.rlimits, own.rlimits),
            apparmor_profile: named(self.apparmor_profile).or(own.apparmor_profile),
            capabilities: self.capabilities.or(own.capabilities),
            no_new_privileges: pick(
                has("noNewPrivileges"),
                self.no_new_privileges,
                own.no_new_privileges,
            ),
            oom_score_adj: self.oom_score_adj.or(own.oom_score_adj),
            scheduler: self.scheduler.or(own.scheduler),
            selinux_label: named(self.selinux_label).or(own.selinux_label),
            io_priority: self.io_priority.or(own.io_priority),
            exec_cpu_affinity: self.exec_cpu_affinity.or(own.exec_cpu_affinity),
            user: pick(has("user"), self.user, own.user),
        }
    }
}

/// Size of a terminal in characters. Nothing of it matters without a terminal, so that
/// whatever is missing or too large is looked at there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: Option<u64>,
    /// Columns.
    pub width: Option<u64>,
}

/// `process.user` on POSIX platforms.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User id inside the container; required.
    pub uid: Option<u32>,
    /// Group id inside the container; required.
    pub gid: Option<u32>,
    /// umask; unset is 0022 for `create` and `run`, and the caller's for `exec`.
    pub umask: Option<u32>,
    /// Supplementary groups inside the container.
    #[serde(default, deserialize_with = "null_as_default")]
    pub additional_gids: Vec<u32>,
    /// Only for Windows; ignored.
    pub username: Option<IgnoredAny>,
}

/// One entry of `process.rlimits`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*` name of getrlimit(2).
    #[serde(rename = "type")]
    pub kind: String,
    /// Ceiling; `u64::MAX` is `RLIM_INFINITY`.
    pub hard: u64,
    /// Value enforced by the kernel.
    pub soft: u64,
}

/// The five capability sets, `CAP_*` names of capabilities(7).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Capabilities {
    /// Effective set.
    #[serde(default, deserialize_with = "null_as_default")]
    pub effective: Vec<String>,
    /// Bounding set.
    #[serde(default, deserialize_with = "null_as_default")]
    pub bounding: Vec<String>,
    /// Inheritable set.
    #[serde(default, deserialize_with = "null_as_default")]
    pub inheritable: Vec<String>,
    /// Permitted set.
    #[serde(default, deserialize_with = "null_as_default")]
    pub permitted: Vec<String>,
    /// Ambient set.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ambient: Vec<String>,
}

/// `process.scheduler`, the fields of `sched_setattr(2)`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Scheduler {
    /// `SCHED_*` policy name.
    pub policy: String,
    /// Nice value.
    #[serde(default, deserialize_with = "null_as_default")]
    pub nice: i32,
    /// Static priority of the real-time policies.
    #[serde(default, deserialize_with = "null_as_default")]
    pub priority: i32,
    /// `SCHED_FLAG_*` names.
    #[serde(default, deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
    /// Nanoseconds, `SCHED_DEADLINE` only.
    #[serde(default, deserialize_with = "null_as_default")]
    pub runtime: u64,
    /// Nanoseconds, `SCHED_DEADLINE` only.
    #[serde(default, deserialize_with = "null_as_default")]
    pub deadline: u64,
    /// Nanoseconds, `SCHED_DEADLINE` only.
    #[serde(default, deserialize_with = "null_as_default")]
    pub period: u64,
}

/// `process.ioPriority`, see `ioprio_set(2)`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_*` name.
    pub class: String,
    /// 0 (highest) to 7; required.
    pub priority: Option<i32>,
}

/// `process.execCPUAffinity`: CPU lists such as `0-3,7`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ExecCpuAffinity {
    /// Before the move into the container's cgroup.
    pub initial: Option<String>,
    /// After it.
    #[serde(rename = "final")]
    pub last: Option<String>,
}
