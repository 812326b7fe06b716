//! The container's cgroup, through the file system.
//!
//! The story of one container:
//! 1. [`Cgroup::locate`] looks which version the host runs and decides the
//!    directories; [`Cgroup::writes`] turns `linux.resources` into a list of
//!    writes. Neither changes anything.
//! 2. [`Cgroup::create`] makes the directories and remembers which; on failure
//!    it takes them away again. [`Cgroup::apply`] carries out the writes, with
//!    the device rules (a list on v1, an eBPF program on v2) among them.
//! 3. On v2 the process is cloned into it (clone3 with [`Cgroup::dir`] and
//!    CLONE_INTO_CGROUP); on v1 it enters by itself through [`Cgroup::tasks_files`], so
//!    there it can make its namespaces meanwhile.
//! 4. The value is kept in the container's record: it is all that pausing,
//!    updating, killing and removing need, from any later process.
//!
//! A host runs v2 alone, or v1: one hierarchy a controller, and mostly a named
//! one for systemd and the unified one beside them ("hybrid"). A container joins
//! every hierarchy that the caller is in. All of it comes down to [`Node`]: one
//! directory in one hierarchy.

mod apply;
mod change;
mod controllers;
mod create;
mod devices;
mod freeze;
mod kill;
mod locate;
mod node;
mod oom;
mod owner;
mod procs;
mod remove;
mod resources;
mod stats;
mod systemd;
mod v1;
mod v2;
mod walk;
mod write;

/// For hack/fuzz: what reads the words of others.
#[cfg(fuzzing)]
pub mod fuzz {
    pub use super::stats::fuzz as files;
    pub use super::systemd::{annotation, replies};
}

pub use devices::{Devices, Exception, Kind, Policy, Rule};
pub use devices::{policy, program, rules};
pub use freeze::is_frozen;
pub use locate::{CgroupMount, SubPath};
pub use node::Node;
pub use oom::OomWatch;
pub use resources::{Home, writes};
pub use write::{File, IfAbsent, When, Write};

use crate::error::{Error, Result};
use crate::plan::Findings;
use crate::spec::Resources;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a container has no cgroup, and what helps.
const DENIED: &str = "its caller may not make cgroups; \
    ordinary users may on cgroup v2, below what systemd's Delegate= gives them";

/// The container's place in the host's cgroups.
#[derive(Debug, Serialize, Deserialize)]
pub enum Cgroup {
    /// One directory in each of several hierarchies.
    V1(Hierarchies),
    /// One directory.
    V2(Unified),
}

/// cgroup v1, with or without the unified hierarchy beside it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hierarchies {
    /// All of one path. In a record it stands there once, as a list of containers
    /// reads many of them.
    #[serde(with = "node::list")]
    nodes: Vec<Node>,
    rules: Rules,
    /// By which it is known as the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<owner::Mark>,
}

/// cgroup v2.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unified {
    node: Node,
    /// Whether there is one. Without cgroupsPath an unprivileged caller may go on without.
    exists: bool,
    rules: Rules,
    /// The unit of systemd that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<systemd::Unit>,
    /// By which it is known as the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<owner::Mark>,
}

/// What an unprivileged caller may be forgiven.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Rules {
    /// The caller has no power over devices, and the kernel keeps them from it.
    rootless: bool,
    /// Nobody named a path, so no one is surprised if there is no cgroup.
    default_path: bool,
}

impl Cgroup {
    /// Decides version and paths. `path` is `linux.cgroupsPath`; without one it
    /// is `/<id>`. Absolute or relative, it lies below the root of each
    /// hierarchy, but for a relative or default path of a rootless caller on v2:
    /// that lies beside the caller's own cgroup, as a user owns nothing else.
    /// Reads `/proc/self/cgroup` and asks each hierarchy for its type, no more;
    /// the mount table is read only on a host with unusual mount points.
    pub fn locate(path: Option<&str>, id: &str, rootless: bool) -> Result<Self> {
        locate::locate(path, id, rootless)
    }

