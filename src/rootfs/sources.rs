//! The parent's side: all that is taken from the host, before the child exists.

use super::bind;
use super::idmap::idmap_file;
use super::inside::Inside;
use super::nodes::{self, Nodes, explain_missing, host_device};
use super::nofile::RaisedNofile;
use super::root::NO_ROOT;
use super::source::{Source, Tree};
use super::{Context, Ground, host, mount, overlay};
use crate::error::{At, Context as _, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::{Kind, Maps, Mount};
use crate::plan::options::{PRIVATE, SHARED, SLAVE};
use crate::plan::rootfs::{CgroupView, Device};
use crate::sys::file::from_cgroup_root;
use crate::sys::mount::{Change, mount_id};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::path::Path;

/// What [`open`] has taken from the host. It goes to the child by fork; every
/// descriptor closes on exec.
#[derive(Debug, Default)]
pub struct Sources {
    /// The root as a detached tree; absent for an unprivileged caller.
    pub(super) rootfs: Option<Tree>,
    /// One entry a mount.
    pub(super) mounts: Vec<Source>,
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
    /// The raised limit of descriptors, to be restored by parent and child.
    pub nofile: RaisedNofile,
}

/// Where the trees lie, as the new process sees it.
#[derive(Debug)]
pub(super) struct Locks {
    pub place: OwnedFd,
    /// What else is there.
    pub ground: Ground,
}

impl Sources {
    /// Whether all that the tree is made of was taken: then nothing is looked for
    /// by a path of the host any more.
    pub fn are_complete(&self) -> bool {
        self.have_root() && !self.mounts.iter().any(|source| matches!(source, Source::Path))
    }

    /// Whether the root was taken.
    pub fn have_root(&self) -> bool {
        self.rootfs.is_some()
    }

    /// The id of the mount that the tree hangs on, which it keeps when it is attached.
    pub fn mount_id(&self) -> Result<Option<u64>> {
        let Some(tree) = &self.rootfs else { return Ok(None) };
        mount_id(tree.fd.as_fd()).map(Some).call(|| "statx of the root filesystem".into())
    }

    /// For what [`cgroup_trees`] takes, in the same order.
    pub fn sent(&mut self) -> impl Iterator<Item = &mut Vec<OwnedFd>> {
        self.mounts.iter_mut().filter_map(|source| match source {
            Source::Sent(trees) => Some(trees),
            _ => None,
        })
    }

    /// The user namespace whose mapping the mount takes.
    pub(super) fn idmap(&self, mount: &Mount) -> Option<BorrowedFd<'_>> {
        let idmap = mount.idmap.as_ref()?;
        let mut all = self.idmaps.iter();
        all.find(|(maps, _)| *maps == idmap.maps).map(|(_, fd)| fd.as_fd())
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
        mounts: Vec::with_capacity(plan.mounts.len()),
        nofile: RaisedNofile::raise_for(plan.mounts.len())?,
        ..Sources::default()
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
        // A bind mount that the child makes of what it sees by then.
        let mut in_order = None;
        if let Kind::Bind(bind) = &mount.kind {
            let root = root.get_or_insert_with(|| Inside::of(&plan.path));
            in_order = match root.find(&bind.source, bind.nofollow) {
                Some(path) => Some(Source::Inside(path)),
                None if after_the_childs && proc.is_some() => Some(Source::Host),
                None => None,
            };
        }
        after_the_childs |= in_order.is_some() || !matches!(mount.kind, Kind::Bind(_));
        let source = take(plan, mount, in_order, &mut sources, context).at(|| mount.field())?;
        sources.mounts.push(source);
    }
    if let Some(proc) = proc
        && sources.mounts.iter().any(|source| matches!(source, Source::Host))
    {
        sources.host = Some(host::mount_namespace(proc)?);
    }
    if plan.user_namespace {
        sources.nodes = nodes::of_listed(plan, context)?;
        for (index, device) in plan.devices.iter().enumerate() {
            let has_own = sources.nodes.as_ref().is_some_and(|nodes| nodes.has(index));
            let is_left = has_own || plan.is_in_bound_dev(device);
            let taken = if is_left { Ok(None) } else { take_device(device) };
            sources.devices.push(taken.at(|| &device.path).at(|| device.field())?);
        }
    }
    Ok(sources)
}

/// Whether the child may return to the host's mount namespace to open sources in the order of
/// the mounts. It needs CAP_SYS_ADMIN on the host and a mount namespace of its own. What is shared with the host is copied from the host alone,
/// which cannot be promised where setns(2) is forbidden.
fn may_go_back(plan: &Rootfs, sources: &Sources) -> bool {
    let shares = plan.propagation.is_some_and(|propagation| propagation.flag == SHARED);
    plan.mount_namespace && !plan.user_namespace && !shares && sources.rootfs.is_some()
}

