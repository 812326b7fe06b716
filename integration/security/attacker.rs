//! What attacks from inside: the test program itself, bound into a container. There it hears
//! pids through its standard input, and answers what it could reach of these processes.
#![allow(unsafe_code)]

use crate::harness::{
    Bundle, Call, Container, Running, Step, Steps, copy_program, directory, json,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The variable by which the program knows that it is the attacker, and how it attacks.
const VARIABLE: &str = "ATTACKER";
/// Words that a reader must not find, one a line.
pub const SECRETS: &str = "SECRETS";

/// A bundle whose process attacks: `tracer`, `keeper`, `looper`, `reader`, `pod`
/// or `flooder`.
pub fn bundle(attack: &str) -> Bundle {
    let args = ["/attacker", "--exact", "security::attacker::the_attacker", "--nocapture"];
    let mut bundle = Bundle::new(args).set("/process/env/-", json!(format!("{VARIABLE}={attack}")));
    // A statically linked program needs none of these.
    for dir in ["/lib", "/lib64", "/usr/lib"] {
        if Path::new(dir).exists() {
            bundle = bundle.bind(Path::new(dir), dir, &["rbind", "ro"]);
        }
    }
    bundle.bind(program(), "/attacker", &["bind", "ro"])
}

/// The test program, where a mapped root may walk to: not below somebody's home directory.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
        let (dir, own) = (directory(), std::env::current_exe().unwrap());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("attacker");
        if fs::hard_link(&own, &program).is_err() {
            copy_program(&own, &program);
        }
        (dir, program)
    });
    &PROGRAM.1
}

/// A running attacker, seen from the host.
pub struct Attacker {
    socket: BufReader<UnixStream>,
    /// How many pid namespaces below the test's its own is.
    depth: usize,
    /// Of `exec`.
    _running: Option<Running>,
}

impl Attacker {
    /// The process of a container that has not been created.
    pub fn up(container: &Container) -> Self {
        let mut attacker = Self::by(container, |args| container.call([]).args(args));
        attacker.depth = Step { pid: container.pid().as_raw_pid(), call: 0 }.pids().len() - 1;
        attacker
    }

    /// As `up`, by another who calls the runtime.
    pub fn by(container: &Container, call: impl Fn(&[&str]) -> Call) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let path = container.bundle.path();
        call(&["create", "--bundle", path.to_str().unwrap(), &container.id])
            .stdin_from(File::from(OwnedFd::from(theirs)))
            .output_to(container.log("stdout"), container.log("stderr"))
            .run()
            .ok();
        call(&["start", &container.id]).run().ok();
        Self::new(ours, container, None)
    }

    /// A process of `exec` in a container, whose bundle is one of ours.
    pub fn exec(container: &Container) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let args = container.bundle.config()["process"]["args"].as_array().unwrap();
        let running = container
            .call(["exec", &container.id])
            .args(args.iter().map(|arg| arg.as_str().unwrap()))
            .stdin_from(File::from(OwnedFd::from(theirs)))
            .spawn();
        Self::new(ours, container, Some(running))
    }

    fn new(socket: UnixStream, container: &Container, running: Option<Running>) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut attacker = Self { socket: BufReader::new(socket), depth: 1, _running: running };
        let hello = attacker.line();
        assert_eq!(hello, "ready", "{}{}", container.stdout(), container.stderr());
        attacker
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.socket.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Names a process of its own pid namespace, and returns what it could reach of that.
    pub fn ask(&mut self, pid: i32) -> String {
        writeln!(self.socket.get_mut(), "{pid}").unwrap();
        self.line()
    }

    /// What it reaches of a process that is held, if it sees it at all.
    fn attack(&mut self, step: Step) -> Option<String> {
        let pid = *step.pids().get(self.depth)?;
        let found = self.ask(pid);
        (!found.is_empty()).then(|| format!("before call {} of {pid}: {found}", step.call))
    }
}

/// What came of attacks at each step of a runtime.
#[derive(Clone, Default)]
pub struct Attacks(Arc<Mutex<Found>>);

