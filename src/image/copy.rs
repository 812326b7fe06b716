//! Layers become one plain directory, for runtimes that know no layers: the lower ones first,
//! each with what it hides.

use super::mark::Marker;
use super::tree::{
    TO_READ, Tree, attributes, is_directory, is_whiteout, list, look, open_file, shown,
};
use crate::error::{At as _, Context as _, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, Uid, XattrFlags,
    chownat, copy_file_range, fchmod, fsetxattr, futimens, linkat, mkdirat, mknodat, openat,
    readlinkat, symlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// How much the kernel is asked to copy at once.
const PIECE: usize = 64 << 20;

/// Copies these layers, the lowest first, into an empty directory.
///
/// # Errors
/// Those of the file systems.
pub fn merge(
    layers: Vec<OwnedFd>,
    to: OwnedFd,
    marker: &Marker<'_>,
    is_privileged: bool,
) -> Result<()> {
    let mut merge =
        Merge { to: Tree::new(to), marker, is_privileged, directories: BTreeMap::new() };
    for layer in layers {
        merge
            .layer(layer)
            .hint_on(Errno::ACCESS, || "what even its owner may not enter root alone copies")?;
    }
    merge.finish()
}

struct Merge<'a> {
    to: Tree,
    marker: &'a Marker<'a>,
    is_privileged: bool,
    /// Modes and times of directories, by their paths.
    directories: BTreeMap<Vec<Vec<u8>>, Stat>,
}

