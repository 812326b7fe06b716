//! Joining namespaces that exist (setns(2)): those of `linux.namespaces[].path`,
//! or those of a running container.

use crate::error::{At, Context, Error, Result};
use crate::plan::{Findings, Kind, Namespaces};
use crate::sys::namespace::{join, kind_of};
use crate::sys::process::{Namespaces as Flags, forbid_tracing, unshare};
use rustix::fs::{Mode, OFlags, fstat, open, openat, stat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Namespaces to join: by file, or those of a process.
#[derive(Debug)]
pub enum Join {
    /// `linux.namespaces[].path`, opened.
    Files(Vec<(Kind, OwnedFd)>),
    /// Those kinds of the process behind a pidfd.
    Process(OwnedFd, Flags),
}

impl Join {
    /// Whether one of that kind is among them.
    pub fn has(&self, kind: Kind) -> bool {
        match self {
            Self::Files(files) => files.iter().any(|(other, _)| *other == kind),
            Self::Process(_, kinds) => kinds.0 & kind.flag().0 != 0,
        }
    }

    /// The file of that kind.
    pub fn file(&self, kind: Kind) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Files(files) => {
                files.iter().find(|(other, _)| *other == kind).map(|(_, file)| file.as_fd())
            }
            Self::Process(..) => None,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Files(files) if files.is_empty())
    }
}

/// Opens the files of `linux.namespaces` and checks the kind of each, before
/// anything is made.
///
/// # Errors
/// A missing file, or one of another kind (config-linux.md, "Namespaces"); the runtime's own
/// namespace, if the configuration changes something of it.
pub fn open_files(planned: &Namespaces) -> Result<Join> {
    files(planned).collect::<Result<_>>().map(Join::Files)
}

/// Looks for the files, for `plan`: each that is missing or wrong is told.
pub fn look(planned: &Namespaces, findings: &mut Findings) {
    for file in files(planned) {
        findings.keep(file);
    }
}

fn files(planned: &Namespaces) -> impl Iterator<Item = Result<(Kind, OwnedFd)>> {
    let one = move |((kind, path), field): (&(Kind, PathBuf), &String)| {
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open {}", kind.name()))
            .at(|| path.display())
            .at(|| field)
            .map_err(|error| match error.errno() {
                Some(Errno::NOENT | Errno::NOTDIR) => error.hint(namespace_file(*kind)),
                Some(Errno::ACCESS) => error.hint("needs the right to trace that process"),
                _ => error,
            })?;
        match kind_of(file.as_fd()) {
            Ok(found) if found == kind.flag() => {
                check_changed(planned, *kind, file.as_fd())
                    .hint(|| format!("{field}: {}", path.display()))?;
                Ok((*kind, file))
            }
            Ok(found) => {
                let found = Kind::ALL.into_iter().find(|kind| kind.flag() == found);
                let name = found.map_or("unknown", Kind::name);
                Err(Error::new(format!("is a namespace of type {name}"))
                    .at(path.display())
                    .at(field)
                    .hint(format!("its entry has the type {}", kind.name())))
            }
            Err(_) => Err(Error::new("is not a namespace file")
                .at(path.display())
                .at(field)
                .hint(namespace_file(*kind))),
        }
    };
    planned.join.iter().zip(&planned.join_fields).map(one)
}

/// What a namespace is joined by.
fn namespace_file(kind: Kind) -> String {
    let file = kind.file();
    format!("join it by /proc/PID/ns/{file} of a process in it, or by a bind mount of that file")
}

/// The runtime's own namespace is the host's, which no bundle may change.
fn check_changed(planned: &Namespaces, kind: Kind, file: BorrowedFd<'_>) -> Result<()> {
    let Some((_, field)) = planned.changed.iter().find(|(changed, _)| *changed == kind) else {
        return Ok(());
    };
    let own = format!("/proc/self/ns/{}", kind.file());
    let own = stat(&own).call(|| format!("stat {own}")).at(|| &field)?;
    let joined = fstat(file).call(|| "fstat".into()).at(|| &field)?;
    if (own.st_dev, own.st_ino) != (joined.st_dev, joined.st_ino) {
        return Ok(());
    }
    Err(Error::new(format!(
        "the {} namespace that the container joins is the runtime's own",
        kind.name()
    ))
    .at(field))
}

/// Makes namespaces, of the calling process.
///
/// # Errors
/// Those of unshare(2).
pub fn make(kinds: Flags) -> Result<()> {
    if kinds == Flags::default() {
        return Ok(());
    }
    unshare(kinds).map_err(|errno| explain("unshare", kinds, errno))
}

/// A time namespace to be made, with the offsets of its clocks (`time_namespaces(7)`).
#[derive(Debug, Clone, Copy)]
pub struct Clocks<'a> {
    /// The host's procfs.
    pub proc: BorrowedFd<'a>,
    /// Lines for `timens_offsets`.
    pub offsets: &'a [String],
}

/// The same, with the file that takes the offsets.
#[derive(Debug)]
pub struct OpenClocks<'a> {
    clocks: Clocks<'a>,
    file: Option<OwnedFd>,
}

impl<'a> Clocks<'a> {
    /// Opens the file of this process while it may: before it joins a user namespace, changes
    /// its ids, or an ordinary user's process forbids tracing. After that the file belongs to
    /// root of the host. The kernel judges a write by the credentials of who opened the file.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(self) -> Result<OpenClocks<'a>> {
        if self.offsets.is_empty() {
            return Ok(OpenClocks { clocks: self, file: None });
        }
        let path = "self/timens_offsets";
        let file = openat(self.proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let file = file.call(|| format!("open /proc/{path}")).at(|| "linux.timeOffsets");
        let file = file.hint_on(Errno::NOENT, || "this kernel has no time namespaces")?;
        Ok(OpenClocks { clocks: self, file: Some(file) })
    }
}

