//! What people type who come from other programs, look in the wrong place, or make a typing
//! error: they are told the way out, or it works.

use crate::harness::{
    Bundle, Call, Container, by_systemd, copy_program, deviates, directory, json, lacks, needs,
    runtime, until, write_program,
};
use crate::security::rootless::{Rootless, rootless};
use crate::words::says;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const BOTH: [&str; 2] = ["runc", "crun"];

fn at(root: &Path, args: &[&str]) -> Call {
    Call::new(&runtime().path).args(["--root", root.to_str().unwrap()]).args(args)
}

/// A further container of the same bundle and state directory, gone with its test.
struct Another<'a> {
    of: &'a Container,
    id: String,
}

impl<'a> Another<'a> {
    fn new(of: &'a Container, name: &str) -> Self {
        let another = Self { of, id: format!("{}-{name}", of.id) };
        let bundle = of.bundle.path();
        let run = ["run", "--detach", "--bundle", bundle.to_str().unwrap(), &another.id];
        of.detached(run).ok();
        another
    }
}

impl Drop for Another<'_> {
    fn drop(&mut self) {
        self.of.call(["delete", "--force", &self.id]).run();
    }
}

fn ids(c: &Container) -> Vec<String> {
    c.call(["list", "--quiet"]).run().ok().lines().map(str::to_owned).collect()
}

#[test]
fn a_mistyped_command_or_option_is_told_with_the_nearest() {
    deviates!(BOTH, "other words");
    let root = directory();
    for (args, words) in [
        (&["rum", "x"][..], ["unknown command \"rum\"", "did you mean run? `pinnace --help`"]),
        (&["lst"], ["unknown command", "did you mean list?"]),
        (&["delte", "x"], ["unknown command", "did you mean delete?"]),
        (
            &["run", "--bundel", "/x", "y"],
            ["--bundel: unknown", "did you mean --bundle? `pinnace run"],
        ),
        (&["list", "--quite"], ["--quite: unknown", "did you mean --quiet?"]),
        (&["update", "--memroy=5", "x"], ["--memroy: unknown", "did you mean --memory?"]),
        (
            &["--systemd-cgrup", "list"],
            ["--systemd-cgrup: unknown", "did you mean --systemd-cgroup?"],
        ),
        (&["nonsense"], ["unknown command", "(`pinnace --help` lists what there is)"]),
        (&["list", "--nonsense"], ["--nonsense: unknown", "(`pinnace list --help` lists"]),
    ] {
        says(&at(root.path(), args).run(), &words);
    }
}

#[test]
fn what_other_programs_call_it_is_told_with_our_name() {
    deviates!(BOTH, "other words");
    let root = directory();
    for (args, words) in [
        (&["rm", "x"][..], ["unknown command", "`pinnace delete CONTAINER`"]),
        (&["ls"], ["unknown command", "`pinnace list`"]),
        (&["stop", "x"], ["unknown command", "`pinnace kill CONTAINER`"]),
        (&["logs", "x"], ["unknown command", "the output of `create` or `run`"]),
        (&["kill", "-9", "x"], ["-9: unknown", "`pinnace kill CONTAINER KILL`"]),
        (&["kill", "-s", "KILL", "x"], ["-s: unknown", "`pinnace kill CONTAINER KILL`"]),
        (&["ps", "-o", "pid", "x"], ["-o: unknown", "behind CONTAINER"]),
        (&["list", "--root", "/x"], ["--root: unknown", "`pinnace --root ... list`"]),
        (&["list", "--no-headers"], ["--no-headers: unknown", "`pinnace list --quiet`"]),
        (&["update", "--cpus", "0.5", "x"], ["--cpus: unknown", "--cpu-quota 50000"]),
        (&["run", "x", "sh"], ["sh: unknown", "process.args of config.json"]),
        (&["run", "-it", "x"], ["-it: unknown", "config.json"]),
    ] {
        says(&at(root.path(), args).run(), &words);
    }
}

#[test]
fn r323_help_and_version_have_the_names_that_people_try() {
    let own = |args: &[&str]| Call::new(&runtime().path).args(args).run();
    deviates!("crun", "R323: no such command");
    assert_eq!(own(&["help", "kill"]).ok(), own(&["kill", "--help"]).ok());
    deviates!("runc", "other words");
    assert_eq!(own(&["help", "--help"]).ok(), own(&["--help"]).ok());
    says(&own(&["help", "kil"]), &["unknown command \"kil\"", "did you mean kill?"]);
    for name in ["version", "-V"] {
        assert_eq!(own(&[name]).ok(), own(&["--version"]).ok(), "{name}");
    }
}

