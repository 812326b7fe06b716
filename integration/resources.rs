//! Limits that not every machine can set: what has no controller here is
//! skipped, what the host's version of cgroups has no word for is refused.

use crate::cgroups::disk;
use crate::harness::{
    Bundle, Call, Container, Hierarchy, by_systemd, deviates, is_pinnace, json, needs, runtime,
};
use std::fs;

fn v1() -> bool {
    Hierarchy::of_host() == Hierarchy::V1
}

fn limited(resources: &str, value: serde_json::Value) -> Container {
    Bundle::sleeper().set(&format!("/linux/resources/{resources}"), value).container()
}

/// Whether the host has a controller, by its names on v1 and on v2.
fn has(on_v1: &str, on_v2: &str) -> bool {
    Hierarchy::of_host().has(if v1() { on_v1 } else { on_v2 }) || beside(on_v2)
}

/// Whether the unified hierarchy beside v1 ("hybrid") has a controller.
fn beside(name: &str) -> bool {
    let list = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
    list.unwrap_or_default().split_whitespace().any(|controller| controller == name)
}

/// As `Container::cgroup_value`, on hybrid hosts, too.
fn value(c: &Container, on_v1: &str, on_v2: &str) -> String {
    if !v1() || !beside(on_v2.split('.').next().unwrap()) {
        return c.cgroup_value(on_v1, on_v2);
    }
    let pid = c.pid().as_raw_nonzero();
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let file = format!("/sys/fs/cgroup/unified{path}/{on_v2}");
    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}")).trim_end().to_owned()
}

/// Refused where v2 has no such limit, by the name of the field.
fn refused_on_v2(resources: &str, value: serde_json::Value, field: &str) {
    let c = limited(resources, value);
    let out = c.create();
    deviates!("runc", "R206: ignored");
    let words = format!("linux.resources.{field}: cgroup v2 has nothing like it");
    out.fails_with(&[if is_pinnace() { &words } else { "v2" }]);
}

#[test]
fn r182_memory_use_hierarchy() {
    if !v1() {
        return refused_on_v2("memory", json!({"useHierarchy": false}), "memory.useHierarchy");
    }
    let c = limited("memory", json!({"useHierarchy": true, "limit": 64 << 20}));
    c.create().ok();
    deviates!("runc", "R182: ignored");
    assert_eq!(c.cgroup_value("memory.use_hierarchy", ""), "1");
    // In force, or an error: since Linux 5.11 nothing else can be had.
    let c = limited("memory", json!({"useHierarchy": false}));
    let out = c.create();
    deviates!("crun", "leaves its cgroups after the failed create");
    match out.code {
        0 => assert_eq!(c.cgroup_value("memory.use_hierarchy", ""), "0"),
        _ => out.fails_with(&["linux.resources.memory.useHierarchy"]),
    }
}

/// The kernel takes no other limit of kernel memory any more than none.
#[test]
fn r178_memory_kernel() {
    if !v1() {
        return refused_on_v2("memory", json!({"kernel": 1 << 24}), "memory.kernel");
    }
    let c = limited("memory", json!({"kernel": -1}));
    c.create().ok();
    assert_eq!(c.cgroup_value("memory.kmem.limit_in_bytes", ""), "9223372036854771712");
    // In force, or an error: Linux 6.6 takes any, and has none.
    let c = limited("memory", json!({"kernel": 100 << 20, "limit": 200 << 20}));
    let out = c.create();
    deviates!(["runc", "crun"], "R178: ignored");
    match out.code {
        0 => assert_eq!(c.cgroup_value("memory.kmem.limit_in_bytes", ""), "104857600"),
        _ => out.fails_with(&["linux.resources.memory.kernel", "ignores it"]),
    }
}

#[test]
fn r179_memory_kernel_tcp() {
    if !v1() {
        return refused_on_v2("memory", json!({"kernelTCP": 1 << 24}), "memory.kernelTCP");
    }
    let c = limited("memory", json!({"kernelTCP": 1 << 24}));
    c.create().ok();
    deviates!("runc", "R179: ignored");
    assert_eq!(c.cgroup_value("memory.kmem.tcp.limit_in_bytes", ""), "16777216");
}

