//! What engines have asked a runtime for, replayed: `callers/` has the argv, the documents and
//! the standard input of real calls, so that no engine is needed to see what they get.
//!
//! A file is one engine: `config` is the bundle's `config.json`, `with` what other actions of a
//! user change in it, `calls` has the calls of each action, in their order. Where the recording
//! machine's paths and ids stood, there are words: @ID@, @ROOT@ (of the state), @BUNDLE@,
//! @ROOTFS@, @DIR@ (the test's own directory). What no test needs is left out: profiles of
//! seccomp, hooks of networks. A call without --root gets the test's. @POD@ are the namespaces of
//! a pod's first container.

use crate::harness::{
    Bundle, Call, Container, Hierarchy, Output, Value, by_systemd, deviates, exits, json, needs,
    runtime, until,
};
use rustix::process::Pid;
use std::fs;

/// In the test program, which also runs where the tree is not.
const RECORDED: [(&str, &str); 6] = [
    ("buildah-1.28", include_str!("callers/buildah-1.28.json")),
    ("buildkit", include_str!("callers/buildkit.json")),
    ("containerd-1.6", include_str!("callers/containerd-1.6.json")),
    ("crio-1.37", include_str!("callers/crio-1.37.json")),
    ("docker-20.10", include_str!("callers/docker-20.10.json")),
    ("podman-4.3", include_str!("callers/podman-4.3.json")),
];

/// The requests of one engine, made to the runtime under test.
struct Engine {
    calls: Value,
    c: Container,
}

impl Engine {
    /// Reads a file of `callers/`, and makes a bundle of its `config.json`: as it is for an
    /// action, and then changed.
    fn new(name: &str, action: &str, change: impl FnOnce(&mut Value)) -> Self {
        let bundle = Bundle::sleeper();
        let recorded = RECORDED.iter().find(|(known, _)| *known == name);
        let text = recorded.unwrap_or_else(|| panic!("nothing was recorded of {name}")).1;
        let dir = bundle.dir().to_str().unwrap();
        let path = bundle.path().to_str().unwrap().to_owned();
        let text = text
            .replace("@ID@", &bundle.id)
            .replace("@ROOT@", &format!("{dir}/state"))
            .replace("@BUNDLE@", &path)
            .replace("@ROOTFS@", &format!("{path}/rootfs"))
            .replace("@DIR@", dir);
        // What engines make for each container, and bind.
        for name in ["resolv.conf", "hostname", "hosts", "containerenv"] {
            fs::write(bundle.dir().join(name), "").unwrap();
        }
        for name in ["shm", "secrets"] {
            fs::create_dir(bundle.dir().join(name)).unwrap();
        }
        let mut all: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut config = all["config"].take();
        for (pointer, value) in all["with"][action].as_object().into_iter().flatten() {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[name] = value.clone();
        }
        change(&mut config);
        let c = bundle.edit(|whole| *whole = config).container();
        Self { calls: all["calls"].take(), c }
    }

    /// Makes the calls of one action; the answer to the last one.
    #[track_caller]
    fn does(&self, action: &str) -> Output {
        let calls = self.calls[action].as_array();
        let calls = calls.unwrap_or_else(|| panic!("nothing is recorded of {action:?}"));
        let mut last = None;
        for (i, call) in calls.iter().enumerate() {
            let output = self.call(call);
            assert!(output.code == 0 || i + 1 == calls.len(), "{action}: {call}: {output:?}");
            last = Some(output);
        }
        last.unwrap()
    }

