//! Writes the maps of a new user namespace, `user_namespaces(7)`: directly with
//! the privilege, else by the helpers that check /etc/subuid.

use crate::error::{At, Context, Error, Result};
use crate::plan::idmap::text;
use crate::plan::{Findings, IdMaps};
use crate::spec::IdMapping;
use crate::sys::process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{PidfdFlags, pidfd_open};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command, Output, Stdio};

/// Maps the ids of the process `pid`, which has just been made.
///
/// # Errors
/// A map that the kernel or the helper refuses.
pub fn write(pid: i32, maps: &IdMaps) -> Result<()> {
    let privileged = rustix::process::geteuid().is_root();
    let own_uid = rustix::process::geteuid().as_raw();
    let own_gid = rustix::process::getegid().as_raw();
    if !privileged && is_own(&maps.gids, own_gid) {
        // Without privilege the kernel wants setgroups(2) switched off first.
        write_file(pid, "setgroups", "deny")?;
    }
    one(pid, "gid_map", "newgidmap", &maps.gids, privileged || is_own(&maps.gids, own_gid))?;
    one(pid, "uid_map", "newuidmap", &maps.uids, privileged || is_own(&maps.uids, own_uid))
}

/// Looks for the helpers that [`write()`] would call, for `plan`.
pub fn look(maps: &IdMaps, findings: &mut Findings) {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for (field, helper, map, own) in [
        ("uidMappings", "newuidmap", &maps.uids, uid),
        ("gidMappings", "newgidmap", &maps.gids, gid),
    ] {
        // Of an empty map it is told.
        if !map.is_empty() && !is_own(map, own) && !is_in_path(helper) {
            let message = format!("{helper} is not in $PATH");
            findings.error(Error::new(message).at(format_args!("linux.{field}")).hint(PACKAGE));
        }
    }
}

/// Whether a program can be found as `execvp(3)` does.
fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let folders = path.as_bytes().split(|byte| *byte == b':');
    let mut files = folders.map(|folder| [folder, b"/", program.as_bytes()].concat());
    files.any(|file| process::is_program_at(&file).is_ok())
}

/// Where the helpers come from.
const PACKAGE: &str = "the package uidmap has it";

/// Whether a map holds nothing but the caller's own id, which needs no helper.
fn is_own(map: &[IdMapping], id: u32) -> bool {
    matches!(map, [one] if one.host_id == id && one.size == 1)
}

fn one(pid: i32, file: &str, helper: &str, map: &[IdMapping], directly: bool) -> Result<()> {
    let field = if file == "uid_map" { "linux.uidMappings" } else { "linux.gidMappings" };
    if directly {
        match write_file(pid, file, &text(map)) {
            // Root of a user namespace that lacks CAP_SETUID over its parent.
            Err(error) if error.errno() == Some(Errno::PERM) => {}
            result => return result.at(|| field),
        }
    }
    let words = map.iter().flat_map(|line| {
        [line.container_id, line.host_id, line.size].map(|number| number.to_string())
    });
    let call = || format!("run {helper}");
    let mut command = Command::new(helper);
    command.arg(pid.to_string()).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().call(call).at(|| field);
    let child = child.hint(|| PACKAGE)?;
    let output = output_of(child, &call).at(|| field)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // It names itself in most of its messages.
    let said = said.trim().trim_start_matches(helper).trim_start_matches(':').trim_start();
    Err(Error::new(said)
        .at(helper)
        .at(field)
        .hint("/etc/subuid and /etc/subgid say which ids a user may map"))
}

/// What a helper said, which may be stopped, or wait for a directory of users that is away.
///
/// # Errors
/// `ETIMEDOUT`. It is root's, so that it may not even be ours to kill.
fn output_of(mut child: Child, call: &dyn Fn() -> String) -> Result<Output> {
    const HELPER_TIMEOUT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
    if let Some(pid) = process::one(child.id() as i32) {
        let pidfd = pidfd_open(pid, PidfdFlags::empty());
        let pidfd = pidfd.call(|| "pidfd_open".into()).at(call)?;
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        if retry_on_intr(|| poll(&mut fds, Some(&HELPER_TIMEOUT))).call(call)? == 0 {
            // EPERM: that it was too slow is told all the same.
            let _lives_on = child.kill().is_err();
            return Err(Error::os(call(), Errno::TIMEDOUT));
        }
    }
    child.wait_with_output().call(call)
}

fn write_file(pid: i32, file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, text).call(|| format!("write {:?} to {path}", text.trim_end()))
}
