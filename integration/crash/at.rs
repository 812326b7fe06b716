//! `at`: runs a command and, at one system call of one of its processes, kills processes, makes the
//! call fail, or holds it (ptrace(2)).
//!
//! Processes are numbered: 0 is the command, 1 the one attached to, if any, then those made, in
//! order. Threads count for their process. A process other than the command is followed until it
//! executes a program. The tracer is a process of its own: when it ends, the kernel lets go of
//! whatever it still traces, whatever that is doing.
#![allow(unsafe_code)]

use super::sys::{self, Info};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Error, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// `--limit`.
pub static LIMIT: OnceLock<Duration> = OnceLock::new();

/// No command may take longer.
pub fn limit() -> Duration {
    LIMIT.get().copied().unwrap_or(Duration::from_secs(10))
}

/// A system call: the `count`th (from 1) of `number` by process `who`. Counting each call by itself
/// keeps a point where it is when something else is called more or less often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub who: usize,
    pub number: i64,
    pub count: u32,
}

/// What is done at entry of the call.
#[derive(Debug)]
pub enum Act {
    /// These processes get SIGKILL, before the call is done.
    Kill(Vec<usize>),
    /// The call is not done and fails with this errno; `persist`: so do all later calls of the
    /// same number by this process.
    Fail { errno: i32, persist: bool },
    /// A byte is written to `reached`, and the process stays there until a byte comes through
    /// `go`, which does not block. The others go on.
    Hold { reached: OwnedFd, go: OwnedFd },
}

/// What is to happen while a command runs.
#[derive(Debug, Default)]
pub struct Trace {
    /// A process that is there already and becomes number 1.
    pub attach: Option<i32>,
    pub at: Option<(Place, Act)>,
    /// Every call is to be listed.
    pub list: bool,
    /// After the command's end its children are followed that long, if nothing was hit before.
    pub stay: Duration,
}

/// What has happened.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The place was reached.
    pub hit: bool,
    /// The command's end, as wait(2) tells it.
    pub status: i32,
    /// Where each process was when the time was over.
    pub hung: Vec<String>,
    /// Each call: who, number.
    pub calls: Vec<(usize, i64)>,
}

/// Starts the command under a tracer, whose pid is returned; `seen` reads what it has found.
pub fn start(command: Command, trace: Trace) -> std::io::Result<(i32, File)> {
    let mut file = File::from(rustix::fs::memfd_create("seen", MemfdFlags::CLOEXEC)?);
    let copy = file.try_clone()?;
    let pid = sys::fork(|| {
        let seen = Tracer::new(trace)
            .run(command)
            .unwrap_or_else(|error| Seen { hung: vec![format!("at: {error}")], ..Seen::default() });
        serde_json::to_writer(&mut file, &seen).is_err().into()
    })?;
    Ok((pid, copy))
}

/// What the tracer, which has ended, has found.
pub fn seen(mut file: File) -> Result<Seen, String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("at said {text:?}: {error}"))
}

struct Task {
    tid: i32,
    who: usize,
    failing: bool,
}

#[derive(Default)]
struct Proc {
    pid: i32,
    done: bool,
    /// Calls of the number that is looked for.
    count: u32,
}

struct Tracer {
    trace: Trace,
    tasks: Vec<Task>,
    procs: Vec<Proc>,
    seen: Seen,
    held: Option<i32>,
    begun: bool,
}

/// Whether to go on.
#[derive(PartialEq)]
enum Next {
    On,
    End,
}

impl Tracer {
    fn new(trace: Trace) -> Self {
        let (tasks, procs, seen) = (Vec::new(), Vec::new(), Seen::default());
        Self { trace, tasks, procs, seen, held: None, begun: false }
    }

    fn run(mut self, command: Command) -> Result<Seen, Error> {
        sys::die_with_parent()?;
        let main = spawn(command)?;
        self.add(main.0);
        if let Some(pid) = self.trace.attach {
            sys::seize(pid)?;
            self.add(pid);
            sys::ptrace(sys::INTERRUPT, pid, 0)?;
        }
        sys::alarm(limit())?;
        rustix::io::write(&main.1, b"x")?;
        let (main, mut end, mut ended) = (main.0, Instant::now() + limit(), false);
        while !self.tasks.is_empty() {
            let (tid, status) = match sys::wait_any(true) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {
                    self.let_go()?;
                    if Instant::now() < end {
                        continue;
                    }
                    if ended || !self.seen.hung.is_empty() {
                        break;
                    }
                    self.seen.hung = self.whereabouts();
                    sys::kill(main, libc::SIGKILL);
                    end = Instant::now() + Duration::from_secs(2);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                self.tasks.retain(|task| task.tid != tid);
                if tid != main {
                    continue;
                }
                self.seen.status = status;
                ended = true;
                if self.trace.stay.is_zero() || self.seen.hit || !self.seen.hung.is_empty() {
                    break;
                }
                end = Instant::now() + self.trace.stay;
                sys::alarm(self.trace.stay)?;
            } else if self.stopped(tid, status, ended) == Next::End {
                break;
            }
        }
        Ok(self.seen)
    }

