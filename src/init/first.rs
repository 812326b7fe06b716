//! The first process of a container: it builds the world that it will live in,
//! from inside, and waits to be started.

use super::confine::{After, Last, Limits, UMASK};
use super::prepare::{Affinity, Shared, open_terminal};
use super::{StartSocket, identity, program, start};
use crate::error::{At, Context, Error, Result};
use crate::hooks::{self, Runner};
use crate::namespaces::{Clocks, Join, OpenClocks, enter_cgroup, make};
use crate::plan::{Hook, Kind, Plan};
use crate::rootfs::{self, Root, Sources};
use crate::security::keyring;
use crate::spec::{OCI_VERSION, State, Status};
use crate::sync::{ChildEnd, ToChild, ToParent};
use crate::sys::process::{Namespaces, with_only};
use crate::sys::signal::Signals;
use crate::{net, terminal};
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::fchdir;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What init needs: a fork's copy of what the parent has prepared.
#[derive(Debug)]
pub struct Init<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What it has in common with the container's other processes.
    pub shared: &'a Shared<'a>,
    /// The trees that the parent has opened.
    pub sources: Sources,
    /// What the tree depends on beyond the bundle.
    pub context: rootfs::Context<'a>,
    /// What it sees of the host's mounts.
    pub view: rootfs::View,
    /// Namespaces that init still has to join by itself.
    pub join: Option<&'a Join>,
    /// Namespaces that init makes by itself, while the parent makes the cgroup.
    pub deferred_namespaces: Namespaces,
    /// The time namespace that it makes by itself.
    pub clocks: Option<Clocks<'a>>,
    /// cgroup v1: the paths of the files that the parent will send opened.
    pub tasks_files: Vec<String>,
    /// The socket that `start` will connect to; none for `run`.
    pub start: Option<StartSocket>,
    /// The name of its new session keyring, if it gets one.
    pub keyring: Option<&'a str>,
    /// Whether the root is changed without `pivot_root(2)`.
    pub no_pivot: bool,
    /// The runtime's environment, for `createContainer` hooks that have none.
    pub hook_env: Vec<CString>,
}

/// Runs in the new process; never returns.
pub fn main(init: Init<'_>, channel: ChildEnd) -> Infallible {
    super::run(channel, |channel| {
        let ready = build(init, channel)?;
        let socket = ready.start.iter().map(|start| start.socket.as_raw_fd());
        let kept: Vec<_> = socket.chain([channel.as_raw_fd()]).collect();
        let preserved = ready.last.as_ref().map_or(0, |last| last.process.preserve_fds);
        // Before a name of the image is resolved: it may lead to a descriptor.
        with_only(3 + preserved, &kept, || wait_and_exec(ready, channel))
    })
}

/// A container that is built and has nothing of the host any more.
struct Ready<'a> {
    plan: &'a Plan,
    /// None without a process.
    last: Option<Last<'a>>,
    start: Option<StartSocket>,
}

fn build<'a>(mut init: Init<'a>, channel: &mut ChildEnd) -> Result<Ready<'a>> {
    let (plan, shared) = (init.plan, init.shared);
    // While its file is this process's to open.
    let clocks = init.clocks.map(Clocks::open).transpose();
    shared.begin(channel, Affinity::Reset)?;
    let clocks = clocks?;
    become_someone(&init)?;
    rustix::process::setsid().call(|| "setsid".into())?;
    if let Some(name) = init.keyring {
        keyring::join(name, keyring::Expected::New)?;
    }
    enter_namespaces(&init, clocks)?;
    name_the_host(plan)?;
    let ground = init.view.enter(&mut init.sources)?;
    enter_cgroups(&init.tasks_files, &mut init.sources, channel)?;
    if plan.namespaces.creates(Kind::Cgroup) {
        // Only now: its root is the cgroup that we are in.
        make(Kind::Cgroup.flag())?;
    }
    let root = rootfs::build(&plan.rootfs, init.sources, &init.context, ground)?;
    if let Some(text) = root.warning() {
        channel.send(&ToParent::Warning(text.into()))?;
    }
    run_hooks(plan, &root, &init.hook_env, channel)?;
    rootfs::enter(&plan.rootfs, &root, init.no_pivot)?;
    write_sysctl(shared.proc, &plan.sysctl)?;
    let start = init.start;
    let Some(process) = &plan.process else {
        rootfs::finish(&plan.rootfs, &root, None)?;
        return Ok(Ready { plan, last: None, start });
    };
    let slave = open_terminal(process, &root, channel)?;
    if slave.is_some() {
        terminal::take_control()?;
    }
    // While it can be made: the root may become read-only.
    program::make_directory(&root, process)?;
    rootfs::finish(&plan.rootfs, &root, slave.as_ref().map(AsFd::as_fd))?;
    let last = shared.set_up(process, &root, UMASK)?;
    Ok(Ready { plan, last: Some(last), start })
}

