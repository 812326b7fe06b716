//! The same images, unpacked by umoci: the trees are the same entry by entry, and so is of
//! config.json what conversion.md decides. Where they differ, the reason stands beside it.

use super::archive::{Layout, Pack, Tar, gzip, image};
use super::world::{Output, World, output, tree};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Ends the test here where a program is missing.
fn lacks(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| !Path::new("/usr/bin").join(name).exists());
    if let Some(name) = missing {
        // Past libtest's capture, where hack/test counts it.
        let line = format!("skipped: {name} is not installed\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    missing.is_some()
}

fn call(world: &World, line: &str) -> Output {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).current_dir(world.dir.path());
    output(command)
}

/// Both trees; with times, where neither has made up any.
#[track_caller]
fn compare(world: &World, reference: &str, with_times: bool) -> (Value, Value) {
    call(world, &format!("umoci unpack --image {reference} theirs")).ok();
    world.run(&format!("unpack --copy {reference} ours")).ok();
    let ours = tree(&world.path("ours/rootfs"), with_times);
    let theirs = tree(&world.path("theirs/rootfs"), with_times);
    for (name, line) in &ours {
        assert_eq!(Some(line), theirs.get(name), "{reference}: {name:?}");
    }
    assert_eq!(
        ours.len(),
        theirs.len(),
        "{:?}",
        theirs.keys().find(|name| !ours.contains_key(*name))
    );
    let config = |name: &str| {
        serde_json::from_slice(&fs::read(world.path(name).join("config.json")).unwrap()).unwrap()
    };
    (config("ours"), config("theirs"))
}

/// What conversion.md decides.
fn agree(ours: &Value, theirs: &Value) {
    for path in ["/process/args", "/process/cwd", "/process/user/uid", "/process/user/gid"] {
        assert_eq!(ours.pointer(path), theirs.pointer(path), "{path}");
    }
    // umoci 0.4 names groups of a user that has its group by a number, and the group itself.
    for entry in ours["process"]["env"].as_array().unwrap() {
        assert!(theirs["process"]["env"].as_array().unwrap().contains(entry), "{entry}");
    }
    for (key, value) in ours["annotations"].as_object().unwrap() {
        assert_eq!(Some(value), theirs["annotations"].get(key), "{key}");
    }
    // It makes up what an image does not say.
    for (key, value) in theirs["annotations"].as_object().unwrap() {
        let is_made_up = value == "" || value == "0001-01-01T00:00:00Z";
        assert!(is_made_up || ours["annotations"].get(key) == Some(value), "{key}: {value}");
    }
}

fn with_root() -> Tar {
    Tar::new().dir("./")
}

#[test]
fn whiteouts_and_opaque_directories_are_the_same() {
    if lacks(&["umoci"]) {
        return;
    }
    let world = World::new();
    let lower = with_root()
        .dir("a")
        .file("a/gone", "x")
        .file("a/kept", "x")
        .dir("b")
        .file("b/x", "x")
        .dir("c")
        .file("c/x", "x")
        .end();
    let upper = with_root()
        .dir("a")
        .file("a/.wh.gone", "")
        .file("b/.wh..wh..opq", "")
        .file("b/new", "x")
        .file(".wh.c", "")
        .end();
    image(&world.path("layout"), &[lower, upper]);
    compare(&world, "layout:latest", false);
    assert!(!world.path("ours/rootfs/c").exists() && world.path("ours/rootfs/b/new").exists());
}

#[test]
fn links_attributes_and_long_names_are_the_same() {
    if lacks(&["umoci"]) {
        return;
    }
    let world = World::new();
    let deep = format!("{}{}", "deep/".repeat(20), "n".repeat(200));
    let mut tar = with_root();
    let mut path = String::new();
    for _ in 0..20 {
        path += "deep/";
        tar = tar.dir(&path);
    }
    let tar = tar
        .file_with("a", "a", |header| (header.mode, header.uid, header.gid) = (0o6755, 5, 6))
        .hard("b", "a")
        .link("l", "/nowhere")
        .pax(&[("path", &deep), ("mtime", "1234567890.25"), ("SCHILY.xattr.user.k", "v")])
        .file("x", "deep")
        .long(b'K', &"t".repeat(300))
        .link("long-link", "short")
        .with("null", b'3', |header| (header.mode, header.device) = (0o666, (1, 3)))
        .with("pipe", b'6', |_| {})
        .end();
    image(&world.path("layout"), &[tar]);
    compare(&world, "layout:latest", true);
}

