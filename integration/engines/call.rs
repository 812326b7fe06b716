//! Commands that end in time, and what they said.

use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Seconds until a command is killed: many times what any of them needs.
const LIMIT: &str = "90";

/// A command line, not yet run.
#[derive(Clone)]
pub struct Call {
    words: Vec<String>,
    variables: Vec<(String, String)>,
    input: Option<PathBuf>,
}

/// How a command ended.
pub struct Output {
    words: Vec<String>,
    /// 128+N after signal N, 124 after `LIMIT`.
    pub code: i32,
    /// All of it.
    pub stdout: String,
    /// All of it.
    pub stderr: String,
}

impl Call {
    /// A program and its arguments.
    pub fn new<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(Into::into).collect();
        Self { words, variables: Vec::new(), input: None }
    }

    /// The same command with more arguments.
    pub fn args(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// The same command with a variable more.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Reads its standard input from a file; otherwise that is empty.
    pub fn input(mut self, file: impl Into<PathBuf>) -> Self {
        self.input = Some(file.into());
        self
    }

    /// The same command with a file open as its fd 3.
    pub fn with_fd_3(mut self, file: &str) -> Self {
        let shell = ["sh", "-c", "exec \"$@\" 3<\"$0\"", file].map(str::to_owned);
        self.words.splice(0..0, shell);
        self
    }

    /// The same command after another one of a shell.
    pub fn after(mut self, first: &str) -> Self {
        let shell = ["sh", "-c", "eval \"$0\"; exec \"$@\"", first].map(str::to_owned);
        self.words.splice(0..0, shell);
        self
    }

    /// The same command with a terminal.
    pub fn on_a_terminal(mut self) -> Self {
        let quoted: Vec<_> = self.words.iter().map(|word| quote(word)).collect();
        self.words = ["script", "-qefc", &quoted.join(" "), "/dev/null"].map(str::to_owned).into();
        self
    }

    /// Runs it. Its output goes to files: a daemon that keeps a pipe open could
    /// hold us up.
    pub fn run(&self) -> Result<Output> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let [out, err] =
            ["out", "err"].map(|name| PathBuf::from(format!("/run/call.{number}.{name}")));
        let input = match &self.input {
            Some(file) => Stdio::from(File::open(file)?),
            None => Stdio::null(),
        };
        let status = Command::new("timeout")
            .args(["--kill-after=5", LIMIT])
            .args(&self.words)
            .envs(self.variables.iter().cloned())
            .stdin(input)
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .status()
            .with_context(|| self.words.join(" "))?;
        let [stdout, stderr] = [&out, &err].map(|file| {
            let text = fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            fs::remove_file(file).and(text)
        });
        // `timeout` itself passes a command's signal on as its own.
        let code = status.code().unwrap_or_else(|| {
            128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0)
        });
        Ok(Output { words: self.words.clone(), code, stdout: stdout?, stderr: stderr? })
    }

    /// Runs it; it must succeed. Its standard output without the last newline.
    pub fn ok(&self) -> Result<String> {
        self.code(0)
    }

    /// Runs it; it must end with this code.
    pub fn code(&self, code: i32) -> Result<String> {
        let output = self.run()?;
        ensure!(output.code == code, "expected exit code {code}:\n{output}");
        Ok(output.stdout.trim_end().to_owned())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "$ {}\n{}{}[exit code {}]",
            self.words.join(" "),
            self.stdout,
            self.stderr,
            self.code
        )
    }
}

/// A program that one test needs and the machine lacks.
#[derive(Debug)]
pub struct Missing(&'static str);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {} is not installed", self.0)
    }
}

impl std::error::Error for Missing {}

/// What an engine that is installed cannot do: skipped, also in CI.
#[derive(Debug)]
pub struct Lacks(pub &'static str);

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

impl std::error::Error for Lacks {}

/// Ends a test as skipped unless `program` is installed.
pub fn needs(program: &'static str) -> Result<()> {
    if installed(program) { Ok(()) } else { Err(Missing(program).into()) }
}

/// Whether a program is in PATH.
pub fn installed(program: &str) -> bool {
    find(program).is_some()
}

/// Looks a program up in PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Polls until `done` holds, for at most a minute: machines are busy.
pub fn until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while !done()? {
        ensure!(Instant::now() < end, "waited a minute in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Runs `work` for 0..count at once, each on its own thread; the first error is the result.
pub fn at_once(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || work(n))).collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("a thread panicked")),
        });
        results.collect()
    })
}

/// Quoted for a POSIX shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
