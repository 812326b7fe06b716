//! What a layer's archive says is what the layer's directory is.

use super::archive::{Layout, Tar, gzip, image, zstd};
use super::world::{World, output, tree, xattrs};
use pinnace::image::digest::{Algorithm, of};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

fn unpacked(layers: &[Vec<u8>]) -> World {
    let world = World::new();
    image(&world.path("layout"), layers);
    world.run("unpack layout bundle").ok();
    world
}

/// `umoci insert` writes neither padding behind the last file nor an end; Go's readers take that.
#[test]
fn an_archive_may_end_with_the_last_byte_of_its_last_file() {
    let whole = Tar::new().dir("www").file("www/index.html", "hello\n").end();
    // Two headers, then nothing but the content, part of its padding, all, half of the end.
    for length in [1024 + 6, 1024 + 100, 1024 + 512, 1024 + 1024] {
        let world = unpacked(&[whole[..length].to_vec()]);
        let file = world.layer(0).join("www/index.html");
        assert_eq!(fs::read_to_string(file).unwrap(), "hello\n", "{length}");
    }
}

#[test]
fn every_kind_of_entry_is_what_it_says() {
    let long = "long/".to_owned() + &"n".repeat(150);
    let layer = Tar::new()
        .with("./", b'5', |header| (header.mode, header.uid, header.mtime) = (0o750, 3, 5))
        .file_with("setuid", "s", |header| (header.mode, header.uid, header.gid) = (0o6755, 7, 8))
        .hard("hard", "setuid")
        .link("link", "/nowhere/at/all")
        .hard("hard-to-link", "link")
        .with("fifo", b'6', |header| header.mode = 0o622)
        .with("null", b'3', |header| (header.mode, header.device) = (0o666, (1, 3)))
        .with("disk", b'4', |header| header.device = (8, 1))
        .with("sticky", b'5', |header| (header.mode, header.gid) = (0o3777, 9))
        .pax(&[("path", &long), ("mtime", "-1.5"), ("uid", "3000000")])
        .file("short", "long")
        .long(b'L', &"g".repeat(200))
        .file("short", "gnu")
        .pax(&[("SCHILY.xattr.user.a", "b"), ("SCHILY.xattr.security.capability", CAPABILITY)])
        .file("capable", "c")
        .with("closed", b'5', |header| header.mode = 0)
        .file("closed/in", "x")
        .end();
    let world = unpacked(&[layer]);
    let root = world.layer(0);
    let stat = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    let is = |name: &str, mode: u32, uid: u32, gid: u32| {
        let stat = stat(name);
        assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (mode, uid, gid), "{name}");
    };
    is("", 0o750, 3, 0);
    is("setuid", 0o6755, 7, 8);
    is("sticky", 0o3777, 0, 9);
    is("closed", 0, 0, 0);
    is("long", 0o755, 0, 0);
    is(&long, 0o644, 3_000_000, 0);
    assert_eq!((stat("").mtime(), stat("setuid").mtime()), (5, 1_000_000_000));
    assert_eq!((stat(&long).mtime(), stat(&long).mtime_nsec()), (-2, 500_000_000));
    assert_eq!(stat("hard").ino(), stat("setuid").ino());
    assert_eq!(stat("hard-to-link").ino(), stat("link").ino());
    assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("/nowhere/at/all"));
    assert!(stat("fifo").file_type().is_fifo() && stat("fifo").mode() & 0o777 == 0o622);
    assert!(stat("null").file_type().is_char_device() && stat("null").rdev() == 0x103);
    assert!(stat("disk").file_type().is_block_device() && stat("disk").rdev() == 0x801);
    assert_eq!(fs::read_to_string(root.join("g".repeat(200))).unwrap(), "gnu");
    let attributes = xattrs(&root.join("capable"));
    assert!(attributes.contains_key("security.capability"), "{attributes:?}");
    assert_eq!(attributes["user.a"], "b");
    assert_eq!(fs::read_to_string(root.join("closed/in")).unwrap(), "x");
}

/// `cap_net_raw=ep`, revision 2 (linux/capability.h): no byte of it is beyond ASCII.
const CAPABILITY: &str = "\u{1}\0\0\u{2}\0\u{20}\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn the_last_entry_of_a_name_counts() {
    let layer = Tar::new()
        .file("a", "first")
        .file("a", "second")
        .file("dir/below", "x")
        .file("dir", "a file now")
        .link("link", "a")
        .dir("link")
        .dir("full/of/things")
        .file("full/of/it", "x")
        .link("full", "a")
        .hard("same", "a")
        .hard("same", "a")
        .hard("a", "a")
        .end();
    let world = unpacked(&[layer]);
    let root = world.layer(0);
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "second");
    assert_eq!(fs::read_to_string(root.join("dir")).unwrap(), "a file now");
    assert!(fs::symlink_metadata(root.join("link")).unwrap().is_dir());
    assert!(root.join("full").is_symlink());
    assert_eq!(fs::metadata(root.join("a")).unwrap().nlink(), 2);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 5);
}

