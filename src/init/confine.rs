//! The last steps, the same for `create` and `exec`: from the runtime's
//! privileges to the user's, in one order, and execve(2). A `startContainer`
//! hook, which comes from the image too, ends in it as well.

use super::identity::{explain_groups, explain_id, set_gid, set_uid};
use super::program;
use crate::error::{At, Context, Error, Result};
use crate::plan::Process;
use crate::plan::capabilities::Capabilities;
use crate::security::seccomp::Filter;
use crate::security::{capabilities, lsm};
use crate::sync::{ChildEnd, ToParent, cannot_run};
use crate::sys::process::{Execve, SIBLING, keep_inherited};
use crate::sys::seccomp::{self, FLAG_NEW_LISTENER};
use crate::sys::signal::{self, Mask};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::set_thread_groups;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

/// What the last steps need.
#[derive(Debug)]
pub struct Last<'a> {
    /// The process to become.
    pub process: &'a Process,
    /// Variables beyond `process.env`.
    pub extra_env: Vec<CString>,
    /// The compiled filter.
    pub filter: Option<&'a Filter>,
    /// umask for a process that sets none.
    pub umask: u32,
    /// Signal mask of our caller.
    pub caller_mask: &'a Mask,
    /// Whether the working directory is still to be entered, as only the user may do that.
    pub enters_as_user: bool,
}

/// umask of a container that sets none, and of its hooks. Not that of our caller: under
/// a daemon with umask 0 all that a build makes would be writable by everybody.
pub const UMASK: u32 = 0o022;

/// Groups are set early: the lookup of the program is done with them.
///
/// # Errors
/// `EPERM` where setgroups(2) is switched off and there is a group to set.
pub fn set_groups(process: &Process) -> Result<()> {
    let Some(wanted) = &process.groups else { return Ok(()) };
    let groups: Vec<_> = wanted.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match set_thread_groups(&groups) {
        // In a user namespace without setgroups(2) there are none to drop.
        Err(Errno::PERM) if groups.is_empty() => Ok(()),
        set => set.map_err(|errno| explain_groups(&groups, errno)),
    }
}

/// When limits are set: they bind all that comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// Before the ids: the kernel counts the user's processes when they change
    /// (setresuid(2), "BUGS").
    OfUser,
    /// The same, but only where more is wanted than we have.
    RaisedOfUser,
    /// Before execve(2).
    All,
}

/// What is still to be done under a filter that is loaded early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// `exec` goes on, in a process that it `clones` or in its own.
    Seen {
        /// Whether there is a second process.
        clones: bool,
    },
    /// `create` waits for `start`.
    Start,
}

/// Calls that both make before execve(2), which is the program's first: what the filter has to
/// say of that one, nobody else is in need of.
const COMMON: &[&str] = &[
    "capset",
    "sendmsg",
    "recvmsg",
    "prlimit64",
    "umask",
    "rt_sigaction",
    "rt_sigprocmask",
    "fcntl",
    "fcntl64",
    "close",
    "brk",
    "mmap",
    "mmap2",
    "munmap",
    "exit_group",
];
/// And `exec`, beside clone(2), and ioctl(2) for a terminal.
const SEEN: &[&str] = &["setsid"];
/// And `create`. Not poll(2): where that is interrupted, `restart_syscall(2)` follows.
const STARTED: &[&str] = &["ppoll", "ppoll_time64", "accept4", "recv", "recvfrom", "read"];

/// Whether `clone_sibling` goes through. The order of its first two arguments depends
/// on the architecture.
fn allows_sibling(filter: &Filter) -> bool {
    let (flags, stack) = (SIBLING, 0);
    match cfg!(target_arch = "s390x") {
        true => filter.allows_with("clone", stack, flags),
        false => filter.allows_with("clone", flags, stack),
    }
}

/// What [`bind`] has found out.
#[derive(Debug)]
pub struct Bound {
    sets: Capabilities,
    warnings: Vec<Error>,
}

/// Labels of the next execve(2), of this process or of a child; `proc` is the
/// host's procfs.
///
/// # Errors
/// Those of [`lsm::set_apparmor`] and [`lsm::set_selinux`].
pub fn label(process: &Process, proc: BorrowedFd<'_>) -> Result<()> {
    if let Some(profile) = &process.apparmor_profile {
        lsm::set_apparmor(proc, profile)?;
    }
    if let Some(label) = &process.selinux_label {
        lsm::set_selinux(proc, label)?;
    }
    Ok(())
}

