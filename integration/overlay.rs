//! A root that is an overlay: what is written is elsewhere, and the directories below stay as they
//! are. Nothing of it shows on the host.

use crate::harness::{
    Bundle, Call, Container, Lacks, Output, deviates, exits, is_pinnace, json, needs, runtime,
    wait_for,
};
use crate::security::rootless::{Rootless, rootless};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

macro_rules! needs_overlays {
    () => {
        deviates!(["runc", "crun"], "they have no overlays");
    };
}

/// All that a tree is: names, types, modes, owners, times, contents, links.
fn tree(dir: &Path) -> String {
    let mut text = String::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let what = (stat.mode(), stat.size(), stat.rdev(), stat.mtime(), stat.mtime_nsec());
        write!(text, "{} {what:?}", path.display()).unwrap();
        // Other bundles have links to the same busybox, and change these.
        if !stat.is_file() || stat.nlink() == 1 {
            let more = (stat.uid(), stat.gid(), stat.ctime(), stat.ctime_nsec());
            write!(text, " {more:?}").unwrap();
        }
        if stat.is_dir() {
            let mut below: Vec<_> =
                fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            todo.extend(below);
        } else if stat.is_symlink() {
            write!(text, " {}", fs::read_link(&path).unwrap().display()).unwrap();
        } else if stat.is_file() && stat.size() < 100_000 {
            write!(text, " {:?}", fs::read(&path).unwrap()).unwrap();
        }
        text.push('\n');
    }
    text
}

/// Two trees are one and the same, or else their first difference is told.
#[track_caller]
fn same(one: &str, two: &str) {
    let differs = one.lines().zip(two.lines()).find(|(one, two)| one != two);
    assert!(one == two, "{differs:?}, {} and {} files", one.lines().count(), two.lines().count());
}

/// Mounts of the host that have to do with the container.
fn on_the_host(c: &Container) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&c.id)).map(str::to_owned).collect()
}

fn words(c: &Container, verb: &str, options: &[&str]) -> Vec<String> {
    let bundle = c.bundle.path();
    let words = [&[verb, "--bundle", bundle.to_str().unwrap()], options, &[&c.id]].concat();
    words.into_iter().map(str::to_owned).collect()
}

fn run(c: &Container, options: &[&str]) -> Output {
    c.call([]).args(words(c, "run", options)).run()
}

fn create(c: &Container, options: &[&str]) -> Output {
    let mut out = c
        .call([])
        .args(words(c, "create", options))
        .output_to(c.log("stdout"), c.log("stderr"))
        .run();
    out.stderr = c.stderr();
    out
}

/// Moves the bundle's root file system to a directory beside it, and names that and `more` as
/// layers of an image, the lowest first.
fn layered(bundle: Bundle, more: &[PathBuf]) -> Bundle {
    let base = bundle.dir().join("base");
    fs::rename(bundle.rootfs(""), &base).unwrap();
    fs::create_dir(place(&bundle)).unwrap();
    let all: Vec<_> = [base].iter().chain(more).map(|path| path.display().to_string()).collect();
    bundle
        .set("/annotations/run.pinnace.layers", json!(serde_json::to_string(&all).unwrap()))
        .set("/root/path", json!("run.pinnace.layers"))
}

/// Where the root of such a bundle lies.
fn place(bundle: &Bundle) -> PathBuf {
    bundle.path().join("run.pinnace.layers")
}