#[test]
fn whiteouts_become_overlays_own() {
    let layer = Tar::new()
        .file(".wh.gone", "")
        .file("dir/.wh.file", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "x")
        .file(".wh..wh.plnk", "")
        .file(".wh.kept", "")
        .file("kept", "this layer's")
        .file("before", "x")
        .file(".wh.before", "")
        .file(".wh.replaced", "")
        .dir("replaced")
        .dir("again")
        .file(".wh.again", "")
        .file(".wh.below", "")
        .file("below/new", "x")
        .end();
    let world = unpacked(&[layer]);
    let root = world.layer(0);
    let is_whiteout = |name: &str| {
        let stat = fs::symlink_metadata(root.join(name)).unwrap();
        stat.file_type().is_char_device() && stat.rdev() == 0
    };
    assert!(is_whiteout("gone") && is_whiteout("dir/file"));
    assert!(!is_whiteout("kept") && !is_whiteout("before"));
    for name in ["opaque", "replaced", "again", "below"] {
        assert_eq!(xattrs(&root.join(name))["trusted.overlay.opaque"], "y", "{name}");
    }
    for name in ["dir", ""] {
        assert!(xattrs(&root.join(name)).is_empty(), "{name}");
    }
    let names = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with(".wh.")));
}

/// Overlay does not ask the root of a layer: what is below an opaque one is none of the image.
#[test]
fn an_opaque_root_hides_all_layers_below() {
    let secret = Tar::new().file("etc/passwd", "web:x:5:5::/:/bin/sh\n").file("secret", "s").end();
    let opaque = Tar::new().file(".wh..wh..opq", "").file("new", "x").end();
    let last = Tar::new().file("last", "x").end();
    let world = unpacked(&[secret, opaque, last]);
    assert!(world.layer(0).join("new").exists() && world.layer(1).join("last").exists());
    let list = world.config()["annotations"]["run.pinnace.layers"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&list).unwrap().len(), 2);
    world.run("unpack --copy layout copy").ok();
    assert_eq!(fs::read_dir(world.path("copy/rootfs")).unwrap().count(), 2);
    world.run("unpack --user web layout other").fails_with("has no \"web\"");
    world.run("verify layout").ok();
}

/// The kernel's overlay of the layers and the copy of them are one tree.
#[test]
fn a_copy_is_what_overlay_shows() {
    let lower = Tar::new()
        .with("./", b'5', |header| header.mode = 0o755)
        .file_with("usr/bin/a", "a", |header| header.mode = 0o4755)
        .file("gone", "x")
        .file("hidden/x", "x")
        .file("hidden/y", "y")
        .hard("usr/bin/b", "usr/bin/a")
        .dir("replaced")
        .file("replaced/x", "x")
        .link("lib", "usr/lib")
        .end();
    let middle = Tar::new()
        .file(".wh.gone", "")
        .dir("hidden")
        .file("hidden/.wh..wh..opq", "")
        .file("hidden/z", "z")
        .file(".wh.replaced", "")
        .dir("replaced")
        .dir("lib")
        .file("lib/x", "x")
        .end();
    let upper = Tar::new()
        .file("gone", "back")
        .dir("usr")
        .with("usr/bin", b'5', |header| (header.mode, header.uid) = (0o711, 5))
        .file("hidden/.wh.z", "")
        .end();
    let world = unpacked(&[lower.clone(), middle, upper, lower]);
    // The first layer is the last one, too: overlay takes it once.
    let list: Vec<_> = (0..3).map(|number| world.layer(number)).collect();
    let list: Vec<_> = list.iter().rev().map(|path| path.to_str().unwrap()).collect();
    let copied = World { dir: world.dir };
    copied.run("unpack --copy layout copy").ok();
    let merged = copied.path("merged");
    fs::create_dir(&merged).unwrap();
    let seen = copied.path("seen");
    // By fsconfig(2), which newer versions of mount(8) prefer, no option is longer than 255 bytes.
    let script = format!(
        "LIBMOUNT_FORCE_MOUNT2=always mount -t overlay -o lowerdir={},metacopy=off,redirect_dir=off o merged && \
         mkdir seen && cp -a merged/. seen/ && umount merged",
        list.join(":")
    );
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", &script]);
    command.current_dir(copied.dir.path());
    output(command).ok();
    let strip = |path: &Path| {
        let mut all = tree(path, false);
        all.values_mut().for_each(|line| *line = line.replace("links ", ""));
        all
    };
    assert_eq!(strip(&copied.path("copy/rootfs")), strip(&seen));
    assert_eq!(fs::read_to_string(seen.join("gone")).unwrap(), "x");
    assert!(copied.config_of("copy")["annotations"].get("run.pinnace.layers").is_none());
}

