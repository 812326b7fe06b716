//! `linux.sysctl`: only parameters that belong to one of the container's own
//! namespaces, so that no bundle can change the host.

use super::{Findings, Kind, Namespaces};
use crate::error::Error;
use std::collections::BTreeMap;

/// Parameters of the IPC namespace, `ipc_namespaces(7)`.
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// Checks every key; returns paths below `/proc/sys` with their values.
pub fn plan(
    sysctl: &BTreeMap<String, String>,
    domainname: Option<&str>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Vec<(String, String)> {
    let domainname = domainname.filter(|name| !name.is_empty());
    let mut writes = Vec::with_capacity(sysctl.len());
    for (key, value) in sysctl {
        let path = path(key);
        let field = format!("linux.sysctl.{key}");
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            findings.refuse(&field, "is not the name of a kernel parameter");
        } else if path == "kernel/hostname" {
            findings.refuse(&field, "use the field hostname instead");
        } else if let Some(name) = domainname.filter(|name| is_another(&path, value, name)) {
            findings.error(
                Error::new(format!("{value:?} is another than domainname, {name:?}"))
                    .at(&field)
                    .hint("name it once"),
            );
        } else {
            match namespace(&path) {
                Some(kind) if namespaces.has(kind) => {}
                Some(kind) => findings.refuse(
                    &field,
                    format!("needs a {} namespace of the container's own", kind.name()),
                ),
                None => findings.error(
                    Error::new("is not separate for each namespace")
                        .at(&field)
                        .hint("set it on the host, or drop it"),
                ),
            }
        }
        writes.push((path, value.clone()));
    }
    writes
}

/// Whether a parameter would replace `domainname`, which is the same to the kernel.
fn is_another(path: &str, value: &str, domainname: &str) -> bool {
    path == "kernel/domainname" && value.trim_end() != domainname
}

/// The kind of namespace that each key belongs to, with its field.
pub fn namespaces(sysctl: &BTreeMap<String, String>) -> impl Iterator<Item = (Kind, String)> {
    let one = |key: &String| Some((namespace(&path(key))?, format!("linux.sysctl.{key}")));
    sysctl.keys().filter_map(one)
}

/// sysctl(8): the first separator decides; the other character is then literal.
fn path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

fn namespace(path: &str) -> Option<Kind> {
    if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        Some(Kind::Ipc)
    } else if path.starts_with("net/") {
        Some(Kind::Network)
    } else if path == "kernel/domainname" {
        Some(Kind::Uts)
    } else if path.starts_with("user/") {
        Some(Kind::User)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn keys_become_paths_as_with_sysctl() {
        for (key, expected) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ] {
            assert_eq!(path(key), expected);
        }
    }
}
