//! What is on disk, in /run/pinnace-net: a directory a network with its record, and a file a
//! container, named by its address. The truth is the kernel's: a lease lives as long as the
//! device on the host's side, or as long as whoever makes it holds its lock. What is dead may
//! be taken over by anybody.
//!
//! A record is lines of a word and a value: read and written in no time, and by people.

use super::links;
use super::netlink::Socket;
use crate::error::{Context, Error, Result};
use crate::plan::network::{Publish, Subnet, mac_text, parse_mac};
use crate::sys::file;
use crate::sys::lock::lock_exclusive;
use rustix::fs::{
    FlockOperation, Mode, OFlags, flock, ftruncate, mkdir, open, readlink, rename, rmdir, unlink,
};
use rustix::io::{Errno, pread, pwrite};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Where all of it is.
const ROOT: &str = "/run/pinnace-net";
/// How long a command waits for another one, in seconds.
const LOCK_TIMEOUT: u32 = 30;
/// The file in a network's directory that is no lease.
const RECORD: &str = "network";

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The device.
    pub bridge: String,
    /// Of IPv4, and of IPv6 if the host has that.
    pub subnets: Vec<Subnet>,
    /// The bridge's own address in each.
    pub gateways: Vec<IpAddr>,
    /// Largest packet.
    pub mtu: u32,
    /// Whether it stays when its last container goes: it was made by `network create`.
    pub kept: bool,
    /// Whether the bridge is somebody else's, and only used.
    pub adopted: bool,
    /// Whether rules were put into another firewall.
    pub inserted: bool,
    /// Whether `route_localnet` of a bridge that is somebody else's was switched on.
    pub opened: bool,
    /// Switches of the whole host that were switched on for it, and stay on.
    pub switched: Vec<String>,
}

/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The container.
    pub id: String,
    /// What tells two of that id apart.
    pub key: String,
    /// Its addresses, one a subnet.
    pub addresses: Vec<IpAddr>,
    /// The device on the host's side; no other ever has its name.
    pub device: String,
    /// The bundle, for messages.
    pub bundle: String,
    /// Published ports.
    pub ports: Vec<Publish>,
    /// Where its name files are.
    pub files: Option<PathBuf>,
    /// Its hardware address, if it was chosen.
    pub mac: Option<[u8; 6]>,
    /// Whether its address of IPv6 has not the number of the other one.
    pub differs: bool,
}

impl Lease {
    /// What a comment and an alias say of it.
    pub fn owner(&self, network: &str) -> String {
        let mut owner = format!("{TAG}{network}:{}", self.id);
        // An alias has at most 255 bytes (linux/if.h, IFALIASZ); an id is ASCII.
        owner.truncate(255);
        owner
    }

    /// What has to be known of all is in the name: to look for an address opens no file.
    pub(super) fn file_name(&self) -> String {
        let address = self.addresses.first().map(ToString::to_string).unwrap_or_default();
        let differs = if self.differs { DIFFERS } else { "" };
        let named = if self.files.is_some() { NAMED } else { "" };
        format!("{address}@{}@{}{differs}{named}", self.id, self.key)
    }
}

/// How the alias of every device of ours begins.
pub(super) const TAG: &str = "pinnace:";

/// How the name of a lease with name files ends.
const NAMED: &str = "+";

/// What is before it if there is an address of IPv6 with another number.
const DIFFERS: &str = "=";

/// The name of a lease's file: address, id, key.
pub(super) struct Entry {
    pub address: IpAddr,
    pub id: String,
    pub key: String,
    pub has_files: bool,
    pub differs: bool,
    file: String,
}

/// Proof that nobody else changes networks now.
#[derive(Debug)]
pub(super) struct Store {
    lock: OwnedFd,
}

/// A lease that is being made or taken back: as long as this is held, it is not dead.
#[derive(Debug)]
pub(super) struct Held {
    _lock: OwnedFd,
}

