//! Every way that a packet can take, and those that it must not: from where, to where, and as
//! whom the other end sees the sender.

use super::world::{BOTH, HOST, HOST6, Namespace, OUTSIDE, OUTSIDE6, Protocol, World};
use crate::harness::{deviates, needs};
use std::net::IpAddr;
use std::path::Path;

/// A host with two networks: `pinnace` with `web` and `db`, and `other` with `far`.
struct Scene {
    world: World,
    web: Namespace,
    db: Namespace,
    far: Namespace,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let web = world.member(
            "web",
            "-p 8080:80 -p 8080:80/udp -p 127.0.0.1:8081:80 -p 127.0.0.1:8081:80/udp",
        );
        let db = world.member("db", "-p 8082:80 -p 8082:80/udp");
        let far = world.member("far", "other -p 8083:80 -p 8083:80/udp");
        let scene = Self { world, web, db, far };
        for member in [&scene.web, &scene.db, &scene.far] {
            for protocol in BOTH {
                member.serve(protocol, "0.0.0.0:80");
                // Of both families, but the first has IPv4 already.
                member.serve_v6(protocol, 80);
            }
        }
        for protocol in BOTH {
            scene.world.outside.serve(protocol, "0.0.0.0:8080");
            scene.world.outside.serve_v6(protocol, 8080);
            scene.world.host.serve(protocol, "0.0.0.0:81");
            scene.world.host.serve_v6(protocol, 81);
        }
        scene
    }

    fn bridged(&self, on: bool) {
        for name in ["bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables"] {
            self.world.host.sysctl(name, if on { "1" } else { "0" });
        }
    }
}

fn to(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

#[track_caller]
fn sees(from: &Namespace, protocol: Protocol, target: &str, whom: &str) {
    let answer = from.ask(protocol, target);
    let whom: IpAddr = whom.parse().unwrap();
    assert_eq!(answer, Ok(whom), "{protocol:?} to {target}");
}

fn has_nf_tables() -> bool {
    Path::new("/usr/sbin/nft").exists()
}

#[test]
fn every_path_of_a_packet() {
    deviates!(["runc", "crun"], "they have no networks");
    needs!(has_nf_tables(), "nft");
    let scene = Scene::new();
    let Scene { world, web, db, far } = &scene;
    let (host, outside) = (&world.host, &world.outside);
    let (web_at, db_at) = (world.addresses("pinnace", "web"), world.addresses("pinnace", "db"));
    let far_at = world.addresses("other", "far");
    let (bridge, other) = (world.gateways("pinnace"), world.gateways("other"));
    let has_filter = host.within(|| Path::new("/proc/sys/net/bridge").exists());
    for filtered in [false, true].into_iter().take(if has_filter { 2 } else { 1 }) {
        if has_filter {
            scene.bridged(filtered);
            // Whether a container may get back what it has sent is decided when it comes.
            world.network("teardown --name web").ok();
        }
        let _again;
        let web = if has_filter {
            let new = World::namespace();
            world
                .connect(
                    &new,
                    "web",
                    "-p 8080:80 -p 8080:80/udp -p 127.0.0.1:8081:80 -p 127.0.0.1:8081:80/udp",
                )
                .ok();
            for protocol in BOTH {
                new.serve(protocol, "0.0.0.0:80");
                new.serve_v6(protocol, 80);
            }
            _again = new;
            &_again
        } else {
            web
        };
        assert_eq!(
            world.addresses("pinnace", "web"),
            web_at,
            "the same name gets the same address"
        );
        for (v, (own, away)) in [(HOST, OUTSIDE), (HOST6, OUTSIDE6)].into_iter().enumerate() {
            for protocol in BOTH {
                // From a container: to the host, outside, to a neighbour.
                sees(web, protocol, &to(&bridge[v], 81), &web_at[v]);
                sees(web, protocol, &to(own, 81), &web_at[v]);
                sees(web, protocol, &to(away, 8080), own);
                sees(web, protocol, &to(&db_at[v], 80), &web_at[v]);
                // To what a neighbour has published, and to what it has itself.
                sees(web, protocol, &to(own, 8082), &bridge[v]);
                sees(web, protocol, &to(&bridge[v], 8082), &bridge[v]);
                sees(web, protocol, &to(own, 8080), &bridge[v]);
                // From the host: to a container, to what is published.
                sees(host, protocol, &to(&web_at[v], 80), &bridge[v]);
                sees(host, protocol, &to(own, 8080), own);
                // From outside: to what is published, and nowhere else.
                sees(outside, protocol, &to(own, 8080), away);
                outside.gets_nothing(protocol, &to(own, 8081));
                outside.ip(&format!("route replace {}/32 via {HOST}", web_at[0]));
                outside.ip(&format!("-6 route replace {}/128 via {HOST6}", web_at[1]));
                outside.gets_nothing(protocol, &to(&web_at[v], 80));
                // From another network: to what is published, and nowhere else.
                sees(far, protocol, &to(own, 8080), &bridge[v]);
                far.gets_nothing(protocol, &to(&web_at[v], 80));
                web.gets_nothing(protocol, &to(&far_at[v], 80));
                sees(db, protocol, &to(own, 8083), &other[v]);
            }
        }
        for protocol in BOTH {
            sees(host, protocol, "127.0.0.1:8080", &bridge[0]);
            sees(host, protocol, "127.0.0.1:8081", &bridge[0]);
        }
        host.is_refused("[::1]:8080");
    }
}