impl Merge<'_> {
    fn layer(&mut self, layer: OwnedFd) -> Result<()> {
        let mut from = Tree::new(layer);
        let mut files: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        let mut left: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
        while let Some(path) = left.pop() {
            let names: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
            let at = || shown(&path.join(&b'/'));
            let dir = openat(from.existing(&names)?, ".", TO_READ, Mode::empty());
            let dir = dir.call(|| "open".into()).at(at)?;
            let to = self.to.existing(&names)?;
            let to = openat(to, ".", TO_READ, Mode::empty()).call(|| "open".into()).at(at)?;
            self.attributes(&dir, &to).at(at)?;
            self.directories.insert(path.clone(), rustix::fs::fstat(&dir).call(at)?);
            for name in list(dir.as_fd()).call(|| "read".into()).at(at)? {
                let inner = [&path[..], std::slice::from_ref(&name)].concat();
                let is_directory = self.entry(&dir, &to, &inner, &mut files);
                if is_directory.at(|| shown(&inner.join(&b'/')))? {
                    left.push(inner);
                }
            }
        }
        Ok(())
    }

    /// One name of a layer's directory. Whether it is a directory.
    fn entry(
        &mut self,
        dir: &OwnedFd,
        to: &OwnedFd,
        path: &[Vec<u8>],
        files: &mut BTreeMap<u64, Vec<Vec<u8>>>,
    ) -> Result<bool> {
        let Some(name) = path.last() else { return Ok(false) };
        let Some(stat) = look(dir.as_fd(), name).call(|| "fstatat".into())? else {
            return Ok(false);
        };
        let there = look(to.as_fd(), name).call(|| "fstatat".into())?;
        if is_directory(&stat) {
            let opened = openat(dir, &name[..], TO_READ, Mode::empty()).call(|| "open".into())?;
            let hides = self.marker.is_opaque(opened.as_fd()).call(|| "getxattr".into())?;
            if there.as_ref().is_none_or(|there| hides || !is_directory(there)) {
                self.clear(to, name, path, there.as_ref())?;
                mkdirat(to, &name[..], Mode::RWXU).call(|| "mkdirat".into())?;
            }
            return Ok(true);
        }
        if there.is_some() {
            self.clear(to, name, path, there.as_ref())?;
        }
        if is_whiteout(&stat) {
            return Ok(false);
        }
        if stat.st_nlink > 1 {
            if let Some(known) = files.get(&stat.st_ino) {
                let names: Vec<&[u8]> = known.iter().map(Vec::as_slice).collect();
                if let Some((leaf, above)) = names.split_last() {
                    let from = self.to.existing(above)?;
                    let linked = linkat(from, *leaf, to, &name[..], AtFlags::empty());
                    return linked.call(|| "linkat".into()).map(|()| false);
                }
            }
            files.insert(stat.st_ino, path.to_vec());
        }
        self.file(dir, to, name, &stat)?;
        Ok(false)
    }

    fn clear(
        &mut self,
        to: &OwnedFd,
        name: &[u8],
        path: &[Vec<u8>],
        there: Option<&Stat>,
    ) -> Result<()> {
        self.to.remove(to.as_fd(), name)?;
        if there.is_some_and(is_directory) {
            self.to.forget();
            // Those below it stand behind it.
            let below = self.directories.range(path.to_vec()..).map(|(known, _)| known);
            let below: Vec<_> =
                below.take_while(|known| known.starts_with(path)).cloned().collect();
            for known in below {
                self.directories.remove(&known);
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: &OwnedFd, to: &OwnedFd, name: &[u8], stat: &Stat) -> Result<()> {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.regular(dir, to, name, stat),
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::new()).call(|| "readlinkat".into())?;
                symlinkat(&target, to, name).call(|| "symlinkat".into())?;
            }
            kind => mknodat(to, name, kind, mode, stat.st_rdev).call(|| "mknodat".into())?,
        }
        self.own(to.as_fd(), name, stat)?;
        utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).call(|| "utimensat".into())
    }

    fn regular(&mut self, dir: &OwnedFd, to: &OwnedFd, name: &[u8], stat: &Stat) -> Result<()> {
        let from = open_file(dir.as_fd(), name).call(|| "open".into())?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
        let made = openat(to, name, flags, mode).call(|| "open".into())?;
        content(&from, &made)?;
        self.own(made.as_fd(), b"", stat)?;
        self.attributes(&from, &made)?;
        if stat.st_mode & 0o7000 != 0 {
            fchmod(&made, Mode::from_raw_mode(stat.st_mode & 0o7777)).call(|| "fchmod".into())?;
        }
        futimens(&made, &times(stat)).call(|| "utimensat".into())
    }

    fn attributes(&self, from: &OwnedFd, to: &OwnedFd) -> Result<()> {
        for (name, value) in attributes(from.as_fd()).call(|| "listxattr".into())? {
            match fsetxattr(to, &name[..], &value, XattrFlags::empty()) {
                Ok(()) => {}
                // The bundle's file system may know less than the store's.
                Err(Errno::NOTSUP) if name.starts_with(b"user.") => {}
                Err(errno) => return Err(errno).call(|| format!("setxattr {}", shown(&name))),
            }
        }
        Ok(())
    }

    fn own(&self, at: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<()> {
        if !self.is_privileged {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
        chownat(at, name, Some(uid), Some(gid), flags).call(|| "chown".into())
    }

    /// What is last done to directories, the deepest first.
    fn finish(&mut self) -> Result<()> {
        for (path, stat) in std::mem::take(&mut self.directories).into_iter().rev() {
            let names: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
            let at = || shown(&path.join(&b'/'));
            let dir = openat(self.to.existing(&names)?, ".", TO_READ, Mode::empty());
            let dir = dir.call(|| "open".into()).at(at)?;
            self.own(dir.as_fd(), b"", &stat).at(at)?;
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            fchmod(&dir, mode).call(|| "fchmod".into()).at(at)?;
            futimens(&dir, &times(&stat)).call(|| "utimensat".into()).at(at)?;
        }
        Ok(())
    }
}

/// By the kernel, which may share blocks; where it cannot, by hand.
fn content(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    loop {
        match copy_file_range(from, None, to, None, PIECE) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::NOTSUP | Errno::INVAL | Errno::PERM) => break,
            Err(errno) => return Err(errno).call(|| "copy_file_range".into()),
        }
    }
    let mut from = std::fs::File::from(from.try_clone().call(|| "dup".into())?);
    let mut to = std::fs::File::from(to.try_clone().call(|| "dup".into())?);
    std::io::copy(&mut from, &mut to).call(|| "copy".into()).map(drop)
}

fn times(stat: &Stat) -> Timestamps {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let changed = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: now, last_modification: changed }
}

