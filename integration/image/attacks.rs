//! Images that were made to reach what is not theirs. Each test names whose mistake it was;
//! beside the store stand decoys, of which nothing may change.

use super::archive::{Header, Layout, Pack, Tar, here, image};
use super::world::{World, end, spawn, xattrs};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

/// Unpacks these layers; says whether it went well. No decoy has changed then.
#[track_caller]
fn attack(world: &World, layers: &[Vec<u8>]) -> super::world::Output {
    let before = world.decoys();
    image(&world.path("layout"), layers);
    let out = world.run("unpack layout bundle");
    assert_eq!(world.decoys(), before, "a decoy has changed: {out:?}");
    out
}

/// It is refused, in one line that says this, and nothing is left.
#[track_caller]
fn refused(layers: &[Vec<u8>], words: &str) {
    let world = World::new();
    attack(&world, layers).fails_with(words);
    world.is_clean();
}

/// The way from a layer's root to the decoys, by its files and from `/`.
fn ways(world: &World) -> [String; 2] {
    let decoy = world.path("decoy");
    [
        format!("{}{}", "../".repeat(30), decoy.to_str().unwrap().trim_start_matches('/')),
        decoy.to_str().unwrap().to_owned(),
    ]
}

#[test]
fn dots_lead_nowhere() {
    for name in ["../x", "a/../../x", "./../x", "a/..", "..", "/../x"] {
        refused(&[Tar::new().file(name, "x").end()], "leads out of the image");
    }
    refused(&[Tar::new().hard("x", "../decoy/passwd").end()], "leads out of the image");
    refused(&[Tar::new().pax(&[("path", "../x")]).file("y", "").end()], "leads out of the image");
    refused(&[Tar::new().long(b'L', "a/../../x").file("y", "").end()], "leads out of the image");
}

/// CVE-2014-9356, CVE-2021-38511 (tar-rs), umoci's CVE-2021-29136 by a parent.
#[test]
fn what_lies_behind_a_link_stays_in_the_layer() {
    let world = World::new();
    for way in ways(&world) {
        let layer = Tar::new()
            .link("out", &way)
            .file("out/passwd", "evil")
            .dir("out/made")
            .link("out/link", "/etc/passwd")
            .with("out/dir", b'5', |header| header.mode = 0o4777)
            .end();
        let out = attack(&world, &[layer]);
        // By `/` and by dots the link leads from the layer's own root.
        assert!(out.code == 0 || out.stderr.contains("no directory"), "{out:?}");
        if out.code == 0 {
            fs::remove_dir_all(world.path("bundle")).unwrap();
        }
    }
}

/// CVE-2014-6407 (docker), CVE-2018-20990 and RUSTSEC-2018-0002 (tar-rs).
#[test]
fn no_hard_link_leads_to_a_file_of_the_host() {
    let world = World::new();
    let [_, way] = ways(&world);
    let passwd = format!("{way}/passwd");
    refused(&[Tar::new().hard("x", &passwd).file("x", "evil").end()], "no such file in this layer");
    // Through a link of the layer, and to one.
    let layer = Tar::new().link("out", &way).hard("x", "out/passwd").file("x", "evil").end();
    let out = attack(&world, &[layer]);
    out.fails_with("no such file in this layer");
    let layer = Tar::new().link("a", &passwd).hard("b", "a").file("b", "evil").end();
    attack(&world, &[layer]).ok();
    assert_eq!(fs::read_to_string(world.layer(0).join("b")).unwrap(), "evil");
    assert_eq!(fs::read_link(world.layer(0).join("a")).unwrap(), Path::new(&passwd));
}

/// A hard link to a file of a lower layer would change that one.
#[test]
fn no_hard_link_leads_to_another_layer() {
    let layers = [Tar::new().file("a", "a").end(), Tar::new().hard("b", "a").end()];
    let world = World::new();
    let out = attack(&world, &layers);
    out.fails_with("a layer cannot link to a file of a lower one");
    // The first layer is whole, and may stay.
    assert!(!world.path("bundle").exists());
    assert_eq!(fs::read_dir(world.path("store/tmp")).unwrap().count(), 0);
}

