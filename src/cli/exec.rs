//! `pinnace exec`.

use super::Verb;
use super::shared::inherited;
use crate::container::{self, Request, Runtime};
use crate::error::{Context, Error, Result};
use crate::spec;
use clap::Args;
use std::path::{Path, PathBuf};

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// File with the process, instead of a command
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Unix socket that receives the master side of the terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Add a variable to the environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// Run as this user and group, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Add a supplementary group, by number
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<String>,
    /// Return as soon as the program runs
    #[arg(short, long)]
    detach: bool,
    /// File that receives the process id
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Keep the process from gaining privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Add a capability
    #[arg(short, long, value_name = "NAME")]
    cap: Vec<String>,
    /// Pass on that many more file descriptors, from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Put the process into a cgroup below the container's
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    cgroup: Vec<String>,
    /// Go on even if the container is paused
    #[arg(long)]
    ignore_paused: bool,
    /// Name of the container, then the command with its arguments
    #[arg(
        value_name = "CONTAINER [COMMAND]...",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    rest: Vec<String>,
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
        };
        container::exec(runtime, &request, |own| self.process(own))
    }
}

impl Exec {
    /// The process to run: the file's, or the container's own with changes.
    fn process(self, own: spec::Process) -> Result<spec::Process> {
        let command = self.rest.get(1..).unwrap_or_default();
        if let Some(file) = &self.process {
            if !command.is_empty() {
                return Err(Error::new("--process: a command is given, too"));
            }
            let mut process = read(file)?;
            process.terminal |= self.tty;
            return Ok(process);
        }
        if command.is_empty() {
            return Err(Error::new("COMMAND is missing").hint("or use --process FILE"));
        }
        let mut process = spec::Process { args: command.to_vec(), terminal: self.tty, ..own };
        if let Some(cwd) = self.cwd {
            process.cwd = cwd;
        }
        process.env.extend(self.env);
        if let Some(user) = &self.user {
            let (uid, gid) = parse_user(user)?;
            process.user.uid = uid;
            process.user.gid = gid.unwrap_or(process.user.gid);
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

fn read(file: &Path) -> Result<spec::Process> {
    let name = file.display().to_string();
    let text = std::fs::read(file).call(|| format!("--process: read {name}"))?;
    spec::parse(&name, &text)
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
fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number("--user", uid)?, Some(number("--user", gid)?))),
        None => Ok((number("--user", text)?, None)),
    }
}

fn number(option: &str, text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX).ok_or_else(|| {
        Error::new(format!("{option}: {text:?} is not a number from 0 to 4294967294"))
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
