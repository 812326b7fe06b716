//! Pseudo-terminals: the container's, and the one that the user sits at.

use crate::error::{At, Context, Error, Result};
use crate::sys::file::{Magic, is_on};
use crate::sys::resolve;
use rustix::fs::{AtFlags, FileType, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{
    OptionalActions, OutputModes, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Both sides of a new pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The side that the runtime or the engine holds.
    pub master: OwnedFd,
    /// The side that becomes the process's stdio.
    pub slave: OwnedFd,
}

/// Opens a terminal of the devpts that is mounted inside `root`. The image could have put
/// anything in that place, and to open a device may do something. So the directory is
/// checked first, in which the kernel alone makes files; the other side is got from the
/// kernel, not by its path (CVE-2025-52565).
///
/// # Errors
/// If there is no devpts at `/dev/pts`.
pub fn open(root: BorrowedFd<'_>) -> Result<Pty> {
    let links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = resolve::open(root, "dev/pts", flags, links | ResolveFlags::IN_ROOT)
        .call(|| "open /dev/pts in the container".into())
        .map_err(missing)?;
    if !is_on(&dir, Magic::Devpts).call(|| "statfs /dev/pts".into())? {
        return Err(Error::new("/dev/pts in the container is not a devpts").at("process.terminal"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let same_mount = links | ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    let master = resolve::open(dir.as_fd(), "ptmx", flags, same_mount)
        .call(|| "open /dev/pts/ptmx in the container".into())
        .map_err(missing)?;
    let stat = rustix::fs::fstat(&master).call(|| "stat /dev/pts/ptmx".into())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        || stat.st_rdev != rustix::fs::makedev(5, 2)
    {
        return Err(Error::new("/dev/pts/ptmx in the container is no ptmx").at("process.terminal"));
    }
    unlockpt(&master).call(|| "ioctl(TIOCSPTLCK)".into())?;
    let open = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, open).call(|| "ioctl(TIOCGPTPEER)".into())?;
    Ok(Pty { master, slave })
}

fn missing(error: Error) -> Error {
    error.at("process.terminal").hint("mounts needs a devpts at /dev/pts")
}

/// Makes `slave` the stdio of this process, whose owner it gets as any other.
///
/// # Errors
/// Those of dup2(2), which has none in practice.
pub fn become_stdio(slave: &OwnedFd, size: Option<(u16, u16)>) -> Result<()> {
    if let Some((rows, columns)) = size {
        set_size(slave.as_fd(), rows, columns)?;
    }
    rustix::stdio::dup2_stdin(slave).call(|| "dup2 the terminal to 0".into())?;
    rustix::stdio::dup2_stdout(slave).call(|| "dup2 the terminal to 1".into())?;
    rustix::stdio::dup2_stderr(slave).call(|| "dup2 the terminal to 2".into())
}

/// Makes the terminal at stdin the controlling one of this process's session.
///
/// # Errors
/// `EPERM` if we lead no session.
pub fn take_control() -> Result<()> {
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).call(|| "ioctl(TIOCSCTTY)".into())
}

/// Sets a terminal's size in characters.
///
/// # Errors
/// `ENOTTY`.
pub fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).call(|| "ioctl(TIOCSWINSZ)".into())
}

/// Lets the process's line feeds through as they are: what relays them to a file or a pipe is
/// no terminal, where a carriage return would belong to them (`ONLCR`, termios(3)).
///
/// # Errors
/// Those of tcgetattr(3) and tcsetattr(3).
pub fn keep_line_feeds(master: BorrowedFd<'_>) -> Result<()> {
    let mut modes = tcgetattr(master).call(|| "tcgetattr".into())?;
    modes.output_modes.remove(OutputModes::ONLCR);
    tcsetattr(master, OptionalActions::Now, &modes).call(|| "tcsetattr".into())
}

/// The user's terminal: the first of our standard streams that is one.
pub fn of_user() -> Option<BorrowedFd<'static>> {
    [stdin(), stdout(), stderr()].into_iter().find(|stream| isatty(stream))
}

/// Gives `to` the size of `from`; a `from` that is no terminal has none, nor has one
/// whose other side is gone (EIO).
///
/// # Errors
/// Those of ioctl(2) on `to`.
pub fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    match tcgetwinsize(from) {
        Ok(size) => tcsetwinsize(to, size).call(|| "ioctl(TIOCSWINSZ)".into()),
        Err(Errno::NOTTY | Errno::INVAL | Errno::IO) => Ok(()),
        Err(errno) => Err(Error::os("ioctl(TIOCGWINSZ)", errno)),
    }
}

/// Whether a process with a terminal, or without, has somebody who takes it:
/// `socket`, or our own process unless it `detaches`. Checked before anything is
/// made.
///
/// # Errors
/// A socket without a terminal, a terminal without a socket; what is no socket.
pub fn check(terminal: bool, socket: Option<&Path>, detaches: bool) -> Result<()> {
    match socket {
        Some(_) if !terminal => {
            Err(Error::new("a console socket is given, but process.terminal is not set")
                .at("--console-socket"))
        }
        Some(path) => check_socket(path),
        None if terminal && detaches => {
            Err(Error::new("needs --console-socket when the runtime detaches")
                .at("process.terminal"))
        }
        None => Ok(()),
    }
}

fn check_socket(path: &Path) -> Result<()> {
    let call = || format!("stat {}", path.display());
    let stat = rustix::fs::statat(rustix::fs::CWD, path, AtFlags::empty())
        .call(call)
        .at(|| "--console-socket")?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Socket {
        return Ok(());
    }
    Err(Error::new(format!("{} is not a socket", path.display())).at("--console-socket"))
}

/// The user's terminal in raw mode, put back when dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// `None` if `terminal` is not one. `shows` is whether what the process prints comes to
    /// it: already laid out then, it must not be changed any more. Otherwise what others
    /// print there is to look as ever.
    ///
    /// # Errors
    /// Those of tcsetattr(3).
    pub fn enter(terminal: BorrowedFd<'_>, shows: bool) -> Result<Option<Self>> {
        if !isatty(terminal) {
            return Ok(None);
        }
        let before = tcgetattr(terminal).call(|| "tcgetattr".into())?;
        let mut raw = before.clone();
        raw.make_raw();
        if !shows {
            raw.output_modes = before.output_modes;
        }
        tcsetattr(terminal, OptionalActions::Now, &raw).call(|| "tcsetattr".into())?;
        let terminal = terminal.try_clone_to_owned().call(|| "dup the terminal".into())?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone by now: then there is nothing to put back.
        let _gone = tcsetattr(&self.terminal, OptionalActions::Now, &self.before).is_err();
    }
}
