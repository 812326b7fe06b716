//! Intel RDT: classes of service and monitoring groups in the resctrl file
//! system (config-linux.md, "IntelRdt"; resctrl.rst of the kernel).
//!
//! [`Groups::locate`] looks and decides, [`Groups::create`] makes and limits,
//! [`Groups::enter`] moves a process in, [`Groups::remove`] takes away what is
//! the container's own. The value is kept in the container's record.

use crate::error::{At, Context, Error, Result};
use crate::plan::IntelRdt;
use crate::plan::intel_rdt::Class;
use crate::sys::mountinfo;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The directories of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Groups {
    /// The class of service.
    class: PathBuf,
    /// Whether it is the container's own: made with it, removed with it.
    own: bool,
    /// The monitoring group, always the container's own.
    monitor: Option<PathBuf>,
}

/// Where resctrl is mounted, in the runtime's mount namespace.
///
/// # Errors
/// If it is not.
pub fn mount_point() -> Result<PathBuf> {
    find(&mountinfo::read()?).ok_or_else(|| {
        Error::new("no resctrl file system is mounted").at("linux.intelRdt").hint(
            "mount -t resctrl resctrl /sys/fs/resctrl, on a machine and a kernel with Intel RDT",
        )
    })
}

/// The mount point of the last resctrl in a `mountinfo` table,
/// `proc_pid_mountinfo(5)`.
#[must_use]
pub fn find(table: &[u8]) -> Option<PathBuf> {
    Some(mountinfo::rows(table).rfind(|row| row.kind == b"resctrl")?.point())
}

impl Groups {
    /// Decides which directories the container gets, below the resctrl at
    /// `root`; changes nothing.
    ///
    /// # Errors
    /// A class that must be there and is not, that has other limits than those
    /// wanted, or that must not be there and is.
    pub fn locate(rdt: &IntelRdt, id: &str, root: &Path) -> Result<Self> {
        let class = match &rdt.class {
            Class::Own(name) | Class::Named(name) => root.join(name),
            Class::Root => root.to_owned(),
        };
        let shown = class.display();
        let is_there = |path: &Path| {
            path.try_exists().call(|| format!("stat {}", path.display())).at(|| "linux.intelRdt")
        };
        let exists = is_there(&class)?;
        let own = matches!(rdt.class, Class::Own(_));
        if own && exists {
            return Err(Error::new(format!("is unset, but {shown} exists"))
                .at("linux.intelRdt.closID")
                .hint("the class of another container; name it to share it"));
        }
        if !own && !exists && rdt.schemata.is_empty() {
            return Err(Error::new(format!(
                "{shown} does not exist, and no schema is given to make it with"
            ))
            .at("linux.intelRdt.closID"));
        }
        if exists {
            compare(&class, &rdt.schemata)?;
        }
        let monitor = rdt.monitoring.then(|| class.join("mon_groups").join(id));
        if let Some(monitor) = &monitor
            && is_there(monitor)?
        {
            return Err(Error::new(format!("{} exists already", monitor.display()))
                .at("linux.intelRdt.enableMonitoring"));
        }
        Ok(Self { class, own, monitor })
    }

    /// Makes the directories and writes the limits. What it has made it removes
    /// again when it fails.
    ///
    /// # Errors
    /// `ENOSPC` when there are no classes or monitoring groups left, and a
    /// schema that the kernel refuses.
    pub fn create(&mut self, rdt: &IntelRdt) -> Result<()> {
        let shown = self.class.display().to_string();
        let made = match rustix::fs::mkdir(&self.class, 0o755.into()) {
            Ok(()) => true,
            Err(Errno::EXIST) if !self.own => false,
            Err(errno) => {
                // Not ours, then: nobody may remove it on our behalf.
                (self.own, self.monitor) = (false, None);
                return Err(Error::os(format!("mkdir {shown}"), errno)
                    .at("linux.intelRdt.closID")
                    .hint_on(Errno::NOSPC, "all classes of service are in use"));
            }
        };
        let done = self.limit(&rdt.schemata).and_then(|()| self.watch());
        if done.is_err() && made {
            (self.own, self.monitor) = (false, None);
            return done.map_err(|error| error.and(remove(&self.class)));
        }
        done
    }

