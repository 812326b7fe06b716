//! What a test program made ends with it, also when it is killed.

use super::archive::Tar;
use super::archive::image;
use super::harness::{Name, leftovers_of_program};
use super::world::{World, spawn};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

/// Tells the program that it is to be killed.
const VARIABLE: &str = "VICTIM";

/// Has an image that is being unpacked, says so, and waits to be killed.
#[test]
fn the_victim() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let world = World::new();
    image(&world.path("layout"), &[Tar::new().file("zeros", vec![0; 100 << 20]).end()]);
    let script = "mkdir disk && mount -t tmpfs disk disk && mkfifo wait && exec cat wait";
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
    command.current_dir(world.dir.path());
    let _mounted = spawn(command);
    let _unpacking = spawn(world.call(["unpack", "layout", "bundle"]));
    while !world.path("store/tmp").is_dir() || !world.path("wait").exists() {
        std::thread::yield_now();
    }
    println!("all is made");
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_outlives_a_test_program_that_is_killed() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
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
    for kind in ["process", "directory"] {
        assert!(before.iter().any(|line| line.starts_with(kind)), "no {kind}: {before:#?}");
    }
    assert_eq!(leftovers_of_program(&name), [""; 0], "{errors}");
}