fn path(network: &str) -> PathBuf {
    Path::new(ROOT).join(network)
}

impl Store {
    /// As [`Self::lock`], for who only takes away: `None` if there never was a network.
    ///
    /// # Errors
    /// As [`Self::lock`].
    pub fn lock_if_there() -> Result<Option<Self>> {
        match std::fs::exists(ROOT).call(|| format!("stat {ROOT}"))? {
            true => Self::lock().map(Some),
            false => Ok(None),
        }
    }

    /// Takes the lock; the directory is made.
    ///
    /// # Errors
    /// Another command that holds it for too long.
    pub fn lock() -> Result<Self> {
        let call = || format!("open {ROOT}/.lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = || open(Path::new(ROOT).join(".lock"), flags, Mode::RUSR | Mode::WUSR);
        let lock = match lock() {
            Err(Errno::NOENT) => {
                match mkdir(ROOT, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(Error::os(format!("mkdir {ROOT}"), errno)),
                }
                lock()
            }
            lock => lock,
        }
        .call(call)?;
        let busy = || {
            let who = format!("another command has held {ROOT}/.lock for {LOCK_TIMEOUT} s");
            Error::new(format!("networks are busy: {who}"))
        };
        match lock_exclusive(lock.as_fd(), LOCK_TIMEOUT) {
            Err(Errno::INTR) => return Err(busy()),
            locked => locked.call(|| format!("flock {ROOT}/.lock"))?,
        }
        let store = Self { lock };
        store.check_namespace().map(|()| store)
    }

    /// Leases live by devices of one network namespace: seen from another, all would be dead. The
    /// lock's file says which it is.
    fn check_namespace(&self) -> Result<()> {
        let link = "/proc/self/ns/net";
        let own = readlink(link, Vec::new()).call(|| format!("readlink {link}"))?.into_bytes();
        let mut buffer = [0; 64];
        let count = pread(&self.lock, &mut buffer, 0).call(|| format!("read {ROOT}/.lock"))?;
        let theirs = &buffer[..count];
        if theirs == own {
            return Ok(());
        }
        if count > 0 && !self.names()?.is_empty() {
            let theirs = String::from_utf8_lossy(theirs);
            return Err(Error::new(format!(
                "the networks in {ROOT} are of another network namespace ({theirs})"
            ))
            .hint("call this there, or remove the directory if that namespace is gone"));
        }
        let written = ftruncate(&self.lock, 0).and_then(|()| pwrite(&self.lock, &own, 0));
        written.call(|| format!("write {ROOT}/.lock")).map(drop)
    }

    /// The names of all networks.
    ///
    /// # Errors
    /// Those of readdir(3).
    pub fn names(&self) -> Result<Vec<String>> {
        names(Path::new(ROOT), false)
    }

    /// A network, if there is one of that name.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn network(&self, name: &str) -> Result<Option<Network>> {
        let path = path(name).join(RECORD);
        let text = match file::read_short(&path) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            text => text.call(|| format!("read {}", path.display()))?,
        };
        let damaged =
            || Error::new(format!("{} is damaged", path.display())).hint("remove the directory");
        read_network(name, &String::from_utf8_lossy(&text)).map(Some).ok_or_else(damaged)
    }

    /// Writes the record of a network.
    ///
    /// # Errors
    /// Those of mkdir(2) and write(2).
    pub fn save(&self, network: &Network) -> Result<()> {
        let dir = path(&network.name);
        let is_new = match mkdir(&dir, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(Error::os(format!("mkdir {}", dir.display()), errno)),
        };
        match write(&dir, RECORD, &write_network(network)) {
            Err(error) if is_new => Err(error.and(self.sweep(&network.name))),
            written => written.map(drop),
        }
    }

    /// Removes the record of a network without leases.
    ///
    /// # Errors
    /// Those of unlink(2) and rmdir(2).
    pub fn forget(&self, network: &Network) -> Result<()> {
        remove(&path(&network.name).join(RECORD))?;
        self.sweep(&network.name)
    }

    /// Removes a directory with what somebody has left who was killed.
    ///
    /// # Errors
    /// Those of unlink(2) and rmdir(2).
    pub fn sweep(&self, network: &str) -> Result<()> {
        let dir = path(network);
        for name in names(&dir, true)? {
            remove(&dir.join(name))?;
        }
        match rmdir(&dir) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::os(format!("rmdir {}", dir.display()), errno)),
        }
    }

    /// Removes what somebody was writing who was killed.
    ///
    /// # Errors
    /// Those of readdir(3) and unlink(2).
    pub fn tidy(&self, network: &str) -> Result<()> {
        let dir = path(network);
        let mut all = names(&dir, true)?.into_iter().filter(|name| name.starts_with('.'));
        all.try_for_each(|name| remove(&dir.join(name)))
    }

    /// The leases of a network, by the names of their files.
    ///
    /// # Errors
    /// Those of readdir(3).
    pub fn entries(&self, network: &str) -> Result<Vec<Entry>> {
        let entry = |file: String| {
            let (address, rest) = file.split_once('@')?;
            let (id, key) = rest.rsplit_once('@')?;
            let (has_files, key) = (key.ends_with(NAMED), key.trim_end_matches(NAMED));
            let (differs, key) = (key.ends_with(DIFFERS), key.trim_end_matches(DIFFERS));
            let (id, key) = (id.to_owned(), key.to_owned());
            Some(Entry { address: address.parse().ok()?, id, key, has_files, differs, file })
        };
        Ok(names(&path(network), false)?.into_iter().filter_map(entry).collect())
    }

    /// Reads a lease; none if it has gone, or was never whole.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn lease(&self, network: &str, entry: &Entry) -> Result<Option<Lease>> {
        let path = path(network).join(&entry.file);
        let text = match file::read_short(&path) {
            Err(Errno::NOENT) => return Ok(None),
            text => text.call(|| format!("read {}", path.display()))?,
        };
        Ok(Some(read_lease(entry, &String::from_utf8_lossy(&text))))
    }

    /// Writes a lease, and holds it.
    ///
    /// # Errors
    /// Those of write(2) and flock(2).
    pub fn take(&self, network: &str, lease: &Lease) -> Result<Held> {
        write(&path(network), &lease.file_name(), &write_lease(lease))
            .map(|lock| Held { _lock: lock })
    }

    /// Holds a lease that is there. `None` if another does.
    ///
    /// # Errors
    /// Those of open(2) and flock(2).
    pub fn hold(&self, network: &str, entry: &Entry) -> Result<Option<Held>> {
        let path = path(network).join(&entry.file);
        let call = || format!("open {}", path.display());
        let file =
            match open(&path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(None),
                file => file.call(call)?,
            };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            locked => locked
                .call(|| format!("flock {}", path.display()))
                .map(|()| Some(Held { _lock: file })),
        }
    }

    /// Whether a lease is somebody's: it is held, or its device is there.
    ///
    /// # Errors
    /// If that cannot be known.
    pub fn is_live(&self, socket: &mut Socket, network: &str, entry: &Entry) -> Result<bool> {
        if self.hold(network, entry)?.is_none() {
            return Ok(path(network).join(&entry.file).exists());
        }
        let Some(lease) = self.lease(network, entry)? else { return Ok(false) };
        Ok(!lease.device.is_empty() && links::find(socket, &lease.device)?.is_some())
    }

    /// Removes a lease.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn drop_lease(&self, network: &str, entry: &Entry) -> Result<()> {
        remove(&path(network).join(&entry.file))
    }

    /// Removes a lease that was taken.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn undo(&self, network: &str, lease: &Lease) -> Result<()> {
        remove(&path(network).join(lease.file_name()))
    }
}

