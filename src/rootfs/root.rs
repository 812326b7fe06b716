//! The root of the container as one file descriptor, and the only way to reach
//! anything inside it. What lies in the tree is not trusted: a symbolic link
//! resolves inside the root whatever it says and whoever swaps it meanwhile
//! (`openat2(2)` with `RESOLVE_IN_ROOT`; CVE-2021-30465, CVE-2024-45310).

use crate::error::{Context, Error, Result};
use crate::plan::paths::is_under;
use crate::sys::resolve;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, mkdirat, openat,
    readlinkat,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::cell::RefCell;
use std::rc::Rc;

/// The container's tree under construction.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// What the configuration has mounted in it; given up when the tree is complete.
    pub(super) held: RefCell<Vec<Held>>,
    /// Whether there are more mounts than descriptors to hold them by.
    pub(super) scarce: bool,
    /// A procfs that is not the container's, if one mount covers another.
    pub(super) proc: RefCell<Option<OwnedFd>>,
    /// What the caller of the runtime is to be told about the tree.
    pub(super) warning: Option<String>,
}

/// What to do with symbolic links on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Follow them inside the root.
    Follow,
    /// Follow them but for the last component.
    NotLast,
    /// Refuse them but for the last component, which is not followed.
    OnlyLast,
    /// Refuse the path.
    Refuse,
}

/// What a missing mount point is made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) struct Found {
    pub fd: OwnedFd,
    /// Whether a symbolic link was on the way.
    pub through_link: bool,
}

/// What stands at a destination.
#[derive(Debug)]
pub(super) struct Held {
    /// The field of the configuration, for messages.
    pub field: String,
    /// Clean absolute path inside the container.
    pub destination: String,
    /// Whether it becomes read-only when everything in it is in place.
    pub late_readonly: bool,
    pub(super) links: Links,
    pub(super) handle: Handle,
    /// Whether a symbolic link was on the way to it: then its destination does not say
    /// where it is.
    pub(super) through_link: bool,
    /// What a later mount of the configuration lies on, if that hides it.
    pub(super) covered: Option<Rc<OwnedFd>>,
    /// The kernel's word for where it lay when that was first asked.
    pub(super) place: Option<Vec<u8>>,
}

/// What is known of it.
#[derive(Debug)]
pub(super) enum Handle {
    /// Its root.
    Mount(OwnedFd),
    /// Its id only, for one of very many mounts.
    Id(u64),
    /// A directory of the image that holds what was made by us.
    Directory(OwnedFd),
}

/// A held mount that a path leads to, and the rest of that path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'a> {
    pub fd: BorrowedFd<'a>,
    pub destination: &'a str,
    pub rest: &'a str,
    pub through_link: bool,
}

/// The innermost held mount at or above `path`; of several at one place the last. With
/// `above`, not the one at `path` itself.
pub(super) fn base<'a>(held: &'a [Held], path: &'a str, above: bool) -> Option<Base<'a>> {
    let is_above = |one: &&Held| !above || one.destination.len() < path.len();
    let candidates =
        held.iter().filter(|one| one.covered.is_none() && is_under(path, &one.destination));
    let innermost = candidates
        .filter(is_above)
        .filter(|one| one.fd().is_some())
        .max_by_key(|one| one.destination.len())?;
    Some(Base {
        fd: innermost.fd()?,
        destination: &innermost.destination,
        rest: path.get(innermost.destination.len()..)?.trim_start_matches('/'),
        through_link: innermost.through_link,
    })
}

/// The way out of a root that is not there.
pub(super) const NO_ROOT: &str = "the container's files belong there";

/// As many as the kernel follows (`path_resolution(7)`).
const MAX_LINKS: u32 = 40;
/// A rename elsewhere may disturb a lookup with `..`; the kernel asks to retry.
const MAX_RETRIES: u32 = 1000;

