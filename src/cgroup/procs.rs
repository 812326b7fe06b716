//! Processes of a cgroup: moving them in, listing and signalling them.

use super::locate::SubPath;
use super::node::{Node, open_dir, open_file, pieces, read_bytes, write_file};
use super::walk::{Step, walk};
use super::{Cgroup, DENIED, Home};
use crate::error::{Context, Error, Result};
use crate::sys::file::from_cgroup_root;
use crate::sys::process;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

pub(super) fn attach(cgroup: &Cgroup, pid: i32, below: &[SubPath]) -> Result<()> {
    for sub in below {
        for controller in &sub.controllers {
            if !cgroup.nodes().iter().any(|node| node.name.is_some() && node.has(controller)) {
                let path = &sub.path;
                return Err(match cgroup.home(controller) {
                    Home::Denied => Error::new("the container has no cgroup there").hint(DENIED),
                    _ => Error::new(format!("this host has no cgroup v1 hierarchy {controller}"))
                        .hint("/proc/self/cgroup lists them; on v2 only the path is named"),
                }
                .at(format!("{controller}:{path}")));
            }
        }
    }
    for node in cgroup.nodes() {
        let sub = below
            .iter()
            .find(|sub| sub.controllers.is_empty() || sub.controllers.iter().any(|c| node.has(c)));
        match sub {
            None => enter(node, node.dir()?, b"", pid)?,
            Some(sub) if sub.path.is_empty() => enter(node, node.dir()?, b"", pid)?,
            Some(sub) => match open_dir(node.dir()?, &sub.path) {
                Ok(fd) => enter(node, fd.as_fd(), sub.path.as_bytes(), pid)?,
                // The unified one beside v1 controls nothing: a missing path is fine.
                Err(Errno::NOENT) if node.controllers.is_some() => {
                    enter(node, node.dir()?, b"", pid)?
                }
                Err(errno) => {
                    let path = format!("{}/{}", node.path(), sub.path);
                    return Err(Error::os(format!("open cgroup {path}"), errno));
                }
            },
        }
    }
    Ok(())
}

fn enter(node: &Node, dir: BorrowedFd<'_>, below: &[u8], pid: i32) -> Result<()> {
    write_file(dir, "cgroup.procs", &pid.to_string()).map_err(|errno| {
        let slash = if below.is_empty() { "" } else { "/" };
        let path = format!("{}{slash}{}", node.path(), below.escape_ascii());
        Error::os(format!("write {pid} to {path}/cgroup.procs"), errno)
            .hint_on(Errno::BUSY, "it has controlled cgroups below, so it takes no processes")
            .hint_on(Errno::OPNOTSUPP, "it is threaded or of an invalid type; see cgroup.type")
            .hint_on(Errno::NOSPC, "its cpuset has no CPUs or no memory nodes")
    })
}

/// v1's files in which a process of one thread moves itself by writing `0`.
///
/// `cgroup.procs` would do, too, from outside; but that keeps all processes of the
/// host from forking meanwhile, and to begin with waits for an RCU grace period:
/// 10 ms and more. One thread that moves itself needs no such lock
/// (`cgroup_procs_write_start` in kernel/cgroup/cgroup.c, Linux 5.5).
pub(super) fn tasks_files(cgroup: &Cgroup) -> Vec<String> {
    let hierarchies = cgroup.nodes().iter().filter(|node| !node.unified());
    hierarchies.map(|node| format!("{}/tasks", node.path())).collect()
}

/// The same, opened: for who will not see them, or not have the right.
pub(super) fn open_tasks_files(cgroup: &Cgroup) -> Result<Vec<OwnedFd>> {
    let open = |path: &String| {
        let (dir, below) = from_cgroup_root(path);
        open_file(dir, below, OFlags::WRONLY).call(|| format!("open {path}"))
    };
    tasks_files(cgroup).iter().map(open).collect()
}

/// The same place as another process of the container, which must be within it.
pub(super) fn attach_beside(cgroup: &Cgroup, pid: i32, init: i32) -> Result<()> {
    let text = places(init)?;
    for node in cgroup.nodes() {
        let (fd, below) = place_of(node, &text, init)?;
        enter(node, fd.as_fd(), &below, pid)?;
    }
    Ok(())
}

/// Where the process is in each hierarchy. The names are the container's choice.
fn places(pid: i32) -> Result<Vec<u8>> {
    let file = format!("/proc/{pid}/cgroup");
    read_bytes(rustix::fs::CWD, &file).map_err(|errno| {
        Error::os(format!("read {file}"), errno)
            .hint_on(Errno::NAMETOOLONG, "it is in a cgroup whose path is too long to be told")
    })
}