/// A directory with these files.
fn directory(c: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = c.join(name);
    fs::create_dir_all(&dir).unwrap();
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const WRITE: &str = "set -e; echo new > /new; echo changed > /etc/old; rm /etc/gone; \
    chmod 700 /tmp; chown 7 /bin; mkdir -p /a/b; mv /etc/moved /a/b; mknod /fifo p; busybox ln -s x /tmp/y; \
    cat /new /etc/old /a/b/moved; ls /etc";

fn written() -> Bundle {
    Bundle::sh(WRITE)
        .file("etc/old", "old\n")
        .file("etc/gone", "gone\n")
        .file("etc/moved", "moved\n")
        .capability("CAP_CHOWN")
}

#[test]
fn what_a_container_writes_is_not_in_its_root() {
    needs_overlays!();
    let c = written().container();
    let before = tree(&c.bundle.rootfs(""));
    for _ in 0..2 {
        assert_eq!(run(&c, &["--overlay"]).ok(), "new\nchanged\nmoved\nold\n");
        same(&before, &tree(&c.bundle.rootfs("")));
    }
    assert_eq!(on_the_host(&c), Vec::<String>::new());
    // Without, it is.
    assert_eq!(run(&c, &[]).ok(), "new\nchanged\nmoved\nold\n");
    assert!(tree(&c.bundle.rootfs("")) != before);
}

#[test]
fn a_hundred_runs_leave_the_lower_trees_as_they_were_and_no_mount_on_the_host() {
    needs_overlays!();
    let bundle = written();
    let lower = directory(bundle.dir(), "lower", &[("etc/old", "upon\n"), ("low/x", "x")]);
    let c = bundle.container();
    let trees = || tree(&c.bundle.rootfs("")) + &tree(&lower);
    let before = trees();
    for _ in 0..100 {
        let out = run(&c, &["--overlay", "--lower", text(&lower)]);
        assert_eq!(out.ok(), "new\nchanged\nmoved\nold\n");
        assert_eq!(on_the_host(&c), Vec::<String>::new());
    }
    same(&before, &trees());
    // While it runs there is none either.
    let c = Bundle::sleeper().container();
    create(&c, &["--overlay"]).ok();
    assert_eq!(on_the_host(&c), Vec::<String>::new());
    c.start().ok();
    assert_eq!(on_the_host(&c), Vec::<String>::new());
}

#[test]
fn lower_directories_lie_upon_the_root_each_upon_the_last() {
    needs_overlays!();
    let bundle = Bundle::sh("cat /etc/1 /etc/2 /etc/3; ls -d /etc/root; stat -c %a /")
        .file("etc/1", "root\n")
        .file("etc/2", "root\n")
        .file("etc/3", "root\n")
        .file("etc/root", "");
    let one = directory(bundle.dir(), "one", &[("etc/2", "one\n"), ("etc/3", "one\n")]);
    let two = directory(bundle.dir(), "two", &[("etc/3", "two\n")]);
    fs::set_permissions(&two, fs::Permissions::from_mode(0o751)).unwrap();
    let c = bundle.container();
    let out = run(&c, &["--lower", text(&one), "--lower", text(&two)]);
    assert_eq!(out.ok(), "root\none\ntwo\n/etc/root\n751\n");
    // By a path from the working directory, with letters that mean something to mount(8).
    let odd = directory(c.bundle.dir(), "a:b,c\\d e", &[("etc/1", "odd\n")]);
    let here = c.call([]).args(words(&c, "run", &["--lower", "a:b,c\\d e"]));
    let out = here.current_dir(odd.parent().unwrap()).run();
    assert!(out.ok().starts_with("odd\nroot\nroot\n"), "{out:?}");
}

#[test]
fn what_a_mount_a_device_or_the_working_directory_needs_is_made_above() {
    needs_overlays!();
    let bundle = Bundle::sh("pwd; cat /mnt/deep/x /run/file; ls /opt; stat -c %F /devices/null")
        .set("/process/cwd", json!("/srv/work"))
        .set(
            "/linux/devices",
            json!([{"path": "/devices/null", "type": "c", "major": 1, "minor": 3}]),
        );
    let source = directory(bundle.dir(), "source", &[("x", "x\n")]);
    let c = bundle
        .bind(&source, "/mnt/deep", &["bind"])
        .bind(&source.join("x"), "/run/file", &["bind"])
        .mount("tmpfs", "none", "/opt", &[])
        .container();
    let before = tree(&c.bundle.rootfs(""));
    let wanted = "/srv/work\nx\nx\ncharacter special file\n";
    assert_eq!(run(&c, &["--overlay"]).ok(), wanted);
    let kept = c.bundle.dir().join("kept");
    assert_eq!(run(&c, &["--overlay-dir", text(&kept)]).ok(), wanted);
    same(&before, &tree(&c.bundle.rootfs("")));
    assert!(kept.join("upper/srv/work").is_dir() && kept.join("upper/mnt/deep").is_dir());
    let device = fs::metadata(kept.join("upper/devices/null")).unwrap();
    assert!(device.file_type().is_char_device());
}

/// A hook needs the host's mounts, so the root is attached where it lies on the host.
#[test]
fn hooks_in_the_container_see_the_overlay_and_those_of_the_host_the_root() {
    needs_overlays!();
    let bundle = Bundle::sh("cat /by-hook /etc/x").file("etc/x", "old\n");
    let inner = bundle.script("inner", "echo hook > by-hook; echo new > etc/x");
    let outer = bundle.script("outer", &format!("ls {}", bundle.rootfs("").display()));
    let c = bundle
        .set("/hooks/createContainer/-", json!({"path": inner, "env": ["PATH=/bin:/usr/bin"]}))
        .set("/hooks/createRuntime/-", json!({"path": outer, "env": ["PATH=/bin:/usr/bin"]}))
        .container();
    let before = tree(&c.bundle.rootfs(""));
    assert!(run(&c, &["--overlay"]).ok().ends_with("hook\nnew\n"));
    same(&before, &tree(&c.bundle.rootfs("")));
    assert_eq!(on_the_host(&c), Vec::<String>::new());
}

/// The source of a bind mount that lies in the root is looked for in there.
#[test]
fn a_bind_of_the_roots_own_files_is_one_of_the_overlays() {
    needs_overlays!();
    let bundle = Bundle::sh("echo new > /there/x; cat /etc/dir/x").file("etc/dir/x", "old\n");
    let source = bundle.rootfs("etc/dir");
    let c = bundle.bind(&source, "/there", &["bind"]).container();
    assert_eq!(run(&c, &["--overlay"]).ok(), "new\n");
    assert_eq!(fs::read_to_string(source.join("x")).unwrap(), "old\n");
}

#[test]
fn a_readonly_root_its_propagation_and_its_masks_hold() {
    needs_overlays!();
    let script = "touch /x 2>/dev/null && echo wrote; ls /hidden; touch /etc/x 2>/dev/null && \
        echo wrote; head -n 1 /proc/self/mountinfo";
    for (wanted, shown) in [
        ("shared", Some("shared:")),
        ("rslave", None),
        ("private", None),
        ("unbindable", Some("unbindable")),
    ] {
        let bundle = Bundle::sh(script)
            .file("hidden/secret", "x")
            .set("/root/readonly", json!(true))
            .set("/linux/maskedPaths", json!(["/hidden"]))
            .set("/linux/readonlyPaths", json!(["/etc"]))
            .set("/linux/rootfsPropagation", json!(wanted));
        let c = bundle.container();
        let out = run(&c, &["--overlay"]);
        let lines: Vec<_> = out.ok().lines().collect();
        assert_eq!(lines.len(), 1, "{out:?}");
        assert!(lines[0].contains(" / / ro,") && lines[0].contains(" - overlay "), "{out:?}");
        match shown {
            Some(word) => assert!(lines[0].contains(word), "{wanted}: {out:?}"),
            None => assert!(!lines[0].contains("shared:"), "{wanted}: {out:?}"),
        }
    }
}

#[test]
fn what_is_kept_is_there_again() {
    needs_overlays!();
    let bundle = Bundle::sh(
        "cat /count 2>/dev/null; echo x >> /count; rm -f /etc/gone; ls /etc; \
        stat -c '%a %u' /; chmod 711 /; chown 5 /",
    )
    .file("etc/gone", "")
    .capability("CAP_CHOWN");
    fs::set_permissions(bundle.rootfs(""), fs::Permissions::from_mode(0o751)).unwrap();
    let kept = bundle.dir().join("kept");
    let c = bundle.container();
    let before = tree(&c.bundle.rootfs(""));
    assert_eq!(run(&c, &["--overlay-dir", text(&kept)]).ok(), "751 0\n");
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o700);
    // What a container that was killed may have left for the kernel to tidy up; and a link.
    let decoy = directory(c.bundle.dir(), "decoy", &[("x", "x")]);
    directory(&kept, "work/work/#1f", &[("y/z", "z")]);
    symlink(&decoy, kept.join("work/link")).unwrap();
    let decoys = tree(&decoy);
    assert_eq!(run(&c, &["--overlay-dir", text(&kept)]).ok(), "x\n711 5\n");
    let kept = c.call([]).args(words(&c, "run", &["--overlay-dir", "kept"]));
    assert_eq!(kept.current_dir(c.bundle.dir()).run().ok(), "x\nx\n711 5\n");
    same(&before, &tree(&c.bundle.rootfs("")));
    same(&decoys, &tree(&decoy));
}

