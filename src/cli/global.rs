//! The options before the command.

use super::arguments::{Value, arguments};
use crate::container::{Runtime, is_rootless};
use crate::error::{Error, Result};
use crate::log::{Format, Level, Log};
use crate::store::{DEFAULT_ROOT, NamedBy, Store};
use std::ffi::OsString;
use std::path::PathBuf;

arguments! {
    /// The options that every command understands.
    pub struct Global {
        /// Directory for the state of containers [default: /run/pinnace, or $XDG_RUNTIME_DIR/pinnace]
        root: Root = "--root DIR",
        /// Write errors to this file, too, and warnings to it alone
        log: Option<String> = "--log FILE",
        /// Format of the log
        log_format: String = "--log-format FORMAT" in ["text", "json"],
        /// How much is told; auto: warnings, too, but in a JSON log the error alone
        log_level: String = "--log-level LEVEL" in ["auto", "warning", "error", "debug"],
        /// Log what a person who looks for a fault wants to see: --log-level debug
        debug: bool = "--debug",
        /// Let systemd make the cgroups
        systemd_cgroup: bool = "--systemd-cgroup",
        /// Who makes the cgroups, as crun calls it: cgroupfs or systemd
        cgroup_manager: Manager = "--cgroup-manager MANAGER",
        /// Forgive cgroup errors for lack of privilege
        rootless: String = "--rootless WHEN" in ["auto", "true", "false"],
        /// Print the versions of the program and of the spec
        pub version: bool = "-v, --version",
    }
}

impl Global {
    /// Opens the log and finds the state root.
    ///
    /// # Errors
    /// A log that cannot be opened, what is not supported yet; with the log to
    /// write it to.
    pub fn runtime(&self, inherited_fds: u32) -> std::result::Result<Runtime, (Log, Error)> {
        let log = self.log().map_err(|error| (Log::default(), error))?;
        let store = match self.state_root().and_then(|(root, by)| Store::new(&root, by)) {
            Ok(store) => store,
            Err(error) => return Err((log, error)),
        };
        let rootless = match self.rootless.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        let systemd = self.systemd_cgroup || self.cgroup_manager.is_systemd;
        Ok(Runtime { store, log, rootless, systemd, inherited_fds })
    }

    /// Opens the log.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn log(&self) -> Result<Log> {
        let format = if self.log_format == "json" { Format::Json } else { Format::Text };
        let level = match self.log_level.as_str() {
            _ if self.debug => Some(Level::Debug),
            "debug" => Some(Level::Debug),
            "error" => Some(Level::Error),
            "warning" => Some(Level::Warning),
            _ => None,
        };
        Log::open(self.log.as_deref(), format, level)
    }

    /// The state root, and who has named it.
    fn state_root(&self) -> Result<(PathBuf, NamedBy)> {
        if let Root(Some(root)) = &self.root {
            return Ok((root.clone(), NamedBy::Option));
        }
        match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) if is_rootless()? => {
                return Ok((PathBuf::from(dir).join("pinnace"), NamedBy::Variable));
            }
            Some(_) => {}
            // As after su(1), or for cron(8): what a session would name is there in most cases.
            None => {
                let user = rustix::process::geteuid();
                let dir = PathBuf::from(format!("/run/user/{}", user.as_raw()));
                if !user.is_root() && dir.is_dir() {
                    return Ok((dir.join("pinnace"), NamedBy::Session));
                }
            }
        }
        Ok((PathBuf::from(DEFAULT_ROOT), NamedBy::Nobody))
    }
}

/// The value of `--root`. An empty one is no "not given": a script whose variable is not set
/// would work on the containers of all.
#[derive(Debug, Default)]
pub struct Root(Option<PathBuf>);

impl Value for Root {
    fn set(&mut self, word: OsString) -> std::result::Result<(), String> {
        if word.is_empty() {
            return Err("is the name of no directory".to_owned());
        }
        self.0 = Some(word.into());
        Ok(())
    }
}

/// The value of crun's option.
#[derive(Debug, Default)]
pub struct Manager {
    is_systemd: bool,
}

impl Value for Manager {
    fn set(&mut self, word: OsString) -> std::result::Result<(), String> {
        self.is_systemd = match word.to_str() {
            Some("systemd") => true,
            Some("cgroupfs") => false,
            Some("disabled") => {
                return Err("is not supported: a container gets a cgroup where its caller may \
                            make one"
                    .to_owned());
            }
            _ => return Err("is neither cgroupfs nor systemd".to_owned()),
        };
        Ok(())
    }
}
