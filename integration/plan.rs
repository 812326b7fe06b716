//! `plan` as a person meets it: it looks at the host as its caller, tells all that `run` would
//! refuse, and what is ignored without a word.

use crate::harness::{Bundle, Call, Container, Output, Value, deviates, json, runtime};
use crate::security::rootless::{Rootless, rootless};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

const BOTH: [&str; 2] = ["runc", "crun"];

const OURS: &str = "`plan` is pinnace's";

/// `plan --json` of a bundle.
fn plan(c: &Container) -> (Output, Value) {
    let bundle = c.bundle.path();
    read(c.call(["plan", "--json", "--bundle", bundle.to_str().unwrap()]))
}

fn read(call: Call) -> (Output, Value) {
    let out = call.run();
    let document = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:#?}"));
    (out, document)
}

/// The findings of one severity, as `field: rule`.
fn findings(document: &Value, severity: &str) -> Vec<String> {
    let all = document["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["severity"] == severity)
        .map(|finding| {
            assert!(finding["section"].is_string(), "{finding}");
            format!("{}: {}", finding["field"].as_str().unwrap(), finding["rule"].as_str().unwrap())
        })
        .collect()
}

/// One of them has all the words.
#[track_caller]
fn tells(findings: &[String], words: &[&str]) {
    let fits = |finding: &String| words.iter().all(|word| finding.contains(word));
    assert!(findings.iter().any(fits), "no {words:?} in {findings:#?}");
}

/// What is missing on the host: field by which both name it, and words of the finding.
type Missing = (fn(Bundle) -> Bundle, &'static str, &'static [&'static str]);

fn hook(bundle: Bundle, kind: &str, path: &Path) -> Bundle {
    bundle.set(&format!("/hooks/{kind}/-"), json!({"path": path}))
}

const MISSING: &[Missing] = &[
    (
        |b| b.set("/root/path", json!("nowhere")),
        "root.path",
        &["nowhere", "no such file or directory", "the container's files belong there"],
    ),
    (
        |b| b.set("/root/path", json!("config.json")),
        "root.path",
        &["config.json", "not a directory"],
    ),
    (
        |b| b.bind(Path::new("/no/such/source"), "/mnt", &["rbind"]),
        "mounts[6]",
        &["/no/such/source", "no such file or directory", "must exist on the host"],
    ),
    (
        |b| b.mount("tmpsf", "tmpfs", "/mnt", &[]),
        "mounts[6]",
        &["tmpsf", "did you mean \"tmpfs\"?"],
    ),
    (|b| b.mount("tmpsf.x", "tmpfs", "/mnt", &[]), "mounts[6]", &["no file system \"tmpsf.x\""]),
    (
        |b| hook(b, "createRuntime", Path::new("/no/such/hook")),
        "hooks.createRuntime[0]",
        &["/no/such/hook", "no such file or directory", "on the host"],
    ),
    (|b| hook(b, "prestart", Path::new("/")), "hooks.prestart[0]", &["permission denied"]),
    (
        |b| {
            let script = b.script("hook", "exit 0");
            fs::set_permissions(&script, fs::Permissions::from_mode(0o600)).unwrap();
            hook(b, "createContainer", &script)
        },
        "hooks.createContainer[0]",
        &["permission denied"],
    ),
    (|b| hook(b, "poststart", Path::new("/no/such/hook")), "hooks.poststart[0]", &["no such file"]),
    (
        |b| b.namespace("network", Some("/run/netns/no-such-one")),
        "linux.namespaces[4].path",
        &["/run/netns/no-such-one", "no such file or directory", "/proc/PID/ns/net"],
    ),
    (
        |b| b.namespace("ipc", Some("/etc/passwd")),
        "linux.namespaces[4].path",
        &["/etc/passwd", "is not a namespace file", "/proc/PID/ns/ipc"],
    ),
    (
        |b| b.namespace("ipc", Some("/proc/self/ns/uts")),
        "linux.namespaces[4].path",
        &["is a namespace of type uts"],
    ),
    (
        |b| b.set("/linux/netDevices", json!({"no-such-dev0": {}})),
        "linux.netDevices.no-such-dev0",
        &["the host has no such network device"],
    ),
    (
        |b| b.set("/process/rlimits/0/hard", json!(999_999_999_999_u64)),
        "process.rlimits[0]",
        &["RLIMIT_NOFILE"],
    ),
];

#[test]
fn what_run_would_refuse_on_this_host_plan_finds() {
    deviates!(BOTH, OURS);
    for (bend, field, words) in MISSING {
        let c = bend(Bundle::sh("true")).container();
        let (out, document) = plan(&c);
        assert_eq!(out.code, 1, "{field}: {document:#}");
        assert_eq!(document["plan"], Value::Null);
        let told: Vec<&str> = words.iter().copied().chain([*field]).collect();
        tells(&findings(&document, "error"), &told);
        let run = c.run();
        assert!(run.fails().contains(field), "{field}: {run:#?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:#?}");
    }
}

#[test]
fn what_the_host_lacks_is_told_all_at_once() {
    deviates!(BOTH, OURS);
    let c = Bundle::sh("true")
        .set("/root/path", json!("nowhere"))
        .set("/linux/rootfsPropagation", json!("sideways"))
        .mount("tmpsf", "tmpfs", "/one", &[])
        .bind(Path::new("/no/such/one"), "/one", &["rbind"])
        .bind(Path::new("/no/such/other"), "/other", &["rbind"]);
    let c = hook(c, "prestart", Path::new("/no/such/hook")).namespace("ipc", Some("/no/such/ns"));
    let c = c.container();
    let (out, document) = plan(&c);
    assert_eq!(out.code, 1);
    let all = findings(&document, "error");
    for field in [
        "root.path: ",
        "linux.rootfsPropagation: ",
        "mounts[6].type: ",
        "mounts[7].source: ",
        "mounts[8].source: ",
        "hooks.prestart[0].path: ",
        "linux.namespaces[4].path: ",
    ] {
        tells(&all, &[field]);
    }
    assert_eq!(all.len(), 7, "{all:#?}");
}

/// What `run` does not refuse, `plan` does not either.
#[test]
fn what_is_there_by_then_or_in_nobodys_way_is_no_error() {
    deviates!(BOTH, OURS);
    let c = Bundle::sh("true").mount("tmpfs", "tmpfs", "/made", &[]);
    let inside = c.rootfs("made/later");
    // An earlier mount brings a source in the root; a hook in the container is the image's;
    // what cannot be run after the end is a warning.
    let c = c.bind(inside.parent().unwrap(), "/again", &["rbind"]);
    let c = hook(c, "poststop", Path::new("/no/such/hook"));
    let c = hook(c, "startContainer", Path::new("/bin/true")).container();
    let (out, document) = plan(&c);
    assert_eq!(out.code, 0, "{document:#}");
    tells(&findings(&document, "warning"), &["hooks.poststop[0].path", "/no/such/hook"]);
    assert_eq!(c.run().code, 0);
}

/// The link is followed once, whatever else the bundle has.
#[test]
fn a_root_that_is_a_link_is_found_by_plan_as_by_run() {
    deviates!(BOTH, OURS);
    let links = |bundle: Bundle| {
        let (root, real) = (bundle.path().join("rootfs"), bundle.dir().join("real"));
        fs::rename(&root, &real).unwrap();
        symlink(&real, &root).unwrap();
        bundle
    };
    let c = hook(Bundle::sh("echo ran"), "createRuntime", Path::new("/bin/true"));
    for bundle in [Bundle::sh("echo ran"), c, Bundle::sh("echo ran").user_namespace()] {
        let c = links(bundle).container();
        let (out, document) = plan(&c);
        assert_eq!(out.code, 0, "{document:#}");
        assert_eq!(c.run().ok(), "ran\n");
    }
    let c = links(Bundle::sh("true"));
    let c = c.mount("tmpsf", "x", "/mnt", &[]).container();
    tells(&findings(&plan(&c).1, "error"), &["mounts[6].type", "tmpsf"]);
}

/// Keys that are misspelt, and the neighbours that are named for them.
const KEYS: &[(&str, &str)] = &[
    ("/hostName", "\"hostname\""),
    ("/process/capabilites", "\"capabilities\""),
    ("/process/noNewPrivilege", "\"noNewPrivileges\""),
    ("/hooks/preStart", "\"prestart\""),
    ("/linux/namespace", "\"namespaces\""),
    ("/linux/memory", "\"linux.resources.memory\""),
    ("/linux/resources/memory/limits", "\"limit\""),
    ("/linux/resources/cpu/cpu", "\"cpus\""),
    ("/mounts/1/option", "\"options\""),
];

#[test]
fn r109_r298_a_key_that_nobody_knows_is_told_by_plan_and_ignored_by_run() {
    deviates!(BOTH, OURS);
    let bundle = KEYS.iter().fold(Bundle::sh("true"), |b, (key, _)| b.set(key, json!([])));
    let c = bundle.set("/windows", json!({"any": 1})).set("/annotations/any", json!("x"));
    let c = c.container();
    let (out, document) = plan(&c);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{document:#}");
    let warnings = findings(&document, "warning");
    for (key, near) in KEYS {
        let path = key[1..].replace("mounts/1", "mounts[1]").replace('/', ".");
        tells(&warnings, &[&format!("{path}: is unknown, and so ignored"), near]);
    }
    assert_eq!(warnings.len(), KEYS.len(), "{warnings:#?}");
    let text = c.call(["plan", "--bundle", c.bundle.path().to_str().unwrap()]).run();
    assert!(text.ok().contains("process.capabilites"), "{text:#?}");
    let run = c.run();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "the spec: MUST be ignored");
}

#[test]
fn a_key_that_nobody_knows_in_a_document_of_update_is_told_on_standard_error() {
    deviates!(BOTH, OURS);
    let c = Bundle::sleeper().container().up();
    let update = |text: &str| c.call(["update", "-r", "-", &c.id]).stdin(text).run();
    let out = update(r#"{"memroy": {"limit": 1}, "pids": {"limits": 7}, "cpu": null}"#);
    assert_eq!(out.code, 0, "{out:#?}");
    let lines: Vec<&str> = out.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{out:#?}");
    for (line, (path, near)) in lines.iter().zip([("memroy", "memory"), ("pids.limits", "limit")]) {
        let rule = format!("{path}: is unknown, and so ignored (did you mean {near:?}?)");
        assert_eq!(*line, format!("pinnace: warning: --resources -: {rule}"));
    }
    assert_eq!(update(r#"{"pids": {"limit": -1}}"#).stderr, "");
}

#[test]
fn what_has_no_effect_is_told_by_plan() {
    deviates!(BOTH, OURS);
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "opne"], "action": "SCMP_ACT_ERRNO"}]});
    for (pointer, value, words) in [
        ("/linux/seccomp", seccomp, &["linux.seccomp.syscalls[0].names[1]", "\"open\"?"][..]),
        ("/process/user/username", json!("nobody"), &["process.user.username", "user 0"]),
        (
            "/process/capabilities/bounding/-",
            json!("NET_ADMIN"),
            &["process.capabilities.bounding", "\"CAP_NET_ADMIN\"?"],
        ),
        (
            "/process/capabilities/effective/-",
            json!("CAP_SYS_ADMIN"),
            &["process.capabilities.effective", "CAP_SYS_ADMIN", "permitted"],
        ),
    ] {
        let c = Bundle::sh("true").set(pointer, value).container();
        let (out, document) = plan(&c);
        assert_eq!(out.code, 0, "{document:#}");
        tells(&findings(&document, "warning"), words);
        assert_eq!(c.run().code, 0);
    }
    let c = Bundle::sh("true").mount("tmpfs", "tmpfs", "/mnt", &["nosiud"]).container();
    let words = ["mounts[6].options", "\"nosiud\"", "\"nosuid\"?"];
    tells(&findings(&plan(&c).1, "advice"), &words);
    assert!(c.run().fails().contains("nosiud"));
}

#[test]
fn a_path_of_systemds_form_without_its_option_is_told_by_plan() {
    deviates!(BOTH, OURS);
    let bundle = Bundle::sh("true").set("/linux/cgroupsPath", json!("system.slice:pin:box"));
    bundle.write_config();
    let call = Call::new(&runtime().path);
    let bundle = bundle.path();
    let (_, document) = read(call.args(["plan", "--json", "--bundle", bundle.to_str().unwrap()]));
    tells(&findings(&document, "warning"), &["linux.cgroupsPath", "--systemd-cgroup"]);
}

#[test]
fn args_that_are_a_line_or_a_directory_are_explained() {
    deviates!(BOTH, "other words");
    let c = Bundle::new(["echo hi"]).container();
    tells(&findings(&plan(&c).1, "warning"), &["process.args[0]", "has a blank"]);
    let out = c.run();
    out.fails_with(&["executable file not found in $PATH"]);
    assert!(out.stderr.contains("each word is an entry of its own"), "{out:#?}");
    let out = Bundle::new(["/bin/echo hi"]).run();
    out.fails_with(&["no such file or directory"]);
    assert!(out.stderr.contains("each word is an entry of its own"), "{out:#?}");
    let out = Bundle::new(["/bin"]).run();
    out.fails_with(&["permission denied"]);
    assert!(out.stderr.contains("it is a directory"), "{out:#?}");
}

#[test]
fn a_capability_that_the_caller_lacks_is_told_by_plan() {
    deviates!(BOTH, OURS);
    let c = Bundle::sh("true").capability("CAP_NET_RAW").container();
    let bundle = c.bundle.path();
    let call =
        Call::new("/usr/bin/setpriv").args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"]);
    let call = call.args([&runtime().path]).args(c.global());
    let (out, document) = read(call.args(["plan", "--json", "--bundle", bundle.to_str().unwrap()]));
    assert_eq!(out.code, 0, "{document:#}");
    tells(
        &findings(&document, "warning"),
        &["process.capabilities", "CAP_NET_RAW", "runtime's own"],
    );
    let call =
        Call::new("/usr/bin/setpriv").args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]);
    let call = call.args([&runtime().path]).args(c.global());
    let (out, document) = read(call.args(["plan", "--json", "--bundle", bundle.to_str().unwrap()]));
    assert_eq!(out.code, 1, "{document:#}");
    tells(&findings(&document, "error"), &["CAP_SYS_ADMIN", "a user namespace brings it"]);
}

