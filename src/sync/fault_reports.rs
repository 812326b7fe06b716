//! Reports without system calls, for a filter that may forbid every one of them, or let
//! each wait for a listener that nobody has yet: the process reports by
//! touching memory ([`crate::sys::userfault`]). It says that the filter is in
//! force, and waits until its listener has been taken from it (`pidfd_getfd(2)`);
//! later, if execve(2) fails, with which errno. Success is the end of the channel,
//! as ever.

use super::{ChildEnd, ParentEnd, ToParent};
use crate::error::{At, Context, Error, Kind, Result, errno as errno_of};
use crate::sys::userfault::{self, Pages};
use rustix::io::Errno;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

/// The page that means "the filter is in force". Any other is an errno.
const LOADED: usize = 0;
/// How many reports are read. The process makes two, but again after each signal.
const MAX_REPORTS: usize = 64;
/// The answer to it; without one the runtime has gone.
const GO: u8 = 1;

/// The process's side.
#[derive(Debug)]
pub struct Reporter {
    pages: Pages,
    listener: Option<i32>,
}

/// The runtime's side.
#[derive(Debug)]
pub struct ReportReader {
    /// The userfaultfd: tells which page was touched.
    pub(super) faults: OwnedFd,
    /// Where that memory begins.
    pub(super) start: u64,
    /// The number that the listener will have, if the filter has one.
    pub(super) listener: Option<i32>,
    /// What will be run, for the error.
    pub(super) program: String,
}

impl ChildEnd {
    /// Tells the runtime how to read the reports that come from now on. If the filter
    /// `notifies`, its listener must be the next descriptor that is made.
    ///
    /// # Errors
    /// `ENOSYS`, `EPERM` where userfaultfd(2) cannot be had.
    pub fn report_by_faults(&self, program: String, notifies: bool) -> Result<Reporter> {
        let (pages, faults) = Pages::new()
            .call(|| "userfaultfd".into())
            .at(|| "linux.seccomp")
            .hint(|| "without it the filter must allow sendmsg and exit_group")?;
        // Given away here, so this number is the lowest free one again.
        let listener = notifies.then(|| faults.as_raw_fd());
        self.send(&ToParent::Reports(ReportReader {
            faults,
            start: pages.address(),
            listener,
            program,
        }))?;
        Ok(Reporter { pages, listener })
    }
}

impl Reporter {
    /// Says that the filter is in force, and waits until its listener, if it
    /// has one, has been taken.
    pub fn loaded(&self, listener: Option<OwnedFd>) {
        // Kept open: closing would be a system call.
        let listener = listener.map(IntoRawFd::into_raw_fd);
        if listener != self.listener || self.pages.touch(LOADED) != GO {
            self.pages.end();
        }
    }

    /// Says why execve(2) failed; this process is killed for it.
    pub fn failed(&self, errno: Errno) -> ! {
        self.pages.touch(errno.raw_os_error().unsigned_abs() as usize);
        self.pages.end()
    }
}

impl ReportReader {
    /// Until execve(2) has closed the channel, or death. The filter's listener goes to `take`.
    /// `wait` waits for either of two descriptors, and says whether the first one
    /// is ready.
    ///
    /// # Errors
    /// Why execve(2) failed, or what `take` says. The process still waits then:
    /// it must be killed.
    pub fn listen(
        &self,
        channel: &ParentEnd,
        process: BorrowedFd<'_>,
        wait: impl Fn(&[BorrowedFd<'_>; 2]) -> Result<bool>,
        take: &mut dyn FnMut(OwnedFd) -> Result<()>,
    ) -> Result<()> {
        // Who has taken the channel may have sent anything that can be read.
        rustix::io::ioctl_fionbio(&self.faults, true).call(|| "ioctl(FIONBIO)".into())?;
        let mut loaded = false;
        for _ in 0..MAX_REPORTS {
            if wait(&[channel.as_fd(), self.faults.as_fd()])? {
                return match channel.receive()? {
                    None if loaded => Ok(()),
                    None => Err(Error::new("the process was killed before it had its filter")
                        .kind(Kind::Killed)),
                    Some(said) => {
                        Err(Error::new(format!("the process said {said:?} under its filter")))
                    }
                };
            }
            let page = userfault::read_fault(self.faults.as_fd(), self.start);
            match page.call(|| "read userfaultfd".into())? {
                None => {}
                Some(LOADED) => {
                    if let Some(number) = self.listener.filter(|_| !loaded) {
                        take(fetch(process, number)?)?;
                    }
                    loaded = true;
                    userfault::answer(self.faults.as_fd(), self.start, LOADED, GO)
                        .call(|| "answer a page fault".into())?;
                }
                Some(errno) => {
                    let errno = errno_of(i32::try_from(errno).unwrap_or(libc::EIO));
                    return Err(cannot_run(&self.program, errno));
                }
            }
        }
        Err(Error::new("the process says more than it has to say under its filter"))
    }
}

fn fetch(process: BorrowedFd<'_>, number: i32) -> Result<OwnedFd> {
    pidfd_getfd(process, number, PidfdGetfdFlags::empty())
        .call(|| format!("pidfd_getfd({number})"))
        .at(|| "linux.seccomp")
        .hint(|| "needs CAP_SYS_PTRACE, or a filter that allows sendmsg and exit_group")
}

/// Why execve(2) failed.
pub fn cannot_run(program: &str, errno: Errno) -> Error {
    Error::os(format!("exec {program}"), errno)
        .at("process.args[0]")
        .hint_on(Errno::NOENT, "its interpreter or loader is missing in the root filesystem")
        .hint_on(Errno::NOEXEC, "not a program for this machine, or a script without #!")
}
