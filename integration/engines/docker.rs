//! Docker, with daemons of our own: one for most tests, of which the runtime is
//! the default as docs/engines has it, and others for what ends a daemon.

mod daemon;
mod daemons;

use std::fs;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

use crate::call::{Call, Lacks, at_once, until};
use crate::documents;
use crate::machine::{Machine, cgroup_file};
use crate::podman::says;
use crate::{Engine, Test};
use daemon::{Daemon, can_filter};

/// The first daemon, and what the others are made with.
pub struct Docker {
    daemon: Daemon,
    machine: Machine,
    bridge: bool,
}

impl Engine for Docker {
    const NAME: &'static str = "docker";
    const NEEDS: &'static [&'static str] = &["dockerd", "docker", "containerd-shim-runc-v2"];
    const TESTS: &'static [Test<Self>] = &[
        ("run_passes_streams_and_the_exit_code", run_passes_streams_and_the_exit_code),
        ("a_terminal_has_the_size_of_the_callers", a_terminal_has_the_size_of_the_callers),
        ("exec_runs_in_the_container", exec_runs_in_the_container),
        ("an_exec_that_fails_makes_nothing", an_exec_that_fails_makes_nothing),
        ("stop_sends_term_before_kill", stop_sends_term_before_kill),
        ("what_fails_is_restarted_as_often_as_asked", what_fails_is_restarted_as_often_as_asked),
        ("pause_freezes_until_unpause", pause_freezes_until_unpause),
        ("limits_are_those_of_the_cgroup", limits_are_those_of_the_cgroup),
        ("update_changes_what_is_named_alone", update_changes_what_is_named_alone),
        ("out_of_memory_is_told", out_of_memory_is_told),
        (
            "events_and_stats_are_those_of_the_container",
            events_and_stats_are_those_of_the_container,
        ),
        ("a_health_check_runs_in_the_container", a_health_check_runs_in_the_container),
        ("an_init_reaps_orphans", an_init_reaps_orphans),
        ("a_device_has_the_name_and_the_access_asked", a_device_has_the_name_and_the_access_asked),
        ("kernel_settings_are_the_containers_own", kernel_settings_are_the_containers_own),
        ("capabilities_are_added_and_dropped", capabilities_are_added_and_dropped),
        ("the_default_seccomp_profile_holds", the_default_seccomp_profile_holds),
        ("what_is_privileged_says_nothing_of_its_own", what_is_privileged_says_nothing_of_its_own),
        ("a_read_only_root_has_writable_volumes", a_read_only_root_has_writable_volumes),
        ("a_file_upon_a_directory_has_dockers_advice", a_file_upon_a_directory_has_dockers_advice),
        ("exit_codes_tell_who_failed", exit_codes_tell_who_failed),
        ("networks_are_none_the_hosts_or_anothers", networks_are_none_the_hosts_or_anothers),
        ("a_bridge_publishes_ports_and_knows_names", a_bridge_publishes_ports_and_knows_names),
        (
            "a_classic_build_runs_by_the_default_runtime",
            daemons::a_classic_build_runs_by_the_default_runtime,
        ),
        (
            "a_build_of_buildkit_runs_by_the_runc_in_path",
            daemons::a_build_of_buildkit_runs_by_the_runc_in_path,
        ),
        (
            "a_reload_adds_a_runtime_and_users_are_remapped",
            daemons::a_reload_adds_a_runtime_and_users_are_remapped,
        ),
        ("containers_outlive_a_daemon_that_dies", daemons::containers_outlive_a_daemon_that_dies),
        ("two_services_of_a_compose_file", daemons::two_services_of_a_compose_file),
        ("documented_configuration", daemons::documented_configuration),
        ("thirty_at_once", thirty_at_once),
    ];

    fn start(machine: &Machine) -> Result<Self> {
        let bridge = can_filter();
        let options: &[&str] = if bridge {
            &["--bip=172.31.255.1/24"]
        } else {
            &["--bridge=none", "--iptables=false"]
        };
        let config = documents::docker(documents::DEFAULT, &machine.runtime())?;
        let daemon = Daemon::start(machine, "docker", &config, options)?;
        // The first containers make what stays.
        for network in ["none", "host", if bridge { "bridge" } else { "none" }] {
            daemon.run(&["--network", network], &["true"]).ok()?;
        }
        Ok(Self { daemon, machine: machine.clone(), bridge })
    }

    fn reset(&self) {
        self.daemon.reset();
    }
}