    /// The same with the systemd driver: `path` is `slice:prefix:name`, and the
    /// unit has the properties that follow from `resources` and `annotations`.
    /// A rootless caller's is a unit of its own systemd.
    pub fn locate_unit(
        path: Option<&str>,
        id: &str,
        rootless: bool,
        resources: &Resources,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self> {
        locate::locate_unit(path, id, rootless, resources, annotations)
    }

    /// Whether systemd can be asked for a cgroup with these limits, the host's or
    /// a user's own, wherever there is one.
    pub fn has_unit(resources: &Resources, user: bool) -> bool {
        systemd::locate(None, "x", user, resources, &BTreeMap::new()).is_ok()
    }

    /// Whether systemd makes the cgroup, around a process that is there.
    pub fn is_unit(&self) -> bool {
        matches!(self, Self::V2(Unified { unit: Some(_), .. }))
    }

    /// From here on systemd may have been asked for the unit, which is known by the container's own
    /// directory, `dir`.
    pub fn name_unit(&mut self, dir: &Path) {
        if let Self::V2(Unified { unit: Some(unit), .. }) = self {
            unit.be_known(dir);
        }
    }

    /// Lets systemd make the cgroup around a process. [`Cgroup::name_unit`] comes before, and the
    /// record must be saved between the two, and after.
    pub fn start_unit(&mut self, pid: i32) -> Result<()> {
        if let Self::V2(Unified { unit: Some(unit), node, .. }) = self {
            node.path = unit.start(pid, node)?;
            node.ours = true;
        }
        owner::mark(self)?;
        self.must_run()
    }

    /// Changes the properties of the unit, if systemd has the cgroup.
    pub fn update_unit(&self, resources: &Resources) -> Result<()> {
        match self {
            Self::V2(Unified { unit: Some(unit), .. }) => unit.change(resources),
            _ => Ok(()),
        }
    }

    /// What a new container's resources mean here.
    pub fn writes(&self, resources: &Resources, findings: &mut Findings) -> Vec<Write> {
        let home = |controller: &str| self.home(controller);
        resources::writes(resources, &home, When::Create, findings)
    }

    /// What changed resources mean here: device rules are touched only if some
    /// are named, and a period keeps the quota that it meets.
    pub fn updates(&self, resources: &Resources) -> Result<Vec<Write>> {
        let mut findings = Findings::default();
        let home = |controller: &str| self.home(controller);
        let writes = resources::writes(resources, &home, When::Update, &mut findings);
        findings.check(writes)
    }

    /// Where a controller lives on this host. On v2 every one is taken to be
    /// there: a missing one shows when its file is written. On v1 a hierarchy that the
    /// container has nothing in is looked for once more.
    pub fn home(&self, controller: &str) -> Home {
        match self {
            Self::V2(_) => Home::V2,
            Self::V1(v1) => match v1.nodes.iter().find(|node| node.has(controller)) {
                Some(node) if node.unified() => Home::V2,
                Some(_) => Home::V1,
                None if !v1.rules.rootless => Home::NotSupported,
                None => match Self::locate(Some("x"), "x", false).map(|host| host.home(controller))
                {
                    Ok(Home::NotSupported) | Err(_) => Home::NotSupported,
                    Ok(_) => Home::Denied,
                },
            },
        }
    }

    /// The word by which the cgroup is known as the container's, once it has become so.
    /// Nobody else may know or have it. `container` is the path of its directory.
    pub fn mark_as(&mut self, word: &str, container: &str) {
        *self.mark_mut() = Some(owner::Mark::new(word, container));
    }

    /// Takes a cgroup that was only planned for the one that the container has, if its
    /// mark says so, or else the one that bears its mark: for a container whose record is
    /// lost. Which of the levels above it were made for it is not known any more.
    pub fn find_again(&mut self, container: &str) -> Result<bool> {
        let node = self.main_node()?;
        let mark = match owner::Mark::find(&node.path(), container)? {
            Some(mark) => mark,
            None => {
                let Some((path, mark)) = owner::search(node, container)? else { return Ok(false) };
                self.move_to(&path);
                mark
            }
        };
        *self.mark_mut() = Some(mark);
        let nodes = match self {
            Self::V1(v1) => v1.nodes.iter_mut(),
            Self::V2(v2) => std::slice::from_mut(&mut v2.node).iter_mut(),
        };
        for node in nodes {
            (node.ours, node.made) = (true, 1);
        }
        Ok(true)
    }

    /// Another place than was planned. A unit has the name of the place that was.
    fn move_to(&mut self, path: &str) {
        match self {
            Self::V1(v1) => v1.nodes.iter_mut().for_each(|node| node.path = path.to_owned()),
            Self::V2(v2) => (v2.node.path, v2.unit) = (path.to_owned(), None),
        }
    }

    /// Whether a cgroup that was only planned is known to be somebody else's.
    pub fn is_anothers(&self) -> Result<bool> {
        owner::is_ours(self).map(|may_be| !may_be)
    }

    /// Whether a directory of it is there, whoever has made it.
    pub fn is_there(&self) -> Result<bool> {
        for node in self.nodes() {
            if node.open()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the container has got a cgroup and nobody has taken that since: after its
    /// end another container may be given the same path.
    pub fn is_held(&self) -> Result<bool> {
        Ok(self.exists() && owner::is_ours(self)?)
    }

    /// As [`Cgroup::is_held`], for who is about to change it.
    pub fn must_be_held(&self) -> Result<()> {
        if !self.exists() || owner::is_ours(self)? {
            return Ok(());
        }
        let path = self.paths().into_iter().next().unwrap_or_default();
        Err(Error::new(format!("cgroup {path} is another container's by now"))
            .at("linux.cgroupsPath")
            .hint("give each container a path of its own"))
    }

    /// Whether a directory of it was there before. It may have been killed once, and then who is
    /// cloned into it dies, too: the kernel compares its `kill_seq` with that of the
    /// parent's cgroup (`cgroup_css_set_fork`, seen on Linux 6.18).
    pub fn was_there(&self) -> bool {
        self.nodes().iter().any(|node| node.ours && (node.made == 0 || node.inherited))
    }

    /// Makes the directory that a process can be cloned into: v2's only one, and that
    /// of the unified hierarchy beside v1. Otherwise as [`Cgroup::create_noted`].
    pub fn create_initial(&mut self) -> Result<bool> {
        let complete = create::create(self, Node::unified)?;
        owner::mark(self).map(|()| complete)
    }

    /// Makes the directories that are not made yet. An existing cgroup is taken
    /// only if it is empty and not frozen (config-linux.md, "Control groups": fit
    /// for purpose). A failure takes away what it has made.
    pub fn create(&mut self) -> Result<()> {
        while !self.create_noted()? {}
        Ok(())
    }

    /// As [`Cgroup::create`], for who keeps a record. False if not all are made yet, as
    /// levels above them are to be made, too: the record must say so first. It is to be
    /// saved then, and this to be repeated.
    pub fn create_noted(&mut self) -> Result<bool> {
        let complete = create::create(self, |_| true)?;
        owner::mark(self).map(|()| complete)
    }

    /// Hands the cgroup over to a user of the host (v2 only; the spec's rules
    /// for when are the caller's matter): the directory and the files that
    /// `/sys/kernel/cgroup/delegate` lists.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        create::delegate(self, uid)
    }

    /// The directory in the unified hierarchy, for CLONE_INTO_CGROUP.
    pub fn dir(&self) -> Result<Option<BorrowedFd<'_>>> {
        self.nodes().iter().find(|node| node.unified()).map(Node::dir).transpose()
    }

    /// v1: the `tasks` file of each hierarchy. A new process enters by writing `0` to it.
    pub fn tasks_files(&self) -> Vec<String> {
        procs::tasks_files(self)
    }

    /// Whether it has directories in hierarchies of v1, and so `tasks` files.
    pub fn has_v1(&self) -> bool {
        self.nodes().iter().any(|node| !node.unified())
    }

    /// The same, opened: for a process that could not open them.
    pub fn open_tasks_files(&self) -> Result<Vec<OwnedFd>> {
        procs::open_tasks_files(self)
    }

    /// Moves a process in, in every hierarchy.
    pub fn attach(&self, pid: i32) -> Result<()> {
        procs::attach(self, pid, &[])
    }

    /// Moves a process into cgroups below the container's (`exec --cgroup`).
    /// They must exist.
    pub fn attach_below(&self, pid: i32, below: &[SubPath]) -> Result<()> {
        procs::attach(self, pid, below)
    }

    /// Moves a process to where the container's init is: for `exec` if the
    /// container runs its own cgroups below (v2 then refuses processes in the
    /// upper one with EBUSY).
    pub fn attach_beside(&self, pid: i32, init: i32) -> Result<()> {
        procs::attach_beside(self, pid, init)
    }

    /// Carries out what [`Cgroup::writes`] or [`Cgroup::updates`] computed.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        apply::apply(self, writes)
    }

