//! `pinnace plan`.

use super::Verb;
use super::arguments::arguments;
use super::overlay::Overlaying;
use super::usage::{print, print_json};
use crate::container::{Preview, Runtime};
use crate::error::Result;
use std::path::{Path, PathBuf};

arguments! {
    /// Arguments of `plan`.
    pub struct Plan {
        ..overlaying: Overlaying,
        /// Directory of the bundle [default: .]
        bundle: Option<PathBuf> = "-b, --bundle DIR",
        /// Read this file instead of the bundle's config.json
        config: Option<PathBuf> = "-f, --config FILE",
        /// Print JSON
        json: bool = "--json",
    }
}

impl Verb for Plan {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let bundle = self.bundle.as_deref().unwrap_or(Path::new("."));
        let overlay = self.overlaying.wish()?;
        let preview = Preview::open(bundle, self.config.as_deref(), overlay, runtime)?;
        if self.json {
            print_json(&preview.to_json())?;
            print("\n")?;
        } else {
            print(&preview.to_string())?;
        }
        Ok(i32::from(preview.is_refused()))
    }
}