/// The first half: all that does not bind this process itself, only what it
/// executes. It runs before `Start` is received, so it costs `start` no time.
///
/// # Errors
/// Whatever failed; the process must end then.
pub fn bind(process: &Process) -> Result<Bound> {
    let (sets, warnings) = capabilities::grantable(process.capabilities)?;
    own_stdio(process)?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).call(|| "prctl(PR_SET_NO_NEW_PRIVS)".into())?;
    }
    // Needs CAP_SETPCAP: before the ids take it away.
    capabilities::limit_bounding(sets.bounding)?;
    Ok(Bound { sets, warnings })
}

impl Bound {
    /// Tells which capabilities are not ours to give.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn warn(&self, channel: &ChildEnd) -> Result<()> {
        let mut warnings = self.warnings.iter();
        warnings.try_for_each(|warning| channel.send(&ToParent::Warning(warning.to_string())))
    }
}

/// A process that has become the user.
#[derive(Debug)]
pub struct Prepared {
    /// Its program, found as that user.
    pub program: CString,
    /// Whether its filter is in force.
    pub filtered: bool,
}

impl Last<'_> {
    /// Sets `process.rlimits`. None is above what we have: the runtime has seen to
    /// that.
    ///
    /// # Errors
    /// Those of setrlimit(2).
    pub fn set_rlimits(&self, which: Limits) -> Result<()> {
        for (i, limit) in self.process.rlimits.iter().enumerate() {
            if which != Limits::All && limit.resource != Resource::Nproc {
                continue;
            }
            let mut new = Rlimit { current: limit.soft, maximum: limit.hard };
            if which == Limits::RaisedOfUser {
                let own = getrlimit(limit.resource);
                let more = |own: u64| limit.soft.is_none_or(|soft| soft > own);
                if !own.current.is_some_and(more) {
                    continue;
                }
                new.maximum = own.maximum;
            }
            setrlimit(limit.resource, new)
                .call(|| format!("setrlimit({})", limit.name))
                .at(|| format!("process.rlimits[{i}]"))?;
        }
        Ok(())
    }

    /// The second half: the user's ids and capabilities, and the working directory if only
    /// they lead there. Nothing of the runtime's privileges is left after it, but what the
    /// filter needs.
    ///
    /// # Errors
    /// Whatever failed; the process must end then.
    pub fn become_user(&self, bound: &Bound) -> Result<()> {
        let process = self.process;
        rustix::thread::set_keep_capabilities(true).call(|| "prctl(PR_SET_KEEPCAPS)".into())?;
        set_gid(process.gid).map_err(|errno| explain_id("gid", process.gid, errno))?;
        set_uid(process.uid).map_err(|errno| explain_id("uid", process.uid, errno))?;
        // Without no_new_privs seccomp(2) wants CAP_SYS_ADMIN; execve takes it back.
        let own = rustix::thread::capabilities(None).call(|| "capget".into())?.permitted.bits();
        let wants = self.filter.is_some() && !process.no_new_privileges;
        capabilities::set(bound.sets, if wants { capabilities::SYS_ADMIN & own } else { 0 })?;
        if self.enters_as_user { program::change_directory_as_user(process) } else { Ok(()) }
    }

    /// Loads the filter before others can see this process, and gives up what only
    /// loading it needs: `CAP_SYS_ADMIN`, which a container with `CAP_SYS_PTRACE` could
    /// take from it. Returns whether; where the filter does not surely allow what is
    /// still to be called, it has to come last.
    ///
    /// Who listens to the filter of a container hears of it while the container is created, as
    /// with runc. A process of `exec` has its pid, which is told with it, only later.
    ///
    /// # Errors
    /// Whatever failed; the process must end then.
    pub fn filter_early(&self, bound: &Bound, then: After, channel: &ChildEnd) -> Result<bool> {
        let Some(filter) = self.filter else { return Ok(false) };
        let notifies = filter.listener.is_some();
        let (more, special) = match then {
            After::Start => (STARTED, true),
            After::Seen { clones } => {
                let controls = self.process.terminal.is_none() || filter.surely_allows("ioctl");
                (SEEN, !notifies && controls && (!clones || allows_sibling(filter)))
            }
        };
        let is_urgent = notifies || !self.process.no_new_privileges;
        let allows_rest = || COMMON.iter().chain(more).all(|call| filter.surely_allows(call));
        if !is_urgent || !special || !allows_rest() {
            return Ok(false);
        }
        let listener =
            seccomp::load(&filter.program.instructions, filter.flags).at(|| "linux.seccomp")?;
        capabilities::drop_extra(bound.sets)?;
        if let Some(listener) = listener {
            channel.send(&ToParent::Listener(listener))?;
        }
        Ok(true)
    }

    /// Turns a child that was made for a hook of the image into what the
    /// container's process will be, but for user and capabilities, which it has by
    /// now. A call that the filter would ask its listener about fails with `ENOSYS`:
    /// nobody listens to a hook.
    ///
    /// # Errors
    /// Whatever failed; the process must end then.
    pub fn confine_hook(&self) -> Result<()> {
        self.set_rlimits(Limits::All)?;
        rustix::process::umask(Mode::from_raw_mode(self.process.umask.unwrap_or(UMASK)));
        let Some(filter) = self.filter else { return Ok(()) };
        let flags = filter.flags & !(FLAG_NEW_LISTENER | seccomp::FLAG_WAIT_KILLABLE_RECV);
        seccomp::load(&filter.program.instructions, flags).at(|| "linux.seccomp")?;
        Ok(())
    }

    /// The end: limits, umask, signals, the filter unless it is in force, execve(2).
    /// Never returns but with an error.
    ///
    /// # Errors
    /// Whatever failed; the process must end then.
    pub fn exec(&self, prepared: &Prepared, channel: &ChildEnd) -> Result<Infallible> {
        let process = self.process;
        self.set_rlimits(Limits::All)?;
        let umask = process.umask.unwrap_or(self.umask);
        rustix::process::umask(Mode::from_raw_mode(umask));
        signal::give_back();
        signal::set_mask(self.caller_mask).call(|| "sigprocmask".into())?;
        keep_inherited(process.preserve_fds).call(|| "fcntl".into()).at(|| "--preserve-fds")?;
        let filter = self.filter.filter(|_| !prepared.filtered);
        self.filter_and_exec(&prepared.program, channel, filter)
    }

    /// A filter that comes last: after it only execve(2) is called. Where it surely
    /// allows more, its listener is passed on and a failure is told.
    fn filter_and_exec(
        &self,
        program: &CStr,
        channel: &ChildEnd,
        filter: Option<&Filter>,
    ) -> Result<Infallible> {
        let args = self.process.args.iter().map(CString::as_c_str);
        let env = self.process.env.iter().chain(&self.extra_env).map(CString::as_c_str);
        let execve = Execve::new(program, args, env);
        let program = program.to_string_lossy();
        let Some(filter) = filter else {
            return Err(cannot_run(&program, execve.call()));
        };
        let notifies = filter.listener.is_some();
        let reporter = match filter.lets_us_speak() {
            true => None,
            false => Some(channel.report_by_faults(program.to_string(), notifies)?),
        };
        let listener =
            seccomp::load(&filter.program.instructions, filter.flags).at(|| "linux.seccomp")?;
        if let Some(reporter) = reporter {
            reporter.loaded(listener);
            reporter.failed(execve.call());
        }
        if let Some(listener) = listener {
            channel.send(&ToParent::Listener(listener))?;
        }
        Err(cannot_run(&program, execve.call()))
    }
}

/// Lets the user of the container reopen its stdio, as runc does, and its terminal. The
/// group stays: that of a terminal is devpts' gid= option. What is not ours to give (a
/// read-only file system, a file of someone else) is left.
fn own_stdio(process: &Process) -> Result<()> {
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let stat = match rustix::fs::fstat(fd) {
            Err(Errno::BADF) => continue,
            stat => stat.call(|| "stat stdio".into())?,
        };
        let is_null = stat.st_rdev == rustix::fs::makedev(1, 3);
        if stat.st_uid == process.uid || is_null {
            continue;
        }
        match rustix::fs::fchown(fd.as_fd(), Some(Uid::from_raw(process.uid)), None) {
            Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL | Errno::NOSYS) => {}
            Err(errno) => return Err(errno).call(|| "chown stdio".into()),
        }
    }
    Ok(())
}
