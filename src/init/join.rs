//! A further process in a running container: `exec`.
//!
//! What the container's processes see of it must be theirs already. So a first
//! process joins and prepares everything, outside their pid namespace. Last of all
//! it makes the one that they see. That one has left the host's namespaces, and
//! holds no descriptor of the host and no privilege of the runtime (CVE-2016-9962).

use super::confine::{self, After, Last, Limits};
use super::{identity, program};
use crate::error::{Context, Result};
use crate::namespaces::Join;
use crate::plan::{Kind, MemoryPolicy, Process};
use crate::rootfs::Root;
use crate::security::seccomp::Filter;
use crate::security::{keyring, memory, scheduling};
use crate::sync::{ChildEnd, ToChild, ToParent};
use crate::sys::process::{clone_sibling, exit_now, forbid_tracing, with_only};
use crate::sys::signal::Mask;
use crate::sys::start::hide_command_line;
use crate::terminal;
use rustix::fs::Mode;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// What the new process needs: a fork's copy of what the parent has prepared.
#[derive(Debug)]
pub struct Exec<'a> {
    /// What to become.
    pub process: &'a Process,
    /// Whether the runtime has something to do first, and then says so.
    pub waits: bool,
    /// The container's namespaces.
    pub join: &'a Join,
    /// The container's root, if setns(2) does not lead there: without a mount
    /// namespace it is a chroot.
    pub root: Option<OwnedFd>,
    /// The container's NUMA policy.
    pub memory_policy: Option<&'a MemoryPolicy>,
    /// The container's filter.
    pub filter: Option<&'a Filter>,
    /// The host's procfs.
    pub proc: BorrowedFd<'a>,
    /// Signal mask of our caller.
    pub caller_mask: Mask,
    /// Variables beyond `process.env`.
    pub extra_env: Vec<CString>,
    /// The name of the container's session keyring, if it has one.
    pub keyring: Option<String>,
}

impl Exec<'_> {
    /// Whether the runtime has to set the scheduling of the process that is made
    /// last: it would not inherit it.
    pub fn leaves_scheduling(&self) -> bool {
        self.join.has(Kind::Pid) && self.process.scheduling.ends_at_fork()
    }
}

/// Runs in the new process; never returns.
pub fn main(exec: &Exec<'_>, wire: ChildEnd) -> Infallible {
    super::run(wire, |wire| {
        let last = enter(exec, wire)?;
        let kept = [wire.as_raw_fd()];
        with_only(3 + exec.process.preserve_fds, &kept, || go_on(exec, &last, wire))
    })
}

/// All that needs the host's view, its descriptors or the runtime's privileges.
fn enter<'a>(exec: &'a Exec<'_>, wire: &ChildEnd) -> Result<Last<'a>> {
    hide_command_line();
    if exec.waits {
        wire.expect(ToChild::Go)?;
    }
    forbid_tracing().call(|| "prctl(PR_SET_DUMPABLE)".into())?;
    let process = exec.process;
    // We are in the container's cgroup by now.
    let cpus = process.exec_affinity.last.as_ref();
    scheduling::set_affinity("process.execCPUAffinity.final", cpus)?;
    exec.join.enter()?;
    if exec.join.has(Kind::User) {
        identity::become_root(process.groups.is_none())?;
    }
    if let Some(root) = &exec.root {
        rustix::process::fchdir(root).call(|| "fchdir to the container's root".into())?;
        rustix::process::chroot(".").call(|| "chroot".into())?;
    }
    if let Some(name) = &exec.keyring {
        keyring::join(name, keyring::Expected::Own)?;
    }
    let root = Root::current()?;
    if let Some(settings) = process.terminal {
        let pty = terminal::open(root.fd())?;
        terminal::become_stdio(&pty.slave, settings.size, process.uid)?;
        wire.send(&ToParent::Console(pty.master))?;
    }
    let caller_umask = rustix::process::umask(Mode::empty()).bits();
    program::change_directory(&root, process)?;
    if !exec.leaves_scheduling() {
        scheduling::apply(None, process.scheduling)?;
    }
    memory::apply(exec.memory_policy)?;
    confine::set_groups(process)?;
    let mut extra_env = exec.extra_env.clone();
    extra_env.extend(program::home(&root, process));
    confine::label(process, exec.proc)?;
    let (filter, caller_mask) = (exec.filter, &exec.caller_mask);
    Ok(Last { process, extra_env, filter, caller_umask, caller_mask })
}

/// The image's names are looked at, and the process that the container sees is made.
fn go_on(exec: &Exec<'_>, last: &Last<'_>, wire: &ChildEnd) -> Result<Infallible> {
    let bound = confine::bind(last.process)?;
    bound.warn(wire)?;
    let is_seen = exec.join.has(Kind::Pid);
    // For a moment there are two of us, and the kernel counts both.
    last.set_rlimits(if is_seen { Limits::RaisedOfUser } else { Limits::OfUser })?;
    last.become_user(&bound)?;
    let program = program::find(last.process)?;
    let filtered = last.filter_early(&bound, After::Seen { clones: is_seen })?;
    if is_seen {
        be_seen(wire)?;
    }
    rustix::process::setsid().call(|| "setsid".into())?;
    if last.process.terminal.is_some() {
        terminal::take_control()?;
    }
    if !is_seen {
        wire.send(&ToParent::Ready)?;
    }
    wire.expect(ToChild::Start)?;
    last.exec(&program, wire, filtered)
}

/// Goes on in a child, which is in the container's pid namespace, and a child of
/// the runtime as we are; we end.
fn be_seen(wire: &ChildEnd) -> Result<()> {
    let Some(child) = clone_sibling().call(|| "clone into the container's pid namespace".into())?
    else {
        return Ok(());
    };
    // If this cannot be sent, our end tells the parent. The other hears of it as soon as
    // the parent has closed the wire.
    exit_now(i32::from(wire.send(&ToParent::Spawned(child)).is_err()))
}
