//! The options of `mounts[].options`: one table, read by the planner and by the
//! `features` command. Source: runtime-spec 1.3 config.md, "Linux mount
//! options", `mount(8)` and `mount_setattr(2)`.

use crate::sys::mount::{
    ATIME_FIELD, Attributes, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY,
    STRICTATIME,
};

/// Whether an option concerns the mount alone or all mounts below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount itself.
    One,
    /// `AT_RECURSIVE`: the mount and all below it.
    All,
}

/// A propagation type (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`.
    pub flag: u64,
    /// How far it reaches.
    pub reach: Reach,
}

/// `MS_SHARED`
pub const SHARED: u64 = 1 << 20;
/// `MS_SLAVE`
pub const SLAVE: u64 = 1 << 19;
/// `MS_PRIVATE`
pub const PRIVATE: u64 = 1 << 18;
/// `MS_UNBINDABLE`
pub const UNBINDABLE: u64 = 1 << 17;

/// A flag of the superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Super {
    /// `MS_SYNCHRONOUS`
    Sync,
    /// `MS_DIRSYNC`
    DirSync,
    /// `MS_MANDLOCK`
    Mand,
    /// `MS_LAZYTIME`
    LazyTime,
    /// `MS_I_VERSION`
    IVersion,
    /// `MS_SILENT`
    Silent,
}

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `defaults`
    Nothing,
    /// Sets an attribute of the mount.
    Set(u64, Reach),
    /// Clears an attribute of the mount.
    Clear(u64, Reach),
    /// Chooses how access times are kept.
    Atime(u64, Reach),
    /// Undoes that choice: back to the kernel's default, relatime.
    NotAtime(u64, Reach),
    /// Sets or clears a flag of the superblock.
    Super(Super, bool),
    /// A bind mount.
    Bind(Reach),
    /// Changes an existing mount.
    Remount,
    /// Sets the propagation type.
    Propagate(Propagation),
    /// An id-mapped mount.
    IdMap(Reach),
    /// A tmpfs that begins with what lay at its mount point.
    TmpCopyUp,
    /// A source that is a symbolic link is copied as one (crun).
    CopySymlink,
    /// The source is not followed if it is a symbolic link (crun).
    SourceNoFollow,
    /// The destination is not followed if it is a symbolic link (crun).
    DestinationNoFollow,
}

use Effect::{
    Atime, Bind, Clear, CopySymlink, DestinationNoFollow, IdMap, NotAtime, Nothing, Propagate,
    Remount, Set, SourceNoFollow, TmpCopyUp,
};
use Reach::{All, One};

/// The kernel's default mode of access times is the empty value of its field.
const RELATIME: u64 = 0;

const fn propagate(flag: u64, reach: Reach) -> Effect {
    Propagate(Propagation { flag, reach })
}

