//! What is there now that a container could have left behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::call::until;
use crate::machine::{MACHINES, Machine};

/// Processes, mounts, cgroups and runtime state, one line each.
pub struct Leftovers(BTreeSet<String>);

impl Leftovers {
    /// What is there now.
    pub fn look(machine: &Machine) -> Result<Self> {
        let mut all = BTreeSet::new();
        processes(&mut all)?;
        for line in fs::read_to_string("/proc/self/mounts")?.lines() {
            // podman's own: it keeps its storage private, from its first container to its last.
            if !line.contains("/run/engines/podman/root/overlay tmpfs") {
                all.insert(format!("mount {line}"));
            }
        }
        for directory in machine.cgroups()? {
            // The parent, conmon's and BuildKit's are the engines' own.
            let of_engines = [&*machine.unique, MACHINES, "conmon", "buildkit"];
            let is_of_engines = of_engines.iter().any(|name| directory.ends_with(name));
            // podman leaves a pod's to the runtime, where it has no controller.
            let is_of_pod =
                directory.parent().is_some_and(|above| above.ends_with(&machine.unique))
                    && machine.runtime_name() != "pinnace";
            if !is_of_engines && !is_of_pod {
                all.insert(format!("cgroup {}", directory.display()));
            }
        }
        let name = machine.runtime_name();
        let user = crate::machine::USER;
        for state in [
            format!("/run/{name}"),
            format!("/run/user/{user}/{name}"),
            format!("/run/containerd/runc/{}", machine.unique),
            "/run/containerd/runc/k8s.io".to_owned(),
            "/run/engines/docker/exec/runtime-runc/moby".to_owned(),
        ] {
            files(Path::new(&state), &mut all);
        }
        files(Path::new("/run/netns"), &mut all);
        files(Path::new("/run/systemd/transient"), &mut all);
        Ok(Self(all))
    }

    /// What is there now and was not before, once all that is ending has ended.
    pub fn wait(machine: &Machine, before: &Self) -> Result<Vec<String>> {
        let mut more = Vec::new();
        let waited = until("nothing is left", || {
            more = Self::look(machine)?.0.difference(&before.0).cloned().collect();
            Ok(more.is_empty())
        });
        if more.is_empty() {
            waited?;
        }
        Ok(more)
    }
}

/// Every process of this pid namespace that is not a zombie.
fn processes(all: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process may end while we look; a kernel thread or zombie has no command line.
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        // An engine's own daemon is none, and may have been started again; systemd starts the bus when it is first used.
        let own = ["containerd\0--config\0", "/usr/bin/dbus-daemon\0"];
        if !line.is_empty() && !own.iter().any(|words| line.starts_with(words)) {
            all.insert(format!("process {pid} {}", line.replace('\0', " ").trim_end()));
        }
    }
    Ok(())
}

/// The entries of a directory, if it is there.
fn files(directory: &Path, all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        all.insert(format!("file {}", entry.path().display()));
    }
}

/// The pid of the process that runs `program` with `arguments` among its own.
pub fn process(program: &str, arguments: &[&str]) -> Result<u32> {
    let wanted = format!("\0{}\0", arguments.join("\0"));
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let first = line.split('\0').next().unwrap_or_default();
        if first.ends_with(program) && line.contains(&wanted) {
            return Ok(entry.file_name().to_string_lossy().parse()?);
        }
    }
    Err(anyhow::anyhow!("{}", arguments.join(" "))).with_context(|| format!("no process {program}"))
}
