//! Arguments that `create` and `run` share, and what they and `exec` take from
//! the environment.

use super::arguments::arguments;
use super::connection::Networking;
use super::overlay::Overlaying;
use crate::container::{self, Runtime, Settings};
use crate::error::{Error, Kind, Result, VALUE};
use std::ffi::CString;
use std::path::PathBuf;

arguments! {
    /// Arguments of `create` and `run`.
    pub struct Creation {
        ..networking: Networking,
        ..overlaying: Overlaying,
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
    /// A descriptor to be passed on that is not open; a word that means nothing.
    pub fn settings(
        self,
        inherited_fds: u32,
        starts_itself: bool,
        relays_terminal: bool,
    ) -> Result<Settings> {
        let wiring = self.networking.wiring()?;
        let overlay = self.overlaying.wish()?;
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
            wiring,
            overlay,
        })
    }
}

/// The containers in whose name one of the patterns is found. That there is none is no error,
/// but told.
///
/// # Errors
/// As [`container::matching`].
pub fn matching(runtime: &Runtime, patterns: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for pattern in patterns {
        ids.extend(container::matching(runtime, pattern)?);
    }
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        let patterns = patterns.join(" or ");
        runtime.log.warning(&format!("--regex: no container's name has {patterns:?} in it"));
    }
    Ok(ids)
}

/// Does something to each of the containers, whatever happens to another. Where they `are_named`
/// by the caller, one that does not exist is a failure; else it has gone meanwhile, which is no
/// more than asked for.
///
/// # Errors
/// The only one, or all in one.
pub fn to_each(ids: &[String], are_named: bool, act: impl Fn(&str) -> Result<()>) -> Result<()> {
    let fails = |error: &Error| are_named || error.get_kind() != Kind::NoContainer;
    let failed = ids.iter().filter_map(|id| Some((id.clone(), act(id).err().filter(fails)?)));
    together(failed.collect(), ids.len())
}

/// What has failed of something that was done with each of `of` containers; by their ids.
///
/// # Errors
/// The only one, or all in one: what is the same for several is told once.
pub fn together(mut failed: Vec<(String, Error)>, of: usize) -> Result<()> {
    if failed.len() < 2 {
        return failed.pop().map_or(Ok(()), |(_, error)| Err(error));
    }
    let kind = match failed.iter().all(|(_, error)| error.get_kind() == Kind::NoContainer) {
        true => Kind::NoContainer,
        false => Kind::Other,
    };
    let count = failed.len();
    // What is compared, the first message, and whose are the same.
    let mut told: Vec<(String, String, Vec<String>)> = Vec::new();
    for (id, error) in failed {
        let text = error.to_string();
        let bare = without(&id, &text);
        match told.iter_mut().find(|(known, ..)| *known == bare) {
            Some((.., others)) => others.push(id),
            None => told.push((bare, text, Vec::new())),
        }
    }
    let mut texts = Vec::new();
    for (_, text, others) in told {
        texts.push(text);
        if !others.is_empty() {
            texts.push(format!("the same of {}", listed(&others)));
        }
    }
    Err(Error::new(texts.join("; ")).at(format_args!("{count} of {of} containers")).kind(kind))
}

/// A message in which the id does not matter, to be compared.
fn without(id: &str, text: &str) -> String {
    let is_part_of_id = |c: char| c.is_ascii_alphanumeric() || "_+.-".contains(c);
    let words = text.split(|c| !is_part_of_id(c));
    words.map(|word| if word == id { "*" } else { word }).collect::<Vec<_>>().join(" ")
}

/// As many ids as one value of a message may be long.
fn listed(ids: &[String]) -> String {
    let mut text = String::new();
    for (i, id) in ids.iter().enumerate() {
        if text.len() + id.len() > VALUE - 100 {
            return format!("{text} and {} more", ids.len() - i);
        }
        text.push_str(if i == 0 { "" } else { ", " });
        text.push_str(id);
    }
    text
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
        return Err(Error::new(format!("file descriptor {} is not open", 3 + open)).at(option));
    }
    Ok((total, env))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_for_many_is_told_once() {
        let failed = |ids: &[&str]| -> Vec<(String, Error)> {
            let error = |id: &&str| Error::new(format!("cannot delete container {id}: running"));
            ids.iter().map(|id| ((*id).to_owned(), error(id).hint("use --force"))).collect()
        };
        let told = |failed, of| together(failed, of).unwrap_err().to_string();
        assert!(together(Vec::new(), 3).is_ok());
        assert_eq!(told(failed(&["a"]), 3), "cannot delete container a: running (use --force)");
        let mut some = failed(&["a", "b", "container"]);
        some.insert(1, ("x".into(), Error::new("open x: denied")));
        assert_eq!(
            told(some, 5),
            "4 of 5 containers: cannot delete container a: running (use --force); \
             the same of b; open x: denied; \
             cannot delete container container: running (use --force)"
        );
        let ids: Vec<String> = (0..5000).map(|n| format!("web-{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let line = told(failed(&ids), 5000);
        assert!(line.len() < 600 && line.ends_with(" more"), "{line}");
    }
}
