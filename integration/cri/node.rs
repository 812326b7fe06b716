//! A containerd with directories, a socket and a network of its own, whose CRI
//! plugin knows the runtime under test as docs/engines has it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use k8s_cri::v1::{ListPodSandboxRequest, StatusRequest, VersionRequest};

use crate::call::{Call, find, until};
use crate::client::Client;
use crate::documents::{PROGRAM, block};
use crate::machine::{Machine, archive, has};
use crate::pod::remove_pod;

/// The name by which a pod asks for the runtime under test.
pub const HANDLER: &str = "pinnace";
/// The first 24 bits of the pods' addresses.
pub const NETWORK: &str = "172.31.254";
/// The image of what holds a pod's namespaces.
const PAUSE: &str = "localhost/pause:latest";
/// Where Debian has the plugins of CNI.
const PLUGINS: &str = "/usr/lib/cni";

/// The programs without which there is no node.
pub const NEEDS: &[&str] = &["containerd", "ctr", "containerd-shim-runc-v2", "catatonit"];

/// A running daemon, and a client of it. The daemon is stopped when dropped.
pub struct Node {
    daemon: Mutex<Child>,
    /// The kubelet's place.
    pub client: Client,
    /// All files of the daemon's.
    pub directory: PathBuf,
    /// The cgroup above all pods'.
    pub unique: String,
    /// Version of containerd.
    pub version: String,
}

impl Node {
    /// Starts one that has the images.
    pub fn start(machine: &Machine, name: &str) -> Result<Self> {
        if !Path::new(PLUGINS).join("bridge").exists() {
            bail!("{PLUGINS}: no plugins of CNI (containernetworking-plugins)");
        }
        let directory = machine.directory(name)?;
        private_var_lib(&directory)?;
        network(&directory.join("net.d"))?;
        fs::write(
            directory.join("config.toml"),
            config(&directory, &runtime(machine, &directory)?, machine.systemd)?,
        )?;
        let daemon = Mutex::new(spawn(&directory)?);
        let client = Client::new(&directory.join("socket"))?;
        let unique = machine.unique.clone();
        let mut node = Self { daemon, client, directory, unique, version: String::new() };
        node.answers()?;
        node.version = node.client.version(VersionRequest::default())?.runtime_version;
        for archive in [&machine.archive, &pause(machine)?] {
            node.ctr(&["image", "import", &archive.display().to_string()]).ok()?;
        }
        Ok(node)
    }

    /// `ctr`, for what CRI cannot do.
    pub fn ctr(&self, words: &[&str]) -> Call {
        let socket = self.directory.join("socket").display().to_string();
        Call::new(["ctr", "--address", &socket, "--namespace", "k8s.io"]).args(words)
    }

