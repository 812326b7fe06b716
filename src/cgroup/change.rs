//! Changing a cgroup in use: all of it or nothing. Before a file is written,
//! what stands in it is kept as the write that puts it back.

use super::apply::step;
use super::write::{File, Write};
use super::{Cgroup, apply};
use crate::error::{Error, Result};
use rustix::io::Errno;

/// Device rules come last, as a list of them cannot be read back; `devices`
/// restores them. Returns what undoes the change.
pub(super) fn change(cgroup: &Cgroup, writes: &[Write], devices: &[Write]) -> Result<Vec<Write>> {
    let mut undo = Vec::new();
    let (last, first): (Vec<_>, Vec<_>) = writes
        .iter()
        .partition(|write| matches!(write, Write::DeviceList { .. } | Write::DeviceProgram { .. }));
    let last = last.into_iter().map(|write| (write, true));
    for (write, is_devices) in first.into_iter().map(|write| (write, false)).chain(last) {
        if is_devices {
            undo.splice(..0, devices.iter().cloned());
        } else {
            match before(cgroup, write) {
                Ok(old) => undo.splice(..0, old),
                Err(error) => return Err(take_back(cgroup, &undo, error)),
            };
        }
        if let Err(error) = step(cgroup, write) {
            return Err(take_back(cgroup, &undo, error));
        }
    }
    Ok(undo)
}

/// Undoes a change because of `error`, and tells what could not be undone.
pub(super) fn take_back(cgroup: &Cgroup, undo: &[Write], error: Error) -> Error {
    // All are tried: one that fails must not keep the others.
    undo.iter().fold(error, |error, write| error.and(step(cgroup, write)))
}

/// The opposite of a write that is about to be done.
fn before(cgroup: &Cgroup, write: &Write) -> Result<Option<Write>> {
    let all = |files: &[File]| -> Result<Vec<File>> {
        files.iter().filter_map(|file| old(cgroup, file).transpose()).collect()
    };
    Ok(match write {
        Write::File(file) => old(cgroup, file)?.map(Write::File),
        Write::AnyOrder(files) => Some(Write::AnyOrder(all(files)?)),
        Write::FirstOf(files) => Some(Write::FirstOf(all(files)?)),
        Write::Period { .. } => {
            let file = File::new("cpu", "cpu.max", "", "linux.resources.cpu.period");
            old(cgroup, &file)?.map(Write::File)
        }
        Write::AtMost { .. } | Write::DeviceList { .. } | Write::DeviceProgram { .. } => None,
    })
}

/// None for a file that is not there: writing it fails, too. What cannot be read could
/// not be put back.
fn old(cgroup: &Cgroup, file: &File) -> Result<Option<File>> {
    let Ok(node) = apply::node_for(cgroup, file.controller, &file.field) else { return Ok(None) };
    let content = match node.read(&file.name) {
        Err(error)
            if matches!(
                error.errno(),
                Some(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP | Errno::ACCESS)
            ) =>
        {
            return Ok(None);
        }
        content => content?,
    };
    Ok(Some(File { text: restoring(&file.name, &file.text, &content), ..file.clone() }))
}

/// The line that makes `name` what `content` says, where `text` will change it.
fn restoring(name: &str, text: &str, content: &str) -> String {
    let keyed = text.split_once(' ').filter(|_| name != "cpu.max");
    if let Some((key, _)) = keyed {
        let is_its = |line: &&str| line.split(' ').next() == Some(key);
        let line = content.lines().find(is_its).map(str::to_owned);
        return line.unwrap_or_else(|| match name {
            "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
            "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
            "io.weight" => format!("{key} default"),
            _ => format!("{key} 0"),
        });
    }
    let mut lines = content.lines();
    let first = lines.next().unwrap_or_default();
    match lines.next() {
        // oom_control and io.weight begin with a name, and take a number.
        Some(_) => first.rsplit(' ').next().unwrap_or_default().to_owned(),
        // Nothing at all would not be a write: an empty cpuset is a line feed.
        None if first.is_empty() => "\n".to_owned(),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::restoring;

    #[test]
    fn what_was_there_is_put_back() {
        for (name, text, content, want) in [
            ("pids.max", "5", "max\n", "max"),
            ("cpu.max", "5000 10000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", "\n"),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\n", "0"),
            ("io.weight", "200", "default 100\n8:0 50\n", "100"),
            ("io.weight", "8:0 200", "default 100\n8:0 50\n", "8:0 50"),
            ("io.weight", "8:16 200", "default 100\n8:0 50\n", "8:16 default"),
            ("io.max", "8:0 rbps=1", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("blkio.throttle.read_bps_device", "8:0 1", "8:1 9\n", "8:0 0"),
            ("net_prio.ifpriomap", "lo 5", "lo 0\neth0 3\n", "lo 0"),
        ] {
            assert_eq!(restoring(name, text, content), want, "{name} {text}");
        }
    }
}
