//! A caller that lacks something, and records that are damaged: what cannot be read is
//! told, and not taken for an answer.

use super::local_users::as_user;
use crate::harness::{Bundle, Call, Container, by_systemd, deviates, exits, runtime, until};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The runtime under another program, which takes something from it.
fn under(c: &Container, program: &str, options: &[&str], args: &[&str]) -> Call {
    Call::new(program).args(options).args([runtime().path.as_os_str()]).args(c.global()).args(args)
}

/// Without a descriptor for the record a container is not one that has none: it keeps
/// its record, and what runs is found again.
#[test]
fn a_forced_delete_without_descriptors_forgets_nobody() {
    deviates!(["runc", "crun"], "they need more descriptors to begin with");
    let c = Bundle::sleeper().container().up();
    let pid = c.pid();
    for most in 3..12 {
        let limit = format!("--nofile={most}");
        let out = under(&c, "prlimit", &[&limit], &["delete", "--force", &c.id]).run();
        let is_there = c.root().join(&c.id).join("state.json").exists();
        assert!(is_there || exits(pid), "forgotten with {most} descriptors: {out:?}");
        if !is_there {
            return;
        }
        out.fails();
    }
}

/// The mark of a cgroup's owner does not show without `CAP_SYS_ADMIN`: that is told, and
/// no delete passes over what runs in the cgroup.
#[test]
fn a_caller_without_privileges_takes_no_cgroup_for_anothers() {
    deviates!(["runc", "crun"], "they know no owner of a cgroup");
    let c = Bundle::sh("sleep 1000 & exec sleep 1000").without_namespace("pid").container().up();
    let cgroup = c.cgroup("pids");
    let options = ["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];
    for args in [&["pause", &c.id][..], &["delete", "--force", &c.id]] {
        let out = under(&c, "setpriv", &options, args).run();
        out.fails_with(&["CAP_SYS_ADMIN"]);
    }
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(!cgroup.exists());
}

/// In a pid namespace that was joined, the container's process is not init: the others
/// do not end with it (runc does the same since 1.2).
#[test]
fn a_container_that_joins_a_pid_namespace_is_killed_whole() {
    deviates!(["crun"], "it kills one process");
    let pod = Bundle::sleeper().container().up();
    let path = format!("/proc/{}/ns/pid", pod.pid().as_raw_nonzero());
    let bundle = Bundle::sh("sleep 1000 & exec sleep 1000").without_namespace("pid");
    let c = bundle.namespace("pid", Some(&path)).container().up();
    let list = c.cgroup("pids").join("cgroup.procs");
    let pids = || match fs::read_to_string(&list) {
        // systemd removes it when it is empty.
        Err(error) if by_systemd() && error.kind() == ErrorKind::NotFound => 0,
        pids => pids.unwrap().lines().count(),
    };
    until("the shell has made the other one", || pids() == 2);
    c.kill("KILL").ok();
    until("both have ended", || pids() == 0);
    assert_eq!(pod.status(), "running");
    c.delete().ok();
}

/// Of a damaged record no other container suffers.
#[test]
fn a_damaged_record_hides_no_other_container() {
    deviates!(["crun"], "it lists none");
    let c = Bundle::sleeper().container().up();
    let record = c.root().join(format!("{}-damaged", c.id));
    fs::create_dir(&record).unwrap();
    for text in ["", "{", "{\"id\":\"x\"}", &"[".repeat(100_000)] {
        fs::write(record.join("state.json"), text).unwrap();
        let out = c.call(["list", "--quiet"]).run();
        assert!(out.stdout.lines().any(|line| line == c.id), "{out:?}");
        deviates!(["runc"], "it says so, and ends with 0");
        assert_eq!(out.code, 1, "{out:?}");
        let id = format!("{}-damaged", c.id);
        assert!(out.stderr.contains(&id), "{out:?}");
    }
    fs::remove_dir_all(record).unwrap();
}

/// The links of /dev and of procfs lead to a log wherever the caller is.
#[test]
fn standard_error_is_a_log_by_each_of_its_names() {
    for log in ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"] {
        let c = Bundle::sleeper().container();
        for wrapper in [&["env"][..], &["unshare", "--user", "--map-root-user"]] {
            // A user namespace in which root of the host, who owns /dev, is nobody.
            let script = "\"$@\" 2>&1 | cat";
            let out = Call::new("/bin/sh")
                .args(["-c", script, "sh"])
                .args(wrapper)
                .args([runtime().path.as_os_str()])
                .args(c.global())
                .args(["--log", log, "state", "no-such-container"])
                .run();
            assert!(out.stdout.contains("level=error"), "{log} {wrapper:?}: {out:?}");
        }
    }
}

/// A user who was given a cgroup and goes on to make others in it keeps no delete.
#[test]
fn a_user_who_fills_a_cgroup_keeps_no_delete() {
    deviates!(["runc", "crun"], "they try for some seconds");
    let c = Bundle::sleeper().container().up();
    let list = fs::read_to_string(format!("/proc/{}/cgroup", c.pid().as_raw_nonzero())).unwrap();
    let Some(path) = list.lines().find_map(|line| line.strip_prefix("0::/")) else { return };
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let Some(dir) = roots.map(|root| root.join(path)).into_iter().find(|dir| dir.is_dir()) else {
        return;
    };
    chown(&dir, Some(65534), None).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (done, dir) = (&done, &dir);
        scope.spawn(move || {
            as_user(|| {
                let until = Instant::now() + Duration::from_secs(60);
                for at in 0.. {
                    if done.load(Ordering::Relaxed) || Instant::now() >= until {
                        break;
                    }
                    drop(fs::create_dir(dir.join(at.to_string())));
                }
            });
        });
        until("the user has made many", || dir.join("500").exists());
        let out = c.call(["delete", "--force", &c.id]).run();
        let stopped = done.swap(true, Ordering::Relaxed);
        assert!(!stopped);
        out.ok();
    });
    assert!(!dir.exists());
}
