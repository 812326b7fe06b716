//! What we will do: `config.json` and the command line turned into plain data,
//! by functions that at most read. Every check and every default is here, so
//! bad input fails with nothing to undo, and all findings at once.

pub mod capabilities;
pub mod delegation;
pub mod findings;
pub mod hooks;
pub mod idmap;
pub mod intel_rdt;
pub mod mask;
pub mod memory_policy;
pub mod mounts;
pub mod namespaces;
pub mod net_devices;
pub mod options;
pub mod paths;
pub mod process;
pub mod rlimits;
pub mod rootfs;
pub mod scheduling;
pub mod sections;
pub mod sysctl;

pub use findings::Findings;
pub use hooks::{Hook, Hooks};
pub use idmap::IdMaps;
pub use intel_rdt::IntelRdt;
pub use memory_policy::MemoryPolicy;
pub use mounts::Mount;
pub use namespaces::{Kind, Namespaces};
pub use net_devices::NetDevice;
pub use process::{ExecAffinity, Process, Terminal};
pub use rootfs::Rootfs;

use crate::error::Error;
use crate::spec::{self, Spec};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the command line adds to the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Container id, already checked.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Whether we are not even uid 0 of our own user namespace.
    pub unprivileged: bool,
    /// How many fds from 3 on the process inherits.
    pub preserve_fds: u32,
}

/// Everything that `create` will make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Container id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Namespaces to make and to join.
    pub namespaces: Namespaces,
    /// Maps of a new user namespace.
    pub id_maps: Option<IdMaps>,
    /// The tree that the container sees.
    pub rootfs: Rootfs,
    /// The user's program; legal to be absent until `start`.
    pub process: Option<Process>,
    /// Host name to set.
    pub hostname: Option<String>,
    /// Domain name to set.
    pub domainname: Option<String>,
    /// Kernel parameters: path below `/proc/sys`, and value.
    pub sysctl: Vec<(String, String)>,
    /// Lines for `/proc/self/timens_offsets`.
    pub time_offsets: Vec<String>,
    /// Programs to run at points of the life cycle.
    pub hooks: Hooks,
    /// Metadata for the state document.
    pub annotations: BTreeMap<String, String>,
    /// Path of the cgroup as configured.
    pub cgroups_path: Option<String>,
    /// User of the host who is to own the cgroup, on v2.
    pub cgroup_owner: Option<u32>,
    /// Limits of the cgroup, as configured: unset means to leave alone.
    pub resources: spec::Resources,
    /// personality(2) value.
    pub personality: Option<u64>,
    /// Class of service and monitoring.
    pub intel_rdt: Option<IntelRdt>,
    /// Network devices to move in.
    pub net_devices: Vec<NetDevice>,
    /// NUMA policy of memory.
    pub memory_policy: Option<MemoryPolicy>,
}

impl Plan {
    /// Whether the host's mounts must be there, too, while the container's tree
    /// is built: hooks look for them, some file systems are made from files of
    /// the host, and a user namespace may mount procfs and sysfs only where it
    /// sees a whole one.
    pub fn needs_host_mounts(&self) -> bool {
        let hooks = &self.hooks;
        let early = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container];
        self.namespaces.has(Kind::User)
            || early.iter().any(|list| !list.is_empty())
            || self.rootfs.mounts.iter().any(Mount::needs_host_paths)
    }
}

