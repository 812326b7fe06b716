//! containerd, driven by `ctr`, with a daemon of our own.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::call::{Call, at_once, until};
use crate::leftovers::process;
use crate::machine::{IMAGE, Machine, cgroup_file, has, needs_controllers};
use crate::podman::says;
use crate::{Engine, Test};

const SOCKET: &str = "/run/engines/containerd/socket";

/// A running daemon; our containerd namespace is `unique`.
pub struct Containerd {
    daemon: Child,
    directory: PathBuf,
    machine: Machine,
}

impl Engine for Containerd {
    const NAME: &'static str = "containerd";
    const NEEDS: &'static [&'static str] = &["containerd", "ctr", "containerd-shim-runc-v2"];
    const TESTS: &'static [Test<Self>] = &[
        ("exit_code_and_output", exit_code_and_output),
        ("exec", exec),
        ("kill_and_delete", kill_and_delete),
        ("a_handled_signal", a_handled_signal),
        ("terminal", terminal),
        ("limits", limits),
        ("pause_and_resume", pause_and_resume),
        ("ps", ps),
        ("options", options),
        ("user_namespace", user_namespace),
        ("default_seccomp_profile", default_seccomp_profile),
        ("missing_command", missing_command),
        ("out_of_memory", out_of_memory),
        ("killed_shim", killed_shim),
        ("twenty_at_once", twenty_at_once),
        ("documented_configuration", documented_configuration),
    ];

    fn start(machine: &Machine) -> Result<Self> {
        let directory = machine.directory("containerd")?;
        let config = directory.join("config.toml");
        // The images of a Kubernetes node, and what needs a network, are not wanted here.
        fs::write(
            &config,
            format!(
                "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{SOCKET}\"\n",
                directory.display()
            ),
        )?;
        let log = File::create(directory.join("log"))?;
        // With users mapped, ctr 1.6 forgets the program that it is told, and the shim takes `runc`.
        fs::create_dir_all(directory.join("path"))?;
        symlink(&machine.runtime, directory.join("path/runc"))?;
        let first = std::env::var("PATH").context("PATH")?;
        let daemon = Command::new("containerd")
            .env("PATH", format!("{}/path:{first}", directory.display()))
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("containerd")?;
        let engine = Self { daemon, directory, machine: machine.clone() };
        until("containerd answers", || Ok(engine.ctr(&["version"]).run()?.code == 0))?;
        engine.ctr(&["image", "import", &machine.archive.display().to_string()]).ok()?;
        Ok(engine)
    }

    fn reset(&self) {
        for id in self.ctr(&["container", "ls", "--quiet"]).ok().unwrap_or_default().lines() {
            // Best effort: what is half there may answer to only one of them.
            for words in
                [["task", "delete", "--force", id].as_slice(), &["container", "delete", id]]
            {
                if let Err(error) = self.ctr(words).ok() {
                    eprintln!("containerd: {error:#}");
                }
            }
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Err(error) = self.daemon.kill().and_then(|()| self.daemon.wait()) {
            eprintln!("containerd does not stop: {error}");
        }
    }
}

impl Containerd {
    fn ctr(&self, words: &[&str]) -> Call {
        Call::new(["ctr", "--address", SOCKET, "--namespace", &self.machine.unique]).args(words)
    }

    /// `ctr run OPTION... IMAGE ID COMMAND...`
    fn run(&self, options: &[&str], id: &str, command: &[&str]) -> Call {
        let mut run = self.ctr(&["run", "--runc-binary", &self.machine.runtime()]);
        if self.machine.systemd {
            let path = format!("{}:ctr:{id}", self.machine.unique);
            run = run.args(&["--runc-systemd-cgroup", "--cgroup", &path]);
        }
        // ctr asks for the default of 1024 where nobody has said anything.
        if !has("cpu") {
            run = run.args(&["--cpu-shares", "0"]);
        }
        run.args(options).args(&[IMAGE, id]).args(command)
    }

    fn service(&self, options: &[&str], id: &str) -> Result<()> {
        self.run(&[&["--detach"], options].concat(), id, &["sleep", "1000"]).ok().map(drop)
    }

    fn status(&self, id: &str) -> Result<String> {
        let list = self.ctr(&["task", "ls"]).ok()?;
        let words = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        Ok(words.into_iter().find(|w| w.first() == Some(&id)).map_or("", |w| w[2]).to_owned())
    }

    fn becomes(&self, id: &str, status: &str) -> Result<()> {
        until(&format!("{id} is {status}"), || Ok(self.status(id)? == status))
    }

