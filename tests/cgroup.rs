//! `linux.resources` -> the list of writes, for both versions of cgroups, and
//! the meaning of device rules, run on an interpreter of the program.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use pinnace::cgroup::{self, Home, When, Write, policy, program};
use pinnace::error::Error;
use pinnace::plan::Findings;
use pinnace::spec::{DeviceRule, Resources};
use pinnace::sys::bpf::Insn;

/// The writes, or all that is wrong in one line.
fn writes(
    resources: &Resources,
    home: impl Fn(&str) -> Home,
    when: When,
) -> Result<Vec<Write>, Error> {
    let mut findings = Findings::default();
    let writes = cgroup::writes(resources, &home, when, &mut findings);
    findings.check(writes)
}

fn rules(list: &[DeviceRule]) -> Result<Vec<cgroup::Rule>, Error> {
    let mut findings = Findings::default();
    let rules = cgroup::rules(list, &mut findings);
    findings.check(rules)
}

fn told(json: &str, home: Home, when: When) -> String {
    let resources: Resources = serde_json::from_str(json).expect(json);
    match writes(&resources, |_| home, when) {
        Ok(list) => {
            let list = list.iter().map(ToString::to_string);
            list.filter(|line| !line.starts_with("device")).collect::<Vec<_>>().join("; ")
        }
        Err(error) => format!("error: {error}"),
    }
}