impl Docker {
    /// Most tests have nothing to do with a network, which takes its time to make.
    fn run(&self, options: &[&str], command: &[&str]) -> Call {
        self.daemon.run(&[&["--network=none"], options].concat(), command)
    }

    fn service(&self, options: &[&str], name: &str, script: &str) -> Result<String> {
        self.daemon.service(&[&["--network=none"], options].concat(), name, script)
    }

    /// Skips where Docker finds no controllers, and drops the limits with a warning.
    fn needs_limits(&self) -> Result<()> {
        let what = "{{.MemoryLimit}} {{.PidsLimit}}";
        let found = self.daemon.docker(&["info", "--format", what]).ok()?;
        if found == "true true" {
            return Ok(());
        }
        Err(Lacks("the machine's cgroups have no controllers").into())
    }

    /// Skips what a runtime of the machine is known not to do.
    fn not_by(&self, runtimes: &[&str], why: &'static str) -> Result<()> {
        if runtimes.contains(&&*self.machine.runtime_name()) {
            return Err(Lacks(why).into());
        }
        Ok(())
    }

    fn cgroup(&self, id: &str, names: [&str; 2]) -> Result<String> {
        cgroup_file(&self.machine.unique, id, &names)
    }
}

const MEMORY: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
const RESERVATION: [&str; 2] = ["memory.soft_limit_in_bytes", "memory.low"];
const SHARES: [&str; 2] = ["cpu.shares", "cpu.weight"];
const QUOTA: [&str; 2] = ["cpu.cfs_quota_us", "cpu.max"];
const PIDS: [&str; 2] = ["pids.max", "pids.max"];
const FREEZER: [&str; 2] = ["freezer.state", "cgroup.freeze"];

/// Whether the machine has every capability to give.
fn grants_everything() -> Result<bool> {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t"));
    Ok(u64::from_str_radix(bounding.context("CapBnd")?, 16)? & SYS_RESOURCE != 0)
}

fn run_passes_streams_and_the_exit_code(engine: &Docker) -> Result<()> {
    let output = engine.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]).run()?;
    ensure!((output.code, &*output.stdout, &*output.stderr) == (7, "out\n", "err\n"), "{output}");
    let input = engine.run(&["--interactive"], &["cat"]).input("/run/engines/image/manifest.json");
    ensure!(input.ok()?.contains("config.json"), "standard input does not arrive");
    Ok(())
}

fn a_terminal_has_the_size_of_the_callers(engine: &Docker) -> Result<()> {
    let sized = |call: Call| call.after("stty rows 33 cols 101").on_a_terminal();
    // Docker gives it the size after the start.
    let script = "until [ \"$(stty size)\" = '33 101' ]; do usleep 20000; done
        test -t 0 && test -t 1 && test -t 2 && tty && ls /dev/console; exit 4";
    let words = ["sh", "-c", script];
    let text = sized(engine.run(&["--interactive", "--tty"], &words)).code(4)?;
    ensure!(text.contains("/dev/pts/0") && text.contains("/dev/console"), "{text}");
    engine.service(&["--tty"], "tty", "")?;
    let exec = engine.daemon.docker(&["exec", "--interactive", "--tty", "tty"]).args(&words);
    let text = sized(exec).code(4)?;
    ensure!(text.contains("/dev/pts/1"), "{text}");
    engine.daemon.remove("tty")
}

fn exec_runs_in_the_container(engine: &Docker) -> Result<()> {
    let id = engine.service(&[], "exec", "")?;
    engine.machine.is_in_a_scope(&id, Call::new(["systemctl"]))?;
    let exec = |options: &[&str], words: &[&str]| {
        engine.daemon.docker(&["exec"]).args(options).args(&["exec"]).args(words)
    };
    let output = exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 9"]).run()?;
    ensure!((output.code, &*output.stdout, &*output.stderr) == (9, "out\n", "err\n"), "{output}");
    let options = ["--env", "A=b c", "--workdir", "/etc", "--user", "nobody"];
    let script = "echo $A $PWD $(id -u); grep CapEff /proc/self/status";
    let text = exec(&options, &["sh", "-c", script]).ok()?;
    ensure!(text == "b c /etc 65534\nCapEff:\t0000000000000000", "{text}");
    ensure!(exec(&[], &["ps"]).ok()?.contains("sleep 1000"), "init's child is not to be seen");
    let input = exec(&["--interactive"], &["cat"]).input("/run/engines/image/manifest.json");
    ensure!(input.ok()?.contains("config.json"), "standard input does not arrive");
    exec(&["--detach"], &["sh", "-c", "echo done >/tmp/done"]).ok()?;
    until("the detached command has run", || {
        Ok(exec(&[], &["test", "-s", "/tmp/done"]).run()?.code == 0)
    })?;
    let list = engine.daemon.docker(&["top", "exec", "-o", "pid,args"]).ok()?;
    ensure!(list.lines().count() == 3 && list.contains("sleep 1000"), "{list}");
    engine.daemon.remove("exec")
}