/// CVE-2021-29136 (umoci): what comes for `/` is no directory.
#[test]
fn the_root_is_a_directory() {
    for name in [".", "/", "./", "//", "./."] {
        let layer = Tar::new().link(name, "/etc").file("x", "x").end();
        refused(&[layer], "the root of an image is a directory");
    }
    refused(&[Tar::new().hard(".", "x").end()], "the root of an image is a directory");
    refused(&[Tar::new().file("/", "x").end()], "ends in a slash");
}

/// CVE-2021-32760 (containerd), CVE-2026-33056 and RUSTSEC-2026-0113 (tar-rs, astral-tokio-tar).
#[test]
fn modes_and_times_do_not_go_through_links() {
    let world = World::new();
    let [_, way] = ways(&world);
    let program = format!("{way}/dir/program");
    let layer = Tar::new()
        .link("a", &program)
        .with("a", b'2', |header| {
            header.link = program.clone().into();
            header.mode = 0o6777;
            header.mtime = 5;
        })
        .link("dir", &way)
        .with("dir", b'5', |header| (header.mode, header.uid) = (0o7777, 99))
        .file_with("dir/shadow", "mine", |header| header.mode = 0o4755)
        .link("last", &way)
        .end();
    attack(&world, &[layer]).ok();
    let dir = world.layer(0).join("dir");
    assert!(fs::symlink_metadata(&dir).unwrap().is_dir());
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o7777);
    assert_eq!(fs::metadata(dir.join("shadow")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::symlink_metadata(world.layer(0).join("a")).unwrap().mtime(), 5);
}

/// A directory that becomes a link between its entry and the end keeps its attributes to itself.
#[test]
fn what_is_last_done_to_directories_does_not_go_through_links() {
    let world = World::new();
    let [_, way] = ways(&world);
    let layer = Tar::new()
        .with("dir", b'5', |header| (header.mode, header.mtime) = (0o7777, 7))
        .with("dir/deeper", b'5', |header| (header.mode, header.mtime) = (0o7777, 7))
        .link("dir", &way)
        .end();
    attack(&world, &[layer]).ok();
    assert!(world.layer(0).join("dir").is_symlink());
}

/// CVE-2026-46703 (boxlite): a whiteout behind a link deletes on the host.
#[test]
fn whiteouts_do_not_go_through_links() {
    let world = World::new();
    for way in ways(&world) {
        let whiteout = "out/.wh.passwd".to_owned();
        let layer =
            Tar::new().link("out", &way).file(&whiteout, "").file("out/.wh..wh..opq", "").end();
        let out = attack(&world, std::slice::from_ref(&layer));
        assert!(out.code == 0 || out.stderr.contains("no directory"), "{out:?}");
        drop(fs::remove_dir_all(world.path("bundle")));
        let lower = Tar::new().link("out", &way).end();
        let upper = Tar::new().file(".wh.out", "").file(&whiteout, "").end();
        attack(&world, &[lower, upper]).ok();
        // With one directory for all layers, too.
        fs::remove_dir_all(world.path("bundle")).unwrap();
        let before = world.decoys();
        world.run("unpack --copy layout bundle").ok();
        assert_eq!(world.decoys(), before);
        fs::remove_dir_all(world.path("bundle")).unwrap();
    }
}

#[test]
fn whiteouts_of_nothing_are_refused() {
    for name in [".wh.", "a/.wh.", ".wh..", ".wh..."] {
        refused(&[Tar::new().file(name, "").end()], "a whiteout of nothing");
    }
    refused(&[Tar::new().file(".wh.a/b", "").end()], "begins with .wh.");
}

