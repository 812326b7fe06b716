//! Network devices of the host that become the container's.

use crate::harness::{
    Bundle, Call, Container, Output, Running, Value, deviates, json, needs, wait_for,
};
use rustix::event::PollFlags;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

fn ip(args: &str) -> Output {
    Call::new("/usr/sbin/ip").args(args.split(' ')).run()
}

/// A veth device of the host, whose peer stays there: removing that one removes
/// both, wherever the device is by then.
struct Device(String);

impl Device {
    /// `None` on a host without veth devices.
    fn new(addresses: &[&str]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("it-{}-{count}", std::process::id());
        let device = Self(name.clone());
        (ip(&format!("link add {name} type veth peer name {name}p")).code == 0).then_some(())?;
        for address in addresses {
            ip(&format!("addr add {address} dev {name}")).ok();
        }
        Some(device)
    }

    fn name(&self) -> &str {
        &self.0
    }

    fn is_on_host(&self) -> bool {
        Path::new("/sys/class/net").join(&self.0).exists()
    }

    fn addresses(&self) -> String {
        ip(&format!("-o addr show dev {}", self.0)).ok().to_owned()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        ip(&format!("link del {}p", self.0));
    }
}

/// A network namespace that is not a container's, held by a process. (`ip netns`
/// would leave a mount behind.)
struct Namespace(Running);

impl Namespace {
    fn new() -> Self {
        let script = "echo; exec sleep 1000";
        let (reader, writer) = std::io::pipe().unwrap();
        let (out, err) = (File::from(OwnedFd::from(writer)), tempfile::tempfile().unwrap());
        let call = Call::new("/usr/bin/unshare").args(["--net", "/bin/sh", "-c", script]);
        let running = call.output_to(out, err).spawn();
        assert!(wait_for(&reader, PollFlags::IN), "unshare --net");
        Self(running)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.0.pid().as_raw_pid()))
    }

    fn ip(&self, args: &str) -> Output {
        let namespace = format!("--net={}", self.path().display());
        Call::new("/usr/bin/nsenter")
            .args([&*namespace, "/usr/sbin/ip"])
            .args(args.split(' '))
            .run()
    }
}

fn with(script: &str, devices: Value) -> Container {
    Bundle::sh(script).set("/linux/netDevices", devices).container()
}

macro_rules! device {
    ($addresses:expr) => {
        match Device::new($addresses) {
            Some(device) => device,
            None => {
                needs!(false, "veth network devices");
                unreachable!()
            }
        }
    };
}

#[test]
fn r157_permanent_global_addresses_of_both_families_are_kept() {
    deviates!(["runc", "crun"], "R157: newer than these");
    let device = device!(&["10.77.1.2/24", "10.77.1.3/32", "fd77::2/64"]);
    ip(&format!("addr add 10.77.2.1/24 dev {} scope link", device.name())).ok();
    ip(&format!("addr add fd77::9/64 dev {} valid_lft 1000 preferred_lft 500", device.name())).ok();
    let out =
        with(&format!("ip addr show dev {}", device.name()), json!({device.name(): {}})).run();
    let seen = out.ok();
    for kept in ["10.77.1.2/24", "10.77.1.3/32", "fd77::2/64"] {
        assert!(seen.contains(kept), "{kept}: {seen}");
    }
    for dropped in ["10.77.2.1", "fd77::9"] {
        assert!(!seen.contains(dropped), "{dropped}: {seen}");
    }
    assert!(seen.contains("UP"), "{seen}");
    assert!(!device.is_on_host(), "R162: it must not come back");
}

#[test]
fn r157_mtu_and_hardware_address_are_kept() {
    deviates!(["runc", "crun"], "R157: newer than these");
    let device = device!(&[]);
    ip(&format!("link set {} mtu 1234 address 02:00:00:00:00:77", device.name())).ok();
    let out = with("ip link show dev in0", json!({device.name(): {"name": "in0"}})).run();
    assert!(out.ok().contains("mtu 1234") && out.stdout.contains("02:00:00:00:00:77"), "{out:?}");
}

#[test]
fn r158_several_devices_are_renamed() {
    deviates!(["runc", "crun"], "R158: newer than these");
    let (one, two) = (device!(&["10.77.3.1/24"]), device!(&["10.77.4.1/24"]));
    let devices = json!({one.name(): {"name": "a23456789012345"}, two.name(): {"name": "eth0"}});
    let out = with("ip addr show dev a23456789012345; ip addr show dev eth0", devices).run();
    assert!(out.ok().contains("10.77.3.1/24") && out.stdout.contains("10.77.4.1/24"), "{out:?}");
}

