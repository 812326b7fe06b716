//! A layer's blob as the bytes of its archive. One thread reads and decompresses, another one sums
//! what comes out and makes files of it: each is as much work as the other. A third one sums the blob.

use super::digest::{Algorithm, Digest, Hasher};
use super::documents::Descriptor;
use super::layout::damaged;
use super::progress::Progress;
use super::tar::Bytes;
use crate::error::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Take};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use zrip::FrameDecoder;

/// Bytes of one piece.
const PIECE: usize = 256 << 10;
/// Pieces that are on their way.
const PIECES: usize = 8;
/// How much is to be written before the disk is asked to begin.
const PACE: usize = 16 << 20;
/// The most bytes behind the end of an archive: it takes time to sum them, and they say nothing.
const BEHIND: u64 = 64 << 20;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// By the media type; nothing is guessed (media-types.md).
fn compression(kind: &str) -> Result<Compression> {
    let is_docker = kind.starts_with("application/vnd.docker.image.rootfs.");
    let is_layer = is_docker || kind.starts_with("application/vnd.oci.image.layer.");
    match kind.rsplit(['.', '+']).next() {
        Some("tar") if is_layer => Ok(Compression::None),
        Some("gzip") if is_layer => Ok(Compression::Gzip),
        Some("zstd") if is_layer => Ok(Compression::Zstd),
        _ => Err(Error::new(format!("mediaType: {kind:?} is no layer that is known"))
            .hint("layers are tar archives, as they are or with gzip or zstd")),
    }
}

/// Begins to decompress a blob: what comes out, and the work that a second thread does. `pace` is told
/// each time that much has come out.
///
/// # Errors
/// A media type that is not known.
pub fn begin<'a>(
    file: &'a File,
    layer: &'a Descriptor,
    inside: Algorithm,
    progress: &'a Progress,
    pace: SyncSender<()>,
) -> Result<(Pieces<'a>, impl FnOnce() + Send + 'a)> {
    let compression = compression(&layer.media_type)?;
    let (sender, receiver) = sync_channel(PIECES);
    let (back, used) = channel();
    let hasher = Hasher::new(inside);
    let piece = Vec::new();
    let (at, ended, since) = (0, false, 0);
    let pieces = Pieces { receiver, back, piece, at, hasher, ended, progress, since, pace };
    let work = move || {
        let sink = Sink { sender, used, made: 0 };
        sink.all_of(file, layer, compression);
    };
    Ok((pieces, work))
}

/// What comes out.
#[derive(Debug)]
pub struct Pieces<'a> {
    receiver: Receiver<Result<Vec<u8>>>,
    back: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    hasher: Hasher,
    ended: bool,
    progress: &'a Progress,
    since: usize,
    pace: SyncSender<()>,
}

impl Bytes for Pieces<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        while self.at == self.piece.len() && !self.ended {
            // Who is not there any more has ended, and needs none back.
            drop(self.back.send(std::mem::take(&mut self.piece)));
            self.at = 0;
            match self.receiver.recv() {
                Ok(piece) => self.piece = piece?,
                Err(_) => self.ended = true,
            }
            self.hasher.update(&self.piece);
            self.progress.add(self.piece.len());
            self.since += self.piece.len();
            if self.since >= PACE {
                self.since = 0;
                // Who is still at it has not missed anything.
                self.pace.try_send(()).ok();
            }
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.piece.len());
    }
}

impl Pieces<'_> {
    /// Reads to the end, and checks that it was what the configuration says.
    ///
    /// # Errors
    /// Another content; too much of it behind the archive.
    pub fn finish(mut self, expected: &Digest) -> Result<()> {
        let mut behind = 0;
        loop {
            match self.fill()?.len() {
                0 => break,
                some => {
                    behind += some as u64;
                    self.consume(some);
                }
            }
            if behind > BEHIND {
                let most = BEHIND >> 20;
                return Err(Error::new(format!("more than {most} MiB behind the archive's end"))
                    .hint("no program makes such a layer: the image is damaged, or forged"));
            }
        }
        let found = self.hasher.finish();
        if found != *expected {
            return Err(Error::new(format!(
                "its content has the digest {found}, and the image's configuration says {expected}"
            ))
            .hint("the image is damaged, or forged: copy it again"));
        }
        Ok(())
    }
}

