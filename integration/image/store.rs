//! The store: each layer once, whole, for as long as somebody uses it.

use super::archive::{Layout, Pack, Tar, image};
use super::world::{World, end, spawn};
use pinnace::image::digest::{Algorithm, of};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

fn layer(name: &str) -> Vec<u8> {
    Tar::new().file(name, name).end()
}

fn place(world: &World, tar: &[u8]) -> PathBuf {
    world.path("store/layers/sha256").join(of(Algorithm::Sha256, tar).hex)
}

#[test]
fn a_layer_is_unpacked_once() {
    let world = World::new();
    image(&world.path("one"), &[layer("base"), layer("one")]);
    image(&world.path("two"), &[layer("base"), layer("two")]);
    world.run("unpack one bundle").ok();
    let before = fs::metadata(place(&world, &layer("base"))).unwrap();
    // What is there is not read again.
    for blob in fs::read_dir(world.path("two/blobs/sha256")).unwrap().map(|entry| entry.unwrap()) {
        if world.path("one/blobs/sha256").join(blob.file_name()).exists() {
            fs::remove_file(blob.path()).unwrap();
        }
    }
    world.run("unpack two other").ok();
    let after = fs::metadata(place(&world, &layer("base"))).unwrap();
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    let store = fs::metadata(world.path("store")).unwrap();
    assert_eq!(store.mode() & 0o777, 0o700);
}

