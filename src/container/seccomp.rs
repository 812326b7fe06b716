//! The container's filter, and who gets its notification fd.

use super::state_of;
use crate::error::{At, Error, Result};
use crate::log::Log;
use crate::plan::Findings;
use crate::security::seccomp::{self as filters, Filter};
use crate::spec::{self, ExecSpec, OCI_VERSION, ProcessState, Seccomp, Spec, Status};
use crate::store::{Dir, Record};
use crate::sync::send_fd;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Compiles a profile, and checks that a program can be started under it.
pub(super) fn compile(profile: &Seccomp, findings: &mut Findings) -> Option<Filter> {
    let filter = filters::compile(profile, findings)?;
    if filter.allows("execve") == Some(false) {
        findings.error(
            Error::new("execve is not allowed")
                .at("linux.seccomp.syscalls")
                .hint("no program could be started under this filter"),
        );
        return None;
    }
    Some(filter)
}

/// Compiles the profile of a container that exists.
fn compile_again(profile: Option<&Seccomp>, log: &Log) -> Result<Option<Filter>> {
    let mut findings = Findings::default();
    let filter = profile.and_then(|profile| compile(profile, &mut findings));
    let filter = findings.check(filter)?;
    log_skipped(filter.as_ref(), log);
    Ok(filter)
}

/// The filter of a container that exists, and who gets its listener: the one
/// that `create` has compiled, so that each `exec` need not.
pub(super) fn saved(
    dir: &Dir,
    config: &ExecSpec,
    text: &[u8],
    log: &Log,
) -> Result<(Option<Filter>, Option<Receiver>)> {
    if config.linux.as_ref().is_none_or(|linux| linux.seccomp.is_none()) {
        return Ok((None, None));
    }
    let saved = dir.filter()?.and_then(|bytes| Filter::from_bytes(&bytes));
    if saved.is_some() {
        return Ok((saved, None));
    }
    let config: Spec = spec::parse("config.json", text)?;
    Ok((compile_again(config.seccomp(), log)?, Receiver::of(&config)))
}

/// Unknown names of system calls are logged at debug level only: profiles list calls of many
/// kernels.
pub(super) fn log_skipped(filter: Option<&Filter>, log: &Log) {
    if let Some(filter) = filter.filter(|filter| !filter.skipped.is_empty()) {
        log.debug(|| format!("linux.seccomp: unknown calls: {}", filter.skipped.join(", ")));
    }
}

/// Who gets the notification fd.
#[derive(Debug)]
pub(super) struct Receiver {
    path: String,
    metadata: Option<String>,
}

impl Receiver {
    /// The one that a configuration names.
    pub fn of(config: &Spec) -> Option<Self> {
        let profile = config.seccomp()?;
        let path = profile.listener_path.clone()?;
        Some(Self { path, metadata: profile.listener_metadata.clone() })
    }
}

/// Hands the notification fd of the process `pid` to `linux.seccomp.listenerPath`.
pub(super) fn notify(
    receiver: Option<&Receiver>,
    record: &Record,
    status: Status,
    pid: i32,
    listener: &OwnedFd,
) -> Result<()> {
    let receiver =
        receiver.ok_or_else(|| Error::new("is not set").at("linux.seccomp.listenerPath"))?;
    let state = ProcessState {
        oci_version: OCI_VERSION,
        fds: &["seccompFd"],
        pid,
        metadata: receiver.metadata.as_deref(),
        state: state_of(record, status),
    };
    let document =
        serde_json::to_vec(&state).map_err(|error| Error::new(format!("state: {error}")))?;
    send_fd(Path::new(&receiver.path), &document, listener.as_fd())
        .at(|| "linux.seccomp.listenerPath")
}