    /// As [`Cgroup::apply`] for a cgroup in use: a failure puts back what stood
    /// there. `devices` are the writes that restore the device rules. Returns
    /// what undoes the change, for [`Cgroup::undo_change`].
    pub fn change(&self, writes: &[Write], devices: &[Write]) -> Result<Vec<Write>> {
        change::change(self, writes, devices)
    }

    /// Undoes a change because of a later failure; returns that, with what
    /// could not be undone.
    pub fn undo_change(&self, undo: &[Write], error: Error) -> Error {
        change::take_back(self, undo, error)
    }

    /// Stops all processes, and returns once they stand still. A failure leaves
    /// them running.
    pub fn freeze(&self) -> Result<()> {
        freeze::freeze(self)
    }

    /// Lets them run on.
    pub fn thaw(&self) -> Result<()> {
        freeze::thaw(self)
    }

    /// Fails if a cgroup above is frozen: all processes in this one stand still then,
    /// whatever it says itself.
    pub fn must_run(&self) -> Result<()> {
        self.nodes().iter().try_for_each(freeze::must_run)
    }

    /// Lets processes that were sent SIGKILL run to their end: on v1 nothing frozen
    /// can die, not even what a container has frozen below its own cgroup.
    pub fn thaw_dying(&self) -> Result<()> {
        freeze::thaw_dying(self)
    }

