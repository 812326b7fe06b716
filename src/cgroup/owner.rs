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
    pub(super) fn new(word: String) -> Self {
        Self { word, user: false }
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
        let mut text = [0u8; 64];
        match getxattr(&*by_descriptor(node), name, &mut text) {
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
            match getxattr(&*by_descriptor(node), TRUSTED, &mut [0u8; 64]) {
                Ok(_) | Err(Errno::RANGE) => Ok(false),
                Err(_) => Ok(true),
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
            cgroup.mark_as(word.into());
            cgroup.create().unwrap();
            assert!(cgroup.is_held().unwrap());
            cgroup
        };
        let first = made("first");
        let second = made("second");
        assert!(!first.is_held().unwrap());
        second.remove().unwrap();
        assert!(first.is_held().unwrap(), "it is gone, and nobody's");
        let third = made("third");
        assert!(!second.is_held().unwrap() && !first.is_held().unwrap());
        third.remove().unwrap();
    }
}
