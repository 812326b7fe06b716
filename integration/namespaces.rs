//! Namespaces: each new, joined by path, or inherited; their combinations; id
//! mappings and clock offsets.

use crate::harness::{Bundle, Call, Container, Output, deviates, is_pinnace, json, needs, runtime};
use crate::security::rootless::{Rootless, rootless};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that holds new namespaces, made by unshare(1).
struct Holder {
    child: Child,
}

impl Holder {
    /// `flags` of unshare(1). Returns when the namespaces are there.
    fn new(flags: &[&str]) -> Self {
        Self::of("/usr/bin/unshare", flags)
    }

    /// As `new`, by another program, which executes unshare(1).
    fn of(program: &str, flags: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(flags)
            .args(["sh", "-c", "echo there; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "there\n", "unshare {flags:?}");
        Self { child }
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.child.id())
    }

    fn link(&self, name: &str) -> String {
        fs::read_link(self.path(name)).unwrap().to_str().unwrap().to_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn of_host(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_str().unwrap().to_owned()
}

/// Runs a container that prints the link of one of its namespaces.
fn link_in(bundle: Bundle, name: &str) -> Output {
    bundle.set("/process/args", json!(["readlink", format!("/proc/self/ns/{name}")])).run()
}

fn shows(output: &Output, link: &str) -> bool {
    output.ok().trim() == link
}

/// One test that the namespace is new, one that it is joined, one that it is
/// inherited: `row kind file holder-flags`.
macro_rules! each_namespace {
    ($($new:ident $join:ident $inherit:ident: $kind:literal $file:literal $flags:expr;)*) => { $(
        #[test]
        fn $new() {
            if $kind == "time" {
                deviates!(["runc", "crun"], "R137: newer than these");
            }
            let out = link_in(base($kind).namespace($kind, None), $file);
            assert!(!shows(&out, &of_host($file)), "{out:?}");
        }

        #[test]
        fn $join() {
            let holder = Holder::new($flags);
            let file = match $kind {
                "pid" => "pid_for_children",
                _ => $file,
            };
            let link = holder.link(file);
            if $kind == "time" {
                deviates!(["runc", "crun"], "R137: newer than these");
            }
            let out = link_in(base($kind).namespace($kind, Some(&holder.path(file))), $file);
            assert!(shows(&out, &link), "{link}: {out:?}");
        }

        #[test]
        fn $inherit() {
            let out = link_in(base($kind).without_namespace($kind), $file);
            assert!(shows(&out, &of_host($file)), "{out:?}");
        }
    )* };
}

each_namespace! {
    r130_new_pid r130_joined_pid r141_inherited_pid: "pid" "pid" &["--pid", "--fork", "--kill-child"];
    r131_new_network r131_joined_network r141_inherited_network: "network" "net" &["--net"];
    r133_new_ipc r133_joined_ipc r141_inherited_ipc: "ipc" "ipc" &["--ipc"];
    r134_new_uts r134_joined_uts r141_inherited_uts: "uts" "uts" &["--uts"];
    r136_new_cgroup r136_joined_cgroup r141_inherited_cgroup: "cgroup" "cgroup" &["--cgroup"];
    r137_new_time r137_joined_time r141_inherited_time: "time" "time" &["--time", "--fork", "--kill-child"];
}

/// A bundle that also works without its namespace of that kind.
fn base(kind: &str) -> Bundle {
    let bundle = Bundle::new(["true"]);
    if kind == "uts" { bundle.unset("", "hostname") } else { bundle }
}

/// In the cage: without one of its own the container would mount for the caller.
#[test]
fn r132_new_mount() {
    let c = Bundle::new(["readlink", "/proc/self/ns/mnt"]).container();
    let out = caged_script(&c, "readlink /proc/self/ns/mnt; $R run -b $B $ID");
    let links: Vec<_> = out.ok().lines().collect();
    assert!(links.len() == 2 && links[0] != links[1], "{out:?}");
}

/// In the cage: whatever is mounted here is mounted for the caller.
#[test]
fn r132_mount_inherited_is_a_chroot() {
    let c = Bundle::sh("ls -d /bin/busybox; ls /usr 2>&1")
        .without_namespace("mount")
        .set("/mounts", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .container();
    let bundle = c.bundle.path();
    let out = c.caged(["run", "-b", bundle.to_str().unwrap(), &c.id]).run();
    deviates!(
        "runc",
        "R132: runc 1.1.5 wants a /proc mount, and leaves the rootfs bound to itself"
    );
    assert!(out.stdout.starts_with("/bin/busybox\n"), "{out:?}");
    assert!(out.stdout.contains("No such file"), "{out:?}");
}

/// Runs a script in the cage with $R, the runtime with `--root`, $B the bundle and $ID.
/// The cage's mounts propagate among themselves, as those of a host with systemd do.
fn caged_script(c: &Container, script: &str) -> Output {
    let bundle = c.bundle.path();
    let begin =
        "mount --make-rshared /\nleft() { cut -d' ' -f5 /proc/self/mountinfo | grep $B || :; }";
    Call::caged("/bin/sh", c.bundle.dir())
        .args(["-c", &format!("{begin}\n{script}")])
        .env("R", &format!("{} {}", runtime().path.display(), c.global().join(" ")))
        .env("B", bundle.to_str().unwrap())
        .env("ID", &c.id)
        .run()
}

/// What is mounted lies upon the root until `delete` (the validation suite, linux_ns_itype).
#[test]
fn r132_mounts_in_an_inherited_mount_namespace() {
    let c = Bundle::sleeper()
        .without_namespace("mount")
        .mount("tmpfs", "tmpfs", "/m", &["mode=0710", "ro"])
        .set("/linux/maskedPaths", json!(["/proc/filesystems"]))
        .container();
    deviates!("runc", "R132: runc 1.1.5 leaves its mounts");
    deviates!("crun", "R132: crun 1.8.1 leaves its mounts");
    let out = caged_script(
        &c,
        "set -e; $R create -b $B $ID >/dev/null; $R start $ID\n\
         pid=$($R state $ID | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p')\n\
         [ $(readlink /proc/$pid/ns/mnt) = $(readlink /proc/self/ns/mnt) ] && echo same\n\
         $R exec $ID stat -c %a /m; $R exec $ID sh -c 'touch /m/x /rootfs-too 2>&1 || ls /usr 2>&1 || :'\n\
         $R exec $ID sh -c 'wc -c < /proc/filesystems; ls /dev/null; readlink /proc/1/exe | wc -l'\n\
         $R delete --force $ID; left",
    );
    let text = out.ok();
    assert!(text.starts_with("same\n710\ntouch: /m/x: Read-only file system\n"), "{out:?}");
    assert!(text.contains("ls: /usr: No such file"), "{out:?}");
    assert!(text.ends_with("\n0\n/dev/null\n1\n"), "masked, populated, nothing left: {out:?}");
}

#[test]
fn r132_a_failed_create_leaves_no_mounts_in_an_inherited_mount_namespace() {
    let c = Bundle::new(["/no/such/program"]).without_namespace("mount").container();
    deviates!("runc", "R132: runc 1.1.5 leaves its mounts");
    deviates!("crun", "R132: crun 1.8.1 leaves its mounts");
    let out = caged_script(&c, "$R create -b $B $ID >/dev/null 2>&1 || echo failed; left");
    assert_eq!(out.ok(), "failed\n");
}

/// Not in the host's root: setns(2) does not lead into a chroot.
#[test]
fn r132_exec_in_an_inherited_mount_namespace() {
    let c = Bundle::sleeper()
        .without_namespace("mount")
        .set("/mounts", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .container();
    deviates!("runc", "R132: runc 1.1.5 wants a /proc mount");
    let out = caged_script(
        &c,
        "$R create -b $B $ID >/dev/null && $R start $ID && $R exec $ID ls -d /bin/busybox /usr\n\
         $R delete --force $ID; left",
    );
    assert_eq!(out.stdout, "/bin/busybox\n", "{out:?}");
    assert!(out.stderr.contains("No such file"), "{out:?}");
}

#[test]
fn r131_r458_lo_is_up_in_a_new_network_namespace() {
    let out = Bundle::new(["cat", "/sys/class/net/lo/flags"]).run();
    assert_eq!(out.ok(), "0x9\n", "IFF_UP | IFF_LOOPBACK");
    let out = Bundle::sh("ping -c 1 127.0.0.1 > /dev/null && echo reached")
        .capability("CAP_NET_RAW")
        .run();
    assert_eq!(out.ok(), "reached\n");
}

#[test]
fn r136_a_new_cgroup_namespace_begins_at_the_containers_cgroup() {
    let out = Bundle::new(["cat", "/proc/self/cgroup"]).namespace("cgroup", None).run();
    for line in out.ok().lines() {
        assert!(line.ends_with(":/"), "{line}");
    }
}

#[test]
fn r130_the_first_process_is_number_1() {
    assert_eq!(Bundle::sh("echo $$").run().ok(), "1\n");
}

#[test]
fn r130_in_a_joined_pid_namespace_it_is_not() {
    let holder = Holder::new(&["--pid", "--fork", "--kill-child"]);
    let path = holder.path("pid_for_children");
    let out = Bundle::sh("echo $$").namespace("pid", Some(&path)).run();
    assert_ne!(out.ok(), "1\n");
}

#[test]
fn r135_new_user() {
    let out = link_in(Bundle::new(["true"]).user_namespace(), "user");
    assert!(!shows(&out, &of_host("user")));
}

#[test]
fn r135_inherited_user() {
    assert!(shows(&link_in(Bundle::new(["true"]), "user"), &of_host("user")));
}

#[test]
fn r142_mappings_are_written() {
    let map = |more: u32| {
        json!([{"containerID": 0, "hostID": 100_000, "size": 1000},
               {"containerID": more, "hostID": 300_000, "size": 7}])
    };
    let out = Bundle::sh("cat /proc/self/uid_map /proc/self/gid_map")
        .user_namespace()
        .set("/linux/uidMappings", map(5000))
        .set("/linux/gidMappings", map(6000))
        .run();
    let numbers: Vec<Vec<&str>> =
        out.ok().lines().map(|line| line.split_whitespace().collect()).collect();
    let want = |more| [["0", "100000", "1000"], [more, "300000", "7"]];
    assert_eq!(numbers, [want("5000"), want("6000")].concat());
}

#[test]
fn r142_root_inside_is_the_mapped_id_outside() {
    let c = Bundle::sleeper().user_namespace().container().up();
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid().as_raw_pid())).unwrap();
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    assert_eq!(c.exec(["id", "-u"]).ok(), "0\n");
}

#[test]
fn r142_setgroups_stays_allowed() {
    let out = Bundle::sh("cat /proc/self/setgroups; id -G")
        .user_namespace()
        .set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [7]}))
        .run();
    assert!(out.ok().starts_with("allow\n"), "{out:?}");
    assert!(out.stdout.contains('7'), "{out:?}");
}