fn an_exec_that_fails_makes_nothing(engine: &Docker) -> Result<()> {
    engine.service(&[], "fails", "")?;
    let exec = |options: &[&str], word: &str| {
        engine.daemon.docker(&["exec"]).args(options).args(&["fails", word]).run()
    };
    // Docker 20.10 knows no 127 of an exec.
    for (options, word, codes, words) in [
        (&[][..], "/nothing/here", [126, 127], "no such file or directory"),
        (&[], "nothing-here", [126, 127], "not found in $path"),
        (&[], "/etc/passwd", [126, 126], "permission denied"),
        (&["--workdir=/typo"], "pwd", [126, 127], "no such file or directory"),
    ] {
        let output = exec(options, word)?;
        let text = format!("{}{}", output.stdout, output.stderr).to_lowercase();
        ensure!(codes.contains(&output.code) && text.contains(words), "{word}:\n{output}");
    }
    let made = engine.daemon.docker(&["diff", "fails"]).ok()?;
    ensure!(made.is_empty(), "{made}");
    engine.daemon.remove("fails")
}

fn stop_sends_term_before_kill(engine: &Docker) -> Result<()> {
    let daemon = &engine.daemon;
    engine.service(&[], "stop", "trap 'exit 5' TERM; trap 'echo usr1' USR1")?;
    daemon.docker(&["kill", "--signal", "USR1", "stop"]).ok()?;
    until("the signal has arrived", || Ok(daemon.logs("stop")?.contains("usr1")))?;
    daemon.docker(&["stop", "--time", "20", "stop"]).ok()?;
    ensure!(daemon.inspect("stop", ".State.ExitCode")? == "5", "TERM was not handled");
    let again = daemon.docker(&["kill", "stop"]).run()?;
    ensure!(again.code == 1 && says(&again, "is not running"), "{again}");
    daemon.docker(&["start", "stop"]).ok()?;
    until("it has run twice", || Ok(daemon.logs("stop")?.matches("ready").count() == 2))?;
    daemon.remove("stop")?;

    // Nobody handles TERM here: KILL follows.
    engine.service(&[], "kill", "")?;
    daemon.docker(&["stop", "--time", "1", "kill"]).ok()?;
    ensure!(daemon.docker(&["wait", "kill"]).ok()? == "137", "it was not killed");
    daemon.remove("kill")
}

fn what_fails_is_restarted_as_often_as_asked(engine: &Docker) -> Result<()> {
    let daemon = &engine.daemon;
    let options = ["run", "--detach", "--network=none", "--name=again", "--restart=on-failure:2"];
    daemon.docker(&options).arg_image(&["sh", "-c", "echo turn; exit 3"]).ok()?;
    daemon.becomes("again", ".State.Status}} {{.RestartCount", "exited 2")?;
    ensure!(daemon.logs("again")? == "turn\nturn\nturn", "{}", daemon.logs("again")?);
    ensure!(daemon.inspect("again", ".State.ExitCode")? == "3", "the exit code is another");
    daemon.remove("again")
}

fn pause_freezes_until_unpause(engine: &Docker) -> Result<()> {
    let daemon = &engine.daemon;
    let id = engine.service(&[], "pause", "")?;
    daemon.docker(&["pause", "pause"]).ok()?;
    ensure!(daemon.inspect("pause", ".State.Status")? == "paused", "it is not paused");
    let frozen = engine.cgroup(&id, FREEZER)?;
    ensure!(["FROZEN", "1"].contains(&&*frozen), "the freezer says {frozen}");
    let exec = daemon.docker(&["exec", "pause", "true"]).run()?;
    ensure!(exec.code == 1 && says(&exec, "is paused"), "{exec}");
    daemon.docker(&["unpause", "pause"]).ok()?;
    let thawed = engine.cgroup(&id, FREEZER)?;
    ensure!(["THAWED", "0"].contains(&&*thawed), "the freezer says {thawed}");
    daemon.docker(&["exec", "pause", "true"]).ok()?;
    daemon.docker(&["pause", "pause"]).ok()?;
    daemon.remove("pause")
}

