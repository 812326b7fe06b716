//! `create`: plan everything, then make it, then let init wait.

use super::context::{CreateContext, Settings, Way};
use super::entry::Entry;
use super::process::{Meanwhile, NewProcess, Outside};
use super::seccomp::{self, Receiver};
use super::serve::{self, WaitLimit};
use super::spawn::{open_tasks_files, spawn_init};
use super::{Bundle, Created, Decided, Holder, Runtime, SavedConfig};
use super::{bundle, delete, network, notify, overlay, state_of, wiring};
use crate::cgroup::Cgroup;
use crate::create::idmap;
use crate::error::{self, Context, Error, Result};
use crate::hooks::{self, Runner};
use crate::namespaces;
use crate::net::devices::{self, Handed};
use crate::plan::overlay::ASKED;
use crate::plan::{Findings, Hooks, Kind, Options};
use crate::resctrl::{self, Groups};
use crate::security::{keyring, seccomp as filters};
use crate::spec::Status;
use crate::store::{self, Dir, Prepared, ProcessId, Record};
use crate::sys::process;
use crate::sys::random;
use crate::sys::signal::{self, Mask, Signals};
use crate::{log, rootfs, terminal};
use rustix::process::Signal;
use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

/// What has been made so far, to be undone after an error.
#[derive(Default)]
struct Rollback {
    process: Option<NewProcess>,
    devices: Option<Handed>,
    hooks: bool,
}

/// Makes the container.
///
/// # Errors
/// Whatever fails; nothing is left then.
pub fn create(runtime: &Runtime, settings: &Settings) -> Result<Created> {
    forbid_tracing()?;
    store::check_id(&settings.id)?;
    store::check_pid_file(settings.pid_file.as_deref())?;
    match attempt(runtime, settings, Way::Usual) {
        Err(error) => match error.get_kind() {
            error::Kind::NeverRan => attempt(runtime, settings, Way::Moved),
            error::Kind::NotShown => attempt(runtime, settings, Way::Copied),
            _ => Err(error),
        },
        done => done,
    }
}

/// Once.
fn attempt(runtime: &Runtime, settings: &Settings, way: Way) -> Result<Created> {
    let mut settings = settings.clone();
    let bundle = open_bundle(runtime, &mut settings)?;
    let settings = &settings;
    let options = Options {
        id: settings.id.clone(),
        bundle: bundle.path.clone(),
        unprivileged: !rustix::process::geteuid().is_root(),
        preserve_fds: settings.preserve_fds,
        overlay: settings.overlay.clone(),
    };
    let mut findings = Findings::default();
    let driver = runtime.driver()?;
    let decided = Decided::new(&bundle.spec, &options, driver, &mut findings);
    let (decided, warnings) = findings.finish_as(&bundle.name, decided)?;
    if way == Way::Usual {
        warnings.iter().for_each(|warning| runtime.log.warning(&warning.to_string()));
    }
    let Decided { mut plan, filter, cgroup, writes } = decided;
    bundle::resolve(&mut plan.rootfs.path)?;
    let cgroup = cgroup.ok_or_else(|| Error::new("create: no cgroup was planned"))?;
    let has_terminal = plan.process.as_ref().is_some_and(|process| process.terminal.is_some());
    terminal::check(has_terminal, settings.console_socket.as_deref(), !settings.relays_terminal)?;
    seccomp::log_skipped(filter.as_ref(), &runtime.log);
    let join = namespaces::open_files(&plan.namespaces)?;
    let devices = devices::find(&plan.net_devices)?;
    let rdt = match &plan.intel_rdt {
        Some(rdt) => Some(Groups::locate(rdt, &plan.id, &resctrl::mount_point()?)?),
        None => None,
    };
    let rootless = driver.rootless;
    // A file system of a block device is mounted by init, which the program may forbid; and what
    // systemd has made it may take away again as soon as init ends.
    let may_wait = !cgroup.is_unit() && !plan.rootfs.needs_host_paths();
    let (program, writes) = writes.into_iter().partition(|write| may_wait && write.is_program());
    let context = CreateContext {
        runtime,
        settings,
        rootless,
        way,
        bundle,
        plan,
        filter,
        join,
        writes,
        program,
        devices,
        rdt,
    };
    make_or_undo(context, cgroup)
}

/// The bundle; its configuration also says what the command line and our own supervisor ask for.
fn open_bundle(runtime: &Runtime, settings: &mut Settings) -> Result<Bundle> {
    let mut bundle = Bundle::open(&settings.bundle, settings.config.as_deref())?;
    if !settings.wiring.is_empty() {
        bundle
            .rewrite(|text| settings.wiring.rewrite(runtime, text, Holder::State(&settings.id)))?;
    }
    if notify::supervisor().is_some() {
        let state = runtime.store.root().join(&settings.id);
        bundle.spec.mounts.push(notify::for_container(&state, settings));
    }
    if let Some(wish) = &settings.overlay {
        bundle.spec.annotations.insert(ASKED.into(), wish.to_text());
    }
    Ok(bundle)
}

