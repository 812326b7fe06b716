//! The bundle: what runs is what the image says, under any runtime.

use super::archive::{Layout, Pack, Tar};
use super::world::{World, output};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// A layer with a shell.
pub fn shell() -> Vec<u8> {
    let busybox = fs::read("/bin/busybox").unwrap();
    Tar::new()
        .file_with("bin/busybox", busybox, |header| header.mode = 0o755)
        .link("bin/sh", "busybox")
        .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
        .file("etc/group", "web:x:34:\ndisk:x:6:web\n")
        .end()
}

pub fn world(config: &Value) -> World {
    let world = World::new();
    let dir = world.path("layout");
    let layout = Layout::new(&dir);
    let manifest = layout.manifest(&[shell()], Pack::Zstd, config);
    layout.tag(manifest, "latest");
    world
}

const SCRIPT: &str =
    "id -u; id -g; id -G; pwd; echo $A $HOME $PATH; cat /proc/self/status | grep CapBnd";

pub fn pinnace() -> std::path::PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("bin/pinnace");
    std::env::var_os("RUNTIME").map_or_else(own, std::path::PathBuf::from)
}

pub fn run(world: &World, runtime: &Path, bundle: &str, id: &str) -> super::world::Output {
    let mut command = Command::new(runtime);
    command.arg("--root").arg(world.path("state"));
    command.args(["run", "--bundle", bundle, id]).current_dir(world.dir.path());
    output(command)
}

#[test]
fn a_copied_image_runs_under_any_runtime() {
    let config = json!({"Entrypoint": ["/bin/busybox", "sh", "-c"], "Cmd": ["false"], "User": "web",
        "WorkingDir": "/home/here", "Env": ["A=b"]});
    let world = world(&config);
    let mut command = world.call(["unpack", "--copy", "layout", "bundle", "exit 3"]);
    assert_eq!(output(command).code, 0);
    let id = |what: &str| format!("it-{}-{what}", std::process::id());
    assert_eq!(run(&world, &pinnace(), "bundle", &id("a")).code, 3);
    command = world.call([
        "unpack",
        "--copy",
        "layout",
        "other",
        SCRIPT
            .replace("id ", "busybox id ")
            .replace("cat", "busybox cat")
            .replace("grep", "busybox grep")
            .as_str(),
    ]);
    assert_eq!(output(command).code, 0);
    let wanted = "33\n34\n34 6\n/home/here\nb /srv /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nCapBnd:\t00000000800405fb\n";
    let mut runtimes = vec![pinnace()];
    runtimes.extend(
        ["/usr/sbin/runc", "/usr/bin/runc"]
            .map(Path::new)
            .into_iter()
            .filter(|path| path.exists())
            .map(Path::to_owned)
            .take(1),
    );
    for runtime in runtimes {
        let out = run(&world, &runtime, "other", &id("b"));
        assert_eq!(out.ok(), wanted, "{}", runtime.display());
    }
}

/// Whether this runtime mounts layers.
pub fn mounts_layers() -> bool {
    let mut probe = Command::new(pinnace());
    probe.args(["run", "--help"]);
    let mounts = output(probe).stdout.contains("--overlay");
    if !mounts {
        // Past libtest's capture, where hack/test counts it.
        std::io::stderr().write_all(b"skipped: this runtime mounts no layers\n").unwrap();
    }
    mounts
}

#[test]
fn layers_run_and_stay_as_they_are() {
    if !mounts_layers() {
        return;
    }
    for count in [1, 128, 500] {
        let world = World::new();
        let dir = world.path("layout");
        let layout = Layout::new(&dir);
        let more = (1..count).map(|number| Tar::new().file(&format!("f{number}"), "x").end());
        let layers: Vec<_> = std::iter::once(shell()).chain(more).collect();
        let script =
            "set -- /f*; echo $#; echo new > /new; echo more >> /etc/passwd; busybox rm -f /f7";
        let config = json!({"Cmd": ["/bin/sh", "-c", script], "Env": ["PATH=/bin"]});
        let manifest = layout.manifest(&layers, Pack::Gzip, &config);
        layout.tag(manifest, "latest");
        world.run("unpack layout bundle").ok();
        let files = if count == 1 { 1 } else { count - 1 };
        for round in 0..3 {
            let id = format!("it-{}-{count}-{round}", std::process::id());
            let out = run(&world, &pinnace(), "bundle", &id);
            assert_eq!(out.ok(), format!("{files}\n"), "{out:?}");
        }
        world.run("verify layout").ok();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(world.path("store").to_str().unwrap()), "{mounts}");
    }
}

