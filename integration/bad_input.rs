//! Bad input: each row breaks one thing. Whatever the runtime, it must fail, say
//! so in one line, print nothing else, and leave nothing behind (the guard
//! looks). The words are for pinnace: what the line must name.

use crate::harness::{Bundle, Call, Container, Output, deviates, is_pinnace, json, runtime};
use std::fs;
use std::path::Path;

/// `create` of the bundle, once without and once with `run`.
#[track_caller]
fn refused(c: &Container, words: &[&str]) {
    for verb in ["create", "run"] {
        let bundle = c.bundle.path();
        let out = c.detached([verb, "--bundle", bundle.to_str().unwrap(), &c.id]);
        if out.code == 0 {
            deviates!("crun", "accepted: crun reads what it can and leaves the rest");
        }
        says(&out, words);
        assert_eq!(c.stdout(), "", "{verb}: standard output belongs to the container");
        let state = c.call(["state", &c.id]).run();
        state.is_unknown();
    }
}

/// One line on standard error that has all the words.
#[track_caller]
fn says(out: &Output, words: &[&str]) {
    assert_ne!(out.code, 0, "accepted");
    if !is_pinnace() {
        return;
    }
    let lines: Vec<_> = out.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line: {out:#?}");
    for word in words {
        let line = lines[0].to_lowercase();
        assert!(line.contains(&word.to_lowercase()), "no {word:?} in {:?}", lines[0]);
    }
}

/// `name: JSON pointer = value => [words] (, not RUNTIMES that accept it)`
macro_rules! config {
    ($($name:ident: $at:literal = $value:tt => $words:expr $(, not $who:expr)?;)*) => { $(
        #[test]
        fn $name() {
            $( deviates!($who, concat!(stringify!($name), ": accepted, or fails later")); )?
            let c = Bundle::sh("echo ran").set($at, json!($value)).container();
            refused(&c, &$words);
        }
    )* };
}

const BOTH: [&str; 2] = ["runc", "crun"];

// Wrong JSON types: the message names the field by its path.
config! {
    type_of_oci_version: "/ociVersion" = 1 => ["ociVersion", "string"];
    type_of_root: "/root" = "rootfs" => ["root"];
    type_of_root_path: "/root/path" = 7 => ["root.path"];
    type_of_root_readonly: "/root/readonly" = "yes" => ["root.readonly"];
    type_of_process: "/process" = [] => ["process"];
    type_of_args: "/process/args" = "true" => ["process.args"];
    type_of_an_arg: "/process/args" = ["true", 1] => ["process.args[1]"];
    type_of_env: "/process/env" = {"A": "b"} => ["process.env"];
    type_of_cwd: "/process/cwd" = ["/"] => ["process.cwd"];
    type_of_uid: "/process/user/uid" = "root" => ["process.user.uid"];
    uid_below_zero: "/process/user/uid" = (-1) => ["process.user.uid"];
    uid_above_32_bits: "/process/user/uid" = 4_294_967_296_u64 => ["process.user.uid"];
    type_of_gids: "/process/user/additionalGids" = [1, "x"] => ["process.user.additionalGids[1]"];
    type_of_terminal: "/process/terminal" = "false" => ["process.terminal"], not "crun";
    type_of_no_new_privileges: "/process/noNewPrivileges" = 1 => ["process.noNewPrivileges"], not "crun";
    type_of_oom_score_adj: "/process/oomScoreAdj" = "500" => ["process.oomScoreAdj"], not "crun";
    type_of_rlimits: "/process/rlimits" = {} => ["process.rlimits"], not "crun";
    type_of_rlimit_hard: "/process/rlimits/0/hard" = "many" => ["process.rlimits[0].hard"];
    rlimit_below_zero: "/process/rlimits/0/hard" = (-1) => ["process.rlimits[0].hard"], not "crun";
    type_of_capabilities: "/process/capabilities" = ["CAP_KILL"] => ["process.capabilities"];
    type_of_bounding: "/process/capabilities/bounding" = "CAP_KILL" => ["process.capabilities.bounding"];
    type_of_hostname: "/hostname" = 1 => ["hostname"];
    type_of_mounts: "/mounts" = {} => ["mounts"], not "crun";
    type_of_a_destination: "/mounts/0/destination" = 1 => ["mounts[0].destination"];
    type_of_options: "/mounts/0/options" = "ro" => ["mounts[0].options"];
    type_of_hooks: "/hooks" = [] => ["hooks"];
    type_of_a_hook: "/hooks" = {"poststop": [{"path": 1}]} => ["hooks.poststop[0].path"];
    type_of_annotations: "/annotations" = {"a": 1} => ["annotations.a"];
    type_of_linux: "/linux" = "yes" => ["linux"];
    type_of_namespaces: "/linux/namespaces" = {"type": "pid"} => ["linux.namespaces"], not "crun";
    type_of_a_namespace: "/linux/namespaces/0" = "pid" => ["linux.namespaces[0]"];
    type_of_a_mapping: "/linux/uidMappings" = [{"containerID": "0", "hostID": 1, "size": 1}] =>
        ["linux.uidMappings[0].containerID"];
    type_of_a_device: "/linux/devices" = [{"type": "c", "path": "/dev/x", "major": "1", "minor": 3}] =>
        ["linux.devices[0].major"];
    type_of_resources: "/linux/resources" = [] => ["linux.resources"];
    type_of_memory_limit: "/linux/resources/memory" = {"limit": "1G"} => ["linux.resources.memory.limit"];
    type_of_cpu_shares: "/linux/resources/cpu" = {"shares": -5} => ["linux.resources.cpu.shares"], not "crun";
    type_of_pids_limit: "/linux/resources/pids" = {"limit": 1.5} => ["linux.resources.pids.limit"], not "crun";
    type_of_sysctl: "/linux/sysctl" = {"net.ipv4.ip_forward": 1} => ["linux.sysctl"];
    type_of_masked_paths: "/linux/maskedPaths" = "/proc/keys" => ["linux.maskedPaths"];
    type_of_seccomp: "/linux/seccomp" = [] => ["linux.seccomp"];
    type_of_cgroups_path: "/linux/cgroupsPath" = 7 => ["linux.cgroupsPath"];
}

// Values that the spec does not know or does not allow.
config! {
    r001_r291_oci_version_not_semver: "/ociVersion" = "one" => ["ociVersion"], not BOTH;
    r001_r291_oci_version_zeros: "/ociVersion" = "01.0.0" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_minor_zeros: "/ociVersion" = "1.00.0" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_pre_zeros: "/ociVersion" = "1.0.0-rc.01" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_pre_number: "/ociVersion" = "1.0.0-01" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_empty_in_pre: "/ociVersion" = "1.0.0-a..b" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_empty_pre: "/ociVersion" = "1.0.0-" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_empty_build: "/ociVersion" = "1.0.0+" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_two_builds: "/ociVersion" = "1.0.0+a+b" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_letters: "/ociVersion" = "1.0.0-\u{e4}" => ["ociVersion", "SemVer"], not BOTH;
    r001_r291_oci_version_2: "/ociVersion" = "2.0.0" => ["ociVersion"], not BOTH;
    oci_version_empty: "/ociVersion" = "" => ["ociVersion"], not BOTH;
    r107_hostname_with_nul: "/hostname" = "a\u{0}b" => ["hostname", "NUL"], not BOTH;
    r108_domainname_with_nul: "/domainname" = "a\u{0}b" => ["domainname", "NUL"], not BOTH;
    r199_pids_limit_negative: "/linux/resources/pids" = {"limit": -5} =>
        ["linux.resources.pids.limit", "-5"], not BOTH;
    no_args: "/process/args" = [] => ["process.args"];
    empty_arg0: "/process/args" = [""] => ["process.args"];
    args_with_nul: "/process/args" = ["true", "a\u{0}b"] => ["process.args[1]"], not BOTH;
    env_with_nul: "/process/env" = ["PATH=/bin", "A=\u{0}"] => ["process.env[1]"], not BOTH;
    cwd_relative: "/process/cwd" = "etc" => ["process.cwd", "absolute"], not "crun";
    cwd_empty: "/process/cwd" = "" => ["process.cwd"], not "crun";
    cwd_is_a_file: "/process/cwd" = "/bin/busybox" => ["process.cwd"];
    r295_rlimit_unknown: "/process/rlimits/0/type" = "RLIMIT_NONSENSE" => ["process.rlimits[0].type", "RLIMIT_NONSENSE"];
    r088_rlimit_twice: "/process/rlimits" = [{"type": "RLIMIT_CORE", "hard": 1, "soft": 1},
        {"type": "RLIMIT_CORE", "hard": 2, "soft": 2}] => ["process.rlimits[1]", "RLIMIT_CORE"], not BOTH;
    rlimit_soft_above_hard: "/process/rlimits/0/soft" = 4096 => ["process.rlimits[0]"];
    rlimit_above_the_callers: "/process/rlimits/0/hard" = 999_999_999_999_u64 => ["process.rlimits[0]"];
    root_path_missing_dir: "/root/path" = "nowhere" => ["root.path", "nowhere"];
    root_path_missing_dir_hint: "/root/path" = "nowhere" => ["container's files belong there"], not BOTH;
    root_path_is_a_file: "/root/path" = "config.json" => ["root.path"];
    root_path_empty: "/root/path" = "" => ["root.path"], not BOTH;
    namespace_unknown: "/linux/namespaces/0/type" = "nonsense" => ["linux.namespaces[0].type", "nonsense"];
    namespace_empty: "/linux/namespaces/0/type" = "" => ["linux.namespaces[0].type"];
    namespace_path_missing: "/linux/namespaces/1/path" = "/no/such/ns" => ["linux.namespaces[1].path", "/no/such/ns"];
    mount_without_destination: "/mounts/0" = {"type": "tmpfs", "source": "tmpfs"} => ["mounts[0].destination"];
    mount_destination_empty: "/mounts/0/destination" = "" => ["mounts[0].destination"], not BOTH;
    mount_type_unknown: "/mounts/0/type" = "nonsensefs" => ["mounts[0]"];
    mount_option_refused: "/mounts/1/options" = ["nonsense=1"] => ["mounts[1]", "nonsense"];
    mount_contrary_kinds: "/mounts/1/source" = "/no/such/dir\u{0}" => ["mounts[1].source"], not BOTH;
    rootfs_propagation_unknown: "/linux/rootfsPropagation" = "sideways" => ["linux.rootfsPropagation", "sideways"];
    masked_path_relative: "/linux/maskedPaths" = ["/ok", "etc"] => ["linux.maskedPaths[1]"], not BOTH;
    device_type_unknown: "/linux/devices" = [{"type": "q", "path": "/dev/q", "major": 1, "minor": 3}] =>
        ["linux.devices[0].type"], not "crun";
    device_without_numbers: "/linux/devices" = [{"type": "c", "path": "/dev/q"}] => ["linux.devices[0]", "major"], not BOTH;
    device_major_above_12_bits: "/linux/devices" = [{"type": "c", "path": "/dev/q", "major": 4096, "minor": 3}] =>
        ["linux.devices[0].major", "4096"], not BOTH;
    device_minor_above_20_bits: "/linux/devices" = [{"type": "b", "path": "/dev/q", "major": 1, "minor": 1_048_576}] =>
        ["linux.devices[0].minor", "1048576"], not BOTH;
    device_uid_that_is_none: "/linux/devices" = [{"type": "p", "path": "/dev/q", "uid": 4_294_967_295_u32}] =>
        ["linux.devices[0].uid", "4294967295"], not BOTH;
    cpu_quota_below_minus_one: "/linux/resources/cpu" = {"quota": -5} => ["linux.resources.cpu.quota", "-5"], not BOTH;
    device_path_relative: "/linux/devices" = [{"type": "c", "path": "dev/q", "major": 1, "minor": 3}] =>
        ["linux.devices[0].path"], not BOTH;
    device_rule_of_unknown_type: "/linux/resources/devices" = [{"allow": true, "type": "q", "access": "r"}] =>
        ["linux.resources.devices[0].type"], not "crun";
    device_rule_of_unknown_access: "/linux/resources/devices" = [{"allow": true, "type": "c", "access": "x"}] =>
        ["linux.resources.devices[0].access"], not BOTH;
    sysctl_not_namespaced: "/linux/sysctl" = {"vm.swappiness": (own_sysctl("vm/swappiness"))} => ["linux.sysctl", "vm.swappiness"];
    sysctl_missing: "/linux/sysctl" = {"net.nonsense": "1"} => ["linux.sysctl", "net.nonsense"];
    sysctl_with_dots: "/linux/sysctl" = {"net.ipv4/../../../../tmp/x": "1"} => ["linux.sysctl"];
    seccomp_without_default: "/linux/seccomp" = {"syscalls": []} => ["linux.seccomp.defaultAction"], not BOTH;
    seccomp_unknown_action: "/linux/seccomp" = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
        [{"names": ["mkdir"], "action": "NONSENSE"}]} => ["linux.seccomp.syscalls[0].action"];
    annotation_with_empty_key: "/annotations" = {"": "x"} => ["annotations"], not BOTH;
    hook_relative: "/hooks" = {"createRuntime": [{"path": "bin/true"}]} => ["hooks.createRuntime[0].path"], not BOTH;
    hook_timeout_zero: "/hooks" = {"poststop": [{"path": "/bin/true", "timeout": 0}]} =>
        ["hooks.poststop[0].timeout"], not BOTH;
    mapping_of_size_zero: "/linux/uidMappings" = [{"containerID": 0, "hostID": 1, "size": 0}] =>
        ["linux.uidMappings"], not BOTH;
    memory_below_minus_one: "/linux/resources/memory" = {"limit": -2} => ["linux.resources.memory.limit"], not BOTH;
    cpu_period_too_small: "/linux/resources/cpu" = {"period": 1, "quota": 1000} => ["linux.resources.cpu"], not "crun";
    cpu_quota_too_small: "/linux/resources/cpu" = {"quota": 100} => ["linux.resources.cpu.quota", "a quota is 1000 or more"], not BOTH;
    cpuset_that_is_not_there: "/linux/resources/cpu" = {"cpus": "4095"} => ["linux.resources.cpu.cpus", "cpu/online"], not BOTH;
    cpuset_nonsense: "/linux/resources/cpu" = {"cpus": "a-b"} => ["linux.resources.cpu.cpus"], not "crun";
    r167_cgroups_path_with_dots: "/linux/cgroupsPath" = "/../../x" => ["linux.cgroupsPath"], not BOTH;
    hugepage_size_unknown: "/linux/resources/hugepageLimits" = [{"pageSize": "3MB", "limit": 1}] =>
        ["linux.resources.hugepageLimits[0]"], not BOTH;
    r202_rdma_of_nothing: "/linux/resources/rdma" = {"mlx5": {}} => ["linux.resources.rdma.mlx5: needs hcaHandles or hcaObjects"], not BOTH;
    r212_intel_rdt_without_resctrl: "/linux/intelRdt" = {"closID": "x"} => ["linux.intelRdt"], not BOTH;
    r254_personality_flag: "/linux/personality" = {"domain": "LINUX", "flags": ["X"]} =>
        ["linux.personality.flags"], not BOTH;
    r308_personality_domain: "/linux/personality" = {"domain": "BSD"} => ["linux.personality.domain"], not BOTH;
    scheduler_unknown: "/process/scheduler" = {"policy": "SCHED_NONSENSE"} => ["process.scheduler.policy"], not BOTH;
    io_priority_unknown: "/process/ioPriority" = {"class": "IOPRIO_CLASS_X", "priority": 1} =>
        ["process.ioPriority.class"], not BOTH;
    io_priority_out_of_range: "/process/ioPriority" = {"class": "IOPRIO_CLASS_BE", "priority": 8} =>
        ["process.ioPriority.priority"], not BOTH;
    memory_policy_unknown: "/linux/memoryPolicy" = {"mode": "MPOL_NONSENSE"} => ["linux.memoryPolicy.mode"], not BOTH;
    apparmor_without_apparmor: "/process/apparmorProfile" = "no-such-profile" => ["process.apparmorProfile"];
    selinux_without_selinux: "/process/selinuxLabel" = "system_u:system_r:x_t:s0" => ["process.selinuxLabel"];
    time_offset_of_unknown_clock: "/linux/timeOffsets" = {"realtime": {"secs": 1}} => ["linux.timeOffsets"], not BOTH;
    net_device_with_a_long_name: "/linux/netDevices" = {"lo": {"name": "a23456789012345678"}} =>
        ["linux.netDevices"], not BOTH;
    net_device_that_is_not_there: "/linux/netDevices" = {"nosuchdev0": {}} => ["linux.netDevices", "nosuchdev0"], not BOTH;
}

