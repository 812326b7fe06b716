//! Making the directories, level by level, and taking them back on failure.
//!
//! What could stay if we are killed is on record before it is made. The record names the
//! container's own directory from the first; levels above it that are not there, which
//! is rare, are noted first, and made only once the caller has saved that.

use super::node::{Node, keyed, read, write_file};
use super::{Cgroup, DENIED, Rules, controllers, freeze, locate, owner, procs, remove};
use crate::error::{At, Context, Error, Result};
use crate::sys::file::from_cgroup_root;
use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use std::time::Instant;

/// How often another's removal of a directory above ours may make us begin anew.
const MAX_ATTEMPTS: usize = 16;

/// Those of the directories that `part` names and that are not ours yet. Whether all are
/// made: if not, the cgroup is to be saved, and this to be repeated.
pub(super) fn create(cgroup: &mut Cgroup, part: impl Fn(&Node) -> bool) -> Result<bool> {
    let rules = cgroup.rules();
    let ignored = |error: &Error| locate::is_ignored_when_rootless(rules, error.errno());
    let mut complete = true;
    match cgroup {
        Cgroup::V2(v2) if part(&v2.node) && !v2.node.ours => match make(&mut v2.node) {
            Err(error) if ignored(&error) => v2.exists = false,
            made => {
                complete = made.map_err(|error| explain(rules, error))?;
                v2.node.ours = complete;
            }
        },
        Cgroup::V2(_) => {}
        Cgroup::V1(v1) => {
            let wanted = |node: &Node| part(node) && !node.ours;
            let mut done = Vec::new();
            let mut gone = Vec::new();
            for (place, node) in v1.nodes.iter_mut().enumerate().filter(|(_, node)| wanted(node)) {
                match make(node) {
                    Ok(true) => done.push(place),
                    Ok(false) => complete = false,
                    Err(error) if ignored(&error) => gone.push(place),
                    Err(error) => {
                        return Err(take_back(&mut v1.nodes, &done, explain(rules, error)));
                    }
                }
            }
            done.iter().for_each(|place| v1.nodes[*place].ours = true);
            gone.iter().rev().for_each(|place| drop(v1.nodes.remove(*place)));
        }
    }
    inherit(cgroup)?;
    Ok(complete)
}

/// Who has named a cgroup that may not be made, and what helps.
fn explain(rules: Rules, error: Error) -> Error {
    if !matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)) {
        return error;
    }
    let error = error.hint(DENIED);
    if rules.default_path { error } else { error.at("linux.cgroupsPath") }
}

/// A directory that was there is left there by `delete` (runtime.md, "Delete"), unless it is
/// what a container of ours has left: then it becomes that of the new one altogether. The
/// hierarchy that is marked tells of all.
fn inherit(cgroup: &mut Cgroup) -> Result<()> {
    let was_there = |node: &Node| node.ours && node.made == 0;
    if !cgroup.nodes().iter().any(was_there) {
        return Ok(());
    }
    let main = cgroup.main_node()?;
    let inherits = main.inherited || (was_there(main) && owner::is_marked(main)?);
    if !inherits {
        return Ok(());
    }
    let nodes = match cgroup {
        Cgroup::V2(v2) => std::slice::from_mut(&mut v2.node),
        Cgroup::V1(v1) => &mut v1.nodes,
    };
    for node in nodes.iter_mut() {
        node.inherited = true;
        node.made = if was_there(node) { 1 } else { node.made };
    }
    Ok(())
}

/// What was made before `error`. One that cannot be taken back must not keep the others.
fn take_back(nodes: &mut [Node], places: &[usize], error: Error) -> Error {
    let back = |error: Error, place: &usize| error.and(remove::take_back(&mut nodes[*place]));
    places.iter().fold(error, back)
}

/// False if levels have been noted that are not on record yet; nothing is made then.
fn make(node: &mut Node) -> Result<bool> {
    let mut tries = 0;
    node.made = 0;
    loop {
        match make_levels(node) {
            // Somebody removed a level between our mkdir above and below it.
            Err(error) if vanished(&error) && tries < MAX_ATTEMPTS => tries += 1,
            Err(error) => return Err(error.and(remove::take_back(node))),
            Ok(Level::Unnoted) => {
                remove::take_back(node)?;
                node.made = node.noted;
                return Ok(false);
            }
            Ok(Level::Made) => {
                return freeze::must_run(node)
                    .map_err(|error| error.and(remove::take_back(node)))
                    .map(|()| true);
            }
            Ok(_) => match freeze::must_run(node).and_then(|()| check_fit(node)) {
                // Whose it was has removed it.
                Err(error) if vanished(&error) && tries < MAX_ATTEMPTS => {
                    tries += 1;
                    node.forget_dir();
                }
                fits => return fits.map(|()| true),
            },
        }
    }
}

/// ENODEV: its files were open when it was removed.
fn vanished(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV))
}

