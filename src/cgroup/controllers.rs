//! Controllers of cgroup v2: which a directory passes on to those below it.

use super::node::{Node, open_dir, read, write_file};
use crate::error::{Context, Error, Result};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::CWD;
use rustix::io::Errno;

/// Whether the directory above ours enables everything that the hierarchy has.
pub(super) fn ready(node: &Node, above: &str) -> Result<bool> {
    let have = match read(CWD, format!("{above}/cgroup.subtree_control")) {
        Ok(have) => have,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(Error::os(format!("read {above}/cgroup.subtree_control"), errno)),
    };
    Ok(missing(&wanted(&node.root)?, &have).is_empty())
}

fn wanted(root: &str) -> Result<String> {
    read(CWD, format!("{root}/cgroup.controllers"))
        .call(|| format!("read {root}/cgroup.controllers"))
}

fn missing<'a>(wanted: &'a str, have: &str) -> Vec<&'a str> {
    wanted
        .split_ascii_whitespace()
        .filter(|word| !have.split_ascii_whitespace().any(|h| h == *word))
        .collect()
}

/// Enables in one directory all that it can pass on to those below it.
///
/// Best effort, as in runc: a controller may refuse (cpu, while real-time tasks
/// run), the directory may hold processes of its own, or we may lack the right.
/// Whether that matters shows when a limit is written.
pub(super) fn enable_in(dir: &str) -> Result<()> {
    let all = wanted(dir)?;
    let file = "cgroup.subtree_control";
    let fd = open_dir(CWD, dir).call(|| format!("open {dir}"))?;
    let have = read(fd.as_fd(), file).call(|| format!("read {dir}/{file}"))?;
    let lacks = missing(&all, &have);
    if lacks.is_empty() {
        return Ok(());
    }
    let together: Vec<String> = lacks.iter().map(|word| format!("+{word}")).collect();
    if write_file(fd.as_fd(), file, &together.join(" ")).is_err() {
        for one in together {
            enable_one(fd.as_fd(), &one);
        }
    }
    Ok(())
}

/// Ignores a refusal: see [`enable_in`].
fn enable_one(dir: BorrowedFd<'_>, controller: &str) {
    write_file(dir, "cgroup.subtree_control", controller).unwrap_or_default();
}

/// Enables the controllers of a unified hierarchy down to our cgroup, where nobody has done so.
pub(super) fn enable(node: &Node) -> Result<()> {
    let mut dir = node.root.clone();
    for part in node.path.split('/') {
        enable_in(&dir)?;
        dir = format!("{dir}/{part}");
    }
    Ok(())
}
