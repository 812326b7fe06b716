//! Where the container's cgroup will be on this host: which version, which hierarchies, which
//! path. Looks at the host, and changes nothing.

use super::node::{Node, V1_MAGIC, V2_MAGIC, magic, read, read_bytes};
use super::{Cgroup, Hierarchies, Rules, Unified, systemd};
use crate::error::{At, Context, Error, Result};
use crate::spec::Resources;
use crate::sys::file::CGROUPS;
use crate::sys::mountinfo;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A cgroup below the container's: `exec --cgroup [CONTROLLERS:]PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubPath {
    /// v1: for these hierarchies only; empty for all.
    pub controllers: Vec<String>,
    /// Below the container's cgroup; empty for that itself.
    pub path: String,
}

impl SubPath {
    /// Parses the argument. A path that leads out is refused.
    pub fn parse(text: &str) -> Result<Self> {
        let (controllers, path) = text.split_once(':').unwrap_or(("", text));
        let controllers = controllers.split(',').filter(|c| !c.is_empty()).map(String::from);
        let is_top = path.split('/').all(|part| part.is_empty() || part == ".");
        let path = if is_top { Ok(String::new()) } else { clean(path) };
        let path = path.at(|| format!("--cgroup {text:?}"))?;
        Ok(Self { controllers: controllers.collect(), path })
    }
}

/// What a mount of type `cgroup` in the container is made of. Under v2 there is
/// one, at the destination itself; under v1 one each in a directory `name`
/// on a tmpfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupMount {
    /// Directory's name below the destination; none on v2: the destination.
    pub name: Option<String>,
    /// Names to link to it: `cpu` and `cpuacct` to `cpu,cpuacct`.
    pub links: Vec<String>,
    /// Without a cgroup namespace: the directory to bind.
    pub source: PathBuf,
    /// With one: the type to mount, and its data.
    pub fstype: &'static str,
    /// Mount data, such as `cpu,cpuacct` or `none,name=systemd`.
    pub data: String,
}

pub(super) fn mount_of(node: &Node) -> CgroupMount {
    let source = node.path().into();
    let base = || Some(node.root.rsplit('/').next().unwrap_or_default().to_owned());
    let Some(name) = &node.name else {
        let name = node.controllers.as_ref().and_then(|_| base());
        return CgroupMount {
            name,
            links: Vec::new(),
            source,
            fstype: "cgroup2",
            data: String::new(),
        };
    };
    let links =
        if name.contains(',') { name.split(',').map(String::from).collect() } else { Vec::new() };
    let data = if name.starts_with("name=") { format!("none,{name}") } else { name.clone() };
    CgroupMount { name: base(), links, source, fstype: "cgroup", data }
}

pub(super) fn locate(path: Option<&str>, id: &str, rootless: bool) -> Result<Cgroup> {
    let path = path.filter(|path| !path.is_empty());
    let rules = Rules { rootless, default_path: path.is_none() };
    let below = match path {
        Some(path) => clean(path).at(|| "linux.cgroupsPath")?,
        None => clean(id).at(|| "container id")?,
    };
    let own = || read_bytes(CWD, "/proc/self/cgroup").call(|| "read /proc/self/cgroup".into());
    if magic(CGROUPS)? == Some(V2_MAGIC) {
        let absolute = path.is_some_and(|path| path.starts_with('/'));
        let below = if rootless && !absolute { beside_own(&own()?, &below)? } else { below };
        let node = node(CGROUPS.into(), below, None);
        return Ok(Cgroup::V2(Unified { node, exists: true, rules, unit: None, mark: None }));
    }
    // Only the names of the hierarchies count here, which are the kernel's.
    let own = String::from_utf8_lossy(&own()?).into_owned();
    let mut table = None;
    let mut nodes = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(name), Some(_)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let name = (!name.is_empty()).then(|| name.to_owned());
        // The last line is v2's, on every host: beside v1 it is often mounted
        // nowhere, and to know that takes the whole table of the host's mounts.
        if name.is_none() && !nodes.is_empty() {
            nodes.extend(usual_place(None)?.map(|root| node(root, below.clone(), None)));
        } else if let Some(root) = mount_point(name.as_deref(), &mut table)? {
            nodes.push(node(root, below.clone(), name));
        }
    }
    match nodes.iter().position(Node::unified) {
        // Mounted at an unusual place, but alone: v2.
        Some(0) if nodes.len() == 1 => {
            let node = nodes.remove(0);
            return Ok(Cgroup::V2(Unified { node, exists: true, rules, unit: None, mark: None }));
        }
        Some(i) => {
            let file = format!("{}/cgroup.controllers", nodes[i].root);
            let text = read(CWD, &file).call(|| format!("read {file}"))?;
            nodes[i].controllers = Some(text.split_ascii_whitespace().map(String::from).collect());
        }
        None if nodes.is_empty() => {
            return Err(Error::new("no cgroup hierarchy is mounted")
                .hint("mount cgroup2 on /sys/fs/cgroup"));
        }
        None => {}
    }
    Ok(Cgroup::V1(Hierarchies { nodes, rules, mark: None }))
}

