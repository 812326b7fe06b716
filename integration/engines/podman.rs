//! podman as root, with storage and settings of our own.

mod pods;

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::call::{Call, Lacks, Output, at_once, needs, until};
use crate::machine::{IMAGE, Machine, cgroup_file, has, needs_controllers};
use crate::{Engine, Test};

/// podman's global options, its settings, and where its cgroups go.
pub struct Podman {
    globals: Vec<String>,
    settings: String,
    machine: Machine,
    known: String,
}

/// Where podman 5 would say in each command that cgroup v1 is old.
pub const QUIET: (&str, &str) = ("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
/// That of ping(8), which podman 5 does not give.
pub const PING: &str = "--cap-add=NET_RAW";

/// containers.conf for both kinds of podman. The limits are those that any
/// machine can give; no journal is asked for; locks are files,
/// as those in shared memory belong to the machine's own podman too.
/// `json` are the runtimes whose errors podman reads from their JSON log.
pub fn settings(json: &str, systemd: bool) -> String {
    // podman asks for 2048 where nobody has said anything.
    let pids = if has("pids") { "" } else { "pids_limit = 0\n" };
    let manager = if systemd { "systemd" } else { "cgroupfs" };
    format!(
        r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
{pids}[engine]
cgroup_manager = "{manager}"
events_logger = "file"
lock_type = "file"
runtime_supports_json = [{json}]
[network]
network_backend = "netavark"
"#
    )
}

impl Engine for Podman {
    const NAME: &'static str = "podman";
    const NEEDS: &'static [&'static str] = &["podman", "conmon"];
    const TESTS: &'static [Test<Self>] = &[
        ("exit_code_and_output", exit_code_and_output),
        ("bridge_network", bridge_network),
        ("published_port", published_port),
        ("shared_network_of_a_pod", shared_network_of_a_pod),
        ("default_seccomp_profile", default_seccomp_profile),
        ("logs", logs),
        ("exec", exec),
        ("pause_and_unpause", pause_and_unpause),
        ("stop_and_kill", stop_and_kill),
        ("restart", restart),
        ("top_and_stats", top_and_stats),
        ("terminal", terminal),
        ("volumes", volumes),
        ("read_only", read_only),
        ("capabilities", capabilities),
        ("user", user),
        ("limits", limits),
        ("update_of_limits", update_of_limits),
        ("tmpfs_devices_and_sysctls", tmpfs_devices_and_sysctls),
        ("init_process", init_process),
        ("preserved_fds", preserved_fds),
        ("user_namespace", user_namespace),
        ("failing_commands_with_json_errors", failing_commands_with_json_errors),
        ("failing_commands_with_plain_errors", failing_commands_with_plain_errors),
        ("privileged", privileged),
        ("host_namespaces", host_namespaces),
        ("twenty_at_once", twenty_at_once),
        ("a_pod_is_one_for_its_containers", pods::a_pod_is_one_for_its_containers),
        ("kube_play_makes_what_a_manifest_says", pods::kube_play_makes_what_a_manifest_says),
        ("a_health_check_runs_in_the_container", pods::a_health_check_runs_in_the_container),
        ("systemd_finds_what_it_needs", pods::systemd_finds_what_it_needs),
        ("two_services_of_a_compose_file", pods::two_services_of_a_compose_file),
        ("documented_configuration", documented_configuration),
    ];

    fn start(machine: &Machine) -> Result<Self> {
        let directory = machine.directory("podman")?;
        let at = |name: &str| directory.join(name).display().to_string();
        let known = format!("\"crun\", \"runc\", {:?}", machine.runtime_name());
        let mut globals = vec!["podman".to_owned()];
        for (option, value) in [
            ("--root", at("root")),
            ("--runroot", at("run")),
            ("--tmpdir", at("tmp")),
            ("--storage-driver", "overlay".to_owned()),
            ("--runtime", machine.runtime()),
        ] {
            globals.extend([option.to_owned(), value]);
        }
        let settings = at("containers.conf");
        let engine = Self { globals, settings, machine: machine.clone(), known };
        engine.configure(&engine.known)?;
        engine
            .podman(&["load", "--quiet", "--input", &machine.archive.display().to_string()])
            .ok()?;
        // The first container makes what stays: the bridge, the packet filter's chains.
        engine.run(&[], &["true"]).ok()?;
        Ok(engine)
    }

    fn reset(&self) {
        for words in [["pod", "rm", "--force", "--all"].as_slice(), &["rm", "--force", "--all"]] {
            if let Err(error) = self.podman(words).ok() {
                eprintln!("podman: {error:#}");
            }
        }
    }
}

