//! The life of a container, its log and its volumes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1::{ContainerState, Mount, MountPropagation, ReopenContainerLogRequest};
use pinnace_cri::call::{Call, until};
use tonic::Code;

use crate::{Cri, plain};

pub fn a_container_ends_with_its_exit_code(cri: &Cri) -> Result<()> {
    let pod = cri.pod("life", plain)?;
    let container = pod.create("seven", "echo out; echo err >&2; exit 7", plain)?;
    let created = container.status()?;
    ensure!(created.state() == ContainerState::ContainerCreated, "{created:?}");
    container.start()?;
    let status = container.ended()?;
    ensure!((status.exit_code, &*status.reason) == (7, "Error"), "{status:?}");
    ensure!(status.created_at <= status.finished_at, "{status:?}");
    let streams = [container.output("stdout")?, container.output("stderr")?];
    ensure!(streams == ["out\n", "err\n"], "{streams:?}");
    container.remove()?;
    let gone = container.status();
    ensure!(gone.is_err(), "it is still there: {gone:?}");
    let good = pod.run("good", "true", plain)?.ended()?;
    ensure!((good.exit_code, &*good.reason) == (0, "Completed"), "{good:?}");
    let killed = pod.service("killed", "", plain)?;
    // A process of the container's could not kill its pid 1.
    killed.stop(0)?;
    let status = killed.ended()?;
    ensure!((status.exit_code, &*status.reason) == (137, "Error"), "{status:?}");
    pod.remove()
}

pub fn stop_sends_term_before_kill(cri: &Cri) -> Result<()> {
    let pod = cri.pod("stop", plain)?;
    let handles = pod.service("handles", "trap 'exit 5' TERM", plain)?;
    cri.machine.is_in_a_scope(&handles.id, Call::new(["systemctl"]))?;
    handles.stop(60)?;
    let code = handles.ended()?.exit_code;
    ensure!(code == 5, "exit code {code} of one that handles TERM");
    let ignores = pod.service("ignores", "trap 'echo heard' TERM", plain)?;
    ignores.stop(1)?;
    let code = ignores.ended()?.exit_code;
    ensure!(code == 137, "exit code {code} of one that ignores TERM");
    let heard = ignores.output("stdout")?;
    ensure!(heard.contains("heard"), "{heard}");
    pod.remove()
}

/// With its pod, by itself, and when it is stopped first.
pub fn what_was_only_created_is_removed(cri: &Cri) -> Result<()> {
    let pod = cri.pod("created", plain)?;
    pod.create("removed", "sleep 1000", plain)?.remove()?;
    let stopped = pod.create("stopped", "sleep 1000", plain)?;
    stopped.stop(60)?;
    stopped.remove()?;
    pod.create("left", "sleep 1000", plain)?;
    pod.remove()
}

pub fn what_cannot_start_leaves_nothing(cri: &Cri) -> Result<()> {
    let pod = cri.pod("fails", plain)?;
    for (name, program, words) in [
        ("missing", "/nothing/here", "no such file or directory"),
        ("unknown", "nothing-here", "executable file not found in $PATH"),
        ("denied", "/etc/passwd", "permission denied"),
    ] {
        let container = pod.create(name, "", |config| config.command = vec![program.to_owned()])?;
        let error = container.start().err().with_context(|| format!("{program} has started"))?;
        ensure!(error.message().contains(words), "not {words:?}: {error:?}");
        let status = container.status()?;
        ensure!(status.state() == ContainerState::ContainerExited, "{status:?}");
        ensure!((status.exit_code, &*status.reason) == (128, "StartError"), "{status:?}");
        ensure!(status.message.contains(words), "{status:?}");
        let again = container.start().map_err(|error| error.code());
        ensure!(again == Err(Code::Unknown), "it has started after its end: {again:?}");
    }
    pod.prints("after", "true", plain)?;
    pod.remove()
}

/// A line that is longer than what is read at once is in parts.
pub fn the_log_has_each_line_with_its_stream(cri: &Cri) -> Result<()> {
    let pod = cri.pod("log", plain)?;
    let script =
        "echo one; echo two >&2; printf three; sleep 0.1; head -c 20000 /dev/zero | tr '\\0' x";
    let container = pod.run("container", script, plain)?;
    container.ended()?;
    let whole = || fs::read_to_string(&container.log);
    until("the last part is there", || Ok(whole()?.matches('x').count() == 20_000))?;
    for line in whole()?.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        let time = words[0].split_once('T').context("no time")?.0.split('-').count() == 3;
        ensure!(time && words.len() == 4 && ["F", "P"].contains(&words[2]), "{line:.200}");
    }
    let (out, err) = (container.output("stdout")?, container.output("stderr")?);
    ensure!(out.starts_with("one\nthreex") && err == "two\n", "{out:.200}, {err:.200}");
    ensure!(whole()?.lines().any(|line| line.contains(" stdout P ")), "no part: {:.200}", whole()?);
    pod.remove()
}

pub fn a_log_that_was_moved_is_opened_again(cri: &Cri) -> Result<()> {
    let pod = cri.pod("moved", plain)?;
    let script = "echo before; trap 'echo after' USR1";
    let container = pod.service("container", script, plain)?;
    let old = container.log.with_extension("old");
    fs::rename(&container.log, &old)?;
    let container_id = container.id.clone();
    cri.client.reopen_container_log(ReopenContainerLogRequest { container_id })?;
    container.exec("kill -USR1 1")?;
    until("it is in the new one", || Ok(container.output("stdout")? == "after\n"))?;
    let old = fs::read_to_string(old)?;
    ensure!(old.contains("before") && !old.contains("after"), "{old}");
    pod.remove()
}

/// Writable, read-only, and with what is mounted on the host later on.
pub fn volumes_are_as_they_are_asked_for(cri: &Cri) -> Result<()> {
    let host = cri.directory.join("volumes");
    let volume = |name: &str, readonly: bool, propagation: MountPropagation| {
        fs::create_dir_all(host.join(name)).map(|()| Mount {
            container_path: format!("/{name}"),
            host_path: host.join(name).display().to_string(),
            readonly,
            propagation: propagation.into(),
            ..Mount::default()
        })
    };
    let (private, slave) =
        (MountPropagation::PropagationPrivate, MountPropagation::PropagationHostToContainer);
    let mounts = vec![
        volume("writable", false, private)?,
        volume("fixed", true, private)?,
        volume("follows", false, slave)?,
        volume("stays", false, private)?,
    ];
    let pod = cri.pod("volumes", plain)?;
    let container = pod.service("container", "", |config| config.mounts = mounts)?;
    container.exec("echo word >/writable/file")?;
    let word = fs::read_to_string(host.join("writable/file"))?;
    ensure!(word == "word\n", "{word:?}");
    let refused = container.exec_sync(&["touch", "/fixed/file"], 60)?;
    let why = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.exit_code != 0 && why.contains("Read-only file system"), "{why}");
    let later: Vec<_> = ["follows", "stays"].map(|name| host.join(name)).to_vec();
    let mounted = later.iter().try_for_each(|at| mount(at));
    let seen = container.exec("ls /follows /stays");
    for at in &later {
        Call::new(["umount", &at.display().to_string()]).ok()?;
    }
    mounted?;
    let seen = seen?;
    ensure!(seen == "/follows:\nlater\n\n/stays:", "{seen:?}");
    pod.remove()
}

fn mount(at: &Path) -> Result<()> {
    Call::new(["mount", "-t", "tmpfs", "none", &at.display().to_string()]).ok()?;
    Ok(fs::write(at.join("later"), "")?)
}
