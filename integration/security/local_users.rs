//! Other users of the host: state, sockets, pid files and logs are not theirs to take.

use crate::harness::{Bundle, Call, Container, Output, deviates, json, needs, runtime};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use rustix::process::{Gid, Uid};
use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::thread;

/// Somebody whom nothing on the host is meant for.
const USER: u32 = 65534;

/// Runs it with the ids of another user: they are a thread's own.
pub fn as_user<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let run = || {
        let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// A call of the runtime by a caller whose umask is 0.
fn carelessly<const N: usize>(c: &Container, args: [&str; N]) -> Call {
    Call::new("/bin/sh")
        .args(["-c", "umask 0; exec \"$0\" \"$@\""])
        .args([runtime().path.as_os_str()])
        .args(c.global())
        .args(args)
        .output_to(c.log("stdout"), c.log("stderr"))
}

fn create_carelessly(c: &Container) {
    let bundle = c.bundle.path();
    carelessly(c, ["create", "--bundle", bundle.to_str().unwrap(), &c.id]).run().ok();
}

fn state_dir(c: &Container) -> PathBuf {
    c.root().join(&c.id)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn give_away(path: &Path) {
    chown(path, Some(USER), Some(USER)).unwrap();
}

/// A file of the host that must stay as it is.
fn decoy(c: &Container) -> PathBuf {
    let path = c.bundle.dir().join("decoy");
    fs::write(&path, "untouched").unwrap();
    path
}

#[track_caller]
fn is_untouched(decoy: &Path) {
    assert_eq!(fs::read_to_string(decoy).unwrap(), "untouched", "{}", decoy.display());
}

// The start socket.

fn start_socket(c: &Container) -> PathBuf {
    state_dir(c).join("start")
}

fn try_connect(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// A5
#[test]
fn others_reach_nothing_of_a_container_whatever_the_umask() {
    deviates!(["runc", "crun"], "other names in the state directory");
    let c = Bundle::sleeper().container();
    create_carelessly(&c);
    assert_eq!(mode(&state_dir(&c)), 0o700);
    for entry in fs::read_dir(state_dir(&c)).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    let record = state_dir(&c).join("state.json");
    assert!(as_user(|| fs::read(&record)).is_err(), "it was read");
    assert!(as_user(|| try_connect(&start_socket(&c))).is_err(), "it was reached");
    // Nor if the directory is open to all.
    set_mode(&state_dir(&c), 0o755);
    assert!(as_user(|| fs::read(&record)).is_err(), "it was read");
    assert!(as_user(|| try_connect(&start_socket(&c))).is_err(), "it was reached");
    c.start().ok();
}

/// A5: who reaches it all the same does not know what the caller knows.
fn strangers_start_nothing(c: &Container) {
    create_carelessly(c);
    set_mode(&state_dir(c), 0o755);
    set_mode(&start_socket(c), 0o777);
    let words: [&[u8]; 5] = [b"s", b"", &[b's'; 32], &[b'0'; 32], &[0; 4096]];
    for word in words {
        let peer = as_user(|| {
            let peer = try_connect(&start_socket(c)).unwrap();
            send(&peer, word, SendFlags::NOSIGNAL).unwrap();
            // What comes after it is not heard either; it may be gone by now.
            send(&peer, b"s", SendFlags::NOSIGNAL).ok();
            peer
        });
        let mut answer = [0; 64];
        let heard = recv(&peer, &mut answer, RecvFlags::empty()).map_or(0, |(count, _)| count);
        assert_eq!(heard, 0, "it was answered: {:?}", &answer[..heard]);
        assert_eq!(c.status(), "created");
    }
    c.start().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn strangers_on_the_start_socket_start_nothing() {
    deviates!(["runc", "crun"], "a fifo, by the modes of its directory alone");
    strangers_start_nothing(&Bundle::sleeper().container());
}

#[test]
fn strangers_on_the_start_socket_of_a_user_namespace_start_nothing() {
    deviates!(["runc", "crun"], "a fifo, by the modes of its directory alone");
    strangers_start_nothing(&Bundle::sleeper().user_namespace().container());
}

/// A5: the one who says nothing.
#[test]
fn a_silent_connection_does_not_keep_start_waiting() {
    deviates!(["runc", "crun"], "a fifo, by the modes of its directory alone");
    for many in [1, 30] {
        let c = Bundle::sleeper().container();
        c.create().ok();
        let silent: Vec<_> = (0..many).map(|_| try_connect(&start_socket(&c)).unwrap()).collect();
        c.start().ok();
        assert_eq!(c.status(), "running");
        drop(silent);
    }
}

// State.

/// Every command on a container, also those that end it.
fn all_commands(c: &Container) -> Vec<(String, Output)> {
    let bundle = c.bundle.path();
    let bundle = bundle.to_str().unwrap();
    let mut all = Vec::new();
    let mut call = |args: &[&str]| {
        let out = c.call([]).args(args).run();
        all.push((args.join(" "), out));
    };
    let id = c.id.as_str();
    for args in [
        &["state", id][..],
        &["list"],
        &["list", "--quiet"],
        &["ps", id],
        &["events", "--stats", id],
        &["exec", id, "true"],
        &["pause", id],
        &["resume", id],
        &["update", "--pids-limit", "99", id],
        &["start", id],
        &["run", "--bundle", bundle, "--detach", "another"],
        &["create", "--bundle", bundle, "another"],
        &["create", "--bundle", bundle, id],
        &["kill", id, "KILL"],
        &["kill", "--all", id, "KILL"],
        &["kill", "--regex", ".", "KILL"],
        &["delete", id],
        &["delete", "--force", id],
    ] {
        call(args);
    }
    all
}

#[track_caller]
fn all_refuse(c: &Container, words: &str, but: &[&str]) {
    for (command, out) in all_commands(c) {
        if but.iter().any(|one| command.starts_with(one)) {
            continue;
        }
        assert!(out.code != 0, "{command}: succeeded: {out:?}");
        assert!(
            out.stderr.contains(words) && out.stderr.lines().count() == 1,
            "{command}: {out:?}"
        );
    }
}

/// B10: a record that somebody else can write has hooks run and processes killed.
#[test]
fn state_in_a_directory_of_somebody_else_is_refused() {
    deviates!(["runc", "crun"], "B10: they look at no owner");
    let c = Bundle::sleeper().container().up();
    let whose = format!("state belongs to uid {USER}");
    give_away(&c.root());
    all_refuse(&c, &whose, &[]);
    chown(c.root(), Some(0), Some(0)).unwrap();
    let whose = format!("{} belongs to uid {USER}", c.id);
    give_away(&state_dir(&c));
    let others = ["create", "run"];
    all_refuse(&c, &whose, &others);
    chown(state_dir(&c), Some(0), Some(0)).unwrap();
    c.call(["delete", "--force", "another"]).run().ok();
    for (path, open) in [(c.root(), 0o777), (c.root(), 0o1777), (c.root(), 0o770)] {
        let before = mode(&path);
        set_mode(&path, open);
        all_refuse(&c, "can be written by others", &[]);
        set_mode(&path, before);
    }
    set_mode(&state_dir(&c), 0o770);
    all_refuse(&c, "can be written by others", &others);
    set_mode(&state_dir(&c), 0o700);
    c.call(["delete", "--force", "another"]).run().ok();
    assert_eq!(c.status(), "running", "nobody touched it");
}

/// B10: the directory is ours, that above it is not.
#[test]
fn a_state_root_that_others_can_replace_is_refused() {
    deviates!(["runc", "crun"], "B10: they look at no owner");
    let c = Bundle::sleeper().container().up();
    // The whole of it, moved below a directory of somebody else.
    let (above, kept) = (c.bundle.dir().join("theirs"), c.bundle.dir().join("kept"));
    fs::create_dir(&above).unwrap();
    fs::rename(c.root(), above.join("state")).unwrap();
    symlink(above.join("state"), c.root()).unwrap();
    give_away(&above);
    all_refuse(&c, &format!("theirs belongs to uid {USER}"), &[]);
    chown(&above, Some(0), Some(0)).unwrap();
    set_mode(&above, 0o777);
    all_refuse(&c, "theirs can be written by others", &[]);
    set_mode(&above, 0o1777);
    assert_eq!(c.status(), "running", "as in /tmp: the root is ours");
    std::os::unix::fs::lchown(c.root(), Some(USER), Some(USER)).unwrap();
    all_refuse(&c, &format!("state is a link of uid {USER}"), &[]);
    fs::remove_file(c.root()).unwrap();
    fs::rename(above.join("state"), &kept).unwrap();
    fs::rename(&kept, c.root()).unwrap();
    assert_eq!(c.status(), "running", "nobody touched it");
}

/// B10: a planted container names a hook.
#[test]
fn a_planted_container_runs_no_hook() {
    let c = Bundle::sleeper().container();
    let decoy = decoy(&c);
    let script = c.bundle.script("hook", &format!("echo touched > {}", decoy.display()));
    let hooked = Bundle::sleeper().set("/hooks/poststop/-", json!({"path": script})).container();
    hooked.create().ok();
    hooked.stop();
    deviates!(["runc", "crun"], "B10: they look at no owner");
    // The user's own copy of a stopped container, where root is told to look.
    let theirs = c.bundle.dir().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let copy = theirs.join(&hooked.id);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(state_dir(&hooked)).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            give_away(&copy.join(entry.file_name()));
        }
    }
    give_away(&copy);
    give_away(&theirs);
    let root = theirs.to_str().unwrap().to_owned();
    for force in [&["delete"][..], &["delete", "--force"]] {
        let call = Call::new(&runtime().path).args(["--root", &root]).args(force);
        call.args([&hooked.id]).run().fails_with(&["belongs to uid"]);
    }
    is_untouched(&decoy);
    // Nor by a link beside the containers of root.
    symlink(&copy, c.root().parent().unwrap().join("link")).unwrap();
    fs::create_dir(c.root()).unwrap();
    symlink(&copy, c.root().join("linked")).unwrap();
    for args in [["state", "linked"], ["delete", "linked"], ["kill", "linked"]] {
        c.call(args).run().fails();
    }
    fs::remove_file(c.root().join("linked")).unwrap();
    is_untouched(&decoy);
    hooked.delete().ok();
}

#[test]
fn a_state_root_is_made_for_its_owner_alone() {
    deviates!(["runc", "crun"], "other modes");
    let c = Bundle::sleeper().container();
    let above = c.bundle.dir().join("a");
    let root = above.join("b/c");
    let bundle = c.bundle.path();
    let call = |args: &[&str]| {
        Call::new("/bin/sh")
            .args(["-c", "umask 0; exec \"$0\" \"$@\""])
            .args([runtime().path.as_os_str()])
            .args(["--root", root.to_str().unwrap()])
            .args(args)
            .output_to(c.log("stdout"), c.log("stderr"))
            .run()
    };
    call(&["create", "--bundle", bundle.to_str().unwrap(), &c.id]).ok();
    assert_eq!(mode(&root.join(&c.id)), 0o700);
    assert_eq!(mode(&root), 0o1711);
    assert_eq!([mode(&above) & 0o022, mode(&above.join("b")) & 0o022], [0, 0]);
    call(&["delete", "--force", &c.id]).ok();
}

/// The usual places: below links of root, in /tmp, with a dot in it.
#[test]
fn roots_of_engines_are_taken() {
    let c = Bundle::sleeper().container();
    let real = c.bundle.dir().join("real");
    fs::create_dir(&real).unwrap();
    symlink("real", c.bundle.dir().join("link")).unwrap();
    fs::create_dir(c.bundle.dir().join("sticky")).unwrap();
    set_mode(&c.bundle.dir().join("sticky"), 0o1777);
    let bundle = c.bundle.path();
    for name in ["link/k8s.io", "real/../link/./moby", "sticky/own"] {
        let root = c.bundle.dir().join(name);
        let call = |args: &[&str]| {
            let call = Call::new(&runtime().path).args(["--root", root.to_str().unwrap()]);
            call.args(args).output_to(c.log("stdout"), c.log("stderr")).run()
        };
        call(&["create", "--bundle", bundle.to_str().unwrap(), &c.id]).ok();
        call(&["start", &c.id]).ok();
        call(&["exec", &c.id, "true"]).ok();
        call(&["delete", "--force", &c.id]).ok();
    }
}

/// The runtime as root of a user namespace that maps one user only: the host's root
/// shows as nobody there, and so do /, /run and /tmp.
fn rootless(dir: &Path, args: &[&str]) -> Call {
    Call::new("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .args([
            "unshare",
            "--user",
            "--map-root-user",
            "/bin/sh",
            "-c",
            "umask 0; exec \"$0\" \"$@\"",
        ])
        .args([runtime().path.as_os_str()])
        .args(args)
        .env("XDG_RUNTIME_DIR", dir.to_str().unwrap())
        .env("USER", "nobody")
}

#[test]
fn a_rootless_state_root_is_the_users_own() {
    deviates!(["runc", "crun"], "another way of being rootless");
    let c = Bundle::sleeper().container();
    let (own, theirs) = (c.bundle.dir().join("own"), c.bundle.dir().join("theirs"));
    fs::create_dir(&own).unwrap();
    give_away(&own);
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(4242), Some(4242)).unwrap();
    needs!(rootless(&own, &["--version"]).run().code == 0, "user namespaces for everybody");
    assert_eq!(rootless(&own, &["list", "--quiet"]).run().ok(), "");
    fs::create_dir(own.join("pinnace")).unwrap();
    give_away(&own.join("pinnace"));
    assert_eq!(rootless(&own, &["list", "--quiet"]).run().ok(), "");
    rootless(&own, &["state", "x"]).run().is_unknown();
    // A root of somebody else shows as one of nobody.
    fs::create_dir(theirs.join("pinnace")).unwrap();
    chown(theirs.join("pinnace"), Some(4242), Some(4242)).unwrap();
    rootless(&theirs, &["list", "--quiet"]).run().fails_with(&["belongs to uid 65534"]);
}

