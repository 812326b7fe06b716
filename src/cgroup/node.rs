//! One directory of one hierarchy, and the few calls that read it. Writing is
//! [`super::apply`]'s alone.

use crate::error::{Context, Error, Result};
use crate::sys::file::from_cgroup_root;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::path::Path;

/// `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC`, include/uapi/linux/magic.h.
pub(super) const V1_MAGIC: u64 = 0x0027_e0eb;
pub(super) const V2_MAGIC: u64 = 0x6367_7270;

/// The container's directory in one hierarchy.
#[derive(Debug, Serialize, Deserialize)]
pub struct Node {
    /// Where the hierarchy is mounted.
    pub(super) root: String,
    /// Path below that, without slashes at the ends.
    pub(super) path: String,
    /// v1: as `/proc/self/cgroup` names it, such as `cpu,cpuacct` or
    /// `name=systemd`; none for the unified hierarchy.
    pub(super) name: Option<String>,
    /// The unified hierarchy beside v1: the controllers that it owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) controllers: Option<Vec<String>>,
    /// How many of the last components of `path` are ours to remove, as create made them;
    /// none if somebody else had made its own directory before.
    pub(super) made: usize,
    /// Whether the directory has become ours. A record is written before it is
    /// made, and whoever finds it must not take a path that turned out to be in
    /// use, with the processes in it, for the container's.
    #[serde(default)]
    pub(super) ours: bool,
    /// Opened once in a process.
    #[serde(skip)]
    pub(super) fd: OnceCell<OwnedFd>,
    /// How many of the last components of `path` a record names as those that create
    /// makes; its own is always named.
    #[serde(skip)]
    pub(super) noted: usize,
    /// Whether create has found the cgroup of another container, which has ended.
    #[serde(skip)]
    pub(super) inherited: bool,
}

/// Several directories of one path, as that path and a list for each.
pub(super) mod list {
    use super::Node;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::cell::OnceCell;

    /// What a node has beside its path, in the order of its fields.
    type One = (String, Option<String>, Option<Vec<String>>, usize, bool);

    pub(in super::super) fn serialize<S: Serializer>(
        nodes: &[Node],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let path = nodes.first().map_or("", |node| &node.path);
        let one = |node: &Node| -> One {
            (node.root.clone(), node.name.clone(), node.controllers.clone(), node.made, node.ours)
        };
        (path, nodes.iter().map(one).collect::<Vec<_>>()).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Node>, D::Error> {
        let (path, nodes) = <(String, Vec<One>)>::deserialize(from)?;
        let node = |(root, name, controllers, made, ours): One| Node {
            root,
            path: path.clone(),
            name,
            controllers,
            made,
            ours,
            fd: OnceCell::new(),
            noted: 0,
            inherited: false,
        };
        Ok(nodes.into_iter().map(node).collect())
    }
}

impl Node {
    /// Whether files of this controller are here. Pure v2 has all of them.
    pub(super) fn has(&self, controller: &str) -> bool {
        let in_v2 = if controller == "blkio" { "io" } else { controller };
        match (&self.name, &self.controllers) {
            (Some(name), _) => name.split(',').any(|word| word == controller),
            (None, Some(list)) => list.iter().any(|word| word == in_v2),
            (None, None) => true,
        }
    }

    /// Whether it belongs to the unified hierarchy.
    pub(super) fn unified(&self) -> bool {
        self.name.is_none()
    }

    /// The whole path.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.root, self.path)
    }

    /// The path of the first `n` components.
    pub(super) fn level(&self, n: usize) -> String {
        let parts = self.path.split('/').take(n);
        parts.fold(self.root.clone(), |path, part| path + "/" + part)
    }

