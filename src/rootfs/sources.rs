//! The parent's side: all that is taken from the host, before the child exists.

use super::bind::{self, Source, Tree};
use super::idmap::idmap_file;
use super::inside::Inside;
use super::nodes::{self, Nodes, explain_missing, host_device};
use super::room::Room;
use super::root::NO_ROOT;
use super::{Context, host, mount, overlay};
use crate::error::{At, Context as _, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::{Kind, Maps, Mount};
use crate::plan::options::{PRIVATE, SHARED, SLAVE};
use crate::plan::rootfs::{CgroupView, Device};
use crate::sys::file::near;
use crate::sys::mount::{Change, mount_id};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::path::Path;

/// What [`open`] has taken from the host. It goes to the child by fork; every
/// descriptor closes on exec.
#[derive(Debug)]
pub struct Sources {
    /// The root as a detached tree; absent for an unprivileged caller.
    pub(super) rootfs: Option<Tree>,
    /// One entry a mount.
    pub(super) mounts: Vec<Taken>,
    /// One entry a device, where devices have to be bound.
    pub(super) devices: Vec<Option<OwnedFd>>,
    /// Nodes of the container's own for devices that are listed, if they can be made.
    pub(super) nodes: Option<Nodes>,
    /// The runtime's mount namespace, if the child takes some of them from there.
    pub(super) host: Option<OwnedFd>,
    /// Where the trees were laid, if the child is to take them from there.
    pub(super) locks: Option<Locks>,
    /// User namespaces that carry id mappings.
    idmaps: Vec<(Maps, OwnedFd)>,
    /// The descriptors' room, to be given back by parent and child.
    pub room: Room,
}

/// Where the trees lie, as the new process sees it.
#[derive(Debug)]
pub(super) struct Locks {
    pub place: OwnedFd,
    /// Whether nothing else of the host is there.
    pub is_bare: bool,
}

/// What was taken for one mount.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Source of a bind mount.
    pub bind: Option<Source>,
    /// Its path in the container, if it lies there: see [`Inside`].
    pub inside: Option<String>,
    /// What is bound where the mount itself is refused by the kernel: /sys for a
    /// sysfs, the cgroup's own directories, in the order of the view.
    pub instead: Vec<OwnedFd>,
    /// Whether only the child can take it, by a path of the host.
    later: bool,
    /// Whether the child takes it, in its turn, from the host's mount namespace.
    pub in_turn: bool,
    /// Whether `instead` is still to be taken: see [`cgroup_trees`].
    pub missing: bool,
    idmap: Option<usize>,
}

impl Sources {
    /// Whether all that the tree is made of was taken: then nothing is looked for
    /// by a path of the host any more.
    pub fn are_complete(&self) -> bool {
        self.rootfs.is_some() && !self.mounts.iter().any(|taken| taken.later)
    }

    /// The id of the mount that the tree hangs on, which it keeps when it is attached.
    ///
    /// # Errors
    /// None in practice.
    pub fn mount_id(&self) -> Result<Option<u64>> {
        let Some(tree) = &self.rootfs else { return Ok(None) };
        mount_id(tree.fd.as_fd()).map(Some).call(|| "statx of the root filesystem".into())
    }

    /// For what [`cgroup_trees`] takes, in the same order.
    pub fn missing(&mut self) -> impl Iterator<Item = &mut Vec<OwnedFd>> {
        self.mounts.iter_mut().filter(|taken| taken.missing).map(|taken| &mut taken.instead)
    }

    /// The user namespace whose mapping the mount at `index` takes.
    pub(super) fn idmap(&self, index: usize) -> Option<BorrowedFd<'_>> {
        let place = self.mounts.get(index)?.idmap?;
        self.idmaps.get(place).map(|(_, fd)| fd.as_fd())
    }
}

