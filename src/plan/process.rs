//! `process`: the user's program and everything that belongs to it.

use super::capabilities::{self, Capabilities};
use super::findings::missing;
use super::mask::{self, Mask};
use super::rlimits::{self, Rlimit};
use super::scheduling::{self, Scheduling};
use super::{Findings, Options};
use crate::error::Error;
use crate::spec;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

/// A process to run, in `create` or `exec`.
#[derive(Debug, Clone)]
pub struct Process {
    /// argv; never empty.
    pub args: Vec<CString>,
    /// Environment; each name once.
    pub env: Vec<CString>,
    /// Working directory, absolute.
    pub cwd: String,
    /// Present if a terminal becomes stdio.
    pub terminal: Option<Terminal>,
    /// User id inside the container.
    pub uid: u32,
    /// Group id inside the container.
    pub gid: u32,
    /// Supplementary groups; `None` keeps the caller's.
    pub groups: Option<Vec<u32>>,
    /// File mode creation mask; `None` leaves the caller's.
    pub umask: Option<u32>,
    /// The five capability sets.
    pub capabilities: Capabilities,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Whether to set `no_new_privs`.
    pub no_new_privileges: bool,
    /// Value for `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// `AppArmor` profile.
    pub apparmor_profile: Option<String>,
    /// `SELinux` label.
    pub selinux_label: Option<String>,
    /// CPU and I/O scheduling.
    pub scheduling: Scheduling,
    /// CPUs of a process of `exec`; the container's own ignores them.
    pub exec_affinity: ExecAffinity,
    /// How many fds from 3 on are inherited.
    pub preserve_fds: u32,
}

/// `process.execCPUAffinity`; `None` leaves it to the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecAffinity {
    /// CPUs of the runtime, before the process is in the container's cgroup.
    pub initial: Option<Mask>,
    /// CPUs of the process, once it is there.
    pub last: Option<Mask>,
}

/// A pseudo-terminal for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Initial rows and columns.
    pub size: Option<(u16, u16)>,
}

/// Checks the process of a container, or of `exec`.
pub fn plan(
    process: Option<&spec::Process>,
    annotations: &BTreeMap<String, String>,
    options: &Options,
    findings: &mut Findings,
) -> Option<Process> {
    let process = process?;
    check(process, findings);
    let mut id = |field: &str, id: Option<u32>| {
        match id {
            // Required by the spec. But the peers take it for 0, and so do those who write one of
            // the two: they are told.
            None => findings.warn(
                Error::new("is required; taken for 0, root's")
                    .at(format_args!("process.user.{field}")),
            ),
            Some(u32::MAX) => {
                findings.refuse(format_args!("process.user.{field}"), "4294967295 is not an id")
            }
            Some(_) => {}
        }
        id.unwrap_or_default()
    };
    let (uid, gid) = (id("uid", process.user.uid), id("gid", process.user.gid));
    if process.user.username.is_some() {
        let rule = format!("is for Windows, and so ignored: the process is that of user {uid}");
        findings.tell(Error::new(rule).at("process.user.username"));
    }
    Some(Process {
        args: strings("process.args", &process.args, findings),
        env: environment(&process.env, findings),
        cwd: process.cwd.clone(),
        terminal: process.terminal.then(|| terminal(process.console_size, findings)),
        uid,
        gid,
        groups: groups(process, annotations, findings),
        umask: process.user.umask,
        capabilities: capabilities::plan(process.capabilities.as_ref(), findings),
        rlimits: rlimits::plan(&process.rlimits, findings),
        no_new_privileges: process.no_new_privileges,
        oom_score_adj: process.oom_score_adj,
        apparmor_profile: process.apparmor_profile.clone().filter(|name| !name.is_empty()),
        selinux_label: process.selinux_label.clone().filter(|label| !label.is_empty()),
        scheduling: scheduling::plan(process, findings),
        exec_affinity: exec_affinity(process.exec_cpu_affinity.as_ref(), findings),
        preserve_fds: options.preserve_fds,
    })
}

