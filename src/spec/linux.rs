//! `linux` (config-linux.md) without resources and seccomp.

use super::{Resources, Seccomp, members, null_as_default, object, objects};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The Linux part of the configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// uid map of a new user namespace.
    #[serde(default, deserialize_with = "objects")]
    pub uid_mappings: Vec<IdMapping>,
    /// gid map of a new user namespace.
    #[serde(default, deserialize_with = "objects")]
    pub gid_mappings: Vec<IdMapping>,
    /// Offsets of the clocks of a new time namespace.
    #[serde(default, deserialize_with = "members")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    /// Kernel parameters.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sysctl: BTreeMap<String, String>,
    /// Limits of the container's cgroup.
    #[serde(default, deserialize_with = "object")]
    pub resources: Option<Resources>,
    /// Path of the container's cgroup.
    pub cgroups_path: Option<String>,
    /// Namespaces to make or to join.
    #[serde(default, deserialize_with = "objects")]
    pub namespaces: Vec<Namespace>,
    /// Device nodes to supply.
    #[serde(default, deserialize_with = "objects")]
    pub devices: Vec<Device>,
    /// Network devices to move into the container, by host name.
    #[serde(default, deserialize_with = "members")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// System-call filter.
    #[serde(default, deserialize_with = "object")]
    pub seccomp: Option<Seccomp>,
    /// Propagation of the root mount.
    pub rootfs_propagation: Option<String>,
    /// Paths to hide.
    #[serde(default, deserialize_with = "null_as_default")]
    pub masked_paths: Vec<String>,
    /// Paths to make read-only.
    #[serde(default, deserialize_with = "null_as_default")]
    pub readonly_paths: Vec<String>,
    /// `SELinux` context of the mounts.
    pub mount_label: Option<String>,
    /// Intel RDT class.
    #[serde(default, deserialize_with = "object")]
    pub intel_rdt: Option<IntelRdt>,
    /// NUMA policy.
    #[serde(default, deserialize_with = "object")]
    pub memory_policy: Option<MemoryPolicy>,
    /// Execution domain.
    #[serde(default, deserialize_with = "object")]
    pub personality: Option<Personality>,
}

/// One line of an id map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct IdMapping {
    /// First id inside the container.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id on the host.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many ids.
    pub size: u32,
}

/// Offset of one clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct TimeOffset {
    /// Seconds.
    #[serde(default, deserialize_with = "null_as_default")]
    pub secs: i64,
    /// Nanoseconds.
    #[serde(default, deserialize_with = "null_as_default")]
    pub nanosecs: u32,
}

/// One entry of `linux.namespaces`.
#[derive(Debug, Clone, Deserialize)]
pub struct Namespace {
    /// Which namespace.
    #[serde(rename = "type")]
    pub kind: String,
    /// File of a namespace to join; absent or empty makes a new one.
    pub path: Option<String>,
}

/// One entry of `linux.devices`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// `c`, `b`, `u` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Path inside the container.
    pub path: String,
    /// Major number; required unless a fifo.
    pub major: Option<i64>,
    /// Minor number; required unless a fifo.
    pub minor: Option<i64>,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Owner inside the container.
    pub uid: Option<u32>,
    /// Group inside the container.
    pub gid: Option<u32>,
}

/// One entry of `linux.netDevices`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct NetDevice {
    /// Name inside the container; unset keeps the host's.
    pub name: Option<String>,
}

/// `linux.intelRdt`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntelRdt {
    /// Class of service; unset means the container's id.
    #[serde(rename = "closID")]
    pub clos_id: Option<String>,
    /// Lines of the schemata file, written last.
    #[serde(default, deserialize_with = "null_as_default")]
    pub schemata: Vec<String>,
    /// The `L3:` line.
    pub l3_cache_schema: Option<String>,
    /// The `MB:` line.
    pub mem_bw_schema: Option<String>,
    /// Whether to make a monitoring group.
    #[serde(default, deserialize_with = "null_as_default")]
    pub enable_monitoring: bool,
}

/// `linux.memoryPolicy`, see `set_mempolicy(2)`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct MemoryPolicy {
    /// `MPOL_*` mode.
    pub mode: String,
    /// Node list such as `0-1`.
    pub nodes: Option<String>,
    /// `MPOL_F_*` names.
    #[serde(default, deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
}

/// `linux.personality`, see personality(2).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Personality {
    /// `LINUX` or `LINUX32`.
    pub domain: String,
    /// No value is defined.
    #[serde(default, deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
}
