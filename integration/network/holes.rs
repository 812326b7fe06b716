//! What somebody hostile, or somebody who has mistyped, could once do.

use super::world::{BOTH, HOST, HOST6, Namespace, OUTSIDE, Protocol, World, udp};
use crate::harness::{Bundle, deviates, needs, runtime};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

macro_rules! needs_networks {
    () => {
        deviates!(["runc", "crun"], "they have no networks");
        needs!(Path::new("/usr/sbin/nft").exists(), "nft");
    };
}

const NOTHING: [&str; 0] = [];

/// Takes 127.0.0.1 for an address of that neighbour.
fn sends_loopback_to(namespace: &Namespace, device: &str, neighbour: &str) {
    namespace.ip("addr del 127.0.0.1/8 dev lo");
    namespace.ip(&format!("route add 127.0.0.1/32 via {neighbour} dev {device}"));
    namespace.sysctl(&format!("ipv4/conf/{device}/route_localnet"), "1");
}

#[test]
fn the_loopback_of_the_host_is_not_that_of_containers() {
    needs_networks!();
    let world = World::new();
    // With a published port the bridge has route_localnet.
    let web = world.member("web", "-p 8080:80");
    sends_loopback_to(&web, "eth0", &world.gateways("pinnace")[0]);
    for protocol in BOTH {
        world.host.serve(protocol, "127.0.0.1:81");
        web.gets_nothing(protocol, "127.0.0.1:81");
    }
    // That they are sent, the answer without our rule shows.
    world.host.call("/usr/sbin/nft flush chain inet pinnace guard").run().ok();
    assert!(web.ask(Protocol::Tcp, "127.0.0.1:81").is_ok());
    world.network("reload").ok();
    web.gets_nothing(Protocol::Tcp, "127.0.0.1:81");
}

/// The translation comes before the kernel drops what comes from a wire for 127.0.0.0/8.
#[test]
fn a_port_published_on_127_0_0_1_is_closed_to_who_is_on_the_same_wire() {
    needs_networks!();
    let world = World::new();
    let web = world.member("web", "-p 127.0.0.1:8080:80 -p 127.0.0.1:8080:80/udp");
    sends_loopback_to(&world.outside, "up1", HOST);
    for protocol in BOTH {
        web.serve(protocol, "0.0.0.0:80");
        assert!(world.host.ask(protocol, "127.0.0.1:8080").is_ok());
        world.outside.gets_nothing(protocol, "127.0.0.1:8080");
    }
}

/// A packet of IPv4 and UDP from port 9.
fn packet(from: [u8; 4], to: [u8; 4], port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0];
    packet.extend([from, to].concat());
    packet.extend([0, 9]);
    packet.extend(port.to_be_bytes());
    packet.extend([0, 9, 0, 0, b'?']);
    packet
}

#[test]
fn a_container_does_not_pass_for_a_program_of_the_host() {
    needs_networks!();
    use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
    let world = World::new();
    let web = world.member("web", "-p 8080:80 --ip 10.77.0.9");
    // As it is where nobody has said otherwise.
    world.host.sysctl("ipv4/conf/all/rp_filter", "0");
    world.host.sysctl("ipv4/conf/pinnace0/rp_filter", "0");
    let server = world.host.within(|| std::net::UdpSocket::bind("0.0.0.0:82")).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    web.within(|| {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).unwrap();
        let to: std::net::SocketAddr = "10.77.0.1:0".parse().unwrap();
        for from in [[127, 0, 0, 2], [10, 77, 0, 9]] {
            let packet = packet(from, [10, 77, 0, 1], 82);
            sendto(&raw, &packet, SendFlags::empty(), &to).unwrap();
        }
    });
    let from = loop {
        match server.recv_from(&mut [0; 10]) {
            // A child of another test has ended.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            received => break received.unwrap().1,
        }
    };
    assert_eq!(from.to_string(), "10.77.0.9:9");
}

