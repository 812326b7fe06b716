//! The options before the command.

use super::arguments::arguments;
use crate::container::{Runtime, is_rootless};
use crate::error::{Error, Result};
use crate::log::{Format, Level, Log};
use crate::store::{DEFAULT_ROOT, Store};
use std::path::{Path, PathBuf};

arguments! {
    /// The options that every command understands.
    pub struct Global {
        /// Directory for the state of containers [default: /run/pinnace, or $XDG_RUNTIME_DIR/pinnace]
        root: Option<PathBuf> = "--root DIR",
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
        let store = match self.state_root().and_then(|(root, is_named)| Store::new(&root, is_named))
        {
            Ok(store) => store,
            Err(error) => return Err((log, error)),
        };
        let rootless = match self.rootless.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        Ok(Runtime { store, log, rootless, systemd: self.systemd_cgroup, inherited_fds })
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

    /// The state root, and whether the caller has named it.
    fn state_root(&self) -> Result<(PathBuf, bool)> {
        if let Some(root) = self.root.as_deref().filter(|root| *root != Path::new("")) {
            return Ok((root.to_owned(), true));
        }
        match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) if is_rootless()? => Ok((PathBuf::from(dir).join("pinnace"), false)),
            _ => Ok((PathBuf::from(DEFAULT_ROOT), false)),
        }
    }
}
