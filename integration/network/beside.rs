//! Beside others: other firewalls, podman's networks, other runtimes.

use super::world::{HOST, OUTSIDE, Protocol, World};
use crate::harness::{Bundle, Call, deviates, needs, runtime};
use std::path::Path;

/// Ends the test here where it can mean nothing.
macro_rules! needs_networks {
    () => {
        deviates!(["runc", "crun"], "they have no networks");
        needs!(Path::new("/usr/sbin/nft").exists(), "nft");
    };
}

const NOTHING: [&str; 0] = [];

#[test]
fn another_firewall_is_told_of_or_asked_to_let_pass() {
    needs_networks!();
    needs!(Path::new("/usr/sbin/iptables-nft").exists(), "iptables-nft");
    for docker in [false, true] {
        let world = World::new();
        let iptables =
            |words: &str| world.host.call(&format!("/usr/sbin/iptables-nft {words}")).run();
        iptables("-P FORWARD DROP").ok();
        if docker {
            iptables("-N DOCKER-USER").ok();
            iptables("-A FORWARD -j DOCKER-USER").ok();
        }
        let before = iptables("-S").ok().to_owned();
        let spare = World::namespace();
        let out = world.connect(&spare, "web", "-p 8080:80");
        let chain = if docker { "DOCKER-USER" } else { "FORWARD" };
        for device in ["-i", "-o"] {
            let command = format!("iptables -I {chain} {device} pinnace0 -j ACCEPT");
            assert!(out.fails().contains(&command), "{out:?}");
        }
        assert_eq!(world.left(), NOTHING);
        world.connect(&spare, "web", "-p 8080:80 --firewall insert").ok();
        spare.serve(Protocol::Tcp, "0.0.0.0:80");
        world.outside.serve(Protocol::Tcp, "0.0.0.0:99");
        assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_ok());
        assert!(spare.ask(Protocol::Tcp, &format!("{OUTSIDE}:99")).is_ok());
        let rules = iptables("-S").ok().to_owned();
        for device in ["-i", "-o"] {
            let rule = format!(
                "-A {chain} {device} pinnace0 -m comment --comment \"pinnace pinnace0\" -j ACCEPT"
            );
            assert!(rules.contains(&rule), "{rules}");
        }
        // The next one needs no word for it, and adds no rule.
        let _db = world.member("db", "");
        assert_eq!(iptables("-S").ok(), rules);
        world.network("teardown --name db").ok();
        world.network("teardown --name web").ok();
        assert_eq!(iptables("-S").ok(), before);
        assert_eq!(world.left(), NOTHING);
    }
}

/// The runtimes that are here, ours among them.
fn runtimes() -> Vec<&'static str> {
    let all = ["/usr/sbin/runc", "/usr/bin/crun", runtime().path.to_str().unwrap()];
    let is_here = |program: &&str| {
        let exists = Path::new(program).exists();
        if !exists {
            crate::harness::lacks(program);
        }
        exists
    };
    all.into_iter().filter(is_here).collect()
}

/// `spec` writes what any runtime understands.
#[test]
fn the_same_bundle_under_other_runtimes() {
    needs_networks!();
    for program in runtimes() {
        let world = World::new();
        // crun refuses a hybrid hierarchy.
        world.host.call("/bin/umount /sys/fs/cgroup/unified").run();
        let c = Bundle::sh("").container();
        let bundle = c.bundle.path();
        let path = bundle.to_str().unwrap();
        let config = bundle.join("config.json");
        std::fs::remove_file(&config).unwrap();
        let words =
            ["--bundle", path, "--network", "bridge", "-p", "8080:80", "--dns", "192.0.2.53"];
        let own = runtime().path.to_str().unwrap();
        world.host.program([own, "spec"].into_iter().chain(words)).run().ok();
        let text = std::fs::read_to_string(&config).unwrap();
        let mut spec: serde_json::Value = serde_json::from_str(&text).unwrap();
        // Of what crun 1.8 knows.
        spec["ociVersion"] = "1.0.2".into();
        spec["process"]["terminal"] = false.into();
        let script =
            "cat /etc/hosts /etc/resolv.conf; echo end; while nc -l -p 80 -e echo here; do :; done";
        spec["process"]["args"] = serde_json::json!(["sh", "-c", script]);
        spec["root"]["readonly"] = false.into();
        std::fs::write(&config, spec.to_string()).unwrap();
        let root = c.bundle.dir().join("other");
        let call = |words: &[&str]| {
            let all = [program, "--root", root.to_str().unwrap()].into_iter();
            let all = all.chain(words.iter().copied());
            world.host.program(all).output_to(c.log("stdout"), c.log("stderr")).run()
        };
        let out = call(&["run", "--detach", "--bundle", path, &c.id]);
        assert_eq!(out.code, 0, "{program}: {}", c.stderr());
        crate::harness::until("the program runs", || c.stdout().contains("end"));
        let said = c.stdout();
        let [four, _] = world.addresses("pinnace", &c.id);
        assert!(said.contains(&format!("{four} {}", c.id)), "{program}: {said}");
        assert!(said.contains("nameserver 192.0.2.53"), "{program}: {said}");
        assert!(world.outside.reads(&format!("{HOST}:8080")).contains("here"), "{program}");
        let second_id = format!("{}b", c.id);
        // Two containers of one bundle would write into the same files.
        let second = call(&["run", "--detach", "--bundle", path, &second_id]);
        assert_ne!(second.code, 0, "{program}");
        // crun keeps a hook's words to itself.
        let said = c.stderr();
        let words = "uses the name files of this bundle";
        assert!(said.contains(words) || program.ends_with("crun"), "{program}: {said}");
        let out = call(&["delete", "--force", &c.id]);
        assert_eq!(out.code, 0, "{program}: {}", c.stderr());
        // Some leave a hook undone (crun after another hook that failed): that is for prune.
        call(&["delete", "--force", &second_id]);
        world.network("prune").ok();
        assert_eq!(world.left(), NOTHING, "{program}");
    }
}

