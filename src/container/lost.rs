//! `delete --force` of a container whose record is damaged: what the record named can be
//! neither ended nor removed any more. Its cgroup can be found all the same, and all
//! processes with it: the saved configuration tells the path, and the mark whose it is. If
//! that is lost, too, the mark is looked for in all cgroups.

use super::Runtime;
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::spec::{self, Resources, Spec};
use crate::store::{Dir, is_damaged};
use rustix::process::Signal;

/// Removes what is known to be the container's, and tells what cannot be known.
///
/// # Errors
/// If what is known cannot be looked at or removed, or if processes of it may be left: the
/// directory stays then.
pub(super) fn delete(runtime: &Runtime, dir: &Dir, why: &Error) -> Result<()> {
    let mut cgroup = planned(runtime, dir)?;
    let found = if cgroup.find_again(&dir.path().to_string_lossy())? {
        cgroup.kill(Signal::KILL)?;
        cgroup.remove()?;
        format!("cgroup {} and all processes in it are removed", first_path(&cgroup))
    } else {
        // systemd knows a unit of it by more than the place.
        cgroup.name_unit(dir.path());
        cgroup.take_back()?;
        nothing_runs(runtime, dir, &cgroup)?
    };
    let why = why.clone().bare();
    runtime.log.warning(&format!(
        "the record of container {} is damaged: {found}; other processes, cgroups and mounts \
         of it, and its poststop hooks, are not known any more: {why}",
        dir.id()
    ));
    dir.clear()?;
    dir.remove(None)
}

fn first_path(cgroup: &Cgroup) -> String {
    cgroup.paths().into_iter().next().unwrap_or_default()
}

/// Says what is in the place of a cgroup that is nowhere.
///
/// # Errors
/// If processes of the container may be there, or anywhere.
fn nothing_runs(runtime: &Runtime, dir: &Dir, cgroup: &Cgroup) -> Result<String> {
    let path = first_path(cgroup);
    let unknown = |what: String| {
        let path = dir.path().display();
        Err(Error::new(format!("the record of container {} is damaged, and {what}", dir.id()))
            .hint(format!("end what runs of it, then remove {path}")))
    };
    if cgroup.is_there()? {
        return match cgroup.is_anothers()? || cgroup.pids()?.is_empty() {
            true => Ok(format!("cgroup {path} does not bear its mark and stays")),
            false => unknown(format!("cgroup {path} has processes in it, but no mark of anybody")),
        };
    }
    match runtime.driver()?.rootless {
        // It may have had none.
        true => unknown("without a cgroup its processes are not known".into()),
        false => Ok(format!("no cgroup {path} is there")),
    }
}

/// The place that its configuration gave it; the default one if that is lost, too.
fn planned(runtime: &Runtime, dir: &Dir) -> Result<Cgroup> {
    let config = dir.config().and_then(|text| spec::parse::<Spec>("config.json", &text));
    let config = match config {
        Ok(config) => Some(config),
        Err(error) if error.get_kind() == Kind::NoContainer || is_damaged(&error) => None,
        Err(error) => return Err(error),
    };
    let linux = config.as_ref().and_then(|config| config.linux.as_ref());
    let path = linux.and_then(|linux| linux.cgroups_path.as_deref());
    let driver = runtime.driver()?;
    // The systemd driver's is `slice:prefix:name`.
    if path.map_or(driver.systemd, |path| path.split(':').count() == 3) {
        // They may say what the unit is known by.
        let annotations = config.as_ref().map(|config| config.annotations.clone());
        let (none, all) = (Resources::default(), annotations.unwrap_or_default());
        let unit = Cgroup::locate_unit(path, dir.id(), driver.rootless, &none, &all);
        // It may be a path all the same: of a host that has no units.
        return unit.or_else(|_| Cgroup::locate(path, dir.id(), driver.rootless));
    }
    Cgroup::locate(path, dir.id(), driver.rootless)
}