/// What is in a directory; names that begin with a dot are of files that are being written.
fn names(dir: &Path, hidden: bool) -> Result<Vec<String>> {
    let call = || format!("list {}", dir.display());
    let list = match std::fs::read_dir(dir) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
        list => list.call(call)?,
    };
    let mut names = Vec::new();
    for entry in list {
        let name = entry.call(call)?.file_name().to_string_lossy().into_owned();
        if hidden || !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes a file, whole or not at all, and locks it before it has its name.
fn write(dir: &Path, name: &str, text: &str) -> Result<OwnedFd> {
    let target = dir.join(name);
    let call = || format!("write {}", target.display());
    let temporary = dir.join(format!(".{}", std::process::id()));
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = open(&temporary, flags, Mode::RUSR | Mode::WUSR).call(call)?;
    let written = flock(&file, FlockOperation::NonBlockingLockExclusive)
        .and_then(|()| {
            let mut left = text.as_bytes();
            while !left.is_empty() {
                let count = rustix::io::retry_on_intr(|| rustix::io::write(&file, left))?;
                left = &left[count..];
            }
            rename(&temporary, &target)
        })
        .call(call);
    match written {
        Ok(()) => Ok(file),
        Err(error) => Err(error.and(remove(&temporary))),
    }
}

fn remove(path: &Path) -> Result<()> {
    match unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::os(format!("unlink {}", path.display()), errno)),
    }
}