#[test]
fn what_is_kept_belongs_to_one_container() {
    needs_overlays!();
    let one = Bundle::sleeper().container();
    let kept = one.bundle.dir().join("kept");
    let other = one.bundle.dir().join("other");
    symlink(&kept, &other).unwrap();
    create(&one, &["--overlay-dir", text(&kept)]).ok();
    let two = Bundle::sh("cat /mine").container();
    let refused = |path: &Path| {
        let out = run(&two, &["--overlay-dir", text(path)]);
        let words = format!("is in use by container \"{}\"", one.id);
        assert!(out.fails().contains(&words) && out.stderr.contains("delete"), "{out:?}");
        assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
        assert!(!two.root().join(&two.id).exists());
    };
    refused(&kept);
    // By another name of the same directory.
    refused(&other);
    one.start().ok();
    one.exec(["sh", "-c", "echo mine > /mine"]).ok();
    one.stop();
    // Others may still have it mounted.
    refused(&kept);
    one.delete().ok();
    assert_eq!(run(&two, &["--overlay-dir", text(&other)]).ok(), "mine\n");
    // Neither a file from nowhere nor one that was torn keeps it.
    for text_ in ["", "x", "2026\n/no/such/place/x", "2026\n/", "2026\nx"] {
        fs::write(kept.join("holder"), text_).unwrap();
        assert_eq!(run(&two, &["--overlay-dir", text(&kept)]).ok(), "mine\n");
    }
}

