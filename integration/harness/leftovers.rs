//! The search for whatever a runtime left behind.

use super::cgroup::is_cgroup;
use super::{Call, Container};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the traces of a container, or of a whole test program, are known by.
pub struct Name(String);

impl Name {
    /// Of all that a test program makes.
    pub fn of(program: u32) -> Self {
        Self(format!("it-{program}-"))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `text` has the name, not as a part of a longer word or number.
    fn is_in(&self, text: &str) -> bool {
        let whole = !self.0.ends_with('-');
        text.match_indices(&self.0).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let after = text[at + found.len()..].chars().next();
            let in_a_word = before.is_some_and(char::is_alphanumeric);
            let in_a_number = whole && after.is_some_and(|c| c.is_ascii_digit());
            !in_a_word && !in_a_number
        })
    }
}

/// Everything on the machine that still bears the container's name.
pub fn of(container: &Container) -> Vec<String> {
    let name = Name(container.id.clone());
    let mut found = state(container);
    found.extend(cgroups(&name).iter().map(|dir| format!("cgroup {}", dir.display())));
    found.extend(mounts(&name).into_iter().map(|line| format!("mount {line}")));
    // A killed process is a moment on its way out, and so is a unit whose process was killed;
    // no event tells of a stranger's end.
    let end = Instant::now() + Duration::from_secs(20);
    let mut left = dying(&name);
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
        left = dying(&name);
    }
    found.extend(left);
    found
}

/// Everything that still bears the name of a test program.
pub fn of_program(name: &Name) -> Vec<String> {
    let mut found = dying(name);
    found.extend(cgroups(name).iter().map(|dir| format!("cgroup {}", dir.display())));
    found.extend(mounts(name).into_iter().map(|line| format!("mount {line}")));
    found.extend(devices(name).into_iter().map(|device| format!("device {device}")));
    found.extend(directories(name).iter().map(|dir| format!("directory {}", dir.display())));
    found
}

fn dying(name: &Name) -> Vec<String> {
    let processes = processes(name).into_iter().map(|(pid, line)| format!("process {pid} {line}"));
    processes.chain(units(name).into_iter().map(|name| format!("unit {name}"))).collect()
}

/// Best effort, so that one failed test does not spoil the next.
pub fn remove(container: &Container) {
    remove_all(&Name(container.id.clone()));
}

/// Best effort.
pub fn remove_all(name: &Name) {
    for (pid, _) in processes(name) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
    for line in mounts(name).iter().rev() {
        let target = line.split(' ').nth(4).unwrap_or_default();
        rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).ok();
    }
    for device in devices(name) {
        Call::new("/usr/sbin/ip").args(["link", "del", &device]).run();
    }
    // A cgroup is in use until the last of its processes has been reaped.
    let end = Instant::now() + Duration::from_secs(2);
    let mut left = cgroups(name);
    while !left.is_empty() {
        for dir in left.iter().rev() {
            drop(fs::remove_dir(dir));
        }
        left = cgroups(name);
        if left.is_empty() || Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A frozen process does not die on v1.
pub fn thaw(name: &Name) {
    for dir in cgroups(name) {
        for (file, text) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            let file = dir.join(file);
            if file.exists() {
                fs::write(file, text).ok();
            }
        }
    }
}

fn state(container: &Container) -> Vec<String> {
    let Ok(entries) = fs::read_dir(container.root()) else { return Vec::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with(".cache")) // crun's seccomp programs
        .map(|path| format!("state {}", path.display()))
        .collect()
}

/// Directories, parents first, whose name has the id. Other tests make and
/// remove theirs meanwhile, so a directory that is gone is no error.
fn cgroups(name: &Name) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if name.is_in(&path.to_string_lossy()) && is_cgroup(&path) {
                    found.push(path.clone());
                }
                todo.push(path);
            }
        }
    }
    found
}

/// Units that systemd has made at somebody's wish; it keeps a file for each.
fn units(name: &Name) -> Vec<String> {
    let entries = fs::read_dir("/run/systemd/transient").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|unit| name.is_in(unit)).collect()
}

/// Where tests make directories.
const PLACES: [&str; 2] = ["/dev/shm", "/var/tmp"];

pub fn directories(name: &Name) -> Vec<PathBuf> {
    let temporary = std::env::temp_dir();
    let places = PLACES.iter().map(Path::new).chain([temporary.as_path()]);
    let entries = places.flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    let named =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name.text()));
    named.map(|entry| entry.path()).collect()
}

/// Network devices of the host.
fn devices(name: &Name) -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|device| name.is_in(device)).collect()
}

fn mounts(name: &Name) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| name.is_in(line)).map(str::to_owned).collect()
}

/// Processes, but for those that wait for their parent.
pub fn processes(name: &Name) -> Vec<(i32, String)> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    pids.filter(|pid| is_of(*pid, name)).map(|pid| (pid, command_line(pid))).collect()
}

/// Whether a process bears the name: in its command line, cgroup, or environment.
pub fn is_of(pid: i32, name: &Name) -> bool {
    let read = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let is_in = |file| name.is_in(&String::from_utf8_lossy(&read(file)));
    // A zombie has no command line.
    !read("cmdline").is_empty() && (is_in("cmdline") || is_in("cgroup") || is_in("environ"))
}

fn command_line(pid: i32) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\0', " ")
}