#[test]
fn r160_the_kernel_numbers_a_template() {
    deviates!(["runc", "crun"], "R160: the renamed device is not found");
    let (one, two) = (device!(&["10.77.5.1/24"]), device!(&["10.77.6.1/24"]));
    let devices = json!({one.name(): {"name": "eth%d"}, two.name(): {"name": "eth%d"}});
    let out = with("ip addr show dev eth0; ip addr show dev eth1", devices).run();
    assert!(out.ok().contains("10.77.5.1/24") && out.stdout.contains("10.77.6.1/24"), "{out:?}");
    assert_eq!(out.stdout.matches("UP").count(), 2, "{out:?}");
}

/// The names and the index are taken where the device goes.
#[test]
fn r160_a_template_in_a_namespace_that_is_joined() {
    deviates!(["runc", "crun"], "R160: the renamed device is not found");
    let device = device!(&["10.77.7.1/24"]);
    let namespace = Namespace::new();
    let index = std::fs::read_to_string(format!("/sys/class/net/{}/ifindex", device.name()));
    let index = index.unwrap();
    namespace.ip(&format!("link add eth0 index {} type veth peer name p0", index.trim())).ok();
    let c = Bundle::sh("ip addr show dev eth1")
        .namespace("network", namespace.path().to_str())
        .set("/linux/netDevices", json!({device.name(): {"name": "eth%d"}}))
        .container();
    let out = c.run();
    assert!(out.ok().contains("10.77.7.1/24"), "{out:?}");
    // R162: the namespace is not the container's, and the device stays in it.
    assert!(!device.is_on_host());
    assert!(namespace.ip("addr show dev eth1").ok().contains("10.77.7.1/24"));
}

#[test]
fn r159_r302_a_name_that_is_taken_is_an_error_and_nothing_has_moved() {
    deviates!(["runc", "crun"], "R159: newer than these");
    let (first, device) = (device!(&["10.77.9.1/24"]), device!(&["10.77.8.1/24", "fd78::1/64"]));
    ip(&format!("link set {} up", first.name())).ok();
    let namespace = Namespace::new();
    namespace.ip("link add taken type veth peer name p0").ok();
    let c = Bundle::sh("true")
        .namespace("network", namespace.path().to_str())
        .set("/linux/netDevices", json!({first.name(): {}, device.name(): {"name": "taken"}}))
        .container();
    let out = c.create();
    let field = format!("linux.netDevices.{}", device.name());
    assert!(out.fails().contains(&field) && out.stderr.contains("taken"), "{out:?}");
    // The one before it had moved: it is back, up, with its address.
    assert!(device.is_on_host() && device.addresses().contains("10.77.8.1/24"));
    assert!(first.addresses().contains("10.77.9.1/24"), "{}", first.addresses());
    assert!(ip(&format!("link show dev {}", first.name())).ok().contains(",UP"));
    c.call(["state", &c.id]).run().is_unknown();
}

/// A create that fails later gives the devices back, too.
#[test]
fn r302_a_failed_create_gives_the_device_back() {
    deviates!(["runc", "crun"], "newer than these");
    let device = device!(&["10.77.10.1/24", "fd79::1/64"]);
    let c = Bundle::new(["/no/such/program"])
        .set("/linux/netDevices", json!({device.name(): {"name": "inside"}}))
        .container();
    c.create().fails();
    assert!(device.is_on_host(), "{}", ip("link").stdout);
    let seen = device.addresses();
    assert!(seen.contains("10.77.10.1/24") && seen.contains("fd79::1/64"), "{seen}");
}

#[test]
fn r157_with_a_user_namespace() {
    deviates!(["runc", "crun"], "R157: newer than these");
    let device = device!(&["10.77.11.1/24"]);
    let out = Bundle::sh("ip addr show dev inside")
        .user_namespace()
        .set("/linux/netDevices", json!({device.name(): {"name": "inside"}}))
        .run();
    assert!(out.ok().contains("10.77.11.1/24"), "{out:?}");
}