#[test]
fn a_port_of_one_address_is_also_one_of_all() {
    needs_networks!();
    let world = World::new();
    let spare = World::namespace();
    for (first, second) in [("127.0.0.1:8080", "8080"), ("8080", "127.0.0.1:8080")] {
        let web = world.member("web", &format!("-p {first}:80"));
        let before = world.ruleset();
        let out = world.connect(&spare, "thief", &format!("other -p {second}:80"));
        let wanted = format!("{first}:80/tcp is published by container web (network pinnace)");
        assert!(out.fails().contains(&wanted), "{out:?}");
        assert_eq!(world.ruleset(), before);
        world.connect(&spare, "thief", &format!("other -p {second}:80/udp -p 8081:80")).ok();
        world.network("teardown other --name thief").ok();
        // Who is dead has it no more.
        drop(web);
        until_alone(&world);
        world.connect(&spare, "thief", &format!("other -p {second}:80")).ok();
        world.network("teardown other --name thief").ok();
        world.network("prune").ok();
        assert_eq!(world.left(), NOTHING);
    }
}

/// The address that all addresses of a family are written as is of that family.
#[test]
fn a_port_of_one_family_is_not_one_of_the_other() {
    needs_networks!();
    let world = World::new();
    let four = world.member("four", "-p 0.0.0.0:8080:80 -p 0.0.0.0:8080:80/udp");
    let (by_four, by_six) = (format!("{HOST}:8080"), format!("[{HOST6}]:8080"));
    for protocol in BOTH {
        four.serve(protocol, "0.0.0.0:80");
        four.serve_v6(protocol, 80);
        assert!(world.outside.ask(protocol, &by_four).is_ok());
        assert!(world.host.ask(protocol, "127.0.0.1:8080").is_ok());
        world.outside.gets_nothing(protocol, &by_six);
    }
    // The other family's is free, for whoever wants it, and is no way to the first.
    let six = world.member("six", "other -p [::]:8080:80 -p [::]:8080:80/udp");
    for protocol in BOTH {
        six.serve_v6(protocol, 80);
        assert!(world.outside.ask(protocol, &by_six).is_ok());
        assert!(world.outside.ask(protocol, &by_four).is_ok());
        four.gets_nothing(protocol, &format!("[{}]:80", world.addresses("other", "six")[1]));
    }
    let spare = World::namespace();
    for (port, owner) in [
        ("8080", ":8080:80/tcp is published by container "),
        ("127.0.0.1:8080", "0.0.0.0:8080:80/tcp is published by container four"),
        ("[2001:db8::1]:8080", "[::]:8080:80/tcp is published by container six"),
    ] {
        let out = world.connect(&spare, "x", &format!("-p {port}:80"));
        assert!(out.fails().contains(owner), "{port}: {out:?}");
    }
    world.network("teardown --name four").ok();
    world.outside.gets_nothing(Protocol::Tcp, &by_four);
    assert!(world.outside.ask(Protocol::Tcp, &by_six).is_ok());
    world.connect(&spare, "x", "-p 127.0.0.1:8080:80").ok();
    let words = "-p [::]:8081:80 -p 0.0.0.0:8081:80 -p [::]:8080:81";
    assert!(world.connect(&World::namespace(), "y", words).fails().contains("container six"));
}

#[test]
fn two_of_one_hardware_address_are_refused() {
    needs_networks!();
    let world = World::new();
    let web = world.member("web", "--mac 02:00:00:00:00:05 --ip 10.77.0.9");
    let _db = world.member("db", "--ip 10.77.0.10");
    let bridge = world.host.ip("-o link show dev pinnace0");
    let bridge = bridge.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let spare = World::namespace();
    let before = (world.left(), world.ruleset());
    for (mac, owner) in [
        ("02:00:00:00:00:05", "container web"),
        // That of its address, without a word.
        ("02:42:0a:4d:00:0a", "container db"),
        ("02:42:0a:4d:00:0b", "whoever has the address 10.77.0.11"),
        (&bridge, "the bridge pinnace0"),
    ] {
        let out = world.connect(&spare, "x", &format!("--ip 10.77.0.12 --mac {mac}"));
        assert!(out.fails().contains(&format!("--mac: {mac} is that of {owner}")), "{out:?}");
        assert_eq!((world.left(), world.ruleset()), before);
    }
    // Another network is another wire, and who is dead has none any more.
    world.connect(&spare, "x", "other --mac 02:00:00:00:00:05").ok();
    world.network("teardown other --name x").ok();
    world.connect(&spare, "x", "--ip 10.77.0.12 --mac 02:42:0a:4d:00:0c").ok();
    world.network("teardown --name x").ok();
    web.ip("link del eth0");
    world.connect(&spare, "x", "--mac 02:00:00:00:00:05").ok();
}

