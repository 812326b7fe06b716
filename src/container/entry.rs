//! How init comes into its cgroup. It is decided once, as soon as that is there which must be there
//! before init is made, and from then on `match`ed.

use super::context::{CreateContext, Way};
use crate::cgroup::Cgroup;
use crate::error::{At, Result};
use crate::store::{Dir, Record};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// The way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// systemd makes the cgroup around init, as a unit.
    Systemd,
    /// clone3(2) with `CLONE_INTO_CGROUP`; into the hierarchies of v1 beside it, if there are
    /// any, init goes by their `tasks` files.
    Clone {
        /// Whether the directories of v1 are made while init makes its namespaces.
        deferred: bool,
    },
    /// By the `tasks` files of v1 alone: there is no hierarchy of v2, or no cgroup.
    TasksFiles {
        /// As above.
        deferred: bool,
    },
    /// We write init's pid to `cgroup.procs`: no process may be cloned into that cgroup.
    Moved,
}

impl Entry {
    /// Whether init waits until it is moved.
    pub fn is_from_outside(self) -> bool {
        matches!(self, Self::Systemd | Self::Moved)
    }

    /// Whether directories of v1 are still to be made when init exists: they cost as much
    /// as a network namespace, so both are made at the same time.
    pub fn is_deferred(self) -> bool {
        matches!(self, Self::Clone { deferred: true } | Self::TasksFiles { deferred: true })
    }

    /// The cgroup that init is cloned into, if it is.
    pub fn initial_cgroup(self, cgroup: &Cgroup) -> Result<Option<BorrowedFd<'_>>> {
        if matches!(self, Self::Clone { .. }) { cgroup.dir() } else { Ok(None) }
    }
}

impl CreateContext<'_> {
    /// Makes what must be there when init is made, and decides how it comes in. What was made
    /// is on record, also after an error.
    pub fn prepare_cgroup(&self, dir: &Dir, record: &mut Record) -> Result<Entry> {
        // systemd wants a process to make the cgroup around, so there it comes later.
        if record.cgroup.is_unit() {
            return Ok(Entry::Systemd);
        }
        if self.may_defer(record) {
            make(dir, record, Cgroup::create_initial)?;
        }
        // Perhaps not any more, by what has just been found.
        let deferred = self.may_defer(record);
        if !deferred {
            self.make_cgroup(dir, record)?;
        }
        Ok(match record.cgroup.dir()? {
            None => Entry::TasksFiles { deferred },
            Some(_) if self.may_be_cloned_into(record) => Entry::Clone { deferred },
            Some(_) => Entry::Moved,
        })
    }

    /// Makes the cgroup, and writes its limits.
    pub fn make_cgroup(&self, dir: &Dir, record: &mut Record) -> Result<()> {
        make(dir, record, Cgroup::create_noted)?;
        self.limit(&record.cgroup)
    }

    /// Moves init in, where it did not come in by itself.
    pub fn move_in(&self, entry: Entry, dir: &Dir, record: &mut Record, pid: i32) -> Result<()> {
        match entry {
            Entry::Systemd => {
                record.cgroup.start_unit(pid)?;
                self.limit(&record.cgroup)?;
                dir.save(record)
            }
            Entry::Moved => record.cgroup.attach(pid),
            Entry::Clone { .. } | Entry::TasksFiles { .. } => Ok(()),
        }
    }

    /// A rootless caller may get only some of the hierarchies, and must know first.
    fn may_defer(&self, record: &Record) -> bool {
        record.cgroup.has_v1() && !self.rootless && self.may_be_cloned_into(record)
    }

    /// With a limit of 0 tasks clone3(2) fails, but a process can still be moved in.
    fn may_be_cloned_into(&self, record: &Record) -> bool {
        let tasks = self.plan.resources.pids.as_ref().and_then(|pids| pids.limit);
        tasks != Some(0) && self.way != Way::Moved && !record.cgroup.was_there()
    }

    fn limit(&self, cgroup: &Cgroup) -> Result<()> {
        cgroup.apply(&self.writes)?;
        self.delegate(cgroup)
    }

    /// The spec only allows this, so without root's privileges a refusal is no error:
    /// not every user may give a directory away, even to an id of their own.
    fn delegate(&self, cgroup: &Cgroup) -> Result<()> {
        let Some(uid) = self.plan.cgroup_owner else { return Ok(()) };
        match cgroup.delegate(uid) {
            Err(error) if self.rootless && error.errno() == Some(Errno::PERM) => {
                self.runtime.log.debug(|| format!("linux.cgroupsPath: not delegated: {error}"));
                Ok(())
            }
            done => done.at(|| "linux.cgroupsPath"),
        }
    }
}

/// What else has to be made for it is on record before it is made.
fn make(dir: &Dir, record: &mut Record, make: fn(&mut Cgroup) -> Result<bool>) -> Result<()> {
    while !make(&mut record.cgroup)? {
        dir.save(record)?;
    }
    Ok(())
}
