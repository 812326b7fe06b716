//! Where warnings and errors go, seen by fakes of those who read them: each makes the calls of
//! its engine (containerd's shim, conmon and podman, `BuildKit`, Docker, CRI-O, a person), gives
//! the runtime what it gives it as standard streams, and parses as the engine parses.
//!
//! The bundle gives cause for a warning in every step: a capability that nobody knows, to
//! `create` and to `exec`, and a `poststop` hook that fails, to `delete`.

use crate::cli::is_rfc3339;
use crate::harness::{Bundle, Call, Container, Output, Value, deviates, json, runtime};
use std::fs;
use std::path::PathBuf;

/// The program's own words: the first and only line of its standard error.
const OWN: &str = "the program's own words\n";

fn bundle() -> Bundle {
    let script = format!("echo {:?} >&2; exec sleep 1000", OWN.trim_end());
    Bundle::sh(&script)
        .capability("CAP_NONSENSE")
        .set("/hooks/poststop", json!([{"path": "/bin/false"}]))
}

/// A caller: the options that it gives before each command.
struct Caller<'a> {
    c: &'a Container,
    globals: Vec<String>,
    log: PathBuf,
}

impl<'a> Caller<'a> {
    /// One with a log; LOG stands for it.
    fn new(c: &'a Container, globals: &[&str]) -> Self {
        let log = c.bundle.dir().join("log.json");
        let text = log.to_str().unwrap();
        let globals = globals.iter().map(|word| word.replace("LOG", text)).collect();
        Self { c, globals, log }
    }

    fn prepared(&self, args: &[&str]) -> Call {
        self.c.call([]).args(&self.globals).args(args)
    }

    /// A call whose streams are the caller's own.
    fn call(&self, args: &[&str]) -> Output {
        self.prepared(args).run()
    }

    /// A call whose streams the container gets. What it has put there.
    fn hand_on(&self, args: &[&str]) -> Output {
        let (stdout, stderr) = (self.c.log("stdout"), self.c.log("stderr"));
        let mut output = self.prepared(args).output_to(stdout, stderr).run();
        (output.stdout, output.stderr) = (self.c.stdout(), self.c.stderr());
        output
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// containerd (go-runc) and `BuildKit`: a stream of objects, of which the last one with the
    /// level `error` is told. One that cannot be parsed spoils all.
    fn last_error(&self) -> Option<String> {
        let text = self.log();
        let mut error = None;
        for entry in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let entry = entry.unwrap_or_else(|e| panic!("{e} in {text}"));
            let field = |name: &str| entry[name].as_str().unwrap_or_else(|| panic!("{text}"));
            assert!(is_rfc3339(field("time")), "{text}");
            if field("level") == "error" {
                error = Some(field("msg").to_owned());
            }
        }
        error
    }

    /// podman: the whole file is one object. Empty means that conmon's own words are told.
    fn only_error(&self) -> Option<String> {
        let text = self.log();
        if text.is_empty() {
            return None;
        }
        let entry: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
        assert!(entry["level"].is_string() && entry["time"].is_string(), "{text}");
        Some(entry["msg"].as_str().unwrap().to_owned())
    }
}

