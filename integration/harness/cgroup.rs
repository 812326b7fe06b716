//! Where the container's cgroup files are, on either hierarchy.

use super::Container;
use std::fs;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";

/// How the host mounts cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// One mount a controller (also "hybrid").
    V1,
    /// One unified mount.
    V2,
}

impl Hierarchy {
    pub fn of_host() -> Self {
        let unified = Path::new(MOUNT).join("cgroup.controllers");
        if unified.exists() { Self::V2 } else { Self::V1 }
    }

    pub fn has(self, controller: &str) -> bool {
        match self {
            Self::V1 => is_cgroup(&Path::new(MOUNT).join(controller)),
            Self::V2 => fs::read_to_string(Path::new(MOUNT).join("cgroup.controllers"))
                .unwrap()
                .split_whitespace()
                .any(|name| name == controller),
        }
    }
}

/// Whether a directory is a cgroup. Engines leave plain directories with the names of
/// controllers on the tmpfs around v1's hierarchies.
pub fn is_cgroup(dir: &Path) -> bool {
    const CGROUP_SUPER_MAGIC: i64 = 0x0027_e0eb;
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs(dir)
        .is_ok_and(|fs| [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&fs.f_type))
}

impl Container {
    /// The directory of the container's cgroup (of that controller, on v1).
    #[track_caller]
    pub fn cgroup(&self, controller: &str) -> PathBuf {
        cgroup_of(&self.pid().to_string(), controller)
    }

    /// The content of a cgroup file: `v1` or `v2`, as the host has it.
    #[track_caller]
    pub fn cgroup_value(&self, v1: &str, v2: &str) -> String {
        let file = match Hierarchy::of_host() {
            Hierarchy::V1 => self.cgroup(v1.split('.').next().unwrap()).join(v1),
            Hierarchy::V2 => self.cgroup("").join(v2),
        };
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        text.trim_end().to_owned()
    }
}

/// The cgroup directory of a process (`self`, or a pid of the host).
#[track_caller]
pub fn cgroup_of(pid: &str, controller: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let v2 = Hierarchy::of_host() == Hierarchy::V2;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next().unwrap(), parts.next().unwrap().trim_start_matches('/'));
        if v2 && names.is_empty() {
            return Path::new(MOUNT).join(path);
        }
        if !v2 && names.split(',').any(|name| name == controller) {
            return Path::new(MOUNT).join(controller).join(path);
        }
    }
    panic!("no {controller} cgroup in {text}");
}
