//! `pinnace spec`: an example configuration to begin with.

use super::Verb;
use super::arguments::arguments;
use super::connection::Networking;
use crate::container::{Holder, Runtime};
use crate::error::{Context, Error, Result};
use rustix::io::Errno;
use std::io::Write as _;
use std::path::PathBuf;

/// As root: what runc's `spec` writes, with today's masked paths.
const ROOT: &str = include_str!("spec.json");

arguments! {
    /// Arguments of `spec`.
    pub struct Spec {
        ..networking: Networking,
        /// Directory of the bundle [default: .]
        bundle: Option<PathBuf> = "-b, --bundle DIR",
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
            return Err(Error::new("--network bridge: needs root's privileges over the host")
                .hint("--network host or none do not; pasta(1) connects a user's container"));
        }
        let text = if self.rootless { rootless()? } else { ROOT.to_owned() };
        let text = if is_unified() { with_cgroup_namespace(&text) } else { text };
        let bundle = self.bundle.unwrap_or_default();
        let path = self.config.unwrap_or_else(|| bundle.join("config.json"));
        let call = || format!("write {}", path.display());
        let text = match wiring.is_empty() {
            true => text,
            false => wiring.rewrite(runtime, text.as_bytes(), Holder::Bundle(&bundle))?,
        };
        // Never over somebody's work.
        let mut file =
            std::fs::File::create_new(&path).call(call).map_err(|error| match error.errno() {
                Some(Errno::EXIST) => error.hint("an existing file is not overwritten"),
                Some(Errno::NOENT) => error.hint("the directory must be there"),
                _ => error,
            })?;
        // Half of it would keep a later call from writing the whole.
        file.write_all(text.as_bytes()).call(call).map_err(|error| {
            error.and(std::fs::remove_file(&path).call(|| format!("remove {}", path.display())))
        })?;
        Ok(0)
    }
}

/// Whether this host has cgroup v2 alone (statfs(2), `CGROUP2_SUPER_MAGIC`).
fn is_unified() -> bool {
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type as u64 == 0x6367_7270)
}

/// On v2 the container's own cgroup is the root of what it sees, as with runc.
fn with_cgroup_namespace(text: &str) -> String {
    let list = "\t\t\"namespaces\": [\n";
    let first = format!("{list}\t\t\t{{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}},\n");
    text.replacen(list, &first, 1)
}

/// The differences: a user namespace that maps the caller to root, no network
/// namespace (nobody could configure it), no group for terminals (it is not
/// mapped), `/sys` bound from the host, no limits.
fn rootless() -> Result<String> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let changes = [
        ("\t\t\t{\n\t\t\t\t\"type\": \"network\"\n\t\t\t},\n", String::new()),
        (
            "\t\t\"namespaces\": [\n",
            format!(
                "\t\t\"uidMappings\": [\n{}\t\t],\n\t\t\"gidMappings\": [\n{}\t\t],\n\
                 \t\t\"namespaces\": [\n\t\t\t{{\n\t\t\t\t\"type\": \"user\"\n\t\t\t}},\n",
                mapping(uid),
                mapping(gid)
            ),
        ),
        ("\t\t\t\t\"mode=0620\",\n\t\t\t\t\"gid=5\"\n", "\t\t\t\t\"mode=0620\"\n".into()),
        (
            "\t\t\t\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [\n",
            "\t\t\t\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\
             \t\t\t\"options\": [\n\t\t\t\t\"rbind\",\n"
                .into(),
        ),
        (RESOURCES, String::new()),
    ];
    let mut text = ROOT.to_owned();
    for (from, to) in &changes {
        if !text.contains(from) {
            return Err(Error::new(format!("spec: the template has no {from:?}")));
        }
        text = text.replacen(from, to, 1);
    }
    Ok(text)
}

const RESOURCES: &str = "\t\t\"resources\": {\n\t\t\t\"devices\": [\n\t\t\t\t{\n\
    \t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n\t\t\t]\n\t\t},\n";

fn mapping(host: u32) -> String {
    format!(
        "\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {host},\n\t\t\t\t\"size\": 1\n\t\t\t}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_configurations_are_ours_to_run() {
        let unified = with_cgroup_namespace(ROOT);
        assert!(unified.contains("\"cgroup\"\n"));
        for text in [ROOT.to_owned(), rootless().unwrap(), unified] {
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