/// The host's own value: harmless if a broken runtime writes it.
fn own_sysctl(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/{name}")).unwrap().trim().to_owned()
}

/// `name: object / key taken out => words`
macro_rules! missing {
    ($($name:ident: $object:literal $key:literal => $words:expr $(, not $who:expr)?;)*) => { $(
        #[test]
        fn $name() {
            $( deviates!($who, concat!(stringify!($name), ": accepted")); )?
            refused(&Bundle::sh("echo ran").unset($object, $key).container(), &$words);
        }
    )* };
}

missing! {
    r002_r292_root_missing: "" "root" => ["root"];
    root_path_missing: "/root" "path" => ["root.path"], not BOTH;
    oci_version_missing: "" "ociVersion" => ["ociVersion"], not BOTH;
    args_missing: "/process" "args" => ["process.args"];
    cwd_missing: "/process" "cwd" => ["process.cwd"], not "crun";
    namespace_type_missing: "/linux/namespaces/0" "type" => ["linux.namespaces[0]", "type"];
    rlimit_type_missing: "/process/rlimits/0" "type" => ["process.rlimits[0]", "type"];
    rlimit_soft_missing: "/process/rlimits/0" "soft" => ["process.rlimits[0]", "soft"], not BOTH;
}

/// `name: content of config.json => words`
macro_rules! text {
    ($($name:ident: $text:expr => $words:expr;)*) => { $(
        #[test]
        fn $name() {
            let c = Bundle::sh("echo ran").container();
            let text: &[u8] = $text;
            fs::write(c.bundle.path().join("config.json"), text).unwrap();
            refused(&c, &$words);
        }
    )* };
}

