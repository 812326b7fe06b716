//! What a container may tell the supervisor of the runtime, and who may tell it.

use crate::harness::{Bundle, Container, Running, deviates, exits, json};
use rustix::fs::Mode;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A supervisor and a container that it has had started.
struct Service {
    supervisor: UnixDatagram,
    c: Container,
    run: Running,
}

impl Service {
    fn new(bundle: Bundle) -> Self {
        let path = bundle.dir().join("supervisor.sock");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        supervisor.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let c = bundle.container();
        let bundle = c.bundle.path();
        let run = c
            .call(["run", "--bundle", bundle.to_str().unwrap(), &c.id])
            .env("NOTIFY_SOCKET", path.to_str().unwrap())
            .spawn();
        c.wait_ready();
        Self { supervisor, c, run }
    }

    /// The container's socket, through init's root.
    fn socket(&self) -> UnixDatagram {
        let through = format!("/proc/{}/root/run/notify/notify.sock", self.c.pid().as_raw_pid());
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(through).unwrap();
        socket
    }

    /// The next message to the supervisor, with its descriptors.
    fn next(&self) -> (String, Vec<OwnedFd>) {
        let mut buffer = [0; 8192];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            &self.supervisor,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .expect("nothing came");
        let fds = control
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        (String::from_utf8_lossy(&buffer[..got.bytes]).into_owned(), fds)
    }

    fn end(self) {
        self.c.stop();
        assert_eq!(self.run.wait().code, 137);
    }
}

fn server() -> Bundle {
    for_everybody(Bundle::sh("echo > /ready; sleep 1000"))
}

/// Whoever its user is may say that it is ready.
fn for_everybody(bundle: Bundle) -> Bundle {
    set_mode(&bundle.rootfs("ready"), 0o666);
    bundle
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn send(socket: &UnixDatagram, text: &str, fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty()).unwrap();
}

/// A8: they were passed on with root's credentials.
#[test]
fn a_container_speaks_of_itself_and_of_nothing_else() {
    deviates!("crun", "R342: its path on the host is seen");
    let service = Service::new(server());
    let socket = service.socket();
    let file = fs::File::open("/dev/null").unwrap();
    let long = format!("STATUS={}", "x".repeat(5000));
    for text in [
        "WATCHDOG=trigger",
        "STOPPING=1",
        "NOTIFYACCESS=all",
        "MAINPID=1",
        "EXTEND_TIMEOUT_USEC=999999999",
        "WATCHDOG_USEC=1",
        "FDSTOREREMOVE=1\nFDNAME=x",
        "RELOADING=1\nMONOTONIC_USEC=1",
        long.as_str(),
        "\0\n=\n\n=1",
    ] {
        send(&socket, text, &[]);
        send(&socket, text, &[file.as_fd()]);
    }
    send(&socket, "FDSTORE=1", &[file.as_fd(), file.as_fd()]);
    send(&socket, "READY=1\nSTOPPING=1\nFDSTORE=1\nMAINPID=1\n", &[file.as_fd()]);
    let (text, fds) = service.next();
    let main = format!("MAINPID={}", service.c.pid().as_raw_pid());
    assert!(text.contains("READY=1") && !text.contains("STOPPING"), "{text:?}");
    assert!(text.lines().filter(|line| line.starts_with("MAINPID")).eq([&*main]), "{text:?}");
    assert!(fds.is_empty(), "{text:?} came with descriptors");
    deviates!("runc", "it hears no more after READY=1");
    send(&socket, "STATUS=still here\nNOTIFYACCESS=all\nWATCHDOG=1", &[]);
    assert_eq!(service.next().0, "STATUS=still here\nWATCHDOG=1");
    service.end();
}