/// Resources, what v1 is told, what v2 is told.
const TABLE: &[(&str, &str, &str)] = &[
    ("{}", "", ""),
    (r#"{"memory":{"limit":1048576}}"#, "memory.limit_in_bytes = 1048576", "memory.max = 1048576"),
    (
        // what Docker and the kubelet send for "no swap"
        r#"{"memory":{"limit":1048576,"swap":1048576}}"#,
        "memory.limit_in_bytes = 1048576 & memory.memsw.limit_in_bytes = 1048576",
        "memory.swap.max? = 0; memory.max = 1048576",
    ),
    (
        r#"{"memory":{"limit":1048576,"swap":3145728,"reservation":524288}}"#,
        "memory.limit_in_bytes = 1048576 & memory.memsw.limit_in_bytes = 3145728; \
         memory.soft_limit_in_bytes = 524288",
        "memory.swap.max = 2097152; memory.max = 1048576; memory.low = 524288",
    ),
    (
        r#"{"memory":{"limit":1048576,"swap":-1}}"#,
        "memory.limit_in_bytes = 1048576 & memory.memsw.limit_in_bytes? = -1",
        "memory.swap.max? = max; memory.max = 1048576",
    ),
    (
        r#"{"memory":{"limit":-1,"reservation":-1}}"#,
        "memory.limit_in_bytes = -1 & memory.memsw.limit_in_bytes? = -1; memory.soft_limit_in_bytes = -1",
        "memory.swap.max? = max; memory.max = max; memory.low = max",
    ),
    (r#"{"memory":{"limit":4096,"swap":0}}"#, "memory.limit_in_bytes = 4096", "memory.max = 4096"),
    (
        r#"{"memory":{"limit":4096,"swap":4095}}"#,
        "error: linux.resources.memory.swap: 4095 is memory and swap, so no less than memory.limit, 4096",
        "error: linux.resources.memory.swap: 4095 is memory and swap, so no less than memory.limit, 4096",
    ),
    (
        r#"{"memory":{"swap":4096}}"#,
        "error: linux.resources.memory.swap: needs memory.limit beside it",
        "error: linux.resources.memory.swap: is memory and swap, so it needs memory.limit beside it",
    ),
    (
        r#"{"memory":{"limit":-2}}"#,
        "error: linux.resources.memory.limit: -2 is neither a size nor -1",
        "error: linux.resources.memory.limit: -2 is neither a size nor -1",
    ),
    (
        r#"{"memory":{"kernel":-1,"kernelTCP":-1,"disableOOMKiller":false,"useHierarchy":true}}"#,
        "memory.use_hierarchy = 1; memory.kmem.limit_in_bytes? = -1; \
         memory.kmem.tcp.limit_in_bytes? = -1; memory.oom_control = 0",
        "",
    ),
    (
        r#"{"memory":{"kernel":4096}}"#,
        "memory.kmem.limit_in_bytes = 4096",
        "error: linux.resources.memory.kernel: cgroup v2 has nothing like it",
    ),
    (
        r#"{"memory":{"kernelTCP":4096}}"#,
        "memory.kmem.tcp.limit_in_bytes = 4096",
        "error: linux.resources.memory.kernelTCP: cgroup v2 has nothing like it",
    ),
    (
        r#"{"memory":{"swappiness":0}}"#,
        "memory.swappiness = 0",
        "error: linux.resources.memory.swappiness: cgroup v2 has nothing like it",
    ),
    (
        r#"{"memory":{"swappiness":101}}"#,
        "error: linux.resources.memory.swappiness: 101 is above 100",
        "error: 2 problems: linux.resources.memory.swappiness: 101 is above 100; \
         linux.resources.memory.swappiness: cgroup v2 has nothing like it",
    ),
    (
        r#"{"memory":{"disableOOMKiller":true}}"#,
        "memory.oom_control = 1",
        "error: linux.resources.memory.disableOOMKiller: cgroup v2 has nothing like it",
    ),
    (
        r#"{"memory":{"useHierarchy":false}}"#,
        "memory.use_hierarchy = 0",
        "error: linux.resources.memory.useHierarchy: cgroup v2 has nothing like it",
    ),
    (
        r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#,
        "memory.limit_in_bytes = 4096",
        "memory.current <= 4096; memory.max = 4096",
    ),
    (r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}}"#, "", ""),
    (r#"{"cpu":{"shares":1024}}"#, "cpu.shares = 1024", "cpu.weight = 100"),
    (
        r#"{"cpu":{"shares":1}}"#,
        "error: linux.resources.cpu.shares: 1 is not from 2 to 262144",
        "cpu.weight = 1",
    ),
    (
        r#"{"cpu":{"quota":50000,"period":100000}}"#,
        "cpu.cfs_period_us = 100000 & cpu.cfs_quota_us = 50000",
        "cpu.max = 50000 100000",
    ),
    (r#"{"cpu":{"quota":-1}}"#, "cpu.cfs_quota_us = -1", "cpu.max = max"),
    (r#"{"cpu":{"period":50000}}"#, "cpu.cfs_period_us = 50000", "cpu.max = max 50000"),
    (
        r#"{"cpu":{"quota":50000,"burst":20000}}"#,
        "cpu.cfs_quota_us = 50000 & cpu.cfs_burst_us = 20000",
        "cpu.max = 50000 & cpu.max.burst = 20000",
    ),
    (
        r#"{"cpu":{"quota":50000,"burst":50001}}"#,
        "error: linux.resources.cpu.burst: 50001 is more than cpu.quota, 50000",
        "error: linux.resources.cpu.burst: 50001 is more than cpu.quota, 50000",
    ),
    (
        r#"{"cpu":{"realtimeRuntime":95000,"realtimePeriod":100000}}"#,
        "cpu.rt_period_us = 100000 & cpu.rt_runtime_us = 95000",
        "error: 2 problems: linux.resources.cpu.realtimeRuntime: cgroup v2 has nothing like it; \
         linux.resources.cpu.realtimePeriod: cgroup v2 has nothing like it",
    ),
    (
        r#"{"cpu":{"realtimePeriod":100000}}"#,
        "cpu.rt_period_us = 100000",
        "error: linux.resources.cpu.realtimePeriod: cgroup v2 has nothing like it",
    ),
    (r#"{"cpu":{"idle":1,"shares":512}}"#, "cpu.idle = 1", "cpu.idle = 1"),
    (
        r#"{"cpu":{"idle":0,"shares":512}}"#,
        "cpu.idle? = 0; cpu.shares = 512",
        "cpu.idle? = 0; cpu.weight = 59",
    ),
    (
        r#"{"cpu":{"idle":2}}"#,
        "error: linux.resources.cpu.idle: 2 is neither 0 nor 1",
        "error: linux.resources.cpu.idle: 2 is neither 0 nor 1",
    ),
    (
        r#"{"cpu":{"cpus":"0-3,7","mems":"0"}}"#,
        "cpuset.cpus = 0-3,7; cpuset.mems = 0",
        "cpuset.cpus = 0-3,7; cpuset.mems = 0",
    ),
    (
        r#"{"cpu":{"cpus":"all"}}"#,
        r#"error: linux.resources.cpu.cpus: "all" is no list such as 0-3,7"#,
        r#"error: linux.resources.cpu.cpus: "all" is no list such as 0-3,7"#,
    ),
    (r#"{"pids":{"limit":-1}}"#, "pids.max = max", "pids.max = max"),
    (r#"{"pids":{"limit":0}}"#, "pids.max = 0", "pids.max = 0"),
    (r#"{"pids":{"limit":32771}}"#, "pids.max = 32771", "pids.max = 32771"),
    (
        r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":1000}]}}"#,
        "blkio.bfq.weight = 500 | blkio.weight = 500; \
         blkio.bfq.weight_device = 8:0 1000 | blkio.weight_device = 8:0 1000",
        "io.bfq.weight = 500 | io.weight = 4950; io.bfq.weight = 8:0 1000 | io.weight = 8:0 10000",
    ),
    (
        r#"{"blockIO":{"weight":9}}"#,
        "error: linux.resources.blockIO.weight: 9 is not from 10 to 1000",
        "error: linux.resources.blockIO.weight: 9 is not from 10 to 1000",
    ),
    (
        r#"{"blockIO":{"leafWeight":500}}"#,
        "blkio.leaf_weight = 500",
        "error: linux.resources.blockIO.leafWeight: cgroup v2 has nothing like it",
    ),
    (
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":300}]}}"#,
        "blkio.leaf_weight_device = 8:0 300",
        "error: linux.resources.blockIO.weightDevice[0].leafWeight: cgroup v2 has nothing like it",
    ),
    (
        r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}"#,
        "error: linux.resources.blockIO.weightDevice[0]: needs weight or leafWeight",
        "error: linux.resources.blockIO.weightDevice[0]: needs weight or leafWeight",
    ),
    (
        r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0},{"major":8,"minor":16,"rate":300}]}}"#,
        "blkio.throttle.read_bps_device = 8:0 600; blkio.throttle.write_iops_device = 8:0 0; \
         blkio.throttle.write_iops_device = 8:16 300",
        "io.max = 8:0 rbps=600 wiops=max; io.max = 8:16 wiops=300",
    ),
    (
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":9223372036854771712}]}"#,
        "hugetlb.2MB.limit_in_bytes = 9223372036854771712; \
         hugetlb.2MB.rsvd.limit_in_bytes? = 9223372036854771712",
        "hugetlb.2MB.max = 9223372036854771712; hugetlb.2MB.rsvd.max? = 9223372036854771712",
    ),
    (
        r#"{"hugepageLimits":[{"pageSize":"../2MB","limit":1}]}"#,
        r#"error: linux.resources.hugepageLimits[0].pageSize: "../2MB" is no size such as 2MB"#,
        r#"error: linux.resources.hugepageLimits[0].pageSize: "../2MB" is no size such as 2MB"#,
    ),
    (
        r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500},{"name":"eth1","priority":1000}]}}"#,
        "net_cls.classid = 1048577; net_prio.ifpriomap = eth0 500; net_prio.ifpriomap = eth1 1000",
        "error: 2 problems: linux.resources.network.classID: cgroup v2 has nothing like it; \
         linux.resources.network.priorities: cgroup v2 has nothing like it",
    ),
    (r#"{"network":{}}"#, "", ""),
    (
        r#"{"network":{"priorities":[{"name":"eth0","priority":1}]}}"#,
        "net_prio.ifpriomap = eth0 1",
        "error: linux.resources.network.priorities: cgroup v2 has nothing like it",
    ),
    (
        r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"rxe3":{"hcaObjects":0}}}"#,
        "rdma.max = mlx5_1 hca_handle=3 hca_object=10000; rdma.max = rxe3 hca_object=0",
        "rdma.max = mlx5_1 hca_handle=3 hca_object=10000; rdma.max = rxe3 hca_object=0",
    ),
    (
        r#"{"rdma":{"mlx5_1":{}}}"#,
        "error: linux.resources.rdma.mlx5_1: needs hcaHandles or hcaObjects",
        "error: linux.resources.rdma.mlx5_1: needs hcaHandles or hcaObjects",
    ),
    (
        r#"{"unified":{"io.max":"259:0 rbps=1\n253:0 rbps=2","memory.high":"max","made.up":""}}"#,
        "error: linux.resources.unified[\"io.max\"]: needs cgroup v2, and this host runs cgroup v1",
        "io.max = 259:0 rbps=1; io.max = 253:0 rbps=2; made.up = ; memory.high = max",
    ),
    (
        r#"{"unified":{"../x":"1"}}"#,
        "error: linux.resources.unified[\"../x\"]: needs cgroup v2, and this host runs cgroup v1",
        "error: linux.resources.unified[\"../x\"]: must be the name of a file, without slashes",
    ),
    (
        r#"{"unified":{"..":"1"}}"#,
        "error: linux.resources.unified[\"..\"]: needs cgroup v2, and this host runs cgroup v1",
        "error: linux.resources.unified[\"..\"]: must be the name of a file, without slashes",
    ),
];