/// podman asks by the exit status whether there is one.
#[test]
fn checkpoint_and_restore_are_told_as_not_supported_yet() {
    deviates!(BOTH, "they have it");
    for args in [["checkpoint", "--help"], ["restore", "--help"], ["checkpoint", "x"]] {
        let out = Call::new(&runtime().path).args(args).run();
        says(&out, &[&format!("{} is not supported yet", args[0])]);
        assert_eq!(out.code, 1);
    }
}

#[test]
fn r374_r377_several_containers_are_named_in_one_call() {
    let c = Bundle::sleeper().container().up();
    deviates!(BOTH, "R377: one at a time");
    let (two, three) = (Another::new(&c, "2"), Another::new(&c, "3"));
    let (one, two, three) = (c.id.as_str(), two.id.as_str(), three.id.as_str());
    // A typing error of the signal sends none.
    for words in [&[one, "KIL"][..], &[one, two, "KIL"], &[one, "no-such"]] {
        let out = c.call(["kill"]).args(words).run();
        says(&out, &["unknown signal", words.last().unwrap()]);
        assert_eq!(c.status(), "running");
    }
    c.call(["kill", "no-such", one]).run().is_unknown();
    assert_eq!(c.status(), "running");
    c.call(["kill", one, two, "KILL"]).run().ok();
    let status = |id: &str| -> Value {
        serde_json::from_str::<Value>(c.call(["state", id]).run().ok()).unwrap()["status"].clone()
    };
    until("both have ended", || [one, two].into_iter().all(|id| status(id) == "stopped"));
    assert_eq!(status(three), "running");
    // What fails is told, and the others are deleted.
    let out = c.call(["delete", one, "no-such", three, two]).run();
    says(&out, &["2 of 4 containers: ", "\"no-such\" does not exist", three, "running"]);
    assert_eq!(ids(&c), [three]);
    // Options may stand behind names.
    c.call(["delete", three, "--force"]).run().ok();
    assert!(ids(&c).is_empty());
}

#[test]
fn r374_an_empty_signal_is_the_default_one() {
    deviates!(BOTH, "R374: an error");
    let c = Bundle::server().container().up_and_ready();
    c.call(["kill", &c.id, ""]).run().ok();
    until("TERM has been sent", || c.status() == "stopped");
}

#[test]
fn r377_delete_takes_all_by_one_option() {
    deviates!(BOTH, "R377: none");
    let c = Bundle::sleeper().container().up();
    let two = Another::new(&c, "2");
    says(&c.call(["delete"]).run(), &["CONTAINER is missing", "`pinnace delete --help`"]);
    says(&c.call(["delete", "--all", &two.id]).run(), &["--all: a CONTAINER is given, too"]);
    says(&c.call(["delete", "--all"]).run(), &["2 of 2 containers: ", "use --force"]);
    assert_eq!(ids(&c).len(), 2);
    c.call(["delete", "--all", "--force"]).run().ok();
    assert!(ids(&c).is_empty());
}

#[test]
fn r376_r379_what_is_the_same_for_many_is_told_once() {
    deviates!(BOTH, "R379: none");
    let c = Bundle::sleeper().container().up();
    let others = ["a", "b", "c"].map(|name| Another::new(&c, name));
    let out = c.call(["delete", "--regex", "."]).run();
    let [a, b, d] = others.each_ref().map(|other| other.id.as_str());
    says(&out, &["4 of 4 containers: ", &format!("the same of {a}, {b}, {d}")]);
    assert_eq!(out.stderr.matches("cannot delete").count(), 1, "{out:?}");
    // That a pattern fits none is no error, but told.
    for verb in [&["delete"][..], &["kill"]] {
        let out = c.call([]).args(verb).args(["--regex", "no such one"]).run();
        out.ok();
        assert!(out.stderr.contains("warning: --regex: no container's name"), "{out:?}");
    }
    c.call(["delete", "--force", "--regex", "."]).run().ok();
}

