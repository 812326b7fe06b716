//! `create`: plan everything, then make it, then let init wait.

use super::entry::{Entry, Wanted};
use super::process::{Meanwhile, NewProcess, Outside};
use super::seccomp::{self, Receiver};
use super::serve::{self, Patience};
use super::{
    Bundle, Created, Decided, Holder, Kept, Runtime, Wiring, delete, notify, overlay, state_of,
    wiring,
};
use super::{bundle, network};
use crate::cgroup::{Cgroup, CgroupMount, Write};
use crate::create::{Birth, idmap};
use crate::error::{self, Context, Error, Result};
use crate::hooks::{self, Runner};
use crate::init::{Init, Shared, StartSocket, first};
use crate::namespaces::{self, Clocks, Join};
use crate::net::devices::{self, Found, Handed};
use crate::plan::overlay::{ASKED, Wish};
use crate::plan::rootfs::{CgroupView, Hierarchy};
use crate::plan::{Findings, Hooks, Kind, Options, Plan};
use crate::resctrl::{self, Groups};
use crate::security::{keyring, lsm, seccomp as filters};
use crate::spec::Status;
use crate::store::{self, Dir, ProcessId, Record};
use crate::sys::process::{self, Namespaces};
use crate::sys::random;
use crate::sys::signal::{self, Mask, Signals};
use crate::{log, rootfs, terminal};
use rustix::process::Signal;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::SystemTime;

/// The command line of `create` and `run`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Container id.
    pub id: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// The configuration, if it is not the bundle's own.
    pub config: Option<PathBuf>,
    /// Who receives the terminal.
    pub console_socket: Option<PathBuf>,
    /// Where the pid goes.
    pub pid_file: Option<PathBuf>,
    /// Who receives a pidfd of init.
    pub pidfd_socket: Option<PathBuf>,
    /// Change the root without `pivot_root(2)`.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many fds from 3 on are passed on.
    pub preserve_fds: u32,
    /// Variables beyond `process.env`.
    pub extra_env: Vec<CString>,
    /// Whether our own process will start the container and stay with it.
    pub starts_itself: bool,
    /// Whether the terminal, if any, is relayed by our own process.
    pub relays_terminal: bool,
    /// What is asked of its network.
    pub wiring: Wiring,
    /// The overlay that is asked for.
    pub overlay: Option<Wish>,
}

/// Everything that is decided before the first thing is made.
struct Work<'a> {
    runtime: &'a Runtime,
    settings: &'a Settings,
    rootless: bool,
    way: Way,
    bundle: Bundle,
    plan: Plan,
    filter: Option<filters::Filter>,
    join: Join,
    writes: Vec<Write>,
    devices: Found,
    /// What is to be made of it; kept in the record from then on.
    rdt: Option<Groups>,
}

impl Work<'_> {
    fn cgroup(&self) -> Wanted<'_> {
        let Self { plan, writes, rootless, way, .. } = self;
        let log = &self.runtime.log;
        Wanted { plan, writes, rootless: *rootless, moves: way.moves, log }
    }
}

/// What has been made so far, for the way back.
#[derive(Default)]
struct Made {
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
    let usual = Way { moves: false, copies: false };
    match attempt(runtime, settings, usual) {
        Err(error) => match error.get_kind() {
            error::Kind::NeverRan => attempt(runtime, settings, Way { moves: true, ..usual }),
            error::Kind::NotShown => attempt(runtime, settings, Way { copies: true, ..usual }),
            _ => Err(error),
        },
        done => done,
    }
}

/// How init is made.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Whether it is moved into its cgroup, though it could be born there.
    moves: bool,
    /// Whether it sees the host's mounts, though it could do without.
    copies: bool,
}

impl Way {
    fn is_usual(self) -> bool {
        !self.moves && !self.copies
    }
}

