//! Running from a copy of our own program that nobody can write to: what runs
//! in a container can reach the runtime's file by `/proc/PID/exe` while the
//! runtime is there, and as root overwrite it afterwards (CVE-2019-5736).
//!
//! The copy is a detached mount of that one file, made read-only. It shares the
//! page cache, so nothing is copied. While its descriptor is open, a process
//! with `CAP_SYS_ADMIN` over its own mount namespace could make it writable
//! again by `mount_setattr(2)`. But the descriptor closes in the execve(2) that
//! starts the copy, before there is a container; that dissolves the mount, and
//! the kernel lets nobody change, clone or attach a mount that is nowhere
//! mounted. What is left of it, for the running program alone, stays read-only.
//!
//! Without the privilege for that, and before Linux 5.12, the copy is a memfd
//! with seals: any open for writing is then refused for ever.

use super::denied;
use super::errno::last_errno;
use super::mount::{Attributes, Change, RDONLY, mount_setattr};
use super::signal;
use crate::error::{At, Context, Error, Result};
use rustix::fs::{
    AtFlags, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, StatxFlags, fcntl_add_seals,
    fcntl_get_seals, fstatvfs, memfd_create, open, sendfile, statx,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const SELF: &str = "/proc/self/exe";
/// The variable that tells a copy that it is one, so that it makes no other. It holds the
/// pid, which stays in execve(2): what a child of a copy inherits says nothing of it.
const COPIED: &str = "PINNACE_COPIED";
/// `STATX_ATTR_MOUNT_ROOT`, Linux 5.8.
const MOUNT_ROOT: u64 = 0x2000;
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// The file of this program, found once: the first look into a process's own
/// directory of /proc costs the kernel more than all that is done here.
#[derive(Debug)]
pub struct Own(OwnedFd, rustix::io::Result<Option<(bool, u32)>>);

impl Own {
    /// Opens it, by `O_PATH`.
    ///
    /// # Errors
    /// A `/proc` that is not mounted.
    pub fn open() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = open(SELF, flags, Mode::empty()).call(|| format!("open {SELF}"));
        let file = file.hint(|| "is /proc mounted?")?;
        let place = place(&file);
        Ok(Self(file, place))
    }

    /// Whether a path leads to it, or to the file that it is a sealed mount of.
    pub fn is_at(&self, path: &std::path::Path) -> bool {
        let id = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let own = rustix::fs::fstat(&self.0).map(id);
        own.is_ok_and(|own| rustix::fs::stat(path).map(id) == Ok(own))
    }

    /// The path by which it was called, found as a shell does.
    ///
    /// # Errors
    /// If no such path leads to it.
    pub fn path(&self) -> Result<std::path::PathBuf> {
        use std::os::unix::ffi::OsStrExt as _;
        let line = "/proc/self/cmdline";
        let words = super::file::read_short(line).call(|| format!("read {line}"))?;
        let word = words.split(|byte| *byte == 0).next().unwrap_or_default();
        let word = std::path::Path::new(std::ffi::OsStr::from_bytes(word));
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        let mut all = std::env::split_paths(&dirs).map(|dir| dir.join(word));
        let is_path = word.as_os_str().as_bytes().contains(&b'/');
        // A memfd is another file than the one that it is a copy of.
        let is_copy = has_seals().unwrap_or(false);
        let fits = |path: &std::path::PathBuf| self.is_at(path) || (is_copy && path.is_file());
        let found = if is_path { Some(word.to_owned()) } else { all.find(fits) };
        let found = found.and_then(|path| std::fs::canonicalize(path).ok());
        found.filter(fits).ok_or_else(|| {
            Error::new("the path of this program cannot be found for its hooks")
                .hint("call it by its path")
        })
    }

    /// Whether it can be written to by nobody: asked of the kernel, as an
    /// argument or a variable could be anybody's.
    ///
    /// # Errors
    /// Those of the calls that ask. An error is no "no": the copy would be copied again,
    /// for ever.
    pub fn is_sealed(&self) -> Result<bool> {
        let call = || format!("is {SELF} sealed?");
        let Some((is_mount, links)) = self.1.call(call)? else {
            // Of the two kinds of copy only a memfd can be known then.
            return has_seals().call(call);
        };
        if is_mount {
            // A file that is a mount's root: no ordinary read-only file system,
            // which the host may make writable later.
            let fs = fstatvfs(&self.0).call(call)?;
            return Ok(fs.f_flag.contains(StatVfsMountFlags::RDONLY));
        }
        // A memfd has no name.
        Ok(links == 0 && has_seals().call(call)?)
    }

    /// Starts the program anew from a sealed copy, with the same arguments and
    /// environment; returns only if that fails.
    ///
    /// # Errors
    /// `ENOMEM`, or whatever execveat(2) has against both kinds of copy; if this is such
    /// a copy already.
    pub fn run_sealed(&self, args: &[CString]) -> Result<std::convert::Infallible> {
        // Nobody has to believe the variable, but to go on would have no end.
        let pid = std::process::id().to_string();
        if std::env::var_os(COPIED).is_some_and(|mark| mark == *pid) {
            return Err(Error::new(format!("{SELF}: the copy of the program is not sealed"))
                .hint(format!("does a filter keep it from being? {COPIED} is set for it")));
        }
        let mark = CString::new(format!("{COPIED}={pid}"))
            .map_err(|_| Error::new("a pid has no NUL byte"))?;
        if matches!(self.1, Ok(Some(_)))
            && let Ok(mount) = readonly_mount(&self.0)
        {
            // Refused where `/proc` or the mount does not allow it: then the other.
            execute(&mount, args, &mark);
        }
        // `ulimit -f` binds a memfd, too.
        let memfd = signal::with_errors_of_limits(sealed_memfd);
        let memfd = memfd.call(|| format!("memfd_create: copy {SELF}"))?;
        let errno = execute(&memfd, args, &mark);
        Err(errno).call(|| "execveat of the sealed program".into())
    }
}