impl Podman {
    fn configure(&self, json: &str) -> Result<()> {
        let networks = self.settings.replace("containers.conf", "networks");
        let text = format!(
            "{}network_config_dir = \"{networks}\"\n",
            settings(json, self.machine.systemd)
        );
        Ok(fs::write(&self.settings, text)?)
    }

    fn podman(&self, words: &[&str]) -> Call {
        Call::new(self.globals.clone())
            .args(words)
            .env("CONTAINERS_CONF", &self.settings)
            .env(QUIET.0, QUIET.1)
    }

    /// `podman run --rm OPTION... IMAGE COMMAND...`
    fn run(&self, options: &[&str], command: &[&str]) -> Call {
        self.podman(&["run", "--rm", "--cgroup-parent", &self.machine.parent()])
            .args(options)
            .arg_image(command)
    }

    /// A container that stays, running `script` after it has said `ready`.
    fn service(&self, options: &[&str], name: &str, script: &str) -> Result<()> {
        let script = format!("{script}\necho ready; while :; do sleep 0.05; done");
        self.podman(&[
            "run",
            "--detach",
            "--cgroup-parent",
            &self.machine.parent(),
            "--name",
            name,
        ])
        .args(options)
        .arg_image(&["sh", "-c", &script])
        .ok()?;
        until(&format!("{name} is ready"), || Ok(self.logs(name)?.contains("ready")))
    }

    fn logs(&self, name: &str) -> Result<String> {
        self.podman(&["logs", name]).ok()
    }

    fn inspect(&self, name: &str, what: &str) -> Result<String> {
        self.podman(&["inspect", "--format", &format!("{{{{{what}}}}}"), name]).ok()
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.podman(&["rm", "--force", "--time", "0", name]).ok().map(drop)
    }
}

impl Call {
    /// The image, then the command in it.
    pub fn arg_image(self, command: &[&str]) -> Self {
        self.args(&[IMAGE]).args(command)
    }
}

/// The words of a message, whatever their case.
pub fn says(output: &Output, words: &str) -> bool {
    output.stderr.to_lowercase().contains(words)
}

/// Without --runtime, by the settings alone.
fn documented_configuration(engine: &Podman) -> Result<()> {
    let at = engine.globals.iter().position(|word| word == "--runtime").context("--runtime")?;
    let (before, after) = engine.globals.split_at(at);
    let settings = engine.settings.replace("containers.conf", "documented.conf");
    fs::write(&settings, crate::documents::podman(&after[1])?)?;
    let call = Call::new(before.iter().chain(&after[2..]).cloned()).args(&[
        "info",
        "--format",
        "{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}",
    ]);
    let told = call.env("CONTAINERS_CONF", &settings).ok()?;
    ensure!(told.trim() == format!("pinnace {}", after[1]), "{told}");
    Ok(())
}

fn exit_code_and_output(engine: &Podman) -> Result<()> {
    let output = engine.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]).run()?;
    ensure!((output.code, &*output.stdout, &*output.stderr) == (7, "out\n", "err\n"), "{output}");
    engine.run(&[], &["sh", "-c", "kill -KILL $$; sleep 1"]).ok()?; // pid 1 is immune to itself
    let input = engine.run(&["--interactive"], &["cat"]).input("/run/engines/image/manifest.json");
    ensure!(input.ok()?.contains("config.json"), "standard input does not arrive");
    Ok(())
}

fn bridge_network(engine: &Podman) -> Result<()> {
    let script = "ip -4 address show eth0 | grep -q 'inet 10[.]' || exit 1
        gateway=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')
        ping -c 1 -W 5 $gateway";
    let text = engine.run(&[PING], &["sh", "-c", script]).ok()?;
    ensure!(text.contains("1 packets received"), "{text}");
    Ok(())
}

