//! What the bundle says: `config.json` as plain types, field for field, and
//! nothing else. Every default and every check beyond the JSON type lives in
//! [`crate::plan`]; a field that the file may leave out is an `Option` here.
//!
//! Source: OCI runtime-spec 1.3, `config.md` and `config-linux.md`.

mod explain;
mod hooks;
pub mod known;
mod linux;
mod load;
mod process;
mod resources;
mod seccomp;
mod state;
pub(crate) mod template;

pub use hooks::{Hook, Hooks};
pub use linux::*;
pub use load::{parse, parse_str};
pub use process::*;
pub use resources::*;
pub use seccomp::*;
pub use state::{HookState, ProcessState, State, Status};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The version of the runtime-spec that this runtime implements, and reports.
pub const OCI_VERSION: &str = "1.3.0";

/// The annotation with the layers of an image, a JSON array of directories, the lowest first. It
/// is also the `root.path` beside it: `pinnace-image` writes both, `pinnace` believes both alone.
pub const LAYERS: &str = "run.pinnace.layers";

/// The whole of `config.json` (config.md).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// `SemVer` of the spec that the bundle complies with.
    pub oci_version: String,
    /// The root filesystem.
    #[serde(default, deserialize_with = "object")]
    pub root: Option<Root>,
    /// Mounts in the order in which they are to be made.
    #[serde(default, deserialize_with = "objects")]
    pub mounts: Vec<Mount>,
    /// The container's process; absent is legal at `create`.
    #[serde(default, deserialize_with = "object")]
    pub process: Option<Process>,
    /// Host name in the container's UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name in the container's UTS namespace.
    pub domainname: Option<String>,
    /// Programs to run at points of the life cycle.
    #[serde(default, deserialize_with = "object")]
    pub hooks: Option<Hooks>,
    /// Arbitrary metadata, copied to the state.
    #[serde(default, deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// Everything that is particular to Linux.
    #[serde(default, deserialize_with = "object")]
    pub linux: Option<Linux>,
}

impl Spec {
    /// `linux.seccomp`.
    pub fn seccomp(&self) -> Option<&Seccomp> {
        self.linux.as_ref()?.seccomp.as_ref()
    }
}

/// The parts of `config.json` that a further process needs. A filter, which can
/// be most of the file, is passed over.
#[derive(Debug, Default, Deserialize)]
pub struct ExecSpec {
    /// The container's process.
    #[serde(default, deserialize_with = "object")]
    pub process: Option<Process>,
    /// Everything that is particular to Linux.
    #[serde(default, deserialize_with = "object")]
    pub linux: Option<ExecLinux>,
}

/// `linux` in [`ExecSpec`].
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecLinux {
    /// NUMA policy.
    #[serde(default, deserialize_with = "object")]
    pub memory_policy: Option<MemoryPolicy>,
    /// Execution domain.
    #[serde(default, deserialize_with = "object")]
    pub personality: Option<Personality>,
    /// Whether there is a filter.
    pub seccomp: Option<IgnoredAny>,
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
    #[serde(default, deserialize_with = "objects")]
    pub uid_mappings: Vec<IdMapping>,
    /// Mapping of an id-mapped mount; both or neither.
    #[serde(default, deserialize_with = "objects")]
    pub gid_mappings: Vec<IdMapping>,
}

/// Reads an explicit `null` as if the field were absent: engines written in Go
/// print their nil slices and maps so.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads an object or `null`. serde alone would take a list for an object, its
/// items for the fields.
fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(Object(PhantomData))
}

/// Reads an object, or `null` as an empty one.
fn object_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(object(deserializer)?.unwrap_or_default())
}

/// Reads a list of objects, or `null`.
fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(Objects(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Object<T> {
    type Value = Option<T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = Option<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

/// Reads an object whose members are objects, or `null`.
fn members<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(Members(PhantomData))
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = BTreeMap<String, T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of objects")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = BTreeMap::new();
        while let Some(name) = map.next_key()? {
            let one = map.next_value_seed(Object(PhantomData))?;
            all.insert(name, one.ok_or_else(|| A::Error::custom("null among objects"))?);
        }
        Ok(all)
    }
}

struct Objects<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }
    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(Object(PhantomData))? {
            all.push(one.ok_or_else(|| A::Error::custom("null in a list of objects"))?);
        }
        Ok(all)
    }
}
