//! How networks come and go: with containers, with crashes, beside other firewalls.

use super::world::{BOTH, HOST, Namespace, OUTSIDE, Protocol, World, udp};
use crate::harness::{Bundle, Container, deviates, needs, runtime};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

fn has_nft() -> bool {
    Path::new("/usr/sbin/nft").exists()
}

/// Ends the test here where it can mean nothing.
macro_rules! needs_networks {
    () => {
        deviates!(["runc", "crun"], "they have no networks");
        needs!(has_nft(), "nft");
    };
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_is_set_up_is_torn_down() {
    needs_networks!();
    let world = World::new();
    let before = world.ruleset();
    let web = world.member("web", "-p 8080:80 -p 9000-9009:9000/udp");
    web.serve(Protocol::Tcp, "0.0.0.0:80");
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_ok());
    assert!(world.ruleset().contains("udp . 9009"));
    world.network("teardown --name web").ok();
    assert_eq!(world.left(), NOTHING);
    assert_eq!(world.ruleset(), before);
    assert!(!web.ip("-o link show").contains("eth0"));
    // What is not there is no error: a runtime may call twice, or for what never was.
    world.network("teardown --name web").ok();
    world.network("teardown other --name web").ok();
}

#[test]
fn a_network_that_was_created_stays_until_it_is_removed() {
    needs_networks!();
    let world = World::new();
    world.network("create blue --subnet 10.9.8.0/28 --subnet6 fd09:8::/64 --mtu 1400").ok();
    let member = world.member("a", "blue --ip 10.9.8.5 --mac 02:00:00:00:00:05");
    let link = member.ip("-o link show dev eth0");
    assert!(link.contains("mtu 1400") && link.contains("02:00:00:00:00:05"), "{link}");
    assert_eq!(world.addresses("blue", "a"), ["10.9.8.5", "fd09:8::5"]);
    let out = world.network("rm blue");
    assert!(out.fails().contains("network blue is used by a"), "{out:?}");
    world.network("teardown blue --name a").ok();
    assert!(world.network("ls").ok().contains("pn-blue"));
    world.network("rm blue").ok();
    assert_eq!(world.left(), NOTHING);
}

#[test]
fn bad_input_is_told_in_one_line_and_nothing_is_left() {
    needs_networks!();
    let world = World::new();
    world.host.ip("link add br7 type veth peer name br7p");
    world.host.ip("link add pn-mine type bridge");
    world.host.serve(Protocol::Tcp, "0.0.0.0:7777");
    let _web = world.member("web", "-p 8080:80 --ip 10.77.0.9");
    let spare = World::namespace();
    let path = spare.path().display().to_string();
    let before = (world.left(), world.ruleset());
    for (words, wanted) in [
        ("setup NETNS -p 8080:81", "8080:80/tcp is published by container web (network pinnace)"),
        ("setup NETNS -p 8079-8081:81", "is published by container web"),
        ("setup NETNS -p 7777:80", "a program of the host has port 7777"),
        ("setup NETNS -p 192.0.2.1:8085:80", "192.0.2.1 is no address of this host"),
        ("setup NETNS -p 80", "a port of the container is missing"),
        ("setup NETNS -p 81:80 -p 81:82", "are the same port of the host"),
        ("setup NETNS --ip 10.77.0.9", "10.77.0.9 is that of container web"),
        ("setup NETNS --ip 10.77.0.1", "10.77.0.1 is no address for a container"),
        ("setup NETNS --ip 10.77.0.255", "10.77.0.255 is no address for a container"),
        ("setup NETNS --ip 10.78.0.2", "10.78.0.2 is no address for a container"),
        ("setup NETNS --ip fd00::1", "--ip: fd00::1 is of the other family"),
        ("setup NETNS --ip6 fd00::1", "fd00::1 is no address for a container"),
        ("setup NETNS --mac 01:00:00:00:00:00", "is no hardware address"),
        ("setup NETNS mine", "the device pn-mine is there, and not ours"),
        ("setup --netns /proc/self/ns/net --name x", "the container has the network of the host"),
        ("setup --netns /nowhere --name x", "open /nowhere: no such file"),
        ("setup --netns /nowhere", "--netns: needs a --name"),
        ("create a/b", "is no name of a network"),
        ("create x --subnet 10.77.0.0/25", "network pinnace has 10.77.0.0/24"),
        ("create x --subnet 198.51.100.0/25", "has a route or an address in 198.51.100.0/24"),
        ("create x --subnet 224.1.0.0/24", "has addresses that no container may have"),
        ("create x --subnet6 fe80::/64", "has addresses that no container may have"),
        ("create x --subnet 10.1.0.0/31", "leaves no address for a container"),
        ("create x --subnet 10.1.0.1/24", "10.1.0.0/24 is meant?"),
        ("create x --bridge br7", "the device br7 is no bridge"),
        ("create x --bridge br8", "no device is named br8"),
        ("create x --bridge pn-mine", "pn-mine has no IPv4 address"),
        ("create pinnace", "network pinnace is there already"),
        ("rm nothing", "there is no network \"nothing\""),
        ("inspect nothing", "there is no network \"nothing\""),
        ("rm pinnace", "network pinnace is used by web"),
        ("nonsense", "network: unknown command \"nonsense\""),
    ] {
        let out = world.network(&words.replace("NETNS", &format!("--netns {path} --name x")));
        assert!(out.fails().contains(wanted), "{words}: {out:?}");
        assert_eq!(out.stderr.lines().count(), 1, "{words}: {out:?}");
        assert_eq!((world.left(), world.ruleset()), before, "{words}");
        assert!(!spare.ip("-o link show").contains("eth0"), "{words}");
    }
}

