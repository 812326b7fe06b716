//! What a word that nobody takes may have been meant for: the way out of the error.

use super::arguments::{Argument, Arguments as _};
use super::global::Global;
use crate::error::Error;
use crate::nearest::nearest;
use std::ffi::OsStr;

/// Commands of engines and of other runtimes, and what does the same here.
const COMMANDS: &[(&str, &str)] = &[
    ("inspect", "`pinnace state CONTAINER` prints what is known of one"),
    ("logs", "what a container prints goes where the output of `create` or `run` goes"),
    ("ls", "`pinnace list` shows all containers"),
    ("mounts", "the mounts of a container are those of config.json, from its beginning to its end"),
    ("rm", "`pinnace delete CONTAINER` removes one"),
    ("stats", "`pinnace events --stats CONTAINER` prints what one uses"),
    ("stop", "`pinnace kill CONTAINER` asks one to end, `pinnace kill CONTAINER KILL` ends it"),
    ("top", "`pinnace ps CONTAINER` lists its processes"),
    ("unpause", "`pinnace resume CONTAINER` lets one go on"),
];

/// Flags that other programs have on the command of that name.
const FLAGS: &[(&str, &str, &str)] = &[
    ("create", "-t --tty -i -it -ti --interactive", IN_CONFIG),
    ("create", "-e --env -u --user -v --volume -m --memory", IN_CONFIG),
    (
        "exec",
        "-i -it -ti --interactive",
        "standard input is passed on as it is; `--tty` has a terminal",
    ),
    ("kill", "--signal", SIGNAL),
    ("list", "-a --all", "all containers are listed, stopped ones too"),
    ("list", "--no-headers", "`pinnace list --quiet` prints the names alone"),
    ("run", "-t --tty -i -it -ti --interactive", IN_CONFIG),
    ("run", "-e --env -u --user -v --volume -m --memory", IN_CONFIG),
    ("run", "--rm", "a container that `run` stays with is deleted at its end"),
    ("update", "--cpus", "half a CPU is `--cpu-period 100000 --cpu-quota 50000`"),
];

const IN_CONFIG: &str = "config.json says that, in process, mounts and linux.resources";

/// The error of a command that is not there.
pub fn command(word: &OsStr, known: &mut dyn Iterator<Item = &'static str>) -> Error {
    let word = word.to_string_lossy();
    if matches!(&*word, "checkpoint" | "restore") {
        return Error::new(format!("{word} is not supported yet"));
    }
    let hint = match COMMANDS.iter().find(|(name, _)| *name == word) {
        Some((_, instead)) => (*instead).to_owned(),
        None => with_nearest("", &word, known, "`pinnace --help` lists what there is"),
    };
    Error::new(format!("unknown command {word:?}")).hint(hint)
}

/// The way out for a word that `command` does not take: at least `help`.
pub fn argument(command: &str, word: &OsStr, list: &[Argument<'_>], help: &str) -> String {
    let word = word.to_string_lossy();
    let text = word.split('=').next().unwrap_or_default();
    let is_meant = |flags: &str| flags.split(' ').any(|flag| flag == text);
    let known = FLAGS.iter().find(|(name, flags, _)| *name == command && is_meant(flags));
    let name = text.trim_start_matches('-');
    let meant = match (known, command) {
        (Some((.., meant)), _) => meant,
        _ if Global::default().list().iter().any(|one| one.long() == Some(name)) => {
            return format!("it stands before the command: `pinnace {text} ... {command}`");
        }
        (_, "create" | "run") if !text.starts_with('-') => {
            "what it runs is process.args of config.json"
        }
        (_, "kill") if !text.starts_with("--") => SIGNAL,
        (_, "ps") if !text.starts_with("--") => "options for ps(1) stand behind CONTAINER",
        _ if text.starts_with("--") => {
            return with_nearest("--", name, &mut list.iter().filter_map(Argument::long), help);
        }
        _ => help,
    };
    meant.to_owned()
}

const SIGNAL: &str = "the signal stands behind the name: `pinnace kill CONTAINER KILL`";

/// The same for one before the command.
pub fn global(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let text = word.split('=').next().unwrap_or_default();
    let mut global = Global::default();
    let list = global.list();
    let help = "`pinnace --help` lists what stands before a command";
    match text.strip_prefix("--") {
        Some(name) => with_nearest("--", name, &mut list.iter().filter_map(Argument::long), help),
        None => help.to_owned(),
    }
}

fn with_nearest(
    dashes: &str,
    word: &str,
    known: &mut dyn Iterator<Item = &'static str>,
    help: &str,
) -> String {
    match nearest(word, known) {
        Some(name) => format!("did you mean {dashes}{name}? {help}"),
        None => help.to_owned(),
    }
}
