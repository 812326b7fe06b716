//! What is to be written into a cgroup, as values: made by pure functions,
//! shown by `Display`, carried out by [`super::apply`] alone.

use super::devices::Policy;
use crate::sys::bpf::Insn;
use std::borrow::Cow;
use std::fmt;

/// Whether the cgroup is new or in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// New: what is not named has the kernel's default, and the devices are
    /// limited in any case.
    Create,
    /// In use: what is not named stays as it is, devices too.
    Update,
}

/// One line of text for one file of the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Which hierarchy, on a host that has several.
    pub controller: &'static str,
    /// Name inside the cgroup's directory.
    pub name: Cow<'static, str>,
    /// What to write.
    pub text: String,
    /// The field of `config.json` that asks for it.
    pub field: Cow<'static, str>,
    /// What it means if the kernel has no such file.
    pub if_absent: IfAbsent,
}

/// What a missing file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfAbsent {
    /// The limit can't be set: an error.
    Fails,
    /// Without the file the state asked for is the only one there is.
    Ignore,
}

/// One step of applying resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Just write it.
    File(File),
    /// Files that the kernel checks against each other (limit and limit with
    /// swap; quota, period and burst): which order it accepts depends on what
    /// stands in them, so those refused with EINVAL are tried again after the
    /// others, as long as that gets further.
    AnyOrder(Vec<File>),
    /// The first of these that the kernel has.
    FirstOf(Vec<File>),
    /// Refuse if the number in this file is above `limit`.
    AtMost {
        /// Which hierarchy.
        controller: &'static str,
        /// File that tells the present use.
        name: &'static str,
        /// What is going to be the limit.
        limit: u64,
        /// Field that asks for the check.
        field: &'static str,
    },
    /// A new period in v2's `cpu.max` with the quota that stands there.
    Period {
        /// Microseconds.
        period: u64,
    },
    /// v1: allow and deny lines.
    DeviceList {
        /// What shall hold.
        policy: Policy,
        /// Whether the cgroup has rules that must not be dropped for a moment.
        update: bool,
    },
    /// v2: a program.
    DeviceProgram {
        /// Its instructions.
        code: Vec<Insn>,
        /// Whether it takes the place of one.
        update: bool,
    },
}

impl File {
    pub(super) fn new(
        controller: &'static str,
        name: impl Into<Cow<'static, str>>,
        text: impl fmt::Display,
        field: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            controller,
            name: name.into(),
            text: text.to_string(),
            field: field.into(),
            if_absent: IfAbsent::Fails,
        }
    }

    /// The same, but done if there is no such file.
    pub(super) fn or_ignore(mut self) -> Self {
        self.if_absent = IfAbsent::Ignore;
        self
    }

    /// The same; a 0 is done where an older kernel has no such file.
    pub(super) fn or_ignore_zero(self) -> Self {
        if self.text == "0" { self.or_ignore() } else { self }
    }
}

impl Write {
    /// Whether it is the device program of v2.
    pub fn is_program(&self) -> bool {
        matches!(self, Self::DeviceProgram { .. })
    }
}

impl From<File> for Write {
    fn from(file: File) -> Self {
        Self::File(file)
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.if_absent == IfAbsent::Ignore { "?" } else { "" };
        write!(f, "{}{mark} = {}", self.name, self.text)
    }
}

/// One line a step, for `plan` and for tests.
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, files: &[File], between: &str| {
            for (i, file) in files.iter().enumerate() {
                write!(f, "{}{file}", if i == 0 { "" } else { between })?;
            }
            Ok(())
        };
        match self {
            Self::File(file) => file.fmt(f),
            Self::AnyOrder(files) => list(f, files, " & "),
            Self::FirstOf(files) => list(f, files, " | "),
            Self::AtMost { name, limit, .. } => write!(f, "{name} <= {limit}"),
            Self::Period { period } => write!(f, "cpu.max = (kept) {period}"),
            Self::DeviceList { policy, update } => {
                write!(f, "devices{} {policy}", if *update { " to" } else { "" })
            }
            Self::DeviceProgram { code, update } => {
                let verb = if *update { "replaced, now" } else { "attached," };
                write!(f, "device program {verb} {} steps", code.len())
            }
        }
    }
}