#[test]
fn r187_cpu_realtime() {
    let value = json!({"realtimeRuntime": 1000, "realtimePeriod": 500_000});
    if !v1() {
        return refused_on_v2("cpu", value, "cpu.realtimeRuntime");
    }
    needs!(fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap(), "CONFIG_RT_GROUP_SCHED");
    let c = limited("cpu", value);
    c.create().ok();
    assert_eq!(c.cgroup_value("cpu.rt_runtime_us", ""), "1000");
    assert_eq!(c.cgroup_value("cpu.rt_period_us", ""), "500000");
}

/// v1's words: done there, refused by name where there is nothing like them.
#[test]
fn r385_r389_updates_that_only_v1_knows() {
    deviates!(["runc", "crun"], "R206: ignored, or less said");
    let c = Bundle::sleeper().container();
    c.create().ok();
    let update = |args: &[&str]| c.call(["update"]).args(args).args([&c.id]).run();
    if !v1() {
        for (args, field) in [
            (["--cpu-rt-runtime", "1000"], "cpu.realtimeRuntime"),
            (["--cpu-rt-period", "500000"], "cpu.realtimePeriod"),
            (["--kernel-memory", "16m"], "memory.kernel"),
            (["--kernel-memory-tcp", "16m"], "memory.kernelTCP"),
        ] {
            let message = format!("linux.resources.{field}: cgroup v2 has nothing like it");
            update(&args).fails_with(&[&message]);
        }
        return;
    }
    update(&["--kernel-memory=-1", "--kernel-memory-tcp", "16m"]).ok();
    assert_eq!(c.cgroup_value("memory.kmem.tcp.limit_in_bytes", ""), "16777216");
    needs!(fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap(), "CONFIG_RT_GROUP_SCHED");
    update(&["--cpu-rt-period", "500000", "--cpu-rt-runtime", "1000"]).ok();
    assert_eq!(c.cgroup_value("cpu.rt_runtime_us", ""), "1000");
    assert_eq!(c.cgroup_value("cpu.rt_period_us", ""), "500000");
}

#[test]
fn r190_block_io_weight() {
    needs!(has("blkio", "io"), "a block I/O controller");
    let c = limited("blockIO", json!({"weight": 200}));
    let out = c.create();
    // io.weight counts to 10000.
    let files = [
        ("blkio.bfq.weight", "200"),
        ("blkio.weight", "200"),
        ("io.bfq.weight", "200"),
        ("io.weight", "1920"),
    ];
    needs!(out.code == 0 || !out.stderr.contains("no such file"), "weights of block I/O");
    out.ok();
    let dir = c.cgroup(if v1() { "blkio" } else { "" });
    let there = |(name, want)| fs::read_to_string(dir.join(name)).ok().map(|text| (text, want));
    let (text, want) = files.into_iter().find_map(there).unwrap();
    assert!(text.trim_end().ends_with(&format!(" {want}")) || text.trim_end() == want, "{text:?}");
}

#[test]
fn r191_r193_leaf_weights_are_refused_where_there_are_none() {
    let device = json!([{"major": 7, "minor": 0, "leafWeight": 100}]);
    for (field, value) in [
        ("leafWeight", json!({"leafWeight": 100})),
        ("weightDevice[0].leafWeight", json!({"weightDevice": device})),
    ] {
        // They went with CFQ, in Linux 5.0.
        let c = limited("blockIO", value);
        let out = c.create();
        deviates!("runc", "R191: ignored");
        deviates!("crun", "leaves its cgroups after the failed create");
        out.fails_with(&[&format!("linux.resources.blockIO.{field}")]);
    }
}

