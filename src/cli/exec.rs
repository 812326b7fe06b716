//! `pinnace exec`.

use super::Verb;
use super::arguments::arguments;
use super::shared::inherited;
use crate::container::{self, Request, Runtime};
use crate::error::{At, Context, Error, Result};
use crate::spec;
use crate::sys::file::{explain, read_given};
use rustix::fs::CWD;
use std::path::{Path, PathBuf};

arguments! {
    /// Arguments of `exec`.
    pub struct Exec {
        /// File with the process, instead of a command
        process: Option<PathBuf> = "-p, --process FILE",
        /// Unix socket that receives the master side of the terminal
        console_socket: Option<PathBuf> = "--console-socket SOCKET",
        /// Unix socket that receives a pidfd of the process
        pidfd_socket: Option<PathBuf> = "--pidfd-socket SOCKET",
        /// Working directory in the container
        cwd: Option<String> = "--cwd DIR",
        /// Add a variable to the environment
        env: Vec<String> = "-e, --env NAME=VALUE",
        /// Give the process a terminal
        tty: bool = "-t, --tty",
        /// Run as this user and group, by number
        user: Vec<String> = "-u, --user UID[:GID]",
        /// Add a supplementary group, by number
        additional_gids: Vec<String> = "-g, --additional-gids GID",
        /// Return as soon as the program runs
        detach: bool = "-d, --detach",
        /// File that receives the process id
        pid_file: Option<PathBuf> = "--pid-file FILE",
        /// SELinux label of the process
        process_label: Option<String> = "--process-label LABEL",
        /// AppArmor profile of the process
        apparmor: Option<String> = "--apparmor PROFILE",
        /// Keep the process from gaining privileges
        no_new_privs: bool = "--no-new-privs",
        /// Add a capability
        cap: Vec<String> = "-c, --cap NAME",
        /// Pass on that many more file descriptors, from 3 on
        preserve_fds: u32 = "--preserve-fds N",
        /// Put the process into a cgroup below the container's
        cgroup: Vec<String> = "--cgroup [CONTROLLER:]PATH",
        /// Go on even if the container is paused
        ignore_paused: bool = "--ignore-paused",
        /// Name of the container, then the command with its arguments
        rest: Vec<String> = "CONTAINER [COMMAND]...",
    }
}

impl Verb for Exec {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let (preserve_fds, extra_env) = inherited(self.preserve_fds, runtime.inherited_fds)?;
        let id = self.rest.first().cloned().ok_or_else(|| Error::new("CONTAINER is missing"))?;
        let request = Request {
            id,
            console_socket: self.console_socket.clone(),
            pid_file: self.pid_file.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            detach: self.detach,
            preserve_fds,
            extra_env,
            ignore_paused: self.ignore_paused,
            cgroups: self.cgroup.clone(),
            file: self.process.clone(),
            labels: self.labels(),
        };
        container::exec(runtime, &request, |own| self.process(own))
    }
}

impl Exec {
    /// The options that name labels. Those of a file are the file's.
    fn labels(&self) -> Vec<&'static str> {
        let all = [("--apparmor", &self.apparmor), ("--process-label", &self.process_label)];
        let given = all.into_iter().filter(|(_, value)| value.is_some() && self.process.is_none());
        given.map(|(name, _)| name).collect()
    }

    /// The process to run: the file's, or the container's own with changes.
    fn process(self, own: spec::Process) -> Result<spec::Process> {
        let command = self.rest.get(1..).unwrap_or_default();
        if let Some(file) = &self.process {
            if !command.is_empty() {
                return Err(Error::new("a command is given, too").at("--process"));
            }
            let mut process = read(file, own)?;
            process.terminal |= self.tty;
            return Ok(process);
        }
        if command.is_empty() {
            return Err(Error::new("COMMAND is missing").hint("or use --process FILE"));
        }
        let mut process = spec::Process { args: command.to_vec(), terminal: self.tty, ..own };
        if let Some(cwd) = self.cwd {
            if !cwd.starts_with('/') {
                return Err(Error::new(format!("{cwd:?} is not an absolute path")).at("--cwd"));
            }
            process.cwd = cwd;
        }
        if let Some(entry) = self.env.iter().find(|entry| !is_variable(entry)) {
            return Err(Error::new(format!("{entry:?} is not of the form NAME=value")).at("--env"));
        }
        process.env.extend(self.env);
        // An empty one is no way to become whoever the container is.
        if let Some(user) = self.user.last() {
            let (uid, gid) = parse_user(user)?;
            process.user.uid = Some(uid);
            process.user.gid = gid.or(process.user.gid);
        }
        for group in &self.additional_gids {
            process.user.additional_gids.push(number("--additional-gids", group)?);
        }
        process.no_new_privileges |= self.no_new_privs;
        process.apparmor_profile = self.apparmor.or(process.apparmor_profile);
        process.selinux_label = self.process_label.or(process.selinux_label);
        add_capabilities(&mut process, &self.cap);
        Ok(process)
    }
}

/// A variable without a name or a value cannot be told from another.
fn is_variable(entry: &str) -> bool {
    entry.find('=').is_some_and(|at| at > 0)
}

/// What the file does not say is as in the container's own process.
fn read(file: &Path, own: spec::Process) -> Result<spec::Process> {
    let name = format!("--process {}", file.display());
    let text = read_given(CWD, file).call(|| "read".into()).at(|| &name);
    let text = text.map_err(explain)?;
    let process: spec::Process = spec::parse(&name, &text)?;
    let given: spec::Given = spec::parse(&name, &text)?;
    Ok(process.or(own, &given))
}

/// Never into the inheritable set: a program without privileges could pass
/// them on (CVE-2022-29162, CVE-2022-27650).
fn add_capabilities(process: &mut spec::Process, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let sets = process.capabilities.get_or_insert_default();
    for name in names {
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.push(name.clone());
        }
        if sets.inheritable.contains(name) {
            sets.ambient.push(name.clone());
        }
    }
}

/// `UID[:GID]`, numbers only: a name or an overflow must never become 0
/// (CVE-2026-30892).
pub(super) fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number("--user", uid)?, Some(number("--user", gid)?))),
        None => Ok((number("--user", text)?, None)),
    }
}

fn number(option: &str, text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX).ok_or_else(|| {
        Error::new(format!("{text:?} is not a number from 0 to 4294967294")).at(option)
    })
}

#[cfg(test)]
mod tests {
    use super::parse_user;

    #[test]
    fn a_user_is_a_number_or_an_error() {
        assert_eq!(parse_user("1").unwrap(), (1, None));
        assert_eq!(parse_user("1:2").unwrap(), (1, Some(2)));
        let bad = ["", "-1", "+1", "1:", ":1", "x", "1:2:3", " 1", "4294967295", "4294967296"];
        for text in bad {
            assert!(parse_user(text).is_err(), "{text:?}");
        }
    }
}
