//! `exec`: a further process in a running container.

use super::foreground::Foreground;
use super::seccomp::{self, Receiver};
use super::{Container, Runtime, serve, start};
use crate::cgroup::SubPath;
use crate::create::{Birth, limits, spawn};
use crate::error::{At, Context, Error, Result};
use crate::init::{Exec, join};
use crate::namespaces::Join;
use crate::plan::{self, Findings, Kind, MemoryPolicy, Options, Process};
use crate::security::seccomp::Filter;
use crate::security::{lsm, scheduling};
use crate::spec::{self, Further, Status};
use crate::store::{self, ProcessId, Record};
use crate::sync::{self, ParentEnd, ToChild};
use crate::sys::process::{Child, Namespaces};
use crate::sys::signal::{self, Mask};
use crate::terminal;
use rustix::fs::{Mode, OFlags, openat};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The command line of `exec`.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Container id.
    pub id: String,
    /// Who receives the terminal.
    pub console_socket: Option<PathBuf>,
    /// Where the pid goes.
    pub pid_file: Option<PathBuf>,
    /// Who receives a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// Return as soon as the program runs.
    pub detach: bool,
    /// How many fds from 3 on are passed on.
    pub preserve_fds: u32,
    /// Variables beyond `process.env`.
    pub extra_env: Vec<CString>,
    /// Go on even if the container is paused.
    pub ignore_paused: bool,
    /// cgroups below the container's, `[CONTROLLER:]PATH`.
    pub cgroups: Vec<String>,
}

/// Everything that is decided before the process is made.
struct Work<'a> {
    runtime: &'a Runtime,
    request: &'a Request,
    container: Container,
    join: Join,
    status: Status,
    filter: Option<Filter>,
    receiver: Option<Receiver>,
    process: Process,
    memory_policy: Option<MemoryPolicy>,
    below: Vec<SubPath>,
}

/// Runs a process; `edit` makes it from the container's own, as it was when the
/// container was created. Returns its exit status, or 0 when detached.
///
/// # Errors
/// A container that is not running, or whatever the process needs and cannot
/// get.
pub fn exec(
    runtime: &Runtime,
    request: &Request,
    edit: impl FnOnce(spec::Process) -> Result<spec::Process>,
) -> Result<i32> {
    store::check_pid_file(request.pid_file.as_deref())?;
    let container = Container::find(runtime, &request.id)?;
    let (status, pidfd) = container.status_and_init()?;
    check_status(status, request)?;
    let join = join_init(&container, pidfd.ok_or_else(|| super::not_running(&request.id))?);
    let text = container.dir.config()?;
    let mut config: Further = spec::parse("config.json", &text)?;
    let own = config
        .process
        .take()
        .unwrap_or_else(|| spec::Process { cwd: "/".into(), ..spec::Process::default() });
    let options = Options {
        id: request.id.clone(),
        bundle: PathBuf::from(&container.record.bundle),
        unprivileged: !rustix::process::geteuid().is_root(),
        preserve_fds: request.preserve_fds,
    };
    let mut findings = Findings::default();
    let annotations = &container.record.annotations;
    let process = plan::process::plan(Some(&edit(own)?), annotations, &options, &mut findings);
    let linux = config.linux.as_ref();
    let policy = linux.and_then(|linux| linux.memory_policy.as_ref());
    let memory_policy = plan::memory_policy::plan(policy, &mut findings);
    let (process, warnings) = findings.finish(process)?;
    warnings.iter().for_each(|warning| runtime.log.warning(warning));
    let process = process.ok_or_else(|| Error::new("process: is not set"))?;
    let socket = request.console_socket.as_deref();
    terminal::check(process.terminal.is_some(), socket, request.detach)?;
    lsm::check(process.apparmor_profile.as_deref(), process.selinux_label.as_deref())?;
    let parse = |text: &String| SubPath::parse(text).at(|| format!("--cgroup {text:?}"));
    let below = request.cgroups.iter().map(parse).collect::<Result<_>>()?;
    let (filter, receiver) = seccomp::kept(&container.dir, &config, &text, &runtime.log)?;
    run(&Work {
        runtime,
        request,
        container,
        join,
        status,
        filter,
        receiver,
        process,
        memory_policy,
        below,
    })
}

fn check_status(status: Status, request: &Request) -> Result<()> {
    match status {
        Status::Running | Status::Created => Ok(()),
        Status::Paused if request.ignore_paused => Ok(()),
        Status::Paused => Err(Error::new("cannot exec in a paused container")
            .hint("`pinnace resume` it, or use --ignore-paused")),
        Status::Stopped => {
            Err(super::not_running(&request.id).at("cannot exec in a stopped container"))
        }
        Status::Creating => Err(Error::new("cannot exec in a container that is being created")),
    }
}