/// CVE-2021-29136 and CVE-2025-47290 (containerd): a lower layer's link is a later one's parent.
#[test]
fn links_of_lower_layers_are_not_followed() {
    let world = World::new();
    for way in ways(&world) {
        let lower = Tar::new().dir("etc").link("out", &way).link("etc/cron.d", &way).end();
        let upper = Tar::new().file("out/passwd", "evil").file("etc/cron.d/job", "evil").end();
        attack(&world, &[lower, upper]).ok();
        assert!(world.layer(1).join("out/passwd").is_file());
        fs::remove_dir_all(world.path("bundle")).unwrap();
        let before = world.decoys();
        world.run("unpack --copy layout bundle").ok();
        assert_eq!(world.decoys(), before);
        let root = world.path("bundle/rootfs");
        assert_eq!(fs::read_to_string(root.join("out/passwd")).unwrap(), "evil");
        assert_eq!(fs::read_to_string(root.join("etc/cron.d/job")).unwrap(), "evil");
        fs::remove_dir_all(world.path("bundle")).unwrap();
    }
}

/// CVE-2025-62518 (TARmageddon), CVE-2026-33055, GHSA-3cv2-h65g-fgmm: where one reader sees the
/// content of a file, another one sees entries.
#[test]
fn no_entries_are_smuggled_past_a_reader() {
    let inner = Tar::new().file("smuggled", "evil").0;
    // The header says 0, the record says all of it: what is inside is content, and no entry.
    let layer = Tar::new()
        .pax(&[("size", &inner.len().to_string())])
        .file_with("nested.tar", &inner, |header| header.size = 0)
        .file("last", "")
        .end();
    let world = World::new();
    attack(&world, &[layer]).ok();
    assert_eq!(fs::read(world.layer(0).join("nested.tar")).unwrap(), inner);
    assert!(!world.layer(0).join("smuggled").exists() && world.layer(0).join("last").exists());
    // A record is about the next file, not about the long name before it.
    let name = "n".repeat(200);
    let layer = Tar::new()
        .pax(&[("size", "4")])
        .long(b'L', &name)
        .file_with("short", "evil", |header| header.size = 0)
        .file("last", "")
        .end();
    let world = World::new();
    attack(&world, &[layer]).ok();
    assert_eq!(fs::read(world.layer(0).join(&name)).unwrap(), b"evil");
    assert!(world.layer(0).join("last").exists());
    for (layer, words) in [
        (
            Tar::new().pax(&[("path", "a")]).pax(&[("path", "b")]).file("x", ""),
            "two extended headers",
        ),
        (Tar::new().long(b'L', "a").long(b'L', "b").file("x", ""), "two long names"),
        (Tar::new().with("x", b'5', |header| header.size = 512).file("y", ""), "bytes of content"),
        (Tar::new().raw(&global(), b"9 path=a\n").file("y", ""), "global header"),
        (Tar::new().pax(&[("GNU.sparse.major", "1")]).file("x", ""), "sparse"),
        (Tar::new().with("x", b'S', |_| {}), "sparse"),
        (Tar::new().with("x", b'Q', |_| {}), "unknown type"),
        (Tar::new().pax(&[("path", "a\0b")]).file("x", ""), "NUL"),
        (Tar::new().pax(&[("path", "x")]), "without an entry"),
    ] {
        refused(&[layer.end()], words);
    }
    let mut behind = Tar::new().file("a", "");
    behind.0.extend([0; 512]);
    refused(&[behind.file("b", "").end()], "behind a block of zeros");
}

fn global() -> Header {
    let mut header = Header::new("g", b'g');
    header.size = 9;
    header
}

/// The kernel's documents: attributes of overlay's own in a lower layer that nobody trusts.
#[test]
fn an_image_does_not_say_what_a_layer_means() {
    let layer = Tar::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", "y"),
            ("SCHILY.xattr.trusted.overlay.redirect", "/etc"),
            ("SCHILY.xattr.user.overlay.opaque", "y"),
            ("SCHILY.xattr.trusted.x", "y"),
            ("SCHILY.xattr.security.selinux", "system_u:object_r:x:s0"),
            ("SCHILY.xattr.user.mine", "kept"),
        ])
        .dir("dir")
        .pax(&[("SCHILY.xattr.trusted.overlay.metacopy", ""), ("SCHILY.xattr.user.mine", "kept")])
        .file("dir/file", "x")
        .end();
    let world = World::new();
    let out = attack(&world, &[layer]);
    out.ok();
    assert!(out.stderr.contains("told what a layer means"), "{out:?}");
    for name in ["dir", "dir/file"] {
        let found: Vec<_> = xattrs(&world.layer(0).join(name)).into_iter().collect();
        assert_eq!(found, [("user.mine".to_owned(), "kept".to_owned())], "{name}");
    }
    refused(&[Tar::new().with("hidden", b'3', |_| {}).end()], "would hide a file of a lower layer");
    refused(
        &[Tar::new().with("x", b'3', |header| header.device = (4096, 1)).end()],
        "no such device",
    );
}

