//! The systemd driver: a container's cgroup is that of a transient unit, a
//! scope as a rule (systemd.scope(5), org.freedesktop.systemd1(5)). systemd
//! makes the cgroup and hands it over (`Delegate=`); everything else is done
//! through the file system, as without it (cgroup v2 only).
//!
//! Messages of one container's life: three to make the unit (Hello, AddMatch,
//! StartTransientUnit) and five to end it (Hello, GetUnit, Get, AddMatch, StopUnit):
//! its name may be another's by then. Limits are told to systemd in the first of
//! these, and again when they change: what it does not know it would reset on
//! `daemon-reload`. The device rules are a program of our own, which systemd does
//! not touch as the unit has none.

mod annotations;
mod bus;
mod properties;
mod wire;

pub use properties::properties;
pub use wire::Value;

use super::node::{Node, read, read_bytes};
use super::remove::{LEAVING, wait_unpopulated};
use crate::error::{At, Context, Error, Result};
use crate::spec::Resources;
use bus::{Bus, Failure};
use rustix::fd::AsFd as _;
use rustix::fs::CWD;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A property of a unit.
pub type Property = (String, Value);

/// A transient unit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unit {
    /// Such as `pinnace-c1.scope`.
    name: String,
    /// Such as `machine.slice`.
    slice: String,
    /// Whether the caller's own systemd has it.
    user: bool,
    /// What it begins with.
    #[serde(skip)]
    properties: Vec<Property>,
    /// By which it is known, from before systemd is asked for it. A record of 0.1.0 has none.
    #[serde(default = "unknown")]
    description: Option<String>,
}

/// How the description of a unit begins that no other container's unit can have.
const OURS: &str = "container of ";

fn unknown() -> Option<String> {
    Some(String::new())
}

/// Decides unit and path below the root of the hierarchy. `path` is
/// `linux.cgroupsPath`: `slice:prefix:name`, or nothing.
pub(super) fn locate(
    path: Option<&str>,
    id: &str,
    user: bool,
    resources: &Resources,
    annotations: &BTreeMap<String, String>,
) -> Result<(Unit, String)> {
    let default = format!(":pinnace:{}", escape(id));
    let path = path.filter(|path| !path.is_empty()).unwrap_or(&default);
    let wrong = |what: &str| Error::new(format!("{path:?} {what}")).at("linux.cgroupsPath");
    let mut parts = path.split(':');
    let (Some(slice), Some(prefix), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong("is not slice:prefix:name, as --systemd-cgroup wants it"));
    };
    let slice = match (slice, user) {
        ("", true) => "user.slice",
        ("", false) => "system.slice",
        (slice, _) => slice,
    };
    let expanded = expand(slice).ok_or_else(|| wrong("has no valid name of a slice"))?;
    let name = match prefix {
        _ if name.ends_with(".slice") => name.to_owned(),
        "" => format!("{name}.scope"),
        prefix => format!("{prefix}-{name}.scope"),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if name.starts_with('.') || name.len() > 255 || !name.chars().all(fits) {
        return Err(wrong("does not make the name of a unit"));
    }
    if name.ends_with(".slice") {
        return Err(wrong("names a slice; a container needs a scope"));
    }
    let base = if user { manager()? } else { String::new() };
    let whole = [base.as_str(), &expanded, &name];
    let whole: Vec<_> = whole.into_iter().filter(|part| !part.is_empty()).collect();
    let whole = whole.join("/");
    let mut all = properties(resources)?;
    all.extend(annotations::properties(annotations)?);
    let unit = Unit { name, slice: slice.to_owned(), user, properties: all, description: None };
    Ok((unit, whole))
}

/// An id may hold a `+`, a unit's name may not: it is written as systemd-escape(1)
/// would.
fn escape(id: &str) -> String {
    id.replace('+', "\\x2b")
}

/// `a-b.slice` is `a.slice/a-b.slice`, `-.slice` the root (systemd.slice(5)).
fn expand(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.\\@".contains(c);
    if name.split('-').any(str::is_empty) || !name.chars().all(fits) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Some(ends.map(|end| format!("{}.slice", &name[..end])).collect::<Vec<_>>().join("/"))
}

