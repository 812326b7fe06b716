//! `exec`: a further process in a running container.

use super::create::{block_signals, forbid_tracing};
use super::foreground::Foreground;
use super::observed::{Observed, OpenProcess};
use super::process::{Meanwhile, NewProcess, Outside};
use super::seccomp::{self, Receiver};
use super::serve::{self, WaitLimit};
use super::{Container, Runtime, is_paused};
use crate::cgroup::SubPath;
use crate::create::SpawnArgs;
use crate::error::{At, Context, Error, Kind, Result};
use crate::init::{Exec, Shared, join};
use crate::namespaces::Join;
use crate::plan::{self, Findings, MemoryPolicy, Options, Process};
use crate::security::seccomp::Filter;
use crate::security::{lsm, scheduling};
use crate::spec::{self, ExecSpec, Status};
use crate::store::{self, ProcessId, Record};
use crate::sys::process::Namespaces;
use crate::sys::signal::{self, Mask, Signals};
use crate::terminal;
use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
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
    /// The file that the process is in, for messages; none if it is the container's own with
    /// changes.
    pub file: Option<PathBuf>,
    /// The options that have named its labels, for messages.
    pub labels: Vec<&'static str>,
}

/// Everything that is decided before the process is made.
struct ExecContext<'a> {
    runtime: &'a Runtime,
    request: &'a Request,
    container: Container,
    /// The host's procfs.
    proc: OwnedFd,
    join: Join,
    /// The container's init, which `join` has open.
    init: ProcessId,
    status: Status,
    filter: Option<Filter>,
    receiver: Option<Receiver>,
    process: Process,
    memory_policy: Option<MemoryPolicy>,
    personality: Option<u64>,
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
    let observed = container.observe_open()?;
    let status = observed.status();
    let init = may_enter(&container, observed, request)?;
    let id = init.id;
    exec_in(runtime, request, container, (status, init), edit)
        .map_err(|error| serve::look_again(error, &request.id, id))
}

/// Its init is a copy of the runtime until then, which only root may look into.
const UNSTARTED: &str = "an ordinary user may enter a container once it has been started";

/// In a container that was running a moment ago.
fn exec_in(
    runtime: &Runtime,
    request: &Request,
    container: Container,
    (status, init): (Status, OpenProcess),
    edit: impl FnOnce(spec::Process) -> Result<spec::Process>,
) -> Result<i32> {
    let proc = lsm::open_proc()?;
    let id = init.id;
    let join = join_init(&container.record, init, proc.as_fd()).map_err(|error| {
        match (status, error.errno()) {
            (Status::Created, Some(Errno::ACCESS)) => error.hint(UNSTARTED),
            _ => error,
        }
    })?;
    let text = container.dir.config()?;
    let mut config: ExecSpec = spec::parse("config.json", &text)?;
    let own = own_process(&mut config);
    let options = Options {
        id: request.id.clone(),
        bundle: PathBuf::from(&container.record.bundle),
        unprivileged: !rustix::process::geteuid().is_root(),
        preserve_fds: request.preserve_fds,
        overlay: None,
    };
    let mut findings = Findings::default();
    let annotations = &container.record.annotations;
    let process = plan::process::plan(Some(&edit(own)?), annotations, &options, &mut findings);
    let linux = config.linux.as_ref();
    let policy = linux.and_then(|linux| linux.memory_policy.as_ref());
    let memory_policy = plan::memory_policy::plan(policy, &mut findings);
    let personality = linux.and_then(|linux| linux.personality.as_ref());
    let personality = plan::personality(personality, &mut findings);
    let source = request.file.as_ref().map(|file| format!("--process {}", file.display()));
    let source = source.as_deref().unwrap_or("config.json");
    let (process, mut warnings) = findings.finish_as(source, process)?;
    retain_new(&mut warnings, &text, annotations, &options)?;
    warnings.iter().for_each(|warning| runtime.log.warning(&warning.to_string()));
    let process = process.ok_or_else(|| Error::new("is not set").at("process"))?;
    terminal::check(process.terminal.is_some(), request.console_socket.as_deref(), request.detach)?;
    lsm::check(process.apparmor_profile.as_deref(), process.selinux_label.as_deref())
        .at(|| if request.labels.is_empty() { source.into() } else { request.labels.join(", ") })?;
    let below = request.cgroups.iter().map(|text| SubPath::parse(text)).collect::<Result<_>>()?;
    let (filter, receiver) = seccomp::saved(&container.dir, &config, &text, &runtime.log)?;
    run(&ExecContext {
        runtime,
        request,
        container,
        proc,
        join,
        init: id,
        status,
        filter,
        receiver,
        process,
        memory_policy,
        personality,
        below,
    })
}