/// The lines of a record.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().map(|line| line.split_once(' ').unwrap_or((line, "")))
}

fn write_network(network: &Network) -> String {
    let mut text = format!("bridge {}\nmtu {}\n", network.bridge, network.mtu);
    let flags = [
        ("kept", network.kept),
        ("adopted", network.adopted),
        ("inserted", network.inserted),
        ("opened", network.opened),
    ];
    // A String takes all that is written to it.
    let mut line = |word: &str, value: &dyn std::fmt::Display| {
        let _cannot_fail = writeln!(text, "{word} {value}").is_err();
    };
    network.subnets.iter().for_each(|subnet| line("subnet", subnet));
    network.gateways.iter().for_each(|gateway| line("gateway", gateway));
    flags.iter().filter(|(_, is_so)| *is_so).for_each(|(word, _)| line(word, &"yes"));
    network.switched.iter().for_each(|name| line("switched", name));
    text
}

fn read_network(name: &str, text: &str) -> Option<Network> {
    let mut network = Network {
        name: name.to_owned(),
        bridge: String::new(),
        subnets: Vec::new(),
        gateways: Vec::new(),
        mtu: 0,
        kept: false,
        adopted: false,
        inserted: false,
        opened: false,
        switched: Vec::new(),
    };
    for (word, value) in lines(text) {
        match word {
            "bridge" => network.bridge = value.to_owned(),
            "mtu" => network.mtu = value.parse().ok()?,
            "subnet" => network.subnets.push(Subnet::parse(value).ok()?),
            "gateway" => network.gateways.push(value.parse().ok()?),
            "kept" => network.kept = true,
            "adopted" => network.adopted = true,
            "inserted" => network.inserted = true,
            "opened" => network.opened = true,
            "switched" => network.switched.push(value.to_owned()),
            _ => {}
        }
    }
    let whole = !network.subnets.is_empty() && network.subnets.len() == network.gateways.len();
    (whole && !network.bridge.is_empty()).then_some(network)
}

fn write_lease(lease: &Lease) -> String {
    let mut text = format!("device {}\nbundle {}\n", lease.device, lease.bundle.replace('\n', " "));
    let mut line = |word: &str, value: &dyn std::fmt::Display| {
        let _cannot_fail = writeln!(text, "{word} {value}").is_err();
    };
    lease.addresses.iter().for_each(|address| line("address", address));
    lease.ports.iter().for_each(|port| line("publish", port));
    let files = lease.files.iter().map(|files| files.display().to_string().replace('\n', " "));
    files.for_each(|files| line("files", &files));
    lease.mac.iter().for_each(|mac| line("mac", &mac_text(*mac)));
    text
}

