//! What is wrong with an image is told in one line, with the way out; nothing is left.

use super::archive::{Layout, Pack, Tar, gzip, image, zstd};
use super::world::World;
use pinnace::image::digest::{Algorithm, of};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn tar() -> Vec<u8> {
    Tar::new().file("a", "a".repeat(100_000)).end()
}

/// An image of one blob that was not made of `tar()`.
fn with_blob(dir: &Path, kind: &str, blob: &[u8]) {
    let layout = Layout::new(dir);
    let layer = layout.blob(&format!("application/vnd.oci.image.layer.v1.tar{kind}"), blob);
    let id = of(Algorithm::Sha256, &tar()).to_string();
    let manifest = layout.manifest_of(&json!([layer]), &json!([id]), &json!({"Cmd": ["x"]}));
    layout.tag(manifest, "latest");
}

#[test]
fn a_damaged_layer_is_none() {
    let whole = gzip(&tar());
    let framed = zstd(&tar());
    let mut bent = whole.clone();
    let middle = bent.len() / 2;
    bent[middle..middle + 20].fill(0x55);
    let mut noise = vec![0x37; 4096];
    noise[0] = 0;
    for (kind, blob, words) in [
        ("+gzip", whole[..whole.len() / 2].to_vec(), "truncated"),
        ("+gzip", bent, "gzip"),
        ("+gzip", [&whole[..], b"garbage"].concat(), "gzip"),
        ("+gzip", framed.clone(), "gzip"),
        ("+zstd", framed[..framed.len() / 2].to_vec(), "zstd"),
        ("+zstd", whole.clone(), "zstd"),
        ("+zstd", [&framed[..], b"garbage"].concat(), "zstd"),
        ("", whole, "its media type says tar, and it is gzip"),
        ("", noise, "no tar archive"),
        ("", tar()[..50_000].to_vec(), "truncated"),
        ("", Tar::new().file("other", "x").end(), "the image's configuration says"),
        ("+xz", tar(), "no layer that is known"),
    ] {
        let world = World::new();
        with_blob(&world.path("layout"), kind, &blob);
        world.run("unpack layout bundle").fails_with(words);
        world.is_clean();
        assert_eq!(world.run("verify layout").code, 1);
        world.is_clean();
    }
}

#[test]
fn a_blob_that_is_not_its_digest_is_damaged() {
    let change: [(fn(&Path), &str); 4] = [
        (|path| fs::write(path, "x").unwrap(), "bytes and not"),
        (|path| fs::remove_file(path).unwrap(), "is missing"),
        (
            |path| {
                let mut bytes = fs::read(path).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            "",
        ),
        (
            |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 40).unwrap(),
            "bytes and not",
        ),
    ];
    for (change, words) in change {
        for number in 0..3 {
            let world = World::new();
            image(&world.path("layout"), &[tar()]);
            let blobs = world.path("layout/blobs/sha256");
            let mut paths: Vec<_> =
                fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            change(&paths[number]);
            world.run("unpack layout bundle").fails_with(words);
            world.is_clean();
        }
    }
}

