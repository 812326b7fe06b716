//! What goes over the bus to systemd: how much, and what happens if it is not
//! answered, or if systemd does something by itself.

use crate::harness::{Bundle, Call, Container, deviates, exits, is_pinnace, json, needs, runtime};
use crate::systemd::{create, here, show, unit};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A socket in front of the system's bus that counts the messages sent to it.
struct Counter {
    address: String,
    count: Arc<AtomicUsize>,
}

impl Counter {
    fn new(dir: &Path) -> Self {
        let path = dir.join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                pass_on(client.unwrap(), &counted);
            }
        });
        Self { address: format!("unix:path={}", path.display()), count }
    }

    /// Messages since the last time.
    fn take(&self) -> usize {
        self.count.swap(0, Ordering::SeqCst)
    }
}

/// One conversation. A message is counted before it is passed on, so before
/// anybody can have the answer.
fn pass_on(mut client: UnixStream, count: &AtomicUsize) {
    let mut bus = UnixStream::connect("/run/dbus/system_bus_socket").unwrap();
    let (mut answers, mut back) = (bus.try_clone().unwrap(), client.try_clone().unwrap());
    let answering = std::thread::spawn(move || std::io::copy(&mut answers, &mut back).ok());
    let (mut seen, mut greeted) = (Vec::new(), false);
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..length]);
        if let Some(at) = seen.windows(7).position(|part| part == b"BEGIN\r\n" && !greeted) {
            seen.drain(..at + 7);
            greeted = true;
        }
        while greeted && message(&seen).is_some_and(|length| length <= seen.len()) {
            seen.drain(..message(&seen).unwrap());
            count.fetch_add(1, Ordering::SeqCst);
        }
        bus.write_all(&buffer[..length]).unwrap();
    }
    bus.shutdown(std::net::Shutdown::Both).unwrap();
    answering.join().unwrap();
}

/// Length of the message that begins here (D-Bus Specification, "Message Format").
fn message(bytes: &[u8]) -> Option<usize> {
    let number =
        |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().unwrap()) as usize);
    Some((16 + number(12)?).next_multiple_of(8) + number(4)?)
}

#[test]
fn r207_r447_eight_messages_in_a_life() {
    needs!(here(), "systemd with cgroup v2");
    deviates!(["runc", "crun"], "R207: no such promise");
    let limits = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 33}});
    let (c, _) = unit(Bundle::sleeper().set("/linux/resources", limits));
    let bus = Counter::new(c.bundle.dir());
    let call = |args: &[&str]| {
        let call = c.call(["--systemd-cgroup"]).args(args);
        let call = call.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
        call.output_to(c.log("stdout"), c.log("stderr")).run().ok();
    };
    let id = c.id.as_str();
    call(&["create", "--bundle", c.bundle.path().to_str().unwrap(), id]);
    let made = bus.take();
    for args in [
        &["start", id][..],
        &["exec", id, "true"],
        &["pause", id],
        &["resume", id],
        &["state", id],
        &["events", "--stats", id],
        &["ps", id],
    ] {
        call(args);
        assert_eq!(bus.take(), 0, "{args:?}");
    }
    call(&["delete", "--force", id]);
    let ended = bus.take();
    // Two if the unit has ended by itself before it is asked about.
    assert!(made == 3 && [2, 5].contains(&ended), "{made} to begin, {ended} to end");
}

#[test]
fn r207_a_bus_that_hangs() {
    needs!(here(), "systemd with cgroup v2");
    deviates!(["runc", "crun"], "R207: they wait for ever");
    let (c, _) = unit(Bundle::sleeper());
    let path = c.bundle.dir().join("bus");
    // The kernel connects; nobody ever accepts, reads or writes.
    let _silent = UnixListener::bind(&path).unwrap();
    let bundle = c.bundle.path();
    let call = c.call(["--systemd-cgroup", "create", "--bundle", bundle.to_str().unwrap(), &c.id]);
    let out = call.env("DBUS_SYSTEM_BUS_ADDRESS", &format!("unix:path={}", path.display())).run();
    out.fails_with(&["--systemd-cgroup: systemd has not answered within"]);
    assert!(!c.root().join(&c.id).exists());
}

#[test]
fn r207_a_unit_that_is_stopped_behind_our_back() {
    needs!(here(), "systemd with cgroup v2");
    let (c, name) = unit(Bundle::server());
    create(&c).ok();
    c.start().ok();
    c.wait_ready();
    Call::new("systemctl").args(["stop", &name]).run().ok();
    assert_eq!(c.status(), "stopped");
    c.exec(["true"]).fails();
    c.delete().ok();
    assert_eq!(show(&name, "LoadState"), "not-found");
}

