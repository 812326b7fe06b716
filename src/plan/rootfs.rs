//! The tree that the container will see: its root, mounts, devices, and what is
//! hidden or read-only in it. Source: runtime-spec 1.3 config.md ("Root",
//! "Mounts") and config-linux.md.

use super::Findings;
use super::delegation::host_id;
use super::findings::missing;
use super::mounts::{self, Kind, Mount, UserNamespace};
use super::options::{PRIVATE, Propagation, Reach, SHARED, SLAVE, UNBINDABLE};
use super::overlay::Overlay;
use super::paths::{clean, is_under};
use crate::error::Error;
use crate::nearest::nearest;
use crate::spec::{self, IdMapping, Linux, Spec};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything about the container's tree, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// Absolute path of the root file system on the host.
    pub path: PathBuf,
    /// What the root is made of, where that directory is not the root itself.
    pub overlay: Option<Overlay>,
    /// Whether the root mount becomes read-only.
    pub readonly: bool,
    /// Propagation type of the root mount; `None` makes it a slave, as runc does.
    pub propagation: Option<Propagation>,
    /// Whether the container has a mount namespace, new or joined. Without one
    /// the process is confined by chroot(2), and see [`Rootfs::is_mounted`].
    pub mount_namespace: bool,
    /// Whether the container has a user namespace of its own, new or joined:
    /// then device nodes cannot be made, only bound.
    pub user_namespace: bool,
    /// Mounts in their order.
    pub mounts: Vec<Mount>,
    /// Devices, the default ones first.
    pub devices: Vec<Device>,
    /// False where /dev is the host's, which is left alone.
    pub populate_dev: bool,
    /// Clean absolute paths to hide.
    pub masked_paths: Vec<String>,
    /// Clean absolute paths to make read-only.
    pub readonly_paths: Vec<String>,
    /// SELinux context of the mounts.
    pub mount_label: Option<String>,
}

impl Rootfs {
    /// Whether a mount of it can be made only where the host's files are seen.
    pub fn needs_host_paths(&self) -> bool {
        self.mounts.iter().any(Mount::needs_host_paths)
    }

    /// Whether the tree is one of mounts. Without a mount namespace these are made
    /// in that of the runtime, on the root itself, until `delete` takes them off;
    /// so none is made where nothing asks for one.
    pub fn is_mounted(&self) -> bool {
        self.mount_namespace
            || !self.mounts.is_empty()
            || self.readonly
            || self.propagation.is_some()
            || !self.masked_paths.is_empty()
            || !self.readonly_paths.is_empty()
    }

    /// Whether a device lies in a /dev that is bound, where nothing is made.
    pub fn is_in_bound_dev(&self, device: &Device) -> bool {
        !self.populate_dev && is_under(&device.path, "/dev")
    }
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its place in `linux.devices`; `None` for a default device.
    pub index: Option<usize>,
    /// Clean absolute path inside the container.
    pub path: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside the container.
    pub uid: u32,
    /// Group inside the container.
    pub gid: u32,
    /// Which of these three the configuration names.
    pub asked: Asked,
    /// Both ids on the host; `None` if the user namespace does not map one that is named.
    pub on_host: Option<(u32, u32)>,
}

/// What a configuration says of a device beyond type and numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// `fileMode`
    pub mode: bool,
    /// `uid`
    pub uid: bool,
    /// `gid`
    pub gid: bool,
}

/// Type and numbers of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// `c` or `u`: major, minor.
    Char(u32, u32),
    /// `b`: major, minor.
    Block(u32, u32),
    /// `p`
    Fifo,
}

/// Where the container's cgroup is mounted on the host: what a mount of type
/// `cgroup` is made from. Known only when the cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupView {
    /// The directory of the container's cgroup in the one hierarchy.
    V2(PathBuf),
    /// One entry a hierarchy.
    V1(Vec<Hierarchy>),
}

/// One cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Name of its directory, as `cpu,cpuacct`, `systemd` or `unified`.
    pub name: String,
    /// Options that mount it, as `cpu,cpuacct` or `name=systemd`; empty for a v2
    /// hierarchy beside the v1 ones.
    pub options: String,
    /// The container's cgroup in it.
    pub dir: PathBuf,
}

impl Device {
    /// The field of the configuration, for messages.
    pub fn field(&self) -> String {
        self.index.map_or_else(|| "default devices".into(), |i| format!("linux.devices[{i}]"))
    }

    /// Whether a node of this mode and owner has all that the configuration names.
    pub fn is_like(&self, mode: u32, uid: u32, gid: u32) -> bool {
        let Asked { mode: of_mode, uid: of_uid, gid: of_gid } = self.asked;
        !(of_mode && mode & 0o7777 != self.mode
            || of_uid && uid != self.uid
            || of_gid && gid != self.gid)
    }
}