impl Root {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            held: RefCell::default(),
            scarce: false,
            proc: RefCell::default(),
            warning: None,
        }
    }

    /// The root that this process has: for one that has entered it.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn current() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, "/", flags, Mode::empty()).call(|| "open the root".into())?;
        Ok(Self::new(fd))
    }

    /// Makes what is missing of the directory at `path`. Whatever else may be wrong with
    /// it is told to who opens it, perhaps as another user.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn make_directory(&self, path: &str) -> Result<()> {
        if self.open(path, Links::Follow).err() != Some(Errno::NOENT) {
            return Ok(());
        }
        let made = self.create(path, Links::Follow, Node::Dir);
        made.map(drop).map_err(|error| match error.errno() {
            Some(errno) => Error::os(format!("mkdir {path} in the root filesystem"), errno),
            None => error,
        })
    }

    /// Opens what is at `path`, which must exist.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn existing(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        self.open(path, Links::Follow)
    }

    /// What is not as the configuration says, and is to be told.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// The root directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes a mount that was made on `/` as the root from now on: it hides all others.
    pub(super) fn replace(&mut self, fd: OwnedFd) {
        self.fd = fd;
        self.held.get_mut().clear();
    }

    /// Opens what exists at `path`, by `O_PATH`: beneath a held mount if one lies on the way,
    /// wherever that is by now.
    pub(super) fn open(&self, path: &str, links: Links) -> rustix::io::Result<OwnedFd> {
        let held = self.held.borrow();
        if let Some(base) = base(&held, path, false) {
            if base.rest.is_empty() {
                return fcntl_dupfd_cloexec(base.fd, 0);
            }
            match open_from(base.fd, base.rest, links, ResolveFlags::BENEATH) {
                // A link of the image leads out of that mount, to another place in the root.
                Err(Errno::XDEV) => {}
                result => return result,
            }
        }
        open_from(self.fd.as_fd(), path, links, ResolveFlags::IN_ROOT)
    }

    /// Opens `path`, first making what is missing of it: directories, and a
    /// last component as `node` says.
    pub(super) fn ensure(
        &self,
        path: &str,
        links: Links,
        node: impl FnOnce() -> Result<Node>,
    ) -> Result<Found> {
        let strict = if links == Links::NotLast { Links::OnlyLast } else { Links::Refuse };
        let (found, through_link) = match self.open(path, strict) {
            Err(Errno::LOOP) if links != Links::Refuse => (self.open(path, links), true),
            found => (found, self.base_is_through_link(path)),
        };
        match found {
            Err(Errno::NOENT) => self.create(path, links, node()?),
            found => {
                let fd = found.call(|| format!("openat2 {path} in the root filesystem"))?;
                Ok(Found { fd, through_link })
            }
        }
    }

    fn base_is_through_link(&self, path: &str) -> bool {
        base(&self.held.borrow(), path, false).is_some_and(|base| base.through_link)
    }

    /// Walks `path` by single names, so that nothing is made outside the root: a
    /// name is never followed, a link's target joins the names that are left,
    /// and `..` goes back to a directory that the walk has come from.
    fn create(&self, path: &str, links: Links, node: Node) -> Result<Found> {
        let held = self.held.borrow();
        let mut base = base(&held, path, false);
        let mut left = names(base.map_or(path, |base| base.rest).as_bytes());
        let mut walked: Vec<OwnedFd> = Vec::new();
        let mut through_link = base.is_some_and(|base| base.through_link);
        let mut followed = 0;
        while let Some(name) = left.pop() {
            if name == b".." {
                if walked.pop().is_none() {
                    leave(&mut base, &mut left);
                }
                continue;
            }
            let last = left.is_empty();
            let wanted = if last { node } else { Node::Dir };
            let floor = base.map_or(self.fd.as_fd(), |base| base.fd);
            let here = walked.last().map_or(floor, AsFd::as_fd);
            refuse_procfs(here).call(|| format!("make mount point {path}"))?;
            let (fd, kind) = step(here, &name, wanted)
                .call(|| format!("make mount point {path}: {}", show(&name)))?;
            if kind != FileType::Symlink || (last && links == Links::NotLast) {
                walked.push(fd);
                continue;
            }
            followed += 1;
            through_link = true;
            if links == Links::Refuse || followed > MAX_LINKS {
                return Err(Error::os(format!("make mount point {path}"), Errno::LOOP));
            }
            let target =
                readlinkat(&fd, "", Vec::new()).call(|| format!("readlinkat {}", show(&name)))?;
            if target.as_bytes().starts_with(b"/") {
                walked.clear();
                base = None;
            }
            left.extend(names(target.as_bytes()));
        }
        let floor = base.map_or(self.fd.as_fd(), |base| base.fd);
        let fd = match walked.pop() {
            Some(fd) => fd,
            None => fcntl_dupfd_cloexec(floor, 0).call(|| "dup".into())?,
        };
        Ok(Found { fd, through_link })
    }
}

/// Opens what exists at `path` below `dir`, by `O_PATH` and through no link of procfs.
pub(super) fn open_from(
    dir: BorrowedFd<'_>,
    path: &str,
    links: Links,
    how: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let (flags, how) = match links {
        Links::Follow => (flags, how),
        Links::NotLast => (flags | OFlags::NOFOLLOW, how),
        Links::OnlyLast => (flags | OFlags::NOFOLLOW, how | ResolveFlags::NO_SYMLINKS),
        Links::Refuse => (flags, how | ResolveFlags::NO_SYMLINKS),
    };
    let mut tries = 0;
    loop {
        match resolve::open(dir, path, flags, how | ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::AGAIN) if tries < MAX_RETRIES => tries += 1,
            result => return result,
        }
    }
}

/// `..` at the root of a held mount: the walk goes on from the directory around its
/// destination.
fn leave(base: &mut Option<Base<'_>>, left: &mut Vec<Vec<u8>>) {
    if let Some(held) = base.take() {
        left.push(b"..".to_vec());
        left.extend(names(held.destination.as_bytes()));
    }
}

/// Nothing can be made in a procfs, and its links may lead out of the root: a
/// walk that gets there is after something else (CVE-2024-21626).
fn refuse_procfs(dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
    if fstatfs(dir)?.f_type == PROC_SUPER_MAGIC { Err(Errno::NOENT) } else { Ok(()) }
}

/// The names of a path, last one first.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').rev();
    parts.filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec).collect()
}

fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Opens one name without following it, making it when it is missing.
fn step(dir: BorrowedFd<'_>, name: &[u8], node: Node) -> rustix::io::Result<(OwnedFd, FileType)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            make(dir, name, node)?;
            openat(dir, name, flags, Mode::empty())?
        }
        result => result?,
    };
    let kind = FileType::from_raw_mode(fstat(&fd)?.st_mode);
    Ok((fd, kind))
}

fn make(dir: BorrowedFd<'_>, name: &[u8], node: Node) -> rustix::io::Result<()> {
    let made = match node {
        Node::Dir => mkdirat(dir, name, Mode::from_raw_mode(0o755)),
        Node::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        // Someone else made it meanwhile: it is looked at by the caller.
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}
