//! The host's mounts in a container with a user namespace: what locks them must not ask more of
//! the caller than the container does, and must change nothing else (see "The host's mounts are
//! locked for a user namespace" in ARCHITECTURE.md).

use crate::harness::{Bundle, Call, Container, Lacks, Output, deviates, json, runtime};
use std::path::Path;

/// Says `cleared` if a lock of the mount at /m is missing.
const SCRIPT: &str =
    "mount -o remount,bind none /m 2>/dev/null && echo cleared; cat /proc/self/mountinfo";

fn bundle() -> Bundle {
    Bundle::sh(SCRIPT).user_namespace().capability("CAP_SYS_ADMIN")
}

/// `run` in a mount namespace of its own, after `setup`; there $B is the bundle. `through` is a
/// program that executes the rest of its command line.
fn after(c: &Container, setup: &str, through: &[&str]) -> Call {
    let bundle = c.bundle.path();
    let setup = format!("set -e; B={}; {setup}; exec \"$@\"", bundle.display());
    Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", &setup, "sh"])
        .args(through)
        .args([&runtime().path])
        .args([Path::new("--root"), &c.root(), Path::new("run"), Path::new("--bundle"), &bundle])
        .args([&c.id])
}

/// The line of mountinfo, without its ids.
#[track_caller]
fn mount_at<'a>(out: &'a Output, target: &str) -> &'a str {
    let line = out.ok().lines().rfind(|line| line.split(' ').nth(4) == Some(target));
    line.unwrap_or_else(|| panic!("nothing mounted on {target}: {out:?}"))
}

/// setns(2) to a mount namespace takes `CAP_SYS_CHROOT`, which unshare(2) and a new user
/// namespace do without; and a filter may deny it.
#[test]
fn they_are_locked_also_for_a_caller_who_may_not_come_back_from_a_mount_namespace() {
    let setup = "mkdir $B/m; mount -t tmpfs -o nosuid,nodev none $B/m";
    let weak = ["/usr/bin/setpriv", "--bounding-set", "-sys_chroot", "--inh-caps", "-sys_chroot"];
    let setns = Lacks { call: libc::SYS_setns, argument: 0, mask: 0, value: 0, errno: libc::EPERM };
    for (through, lacks) in [(&weak[..], &[][..]), (&[], &[setns])] {
        let bundle = bundle();
        let source = bundle.path().join("m");
        let c = bundle.bind(&source, "/m", &["rbind", "rprivate"]).container();
        let call = after(&c, setup, through);
        let out = if lacks.is_empty() { call } else { call.without(lacks) }.run();
        deviates!("runc", "needs setns");
        deviates!("crun", "its binds are made outside of the user namespace: cleared");
        assert!(mount_at(&out, "/m").contains("nosuid,nodev"), "{out:?}");
        assert!(!out.ok().contains("cleared"), "{out:?}");
    }
}

/// Options that clear something are applied before the locks, also by mount(2).
#[test]
fn options_clear_what_the_host_has_set_also_without_mount_setattr() {
    // A newer mount(8) calls mount_setattr(2), too.
    let setup = "mkdir $B/m; /bin/busybox mount -t tmpfs -o nosuid,nodev,noexec none $B/m";
    for errno in [libc::EPERM, libc::ENOSYS] {
        let bundle = bundle();
        let source = bundle.path().join("m");
        let c = bundle.bind(&source, "/m", &["bind", "exec", "ro"]).container();
        let lacks = Lacks { call: libc::SYS_mount_setattr, argument: 0, mask: 0, value: 0, errno };
        let out = after(&c, setup, &[]).without(&[lacks]).run();
        deviates!(["runc", "crun"], "newer than these");
        let line = mount_at(&out, "/m");
        assert!(line.contains(" ro,nosuid,nodev,") && !line.contains("noexec"), "{line}");
        assert!(!out.ok().contains("cleared"), "{out:?}");
    }
}

/// The kernel lets a user namespace have a procfs where a whole one is seen, wherever that is.
#[test]
fn a_procfs_that_is_not_at_its_place_or_cannot_be_bound_is_as_good() {
    for setup in [
        "mkdir $B/whole; mount -t proc none $B/whole; mount -t tmpfs none /proc/fs",
        "mount --make-unbindable /proc",
    ] {
        let c = Bundle::sh("echo $$").user_namespace().container();
        let out = after(&c, setup, &[]).run();
        deviates!("crun", "binds the host's instead");
        assert_eq!(out.ok(), "1\n", "{setup}");
    }
    let c = Bundle::sh("echo $$").user_namespace().container();
    let out = after(&c, "mount -t tmpfs none /proc/fs", &[]).run();
    deviates!("crun", "binds the host's instead");
    out.fails_with(&["proc"]);
}

#[test]
fn the_hosts_own_root_is_one_also_with_hooks() {
    for hooks in [json!({}), json!({"createContainer": [{"path": "/bin/true"}]})] {
        let c = Bundle::sh("test -e /etc/passwd && echo found")
            .user_namespace()
            .set("/root/path", json!("/"))
            .set("/root/readonly", json!(false))
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
            .set("/hooks", hooks)
            .set("/mounts", json!([]))
            .mount("proc", "proc", "/proc", &[])
            .bind(Path::new("/dev"), "/dev", &["rbind"])
            .container();
        let out = after(&c, ":", &[]).run();
        deviates!(["runc", "crun"], "cannot leave the host's own root");
        assert_eq!(out.ok(), "found\n");
    }
}

#[test]
fn what_is_below_an_unbindable_bind_still_hears_of_the_hosts_mounts() {
    let setup = "mkdir $B/m; mount -t tmpfs none $B/m; mkdir $B/m/sub; \
        mount -t tmpfs none $B/m/sub; mount --make-rshared $B/m";
    for options in [&["rbind", "rslave", "unbindable"][..], &["rbind", "rslave", "runbindable"]] {
        let bundle = bundle();
        let source = bundle.path().join("m");
        let c = bundle.bind(&source, "/m", options).container();
        let out = after(&c, setup, &[]).run();
        deviates!("crun", "the last one counts for all");
        assert!(mount_at(&out, "/m").contains(" unbindable "), "{out:?}");
        let below = if options[2] == "unbindable" { " master:" } else { " unbindable " };
        assert!(mount_at(&out, "/m/sub").contains(below), "{out:?}");
    }
}

/// A mount namespace that is joined has an owner already, and is nobody's copy.
#[test]
fn a_mount_namespace_may_be_joined_with_its_user_namespace() {
    let c = Bundle::sh("echo $$")
        .user_namespace()
        .unset("/linux", "uidMappings")
        .unset("/linux", "gidMappings")
        .namespace("user", Some("/proc/self/fd/8"))
        .namespace("mount", Some("/proc/self/fd/9"))
        .container();
    let setup = "mkfifo $B/there; unshare --user --mount --propagation private \
            sh -c 'echo; exec sleep 100 >&-' >$B/there & read -r _ <$B/there; \
        for map in uid gid; do echo 0 100000 65536 >/proc/$!/${map}_map; done; \
        exec 8</proc/$!/ns/user 9</proc/$!/ns/mnt; kill $!";
    let out = after(&c, setup, &[]).run();
    deviates!(["runc", "crun"], "asks for mappings");
    assert_eq!(out.ok(), "1\n");
}
