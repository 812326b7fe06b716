//! Sentences of the specification at their edges: two fields that contradict each other, words
//! that only a later command needs, and what is told and not done.

use crate::harness::{Bundle, Call, Output, deviates, json, needs, runtime};
use std::fs;

/// `plan` of a bundle that is not made.
fn plan(bundle: Bundle) -> Output {
    let c = bundle.container();
    Call::new(&runtime().path).args(["plan", "--bundle", c.bundle.path().to_str().unwrap()]).run()
}

/// They are one value of the UTS namespace.
#[test]
fn r108_r223_domainname_and_its_sysctl_must_not_differ() {
    let named = |sysctl: &str, domainname: &str| {
        Bundle::new(["cat", "/proc/sys/kernel/domainname"])
            .set("/domainname", json!(domainname))
            .set("/linux/sysctl", json!({sysctl: "dd"}))
            .run()
    };
    for key in ["kernel.domainname", "kernel/domainname"] {
        let out = named(key, "aa");
        deviates!(["runc", "crun"], "R108: newer than 1.1.5, or the sysctl wins in silence");
        out.fails_with(&[&format!(
            "linux.sysctl.{key}: \"dd\" is another than domainname, \"aa\""
        )]);
        assert_eq!(named(key, "dd").ok(), "dd\n");
        assert_eq!(named(key, "").ok(), "dd\n");
    }
}

#[test]
fn r112_a_stop_signal_that_is_none_is_told_at_create() {
    let signal = |name: &str| {
        let annotations = json!({"org.opencontainers.image.stopSignal": name});
        Bundle::sleeper().set("/annotations", annotations)
    };
    let field = "annotations.org.opencontainers.image.stopSignal: unknown signal \"NOPE\"";
    let c = signal("NOPE").container();
    let out = c.create();
    out.ok();
    deviates!(["runc", "crun"], "R112: not looked at");
    assert!(out.stderr.contains(field), "{out:?}");
    c.call(["kill", &c.id]).run().fails_with(&[field]);
    c.call(["kill", &c.id, "KILL"]).run().ok();
    for good in ["", "SIGRTMIN+3", "15"] {
        let c = signal(good).container();
        let out = c.create();
        assert_eq!((out.ok(), out.stderr.as_str()), ("", ""), "{good}");
        c.call(["kill", &c.id]).run().ok();
    }
    let told = plan(signal("NOPE"));
    assert!(told.ok().contains("unknown signal \"NOPE\""), "{told:?}");
}

/// What `create` does not tell, as it is legal, `plan` does.
#[test]
fn what_is_legal_and_perhaps_not_meant_is_told_by_plan() {
    deviates!(["runc", "crun"], "no such command");
    let told = plan(Bundle::sh("true").set("/ociVersion", json!("1.99.0")));
    assert!(told.ok().contains("1.99.0 is later than"), "{told:?}");
    let volume = |options: &[&str]| Bundle::sh("true").bind("/tmp".as_ref(), "/v", options);
    let words = "does not reach the host, as linux.rootfsPropagation is not shared";
    for propagation in ["private", "slave", ""] {
        let propagation = json!(propagation);
        let bundle = volume(&["rbind", "rshared"]).set("/linux/rootfsPropagation", propagation);
        assert!(plan(bundle).ok().contains(words));
    }
    for (option, propagation) in [("rshared", "shared"), ("rshared", "rshared"), ("rslave", "")] {
        let bundle = volume(&["rbind", option]).set("/linux/rootfsPropagation", json!(propagation));
        assert!(!plan(bundle).ok().contains(words), "{option} {propagation}");
    }
    let size = json!({"height": 25, "width": 81});
    let terminal = Bundle::sh("true").set("/process/terminal", json!(true));
    let told = plan(terminal.set("/process/consoleSize", size));
    assert!(told.ok().contains("process.consoleSize"), "{told:?}");
    for (at, value, words) in [
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE"}), "process.ioPriority.priority"),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2}]),
            "linux.devices[0]",
        ),
    ] {
        let told = plan(Bundle::sh("true").set(at, value));
        assert!(told.ok().contains(words), "{told:?}");
    }
    let bare = Bundle::sh("true").edit(|c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    });
    let told = plan(bare);
    assert!(told.ok().contains("they stay in the root filesystem"), "{told:?}");
    assert!(!plan(Bundle::sh("true")).ok().contains("they stay in the root filesystem"));
}

