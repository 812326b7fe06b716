//! A kept upper directory belongs to one container. Whose it is stands in a file beside it; who
//! reads or writes that locks it. It is free again when that container is deleted: so no `kill
//! -9` leaves it locked, and none frees what may still be mounted.

use super::Runtime;
use crate::error::{Context as _, Error, Kind, Result};
use crate::plan::overlay::{NOT_TO_CHANGE, Overlay, Upper};
use crate::store::{Dir, NamedBy, Record, Store, check_owners};
use crate::sys::file::read_stream;
use crate::sys::lock::lock_exclusive;
use rustix::fs::{CWD, Mode, OFlags, SeekFrom, fstat, ftruncate, mkdirat, openat, seek, stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind::NotFound, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// The file in a kept directory that names its holder: when that was created, and its state.
const HOLDER: &str = "holder";
/// How long another command may have it locked, in seconds: it reads and writes a few lines.
const LOCK_TIMEOUT: u32 = 10;

/// Takes the directory that keeps what is written, if there is one, for the container of `record`,
/// which is on disk by now; makes it, if it is missing.
///
/// # Errors
/// Another container that has it; whatever keeps us from knowing that; a directory of others, or
/// one that holds something else.
pub(super) fn take(runtime: &Runtime, overlay: &Overlay, dir: &Dir, record: &Record) -> Result<()> {
    let Upper::Dir(path) = &overlay.upper else { return Ok(()) };
    let at = |error: Error| error.at("--overlay-dir");
    check_apart(path, overlay).map_err(at)?;
    // What is in it may be setuid: nobody else gets there.
    match mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(at(Error::os(format!("mkdir {}", path.display()), errno))),
    }
    check_owners(path).and_then(|()| hold(runtime, path, dir, record)).map_err(at)
}

/// A lower directory is not to change, and the kernel would have an upper one in it. Here links
/// are followed, and other mounts of the same directory are known.
fn check_apart(path: &Path, overlay: &Overlay) -> Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path);
    let is_missing =
        |found: &std::io::Result<_>| matches!(found, Err(error) if error.kind() == NotFound);
    let mut known = real(path);
    if is_missing(&known) {
        // It is yet to be made, which tells whether it can be.
        known = real(path.parent().unwrap_or(path));
        if is_missing(&known) {
            return Ok(());
        }
    }
    let known = known.call(|| format!("realpath {}", path.display()))?;
    let mut above = Vec::new();
    for dir in known.ancestors() {
        let found = stat(dir).call(|| format!("stat {}", dir.display()))?;
        above.push((found.st_dev, found.st_ino));
    }
    for lower in &overlay.lowers {
        // What is wrong with one is told when it is opened.
        let Ok(found) = stat(&lower.path) else { continue };
        if above.contains(&(found.st_dev, found.st_ino)) {
            let message = format!("{} lies in {}", path.display(), lower.path.display());
            return Err(Error::new(message).hint(NOT_TO_CHANGE));
        }
    }
    Ok(())
}

/// The file, opened. It also says that the directory is one of ours, in which `work` may be
/// emptied.
fn open_holder(path: &Path) -> Result<OwnedFd> {
    let shown = path.display();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(CWD, path, flags, Mode::empty()).call(|| format!("open {shown}"))?;
    let mode = Mode::from_raw_mode(fstat(&dir).call(|| format!("fstat {shown}"))?.st_mode);
    if mode.intersects(Mode::RWXG | Mode::RWXO) {
        let message = format!("{shown} is open to others, mode {:04o}", mode.as_raw_mode());
        return Err(
            Error::new(message).hint("a container may leave setuid programs in it: `chmod 700` it")
        );
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let call = || format!("open {shown}/{HOLDER}");
    match openat(&dir, HOLDER, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return opened.call(call),
    }
    for entry in rustix::fs::Dir::read_from(&dir).call(|| format!("read {shown}"))? {
        let entry = entry.call(|| format!("read {shown}"))?;
        let name = entry.file_name().to_string_lossy();
        // Another command may just have made it.
        if ![".", "..", HOLDER].contains(&&*name) {
            return Err(Error::new(format!("{shown} is not empty, it has {name:?}"))
                .hint("give one that an earlier container has kept, or a new one"));
        }
    }
    openat(&dir, HOLDER, flags | OFlags::CREATE, Mode::RUSR | Mode::WUSR).call(call)
}

fn hold(runtime: &Runtime, path: &Path, dir: &Dir, record: &Record) -> Result<()> {
    let file = path.join(HOLDER);
    let fd = open_holder(path)?;
    lock_exclusive(fd.as_fd(), LOCK_TIMEOUT)
        .call(|| format!("flock {}", file.display()))
        .map_err(|error| error.hint_on(Errno::INTR, "another command has it locked"))?;
    let text = read_stream(&fd).call(|| format!("read {}", file.display()))?;
    let text = String::from_utf8_lossy(&text);
    if let Some((created, state)) = text.split_once('\n')
        && is_held(runtime, created, Path::new(state))?
    {
        let id = Path::new(state).file_name().unwrap_or_default().to_string_lossy();
        let message =
            format!("{} is in use by container {id:?}, whose state is {state:?}", path.display());
        return Err(Error::new(message).hint(format!("`pinnace delete {id}` gives it back")));
    }
    let text = format!("{}\n{}", record.created, dir.path().display());
    ftruncate(&fd, 0).call(|| format!("ftruncate {}", file.display()))?;
    seek(&fd, SeekFrom::Start(0)).call(|| format!("lseek {}", file.display()))?;
    // The lock goes with it.
    File::from(fd).write_all(text.as_bytes()).call(|| format!("write {}", file.display()))
}

/// Whether that container is still there. Another one of its name was created at another time.
fn is_held(runtime: &Runtime, created: &str, state: &Path) -> Result<bool> {
    let (Some(root), Some(id)) = (state.parent(), state.file_name().and_then(|id| id.to_str()))
    else {
        return Ok(false);
    };
    if !root.is_absolute() {
        return Ok(false);
    }
    let elsewhere;
    let store = if root == runtime.store.root() {
        &runtime.store
    } else {
        elsewhere = Store::new(root, NamedBy::Option)?;
        &elsewhere
    };
    match store.summary(id) {
        Ok(summary) => Ok(summary.created == created),
        Err(error) if error.get_kind() == Kind::NoContainer => Ok(false),
        Err(error) => Err(error.at(format!("the last holder, {}", state.display()))),
    }
}