#[test]
fn a_runtime_that_is_killed_gives_what_is_kept_back() {
    needs_overlays!();
    // A hook that waits is a point at which to kill it.
    let bundle = Bundle::new(["true"]);
    let fifo = bundle.dir().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let hook = bundle.script("hook", &format!("echo $$ > {}; exec sleep 1000", fifo.display()));
    let c = bundle.set("/hooks/createRuntime/-", json!({"path": hook})).container();
    let kept = c.bundle.dir().join("kept");
    let call = c.call([]).args(words(&c, "create", &["--overlay-dir", text(&kept)]));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = rustix::fs::open(&fifo, flags, rustix::fs::Mode::empty()).unwrap();
    let running = call.output_to(c.log("stdout"), c.log("stderr")).spawn();
    assert!(wait_for(&reader, PollFlags::IN), "the hook does not run");
    let mut hook = [0; 20];
    let length = rustix::io::read(&reader, &mut hook).unwrap();
    let hook = String::from_utf8_lossy(&hook[..length]).trim().parse().unwrap();
    let hook = rustix::process::Pid::from_raw(hook).unwrap();
    let pid = running.pid();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert!(exits(pid));
    drop(running);
    let next = Bundle::new(["true"]).container();
    run(&next, &["--overlay-dir", text(&kept)]).fails_with(&["is in use by container"]);
    assert_eq!(on_the_host(&c), Vec::<String>::new());
    c.call(["delete", "--force", &c.id]).run().ok();
    // Nobody else would end it.
    rustix::process::kill_process(hook, rustix::process::Signal::KILL).unwrap();
    run(&next, &["--overlay-dir", text(&kept)]).ok();
}

/// A container may leave setuid programs there, and a root that all may write to: those who are
/// not root on this host get to neither.
#[test]
fn what_is_kept_is_out_of_reach_of_others() {
    needs_overlays!();
    let c = Bundle::sh("echo x > /x; chmod 4755 /x; chmod 777 /").container();
    let kept = directory(c.bundle.dir(), "kept", &[]);
    for mode in [0o755, 0o711, 0o750, 0o710, 0o701] {
        fs::set_permissions(&kept, fs::Permissions::from_mode(mode)).unwrap();
        let out = run(&c, &["--overlay-dir", text(&kept)]);
        assert!(out.fails().contains(&format!("open to others, mode {mode:04o}")), "{out:?}");
        assert!(out.stderr.contains("chmod 700") && out.stderr.lines().count() == 1, "{out:?}");
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
        assert!(!c.root().join(&c.id).exists());
    }
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o700)).unwrap();
    run(&c, &["--overlay-dir", text(&kept)]).ok();
    assert_eq!(fs::metadata(kept.join("upper/x")).unwrap().mode() & 0o7777, 0o4755);
    // Nor later.
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o755)).unwrap();
    run(&c, &["--overlay-dir", text(&kept)]).fails_with(&["open to others"]);
}

/// The kernel would have it.
#[test]
fn nothing_is_kept_in_a_lower_directory_by_whatever_name() {
    needs_overlays!();
    let bundle = Bundle::new(["true"]);
    let (rootfs, real) = (bundle.rootfs(""), bundle.dir().join("real"));
    fs::rename(&rootfs, &real).unwrap();
    symlink(&real, rootfs.to_str().unwrap().trim_end_matches('/')).unwrap();
    let lower = directory(bundle.dir(), "lower", &[("dir/x", "")]);
    let link = bundle.dir().join("link");
    symlink(lower.join("dir"), &link).unwrap();
    let c = bundle.container();
    let before = tree(&real) + &tree(&lower);
    for dir in [real.join("kept"), real.clone(), link.join("kept"), link.clone()] {
        let out = run(&c, &["--lower", text(&lower), "--overlay-dir", text(&dir)]);
        assert!(out.fails().contains("which is not to change"), "{out:?}");
        assert!(out.stderr.lines().count() == 1 && out.stderr.contains(" lies in "), "{out:?}");
        same(&before, &(tree(&real) + &tree(&lower)));
        assert!(!c.root().join(&c.id).exists());
    }
}

/// What comes from an earlier container is not trusted.
#[test]
fn attributes_that_lead_elsewhere_are_not_followed() {
    needs_overlays!();
    let script = "cat /led/secret /file 2>/dev/null; ls /led; ls /etc/secrets";
    let c = Bundle::sh(script).file("etc/secrets/secret", "secret\n").container();
    let kept = directory(
        c.bundle.dir(),
        "kept",
        &[("holder", ""), ("upper/led/own", ""), ("upper/file", "")],
    );
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o700)).unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        let path = kept.join("upper").join(path);
        let name = format!("trusted.overlay.{name}");
        rustix::fs::setxattr(&path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    // It is hidden, so nobody may get at it.
    directory(&kept, "upper/etc/secrets", &[]);
    set("etc/secrets", "opaque", b"y");
    set("led", "redirect", b"/etc/secrets");
    set("file", "redirect", b"/etc/secrets/secret");
    set("file", "metacopy", b"");
    // The kernel refuses the directory as a whole.
    let out = run(&c, &["--overlay-dir", text(&kept)]);
    assert_eq!(out.ok(), "");
}

