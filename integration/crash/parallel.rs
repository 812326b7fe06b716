//! Calls of a runtime from many threads, each with an end in time.
//!
//! The program is a subreaper: a container's processes become its children, and one thread reaps
//! them all, as the machine's init would. So none of them can be left behind unseen.

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, wait, waitid,
};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It did not end in time.
    Hung,
}

/// What a call gave back, and when.
#[derive(Debug, Clone)]
pub struct Answer {
    pub exit: Exit,
    pub out: String,
    pub err: String,
    pub began: Instant,
    pub ended: Instant,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    pub fn took(&self) -> Duration {
        self.ended - self.began
    }
}

/// The children that somebody waits for; `None` while they run.
static ENDED: Mutex<Option<HashMap<i32, Option<Exit>>>> = Mutex::new(None);
static NEWS: Condvar = Condvar::new();

/// Makes this process the parent of all that outlives a call, and reaps it.
pub fn reap_all() {
    let mut table = ENDED.lock().unwrap();
    if table.is_some() {
        return;
    }
    *table = Some(HashMap::new());
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    std::thread::spawn(|| {
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) => reap(),
                Err(Errno::CHILD) => until_started(),
                Err(_) => {}
            }
        }
    });
}

/// Under the lock, so that nobody learns of a new child after its end.
fn reap() {
    let mut table = ENDED.lock().unwrap();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let pid = pid.as_raw_nonzero().get();
        if let Some(ended) = table.as_mut().unwrap().get_mut(&pid) {
            let signal = status.terminating_signal().unwrap_or_default();
            *ended = Some(status.exit_status().map_or(Exit::Signal(signal), Exit::Code));
        }
    }
    NEWS.notify_all();
}

/// Whoever outlives a call has a living ancestor that is our child, or is one.
fn until_started() {
    let mut table = ENDED.lock().unwrap();
    while !table.as_ref().unwrap().values().any(Option::is_none) {
        table = NEWS.wait(table).unwrap();
    }
}

/// A started call.
pub struct Started {
    pid: Pid,
    began: Instant,
    out: PathBuf,
    err: PathBuf,
}

/// Starts a program; its output goes to files `DIR/out`, `DIR/err`, as a container may keep it open.
#[expect(clippy::zombie_processes, reason = "the thread of `reap_all` waits for it")]
pub fn start(mut command: Command, dir: &Path) -> Started {
    let (out, err) = (dir.join("out"), dir.join("err"));
    let new = |path| {
        drop(fs::remove_file(path)); // a container that has the old one may write into it
        Stdio::from(File::create(path).unwrap())
    };
    command.stdin(Stdio::null()).stdout(new(&out)).stderr(new(&err));
    // Under the lock, so that it cannot be reaped before it is known.
    let mut table = ENDED.lock().unwrap();
    let began = Instant::now();
    let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let pid = Pid::from_child(&child);
    table.as_mut().unwrap().insert(pid.as_raw_nonzero().get(), None);
    NEWS.notify_all();
    Started { pid, began, out, err }
}

impl Started {
    /// Whether it ends before that.
    pub fn ends(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut table = ENDED.lock().unwrap();
        while self.exit_in(&table).is_none() {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            table = NEWS.wait_timeout(table, left).unwrap().0;
        }
        true
    }

    fn exit_in(&self, table: &MutexGuard<'_, Option<HashMap<i32, Option<Exit>>>>) -> Option<Exit> {
        table.as_ref().unwrap()[&self.pid.as_raw_nonzero().get()]
    }

    /// Its answer; killed if it does not end in time.
    pub fn answer(self, limit: Duration) -> Answer {
        let hung = !self.ends(limit);
        if hung {
            kill_process(self.pid, Signal::KILL).ok();
            self.ends(Duration::from_secs(10));
        }
        let ended = Instant::now();
        let exit = ENDED.lock().unwrap().as_mut().unwrap().remove(&self.pid.as_raw_nonzero().get());
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Answer {
            exit: if hung { Exit::Hung } else { exit.flatten().unwrap_or(Exit::Hung) },
            out: read(&self.out),
            err: read(&self.err).trim().to_owned(),
            began: self.began,
            ended,
        }
    }
}