/// Each has a table of its own, and leaves that of the other alone.
#[test]
fn podmans_network_works_at_the_same_time() {
    needs_networks!();
    let netavark = "/usr/lib/podman/netavark";
    needs!(Path::new(netavark).exists(), "netavark");
    let world = World::new();
    let theirs = World::namespace();
    let subnet = serde_json::json!({"gateway": "10.88.0.1", "subnet": "10.88.0.0/16"});
    let port = serde_json::json!({"container_port": 80, "host_ip": "", "host_port": 8090,
        "protocol": "tcp", "range": 1});
    let input = serde_json::json!({
        "container_id": "c0ffee", "container_name": "theirs", "port_mappings": [port],
        "networks": {"podman": {"static_ips": ["10.88.0.5"], "interface_name": "eth0"}},
        "network_info": {"podman": {"dns_enabled": false, "driver": "bridge", "internal": false,
            "id": "53ce4390f2adb1681eb1a90ec8b48c49c015e0a8d336c197637e7f65e365fa9e",
            "ipv6_enabled": false, "name": "podman", "network_interface": "podman0",
            "subnets": [subnet]}},
    });
    let path = theirs.path().display().to_string();
    let call = |verb: &str| {
        let words = [netavark, "--config", "/run/netavark", verb, &path];
        world.host.program(words).stdin(input.to_string()).run()
    };
    world.host.call("/bin/mkdir /run/netavark").run().ok();
    call("setup").ok();
    theirs.serve(Protocol::Tcp, "0.0.0.0:80");
    let before = world.ruleset();
    let ours = world.member("web", "-p 8080:80");
    ours.serve(Protocol::Tcp, "0.0.0.0:80");
    // Their own port they do not reach themselves where bridges are filtered, also without us.
    for (from, ports) in
        [(&world.outside, &[8080, 8090][..]), (&ours, &[8080, 8090]), (&theirs, &[8080])]
    {
        for port in ports {
            let answer = from.ask(Protocol::Tcp, &format!("{HOST}:{port}"));
            assert!(answer.is_ok(), "to {port}: {answer:?}");
        }
    }
    let [address, _] = world.addresses("pinnace", "web");
    theirs.gets_nothing(Protocol::Tcp, &format!("{address}:80"));
    world.network("teardown --name web").ok();
    assert_eq!(world.ruleset(), before);
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8090")).is_ok());
    call("teardown").ok();
}

/// The runtime is killed while a hook runs after ours; then nobody calls `teardown`.
#[test]
fn a_runtime_that_is_killed_in_a_hook_leaves_what_prune_removes() {
    needs_networks!();
    for program in runtimes() {
        let world = World::new();
        world.host.call("/bin/umount /sys/fs/cgroup/unified").run();
        let own = runtime().path.to_str().unwrap();
        let bundle = Bundle::sleeper();
        let killer = bundle.script("killer", "kill -9 $PPID");
        let hook = |words: &[&str]| {
            let args = [&["pinnace", "network"], words].concat();
            serde_json::json!({"path": own, "args": args})
        };
        let ours = hook(&["setup", "pinnace", "--publish", "8080:80"]);
        let c = bundle
            .set("/hooks/createRuntime", serde_json::json!([ours, {"path": killer}]))
            .set("/hooks/poststop", serde_json::json!([hook(&["teardown"])]))
            .container();
        let root = c.bundle.dir().join("state");
        let path = c.bundle.path();
        let call = |words: &[&str]| {
            let all = [program, "--root", root.to_str().unwrap()].into_iter();
            let all = all.chain(words.iter().copied());
            world.host.program(all).output_to(c.log("stdout"), c.log("stderr")).run()
        };
        let out = call(&["create", "--bundle", path.to_str().unwrap(), &c.id]);
        assert_ne!(out.code, 0, "{program}");
        call(&["delete", "--force", &c.id]);
        crate::harness::until("the namespace goes", || {
            !world.host.ip("-o link show").contains("master pinnace0")
        });
        world.network("prune").ok();
        assert_eq!(world.left(), NOTHING, "{program}");
        // runc does not know that container any more, and leaves its cgroups.
        let words = ["/sys/fs/cgroup", "-depth", "-type", "d", "-name", &c.id];
        Call::new("/usr/bin/find").args(words).args(["-exec", "rmdir", "{}", ";"]).run();
    }
}
