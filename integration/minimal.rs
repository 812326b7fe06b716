//! The host's mounts are not copied where the container can begin in a minimal
//! mount namespace. It must not be another container for it: each way is forced
//! in turn, and all must show the same.

use crate::harness::{Bundle, Call, Container, Lacks, Output, is_pinnace, json, needs, runtime};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where the mount namespace comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// What this kernel does best.
    Any,
    /// The kernel's own minimal one: Linux before 7.0.
    Kernels,
    /// The same, found by the kernel's thread: Linux before 6.12.
    Thread,
    /// A minimal one that may not be entered, as under a security module.
    Forbidden,
    /// A copy of the host's: as before, in another pid namespace than the first.
    Copy,
}

/// `OPEN_TREE_NAMESPACE`
const OWN: Lacks =
    Lacks { call: libc::SYS_open_tree, argument: 2, mask: 2, value: 2, errno: libc::EINVAL };
/// `NS_MNT_GET_NEXT`
const NEXT: Lacks = Lacks {
    call: libc::SYS_ioctl,
    argument: 1,
    mask: u32::MAX,
    value: 0x8010_b70b,
    errno: libc::ENOTTY,
};
/// `NS_MNT_GET_PREV`, as in the mount namespace with the least id.
const PREV: Lacks = Lacks { value: 0x8010_b70c, errno: libc::ENOENT, ..NEXT };
const SETNS: Lacks = Lacks {
    call: libc::SYS_setns,
    argument: 1,
    mask: u32::MAX,
    value: libc::CLONE_NEWNS as u32,
    errno: libc::EPERM,
};

impl Way {
    fn lacks(self) -> &'static [Lacks] {
        match self {
            Self::Any => &[],
            Self::Kernels => &[OWN],
            Self::Forbidden => &[SETNS],
            Self::Thread | Self::Copy => &[OWN, NEXT],
        }
    }

    /// Options of unshare(1) around it.
    fn around(self) -> &'static [&'static str] {
        if self == Self::Copy { &["--pid", "--fork", "--mount-proc"] } else { &[] }
    }

    /// On a host with shared mounts, as systemd makes them, and with a volume
    /// that has a mount in it.
    fn run(self, c: &Container) -> Output {
        let volume = c.bundle.dir().join("volume");
        fs::create_dir_all(&volume).unwrap();
        let host = "mount --make-rshared / && mount -t tmpfs -o size=4k none \"$0\" \
            && mkdir \"$0\"/sub && mount -t tmpfs -o size=4k none \"$0\"/sub && exec \"$@\"";
        Call::new("/usr/bin/unshare")
            .args(self.around())
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", host])
            .args([volume.as_os_str(), runtime().path.as_os_str()])
            .args(["--root", c.root().to_str().unwrap(), "run", "--bundle"])
            .args([c.bundle.path().to_str().unwrap(), &c.id])
            .without(self.lacks())
            .run()
    }
}

/// `proc_pid_mountinfo(5)` without what is only a number that the kernel has
/// counted up: mounts are told by their place in the table, file systems and peer
/// groups by the order in which they come.
fn without_numbers(table: &str) -> Vec<String> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let (mut devices, mut groups) = (HashMap::new(), HashMap::new());
    for (place, line) in table.lines().enumerate() {
        places.insert(line.split(' ').next().unwrap(), place);
    }
    let mut number = |line| {
        let (fields, end): (&str, &str) = str::split_once(line, " - ").unwrap();
        let fields: Vec<_> = fields.split(' ').collect();
        let parent = places.get(fields[1]).map_or("outside".into(), usize::to_string);
        let device = devices.len();
        let device = *devices.entry(fields[2].to_owned()).or_insert(device);
        let tags = fields[6..].iter().map(|tag| match tag.split_once(':') {
            Some((kind, group)) => {
                let next = groups.len();
                format!("{kind}:{}", groups.entry(group.to_owned()).or_insert(next))
            }
            None => (*tag).to_owned(),
        });
        let tags: Vec<_> = tags.collect();
        format!("in {parent}, {device} {} {} - {end}", fields[3..6].join(" "), tags.join(" "))
    };
    table.lines().map(&mut number).collect()
}

/// Also whatever a process may learn of its root from inside.
const SEEN: &str = "cat /proc/self/mountinfo; ls -di /proc; readlink /proc/self/root; pwd; \
    ls -a / /dev; cat /proc/1/mountinfo | wc -l; umount / 2>&1; ls /..";

