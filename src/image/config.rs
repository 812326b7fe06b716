//! `config.json` of a bundle from an image's configuration (image-spec, conversion.md).

use super::documents::{Config, Image};
use super::users::User;
use crate::error::{Error, Result};
use crate::spec::{LAYERS, template};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The root of a bundle that has its files.
const ROOTFS: &str = "rootfs";

/// The search path of a container whose image has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What the programs of images expect: podman's default.
const CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// Annotations that a runtime, an engine or systemd obeys: who writes the bundle may set them,
/// who has made the image may not (CVE-2026-53488). A `*` stands at the end of a prefix.
const OBEYED: [&str; 14] = [
    "run.pinnace.*",
    "run.oci.*",
    "org.systemd.property.*",
    "org.criu.*",
    "io.katacontainers.*",
    "cdi.k8s.io/*",
    "dev.gvisor.*",
    "io.kubernetes.cri*",
    "io.podman.annotations.*",
    "io.containers.*",
    "org.opencontainers.runc.*",
    "module.wasm.image/*",
    "run.wasmedge.*",
    "nvidia.*",
];

/// The name of a bundle's root. That of layers no image decides, so the runtime believes no list of
/// layers beside another root.
#[must_use]
pub fn root_of(copy: bool) -> &'static str {
    if copy { ROOTFS } else { LAYERS }
}

/// What the caller wants otherwise than the image.
#[derive(Debug, Default)]
pub struct Wishes<'a> {
    /// Instead of Cmd.
    pub command: &'a [String],
    /// For a user without root's privileges.
    pub is_rootless: bool,
    /// Whether the container has a terminal.
    pub terminal: bool,
}

/// What was made, and what was left out of it.
#[derive(Debug)]
pub struct Written {
    /// `config.json`.
    pub text: String,
    /// Labels that are not passed on.
    pub refused: Vec<String>,
}

/// Writes it. `layers` are directories, the lowest first; none if the root is whole.
///
/// # Errors
/// An image that does not say what to run, or says it wrongly.
pub fn write(
    image: &Image,
    user: &User,
    layers: Option<&[&Path]>,
    wishes: &Wishes<'_>,
) -> Result<Written> {
    let text = template::of(wishes.is_rootless)?;
    let mut document: Value =
        serde_json::from_str(&text).map_err(|error| Error::new(format!("template: {error}")))?;
    let config = &image.config;
    document["process"] = process(config, user, wishes)?;
    document["root"] = json!({"path": root_of(layers.is_none())});
    // The container's id, which is what engines take, is not known yet: nor is a name.
    if let Some(object) = document.as_object_mut() {
        object.remove("hostname");
    }
    if let Some(mounts) = document["mounts"].as_array_mut() {
        for path in config.volumes.keys() {
            mounts.push(volume(path)?);
        }
    }
    let (mut annotations, refused) = annotations(image);
    if let Some(layers) = layers {
        let list: Vec<_> = layers.iter().map(|path| path.to_string_lossy()).collect();
        annotations.insert(LAYERS.into(), json!(list).to_string().into());
    }
    document["annotations"] = Value::Object(annotations);
    // Pings without CAP_NET_RAW.
    if !wishes.is_rootless {
        document["linux"]["sysctl"] = json!({"net.ipv4.ping_group_range": "0 0"});
    }
    let text =
        serde_json::to_string_pretty(&document).map_err(|error| Error::new(error.to_string()))?;
    Ok(Written { text: text + "\n", refused })
}

fn process(config: &Config, user: &User, wishes: &Wishes<'_>) -> Result<Value> {
    let cwd = match config.working_dir.as_str() {
        "" => "/",
        cwd if cwd.starts_with('/') => cwd,
        cwd => return Err(wrong(format!("WorkingDir {cwd:?} is no absolute path"))),
    };
    let rest = if wishes.command.is_empty() { &config.cmd } else { wishes.command };
    let args: Vec<_> = config.entrypoint.iter().chain(rest).collect();
    if args.is_empty() {
        return Err(Error::new("the image does not say what to run: no Entrypoint, no Cmd")
            .hint("name it behind the bundle: pinnace-image unpack LAYOUT BUNDLE COMMAND"));
    }
    let capabilities: &[&str] = &CAPABILITIES;
    let mut process = json!({
        "terminal": wishes.terminal,
        "user": {"uid": user.uid, "gid": user.gid},
        "args": args,
        "env": environment(config, user, wishes)?,
        "cwd": cwd,
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        },
    });
    if !user.groups.is_empty() {
        process["user"]["additionalGids"] = json!(user.groups);
    }
    Ok(process)
}