#[test]
fn a_layer_is_read_however_it_is_packed() {
    let tar = Tar::new().file("a", "a".repeat(300_000)).file("b", "b").end();
    let (first, second) = tar.split_at(100_000);
    let skippable = [&0x184d_2a53_u32.to_le_bytes()[..], &5u32.to_le_bytes(), b"abcde"].concat();
    let oci = |suffix: &str| format!("application/vnd.oci.image.layer.v1.tar{suffix}");
    let docker = |suffix: &str| format!("application/vnd.docker.image.rootfs.{suffix}");
    for (kind, blob) in [
        (oci(""), tar.clone()),
        (oci("+gzip"), gzip(&tar)),
        (oci("+gzip"), [gzip(first), gzip(second), gzip(b"")].concat()),
        (oci("+zstd"), zstd(&tar)),
        (oci("+zstd"), [zstd(first), skippable.clone(), zstd(second), skippable].concat()),
        (docker("diff.tar.gzip"), gzip(&tar)),
        (docker("foreign.diff.tar.gzip"), gzip(&tar)),
        (docker("diff.tar"), tar.clone()),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into(), gzip(&tar)),
    ] {
        let world = World::new();
        let dir = world.path("layout");
        let layout = Layout::new(&dir);
        let layer = layout.blob(&kind, &blob);
        let id = of(Algorithm::Sha256, &tar).to_string();
        let manifest = layout.manifest_of(&json!([layer]), &json!([id]), &json!({"Cmd": ["x"]}));
        layout.tag(manifest, "");
        let out = world.run("unpack layout bundle");
        assert_eq!(out.code, 0, "{kind}: {out:?}");
        assert_eq!(fs::metadata(world.layer(0).join("a")).unwrap().len(), 300_000);
    }
}

/// umoci 0.4 leaves the end away, others have more than one block of it.
#[test]
fn an_archive_ends_where_others_see_its_end() {
    let start = || Tar::new().file("a", "a");
    for tar in
        [start().0, [start().0, vec![0; 512]].concat(), [start().end(), vec![0; 9216]].concat()]
    {
        let world = unpacked(&[tar]);
        assert_eq!(fs::read_to_string(world.layer(0).join("a")).unwrap(), "a");
    }
    let world = unpacked(&[Vec::new()]);
    assert_eq!(fs::read_dir(world.layer(0)).unwrap().count(), 0);
}

/// GNU tar and Python see the same entries as we do, in archives that they have made.
#[test]
fn other_readers_see_the_same_entries() {
    let world = World::new();
    let source = world.path("source");
    fs::create_dir_all(source.join("dir").join("deep/".repeat(40))).unwrap();
    for name in
        ["a", "dir/b", &"n".repeat(120), &format!("dir/{}", "m".repeat(240)), "dir/\u{e4}\u{4e2d}"]
    {
        fs::write(source.join(name), name).unwrap();
    }
    fs::hard_link(source.join("a"), source.join("dir/hard")).unwrap();
    std::os::unix::fs::symlink("t".repeat(150), source.join("long-link")).unwrap();
    for format in ["v7", "ustar", "gnu", "oldgnu", "pax"] {
        let archive = world.path(&format!("{format}.tar"));
        let mut command = Command::new("tar");
        command
            .args(["--format", format, "--warning=none", "-C"])
            .arg(&source)
            .arg("-cf")
            .arg(&archive)
            .arg(".");
        // What a format cannot hold is left out, and then the exit status is bad.
        output(command);
        let list = |program: &str, args: &[&str]| -> Vec<String> {
            let mut command = Command::new(program);
            command.args(args).arg(&archive);
            let out = output(command);
            let name = |line: &str| line.trim_start_matches("./").trim_end_matches('/').to_owned();
            let mut names: Vec<_> = out.ok().lines().map(name).collect();
            names.sort();
            names.dedup();
            names
        };
        let gnu = list("tar", &["--quoting-style=literal", "-tf"]);
        let python = list(
            "python3",
            &[
                "-c",
                "import tarfile,sys\nfor n in tarfile.open(sys.argv[1]).getnames(): print('' if n == '.' else n)",
            ],
        );
        let dir = world.path(format);
        image(&dir, &[fs::read(&archive).unwrap()]);
        drop(fs::remove_dir_all(world.path("bundle")));
        world.run(&format!("unpack {format} bundle")).ok();
        let ours: Vec<_> = tree(&world.layer(0), false).into_keys().collect();
        assert_eq!(gnu, ours, "{format}");
        assert_eq!(python, ours, "{format}");
    }
}

impl World {
    fn config_of(&self, bundle: &str) -> Value {
        let text = fs::read_to_string(self.path(bundle).join("config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}
