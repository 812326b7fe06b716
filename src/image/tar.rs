//! The archive reader: entries of ustar, GNU and pax archives, one after the other, from a
//! stream that nobody trusts. What GNU tar, Go and Python would read in different ways is
//! refused: an archive has one meaning, or none.

use super::pax::{self, Records};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// The unit of an archive (tar(5)).
const BLOCK: usize = 512;
/// The most bytes that extended headers and long names of one entry have.
const METADATA: u64 = 1 << 20;

/// The most bytes of a file.
const FILE: u64 = 1 << 40;

/// Bytes from somewhere, as [`std::io::BufRead`] with errors of ours.
pub trait Bytes {
    /// What comes next; nothing at the end.
    ///
    /// # Errors
    /// Those of where it comes from.
    fn fill(&mut self) -> Result<&[u8]>;
    /// Goes on behind `count` bytes of that.
    fn consume(&mut self, count: usize);
}

impl Bytes for &[u8] {
    fn fill(&mut self) -> Result<&[u8]> {
        Ok(self)
    }
    fn consume(&mut self, count: usize) {
        *self = self.get(count..).unwrap_or_default();
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file of the archive.
    HardLink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// One entry, with all that extended headers say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it is written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, with the bits of set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Bytes of content.
    pub size: u64,
    /// Where a link leads.
    pub link: Vec<u8>,
    /// Major and minor number.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of the headers before it that are about it.
    pub before: u64,
}

/// An archive that is being read.
#[derive(Debug)]
pub struct Archive<B> {
    source: B,
    /// Content of the entry that has not been read.
    left: u64,
    /// What fills its last block.
    padding: u64,
    ended: bool,
}

/// The header of a file entry.
type Header = [u8; BLOCK];

/// What precedes an entry.
#[derive(Debug, Default)]
struct Before {
    pax: Option<Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    bytes: u64,
}

impl<B: Bytes> Archive<B> {
    /// Begins at the first header.
    pub fn new(source: B) -> Self {
        Self { source, left: 0, padding: 0, ended: false }
    }

    /// The next entry; the content of the one before is passed over.
    ///
    /// # Errors
    /// What is no archive, or has more than one meaning.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.skip()?;
        let mut before = Before::default();
        while let Some(header) = self.header(&before)? {
            let size = pax::number(&header[124..136], "size")?;
            match header[156] {
                b'x' => {
                    twice(before.pax.is_some(), "extended headers")?;
                    let text = self.metadata(size, &mut before)?;
                    before.pax = Some(Records::parse(&text)?);
                }
                b'g' => {
                    let text = self.metadata(size, &mut before)?;
                    Records::parse(&text)?.refuse_globals()?;
                }
                b'L' => {
                    twice(before.name.is_some(), "long names")?;
                    before.name = Some(up_to_nul(&self.metadata(size, &mut before)?).to_vec());
                }
                b'K' => {
                    twice(before.link.is_some(), "long link names")?;
                    before.link = Some(up_to_nul(&self.metadata(size, &mut before)?).to_vec());
                }
                _ => return self.entry(&header, before).map(Some),
            }
        }
        Ok(None)
    }

