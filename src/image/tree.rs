//! One directory, and what is below it: names are resolved in it whatever links say, and
//! whoever moves directories meanwhile (openat2(2)).

use crate::error::{Context as _, Error, Result};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, chmodat, mkdirat,
    openat, openat2, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest path (`PATH_MAX`, with its end).
const PATH: usize = 4095;
/// The longest name (`NAME_MAX`).
const NAME: usize = 255;
/// Names that are passed on the way to directories behind links: a link may have 2000, and lead to 39
/// others.
const LINKED: usize = 1 << 20;
/// How often a name is tried while others rename directories.
const MAX_ATTEMPTS: u32 = 64;

/// A path as names. None for the directory itself.
///
/// # Errors
/// `..`, and what no file can have as a name.
pub fn names(path: &[u8]) -> Result<Vec<&[u8]>> {
    let wrong = |why: &str| Err(Error::new(why).at(shown(path)));
    if path.len() > PATH {
        return wrong("a path of more than 4095 bytes");
    }
    let names: Vec<_> =
        path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if names.contains(&&b".."[..]) {
        return wrong("\"..\" leads out of the image");
    }
    if names.iter().any(|name| name.len() > NAME) {
        return wrong("a name of more than 255 bytes");
    }
    Ok(names)
}

/// A path for a message.
pub fn shown(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(path))
}

/// How a directory is made where one is missing.
pub type Make<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<()>;

/// The tree of a layer.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// The directory that was used last, by its path.
    last: Option<(Vec<u8>, OwnedFd)>,
    linked: usize,
    /// Names of the longest link.
    longest: usize,
    removed: u64,
}

impl Tree {
    /// The one in that directory.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, last: None, linked: 0, longest: 0, removed: 0 }
    }

    /// The directory itself.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory of these names; what is missing is made.
    ///
    /// # Errors
    /// A file on the way, a link that leads nowhere.
    pub fn directory(&mut self, names: &[&[u8]], make: Make<'_>) -> Result<BorrowedFd<'_>> {
        if names.is_empty() {
            return Ok(self.root.as_fd());
        }
        let path = names.join(&b'/');
        if self.last.as_ref().is_none_or(|(known, _)| *known != path) {
            let opened = match self.find(&path)? {
                Some(found) => found,
                None => self.walk(names, make)?,
            };
            self.last = Some((path, opened));
        }
        Ok(self.last.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    /// As [`Self::directory`], where none is made.
    ///
    /// # Errors
    /// As there; that it is not there.
    pub fn existing(&mut self, names: &[&[u8]]) -> Result<BorrowedFd<'_>> {
        let path = names.join(&b'/');
        self.directory(names, &mut |_, _| Err(Errno::NOENT)).map_err(|error| match error.errno() {
            Some(Errno::NOENT) => Error::os(format!("open {}", shown(&path)), Errno::NOENT),
            _ => error,
        })
    }

    /// A link with this target comes into the tree: it may be on the way to directories.
    pub fn will_have_link(&mut self, target: &[u8]) {
        self.longest = self.longest.max(count(target));
    }

    /// What was known of directories may not be true any more.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// None if it is missing.
    fn find(&mut self, path: &[u8]) -> Result<Option<OwnedFd>> {
        let call = || format!("open {}", shown(path));
        match open_in(self.root.as_fd(), path, ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            opened => return opened.map(Some).call(call),
        }
        self.linked += 1 + self.longest + count(path);
        if self.linked > LINKED {
            return Err(
                Error::new(format!("more than {LINKED} names through links")).at(shown(path))
            );
        }
        match open_in(self.root.as_fd(), path, ResolveFlags::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            opened => opened.map(Some).call(call),
        }
    }

    /// Makes what is missing of a path. How much is there is found by halves: a path has room for 2048
    /// names, and to look for each from the root is 2 million steps.
    fn walk(&mut self, names: &[&[u8]], make: Make<'_>) -> Result<OwnedFd> {
        let mut here = openat(self.root.as_fd(), ".", BY_PATH, Mode::empty())
            .call(|| "open the layer's root".into())?;
        let (mut there, mut missing) = (0, names.len());
        // Mostly it is the last one alone.
        let mut middle = missing - 1;
        while missing - there > 1 {
            match self.find(&names[..middle].join(&b'/'))? {
                Some(found) => (there, here) = (middle, found),
                None => missing = middle,
            }
            middle = there + (missing - there) / 2;
        }
        for count in missing..=names.len() {
            let path = || shown(&names[..count].join(&b'/'));
            let call = || format!("make directory {}", path());
            match make(here.as_fd(), names[count - 1]) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    return Err(
                        Error::new("no directory, and others are said to be in it").at(path())
                    );
                }
                Err(errno) => return Err(Error::os(call(), errno)),
            }
            // What is in a new directory was made by us.
            here = open_in(here.as_fd(), names[count - 1], ResolveFlags::NO_SYMLINKS).call(call)?;
        }
        Ok(here)
    }

    /// Removes what is at that name, whatever it is. Directories in it come up beside it before they
    /// are emptied in their turn, so that no depth costs descriptors, memory or trust in `..`.
    ///
    /// # Errors
    /// Those of unlinkat(2) and renameat2(2).
    pub fn remove(&mut self, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<()> {
        self.removed += 1;
        remove(parent, leaf, self.removed)
    }
}

/// Names that the kernel walks, with those that are `.`.
fn count(path: &[u8]) -> usize {
    path.iter().filter(|byte| **byte == b'/').count() + 1
}