#[test]
fn images_are_listed_and_removed() {
    let world = World::new();
    assert_eq!(world.run("ls").ok().lines().count(), 1);
    image(&world.path("one"), &[layer("base"), layer("one")]);
    image(&world.path("two"), &[layer("base"), layer("two")]);
    world.run("unpack one:latest bundle").ok();
    world.run("unpack two other").ok();
    let text = world.run("ls");
    let row = text.ok().lines().find(|line| line.contains("/one:latest ")).unwrap();
    assert_eq!(row.split_whitespace().skip(2).collect::<Vec<_>>(), ["2", "0.0", "MB", "1"]);
    let list: Value = serde_json::from_str(world.run("ls --format json").ok()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let find = |name: &str| {
        let found = list
            .as_array()
            .unwrap()
            .iter()
            .find(|image| image["names"][0].as_str().unwrap().contains(name));
        found.unwrap().clone()
    };
    assert_eq!(find("/one:latest")["bytes"], 7);
    let one = find("/one:latest")["names"][0].as_str().unwrap().to_owned();
    world
        .run(&format!("rm {one}"))
        .fails_with("uses it (remove the bundle first, or give --force)");
    world.run("rm nothing").fails_with("the store has no such image");
    fs::remove_dir_all(world.path("bundle")).unwrap();
    world.run(&format!("rm {one}")).ok();
    assert!(!place(&world, &layer("one")).exists() && place(&world, &layer("base")).exists());
    let two = find("/two")["manifest"].as_str().unwrap()[7..19].to_owned();
    world.run(&format!("rm --force {two}")).ok();
    assert!(!place(&world, &layer("base")).exists());
    assert_eq!(world.run("ls").ok().lines().count(), 1);
}

#[test]
fn prune_leaves_what_is_used() {
    let world = World::new();
    image(&world.path("one"), &[layer("base"), layer("one")]);
    image(&world.path("two"), &[layer("base"), layer("two")]);
    world.run("unpack one bundle").ok();
    world.run("unpack two other").ok();
    world.run("unpack --copy two third").ok();
    assert_eq!(world.run("prune").ok(), "");
    fs::remove_dir_all(world.path("other")).unwrap();
    let text = world.run("prune");
    assert_eq!(text.ok().lines().count(), 2, "{text:?}");
    assert!(!place(&world, &layer("two")).exists() && world.layer(1).join("one").exists());
    // A layer that is mounted stays, though its bundle is gone.
    let script = "mount -t overlay -o lowerdir=$1:$2 o merged && rm -r bundle && $0 prune --store store && ls merged";
    fs::create_dir(world.path("merged")).unwrap();
    let mut command = std::process::Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
    command.arg(super::world::program()).args([world.layer(1), world.layer(0)]);
    command.current_dir(world.dir.path());
    let out = super::world::output(command);
    assert_eq!(out.ok().lines().collect::<Vec<_>>(), ["base", "one"], "{out:?}");
    assert!(out.stderr.contains("is mounted, and stays"), "{out:?}");
    world.run("prune").ok();
    world.is_clean();
}

#[test]
fn verify_finds_what_was_changed() {
    let world = World::new();
    let tar = Tar::new().file("dir/a", "a").link("l", "a").end();
    image(&world.path("layout"), std::slice::from_ref(&tar));
    let out = world.run("verify layout");
    assert!(out.ok().contains(": 2 entries, 1 bytes\n"), "{out:?}");
    world.is_clean();
    world.run("unpack layout bundle").ok();
    assert!(world.run("verify layout").ok().contains("as in the store"));
    let file = place(&world, &tar).join("dir/a");
    let change: [&dyn Fn(); 5] = [
        &|| fs::set_permissions(place(&world, &tar), fs::Permissions::from_mode(0o777)).unwrap(),
        &|| fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap(),
        &|| fs::write(&file, "b").unwrap(),
        &|| fs::write(file.with_file_name("new"), "").unwrap(),
        &|| fs::remove_file(&file).unwrap(),
    ];
    for change in change {
        change();
        world.run("verify layout").fails_with("was changed in");
        world.run("rm --force latest").code.checked_sub(1).unwrap();
        fs::remove_dir_all(world.path("bundle")).unwrap();
        world.run("prune").ok();
        world.run("unpack layout bundle").ok();
        world.run("verify layout").ok();
    }
}

#[test]
fn a_store_of_others_is_refused() {
    let world = World::new();
    image(&world.path("layout"), &[layer("x")]);
    fs::create_dir(world.path("store")).unwrap();
    fs::set_permissions(world.path("store"), fs::Permissions::from_mode(0o777)).unwrap();
    world.run("unpack layout bundle").fails_with("others may write to it");
    fs::set_permissions(world.path("store"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(world.path("store"), Some(5), None).unwrap();
    world.run("unpack layout bundle").fails_with("or it is not yours");
}

/// A directory that somebody has put there while the store was not the caller's alone.
#[test]
fn a_part_of_the_store_that_is_anothers_is_refused() {
    let world = World::new();
    image(&world.path("layout"), &[layer("x")]);
    let before = world.decoys();
    for name in ["layers", "tmp", "images", "layers/sha256"] {
        let path = world.path("store").join(name);
        let make: [fn(&Path, &Path); 3] = [
            |path, _| std::os::unix::fs::chown(path, Some(5), None).unwrap(),
            |path, _| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap(),
            |path, decoy| {
                fs::remove_dir(path).unwrap();
                std::os::unix::fs::symlink(decoy, path).unwrap();
            },
        ];
        for make in make {
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(world.path("store"), fs::Permissions::from_mode(0o755)).unwrap();
            for dir in ["layers", name] {
                let dir = world.path("store").join(dir);
                fs::create_dir_all(&dir).unwrap();
                fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
            }
            make(&path, &world.path("decoy"));
            let out = world.run("unpack layout bundle");
            out.fails_with(name);
            assert!(!world.path("bundle").exists());
            fs::remove_dir_all(world.path("store")).unwrap();
        }
    }
    assert_eq!(world.decoys(), before);
}

/// The bits of a crash, wherever it was: none stays for ever.
#[test]
fn prune_removes_the_bits_of_a_crash() {
    let world = World::new();
    image(&world.path("one"), &[layer("base"), layer("one")]);
    world.run("unpack one bundle").ok();
    let names = |dir: &str| {
        let entries = fs::read_dir(world.path("store").join(dir)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let dirs = ["tmp", "images", "layers/sha256"];
    let before = dirs.map(names);
    let other = "5".repeat(64);
    let store = world.path("store");
    let bits = [
        "tmp/.pinnace.7.0.0/x".to_owned(),
        format!("tmp/{other}/x"),
        format!("images/{other}.json.new"),
        format!("layers/sha256/{other}.json"),
        format!("layers/sha256/{other}.json.new"),
        format!("layers/sha256/{other}.doomed/x"),
        "layers/sha256/.pinnace.7.0.0/x".to_owned(),
    ];
    for bit in &bits {
        let path = store.join(bit);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    assert_eq!(world.run("prune").ok(), "left behind by a crash: 7\n");
    assert_eq!(dirs.map(names), before);
}

/// Who removes a layer may be killed, and the layer be made again.
#[test]
fn what_was_half_removed_is_in_nobodys_way() {
    let world = World::new();
    image(&world.path("layout"), &[layer("x")]);
    world.run("unpack layout bundle").ok();
    let place = place(&world, &layer("x"));
    let half = place.with_extension("doomed");
    fs::create_dir_all(half.join("dir")).unwrap();
    fs::remove_dir_all(world.path("bundle")).unwrap();
    let list: Value = serde_json::from_str(world.run("ls --format json").ok()).unwrap();
    world.run(&format!("rm {}", list[0]["manifest"].as_str().unwrap())).ok();
    assert!(!place.exists() && !half.exists());
    // Where a layer is put in its place by a user, it stands there for a moment, too.
    world.run("prune").ok();
    world.is_clean();
}

/// A layer with devices and one without them have one digest, and are two things.
#[test]
fn a_layer_with_devices_is_none_without_them() {
    let tar = Tar::new().with("null", b'3', |header| header.device = (1, 3)).end();
    for (first, second, words) in [
        ("unpack", "unpack --no-devices", "was unpacked with its device nodes"),
        ("unpack --no-devices", "unpack", "was unpacked with --no-devices"),
    ] {
        let world = World::new();
        image(&world.path("layout"), &[layer("x"), tar.clone()]);
        world.run(&format!("{first} layout bundle")).ok();
        world.run(&format!("{second} layout other")).fails_with(words);
        assert!(!world.path("other").exists());
        // The layer without any is the same in both.
        image(&world.path("plain"), &[layer("x")]);
        world.run(&format!("{second} plain plainly")).ok();
    }
}

/// The kernel shows no path of a layer that is ID-mapped: it is in use all the same.
#[test]
fn what_a_container_with_a_user_namespace_runs_of_stays() {
    use super::bundles::{mounts_layers, pinnace, world};
    if !mounts_layers() {
        return;
    }
    let script = "echo up; while :; do busybox sleep 1000; done";
    let world = world(&json!({"Cmd": ["/bin/sh", "-c", script], "Env": ["PATH=/bin"]}));
    world.run("unpack layout bundle").ok();
    let mut config = world.config();
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["linux"].as_object_mut().unwrap().remove("sysctl");
    fs::write(world.path("bundle/config.json"), config.to_string()).unwrap();
    let place = world.layer(0);
    let id = format!("it-{}-mapped", std::process::id());
    let call = |words: &[&str]| {
        let mut command = std::process::Command::new(pinnace());
        command.arg("--root").arg(world.path("state")).args(words);
        command.current_dir(world.dir.path());
        command
    };
    let mut running = spawn(call(&["run", "--bundle", "bundle", &id]));
    let begin = std::time::Instant::now();
    while !running.said("up") {
        assert!(begin.elapsed().as_secs() < 60 && running.child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    fs::remove_dir_all(world.path("bundle")).unwrap();
    let out = world.run("prune");
    let name = format!("{}:latest", fs::canonicalize(world.path("layout")).unwrap().display());
    let list: Value = serde_json::from_str(world.run("ls --format json").ok()).unwrap();
    let forced = world.run(&format!("rm --force {}", list[0]["manifest"].as_str().unwrap()));
    let stays = place.join("bin/busybox").exists();
    super::world::output(call(&["delete", "--force", &id]));
    end(running);
    assert!(
        stays && out.code == 0 && out.stderr.contains("is mounted, and stays"),
        "{name} {out:?}"
    );
    forced.fails_with("a container runs of it");
    world.run("prune").ok();
    world.is_clean();
}

/// Blobs that change while they are read: what is in the store is what its digest says, or nothing is.
#[test]
fn what_changes_while_it_is_read_is_nothing_else() {
    let world = World::new();
    let tar = Tar::new().file("a", vec![b'a'; 3 << 20]).file("b", vec![b'b'; 3 << 20]).end();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let blob = layout.blob("application/vnd.oci.image.layer.v1.tar", &tar);
    let id = of(Algorithm::Sha256, &tar).to_string();
    let manifest = layout.manifest_of(&json!([blob]), &json!([id]), &json!({"Cmd": ["x"]}));
    layout.tag(manifest, "latest");
    let blobs = fs::read_dir(dir.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let blobs: Vec<_> = blobs.map(|path| (fs::read(&path).unwrap(), path)).collect();
    for round in 0..12 {
        let running = spawn(world.call(["unpack", "layout", "bundle"]));
        let stop = std::sync::atomic::AtomicBool::new(false);
        let out = std::thread::scope(|scope| {
            scope.spawn(|| {
                use std::os::unix::fs::FileExt as _;
                let open = |path| fs::OpenOptions::new().write(true).open(path).unwrap();
                let files: Vec<_> = blobs.iter().map(|(text, path)| (text, open(path))).collect();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for (text, file) in &files {
                        let at = text.len() / 12 * round;
                        file.write_at(b"~", at as u64).unwrap();
                        file.write_at(&text[at..=at], at as u64).unwrap();
                    }
                }
            });
            let out = end(running);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            out
        });
        for (text, path) in &blobs {
            assert!(fs::read(path).unwrap() == *text, "{}", path.display());
        }
        match out.code {
            0 => {
                world.run("verify layout").ok();
                fs::remove_dir_all(world.path("bundle")).unwrap();
                world.run("prune").ok();
            }
            code => assert_eq!(code, 1, "{out:?}"),
        }
        world.is_clean();
    }
}

/// With SIGCHLD ignored, which outlives execve(2), nobody could wait for a child.
#[test]
fn what_the_caller_does_with_signals_does_not_matter() {
    let world = World::new();
    image(&world.path("layout"), &[layer("x")]);
    let script = "import signal,os,sys\nsignal.signal(signal.SIGCHLD,signal.SIG_IGN)\n\
                  os.execv(sys.argv[1],sys.argv[1:])";
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args(["-c", script]).arg(super::world::program());
    command.args(["unpack", "--store", "store", "layout", "bundle"]).current_dir(world.dir.path());
    super::world::output(command).ok();
    assert!(world.layer(0).join("x").exists());
}

/// An image whose layer takes a while: many files.
fn slow(world: &World) -> PathBuf {
    let mut tar = Tar::new();
    for number in 0..15_000 {
        tar = tar.file(&format!("f{number}"), "x");
    }
    let tar = tar.end();
    image(&world.path("layout"), std::slice::from_ref(&tar));
    place(world, &tar)
}

/// Waits until the layer is being made.
fn wait_for_layer(world: &World, place: &Path) {
    let root = world.path("store/tmp").join(place.file_name().unwrap()).join("f0");
    let begin = std::time::Instant::now();
    while !root.exists() {
        assert!(begin.elapsed().as_secs() < 60, "nothing begins");
        std::thread::yield_now();
    }
}

#[test]
fn two_at_once_share_the_work() {
    let world = World::new();
    let place = slow(&world);
    let first = spawn(world.call(["unpack", "layout", "bundle"]));
    wait_for_layer(&world, &place);
    // Its whole group: it is not done before the other has come.
    let group = Pid::from_child(&first.child);
    kill_process_group(group, Signal::STOP).unwrap();
    let mut second = spawn(world.call(["unpack", "layout", "other"]));
    let begin = std::time::Instant::now();
    while !second.said("waiting for another pinnace-image") {
        assert!(begin.elapsed().as_secs() < 60, "the second does not wait");
        std::thread::yield_now();
    }
    kill_process_group(group, Signal::CONT).unwrap();
    let (first, second) = (end(first), end(second));
    first.ok();
    second.ok();
    assert!(second.stderr.contains("waiting for another pinnace-image"), "{second:?}");
    assert_eq!(fs::read_dir(world.path("store/tmp")).unwrap().count(), 0);
    assert!(world.path("other/config.json").exists());
    // Many, and each has all.
    let all: Vec<_> = (0..8)
        .map(|number| spawn(world.call(["unpack".into(), "layout".into(), format!("b{number}")])))
        .collect();
    all.into_iter().for_each(|one| drop(end(one).ok().to_owned()));
    let list: Value = serde_json::from_str(world.run("ls --format json").ok()).unwrap();
    assert_eq!(list[0]["bundles"].as_array().unwrap().len(), 10);
}

#[test]
fn an_interrupted_image_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let world = World::new();
        let place = slow(&world);
        let running = spawn(world.call(["unpack", "layout", "bundle"]));
        wait_for_layer(&world, &place);
        kill_process(Pid::from_child(&running.child), signal).unwrap();
        let out = end(running);
        assert_eq!(out.code, 128 + signal.as_raw(), "{out:?}");
        assert!(out.stderr.contains("what was begun is removed"), "{out:?}");
        world.is_clean();
    }
}

/// Whatever dies in whatever moment: who comes next gets there.
#[test]
fn a_killed_image_is_no_obstacle() {
    let world = World::new();
    let place = slow(&world);
    let running = spawn(world.call(["unpack", "layout", "bundle"]));
    wait_for_layer(&world, &place);
    let parent = running.child.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let child = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    kill_process(child, Signal::KILL).unwrap();
    end(running).fails_with("was killed by signal 9");
    world.is_clean();
    let running = spawn(world.call(["unpack", "layout", "bundle"]));
    wait_for_layer(&world, &place);
    kill_process(Pid::from_child(&running.child), Signal::KILL).unwrap();
    assert_eq!(end(running).code, 137);
    // The one that reads ends with it, and its lock.
    world.run("unpack layout other").ok();
    assert_eq!(fs::read_dir(&place).unwrap().count(), 15_000);
    assert_eq!(fs::read_dir(world.path("store/tmp")).unwrap().count(), 0);
    drop(fs::remove_dir_all(world.path("other")));
    drop(fs::remove_dir_all(world.path("bundle")));
    world.run("prune").ok();
    world.is_clean();
}

/// A full disk is one line, and not full any more after it.
#[test]
fn a_full_disk_is_told() {
    let world = World::new();
    // Many small files: the disk ends before the count of bytes does.
    let mut tar = Tar::new();
    for number in 0..6000 {
        tar = tar.file(&format!("f{number}"), "x");
    }
    image(&world.path("layout"), &[tar.end()]);
    fs::create_dir(world.path("store")).unwrap();
    let script = "mount -t tmpfs -o size=64m,nr_inodes=2000,mode=700 small store && \
                  $0 unpack --store store layout bundle; code=$?; df -i store | tail -1 >&2; exit $code";
    let mut command = std::process::Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
    command.arg(super::world::program()).current_dir(world.dir.path());
    let out = super::world::output(command);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stderr.contains("no space left on device"), "{out:?}");
    let used: u32 =
        out.stderr.lines().last().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!(used < 20, "{out:?}");
}

/// A layer of 200 MB in little memory; how far it is, a terminal shows.
#[test]
fn a_large_layer_needs_little_memory_and_is_no_secret() {
    let world = World::new();
    let mut tar = Tar::new();
    for number in 0..50 {
        tar = tar.file(&format!("f{number}"), vec![number; 4 << 20]);
    }
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let manifest = layout.manifest(&[tar.end()], Pack::Zstd, &json!({"Cmd": ["true"]}));
    layout.tag(manifest, "latest");
    let mut command = std::process::Command::new("/usr/bin/python3");
    let script = "import subprocess,resource,sys\nc=subprocess.run(sys.argv[1:]).returncode\n\
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nsys.exit(c)";
    command.args(["-c", script]).arg(super::world::program());
    command.args(["unpack", "--store", "store", "layout", "bundle"]).current_dir(world.dir.path());
    let out = super::world::output(command);
    let kilobytes: u64 = out.ok().trim().parse().unwrap();
    assert!(kilobytes < 32_768, "{kilobytes} kB");
    assert_eq!(out.stderr, "");
    if !std::path::Path::new("/usr/bin/script").exists() {
        // Past libtest's capture, where hack/test counts it.
        use std::io::Write as _;
        std::io::stderr().write_all(b"skipped: script(1) makes the terminal\n").unwrap();
        return;
    }
    fs::remove_dir_all(world.path("store")).unwrap();
    let line = format!("{} unpack --store store layout other", super::world::program().display());
    let mut command = std::process::Command::new("/usr/bin/script");
    command.args(["-qefc", &line, "/dev/null"]).current_dir(world.dir.path());
    let out = super::world::output(command);
    let text = out.ok();
    assert!(text.contains("\rlayer 1/1  ") && text.contains(" MB/s "), "{text:?}");
    // In the end nothing is left of it.
    assert!(text.ends_with("\r\u{1b}[K"), "{text:?}");
}
