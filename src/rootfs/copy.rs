//! `tmpcopyup`: the content of the mount point, copied into the new tmpfs
//! before it covers it. Names are opened one by one and never followed.

use crate::error::{At, Context, Result};
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

/// Copies what is in the directory `from` into the directory `to`; both may be
/// opened by `O_PATH`.
pub(super) fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let from = open_dir(from, c".").at(|| "tmpcopyup".into())?;
    let to = open_dir(to, c".").at(|| "tmpcopyup".into())?;
    let stat = fstat(&from).call(|| "tmpcopyup: fstat".into())?;
    fchown(&to, Some(uid(&stat)), Some(gid(&stat))).call(|| "tmpcopyup: fchown".into())?;
    content(&from, &to).at(|| "tmpcopyup".into())
}

fn open_dir(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).call(|| format!("open {}", name.to_string_lossy()))
}

fn content(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    for entry in Dir::read_from(from).call(|| "getdents".into())? {
        let entry = entry.call(|| "getdents".into())?;
        let name: CString = entry.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            one(from.as_fd(), to.as_fd(), &name).at(|| name.to_string_lossy().into_owned())?;
        }
    }
    Ok(())
}

fn one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).call(|| "fstatat".into())?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU).call(|| "mkdirat".into())?;
            let (source, copy) = (open_dir(from, name)?, open_dir(to, name)?);
            content(&source, &copy)?;
            metadata(&source, &copy, &stat)?;
        }
        FileType::RegularFile => {
            // Not to hang on a fifo that has taken the file's place.
            let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let source =
                openat(from, name, flags | OFlags::RDONLY, Mode::empty()).call(|| "open".into())?;
            let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let copy = openat(to, name, flags, Mode::RUSR | Mode::WUSR).call(|| "create".into())?;
            while sendfile(&copy, &source, None, CHUNK).call(|| "sendfile".into())? > 0 {}
            metadata(&source, &copy, &stat)?;
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
    utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW).call(|| "utimensat".into())
}

fn metadata(source: &OwnedFd, copy: &OwnedFd, stat: &Stat) -> Result<()> {
    fchown(copy, Some(uid(stat)), Some(gid(stat))).call(|| "fchown".into())?;
    // After the owner, whose change clears set-user-id.
    fchmod(copy, Mode::from_raw_mode(stat.st_mode & 0o7777)).call(|| "fchmod".into())?;
    xattrs(source, copy)
}

fn xattrs(source: &OwnedFd, copy: &OwnedFd) -> Result<()> {
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