/// What [`Tree::remove`] does; `number` tells its names from others'.
///
/// # Errors
/// As there.
pub fn remove(parent: BorrowedFd<'_>, leaf: &[u8], number: u64) -> Result<()> {
    let call = |name: &[u8]| format!("remove {}", shown(name));
    match unlinkat(parent, leaf, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(Error::os(call(leaf), errno)),
    }
    let mut doomed = Doomed { parent, number, made: 0 };
    let mut next = 0;
    let mut name = leaf.to_vec();
    loop {
        doomed.empty(&name).call(|| call(&name))?;
        if next == doomed.made {
            return Ok(());
        }
        name = doomed.name(next);
        next += 1;
    }
}

/// Directories that are to be emptied and removed, by numbers.
struct Doomed<'a> {
    parent: BorrowedFd<'a>,
    number: u64,
    made: u64,
}

impl Doomed<'_> {
    fn name(&self, count: u64) -> Vec<u8> {
        format!(".pinnace.{}.{}.{count}", std::process::id(), self.number).into_bytes()
    }

    fn empty(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        // More may come while it is read: then it is read again.
        for _ in 0..MAX_ATTEMPTS {
            match unlinkat(self.parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let dir = match openat(self.parent, name, TO_READ, Mode::empty()) {
                Err(Errno::ACCESS) => {
                    open_up(self.parent, name)?;
                    openat(self.parent, name, TO_READ, Mode::empty())?
                }
                // Another one removes it, too.
                Err(Errno::NOENT) => return Ok(()),
                opened => opened?,
            };
            for entry in Dir::read_from(&dir)? {
                let entry = entry?;
                match entry.file_name().to_bytes() {
                    b"." | b".." => {}
                    inner => self.up(&dir, inner)?,
                }
            }
        }
        Err(Errno::NOTEMPTY)
    }

    fn up(&mut self, dir: &OwnedFd, inner: &[u8]) -> rustix::io::Result<()> {
        let unlink = || match unlinkat(dir, inner, AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(dir, inner, AtFlags::REMOVEDIR),
            done => done,
        };
        let done = match unlink() {
            // Of the caller's own, in a directory that even its owner may not change.
            Err(Errno::ACCESS) => {
                chmod_open(dir.as_fd())?;
                unlink()
            }
            done => done,
        };
        match done {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let to = self.name(self.made);
                let rename = || renameat_with(dir, inner, self.parent, &to, RenameFlags::NOREPLACE);
                match rename() {
                    Err(Errno::ACCESS) => {
                        open_up(dir.as_fd(), inner)?;
                        rename()?;
                    }
                    Err(Errno::NOENT) => return Ok(()),
                    done => done?,
                }
                self.made += 1;
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            done => done,
        }
    }
}

/// The owner may change a directory.
fn open_up(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Errno::ACCESS);
    }
    chmodat(parent, name, Mode::RWXU, AtFlags::empty())
}

fn chmod_open(dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::fchmod(dir, Mode::RWXU)
}

/// A directory, to work in.
pub const BY_PATH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A directory, to see what is in it.
pub const TO_READ: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory below another one, which is `/` for all links.
fn open_in(root: BorrowedFd<'_>, path: &[u8], more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let resolve =
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV | more;
    patiently(|| openat2(root, path, BY_PATH, Mode::empty(), resolve))
}

/// The kernel gives up on a path with `..` while something is renamed (openat2(2), EAGAIN).
fn patiently<T>(mut open: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    for _ in 1..MAX_ATTEMPTS {
        match open() {
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
    open()
}

/// A directory below another one, for all to enter.
///
/// # Errors
/// Those of mkdirat(2).
pub fn make_plain(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    mkdirat(parent, name, Mode::from_raw_mode(0o755))
}

/// Opens a directory that the caller has named.
///
/// # Errors
/// Those of open(2).
pub fn open_named(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// What is at a name; none if nothing is.
///
/// # Errors
/// Those of fstatat(2).
pub fn look(parent: BorrowedFd<'_>, leaf: &[u8]) -> rustix::io::Result<Option<Stat>> {
    match statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether it is overlay's word for "not there": a character device 0:0.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether it is a directory.
pub fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Opens a file to read it. One that even its owner may not read, as `/etc/shadow` of some, a user
/// may for the moment in which it is opened.
///
/// # Errors
/// Those of open(2).
pub fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = || openat(dir, name, flags, Mode::empty());
    match open() {
        Err(Errno::ACCESS) => {}
        opened => return opened,
    }
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_own = stat.st_uid == rustix::process::geteuid().as_raw();
    if !is_own || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    chmodat(dir, name, Mode::RUSR, AtFlags::empty())?;
    let opened = open();
    chmodat(dir, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    opened
}

/// The names in a directory, in order.
///
/// # Errors
/// Those of getdents(2).
pub fn list(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(&name[..], b"." | b"..") {
            all.push(name);
        }
    }
    all.sort();
    Ok(all)
}

/// The extended attributes of a file but for overlay's own, in order.
///
/// # Errors
/// Those of listxattr(2) and getxattr(2).
pub fn attributes(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut list[..]) {
        Err(Errno::NOTSUP) => 0,
        done => done?,
    };
    let mut all = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let is_images = name == b"security.capability" || name.starts_with(b"user.");
        if !is_images || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
        value.truncate(length);
        all.push((name.to_vec(), value));
    }
    all.sort();
    Ok(all)
}
