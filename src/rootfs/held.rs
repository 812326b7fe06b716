//! The mounts that the configuration made, held from their making to the end of
//! [`super::finish()`].
//!
//! A path only says where a mount was put. Whoever may write to the root file system
//! can rename a mount point from another mount namespace, and the mount goes with it.
//! So what lies on a held mount is found beneath its descriptor, and at the end every
//! destination must still lead to its mount (CVE-2023-27561, CVE-2023-28642).

use super::root::{Found, Handle, Held, Links, Root, base, open_from};
use super::{mount, target};
use crate::error::{At, Context as _, Error, Result};
use crate::plan::mounts::{FileSystem, Kind, Mount};
use crate::plan::paths::is_under;
use crate::sys::mount::{Place, place};
use crate::sys::mountinfo;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, ResolveFlags, readlinkat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

/// What is masked, and what holds devices and the console, must be seen to be ours.
const KERNELS: [&str; 4] = ["/proc", "/sys", "/dev", "/dev/pts"];

impl Held {
    /// A directory of the image, opened.
    fn directory(destination: String, fd: OwnedFd) -> Self {
        Self {
            field: "default devices".into(),
            destination,
            late_readonly: false,
            links: Links::Follow,
            handle: Handle::Directory(fd),
            through_link: false,
            covered: None,
            place: None,
        }
    }

    /// Its descriptor, unless only the id is known.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.handle {
            Handle::Mount(fd) | Handle::Directory(fd) => Some(fd.as_fd()),
            Handle::Id(_) => None,
        }
    }

    /// Whether it lies on `outer` or beneath it: what somebody has moved away is not, whatever
    /// its destination was. `None` if only its id is known.
    fn is_beneath(&self, outer: &OwnedFd, proc: BorrowedFd<'_>) -> Result<Option<bool>> {
        let Some(inner) = self.fd() else { return Ok(None) };
        Ok(Some(lies_under(&path_of(inner, proc)?, &path_of(outer.as_fd(), proc)?)))
    }

    /// The same of the path `outer`, when the mounts are made. The image can have a link on
    /// the way to each of them, so it is asked once where each lies. Who moves it meanwhile
    /// has the wrong answer found out by [`Root::verify`].
    fn was_beneath(&mut self, outer: &[u8], proc: BorrowedFd<'_>) -> Result<Option<bool>> {
        if let (None, Some(fd)) = (&self.place, self.fd()) {
            self.place = Some(path_of(fd, proc)?);
        }
        Ok(self.place.as_deref().map(|inner| lies_under(inner, outer)))
    }

    /// Whether `found` is what is held.
    fn is(&self, found: &Place) -> Result<bool> {
        let wanted = match &self.handle {
            Handle::Id(id) => return Ok(found.mount == *id),
            Handle::Mount(fd) | Handle::Directory(fd) => place(fd.as_fd(), "", AtFlags::EMPTY_PATH)
                .call(|| format!("statx {}", self.destination))?,
        };
        let same_inode =
            !matches!(self.handle, Handle::Directory(_)) || wanted.inode == found.inode;
        Ok(wanted.mount == found.mount && same_inode)
    }
}