/// A scope whose process the kernel has killed has failed; failed ones must not
/// pile up, nor keep their name.
#[test]
fn r207_nothing_stays_of_a_unit_that_ran_out_of_memory() {
    needs!(here(), "systemd with cgroup v2");
    let script = "exec dd if=/dev/zero of=/dev/null bs=64M";
    let limits = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
    let bundle = Bundle::sh(script).set("/linux/resources", limits);
    // A newer systemd lets a scope go on by itself (systemd.scope(5), "OOMPolicy=").
    let (c, name) =
        unit(bundle.set("/annotations/org.systemd.property.OOMPolicy", json!("'stop'")));
    for _ in 0..2 {
        create(&c).ok();
        c.start_and_wait();
        c.delete().ok();
        assert_eq!(show(&name, "LoadState"), "not-found");
    }
}

/// systemd cannot be made to forget, so it hears of a change when nothing else
/// can fail any more.
#[test]
fn r207_r392_an_update_that_cannot_be_kept_is_not_told() {
    needs!(here(), "systemd with cgroup v2");
    deviates!(["runc", "crun"], "R392: what came before the failure stays");
    let limits = json!({"memory": {"limit": 64 << 20}});
    let (c, name) = unit(Bundle::sleeper().set("/linux/resources", limits));
    let root = SmallDisk::new(&c);
    create(&c).ok();
    root.fill();
    let out = c.call(["update", "--memory", "32m", &c.id]).run();
    root.empty();
    out.fails_with(&["No space left"]);
    assert_eq!(show(&name, "MemoryMax"), (64 << 20).to_string());
    assert_eq!(c.cgroup_value("", "memory.max"), (64 << 20).to_string());
    c.call(["update", "--memory", "32m", &c.id]).run().ok();
    assert_eq!(show(&name, "MemoryMax"), (32 << 20).to_string());
    c.call(["delete", "--force", &c.id]).run().ok();
}

/// A state root with little space; unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn new(c: &Container) -> Self {
        let root = c.root();
        std::fs::create_dir_all(&root).unwrap();
        let place = root.to_str().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", place];
        Call::new("/usr/bin/mount").args(mount).run().ok();
        Self(root)
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[1; 512]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Call::new("/usr/bin/umount").args(["--lazy", self.0.to_str().unwrap()]).run().ok();
    }
}

/// The kernel tells systemd of an empty cgroup at most once in 10 ms: until then its unit is there,
/// which the next container's creation finds.
#[test]
fn r207_the_name_of_a_container_that_has_just_ended_is_free() {
    needs!(here(), "systemd with cgroup v2");
    let (first, _) = unit(Bundle::new(["true"]));
    let path = json!(format!("system.slice:it:{}", first.id));
    for _ in 0..10 {
        let c = Bundle::new(["true"]).set("/linux/cgroupsPath", path.clone()).container();
        create(&c).ok();
        c.start_and_wait();
        let next = Bundle::sleeper().set("/linux/cgroupsPath", path.clone()).container();
        create(&next).ok();
        assert_eq!(next.status(), "created");
        c.delete().ok();
        assert_eq!(next.status(), "created");
        next.call(["delete", "--force", &next.id]).run().ok();
    }
}

/// A unit goes by itself once its processes have ended, and another container's may have its name
/// before who deletes the first one asks systemd to end it.
#[test]
fn r207_a_delete_leaves_the_next_container_of_that_name_alone() {
    needs!(here(), "systemd with cgroup v2");
    needs!(Path::new("/usr/bin/strace").exists(), "strace");
    deviates!(["runc", "crun"], "they know a unit by its name");
    let (first, name) = unit(Bundle::sleeper());
    let path = json!(format!("system.slice:it:{}", first.id));
    let next = Bundle::sleeper().set("/linux/cgroupsPath", path).container();
    create(&first).ok();
    let pid = first.pid();
    let slow = Call::new("/usr/bin/strace")
        .args(["-o", "/dev/null", "-e", "trace=connect"])
        .args(["-e", "inject=connect:delay_enter=1000000"])
        .args([&runtime().path])
        .args(first.global())
        .args(["delete", "--force", &first.id]);
    std::thread::scope(|scope| {
        let deleted = scope.spawn(|| slow.run());
        assert!(exits(pid), "it is not killed");
        create(&next).ok();
        deleted.join().unwrap().ok();
    });
    assert_eq!(next.status(), "created");
    next.start().ok();
    assert_eq!(show(&name, "ActiveState"), "active");
    next.exec(["true"]).ok();
}

#[test]
fn r207_a_name_that_is_taken_is_told() {
    needs!(here(), "systemd with cgroup v2");
    let (first, name) = unit(Bundle::sleeper());
    create(&first).ok();
    let path = format!("system.slice:it:{}", first.id);
    let second = Bundle::sleeper().set("/linux/cgroupsPath", json!(path)).container();
    let out = create(&second);
    out.fails();
    if is_pinnace() {
        out.fails_with(&[&format!("{name} is in use")]);
    }
    assert!(!second.root().join(&second.id).exists());
    second.call(["delete", "--force", &second.id]).run().ok();
    assert_eq!(first.status(), "created");
    assert_eq!(show(&name, "ActiveState"), "active");
}
