//! The commands: what the caller has named is opened here, with the caller's rights; what is in
//! it is read in the sandbox.

use super::config::{self, Wishes};
use super::copy;
use super::digest::Digest;
use super::documents::Platform;
use super::layer::Unpacker;
use super::layout::{Choice, Found, Layout};
use super::mark::Marker;
use super::merged::Merged;
use super::sandbox::{self, is_privileged};
use super::store::{Image, Store};
use super::tell::{tell, warn};
use super::tree::{self, list, open_named, remove};
use super::unpack::Settings;
use super::users;
use crate::error::{At as _, Context as _, Error, Result};
use crate::sys::landlock::Access;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, mkdirat, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The most layers of an overlay (`OVL_MAX_STACK` of the kernel).
const LAYERS: usize = 500;

/// The most labels that are told one by one.
const LABELS: usize = 20;

/// What `unpack` is asked for.
#[derive(Debug)]
pub struct Wanted {
    /// For which machine.
    pub platform: Platform,
    /// Instead of the image's user.
    pub user: Option<String>,
    /// Whether the root is copied.
    pub copy: bool,
    /// Whether there is a terminal.
    pub terminal: bool,
    /// Whether device nodes are made.
    pub devices: bool,
    /// Whether it is for a user.
    pub rootless: bool,
    /// Instead of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// Instead of the image's Cmd.
    pub command: Vec<String>,
}

/// A bundle that is being made, and what of it was not there before.
struct Bundle {
    path: PathBuf,
    dir: OwnedFd,
    root: OwnedFd,
    root_name: &'static str,
    made: bool,
    made_root: bool,
    /// Where config.json comes, its name, and the one that it has before.
    config_dir: OwnedFd,
    config: OsString,
    draft: OsString,
    /// The absolute path of config.json.
    config_path: String,
}

/// `unpack`: returns the exit status.
///
/// # Errors
/// Those of what comes before the sandbox; its own errors it tells itself.
pub fn unpack(store: &Store, reference: &OsStr, bundle: &Path, wanted: &Wanted) -> Result<i32> {
    let (layout, choice) = reference_of(reference)?;
    let source = open_layout(&layout)?;
    if store.path.to_str().is_none() {
        return Err(Error::new("its path is not UTF-8, and config.json must be").at("--store"));
    }
    let bundle = Bundle::begin(bundle, wanted)?;
    let settings = settings(store, wanted.devices)?;
    let name = name_of(&layout, &choice);
    let directories = [
        (store.dir(), Access::Change),
        (source.as_fd(), Access::Read),
        (bundle.dir.as_fd(), Access::Change),
        (bundle.root.as_fd(), Access::Change),
        (bundle.config_dir.as_fd(), Access::Change),
    ];
    let status = sandbox::run(&directories, settings.is_privileged, |marker| {
        let layout = Layout::new(source.try_clone().call(|| "dup".into())?)?;
        let unpacker = Unpacker { layout: &layout, store, settings, marker };
        inside(&unpacker, &choice, &name, &bundle, wanted).at(|| name.clone())
    });
    match status {
        Ok(0) => Ok(0),
        // The last step was done before the signal came.
        Ok(code) if code > 128 && bundle.is_written()? => Ok(0),
        other => {
            if matches!(other, Ok(code) if code > 128) {
                tell("interrupted: what was begun is removed");
            }
            let undone = store.sweep().map(drop).and(bundle.undo());
            match other {
                Ok(code) => undone.map(|()| code),
                Err(error) => Err(error.and(undone)),
            }
        }
    }
}

