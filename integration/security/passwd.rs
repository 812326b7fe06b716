//! /etc/passwd of the image, which the runtime reads for HOME.

use crate::harness::{Bundle, Container, Output, deviates};
use std::fs;
use std::os::unix::fs::symlink;

/// A variable of the caller's that would be an entry, if its environment were read.
const LEAK: &str = "\nroot:x:0:0::/leaked:/bin/sh\n";

fn run(c: &Container) -> Output {
    let bundle = c.bundle.path();
    c.call(["run", "--bundle", bundle.to_str().unwrap(), &c.id]).env("DECOY", LEAK).run()
}

/// B6: a view of the kernel is not read, whatever links lead to it.
#[test]
fn is_not_read_through_a_link_to_procfs() {
    for target in [
        "/proc/self/environ",
        "../proc/1/environ",
        "/proc/self/root/proc/self/environ",
        "/proc/self/task/1/environ",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/dev/zero",
        "/dev/full",
        "/dev/stdin",
    ] {
        let c = Bundle::sh("echo $HOME").container();
        symlink(target, c.bundle.rootfs("etc/passwd")).unwrap();
        let out = run(&c);
        deviates!(["runc", "crun"], "B6: whatever they read");
        assert_eq!(out.ok(), "/\n", "{target}");
    }
    let c = Bundle::sh("echo $HOME").container();
    fs::remove_dir(c.bundle.rootfs("etc")).unwrap();
    symlink("/proc/self/task/1", c.bundle.rootfs("etc")).unwrap();
    symlink("/proc/self/environ", c.bundle.rootfs("passwd")).unwrap();
    assert_eq!(run(&c).ok(), "/\n");
}

/// B6: the environment of who calls `exec`.
#[test]
fn is_not_read_through_a_link_to_procfs_by_exec() {
    let c = Bundle::sleeper().container();
    symlink("/proc/self/environ", c.bundle.rootfs("etc/passwd")).unwrap();
    let c = c.up();
    let call = c.call(["exec", &c.id, "sh", "-c", "echo $HOME"]).env("DECOY", LEAK);
    deviates!(["runc", "crun"], "B6: whatever they read");
    assert_eq!(call.run().ok(), "/\n");
}

#[test]
fn hangs_nobody_as_a_fifo_and_is_not_read_as_a_device() {
    use rustix::fs::{CWD, FileType, makedev, mknodat};
    for (kind, device) in
        [(FileType::Fifo, 0), (FileType::CharacterDevice, makedev(1, 5)), (FileType::Socket, 0)]
    {
        let c = Bundle::sh("echo $HOME").container();
        mknodat(CWD, c.bundle.rootfs("etc/passwd"), kind, 0o666.into(), device).unwrap();
        assert_eq!(run(&c).ok(), "/\n", "{kind:?}");
    }
}

/// And where it may be: behind links of the image, on a volume of the engine's.
#[test]
fn is_read_where_engines_and_images_have_it() {
    let text = "app:x:7:7::/app:/bin/sh\nroot:x:0:0::/home:/bin/sh\n";
    let bundle = || Bundle::sh("echo $HOME");
    let linked = bundle().file("nix/store/passwd", text).container();
    symlink("/nix/store/passwd", linked.bundle.rootfs("etc/passwd")).unwrap();
    assert_eq!(run(&linked).ok(), "/home\n");
    let file = bundle().file("etc/passwd", "root:x:0:0::/other:/bin/sh\n");
    let volume = file.dir().join("passwd");
    fs::write(&volume, text).unwrap();
    assert_eq!(run(&file.bind(&volume, "/etc/passwd", &["bind"]).container()).ok(), "/home\n");
    let etc = bundle();
    let volume = etc.dir().join("etc");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("passwd"), text).unwrap();
    assert_eq!(run(&etc.bind(&volume, "/etc", &["bind"]).container()).ok(), "/home\n");
}
