//! Who has no privilege: the same layers, as far as the kernel lets a user make them.

use super::archive::{Tar, image};
use super::world::{Output, World, output, xattrs};
use crate::harness::copy_program;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

#[test]
fn a_user_unpacks_without_privilege() {
    let world = World::new();
    let layer = Tar::new()
        .file_with("bin/a", "a", |header| (header.uid, header.mode) = (5, 0o755))
        .with("closed", b'5', |header| header.mode = 0o555)
        .file("closed/in", "x")
        .with("null", b'3', |header| header.device = (1, 3))
        .file(".wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .end();
    image(&world.path("layout"), &[layer]);
    for name in ["", "store"] {
        let path = world.path(name);
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).unwrap();
    }
    let unpack = |words: &str| {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(copy_of_program(&world)).args(words.split(' ')).current_dir(world.dir.path());
        output(command)
    };
    let out = unpack("unpack --store store layout bundle");
    out.ok();
    assert!(out.stderr.contains("owners other than the caller"), "{out:?}");
    assert!(out.stderr.contains("devices, which are empty files"), "{out:?}");
    let root = world.layer(0);
    assert_eq!(fs::symlink_metadata(root.join("gone")).unwrap().rdev(), 0);
    assert_eq!(xattrs(&root.join("opaque"))["user.overlay.opaque"], "y");
    assert_eq!(fs::metadata(root.join("closed")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(fs::metadata(root.join("bin/a")).unwrap().uid(), 65_534);
    assert_eq!(fs::metadata(root.join("null")).unwrap().len(), 0);
    let kinds = world.config()["linux"]["namespaces"].clone();
    assert!(kinds.as_array().unwrap().contains(&json!({"type": "user"})), "{kinds}");
    unpack("unpack --store store --copy layout copy").ok();
    assert!(world.path("copy/rootfs/closed/in").exists());
    unpack("verify --store store layout").ok();
    fs::remove_dir_all(world.path("bundle")).unwrap();
    unpack("prune --store store").ok();
    assert!(!root.exists());
}

/// The user may not look into the checkout.
fn copy_of_program(world: &World) -> std::path::PathBuf {
    let to = world.path("program");
    if !to.exists() {
        copy_program(&super::world::program(), &to);
    }
    to
}

/// A world whose store is a user's, with that image.
fn world_of_a_user(layer: Vec<u8>) -> World {
    let world = World::new();
    image(&world.path("layout"), &[layer]);
    for name in ["", "store"] {
        let path = world.path(name);
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).unwrap();
    }
    world
}

fn as_user(world: &World, words: &str) -> Output {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.arg(copy_of_program(world)).args(words.split(' ')).current_dir(world.dir.path());
    output(command)
}

/// `/` of Fedora has mode 0555, and its `/etc/shadow` 0000.
#[test]
fn modes_that_keep_even_the_owner_out_stop_no_user() {
    let layer = Tar::new()
        .with("./", b'5', |header| header.mode = 0o555)
        .file_with("etc/shadow", "secret", |header| header.mode = 0)
        .end();
    let world = world_of_a_user(layer);
    as_user(&world, "unpack --store store layout bundle").ok();
    let root = world.layer(0);
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode(""), mode("etc/shadow")), (0o555, 0));
    as_user(&world, "unpack --store store --copy layout copy").ok();
    assert_eq!(fs::read_to_string(world.path("copy/rootfs/etc/shadow")).unwrap(), "secret");
    assert_eq!(fs::metadata(world.path("copy/rootfs")).unwrap().mode() & 0o7777, 0o555);
    as_user(&world, "verify --store store layout").ok();
    assert_eq!((mode(""), mode("etc/shadow")), (0o555, 0));
    fs::remove_dir_all(world.path("bundle")).unwrap();
    as_user(&world, "prune --store store").ok();
    assert!(!root.exists());
}

/// The caller is the container's root: what was to become another user must not become that.
#[test]
fn set_id_bits_are_kept_for_root_alone() {
    let layer = Tar::new()
        .file_with("root", "x", |header| header.mode = 0o6755)
        .file_with("user", "x", |header| (header.mode, header.uid) = (0o4755, 33))
        .file_with("group", "x", |header| (header.mode, header.gid) = (0o2755, 5))
        .file_with("both", "x", |header| (header.mode, header.uid, header.gid) = (0o6711, 33, 0))
        .end();
    let world = world_of_a_user(layer);
    let out = as_user(&world, "unpack --store store layout bundle");
    out.ok();
    assert!(out.stderr.contains("3 x set-id bits for owners that are the caller now"), "{out:?}");
    let mode = |name: &str| fs::metadata(world.layer(0).join(name)).unwrap().mode() & 0o7777;
    let modes = ["root", "user", "group", "both"].map(mode);
    assert_eq!(modes, [0o6755, 0o755, 0o755, 0o2711]);
}