/// The part that reads the image.
fn inside(
    unpacker: &Unpacker<'_>,
    choice: &Choice,
    name: &str,
    bundle: &Bundle,
    wanted: &Wanted,
) -> Result<()> {
    let store = unpacker.store;
    let found = unpacker.layout.find(choice, &wanted.platform)?;
    let layers = distinct(&found);
    if layers.len() > LAYERS && !wanted.copy {
        let count = layers.len();
        return Err(Error::new(format!("{count} layers, and overlay takes at most {LAYERS}"))
            .hint("--copy makes one directory of them"));
    }
    let _shared = store.share()?;
    for (count, (blob, layer)) in found.layers.iter().enumerate() {
        let label = format!("layer {}/{}", count + 1, found.layers.len());
        unpacker.ensure(blob, layer, &label)?;
    }
    let open = |layers: &mut dyn Iterator<Item = &Digest>| -> Result<Vec<OwnedFd>> {
        layers.map(|layer| store.open_layer(layer)).collect()
    };
    let layers = visible(&layers, open(&mut layers.iter())?, unpacker.marker)?;
    let user = wanted.user.as_ref().unwrap_or(&found.image.config.user);
    let user = users::find(user, &Merged::new(open(&mut layers.iter().rev())?, unpacker.marker))?;
    let paths: Vec<_> = layers.iter().map(|layer| store.path_of(layer)).collect();
    let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    let wishes = Wishes {
        command: &wanted.command,
        is_rootless: wanted.rootless || !rustix::process::geteuid().is_root(),
        terminal: wanted.terminal,
    };
    let listed = if wanted.copy { None } else { Some(&paths[..]) };
    let written = config::write(&found.image, &user, listed, &wishes)?;
    for label in written.refused.iter().take(LABELS) {
        warn(&format!("label {label:?} is not passed on: a runtime or systemd would obey it"));
    }
    if let more @ 1.. = written.refused.len().saturating_sub(LABELS) {
        warn(&format!("{more} more labels of that kind are not passed on"));
    }
    if wanted.copy {
        let root =
            openat(&bundle.root, ".", tree::TO_READ, Mode::empty()).call(|| "open".into())?;
        let is_privileged = unpacker.settings.is_privileged;
        copy::merge(open(&mut layers.iter())?, root, unpacker.marker, is_privileged)
            .at(|| "rootfs")?;
    }
    let bundles = if wanted.copy { Vec::new() } else { vec![bundle.config_path.clone()] };
    let (manifest, names) = (found.manifest.clone(), vec![name.to_owned()]);
    store.add_image(Image { manifest, names, layers, bundles })?;
    bundle.write(&written.text)
}

/// The layers of an overlay, which takes none twice: the uppermost of the same counts, as all
/// that a lower one does it does again.
fn distinct(found: &Found) -> Vec<Digest> {
    let mut layers: Vec<Digest> = Vec::new();
    for (_, layer) in found.layers.iter().rev() {
        if !layers.contains(layer) {
            layers.push(layer.clone());
        }
    }
    layers.reverse();
    layers
}

/// Those from the uppermost on whose root is opaque: it hides all below it, and overlay does not ask
/// the root of a layer.
fn visible(layers: &[Digest], roots: Vec<OwnedFd>, marker: &Marker<'_>) -> Result<Vec<Digest>> {
    for (number, root) in roots.iter().enumerate().rev() {
        if marker.is_opaque(root.as_fd()).call(|| "getxattr".into())? {
            return Ok(layers[number..].to_vec());
        }
    }
    Ok(layers.to_vec())
}

