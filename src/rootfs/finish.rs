//! After pivot_root: what must come when no hook of the container can interfere
//! any more.

use super::root::{Held, Links, Node, Root};
use super::{mask, mount, pivot};
use crate::error::{At, Context, Error, Result};
use crate::plan::Rootfs;
use crate::sys::file::{Magic, is_on};
use crate::sys::mount::{Attributes, Change, RDONLY};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat, major, openat};
use rustix::io::Errno;

/// Completes the tree. `console` is the terminal's end that the container gets,
/// opened by `TIOCGPTPEER` from the container's own devpts.
///
/// Read-only and masked paths come last but for the root, so that nothing is
/// made below them; sysctls must be written before this.
pub fn finish(plan: &Rootfs, root: &Root, console: Option<BorrowedFd<'_>>) -> Result<()> {
    if !plan.is_mounted() {
        return Ok(());
    }
    // Before what hides a destination, as the console and the masks may; from here on
    // nothing is found by a path that leads through one.
    root.verify()?;
    if let Some(console) = console {
        bind_console(root, console).at(|| "/dev/console")?;
    }
    let late = |held: &&Held| held.late_readonly;
    for held in root.held.borrow().iter().filter(late) {
        if let Some(mount) = held.fd() {
            read_only(mount).at(|| held.field.clone())?;
        }
    }
    mask::readonly(plan, root)?;
    mask::mask(plan, root)?;
    if plan.readonly {
        read_only(root.fd()).at(|| "root.readonly")?;
    }
    root.release();
    pivot::propagate(plan, root)
}

fn read_only(mount: BorrowedFd<'_>) -> Result<()> {
    let attributes = Attributes { set: RDONLY, clear: 0 };
    mount::change(mount, &Change { attributes, ..Change::default() })
}

/// Major numbers of pseudo-terminals (kernel: admin-guide/devices.txt).
const PTY_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// Binds the terminal itself, not a path that may lead elsewhere by now
/// (CVE-2025-52565).
fn bind_console(root: &Root, console: BorrowedFd<'_>) -> Result<()> {
    let stat = fstat(console).call(|| "fstat".into())?;
    let is_pty = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && PTY_MAJORS.contains(&major(stat.st_rdev))
        && is_on(console, Magic::Devpts).call(|| "fstatfs".into())?;
    if !is_pty {
        return Err(Error::new("the terminal is not a pseudo-terminal of a devpts"));
    }
    let dev = root.ensure("/dev", Links::Follow, || Ok(Node::Dir))?.fd;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let target = match openat(&dev, "console", flags, Mode::from_raw_mode(0o666)) {
        Err(Errno::EXIST) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(&dev, "console", flags, Mode::empty()).call(|| "open".into())?
        }
        made => made.call(|| "make its mount point".into())?,
    };
    let kind = FileType::from_raw_mode(fstat(&target).call(|| "fstat".into())?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::CharacterDevice) {
        return Err(Error::new(format!("the mount point is a {kind:?}")));
    }
    let tree = mount::clone_fd(console, false).call(|| "open_tree of the terminal".into())?;
    mount::attach(tree.as_fd(), target.as_fd()).call(|| "move_mount".into())
}
