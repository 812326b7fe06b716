//! Maps of a new user namespace (config-linux.md, "User namespace mappings").

use super::{Findings, Kind, Namespaces};
use crate::error::Error;
use crate::spec::{IdMapping, Linux};
use std::fmt::Write as _;

/// What goes to `/proc/PID/uid_map` and `gid_map`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// uid map.
    pub uids: Vec<IdMapping>,
    /// gid map.
    pub gids: Vec<IdMapping>,
}

/// The text of a map, `user_namespaces(7)`.
pub fn text(map: &[IdMapping]) -> String {
    map.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _infallible =
            writeln!(text, "{} {} {}", line.container_id, line.host_id, line.size).is_ok();
        text
    })
}

/// Checks that maps and a new user namespace come together.
pub fn plan(
    linux: &Linux,
    namespaces: &Namespaces,
    unprivileged: bool,
    findings: &mut Findings,
) -> Option<IdMaps> {
    let maps = IdMaps { uids: linux.uid_mappings.clone(), gids: linux.gid_mappings.clone() };
    check("linux.uidMappings", &maps.uids, findings);
    check("linux.gidMappings", &maps.gids, findings);
    let given = !maps.uids.is_empty() || !maps.gids.is_empty();
    if namespaces.creates(Kind::User) {
        for (field, map) in [("uidMappings", &maps.uids), ("gidMappings", &maps.gids)] {
            if map.is_empty() {
                findings.error(
                    Error::new(format!(
                        "linux.{field}: is empty, but a new user namespace needs it"
                    ))
                    .hint("at least {\"containerID\": 0, \"hostID\": ..., \"size\": 1}"),
                );
            }
        }
        return Some(maps);
    }
    if given && !namespaces.has(Kind::User) {
        findings.error(
            Error::new("linux.uidMappings and gidMappings: need a user namespace")
                .hint("add {\"type\": \"user\"} to linux.namespaces"),
        );
    }
    if unprivileged && !namespaces.has(Kind::User) {
        findings.error(
            Error::new("linux.namespaces: without root's privileges a user namespace is needed")
                .hint("`pinnace spec --rootless` writes a configuration that has one"),
        );
    }
    None
}

fn check(field: &str, map: &[IdMapping], findings: &mut Findings) {
    for (i, line) in map.iter().enumerate() {
        if line.size == 0 {
            findings.error(Error::new(format!("{field}[{i}].size: is 0")));
        }
        for (first, name) in [(line.container_id, "containerID"), (line.host_id, "hostID")] {
            if first.checked_add(line.size.saturating_sub(1)).is_none() {
                findings.error(Error::new(format!(
                    "{field}[{i}].{name}: {first} plus size {} is beyond 4294967295",
                    line.size
                )));
            }
        }
    }
}
