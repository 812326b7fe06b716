//! What [`super::open`] and [`super::build()`] would fail at on this host, for `plan`: all of
//! it at once, and nothing is made.

use super::bind::source_error;
use super::inside::Inside;
use super::root::NO_ROOT;
use super::{mount, overlay};
use crate::error::{At as _, Context as _, Error, Result};
use crate::nearest::nearest;
use crate::plan::mounts::{Bind, FileSystem, Kind, Mount};
use crate::plan::overlay::{Origin, Overlay, Upper};
use crate::plan::{Findings, Rootfs, options};
use crate::sys::file::{read_at, read_short};
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::system::uname;
use std::path::Path;

/// Looks for the root, the sources of bind mounts, and file systems that the kernel has.
pub fn look(plan: &Rootfs, findings: &mut Findings) {
    // Of one that is not named it is told.
    if !plan.path.as_os_str().is_empty() {
        findings.keep(root(&plan.path));
    }
    if let Some(overlay) = &plan.overlay {
        look_at_overlay(plan, overlay, findings);
    }
    let inside = Inside::of(&plan.path);
    let mut new = Vec::new();
    for mount in &plan.mounts {
        match &mount.kind {
            // Of what lies in the root an earlier mount may bring it.
            Kind::Bind(bind) if inside.find(&bind.source, bind.nofollow).is_none() => {
                findings.keep(source(bind).at(|| format!("{}.source", mount.field())));
            }
            Kind::FileSystem(fs) => new.push((mount, fs)),
            Kind::Bind(_) | Kind::Cgroup | Kind::Remount { .. } => {}
        }
    }
    let missing = if new.is_empty() { None } else { findings.keep(file_systems(&new)) };
    missing.into_iter().flatten().for_each(|error| findings.error(error));
    new.iter().for_each(|(mount, fs)| left_to_the_file_system(mount, fs, findings));
}

fn look_at_overlay(plan: &Rootfs, overlay: &Overlay, findings: &mut Findings) {
    // That of a root has been told.
    let lowers = overlay.lowers.iter().filter(|lower| lower.origin != Origin::Root);
    lowers.for_each(|lower| {
        findings.keep(overlay::open_lower(lower));
    });
    if overlay.has_own_place() {
        findings.keep(overlay::own_place(&plan.path));
    }
    match known_file_systems().and_then(|list| has(&list, "overlay")) {
        Ok(true) => {}
        Ok(false) => findings.refuse("--overlay", "this kernel has no overlay"),
        Err(error) => findings.error(error),
    }
    // It is made itself, but not what is above it.
    let above = |dir: &Path| {
        let above = dir.parent().unwrap_or(dir);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(above, flags, Mode::empty());
        opened.map(drop).call(|| format!("open {}", above.display())).at(|| "--overlay-dir")
    };
    if let Upper::Dir(dir) = &overlay.upper {
        findings.keep(above(dir));
    }
}

fn root(path: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty());
    opened.map(drop).call(|| format!("open {}", path.display())).at(|| "root.path").map_err(
        |error| match error.errno() {
            Some(Errno::NOENT) => error.hint(NO_ROOT),
            _ => mount::explain_access(error),
        },
    )
}

fn source(bind: &Bind) -> Result<()> {
    let nofollow = if bind.nofollow { OFlags::NOFOLLOW } else { OFlags::empty() };
    let opened = open(&bind.source, OFlags::PATH | OFlags::CLOEXEC | nofollow, Mode::empty());
    opened.map(drop).map_err(|errno| source_error(bind, "open", errno))
}

/// The errors of types that the kernel neither has nor would find a module for.
fn file_systems(new: &[(&Mount, &FileSystem)]) -> Result<Vec<Error>> {
    let list = known_file_systems()?;
    let mut errors = Vec::new();
    for (mount, fs) in new {
        // What follows a dot is for the file system itself, as in fuse.sshfs.
        let name = fs.kind.split('.').next().unwrap_or_default();
        if has(&list, name)? {
            continue;
        }
        let message = format!("this kernel has no file system {:?}", fs.kind);
        let near = nearest(name, types(&list));
        errors.push(
            Error::new(message)
                .at(format_args!("{}.type", mount.field()))
                .guess(near)
                .hint(format!("{FILE_SYSTEMS} lists them")),
        );
    }
    Ok(errors)
}

const FILE_SYSTEMS: &str = "/proc/filesystems";

fn known_file_systems() -> Result<String> {
    let list = read_short(FILE_SYSTEMS).call(|| format!("read {FILE_SYSTEMS}")).at(|| "mounts")?;
    Ok(String::from_utf8_lossy(&list).into_owned())
}

fn types(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| line.split_whitespace().last())
}

/// Whether the kernel has a file system, or would load it.
fn has(list: &str, name: &str) -> Result<bool> {
    Ok(types(list).any(|known| known == name) || is_module(name)?)
}

/// Whether the kernel would load a module for a file system.
fn is_module(name: &str) -> Result<bool> {
    let path = format!("/lib/modules/{}/modules.alias", uname().release().to_string_lossy());
    let list = match read_at(CWD, &*path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        list => list.call(|| format!("read {path}")).at(|| "mounts")?,
    };
    let alias = format!("alias fs-{name} ");
    Ok(list.split(|byte| *byte == b'\n').any(|line| line.starts_with(alias.as_bytes())))
}

/// A word that is nearly an option of ours: the file system will hardly know it.
fn left_to_the_file_system(mount: &Mount, fs: &FileSystem, findings: &mut Findings) {
    for (word, value) in &fs.data {
        if let (None, Some(near)) = (value, nearest(word, options::names())) {
            let field = format!("{}.options", mount.field());
            let rule = format!("{word:?} is left to {}", fs.kind);
            findings.advise(Error::new(rule).at(field).guess(Some(near)));
        }
    }
}
