//! Whose a cgroup is: two containers may be given one path, the second after the
//! first has stopped. From then on the first must not touch it.
//!
//! Whoever makes or takes a cgroup writes a word of its own into an extended
//! attribute of its directory, over any other; it is ours as long as our word stands
//! there. A container that is gone leaves nothing that could keep another out. On v1
//! one hierarchy is marked, that in which processes are listed to be killed: all
//! containers of a host use the same hierarchies, so who has it has the others.
//!
//! `trusted.*` is root's, out of reach of a container, whatever it owns. An
//! unprivileged caller has only `user.*`: a container that was given its cgroup could
//! change that, and keep processes outside its pid namespace from being killed with it.
//!
//! Of a level above it that was made for one container and has others in it when that one
//! goes, nobody's record tells any more: it bears a mark of its own from then on, and the
//! last that leaves it takes it away.

use super::node::open_dir;
use super::walk::{Step, walk};
use super::{Cgroup, Node};
use crate::error::{Context, Error, Result};
use crate::sys::file::from_cgroup_root;
use rustix::fd::{AsFd as _, AsRawFd as _};
use rustix::fs::{CWD, XattrFlags, getxattr, readlinkat, removexattr, setxattr, stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

const TRUSTED: &str = "trusted.pinnace";
const USER: &str = "user.pinnace";
/// The longest mark: a word, and the path of a container's directory.
const MAX_MARK: usize = 8192;
/// Of a level above cgroups that is nobody's any more: see [`bequeath`].
const LEVEL: [&str; 2] = ["trusted.pinnace.level", "user.pinnace.level"];
/// A name that no cgroup has.
const NOBODYS: &str = "trusted.pinnace.none";

/// A container's word.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    word: String,
    /// Whether it stands in `user.*`.
    user: bool,
}

impl Mark {
    /// `container` stands behind the word that nobody can guess: it alone is known once
    /// the record is lost.
    pub(super) fn new(word: &str, container: &str) -> Self {
        Self { word: format!("{word} {container}"), user: false }
    }

    /// The mark of a cgroup, if it is that of `container`.
    pub(super) fn find(path: &str, container: &str) -> Result<Option<Self>> {
        let mut buffer = vec![0; MAX_MARK];
        for (name, user) in [(TRUSTED, false), (USER, true)] {
            let call = || format!("getxattr {name} of {path}");
            let text = match read_at(path, name, &mut buffer) {
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => continue,
                Err(Errno::NOENT | Errno::NODEV) => return Ok(None),
                count => buffer.get(..count.call(call)?).unwrap_or_default(),
            };
            let text = String::from_utf8_lossy(text);
            let is_its = text.split_once(' ').is_some_and(|(_, owner)| owner == container);
            if is_its && (!user || is_of_same_owner(path, container)?) {
                return Ok(Some(Self { word: text.into_owned(), user }));
            }
        }
        Ok(None)
    }