/// A5, A9, B1 for a caller without privileges.
#[test]
fn a_rootless_container_is_its_users_alone() {
    deviates!(["runc", "crun"], "another way of being rootless");
    let bundle = Bundle::sleeper().unset("/linux", "resources").edit(|config| {
        let kept = ["/proc", "/dev"];
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| kept.contains(&mount["destination"].as_str().unwrap()));
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
    });
    let c = bundle.container();
    let (own, file) = (c.bundle.dir().join("own"), c.bundle.path());
    fs::create_dir(&own).unwrap();
    for path in [&own, &file, &c.bundle.rootfs(""), &c.bundle.rootfs("dev")] {
        give_away(path);
    }
    needs!(rootless(&own, &["--version"]).run().code == 0, "user namespaces for everybody");
    let (bundle, pid_file) = (file.to_str().unwrap(), own.join("pid"));
    let pid_file = pid_file.to_str().unwrap();
    let create = ["create", "--bundle", bundle, "--pid-file", pid_file, &c.id];
    let logged =
        |args: &[&str]| rootless(&own, args).output_to(c.log("stdout"), c.log("stderr")).run();
    logged(&create).ok();
    let dir = own.join("pinnace").join(&c.id);
    assert_eq!([mode(&dir), mode(&dir.join("start"))], [0o700, 0o600]);
    assert_eq!(mode(&own.join("pinnace")) & 0o022, 0);
    let state = || rootless(&own, &["state", &c.id]).run().ok().to_owned();
    // Root of the host comes to it, but does not know the word.
    let peer = try_connect(&dir.join("start")).unwrap();
    send(&peer, b"s", SendFlags::NOSIGNAL).unwrap();
    assert_eq!(recv(&peer, &mut [0; 9], RecvFlags::empty()).map_or(0, |(count, _)| count), 0);
    assert!(state().contains("\"created\""));
    rootless(&own, &["start", &c.id]).run().ok();
    assert!(state().contains("\"running\""));
    // Root of the host does not take it for its own.
    let root = own.join("pinnace");
    let call = Call::new(&runtime().path).args(["--root", root.to_str().unwrap()]);
    call.args(["delete", "--force", &c.id]).run().fails_with(&["belongs to uid 65534"]);
    rootless(&own, &["delete", "--force", &c.id]).run().ok();
    assert!(!dir.exists());
}