fn run(work: &Work<'_>) -> Result<i32> {
    // The new process inherits it (config.md: "a runtime parent process to be run on initially").
    let cpus = work.process.exec_affinity.initial.as_ref();
    scheduling::set_affinity("process.execCPUAffinity.initial", cpus)?;
    let caller_mask = signal::block_all().call(|| "sigprocmask".into())?;
    let (child, wire) = give_birth(work, caller_mask)?;
    let foreground = match settle(work, &child, &wire) {
        Ok(foreground) => foreground,
        Err(error) => {
            serve::end(&child)?;
            signal::set_mask(&caller_mask).call(|| "sigprocmask".into())?;
            return Err(error);
        }
    };
    if work.request.detach {
        signal::set_mask(&caller_mask).call(|| "sigprocmask".into())?;
        return Ok(0);
    }
    foreground.stay(&child)
}

/// The namespaces that the container has of its own, by its init.
fn join_init(container: &Container, init: OwnedFd) -> Join {
    let own = &container.record.namespaces;
    let kinds = Kind::ALL.into_iter().filter(|kind| own.iter().any(|name| name == kind.name()));
    Join::Process(init, Namespaces(kinds.fold(0, |bits, kind| bits | kind.flag().0)))
}

/// Without a mount namespace of its own the container is a chroot.
fn root_of(record: &Record, init: ProcessId, proc: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    if record.namespaces.iter().any(|name| name == Kind::Mount.name()) {
        return Ok(None);
    }
    let path = format!("{}/root", init.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(proc, &path, flags, Mode::empty()).call(|| format!("open /proc/{path}"))?;
    // Its pid could be another's by now.
    if init.is_alive() { Ok(Some(root)) } else { Err(super::not_running(&record.id)) }
}

/// The name of the container's session keyring. A record of before has none in it.
fn keyring_of(record: &Record) -> Option<String> {
    let name = || record.keyring_name.clone().unwrap_or_else(|| format!("_ses.{}", record.id));
    record.keyring.then(name)
}

fn give_birth(work: &Work<'_>, caller_mask: Mask) -> Result<(Child, ParentEnd)> {
    let record = &work.container.record;
    let init = record.init.ok_or_else(|| super::not_running(&record.id))?;
    let join = &work.join;
    let into = if work.below.is_empty() { record.cgroup.dir()? } else { None };
    let doors = if work.below.is_empty() { record.cgroup.doors() } else { Vec::new() };
    let birth = Birth { create: Namespaces::default(), join, cgroup: into, doors: &doors };
    let middle = birth.needs_middle();
    let proc = lsm::open_proc()?;
    let exec = Exec {
        process: &work.process,
        join: (!middle).then_some(join),
        root: root_of(record, init, proc.as_fd())?,
        user_namespace: join.has(Kind::User),
        memory_policy: work.memory_policy.as_ref(),
        filter: work.filter.as_ref(),
        proc,
        caller_mask,
        extra_env: work.request.extra_env.clone(),
        keyring: keyring_of(record),
    };
    let born = spawn(&birth, sync::pair()?, |wire| join::main(&exec, wire));
    match born {
        // The container's own cgroup has children with controllers, and v2
        // then takes no process: go where its init is.
        Err(error) if into.is_some() && error.errno() == Some(rustix::io::Errno::BUSY) => {
            let birth = Birth { cgroup: None, doors: &[], ..birth };
            let (child, wire) = spawn(&birth, sync::pair()?, |wire| join::main(&exec, wire))?;
            match record.cgroup.attach_beside(child.pid.as_raw_nonzero().get(), init.pid) {
                Ok(()) => Ok((child, wire)),
                Err(error) => {
                    serve::end(&child)?;
                    Err(error)
                }
            }
        }
        born => born,
    }
}

/// From birth to the running program. The pid file comes last: its absence is
/// how conmon knows that the runtime has failed.
fn settle(work: &Work<'_>, child: &Child, wire: &ParentEnd) -> Result<Foreground> {
    let (request, record) = (work.request, &work.container.record);
    let pid = child.pid.as_raw_nonzero().get();
    if !work.below.is_empty() {
        record.cgroup.attach_below(pid, &work.below).at(|| "--cgroup".into())?;
    }
    if let Some(groups) = &record.rdt {
        groups.enter(pid)?;
    }
    limits::set_oom_score(child.pid, &work.process, record.rootless)?;
    wire.send(ToChild::Go)?;
    let mut conversation = serve::Conversation {
        wire,
        child,
        log: &work.runtime.log,
        master: None,
        on_hooks: &mut || Err(Error::new("exec runs no hooks")),
    };
    conversation.until_ready()?;
    let (console, pidfd) = (&request.console_socket, &request.pidfd_socket);
    let master = conversation.hand_over(console.as_deref(), pidfd.as_deref())?;
    limits::set_rlimits(child.pid, &work.process)?;
    // Before the program runs: it may ask for the size of its terminal at once.
    let foreground = Foreground::new(master, None)?;
    let waiting = start::Waiting {
        wire,
        pid,
        pidfd: &|| serve::pidfd_of(child),
        record,
        status: work.status,
        receiver: work.receiver.as_ref(),
        log: &work.runtime.log,
    };
    waiting.begin()?;
    if let Some(path) = &request.pid_file {
        store::write_pid_file(path, pid)?;
    }
    Ok(foreground)
}