/// One that is open would send to where nobody is until it has tried for a quarter of an hour.
#[test]
fn connections_to_a_port_are_forgotten_with_its_container() {
    needs_networks!();
    let entries = "/proc/net/nf_conntrack";
    needs!(Path::new(entries).exists(), entries);
    let world = World::new();
    let web = world.member("web", "-p 8080:80 --ip 10.77.0.9");
    let listener = web.within(|| std::net::TcpListener::bind("0.0.0.0:80")).unwrap();
    let target = format!("{HOST}:8080");
    let client = world.outside.within(|| std::net::TcpStream::connect(&target)).unwrap();
    let _server = listener.accept().unwrap();
    let count = || {
        let all = world.host.call(&format!("/bin/cat {entries}")).run();
        all.ok().lines().filter(|line| line.contains("10.77.0.9")).count()
    };
    assert_eq!(count(), 1);
    world.network("teardown --name web").ok();
    assert_eq!(count(), 0);
    // The next who has the port says at once that it knows nothing of it.
    let new = world.member("new", "-p 8080:80 --ip 10.77.0.10");
    new.serve(Protocol::Tcp, "0.0.0.0:80");
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (&client).write_all(b"?").unwrap();
    let error = (&client).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
}

fn until_alone(world: &World) {
    let has_ports = || world.host.ip("-o link show").contains("master pinnace0");
    crate::harness::until("the device of a dead member goes", || !has_ports());
}

#[test]
fn who_is_dead_does_not_take_a_port_along_that_another_has_by_now() {
    needs_networks!();
    let world = World::new();
    let dead = world.member("dead", "-p 8080:80 -p 8081:80");
    dead.ip("link del eth0");
    world.network("reload").ok();
    let web = world.member("web", "-p 8080:80");
    web.serve(Protocol::Tcp, "0.0.0.0:80");
    world.network("teardown --name dead").ok();
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_ok());
}

/// Each batch that the kernel refuses takes it some milliseconds.
#[test]
fn many_ports_of_a_table_that_was_flushed_are_not_removed_one_by_one() {
    needs_networks!();
    needs!(Path::new("/usr/bin/strace").exists(), "strace");
    let world = World::new();
    let _web = world.member("web", "-p 10000-10199:1000");
    world.host.call("/usr/sbin/nft flush ruleset").run().ok();
    let file = tempfile::NamedTempFile::new().unwrap();
    let (trace, program) = (file.path().display(), runtime().path.display());
    let by = format!("/usr/bin/strace -e trace=sendto -o {trace}");
    world.host.call(&format!("{by} {program} network teardown --name web")).run().ok();
    let sent = std::fs::read_to_string(file.path()).unwrap().lines().count();
    assert!(sent < 50, "{sent}");
    assert_eq!(world.left(), NOTHING);
}

#[test]
fn all_ports_that_there_are() {
    needs_networks!();
    let world = World::new();
    // The table is not there yet: the kernel refuses more than a socket holds.
    let web = world.member("web", "-p 1-65535:1");
    web.serve(Protocol::Tcp, "0.0.0.0:65535");
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:65535")).is_ok());
    let spare = World::namespace();
    let out = world.connect(&spare, "x", "-p 1-65535:1");
    assert!(out.fails().contains("is published by container web"), "{out:?}");
    world.network("teardown --name web").ok();
    assert_eq!(world.left(), NOTHING);
}

