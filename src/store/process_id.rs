//! A process that cannot be mistaken for a later one with the same pid.

use crate::error::{Context, Result};
use crate::sys::file::{self, Magic, is_on};
use crate::sys::process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::os::fd::{BorrowedFd, OwnedFd};

/// A pid with a mark that tells its process from others: the inode of its pidfd,
/// which no other process gets until the next boot (pidfs, Linux 6.9), or else the
/// time at which it began.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ProcessId {
    /// pid in the runtime's pid namespace.
    pub pid: i32,
    /// Inode number of its pidfd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    /// Start time, in clock ticks since boot (field 22 of `proc_pid_stat(5)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_time: Option<u64>,
}

impl ProcessId {
    /// The identity of a process that is there now.
    ///
    /// # Errors
    /// `ENOENT` if it is not.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = file::read_short(format!("/proc/{pid}/stat"))
            .call(|| format!("read /proc/{pid}/stat"))?;
        let start_time = parse(&String::from_utf8_lossy(&stat)).map(|(_, start_time)| start_time);
        Ok(Self { pid, inode: None, start_time })
    }

    /// The same by its pidfd, for a record that is gone with this boot: it takes a
    /// fifth of the time to look at it again.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn until_reboot(pid: i32, pidfd: BorrowedFd<'_>) -> Result<Self> {
        match inode_of(pidfd).call(|| "fstat a pidfd".into())? {
            Some(inode) => Ok(Self { pid, inode: Some(inode), start_time: None }),
            None => Self::of(pid),
        }
    }

    /// Whether it still runs: neither gone, nor a zombie, nor another one.
    pub fn is_alive(&self) -> bool {
        match self.inode {
            Some(_) => self.open_alive().is_ok_and(|pidfd| pidfd.is_some()),
            None => self.has_state(|state| !"ZXx".contains(state)),
        }
    }

    /// A pidfd of it, if it is still there; a zombie is.
    ///
    /// # Errors
    /// Those of `pidfd_open(2)` but for a process that has ended.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        self.open_if(|pidfd| match self.inode {
            Some(inode) => has_inode(pidfd, inode),
            None => self.has_state(|_| true),
        })
    }

    /// As [`Self::open`], but not for a zombie.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_alive(&self) -> Result<Option<OwnedFd>> {
        self.open_if(|pidfd| match self.inode {
            Some(inode) => has_inode(pidfd, inode) && !has_ended(pidfd),
            None => self.is_alive(),
        })
    }

    fn open_if(&self, is_it: impl FnOnce(&OwnedFd) -> bool) -> Result<Option<OwnedFd>> {
        let Some(pid) = process::one(self.pid) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            pidfd => pidfd.call(|| format!("pidfd_open {}", self.pid))?,
        };
        // The descriptor holds the process; now it can be compared.
        Ok(is_it(&pidfd).then_some(pidfd))
    }

    /// Whether the process of that start time is there, in a state that fits.
    fn has_state(&self, fits: impl FnOnce(char) -> bool) -> bool {
        let stat = file::read_short(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        parse(&String::from_utf8_lossy(&stat))
            .is_some_and(|(state, start)| Some(start) == self.start_time && fits(state))
    }
}

/// Before pidfs all pidfds have one inode in common.
fn inode_of(pidfd: BorrowedFd<'_>) -> rustix::io::Result<Option<u64>> {
    Ok(if is_on(pidfd, Magic::Pidfs)? { Some(fstat(pidfd)?.st_ino) } else { None })
}

fn has_inode(pidfd: &OwnedFd, inode: u64) -> bool {
    fstat(pidfd).is_ok_and(|stat| stat.st_ino == inode)
}

/// A pidfd is readable once its process has ended, reaped or not.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
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
    use rustix::process::Pid;
    use std::os::fd::AsFd;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = "42 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 0";
        assert_eq!(parse(stat), Some(('R', 4711)));
    }

    #[test]
    fn another_mark_is_another_process() {
        let pid = std::process::id() as i32;
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let by_time = ProcessId::of(pid).unwrap();
        let by_inode = ProcessId::until_reboot(pid, pidfd.as_fd()).unwrap();
        for me in [by_time, by_inode] {
            assert!(me.is_alive() && me.open().unwrap().is_some(), "{me:?}");
            assert!(me.open_alive().unwrap().is_some(), "{me:?}");
            let next = |mark: Option<u64>| mark.map(|mark| mark + 1);
            let other = ProcessId { start_time: next(me.start_time), inode: next(me.inode), pid };
            assert!(!other.is_alive() && other.open().unwrap().is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_zombie_is_there_but_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let marks =
            [ProcessId::of(pid).unwrap(), ProcessId::until_reboot(pid, pidfd.as_fd()).unwrap()];
        assert!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).is_ok());
        for mark in marks {
            assert!(!mark.is_alive() && mark.open().unwrap().is_some(), "{mark:?}");
            assert!(mark.open_alive().unwrap().is_none(), "{mark:?}");
        }
        child.wait().unwrap();
        assert!(marks.iter().all(|mark| mark.open().unwrap().is_none()));
    }
}
