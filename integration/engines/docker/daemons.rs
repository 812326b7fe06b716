//! Tests of what a daemon does: builds, what it is told, its death.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Result, ensure};

use super::Docker;
use super::daemon::{BUILT, Daemon, context};
use crate::call::{Call, Lacks, until};
use crate::compose::two_services;
use crate::documents;
use crate::podman::says;

/// The options of a second daemon. It has a network namespace of its own, where it finds no
/// bridge of the first one's to remove.
const WITHOUT_NETWORK: [&str; 2] = ["--bridge=none", "--iptables=false"];

/// Builds, and looks at what came of it. The calls of the runc in PATH meanwhile.
fn build(daemon: &Daemon, buildkit: &str) -> Result<Vec<String>> {
    let before = daemon.calls_of_runc_in_path()?.len();
    let context = context(&daemon.directory)?;
    let options = ["build", "--no-cache", "--network=none", "--rm=false", "--tag", BUILT, &context];
    let output = daemon.docker(&options).env("DOCKER_BUILDKIT", buildkit).run()?;
    if says(&output, "buildx component is missing") {
        return Err(Lacks("this docker has no buildx").into());
    }
    ensure!(output.code == 0, "{output}");
    // What is built is not everybody's to write, whatever the umask of who builds.
    let command = ["--entrypoint=stat", "--network=none", BUILT, "-c", "%A", "/built", "/made"];
    let text = daemon.docker(&["run", "--rm"]).args(&command).ok()?;
    ensure!(text == "-rw-r--r--\ndrwxr-xr-x", "{text}");
    daemon.docker(&["rmi", "--force", BUILT]).ok()?;
    Ok(daemon.calls_of_runc_in_path()?.split_off(before))
}

/// Whether one of these calls makes a container.
fn make(calls: &[String]) -> bool {
    calls.iter().any(|call| call.split(' ').any(|word| word == "run" || word == "create"))
}

pub fn a_classic_build_runs_by_the_default_runtime(engine: &Docker) -> Result<()> {
    let daemon = &engine.daemon;
    let calls = build(daemon, "0")?;
    ensure!(!make(&calls), "{calls:#?}");
    // The containers of its steps, which `--rm=false` leaves.
    let ids = daemon.docker(&["ps", "--all", "--quiet"]).ok()?;
    ensure!(ids.lines().count() == 4, "three steps and USER:\n{ids}");
    for id in ids.lines() {
        let runtime = daemon.inspect(id, ".HostConfig.Runtime")?;
        ensure!(runtime == "pinnace", "a step ran by {runtime:?}");
    }
    daemon.reset();
    Ok(())
}

pub fn a_build_of_buildkit_runs_by_the_runc_in_path(engine: &Docker) -> Result<()> {
    let calls = build(&engine.daemon, "1")?;
    let of_steps = calls.iter().filter(|call| call.contains(" run --bundle ")).count();
    ensure!(of_steps == 3, "of three steps: {calls:#?}");
    engine.daemon.docker(&["builder", "prune", "--all", "--force"]).ok().map(drop)
}

/// A daemon that knows a runtime from a reload on, with its users mapped.
pub fn a_reload_adds_a_runtime_and_users_are_remapped(engine: &Docker) -> Result<()> {
    let options = [&WITHOUT_NETWORK[..], &["--userns-remap=engines"]].concat();
    let daemon = Daemon::beside(&engine.machine, "remap", &options)?;
    let always = ["--runtime=pinnace", "--network=none"];
    let run =
        |options: &[&str], command: &[&str]| daemon.run(&[&always[..], options].concat(), command);
    let unknown = run(&[], &["true"]).run()?;
    ensure!(unknown.code == 125 && says(&unknown, "nknown"), "{unknown}");
    daemon.reload(&documents::docker(documents::ADDED, &engine.machine.runtime())?)?;
    until("the runtime is known", || {
        Ok(daemon.docker(&["info", "--format", "{{json .Runtimes}}"]).ok()?.contains("\"pinnace\""))
    })?;

    let shared = engine.machine.directory("remap/shared")?;
    std::os::unix::fs::chown(&shared, Some(2_000_000_000), Some(2_000_000_000))?;
    let volume = format!("--volume={}:/shared", shared.display());
    let script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /shared/file";
    let text = run(&[&volume], &["sh", "-c", script]).ok()?;
    let words: Vec<_> = text.split_whitespace().collect();
    let map = ["0", "2000000000", "65536"];
    ensure!(words == [&map[..], &map, &["0"]].concat(), "{text}");
    let owner = fs::metadata(shared.join("file"))?;
    ensure!((owner.uid(), owner.gid()) == (2_000_000_000, 2_000_000_000), "{owner:?}");

    let host = run(&["--userns=host"], &["cat", "/proc/self/uid_map"]).ok()?;
    let host: Vec<_> = host.split_whitespace().collect();
    ensure!(host == ["0", "0", "4294967295"], "{host:?}");
    daemon.service(&always, "mapped", "")?;
    let text = daemon.docker(&["exec", "mapped", "cat", "/proc/self/uid_map"]).ok()?;
    ensure!(text.split_whitespace().eq(map), "{text}");
    daemon.remove("mapped")
}

