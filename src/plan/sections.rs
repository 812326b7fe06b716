//! Which section of the runtime-spec speaks of a field of `config.json`.

/// Beginnings of fields; the first that fits counts, so the longer come first.
const SECTIONS: [(&str, &str); 53] = [
    ("ociVersion", "config.md, Specification version"),
    ("root", "config.md, Root"),
    ("mounts", "config.md, Mounts"),
    ("process.user", "config.md, POSIX-platform User"),
    ("process.rlimits", "config.md, POSIX process"),
    ("process.apparmorProfile", "config.md, Linux Process"),
    ("process.capabilities", "config.md, Linux Process"),
    ("process.noNewPrivileges", "config.md, Linux Process"),
    ("process.oomScoreAdj", "config.md, Linux Process"),
    ("process.scheduler", "config.md, Linux Process"),
    ("process.selinuxLabel", "config.md, Linux Process"),
    ("process.ioPriority", "config.md, Linux Process"),
    ("process.execCPUAffinity", "config.md, Linux Process"),
    ("process", "config.md, Process"),
    ("hostname", "config.md, Hostname"),
    ("domainname", "config.md, Domainname"),
    ("hooks.prestart", "config.md, Prestart"),
    ("hooks.createRuntime", "config.md, CreateRuntime Hooks"),
    ("hooks.createContainer", "config.md, CreateContainer Hooks"),
    ("hooks.startContainer", "config.md, StartContainer Hooks"),
    ("hooks.poststart", "config.md, Poststart"),
    ("hooks.poststop", "config.md, Poststop"),
    ("hooks", "config.md, POSIX-platform Hooks"),
    ("annotations", "config.md, Annotations"),
    ("default devices", "config-linux.md, Default Devices"),
    ("default filesystems", "config-linux.md, Default Filesystems"),
    ("linux.namespaces", "config-linux.md, Namespaces"),
    ("linux.uidMappings", "config-linux.md, User namespace mappings"),
    ("linux.gidMappings", "config-linux.md, User namespace mappings"),
    ("linux.timeOffsets", "config-linux.md, Offset for Time Namespace"),
    ("linux.devices", "config-linux.md, Devices"),
    ("linux.netDevices", "config-linux.md, Network Devices"),
    ("linux.cgroupsPath", "config-linux.md, Cgroups Path"),
    ("linux.resources.devices", "config-linux.md, Allowed Device list"),
    ("linux.resources.memory", "config-linux.md, Memory"),
    ("linux.resources.cpu", "config-linux.md, CPU"),
    ("linux.resources.blockIO", "config-linux.md, Block IO"),
    ("linux.resources.hugepageLimits", "config-linux.md, Huge page limits"),
    ("linux.resources.network", "config-linux.md, Network"),
    ("linux.resources.pids", "config-linux.md, PIDs"),
    ("linux.resources.rdma", "config-linux.md, RDMA"),
    ("linux.resources.unified", "config-linux.md, Unified"),
    ("linux.resources", "config-linux.md, Control groups"),
    ("linux.intelRdt", "config-linux.md, IntelRdt"),
    ("linux.memoryPolicy", "config-linux.md, Memory policy"),
    ("linux.sysctl", "config-linux.md, Sysctl"),
    ("linux.seccomp", "config-linux.md, Seccomp"),
    ("linux.rootfsPropagation", "config-linux.md, Rootfs Mount Propagation"),
    ("linux.maskedPaths", "config-linux.md, Masked Paths"),
    ("linux.readonlyPaths", "config-linux.md, Readonly Paths"),
    ("linux.mountLabel", "config-linux.md, Mount Label"),
    ("linux.personality", "config-linux.md, Personality"),
    ("linux", "config.md, Platform-specific configuration"),
];

/// The file and the heading; empty if `field` is none of the spec's.
pub fn section(field: &str) -> &'static str {
    let fits = |beginning: &str| {
        let rest = field.strip_prefix(beginning);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', ' ']))
    };
    SECTIONS.iter().find(|(beginning, _)| fits(beginning)).map_or("", |(_, section)| section)
}