fn make_levels(node: &mut Node) -> Result<Level> {
    let levels = node.path.split('/').count();
    let pure_v2 = node.unified() && node.controllers.is_none();
    // One mkdir if the levels above are there, as is most common.
    let above_ready = !pure_v2 || controllers::ready(node, &node.level(levels - 1))?;
    let mut last = if above_ready { make_level(node, levels, levels)? } else { Level::NoParent };
    if last == Level::NoParent {
        let lacks = lacking(node, levels)?;
        if lacks > node.noted.max(1) {
            node.noted = lacks;
            return Ok(Level::Unnoted);
        }
        if pure_v2 {
            controllers::enable_in(&node.root)?;
        }
        for n in 1..=levels {
            // Who has removed more of them meanwhile makes us begin anew.
            if n + lacks > levels {
                last = make_level(node, n, levels)?;
                if last == Level::NoParent {
                    return Err(Error::os(format!("mkdir {}", node.level(n)), Errno::NOENT));
                }
            }
            if pure_v2 && n < levels {
                controllers::enable_in(&node.level(n))?;
            }
        }
    }
    if node.has("cpuset") && !node.unified() {
        fill_cpuset(node, levels)?;
    }
    Ok(last)
}

#[derive(PartialEq, Eq)]
enum Level {
    Made,
    There,
    /// There is none above it.
    NoParent,
    /// There is none above it, and the record does not say so.
    Unnoted,
}

/// How many of the last components are not there.
fn lacking(node: &Node, levels: usize) -> Result<usize> {
    for n in (1..=levels).rev() {
        let path = node.level(n);
        let (dir, below) = from_cgroup_root(&path);
        match rustix::fs::statat(dir, below, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(levels - n),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::os(format!("stat {path}"), errno)),
        }
    }
    Ok(levels)
}

/// Makes the directory of the first `n` components, and notes it for the one who
/// takes it away.
fn make_level(node: &mut Node, n: usize, levels: usize) -> Result<Level> {
    let path = node.level(n);
    let (dir, below) = from_cgroup_root(&path);
    match rustix::fs::mkdirat(dir, below, Mode::from_raw_mode(0o755)) {
        Ok(()) => {
            node.made = node.made.max(levels - n + 1);
            Ok(Level::Made)
        }
        Err(Errno::EXIST) => Ok(Level::There),
        Err(Errno::NOENT) => Ok(Level::NoParent),
        Err(errno) => Err(Error::os(format!("mkdir {path}"), errno)),
    }
}

/// A new cpuset has neither CPUs nor memory, and takes no process so
/// (cgroup-v1/cpusets.rst): each level gets what the one above has.
fn fill_cpuset(node: &Node, levels: usize) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        // Down from the lowest level that has some: mostly the one above ours.
        let file = |n: usize| format!("{}/{name}", node.level(n));
        let value = |n: usize| {
            let path = file(n);
            let (dir, below) = from_cgroup_root(&path);
            read(dir, below).call(|| format!("read {path}"))
        };
        let mut from = if node.made > 0 { levels - 1 } else { levels };
        let mut text = value(from)?;
        while text.trim().is_empty() && from > 0 {
            from -= 1;
            text = value(from)?;
        }
        for n in from + 1..=levels {
            let (text, path) = (text.trim(), file(n));
            let (dir, below) = from_cgroup_root(&path);
            write_file(dir, below, text).call(|| format!("write {text} to {path}"))?;
        }
    }
    Ok(())
}

/// config-linux.md: a runtime may check "if the container cgroup is fit for
/// purpose, for example a frozen cgroup or a non-empty cgroup".
fn check_fit(node: &Node) -> Result<()> {
    let unfit = |what: &str| {
        Err(Error::new(format!("cgroup {} exists and {what}", node.path()))
            .at("linux.cgroupsPath")
            .hint("another container or service uses it; choose another path"))
    };
    let look = || -> Result<_> {
        if node.unified() {
            let events = node.read("cgroup.events")?;
            let is = |key| keyed(&events, key) == Some("1");
            return Ok((is("populated"), is("frozen")));
        }
        let frozen = node.has("freezer") && node.read("freezer.state")?.trim() != "THAWED";
        Ok((!procs::below(node)?.is_empty(), frozen))
    };
    let (mut populated, mut frozen) = look()?;
    // The list of processes of v1 does not name who has ended.
    if populated && node.unified() {
        remove::wait_unpopulated(node, node.dir()?, Instant::now() + remove::LEAVING)?;
        (populated, frozen) = look()?;
    }
    if populated {
        return unfit("holds processes");
    }
    if frozen {
        return unfit("is frozen");
    }
    Ok(())
}

/// config-linux.md, "Cgroup ownership".
pub(super) fn delegate(cgroup: &Cgroup, uid: u32) -> Result<()> {
    let Cgroup::V2(v2) = cgroup else {
        return Ok(()); // v1: the spec says not to, it is not secure
    };
    if !v2.exists || rustix::process::geteuid().as_raw() == uid {
        return Ok(()); // there is none, or it is that user's already
    }
    let list = match read(CWD, "/sys/kernel/cgroup/delegate") {
        // Linux 4.15 has it.
        Err(Errno::NOENT) => "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into(),
        list => list.call(|| "read /sys/kernel/cgroup/delegate".into())?,
    };
    let path = v2.node.path();
    std::os::unix::fs::chown(&path, Some(uid), None).call(|| format!("chown {uid} {path}"))?;
    for name in list.lines().filter(|name| !name.contains('/')) {
        match std::os::unix::fs::chown(format!("{path}/{name}"), Some(uid), None) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.call(|| format!("chown {uid} {path}/{name}")).at(|| "delegate")?,
        }
    }
    Ok(())
}