/// What is taken as it is written.
fn check(process: &spec::Process, findings: &mut Findings) {
    if process.args.is_empty() {
        findings.error(Error::new("is empty").at("process.args").hint("name at least a program"));
    }
    if process.cwd.is_empty() {
        findings.error(missing("process.cwd", "an absolute path, such as \"/\""));
    } else if !process.cwd.starts_with('/') {
        findings.refuse("process.cwd", format!("{:?} is not an absolute path", process.cwd));
    }
    if process.cwd.contains('\0') {
        findings.refuse("process.cwd", "contains a NUL character");
    }
    if let Some(score) = process.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        findings.refuse(
            "process.oomScoreAdj",
            format!("{score} is not between -1000 and 1000 (proc_pid_oom_score_adj(5))"),
        );
    }
    if let Some(mask) = process.user.umask.filter(|mask| *mask > 0o777) {
        findings.refuse("process.user.umask", format!("{mask} is above 511 (octal 777)"));
    }
}

/// `NGROUPS_MAX` of linux/limits.h.
const GROUPS: usize = 65_536;

/// config.md, "Process": the size is ignored without a terminal.
fn terminal(size: Option<spec::ConsoleSize>, findings: &mut Findings) -> Terminal {
    let Some(size) = size else { return Terminal { size: None } };
    let caller = "in the foreground the caller's terminal has the say";
    findings.advise(Error::new(caller).at("process.consoleSize"));
    let mut one = |field: &str, value: Option<u64>| {
        let field = format!("process.consoleSize.{field}");
        match value.map(u16::try_from) {
            Some(Ok(value)) => return value,
            Some(Err(_)) => findings.refuse(&field, "is above 65535"),
            None => findings.refuse(&field, "is required"),
        }
        0
    };
    Terminal { size: Some((one("height", size.height), one("width", size.width))) }
}

/// crun's annotation, which podman sets for `--group-add keep-groups`.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

fn groups(
    process: &spec::Process,
    annotations: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Option<Vec<u32>> {
    let groups = &process.user.additional_gids;
    check_groups(groups, findings);
    if annotations.get(KEEP_GROUPS).is_none_or(|value| value == "0") {
        return Some(groups.clone());
    }
    if !groups.is_empty() {
        findings.warn(
            Error::new(format!(
                "has no effect, as the annotation {KEEP_GROUPS} keeps the caller's"
            ))
            .at("process.user.additionalGids"),
        );
    }
    None
}

/// What setgroups(2) takes from nobody.
fn check_groups(groups: &[u32], findings: &mut Findings) {
    let field = "process.user.additionalGids";
    if groups.len() > GROUPS {
        let message = format!("has {} groups, more than {GROUPS}", groups.len());
        findings.error(Error::new(message).at(field).hint("setgroups(2): NGROUPS_MAX"));
    }
    if let Some(at) = groups.iter().position(|gid| *gid == u32::MAX) {
        findings.refuse(format_args!("{field}[{at}]"), "4294967295 is not an id");
    }
}

/// config.md, "Linux Process": an empty list is as none.
fn exec_affinity(
    affinity: Option<&spec::ExecCpuAffinity>,
    findings: &mut Findings,
) -> ExecAffinity {
    let Some(affinity) = affinity else { return ExecAffinity::default() };
    let mut list = |name: &str, list: Option<&str>| {
        let list = list.map(str::trim).filter(|list| !list.is_empty())?;
        mask::parse(&format!("process.execCPUAffinity.{name}"), list, findings)
    };
    ExecAffinity {
        initial: list("initial", affinity.initial.as_deref()),
        last: list("final", affinity.last.as_deref()),
    }
}

fn strings(field: &str, texts: &[String], findings: &mut Findings) -> Vec<CString> {
    let mut all = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        match CString::new(text.as_str()) {
            Ok(text) => all.push(text),
            Err(_) => findings.refuse(format_args!("{field}[{i}]"), "contains a NUL character"),
        }
    }
    all
}

/// Each name once: the last value wins, and keeps its place, as with runc. An empty HOME is
/// none: the user's own is added when the container's /etc/passwd can be read.
fn environment(env: &[String], findings: &mut Findings) -> Vec<CString> {
    for (i, entry) in env.iter().enumerate() {
        if entry.find('=').is_none_or(|at| at == 0) {
            findings.refuse(
                format_args!("process.env[{i}]"),
                format!("{entry:?} is not of the form NAME=value"),
            );
        }
    }
    // No HashSet: std draws its seed from getrandom(2), and panics where that fails.
    let mut seen = BTreeSet::new();
    let mut kept: Vec<&String> = env
        .iter()
        .rev()
        .filter(|entry| seen.insert(entry.split('=').next().unwrap_or_default()))
        .filter(|entry| *entry != "HOME=")
        .collect();
    kept.reverse();
    let owned: Vec<String> = kept.into_iter().cloned().collect();
    strings("process.env", &owned, findings)
}
