//! From `argv` to an exit status: finds the command, parses its words, runs it,
//! and prints the one error if there is one.

use super::arguments::{self, Arguments, Help, Stop, Words};
use super::denied::explain;
use super::global::Global;
use super::{COMMANDS, Entry, Parsed, Ready, mistakes};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::OCI_VERSION;
use crate::sys::exe;
use crate::sys::process::{close_on_exec_from, count_inherited};
use crate::sys::signal;
use crate::sys::start::stdout_was_closed;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// Runs the program; returns its exit status.
pub fn main(args: Vec<OsString>) -> i32 {
    let mut words = args.clone().into_iter();
    words.next();
    let mut global = Global::default();
    let mut failure = 1;
    let request = read(&mut global, words).and_then(|request| {
        failure = entry_of(&request).map_or(failure, |entry| entry.failure);
        prepare(request, args)
    });
    match request {
        Ok((Request::Run(entry, verb), inherited_fds)) => run(&global, entry, verb, inherited_fds),
        Ok((Request::Print(text, code), _)) => print(&text).map_or_else(
            |error| {
                global.log().unwrap_or_default().error(&error);
                1
            },
            |()| code,
        ),
        Err(error) => {
            // Engines look there for what they show their users.
            global.log().unwrap_or_default().error(&explain(error));
            failure
        }
    }
}

/// First from a sealed copy of the program, if it comes to that: descriptors
/// of the caller pass through it, and only then are taken over.
fn prepare(request: Request, args: Vec<OsString>) -> Result<(Request, u32)> {
    if entry_of(&request).is_some_and(|entry| entry.sealed) {
        let own = exe::Own::open()?;
        if !own.is_sealed()? {
            let args = args.into_iter().map(|arg| CString::new(arg.into_vec()));
            let args: std::result::Result<Vec<_>, _> = args.collect();
            // What came as C strings has no NUL in it.
            own.run_sealed(&args.unwrap_or_default())?;
        }
        // execveat(2) has named us by the number of a descriptor.
        rustix::thread::set_name(c"pinnace").call(|| "prctl(PR_SET_NAME)".into())?;
    }
    if entry_of(&request).is_some_and(|entry| entry.sealed || entry.name == "update") {
        signal::take_over();
    }
    Ok((request, take_over_descriptors()?))
}

fn entry_of(request: &Request) -> Option<&'static Entry> {
    match request {
        Request::Run(entry, _) => Some(entry),
        Request::Print(..) => None,
    }
}

/// What the caller wants.
enum Request {
    /// This text, and this exit status.
    Print(String, i32),
    /// A command.
    Run(&'static Entry, Ready),
}

fn read(global: &mut Global, mut words: Words) -> Result<Request> {
    let mut list = global.list();
    let wrong = |error: Error| error.hint("`pinnace --help` lists what there is");
    let word = match arguments::parse(&mut list, &mut words).map_err(wrong)? {
        Stop::Help => return Ok(Request::Print(help().to_string(), 0)),
        Stop::Word(word) => Some(word),
        Stop::Unknown(word) if word == "-V" => return Ok(Request::Print(version(), 0)),
        Stop::Unknown(word) => {
            return Err(arguments::unknown(&word).hint(mistakes::global(&word)));
        }
        Stop::End => None,
    };
    arguments::finish(list).map_err(wrong)?;
    if global.version {
        return Ok(Request::Print(version(), 0));
    }
    let Some(mut word) = word else { return Ok(Request::Print(help().to_string(), 1)) };
    if word == "version" {
        return Ok(Request::Print(version(), 0));
    }
    if word == "help" {
        let name = words.next().filter(|name| !name.as_bytes().starts_with(b"-"));
        let Some(name) = name else { return Ok(Request::Print(help().to_string(), 0)) };
        (word, words) = (name, vec![OsString::from("--help")].into_iter());
    }
    let entry = COMMANDS
        .iter()
        .find(|entry| word == entry.name)
        .ok_or_else(|| mistakes::command(&word, &mut COMMANDS.iter().map(|entry| entry.name)))?;
    Ok(match (entry.parse)(entry, &mut words)? {
        Parsed::Help(help) => Request::Print(help.to_string(), 0),
        Parsed::Ready(verb) => Request::Run(entry, verb),
    })
}

fn run(global: &Global, entry: &Entry, verb: Ready, inherited_fds: u32) -> i32 {
    let runtime = match global.runtime(inherited_fds) {
        Ok(runtime) => runtime,
        Err((log, error)) => {
            log.error(&explain(error));
            return entry.failure;
        }
    };
    verb(&runtime).unwrap_or_else(|error| {
        let error = match error.get_kind() {
            Kind::NoContainer => error.hint(runtime.store.elsewhere()),
            _ => explain(error),
        };
        runtime.log.error(&error);
        entry.failure
    })
}

/// What our caller has left open is nobody's but the container's, and only what
/// it is meant to have (`--preserve-fds`): no hook and no helper gets any of it.
fn take_over_descriptors() -> Result<u32> {
    let count = count_inherited();
    close_on_exec_from(3).call(|| "close_range".into())?;
    Ok(count)
}

/// The help of the program: its commands, and the options before them.
pub(super) fn help() -> Help {
    let mut global = Global::default();
    let about = "A low-level OCI container runtime";
    let help = Help::new("pinnace".to_owned(), about, &global.list(), "");
    Help { commands: COMMANDS.iter().map(|entry| (entry.name, entry.about)).collect(), ..help }
}

fn version() -> String {
    let commit = option_env!("PINNACE_COMMIT").unwrap_or("unknown");
    format!(
        "pinnace version {}\ncommit: {commit}\nspec: {OCI_VERSION}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Prints to stdout. Success means that all of it was taken: of a full disk, of a stdout
/// that was closed, and of a reader who has gone before the end the caller is told, as
/// by every program of coreutils(1).
///
/// # Errors
/// Those of write(2).
pub(super) fn print(text: &str) -> Result<()> {
    let call = || String::from("write to standard output");
    let stdout = rustix::stdio::stdout();
    let mut left = text.as_bytes();
    if !left.is_empty() && stdout_was_closed() {
        return Err(Error::os(call(), Errno::BADF).hint("it is closed"));
    }
    while !left.is_empty() {
        match retry_on_intr(|| rustix::io::write(stdout, left)) {
            Ok(0) => return Err(Error::os(call(), Errno::IO)),
            Ok(count) => left = &left[count..],
            // Whoever shares the file has set O_NONBLOCK: then this is the wait.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(stdout, PollFlags::OUT)];
                retry_on_intr(|| poll(&mut fds, None)).call(|| "poll".into())?;
            }
            Err(errno) => return Err(Error::os(call(), errno)),
        }
    }
    Ok(())
}

/// A document as JSON on stdout.
pub(super) fn print_json(document: &impl serde::Serialize) -> Result<()> {
    print(&json(document)?)
}

pub(super) fn json(document: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(document).map_err(|e| Error::new(format!("JSON: {e}")))
}
