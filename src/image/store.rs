//! Where layers are kept: each once, by the digest of what is in it, never changed after. Above
//! them nobody but the owner has an entry (CVE-2021-41091).
//!
//! | | |
//! |---|---|
//! | `layers/sha256/DIGEST` | the root of a layer, as overlay takes it |
//! | `layers/sha256/DIGEST.json` | what is known of it |
//! | `images/DIGEST.json` | an image: its names, its layers, the bundles that were made of it |
//! | `tmp/DIGEST`, `tmp/DIGEST.lock` | a layer that is being made, and who makes it |
//! | `lock` | shared by who adds, alone for who removes |

use super::digest::{Algorithm, Digest};
use super::tell::tell;
use super::tree::{self, open_named, remove};
use crate::error::{At as _, Context as _, Error, Result};
use crate::sys::lock::{lock_exclusive, lock_shared};
use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, Stat, fchmod, flock, fstat, fstatvfs, mkdirat,
    openat, renameat, syncfs, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The store of root.
pub const DEFAULT: &str = "/var/lib/pinnace";
/// How long another one may work on a layer, or add an image, in seconds.
const LOCK_TIMEOUT: u32 = 600;
/// What the name of a layer ends with that is none yet, or none any more.
const DOOMED: &str = ".doomed";
/// What the name of a record ends with that is being written.
const NEW: &str = ".new";
/// The most bytes of a record.
const RECORD: u64 = 4 << 20;

/// A store.
#[derive(Debug)]
pub struct Store {
    /// Where it is.
    pub path: PathBuf,
    dir: OwnedFd,
}

/// What is known of a layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Layer {
    /// Bytes of its files.
    pub bytes: u64,
    /// Entries of its archive.
    pub entries: u64,
    /// The attribute of its opaque directories.
    pub opaque: String,
    /// If its archive has device nodes: whether they are ones here, too.
    #[serde(default)]
    pub devices: Option<bool>,
}

/// What is known of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// As it was named when it was unpacked.
    pub names: Vec<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Digest>,
    /// Absolute paths of the bundles that use them.
    pub bundles: Vec<String>,
}

/// A lock that ends with it.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

/// The right to make a layer.
#[derive(Debug)]
pub struct Making {
    /// `tmp/`, in which it is made.
    tmp: OwnedFd,
    name: String,
    _lock: OwnedFd,
}