#[test]
fn r135_joined_user() {
    let first = Bundle::sleeper().user_namespace().container().up();
    let path = format!("/proc/{}/ns/user", first.pid().as_raw_pid());
    let link = fs::read_link(&path).unwrap();
    let bundle = Bundle::new(["true"]).user_namespace().namespace("user", Some(&path));
    let out = link_in(bundle, "user");
    assert!(shows(&out, link.to_str().unwrap()), "{out:?}");
}

#[test]
fn r135_joined_user_needs_no_mappings() {
    let first = Bundle::sleeper().user_namespace().container().up();
    let path = format!("/proc/{}/ns/user", first.pid().as_raw_pid());
    let out = Bundle::new(["cat", "/proc/self/uid_map"]).namespace("user", Some(&path)).run();
    deviates!("runc", "R135: runc 1.1.5 wants mappings also for a joined namespace");
    let numbers: Vec<_> = out.ok().split_whitespace().collect();
    assert_eq!(numbers, ["0", "100000", "65536"]);
}

#[test]
fn r143_mappings_without_a_user_namespace() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let out = Bundle::new(["true"])
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .run();
    deviates!(["runc", "crun"], "R143: ignored (runc 1.1.5)");
    out.fails_with(&["user namespace"]);
}

#[test]
fn r143_a_user_namespace_without_mappings() {
    let out = Bundle::new(["true"]).namespace("user", None).run();
    deviates!("crun", "R143: crun makes mappings up");
    out.fails_with(&["linux.uidMappings: is empty", "no uid mapping", "no user mapping"]);
}

