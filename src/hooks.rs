//! Runs hooks: programs that engines and users hang into a container's life
//! (config.md, "POSIX-platform Hooks"). Each gets the state on stdin; what it
//! prints is shown when it fails.

mod tree;

use crate::error::{At, Context, Error, Kind, Result};
use crate::plan::{Findings, Hook, Hooks};
use crate::spec::State;
use crate::sys::exe;
use crate::sys::process::{self, Child, CloneArgs, Execve, clone3};
use crate::sys::signal::{self, Signals};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Signal, WaitId, WaitIdOptions, WaitIdStatus, chdir, kill_process_group, waitid,
};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Instant;
use tree::Tree;

/// How much of a hook's output is kept for the message.
const OUTPUT: usize = 2048;

/// The most bytes that it says of why it cannot be run: a pipe takes them at once.
const REPORT: usize = 4096;

/// What turns the process that has been made for a hook into one that may run it:
/// only execve(2) follows.
pub type Confine<'a> = &'a dyn Fn() -> Result<()>;

/// Who runs a hook, which decides how far its children can be followed when its
/// time is up, and what the hook may do.
#[derive(Clone, Copy)]
pub enum Runner<'a> {
    /// The runtime: a program of the host, and all of its children. A signal that
    /// is to end the runtime ends the hook. It begins in the bundle, with the runtime's
    /// environment if the hook has none.
    Runtime(Option<&'a Signals>),
    /// The container's init: its process group. The rest ends with the container,
    /// which does not outlive a hook that failed. It begins where init is; the variables
    /// are for a hook that has none.
    Init(Confine<'a>, &'a [CString]),
}

/// Whether a hook is this program, to set a network up: that looks at no mount.
pub fn is_own(hook: &Hook) -> bool {
    hook.args.get(1).is_some_and(|command| command == "network")
        && exe::Own::open().is_ok_and(|own| own.is_at(&hook.path))
}

/// `umask(2)` of hooks that the container does not confine: nobody else writes to
/// what they make.
const UMASK: Mode = Mode::WGRP.union(Mode::WOTH);

/// Lets a program of the host run as it is: `createContainer` hooks are found and
/// run with the runtime's privileges (config.md, "POSIX-platform Hooks").
///
/// # Errors
/// None.
pub fn unconfined() -> Result<()> {
    Ok(())
}

/// The runtime's own environment, for those of `hooks` that have none; empty if all have one.
pub fn environment(hooks: &[Hook]) -> Vec<CString> {
    match hooks.iter().all(|hook| hook.env.is_some()) {
        true => Vec::new(),
        false => exe::environment(),
    }
}

/// Looks for the programs of hooks, for `plan`. Those in the container are left out: a mount
/// may bring them, or another hook. `poststop` hooks never stand in the way.
pub fn look(hooks: &Hooks, findings: &mut Findings) {
    for (kind, list) in hooks.all().into_iter().filter(|(kind, _)| *kind != "startContainer") {
        for (i, hook) in list.iter().enumerate().filter(|(_, hook)| hook.path.is_absolute()) {
            let call = || format!("execve {}", hook.path.display());
            let found = process::is_program_at(hook.path.as_os_str().as_bytes());
            let found = found
                .call(call)
                .at(|| format!("hooks.{kind}[{i}].path"))
                .hint_on(Errno::NOENT, || "it is looked for on the host, not in the image");
            match found {
                Err(error) if kind == "poststop" => findings.warn(error),
                found => drop(findings.keep(found)),
            }
        }
    }
}

/// Runs the hooks of one kind in order; the first failure ends it. Returns what each has said.
///
/// # Errors
/// A hook that cannot be started, fails, or takes too long.
pub fn run_all(
    kind: &str,
    hooks: &[Hook],
    state: &State<'_>,
    runner: Runner<'_>,
) -> Result<Vec<String>> {
    let one = |(i, hook): (usize, &Hook)| {
        run(hook, state, runner)
            .map_err(|error| error.at(format!("hooks.{kind}[{i}]")).kind(Kind::Hook))
    };
    hooks.iter().enumerate().map(one).collect()
}

/// Runs one hook to its end. Returns what it has said.
///
/// # Errors
/// If it cannot be started, fails, or takes too long.
pub fn run(hook: &Hook, state: &State<'_>, runner: Runner<'_>) -> Result<String> {
    if hook.timeout.is_none() || matches!(runner, Runner::Init(..)) {
        return follow(hook, state, runner, None);
    }
    let mut tree = Tree::watch(state.pid)?;
    let result = follow(hook, state, runner, Some(&mut tree));
    tree.let_go()?;
    result
}