#[test]
fn no_more_can_be_written_than_the_size() {
    needs_overlays!();
    let script = "dd if=/dev/zero of=/big bs=64k count=32 2>/dev/null || echo full; \
        stat -c %s /big; df -k / | tail -n 1 | awk '{print $2}'; df -i / | tail -n 1 | awk '{print $2}'";
    let c = Bundle::sh(script).container();
    let out = run(&c, &["--overlay-size", "1m"]);
    // An empty file takes memory of the kernel, which is not in the size.
    assert_eq!(out.ok(), "full\n1048576\n1024\n1024\n");
    let out = run(&c, &["--overlay-size", "16m"]);
    assert_eq!(out.ok(), "2097152\n16384\n4096\n");
    assert!(!c.bundle.rootfs("big").exists());
}

#[test]
fn what_a_mount_forbids_an_overlay_of_it_forbids_too() {
    needs_overlays!();
    let c = Bundle::sh("head -n 1 /proc/self/mountinfo").container();
    let lower = directory(c.bundle.dir(), "lower", &[]);
    let flags = |options: &str| {
        let script = "mount -t tmpfs -o \"$1\" none \"$0\"; shift; exec \"$@\"";
        let call = Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
            .args([text(&lower), options, text(&runtime().path)]);
        let out = call.args(c.global()).args(words(&c, "run", &["--lower", text(&lower)])).run();
        out.ok().split(' ').nth(5).unwrap().to_owned()
    };
    let usual = flags("rw");
    let strict = flags("nosuid,nodev");
    assert!(strict.contains("nosuid") && strict.contains("nodev"), "{usual} {strict}");
    assert!(!strict.contains("noexec"), "{strict}");
}

#[test]
fn layers_of_an_image_are_the_root() {
    needs_overlays!();
    let script =
        "cat /etc/1 /etc/2; ls /etc /dir; echo x > /etc/1; ls -d /low; cat /etc/asked 2>&1";
    let bundle = Bundle::sh(script)
        .file("etc/1", "base\n")
        .file("etc/2", "base\n")
        .file("etc/gone", "")
        .file("dir/old", "");
    let one = directory(bundle.dir(), "one", &[("etc/2", "one\n"), ("dir/new", "")]);
    let whiteout = one.join("etc/gone");
    let char = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, &whiteout, char, rustix::fs::Mode::empty(), 0).unwrap();
    let opaque = (one.join("dir"), "trusted.overlay.opaque");
    rustix::fs::setxattr(&opaque.0, opaque.1, b"y", rustix::fs::XattrFlags::empty()).unwrap();
    let low = directory(bundle.dir(), "low", &[("low/x", "")]);
    let c = layered(bundle, &[one.clone(), one.clone()]).container();
    let trees = || tree(&c.bundle.dir().join("base")) + &tree(&one) + &tree(&c.bundle.path());
    let before = trees();
    let wanted = "base\none\n/dir:\nnew\n\n/etc:\n1\n2\n";
    // With what the command line adds, and without a word of it.
    assert!(run(&c, &[]).stdout.starts_with(wanted), "{:?}", run(&c, &[]));
    let out = run(&c, &["--lower", text(&low)]);
    assert!(out.stdout.starts_with(&format!("{wanted}/low\n")), "{out:?}");
    let kept = c.bundle.dir().join("kept");
    run(&c, &["--overlay-dir", text(&kept)]);
    assert_eq!(fs::read_to_string(kept.join("upper/etc/1")).unwrap(), "x\n");
    same(&before, &trees());
}

/// An engine passes on annotations that an image has made up. It has a root of its own.
#[test]
fn no_annotation_shows_the_host_to_an_engines_container() {
    needs_overlays!();
    let refused = |c: &Container, wanted: &str| {
        let out = run(c, &[]);
        assert!(out.fails().contains(wanted), "{out:?}");
        assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
        assert!(!c.root().join(&c.id).exists());
        let out = c.call(["plan", "--bundle", text(&c.bundle.path())]).run();
        assert!(out.code == 1 && out.stdout.contains(wanted), "{out:?}");
    };
    let layers = ("/annotations/run.pinnace.layers", json!("[\"/\"]"));
    let full = Bundle::new(["true"]).set(layers.0, layers.1.clone()).container();
    refused(&full, "root.path must be \"run.pinnace.layers\", not \"rootfs\"");
    let bundle = Bundle::new(["true"]);
    let root = directory(bundle.dir(), "elsewhere", &[]);
    let c = bundle.set("/root/path", json!(root)).set(layers.0, layers.1.clone()).container();
    refused(&c, "root.path must be \"run.pinnace.layers\"");
    // What umoci makes of an image without files that has such a label.
    let bundle = Bundle::new(["cat", "/etc/shadow"]).set(layers.0, layers.1.clone());
    fs::remove_dir_all(bundle.rootfs("")).unwrap();
    fs::create_dir(bundle.rootfs("")).unwrap();
    refused(&bundle.container(), "root.path must be \"run.pinnace.layers\", not \"rootfs\"");
    // Who writes such a bundle by hand.
    let c = layered(Bundle::new(["true"]), &[]).container();
    fs::write(place(&c.bundle).join("x"), "").unwrap();
    refused(&c, "run.pinnace.layers is not empty");
    let c = layered(Bundle::new(["true"]), &[])
        .set("/annotations/run.pinnace.overlay", json!("{}"))
        .container();
    refused(&c, "is the runtime's to write");
    let c = Bundle::new(["true"]).set("/annotations/run.pinnace.overlay", json!("{}")).container();
    refused(&c, "is the runtime's to write");
    // And somebody has mounted something there.
    let c = layered(Bundle::new(["true"]), &[]).container();
    let script = "mount -t tmpfs none \"$0\"; exec \"$@\"";
    let call = Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
        .args([text(&place(&c.bundle)), text(&runtime().path)]);
    let out = call.args(c.global()).args(words(&c, "run", &[])).run();
    assert!(out.fails().contains("is a mount, as of an engine"), "{out:?}");
    run(&c, &[]).ok();
}