#[test]
fn pod_containers_share_namespaces() {
    let first = Bundle::sleeper().container().up();
    let pid = first.pid().as_raw_pid();
    let mut second = Bundle::sh("for n in net ipc uts; do readlink /proc/self/ns/$n; done");
    second = second.unset("", "hostname");
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        second = second.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
    }
    let link = |n| fs::read_link(format!("/proc/{pid}/ns/{n}")).unwrap();
    let want = ["net", "ipc", "uts"].map(|n| link(n).to_str().unwrap().to_owned()).join("\n");
    assert_eq!(second.run().ok().trim(), want);
}

#[test]
fn joined_pid_with_a_new_user_namespace() {
    let holder = Holder::new(&["--pid", "--fork", "--kill-child"]);
    let link = holder.link("pid_for_children");
    let bundle = Bundle::new(["true"])
        .user_namespace()
        .namespace("pid", Some(&holder.path("pid_for_children")))
        // A procfs of a pid namespace whose user namespace is not ours cannot be mounted.
        .edit(|c| {
            let proc = json!({"destination": "/proc", "type": "none", "source": "/proc",
                              "options": ["rbind"]});
            c["mounts"][0] = proc;
            c["linux"]["maskedPaths"] = json!([]);
            c["linux"]["readonlyPaths"] = json!([]);
        });
    // The host's /proc shows nothing at "self"; the host looks instead.
    let c = bundle.set("/process/args", json!(["sleep", "1000"])).container();
    c.create().ok();
    c.start().ok();
    let pid = c.pid().as_raw_pid();
    let ns = |name| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    assert_eq!(ns("pid").to_str().unwrap(), link);
    assert_ne!(ns("user").to_str().unwrap(), of_host("user"));
}

