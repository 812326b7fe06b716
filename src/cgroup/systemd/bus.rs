//! A connection to the bus on which systemd listens: the caller's own, or the
//! system's. Calls are sent together where they can be: what counts for
//! systemd is how many messages there are (one each to ask and to answer).

use super::wire::{Message, Target, Value, call, take};
use crate::error::{At, Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::time::{Duration, Instant};

/// How long systemd may take for one of our wishes.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long systemd may take to let go of a unit that has become empty.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest line while we authenticate.
const LINE: usize = 4096;

const BUS: Target<'_> = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};
const MANAGER: Target<'_> = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// One conversation.
#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    serial: u32,
    /// Up to this one, answers are to nobody's question any more.
    settled: u32,
    received: Vec<u8>,
    /// What was said before it was asked for.
    signals: Vec<Message>,
    /// The name on the bus of whoever has answered last.
    systemd: String,
    until: Instant,
}

impl Bus {
    /// Connects; `user`: to the bus of the caller.
    ///
    /// # Errors
    /// No bus there; one that does not know us.
    pub fn connect(user: bool) -> Result<Self> {
        let address = address(user)?;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .call(|| "socket".into())?;
        let name = match address.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(&address),
        };
        let call = || format!("connect to the bus at {address}");
        connect(&socket, &name.call(call).at(|| "--systemd-cgroup")?)
            .call(call)
            .at(|| "--systemd-cgroup")
            .hint(|| "systemd and its D-Bus must run; or use the cgroupfs driver")?;
        let until = Instant::now() + REPLY_TIMEOUT;
        let (received, signals, systemd) = (Vec::new(), Vec::new(), String::new());
        let mut bus = Self { socket, serial: 0, settled: 0, received, signals, systemd, until };
        bus.authenticate()?;
        let hello = bus.next(BUS, "Hello", &[]);
        bus.send(&hello)?;
        Ok(bus)
    }

    /// EXTERNAL without an identity: the bus takes that of the socket's peer,
    /// which it knows better than we do in a user namespace.
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        // Asked for the identity, and then accepted.
        for expected in ["DATA", "OK "] {
            let line = loop {
                if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                    break self.received.drain(..end + 2).collect::<Vec<_>>();
                }
                if self.received.len() > LINE {
                    return Err(Error::new("the bus says too much").at("--systemd-cgroup"));
                }
                self.receive()?;
            };
            if !line.starts_with(expected.as_bytes()) {
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                return Err(Error::new(format!("the bus said {line:?}")).at("--systemd-cgroup"));
            }
        }
        Ok(())
    }

    fn next(&mut self, to: Target<'_>, member: &str, arguments: &[Value]) -> Vec<u8> {
        self.serial += 1;
        call(self.serial, to, member, arguments)
    }

    fn ask(&mut self, to: Target<'_>, member: &str, arguments: &[Value]) -> Answer<Message> {
        let bytes = self.next(to, member, arguments);
        self.send(&bytes)?;
        self.answer(member)
    }

    /// Calls a method of the manager and hears its answer.
    ///
    /// # Errors
    /// What systemd answers: its error's name is in [`Failure`].
    pub fn call(&mut self, member: &str, arguments: &[Value]) -> Answer<()> {
        self.ask(MANAGER, member, arguments).map(drop)
    }

    /// Whether systemd has a unit of that name with that description.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn knows(&mut self, unit: &str, description: &str) -> Result<bool> {
        let found = match self.ask(MANAGER, "GetUnit", &[Value::text(unit)]) {
            Err(failure) if failure.is("NoSuchUnit") => return Ok(false),
            found => found.map_err(|failure| failure.error)?,
        };
        let path = found.texts.first().map_or("/", String::as_str);
        let to = Target { path, interface: "org.freedesktop.DBus.Properties", ..MANAGER };
        let which = [Value::text("org.freedesktop.systemd1.Unit"), Value::text("Description")];
        match self.ask(to, "Get", &which) {
            // It has gone since.
            Err(failure) if failure.name == "org.freedesktop.DBus.Error.UnknownObject" => Ok(false),
            found => {
                let found = found.map_err(|failure| failure.error)?;
                Ok(found.texts.first().is_some_and(|text| text == description))
            }
        }
    }

    /// Has systemd tell when it lets a unit go, to be heard by [`Bus::removal`].
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn expect_removal(&mut self, unit: &str) -> Result<()> {
        let rule = format!(
            "type='signal',sender='{}',interface='{}',member='UnitRemoved',arg0='{unit}'",
            MANAGER.destination, MANAGER.interface
        );
        let asked = self.ask(BUS, "AddMatch", &[Value::text(rule)]);
        // It tells of units only who has asked to be told.
        asked.and_then(|_| self.call("Subscribe", &[])).map_err(|failure| failure.error)
    }

    /// Waits until systemd has let a unit go, or `is_taken`, but not for long: what is so then is to be
    /// asked. `events` tells when to look whether it is taken, until there is nothing to tell.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn removal(
        &mut self,
        unit: &str,
        events: BorrowedFd<'_>,
        is_taken: &dyn Fn() -> Result<Option<bool>>,
    ) -> Answer<()> {
        match self.call("GetUnit", &[Value::text(unit)]) {
            Err(failure) if failure.is("NoSuchUnit") => return Ok(()),
            there => there?,
        }
        let until = self.until.min(Instant::now() + RELEASE_TIMEOUT);
        loop {
            while let Some(message) = self.heard()? {
                if self.is_signal(&message, "UnitRemoved")
                    && message.texts.first().is_some_and(|text| text == unit)
                {
                    return Ok(());
                }
            }
            let taken = is_taken()?;
            let left = until.saturating_duration_since(Instant::now());
            if taken == Some(true) || left.is_zero() {
                return Ok(());
            }
            let left = Timespec::try_from(left).map_err(|_| Error::new("a time too long"))?;
            let socket = PollFd::new(&self.socket, PollFlags::IN);
            let mut both = [socket, PollFd::new(&events, PollFlags::PRI)];
            // The files of a cgroup that is gone are ready for ever.
            let count = if taken.is_some() { 2 } else { 1 };
            match poll(&mut both[..count], Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::os("poll", errno))?,
            }
            if !both[0].revents().is_empty() {
                self.receive()?;
            }
        }
    }

    /// Whether systemd has sent it, as anybody may send signals: who has answered is systemd.
    fn is_signal(&self, message: &Message, name: &str) -> bool {
        message.kind == 4 && message.name == name && message.sender == self.systemd
    }

    /// What has been received, and nobody has taken.
    fn heard(&mut self) -> Result<Option<Message>> {
        match self.signals.pop() {
            None => take(&mut self.received),
            signal => Ok(signal),
        }
    }

    /// Calls a method that starts a job on `unit`, and waits for its end.
    ///
    /// # Errors
    /// As [`Bus::call`]; a job that did not end well.
    pub fn job(&mut self, member: &str, unit: &str, arguments: &[Value]) -> Answer<()> {
        // Only what is said of this unit: at other times PID 1 has much to say.
        let rule = format!(
            "type='signal',sender='{}',interface='{}',member='JobRemoved',arg2='{unit}'",
            MANAGER.destination, MANAGER.interface
        );
        let mut bytes = self.next(BUS, "AddMatch", &[Value::text(rule)]);
        bytes.extend(self.next(MANAGER, member, arguments));
        self.send(&bytes)?;
        let job = self.answer(member)?.texts.into_iter().next().unwrap_or_default();
        loop {
            let Some(message) = self.heard()? else {
                self.receive()?;
                continue;
            };
            if !self.is_signal(&message, "JobRemoved") {
                continue;
            }
            // id, job, unit, result
            if let [removed, _, result] = &message.texts[..]
                && *removed == job
            {
                return match result.as_str() {
                    "done" => Ok(()),
                    result => {
                        let text = format!("systemd: {member} {unit} ended with {result:?}");
                        Err(Error::new(text).hint(format!("journalctl -u {unit} may say why")))?
                    }
                };
            }
        }
    }

    /// The answer to the last call, or a refusal of one that was sent with it.
    fn answer(&mut self, member: &str) -> Answer<Message> {
        let settled = std::mem::replace(&mut self.settled, self.serial);
        loop {
            let message = self.receive_message()?;
            match message.kind {
                3 if message.reply_to > settled => {
                    let said = message.texts.first().map(String::as_str).unwrap_or_default();
                    let error = Error::new(format!("systemd: {member}: {said}"));
                    return Err(Failure { name: message.name, error });
                }
                2 if message.reply_to == self.serial => {
                    self.systemd.clone_from(&message.sender);
                    return Ok(message);
                }
                4 => self.signals.push(message),
                _ => {}
            }
        }
    }

    fn receive_message(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = take(&mut self.received)? {
                return Ok(message);
            }
            self.receive()?;
        }
    }

    fn receive(&mut self) -> Result<()> {
        self.wait(PollFlags::IN)?;
        let mut buffer = [0; 4096];
        let flags = rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.socket, &mut buffer[..], flags) {
            Ok((0, _)) => Err(Error::new("the bus has hung up").at("--systemd-cgroup")),
            Ok((count, _)) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::os("receive from the bus", errno).at("--systemd-cgroup")),
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        use rustix::net::SendFlags;
        while !bytes.is_empty() {
            self.wait(PollFlags::OUT)?;
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.socket, bytes, flags) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::os("send to the bus", errno).at("--systemd-cgroup"));
                }
            }
        }
        Ok(())
    }

    /// A bus that hangs must not make us hang.
    fn wait(&self, events: PollFlags) -> Result<()> {
        let late = || {
            let limit = REPLY_TIMEOUT.as_secs();
            Err(Error::new(format!("systemd has not answered within {limit} s"))
                .at("--systemd-cgroup"))
        };
        let left = self.until.saturating_duration_since(Instant::now());
        // Who speaks all the time does not answer either.
        if left.is_zero() {
            return late();
        }
        let left = Timespec::try_from(left).map_err(|_| Error::new("a time too long"))?;
        match poll(&mut [PollFd::new(&self.socket, events)], Some(&left)) {
            Ok(0) => late(),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::os("poll", errno)),
        }
    }
}

