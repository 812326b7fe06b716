//! `--network` on `spec`, `run` and `create`: what becomes of it.

use super::world::World;
use crate::harness::{Bundle, Container, deviates, needs, runtime};
use std::path::Path;

macro_rules! needs_networks {
    () => {
        deviates!(["runc", "crun"], "they have no networks");
        needs!(Path::new("/usr/sbin/nft").exists(), "nft");
    };
}

/// The inode of a network namespace, as it reads in /proc.
fn namespace_of(path: &str) -> String {
    std::fs::read_link(path).unwrap().to_string_lossy().into_owned()
}

fn run(world: &World, c: &Container, options: &[&str]) -> crate::harness::Output {
    let bundle = c.bundle.path();
    let words = [&["run", "--detach", "--bundle", bundle.to_str().unwrap()], options, &[&c.id]];
    world.runtime(c, &words.concat())
}

fn pid(world: &World, c: &Container) -> i64 {
    let out = world.runtime(c, &["state", &c.id]);
    let at = out.stdout.find("{").unwrap();
    let state: serde_json::Value = serde_json::from_str(&out.stdout[at..]).unwrap();
    state["pid"].as_i64().unwrap()
}

fn delete(world: &World, c: &Container) {
    let out = world.runtime(c, &["delete", "--force", &c.id]);
    assert_eq!(out.code, 0, "{out:?}");
}

#[test]
fn none_host_and_that_of_a_container() {
    needs_networks!();
    let world = World::new();
    let own = namespace_of(&world.host.path().display().to_string());
    let (one, two, three) = (
        Bundle::sleeper().container(),
        Bundle::sleeper().container(),
        Bundle::sleeper().container(),
    );
    let seen = |c: &Container| namespace_of(&format!("/proc/{}/ns/net", pid(&world, c)));
    assert_eq!(run(&world, &one, &["--network", "none"]).code, 0, "{}", one.stderr());
    let first = seen(&one);
    assert_ne!(first, own);
    let links = world.runtime(&one, &["exec", &one.id, "ip", "-o", "link"]).stdout;
    assert!(links.contains("lo: <LOOPBACK,UP") && !links.contains("eth0"), "{links}");
    // A root of its own has each container: so the other is told where to look.
    let join = format!("container:{}", one.id);
    two.bundle.write_config();
    let root = one.root();
    let words = [
        runtime().path.to_str().unwrap(),
        "--root",
        root.to_str().unwrap(),
        "run",
        "--detach",
        "--network",
        &join,
        "--bundle",
        two.bundle.path().to_str().unwrap(),
        &two.id,
    ]
    .map(str::to_owned);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let call = |words: &[&str]| {
        let (out, err) = (two.log("stdout"), two.log("stderr"));
        world.host.program(words.iter().copied()).output_to(out, err).run()
    };
    assert_eq!(call(&words).code, 0, "{}", two.stderr());
    let global = &words[..3];
    let state = world.host.program([global, &["state", &two.id]].concat()).run();
    let state: serde_json::Value = serde_json::from_str(state.ok()).unwrap();
    assert_eq!(namespace_of(&format!("/proc/{}/ns/net", state["pid"])), first);
    assert_eq!(call(&[global, &["delete", "--force", &two.id]].concat()).code, 0);
    // One that does not run has none to give; nor has one with the host's.
    world.runtime(&one, &["kill", &one.id, "KILL"]);
    crate::harness::until("it is dead", || {
        world.runtime(&one, &["state", &one.id]).stdout.contains("\"stopped\"")
    });
    assert_ne!(call(&words).code, 0);
    assert!(two.stderr().contains(&format!("{join}: container not running")), "{}", two.stderr());
    delete(&world, &one);
    assert_ne!(call(&words).code, 0);
    assert!(two.stderr().contains("does not exist"), "{}", two.stderr());
    assert_eq!(run(&world, &three, &["--network", "host"]).code, 0, "{}", three.stderr());
    assert_eq!(seen(&three), own);
    let join = format!("container:{}", three.id);
    let out = world.runtime(&three, &["run", "--network", &join, "--bundle", "/", "x"]);
    assert!(out.code != 0, "{out:?}");
    delete(&world, &three);
}