#[test]
fn joined_user_with_the_network_that_it_owns() {
    let first = Bundle::sleeper().user_namespace().container().up();
    let pid = first.pid().as_raw_pid();
    let path = |name| format!("/proc/{pid}/ns/{name}");
    let out = Bundle::sh("readlink /proc/self/ns/user; readlink /proc/self/ns/net")
        .user_namespace()
        .namespace("user", Some(&path("user")))
        .namespace("network", Some(&path("net")))
        .run();
    let link = |name| fs::read_link(path(name)).unwrap().to_str().unwrap().to_owned();
    assert_eq!(out.ok().trim(), [link("user"), link("net")].join("\n"));
}

#[test]
fn a_new_user_namespace_owns_the_new_network() {
    let out = Bundle::sh("ip link add d0 type dummy 2>&1; ip link set lo mtu 1400 && echo may")
        .user_namespace()
        .capability("CAP_NET_ADMIN")
        .run();
    assert!(out.ok().ends_with("may\n"), "{out:?}");
}

#[test]
fn a_new_user_namespace_with_the_hosts_network() {
    let bundle = Bundle::sh("readlink /proc/self/ns/net")
        .user_namespace()
        .without_namespace("network")
        // sysfs shows the host's network, so a mapped root may not mount it.
        .edit(|c| {
            let sys = json!({"destination": "/sys", "type": "none", "source": "/sys",
                             "options": ["rbind", "ro"]});
            *c["mounts"].as_array_mut().unwrap().last_mut().unwrap() = sys;
        });
    assert!(shows(&bundle.run(), &of_host("net")));
}