/// Leaves those that `create` has not given: by the container's own process.
fn retain_new(
    warnings: &mut Vec<Error>,
    config: &[u8],
    annotations: &BTreeMap<String, String>,
    options: &Options,
) -> Result<()> {
    if !warnings.is_empty() {
        let own = own_process(&mut spec::parse("config.json", config)?);
        let mut given = Findings::default();
        plan::process::plan(Some(&own), annotations, options, &mut given);
        warnings.retain(|warning| !given.warnings().contains(warning));
    }
    Ok(())
}

/// The container's own process; one of root in `/` where it has none.
fn own_process(config: &mut ExecSpec) -> spec::Process {
    config.process.take().unwrap_or_else(|| {
        let user = spec::User { uid: Some(0), gid: Some(0), ..spec::User::default() };
        spec::Process { cwd: "/".into(), user, ..spec::Process::default() }
    })
}

/// Returns the init of a container in which a process may be started now.
fn may_enter(
    container: &Container,
    observed: Observed<OpenProcess>,
    request: &Request,
) -> Result<OpenProcess> {
    match observed {
        Observed::Running(init) | Observed::Created(init) | Observed::Paused(init)
            if request.ignore_paused =>
        {
            Ok(init)
        }
        Observed::Running(init) | Observed::Created(init) => {
            let may_run = container.record.cgroup.must_run();
            may_run.at(|| format!("cannot exec in container {}", request.id))?;
            Ok(init)
        }
        Observed::Paused(_) => {
            let or = ", or use --ignore-paused";
            Err(is_paused(container, "cannot exec in a paused container", or))
        }
        Observed::Stopped => {
            Err(super::not_running(&request.id).at("cannot exec in a stopped container"))
        }
        Observed::Creating(_) => {
            Err(Error::new("cannot exec in a container that is being created"))
        }
    }
}

fn run(context: &ExecContext<'_>) -> Result<i32> {
    // The new process inherits it (config.md: "a runtime parent process to be run on initially").
    let cpus = context.process.exec_affinity.initial.as_ref();
    scheduling::set_affinity("process.execCPUAffinity.initial", cpus)?;
    let (signals, caller_mask) = block_signals()?;
    let attempt = |moves| attempt(context, &signals, &caller_mask, moves);
    let (process, foreground) = match attempt(false) {
        Err(error) if error.get_kind() == Kind::NeverRan => attempt(true)?,
        done => done?,
    };
    let child = process.into_child(&context.runtime.log);
    if context.request.detach {
        signal::set_mask(&caller_mask).call(|| "sigprocmask".into())?;
        return Ok(0);
    }
    foreground.stay(&child)
}

/// Once; `moves` says that the process is to be moved into its cgroup, not cloned into it.
fn attempt<'a>(
    context: &ExecContext<'_>,
    signals: &'a Signals,
    caller_mask: &Mask,
    moves: bool,
) -> Result<(NewProcess, Foreground<'a>)> {
    let outside = outside(context);
    let mut process = make(context, &outside, (signals, caller_mask), moves)?;
    match set_up_process(context, &outside, &mut process, signals) {
        Ok(foreground) => Ok((process, foreground)),
        Err(error) => {
            let error = process.explain(error);
            Err(end_after(error, &process, &context.container.record))
        }
    }
}

/// What only the runtime may do for the process.
fn outside<'a>(context: &'a ExecContext<'_>) -> Outside<'a> {
    let record = &context.container.record;
    Outside {
        process: Some(&context.process),
        groups: record.rdt.as_ref(),
        rootless: record.rootless,
        forks: context.join.has(plan::Kind::Pid),
    }
}

/// Whether there is something that comes before the process goes on; otherwise it begins
/// at once.
fn waits(context: &ExecContext<'_>, outside: &Outside<'_>) -> bool {
    !context.below.is_empty() || outside.must_come_first()
}

/// What has failed, once nothing is left. On cgroup v1 what is frozen cannot even
/// die: it is not waited for.
fn end_after(error: Error, process: &NewProcess, record: &Record) -> Error {
    let frozen = record.cgroup.has_v1() && record.cgroup.is_frozen().unwrap_or(false);
    let ended = match frozen {
        true => {
            process.kill().and(Err(Error::new("its process ends when the container is resumed")))
        }
        false => process.end(),
    };
    error.and(ended)
}