/// Whether the path `inner` is `outer` or lies under it.
fn lies_under(inner: &[u8], outer: &[u8]) -> bool {
    let outer = outer.strip_suffix(b"/").unwrap_or(outer);
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

impl Root {
    /// Holds a mount that has just been attached to `target`. `proc` is a procfs that is not
    /// the container's; `whole` is false where descriptors are scarce.
    pub(super) fn hold(
        &mut self,
        mount: &Mount,
        target: Found,
        made: OwnedFd,
        proc: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let late_readonly = matches!(&mount.kind, Kind::FileSystem(fs) if fs.late_readonly);
        if mount.destination == "/" {
            self.replace(made);
            return Ok(());
        }
        let through_link = target.through_link;
        let covered = Rc::new(target.fd);
        let mut cover: Option<Vec<u8>> = None;
        for earlier in self.held.get_mut().iter_mut().filter(|earlier| earlier.covered.is_none()) {
            let textually = is_under(&earlier.destination, &mount.destination);
            if textually || through_link || earlier.through_link {
                let proc = kept_procfs(self.proc.get_mut(), proc)?;
                let cover = match &mut cover {
                    Some(cover) => cover,
                    None => cover.insert(path_of(covered.as_fd(), proc)?),
                };
                if earlier.was_beneath(cover, proc)?.unwrap_or(textually) {
                    earlier.covered = Some(Rc::clone(&covered));
                }
            }
        }
        let spare = !late_readonly && !KERNELS.contains(&mount.destination.as_str());
        let handle = if self.scarce && spare {
            let found = place(made.as_fd(), "", AtFlags::EMPTY_PATH);
            Handle::Id(found.call(|| format!("statx {}", mount.destination))?.mount)
        } else {
            Handle::Mount(made)
        };
        self.held.get_mut().push(Held {
            field: mount.field(),
            destination: mount.destination.clone(),
            late_readonly,
            links: target::links(mount),
            handle,
            through_link,
            covered: None,
            place: None,
        });
        Ok(())
    }

    /// Holds the directory of the image at `path`, unless a mount is held there.
    pub(super) fn hold_directory(&mut self, path: &str, fd: OwnedFd) {
        let held = self.held.get_mut();
        if base(held, path, false).is_none_or(|base| !base.rest.is_empty()) {
            held.push(Held::directory(path.into(), fd));
        }
    }

    /// Takes a node that was laid upon the mount at `path` for that mount.
    pub(super) fn lay(&mut self, path: &str, node: OwnedFd) {
        let held = self.held.get_mut().iter_mut();
        let mut there = held.filter(|one| one.covered.is_none() && one.destination == path);
        if let Some(one) = there.next_back() {
            (one.handle, one.place) = (Handle::Mount(node), None);
        }
    }

    /// Whether every destination leads to its mount, but for those that a later mount
    /// hides: they must still lie beneath it. A hook may have laid a mount upon one, but for
    /// [`KERNELS`].
    pub(super) fn verify(&self) -> Result<()> {
        let held = self.held.borrow();
        for one in held.iter() {
            let in_place = match &one.covered {
                Some(cover) if self.proc.borrow().is_some() => {
                    let mut proc = self.proc.borrow_mut();
                    let proc = kept_procfs(&mut proc, None)?;
                    one.is_beneath(cover, proc).map(|beneath| beneath.unwrap_or(true))
                }
                _ => self.leads_to(one, &held),
            };
            if !in_place.at(|| one.field.clone())? {
                return Err(Error::new(format!("{} does not lead to what was mounted there", one.destination)).at(format_args!("{}.destination", one.field))
                .hint("a hook, or somebody who can write to the root filesystem, has moved it or covered it"));
            }
        }
        Ok(())
    }

    /// Whether a view of the kernel's is mounted below `found`. `proc` is a procfs that is not
    /// the container's.
    pub(super) fn has_kernels_below(
        &self,
        found: BorrowedFd<'_>,
        proc: Option<BorrowedFd<'_>>,
    ) -> Result<bool> {
        let mut kept = self.proc.borrow_mut();
        let proc = kept_procfs(&mut kept, proc)?;
        let top = path_of(found, proc)?;
        Ok(mountinfo::rows(&mountinfo::read_at(proc)?).any(|row| {
            mount::KERNELS.iter().any(|(name, _)| name.as_bytes() == row.kind)
                && lies_under(row.point().as_os_str().as_bytes(), &top)
        }))
    }

    /// Whether `found` is the root itself.
    pub(super) fn is(&self, found: &OwnedFd) -> Result<bool> {
        let of = |fd: BorrowedFd<'_>| place(fd, "", AtFlags::EMPTY_PATH).call(|| "statx".into());
        let (found, root) = (of(found.as_fd())?, of(self.fd())?);
        Ok(found.mount == root.mount && found.inode == root.inode)
    }

    fn leads_to(&self, one: &Held, held: &[Held]) -> Result<bool> {
        let path = one.destination.as_str();
        let base = base(held, path, true);
        let (dir, rest) = match base {
            Some(base) => (base.fd, base.rest),
            None => (self.fd(), path.trim_start_matches('/')),
        };
        // A single name needs no descriptor: nothing can be followed.
        if !rest.contains('/')
            && let Ok(found) = place(dir, rest, AtFlags::SYMLINK_NOFOLLOW)
            && one.is(&found)?
        {
            return Ok(true);
        }
        let resolve = if base.is_some() { ResolveFlags::BENEATH } else { ResolveFlags::IN_ROOT };
        let found = match open_from(dir, rest, one.links, resolve) {
            Err(Errno::XDEV) => open_from(self.fd(), path, one.links, ResolveFlags::IN_ROOT),
            result => result,
        };
        match found {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            found => {
                let found = found.call(|| format!("openat2 {path}"))?;
                let at = place(found.as_fd(), "", AtFlags::EMPTY_PATH);
                let at = at.call(|| format!("statx {path}"))?;
                Ok(one.is(&at)? || self.covers(&found, at, one)?)
            }
        }
    }

    /// Whether `found` is a mount that lies upon what is held, which is where it was.
    /// Only a hook can have made it: who moves mount points makes no mounts.
    fn covers(&self, found: &OwnedFd, at: Place, one: &Held) -> Result<bool> {
        let may = !KERNELS.contains(&one.destination.as_str()) && at.is_root;
        let Some(held) = one.fd().filter(|_| may) else { return Ok(false) };
        let mut proc = self.proc.borrow_mut();
        // In a user namespace there may be none to be had: then it is not known to.
        let Ok(proc) = kept_procfs(&mut proc, None) else { return Ok(false) };
        Ok(path_of(found.as_fd(), proc)? == path_of(held, proc)?)
    }

    /// Gives the descriptors up: nothing is made any more.
    pub(super) fn release(&self) {
        self.held.take();
        self.proc.take();
    }
}

/// A procfs that is not the container's, kept for the end.
fn kept_procfs<'a>(
    kept: &'a mut Option<OwnedFd>,
    proc: Option<BorrowedFd<'_>>,
) -> Result<BorrowedFd<'a>> {
    let found = match (kept.take(), proc) {
        (Some(found), _) => found,
        (None, Some(proc)) => fcntl_dupfd_cloexec(proc, 0).call(|| "dup".into())?,
        (None, None) => {
            let fs = FileSystem { kind: "proc".into(), ..FileSystem::default() };
            mount::new(&fs, 0, None)?
        }
    };
    let found: &OwnedFd = kept.insert(found);
    Ok(found.as_fd())
}

/// The kernel's word for where a descriptor leads.
fn path_of(fd: BorrowedFd<'_>, proc: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let link = format!("self/fd/{}", fd.as_raw_fd());
    let path = readlinkat(proc, &link, Vec::new()).call(|| format!("readlinkat /proc/{link}"))?;
    Ok(path.into_bytes())
}