/// The file of `exec --process`; its program prints the same words.
fn process(c: &Container, args: &[&str]) -> String {
    let mut process = c.bundle.config()["process"].clone();
    process["args"] = json!(args);
    let file = c.bundle.dir().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Exactly what the container has said.
#[track_caller]
fn only_own(output: &Output, times: usize) {
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(output.stderr, OWN.repeat(times), "{output:?}");
}

/// Until the program has said its words.
fn spoken(c: &Container, times: usize) -> Output {
    crate::harness::until("the program speaks", || c.stderr().matches(OWN).count() >= times);
    Output { code: 0, stdout: c.stdout(), stderr: c.stderr() }
}

/// The shim's calls, in the order of a container's life. `more` comes before all of its own
/// options, as Docker's `runtimeArgs` do.
fn life_under_containerd(c: &Container, more: &[&str]) -> Option<String> {
    let shim = Caller::new(c, &[more, &["--log", "LOG", "--log-format", "json"]].concat());
    let dir = c.bundle.dir().to_str().unwrap().to_owned();
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let pid_file = format!("{bundle}/init.pid");
    let id = c.id.as_str();
    only_own(&shim.hand_on(&["create", "--bundle", &bundle, "--pid-file", &pid_file, id]), 0);
    shim.call(&["start", id]).ok();
    only_own(&spoken(c, 1), 1);
    let words = format!("echo {:?} >&2", OWN.trim_end());
    let file = process(c, &["sh", "-c", &words]);
    let exec_pid = format!("{dir}/exec.pid");
    let exec = ["exec", "--process", &file, "--detach", "--pid-file", &exec_pid, id];
    assert_eq!(shim.hand_on(&exec).code, 0);
    only_own(&spoken(c, 2), 2);
    assert_eq!(shim.last_error(), None);
    // Both streams together are a list of numbers.
    let listed = shim.call(&["ps", "--format", "json", id]);
    let listed = format!("{}{}", listed.ok(), listed.stderr);
    let pids: Vec<i32> = serde_json::from_str(&listed).unwrap_or_else(|e| panic!("{e}: {listed}"));
    assert!(pids.contains(&c.pid().as_raw_pid()), "{pids:?}");
    let state = shim.call(&["state", id]);
    let state = format!("{}{}", state.ok(), state.stderr);
    serde_json::from_str::<Value>(&state).unwrap_or_else(|e| panic!("{e}: {state}"));
    // An error after all these warnings.
    let file = process(c, &["nonsense"]);
    let exec = ["exec", "--process", &file, "--detach", "--pid-file", &exec_pid, id];
    let failed = shim.prepared(&exec).run();
    let told = shim.last_error();
    assert!(failed.fails().contains("executable file not found in $PATH"), "{failed:?}");
    only_own(&spoken(c, 2), 2);
    shim.call(&["kill", id, "9"]).ok();
    crate::harness::until("the container ends", || c.status() == "stopped");
    assert_eq!(shim.call(&["delete", id]).code, 0);
    // What was told about the last call must still be found.
    let gone = shim.call(&["delete", id]);
    assert!(format!("{}{}", gone.stdout, gone.fails()).contains("does not exist"), "{gone:?}");
    let last = shim.last_error().unwrap();
    assert!(last.contains("does not exist"), "{last}");
    told
}

#[test]
fn r315_containerds_shim_hands_on_no_word_of_ours_and_finds_each_error() {
    deviates!("crun", "R091, R260: a hard error; other words");
    let c = bundle().container();
    let told = life_under_containerd(&c, &[]).unwrap();
    assert!(told.contains("executable file not found in $PATH"), "{told}");
}

/// Docker's way to see more: `"runtimeArgs": ["--log-level", "warning"]` in daemon.json.
#[test]
fn r315_r316_docker_may_ask_for_warnings_and_more_in_its_log() {
    deviates!(["runc", "crun"], "R316: none, or not so");
    for (more, tells) in [(&["--log-level", "warning"][..], false), (&["--debug"], true)] {
        let c = bundle().container();
        life_under_containerd(&c, more).unwrap();
        let text = fs::read_to_string(c.bundle.dir().join("log.json")).unwrap();
        let levels = |level: &str| {
            let level = format!("\"level\":\"{level}\"");
            text.lines().filter(|line| line.contains(&level)).count()
        };
        // `exec` does not repeat what `create` has told.
        assert_eq!(levels("warning"), 2, "{text}");
        assert!(text.contains("CAP_NONSENSE") && text.contains("hooks.poststop[0]"), "{text}");
        assert_eq!(levels("debug") > 0, tells, "{text}");
        assert_eq!(levels("error"), 2, "{text}");
    }
}

#[test]
fn r315_podman_finds_one_object_in_its_log_or_nothing() {
    deviates!("crun", "R091: a hard error");
    let c = bundle().container();
    let conmon = Caller::new(&c, &["--log-format=json", "--log", "LOG"]);
    let podman = Caller::new(&c, &[]);
    let bundle = c.bundle.path().to_str().unwrap().to_owned();
    let pid_file = c.bundle.dir().join("pidfile").to_str().unwrap().to_owned();
    let id = c.id.as_str();
    let create = ["create", "--bundle", &bundle, "--pid-file", &pid_file, id];
    only_own(&conmon.hand_on(&create), 0);
    deviates!("runc", "R315: warnings are in the log");
    assert_eq!(conmon.only_error(), None);
    podman.call(&["start", id]).ok();
    only_own(&spoken(&c, 1), 1);
    let file = process(&c, &["true"]);
    let exec_pid = c.bundle.dir().join("exec.pid").to_str().unwrap().to_owned();
    let exec = ["exec", "--pid-file", &exec_pid, "--process", &file, "--detach", id];
    only_own(&conmon.hand_on(&exec), 1);
    assert_eq!(conmon.only_error(), None);
    assert!(fs::exists(&exec_pid).unwrap());
    fs::remove_file(&exec_pid).unwrap();
    // Only now something goes wrong.
    process(&c, &["nonsense"]);
    assert_ne!(conmon.hand_on(&exec).code, 0);
    let message = conmon.only_error().unwrap();
    assert!(message.contains("executable file not found in"), "exit code 127: {message}");
    assert!(!fs::exists(&exec_pid).unwrap(), "no pid file: the runtime has failed");
    // Its own calls have its user's streams: nothing there on success.
    let kill = podman.call(&["kill", id, "9"]);
    assert_eq!((kill.ok(), kill.stderr.as_str()), ("", ""));
    crate::harness::until("the container ends", || c.status() == "stopped");
    podman.call(&["delete", "--force", id]).ok();
}

#[test]
fn r315_podman_finds_why_create_failed_whatever_was_to_be_warned_of() {
    deviates!(["runc", "crun"], "R315: warnings are in the log; R091: a hard error");
    for (args, class) in [
        (json!(["nonsense"]), "executable file not found in"),
        (json!(["/no/such"]), "no such file or directory"),
        (json!(["/etc"]), "permission denied"),
    ] {
        let c = bundle().set("/process/args", args).container();
        let conmon = Caller::new(&c, &["--log-format=json", "--log", "LOG"]);
        let path = c.bundle.path().to_str().unwrap().to_owned();
        let out = conmon.hand_on(&["create", "--bundle", &path, &c.id]);
        assert_ne!(out.code, 0, "{out:?}");
        let message = conmon.only_error().unwrap();
        assert!(message.to_lowercase().contains(class), "{message}");
        assert_eq!(out.stderr, format!("pinnace: {message}\n"), "the error, and nothing else");
    }
}

/// Of a runtime whose name podman does not know, conmon reads standard error: once, at most
/// 8191 bytes, when the call has failed.
#[test]
fn conmon_without_a_log_finds_the_error_in_one_read() {
    deviates!("crun", "R091: a hard error");
    let c = bundle().set("/process/args", json!(["nonsense"])).container();
    let conmon = Caller::new(&c, &[]);
    let path = c.bundle.path().to_str().unwrap().to_owned();
    let out = conmon.hand_on(&["create", "--bundle", &path, &c.id]);
    assert_ne!(out.code, 0, "{out:?}");
    let read = &out.stderr.as_bytes()[..out.stderr.len().min(8191)];
    let read = String::from_utf8_lossy(read);
    assert!(read.contains("executable file not found in $PATH"), "{read}");
}

#[test]
fn r315_buildkit_runs_in_the_foreground_and_shows_only_the_programs_words() {
    deviates!("crun", "R091: a hard error");
    let script = format!("echo {:?} >&2; exit 3", OWN.trim_end());
    let c = bundle().set("/process/args", json!(["sh", "-c", script])).container();
    let worker = Caller::new(&c, &["--log", "LOG", "--log-format", "json"]);
    let path = c.bundle.path().to_str().unwrap().to_owned();
    let out = worker.call(&["run", "--bundle", &path, "--keep", &c.id]);
    assert_eq!((out.code, out.stderr.as_str()), (3, OWN), "{out:?}");
    assert_eq!(worker.last_error(), None);
    deviates!("runc", "R118: a poststop hook that fails is an error");
    assert_eq!(worker.call(&["delete", &c.id]).code, 0);
    let out = worker.call(&["run", "--bundle", &path, &c.id]);
    assert_eq!((out.code, out.stderr.as_str()), (3, OWN), "{out:?}");
    assert_eq!(worker.last_error(), None);
    assert_ne!(worker.call(&["state", &c.id]).code, 0);
    assert!(worker.last_error().unwrap().contains("does not exist"));
}

/// CRI-O reads both streams of these as one document.
#[test]
fn cri_o_finds_nothing_beside_features_and_version() {
    let c = Bundle::sleeper().container();
    let features = Call::new(&runtime().path).args(["features"]).run();
    deviates!("crun", "R320: none in 1.8.1");
    let text = format!("{}{}", features.ok(), features.stderr);
    serde_json::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let version = c.call(["--version"]).run();
    assert_eq!((version.code, version.stderr.as_str()), (0, ""));
}

/// Whoever gives no log is a person, or shows standard error to one.
#[test]
fn r314_a_person_sees_warnings_on_standard_error_or_in_the_log_that_was_named() {
    deviates!(["runc", "crun"], "R314: other words");
    let warned = |options: &[&str]| {
        let c = bundle().container();
        let person = Caller::new(&c, options);
        let path = c.bundle.path().to_str().unwrap().to_owned();
        let create = person.hand_on(&["create", "--bundle", &path, &c.id]);
        assert_eq!(create.code, 0, "{create:?}");
        let delete = person.call(&["delete", "--force", &c.id]);
        assert_eq!(delete.code, 0, "{delete:?}");
        let both = |text: &str| text.contains("CAP_NONSENSE") && text.contains("hooks.poststop[0]");
        let stderr = create.stderr + &delete.stderr;
        let (log, told) = (person.log(), both(&stderr));
        let lines = stderr.lines().filter(|line| !line.starts_with("pinnace: warning: ")).count();
        assert_eq!(lines, 0, "{stderr}");
        assert!(told || stderr.is_empty(), "all or nothing: {stderr}");
        assert!(both(&log) || log.is_empty(), "all or nothing: {log}");
        (told, both(&log))
    };
    for (options, stderr, log) in [
        (&[][..], true, false),
        (&["--log-format", "json"], true, false),
        (&["--log", ""], true, false),
        (&["--log-level", "error"], false, false),
        (&["--log", "LOG"], false, true),
        (&["--log", "LOG", "--log-format", "text"], false, true),
        (&["--log", "LOG", "--log-level", "error"], false, false),
        (&["--log", "LOG", "--log-format", "json"], false, false),
        (&["--log", "LOG", "--log-format", "json", "--log-level", "auto"], false, false),
        (&["--log", "LOG", "--log-format", "json", "--log-level", "warning"], false, true),
    ] {
        assert_eq!(warned(options), (stderr, log), "{options:?}");
    }
}

/// A text log tells the level of each line, as those of Go programs do.
#[test]
fn r314_a_line_of_a_text_log_has_time_level_and_message() {
    deviates!(["runc", "crun"], "R314: other words");
    let c = bundle().container();
    let person = Caller::new(&c, &["--log", "LOG"]);
    let path = c.bundle.path().to_str().unwrap().to_owned();
    assert_eq!(person.hand_on(&["create", "--bundle", &path, &c.id]).code, 0);
    person.call(&["create", "--bundle", &path, &c.id]).fails_with(&["already exists"]);
    let log = person.log();
    let lines: Vec<_> = log.lines().collect();
    for line in &lines {
        let time = line.strip_prefix("time=\"").and_then(|rest| rest.split('"').next()).unwrap();
        assert!(is_rfc3339(time) && line.contains(" msg=\""), "{line}");
    }
    assert!(lines[0].contains(" level=warning "), "{log}");
    assert!(lines.last().unwrap().contains(" level=error "), "{log}");
}