/// With the systemd driver.
pub(super) fn locate_unit(
    path: Option<&str>,
    id: &str,
    rootless: bool,
    resources: &Resources,
    annotations: &BTreeMap<String, String>,
) -> Result<Cgroup> {
    if magic(CGROUPS)? != Some(V2_MAGIC) {
        return Err(Error::new("this host has no cgroup v2 at /sys/fs/cgroup")
            .at("--systemd-cgroup")
            .hint("systemd 258 and later want it, too; use the cgroupfs driver"));
    }
    let (unit, below) = systemd::locate(path, id, rootless, resources, annotations)?;
    let node = node(CGROUPS.into(), below, None);
    // Whoever asks systemd for it is not content without.
    let rules = Rules { rootless, default_path: false };
    Ok(Cgroup::V2(Unified { node, exists: true, rules, unit: Some(unit), mark: None }))
}

fn node(root: String, path: String, name: Option<String>) -> Node {
    Node {
        root,
        path,
        name,
        controllers: None,
        made: 0,
        ours: false,
        fd: OnceCell::new(),
        noted: 0,
        inherited: false,
    }
}

/// Takes out empty components and dots; refuses what leads upwards or nowhere.
fn clean(path: &str) -> Result<String> {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." || part.contains(['\n', '\0']) {
            return Err(Error::new(format!("{path:?} must not contain \"..\" or a line feed")));
        }
        parts.push(part);
    }
    if parts.is_empty() {
        return Err(Error::new(format!("{path:?} is the root of the hierarchy")));
    }
    Ok(parts.join("/"))
}

/// A user's own cgroup holds processes, so it can't have controlled ones below
/// it ("no internal processes"): the new one goes beside it, as under runc.
fn beside_own(own: &[u8], below: &str) -> Result<String> {
    let own = own.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"));
    let own = own.unwrap_or_default();
    let own = std::str::from_utf8(own).map_err(|_| {
        Error::new(format!("our own cgroup is /{}, which is no text", own.escape_ascii()))
            .hint("name an absolute one by linux.cgroupsPath")
    })?;
    Ok(match own.rsplit_once('/') {
        Some((parent, _)) => format!("{parent}/{below}"),
        None => below.to_owned(),
    })
}

/// Where a hierarchy is mounted: where everybody has it, or else where the mount
/// table says.
fn mount_point(name: Option<&str>, table: &mut Option<Vec<u8>>) -> Result<Option<String>> {
    if let Some(usual) = usual_place(name)? {
        return Ok(Some(usual));
    }
    if table.is_none() {
        *table = Some(mountinfo::read()?);
    }
    Ok(in_table(name, table.as_deref().unwrap_or_default()))
}

fn usual_place(name: Option<&str>) -> Result<Option<String>> {
    let (path, want) = match name {
        None => (format!("{CGROUPS}/unified"), V2_MAGIC),
        Some(name) => (format!("{CGROUPS}/{}", name.trim_start_matches("name=")), V1_MAGIC),
    };
    Ok((magic(&path)? == Some(want)).then_some(path))
}

fn in_table(name: Option<&str>, table: &[u8]) -> Option<String> {
    mountinfo::rows(table).find_map(|row| {
        let has =
            |word: &str| row.options.split(|byte| *byte == b',').any(|o| o == word.as_bytes());
        let fits = match name {
            None => row.kind == b"cgroup2",
            Some(name) => row.kind == b"cgroup" && name.split(',').all(has),
        };
        fits.then(|| row.point().into_os_string().into_string().ok())?
    })
}

/// Whether a failure to make or enter a cgroup is one that an unprivileged
/// caller who asked for none may be spared.
pub(super) fn is_ignored_when_rootless(rules: Rules, errno: Option<Errno>) -> bool {
    let denied = matches!(errno, Some(Errno::ACCESS | Errno::PERM | Errno::ROFS));
    rules.rootless && rules.default_path && denied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(clean("/a//b/./c/").unwrap(), "a/b/c");
        assert_eq!(clean("a").unwrap(), "a");
        for bad in ["/", "", ".", "../a", "/a/../../b", "a\nb"] {
            assert!(clean(bad).is_err(), "{bad:?}");
        }
        assert!(SubPath::parse("cpu,memory:../x").is_err());
        let sub = SubPath::parse("cpu,memory:/x/y").unwrap();
        assert_eq!((sub.controllers.len(), sub.path.as_str()), (2, "x/y"));
        for top in ["", "/", ".", "./", "//."] {
            assert_eq!(SubPath::parse(top).unwrap().path, "", "{top}");
            assert_eq!(SubPath::parse(&format!("cpu:{top}")).unwrap().path, "", "{top}");
        }
    }

    #[test]
    fn a_rootless_cgroup_lies_beside_its_maker() {
        let beside = |own: &[u8]| beside_own(own, "c1").map_err(|error| error.to_string());
        assert_eq!(beside(b"1:cpu:/x\n0::/user.slice/u/a.scope\n").unwrap(), "user.slice/u/c1");
        assert_eq!(beside(b"0::/\n").unwrap(), "c1");
        assert_eq!(beside(b"0::/x\n").unwrap(), "c1");
        assert!(beside(b"0::/\xff\x1b/x\n").unwrap_err().contains(r"/\xff\x1b/x"));
    }

    #[test]
    fn the_mount_table_is_understood() {
        let table = b"31 23 0:28 / /cg rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /cg/both rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            33 31 0:30 / /cg/sd rw - cgroup none rw,xattr,name=systemd\n\
            34 31 0:31 / /cg/u rw - cgroup2 cgroup2 rw\n";
        assert_eq!(in_table(Some("cpu,cpuacct"), table).unwrap(), "/cg/both");
        assert_eq!(in_table(Some("name=systemd"), table).unwrap(), "/cg/sd");
        assert_eq!(in_table(None, table).unwrap(), "/cg/u");
        assert_eq!(in_table(Some("memory"), table), None);
    }
}