#[test]
fn r206_resources_of_a_new_container() {
    for (json, v1, v2) in TABLE {
        assert_eq!(told(json, Home::V1, When::Create), *v1, "v1 {json}");
        assert_eq!(told(json, Home::V2, When::Create), *v2, "v2 {json}");
    }
}

#[test]
fn an_update_keeps_what_it_does_not_name() {
    let period = r#"{"cpu":{"period":50000}}"#;
    assert_eq!(told(period, Home::V2, When::Update), "cpu.max = (kept) 50000");
    let resources: Resources = serde_json::from_str(r#"{"pids":{"limit":1}}"#).unwrap();
    assert_eq!(writes(&resources, |_| Home::V1, When::Update).unwrap().len(), 1, "no devices");
    assert_eq!(writes(&resources, |_| Home::V1, When::Create).unwrap().len(), 2, "and devices");
}

#[test]
fn a_controller_that_the_host_lacks() {
    for (json, field) in [
        (r#"{"memory":{"limit":1}}"#, "memory: this host has no cgroup controller memory"),
        (r#"{"cpu":{"cpus":"0"}}"#, "cpu.cpus: this host has no cgroup controller cpuset"),
        (r#"{"pids":{"limit":1}}"#, "pids.limit: this host has no cgroup controller pids"),
        (
            r#"{"network":{"classID":1}}"#,
            "network.classID: this host has no cgroup controller net_cls",
        ),
    ] {
        let told = told(json, Home::NotSupported, When::Update);
        assert!(told.starts_with(&format!("error: linux.resources.{field} (")), "{told}");
        let told = self::told(json, Home::Denied, When::Update);
        let wanted = "could not get a cgroup for this limit (its caller may not make cgroups;";
        assert!(told.contains(wanted) && !told.contains("host"), "{told}");
    }
}

#[test]
fn a_hybrid_host_is_told_in_both_tongues() {
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}],"pids":{"limit":5},"cpu":{"shares":2}}"#;
    let resources: Resources = serde_json::from_str(json).unwrap();
    let home = |controller: &str| if controller == "hugetlb" { Home::V2 } else { Home::V1 };
    let list = writes(&resources, home, When::Update).unwrap();
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(
        list,
        ["cpu.shares = 2", "pids.max = 5", "hugetlb.2MB.max = 0", "hugetlb.2MB.rsvd.max? = 0"]
    );
}

#[test]
fn shares_become_weights() {
    for (shares, weight) in [
        (0, 0),
        (1, 1),
        (2, 1),
        (102, 17),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (262_144, 10_000),
        (300_000, 10_000),
    ] {
        let json = format!(r#"{{"cpu":{{"shares":{shares}}}}}"#);
        let want = if shares == 0 { String::new() } else { format!("cpu.weight = {weight}") };
        assert_eq!(told(&json, Home::V2, When::Create), want);
    }
}

// --- devices ---------------------------------------------------------------

const R: u32 = 2;
const W: u32 = 4;
const M: u32 = 1;
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// Runs a device program as the kernel would.
fn run(code: &[Insn], kind: u32, major: u32, minor: u32, access: u32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0_u32; 11];
    let mut at = 0_usize;
    loop {
        let Insn { code: op, registers: pair, offset, constant } = code[at];
        let (to, from) = ((pair & 15) as usize, (pair >> 4) as usize);
        let constant = constant.cast_unsigned();
        at += 1;
        let jump = match op {
            0x61 => {
                registers[to] = context[offset as usize / 4];
                false
            }
            0x74 => {
                registers[to] >>= constant;
                false
            }
            0x54 => {
                registers[to] &= constant;
                false
            }
            0xb4 => {
                registers[to] = constant;
                false
            }
            0xbc => {
                registers[to] = registers[from];
                false
            }
            0x56 => registers[to] != constant,
            0x16 => registers[to] == constant,
            0x95 => return registers[0] == 1,
            other => panic!("no such code {other:#x}"),
        };
        if jump {
            at = at.checked_add_signed(offset as isize).unwrap();
        }
    }
}

fn list(json: &str) -> Vec<DeviceRule> {
    serde_json::from_str(json).unwrap()
}

fn v1(json: &str) -> String {
    match rules(&list(json)).and_then(|rules| policy(&rules)) {
        Ok(policy) => policy.to_string(),
        Err(error) => format!("error: {error}"),
    }
}

fn v2(json: &str) -> Vec<Insn> {
    program(&rules(&list(json)).unwrap())
}

const DENY_ALL: &str = r#"{"allow":false,"access":"rwm"}"#;

#[test]
fn defaults_are_in_every_list_and_a_blanket_rule_begins_anew() {
    let defaults = "c *:* m, b *:* m, c 1:3 rwm, c 1:5 rwm, c 1:7 rwm, c 1:8 rwm, c 1:9 rwm, \
                    c 5:0 rwm, c 5:1 rwm, c 5:2 rwm, c 136:* rwm";
    assert_eq!(v1("[]"), format!("deny all but {defaults}"));
    assert_eq!(v1(&format!("[{DENY_ALL}]")), format!("deny all but {defaults}"));
    let fuse = r#"{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}"#;
    assert_eq!(
        v1(&format!("[{DENY_ALL},{fuse}]")),
        format!("deny all but c 10:229 rw, {defaults}")
    );
    // What stood before a blanket rule is void.
    assert_eq!(v1(&format!("[{fuse},{DENY_ALL}]")), format!("deny all but {defaults}"));
    assert_eq!(v1(r#"[{"allow":true,"access":"rwm"}]"#), "allow all but");

    for code in [v2("[]"), v2(&format!("[{fuse},{DENY_ALL}]"))] {
        assert!(run(&code, CHAR, 1, 3, R | W));
        assert!(run(&code, BLOCK, 8, 0, M) && !run(&code, BLOCK, 8, 0, M | R));
        assert!(!run(&code, CHAR, 10, 229, R) && !run(&code, CHAR, 10, 200, R));
        assert!(run(&code, CHAR, 136, 77, R | W | M));
    }
    assert!(run(&v2(&format!("[{DENY_ALL},{fuse}]")), CHAR, 10, 229, R | W));
    assert!(run(&v2(r#"[{"allow":true}]"#), BLOCK, 8, 0, R | W | M));
}

/// As under runc: what is denied is the use of a device, not the making of its node.
#[test]
fn no_rule_takes_the_defaults_away() {
    for denied in [
        r#""type":"c","major":10,"minor":229,"access":"rwm""#,
        r#""type":"c","major":1,"minor":9,"access":"rw""#,
        r#""type":"c","major":1,"minor":9"#,
        r#""type":"c","major":136,"minor":5"#,
        r#""type":"c","major":10"#,
        r#""type":"c","access":"m""#,
        r#""type":"b""#,
        r#""major":5"#,
    ] {
        let json = format!("[{DENY_ALL},{{\"allow\":false,{denied}}}]");
        assert_eq!(v1(&json), v1("[]"), "{json}");
        let code = v2(&json);
        for (minor, access) in [(3, R | W), (9, R), (9, M)] {
            assert!(run(&code, CHAR, 1, minor, access), "{json}");
        }
        assert!(run(&code, CHAR, 136, 5, R | W), "{json}");
        assert!(run(&code, CHAR, 10, 229, M) && run(&code, CHAR, 10, 200, M), "{json}");
        assert!(!run(&code, CHAR, 10, 229, R) && !run(&code, CHAR, 10, 229, R | M), "{json}");
        assert!(run(&code, BLOCK, 8, 0, M) && !run(&code, BLOCK, 8, 0, W), "{json}");
    }
    // Docker allows its own devices first.
    let kmsg = r#"{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}"#;
    let fuse = r#"{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}"#;
    let json = format!("[{DENY_ALL},{kmsg},{fuse}]");
    assert!(v1(&json).starts_with("deny all but c 1:11 r, c *:* m, "), "{}", v1(&json));
    let code = v2(&json);
    assert!(run(&code, CHAR, 1, 11, R | M) && !run(&code, CHAR, 1, 11, W));
}

#[test]
fn the_defaults_come_after_a_list_that_allows_all() {
    let fuse = r#"{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}"#;
    let json = format!(r#"[{{"allow":true}},{fuse}]"#);
    assert_eq!(v1(&json), "allow all but c 10:229 rw");
    let code = v2(&json);
    assert!(run(&code, CHAR, 10, 229, M) && !run(&code, CHAR, 10, 229, R));
    assert!(run(&code, BLOCK, 8, 0, R | W | M));
    // v1 has no words for all of a major number but one: the denial stands.
    assert_eq!(
        v1(r#"[{"allow":true},{"allow":false,"type":"c","major":1}]"#),
        "allow all but c 1:* rw"
    );
    let code = v2(r#"[{"allow":true},{"allow":false,"type":"c","major":1}]"#);
    assert!(run(&code, CHAR, 1, 3, R | W) && !run(&code, CHAR, 1, 1, R));
}

#[test]
fn order_is_kept_or_v1_refuses() {
    let wide = r#"{"allow":true,"type":"b","major":8,"access":"rw"}"#;
    let hole = r#"{"allow":false,"type":"b","major":8,"minor":1,"access":"w"}"#;
    let code = v2(&format!("[{DENY_ALL},{wide},{hole}]"));
    assert!(run(&code, BLOCK, 8, 0, R | W) && run(&code, BLOCK, 8, 1, R));
    assert!(!run(&code, BLOCK, 8, 1, W) && !run(&code, BLOCK, 8, 1, R | W));
    assert!(run(&v2(&format!("[{DENY_ALL},{hole},{wide}]")), BLOCK, 8, 1, R | W));
    assert_eq!(
        v1(&format!("[{DENY_ALL},{wide},{hole}]")),
        "error: linux.resources.devices[2]: cgroup v1 cannot deny \"b 8:1 w\" out of the wider \
         \"b 8:* rw\" before it (name the devices one by one, or use cgroup v2)"
    );
    assert!(v1(&format!("[{DENY_ALL},{hole},{wide}]")).contains(" b 8:* rw, "));

    // An access may be allowed by several rules together.
    let two = format!(
        r#"[{DENY_ALL},{{"allow":true,"type":"b","major":8,"minor":0,"access":"r"}},
            {{"allow":true,"type":"b","major":8,"access":"w"}}]"#
    );
    assert!(run(&v2(&two), BLOCK, 8, 0, R | W) && !run(&v2(&two), BLOCK, 8, 1, R | W));
    assert!(v1(&two).contains("b 8:0 rw, b 8:* w"), "{}", v1(&two));
}

#[test]
fn what_is_said_twice_costs_nothing() {
    let docker = format!(
        r#"[{DENY_ALL},{{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}},
            {{"allow":true,"type":"c","major":5,"minor":2,"access":"rw"}}]"#
    );
    assert_eq!(v2(&docker).len(), v2("[]").len());
    // But a denial in between makes the second one count.
    let again = r#"{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}"#;
    let json = format!(r#"[{DENY_ALL},{{"allow":false,"type":"c","major":1}},{again}]"#);
    let code = v2(&json);
    assert!(run(&code, CHAR, 1, 3, R | W) && !run(&code, CHAR, 1, 1, R));
    let again = r#"{"allow":true,"type":"c","major":10,"minor":3,"access":"rw"}"#;
    let json = format!(r#"[{DENY_ALL},{again},{{"allow":false,"type":"c","major":10}},{again}]"#);
    let code = v2(&json);
    assert!(run(&code, CHAR, 10, 3, R | W) && !run(&code, CHAR, 10, 5, R));
}

#[test]
fn all_kinds_with_a_number_are_not_all_devices() {
    // v1's "a 10:229 rw" would allow everything.
    let json = format!(r#"[{DENY_ALL},{{"allow":true,"major":10,"minor":229,"access":"rw"}}]"#);
    assert!(v1(&json).contains(" c 10:229 rw, b 10:229 rw, "), "{}", v1(&json));
    let code = v2(&json);
    assert!(
        run(&code, CHAR, 10, 229, R)
            && run(&code, BLOCK, 10, 229, W)
            && !run(&code, CHAR, 10, 228, R)
    );
    let json = r#"[{"allow":true},{"allow":false,"type":"b","access":"w"}]"#;
    assert_eq!(v1(json), "allow all but b *:* w");
    assert!(
        run(&v2(json), BLOCK, 8, 0, R)
            && !run(&v2(json), BLOCK, 8, 0, R | W)
            && run(&v2(json), CHAR, 8, 0, W)
    );
}

#[test]
fn wrong_rules_are_named() {
    for (json, error) in [
        (r#"[{"allow":true,"type":"x"}]"#, r#"devices[0].type: "x" is none of a, c and b"#),
        (
            r#"[{"allow":true,"type":"c","major":-2}]"#,
            "devices[0].major: -2 is no number of a device",
        ),
        (r#"[{"allow":true,"access":"x"}]"#, r#"devices[0].access: "x" is not made of r, w and m"#),
    ] {
        assert_eq!(v1(json), format!("error: linux.resources.{error}"));
    }
}