// Pid files.

/// `create`, `run` and `exec` with `--pid-file`; whether they succeeded.
fn with_pid_file(c: &Container, verb: &str, file: &Path) -> Output {
    let (bundle, file) = (c.bundle.path(), file.to_str().unwrap());
    let bundle = bundle.to_str().unwrap();
    match verb {
        "create" => c.detached(["create", "--bundle", bundle, "--pid-file", file, &c.id]),
        "run" => c.detached(["run", "-d", "--bundle", bundle, "--pid-file", file, &c.id]),
        _ => c.detached(["exec", "-d", "--pid-file", file, &c.id, "true"]),
    }
}

fn for_verb(verb: &str) -> Container {
    let c = Bundle::sleeper().container();
    if verb == "exec" { c.up() } else { c }
}

/// B1: the name of the temporary was known.
#[test]
fn a_pid_file_is_not_written_through_a_planted_link() {
    for verb in ["create", "run", "exec"] {
        let c = for_verb(verb);
        let decoy = decoy(&c);
        let dir = c.bundle.dir().join("spool");
        fs::create_dir(&dir).unwrap();
        for name in [".pid", ".tmp-pid", "pid.tmp", ".pid.tmp", ".pid~"] {
            symlink(&decoy, dir.join(name)).unwrap();
        }
        let out = with_pid_file(&c, verb, &dir.join("pid"));
        is_untouched(&decoy);
        deviates!(["runc", "crun"], "B1: their temporary's name");
        out.ok();
        let pid = fs::read_to_string(dir.join("pid")).unwrap();
        assert!(verb == "exec" || pid == c.pid().as_raw_pid().to_string(), "{pid}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 6, "a temporary has stayed");
    }
}

/// B1
#[test]
fn a_pid_file_replaces_nothing_but_a_file() {
    deviates!(["runc", "crun"], "B1: a device is replaced; never try");
    for verb in ["create", "run", "exec"] {
        let c = for_verb(verb);
        let decoy = decoy(&c);
        let path = |name: &str| c.bundle.dir().join(name);
        symlink(&decoy, path("link")).unwrap();
        fs::create_dir(path("directory")).unwrap();
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, path("device"), FileType::CharacterDevice, mode, rustix::fs::makedev(1, 3))
            .unwrap();
        mknodat(CWD, path("fifo"), FileType::Fifo, mode, 0).unwrap();
        for name in ["link", "directory", "device", "fifo"] {
            let before = fs::symlink_metadata(path(name)).unwrap();
            let out = with_pid_file(&c, verb, &path(name));
            out.fails_with(&["not a regular file"]);
            assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
            let after = fs::symlink_metadata(path(name)).unwrap();
            assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()), "{name}");
            // Before anything is made.
            assert!(verb == "exec" || !state_dir(&c).exists(), "{verb} {name}");
        }
        is_untouched(&decoy);
        // A file that is there is replaced, not written into.
        fs::hard_link(&decoy, path("pid")).unwrap();
        with_pid_file(&c, verb, &path("pid")).ok();
        is_untouched(&decoy);
    }
}

