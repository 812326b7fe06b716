//! What is small to be sent and large to be read: time, memory and disk follow from a length that
//! somebody has seen, or there is an end.

use super::archive::{Layout, Pack, Tar, gzip, image, zstd};
use super::world::{Output, World, output};
use pinnace::image::digest::{Algorithm, of};
use serde_json::{Value, json};
use std::fs;
use std::time::Instant;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Unpacks into a store on a small disk of its own.
fn on_a_small_disk(world: &World) -> Output {
    fs::create_dir_all(world.path("store")).unwrap();
    let script = "mount -t tmpfs -o size=16m,mode=700 small store && \
                  exec \"$0\" unpack --store store layout bundle";
    let mut command = std::process::Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
    command.arg(super::world::program()).current_dir(world.dir.path());
    output(command)
}

/// The layer of this blob, which is `tar` when it is unpacked.
fn with_blob(world: &World, kind: &str, blob: &[u8], tar: &[u8]) {
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let layer = layout.blob(kind, blob);
    let id = of(Algorithm::Sha256, tar).to_string();
    let manifest = layout.manifest_of(&json!([layer]), &json!([id]), &json!({"Cmd": ["x"]}));
    layout.tag(manifest, "latest");
}

/// zstd:chunked has a frame for each piece of each file.
#[test]
fn a_layer_has_any_number_of_frames() {
    let tar = (0..300).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), vec![7; 700])).end();
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &3u32.to_le_bytes(), b"abc"].concat();
    let frames: Vec<u8> = tar
        .chunks(512)
        .flat_map(|part| [zstd(part), zstd(b""), skippable.clone()].concat())
        .collect();
    let world = World::new();
    with_blob(&world, &format!("{LAYER}+zstd"), &frames, &tar);
    world.run("unpack layout bundle").ok();
    assert_eq!(fs::read_dir(world.layer(0)).unwrap().count(), 300);
    let members: Vec<u8> =
        tar.chunks(512).flat_map(|part| [gzip(part), gzip(b"")].concat()).collect();
    let world = World::new();
    with_blob(&world, &format!("{LAYER}+gzip"), &members, &tar);
    world.run("unpack layout bundle").ok();
}

/// A frame that is nothing but its header costs a microsecond, whatever window it asks for.
#[test]
fn frames_of_nothing_cost_nothing() {
    let tar = Tar::new().file("a", "a").end();
    // A window of 8 MiB, and one last, raw block of no bytes.
    let nothing = [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 1, 0, 0];
    // And one of a byte: a zero, behind the end of the archive.
    let little = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1 | 1 << 3, 0, 0, 0];
    let count = 20_000;
    let blob = [zstd(&tar), nothing.repeat(count), little.repeat(count)].concat();
    let whole = [&tar[..], &vec![0; count]].concat();
    let world = World::new();
    with_blob(&world, &format!("{LAYER}+zstd"), &blob, &whole);
    let begin = Instant::now();
    world.run("unpack layout bundle").ok();
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

/// Four bytes are 128 KiB of zeros, which are read and summed, and are nothing.
#[test]
fn what_is_behind_an_archive_has_an_end() {
    let tar = Tar::new().file("a", "a").end();
    let block = |last: u32| ((128 << 10) << 3 | 1 << 1 | last).to_le_bytes()[..3].to_vec();
    let zeros = [block(0), vec![0]].concat().repeat(8000);
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 8 << 3][..], &zeros, &block(1), &[0]].concat();
    let world = World::new();
    with_blob(&world, &format!("{LAYER}+zstd"), &[zstd(&tar), frame].concat(), &tar);
    world.run("unpack layout bundle").fails_with("more than 64 MiB behind the archive's end");
    world.is_clean();
}

#[test]
fn a_configuration_costs_what_it_is_long() {
    let world = World::new();
    let env: Vec<_> = (0..100_000).map(|number| format!("v{number}=")).collect();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let config = json!({"Cmd": ["x"], "Env": env});
    let manifest = layout.manifest(&[Tar::new().file("x", "").end()], Pack::Gzip, &config);
    layout.tag(manifest, "latest");
    let begin = Instant::now();
    world.run("unpack layout bundle").ok();
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    assert_eq!(world.config()["process"]["env"].as_array().unwrap().len(), 100_001);
}