text! {
    json_empty_file: b"" => ["config.json", "empty"];
    json_blank_file: b" \n\n " => ["config.json", "empty"];
    json_truncated: b"{\"ociVersion\": \"1.0.2\", \"process\": {" => ["config.json", "line 1"];
    json_malformed: b"{\"ociVersion\": \"1.0.2\",\n \"process\" {}}" => ["config.json", "line 2"];
    json_trailing_comma: b"{\"ociVersion\": \"1.0.2\",}" => ["config.json", "line 1"];
    json_an_array: b"[]" => ["config.json"];
    json_a_string: b"\"config\"" => ["config.json"];
    json_null: b"null" => ["config.json"];
    json_an_empty_object: b"{}" => ["config.json", "ociVersion"];
    json_nul_bytes: b"\0\0\0\0" => ["config.json"];
    json_not_utf8: b"{\"ociVersion\": \"\xff\xfe\"}" => ["config.json", "UTF-8"];
    json_utf16: b"\xff\xfe{\0}\0" => ["config.json", "UTF-8"];
    json_comment: b"// no\n{}" => ["config.json", "line 1"];
    json_binary: b"\x7fELF\x02\x01\x01\0" => ["config.json"];
}

#[test]
fn json_too_deep() {
    let c = Bundle::sh("true").container();
    let text = format!("{{\"annotations\": {}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    fs::write(c.bundle.path().join("config.json"), text).unwrap();
    refused(&c, &["config.json"]);
}

#[test]
fn r272_config_missing() {
    let c = Bundle::sh("true").container();
    fs::remove_file(c.bundle.path().join("config.json")).unwrap();
    refused(&c, &["config.json", "no such file or directory"]);
}

#[test]
fn config_is_a_directory() {
    let c = Bundle::sh("true").container();
    fs::remove_file(c.bundle.path().join("config.json")).unwrap();
    fs::create_dir(c.bundle.path().join("config.json")).unwrap();
    refused(&c, &["config.json", "is a directory"]);
}

#[test]
fn config_is_a_link_to_nowhere() {
    let c = Bundle::sh("true").container();
    fs::remove_file(c.bundle.path().join("config.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", c.bundle.path().join("config.json")).unwrap();
    refused(&c, &["config.json", "no such file or directory"]);
}

#[test]
fn config_is_a_loop_of_links() {
    let c = Bundle::sh("true").container();
    fs::remove_file(c.bundle.path().join("config.json")).unwrap();
    std::os::unix::fs::symlink("config.json", c.bundle.path().join("config.json")).unwrap();
    refused(&c, &["config.json", "symbolic link"]);
}

#[test]
fn rootfs_missing() {
    let c = Bundle::sh("true").container();
    fs::remove_dir_all(c.bundle.path().join("rootfs")).unwrap();
    refused(&c, &["root.path", "no such file or directory"]);
}

#[test]
fn rootfs_empty() {
    let c = Bundle::sh("true").container();
    fs::remove_dir_all(c.bundle.path().join("rootfs")).unwrap();
    fs::create_dir(c.bundle.path().join("rootfs")).unwrap();
    refused(&c, &["executable file not found in"]);
}

#[test]
fn rootfs_is_a_link_to_nowhere() {
    let c = Bundle::sh("true").container();
    fs::remove_dir_all(c.bundle.path().join("rootfs")).unwrap();
    std::os::unix::fs::symlink("nowhere", c.bundle.path().join("rootfs")).unwrap();
    refused(&c, &["root.path", "no such file or directory"]);
}

/// A bundle argument that is none.
#[track_caller]
fn bad_bundle(bundle: &Path, words: &[&str]) {
    let c = Bundle::sh("true").container();
    for verb in ["create", "run"] {
        let out = c.detached([verb, "--bundle", bundle.to_str().unwrap(), &c.id]);
        says(&out, words);
    }
}

#[test]
fn bundle_missing() {
    bad_bundle(Path::new("/no/such/bundle"), &["/no/such/bundle", "no such file or directory"]);
}

#[test]
fn bundle_is_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    bad_bundle(file.path(), &["not a directory"]);
}

#[test]
fn bundle_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    bad_bundle(dir.path(), &["config.json", "no such file or directory"]);
}