#[test]
fn all_namespaces_at_once() {
    let mut bundle =
        Bundle::sh("for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done")
            .user_namespace()
            .namespace("cgroup", None);
    if is_pinnace() {
        bundle = bundle.namespace("time", None);
    }
    let out = bundle.run();
    let host = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map(of_host);
    for (inside, host) in out.ok().lines().zip(&host) {
        assert_ne!(inside, host);
    }
}

#[test]
fn r140_r300_a_type_listed_twice() {
    deviates!("crun", "R140: newer than crun 1.8.1");
    let out = Bundle::new(["true"]).set("/linux/namespaces/-", json!({"type": "pid"})).run();
    out.fails_with(&["duplicate", "twice", "already"]);
}

#[test]
fn r139_r300_a_namespace_file_of_another_type() {
    let holder = Holder::new(&["--uts"]);
    for (kind, file) in [("network", "uts"), ("ipc", "net"), ("pid", "uts"), ("uts", "ipc")] {
        let out = base(kind).namespace(kind, Some(&holder.path(file))).run();
        of_another_type(&out, file);
    }
}

/// The kernel refuses it too (setns(2)), but only once something has been made.
#[track_caller]
fn of_another_type(out: &Output, file: &str) {
    let kind = if file == "net" { "network" } else { file };
    let kind = if file == "mnt" { "mount" } else { kind };
    let words = format!("is a namespace of type {kind}");
    out.fails_with(&[if is_pinnace() { &words } else { "" }]);
}

/// Each type, with a file of another one of our own.
#[test]
fn r139_r300_every_type_is_checked() {
    for (kind, file) in [
        ("cgroup", "ipc"),
        ("ipc", "mnt"),
        ("mount", "net"),
        ("network", "pid"),
        ("pid", "user"),
        ("user", "uts"),
        ("uts", "cgroup"),
    ] {
        let path = format!("/proc/self/ns/{file}");
        let out = Bundle::new(["true"]).namespace(kind, Some(&path)).container().create();
        of_another_type(&out, file);
    }
}

#[test]
fn r139_a_path_that_is_no_namespace() {
    for path in ["/etc/passwd", "/dev/null", "/proc", "/no/such/file"] {
        Bundle::new(["true"]).namespace("network", Some(path)).run().fails();
    }
}

#[test]
fn r138_a_relative_namespace_path() {
    let c = Bundle::new(["true"]).namespace("network", Some("proc/self/ns/net")).container();
    let path = c.bundle.path();
    let run = c.call(["run", "--bundle", path.to_str().unwrap(), &c.id]);
    // Where there is such a file.
    let out = run.current_dir(Path::new("/")).run();
    deviates!(["runc", "crun"], "R138: not checked, or fails only at open");
    out.fails_with(&["absolute"]);
}

#[test]
fn r144_time_offsets() {
    let out = Bundle::new(["cat", "/proc/self/timens_offsets"])
        .namespace("time", None)
        .set(
            "/linux/timeOffsets",
            json!({"monotonic": {"secs": 7777, "nanosecs": 33},
                                          "boottime": {"secs": 8888}}),
        )
        .run();
    deviates!(["runc", "crun"], "R144: newer than these");
    let words: Vec<_> = out.ok().split_whitespace().collect();
    assert_eq!(words, ["monotonic", "7777", "33", "boottime", "8888", "0"]);
}

#[test]
fn r144_time_offsets_are_seen_by_the_first_process() {
    let host: f64 = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let out = Bundle::new(["cat", "/proc/uptime"])
        .namespace("time", None)
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}}))
        .run();
    deviates!(["runc", "crun"], "R144: newer than these");
    assert!(uptime(out.ok()) > host + 999_999.0, "{out:?}");
}

