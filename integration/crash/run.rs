//! One command, with an end in time. Meanwhile whoever else ends among the descendants of the worker
//! is reaped: a pid namespace ends only once all that were in it are.

use super::at::{self, Seen, Trace, limit};
use super::sys;
use std::fs::File;
use std::io::Result;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a command has ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Its exit code; less than 0: the signal that killed it.
    pub code: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
    /// It did not end in time, and was killed.
    pub hung: bool,
    /// What its tracer has seen.
    pub seen: Seen,
}

impl Ended {
    /// It succeeded, in time.
    pub fn is_good(&self) -> bool {
        self.code == 0 && !self.hung
    }

    /// In one line.
    pub fn brief(&self) -> String {
        let hung = if self.hung { "HANGS, " } else { "" };
        format!("{hung}exit {}: {:?}", self.code, brief(&self.err))
    }
}

/// The end of a text, where the cause stands.
pub fn brief(text: &str) -> &str {
    let text = text.trim();
    let from = text.len().saturating_sub(300);
    text.get(from..).unwrap_or(text)
}

/// A command that has been started; its output goes to files, which a container may keep open.
pub struct Started {
    pid: i32,
    began: Instant,
    limit: Duration,
    seen: Option<File>,
    out: std::path::PathBuf,
}

/// Starts a command, under a tracer if there is something to trace. Output goes to `out` and `out.err`.
pub fn start(mut command: Command, out: &Path, trace: Option<Trace>) -> Result<Started> {
    command.stdin(Stdio::null()).stdout(File::create(out)?).stderr(File::create(err_of(out))?);
    let (began, out) = (Instant::now(), out.to_owned());
    Ok(match trace {
        Some(trace) => {
            // The tracer has its own limit, the command's, and two seconds more for its end.
            let limit = limit() * 2 + trace.stay;
            let (pid, seen) = at::start(command, trace)?;
            Started { pid, began, limit, seen: Some(seen), out }
        }
        None => {
            let pid = command.spawn()?.id().cast_signed();
            Started { pid, began, limit: limit(), seen: None, out }
        }
    })
}

fn err_of(out: &Path) -> std::path::PathBuf {
    out.with_extension("err")
}

impl Started {
    /// The process that is waited for: the command, or its tracer.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for the end, but no longer than the limit; then kills.
    pub fn wait(self) -> Result<Ended> {
        let mut hung = false;
        let status = match reap_until(self.pid, self.limit)? {
            Some(status) => status,
            None => {
                hung = true;
                sys::kill(self.pid, libc::SIGKILL);
                reap_until(self.pid, limit())?.unwrap_or(libc::SIGKILL)
            }
        };
        self.ended(status, hung)
    }

    /// What there is to say once it has been reaped with that status.
    pub fn ended(self, status: i32, hung: bool) -> Result<Ended> {
        let (mut status, mut hung, mut seen) = (status, hung, Seen::default());
        if let Some(file) = self.seen {
            seen = at::seen(file)
                .unwrap_or_else(|error| Seen { hung: vec![error], ..Seen::default() });
            (status, hung) = (seen.status, hung || !seen.hung.is_empty());
        }
        let code = if libc::WIFSIGNALED(status) {
            -libc::WTERMSIG(status)
        } else {
            libc::WEXITSTATUS(status)
        };
        let text = |path: &Path| {
            std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let (out, err) = (text(&self.out)?, text(&err_of(&self.out))?);
        Ok(Ended { code, out, err, took: self.began.elapsed(), hung, seen })
    }
}

/// Reaps until `pid` has ended, and returns its status; `None` if that takes too long.
pub fn reap_until(pid: i32, limit: Duration) -> Result<Option<i32>> {
    let end = Instant::now() + limit;
    sys::alarm(limit)?;
    let found = loop {
        match sys::wait_any(true) {
            Ok(Some((ended, status))) if ended == pid => break Ok(Some(status)),
            Ok(Some(_)) => {}
            Ok(None) => break Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {
                if Instant::now() >= end {
                    break Ok(None);
                }
            }
            Err(error) => break Err(error),
        }
    };
    sys::alarm(Duration::ZERO)?;
    found
}

/// Reaps who has ended.
pub fn reap_now() -> Result<()> {
    while sys::wait_any(false)?.is_some() {}
    Ok(())
}

/// Reaps all that end by themselves; who then is still there.
pub fn reap_all(timeout: Duration) -> Result<Vec<i32>> {
    // Most often nobody is left but the dead.
    while sys::wait_any(false)?.is_some() {}
    // No time would be no alarm.
    if !children().is_empty() && !timeout.is_zero() {
        reap_until(0, timeout)?;
    }
    Ok(children())
}

/// Our children, and whoever has become one.
fn children() -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