    /// The directory, opened O_PATH on first use.
    pub(super) fn dir(&self) -> Result<BorrowedFd<'_>> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_fd());
        }
        let path = self.path();
        let (dir, below) = from_cgroup_root(&path);
        let fd = open_dir(dir, below).call(|| format!("open cgroup {path}"))?;
        Ok(self.fd.get_or_init(|| fd).as_fd())
    }

    /// The directory is another one by now: it is opened anew when it is used next.
    pub(super) fn forget_dir(&mut self) {
        self.fd.take();
    }

    /// The directory, opened for one use: who goes through all hierarchies of v1
    /// may not allow a dozen to stay open. None if the cgroup is gone.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>> {
        let path = self.path();
        let (dir, below) = from_cgroup_root(&path);
        match open_dir(dir, below) {
            Err(Errno::NOENT) => self.is_gone().map(|()| None),
            fd => fd.map(Some).call(|| format!("open cgroup {path}")),
        }
    }

    /// v2: whether the domain of its threads is above it.
    pub(super) fn is_threaded(&self) -> bool {
        self.read("cgroup.type").is_ok_and(|kind| kind.trim() == "threaded")
    }

    /// The directory, or none if the cgroup is gone.
    pub(super) fn dir_if_there(&self) -> Result<Option<BorrowedFd<'_>>> {
        match self.dir() {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if error.errno() == Some(Errno::NOENT) => self.is_gone().map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// To be asked after ENOENT: a path below a hierarchy that is not mounted here leads
    /// nowhere, whether the cgroup is there or not.
    pub(super) fn is_gone(&self) -> Result<()> {
        let want = if self.unified() { V2_MAGIC } else { V1_MAGIC };
        if magic(&self.root)? == Some(want) || !self.kernel_has_hierarchy()? {
            return Ok(());
        }
        Err(not_mounted(&self.root, &self.path()))
    }

    /// v1: a hierarchy that nobody has mounted, and that has no cgroups, does not exist
    /// (cgroups(7), "Unmounting cgroups v1"): after a boot into v2 there is none.
    fn kernel_has_hierarchy(&self) -> Result<bool> {
        let Some(name) = &self.name else { return Ok(true) };
        let own = read_bytes(CWD, "/proc/self/cgroup").call(|| "read /proc/self/cgroup".into())?;
        Ok(own
            .split(|byte| *byte == b'\n')
            .any(|line| line.splitn(3, |byte| *byte == b':').nth(1) == Some(name.as_bytes())))
    }

    /// v2: its file that tells of processes, none if there is no such cgroup any more. `dir` is its
    /// directory, as it is opened now or was before.
    pub(super) fn events(&self, dir: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
        match open_file(dir, "cgroup.events", OFlags::RDONLY) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            events => events.map(Some).call(|| format!("open {}/cgroup.events", self.path())),
        }
    }

    /// Whether a process is in the cgroup of that file or below it, as [`Node::is_populated`].
    pub(super) fn says_populated(&self, events: BorrowedFd<'_>) -> Result<Option<bool>> {
        match read_fd(events) {
            Err(Errno::NODEV) => Ok(None),
            text => {
                let text = text.call(|| format!("read {}/cgroup.events", self.path()))?;
                Ok(Some(keyed(&text, "populated") == Some("1")))
            }
        }
    }

    /// v2: whether a process is in it or below it; none if there is no such cgroup any more.
    pub(super) fn is_populated(&self, dir: BorrowedFd<'_>) -> Result<Option<bool>> {
        let events = self.events(dir)?;
        events.map_or(Ok(None), |events| self.says_populated(events.as_fd()))
    }

    /// Whether the path leads to that directory still, and not to another's of the same name.
    pub(super) fn leads_to(&self, dir: BorrowedFd<'_>) -> Result<bool> {
        let call = || format!("stat cgroup {}", self.path());
        let path = self.path();
        let (above, below) = from_cgroup_root(&path);
        let there = match rustix::fs::statat(above, below, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return self.is_gone().map(|()| false),
            there => there.call(call)?,
        };
        // The number of a cgroup's directory is not given again.
        Ok(there.st_ino == rustix::fs::fstat(dir).call(call)?.st_ino)
    }

    /// A small file's content.
    pub(super) fn read(&self, name: &str) -> Result<String> {
        read(self.dir()?, name).call(|| format!("read {}/{name}", self.path()))
    }
}

fn not_mounted(root: &str, path: &str) -> Error {
    Error::new(format!(
        "cannot know whether cgroup {path} is there: no hierarchy is mounted on {root}"
    ))
    .hint("mount it, or call again from where it is mounted")
}

/// As [`Node::is_gone`], of a cgroup of which only the path of a file is known.
pub(super) fn is_file_gone(file: &str) -> Result<()> {
    let mut above = Path::new(file);
    while let Some(dir) = above.parent() {
        above = dir;
        let found = magic(dir.to_str().unwrap_or_default())?;
        if matches!(found, Some(V1_MAGIC | V2_MAGIC)) {
            return Ok(());
        }
        if found.is_some() {
            break;
        }
    }
    Err(not_mounted(&above.to_string_lossy(), file))
}

/// The type of the file system on which a directory is, if that is there.
pub(super) fn magic(path: &str) -> Result<Option<u64>> {
    let (dir, below) = from_cgroup_root(path);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(dir, below, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        fd => fd.call(|| format!("open {path}"))?,
    };
    let found = rustix::fs::fstatfs(fd).call(|| format!("statfs {path}"))?;
    Ok(Some(found.f_type.cast_unsigned()))
}

/// Opens a directory that is no symlink.
pub(super) fn open_dir(at: BorrowedFd<'_>, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// Opens a file of a cgroup. There is nothing to follow or to create there.
pub(super) fn open_file(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Reads a whole file of the kernel's own words.
pub(super) fn read(dir: BorrowedFd<'_>, name: impl Arg) -> rustix::io::Result<String> {
    read_fd(open_file(dir, name, OFlags::RDONLY)?.as_fd())
}

/// Reads a whole file in which names of cgroups stand: those are bytes.
pub(super) fn read_bytes(dir: BorrowedFd<'_>, name: impl Arg) -> rustix::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    pieces(open_file(dir, name, OFlags::RDONLY)?.as_fd(), |piece| all.extend_from_slice(piece))?;
    Ok(all)
}

/// As [`read`], of an open file, from its beginning.
pub(super) fn read_fd(fd: BorrowedFd<'_>) -> rustix::io::Result<String> {
    let mut all = Vec::new();
    pieces(fd, |piece| all.extend_from_slice(piece))?;
    String::from_utf8(all).map_err(|_| Errno::ILSEQ)
}

/// Reads from the beginning to the end, piece by piece. For files of short lines
/// only.
pub(super) fn pieces(fd: BorrowedFd<'_>, mut take: impl FnMut(&[u8])) -> rustix::io::Result<()> {
    let mut buffer = [0; 4096];
    let mut done = 0;
    loop {
        let n = retry_on_intr(|| rustix::io::pread(fd, &mut buffer, done))?;
        take(&buffer[..n]);
        done += n as u64;
        // The kernel fills the buffer with whole lines: half of it is the end.
        if n < buffer.len() / 2 {
            return Ok(());
        }
    }
}

/// The value of a `key value` line, as in `cgroup.events`.
pub(super) fn keyed<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

/// Opens, writes once, closes: one line a write is what cgroup files want.
pub(super) fn write_file(
    dir: BorrowedFd<'_>,
    name: impl Arg,
    text: &str,
) -> rustix::io::Result<()> {
    let fd = open_file(dir, name, OFlags::WRONLY)?;
    retry_on_intr(|| rustix::io::write(&fd, text.as_bytes())).map(drop)
}
