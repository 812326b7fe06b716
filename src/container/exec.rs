//! `exec`: a further process in a running container.

use super::create::{block_signals, forbid_tracing};
use super::foreground::Foreground;
use super::seccomp::{self, Receiver};
use super::serve::{self, Patience};
use super::{Container, Runtime, is_paused, start};
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
use crate::sys::signal::{self, Mask, Signals};
use crate::terminal;
use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
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
    /// The host's procfs.
    proc: OwnedFd,
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
    forbid_tracing()?;
    store::check_pid_file(request.pid_file.as_deref())?;
    let container = Container::find(runtime, &request.id)?;
    let (status, pidfd) = container.status_and_init()?;
    check_status(&container, status, request)?;
    let init = pidfd.ok_or_else(|| super::not_running(&request.id))?;
    let process = container.record.init;
    exec_in(runtime, request, container, (status, init), edit)
        .map_err(|error| serve::look_again(error, &request.id, process))
}

/// In a container that was running a moment ago.
fn exec_in(
    runtime: &Runtime,
    request: &Request,
    container: Container,
    (status, init): (Status, OwnedFd),
    edit: impl FnOnce(spec::Process) -> Result<spec::Process>,
) -> Result<i32> {
    let proc = lsm::open_proc()?;
    let join = join_init(&container.record, init, proc.as_fd())?;
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
        proc,
        join,
        status,
        filter,
        receiver,
        process,
        memory_policy,
        below,
    })
}

