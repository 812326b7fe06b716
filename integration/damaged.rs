//! One record that cannot be read, as a loss of power leaves it: every command says so, no
//! other container suffers, and `delete --force` ends what runs or fails.

use crate::harness::{
    Bundle, Call, Container, Output, Value, by_systemd, deviates, exits, is_pinnace, leftovers_of,
    needs, runtime,
};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, getxattr, mknodat, removexattr, setxattr};
use std::fs;
use std::path::{Path, PathBuf};

/// Puts something in the place of a record, of which it gets the path and the content.
type Damage = fn(&Path, &[u8]);

const DAMAGES: &[(&str, Damage)] = &[
    ("empty", |path, _| fs::write(path, "").unwrap()),
    ("truncated", |path, whole| fs::write(path, &whole[..whole.len() / 2]).unwrap()),
    ("zeros", |path, whole| fs::write(path, vec![0; whole.len()]).unwrap()),
    ("no JSON", |path, _| fs::write(path, "nonsense\n").unwrap()),
    ("other JSON", |path, _| fs::write(path, "{\"id\": 7}").unwrap()),
    ("null", |path, _| fs::write(path, "null").unwrap()),
    ("a directory", |path, _| {
        fs::remove_file(path).unwrap();
        fs::create_dir_all(path.join("with/another")).unwrap();
        fs::write(path.join("file"), "").unwrap();
    }),
    ("a link to itself", |path, _| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("state.json", path).unwrap();
    }),
    ("a pipe", |path, _| {
        fs::remove_file(path).unwrap();
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }),
];

fn record(c: &Container) -> PathBuf {
    c.root().join(&c.id).join("state.json")
}

/// One short line that names the file.
#[track_caller]
fn tells(c: &Container, out: &Output, what: &str) {
    let text = out.fails();
    assert_eq!(text.lines().count(), 1, "{what}: {out:?}");
    assert!(text.contains(record(c).to_str().unwrap()), "{what}: {out:?}");
    assert!(!text.contains("does not exist") && !text.contains("not running"), "{what}: {out:?}");
}

/// `list` in each form shows the one, names the other, and fails.
#[track_caller]
fn list_shows_the_other(c: &Container, other: &str, call: impl Fn(&[&str]) -> Output, what: &str) {
    for args in [&["list"][..], &["list", "-q"], &["list", "--format", "json"]] {
        let out = call(args);
        assert_eq!(out.code, 1, "{what}, {args:?}: {out:?}");
        tells(c, &out, what);
        match args.last() {
            Some(&"json") => {
                let listed: Vec<Value> = serde_json::from_str(&out.stdout).unwrap();
                let ids: Vec<_> = listed.iter().map(|one| one["id"].as_str().unwrap()).collect();
                assert_eq!(ids, [other], "{what}");
            }
            Some(&"-q") => assert_eq!(out.stdout, format!("{other}\n"), "{what}"),
            _ => {
                let lines: Vec<_> = out.stdout.lines().collect();
                assert!(lines.len() == 2 && lines[1].starts_with(other), "{what}: {out:?}");
            }
        }
    }
}

/// A second container in the state root of the first.
fn beside(c: &Container) -> String {
    let id = format!("{}-other", c.id);
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    c.detached(["create", "--bundle", &bundle, &id]).ok();
    id
}

#[test]
fn a_record_that_is_damaged_is_named_and_the_container_ended_by_force() {
    deviates!(["runc", "crun"], "list ends with 0 or shows none, delete --force leaves what runs");
    for (what, damage) in DAMAGES {
        let c = Bundle::sleeper().container().up();
        let pid = c.pid();
        let other = beside(&c);
        let whole = fs::read(record(&c)).unwrap();
        damage(&record(&c), &whole);
        list_shows_the_other(&c, &other, |args| c.call([]).args(args).run(), what);
        for args in [
            &["state", &c.id][..],
            &["start", &c.id],
            &["kill", &c.id, "KILL"],
            &["ps", &c.id],
            &["ps", "--format", "json", &c.id],
            &["events", "--stats", &c.id],
            &["exec", &c.id, "true"],
            &["pause", &c.id],
            &["resume", &c.id],
            &["update", "--pids-limit", "9", &c.id],
            &["delete", &c.id],
        ] {
            let out = c.call([]).args(args).run();
            tells(&c, &out, what);
            assert_eq!(out.stdout, "", "{what}, {args:?}");
            assert!(out.stderr.contains(&format!("delete --force {}", c.id)), "{what}: {out:?}");
        }
        assert!(fs::exists(format!("/proc/{}", pid.as_raw_nonzero())).unwrap(), "{what}: ended");
        let out = c.call(["delete", "--force", &c.id]).run();
        assert_eq!((out.ok(), out.stderr.lines().count()), ("", 1), "{what}: {out:?}");
        assert!(exits(pid), "{what}");
        assert!(!c.root().join(&c.id).exists(), "{what}");
        c.call(["delete", "--force", &other]).run().ok();
        assert!(leftovers_of(&c).is_empty(), "{what}: {:?}", leftovers_of(&c));
    }
}

