//! The search for whatever a runtime left behind.

use super::Container;
use super::cgroup::is_cgroup;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Everything on the machine that still bears the container's name.
pub fn of(container: &Container) -> Vec<String> {
    let mut found = state(container);
    found.extend(cgroups(&container.id).iter().map(|dir| format!("cgroup {}", dir.display())));
    found.extend(mounts(container).into_iter().map(|line| format!("mount {line}")));
    // A killed process is a moment on its way out, and so is a unit whose process was killed;
    // no event tells of a stranger's end.
    let end = Instant::now() + Duration::from_secs(2);
    let mut left = dying(&container.id);
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
        left = dying(&container.id);
    }
    found.extend(left);
    found
}

fn dying(id: &str) -> Vec<String> {
    let processes = processes(id).into_iter().map(|(pid, line)| format!("process {pid} {line}"));
    processes.chain(units(id).into_iter().map(|name| format!("unit {name}"))).collect()
}

/// Best effort, so that one failed test does not spoil the next.
pub fn remove(container: &Container) {
    for (pid, _) in processes(&container.id) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
    for line in mounts(container).iter().rev() {
        let target = line.split(' ').nth(4).unwrap_or_default();
        rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).ok();
    }
    for dir in cgroups(&container.id).iter().rev() {
        drop(fs::remove_dir(dir));
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
fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if has_id(&path.to_string_lossy(), id) && is_cgroup(&path) {
                    found.push(path.clone());
                }
                todo.push(path);
            }
        }
    }
    found
}

/// Units that systemd has made at somebody's wish; it keeps a file for each.
fn units(id: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/systemd/transient").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| has_id(name, id)).collect()
}

fn mounts(container: &Container) -> Vec<String> {
    let dir = container.bundle.dir().to_str().unwrap();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| line.contains(dir)).map(str::to_owned).collect()
}

fn processes(id: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let read = |name| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let (cmdline, cgroup) = (read("cmdline"), read("cgroup"));
        let dead = cmdline.is_empty(); // a zombie, waiting for its parent
        if !dead && (has_id(&cmdline, id) || has_id(&cgroup, id)) {
            found.push((pid, cmdline.replace('\0', " ")));
        }
    }
    found
}

/// Whether `text` names `id`, and not `id` with more digits.
fn has_id(text: &str, id: &str) -> bool {
    text.match_indices(id)
        .any(|(at, _)| !text[at + id.len()..].starts_with(|c: char| c.is_ascii_digit()))
}