/// Devices that every container has (config-linux.md, "Default Devices").
const DEFAULT_DEVICES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// mknod(2) cuts off what is above (linux/kdev_t.h).
const LAST_MAJOR: u32 = (1 << 12) - 1;
const LAST_MINOR: u32 = (1 << 20) - 1;

/// Mode of a device that names none.
const DEFAULT_MODE: u32 = 0o666;

/// Plans the tree of the bundle at `bundle`, an absolute path. The plan is good
/// only if it adds no error to `findings`.
pub fn plan(spec: &Spec, bundle: &Path, findings: &mut Findings) -> Rootfs {
    let none = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&none);
    let userns = UserNamespace::of(linux);
    let mounts = plan_mounts(spec, bundle, userns, findings);
    let rootfs = Rootfs {
        path: root_path(spec, bundle, findings),
        // By who knows the command line.
        overlay: None,
        readonly: spec.root.as_ref().is_some_and(|root| root.readonly),
        propagation: propagation(linux, findings),
        mount_namespace: has_namespace(linux, "mount"),
        user_namespace: userns != UserNamespace::Host,
        devices: devices(&linux.devices, userns, findings),
        populate_dev: !mounts.iter().any(covers_dev),
        mounts,
        masked_paths: masked(&linux.masked_paths, findings),
        readonly_paths: absolute("linux.readonlyPaths", &linux.readonly_paths, findings),
        mount_label: linux.mount_label.clone().filter(|label| !label.is_empty()),
    };
    check_mount_namespace(&rootfs, findings);
    check_default_filesystems(&rootfs, findings);
    check_sharing(&rootfs, findings);
    rootfs
}

fn has_namespace(linux: &Linux, kind: &str) -> bool {
    linux.namespaces.iter().any(|namespace| namespace.kind == kind)
}

fn plan_mounts(
    spec: &Spec,
    bundle: &Path,
    userns: UserNamespace<'_>,
    findings: &mut Findings,
) -> Vec<Mount> {
    let mut list = Vec::with_capacity(spec.mounts.len());
    for (index, mount) in spec.mounts.iter().enumerate() {
        let mount = &*within(spec, bundle, index, mount, findings);
        list.extend(mounts::plan(index, mount, bundle, userns, findings));
    }
    list
}

/// A destination that begins with the root's own path is meant below it, as with runc: callers
/// write there what they see.
fn within<'a>(
    spec: &Spec,
    bundle: &Path,
    index: usize,
    mount: &'a spec::Mount,
    findings: &mut Findings,
) -> Cow<'a, spec::Mount> {
    let root = spec.root.as_ref().map(|root| bundle.join(&root.path));
    let rest = root.as_deref().and_then(Path::to_str).and_then(|root| {
        let root = root.trim_end_matches('/');
        is_under(&mount.destination, root).then(|| &mount.destination[root.len()..])
    });
    match rest {
        Some(rest) if rest.len() < mount.destination.len() => {
            findings.advise(
                Error::new("begins with root.path, which is left out")
                    .at(format_args!("mounts[{index}].destination")),
            );
            let destination = if rest.is_empty() { "/" } else { rest };
            Cow::Owned(spec::Mount { destination: destination.into(), ..mount.clone() })
        }
        _ => Cow::Borrowed(mount),
    }
}

fn covers_dev(mount: &Mount) -> bool {
    mount.destination == "/dev" && matches!(mount.kind, Kind::Bind(_))
}

fn root_path(spec: &Spec, bundle: &Path, findings: &mut Findings) -> PathBuf {
    match &spec.root {
        Some(root) if root.path.is_empty() => findings.refuse("root.path", "must not be empty"),
        Some(root) => return bundle.join(&root.path),
        None => findings.refuse("root", "required on Linux"),
    }
    PathBuf::new()
}

fn propagation(linux: &Linux, findings: &mut Findings) -> Option<Propagation> {
    let (flag, reach) = match linux.rootfs_propagation.as_deref() {
        None | Some("") => return None,
        Some("shared") => (SHARED, Reach::One),
        Some("slave") => (SLAVE, Reach::One),
        Some("private") => (PRIVATE, Reach::One),
        Some("unbindable") => (UNBINDABLE, Reach::One),
        Some("rshared") => (SHARED, Reach::All),
        Some("rslave") => (SLAVE, Reach::All),
        Some("rprivate") => (PRIVATE, Reach::All),
        Some("runbindable") => (UNBINDABLE, Reach::All),
        Some(other) => {
            let known = ["shared", "slave", "private", "unbindable"];
            let names = known.join(", ");
            let message = format!("{other:?} is none of {names}");
            let recursive = ["rshared", "rslave", "rprivate", "runbindable"];
            let near = nearest(other, known.into_iter().chain(recursive));
            findings.error(Error::new(message).at("linux.rootfsPropagation").guess(near));
            return None;
        }
    };
    Some(Propagation { flag, reach })
}