/// That of the image, in its order; of a name that is there twice the last one counts. What is
/// added takes nothing away.
fn environment(config: &Config, user: &User, wishes: &Wishes<'_>) -> Result<Vec<String>> {
    // By their names: a configuration has room for half a million.
    let mut last = BTreeMap::new();
    for (at, entry) in config.env.iter().enumerate() {
        match entry.split_once('=') {
            Some((name, _)) if !name.is_empty() => {
                last.insert(name, at);
            }
            _ => return Err(wrong(format!("Env {entry:?} is not NAME=VALUE"))),
        }
    }
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let counts = |at: usize, entry: &str| last.get(name(entry).as_str()) == Some(&at);
    let env = config.env.iter().enumerate().filter(|(at, entry)| counts(*at, entry));
    let mut all: Vec<String> = env.map(|(_, entry)| entry.clone()).collect();
    let home = user.home.as_ref().map(|home| format!("HOME={home}"));
    let terminal = wishes.terminal.then(|| "TERM=xterm".to_owned());
    for more in [Some(PATH.to_owned()), terminal, home].into_iter().flatten() {
        if !last.contains_key(name(&more).as_str()) {
            all.push(more);
        }
    }
    Ok(all)
}

/// The error of an image whose configuration nobody could run.
fn wrong(what: String) -> Error {
    Error::new(what).hint("`umoci config` corrects an image")
}

/// Data of the container, which goes with it: a tmpfs leaves nothing.
fn volume(path: &str) -> Result<Value> {
    let destination = path.trim_end_matches('/');
    if !destination.starts_with('/') || path.split('/').any(|name| name == "..") {
        return Err(wrong(format!("Volumes: {path:?} is no absolute path of a volume")));
    }
    Ok(json!({
        "destination": destination,
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["rw", "nosuid", "nodev", "mode=0755"],
    }))
}

/// Labels win over what is made of other fields; an absent field is an absent annotation.
fn annotations(image: &Image) -> (Map<String, Value>, Vec<String>) {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let ports: Vec<_> = image.config.exposed_ports.keys().map(String::as_str).collect();
    let fields = [
        ("os", some(&image.os)),
        ("architecture", some(&image.architecture)),
        ("variant", some(&image.variant)),
        ("os.version", image.os_version.clone()),
        ("os.features", some(&image.os_features.join(","))),
        ("author", image.author.clone()),
        ("created", image.created.clone()),
        ("stopSignal", some(&image.config.stop_signal)),
        ("exposedPorts", some(&ports.join(","))),
    ];
    let mut all = Map::new();
    for (name, value) in fields {
        if let Some(value) = value {
            all.insert(format!("org.opencontainers.image.{name}"), value.into());
        }
    }
    let mut refused = Vec::new();
    for (key, value) in &image.config.labels {
        match is_obeyed(key) || key.is_empty() {
            true => refused.push(key.clone()),
            false => drop(all.insert(key.clone(), value.clone().into())),
        }
    }
    (all, refused)
}

fn is_obeyed(key: &str) -> bool {
    OBEYED.iter().any(|known| key.starts_with(known.trim_end_matches('*')))
}

