//! Arguments of a root that is an overlay, which `create`, `run` and `plan` share.

use super::arguments::arguments;
use super::update::size;
use crate::error::{At, Context as _, Error, Result};
use crate::plan::overlay::Wish;
use std::path::Path;

arguments! {
    /// What the root is made of.
    pub struct Overlaying {
        /// Leave the root file system as it is: what the container writes goes to a tmpfs
        overlay: bool = "--overlay",
        /// So much may be written, as 64m [default: half of the memory]
        overlay_size: Option<String> = "--overlay-size SIZE",
        /// Keep what is written in this directory, made if it is missing
        overlay_dir: Option<String> = "--overlay-dir DIR",
        /// Show this directory upon the root file system; each further one upon the last
        lower: Vec<String> = "--lower DIR",
    }
}

/// The kernel's path of a directory that the caller names.
fn absolute(option: &str, path: &str) -> Result<String> {
    let whole = std::path::absolute(Path::new(path)).call(|| format!("{path:?}")).at(|| &option)?;
    let whole = whole.into_os_string().into_string();
    whole.map_err(|_| Error::new(format!("{path:?} is below no path in UTF-8")).at(option))
}

impl Overlaying {
    /// As the verbs want it: each of the options asks for an overlay.
    ///
    /// # Errors
    /// A size that is none, or that nothing is made of.
    pub fn wish(&self) -> Result<Option<Wish>> {
        let (text, dir) = (self.overlay_size.as_deref(), self.overlay_dir.as_deref());
        if !self.overlay && text.is_none() && dir.is_none() && self.lower.is_empty() {
            return Ok(None);
        }
        if text.is_some() && dir.is_some() {
            return Err(Error::new("is that of a tmpfs")
                .at("--overlay-size")
                .hint("--overlay-dir has the room of its file system"));
        }
        let bytes = |text: &str| size(text).and_then(|size| u64::try_from(size).ok());
        let size = text.map(|text| {
            bytes(text).filter(|size| *size > 0).ok_or_else(|| {
                Error::new(format!("{text:?} is no size")).at("--overlay-size").hint("as 64m or 2g")
            })
        });
        let lower = self.lower.iter().map(|path| absolute("--lower", path));
        Ok(Some(Wish {
            lower: lower.collect::<Result<_>>()?,
            size: size.transpose()?,
            dir: dir.map(|dir| absolute("--overlay-dir", dir)).transpose()?,
        }))
    }
}
