//! `ps`: the processes of a container, by its cgroup, or its pid namespace if it has none.

use super::{Container, Observed, Runtime};
use crate::error::{Context, Result};
use crate::sys::file::read_short;
use crate::sys::process::stat_fields;
use rustix::fs::stat;
use rustix::io::Errno;
use std::collections::BTreeSet;

/// The pids of all processes, in the runtime's view, ascending. Of a container that has
/// stopped these are the ones that have outlived its init, mostly none.
///
/// # Errors
/// A container that does not exist; what keeps us from knowing them.
pub fn pids(runtime: &Runtime, id: &str) -> Result<Vec<i32>> {
    let container = Container::find(runtime, id)?;
    let cgroup = &container.record.cgroup;
    let init = match container.observe()? {
        // Processes in a cgroup that another container has taken since are not of this one.
        Observed::Stopped if !cgroup.is_held()? => return Ok(Vec::new()),
        Observed::Stopped => None,
        Observed::Creating(init) => init,
        Observed::Created(init) | Observed::Running(init) | Observed::Paused(init) => Some(init),
    };
    if let Some(init) = init
        && container.record.has_own_pids()
        && cgroup.paths().is_empty()
    {
        return in_namespace(init.pid);
    }
    let mut pids = cgroup.pids()?;
    pids.sort_unstable();
    // One that moved while they were listed, or whose threads are in several cgroups.
    pids.dedup();
    Ok(pids)
}

/// The processes of the pid namespace of `init`, and what they have made, which may be in a
/// further one.
fn in_namespace(init: i32) -> Result<Vec<i32>> {
    let namespace = |pid: i32| stat(format!("/proc/{pid}/ns/pid")).map(|stat| stat.st_ino);
    let own = namespace(init).call(|| format!("stat /proc/{init}/ns/pid"))?;
    let mut found = BTreeSet::new();
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").call(|| "read /proc".into())? {
        let entry = entry.call(|| "read /proc".into())?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let text = match read_short(format!("/proc/{pid}/stat")) {
            // It has ended meanwhile.
            Err(Errno::NOENT | Errno::SRCH) => continue,
            text => text.call(|| format!("read /proc/{pid}/stat"))?,
        };
        let text = String::from_utf8_lossy(&text);
        let parent = stat_fields(&text).and_then(|mut fields| fields.nth(1)?.parse::<i32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
        match namespace(pid) {
            Ok(number) if number == own => {
                found.insert(pid);
            }
            // The container's user namespace is the caller's: what may not be looked at is not
            // in it.
            Ok(_) | Err(Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM) => {}
            Err(errno) => return Err(errno).call(|| format!("stat /proc/{pid}/ns/pid")),
        }
    }
    let mut known = 0;
    while known != found.len() {
        known = found.len();
        let of_found = parents.iter().filter(|(_, parent)| found.contains(parent));
        let children: Vec<_> = of_found.map(|(pid, _)| *pid).collect();
        found.extend(children);
    }
    Ok(found.into_iter().collect())
}
