//! The host's mounts with their attributes locked, for a container in a user namespace.
//!
//! Whoever has `CAP_SYS_ADMIN` in the user namespace that owns a mount namespace may change
//! the mounts there: a read-only one of the host could become writable. The kernel locks
//! attributes, and what is mounted below, where a mount namespace of another owner is copied
//! (`mount_namespaces(7)`, "Restrictions on mount namespaces"), and only there: a tree that
//! is taken by the runtime and attached inside is not locked. So the trees are laid on a tmpfs
//! in a mount namespace of a process that makes the new one, which copies it. The runtime does
//! not enter it: the way back is not everybody's (`CAP_SYS_CHROOT`, filters).

use super::bare::Bare;
use super::bind::{self, Source};
use super::host::{enter_copy, make_slave};
use super::sources::{Locks, Sources, Taken};
use super::{Context, mount};
use crate::error::{At, Context as _, Result};
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
    /// Whether the trees are to be laid, as the container's user namespace is another than ours
    /// and owns its mount namespace.
    pub fn are_to_be_locked(&self, plan: &Rootfs, context: &Context<'_>) -> bool {
        plan.user_namespace && context.is_copy && self.rootfs.is_some()
    }

    /// Lays the trees out in a mount namespace for the new process to copy. We are in there
    /// afterwards. With `bare` nothing else of the host is in there. `aside` is a directory
    /// that nobody looks for in there.
    ///
    /// # Errors
    /// Those of unshare(2), setns(2) and move_mount(2).
    pub fn lay(&mut self, plan: &Rootfs, bare: Option<Bare>, aside: &Path) -> Result<()> {
        let bare = bare.and_then(|bare| Some((bare, shown(plan)?)));
        let (is_bare, shown) = match bare {
            Some((bare, shown)) => {
                let is_bare = bare.enter()?;
                make_slave()?;
                (is_bare, shown)
            }
            None => {
                enter_copy()?;
                (false, Vec::new())
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
        let place = match (is_bare, plan.path.parent()) {
            (true, _) => Path::new("/"),
            (false, None) => aside,
            (false, Some(_)) => plan.path.as_path(),
        };
        mount::attach_at(tmpfs.as_fd(), place).call(|| "move_mount of a tmpfs".into())?;
        for tree in self.trees().chain(&shown) {
            lay_one(tree.as_fd(), tmpfs.as_fd()).at(|| "a tree of the host".into())?;
        }
        self.settle(plan)?;
        fchdir(&tmpfs).call(|| "fchdir".into())?;
        if is_bare {
            // Whose root is not the namespace's makes no user namespace.
            chroot(".").call(|| "chroot".into())?;
        }
        self.locks = Some(Locks { place: tmpfs, is_bare });
        Ok(())
    }

    /// Makes the changes that had to wait until a tree is attached. What is locked they could
    /// not change any more.
    fn settle(&mut self, plan: &Rootfs) -> Result<()> {
        for (index, mount) in plan.mounts.iter().enumerate() {
            let Kind::Bind(of) = &mount.kind else { continue };
            let waits = self.mounts.get(index).and_then(|taken| match &taken.bind {
                Some(Source::Tree(tree, flags)) if tree.unchanged => {
                    Some((tree.fd.as_fd(), *flags))
                }
                _ => None,
            });
            let Some((fd, flags)) = waits else { continue };
            bind::settle(plan, mount, of, self.idmap(index), flags, |changes| {
                changes.iter().try_for_each(|change| mount::change(fd, change))
            })
            .at(|| mount.field())?;
            if let Some(Source::Tree(tree, _)) = &mut self.mounts[index].bind {
                tree.unchanged = false;
            }
        }
        Ok(())
    }

    /// All that the child attaches.
    fn trees(&self) -> impl Iterator<Item = &OwnedFd> {
        let binds = self.mounts.iter().filter_map(|taken| match &taken.bind {
            Some(Source::Tree(tree, _)) => Some(&tree.fd),
            _ => None,
        });
        let instead = self.mounts.iter().flat_map(|taken| &taken.instead);
        let root = self.rootfs.iter().map(|tree| &tree.fd);
        root.chain(binds).chain(instead).chain(self.devices.iter().flatten())
    }

    /// In the new process: copies the mount namespace where the trees were laid, if they were.
    /// Whether nothing else of the host is in there.
    ///
    /// # Errors
    /// Those of unshare(2).
    pub fn enter_laid(&mut self) -> Result<bool> {
        let Some(locks) = &mut self.locks else { return Ok(false) };
        unshare(namespaces::Kind::Mount.flag())
            .call(|| "linux.namespaces: unshare the mount namespace".into())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        locks.place = openat(CWD, ".", flags, Mode::empty()).call(|| "open .".into())?;
        Ok(locks.is_bare)
    }
}

impl Locks {
    /// Takes the root and the devices, in place of what was laid.
    pub fn take_early(&self, sources: &mut Sources) -> Result<()> {
        if let Some(tree) = &mut sources.rootfs {
            self.take(&mut tree.fd, None).at(|| "root.path".into())?;
        }
        sources.devices.iter_mut().flatten().try_for_each(|tree| self.take(tree, None))
    }

    /// Takes what a mount is made of, in its turn: mounts are listed in the order in which
    /// they came into being.
    pub fn take_for(&self, mount: &Mount, taken: &mut Taken) -> Result<()> {
        if let Some(Source::Tree(tree, _)) = &mut taken.bind {
            let unbindable = mount.propagation.iter().filter(|one| one.flag == UNBINDABLE);
            // `true` is the larger one.
            self.take(&mut tree.fd, unbindable.map(|one| one.reach == Reach::All).max())?;
        }
        if taken.missing {
            return Ok(());
        }
        taken.instead.iter_mut().try_for_each(|tree| self.take(tree, None))
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
