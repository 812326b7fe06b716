//! Maps of a new user namespace (config-linux.md, "User namespace mappings").

use super::{Findings, Kind, Namespaces, Process};
use crate::error::Error;
use crate::spec::{IdMapping, Linux};
use crate::sys::userfault::page_size;
use std::fmt::Write as _;

/// The most ranges that a map can have (`user_namespaces(7)`).
const RANGES: usize = 340;

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
                    Error::new("is empty, but a new user namespace needs it")
                        .at(format_args!("linux.{field}"))
                        .hint("at least {\"containerID\": 0, \"hostID\": ..., \"size\": 1}"),
                );
            }
        }
        return Some(maps);
    }
    if given && !namespaces.has(Kind::User) {
        findings.error(
            Error::new("need a user namespace")
                .at("linux.uidMappings and gidMappings")
                .hint("add {\"type\": \"user\"} to linux.namespaces"),
        );
    }
    if unprivileged && !namespaces.has(Kind::User) {
        findings.error(
            Error::new("without root's privileges a user namespace is needed")
                .at("linux.namespaces")
                .hint("`pinnace spec --rootless` writes a configuration that has one"),
        );
    }
    None
}

/// What the kernel refuses in a map, all of it by EINVAL (`user_namespaces(7)`): `field` is
/// that of the whole map.
pub fn check(field: &str, map: &[IdMapping], findings: &mut Findings) {
    let fewer = "user_namespaces(7); adjacent ranges can be written as one";
    let (length, page) = (text(map).len(), page_size());
    if map.len() > RANGES {
        let message = format!("has {} ranges, more than {RANGES}", map.len());
        return findings.error(Error::new(message).at(field).hint(fewer));
    }
    if length >= page {
        let message = format!("is a map of {length} bytes, not below {page}, a page");
        return findings.error(Error::new(message).at(field).hint(fewer));
    }
    for (i, line) in map.iter().enumerate() {
        if line.size == 0 {
            let message = "is 0, but a range has at least one id";
            findings.refuse(format_args!("{field}[{i}].size"), message);
        }
        for (first, name) in [(line.container_id, "containerID"), (line.host_id, "hostID")] {
            if first.checked_add(line.size).is_none() {
                let message =
                    format!("{first} with size {} is beyond 4294967294, the last id", line.size);
                findings.refuse(format_args!("{field}[{i}].{name}"), message);
            }
        }
        let lines = (&map[..i], line);
        check_overlap(field, "containerID", |line| line.container_id, lines, findings);
        check_overlap(field, "hostID", |line| line.host_id, lines, findings);
    }
}

/// An id is mapped once, in either direction.
fn check_overlap(
    field: &str,
    name: &str,
    first: fn(&IdMapping) -> u32,
    (before, line): (&[IdMapping], &IdMapping),
    findings: &mut Findings,
) {
    let range = |line: &IdMapping| {
        let first = u64::from(first(line));
        first..first + u64::from(line.size)
    };
    let own = range(line);
    let other = before.iter().map(range).enumerate().find(|(_, other)| {
        own.start < other.end && other.start < own.end && !own.is_empty() && !other.is_empty()
    });
    if let Some((j, other)) = other {
        let (i, last, other_last) = (before.len(), own.end - 1, other.end - 1);
        let message =
            format!("{}-{last} overlaps {field}[{j}], {}-{other_last}", own.start, other.start);
        findings.error(
            Error::new(message)
                .at(format_args!("{field}[{i}].{name}"))
                .hint("an id is mapped once (user_namespaces(7))"),
        );
    }
}

/// Ids of the process that the new user namespace will not have.
pub fn check_process(process: &Process, maps: &IdMaps, findings: &mut Findings) {
    let mut one = |field: String, id: u32, name: &str, map: &[IdMapping]| {
        let holds = |line: &IdMapping| {
            id.checked_sub(line.container_id).is_some_and(|offset| offset < line.size)
        };
        if map.is_empty() || map.iter().any(holds) {
            return;
        }
        let ranges = map.iter().filter(|line| line.size > 0).map(|line| {
            let last = line.container_id.saturating_add(line.size - 1);
            format!("{}-{last}", line.container_id)
        });
        let ranges: Vec<_> = ranges.collect();
        let message = format!("{id} is not mapped by linux.{name}");
        findings.error(
            Error::new(message).at(&field).hint(format!("mapped are {}", ranges.join(", "))),
        );
    };
    one("process.user.uid".into(), process.uid, "uidMappings", &maps.uids);
    one("process.user.gid".into(), process.gid, "gidMappings", &maps.gids);
    for (i, gid) in process.groups.iter().flatten().enumerate() {
        one(format!("process.user.additionalGids[{i}]"), *gid, "gidMappings", &maps.gids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors of a map.
    fn of(map: &[(u32, u32, u32)]) -> Vec<String> {
        let line = |&(container_id, host_id, size): &_| IdMapping { container_id, host_id, size };
        let map: Vec<_> = map.iter().map(line).collect();
        let mut findings = Findings::default();
        check("x", &map, &mut findings);
        findings.errors().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_kernel_takes_is_no_error() {
        for map in [
            &[(0, 0, u32::MAX)][..],
            &[(0, 1000, 1), (1, 100_000, 65_536)][..],
            &[(10, 10, 10), (0, 0, 10), (20, 20, 10)][..],
            &[(u32::MAX - 1, 5, 1)][..],
            &(0..340).map(|n| (n, 2 * n, 1)).collect::<Vec<_>>()[..],
        ] {
            assert_eq!(of(map), [""; 0], "{map:?}");
        }
    }

    #[test]
    fn each_rule_is_told_with_its_field() {
        for (map, wanted) in [
            (&[(0, 0, 0)][..], "x[0].size: is 0, but a range has at least one id"),
            (&[(0, u32::MAX, 1)][..], "x[0].hostID: 4294967295 with size 1 is beyond 4294967294"),
            (&[(5, 0, u32::MAX)][..], "x[0].containerID: 5 with size 4294967295 is beyond"),
            (&[(0, 0, 9), (8, 100, 9)][..], "x[1].containerID: 8-16 overlaps x[0], 0-8 (an id is"),
            (&[(0, 5, 1), (1, 7, 1), (2, 0, 8)][..], "x[2].hostID: 0-7 overlaps x[0], 5-5 (an id"),
            (
                &(0..341).map(|n| (n, n, 1)).collect::<Vec<_>>()[..],
                "x: has 341 ranges, more than 340",
            ),
        ] {
            let errors = of(map);
            assert!(errors.len() == 1 && errors[0].starts_with(wanted), "{wanted}: {errors:?}");
        }
        let long: Vec<_> = (0..300).map(|n| (1_000_000 + n, 2_000_000 + n, 1)).collect();
        let errors = of(&long);
        let fits = page_size() > 5400;
        assert!(
            fits || errors[0].starts_with("x: is a map of 5400 bytes, not below"),
            "{errors:?}"
        );
    }
}
