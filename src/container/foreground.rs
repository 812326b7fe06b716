//! Staying with a process: its exit status becomes ours, our signals become
//! its, and its terminal is relayed to the one that the user sits at.

use super::notify::Relay;
use super::serve::{exit_status, is_stopped};
use crate::error::{Context, Error, Result};
use crate::sys::process::Child;
use crate::sys::signal::{ENDS, Signals, from_number, ignores_hangups, reap_others};
use crate::terminal::{self, Raw};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{LocalModes, SpecialCodeIndex, isatty, tcgetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What fits into any pipe that poll(2) calls writable (pipe(7), `PIPE_BUF`).
const CHUNK: usize = 4096;

/// Our standard output. A terminal that poll(2) calls writable takes some bytes and then
/// blocks, for ever if its reader has stopped, and all signals are blocked here. `O_NONBLOCK`
/// would bind all who share the file; so it is opened once more.
#[derive(Debug)]
struct Stdout {
    own: Option<OwnedFd>,
    /// How much is written at once.
    most: usize,
}

impl Stdout {
    fn new() -> Self {
        let kind = fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let terminal = isatty(stdout());
        if !terminal && !matches!(kind, Ok(FileType::Fifo)) {
            return Self { own: None, most: CHUNK };
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // Another user's terminal may not be ours to open: it is fed in bites.
        let own = open("/proc/self/fd/1", flags, Mode::empty()).ok();
        let most = if terminal && own.is_none() { 1 } else { CHUNK };
        Self { own, most }
    }
}

impl AsFd for Stdout {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(stdout(), AsFd::as_fd)
    }
}

/// One direction of the relay: bytes that have been read and not yet written.
#[derive(Debug, Default)]
struct Pipe {
    pending: Vec<u8>,
    closed: bool,
    /// What was read last.
    last: Option<u8>,
}

/// Our side while the process runs. All signals are blocked by now.
#[derive(Debug)]
pub struct Foreground<'a> {
    signals: &'a Signals,
    master: Option<OwnedFd>,
    /// Whose size the terminal has, if the user has one.
    user: Option<BorrowedFd<'static>>,
    /// Passes on what the container tells its supervisor.
    pub(super) relay: Option<Relay>,
    /// Puts the user's terminal back when dropped.
    raw: Option<Raw>,
    input: Pipe,
    /// Once all input has been read that was no terminal's: whether the process read whole lines
    /// when it was told so.
    told_end: Option<bool>,
    output: Pipe,
    /// Where `output` goes, if there is any.
    stdout: Stdout,
    /// Whether the process has been asked to end by SIGTERM.
    asked: bool,
    /// Whether a signal has been passed on by which a user or a supervisor ends us, too.
    ending: bool,
}

impl<'a> Foreground<'a> {
    /// Gets ready; with `master`, the user's terminal turns raw.
    ///
    /// # Errors
    /// Those of tcsetattr(3).
    pub(super) fn new(
        signals: &'a Signals,
        master: Option<OwnedFd>,
        relay: Option<Relay>,
    ) -> Result<Self> {
        let (mut user, mut raw) = (None, None);
        let mut own = Stdout { own: None, most: CHUNK };
        if let Some(master) = &master {
            rustix::io::ioctl_fionbio(master, true).call(|| "ioctl(FIONBIO)".into())?;
            user = terminal::of_user();
            let shows = isatty(stdout());
            if !shows {
                terminal::keep_line_feeds(master.as_fd())?;
            }
            raw = Raw::enter(stdin(), shows)?;
            own = Stdout::new();
        }
        let (input, output) = (Pipe::default(), Pipe::default());
        let foreground = Self {
            signals,
            master,
            user,
            relay,
            raw,
            input,
            told_end: None,
            output,
            stdout: own,
            asked: false,
            ending: false,
        };
        foreground.copy_size().map(|()| foreground)
    }

    /// Until the process ends; returns its exit status as a shell would.
    ///
    /// # Errors
    /// Those of poll(2) and waitid(2).
    pub fn stay(mut self, child: &Child) -> Result<i32> {
        // A change while the program began has been taken for no news.
        self.copy_size()?;
        while !self.wait(child)? {}
        self.drain();
        drop(self.raw.take());
        exit_status(child)
    }

    fn copy_size(&self) -> Result<()> {
        match (self.user, &self.master) {
            (Some(user), Some(master)) => terminal::copy_size(user, master.as_fd()),
            _ => Ok(()),
        }
    }