fn follow(
    hook: &Hook,
    state: &State<'_>,
    runner: Runner<'_>,
    mut tree: Option<&mut Tree>,
) -> Result<String> {
    let document =
        serde_json::to_vec(state).map_err(|error| Error::new(format!("state: {error}")))?;
    let path = hook.path.display();
    let mut running = spawn(hook, state.bundle, document, runner).at(|| &path)?;
    if let Some(tree) = &mut tree {
        tree.began(running.child.pid.as_raw_nonzero().get());
    }
    let finished = running.hold();
    let output = running.output();
    if !matches!(finished, Ok(true)) {
        running.end()?;
        if let Some(tree) = tree {
            tree.end().at(|| &path)?;
        }
    }
    match finished {
        Err(error) => Err(error.at(path)),
        Ok(false) => {
            let seconds = hook.timeout.unwrap_or_default().as_secs();
            Err(Error::new(format!("not finished after its timeout of {seconds} s{output}"))
                .at(&path))
        }
        Ok(true) => {
            let status = running.reap()?;
            if let Some(error) = running.report() {
                return Err(error);
            }
            match status {
                Some(status) if status.exit_status() == Some(0) => {
                    Ok(String::from_utf8_lossy(&running.collected).into_owned())
                }
                status => Err(Error::new(format!("{}{output}", describe(status))).at(&path)),
            }
        }
    }
}

/// Makes the hook's process. It has nothing of ours but the pipes.
fn spawn<'a>(
    hook: &Hook,
    bundle: &str,
    document: Vec<u8>,
    runner: Runner<'a>,
) -> Result<Running<'a>> {
    signal::take_over();
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Error::new("contains a NUL byte"));
    let path = text(hook.path.as_os_str().as_bytes())?;
    let args = hook.args.iter().map(|arg| text(arg.as_bytes()));
    let mut args = args.collect::<Result<Vec<_>>>()?;
    if args.is_empty() {
        args.push(path.clone());
    }
    let env = match (&hook.env, runner) {
        (Some(env), _) => env.iter().map(|entry| text(entry.as_bytes())).collect::<Result<_>>()?,
        (None, Runner::Runtime(_)) => exe::environment(),
        (None, Runner::Init(_, env)) => env.to_vec(),
    };
    let bundle = text(bundle.as_bytes())?;
    let execve = Execve::new(&path, args.iter().map(AsRef::as_ref), env.iter().map(AsRef::as_ref));
    let pipe = || pipe_with(PipeFlags::CLOEXEC).call(|| "pipe2".into());
    let (stdin, out, err, report) = (pipe()?, pipe()?, pipe()?, pipe()?);
    let Some(child) = clone3(CloneArgs::default()).call(|| "clone3".into())? else {
        let stdio = [&stdin.0, &out.1, &err.1];
        become_hook(&execve, &bundle, &stdio, &report.1, runner)
    };
    let (stdin, outputs, report) = (stdin.1, vec![out.0, err.0], report.0);
    for fd in outputs.iter().chain([&stdin, &report]) {
        rustix::io::ioctl_fionbio(fd, true).call(|| "ioctl(FIONBIO)".into())?;
    }
    let signals = match runner {
        Runner::Runtime(signals) => signals,
        Runner::Init(..) => None,
    };
    Ok(Running {
        child,
        stdin: Some(stdin),
        document,
        sent: 0,
        outputs,
        collected: Vec::new(),
        report,
        deadline: hook.timeout.map(|timeout| Instant::now() + timeout),
        signals,
    })
}

/// In the new process: what fails is written to `report`, which execve(2) closes.
fn become_hook(
    execve: &Execve<'_>,
    bundle: &CStr,
    stdio: &[&OwnedFd; 3],
    report: &OwnedFd,
    runner: Runner<'_>,
) -> ! {
    let begin = || {
        rustix::process::setpgid(None, None).call(|| "setpgid".into())?;
        rustix::stdio::dup2_stdin(stdio[0]).call(|| "dup2".into())?;
        rustix::stdio::dup2_stdout(stdio[1]).call(|| "dup2".into())?;
        rustix::stdio::dup2_stderr(stdio[2]).call(|| "dup2".into())?;
        signal::give_back();
        rustix::process::umask(UMASK);
        process::with_only(3, &[report.as_raw_fd()], || {
            signal::unblock_all().call(|| "sigprocmask".into())?;
            match runner {
                Runner::Runtime(_) => go_to(bundle)?,
                Runner::Init(confine, _) => confine()?,
            }
            Err(Error::os(execve.describe(), execve.call()))
        })
    };
    let Err(error) = begin();
    // A filter may forbid both; then the process ends by a signal.
    if rustix::io::write(report, &error.encode(REPORT)).is_ok() {
        process::exit_now(126);
    }
    std::process::abort()
}