fn published_port(engine: &Podman) -> Result<()> {
    engine.service(&["--publish", "18080:80"], "web", "echo hello >/index.html; httpd -h /")?;
    // The packet filter redirects what goes to an address of the host's, here the bridge's.
    let address = engine.inspect("web", ".NetworkSettings.Gateway")?;
    let url = format!("http://{address}:18080/");
    until("the server answers", || {
        Ok(Call::new(["busybox", "wget", "-qO-", &url]).run()?.stdout == "hello\n")
    })?;
    engine.remove("web")
}

/// The second container joins the namespaces of the first by path.
fn shared_network_of_a_pod(engine: &Podman) -> Result<()> {
    engine.service(&[], "first", "httpd -h /")?;
    let namespaces =
        ["--network", "container:first", "--ipc", "container:first", "--pid", "container:first"];
    let text =
        engine.run(&namespaces, &["sh", "-c", "wget -qO- http://127.0.0.1/etc/group; ps"]).ok()?;
    ensure!(text.starts_with("root:x:0:") && text.contains("httpd -h /"), "{text}");
    engine.remove("first")
}

fn default_seccomp_profile(engine: &Podman) -> Result<()> {
    let words = ["sh", "-c", "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; mkdir /tmp/x"];
    let text = engine.run(&[], &words).ok()?;
    ensure!(text == "NoNewPrivs:\t0\nSeccomp:\t2", "{text}");
    let options = ["--security-opt=seccomp=unconfined", "--security-opt=no-new-privileges"];
    let text = engine.run(&options, &words).ok()?;
    ensure!(text == "NoNewPrivs:\t1\nSeccomp:\t0", "{text}");

    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    fs::write("/run/engines/podman/profile.json", profile.to_string())?;
    let option = "--security-opt=seccomp=/run/engines/podman/profile.json";
    let output = engine.run(&[option], &words).run()?;
    ensure!(output.code == 1 && says(&output, "no space left on device"), "{output}");
    Ok(())
}

fn logs(engine: &Podman) -> Result<()> {
    engine.service(&[], "logs", "echo one; echo two >&2")?;
    let output = engine.podman(&["logs", "logs"]).run()?;
    ensure!(output.stdout == "one\nready\n" && output.stderr == "two\n", "{output}");
    engine.remove("logs")
}

fn exec(engine: &Podman) -> Result<()> {
    engine.service(&[], "exec", "")?;
    let id = engine.inspect("exec", ".Id")?;
    engine.machine.is_in_a_scope(&id, Call::new(["systemctl"]))?;
    let exec = |options: &[&str], words: &[&str]| {
        engine.podman(&["exec"]).args(options).args(&["exec"]).args(words)
    };
    exec(&[], &["sh", "-c", "exit 9"]).code(9)?;
    let options = ["--env", "A=b c", "--workdir", "/etc", "--user", "nobody"];
    let text = exec(&options, &["sh", "-c", "echo $A $PWD $(id -u)"]).ok()?;
    ensure!(text == "b c /etc 65534", "{text}");
    ensure!(
        exec(&[], &["ps"]).ok()?.contains("sh -c"),
        "the container's own process is not to be seen"
    );
    let missing = exec(&[], &["/nothing/here"]).run()?;
    ensure!(missing.code == 127 && says(&missing, "no such file or directory"), "{missing}");
    let denied = exec(&[], &["/etc/passwd"]).run()?;
    ensure!(denied.code == 126 && says(&denied, "permission denied"), "{denied}");
    let input = exec(&["--interactive"], &["cat"]).input("/run/engines/image/manifest.json");
    ensure!(input.ok()?.contains("config.json"), "standard input does not arrive");
    exec(&["--detach"], &["sh", "-c", "echo done >/tmp/done"]).ok()?;
    until("the detached command has run", || {
        Ok(exec(&[], &["test", "-s", "/tmp/done"]).run()?.code == 0)
    })?;
    engine.remove("exec")
}

fn pause_and_unpause(engine: &Podman) -> Result<()> {
    engine.service(&[], "pause", "")?;
    engine.podman(&["pause", "pause"]).ok()?;
    ensure!(engine.inspect("pause", ".State.Status")? == "paused", "it is not paused");
    let frozen =
        cgroup_file(&engine.machine.unique, "libpod-", &["freezer.state", "cgroup.freeze"])?;
    ensure!(["FROZEN", "1"].contains(&&*frozen), "the freezer says {frozen}");
    engine.podman(&["unpause", "pause"]).ok()?;
    engine.podman(&["exec", "pause", "true"]).ok()?;
    engine.remove("pause")
}

