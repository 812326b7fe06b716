//! A process that cannot be mistaken for a later one with the same pid.

use crate::error::{Context, Error, Result};
use crate::sys::file::{self, Magic, is_on};
use crate::sys::process;
use crate::sys::process::stat_fields;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fstat;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::os::fd::{BorrowedFd, OwnedFd};

/// A pid with a mark that tells its process from others: the inode of its pidfd,
/// which no other process gets until the next boot (pidfs, Linux 6.9), the time at
/// which it began, or both. All that is there must fit: two processes may begin in one
/// clock tick, and inode numbers begin anew with each boot.
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
        let (_, start_time) = parsed(pid, &stat)?;
        Ok(Self { pid, inode: None, start_time: Some(start_time) })
    }

    /// The identity of this process.
    ///
    /// # Errors
    /// Those of reading `/proc/self/stat`.
    pub fn own() -> Result<Self> {
        let pid = std::process::id() as i32;
        let stat = file::own_stat().call(|| "read /proc/self/stat".into())?;
        let (_, start_time) = parsed(pid, stat)?;
        Ok(Self { pid, inode: None, start_time: Some(start_time) })
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

    /// The same for a record that outlives this boot.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn across_reboots(pid: i32, pidfd: BorrowedFd<'_>) -> Result<Self> {
        let inode = inode_of(pidfd).call(|| "fstat a pidfd".into())?;
        Ok(Self { inode, ..Self::of(pid)? })
    }

    /// Whether it still runs: neither gone, nor a zombie, nor another one.
    ///
    /// # Errors
    /// If that cannot be known. Whoever takes an error for the end of a process destroys
    /// a container that runs.
    pub fn is_alive(&self) -> Result<bool> {
        match self.inode {
            Some(_) => self.open_alive().map(|pidfd| pidfd.is_some()),
            None => self.has_state(is_running),
        }
    }

    /// A pidfd of it, if it is still there; a zombie is.
    ///
    /// # Errors
    /// As [`Self::is_alive`]: only a process that has ended is `None`.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        self.open_if(|pidfd| Ok(self.has_inode(pidfd)? && self.has_state(|_| true)?))
    }

    /// As [`Self::open`], but not for a zombie.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_alive(&self) -> Result<Option<OwnedFd>> {
        self.open_if(|pidfd| {
            Ok(self.has_inode(pidfd)?
                && match self.start_time {
                    Some(_) => self.has_state(is_running)?,
                    None => !has_ended(pidfd)?,
                })
        })
    }

    fn open_if(&self, is_it: impl FnOnce(&OwnedFd) -> Result<bool>) -> Result<Option<OwnedFd>> {
        let Some(pidfd) = self.open_pid()? else { return Ok(None) };
        // The descriptor holds the process; now it can be compared.
        Ok(is_it(&pidfd)?.then_some(pidfd))
    }

    /// Whoever has the pid now.
    fn open_pid(&self) -> Result<Option<OwnedFd>> {
        let Some(pid) = process::one(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // EINVAL, since Linux 6.16 ENOENT: the pid is that of another process's thread.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            pidfd => pidfd.map(Some).call(|| format!("pidfd_open {}", self.pid)),
        }
    }

    /// Whether the process of that start time is there, in a state that fits. Without a
    /// start time in the mark, the inode alone tells the process.
    fn has_state(&self, fits: impl FnOnce(char) -> bool) -> Result<bool> {
        let Some(wanted) = self.start_time else { return Ok(self.inode.is_some()) };
        let Some((state, start)) = self.stat()? else { return Ok(false) };
        Ok(start == wanted && fits(state))
    }

    /// Whether the pidfd has the inode of the mark, if the mark has one.
    fn has_inode(&self, pidfd: &OwnedFd) -> Result<bool> {
        let Some(wanted) = self.inode else { return Ok(true) };
        Ok(fstat(pidfd).call(|| "fstat a pidfd".into())?.st_ino == wanted)
    }

    /// What procfs shows of the pid. That it shows nothing does not mean that there is no
    /// process: procfs may not be mounted, or hide it (`hidepid`). So a pidfd is asked, too.
    fn stat(&self) -> Result<Option<(char, u64)>> {
        let path = format!("/proc/{}/stat", self.pid);
        let read = || match file::read_short(&path) {
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            text => parsed(self.pid, &text.call(|| format!("read {path}"))?).map(Some),
        };
        if let Some(found) = read()? {
            return Ok(Some(found));
        }
        let Some(pidfd) = self.open_pid()? else { return Ok(None) };
        // While the descriptor holds it, the pid is nobody else's.
        match read()? {
            None if has_ended(&pidfd)? => Ok(None),
            None => Err(Error::os(format!("read {path}"), Errno::NOENT)
                .hint("the process is there, but /proc does not show it: is it mounted?")),
            found => Ok(found),
        }
    }
}