fn with_offsets(bundle: Bundle) -> Bundle {
    bundle
        .namespace("time", None)
        .set("/linux/timeOffsets", json!({"monotonic": {"secs": 7777}, "boottime": {"secs": 8888}}))
        .set("/process/args", json!(["cat", "/proc/self/timens_offsets"]))
}

#[track_caller]
fn has_offsets(text: &str) {
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "7777", "0", "boottime", "8888", "0"]);
}

/// The file of a process that cannot be traced belongs to root of the host.
#[test]
fn r144_time_offsets_with_a_new_user_namespace() {
    let c = with_offsets(Bundle::new(["true"]).user_namespace()).container();
    let out = c.run();
    deviates!(["runc", "crun"], "R144: newer than these");
    has_offsets(out.ok());
    has_offsets(&c.output());
    // Root of the host has no name inside, and no process of the container is root.
    let map = json!([{"containerID": 5, "hostID": 100_005, "size": 10}]);
    let bundle = Bundle::new(["true"])
        .user_namespace()
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/process/user", json!({"uid": 5, "gid": 5}))
        .edit(|c| {
            c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] == "/proc");
        });
    for dir in ["", "dev", "proc"] {
        std::os::unix::fs::chown(bundle.rootfs(dir), Some(100_005), Some(100_005)).unwrap();
    }
    has_offsets(with_offsets(bundle).run().ok());
}

#[test]
fn r144_time_offsets_are_seen_in_a_new_user_namespace_and_by_exec() {
    let host: f64 = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let bundle = Bundle::sleeper()
        .user_namespace()
        .namespace("time", None)
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}}));
    let c = bundle.container();
    let out = c.create();
    deviates!(["runc", "crun"], "R144: newer than these");
    out.ok();
    c.start().ok();
    let out = c.exec(["cat", "/proc/uptime"]);
    assert!(uptime(out.ok()) > host + 999_999.0, "{out:?}");
}

#[test]
fn r144_time_offsets_with_a_joined_user_namespace() {
    let first = Bundle::sleeper().user_namespace().container().up();
    let pid = first.pid().as_raw_pid();
    let path = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    let bundle = || {
        let bundle = Bundle::new(["true"]).user_namespace();
        with_offsets(bundle).namespace("user", Some(&path("user")))
    };
    let out = bundle().run();
    deviates!(["runc", "crun"], "R144: newer than these");
    has_offsets(out.ok());
    has_offsets(bundle().namespace("network", Some(&path("net"))).run().ok());
    // As in a pod: the pid namespace is joined, too.
    let c = bundle().namespace("pid", Some(&path("pid"))).container();
    has_offsets(c.run().ok());
    // Which owns the new time namespace.
    let c = bundle().set("/process/args", json!(["sleep", "1000"])).container().up();
    let of = |pid: i32| {
        let pid = pid.to_string();
        Call::new("/usr/bin/lsns").args(["-t", "time", "-n", "-o", "ONS", "-p", &pid]).run()
    };
    let (ours, first_user) = (of(c.pid().as_raw_pid()), fs::read_link(path("user")).unwrap());
    let number =
        first_user.to_str().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
    needs!(ours.code == 0, "lsns with ONS");
    assert_eq!(ours.stdout.trim(), number);
}

#[test]
fn r144_time_offsets_without_privileges() {
    let c = with_offsets(rootless(Bundle::new(["true"]))).container();
    let user = Rootless::new(&c);
    let path = c.bundle.path();
    let out = user.call(&["run", "--bundle", path.to_str().unwrap(), &c.id]).run();
    deviates!(["runc", "crun"], "R144: newer than these");
    has_offsets(out.ok());
}