#[test]
fn without_privilege_the_way_out_is_told() {
    needs_networks!();
    let world = World::new();
    let (program, spare) = (runtime().path.to_str().unwrap(), World::namespace());
    let path = spare.path().display().to_string();
    let words =
        ["/usr/bin/setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", program];
    let setup = ["network", "setup", "--netns", &path, "--name", "x"];
    let out = world.host.program(words.into_iter().chain(setup)).run();
    assert!(out.fails().contains("CAP_NET_ADMIN") && out.stderr.contains("pasta"), "{out:?}");
}

#[test]
fn ipv6_that_is_off_is_done_without() {
    needs_networks!();
    let world = World::new();
    world.host.sysctl("ipv6/conf/default/disable_ipv6", "1");
    let web = world.member("web", "-p 8080:80");
    web.serve(Protocol::Tcp, "0.0.0.0:80");
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_ok());
    assert_eq!(world.addresses("pinnace", "web")[1], "");
    assert!(world.network("inspect pinnace").ok().contains("no: off on this host"));
}

#[test]
fn a_flushed_table_heals_with_the_next_setup_or_by_reload() {
    needs_networks!();
    let world = World::new();
    let web = world.member("web", "-p 8080:80");
    web.serve(Protocol::Tcp, "0.0.0.0:80");
    let port = format!("{HOST}:8080");
    let rules = world.ruleset();
    world.host.call("/usr/sbin/nft flush ruleset").run().ok();
    world.outside.gets_nothing(Protocol::Tcp, &port);
    world.network("reload").ok();
    assert!(world.outside.ask(Protocol::Tcp, &port).is_ok());
    assert_eq!(world.ruleset(), rules);
    world.host.call("/usr/sbin/nft flush ruleset").run().ok();
    let _db = world.member("db", "-p 8082:80");
    assert!(world.outside.ask(Protocol::Tcp, &port).is_ok());
    assert!(world.ruleset().contains("tcp . 8082"));
}

