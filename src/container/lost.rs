//! `delete --force` of a container whose record is damaged: what the record named can be
//! neither ended nor removed any more. Its cgroup can be found all the same, and all
//! processes with it: the kept configuration tells the path, and the mark whose it is.

use super::Runtime;
use super::delete::is_damaged;
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::spec::{self, Resources, Spec};
use crate::store::Dir;
use rustix::process::Signal;

/// Removes what is known to be the container's, and tells what cannot be known.
///
/// # Errors
/// If what is known cannot be looked at or removed: the directory stays then.
pub(super) fn delete(runtime: &Runtime, dir: &Dir, why: &Error) -> Result<()> {
    let id = dir.id();
    let mut cgroup = planned(runtime, dir)?;
    let paths = cgroup.paths();
    let path = paths.first().map_or("", String::as_str);
    let found = if cgroup.find_again(&dir.path().to_string_lossy())? {
        cgroup.kill(Signal::KILL)?;
        cgroup.remove()?;
        format!("cgroup {path} and all processes in it are removed")
    } else if cgroup.is_there()? {
        format!("cgroup {path} does not bear its mark and stays, with all processes in it")
    } else {
        format!("no cgroup {path} is there")
    };
    runtime.log.warning(&format!(
        "the record of container {id} is damaged: {found}; other processes, cgroups and mounts \
         of it, and its poststop hooks, are not known any more: {why}"
    ));
    dir.clear()?;
    dir.remove(None)
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
        let (none, all) = (Resources::default(), Default::default());
        return Cgroup::plan_unit(path, dir.id(), driver.rootless, &none, &all);
    }
    Cgroup::plan(path, dir.id(), driver.rootless)
}