#[test]
fn plan_is_for_its_caller_and_says_who_that_is() {
    deviates!(BOTH, OURS);
    let c = Bundle::sh("true").container();
    let (out, document) = plan(&c);
    assert_eq!((out.code, &document["caller"]), (0, &json!({"rootless": false, "uid": 0})));
    let user = Rootless::new(&c);
    let bundle = c.bundle.path();
    let bundle = bundle.to_str().unwrap();
    let (out, document) = read(user.call(&["plan", "--json", "--bundle", bundle]));
    assert_eq!((out.code, &document["caller"]), (1, &json!({"rootless": true, "uid": 1000})));
    tells(&findings(&document, "error"), &["linux.namespaces", "a user namespace is needed"]);
    let run = user.call(&["run", "--bundle", bundle, &c.id]).run();
    assert!(run.fails().contains("a user namespace is needed"), "{run:#?}");
    let text = user.call(&["plan", "--bundle", bundle]).run();
    assert!(text.stdout.starts_with("caller\n  uid       1000\n  rootless  true\n"), "{text:#?}");
}

#[test]
fn a_bundle_for_an_ordinary_user_is_green_to_that_user() {
    deviates!(BOTH, OURS);
    let c = rootless(Bundle::sh("echo ran")).container();
    let user = Rootless::new(&c);
    let bundle = c.bundle.path();
    let bundle = bundle.to_str().unwrap();
    let (out, document) = read(user.call(&["plan", "--json", "--bundle", bundle]));
    assert_eq!(out.code, 0, "{document:#}");
    assert_eq!(user.call(&["run", "--bundle", bundle, &c.id]).run().ok(), "ran\n");
}