#[test]
fn as_many_layers_as_the_kernel_takes_and_no_more() {
    needs_overlays!();
    let bundle = Bundle::sh("ls /many | wc -l; cat /many/last");
    let layer = |n: usize| {
        let name = format!("many/{n}");
        let mine = (name.as_str(), "");
        let last = n.to_string();
        directory(bundle.dir(), &format!("layers/{n}"), &[mine, ("many/last", &last)])
    };
    let layers: Vec<_> = (1..500).map(layer).collect();
    let one_more = layer(500);
    let c = layered(bundle, &layers).container();
    assert_eq!(run(&c, &[]).ok(), "500\n499");
    let out = run(&c, &["--lower", text(&one_more)]);
    assert!(out.fails().contains("501 lower directories are more than 500"), "{out:?}");
    assert!(!c.root().join(&c.id).exists());
    let many: Vec<_> = layers.iter().flat_map(|layer| ["--lower", text(layer)]).collect();
    let plain = Bundle::sh("ls /many | wc -l; cat /many/last").container();
    assert_eq!(run(&plain, &many).ok(), "500\n499");
    let more = [&many[..], &["--lower", text(&one_more)]].concat();
    assert!(run(&plain, &more).fails().contains("--lower: 501 lower directories"));
}

/// The ids of an image are those of the container; those of a bundle's root are the host's.
#[test]
fn a_user_namespace_owns_its_layers() {
    needs_overlays!();
    let script = "stat -c %u:%g / /etc/of0 /etc/of7; id -u; echo x > /etc/new; \
        chown 5 /etc/of7; stat -c %u /etc/new /etc/of7";
    let bundle = Bundle::sh(script).file("etc/of0", "").file("etc/of7", "").capability("CAP_CHOWN");
    std::os::unix::fs::lchown(bundle.rootfs("etc/of7"), Some(7), Some(8)).unwrap();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let c = layered(bundle, &[])
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .container();
    let wanted = "0:0\n0:0\n7:8\n0\n0\n5\n";
    assert_eq!(run(&c, &[]).ok(), wanted);
    let kept = c.bundle.dir().join("kept");
    assert_eq!(run(&c, &["--overlay-dir", text(&kept)]).ok(), wanted);
    let owner = |path: &str| fs::symlink_metadata(kept.join("upper").join(path)).unwrap().uid();
    assert_eq!(["etc/new", "etc/of7", ""].map(owner), [100_000, 100_005, 100_000]);
    assert_eq!(fs::metadata(c.bundle.dir().join("base/etc/of7")).unwrap().uid(), 7);
    // A bundle's own.
    let plain = Bundle::sh("stat -c %u / /etc/x; echo x > /new; stat -c %u /new");
    let plain = plain.file("etc/x", "").user_namespace().container();
    assert_eq!(run(&plain, &["--overlay"]).ok(), "0\n65534\n0\n");
    assert!(!plain.bundle.rootfs("new").exists());
}

#[test]
fn an_ordinary_user_has_overlays_too() {
    needs_overlays!();
    let script = "echo new > /etc/x; cat /etc/x; rm -r /dir; mkdir /dir; ls -A /dir; \
        head -n 1 /proc/self/mountinfo";
    let c = rootless(Bundle::sh(script).file("etc/x", "old\n").file("dir/old", "")).container();
    let user = Rootless::new(&c);
    let before = tree(&c.bundle.rootfs(""));
    let bundle = c.bundle.path();
    let kept = c.bundle.path().join("kept");
    for options in [&["--overlay"][..], &["--overlay-dir", text(&kept)]] {
        for _ in 0..2 {
            let words = [&["run", "--bundle", text(&bundle)], options, &["x"]].concat();
            let out = user.call(&words).run();
            assert!(out.ok().starts_with("new\n") && out.stdout.lines().count() == 2, "{out:?}");
            assert!(out.stdout.contains("userxattr"), "{out:?}");
        }
    }
    same(&before, &tree(&c.bundle.rootfs("")));
    assert_eq!(fs::metadata(kept.join("upper/etc/x")).unwrap().uid(), 1000);
    assert_eq!(on_the_host(&c), Vec::<String>::new());
}

