//! Masked and read-only paths that are odd: the root itself, links, what is not there.

use crate::harness::{Bundle, deviates, json};
use std::fs;
use std::os::unix::fs::symlink;

const WRITE: &str = "touch /x; mkdir /tmp/d; touch /dev/shm/x /vol/x && echo elsewhere";

fn with_volume(bundle: Bundle, field: &str, paths: &[&str]) -> Bundle {
    let volume = bundle.dir().join("volume");
    fs::create_dir(&volume).unwrap();
    bundle.bind(&volume, "/vol", &["bind"]).set(&format!("/linux/{field}"), json!(paths))
}

/// As with root.readonly: what is mounted below is not meant.
#[test]
fn r250_the_root_may_be_a_readonly_path() {
    for path in ["/", "/.", "//", "/tmp/.."] {
        let out = with_volume(Bundle::sh(WRITE), "readonlyPaths", &[path, "/proc/sys"]).run();
        deviates!("crun", "R250: nothing happens, in silence");
        if path == "/tmp/.." {
            deviates!("runc", "R250: nothing happens, in silence");
        }
        assert_eq!(out.ok(), "elsewhere\n", "{path}");
        assert_eq!(out.stderr.matches("Read-only file system").count(), 2, "{path}: {out:?}");
    }
}

#[test]
fn r250_the_root_is_readonly_by_a_link_and_with_a_user_namespace() {
    let bundle = Bundle::sh(WRITE);
    symlink("tmp/..", bundle.rootfs("link")).unwrap();
    let out = with_volume(bundle, "readonlyPaths", &["/link"]).run();
    deviates!(["runc", "crun"], "R250: nothing happens, in silence");
    assert_eq!(out.ok(), "elsewhere\n");
    assert_eq!(out.stderr.matches("Read-only file system").count(), 2, "{out:?}");
    let out = with_volume(Bundle::sh("touch /x").user_namespace(), "readonlyPaths", &["/"]).run();
    out.fails_with(&["read-only file system"]);
}

#[test]
fn r250_what_is_in_the_root_may_be_named_too() {
    let out = Bundle::sh("touch /x; echo > /etc/f; cat /etc/f; test -w /proc/sys || echo no")
        .file("etc/f", "kept\n")
        .set("/linux/readonlyPaths", json!(["/etc", "/", "/proc/sys", "/etc/f"]))
        .set("/linux/maskedPaths", json!(["/proc/keys"]))
        .run();
    deviates!("crun", "R250: nothing happens, in silence");
    assert!(out.stdout.starts_with("kept\n"), "{out:?}");
    assert_eq!(out.stderr.matches("Read-only file system").count(), 2, "{out:?}");
}

#[test]
fn r250_a_readonly_path_through_a_link() {
    let bundle = Bundle::sh("touch /data/x; touch /link/x; touch /y && echo beside");
    symlink("/data", bundle.rootfs("link")).unwrap();
    symlink("nowhere", bundle.rootfs("dangling")).unwrap();
    let paths = json!(["/link", "/dangling", "/no/such", "/etc/passwd/below"]);
    let out = bundle.file("data/f", "").set("/linux/readonlyPaths", paths).run();
    deviates!("crun", "R250: an error where the path is below a file");
    assert_eq!(out.ok(), "beside\n");
    assert_eq!(out.stderr.matches("Read-only file system").count(), 2, "{out:?}");
}

/// What lies upon `/` nobody sees who has it as root: it would hide nothing.
#[test]
fn r249_the_root_cannot_be_masked() {
    for path in ["/", "/.", "//", "/tmp/.."] {
        let c = Bundle::sh("echo ran")
            .set("/linux/maskedPaths", json!(["/proc/keys", path]))
            .container();
        let out = c.run();
        deviates!(["runc", "crun"], "R249: nothing happens, in silence");
        out.fails_with(&[&format!("linux.maskedPaths[1]: {path:?} is the root")]);
        assert!(!c.root().join(&c.id).exists(), "before anything is made");
    }
    let bundle = Bundle::sh("echo ran");
    symlink("/", bundle.rootfs("link")).unwrap();
    let out = bundle.set("/linux/maskedPaths", json!(["/link"])).run();
    out.fails_with(&["linux.maskedPaths[0]: /link: leads to the root"]);
}

#[test]
fn r249_a_masked_path_through_a_link() {
    let bundle = Bundle::sh("wc -c < /etc/secret; ls /etc/secrets | wc -l");
    symlink("etc/secret", bundle.rootfs("file")).unwrap();
    symlink("/etc/secrets", bundle.rootfs("dir")).unwrap();
    let out = bundle
        .file("etc/secret", "secret")
        .file("etc/secrets/one", "secret")
        .set("/linux/maskedPaths", json!(["/file", "/dir"]))
        .run();
    assert_eq!(out.ok(), "0\n0\n");
}