fn absolute(field: &str, list: &[String], findings: &mut Findings) -> Vec<String> {
    let mut paths = Vec::with_capacity(list.len());
    for (index, path) in list.iter().enumerate() {
        if path.starts_with('/') {
            paths.push(clean(path));
        } else if path.is_empty() {
            findings.error(missing(format!("{field}[{index}]"), "an absolute path"));
        } else {
            let message = format!("{path:?} must be an absolute path");
            findings.refuse(format_args!("{field}[{index}]"), message);
        }
    }
    paths
}

/// What lies upon `/` nobody sees who has it as root already, so it would hide nothing.
fn masked(list: &[String], findings: &mut Findings) -> Vec<String> {
    let field = "linux.maskedPaths";
    for (index, path) in list.iter().enumerate() {
        if path.starts_with('/') && clean(path) == "/" {
            findings.error(
                Error::new(format!("{path:?} is the root, which cannot be hidden"))
                    .at(format_args!("{field}[{index}]"))
                    .hint("name what is to be hidden in it"),
            );
        }
    }
    absolute(field, list, findings)
}

fn devices(
    list: &[spec::Device],
    userns: UserNamespace<'_>,
    findings: &mut Findings,
) -> Vec<Device> {
    let mut planned: Vec<Device> = Vec::with_capacity(DEFAULT_DEVICES.len() + list.len());
    planned.extend(DEFAULT_DEVICES.iter().map(default_device));
    let mut by_path: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_kind: BTreeMap<DeviceKind, Vec<usize>> = BTreeMap::new();
    for (at, device) in planned.iter().enumerate() {
        by_path.insert(device.path.clone(), at);
        by_kind.entry(device.kind).or_default().push(at);
    }
    for (index, entry) in list.iter().enumerate() {
        let Some(device) = findings.keep(device(index, entry, userns)) else { continue };
        // /dev/ptmx is always that of the container's own devpts.
        if device.path == "/dev/ptmx" {
            let own = "is left out: /dev/ptmx is that of the container's own devpts";
            findings.advise(Error::new(own).at(format_args!("linux.devices[{index}]")));
            continue;
        }
        let twins = by_kind.entry(device.kind).or_default();
        let same = |at: &&usize| {
            let known = &planned[**at];
            known.kind == device.kind && known.path != device.path
        };
        if let Some(twin) = twins.iter().find(same).filter(|_| device.kind != DeviceKind::Fifo) {
            findings.warn(
                Error::new(format!(
                    "{} is the same device as {}",
                    device.path, planned[*twin].path
                ))
                .at(format_args!("linux.devices[{index}]")),
            );
        }
        let Some(&at) = by_path.get(&device.path) else {
            by_path.insert(device.path.clone(), planned.len());
            twins.push(planned.len());
            planned.push(device);
            continue;
        };
        let known = &mut planned[at];
        if known.index.is_none() {
            *known = device;
            twins.push(at);
        } else if known.kind == device.kind {
            findings.warn(
                Error::new(format!("{} is listed again: ignored", device.path))
                    .at(format_args!("linux.devices[{index}].path")),
            );
        } else {
            let message = format!("{} is another device in {}", device.path, known.field());
            findings.refuse(format_args!("linux.devices[{index}].path"), message);
        }
    }
    planned
}

fn default_device(&(path, major, minor): &(&str, u32, u32)) -> Device {
    Device {
        index: None,
        path: path.into(),
        kind: DeviceKind::Char(major, minor),
        mode: DEFAULT_MODE,
        uid: 0,
        gid: 0,
        asked: Asked::default(),
        on_host: None,
    }
}

