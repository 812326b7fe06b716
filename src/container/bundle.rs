//! The bundle: a directory with a `config.json` (bundle.md).

use crate::error::{Context, Error, Result};
use crate::spec::{self, Spec};
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
}

impl Bundle {
    /// Reads the bundle at `path`.
    ///
    /// # Errors
    /// A missing directory or file, malformed JSON with line, column and field.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let absolute = std::fs::canonicalize(path).call(|| format!("--bundle: open {shown}"))?;
        if !absolute.is_dir() {
            return Err(Error::new(format!("--bundle: {shown} is not a directory")));
        }
        if absolute.to_str().is_none() {
            return Err(Error::new(format!("--bundle: {shown} is not a path in UTF-8")));
        }
        let file = absolute.join("config.json");
        let text =
            std::fs::read(&file).call(|| format!("read {}", file.display())).map_err(|error| {
                error.hint("`pinnace spec` writes one; --bundle names another directory")
            })?;
        let spec = spec::parse("config.json", &text)?;
        Ok(Self { path: absolute, text, spec })
    }
}