#[test]
fn an_unknown_id_is_told_with_the_place_where_it_was_looked_for() {
    deviates!(BOTH, "other words");
    let root = directory();
    let shown = root.path().display();
    let looked = format!("looked for in {shown}; `pinnace list` names those there, --root");
    for args in [
        &["state", "x"][..],
        &["start", "x"],
        &["kill", "x", "9"],
        &["delete", "x"],
        &["ps", "x"],
        &["exec", "x", "true"],
        &["pause", "x"],
        &["update", "--pids-limit", "5", "x"],
        &["events", "--stats", "x"],
    ] {
        says(&at(root.path(), args).run(), &["container \"x\" does not exist (", &looked]);
    }
}

#[test]
fn r317_an_empty_root_is_not_the_default_one() {
    deviates!(BOTH, "R317: the working directory");
    for args in [&["--root=", "list"][..], &["--root", "", "delete", "--all"]] {
        says(&Call::new(&runtime().path).args(args).run(), &["--root: \"\": is the name of no"]);
    }
}

/// The runtime as an ordinary user who has no session, in a private /run.
fn without_session(c: &Container, prepare: &str, args: &[&str]) -> Call {
    let program = c.bundle.dir().join("runtime");
    copy_program(&runtime().path, &program);
    let script = format!(
        "mount -t tmpfs -o mode=755 none /run && {{ {prepare}; }} && unset XDG_RUNTIME_DIR && \
         exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all \"$0\" \"$@\""
    );
    Call::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", &script])
        .args([program.as_path()])
        .args(args)
}

#[test]
fn r317_a_user_without_a_session_is_told_what_to_set() {
    deviates!(BOTH, "other words");
    let c = rootless(Bundle::sleeper()).container();
    let bundle = c.bundle.path();
    let run = ["run", "--bundle", bundle.to_str().unwrap(), &c.id];
    let way = "XDG_RUNTIME_DIR is not set: an ordinary user sets it";
    for (args, words) in [
        (&run[..], ["state directory: mkdir /run/pinnace", "permission denied"]),
        (&["state", "x"], ["container \"x\" does not exist", "looked for in /run/pinnace"]),
        (&["kill", "x", "9"], ["container \"x\" does not exist", "looked for in /run/pinnace"]),
    ] {
        let out = without_session(&c, "true", args).run();
        says(&out, &words);
        says(&out, &[way]);
    }
    // Root's containers are there, and not the user's to see.
    let out = without_session(&c, "mkdir -m 1711 /run/pinnace", &["list"]).run();
    says(&out, &["state directory: read /run/pinnace: permission denied", way]);
    // One that is set, but is not there.
    let script = "XDG_RUNTIME_DIR=/run/user/nobody exec \"$0\" \"$@\"";
    let args = ["-c", script, c.bundle.dir().join("runtime").to_str().unwrap()].map(str::to_owned);
    let out = Call::new("/usr/bin/setpriv")
        .args(["--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all", "/bin/sh"])
        .args(args)
        .args(run)
        .run();
    says(&out, &["XDG_RUNTIME_DIR: mkdir /run/user/nobody", "to a directory of your own"]);
    for args in [&["spec", "--help"][..], &["features"], &["list"]] {
        without_session(&c, "true", args).run().ok();
    }
}

/// As after su(1): the session is there, and only its variable is not.
#[test]
fn r317_a_user_finds_the_directory_of_the_session() {
    deviates!(BOTH, "R317: the variable alone");
    let c = Bundle::sleeper().container();
    let session =
        "mkdir -p /run/user/1000 && chown 1000:1000 /run/user/1000 && chmod 700 /run/user/1000";
    let out = without_session(&c, session, &["state", "x"]).run();
    says(&out, &["does not exist", "looked for in /run/user/1000/pinnace"]);
    // Somebody else's is not believed.
    let theirs = "mkdir -p /run/user/1000/pinnace && chown -R 1001:1001 /run/user/1000";
    let out = without_session(&c, theirs, &["list"]).run();
    says(&out, &["state directory: ", "belongs to uid 1001"]);
}

#[test]
fn r319_a_user_who_may_make_no_cgroup_is_told_which_field_wants_one() {
    deviates!(BOTH, "other words");
    needs!(!by_systemd(), "cgroups made by hand");
    for (options, bundle, words) in [
        (&["--rootless=false"][..], Bundle::sleeper(), ["mkdir /", "may not make cgroups"]),
        (
            &[],
            Bundle::sleeper().set("/linux/cgroupsPath", json!("/no/rights")),
            ["linux.cgroupsPath: mkdir /", "may not make cgroups"],
        ),
    ] {
        let c = rootless(bundle).container();
        let user = Rootless::new(&c);
        let mut args = options.to_vec();
        let bundle = c.bundle.path();
        args.extend(["run", "--bundle", bundle.to_str().unwrap(), &c.id]);
        says(&user.call(&args).run(), &words);
    }
}