    /// Whether they stand still, or are asked to.
    pub fn is_frozen(&self) -> Result<bool> {
        self.freezer().map_or(Ok(false), |file| is_frozen(&file))
    }

    /// The file for [`is_frozen`]; none where nothing can be frozen.
    pub fn freezer(&self) -> Option<String> {
        freeze::file(self)
    }

    /// All processes, in cgroups below too.
    pub fn pids(&self) -> Result<Vec<i32>> {
        procs::pids(self)
    }

    /// Sends a signal to all processes, also to those forked meanwhile. SIGKILL
    /// thaws what is frozen, as nothing frozen can die on v1.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        kill::kill(self, signal)
    }

    /// What the controllers have counted, as the `data` of runc's `events`.
    pub fn stats(&self) -> Result<String> {
        stats::stats(self)
    }

    /// Tells of processes that are killed for lack of memory; none if there is
    /// no memory cgroup.
    pub fn watch_oom(&self) -> Result<Option<OomWatch<'_>>> {
        oom::watch(self)
    }

    /// Removes the cgroup with those below it, and the directories above it that
    /// [`Cgroup::create`] made and that nobody else uses. Processes that are
    /// dying are waited for. What is gone already is fine. Of one that has not
    /// become the container's only what is empty goes: a create that was killed
    /// may have made it, or it is another's.
    pub fn remove(&self) -> Result<()> {
        remove::remove(self)
    }

    /// For a container that has lost its cgroup to another one, perhaps `just_now`, while it
    /// was made: what was made for it goes with that one.
    pub fn let_go(&self, just_now: bool) -> Result<()> {
        remove::let_go(self, just_now)
    }

    /// As [`Cgroup::remove`] for a create that failed: what is not the container's
    /// stays as it is.
    pub fn take_back(&self) -> Result<()> {
        remove::remove_ours(self)?;
        remove::end_unheard_unit(self)
    }

    /// The directory in which a controller's files are.
    pub fn path_for(&self, controller: &str) -> Option<PathBuf> {
        self.nodes().iter().find(|node| node.has(controller)).map(|node| node.path().into())
    }

    /// What a mount of type `cgroup` in the container needs.
    pub fn mounts(&self) -> Vec<CgroupMount> {
        self.nodes().iter().map(locate::mount_of).collect()
    }

    /// The directories, one for each hierarchy.
    pub fn paths(&self) -> Vec<String> {
        self.nodes().iter().map(Node::path).collect()
    }

    /// Whether the container has got a cgroup, in every hierarchy.
    pub fn exists(&self) -> bool {
        !self.nodes().is_empty() && self.nodes().iter().all(|node| node.ours)
    }

    /// The directories that are in use.
    fn nodes(&self) -> &[Node] {
        match self {
            Self::V1(v1) => &v1.nodes,
            Self::V2(v2) if v2.exists => std::slice::from_ref(&v2.node),
            Self::V2(_) => &[],
        }
    }

    fn mark_ref(&self) -> Option<&owner::Mark> {
        match self {
            Self::V1(v1) => v1.mark.as_ref(),
            Self::V2(v2) => v2.mark.as_ref(),
        }
    }

    fn mark_mut(&mut self) -> &mut Option<owner::Mark> {
        match self {
            Self::V1(v1) => &mut v1.mark,
            Self::V2(v2) => &mut v2.mark,
        }
    }

    fn rules(&self) -> Rules {
        match self {
            Self::V1(v1) => v1.rules,
            Self::V2(v2) => v2.rules,
        }
    }

    /// The directory to list processes in.
    fn main_node(&self) -> Result<&Node> {
        let nodes = self.nodes();
        ["freezer", "pids", "memory"]
            .iter()
            .find_map(|controller| nodes.iter().find(|node| node.has(controller)))
            .or(nodes.first())
            .ok_or_else(|| Error::new("the container has no cgroup").hint(DENIED))
    }
}