/// No process that is made from here on can be traced, not even in its first moment
/// (CVE-2016-9962). But only root can do without it itself: a child's files in
/// procfs are root's then, and an ordinary user has ids to map and limits to set.
pub(super) fn forbid_tracing() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        process::forbid_tracing().call(|| "prctl(PR_SET_DUMPABLE)".into())?;
    }
    Ok(())
}

fn make_or_undo(mut context: CreateContext<'_>, cgroup: Cgroup) -> Result<Created> {
    let rdt = context.rdt.take();
    let mut record = new_record(&context, cgroup, rdt)?;
    let dir = context.runtime.store.claim(&context.plan.id)?;
    let mut rollback = Rollback::default();
    let (signals, caller_mask) = match block_signals() {
        Ok(blocked) => blocked,
        Err(error) => return Err(undo(&context, &dir, &record, &mut rollback, error, None)),
    };
    match make(&context, &dir, &mut record, &mut rollback, (&signals, caller_mask)) {
        Ok(master) => {
            let Some(process) = rollback.process else {
                return Err(Error::new("create: no process was made"));
            };
            let receiver = Receiver::of(&context.bundle.spec);
            let CreateContext { plan, bundle, filter, writes, program, .. } = context;
            // To free them would write to pages that we share with init: each
            // would be copied first.
            std::mem::forget((bundle, filter, writes, program));
            Ok(Created { dir, record, plan, process, master, receiver, caller_mask, signals })
        }
        Err(error) => {
            let error = rollback.process.as_ref().map_or(error.clone(), |made| made.explain(error));
            let kind = error.get_kind();
            let error = undo(&context, &dir, &record, &mut rollback, error, Some(&signals));
            if kind.is_of_the_way() && context.way == Way::Usual {
                signal::set_mask(&caller_mask).call(|| "sigprocmask".into())?;
            }
            Err(error)
        }
    }
}

/// From here on a signal is an error of a wait, and what was made is undone.
pub(super) fn block_signals() -> Result<(Signals, Mask)> {
    let mask = signal::block_all().call(|| "sigprocmask".into())?;
    Ok((Signals::new().call(|| "signalfd".into())?, mask))
}

fn new_record(
    context: &CreateContext<'_>,
    mut cgroup: Cgroup,
    rdt: Option<Groups>,
) -> Result<Record> {
    let (plan, settings) = (&context.plan, context.settings);
    let [own, start, session] = random::words().call(|| "getrandom".into())?;
    let store = context.runtime.store.root();
    cgroup.mark_as(&own, &store.join(&plan.id).to_string_lossy());
    let kinds = Kind::ALL.into_iter().filter(|kind| plan.namespaces.has(*kind));
    Ok(Record {
        id: plan.id.clone(),
        bundle: plan.bundle.to_string_lossy().into_owned(),
        rootfs: plan.rootfs.path.to_string_lossy().into_owned(),
        created: log::rfc3339(SystemTime::now()),
        owner: rustix::process::getuid().as_raw(),
        annotations: plan.annotations.clone(),
        creator: Some(ProcessId::own()?),
        init: None,
        cgroup,
        freezer: None,
        tree: None,
        rdt,
        namespaces: kinds.map(|kind| kind.name().to_owned()).collect(),
        joins_pids: plan.namespaces.joins(Kind::Pid),
        rootless: context.rootless,
        keyring: !settings.no_new_keyring,
        keyring_name: (!settings.no_new_keyring).then(|| keyring::name(&plan.id, &session)),
        start_word: (!settings.starts_itself).then_some(start),
        config_not_needed: SavedConfig::is_not_needed(&context.bundle.spec),
    })
}