fn limits_are_those_of_the_cgroup(engine: &Docker) -> Result<()> {
    engine.needs_limits()?;
    let options = ["--memory=32m", "--pids-limit=20", "--cpus=0.5", "--cpuset-cpus=0"];
    let more = ["--memory-reservation=16m", "--cpu-shares=512"];
    let id = engine.service(&[&options[..], &more].concat(), "limits", "")?;
    // Two conversions to v2's weight are in use: runc's first one and that of 2025.
    for (names, wanted) in [
        (MEMORY, vec!["33554432"]),
        (RESERVATION, vec!["16777216"]),
        (PIDS, vec!["20"]),
        (QUOTA, vec!["50000", "50000 100000"]),
        (["cpuset.cpus", "cpuset.cpus"], vec!["0"]),
        (SHARES, vec!["512", "20", "59"]),
    ] {
        let value = engine.cgroup(&id, names)?;
        ensure!(wanted.contains(&&*value), "{} is {value}", names[1]);
    }
    engine.daemon.remove("limits")?;
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done";
    let forks = engine.run(&["--pids-limit", "4"], &["sh", "-c", script]).run()?;
    ensure!(forks.code != 0 && says(&forks, "can't fork"), "{forks}");
    Ok(())
}

/// Docker 20.10 sends 0 for what is not named.
fn update_changes_what_is_named_alone(engine: &Docker) -> Result<()> {
    engine.not_by(&["crun"], "crun 1.8 takes 0 for a limit")?;
    engine.needs_limits()?;
    let id = engine.service(&["--memory=64m", "--memory-reservation=16m"], "update", "")?;
    let update = |options: &[&str], wanted: [&str; 2]| -> Result<()> {
        engine.daemon.docker(&["update"]).args(options).args(&["update"]).ok()?;
        let found = [engine.cgroup(&id, MEMORY)?, engine.cgroup(&id, RESERVATION)?];
        ensure!(found == wanted, "{found:?} after {options:?}");
        Ok(())
    };
    update(&["--cpu-shares=300"], ["67108864", "16777216"])?;
    let shares = engine.cgroup(&id, SHARES)?;
    ensure!(["300", "12", "36"].contains(&&*shares), "cpu shares are {shares}");
    update(&["--restart=always"], ["67108864", "16777216"])?;
    update(&["--memory=32m"], ["33554432", "16777216"])?;
    update(&["--pids-limit=30"], ["33554432", "16777216"])?;
    let pids = engine.cgroup(&id, PIDS)?;
    ensure!(pids == "30", "the pids limit is {pids}");
    engine.daemon.remove("update")
}

fn out_of_memory_is_told(engine: &Docker) -> Result<()> {
    engine.needs_limits()?;
    let daemon = &engine.daemon;
    let options = ["run", "--network=none", "--name=oom", "--memory=16m"];
    let hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    daemon.docker(&options).arg_image(&hog).code(137)?;
    daemon.becomes("oom", ".State.OOMKilled}} {{.State.ExitCode", "true 137")?;
    daemon.remove("oom")
}