#[test]
fn a_layout_that_is_none_is_told() {
    let edit = |name: &'static str, text: &'static str| {
        move |dir: &Path| fs::write(dir.join(name), text).unwrap()
    };
    let cases: Vec<(Box<dyn Fn(&Path)>, &str)> = vec![
        (Box::new(|dir| fs::remove_file(dir.join("oci-layout")).unwrap()), "skopeo copy"),
        (Box::new(edit("oci-layout", "{}")), "imageLayoutVersion"),
        (Box::new(edit("oci-layout", r#"{"imageLayoutVersion": "2.0.0"}"#)), "is not 1.x"),
        (Box::new(|dir| fs::remove_file(dir.join("index.json")).unwrap()), "index.json"),
        (Box::new(edit("index.json", "")), "index.json"),
        (Box::new(edit("index.json", "[]")), "index.json"),
        (
            Box::new(edit("index.json", r#"{"schemaVersion": 1, "manifests": []}"#)),
            "schemaVersion 1",
        ),
        (Box::new(edit("index.json", r#"{"schemaVersion": 2}"#)), "neither manifests nor layers"),
        (
            Box::new(edit("index.json", r#"{"schemaVersion": 2, "manifests": []}"#)),
            "nothing for linux/",
        ),
    ];
    for (change, words) in cases {
        let world = World::new();
        image(&world.path("layout"), &[tar()]);
        change(&world.path("layout"));
        world.run("unpack layout bundle").fails_with(words);
        world.is_clean();
    }
    let world = World::new();
    world.run("unpack nothing:tag bundle").fails_with("there is no such directory");
    fs::write(world.path("file.tar"), "x").unwrap();
    world.run("unpack file.tar bundle").fails_with("tar -xf");
    world.run("unpack").fails_with("LAYOUT is missing");
    world.run("unpak").code.checked_sub(1).unwrap();
}

/// A manifest with this change, in a layout of one image.
fn bent(world: &World, change: impl FnOnce(&mut Value)) {
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let manifest = layout.manifest(&[tar()], Pack::Gzip, &json!({"Cmd": ["true"]}));
    let path = dir.join("blobs/sha256").join(&manifest["digest"].as_str().unwrap()[7..]);
    let mut document = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut document);
    let entry = layout.json("application/vnd.oci.image.manifest.v1+json", &document);
    layout.tag(entry, "latest");
}

#[test]
fn a_manifest_that_lies_is_refused() {
    let cases: Vec<(Box<dyn FnOnce(&mut Value)>, &str)> = vec![
        (Box::new(|m| m["layers"][0]["size"] = json!(-1)), "below 0"),
        (Box::new(|m| m["layers"][0]["size"] = json!(1u64 << 62)), "bytes and not"),
        (Box::new(|m| m["layers"][0]["size"] = json!(1.5)), "invalid type"),
        (Box::new(|m| m["layers"] = json!([])), "0 layers, and 1 of them"),
        (Box::new(|m| drop(m.as_object_mut().unwrap().remove("config"))), "config is missing"),
        (
            Box::new(|m| {
                m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json")
            }),
            "another artifact's",
        ),
        (Box::new(|m| m["layers"][0]["mediaType"] = json!("text/plain")), "no layer that is known"),
        (Box::new(|m| m["schemaVersion"] = json!(1)), "schemaVersion 1"),
        (Box::new(|m| m["layers"][0]["digest"] = json!(1)), "invalid type"),
    ];
    for (change, words) in cases {
        let world = World::new();
        bent(&world, change);
        world.run("unpack layout bundle").fails_with(words);
        world.is_clean();
    }
}

#[test]
fn the_image_that_is_meant_is_found() {
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let make = |text: &str| {
        let tar = Tar::new().file("which", text).end();
        layout.manifest(&[tar], Pack::Gzip, &json!({"Cmd": [text]}))
    };
    let (a, b, c) = (make("a"), make("b"), make("c"));
    let digest = b["digest"].as_str().unwrap().to_owned();
    let other = json!({"mediaType": "application/x-unknown", "digest": digest, "size": 1});
    let layout =
        layout.tag(a, "a").tag(b, "docker.io/library/b:1").tag(c.clone(), "c").tag(other, "");
    let which = |reference: &str| {
        drop(fs::remove_dir_all(world.path("bundle")));
        world.run(&format!("unpack {reference} bundle")).ok();
        world.config()["process"]["args"][0].as_str().unwrap().to_owned()
    };
    assert_eq!(which("layout:a"), "a");
    assert_eq!(which("layout:docker.io/library/b:1"), "b");
    assert_eq!(which(&format!("layout@{digest}")), "b");
    fs::remove_dir_all(world.path("bundle")).unwrap();
    let none = "0".repeat(64);
    for (reference, words) in [
        ("layout".to_owned(), "a, c, docker.io/library/b:1"),
        ("layout:d".into(), "there are: "),
        ("layout:".into(), "the tag is empty"),
        (format!("layout@sha256:{none}"), "has that digest"),
        ("layout@sha256:1".into(), "is no digest"),
    ] {
        world.run(&format!("unpack {reference} bundle")).fails_with(words);
        assert!(!world.path("bundle").exists());
    }
    // Two of one name.
    let tar = Tar::new().file("which", "d").end();
    let d = layout.manifest(&[tar], Pack::Gzip, &json!({"Cmd": ["d"]}));
    layout.tag(d, "c");
    world
        .run("unpack layout:c bundle")
        .fails_with("2 images have that name (name one by LAYOUT@DIGEST: sha256:");
    assert!(!world.path("bundle").exists());
}

#[test]
fn the_image_for_this_machine_is_chosen() {
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let index = "application/vnd.oci.image.index.v1+json";
    let make = |os: &str, architecture: &str, variant: &str| {
        let tar = Tar::new().file("which", format!("{os}{architecture}{variant}")).end();
        let id = of(Algorithm::Sha256, &tar).to_string();
        let layer = layout.layer(&tar, Pack::Gzip);
        let config = layout.json(
            "application/vnd.oci.image.config.v1+json",
            &json!({"os": os, "architecture": architecture, "variant": variant, "config":
                {"Cmd": [format!("{architecture}{variant}")]}, "rootfs": {"diff_ids": [id]}}),
        );
        let mut entry = layout.json(
            "application/vnd.oci.image.manifest.v1+json",
            &json!({"schemaVersion": 2, "config": config, "layers": [layer]}),
        );
        entry["platform"] = json!({"os": os, "architecture": architecture, "variant": variant});
        entry
    };
    let list = [
        make("windows", "amd64", ""),
        make("linux", "arm", "v6"),
        make("linux", "arm", "v7"),
        make("linux", "s390x", ""),
        make("linux", super::archive::here(), ""),
    ];
    let inner = layout.json(index, &json!({"schemaVersion": 2, "manifests": list}));
    let outer = layout.json(index, &json!({"schemaVersion": 2, "manifests": [inner]}));
    let power = make("linux", "ppc64le", "");
    let mut deep = make("linux", super::archive::here(), "");
    let layout = layout.tag(outer, "all").tag(power, "power");
    let which = |words: &str| {
        drop(fs::remove_dir_all(world.path("bundle")));
        world.run(&format!("unpack {words} bundle")).ok();
        world.config()["process"]["args"][0].as_str().unwrap().to_owned()
    };
    assert_eq!(which("layout:all"), super::archive::here());
    assert_eq!(which("--platform linux/s390x layout:all"), "s390x");
    assert_eq!(which("--platform linux/arm layout:all"), "armv7");
    assert_eq!(which("--platform linux/arm/v6 layout:all"), "armv6");
    assert_eq!(which("--platform linux/ppc64le layout:power"), "ppc64le");
    fs::remove_dir_all(world.path("bundle")).unwrap();
    for words in
        ["--platform linux/mips layout:all", "layout:power", "--platform linux/arm/v5 layout:all"]
    {
        world.run(&format!("unpack {words} bundle")).fails_with("--platform OS/ARCHITECTURE");
    }
    world.run("unpack --platform linux layout:all bundle").fails_with("is not OS/ARCHITECTURE");
    // Indexes in indexes, without an end.
    for _ in 0..12 {
        deep = layout.json(index, &json!({"schemaVersion": 2, "manifests": [deep]}));
    }
    layout.tag(deep, "deep");
    world.run("unpack layout:deep bundle").fails_with("more than 8 indexes in indexes");
}

#[test]
fn overlay_takes_no_more_layers() {
    let layers: Vec<_> =
        (0..501).map(|number| Tar::new().file(&format!("f{number}"), "x").end()).collect();
    let world = World::new();
    image(&world.path("layout"), &layers);
    world
        .run("unpack layout bundle")
        .fails_with("501 layers, and overlay takes at most 500 (--copy");
    world.is_clean();
    world.run("unpack --copy layout bundle").ok();
    assert_eq!(fs::read_dir(world.path("bundle/rootfs")).unwrap().count(), 501);
    fs::remove_dir_all(world.path("bundle")).unwrap();
    image(&world.path("fewer"), &layers[1..]);
    world.run("unpack fewer bundle").ok();
    assert!(world.layer(499).join("f500").exists());
}

#[test]
fn what_the_caller_has_is_not_overwritten() {
    let world = World::new();
    image(&world.path("layout"), &[tar()]);
    fs::create_dir(world.path("bundle")).unwrap();
    fs::write(world.path("bundle/config.json"), "mine").unwrap();
    world.run("unpack layout bundle").fails_with("an existing file is not overwritten");
    assert_eq!(fs::read_to_string(world.path("bundle/config.json")).unwrap(), "mine");
    assert!(!world.path("bundle/run.pinnace.layers").exists());
    fs::remove_file(world.path("bundle/config.json")).unwrap();
    fs::create_dir(world.path("bundle/run.pinnace.layers")).unwrap();
    fs::write(world.path("bundle/run.pinnace.layers/file"), "mine").unwrap();
    world.run("unpack layout bundle").fails_with("make run.pinnace.layers");
    assert_eq!(fs::read_to_string(world.path("bundle/run.pinnace.layers/file")).unwrap(), "mine");
    // An error leaves what was there before.
    fs::remove_file(world.path("bundle/run.pinnace.layers/file")).unwrap();
    fs::write(world.path("layout/index.json"), "").unwrap();
    world.run("unpack layout bundle").fails_with("index.json");
    assert!(world.path("bundle/run.pinnace.layers").is_dir());
}
