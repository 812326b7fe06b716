//! The document of `features`, by what becomes of a container that has what it says; and Intel RDT
//! on a directory of plain files, as no machine of the tests has it.

use crate::harness::{Bundle, Call, Container, Output, Value, deviates, json, needs, runtime};
use std::fs;
use std::path::{Path, PathBuf};

fn linux() -> Value {
    let out = Call::new(&runtime().path).args(["features"]).run();
    let document: Value = serde_json::from_str(out.ok()).unwrap();
    document["linux"].clone()
}

fn sorted(names: impl IntoIterator<Item = &'static str>) -> Vec<String> {
    let mut all: Vec<_> = names.into_iter().map(str::to_owned).collect();
    all.sort();
    all
}

fn list(part: &Value) -> Vec<String> {
    let names = part.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    let mut all: Vec<_> = names.collect();
    all.sort();
    all
}

/// Enabled is what the runtime knows (features-linux.md): a host without it is told so, with the
/// field. Where the host has it, `apparmor` shows the rest.
#[test]
fn r283_a_security_module_that_is_enabled_is_used_or_missed() {
    deviates!(["runc", "crun"], "R283: ignored where the host has none");
    let features = linux();
    for (module, field, parameters) in [
        ("apparmor", "apparmorProfile", "/sys/module/apparmor/parameters/enabled"),
        ("selinux", "selinuxLabel", "/sys/fs/selinux/enforce"),
    ] {
        assert_eq!(features[module]["enabled"], true, "{module}");
        let is_here = match module {
            "apparmor" => fs::read_to_string(parameters).is_ok_and(|text| text.trim() == "Y"),
            _ => fs::exists(parameters).unwrap(),
        };
        let out = Bundle::new(["true"]).set(&format!("/process/{field}"), json!("no_such")).run();
        out.fails_with(&[&format!("process.{field}")]);
        assert!(is_here || out.stderr.to_lowercase().contains(module), "{out:?}");
        assert!(!out.stderr.contains("not supported yet"), "{out:?}");
    }
}

/// Each mode and flag that is listed is in force, as numa_maps(5) shows it; what is not is refused.
#[test]
fn r284_each_memory_policy_that_is_listed_is_in_force() {
    deviates!(["runc", "crun"], "R284: newer than these");
    needs!(Path::new("/proc/self/numa_maps").exists(), "NUMA");
    let policy = linux()["memoryPolicy"].clone();
    let shown = |policy: Value| {
        let out =
            Bundle::new(["cat", "/proc/self/numa_maps"]).set("/linux/memoryPolicy", policy).run();
        out.ok().lines().next().unwrap().to_owned()
    };
    let modes = [
        ("MPOL_DEFAULT", " default"),
        ("MPOL_BIND", " bind:0"),
        ("MPOL_INTERLEAVE", " interleave:0"),
        ("MPOL_WEIGHTED_INTERLEAVE", " weighted interleave:0"),
        ("MPOL_PREFERRED", " prefer:0"),
        ("MPOL_PREFERRED_MANY", " prefer (many):0"),
        ("MPOL_LOCAL", " local"),
    ];
    assert_eq!(list(&policy["modes"]), sorted(modes.map(|(name, _)| name)));
    for (mode, words) in modes {
        let without = ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode);
        let line = shown(if without {
            json!({"mode": mode})
        } else {
            json!({"mode": mode, "nodes": "0"})
        });
        assert!(line.contains(words), "{mode}: {line}");
    }
    let flags = [
        ("MPOL_F_NUMA_BALANCING", "balancing"),
        ("MPOL_F_RELATIVE_NODES", "relative"),
        ("MPOL_F_STATIC_NODES", "static"),
    ];
    assert_eq!(list(&policy["flags"]), sorted(flags.map(|(name, _)| name)));
    for (flag, word) in flags {
        let line = shown(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}));
        assert!(line.contains("bind=") && line.contains(word), "{flag}: {line}");
    }
    for other in [
        json!({"mode": "MPOL_OTHER", "nodes": "0"}),
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_OTHER"]}),
    ] {
        let c = Bundle::sleeper().set("/linux/memoryPolicy", other).container();
        c.create().fails_with(&["linux.memoryPolicy"]);
    }
}