    /// Kills it and deletes it, step by step.
    fn end(&self, id: &str) -> Result<()> {
        self.ctr(&["task", "kill", "--signal", "SIGKILL", id]).ok()?;
        self.becomes(id, "STOPPED")?;
        self.delete(id, 137)
    }

    /// Deletes what has stopped, which must have ended with this code.
    fn delete(&self, id: &str, code: i32) -> Result<()> {
        let output = self.ctr(&["task", "delete", id]).run()?;
        let words = format!("exit with non-zero exit code {code}\"");
        ensure!(output.code == 0 && output.stderr.contains(&words), "expected {code}:\n{output}");
        self.ctr(&["container", "delete", id]).ok().map(drop)
    }
}

fn documented_configuration(engine: &Containerd) -> Result<()> {
    crate::documents::containerd(&engine.directory)
}

fn exit_code_and_output(engine: &Containerd) -> Result<()> {
    let output =
        engine.run(&["--rm"], "code", &["sh", "-c", "echo out; echo err >&2; exit 7"]).run()?;
    ensure!((output.code, &*output.stdout, &*output.stderr) == (7, "out\n", "err\n"), "{output}");
    Ok(())
}

fn exec(engine: &Containerd) -> Result<()> {
    engine.service(&[], "exec")?;
    engine.machine.is_in_a_scope("exec", Call::new(["systemctl"]))?;
    let exec =
        |id, words: &[&str]| engine.ctr(&["task", "exec", "--exec-id", id, "exec"]).args(words);
    let processes = exec("a", &["ps"]).ok()?;
    ensure!(processes.contains("sleep 1000") && processes.lines().count() == 3, "{processes}");
    exec("b", &["sh", "-c", "exit 9"]).code(9)?;
    let output = exec("c", &["/nothing/here"]).run()?;
    ensure!(output.code != 0 && says(&output, "no such file"), "{output}");
    engine.end("exec")
}

fn kill_and_delete(engine: &Containerd) -> Result<()> {
    engine.service(&[], "kill")?;
    let refused = engine.ctr(&["task", "delete", "kill"]).run()?;
    ensure!(refused.code != 0 && engine.status("kill")? == "RUNNING", "{refused}");
    engine.end("kill")?;
    engine.service(&[], "force")?;
    engine.ctr(&["task", "delete", "--force", "force"]).run()?;
    engine.ctr(&["container", "delete", "force"]).ok()?;
    let unknown = engine.ctr(&["task", "kill", "force"]).run()?;
    ensure!(unknown.code != 0 && unknown.stderr.contains("not found"), "{unknown}");
    Ok(())
}

fn a_handled_signal(engine: &Containerd) -> Result<()> {
    let script = "trap 'exit 5' TERM; while :; do sleep 0.02; done";
    engine.run(&["--detach"], "term", &["sh", "-c", script]).ok()?;
    // The trap may not be set yet when the first signal comes; without it, pid 1 ignores TERM.
    until("term has stopped", || {
        engine.ctr(&["task", "kill", "--signal", "SIGTERM", "term"]).run()?;
        Ok(engine.status("term")? == "STOPPED")
    })?;
    engine.delete("term", 5)
}

fn terminal(engine: &Containerd) -> Result<()> {
    let words = ["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && tty"];
    let text = engine.run(&["--rm", "--tty"], "tty", &words).on_a_terminal().ok()?;
    ensure!(text.contains("/dev/"), "tty printed {text:?}");
    engine.service(&[], "tty2")?;
    let exec = ["task", "exec", "--tty", "--exec-id", "a", "tty2"];
    let text = engine.ctr(&exec).args(&words).on_a_terminal().ok()?;
    ensure!(text.contains("/dev/"), "tty printed {text:?}");
    engine.end("tty2")
}

fn limits(engine: &Containerd) -> Result<()> {
    needs_controllers()?;
    let options = ["--memory-limit", "33554432", "--cpu-quota", "50000", "--cpu-period", "100000"];
    engine.service(&[&options[..], &["--cpu-shares", "512"]].concat(), "limits")?;
    let file = |names: &[&str]| cgroup_file(&engine.machine.unique, "limits", names);
    let memory = file(&["memory.limit_in_bytes", "memory.max"])?;
    ensure!(memory == "33554432", "memory limit is {memory}");
    let cpu = file(&["cpu.cfs_quota_us", "cpu.max"])?;
    ensure!(cpu == "50000" || cpu == "50000 100000", "cpu limit is {cpu}");
    let shares = file(&["cpu.shares", "cpu.weight"])?;
    // Two conversions to v2's weight are in use: runc's first one and that of 2025.
    ensure!(["512", "20", "59"].contains(&&*shares), "cpu shares are {shares}");
    engine.end("limits")
}