fn stop_and_kill(engine: &Podman) -> Result<()> {
    engine.service(&[], "stop", "trap 'exit 5' TERM; trap 'echo usr1' USR1")?;
    engine.podman(&["kill", "--signal", "USR1", "stop"]).ok()?;
    until("the signal has arrived", || Ok(engine.logs("stop")?.contains("usr1")))?;
    engine.podman(&["stop", "--time", "20", "stop"]).ok()?;
    ensure!(engine.inspect("stop", ".State.ExitCode")? == "5", "TERM was not handled");
    let again = engine.podman(&["kill", "stop"]).run()?;
    ensure!(again.code != 0, "{again}");
    engine.remove("stop")?;

    engine.service(&[], "kill", "")?;
    engine.podman(&["kill", "kill"]).ok()?;
    ensure!(engine.podman(&["wait", "kill"]).ok()? == "137", "it was not killed");
    engine.remove("kill")?;

    // Nothing handles TERM here: podman follows up with KILL.
    engine.service(&[], "stop2", "")?;
    engine.podman(&["stop", "--time", "1", "stop2"]).ok()?;
    ensure!(engine.inspect("stop2", ".State.ExitCode")? == "137", "it was not killed");
    engine.remove("stop2")
}

fn restart(engine: &Podman) -> Result<()> {
    engine.service(&[], "restart", "")?;
    engine.podman(&["restart", "--time", "0", "restart"]).ok()?;
    until("it has run twice", || Ok(engine.logs("restart")?.matches("ready").count() == 2))?;
    engine.remove("restart")
}

fn top_and_stats(engine: &Podman) -> Result<()> {
    engine.service(&[], "top", "")?;
    let list = engine.podman(&["top", "top", "pid", "user", "comm"]).ok()?;
    ensure!(list.lines().any(|line| line.starts_with("1 ") && line.ends_with("sh")), "{list}");
    let stats =
        engine.podman(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDS}}", "top"]).ok()?;
    ensure!(stats.starts_with("top "), "{stats}");
    engine.remove("top")
}

fn terminal(engine: &Podman) -> Result<()> {
    let words = ["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && tty && ls -l /dev/console"];
    let text = engine.run(&["--interactive", "--tty"], &words).on_a_terminal().ok()?;
    ensure!(text.contains("/dev/pts/0") && text.contains("/dev/console"), "{text}");
    engine.service(&["--tty"], "tty", "")?;
    let exec = engine.podman(&["exec", "--interactive", "--tty", "tty"]).args(&words[..2]);
    let text = exec.args(&["test -t 0 && tty; exit 4"]).on_a_terminal().code(4)?;
    ensure!(text.contains("/dev/pts/"), "{text}");
    engine.remove("tty")
}

fn volumes(engine: &Podman) -> Result<()> {
    let options = ["--volume", "/run/engines/image:/ro:ro", "--volume", "/run/engines/podman:/rw"];
    let script = "cat /ro/manifest.json && echo hello >/rw/hello && ! touch /ro/x";
    let output = engine.run(&options, &["sh", "-c", script]).run()?;
    ensure!(output.code == 0 && says(&output, "read-only file system"), "{output}");
    let hello = fs::read_to_string("/run/engines/podman/hello")?;
    ensure!(hello == "hello\n", "the volume holds {hello:?}");
    let named = ["--volume", "named:/data", "--mount", "type=tmpfs,dst=/scratch,tmpfs-size=1m"];
    engine
        .run(
            &named,
            &["sh", "-c", "echo kept >/data/file; ! dd if=/dev/zero of=/scratch/x bs=2M count=1"],
        )
        .ok()?;
    let text = engine.run(&named, &["cat", "/data/file"]).ok()?;
    ensure!(text == "kept", "{text}");
    engine.podman(&["volume", "rm", "named"]).ok().map(drop)
}