/// Every option that is not passed on to the file system, in order of name.
pub const OPTIONS: &[(&str, Effect)] = &[
    ("async", Effect::Super(Super::Sync, false)),
    ("atime", NotAtime(NOATIME, One)),
    ("bind", Bind(One)),
    ("copy-symlink", CopySymlink),
    ("defaults", Nothing),
    ("dest-nofollow", DestinationNoFollow),
    ("dev", Clear(NODEV, One)),
    ("diratime", Clear(NODIRATIME, One)),
    ("dirsync", Effect::Super(Super::DirSync, true)),
    ("exec", Clear(NOEXEC, One)),
    ("idmap", IdMap(One)),
    ("iversion", Effect::Super(Super::IVersion, true)),
    ("lazytime", Effect::Super(Super::LazyTime, true)),
    ("loud", Effect::Super(Super::Silent, false)),
    ("mand", Effect::Super(Super::Mand, true)),
    ("noatime", Atime(NOATIME, One)),
    ("nodev", Set(NODEV, One)),
    ("nodiratime", Set(NODIRATIME, One)),
    ("noexec", Set(NOEXEC, One)),
    ("noiversion", Effect::Super(Super::IVersion, false)),
    ("nolazytime", Effect::Super(Super::LazyTime, false)),
    ("nomand", Effect::Super(Super::Mand, false)),
    ("norelatime", NotAtime(RELATIME, One)),
    ("nostrictatime", NotAtime(STRICTATIME, One)),
    ("nosuid", Set(NOSUID, One)),
    ("nosymfollow", Set(NOSYMFOLLOW, One)),
    ("private", propagate(PRIVATE, One)),
    ("ratime", NotAtime(NOATIME, All)),
    ("rbind", Bind(All)),
    ("rdev", Clear(NODEV, All)),
    ("rdiratime", Clear(NODIRATIME, All)),
    ("relatime", Atime(RELATIME, One)),
    ("remount", Remount),
    ("rexec", Clear(NOEXEC, All)),
    ("ridmap", IdMap(All)),
    ("rnoatime", Atime(NOATIME, All)),
    ("rnodev", Set(NODEV, All)),
    ("rnodiratime", Set(NODIRATIME, All)),
    ("rnoexec", Set(NOEXEC, All)),
    ("rnorelatime", NotAtime(RELATIME, All)),
    ("rnostrictatime", NotAtime(STRICTATIME, All)),
    ("rnosuid", Set(NOSUID, All)),
    ("rnosymfollow", Set(NOSYMFOLLOW, All)),
    ("ro", Set(RDONLY, One)),
    ("rprivate", propagate(PRIVATE, All)),
    ("rrelatime", Atime(RELATIME, All)),
    ("rro", Set(RDONLY, All)),
    ("rrw", Clear(RDONLY, All)),
    ("rshared", propagate(SHARED, All)),
    ("rslave", propagate(SLAVE, All)),
    ("rstrictatime", Atime(STRICTATIME, All)),
    ("rsuid", Clear(NOSUID, All)),
    ("rsymfollow", Clear(NOSYMFOLLOW, All)),
    ("runbindable", propagate(UNBINDABLE, All)),
    ("rw", Clear(RDONLY, One)),
    ("shared", propagate(SHARED, One)),
    ("silent", Effect::Super(Super::Silent, true)),
    ("slave", propagate(SLAVE, One)),
    ("src-nofollow", SourceNoFollow),
    ("strictatime", Atime(STRICTATIME, One)),
    ("suid", Clear(NOSUID, One)),
    ("symfollow", Clear(NOSYMFOLLOW, One)),
    ("sync", Effect::Super(Super::Sync, true)),
    ("tmpcopyup", TmpCopyUp),
    ("unbindable", propagate(UNBINDABLE, One)),
];

/// The names of all options, for the `features` command.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name)
}

/// What `name` does; `None` for an option of the file system.
pub fn find(name: &str) -> Option<Effect> {
    let index = OPTIONS.binary_search_by_key(&name, |(known, _)| known).ok()?;
    OPTIONS.get(index).map(|(_, effect)| *effect)
}

/// Attributes gathered from a list of options, in which the last word counts.
/// They are applied as `all` (recursively) and then as `one`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gathered {
    /// For the mount itself.
    pub one: Attributes,
    /// For the mount and all below it.
    pub all: Attributes,
}

impl Gathered {
    /// Sets or clears `bits`, a flag or the whole field of access times.
    pub fn put(&mut self, set: u64, clear: u64, reach: Reach) {
        let touched = set | clear;
        self.one.set &= !touched;
        self.one.clear &= !touched;
        let target = match reach {
            One => &mut self.one,
            All => {
                self.all.set &= !touched;
                self.all.clear &= !touched;
                &mut self.all
            }
        };
        target.set |= set;
        target.clear |= clear;
    }

    /// Chooses a mode of access times.
    pub fn atime(&mut self, mode: u64, reach: Reach) {
        self.put(0, ATIME_FIELD, reach);
        match reach {
            One => self.one.set |= mode,
            All => self.all.set |= mode,
        }
    }

    /// Undoes the choice of `mode`, but not that of another one.
    pub fn not_atime(&mut self, mode: u64, reach: Reach) {
        let current = self.chosen_atime(reach);
        if current.is_none_or(|current| current == mode) {
            self.atime(RELATIME, reach);
        }
    }

    fn chosen_atime(&self, reach: Reach) -> Option<u64> {
        let chosen = |a: Attributes| (a.clear & ATIME_FIELD != 0).then_some(a.set & ATIME_FIELD);
        match reach {
            One => chosen(self.one).or_else(|| chosen(self.all)),
            All => chosen(self.all),
        }
    }

    /// The two as one, for a new file system, which has nothing below it.
    pub fn flat(&self) -> u64 {
        (self.all.set & !self.one.clear) | self.one.set
    }
}