#[derive(Default)]
struct Found {
    looks: u32,
    reached: Vec<String>,
}

impl Attacks {
    /// To be called at each step.
    pub fn at(&self, attacker: &mut Attacker, step: Step) {
        let mut all = self.0.lock().unwrap();
        // What the container runs is its own, and who is killed runs nothing any more: `remove` does
        // not wait for the steps. One success is enough.
        let exe = step.link("exe");
        if exe.is_empty()
            || exe.ends_with("/busybox")
            || exe.ends_with("/attacker")
            || !all.reached.is_empty()
        {
            return;
        }
        let found = attacker.attack(step).map(|found| format!("{found}, which runs {exe:?}"));
        all.looks += u32::from(step.pids().len() > attacker.depth);
        all.reached.extend(found);
    }

    pub fn reached(&self) -> Vec<String> {
        self.0.lock().unwrap().reached.clone()
    }

    /// Nothing may have been reached; something must have been seen.
    #[track_caller]
    pub fn found_nothing(&self) {
        let all = self.0.lock().unwrap();
        assert!(all.reached.is_empty(), "{:#?}", all.reached);
        assert!(all.looks > 0, "no process of the runtime was ever in sight");
    }
}

/// Runs a call of the runtime stepwise under attack.
pub fn under_attack(call: Call, mut attacker: Attacker) -> (Running, Steps, Attacks) {
    let attacks = Attacks::default();
    let inner = attacks.clone();
    let (running, steps) = call.stepwise(move |step| inner.at(&mut attacker, step));
    (running, steps, attacks)
}

/// Not a test: what the program does inside of a container.
#[test]
fn the_attacker() {
    let Ok(name) = std::env::var(VARIABLE) else { return };
    let attack = match &*name {
        "reader" => read,
        "pod" => read_command_line,
        "flooder" => flood,
        _ => trace,
    };
    // Standard input is a socket: answers go back through it.
    let socket = UnixStream::from(rustix::io::dup(std::io::stdin().as_fd()).unwrap());
    let mut answers = socket.try_clone().unwrap();
    answers.write_all(b"ready\n").unwrap();
    for line in BufReader::new(socket).lines() {
        let pid = line.unwrap().parse().unwrap();
        // A thread that ends lets go of what it traces.
        let found = match &*name {
            "keeper" => seize(pid),
            "looper" => seize_all(pid),
            _ => std::thread::spawn(move || attack(pid)).join().unwrap(),
        };
        writeln!(answers, "{}", found.join("; ")).unwrap();
    }
    std::process::exit(0);
}

/// All ways to another process's memory, descriptors and directories.
fn trace(pid: i32) -> Vec<String> {
    let mut found = Vec::new();
    let mut reached = |what: &str, yes: bool| found.extend(yes.then(|| what.to_owned()));
    for name in ["cwd", "root", "exe"] {
        reached(&format!("readlink {name}"), fs::read_link(format!("/proc/{pid}/{name}")).is_ok());
    }
    for name in ["cwd/.", "root/.", "exe", "environ", "maps", "mem", "auxv", "ns/mnt", "pagemap"] {
        let file = File::open(format!("/proc/{pid}/{name}"));
        // These can be opened by all, and then say nothing.
        let says = |mut file: File| std::io::Read::read(&mut file, &mut [0]).is_ok_and(|n| n > 0);
        let told = ["environ", "auxv", "maps", "pagemap"].contains(&name);
        reached(&format!("open {name}"), file.is_ok_and(|file| !told || says(file)));
    }
    // Which descriptors there are is no secret among equals; where they lead is.
    let links = |name: &str| fs::read_dir(format!("/proc/{pid}/{name}")).into_iter().flatten();
    let leads = |entry: std::io::Result<fs::DirEntry>| fs::read_link(entry?.path());
    for name in ["fd", "map_files"] {
        let read = links(name).filter_map(|entry| leads(entry).ok()).next();
        reached(&format!("{name} {read:?}"), read.is_some());
    }
    let of_fds = (0..32).filter(|n| fs::metadata(format!("/proc/{pid}/fd/{n}/.")).is_ok());
    of_fds.for_each(|n| reached(&format!("directory {n}"), true));
    if let Some(pid) = Pid::from_raw(pid)
        && let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
    {
        let got = pidfd_getfd(pidfd, 0, PidfdGetfdFlags::empty());
        reached("pidfd_getfd(0)", got.is_ok());
    }
    found.extend(seize(pid));
    found
}

