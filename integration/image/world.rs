//! A directory with a store, a layout, a bundle and a decoy tree beside them, and calls that end.

use super::harness::{Name, directory};
use pinnace::image::digest::{Algorithm, of};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No call takes longer.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The program under test: beside the one that `RUNTIME` names, or that of this checkout.
pub fn program() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("bin/pinnace-image");
    let beside =
        std::env::var_os("RUNTIME").map(|path| Path::new(&path).with_file_name("pinnace-image"));
    let path = beside.filter(|path| path.is_absolute() && path.is_file()).unwrap_or_else(own);
    assert!(path.is_file(), "{}: build it first", path.display());
    path
}

/// What a test works in.
pub struct World {
    pub dir: TempDir,
}

/// What a call gave back.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> Self {
        // By its name the guard removes it, also after a test program that was killed.
        let dir = directory();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let world = Self { dir };
        world.plant();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Files that no image may touch, one of each kind that attacks have been after.
    fn plant(&self) {
        let decoy = self.path("decoy");
        fs::create_dir_all(decoy.join("dir/deeper")).unwrap();
        for (name, mode) in [
            ("passwd", 0o644),
            ("shadow", 0o600),
            ("dir/program", 0o755),
            ("dir/deeper/data", 0o640),
        ] {
            fs::write(decoy.join(name), name).unwrap();
            fs::set_permissions(decoy.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("passwd", decoy.join("link")).unwrap();
        std::os::unix::fs::chown(decoy.join("dir/program"), Some(12), Some(34)).unwrap();
    }

    /// All that can be seen of the decoys.
    pub fn decoys(&self) -> BTreeMap<String, String> {
        tree(&self.path("decoy"), true)
    }

    pub fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut args = args.into_iter();
        let mut command = Command::new(program());
        command.arg(args.next().unwrap()).arg("--store").arg(self.path("store")).args(args);
        command.current_dir(self.dir.path());
        command
    }

    pub fn run(&self, words: &str) -> Output {
        output(self.call(words.split_whitespace()))
    }

    /// Nothing half made is in the store, and no bundle.
    #[track_caller]
    pub fn is_clean(&self) {
        for name in ["store/tmp", "store/layers/sha256", "store/layers/sha512"] {
            let left: Vec<_> = fs::read_dir(self.path(name)).unwrap().flatten().collect();
            assert!(left.is_empty(), "{name}: {left:?}");
        }
        assert!(!self.path("bundle").exists(), "a bundle was made");
    }

    /// The root of the layer of that number, from the list in config.json.
    pub fn layer(&self, number: usize) -> PathBuf {
        let text = fs::read_to_string(self.path("bundle/config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        let list = config["annotations"]["run.pinnace.layers"].as_str().unwrap();
        serde_json::from_str::<Vec<PathBuf>>(list).unwrap()[number].clone()
    }

    pub fn config(&self) -> serde_json::Value {
        let text = fs::read_to_string(self.path("bundle/config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Runs a program to its end; it is killed after a while.
pub fn output(command: Command) -> Output {
    let child = spawn(command);
    end(child)
}

/// A program with its output in files.
pub struct Running {
    pub child: Child,
    stdout: File,
    stderr: File,
}

pub fn spawn(mut command: Command) -> Running {
    let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let child = command
        .env("PINNACE_TEST", Name::of(std::process::id()).text())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap();
    Running { child, stdout, stderr }
}

impl Running {
    /// Whether this is in its output so far.
    pub fn said(&mut self, words: &str) -> bool {
        use std::os::unix::fs::FileExt as _;
        let mut text = [0; 4096];
        [&self.stdout, &self.stderr].iter().any(|file| {
            let count = file.read_at(&mut text, 0).unwrap();
            String::from_utf8_lossy(&text[..count]).contains(words)
        })
    }
}

pub fn end(mut running: Running) -> Output {
    use std::io::{Read as _, Seek as _};
    let begin = Instant::now();
    let pidfd = rustix::process::pidfd_open(
        rustix::process::Pid::from_child(&running.child),
        rustix::process::PidfdFlags::empty(),
    )
    .unwrap();
    let wait = rustix::event::Timespec::try_from(TIMEOUT).unwrap();
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    if rustix::event::poll(&mut fds, Some(&wait)).unwrap() == 0 {
        running.child.kill().unwrap();
    }
    let status = running.child.wait().unwrap();
    assert!(begin.elapsed() < TIMEOUT, "it hangs");
    let text = |file: &mut File| {
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
    Output { code, stdout: text(&mut running.stdout), stderr: text(&mut running.stderr) }
}

impl Output {
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self:#?}");
        &self.stdout
    }

    /// Fails with one line, which says this.
    #[track_caller]
    pub fn fails_with(&self, words: &str) {
        assert_eq!(self.code, 1, "{self:#?}");
        let lines: Vec<_> =
            self.stderr.lines().filter(|line| !line.contains(": warning: ")).collect();
        assert!(lines.len() == 1 && lines[0].contains(words), "no {words:?} in {self:#?}");
    }
}

/// Everything about a tree, a line a file: type, mode, owner, size, links, target, attributes, content,
/// and times if they count.
pub fn tree(root: &Path, with_times: bool) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = stat.file_type();
        let mut line = format!("{:o} {}:{}", stat.mode(), stat.uid(), stat.gid());
        if !kind.is_dir() {
            line += &format!(" links {} rdev {}", stat.nlink(), stat.rdev());
        }
        if kind.is_symlink() {
            line += &format!(" -> {:?}", fs::read_link(&path).unwrap());
        } else {
            line += &format!(" {:?}", xattrs(&path));
        }
        if kind.is_file() {
            line += &format!(" {}", of(Algorithm::Sha256, &fs::read(&path).unwrap()).short());
        }
        if with_times {
            line += &format!(" {}.{}", stat.mtime(), stat.mtime_nsec());
        }
        if kind.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
        all.insert(String::from_utf8_lossy(name).into_owned(), line);
    }
    all
}

/// Extended attributes, with overlay's.
pub fn xattrs(path: &Path) -> BTreeMap<String, String> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap_or(0);
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        String::from_utf8_lossy(&value[..length]).into_owned()
    };
    names.map(|name| (String::from_utf8_lossy(name).into_owned(), value(name))).collect()
}