fn open_root(plan: &Rootfs) -> Result<Option<Tree>> {
    match clone_root(plan) {
        Err(error) if error.errno() == Some(Errno::PERM) => Ok(None),
        tree => tree.map(Some),
    }
}

/// The root as a detached tree whose mounts propagate nothing to the host:
/// pivot_root(2) refuses a shared one, so sharing comes after it.
pub(super) fn clone_root(plan: &Rootfs) -> Result<Tree> {
    let path = &plan.path;
    let fd = mount::clone_path(path, true, false)
        .call(|| format!("open_tree {}", path.display()))
        .at(|| "root.path")
        .hint_on(Errno::NOENT, || NO_ROOT)?;
    let is_directory = mount::is_directory(fd.as_fd())
        .call(|| format!("fstat {}", path.display()))
        .at(|| "root.path")
        .map_err(mount::explain_access)?;
    if !is_directory {
        return Err(Error::os(format!("{}", path.display()), Errno::NOTDIR).at("root.path"));
    }
    let unchanged = bind::apply(&[root_change(plan)], fd.as_fd()).at(|| "root.path")?;
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

/// Takes what a mount is made of, but for what the child takes `in_order`.
fn take(
    plan: &Rootfs,
    mount: &Mount,
    in_order: Option<Source>,
    sources: &mut Sources,
    context: &Context<'_>,
) -> Result<Source> {
    take_idmap(mount, sources, context)?;
    Ok(match (in_order, &mount.kind) {
        (Some(source), _) => source,
        (None, Kind::Bind(bind)) => bind::open(plan, mount, bind, sources.idmap(mount))?,
        (None, Kind::FileSystem(fs)) if fs.kind == "sysfs" && plan.user_namespace => {
            take_tree(Path::new("/sys"), true)?.map_or(Source::Nothing, Source::Fallback)
        }
        (None, Kind::Cgroup) => match cgroup_to_bind(plan, context) {
            Some(CgroupView::V2(dir)) => {
                take_tree(dir, false)?.map_or(Source::Path, Source::Fallback)
            }
            Some(CgroupView::V1(_)) => Source::Sent(Vec::new()),
            None => Source::Nothing,
        },
        (None, Kind::FileSystem(_) | Kind::Remount { .. }) => Source::Nothing,
    })
}

/// What [`open`] has left out on cgroup v1, as the directories may be made while the child
/// begins: for each mount of type `cgroup` those of all hierarchies, or nothing where the
/// child must take them. They exist by now.
pub fn cgroup_trees(plan: &Rootfs, context: &Context<'_>) -> Result<Vec<Vec<OwnedFd>>> {
    let Some(CgroupView::V1(list)) = cgroup_to_bind(plan, context) else { return Ok(Vec::new()) };
    let trees = |mount: &Mount| {
        let taken = list.iter().map(|hierarchy| take_tree(&hierarchy.dir, false));
        let taken: Result<Option<Vec<_>>> = taken.collect();
        taken.map(Option::unwrap_or_default).at(|| mount.field())
    };
    plan.mounts.iter().filter(|mount| matches!(mount.kind, Kind::Cgroup)).map(trees).collect()
}

/// What a mount of type `cgroup` binds, if it does so, and is no file system of its own.
fn cgroup_to_bind<'a>(plan: &Rootfs, context: &Context<'a>) -> Option<&'a CgroupView> {
    context.cgroup.filter(|_| plan.user_namespace || !context.cgroup_namespace)
}

/// The path as a tree; none where the caller has no privileges or it does not exist.
fn take_tree(path: &Path, recursive: bool) -> Result<Option<OwnedFd>> {
    let (dir, below) = from_cgroup_root(path);
    match mount::clone_at(dir, below, recursive) {
        Err(Errno::PERM | Errno::NOENT) => Ok(None),
        tree => tree.map(Some).call(|| format!("open_tree {}", path.display())),
    }
}

fn take_idmap(mount: &Mount, sources: &mut Sources, context: &Context<'_>) -> Result<()> {
    if let Some(idmap) = &mount.idmap
        && sources.idmap(mount).is_none()
    {
        let fd = idmap_file(&idmap.maps, context).at(|| "id mapping")?;
        sources.idmaps.push((idmap.maps.clone(), fd));
    }
    Ok(())
}

/// The host's node for a device that may not be made, `None` for a fifo or when
/// only the child may take it.
fn take_device(device: &Device) -> Result<Option<OwnedFd>> {
    match host_device(device) {
        Err(error) if error.errno() == Some(Errno::PERM) => Ok(None),
        result => result.map_err(explain_missing),
    }
}