/// Takes from the host what the container's tree is made of: the root and every
/// bind source as a detached tree, with attributes and id mappings applied. The
/// container's cgroup must exist if there is a mount of type `cgroup`, but for v1.
///
/// A caller without `CAP_SYS_ADMIN` may make mounts only in the container's
/// namespaces: what is refused here is left to [`super::build()`].
pub fn open(plan: &Rootfs, context: &Context<'_>) -> Result<Sources> {
    let mut sources = Sources {
        rootfs: None,
        mounts: Vec::with_capacity(plan.mounts.len()),
        devices: Vec::new(),
        nodes: None,
        host: None,
        locks: None,
        idmaps: Vec::new(),
        room: Room::make(plan.mounts.len())?,
    };
    if !plan.is_mounted() {
        return Ok(sources);
    }
    sources.rootfs = match &plan.overlay {
        Some(overlay) => overlay::open_root(plan, overlay, context)?,
        None => open_root(plan)?,
    };
    let proc = context.proc.filter(|_| may_go_back(plan, &sources));
    // One that only the child makes.
    let mut after_the_childs = false;
    let mut root = None;
    for mount in &plan.mounts {
        let mut turn = Turn::Now;
        if let Kind::Bind(bind) = &mount.kind {
            let root = root.get_or_insert_with(|| Inside::of(&plan.path));
            turn = match root.find(&bind.source, bind.nofollow) {
                Some(path) => Turn::Inside(path),
                None if after_the_childs && proc.is_some() => Turn::Host,
                None => Turn::Now,
            };
        }
        after_the_childs |= !matches!((&mount.kind, &turn), (Kind::Bind(_), Turn::Now));
        let taken = take(plan, mount, turn, &mut sources, context).at(|| mount.field())?;
        sources.mounts.push(taken);
    }
    if let Some(proc) = proc
        && sources.mounts.iter().any(|taken| taken.in_turn)
    {
        sources.host = Some(host::mount_namespace(proc)?);
    }
    if plan.user_namespace {
        sources.nodes = nodes::of_listed(plan, context)?;
    }
    if plan.user_namespace {
        for (index, device) in plan.devices.iter().enumerate() {
            let has_own = sources.nodes.as_ref().is_some_and(|nodes| nodes.has(index));
            let taken = if has_own || plan.is_in_bound_dev(device) {
                Ok(None)
            } else {
                take_device(device)
            };
            sources.devices.push(taken.at(|| format!("{}: {}", device.field(), device.path))?);
        }
    }
    Ok(sources)
}

/// Whether the child may take sources in their turn: only with all privileges on the host,
/// and if it is left at all. What is shared with the host is copied from the host alone,
/// which cannot be promised where setns(2) is forbidden.
fn may_go_back(plan: &Rootfs, sources: &Sources) -> bool {
    let shares = plan.propagation.is_some_and(|propagation| propagation.flag == SHARED);
    plan.mount_namespace && !plan.user_namespace && !shares && sources.rootfs.is_some()
}

