//! A further process in a running container: `exec`.
//!
//! What the container's processes see of it must be theirs already. So a first
//! process joins and prepares everything, outside their pid namespace. Last of all
//! it makes the one that they see. That one has left the host's namespaces, and
//! holds no descriptor of the host and no privilege of the runtime (CVE-2016-9962).

use super::confine::{After, Last, Limits};
use super::identity;
use super::prepare::{Affinity, Shared, open_terminal};
use crate::error::{Context, Result};
use crate::namespaces::{Join, lacks_init};
use crate::plan::{ExecAffinity, Kind, Process};
use crate::rootfs::Root;
use crate::security::keyring;
use crate::sync::{ChildEnd, ToChild, ToParent};
use crate::sys::process::{clone_sibling, exit_now, with_only};
use crate::terminal;
use rustix::fs::Mode;
use std::convert::Infallible;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the new process needs: a fork's copy of what the parent has prepared.
#[derive(Debug)]
pub struct Exec<'a> {
    /// What to become.
    pub process: &'a Process,
    /// What it has in common with the container's other processes.
    pub shared: &'a Shared<'a>,
    /// The container's namespaces.
    pub join: &'a Join,
    /// The container's root, if setns(2) does not lead there: without a mount
    /// namespace it is a chroot.
    pub root: Option<BorrowedFd<'a>>,
    /// The name of the container's session keyring, if it has one.
    pub keyring: Option<String>,
}

/// Runs in the new process; never returns.
pub fn main(exec: &Exec<'_>, channel: ChildEnd) -> Infallible {
    super::run(channel, |channel| {
        let last = enter(exec, channel)?;
        let kept = [channel.as_raw_fd()];
        with_only(3 + exec.process.preserve_fds, &kept, || go_on(exec, &last, channel))
    })
}

/// All that needs the host's view, its descriptors or the runtime's privileges.
fn enter<'a>(exec: &'a Exec<'_>, channel: &ChildEnd) -> Result<Last<'a>> {
    let process = exec.process;
    exec.shared.begin(channel, affinity(&process.exec_affinity))?;
    exec.join.enter()?;
    if exec.join.has(Kind::User) {
        identity::become_root(process.groups.is_none())?;
    }
    if let Some(root) = exec.root {
        rustix::process::fchdir(root).call(|| "fchdir to the container's root".into())?;
        rustix::process::chroot(".").call(|| "chroot".into())?;
    }
    if let Some(name) = &exec.keyring {
        keyring::join(name, keyring::Expected::Own)?;
    }
    let root = Root::current()?;
    open_terminal(process, &root, channel)?;
    let umask = rustix::process::umask(Mode::empty()).bits();
    exec.shared.set_up(process, &root, umask)
}

/// Who names CPUs for the way into the cgroup leaves the rest to the kernel (config.md, "Linux
/// Process").
fn affinity(wanted: &ExecAffinity) -> Affinity<'_> {
    match (&wanted.initial, &wanted.last) {
        (None, None) => Affinity::Reset,
        (_, last) => Affinity::Keep(last.as_ref()),
    }
}

/// The image's names are looked at, and the process that the container sees is made.
fn go_on(exec: &Exec<'_>, last: &Last<'_>, channel: &ChildEnd) -> Result<Infallible> {
    let is_seen = exec.shared.forks;
    // For a moment there are two of us, and the kernel counts both.
    let limits = if is_seen { Limits::RaisedOfUser } else { Limits::OfUser };
    let prepared = last.prepare(channel, Some(limits), Some(After::Seen { clones: is_seen }))?;
    if is_seen {
        be_seen(channel)?;
    }
    rustix::process::setsid().call(|| "setsid".into())?;
    if last.process.terminal.is_some() {
        terminal::take_control()?;
    }
    if !is_seen {
        channel.send(&ToParent::Ready)?;
    }
    channel.expect(ToChild::Start)?;
    last.exec(&prepared, channel)
}

/// Goes on in a child, which is in the container's pid namespace, and a child of
/// the runtime as we are; we end.
fn be_seen(channel: &ChildEnd) -> Result<()> {
    let call = "clone into the container's pid namespace";
    let Some(child) = clone_sibling().map_err(|errno| lacks_init(call, errno))? else {
        return Ok(());
    };
    // If this cannot be sent, our end tells the parent. The other hears of it as soon as
    // the parent has closed the channel.
    exit_now(i32::from(channel.send(&ToParent::Spawned(child)).is_err()))
}