    /// Marks a cgroup that has become ours; false where the kernel or our privileges
    /// have no attributes for it.
    fn write(&mut self, node: &Node) -> Result<bool> {
        let path = by_descriptor(node);
        for (name, user) in [(TRUSTED, false), (USER, true)] {
            match setxattr(&*path, name, self.word.as_bytes(), XattrFlags::empty()) {
                Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
                done => {
                    done.call(|| format!("setxattr {name} on {}", node.path()))?;
                    self.user = user;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A cgroup that is gone is nobody else's.
    fn stands(&self, node: &Node) -> Result<bool> {
        let name = if self.user { USER } else { TRUSTED };
        let mut text = vec![0; self.word.len() + 1];
        match read(node, name, &mut text) {
            Ok(count) => Ok(text.get(..count) == Some(self.word.as_bytes())),
            Err(Errno::NOENT | Errno::NODEV) => Ok(true),
            Err(Errno::NODATA) if !self.user => may_see(node).map(|()| false),
            // Somebody has made it anew, or has written something longer.
            Err(Errno::NODATA | Errno::RANGE) => Ok(false),
            Err(errno) => Err(Error::os(format!("getxattr {name} of {}", node.path()), errno)),
        }
    }
}

/// Whether the owner of a cgroup, who can mark it in `user.*`, is that of the container, too.
/// Others than root cannot mark theirs but so.
fn is_of_same_owner(path: &str, container: &str) -> Result<bool> {
    let owner = |path: &str| stat(path).map(|stat| stat.st_uid).call(|| format!("stat {path}"));
    Ok(!rustix::process::geteuid().is_root() || owner(path)? == owner(container)?)
}

/// The path, below its hierarchy, of the cgroup that bears the mark of `container`, wherever
/// that is, and the mark. `node` is of the hierarchy. A mark of `user.*` may be a container's
/// work, which names another: it counts only if there is no other.
pub(super) fn search(node: &Node, container: &str) -> Result<Option<(String, Mark)>> {
    let top = open_dir(CWD, &node.root).call(|| format!("open {}", node.root))?;
    let mut found: Option<(String, Mark)> = None;
    walk(node, top.as_fd(), |step| {
        let known = found.as_ref().map(|(_, mark)| mark.user);
        if let Step::Enter(dir) = step
            && known != Some(false)
        {
            let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
            let mark = Mark::find(&link, container)?;
            if let Some(mark) = mark.filter(|mark| known.is_none() || !mark.user) {
                let path = readlinkat(CWD, &*link, Vec::new());
                let path = path.call(|| format!("readlink {link}"))?;
                let below = path.to_str().ok().and_then(|path| path.strip_prefix(&node.root));
                found = below.map(|below| (below.trim_matches('/').to_owned(), mark));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Without `CAP_SYS_ADMIN` the kernel shows `trusted.*` to nobody, as if it were not
/// there (`xattr_permission`): only a change is refused by name.
fn may_see(node: &Node) -> Result<()> {
    match removexattr(&*by_descriptor(node), NOBODYS) {
        Ok(()) | Err(Errno::NODATA | Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(Error::os(format!("getxattr {TRUSTED} of {}", node.path()), errno)
            .hint("whose the cgroup is shows only with CAP_SYS_ADMIN")),
    }
}

/// Leaves a level that was made for a container to those who use it by now: the last of
/// them takes it away. Nothing is left where the kernel or our privileges have no
/// attributes for it: it stays then.
pub(super) fn bequeath(path: &str) -> Result<()> {
    for name in LEVEL {
        let set = |path: &str| setxattr(path, name, b"", XattrFlags::empty());
        match set(&path_of_fd(path)).or_else(|errno| match errno {
            Errno::NOENT => set(path),
            errno => Err(errno),
        }) {
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            // NOENT: whoever was in it has taken it away.
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(errno) => return Err(Error::os(format!("setxattr {name} on {path}"), errno)),
        }
    }
    Ok(())
}

/// Whether a level has been left to its users.
pub(super) fn is_bequeathed(path: &str) -> Result<bool> {
    for name in LEVEL {
        match read_at(path, name, &mut [0; 1]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Ok(_) | Err(Errno::RANGE) => return Ok(true),
            Err(Errno::NOENT | Errno::NODEV) => return Ok(false),
            Err(errno) => return Err(Error::os(format!("getxattr {name} of {path}"), errno)),
        }
    }
    Ok(false)
}

/// The attribute of the cgroup's directory. Without procfs there is no path by a
/// descriptor, which says nothing of the cgroup.
fn read(node: &Node, name: &str, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    read_at(&node.path(), name, buffer)
}

fn read_at(path: &str, name: &str, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    match getxattr(&*path_of_fd(path), name, &mut *buffer) {
        Err(Errno::NOENT) => getxattr(path, name, buffer),
        found => found,
    }
}

fn by_descriptor(node: &Node) -> String {
    path_of_fd(&node.path())
}

/// The path by a descriptor of `/sys/fs/cgroup`: see [`from_cgroup_root`].
fn path_of_fd(path: &str) -> String {
    let (dir, below) = from_cgroup_root(path);
    match below.is_absolute() {
        true => path.to_owned(),
        false => format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), below.display()),
    }
}

/// Whether a container has had it, or it was a level that others have left: then pinnace has
/// made it, though not for the one that takes it now.
pub(super) fn is_marked(node: &Node) -> Result<bool> {
    bears(node, &[TRUSTED, USER, LEVEL[0], LEVEL[1]])
}

/// Whether a container has it by its word.
pub(super) fn has_owner(node: &Node) -> Result<bool> {
    bears(node, &[TRUSTED, USER])
}

fn bears(node: &Node, names: &[&str]) -> Result<bool> {
    for &name in names {
        match read(node, name, &mut []) {
            Ok(_) | Err(Errno::RANGE) => return Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(Errno::NOENT | Errno::NODEV) => return Ok(false),
            Err(errno) => {
                return Err(Error::os(format!("getxattr {name} of {}", node.path()), errno));
            }
        }
    }
    Ok(false)
}

/// Takes our word off a cgroup that stays, as somebody else has made it.
pub(super) fn unmark(cgroup: &Cgroup) -> Result<()> {
    let (Ok(node), Some(mark)) = (cgroup.main_node(), cgroup.mark_ref()) else { return Ok(()) };
    let name = if mark.user { USER } else { TRUSTED };
    match removexattr(&*by_descriptor(node), name) {
        Ok(()) | Err(Errno::NODATA | Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(Error::os(format!("removexattr {name} of {}", node.path()), errno)),
    }
}

/// Marks the cgroup as soon as it has become ours.
pub(super) fn mark(cgroup: &mut Cgroup) -> Result<()> {
    let is_ours = cgroup.main_node().is_ok_and(|node| node.ours);
    let Some(mut mark) = cgroup.mark_mut().take_if(|_| is_ours) else { return Ok(()) };
    if mark.write(cgroup.main_node()?)? {
        *cgroup.mark_mut() = Some(mark);
    }
    Ok(())
}

/// Whether nobody has taken it since. One that could not be marked, or was made before
/// there were marks, is; unless it has somebody's that we may see.
pub(super) fn is_ours(cgroup: &Cgroup) -> Result<bool> {
    match cgroup.mark_ref() {
        Some(mark) => mark.stands(cgroup.main_node()?),
        None => {
            let Ok(node) = cgroup.main_node() else { return Ok(true) };
            match read(node, TRUSTED, &mut [0; 64]) {
                Ok(_) | Err(Errno::RANGE) => Ok(false),
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(true),
                Err(Errno::NOENT | Errno::NODEV) => Ok(true),
                Err(errno) => {
                    Err(Error::os(format!("getxattr {TRUSTED} of {}", node.path()), errno))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cgroup;

    /// Needs root and this machine's cgroups.
    #[test]
    fn who_takes_a_cgroup_has_it() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let path = format!("/pinnace-test-{}-owner", std::process::id());
        let made = |word: &str| {
            let mut cgroup = Cgroup::locate(Some(&path), "", false).unwrap();
            cgroup.mark_as(word, "/run/x");
            cgroup.create().unwrap();
            assert!(cgroup.is_held().unwrap());
            cgroup
        };
        let found = |container: &str| {
            let mut cgroup = Cgroup::locate(Some(&path), "", false).unwrap();
            cgroup.find_again(container).unwrap() && cgroup.is_held().unwrap()
        };
        assert!(!found("/run/x"), "it is not there yet");
        let first = made("first");
        let second = made("second");
        assert!(!first.is_held().unwrap());
        second.remove().unwrap();
        assert!(first.is_held().unwrap(), "it is gone, and nobody's");
        let third = made("third");
        assert!(found("/run/x") && !found("/run/y") && !found(""));
        assert!(!second.is_held().unwrap() && !first.is_held().unwrap());
        third.remove().unwrap();
    }

    /// As the one above.
    #[test]
    fn a_level_goes_with_the_last_that_uses_it() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let level = format!("/pinnace-test-{}-level", std::process::id());
        let made = |below: &str| {
            let path = format!("{level}/{below}");
            let mut cgroup = Cgroup::locate(Some(&path), "", false).unwrap();
            cgroup.create().unwrap();
            cgroup
        };
        let (first, second, third) = (made("deep/first"), made("deep/second"), made("third"));
        let dirs = first.paths();
        let is_there = |levels: usize| {
            let above = dirs.iter().map(|dir| std::path::Path::new(dir).ancestors().nth(levels));
            above.map(|dir| dir.unwrap().exists()).collect::<Vec<_>>()
        };
        first.remove().unwrap();
        assert!(is_there(1).iter().all(|there| *there), "the second uses it");
        second.remove().unwrap();
        assert!(!is_there(1).contains(&true), "the second was the last");
        assert!(is_there(2).iter().all(|there| *there), "the third uses it");
        third.remove().unwrap();
        assert!(!is_there(2).contains(&true), "the third was the last");
        let above: Vec<_> = dirs.iter().map(|dir| dir.replace("/deep/first", "")).collect();
        above.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
        made("one").remove().unwrap();
        assert!(is_there(2).iter().all(|there| *there), "somebody else has made it");
        above.iter().for_each(|dir| std::fs::remove_dir(dir).unwrap());
    }
}