/// Of several all are named in one line, and JSON of none stays JSON.
#[test]
fn records_that_are_all_damaged_are_all_named() {
    deviates!(["runc", "crun"], "they end with 0, or show none");
    let c = Bundle::sleeper().container();
    c.create().ok();
    let other = beside(&c);
    for id in [&c.id, &other] {
        fs::write(c.root().join(id).join("state.json"), "").unwrap();
    }
    let out = c.call(["list", "--format", "json"]).run();
    assert_eq!(serde_json::from_str::<Option<Value>>(&out.stdout).unwrap(), None);
    assert!(out.fails().contains("2 of 2 containers: ") && out.stderr.contains(&other), "{out:?}");
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    c.call(["kill", "--regex", ".", "KILL"]).run().fails_with(&["2 of 2 containers: "]);
    c.call(["delete", "--force", "--regex", "."]).run().ok();
    assert!(leftovers_of(&c).is_empty(), "{:?}", leftovers_of(&c));
}

/// That a record cannot be read now says nothing of the container.
#[test]
fn a_record_that_cannot_be_read_is_named_and_nothing_is_deleted() {
    needs!(is_pinnace() && Path::new("/usr/bin/strace").exists(), "pinnace and strace");
    for errno in ["EACCES", "EIO", "ENOMEM"] {
        let c = Bundle::sleeper().container().up();
        let pid = c.pid();
        let other = beside(&c);
        let inject = format!("inject=open,openat:error={errno}");
        let path = record(&c);
        let call = |args: &[&str]| {
            Call::new("/usr/bin/strace")
                .args(["-qq", "-o", "/dev/null", "-e", &inject])
                .args(["-P", path.to_str().unwrap(), "-P", "state.json"])
                .args([runtime().path.as_os_str()])
                .args(c.global())
                .args(args)
                .run()
        };
        list_shows_the_other(&c, &other, call, errno);
        tells(&c, &call(&["state", &c.id]), errno);
        assert_eq!((c.status().as_str(), c.pid()), ("running", pid), "{errno}");
        c.call(["delete", "--force", &other]).run().ok();
    }
}

/// The saved configuration named the cgroup: without it that is looked for by its mark.
#[test]
fn a_container_that_has_lost_its_configuration_too_is_found_by_the_mark_of_its_cgroup() {
    needs!(is_pinnace() && !by_systemd(), "pinnace, and the cgroupfs driver");
    let bundle = Bundle::sh("sleep 1000 & exec sleep 1000").without_namespace("pid");
    let path = serde_json::json!(format!("/{}-a/b/{}", bundle.id, bundle.id));
    let c = bundle.set("/linux/cgroupsPath", path).container().up();
    let pid = c.pid();
    let above = c.cgroup("freezer").parent().unwrap().to_owned();
    for name in ["state.json", "config.json"] {
        fs::write(c.root().join(&c.id).join(name), "").unwrap();
    }
    let out = c.call(["delete", "--force", &c.id]).run();
    out.ok();
    assert!(out.stderr.contains("are removed"), "{out:?}");
    assert!(exits(pid));
    assert!(!above.join(&c.id).exists());
    // Which of the levels above were made for it nobody knows any more.
    remove_levels(&c, &above);
    assert!(leftovers_of(&c).is_empty(), "{:?}", leftovers_of(&c));
}