/// The same bundle in all ways, and the table of the first.
fn same_in_all_ways(what: &str, bundle: impl Fn() -> Bundle) -> String {
    let mut first = None;
    for way in [Way::Copy, Way::Thread, Way::Kernels, Way::Any, Way::Forbidden] {
        let bundle = bundle();
        // The name alone: /tmp may be a file system of its own, whose paths begin there.
        let dir = bundle.dir().file_name().unwrap().to_str().unwrap().to_owned();
        let c = bundle.container();
        let text = way.run(&c).ok().replace(&dir, "DIR").replace(&c.id, "ID");
        let (table, rest): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains(" - "));
        let seen = (without_numbers(&table.join("\n")), rest.join("\n"));
        match &first {
            None => first = Some((seen, text)),
            Some((first, copy)) => {
                assert_eq!(*first, seen, "{what}, {way:?}:\n{text}\na copy of the host's:\n{copy}");
            }
        }
    }
    first.unwrap().1
}

fn with_volume(bundle: Bundle) -> Bundle {
    let volume = bundle.dir().join("volume");
    bundle
        .bind(&volume, "/plain", &["bind", "ro"])
        .bind(&volume, "/all", &["rbind", "ro", "nosuid"])
        .bind(&volume, "/private", &["rbind", "rprivate"])
        .bind(&volume, "/slave", &["rbind", "rslave"])
        .bind(&volume, "/shared", &["rbind", "rshared"])
        .mount("tmpfs", "tmpfs", "/made", &["size=4k", "mode=700"])
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"])
}

#[test]
fn the_container_is_the_same_in_all_ways() {
    needs!(is_pinnace(), "pinnace");
    let table = same_in_all_ways("default", || Bundle::sh(SEEN).capability("CAP_SYS_ADMIN"));
    assert!(table.contains(" /dev/pts "), "{table}");
    same_in_all_ways("volumes", || with_volume(Bundle::sh(SEEN)));
    same_in_all_ways("cgroup namespace", || {
        with_volume(Bundle::sh(SEEN).namespace("cgroup", None)).set("/root/readonly", json!(true))
    });
    for propagation in ["slave", "rslave", "private", "rprivate", "shared", "rshared", "unbindable"]
    {
        let table = same_in_all_ways(propagation, || {
            with_volume(Bundle::sh(SEEN)).set("/linux/rootfsPropagation", json!(propagation))
        });
        assert!(table.contains(" master:"), "no slave of the host to compare: {table}");
    }
}

/// A root that has mounts in it, one of which nobody may bind.
#[test]
fn mounts_in_the_root_are_the_same_in_all_ways() {
    needs!(is_pinnace(), "pinnace");
    let mut tables = Vec::new();
    for way in [Way::Copy, Way::Thread, Way::Kernels, Way::Any, Way::Forbidden] {
        let bundle = Bundle::new(["cat", "/proc/self/mountinfo"]);
        let rootfs = bundle.rootfs("");
        for dir in ["a", "b"] {
            fs::create_dir(bundle.rootfs(dir)).unwrap();
        }
        let c = bundle.container();
        let host = "mount --make-rshared / && mount --rbind . . && cd . && cd \"$PWD\" \
            && mount -t tmpfs none a && mkdir a/in && mount -t tmpfs -o ro none a/in \
            && mount -t tmpfs none b && mount --make-unbindable b && exec \"$@\"";
        let out = Call::new("/usr/bin/unshare")
            .args(way.around())
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", host, "sh"])
            .args([runtime().path.as_os_str()])
            .args(["--root", c.root().to_str().unwrap(), "run", "--bundle"])
            .args([c.bundle.path().to_str().unwrap(), &c.id])
            .current_dir(&rootfs)
            .without(way.lacks())
            .run();
        let dir = c.bundle.dir().file_name().unwrap().to_str().unwrap();
        assert!(out.ok().contains(" /a/in ro"), "{out:?}");
        tables.push(without_numbers(&out.ok().replace(dir, "DIR")));
    }
    assert!(tables.iter().all(|table| *table == tables[0]), "{tables:#?}");
}

/// A call of the runtime, its system calls about namespaces and files told by
/// strace; with those of the processes that it makes if `whole`. Each process has
/// its own file: in one for all, calls of two at a time would be torn apart.
fn traced(c: &Container, way: Way, whole: bool, args: &[&str]) -> String {
    let traces = tempfile::tempdir_in(c.bundle.dir()).unwrap();
    Call::new("/usr/bin/unshare")
        .args(way.around())
        .args([
            "/usr/bin/strace",
            if whole { "-qqff" } else { "-qq" },
            "-e",
            "trace=clone3,setns,unshare,open,openat,openat2",
            "-o",
        ])
        .args([traces.path().join("of").as_os_str(), runtime().path.as_os_str()])
        .args(["--root", c.root().to_str().unwrap()])
        .args(args)
        .without(way.lacks())
        .output_to(c.log("stdout"), c.log("stderr"))
        .run()
        .ok();
    all_of(traces.path())
}

