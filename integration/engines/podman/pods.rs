//! What podman makes of several containers, and what it does beside the runtime: pods, by hand and
//! from what Kubernetes is given, health checks, systemd in a container, Docker's API.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Podman;
use crate::call::{Call, Lacks, until};
use crate::compose::two_services;
use crate::machine::IMAGE;

/// Containers of a pod have one network and one name, and are paused, stopped and started together.
pub fn a_pod_is_one_for_its_containers(engine: &Podman) -> Result<()> {
    let parent = engine.machine.parent();
    let create = ["pod", "create", "--name", "pod", "--hostname", "inside", "--cgroup-parent"];
    engine.podman(&create).args(&[&parent]).ok()?;
    let script = "echo hello >/index.html; httpd -h /; echo ready; while :; do sleep 0.05; done";
    engine
        .podman(&["run", "--detach", "--pod", "pod", "--name", "web"])
        .arg_image(&["sh", "-c", script])
        .ok()?;
    until("the server is ready", || Ok(engine.logs("web")?.contains("ready")))?;
    let script = "wget -qO- http://127.0.0.1/; hostname; readlink /proc/self/ns/ipc";
    let call = engine.podman(&["run", "--rm", "--pod", "pod"]).arg_image(&["sh", "-c", script]);
    let text = call.ok()?;
    let ipc = engine.podman(&["exec", "web", "readlink", "/proc/self/ns/ipc"]).ok()?;
    ensure!(text == format!("hello\ninside\n{ipc}"), "{text}\nand {ipc}");
    for (verb, state) in
        [("pause", "paused"), ("unpause", "running"), ("stop", "exited"), ("start", "running")]
    {
        let timeout: &[&str] = if verb == "stop" { &["--time", "1"] } else { &[] };
        engine.podman(&["pod", verb]).args(timeout).args(&["pod"]).ok()?;
        let is = engine.inspect("web", ".State.Status")?;
        ensure!(is == state, "{is} after {verb}");
    }
    engine.podman(&["pod", "rm", "--force", "--time", "0", "pod"]).ok().map(drop)
}

/// Two containers of a manifest: one serves what a volume of the host holds, the other is nobody.
fn manifest(directory: &Path) -> String {
    let client = "until wget -qO- http://127.0.0.1/; do usleep 50000; done
        echo $WORD $(id -u); grep -E '^(CapEff|NoNewPrivs):' /proc/self/status | xargs; touch /x";
    let web = "cp /in/page /out/index.html; exec httpd -f -h /out";
    let volume = |name: &str| serde_json::json!({"name": name, "hostPath": {"path": directory.join(name), "type": "Directory"}});
    let common = serde_json::json!({"image": IMAGE, "imagePullPolicy": "Never"});
    let container = |name: &str, script: &str, more: serde_json::Value| {
        let mut all = common.clone();
        all["name"] = name.into();
        all["command"] = serde_json::json!(["sh", "-c", script]);
        for (key, value) in more.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        all
    };
    let containers = [
        container(
            "web",
            web,
            serde_json::json!({"volumeMounts": [
                {"name": "in", "mountPath": "/in", "readOnly": true},
                {"name": "out", "mountPath": "/out"}
            ]}),
        ),
        container(
            "client",
            client,
            serde_json::json!({
                "env": [{"name": "WORD", "value": "said"}],
                "securityContext": {
                    "runAsUser": 1234,
                    "readOnlyRootFilesystem": true,
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]}
                }
            }),
        ),
    ];
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "played"},
        "spec": {
            "restartPolicy": "Never",
            "containers": containers,
            "volumes": [volume("in"), volume("out")]
        }
    })
    .to_string()
}