/// Neither a zombie nor dead (proc_pid_stat(5), "state").
fn is_running(state: char) -> bool {
    !"ZXx".contains(state)
}

/// Before pidfs all pidfds have one inode in common.
fn inode_of(pidfd: BorrowedFd<'_>) -> rustix::io::Result<Option<u64>> {
    Ok(if is_on(pidfd, Magic::Pidfs)? { Some(fstat(pidfd)?.st_ino) } else { None })
}

/// A pidfd is readable once its process has ended, reaped or not.
fn has_ended(pidfd: &OwnedFd) -> Result<bool> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = retry_on_intr(|| poll(&mut fds, Some(&now))).call(|| "poll a pidfd".into())?;
    Ok(ready > 0)
}

fn parsed(pid: i32, stat: &[u8]) -> Result<(char, u64)> {
    parse(&String::from_utf8_lossy(stat))
        .ok_or_else(|| Error::new(format!("/proc/{pid}/stat is not as proc_pid_stat(5) has it")))
}

/// State letter and start time. The name in field 2 may hold anything, also
/// parentheses, so the fields are counted from the last one.
fn parse(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat_fields(stat)?;
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
    fn r271_another_mark_is_another_process() {
        let pid = std::process::id() as i32;
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let by_time = ProcessId::of(pid).unwrap();
        let by_inode = ProcessId::until_reboot(pid, pidfd.as_fd()).unwrap();
        let by_both = ProcessId::across_reboots(pid, pidfd.as_fd()).unwrap();
        let next = |mark: Option<u64>| mark.map(|mark| mark + 1);
        for me in [by_time, by_inode, by_both] {
            assert!(me.is_alive().unwrap() && me.open().unwrap().is_some(), "{me:?}");
            assert!(me.open_alive().unwrap().is_some(), "{me:?}");
            // Each part alone tells another process: one of the same clock tick, one of another boot.
            let later = ProcessId { start_time: next(me.start_time), ..me };
            let beside = ProcessId { inode: next(me.inode), ..me };
            for other in [later, beside] {
                let same = (other.start_time, other.inode) == (me.start_time, me.inode);
                assert_eq!(other.is_alive().unwrap(), same, "{other:?}");
                assert_eq!(other.open().unwrap().is_some(), same, "{other:?}");
            }
        }
    }

    #[test]
    fn a_zombie_is_there_but_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let marks = [
            ProcessId::of(pid).unwrap(),
            ProcessId::until_reboot(pid, pidfd.as_fd()).unwrap(),
            ProcessId::across_reboots(pid, pidfd.as_fd()).unwrap(),
        ];
        assert!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).is_ok());
        for mark in marks {
            assert!(!mark.is_alive().unwrap() && mark.open().unwrap().is_some(), "{mark:?}");
            assert!(mark.open_alive().unwrap().is_none(), "{mark:?}");
        }
        child.wait().unwrap();
        assert!(marks.iter().all(|mark| mark.open().unwrap().is_none()));
        assert!(marks.iter().all(|mark| !mark.is_alive().unwrap()));
    }

    #[test]
    fn the_pid_of_a_thread_is_no_process() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            wait.recv().unwrap_err();
        });
        let mark = ProcessId { pid: told.recv().unwrap(), inode: Some(1), start_time: None };
        assert!(!mark.is_alive().unwrap() && mark.open().unwrap().is_none());
        drop(end);
        thread.join().unwrap();
    }
}