/// A user, or a container that has a cgroup of its own to write to, could lead the runtime to
/// that one, and away from the processes that it looks for.
#[test]
fn a_mark_that_the_owner_of_a_cgroup_has_written_is_not_believed() {
    needs!(is_pinnace() && !by_systemd(), "pinnace, and the cgroupfs driver");
    let bundle = Bundle::sleeper();
    let path = serde_json::json!(format!("/{}-a/b/{}", bundle.id, bundle.id));
    let c = bundle.set("/linux/cgroupsPath", path).container().up();
    let pid = c.pid();
    let above = c.cgroup("freezer").parent().unwrap().to_owned();
    let dir = c.root().join(&c.id);
    for name in ["state.json", "config.json"] {
        fs::write(dir.join(name), "").unwrap();
    }
    // Where it would be by default.
    let decoy = above.parent().unwrap().parent().unwrap().join(&c.id);
    fs::create_dir(&decoy).unwrap();
    std::os::unix::fs::chown(&decoy, Some(1000), Some(1000)).unwrap();
    let mark = format!("word {}", dir.to_str().unwrap());
    setxattr(&decoy, "user.pinnace", mark.as_bytes(), XattrFlags::empty()).unwrap();
    let out = c.call(["delete", "--force", &c.id]).run();
    let stays = decoy.exists();
    fs::remove_dir(&decoy).ok();
    out.ok();
    assert!(exits(pid), "{out:?}");
    assert!(stays, "{out:?}");
    remove_levels(&c, &above);
    assert!(leftovers_of(&c).is_empty(), "{:?}", leftovers_of(&c));
}

/// Who owns a cgroup can mark it as another container's, but only in `user.*`.
#[test]
fn a_mark_that_anybody_can_make_does_not_stand_before_that_of_root() {
    needs!(is_pinnace() && !by_systemd(), "pinnace, and the cgroupfs driver");
    let bundle = Bundle::sh("sleep 1000 & exec sleep 1000").without_namespace("pid");
    let path = format!("/{}-a/b/{}", bundle.id, bundle.id);
    let c = bundle.set("/linux/cgroupsPath", serde_json::json!(path)).container().up();
    let pid = c.pid();
    let above = c.cgroup("freezer").parent().unwrap().to_owned();
    let mark = format!("word {}", c.root().join(&c.id).display());
    let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let roots = roots.filter(|root| !root.is_symlink()).chain([PathBuf::from("/sys/fs/cgroup")]);
    let mut decoys = Vec::new();
    for own in roots.map(|root| root.join(&path[1..])).filter(|own| own.exists()) {
        // The order of a directory is not that of the names: some come first.
        for n in 0..40 {
            let decoy = own.with_file_name(format!("{}-decoy-{n}", c.id));
            fs::create_dir(&decoy).unwrap();
            setxattr(&decoy, "user.pinnace", mark.as_bytes(), XattrFlags::empty()).unwrap();
            decoys.push(decoy);
        }
    }
    for name in ["state.json", "config.json"] {
        fs::write(c.root().join(&c.id).join(name), "").unwrap();
    }
    c.call(["delete", "--force", &c.id]).run().ok();
    let ended = exits(pid);
    let left = decoys.iter().filter(|decoy| fs::remove_dir(decoy).is_ok()).count();
    assert!(ended);
    assert_eq!(left, decoys.len());
    remove_levels(&c, &above);
}

/// In all hierarchies.
fn remove_levels(c: &Container, above: &Path) {
    let path = above.to_str().unwrap();
    let below = &path[path.find(&c.id).unwrap()..];
    let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    for root in roots.chain([PathBuf::from("/sys/fs/cgroup")]) {
        for dir in root.join(below).ancestors().take(2) {
            fs::remove_dir(dir).ok();
        }
    }
}

/// Whose processes are in a cgroup without a mark nobody knows.
#[test]
fn a_cgroup_without_a_mark_is_not_killed_and_its_container_not_deleted() {
    needs!(is_pinnace() && !by_systemd(), "pinnace, and the cgroupfs driver");
    let c = Bundle::sleeper().container().up();
    let pid = c.pid();
    let whole = fs::read(record(&c)).unwrap();
    let dir = c.cgroup("freezer");
    let mut mark = vec![0; 4096];
    let length = getxattr(&dir, "trusted.pinnace", &mut mark[..]).unwrap();
    removexattr(&dir, "trusted.pinnace").unwrap();
    fs::write(record(&c), "").unwrap();
    let out = c.call(["delete", "--force", &c.id]).run();
    out.fails_with(&["no mark"]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    setxattr(&dir, "trusted.pinnace", &mark[..length], XattrFlags::empty()).unwrap();
    fs::write(record(&c), whole).unwrap();
    assert_eq!((c.status().as_str(), c.pid()), ("running", pid));
}