#[test]
fn a_word_that_means_nothing_is_an_error_before_anything_is_made() {
    needs_networks!();
    let world = World::alone();
    for (options, wanted) in [
        (&["--network", "nat"][..], "--network: \"nat\" is no network"),
        (&["--network", "bridge:"], "is no name of a network"),
        (&["--publish", "80:80"], "--publish: needs --network bridge"),
        (&["--network", "host", "--publish", "80:80"], "--publish: needs --network bridge"),
        (&["--network", "none", "--ip", "10.0.0.1"], "--ip: needs --network bridge"),
        (&["--network", "bridge", "--ip", "x"], "--ip: \"x\" is no IP address"),
        (&["--network", "bridge", "--mac", "x"], "--mac: \"x\" is no hardware address"),
        (&["--network", "bridge", "--dns", "x"], "--dns: \"x\" is no IP address"),
        (&["--network", "bridge", "--add-host", "x"], "--add-host: \"x\" has no address"),
        (&["--network", "bridge", "--dns-search", "a b"], "--dns-search: \"a b\" is no name"),
        (&["--network", "bridge", "--firewall", "x"], "--firewall: \"x\" is not one of"),
        (&["--network", "container:nobody"], "--network container:nobody: "),
    ] {
        let c = Bundle::sleeper().container();
        let out = run(&world, &c, options);
        assert_ne!(out.code, 0, "{options:?}");
        assert!(out.stderr.contains(wanted), "{options:?}: {}", out.stderr);
        assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
        assert!(!c.root().join(&c.id).exists());
    }
}

/// What the host has mounted is neither copied nor listed, with a hook of ours or without.
#[test]
fn four_thousand_mounts_of_the_host_are_left_alone() {
    needs_networks!();
    needs!(Path::new("/usr/bin/strace").exists(), "strace");
    let world = World::new();
    // Each doubles what is there.
    let script = "mount -t tmpfs none /mnt && mkdir /mnt/a && mount -t tmpfs none /mnt/a && \
        for n in 1 2 3 4 5 6 7 8 9 10 11 12; do \
        mkdir /mnt/a/$n && mount --rbind /mnt/a /mnt/a/$n || exit 1; done; wc -l </proc/self/mounts";
    let mounted = world.host.program(["/bin/sh", "-c", script]).run();
    let count: usize = mounted.ok().trim().parse().unwrap();
    assert!(count > 4000, "{count}");
    let trace_of = |bundle: Bundle, options: &[&str]| {
        let c = bundle.container();
        let bundle = c.bundle.path();
        let traces = c.bundle.dir().join("traces");
        std::fs::create_dir(&traces).unwrap();
        let traced = "trace=clone,clone3,setns,unshare,open,openat,openat2";
        let file = traces.join("of");
        let by = ["/usr/bin/strace", "-qqff", "-e", traced, "-o", file.to_str().unwrap()];
        let words = [&["run", "--bundle", bundle.to_str().unwrap()], options, &[&c.id]].concat();
        let out = world.under(&by, &c, &words);
        assert_eq!(out.code, 0, "{out:?}");
        // Each process has its own file.
        let files = std::fs::read_dir(traces).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect::<Vec<_>>()
    };
    let copies = |trace: &String| {
        let mut is_minimal = false;
        trace.lines().any(|line| {
            is_minimal |= line.contains("setns(") && line.contains("CLONE_NEWNS");
            line.contains("CLONE_NEWNS") && !is_minimal
        })
    };
    let plain = || Bundle::new(["true"]);
    needs!(!trace_of(plain(), &[]).iter().any(copies), "a minimal mount namespace");
    let hook = serde_json::json!({"path": "/bin/true"});
    assert!(trace_of(plain().set("/hooks/createRuntime/-", hook), &[]).iter().any(copies));
    let traces =
        trace_of(plain(), &["--network", "bridge", "--dns", "192.0.2.53", "-p", "8080:80"]);
    assert!(!traces.iter().any(copies), "{traces:#?}");
    let listed = |trace: &String| trace.contains("mountinfo") || trace.contains("/mounts");
    assert!(!traces.iter().any(listed), "{traces:#?}");
    assert!(traces.iter().any(|trace| trace.contains("CLONE_NEWNET")), "{traces:#?}");
    assert_eq!(world.left(), [""; 0]);
}

/// A copy of the host's mounts costs time for each of them; our own hook looks at none.
#[test]
fn a_bridge_needs_no_copy_of_the_hosts_mounts() {
    needs_networks!();
    needs!(Path::new("/usr/bin/strace").exists(), "strace");
    let world = World::new();
    let enters = |options: &[&str]| {
        let c = Bundle::new(["true"]).container();
        let bundle = c.bundle.path();
        let trace = c.bundle.dir().join("trace");
        let by = ["/usr/bin/strace", "-f", "-e", "trace=setns", "-o", trace.to_str().unwrap()];
        let words = [&["run", "--bundle", bundle.to_str().unwrap()], options, &[&c.id]].concat();
        let out = world.under(&by, &c, &words);
        assert_eq!(out.code, 0, "{out:?}");
        std::fs::read_to_string(trace).unwrap().contains("CLONE_NEWNS")
    };
    needs!(enters(&[]), "a minimal mount namespace");
    assert!(enters(&["--network", "bridge", "--dns", "192.0.2.53"]));
}
