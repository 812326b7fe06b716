//! An image layout (image-layout.md) on a disk: blobs by their digests, and the one image in
//! it that is meant.

use super::digest::{Digest, Hasher};
use super::documents::{
    Descriptor, Document, Either, Image, LAYERS, MAX_DOCUMENT, Marker, Platform, parse,
};
use crate::error::{At as _, Context as _, Error, Result};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How deep an index may be in another one.
const DEPTH: u32 = 8;
/// The annotation of an entry that has its tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The one with the whole name, in what `docker save` makes.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Which image of a layout is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The only one.
    Only,
    /// That with this tag.
    Tag(String),
    /// That with this digest.
    Digest(Digest),
}

/// A layout.
#[derive(Debug)]
pub struct Layout {
    dir: OwnedFd,
}

/// An image that was found.
#[derive(Debug)]
pub struct Found {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// How it is run.
    pub image: Image,
    /// Its layers, the lowest first, each with the digest of what is in it.
    pub layers: Vec<(Descriptor, Digest)>,
}

impl Layout {
    /// The layout in that directory.
    ///
    /// # Errors
    /// Where none is.
    pub fn new(dir: OwnedFd) -> Result<Self> {
        let layout = Self { dir };
        let text = layout.file("oci-layout").map_err(|error| match error.errno() {
            Some(Errno::NOENT) => {
                Error::new("oci-layout: there is no such file, so this is no image layout")
                    .hint("skopeo copy docker://IMAGE oci:DIRECTORY:TAG makes one")
            }
            _ => error,
        })?;
        let marker: Marker = parse(&text).at(|| "oci-layout")?;
        if !marker.image_layout_version.starts_with("1.") {
            let version = marker.image_layout_version;
            return Err(Error::new(format!("oci-layout: version {version:?} is not 1.x")));
        }
        Ok(layout)
    }

    /// The image that is meant, for a platform.
    ///
    /// # Errors
    /// None, or several; whatever is wrong with the documents on the way to it.
    pub fn find(&self, choice: &Choice, platform: &Platform) -> Result<Found> {
        let index: Document = parse(&self.file("index.json")?).at(|| "index.json")?;
        let Either::Index(entries) = index.which().at(|| "index.json")? else {
            return Err(Error::new("index.json: it is a manifest, not an index"));
        };
        let chosen = match choice {
            Choice::Only => {
                let images = entries.iter().filter(|entry| is_image(&entry.media_type));
                images.cloned().collect()
            }
            Choice::Tag(tag) => named(&entries, tag)?,
            Choice::Digest(digest) => {
                let found = self.by_digest(entries, digest, DEPTH, &mut BTreeSet::new())?;
                vec![found.ok_or_else(|| {
                    Error::new("no image of this layout has that digest").at(digest)
                })?]
            }
        };
        let mut chosen: Vec<_> = chosen.into_iter().filter(|entry| fits(entry, platform)).collect();
        chosen.sort_by(|a, b| a.digest.cmp(&b.digest));
        chosen.dedup_by(|a, b| a.digest == b.digest);
        let name = match choice {
            Choice::Tag(tag) => format!("index.json: {tag:?}"),
            _ => "index.json".to_owned(),
        };
        match &chosen[..] {
            [] => Err(no_platform(&name, platform)),
            [one] => self.resolve(one, platform, DEPTH),
            several if *choice == Choice::Only => {
                Err(Error::new(format!("index.json: {} images", several.len()))
                    .hint(format!("name one by LAYOUT:TAG: {}", tags(several).join(", "))))
            }
            several => {
                let digests: Vec<_> = several.iter().map(|one| one.digest.to_string()).collect();
                Err(Error::new(format!("{} images have that name", several.len()))
                    .at(&name)
                    .hint(format!("name one by LAYOUT@DIGEST: {}", digests.join(", "))))
            }
        }
    }

    /// Follows indexes to a manifest.
    fn resolve(&self, entry: &Descriptor, platform: &Platform, depth: u32) -> Result<Found> {
        let at = || entry.digest.to_string();
        let document: Document = parse(&self.blob(entry)?).at(at)?;
        match document.which().at(at)? {
            Either::Manifest(config, layers) => self.image(entry, &config, layers, platform).at(at),
            Either::Index(_) if depth == 0 => {
                Err(Error::new(format!("more than {DEPTH} indexes in indexes")).at(&entry.digest))
            }
            Either::Index(entries) => {
                let fitting = entries
                    .iter()
                    .enumerate()
                    .filter(|(_, entry)| is_image(&entry.media_type) && fits(entry, platform));
                // The first one is the best one (image-index.md); of ARM the newest counts.
                let best = fitting.max_by_key(|(at, entry)| {
                    let variant = entry.platform.as_ref().map(|one| variant(&one.variant));
                    (variant, std::cmp::Reverse(*at))
                });
                let (_, best) = best.ok_or_else(|| no_platform(&at(), platform))?;
                self.resolve(best, platform, depth - 1)
            }
        }
    }

