//! The host's mounts with their attributes locked, for a container in a user namespace.
//!
//! Whoever has `CAP_SYS_ADMIN` in the user namespace that owns a mount namespace may change
//! the mounts there: a read-only one of the host could become writable. The kernel locks
//! attributes, and what is mounted below, where a mount namespace of another owner is copied
//! (`mount_namespaces(7)`, "Restrictions on mount namespaces"), and only there: a tree that
//! is taken by the runtime and attached inside is not locked. So the trees are laid on a tmpfs
//! in a mount namespace of a process that makes the new one, which copies it. The runtime does
//! not enter it: the way back is not everybody's (`CAP_SYS_CHROOT`, filters).

use super::host::{enter_copy, make_slave};
use super::minimal::Minimal;
use super::source::{Source, Tree};
use super::sources::{Locks, Sources};
use super::{Ground, bind, mount};
use crate::error::{At, Context as _, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::{FileSystem, Kind, Mount};
use crate::plan::namespaces;
use crate::plan::options::{PRIVATE, Reach, UNBINDABLE};
use crate::sys::mount::Change;
use crate::sys::process::unshare;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use rustix::process::{chroot, fchdir};
use std::path::Path;

/// File systems of which a user namespace gets a new one only where a whole one is to be
/// seen (mount_too_revealing in fs/namespace.c).
const SHOWN: [(&str, &str); 2] = [("proc", "/proc"), ("sysfs", "/sys")];

impl Sources {
    /// Lays the trees out in a mount namespace for the new process to copy. We are in there
    /// afterwards. With `minimal` nothing else of the host is in there. `aside` is a directory
    /// that nobody looks for in there.
    pub fn lay(&mut self, plan: &Rootfs, minimal: Option<Minimal>, aside: &Path) -> Result<()> {
        let minimal = minimal.and_then(|minimal| Some((minimal, shown(plan)?)));
        let (ground, shown) = match minimal {
            Some((minimal, shown)) => {
                let ground = minimal.enter()?;
                make_slave()?;
                (ground, shown)
            }
            None => {
                enter_copy()?;
                (Ground::Copy, Vec::new())
            }
        };
        let fs = FileSystem {
            kind: "tmpfs".into(),
            // Ids of the container look for the trees.
            data: vec![("mode".into(), Some("0711".into()))],
            ..FileSystem::default()
        };
        let tmpfs = mount::new(&fs, 0, None)?;
        // The container's root will lie on it, unless that is where the host's paths begin.
        let place = match (ground, plan.path.parent()) {
            (Ground::Minimal, _) => Path::new("/"),
            (_, None) => aside,
            (_, Some(_)) => plan.path.as_path(),
        };
        mount::attach_at(tmpfs.as_fd(), place).call(|| "move_mount of a tmpfs".into())?;
        for tree in self.trees().chain(&shown) {
            lay_one(tree.as_fd(), tmpfs.as_fd()).at(|| "a tree of the host")?;
        }
        self.change_attached(plan)?;
        fchdir(&tmpfs).call(|| "fchdir".into())?;
        if ground == Ground::Minimal {
            // Whose root is not the namespace's makes no user namespace.
            chroot(".").call(|| "chroot".into())?;
        }
        self.locks = Some(Locks { place: tmpfs, ground });
        Ok(())
    }

    /// Makes the changes that had to wait until a tree is attached. What is locked they could
    /// not change any more.
    fn change_attached(&mut self, plan: &Rootfs) -> Result<()> {
        for (index, mount) in plan.mounts.iter().enumerate() {
            let Kind::Bind(of) = &mount.kind else { continue };
            let source = &self.mounts[index];
            let Source::Tree(Tree { fd, unchanged: true }, flags) = source else { continue };
            bind::change_attributes(plan, mount, of, self.idmap(mount), *flags, |changes| {
                changes.iter().try_for_each(|change| mount::change(fd.as_fd(), change))
            })
            .at(|| mount.field())?;
            if let Source::Tree(tree, _) = &mut self.mounts[index] {
                tree.unchanged = false;
            }
        }
        Ok(())
    }

    /// All that the child attaches.
    fn trees(&self) -> impl Iterator<Item = &OwnedFd> {
        let binds = self.mounts.iter().filter_map(|source| match source {
            Source::Tree(tree, _) => Some(&tree.fd),
            _ => None,
        });
        let fallback = self.mounts.iter().filter_map(|source| match source {
            Source::Fallback(tree) => Some(tree),
            _ => None,
        });
        let root = self.rootfs.iter().map(|tree| &tree.fd);
        root.chain(binds).chain(fallback).chain(self.devices.iter().flatten())
    }

    /// In the new process: copies the mount namespace where the trees were laid.
    pub fn enter_laid(&mut self) -> Result<Ground> {
        let Some(locks) = &mut self.locks else { return Err(Error::new("no trees are laid out")) };
        unshare(namespaces::Kind::Mount.flag())
            .call(|| "unshare the mount namespace".into())
            .at(|| "linux.namespaces")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        locks.place = openat(CWD, ".", flags, Mode::empty()).call(|| "open .".into())?;
        Ok(locks.ground)
    }
}

impl Locks {
    /// Takes the root and the devices, in place of what was laid.
    pub fn take_early(&self, sources: &mut Sources) -> Result<()> {
        if let Some(tree) = &mut sources.rootfs {
            self.take(&mut tree.fd, None).at(|| "root.path")?;
        }
        sources.devices.iter_mut().flatten().try_for_each(|tree| self.take(tree, None))
    }

    /// Takes what a mount is made of, in the order of the mounts: mounts are listed in the order in which
    /// they came into being.
    pub fn take_for(&self, mount: &Mount, source: &mut Source) -> Result<()> {
        match source {
            Source::Tree(tree, _) => {
                let unbindable = mount.propagation.iter().filter(|one| one.flag == UNBINDABLE);
                // `true` is the larger one.
                self.take(&mut tree.fd, unbindable.map(|one| one.reach == Reach::All).max())
            }
            Source::Fallback(tree) => self.take(tree, None),
            _ => Ok(()),
        }
    }

    /// A copy of the tree that was laid, with all that is locked. `unbindable`: that is its first
    /// mount, or with `true` also all below.
    fn take(&self, tree: &mut OwnedFd, unbindable: Option<bool>) -> Result<()> {
        let name = tree.as_raw_fd().to_string();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let laid =
            openat(&self.place, &name, flags, Mode::empty()).call(|| "open a tree".into())?;
        if let Some(recursive) = unbindable {
            // Or there is no copy. It becomes so again once it is attached.
            let change = Change { propagation: PRIVATE, recursive, ..Change::default() };
            mount::change(laid.as_fd(), &change)?;
        }
        *tree = mount::clone_fd(laid.as_fd(), true).call(|| "open_tree of a tree".into())?;
        Ok(())
    }
}

/// A mount point of the same kind, named by the descriptor, and the tree on it.
fn lay_one(tree: BorrowedFd<'_>, tmpfs: BorrowedFd<'_>) -> Result<()> {
    let name = tree.as_raw_fd().to_string();
    if mount::is_directory(tree).call(|| "fstat".into())? {
        mkdirat(tmpfs, &name, Mode::RWXU).call(|| "mkdirat".into())?;
    } else {
        mknodat(tmpfs, &name, FileType::RegularFile, Mode::RUSR, 0).call(|| "mknodat".into())?;
    }
    mount::attach_at_name(tree, tmpfs, &name).call(|| "move_mount".into())
}

/// The host's own file systems that are to be seen; `None` if one of them cannot be taken, and
/// only a copy of the host's mounts has it.
fn shown(plan: &Rootfs) -> Option<Vec<OwnedFd>> {
    let mut trees = Vec::new();
    for (_, path) in SHOWN.iter().filter(|(kind, _)| mounts(plan, kind)) {
        trees.push(mount::clone_path(Path::new(path), true, false).ok()?);
    }
    Some(trees)
}

fn mounts(plan: &Rootfs, kind: &str) -> bool {
    plan.mounts.iter().any(|one| matches!(&one.kind, Kind::FileSystem(fs) if fs.kind == kind))
}