#[test]
fn a_bridge_of_somebody_else_is_left_as_it_was() {
    needs_networks!();
    let world = World::new();
    let _web = world.member("web", "-p 8080:80");
    for (name, address) in [("br0", "10.5.5.1/24"), ("br1", "10.6.6.1/32"), ("br2", "10.77.0.1/16")]
    {
        world.host.ip(&format!("link add {name} type bridge"));
        world.host.ip(&format!("addr add {address} dev {name}"));
        world.host.ip(&format!("link set {name} up"));
    }
    world.network("create blue --bridge br0").ok();
    let before = (world.left(), world.ruleset());
    for (bridge, wanted) in [
        ("pinnace0", "--bridge: pinnace0 is that of network pinnace"),
        ("br0", "--bridge: br0 is that of network blue"),
        ("br1", "leaves no address for a container"),
        ("br2", "network pinnace has 10.77.0.0/24"),
    ] {
        let out = world.network(&format!("create red --bridge {bridge}"));
        assert!(out.fails().contains(wanted), "{bridge}: {out:?}");
        assert_eq!((world.left(), world.ruleset()), before, "{bridge}");
    }
    // Who guards the host's loopback is gone with the network.
    let switch = "/proc/sys/net/ipv4/conf/br0/route_localnet";
    let is_open = || world.host.within(|| std::fs::read_to_string(switch).unwrap() == "1\n");
    let _db = world.member("db", "blue -p 8081:80");
    assert!(is_open());
    world.network("teardown blue --name db").ok();
    world.network("rm blue").ok();
    assert!(!is_open());
    assert!(world.host.ip("-o link show dev br0").contains("br0"));
}

#[test]
fn what_of_ipv6_cannot_be_had_is_told() {
    needs_networks!();
    let world = World::new();
    world.network("create small --mtu 1200").ok();
    let off = World::namespace();
    off.sysctl("ipv6/conf/default/disable_ipv6", "1");
    let before = (world.left(), world.ruleset());
    for (words, wanted) in [
        ("-p [::1]:8080:80", "the kernel leads nothing from ::1"),
        ("small -p [2001:db8::1]:8080:80", "network small has no IPv6"),
        ("small --ip6 fd77::9", "network small has no IPv6"),
        ("-p [2001:db8::1]:8080:80", "IPv6 is off in the container's network namespace"),
    ] {
        let out = world.connect(&off, "x", words);
        assert!(out.fails().contains(wanted), "{words}: {out:?}");
        assert_eq!(out.stderr.lines().count(), 1, "{words}: {out:?}");
        assert_eq!((world.left(), world.ruleset()), before, "{words}");
    }
    // Without a word it is done without.
    world.connect(&off, "off", "-p 8080:80").ok();
    off.serve(Protocol::Tcp, "0.0.0.0:80");
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_ok());
    assert_eq!(world.addresses("pinnace", "off")[1], "");
}

/// From another namespace all devices are gone, and every lease is dead.
#[test]
fn the_networks_of_another_namespace_are_left_alone() {
    needs_networks!();
    let world = World::new();
    let web = world.member("web", "-p 8080:80");
    web.serve(Protocol::Tcp, "0.0.0.0:80");
    let other = format!("--net={}", world.outside.path().display());
    let program = runtime().path.to_str().unwrap();
    for words in [&["prune"][..], &["reload"], &["ls"], &["create", "x"]] {
        let call = ["/usr/bin/nsenter", &other, program, "network"];
        let out = world.host.program(call.iter().chain(words).copied()).run();
        assert!(out.fails().contains("are of another network namespace (net:["), "{out:?}");
    }
    world.network("reload").ok();
    assert!(world.outside.ask(Protocol::Tcp, &format!("{HOST}:8080")).is_ok());
    // Where there is nothing any more, there is nobody's.
    world.network("teardown --name web").ok();
    let call = ["/usr/bin/nsenter", &other, program, "network", "prune"];
    world.host.program(call).run().ok();
}