/// CVE-2024-3727 (containers/image), CVE-2014-9358 (docker).
#[test]
fn digests_are_no_paths() {
    for digest in [
        "sha256:../../decoy/passwd",
        "sha256:../../../../../../../../etc/passwd",
        "../../decoy/passwd",
        "sha256:",
        "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let world = World::new();
        let layout = world.path("layout");
        let manifest = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest, "size": 6});
        Layout::new(&layout).tag(manifest, "latest");
        world.run("unpack layout bundle").fails_with("is no digest");
        world.is_clean();
        // In the configuration, which names directories of the store.
        let layout = Layout::new(&layout);
        let layer = layout.layer(&Tar::new().file("x", "").end(), Pack::Gzip);
        let manifest = layout.manifest_of(&json!([layer]), &json!([digest]), &json!({}));
        layout.tag(manifest, "latest");
        world.run("unpack layout bundle").fails_with("is no digest");
        world.is_clean();
    }
}

/// A blob that is a link, a directory, a pipe.
#[test]
fn blobs_are_regular_files_of_the_layout() {
    let make: [fn(&Path, &Path); 3] = [
        |blob, decoy| symlink(decoy.join("passwd"), blob).unwrap(),
        |blob, _| fs::create_dir(blob).unwrap(),
        |blob, _| {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            mknodat(CWD, blob, FileType::Fifo, Mode::RUSR, 0).unwrap();
        },
    ];
    for make in make {
        let world = World::new();
        let layout = world.path("layout");
        image(&layout, &[Tar::new().file("x", "").end()]);
        let blobs = layout.join("blobs/sha256");
        for blob in fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()) {
            fs::remove_file(&blob).unwrap();
            make(&blob, &world.path("decoy"));
        }
        assert_eq!(world.run("unpack layout bundle").code, 1);
        world.is_clean();
    }
}

/// CVE-2021-41190 (image-spec): a manifest for one reader is an index for another one.
#[test]
fn a_document_is_one_thing() {
    let kinds =
        ["manifest", "index"].map(|kind| format!("application/vnd.oci.image.{kind}.v1+json"));
    for kind in kinds {
        let world = World::new();
        let layout_dir = world.path("layout");
        let layout = Layout::new(&layout_dir);
        let tar = Tar::new().file("x", "").end();
        let good = layout.manifest(&[tar], Pack::Gzip, &json!({"Cmd": ["true"]}));
        let text =
            fs::read(layout_dir.join("blobs/sha256").join(&good["digest"].as_str().unwrap()[7..]));
        let mut both: serde_json::Value = serde_json::from_slice(&text.unwrap()).unwrap();
        both["manifests"] = json!([good]);
        let entry = layout.json(&kind, &both);
        layout.tag(entry, "latest");
        world.run("unpack layout bundle").fails_with("an index and a manifest at once");
        world.is_clean();
    }
}

