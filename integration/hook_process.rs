//! What surrounds the process of a hook: its environment and its working directory.

use crate::harness::{Bundle, Container, Value, deviates, json, runtime};
use crate::hooks::KINDS;
use std::fs;
use std::path::{Path, PathBuf};

/// Those that are run by the runtime itself, in its own namespaces.
const OF_THE_RUNTIME: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];

/// A container with one hook, whose output comes into the file.
fn hooked(bundle: Bundle, kind: &str, command: &str, env: Option<Value>) -> (Container, PathBuf) {
    let file = bundle.dir().join("said");
    fs::write(&file, "").unwrap();
    let target = if kind == "startContainer" { Path::new("/tmp/said") } else { &file };
    let bundle = bundle.bind(&file, "/tmp/said", &["bind"]);
    // crun dies of SIGPIPE where nobody reads the state.
    let command = format!("cat > /dev/null; {{ {command}; }} > {}", target.display());
    let mut hook = json!({"path": "/bin/sh", "args": ["sh", "-c", command]});
    if let Some(env) = env {
        hook["env"] = env;
    }
    (bundle.set(&format!("/hooks/{kind}"), json!([hook])).container(), file)
}

/// Where the programs are on the host and in the container.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment of a hook of that kind: of the runtime, GREETING is; of the process, ONE.
fn environment(kind: &str, env: Option<Value>) -> Vec<String> {
    let own = format!("PATH={PATH}");
    let bundle = Bundle::new(["true"]).set("/process/env", json!([own, "ONE=two"]));
    let bundle = bundle.file("etc/passwd", "root:x:0:0::/of-root:/bin/sh\n");
    // The shell itself adds some.
    let command = format!("PATH={PATH}; env");
    let (c, file) = hooked(bundle, kind, &command, env);
    let path = c.bundle.path().to_str().unwrap().to_owned();
    c.call(["run", "--bundle", &path, &c.id]).env("GREETING", "hi").run().ok();
    let text = fs::read_to_string(file).unwrap();
    let of_shell =
        |line: &&str| ["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|n| line.starts_with(n));
    text.lines().filter(|line| !of_shell(line)).map(str::to_owned).collect()
}

#[test]
fn r122_a_hook_without_env_has_the_environment_of_the_runtime() {
    for kind in OF_THE_RUNTIME.into_iter().chain(["createContainer"]) {
        for env in [None, Some(Value::Null)] {
            if kind == "createContainer" {
                deviates!("runc", "R122: that of the process");
            }
            let seen = environment(kind, env);
            assert!(seen.contains(&"GREETING=hi".into()), "{kind}: {seen:?}");
            assert!(!seen.contains(&"ONE=two".into()), "{kind}: {seen:?}");
            let ours = seen.iter().any(|line| line.starts_with("PINNACE_COPIED"));
            assert!(!ours, "{kind}: {seen:?}");
        }
    }
}

#[test]
fn r122_a_start_container_hook_without_env_has_that_of_the_process() {
    deviates!("crun", "R122: the runtime's");
    for env in [None, Some(Value::Null)] {
        let seen = environment("startContainer", env);
        assert!(seen.contains(&"ONE=two".into()), "{seen:?}");
        assert!(seen.contains(&format!("PATH={PATH}")), "{seen:?}");
        assert!(seen.contains(&"HOME=/of-root".into()), "{seen:?}");
        assert!(!seen.contains(&"GREETING=hi".into()), "nothing of the host: {seen:?}");
    }
}

#[test]
fn r122_an_env_is_the_whole_of_it_also_an_empty_one() {
    let path = format!("PATH={PATH}");
    for kind in KINDS {
        let mut seen = environment(kind, Some(json!([path, "A=b"])));
        seen.sort();
        assert_eq!(seen, ["A=b".into(), path.clone()], "{kind}");
        let seen: Vec<_> = environment(kind, Some(json!([])));
        let more: Vec<_> = seen.iter().filter(|line| !line.starts_with("PATH=")).collect();
        assert!(more.is_empty(), "{kind}: {more:?}");
    }
}

/// What the runtime tells itself by a variable is not for the runtime that a hook calls.
#[test]
fn a_hook_with_the_runtimes_environment_may_call_the_runtime() {
    let bundle = Bundle::sleeper();
    let (root, id) = (bundle.dir().join("state"), bundle.id.clone());
    let program = runtime().path.display();
    let command = format!("{program} --root {} exec {id} echo from the hook", root.display());
    let (c, file) = hooked(bundle, "poststart", &command, None);
    let path = c.bundle.path().to_str().unwrap().to_owned();
    deviates!("runc", "R117: poststart runs in create");
    let (out, err) = (c.log("stdout"), c.log("stderr"));
    c.call(["run", "--detach", "--bundle", &path, &c.id]).output_to(out, err).run().ok();
    assert_eq!(fs::read_to_string(file).unwrap(), "from the hook\n");
}

/// Where a hook of that kind begins; all commands are called in `/`.
fn directory(kind: &str) -> (Container, String) {
    let bundle = Bundle::sleeper().set("/process/cwd", json!("/etc"));
    let (c, file) = hooked(bundle, kind, "pwd -P", None);
    let path = c.bundle.path().to_str().unwrap().to_owned();
    let call = |args: &[&str]| {
        let (out, err) = (c.log("stdout"), c.log("stderr"));
        c.call([]).args(args).current_dir(Path::new("/")).output_to(out, err).run().ok();
    };
    call(&["create", "--bundle", &path, &c.id]);
    call(&["start", &c.id]);
    // The hook of startContainer may still be at it when start returns.
    c.exec(["true"]).ok();
    c.stop();
    call(&["delete", &c.id]);
    let said = fs::read_to_string(file).unwrap().trim_end().to_owned();
    (c, said)
}

#[test]
fn hooks_of_the_runtime_begin_in_the_bundle() {
    for kind in OF_THE_RUNTIME {
        if kind == "poststop" {
            deviates!("runc", "poststop begins where delete was called");
        }
        let (c, said) = directory(kind);
        let bundle = c.bundle.path().canonicalize().unwrap();
        assert_eq!(said, bundle.to_str().unwrap(), "{kind}");
    }
}

#[test]
fn r115_create_container_hooks_begin_in_the_root_filesystem() {
    let (c, said) = directory("createContainer");
    deviates!("crun", "in the bundle");
    let root = c.bundle.rootfs("").canonicalize().unwrap();
    assert_eq!(said, root.to_str().unwrap());
}

#[test]
fn r116_start_container_hooks_begin_where_the_process_does() {
    let (_c, said) = directory("startContainer");
    assert_eq!(said, "/etc");
}

/// Its owner need not keep a bundle for longer than the container runs.
#[test]
fn r118_poststop_hooks_run_when_the_bundle_is_gone() {
    let (c, file) = hooked(Bundle::sleeper(), "poststop", "pwd -P", None);
    c.create().ok();
    c.start().ok();
    c.stop();
    deviates!(["runc", "crun"], "crun: fails; runc: where delete was called");
    fs::remove_dir_all(c.bundle.path()).unwrap();
    c.delete().ok();
    assert_eq!(fs::read_to_string(file).unwrap(), "/\n");
}

/// What is there instead need not be a directory.
#[test]
fn r118_poststop_hooks_run_when_the_bundle_is_another_file() {
    let (c, file) = hooked(Bundle::sleeper(), "poststop", "pwd -P", None);
    c.create().ok();
    c.start().ok();
    c.stop();
    deviates!(["runc", "crun"], "crun: fails; runc: where delete was called");
    fs::remove_dir_all(c.bundle.path()).unwrap();
    fs::write(c.bundle.path(), "").unwrap();
    c.delete().ok();
    assert_eq!(fs::read_to_string(file).unwrap(), "/\n");
}