/// Once.
fn attempt(runtime: &Runtime, settings: &Settings, way: Way) -> Result<Created> {
    let mut bundle = Bundle::open(&settings.bundle, settings.config.as_deref())?;
    let mut settings = settings.clone();
    if !settings.wiring.is_empty() {
        bundle
            .rewrite(|text| settings.wiring.rewrite(runtime, text, Holder::State(&settings.id)))?;
    }
    if notify::supervisor().is_some() {
        let state = runtime.store.root().join(&settings.id);
        bundle.spec.mounts.push(notify::for_container(&state, &mut settings));
    }
    if let Some(wish) = &settings.overlay {
        bundle.spec.annotations.insert(ASKED.into(), wish.to_text());
    }
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
    if way.is_usual() {
        warnings.iter().for_each(|warning| runtime.log.warning(warning));
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
        Some(rdt) => Some(Groups::plan(rdt, &plan.id, &resctrl::mount_point()?)?),
        None => None,
    };
    let rootless = driver.rootless;
    let work =
        Work { runtime, settings, rootless, way, bundle, plan, filter, join, writes, devices, rdt };
    make_or_undo(work, cgroup)
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

fn make_or_undo(mut work: Work<'_>, cgroup: Cgroup) -> Result<Created> {
    let rdt = work.rdt.take();
    let mut record = new_record(&work, cgroup, rdt)?;
    let dir = work.runtime.store.claim(&work.plan.id)?;
    let mut made = Made::default();
    let (signals, caller_mask) = match block_signals() {
        Ok(blocked) => blocked,
        Err(error) => return Err(undo(&work, &dir, &record, &mut made, error, None)),
    };
    match make(&work, &dir, &mut record, &mut made, (&signals, caller_mask)) {
        Ok(master) => {
            let Some(process) = made.process else {
                return Err(Error::new("create: no process was made"));
            };
            let receiver = Receiver::of(&work.bundle.spec);
            let Work { plan, bundle, filter, writes, .. } = work;
            // To free them would write to pages that we share with init: each
            // would be copied first.
            std::mem::forget((bundle, filter, writes));
            Ok(Created { dir, record, plan, process, master, receiver, caller_mask, signals })
        }
        Err(error) => {
            let error = made.process.as_ref().map_or(error.clone(), |made| made.explain(error));
            let kind = error.get_kind();
            let error = undo(&work, &dir, &record, &mut made, error, Some(&signals));
            if kind.is_of_the_way() && work.way.is_usual() {
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

fn new_record(work: &Work<'_>, mut cgroup: Cgroup, rdt: Option<Groups>) -> Result<Record> {
    let (plan, settings) = (&work.plan, work.settings);
    let [own, start, session] = random::words().call(|| "getrandom".into())?;
    let store = work.runtime.store.root();
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
        rootless: work.rootless,
        keyring: !settings.no_new_keyring,
        keyring_name: (!settings.no_new_keyring).then(|| keyring::name(&plan.id, &session)),
        start_word: (!settings.starts_itself).then_some(start),
        plain: Kept::is_plain(&work.bundle.spec),
    })
}

/// The record first: it names all that could be left if we are killed.
fn make(
    work: &Work<'_>,
    dir: &Dir,
    record: &mut Record,
    made: &mut Made,
    (signals, caller_mask): (&Signals, Mask),
) -> Result<Option<OwnedFd>> {
    dir.save_config(&work.bundle.text)?;
    if notify::supervisor().is_some() {
        notify::prepare(dir)?;
    }
    if work.settings.wiring.has_files() {
        wiring::make_files(dir.path())?;
    }
    dir.save(record)?;
    dir.show()?;
    if let Some(overlay) = &work.plan.rootfs.overlay {
        overlay::take(work.runtime, overlay, dir, record)?;
    }
    let start = if work.settings.starts_itself {
        None
    } else {
        Some(serve::listen(dir, record.start_word.clone())?)
    };
    let entry = make_groups(work, dir, record)?;
    let hooks = &work.plan.hooks;
    let patience = Patience::new(Some(signals), &hooks.create_container);
    give_birth(work, (dir, record, entry), start, made, (patience, &caller_mask))?;
    let Made { process, devices, hooks: ran_hooks } = made;
    let process = process.as_mut().ok_or_else(|| Error::new("create: no process was made"))?;
    let pid = process.pid();
    let log = &work.runtime.log;
    log.debug(|| format!("create {}: init is process {pid}", record.id));
    work.cgroup().move_in(entry, dir, record, pid)?;
    // Without a cgroup only the record leads to init: one that is stopped does not notice that
    // we end.
    if !entry.is_deferred() && !record.cgroup.exists() {
        record.init = Some(dir.mark(pid, process.pidfd())?);
        dir.save(record)?;
    }
    if let Some(maps) = &work.plan.id_maps {
        idmap::write(pid, maps)?;
    }
    *devices = hand_over_devices(work, pid)?;
    let rdt = record.rdt.clone();
    let outside = outside(work, rdt.as_ref());
    outside.apply(process.child.pid)?;
    process.let_go()?;
    if entry.is_deferred() {
        work.cgroup().make_all(dir, record)?;
        dir.save(record)?;
    }
    open_doors(work, record, process)?;
    // From here on side by side with the child, which builds its tree.
    record.init = Some(dir.mark(pid, process.pidfd())?);
    record.creator = None;
    record.freezer = record.cgroup.freezer();
    let complete = dir.prepare_record(record)?;
    if let Some(bytes) = work.filter.as_ref().and_then(filters::Filter::to_bytes) {
        dir.save_filter(&bytes)?;
    }
    let receiver = Receiver::of(&work.bundle.spec);
    let mut meanwhile = Meanwhile {
        log,
        patience,
        on_hooks: &mut || {
            *ran_hooks = true;
            run_hooks(log, hooks, record, signals)
        },
        on_listener: &mut |listener| {
            seccomp::notify(receiver.as_ref(), record, Status::Creating, pid, listener)
        },
    };
    process.until_ready(&outside, &mut meanwhile)?;
    log.debug(|| format!("create {}: init is ready", work.plan.id));
    let (console, pidfd) = (&work.settings.console_socket, &work.settings.pidfd_socket);
    let master = process.hand_over(console.as_deref(), pidfd.as_deref())?;
    // Two creates at once may both have found it empty.
    record.cgroup.must_be_held()?;
    complete.commit()?;
    if let Some(path) = &work.settings.pid_file {
        store::write_pid_file(path, pid)?;
    }
    Ok(master)
}

/// Those that run in the runtime's own namespaces.
fn run_hooks(log: &log::Log, hooks: &Hooks, record: &Record, signals: &Signals) -> Result<()> {
    let by = Runner::Runtime(Some(signals));
    // They are of a time when they ran in `start`, and saw a container that was created.
    let state = state_of(record, Status::Created);
    hooks::run_all("prestart", &hooks.prestart, &state, by)?;
    let state = state_of(record, Status::Creating);
    let said = hooks::run_all("createRuntime", &hooks.create_runtime, &state, by)?;
    network::tell(log, &hooks.create_runtime, &said);
    Ok(())
}

/// What only the runtime may do for init.
fn outside<'a>(work: &'a Work<'_>, rdt: Option<&'a Groups>) -> Outside<'a> {
    let process = work.plan.process.as_ref();
    Outside { process, groups: rdt, rootless: work.rootless, forks: false }
}

/// Those that must be there when the process is born, and how it comes in.
fn make_groups(work: &Work<'_>, dir: &Dir, record: &mut Record) -> Result<Entry> {
    let entry = work.cgroup().prepare(dir, record)?;
    let mut made = !matches!(entry, Entry::Systemd | Entry::TasksFiles { deferred: true });
    if let (Some(groups), Some(rdt)) = (&mut record.rdt, &work.plan.intel_rdt) {
        groups.create(rdt)?;
        made = true;
    }
    let log = &work.runtime.log;
    log.debug(|| format!("create {}: cgroup {}", record.id, record.cgroup.paths().join(" ")));
    if made {
        dir.save(record)?;
    }
    Ok(entry)
}

/// cgroup v1: init enters through the doors, and binds the trees.
fn open_doors(work: &Work<'_>, record: &Record, process: &NewProcess) -> Result<()> {
    if !record.cgroup.has_doors() {
        return Ok(());
    }
    process.send_fds(&record.cgroup.open_doors()?)?;
    let view = cgroup_view(&record.cgroup);
    let trees = rootfs::cgroup_trees(&work.plan.rootfs, &context(work, view.as_ref()))?;
    trees.iter().try_for_each(|trees| process.send_fds(trees))
}

/// The process waits, and its network namespace is there: its own, or the one
/// that it joins.
fn hand_over_devices(work: &Work<'_>, pid: i32) -> Result<Option<Handed>> {
    if work.plan.net_devices.is_empty() {
        return Ok(None);
    }
    match work.join.file(Kind::Network) {
        Some(file) => devices::hand_over(&work.devices, file),
        None => devices::hand_over(&work.devices, devices::namespace_of(pid)?.as_fd()),
    }
    .map(Some)
}

/// Whether init has to be told that what is done from outside is done before it
/// can begin: its ids are mapped, its network devices, its class and its cgroup
/// are there. Otherwise it begins at once.
fn waits(plan: &Plan, entry: Entry, outside: &Outside<'_>) -> bool {
    let devices = !plan.net_devices.is_empty();
    entry.is_from_outside() || devices || plan.id_maps.is_some() || outside.must_come_first()
}

fn give_birth(
    work: &Work<'_>,
    (dir, record, entry): (&Dir, &mut Record, Entry),
    start: Option<StartSocket>,
    made: &mut Made,
    (patience, caller_mask): (Patience<'_>, &Mask),
) -> Result<()> {
    let plan = &work.plan;
    let view = cgroup_view(&record.cgroup);
    let proc = lsm::open_proc()?;
    let context = rootfs::Context { proc: Some(proc.as_fd()), ..context(work, view.as_ref()) };
    let sources = rootfs::open(&plan.rootfs, &context)?;
    if !plan.rootfs.mount_namespace {
        record.tree = sources.mount_id()?;
        dir.save(record)?;
    }
    let room = sources.room;
    let bare = bare(work, &sources, proc.as_fd());
    let late = late(plan, entry);
    let (cgroup, doors) = (entry.birthplace(&record.cgroup)?, record.cgroup.doors());
    let hook_env = hooks::environment(&plan.hooks.create_container);
    let lays = sources.are_to_be_locked(&plan.rootfs, &context);
    // The child makes these itself, once it is in its cgroup or the bare one.
    let special = Kind::Cgroup.flag().0 | Kind::Time.flag().0;
    let begins = if bare.is_some() || lays { Kind::Mount.flag().0 } else { 0 };
    let clocks = plan
        .namespaces
        .creates(Kind::Time)
        .then_some(Clocks { proc: proc.as_fd(), offsets: &plan.time_offsets });
    let joins_user = plan.namespaces.joins(Kind::User);
    let birth = Birth {
        create: Namespaces(plan.namespaces.flags().0 & !late.0 & !special & !begins),
        join: &work.join,
        cgroup,
        doors: &[],
        clocks: clocks.filter(|_| joins_user),
        lays,
    };
    let joins_itself = !birth.needs_middle() && !work.join.is_empty();
    // Both have the wire, and who has made it speaks first.
    let waits = birth.needs_middle() || waits(plan, entry, &outside(work, record.rdt.as_ref()));
    let shared = Shared {
        waits,
        forks: false,
        personality: plan.personality,
        memory_policy: plan.memory_policy.as_ref(),
        filter: work.filter.as_ref(),
        proc: proc.as_fd(),
        caller_mask,
        extra_env: work.settings.extra_env.clone(),
    };
    let mut init = Init {
        plan,
        shared: &shared,
        sources,
        context,
        bare,
        join: joins_itself.then_some(&work.join),
        late,
        clocks: clocks.filter(|_| !joins_user),
        doors,
        start,
        keyring: record.keyring_name.as_deref(),
        no_pivot: work.settings.no_pivot,
        hook_env,
    };
    let begin = || {
        if lays {
            init.sources.lay(&plan.rootfs, init.bare.take(), dir.path())?;
        }
        Ok(|wire| first::main(init, wire))
    };
    made.process = Some(NewProcess::spawn(&birth, waits, patience, begin)?);
    room.give_back()
}

fn context<'a>(work: &'a Work<'_>, cgroup: Option<&'a CgroupView>) -> rootfs::Context<'a> {
    let namespaces = &work.plan.namespaces;
    rootfs::Context {
        cgroup,
        cgroup_namespace: namespaces.has(Kind::Cgroup),
        joined_user_namespace: work.join.file(Kind::User),
        proc: None,
        attach_at: None,
        is_copy: namespaces.creates(Kind::Mount),
    }
}

