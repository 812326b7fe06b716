//! What is on disk: one directory a container under the state root, with a
//! record of everything that must be found again and a copy of its
//! configuration. Status is never read from here: see [`crate::container`].

mod dir;
mod empty;
mod id;
mod named;
mod pid_file;
mod process_id;
mod record;
mod trust;

pub use dir::{Dir, Lock, Prepared, is_damaged};
pub use id::check as check_id;
pub use named::NamedBy;
pub use pid_file::{check_pid_file, write_pid_file};
pub use process_id::ProcessId;
pub use record::{Record, RecordSummary};
pub use trust::DEFAULT as DEFAULT_ROOT;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::file;
use dir::{RECORD, explain, is_there, lock, missing};
use rustix::fs::{Access, CWD, Mode, OFlags, access, fstat, lstat, open};
use rustix::io::Errno;
use std::cell::OnceCell;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// How often another's removal may make `create` take the id anew.
const MAX_ATTEMPTS: usize = 16;

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
        Ok(Some(Dir::new(fd, id, path)))
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
