//! Hosts and subnets of odd shapes.

use super::world::{Namespace, Protocol, World};
use crate::harness::{deviates, needs, until};
use std::path::Path;

macro_rules! needs_networks {
    () => {
        deviates!(["runc", "crun"], "they have no networks");
        needs!(Path::new("/usr/sbin/nft").exists(), "nft");
    };
}

/// Who has chosen an address of IPv6 has it alone: that of another is not always the one with
/// its number.
#[test]
fn an_address_of_ipv6_is_never_that_of_two() {
    needs_networks!();
    let world = World::alone();
    world.network("create blue --subnet 10.2.0.0/24 --subnet6 fd02::/64").ok();
    let web = world.member("web", "blue --ip 10.2.0.9 --ip6 fd02::5");
    let db = world.member("db", "blue --ip 10.2.0.5");
    assert_eq!(world.addresses("blue", "web"), ["10.2.0.9", "fd02::5"]);
    assert_eq!(world.addresses("blue", "db"), ["10.2.0.5", "fd02::6"]);
    // Whose number that is gets another one.
    let next = world.member("next", "blue --ip 10.2.0.6");
    assert_eq!(world.addresses("blue", "next"), ["10.2.0.6", "fd02::7"]);
    for (member, address) in [(&web, "[fd02::5]:80"), (&next, "[fd02::7]:80")] {
        member.serve_v6(Protocol::Tcp, 80);
        assert!(world.host.ask(Protocol::Tcp, address).is_ok(), "{address}");
    }
    let out = world.connect(&World::namespace(), "x", "blue --ip6 fd02::6");
    assert!(out.fails().contains("fd02::6 is that of container db"), "{out:?}");
    // Who is dead has it no more.
    world.network("teardown blue --name next").ok();
    drop(db);
    let members = || world.host.ip("-o link show").matches("master pn-blue").count();
    until("the device of a dead member goes", || members() == 1);
    let _again = world.member("again", "blue --ip 10.2.0.8 --ip6 fd02::6");
    for name in ["web", "again", "db"] {
        world.network(&format!("teardown blue --name {name}")).ok();
    }
    world.network("rm blue").ok();
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_subnet_of_ipv6_may_be_smaller_than_that_of_ipv4() {
    needs_networks!();
    let world = World::alone();
    world.network("create blue --subnet 10.2.0.0/24 --subnet6 fd02::/125").ok();
    let mut members: Vec<Namespace> = Vec::new();
    let mut found = Vec::new();
    for n in 0..5 {
        members.push(world.member(&format!("m{n}"), "blue"));
        found.push(world.addresses("blue", &format!("m{n}"))[1].clone());
    }
    found.sort_unstable();
    assert_eq!(found, ["fd02::2", "fd02::3", "fd02::4", "fd02::5", "fd02::6"]);
    let before = (world.left(), world.ruleset());
    let out = world.connect(&World::namespace(), "x", "blue");
    assert!(out.fails().contains("network blue has no free address in fd02::/125"), "{out:?}");
    assert_eq!((world.left(), world.ruleset()), before);
}

/// The bridge of somebody else has whatever address it has.
#[test]
fn the_address_of_an_adopted_bridge_is_no_containers() {
    needs_networks!();
    let world = World::alone();
    for words in [
        "link add br0 type bridge",
        "addr add 10.5.5.6/29 dev br0",
        "addr add fd05::3/64 dev br0 nodad",
        "link set br0 up",
    ] {
        world.host.ip(words);
    }
    world.network("create blue --bridge br0").ok();
    let _web = world.member("web", "blue --ip 10.5.5.3");
    assert_eq!(world.addresses("blue", "web"), ["10.5.5.3", "fd05::4"]);
    world.network("teardown blue --name web").ok();
    world.network("rm blue").ok();
    // One address of IPv6 alone leaves none for containers: they go without.
    world.host.ip("addr del fd05::3/64 dev br0");
    world.host.ip("addr add fd05::3/128 dev br0 nodad");
    world.network("create blue --bridge br0").ok();
    let _web = world.member("web", "blue");
    assert_eq!(world.addresses("blue", "web")[1], "");
}

/// As a VPN of a large company has it.
#[test]
fn a_tunnel_to_all_of_10_0_0_0_8_leaves_other_subnets() {
    needs_networks!();
    let world = World::new();
    world.host.ip("route add 10.0.0.0/8 dev up0");
    world.host.ip("route add 172.16.0.0/16 dev up0");
    let _web = world.member("web", "");
    assert!(world.addresses("pinnace", "web")[0].starts_with("172.17.0."));
    world.host.ip("route add 172.16.0.0/12 dev up0");
    let _db = world.member("db", "blue");
    assert!(world.addresses("blue", "db")[0].starts_with("192.168.0."));
}

#[test]
fn the_way_out_may_be_one_of_ipv6_alone() {
    needs_networks!();
    let world = World::new();
    world.host.ip("link set up0 mtu 1400");
    world.host.ip("-4 route flush dev up0");
    let web = world.member("web", "");
    assert!(web.ip("-o link show dev eth0").contains("mtu 1400"));
}

#[test]
fn only_addresses_that_a_port_leads_to_are_told() {
    needs_networks!();
    let world = World::new();
    for (port, wanted) in [("0.0.0.0:80:80", [true, false]), ("[::]:80:80", [false, true])] {
        let web = World::namespace();
        let out = world.connect(&web, "web", &format!("-p {port}"));
        let told = world.addresses("pinnace", "web").map(|address| out.ok().contains(&address));
        assert_eq!(told, wanted, "{out:?}");
        world.network("teardown --name web").ok();
    }
}