/// Takes the channel of a process of the runtime, and sends warnings in its name.
fn flood(pid: i32) -> Vec<String> {
    let Some(pid) = Pid::from_raw(pid) else { return Vec::new() };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return Vec::new() };
    let get = |n| pidfd_getfd(&pidfd, n, PidfdGetfdFlags::empty());
    let send =
        |fd: &OwnedFd| rustix::net::send(fd, b"wflood", rustix::net::SendFlags::DONTWAIT).is_ok();
    let sent = (3..64).filter_map(|n| get(n).ok()).find(send);
    sent.map(|fd| (0..100).filter(|_| send(&fd)).count())
        .map(|n| n.to_string())
        .into_iter()
        .collect()
}

/// Traces a process for as long as the calling thread is there.
fn seize(pid: i32) -> Vec<String> {
    // SAFETY: ptrace(2) takes numbers here, and no memory of ours.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) };
    (seized == 0).then(|| "PTRACE_SEIZE".to_owned()).into_iter().collect()
}

/// Traces whatever comes into the pid namespace, for so many seconds. What runs the runtime's
/// program when it is caught should not have been.
fn seize_all(seconds: i32) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(seconds.unsigned_abs().into());
    let mut found = Vec::new();
    while Instant::now() < end && found.is_empty() {
        let load = fs::read_to_string("/proc/loadavg").unwrap();
        let last: i32 = load.split_whitespace().last().unwrap().parse().unwrap();
        for pid in (last..last + 4).cycle().take(4000) {
            if seize(pid).is_empty() {
                continue;
            }
            // SAFETY: ptrace(2) takes numbers here, and no memory of ours.
            unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) };
            // SAFETY: without a place for the status nothing is written.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            if !exe.as_os_str().is_empty() && !exe.ends_with("busybox") {
                found.push(format!("traced {}", exe.display()));
            }
            // SAFETY: as above.
            unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) };
            break;
        }
    }
    found
}

/// Which of the secrets these files of a process have.
fn secrets_in(pid: i32, files: &[&str]) -> Vec<String> {
    let secrets = std::env::var(SECRETS).unwrap_or_default();
    let mut found = Vec::new();
    for name in files {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let told = secrets.lines().filter(|secret| text.contains(secret));
        found.extend(told.map(|secret| format!("{name} has {secret}")));
    }
    found
}

/// A container of a pod is seen while it is made: its mounts are not yet those that it will have.
fn read_command_line(pid: i32) -> Vec<String> {
    secrets_in(pid, &["cmdline", "comm", "environ"])
}

/// What procfs shows of another process to everyone: is any of it the host's?
fn read(pid: i32) -> Vec<String> {
    let mut found = secrets_in(
        pid,
        &[
            "cmdline",
            "environ",
            "comm",
            "mountinfo",
            "mounts",
            "mountstats",
            "net/unix",
            "cgroup",
            "maps",
            "status",
            "stat",
            "wchan",
            "stack",
            "limits",
        ],
    );
    let ids = |pid: &str| -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let own = ids("self");
    let others = ids(&pid.to_string()).into_iter().filter(|id| !own.contains(id)).count();
    found.extend((others > 0).then(|| format!("mountinfo has {others} mounts that are not ours")));
    for name in ["root", "cwd", "exe"] {
        found.extend(fs::read_link(format!("/proc/{pid}/{name}")).map(|l| format!("{name} {l:?}")));
    }
    found
}
