//! What the bundle says: `config.json` as plain types, field for field, and
//! nothing else. Every default and every check beyond the JSON type lives in
//! [`crate::plan`]; a field that the file may leave out is an `Option` here.
//!
//! Source: OCI runtime-spec 1.3, `config.md` and `config-linux.md`.

mod hooks;
mod linux;
mod load;
mod process;
mod resources;
mod seccomp;
mod state;

pub use hooks::{Hook, Hooks};
pub use linux::*;
pub use load::{parse, parse_str};
pub use process::*;
pub use resources::*;
pub use seccomp::*;
pub use state::{ProcessState, State, Status};

use serde::Deserialize;
use serde::de::Visitor;
use std::collections::BTreeMap;

/// The version of the runtime-spec that this runtime implements, and reports.
pub const OCI_VERSION: &str = "1.3.0";

/// The whole of `config.json` (config.md).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// `SemVer` of the spec that the bundle complies with.
    pub oci_version: String,
    /// The root filesystem.
    pub root: Option<Root>,
    /// Mounts in the order in which they are to be made.
    #[serde(default, deserialize_with = "null_as_default")]
    pub mounts: Vec<Mount>,
    /// The container's process; absent is legal at `create`.
    pub process: Option<Process>,
    /// Host name in the container's UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name in the container's UTS namespace.
    pub domainname: Option<String>,
    /// Programs to run at points of the life cycle.
    #[serde(default, deserialize_with = "object_if_any")]
    pub hooks: Option<Hooks>,
    /// Arbitrary metadata, copied to the state.
    #[serde(default, deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// Everything that is particular to Linux.
    pub linux: Option<Linux>,
}

/// `root` (config.md, "Root").
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: String,
    /// Whether the root filesystem is read-only inside the container.
    #[serde(default, deserialize_with = "null_as_default")]
    pub readonly: bool,
}

/// One entry of `mounts` (config.md, "Mounts").
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Path inside the container.
    pub destination: String,
    /// File-system type; a dummy for bind mounts.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Device, or for a bind mount a path absolute or relative to the bundle.
    pub source: Option<String>,
    /// Options of mount(8), and data for the file system.
    #[serde(default, deserialize_with = "null_as_default")]
    pub options: Vec<String>,
    /// Mapping of an id-mapped mount; both or neither.
    #[serde(default, deserialize_with = "null_as_default")]
    pub uid_mappings: Vec<IdMapping>,
    /// Mapping of an id-mapped mount; both or neither.
    #[serde(default, deserialize_with = "null_as_default")]
    pub gid_mappings: Vec<IdMapping>,
}

/// As [`null_as_default`], for an object whose members may all be missing: serde
/// would take a list of nothing for it.
fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map_or_else(T::default, |object| object.0))
}

/// The same, told from an object that is not there.
fn object_if_any<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|object| object.0))
}

/// The same for each member of an object.
fn objects<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Option::<BTreeMap<String, Object<T>>>::deserialize(deserializer)?;
    Ok(objects.into_iter().flatten().map(|(name, object)| (name, object.0)).collect())
}

/// A struct that is read from an object only.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(FromMap(deserializer)).map(Self)
    }
}

struct FromMap<D>(D);

impl<'de, D: serde::Deserializer<'de>> serde::Deserializer<'de> for FromMap<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// Reads an explicit `null` as if the field were absent: engines written in Go
/// print their nil slices and maps so.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
