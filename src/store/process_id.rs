//! A process that cannot be mistaken for a later one with the same pid.

use crate::error::{Context, Result};
use crate::sys::file;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// A pid and the time at which its process began, in clock ticks since boot
/// (field 22 of `proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// pid in the runtime's pid namespace.
    pub pid: i32,
    /// Start time.
    pub start_time: u64,
}

impl ProcessId {
    /// The identity of a process that is there now.
    ///
    /// # Errors
    /// `ENOENT` if it is not.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = file::read_short(format!("/proc/{pid}/stat"))
            .call(|| format!("read /proc/{pid}/stat"))?;
        let start_time =
            parse(&String::from_utf8_lossy(&stat)).map_or(0, |(_, start_time)| start_time);
        Ok(Self { pid, start_time })
    }

    /// Whether it still runs: neither gone, nor a zombie, nor another one.
    pub fn is_alive(&self) -> bool {
        let stat = file::read_short(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        matches!(parse(&String::from_utf8_lossy(&stat)), Some((state, start)) if start == self.start_time && !"ZXx".contains(state))
    }

    /// A pidfd of it, if it is still there; a zombie is.
    ///
    /// # Errors
    /// Those of `pidfd_open(2)` but for a process that has ended.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        self.open_if(|| Self::of(self.pid).is_ok_and(|now| now == *self))
    }

    /// As [`Self::open`], but not for a zombie.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_alive(&self) -> Result<Option<OwnedFd>> {
        self.open_if(|| self.is_alive())
    }

    fn open_if(&self, is_it: impl FnOnce() -> bool) -> Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            pidfd => pidfd.call(|| format!("pidfd_open {}", self.pid))?,
        };
        // The descriptor holds the process; now it can be compared.
        Ok(is_it().then_some(pidfd))
    }
}

/// State letter and start time. The name in field 2 may hold anything, also
/// parentheses, so the fields are counted from the last one.
fn parse(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = "42 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 0";
        assert_eq!(parse(stat), Some(('R', 4711)));
    }

    #[test]
    fn another_start_time_is_another_process() {
        let me = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive() && me.open().unwrap().is_some());
        let other = ProcessId { start_time: me.start_time + 1, ..me };
        assert!(!other.is_alive() && other.open().unwrap().is_none());
    }
}