#[test]
fn the_caller_has_the_last_word() {
    let world = world(&json!({"Cmd": ["image"], "User": "web", "Env": ["PATH=/p"]}));
    world.run("unpack --user 7:8 --terminal -f other.json layout bundle one two").ok();
    let config: Value =
        serde_json::from_slice(&fs::read(world.path("other.json")).unwrap()).unwrap();
    assert!(!world.path("bundle/config.json").exists());
    let process = &config["process"];
    assert_eq!(process["args"], json!(["one", "two"]));
    assert_eq!(process["user"], json!({"uid": 7, "gid": 8}));
    assert_eq!(process["env"], json!(["PATH=/p", "TERM=xterm"]));
    assert_eq!(process["terminal"], true);
    assert_eq!(config["root"], json!({"path": "run.pinnace.layers"}));
}

/// `pinnace spec` has the other program do it, with the store of root: one of the test's own is
/// mounted in its place.
#[test]
fn spec_makes_a_bundle_of_an_image() {
    if ["runc", "crun"].iter().any(|name| pinnace().ends_with(name)) {
        return;
    }
    let world = world(&json!({"Cmd": ["/bin/sh"], "Labels": {"a": "b"}}));
    fs::create_dir(world.path("lib")).unwrap();
    let spec = |words: &str| {
        let script = "mount --bind lib /var/lib && exec \"$@\"";
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"]);
        command.arg(pinnace()).args(words.split(' ')).current_dir(world.dir.path());
        output(command)
    };
    let out = spec("spec --from-oci nowhere:tag --bundle bundle");
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stderr.contains("there is no such directory"), "{out:?}");
    assert!(!world.path("bundle").exists());
    spec("spec --from-oci layout:latest --bundle bundle").ok();
    let layers = world.config()["annotations"]["run.pinnace.layers"].as_str().unwrap().to_owned();
    assert!(layers.starts_with("[\"/var/lib/pinnace/layers/sha256/"), "{layers}");
    assert_eq!(world.config()["process"]["args"], json!(["/bin/sh"]));
    assert!(spec("spec --from-oci layout --bundle bundle").stderr.contains("is not overwritten"));
    // Where that fails, no bundle is left that would run without it.
    let out = spec("spec --from-oci layout --bundle third --network container:nobody");
    assert!(out.code != 0 && out.stderr.contains("does not exist"), "{out:?}");
    assert!(!world.path("third").exists());
    // What `spec` does besides is done to it.
    spec("spec --from-oci layout --bundle other --hostname box --network none").ok();
    let text = fs::read(world.path("other/config.json")).unwrap();
    assert_eq!(fs::read_dir(world.path("other")).unwrap().count(), 2);
    let config: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&config["hostname"], &config["annotations"]["a"]), (&json!("box"), &json!("b")));
}

/// CVE-2026-41579 (runc), CVE-2026-47766 (crun): `/dev` of an image is a link, and what the runtime
/// makes or removes there lands beside it.
#[test]
fn a_link_in_the_place_of_dev_leads_nowhere() {
    let world = World::new();
    fs::write(world.path("decoy/ptmx"), "ptmx").unwrap();
    let before = world.decoys();
    let decoy = world.path("decoy");
    let dots = format!("{}{}", "../".repeat(30), decoy.to_str().unwrap().trim_start_matches('/'));
    for (number, way) in [decoy.to_str().unwrap(), &dots].into_iter().enumerate() {
        let dir = world.path("layout");
        let layout = Layout::new(&dir);
        let link = Tar::new().link("dev", way).link("proc", way).link("sys", way).end();
        let config = json!({"Cmd": ["/bin/sh", "-c", "true"], "Env": ["PATH=/bin"]});
        let manifest = layout.manifest(&[shell(), link], Pack::Gzip, &config);
        layout.tag(manifest, "latest");
        for (form, flag) in [("layers", None), ("copy", Some("--copy"))] {
            if flag.is_none() && !mounts_layers() {
                continue;
            }
            let words = ["unpack"].into_iter().chain(flag).chain(["layout", "bundle"]);
            assert_eq!(output(world.call(words)).code, 0);
            // With a file system for /dev, and without one.
            for with_dev in [true, false] {
                let mut config = world.config();
                let mounts = config["mounts"].as_array_mut().unwrap();
                let is_wanted = |mount: &Value| {
                    let at = mount["destination"].as_str().unwrap();
                    with_dev || !(at == "/dev" || at.starts_with("/dev/"))
                };
                mounts.retain(is_wanted);
                fs::write(world.path("bundle/config.json"), config.to_string()).unwrap();
                let id = format!("it-{}-dev-{number}-{form}-{with_dev}", std::process::id());
                let out = run(&world, &pinnace(), "bundle", &id);
                assert_eq!(world.decoys(), before, "{out:?}");
            }
            fs::remove_dir_all(world.path("bundle")).unwrap();
        }
    }
}