    /// Some of the content; nothing at its end.
    ///
    /// # Errors
    /// An archive that ends within it.
    pub fn content(&mut self) -> Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = self.source.fill()?;
        if bytes.is_empty() {
            return Err(truncated());
        }
        Ok(&bytes[..bytes.len().min(left)])
    }

    /// Goes on behind `count` bytes of the content.
    pub fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.source.consume(count);
    }

    /// The stream, behind what was read.
    pub fn into_source(self) -> B {
        self.source
    }

    /// Goes behind the content. The last one may lack its padding: `umoci insert` ends there.
    fn skip(&mut self) -> Result<()> {
        let (left, padding) = (self.left, self.padding);
        (self.left, self.padding) = (0, 0);
        if self.pass(left)? < left {
            return Err(truncated());
        }
        self.pass(padding)?;
        Ok(())
    }

    /// Passes `count` bytes over; less at the end.
    fn pass(&mut self, count: u64) -> Result<u64> {
        let mut over = count;
        while over > 0 {
            let some = self.source.fill()?.len();
            if some == 0 {
                break;
            }
            let some = some.min(usize::try_from(over).unwrap_or(usize::MAX));
            self.source.consume(some);
            over -= some as u64;
        }
        Ok(count - over)
    }

    /// The next header. Layers that umoci 0.4 makes have no end but that of the file.
    fn header(&mut self, before: &Before) -> Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        let mut header = [0; BLOCK];
        let got = self.read(&mut header)?;
        let is_end = got == 0 || (got == BLOCK && header.iter().all(|byte| *byte == 0));
        if is_end {
            self.ended = true;
            if before.bytes > 0 {
                return Err(Error::new("an extended header without an entry behind it"));
            }
            // The second of the two blocks that end an archive.
            let second = if got > 0 { self.read(&mut header)? } else { 0 };
            if header[..second].iter().any(|byte| *byte != 0) {
                return Err(Error::new("an entry behind a block of zeros"));
            }
            return Ok(None);
        }
        if got < BLOCK {
            return Err(truncated());
        }
        check_sum(&header)?;
        Ok(Some(header))
    }

    /// Fills `buffer`; less at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            let bytes = self.source.fill()?;
            if bytes.is_empty() {
                break;
            }
            let some = bytes.len().min(buffer.len() - got);
            buffer[got..got + some].copy_from_slice(&bytes[..some]);
            self.source.consume(some);
            got += some;
        }
        Ok(got)
    }

    /// The content of a header that is about the next entry.
    fn metadata(&mut self, size: u64, before: &mut Before) -> Result<Vec<u8>> {
        before.bytes = before.bytes.saturating_add(size).saturating_add(BLOCK as u64);
        if before.bytes > METADATA {
            return Err(Error::new(format!(
                "headers of one entry with more than {METADATA} bytes"
            )));
        }
        let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
        if self.read(&mut text)? < text.len() {
            return Err(truncated());
        }
        self.padding = padding(size);
        self.skip()?;
        Ok(text)
    }

    fn entry(&mut self, header: &Header, before: Before) -> Result<Entry> {
        let records = before.pax.unwrap_or_default();
        let path = match (records.path, before.name) {
            (Some(path), _) | (None, Some(path)) => path,
            (None, None) => name_of(header),
        };
        let shown = || String::from_utf8_lossy(&path).into_owned();
        let at = |error: Error| error.at(format!("{:?}", shown()));
        let kind = kind_of(header[156], &path).map_err(at)?;
        let size = match records.size {
            Some(size) => size,
            None => pax::number(&header[124..136], "size").map_err(at)?,
        };
        let size = match (kind, size) {
            (Kind::File, size) if size <= FILE => size,
            (Kind::File, size) => return Err(at(Error::new(format!("a file of {size} bytes")))),
            // All readers agree that a hard link has no content, whatever size it names.
            (_, 0) | (Kind::HardLink, _) => 0,
            _ => return Err(at(Error::new(format!("{kind:?} with {size} bytes of content")))),
        };
        let id = |record: Option<u64>, from: usize, what: &str| {
            let id = record.map_or_else(|| pax::number(&header[from..from + 8], what), Ok)?;
            // The last one is "none" to chown(2).
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| Error::new("there is no such id").at(format_args!("{what} {id}")))
        };
        let mtime = match records.mtime {
            Some(mtime) => mtime,
            None => (pax::signed(&header[136..148], "mtime").map_err(at)?, 0),
        };
        let device = match kind {
            Kind::Character | Kind::Block => device(header).map_err(at)?,
            _ => (0, 0),
        };
        let link = match (records.link, before.link) {
            (Some(link), _) | (None, Some(link)) => link,
            (None, None) => up_to_nul(&header[157..257]).to_vec(),
        };
        let mode = pax::number(&header[100..108], "mode").map_err(at)? & 0o7777;
        let (uid, gid) =
            (id(records.uid, 108, "uid").map_err(at)?, id(records.gid, 116, "gid").map_err(at)?);
        if path.contains(&0) || link.contains(&0) {
            return Err(at(Error::new("a NUL character in a name")));
        }
        self.left = size;
        self.padding = padding(size);
        let (mode, xattrs, before) = (mode as u32, records.xattrs, before.bytes);
        Ok(Entry { path, kind, mode, uid, gid, mtime, size, link, device, xattrs, before })
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn twice(is: bool, what: &str) -> Result<()> {
    if is { Err(Error::new(format!("two {what} before one entry"))) } else { Ok(()) }
}