#[test]
fn a_user_who_lowers_the_oom_score_is_told_who_may() {
    deviates!(BOTH, "other words");
    let bundle = rootless(Bundle::sleeper()).set("/process/oomScoreAdj", json!(-500));
    let c = bundle.container();
    let bundle = c.bundle.path();
    let out = Rootless::new(&c).call(&["run", "--bundle", bundle.to_str().unwrap(), &c.id]).run();
    says(&out, &["process.oomScoreAdj: write -500", "permission denied", "only root may"]);
}

#[test]
fn a_user_who_enters_a_created_container_is_told_when_it_may_be_entered() {
    deviates!(BOTH, "they may enter it");
    let c = rootless(Bundle::sleeper()).container();
    let user = Rootless::new(&c);
    let bundle = c.bundle.path();
    let create = user.call(&["create", "--bundle", bundle.to_str().unwrap(), &c.id]);
    create.output_to(c.log("stdout"), c.log("stderr")).run().ok();
    says(
        &user.call(&["exec", &c.id, "true"]).run(),
        &["permission denied", "once it has been started"],
    );
    user.call(&["start", &c.id]).run().ok();
    user.call(&["exec", &c.id, "true"]).run().ok();
    user.call(&["delete", "--force", &c.id]).run().ok();
}

#[test]
fn newuidmap_is_named_once() {
    deviates!(BOTH, "other words");
    needs!(Path::new("/usr/bin/newuidmap").exists(), "newuidmap");
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1},
        {"containerID": 1, "hostID": 4_000_000, "size": 10}]);
    let bundle = rootless(Bundle::sleeper())
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    let c = bundle.container();
    let bundle = c.bundle.path();
    let out = Rootless::new(&c).call(&["run", "--bundle", bundle.to_str().unwrap(), &c.id]).run();
    says(&out, &["linux.gidMappings: newgidmap: ", "/etc/subgid"]);
    assert_eq!(out.stderr.matches("newgidmap:").count(), 1, "{out:?}");
}

#[test]
fn r314_a_kind_of_log_is_no_file() {
    deviates!(BOTH, "R314: a file of that name; kinds");
    let dir = directory();
    for (log, word) in [
        ("journald:x", "journald is not written to"),
        ("syslog:x", "syslog is not written to"),
        ("file:log", "give the path alone: --log log"),
    ] {
        let root = dir.path().join("state");
        let call = at(&root, &["--log", log, "state", "x"]).current_dir(dir.path());
        says(&call.run(), &[&format!("--log: {log:?} is not the name of a file"), word]);
        assert!(!dir.path().join(log).exists());
    }
    let log = dir.path().join("journald:x");
    at(&dir.path().join("state"), &["--log", log.to_str().unwrap(), "state", "x"])
        .run()
        .is_unknown();
    assert!(log.exists(), "a path is one, whatever is in it");
}

#[test]
fn the_cgroup_manager_has_the_name_that_crun_gives_it() {
    deviates!("runc", "R320: --systemd-cgroup alone");
    let c = Bundle::sh("echo ran").container();
    let bundle = c.bundle.path();
    let run = ["run", "--bundle", bundle.to_str().unwrap(), &c.id];
    assert_eq!(c.call(["--cgroup-manager=cgroupfs"]).args(run).run().ok(), "ran\n");
    deviates!("crun", "has a third one");
    says(
        &c.call(["--cgroup-manager", "disabled", "list"]).run(),
        &["--cgroup-manager: ", "not supported"],
    );
    says(&c.call(["--cgroup-manager", "x", "list"]).run(), &["neither cgroupfs nor systemd"]);
    // Where there is no systemd, it is asked all the same.
    if !Path::new("/run/systemd/system").exists() {
        let out = c.call(["--cgroup-manager", "systemd"]).args(run).run();
        assert_eq!(out.stderr, c.call(["--systemd-cgroup"]).args(run).run().stderr);
        out.fails();
    }
}

