//! What a run has made ends with it, also when it is killed. The run is the child of a process that
//! does nothing but wait for it, and the subreaper of all that comes of it. Whatever kills the parent,
//! a pipe's end tells the child, which then ends its descendants and removes their cgroups.

use super::sys;
use super::world::remove_of;
use std::fs;
use std::io::{Read as _, Result};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Tells the child that it is one.
pub const VARIABLE: &str = "CRASH_GUARDED";
/// How long it tries to remove what is left.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Calls `run` in a child of this process, and returns its exit code.
pub fn guarded(run: impl FnOnce() -> ExitCode) -> Result<ExitCode> {
    if std::env::var_os(VARIABLE).is_some() {
        sys::be_subreaper()?;
        static CLEANING: Mutex<()> = Mutex::new(());
        std::thread::spawn(|| {
            // Nothing is ever written there.
            std::io::stdin().read_to_end(&mut Vec::new()).ok();
            let _cleaning = CLEANING.lock();
            clean();
            std::process::exit(128 + libc::SIGKILL);
        });
        let code = run();
        // The workers' death ends `run`, and must not end the cleaning.
        let _not_cleaning = CLEANING.lock();
        return Ok(code);
    }
    // Its own process group: the terminal's signals, and timeout(1)'s, are for the parent.
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, "")
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()?;
    // wait() would close it.
    let _life = child.stdin.take();
    let status = child.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Best effort: nobody is left to hear of an error.
fn clean() {
    let end = Instant::now() + TIMEOUT;
    loop {
        let children = children();
        for pid in &children {
            sys::kill(*pid, libc::SIGKILL);
        }
        while let Ok(Some(_)) = sys::wait_any(false) {}
        // What is frozen dies when it is thawed there, and who is dying keeps its cgroup.
        if (remove_of(std::process::id()) && children.is_empty()) || Instant::now() > end {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The children of all threads.
fn children() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let texts = tasks.map(|task| fs::read_to_string(task.path().join("children")));
    let words = texts.flat_map(|text| {
        text.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    words.filter_map(|pid| pid.parse().ok()).collect()
}