/// The namespaces that the container has of its own, by its init.
fn join_init(record: &Record, init: OpenProcess, proc: BorrowedFd<'_>) -> Result<Join> {
    let has = |kind: plan::Kind| record.has_namespace(kind.name());
    let mut kinds = plan::Kind::ALL
        .into_iter()
        .filter(|kind| has(*kind))
        .fold(0, |bits, kind| bits | kind.flag().0);
    if has(plan::Kind::User) {
        // We may be in it ourselves by now, and setns(2) refuses that.
        let number =
            |path: &str| statat(proc, path, AtFlags::empty()).call(|| format!("stat /proc/{path}"));
        let (own, its) = (number("self/ns/user")?, number(&format!("{}/ns/user", init.id.pid))?);
        if (own.st_dev, own.st_ino) == (its.st_dev, its.st_ino) {
            kinds &= !plan::Kind::User.flag().0;
        }
    }
    Ok(Join::Process(init.pidfd, Namespaces(kinds)))
}

/// Without a mount namespace of its own the container is a chroot.
fn root_of(record: &Record, init: ProcessId, proc: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    if record.has_namespace(plan::Kind::Mount.name()) {
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

fn make(
    context: &ExecContext<'_>,
    outside: &Outside<'_>,
    (signals, caller_mask): (&Signals, &Mask),
    moves: bool,
) -> Result<NewProcess> {
    let record = &context.container.record;
    let (cgroup, tasks_files) = match context.below.is_empty() {
        true => (record.cgroup.dir()?, record.cgroup.tasks_files()),
        // It is moved there before it goes on.
        false => (None, Vec::new()),
    };
    // It joins by itself, once it is in the cgroup.
    let join = &Join::NONE;
    let create = Namespaces::default();
    let spawn_args =
        SpawnArgs { create, join, cgroup, tasks_files: &tasks_files, clocks: None, lays: false };
    let shared = |waits: bool| Shared {
        waits,
        forks: outside.forks,
        personality: context.personality,
        memory_policy: context.memory_policy.as_ref(),
        filter: context.filter.as_ref(),
        proc: context.proc.as_fd(),
        caller_mask,
        extra_env: context.request.extra_env.clone(),
    };
    let root = root_of(record, context.init, context.proc.as_fd())?;
    let spawn = |spawn_args: &SpawnArgs<'_>, waits: bool| {
        let exec = Exec {
            process: &context.process,
            shared: &shared(waits),
            join: &context.join,
            root: root.as_ref().map(AsFd::as_fd),
            keyring: keyring_of(record),
        };
        let wait_limit = WaitLimit::new(Some(signals), &[]);
        NewProcess::spawn(spawn_args, waits, wait_limit, || {
            Ok(|channel| join::main(&exec, channel))
        })
    };
    if cgroup.is_none() || !moves {
        match spawn(&spawn_args, waits(context, outside)) {
            Err(error) if cgroup.is_some() && error.errno() == Some(Errno::BUSY) => {}
            made => return made,
        }
    }
    // The container's own cgroup has children with controllers, and v2 then takes no
    // process, or the kernel kills what is cloned into it: go where its init is.
    let process = spawn(&SpawnArgs { cgroup: None, tasks_files: &[], ..spawn_args }, true)?;
    match record.cgroup.attach_beside(process.pid(), context.init.pid) {
        Ok(()) => Ok(process),
        // Whoever ends leaves its cgroup first: it is looked at again.
        Err(error) => Err(end_after(error.kind(Kind::Killed), &process, record)),
    }
}

/// From clone3(2) to the running program. The pid file comes last: its absence is
/// how conmon knows that the runtime has failed.
fn set_up_process<'a>(
    context: &ExecContext<'_>,
    outside: &Outside<'_>,
    process: &mut NewProcess,
    signals: &'a Signals,
) -> Result<Foreground<'a>> {
    let (request, record) = (context.request, &context.container.record);
    if !context.below.is_empty() {
        record.cgroup.attach_below(process.pid(), &context.below).at(|| "--cgroup")?;
    }
    if process.waits {
        outside.apply(process.child.pid)?;
        process.let_go()?;
    }
    let (wait_limit, log) = (WaitLimit::new(Some(signals), &[]), &context.runtime.log);
    let mut meanwhile = Meanwhile {
        log,
        wait_limit,
        on_hooks: &mut || Err(Error::new("exec runs no hooks")),
        on_listener: &mut |_| Err(Error::new("the filter of exec is loaded last")),
    };
    process.until_ready(outside, &mut meanwhile)?;
    let (console, pidfd) = (&request.console_socket, &request.pidfd_socket);
    let master = process.hand_over(console.as_deref(), pidfd.as_deref())?;
    // Before the program runs: it may ask for the size of its terminal at once.
    let foreground = Foreground::new(signals, master, None)?;
    process.start((record, context.status), context.receiver.as_ref(), wait_limit, log)?;
    if let Some(path) = &request.pid_file {
        store::write_pid_file(path, process.pid())?;
    }
    Ok(foreground)
}