/// What a mount of the host hides the kernel does not show to an ordinary user.
#[test]
fn an_ordinary_user_is_told_of_a_mount_below_a_lower_directory() {
    needs_overlays!();
    let c = rootless(Bundle::sh("ls /hidden").file("hidden/secret", "")).container();
    let user = Rootless::new(&c);
    let bundle = c.bundle.path();
    let words = ["run", "--bundle", text(&bundle), "--overlay", "x"];
    assert_eq!(user.call(&words).run().ok(), "secret\n");
    let script = "mount -t tmpfs none \"$0\"; exec \"$@\"";
    let call = Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
        .args([text(&c.bundle.rootfs("hidden")), "/usr/bin/setpriv", "--reuid=1000"])
        .args(["--regid=1000", "--clear-groups", "--inh-caps=-all"])
        .args([text(&c.bundle.dir().join("runtime")), "--root"])
        .args([text(&c.bundle.dir().join("own-state"))]);
    let out = call.args(words).run();
    assert!(out.fails().contains("is something mounted below one of the directories?"), "{out:?}");
    assert!(out.stdout.is_empty() && out.stderr.lines().count() == 1, "{out:?}");
}

/// `FSCONFIG_SET_FD`
const BY_FD: Lacks =
    Lacks { call: libc::SYS_fsconfig, argument: 1, mask: !0, value: 5, errno: libc::EINVAL };

/// Linux 6.8 to 6.12: directories are named by their paths, and what is not attached is nothing
/// to make an overlay of.
#[test]
fn an_older_kernel_is_told_paths() {
    needs_overlays!();
    let c = written().container();
    let before = tree(&c.bundle.rootfs(""));
    let kept = c.bundle.dir().join("kept");
    for options in [&["--overlay"][..], &["--overlay-dir", text(&kept)]] {
        let out = c.call([]).args(words(&c, "run", options)).without(&[BY_FD]).run();
        assert_eq!(out.ok(), "new\nchanged\nmoved\nold\n", "{options:?}");
    }
    same(&before, &tree(&c.bundle.rootfs("")));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mapped = layered(Bundle::sh("stat -c %u /bin; pwd"), &[])
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .container();
    let out = mapped.call([]).args(words(&mapped, "run", &[])).without(&[BY_FD]).run();
    assert_eq!(out.ok(), "0\n/\n");
}

/// Before Linux 6.8 there is mount(2) alone. The word that it does not know is made to fail
/// each time.
#[test]
fn a_kernel_older_than_that_is_told_all_at_once() {
    needs_overlays!();
    needs!(Path::new("/usr/bin/strace").exists(), "strace");
    // Calls are counted in each process, and init is to make none.
    let bundle = written().set("/mounts", json!([]));
    let lower = directory(bundle.dir(), "lower", &[("etc/more", "")]);
    let c = bundle.container();
    let before = tree(&c.bundle.rootfs(""));
    let trace = c.bundle.dir().join("trace");
    let traced = |inject: &str| {
        let strace = Call::new("/usr/bin/strace")
            .args(["-f", "-qq", "-e", "trace=fsconfig,mount", "-o", text(&trace)])
            .args((!inject.is_empty()).then_some(["-e", inject]).into_iter().flatten())
            .args([text(&runtime().path)])
            .args(c.global())
            .args(words(&c, "run", &["--lower", text(&lower)]));
        let out = strace.without(&[BY_FD]).run();
        (out, fs::read_to_string(&trace).unwrap())
    };
    // The places of the calls of one process.
    let first = |text: &str, after: usize| {
        let line = |line: &&str| line.contains("lowerdir+") && line.contains("SET_STRING");
        let pid = text.lines().find(line).unwrap().split(' ').next().unwrap().to_owned();
        let own = text.lines().filter(|l| l.starts_with(&pid) && l.contains("fsconfig("));
        1 + own.enumerate().position(|(at, l)| at >= after && line(&l)).unwrap()
    };
    let one = first(&traced("").1, 0);
    let two = first(&traced(&format!("inject=fsconfig:error=EINVAL:when={one}")).1, one);
    let inject = format!("inject=fsconfig:error=EINVAL:when={one}..{two}+{}", two - one);
    let (out, trace) = traced(&inject);
    assert_eq!(out.ok(), "new\nchanged\nmoved\nmore\nold\n", "{trace}");
    assert!(trace.contains("mount(\"overlay\""), "{trace}");
    same(&before, &tree(&c.bundle.rootfs("")));
    assert_eq!(on_the_host(&c), Vec::<String>::new());
}