/// "The runtime MUST NOT attempt to move the interface out of the namespace
/// before deletion": in a namespace that outlives the container it stays as it
/// was, whoever deletes the container and how.
#[test]
fn r162_delete_leaves_the_device_where_it_is() {
    deviates!(["runc", "crun"], "R162: newer than these");
    for force in [false, true] {
        let device = device!(&["10.77.13.1/24"]);
        let namespace = Namespace::new();
        let c = Bundle::sleeper()
            .namespace("network", namespace.path().to_str())
            .set("/linux/netDevices", json!({device.name(): {"name": "kept"}}))
            .container()
            .up();
        if force {
            c.call(["delete", "--force", &c.id]).run().ok();
        } else {
            c.stop();
            c.delete().ok();
        }
        let seen = namespace.ip("addr show dev kept");
        assert!(seen.ok().contains("10.77.13.1/24") && seen.stdout.contains("UP"), "{seen:?}");
        assert!(!device.is_on_host());
    }
}

/// What a hook of createRuntime finds, and the program.
#[test]
fn r157_the_device_is_there_before_the_hooks() {
    deviates!(["runc", "crun"], "R157: newer than these");
    let device = device!(&["10.77.12.1/24"]);
    let bundle = Bundle::sh("ip addr show dev inside");
    let script = "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); \
                  nsenter -t $pid -n ip addr add 10.77.12.2/24 dev inside";
    let hook = bundle.script("hook", script);
    let out = bundle
        .set("/linux/netDevices", json!({device.name(): {"name": "inside"}}))
        .set(
            "/hooks/createRuntime",
            json!([{"path": hook, "env": ["PATH=/usr/sbin:/usr/bin:/bin"]}]),
        )
        .run();
    assert!(out.ok().contains("10.77.12.1/24") && out.stdout.contains("10.77.12.2/24"), "{out:?}");
}

#[test]
fn r302_a_device_that_cannot_be_moved() {
    deviates!(["runc", "crun"], "newer than these");
    let name = format!("br{}", std::process::id());
    needs!(ip(&format!("link add {name} type bridge")).code == 0, "bridges");
    let out = with("true", json!({name.as_str(): {}})).create();
    ip(&format!("link del {name}")).ok();
    assert!(out.fails().contains(&format!("linux.netDevices.{name}: move")), "{out:?}");
}

#[test]
fn r157_r161_bad_devices_are_refused() {
    deviates!(["runc", "crun"], "R161: not checked");
    for (devices, words) in [
        (json!({"nosuchdev0": {}}), "linux.netDevices.nosuchdev0: the host has no such"),
        (json!({"lo": {}}), "linux.netDevices.lo"),
        (json!({"lo": {"name": "x"}}), "linux.netDevices.lo: a loopback"),
        (json!({"": {}}), "linux.netDevices"),
        (json!({"x": {"name": "a234567890123456"}}), "linux.netDevices.x.name"),
        (json!({"a234567890123456": {}}), "linux.netDevices"),
        (json!({"x": {"name": "a/b"}}), "linux.netDevices.x.name"),
        (json!({"x": {"name": "a b"}}), "linux.netDevices.x.name"),
        (json!({"x": {"name": "."}}), "linux.netDevices.x.name"),
        (json!({"x": {"name": "%d%d"}}), "linux.netDevices.x.name"),
        (json!({"x": {"name": "a%s"}}), "linux.netDevices.x.name"),
        (json!({"x": {"name": "e0"}, "y": {"name": "e0"}}), "linux.netDevices.y.name"),
        (json!({"x": {"name": "y"}, "y": {}}), "linux.netDevices.y.name"),
    ] {
        let c = with("true", devices.clone());
        let out = c.create();
        assert!(out.fails().contains(words), "{devices}: {words}: {out:?}");
        assert!(!c.root().join(&c.id).exists());
    }
}

/// What `ip` inside of a container's network namespace says of a device.
fn inside(c: &Container, args: &str) -> String {
    let namespace = format!("--net=/proc/{}/ns/net", c.pid().as_raw_pid());
    let call = Call::new("/usr/bin/nsenter").args([&*namespace, "/usr/sbin/ip"]);
    call.args(args.split(' ')).run().ok().to_owned()
}

