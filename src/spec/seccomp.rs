//! `linux.seccomp` (config-linux.md, "Seccomp").

use super::{null_as_default, objects};
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A seccomp profile as the bundle writes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// `SCMP_ACT_*` for calls that no rule names.
    pub default_action: String,
    /// errno of the default action.
    pub default_errno_ret: Option<u32>,
    /// `SCMP_ARCH_*` names; empty means the native one.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_*` names; unset leaves the choice to the runtime.
    pub flags: Option<Vec<String>>,
    /// Socket that receives the notification fd.
    pub listener_path: Option<String>,
    /// Opaque data for the listener.
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(default, deserialize_with = "objects")]
    pub syscalls: Vec<SyscallRule>,
}

/// One entry of `seccomp.syscalls`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyscallRule {
    /// Names of the system calls.
    #[serde(default, deserialize_with = "null_as_default")]
    pub names: Names,
    /// `SCMP_ACT_*`.
    pub action: String,
    /// errno or trace value of the action.
    pub errno_ret: Option<u32>,
    /// Conditions on the arguments.
    #[serde(default, deserialize_with = "objects")]
    pub args: Vec<SyscallArg>,
}

/// A condition on one argument of a system call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyscallArg {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// Value to compare with; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// The value of `SCMP_CMP_MASKED_EQ`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub value_two: u64,
    /// `SCMP_CMP_*`.
    pub op: String,
}

/// A list of strings, kept as one: a profile names four hundred system calls, and
/// each would be a piece of memory of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Names {
    /// The strings in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| &self.text[std::mem::replace(&mut start, *end)..*end])
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }
}

impl<T: AsRef<str>> FromIterator<T> for Names {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.push(name.as_ref()));
        all
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
                let mut all = Names::default();
                while seq.next_element_seed(Next(&mut all))?.is_some() {}
                Ok(all)
            }
        }
        from.deserialize_seq(List)
    }
}

/// Reads one string to the end of the list.
struct Next<'a>(&'a mut Names);

impl<'de> DeserializeSeed<'de> for Next<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Next<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        self.0.push(name);
        Ok(())
    }
}
