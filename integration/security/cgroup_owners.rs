//! Two containers of one cgroup, one after the other: what is done to the first one
//! does not reach the second.

use crate::harness::{Bundle, Container, by_systemd, deviates, exits, json};

/// A stopped container, and a running one in the same cgroup (B9).
fn two() -> (Container, Container) {
    let bundle = Bundle::sleeper();
    let path = if by_systemd() {
        format!("system.slice:it:{}", bundle.id)
    } else {
        format!("/{}-shared", bundle.id)
    };
    let first = bundle.set("/linux/cgroupsPath", json!(path)).container().up();
    first.stop();
    let second = Bundle::sleeper().set("/linux/cgroupsPath", json!(path)).container().up();
    (first, second)
}

#[test]
fn a_stopped_container_that_lost_its_cgroup_kills_nobody() {
    let (first, second) = two();
    first.call(["kill", "--all", &first.id, "KILL"]).run();
    assert_eq!(second.status(), "running", "kill --all");
    for verb in [&["pause"][..], &["resume"], &["update", "--pids-limit", "5"]] {
        first.call([]).args(verb).args([&first.id]).run().fails();
        assert_eq!(second.status(), "running", "{verb:?}");
    }
    deviates!(["runc", "crun"], "B9: they know no owner of a cgroup");
    assert_eq!(first.call(["ps", "--format", "json", &first.id]).run().ok(), "[]\n");
    let out = first.delete();
    assert_eq!(second.status(), "running", "delete");
    out.ok();
    second.exec(["true"]).ok();
    let cgroup = second.cgroup("pids");
    second.stop();
    second.delete().ok();
    assert!(!cgroup.exists(), "the second one's to remove");
}

#[test]
fn a_forced_delete_of_a_container_that_lost_its_cgroup_kills_nobody() {
    deviates!(["runc", "crun"], "B9: they know no owner of a cgroup");
    let (first, second) = two();
    first.call(["delete", "--force", &first.id]).run().ok();
    assert_eq!(second.status(), "running");
    second.exec(["true"]).ok();
}

/// Nobody's mark is left in the way: not of a container that is gone, nor of one whose
/// cgroup is gone.
#[test]
fn a_cgroup_can_be_had_again_and_again() {
    deviates!(["runc", "crun"], "B9: they know no owner of a cgroup");
    let (first, second) = two();
    let cgroup = second.cgroup("pids");
    second.stop();
    second.delete().ok();
    let path = second.bundle.config()["linux"]["cgroupsPath"].clone();
    let third = Bundle::sleeper().set("/linux/cgroupsPath", path.clone()).container().up();
    assert_eq!(third.cgroup("pids"), cgroup);
    // It is the third one's, though the path is that of the first.
    first.delete().ok();
    assert_eq!(third.status(), "running");
    let pid = third.pid();
    third.call(["kill", "--all", &third.id, "KILL"]).run().ok();
    assert!(exits(pid), "its own");
}

/// B9: two at once, that both find it empty.
#[test]
fn of_two_creates_at_once_one_gets_the_cgroup() {
    deviates!(["runc", "crun"], "B9: they know no owner of a cgroup");
    for _ in 0..12 {
        let pair = [Bundle::sleeper(), Bundle::sleeper()];
        let path = if by_systemd() {
            format!("system.slice:it:{}", pair[0].id)
        } else {
            format!("/{}-shared", pair[0].id)
        };
        let pair = pair.map(|bundle| bundle.set("/linux/cgroupsPath", json!(path)).container());
        let [first, second] = std::thread::scope(|scope| {
            let created = pair.each_ref().map(|c| scope.spawn(|| c.create()));
            created.map(|created| created.join().unwrap())
        });
        let [a, b] = &pair;
        let made = [(a, first), (b, second)];
        assert!(made.iter().filter(|(_, out)| out.code == 0).count() < 2, "both share {path}");
        for (c, out) in &made {
            if out.code == 0 {
                assert_eq!(c.status(), "created", "the other one's end was its own");
                c.start().ok();
                c.call(["delete", "--force", &c.id]).run().ok();
            } else {
                out.fails_with(&["cgroup"]);
            }
        }
    }
}
