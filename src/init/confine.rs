//! The last chapter, the same for `create` and `exec`: from the runtime's
//! privileges to the user's, in one order, and execve(2).

use super::identity::{set_gid, set_uid};
use crate::error::{At, Context, Result};
use crate::plan::Process;
use crate::plan::capabilities::Capabilities;
use crate::security::seccomp::Filter;
use crate::security::{capabilities, lsm};
use crate::sync::{ChildEnd, ToParent, cannot_run};
use crate::sys::process::{Execve, close_on_exec_from, keep_inherited};
use crate::sys::seccomp;
use crate::sys::signal::{self, Mask};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::set_thread_groups;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

/// What the last chapter needs.
#[derive(Debug)]
pub struct Last<'a> {
    /// The process to become.
    pub process: &'a Process,
    /// Its program, found before.
    pub program: &'a CStr,
    /// Variables beyond `process.env`.
    pub extra_env: &'a [CString],
    /// The compiled filter.
    pub filter: Option<&'a Filter>,
    /// umask of our caller, for a configuration that sets none.
    pub caller_umask: u32,
    /// Signal mask of our caller.
    pub caller_mask: &'a Mask,
}

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
        set => set
            .call(|| format!("process.user.additionalGids: setgroups({wanted:?})"))
            .or_hint("setgroups is switched off in this user namespace"),
    }
}

/// What [`begin`] has found out.
#[derive(Debug)]
pub struct Begun {
    sets: Capabilities,
    missing: Vec<&'static str>,
}

/// The first half: all that does not bind this process itself, only what it
/// executes. So it is done while the one who will start us has other things to
/// do, or has not even come.
///
/// # Errors
/// Whatever failed; the process must end then.
pub fn begin(process: &Process, proc: BorrowedFd<'_>) -> Result<Begun> {
    let (sets, missing) = capabilities::grantable(process.capabilities)?;
    own_stdio(process)?;
    if let Some(profile) = &process.apparmor_profile {
        lsm::set_apparmor(proc, profile)?;
    }
    if let Some(label) = &process.selinux_label {
        lsm::set_selinux(proc, label)?;
    }
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).call(|| "prctl(PR_SET_NO_NEW_PRIVS)".into())?;
    }
    // Needs CAP_SETPCAP: before the ids take it away.
    capabilities::limit_bounding(sets.bounding)?;
    Ok(Begun { sets, missing })
}

/// The second half. Never returns but with an error.
///
/// # Errors
/// Whatever failed; the process must end then.
pub fn and_exec(begun: Begun, last: &Last<'_>, wire: &ChildEnd) -> Result<Infallible> {
    let (process, Begun { sets, missing }) = (last.process, begun);
    if !missing.is_empty() {
        let names = missing.join(", ");
        wire.send(&ToParent::Warning(format!("process.capabilities: cannot grant {names}")))?;
    }
    rustix::thread::set_keep_capabilities(true).call(|| "prctl(PR_SET_KEEPCAPS)".into())?;
    set_gid(process.gid)
        .call(|| format!("process.user.gid: setresgid({})", process.gid))
        .or_hint("is the id mapped in linux.gidMappings?")?;
    set_uid(process.uid)
        .call(|| format!("process.user.uid: setresuid({})", process.uid))
        .or_hint("is the id mapped in linux.uidMappings?")?;
    // Without no_new_privs seccomp(2) wants CAP_SYS_ADMIN; execve takes it back.
    let own = rustix::thread::capabilities(None).call(|| "capget".into())?.permitted.bits();
    let for_filter = if last.filter.is_some() { capabilities::SYS_ADMIN & own } else { 0 };
    capabilities::set(sets, for_filter)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(
        process.umask.unwrap_or(last.caller_umask),
    ));
    signal::default_sigpipe();
    signal::set_mask(last.caller_mask).call(|| "sigprocmask".into())?;
    close_on_exec_from(3).call(|| "close_range".into())?;
    keep_inherited(process.preserve_fds).call(|| "--preserve-fds: fcntl".into())?;
    exec(last, wire)
}

/// The filter comes last: after it only execve(2) is called, and where the
/// filter surely allows that, what passes its listener on and reports a failure.
fn exec(last: &Last<'_>, wire: &ChildEnd) -> Result<Infallible> {
    let args = last.process.args.iter().map(CString::as_c_str);
    let env = last.process.env.iter().chain(last.extra_env).map(CString::as_c_str);
    let execve = Execve::new(last.program, args, env);
    let program = last.program.to_string_lossy();
    let Some(filter) = last.filter else {
        return Err(cannot_run(&program, execve.call()));
    };
    let notifies = filter.listener.is_some();
    let silent = match filter.lets_us_speak() {
        true => None,
        false => Some(wire.fall_silent(program.to_string(), notifies)?),
    };
    let listener =
        seccomp::load(&filter.program.instructions, filter.flags).at(|| "linux.seccomp".into())?;
    if let Some(silent) = silent {
        silent.loaded(listener);
        silent.failed(execve.call());
    }
    if let Some(listener) = listener {
        wire.send(&ToParent::Listener(listener))?;
    }
    Err(cannot_run(&program, execve.call()))
}

/// Lets the user of the container reopen its stdio, as runc does. What is not
/// ours to give (a read-only file system, a file of someone else) is left.
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