/// The user that we are to the host: in a user namespace of an ordinary user,
/// 0 is that user.
///
/// # Errors
/// If that cannot be known: another user's systemd would be asked.
fn owner() -> Result<u32> {
    let uid = rustix::process::geteuid().as_raw();
    let map = match read(CWD, "/proc/self/uid_map") {
        // A kernel without user namespaces has no such file, but the rest of procfs.
        Err(Errno::NOENT) if std::fs::exists("/proc/self/stat").call(|| "stat /proc".into())? => {
            return Ok(uid);
        }
        map => map.call(|| "read /proc/self/uid_map".into())?,
    };
    Ok(outer(&map, uid))
}

/// A user whom the map does not name is the same in both.
fn outer(map: &str, uid: u32) -> u32 {
    let inside = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
        let (first, outer, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = uid.checked_sub(first).filter(|offset| *offset < count)?;
        outer.checked_add(offset)
    };
    map.lines().find_map(inside).unwrap_or(uid)
}

/// The cgroup of the caller's systemd: one that we live in, or where logind
/// puts it.
fn manager() -> Result<String> {
    let own = read_bytes(CWD, "/proc/self/cgroup").call(|| "read /proc/self/cgroup".into())?;
    Ok(manager_of(&String::from_utf8_lossy(&own), owner()?))
}

fn manager_of(own: &str, uid: u32) -> String {
    let service = format!("user@{uid}.service");
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    match path.find(&service) {
        Some(at) => path[..at + service.len()].to_owned(),
        None => format!("user.slice/user-{uid}.slice/{service}"),
    }
}