/// Where a process is, as far as it is in the container's part of the tree.
fn place_of(node: &Node, places: &[u8], pid: i32) -> Result<(OwnedFd, Vec<u8>)> {
    let name = node.name.as_deref().unwrap_or_default();
    let path = path_in(places, name);
    let own = node.path.as_bytes();
    let leads_up = path.split(|byte| *byte == b'/').any(|part| part == b"..");
    let inside = path.strip_prefix(own).filter(|p| p.is_empty() || p.starts_with(b"/"));
    let Some(below) = inside.filter(|_| !leads_up) else {
        let path = path.escape_ascii();
        return Err(Error::new(format!("process {pid} is in /{path}, not in /{}", node.path)));
    };
    let whole = [node.root.as_bytes(), b"/", path].concat();
    let fd = open_dir(rustix::fs::CWD, &*whole)
        .call(|| format!("open cgroup {}", whole.escape_ascii()))?;
    Ok((fd, below.strip_prefix(b"/").unwrap_or(below).to_vec()))
}

/// The path that `/proc/PID/cgroup` shows for a hierarchy, without the first slash.
/// A name may hold anything but a slash and a line feed (`cgroup_mkdir`).
fn path_in<'a>(places: &'a [u8], hierarchy: &str) -> &'a [u8] {
    let path = places.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let name = fields.next()?;
        fields.next().filter(|_| name == hierarchy.as_bytes())
    });
    let path = path.unwrap_or_default();
    path.strip_prefix(b"/").unwrap_or(path)
}

pub(super) fn pids(cgroup: &Cgroup) -> Result<Vec<i32>> {
    below(cgroup.main_node()?)
}

/// Processes of a directory and of those below it; none if it is gone.
pub(super) fn below(node: &Node) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    let Some(dir) = node.open()? else {
        return Ok(pids);
    };
    walk(node, dir.as_fd(), |step| match step {
        Step::Enter(dir) => each(node, dir, |pid| pids.push(pid)),
        Step::Leave(..) => Ok(()),
    })?;
    Ok(pids)
}

/// Processes of one directory; none if it is gone.
pub(super) fn each(node: &Node, dir: BorrowedFd<'_>, mut take: impl FnMut(i32)) -> Result<()> {
    let mut list = |file: &str| {
        let mut lines = Lines::default();
        open_file(dir, file, OFlags::RDONLY)
            .and_then(|fd| pieces(fd.as_fd(), |piece| lines.numbers(piece, &mut take)))
    };
    let read = match list("cgroup.procs") {
        // A threaded cgroup lists its processes at its domain, and here their threads: the
        // first one of a process has its number. Below the domain they have been listed.
        Err(Errno::OPNOTSUPP) if node.is_threaded() => list("cgroup.threads"),
        Err(Errno::OPNOTSUPP) => Ok(()),
        read => read,
    };
    match read {
        // Removed while we looked: ENODEV once it was open.
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(Error::os(format!("list the processes of {}", node.path()), errno)),
    }
}

/// Numbers, one a line, that come in pieces.
#[derive(Debug, Default)]
struct Lines {
    number: Option<i32>,
    /// Something else stands in the line.
    odd: bool,
}

impl Lines {
    fn numbers(&mut self, piece: &[u8], take: &mut impl FnMut(i32)) {
        for &byte in piece {
            if byte == b'\n' {
                let line = std::mem::take(self);
                line.number.filter(|_| !line.odd).into_iter().for_each(&mut *take);
                continue;
            }
            let digit = byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
            let before = self.number.unwrap_or(0);
            self.number = digit.and_then(|digit| before.checked_mul(10)?.checked_add(digit));
            self.odd |= self.number.is_none();
        }
    }
}

/// None if there is no such process, or none that we can name (0: it lives in a
/// pid namespace beside ours).
pub(super) fn open_pid(pid: i32) -> Result<Option<OwnedFd>> {
    let Some(pid) = process::one(pid) else {
        return Ok(None);
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // EINVAL, since Linux 6.16 ENOENT: a thread of a leader that went.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::os(format!("pidfd_open {}", pid.as_raw_nonzero()), errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_pieces_and_what_is_none_is_passed_over() {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for piece in ["12\n3", "4\n", "", "x5\n6y\n\n", "99999999999\n0\n7"] {
            lines.numbers(piece.as_bytes(), &mut |pid| all.push(pid));
        }
        assert_eq!(all, [12, 34, 0]);
    }

    #[test]
    fn a_place_is_bytes() {
        let places = b"12:pids:/a\n1:name=systemd:/b:c \xff (deleted)\n0::/d\n";
        assert_eq!(path_in(places, "pids"), b"a");
        assert_eq!(path_in(places, "name=systemd"), b"b:c \xff (deleted)");
        assert_eq!(path_in(places, ""), b"d");
        assert_eq!(path_in(places, "cpu"), b"");
    }
}