/// Whether it is the root of a mount, and how many names it has; `None` where
/// statx(2) cannot be had: an old container engine's filter may forbid it.
fn place(file: &OwnedFd) -> rustix::io::Result<Option<(bool, u32)>> {
    match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK) {
        Err(Errno::NOSYS | Errno::PERM) => {
            denied::expect();
            Ok(None)
        }
        stat => {
            stat.map(|stat| Some((stat.stx_attributes.bits() & MOUNT_ROOT != 0, stat.stx_nlink)))
        }
    }
}

/// Whether this program is a memfd that nobody can write to. What is no memfd has no
/// seals: fcntl(2) gives `EINVAL`.
fn has_seals() -> rustix::io::Result<bool> {
    match fcntl_get_seals(readable()?) {
        Err(Errno::INVAL) => Ok(false),
        seals => seals.map(|seals| seals.contains(SEALS)),
    }
}

fn readable() -> rustix::io::Result<OwnedFd> {
    open(SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn readonly_mount(own: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(own, "", flags)?;
    let attributes = Attributes { set: RDONLY, clear: 0 };
    mount_setattr(mount.as_fd(), &Change { attributes, ..Change::default() })?;
    Ok(mount)
}

fn sealed_memfd() -> rustix::io::Result<OwnedFd> {
    let file = readable()?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC, Linux 6.3: a sysctl may have made the opposite the default.
    let exec = MemfdFlags::from_bits_retain(0x10);
    let copy = match memfd_create("pinnace", flags | exec) {
        Err(Errno::INVAL) => memfd_create("pinnace", flags)?,
        made => made?,
    };
    while sendfile(&copy, &file, None, 1 << 30)? > 0 {}
    fcntl_add_seals(&copy, SEALS)?;
    Ok(copy)
}

unsafe extern "C" {
    /// environ(7).
    static environ: *const *const c_char;
}

/// The environment of this process, for a program that is not a copy of this one.
pub fn environment() -> Vec<CString> {
    let mut all = Vec::new();
    // SAFETY: only read, by a program with one thread that never changes it.
    let mut place = unsafe { environ };
    loop {
        // SAFETY: the list ends in a null pointer, and has not been left.
        let one = unsafe { *place };
        if one.is_null() {
            return all;
        }
        // SAFETY: each entry of the list is a C string.
        let entry = unsafe { CStr::from_ptr(one) };
        if !entry.to_bytes().starts_with(b"PINNACE_COPIED=") {
            all.push(entry.to_owned());
        }
        // SAFETY: the place behind one that is not the end.
        place = unsafe { place.add(1) };
    }
}

/// `execveat(2)` of an open file: returns only on failure.
fn execute(file: &OwnedFd, args: &[CString], mark: &CStr) -> Errno {
    let args: Vec<*const c_char> =
        args.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: only read, by a program with one thread that never changes it.
    let mut place = unsafe { environ };
    let mut environment = vec![mark.as_ptr()];
    loop {
        // SAFETY: the list ends in a null pointer, and has not been left.
        let one = unsafe { *place };
        environment.push(one);
        if one.is_null() {
            break;
        }
        // SAFETY: the place behind one that is not the end.
        place = unsafe { place.add(1) };
    }
    // SAFETY: the path is a C string, and both arrays end in a null pointer and
    // hold C strings; all live until the call returns.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}
