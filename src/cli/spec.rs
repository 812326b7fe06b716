//! `pinnace spec`: an example configuration to begin with.

use super::Verb;
use super::arguments::arguments;
use super::connection::Networking;
use crate::container::{Holder, Runtime, Wiring};
use crate::error::{At, Context, Error, Result};
use crate::spec::template;
use crate::sys::file::read_given;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

arguments! {
    /// Arguments of `spec`.
    pub struct Spec {
        ..networking: Networking,
        /// Directory of the bundle [default: .]
        bundle: Option<PathBuf> = "-b, --bundle DIR",
        /// From an image: DIR, DIR:TAG or DIR@sha256:... of a layout, by pinnace-image
        from_oci: Option<PathBuf> = "--from-oci LAYOUT",
        /// Write this file instead of the bundle's config.json
        config: Option<PathBuf> = "-f, --config FILE",
        /// For a user without root's privileges
        rootless: bool = "--rootless",
    }
}

impl Verb for Spec {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let wiring = self.networking.wiring()?;
        if self.rootless && wiring.has_files() {
            return Err(Error::new("needs root's privileges over the host")
                .at("--network bridge")
                .hint("--network host or none do not; pasta(1) connects a user's container"));
        }
        if let Some(image) = &self.from_oci {
            return self.make_of(image, &wiring, runtime);
        }
        let text = template::of(self.rootless)?;
        let bundle = self.bundle.unwrap_or_default();
        let path = self.config.unwrap_or_else(|| bundle.join("config.json"));
        let call = || format!("write {}", path.display());
        let text = match wiring.is_empty() {
            true => text,
            false => wiring.rewrite(runtime, text.as_bytes(), Holder::Bundle(&bundle))?,
        };
        // Never over somebody's work.
        let mut file = std::fs::File::create_new(&path)
            .call(call)
            .hint_on(Errno::EXIST, || "an existing file is not overwritten")
            .hint_on(Errno::NOENT, || "the directory must be there")?;
        // Half of it would keep a later call from writing the whole.
        file.write_all(text.as_bytes()).call(call).map_err(|error| {
            error.and(std::fs::remove_file(&path).call(|| format!("remove {}", path.display())))
        })?;
        Ok(0)
    }
}

impl Spec {
    /// Lets `pinnace-image` make the bundle: what strangers have packed is not read here.
    fn make_of(&self, image: &Path, wiring: &Wiring, runtime: &Runtime) -> Result<i32> {
        let bundle = self.bundle.clone().unwrap_or_else(|| ".".into());
        let path = self.config.clone().unwrap_or_else(|| bundle.join("config.json"));
        // What is wrong with the network is told before anything is made.
        if !wiring.is_empty() {
            let text = template::of(self.rootless)?;
            wiring.rewrite(runtime, text.as_bytes(), Holder::State("none"))?;
        }
        let mut command = Command::new(unpacker());
        command.args(["unpack", "--config"]).arg(&path);
        if self.rootless {
            command.arg("--rootless");
        }
        let status = command.arg("--").args([image, &bundle]).status().map_err(|error| {
            Error::io("run pinnace-image", &error)
                .hint("it is installed beside pinnace, or in a directory of PATH")
        })?;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        if code != 0 || wiring.is_empty() {
            return Ok(code);
        }
        // A bundle without the network that was asked for is none.
        Self::connect(&path, &bundle, wiring, runtime).map(|()| 0).map_err(|error| {
            error.and(std::fs::remove_file(&path).call(|| format!("remove {}", path.display())))
        })
    }

    /// Puts the network into a configuration, whole or not at all.
    fn connect(path: &Path, bundle: &Path, wiring: &Wiring, runtime: &Runtime) -> Result<()> {
        let call = || format!("write {}", path.display());
        let text = read_given(CWD, path).call(|| format!("read {}", path.display()))?;
        let text = wiring.rewrite(runtime, &text, Holder::Bundle(bundle))?;
        let new = path.with_extension(format!("new.{}", std::process::id()));
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
        written.call(call).map_err(|error| match std::fs::remove_file(&new) {
            Err(other) if other.kind() != std::io::ErrorKind::NotFound => {
                error.and(Err(Error::io(format!("remove {}", new.display()), &other)))
            }
            _ => error,
        })
    }
}

/// The other program: beside this one, or where a shell finds it.
fn unpacker() -> PathBuf {
    let name = Path::new("pinnace-image");
    let beside = std::fs::read_link("/proc/self/exe").ok();
    let beside = beside.and_then(|own| Some(own.parent()?.join(name)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_configurations_are_ours_to_run() {
        let all = template::all();
        assert!(all[2].contains("\"cgroup\"\n"));
        for text in all {
            let spec: crate::spec::Spec = crate::spec::parse_str("config.json", &text).unwrap();
            let options = crate::plan::Options {
                id: "x".into(),
                bundle: "/".into(),
                ..crate::plan::Options::default()
            };
            let mut findings = crate::plan::Findings::default();
            crate::plan::create(&spec, &options, &mut findings);
            findings.finish(()).unwrap();
        }
    }
}
