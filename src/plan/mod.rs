//! What we will do: `config.json` and the command line turned into plain data, by pure
//! functions: they take the typed configuration, and read no file and no environment. Every
//! check and every default is here, so bad input fails with nothing to undo, and all findings
//! at once. What has to be looked up on the host is named `locate`, and is not here.

pub mod capabilities;
pub(crate) mod delegation;
pub mod findings;
pub mod hooks;
pub(crate) mod idmap;
pub mod intel_rdt;
pub mod mask;
pub(crate) mod memory_policy;
pub mod mounts;
pub(crate) mod namespaces;
pub(crate) mod net_devices;
pub(crate) mod network;
pub mod options;
pub(crate) mod overlay;
pub(crate) mod paths;
pub(crate) mod process;
pub(crate) mod rlimits;
pub mod rootfs;
pub(crate) mod scheduling;
pub(crate) mod sections;
mod subnet;
pub(crate) mod sysctl;

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
use crate::nearest::nearest;
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
    /// The overlay that the command line asks for.
    pub overlay: Option<overlay::Wish>,
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
        findings.refuse("annotations", "a key is empty");
    }
    let mut rootfs = rootfs::plan(spec, &options.bundle, findings);
    rootfs.overlay = overlay::plan(spec, options, &rootfs.path, &namespaces, findings);
    let process = process::plan(spec.process.as_ref(), &spec.annotations, options, findings);
    if let (Some(process), Some(maps)) = (&process, &id_maps) {
        idmap::check_process(process, maps, findings);
    }
    Plan {
        id: options.id.clone(),
        bundle: options.bundle.clone(),
        rootfs,
        process,
        hostname: in_uts("hostname", spec.hostname.as_deref(), &namespaces, findings),
        domainname: in_uts("domainname", spec.domainname.as_deref(), &namespaces, findings),
        sysctl: sysctl::plan(&linux.sysctl, spec.domainname.as_deref(), &namespaces, findings),
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

/// `ociVersion` is a `SemVer` of major version 1 (config.md, "Specification version"). A later
/// minor version is taken, though the spec's letter has it refused: engines write the version
/// of the library that they are built with, and what they use of it is checked anyway.
fn check_version(version: &str, findings: &mut Findings) {
    if version.is_empty() {
        return findings.error(findings::missing("ociVersion", "a version, such as 1.0.2"));
    }
    let Some([major, minor, patch]) = semver(version) else {
        let error =
            Error::new(format!("{version:?} is not a SemVer 2.0.0 version")).at("ociVersion");
        findings.error(error.hint("three numbers without leading zeros, as 1.0.2"));
        return;
    };
    let supported = semver(spec::OCI_VERSION).unwrap_or_default();
    // Of two numbers without leading zeros the longer one is larger.
    let later = |one: &str, other: &str| (one.len(), one) > (other.len(), other);
    if major != "1" {
        findings.error(
            Error::new(format!("{version:?} is not supported")).at("ociVersion").hint(format!(
                "versions from 1.0.0 on are; 1.0.0 to {} are known",
                spec::OCI_VERSION
            )),
        );
    } else if later(minor, supported[1]) || (minor == supported[1] && later(patch, supported[2])) {
        findings.advise(
            Error::new(format!(
                "{version} is later than {}: what is new in it is not known",
                spec::OCI_VERSION
            ))
            .at("ociVersion"),
        );
    }
}

/// Major, minor and patch version of a `SemVer` 2.0.0 text (semver.org, items 2, 9 and 10).
fn semver(text: &str) -> Option<[&str; 3]> {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, b)| (text, Some(b)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, p)| (core, Some(p)));
    let is_number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits && (part == "0" || !part.starts_with('0'))
    };
    let is_word = |part: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && part.bytes().all(letter)
    };
    let is_pre = |part: &str| {
        is_word(part) && (is_number(part) || part.bytes().any(|byte| !byte.is_ascii_digit()))
    };
    let good = build.is_none_or(|build| build.split('.').all(is_word))
        && pre.is_none_or(|pre| pre.split('.').all(is_pre));
    let mut parts = core.split('.').filter(|_| good);
    let numbers = [parts.next()?, parts.next()?, parts.next()?];
    (parts.next().is_none() && numbers.iter().all(|part| is_number(part))).then_some(numbers)
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
            Error::new("cannot be set without a UTS namespace")
                .at(field)
                .hint("add {\"type\": \"uts\"} to linux.namespaces"),
        );
    }
    if name.len() > 64 {
        findings.refuse(field, "longer than 64 bytes (sethostname(2))");
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
        findings.refuse(
            "linux.personality.flags",
            format!("no flag is supported by the spec, found {flag:?}"),
        );
    }
    match personality.domain.as_str() {
        "LINUX" => Some(0x0000),
        "LINUX32" => Some(0x0008),
        "" => {
            findings.error(findings::missing("linux.personality.domain", "LINUX or LINUX32"));
            None
        }
        other => {
            let message = format!("{other:?} is neither LINUX nor LINUX32");
            findings.error(
                Error::new(message)
                    .at("linux.personality.domain")
                    .guess(nearest(other, ["LINUX", "LINUX32"])),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::semver;

    #[test]
    fn versions_are_semver() {
        for good in [
            "1.0.0",
            "1.3.0",
            "0.0.0",
            "1.0.0-rc.1",
            "1.0.0-rc1+x.00",
            "1.0.0-0.a-b.--",
            "1.0.0+-",
            "1.0.18446744073709551616",
            "1.0.2-dev",
        ] {
            assert!(semver(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.0",
            "1.0.0.0",
            "v1.0.0",
            "01.0.0",
            "1.00.0",
            "1.0.0-01",
            "1.0.0-rc.01",
            "1.0.0-",
            "1.0.0+",
            "1.0.0-a..b",
            "1.0.0-\u{e4}",
            "1.0.0+a+b",
            " 1.0.0",
            "1.0.0 ",
            "1.0.x",
            "-1.0.0",
            "1..0",
        ] {
            assert!(semver(bad).is_none(), "{bad}");
        }
    }
}