/// What only root may read, or write, a user's `plan` finds.
#[test]
fn what_an_ordinary_user_may_not_is_found_by_that_users_plan() {
    deviates!(BOTH, OURS);
    let c = rootless(Bundle::sh("true"));
    let secret = c.dir().join("secret");
    fs::create_dir_all(secret.join("below")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    let c = c
        .bind(&secret.join("below"), "/mnt", &["rbind"])
        .set("/process/rlimits/0/hard", json!(999_999_999_999_u64))
        .set("/linux/uidMappings/-", json!({"containerID": 1, "hostID": 100_000, "size": 9}));
    let c = hook(c, "prestart", &secret.join("hook")).container();
    let user = Rootless::new(&c);
    let bundle = c.bundle.path();
    let call = user.call(&["--root", "/no-such-state", "plan", "--json", "--bundle"]);
    // No helper is in that PATH.
    let (out, document) = read(call.args([&bundle]).env("PATH", "/no/such/dir"));
    assert_eq!(out.code, 1);
    let all = findings(&document, "error");
    for words in [
        &["mounts[6].source", "permission denied"][..],
        &["hooks.prestart[0].path", "permission denied"],
        &["process.rlimits[0]", "above the runtime's own"],
        &["linux.uidMappings", "newuidmap", "the package uidmap has it"],
        &["--root", "/no-such-state", "permission denied"],
    ] {
        tells(&all, words);
    }
    assert!(!fs::exists("/no-such-state").unwrap());
}

/// The subject of a message is the file that was read.
#[test]
fn r329_a_wrong_value_in_another_file_is_told_by_its_name() {
    deviates!(BOTH, "R329: none, and other words");
    let c = Bundle::sh("true").set("/linux/rootfsPropagation", json!("sideways")).container();
    let path = c.bundle.dir().join("c2.json");
    fs::rename(c.bundle.path().join("config.json"), &path).unwrap();
    let bundle = c.bundle.path();
    let options = ["-b", bundle.to_str().unwrap(), "-f", path.to_str().unwrap(), &c.id];
    let out = c.call(["run"]).args(options).run();
    assert!(out.fails().contains("c2.json: linux.rootfsPropagation: "), "{out:#?}");
    assert!(!out.stderr.contains("config.json"), "{out:#?}");
}
