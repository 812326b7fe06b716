//! Paths that are hidden or read-only. Each is found once, by descriptor; a
//! path that does not exist needs neither.

use super::mount;
use super::root::{Links, Root};
use crate::error::{At, Context, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::FileSystem;
use crate::sys::mount::{Attributes, Change, RDONLY};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, fstat, makedev};
use rustix::io::Errno;

/// Makes paths read-only, with all that is mounted below them; their other
/// attributes stay.
pub(super) fn readonly(plan: &Rootfs, root: &Root) -> Result<()> {
    let change = Change {
        attributes: Attributes { set: RDONLY, clear: 0 },
        recursive: true,
        ..Change::default()
    };
    for (index, path) in plan.readonly_paths.iter().enumerate() {
        one_readonly(path, root, &change)
            .at(|| path)
            .at(|| format!("linux.readonlyPaths[{index}]"))?;
    }
    Ok(())
}

fn one_readonly(path: &str, root: &Root, change: &Change<'_>) -> Result<()> {
    let Some(target) = find(path, root)? else { return Ok(()) };
    if target.is_root {
        // The root alone, as with root.readonly.
        return mount::change(root.fd(), &Change { recursive: false, ..*change });
    }
    let target = target.fd.as_fd();
    let copy = mount::clone_fd(target, true).call(|| "open_tree".into())?;
    // Before it is attached: never writable in between.
    let unchanged = super::bind::apply(&[*change], copy.as_fd())?;
    mount::attach(copy.as_fd(), target).call(|| "move_mount".into())?;
    if unchanged { mount::change(copy.as_fd(), change) } else { Ok(()) }
}

/// What a path leads to.
struct Target {
    fd: OwnedFd,
    /// Upon the root itself nothing can be laid: whoever has it as root is below that.
    is_root: bool,
}

fn find(path: &str, root: &Root) -> Result<Option<Target>> {
    let (found, through_link) = match root.open(path, Links::Refuse) {
        Err(Errno::LOOP) => (root.open(path, Links::Follow), true),
        found => (found, false),
    };
    let fd = match found {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        found => found.call(|| "openat2".into())?,
    };
    let is_root = path == "/" || (through_link && root.is(&fd)?);
    Ok(Some(Target { fd, is_root }))
}

/// Hides paths: a file behind /dev/null, a directory behind an empty read-only
/// tmpfs, one file system for all of them.
pub(super) fn mask(plan: &Rootfs, root: &Root) -> Result<()> {
    let mut covers = Covers { null: None, empty: None };
    for (index, path) in plan.masked_paths.iter().enumerate() {
        one_mask(plan, path, root, &mut covers)
            .at(|| path)
            .at(|| format!("linux.maskedPaths[{index}]"))?;
    }
    Ok(())
}

/// What lies over hidden paths, opened when first wanted.
struct Covers {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

fn one_mask(plan: &Rootfs, path: &str, root: &Root, covers: &mut Covers) -> Result<()> {
    let Some(Target { fd: target, is_root }) = find(path, root)? else { return Ok(()) };
    if is_root {
        return Err(Error::new("leads to the root, which cannot be hidden"));
    }
    let kind = FileType::from_raw_mode(fstat(&target).call(|| "fstat".into())?.st_mode);
    if kind == FileType::Directory {
        // Only a mount that is attached can be copied, so the first one is kept.
        let tree = match &covers.empty {
            Some(first) => mount::clone_fd(first.as_fd(), false).call(|| "open_tree".into())?,
            None => empty_directory(plan.mount_label.as_deref())?,
        };
        mount::attach(tree.as_fd(), target.as_fd()).call(|| "move_mount".into())?;
        covers.empty.get_or_insert(tree);
        return Ok(());
    }
    let null = match covers.null.take() {
        Some(null) => null,
        None => verified_null(root)?,
    };
    let tree = mount::clone_fd(null.as_fd(), false).call(|| "open_tree /dev/null".into())?;
    covers.null = Some(null);
    mount::attach(tree.as_fd(), target.as_fd()).call(|| "move_mount".into())
}

fn empty_directory(label: Option<&str>) -> Result<OwnedFd> {
    let limit = |name: &str| (name.to_owned(), Some("1".to_owned()));
    let fs = FileSystem {
        kind: "tmpfs".into(),
        source: Some("tmpfs".into()),
        data: vec![limit("nr_blocks"), limit("nr_inodes")],
        ..FileSystem::default()
    };
    mount::new(&fs, RDONLY, label)
}

/// The container's /dev/null, if it is that: another file there, or a link, would
/// be laid over the path that is to be hidden (CVE-2025-31133).
fn verified_null(root: &Root) -> Result<OwnedFd> {
    let null = root.open("/dev/null", Links::NotLast).call(|| "open /dev/null".into())?;
    let stat = fstat(&null).call(|| "fstat /dev/null".into())?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if device && stat.st_rdev == makedev(1, 3) {
        return Ok(null);
    }
    Err(Error::new("the container's /dev/null is not the character device 1:3"))
}
