//! The documents of an image layout (image-spec): what is read of them. Fields that nobody
//! needs are not looked at, unknown ones are let pass, as the spec asks.

use super::digest::Digest;
use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// The most bytes of an index, a manifest or a configuration. Registries take 4 MiB.
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// The most layers of an image.
pub const LAYERS: usize = 4096;

/// `oci-layout`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    /// Version of the layout.
    pub image_layout_version: String,
}

/// What another document is: its type, name and size (descriptor.md).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type; an index that umoci has written may leave it out.
    #[serde(default)]
    pub media_type: String,
    /// Name.
    pub digest: Digest,
    /// Bytes.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// What is said of it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// The machines that it is for.
    #[serde(default, deserialize_with = "null_as_default")]
    pub platform: Option<Platform>,
}

/// `platform` (image-index.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64` ...
    #[serde(default)]
    pub architecture: String,
    /// `linux` ...
    #[serde(default)]
    pub os: String,
    /// `v8` ...
    #[serde(default)]
    pub variant: String,
}

/// An index or a manifest: which of them, its fields tell.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u64,
    /// Media type.
    #[serde(default)]
    pub media_type: String,
    /// Of an index.
    pub manifests: Option<Vec<Descriptor>>,
    /// Of a manifest.
    pub config: Option<Descriptor>,
    /// Of a manifest.
    pub layers: Option<Vec<Descriptor>>,
}

/// An image's configuration (config.md).
#[derive(Debug, Default, Deserialize)]
pub struct Image {
    /// When it was made.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// What it runs on.
    #[serde(default)]
    pub architecture: String,
    /// What it runs on.
    #[serde(default)]
    pub os: String,
    /// What it runs on.
    #[serde(default)]
    pub variant: String,
    /// Version of the system.
    #[serde(rename = "os.version")]
    pub os_version: Option<String>,
    /// What the system must have.
    #[serde(rename = "os.features", default, deserialize_with = "null_as_default")]
    pub os_features: Vec<String>,
    /// How it is run.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: Config,
    /// Its layers.
    pub rootfs: RootFs,
}

/// `rootfs`.
#[derive(Debug, Default, Deserialize)]
pub struct RootFs {
    /// Digests of the unpacked layers, the lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

/// `config`: how a container of it is run.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// User and group.
    #[serde(default, deserialize_with = "null_as_default")]
    pub user: String,
    /// Ports that it listens on.
    #[serde(default, deserialize_with = "null_as_default")]
    pub exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    /// Environment.
    #[serde(default, deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// The program.
    #[serde(default, deserialize_with = "null_as_default")]
    pub entrypoint: Vec<String>,
    /// Its words.
    #[serde(default, deserialize_with = "null_as_default")]
    pub cmd: Vec<String>,
    /// Directories that hold data.
    #[serde(default, deserialize_with = "null_as_default")]
    pub volumes: BTreeMap<String, serde::de::IgnoredAny>,
    /// Where it begins.
    #[serde(default, deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// What is said of it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// What asks it to end.
    #[serde(default, deserialize_with = "null_as_default")]
    pub stop_signal: String,
}

fn null_as_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A size that is negative or beyond all disks comes from an attacker.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size).map_err(|_| serde::de::Error::custom(format!("size {size}: is below 0")))
}

/// Reads a document.
///
/// # Errors
/// What it is not.
pub fn parse<T: for<'de> Deserialize<'de>>(text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| Error::new(error.to_string()))
}

/// What a document with `manifests` or `layers` is.
#[derive(Debug)]
pub enum Either {
    /// A list of others.
    Index(Vec<Descriptor>),
    /// An image: its configuration and layers.
    Manifest(Descriptor, Vec<Descriptor>),
}

impl Document {
    /// Which of the two it is.
    ///
    /// # Errors
    /// Both or neither: who reads it as the other one sees another image (CVE-2021-41190).
    pub fn which(self) -> Result<Either> {
        if self.schema_version != 2 {
            let version = self.schema_version;
            return Err(Error::new(format!("schemaVersion {version} is not 2")));
        }
        match (self.manifests, self.config, self.layers) {
            (Some(_), None, Some(_)) | (Some(_), Some(_), _) => {
                Err(Error::new("it is an index and a manifest at once, and means two things"))
            }
            (Some(_), None, None) if self.media_type.contains("manifest.v") => {
                Err(Error::new("its media type is a manifest's, and it is an index"))
            }
            (None, Some(_), Some(_)) if self.media_type.contains("image.index") => {
                Err(Error::new("its media type is an index's, and it is a manifest"))
            }
            (Some(manifests), None, None) => Ok(Either::Index(manifests)),
            (None, Some(config), Some(layers)) => Ok(Either::Manifest(config, layers)),
            (None, None, Some(_)) => Err(Error::new("config is missing")),
            (None, _, None) => Err(Error::new("it has neither manifests nor layers")),
        }
    }
}