fn all_of(traces: &Path) -> String {
    let files = fs::read_dir(traces).unwrap();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// A `run` to its end, with all of its processes.
fn traced_run(way: Way, bundle: Bundle) -> String {
    let c = bundle.container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    traced(&c, way, true, &["run", "--bundle", &bundle, &c.id])
}

/// Whether the kernel has a minimal namespace for us here.
fn has_minimal(trace: &str) -> bool {
    let entered = |line: &str| line.contains(", CLONE_NEWNS)") && line.ends_with(" = 0");
    trace.lines().any(|line| line.contains("setns(") && entered(line))
}

fn copies(trace: &str) -> bool {
    trace.lines().any(|line| line.contains("clone3(") && line.contains("CLONE_NEWNS"))
}

#[test]
fn no_command_walks_the_hosts_mounts() {
    needs!(is_pinnace() && Path::new("/usr/bin/strace").exists(), "pinnace and strace");
    let mut trace = traced_run(Way::Any, Bundle::new(["true"]));
    let c = Bundle::sleeper().container();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let id = c.id.as_str();
    let calls: [&[&str]; 7] = [
        &["create", "--bundle", &bundle, id],
        &["state", id],
        &["start", id],
        &["exec", id, "true"],
        &["list"],
        &["kill", id, "KILL"],
        &["delete", "--force", id],
    ];
    for args in calls {
        trace += &traced(&c, Way::Any, false, args);
    }
    for table in ["mountinfo", "/mounts"] {
        let read: Vec<_> = trace.lines().filter(|line| line.contains(table)).collect();
        assert!(read.is_empty(), "{read:#?}");
    }
    needs!(has_minimal(&trace), "a kernel with a minimal mount namespace");
    assert!(!copies(&trace), "{trace}");
    // The kernel's own one may be copied only, never changed.
    let kernels = traced_run(Way::Kernels, Bundle::new(["true"]));
    assert!(has_minimal(&kernels) && kernels.contains("unshare(CLONE_NEWNS)"), "{kernels}");
    let thread = traced_run(Way::Thread, Bundle::new(["true"]));
    assert!(has_minimal(&thread) && thread.contains("/comm\""), "{thread}");
    let copied = traced_run(Way::Copy, Bundle::new(["true"]));
    assert!(copies(&copied) && !has_minimal(&copied), "not the way that it is taken for: {copied}");
    let forbidden = traced_run(Way::Forbidden, Bundle::new(["true"]));
    assert!(!copies(&forbidden) && !has_minimal(&forbidden), "{forbidden}");
    assert!(forbidden.contains("unshare(CLONE_NEWNS)"), "{forbidden}");
}

/// Linux 6.18 gives each CPU its own row of ids, so others may lie between the first mount
/// namespace and the kernel's. Here the caller's own is made out to be the first, and a
/// stranger's, as minimal as the kernel's but of another file system, has been made since.
#[test]
fn a_strangers_mount_namespace_is_not_taken_for_the_kernels() {
    needs!(is_pinnace() && Path::new("/usr/bin/strace").exists(), "pinnace and strace");
    let kernels = traced_run(Way::Kernels, Bundle::new(["true"]));
    needs!(has_minimal(&kernels), "a kernel with a minimal mount namespace");
    let c = Bundle::new(["test", "-e", "/bin/busybox"]).container();
    let traces = tempfile::tempdir_in(c.bundle.dir()).unwrap();
    // The stranger: a tmpfs with the node by which a devtmpfs is told, and no other mount.
    let stranger = "mount -t tmpfs none \"$0\" && cd \"$0\" && mknod null c 1 3 && mkdir old && \
        readlink /proc/self/ns/mnt > ../name && cp /bin/busybox . && ./busybox pivot_root . old && \
        exec ./busybox sh -c './busybox umount -l old && echo up && read -r end'";
    let script = "mkfifo up end; \
        (exec unshare --mount --propagation private /bin/sh -c \"$0\" \"$PWD/root\" <end >up) & \
        exec 4>end; read -r up <up && \"$@\" 4>&-; code=$?; exec 4>&-; wait; exit $code";
    fs::create_dir(c.bundle.dir().join("root")).unwrap();
    let out = Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, stranger])
        .args(["/usr/bin/strace", "-qqffy", "-e", "trace=clone3,setns,unshare,openat,ioctl", "-o"])
        .args([traces.path().join("of").as_os_str(), runtime().path.as_os_str()])
        .args(["--root", c.root().to_str().unwrap(), "run", "--bundle"])
        .args([c.bundle.path().to_str().unwrap(), &c.id])
        .current_dir(c.bundle.dir())
        .without(&[OWN, PREV])
        .run();
    out.ok();
    let trace = all_of(traces.path());
    assert!(has_minimal(&trace) && !copies(&trace), "{trace}");
    let name = fs::read_to_string(c.bundle.dir().join("name")).unwrap();
    let mut joined = trace.lines().filter(|line| line.contains("setns("));
    assert!(!joined.any(|line| line.contains(name.trim())), "{name}: {trace}");
}