    fn call(&self, request: &Value) -> Output {
        let argv = request["argv"].as_array().unwrap();
        let argv: Vec<_> = argv.iter().map(|word| word.as_str().unwrap()).collect();
        for name in ["process", "resources"] {
            if let Some(document) = request.get(name) {
                let file = self.c.bundle.dir().join(name).with_extension("json");
                fs::write(file, document.to_string()).unwrap();
            }
        }
        let umask = request["umask"].as_str().unwrap_or("0022");
        let call = Call::new("/bin/sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .args([runtime().path.as_os_str()])
            .args(if argv.contains(&"--root") { Vec::new() } else { self.c.global() })
            .args(&argv)
            .current_dir(&self.c.bundle.path());
        let call = match request.get("stdin") {
            Some(document) => call.stdin(document.to_string()),
            None => call,
        };
        // Who makes a process gives it the streams.
        let streams = (self.c.stdout().len(), self.c.stderr().len());
        if !["create", "exec", "run"].iter().any(|verb| argv.contains(verb)) {
            return call.run();
        }
        let mut output = call.output_to(self.c.log("stdout"), self.c.log("stderr")).run();
        output.stdout = self.c.stdout()[streams.0..].to_owned();
        output.stderr = self.c.stderr()[streams.1..].to_owned();
        output
    }

    /// The last error of the log that the calls name, as go-runc finds it.
    fn told(&self) -> String {
        let text = fs::read_to_string(self.c.bundle.path().join("log.json")).unwrap_or_default();
        let entries = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let entries = entries.map(|entry| entry.unwrap_or_else(|e| panic!("{e}: {text}")));
        let last = entries.filter(|entry| entry["level"] == "error").last().unwrap_or_default();
        last["msg"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn limits(&self) -> [String; 3] {
        [
            ("memory.limit_in_bytes", "memory.max"),
            ("memory.soft_limit_in_bytes", "memory.low"),
            ("cpu.shares", "cpu.weight"),
        ]
        .map(|(v1, v2)| self.c.cgroup_value(v1, v2))
    }
}

/// Not every machine has the controllers; for what is not about them.
fn without_limits(config: &mut Value) {
    let resources = config["linux"]["resources"].as_object_mut().unwrap();
    resources.retain(|name, _| name == "devices");
}

const DOCKER: &str = "docker-20.10";

/// A container of Docker that is up.
fn docker_run(change: impl FnOnce(&mut Value)) -> Engine {
    let docker = Engine::new(DOCKER, "", change);
    docker.does("docker run").ok();
    docker
}

/// Its daemon sends 0 for each field that the user has not named.
#[test]
fn docker_20_10_update_changes_what_is_named_alone() {
    let host = Hierarchy::of_host();
    let limits = ["memory", "cpu", "cpuset", "pids"].iter().all(|name| host.has(name));
    needs!(limits && host == Hierarchy::V1, "cgroup v1 with limits");
    deviates!("crun", "a 0 is written");
    let docker = docker_run(|_| ());
    let (limit, reservation) = ("314572800", "104857600");
    assert_eq!(docker.limits(), [limit, reservation, "512"]);
    docker.does("docker update --cpu-shares 300").ok();
    assert_eq!(docker.limits(), [limit, reservation, "300"]);
    docker.does("docker update --restart always").ok();
    assert_eq!(docker.limits(), [limit, reservation, "300"]);
    docker.does("docker update -m 400m").ok();
    assert_eq!(docker.limits(), ["419430400", reservation, "300"]);
    docker.does("docker update --pids-limit 100").ok();
    docker.does("docker update --cpus 0.5").ok();
    assert_eq!(docker.limits(), ["419430400", reservation, "300"]);
    assert_eq!(docker.c.cgroup_value("pids.max", "pids.max"), "100");
    assert_eq!(docker.c.cgroup_value("cpu.cfs_quota_us", "cpu.max"), "50000");
}

#[test]
fn docker_exec_w_of_a_directory_that_is_not_there_is_an_error_and_makes_none() {
    let docker = docker_run(without_limits);
    let out = docker.does("docker exec -w /nope C pwd");
    assert_ne!(out.code, 0, "{out:?}");
    assert!(!docker.c.bundle.rootfs("nope").exists(), "it was made: {out:?}");
    let told = docker.told().to_lowercase();
    assert!(told.contains("/nope") && told.contains("no such file or directory"), "{told}");
    assert!(told.contains("chdir") || told.contains("cwd"), "{told}");
    assert_eq!(out.code, 255, "{out:?}");
}

#[test]
fn podman_exec_w_of_a_directory_that_is_not_there_is_an_error_and_makes_none() {
    needs!(!by_systemd(), "the cgroupfs driver, with which it was recorded");
    let podman = Engine::new("podman-4.3", "", without_limits);
    podman.does("podman run -d -m 300m").ok();
    let out = podman.does("podman exec -w /nope C pwd");
    assert_ne!(out.code, 0, "{out:?}");
    assert!(!podman.c.bundle.rootfs("nope").exists(), "it was made: {out:?}");
    assert!(!podman.c.bundle.dir().join("exec.pid").exists(), "no pid file: it has failed");
}

/// With what it grants and the machine may lack: the command's streams are its own.
#[test]
fn docker_exec_privileged_says_what_the_command_says() {
    let docker = docker_run(without_limits);
    let out = docker.does("docker exec --privileged C echo hi");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    if !own.contains("CapBnd:\t000001ffffffffff") {
        deviates!(["runc", "crun"], "R091: EPERM fails it");
    }
    out.ok();
    until("the command has spoken", || docker.c.stdout().ends_with('\n'));
    assert_eq!((docker.c.stdout().as_str(), docker.c.stderr().as_str()), ("hi\n", ""));
}

/// Its default rules deny /dev/fuse, and nothing else of what a container may make.
#[test]
fn docker_containers_may_make_devices_beside_a_denied_one() {
    let script = "mknod /tmp/x c 10 200 && echo made; mknod /tmp/y b 7 9 && echo made";
    let docker = Engine::new(DOCKER, "docker run mknod /tmp/x c 10 200", |config| {
        without_limits(config);
        config["process"]["args"] = json!(["sh", "-c", script]);
    });
    docker.does("docker run").ok();
    let said = || docker.c.stdout() + &docker.c.stderr();
    until("two devices", || said().lines().count() >= 2);
    assert_eq!(said(), "made\nmade\n");
}

#[test]
fn docker_gives_a_device_by_another_name() {
    let action = "docker run --device /dev/kmsg:/dev/mykmsg:r ls -l /dev/mykmsg";
    let docker = Engine::new(DOCKER, action, without_limits);
    docker.does("docker run").ok();
    until("it is looked at", || docker.c.stdout().ends_with('\n'));
    let said = docker.c.stdout();
    assert!(said.starts_with('c') && said.contains("1,  11"), "{said}");
}

/// The daemon looks for these words, adds its advice and gives the exit code 127.
#[test]
fn docker_knows_a_file_on_a_directory_by_the_words_not_a_directory() {
    let docker = Engine::new(DOCKER, "docker run -v /etc/hostname:/tmp true", without_limits);
    let out = docker.call(&docker.calls["docker run"][0]);
    assert_ne!(out.code, 0, "{out:?}");
    deviates!("crun", "other words");
    assert!(docker.told().contains("not a directory"), "{}", docker.told());
}

/// buildkitd runs with umask 0 and names none: an image's files must not be everybody's.
#[test]
fn buildkit_builds_with_the_usual_umask() {
    needs!(!by_systemd(), "the cgroupfs driver, with which it was recorded");
    let action = "RUN touch /x; mkdir /d; stat -c %a /x /d";
    let buildkit = Engine::new("buildkit", action, |_| ());
    assert_eq!(buildkit.does(action).ok(), "644\n755\n");
}

/// All that an engine asks for in a container's life, with the answers that it needs.
fn whole_life(name: &str, actions: &[&str], says: &str) {
    let engine = Engine::new(name, "", without_limits);
    for action in actions {
        engine.does(action).ok();
        if action.contains("exec") {
            until("the command has spoken", || engine.c.stdout() == says);
        }
        if action.contains("kill") {
            until("the container ends", || engine.c.status() == "stopped");
        }
    }
    assert_eq!((engine.c.stdout().as_str(), engine.c.stderr().as_str()), (says, ""));
    assert_eq!(engine.told(), "");
    engine.c.call(["state", &engine.c.id]).run().is_unknown();
    assert!(!engine.c.root().join(&engine.c.id).exists());
}

#[test]
fn containerd_gets_what_it_asks_for() {
    let actions = ["run -d", "exec echo hi", "ps", "pause", "resume", "kill -s KILL", "rm"];
    whole_life("containerd-1.6", &actions, "hi\n");
}

#[test]
fn docker_gets_what_it_asks_for() {
    let docker = docker_run(without_limits);
    docker.does("docker exec C echo hi").ok();
    until("the command has spoken", || docker.c.stdout() == "hi\n");
    stop(&docker, "docker stop");
}

#[test]
fn podman_gets_what_it_asks_for() {
    needs!(!by_systemd(), "the cgroupfs driver, with which it was recorded");
    let podman = Engine::new("podman-4.3", "", without_limits);
    for action in
        ["podman run -d -m 300m", "podman exec C echo hi", "podman pause", "podman unpause"]
    {
        podman.does(action).ok();
    }
    until("the command has spoken", || podman.c.stdout() == "hi\n");
    stop(&podman, "podman stop");
}

/// TERM, which its program does not hear as process 1; KILL, and what comes after.
fn stop(engine: &Engine, action: &str) {
    for call in engine.calls[action].as_array().unwrap() {
        engine.call(call).ok();
        if call["argv"].as_array().unwrap().last() == Some(&json!("9")) {
            until("the container ends", || engine.c.status() == "stopped");
        }
    }
    assert_eq!((engine.c.stderr().as_str(), engine.told().as_str()), ("", ""));
    engine.c.call(["state", &engine.c.id]).run().is_unknown();
}

#[test]
fn buildah_gets_what_it_asks_for() {
    let buildah = Engine::new("buildah-1.28", "", |_| ());
    let calls = buildah.calls["buildah run C echo hi"].as_array().unwrap();
    let (state, around) = calls.iter().partition::<Vec<_>, _>(|call| call["argv"][0] == "state");
    let [create, start, delete] = around.as_slice() else { panic!("{around:?}") };
    buildah.call(create).ok();
    buildah.call(start).ok();
    until("the container ends", || {
        let text = buildah.call(state[0]);
        let state: Value = serde_json::from_str(text.ok()).unwrap();
        state["status"] == "stopped"
    });
    buildah.call(delete).ok();
    assert_eq!(buildah.c.stdout(), "hi\n");
    // It asks for ambient capabilities that are not inheritable (config.md: "MUST be logged").
    let told = buildah.c.stderr();
    assert!(told.lines().all(|line| line.contains("process.capabilities.ambient")), "{told}");
}

#[test]
fn podman_update_changes_the_shares() {
    needs!(!by_systemd(), "the cgroupfs driver, with which it was recorded");
    let host = Hierarchy::of_host();
    needs!(host.has("cpu") && host.has("memory") && host.has("pids"), "limits");
    let podman = Engine::new("podman-4.3", "", |_| ());
    podman.does("podman run -d -m 300m").ok();
    podman.does("podman update --cpu-shares 300").ok();
    assert_eq!(podman.limits()[0], "314572800");
    let want = if host == Hierarchy::V1 { "300" } else { "39" };
    assert_eq!(podman.limits()[2], want);
}

/// A container of a pod, whose namespaces the first container made.
fn crio(change: impl FnOnce(&mut Value)) -> (Container, Engine) {
    let pod = Bundle::sleeper().container().up();
    let namespaces = format!("/proc/{}/ns", pod.pid());
    let engine = Engine::new("crio-1.37", "", |config| {
        for path in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if let Some(Value::String(path)) = path.get_mut("path") {
                *path = path.replace("@POD@", &namespaces);
            }
        }
        change(config);
    });
    (pod, engine)
}

/// What it asks for in a container's life, and what it reads.
#[test]
fn crio_gets_what_it_asks_for() {
    needs!(!by_systemd(), "the cgroupfs driver, with which it was recorded");
    let (pod, crio) = crio(without_limits);
    let status = || -> String {
        let state: Value = serde_json::from_str(crio.does("ContainerStatus").ok()).unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    crio.does("CreateContainer").ok();
    assert_eq!(status(), "created");
    crio.does("StartContainer").ok();
    assert_eq!(status(), "running");
    let of = |c: &Container| fs::read_link(format!("/proc/{}/ns/net", c.pid())).unwrap();
    assert_eq!(of(&pod), of(&crio.c), "the pod's network");
    let out = crio.does("Exec");
    assert_eq!((out.code, &*out.stdout, &*out.stderr), (7, "hi\n", ""));
    crio.does("ExecSync").ok();
    until("the probe has spoken", || crio.c.stdout().ends_with("probed\n"));
    crio.does("PauseContainer").ok();
    assert_eq!(status(), "paused");
    crio.does("UnpauseContainer").ok();
    // Its program, as process 1, does not hear the first signal.
    crio.does("StopContainer").ok();
    assert_eq!(status(), "running");
    crio.does("StopContainer after its timeout").ok();
    until("the container ends", || status() == "stopped");
    let again = crio.does("StopContainer after its timeout");
    again.fails();
    let words = ["no such process", "container not running", "invalid process"];
    assert!(words.iter().any(|gone| again.stderr.contains(gone)), "{again:?}");
    crio.does("RemoveContainer").ok();
    crio.does("RemoveContainer").ok();
    crio.does("ContainerStatus").is_unknown();
}

/// It sends the signal to stop to whatever has a process, and waits for its end.
#[test]
fn crio_ends_what_it_has_only_created() {
    needs!(!by_systemd(), "the cgroupfs driver, with which it was recorded");
    deviates!("crun", "its init does not hear TERM");
    let (_pod, crio) = crio(without_limits);
    crio.does("CreateContainer").ok();
    crio.does("StopContainer").ok();
    until("the container ends", || crio.c.status() == "stopped");
    crio.does("RemoveContainer").ok();
}

/// In a pid namespace of the node nobody ends what outlives a container's first process.
#[test]
fn crio_ends_what_a_container_leaves_on_the_node() {
    needs!(!by_systemd(), "the cgroupfs driver, with which it was recorded");
    let (_pod, crio) = crio(|config| {
        without_limits(config);
        config["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
        config["process"]["args"] = json!(["sh", "-c", "sleep 1000 & echo $!; exec sleep 1000"]);
    });
    crio.does("CreateContainer").ok();
    crio.does("StartContainer").ok();
    until("the other one is there", || crio.c.stdout().ends_with('\n'));
    let left = Pid::from_raw(crio.c.stdout().trim().parse().unwrap()).unwrap();
    crio.c.stop();
    crio.does("the end in a pid namespace of the node").ok();
    assert!(exits(left), "it goes on");
    crio.does("RemoveContainer").ok();
}

#[test]
fn crio_changes_limits() {
    needs!(!by_systemd(), "the cgroupfs driver, with which it was recorded");
    let host = Hierarchy::of_host();
    needs!(host.has("cpu") && host.has("memory"), "limits");
    let (_pod, crio) = crio(|_| ());
    crio.does("CreateContainer").ok();
    crio.does("StartContainer").ok();
    assert_eq!(crio.limits()[0], "67108864");
    crio.does("UpdateContainerResources").ok();
    assert_eq!(crio.limits()[0], "134217728");
    let want = if host == Hierarchy::V1 { "300" } else { "39" };
    assert_eq!(crio.limits()[2], want);
}