/// A copy of the host's mounts costs time for each of them.
#[test]
fn an_overlay_needs_no_copy_of_the_hosts_mounts() {
    needs_overlays!();
    needs!(Path::new("/usr/bin/strace").exists(), "strace");
    let enters = |options: &[&str]| {
        let c = Bundle::new(["true"]).container();
        let trace = c.bundle.dir().join("trace");
        let out = Call::new("/usr/bin/strace")
            .args(["-f", "-e", "trace=setns", "-o", text(&trace), text(&runtime().path)])
            .args(c.global())
            .args(words(&c, "run", options))
            .run();
        out.ok();
        fs::read_to_string(trace).unwrap().contains("CLONE_NEWNS")
    };
    needs!(enters(&[]), "a minimal mount namespace");
    assert!(enters(&["--overlay"]));
}

#[test]
fn who_comes_later_is_in_the_same_root_and_the_state_tells_of_it() {
    needs_overlays!();
    let c = Bundle::sleeper().container();
    create(&c, &["--overlay", "--overlay-size", "16m"]).ok();
    c.start().ok();
    c.exec(["sh", "-c", "echo x > /etc/x"]).ok();
    assert_eq!(c.exec(["cat", "/etc/x"]).ok(), "x\n");
    assert!(!c.bundle.rootfs("etc/x").exists());
    let state = c.state();
    assert_eq!(state["annotations"]["run.pinnace.overlay"], "{\"size\":16777216}");
}

#[test]
fn plan_shows_it_and_what_it_lacks() {
    needs_overlays!();
    let c = Bundle::new(["true"]).container();
    let lower = directory(c.bundle.dir(), "lower", &[]);
    let bundle = c.bundle.path();
    let plan = |options: &[&str]| {
        let words = [&["plan", "--json", "--bundle", text(&bundle)], options].concat();
        let out = c.call([]).args(words).run();
        serde_json::from_str::<serde_json::Value>(&out.stdout).unwrap()
    };
    assert_eq!(plan(&[])["plan"]["overlay"], json!(null));
    let shown = plan(&["--lower", text(&lower), "--overlay-size", "1m"]);
    assert_eq!(
        shown["plan"]["overlay"],
        json!([
            {"layer": "lower", "path": bundle.join("rootfs")},
            {"layer": "lower", "path": lower},
            {"layer": "tmpfs", "path": "size=1048576"},
        ])
    );
    let kept = c.bundle.dir().join("no/kept");
    let shown = plan(&["--lower", "/no/such/lower", "--overlay-dir", text(&kept)]);
    let findings = shown["findings"].to_string();
    for wanted in ["open /no/such/lower: no such file", "--overlay-dir", "/no: no such file"] {
        assert!(findings.contains(wanted), "{wanted}: {findings}");
    }
    assert!(is_pinnace());
}

#[test]
fn a_word_that_means_nothing_is_an_error_before_anything_is_made() {
    needs_overlays!();
    let c = Bundle::new(["true"]).container();
    let inside = c.bundle.rootfs("etc");
    let file = c.bundle.rootfs("bin/busybox");
    // Somebody's home, say, and a directory that others may change.
    let full = directory(c.bundle.dir(), "full", &[("work/precious", "x")]);
    fs::set_permissions(&full, fs::Permissions::from_mode(0o700)).unwrap();
    let open = directory(c.bundle.dir(), "open", &[]);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    for (options, wanted) in [
        (&["--overlay-size", "x"][..], "--overlay-size: \"x\" is no size"),
        (&["--overlay-size", "-1"], "--overlay-size: \"-1\" is no size"),
        (&["--overlay-size", "0"], "--overlay-size: \"0\" is no size"),
        (&["--overlay-size", "1m", "--overlay-dir", "/x"], "--overlay-size: is that of a tmpfs"),
        (&["--lower", ""], "--lower: \"\""),
        (&["--lower", "/no/such"], "--lower: open /no/such: no such file"),
        (&["--lower", text(&file)], "not a directory"),
        (&["--overlay-dir", text(&inside)], "which is not to change"),
        (&["--overlay-dir", "/no/such/dir"], "--overlay-dir: mkdir /no/such/dir: no such file"),
        (&["--overlay-dir", "/"], "lies in /"),
        (&["--overlay-dir", text(&full)], "is not empty, it has \"work\""),
        (&["--overlay-dir", text(&open)], "open can be written by others"),
    ] {
        let out = run(&c, options);
        assert!(out.fails().contains(wanted), "{options:?}: {}", out.stderr);
        assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
        assert!(!c.root().join(&c.id).exists(), "{options:?}");
    }
    assert!(full.join("work/precious").exists());
    let c = Bundle::new(["true"])
        .edit(|c| {
            let list = c["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|entry| entry["type"] != "mount");
            c["mounts"] = json!([]);
            c["linux"]["maskedPaths"] = json!([]);
            c["linux"]["readonlyPaths"] = json!([]);
        })
        .container();
    assert!(run(&c, &["--overlay"]).fails().contains("needs a new mount namespace"));
}