/// Step by step. What a step may leave behind, if we are killed, is on record before it.
fn make(
    context: &CreateContext<'_>,
    dir: &Dir,
    record: &mut Record,
    rollback: &mut Rollback,
    (signals, caller_mask): (&Signals, Mask),
) -> Result<Option<OwnedFd>> {
    let (log, hooks, settings) = (&context.runtime.log, &context.plan.hooks, context.settings);
    // First the record, without which a later command would find nothing of us.
    begin_record(context, dir, record)?;
    // Init inherits the socket that `start` connects to. `run` keeps the channel instead.
    let listen = || serve::listen(dir, record.start_word.clone());
    let start = if settings.starts_itself { None } else { Some(listen()?) };
    // clone3(2) puts init into its cgroup, so that comes before it where it can.
    let entry = make_groups(context, dir, record)?;
    let wait_limit = WaitLimit::new(Some(signals), &hooks.create_container);
    let waits = (wait_limit, &caller_mask);
    spawn_init(context, (dir, record, entry), start, &mut rollback.process, waits)?;
    let Rollback { process, devices, hooks: ran_hooks } = rollback;
    let process = process.as_mut().ok_or_else(|| Error::new("create: no process was made"))?;
    let pid = process.pid();
    log.debug(|| format!("create {}: init is process {pid}", record.id));
    // Then what only the runtime may do for init, which waits if it cannot begin without.
    let rdt = record.rdt.clone();
    let outside = context.outside(rdt.as_ref());
    set_up_outside(context, (dir, record, entry), process, devices, &outside)?;
    // From here on side by side with init, which builds its tree. The last record is written
    // now, but takes the place of the first one only when init is ready.
    let complete = complete_record(context, dir, record, process)?;
    let receiver = Receiver::of(&context.bundle.spec);
    let mut meanwhile = Meanwhile {
        log,
        wait_limit,
        // Init asks for them before pivot_root(2) (config.md, "createRuntime Hooks").
        on_hooks: &mut || {
            *ran_hooks = true;
            run_hooks(log, hooks, record, signals)
        },
        on_listener: &mut |listener| {
            seccomp::notify(receiver.as_ref(), record, Status::Creating, pid, listener)
        },
    };
    process.until_ready(&outside, &mut meanwhile)?;
    log.debug(|| format!("create {}: init is ready", context.plan.id));
    // If nobody takes the terminal all is undone, so nobody may see a created container before.
    let (console, pidfd) = (&settings.console_socket, &settings.pidfd_socket);
    let master = process.hand_over(console.as_deref(), pidfd.as_deref())?;
    // Two creates at once may both have found the cgroup empty: only one has it by now.
    record.cgroup.must_be_held()?;
    complete.commit()?;
    // The pid file last: its absence tells an engine that `create` has failed.
    if let Some(path) = &settings.pid_file {
        store::write_pid_file(path, pid)?;
    }
    Ok(master)
}

/// The container's directory gets its files, and is shown when the record is among them.
fn begin_record(context: &CreateContext<'_>, dir: &Dir, record: &Record) -> Result<()> {
    dir.save_config(&context.bundle.text)?;
    if notify::supervisor().is_some() {
        notify::prepare(dir)?;
    }
    if context.settings.wiring.has_files() {
        wiring::make_files(dir.path())?;
    }
    dir.save(record)?;
    dir.show()?;
    // Another container that wants it looks for the record of the one that has it.
    let overlay = context.plan.rootfs.overlay.as_ref();
    overlay.map_or(Ok(()), |overlay| overlay::take(context.runtime, overlay, dir, record))
}

/// What only the runtime can do for init, which goes on where it has been waiting for that.
fn set_up_outside(
    context: &CreateContext<'_>,
    (dir, record, entry): (&Dir, &mut Record, Entry),
    process: &NewProcess,
    devices: &mut Option<Handed>,
    outside: &Outside<'_>,
) -> Result<()> {
    if matches!(entry, Entry::Systemd) {
        // Until systemd has made the unit only the record leads to init, and to the unit.
        record.init = Some(dir.mark(process.pid(), process.pidfd())?);
        record.cgroup.name_unit(dir.path());
        dir.save(record)?;
    }
    // The cgroup first: what init uses is charged to it, and `delete` finds init by it.
    context.move_in(entry, dir, record, process.pid())?;
    // Without a cgroup only the record leads to init: one that is stopped does not notice that
    // we end.
    if !entry.is_deferred() && !record.cgroup.exists() {
        record.init = Some(dir.mark(process.pid(), process.pidfd())?);
        dir.save(record)?;
    }
    // Without a map init has no id in its user namespace, so it can make nothing there.
    if let Some(maps) = &context.plan.id_maps {
        idmap::write(process.pid(), maps)?;
    }
    *devices = hand_over_devices(context, process.pid())?;
    outside.apply(process.child.pid)?;
    process.let_go()?;
    // Directories of v1 cost as much time as the namespaces that init makes meanwhile.
    if entry.is_deferred() {
        context.make_cgroup(dir, record)?;
        dir.save(record)?;
    }
    if !context.program.is_empty() {
        // Another `create` may have found it as empty as we did.
        record.cgroup.must_be_held()?;
        // The kernel needs as long to check it as to copy a mount namespace.
        record.cgroup.apply(&context.program)?;
    }
    open_tasks_files(context, record, process)
}