/// An image's configuration becomes one of a container, or a mistake; for hack/fuzz.
#[cfg(fuzzing)]
pub fn fuzz(text: &[u8]) {
    use super::users;
    struct Lists<'a>(&'a [u8]);
    impl users::Lists for Lists<'_> {
        fn list(&self, _path: &str) -> Result<Option<Vec<u8>>> {
            Ok(Some(self.0.to_vec()))
        }
    }
    let short = |error: Error| {
        let line = crate::error::brief(&error.to_string());
        assert!(line.len() <= crate::error::LINE, "{line}");
    };
    let image: Image = match super::documents::parse(text) {
        Ok(image) => image,
        Err(error) => return short(error),
    };
    let user = match users::find(&image.config.user, &Lists(text)) {
        Ok(user) => user,
        Err(error) => return short(error),
    };
    assert!(user.uid != u32::MAX && user.gid != u32::MAX);
    match write(&image, &user, None, &Wishes::default()) {
        Ok(written) => {
            let document: Value = serde_json::from_str(&written.text).unwrap_or_default();
            let keys = document["annotations"].as_object().map(|all| all.keys());
            assert!(keys.into_iter().flatten().all(|key| !is_obeyed(key)));
        }
        Err(error) => short(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(config: &str) -> Image {
        let text = format!(
            r#"{{"os":"linux","architecture":"amd64","author":"me","config":{config},
               "rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        );
        crate::image::documents::parse(text.as_bytes()).unwrap()
    }

    fn config(of: &str) -> Result<(Value, Vec<String>)> {
        let user = User { uid: 5, gid: 6, groups: vec![7], home: Some("/h".into()) };
        let written = write(&image(of), &user, None, &Wishes::default())?;
        Ok((serde_json::from_str(&written.text).unwrap(), written.refused))
    }

    #[test]
    fn conversion_is_to_the_letter() {
        let (all, refused) = config(
            r#"{"Entrypoint":["/e","-x"],"Cmd":["c"],"WorkingDir":"/w","StopSignal":"SIGINT",
                "Env":["A=1","PATH=/p","A=2","E="],"ExposedPorts":{"80/tcp":{},"53/udp":{}},
                "Volumes":{"/v/":{}},"Labels":{"a.b":"c","org.opencontainers.image.author":"you",
                "run.oci.handler":"krun","org.systemd.property.ExecStopPost":"x","cdi.k8s.io/d":"y"}}"#,
        )
        .unwrap();
        let process = &all["process"];
        assert_eq!(process["args"], json!(["/e", "-x", "c"]));
        assert_eq!(process["cwd"], "/w");
        assert_eq!(process["env"], json!(["PATH=/p", "A=2", "E=", "HOME=/h"]));
        assert_eq!(process["user"], json!({"uid": 5, "gid": 6, "additionalGids": [7]}));
        assert_eq!(process["capabilities"]["bounding"].as_array().unwrap().len(), 11);
        assert!(process["capabilities"].get("ambient").is_none());
        let notes = &all["annotations"];
        let wanted = json!({
            "a.b": "c",
            "org.opencontainers.image.os": "linux",
            "org.opencontainers.image.architecture": "amd64",
            "org.opencontainers.image.author": "you",
            "org.opencontainers.image.stopSignal": "SIGINT",
            "org.opencontainers.image.exposedPorts": "53/udp,80/tcp",
        });
        assert_eq!(*notes, wanted);
        assert_eq!(
            refused,
            ["cdi.k8s.io/d", "org.systemd.property.ExecStopPost", "run.oci.handler"]
        );
        let last = all["mounts"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["destination"], &last["type"]), (&json!("/v"), &json!("tmpfs")));
        assert!(all.get("hostname").is_none());
    }

    #[test]
    fn what_nobody_could_run_is_told() {
        for (of, wanted) in [
            ("{}", "does not say what to run"),
            ("null", "does not say what to run"),
            (r#"{"Cmd":["x"],"WorkingDir":"w"}"#, "WorkingDir"),
            (r#"{"Cmd":["x"],"Env":["PATH"]}"#, "NAME=VALUE"),
            (r#"{"Cmd":["x"],"Volumes":{"../x":{}}}"#, "Volumes"),
            (r#"{"Cmd":["x"],"Volumes":{"/":{}}}"#, "Volumes"),
        ] {
            let error = config(of).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert_eq!(config(r#"{"Cmd":["x"]}"#).unwrap().0["process"]["cwd"], "/");
    }
}