/// A8: `sd_notify_barrier(3)` works, and nothing of the container's is handed out.
#[test]
fn a_barrier_is_held_until_the_supervisor_has_passed_it() {
    deviates!(["runc", "crun"], "they pass no barrier on");
    let service = Service::new(server());
    let socket = service.socket();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    send(&socket, "STATUS=before", &[]);
    send(&socket, "BARRIER=1", &[writer.as_fd()]);
    send(&socket, "STATUS=after", &[]);
    drop(writer);
    assert_eq!(service.next().0, "STATUS=before");
    let (text, fds) = service.next();
    assert_eq!((text.as_str(), fds.len()), ("BARRIER=1", 1));
    let ino = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).unwrap().st_ino;
    assert_ne!(ino(fds[0].as_fd()), ino(reader.as_fd()), "a pipe of the runtime");
    let hung_up = || {
        let mut fds = [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        rustix::event::poll(&mut fds, Some(&now)).unwrap() == 1
    };
    assert!(!hung_up(), "it still has it");
    drop(fds);
    assert!(crate::harness::wait_for(&reader, rustix::event::PollFlags::IN), "it was passed");
    assert_eq!(service.next().0, "STATUS=after");
    // More than a barrier is none.
    send(&socket, "BARRIER=1\nFDSTORE=1", &[reader.as_fd()]);
    send(&socket, "STATUS=end", &[]);
    let (text, fds) = service.next();
    assert_eq!((text.as_str(), fds.len()), ("STATUS=end", 0));
    service.end();
}

/// "the notify relay blocks sending"
#[test]
fn a_supervisor_that_takes_nothing_does_not_hang_the_runtime() {
    deviates!(["runc", "crun"], "they pass on READY=1 alone");
    let service = Service::new(server());
    let socket = service.socket();
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut sent = 0;
    while socket.send(b"STATUS=again").is_ok() && sent < 2000 {
        sent += 1;
    }
    assert!(sent > 1, "both queues are full");
    service.c.stop();
    assert_eq!(service.run.wait().code, 137);
}

/// A8: from the host only root comes to it, whatever the umask; inside every user does.
#[test]
fn the_socket_is_the_containers_alone() {
    deviates!(["runc", "crun"], "other paths");
    for umask in ["0", "077"] {
        let bundle =
            Bundle::sh("[ -w \"$NOTIFY_SOCKET\" ] && echo yes > /tmp/w; echo > /ready; sleep 1000")
                .set("/process/user/uid", json!(1000));
        let bundle = for_everybody(bundle);
        let path = bundle.dir().join("supervisor.sock");
        let _supervisor = UnixDatagram::bind(&path).unwrap();
        let c = bundle.container();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let run = crate::harness::Call::new("/bin/sh")
            .args(["-c", &script])
            .args([crate::harness::runtime().path.as_os_str()])
            .args(c.global())
            .args(["run", "--bundle", c.bundle.path().to_str().unwrap(), &c.id])
            .env("NOTIFY_SOCKET", path.to_str().unwrap())
            .spawn();
        c.wait_ready();
        let own = c.root().join(&c.id);
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700, "umask {umask}");
        assert!(c.bundle.rootfs("tmp/w").exists(), "umask {umask}: not for the container's user");
        c.stop();
        run.wait();
    }
}

/// CVE-2025-24965, by its kind: what the runtime writes where an image has a link.
#[test]
fn the_notify_socket_is_not_made_behind_a_link_of_the_image() {
    for link in ["run", "run/notify", "run/notify/notify.sock"] {
        let bundle = server();
        let decoy = bundle.dir().join("decoy");
        fs::create_dir_all(decoy.join("notify")).unwrap();
        set_mode(&decoy, 0o700);
        let at = bundle.rootfs(link);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(&decoy, &at).unwrap();
        let path = bundle.dir().join("supervisor.sock");
        let _supervisor = UnixDatagram::bind(&path).unwrap();
        let c = bundle.container();
        let create =
            ["create", "--bundle", c.bundle.path().to_str().unwrap(), &c.id].map(str::to_owned);
        let [a, b, d, e] = &create;
        c.call([a, b, d, e])
            .env("NOTIFY_SOCKET", path.to_str().unwrap())
            .output_to(c.log("stdout"), c.log("stderr"))
            .run();
        assert_eq!(fs::read_dir(&decoy).unwrap().count(), 1, "{link}");
        assert_eq!(fs::read_dir(decoy.join("notify")).unwrap().count(), 0, "{link}");
        assert_eq!(fs::metadata(&decoy).unwrap().mode() & 0o777, 0o700, "{link}");
    }
}

