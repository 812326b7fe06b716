//! What a test program made ends with it, also when it is killed. The guard is a second
//! process of the same program: it waits for the end of the first on a pidfd, then kills,
//! deletes and removes whatever still bears that one's name.
//!
//! The name is `it-PID-`: all ids, directories, cgroups and network devices of the tests
//! begin with it, or lie below something that does. What a test starts is known by a variable
//! in its environment, too.

use super::call::wait_for;
use super::leftovers::{self, Name};
use super::{Call, by_systemd, runtime};
use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Tells the guard whom it guards.
const VARIABLE: &str = "GUARD_OF";
const READY: &str = "the guard is ready";

/// Starts this program's guard, once.
pub fn ensure() {
    static GUARD: LazyLock<()> = LazyLock::new(start);
    // The crash harness has no libtest to be started by as a guard, and one of its own.
    if env!("CARGO_CRATE_NAME") != "crash" {
        LazyLock::force(&GUARD);
    }
}

#[expect(clippy::zombie_processes, reason = "the guard outlives its parent")]
fn start() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    // Its own process group: neither the terminal nor timeout(1) ends it with the tests.
    let mut guard = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness::guard::the_guard", "--nocapture"])
        .env(VARIABLE, std::process::id().to_string())
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(guard.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(READY)), "the guard has not begun");
}

/// A directory that is removed with its test, or with the test program.
pub fn directory() -> tempfile::TempDir {
    directory_in(&std::env::temp_dir())
}

/// As `directory`, in /dev/shm or /var/tmp.
pub fn directory_in(parent: &Path) -> tempfile::TempDir {
    ensure();
    let prefix = format!("{}d.", Name::of(std::process::id()).text());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).unwrap()
}

#[test]
fn the_guard() {
    let Ok(guarded) = std::env::var(VARIABLE) else { return };
    let guarded: u32 = guarded.parse().unwrap();
    let pid = Pid::from_raw(guarded.cast_signed()).unwrap();
    let end = pidfd_open(pid, PidfdFlags::empty());
    // If it ended before, its number may be another's.
    if getppid() == Some(pid)
        && let Ok(end) = end
    {
        writeln!(std::io::stdout(), "{READY}").unwrap();
        // After a minute libtest says there that this test is slow, and ends where nobody reads it.
        rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null").unwrap()).unwrap();
        // Not by `wait_for`: tests last as long as they like.
        let mut fds = [rustix::event::PollFd::new(&end, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None)).unwrap();
    }
    clean(&Name::of(guarded));
    // Nobody reads any more what libtest has to say.
    std::process::exit(0);
}

/// Ends whatever bears the name. Nobody is left to hear of an error.
fn clean(name: &Name) {
    kill(name);
    for dir in leftovers::directories(name) {
        for entry in fs::read_dir(dir.join("state")).into_iter().flatten().flatten() {
            let Ok(id) = entry.file_name().into_string() else { continue };
            let driver = by_systemd().then_some("--systemd-cgroup");
            let root = dir.join("state");
            Call::new(&runtime().path)
                .args(["--root", root.to_str().unwrap()])
                .args(driver)
                .args(["delete", "--force", &id])
                .run();
        }
    }
    kill(name);
    leftovers::remove_all(name);
    for dir in leftovers::directories(name) {
        fs::remove_dir_all(dir).ok();
    }
}

/// Kills whoever bears the name until nobody does: a process may be about to make another.
fn kill(name: &Name) {
    let end = Instant::now() + Duration::from_secs(20);
    leftovers::thaw(name);
    loop {
        let found = leftovers::processes(name);
        let fds = found.iter().filter_map(|(pid, _)| {
            let fd = pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok()?;
            // The number may have become another's meanwhile.
            leftovers::is_of(*pid, name).then_some(fd)
        });
        let fds: Vec<_> = fds.collect();
        if fds.is_empty() || Instant::now() > end {
            return;
        }
        for fd in &fds {
            pidfd_send_signal(fd, Signal::KILL).ok();
        }
        for fd in &fds {
            wait_for(fd, PollFlags::IN);
        }
    }
}
