//! Two versions on one state directory: containers of 0.1.0 stay manageable, and so do those of
//! versions to come, as far as this one understands their records.

use crate::harness::{
    Bundle, Call, Container, Value, by_systemd, exits, is_pinnace, json, needs, runtime, until,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What hack/older has built; the machine of hack/vm has it elsewhere.
fn older() -> PathBuf {
    let place = std::env::var_os("OLDER").map(PathBuf::from);
    place.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/older/pinnace"))
}

macro_rules! needs_older {
    () => {
        needs!(is_pinnace() && older().exists(), "pinnace and 0.1.0, which hack/older builds");
    };
}

/// A call of 0.1.0 on the state of the test.
fn by_older<const N: usize>(c: &Container, args: [&str; N]) -> Call {
    Call::new(older()).args(c.global()).args(args)
}

/// A container that 0.1.0 has created, with its output in the test's files.
#[track_caller]
fn created(bundle: Bundle) -> Container {
    let c = bundle.container();
    c.bundle.write_config();
    let path = c.bundle.path();
    let call = by_older(&c, ["create", "--bundle", path.to_str().unwrap(), &c.id]);
    call.output_to(c.log("stdout"), c.log("stderr")).run().ok();
    c
}

/// One that it has started, too.
#[track_caller]
fn running(bundle: Bundle) -> Container {
    let c = created(bundle);
    by_older(&c, ["start", &c.id]).run().ok();
    c
}

/// A name, and what is changed of the usual bundle.
type Bent = (&'static str, fn(Bundle) -> Bundle);

/// The kinds of containers whose processes, cgroups and records differ most.
fn kinds() -> [Bent; 4] {
    [
        ("default", |bundle| bundle),
        ("without a pid namespace", |bundle| bundle.without_namespace("pid")),
        ("without a cgroup namespace", |bundle| bundle.without_namespace("cgroup")),
        ("with a user namespace", |bundle| {
            // Whose root is not the owner of it.
            let may = Permissions::from_mode(0o666);
            fs::set_permissions(bundle.rootfs("ready"), may).unwrap();
            bundle.user_namespace()
        }),
    ]
}

fn record(c: &Container) -> PathBuf {
    c.root().join(&c.id).join("state.json")
}

fn written(c: &Container) -> Value {
    serde_json::from_slice(&fs::read(record(c)).unwrap()).unwrap()
}

#[test]
fn what_0_1_0_has_created_is_started_and_ended() {
    needs_older!();
    for (kind, bend) in kinds() {
        let c = created(bend(Bundle::server()));
        assert_eq!(c.status(), "created", "{kind}");
        let listed = c.call(["list", "--quiet"]).run();
        assert_eq!(listed.ok(), format!("{}\n", c.id), "{kind}");
        c.start().ok();
        c.wait_ready();
        let again = c.start();
        again.fails_with(&["already running"]);
        assert_eq!(c.exec(["echo", "here"]).ok(), "here\n", "{kind}");
        let pid = c.pid();
        c.kill("TERM").ok();
        assert!(exits(pid), "{kind}");
        assert_eq!(c.status(), "stopped", "{kind}");
        c.delete().ok();
        assert!(!c.root().join(&c.id).exists(), "{kind}");
    }
}

#[test]
fn what_0_1_0_has_only_created_is_ended_and_deleted() {
    needs_older!();
    for (kind, bend) in kinds() {
        let c = created(bend(Bundle::sleeper()));
        let pid = c.pid();
        c.delete().ok();
        assert!(exits(pid), "{kind}");
        let c = created(bend(Bundle::sleeper()));
        let pid = c.pid();
        c.kill("KILL").ok();
        assert!(exits(pid), "{kind}");
        assert_eq!(c.status(), "stopped", "{kind}");
        c.delete().ok();
    }
}

/// Init's words cross the socket in the form that 0.1.0 had.
#[test]
fn what_init_of_0_1_0_cannot_execute_is_told() {
    needs_older!();
    let bundle = Bundle::new(["/broken"]).file("broken", "\u{7f}ELF and no more");
    fs::set_permissions(bundle.rootfs("broken"), Permissions::from_mode(0o755)).unwrap();
    let c = created(bundle);
    c.start().fails_with(&["exec format error"]);
}

#[test]
fn what_0_1_0_runs_is_managed() {
    needs_older!();
    for (kind, bend) in kinds() {
        let c = running(bend(Bundle::server()));
        c.wait_ready();
        assert_eq!(c.status(), "running", "{kind}");
        let shown: Vec<i32> =
            serde_json::from_str(c.call(["ps", "--format", "json", &c.id]).run().ok()).unwrap();
        assert!(shown.contains(&c.pid().as_raw_nonzero().get()), "{kind}: {shown:?}");
        c.call(["update", "--pids-limit", "99", &c.id]).run().ok();
        assert_eq!(c.cgroup_value("pids.max", "pids.max"), "99", "{kind}");
        c.call(["pause", &c.id]).run().ok();
        assert_eq!(c.status(), "paused", "{kind}");
        c.call(["resume", &c.id]).run().ok();
        let stats: Value =
            serde_json::from_str(c.call(["events", "--stats", &c.id]).run().ok()).unwrap();
        assert_eq!(stats["data"]["pids"]["limit"], 99, "{kind}: {stats}");
        assert_eq!(c.exec(["echo", "here"]).ok(), "here\n", "{kind}");
        let pid = c.pid();
        c.call(["delete", "--force", &c.id]).run().ok();
        assert!(exits(pid), "{kind}");
    }
}

#[test]
fn what_0_1_0_has_paused_is_resumed_or_deleted() {
    needs_older!();
    let c = running(Bundle::server());
    c.wait_ready();
    by_older(&c, ["pause", &c.id]).run().ok();
    assert_eq!(c.status(), "paused");
    c.call(["resume", &c.id]).run().ok();
    assert_eq!(c.exec(["echo", "here"]).ok(), "here\n");
    by_older(&c, ["pause", &c.id]).run().ok();
    let pid = c.pid();
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(exits(pid));
}

/// The configuration that 0.1.0 has kept names them.
#[test]
fn hooks_of_what_0_1_0_has_created_are_run() {
    needs_older!();
    let bundle = Bundle::server();
    let log = bundle.dir().join("hooks");
    let hook = |name: &str| {
        let script = format!("echo {name} >>{}", log.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let hooks = json!({"poststart": hook("poststart"), "poststop": hook("poststop")});
    let c = created(bundle.set("/hooks", hooks));
    c.start().ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "poststart\n");
    c.stop();
    c.delete().ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "poststart\npoststop\n");
}

/// Killed anywhere, 0.1.0 leaves what this version removes.
#[test]
fn what_a_create_of_0_1_0_that_was_killed_has_left_is_removed() {
    needs_older!();
    let marker = Bundle::sleeper();
    let begun = marker.dir().join("begun");
    // Nobody ends it: it is no process of the container.
    let script = format!("echo $$ >{0}.new && mv {0}.new {0}; exec sleep 1000", begun.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let c = marker.set("/hooks", json!({"createRuntime": hook})).container();
    c.bundle.write_config();
    let path = c.bundle.path();
    let create = by_older(&c, ["create", "--bundle", path.to_str().unwrap(), &c.id]).spawn();
    until("the hook runs", || begun.exists());
    let hook = fs::read_to_string(&begun).unwrap().trim().parse().unwrap();
    for pid in [create.pid(), Pid::from_raw(hook).unwrap()] {
        kill_process(pid, Signal::KILL).unwrap();
    }
    assert_eq!(create.wait().code, 137);
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(!c.root().join(&c.id).exists());
}

/// A container of each on one state directory; an id is taken for both.
#[test]
fn both_versions_see_the_same_containers() {
    needs_older!();
    let c = running(Bundle::sleeper());
    let path = c.bundle.path();
    let path = path.to_str().unwrap();
    c.detached(["create", "--bundle", path, &c.id]).fails_with(&["already exists"]);
    let other = format!("{}-other", c.id);
    c.detached(["run", "--detach", "--bundle", path, &other]).ok();
    let lists = [older(), runtime().path.clone()]
        .map(|program| Call::new(program).args(c.global()).args(["list", "--quiet"]).run());
    // Whoever has gone back to 0.1.0 ends what is newer by it.
    by_older(&c, ["delete", "--force", &other]).run().ok();
    let mut both = [c.id.clone(), other];
    both.sort();
    for list in lists {
        let mut listed: Vec<_> = list.ok().lines().collect();
        listed.sort_unstable();
        assert_eq!(listed, both);
    }
}

/// What a later version may write besides, which this one does not know.
#[test]
fn a_record_of_a_version_to_come_is_understood_where_it_can_be() {
    needs!(is_pinnace(), "pinnace");
    let c = Bundle::server().container().up_and_ready();
    let mut record_of_later = written(&c);
    record_of_later["later"] = json!({"a": [1, 2], "b": null});
    record_of_later["init"]["later"] = json!("x");
    fs::write(record(&c), record_of_later.to_string()).unwrap();
    assert_eq!(c.status(), "running");
    assert_eq!(c.exec(["echo", "here"]).ok(), "here\n");
    c.call(["update", "--pids-limit", "99", &c.id]).run().ok();
    assert_eq!(c.cgroup_value("pids.max", "pids.max"), "99");
    c.call(["pause", &c.id]).run().ok();
    c.call(["resume", &c.id]).run().ok();
    c.stop();
    c.delete().ok();
}

/// A kind of cgroup that nobody knows yet: it is named, nothing is ended without `--force`, and
/// with it all is, by the mark of the cgroup.
#[test]
fn a_record_that_only_a_later_version_understands_is_named() {
    needs!(is_pinnace() && !by_systemd(), "pinnace, and the cgroupfs driver");
    let c = Bundle::sleeper().container().up();
    let pid = c.pid();
    let whole = fs::read(record(&c)).unwrap();
    let mut later = written(&c);
    later["cgroup"] = json!({"v3": {"domain": 7}});
    fs::write(record(&c), later.to_string()).unwrap();
    for args in [&["exec", &c.id, "true"][..], &["kill", &c.id, "KILL"], &["delete", &c.id]] {
        let out = c.call([]).args(args).run();
        let text = out.fails();
        assert!(text.contains(record(&c).to_str().unwrap()), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    }
    fs::write(record(&c), whole).unwrap();
    assert_eq!((c.status().as_str(), c.pid()), ("running", pid));
    fs::write(record(&c), later.to_string()).unwrap();
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(exits(pid));
}

/// The copy that `create` has kept is what later commands read; who edits the bundle changes nothing,
/// neither limits nor hooks nor what `exec` inherits.
#[test]
fn a_configuration_that_is_edited_after_create_changes_nothing() {
    needs!(is_pinnace(), "pinnace: others read the bundle's file again");
    let bundle = Bundle::server();
    let (log, other) = (bundle.dir().join("stop"), bundle.dir().join("edited"));
    let hook = |file: &Path| json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo ran >{}", file.display())]}]);
    let c = bundle
        .set("/hooks", json!({"poststop": hook(&log)}))
        .set("/process/env", json!(["PATH=/bin", "WORD=kept"]))
        .set("/linux/resources/pids", json!({"limit": 77}))
        .container();
    c.create().ok();
    let mut edited = c.bundle.config().clone();
    edited["hooks"] = json!({"poststop": hook(&other), "poststart": hook(&other)});
    edited["process"]["env"] = json!(["PATH=/bin", "WORD=edited"]);
    edited["process"]["args"] = json!(["false"]);
    edited["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    edited["linux"]["resources"]["pids"] = json!({"limit": 3});
    fs::write(c.bundle.path().join("config.json"), edited.to_string()).unwrap();
    c.start().ok();
    c.wait_ready();
    assert_eq!(c.cgroup_value("pids.max", "pids.max"), "77");
    assert_eq!(c.exec(["sh", "-c", "echo $WORD; id -u"]).ok(), "kept\n0\n");
    c.stop();
    c.delete().ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "ran\n");
    assert!(!other.exists(), "a hook that was added later has run");
}
