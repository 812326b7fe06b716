//! What docs/engines says to write into an engine's configuration is given to the engine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::call::Call;

/// Where the documents have the runtime.
pub const PROGRAM: &str = "/usr/local/sbin/pinnace";

/// The block of a page in this language that has so many before it.
pub fn block(page: &str, language: &str, before: usize) -> Result<String> {
    let path = Path::new(crate::TOP).join("docs/engines").join(page);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rest = text.split(&format!("```{language}\n")).nth(before + 1).context("no block")?;
    Ok(rest.split("```").next().unwrap_or_default().to_owned())
}

/// containerd reads the section for Kubernetes of its version, and knows the runtime by it.
pub fn containerd(directory: &Path) -> Result<()> {
    let version = Call::new(["containerd", "--version"]).ok()?;
    let (which, plugin) = match version.contains(" v2.") || version.contains("/v2 ") {
        true => (1, "io.containerd.cri.v1.runtime"),
        false => (0, "io.containerd.grpc.v1.cri"),
    };
    let config = directory.join("documented.toml");
    fs::write(&config, block("containerd.md", "toml", which)?)?;
    let words = ["containerd", "--config", &config.display().to_string(), "config", "dump"];
    let dump = Call::new(words).ok()?.replace('\'', "\"");
    let section = format!("[plugins.\"{plugin}\".containerd.runtimes.pinnace.options]");
    let (_, options) = dump.split_once(&section).context("no section of that name")?;
    let options = options.split("\n\n").next().unwrap_or_default();
    ensure!(options.contains(&format!("BinaryName = {PROGRAM:?}")), "{options}");
    ensure!(options.contains("SystemdCgroup = true"), "{options}");
    Ok(())
}

/// The settings that make `runtime` podman's own.
pub fn podman(runtime: &str) -> Result<String> {
    Ok(block("podman.md", "toml", 0)?.replace(PROGRAM, runtime))
}

/// The block of Docker's page that adds a runtime beside others.
pub const ADDED: usize = 0;
/// That of a default runtime.
pub const DEFAULT: usize = 1;
/// That of a runtime with arguments.
pub const WARNINGS: usize = 2;

/// A daemon.json by which `runtime` is Docker's `pinnace`.
pub fn docker(block_of_page: usize, runtime: &str) -> Result<String> {
    Ok(block("docker.md", "json", block_of_page)?.replace(PROGRAM, runtime))
}
