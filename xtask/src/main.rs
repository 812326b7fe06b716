//! The tools of this repository that are more than a list of commands: `cargo xtask help`.
//!
//! A tool is a pure function from texts to a text, or to files; reading and writing is here.

mod completions;
mod man;

use clap::{Parser, Subcommand};
use completions::Shell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Tools of the repository, made of the program's own tables
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Line {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write the manual pages into share/, one a command
    Man,
    /// Write into share/ what completes command lines in a shell
    Completions { shell: Shell },
}

/// A file that is made: its path below the top of the repository, and its text.
type Made = (String, String);

fn main() -> ExitCode {
    let done = match Line::parse().task {
        Task::Man => man::pages().and_then(|pages| write(&pages)),
        Task::Completions { shell } => write(&completions::files(shell)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))
}

fn write(files: &[Made]) -> Result<(), String> {
    for (name, text) in files {
        let path = top().join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text)).map_err(|e| format!("write {name}: {e}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use std::collections::BTreeMap;

    fn files_below(dir: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_below(&path, found);
            } else {
                let name = path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// A changed option, command or version, and a command that is gone, end here.
    #[test]
    fn what_is_in_share_is_what_the_tables_say() {
        let mut there = BTreeMap::new();
        files_below(&top().join("share"), &mut there);
        let shells = Shell::value_variants().iter().flat_map(|shell| completions::files(*shell));
        let made: BTreeMap<_, _> = man::pages().unwrap().into_iter().chain(shells).collect();
        assert!(made.keys().eq(there.keys()), "{:?}\n{:?}", made.keys(), there.keys());
        for (name, text) in made {
            assert!(there[&name] == text, "{name} is old: `cargo xtask man` or `completions`");
        }
    }
}
