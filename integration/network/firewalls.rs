//! Firewalls of others that drop what is forwarded: by a policy, by a last rule, in tables that
//! nf_tables does not show.

use super::world::{BOTH, HOST, HOST6, Namespace, OUTSIDE, OUTSIDE6, Protocol, World};
use crate::harness::{deviates, needs};
use std::path::Path;

/// Ends the test here where it can mean nothing.
macro_rules! needs_networks {
    ($($program:expr),*) => {
        deviates!(["runc", "crun"], "they have no networks");
        for program in ["nft", $($program),*] {
            needs!(Path::new("/usr/sbin").join(program).exists(), program);
        }
    };
}

const NOTHING: [&str; 0] = [];

/// Both ways, by IPv4 and IPv6.
#[track_caller]
fn passes(world: &World, web: &Namespace) {
    for protocol in BOTH {
        world.outside.serve(protocol, "0.0.0.0:99");
        world.outside.serve_v6(protocol, 99);
        web.serve(protocol, "0.0.0.0:80");
        web.serve_v6(protocol, 80);
        for address in [format!("{HOST}:8080"), format!("[{HOST6}]:8080")] {
            assert!(world.outside.ask(protocol, &address).is_ok(), "{protocol:?} {address}");
        }
        for address in [format!("{OUTSIDE}:99"), format!("[{OUTSIDE6}]:99")] {
            assert!(web.ask(protocol, &address).is_ok(), "{protocol:?} {address}");
        }
    }
}

const PORTS: &str = "-p 8080:80 -p 8080:80/udp";

#[test]
fn what_iptables_legacy_drops_is_told_of_with_the_commands() {
    needs_networks!("iptables-legacy", "ip6tables-legacy");
    let has_it = World::alone().host.call("/usr/sbin/iptables-legacy -S").run().code == 0;
    needs!(has_it, "a kernel with iptables-legacy");
    for rule in ["-P FORWARD DROP", "-A FORWARD -j REJECT", "-A FORWARD -j DROP"] {
        let world = World::new();
        let legacy = |program: &str, words: &str| {
            world.host.call(&format!("/usr/sbin/{program}-legacy {words}")).run().ok().to_owned()
        };
        // Who has the table without such a rule is not in the way.
        legacy("iptables", "-A FORWARD -j LOG");
        legacy("ip6tables", "-A FORWARD -p tcp -j DROP");
        drop(world.member("first", ""));
        world.network("teardown --name first").ok();
        legacy("ip6tables", "-F FORWARD");
        let spare = World::namespace();
        for program in ["iptables", "ip6tables"] {
            legacy(program, rule);
            let wanted = ["-i", "-o"]
                .map(|way| format!("{program}-legacy -I FORWARD {way} pinnace0 -j ACCEPT"));
            for words in ["", " --firewall insert"] {
                let out = world.connect(&spare, "web", &format!("{PORTS}{words}"));
                for command in &wanted {
                    assert!(out.fails().contains(command), "{rule}: {out:?}");
                }
                assert!(!out.stderr.contains("insert does that"), "{out:?}");
                assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
                assert_eq!(world.left(), NOTHING);
            }
            wanted.iter().for_each(|command| {
                let words = command.split_once(' ').unwrap().1;
                legacy(program, words);
            });
        }
        let before = legacy("iptables", "-S");
        world.connect(&spare, "web", PORTS).ok();
        passes(&world, &spare);
        world.network("teardown --name web").ok();
        assert_eq!(legacy("iptables", "-S"), before);
        // Rules of one direction, or behind the last one, let nothing pass.
        legacy("iptables", "-D FORWARD -i pinnace0 -j ACCEPT");
        assert!(world.connect(&spare, "web", PORTS).fails().contains("iptables-legacy"));
        world.connect(&spare, "web", &format!("{PORTS} --firewall none")).ok();
    }
}

/// Docker's chain of an older host, which both rules go into.
#[test]
fn the_chain_of_docker_in_iptables_legacy() {
    needs_networks!("iptables-legacy");
    let world = World::new();
    let legacy = |words: &str| world.host.call(&format!("/usr/sbin/iptables-legacy {words}")).run();
    needs!(legacy("-N DOCKER-USER").code == 0, "a kernel with iptables-legacy");
    legacy("-A DOCKER-USER -j RETURN").ok();
    legacy("-A FORWARD -j DOCKER-USER").ok();
    legacy("-P FORWARD DROP").ok();
    let spare = World::namespace();
    let out = world.connect(&spare, "web", PORTS);
    assert!(out.fails().contains("iptables-legacy -I DOCKER-USER -o pinnace0"), "{out:?}");
    for way in ["-i", "-o"] {
        legacy(&format!("-I DOCKER-USER {way} pinnace0 -j ACCEPT")).ok();
    }
    world.connect(&spare, "web", PORTS).ok();
    passes(&world, &spare);
}

