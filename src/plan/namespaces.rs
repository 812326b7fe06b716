//! `linux.namespaces`: which are new, which are joined, which are the runtime's
//! (config-linux.md, "Namespaces").

use super::Findings;
use super::findings::missing;
use crate::error::Error;
use crate::nearest::nearest;
use crate::spec;
use crate::sys::process::Namespaces as Flags;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The eight kinds of namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    User,
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

impl Kind {
    /// All of them; the user namespace first because it owns the others.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Pid,
        Self::Network,
        Self::Mount,
        Self::Ipc,
        Self::Uts,
        Self::Cgroup,
        Self::Time,
    ];

    /// The spec's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The name of its file in `/proc/PID/ns`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            other => other.name(),
        }
    }

    /// Its `CLONE_NEW*` bit.
    pub fn flag(self) -> Flags {
        Flags(match self {
            Self::User => libc::CLONE_NEWUSER,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Network => libc::CLONE_NEWNET,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => 0x80, // CLONE_NEWTIME, linux/sched.h
        } as u32)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The namespaces of a container.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    /// To be made.
    pub create: Vec<Kind>,
    /// To be joined, with the file of each.
    pub join: Vec<(Kind, PathBuf)>,
    /// Where each of `join` stands in the configuration.
    pub join_fields: Vec<String>,
    /// Kinds of which the configuration changes something, with the field that does: a joined
    /// one must not be the runtime's own, or the host is changed.
    pub changed: Vec<(Kind, String)>,
}

impl Namespaces {
    /// Whether a new one of that kind is made.
    pub fn creates(&self, kind: Kind) -> bool {
        self.create.contains(&kind)
    }

    /// Whether one of that kind is joined by path.
    pub fn joins(&self, kind: Kind) -> bool {
        self.join.iter().any(|(other, _)| *other == kind)
    }

    /// Whether the container has one of its own, new or joined.
    pub fn has(&self, kind: Kind) -> bool {
        self.creates(kind) || self.joins(kind)
    }

    /// The bits of the new ones.
    pub fn flags(&self) -> Flags {
        Flags(self.create.iter().fold(0, |bits, kind| bits | kind.flag().0))
    }
}

/// Checks every entry.
pub fn plan(entries: &[spec::Namespace], findings: &mut Findings) -> Namespaces {
    let mut namespaces = Namespaces::default();
    for (i, entry) in entries.iter().enumerate() {
        let field = format!("linux.namespaces[{i}]");
        let Some(kind) = Kind::from_name(&entry.kind) else {
            let names = Kind::ALL.map(Kind::name);
            let known = format!("one of {}", names.join(", "));
            findings.error(if entry.kind.is_empty() {
                missing(format!("{field}.type"), &known)
            } else {
                // Its name in /proc/PID/ns is what lsns(8) shows.
                let file = Kind::ALL.into_iter().find(|kind| kind.file() == entry.kind);
                let near = file.map(Kind::name).or_else(|| nearest(&entry.kind, names));
                let message = format!("unknown namespace {:?}", entry.kind);
                Error::new(message).at(format_args!("{field}.type")).guess(near).hint(known)
            });
            continue;
        };
        if namespaces.has(kind) {
            findings
                .refuse(format_args!("{field}.type"), format!("{:?} is listed twice", entry.kind));
            continue;
        }
        match entry.path.as_deref().filter(|path| !path.is_empty()) {
            None => namespaces.create.push(kind),
            Some(path) if !Path::new(path).is_absolute() => {
                findings.refuse(format_args!("{field}.path"), format!("{path:?} is not absolute"));
            }
            Some(path) => {
                namespaces.join.push((kind, PathBuf::from(path)));
                namespaces.join_fields.push(format!("{field}.path"));
            }
        }
    }
    namespaces
}

/// Lines for `/proc/PID/timens_offsets` (`time_namespaces(7)`).
pub fn time_offsets(
    offsets: &BTreeMap<String, spec::TimeOffset>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Vec<String> {
    if !offsets.is_empty() && !namespaces.creates(Kind::Time) {
        findings.error(
            Error::new("needs a new time namespace")
                .at("linux.timeOffsets")
                .hint("add {\"type\": \"time\"} without a path to linux.namespaces"),
        );
    }
    for (clock, offset) in offsets {
        if clock != "monotonic" && clock != "boottime" {
            findings.error(
                Error::new(format!("the clock {clock:?} has no offset"))
                    .at("linux.timeOffsets")
                    .guess(nearest(clock, ["monotonic", "boottime"]))
                    .hint("monotonic and boottime have (time_namespaces(7))"),
            );
        }
        if offset.nanosecs >= 1_000_000_000 {
            findings.refuse(
                format_args!("linux.timeOffsets.{clock}.nanosecs"),
                format!("{} is not below 1000000000", offset.nanosecs),
            );
        }
    }
    offsets.iter().map(|(clock, o)| format!("{clock} {} {}", o.secs, o.nanosecs)).collect()
}