/// What comes of a call.
pub type Answer<T> = std::result::Result<T, Failure>;

/// An answer that is an error.
#[derive(Debug)]
pub struct Failure {
    /// Such as `org.freedesktop.systemd1.NoSuchUnit`; empty if the bus failed.
    pub name: String,
    /// For the user.
    pub error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { name: String::new(), error }
    }
}

impl Failure {
    /// Whether systemd says that.
    pub fn is(&self, name: &str) -> bool {
        self.name.strip_prefix("org.freedesktop.systemd1.") == Some(name)
    }
}

/// Path of the bus's socket; `@` in front of an abstract name.
///
/// # Errors
/// If nothing names it, and whose it is cannot be known.
fn address(user: bool) -> Result<String> {
    let variable = if user { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" };
    let given = std::env::var(variable).unwrap_or_default();
    if let Some(path) = given.split(';').find_map(unix_path) {
        return Ok(path);
    }
    Ok(match std::env::var("XDG_RUNTIME_DIR") {
        _ if !user => "/run/dbus/system_bus_socket".into(),
        Ok(dir) if !dir.is_empty() => format!("{dir}/bus"),
        _ => format!("/run/user/{}/bus", super::owner()?),
    })
}

/// `unix:path=/run/user/1000/bus,guid=...` (D-Bus Specification, "Server
/// Addresses").
pub(super) fn unix_path(address: &str) -> Option<String> {
    let mut pairs = address.strip_prefix("unix:")?.split(',');
    pairs.find_map(|pair| match pair.split_once('=')? {
        ("path", path) => Some(unescape(path)),
        ("abstract", name) => Some(format!("@{}", unescape(name))),
        _ => None,
    })
}

fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut text, part| {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                text.push(char::from(byte));
                text.push_str(&part[2..]);
            }
            None => text.extend(["%", part]),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::unix_path;

    #[test]
    fn addresses_of_buses() {
        assert_eq!(unix_path("unix:path=/run/a%20b,guid=1").unwrap(), "/run/a b");
        assert_eq!(unix_path("unix:guid=1,abstract=/tmp/x").unwrap(), "@/tmp/x");
        assert_eq!(unix_path("tcp:host=x"), None);
    }
}
