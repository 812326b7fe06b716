//! How init is made: what it is given from the runtime's view, which namespaces are made
//! with it, and what it sees of the host's mounts.

use super::context::{CreateContext, Way};
use super::entry::Entry;
use super::process::{NewProcess, Outside};
use super::serve::WaitLimit;
use crate::cgroup::{Cgroup, CgroupMount};
use crate::create::SpawnArgs;
use crate::error::Result;
use crate::hooks;
use crate::init::{Init, Shared, StartSocket, first};
use crate::namespaces::Clocks;
use crate::plan::rootfs::{CgroupView, Hierarchy};
use crate::plan::{Kind, Plan};
use crate::rootfs::{self, Minimal, View};
use crate::security::lsm;
use crate::store::{Dir, Record};
use crate::sys::process::Namespaces;
use crate::sys::signal::Mask;
use std::os::fd::{AsFd, BorrowedFd};

/// Makes init, which goes on side by side with us unless it waits.
pub(super) fn spawn_init(
    context: &CreateContext<'_>,
    (dir, record, entry): (&Dir, &mut Record, Entry),
    start: Option<StartSocket>,
    made: &mut Option<NewProcess>,
    (wait_limit, caller_mask): (WaitLimit<'_>, &Mask),
) -> Result<()> {
    let plan = &context.plan;
    // What comes from the host is opened by us: init may lack the view of it, or the right.
    let cgroups = cgroup_view(&record.cgroup);
    let proc = lsm::open_proc()?;
    let rootfs_context =
        rootfs::Context { proc: Some(proc.as_fd()), ..rootfs_context(context, cgroups.as_ref()) };
    let sources = rootfs::open(&plan.rootfs, &rootfs_context)?;
    let nofile = sources.nofile;
    let view = view(context, &sources, proc.as_fd());
    // On the host's own mounts the tree outlives init, so it is on record before it is attached.
    if matches!(view, View::Host) {
        record.tree = sources.mount_id()?;
        dir.save(record)?;
    }
    let (deferred_namespaces, joins_user) =
        (deferred_namespaces(plan, entry), plan.namespaces.joins(Kind::User));
    let clocks = Clocks { proc: proc.as_fd(), offsets: &plan.time_offsets };
    let clocks = plan.namespaces.creates(Kind::Time).then_some(clocks);
    let spawn_args = SpawnArgs {
        create: made_by_clone3(plan, deferred_namespaces, &view),
        join: &context.join,
        cgroup: entry.initial_cgroup(&record.cgroup)?,
        tasks_files: &[],
        clocks: clocks.filter(|_| joins_user),
        lays: matches!(view, View::Laid(_)),
    };
    let joins_itself = !spawn_args.needs_intermediate() && !context.join.is_empty();
    // Both processes have the channel, and the intermediate one sends first.
    let waits = spawn_args.needs_intermediate()
        || waits(plan, entry, &context.outside(record.rdt.as_ref()));
    let shared = Shared { waits, ..shared(context, proc.as_fd(), caller_mask) };
    let mut init = Init {
        plan,
        shared: &shared,
        sources,
        context: rootfs_context,
        view,
        join: joins_itself.then_some(&context.join),
        deferred_namespaces,
        clocks: clocks.filter(|_| !joins_user),
        tasks_files: record.cgroup.tasks_files(),
        start,
        keyring: record.keyring_name.as_deref(),
        no_pivot: context.settings.no_pivot,
        hook_env: hooks::environment(&plan.hooks.create_container),
    };
    let begin = || {
        init.view.lay(&mut init.sources, &plan.rootfs, dir.path())?;
        Ok(|channel| first::main(init, channel))
    };
    *made = Some(NewProcess::spawn(&spawn_args, waits, wait_limit, begin)?);
    nofile.restore()
}

/// What init sees of the host's mounts. The first reason that holds decides.
fn view(context: &CreateContext<'_>, sources: &rootfs::Sources, proc: BorrowedFd<'_>) -> View {
    let plan = &context.plan;
    if !plan.namespaces.creates(Kind::Mount) {
        return if plan.rootfs.mount_namespace { View::Joined } else { View::Host };
    }
    let copies =
        // In a minimal one the kernel saw no whole procfs, and refused one to a user namespace.
        context.way == Way::Copied
        // To enter a minimal one takes CAP_SYS_ADMIN on the host.
        || context.rootless
        // The old root stays below the container's.
        || context.settings.no_pivot
        // Hooks and file systems look for files of the host.
        || needs_host_mounts(plan)
        // So does init, for what we could not take.
        || !sources.are_complete();
    // The kernel may have none for us.
    let minimal = if copies { None } else { Minimal::find(proc) };
    // The kernel locks attributes where another user namespace copies mounts that are attached.
    // Without privileges we have taken none: init takes all from its copy of the host's.
    if plan.rootfs.user_namespace && sources.have_root() {
        return View::Laid(minimal);
    }
    minimal.map_or(View::Copy, View::Minimal)
}

/// Whether hooks look for the host's mounts while the tree is built, or file systems are made from
/// files of the host.
fn needs_host_mounts(plan: &Plan) -> bool {
    let hooks = &plan.hooks;
    let early = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container];
    !early.iter().all(|list| list.iter().all(hooks::is_own)) || plan.rootfs.needs_host_paths()
}