#[test]
fn a_sender_is_heard_when_a_port_goes_to_another_network() {
    needs_networks!();
    let world = World::new();
    let sender = world.outside.sender();
    let target = format!("{HOST}:8080").parse().unwrap();
    let time = Duration::from_secs(5);
    let old = world.member("old", "a -p 8080:80/udp");
    old.serve(Protocol::Udp, "0.0.0.0:80");
    assert_eq!(udp(&sender, target, time).unwrap(), OUTSIDE);
    // It dies, and nobody says so.
    old.ip("link del eth0");
    let new = world.member("new", "b -p 8080:80/udp");
    new.serve(Protocol::Udp, "0.0.0.0:80");
    assert_eq!(udp(&sender, target, time).unwrap(), OUTSIDE);
}

#[test]
fn name_files_are_for_every_user_whatever_the_umask_is() {
    needs_networks!();
    let world = World::new();
    let bundle = Bundle::sh("cat /etc/hosts /etc/resolv.conf /etc/hostname");
    let c = bundle.set("/process/user/uid", 1000.into()).container();
    let path = c.bundle.path();
    let words = ["run", "--bundle", path.to_str().unwrap(), "--network", "bridge"];
    let words = [&words[..], &["--dns", "192.0.2.53", &c.id]].concat();
    let by = ["/bin/sh", "-c", "umask 077; exec \"$@\"", "sh"];
    let out = world.under(&by, &c, &words);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stdout.contains("localhost") && out.stdout.contains("192.0.2.53"), "{out:?}");
}

/// `check` looks at the families that the network has.
#[test]
fn a_firewall_of_ipv6_is_nothing_to_a_network_without() {
    needs_networks!();
    needs!(Path::new("/usr/sbin/ip6tables-nft").exists(), "ip6tables-nft");
    let world = World::new();
    world.host.call("/usr/sbin/ip6tables-nft -P FORWARD DROP").run().ok();
    world.network("create small --mtu 1200").ok();
    let out = world.network("create large");
    assert!(out.fails().contains("ip6tables -I FORWARD -i pn-large -j ACCEPT"), "{out:?}");
}

/// What is forwarded waits for an answer to a question that comes from there.
#[test]
fn the_first_packet_of_ipv6_does_not_wait_for_the_bridge() {
    needs_networks!();
    let world = World::new();
    let _web = world.member("web", "");
    let tentative = world.host.ip("-6 addr show dev pinnace0 tentative");
    assert_eq!(tentative, "");
    assert!(world.host.ip("-6 addr show dev pinnace0 scope link").contains("fe80"));
}

/// A bundle that `spec` has connected, and a word on the command line.
#[test]
fn what_is_said_of_the_network_is_instead_of_what_the_bundle_says() {
    needs_networks!();
    let world = World::new();
    let c = Bundle::sh("ip -o link; cat /etc/hosts; echo end; sleep 1000").container();
    let bundle = c.bundle.path();
    let (path, config) = (bundle.to_str().unwrap(), bundle.join("config.json"));
    let was: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    std::fs::remove_file(&config).unwrap();
    let program = runtime().path.to_str().unwrap();
    let words = ["spec", "--bundle", path, "--network", "bridge", "-p", "8080:80"];
    world.host.program([program].into_iter().chain(words)).run().ok();
    let mut spec: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    spec["process"] = was["process"].clone();
    spec["root"] = was["root"].clone();
    std::fs::write(&config, spec.to_string()).unwrap();
    for (options, wanted) in
        [(&["--network", "none"][..], 0), (&["--network", "bridge", "--dns", "192.0.2.53"], 1)]
    {
        let words = [&["run", "--detach", "--bundle", path], options, &[&c.id]].concat();
        let out = world.runtime(&c, &words);
        assert_eq!(out.code, 0, "{options:?}: {out:?}");
        // What the first has said stays.
        let has_ended = || c.stdout().matches("end\n").count() == wanted + 1;
        crate::harness::until("the program runs", has_ended);
        let said = c.stdout();
        assert_eq!(said.matches("eth0").count(), wanted, "{options:?}: {said}");
        assert_eq!(said.contains(&format!(" {}\n", c.id)), wanted == 1, "{options:?}: {said}");
        assert!(!world.ruleset().contains("8080"), "{options:?}");
        let out = world.runtime(&c, &["delete", "--force", &c.id]);
        assert_eq!(out.code, 0, "{options:?}: {out:?}");
        assert_eq!(world.left(), NOTHING);
    }
}
