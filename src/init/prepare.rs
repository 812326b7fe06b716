//! What every process of a container goes through, its first one and those of `exec`
//! alike. What a process has by the configuration is written here, once.

use super::confine::{self, After, Last, Limits, Prepared};
use super::program;
use crate::error::{At, Context, Result};
use crate::plan::mask::Mask as Cpus;
use crate::plan::{MemoryPolicy, Process};
use crate::rootfs::Root;
use crate::security::seccomp::Filter;
use crate::security::{memory, scheduling};
use crate::sync::{ChildEnd, ToChild, ToParent};
use crate::sys::process::{forbid_tracing, personality};
use crate::sys::signal::Mask;
use crate::sys::start::hide_command_line;
use crate::terminal;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What a process has beside `process`: from its container, and from the runtime.
#[derive(Debug)]
pub struct Shared<'a> {
    /// Whether the runtime has something to do first, and then says so.
    pub waits: bool,
    /// Whether the process goes on in a child that it makes. What fork(2) does not hand
    /// on is set on that one by the runtime.
    pub forks: bool,
    /// The container's personality(2).
    pub personality: Option<u64>,
    /// The container's NUMA policy.
    pub memory_policy: Option<&'a MemoryPolicy>,
    /// The compiled filter.
    pub filter: Option<&'a Filter>,
    /// The host's procfs.
    pub proc: BorrowedFd<'a>,
    /// Signal mask of our caller.
    pub caller_mask: &'a Mask,
    /// Variables beyond `process.env`.
    pub extra_env: Vec<CString>,
}

/// Where the process may run.
#[derive(Debug, Clone, Copy)]
pub enum Affinity<'a> {
    /// On all CPUs of its cpuset: those of the runtime's caller are not the container's.
    Reset,
    /// As it is, but for `process.execCPUAffinity.final`.
    Keep(Option<&'a Cpus>),
}

impl Shared<'_> {
    /// The first steps, while the process still sees the host. It is in its cgroup by then,
    /// or will be soon.
    ///
    /// # Errors
    /// If the runtime is gone; those of prctl(2) and `sched_setaffinity(2)`.
    pub fn begin(&self, channel: &ChildEnd, affinity: Affinity<'_>) -> Result<()> {
        hide_command_line();
        if self.waits {
            channel.expect(ToChild::Go)?;
        }
        forbid_tracing().call(|| "prctl(PR_SET_DUMPABLE)".into())?;
        match affinity {
            Affinity::Reset => scheduling::reset_affinity(),
            Affinity::Keep(cpus) => scheduling::set_affinity("process.execCPUAffinity.final", cpus),
        }
    }

    /// Everything about the process that can be known, and refused, before it is started.
    /// `umask` is for a process that sets none.
    ///
    /// # Errors
    /// What `process` wants and cannot have, by its field.
    pub fn set_up<'b>(&'b self, process: &'b Process, root: &Root, umask: u32) -> Result<Last<'b>> {
        let enters_as_user = !program::change_directory(root, process)?;
        if !(self.forks && process.scheduling.ends_at_fork()) {
            scheduling::apply(None, process.scheduling)?;
        }
        memory::apply(self.memory_policy)?;
        if let Some(domain) = self.personality {
            personality(domain)
                .call(|| format!("personality({domain:#x})"))
                .at(|| "linux.personality")?;
        }
        confine::set_groups(process)?;
        let mut extra_env = self.extra_env.clone();
        extra_env.extend(program::home(root, process));
        confine::label(process, self.proc)?;
        let (filter, caller_mask) = (self.filter, self.caller_mask);
        Ok(Last { process, extra_env, filter, umask, caller_mask, enters_as_user })
    }
}

/// Makes a new terminal of the container this process's stdio, if it is to have one, and
/// sends its other side to the runtime.
///
/// # Errors
/// If the container has no devpts.
pub fn open_terminal(
    process: &Process,
    root: &Root,
    channel: &ChildEnd,
) -> Result<Option<OwnedFd>> {
    let Some(settings) = process.terminal else { return Ok(None) };
    let pty = terminal::open(root.fd())?;
    terminal::become_stdio(&pty.slave, settings.size)?;
    channel.send(&ToParent::Console(pty.master))?;
    Ok(Some(pty.slave))
}

impl Last<'_> {
    /// From the runtime's privileges to the user's. Names of the image are looked at only
    /// now: they lead to what the user may see. The filter is loaded where `then` says
    /// what is still to be called under it.
    ///
    /// # Errors
    /// Whatever failed; the process must end then.
    pub fn prepare(
        &self,
        channel: &ChildEnd,
        limits: Option<Limits>,
        then: Option<After>,
    ) -> Result<Prepared> {
        let bound = confine::bind(self.process)?;
        bound.warn(channel)?;
        if let Some(limits) = limits {
            self.set_rlimits(limits)?;
        }
        self.become_user(&bound)?;
        let program = program::find(self.process)?;
        let filtered = match then {
            Some(then) => self.filter_early(&bound, then, channel)?,
            None => false,
        };
        Ok(Prepared { program, filtered })
    }
}
