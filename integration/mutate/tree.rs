//! A copy of the source in which one thing is broken at a time, and the programs that are built of it.

use super::list::Mutation;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A copy, with a target directory of its own.
pub struct Tree {
    top: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Copies what `git` would: the tree without what is built.
    pub fn copy(from: &Path, name: &str) -> Result<Self> {
        let place = from.join("target/mutate");
        let tree = Self { top: place.join(name), target: place.join(format!("{name}-target")) };
        if tree.top.exists() {
            fs::remove_dir_all(&tree.top)?;
        }
        fs::create_dir_all(&tree.top)?;
        let mut copy = Command::new("cp");
        // With new times: cargo would take a mutant of the last run for what an older file makes.
        copy.arg("-r").arg("--");
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if !["target", "bin", "demo", ".git"].iter().any(|left_out| name == *left_out) {
                copy.arg(entry.path());
            }
        }
        let status = copy.arg(&tree.top).status()?;
        ensure!(status.success(), "cp: {status}");
        Ok(tree)
    }

    /// Breaks what `mutation` says, calls `work`, and mends it.
    pub fn broken<T>(&self, mutation: &Mutation, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let file = self.top.join(&mutation.path);
        let whole = fs::read_to_string(&file).with_context(|| mutation.path.clone())?;
        fs::write(&file, mutation.apply(&whole)?)?;
        let done = work();
        fs::write(&file, whole)?;
        done
    }

    fn cargo(&self, command: &str) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args([command, "--locked", "--quiet", "--message-format=json-render-diagnostics"]);
        cargo.current_dir(&self.top).env("CARGO_TARGET_DIR", &self.target);
        // What a debugger reads takes longer to write than the code; CI switches incremental builds off.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "1");
        cargo.env("CARGO_PROFILE_TEST_DEBUG", "0").env_remove("CARGO_MANIFEST_DIR");
        cargo
    }

    /// Builds the program, static as it is in use.
    pub fn program(&self) -> Result<PathBuf> {
        let mut cargo = self.cargo("build");
        cargo.args(["--bin", "pinnace", "--target"]);
        cargo.arg(format!("{}-unknown-linux-musl", std::env::consts::ARCH));
        executables(cargo, false)?.remove("pinnace").context("cargo built no program")
    }

    /// Builds test programs without privilege: those named, or all. By the names of their targets.
    pub fn units(&self, names: &[String]) -> Result<BTreeMap<String, PathBuf>> {
        let mut cargo = self.cargo("test");
        cargo.arg("--no-run");
        for name in names {
            match name.as_str() {
                "pinnace" => cargo.arg("--lib"),
                name => cargo.args(["--test", name]),
            };
        }
        executables(cargo, true)
    }
}

/// Runs cargo; the programs or the tests that it has built, by the names of their targets.
fn executables(mut cargo: Command, tests: bool) -> Result<BTreeMap<String, PathBuf>> {
    let output =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let error = text.lines().skip_while(|line| !line.starts_with("error"));
        bail!("does not compile: {}", error.take(6).collect::<Vec<_>>().join(" | "));
    }
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        if let (Some(name), Some(program)) =
            (message["target"]["name"].as_str(), message["executable"].as_str())
            // The library's tests have its name, and so has the program. Cargo builds programs beside
            // tests, which are none.
            && message["profile"]["test"] == tests
            && (message["target"]["kind"][0] != "bin" || !tests)
        {
            found.insert(name.to_owned(), PathBuf::from(program));
        }
    }
    Ok(found)
}
