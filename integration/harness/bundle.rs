//! A bundle: a busybox root filesystem and a `config.json` to be bent.

use super::{Container, Output, Value, guard, json, write_program};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// The applets that the tests' scripts use.
const APPLETS: &[&str] = &[
    "[", "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname",
    "echo", "env", "expr", "false", "find", "getopt", "grep", "head", "hostname", "id", "ip",
    "ipcs", "kill", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv", "nc", "nice", "nsenter", "od",
    "ping", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "setsid", "sh",
    "sleep", "sort", "stat", "stty", "sync", "tail", "tee", "test", "touch", "tr", "true", "tty",
    "umount", "uname", "unshare", "wc", "which", "whoami", "xargs",
];

/// A directory with `bundle/` (`config.json`, `rootfs/`) and `state/`, made for
/// one container and removed with it.
pub struct Bundle {
    /// Unique on the machine; also the container's id.
    pub id: String,
    dir: TempDir,
    config: Value,
}

impl Bundle {
    /// A container that runs `args`.
    pub fn new<const N: usize>(args: [&str; N]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        guard::ensure();
        let id = format!("it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::Builder::new().prefix(&format!("{id}.")).tempdir().unwrap();
        // A mapped root must be able to walk to the rootfs.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let bundle = Self { id, dir, config: default_config() };
        bundle.make_rootfs();
        bundle.set("/process/args", json!(args.as_slice()))
    }

    /// A container that runs a shell script.
    pub fn sh(script: &str) -> Self {
        Self::new(["sh", "-c", script])
    }

    /// A container that stays until it is killed.
    pub fn sleeper() -> Self {
        Self::new(["sleep", "1000"])
    }

    /// A container that says it is up (`Container::wait_ready`), then obeys TERM.
    pub fn server() -> Self {
        Self::sh("trap 'exit 42' TERM; echo > /ready; while :; do sleep 1000 & wait; done")
    }

    /// Sets the value at a JSON pointer; parents are made, `/-` appends.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let mut at = &mut self.config;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/");
            if part == "-" && !at.is_array() {
                *at = json!([]);
            }
            at = match at {
                Value::Array(list) => {
                    let index = part.parse().unwrap_or(list.len());
                    list.resize(list.len().max(index + 1), Value::Null);
                    &mut list[index]
                }
                object => &mut object[part],
            };
        }
        *at = value;
        self
    }

    /// Changes the configuration freely.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Removes the value at `object` + `key`.
    #[must_use]
    pub fn unset(self, object: &str, key: &str) -> Self {
        self.edit(|c| {
            c.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(key);
        })
    }

    /// Adds a mount.
    #[must_use]
    pub fn mount(self, kind: &str, source: &str, destination: &str, options: &[&str]) -> Self {
        let entry = json!({"type": kind, "source": source, "destination": destination,
            "options": options});
        self.set("/mounts/-", entry)
    }

    /// Adds a bind mount.
    #[must_use]
    pub fn bind(self, source: &Path, destination: &str, options: &[&str]) -> Self {
        self.mount("none", source.to_str().unwrap(), destination, options)
    }

    /// Adds a namespace, or sets the path of one that is there.
    #[must_use]
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Self {
        self.edit(|c| {
            let list = c["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|ns| ns["type"] != kind);
            list.push(
                path.map_or_else(
                    || json!({"type": kind}),
                    |path| json!({"type": kind, "path": path}),
                ),
            );
        })
    }

    /// Takes a namespace out: the runtime's own is kept.
    #[must_use]
    pub fn without_namespace(self, kind: &str) -> Self {
        self.edit(|c| {
            c["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != kind);
        })
    }

    /// A new user namespace, ids 0..65536 mapped to 100000 and up, as engines do.
    #[must_use]
    pub fn user_namespace(self) -> Self {
        let mut todo = vec![self.path().join("rootfs")];
        while let Some(dir) = todo.pop() {
            std::os::unix::fs::lchown(&dir, Some(100_000), Some(100_000)).unwrap();
            let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
            todo.extend(entries.filter(|e| e.file_type().unwrap().is_dir()).map(|e| e.path()));
        }
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        self.namespace("user", None)
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
    }

    /// Gives the process one capability more, in all sets but ambient.
    #[must_use]
    pub fn capability(self, name: &str) -> Self {
        ["bounding", "effective", "permitted"]
            .iter()
            .fold(self, |b, set| b.set(&format!("/process/capabilities/{set}/-"), json!(name)))
    }

    /// A file of the rootfs, seen from the host.
    pub fn rootfs(&self, path: &str) -> PathBuf {
        self.path().join("rootfs").join(path)
    }

    /// The bundle.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    /// The directory around bundle and state; anything else may go here.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes an executable file next to the bundle, for hooks.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir().join(name);
        write_program(&path, format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes a file of the rootfs; parents are made.
    #[must_use]
    pub fn file(self, path: &str, text: &str) -> Self {
        let path = self.rootfs(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_program(&path, text);
        self
    }

    /// The configuration so far.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Writes `config.json`.
    pub fn write_config(&self) {
        let text = serde_json::to_vec(&self.config).unwrap();
        fs::write(self.path().join("config.json"), text).unwrap();
    }

    /// Writes `config.json` and makes a container of the bundle (not created yet).
    pub fn container(self) -> Container {
        self.write_config();
        Container::new(self)
    }

    /// `run` in the foreground, and the check that nothing is left.
    pub fn run(self) -> Output {
        self.container().run()
    }

    fn make_rootfs(&self) {
        for dir in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir_all(self.rootfs(dir)).unwrap();
        }
        let mode = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(self.rootfs("tmp"), mode).unwrap();
        let busybox = self.rootfs("bin/busybox");
        if fs::hard_link(own_busybox(), &busybox).is_err() {
            copy(&own_busybox(), &busybox);
        }
        for applet in APPLETS {
            symlink("busybox", self.rootfs("bin").join(applet)).unwrap();
        }
        rustix::fs::mknodat(
            rustix::fs::CWD,
            self.rootfs("ready"),
            rustix::fs::FileType::Fifo,
            0o666.into(),
            0,
        )
        .unwrap();
    }
}

/// Copies a program, by another process: what another thread starts meanwhile would have the new
/// file open for writing until it executes its own program, and nobody could run it (ETXTBSY).
fn copy(from: &Path, to: &Path) {
    let length = |path: &Path| fs::metadata(path).map(|file| file.len()).ok();
    match std::process::Command::new("/bin/cp").args([from, to]).status() {
        // Another thread of this program reaps all children.
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
        done => assert!(done.unwrap().success(), "cp {} {}", from.display(), to.display()),
    }
    assert_eq!(length(from), length(to), "cp {} {}", from.display(), to.display());
}

/// A copy of the host's busybox, so that no container ever holds the host's inode.
fn own_busybox() -> PathBuf {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("busybox");
    if !own.exists() {
        let new = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        assert!(Path::new("/bin/busybox").exists(), "/bin/busybox: install busybox-static");
        copy(Path::new("/bin/busybox"), new.path());
        fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755)).unwrap();
        new.persist(&own).unwrap();
    }
    own
}

/// As `runc spec` prints it, but no terminal and a writable root.
fn default_config() -> Value {
    let caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs"},
        "hostname": "boat",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
                         "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"},
                           {"type": "uts"}, {"type": "mount"}],
            "maskedPaths": ["/proc/acpi", "/proc/keys", "/proc/latency_stats",
                            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                            "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                              "/proc/sysrq-trigger"]
        }
    })
}
