//! Entries of an archive become files of a layer's directory, as overlay reads it (image-spec,
//! layer.md; the kernel's overlayfs.rst). Nothing of the archive leads out of it.

use super::mark::Marker;
use super::tar::{Archive, Bytes, Entry, Kind};
use super::tree::{self, Tree, is_directory, is_whiteout, look, names, shown};
use crate::error::{At as _, Context as _, Error, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, Uid, XattrFlags,
    chownat, fchmod, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, openat, symlinkat,
    utimensat,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// The most entries of a layer.
const ENTRIES: u64 = 10_000_000;
/// The most directories: what is last done to them is kept in memory.
const DIRECTORIES: usize = 1_000_000;
/// The most bytes of their paths.
const PATHS: usize = 128 << 20;
/// What a file costs beside its content.
const COST: u64 = 4096;

/// How layers are made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether owners, devices and overlay's own attributes can be set.
    pub is_privileged: bool,
    /// Whether device nodes are made.
    pub devices: bool,
    /// Ids of this process, which files have from the beginning.
    pub own: (u32, u32),
    /// The most bytes of a layer.
    pub free: u64,
}

impl Settings {
    /// Whether a device of an archive becomes one.
    pub fn makes_devices(&self) -> bool {
        self.is_privileged && self.devices
    }
}

/// What was left out or changed, how often, and where first.
pub type Notes = BTreeMap<&'static str, (u64, String)>;

/// What has come of an archive.
#[derive(Debug, Default)]
pub struct Made {
    /// Entries.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Device nodes that the archive has, whether they were made or not.
    pub devices: u64,
    /// What was left out.
    pub notes: Notes,
}

/// Unpacks all entries of an archive; returns its stream, too, which may not be at its end.
///
/// # Errors
/// Whatever is wrong with the archive, named with its entry; a full disk.
pub fn unpack<B: Bytes>(
    source: B,
    root: OwnedFd,
    settings: Settings,
    marker: &Marker<'_>,
) -> Result<(Made, B)> {
    let mut archive = Archive::new(source);
    let tree = Tree::new(root);
    let (made, directories) = (Made::default(), BTreeMap::new());
    let mut layer =
        Layer { tree, settings, marker, directories, paths: 0, made, implied: 0, spent: 0 };
    while let Some(entry) = archive.next_entry()? {
        layer.made.entries += 1;
        layer.take(&entry, &mut archive).at(|| shown(&entry.path))?;
    }
    layer.finish()?;
    Ok((layer.made, archive.into_source()))
}

/// A layer that is being made.
struct Layer<'a> {
    tree: Tree,
    settings: Settings,
    marker: &'a Marker<'a>,
    /// Directories with the mode and the time that they have in the end.
    directories: BTreeMap<Vec<u8>, (u32, (i64, u32))>,
    /// Bytes of their paths.
    paths: usize,
    made: Made,
    /// Directories that no entry has named.
    implied: u64,
    spent: u64,
}