#[test]
fn bundle_is_an_empty_string() {
    let c = Bundle::sh("true").container();
    let out = c.call(["create", "--bundle", "", &c.id]).current_dir(Path::new("/")).run();
    says(&out, &["--bundle"]);
}

/// `name: id => words`. In the cage, and for no runtime that is known to take ids
/// for paths: what an id could reach must not be the host's. `@` is the test's own name.
macro_rules! ids {
    ($($name:ident: $id:expr => $words:expr;)*) => { $(
        #[test]
        fn $name() {
            bad_id(&$id, &$words);
        }
    )* };
}

fn bad_id(id: &str, words: &[&str]) {
    deviates!("crun", "R261: crun 1.8.1 takes an id for a path; never try");
    let c = Bundle::sh("true").container();
    let (id, bundle) = (id.replace('@', &c.id), c.bundle.path());
    for verb in ["create", "run"] {
        let out = c.caged([verb, "--bundle", bundle.to_str().unwrap(), &id]).run();
        says(&out, words);
    }
    let left = fs::read_dir(c.root()).map(|dir| dir.count()).unwrap_or(0);
    assert_eq!(left, 0, "{id:?} left something in the state directory");
}

ids! {
    r261_id_empty: "" => ["id cannot be empty"];
    r261_id_dot: "." => ["invalid container id \".\""];
    r261_id_dot_dot: ".." => ["invalid container id \"..\""];
    r261_id_with_a_slash: "@/b" => ["invalid container id", "/b"];
    r261_id_absolute: "/no/such/@" => ["invalid container id"];
    r261_id_upwards: "../@" => ["invalid container id"];
    r261_id_with_a_space: "@ b" => ["invalid container id"];
    r261_id_with_a_newline: "@\nb" => ["invalid container id"];
    r261_id_with_a_star: "@*" => ["invalid container id"];
    r261_id_not_ascii: "@\u{fc}" => ["invalid container id"];
    r261_id_like_an_unknown_flag: "--nonsense" => ["--nonsense", "unknown"];
    r261_id_too_long: "a".repeat(2000) => ["invalid container id", "longer than 255"];
}