fn events_and_stats_are_those_of_the_container(engine: &Docker) -> Result<()> {
    engine.needs_limits()?;
    let daemon = &engine.daemon;
    engine.service(&["--memory=48m"], "told", "trap 'exit 3' TERM")?;
    daemon.docker(&["exec", "told", "sh", "-c", "exit 9"]).code(9)?;
    let what = "{{.Name}} {{.PIDs}} {{.MemUsage}}";
    let stats = daemon.docker(&["stats", "--no-stream", "--format", what, "told"]).ok()?;
    let words: Vec<_> = stats.split_whitespace().collect();
    // The shell and what it waits for.
    ensure!(matches!(words[..], ["told", "2", _, "/", "48MiB"]), "{stats}");
    ensure!(words[2] != "0B", "{stats}");
    daemon.docker(&["stop", "told"]).ok()?;
    let what = "{{.Action}} {{.Actor.Attributes.exitCode}}";
    // In whole seconds: what is younger is not told.
    let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() + 1;
    let events = daemon
        .docker(&["events", "--since=10m", "--until", &end.to_string(), "--format", what])
        .args(&["--filter=container=told"])
        .ok()?;
    let mut lines = events.lines();
    for wanted in ["create ", "start ", "exec_start", "exec_die 9", "die 3"] {
        ensure!(lines.any(|line| line.starts_with(wanted)), "no {wanted:?} in its turn:\n{events}");
    }
    // Docker 20.10 tells of it after the end, Docker 28 before.
    ensure!(events.lines().any(|line| line.starts_with("stop ")), "no stop:\n{events}");
    daemon.remove("told")
}

fn a_health_check_runs_in_the_container(engine: &Docker) -> Result<()> {
    let options = ["--health-cmd=test -e /well", "--health-interval=200ms", "--health-retries=1"];
    engine.service(&options, "health", "")?;
    engine.daemon.becomes("health", ".State.Health.Status", "unhealthy")?;
    engine.daemon.docker(&["exec", "health", "touch", "/well"]).ok()?;
    engine.daemon.becomes("health", ".State.Health.Status", "healthy")?;
    engine.daemon.remove("health")
}

fn an_init_reaps_orphans(engine: &Docker) -> Result<()> {
    let script = "cat /proc/1/cmdline; (sleep 0.01 &)
        while ps -o comm | grep -qx sleep; do usleep 10000; done";
    let text = engine.run(&["--init"], &["sh", "-c", script]).ok()?;
    ensure!(text.contains("init"), "pid 1 is {text}");
    Ok(())
}

fn a_device_has_the_name_and_the_access_asked(engine: &Docker) -> Result<()> {
    let script = "stat -c %t,%T /dev/messages && true >/dev/messages && ! true </dev/messages";
    let device = ["--device=/dev/kmsg:/dev/messages:w"];
    let output = engine.run(&device, &["sh", "-c", script]).run()?;
    ensure!(output.code == 0 && output.stdout == "1,b\n", "{output}");
    ensure!(says(&output, "operation not permitted"), "{output}");
    // Any node may be made; what it leads to may be used by a rule alone.
    let script = "mknod /tmp/x c 1 11 && mknod /tmp/fuse c 10 229 && true >/tmp/x";
    let refused = engine.run(&[], &["sh", "-c", script]).run()?;
    ensure!(refused.code != 0 && says(&refused, "/tmp/x: operation not permitted"), "{refused}");
    let rule = ["--device-cgroup-rule=c 1:11 w"];
    engine.run(&rule, &["sh", "-c", script]).ok().map(drop)
}

fn kernel_settings_are_the_containers_own(engine: &Docker) -> Result<()> {
    let options = [
        "--tmpfs=/scratch:size=1m,mode=700",
        "--sysctl=net.ipv4.ip_default_ttl=42",
        "--hostname=here",
        "--domainname=example.org",
        "--shm-size=2m",
        "--ulimit=nofile=100:200",
        "--oom-score-adj=500",
        "--user=1234:5678",
        "--group-add=99",
    ];
    let script = "stat -c %a /scratch; cat /proc/sys/net/ipv4/ip_default_ttl; hostname
        cat /proc/sys/kernel/domainname; df -k /dev/shm | tail -n 1 | awk '{print $2}'
        ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; id -u; id -g; id -G; umask";
    let text = engine.run(&options, &["sh", "-c", script]).ok()?;
    let wanted = "700\n42\nhere\nexample.org\n2048\n100\n200\n500\n1234\n5678\n5678 99\n0022";
    ensure!(text == wanted, "{text}");
    Ok(())
}

fn capabilities_are_added_and_dropped(engine: &Docker) -> Result<()> {
    let effective = |options: &[&str]| -> Result<u64> {
        let text = engine.run(options, &["grep", "CapEff", "/proc/self/status"]).ok()?;
        Ok(u64::from_str_radix(text.split_whitespace().last().unwrap_or_default(), 16)?)
    };
    let (chown, net_admin) = (1 << 0, 1 << 12);
    let default = effective(&[])?;
    ensure!(default & chown != 0 && default & net_admin == 0, "default is {default:x}");
    let dropped = effective(&["--cap-drop=CHOWN", "--cap-add=NET_ADMIN"])?;
    ensure!(dropped == default & !chown | net_admin, "{dropped:x} of {default:x}");
    let none = effective(&["--cap-drop=ALL"])?;
    ensure!(none == 0, "{none:x} with all of them dropped");
    Ok(())
}

