//! What we read and print, against the spec's own JSON schemas and examples
//! (`tests/fixtures/schema`): the good examples parse, the bad ones are refused,
//! a wrong type or a number out of range is refused by the path of its field, and
//! the documents that we print are valid. And against another parser of the same
//! document, by others (`versus`).
#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

mod arbitrary;
mod documents;
mod engines;
mod examples;
mod known;
mod leaves;
mod mistakes;
mod normal;
#[path = "../rng.rs"]
mod rng;
mod schema;
mod values;
mod versus;

use pinnace::cgroup::Cgroup;
use pinnace::container::Preview;
use pinnace::error::Error;
use pinnace::spec::{self, Spec};
use serde_json::json;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema")
}

fn parse(text: &str) -> Result<Spec, Error> {
    spec::parse_str("config.json", text)
}

/// All findings about a configuration that parses, on a host with cgroup v2.
fn preview(spec: &Spec) -> Preview {
    let node = json!({"root": "/sys/fs/cgroup", "path": "x", "name": null, "made": 0});
    let rules = json!({"rootless": false, "default_path": false});
    let v2 = json!({"V2": {"node": node, "exists": true, "rules": rules}});
    let cgroup: Cgroup = serde_json::from_value(v2).unwrap();
    Preview::on(cgroup, spec, Path::new("/bundle"))
}