impl Store {
    /// Opens the store, which is made if it is not there.
    ///
    /// # Errors
    /// A directory that others may write to, or that is not the caller's.
    pub fn open(path: &Path) -> Result<Self> {
        let at = || format!("store {}", path.display());
        make_all(path).at(at)?;
        let dir = open_named(path).call(|| "open".into()).at(at)?;
        let stat = fstat(&dir).call(|| "fstat".into()).at(at)?;
        is_own(&stat, 0o022, "others may write to it, or it is not yours").at(at)?;
        for name in ["images", "layers", "layers/sha256", "layers/sha512", "tmp"] {
            match mkdirat(&dir, name, Mode::RWXU) {
                Ok(()) => continue,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::os(format!("make {name}"), errno).at(at())),
            }
            // The store may have been a stranger's, or everybody's, before it was the caller's.
            let found = openat(&dir, name, tree::TO_READ, Mode::empty());
            let stat = found.and_then(fstat).call(|| format!("open {name}")).at(at)?;
            let wrong = format!("others may enter its {name}, or that is not yours");
            is_own(&stat, 0o077, &wrong).at(at)?;
        }
        let path = std::fs::canonicalize(path).call(|| "resolve".into()).at(at)?;
        Ok(Self { path, dir })
    }

    /// The directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Bytes that a new layer may have.
    ///
    /// # Errors
    /// Those of statfs(2).
    pub fn free(&self) -> Result<u64> {
        let stat = fstatvfs(&self.dir).call(|| "statvfs of the store".into())?;
        // A disk that is full to the last byte serves nobody.
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize) / 20 * 19)
    }

    /// Whether a layer is there.
    ///
    /// # Errors
    /// Those of fstatat(2).
    pub fn has(&self, layer: &Digest) -> Result<bool> {
        let found = tree::look(self.dir(), inside(layer).as_bytes());
        Ok(found.call(|| format!("look for layer {layer}"))?.is_some())
    }

    /// Where a layer is, for a mount.
    pub fn path_of(&self, layer: &Digest) -> PathBuf {
        self.path.join(inside(layer))
    }

    /// A layer's root.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open_layer(&self, layer: &Digest) -> Result<OwnedFd> {
        openat(&self.dir, inside(layer), tree::TO_READ, Mode::empty())
            .call(|| format!("open layer {layer}"))
    }

    /// What is known of a layer.
    ///
    /// # Errors
    /// A record that is damaged.
    pub fn layer(&self, layer: &Digest) -> Result<Layer> {
        self.read(&format!("{}.json", inside(layer)))?
            .ok_or_else(|| Error::new(format!("layer {layer}: its record is missing")))
    }

    /// Keeps others from removing anything.
    ///
    /// # Errors
    /// If another one does for too long.
    pub fn share(&self) -> Result<Lock> {
        let file = self.lock_file("lock")?;
        if flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK) {
            tell("waiting for another pinnace-image, which removes layers");
        }
        lock_shared(file.as_fd(), LOCK_TIMEOUT).map_err(|errno| late(errno, "removes layers"))?;
        Ok(Lock { _file: file })
    }

    /// Keeps all others out.
    ///
    /// # Errors
    /// If another one adds for too long.
    pub fn alone(&self) -> Result<Lock> {
        let file = self.lock_file("lock")?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            tell("waiting for another pinnace-image, which unpacks an image");
        }
        lock_exclusive(file.as_fd(), LOCK_TIMEOUT)
            .map_err(|errno| late(errno, "unpacks an image"))?;
        Ok(Lock { _file: file })
    }

    /// The right to make a layer; what a crash has left of it is gone.
    ///
    /// # Errors
    /// If another one makes it for too long.
    pub fn making(&self, layer: &Digest) -> Result<Making> {
        let tmp = openat(&self.dir, "tmp", tree::TO_READ, Mode::empty())
            .call(|| "open tmp of the store".into())?;
        let name = layer.hex.clone();
        let file = loop {
            let file = self.lock_file(&format!("tmp/{name}.lock"))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                tell(&format!(
                    "waiting for another pinnace-image, which unpacks layer {}",
                    layer.short()
                ));
            }
            lock_exclusive(file.as_fd(), LOCK_TIMEOUT)
                .map_err(|errno| late(errno, &format!("unpacks layer {layer}")))?;
            // Who had it before may have removed the file.
            if fstat(&file).call(|| "fstat".into())?.st_nlink > 0 {
                break file;
            }
        };
        remove(tmp.as_fd(), name.as_bytes(), 0)?;
        Ok(Making { tmp, name, _lock: file })
    }

    /// Puts a layer that is whole in its place.
    ///
    /// # Errors
    /// Those of sync(2) and rename(2).
    pub fn keep(
        &self,
        layer: &Digest,
        making: &Making,
        root: &OwnedFd,
        record: &Layer,
    ) -> Result<()> {
        self.write(&format!("{}.json", inside(layer)), record)?;
        // What is named by its digest must be whole after a crash of the machine, too.
        syncfs(root).call(|| "syncfs of the store".into())?;
        let call = || format!("put layer {layer} in its place");
        match renameat(&making.tmp, &making.name, &self.dir, inside(layer)) {
            Err(Errno::ACCESS) => {}
            done => return done.call(call),
        }
        // A user may move no directory to another one that they may not write to, as `/` of some.
        let stat = fstat(root).call(call)?;
        let near = format!("{}{DOOMED}", layer.hex);
        let above = format!("layers/{}", layer.algorithm.name());
        let above = openat(&self.dir, &above, tree::TO_READ, Mode::empty()).call(call)?;
        remove(above.as_fd(), near.as_bytes(), 0)?;
        fchmod(root, Mode::RWXU).call(call)?;
        renameat(&making.tmp, &making.name, &above, &near).call(call)?;
        fchmod(root, Mode::from_raw_mode(stat.st_mode & 0o7777)).call(call)?;
        renameat(&above, &near, &above, &layer.hex).call(call)
    }

    /// All images.
    ///
    /// # Errors
    /// A record that is damaged.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for name in self.names("images")? {
            if name.ends_with(".json") {
                images.extend(self.read(&format!("images/{name}"))?);
            }
        }
        Ok(images)
    }

    /// Notes an image.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_image(&self, image: &Image) -> Result<()> {
        self.write(&format!("images/{}.json", image.manifest.hex), image)
    }

    /// Notes that an image was unpacked, under this name, for that bundle.
    ///
    /// # Errors
    /// Those of reading and writing records.
    pub fn add_image(&self, mut image: Image) -> Result<()> {
        // Two may add the same one at once.
        let file = self.lock_file("images/lock")?;
        lock_exclusive(file.as_fd(), LOCK_TIMEOUT)
            .map_err(|errno| late(errno, "notes an image"))?;
        let path = format!("images/{}.json", image.manifest.hex);
        if let Some(known) = self.read::<Image>(&path)? {
            image.names.extend(known.names);
            image.bundles.extend(known.bundles);
        }
        for list in [&mut image.names, &mut image.bundles] {
            list.sort();
            list.dedup();
        }
        self.write(&path, &image)
    }

    /// Forgets an image.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn forget(&self, image: &Image) -> Result<()> {
        let path = format!("images/{}.json", image.manifest.hex);
        unlinkat(&self.dir, &path, AtFlags::empty()).call(|| format!("remove {path}"))
    }

    /// All layers.
    ///
    /// # Errors
    /// Those of reading the directories.
    pub fn layers(&self) -> Result<Vec<Digest>> {
        let mut all = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for name in self.names(&format!("layers/{}", algorithm.name()))? {
                all.extend(Digest::parse(&format!("{}:{name}", algorithm.name())));
            }
        }
        Ok(all)
    }

    /// Removes a layer.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove_layer(&self, layer: &Digest) -> Result<()> {
        let above = format!("layers/{}", layer.algorithm.name());
        let dir = openat(&self.dir, &above, tree::TO_READ, Mode::empty())
            .call(|| format!("open {above}"))?;
        // By another name first: half of a layer is none.
        let doomed = format!("{}{DOOMED}", layer.hex);
        // What is left of an earlier one, whose removal was interrupted.
        remove(dir.as_fd(), doomed.as_bytes(), 0)?;
        match renameat(&dir, &layer.hex, &dir, &doomed) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::os(format!("remove layer {layer}"), errno)),
        }
        remove(dir.as_fd(), doomed.as_bytes(), 0)?;
        remove(dir.as_fd(), format!("{}.json", layer.hex).as_bytes(), 0)
    }

    /// Removes layers that nobody makes any more. Returns how many.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn sweep(&self) -> Result<u32> {
        let mut swept = 0;
        for name in self.names("tmp")? {
            let Some(layer) = name.strip_suffix(".lock") else { continue };
            let file = self.lock_file(&format!("tmp/{name}"))?;
            // One that is removed is no lock: another one may make the layer under a new one.
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
                || fstat(&file).call(|| "fstat".into())?.st_nlink == 0
            {
                continue;
            }
            let tmp = openat(&self.dir, "tmp", tree::TO_READ, Mode::empty())
                .call(|| "open tmp".into())?;
            remove(tmp.as_fd(), layer.as_bytes(), 0)?;
            remove(tmp.as_fd(), name.as_bytes(), 0)?;
            swept += 1;
        }
        Ok(swept)
    }

    /// Removes all else that crashes have left: what was being removed, and records of nothing. Only
    /// who is alone knows that nobody is about to use it.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn tidy(&self, _alone: &Lock) -> Result<u32> {
        let mut tidied = self.sweep()?;
        for above in ["tmp", "images", "layers/sha256", "layers/sha512"] {
            let dir = openat(&self.dir, above, tree::TO_READ, Mode::empty())
                .call(|| format!("open {above}"))?;
            let names = self.names(above)?;
            for name in &names {
                let has = |other: &str| names.binary_search_by(|name| (**name).cmp(other)).is_ok();
                let is_left = match name.strip_suffix(".json") {
                    Some(layer) => above.starts_with("layers/") && !has(layer),
                    None if above == "tmp" => !name.ends_with(".lock"),
                    None => name.starts_with('.') || name.ends_with(DOOMED) || name.ends_with(NEW),
                };
                if is_left {
                    remove(dir.as_fd(), name.as_bytes(), 0)?;
                    tidied += 1;
                }
            }
        }
        Ok(tidied)
    }

    fn names(&self, path: &str) -> Result<Vec<String>> {
        let call = || format!("read {path} of the store");
        let dir = openat(&self.dir, path, tree::TO_READ, Mode::empty()).call(call)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir).call(call)? {
            let entry = entry.call(call)?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        names.sort();
        Ok(names)
    }

    fn lock_file(&self, path: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.dir, path, flags, Mode::RUSR | Mode::WUSR)
            .call(|| format!("open {path} of the store"))
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<Option<T>> {
        let call = || format!("read {path} of the store");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&self.dir, path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => File::from(opened.call(call)?),
        };
        let mut text = Vec::new();
        file.take(RECORD).read_to_end(&mut text).call(call)?;
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::new(error.to_string())
                .at(call())
                .hint("remove the file, and unpack the image again")
        })
    }

    fn write(&self, path: &str, record: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(record).map_err(|error| Error::new(error.to_string()))?;
        let new = format!("{path}{NEW}");
        let call = || format!("write {path} of the store");
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, &new, flags, Mode::RUSR | Mode::WUSR).call(call)?;
        let written = File::from(file).write_all(text.as_bytes()).call(call);
        let done = written.and_then(|()| renameat(&self.dir, &new, &self.dir, path).call(call));
        done.map_err(|error| error.and(remove(self.dir(), new.as_bytes(), 0)))
    }
}

