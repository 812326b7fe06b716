//! Capability names to masks (capabilities(7), config.md "Linux Process").

use super::Findings;
use crate::spec;

/// The capabilities of linux/capability.h; the index is the number.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The five sets as bit masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Effective set.
    pub effective: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Bounding set.
    pub bounding: u64,
    /// Ambient set.
    pub ambient: u64,
}

/// The bit of a name.
pub fn bit(name: &str) -> Option<u64> {
    NAMES.iter().position(|known| *known == name).map(|number| 1 << number)
}

/// The names of a mask's bits.
pub fn names(mask: u64) -> impl Iterator<Item = &'static str> {
    NAMES
        .into_iter()
        .enumerate()
        .filter(move |(bit, _)| mask & (1 << bit) != 0)
        .map(|(_, name)| name)
}

/// Turns the names into masks; an unknown one is a warning, as the spec says.
///
/// Without `process.capabilities` the process has none: that is what the peers
/// do, and what a configuration that is silent should mean.
pub fn plan(sets: Option<&spec::Capabilities>, findings: &mut Findings) -> Capabilities {
    let Some(sets) = sets else { return Capabilities::default() };
    let mut mask = |set: &str, names: &[String]| {
        names.iter().fold(0, |mask, name| {
            let bit = bit(name);
            if bit.is_none() {
                findings.warn(format!("process.capabilities.{set}: ignoring unknown {name:?}"));
            }
            mask | bit.unwrap_or_default()
        })
    };
    Capabilities {
        effective: mask("effective", &sets.effective),
        permitted: mask("permitted", &sets.permitted),
        inheritable: mask("inheritable", &sets.inheritable),
        bounding: mask("bounding", &sets.bounding),
        ambient: mask("ambient", &sets.ambient),
    }
}