fn read_only(engine: &Podman) -> Result<()> {
    let script = "touch /tmp/x /run/x && ! touch /x && ! touch /proc/sys/kernel/hostname";
    let output = engine.run(&["--read-only"], &["sh", "-c", script]).run()?;
    ensure!(
        output.code == 0 && output.stderr.matches("Read-only file system").count() == 2,
        "{output}"
    );
    Ok(())
}

fn capabilities(engine: &Podman) -> Result<()> {
    let effective = |options: &[&str]| -> Result<u64> {
        let text = engine.run(options, &["grep", "CapEff", "/proc/self/status"]).ok()?;
        Ok(u64::from_str_radix(text.split_whitespace().last().unwrap_or_default(), 16)?)
    };
    let (chown, net_admin) = (1 << 0, 1 << 12);
    let default = effective(&[])?;
    ensure!(default & chown != 0 && default & net_admin == 0, "default is {default:x}");
    let dropped = effective(&["--cap-drop", "CHOWN", "--cap-add", "NET_ADMIN"])?;
    ensure!(dropped == default & !chown | net_admin, "{dropped:x} of {default:x}");
    let none = effective(&["--cap-drop", "ALL"])?;
    ensure!(none == 0, "{none:x} with all of them dropped");
    Ok(())
}

fn user(engine: &Podman) -> Result<()> {
    let options = ["--user", "1234:5678", "--group-add", "99"];
    let script = "id -u; id -g; id -G; cat /etc/private";
    let output =
        engine.run(&options, &["sh", "-c", &format!("chmod 600 /etc/private; {script}")]).run()?;
    ensure!(output.stdout.starts_with("1234\n5678\n"), "{output}");
    ensure!(output.stdout.contains("99"), "{output}");
    let text = engine.run(&["--user", "nobody"], &["grep", "CapEff", "/proc/self/status"]).ok()?;
    ensure!(text.ends_with("\t0000000000000000"), "{text}");
    Ok(())
}

fn limits(engine: &Podman) -> Result<()> {
    needs_controllers()?;
    let options = ["--memory", "32m", "--pids-limit", "20", "--cpus", "0.5", "--cpuset-cpus", "0"];
    engine.service(&options, "limits", "")?;
    let file = |names: &[&str]| cgroup_file(&engine.machine.unique, "libpod-", names);
    for (names, wanted) in [
        (["memory.limit_in_bytes", "memory.max"], vec!["33554432"]),
        (["pids.max", "pids.max"], vec!["20"]),
        (["cpu.cfs_quota_us", "cpu.max"], vec!["50000", "50000 100000"]),
        (["cpuset.cpus", "cpuset.cpus"], vec!["0"]),
    ] {
        let value = file(&names)?;
        ensure!(wanted.contains(&&*value), "{} is {value}", names[1]);
    }
    engine.remove("limits")?;
    let hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    engine.run(&["--memory", "16m"], &hog).code(137)?;
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done";
    let forks = engine.run(&["--pids-limit", "4"], &["sh", "-c", script]).run()?;
    ensure!(forks.code != 0 && says(&forks, "can't fork"), "{forks}");
    Ok(())
}

fn update_of_limits(engine: &Podman) -> Result<()> {
    let help = engine.podman(&["update", "--help"]).run()?;
    if help.code != 0 {
        return Err(Lacks("this podman has no `update` (4.3 has)").into());
    }
    needs_controllers()?;
    engine.service(&["--memory", "64m"], "update", "")?;
    engine.podman(&["update", "--memory", "32m", "update"]).ok()?;
    let memory =
        cgroup_file(&engine.machine.unique, "libpod-", &["memory.limit_in_bytes", "memory.max"])?;
    ensure!(memory == "33554432", "the memory limit is {memory}");
    engine.remove("update")
}

fn tmpfs_devices_and_sysctls(engine: &Podman) -> Result<()> {
    let options = [
        "--tmpfs=/scratch:size=1m,mode=700",
        "--device=/dev/kmsg:/dev/messages:r",
        "--sysctl=net.ipv4.ip_default_ttl=42",
        "--hostname=here",
        "--shm-size=2m",
        "--ulimit=nofile=100:200",
        "--ulimit=nproc=300:400",
        "--oom-score-adj=500",
    ];
    let script = "stat -c %a /scratch; stat -c %t,%T /dev/messages; cat /proc/sys/net/ipv4/ip_default_ttl
        hostname; df -k /dev/shm | tail -n 1 | awk '{print $2}'; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj";
    let text = engine.run(&options, &["sh", "-c", script]).ok()?;
    ensure!(text == "700\n1,b\n42\nhere\n2048\n100\n200\n500", "{text}");
    Ok(())
}

