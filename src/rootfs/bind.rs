//! Sources of bind mounts as detached trees, with all their attributes.

use super::mount;
use super::root::{Links, Root};
use super::source::{Flags, Source, Tree};
use crate::error::{Context, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::{Bind, Mount};
use crate::plan::options::{Gathered, PRIVATE, Reach, SHARED, SLAVE, UNBINDABLE};
use crate::sys::mount::{
    ATIME_FIELD, Attributes, Change, NODEV, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, mount_setattr,
};
use crate::sys::seccomp::may_deny;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FsWord, PROC_SUPER_MAGIC, fstat, fstatfs, readlinkat};
use rustix::io::Errno;

/// What [`Flags::Exact`] clears, as mount(2) does with `MS_REMOUNT`: access times are kept.
const CLEARED: u64 = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;

/// Inode number of the root of every procfs.
const PROC_ROOT_INO: u64 = 1;

/// Opens the source of `mount`.
pub(super) fn open(
    plan: &Rootfs,
    mount: &Mount,
    bind: &Bind,
    idmap: Option<BorrowedFd<'_>>,
) -> Result<Source> {
    if bind.copy_symlink {
        match readlinkat(CWD, &bind.source, Vec::new()) {
            Ok(target) => return Ok(Source::Symlink(target)),
            Err(Errno::INVAL) => {} // not a symbolic link
            Err(errno) => return Err(source_error(bind, "readlink", errno)),
        }
    }
    let fd = match mount::clone_path(&bind.source, bind.recursive, bind.nofollow) {
        Err(Errno::PERM) if mount.idmap.is_none() => return Ok(Source::Path),
        result => result.map_err(|errno| source_error(bind, "open_tree", errno))?,
    };
    tree(plan, mount, bind, idmap, fd, Flags::Kept)
}

