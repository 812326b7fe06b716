//! `AppArmor` profiles, on a kernel that has them: loaded by `apparmor_parser`,
//! entered by the process, felt by it.

use crate::harness::{Bundle, Call, Container, deviates, json, needs};
use std::fs;

/// All but `/secret`. Signals to stop it come from outside, so they are allowed.
const RULES: &str = "file, signal, network, capability, unix, ptrace, deny /secret rw,";

fn here() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|answer| answer.trim() == "Y")
        && fs::exists("/usr/sbin/apparmor_parser").unwrap()
}

/// A loaded profile; unloaded when dropped.
struct Profile {
    name: String,
    text: String,
}

impl Profile {
    fn load(bundle: &Bundle) -> Self {
        let name = format!("{}-profile", bundle.id);
        let text = format!("profile {name} flags=(attach_disconnected) {{ {RULES} }}\n");
        let profile = Self { name, text };
        profile.parser("--replace");
        profile
    }

    fn parser(&self, what: &str) {
        let call = Call::new("/usr/sbin/apparmor_parser").args(["--skip-cache", what]);
        call.stdin(&self.text).run().ok();
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}

/// Prints the profile, then what `/open` and `/secret` hold.
const LOOK: &str = "cat /proc/self/attr/current /open /secret";

fn bundle(script: &str) -> Bundle {
    Bundle::sh(script).file("open", "open\n").file("secret", "secret\n")
}

fn is_confined(out: &crate::harness::Output, profile: &Profile) {
    assert_eq!(out.stdout, format!("{} (enforce)\nopen\n", profile.name), "{out:?}");
    assert!(out.stderr.contains("/secret': Permission denied"), "{out:?}");
}

#[test]
fn r089_the_profile_confines_the_process() {
    needs!(here(), "AppArmor and apparmor_parser");
    let free = bundle(LOOK).run();
    assert_eq!(free.ok(), "unconfined\nopen\nsecret\n");
    let bundle = bundle(LOOK);
    let profile = Profile::load(&bundle);
    let c = bundle.set("/process/apparmorProfile", json!(profile.name)).container();
    is_confined(&c.run(), &profile);
}

#[test]
fn r089_a_process_of_exec_is_confined_too() {
    needs!(here(), "AppArmor and apparmor_parser");
    let bundle = bundle("sleep 1000");
    let profile = Profile::load(&bundle);
    let c = bundle.set("/process/apparmorProfile", json!(profile.name)).container().up();
    is_confined(&c.exec(["sh", "-c", LOOK]), &profile);
    c.stop();
}

/// A4: a startContainer hook is a file of the image.
#[test]
fn r089_the_profile_confines_a_start_container_hook() {
    needs!(here(), "AppArmor and apparmor_parser");
    let bundle = bundle("true");
    let profile = Profile::load(&bundle);
    let args = json!(["sh", "-c", "(cat /proc/self/attr/current; cat /secret) > /tmp/seen 2>&1"]);
    let hook = json!({"path": "/bin/sh", "args": args, "env": ["PATH=/bin"]});
    let c = bundle
        .set("/process/apparmorProfile", json!(profile.name))
        .set("/hooks/startContainer/-", hook)
        .container();
    c.run();
    let seen = fs::read_to_string(c.bundle.rootfs("tmp/seen")).unwrap();
    assert!(seen.starts_with(&format!("{} (enforce)\n", profile.name)), "{seen}");
    assert!(seen.contains("Permission denied"), "{seen}");
}

#[test]
fn r355_exec_has_a_profile_of_its_own() {
    needs!(here(), "AppArmor and apparmor_parser");
    let bundle = bundle("sleep 1000");
    let profile = Profile::load(&bundle);
    let c: Container = bundle.container().up();
    assert_eq!(c.exec(["cat", "/proc/1/attr/current"]).ok(), "unconfined\n");
    is_confined(&c.exec_with(["--apparmor", &profile.name], ["sh", "-c", LOOK]), &profile);
}

#[test]
fn r089_a_profile_that_is_not_loaded_is_refused() {
    needs!(here(), "AppArmor and apparmor_parser");
    let c = bundle(LOOK).set("/process/apparmorProfile", json!("no-such-profile")).container();
    let out = c.create();
    deviates!(["runc", "crun"], "R089: they need not name the field");
    out.fails_with(&["process.apparmorProfile: no profile \"no-such-profile\" is loaded"]);
}
