//! Which runtime is under test, and what is known to differ in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The runtime under test.
pub struct Runtime {
    /// `pinnace`, `runc`, `crun`: the last part of the path.
    pub name: String,
    pub path: PathBuf,
}

/// The runtime that `RUNTIME` names.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        assert!(rustix::process::geteuid().is_root(), "these tests need root");
        let wanted = std::env::var("RUNTIME").unwrap_or_else(|_| "pinnace".into());
        let path = match wanted.as_str() {
            "pinnace" => Path::new(env!("CARGO_MANIFEST_DIR")).join("bin/pinnace"),
            path if path.contains('/') => PathBuf::from(path),
            name => in_path(name).unwrap_or_else(|| panic!("RUNTIME={name}: not in PATH")),
        };
        assert!(path.is_file(), "{}: no such program; build it first", path.display());
        let path = path.canonicalize().unwrap();
        Runtime { name: path.file_name().unwrap().to_str().unwrap().into(), path }
    });
    &RUNTIME
}

/// Whether systemd makes the cgroups of all containers: `DRIVER=systemd`.
pub fn by_systemd() -> bool {
    match std::env::var("DRIVER").as_deref() {
        Ok("systemd") => true,
        Ok("cgroupfs" | "") | Err(_) => false,
        Ok(other) => panic!("DRIVER={other}: cgroupfs or systemd"),
    }
}

/// Whether the strictest expectations apply, such as the words of a message.
pub fn is_pinnace() -> bool {
    !["runc", "crun", "youki"].contains(&runtime().name.as_str())
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// True when the runtime under test is one of `runtimes`; then `why` is noted.
pub fn known_to_differ(runtimes: impl Names, why: &str) -> bool {
    let here = runtimes.has(&runtime().name);
    if here {
        note("differs", why);
    }
    here
}

/// Notes what the machine lacks for a test.
pub fn lacks(what: &str) {
    note("skipped", what);
}

/// One line on the terminal, past libtest's capture, and in the list that
/// `target/tmp/notes-RUNTIME` keeps.
fn note(kind: &str, why: &str) {
    let name = &runtime().name;
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let line = format!("{kind}: {name}: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("notes-{name}"));
    let old = std::fs::read_to_string(&file).unwrap_or_default();
    if !old.contains(&line) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// One name, or several.
pub trait Names {
    fn has(&self, name: &str) -> bool;
}

impl Names for &str {
    fn has(&self, name: &str) -> bool {
        *self == name
    }
}

impl<const N: usize> Names for [&str; N] {
    fn has(&self, name: &str) -> bool {
        self.contains(&name)
    }
}
