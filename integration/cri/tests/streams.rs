//! `exec`, `attach` and port-forward.

use anyhow::{Result, ensure};
use k8s_cri::v1::{AttachRequest, ExecRequest, PortForwardRequest};
use pinnace_cri::call::until;
use pinnace_cri::leftovers::process;
use pinnace_cri::pod::Container;
use pinnace_cri::stream::{RESIZE, STDERR, STDIN, STDOUT, Stream};

use crate::{Cri, plain};

/// A shell's script in a container, with streams.
fn exec(container: &Container, script: &str, tty: bool) -> Result<Stream> {
    let request = ExecRequest {
        container_id: container.id.clone(),
        cmd: ["sh", "-c", script].map(str::to_owned).to_vec(),
        tty,
        stdin: true,
        stdout: true,
        stderr: !tty,
    };
    Stream::open(&container.node.client.exec(request)?.url)
}

pub fn exec_sync_has_streams_and_code(cri: &Cri) -> Result<()> {
    let pod = cri.pod("exec", plain)?;
    let container = pod.service("container", "export A=b", |config| {
        config.working_dir = "/tmp".to_owned();
    })?;
    let reply = container.exec_sync(&["sh", "-c", "pwd; echo err >&2; exit 9"], 60)?;
    ensure!(reply.exit_code == 9, "{reply:?}");
    ensure!(
        (&*reply.stdout, &*reply.stderr) == (b"/tmp\n".as_slice(), b"err\n".as_slice()),
        "{reply:?}"
    );
    let big = container.exec("head -c 1000000 /dev/zero | tr '\\0' x")?;
    ensure!(big.len() == 1_000_000, "{} of a million bytes", big.len());
    let missing = container.exec_sync(&["/nothing/here"], 60).map_err(|error| error.to_string());
    let told = missing.as_ref().is_err_and(|error| error.contains("no such file or directory"));
    ensure!(told, "{missing:?}");
    pod.remove()
}

/// What takes too long is killed, and its container goes on.
pub fn exec_sync_ends_in_time(cri: &Cri) -> Result<()> {
    let pod = cri.pod("late", plain)?;
    let container = pod.service("container", "", plain)?;
    let late = container.exec_sync(&["sleep", "4715"], 1);
    // The code for it is newer than the message.
    let told = late.as_ref().is_err_and(|error| error.message().contains("deadline exceeded"));
    ensure!(told, "{late:?}");
    until("it has ended", || Ok(process("sleep", &["4715"]).is_err()))?;
    ensure!(container.exec("echo here")? == "here", "the container has ended, too");
    pod.remove()
}

pub fn exec_streams_both_ways(cri: &Cri) -> Result<()> {
    let pod = cri.pod("streams", plain)?;
    let container = pod.service("container", "", plain)?;
    let script = "echo begun; while read word; do echo $word; echo $word >&2; test $word = end && exit 5; done";
    let mut stream = exec(&container, script, false)?;
    stream.wait(STDOUT, "begun\n")?;
    stream.send(STDIN, b"first\n")?;
    stream.wait(STDOUT, "begun\nfirst\n")?;
    stream.wait(STDERR, "first\n")?;
    stream.send(STDIN, b"end\n")?;
    let status = stream.end()?;
    ensure!(status["reason"] == "NonZeroExitCode", "{status}");
    ensure!(status["details"]["causes"][0]["message"] == "5", "{status}");
    let good = exec(&container, "true", false)?.end()?;
    ensure!(good["status"] == "Success", "{good}");
    pod.remove()
}

pub fn exec_has_a_terminal_of_the_size_asked(cri: &Cri) -> Result<()> {
    let pod = cri.pod("terminal", plain)?;
    let container = pod.service("container", "", plain)?;
    let script = "test -t 0 && test -t 1 && test -t 2 && echo terminal; while read word; do echo $word $(stty size); done";
    let mut stream = exec(&container, script, true)?;
    stream.wait(STDOUT, "terminal\r\n")?;
    stream.send(RESIZE, br#"{"Width": 101, "Height": 43}"#)?;
    // The size comes by another way than what is typed.
    let mut asked = 0;
    until("it has the size", || {
        asked += 1;
        stream.send(STDIN, format!("what{asked}\n").as_bytes())?;
        stream.wait(STDOUT, &format!("what{asked} "))?;
        Ok(stream.received(STDOUT).contains(" 43 101\r\n"))
    })?;
    stream.send(STDIN, b"\x04")?;
    let status = stream.end()?;
    ensure!(status["status"] == "Success", "{status}");
    pod.remove()
}

pub fn attach_streams_both_ways(cri: &Cri) -> Result<()> {
    let pod = cri.pod("attach", plain)?;
    let script = "while read word; do echo out $word; echo err $word >&2; done";
    let container = pod.run("container", script, |config| config.stdin = true)?;
    let request = AttachRequest {
        container_id: container.id.clone(),
        stdin: true,
        tty: false,
        stdout: true,
        stderr: true,
    };
    let mut stream = Stream::open(&cri.client.attach(request)?.url)?;
    stream.send(STDIN, b"one\n")?;
    stream.wait(STDOUT, "out one\n")?;
    stream.wait(STDERR, "err one\n")?;
    until("the log has it, too", || Ok(container.output("stdout")? == "out one\n"))?;
    pod.remove()
}

/// A WebSocket has two channels for each port, which begin with its number.
pub fn a_forwarded_port_reaches_the_pod(cri: &Cri) -> Result<()> {
    let pod = cri.pod("forward", plain)?;
    let answers = "while read word; do echo answer to $word; done";
    let server = format!(
        "nc -ll -p 8081 -e sh -c '{answers}' &\nuntil nc 127.0.0.1 8081 </dev/null; do sleep 0.05; done"
    );
    pod.service("server", &server, plain)?;
    let request = PortForwardRequest { pod_sandbox_id: pod.id.clone(), port: vec![8081] };
    let mut stream = Stream::open(&cri.client.port_forward(request)?.url)?;
    stream.send(0, b"question\n")?;
    stream.wait(0, "answer to question\n")?;
    pod.remove()
}