#[test]
fn r194_throttle_devices() {
    needs!(has("blkio", "io") && disk().is_some(), "block devices");
    let (major, minor) = disk().unwrap();
    let rate = |rate: u32| json!([{"major": major, "minor": minor, "rate": rate}]);
    let c = limited(
        "blockIO",
        json!({"throttleReadBpsDevice": rate(1_000_001), "throttleWriteBpsDevice": rate(1_000_002),
               "throttleReadIOPSDevice": rate(1_000_003), "throttleWriteIOPSDevice": rate(1_000_004)}),
    );
    c.create().ok();
    for (file, key, rate) in [
        ("read_bps", "rbps", "1000001"),
        ("write_bps", "wbps", "1000002"),
        ("read_iops", "riops", "1000003"),
        ("write_iops", "wiops", "1000004"),
    ] {
        let text = c.cgroup_value(&format!("blkio.throttle.{file}_device"), "io.max");
        let device = format!("{major}:{minor}");
        let want = if v1() { format!("{device} {rate}") } else { format!("{key}={rate}") };
        assert!(text.contains(&device) && text.contains(&want), "{file}: {text}");
    }
}

#[test]
fn r195_r196_huge_pages() {
    needs!(has("hugetlb", "hugetlb"), "the hugetlb controller");
    deviates!("runc", "R195: does not look for controllers in the v2 half of a hybrid host");
    let c = limited("hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    c.create().ok();
    let usage = value(&c, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max");
    let reserved = value(&c, "hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max");
    assert_eq!((usage.as_str(), reserved.as_str()), ("4194304", "4194304"));
}

#[test]
fn r197_network_class() {
    let value = json!({"classID": 1_048_577});
    if !v1() {
        return refused_on_v2("network", value, "network.classID");
    }
    needs!(has("net_cls", ""), "the net_cls controller");
    let c = limited("network", value);
    c.create().ok();
    assert_eq!(c.cgroup_value("net_cls.classid", ""), "1048577");
}

#[test]
fn r198_network_priorities() {
    let value = json!({"priorities": [{"name": "lo", "priority": 7}]});
    if !v1() {
        return refused_on_v2("network", value, "network.priorities");
    }
    needs!(has("net_prio", ""), "the net_prio controller");
    let c = limited("network", value);
    c.create().ok();
    assert!(c.cgroup_value("net_prio.ifpriomap", "").contains("lo 7"));
}

/// Engines leave plain directories with the names of controllers on the tmpfs around v1's
/// hierarchies: here, in a mount namespace of its own.
#[test]
fn a_plain_directory_with_a_controllers_name_is_no_controller() {
    needs!(v1() && !has("net_cls", ""), "cgroup v1 without net_cls");
    let bundle = Bundle::sleeper();
    let place = bundle.dir().join("cgroups");
    fs::create_dir(&place).unwrap();
    let script = "cd \"$0\" && mount -t tmpfs none . && cd \"$0\" && \
        for dir in /sys/fs/cgroup/*; do name=${dir##*/}; mkdir $name; \
            ! mountpoint -q $dir || mount --bind $dir $name || exit 99; done; \
        mkdir -p net_cls net_prio perf_event hugetlb; \
        umount -R -l /sys/fs/cgroup && mount --rbind . /sys/fs/cgroup || exit 99; exec \"$@\"";
    let inside = |c: &Container, args: &[&str]| {
        Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
            .args([place.as_os_str(), runtime().path.as_os_str()])
            .args(c.global())
            .args(args)
            .output_to(c.log("stdout"), c.log("stderr"))
            .run()
    };
    let c = limited("network", json!({"classID": 1_048_577}));
    let path = c.bundle.path().to_str().unwrap().to_owned();
    let out = inside(&c, &["create", "--bundle", &path, &c.id]);
    deviates!(["runc", "crun"], "R206: other words, or none");
    assert!(out.code == 1 && c.stderr().contains("network.classID"), "{out:?} {}", c.stderr());
    let c = bundle.container();
    let path = c.bundle.path().to_str().unwrap().to_owned();
    inside(&c, &["create", "--bundle", &path, &c.id]).ok();
    assert_eq!(c.status(), "created");
    inside(&c, &["delete", "--force", &c.id]).ok();
}

/// Where there is no such device, the kernel's refusal shows what was written.
#[test]
fn r201_rdma() {
    needs!(has("rdma", "rdma"), "the rdma controller");
    let device = fs::read_dir("/sys/class/infiniband").ok().and_then(|mut dir| dir.next());
    let name = device.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let shown = name.as_deref().unwrap_or("mlx5_9");
    let c = limited("rdma", json!({shown: {"hcaHandles": 3, "hcaObjects": 10_000}}));
    let out = c.create();
    deviates!("crun", "R201: never read");
    let line = format!("{shown} hca_handle=3 hca_object=10000");
    if name.is_some() {
        out.ok();
        let text = value(&c, "rdma.max", "rdma.max");
        assert!(text.contains(&line), "{text}");
    } else {
        out.fails_with(&["rdma.max"]);
        out.fails_with(&["No such device"]);
        deviates!("runc", "R201: the field and the line are not told");
        out.fails_with(&[&format!("linux.resources.rdma.{shown}: write {line:?}")]);
    }
}

/// What the host has no controller for is refused by name, never dropped.
#[test]
fn r110_r303_a_limit_without_a_controller_is_refused() {
    needs!(v1(), "cgroup v1");
    for (controller, at, value, field) in [
        (
            "hugetlb",
            "hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 0}]),
            "hugepageLimits[0]",
        ),
        ("net_cls", "network", json!({"classID": 1}), "network.classID"),
        (
            "net_prio",
            "network",
            json!({"priorities": [{"name": "lo", "priority": 1}]}),
            "network.priorities",
        ),
    ] {
        if has(controller, controller) {
            continue;
        }
        let out = limited(at, value).create();
        deviates!(["runc", "crun"], "R303: ignored, or less said");
        out.fails_with(&[&format!("linux.resources.{field}: this host has no cgroup controller")]);
    }
}

/// Whatever init does first, it counts in its cgroup. Afterwards nothing tells who was cloned into a
/// cgroup from who was moved there at once: only the system call does.
#[test]
fn r210_clone3_puts_the_process_into_its_cgroup() {
    needs!(!by_systemd(), "the cgroupfs driver: systemd wants a process to make a cgroup around");
    needs!(!v1() || fs::exists("/sys/fs/cgroup/unified/cgroup.procs").unwrap(), "cgroup v2");
    needs!(fs::exists("/usr/bin/strace").unwrap(), "strace");
    deviates!(["runc", "crun"], "R210: newer than these, or not for init");
    let c = Bundle::sleeper().container();
    let trace = c.bundle.dir().join("trace");
    Call::new("/usr/bin/strace")
        .args(["-qq", "-e", "trace=clone3", "-o"])
        .args([trace.as_os_str(), runtime().path.as_os_str()])
        .args(c.global())
        .args(["create", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
        .output_to(c.log("stdout"), c.log("stderr"))
        .run()
        .ok();
    let calls = fs::read_to_string(trace).unwrap();
    let pid = format!(" = {}", c.pid().as_raw_pid());
    let clone = calls.lines().find(|line| line.ends_with(&pid));
    assert!(clone.is_some_and(|line| line.contains("CLONE_INTO_CGROUP")), "{pid} in {calls}");
}

#[test]
fn r460_too_little_memory_for_the_set_up_is_explained() {
    let c = Bundle::new(["true"])
        .set("/linux/resources", json!({"memory": {"limit": 4096}}))
        .container();
    let out = c.run();
    deviates!(["runc", "crun"], "R460: other words");
    out.fails_with(&["linux.resources.memory.limit may be too low"]);
    assert_eq!(c.call(["list", "--quiet"]).run().ok(), "");
}

/// Engines that know no unset fields send 0 for them (CRI-O): nobody could live with such a
/// limit.
#[test]
fn r175_r179_a_size_of_0_is_as_unset() {
    let zeros = json!({"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": 0});
    deviates!("crun", "the 0 of a kernel limit is written");
    let c = Bundle::new(["echo", "alive"]).set("/linux/resources/memory", zeros).container();
    assert_eq!(c.run().ok(), "alive\n");
    let c = limited("memory", json!({"limit": 0, "reservation": 64 << 20}));
    c.create().ok();
    let unlimited = if v1() { "9223372036854771712" } else { "max" };
    assert_eq!(c.cgroup_value("memory.limit_in_bytes", "memory.max"), unlimited);
    assert_eq!(c.cgroup_value("memory.soft_limit_in_bytes", "memory.low"), "67108864");
}

/// A named one is no such field, and what it says beside a 0 counts.
#[test]
fn r180_r195_a_0_that_is_a_value_is_set() {
    let c = limited("memory", json!({"limit": 0, "swappiness": 0}));
    if v1() {
        c.create().ok();
        assert_eq!(c.cgroup_value("memory.swappiness", ""), "0");
    }
    needs!(has("hugetlb", "hugetlb"), "the hugetlb controller");
    deviates!("runc", "R195: does not look for controllers in the v2 half of a hybrid host");
    let c = limited("hugepageLimits", json!([{"pageSize": "2MB", "limit": 0}]));
    c.create().ok();
    assert_eq!(value(&c, "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), "0");
}

#[test]
fn r184_r185_r187_r190_an_unset_number_is_0_for_some_engines() {
    let zeros = json!({"cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0,
        "realtimePeriod": 0, "cpus": "", "mems": ""}, "blockIO": {"weight": 0, "leafWeight": 0}});
    let c = Bundle::new(["echo", "alive"])
        .edit(|c| {
            let resources = &mut c["linux"]["resources"];
            (resources["cpu"], resources["blockIO"]) =
                (zeros["cpu"].clone(), zeros["blockIO"].clone());
        })
        .container();
    assert_eq!(c.run().ok(), "alive\n");
}

/// All that an update may name, with what stands in the files of v1 and v2.
const FILES: [(&str, &str); 6] = [
    ("memory.limit_in_bytes", "memory.max"),
    ("memory.soft_limit_in_bytes", "memory.low"),
    ("cpu.shares", "cpu.weight"),
    ("cpu.cfs_quota_us", "cpu.max"),
    ("cpuset.cpus", "cpuset.cpus"),
    ("pids.max", "pids.max"),
];

fn set_in_all() -> Container {
    let c = Bundle::sleeper()
        .edit(|c| {
            let resources = &mut c["linux"]["resources"];
            resources["memory"] = json!({"limit": 64 << 20, "reservation": 32 << 20});
            resources["cpu"] =
                json!({"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"});
            resources["pids"] = json!({"limit": 77});
        })
        .container();
    c.create().ok();
    c
}

#[test]
fn r381_a_0_of_a_document_changes_nothing() {
    let zeros = json!({
        "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0,
                "cpus": "", "mems": ""},
        "blockIO": {"weight": 0, "leafWeight": 0},
        "pids": {"limit": 0},
    });
    let c = set_in_all();
    let files = || FILES.map(|(v1, v2)| c.cgroup_value(v1, v2));
    let before = files();
    deviates!("crun", "a 0 is written");
    c.call(["update", "--resources=-", &c.id]).stdin(zeros.to_string()).run().ok();
    assert_eq!(files(), before);
    let mut one = zeros;
    one["memory"]["reservation"] = json!(16 << 20);
    c.call(["update", "-r", "-", &c.id]).stdin(one.to_string()).run().ok();
    assert_eq!(c.cgroup_value("memory.soft_limit_in_bytes", "memory.low"), "16777216");
    assert_eq!(files()[0], before[0]);
    assert_eq!(files()[2..], before[2..]);
}

/// What a person names by an option of its own.
#[test]
fn r385_r390_a_0_of_an_option_is_one_where_that_is_a_limit() {
    deviates!(["runc", "crun"], "R390: 0 changes nothing, or has no limit");
    needs!(!by_systemd(), "the cgroupfs driver: systemd takes no 0, and writes a 1");
    let c = set_in_all();
    c.call(["update", "--pids-limit", "0", &c.id]).run().ok();
    assert_eq!(c.cgroup_value("pids.max", "pids.max"), "0");
    let before = FILES.map(|(v1, v2)| c.cgroup_value(v1, v2));
    let zeros = [
        "--memory=0",
        "--memory-reservation=0",
        "--memory-swap=0",
        "--cpu-share=0",
        "--cpu-quota=0",
    ];
    c.call(["update"]).args(zeros).args(["--cpu-period=0", "--cpu-rt-runtime=0", &c.id]).run().ok();
    assert_eq!(FILES.map(|(v1, v2)| c.cgroup_value(v1, v2)), before);
}