fn the_default_seccomp_profile_holds(engine: &Docker) -> Result<()> {
    let script = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; unshare -U true";
    let output = engine.run(&[], &["sh", "-c", script]).run()?;
    ensure!(output.code == 1 && output.stdout == "NoNewPrivs:\t0\nSeccomp:\t2\n", "{output}");
    ensure!(says(&output, "operation not permitted"), "{output}");
    let options = ["--security-opt=seccomp=unconfined", "--security-opt=no-new-privileges"];
    let text = engine.run(&options, &["sh", "-c", script]).ok()?;
    ensure!(text == "NoNewPrivs:\t1\nSeccomp:\t0", "{text}");
    Ok(())
}

fn what_is_privileged_says_nothing_of_its_own(engine: &Docker) -> Result<()> {
    if !grants_everything()? {
        engine.not_by(&["runc", "crun"], "runc 1.1 and crun 1.8 want every capability")?;
    }
    let script =
        "grep -q 'Seccomp:.*0' /proc/self/status && mount -t tmpfs none /tmp && true >/dev/kmsg";
    let output = engine.run(&["--privileged"], &["sh", "-c", script]).run()?;
    ensure!(output.code == 0 && output.stderr.is_empty(), "{output}");
    engine.service(&[], "plain", "")?;
    let exec = engine.daemon.docker(&["exec", "--privileged", "plain", "sh", "-c", "echo out"]);
    let output = exec.run()?;
    ensure!((&*output.stdout, &*output.stderr) == ("out\n", ""), "{output}");
    engine.daemon.remove("plain")
}

fn a_read_only_root_has_writable_volumes(engine: &Docker) -> Result<()> {
    let [ro, rw] =
        ["ro", "rw/below"].map(|name| engine.machine.directory(&format!("volumes/{name}")));
    fs::write(ro?.join("file"), "read\n")?;
    let below = rw?;
    Call::new(["mount", "-t", "tmpfs", "none", &below.display().to_string()]).ok()?;
    fs::write(below.join("file"), "below\n")?;
    let options = [
        "--read-only",
        "--tmpfs=/scratch:size=1m",
        "--volume=/run/engines/volumes/ro:/ro:ro",
        "--volume=/run/engines/volumes/rw:/rw",
        "--volume=named:/data",
    ];
    let script = "cat /ro/file /rw/below/file && echo written | tee /rw/file /data/file >/scratch/file
        touch /x || touch /ro/x || touch /proc/sys/kernel/hostname || dd if=/dev/zero of=/scratch/y bs=2M count=1";
    let output = engine.run(&options, &["sh", "-c", script]).run();
    let text = engine.run(&["--volume=named:/data"], &["cat", "/data/file"]).ok();
    Call::new(["umount", &below.display().to_string()]).ok()?;
    engine.daemon.docker(&["volume", "rm", "named"]).ok()?;
    let (output, text) = (output?, text?);
    ensure!(output.code != 0 && output.stdout == "read\nbelow\n", "{output}");
    ensure!(output.stderr.matches("Read-only file system").count() == 3, "{output}");
    ensure!(says(&output, "no space left"), "{output}");
    let written = fs::read_to_string("/run/engines/volumes/rw/file")?;
    ensure!((&*written, &*text) == ("written\n", "written"), "{written:?} and {text:?}");
    Ok(())
}

fn a_file_upon_a_directory_has_dockers_advice(engine: &Docker) -> Result<()> {
    let volume = ["--volume=/run/engines/image/manifest.json:/tmp"];
    let output = engine.run(&volume, &["true"]).run()?;
    ensure!(output.code != 0, "{output}");
    ensure!(says(&output, "are you trying to mount a directory onto a file"), "{output}");
    Ok(())
}

