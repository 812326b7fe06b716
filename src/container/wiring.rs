//! What `--network` and its like become in a configuration: a namespace, two hooks and three
//! mounts, as anybody could write them, for any runtime.

use super::{Container, Observed, Runtime};
use crate::error::{Context, Error, Result};
use crate::net;
use crate::plan::network::{Mode, Wish};
use crate::sys::exe::Own;
use rustix::fs::{Mode as Bits, OFlags, fchmod, open};
use serde_json::{Value, json};
use std::fs::DirBuilder;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// How long the hook may take, in seconds: others may be before it.
const HOOK_TIMEOUT: u32 = 30;
/// The directory of the name files, in a bundle or in the state directory.
const FILES: &str = "net";

/// What the command line asks of a container's network.
#[derive(Debug, Clone, Default)]
pub struct Wiring {
    /// How it is connected; `None` leaves the configuration's namespace alone.
    pub mode: Option<Mode>,
    /// The rest of it, for a bridge.
    pub wish: Wish,
    /// The host name.
    pub hostname: Option<String>,
}

/// Who holds the name files, and a namespace that is joined.
#[derive(Debug, Clone, Copy)]
pub enum Holder<'a> {
    /// The bundle at that path: it is written for later, and for any runtime.
    Bundle(&'a Path),
    /// This runtime, for a container of that id.
    State(&'a str),
}

impl Wiring {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.mode.is_none() && self.hostname.is_none()
    }

    /// Whether name files are to be made.
    pub fn has_files(&self) -> bool {
        matches!(self.mode, Some(Mode::Bridge(_)))
    }

    /// A configuration with it, as text.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn rewrite(&self, runtime: &Runtime, text: &[u8], holder: Holder<'_>) -> Result<String> {
        let wrong = |error: serde_json::Error| Error::new(format!("config.json: {error}"));
        let mut config = serde_json::from_slice(text).map_err(wrong)?;
        self.write(runtime, &mut config, holder)?;
        serde_json::to_string_pretty(&config).map_err(wrong)
    }

    /// Writes it into a configuration. A namespace that is joined is held as long as this
    /// program runs, so that its number cannot become another's.
    ///
    /// # Errors
    /// A container that is not running, or has no network of its own.
    pub fn write(&self, runtime: &Runtime, config: &mut Value, holder: Holder<'_>) -> Result<()> {
        if !config.is_object() {
            return Err(Error::new("config.json: is no object"));
        }
        if let Some(name) = &self.hostname {
            config["hostname"] = json!(name);
        }
        let entry = match &self.mode {
            None => return Ok(()),
            Some(Mode::Host) => None,
            Some(Mode::None | Mode::Bridge(_)) => Some(json!({"type": "network"})),
            Some(Mode::Container(id)) => {
                let (path, file) = namespace_of(runtime, id)?;
                let path = match holder {
                    Holder::Bundle(_) => path,
                    Holder::State(_) => format!("/proc/self/fd/{}", file.as_raw_fd()),
                };
                // Until this program ends.
                std::mem::forget(file);
                Some(json!({"type": "network", "path": path}))
            }
        };
        disconnect(config);
        let list = list(config, &["linux", "namespaces"])?;
        list.retain(|entry| entry["type"] != "network");
        list.extend(entry);
        match &self.mode {
            Some(Mode::Bridge(name)) => self.connect(runtime, config, name, holder),
            _ => Ok(()),
        }
    }

    /// The hooks and the mounts of a bridge.
    fn connect(
        &self,
        runtime: &Runtime,
        config: &mut Value,
        network: &str,
        holder: Holder<'_>,
    ) -> Result<()> {
        let program = Own::open()?.path()?;
        let files = match holder {
            Holder::Bundle(_) => PathBuf::from(FILES),
            Holder::State(id) => runtime.store.root().join(id).join(FILES),
        };
        let mut wish = self.wish.clone();
        wish.network = network.to_owned();
        let named = config["hostname"].as_str().map(str::to_owned);
        wish.names.hostname = named.filter(|name| !name.is_empty());
        wish.files = Some(files.clone());
        let hook = |verb: &str, arguments: Vec<String>| {
            let words = ["pinnace", "network", verb].map(str::to_owned).into_iter();
            let args: Vec<_> = words.chain(arguments).collect();
            json!({"path": program, "args": args, "timeout": HOOK_TIMEOUT})
        };
        let setup = hook("setup", wish.arguments());
        let teardown = hook("teardown", vec![network.to_owned()]);
        list(config, &["hooks", "createRuntime"])?.insert(0, setup);
        list(config, &["hooks", "poststop"])?.push(teardown);
        let mounts = list(config, &["mounts"])?;
        for name in net::FILES {
            let target = format!("/etc/{name}");
            if mounts.iter().all(|mount| mount["destination"] != target.as_str()) {
                let options = ["bind", "nosuid", "noexec", "nodev"];
                let source = files.join(name);
                mounts.push(json!({"destination": target, "type": "bind", "source": source, "options": options}));
            }
        }
        match holder {
            Holder::Bundle(bundle) => make_files(bundle),
            // With the container's directory.
            Holder::State(_) => Ok(()),
        }
    }
}