/// Its containers go on; what has ended meanwhile is told with its exit code.
pub fn containers_outlive_a_daemon_that_dies(engine: &Docker) -> Result<()> {
    let runtime = engine.machine.runtime();
    let added = format!("--add-runtime=added={runtime}");
    let flags = ["--live-restore", "--default-runtime=added", &added];
    let options = [&WITHOUT_NETWORK[..], &flags].concat();
    let mut daemon = Daemon::beside(&engine.machine, "restore", &options)?;
    daemon.service(&["--network=none"], "stays", "trap 'exit 5' TERM")?;
    daemon.service(&["--network=none"], "ends", "trap 'exit 6' TERM")?;
    ensure!(daemon.inspect("stays", ".HostConfig.Runtime")? == "added", "not by the default");
    let what = ".State.Pid}} {{.State.StartedAt";
    let before = daemon.inspect("stays", what)?;
    let ends = daemon.inspect("ends", ".State.Pid")?;
    daemon.dies(|| {
        Call::new(["kill", "-TERM", &ends]).ok()?;
        until("it has ended", || Ok(!Path::new("/proc").join(&ends).join("exe").exists()))
    })?;
    daemon.becomes("ends", ".State.Status", "exited")?;
    let code = daemon.inspect("ends", ".State.ExitCode")?;
    // Docker 28 says of what has ended without it that nobody knows.
    ensure!(code == "6" || code == "255", "exit code {code} of one that ended without the daemon");
    let after = daemon.inspect("stays", what)?;
    ensure!(after == before, "{before:?} before, {after:?} after");
    daemon.docker(&["exec", "stays", "sh", "-c", "exit 9"]).code(9)?;
    daemon.docker(&["stop", "--time", "20", "stays"]).ok()?;
    let code = daemon.inspect("stays", ".State.ExitCode")?;
    ensure!(code == "5", "exit code {code} of one that outlived the daemon");
    daemon.reset();
    Ok(())
}

pub fn two_services_of_a_compose_file(engine: &Docker) -> Result<()> {
    if !engine.bridge {
        return Err(Lacks("iptables does not work in a network namespace here").into());
    }
    let daemon = &engine.daemon;
    let socket = format!("unix://{}/socket", daemon.directory.display());
    two_services(&daemon.directory, &socket, &engine.machine.parent(), || {
        let of_both =
            ["--filter", "label=com.docker.compose.project=two", "--format", "{{.Names}}"];
        let names = daemon.docker(&["ps", "--all"]).args(&of_both).ok()?;
        for name in names.lines() {
            let runtime = daemon.inspect(name, ".HostConfig.Runtime")?;
            ensure!(runtime == "pinnace", "{name} ran by {runtime:?}");
        }
        ensure!(names.lines().count() == 2, "{names}");
        Ok(())
    })
}

/// What docs/engines says of warnings and of the state.
pub fn documented_configuration(engine: &Docker) -> Result<()> {
    engine.not_by(&["runc", "crun"], "the options are pinnace's")?;
    let machine = &engine.machine;
    let daemon = &engine.daemon;
    daemon.reload(&documents::docker(documents::WARNINGS, &machine.runtime())?)?;
    let known = || daemon.docker(&["info", "--format", "{{json .Runtimes.pinnace}}"]).ok();
    until("the arguments are known", || Ok(known()?.contains("--log-level")))?;
    let outcome = warned(engine);
    daemon.reload(&documents::docker(documents::DEFAULT, &machine.runtime())?)?;
    until("they are no more", || Ok(!known()?.contains("--log-level")))?;
    outcome
}

fn warned(engine: &Docker) -> Result<()> {
    let daemon = &engine.daemon;
    let id = engine.service(&["--cap-add=ALL"], "warned", "")?;
    let exec = daemon.directory.join("exec");
    let state = exec.join("runtime-runc/moby").display().to_string();
    let list = Call::new([&engine.machine.runtime(), "--root", &state, "list", "--quiet"]).ok()?;
    ensure!(list == id, "{list:?} is in {state}, and not {id:?}");
    let bundle = exec.join("containerd/daemon/io.containerd.runtime.v2.task/moby").join(&id);
    let log = fs::read_to_string(bundle.join("log.json"))?;
    let config = fs::read_to_string(bundle.join("config.json"))?;
    daemon.remove("warned")?;
    // Docker 28 asks for no more than the machine has.
    if super::grants_everything()? || !config.contains("CAP_SYS_RESOURCE") {
        return Ok(());
    }
    ensure!(log.contains("\"warning\"") && log.contains("cannot grant"), "{log}");
    Ok(())
}
