//! openat2(2): a path is resolved inside a directory, whatever links in it say and whoever
//! swaps them meanwhile. Where a filter around us denies the call, a walk does the same: it
//! opens single names and follows none, so that the kernel never resolves more than one.
//! `..` leads back to a directory that the walk has come from, and nowhere else.

use super::mount::mount_id;
use super::seccomp::may_deny;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, openat, openat2,
    readlinkat,
};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

/// As many as the kernel follows (`path_resolution(7)`).
const MAX_LINKS: u32 = 40;

/// Opens `path` at `dir` as openat2(2) does. Nothing is made.
///
/// # Errors
/// Those of openat2(2).
pub fn open(
    dir: BorrowedFd<'_>,
    path: impl AsRef<OsStr>,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    let path = path.as_ref();
    match openat2(dir, path, flags, Mode::empty(), resolve) {
        Err(errno) if may_deny(errno) => Walk::new(dir, resolve)?.open(path.as_bytes(), flags),
        opened => opened,
    }
}

/// Where a walk is.
struct Walk<'a> {
    dir: BorrowedFd<'a>,
    /// `/`, of a path that is neither `IN_ROOT` nor `BENEATH`.
    root: Option<OwnedFd>,
    resolve: ResolveFlags,
    /// The directories that lead here, from below `dir` on.
    walked: Vec<OwnedFd>,
    /// The names that are left, last one first.
    left: Vec<Vec<u8>>,
    links: u32,
    /// The mount that is not left.
    mount: Option<u64>,
}

impl<'a> Walk<'a> {
    fn new(dir: BorrowedFd<'a>, resolve: ResolveFlags) -> Result<Self> {
        let stays = resolve.contains(ResolveFlags::NO_XDEV);
        let mount = if stays { Some(mount_id(dir)?) } else { None };
        let (walked, left) = (Vec::new(), Vec::new());
        Ok(Self { dir, root: None, resolve, walked, left, links: 0, mount })
    }

    fn open(mut self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        self.go_on_with(path)?;
        while let Some(name) = self.left.pop() {
            if name == b".." {
                if self.walked.pop().is_none() && self.resolve.contains(ResolveFlags::BENEATH) {
                    return Err(Errno::XDEV);
                }
            } else if let Some(found) = self.step(&name, flags)? {
                return Ok(found);
            }
        }
        openat(self.here(), ".", flags, Mode::empty())
    }