fn check_status(container: &Container, status: Status, request: &Request) -> Result<()> {
    match status {
        Status::Running | Status::Created | Status::Paused if request.ignore_paused => Ok(()),
        Status::Running | Status::Created => {
            let may_run = container.record.cgroup.must_run();
            may_run.at(|| format!("cannot exec in container {}", request.id))
        }
        Status::Paused => {
            let or = ", or use --ignore-paused";
            Err(is_paused(container, "cannot exec in a paused container", or))
        }
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
    let (signals, caller_mask) = block_signals()?;
    let (mut made, wire) = make(work, &signals, caller_mask)?;
    let foreground = match settle(work, &mut made, &wire, &signals) {
        Ok(foreground) => foreground,
        Err(error) => return Err(made.end_after(error, &work.container.record)),
    };
    let child = made.leave(work.runtime);
    if work.request.detach {
        signal::set_mask(&caller_mask).call(|| "sigprocmask".into())?;
        return Ok(0);
    }
    foreground.stay(&child)
}

/// Whether there is something that only the runtime may do before the process goes
/// on; otherwise it begins at once.
fn waits(work: &Work<'_>) -> bool {
    let process = &work.process;
    let placed = !work.below.is_empty() || work.container.record.rdt.is_some();
    placed || process.oom_score_adj.is_some() || limits::are_above_ours(process)
}

/// The processes of an `exec`.
struct Made {
    /// The one that joins and prepares.
    first: Child,
    /// The one that it makes in the container's pid namespace, if there is one.
    seen: Option<Child>,
    /// Whether the first one waits for `Go`.
    waits: bool,
}

impl Made {
    /// The one that becomes the program.
    fn child(&self) -> &Child {
        self.seen.as_ref().unwrap_or(&self.first)
    }

    fn end(&self) -> Result<()> {
        self.seen.as_ref().map_or(Ok(()), serve::end).and(serve::end(&self.first))
    }

    /// What has failed, once nothing is left. On cgroup v1 what is frozen cannot even
    /// die: it is not waited for.
    fn end_after(&self, error: Error, record: &Record) -> Error {
        let frozen = record.cgroup.has_doors() && record.cgroup.is_frozen().unwrap_or(false);
        let ended = match frozen {
            true => [Some(&self.first), self.seen.as_ref()]
                .into_iter()
                .flatten()
                .try_for_each(|child| serve::kill(child.pidfd.as_fd()))
                .and(Err(Error::new("its process ends when the container is resumed"))),
            false => self.end(),
        };
        error.and(ended)
    }

    /// The program runs, whatever comes of the first process: it has ended, or does so now.
    fn leave(self, runtime: &Runtime) -> Child {
        let Some(seen) = self.seen else { return self.first };
        if let Err(error) = serve::reap(&self.first) {
            runtime.log.warning(&format!("exec: {error}"));
        }
        seen
    }
}

/// The namespaces that the container has of its own, by its init.
fn join_init(record: &Record, init: OwnedFd, proc: BorrowedFd<'_>) -> Result<Join> {
    let has = |kind: Kind| record.namespaces.iter().any(|name| name == kind.name());
    let mut kinds =
        Kind::ALL.into_iter().filter(|kind| has(*kind)).fold(0, |bits, kind| bits | kind.flag().0);
    if has(Kind::User)
        && let Some(process) = record.init
    {
        // We may be in it ourselves by now, and setns(2) refuses that.
        let number =
            |path: &str| statat(proc, path, AtFlags::empty()).call(|| format!("stat /proc/{path}"));
        let (own, its) = (number("self/ns/user")?, number(&format!("{}/ns/user", process.pid))?);
        if (own.st_dev, own.st_ino) == (its.st_dev, its.st_ino) {
            kinds &= !Kind::User.flag().0;
        }
    }
    Ok(Join::Process(init, Namespaces(kinds)))
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
    if init.is_alive()? { Ok(Some(root)) } else { Err(super::not_running(&record.id)) }
}

/// The name of the container's session keyring. A record of before has none in it.
fn keyring_of(record: &Record) -> Option<String> {
    let name = || record.keyring_name.clone().unwrap_or_else(|| format!("_ses.{}", record.id));
    record.keyring.then(name)
}

fn make(work: &Work<'_>, signals: &Signals, caller_mask: Mask) -> Result<(Made, ParentEnd)> {
    let record = &work.container.record;
    let init = record.init.ok_or_else(|| super::not_running(&record.id))?;
    let into = if work.below.is_empty() { record.cgroup.dir()? } else { None };
    let doors = if work.below.is_empty() { record.cgroup.doors() } else { Vec::new() };
    // It joins by itself, once it is in the cgroup.
    let join = &Join::NONE;
    let birth = Birth { create: Namespaces::default(), join, cgroup: into, doors: &doors };
    let exec = Exec {
        process: &work.process,
        waits: waits(work),
        join: &work.join,
        root: root_of(record, init, work.proc.as_fd())?,
        memory_policy: work.memory_policy.as_ref(),
        filter: work.filter.as_ref(),
        proc: work.proc.as_fd(),
        caller_mask,
        extra_env: work.request.extra_env.clone(),
        keyring: keyring_of(record),
    };
    let patience = Patience::new(Some(signals), &[]);
    let spawn = |birth: &Birth<'_>, exec: &Exec<'_>| -> Result<(Made, ParentEnd)> {
        let hear = |wire: &ParentEnd, middle: &Child| patience.receive(wire, middle.pidfd.as_fd());
        let (first, wire) = spawn(birth, sync::pair()?, hear, |wire| join::main(exec, wire))?;
        Ok((Made { first, seen: None, waits: exec.waits }, wire))
    };
    match spawn(&birth, &exec) {
        // The container's own cgroup has children with controllers, and v2
        // then takes no process: go where its init is.
        Err(error) if into.is_some() && error.errno() == Some(rustix::io::Errno::BUSY) => {
            let exec = Exec { waits: true, ..exec };
            let (made, wire) = spawn(&Birth { cgroup: None, doors: &[], ..birth }, &exec)?;
            let pid = made.first.pid.as_raw_nonzero().get();
            match record.cgroup.attach_beside(pid, init.pid) {
                Ok(()) => Ok((made, wire)),
                Err(error) => Err(made.end_after(error, record)),
            }
        }
        made => made,
    }
}

/// From birth to the running program. The pid file comes last: its absence is
/// how conmon knows that the runtime has failed.
fn settle<'a>(
    work: &Work<'_>,
    made: &mut Made,
    wire: &ParentEnd,
    signals: &'a Signals,
) -> Result<Foreground<'a>> {
    let (request, record) = (work.request, &work.container.record);
    let pid = made.first.pid;
    if !work.below.is_empty() {
        let number = pid.as_raw_nonzero().get();
        record.cgroup.attach_below(number, &work.below).at(|| "--cgroup".into())?;
    }
    if let Some(groups) = &record.rdt {
        groups.enter(pid.as_raw_nonzero().get())?;
    }
    if made.waits {
        limits::raise_rlimits(pid, &work.process)?;
        limits::set_oom_score(pid, &work.process, record.rootless)?;
        wire.send(ToChild::Go)?;
    }
    let patience = Patience::new(Some(signals), &[]);
    let mut conversation = serve::Conversation {
        wire,
        child: &made.first,
        log: &work.runtime.log,
        patience,
        master: None,
        on_hooks: &mut || Err(Error::new("exec runs no hooks")),
    };
    made.seen = conversation.until_ready()?;
    let child = made.child();
    if made.seen.is_some() && work.process.scheduling.ends_at_fork() {
        scheduling::apply(Some(child.pid), work.process.scheduling)?;
    }
    let (console, pidfd) = (&request.console_socket, &request.pidfd_socket);
    let master = conversation.hand_over(child, console.as_deref(), pidfd.as_deref())?;
    let pid = child.pid.as_raw_nonzero().get();
    // Before the program runs: it may ask for the size of its terminal at once.
    let foreground = Foreground::new(signals, master, None)?;
    let waiting = start::Waiting {
        wire,
        pid,
        pidfd: child.pidfd.as_fd(),
        is_child: true,
        record,
        status: work.status,
        patience,
        receiver: work.receiver.as_ref(),
        log: &work.runtime.log,
    };
    waiting.begin()?;
    if let Some(path) = &request.pid_file {
        store::write_pid_file(path, pid)?;
    }
    Ok(foreground)
}