impl Unit {
    /// Makes the unit around a process; returns where its cgroup is, below the
    /// root of the hierarchy. `node` is where it is to be.
    pub(super) fn start(&mut self, pid: i32, node: &Node) -> Result<String> {
        // Nobody is asked then.
        let mut bus = Bus::connect(self.user).inspect_err(|_| self.description = None)?;
        let fixed = [
            ("Description", Value::text(self.known_by())),
            ("Slice", Value::text(self.slice.as_str())),
            ("Delegate", Value::Bool(true)),
            ("DefaultDependencies", Value::Bool(false)),
            // A unit that has failed goes by itself, too.
            ("CollectMode", Value::text("inactive-or-failed")),
            ("PIDs", Value::Array("u".into(), vec![Value::Number(b'u', pid.into())])),
        ];
        let given = |name: &str| self.properties.iter().any(|(other, _)| other == name);
        let fixed = fixed.into_iter().filter(|(name, _)| !given(name));
        let all = fixed.map(|(name, value)| (name.to_owned(), value));
        let all: Vec<_> = all.chain(self.properties.iter().cloned()).collect();
        let arguments = [
            Value::text(self.name.as_str()),
            Value::text("fail"),
            dictionary(&all),
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        let mut started = bus.job("StartTransientUnit", &self.name, &arguments);
        if started.as_ref().is_err_and(|failure| failure.is("UnitExists")) {
            // It is another's, as far as that is known.
            let description = self.description.take();
            self.be_released(&mut bus, node)?;
            self.description = description;
            started = bus.job("StartTransientUnit", &self.name, &arguments);
        }
        started.map_err(|failure| {
            if !failure.is("UnitExists") {
                return failure.error;
            }
            // It is another's for sure.
            self.description = None;
            failure
                .error
                .at("linux.cgroupsPath")
                .hint(format!("{} is in use; `systemctl status` tells by whom", self.name))
        })?;
        // After an error the caller ends the unit once it has no process: systemd asks processes to
        // end, and waits for the first of a PID namespace, which does not hear it.
        self.place_of(pid)
    }

    /// Lets a unit of that name go which nobody uses: one that has failed and was kept, and one whose
    /// processes have just ended.
    fn be_released(&self, bus: &mut Bus, node: &Node) -> Result<()> {
        match bus.call("ResetFailedUnit", &[Value::text(self.name.as_str())]) {
            Err(failure) if !failure.is("NoSuchUnit") => return Err(failure.error),
            _ => {}
        }
        // Before the look at the cgroup: what comes after it is heard.
        bus.expect_removal(&self.name)?;
        let Some(dir) = node.open()? else { return Ok(()) };
        let dir = dir.as_fd();
        wait_unpopulated(node, dir, Instant::now() + LEAVING)?;
        let Some(events) = node.events(dir)? else { return Ok(()) };
        if node.says_populated(events.as_fd())? == Some(true) {
            return Ok(());
        }
        // The kernel tells of an empty cgroup at most once in 10 ms, so that systemd hears of it late.
        // Or it has made it for another's process, who comes in a moment.
        let is_taken = || node.says_populated(events.as_fd());
        bus.removal(&self.name, events.as_fd(), &is_taken).map_err(|failure| failure.error)
    }

    /// From here on systemd may have been asked: the record must be saved in between. `dir` is the
    /// container's own directory. A description that the configuration gives stays.
    pub(super) fn be_known(&mut self, dir: &Path) {
        let given = self.properties.iter().find(|(name, _)| name == "Description");
        self.description = Some(match given {
            Some((_, Value::Text(_, text))) if !text.is_empty() => text.clone(),
            // systemd shows the name then.
            Some(_) => self.name.clone(),
            None => format!("{OURS}{}", dir.display()),
        });
    }

    fn known_by(&self) -> String {
        let known = self.description.clone().filter(|text| !text.is_empty());
        known.unwrap_or_else(|| format!("container {}", self.name))
    }

    /// Where the process is, which must be in the unit.
    fn place_of(&self, pid: i32) -> Result<String> {
        let file = format!("/proc/{pid}/cgroup");
        let text = std::fs::read_to_string(&file).call(|| format!("read {file}"))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        if !path.ends_with(&self.name) {
            return Err(Error::new(format!(
                "systemd made {}, but /{path} has the process",
                self.name
            )));
        }
        Ok(path.to_owned())
    }

    /// Tells systemd of changed limits.
    pub(super) fn change(&self, resources: &Resources) -> Result<()> {
        let all = properties(resources)?;
        if all.is_empty() {
            return Ok(());
        }
        let arguments = [Value::text(self.name.as_str()), Value::Bool(true), dictionary(&all)];
        let done = Bus::connect(self.user)?.call("SetUnitProperties", &arguments);
        done.map_err(|failure| match failure.is("NoSuchUnit") {
            true => Error::os(format!("SetUnitProperties of {}", self.name), Errno::NOENT),
            false => failure.error,
        })
        .at(|| "update")
    }

    /// Ends a unit that systemd may have been asked for, with who is in it. systemd may not have begun
    /// with it yet; and one whose process was dead by then ends never: systemd waits for the kernel's
    /// word that the cgroup has become empty, which it always was. `is_populated` tells of the cgroup
    /// that it was to have, if that is there.
    pub(super) fn end(&self, is_populated: Option<bool>) -> Result<()> {
        if self.description.is_none() {
            return Ok(());
        }
        let known = self.known_by();
        let is_ours = known.starts_with(OURS);
        // Who else may be called so is not ended: of another's unit the cgroup is elsewhere, or in use.
        if !is_ours && is_populated != Some(false) {
            return Ok(());
        }
        let mut bus = match Bus::connect(self.user) {
            // Nobody can be told, and nobody has begun with it.
            Err(error) if error.errno() == Some(Errno::NOENT) && is_populated.is_none() => {
                return Ok(());
            }
            bus => bus?,
        };
        if !bus.knows(&self.name, &known)? {
            return Ok(());
        }
        if is_ours {
            // The first process of a PID namespace does not hear what systemd sends to end it.
            let name = Value::text(self.name.as_str());
            match bus.call("KillUnit", &[name, Value::text("all"), Value::Number(b'i', 9)]) {
                Err(failure) if !(failure.is("NoSuchUnit") || failure.is("NoSuchProcess")) => {
                    return Err(failure.error);
                }
                _ => {}
            }
            // One that has become empty frees its name.
            if !bus.knows(&self.name, &known)? {
                return Ok(());
            }
        }
        self.stop_by(&mut bus)
    }

    /// Ends the unit, whose processes are gone; one that is gone itself is fine, also if another
    /// has got its name since. A record of 0.1.0 knows no more than the name.
    pub(super) fn stop(&self) -> Result<()> {
        let mut bus = Bus::connect(self.user)?;
        let known = self.description.as_ref().filter(|text| !text.is_empty());
        if let Some(known) = known
            && !bus.knows(&self.name, known)?
        {
            return Ok(());
        }
        self.stop_by(&mut bus)
    }

    fn stop_by(&self, bus: &mut Bus) -> Result<()> {
        let arguments = [Value::text(self.name.as_str()), Value::text("replace")];
        let gone = |failure: &Failure| failure.is("NoSuchUnit");
        match bus.job("StopUnit", &self.name, &arguments) {
            Err(failure) if !gone(&failure) => Err(failure.error),
            _ => Ok(()),
        }
    }
}

/// `a(sv)`.
fn dictionary(all: &[Property]) -> Value {
    let pair = |(name, value): &Property| {
        Value::all([Value::text(name.as_str()), Value::Variant(Box::new(value.clone()))])
    };
    Value::Array("(sv)".into(), all.iter().map(pair).collect())
}

/// An annotation to the message that it is sent in, which must be readable and have
/// valid types; for hack/fuzz.
#[cfg(fuzzing)]
pub fn annotation(name: &str, value: &str) -> Result<()> {
    let key = format!("org.systemd.property.{name}");
    let all = annotations::properties(&BTreeMap::from([(key, value.to_owned())]))?;
    for (_, value) in &all {
        assert!(wire::is_type(&value.signature()), "{value:?}");
    }
    let to = wire::Target { destination: "a.b", path: "/a", interface: "a.b" };
    let mut bytes = wire::call(1, to, "Member", &[Value::text("unit"), dictionary(&all)]);
    match wire::take(&mut bytes) {
        Ok(Some(message)) => assert_eq!(message.texts, ["unit"]),
        // Longer than anything that is read.
        other => assert!(value.len() > 1 << 18, "{other:?}"),
    }
    Ok(())
}

/// Reads whatever a bus may say; for hack/fuzz.
#[cfg(fuzzing)]
pub fn replies(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    while let Ok(Some(_)) = wire::take(&mut bytes) {}
    let _none = bus::unix_path(&String::from_utf8_lossy(&bytes)).is_none();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: Option<&str>) -> Result<String> {
        locate(text, "c1", false, &Resources::default(), &BTreeMap::new()).map(|(_, path)| path)
    }