impl Bundle {
    /// Makes what is missing of it.
    fn begin(path: &Path, wanted: &Wanted) -> Result<Self> {
        let at = || format!("bundle {}", path.display());
        let made = match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => {
                return Err(Error::os("make the directory", errno).at(at()));
            }
        };
        let dir = open_named(path).call(|| "open".into()).at(at)?;
        let path = std::fs::canonicalize(path).call(|| "resolve".into()).at(at)?;
        let config = wanted.config.clone().unwrap_or_else(|| path.join("config.json"));
        let opened = Self::config(&config).and_then(|opened| {
            let (root, made_root) = make_root(dir.as_fd(), wanted.copy).at(at)?;
            Ok((opened, root, made_root))
        });
        let ((config_dir, name, config_path), root, made_root) = match opened {
            Ok(opened) => opened,
            Err(error) if made => {
                let undone = unlinkat(CWD, &path, AtFlags::REMOVEDIR).call(|| "rmdir".into());
                return Err(error.and(undone));
            }
            Err(error) => return Err(error),
        };
        let mut draft = OsString::from(".");
        draft.push(&name);
        draft.push(format!(".{}", std::process::id()));
        let root_name = config::root_of(wanted.copy);
        Ok(Self {
            path,
            dir,
            root,
            root_name,
            made,
            made_root,
            config_dir,
            config: name,
            draft,
            config_path,
        })
    }

    /// The directory, the name and the absolute path of a file that is not there yet.
    fn config(path: &Path) -> Result<(OwnedFd, OsString, String)> {
        let call = || format!("write {}", path.display());
        let name = path.file_name().ok_or_else(|| Error::new("no name").at(call()))?;
        let above = match path.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        let dir = open_named(above).call(call)?;
        if tree::look(dir.as_fd(), name.as_bytes()).call(call)?.is_some() {
            return Err(Error::os(call(), Errno::EXIST).hint("an existing file is not overwritten"));
        }
        let whole = std::fs::canonicalize(above).call(call)?.join(name);
        Ok((dir, name.to_owned(), whole.to_string_lossy().into_owned()))
    }

    /// Writes config.json: whole, or not at all.
    fn write(&self, text: &str) -> Result<()> {
        let call = || format!("write {}", self.config_path);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let file = openat(&self.config_dir, &self.draft, flags, mode).call(call)?;
        std::fs::File::from(file).write_all(text.as_bytes()).call(call)?;
        let (dir, flags) = (&self.config_dir, RenameFlags::NOREPLACE);
        renameat_with(dir, &self.draft, dir, &self.config, flags).call(call)
    }

    /// Whether config.json, which was not there before, is.
    fn is_written(&self) -> Result<bool> {
        let call = || format!("look for {}", self.config_path);
        tree::look(self.config_dir.as_fd(), self.config.as_bytes())
            .map(|found| found.is_some())
            .call(call)
    }

    /// Removes what was made of it.
    fn undo(&self) -> Result<()> {
        let at = || format!("bundle {}", self.path.display());
        remove(self.config_dir.as_fd(), self.draft.as_bytes(), 0).at(at)?;
        if self.made_root {
            remove(self.dir.as_fd(), self.root_name.as_bytes(), 0).at(at)?;
        }
        if self.made {
            match unlinkat(CWD, &self.path, AtFlags::REMOVEDIR) {
                // Somebody has put something there meanwhile.
                Ok(()) | Err(Errno::NOTEMPTY) => {}
                Err(errno) => return Err(Error::os("rmdir", errno).at(at())),
            }
        }
        Ok(())
    }
}

/// An empty directory for the root, and whether it was made.
fn make_root(bundle: BorrowedFd<'_>, copy: bool) -> Result<(OwnedFd, bool)> {
    let name = config::root_of(copy);
    let call = || format!("make {name}");
    let made = match mkdirat(bundle, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(Error::os(call(), errno)),
    };
    let root = openat(bundle, name, tree::TO_READ, Mode::empty()).call(call)?;
    if !made && (copy || !list(root.as_fd()).call(call)?.is_empty()) {
        return Err(Error::os(call(), Errno::EXIST).hint("name a bundle that is not there yet"));
    }
    Ok((root, made))
}

fn settings(store: &Store, devices: bool) -> Result<Settings> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Ok(Settings { is_privileged: is_privileged(store.dir())?, devices, own, free: store.free()? })
}

/// `verify`: returns the exit status.
///
/// # Errors
/// As [`unpack`].
pub fn verify(store: &Store, reference: &OsStr, platform: &Platform) -> Result<i32> {
    let (layout, choice) = reference_of(reference)?;
    let source = open_layout(&layout)?;
    let settings = settings(store, true)?;
    let name = name_of(&layout, &choice);
    let directories = [(store.dir(), Access::Change), (source.as_fd(), Access::Read)];
    let status = sandbox::run(&directories, settings.is_privileged, |marker| {
        let layout = Layout::new(source.try_clone().call(|| "dup".into())?)?;
        let unpacker = Unpacker { layout: &layout, store, settings, marker };
        look_through(&unpacker, &choice, platform).at(|| name.clone())
    })?;
    if status != 0 {
        store.sweep()?;
    }
    Ok(status)
}

