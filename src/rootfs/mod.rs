//! The tree that the container sees. Four steps, in the order of the kernel:
//!
//! 1. [`open`], in the parent before clone: everything that needs the host's
//!    view or its privileges becomes a detached tree, held by a descriptor.
//! 2. [`build()`], in the child, in the mount namespace that its [`View`] leads to: the trees
//!    are attached and file systems made, each on a descriptor found inside the root.
//!    `createContainer` hooks run after it.
//! 3. [`enter`]: `pivot_root(2)`. From here the host's tree is gone.
//! 4. [`finish()`]: console, read-only and masked paths, read-only root.
//!
//! What lies in the root is not trusted, and neither is its /proc.

mod bind;
mod build;
mod cgroup;
mod copy;
mod detach;
mod devices;
mod filesystem;
mod finish;
mod held;
mod host;
mod idmap;
mod inside;
mod locks;
mod look;
mod mask;
mod minimal;
mod mount;
mod nodes;
mod nofile;
mod overlay;
mod pivot;
mod root;
mod source;
mod sources;
mod target;
mod view;

pub use build::build;
pub use detach::detach;
pub use finish::finish;
pub use look::look;
pub use minimal::Minimal;
pub use nofile::RaisedNofile;
pub use pivot::enter;
pub use root::Root;
pub use sources::{Sources, cgroup_trees, open};
pub use view::View;

use crate::plan::rootfs::CgroupView;
use rustix::fd::BorrowedFd;

/// What the tree depends on beyond the bundle.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// Where the container's cgroup is; `None` hides the cgroups.
    pub cgroup: Option<&'a CgroupView>,
    /// Whether the container has a cgroup namespace of its own, new or joined.
    pub cgroup_namespace: bool,
    /// The user namespace that the container joins by path, if it does.
    pub joined_user_namespace: Option<BorrowedFd<'a>>,
    /// The host's procfs. Without it every source of a bind mount is taken before the
    /// child exists.
    pub proc: Option<BorrowedFd<'a>>,
}

/// What the child sees where it builds the tree: see [`View::enter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Mounts that others see, too.
    Shared,
    /// A copy of the host's: the root is attached at its own path, where hooks look for it.
    Copy,
    /// Nothing of the host: the root is attached at `/`.
    Minimal,
}
