//! `network`: connects containers to bridges and looks after those.

use crate::error::{At, Context, Error, Result};
use crate::hooks;
use crate::log::Log;
use crate::net;
use crate::plan::hooks::Hook;
use crate::plan::network::Wish;
use crate::spec::HookState;
use crate::store;
use crate::sys::file;
use crate::sys::signal;
use rustix::fs::{Mode, OFlags, open};
use rustix::termios::isatty;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

pub use crate::net::{Lease, Network, View};
use crate::plan::network::{Firewall, NewNetwork};

/// Who is to be connected.
#[derive(Debug)]
pub enum Subject {
    /// The container whose state is on standard input: we are its hook.
    Hook,
    /// A network namespace that no container owns, and a name for it.
    Namespace(PathBuf, String),
}

/// Who it is, and the file of the namespace.
struct Found {
    id: String,
    bundle: String,
    namespace: Option<PathBuf>,
}

fn find(subject: Subject) -> Result<Found> {
    match subject {
        Subject::Namespace(path, id) => {
            store::check_id(&id).at(|| "--name")?;
            Ok(Found { id, bundle: String::new(), namespace: Some(path) })
        }
        Subject::Hook => {
            if isatty(rustix::stdio::stdin()) {
                return Err(Error::new(
                    "the state of a container is read from standard input, which is a terminal",
                )
                .hint("a runtime gives it to its hooks; --netns PATH --name NAME do without"));
            }
            let text = file::read_stream(rustix::stdio::stdin())
                .call(|| "read the state on stdin".into())?;
            let state: HookState = serde_json::from_slice(&text).map_err(|error| {
                Error::new(format!("the state on standard input: {error}"))
                    .hint("a runtime gives it to its hooks; --netns and --name do without")
            })?;
            store::check_id(&state.id)?;
            let namespace = (state.pid > 0).then(|| format!("/proc/{}/ns/net", state.pid).into());
            Ok(Found { id: state.id, bundle: state.bundle, namespace })
        }
    }
}

/// Connects a container, and has it told.
///
/// # Errors
/// Whatever fails; nothing is left then.
pub fn setup(
    mut wish: Wish,
    subject: Subject,
    tell: impl FnOnce(&Lease) -> Result<()>,
) -> Result<()> {
    let found = find(subject)?;
    let path = found.namespace.ok_or_else(|| {
        Error::new(format!("container {} has no process, so no network namespace", found.id))
    })?;
    let namespace = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let namespace = namespace.call(|| format!("open {}", path.display()))?;
    // Relative to the bundle, as the sources of mounts are.
    wish.files = wish.files.map(|files| Path::new(&found.bundle).join(files));
    let member = net::Member { id: &found.id, bundle: &found.bundle };
    undisturbed(|| {
        let lease = net::setup(&wish, &member, namespace.as_fd())?;
        tell(&lease).map_err(|error| error.and(net::teardown(&wish.network, &member)))
    })
}

/// Disconnects a container; what is not there any more is no error.
///
/// # Errors
/// Those of the kernel.
pub fn teardown(network: &str, subject: Subject) -> Result<()> {
    let found = find(subject)?;
    let member = net::Member { id: &found.id, bundle: &found.bundle };
    undisturbed(|| net::teardown(network, &member))
}

/// Tells what our own hooks have said of a container that they have connected.
pub(super) fn tell(log: &Log, hooks: &[Hook], said: &[String]) {
    for (hook, text) in hooks.iter().zip(said) {
        if !text.is_empty() && hooks::is_own(hook) {
            text.lines().for_each(|line| log.notice(line));
        }
    }
}

/// No signal but SIGKILL ends it half way.
fn undisturbed<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    let mask = signal::block_all().call(|| "sigprocmask".into())?;
    let result = act();
    signal::set_mask(&mask).call(|| "sigprocmask".into())?;
    result
}

/// Makes a network that stays.
///
/// # Errors
/// A name, a bridge or a subnet that is taken.
pub fn create_network(wish: &NewNetwork, firewall: Firewall) -> Result<Network> {
    undisturbed(|| net::create(wish, firewall))
}

/// Those of these names, or all.
///
/// # Errors
/// A name that no network has.
pub fn networks(names: &[String]) -> Result<Vec<View>> {
    net::list(names)
}

/// Removes a network that nobody uses.
///
/// # Errors
/// Its members.
pub fn remove_network(name: &str) -> Result<()> {
    undisturbed(|| net::rm(name))
}

/// Removes what crashes have left; returns what that was.
///
/// # Errors
/// Those of the kernel.
pub fn prune_networks() -> Result<Vec<String>> {
    undisturbed(net::prune)
}

/// Makes the firewall's table anew.
///
/// # Errors
/// Those of the kernel.
pub fn reload_firewall() -> Result<()> {
    undisturbed(net::reload)
}