/// Names that the document lists are taken, and others are not: actions, operators and flags of
/// filters, and kinds of namespaces.
#[test]
fn r276_r280_r281_r282_what_is_listed_is_taken() {
    deviates!(["runc", "crun"], "R282: no such lists in these");
    let features = linux();
    let runs =
        |seccomp: Value| Bundle::new(["true"]).set("/linux/seccomp", seccomp).run().code == 0;
    let with_flag = |flag: &str| {
        runs(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag],
            "syscalls": [{"names": ["swapoff"], "action": "SCMP_ACT_ERRNO"}]}))
    };
    for flag in list(&features["seccomp"]["supportedFlags"]) {
        // The last one is for listeners only (R232).
        assert!(with_flag(&flag) || flag.ends_with("WAIT_KILLABLE_RECV"), "{flag}");
    }
    let known = list(&features["seccomp"]["knownFlags"]);
    assert!(
        !known.iter().any(|flag| flag.ends_with("OTHER"))
            && !with_flag("SECCOMP_FILTER_FLAG_OTHER")
    );
    let with_operator = |operator: &str| {
        runs(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["swapoff"],
            "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": operator}]}]}))
    };
    for operator in list(&features["seccomp"]["operators"]) {
        assert!(with_operator(&operator), "{operator}");
    }
    assert!(!with_operator("SCMP_CMP_OTHER"));
    for action in list(&features["seccomp"]["actions"]) {
        if action != "SCMP_ACT_NOTIFY" {
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["swapoff"], "action": action}]});
            assert!(runs(profile), "{action}");
        }
    }
    for arch in list(&features["seccomp"]["archs"]) {
        let archs = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", arch]);
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs,
            "syscalls": [{"names": ["swapoff"], "action": "SCMP_ACT_ERRNO"}]});
        assert!(runs(profile), "{arch}");
    }
    for kind in list(&features["namespaces"]) {
        let bundle = match kind.as_str() {
            "user" => Bundle::new(["true"]).user_namespace(),
            kind => Bundle::new(["true"]).namespace(kind, None),
        };
        bundle.run().ok();
    }
    Bundle::new(["true"]).namespace("other", None).run().fails();
}

/// A resctrl of plain files: the runtime's table of mounts has one line more, and the mount of
/// that type is the directory. What the kernel would make in a new class, nobody makes.
struct Resctrl {
    c: Container,
    root: PathBuf,
}

impl Resctrl {
    fn new(rdt: Value) -> Self {
        let c = Bundle::sleeper().set("/linux/intelRdt", rdt).container();
        let root = c.bundle.dir().join("resctrl");
        for dir in [root.clone(), root.join("shared")] {
            fs::create_dir(&dir).unwrap();
            fs::create_dir(dir.join("mon_groups")).unwrap();
            fs::write(dir.join("schemata"), "    MB:0=100;1=100\n    L3:0=fff;1=fff\n").unwrap();
            fs::write(dir.join("tasks"), "").unwrap();
        }
        Self { c, root }
    }

    fn call(&self, args: &[&str]) -> Output {
        let script = "{ cat /proc/self/mountinfo && \
            echo \"9999 1 0:9999 / $0 rw - resctrl resctrl rw\"; } > \"$0/../table\" && \
            mount --bind \"$0/../table\" /proc/$$/mountinfo || exit 99; exec \"$@\"";
        Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
            .args([self.root.as_os_str(), runtime().path.as_os_str()])
            .args(self.c.global())
            .args(args)
            .output_to(self.c.log("stdout"), self.c.log("stderr"))
            .run()
    }

    fn create(&self) -> Output {
        self.call(&["create", "--bundle", self.c.bundle.path().to_str().unwrap(), &self.c.id])
    }

    fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.root.join(path);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn own(&self, file: &str) -> PathBuf {
        Path::new(&self.c.id).join(file)
    }

    fn init(&self) -> String {
        self.c.pid().as_raw_pid().to_string()
    }