impl OpenClocks<'_> {
    /// Makes the namespace for the children of this process and sets its clocks, which is
    /// possible only while no process is in it.
    ///
    /// # Errors
    /// Those of unshare(2) and of the write.
    pub fn make(&self) -> Result<()> {
        make(Kind::Time.flag())?;
        let Some(file) = &self.file else { return Ok(()) };
        let lines = self.clocks.offsets.join("\n");
        let call = || format!("write {lines:?} to /proc/self/timens_offsets");
        let written =
            rustix::io::write(file, lines.as_bytes()).call(call).at(|| "linux.timeOffsets");
        written
            .map(drop)
            .hint_on(Errno::PERM, || "needs CAP_SYS_TIME in the user namespace")
            .hint_on(Errno::RANGE, || "the clock would be negative, or run over")
    }

    /// Makes it and enters it.
    ///
    /// # Errors
    /// Those of [`Self::make`], open(2) and setns(2).
    pub fn enter(&self) -> Result<()> {
        self.make()?;
        let call = || "enter the new time namespace".into();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(self.clocks.proc, "self/ns/time_for_children", flags, Mode::empty());
        join(file.call(call)?.as_fd(), Kind::Time.flag()).call(call)
    }
}

/// Why the kernel makes none of `kinds`.
pub fn explain(call: &str, kinds: Flags, errno: Errno) -> Error {
    let new = Kind::ALL.into_iter().filter(|kind| kinds.0 & kind.flag().0 != 0);
    let new: Vec<_> = new.map(Kind::name).collect();
    let error = Error::os(format!("{call}({})", new.join(", ")), errno).at("linux.namespaces");
    match errno {
        Errno::PERM if kinds.0 & Kind::User.flag().0 != 0 => {
            error.hint("are unprivileged user namespaces allowed on this host?")
        }
        Errno::PERM => error.hint("needs root, or a user namespace"),
        Errno::NOSPC => error.hint("the limits in /proc/sys/user/max_*_namespaces are reached"),
        _ => error,
    }
}

/// cgroup v1: enters one hierarchy through its opened `tasks` file.
///
/// # Errors
/// Those of the write (cgroups(7)).
pub fn enter_cgroup(path: &str, file: BorrowedFd<'_>) -> Result<()> {
    let Err(errno) = rustix::io::write(file, b"0") else { return Ok(()) };
    let error = Error::os(format!("write 0 to {path}"), errno);
    Err(error.hint_on(Errno::NOSPC, "its cpuset has no CPUs or no memory nodes").hint_on(
        Errno::INVAL,
        "a real-time process needs linux.resources.cpu.realtimeRuntime; is the caller one?",
    ))
}

impl Join {
    /// None to join.
    pub const NONE: Self = Self::Files(Vec::new());

    /// Enters the namespaces, in the new process or in the intermediate one. That of
    /// processes takes effect for the next child.
    ///
    /// Those of the host can only be entered before a user namespace takes our
    /// privileges away, those that belong to the user namespace only after it:
    /// so a refused one is tried again.
    ///
    /// # Errors
    /// Those of setns(2).
    pub fn enter(&self) -> Result<()> {
        match self {
            Self::Process(pidfd, kinds) => enter_process(pidfd.as_fd(), *kinds)?,
            Self::Files(files) => {
                let mut later = Vec::new();
                for (kind, file) in files.iter().filter(|(kind, _)| *kind != Kind::User) {
                    match join(file.as_fd(), kind.flag()) {
                        Err(Errno::PERM) if self.has(Kind::User) => later.push((kind, file)),
                        joined => joined.map_err(|errno| refused(*kind, errno))?,
                    }
                }
                if let Some((_, user)) = files.iter().find(|(kind, _)| *kind == Kind::User) {
                    join(user.as_fd(), Kind::User.flag())
                        .map_err(|errno| refused(Kind::User, errno))?;
                }
                for (kind, file) in later {
                    join(file.as_fd(), kind.flag()).map_err(|errno| refused(*kind, errno))?;
                }
            }
        }
        // The capabilities of another user namespace are a change of credentials.
        forbid_tracing().call(|| "prctl(PR_SET_DUMPABLE)".into())
    }
}

/// Why the kernel lets nobody join (setns(2)).
fn refused(kind: Kind, errno: Errno) -> Error {
    let call = format!("setns to the {} namespace", kind.name());
    let error = Error::os(call, errno).at("linux.namespaces");
    match (errno, kind) {
        (Errno::INVAL, Kind::User) => {
            error.hint("it is the runtime's own: leave this entry out to stay in it")
        }
        (Errno::PERM, _) => error.hint("needs CAP_SYS_ADMIN in the user namespace that owns it"),
        _ => error,
    }
}

/// A process could not be made in a pid namespace that was joined.
pub fn lacks_init(call: &str, errno: Errno) -> Error {
    let error = Error::os(call, errno);
    if errno != Errno::NOMEM {
        return error;
    }
    error.hint(
        "the first process of that pid namespace has ended, and so it takes no other \
         (pid_namespaces(7)): join one that lives, or leave out the path",
    )
}

fn enter_process(pidfd: BorrowedFd<'_>, kinds: Flags) -> Result<()> {
    if kinds.0 == 0 {
        return Ok(()); // it shares all of ours, and setns(2) refuses to do nothing
    }
    join(pidfd, kinds).call(|| "setns to the container's namespaces".into())
}
