//! Runs hooks: programs that engines and users hang into a container's life
//! (config.md, "POSIX-platform Hooks"). Each gets the state on stdin; what it
//! prints is shown when it fails.

mod tree;

use crate::error::{Context, Error, Kind, Result};
use crate::plan::Hook;
use crate::spec::State;
use crate::sys::process::close_on_exec_from;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tree::Tree;

/// How much of a hook's output is kept for the message.
const OUTPUT: usize = 2048;

/// Who runs a hook, which decides how far its children can be followed when its
/// time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// The runtime: all of them.
    Runtime,
    /// The container's init: its process group. The rest ends with the container,
    /// which does not outlive a hook that failed.
    Init {
        /// How many descriptors from 3 on are not to be closed: the container's
        /// program gets them.
        preserve_fds: u32,
    },
}

/// Runs the hooks of one kind in order; the first failure ends it.
///
/// # Errors
/// A hook that cannot be started, fails, or takes too long.
pub fn run_all(kind: &str, hooks: &[Hook], state: &State<'_>, runner: Runner) -> Result<()> {
    for (i, hook) in hooks.iter().enumerate() {
        run(hook, state, runner)
            .map_err(|error| error.at(format!("hooks.{kind}[{i}]")).kind(Kind::Hook))?;
    }
    Ok(())
}

/// Runs one hook to its end.
///
/// # Errors
/// If it cannot be started, fails, or takes too long.
pub fn run(hook: &Hook, state: &State<'_>, runner: Runner) -> Result<()> {
    let first = match runner {
        Runner::Runtime => 3,
        Runner::Init { preserve_fds } => 3 + preserve_fds,
    };
    // What our caller has left open is not the hook's.
    close_on_exec_from(first).call(|| "close_range".into())?;
    if hook.timeout.is_none() || runner != Runner::Runtime {
        return follow(hook, state, None);
    }
    let mut tree = Tree::watch(state.pid)?;
    let result = follow(hook, state, Some(&mut tree));
    tree.let_go()?;
    result
}

fn follow(hook: &Hook, state: &State<'_>, mut tree: Option<&mut Tree>) -> Result<()> {
    let document =
        serde_json::to_vec(state).map_err(|error| Error::new(format!("state: {error}")))?;
    let path = hook.path.display();
    let mut child = spawn(hook).call(|| format!("execve {path}"))?;
    if let Some(tree) = &mut tree {
        tree.began(child.id() as i32);
    }
    let mut conversation = Conversation::new(&mut child, document, hook.timeout)?;
    let finished = conversation.hold();
    let output = conversation.output();
    if !matches!(finished, Ok(true)) {
        end(&mut child)?;
        if let Some(tree) = tree {
            tree.end().map_err(|error| error.at(&path))?;
        }
    }
    match finished {
        Err(error) => Err(error.at(path)),
        Ok(false) => {
            let seconds = hook.timeout.unwrap_or_default().as_secs();
            Err(Error::new(format!(
                "{path}: not finished after its timeout of {seconds} s{output}"
            )))
        }
        Ok(true) => match child.wait().call(|| format!("wait for {path}"))? {
            status if status.success() => Ok(()),
            status => Err(Error::new(format!("{path}: {}{output}", describe(status)))),
        },
    }
}

fn spawn(hook: &Hook) -> std::io::Result<Child> {
    let mut command = Command::new(&hook.path);
    if let Some((first, rest)) = hook.args.split_first() {
        command.arg0(first).args(rest);
    }
    let pairs = hook.env.iter().map(|entry| entry.split_once('=').unwrap_or((entry, "")));
    command
        .env_clear()
        .envs(pairs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Kills the hook and what it left in its process group, and reaps it.
fn end(child: &mut Child) -> Result<()> {
    if let Some(group) = Pid::from_raw(child.id() as i32) {
        match kill_process_group(group, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(Error::os("kill the hook's process group", errno)),
        }
    }
    child.wait().call(|| "wait for the hook".into())?;
    Ok(())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// Feeds the state and collects the output while the hook runs, so that
/// neither side can block the other on a full pipe.
struct Conversation {
    pidfd: OwnedFd,
    stdin: Option<OwnedFd>,
    document: Vec<u8>,
    sent: usize,
    outputs: Vec<OwnedFd>,
    collected: Vec<u8>,
    deadline: Option<Instant>,
}

impl Conversation {
    fn new(child: &mut Child, document: Vec<u8>, timeout: Option<Duration>) -> Result<Self> {
        let pid = Pid::from_raw(child.id() as i32).ok_or_else(|| Error::new("no pid"))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).call(|| "pidfd_open".into())?;
        let stdin = child.stdin.take().map(OwnedFd::from);
        let outputs: Vec<_> =
            [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)]
                .into_iter()
                .flatten()
                .collect();
        for fd in stdin.iter().chain(&outputs) {
            rustix::io::ioctl_fionbio(fd, true).call(|| "ioctl(FIONBIO)".into())?;
        }
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        Ok(Self { pidfd, stdin, document, sent: 0, outputs, collected: Vec::new(), deadline })
    }

    /// Until the hook has ended (true) or its time is up (false).
    fn hold(&mut self) -> Result<bool> {
        loop {
            self.feed()?;
            let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
            fds.extend(self.outputs.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            fds.extend(self.stdin.iter().map(|fd| PollFd::new(fd, PollFlags::OUT)));
            let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            let timeout = left.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::os("poll", errno)),
            }
            let ended = !fds[0].revents().is_empty();
            self.collect();
            if ended {
                return Ok(true);
            }
        }
    }

    /// Writes as much of the state as fits; closes the pipe when all is sent.
    /// A hook that does not want it is not an error.
    fn feed(&mut self) -> Result<()> {
        while let Some(stdin) = &self.stdin {
            match rustix::io::write(stdin, &self.document[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(Errno::PIPE) => self.sent = self.document.len(),
                Err(errno) => return Err(Error::os("write the state to the hook", errno)),
            }
            if self.sent == self.document.len() {
                self.stdin = None;
            }
        }
        Ok(())
    }

    fn collect(&mut self) {
        let collected = &mut self.collected;
        self.outputs.retain(|fd| drain(fd.as_fd(), collected));
    }

    fn output(&self) -> String {
        let text = String::from_utf8_lossy(&self.collected);
        match text.trim() {
            "" => String::new(),
            text => format!("; it said: {text}"),
        }
    }
}

/// Reads what is there; false at the end of the file.
fn drain(fd: BorrowedFd<'_>, collected: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => return false,
            Ok(count) => {
                let room = OUTPUT.saturating_sub(collected.len());
                collected.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
}
