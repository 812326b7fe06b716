//! `proof`: the harness can fail. Runtimes that are wrong in one point, made of the one under test, are
//! found, each by its own symptom.

use super::harness::runtime;
use super::report::Worker;
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

struct Fault {
    name: &'static str,
    /// What a shell does; `"$real"` is the runtime, `$world` the name of the world.
    script: &'static str,
    /// The words of `points` after which it must be found.
    words: &'static str,
    /// What `points` then says.
    symptom: &'static str,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "none",
        script: r#"exec "$real" "$@""#,
        words: "--verbs kill --bundles default --modes kill",
        symptom: " 0 failed, ",
    },
    Fault {
        name: "leaks a cgroup",
        script: r#""$real" "$@"; code=$?
            case "$*" in *" delete "*)
                for dir in /sys/fs/cgroup/pids /sys/fs/cgroup; do mkdir "$dir/$world/leak" && break; done 2>/dev/null
            esac; exit $code"#,
        words: "--verbs kill --bundles default --modes kill",
        symptom: "left after delete --force: cgroup",
    },
    Fault {
        name: "leaks a process",
        script: r#"case "$*" in *" kill "*) sleep 1000 & esac; exec "$real" "$@""#,
        words: "--verbs kill --bundles default --modes kill",
        symptom: "left after delete --force: process",
    },
    Fault {
        name: "says that it did what it did not do",
        script: r#"case "$*" in *" pause "*) exit 0; esac; exec "$real" "$@""#,
        words: "--verbs pause --bundles default --modes kill",
        symptom: "success, but running",
    },
    Fault {
        name: "dies without a word",
        script: r#"exec "$real" "$@" 2>/dev/null"#,
        words: "--verbs kill --bundles default --modes fail",
        symptom: "with 0 lines",
    },
    Fault {
        name: "hangs",
        script: r#"case "$*" in *" state "*) ;; *" delete "*) ;; *" list "*) exec sleep 1000; esac; exec "$real" "$@""#,
        words: "--verbs list --bundles default --modes kill",
        symptom: "HANGS: process 0",
    },
];

/// What a worker does.
pub fn work(worker: &mut Worker) -> Result<()> {
    let real = runtime().path.display().to_string();
    for fault in FAULTS {
        // Not on the tmpfs, over which the workers of that one mount theirs.
        let file = format!("faulty-{}", std::process::id());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        let script = format!(
            "#!/bin/sh\nreal={real}\nworld=${{2%/root}} world=${{world##*/}}\n{}\n",
            fault.script
        );
        fs::write(&file, script)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["points", "--jobs", "1", "--seconds", "2", "--runtime"]).arg(&file);
        command.args(fault.words.split(' ')).env_remove(super::guard::VARIABLE);
        let output = command.output().context("points")?;
        fs::remove_file(&file)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_good = text.contains(fault.symptom);
        let last = text.lines().rev().take(12).collect::<Vec<_>>().join(" | ");
        let wrong =
            if is_good { vec![] } else { vec![format!("no {:?} in {last}", fault.symptom)] };
        worker.tell("proof", fault.name, wrong, "proof")?;
    }
    Ok(())
}