/// What is not understood is left out: a lease may be half of one, of a crash.
fn read_lease(entry: &Entry, text: &str) -> Lease {
    let mut lease = Lease {
        id: entry.id.clone(),
        key: entry.key.clone(),
        addresses: Vec::new(),
        device: String::new(),
        bundle: String::new(),
        ports: Vec::new(),
        files: None,
        mac: None,
        differs: entry.differs,
    };
    for (word, value) in lines(text) {
        match word {
            "device" => lease.device = value.to_owned(),
            "bundle" => lease.bundle = value.to_owned(),
            "address" => lease.addresses.extend(value.parse::<IpAddr>().ok()),
            "publish" => lease.ports.extend(Publish::parse(value).ok()),
            "files" => lease.files = Some(value.into()),
            "mac" => lease.mac = parse_mac(value).ok(),
            _ => {}
        }
    }
    if lease.addresses.is_empty() {
        lease.addresses.push(entry.address);
    }
    lease
}

/// A number that depends on all bytes (FNV-1a, and the mixing of splitmix64).
pub(super) fn hash(text: &[u8]) -> u64 {
    let step = |all: u64, byte: &u8| (all ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let mut all = text.iter().fold(0xcbf2_9ce4_8422_2325, step);
    all = (all ^ (all >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    all = (all ^ (all >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    all ^ (all >> 31)
}

/// The hardware address of whom has this address, if none was chosen: the same on every start.
pub(super) fn mac_of(address: IpAddr) -> [u8; 6] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [0x02, 0x42, a, b, c, d]
        }
        IpAddr::V6(_) => [0x02, 0x42, 0, 0, 0, 1],
    }
}

/// What tells the containers of two runtimes apart that have the same id.
pub(super) fn key(bundle: &str) -> String {
    format!("{:08x}", hash(bundle.as_bytes()) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_are_written() {
        let network = Network {
            name: "web".into(),
            bridge: "pn-web".into(),
            subnets: ["10.77.0.0/24", "fd77::/64"].map(|net| Subnet::parse(net).unwrap()).to_vec(),
            gateways: ["10.77.0.1", "fd77::1"].map(|one| one.parse().unwrap()).to_vec(),
            mtu: 1400,
            kept: true,
            adopted: false,
            inserted: true,
            opened: true,
            switched: vec!["net.ipv4.ip_forward".into()],
        };
        assert_eq!(read_network("web", &write_network(&network)), Some(network));
        assert_eq!(read_network("web", "bridge x\n"), None);
        let address: IpAddr = "10.77.0.2".parse().unwrap();
        let entry = Entry {
            address,
            id: "a".into(),
            key: "01".into(),
            has_files: true,
            differs: true,
            file: String::new(),
        };
        let lease = Lease {
            id: "a".into(),
            key: "01".into(),
            addresses: vec![address, "fd77::2".parse().unwrap()],
            device: "pn0123456789".into(),
            bundle: "/a b".into(),
            ports: vec![Publish::parse("[::1]:8000-8001:80/udp").unwrap()],
            files: Some("/run/x y".into()),
            mac: Some([2, 0, 0, 0, 0, 5]),
            differs: true,
        };
        assert_eq!(read_lease(&entry, &write_lease(&lease)), lease);
        // The name of a directory is no line of its own.
        let files = Some("/a\npublish 22:22".into());
        let odd = write_lease(&Lease { files, ports: Vec::new(), ..lease.clone() });
        assert!(read_lease(&entry, &odd).ports.is_empty());
        assert_eq!(lease.file_name(), "10.77.0.2@a@01=+");
        assert!(read_lease(&entry, "device").device.is_empty());
    }
}