fn truncated() -> Error {
    Error::new("the archive is truncated")
}

/// As a field of a header or a long name is written.
fn up_to_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The name of the header, with the prefix that POSIX archives and star's have.
fn name_of(header: &Header) -> Vec<u8> {
    let name = up_to_nul(&header[..100]);
    let place = if header[508..] == *b"tar\0" { 345..476 } else { 345..500 };
    let prefix = match header[257..263] == *b"ustar\0" {
        true => up_to_nul(&header[place]),
        false => &[],
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn kind_of(flag: u8, path: &[u8]) -> Result<Kind> {
    let has_slash = path.ends_with(b"/");
    Ok(match flag {
        0 if has_slash => Kind::Directory,
        b'0' | b'7' if has_slash => {
            return Err(Error::new("a file whose name ends in a slash: readers disagree on it"));
        }
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'S' => return Err(pax::sparse()),
        flag => {
            let flag = char::from(flag).escape_default().to_string();
            return Err(Error::new(format!("an entry of the unknown type '{flag}'")));
        }
    })
}

fn device(header: &Header) -> Result<(u32, u32)> {
    let part = |from: usize, what: &str| {
        let number = pax::number(&header[from..from + 8], what)?;
        // The kernel has 12 and 20 bits for them (linux/kdev_t.h).
        let most = if from == 329 { 0xfff } else { 0xf_ffff };
        u32::try_from(number).ok().filter(|number| *number <= most).ok_or_else(|| {
            Error::new("there is no such device").at(format_args!("{what} {number}"))
        })
    };
    Ok((part(329, "major number")?, part(337, "minor number")?))
}

/// Old programs have added signed bytes (tar(5)).
fn check_sum(header: &Header) -> Result<()> {
    // No fuzzer finds the sum, and what is behind it is what counts.
    if cfg!(fuzzing) {
        return Ok(());
    }
    let written = pax::number(&header[148..156], "checksum")?;
    let bytes = || header[..148].iter().chain(b"        ").chain(&header[156..]);
    let unsigned: u64 = bytes().map(|byte| u64::from(*byte)).sum();
    let signed: i64 = bytes().map(|byte| i64::from(*byte as i8)).sum();
    if written == unsigned || i64::try_from(written) == Ok(signed) {
        return Ok(());
    }
    Err(Error::new("a header with a wrong checksum: this is no tar archive, or a damaged one"))
}

/// Reads an archive to its end or its mistake, for hack/fuzz.
#[cfg(fuzzing)]
pub fn fuzz(text: &[u8]) {
    let mut archive = Archive::new(text);
    let mut bytes = 0;
    for _ in 0..10_000 {
        match archive.next_entry() {
            Ok(Some(entry)) => {
                assert!(
                    entry.size <= FILE && entry.mode <= 0o7777 && entry.mtime.1 < 1_000_000_000
                );
                assert!(!entry.path.contains(&0) && !entry.link.contains(&0));
                assert!(entry.kind == Kind::File || entry.size == 0);
                if let Ok(names) = super::tree::names(&entry.path) {
                    let is_safe = |name: &&[u8]| {
                        !matches!(*name, b"" | b"." | b"..") && !name.contains(&b'/')
                    };
                    assert!(names.iter().all(is_safe));
                }
                let mut left = entry.size;
                while let Ok(some) = archive.content().map(<[u8]>::len) {
                    if some == 0 {
                        assert_eq!(left, 0);
                        break;
                    }
                    left -= some as u64;
                    archive.consume(some);
                    bytes += some;
                }
            }
            Ok(None) => break,
            Err(error) => {
                let line = crate::error::brief(&error.to_string());
                assert!(line.len() <= crate::error::LINE, "{line}");
                break;
            }
        }
    }
    // No byte is read twice.
    assert!(bytes <= text.len());
}