/// Where the pieces go.
struct Sink {
    sender: SyncSender<Result<Vec<u8>>>,
    used: Receiver<Vec<u8>>,
    made: usize,
}

impl Sink {
    fn all_of(mut self, file: &File, layer: &Descriptor, compression: Compression) {
        let mut reader = BufReader::with_capacity(PIECE / 2, file.take(layer.size));
        if let Err(error) = self.decompress(&mut reader, compression) {
            // Who does not listen any more has an error of its own.
            drop(self.sender.send(Err(error)));
        }
    }

    fn decompress(
        &mut self,
        reader: &mut BufReader<Take<&File>>,
        compression: Compression,
    ) -> Result<()> {
        match compression {
            Compression::None => {
                if reader.fill_buf().map_err(wrong)?.starts_with(&[0x1f, 0x8b]) {
                    return Err(Error::new("its media type says tar, and it is gzip"));
                }
                self.copy(reader, "read")
            }
            Compression::Gzip => self.copy(&mut MultiGzDecoder::new(reader), "gzip"),
            // The frames of a stream as one, without those that are to be skipped (RFC 8878).
            Compression::Zstd => self.copy(&mut FrameDecoder::new(reader), "zstd"),
        }
    }

    fn copy(&mut self, from: &mut impl Read, what: &str) -> Result<()> {
        loop {
            let mut piece = self.buffer();
            let mut filled = 0;
            while filled < piece.len() {
                match from.read(&mut piece[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Err(Error::new("the blob is truncated").at(what));
                    }
                    Err(error) => return Err(Error::io(what, &error)),
                }
            }
            piece.truncate(filled);
            let is_last = filled == 0;
            if is_last || self.sender.send(Ok(piece)).is_err() {
                return Ok(());
            }
        }
    }

    /// A piece that has been used, or a new one.
    fn buffer(&mut self) -> Vec<u8> {
        let mut piece = match self.used.try_recv() {
            Ok(piece) if piece.capacity() >= PIECE => piece,
            _ if self.made <= PIECES + 1 => {
                self.made += 1;
                Vec::with_capacity(PIECE)
            }
            _ => self.used.recv().unwrap_or_default(),
        };
        piece.resize(PIECE, 0);
        piece
    }
}

fn wrong(error: io::Error) -> Error {
    Error::io("read", &error)
}

/// Reads a blob by itself, beside the one who decompresses it, and checks its digest. Whoever changes
/// it in between changes nothing: what comes out has a digest of its own.
///
/// It ends early, and finds nothing, once it is `over`.
///
/// # Errors
/// Another content; that it has become shorter.
pub fn check(file: &File, layer: &Descriptor, over: &AtomicBool) -> Result<()> {
    let mut hasher = Hasher::new(layer.digest.algorithm);
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < layer.size {
        if over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let most = usize::try_from(layer.size - at).unwrap_or(usize::MAX).min(buffer.len());
        match file.read_at(&mut buffer[..most], at) {
            Ok(0) => return Err(damaged(&layer.digest, "it has become shorter")),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(wrong(error)),
        }
    }
    let found = hasher.finish();
    if found != layer.digest {
        return Err(damaged(&layer.digest, &format!("its content has the digest {found}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_says_what_a_layer_is() {
        for (kind, wanted) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Compression::Gzip)),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                Some(Compression::Zstd),
            ),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar", Some(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+encrypted", None),
            ("application/vnd.in-toto+json", None),
            ("text/x.tar", None),
            ("", None),
        ] {
            assert_eq!(compression(kind).ok(), wanted, "{kind}");
        }
    }
}
