//! What somebody has taken away under the feet of living members comes back.

use super::world::{BOTH, HOST, HOST6, Namespace, OUTSIDE, OUTSIDE6, Protocol, World};
use crate::harness::{deviates, needs};
use std::path::Path;

macro_rules! needs_networks {
    () => {
        deviates!(["runc", "crun"], "they have no networks");
        needs!(Path::new("/usr/sbin/nft").exists(), "nft");
    };
}

/// From outside, from the host, from a neighbour, and to outside.
#[track_caller]
fn works(world: &World, web: &Namespace, db: &Namespace, what: &str) {
    let [four, six] = world.addresses("pinnace", "web");
    for protocol in BOTH {
        let tries = [
            (&world.outside, format!("{HOST}:8080")),
            (&world.outside, format!("[{HOST6}]:8080")),
            (&world.host, "127.0.0.1:8080".to_owned()),
            (&world.host, format!("[{six}]:80")),
            (db, format!("{four}:80")),
            (db, format!("[{six}]:80")),
            (web, format!("{OUTSIDE}:99")),
            (web, format!("[{OUTSIDE6}]:99")),
        ];
        for (from, target) in tries {
            let answer = from.ask(protocol, &target);
            assert!(answer.is_ok(), "{what}: {protocol:?} to {target}: {answer:?}");
        }
    }
}

/// The next container, or `reload`.
#[test]
fn living_members_come_back_to_a_bridge_that_was_removed_or_set_down() {
    needs_networks!();
    let world = World::new();
    let (web, db) = (world.member("web", "-p 8080:80 -p 8080:80/udp"), world.member("db", ""));
    for protocol in BOTH {
        world.outside.serve(protocol, "0.0.0.0:99");
        world.outside.serve_v6(protocol, 99);
        web.serve(protocol, "0.0.0.0:80");
        web.serve_v6(protocol, 80);
    }
    works(&world, &web, &db, "before");
    for (removed, setup_does) in [
        (&["link del pinnace0"][..], true),
        (&["link set pinnace0 down"], true),
        (&["link set pinnace0 down", "link set pinnace0 up"], true),
        (&["addr flush dev pinnace0"], true),
        (&["link set DEVICE nomaster"], false),
    ] {
        let document = world.inspect("pinnace");
        let members = document["members"].as_array().unwrap();
        let member = members.iter().find(|member| member["id"] == "web").unwrap();
        let device = member["device"].as_str().unwrap();
        for by in ["setup", "reload"].into_iter().skip(usize::from(!setup_does)) {
            removed.iter().for_each(|words| drop(world.host.ip(&words.replace("DEVICE", device))));
            world.outside.gets_nothing(Protocol::Tcp, &format!("[{HOST6}]:8080"));
            if by == "setup" {
                drop(world.member("new", ""));
                world.network("teardown --name new").ok();
            } else {
                world.network("reload").ok();
            }
            works(&world, &web, &db, &format!("{removed:?}, {by}"));
        }
    }
    world.network("teardown --name web").ok();
    world.network("teardown --name db").ok();
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn reload_makes_bridges_again_of_networks_that_stay_and_of_no_others() {
    needs_networks!();
    let world = World::new();
    world.network("create blue").ok();
    drop(world.member("dead", ""));
    let devices = || world.host.ip("-o link show");
    crate::harness::until("the device of a dead member goes", || {
        !devices().contains("master pinnace0")
    });
    world.host.ip("link add br0 type bridge");
    world.host.ip("addr add 10.5.5.1/24 dev br0");
    world.host.ip("link set br0 up");
    world.network("create red --bridge br0").ok();
    let web = world.member("web", "red");
    for bridge in ["pn-blue", "pinnace0", "br0"] {
        world.host.ip(&format!("link del {bridge}"));
    }
    // One that is somebody else's is theirs to make again.
    let out = world.network("reload");
    assert!(out.fails().contains("network red: its bridge br0 is gone, and was not ours"));
    assert!(devices().contains("pn-blue") && !devices().contains("pinnace0"), "{}", devices());
    world.host.ip("link add br0 type bridge");
    world.host.ip("addr add 10.5.5.1/24 dev br0");
    world.host.ip("link set br0 up");
    world.network("reload").ok();
    web.serve(Protocol::Tcp, "0.0.0.0:80");
    let address = &world.addresses("red", "web")[0];
    assert!(world.host.ask(Protocol::Tcp, &format!("{address}:80")).is_ok());
}