/// Takes out what [`Wiring::connect`] has put into the configuration of a bundle: what is said
/// now is instead of that, and none is none.
fn disconnect(config: &mut Value) {
    let is_own = |hook: &Value| {
        let word = |at: usize| hook["args"][at].as_str().unwrap_or_default();
        [word(0), word(1)] == ["pinnace", "network"] && ["setup", "teardown"].contains(&word(2))
    };
    for event in ["/hooks/createRuntime", "/hooks/poststop"] {
        if let Some(hooks) = config.pointer_mut(event).and_then(Value::as_array_mut) {
            hooks.retain(|hook| !is_own(hook));
        }
    }
    let is_file = |mount: &Value| {
        net::FILES.iter().any(|name| {
            mount["source"] == format!("{FILES}/{name}")
                && mount["destination"] == format!("/etc/{name}")
        })
    };
    if let Some(mounts) = config.pointer_mut("/mounts").and_then(Value::as_array_mut) {
        mounts.retain(|mount| !is_file(mount));
    }
}

/// Makes the name files, empty; those that are there stay. They must be there before a
/// container is made, to be mounted.
///
/// # Errors
/// Those of mkdir(2) and open(2).
pub(super) fn make_files(above: &Path) -> Result<()> {
    let dir = above.join(FILES);
    let call = || format!("mkdir {}", dir.display());
    match DirBuilder::new().mode(0o755).create(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made.call(call)?,
    }
    for name in net::FILES {
        let path = dir.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let readable = Bits::from_raw_mode(0o644);
        // Whatever the umask is: not only root reads them.
        open(&path, flags, readable)
            .and_then(|file| fchmod(file, readable))
            .call(|| format!("create {}", path.display()))?;
    }
    Ok(())
}

/// The list at a place of a configuration, made if it is missing.
fn list<'a>(config: &'a mut Value, path: &[&str]) -> Result<&'a mut Vec<Value>> {
    let mut place = config;
    for (at, name) in path.iter().enumerate() {
        let is_last = at + 1 == path.len();
        let object = place.as_object_mut();
        let object = object.ok_or_else(|| {
            Error::new(format!("config.json: {} is no object", path[..at].join(".")))
        })?;
        place = object.entry(*name).or_insert(Value::Null);
        if place.is_null() {
            *place = if is_last { json!([]) } else { json!({}) };
        }
    }
    let wrong = || Error::new(format!("config.json: {} is no list", path.join(".")));
    place.as_array_mut().ok_or_else(wrong)
}

/// The network namespace of a running container: its path, and the file itself.
fn namespace_of(runtime: &Runtime, id: &str) -> Result<(String, OwnedFd)> {
    let at = |error: Error| error.at(format!("--network container:{id}"));
    let container = Container::find(runtime, id).map_err(at)?;
    if !container.record.has_namespace("network") {
        return Err(
            at(Error::new("it has the network of the host")).hint("`--network host` is the same")
        );
    }
    let running = |container: &Container| match container.observe()? {
        Observed::Created(init) | Observed::Running(init) | Observed::Paused(init) => Ok(init),
        Observed::Creating(_) | Observed::Stopped => {
            Err(Error::new(format!("container not running: {id}")))
        }
    };
    let path = format!("/proc/{}/ns/net", running(&container).map_err(at)?.pid);
    let file = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Bits::empty());
    let file = file.call(|| format!("open {path}")).map_err(at)?;
    // Then it is that process whose file was opened.
    running(&container).map_err(at)?;
    Ok((path, file))
}