    /// A process has stopped for us.
    fn stopped(&mut self, tid: i32, status: i32, ended: bool) -> Next {
        self.add(tid);
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let mut deliver = 0;
        if signal == libc::SIGTRAP | 0x80 {
            if self.begun {
                self.at_call(tid);
            }
            if self.held == Some(tid) {
                return Next::On;
            }
            if self.seen.hit && ended && !self.task(tid).failing {
                return Next::End;
            }
        } else if event == libc::PTRACE_EVENT_EXEC {
            let who = self.task(tid).who;
            self.procs[who].done = who > 0;
            self.begun = true;
        } else if event == sys::EVENT_STOP && signal != libc::SIGTRAP {
            sys::ptrace(sys::LISTEN, tid, 0).ok(); // a stop of the whole group
            return Next::On;
        } else if [libc::PTRACE_EVENT_FORK, libc::PTRACE_EVENT_VFORK, libc::PTRACE_EVENT_CLONE]
            .contains(&event)
        {
            if let Some(child) = sys::event_message(tid) {
                self.add(child);
            }
        } else if event == 0 {
            deliver = signal;
        }
        let request = if self.is_followed(tid) { sys::SYSCALL } else { sys::CONT };
        sys::ptrace(request, tid, deliver).ok(); // it may have been killed meanwhile
        Next::On
    }

    fn at_call(&mut self, tid: i32) {
        let who = self.task(tid).who;
        match sys::call_info(tid) {
            Some(Info::Exit) => {
                if let (true, Some(errno)) = (self.task(tid).failing, self.errno()) {
                    sys::set_result(tid, errno);
                    self.task(tid).failing = false;
                }
            }
            Some(Info::Entry(number)) => {
                if self.trace.list {
                    self.seen.calls.push((who, number));
                }
                self.at_entry(tid, who, number);
            }
            None => {}
        }
    }

    fn at_entry(&mut self, tid: i32, who: usize, number: i64) {
        let Some((place, act)) = &self.trace.at else { return };
        if place.who != who || place.number != number {
            return;
        }
        self.procs[who].count += 1;
        let again = self.seen.hit && matches!(act, Act::Fail { persist: true, .. });
        if !again && (self.seen.hit || self.procs[who].count != place.count) {
            return;
        }
        self.seen.hit = true;
        match act {
            Act::Kill(whom) => {
                for proc in whom.iter().filter_map(|who| self.procs.get(*who)) {
                    sys::kill(proc.pid, libc::SIGKILL);
                }
            }
            Act::Fail { .. } => {
                sys::skip_call(tid);
                self.task(tid).failing = true;
            }
            Act::Hold { reached, .. } => {
                self.held = Some(tid);
                rustix::io::write(reached, b"x").ok();
                sys::alarm(Duration::from_millis(1)).ok();
            }
        }
    }

    /// A held process goes on once the other side says so.
    fn let_go(&mut self) -> Result<(), Error> {
        let (Some(tid), Some((_, Act::Hold { go, .. }))) = (self.held, &self.trace.at) else {
            return Ok(());
        };
        if matches!(rustix::io::read(go, &mut [0; 1]), Ok(1)) {
            self.held = None;
            sys::ptrace(sys::CONT, tid, 0).ok();
        }
        sys::alarm(Duration::from_millis(1))
    }

    fn errno(&self) -> Option<i32> {
        match self.trace.at {
            Some((_, Act::Fail { errno, .. })) => Some(errno),
            _ => None,
        }
    }

    fn is_followed(&self, tid: i32) -> bool {
        let Some(task) = self.tasks.iter().find(|task| task.tid == tid) else { return false };
        let wanted = match &self.trace.at {
            _ if self.trace.list => true,
            Some((place, Act::Fail { persist: true, .. })) => task.who == place.who,
            Some((place, _)) => task.who == place.who && (!self.seen.hit || task.failing),
            None => false,
        };
        wanted && !self.procs[task.who].done
    }

    fn task(&mut self, tid: i32) -> &mut Task {
        let index = self.add(tid);
        &mut self.tasks[index]
    }

    fn add(&mut self, tid: i32) -> usize {
        if let Some(index) = self.tasks.iter().position(|task| task.tid == tid) {
            return index;
        }
        let pid = sys::process_of(tid);
        let known = self.procs.iter().position(|proc| proc.pid == pid);
        let who = known.unwrap_or_else(|| {
            self.procs.push(Proc { pid, ..Proc::default() });
            self.procs.len() - 1
        });
        self.tasks.push(Task { tid, who, failing: false });
        self.tasks.len() - 1
    }

    fn whereabouts(&self) -> Vec<String> {
        let line = |task: &Task| {
            let of = |name| {
                let text = std::fs::read_to_string(format!("/proc/{}/{name}", task.tid));
                text.unwrap_or_default().trim().to_owned()
            };
            let call = of("syscall");
            let number = call.split(' ').next().and_then(|word| word.parse().ok());
            let name = number.map_or(call.clone(), super::names::name_of);
            format!("process {} ({}) hangs in {name} {}", task.who, task.tid, of("wchan"))
        };
        let lines: Vec<_> = self.tasks.iter().map(line).collect();
        if lines.is_empty() { vec!["nobody is left".into()] } else { lines }
    }
}

/// Makes the process of a command, seized, which executes it once a byte is written for it.
fn spawn(mut command: Command) -> Result<(i32, OwnedFd), Error> {
    let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let pid = sys::fork(move || {
        let end = Timespec { tv_sec: 10, tv_nsec: 0 };
        if !matches!(poll(&mut [PollFd::new(&wait, PollFlags::IN)], Some(&end)), Ok(1)) {
            return 127; // the tracer is no more
        }
        let error = command.exec();
        writeln!(std::io::stderr(), "{command:?}: {error}").ok();
        127
    })?;
    sys::seize(pid)?;
    Ok((pid, go))
}