#[test]
fn r364_a_list_as_json_is_a_line() {
    deviates!("crun", "R364: [] for an empty list");
    let c = Bundle::sleeper().container();
    fs::create_dir(c.root()).unwrap();
    fs::set_permissions(c.root(), fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(c.call(["list", "--format", "json"]).run().ok(), "null\n");
    let c = c.up();
    let text = c.call(["list", "--format", "json"]).run().ok().to_owned();
    assert!(text.starts_with('[') && text.ends_with("]\n"), "{text}");
}

#[test]
fn r368_options_of_ps_may_stand_behind_two_dashes() {
    deviates!(BOTH, "R368: they are given to ps(1)");
    let c = Bundle::sleeper().container().up();
    let pid = c.pid().as_raw_pid().to_string();
    let out = c.call(["ps", &c.id, "--", "-eo", "pid"]).run();
    assert!(out.ok().lines().any(|line| line.trim() == pid), "{out:?}");
    let out = c.call(["ps", &c.id, "--no-such-option-of-ps"]).run();
    says(&out, &["ps --no-such-option-of-ps: ", "behind CONTAINER"]);
}

#[test]
fn update_without_an_option_says_that_it_changes_nothing() {
    let c = Bundle::sleeper().container().up();
    let out = c.call(["update", &c.id]).run();
    out.ok();
    deviates!(BOTH, "silent");
    assert!(out.stderr.contains("warning: update: no option is given"), "{out:?}");
}

#[test]
fn r396_spec_tells_what_is_wrong_with_its_file() {
    deviates!(BOTH, "other words");
    let dir = directory();
    let dir = dir.path().to_str().unwrap();
    let own = |args: &[&str]| Call::new(&runtime().path).args(args).run();
    let out = own(&["spec", "--bundle", "/nope"]);
    says(&out, &["write /nope/config.json: no such file or directory", "directory must be there"]);
    assert!(!out.stderr.contains("overwritten"), "{out:?}");
    own(&["spec", "--bundle", dir]).ok();
    says(&own(&["spec", "--bundle", dir]), &["file exists", "is not overwritten"]);
}

/// A terminal has no end, and whoever reads it waits for one.
#[test]
fn r080_the_end_of_standard_input_is_told_to_a_terminal() {
    deviates!(BOTH, "it is not told: the program waits for ever");
    let terminal =
        |script: &str| Bundle::sh(script).set("/process/terminal", json!(true)).container();
    // Called by cron(8), nohup(1), `ssh -n`.
    let c = terminal("cat; echo over");
    assert_eq!(c.run().ok().replace('\r', ""), "over\n");
    // An interactive shell reads by characters, and only some time after it has been started.
    for shell in [json!(["sh"]), json!(["sh", "-i"])] {
        let c = Bundle::sleeper()
            .set("/process/terminal", json!(true))
            .set("/process/args", shell)
            .container();
        c.run().ok();
    }
    let c = Bundle::sleeper().container().up();
    for (text, want) in [("x\n", "x\nx\n"), ("half", "halfhalf"), ("", "")] {
        let out = c.call(["exec", "--tty", &c.id, "cat"]).stdin(text).run();
        assert_eq!(out.ok().replace('\r', ""), want, "{text:?}");
    }
    // Who has changed to single characters meanwhile is told again.
    let script = "cat; stty -icanon -echo; echo now; head -c 1 | od -An -tx1";
    let out = c.call(["exec", "--tty", &c.id, "sh", "-c", script]).run();
    assert!(out.ok().contains("04"), "{out:?}");
}

/// A copy of the scripts, which work in the directory above theirs.
fn scripts(names: &[&str]) -> Option<tempfile::TempDir> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack");
    if !source.join("demo").exists() || !Path::new("/bin/bash").exists() {
        lacks("the scripts of hack/");
        return None;
    }
    let dir = directory();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("hack")).unwrap();
    for name in names {
        fs::copy(source.join(name), dir.path().join("hack").join(name)).unwrap();
    }
    let deps = dir.path().join("hack/deps");
    write_program(&deps, "#!/bin/sh\n");
    fs::set_permissions(&deps, fs::Permissions::from_mode(0o755)).unwrap();
    copy_program(&runtime().path, &dir.path().join("runtime"));
    Some(dir)
}

