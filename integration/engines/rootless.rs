//! podman as an unprivileged user. Limits need a delegated cgroup, which a host
//! with cgroup v1 cannot give: here they are not asked for. Under systemd the
//! user has one, by a systemd of its own.

use std::fs;

use anyhow::{Result, ensure};

use crate::call::{Call, at_once, needs, until};
use crate::machine::{Machine, USER};
use crate::podman::{PING, QUIET, says, settings};
use crate::{Engine, Test};

const HOME: &str = "/run/engines/user";

/// The systemd that makes its cgroups, as hack/systemd has it for any user.
const MANAGER: &str = "user@61234.service";

pub struct Rootless {
    machine: Machine,
}

impl Engine for Rootless {
    const NAME: &'static str = "rootless";
    const NEEDS: &'static [&'static str] = &["podman", "conmon", "newuidmap", "setpriv"];
    const TESTS: &'static [Test<Self>] = &[
        ("exit_code_and_output", exit_code_and_output),
        ("identity", identity),
        ("network", network),
        ("exec_logs_and_stop", exec_logs_and_stop),
        ("terminal", terminal),
        ("options", options),
        ("keep_id", keep_id),
        ("failing_commands", failing_commands),
        ("ten_at_once", ten_at_once),
    ];

    fn start(machine: &Machine) -> Result<Self> {
        let settings_file = format!("{HOME}/containers.conf");
        let known = format!("\"crun\", \"runc\", {:?}", machine.runtime_name());
        fs::write(&settings_file, settings(&known, machine.systemd))?;
        if machine.systemd {
            Call::new(["systemctl", "start", MANAGER]).ok()?;
        }
        let engine = Self { machine: machine.clone() };
        engine
            .podman(&["load", "--quiet", "--input", &machine.archive.display().to_string()])
            .ok()?;
        engine.run(&[], &["true"]).ok()?;
        Ok(engine)
    }

    fn reset(&self) {
        if let Err(error) = self.podman(&["rm", "--force", "--all"]).ok() {
            eprintln!("podman: {error:#}");
        }
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        if self.machine.systemd
            && let Err(error) = Call::new(["systemctl", "stop", MANAGER]).ok()
        {
            eprintln!("{MANAGER} does not stop: {error:#}");
        }
    }
}

impl Rootless {
    fn podman(&self, words: &[&str]) -> Call {
        self.program("podman").args(&["--runtime", &self.machine.runtime()]).args(words)
    }

    /// A program, run by the user.
    fn program(&self, name: &str) -> Call {
        let id = USER;
        Call::new(["setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--inh-caps=-all"])
            .args(&["env", "--chdir", HOME, name])
            .env("HOME", HOME)
            .env("USER", "engines")
            .env("XDG_RUNTIME_DIR", &format!("/run/user/{id}"))
            .env("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path=/run/user/{id}/bus"))
            .env("CONTAINERS_CONF", &format!("{HOME}/containers.conf"))
            .env(QUIET.0, QUIET.1)
    }

    /// `podman run --rm OPTION... IMAGE COMMAND...`, by default without a network.
    fn run(&self, options: &[&str], command: &[&str]) -> Call {
        let network: &[&str] = if options.iter().any(|word| word.starts_with("--network")) {
            &[]
        } else {
            &["--network=none"]
        };
        self.podman(&["run", "--rm"]).args(network).args(options).arg_image(command)
    }
}

fn exit_code_and_output(engine: &Rootless) -> Result<()> {
    let output = engine.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]).run()?;
    ensure!((output.code, &*output.stdout) == (7, "out\n"), "{output}");
    ensure!(output.stderr.contains("err\n"), "{output}");
    Ok(())
}

fn identity(engine: &Rootless) -> Result<()> {
    let script = "id -u; id -g; cat /proc/self/uid_map; touch /x && stat -c %u /x; grep Seccomp: /proc/self/status";
    let text = engine.run(&[], &["sh", "-c", script]).ok()?;
    let words: Vec<_> = text.split_whitespace().collect();
    let wanted = ["0", "0", "0", USER, "1", "1", "2000000000", "65536", "0", "Seccomp:", "2"];
    ensure!(words == wanted, "{text}");
    Ok(())
}

