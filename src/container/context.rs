//! What `create` is asked for, and everything that it decides before the first thing is made.

use super::process::Outside;
use super::{Bundle, Runtime, Wiring};
use crate::cgroup::Write;
use crate::namespaces::Join;
use crate::net::devices::Found;
use crate::plan::Plan;
use crate::plan::overlay::Wish;
use crate::resctrl::Groups;
use crate::security::seccomp::Filter;
use std::ffi::CString;
use std::path::PathBuf;

/// The command line of `create` and `run`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Container id.
    pub id: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// The configuration, if it is not the bundle's own.
    pub config: Option<PathBuf>,
    /// Who receives the terminal.
    pub console_socket: Option<PathBuf>,
    /// Where the pid goes.
    pub pid_file: Option<PathBuf>,
    /// Who receives a pidfd of init.
    pub pidfd_socket: Option<PathBuf>,
    /// Change the root without `pivot_root(2)`.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many fds from 3 on are passed on.
    pub preserve_fds: u32,
    /// Variables beyond `process.env`.
    pub extra_env: Vec<CString>,
    /// Whether our own process will start the container and stay with it.
    pub starts_itself: bool,
    /// Whether the terminal, if any, is relayed by our own process.
    pub relays_terminal: bool,
    /// What is asked of its network.
    pub wiring: Wiring,
    /// The overlay that is asked for.
    pub overlay: Option<Wish>,
}

/// Which attempt it is. What the kernel has refused in the usual way it may grant in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Usual,
    /// Init is moved into its cgroup, though it could be cloned into it.
    Moved,
    /// It sees a copy of the host's mounts, though it could do without.
    Copied,
}

/// Everything that is decided.
pub(super) struct CreateContext<'a> {
    pub runtime: &'a Runtime,
    pub settings: &'a Settings,
    pub rootless: bool,
    pub way: Way,
    pub bundle: Bundle,
    pub plan: Plan,
    pub filter: Option<Filter>,
    pub join: Join,
    /// Limits, which hold before init is in its cgroup, where that is there before init.
    pub writes: Vec<Write>,
    /// The device program, where what init makes needs no permission of it: then it comes while
    /// init makes its tree, before all hooks and programs of the container.
    pub program: Vec<Write>,
    pub devices: Found,
    /// What is to be made of it; kept in the record from then on.
    pub rdt: Option<Groups>,
}

impl CreateContext<'_> {
    /// What only the runtime may do for init.
    pub fn outside<'a>(&'a self, rdt: Option<&'a Groups>) -> Outside<'a> {
        let process = self.plan.process.as_ref();
        Outside { process, groups: rdt, rootless: self.rootless, forks: false }
    }
}