/// The namespaces that clone3(2) makes. The others init makes by itself.
fn made_by_clone3(plan: &Plan, deferred_namespaces: Namespaces, view: &View) -> Namespaces {
    // The root of the one is the cgroup of its maker; in the other clocks are set before it is
    // entered.
    let later = deferred_namespaces.0 | Kind::Cgroup.flag().0 | Kind::Time.flag().0;
    let mounts = match view {
        // From the one that it enters, or that was laid out.
        View::Minimal(_) | View::Laid(_) => Kind::Mount.flag().0,
        View::Host | View::Joined | View::Copy => 0,
    };
    Namespaces(plan.namespaces.flags().0 & !later & !mounts)
}

/// Network and IPC namespaces are the most expensive: init makes them while the parent makes the
/// cgroup. But a network namespace that is to get devices must be there before.
fn deferred_namespaces(plan: &Plan, entry: Entry) -> Namespaces {
    let any = entry.is_deferred() && plan.net_devices.is_empty();
    let kinds = if any { Kind::Network.flag().0 | Kind::Ipc.flag().0 } else { 0 };
    Namespaces(kinds & plan.namespaces.flags().0)
}

/// Whether init waits for `Go` before it begins: until its ids are mapped, and its network
/// devices, its RDT class and its cgroup are there.
fn waits(plan: &Plan, entry: Entry, outside: &Outside<'_>) -> bool {
    let devices = !plan.net_devices.is_empty();
    entry.is_from_outside() || devices || plan.id_maps.is_some() || outside.must_come_first()
}

fn shared<'a>(
    context: &'a CreateContext<'_>,
    proc: BorrowedFd<'a>,
    caller_mask: &'a Mask,
) -> Shared<'a> {
    Shared {
        waits: false,
        forks: false,
        personality: context.plan.personality,
        memory_policy: context.plan.memory_policy.as_ref(),
        filter: context.filter.as_ref(),
        proc,
        caller_mask,
        extra_env: context.settings.extra_env.clone(),
    }
}

/// cgroup v1: sends init the opened `tasks` files to enter by, and the trees to bind.
pub(super) fn open_tasks_files(
    context: &CreateContext<'_>,
    record: &Record,
    process: &NewProcess,
) -> Result<()> {
    if !record.cgroup.has_v1() {
        return Ok(());
    }
    process.send_fds(&record.cgroup.open_tasks_files()?)?;
    let view = cgroup_view(&record.cgroup);
    let trees =
        rootfs::cgroup_trees(&context.plan.rootfs, &rootfs_context(context, view.as_ref()))?;
    trees.iter().try_for_each(|trees| process.send_fds(trees))
}

fn rootfs_context<'a>(
    context: &'a CreateContext<'_>,
    cgroup: Option<&'a CgroupView>,
) -> rootfs::Context<'a> {
    rootfs::Context {
        cgroup,
        cgroup_namespace: context.plan.namespaces.has(Kind::Cgroup),
        joined_user_namespace: context.join.file(Kind::User),
        proc: None,
    }
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
