//! Archives and layouts, byte for byte as a test wants them, also such as no program makes.

use flate2::{Compression, write::GzEncoder};
use pinnace::image::digest::{Algorithm, of};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// A tar archive that is being written.
#[derive(Default)]
pub struct Tar(pub Vec<u8>);

/// One header; the fields that tests bend.
pub struct Header {
    pub name: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: u64,
    pub link: Vec<u8>,
    pub device: (u32, u32),
}

impl Header {
    pub fn new(name: impl AsRef<[u8]>, kind: u8) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        let (name, link) = (name.as_ref().to_vec(), Vec::new());
        let (uid, gid, size, mtime, device) = (0, 0, 0, 1_000_000_000, (0, 0));
        Self { name, kind, mode, uid, gid, size, mtime, link, device }
    }

    /// The 512 bytes, with the checksum that belongs to them.
    pub fn bytes(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, format!("{:07o}", self.gid).as_bytes());
        put(124, format!("{:011o}", self.size).as_bytes());
        put(136, format!("{:011o}", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", self.device.0).as_bytes());
        put(337, format!("{:07o}", self.device.1).as_bytes());
        seal(&mut block);
        block
    }
}

/// Puts the checksum in.
pub fn seal(block: &mut [u8; 512]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn raw(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.extend(header.bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Changes a header before it is written.
    #[must_use]
    pub fn with(self, name: &str, kind: u8, change: impl FnOnce(&mut Header)) -> Self {
        let mut header = Header::new(name, kind);
        change(&mut header);
        self.raw(&header, b"")
    }

    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with(name, content, |_| {})
    }

    #[must_use]
    pub fn file_with(
        self,
        name: &str,
        content: impl AsRef<[u8]>,
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new(name, b'0');
        header.size = content.as_ref().len() as u64;
        change(&mut header);
        self.raw(&header, content.as_ref())
    }

    #[must_use]
    pub fn dir(self, name: &str) -> Self {
        self.with(name, b'5', |_| {})
    }

    #[must_use]
    pub fn link(self, name: &str, target: &str) -> Self {
        self.with(name, b'2', |header| header.link = target.into())
    }

    #[must_use]
    pub fn hard(self, name: &str, target: &str) -> Self {
        self.with(name, b'1', |header| header.link = target.into())
    }

    /// An extended header for the next entry.
    #[must_use]
    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let text: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        let mut header = Header::new("pax", b'x');
        header.size = text.len() as u64;
        self.raw(&header, &text)
    }

    /// A long name (`L`) or link name (`K`) as GNU tar writes it.
    #[must_use]
    pub fn long(self, kind: u8, name: &str) -> Self {
        let mut header = Header::new("././@LongLink", kind);
        header.size = name.len() as u64 + 1;
        self.raw(&header, &[name.as_bytes(), b"\0"].concat())
    }

    /// With its end.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all);
    format!("{} {key}={value}\n", length.unwrap()).into_bytes()
}

/// How a layer is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    Gzip,
    Zstd,
}

/// A layout on a disk.
pub struct Layout<'a> {
    dir: &'a Path,
    entries: Vec<Value>,
}

impl<'a> Layout<'a> {
    pub fn new(dir: &'a Path) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Self { dir, entries: Vec::new() }
    }

    /// Writes a blob; returns its descriptor.
    pub fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = of(Algorithm::Sha256, bytes);
        fs::write(self.dir.join("blobs/sha256").join(&digest.hex), bytes).unwrap();
        json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()})
    }

    pub fn json(&self, kind: &str, document: &Value) -> Value {
        self.blob(kind, document.to_string().as_bytes())
    }

    pub fn layer(&self, tar: &[u8], pack: Pack) -> Value {
        let kind = "application/vnd.oci.image.layer.v1.tar";
        match pack {
            Pack::Gzip => self.blob(&format!("{kind}+gzip"), &gzip(tar)),
            Pack::Zstd => self.blob(&format!("{kind}+zstd"), &zstd(tar)),
        }
    }

    /// A manifest of these layers.
    pub fn manifest(&self, layers: &[Vec<u8>], pack: Pack, config: &Value) -> Value {
        let descriptors: Vec<_> = layers.iter().map(|tar| self.layer(tar, pack)).collect();
        let ids: Vec<_> = layers.iter().map(|tar| of(Algorithm::Sha256, tar).to_string()).collect();
        self.manifest_of(&json!(descriptors), &json!(ids), config)
    }

    pub fn manifest_of(&self, layers: &Value, diff_ids: &Value, config: &Value) -> Value {
        let config = self.json(
            "application/vnd.oci.image.config.v1+json",
            &json!({"os": "linux", "architecture": here(), "config": config,
                    "rootfs": {"type": "layers", "diff_ids": diff_ids}}),
        );
        self.json(
            "application/vnd.oci.image.manifest.v1+json",
            &json!({"schemaVersion": 2, "config": config, "layers": layers}),
        )
    }

    /// Adds an entry to index.json, with a tag if it is not empty.
    pub fn tag(mut self, mut entry: Value, tag: &str) -> Self {
        if !tag.is_empty() {
            entry["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
        }
        self.entries.push(entry);
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        fs::write(self.dir.join("index.json"), index.to_string()).unwrap();
        self
    }
}

/// A layout with one image of these layers, which runs `true`.
pub fn image(dir: &Path, layers: &[Vec<u8>]) {
    let layout = Layout::new(dir);
    let manifest = layout.manifest(layers, Pack::Gzip, &json!({"Cmd": ["true"]}));
    layout.tag(manifest, "latest");
}

pub fn here() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zrip::compress(bytes, 1).unwrap()
}