fn network(engine: &Rootless) -> Result<()> {
    needs("slirp4netns")?;
    let script = "ip -4 address show tap0 | grep -q 'inet 10.0.2.100' && ping -c 1 -W 5 10.0.2.2";
    let text = engine.run(&["--network=slirp4netns", PING], &["sh", "-c", script]).ok()?;
    ensure!(text.contains("1 packets received"), "{text}");
    Ok(())
}

fn exec_logs_and_stop(engine: &Rootless) -> Result<()> {
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    engine
        .podman(&["run", "--detach", "--network=none", "--name", "service"])
        .arg_image(&["sh", "-c", script])
        .ok()?;
    until("it is ready", || Ok(engine.podman(&["logs", "service"]).ok()? == "ready"))?;
    if engine.machine.systemd {
        let id = engine.podman(&["inspect", "--format", "{{.Id}}", "service"]).ok()?;
        engine.machine.is_in_a_scope(&id, engine.program("systemctl").args(&["--user"]))?;
    }
    engine.podman(&["exec", "service", "sh", "-c", "exit 9"]).code(9)?;
    let user = engine.podman(&["exec", "--user", "nobody", "service", "id", "-u"]).ok()?;
    ensure!(user == "65534", "exec ran as {user}");
    let list = engine.podman(&["top", "service", "pid", "comm"]).ok()?;
    ensure!(list.contains("sh"), "{list}");
    engine.podman(&["stop", "--time", "20", "service"]).ok()?;
    let code = engine.podman(&["inspect", "--format", "{{.State.ExitCode}}", "service"]).ok()?;
    ensure!(code == "5", "TERM was not handled: {code}");
    engine.podman(&["rm", "service"]).ok().map(drop)
}

fn terminal(engine: &Rootless) -> Result<()> {
    let words = ["sh", "-c", "test -t 0 && tty"];
    let text = engine.run(&["--interactive", "--tty"], &words).on_a_terminal().ok()?;
    ensure!(text.contains("/dev/pts/0"), "{text}");
    Ok(())
}

fn options(engine: &Rootless) -> Result<()> {
    let options = [
        "--volume=/run/engines/image:/mnt:ro",
        "--read-only",
        "--cap-drop=ALL",
        "--user=1234",
        "--hostname=here",
        "--tmpfs=/scratch",
    ];
    let script = "cat /mnt/manifest.json && ! touch /mnt/x && ! touch /x && id -u && hostname && touch /scratch/x";
    let output = engine.run(&options, &["sh", "-c", script]).run()?;
    ensure!(output.code == 0 && output.stdout.ends_with("1234\nhere\n"), "{output}");
    ensure!(says(&output, "read-only file system"), "{output}");
    Ok(())
}

fn keep_id(engine: &Rootless) -> Result<()> {
    let text = engine.run(&["--userns=keep-id"], &["id", "-u"]).ok()?;
    ensure!(text == USER, "id is {text}");
    Ok(())
}

fn failing_commands(engine: &Rootless) -> Result<()> {
    for (command, code, words) in [
        ("/nothing/here", 127, "no such file or directory"),
        ("nothing-here", 127, "not found in $path"),
        ("/etc/passwd", 126, "permission denied"),
    ] {
        let output = engine.run(&[], &[command]).run()?;
        ensure!(
            output.code == code && says(&output, words),
            "expected {code} and {words:?}:\n{output}"
        );
    }
    Ok(())
}

fn ten_at_once(engine: &Rootless) -> Result<()> {
    at_once(10, |n| {
        let text = engine
            .run(&[], &["sh", "-c", &format!("echo {n}; exit {}", n + 1)])
            .code(n as i32 + 1)?;
        ensure!(text == n.to_string(), "container {n} printed {text:?}");
        Ok(())
    })
}
