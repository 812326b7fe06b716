//! Mounts of type `cgroup`: what the container sees of its cgroup.

use super::{Context, mount};
use crate::error::{At, Context as _, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::{FileSystem, Mount};
use crate::plan::options::Gathered;
use crate::plan::rootfs::{CgroupView, Hierarchy};
use crate::sys::mount::{Attributes, Change, NODEV, NOEXEC, NOSUID, RDONLY};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use std::path::Path;

/// Mounts the container's view of its cgroup.
pub(super) fn make(
    plan: &Rootfs,
    mount: &Mount,
    taken: Vec<OwnedFd>,
    target: BorrowedFd<'_>,
    context: &Context<'_>,
) -> Result<OwnedFd> {
    let mut taken: Vec<_> = taken.into_iter().map(Some).collect();
    match context.cgroup {
        Some(CgroupView::V2(dir)) => v2(mount, &mut taken, dir, target, context),
        Some(CgroupView::V1(list)) => v1(plan, mount, list, &mut taken, target, context),
        None => hide(mount, target),
    }
}

/// With a cgroup namespace the file system itself, whose root is then the
/// container's cgroup; without one, the directory of the container's cgroup.
fn v2(
    mount: &Mount,
    taken: &mut [Option<OwnedFd>],
    dir: &Path,
    target: BorrowedFd<'_>,
    context: &Context<'_>,
) -> Result<OwnedFd> {
    if context.cgroup_namespace {
        let fs = FileSystem {
            kind: "cgroup2".into(),
            source: Some("cgroup".into()),
            ..FileSystem::default()
        };
        match mount::new(&fs, mount.attributes.flat(), None) {
            Ok(made) => {
                attach(mount, made.as_fd(), target)?;
                return Ok(made);
            }
            // A user namespace that does not own the cgroup namespace.
            Err(error) if matches!(error.errno(), Some(Errno::PERM | Errno::BUSY)) => {}
            Err(error) => return Err(error),
        }
    }
    match take(taken, 0, dir) {
        Ok(tree) => {
            bind(mount.attributes, mount, tree.as_fd(), target)?;
            Ok(tree)
        }
        // Without privileges the cgroup may be one that cannot be seen.
        Err(error) if error.errno() == Some(Errno::NOENT) => hide(mount, target),
        Err(error) => Err(error),
    }
}

/// The tree that the parent has taken, or else one of the child's own.
fn take(taken: &mut [Option<OwnedFd>], index: usize, dir: &Path) -> Result<OwnedFd> {
    match taken.get_mut(index).and_then(Option::take) {
        Some(tree) => Ok(tree),
        None => {
            mount::clone_path(dir, false, false).call(|| format!("open_tree {}", dir.display()))
        }
    }
}

fn attach(mount: &Mount, tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    mount::attach_as(tree, target, || format!("mount cgroup on {}", mount.destination))
}

/// Binds a directory, changed before it can be reached.
fn bind(
    attributes: Gathered,
    mount: &Mount,
    tree: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let attributes = Attributes {
        set: attributes.flat(),
        clear: attributes.one.clear | (attributes.all.clear & !attributes.one.set),
    };
    let change =
        Change { attributes, propagation: crate::plan::options::SLAVE, ..Change::default() };
    let unchanged = super::bind::apply(&[change], tree)?;
    attach(mount, tree, target)?;
    if unchanged { mount::change(tree, &change) } else { Ok(()) }
}

/// A tmpfs with one mount a hierarchy, and a link for each controller of a
/// hierarchy that has several.
fn v1(
    plan: &Rootfs,
    mount: &Mount,
    list: &[Hierarchy],
    taken: &mut [Option<OwnedFd>],
    target: BorrowedFd<'_>,
    context: &Context<'_>,
) -> Result<OwnedFd> {
    let readonly = mount.attributes.flat() & RDONLY != 0;
    let top = tmpfs("mode=755", mount.attributes.flat() & !RDONLY, plan.mount_label.as_deref())?;
    attach(mount, top.as_fd(), target)?;
    for (index, hierarchy) in list.iter().enumerate() {
        let name = &hierarchy.name;
        let mut one = || -> Result<()> {
            mkdirat(&top, name.as_str(), Mode::from_raw_mode(0o755)).call(|| "mkdirat".into())?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = openat(&top, name.as_str(), flags, Mode::empty()).call(|| "open".into())?;
            if context.cgroup_namespace && !plan.user_namespace {
                let made = mount::new(&hierarchy_fs(hierarchy), bits(readonly), None)?;
                return attach(mount, made.as_fd(), dir.as_fd());
            }
            let tree = take(taken, index, &hierarchy.dir)?;
            let attributes = Attributes { set: bits(readonly), clear: 0 };
            bind(
                Gathered { one: attributes, ..Gathered::default() },
                mount,
                tree.as_fd(),
                dir.as_fd(),
            )
        };
        one().at(|| format!("cgroup hierarchy {name}"))?;
        for controller in name.split(',').filter(|_| name.contains(',')) {
            symlinkat(name.as_str(), &top, controller)
                .call(|| format!("symlinkat {controller}"))?;
        }
    }
    if readonly {
        let attributes = Attributes { set: RDONLY, clear: 0 };
        mount::change(top.as_fd(), &Change { attributes, ..Change::default() })?;
    }
    Ok(top)
}

fn bits(readonly: bool) -> u64 {
    NOSUID | NODEV | NOEXEC | if readonly { RDONLY } else { 0 }
}

/// A hierarchy is found by the options that it was first mounted with.
fn hierarchy_fs(hierarchy: &Hierarchy) -> FileSystem {
    let v2 = hierarchy.options.is_empty();
    let option = |text: &str| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    };
    FileSystem {
        kind: if v2 { "cgroup2".into() } else { "cgroup".into() },
        source: Some("cgroup".into()),
        data: hierarchy.options.split(',').filter(|o| !o.is_empty()).map(option).collect(),
        ..FileSystem::default()
    }
}

fn tmpfs(data: &str, attributes: u64, label: Option<&str>) -> Result<OwnedFd> {
    let (key, value) = data.split_once('=').unwrap_or((data, ""));
    let fs = FileSystem {
        kind: "tmpfs".into(),
        source: Some("tmpfs".into()),
        data: vec![(key.into(), Some(value.into()))],
        ..FileSystem::default()
    };
    mount::new(&fs, attributes, label)
}

/// Nothing may show through where the cgroup cannot be mounted: /sys may have
/// brought the host's along, writable (CVE-2023-25809).
fn hide(mount: &Mount, target: BorrowedFd<'_>) -> Result<OwnedFd> {
    let made = tmpfs("mode=755", bits(true), None)?;
    attach(mount, made.as_fd(), target)?;
    Ok(made)
}