fn exit_codes_tell_who_failed(engine: &Docker) -> Result<()> {
    engine.not_by(&["crun"], "crun 1.8 has other words than those that docker looks for")?;
    for (options, command, code, words) in [
        (&[][..], &["/nothing/here"][..], 127, "no such file or directory"),
        (&[], &["nothing-here"], 127, "not found in $path"),
        (&[], &["/etc/passwd"], 126, "permission denied"),
        (&["--sysctl=net.ipv4.ip_default_ttl=words"], &["true"], 125, "invalid argument"),
        (&[], &["sh", "-c", "kill -KILL $$; exit 7"], 7, ""), // pid 1 is immune to itself
    ] {
        let output = engine.run(options, command).run()?;
        ensure!(
            output.code == code && says(&output, words),
            "expected {code}, {words:?}:\n{output}"
        );
    }
    engine.service(&[], "killed", "")?;
    engine.daemon.docker(&["kill", "killed"]).ok()?;
    ensure!(engine.daemon.docker(&["wait", "killed"]).ok()? == "137", "it was not killed");
    let attached = engine.daemon.docker(&["start", "--attach", "killed"]);
    let code = std::thread::scope(|scope| {
        let attached = scope.spawn(|| attached.run());
        engine.daemon.becomes("killed", ".State.Running", "true")?;
        engine.daemon.docker(&["kill", "killed"]).ok()?;
        attached.join().map_or_else(|_| bail!("a thread panicked"), |output| Ok(output?.code))
    })?;
    ensure!(code == 137, "the exit code of one that is killed is {code}");
    engine.daemon.remove("killed")
}

fn networks_are_none_the_hosts_or_anothers(engine: &Docker) -> Result<()> {
    let run =
        |options: &[&str], script: &str| engine.daemon.run(options, &["sh", "-c", script]).ok();
    let text = run(&["--network=none"], "ls /sys/class/net; ip -4 -o address")?;
    ensure!(text.lines().count() == 2 && text.starts_with("lo\n"), "{text}");
    ensure!(text.contains("127.0.0.1"), "{text}");
    let names = ["net", "ipc", "pid", "uts"];
    let script = names.map(|name| format!("readlink /proc/self/ns/{name}")).join(";");
    let host = ["--network=host", "--ipc=host", "--pid=host", "--uts=host"];
    let (inside, outside) = (run(&host, &script)?, Call::new(["sh", "-c", &script]).ok()?);
    ensure!(inside == outside, "inside:\n{inside}\noutside:\n{outside}");
    engine.service(&["--ipc=shareable"], "first", "httpd -h /")?;
    let shared = ["--network=container:first", "--ipc=container:first", "--pid=container:first"];
    let text = run(&shared, "wget -qO- http://127.0.0.1/etc/group; ps")?;
    ensure!(text.starts_with("root:x:0:") && text.contains("httpd -h /"), "{text}");
    engine.daemon.remove("first")
}

fn a_bridge_publishes_ports_and_knows_names(engine: &Docker) -> Result<()> {
    if !engine.bridge {
        return Err(Lacks("iptables does not work in a network namespace here").into());
    }
    let daemon = &engine.daemon;
    daemon.docker(&["network", "create", "net"]).ok()?;
    let outcome = published(daemon);
    daemon.remove("web")?;
    daemon.docker(&["network", "rm", "net"]).ok()?;
    outcome
}

fn published(daemon: &Daemon) -> Result<()> {
    let script = "echo hello >/index.html; httpd -h /";
    daemon.service(&["--network=net", "--publish=18081:80"], "web", script)?;
    let what = "range .NetworkSettings.Networks}}{{.Gateway}}{{end";
    let gateway = daemon.inspect("web", what)?;
    for address in [&*gateway, "127.0.0.1"] {
        let url = format!("http://{address}:18081/");
        until("the server answers", || {
            Ok(Call::new(["busybox", "wget", "-qO-", &url]).run()?.stdout == "hello\n")
        })?;
    }
    let script = format!("wget -qO- http://web/ && ping -c 1 -W 5 {gateway}");
    let text = daemon.run(&["--network=net"], &["sh", "-c", &script]).ok()?;
    ensure!(text.starts_with("hello\n") && text.contains("1 packets received"), "{text}");
    Ok(())
}

fn thirty_at_once(engine: &Docker) -> Result<()> {
    at_once(30, |n| {
        let script = format!("echo {n}; exit {}", n + 1);
        let text = engine.run(&[], &["sh", "-c", &script]).code(n as i32 + 1)?;
        ensure!(text == n.to_string(), "container {n} printed {text:?}");
        Ok(())
    })
}