impl Layer<'_> {
    fn note(&mut self, what: &'static str, path: &[u8]) {
        self.made.notes.entry(what).or_insert_with(|| (0, shown(path))).0 += 1;
    }

    fn spend(&mut self, bytes: u64) -> Result<()> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent <= self.settings.free {
            return Ok(());
        }
        let free = self.settings.free / 1_000_000;
        Err(Error::new(format!(
            "the layer is larger than the {free} MB that are free in the store"
        ))
        .hint("`pinnace-image prune` makes room, --store DIR names another disk"))
    }

    /// One more, of so many bytes.
    fn count(&mut self, bytes: u64) -> Result<()> {
        if self.made.entries + self.implied > ENTRIES {
            return Err(Error::new(format!("more than {ENTRIES} files")));
        }
        self.spend(bytes)
    }

    fn take<B: Bytes>(&mut self, entry: &Entry, archive: &mut Archive<B>) -> Result<()> {
        self.count(COST.saturating_add(entry.before))?;
        let names = names(&entry.path)?;
        let Some((leaf, parents)) = names.split_last() else {
            if entry.kind != Kind::Directory {
                return Err(Error::new("the root of an image is a directory"));
            }
            return self.root(entry);
        };
        if parents.iter().any(|name| name.starts_with(b".wh.")) {
            return Err(Error::new("a directory whose name begins with .wh. is none of an image"));
        }
        if let Some(hidden) = leaf.strip_prefix(b".wh.") {
            return self.whiteout(parents, hidden);
        }
        match entry.kind {
            Kind::File => self.file(entry, parents, leaf, archive),
            Kind::Directory => self.directory(entry, &names, parents, leaf),
            Kind::Symlink => self.symlink(entry, parents, leaf),
            Kind::HardLink => self.hard_link(entry, parents, leaf),
            Kind::Character | Kind::Block | Kind::Fifo => self.node(entry, parents, leaf),
        }
    }

    /// The directory that an entry is in. One that the archive has no entry for is made for all
    /// to enter; where a whiteout is, lower ones must not show through.
    fn parent(&mut self, parents: &[&[u8]]) -> Result<BorrowedFd<'_>> {
        let marker = self.marker;
        let mut made = 0;
        self.tree.directory(parents, &mut |parent, name| {
            made += 1;
            match look(parent, name)? {
                Some(stat) if is_whiteout(&stat) => {
                    rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
                    tree::make_plain(parent, name)?;
                    marker.mark(openat(parent, name, tree::TO_READ, Mode::empty())?)
                }
                _ => tree::make_plain(parent, name),
            }
        })?;
        if made > 0 {
            // A path of 4 kB may make 2000 of them: they cost what others cost.
            self.implied += made;
            self.count(COST * made)?;
        }
        self.tree.existing(parents)
    }

    /// `hidden` is not to be seen in lower layers; but what this one has, stays.
    fn whiteout(&mut self, parents: &[&[u8]], hidden: &[u8]) -> Result<()> {
        match hidden {
            b".wh..opq" => {
                let dir = self.parent(parents)?;
                let dir = openat(dir, ".", tree::TO_READ, Mode::empty()).call(|| "open".into())?;
                return self.marker.mark(dir).call(|| "mark as opaque".into());
            }
            // Notes of an old file system, of which nobody speaks any more.
            _ if hidden.starts_with(b".wh.") => return Ok(()),
            b"" | b"." | b".." => return Err(Error::new("a whiteout of nothing")),
            _ => {}
        }
        let marker = self.marker;
        let parent = self.parent(parents)?;
        match look(parent, hidden).call(|| "fstatat".into())? {
            // What this layer has made replaces what is below it.
            Some(stat) if is_directory(&stat) => {
                let dir = openat(parent, hidden, tree::TO_READ, Mode::empty());
                dir.and_then(|dir| marker.mark(dir)).call(|| "mark as opaque".into())
            }
            Some(_) => Ok(()),
            None => mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0)
                .call(|| "mknodat of a whiteout".into()),
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<()> {
        let root = self.tree.root();
        let dir = openat(root, ".", tree::TO_READ, Mode::empty()).call(|| "open".into())?;
        self.own(dir.as_fd(), b"", entry)?;
        self.attributes(&dir, entry)?;
        self.directories.insert(Vec::new(), (entry.mode, entry.mtime));
        Ok(())
    }

    fn directory(
        &mut self,
        entry: &Entry,
        names: &[&[u8]],
        parents: &[&[u8]],
        leaf: &[u8],
    ) -> Result<()> {
        let mut opaque = false;
        let found = look(self.parent(parents)?, leaf).call(|| "fstatat".into())?;
        if found.as_ref().is_none_or(|stat| !is_directory(stat)) {
            opaque = found.as_ref().is_some_and(is_whiteout);
            if found.is_some() {
                self.clear(parents, leaf)?;
            }
            let parent = self.parent(parents)?;
            mkdirat(parent, leaf, Mode::RWXU).call(|| "mkdirat".into())?;
        }
        let path = names.join(&b'/');
        self.paths += path.len();
        if self.directories.len() >= DIRECTORIES || self.paths > PATHS {
            let most = PATHS >> 20;
            return Err(Error::new(format!(
                "more than {DIRECTORIES} directories, or {most} MiB of their paths"
            )));
        }
        self.directories.insert(path, (entry.mode, entry.mtime));
        self.own_at(parents, leaf, entry)?;
        if !entry.xattrs.is_empty() || opaque {
            let parent = self.parent(parents)?;
            let dir = openat(parent, leaf, tree::TO_READ, Mode::empty()).call(|| "open".into())?;
            self.attributes(&dir, entry)?;
            if opaque {
                self.marker.mark(dir).call(|| "mark as opaque".into())?;
            }
        }
        Ok(())
    }

    /// Removes what is in the way of an entry: the last one of a name counts.
    fn clear(&mut self, parents: &[&[u8]], leaf: &[u8]) -> Result<()> {
        let parent = openat(self.parent(parents)?, ".", tree::BY_PATH, Mode::empty())
            .call(|| "open".into())?;
        self.tree.remove(parent.as_fd(), leaf)?;
        self.tree.forget();
        Ok(())
    }

    /// Makes something at a name, after what is there if it must be.
    fn place<T>(
        &mut self,
        parents: &[&[u8]],
        leaf: &[u8],
        what: &str,
        mut make: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make(self.parent(parents)?) {
            Err(Errno::EXIST) => {}
            done => return done.call(|| what.to_owned()),
        }
        self.clear(parents, leaf)?;
        make(self.parent(parents)?).call(|| what.to_owned())
    }

    fn file<B: Bytes>(
        &mut self,
        entry: &Entry,
        parents: &[&[u8]],
        leaf: &[u8],
        archive: &mut Archive<B>,
    ) -> Result<()> {
        self.spend(entry.size)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = self.place(parents, leaf, "open", |parent| openat(parent, leaf, flags, mode))?;
        loop {
            let bytes = archive.content()?;
            if bytes.is_empty() {
                break;
            }
            let written = match rustix::io::write(&file, bytes) {
                Err(Errno::INTR) => continue,
                Err(Errno::NOSPC | Errno::DQUOT) => {
                    return Err(Error::os("write", Errno::NOSPC)
                        .hint("`pinnace-image prune` makes room, --store DIR names another disk"));
                }
                written => written.call(|| "write".into())?,
            };
            archive.consume(written);
            self.made.bytes += written as u64;
        }
        self.own(file.as_fd(), b"", entry)?;
        self.attributes(&file, entry)?;
        let mode = self.mode(entry);
        if mode & 0o7000 != 0 {
            fchmod(&file, Mode::from_raw_mode(mode)).call(|| "fchmod".into())?;
        }
        futimens(&file, &times(entry.mtime)).call(|| "utimensat".into())
    }

    /// The caller is the container's root: a program that was to become another one by its set-id bit
    /// would become root instead.
    fn mode(&mut self, entry: &Entry) -> u32 {
        if self.settings.is_privileged {
            return entry.mode;
        }
        let user = if entry.uid == 0 { 0 } else { 0o4000 };
        let lost = user | if entry.gid == 0 { 0 } else { 0o2000 };
        if entry.mode & lost != 0 {
            self.note("set-id bits for owners that are the caller now", &entry.path);
        }
        entry.mode & !lost
    }

    fn symlink(&mut self, entry: &Entry, parents: &[&[u8]], leaf: &[u8]) -> Result<()> {
        if entry.link.is_empty() || entry.link.len() > 4095 {
            let length = entry.link.len();
            return Err(Error::new(format!("a symbolic link of {length} bytes")));
        }
        self.tree.will_have_link(&entry.link);
        self.place(parents, leaf, "symlinkat", |parent| symlinkat(&entry.link[..], parent, leaf))?;
        if !entry.xattrs.is_empty() {
            self.note("attributes of symbolic links", &entry.path);
        }
        self.own_at(parents, leaf, entry)?;
        self.time_at(parents, leaf, entry)
    }

    /// Only to a file of this very layer: of a lower one it would be a change.
    fn hard_link(&mut self, entry: &Entry, parents: &[&[u8]], leaf: &[u8]) -> Result<()> {
        let target = names(&entry.link).at(|| "hard link")?;
        let to = || format!("hard link to {}", shown(&entry.link));
        let missing = || {
            Error::new("there is no such file in this layer")
                .at(to())
                .hint("a layer cannot link to a file of a lower one")
        };
        let Some((target_leaf, above)) = target.split_last() else {
            return Err(Error::new("is the root").at(to()));
        };
        let from = match self.tree.existing(above) {
            Err(error) if error.errno() == Some(Errno::NOENT) => return Err(missing()),
            found => openat(found.at(to)?, ".", tree::BY_PATH, Mode::empty()).call(to)?,
        };
        let found = look(from.as_fd(), target_leaf).call(to)?;
        let found = match found {
            Some(stat) if is_directory(&stat) => {
                return Err(Error::new("is a directory").at(to()));
            }
            Some(stat) if !is_whiteout(&stat) => stat,
            _ => return Err(missing()),
        };
        let there = look(self.parent(parents)?, leaf).call(to)?;
        if there.is_some_and(|stat| stat.st_ino == found.st_ino && stat.st_dev == found.st_dev) {
            return Ok(());
        }
        // Without AT_SYMLINK_FOLLOW: a link is what gets the name.
        self.place(parents, leaf, "linkat", |parent| {
            linkat(&from, *target_leaf, parent, leaf, AtFlags::empty())
        })
        .at(to)
    }

    fn node(&mut self, entry: &Entry, parents: &[&[u8]], leaf: &[u8]) -> Result<()> {
        let kind = match entry.kind {
            Kind::Character => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let (major, minor) = entry.device;
        if kind == FileType::CharacterDevice && (major, minor) == (0, 0) {
            return Err(Error::new("the device 0:0 would hide a file of a lower layer")
                .hint("a layer's archive says that by a file .wh.NAME"));
        }
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.made.devices += u64::from(kind != FileType::Fifo);
        let may = kind == FileType::Fifo || self.settings.makes_devices();
        let (kind, device) = match may {
            true => (kind, makedev(major, minor)),
            false => {
                self.note("devices, which are empty files instead", &entry.path);
                (FileType::RegularFile, 0)
            }
        };
        self.place(parents, leaf, "mknodat", |parent| mknodat(parent, leaf, kind, mode, device))?;
        self.own_at(parents, leaf, entry)?;
        self.time_at(parents, leaf, entry)
    }

    fn time_at(&mut self, parents: &[&[u8]], leaf: &[u8], entry: &Entry) -> Result<()> {
        let parent = self.parent(parents)?;
        utimensat(parent, leaf, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .call(|| "utimensat".into())
    }

    fn own_at(&mut self, parents: &[&[u8]], leaf: &[u8], entry: &Entry) -> Result<()> {
        if (entry.uid, entry.gid) == self.settings.own {
            return Ok(());
        }
        let parent = openat(self.parent(parents)?, ".", tree::BY_PATH, Mode::empty())
            .call(|| "open".into())?;
        self.own(parent.as_fd(), leaf, entry)
    }

    /// The owner of a name, or of the file itself.
    fn own(&mut self, at: BorrowedFd<'_>, leaf: &[u8], entry: &Entry) -> Result<()> {
        if (entry.uid, entry.gid) == self.settings.own {
            return Ok(());
        }
        if !self.settings.is_privileged {
            self.note("owners other than the caller, whose all is now", &entry.path);
            return Ok(());
        }
        let flags = match leaf {
            [] => AtFlags::EMPTY_PATH,
            _ => AtFlags::SYMLINK_NOFOLLOW,
        };
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        chownat(at, leaf, Some(uid), Some(gid), flags)
            .call(|| format!("chown to {}:{}", entry.uid, entry.gid))
            .hint_on(Errno::INVAL, || "this user namespace has no such id")
    }

    /// What an image may say. Overlay's own would change what a layer means; labels and access
    /// lists are of the machine that has made it.
    fn attributes(&mut self, file: &OwnedFd, entry: &Entry) -> Result<()> {
        for (name, value) in &entry.xattrs {
            let is_overlays = name.starts_with(b"user.overlay.");
            if is_overlays || (name != b"security.capability" && !name.starts_with(b"user.")) {
                let note = match name {
                    _ if name.starts_with(b"trusted.") || is_overlays => {
                        "attributes by which the kernel is told what a layer means"
                    }
                    _ => "attributes of the machine that has made the image",
                };
                self.note(note, &entry.path);
                continue;
            }
            match fsetxattr(file, &name[..], value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::PERM | Errno::NOTSUP) => {
                    self.note("attributes that cannot be set here", &entry.path);
                }
                Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => {
                    self.note(
                        "attributes that the store's file system has no room for",
                        &entry.path,
                    );
                }
                Err(errno) => {
                    return Err(Error::os(format!("set attribute {}", shown(name)), errno));
                }
            }
        }
        Ok(())
    }

    /// Modes and times of directories, the deepest first: nothing is made in them any more.
    fn finish(&mut self) -> Result<()> {
        for (path, (mode, mtime)) in std::mem::take(&mut self.directories).into_iter().rev() {
            let names = names(&path)?;
            let at = || shown(&path);
            let opened = match names.split_last() {
                None => openat(self.tree.root(), ".", tree::TO_READ, Mode::empty()),
                Some((leaf, parents)) => match self.tree.existing(parents) {
                    Ok(parent) => openat(parent, *leaf, tree::TO_READ, Mode::empty()),
                    Err(error) => Err(error.errno().unwrap_or(Errno::NOENT)),
                },
            };
            let dir = match opened {
                // A later entry has taken its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                opened => opened.call(|| "open".into()).at(at)?,
            };
            fchmod(&dir, Mode::from_raw_mode(mode)).call(|| "fchmod".into()).at(at)?;
            futimens(&dir, &times(mtime)).call(|| "utimensat".into()).at(at)?;
        }
        Ok(())
    }
}

/// An entry says when it was changed; when it was read last, nobody knows.
fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let changed = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: now, last_modification: changed }
}