/// CVE-2024-9676 (containers/storage), CVE-2026-47262 (containerd): lists of users.
#[test]
fn the_list_of_users_is_a_file_of_the_image() {
    let world = World::new();
    let [dots, way] = ways(&world);
    let fifo = || Tar::new().dir("etc").with("etc/passwd", b'6', |_| {}).end();
    let long = || Tar::new().file("etc/passwd", "x:y:\n".repeat(1 << 18)).end();
    let loops = || Tar::new().link("etc/passwd", "passwd").end();
    for (layer, words) in [
        (Tar::new().link("etc/passwd", &format!("{way}/passwd")).end(), "has no \"web\""),
        (Tar::new().link("etc/passwd", &format!("{dots}/passwd")).end(), "has no \"web\""),
        (Tar::new().link("etc", &way).end(), "has no \"web\""),
        (fifo(), "no regular file"),
        (long(), "has more than"),
        (loops(), "too many links"),
        (Tar::new().dir("etc/passwd").end(), "is a directory"),
    ] {
        let world = World::new();
        let before = world.decoys();
        let dir = world.path("layout");
        let layout = Layout::new(&dir);
        let config = json!({"Cmd": ["true"], "User": "web"});
        let manifest = layout.manifest(&[layer], Pack::Gzip, &config);
        layout.tag(manifest, "latest");
        world.run("unpack layout bundle").fails_with(words);
        assert_eq!(world.decoys(), before);
        assert!(!world.path("bundle").exists());
    }
}

/// CVE-2024-40635 (containerd): an id that wraps around.
#[test]
fn no_number_wraps_to_root() {
    for user in ["4294967296", "4294967295", "-1", "0:-1", "99999999999999999999"] {
        let world = World::new();
        let dir = world.path("layout");
        let layout = Layout::new(&dir);
        let config = json!({"Cmd": ["true"], "User": user});
        let manifest = layout.manifest(&[Tar::new().file("x", "").end()], Pack::Gzip, &config);
        layout.tag(manifest, "latest");
        world.run("unpack layout bundle").fails_with("is no id");
    }
}

/// CVE-2026-53488 (containerd): a label becomes an annotation that somebody obeys.
#[test]
fn labels_that_a_runtime_obeys_are_not_passed_on() {
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let labels = json!({
        "run.oci.hooks.stderr": "/etc/passwd", "run.pinnace.layers": "[\"/etc\"]",
        "org.systemd.property.ExecStopPost": "x", "org.criu.config": "/x",
        "io.katacontainers.config.hypervisor.path": "/x", "cdi.k8s.io/x": "y", "good": "kept",
    });
    let config = json!({"Cmd": ["true"], "Labels": labels});
    let manifest = layout.manifest(&[Tar::new().file("x", "").end()], Pack::Gzip, &config);
    layout.tag(manifest, "latest");
    let out = world.run("unpack --copy layout bundle");
    out.ok();
    assert_eq!(out.stderr.lines().filter(|line| line.contains("is not passed on")).count(), 6);
    let notes = &world.config()["annotations"];
    let wanted = json!({"good": "kept", "org.opencontainers.image.os": "linux",
        "org.opencontainers.image.architecture": here()});
    assert_eq!(*notes, wanted);
}

/// CVE-2017-14992 (docker): little that becomes much.
#[test]
fn a_bomb_fills_no_disk() {
    let world = World::new();
    let store = world.path("store");
    fs::create_dir(&store).unwrap();
    let zeros = Tar::new().file("zeros", vec![0; 64 << 20]).end();
    let before = world.decoys();
    image(&world.path("layout"), &[zeros]);
    // In a mount namespace of its own.
    let script = "mount -t tmpfs -o size=16m,mode=700 small store && exec \"$0\" unpack --store store layout bundle";
    let mut command = std::process::Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
    command.arg(super::world::program()).current_dir(world.dir.path());
    let out = super::world::output(command);
    out.fails_with("free in the store");
    assert_eq!(world.decoys(), before);
    assert!(!world.path("bundle").exists());
}

