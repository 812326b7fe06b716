//! What docs/engines says to write into an engine's configuration is given to the engine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::call::Call;

/// Where the documents have the runtime.
pub const PROGRAM: &str = "/usr/local/sbin/pinnace";

/// The first block of a page in this language.
fn block(page: &str, language: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/engines").join(page);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rest = text.split(&format!("```{language}\n")).nth(1).context("no block")?;
    Ok(rest.split("```").next().unwrap_or_default().to_owned())
}

/// containerd reads the section for Kubernetes, and knows the runtime by it.
pub fn containerd(directory: &Path) -> Result<()> {
    let config = directory.join("documented.toml");
    fs::write(&config, block("containerd.md", "toml")?)?;
    let words = ["containerd", "--config", &config.display().to_string(), "config", "dump"];
    let dump = Call::new(words).ok()?;
    let section = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.pinnace.options]";
    let (_, options) = dump.split_once(section).context("no section of that name")?;
    let options = options.split("\n\n").next().unwrap_or_default();
    ensure!(options.contains(&format!("BinaryName = {PROGRAM:?}")), "{options}");
    ensure!(options.contains("SystemdCgroup = true"), "{options}");
    Ok(())
}

/// The settings that make `runtime` podman's own.
pub fn podman(runtime: &str) -> Result<String> {
    Ok(block("podman.md", "toml")?.replace(PROGRAM, runtime))
}
