//! The host's mounts with their attributes locked, for a container in a user namespace.
//!
//! Whoever has `CAP_SYS_ADMIN` in the user namespace that owns a mount namespace may change
//! the mounts there: a read-only one of the host could become writable. The kernel locks
//! attributes, and what is mounted below, where a mount namespace of another owner is copied
//! (`mount_namespaces(7)`, "Restrictions on mount namespaces"), and only there: a tree that
//! is taken by the runtime and attached inside is not locked. So the trees are laid on a tmpfs
//! in a mount namespace of the runtime's own, which the new process copies.

use super::bare::Bare;
use super::bind::Source;
use super::host::{enter_copy, go_back, make_slave, way_back};
use super::mount;
use super::sources::{Sources, Taken};
use crate::error::{At, Context as _, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::{FileSystem, Kind, Mount};
use crate::plan::namespaces;
use crate::plan::options::{PRIVATE, UNBINDABLE};
use crate::sys::mount::{Change, mount_setattr};
use crate::sys::namespace::WayBack;
use crate::sys::process::unshare;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use rustix::io::Errno;
use rustix::process::{chroot, fchdir};
use std::path::Path;

/// File systems of which a user namespace gets a new one only where a whole one is to be
/// seen (mount_too_revealing in fs/namespace.c).
const SHOWN: [(&str, &str); 2] = [("proc", "/proc"), ("sysfs", "/sys")];

/// Where the trees lie, as the new process sees it.
#[derive(Debug)]
pub(super) struct Locks(OwnedFd);

impl Sources {
    /// Lays the trees out in a mount namespace for the new process to copy, if the container's
    /// user namespace is another than ours. We are in there afterwards, until we take the way
    /// back. With `bare` nothing else of the host is in there.
    ///
    /// # Errors
    /// Those of unshare(2), setns(2) and move_mount(2). We are where we were then.
    pub fn lay(
        &mut self,
        plan: &Rootfs,
        bare: Option<Bare>,
        proc: BorrowedFd<'_>,
    ) -> Result<Option<WayBack>> {
        if !(plan.user_namespace && plan.mount_namespace) || self.rootfs.is_none() {
            return Ok(None);
        }
        let way = way_back(proc)?;
        match self.lay_here(plan, bare) {
            Ok(()) => Ok(Some(way)),
            Err(error) => Err(error.and(go_back(&way))),
        }
    }

    fn lay_here(&mut self, plan: &Rootfs, bare: Option<Bare>) -> Result<()> {
        let mut shown = Vec::new();
        self.is_bare = bare.is_some();
        if let Some(bare) = bare {
            for (_, path) in SHOWN.iter().filter(|(kind, _)| mounts(plan, kind)) {
                match mount::clone_path(Path::new(path), true, false) {
                    Err(Errno::NOENT) => {}
                    tree => shown.push(tree.call(|| format!("open_tree {path}"))?),
                }
            }
            self.is_bare = bare.enter()?;
            make_slave()?;
        } else {
            enter_copy()?;
        }
        let fs = FileSystem {
            kind: "tmpfs".into(),
            // Ids of the container look for the trees.
            data: vec![("mode".into(), Some("0711".into()))],
            ..FileSystem::default()
        };
        let tmpfs = mount::new(&fs, 0, None)?;
        // The container's root will lie on it.
        let place = if self.is_bare { Path::new("/") } else { plan.path.as_path() };
        mount::attach_at(tmpfs.as_fd(), place).call(|| "move_mount of a tmpfs".into())?;
        for tree in self.trees().chain(&shown) {
            lay_one(tree.as_fd(), tmpfs.as_fd()).at(|| "a tree of the host".into())?;
        }
        // Whose root is not the namespace's makes no user namespace.
        fchdir(&tmpfs).call(|| "fchdir".into())?;
        if self.is_bare { chroot(".").call(|| "chroot".into()) } else { Ok(()) }
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

    /// In the new process: copies the mount namespace where the trees were laid. Whether
    /// nothing else of the host is in there.
    ///
    /// # Errors
    /// Those of unshare(2).
    pub fn enter_laid(&mut self) -> Result<bool> {
        unshare(namespaces::Kind::Mount.flag())
            .call(|| "linux.namespaces: unshare the mount namespace".into())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let here = openat(CWD, ".", flags, Mode::empty()).call(|| "open .".into())?;
        self.locks = Some(Locks(here));
        Ok(self.is_bare)
    }
}

impl Locks {
    /// Takes the root and the devices, in place of what was laid.
    pub fn take_early(&self, sources: &mut Sources) -> Result<()> {
        if let Some(tree) = &mut sources.rootfs {
            self.take(&mut tree.fd, false).at(|| "root.path".into())?;
        }
        sources.devices.iter_mut().flatten().try_for_each(|tree| self.take(tree, false))
    }

    /// Takes what a mount is made of, in its turn: mounts are listed in the order in which
    /// they came into being.
    pub fn take_for(&self, mount: &Mount, taken: &mut Taken) -> Result<()> {
        if let Some(Source::Tree(tree, _)) = &mut taken.bind {
            let unbindable = mount.propagation.iter().any(|one| one.flag == UNBINDABLE);
            self.take(&mut tree.fd, unbindable)?;
        }
        if taken.missing {
            return Ok(());
        }
        taken.instead.iter_mut().try_for_each(|tree| self.take(tree, false))
    }

    /// A copy of the tree that was laid, with all that is locked.
    fn take(&self, tree: &mut OwnedFd, unbindable: bool) -> Result<()> {
        let name = tree.as_raw_fd().to_string();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let laid = openat(&self.0, &name, flags, Mode::empty()).call(|| "open a tree".into())?;
        if unbindable {
            // Or there is no copy. It becomes so again once it is attached.
            let change = Change { propagation: PRIVATE, recursive: true, ..Change::default() };
            mount_setattr(laid.as_fd(), &change).call(|| mount::describe(&change))?;
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

fn mounts(plan: &Rootfs, kind: &str) -> bool {
    plan.mounts.iter().any(|one| matches!(&one.kind, Kind::FileSystem(fs) if fs.kind == kind))
}
