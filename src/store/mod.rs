//! What is on disk: one directory a container under the state root, with a
//! record of everything that must be found again and a copy of its
//! configuration. Status is never read from here: see [`crate::container`].

mod empty;
mod id;
mod named;
mod pid_file;
mod process_id;
mod record;
mod trust;

pub use id::check as check_id;
pub use named::NamedBy;
pub use pid_file::{check_pid_file, write_pid_file};
pub use process_id::ProcessId;
pub use record::{Record, RecordSummary};
pub use trust::DEFAULT as DEFAULT_ROOT;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::file::{self, Magic, is_on};
use crate::sys::lock::lock_exclusive;
use empty::empty;
use rustix::fs::{
    Access, AtFlags, CWD, FlockOperation, Mode, OFlags, access, flock, fstat, lstat, open, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;
use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// How long a command waits for another one on the same container, in seconds.
const LOCK_TIMEOUT: u32 = 30;

/// How often another's removal may make `create` take the id anew.
const MAX_ATTEMPTS: usize = 16;

const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
const FILTER: &str = "filter";
/// The socket that `start` connects to; it exists as long as the container
/// has not been started.
pub const START: &str = "start";

/// The state root: `/run/pinnace`, or what `--root` says. It is looked at when a
/// command first uses it ([`trust`]).
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    named_by: NamedBy,
    /// Whether it is there, once it has been looked at.
    is_there: OnceCell<bool>,
}

/// One container's directory, held open.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    id: String,
    path: PathBuf,
    /// For names that no other process uses.
    pid: OnceCell<u32>,
}

impl Store {
    /// A store at `root`; nothing is made yet.
    ///
    /// # Errors
    /// For `/`, which would make every directory a container.
    pub fn new(root: &Path, named_by: NamedBy) -> Result<Self> {
        let root = std::path::absolute(root).call(|| named_by.name().into())?;
        if root == Path::new("/") {
            let name = named_by.name();
            return Err(Error::new("/ cannot be the state directory").at(name));
        }
        Ok(Self { root, named_by, is_there: OnceCell::new() })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// For who has not found a container: where else it may be.
    pub fn elsewhere(&self) -> String {
        self.named_by.elsewhere(&self.root)
    }

    /// Takes the id: making the directory is what makes it unique. Until
    /// [`Dir::show`] it is locked: one without a record that nobody holds was left by
    /// a `create` that has been killed, and anybody may delete it.
    ///
    /// # Errors
    /// An id that is in use ("already exists", which engines match), a state
    /// root that cannot be written, or that others can. No directory is left then.
    pub fn claim(&self, id: &str) -> Result<Dir> {
        id::check(id)?;
        let path = self.root.join(id);
        if !self.is_there()? {
            self.make().map_err(|error| self.named_by.explain(error))?;
        }
        for _ in 0..MAX_ATTEMPTS {
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Err(Errno::EXIST) => {
                    return Err(Error::new(format!("container with id {id:?} already exists"))
                        .hint(format!("`pinnace delete {id}` removes it")));
                }
                made => made
                    .call(|| format!("mkdir {}", path.display()))
                    .map_err(|error| self.named_by.explain(error))?,
            }
            match self.open(id, true) {
                // Somebody has deleted the empty directory before we had locked it.
                Ok(None) => {}
                Ok(Some(dir)) => return Ok(dir),
                Err(error) => {
                    let undone = rustix::fs::rmdir(&path);
                    return Err(error.and(undone.call(|| format!("rmdir {}", path.display()))));
                }
            }
        }
        Err(Error::new(format!("{} is removed as often as it is made", path.display())))
    }

    /// Whether a container could be made here, for `plan`.
    ///
    /// # Errors
    /// A state root that cannot be used, or made.
    pub fn look(&self) -> Result<()> {
        let does = if self.is_there()? { "write to" } else { "mkdir" };
        let place = self.root.ancestors().find(|place| lstat(*place).is_ok()).unwrap_or(&self.root);
        let may = Access::WRITE_OK | Access::EXEC_OK;
        // The real ids are the effective ones: nobody gives this program others.
        access(place, may)
            .call(|| format!("{does} {}", self.root.display()))
            .map_err(|error| self.named_by.explain(error))
    }