/// Whether two trees are the same; else what differs first.
///
/// # Errors
/// Those of reading them.
pub fn difference(one: OwnedFd, other: OwnedFd, marker: &Marker<'_>) -> Result<Option<String>> {
    let attributes_of = |dir: &OwnedFd| -> Result<_> {
        let stat = rustix::fs::fstat(dir).call(|| "fstat".into())?;
        Ok((stat.st_mode, stat.st_uid, stat.st_gid))
    };
    if attributes_of(&one)? != attributes_of(&other)? {
        return Ok(Some(shown(b"/")));
    }
    let (mut one, mut other) = (Tree::new(one), Tree::new(other));
    let mut left: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
    while let Some(path) = left.pop() {
        let names: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        let at = || shown(&path.join(&b'/'));
        let open = |tree: &mut Tree| {
            let dir = tree.existing(&names)?;
            openat(dir, ".", TO_READ, Mode::empty()).call(|| "open".into())
        };
        let (a, b) = (open(&mut one).at(at)?, open(&mut other).at(at)?);
        let opaque = |dir: &OwnedFd| marker.is_opaque(dir.as_fd()).call(|| "getxattr".into());
        let names = list(a.as_fd()).call(at)?;
        let same = names == list(b.as_fd()).call(at)?
            && attributes(a.as_fd()).call(at)? == attributes(b.as_fd()).call(at)?
            && opaque(&a).at(at)? == opaque(&b).at(at)?;
        if !same {
            return Ok(Some(at()));
        }
        for name in names {
            let inner = [&path[..], std::slice::from_ref(&name)].concat();
            let at = || shown(&inner.join(&b'/'));
            if !is_same(&a, &b, &name).at(at)? {
                return Ok(Some(at()));
            }
            let stat = look(a.as_fd(), &name).call(at)?;
            if stat.is_some_and(|stat| is_directory(&stat)) {
                left.push(inner);
            }
        }
    }
    Ok(None)
}

fn is_same(a: &OwnedFd, b: &OwnedFd, name: &[u8]) -> Result<bool> {
    let call = || "fstatat".to_owned();
    let (Some(one), Some(other)) =
        (look(a.as_fd(), name).call(call)?, look(b.as_fd(), name).call(call)?)
    else {
        return Ok(false);
    };
    let key = |stat: &Stat| {
        let is_whole = !is_directory(stat);
        (
            (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev),
            (is_whole.then_some(stat.st_size), is_whole.then_some(stat.st_nlink)),
        )
    };
    // Whiteouts and directories without an entry have the time at which they were made.
    let has_time = !is_directory(&one) && !is_whiteout(&one);
    if key(&one) != key(&other) || (has_time && one.st_mtime != other.st_mtime) {
        return Ok(false);
    }
    match FileType::from_raw_mode(one.st_mode) {
        FileType::Symlink => {
            let target = |dir| readlinkat(dir, name, Vec::new()).call(|| "readlinkat".into());
            Ok(target(a)? == target(b)?)
        }
        FileType::RegularFile => {
            let open = |dir: &OwnedFd| open_file(dir.as_fd(), name).call(|| "open".into());
            let (a, b) = (open(a)?, open(b)?);
            let same = attributes(a.as_fd()).call(call)? == attributes(b.as_fd()).call(call)?;
            Ok(same && has_same_content(a, b)?)
        }
        _ => Ok(true),
    }
}

fn has_same_content(a: OwnedFd, b: OwnedFd) -> Result<bool> {
    use std::io::{BufRead as _, BufReader};
    let open = |file: OwnedFd| BufReader::with_capacity(128 << 10, std::fs::File::from(file));
    let (mut a, mut b) = (open(a), open(b));
    loop {
        let one = a.fill_buf().call(|| "read".into())?;
        let other = b.fill_buf().call(|| "read".into())?;
        let count = one.len().min(other.len());
        if count == 0 {
            return Ok(one.is_empty() && other.is_empty());
        }
        if one[..count] != other[..count] {
            return Ok(false);
        }
        a.consume(count);
        b.consume(count);
    }
}
