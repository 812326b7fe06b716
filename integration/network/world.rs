//! A host of its own: a network namespace and a private /run, another namespace that is the
//! world outside, and more that are containers. Nothing of the machine is seen or touched.

use crate::harness::{Call, Container, Output, Running, runtime, wait_for};
use rustix::event::PollFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long one that must not come is waited for.
const IMPATIENCE: Duration = Duration::from_millis(700);

/// A network namespace, held by a process that ends with the test.
pub struct Namespace {
    holder: Running,
    file: File,
}

impl Namespace {
    /// A new one, in which `script` has run.
    fn new(unshare: &[&str], script: &str) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let (out, err) = (File::from(OwnedFd::from(writer)), tempfile::tempfile().unwrap());
        let script = format!("set -e; {script}; echo; exec sleep 1000");
        let call = Call::new("/usr/bin/unshare").args(unshare).args(["/bin/sh", "-c", &script]);
        let holder = call.output_to(out, err.try_clone().unwrap()).spawn();
        assert!(wait_for(&reader, PollFlags::IN), "unshare {unshare:?}");
        let mut said = [0; 1];
        let count = File::from(OwnedFd::from(reader)).read(&mut said).unwrap();
        assert_eq!(count, 1, "{script}");
        let pid = holder.pid().as_raw_pid();
        let file = File::open(format!("/proc/{pid}/ns/net")).unwrap();
        Self { holder, file }
    }

    pub fn pid(&self) -> i32 {
        self.holder.pid().as_raw_pid()
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.pid()).into()
    }

    /// Does something in a thread that is in there: sockets stay where they were made.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(self.file.as_fd(), kind).unwrap();
                act()
            });
            inside.join().unwrap()
        })
    }

    /// A program that runs in there, with the private /run of the host if it has that.
    pub fn call(&self, words: &str) -> Call {
        self.program(words.split(' '))
    }

    pub fn program<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Call {
        let pid = self.pid().to_string();
        Call::new("/usr/bin/nsenter").args(["-t", &pid, "-n", "-m", "--"]).args(words)
    }

    /// `ip`, which must succeed.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        self.call(&format!("/usr/sbin/ip {words}")).run().ok().to_owned()
    }

    /// Sets a switch below /proc/sys/net.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(name);
        self.within(|| std::fs::write(&path, value).unwrap_or_else(|e| panic!("{name}: {e}")));
    }

    /// Serves a port of IPv4 until the test ends: whoever connects is told its own address.
    pub fn serve(&self, protocol: Protocol, address: &str) {
        self.serve_on(protocol, address.parse().unwrap());
    }

    /// The same of IPv6, on all addresses.
    pub fn serve_v6(&self, protocol: Protocol, port: u16) {
        self.serve_on(protocol, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
    }

    fn serve_on(&self, protocol: Protocol, address: SocketAddr) {
        match protocol {
            Protocol::Tcp => {
                let listener = TcpListener::from(self.within(|| bound(protocol, address)));
                std::thread::spawn(move || {
                    for stream in listener.incoming() {
                        let Ok(mut stream) = stream else { return };
                        let peer = stream.peer_addr().map(|peer| peer.ip().to_string());
                        // Who has gone is not told.
                        drop(stream.write_all(peer.unwrap_or_default().as_bytes()));
                    }
                });
            }
            Protocol::Udp => {
                let socket = UdpSocket::from(self.within(|| bound(protocol, address)));
                std::thread::spawn(move || {
                    let mut buffer = [0; 100];
                    while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                        drop(socket.send_to(peer.ip().to_string().as_bytes(), peer));
                    }
                });
            }
        }
    }

    /// Asks a server which address it sees.
    pub fn ask(&self, protocol: Protocol, address: &str) -> Result<IpAddr, String> {
        self.ask_for(protocol, address, TIMEOUT)
    }

    /// Whether nobody answers: refused, or not heard.
    #[track_caller]
    pub fn gets_nothing(&self, protocol: Protocol, address: &str) {
        let answer = self.ask_for(protocol, address, IMPATIENCE);
        assert!(answer.is_err(), "{address} answers {protocol:?}: {answer:?}");
    }

    /// Whether it is refused at once.
    #[track_caller]
    pub fn is_refused(&self, address: &str) {
        let error = self.ask_for(Protocol::Tcp, address, TIMEOUT).unwrap_err();
        assert!(error.contains("refused"), "{address}: {error}");
    }

    fn ask_for(&self, protocol: Protocol, address: &str, time: Duration) -> Result<IpAddr, String> {
        let address: SocketAddr = address.parse().unwrap();
        let text = self.within(|| match protocol {
            Protocol::Tcp => {
                let mut stream = TcpStream::connect_timeout(&address, time)?;
                stream.set_read_timeout(Some(time))?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                Ok(text)
            }
            Protocol::Udp => {
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                udp(&UdpSocket::bind(any)?, address, time)
            }
        });
        let text = text.map_err(|error: std::io::Error| error.to_string())?;
        text.parse().map_err(|_| format!("{text:?}"))
    }

    /// All that a server says of itself.
    #[track_caller]
    pub fn reads(&self, address: &str) -> String {
        let address: SocketAddr = address.parse().unwrap();
        self.within(|| {
            // It may not listen yet, or not again.
            let mut stream = None;
            crate::harness::until("a server listens", || {
                stream = TcpStream::connect_timeout(&address, TIMEOUT).ok();
                stream.is_some()
            });
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
    }

    /// A socket that sends from one port all the time.
    pub fn sender(&self) -> UdpSocket {
        self.within(|| UdpSocket::bind("0.0.0.0:0")).unwrap()
    }
}

/// A socket that takes IPv4 or IPv6, never both.
fn bound(protocol: Protocol, address: SocketAddr) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if protocol == Protocol::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true).unwrap();
    }
    bind(&socket, &address).unwrap_or_else(|e| panic!("{address}: {e}"));
    if protocol == Protocol::Tcp {
        listen(&socket, 16).unwrap();
    }
    socket
}