    /// The kernel's files do not keep a directory from being removed.
    fn delete(&self, files: &[PathBuf]) {
        for file in files {
            fs::remove_file(self.root.join(file)).unwrap();
        }
        self.call(&["delete", "--force", &self.c.id]).ok();
    }
}

#[test]
fn r211_r213_r216_r218_r285_r286_r391_a_class_of_its_own_goes_with_the_container() {
    deviates!(["runc", "crun"], "R211: they look for more of a resctrl");
    let features = linux()["intelRdt"].clone();
    assert!(features["enabled"] == true && features["schemata"] == true, "{features}");
    let rdt = Resctrl::new(json!({"l3CacheSchema": "L3:0=7f;1=7f", "memBwSchema": "MB:0=20;1=70",
        "schemata": ["L2:0=ff"]}));
    let out = rdt.create();
    needs!(out.code != 99, "mounts upon files of procfs");
    out.ok();
    assert_eq!(rdt.read(rdt.own("schemata")), "L3:0=7f;1=7f\nMB:0=20;1=70\nL2:0=ff\n");
    assert_eq!(rdt.read(rdt.own("tasks")).trim(), rdt.init());
    rdt.call(&["update", "--l3-cache-schema", "L3:0=3;1=3", &rdt.c.id]).ok();
    assert!(rdt.read(rdt.own("schemata")).ends_with("L2:0=ff\nL3:0=3;1=3\n"));
    rdt.delete(&[rdt.own("schemata"), rdt.own("tasks")]);
    assert!(!rdt.root.join(&rdt.c.id).exists());
    assert!(rdt.root.join("shared/tasks").exists());
}

#[test]
fn r211_r214_r217_r218_r286_a_class_that_is_shared_stays() {
    deviates!(["runc", "crun"], "R217: newer than these");
    assert_eq!(linux()["intelRdt"]["monitoring"], true);
    let rdt = Resctrl::new(json!({"closID": "shared", "schemata": ["L3:0=fff;1=fff"],
        "enableMonitoring": true}));
    let out = rdt.create();
    needs!(out.code != 99, "mounts upon files of procfs");
    out.ok();
    let monitor = Path::new("shared/mon_groups").join(&rdt.c.id);
    for file in [Path::new("shared/tasks"), &monitor.join("tasks")] {
        assert_eq!(rdt.read(file).trim(), rdt.init(), "{}", file.display());
    }
    assert!(rdt.read("shared/schemata").contains("L3:0=fff"));
    rdt.delete(&[monitor.join("tasks")]);
    assert!(!rdt.root.join(monitor).exists());
    assert!(rdt.root.join("shared/schemata").exists());
}

#[test]
fn r211_the_root_class_is_joined() {
    deviates!(["runc", "crun"], "R211: they look for more of a resctrl");
    let rdt = Resctrl::new(json!({"closID": "/"}));
    let out = rdt.create();
    needs!(out.code != 99, "mounts upon files of procfs");
    out.ok();
    assert_eq!(rdt.read("tasks").trim(), rdt.init());
    rdt.delete(&[]);
    assert!(rdt.root.join("tasks").exists());
}

#[test]
fn r214_r215_r306_a_class_that_does_not_fit_is_an_error_and_has_no_new_process() {
    deviates!(["runc", "crun"], "R214: written over");
    for (rdt, words) in [
        (json!({"closID": "shared", "l3CacheSchema": "L3:0=1"}), "linux.intelRdt.l3CacheSchema"),
        (json!({"closID": "shared", "schemata": ["MB:0=50"]}), "linux.intelRdt.schemata[0]"),
        (json!({"closID": "missing"}), "linux.intelRdt.closID"),
    ] {
        let rdt = Resctrl::new(rdt);
        let before = rdt.read("shared/schemata");
        let out = rdt.create();
        needs!(out.code != 99, "mounts upon files of procfs");
        out.fails_with(&[words]);
        assert_eq!(
            (rdt.read("shared/tasks"), rdt.read("shared/schemata")),
            (String::new(), before)
        );
        assert!(!rdt.root.join("missing").exists() && !rdt.c.root().join(&rdt.c.id).exists());
    }
}