#[test]
fn the_demo_runs_as_root_and_as_an_ordinary_user() {
    deviates!("crun", "refuses this host's cgroups");
    for uid in [0, 1000] {
        let Some(dir) = scripts(&["demo", "prelude.sh", "rootfs"]) else { return };
        if uid != 0 {
            deviates!("runc", "R319: wants a session");
            let owned = Call::new("/bin/chown").args(["-R", "1000:1000"]);
            owned.args([dir.path()]).run().ok();
        }
        let program = dir.path().join("runtime");
        let out = Call::new("/usr/bin/env")
            .args(["-u", "XDG_RUNTIME_DIR", "setpriv"])
            .args([format!("--reuid={uid}"), format!("--regid={uid}")])
            .args(["--clear-groups", "/bin/bash"])
            .args([dir.path().join("hack/demo")])
            .env("RUNTIME", program.to_str().unwrap())
            .env("HOME", "/nonexistent")
            .env("TERM", "xterm")
            .run();
        let text = out.ok();
        assert!(text.contains("Hello from a container!\n"), "{out:?}");
        assert!(text.contains("my pid      1:"), "{out:?}");
        assert!(text.contains("read-only, but for /tmp"), "{out:?}");
        assert!(text.contains("That worked."), "{out:?}");
        assert!(!text.contains('\u{1b}'), "no terminal, and yet: {text:?}");
        let config = fs::read_to_string(dir.path().join("demo/config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        let mounts = config["mounts"].as_array().unwrap();
        assert!(mounts.iter().any(|m| m["destination"] == "/tmp" && m["type"] == "tmpfs"));
    }
}

/// What is installed into a directory for a package says where it will be.
#[test]
fn install_tells_where_the_program_will_be_found() {
    needs!(runtime().name != "runc" && runtime().name != "crun", "pinnace's own script");
    let Some(dir) = scripts(&["install", "prelude.sh"]) else { return };
    let work = dir.path();
    fs::create_dir_all(work.join("bin")).unwrap();
    fs::create_dir_all(work.join("src")).unwrap();
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["Cargo.toml", "Cargo.lock", "share"].map(|name| tree.join(name));
    Call::new("/bin/cp").args(["-r"]).args(files).args([work]).run().ok();
    copy_program(&work.join("runtime"), &work.join("bin/pinnace"));
    copy_program(&tree.join("bin/pinnace-image"), &work.join("bin/pinnace-image"));
    let install = |env: &[(&str, &str)]| {
        let call = Call::new("/bin/bash").args([work.join("hack/install")]);
        env.iter().fold(call, |call, (name, value)| call.env(name, value)).run()
    };
    let to = work.join("package");
    let to = to.to_str().unwrap();
    let out = install(&[("DESTDIR", to), ("PREFIX", "/usr")]);
    out.ok();
    assert!(out.stderr.contains(&format!("installed: {to}/usr/sbin/pinnace")), "{out:?}");
    assert!(!out.stderr.contains("podman"), "{out:?}");
    for file in [
        "sbin/pinnace",
        "sbin/pinnace-image",
        "share/man/man8/pinnace.8",
        "share/man/man8/pinnace-image.8",
        "share/man/man8/pinnace-create.8",
        "share/bash-completion/completions/pinnace",
        "share/zsh/site-functions/_pinnace",
        "share/fish/vendor_completions.d/pinnace.fish",
    ] {
        assert!(Path::new(to).join("usr").join(file).exists(), "{file}");
    }
    let out = install(&[("PREFIX", "relative")]);
    assert!(out.fails().contains("PREFIX=relative is no absolute path"), "{out:?}");
    let home = work.join("home");
    let home = home.to_str().unwrap();
    let out = install(&[("PREFIX", home)]);
    out.ok();
    for word in [
        format!("podman --runtime {home}/sbin/pinnace run"),
        format!("man {home}/share/man/man8/pinnace.8"),
        "not in your PATH".to_owned(),
    ] {
        assert!(out.stderr.contains(&word), "{word}: {out:?}");
    }
    // One that is older than its sources is built anew.
    let build = work.join("hack/build");
    write_program(&build, "#!/bin/sh\necho built anew >&2\n");
    fs::set_permissions(&build, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!install(&[("PREFIX", home)]).stderr.contains("built anew"));
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::open(work.join("bin/pinnace")).unwrap().set_modified(old).unwrap();
    needs!(Call::new("/bin/sh").args(["-c", "command -v cargo"]).run().code == 0, "cargo");
    let out = install(&[("PREFIX", home)]);
    assert!(out.stderr.contains("built anew"), "{out:?}");
}