/// One question and its answer, asked again while none comes.
pub fn udp(socket: &UdpSocket, address: SocketAddr, time: Duration) -> std::io::Result<String> {
    let step = Duration::from_millis(200).min(time);
    socket.set_read_timeout(Some(step))?;
    let mut buffer = [0; 100];
    // An answer that was late is not one to this question.
    socket.set_nonblocking(true)?;
    while socket.recv(&mut buffer).is_ok() {}
    socket.set_nonblocking(false)?;
    let mut result = Err(std::io::ErrorKind::TimedOut.into());
    for _ in 0..(time.as_millis() / step.as_millis()).max(1) {
        socket.send_to(b"?", address)?;
        match socket.recv(&mut buffer) {
            Ok(count) => return Ok(String::from_utf8_lossy(&buffer[..count]).into_owned()),
            Err(error) => result = Err(error),
        }
    }
    result
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

pub const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// The host's own addresses, and those of the world outside.
pub const HOST: &str = "198.51.100.1";
pub const HOST6: &str = "2001:db8::1";
pub const OUTSIDE: &str = "198.51.100.2";
pub const OUTSIDE6: &str = "2001:db8::2";

/// A host with one neighbour.
pub struct World {
    pub host: Namespace,
    pub outside: Namespace,
}

impl World {
    pub fn new() -> Self {
        let world = Self::alone();
        let (host, outside) = (&world.host, &world.outside);
        host.ip(&format!("link add up0 type veth peer name up1 netns {}", outside.pid()));
        for (namespace, device, four, six) in
            [(host, "up0", HOST, HOST6), (outside, "up1", OUTSIDE, OUTSIDE6)]
        {
            namespace.ip(&format!("addr add {four}/24 dev {device}"));
            namespace.ip(&format!("addr add {six}/64 dev {device} nodad"));
            namespace.ip(&format!("link set {device} up"));
        }
        host.ip(&format!("route add default via {OUTSIDE}"));
        host.ip(&format!("-6 route add default via {OUTSIDE6}"));
        world
    }

    /// Without a way between the two.
    pub fn alone() -> Self {
        let private = ["--net", "--mount", "--propagation", "private"];
        let host = "mount -t tmpfs tmpfs /run; /usr/sbin/ip link set lo up";
        let host = Namespace::new(&private, host);
        Self { host, outside: Namespace::new(&["--net"], "/usr/sbin/ip link set lo up") }
    }

    /// `pinnace network WORDS` on that host.
    pub fn network(&self, words: &str) -> Output {
        let program = runtime().path.to_str().unwrap();
        self.host.call(&format!("{program} network {words}")).run()
    }

    /// The runtime itself, on that host.
    pub fn runtime(&self, container: &Container, words: &[&str]) -> Output {
        self.under(&[], container, words)
    }

    /// The same by another program, such as strace(1).
    pub fn under(&self, by: &[&str], container: &Container, words: &[&str]) -> Output {
        let program = runtime().path.to_str().unwrap();
        // Without systemd's bus, which is in the /run that is hidden here.
        let root = container.root();
        let global = ["--root", root.to_str().unwrap()];
        let all = by.iter().copied().chain([program]).chain(global).chain(words.iter().copied());
        let (out, err) = (container.log("stdout"), container.log("stderr"));
        let mut output = self.host.program(all).output_to(out, err).run();
        (output.stdout, output.stderr) = (container.stdout(), container.stderr());
        output
    }

    /// A namespace that is connected to a network.
    #[track_caller]
    pub fn member(&self, name: &str, words: &str) -> Namespace {
        let member = Self::namespace();
        self.connect(&member, name, words).ok();
        member
    }

    /// `network setup` for a namespace.
    pub fn connect(&self, namespace: &Namespace, name: &str, words: &str) -> Output {
        let path = namespace.path();
        let words = format!("setup --netns {} --name {name} {words}", path.display());
        self.network(words.trim())
    }

    /// A new namespace with nothing in it.
    pub fn namespace() -> Namespace {
        Namespace::new(&["--net"], "true")
    }

    /// The document of a network.
    #[track_caller]
    pub fn inspect(&self, network: &str) -> serde_json::Value {
        let out = self.network(&format!("inspect --format json {network}"));
        let mut all: serde_json::Value = serde_json::from_str(out.ok()).unwrap();
        all[0].take()
    }

    /// The addresses of a member.
    #[track_caller]
    pub fn addresses(&self, network: &str, name: &str) -> [String; 2] {
        let document = self.inspect(network);
        let members = document["members"].as_array().unwrap();
        let member = members.iter().find(|member| member["id"] == name).unwrap();
        let address = |at: usize| member["addresses"][at].as_str().unwrap_or_default().to_owned();
        [address(0), address(1)]
    }

    /// The addresses of a network's bridge.
    #[track_caller]
    pub fn gateways(&self, network: &str) -> [String; 2] {
        let document = self.inspect(network);
        let address = |at: usize| document["gateways"][at].as_str().unwrap_or_default().to_owned();
        [address(0), address(1)]
    }

    /// What `nft list` prints of all tables.
    #[track_caller]
    pub fn ruleset(&self) -> String {
        self.host.call("/usr/sbin/nft -s list ruleset").run().ok().to_owned()
    }

    /// Devices, tables and files of ours that are there.
    pub fn left(&self) -> Vec<String> {
        let links = self.host.ip("-o link show");
        let ours = |line: &&str| line.contains(": pn") || line.contains("pinnace");
        let mut left: Vec<_> = links.lines().filter(ours).map(str::to_owned).collect();
        let tables = self.host.call("/usr/sbin/nft list tables").run();
        left.extend(tables.ok().lines().filter(|line| line.contains("pinnace")).map(str::to_owned));
        let files =
            self.host.call("/usr/bin/find /run/pinnace-net -mindepth 1 -not -name .lock").run();
        left.extend(files.stdout.lines().map(str::to_owned));
        left
    }
}