    /// Makes the state root, and what is missing above it.
    fn make(&self) -> Result<()> {
        let call = || format!("mkdir {}", self.root.display());
        // Sticky, or a cleaner of $XDG_RUNTIME_DIR takes it away.
        let make = || rustix::fs::mkdir(&self.root, Mode::from_raw_mode(0o1711));
        let made = match (make(), self.root.parent()) {
            // All above was looked at when it was not there, and this is as we have made it.
            (Ok(()), _) => return Ok(()),
            (Err(Errno::NOENT), Some(above)) => {
                std::fs::DirBuilder::new().recursive(true).mode(0o711).create(above).call(call)?;
                make()
            }
            (made, _) => made,
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::os(call(), errno)),
        }
        match trust::root(&self.root)? {
            true => Ok(()),
            false => Err(Error::os(call(), Errno::NOENT)),
        }
    }

    /// Whether the state root is there; looked at once, before anything in it is used.
    fn is_there(&self) -> Result<bool> {
        if let Some(is_there) = self.is_there.get() {
            return Ok(*is_there);
        }
        let is_there = trust::root(&self.root).map_err(|error| self.named_by.explain(error))?;
        Ok(*self.is_there.get_or_init(|| is_there))
    }

    /// The directory of a container that exists.
    ///
    /// # Errors
    /// "container does not exist", which engines match; one that others have made.
    pub fn get(&self, id: &str) -> Result<Dir> {
        id::check(id)?;
        self.is_there()?;
        self.open(id, false)?.ok_or_else(|| missing(id))
    }

    /// The directory, if it is there; maybe locked before it is looked at.
    fn open(&self, id: &str, locked: bool) -> Result<Option<Dir>> {
        let path = self.root.join(id);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            fd => fd.call(|| format!("open {}", path.display()))?,
        };
        if locked {
            lock(&fd, id, &path)?;
        }
        let found = fstat(&fd).call(|| format!("fstat {}", path.display()))?;
        if found.st_nlink == 0 {
            return Ok(None);
        }
        trust::container(&path, &found)?;
        Ok(Some(Dir { fd, id: id.to_owned(), path, pid: OnceCell::new() }))
    }

    /// The record of a container, by a path: for who only looks. Nobody else can
    /// replace what is in the state root.
    ///
    /// # Errors
    /// As [`Store::get`] and [`Dir::load`].
    pub fn summary(&self, id: &str) -> Result<RecordSummary> {
        id::check(id)?;
        self.is_there()?;
        let dir = self.root.join(id);
        match lstat(&dir) {
            Err(Errno::NOENT) => return Err(missing(id)),
            found => trust::container(&dir, &found.call(|| format!("stat {}", dir.display()))?)?,
        }
        let path = dir.join(RECORD);
        let text = match file::read_short(&path) {
            Err(Errno::NOENT) => return Err(missing(id)),
            text => text.call(|| format!("read {}", path.display())),
        };
        text.and_then(|text| crate::spec::parse(&path.to_string_lossy(), &text))
            .map_err(|error| explain(error, id))
    }

    /// Whether a container has a file of that name.
    ///
    /// # Errors
    /// If that cannot be known.
    pub fn has(&self, id: &str, name: &str) -> Result<bool> {
        let path = self.root.join(id).join(name);
        is_there(CWD, &path).call(|| format!("stat {}", path.display()))
    }

    /// The ids of all containers, in order.
    ///
    /// # Errors
    /// If the state root cannot be read. The default one, if it is missing, holds nothing;
    /// a missing one that the caller has named is [`Kind::NoContainer`].
    pub fn ids(&self) -> Result<Vec<String>> {
        let call = || format!("read {}", self.root.display());
        if !self.is_there()? {
            return match self.named_by {
                NamedBy::Option => Err(Error::os(call(), Errno::NOENT)
                    .at("--root")
                    .hint("no container has been created with this --root")
                    .kind(Kind::NoContainer)),
                _ => Ok(Vec::new()),
            };
        }
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.call(call).map_err(|error| self.named_by.explain(error))?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.call(call)?;
            let is_dir = match entry.file_type() {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                kind => kind.call(call)?.is_dir(),
            };
            let name = entry.file_name().into_string().ok();
            ids.extend(name.filter(|id| is_dir && id::check(id).is_ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

fn missing(id: &str) -> Error {
    Error::new(format!("container {id:?} does not exist")).kind(Kind::NoContainer)
}

/// Whether nobody but the caller and root can write to a directory, or put another in its place.
///
/// # Errors
/// Who can, or that it is none.
pub fn check_owners(path: &Path) -> Result<()> {
    let hint = "it must be the caller's or root's, and so must be what is above it";
    // What is said of a state root helps nobody here.
    match trust::root(path).map_err(|error| error.bare().hint(hint))? {
        true => Ok(()),
        false => Err(Error::os(path.display().to_string(), Errno::NOENT)),
    }
}

/// Whether a file has been read, or can never be, and is not what we have written.
pub fn is_damaged(error: &Error) -> bool {
    error.get_kind() != Kind::NoContainer
        && matches!(
            error.errno(),
            None | Some(Errno::FBIG | Errno::ISDIR | Errno::LOOP | Errno::NXIO)
        )
}

/// What can be done about a record that cannot be read.
fn explain(error: Error, id: &str) -> Error {
    let error = file::explain(error);
    match is_damaged(&error) {
        // Beside what the reader of JSON advises: nobody has written it by hand.
        true => error.also(format!(
            "the record of container {id} is damaged; `pinnace delete --force {id}` ends and \
             removes what can still be found of it"
        )),
        false => error,
    }
}

impl Dir {
    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Absolute path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record: a temporary file, then a rename, so that a reader
    /// sees the old or the new one and a killed writer harms neither.
    ///
    /// # Errors
    /// A full disk, a read-only state root.
    pub fn save(&self, record: &Record) -> Result<()> {
        self.prepare_record(record)?.commit()
    }

    /// As [`Dir::save`], up to the last step: nobody sees the record yet.
    ///
    /// # Errors
    /// As [`Dir::save`].
    pub fn prepare_record(&self, record: &Record) -> Result<Prepared<'_>> {
        let text =
            serde_json::to_vec(record).map_err(|error| Error::new(format!("{RECORD}: {error}")))?;
        self.prepare(RECORD, &text)
    }

    /// The record.
    ///
    /// # Errors
    /// "does not exist" if another command is just deleting it.
    pub fn load(&self) -> Result<Record> {
        self.read(RECORD)
            .and_then(|text| {
                crate::spec::parse(&format!("{}/{RECORD}", self.path.display()), &text)
            })
            .map_err(|error| explain(error, &self.id))
    }

    /// Keeps the configuration as it was at `create`: later edits of the
    /// bundle must not matter (runtime.md, "Create").
    ///
    /// # Errors
    /// As [`Dir::save`].
    pub fn save_config(&self, text: &[u8]) -> Result<()> {
        self.write(CONFIG, text)
    }

    /// As [`Dir::save_config`], up to the last step, which takes no space.
    ///
    /// # Errors
    /// As [`Dir::save`].
    pub fn prepare_config(&self, text: &[u8]) -> Result<Prepared<'_>> {
        self.prepare(CONFIG, text)
    }

    /// The saved configuration.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG).map_err(file::explain)
    }

    /// Keeps the compiled filter for processes that come later.
    ///
    /// # Errors
    /// As [`Dir::save`].
    pub fn save_filter(&self, bytes: &[u8]) -> Result<()> {
        self.write(FILTER, bytes)
    }

    /// The saved filter, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn filter(&self) -> Result<Option<Vec<u8>>> {
        match file::read_at(self.fd.as_fd(), FILTER) {
            Err(Errno::NOENT) => Ok(None),
            bytes => bytes.map(Some).call(|| format!("read {}/{FILTER}", self.path.display())),
        }
    }

    /// The identity of a process, for the record.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn mark(&self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<ProcessId> {
        let call = || format!("fstatfs {}", self.path.display());
        match is_on(&self.fd, Magic::Tmpfs).call(call)? {
            true => ProcessId::until_reboot(pid, pidfd),
            false => ProcessId::across_reboots(pid, pidfd),
        }
    }

    /// Whether a file of that name is there.
    ///
    /// # Errors
    /// If that cannot be known.
    pub fn has(&self, name: &str) -> Result<bool> {
        is_there(&self.fd, name).call(|| format!("stat {}/{name}", self.path.display()))
    }

    /// Whether nobody has removed the directory since it was opened.
    fn is_there(&self) -> Result<bool> {
        let found = fstat(&self.fd).call(|| format!("fstat {}", self.path.display()))?;
        Ok(found.st_nlink > 0)
    }

    /// Removes a file; a missing one is as good.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove_file(&self, name: &str) -> Result<()> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::os(format!("unlink {}/{name}", self.path.display()), errno)),
        }
    }

    /// Ends what [`Store::claim`] has begun: the first record is there.
    ///
    /// # Errors
    /// None for a descriptor that is open.
    pub fn show(&self) -> Result<()> {
        flock(&self.fd, FlockOperation::Unlock).call(|| format!("flock {}", self.path.display()))
    }

    /// Keeps other commands that change this container out until the result is
    /// dropped.
    ///
    /// # Errors
    /// After a while; or "does not exist" if the container went meanwhile.
    pub fn lock(&self) -> Result<Lock<'_>> {
        lock(&self.fd, &self.id, &self.path)?;
        let lock = Lock(self);
        if self.has(RECORD)? { Ok(lock) } else { Err(missing(&self.id)) }
    }

    /// As [`Dir::lock`], of one that may have no record: then no `create` is at work on it.
    ///
    /// # Errors
    /// As [`Dir::lock`].
    pub fn lock_empty(&self) -> Result<Lock<'_>> {
        lock(&self.fd, &self.id, &self.path)?;
        let lock = Lock(self);
        if self.is_there()? { Ok(lock) } else { Err(missing(&self.id)) }
    }

    /// Keeps those out who freeze or thaw the container, until the result is dropped. Nobody
    /// who has it waits for a process of the container. It is the lock of the record, which
    /// is not replaced any more once the container is created.
    ///
    /// # Errors
    /// As [`Dir::lock`].
    pub fn lock_record(&self) -> Result<OwnedFd> {
        let path = self.path.join(RECORD);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = match openat(&self.fd, RECORD, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(missing(&self.id)),
            fd => fd.call(|| format!("open {}", path.display()))?,
        };
        lock(&fd, &self.id, &path)?;
        match fstat(&fd).call(|| format!("fstat {}", path.display()))?.st_nlink {
            0 => Err(missing(&self.id)),
            _ => Ok(fd),
        }
    }

    /// Removes all that is in the directory but the record, the saved configuration last
    /// of it: as long as that is there, it can be repeated with its `poststop` hooks.
    ///
    /// # Errors
    /// Those of unlink(2) and rmdir(2).
    pub fn clear(&self) -> Result<()> {
        let stays = [RECORD.as_bytes(), CONFIG.as_bytes()];
        empty(self.fd.as_fd(), |name| !stays.contains(&name.to_bytes()))
            .call(|| format!("remove {}", self.path.display()))?;
        self.remove_last(CONFIG)
    }

    /// As [`Dir::remove_file`], whatever somebody has put in the place of our file.
    fn remove_last(&self, name: &str) -> Result<()> {
        match self.remove_file(name) {
            Err(error) if error.errno() == Some(Errno::ISDIR) => {
                empty(self.fd.as_fd(), |other| other.to_bytes() == name.as_bytes())
                    .call(|| format!("remove {}/{name}", self.path.display()))
            }
            removed => removed,
        }
    }

    /// Removes the directory once it has been cleared. The record goes last, and comes
    /// back if the directory stays, so that a later `delete` finds what this one has left.
    ///
    /// # Errors
    /// Those of unlink(2) and rmdir(2).
    pub fn remove(&self, record: Option<&Record>) -> Result<()> {
        self.remove_last(RECORD)?;
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                let error = Error::os(format!("rmdir {}", self.path.display()), errno);
                Err(error.and(record.map_or(Ok(()), |record| self.save(record))))
            }
        }
    }

    fn write(&self, name: &'static str, text: &[u8]) -> Result<()> {
        self.prepare(name, text)?.commit()
    }

    fn prepare(&self, name: &'static str, text: &[u8]) -> Result<Prepared<'_>> {
        let path = || format!("{}/{name}", self.path.display());
        let temporary = format!(".{name}.{}", self.pid.get_or_init(std::process::id));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&self.fd, &*temporary, flags, Mode::from_raw_mode(0o600))
            .call(|| format!("create {}", path()))?;
        let prepared = Prepared { dir: self, name, temporary, done: false };
        write_all(file.as_fd(), text).call(|| format!("write {}", path()))?;
        Ok(prepared)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        match file::read_short_at(self.fd.as_fd(), name) {
            Err(Errno::NOENT) => Err(missing(&self.id)),
            text => text.call(|| format!("read {}/{name}", self.path.display())),
        }
    }
}