/// B1
#[test]
fn a_pid_file_that_cannot_be_written_leaves_nothing() {
    deviates!(["runc", "crun"], "B1: the temporary stays");
    for verb in ["create", "run", "exec"] {
        let c = for_verb(verb);
        let full = c.bundle.dir().join("full");
        fs::create_dir(&full).unwrap();
        let script = "mount -t tmpfs -o size=8k none \"$0\" || exit 99; \
                      head -c 1000000 /dev/zero > \"$0/filler\" 2>/dev/null; \
                      \"$@\"; code=$?; ls -A \"$0\" >&2; exit $code";
        let (bundle, file) = (c.bundle.path(), full.join("pid"));
        let (bundle, file) = (bundle.to_str().unwrap(), file.to_str().unwrap());
        let call = Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script])
            .args([full.as_os_str(), runtime().path.as_os_str()])
            .args(c.global());
        let call = match verb {
            "exec" => call.args(["exec", "-d", "--pid-file", file, &c.id, "true"]),
            _ => call.args([verb, "--bundle", bundle, "--pid-file", file, &c.id]),
        };
        let out = call.run();
        assert!(out.code != 99 && out.fails().contains("no space left"), "{verb}: {out:?}");
        let left: Vec<_> = out.stderr.lines().skip(1).collect();
        assert_eq!(left, ["filler"], "{verb}: {out:?}");
    }
}