/// The member's namespace is gone with its device, and nobody has said so.
#[test]
fn what_a_dead_member_had_is_taken_over_or_pruned() {
    needs_networks!();
    let world = World::new();
    drop(world.member("web", "-p 8080:80 --ip 10.77.0.9"));
    until_alone(&world);
    let new = world.member("new", "-p 8080:81 --ip 10.77.0.9");
    new.serve(Protocol::Tcp, "0.0.0.0:81");
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_ok());
    new.ip("link del eth0");
    let pruned = world.network("prune");
    assert!(pruned.ok().contains("lease of new in pinnace"), "{pruned:?}");
    assert_eq!(world.left(), NOTHING);
}

/// The kernel takes its time to remove a namespace.
fn until_alone(world: &World) {
    let has_ports = || world.host.ip("-o link show").contains("master pinnace0");
    crate::harness::until("the device of a dead member goes", || !has_ports());
}

#[test]
fn a_sender_that_never_changes_its_port_is_heard_after_a_restart() {
    needs_networks!();
    let world = World::new();
    let sender = world.outside.sender();
    let target = format!("{HOST}:8080").parse().unwrap();
    let time = Duration::from_secs(5);
    // Before anything is published, the kernel remembers that it is for the host.
    assert!(udp(&sender, target, Duration::from_millis(200)).is_err());
    for ip in ["10.77.0.9", "10.77.0.10"] {
        let web = world.member("web", &format!("-p 8080:80/udp --ip {ip}"));
        web.serve(Protocol::Udp, "0.0.0.0:80");
        assert_eq!(udp(&sender, target, time).unwrap(), OUTSIDE, "{ip}");
        world.network("teardown --name web").ok();
        assert!(udp(&sender, target, Duration::from_millis(200)).is_err(), "{ip}");
    }
}

#[test]
fn routers_are_not_believed() {
    needs_networks!();
    let world = World::new();
    let web = world.member("web", "");
    let value = |namespace: &Namespace, device: &str| {
        let path = format!("/proc/sys/net/ipv6/conf/{device}/accept_ra");
        namespace.within(|| std::fs::read_to_string(path)).unwrap().trim().to_owned()
    };
    assert_eq!(value(&world.host, "pinnace0"), "0");
    assert_eq!(value(&web, "eth0"), "0");
    // But the host goes on to believe its own, though it forwards now.
    assert_eq!(value(&world.host, "up0"), "2");
}

#[test]
fn subnets_of_tunnels_are_left_alone() {
    needs_networks!();
    let world = World::new();
    // As a VPN has them: a route of a table of its own.
    world.host.ip("route add 10.77.0.0/16 dev up0 table 52");
    let _web = world.member("web", "");
    assert!(world.addresses("pinnace", "web")[0].starts_with("10.78.0."));
}

#[test]
fn fifty_come_and_go_at_once() {
    needs_networks!();
    let world = World::new();
    for _ in 0..3 {
        let members: Vec<_> = (0..50).map(|_| World::namespace()).collect();
        let each = |act: &(dyn Fn(usize, &Namespace) + Sync)| {
            std::thread::scope(|scope| {
                for (n, member) in members.iter().enumerate() {
                    scope.spawn(move || act(n, member));
                }
            });
        };
        each(&|n, member| {
            let (id, ports) =
                (format!("c{n}"), format!("-p {}:80 -p {}:80/udp", 9000 + n, 9000 + n));
            world.connect(member, &id, &ports).ok();
            member.serve(Protocol::Tcp, "0.0.0.0:80");
            member.serve(Protocol::Udp, "0.0.0.0:80");
        });
        let document = world.inspect("pinnace");
        let all = document["members"].as_array().unwrap();
        let addresses: BTreeSet<_> = all.iter().map(|one| one["addresses"].to_string()).collect();
        assert_eq!(addresses.len(), 50);
        for n in 0..50 {
            for protocol in BOTH {
                let answer = world.outside.ask(protocol, &format!("{HOST}:{}", 9000 + n));
                assert!(answer.is_ok(), "{n} {protocol:?}: {answer:?}");
            }
        }
        each(&|n, _| {
            world.network(&format!("teardown --name c{n}")).ok();
        });
        assert_eq!(world.left(), NOTHING);
    }
}

