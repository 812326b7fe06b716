//! `kill`: sends a signal to the container's process.

use super::observed::{Observed, OpenProcess};
use super::{Container, Runtime, not_running};
use crate::error::{At, Context, Error, Result};
use crate::store::Record;
use crate::sys::signal::{RTMAX, RTMIN, from_number};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

/// The signals of signal(7) on Linux, without the real-time ones.
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", libc::SIGBUS),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", libc::SIGUSR1),
    ("SEGV", 11),
    ("USR2", libc::SIGUSR2),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The annotation that names the default signal (config.md, "Annotations").
pub(super) const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// The names that [`parse_signal`] knows, without those of real-time signals.
pub fn signal_names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// A signal by number (`9`), name (`KILL`) or full name (`SIGKILL`), in any
/// case; `RTMIN+1` and `RTMAX-1` too. `0` is no signal: it only asks whether
/// the process is there (kill(2)).
///
/// # Errors
/// For anything else.
pub fn parse_signal(text: &str) -> Result<Option<Signal>> {
    let unknown =
        || Error::new(format!("unknown signal {text:?}")).hint("a number, or a name such as TERM");
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    let number = if let Ok(number) = text.parse::<i32>() {
        Some(number)
    } else if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest).and_then(|offset| RTMIN.checked_add(offset))
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest).and_then(|offset| RTMAX.checked_add(offset))
    } else {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    };
    match number {
        Some(0) => Ok(None),
        Some(number) if number > 0 => from_number(number).map(Some).ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

/// Sends `signal` to the container's process, or to all of its processes.
/// Without one, the annotation `org.opencontainers.image.stopSignal` decides,
/// else it is SIGTERM.
///
/// # Errors
/// "container not running", which engines match.
pub fn kill(runtime: &Runtime, id: &str, signal: Option<&str>, all: bool) -> Result<()> {
    let container = Container::find(runtime, id)?;
    let annotated = container.record.annotations.get(STOP_SIGNAL).filter(|name| !name.is_empty());
    let signal = match (signal, annotated) {
        (None, Some(name)) => parse_signal(name).at(|| format!("annotations.{STOP_SIGNAL}"))?,
        (given, _) => parse_signal(given.unwrap_or("TERM"))?,
    };
    let record = &container.record;
    // With init of a pid namespace all end that are in it; in one that was joined,
    // the container's is not init. On cgroup v1 a frozen process cannot even die.
    match container.observe_open()? {
        Observed::Creating(_) => without_init(record, signal, all, false),
        Observed::Stopped => without_init(record, signal, all, true),
        Observed::Created(init) | Observed::Running(init) => {
            to_init(record, &init, signal, all, record.has_own_pids())
        }
        Observed::Paused(init) => to_init(record, &init, signal, all, false),
    }
}

/// Obsolete, but containerd still asks so after init has ended: what has outlived it is
/// killed, and that there is none is no error.
fn without_init(
    record: &Record,
    signal: Option<Signal>,
    all: bool,
    has_stopped: bool,
) -> Result<()> {
    match signal {
        Some(signal) if all && record.cgroup.is_held()? => record.cgroup.kill(signal),
        Some(Signal::KILL) if has_stopped && has_outlived(record)? => {
            record.cgroup.kill(Signal::KILL)
        }
        _ if all => Ok(()),
        _ => Err(not_running(&record.id)),
    }
}

/// `ends_all` says that with init all other processes of the container end.
fn to_init(
    record: &Record,
    init: &OpenProcess,
    signal: Option<Signal>,
    all: bool,
    ends_all: bool,
) -> Result<()> {
    let Some(signal) = signal else { return Ok(()) };
    let whole = all || (signal == Signal::KILL && !ends_all);
    let held = if whole { record.cgroup.is_held() } else { Ok(false) };
    if matches!(held, Ok(true)) {
        return record.cgroup.kill(signal);
    }
    match pidfd_send_signal(&init.pidfd, signal) {
        Err(Errno::SRCH) => return Err(not_running(&record.id)),
        sent => sent.call(|| format!("pidfd_send_signal to init of {}", record.id))?,
    }
    // Nor can init end while one of its pid namespace is frozen below.
    if signal == Signal::KILL && record.cgroup.exists() {
        record.cgroup.thaw_dying()?;
    }
    // Whose the cgroup is could not be told: init at least has been signalled.
    held.map(drop)
}

/// Whether processes live on whose init has ended: those of a pid namespace end with its init,
/// those of a shared one do not. SIGKILL is for them, too, as in runc.
fn has_outlived(record: &Record) -> Result<bool> {
    Ok(!record.has_own_pids() && record.cgroup.is_held()? && !record.cgroup.pids()?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_are_known_by_number_and_name() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("usr1", libc::SIGUSR1),
            ("34", 34),
            ("32", 32),
            ("64", 64),
            ("RTMIN", 34),
            ("RTMAX", 64),
            ("SIGRTMIN+1", 35),
            // systemd's halt, which images name as their stop signal.
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
        ] {
            assert_eq!(parse_signal(text).unwrap().unwrap().as_raw(), number, "{text}");
        }
        assert!(parse_signal("0").unwrap().is_none());
        for text in
            ["", "-1", "65", "SIG", "FOO", "RTMIN+99", "RTMIN+2147483647", "RTMAX-2147483648", "9 "]
        {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
