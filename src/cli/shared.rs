//! Arguments that `create` and `run` share, and what they and `exec` take from
//! the environment.

use super::arguments::arguments;
use crate::container::{self, Runtime, Settings};
use crate::error::{Error, Kind, Result};
use std::ffi::CString;
use std::path::PathBuf;

arguments! {
    /// Arguments of `create` and `run`.
    pub struct Creation {
        /// Directory of the bundle [default: .]
        bundle: Option<PathBuf> = "-b, --bundle DIR",
        /// Read this file instead of the bundle's config.json
        config: Option<PathBuf> = "-f, --config FILE",
        /// Unix socket that receives the master side of the terminal
        console_socket: Option<PathBuf> = "--console-socket SOCKET",
        /// Unix socket that receives a pidfd of the container's process
        pidfd_socket: Option<PathBuf> = "--pidfd-socket SOCKET",
        /// File that receives the process id
        pid_file: Option<PathBuf> = "--pid-file FILE",
        /// Change the root with chroot(2) instead of pivot_root(2), as a ramdisk needs
        no_pivot: bool = "--no-pivot",
        /// Keep the session keyring of the caller
        no_new_keyring: bool = "--no-new-keyring",
        /// Pass on that many more file descriptors, from 3 on
        preserve_fds: u32 = "--preserve-fds N",
        /// Name of the container
        id: String = "CONTAINER",
    }
}

impl Creation {
    /// As the verbs want it.
    ///
    /// # Errors
    /// A descriptor to be passed on that is not open.
    pub fn settings(
        self,
        inherited_fds: u32,
        starts_itself: bool,
        relays_terminal: bool,
    ) -> Result<Settings> {
        let (preserve_fds, extra_env) = inherited(self.preserve_fds, inherited_fds)?;
        Ok(Settings {
            id: self.id,
            bundle: self.bundle.unwrap_or_else(|| ".".into()),
            config: self.config,
            console_socket: self.console_socket,
            pid_file: self.pid_file,
            pidfd_socket: self.pidfd_socket,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds,
            extra_env,
            starts_itself,
            relays_terminal,
        })
    }
}

/// Does something to the container `id`, or to all in whose id that pattern is
/// found: to each of them, whatever happens to another.
///
/// # Errors
/// The only one, or all in one.
pub fn to_each(
    runtime: &Runtime,
    id: &str,
    is_regex: bool,
    act: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    if !is_regex {
        return act(id);
    }
    let ids = container::matching(runtime, id)?;
    // Whoever has gone meanwhile is no more than asked for.
    let gone = |error: &Error| error.get_kind() == Kind::NoContainer;
    let failed = ids.iter().filter_map(|id| act(id).err().filter(|error| !gone(error)));
    together(failed.collect(), ids.len())
}

/// What has failed of something that was done with each of `of` containers.
///
/// # Errors
/// The only one, or all in one.
pub fn together(mut failed: Vec<Error>, of: usize) -> Result<()> {
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0)),
        count => {
            let all: Vec<_> = failed.iter().map(ToString::to_string).collect();
            Err(Error::new(format!("{count} of {of} containers: {}", all.join("; "))))
        }
    }
}

/// How many descriptors the process gets, socket activation included
/// (`sd_listen_fds(3)`), and the variables that tell it of them. `open` are there. What
/// was passed to another process, whose environment we have inherited, is not for us.
///
/// # Errors
/// A descriptor to be passed on that is not open.
pub fn inherited(preserve: u32, open: u32) -> Result<(u32, Vec<CString>)> {
    let listen = std::env::var("LISTEN_FDS").ok().and_then(|text| text.parse::<u32>().ok());
    let is_ours = || {
        let own = std::process::id().to_string();
        std::env::var_os("LISTEN_PID").is_none_or(|pid| pid == *own)
    };
    let listen = listen.filter(|count| *count > 0 && is_ours());
    let mut env = Vec::new();
    if let Some(count) = listen {
        // The process will be 1 in its pid namespace, as a rule.
        let names =
            std::env::var("LISTEN_FDNAMES").ok().map(|names| format!("LISTEN_FDNAMES={names}"));
        let texts = [Some(format!("LISTEN_FDS={count}")), Some("LISTEN_PID=1".into()), names];
        env.extend(texts.into_iter().flatten().filter_map(|text| CString::new(text).ok()));
    }
    let total = preserve.saturating_add(listen.unwrap_or(0));
    if total > open {
        let option = if preserve > open { "--preserve-fds" } else { "LISTEN_FDS" };
        return Err(Error::new(format!("{option}: file descriptor {} is not open", 3 + open)));
    }
    Ok((total, env))
}