fn open_root(plan: &Rootfs) -> Result<Option<Tree>> {
    match clone_root(plan) {
        Ok(tree) => Ok(Some(tree)),
        Err(error) if error.errno() == Some(Errno::PERM) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The root as a detached tree whose mounts propagate nothing to the host:
/// pivot_root(2) refuses a shared one, so sharing comes after it.
pub(super) fn clone_root(plan: &Rootfs) -> Result<Tree> {
    let path = &plan.path;
    let fd = mount::clone_path(path, true, false)
        .call(|| format!("root.path: open_tree {}", path.display()))
        .map_err(|error| match error.errno() {
            Some(Errno::NOENT) => error.hint(NO_ROOT),
            _ => error,
        })?;
    let is_directory = mount::is_directory(fd.as_fd())
        .call(|| format!("root.path: fstat {}", path.display()))
        .map_err(mount::explain_access)?;
    if !is_directory {
        return Err(Error::os(format!("root.path: {}", path.display()), Errno::NOTDIR));
    }
    let unchanged = bind::apply(&[root_change(plan)], fd.as_fd()).at(|| "root.path".into())?;
    Ok(Tree { fd, unchanged })
}

pub(super) fn root_change(plan: &Rootfs) -> Change<'static> {
    let slave = plan.propagation.is_none_or(|propagation| propagation.flag == SLAVE);
    Change {
        propagation: if slave { SLAVE } else { PRIVATE },
        recursive: true,
        ..Change::default()
    }
}

/// When the source of a bind mount is taken.
enum Turn {
    Now,
    /// In its turn, from the host's mount namespace.
    Host,
    /// In its turn, from the container's root.
    Inside(String),
}

fn take(
    plan: &Rootfs,
    mount: &Mount,
    turn: Turn,
    sources: &mut Sources,
    context: &Context<'_>,
) -> Result<Taken> {
    let idmap = take_idmap(mount, sources, context)?;
    let idmap_fd = idmap.and_then(|place| sources.idmaps.get(place)).map(|(_, fd)| fd.as_fd());
    let bind = match &mount.kind {
        Kind::Bind(bind) if matches!(turn, Turn::Now) => {
            Some(bind::open(plan, mount, bind, idmap_fd)?)
        }
        _ => None,
    };
    let instead = match &mount.kind {
        Kind::FileSystem(fs) if fs.kind == "sysfs" && plan.user_namespace => {
            take_trees([Path::new("/sys")].into_iter(), true)?
        }
        Kind::Cgroup => take_cgroup(plan, context)?,
        _ => Vec::new(),
    };
    let missing = misses_cgroup(plan, mount, context);
    let later = match &mount.kind {
        Kind::Bind(_) => matches!(bind, Some(Source::Later)),
        // systemd makes the cgroup around the child.
        Kind::Cgroup => !missing && instead.is_empty() && binds_cgroup(plan, context),
        _ => false,
    };
    let in_turn = matches!(turn, Turn::Host);
    let inside = if let Turn::Inside(path) = turn { Some(path) } else { None };
    Ok(Taken { bind, inside, instead, later, in_turn, missing, idmap })
}

/// cgroup v1: the directories may be made while the child begins.
fn misses_cgroup(plan: &Rootfs, mount: &Mount, context: &Context<'_>) -> bool {
    matches!((&mount.kind, context.cgroup), (Kind::Cgroup, Some(CgroupView::V1(_))))
        && binds_cgroup(plan, context)
}

/// What [`open`] has left out: for each mount of type `cgroup` the directories of
/// all hierarchies, or nothing where the child must take them. They exist by now.
pub fn cgroup_trees(plan: &Rootfs, context: &Context<'_>) -> Result<Vec<Vec<OwnedFd>>> {
    let Some(CgroupView::V1(list)) = context.cgroup else { return Ok(Vec::new()) };
    let mounts = plan.mounts.iter().filter(|mount| misses_cgroup(plan, mount, context));
    let take = |mount: &Mount| {
        take_trees(list.iter().map(|h| h.dir.as_path()), false).at(|| mount.field())
    };
    mounts.map(take).collect()
}

/// Whether the container sees its cgroup by a bind mount, and not by a file
/// system of its own.
fn binds_cgroup(plan: &Rootfs, context: &Context<'_>) -> bool {
    context.cgroup.is_some() && (plan.user_namespace || !context.cgroup_namespace)
}

fn take_cgroup(plan: &Rootfs, context: &Context<'_>) -> Result<Vec<OwnedFd>> {
    if !binds_cgroup(plan, context) {
        return Ok(Vec::new());
    }
    match context.cgroup {
        Some(CgroupView::V2(dir)) => take_trees([dir.as_path()].into_iter(), false),
        Some(CgroupView::V1(_)) | None => Ok(Vec::new()),
    }
}

/// All of the paths as trees, or none where the caller has no privileges or a
/// path does not exist.
fn take_trees<'a>(paths: impl Iterator<Item = &'a Path>, recursive: bool) -> Result<Vec<OwnedFd>> {
    let mut trees = Vec::new();
    for path in paths {
        let (dir, below) = near(path);
        match mount::clone_at(dir, below, recursive) {
            Ok(tree) => trees.push(tree),
            Err(Errno::PERM | Errno::NOENT) => return Ok(Vec::new()),
            Err(errno) => {
                return Err(Error::os(format!("open_tree {}", path.display()), errno));
            }
        }
    }
    Ok(trees)
}

fn take_idmap(
    mount: &Mount,
    sources: &mut Sources,
    context: &Context<'_>,
) -> Result<Option<usize>> {
    let Some(idmap) = &mount.idmap else { return Ok(None) };
    let known = sources.idmaps.iter().position(|(maps, _)| *maps == idmap.maps);
    if known.is_some() {
        return Ok(known);
    }
    let fd = idmap_file(&idmap.maps, context).at(|| "id mapping".into())?;
    sources.idmaps.push((idmap.maps.clone(), fd));
    Ok(Some(sources.idmaps.len() - 1))
}

/// The host's node for a device that may not be made, `None` for a fifo or when
/// only the child may take it.
fn take_device(device: &Device) -> Result<Option<OwnedFd>> {
    match host_device(device) {
        Err(error) if error.errno() == Some(Errno::PERM) => Ok(None),
        result => result.map_err(explain_missing),
    }
}
