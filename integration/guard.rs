//! What a test program made ends with it, also when it is killed.

use crate::harness::{Bundle, Call, Hierarchy, Name, is_pinnace, leftovers_of_program, needs};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// Tells the program that it is to be killed.
const VARIABLE: &str = "VICTIM";

/// Makes one of each that a test may make, says so, and waits to be killed.
#[test]
fn the_victim() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let _running = Bundle::server().container().up_and_ready();
    let created = Bundle::sleeper().container();
    created.create().ok();
    let paused = Bundle::sleeper().container().up();
    paused.call(["pause", &paused.id]).run().ok();
    // Without a mount namespace, the container's mounts are the caller's.
    let mounted = Bundle::sleeper()
        .without_namespace("mount")
        .set("/linux/maskedPaths", Vec::<&str>::new().into());
    let mounted = mounted.set("/linux/readonlyPaths", Vec::<&str>::new().into()).container().up();
    let mount = Path::new("/sys/fs/cgroup");
    let hierarchy = if Hierarchy::of_host() == Hierarchy::V1 { "freezer" } else { "" };
    let decoy = mount.join(hierarchy).join(format!("{}-decoy", mounted.id));
    fs::create_dir_all(decoy.join("below")).unwrap();
    let _helper = Call::new("/bin/sleep").args(["1000"]).spawn();
    let device = format!("{}x", created.id);
    Call::new("/usr/sbin/ip").args(["link", "add", &device, "type", "dummy"]).run();
    println!("all is made");
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_outlives_a_test_program_that_is_killed() {
    needs!(is_pinnace(), "pinnace");
    // The mounts of its namespace end with it: so they cannot stay, whatever happens.
    let mut victim = Command::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "guard::the_victim", "--nocapture"])
        .env(VARIABLE, "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let made = lines.any(|line| line.unwrap().contains("all is made"));
    let name = Name::of(victim.id());
    let before = leftovers_of_program(&name);
    victim.kill().unwrap();
    victim.wait().unwrap();
    // The guard has it, too, and closes it when it is done.
    let mut errors = String::new();
    victim.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(made, "{errors}");
    for kind in ["process", "cgroup", "directory"] {
        assert!(before.iter().any(|line| line.starts_with(kind)), "no {kind}: {before:#?}");
    }
    assert_eq!(leftovers_of_program(&name), [""; 0], "{errors}");
}
