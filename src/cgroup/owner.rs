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

use super::{Cgroup, Node};
use crate::error::{Context, Error, Result};
use crate::sys::file::near;
use rustix::fd::AsRawFd;
use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

const TRUSTED: &str = "trusted.pinnace";
const USER: &str = "user.pinnace";
/// The longest mark: a word, and the path of a container's directory.
const MOST: usize = 8192;
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
    pub(super) fn find(node: &Node, container: &str) -> Result<Option<Self>> {
        let mut room = vec![0; MOST];
        for (name, user) in [(TRUSTED, false), (USER, true)] {
            let call = || format!("getxattr {name} of {}", node.path());
            let text = match read(node, name, &mut room) {
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => continue,
                Err(Errno::NOENT | Errno::NODEV) => return Ok(None),
                count => room.get(..count.call(call)?).unwrap_or_default(),
            };
            let text = String::from_utf8_lossy(text);
            if text.split_once(' ').is_some_and(|(_, owner)| owner == container) {
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

/// Without `CAP_SYS_ADMIN` the kernel shows `trusted.*` to nobody, as if it were not
/// there (`xattr_permission`): only a change is refused by name.
fn may_see(node: &Node) -> Result<()> {
    match removexattr(&*by_descriptor(node), NOBODYS) {
        Ok(()) | Err(Errno::NODATA | Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(Error::os(format!("getxattr {TRUSTED} of {}", node.path()), errno)
            .hint("whose the cgroup is shows only with CAP_SYS_ADMIN")),
    }
}

/// The attribute of the cgroup's directory. Without procfs there is no path by a
/// descriptor, which says nothing of the cgroup.
fn read(node: &Node, name: &str, room: &mut [u8]) -> rustix::io::Result<usize> {
    match getxattr(&*by_descriptor(node), name, &mut *room) {
        Err(Errno::NOENT) => getxattr(node.path(), name, room),
        found => found,
    }
}

/// Without a walk through sysfs: see [`near`].
fn by_descriptor(node: &Node) -> String {
    let path = node.path();
    let (dir, below) = near(&path);
    match below.is_absolute() {
        true => path,
        false => format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), below.display()),
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
            let mut cgroup = Cgroup::plan(Some(&path), "", false).unwrap();
            cgroup.mark_as(word, "/run/x");
            cgroup.create().unwrap();
            assert!(cgroup.is_held().unwrap());
            cgroup
        };
        let found = |container: &str| {
            let mut cgroup = Cgroup::plan(Some(&path), "", false).unwrap();
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
}