    fn image(
        &self,
        entry: &Descriptor,
        config: &Descriptor,
        layers: Vec<Descriptor>,
        platform: &Platform,
    ) -> Result<Found> {
        let is_config = [
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
        ];
        if !is_config.contains(&config.media_type.as_str()) {
            let kind = &config.media_type;
            return Err(Error::new(format!(
                "config.mediaType: {kind:?} is no image's, but another artifact's"
            )));
        }
        let image: Image = parse(&self.blob(config)?).at(|| format!("config {}", config.digest))?;
        let own = Platform {
            architecture: image.architecture.clone(),
            os: image.os.clone(),
            variant: image.variant.clone(),
        };
        if !matches(&own, platform) {
            return Err(no_platform(&format!("an image for {}", show(&own)), platform));
        }
        let ids = &image.rootfs.diff_ids;
        if ids.len() != layers.len() {
            return Err(Error::new(format!(
                "{} layers, and {} of them in the configuration's rootfs.diff_ids",
                layers.len(),
                ids.len()
            )));
        }
        if layers.is_empty() || layers.len() > LAYERS {
            return Err(Error::new(format!("from 1 to {LAYERS} can be"))
                .at(format_args!("{} layers", layers.len())));
        }
        let layers = layers.into_iter().zip(ids.iter().cloned()).collect();
        Ok(Found { manifest: entry.digest.clone(), image, layers })
    }

    /// The entry of that digest, here or in an index. Each index is read once: as each may name another
    /// one many times, there is no end to the ways through them.
    fn by_digest(
        &self,
        entries: Vec<Descriptor>,
        digest: &Digest,
        depth: u32,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<Option<Descriptor>> {
        if let Some(found) = entries.iter().find(|entry| entry.digest == *digest) {
            return Ok(Some(found.clone()));
        }
        for entry in entries.iter().filter(|entry| depth > 0 && is_index(&entry.media_type)) {
            if !seen.insert(entry.digest.clone()) {
                continue;
            }
            let document: Document = parse(&self.blob(entry)?).at(|| entry.digest.to_string())?;
            if let Either::Index(below) = document.which().at(|| entry.digest.to_string())?
                && let Some(found) = self.by_digest(below, digest, depth - 1, seen)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A document, which must be what its descriptor says.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = &descriptor.digest;
        if descriptor.size > MAX_DOCUMENT {
            let size = descriptor.size;
            return Err(Error::new(format!("a document of {size} bytes"))
                .at(digest)
                .hint(format!("at most {} MiB are read", MAX_DOCUMENT >> 20)));
        }
        let file = self.open_blob(descriptor)?;
        let mut text = Vec::new();
        file.take(MAX_DOCUMENT).read_to_end(&mut text).call(|| format!("read blob {digest}"))?;
        let mut hasher = Hasher::new(digest.algorithm);
        hasher.update(&text);
        let found = hasher.finish();
        if found != *digest {
            return Err(damaged(digest, &format!("its content has the digest {found}")));
        }
        Ok(text)
    }

    /// The file of a blob, which has the size that its descriptor says.
    ///
    /// # Errors
    /// A blob that is missing, is no file, or of another size.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<File> {
        let digest = &descriptor.digest;
        let path = format!("blobs/{}/{}", digest.algorithm.name(), digest.hex);
        let file = open(self.dir.as_fd(), &path).map_err(|errno| match errno {
            Errno::NOENT => Error::new(format!("blob {digest} is missing in the layout"))
                .hint("copy the image again: skopeo copy SOURCE oci:LAYOUT:TAG"),
            _ => Error::os(format!("open {path}"), errno),
        })?;
        let size = regular(&file).at(|| path.clone())?;
        if size != descriptor.size {
            let said = descriptor.size;
            return Err(damaged(digest, &format!("it has {size} bytes and not {said}")));
        }
        Ok(file)
    }

    fn file(&self, name: &str) -> Result<Vec<u8>> {
        let file = open(self.dir.as_fd(), name).call(|| format!("open {name}"))?;
        regular(&file).at(|| name.to_owned())?;
        let mut text = Vec::new();
        file.take(MAX_DOCUMENT + 1).read_to_end(&mut text).call(|| format!("read {name}"))?;
        if text.len() as u64 > MAX_DOCUMENT {
            return Err(Error::new(format!("has more than {} MiB", MAX_DOCUMENT >> 20)).at(name));
        }
        Ok(text)
    }
}

/// The error of a blob that is not what its name says.
pub fn damaged(digest: &Digest, what: &str) -> Error {
    Error::new(format!("blob {digest} is damaged: {what}"))
        .hint("copy the image again: skopeo copy SOURCE oci:LAYOUT:TAG")
}

/// Links in a layout could lead anywhere.
fn open(dir: BorrowedFd<'_>, path: &str) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(dir, path, flags, Mode::empty(), resolve).map(File::from)
}

/// The size of what must be a regular file.
fn regular(file: &File) -> Result<u64> {
    let stat = fstat(file).call(|| "fstat".into())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new("is no regular file"));
    }
    Ok(u64::try_from(stat.st_size).unwrap_or_default())
}

