//! What people are told: what is published, what was switched on, what a kernel lacks.

use super::world::World;
use crate::harness::{Bundle, Container, Lacks, Terminal, deviates, needs, read_until, runtime};
use std::path::Path;

macro_rules! needs_networks {
    () => {
        deviates!(["runc", "crun"], "they have no networks");
        needs!(Path::new("/usr/sbin/nft").exists(), "nft");
    };
}

const NOTHING: [&str; 0] = [];
const PORTS: [&str; 8] =
    ["--network", "bridge", "-p", "8080:80", "-p", "127.0.0.1:81-82:81/udp", "--dns", "192.0.2.53"];

/// The lines that a container's ports are told in.
fn lines(world: &World, c: &Container) -> [String; 2] {
    let [four, six] = world.addresses("pinnace", &c.id);
    let id = &c.id;
    [
        format!("{id}: 8080:80/tcp published from everywhere, to {four} {six}"),
        // What is published on an address of IPv4 leads to no other.
        format!("{id}: 127.0.0.1:81-82:81-82/udp published, to {four}"),
    ]
}

#[test]
fn what_is_published_is_told_by_run_and_create() {
    needs_networks!();
    let world = World::new();
    for verb in [&["run", "--detach"][..], &["create"]] {
        let c = Bundle::sleeper().container();
        let bundle = c.bundle.path();
        let words = [verb, &["--bundle", bundle.to_str().unwrap()], &PORTS, &[&c.id]].concat();
        let out = world.runtime(&c, &words);
        assert_eq!(out.code, 0, "{out:?}");
        for line in lines(&world, &c) {
            assert!(out.stderr.contains(&format!("pinnace: {line}\n")), "{verb:?}: {out:?}");
        }
        let shown = world.network("inspect pinnace");
        assert!(shown.ok().contains("8080:80/tcp 127.0.0.1:81-82:81-82/udp"), "{shown:?}");
        let document = world.inspect("pinnace");
        assert_eq!(document["members"][0]["ports"].as_array().unwrap().len(), 2);
        // Standard output is the container's alone.
        assert_eq!(out.stdout, "");
        assert_eq!(world.runtime(&c, &["delete", "--force", &c.id]).code, 0);
    }
}

#[test]
fn what_is_published_is_told_on_a_terminal_and_in_a_log() {
    needs_networks!();
    let world = World::new();
    let program = runtime().path.to_str().unwrap();
    let c = Bundle::sh("echo inside; read line").set("/process/terminal", true.into()).container();
    let (bundle, root) = (c.bundle.path(), c.root());
    let (bundle, root) = (bundle.to_str().unwrap(), root.to_str().unwrap());
    let pid = world.host.pid().to_string();
    let within = ["-t", &pid, "-n", "-m", "--", program, "--root", root];
    let run = ["run", "--bundle", bundle];
    let terminal = Terminal::new(24, 80);
    let words = [&within[..], &run, &PORTS, &[&c.id]].concat();
    let running = terminal.call(Path::new("/usr/bin/nsenter"), &words).spawn();
    let said = read_until(&terminal.master, "inside");
    for line in lines(&world, &c) {
        assert!(said.contains(&format!("pinnace: {line}\r\n")), "{said}");
    }
    rustix::io::write(&terminal.master, b"\n").unwrap();
    assert_eq!(running.wait().code, 0);
    assert_eq!(world.left(), NOTHING);
    // Who has a log finds it there; one in JSON is for programs, and of errors alone.
    let c = Bundle::sleeper().container();
    for (format, wanted) in [("text", 2), ("json", 0)] {
        let log = c.bundle.dir().join(format);
        let log = log.to_str().unwrap();
        let (bundle, root) = (c.bundle.path(), c.root());
        let all = [
            &[program, "--root", root.to_str().unwrap(), "--log", log, "--log-format", format],
            &["run", "--detach", "--bundle", bundle.to_str().unwrap()][..],
            &PORTS,
            &[&c.id],
        ];
        let (out, err) = (c.log("stdout"), c.log("stderr"));
        world.host.program(all.concat()).output_to(out, err).run().ok();
        let said = std::fs::read_to_string(log).unwrap();
        assert_eq!(said.matches("published").count(), wanted, "{said}");
        assert_eq!(c.stderr(), "");
        assert_eq!(world.runtime(&c, &["delete", "--force", &c.id]).code, 0);
    }
}

/// Nobody writes a state by hand.
#[test]
fn a_hook_that_is_called_at_a_terminal_does_not_wait() {
    needs_networks!();
    let world = World::new();
    let program = runtime().path.to_str().unwrap();
    let pid = world.host.pid().to_string();
    for verb in ["setup", "teardown"] {
        let terminal = Terminal::new(24, 80);
        let words = ["-t", &pid, "-n", "-m", "--", program, "network", verb];
        let running = terminal.call(Path::new("/usr/bin/nsenter"), &words).spawn();
        let said = read_until(&terminal.master, "--name NAME");
        assert!(said.contains("which is a terminal") && said.contains("--netns PATH"), "{said}");
        assert_ne!(running.wait().code, 0);
        assert_eq!(world.left(), NOTHING);
    }
}

#[test]
fn what_is_switched_on_for_the_whole_host_is_told_once() {
    needs_networks!();
    let world = World::new();
    let off = || {
        world.host.sysctl("ipv4/ip_forward", "0");
        world.host.sysctl("ipv6/conf/all/forwarding", "0");
    };
    let both = "net.ipv4.ip_forward net.ipv6.conf.all.forwarding";
    off();
    let first = world.network("create a").ok().to_owned();
    assert!(first.contains(both) && first.contains("routes between its other devices"), "{first}");
    assert_eq!(world.network("create b").ok(), "");
    assert!(world.network("inspect a").ok().contains(both));
    assert!(!world.network("inspect b").ok().contains(both));
    off();
    let _web = world.member("web", "");
    let switched = world.inspect("pinnace")["switchedOn"].clone();
    assert_eq!(switched.as_array().unwrap().len(), 2, "{switched}");
    world.host.sysctl("ipv4/ip_forward", "0");
    let _db = world.member("db", "b");
    assert!(world.network("inspect b").ok().contains("net.ipv4.ip_forward\n"));
}

/// It refuses the socket, or answers the first request so.
#[test]
fn a_kernel_without_nf_tables_is_told_of_in_one_line() {
    needs_networks!();
    let world = World::new();
    let (spare, program) = (World::namespace(), runtime().path.display());
    let lacks = [Lacks {
        call: libc::SYS_socket,
        argument: 2,
        mask: u32::MAX,
        value: libc::NETLINK_NETFILTER.cast_unsigned(),
        errno: libc::EPROTONOSUPPORT,
    }];
    let setup = format!("setup --netns {} --name web -p 8080:80", spare.path().display());
    for words in ["create x", &setup] {
        let call = world.host.call(&format!("{program} network {words}"));
        let out = call.without(&lacks).run();
        assert!(out.fails().contains("the kernel has no nf_tables"), "{out:?}");
        assert!(out.stderr.contains("--network host and none need it not"), "{out:?}");
        assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
        assert!(!spare.ip("-o link show").contains("eth0"));
        assert_eq!(world.left(), NOTHING);
    }
}
