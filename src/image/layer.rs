//! A layer comes into the store: once, whole, or not at all.

use super::copy;
use super::digest::Digest;
use super::documents::Descriptor;
use super::layout::Layout;
use super::mark::Marker;
use super::progress::Progress;
use super::store::{self, Making, Store};
use super::stream;
use super::tell::warn;
use super::tree::TO_READ;
use super::unpack::{Made, Settings, unpack};
use crate::error::{At as _, Context as _, Error, Result};
use rustix::fs::{Mode, openat, syncfs};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

/// Where layers come from, where they go, and who makes them.
#[derive(Debug)]
pub struct Unpacker<'a> {
    /// The layout.
    pub layout: &'a Layout,
    /// The store.
    pub store: &'a Store,
    /// How.
    pub settings: Settings,
    /// Who marks opaque directories.
    pub marker: &'a Marker<'a>,
}

impl Unpacker<'_> {
    /// Has a layer in the store.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn ensure(&self, blob: &Descriptor, layer: &Digest, label: &str) -> Result<()> {
        if self.has(layer)? {
            return Ok(());
        }
        let making = self.store.making(layer)?;
        // Another one has made it while we waited.
        if self.has(layer)? {
            return making.end();
        }
        let done = self.make(&making, blob, layer, label, true).and_then(|(made, root)| {
            let opaque = self.marker.name().to_owned();
            let devices = (made.devices > 0).then_some(self.settings.makes_devices());
            let (bytes, entries) = (made.bytes, made.entries);
            let record = store::Layer { bytes, entries, opaque, devices };
            self.store.keep(layer, &making, &root, &record)
        });
        let done = done.at(|| format!("layer {}", blob.digest));
        match (done, making.end()) {
            (Ok(()), ended) => ended,
            (Err(error), ended) => Err(error.and(ended)),
        }
    }

    fn has(&self, layer: &Digest) -> Result<bool> {
        if !self.store.has(layer)? {
            return Ok(false);
        }
        let known = self.store.layer(layer)?;
        let what = match known.devices {
            _ if known.opaque != self.marker.name() => "other privileges",
            Some(true) if !self.settings.makes_devices() => "its device nodes",
            Some(false) if self.settings.makes_devices() => "--no-devices",
            _ => return Ok(true),
        };
        Err(Error::new(format!("layer {layer} was unpacked with {what}"))
            .hint("--store DIR names another store for these"))
    }

    /// Unpacks a layer beside the store's, looks whether it is what the store has, and removes
    /// it. True if the store has it.
    ///
    /// # Errors
    /// Whatever is wrong with it; a layer of the store that was changed.
    pub fn check(&self, blob: &Descriptor, layer: &Digest, label: &str) -> Result<(Made, bool)> {
        let making = self.store.making(layer)?;
        let done = self.make(&making, blob, layer, label, false).and_then(|(made, root)| {
            if !self.has(layer)? {
                return Ok((made, false));
            }
            let kept = self.store.open_layer(layer)?;
            match copy::difference(root, kept, self.marker)? {
                None => Ok((made, true)),
                Some(path) => {
                    let place = self.store.path_of(layer);
                    Err(Error::new(format!("{path} was changed in {}", place.display()))
                        .hint("`pinnace-image rm` its images, and unpack them again"))
                }
            }
        });
        let done = done.at(|| format!("layer {}", blob.digest));
        match (done, making.end()) {
            (Ok(done), ended) => ended.map(|()| done),
            (Err(error), ended) => Err(error.and(ended)),
        }
    }

    fn make(
        &self,
        making: &Making,
        blob: &Descriptor,
        layer: &Digest,
        label: &str,
        is_kept: bool,
    ) -> Result<(Made, OwnedFd)> {
        let file = self.layout.open_blob(blob)?;
        let root = making.root()?;
        let progress = Progress::new(label.to_owned());
        let (pace, paces) = sync_channel(1);
        let (pieces, work) = stream::begin(&file, blob, layer.algorithm, &progress, pace)?;
        // Errors of the disk are told once for each opened directory, and are for the last call.
        let synced = openat(&root, ".", TO_READ, Mode::empty()).call(|| "open".into())?;
        let sync = move || paces.iter().for_each(|()| begin_writing(&synced));
        let into = root.try_clone().call(|| "dup".into())?;
        let over = AtomicBool::new(false);
        let made = std::thread::scope(|scope| {
            let call = || "make a thread".to_owned();
            let thread = std::thread::Builder::new;
            thread().spawn_scoped(scope, work).call(call)?;
            if is_kept {
                thread().spawn_scoped(scope, sync).call(call)?;
            }
            let whole = || stream::check(&file, blob, &over);
            let whole = thread().spawn_scoped(scope, whole).call(call)?;
            let made = unpack(pieces, into, self.settings, self.marker)
                .and_then(|(made, pieces)| pieces.finish(layer).map(|()| made));
            // A damaged blob explains whatever else is wrong, but for what a system call says.
            let is_ours = made.as_ref().is_err_and(|error| error.errno().is_some());
            over.store(is_ours, Ordering::Relaxed);
            whole.join().unwrap_or_else(|_| Err(Error::new("a thread has panicked")))?;
            made
        })?;
        drop(progress);
        for (what, (count, first)) in &made.notes {
            warn(&format!("layer {}: {count} x {what} (the first: {first})", blob.digest.short()));
        }
        Ok((made, root))
    }
}

/// Has the disk at work meanwhile. What goes wrong then, the call says that is the last.
fn begin_writing(store: &OwnedFd) {
    syncfs(store).ok();
}