    /// The daemon's pid.
    pub fn pid(&self) -> u32 {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    fn answers(&self) -> Result<()> {
        until("containerd is ready for pods", || {
            let ended = self.daemon.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?;
            if let Some(status) = ended {
                bail!("containerd ended, {status}:\n{}", self.log()?);
            }
            let Ok(reply) = self.client.status(StatusRequest::default()) else { return Ok(false) };
            Ok(reply.status.is_some_and(|status| status.conditions.iter().all(|one| one.status)))
        })
        .or_else(|error| bail!("{error}:\n{}", self.log()?))
    }

    /// The end of what the daemon has logged.
    fn log(&self) -> Result<String> {
        let text = fs::read_to_string(self.directory.join("log"))?;
        let lines: Vec<_> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
    }

    /// The daemon dies without a chance to do anything, and is started again after `meanwhile`.
    pub fn dies(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        self.kill()?;
        meanwhile()?;
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = spawn(&self.directory)?;
        self.answers()
    }

    fn kill(&self) -> Result<()> {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// Removes all pods, best effort.
    pub fn reset(&self) {
        let list = self.client.list_pod_sandbox(ListPodSandboxRequest::default());
        for pod in list.map(|list| list.items).unwrap_or_default() {
            if let Err(error) = remove_pod(&self.client, &pod.id) {
                eprintln!("containerd: {error:#}");
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Those of a failed test: their shims outlive the daemon.
        self.reset();
        if let Err(error) = self.kill() {
            eprintln!("containerd does not stop: {error:#}");
        }
    }
}

/// libcni keeps results in /var/lib/cni, and no configuration names another place.
fn private_var_lib(directory: &Path) -> Result<()> {
    let [upper, work] = ["upper", "work"].map(|name| directory.join("var-lib").join(name));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let layers = format!("upperdir={},workdir={}", upper.display(), work.display());
    let options = format!("lowerdir=/var/lib,{layers}");
    Call::new(["mount", "-t", "overlay", "-o", &options, "overlay", "/var/lib"]).ok().map(drop)
}

/// A bridge, and ports of the host's where packets can be filtered.
fn network(directory: &Path) -> Result<()> {
    let addresses = serde_json::json!({
        "type": "host-local",
        "dataDir": directory.join("leases"),
        "ranges": [[{"subnet": format!("{NETWORK}.0/24")}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    let bridge = serde_json::json!({
        "type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true, "ipam": addresses,
    });
    let ports = serde_json::json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let plugins = if can_filter() { vec![bridge, ports] } else { vec![bridge] };
    let list = serde_json::json!({"cniVersion": "0.4.0", "name": "pods", "plugins": plugins});
    fs::create_dir_all(directory)?;
    Ok(fs::write(directory.join("pods.conflist"), list.to_string())?)
}

/// Whether ports of the host can be led to a pod.
pub fn can_filter() -> bool {
    find("iptables").is_some()
        && Call::new(["iptables", "--table", "nat", "--list-rules"])
            .run()
            .is_ok_and(|output| output.code == 0)
}

/// The runtime under test. The plugin gives each pod the fewest CPU shares, which no setting of its
/// turns off: where cgroup v2 has no such controller, a script takes them from config.json.
fn runtime(machine: &Machine, directory: &Path) -> Result<String> {
    let runtime = machine.runtime();
    if has("cpu") {
        return Ok(runtime);
    }
    let script = directory.join(machine.runtime_name());
    let sed = r#"sed -i 's/"cpu":{"shares":2}/"cpu":{}/' config.json"#;
    fs::write(
        &script,
        format!("#!/bin/sh\n[ ! -e config.json ] || {sed}\nexec {runtime} \"$@\"\n"),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script.display().to_string())
}

/// The documented section, and what makes the daemon a private one.
fn config(directory: &Path, runtime: &str, systemd: bool) -> Result<String> {
    let documented = block("containerd.md", "toml", 0)?
        .replace(PROGRAM, runtime)
        .replace("SystemdCgroup = true", &format!("SystemdCgroup = {systemd}"));
    let section = documented.strip_prefix("version = 2\n").context("not of version 2")?;
    let here = directory.display();
    Ok(format!(
        r#"version = 2
root = "{here}/root"
state = "{here}/state"
{section}
[grpc]
  address = "{here}/socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "{here}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_hugetlb_controller = true
  restrict_oom_score_adj = true  # not every machine lets root lower it
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{PLUGINS}"
  conf_dir = "{here}/net.d"
"#
    ))
}

fn spawn(directory: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(directory.join("log"))?;
    Command::new("containerd")
        .arg("--config")
        .arg(directory.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("containerd")
}

/// An image of one program that does nothing, and reaps.
fn pause(machine: &Machine) -> Result<PathBuf> {
    let directory = machine.directory("pause")?;
    fs::create_dir_all(directory.join("rootfs"))?;
    let program = find("catatonit").context("catatonit")?;
    fs::copy(program, directory.join("rootfs/catatonit"))?;
    archive(&directory, PAUSE, &["/catatonit", "-P"])
}