/// Who is to see the host's mounts gets a copy of them, whatever the kernel has.
#[test]
fn what_needs_the_hosts_mounts_gets_a_copy() {
    needs!(is_pinnace() && Path::new("/usr/bin/strace").exists(), "pinnace and strace");
    for hook in ["prestart", "createRuntime", "createContainer"] {
        let hook = format!("/hooks/{hook}/-/path");
        let bundle = Bundle::new(["true"]).set(&hook, json!("/bin/true"));
        assert!(copies(&traced_run(Way::Any, bundle)), "{hook}");
    }
    // These run later, or not in there.
    for hook in ["startContainer", "poststart", "poststop"] {
        let hook = format!("/hooks/{hook}/-/path");
        let trace = traced_run(Way::Any, Bundle::new(["true"]).set(&hook, json!("/bin/true")));
        assert!(!has_minimal(&trace) || !copies(&trace), "{hook}");
    }
    let mapped = traced_run(Way::Any, Bundle::new(["true"]).user_namespace());
    assert!(!has_minimal(&mapped) || !copies(&mapped), "user namespace");
    // Its layers are paths of the host.
    let bundle = Bundle::new(["cat", "/over/file"]);
    let dir = bundle.dir().to_str().unwrap().to_owned();
    for layer in ["upper", "lower", "work"] {
        fs::create_dir(bundle.dir().join(layer)).unwrap();
    }
    fs::write(bundle.dir().join("lower/file"), "layer").unwrap();
    let layers = format!("lowerdir={dir}/lower,upperdir={dir}/upper,workdir={dir}/work");
    let c = bundle.mount("overlay", "overlay", "/over", &[&layers]).container();
    assert_eq!(c.run().ok(), "layer");
}

/// A hook that goes into init's mount namespace finds the root at its path.
#[test]
fn hooks_find_the_root_at_its_path() {
    needs!(is_pinnace(), "pinnace");
    let inside = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); \
        if nsenter --mount=/proc/$pid/ns/mnt test -x ROOT/bin/busybox; then echo found >> LOG; \
        else ls -ld ROOT; nsenter --mount=/proc/$pid/ns/mnt ls -ld / ROOT ROOT/bin/busybox; \
            cut -c1-90 /proc/$pid/mountinfo; exit 1; fi";
    let own = "if cat /proc/self/mountinfo | grep -q ' ROOT '; then echo found >> LOG; \
        else ls -ld / ROOT; cut -c1-90 /proc/self/mountinfo; exit 1; fi";
    let hooks = [("prestart", inside), ("createRuntime", inside), ("createContainer", own)];
    for ((kind, script), mapped) in hooks.into_iter().flat_map(|hook| [(hook, false), (hook, true)])
    {
        let bundle = Bundle::new(["true"]);
        let bundle = if mapped { bundle.user_namespace() } else { bundle };
        let log = bundle.dir().join("log");
        // Root of the user namespace is nobody here.
        fs::write(&log, "").unwrap();
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
        let script = script
            .replace("ROOT", bundle.rootfs("").to_str().unwrap().trim_end_matches('/'))
            .replace("LOG", log.to_str().unwrap());
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let c = bundle.set(&format!("/hooks/{kind}/-"), hook).container();
        let out = c.run();
        assert!(out.code == 0, "{kind}, {mapped}: {out:?}");
        assert_eq!(fs::read_to_string(log).unwrap_or_default(), "found\n", "{kind}, {mapped}");
    }
}

/// The kernel's own minimal namespace is one for all.
#[test]
fn many_at_once_in_each_way() {
    needs!(is_pinnace(), "pinnace");
    for way in [Way::Any, Way::Kernels, Way::Thread] {
        let containers: Vec<_> = (0..16).map(|_| Bundle::sleeper().container()).collect();
        let creates: Vec<_> = containers
            .iter()
            .map(|c| {
                let bundle = c.bundle.path();
                c.call(["create", "--bundle", bundle.to_str().unwrap(), &c.id])
                    .without(way.lacks())
                    .output_to(c.log("stdout"), c.log("stderr"))
                    .spawn()
            })
            .collect();
        for (create, c) in creates.into_iter().zip(&containers) {
            create.wait().ok();
            assert_eq!(c.status(), "created", "{way:?}");
        }
    }
}
