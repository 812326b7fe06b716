//! `linux.resources` (config-linux.md, "Control groups"), also the document of
//! `update --resources`.

use super::{members, null_as_default, object, objects};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Limits of a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Allowed device list, applied in order.
    #[serde(default, deserialize_with = "objects")]
    pub devices: Vec<DeviceRule>,
    /// Memory controller.
    #[serde(default, deserialize_with = "object")]
    pub memory: Option<Memory>,
    /// CPU and cpuset controllers.
    #[serde(default, deserialize_with = "object")]
    pub cpu: Option<Cpu>,
    /// Pids controller.
    #[serde(default, deserialize_with = "object")]
    pub pids: Option<Pids>,
    /// Block I/O controller.
    #[serde(rename = "blockIO", default, deserialize_with = "object")]
    pub block_io: Option<BlockIo>,
    /// Huge pages.
    #[serde(default, deserialize_with = "objects")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Network classifier and priorities.
    #[serde(default, deserialize_with = "object")]
    pub network: Option<Network>,
    /// RDMA, by device.
    #[serde(default, deserialize_with = "members")]
    pub rdma: BTreeMap<String, Rdma>,
    /// cgroup v2 files, by name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub unified: BTreeMap<String, String>,
}

/// One entry of `resources.devices`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DeviceRule {
    /// Allowed or denied.
    pub allow: bool,
    /// `a`, `c` or `b`; unset means all.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Unset or -1 means all.
    pub major: Option<i64>,
    /// Unset or -1 means all.
    pub minor: Option<i64>,
    /// Letters of `rwm`; unset means all.
    pub access: Option<String>,
}

/// `resources.memory`, in bytes, -1 for unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Hard limit.
    pub limit: Option<i64>,
    /// Soft limit.
    pub reservation: Option<i64>,
    /// Limit of memory plus swap.
    pub swap: Option<i64>,
    /// Kernel memory; not recommended.
    pub kernel: Option<i64>,
    /// TCP buffers; not recommended.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    /// 0 to 100.
    pub swappiness: Option<u64>,
    /// Whether tasks wait instead of being killed.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// cgroup v1 hierarchical accounting.
    pub use_hierarchy: Option<bool>,
    /// Reject a limit below the present use.
    pub check_before_update: Option<bool>,
}

/// `resources.cpu`, times in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cpu {
    /// Relative share, 2 to 262144.
    pub shares: Option<u64>,
    /// CPU time in one period; -1 for unlimited.
    pub quota: Option<i64>,
    /// What may be saved up beyond the quota.
    pub burst: Option<u64>,
    /// Length of a period.
    pub period: Option<u64>,
    /// Real-time part of a period.
    pub realtime_runtime: Option<i64>,
    /// Length of a real-time period.
    pub realtime_period: Option<u64>,
    /// CPU list such as `0-3,7`.
    pub cpus: Option<String>,
    /// Memory-node list.
    pub mems: Option<String>,
    /// 1 for `SCHED_IDLE`.
    pub idle: Option<i64>,
}

/// `resources.pids`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Pids {
    /// Greatest number of tasks; negative for unlimited.
    pub limit: Option<i64>,
}

/// `resources.blockIO`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockIo {
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// 10 to 1000, against the child cgroups.
    pub leaf_weight: Option<u16>,
    /// Weights by device.
    #[serde(default, deserialize_with = "objects")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes a second.
    #[serde(default, deserialize_with = "objects")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes a second.
    #[serde(default, deserialize_with = "objects")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Operations a second.
    #[serde(rename = "throttleReadIOPSDevice", default, deserialize_with = "objects")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Operations a second.
    #[serde(rename = "throttleWriteIOPSDevice", default, deserialize_with = "objects")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// Weight of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// 10 to 1000.
    pub leaf_weight: Option<u16>,
}

/// Rate limit of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ThrottleDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Per second.
    pub rate: u64,
}

/// Limit of one size of huge pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit {
    /// Such as `2MB` or `1GB`. Go reads names in any case, and runc's tests write it so.
    #[serde(alias = "pagesize")]
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// `resources.network`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Class of the container's packets.
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    /// Priorities by interface.
    #[serde(default, deserialize_with = "objects")]
    pub priorities: Vec<InterfacePriority>,
}

/// Priority of the traffic on one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct InterfacePriority {
    /// Interface of the runtime's network namespace.
    pub name: String,
    /// Its priority.
    pub priority: u32,
}

/// Limits of one RDMA device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rdma {
    /// Handles.
    pub hca_handles: Option<u32>,
    /// Objects.
    pub hca_objects: Option<u32>,
}