pub fn kube_play_makes_what_a_manifest_says(engine: &Podman) -> Result<()> {
    if !engine.machine.systemd {
        return Err(Lacks("podman's cgroups of such a pod would be the machine's").into());
    }
    let directory = engine.machine.directory("played")?;
    for name in ["in", "out"] {
        engine.machine.directory(&format!("played/{name}"))?;
    }
    fs::write(directory.join("in/page"), "hello\n")?;
    let file = directory.join("pod.yaml").display().to_string();
    fs::write(&file, manifest(&directory))?;
    engine.podman(&["play", "kube", &file]).ok()?;
    ensure!(engine.podman(&["wait", "played-client"]).ok()? == "1", "its root can be written");
    let output = engine.podman(&["logs", "played-client"]).run()?;
    let wanted = "hello\nsaid 1234\nCapEff: 0000000000000000 NoNewPrivs: 1\n";
    ensure!(output.stdout == wanted, "{output}");
    ensure!(output.stderr.contains("Read-only file system"), "{output}");
    let id = engine.inspect("played-web", ".Id")?;
    engine.machine.is_in_a_scope(&id, Call::new(["systemctl"]))?;
    engine.podman(&["play", "kube", "--down", &file]).ok().map(drop)
}

/// podman asks for it by `exec`; no timer of systemd's does here.
pub fn a_health_check_runs_in_the_container(engine: &Podman) -> Result<()> {
    let options = ["--health-cmd=test -e /well", "--health-interval=disable", "--health-retries=1"];
    engine.service(&options, "health", "")?;
    let check = || engine.podman(&["healthcheck", "run", "health"]);
    let status = || engine.inspect("health", ".State.Health.Status");
    check().code(1)?;
    let is = status()?;
    ensure!(is == "unhealthy", "{is}");
    engine.podman(&["exec", "health", "touch", "/well"]).ok()?;
    check().ok()?;
    let is = status()?;
    ensure!(is == "healthy", "{is}");
    engine.remove("health")
}

/// What systemd needs as a container's first process: cgroups of its own, file systems in memory,
/// and the signal by which it stops.
pub fn systemd_finds_what_it_needs(engine: &Podman) -> Result<()> {
    let script = "trap 'exit 5' 37
        for directory in /run /run/lock /tmp /var/log/journal; do stat -f -c %T $directory; done
        echo $container; test ${#container_uuid} = 32 && echo uuid
        cgroup=/sys/fs/cgroup
        test -e $cgroup/cgroup.procs || cgroup=$cgroup/systemd
        mkdir $cgroup/made && rmdir $cgroup/made && echo made";
    engine.service(&["--systemd=always"], "systemd", script)?;
    let said = engine.logs("systemd")?;
    ensure!(said == "tmpfs\ntmpfs\ntmpfs\ntmpfs\npodman\nuuid\nmade\nready", "{said}");
    engine.podman(&["stop", "--time", "20", "systemd"]).ok()?;
    let code = engine.inspect("systemd", ".State.ExitCode")?;
    ensure!(code == "5", "exit code {code}: SIGRTMIN+3 was not handled");
    engine.remove("systemd")
}

/// podman as Docker's API, which is stopped when dropped.
struct Service(Child);

impl Service {
    fn start(engine: &Podman, socket: &str) -> Result<Self> {
        let child = Command::new(&engine.globals[0])
            .args(&engine.globals[1..])
            .args(["system", "service", "--time", "0", socket])
            .env("CONTAINERS_CONF", &engine.settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("podman system service")?;
        Ok(Self(child))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("podman system service: {error}");
        }
    }
}

pub fn two_services_of_a_compose_file(engine: &Podman) -> Result<()> {
    let directory = engine.machine.directory("compose")?;
    let path = directory.join("socket");
    let socket = format!("unix://{}", path.display());
    let service = Service::start(engine, &socket)?;
    until("the socket is there", || Ok(path.exists()))?;
    let outcome = two_services(&directory, &socket, &engine.machine.parent(), || {
        let names = engine.podman(&["ps", "--all", "--format", "{{.Names}}"]).ok()?;
        for name in names.lines() {
            let runtime = engine.inspect(name, ".OCIRuntime")?;
            ensure!(runtime == engine.machine.runtime(), "{name} ran by {runtime}");
        }
        ensure!(names.lines().count() == 2, "{names}");
        Ok(())
    });
    drop(service);
    outcome
}