/// All that belongs to a device and to its addresses goes with it.
#[test]
fn r157_what_a_device_is_called_and_how_its_addresses_are_meant_is_kept() {
    deviates!(["runc", "crun"], "R157: newer than these");
    let device = device!(&[
        "10.77.20.1 peer 10.77.20.2",
        "10.77.21.1/24 broadcast 10.77.21.77",
        "10.77.22.1/24 metric 5 noprefixroute",
    ]);
    ip(&format!("link set {} alias boat group 7 txqueuelen 777", device.name())).ok();
    let c = Bundle::sleeper().set("/linux/netDevices", json!({device.name(): {"name": "in0"}}));
    let c = c.container().up();
    let link = inside(&c, "-d link show dev in0");
    for words in ["alias boat", "group 7 ", "qlen 777"] {
        assert!(link.contains(words), "{words}: {link}");
    }
    let addresses = inside(&c, "-o addr show dev in0");
    for words in [
        "10.77.20.1 peer 10.77.20.2/32",
        "10.77.21.1/24 brd 10.77.21.77",
        "10.77.22.1/24 metric 5",
        "noprefixroute",
    ] {
        assert!(addresses.contains(words), "{words}: {addresses}");
    }
}

/// More than one message of netlink(7) holds.
#[test]
fn r157_a_thousand_addresses() {
    deviates!(["runc", "crun"], "R157: newer than these");
    let device = device!(&[]);
    let batch: String = (0..1000)
        .map(|n| format!("addr add 10.78.{}.{}/32 dev {}\n", n / 250, n % 250 + 1, device.name()))
        .collect();
    Call::new("/usr/sbin/ip").args(["-batch", "-"]).stdin(&batch).run().ok();
    let c = Bundle::sleeper().set("/linux/netDevices", json!({device.name(): {"name": "in0"}}));
    let c = c.container().up();
    assert_eq!(inside(&c, "-4 -o addr show dev in0").lines().count(), 1000);
}

/// A list that has changed while it was read is read again: engines make devices all the time.
#[test]
fn r157_while_addresses_of_others_come_and_go() {
    deviates!(["runc", "crun"], "R157: newer than these");
    let other = device!(&[]);
    let script = |verb: &str| -> String {
        let line =
            |n| format!("addr {verb} 10.79.{}.{}/32 dev {}\n", n / 250, n % 250 + 1, other.name());
        (0..1000).map(line).collect()
    };
    let both = script("add") + &script("del");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                Call::new("/usr/sbin/ip").args(["-batch", "-"]).stdin(&both).run().ok();
            }
        });
        for n in 0..10 {
            let device = device!(&["10.77.26.1/24"]);
            let out = with("ip addr show dev in0", json!({device.name(): {"name": "in0"}})).run();
            stop.fetch_or(out.code != 0 || n == 9, Ordering::Relaxed);
            assert!(out.ok().contains("10.77.26.1/24"), "{out:?}");
        }
    });
}

#[test]
fn r158_names_may_be_swapped() {
    deviates!(["runc", "crun"], "R158: newer than these");
    let (one, two) = (device!(&["10.77.23.1/24"]), device!(&["10.77.24.1/24"]));
    let devices = json!({one.name(): {"name": two.name()}, two.name(): {"name": one.name()}});
    let c = Bundle::sleeper().set("/linux/netDevices", devices).container().up();
    for (device, address) in [(&one, "10.77.24.1/24"), (&two, "10.77.23.1/24")] {
        let seen = inside(&c, &format!("addr show dev {}", device.name()));
        assert!(seen.contains(address), "{seen}");
    }
}

/// 15 bytes are the most (IFNAMSIZ), before the kernel has put its number in.
#[test]
fn r160_a_template_as_long_as_a_name_may_be() {
    deviates!(["runc", "crun"], "R160: the renamed device is not found");
    let device = device!(&["10.77.25.1/24"]);
    let devices = json!({device.name(): {"name": "a234567890123%d"}});
    let out = with("ip addr show dev a2345678901230", devices).run();
    assert!(out.ok().contains("10.77.25.1/24"), "{out:?}");
}

#[test]
fn r157_needs_a_network_namespace_of_its_own() {
    deviates!(["runc", "crun"], "R157: newer than these");
    let device = device!(&[]);
    let devices = json!({device.name(): {}});
    let bundle = Bundle::sh("true").without_namespace("network");
    let out = bundle.set("/linux/netDevices", devices.clone()).container().create();
    out.fails_with(&["linux.netDevices: needs a network namespace"]);
    let bundle = Bundle::sh("true").namespace("network", Some("/proc/self/ns/net"));
    let out = bundle.set("/linux/netDevices", devices).container().create();
    out.fails_with(&["linux.netDevices: the network namespace is the runtime's own"]);
    assert!(device.is_on_host());
}