    /// One round; true once the process has ended.
    fn wait(&mut self, child: &Child) -> Result<bool> {
        let mut fds = vec![
            PollFd::new(&child.pidfd, PollFlags::IN),
            PollFd::new(self.signals, PollFlags::IN),
        ];
        let (mut input_at, mut output_at) = (usize::MAX, usize::MAX);
        // Only what is wanted is listed: a hang-up is reported unasked.
        if let Some(master) = &self.master {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, !self.output.closed && self.output.pending.is_empty());
            events.set(PollFlags::OUT, !self.input.pending.is_empty());
            if !events.is_empty() {
                fds.push(PollFd::new(master, events));
            }
            if !self.input.closed && self.input.pending.is_empty() {
                input_at = fds.len();
                fds.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
            }
        }
        if !self.output.pending.is_empty() {
            output_at = fds.len();
            fds.push(PollFd::new(&self.stdout, PollFlags::OUT));
        }
        let mut relay_at = usize::MAX;
        if let Some(relay) = &self.relay {
            relay_at = fds.len();
            fds.push(relay.awaits());
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).call(|| "poll".into())?;
        let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (ended, signalled) = (ready(0), ready(1));
        let (input_ready, output_ready) = (ready(input_at), ready(output_at));
        let notified = ready(relay_at);
        drop(fds);
        if let Some(relay) = self.relay.as_mut().filter(|_| notified) {
            relay.pass_on(child.pid.as_raw_nonzero().get())?;
        }
        // A process that has ended gets no signal.
        if signalled && !ended {
            self.forward_signals(child)?;
        }
        self.relay(input_ready, output_ready);
        Ok(ended)
    }

    fn forward_signals(&mut self, child: &Child) -> Result<()> {
        while let Some(number) = self.signals.next().call(|| "read a signalfd".into())? {
            match number {
                // As a subreaper we inherit what the container leaves behind.
                libc::SIGCHLD => {
                    reap_others(child.pid.as_raw_nonzero().get()).call(|| "waitid".into())?
                }
                libc::SIGPIPE | libc::SIGURG => {}
                libc::SIGHUP if ignores_hangups() => {}
                libc::SIGWINCH if self.master.is_some() => self.copy_size()?,
                number => {
                    let Some(signal) = from_number(number) else { continue };
                    self.ending |= ENDS.contains(&number);
                    let signal = self.instead(signal, child);
                    match child.signal(signal) {
                        Ok(()) | Err(Errno::SRCH) => {}
                        Err(errno) => return Err(Error::os("forward a signal", errno)),
                    }
                }
            }
        }
        Ok(())
    }

    /// A process that is stopped or traced takes no signal, and so could keep us here
    /// for ever: asked to end for the second time, it is killed.
    fn instead(&mut self, signal: Signal, child: &Child) -> Signal {
        if signal != Signal::TERM {
            return signal;
        }
        let again = std::mem::replace(&mut self.asked, true);
        if again && is_stopped(child) { Signal::KILL } else { signal }
    }

    /// Moves bytes. The master does not block; stdin and stdout are shared with
    /// others, so they are touched only when poll(2) has called them ready.
    fn relay(&mut self, input_ready: bool, output_ready: bool) {
        let Some(master) = &self.master else { return };
        if output_ready {
            self.output.write_to(self.stdout.as_fd(), self.stdout.most);
        }
        let mut may_be_end = input_ready;
        if self.output.pending.is_empty() {
            may_be_end |= self.output.read_from(master.as_fd());
        }
        if input_ready {
            self.input.read_from(stdin());
        }
        if may_be_end && self.input.closed && self.raw.is_none() {
            let told = self.told_end;
            self.told_end = tell_end(master.as_fd(), &mut self.input, told);
        }
        self.input.write_to(master.as_fd(), CHUNK);
    }

    /// Waits until stdout takes more; false if a signal is to end us, or it never will. Who
    /// has sent one already waits for us, too.
    fn has_room(&self) -> bool {
        const WRITE_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
        let limit = self.ending.then_some(&WRITE_TIMEOUT);
        loop {
            let mut fds = [
                PollFd::new(&self.stdout, PollFlags::OUT),
                PollFd::new(self.signals, PollFlags::IN),
            ];
            match poll(&mut fds, limit) {
                Ok(0) => return false,
                Ok(_) if !fds[0].revents().is_empty() => return true,
                Ok(_) if matches!(self.signals.ending(), Ok(None)) => {}
                Err(Errno::INTR) => {}
                _ => return false,
            }
        }
    }

    /// What the process has said last is still in the terminal.
    fn drain(&mut self) {
        let Some(master) = self.master.take() else { return };
        loop {
            while !self.output.pending.is_empty() {
                if !self.has_room() {
                    return;
                }
                self.output.write_to(self.stdout.as_fd(), self.stdout.most);
            }
            if self.output.closed || !self.output.read_from(master.as_fd()) {
                return;
            }
        }
    }
}

/// A terminal has no end: that of the input is told by its character for it (termios(3), VEOF),
/// twice after half a line, which the first one only hands over. A program that reads by single
/// characters from then on does not see it, so it is told again when it has changed to that, or
/// back, and prints something. Returns whether it read whole lines when it was `told`.
fn tell_end(master: BorrowedFd<'_>, input: &mut Pipe, told: Option<bool>) -> Option<bool> {
    let Ok(modes) = tcgetattr(master) else { return told };
    let by_lines = modes.local_modes.contains(LocalModes::ICANON);
    let end = modes.special_codes[SpecialCodeIndex::VEOF];
    // 0 is none (`_POSIX_VDISABLE`).
    if told == Some(by_lines) || end == 0 {
        return told;
    }
    let is_half = told.is_none() && input.last.is_some_and(|last| last != b'\n');
    input.pending.extend(std::iter::repeat_n(end, if is_half { 2 } else { 1 }));
    Some(by_lines)
}

impl Pipe {
    /// Takes what is there; false if there is nothing.
    fn read_from(&mut self, fd: BorrowedFd<'_>) -> bool {
        if self.closed {
            return false;
        }
        let mut buffer = [0; CHUNK];
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => self.closed = true,
            Ok(count) => {
                self.pending.extend_from_slice(&buffer[..count]);
                self.last = buffer[..count].last().copied();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO: nobody holds the other side of the terminal any more.
            Err(_) => self.closed = true,
        }
        !self.pending.is_empty()
    }

    /// Gives what fits, at most so much. A reader that is gone gets no more.
    fn write_to(&mut self, fd: BorrowedFd<'_>, most: usize) {
        if self.pending.is_empty() {
            return;
        }
        let count = self.pending.len().min(most);
        match rustix::io::write(fd, &self.pending[..count]) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pending.clear(),
        }
    }
}
