//! Capability names to masks (capabilities(7), config.md "Linux Process").

use super::Findings;
use crate::error::Error;
use crate::nearest::nearest;
use crate::spec;
use std::collections::BTreeSet;

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

/// The same in one line.
pub fn list(mask: u64) -> String {
    names(mask).collect::<Vec<_>>().join(", ")
}

/// Turns the names into masks. What the kernel would not grant is a warning, as config.md
/// wants it, and is left out.
///
/// Without `process.capabilities` the process has none: that is what the peers
/// do, and what a configuration that is silent should mean.
pub fn plan<'a>(sets: Option<&'a spec::Capabilities>, findings: &mut Findings) -> Capabilities {
    let Some(sets) = sets else { return Capabilities::default() };
    let mut unknown = BTreeSet::new();
    let mut mask = |set: &str, names: &'a [String]| {
        names.iter().fold(0, |mask, name| {
            let bit = bit(name);
            // `exec --cap` puts a name into three sets.
            if bit.is_none() && unknown.insert(name.as_str()) {
                let error = Error::new(format!("ignoring unknown {name:?}"));
                let error = error.at(format_args!("process.capabilities.{set}"));
                findings.warn(error.guess(nearest(name, NAMES)));
            }
            mask | bit.unwrap_or_default()
        })
    };
    let wanted = Capabilities {
        bounding: mask("bounding", &sets.bounding),
        effective: mask("effective", &sets.effective),
        permitted: mask("permitted", &sets.permitted),
        inheritable: mask("inheritable", &sets.inheritable),
        ambient: mask("ambient", &sets.ambient),
    };
    grant(wanted, findings)
}

/// As far as it goes: the inheritable set is a part of the bounding one, the effective set of
/// the permitted one, the ambient set of the permitted and the inheritable one
/// (capabilities(7), capset(2)). What is permitted beyond the bounding set stays, as execve(2)
/// is called with it, and takes it away.
fn grant(wanted: Capabilities, findings: &mut Findings) -> Capabilities {
    let mut part = |set: &str, wanted: u64, of: &str, whole: u64| {
        let beyond = wanted & !whole;
        if beyond != 0 {
            let names = list(beyond);
            findings.warn(
                Error::new(format!("cannot grant {names}: not in process.capabilities.{of}"))
                    .at(format_args!("process.capabilities.{set}")),
            );
        }
        wanted & whole
    };
    let inheritable = part("inheritable", wanted.inheritable, "bounding", wanted.bounding);
    part("permitted", wanted.permitted, "bounding", wanted.bounding);
    let effective = part("effective", wanted.effective, "permitted", wanted.permitted);
    let ambient = part("ambient", wanted.ambient, "permitted", wanted.permitted);
    let ambient = part("ambient", ambient, "inheritable", wanted.inheritable);
    let ambient = part("ambient", ambient, "bounding", wanted.bounding);
    Capabilities { effective, inheritable, ambient, ..wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: u64 = 1 << 5;
    const RAW: u64 = 1 << 13;

    fn planned(sets: [&[&str]; 5]) -> (Capabilities, Vec<String>) {
        let [bounding, effective, permitted, inheritable, ambient] =
            sets.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let sets = spec::Capabilities { bounding, effective, permitted, inheritable, ambient };
        let mut findings = Findings::default();
        let plan = plan(Some(&sets), &mut findings);
        assert!(findings.errors().is_empty());
        (plan, findings.warnings().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_cannot_be_granted_is_told_and_left_out() {
        let both: &[&str] = &["CAP_KILL", "CAP_NET_RAW"];
        let one: &[&str] = &["CAP_KILL"];
        let (plan, warnings) = planned([both, both, one, both, both]);
        assert_eq!((plan.effective, plan.permitted, plan.ambient), (KILL, KILL, KILL));
        assert_eq!((plan.bounding, plan.inheritable), (KILL | RAW, KILL | RAW));
        let why = "cannot grant CAP_NET_RAW: not in process.capabilities.permitted";
        let field = |set: &str| format!("process.capabilities.{set}: {why}");
        assert_eq!(warnings, [field("effective"), field("ambient")]);
        let (plan, warnings) = planned([one, both, both, &[], &[]]);
        assert_eq!((plan.effective, plan.permitted), (KILL | RAW, KILL | RAW));
        let why = "permitted: cannot grant CAP_NET_RAW: not in process.capabilities.bounding";
        assert_eq!(warnings, [format!("process.capabilities.{why}")]);
        let (plan, warnings) = planned([both, &[], both, one, both]);
        assert_eq!((plan.permitted, plan.ambient), (KILL | RAW, KILL));
        assert!(warnings[0].ends_with("not in process.capabilities.inheritable"), "{warnings:?}");
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn what_is_inheritable_beyond_the_bounding_set_is_left_out() {
        let both: &[&str] = &["CAP_KILL", "CAP_NET_RAW"];
        let (plan, warnings) = planned([&["CAP_KILL"], &[], &["CAP_KILL"], both, &["CAP_KILL"]]);
        assert_eq!((plan.inheritable, plan.ambient), (KILL, KILL));
        let why = "cannot grant CAP_NET_RAW: not in process.capabilities.bounding";
        assert_eq!(warnings, [format!("process.capabilities.inheritable: {why}")]);
        let (plan, warnings) = planned([&[], &[], &["CAP_KILL"], &["CAP_KILL"], &["CAP_KILL"]]);
        assert_eq!((plan.inheritable, plan.ambient), (0, 0));
        let fields: Vec<_> = warnings.iter().map(|text| text.split(':').next().unwrap()).collect();
        let sets = ["inheritable", "permitted", "ambient"];
        assert_eq!(fields, sets.map(|set| format!("process.capabilities.{set}")));
    }

    #[test]
    fn an_unknown_name_is_told_once() {
        let names: &[&str] = &["CAP_X", "CAP_KILL", "CAP_X", "CAP_KILL"];
        let (plan, warnings) = planned([names, names, names, &[], &[]]);
        assert_eq!((plan.bounding, plan.effective), (KILL, KILL));
        assert_eq!(warnings, ["process.capabilities.bounding: ignoring unknown \"CAP_X\""]);
    }
}