fn is_index(kind: &str) -> bool {
    kind.is_empty() || kind.contains("image.index") || kind.contains("manifest.list")
}

/// Media types that nobody knows are passed over (media-types.md).
fn is_image(kind: &str) -> bool {
    is_index(kind)
        || kind.starts_with("application/vnd.oci.image.manifest.")
        || kind.starts_with("application/vnd.docker.distribution.manifest.")
}

/// The tags of entries, or what else tells them apart.
fn tags(entries: &[Descriptor]) -> Vec<String> {
    let name = |entry: &Descriptor| {
        let tag = entry.annotations.get(REF_NAME).or_else(|| entry.annotations.get(IMAGE_NAME));
        tag.map_or_else(|| format!("@{}", entry.digest), Clone::clone)
    };
    let mut names: Vec<_> = entries.iter().map(name).collect();
    names.sort();
    names.dedup();
    names.truncate(20);
    names
}

fn named(entries: &[Descriptor], tag: &str) -> Result<Vec<Descriptor>> {
    let is_named = |entry: &&Descriptor| {
        [REF_NAME, IMAGE_NAME]
            .iter()
            .any(|key| entry.annotations.get(*key).is_some_and(|name| name == tag))
    };
    let found: Vec<_> = entries.iter().filter(is_named).cloned().collect();
    if found.is_empty() {
        return Err(Error::new(format!("{tag:?}: no image of this layout has that tag"))
            .hint(format!("there are: {}", tags(entries).join(", "))));
    }
    Ok(found)
}

/// Whether an entry may be for a platform: most say nothing.
fn fits(entry: &Descriptor, wanted: &Platform) -> bool {
    entry.platform.as_ref().is_none_or(|own| matches(own, wanted))
}

/// Older ARM runs on newer machines.
fn matches(own: &Platform, wanted: &Platform) -> bool {
    let is = |own: &str, wanted: &str| own.is_empty() || own == wanted;
    is(&own.os, &wanted.os)
        && is(&own.architecture, &wanted.architecture)
        && (own.variant.is_empty()
            || wanted.variant.is_empty()
            || variant(&own.variant) <= variant(&wanted.variant))
}

fn variant(text: &str) -> u32 {
    text.trim_start_matches('v').parse().unwrap_or(0)
}

fn no_platform(what: &str, wanted: &Platform) -> Error {
    Error::new(format!("nothing for {}", show(wanted)))
        .at(what)
        .hint("--platform OS/ARCHITECTURE names another one; running it takes qemu-user")
}

fn show(platform: &Platform) -> String {
    let Platform { architecture, os, variant } = platform;
    if variant.is_empty() {
        format!("{os}/{architecture}")
    } else {
        format!("{os}/{architecture}/{variant}")
    }
}

impl Platform {
    /// This machine's.
    pub fn own() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { architecture: architecture.into(), os: "linux".into(), variant: String::new() }
    }

    /// Reads `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.
    ///
    /// # Errors
    /// What is neither.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::new(format!("{text:?} is not OS/ARCHITECTURE, as linux/arm64"));
        let mut parts = text.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let (os, architecture, variant) = (part(), part(), part());
        let (Some(os), Some(architecture), None) = (os, architecture, parts.next()) else {
            return Err(wrong());
        };
        Ok(Self { architecture, os, variant: variant.unwrap_or_default() })
    }
}

/// Looks at documents of all kinds, for hack/fuzz.
#[cfg(fuzzing)]
pub fn fuzz(text: &[u8]) {
    let mut read = usize::from(parse::<Marker>(text).is_ok());
    if let Ok(Ok(Either::Index(entries))) = parse::<Document>(text).map(Document::which) {
        assert!(tags(&entries).len() <= entries.len());
        read += usize::from(named(&entries, "latest").is_ok());
        read += entries.iter().filter(|entry| fits(entry, &Platform::own())).count();
    }
    read += usize::from(parse::<Image>(text).is_ok());
    std::hint::black_box(read);
}