impl Making {
    /// An empty directory for the layer's root.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn root(&self) -> Result<OwnedFd> {
        let call = || "make a directory in tmp of the store".into();
        tree::make_plain(self.tmp.as_fd(), self.name.as_bytes()).call(call)?;
        openat(&self.tmp, &self.name, tree::TO_READ, Mode::empty()).call(call)
    }

    /// Ends it, and removes what is not in its place.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn end(self) -> Result<()> {
        remove(self.tmp.as_fd(), self.name.as_bytes(), 0)?;
        remove(self.tmp.as_fd(), format!("{}.lock", self.name).as_bytes(), 0)
    }
}

fn late(errno: Errno, what: &str) -> Error {
    match errno {
        Errno::INTR => {
            Error::new(format!("another pinnace-image {what}, for more than {LOCK_TIMEOUT} s"))
        }
        errno => Error::os("flock", errno),
    }
}

/// The place of a layer in the store.
fn inside(layer: &Digest) -> String {
    format!("layers/{}/{}", layer.algorithm.name(), layer.hex)
}

/// A directory of the caller's, where nobody else has these rights.
fn is_own(stat: &Stat, rights: u32, otherwise: &str) -> Result<()> {
    if stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & rights == 0 {
        return Ok(());
    }
    Err(Error::new(otherwise).hint("--store DIR names another directory, or one to be made"))
}

/// The last directory is the caller's alone.
fn make_all(path: &Path) -> Result<()> {
    let mut missing = vec![path];
    while let Some(above) = missing.last().and_then(|path| path.parent()) {
        if above.as_os_str().is_empty() || above.exists() {
            break;
        }
        missing.push(above);
    }
    for dir in missing.iter().rev() {
        let mode = if *dir == path { Mode::RWXU } else { Mode::from_raw_mode(0o755) };
        match mkdirat(CWD, *dir, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(Error::os(format!("make {}", dir.display()), errno)
                    .hint("--store DIR names another directory"));
            }
        }
    }
    Ok(())
}

/// The store that a caller has who names none.
///
/// # Errors
/// A user without a home.
pub fn usual() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(DEFAULT.into());
    }
    let named = |name: &str| std::env::var_os(name).filter(|dir| dir.as_bytes().starts_with(b"/"));
    if let Some(data) = named("XDG_DATA_HOME") {
        return Ok(Path::new(&data).join("pinnace"));
    }
    let home = named("HOME");
    let home = home.ok_or_else(|| {
        Error::new("neither XDG_DATA_HOME nor HOME is set").hint("--store DIR names a directory")
    })?;
    Ok(Path::new(&home).join(".local/share/pinnace"))
}