    fn here(&self) -> BorrowedFd<'_> {
        let floor = self.root.as_ref().map_or(self.dir, AsFd::as_fd);
        self.walked.last().map_or(floor, AsFd::as_fd)
    }

    /// A path of the caller, or of a link.
    fn go_on_with(&mut self, path: &[u8]) -> Result<()> {
        if path.starts_with(b"/") {
            if self.resolve.contains(ResolveFlags::BENEATH) {
                return Err(Errno::XDEV);
            }
            self.walked.clear();
            if !self.resolve.contains(ResolveFlags::IN_ROOT) {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                self.root = Some(openat(CWD, "/", flags, Mode::empty())?);
            }
        }
        let names = path.split(|byte| *byte == b'/').rev();
        self.left.extend(names.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec));
        Ok(())
    }

    /// One name; what it leads to, if it was the last one.
    fn step(&mut self, name: &[u8], flags: OFlags) -> Result<Option<OwnedFd>> {
        let by_path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(self.here(), name, by_path, Mode::empty())?;
        let kind = FileType::from_raw_mode(fstat(&found)?.st_mode);
        let is_last = self.left.is_empty();
        if kind == FileType::Symlink && !(is_last && flags.contains(OFlags::NOFOLLOW)) {
            return self.follow(&found).map(|()| None);
        }
        self.stay_on_mount(&found)?;
        let wants_directory = !is_last || flags.contains(OFlags::DIRECTORY);
        if wants_directory && kind != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if !is_last {
            self.walked.push(found);
            return Ok(None);
        }
        if flags.contains(OFlags::PATH) {
            return Ok(Some(found));
        }
        let opened = openat(self.here(), name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        self.stay_on_mount(&opened)?;
        Ok(Some(opened))
    }

    fn stay_on_mount(&self, found: &OwnedFd) -> Result<()> {
        match self.mount {
            Some(mount) if mount_id(found.as_fd())? != mount => Err(Errno::XDEV),
            _ => Ok(()),
        }
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS || self.resolve.contains(ResolveFlags::NO_SYMLINKS) {
            return Err(Errno::LOOP);
        }
        let target = readlinkat(link, "", Vec::new())?;
        let target = target.as_bytes();
        // A link that is only text, such as `self`, has a target inside its procfs. One that
        // is more (proc_pid_fd(5)) shows a path of the host, or `pipe:[1]`.
        let is_magic = target.starts_with(b"/") || target.contains(&b':');
        if is_magic && fstatfs(link)?.f_type == PROC_SUPER_MAGIC {
            return Err(Errno::LOOP);
        }
        self.go_on_with(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn walk(
        dir: BorrowedFd<'_>,
        path: &str,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd> {
        Walk::new(dir, resolve)?.open(path.as_bytes(), flags)
    }

    const BY_PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
    const LESS: [ResolveFlags; 3] =
        [ResolveFlags::empty(), ResolveFlags::NO_SYMLINKS, ResolveFlags::NO_XDEV];

    /// The walk finds what openat2(2) finds, and fails where it fails, in its words.
    fn compare(dir: &OwnedFd, paths: &[&str], flags: OFlags, resolve: ResolveFlags) {
        let inode = |fd: OwnedFd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
        for less in LESS {
            let resolve = resolve | less | ResolveFlags::NO_MAGICLINKS;
            for path in paths {
                let call = loop {
                    match openat2(dir, *path, flags, Mode::empty(), resolve) {
                        // Somebody has renamed or mounted something on this machine meanwhile.
                        Err(Errno::AGAIN) => {}
                        call => break call.and_then(inode),
                    }
                };
                let walked = walk(dir.as_fd(), path, flags, resolve).and_then(inode);
                assert_eq!(walked, call, "{path:?} {flags:?} {resolve:?}");
            }
        }
    }

    #[test]
    fn the_walk_does_as_the_call() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(top.path().join("secret")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        for (target, link) in [
            ("/a/b", "absolute"),
            ("../../../../a", "a/b/up"),
            ("../secret", "out"),
            ("a/b/up/file", "chain"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
            ("/", "a/top"),
            ("..", "a/parent"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let dir = openat(CWD, &root, BY_PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let paths = "|/|.|..|a|/a/b/c|a/../a/b|a/b/..|../..|a/file|a/file/x|a/file/..|a//b/./c|\
            absolute|absolute/c|a/b/up|a/b/up/b|out|chain|loop|dangling|dangling/x|a/top|\
            a/top/a|a/parent|a/parent/a/b|none|none/x|a/b/none";
        let paths: Vec<_> = paths.split('|').collect();
        for resolve in [ResolveFlags::IN_ROOT, ResolveFlags::BENEATH] {
            for flags in [
                BY_PATH,
                BY_PATH | OFlags::NOFOLLOW,
                BY_PATH | OFlags::DIRECTORY,
                OFlags::RDONLY | OFlags::CLOEXEC,
                OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            ] {
                compare(&dir, &paths, flags, resolve);
            }
        }
    }

    #[test]
    fn no_link_of_procfs_leads_out() {
        let root = openat(CWD, "/", BY_PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let paths = "proc|proc/self/status|proc/self/cwd|proc/self/fd/0|proc/mounts|\
            proc/self/ns/net|proc/self/root/etc|dev/null|dev/fd/0|sys/kernel";
        let paths: Vec<_> = paths.split('|').collect();
        compare(&root, &paths, BY_PATH, ResolveFlags::IN_ROOT);
        let top = tempfile::tempdir().unwrap();
        symlink("/proc/self/root", top.path().join("magic")).unwrap();
        let dir = openat(CWD, top.path(), BY_PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let found = walk(dir.as_fd(), "magic", BY_PATH, ResolveFlags::NO_MAGICLINKS);
        assert_eq!(found.map(drop), Err(Errno::LOOP));
    }
}
