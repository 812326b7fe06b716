//! Bind sources that lie in the container's own root. What an earlier mount brings there is
//! seen in the container's tree alone, so they are looked for in it, in the order of the mounts
//! (config.md, "Mounts": "The runtime MUST mount entries in the listed order").
//!
//! Up to the root the host's links are followed. What lies in the root is the image's, whose
//! links are not.

use crate::sys::resolve;
use rustix::fs::{CWD, OFlags, ResolveFlags, readlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows (`path_resolution(7)`).
const MAX_LINKS: u32 = 40;

/// The container's root on the host, without links; `None` if every path of the host is in it.
#[derive(Debug)]
pub(super) struct Inside(Option<PathBuf>);

impl Inside {
    /// What cannot be found out its opening will tell.
    pub(super) fn of(root: &Path) -> Self {
        let real = match has_links(root, false) {
            Ok(false) => Some(root.to_owned()),
            _ => std::fs::canonicalize(root).ok(),
        };
        Self(real.filter(|real| real.parent().is_some()))
    }

    /// The path in the container of a source that leads into the root.
    pub(super) fn find(&self, source: &Path, nofollow: bool) -> Option<String> {
        let root = self.0.as_deref()?;
        let rest = match has_links(source, nofollow) {
            Ok(false) => source.strip_prefix(root).ok()?.to_owned(),
            Ok(true) | Err(Errno::NOENT | Errno::NOTDIR) => walk(root, source, nofollow)?,
            Err(_) => return None,
        };
        let names: Option<Vec<&str>> = rest.iter().map(OsStr::to_str).collect();
        Some(format!("/{}", names?.join("/")))
    }
}

/// Whether a link is on the way, or a `..` whose meaning depends on one.
fn has_links(path: &Path, nofollow: bool) -> rustix::io::Result<bool> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Ok(true);
    }
    let nofollow = if nofollow { OFlags::NOFOLLOW } else { OFlags::empty() };
    let flags = OFlags::PATH | OFlags::CLOEXEC | nofollow;
    let Some(path) = path.to_str() else { return Ok(true) };
    match resolve::open(CWD, path, flags, ResolveFlags::NO_SYMLINKS) {
        Err(Errno::LOOP) => Ok(true),
        opened => opened.map(|_| false),
    }
}

/// Follows `path` by single names until it is in `root`: the rest of it, from there.
fn walk(root: &Path, path: &Path, nofollow: bool) -> Option<PathBuf> {
    let mut here = PathBuf::from("/");
    let mut left = names(path.as_os_str());
    let mut links = 0;
    loop {
        if let Ok(inside) = here.strip_prefix(root) {
            let inside = inside.to_owned();
            match below(inside, &mut left) {
                Some(rest) => return Some(rest),
                None => here = root.parent()?.to_owned(),
            }
        }
        // Its links lead to files that are open, whatever they say.
        if here == Path::new("/proc") {
            return None;
        }
        let name = left.pop()?;
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(name);
        match readlinkat(CWD, &next, Vec::new()) {
            Ok(target) if !(nofollow && left.is_empty()) => {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                if target.as_bytes().starts_with(b"/") {
                    here = PathBuf::from("/");
                }
                left.extend(names(OsStr::from_bytes(target.as_bytes())));
            }
            Ok(_) | Err(Errno::INVAL) => here = next,
            Err(_) => return None,
        }
    }
}

/// `rest` and the names that are left, `..` taken by the letter; `None` once they lead out.
fn below(mut rest: PathBuf, left: &mut Vec<OsString>) -> Option<PathBuf> {
    while let Some(name) = left.pop() {
        if name != ".." {
            rest.push(name);
        } else if !rest.pop() {
            return None;
        }
    }
    Some(rest)
}

/// The names of a path, last one first.
fn names(path: &OsStr) -> Vec<OsString> {
    let parts = path.as_bytes().split(|byte| *byte == b'/').rev();
    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
    parts.map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // what a test cannot do, it fails at
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    #[test]
    fn sources_are_found_in_the_root_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let root = dir.join("root");
        fs::create_dir_all(root.join("data")).unwrap();
        fs::create_dir_all(dir.join("roots")).unwrap();
        symlink("root", dir.join("link")).unwrap();
        symlink(root.join("data"), dir.join("deep")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        let open = fs::File::open(root.join("data")).unwrap();
        symlink(format!("/proc/self/fd/{}", open.as_raw_fd()), dir.join("proc")).unwrap();
        symlink("/etc", root.join("out")).unwrap();
        symlink(&dir, root.join("up")).unwrap();
        symlink("out", root.join("last")).unwrap();
        symlink(root.join("data"), dir.join("last")).unwrap();
        for given in [&root, &dir.join("link"), &dir.join("x/../root")] {
            let inside = Inside::of(given);
            if inside.0.is_none() {
                continue; // no x
            }
            let found = |source: &str| inside.find(&dir.join(source), false);
            for (source, path) in [
                ("root", Some("/")),
                ("root/./data//", Some("/data")),
                ("root/not/there", Some("/not/there")),
                ("link/data/x", Some("/data/x")),
                ("deep/x", Some("/data/x")),
                ("roots/../link/data", Some("/data")),
                ("root/data/../x", Some("/x")),
                ("root/../root/data", Some("/data")),
                ("deep/../../roots/../root/x", Some("/x")),
                // A link of the image goes on in the container.
                ("root/out/passwd", Some("/out/passwd")),
                ("root/up/root/data", Some("/up/root/data")),
                ("root/../roots", None),
                ("root/data/../../roots", None),
                ("roots", None),
                ("roots/not/there", None),
                ("proc/x", None),
                ("loop/x", None),
                ("", None),
            ] {
                assert_eq!(found(source).as_deref(), path, "{source} in {}", given.display());
            }
            assert_eq!(inside.find(&dir.join("last"), false).as_deref(), Some("/data"));
            assert_eq!(inside.find(&dir.join("last"), true), None);
            assert_eq!(inside.find(&root.join("last"), true).as_deref(), Some("/last"));
        }
        assert_eq!(Inside::of(Path::new("/")).find(&root, false), None);
        assert_eq!(Inside::of(Path::new("/no/such/root")).find(&root, false), None);
    }
}