fn is_there(dir: impl AsFd, path: impl Arg) -> rustix::io::Result<bool> {
    match statat(dir, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(false),
        found => found.map(|_| true),
    }
}

fn lock(fd: &OwnedFd, id: &str, path: &Path) -> Result<()> {
    match lock_exclusive(fd.as_fd(), LOCK_TIMEOUT) {
        Err(Errno::INTR) => Err(Error::new(format!(
            "container {id:?} is busy: another command has held its lock for {LOCK_TIMEOUT} s"
        ))),
        locked => locked.call(|| format!("flock {}", path.display())),
    }
}

/// A file that only wants its name; it goes if it does not get that.
#[derive(Debug)]
pub struct Prepared<'a> {
    dir: &'a Dir,
    name: &'static str,
    temporary: String,
    done: bool,
}

impl Prepared<'_> {
    /// Puts it in the place of the old one.
    ///
    /// # Errors
    /// Those of rename(2).
    pub fn commit(mut self) -> Result<()> {
        renameat(&self.dir.fd, &*self.temporary, &self.dir.fd, self.name)
            .call(|| format!("rename to {}/{}", self.dir.path.display(), self.name))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        // Best effort: the directory is removed with whatever is in it.
        let _stays_at_worst = !self.done && self.dir.remove_file(&self.temporary).is_err();
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Proof that nobody else changes the container now.
#[derive(Debug)]
pub struct Lock<'a>(&'a Dir);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // The lock would end with the descriptor anyway; this can only fail
        // for a descriptor that is not open.
        let _cannot_fail = flock(&self.0.fd, FlockOperation::Unlock).is_err();
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes))?;
        bytes = &bytes[count..];
    }
    Ok(())
}
