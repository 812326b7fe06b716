//! From where the child sees the host. A new mount namespace is a copy of the one that its
//! maker is in. So who makes it, and where, decides what is seen in it, what it costs, and which
//! attributes of mounts are locked. `container/spawn.rs` decides, and gives the reasons.

use super::Ground;
use super::minimal::Minimal;
use super::sources::Sources;
use crate::error::Result;
use crate::plan::Rootfs;
use std::path::Path;

/// What init sees of the host's mounts until the container's tree is built.
#[derive(Debug)]
pub enum View {
    /// All of them, in the runtime's own mount namespace: the container is a chroot.
    Host,
    /// Those of a mount namespace that is joined.
    Joined,
    /// All of them: clone3(2) makes a copy with init.
    Copy,
    /// None: init enters a minimal mount namespace.
    Minimal(Minimal),
    /// The container's own trees, which a process between lays out in a minimal mount namespace,
    /// or else in a copy of the host's. Init copies that, so their attributes are locked.
    Laid(Option<Minimal>),
}

impl View {
    /// In the process that makes init: lays out the trees, if that is to be. `aside` is a
    /// directory that nobody looks for in there.
    pub fn lay(&mut self, sources: &mut Sources, plan: &Rootfs, aside: &Path) -> Result<()> {
        match self {
            Self::Laid(minimal) => sources.lay(plan, minimal.take(), aside),
            Self::Host | Self::Joined | Self::Copy | Self::Minimal(_) => Ok(()),
        }
    }

    /// In init: enters what was not made, or joined, with it.
    pub fn enter(self, sources: &mut Sources) -> Result<Ground> {
        match self {
            Self::Host | Self::Joined => Ok(Ground::Shared),
            Self::Copy => Ok(Ground::Copy),
            Self::Minimal(minimal) => minimal.enter(),
            Self::Laid(_) => sources.enter_laid(),
        }
    }
}