fn init_process(engine: &Podman) -> Result<()> {
    needs("catatonit")?;
    let text = engine.run(&["--init"], &["cat", "/proc/1/cmdline"]).ok()?;
    ensure!(text.contains("init"), "pid 1 is {text}");
    Ok(())
}

fn preserved_fds(engine: &Podman) -> Result<()> {
    let run = engine.run(&["--preserve-fds", "1"], &["sh", "-c", "cat <&3"]);
    let words = run.with_fd_3("/run/engines/image/manifest.json");
    ensure!(words.ok()?.contains("config.json"), "fd 3 does not arrive");
    Ok(())
}

fn user_namespace(engine: &Podman) -> Result<()> {
    let maps = ["--uidmap", "0:200000:65536", "--gidmap", "0:300000:65536"];
    let script = "cat /proc/self/uid_map /proc/self/gid_map; touch /x && stat -c %u:%g /x; mount | grep -c ' /proc '";
    let text = engine.run(&maps, &["sh", "-c", script]).ok()?;
    let words: Vec<_> = text.split_whitespace().collect();
    ensure!(words == ["0", "200000", "65536", "0", "300000", "65536", "0:0", "1"], "{text}");
    Ok(())
}

fn failing_commands(engine: &Podman) -> Result<()> {
    for (command, code, words) in [
        ("/nothing/here", 127, "no such file or directory"),
        ("nothing-here", 127, "not found in $path"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, "permission denied"),
    ] {
        let output = engine.run(&[], &[command]).run()?;
        // A directory is either of two errors, by the runtime's order of looking.
        let directory = command == "/etc" && says(&output, "is a directory");
        ensure!(directory || says(&output, words), "expected {words:?}:\n{output}");
        ensure!(output.code == code, "expected exit code {code}:\n{output}");
    }
    let output = engine.run(&["--workdir", "/nothing/here"], &["true"]).run()?;
    ensure!([126, 127].contains(&output.code), "{output}");
    Ok(())
}

fn failing_commands_with_json_errors(engine: &Podman) -> Result<()> {
    failing_commands(engine)
}

/// podman does not know a new runtime's name: conmon reads its standard error then.
fn failing_commands_with_plain_errors(engine: &Podman) -> Result<()> {
    if engine.machine.runtime_name() == "runc" && !has("memory") {
        return Err(
            Lacks("runc warns of memory.events, and podman takes that for the error").into()
        );
    }
    engine.configure("\"none\"")?;
    let outcome = failing_commands(engine);
    engine.configure(&engine.known)?;
    outcome
}

fn privileged(engine: &Podman) -> Result<()> {
    let script =
        "grep -q 'Seccomp:.*0' /proc/self/status && mount -t tmpfs none /tmp && test -e /dev/kmsg";
    engine.run(&["--privileged"], &["sh", "-c", script]).ok().map(drop)
}

fn host_namespaces(engine: &Podman) -> Result<()> {
    let options = ["--network=host", "--pid=host", "--ipc=host", "--uts=host", "--cgroupns=host"];
    let script = "for name in net pid ipc uts cgroup; do readlink /proc/self/ns/$name; done";
    let words = ["sh", "-c", script];
    let inside = engine.run(&options, &words).ok()?;
    let outside = Call::new(words).ok()?;
    ensure!(inside == outside, "inside:\n{inside}\noutside:\n{outside}");
    Ok(())
}

fn twenty_at_once(engine: &Podman) -> Result<()> {
    at_once(20, |n| {
        // The bridge has the lowest address of its ports: while they come and go a packet may be lost.
        let script = format!(
            "until ping -c 1 -W 1 10.88.0.1 >/dev/null; do :; done; echo {n}; exit {}",
            n + 1
        );
        let text = engine.run(&[PING], &["sh", "-c", &script]).code(n as i32 + 1)?;
        ensure!(text == n.to_string(), "container {n} printed {text:?}");
        Ok(())
    })
}