/// GHSA-rp3h-jf77-q9p4 and CVE-2023-25153 (containerd): what costs more than it says.
#[test]
fn no_layer_costs_more_than_its_length() {
    // A path as long as can be, with many files in it.
    let deep = "d/".repeat(1000);
    let mut layer = Tar::new();
    for number in 0..3000 {
        layer = layer.pax(&[("path", &format!("{deep}{number}"))]).file("x", "");
    }
    let world = World::new();
    let begin = std::time::Instant::now();
    attack(&world, &[layer.end()]).ok();
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    // Beyond what the kernel takes.
    let path = "d/".repeat(2100) + "d";
    refused(&[Tar::new().pax(&[("path", &path)]).file("x", "").end()], "more than 4095 bytes");
    let name = "n".repeat(256);
    refused(&[Tar::new().pax(&[("path", &name)]).file("x", "").end()], "more than 255 bytes");
    let pax = Tar::new().pax(&[("comment", &"x".repeat(1 << 20))]).file("x", "");
    refused(&[pax.end()], "headers of one entry");
    // A document without an end.
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let huge = layout.blob("application/vnd.oci.image.manifest.v1+json", &vec![b' '; 5 << 20]);
    layout.tag(huge, "latest");
    world.run("unpack layout bundle").fails_with("a document of 5242880 bytes");
    world.is_clean();
}

/// Directories that others move while a layer is made, as often as they can: nothing comes out of it.
#[test]
fn a_race_of_renames_wins_nothing() {
    let world = World::new();
    let before = world.decoys();
    let mut layer = Tar::new().dir("a").dir("a/b");
    for number in 0..4000 {
        layer = layer
            .file(&format!("a/b/{number}"), "evil")
            .file("a/b/passwd", "evil")
            .link(&format!("l{}", number % 7), "a/b")
            .file(&format!("l{}/passwd", number % 7), "evil")
            .file("a/.wh.passwd", "");
    }
    let layer = layer.end();
    image(&world.path("layout"), std::slice::from_ref(&layer));
    let hex = pinnace::image::digest::of(pinnace::image::digest::Algorithm::Sha256, &layer).hex;
    for _ in 0..3 {
        let running = spawn(world.call(["unpack", "layout", "bundle"]));
        let root = world.path("store/tmp").join(&hex);
        let stop = std::sync::atomic::AtomicBool::new(false);
        let out = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (a, away, decoy) = (root.join("a"), root.join("away"), world.path("decoy"));
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // A directory is away, and a link to the decoys is in its place.
                    if fs::rename(&a, &away).is_ok() {
                        drop(symlink(&decoy, &a));
                        drop(fs::remove_file(&a));
                        drop(fs::rename(&away, &a));
                    }
                    drop(fs::rename(a.join("b"), root.join("b")));
                    drop(symlink(&decoy, a.join("b")));
                    drop(fs::remove_file(a.join("b")));
                    drop(fs::rename(root.join("b"), a.join("b")));
                }
            });
            let out = end(running);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            out
        });
        assert_eq!(world.decoys(), before, "{out:?}");
        assert!(out.code == 0 || out.code == 1, "{out:?}");
        drop(fs::remove_dir_all(world.path("bundle")));
        drop(fs::remove_dir_all(world.path("store")));
    }
}

/// What reads an archive has given up nearly all: seen from outside, while it is at work.
#[test]
fn the_process_that_reads_has_no_privilege_left() {
    let world = World::new();
    image(&world.path("layout"), &[Tar::new().file("zeros", vec![0; 100 << 20]).end()]);
    let running = spawn(world.call(["unpack", "layout", "bundle"]));
    let parent = running.child.id();
    let path = format!("/proc/{parent}/task/{parent}/children");
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_default().to_owned()
    };
    let before = field(&fs::read_to_string("/proc/self/status").unwrap(), "CapEff");
    let mut seen = false;
    for _ in 0..200_000 {
        let child = fs::read_to_string(&path).unwrap_or_default();
        let child = child.trim();
        let Ok(status) = fs::read_to_string(format!("/proc/{child}/status")) else { continue };
        if field(&status, "NoNewPrivs") != "1" || field(&status, "CapEff") == before {
            continue;
        }
        // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP.
        assert_eq!(field(&status, "CapEff"), "000000008800001b", "{status}");
        assert_eq!(field(&status, "CapPrm"), "000000008800001b", "{status}");
        let root = fs::read_link(format!("/proc/{child}/root")).unwrap();
        assert_eq!(root, fs::canonicalize(world.path("store")).unwrap());
        seen = true;
        break;
    }
    end(running).ok();
    assert!(seen, "it was too fast to be seen");
}
