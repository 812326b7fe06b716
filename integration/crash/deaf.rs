//! `scarcity`: callers that are deaf: sockets, fifos and pipes that nobody reads.

use super::callers::{Lies, background, status};
use super::run;
use super::scarcity::Scarcity;
use super::verbs::{Trial, Verb};
use super::world::{Kind, World};
use anyhow::Result;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who is told something and does not listen.
struct Deaf {
    words: Vec<String>,
    env: Option<(&'static str, PathBuf)>,
    _kept: Vec<OwnedFd>,
}

/// Makes one at a path.
type Make = fn(&Path) -> Result<Deaf>;

pub fn deaf(s: &mut Scarcity) -> Result<()> {
    let cases: &[(&str, Verb, Kind, Make)] = &[
        ("console socket, nobody accepts", Verb::Create, Kind::Rich, |path| {
            listener("--console-socket", path, false)
        }),
        ("console socket, backlog full", Verb::Create, Kind::Rich, |path| {
            listener("--console-socket", path, true)
        }),
        ("console socket, backlog full, exec", Verb::ExecDetached, Kind::Rich, |path| {
            listener("--console-socket", path, true)
        }),
        ("console socket, nobody listens", Verb::Create, Kind::Rich, |path| {
            gone("--console-socket", path)
        }),
        ("pidfd socket, nobody accepts", Verb::Create, Kind::Default, |path| {
            listener("--pidfd-socket", path, false)
        }),
        ("pidfd socket, backlog full", Verb::Create, Kind::Default, |path| {
            listener("--pidfd-socket", path, true)
        }),
        ("pidfd socket, backlog full, exec", Verb::ExecDetached, Kind::Default, |path| {
            listener("--pidfd-socket", path, true)
        }),
        ("pidfd socket, nobody listens", Verb::Create, Kind::Default, |path| {
            gone("--pidfd-socket", path)
        }),
        ("pid file is a fifo", Verb::Create, Kind::Default, |path| fifo("--pid-file", path)),
        ("log is a fifo", Verb::Create, Kind::Default, |path| fifo("--log", path)),
        ("notify socket full", Verb::Create, Kind::Default, notify),
    ];
    for (what, verb, kind, make) in cases {
        if s.is_due(what)? {
            let wrong = deaf_one(s.world(), *verb, *kind, *make)?;
            s.tell(what, wrong, "")?;
        }
    }
    for (name, verb) in [("create", Verb::Create), ("start", Verb::Start), ("state", Verb::State)] {
        let what = format!("{name}, stderr and stdout a full pipe");
        if s.is_due(&what)? {
            let wrong = full_pipe(s.world(), verb)?;
            s.tell(&what, wrong, "")?;
        }
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn listener(option: &str, path: &Path, is_full: bool) -> Result<Deaf> {
    let listener = UnixListener::bind(path)?;
    let mut kept: Vec<OwnedFd> = Vec::new();
    if is_full {
        rustix::net::listen(&listener, 0)?;
        // One more than the backlog is let in.
        kept.push(UnixStream::connect(path)?.into());
    }
    kept.push(listener.into());
    Ok(Deaf { words: vec![option.into(), text(path)], env: None, _kept: kept })
}

fn gone(option: &str, path: &Path) -> Result<Deaf> {
    drop(UnixListener::bind(path)?);
    Ok(Deaf { words: vec![option.into(), text(path)], env: None, _kept: Vec::new() })
}

fn fifo(option: &str, path: &Path) -> Result<Deaf> {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o666.into(), 0)?;
    Ok(Deaf { words: vec![option.into(), text(path)], env: None, _kept: Vec::new() })
}

fn notify(path: &Path) -> Result<Deaf> {
    let socket = UnixDatagram::bind(path)?;
    let other = UnixDatagram::unbound()?;
    other.set_nonblocking(true)?;
    while other.send_to(b"x", path).is_ok() {}
    Ok(Deaf {
        words: Vec::new(),
        env: Some(("NOTIFY_SOCKET", path.into())),
        _kept: vec![socket.into()],
    })
}

/// It ends, well or with one line; then it is as after any call that did.
fn deaf_one(world: &mut World, verb: Verb, kind: Kind, make: Make) -> Result<Vec<String>> {
    let path = world.dir.join("deaf");
    fs::remove_file(&path).ok();
    let deaf = make(&path)?;
    let mut trial = Trial::new(world, verb, kind);
    trial.before(world)?;
    let mut words = trial.words(world);
    if let Some(at) =
        deaf.words.first().and_then(|option| words.iter().position(|word| word == option))
    {
        words.drain(at..at + 2);
    }
    // The log is an option of the program, not of the verb.
    let place = usize::from(deaf.words.first().is_some_and(|option| option != "--log"));
    words.splice(place..place, deaf.words.iter().cloned());
    let mut command = world.command(&words);
    if let Some((name, path)) = &deaf.env {
        command.env(name, path);
    }
    let ended = background(world, &command)?.wait()?;
    let mut lies = Lies(Vec::new());
    lies.unless(!ended.hung, || format!("hung: {}", ended.brief()));
    let lines = ended.err.lines().count();
    lies.unless(ended.hung || lines == usize::from(ended.code != 0), || {
        format!("words: {}", ended.brief())
    });
    if verb == Verb::Create {
        let now = status(world, &trial)?;
        let expected = if ended.code == 0 { "created" } else { "does not exist" };
        lies.unless(ended.hung || now.contains(expected), || {
            format!("{now}, after {}", ended.brief())
        });
    }
    drop(deaf);
    let more = trial.remove(world)?;
    lies.0.extend(more);
    fs::remove_file(&path)?;
    Ok(lies.0)
}

/// A pipe that nobody reads holds who writes to it; whoever comes then must still be served.
fn full_pipe(world: &mut World, verb: Verb) -> Result<Vec<String>> {
    let mut trial = Trial::new(world, verb, Kind::Default);
    trial.before(world)?;
    let (reader, writer) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false)?;
    if verb == Verb::Create {
        // It fails, and has to say so.
        fs::write(world.bundle().join("config.json"), "{")?;
    }
    let mut command = trial.command(world);
    command.stdin(std::process::Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let pid = command.spawn()?.id().cast_signed();
    drop(command);
    let mut lies = Lies(Vec::new());
    let status = run::reap_until(pid, Duration::from_millis(500))?;
    if verb == Verb::Start {
        lies.unless(status == Some(0), || format!("start has nothing to say, but {status:?}"));
    }
    let deleted = world.call(["delete", "--force", &trial.id])?;
    lies.good("delete --force by another", &deleted);
    drop(reader);
    if status.is_none() {
        let ended = run::reap_until(pid, super::at::limit())?;
        lies.unless(ended.is_some(), || "it does not end when the pipe is closed".into());
    }
    let more = trial.remove(world)?;
    lies.0.extend(more);
    Ok(lies.0)
}
