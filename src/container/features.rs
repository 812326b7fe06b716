//! The features document (features.md, features-linux.md of the spec).

use crate::plan::{Kind, capabilities, hooks, memory_policy, options};
use crate::security::seccomp;
use crate::spec::OCI_VERSION;
use serde_json::{Value, json};

/// Everything that this runtime recognises, from the tables that parse it.
pub fn features() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": hooks::KINDS,
        "mountOptions": options::names().collect::<Vec<_>>(),
        "linux": {
            "namespaces": Kind::ALL.map(Kind::name),
            "capabilities": capabilities::NAMES.as_slice(),
            "cgroup": {
                "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true
            },
            "seccomp": {
                "enabled": true,
                "actions": seccomp::ACTIONS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
                "operators": seccomp::OPERATORS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
                "archs": seccomp::ARCHS.iter().map(|arch| arch.name).collect::<Vec<_>>(),
                "knownFlags": seccomp::FLAGS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
                "supportedFlags": seccomp::FLAGS
                    .iter()
                    .filter(|(_, bit)| crate::sys::seccomp::knows(*bit))
                    .map(|(name, ..)| *name)
                    .collect::<Vec<_>>(),
            },
            // Whatever this host has: both are what we can do.
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": memory_policy::MODES.map(|(name, ..)| name),
                "flags": memory_policy::FLAGS.map(|(name, _)| name),
            },
            "mountExtensions": { "idmap": { "enabled": options::find("idmap").is_some() } },
            "netDevices": { "enabled": true },
        },
        "annotations": {
            "org.pinnace.version": env!("CARGO_PKG_VERSION"),
        },
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    })
}
