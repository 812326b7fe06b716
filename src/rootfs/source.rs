//! What each mount is made from, and who takes that, when: one value for each mount.

use rustix::fd::OwnedFd;
use std::ffi::CString;

/// A detached tree.
#[derive(Debug)]
pub(super) struct Tree {
    pub fd: OwnedFd,
    /// Its changes wait until it is attached (Linux before 5.12).
    pub unchanged: bool,
}

/// What a mount is made from.
#[derive(Debug, Default)]
pub(super) enum Source {
    /// Nothing that is there: a new file system, or a change of a mount.
    #[default]
    Nothing,
    /// A copy of the mounts at the source of a bind mount.
    Tree(Tree, Flags),
    /// The target of a symbolic link that is to be copied.
    Symlink(CString),
    /// A path of the host that only the child can take, in its own mount namespace: an
    /// unprivileged caller may make mounts only there, and systemd makes the cgroup around it.
    Path,
    /// One that the child takes in the order of the mounts, where the runtime is: see [`super::host`].
    Host,
    /// This path in the container, in the order of the mounts: see [`super::inside`].
    Inside(String),
    /// What is bound where the kernel refuses the mount itself: /sys for a sysfs, on v2 the
    /// container's own cgroup.
    Fallback(OwnedFd),
    /// The container's cgroups of v1, in the view's order. The parent sends them once made.
    Sent(Vec<OwnedFd>),
}

/// What becomes of the attributes that the source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flags {
    /// None stays but what the options name.
    Exact,
    /// Those stay that no option clears.
    Kept,
    /// All stay.
    Guarded,
}