fn look_through(unpacker: &Unpacker<'_>, choice: &Choice, platform: &Platform) -> Result<()> {
    let found = unpacker.layout.find(choice, platform)?;
    let _shared = unpacker.store.share()?;
    let mut text = format!("manifest {}\n", found.manifest);
    for (count, (blob, layer)) in found.layers.iter().enumerate() {
        let label = format!("layer {}/{}", count + 1, found.layers.len());
        let (made, is_kept) = unpacker.check(blob, layer, &label)?;
        let kept = if is_kept { ", as in the store" } else { "" };
        let (entries, bytes) = (made.entries, made.bytes);
        text += &format!("layer {}: {entries} entries, {bytes} bytes{kept}\n", blob.digest);
    }
    std::io::stdout().write_all(text.as_bytes()).call(|| "write to standard output".into())
}

/// `ls`.
///
/// # Errors
/// A record that is damaged.
pub fn list_images(store: &Store) -> Result<Vec<(Image, u64)>> {
    let mut all = Vec::new();
    for image in store.images()? {
        let mut bytes = 0;
        for layer in &image.layers {
            bytes += if store.has(layer)? { store.layer(layer)?.bytes } else { 0 };
        }
        all.push((image, bytes));
    }
    Ok(all)
}

/// What `ls` prints.
///
/// # Errors
/// As [`list_images`].
pub fn list_text(store: &Store, as_json: bool) -> Result<String> {
    let images = list_images(store)?;
    if as_json {
        let row = |(image, bytes): &(Image, u64)| {
            json!({
                "manifest": image.manifest, "names": image.names, "layers": image.layers,
                "bytes": bytes, "bundles": live(image),
            })
        };
        return Ok(json!(images.iter().map(row).collect::<Vec<_>>()).to_string() + "\n");
    }
    let mut rows = vec![["IMAGE", "MANIFEST", "LAYERS", "SIZE", "BUNDLES"].map(str::to_owned)];
    for (image, bytes) in &images {
        for name in &image.names {
            rows.push([
                name.clone(),
                image.manifest.short().to_owned(),
                image.layers.len().to_string(),
                format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
                live(image).len().to_string(),
            ]);
        }
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..5).map(width).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            format!("{}{}", crate::error::printable(cell), " ".repeat(width - cell.chars().count()))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    Ok(rows.iter().map(line).collect())
}

/// The bundles of an image that are still there; one of which that cannot be known is, too.
fn live(image: &Image) -> Vec<&String> {
    image.bundles.iter().filter(|config| !matches!(std::fs::exists(config), Ok(false))).collect()
}

/// `rm`: what was removed.
///
/// # Errors
/// A name that no image has; an image of which there are bundles.
pub fn remove_images(store: &Store, names: &[String], force: bool) -> Result<String> {
    let _alone = store.alone()?;
    let mut text = String::new();
    let mounted = mounted();
    for name in names {
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        let images = store.images()?;
        let by_name = images.iter().filter(|image| image.names.contains(name));
        let by_digest = images
            .iter()
            .filter(|image| digits.len() >= 6 && image.manifest.hex.starts_with(digits));
        let mut found: Vec<_> = by_name.chain(by_digest).collect();
        found.dedup_by(|a, b| a.manifest == b.manifest);
        let image = match &found[..] {
            [one] => *one,
            [] => {
                return Err(Error::new("the store has no such image")
                    .at(name)
                    .hint("`pinnace-image ls` lists them"));
            }
            _ => {
                return Err(Error::new("several images have that name")
                    .at(name)
                    .hint("name one by its digest, as `pinnace-image ls` shows it"));
            }
        };
        if let (false, Some(config)) = (force, live(image).first()) {
            return Err(Error::new(format!("{config} uses it"))
                .at(name)
                .hint("remove the bundle first, or give --force"));
        }
        if runs(image, &mounted) {
            return Err(Error::new("a container runs of it")
                .at(name)
                .hint("delete the container first"));
        }
        store.forget(image)?;
        text += &format!("image {}\n", image.manifest);
    }
    text += &remove_unused(store)?;
    Ok(text)
}