/// The kernel makes the table for whoever asks for it.
#[test]
fn tables_of_iptables_legacy_that_nobody_uses_are_not_made() {
    needs_networks!();
    let world = World::new();
    let names = "/proc/net/ip_tables_names";
    needs!(Path::new(names).exists(), names);
    let _web = world.member("web", PORTS);
    assert_eq!(world.host.call(&format!("/bin/cat {names}")).run().ok(), "");
}

/// As firewalld and Red Hat's iptables have it: the policy accepts, the last rule does not.
#[test]
fn a_last_rule_that_rejects_all_is_as_a_policy() {
    needs_networks!("iptables-nft", "ip6tables-nft");
    for last in ["-j REJECT", "-j DROP", "-m comment --comment last -j DROP"] {
        let world = World::new();
        let iptables = |words: &str| {
            ["iptables-nft", "ip6tables-nft"].map(|program| {
                let call = world.host.call(&format!("/usr/sbin/{program} {words}"));
                call.run().ok().to_owned()
            })
        };
        iptables("-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
        iptables(&format!("-A FORWARD {last}"));
        // Behind it they are not asked.
        for way in ["-i", "-o"] {
            iptables(&format!("-A FORWARD {way} pinnace0 -j ACCEPT"));
        }
        let before = iptables("-S");
        let spare = World::namespace();
        let out = world.connect(&spare, "web", PORTS);
        for command in ["iptables -I FORWARD -i pinnace0 -j ACCEPT", "ip6tables -I FORWARD -o"] {
            assert!(out.fails().contains(command), "{last}: {out:?}");
        }
        assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
        assert_eq!(world.left(), NOTHING);
        world.connect(&spare, "web", &format!("{PORTS} --firewall insert")).ok();
        passes(&world, &spare);
        world.network("teardown --name web").ok();
        assert_eq!(iptables("-S"), before);
    }
}

/// What ufw's `route allow` writes is in a chain of its own.
#[test]
fn rules_are_found_in_the_chains_that_are_led_to() {
    needs_networks!("iptables-nft");
    let world = World::new();
    let iptables = |words: &str| {
        world.host.call(&format!("/usr/sbin/iptables-nft {words}")).run().ok().to_owned()
    };
    iptables("-P FORWARD DROP");
    iptables("-N before");
    iptables("-N user");
    iptables("-N other");
    iptables("-A FORWARD -j before");
    iptables("-A before -p tcp -j user");
    iptables("-A before -p udp -j user");
    let spare = World::namespace();
    for chain in ["other", "INPUT", "user"] {
        world.connect(&spare, "web", PORTS).fails();
        for way in ["-i", "-o"] {
            if (chain, way) != ("INPUT", "-o") {
                iptables(&format!("-A {chain} {way} pinnace0 -j ACCEPT"));
            }
        }
        iptables("-A INPUT -i pinnace0 -p udp -j ACCEPT");
    }
    world.connect(&spare, "web", PORTS).ok();
    passes(&world, &spare);
    world.network("teardown --name web").ok();
    // A first rule that accepts all makes the policy nothing.
    iptables("-F user");
    world.connect(&spare, "web", PORTS).fails();
    iptables("-I FORWARD -j ACCEPT");
    world.connect(&spare, "web", PORTS).ok();
}

/// It makes its table anew when it is reloaded, so that rules of ours would be lost.
#[test]
fn firewalld_is_to_be_asked_itself() {
    needs_networks!();
    let world = World::new();
    let table = "table inet firewalld { chain zones { }; chain filter_FORWARD { \
        type filter hook forward priority 10; policy accept; \
        ct state established,related accept; jump zones; \
        reject with icmpx type admin-prohibited; }; }";
    let nft = |words: &str| world.host.program(["/usr/sbin/nft", words]).run();
    nft(table).ok();
    let before = world.ruleset();
    let spare = World::namespace();
    for words in ["", " --firewall insert"] {
        let out = world.connect(&spare, "web", &format!("{PORTS}{words}"));
        let wanted = "firewall-cmd --zone=trusted --add-interface=pinnace0";
        assert!(out.fails().contains(wanted), "{out:?}");
        assert_eq!(world.ruleset(), before);
    }
    // What it makes of that.
    nft("add rule inet firewalld zones iifname pinnace0 accept").ok();
    nft("add rule inet firewalld zones oifname pinnace0 accept").ok();
    world.connect(&spare, "web", PORTS).ok();
    passes(&world, &spare);
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_ok());
}