// Logs.

fn log_to(c: &Container, log: &Path) -> Output {
    c.call(["--log", log.to_str().unwrap(), "state", "no-such-container"]).run()
}

/// "--log follows links"
#[test]
fn a_log_is_not_written_through_a_link_of_others() {
    deviates!(["runc", "crun"], "they follow links");
    let c = Bundle::sleeper().container();
    let decoy = decoy(&c);
    let theirs = c.bundle.dir().join("theirs");
    fs::create_dir(&theirs).unwrap();
    symlink(&decoy, theirs.join("log")).unwrap();
    symlink(&decoy, c.bundle.dir().join("log")).unwrap();
    symlink("theirs/log", c.bundle.dir().join("second")).unwrap();
    let own = c.bundle.dir().join("log");
    // A link of root in a directory of somebody else; one of theirs; one that leads there.
    give_away(&theirs);
    log_to(&c, &theirs.join("log")).fails_with(&["a link of uid 0 in a directory of uid 65534"]);
    log_to(&c, &c.bundle.dir().join("second")).fails_with(&["in a directory of uid 65534"]);
    std::os::unix::fs::lchown(&own, Some(USER), Some(USER)).unwrap();
    log_to(&c, &own).fails_with(&["a link of uid 65534"]);
    is_untouched(&decoy);
    std::os::unix::fs::lchown(&own, Some(0), Some(0)).unwrap();
    log_to(&c, &own).is_unknown();
    assert!(fs::read_to_string(&decoy).unwrap().contains("level=error"), "the caller's own");
}

#[test]
fn a_log_is_no_place_to_wait() {
    deviates!(["runc", "crun"], "they wait for a reader");
    let c = Bundle::sleeper().container();
    let fifo = c.bundle.dir().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    log_to(&c, &fifo).fails_with(&["--log: open"]);
    for device in ["/dev/null", "/dev/stderr", "/proc/self/fd/2"] {
        log_to(&c, Path::new(device)).is_unknown();
    }
    let args = ["--log", "/dev/stderr", "state", "no-such-container"];
    let out = c.detached(args);
    assert!(out.stderr.contains("level=error"), "{out:?}");
}

#[test]
fn a_log_is_made_for_the_caller_alone() {
    deviates!(["runc", "crun"], "by the umask");
    let c = Bundle::sleeper().container();
    let log = c.bundle.dir().join("new.log");
    carelessly(&c, ["--log", log.to_str().unwrap(), "state", "x"]).run().fails();
    assert_eq!(mode(&log), 0o600);
}