#[test]
fn what_umoci_packs_is_what_we_unpack() {
    if lacks(&["umoci"]) {
        return;
    }
    let world = World::new();
    for line in [
        "umoci init --layout layout",
        "umoci new --image layout:tag",
        "umoci unpack --image layout:tag work",
    ] {
        call(&world, line).ok();
    }
    let root = world.path("work/rootfs");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/passwd"), "web:x:33:34::/srv:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "disk:x:6:web\n").unwrap();
    fs::write(root.join("gone"), "x").unwrap();
    call(&world, "umoci repack --image layout:tag work").ok();
    fs::remove_dir_all(world.path("work")).unwrap();
    call(&world, "umoci unpack --image layout:tag work").ok();
    fs::remove_file(root.join("gone")).unwrap();
    fs::write(root.join("new"), "x").unwrap();
    call(&world, "umoci repack --image layout:tag work").ok();
    let mut command = Command::new("umoci");
    command.args([
        "config",
        "--image",
        "layout:tag",
        "--config.user",
        "web",
        "--config.cmd",
        "a b",
    ]);
    command.args([
        "--config.cmd",
        "c",
        "--config.env",
        "A=b",
        "--config.workingdir",
        "/w",
        "--author",
        "me",
    ]);
    command.args([
        "--config.label",
        "k=v",
        "--config.stopsignal",
        "SIGINT",
        "--config.exposedports",
        "80/tcp",
    ]);
    output(command_in(command, &world)).ok();
    let (ours, theirs) = compare(&world, "layout:tag", false);
    agree(&ours, &theirs);
    assert_eq!(ours["process"]["user"], json!({"uid": 33, "gid": 34, "additionalGids": [6]}));
    assert_eq!(ours["annotations"]["org.opencontainers.image.stopSignal"], "SIGINT");
}

fn command_in(mut command: Command, world: &World) -> Command {
    command.current_dir(world.dir.path());
    command
}

/// umoci 0.4 knows no zstd: skopeo packs the layers anew for it, for us they stay.
#[test]
fn zstd_is_the_same_as_gzip() {
    if lacks(&["umoci", "skopeo"]) {
        return;
    }
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let tar = with_root().dir("d").file("d/a", "a".repeat(400_000)).file("b", "b").end();
    let manifest = layout.manifest(&[tar], Pack::Zstd, &json!({"Cmd": ["true"]}));
    layout.tag(manifest, "z");
    call(&world, "skopeo copy --insecure-policy --dest-compress --dest-compress-format gzip oci:layout:z oci:gz:z").ok();
    call(&world, "umoci unpack --image gz:z theirs").ok();
    for reference in ["layout:z", "gz:z"] {
        world.run(&format!("unpack --copy {reference} ours")).ok();
        assert_eq!(
            tree(&world.path("ours/rootfs"), true),
            tree(&world.path("theirs/rootfs"), true)
        );
        fs::remove_dir_all(world.path("ours")).unwrap();
    }
}

#[test]
fn many_members_are_the_same_as_one() {
    if lacks(&["umoci"]) {
        return;
    }
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let tar = with_root().file("a", "a".repeat(90_000)).file("b", "b").end();
    let members: Vec<u8> = tar.chunks(7000).flat_map(gzip).collect();
    let layer = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", &members);
    let id =
        pinnace::image::digest::of(pinnace::image::digest::Algorithm::Sha256, &tar).to_string();
    let manifest = layout.manifest_of(&json!([layer]), &json!([id]), &json!({"Cmd": ["true"]}));
    layout.tag(manifest, "m");
    compare(&world, "layout:m", true);
}

/// What skopeo copies has other documents around the same layers.
#[test]
fn what_skopeo_copies_is_the_same() {
    if lacks(&["skopeo", "umoci"]) {
        return;
    }
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let tar = with_root().dir("etc").file("etc/passwd", "web:x:33:34::/srv:/bin/sh\n").end();
    let config = json!({"Entrypoint": ["/e"], "Cmd": ["c"], "User": "web:7", "WorkingDir": "/w",
        "Env": ["PATH=/p", "A=b"], "Labels": {"k": "v"}, "ExposedPorts": {"80/tcp": {}}});
    let one = layout.manifest(&[tar], Pack::Gzip, &config);
    layout.tag(one, "one");
    call(&world, "skopeo copy --insecure-policy oci:layout:one oci:copied:one").ok();
    let (ours, theirs) = compare(&world, "copied:one", true);
    agree(&ours, &theirs);
    // By Docker's own documents and back.
    call(&world, "skopeo copy --insecure-policy --format v2s2 oci:layout:one dir:docker").ok();
    call(&world, "skopeo copy --insecure-policy dir:docker oci:back:one").ok();
    world.run("unpack --copy back:one again").ok();
    assert_eq!(tree(&world.path("again/rootfs"), true), tree(&world.path("ours/rootfs"), true));
}

#[test]
fn several_platforms_are_the_same() {
    if lacks(&["umoci", "skopeo"]) {
        return;
    }
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    // Several platforms, of which umoci takes the first that it finds: ours alone is in its copy.
    let mut list = Vec::new();
    for (architecture, text) in [("s390x", "no"), (super::archive::here(), "yes")] {
        let tar = with_root().file("which", text).end();
        let mut entry = layout.manifest(&[tar], Pack::Gzip, &json!({"Cmd": ["true"]}));
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        list.push(entry);
    }
    let kind = "application/vnd.oci.image.index.v1+json";
    let index =
        layout.json(kind, &json!({"schemaVersion": 2, "mediaType": kind, "manifests": list}));
    layout.tag(index, "all");
    call(&world, "skopeo copy --insecure-policy oci:layout:all oci:mine:all").ok();
    compare(&world, "mine:all", true);
    world.run("unpack --copy layout:all choice").ok();
    assert_eq!(fs::read_to_string(world.path("choice/rootfs/which")).unwrap(), "yes");
}
