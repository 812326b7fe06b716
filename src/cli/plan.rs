//! `pinnace plan`.

use super::Verb;
use super::usage::{print, print_json};
use crate::container::{Preview, Runtime};
use crate::error::Result;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// Directory of the bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verb for Plan {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let preview = Preview::open(&self.bundle, runtime.rootless)?;
        if self.json {
            print_json(&preview.to_json())?;
            print("\n");
        } else {
            print(&preview.to_string());
        }
        Ok(i32::from(preview.is_refused()))
    }
}