/// `prune`: what was removed.
///
/// # Errors
/// Those of the store.
pub fn prune(store: &Store) -> Result<String> {
    let alone = store.alone()?;
    let mut text = String::new();
    let mounted = mounted();
    for mut image in store.images()? {
        let bundles: Vec<String> = live(&image).into_iter().cloned().collect();
        if bundles.is_empty() && runs(&image, &mounted) {
            warn(&format!("image {} is mounted, and stays", image.manifest.short()));
        } else if bundles.is_empty() {
            store.forget(&image)?;
            text += &format!("image {}\n", image.manifest);
        } else if bundles.len() < image.bundles.len() {
            image.bundles = bundles;
            store.write_image(&image)?;
        }
    }
    text += &remove_unused(store)?;
    match store.tidy(&alone)? {
        0 => {}
        count => text += &format!("left behind by a crash: {count}\n"),
    }
    Ok(text)
}

/// Whether a container of it runs. Where layers are ID-mapped, the kernel does not show them, and the
/// name of the mount is that of the uppermost one.
fn runs(image: &Image, mounted: &str) -> bool {
    image.layers.last().is_some_and(|layer| mounted.contains(&layer.hex))
}

/// Removes the layers that no image has and no container uses.
fn remove_unused(store: &Store) -> Result<String> {
    let images = store.images()?;
    let mounted = mounted();
    let mut text = String::new();
    for layer in store.layers()? {
        if images.iter().any(|image| image.layers.contains(&layer)) {
            continue;
        }
        if mounted.contains(&layer.hex) {
            warn(&format!("layer {layer} is mounted, and stays: `prune` removes it later"));
            continue;
        }
        store.remove_layer(&layer)?;
        text += &format!("layer {layer}\n");
    }
    Ok(text)
}

/// The mounts of all processes that can be seen: overlay shows its layers there. Who has ended
/// meanwhile has none.
fn mounted() -> String {
    let mut seen = std::collections::BTreeSet::new();
    let mut text = String::new();
    let Ok(processes) = std::fs::read_dir("/proc") else { return text };
    for process in processes.flatten() {
        let path = process.path();
        let Ok(namespace) = std::fs::read_link(path.join("ns/mnt")) else { continue };
        if seen.insert(namespace)
            && let Ok(mounts) = std::fs::read_to_string(path.join("mountinfo"))
        {
            let overlays = mounts.lines().filter(|line| line.contains(" - overlay "));
            text.extend(overlays.flat_map(|line| [line, "\n"]));
        }
    }
    text
}

/// `DIR`, `DIR:TAG`, `DIR@DIGEST`. Both a path and a tag may have colons: the first one counts
/// behind which there is a directory.
fn reference_of(reference: &OsStr) -> Result<(PathBuf, Choice)> {
    let text = reference.as_bytes();
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let utf8 = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if path(text).is_dir() {
        return Ok((path(text), Choice::Only));
    }
    for (at, byte) in text.iter().enumerate().filter(|(_, byte)| matches!(byte, b':' | b'@')) {
        let (dir, rest) = (path(&text[..at]), utf8(&text[at + 1..]));
        if !dir.is_dir() {
            continue;
        }
        return match byte {
            b'@' => Ok((dir, Choice::Digest(Digest::parse(&rest)?))),
            _ if rest.is_empty() => Err(Error::new("the tag is empty").at(utf8(text))),
            _ => Ok((dir, Choice::Tag(rest))),
        };
    }
    if let Err(error) = std::fs::metadata(path(text))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Error::io(format!("open layout {}", utf8(text)), &error));
    }
    let error = Error::new("there is no such directory").at(utf8(text));
    let first = text.split(|byte| *byte == b':').next().unwrap_or_default();
    Err(match path(first).is_file() {
        true => error.hint("an archive is unpacked first: mkdir DIR && tar -xf FILE -C DIR"),
        false => error.hint("skopeo copy docker://IMAGE oci:DIRECTORY:TAG makes an image layout"),
    })
}

fn open_layout(path: &Path) -> Result<OwnedFd> {
    open_named(path).call(|| format!("open layout {}", path.display()))
}

/// As `ls` shows it.
fn name_of(layout: &Path, choice: &Choice) -> String {
    let path = std::fs::canonicalize(layout).unwrap_or_else(|_| layout.to_owned());
    match choice {
        Choice::Only => path.display().to_string(),
        Choice::Tag(tag) => format!("{}:{tag}", path.display()),
        Choice::Digest(digest) => format!("{}@{digest}", path.display()),
    }
}
