//! How init comes to be: what it is given from the runtime's view, which namespaces are made
//! with it, and what it sees of the host's mounts.

use super::entry::Entry;
use super::process::{NewProcess, Outside};
use super::serve::Patience;
use super::work::{Way, Work};
use crate::cgroup::{Cgroup, CgroupMount};
use crate::create::Birth;
use crate::error::Result;
use crate::hooks;
use crate::init::{Init, Shared, StartSocket, first};
use crate::namespaces::Clocks;
use crate::plan::rootfs::{CgroupView, Hierarchy};
use crate::plan::{Kind, Plan};
use crate::rootfs::{self, Bare, View};
use crate::security::lsm;
use crate::store::{Dir, Record};
use crate::sys::process::Namespaces;
use crate::sys::signal::Mask;
use std::os::fd::{AsFd, BorrowedFd};

/// Makes init, which goes on side by side with us unless it waits.
pub(super) fn give_birth(
    work: &Work<'_>,
    (dir, record, entry): (&Dir, &mut Record, Entry),
    start: Option<StartSocket>,
    made: &mut Option<NewProcess>,
    (patience, caller_mask): (Patience<'_>, &Mask),
) -> Result<()> {
    let plan = &work.plan;
    // What comes from the host is opened by us: init may lack the view of it, or the right.
    let cgroups = cgroup_view(&record.cgroup);
    let proc = lsm::open_proc()?;
    let context = rootfs::Context { proc: Some(proc.as_fd()), ..context(work, cgroups.as_ref()) };
    let sources = rootfs::open(&plan.rootfs, &context)?;
    let room = sources.room;
    let view = view(work, &sources, proc.as_fd());
    // On the host's own mounts the tree outlives init, so it is on record before it is attached.
    if matches!(view, View::Host) {
        record.tree = sources.mount_id()?;
        dir.save(record)?;
    }
    let (late, joins_user) = (late(plan, entry), plan.namespaces.joins(Kind::User));
    let clocks = Clocks { proc: proc.as_fd(), offsets: &plan.time_offsets };
    let clocks = plan.namespaces.creates(Kind::Time).then_some(clocks);
    let birth = Birth {
        create: made_at_birth(plan, late, &view),
        join: &work.join,
        cgroup: entry.birthplace(&record.cgroup)?,
        doors: &[],
        clocks: clocks.filter(|_| joins_user),
        lays: matches!(view, View::Laid(_)),
    };
    let joins_itself = !birth.needs_middle() && !work.join.is_empty();
    // Both have the wire, and who has made it speaks first.
    let waits = birth.needs_middle() || waits(plan, entry, &work.outside(record.rdt.as_ref()));
    let shared = Shared { waits, ..shared(work, proc.as_fd(), caller_mask) };
    let mut init = Init {
        plan,
        shared: &shared,
        sources,
        context,
        view,
        join: joins_itself.then_some(&work.join),
        late,
        clocks: clocks.filter(|_| !joins_user),
        doors: record.cgroup.doors(),
        start,
        keyring: record.keyring_name.as_deref(),
        no_pivot: work.settings.no_pivot,
        hook_env: hooks::environment(&plan.hooks.create_container),
    };
    let begin = || {
        init.view.lay(&mut init.sources, &plan.rootfs, dir.path())?;
        Ok(|wire| first::main(init, wire))
    };
    *made = Some(NewProcess::spawn(&birth, waits, patience, begin)?);
    room.give_back()
}

/// What init sees of the host's mounts. The first reason that holds decides.
fn view(work: &Work<'_>, sources: &rootfs::Sources, proc: BorrowedFd<'_>) -> View {
    let plan = &work.plan;
    if !plan.namespaces.creates(Kind::Mount) {
        return if plan.rootfs.mount_namespace { View::Joined } else { View::Host };
    }
    let copies =
        // In a bare one the kernel saw no whole procfs, and refused one to a user namespace.
        work.way == Way::Copied
        // To enter a bare one takes CAP_SYS_ADMIN on the host.
        || work.rootless
        // The old root stays below the container's.
        || work.settings.no_pivot
        // Hooks and file systems look for files of the host.
        || plan.needs_host_mounts()
        // So does init, for what we could not take.
        || !sources.are_complete();
    // The kernel may have none for us.
    let bare = if copies { None } else { Bare::find(proc) };
    // The kernel locks attributes where another user namespace copies mounts that are attached.
    // Without privileges we have taken none: init takes all from its copy of the host's.
    if plan.rootfs.user_namespace && sources.have_root() {
        return View::Laid(bare);
    }
    bare.map_or(View::Copy, View::Bare)
}

/// The namespaces that clone3(2) makes. The others init makes by itself.
fn made_at_birth(plan: &Plan, late: Namespaces, view: &View) -> Namespaces {
    // The root of the one is the cgroup of its maker; in the other clocks are set before it is
    // entered.
    let later = late.0 | Kind::Cgroup.flag().0 | Kind::Time.flag().0;
    let mounts = match view {
        // From the one that it enters, or that was laid out.
        View::Bare(_) | View::Laid(_) => Kind::Mount.flag().0,
        View::Host | View::Joined | View::Copy => 0,
    };
    Namespaces(plan.namespaces.flags().0 & !later & !mounts)
}

/// The dearest namespaces, which init makes while we make the cgroup; but for a
/// network namespace that is to get devices from us first.
fn late(plan: &Plan, entry: Entry) -> Namespaces {
    let any = entry.is_deferred() && plan.net_devices.is_empty();
    let kinds = if any { Kind::Network.flag().0 | Kind::Ipc.flag().0 } else { 0 };
    Namespaces(kinds & plan.namespaces.flags().0)
}

/// Whether init has to be told that what is done from outside is done before it
/// can begin: its ids are mapped, its network devices, its class and its cgroup
/// are there. Otherwise it begins at once.
fn waits(plan: &Plan, entry: Entry, outside: &Outside<'_>) -> bool {
    let devices = !plan.net_devices.is_empty();
    entry.is_from_outside() || devices || plan.id_maps.is_some() || outside.must_come_first()
}

fn shared<'a>(work: &'a Work<'_>, proc: BorrowedFd<'a>, caller_mask: &'a Mask) -> Shared<'a> {
    Shared {
        waits: false,
        forks: false,
        personality: work.plan.personality,
        memory_policy: work.plan.memory_policy.as_ref(),
        filter: work.filter.as_ref(),
        proc,
        caller_mask,
        extra_env: work.settings.extra_env.clone(),
    }
}

/// cgroup v1: init enters through the doors, and binds the trees.
pub(super) fn open_doors(work: &Work<'_>, record: &Record, process: &NewProcess) -> Result<()> {
    if !record.cgroup.has_doors() {
        return Ok(());
    }
    process.send_fds(&record.cgroup.open_doors()?)?;
    let view = cgroup_view(&record.cgroup);
    let trees = rootfs::cgroup_trees(&work.plan.rootfs, &context(work, view.as_ref()))?;
    trees.iter().try_for_each(|trees| process.send_fds(trees))
}

fn context<'a>(work: &'a Work<'_>, cgroup: Option<&'a CgroupView>) -> rootfs::Context<'a> {
    rootfs::Context {
        cgroup,
        cgroup_namespace: work.plan.namespaces.has(Kind::Cgroup),
        joined_user_namespace: work.join.file(Kind::User),
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