fn pause_and_resume(engine: &Containerd) -> Result<()> {
    engine.service(&[], "pause")?;
    engine.ctr(&["task", "pause", "pause"]).ok()?;
    engine.becomes("pause", "PAUSED")?;
    engine.ctr(&["task", "resume", "pause"]).ok()?;
    engine.becomes("pause", "RUNNING")?;
    engine.end("pause")
}

fn ps(engine: &Containerd) -> Result<()> {
    engine.service(&[], "ps")?;
    let list = engine.ctr(&["task", "ps", "ps"]).ok()?;
    ensure!(list.lines().count() == 2, "one process expected:\n{list}");
    engine.end("ps")
}

fn options(engine: &Containerd) -> Result<()> {
    let mount = "type=bind,src=/run/engines/image,dst=/mnt,options=rbind:ro";
    let options = ["--rm", "--read-only", "--env", "A=b c", "--cwd", "/etc", "--mount", mount];
    let script = "echo $A $PWD; touch /x /mnt/x; hostname; cat /proc/sys/kernel/ngroups_max; ls /sys/class/net";
    let output = engine.run(&options, "options", &["sh", "-c", script]).run()?;
    ensure!(output.stdout.starts_with("b c /etc\n"), "{output}");
    ensure!(output.stderr.matches("Read-only file system").count() == 2, "{output}");
    let net = ["--rm", "--net-host", "--cap-drop", "CAP_CHOWN"];
    let text = engine.run(&net, "caps", &["grep", "CapEff", "/proc/self/status"]).ok()?;
    ensure!(text.ends_with('a'), "CAP_CHOWN is still there: {text}");
    Ok(())
}

fn user_namespace(engine: &Containerd) -> Result<()> {
    let options = ["--rm", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"];
    let text = engine.run(&options, "userns", &["cat", "/proc/self/uid_map"]).ok()?;
    let words: Vec<_> = text.split_whitespace().collect();
    ensure!(words == ["0", "100000", "65536"], "uid_map is {text}");
    Ok(())
}

fn default_seccomp_profile(engine: &Containerd) -> Result<()> {
    let words = ["sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true"];
    let output = engine.run(&["--rm", "--seccomp"], "seccomp", &words).run()?;
    ensure!(output.stdout.contains("Seccomp:\t2") && output.code == 1, "{output}");
    ensure!(output.stderr.contains("Operation not permitted"), "{output}");
    Ok(())
}

fn missing_command(engine: &Containerd) -> Result<()> {
    for (id, command, words) in [
        ("missing", "/nothing/here", "no such file or directory"),
        ("unknown", "nothing-here", "not found in $path"),
        ("denied", "/etc/passwd", "permission denied"),
    ] {
        let output = engine.run(&["--rm"], id, &[command]).run()?;
        ensure!(output.code != 0 && says(&output, words), "expected {words:?}:\n{output}");
        // `run --rm` of a failed create leaves the record of it in containerd.
        engine.ctr(&["container", "delete", id]).run()?;
    }
    Ok(())
}

fn out_of_memory(engine: &Containerd) -> Result<()> {
    needs_controllers()?;
    let hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    engine.run(&["--rm", "--memory-limit", "16777216"], "oom", &hog).code(137).map(drop)
}

/// containerd cleans up after a shim by `delete --force`, with a container that still runs.
fn killed_shim(engine: &Containerd) -> Result<()> {
    engine.service(&[], "orphan")?;
    let shim = process("containerd-shim-runc-v2", &["-id", "orphan"])?;
    Call::new(["kill", "-KILL", &shim.to_string()]).ok()?;
    until("the task is gone", || Ok(matches!(&*engine.status("orphan")?, "" | "STOPPED")))?;
    engine.ctr(&["task", "delete", "--force", "orphan"]).run()?;
    until("the container is gone", || {
        Ok(engine.ctr(&["container", "delete", "orphan"]).run()?.code == 0)
    })
}

fn twenty_at_once(engine: &Containerd) -> Result<()> {
    at_once(20, |n| {
        let id = format!("many{n}");
        let script = format!("echo {n}; exit {}", n + 1);
        let text = engine.run(&["--rm"], &id, &["sh", "-c", &script]).code(n as i32 + 1)?;
        ensure!(text == n.to_string(), "container {n} printed {text:?}");
        Ok(())
    })
}
