//! A dockerd with directories, a socket, a containerd and cgroups of its own.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::call::{Call, find, until};
use crate::machine::{IMAGE, Machine};

/// A running daemon. It is stopped when dropped.
pub struct Daemon {
    process: Child,
    pub directory: PathBuf,
    machine: Machine,
    words: Vec<String>,
}

impl Daemon {
    /// Starts one that has the image, with this daemon.json and more options.
    pub fn start(machine: &Machine, name: &str, config: &str, options: &[&str]) -> Result<Self> {
        Self::begin(machine, name, config, &[&["dockerd"], options].concat())
    }

    /// The same with an empty daemon.json, in a network namespace of its own.
    pub fn beside(machine: &Machine, name: &str, options: &[&str]) -> Result<Self> {
        Self::begin(machine, name, "{}", &[&["unshare", "--net", "dockerd"], options].concat())
    }

    fn begin(machine: &Machine, name: &str, config: &str, words: &[&str]) -> Result<Self> {
        let directory = machine.directory(name)?;
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        fs::write(directory.join("daemon.json"), config)?;
        witness(&directory, &machine.runtime())?;
        let process = spawn(&directory, machine, &words)?;
        let mut daemon = Self { process, directory, machine: machine.clone(), words };
        daemon.answers()?;
        let archive = machine.archive.display().to_string();
        daemon.docker(&["load", "--quiet", "--input", &archive]).ok()?;
        Ok(daemon)
    }

    fn answers(&mut self) -> Result<()> {
        until("dockerd answers", || {
            if let Some(status) = self.process.try_wait()? {
                bail!("dockerd ended, {status}:\n{}", self.log()?);
            }
            Ok(self.docker(&["version"]).run()?.code == 0)
        })
    }

    /// The end of what it has logged.
    fn log(&self) -> Result<String> {
        let text = fs::read_to_string(self.directory.join("log"))?;
        let lines: Vec<_> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// It dies without a chance to do anything, and is started again when `meanwhile` has been done.
    pub fn dies(&mut self, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        self.process.kill().and_then(|()| self.process.wait())?;
        meanwhile()?;
        self.process = spawn(&self.directory, &self.machine, &self.words)?;
        self.answers()
    }

    /// Gives it another daemon.json, which it reads without a restart.
    pub fn reload(&self, config: &str) -> Result<()> {
        fs::write(self.directory.join("daemon.json"), config)?;
        Call::new(["kill", "-HUP", &self.pid().to_string()]).ok().map(drop)
    }

    pub fn docker(&self, words: &[&str]) -> Call {
        let socket = format!("unix://{}/socket", self.directory.display());
        Call::new([client(), "--host".into(), socket])
            .args(words)
            .env("HOME", &self.directory.display().to_string())
    }

    /// `docker run --rm OPTION... IMAGE COMMAND...`
    pub fn run(&self, options: &[&str], command: &[&str]) -> Call {
        self.docker(&["run", "--rm"]).args(options).arg_image(command)
    }

    /// A container that stays, and has run `script`. Its id.
    pub fn service(&self, options: &[&str], name: &str, script: &str) -> Result<String> {
        let script = format!("{script}\necho ready; while :; do sleep 1000 & wait; done");
        let run = self.docker(&["run", "--detach", "--name", name]).args(options);
        let id = run.arg_image(&["sh", "-c", &script]).ok()?;
        until(&format!("{name} is ready"), || Ok(self.logs(name)?.contains("ready")))?;
        Ok(id)
    }

    /// What a container has written to its standard output.
    pub fn logs(&self, name: &str) -> Result<String> {
        self.docker(&["logs", name]).ok()
    }

    pub fn inspect(&self, name: &str, what: &str) -> Result<String> {
        self.docker(&["inspect", "--format", &format!("{{{{{what}}}}}"), name]).ok()
    }

    /// Waits until a field of `inspect` has this value.
    pub fn becomes(&self, name: &str, what: &str, value: &str) -> Result<()> {
        let mut is = String::new();
        let waited = until(&format!("{name} has {what} {value}"), || {
            is = self.inspect(name, what)?;
            Ok(is == value)
        });
        waited.with_context(|| format!("it has {is:?}"))
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        self.docker(&["rm", "--force", "--volumes", name]).ok().map(drop)
    }

    /// Removes all containers, best effort.
    pub fn reset(&self) {
        let all = self.docker(&["ps", "--all", "--quiet"]).ok().unwrap_or_default();
        for id in all.lines() {
            if let Err(error) = self.remove(id) {
                eprintln!("docker: {error:#}");
            }
        }
    }

    /// The calls of the `runc` that is first in its PATH.
    pub fn calls_of_runc_in_path(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.directory.join("calls")).unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        // Those of a failed test: they may outlive it.
        self.reset();
        let term = Call::new(["kill", "-TERM", &self.pid().to_string()]).ok();
        let ended = term
            .and_then(|_| until("dockerd has ended", || Ok(self.process.try_wait()?.is_some())));
        if let Err(error) = ended {
            eprintln!("dockerd does not stop: {error:#}");
        }
    }
}

/// That of the daemon's package; another one may come first in PATH.
fn client() -> String {
    let packaged = "/usr/bin/docker";
    if Path::new(packaged).is_file() { packaged.into() } else { "docker".into() }
}

fn spawn(directory: &Path, machine: &Machine, words: &[String]) -> Result<Child> {
    let driver = if machine.systemd { "systemd" } else { "cgroupfs" };
    let at = |name: &str| directory.join(name).display().to_string();
    let log = File::options().create(true).append(true).open(at("log"))?;
    let first = std::env::var("PATH").context("PATH")?;
    Command::new(&words[0])
        .args(&words[1..])
        .args(["--config-file", &at("daemon.json"), "--data-root", &at("root")])
        .args(["--exec-root", &at("exec"), "--pidfile", &at("pid")])
        .args(["--host", &format!("unix://{}", at("socket")), "--group", ""])
        .args(["--storage-driver", "overlay2", "--cgroup-parent", &machine.parent()])
        .args(["--exec-opt", &format!("native.cgroupdriver={driver}")])
        // Those that any machine can give.
        .args(["--default-ulimit", "nofile=1024:4096"])
        .env("PATH", format!("{}:{first}", at("path")))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("dockerd")
}

/// A `runc` for the daemon's PATH, as docs/engines has it, that notes its calls.
fn witness(directory: &Path, runtime: &str) -> Result<()> {
    let program = directory.join("path/runc");
    fs::create_dir_all(directory.join("path"))?;
    let calls = directory.join("calls");
    let script = format!("#!/bin/sh\necho \"$*\" >>{}\nexec {runtime} \"$@\"\n", calls.display());
    fs::write(&program, script)?;
    Ok(fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?)
}

/// The name of what is built.
pub const BUILT: &str = "localhost/built";

/// A directory with a Dockerfile: what its steps find is what they must find.
pub fn context(directory: &Path) -> Result<String> {
    let context = directory.join("context");
    fs::create_dir_all(&context)?;
    let steps = format!(
        "FROM {IMAGE}\nRUN echo built >/built && mkdir /made\nRUN test -s /built && test $$ = 1\n\
         USER nobody\nRUN ! touch /x\n"
    );
    fs::write(context.join("Dockerfile"), steps)?;
    Ok(context.display().to_string())
}

/// Whether the machine can filter packets, without which there is no bridge.
pub fn can_filter() -> bool {
    find("iptables").is_some()
        && Call::new(["iptables", "--table", "nat", "--list-rules"])
            .run()
            .is_ok_and(|output| output.code == 0)
}
