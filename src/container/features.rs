//! The features document (features.md, features-linux.md of the spec).

use crate::cgroup::{self, Cgroup, Home, When};
use crate::error::Result;
use crate::plan::{self, Findings, Kind, capabilities, hooks, memory_policy, options};
use crate::security::seccomp;
use crate::spec::{self, OCI_VERSION, Resources, Spec};
use serde_json::{Value, json};

/// A configuration with all that the document says yes or no to. It says what
/// becomes of it in the plan, whatever this host has.
const SAMPLE: &str = r#"{
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "mounts": [{"destination": "/x", "source": "/x", "options": ["bind", "idmap"],
        "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}],
    "process": {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0},
        "apparmorProfile": "x", "selinuxLabel": "x"},
    "linux": {
        "namespaces": [{"type": "mount"}, {"type": "network"}],
        "netDevices": {"x": {}},
        "intelRdt": {"schemata": ["MB:0=1"], "enableMonitoring": true},
        "resources": {"memory": {"limit": 1}, "rdma": {"x": {"hcaHandles": 1}}}
    }
}"#;

/// Everything that this runtime recognises, from the tables that parse it, and
/// from what it would do.
///
/// # Errors
/// None, unless the sample is bad.
pub fn features() -> Result<Value> {
    let sample: Spec = spec::parse_str("sample", SAMPLE)?;
    let mut findings = Findings::default();
    let options = plan::Options { id: "x".into(), bundle: "/".into(), ..Default::default() };
    let plan = plan::create(&sample, &options, &mut findings);
    findings.check(())?;
    let process = plan.process.as_ref();
    let rdt = plan.intel_rdt.as_ref();
    Ok(json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": hooks::KINDS,
        "mountOptions": options::names().collect::<Vec<_>>(),
        "linux": {
            "namespaces": Kind::ALL.map(Kind::name),
            "capabilities": capabilities::NAMES.as_slice(),
            "cgroup": cgroups(&plan.resources),
            "seccomp": seccomp(),
            "apparmor": { "enabled": process.is_some_and(|p| p.apparmor_profile.is_some()) },
            "selinux": { "enabled": process.is_some_and(|p| p.selinux_label.is_some()) },
            "intelRdt": {
                "enabled": rdt.is_some(),
                "schemata": rdt.is_some_and(|rdt| !rdt.schemata.is_empty()),
                "monitoring": rdt.is_some_and(|rdt| rdt.monitoring),
            },
            "memoryPolicy": {
                "modes": memory_policy::MODES.map(|(name, ..)| name),
                "flags": memory_policy::FLAGS.map(|(name, _)| name),
            },
            "mountExtensions": {
                "idmap": { "enabled": plan.rootfs.mounts.iter().any(|m| m.idmap.is_some()) },
            },
            "netDevices": { "enabled": !plan.net_devices.is_empty() },
        },
        "annotations": {
            "org.pinnace.version": env!("CARGO_PKG_VERSION"),
        },
        "potentiallyUnsafeConfigAnnotations": [
            "org.systemd.property.",
            plan::process::KEEP_GROUPS,
            spec::LAYERS,
        ],
    }))
}

/// Which versions and drivers know what to do with limits.
fn cgroups(resources: &Resources) -> Value {
    let writes = |home| {
        let mut findings = Findings::default();
        let writes = cgroup::writes(resources, &|_| home, When::Create, &mut findings);
        if findings.errors().is_empty() { writes } else { Vec::new() }
    };
    let both = [writes(Home::V1), writes(Home::V2)];
    let rdma = |write: &cgroup::Write| matches!(write, cgroup::Write::File(file) if file.controller == "rdma");
    json!({
        "v1": !both[0].is_empty(),
        "v2": !both[1].is_empty(),
        "systemd": Cgroup::has_unit(resources, false),
        "systemdUser": Cgroup::has_unit(resources, true),
        "rdma": both.iter().all(|writes| writes.iter().any(rdma)),
    })
}

fn seccomp() -> Value {
    let supported = seccomp::FLAGS.iter().filter(|(_, bit)| crate::sys::seccomp::knows(*bit));
    json!({
        "enabled": true,
        "actions": seccomp::ACTIONS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
        "operators": seccomp::OPERATORS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
        "archs": seccomp::ARCHS.iter().map(|arch| arch.name).collect::<Vec<_>>(),
        "knownFlags": seccomp::FLAGS.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
        "supportedFlags": supported.map(|(name, ..)| *name).collect::<Vec<_>>(),
    })
}
