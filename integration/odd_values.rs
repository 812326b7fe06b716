//! Values at the edges of what a field can hold, which a parser, a type or a set-up could spoil.

use crate::harness::{Bundle, Value, deviates, json};

fn field(bundle: Bundle, name: &str) -> String {
    let out = bundle.set("/process/args", json!(["cat", "/proc/self/status"])).run();
    out.field(name).to_owned()
}

#[test]
fn r086_r087_limits_at_both_ends() {
    let limits = |limits: &[(&str, u64)]| -> Value {
        let one = |(name, value): &(&str, u64)| json!({"type": format!("RLIMIT_{name}"), "soft": value, "hard": value});
        limits.iter().map(one).collect()
    };
    for (list, script, shown) in [
        (limits(&[("NOFILE", 0)]), "ulimit -n", "0\n"),
        (limits(&[("NOFILE", 3)]), "ulimit -n", "3\n"),
        (limits(&[("FSIZE", 0)]), "ulimit -f", "0\n"),
        (
            limits(&[("CPU", u64::MAX), ("FSIZE", u64::MAX)]),
            "ulimit -t; ulimit -f",
            "unlimited\nunlimited\n",
        ),
        (limits(&[("CPU", u64::MAX - 1)]), "ulimit -H -t", "18446744073709551614\n"),
    ] {
        // What is printed goes to a file of the caller's.
        let bundle = Bundle::sh(script).set("/process/rlimits", list.clone());
        let c = bundle.container();
        let out = if list[0]["type"] == "RLIMIT_FSIZE" && list[0]["soft"] == 0 {
            // Into a terminal or a pipe: no file may grow.
            let path = c.bundle.path();
            crate::harness::Call::new("/bin/sh")
                .args(["-c", "\"$@\" | cat", "sh"])
                .args([crate::harness::runtime().path.as_os_str()])
                .args(c.global())
                .args(["run", "--bundle", path.to_str().unwrap(), &c.id])
                .run()
        } else {
            c.run()
        };
        deviates!(["runc", "crun"], "R086: their own set-up needs more");
        assert_eq!(out.ok(), shown, "{list}");
    }
}

#[test]
fn r103_r105_ids_and_groups_at_their_end() {
    let most = u32::MAX - 1;
    let user = json!({"uid": most, "gid": most, "additionalGids": [0, most, 1_000_000]});
    let bundle = || Bundle::new(["true"]).set("/process/user", user.clone());
    deviates!("runc", "R103: 31 bits");
    let same = [most.to_string().as_str(); 4].join("\t");
    assert_eq!(field(bundle(), "Uid"), same);
    assert_eq!(field(bundle(), "Gid"), same);
    assert_eq!(field(bundle(), "Groups"), format!("0 1000000 {most}"));
}

/// NGROUPS_MAX of linux/limits.h.
#[test]
fn r105_as_many_groups_as_the_kernel_takes() {
    let groups: Vec<u32> = (0..65536).map(|n| n + 7).collect();
    let bundle = Bundle::new(["true"]).set("/process/user/additionalGids", json!(groups));
    let shown = field(bundle, "Groups");
    assert_eq!(shown.split(' ').count(), 65536);
    assert!(shown.starts_with("7 8 ") && shown.ends_with(" 65542"), "{}", shown.len());
}

#[test]
fn r009_a_tmpfs_of_size_0_has_no_limit() {
    let script = "dd if=/dev/zero of=/m/x bs=1M count=3 2>/dev/null && stat -c %s /m/x; \
        grep ' /m ' /proc/self/mountinfo";
    let out = Bundle::sh(script).mount("tmpfs", "tmpfs", "/m", &["size=0"]).run();
    assert!(out.ok().starts_with("3145728\n") && out.stdout.contains("size=0k"), "{out:?}");
}

/// 12 bits and 20 bits (makedev(3)).
#[test]
fn r149_numbers_of_a_device_at_their_end() {
    let device = json!({"type": "c", "path": "/dev/x", "major": 4095, "minor": 1_048_575});
    let out = Bundle::sh("stat -c %t:%T /dev/x")
        .set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]))
        .set("/linux/devices/-", device)
        .run();
    deviates!("crun", "R150: crun 1.8.1 wants a mode");
    assert_eq!(out.ok(), "fff:fffff\n");
}

#[test]
fn r223_a_sysctl_of_64_bits() {
    let out = Bundle::new(["cat", "/proc/sys/kernel/shmmax", "/proc/sys/kernel/shmall"])
        .set(
            "/linux/sysctl",
            json!({"kernel.shmmax": "9223372036854775807", "kernel.shmall": "18446744073692774399"}),
        )
        .run();
    assert_eq!(out.ok(), "9223372036854775807\n18446744073692774399\n");
}

#[test]
fn r144_offsets_below_zero() {
    let offset = json!({"secs": -1, "nanosecs": 999_999_999_u32});
    let out = Bundle::new(["cat", "/proc/self/timens_offsets"])
        .namespace("time", None)
        .set("/linux/timeOffsets", json!({"monotonic": offset, "boottime": offset}))
        .run();
    deviates!(["runc", "crun"], "R144: newer than these");
    let lines: Vec<Vec<_>> =
        out.ok().lines().map(|line| line.split_whitespace().collect()).collect();
    let offset = ["-1", "999999999"];
    assert_eq!(lines.len(), 2, "{out:?}");
    for (line, clock) in lines.iter().zip(["monotonic", "boottime"]) {
        assert_eq!((line[0], &line[1..]), (clock, &offset[..]));
    }
}

/// The path and whatever is mounted below it.
#[test]
fn r250_a_read_only_path_reaches_the_mounts_below_it() {
    let out = Bundle::sh("touch /a/x; touch /a/b/x; touch /a/b/c/x; touch /b/x && echo elsewhere")
        .file("a/kept", "")
        .mount("tmpfs", "tmpfs", "/a/b", &[])
        .mount("tmpfs", "tmpfs", "/a/b/c", &[])
        .mount("tmpfs", "tmpfs", "/b", &[])
        .set("/linux/readonlyPaths", json!(["/a"]))
        .run();
    deviates!(["runc", "crun"], "R250: the path alone");
    assert_eq!(out.stdout, "elsewhere\n", "{out:?}");
    assert_eq!(out.stderr.matches("Read-only file system").count(), 3, "{out:?}");
}

/// As a pod does, and more.
#[test]
fn r134_r136_r137_namespaces_are_joined_at_once() {
    const KINDS: [(&str, &str); 5] = [
        ("uts", "uts"),
        ("ipc", "ipc"),
        ("network", "net"),
        ("cgroup", "cgroup"),
        ("time", "time"),
    ];
    let first = KINDS.iter().fold(Bundle::sleeper(), |b, (kind, _)| b.namespace(kind, None));
    let first = first.container();
    let out = first.create();
    deviates!(["runc", "crun"], "no time namespaces in these");
    out.ok();
    first.start().ok();
    let pid = first.pid().as_raw_pid();
    let links = KINDS.map(|(_, name)| format!("/proc/{pid}/ns/{name}"));
    let second = KINDS.iter().zip(&links).fold(
        Bundle::sh("for kind in uts ipc net cgroup time; do readlink /proc/self/ns/$kind; done"),
        |bundle, ((kind, _), link)| bundle.namespace(kind, Some(link)),
    );
    let out = second.unset("", "hostname").run();
    let inside: Vec<_> = out.ok().lines().map(str::to_owned).collect();
    let wanted = links.map(|link| std::fs::read_link(link).unwrap().to_str().unwrap().to_owned());
    assert_eq!(inside, wanted);
}
