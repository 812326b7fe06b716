//! `tmpcopyup`: the content of the mount point, copied into the new tmpfs
//! before it covers it. Names are opened one by one and never followed. The image's owner
//! may change it meanwhile, and nest it deeper than a stack is.

use super::mount;
use crate::error::{At, Context, Error, Result};
use crate::sys::mount::{Attributes, Change, NODEV};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, mkdirat, mknodat, openat,
    readlinkat, sendfile, statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString};

/// Longest value of an extended attribute (`xattr(7)`).
const LONGEST_XATTR: usize = 65536;
/// How much one sendfile(2) is asked for.
const CHUNK: usize = 1 << 30;

/// A directory that is being copied. The image may nest as many as it likes: they are kept
/// on the heap, each with two descriptors.
struct Level {
    /// Its name in the directory around it.
    name: CString,
    source: Dir,
    copy: OwnedFd,
    stat: Stat,
}

/// Copies what is in the directory `from` into the directory `to`; both may be
/// opened by `O_PATH`.
pub(super) fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    tree(from, to).at(|| "tmpcopyup")
}

fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let from = without_devices(from)?;
    let top = Level::new(CString::default(), open_dir(from.as_fd(), c".")?, open_dir(to, c".")?)?;
    let (uid, gid) = (uid(&top.stat), gid(&top.stat));
    fchown(&top.copy, Some(uid), Some(gid)).call(|| "fchown".into())?;
    let mut levels = vec![top];
    while let Some(entry) = levels.last_mut().map(|level| level.source.read()) {
        let Some(entry) = entry else {
            if let (Some(done), Some(parent)) = (levels.pop(), levels.last()) {
                done.finish(parent).at(|| path(&levels, &done.name))?;
            }
            continue;
        };
        let entry = entry.call(|| "getdents".into()).at(|| path(&levels, c"."))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            let level = levels.last().map(|level| level.one(name));
            let below = level.transpose().at(|| path(&levels, name))?;
            levels.extend(below.flatten());
        }
    }
    Ok(())
}

/// A view of the tree in which no device can be opened: a file may become one between two
/// looks at it. Before Linux 5.12 there is none.
fn without_devices(from: BorrowedFd<'_>) -> Result<OwnedFd> {
    let view = match mount::clone_fd(from, true) {
        // Of an unbindable mount there is none either.
        Err(Errno::INVAL) => return open_dir(from, c"."),
        view => view.call(|| "open_tree".into())?,
    };
    let attributes = Attributes { set: NODEV, clear: 0 };
    let change = Change { attributes, recursive: true, ..Change::default() };
    super::bind::apply(&[change], view.as_fd())?;
    Ok(view)
}

/// The way to `name`, from the top; the middle of a long one is left out.
fn path(levels: &[Level], name: &CStr) -> String {
    let names: Vec<_> = levels.iter().skip(1).map(|level| level.name.to_string_lossy()).collect();
    let name = name.to_string_lossy();
    match names.as_slice() {
        [] => name.into_owned(),
        [first, .., last] if names.len() > 8 => {
            format!("{first}/.../{last}/{name} ({} levels deep)", names.len())
        }
        names => format!("{}/{name}", names.join("/")),
    }
}

fn open_dir(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).call(|| format!("open {}", name.to_string_lossy()))
}

impl Level {
    fn new(name: CString, source: OwnedFd, copy: OwnedFd) -> Result<Self> {
        let stat = fstat(&source).call(|| "fstat".into())?;
        let source = Dir::new(source).call(|| "getdents".into())?;
        Ok(Self { name, source, copy, stat })
    }

    /// Copies one entry. What is told of it is asked of the file that is open: the name may
    /// stand for another one by now. A directory is returned, for its content.
    fn one(&self, name: &CStr) -> Result<Option<Self>> {
        let from = self.source.fd().call(|| "getdents".into())?;
        let to = self.copy.as_fd();
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).call(|| "fstatat".into())?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::Directory => {
                mkdirat(to, name, Mode::RWXU).call(|| "mkdirat".into())?;
                let (source, copy) = (open_dir(from, name)?, open_dir(to, name)?);
                return Self::new(name.to_owned(), source, copy).map(Some);
            }
            FileType::RegularFile => {
                let stat = regular_file(from, to, name)?;
                return set_times(to, name, &stat).map(|()| None);
            }
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new()).call(|| "readlinkat".into())?;
                symlinkat(&target, to, name).call(|| "symlinkat".into())?;
                own(to, name, &stat)?;
            }
            _ => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                mknodat(to, name, kind, mode, stat.st_rdev).call(|| "mknodat".into())?;
                own(to, name, &stat)?;
            }
        }
        set_times(to, name, &stat).map(|()| None)
    }

    /// Everything in it is there.
    fn finish(&self, parent: &Self) -> Result<()> {
        let source = self.source.fd().call(|| "getdents".into())?;
        metadata(source, &self.copy, &self.stat)?;
        set_times(parent.copy.as_fd(), &self.name, &self.stat)
    }
}

fn regular_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<Stat> {
    // Not to hang on a fifo that has taken the file's place.
    let flags = OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let source =
        openat(from, name, flags | OFlags::RDONLY, Mode::empty()).call(|| "open".into())?;
    let stat = fstat(&source).call(|| "fstat".into())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new("is no regular file any more"));
    }
    let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let copy = openat(to, name, flags, Mode::RUSR | Mode::WUSR).call(|| "create".into())?;
    while sendfile(&copy, &source, None, CHUNK).call(|| "sendfile".into())? > 0 {}
    metadata(source.as_fd(), &copy, &stat)?;
    Ok(stat)
}

fn set_times(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).call(|| "utimensat".into())
}

fn metadata(source: BorrowedFd<'_>, copy: &OwnedFd, stat: &Stat) -> Result<()> {
    fchown(copy, Some(uid(stat)), Some(gid(stat))).call(|| "fchown".into())?;
    // After the owner, whose change clears set-user-id.
    fchmod(copy, Mode::from_raw_mode(stat.st_mode & 0o7777)).call(|| "fchmod".into())?;
    xattrs(source, copy)
}

fn xattrs(source: BorrowedFd<'_>, copy: &OwnedFd) -> Result<()> {
    let mut list = vec![0u8; LONGEST_XATTR];
    let length = match flistxattr(source, &mut list[..]) {
        Err(Errno::NOTSUP) => return Ok(()),
        result => result.call(|| "flistxattr".into())?,
    };
    let names = list.get(..length).unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; LONGEST_XATTR];
        let length = fgetxattr(source, name, &mut value[..]).call(|| "fgetxattr".into())?;
        let value = value.get(..length).unwrap_or_default();
        match fsetxattr(copy, name, value, XattrFlags::empty()) {
            // Names that tmpfs does not keep, as `user.` before Linux 6.6.
            Err(Errno::NOTSUP) => {}
            result => result.call(|| "fsetxattr".into())?,
        }
    }
    Ok(())
}

fn own(at: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    chownat(at, name, Some(uid(stat)), Some(gid(stat)), AtFlags::SYMLINK_NOFOLLOW)
        .call(|| "fchownat".into())
}

fn uid(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn gid(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

#[allow(clippy::useless_conversion, reason = "the types of these fields differ by architecture")]
fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime.into(), stat.st_atime_nsec.into()),
        last_modification: time(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
    }
}