/// Turns the configuration into a plan, which is good only if no error is added
/// to `findings`: every part is checked, whatever is wrong with another.
pub fn create(spec: &Spec, options: &Options, findings: &mut Findings) -> Plan {
    check_version(&spec.oci_version, findings);
    let none = spec::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&none);
    let mut namespaces = namespaces::plan(&linux.namespaces, findings);
    namespaces.changed = changed_namespaces(spec, linux);
    let id_maps = idmap::plan(linux, &namespaces, options.unprivileged, findings);
    if spec.annotations.contains_key("") {
        findings.error(Error::new("annotations: a key is empty"));
    }
    Plan {
        id: options.id.clone(),
        bundle: options.bundle.clone(),
        rootfs: rootfs::plan(spec, &options.bundle, findings),
        process: process::plan(spec.process.as_ref(), &spec.annotations, options, findings),
        hostname: in_uts("hostname", spec.hostname.as_deref(), &namespaces, findings),
        domainname: in_uts("domainname", spec.domainname.as_deref(), &namespaces, findings),
        sysctl: sysctl::plan(&linux.sysctl, &namespaces, findings),
        time_offsets: namespaces::time_offsets(&linux.time_offsets, &namespaces, findings),
        hooks: hooks::plan(spec.hooks.as_ref(), findings),
        annotations: spec.annotations.clone(),
        cgroup_owner: delegation::plan(spec, &namespaces, id_maps.as_ref()),
        cgroups_path: linux.cgroups_path.clone().filter(|path| !path.is_empty()),
        resources: linux.resources.clone().unwrap_or_default(),
        personality: personality(linux.personality.as_ref(), findings),
        intel_rdt: intel_rdt::plan(linux.intel_rdt.as_ref(), &options.id, findings),
        net_devices: net_devices::plan(&linux.net_devices, &namespaces, findings),
        memory_policy: memory_policy::plan(linux.memory_policy.as_ref(), findings),
        namespaces,
        id_maps,
    }
}

/// `ociVersion` is a `SemVer` of major version 1 (config.md, "Specification version").
fn check_version(version: &str, findings: &mut Findings) {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u32>).collect();
    match numbers.as_slice() {
        [Ok(1), Ok(_), Ok(_)] => {}
        [Ok(_), Ok(_), Ok(_)] => findings.error(
            Error::new(format!("ociVersion: {version:?} is not supported"))
                .hint(format!("versions 1.0.0 to {} are", spec::OCI_VERSION)),
        ),
        _ => findings
            .error(Error::new(format!("ociVersion: {version:?} is not a SemVer 2.0.0 version"))),
    }
}

/// What is set in a namespace, and not only seen in it; network devices are looked after by
/// who moves them.
fn changed_namespaces(spec: &Spec, linux: &spec::Linux) -> Vec<(Kind, String)> {
    let names = [("hostname", &spec.hostname), ("domainname", &spec.domainname)];
    let names = names.into_iter().filter(|(_, name)| name.as_ref().is_some_and(|n| !n.is_empty()));
    sysctl::namespaces(&linux.sysctl)
        .chain(names.map(|(field, _)| (Kind::Uts, field.to_owned())))
        .collect()
}

fn in_uts(
    field: &str,
    name: Option<&str>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Option<String> {
    let name = name.filter(|name| !name.is_empty())?;
    if !namespaces.has(Kind::Uts) {
        findings.error(
            Error::new(format!("{field}: cannot be set without a UTS namespace"))
                .hint("add {\"type\": \"uts\"} to linux.namespaces"),
        );
    }
    if name.len() > 64 {
        findings.error(Error::new(format!("{field}: longer than 64 bytes (sethostname(2))")));
    }
    Some(name.to_owned())
}

/// config-linux.md, "Personality". Values of linux/personality.h.
pub fn personality(
    personality: Option<&spec::Personality>,
    findings: &mut Findings,
) -> Option<u64> {
    let personality = personality?;
    if let Some(flag) = personality.flags.first() {
        findings.error(Error::new(format!(
            "linux.personality.flags: no flag is supported by the spec, found {flag:?}"
        )));
    }
    match personality.domain.as_str() {
        "LINUX" => Some(0x0000),
        "LINUX32" => Some(0x0008),
        other => {
            findings.error(Error::new(format!(
                "linux.personality.domain: {other:?} is neither LINUX nor LINUX32"
            )));
            None
        }
    }
}