    /// Changes limits of the class, or none of them.
    ///
    /// # Errors
    /// A schema that the kernel refuses.
    pub fn change(&self, lines: &[(String, String)]) -> Result<()> {
        let file = self.class.join("schemata");
        let call = || format!("read {}", file.display());
        let old = std::fs::read_to_string(&file).call(call).at(|| "linux.intelRdt")?;
        let undo = || append(&file, &old).call(|| format!("write to {}", file.display()));
        self.limit(lines).map_err(|error| error.and(undo()))
    }

    fn limit(&self, lines: &[(String, String)]) -> Result<()> {
        let file = self.class.join("schemata");
        for (field, line) in lines {
            append(&file, &format!("{line}\n"))
                .call(|| format!("write {line:?} to {}", file.display()))
                .at(|| &field)
                .map_err(|error| self.explain(error))?;
        }
        Ok(())
    }

    /// resctrl says why in a file of its own (resctrl.rst, "info directory").
    fn explain(&self, error: Error) -> Error {
        let root = self.class.ancestors().find(|dir| dir.join("info").is_dir());
        let status = root.map(|root| root.join("info/last_cmd_status"));
        match status.and_then(|file| std::fs::read_to_string(file).ok()) {
            Some(words) if !words.trim().is_empty() && words.trim() != "ok" => {
                error.hint(format!("resctrl says: {}", words.trim()))
            }
            _ => error,
        }
    }

    fn watch(&mut self) -> Result<()> {
        let Some(monitor) = &self.monitor else { return Ok(()) };
        let made = rustix::fs::mkdir(monitor, 0o755.into())
            .call(|| format!("mkdir {}", monitor.display()))
            .at(|| "linux.intelRdt.enableMonitoring")
            .hint_on(Errno::NOSPC, || "all monitoring groups are in use")
            .hint_on(Errno::NOENT, || "this machine has no monitoring");
        if made.is_err() {
            self.monitor = None;
        }
        made
    }

    /// Moves a process in: into the class first, as a monitoring group takes
    /// only processes of its class.
    ///
    /// # Errors
    /// Those of write(2); `ENOENT` if somebody has removed the class.
    pub fn enter(&self, pid: i32) -> Result<()> {
        for dir in [Some(&self.class), self.monitor.as_ref()].into_iter().flatten() {
            let file = dir.join("tasks");
            append(&file, &pid.to_string())
                .call(|| format!("write {pid} to {}", file.display()))
                .at(|| "linux.intelRdt")
                .map_err(|error| self.explain(error))?;
        }
        Ok(())
    }

    /// Removes what is the container's own; what is gone already is fine.
    ///
    /// # Errors
    /// Those of rmdir(2).
    pub fn remove(&self) -> Result<()> {
        if let Some(monitor) = &self.monitor {
            remove(monitor)?;
        }
        if self.own { remove(&self.class) } else { Ok(()) }
    }
}

fn remove(dir: &Path) -> Result<()> {
    match rustix::fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::os(format!("rmdir {}", dir.display()), errno)),
    }
}

/// Each write is one command to resctrl. The real one lets nobody make files;
/// that this could is for tests on a tree of plain files.
fn append(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

/// A class that is shared must have the limits that this container wants: to
/// write them would change those of the others.
fn compare(class: &Path, wanted: &[(String, String)]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let file = class.join("schemata");
    let text = std::fs::read_to_string(&file)
        .call(|| format!("read {}", file.display()))
        .at(|| "linux.intelRdt")?;
    for (field, lines) in wanted {
        for line in lines.lines() {
            if !matches(line, &text) {
                return Err(Error::new(format!("{line:?} does not match {}", file.display()))
                    .at(field)
                    .hint(format!("it has {}", text.trim().replace('\n', ", "))));
            }
        }
    }
    Ok(())
}

/// Whether every domain of `line` has that value in `text`. resctrl pads names
/// and numbers, and shows domains that the line need not name.
fn matches(line: &str, text: &str) -> bool {
    let Some((name, wanted)) = line.split_once(':') else { return false };
    let found = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(other, _)| other.trim() == name.trim());
    let Some((_, found)) = found else { return false };
    let found = domains(found);
    domains(wanted).iter().all(|domain| found.contains(domain))
}

/// `0=7ff;1=001` as pairs without leading zeros.
fn domains(text: &str) -> Vec<(&str, &str)> {
    text.split(';')
        .filter_map(|part| part.split_once('='))
        .map(|(domain, value)| (plain(domain), plain(value)))
        .collect()
}

fn plain(number: &str) -> &str {
    let digits = number.trim().trim_start_matches('0');
    if digits.is_empty() { "0" } else { digits }
}