/// A user namespace that the ordinary user has made before.
#[test]
fn r144_time_offsets_without_privileges_in_a_joined_user_namespace() {
    let holder = Holder::of(
        "/usr/bin/setpriv",
        &["--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "--user", "--map-root-user"],
    );
    let bundle = with_offsets(rootless(Bundle::new(["true"])))
        .namespace("user", Some(&holder.path("user")))
        .unset("/linux", "uidMappings")
        .unset("/linux", "gidMappings");
    let c = bundle.container();
    let user = Rootless::new(&c);
    let path = c.bundle.path();
    let out = user.call(&["run", "--bundle", path.to_str().unwrap(), &c.id]).run();
    deviates!(["runc", "crun"], "R144: newer than these");
    has_offsets(out.ok());
}

/// What is made there may be faster than its maker can tell of it.
#[test]
fn joined_namespaces_on_a_busy_machine() {
    let holder = Holder::new(&["--user", "--map-root-user"]);
    let pids = Holder::new(&["--pid", "--fork", "--kill-child"]);
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pids.child.id()));
    let pids_path = format!("/proc/{}/ns/pid", child.unwrap().trim());
    let containers: Vec<_> = (0..16)
        .map(|n| {
            let bundle = Bundle::new(["true"]).edit(|config| {
                let hook = json!([{"path": "/bin/true"}]);
                config["hooks"] = json!({"createRuntime": hook});
            });
            match n % 2 {
                0 => bundle.namespace("user", Some(&holder.path("user"))).edit(|config| {
                    // The group of terminals is nobody's there.
                    let mounts = config["mounts"].as_array_mut().unwrap();
                    mounts.retain(|mount| mount["destination"] != "/dev/pts");
                }),
                _ => bundle.namespace("pid", Some(&pids_path)),
            }
            .container()
        })
        .collect();
    let run = |c: &Container| {
        let bundle = c.bundle.path();
        // All on one processor.
        Call::new("/usr/bin/taskset")
            .args(["--cpu-list", "0"])
            .args([&runtime().path])
            .args([Path::new("--root"), &c.root(), Path::new("run"), Path::new("--bundle")])
            .args([bundle.as_path(), Path::new(&c.id)])
            .run()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = containers.iter().map(|c| scope.spawn(|| run(c))).collect();
        for out in all {
            let out = out.join().unwrap();
            deviates!("runc", "asks for mappings");
            assert_eq!(out.code, 0, "{out:?}");
        }
    });
}

fn uptime(text: &str) -> f64 {
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn r145_time_offsets_without_a_time_namespace() {
    let out =
        Bundle::new(["true"]).set("/linux/timeOffsets", json!({"boottime": {"secs": 1}})).run();
    deviates!(["runc", "crun"], "R145: not checked");
    out.fails_with(&["timeOffsets", "time namespace"]);
    let joined = Bundle::new(["true"]).namespace("time", Some("/proc/self/ns/time"));
    let out = joined.set("/linux/timeOffsets", json!({"boottime": {"secs": 1}})).run();
    out.fails_with(&["linux.timeOffsets: needs a new time namespace"]);
}

#[test]
fn r157_r158_a_network_device_is_moved_and_renamed() {
    let name = format!("d{}", std::process::id());
    let ip = |args: &str| Call::new("/usr/sbin/ip").args(args.split(' ')).run();
    let peer = format!("{name}p");
    let add = ip(&format!("link add {name} type veth peer name {peer}"));
    needs!(add.code == 0, "veth network devices");
    ip(&format!("addr add 10.9.8.7/24 dev {name}")).ok();
    let c = Bundle::sh("ip addr show dev inside")
        .set("/linux/netDevices", json!({name.as_str(): {"name": "inside"}}))
        .container();
    let out = c.run();
    let left = Path::new("/sys/class/net").join(&name).exists();
    ip(&format!("link del {peer}")); // it goes with the container's end, too
    deviates!(["runc", "crun"], "R157: newer than these");
    assert!(out.ok().contains("10.9.8.7/24"), "{out:?}");
    assert!(out.stdout.contains(",UP"), "{out:?}");
    assert!(!left, "R162: it must not come back");
}
