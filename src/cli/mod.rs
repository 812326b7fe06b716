//! What the caller typed: one file a command, with its arguments (their docs
//! are its `--help`), one call, and what it prints.
//!
//! Only the table of the chosen command is built: the others cost nothing.
#![allow(rustdoc::broken_intra_doc_links)] // a help text is no Markdown: "[IP:]PORT"

mod connection;
mod create;
mod delete;
mod denied;
mod events;
mod exec;
mod features;
mod global;
mod kill;
mod list;
mod mistakes;
mod network;
mod overlay;
mod pause;
mod plan;
mod ps;
mod run;
mod shared;
mod spec;
mod start;
mod state;
mod update;
mod usage;

pub use usage::main;

use crate::arguments::{self, Arguments, Help, Stop, Words};
use crate::container::Runtime;
use crate::error::{Error, Result};

/// A command: its arguments are in a table, and with them it runs.
trait Verb: Arguments + 'static {
    /// Does it; returns the exit status.
    fn run(self, runtime: &Runtime) -> Result<i32>;
}

/// A command with its arguments.
type Ready = Box<dyn FnOnce(&Runtime) -> Result<i32>>;

/// What has become of a command's words.
enum Parsed {
    /// It can run.
    Ready(Ready),
    /// Its help was asked for.
    Help(Help),
}

/// One row of the table of commands.
struct Entry {
    name: &'static str,
    about: &'static str,
    /// A whole command line.
    example: &'static str,
    parse: fn(&Entry, &mut Words) -> Result<Parsed>,
    /// Exit status of a failure.
    failure: i32,
    /// Whether it runs something in a container, so that our own file must not
    /// be writable from there.
    sealed: bool,
}

const fn entry<V: Verb>(name: &'static str, about: &'static str, example: &'static str) -> Entry {
    Entry { name, about, example, parse: parse::<V>, failure: 1, sealed: false }
}

fn parse<V: Verb>(entry: &Entry, words: &mut Words) -> Result<Parsed> {
    let mut verb = V::default();
    let mut list = verb.list();
    let help = || format!("`pinnace {} --help` lists what there is", entry.name);
    let wrong = |error: Error| error.hint(help());
    match arguments::parse(&mut list, words).map_err(wrong)? {
        Stop::End => arguments::finish(list).map_err(wrong)?,
        Stop::Word(word) | Stop::Unknown(word) => {
            let meant = mistakes::argument(entry.name, &word, &list, &help());
            return Err(arguments::unknown(&word).hint(meant));
        }
        Stop::Help => {
            let name = format!("pinnace {}", entry.name);
            return Ok(Parsed::Help(Help::new(name, entry.about, &list, entry.example)));
        }
    }
    Ok(Parsed::Ready(Box::new(move |runtime| verb.run(runtime))))
}

static COMMANDS: [Entry; 17] = [
    Entry {
        sealed: true,
        ..entry::<create::Create>(
            "create",
            "Create a container; it waits for `start`",
            "pinnace create --bundle web --pid-file web.pid web",
        )
    },
    entry::<start::Start>("start", "Run the program of a created container", "pinnace start web"),
    Entry {
        sealed: true,
        ..entry::<run::Run>(
            "run",
            "Create and start a container, and stay with it",
            "pinnace run --bundle web --network bridge --publish 8080:80 web",
        )
    },
    Entry {
        failure: 255,
        sealed: true,
        ..entry::<exec::Exec>(
            "exec",
            "Run a further process in a container",
            "pinnace exec --tty web sh",
        )
    },
    entry::<state::State>("state", "Print the state of a container as JSON", "pinnace state web"),
    entry::<list::List>("list", "List all containers", "pinnace list --format json"),
    entry::<ps::Ps>("ps", "List the processes of a container", "pinnace ps web"),
    entry::<events::Events>(
        "events",
        "Print what a container uses, and when it lacks memory",
        "pinnace events --stats web",
    ),
    entry::<kill::Kill>("kill", "Send a signal to a container's process", "pinnace kill web TERM"),
    entry::<delete::Delete>(
        "delete",
        "Remove a container that does not run, and all of it",
        "pinnace delete --force web",
    ),
    entry::<pause::Pause>("pause", "Freeze all processes of a container", "pinnace pause web"),
    entry::<pause::Resume>("resume", "Let a paused container go on", "pinnace resume web"),
    entry::<update::Update>(
        "update",
        "Change the limits of a container",
        "pinnace update --memory 512M --pids-limit 100 web",
    ),
    entry::<plan::Plan>(
        "plan",
        "Check a bundle and print what would be done; needs no root",
        "pinnace plan --bundle web",
    ),
    network::NETWORK,
    entry::<spec::Spec>(
        "spec",
        "Write an example config.json",
        "pinnace spec --bundle web --network bridge",
    ),
    entry::<features::Features>(
        "features",
        "Print what this runtime supports as JSON",
        "pinnace features",
    ),
];

/// The help of the program, then of each of its commands: what manual pages and completions are
/// made of.
///
/// # Panics
/// Where a command does not know `--help`.
pub fn helps() -> Vec<Help> {
    let of = |entry: &Entry| match (entry.parse)(entry, &mut vec!["--help".into()].into_iter()) {
        Ok(Parsed::Help(help)) => help,
        _ => unreachable!("{} --help is no help", entry.name),
    };
    let commands = COMMANDS.iter().chain(&network::COMMANDS);
    [usage::help()].into_iter().chain(commands.map(of)).collect()
}

/// Reads a command line, a word a line, and what options hold; for hack/fuzz.
#[cfg(fuzzing)]
pub fn fuzz(text: &[u8]) {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    let words = || text.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    for entry in &COMMANDS {
        let mut left = words().collect::<Vec<_>>().into_iter();
        if let Err(error) = (entry.parse)(entry, &mut left) {
            let line = crate::error::brief(&error.to_string());
            assert!(line.len() <= crate::error::LINE, "{line}");
        }
    }
    for word in words().filter_map(|word| word.into_string().ok()) {
        let user = exec::parse_user(&word);
        assert!(user.is_err() || word.bytes().all(|byte| byte.is_ascii_digit() || byte == b':'));
        let size = update::size(&word);
        assert!(size.is_none_or(|size| size >= -1), "{word}");
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMANDS, Parsed, network};

    #[test]
    fn every_command_has_an_example_that_can_be_read() {
        let all = COMMANDS.iter().chain(&network::COMMANDS);
        for entry in all.filter(|entry| entry.name != "network") {
            let words = entry.example.strip_prefix(&format!("pinnace {}", entry.name));
            let words = words.unwrap_or_else(|| panic!("{}: {:?}", entry.name, entry.example));
            let read = |words: &str| {
                let words: Vec<_> = words.split_whitespace().map(Into::into).collect();
                (entry.parse)(entry, &mut words.into_iter())
            };
            assert!(matches!(read(words), Ok(Parsed::Ready(_))), "{}", entry.example);
            let Ok(Parsed::Help(text)) = read("--help") else { panic!("{}", entry.name) };
            let text = text.to_string();
            assert!(text.ends_with(&format!("\nExample: {}\n", entry.example)), "{text}");
        }
    }
}
