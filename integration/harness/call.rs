//! One call of a program, with an end in time.

use super::{guard, leftovers::Name, runtime};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No call takes longer, on a slow and busy machine, under emulation.
pub(super) const SECONDS: i64 = 60;

/// A program about to be called. Its output goes to files, not to pipes: a
/// container that inherits them must not keep the caller waiting.
pub struct Call {
    pub(super) command: Command,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
}

/// What a call gave back.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; 128 + signal when killed.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Call {
    pub fn new(program: impl AsRef<Path>) -> Self {
        guard::ensure();
        let mut command = Command::new(program.as_ref());
        command.env("PINNACE_TEST", Name::of(std::process::id()).text());
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
        Self { command, stdin: None, stdout: None, stderr: None }
    }

    /// As `new`, in a cage: a private mount namespace in which the host's file
    /// system is read-only but for `dir`. For input that could make a broken
    /// runtime destroy what is not its own: crun 1.8.1 takes the id of
    /// `delete --force /etc` for a directory, and removes it.
    pub fn caged(program: impl AsRef<Path>, dir: &Path) -> Self {
        let cage = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro / && exec \"$@\"";
        Self::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", cage])
            .args([dir.as_os_str(), program.as_ref().as_os_str()])
    }

    #[must_use]
    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    #[must_use]
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What the program reads from its standard input (default: nothing).
    #[must_use]
    pub fn stdin(mut self, text: impl AsRef<[u8]>) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_ref()).unwrap();
        file.rewind().unwrap();
        self.stdin = Some(file);
        self
    }

    /// A file, or a terminal, as standard input.
    #[must_use]
    pub fn stdin_from(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Appends output to files instead of returning it.
    #[must_use]
    pub fn output_to(mut self, stdout: File, stderr: File) -> Self {
        (self.stdout, self.stderr) = (Some(stdout), Some(stderr));
        self
    }

    /// Runs the program to its end.
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts the program.
    pub fn spawn(mut self) -> Running {
        let what = format!("{:?}", self.command);
        let stdin = self.stdin.map_or_else(Stdio::null, Stdio::from);
        let stdout = self.stdout.unwrap_or_else(|| tempfile::tempfile().unwrap());
        let stderr = self.stderr.unwrap_or_else(|| tempfile::tempfile().unwrap());
        let child = self
            .command
            .stdin(stdin)
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        Running { child, stdout, stderr, what }
    }
}

/// A started program; killed if nobody waits for it.
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    what: String,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn wait(mut self) -> Output {
        assert!(exits(self.pid()), "{}: still running after {SECONDS} s", self.what);
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        Output { code, stdout: all_of(&self.stdout), stderr: all_of(&self.stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

impl Output {
    /// The standard output of a call that succeeded.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self:#?}");
        &self.stdout
    }

    /// The value of a `Name:<tab>value` line of a call that succeeded.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        let line = self.ok().lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name}: in {}", self.stdout)).trim()
    }

    /// The standard error of a call that failed. pinnace says why in one line, and its exit
    /// status is 1, 2 for a wrong command line, or 255 for an `exec` that has not begun.
    #[track_caller]
    pub fn fails(&self) -> &str {
        assert_ne!(self.code, 0, "succeeded: {self:#?}");
        let says_why = |line: &&str| {
            let rest = line.strip_prefix("pinnace: ");
            rest.is_some_and(|rest| !rest.starts_with("warning: "))
        };
        match self.stderr.lines().filter(says_why).count() {
            // Another program's.
            0 => {}
            1 => assert!([1, 2, 255].contains(&self.code), "its exit status: {self:#?}"),
            _ => panic!("more than one line says why: {self:#?}"),
        }
        &self.stderr
    }

    /// Fails in the words by which engines know that no container has the id.
    #[track_caller]
    pub fn is_unknown(&self) {
        match runtime().name.as_str() {
            "crun" => self.fails_with(&["does not exist", "no such file or directory"]),
            _ => self.fails_with(&["does not exist"]),
        }
    }

    /// Fails, and says one of the words that engines look for (any case).
    #[track_caller]
    pub fn fails_with(&self, any_of: &[&str]) {
        let text = self.fails().to_lowercase();
        let found = any_of.iter().any(|words| text.contains(&words.to_lowercase()));
        assert!(found, "none of {any_of:?} in {self:#?}");
    }
}

/// Waits for an event on `fd`; false when there was none in time.
pub fn wait_for(fd: impl AsFd, events: PollFlags) -> bool {
    let end = Timespec { tv_sec: SECONDS, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(&fd, events)], Some(&end)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.unwrap() == 1,
        }
    }
}

/// Writes a file that will be run. Another program does it: what a thread has open for writing the
/// children of all have open, until each executes, and nobody can run it then (ETXTBSY).
pub fn write_program(path: &Path, bytes: impl AsRef<[u8]>) {
    Call::new("/bin/cp").args(["/dev/stdin".as_ref(), path]).stdin(bytes).run().ok();
}

/// The same, a copy of a program.
pub fn copy_program(from: &Path, to: &Path) {
    Call::new("/bin/cp").args([from, to]).run().ok();
}

/// Waits for what no event tells of: a state of a process, or a file that another one writes.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(SECONDS.unsigned_abs());
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a process has exited; it need not be our child.
pub fn exits(pid: Pid) -> bool {
    pidfd_open(pid, PidfdFlags::empty()).map_or(true, |fd| wait_for(fd, PollFlags::IN))
}

/// Reads from the start and leaves the offset, which the writers share, alone.
fn all_of(file: &File) -> String {
    if !file.metadata().unwrap().is_file() {
        return String::new(); // a terminal
    }
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