fn device(index: usize, entry: &spec::Device, userns: UserNamespace<'_>) -> Result<Device, Error> {
    let field = format!("linux.devices[{index}]");
    let fail = |name: &str, what: String| Err(Error::new(what).at(format_args!("{field}.{name}")));
    let path = &entry.path;
    if path.is_empty() {
        return Err(missing(format!("{field}.path"), "an absolute path"));
    }
    if !path.starts_with('/') {
        return fail("path", format!("{path:?} must be an absolute path"));
    }
    if path.split('/').any(|part| part == "..") || clean(path) == "/" {
        return fail("path", format!("{path:?} must name a file in the container"));
    }
    let number = |name: &str, value: Option<i64>, last: u32| {
        let value =
            value.ok_or_else(|| Error::new("required").at(format_args!("{field}.{name}")))?;
        let number = u32::try_from(value).ok().filter(|number| *number <= last);
        number.ok_or_else(|| {
            Error::new(format!("{value} is out of range, 0 to {last}"))
                .at(format_args!("{field}.{name}"))
        })
    };
    let major = || number("major", entry.major, LAST_MAJOR);
    let numbers = || Ok((major()?, number("minor", entry.minor, LAST_MINOR)?));
    let kind = match entry.kind.as_str() {
        "c" | "u" => numbers().map(|(major, minor)| DeviceKind::Char(major, minor))?,
        "b" => numbers().map(|(major, minor)| DeviceKind::Block(major, minor))?,
        "p" => DeviceKind::Fifo,
        "" => return Err(missing(format!("{field}.type"), "one of c, b, u, p")),
        other => return fail("type", format!("{other:?} is none of c, b, u, p")),
    };
    for (name, id) in [("uid", entry.uid), ("gid", entry.gid)] {
        if id == Some(u32::MAX) {
            return fail(name, format!("{} is not an id", u32::MAX));
        }
    }
    let mode = entry.file_mode.unwrap_or(DEFAULT_MODE);
    // Engines pass st_mode as they found it, with the type's bits.
    let mode = mode & 0o7777;
    let (uid, gid) = (entry.uid.unwrap_or(0), entry.gid.unwrap_or(0));
    let asked = Asked {
        mode: entry.file_mode.is_some(),
        uid: entry.uid.is_some(),
        gid: entry.gid.is_some(),
    };
    let on_host = match userns {
        UserNamespace::New(uids, gids) => on_host(uids, entry.uid).zip(on_host(gids, entry.gid)),
        UserNamespace::Host | UserNamespace::Joined => Some((uid, gid)),
    };
    Ok(Device { index: Some(index), path: clean(path), kind, mode, uid, gid, asked, on_host })
}

/// The host's id for one that is named, or else for root; the host's root if there is no other.
fn on_host(map: &[IdMapping], id: Option<u32>) -> Option<u32> {
    let found = map.iter().find_map(|line| host_id(line, id.unwrap_or(0)));
    found.or_else(|| id.is_none().then_some(0))
}

/// Without a mount namespace every mount is made in the runtime's.
fn check_mount_namespace(rootfs: &Rootfs, findings: &mut Findings) {
    if rootfs.mount_namespace || !rootfs.is_mounted() {
        return;
    }
    let mut refuse = |field: &str, what: &str| {
        let message = format!("{what} without a mount namespace in linux.namespaces");
        findings.refuse(field, message);
    };
    if rootfs.user_namespace {
        refuse("mounts", "a user namespace cannot mount anything");
    }
    if rootfs.path == Path::new("/") {
        refuse("root.path", "cannot be the host's own root");
    }
    if let Some(mount) = rootfs.mounts.iter().find(|mount| mount.destination == "/") {
        refuse(&mount.field(), "nothing can be mounted on /");
    }
}

/// Nothing is shared with the host that the root is not to share.
fn check_sharing(rootfs: &Rootfs, findings: &mut Findings) {
    if rootfs.propagation.is_some_and(|propagation| propagation.flag == SHARED) {
        return;
    }
    for mount in &rootfs.mounts {
        let last = mount.propagation.last().map(|propagation| propagation.flag);
        if matches!(mount.kind, Kind::Bind(_)) && last == Some(SHARED) {
            findings.advise(Error::new("what is mounted in it does not reach the host, as linux.rootfsPropagation is not shared").at(format_args!("{}.options", mount.field())));
        }
    }
}

/// config-linux.md, "Default Filesystems": these SHOULD be there. An engine that
/// leaves one out may mean it, so it is no more than told.
fn check_default_filesystems(rootfs: &Rootfs, findings: &mut Findings) {
    for (path, kind) in
        [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")]
    {
        let there = |mount: &Mount| match &mount.kind {
            // A whole tree of the host, as /dev or /sys in a privileged container.
            Kind::Bind(_) => is_under(path, &mount.destination),
            _ => mount.destination == path,
        };
        if rootfs.mount_namespace && !rootfs.mounts.iter().any(there) {
            findings.advise(
                Error::new(format!("no {kind} is mounted on {path}")).at("default filesystems"),
            );
        }
    }
    let on_dev = |mount: &Mount| is_under("/dev", &mount.destination);
    if !rootfs.mounts.iter().any(on_dev) {
        findings.advise(
            Error::new("nothing is mounted on /dev: they stay in the root filesystem")
                .at("default devices"),
        );
    }
}