/// The record names init now, and its creator no more; it is seen once it is committed.
fn complete_record<'a>(
    context: &CreateContext<'_>,
    dir: &'a Dir,
    record: &mut Record,
    process: &NewProcess,
) -> Result<Prepared<'a>> {
    record.init = Some(dir.mark(process.pid(), process.pidfd())?);
    record.creator = None;
    record.freezer = record.cgroup.freezer();
    let complete = dir.prepare_record(record)?;
    if let Some(bytes) = context.filter.as_ref().and_then(filters::Filter::to_bytes) {
        dir.save_filter(&bytes)?;
    }
    Ok(complete)
}

/// Those that run in the runtime's own namespaces.
fn run_hooks(log: &log::Log, hooks: &Hooks, record: &Record, signals: &Signals) -> Result<()> {
    let by = Runner::Runtime(Some(signals));
    // prestart hooks are deprecated. Older runtimes ran them in `start`, where the status is
    // `created`, so that is what they see.
    let state = state_of(record, Status::Created);
    hooks::run_all("prestart", &hooks.prestart, &state, by)?;
    let state = state_of(record, Status::Creating);
    let said = hooks::run_all("createRuntime", &hooks.create_runtime, &state, by)?;
    network::tell(log, &hooks.create_runtime, &said);
    Ok(())
}

/// Makes the groups that must be there before init is made, and decides how it comes in.
fn make_groups(context: &CreateContext<'_>, dir: &Dir, record: &mut Record) -> Result<Entry> {
    let entry = context.prepare_cgroup(dir, record)?;
    let mut made = !matches!(entry, Entry::Systemd | Entry::TasksFiles { deferred: true });
    if let (Some(groups), Some(rdt)) = (&mut record.rdt, &context.plan.intel_rdt) {
        groups.create(rdt)?;
        made = true;
    }
    let log = &context.runtime.log;
    log.debug(|| format!("create {}: cgroup {}", record.id, record.cgroup.paths().join(" ")));
    if made {
        dir.save(record)?;
    }
    Ok(entry)
}

/// The process waits, and its network namespace is there: its own, or the one
/// that it joins.
fn hand_over_devices(context: &CreateContext<'_>, pid: i32) -> Result<Option<Handed>> {
    if context.plan.net_devices.is_empty() {
        return Ok(None);
    }
    match context.join.file(Kind::Network) {
        Some(file) => devices::hand_over(&context.devices, file),
        None => devices::hand_over(&context.devices, devices::namespace_of(pid)?.as_fd()),
    }
    .map(Some)
}

/// Takes back what was made, last first. What cannot be taken back is said in
/// the error, and `delete --force` can try again: the record stays then.
fn undo(
    context: &CreateContext<'_>,
    dir: &Dir,
    record: &Record,
    rollback: &mut Rollback,
    error: Error,
    signals: Option<&Signals>,
) -> Error {
    // `delete --force` takes a directory without a record, and ends us as soon as there is one.
    if rollback.process.is_none() && serve::is_deleted(dir) {
        return serve::deleted(&context.plan.id);
    }
    let mut left = Vec::new();
    // While their namespace is there.
    left.extend(rollback.devices.as_mut().and_then(|devices| devices.give_back().err()));
    let held = record.cgroup.is_held();
    let is_held = held.as_ref().is_ok_and(|held| *held);
    left.extend(held.err());
    // A hook may have left others there; and on cgroup v1 what is frozen can end only so.
    if is_held && rollback.process.is_some() {
        left.extend(record.cgroup.kill(Signal::KILL).err());
    }
    if let Some(process) = &rollback.process {
        left.extend(process.end().err());
    }
    left.extend(record.tree.and_then(|tree| rootfs::detach(&context.plan.rootfs.path, tree).err()));
    // Whether systemd has made a unit is not known if its answer was not heard.
    if is_held || record.cgroup.is_unit() || !record.cgroup.exists() {
        left.extend(record.cgroup.take_back().err());
    } else {
        left.extend(record.cgroup.let_go(true).err());
    }
    left.extend(record.rdt.as_ref().and_then(|groups| groups.remove().err()));
    if left.is_empty() {
        left.extend(dir.clear().and_then(|()| dir.remove(Some(record))).err());
    }
    if rollback.hooks {
        delete::poststop(&context.plan.hooks, record, &context.runtime.log, signals);
    }
    match left.into_iter().next() {
        None => error,
        Some(reason) => {
            let id = &context.plan.id;
            // Not to be tried again beside it.
            let retries = error.get_kind().is_of_the_way();
            let error = if retries { error.kind(error::Kind::Killed) } else { error };
            error.and(Err(reason)).also(format!("`delete --force {id}` removes the rest"))
        }
    }
}
