//! A further process in a running container: `exec`.

use super::confine::{self, Last};
use super::{identity, program, start};
use crate::error::{Context, Result};
use crate::namespaces::Join;
use crate::plan::{MemoryPolicy, Process};
use crate::rootfs::Root;
use crate::security::seccomp::Filter;
use crate::security::{keyring, lsm, memory, scheduling};
use crate::sync::{ChildEnd, ToChild, ToParent};
use crate::sys::signal::Mask;
use rustix::fs::Mode;
use rustix::process::DumpableBehavior;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// What the new process needs: a fork's copy of what the parent has prepared.
#[derive(Debug)]
pub struct Exec<'a> {
    /// What to become.
    pub process: &'a Process,
    /// Namespaces that it still has to join by itself.
    pub join: Option<&'a Join>,
    /// The container's root, if setns(2) does not lead there: without a mount
    /// namespace it is a chroot.
    pub root: Option<OwnedFd>,
    /// Whether the container has a user namespace of its own.
    pub user_namespace: bool,
    /// The container's NUMA policy.
    pub memory_policy: Option<&'a MemoryPolicy>,
    /// The container's filter.
    pub filter: Option<&'a Filter>,
    /// The host's procfs.
    pub proc: OwnedFd,
    /// Signal mask of our caller.
    pub caller_mask: Mask,
    /// Variables beyond `process.env`.
    pub extra_env: Vec<CString>,
    /// The name of the container's session keyring, if it has one.
    pub keyring: Option<String>,
}

/// Runs in the new process; never returns.
pub fn main(exec: &Exec<'_>, wire: ChildEnd) -> Infallible {
    super::run(wire, |wire| enter(exec, wire))
}

fn enter(exec: &Exec<'_>, wire: &mut ChildEnd) -> Result<Infallible> {
    // Processes of the container see us from now on: they must not reach our
    // descriptors or memory (CVE-2016-9962).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .call(|| "prctl(PR_SET_DUMPABLE)".into())?;
    wire.expect(ToChild::Go)?;
    // We are in the container's cgroup by now.
    let cpus = exec.process.exec_affinity.last.as_ref();
    scheduling::set_affinity("process.execCPUAffinity.final", cpus)?;
    if let Some(join) = exec.join {
        join.enter()?;
    }
    if exec.user_namespace {
        identity::become_root(exec.process.groups.is_none())?;
    }
    if let Some(root) = &exec.root {
        rustix::process::fchdir(root).call(|| "fchdir to the container's root".into())?;
        rustix::process::chroot(".").call(|| "chroot".into())?;
    }
    rustix::process::setsid().call(|| "setsid".into())?;
    if let Some(name) = &exec.keyring {
        keyring::join(name, keyring::Expected::Own)?;
    }
    let process = exec.process;
    lsm::check(process.apparmor_profile.as_deref(), process.selinux_label.as_deref())?;
    let root = Root::current()?;
    if let Some(terminal) = process.terminal {
        let pty = crate::terminal::open(root.fd())?;
        crate::terminal::become_stdio(&pty.slave, terminal.size, process.uid)?;
        wire.send(&ToParent::Console(pty.master))?;
    }
    let caller_umask = rustix::process::umask(Mode::empty()).bits();
    program::change_directory(&root, process)?;
    scheduling::apply(process.scheduling)?;
    memory::apply(exec.memory_policy)?;
    confine::set_groups(process)?;
    let program = program::find(process)?;
    let mut extra_env = exec.extra_env.clone();
    extra_env.extend(program::home(&root, process));
    wire.send(&ToParent::Ready)?;
    let begun = confine::begin(process, exec.proc.as_fd());
    start::wait(wire, None)?;
    let last = Last {
        process,
        program: &program,
        extra_env: &extra_env,
        filter: exec.filter,
        caller_umask,
        caller_mask: &exec.caller_mask,
    };
    confine::and_exec(begun?, &last, wire)
}