    #[test]
    fn units_and_their_places() {
        for (text, want) in [
            (None, "system.slice/pinnace-c1.scope"),
            (Some("machine.slice:libpod:x"), "machine.slice/libpod-x.scope"),
            (Some("a-b-c.slice:p:n"), "a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
            (Some("-.slice:p:n"), "p-n.scope"),
            (Some("::n"), "system.slice/n.scope"),
        ] {
            assert_eq!(path(text).unwrap(), want, "{text:?}");
        }
    }

    #[test]
    fn whose_systemd_is_asked() {
        assert_eq!(outer("0 1000 1\n1 100000 65536\n", 0), 1000);
        assert_eq!(outer("0 1000 1\n1 100000 65536\n", 3), 100_002);
        assert_eq!(outer("0 0 4294967295\n", 5), 5);
        let own = "1:cpu:/x\n0::/user.slice/user-5.slice/user@5.service/app.slice\n";
        assert_eq!(manager_of(own, 5), "user.slice/user-5.slice/user@5.service");
        assert_eq!(manager_of("0::/\n", 6), "user.slice/user-6.slice/user@6.service");
    }

    #[test]
    fn any_id_makes_a_name() {
        let all = "aZ9_-.+";
        let (_, path) = locate(None, all, false, &Resources::default(), &BTreeMap::new()).unwrap();
        assert_eq!(path, r"system.slice/pinnace-aZ9_-.\x2b.scope");
    }

    #[test]
    fn other_paths_are_refused() {
        for text in [
            "/a/b",
            "a.slice:b",
            "a.slice:b:c:d",
            "a:b:c",
            "a/b.slice:c:d",
            "-a.slice:b:c",
            "a--b.slice:c:d",
            "a.slice:b:c/d",
            "a.slice:b:c d",
            "a.slice::",
            "a.slice:b:c.slice",
        ] {
            let error = path(Some(text)).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: "), "{error}");
        }
    }
}