/// Eight indexes, each of which names the next one twenty times: 20^8 ways.
#[test]
fn an_index_is_read_once() {
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let tar = Tar::new().file("x", "").end();
    let wanted = layout.manifest(&[tar], Pack::Gzip, &json!({"Cmd": ["x"]}));
    let mut index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": []}));
    for _ in 0..7 {
        let list: Vec<Value> = vec![index; 20];
        index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": list}));
    }
    let last = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [index, wanted]}));
    layout.tag(last, "all");
    let begin = Instant::now();
    world.run(&format!("unpack layout@{} bundle", wanted["digest"].as_str().unwrap())).ok();
    let none = "0".repeat(64);
    world.run(&format!("unpack layout@sha256:{none} other")).fails_with("has that digest");
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
}

/// A path of 4 kB is 2000 directories.
#[test]
fn directories_without_an_entry_cost_what_others_do() {
    let deep = "d/".repeat(900);
    let layer = (0..20).fold(Tar::new(), |tar, number| {
        tar.pax(&[("path", &format!("{number}/{deep}f"))]).file("x", "")
    });
    let world = World::new();
    image(&world.path("layout"), &[layer.end()]);
    on_a_small_disk(&world).fails_with("free in the store");
    assert!(!world.path("bundle").exists());
}

#[test]
fn headers_cost_what_they_are_long() {
    let long = "x".repeat(1_000_000);
    let layer = (0..20).fold(Tar::new(), |tar, _| tar.pax(&[("comment", &long)]).dir("./"));
    let world = World::new();
    image(&world.path("layout"), &[layer.end()]);
    on_a_small_disk(&world).fails_with("free in the store");
    let names: Vec<_> = (0..5000).map(|n| format!("SCHILY.xattr.user.{n:012}")).collect();
    let records: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let world = World::new();
    image(&world.path("layout"), &[Tar::new().pax(&records).file("x", "").end()]);
    world.run("unpack layout bundle").fails_with("names have more than 64 KiB");
    world.is_clean();
}

/// Each entry has a new directory at the end of a path as long as can be.
#[test]
fn a_deep_path_is_not_walked_for_each_of_its_names() {
    let deep = "d/".repeat(2000);
    let layer = (0..150).fold(Tar::new(), |tar, number| {
        tar.pax(&[("path", &format!("{deep}{number}/f"))]).file("x", "")
    });
    let world = World::new();
    image(&world.path("layout"), &[layer.end()]);
    let begin = Instant::now();
    world.run("unpack layout bundle").ok();
    assert!(begin.elapsed().as_secs() < 15, "{:?}", begin.elapsed());
}

/// Each directory is behind fourteen links of 2000 names each.
#[test]
fn the_way_through_links_has_an_end() {
    let long = "./".repeat(2000);
    let tar = (1..15).fold(Tar::new().dir("d").link("l0", "d"), |tar, number| {
        let target = format!("{long}l{}", number - 1);
        tar.pax(&[("linkpath", &target)]).link(&format!("l{number}"), "")
    });
    let tar = (0..1500).fold(tar, |tar, number| tar.file(&format!("l14/{number}/f"), ""));
    let world = World::new();
    image(&world.path("layout"), &[tar.end()]);
    world.run("unpack layout bundle").fails_with("names through links");
    world.is_clean();
}

/// Layers whose files come through short links, as those that people make by hand.
#[test]
fn directories_through_links_are_many_enough() {
    let tar = Tar::new().dir("usr/lib").link("lib", "usr/lib").link("usr/lib64", "../lib");
    let tar = (0..4000).fold(tar, |tar, number| tar.file(&format!("usr/lib64/{number}/f"), ""));
    let world = World::new();
    image(&world.path("layout"), &[tar.end()]);
    world.run("unpack layout bundle").ok();
    assert_eq!(fs::read_dir(world.layer(0).join("usr/lib")).unwrap().count(), 4000);
}