#[test]
fn a_container_with_a_bridge() {
    needs_networks!();
    let world = World::new();
    let bundle = Bundle::sh(
        "cat /etc/hosts /etc/resolv.conf /etc/hostname; hostname; ip -o addr show dev eth0; \
         ip route; echo end; nc -l -p 80 -e echo hello",
    );
    let c = bundle.container();
    let path = c.bundle.path();
    let path = path.to_str().unwrap();
    let before = listing(&c);
    let words = [
        "run",
        "--detach",
        "--bundle",
        path,
        "--network",
        "bridge",
        "-p",
        "8080:80",
        "--hostname",
        "box",
        "--dns",
        "192.0.2.53",
        "--add-host",
        "db:192.0.2.7",
        &c.id,
    ];
    let out = world.runtime(&c, &words);
    assert_eq!(out.code, 0, "{out:?}");
    crate::harness::until("the program runs", || c.stdout().contains("end"));
    let [four, six] = world.addresses("pinnace", &c.id);
    let said = c.stdout();
    for wanted in [
        "127.0.0.1 localhost\n",
        "192.0.2.7 db\n",
        &format!("{four} box\n"),
        &format!("{four} {}\n", c.id),
        &format!("{six} {}\n", c.id),
        "nameserver 192.0.2.53\n",
        "\nbox\nbox\n",
        &format!("inet {four}/24"),
        "default via 10.77.0.1",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // Nothing in the bundle has changed but the mount points that the image lacked.
    assert_eq!(listing(&c), before);
    let out = world.runtime(&c, &["delete", "--force", &c.id]);
    assert_eq!(out.code, 0, "{out:?}");
    assert_eq!(world.left(), NOTHING);
}

/// The bundle without its root file system.
fn listing(container: &Container) -> BTreeSet<String> {
    let names = std::fs::read_dir(container.bundle.path()).unwrap();
    names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn members_know_each_other_by_name() {
    needs_networks!();
    let world = World::new();
    let all: Vec<_> = (0..2).map(|_| Bundle::sh("sleep 1000").container()).collect();
    let hosts = |c: &Container| world.runtime(c, &["exec", &c.id, "cat", "/etc/hosts"]).stdout;
    for c in &all {
        let path = c.bundle.path();
        let words = [
            "run",
            "--detach",
            "--bundle",
            path.to_str().unwrap(),
            "--network",
            "bridge",
            "--dns",
            "192.0.2.53",
            &c.id,
        ];
        let out = world.runtime(c, &words);
        assert_eq!(out.code, 0, "{out:?}");
    }
    let second = format!("{} {}\n", world.addresses("pinnace", &all[1].id)[0], all[1].id);
    assert!(hosts(&all[0]).contains(&second), "{}", hosts(&all[0]));
    // What a member does to its own file hurts nobody else.
    let fill = "dd if=/dev/zero of=/etc/hosts bs=1M count=17 2>/dev/null";
    world.runtime(&all[1], &["exec", &all[1].id, "sh", "-c", fill]);
    let _third = world.member("third", "");
    assert!(hosts(&all[0]).contains(" third\n"));
    world.network("teardown --name third").ok();
    world.runtime(&all[1], &["delete", "--force", &all[1].id]);
    let said = hosts(&all[0]);
    assert!(!said[said.rfind("127.0.0.1").unwrap()..].contains(&second), "{said}");
    world.runtime(&all[0], &["delete", "--force", &all[0].id]);
    assert_eq!(world.left(), NOTHING);
}

/// Independent eyes: what nft(8) reads of our bytes.
#[test]
fn the_table_as_nft_reads_it() {
    needs_networks!();
    let world = World::new();
    world.network("create a --subnet 10.9.0.0/24 --subnet6 fd09::/64").ok();
    let _web = world.member(
        "web",
        "a --ip 10.9.0.9 -p 8080:80 -p 127.0.0.1:8081:81/udp -p [2001:db8::1]:8082-8083:82",
    );
    let version = world.host.call("/usr/sbin/nft --version").run().stdout;
    needs!(version.contains("v1.0.6"), "nft 1.0.6, whose words are on record");
    let found = world.host.call("/usr/sbin/nft -s list table inet pinnace").run();
    assert_eq!(found.ok(), include_str!("table.nft"));
}

#[test]
fn a_long_id_and_a_long_name() {
    needs_networks!();
    let world = World::new();
    let (id, network) = ("i".repeat(200), "n".repeat(40));
    let _member = world.member(&id, &format!("{network} -p 8080:80"));
    assert!(world.network("ls").ok().contains(&network));
    world.network(&format!("teardown {network} --name {id}")).ok();
    assert_eq!(world.left(), NOTHING);
    let spare = World::namespace();
    let out = world.connect(&spare, &"i".repeat(255), "");
    assert!(out.fails().contains("name too long"), "{out:?}");
    assert_eq!(world.left(), NOTHING);
}

/// A router advertisement (RFC 4861, 4.2): a router for half an hour, and a prefix for addresses.
const ADVERTISEMENT: [u8; 48] = {
    let mut packet = [0; 48];
    packet[0] = 134;
    packet[4] = 64;
    packet[6] = 7;
    packet[7] = 8;
    // Option 3, four times eight bytes: a /64, on this link and for addresses, for an hour.
    (packet[16], packet[17], packet[18], packet[19]) = (3, 4, 64, 0xc0);
    (packet[22], packet[23], packet[26], packet[27]) = (14, 16, 14, 16);
    (packet[32], packet[33], packet[34]) = (0x20, 0x01, 0x0d);
    packet[35] = 0xb8;
    packet[37] = 0x66;
    packet
};

fn advertise(from: &Namespace) {
    use rustix::net::{AddressFamily, SocketType, ipproto, sendto, socket, sockopt};
    let group: std::net::Ipv6Addr = "ff02::1".parse().unwrap();
    let index = from.ip("-o link show dev eth0");
    let index = index.split(':').next().unwrap().trim().parse().unwrap();
    from.within(|| {
        let raw = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).unwrap();
        sockopt::set_ipv6_multicast_hops(&raw, 255).unwrap();
        let address = std::net::SocketAddrV6::new(group, 0, 0, index);
        let flags = rustix::net::SendFlags::empty();
        sendto(&raw, &ADVERTISEMENT, flags, &address).unwrap();
    });
}

#[test]
fn an_advertisement_of_a_neighbour_makes_it_no_router() {
    needs_networks!();
    let world = World::new();
    let (web, db, rogue) = (world.member("web", ""), world.member("db", ""), world.member("x", ""));
    // A link-local address of a device is not used until it is known to be the only one.
    crate::harness::until("the sender has an address", || {
        rogue.ip("-6 addr show dev eth0 scope link -tentative").contains("fe80")
    });
    let believes = |namespace: &Namespace, device: &str| {
        let addresses = namespace.ip(&format!("-6 addr show dev {device}"));
        let routes = namespace.ip("-6 route show");
        addresses.contains("2001:db8:66") || routes.contains("proto ra")
    };
    // One that was told to believe shows that the packet is good.
    db.sysctl("ipv6/conf/eth0/accept_ra", "2");
    crate::harness::until("a believer believes", || {
        advertise(&rogue);
        believes(&db, "eth0")
    });
    assert!(!believes(&web, "eth0"));
    assert!(!believes(&world.host, "pinnace0"));
}

#[test]
fn the_largest_packet_is_that_of_the_way_out() {
    needs_networks!();
    let world = World::new();
    world.host.ip("link set up0 mtu 1400");
    let web = world.member("web", "-p 8080:80");
    assert!(web.ip("-o link show dev eth0").contains("mtu 1400"));
    assert!(world.host.ip("-o link show dev pinnace0").contains("mtu 1400"));
    world.network("teardown --name web").ok();
    // Below what IPv6 needs there is none.
    world.host.ip("link set up0 mtu 1200");
    let _small = world.member("web", "");
    assert_eq!(world.addresses("pinnace", "web")[1], "");
}
