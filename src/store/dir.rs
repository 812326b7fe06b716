//! The directory of one container: its files, and the locks on it.

use super::empty::empty;
use super::process_id::ProcessId;
use super::record::Record;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::file::{self, Magic, is_on};
use crate::sys::lock::lock_exclusive;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;
use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How long a command waits for another one on the same container, in seconds.
const LOCK_TIMEOUT: u32 = 30;

pub(super) const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
const FILTER: &str = "filter";

/// One container's directory, held open.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    id: String,
    path: PathBuf,
    /// For names that no other process uses.
    pid: OnceCell<u32>,
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
pub(super) fn explain(error: Error, id: &str) -> Error {
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

pub(super) fn missing(id: &str) -> Error {
    Error::new(format!("container {id:?} does not exist")).kind(Kind::NoContainer)
}

impl Dir {
    /// The directory of container `id` at `path`, which is open.
    pub(super) fn new(fd: OwnedFd, id: &str, path: PathBuf) -> Self {
        Self { fd, id: id.to_owned(), path, pid: OnceCell::new() }
    }

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

    /// Ends what [`super::Store::claim`] has begun: the first record is there.
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

pub(super) fn is_there(dir: impl AsFd, path: impl Arg) -> rustix::io::Result<bool> {
    match statat(dir, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(false),
        found => found.map(|_| true),
    }
}

pub(super) fn lock(fd: &OwnedFd, id: &str, path: &Path) -> Result<()> {
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

pub(super) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes))?;
        bytes = &bytes[count..];
    }
    Ok(())
}
