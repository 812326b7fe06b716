//! What the caller typed: one file a command, with its arguments (their docs
//! are its `--help`), one call, and what it prints.
//!
//! Only the arguments of the chosen command are built: the others cost nothing.

mod create;
mod delete;
mod exec;
mod features;
mod global;
mod kill;
mod list;
mod pause;
mod ps;
mod run;
mod shared;
mod spec;
mod start;
mod state;
mod update;
mod usage;

pub use usage::main;

use crate::container::Runtime;
use crate::error::Result;
use clap::{ArgMatches, Args, Command};

/// A command: its arguments parse themselves, and then it runs.
trait Verb: Args {
    /// Does it; returns the exit status.
    fn run(self, runtime: &Runtime) -> Result<i32>;
}

/// One row of the table of commands.
struct Entry {
    name: &'static str,
    about: &'static str,
    arguments: fn(Command) -> Command,
    run: fn(&ArgMatches, &Runtime) -> Result<i32>,
    /// Exit status of a failure.
    failure: i32,
}

const fn entry<V: Verb>(name: &'static str, about: &'static str) -> Entry {
    Entry { name, about, arguments: V::augment_args, run: run::<V>, failure: 1 }
}

fn run<V: Verb>(matches: &ArgMatches, runtime: &Runtime) -> Result<i32> {
    V::from_arg_matches(matches)
        .map_err(|error| usage::explain(&error))?
        .run(runtime)
}

const COMMANDS: [Entry; 14] = [
    entry::<create::Create>("create", "Create a container; it waits for `start`"),
    entry::<start::Start>("start", "Run the program of a created container"),
    entry::<run::Run>("run", "Create and start a container, and stay with it"),
    Entry { failure: 255, ..entry::<exec::Exec>("exec", "Run a further process in a container") },
    entry::<state::State>("state", "Print the state of a container as JSON"),
    entry::<list::List>("list", "List all containers"),
    entry::<ps::Ps>("ps", "List the processes of a container"),
    entry::<kill::Kill>("kill", "Send a signal to a container's process"),
    entry::<delete::Delete>("delete", "Remove a stopped container and all that belongs to it"),
    entry::<pause::Pause>("pause", "Freeze all processes of a container"),
    entry::<pause::Resume>("resume", "Let a paused container go on"),
    entry::<update::Update>("update", "Change the limits of a container"),
    entry::<spec::Spec>("spec", "Write an example config.json"),
    entry::<features::Features>("features", "Print what this runtime supports as JSON"),
];