/// CVE-2025-24965, by its kind: what the container could put into the directory before
/// `start` makes the socket there.
fn container_changes_nothing(bundle: Bundle) {
    let decoy = bundle.dir().join("decoy");
    fs::write(&decoy, "untouched").unwrap();
    set_mode(&decoy, 0o600);
    let path = bundle.dir().join("supervisor.sock");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    let c = bundle.container();
    let bundle = c.bundle.path();
    let supervised = |args: &[&str]| {
        let call = c.call([]).args(args).env("NOTIFY_SOCKET", path.to_str().unwrap());
        call.output_to(c.log("stdout"), c.log("stderr"))
    };
    supervised(&["create", "--bundle", bundle.to_str().unwrap(), &c.id]).run().ok();
    let script = format!(
        "cd /run/notify || exit 9; mount -o remount,bind,rw /run/notify; ln -s {} notify.sock; \
         touch x; mkdir y; umount -l /run/notify; chmod 777 .; mv /run/notify /run/old; true",
        decoy.display()
    );
    let own: PathBuf = c.root().join(&c.id).join("notify");
    c.exec(["sh", "-c", &script]);
    assert_eq!(fs::read_dir(&own).unwrap().count(), 0, "the container has written into it");
    let start = supervised(&["start", &c.id]).spawn();
    c.wait_ready();
    assert_eq!(fs::read_to_string(&decoy).unwrap(), "untouched");
    assert_eq!(fs::metadata(&decoy).unwrap().mode() & 0o777, 0o600);
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(b"READY=1", own.join("notify.sock")).unwrap();
    let mut buffer = [0; 100];
    assert!(supervisor.recv(&mut buffer).unwrap() > 0);
    start.wait().ok();
}

#[test]
fn a_container_cannot_replace_the_notify_socket() {
    deviates!(["runc", "crun"], "other paths");
    container_changes_nothing(server());
    container_changes_nothing(server().user_namespace().capability("CAP_SYS_ADMIN"));
}

/// A privileged one can, and does what it likes; yet the host's files stay, and it can
/// be deleted.
#[test]
fn what_a_privileged_container_puts_there_is_removed_and_not_followed() {
    deviates!(["runc", "crun"], "other paths");
    let bundle = server().capability("CAP_SYS_ADMIN");
    let decoy = bundle.dir().join("decoy");
    fs::create_dir(&decoy).unwrap();
    fs::write(decoy.join("decoy"), "untouched").unwrap();
    let path = bundle.dir().join("supervisor.sock");
    let _supervisor = UnixDatagram::bind(&path).unwrap();
    let c = bundle.container();
    let bundle = c.bundle.path();
    let supervised = |args: &[&str]| {
        let call = c.call([]).args(args).env("NOTIFY_SOCKET", path.to_str().unwrap());
        call.output_to(c.log("stdout"), c.log("stderr"))
    };
    supervised(&["create", "--bundle", bundle.to_str().unwrap(), &c.id]).run().ok();
    let name = "$(printf 'a\\377b')";
    let script = format!(
        "mount -o remount,bind,rw /run/notify && cd /run/notify && ln -s {0}/decoy notify.sock && \
         ln -s {0} link && touch {name} && mkdir -p {name}x/y/z && ln -s {0} {name}x/y/link && \
         n=0; while [ $n -lt 1200 ]; do mkdir d && cd d || exit 8; n=$((n+1)); done; echo done",
        decoy.display()
    );
    let out = c.exec(["sh", "-c", &script]);
    assert_eq!(out.ok(), "done\n", "{out:?}");
    supervised(&["start", &c.id]).run().fails_with(&["NOTIFY_SOCKET"]);
    let pid = c.pid();
    c.call(["delete", "--force", &c.id]).run().ok();
    assert!(exits(pid));
    assert_eq!(fs::read_dir(&decoy).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(decoy.join("decoy")).unwrap(), "untouched");
    let mode = fs::metadata(decoy.join("decoy")).unwrap().mode();
    assert_eq!(Mode::from_raw_mode(mode) & Mode::RWXO, Mode::ROTH, "nor has its mode changed");
}
