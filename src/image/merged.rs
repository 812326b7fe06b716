//! The tree that a container will see, without a mount: names are looked for from the upper
//! layers to the lower ones, as overlay does it. Links lead nowhere but into it.

use super::mark::Marker;
use super::tree::{BY_PATH, TO_READ, is_directory, is_whiteout, look, shown};
use crate::error::{Context as _, Error, Result};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat, readlinkat};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

/// As many as the kernel follows (`path_resolution(7)`).
const LINKS: u32 = 40;

/// The layers of an image, the uppermost first.
#[derive(Debug)]
pub struct Merged<'a> {
    layers: Vec<OwnedFd>,
    marker: &'a Marker<'a>,
}

/// A directory: what each layer has of it, down to the one that hides the rest.
type Directory = Rc<Vec<OwnedFd>>;

/// What is at a name.
enum Found {
    Nothing,
    Directory(Directory),
    /// A file of that layer's directory.
    File(FileType, usize),
}

impl<'a> Merged<'a> {
    /// Of these layers, the uppermost first.
    pub fn new(layers: Vec<OwnedFd>, marker: &'a Marker<'a>) -> Self {
        Self { layers, marker }
    }

    /// The content of a regular file; none if there is no file of that name.
    ///
    /// # Errors
    /// A file of more than `most` bytes, or of another kind.
    pub fn read(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let call = || format!("open {path} of the image");
        let root = self.layers.iter().map(|dir| openat(dir, ".", BY_PATH, Mode::empty()));
        let root: Directory = Rc::new(root.collect::<rustix::io::Result<_>>().call(call)?);
        let mut walked = vec![root];
        let mut left: Vec<Vec<u8>> = rest(path.as_bytes());
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == b".." {
                // `/..` is `/`.
                walked.truncate((walked.len() - 1).max(1));
                continue;
            }
            let Some(here) = walked.last().cloned() else { return Ok(None) };
            match self.step(&here, &name).call(call)? {
                Found::Nothing => return Ok(None),
                Found::Directory(dir) => walked.push(dir),
                Found::File(FileType::Symlink, layer) => {
                    links += 1;
                    if links > LINKS {
                        return Err(
                            Error::new("too many links").at(format_args!("{path} of the image"))
                        );
                    }
                    let target = readlinkat(&here[layer], &name[..], Vec::new()).call(call)?;
                    if target.as_bytes().starts_with(b"/") {
                        walked.truncate(1);
                    }
                    left.extend(rest(target.as_bytes()));
                }
                Found::File(..) if !left.is_empty() => return Ok(None),
                Found::File(FileType::RegularFile, layer) => {
                    return content(&here[layer], &name, path, most).map(Some);
                }
                Found::File(..) => {
                    return Err(
                        Error::new("is no regular file").at(format_args!("{path} of the image"))
                    );
                }
            }
        }
        Err(Error::new("is a directory").at(format_args!("{path} of the image")))
    }

    fn step(&self, here: &Directory, name: &[u8]) -> rustix::io::Result<Found> {
        let mut merged = Vec::new();
        for (layer, dir) in here.iter().enumerate() {
            let Some(stat) = look(dir.as_fd(), name)? else { continue };
            if is_whiteout(&stat) {
                break;
            }
            if !is_directory(&stat) {
                match merged.is_empty() {
                    true => return Ok(Found::File(FileType::from_raw_mode(stat.st_mode), layer)),
                    false => break,
                }
            }
            let opened = openat(dir, name, TO_READ, Mode::empty())?;
            let is_last = self.marker.is_opaque(opened.as_fd())?;
            merged.push(opened);
            if is_last {
                break;
            }
        }
        Ok(match merged.is_empty() {
            true => Found::Nothing,
            false => Found::Directory(Rc::new(merged)),
        })
    }
}

/// Names, the last one first.
fn rest(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').rev();
    names.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
}

fn content(dir: &OwnedFd, name: &[u8], path: &str, most: u64) -> Result<Vec<u8>> {
    let call = || format!("read {path} of the image");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::empty()).call(call)?;
    let stat = fstat(&file).call(call)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(
            Error::new("is no regular file").at(format_args!("{} of the image", shown(name)))
        );
    }
    let mut text = Vec::new();
    File::from(file).take(most + 1).read_to_end(&mut text).call(call)?;
    if text.len() as u64 > most {
        return Err(Error::new(format!("has more than {most} bytes"))
            .at(format_args!("{path} of the image"))
            .hint("no list of users is so long: name the user by numbers, --user UID:GID"));
    }
    Ok(text)
}