/// It is another file system, and comes into the container as it is. A mount point whose name is
/// no text is in nobody's way.
#[test]
fn r004_a_mount_below_a_readonly_root_is_told_by_plan() {
    deviates!(["runc", "crun"], "no such command");
    for readonly in [true, false] {
        let c = Bundle::sh("true").set("/root/readonly", json!(readonly)).container();
        let (bundle, point) = (c.bundle.path(), c.bundle.rootfs("tmp"));
        let script = "mount -t tmpfs none \"$1\" && odd=\"$1/$(printf 'b \\377')\" && mkdir \"$odd\" && \
            mount -t tmpfs none \"$odd\" && exec \"$0\" plan --bundle \"$2\"";
        let program = runtime().path.clone();
        let out = Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
            .args([&program, &point, &bundle])
            .run();
        let told = format!("{} is another mount", point.display());
        assert_eq!(out.ok().contains(&told), readonly, "{out:?}");
    }
}

/// What `create` makes in the root filesystem is its caller's, and of use to the next container.
#[test]
fn r163_r270_what_is_made_in_the_root_filesystem_serves_the_next_container() {
    let bare = |bundle: Bundle| {
        bundle.edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        })
    };
    let c = bare(Bundle::sh("echo ran > /dev/null && echo ran; ls -d /new"))
        .mount("tmpfs", "tmpfs", "/new", &[])
        .container();
    for _ in 0..2 {
        assert_eq!(c.run().ok(), "ran\n/new\n");
    }
    assert!(c.bundle.rootfs("dev/null").exists() && c.bundle.rootfs("new").exists());
}

/// The kernel's word on a file that is there, and not that another one is missing.
#[test]
fn r192_a_weight_that_the_disk_cannot_have_names_the_file() {
    let home = std::path::Path::new("/sys/fs/cgroup/blkio");
    needs!(home.is_dir() && !home.join("cgroup.controllers").exists(), "cgroup v1");
    let without_bfq = fs::read_dir("/sys/block").unwrap().flatten().find(|entry| {
        let scheduler = fs::read_to_string(entry.path().join("queue/scheduler"));
        scheduler.is_ok_and(|text| text.contains("bfq") && !text.contains("[bfq]"))
    });
    needs!(without_bfq.is_some(), "a disk without bfq, and a kernel with it");
    let plain = Bundle::sleeper().container();
    plain.create().ok();
    let file = plain.cgroup("blkio").join("blkio.bfq.weight_device");
    needs!(file.exists(), "a kernel with bfq's files");
    let dev = fs::read_to_string(without_bfq.unwrap().path().join("dev")).unwrap();
    let (major, minor) = dev.trim().split_once(':').unwrap();
    let entry = |number: &str| number.parse::<u32>().unwrap();
    let weights = json!([{"major": entry(major), "minor": entry(minor), "weight": 200}]);
    let c = Bundle::sleeper()
        .set("/linux/resources/blockIO", json!({"weightDevice": weights}))
        .container();
    let out = c.create();
    deviates!(["runc", "crun"], "R192: other words");
    out.fails_with(&["linux.resources.blockIO.weightDevice[0].weight: write"]);
    out.fails_with(&["/blkio.bfq.weight_device: not supported"]);
}

/// Of two members of one name nobody can know which is meant (RFC 8259, section 4).
#[test]
fn r110_a_property_that_is_there_twice_is_refused() {
    let c = Bundle::sh("true").container();
    let file = c.bundle.path().join("config.json");
    let text = fs::read_to_string(&file).unwrap();
    let twice = text.replacen('{', "{\"hostname\": \"a\", ", 1);
    fs::write(&file, twice).unwrap();
    let out = c.create();
    deviates!(["runc", "crun"], "R110: the last one counts");
    out.fails_with(&["duplicate field `hostname`", "hostname"]);
}
