//! The root of the container as one file descriptor, and the only way to reach
//! anything inside it. What lies in the tree is not trusted: a symbolic link
//! resolves inside the root whatever it says and whoever swaps it meanwhile
//! (`openat2(2)` with `RESOLVE_IN_ROOT`; CVE-2021-30465, CVE-2024-45310).

use crate::error::{Context, Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, mkdirat, openat,
    openat2, readlinkat,
};
use rustix::io::Errno;

/// The container's tree under construction.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// Mounts that become read-only when everything in them is in place.
    pub(super) late_readonly: Vec<(String, OwnedFd)>,
}

/// What to do with symbolic links on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Follow them inside the root.
    Follow,
    /// Follow them but for the last component.
    NotLast,
    /// Refuse the path.
    Refuse,
}

/// What a missing mount point is made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File,
}

/// As many as the kernel follows (`path_resolution(7)`).
const MAX_LINKS: u32 = 40;
/// A rename elsewhere may disturb a lookup with `..`; the kernel asks to retry.
const MAX_RETRIES: u32 = 1000;

impl Root {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, late_readonly: Vec::new() }
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

    /// Opens the directory at `path`, first making what is missing of it.
    ///
    /// # Errors
    /// If something on the way is no directory.
    pub fn directory(&self, path: &str) -> Result<OwnedFd> {
        let fd = self.ensure(path, Links::Follow, || Ok(Node::Dir))?;
        let mode = fstat(&fd).call(|| format!("stat {path}"))?.st_mode;
        if FileType::from_raw_mode(mode) == FileType::Directory {
            return Ok(fd);
        }
        Err(Error::os(format!("open {path} in the root filesystem"), Errno::NOTDIR))
    }

    /// The root directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes a mount that was made on `/` as the root from now on.
    pub(super) fn replace(&mut self, fd: OwnedFd) {
        self.fd = fd;
    }

    /// Opens what exists at `path`, by `O_PATH`.
    pub(super) fn open(&self, path: &str, links: Links) -> rustix::io::Result<OwnedFd> {
        let (flags, resolve) = match links {
            Links::Follow => (OFlags::empty(), ResolveFlags::empty()),
            Links::NotLast => (OFlags::NOFOLLOW, ResolveFlags::empty()),
            Links::Refuse => (OFlags::empty(), ResolveFlags::NO_SYMLINKS),
        };
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if tries < MAX_RETRIES => tries += 1,
                result => return result,
            }
        }
    }

    /// Opens `path`, first making what is missing of it: directories, and a
    /// last component as `node` says.
    pub(super) fn ensure(
        &self,
        path: &str,
        links: Links,
        node: impl FnOnce() -> Result<Node>,
    ) -> Result<OwnedFd> {
        match self.open(path, links) {
            Err(Errno::NOENT) => self.create(path, links, node()?),
            result => result.call(|| format!("openat2 {path} in the root filesystem")),
        }
    }

    /// Walks `path` by single names, so that nothing is made outside the root: a
    /// name is never followed, a link's target joins the names that are left,
    /// and `..` goes back to a directory that the walk has come from.
    fn create(&self, path: &str, links: Links, node: Node) -> Result<OwnedFd> {
        let mut left: Vec<Vec<u8>> = names(path.as_bytes());
        let mut walked: Vec<OwnedFd> = Vec::new();
        let mut followed = 0;
        while let Some(name) = left.pop() {
            if name == b".." {
                walked.pop();
                continue;
            }
            let last = left.is_empty();
            let wanted = if last { node } else { Node::Dir };
            let here = walked.last().unwrap_or(&self.fd);
            refuse_procfs(here.as_fd()).call(|| format!("make mount point {path}"))?;
            let (fd, kind) = step(here.as_fd(), &name, wanted)
                .call(|| format!("make mount point {path}: {}", show(&name)))?;
            if kind != FileType::Symlink || (last && links == Links::NotLast) {
                walked.push(fd);
                continue;
            }
            followed += 1;
            if links == Links::Refuse || followed > MAX_LINKS {
                return Err(Error::os(format!("make mount point {path}"), Errno::LOOP));
            }
            let target = readlinkat(here, &*name, Vec::new())
                .call(|| format!("readlinkat {}", show(&name)))?;
            if target.as_bytes().starts_with(b"/") {
                walked.clear();
            }
            left.extend(names(target.as_bytes()));
        }
        match walked.pop() {
            Some(fd) => Ok(fd),
            None => self.open("/", Links::Follow).call(|| "open the root".into()),
        }
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