/// The dearest namespaces, which init makes while we make the cgroup; but for a
/// network namespace that is to get devices from us first.
fn late(plan: &Plan, entry: Entry) -> Namespaces {
    let mut kinds = 0;
    if entry.is_deferred() && plan.net_devices.is_empty() {
        kinds = Kind::Network.flag().0 | Kind::Ipc.flag().0;
    }
    Namespaces(kinds & plan.namespaces.flags().0)
}

/// The mount namespace to begin with, if not a copy of the host's.
fn bare(work: &Work<'_>, sources: &rootfs::Sources, proc: BorrowedFd<'_>) -> Option<rootfs::Bare> {
    let plan = &work.plan;
    let copies =
        work.way.copies || work.rootless || work.settings.no_pivot || plan.needs_host_mounts();
    let may = plan.namespaces.creates(Kind::Mount) && !copies && sources.are_complete();
    if may { rootfs::Bare::find(proc) } else { None }
}

/// How a mount of type `cgroup` shows the container its own cgroup.
fn cgroup_view(cgroup: &Cgroup) -> Option<CgroupView> {
    let mounts = cgroup.mounts();
    if let [only] = mounts.as_slice()
        && only.name.is_none()
    {
        return Some(CgroupView::V2(only.source.clone()));
    }
    let hierarchy = |mount: CgroupMount| Hierarchy {
        name: mount.name.unwrap_or_default(),
        options: if mount.fstype == "cgroup2" { String::new() } else { mount.data },
        dir: mount.source,
    };
    (!mounts.is_empty()).then(|| CgroupView::V1(mounts.into_iter().map(hierarchy).collect()))
}

