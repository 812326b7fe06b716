//! Session keyrings: their names are shared by all users of the host.

use super::local_users::as_user;
use crate::harness::{Bundle, deviates, json};
use pinnace::sys::keyring;
use std::sync::mpsc;
use std::thread;

/// A9: who makes a keyring of that name first has the container in it.
#[test]
fn a_session_keyring_is_not_one_that_others_have_made() {
    deviates!(["runc", "crun"], "A9: its name is known");
    for verb in ["run", "create", "exec"] {
        let script = "echo keys; cat /proc/keys; echo > /ready; sleep 1000";
        let c = Bundle::sh(script).set("/linux/maskedPaths", json!([])).container();
        let planted = format!("_ses.{}", c.id);
        let (done, wait) = mpsc::channel::<()>();
        let (made, ready) = mpsc::channel();
        thread::scope(|scope| {
            let planted = &planted;
            scope.spawn(move || {
                as_user(move || {
                    let name = std::ffi::CString::new(planted.as_str()).unwrap();
                    let key = keyring::join_session(&name).unwrap();
                    // Everybody may do everything with it.
                    keyring::set_permissions(key, 0x3f3f_3f3f).unwrap();
                    made.send(()).unwrap();
                    wait.recv().ok();
                });
            });
            ready.recv().unwrap();
            match verb {
                "run" => c.run_detached().ok().to_owned(),
                _ => c.create().ok().to_owned(),
            };
            if verb != "run" {
                c.start().ok();
            }
            c.wait_ready();
            let keys = match verb {
                "exec" => c.exec(["cat", "/proc/keys"]).ok().to_owned(),
                _ => c.stdout(),
            };
            drop(done);
            // The one that a process has of its own is listed to it; its uid is field 6.
            let own: Vec<_> = keys.lines().filter(|line| line.contains(planted.as_str())).collect();
            let uid = |line: &str| line.split_ascii_whitespace().nth(5).map(str::to_owned);
            assert!(!own.is_empty(), "{verb}: {keys}");
            assert!(own.iter().any(|line| uid(line).as_deref() == Some("0")), "{verb}: {own:#?}");
        });
    }
}

/// A9: nor can its name be known before; a further process joins the same.
#[test]
fn a_session_keyring_has_a_name_of_its_own_each_time() {
    deviates!(["runc", "crun"], "A9: its name is known");
    let names = |keys: &str, id: &str| {
        let prefix = format!("_ses.{id}.");
        let mut names: Vec<String> = keys
            .split_ascii_whitespace()
            .filter(|word| word.starts_with(&prefix))
            .map(|word| word.trim_end_matches(':').to_owned())
            .collect();
        names.dedup();
        names
    };
    let script = "cat /proc/keys; echo > /ready; sleep 1000";
    let c = Bundle::sh(script).set("/linux/maskedPaths", json!([])).container();
    let mut seen = Vec::new();
    for _ in 0..2 {
        c.create().ok();
        c.start().ok();
        c.wait_ready();
        let keys = c.exec(["cat", "/proc/keys"]);
        let mut found = names(keys.ok(), &c.id);
        // One that is gone is listed for a while.
        found.retain(|name| !seen.contains(name));
        assert_eq!(found.len(), 1, "exec has joined the same: {keys:?}");
        assert!(names(&c.stdout(), &c.id).contains(&found[0]));
        assert!(found[0].len() > c.id.len() + 36, "{found:?}");
        seen.extend(found);
        c.call(["delete", "--force", &c.id]).run().ok();
    }
    assert_ne!(seen[0], seen[1]);
}