/// Hooks of the host begin in the bundle, as with the peers. It is no more than a place to
/// begin: before `poststop` its owner may have removed it, or what it was on may be gone.
fn go_to(bundle: &CStr) -> Result<()> {
    chdir(bundle).or_else(|_| chdir("/")).call(|| "chdir /".into())
}

fn describe(status: Option<WaitIdStatus>) -> String {
    let Some(status) = status else { return "ended".into() };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// A hook that runs: it is fed the state and its output is collected at the same
/// time, so that neither side can block the other on a full pipe.
struct Running<'a> {
    child: Child,
    stdin: Option<OwnedFd>,
    document: Vec<u8>,
    sent: usize,
    outputs: Vec<OwnedFd>,
    collected: Vec<u8>,
    report: OwnedFd,
    deadline: Option<Instant>,
    signals: Option<&'a Signals>,
}

impl Running<'_> {
    /// Until the hook has ended (true) or its time is up (false).
    fn hold(&mut self) -> Result<bool> {
        loop {
            self.feed()?;
            let mut fds = vec![PollFd::new(&self.child.pidfd, PollFlags::IN)];
            fds.extend(self.signals.map(|fd| PollFd::new(fd, PollFlags::IN)));
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
            if let Some(signals) = self.signals
                && let Some(signal) = signals.ending().call(|| "read a signalfd".into())?
            {
                return Err(Error::new(format!("ended by signal {signal}")));
            }
        }
    }

    /// Writes as much of the state as fits; closes the pipe when all is sent.
    /// A hook that does not want it is not an error.
    fn feed(&mut self) -> Result<()> {
        while let Some(stdin) = &self.stdin {
            match rustix::io::write(stdin, &self.document[self.sent..]) {
                Ok(0) => return Err(Error::os("write the state to the hook", Errno::IO)),
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

    /// Kills the hook and what it left in its process group, and reaps it.
    fn end(&self) -> Result<()> {
        for killed in
            [self.child.signal(Signal::KILL), kill_process_group(self.child.pid, Signal::KILL)]
        {
            match killed {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(Error::os("kill the hook's process group", errno)),
            }
        }
        self.reap().map(drop)
    }

    /// Takes the status of a hook that has ended, or is about to: unless its cgroup is
    /// frozen, which on v1 keeps it from ending.
    fn reap(&self) -> Result<Option<WaitIdStatus>> {
        if !ends(self.child.pidfd.as_fd()).call(|| "poll a pidfd".into())? {
            return Err(
                Error::new("the hook was killed, and does not end").hint("is its cgroup frozen?")
            );
        }
        // It waits no more, but for a process that traces the hook and has to let it go.
        let wait = || waitid(WaitId::PidFd(self.child.pidfd.as_fd()), WaitIdOptions::EXITED);
        rustix::io::retry_on_intr(wait).call(|| "wait for the hook".into())
    }

    /// Why it could not be run.
    fn report(&self) -> Option<Error> {
        let mut text = [0; REPORT];
        let length = rustix::io::read(&self.report, &mut text).ok()?;
        Error::decode(Kind::Hook, text.get(..length)?)
    }

    fn output(&self) -> String {
        let text = String::from_utf8_lossy(&self.collected);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
        match lines.as_slice() {
            [] => String::new(),
            // A message shows a part of each.
            lines => format!("; it said: {}", lines.join("; ")),
        }
    }
}

/// Waits for the end of a process that has been killed; false if it does not come in time.
fn ends(process: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    const EXIT_TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&EXIT_TIMEOUT)))? > 0)
}

/// Reads what is there; false at the end of the file.
fn drain(fd: BorrowedFd<'_>, collected: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => return false,
            Ok(count) => {
                let left = OUTPUT.saturating_sub(collected.len());
                collected.extend_from_slice(&buffer[..count.min(left)]);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
}
