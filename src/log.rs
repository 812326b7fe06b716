//! `--log`, `--log-format`, `--log-level`, `--debug`: what is told, and where.
//!
//! | | without `--log` | `--log FILE` | and `--log-format json` |
//! |---|---|---|---|
//! | the error that ends the command | stderr | the file and stderr | the file and stderr |
//! | warnings, published ports | stderr | the file | the file, by `--log-level warning` |
//! | what a fault is looked for by | stderr, by `--debug` | the file, by `--debug` | the same |
//!
//! The stderr of `create`, `run` and `exec` is the container's own (containerd's shim and
//! conmon hand it on), so who has a log finds nothing there but an error, after which no
//! program runs. A JSON log is read by programs: podman parses all of it as one object, so
//! it gets the error alone unless more is asked for by name; containerd and `BuildKit` take
//! the last object whose level is `error`.

use crate::error::{At, Context as _, Error, brief};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, lstat, readlinkat, stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many links in a row lead to a log at most.
const LINKS: usize = 8;

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="..." level=error msg="..."`.
    #[default]
    Text,
    /// `{"level":"error","msg":"...","time":"..."}`.
    Json,
}

/// How much is told. Errors are in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The error that ends a command.
    Error,
    /// What the spec asks to log and to go on with, too.
    #[default]
    Warning,
    /// What a person who looks for a fault wants to see, too.
    Debug,
}

/// Where messages go. It is opened before anything else can fail.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    format: Format,
    level: Level,
    /// Whether it was told that the file does not take a line.
    refuses: AtomicBool,
}

impl Log {
    /// Opens the log for appending; callers share one file across calls. `level` is the one
    /// that was asked for.
    ///
    /// # Errors
    /// Those of open(2); a link that somebody else may have planted; a kind of log as crun has
    /// them in front of the name.
    pub fn open(path: Option<&str>, format: Format, level: Option<Level>) -> Result<Self, Error> {
        let path = path.filter(|path| !path.is_empty());
        if let Some(path) = path
            && let Some((kind @ ("file" | "journald" | "syslog"), name)) = path.split_once(':')
        {
            return Err(Error::new(format!("{path:?} is not the name of a file"))
                .at("--log")
                .hint(match kind {
                    "file" => format!("give the path alone: --log {name}"),
                    _ => format!("{kind} is not written to; a file of that name is ./{path}"),
                }));
        }
        let file = path.map(open).transpose().at(|| "--log")?;
        let usual = match (&file, format) {
            (Some(_), Format::Json) => Level::Error,
            _ => Level::Warning,
        };
        Ok(Self { file, format, level: level.unwrap_or(usual), refuses: AtomicBool::new(false) })
    }

    /// The final error: once in the log, once on stderr, each in one write, and short
    /// enough for one read of whoever shows it to a user.
    pub fn error(&self, error: &Error) {
        let message = brief(&error.to_string());
        self.line("error", &message);
        to_stderr(&format!("pinnace: {message}\n"));
    }

    /// Something that the spec asks to log and to go on with.
    pub fn warning(&self, message: &str) {
        self.tell("warning", "warning: ", message);
    }

    /// Something that nobody should have to guess, and that is no fault.
    pub fn notice(&self, message: &str) {
        self.tell("info", "", message);
    }

    fn tell(&self, level: &str, mark: &str, message: &str) {
        if self.level < Level::Warning {
            return;
        }
        let message = brief(message);
        match &self.file {
            Some(_) => self.line(level, &message),
            None => to_stderr(&format!("pinnace: {mark}{message}\n")),
        }
    }

    /// What a person who looks for a fault wants to see.
    pub fn debug(&self, message: impl FnOnce() -> String) {
        if self.level < Level::Debug {
            return;
        }
        let message = brief(&message());
        match &self.file {
            Some(_) => self.line("debug", &message),
            None => to_stderr(&format!("pinnace: debug: {message}\n")),
        }
    }

    fn line(&self, level: &str, message: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        let time = rfc3339(SystemTime::now());
        let line = match self.format {
            Format::Json => {
                let message = serde_json::Value::from(message);
                format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
            }
            Format::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
        };
        if let Err(error) = file.write_all(line.as_bytes())
            && !self.refuses.swap(true, Relaxed)
        {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            to_stderr(&format!("pinnace: {}\n", Error::os("write", errno).at("--log")));
        }
    }
}

/// How long a reader of stderr may take: signals may be blocked meanwhile.
const WRITE_TIMEOUT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// conmon reads stderr once: one short write. When it is closed, or its reader has
/// stopped and it is full, there is nobody left to tell: then no later line waits.
fn to_stderr(line: &str) {
    static IS_FULL: AtomicBool = AtomicBool::new(false);
    let mut fds = [PollFd::from_borrowed_fd(rustix::stdio::stderr(), PollFlags::OUT)];
    let timeout = if IS_FULL.load(Relaxed) { Timespec::default() } else { WRITE_TIMEOUT };
    if poll(&mut fds, Some(&timeout)) == Ok(0) {
        IS_FULL.store(true, Relaxed);
    } else {
        let _nobody_listens = std::io::stderr().write_all(line.as_bytes()).is_err();
    }
}

/// A new one can be read by the caller alone. A fifo without a reader is an error,
/// not a wait (`O_NONBLOCK`); a full one loses the line, which is told on stderr.
fn open(path: &str) -> Result<File, Error> {
    let call = || format!("open {path}");
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let mut at = PathBuf::from(path);
    let mut follow = OFlags::NOFOLLOW;
    for _ in 0..LINKS {
        match rustix::fs::open(&at, flags | follow, Mode::RUSR | Mode::WUSR) {
            // The links of procfs, such as those that /dev/stderr and /dev/fd lead to,
            // are the kernel's, and what they say need not be a path.
            Err(Errno::LOOP) if follow.is_empty() => break,
            Err(Errno::LOOP) if is_in_proc(&at).call(call)? => follow = OFlags::empty(),
            Err(Errno::LOOP) => at = behind_link(&at)?,
            file => return file.call(call).map(File::from),
        }
    }
    Err(Error::os(call(), Errno::LOOP))
}

/// The directory that a path's last name is in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."))
}

fn is_in_proc(link: &Path) -> rustix::io::Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(above(link), flags, Mode::empty())?;
    Ok(rustix::fs::fstatfs(dir)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// Where a link leads that only the caller or root can have made, as
/// `fs.protected_symlinks` has it for sticky directories (proc(5)).
fn behind_link(link: &Path) -> Result<PathBuf, Error> {
    let call = || format!("follow {}", link.display());
    let dir = above(link);
    let (own, above) = (lstat(link).call(call)?, stat(dir).call(call)?);
    let trusted = |uid: u32| uid == 0 || uid == geteuid().as_raw();
    let mode = Mode::from_raw_mode(above.st_mode);
    let open = mode.intersects(Mode::WGRP | Mode::WOTH) && !mode.contains(Mode::SVTX);
    // /dev is the host's own. In a user namespace its owner shows as the overflow id, as
    // all other users do.
    let is_hosts = dir == Path::new("/dev") && !open;
    if !is_hosts && (!trusted(own.st_uid) || !trusted(above.st_uid) || open) {
        let whose = format!("a link of uid {} in a directory of uid {}", own.st_uid, above.st_uid);
        return Err(Error::new(format!("{} is {whose}", link.display()))
            .hint("others choose where it leads; name the file itself"));
    }
    let target = readlinkat(CWD, link, Vec::new()).call(call)?;
    Ok(dir.join(OsString::from_vec(target.into_bytes())))
}

/// RFC 3339 in UTC, with nanoseconds as Go prints them.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86400, since.as_secs() % 86400);
    let (year, month, day) = civil(days as i64);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_nanos()
    )
}

/// Days since 1970-01-01 to a date of the Gregorian calendar: counted from
/// 0000-03-01, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_rfc3339() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00.000000001Z"),
            (951_782_400, "2000-02-29T00:00:00.000000001Z"),
            (1_795_392_000, "2026-11-23T00:00:00.000000001Z"),
        ] {
            let time = UNIX_EPOCH + Duration::new(second, 1);
            assert_eq!(rfc3339(time), text);
        }
    }
}