/// Opens the source at `path` in the container's root. A link there may be anybody's: it
/// leads to nothing outside, to no file of the kernel, and clears no attribute.
pub(super) fn open_inside(
    plan: &Rootfs,
    mount: &Mount,
    bind: &Bind,
    idmap: Option<BorrowedFd<'_>>,
    (root, proc): (&Root, Option<BorrowedFd<'_>>),
    path: &str,
) -> Result<Source> {
    let (strict, links) = if bind.nofollow {
        (Links::OnlyLast, Links::NotLast)
    } else {
        (Links::Refuse, Links::Follow)
    };
    let (found, through_link) = match root.open(path, strict) {
        Err(Errno::LOOP) => (root.open(path, links), true),
        found => (found, false),
    };
    let found = found.map_err(|errno| inside_error(bind, path, errno))?;
    if bind.copy_symlink {
        match readlinkat(&found, "", Vec::new()) {
            Ok(target) => return Ok(Source::Symlink(target)),
            Err(Errno::NOENT | Errno::INVAL) => {} // not a symbolic link
            Err(errno) => return Err(source_error(bind, "readlink", errno)),
        }
    }
    let leads_to_kernels = || {
        let kind = fs_type(bind, &found)?;
        let is_one = mount::KERNELS.iter().any(|(_, number)| *number == kind);
        Ok::<_, Error>(is_one || (bind.recursive && root.has_kernels_below(found.as_fd(), proc)?))
    };
    if through_link && leads_to_kernels()? {
        return Err(Error::new(format!(
            "bind {}: a link in the root filesystem leads to a file of the kernel's",
            bind.source.display()
        )));
    }
    let fd = mount::clone_fd(found.as_fd(), bind.recursive)
        .map_err(|errno| source_error(bind, "open_tree", errno))?;
    let flags = if through_link { Flags::Guarded } else { Flags::Kept };
    tree(plan, mount, bind, idmap, fd, flags)
}

fn tree(
    plan: &Rootfs,
    mount: &Mount,
    bind: &Bind,
    idmap: Option<BorrowedFd<'_>>,
    fd: OwnedFd,
    flags: Flags,
) -> Result<Source> {
    check_proc(mount, bind, &fd)?;
    // In a user namespace they are locked for the peers (mount_namespaces(7)).
    let exact = flags == Flags::Kept && bind.exact && !plan.user_namespace;
    let flags = if exact { Flags::Exact } else { flags };
    let unchanged =
        change_attributes(plan, mount, bind, idmap, flags, |changes| apply(changes, fd.as_fd()))?;
    Ok(Source::Tree(Tree { fd, unchanged }, flags))
}

/// Makes the changes. Attributes that are locked stay where no option names them, and so
/// does `nosymfollow` before Linux 5.14.
pub(super) fn change_attributes<T>(
    plan: &Rootfs,
    mount: &Mount,
    bind: &Bind,
    idmap: Option<BorrowedFd<'_>>,
    flags: Flags,
    change: impl Fn(&[Change<'_>]) -> Result<T>,
) -> Result<T> {
    match change(&changes(plan, mount, bind, idmap, flags)) {
        Err(error)
            if flags == Flags::Exact
                && matches!(error.errno(), Some(Errno::PERM | Errno::INVAL)) =>
        {
            change(&changes(plan, mount, bind, idmap, Flags::Kept))
        }
        done => done,
    }
}

/// There is no later chance.
pub(super) fn refused(bind: &Bind) -> Error {
    source_error(bind, "open_tree", Errno::PERM)
}

pub(super) fn source_error(bind: &Bind, call: &str, errno: Errno) -> Error {
    let error = Error::os(call, errno).at(format_args!("bind {}", bind.source.display()));
    match errno {
        Errno::NOENT => error.hint("the source of a bind mount must exist on the host"),
        Errno::PERM => error.hint("binding it needs privileges on the host"),
        Errno::ACCESS => mount::explain_access(error),
        Errno::MFILE => error.hint("more mounts than open files are allowed (ulimit -Hn)"),
        Errno::INVAL => error
            .hint("an unbindable mount, or \"bind\" where mounts below are locked: use \"rbind\""),
        _ => error,
    }
}

fn inside_error(bind: &Bind, path: &str, errno: Errno) -> Error {
    if errno != Errno::NOENT {
        return source_error(bind, "openat2", errno);
    }
    Error::os(format!("openat2 {path} in the root filesystem"), errno)
        .at(format_args!("bind {}", bind.source.display()))
        .hint("neither the image nor an earlier mount has it")
}

fn fs_type(bind: &Bind, fd: &OwnedFd) -> Result<FsWord> {
    Ok(fstatfs(fd).call(|| format!("fstatfs {}", bind.source.display()))?.f_type)
}

/// Only a whole, real procfs may be bound to /proc (CVE-2019-16884).
fn check_proc(mount: &Mount, bind: &Bind, fd: &OwnedFd) -> Result<()> {
    if mount.destination != "/proc" {
        return Ok(());
    }
    let fs = fs_type(bind, fd)?;
    let inode = fstat(fd).call(|| format!("fstat {}", bind.source.display()))?.st_ino;
    if fs == PROC_SUPER_MAGIC && inode == PROC_ROOT_INO {
        return Ok(());
    }
    Err(Error::new(format!(
        "destination: \"/proc\" cannot be mounted because {} is not of type proc",
        bind.source.display()
    )))
}

/// The changes that make the copy what was asked for, in as few calls as they
/// can be said in.
fn changes<'fd>(
    plan: &Rootfs,
    mount: &Mount,
    bind: &Bind,
    idmap: Option<BorrowedFd<'fd>>,
    flags: Flags,
) -> Vec<Change<'fd>> {
    let attributes = attributes(mount, flags);
    let idmap_all = mount.idmap.as_ref().is_some_and(|idmap| idmap.reach == Reach::All);
    let mut own = mount.propagation.as_slice();
    let mut all = Change {
        attributes: attributes.all,
        propagation: inherited_propagation(plan),
        idmap: idmap.filter(|_| idmap_all),
        recursive: bind.recursive,
    };
    let mut one = Change {
        attributes: attributes.one,
        idmap: idmap.filter(|_| !idmap_all),
        ..Change::default()
    };
    // These need not go by way of what the copy had inherited.
    if let [first, rest @ ..] = own
        && (first.reach == Reach::All || !bind.recursive)
        && first.flag != SHARED
    {
        all.propagation = first.flag;
        own = rest;
    }
    if !bind.recursive || all.attributes.is_empty() && all.propagation == 0 && all.idmap.is_none() {
        one = Change {
            attributes: Attributes {
                set: attributes.flat(),
                clear: one.attributes.clear | (all.attributes.clear & !one.attributes.set),
            },
            propagation: all.propagation,
            idmap: all.idmap.or(one.idmap),
            recursive: false,
        };
        all = Change::default();
    }
    let own = own.iter().map(|propagation| Change {
        propagation: propagation.flag,
        recursive: propagation.reach == Reach::All,
        ..Change::default()
    });
    let is_change =
        |c: &Change<'_>| !c.attributes.is_empty() || c.propagation != 0 || c.idmap.is_some();
    [all, one].into_iter().chain(own).filter(is_change).collect()
}

fn attributes(mount: &Mount, flags: Flags) -> Gathered {
    let Gathered { mut one, mut all } = mount.attributes;
    match flags {
        Flags::Exact => one.clear |= CLEARED & !(one.set | all.set),
        Flags::Kept => {}
        Flags::Guarded => {
            // Without the whole field no mode of access times can be set.
            one.clear &= ATIME_FIELD;
            all.clear &= ATIME_FIELD;
        }
    }
    Gathered { one, all }
}

/// What a copy of a host's mount does when the host's propagates: unless the
/// configuration wants to share, nothing may reach the host.
fn inherited_propagation(plan: &Rootfs) -> u64 {
    match plan.propagation.map(|propagation| propagation.flag) {
        Some(SHARED) => 0,
        Some(PRIVATE | UNBINDABLE) => PRIVATE,
        _ => SLAVE,
    }
}

/// Applies changes to a detached tree. True: they must wait until it is
/// attached.
pub(super) fn apply(changes: &[Change<'_>], tree: BorrowedFd<'_>) -> Result<bool> {
    for change in changes {
        match mount_setattr(tree, change) {
            Err(errno) if change.idmap.is_none() && may_deny(errno) => return Ok(true),
            result => {
                result.call(|| mount::describe(change)).map_err(|error| explain(error, change))?
            }
        }
    }
    Ok(false)
}

fn explain(error: Error, change: &Change<'_>) -> Error {
    match (error.errno(), change.idmap) {
        (Some(Errno::INVAL), Some(_)) => {
            error.hint("the file system of the source cannot be id-mapped")
        }
        (Some(Errno::PERM), Some(_)) => {
            error.hint("an id-mapped mount needs privileges over the file system of the source")
        }
        (Some(Errno::PERM), None) => {
            error.hint("the host's mount has an attribute that a user namespace cannot clear")
        }
        (Some(Errno::NOSYS), _) => error.hint("id-mapped mounts need Linux 5.12"),
        _ => error,
    }
}