/// The pause between `create` and `start`, and the end of the way to the program.
fn wait_and_exec(ready: Ready<'_>, channel: &mut ChildEnd) -> Result<Infallible> {
    let Ready { plan, last, start } = ready;
    // A filter may forbid to make it later.
    let signals = Signals::fatal().call(|| "signalfd".into())?;
    let Some(last) = last else {
        channel.send(&ToParent::Ready)?;
        start::wait(channel, start, signals)?;
        return Err(
            Error::new("is not set in config.json, so there is nothing to start").at("process")
        );
    };
    // Who waits here has no more privilege than the program will have, but for what a
    // filter that comes last needs. What `exec` makes in a created container may trace it.
    let hooks = &plan.hooks.start_container;
    // A hook is a process of the user, too: it would count, and be filtered.
    let (limits, then) = match hooks.is_empty() {
        true => (Some(Limits::OfUser), Some(After::Start)),
        false => (None, None),
    };
    let prepared = last.prepare(channel, limits, then)?;
    channel.send(&ToParent::Ready)?;
    start::wait(channel, start, signals)?;
    if !hooks.is_empty() {
        // They are found in the image, so they run as what comes from there.
        let confine = || last.confine_hook();
        let env: Vec<_> = last.process.env.iter().chain(&last.extra_env).cloned().collect();
        let by = Runner::Init(&confine, &env);
        container_hooks(plan, "startContainer", hooks, Status::Created, by)?;
    }
    last.exec(&prepared, channel)
}

/// Ids first: nothing may be made by an id that the namespace does not map.
fn become_someone(init: &Init<'_>) -> Result<()> {
    let keep_groups = init.plan.process.as_ref().is_some_and(|process| process.groups.is_none());
    match &init.plan.id_maps {
        Some(maps) => identity::become_first(maps, keep_groups),
        None if init.plan.namespaces.joins(Kind::User) => identity::become_root(keep_groups),
        None => Ok(()),
    }
}

fn enter_namespaces(init: &Init<'_>, clocks: Option<OpenClocks<'_>>) -> Result<()> {
    let namespaces = &init.plan.namespaces;
    if let Some(join) = init.join {
        join.enter()?;
    }
    make(init.deferred_namespaces)?;
    if let Some(clocks) = clocks {
        clocks.enter()?;
    }
    if namespaces.creates(Kind::Network) {
        net::loopback_up()?;
    }
    Ok(())
}

/// Everything that is charged to the container comes after it.
fn enter_cgroups(paths: &[String], sources: &mut Sources, channel: &ChildEnd) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let tasks_files = channel.receive_fds()?;
    for (path, file) in paths.iter().zip(&tasks_files) {
        enter_cgroup(path, file.as_fd())?;
    }
    for trees in sources.sent() {
        *trees = channel.receive_fds()?;
    }
    Ok(())
}

fn name_the_host(plan: &Plan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes())
            .call(|| format!("sethostname({name})"))
            .at(|| "hostname")?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes())
            .call(|| format!("setdomainname({name})"))
            .at(|| "domainname")?;
    }
    Ok(())
}

/// The mounts are made, the old root is still there: the time of three kinds
/// of hooks. The runtime runs those that belong into its own namespaces.
fn run_hooks(plan: &Plan, root: &Root, env: &[CString], channel: &ChildEnd) -> Result<()> {
    let hooks = &plan.hooks;
    // The runtime also hears of those that run here: what they did, `poststop` has to undo.
    let all = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container];
    if all.iter().any(|list| !list.is_empty()) {
        channel.send(&ToParent::Hooks)?;
        channel.expect(ToChild::Done)?;
    }
    if hooks.create_container.is_empty() {
        return Ok(());
    }
    // They begin in the root filesystem, as with runc.
    fchdir(root.fd()).call(|| "fchdir to the root filesystem".into())?;
    let list = &hooks.create_container;
    let by = Runner::Init(&hooks::unconfined, env);
    container_hooks(plan, "createContainer", list, Status::Creating, by)
}

fn container_hooks(
    plan: &Plan,
    kind: &str,
    list: &[Hook],
    status: Status,
    by: Runner<'_>,
) -> Result<()> {
    let state = State {
        oci_version: OCI_VERSION,
        id: &plan.id,
        // As the container sees it (runtime.md, "State").
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        status,
        bundle: plan.bundle.to_str().unwrap_or_default(),
        rootfs: None,
        created: None,
        annotations: &plan.annotations,
        owner: None,
    };
    hooks::run_all(kind, list, &state, by).map(drop)
}

fn write_sysctl(proc: BorrowedFd<'_>, sysctl: &[(String, String)]) -> Result<()> {
    for (path, value) in sysctl {
        write_proc(proc, &format!("sys/{path}"), value)
            .at(|| format!("linux.sysctl.{}", path.replace('/', ".")))?;
    }
    Ok(())
}

/// Writes below `/proc` through the runtime's own procfs (CVE-2025-52881).
fn write_proc(proc: BorrowedFd<'_>, path: &str, value: &str) -> Result<()> {
    let call = || format!("write {value:?} to /proc/{path}");
    let file = openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).call(call)?;
    rustix::io::write(&file, value.as_bytes()).call(call)?;
    Ok(())
}
