//! The bundle: a directory with a `config.json` (bundle.md).

use crate::error::{At, Context, Error, Result};
use crate::spec::{self, Spec};
use crate::sys::file;
use rustix::fs::{CWD, Mode, OFlags, open, readlink};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A bundle, read once: later changes of the file do not matter.
#[derive(Debug)]
pub struct Bundle {
    /// Absolute path, without symbolic links.
    pub path: PathBuf,
    /// The file as it was.
    pub text: Vec<u8>,
    /// What it says.
    pub spec: Spec,
    /// Its name, for messages.
    pub name: String,
}

/// The root file system without symbolic links in its path: a mount is made upon it, and by
/// a link the kernel would make it elsewhere. What is not there is told by who opens it.
///
/// # Errors
/// A link that leads nowhere.
pub(super) fn resolve(root: &mut PathBuf) -> Result<()> {
    if readlink(&*root, Vec::new()).is_ok() {
        let call = || format!("realpath {}", root.display());
        let resolved = std::fs::canonicalize(&*root).call(call).at(|| "root.path")?;
        *root = resolved;
    }
    Ok(())
}

impl Bundle {
    /// Reads the bundle at `path`; its configuration from `config`, if that is
    /// given.
    ///
    /// # Errors
    /// A missing directory or file, malformed JSON with line, column and field.
    pub fn open(path: &Path, config: Option<&Path>) -> Result<Self> {
        let shown = path.display();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match open(path, flags, Mode::empty()) {
            Err(Errno::NOTDIR) if path.exists() => {
                return Err(Error::new(format!("{shown} is not a directory")).at("--bundle"));
            }
            Err(Errno::NOENT) => {
                return Err(Error::os(format!("open {shown}"), Errno::NOENT)
                    .at("--bundle")
                    .hint("a bundle is a directory with a config.json and a root file system"));
            }
            dir => dir.call(|| format!("open {shown}")).at(|| "--bundle")?,
        };
        // The kernel knows its whole path, without links.
        let absolute = readlink(format!("/proc/self/fd/{}", dir.as_raw_fd()), Vec::new())
            .call(|| format!("readlink {shown}"))
            .at(|| "--bundle")
            .hint(|| "is /proc mounted?")?;
        let absolute = PathBuf::from(OsString::from_vec(absolute.into_bytes()));
        if absolute.to_str().is_none() {
            return Err(Error::new(format!("{shown} is not a path in UTF-8")).at("--bundle"));
        }
        if let Some(config) = config {
            let shown = config.display();
            let text =
                file::read_given(CWD, config).call(|| format!("read {shown}")).at(|| "--config");
            let text = text.map_err(file::explain)?;
            let name = shown.to_string();
            let spec = spec::parse(&name, &text)?;
            return Ok(Self { path: absolute, text, spec, name });
        }
        let shown = absolute.join("config.json");
        let text = file::read_given(dir.as_fd(), "config.json")
            .call(|| format!("read {}", shown.display()))
            .map_err(file::explain)
            .hint(|| "`pinnace spec` writes one; --bundle names another directory")?;
        let name = "config.json".to_owned();
        let spec = spec::parse(&name, &text)?;
        Ok(Self { path: absolute, text, spec, name })
    }

    /// Changes what the configuration says; the file stays as it is.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn rewrite(&mut self, change: impl FnOnce(&[u8]) -> Result<String>) -> Result<()> {
        self.text = change(&self.text)?.into_bytes();
        self.spec = spec::parse(&self.name, &self.text)?;
        Ok(())
    }
}