#[test]
fn r261_no_id_at_all() {
    let c = Bundle::sh("true").container();
    let bundle = c.bundle.path();
    for verb in ["create", "run"] {
        says(&c.detached([verb, "-b", bundle.to_str().unwrap()]), &["missing"]);
    }
    for verb in ["start", "state", "kill", "delete", "pause", "resume", "exec", "ps", "update"] {
        says(&c.call([verb]).run(), &["missing"]);
    }
}

/// A call with `--root` of the test's choice.
fn with_root(c: &Container, root: &Path) -> Output {
    let bundle = c.bundle.path();
    Call::new(&runtime().path)
        .args(["--root", root.to_str().unwrap(), "create", "--bundle"])
        .args([bundle.to_str().unwrap(), &c.id])
        .run()
}

#[test]
fn root_option_is_a_file() {
    let c = Bundle::sleeper().container();
    let file = c.bundle.dir().join("file");
    fs::write(&file, "untouched").unwrap();
    says(&with_root(&c, &file), &[file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "untouched");
}

#[test]
fn root_option_is_on_a_read_only_mount() {
    let c = Bundle::sleeper().container();
    let mount = Tmpfs::new("size=1m");
    mount.read_only();
    says(&with_root(&c, &mount.dir.path().join("state")), &["read-only file system"]);
}

#[test]
fn root_option_is_on_a_full_disk() {
    deviates!("crun", "leaves a part of the state");
    let c = Bundle::sleeper().container();
    let mount = Tmpfs::new("size=64k");
    let fill = vec![0_u8; 65536];
    fs::write(mount.dir.path().join("fill"), &fill).unwrap_or_default();
    let out = with_root(&c, &mount.dir.path().join("state"));
    says(&out, &["no space left on device"]);
    let left = fs::read_dir(mount.dir.path().join("state")).map(|d| d.count()).unwrap_or(0);
    assert_eq!(left, 0);
}

#[test]
fn pid_file_in_a_directory_that_is_not_there() {
    let c = Bundle::sleeper().container();
    let bundle = c.bundle.path();
    let out = c.detached([
        "create",
        "-b",
        bundle.to_str().unwrap(),
        "--pid-file",
        "/no/such/dir/pid",
        &c.id,
    ]);
    says(&out, &["/no/such/dir/pid"]);
    c.call(["state", &c.id]).run().fails();
}

#[test]
fn a_state_that_is_garbage_is_told_and_can_be_deleted() {
    for text in ["", "{", "null", "\0\0"] {
        let c = Bundle::sleeper().container();
        let dir = c.root().join(&c.id);
        fs::create_dir_all(&dir).unwrap();
        for name in ["state.json", "status", "record"] {
            fs::write(dir.join(name), text).unwrap();
        }
        c.call(["state", &c.id]).run().fails();
        let out = c.call(["delete", "--force", &c.id]).run();
        if !is_pinnace() {
            fs::remove_dir_all(&dir).unwrap_or_default();
            deviates!(BOTH, "a broken state cannot be deleted");
        }
        out.ok();
        assert!(!dir.exists());
    }
}

#[test]
fn r299_all_findings_are_told_at_once() {
    let c = Bundle::sh("true")
        .set("/process/cwd", json!("etc"))
        .set("/linux/rootfsPropagation", json!("sideways"))
        .set("/linux/namespaces/0/type", json!("nonsense"))
        .container();
    deviates!(BOTH, "only the first finding");
    refused(&c, &["process.cwd", "linux.rootfsPropagation", "linux.namespaces[0].type"]);
}

#[test]
fn the_specs_own_bad_examples() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema/test/config/bad");
    crate::harness::needs!(dir.is_dir(), "tests/fixtures/schema");
    for entry in fs::read_dir(dir).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        let c = Bundle::sh("true").container();
        fs::write(c.bundle.path().join("config.json"), text).unwrap();
        c.create().fails();
    }
}

/// A small tmpfs of the host.
struct Tmpfs {
    dir: tempfile::TempDir,
}

impl Tmpfs {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, data.as_c_str()).unwrap();
        Self { dir }
    }

    fn read_only(&self) {
        let flags = rustix::mount::MountFlags::RDONLY;
        rustix::mount::mount_remount(self.dir.path(), flags, "").unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        rustix::mount::unmount(self.dir.path(), flags).unwrap();
    }
}