/// Takes back what was made, last first. What cannot be taken back is said in
/// the error, and `delete --force` can try again: the record stays then.
fn undo(
    work: &Work<'_>,
    dir: &Dir,
    record: &Record,
    made: &mut Made,
    error: Error,
    signals: Option<&Signals>,
) -> Error {
    // `delete --force` takes a directory without a record, and ends us as soon as there is one.
    if made.process.is_none() && serve::is_deleted(dir) {
        return serve::deleted(&work.plan.id);
    }
    let mut left = Vec::new();
    // While their namespace is there.
    left.extend(made.devices.as_mut().and_then(|devices| devices.give_back().err()));
    let held = record.cgroup.is_held();
    let is_held = held.as_ref().is_ok_and(|held| *held);
    left.extend(held.err());
    // A hook may have left others there; and on cgroup v1 what is frozen can end only so.
    if is_held && made.process.is_some() {
        left.extend(record.cgroup.kill(Signal::KILL).err());
    }
    if let Some(process) = &made.process {
        left.extend(process.end().err());
    }
    left.extend(record.tree.and_then(|tree| rootfs::detach(&work.plan.rootfs.path, tree).err()));
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
    if made.hooks {
        delete::poststop(&work.plan.hooks, record, &work.runtime.log, signals);
    }
    match left.first() {
        None => error,
        Some(reason) => {
            let id = &work.plan.id;
            // Not to be tried again beside it.
            let retries = error.get_kind().is_of_the_way();
            let error = if retries { error.kind(error::Kind::Killed) } else { error };
            error.also(format!("and then: {reason}; `delete --force {id}` removes the rest"))
        }
    }
}
