//! Whose the container's cgroup becomes (config-linux.md, "Cgroup ownership").

use super::{IdMaps, Kind, Namespaces};
use crate::spec::{IdMapping, Spec};

/// The user of the host that the container's cgroup is to belong to: the one
/// that `process.user.uid` is mapped to, if a new cgroup namespace is made and
/// the cgroup file system is mounted writable.
///
/// When a user namespace is joined its maps are unknown here: none.
pub fn plan(spec: &Spec, namespaces: &Namespaces, maps: Option<&IdMaps>) -> Option<u32> {
    let writable = spec.mounts.iter().any(|mount| {
        mount.source.as_deref() == Some("cgroup")
            && mount.destination == "/sys/fs/cgroup"
            && !mount.options.iter().any(|option| option == "ro")
    });
    if !writable || !namespaces.creates(Kind::Cgroup) || namespaces.joins(Kind::User) {
        return None;
    }
    let uid = spec.process.as_ref().and_then(|process| process.user.uid).unwrap_or(0);
    match maps {
        Some(maps) => maps.uids.iter().find_map(|line| host_id(line, uid)),
        None => Some(uid),
    }
}

/// The id on the host that a line of a map has for `id`.
pub(super) fn host_id(line: &IdMapping, id: u32) -> Option<u32> {
    let offset = id.checked_sub(line.container_id).filter(|offset| *offset < line.size)?;
    line.host_id.checked_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Findings;

    fn of(mount: &str, namespaces: &str, maps: Option<&[(u32, u32, u32)]>) -> Option<u32> {
        let text = format!(
            r#"{{"ociVersion": "1.3.0", "mounts": [{mount}],
                "process": {{"cwd": "/", "args": ["x"], "user": {{"uid": 1000, "gid": 0}}}},
                "linux": {{"namespaces": [{namespaces}]}}}}"#
        );
        let spec: Spec = serde_json::from_str(&text).unwrap();
        let linux = spec.linux.clone().unwrap();
        let namespaces = crate::plan::namespaces::plan(&linux.namespaces, &mut Findings::default());
        let line = |line: &(u32, u32, u32)| IdMapping {
            container_id: line.0,
            host_id: line.1,
            size: line.2,
        };
        let maps =
            maps.map(|maps| IdMaps { uids: maps.iter().map(line).collect(), gids: Vec::new() });
        plan(&spec, &namespaces, maps.as_ref())
    }

    const MOUNT: &str =
        r#"{"type": "cgroup", "source": "cgroup", "destination": "/sys/fs/cgroup"}"#;
    const NEW: &str = r#"{"type": "cgroup"}"#;

    #[test]
    fn the_specs_conditions() {
        assert_eq!(of(MOUNT, NEW, None), Some(1000));
        assert_eq!(of(MOUNT, NEW, Some(&[(0, 5000, 1), (1, 100_000, 65536)])), Some(100_999));
        assert_eq!(of(MOUNT, NEW, Some(&[(0, 5000, 1)])), None, "not mapped");
        assert_eq!(of(MOUNT, "", None), None, "no new cgroup namespace");
        let joined = r#"{"type": "cgroup", "path": "/proc/1/ns/cgroup"}"#;
        assert_eq!(of(MOUNT, joined, None), None);
        for mount in [
            r#"{"type": "cgroup", "source": "cgroup", "destination": "/sys/fs/cgroup", "options": ["nosuid", "ro"]}"#,
            r#"{"type": "cgroup", "source": "cgroup", "destination": "/cgroup"}"#,
            r#"{"type": "cgroup", "source": "cgroup2", "destination": "/sys/fs/cgroup"}"#,
        ] {
            assert_eq!(of(mount, NEW, None), None, "{mount}");
        }
    }
}
