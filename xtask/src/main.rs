//! The tools of this repository that are more than a list of commands: `cargo xtask help`.
//!
//! A tool is a pure function from texts to a text, or to files; reading and writing is here.

mod bench;
mod completions;
mod conformance;
mod ledger;
mod man;
mod number;
mod tap;

use clap::{Parser, Subcommand};
use completions::Shell;
use std::fs;
use std::io;
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
    /// Print docs/conformance.md: which rows of docs/features.tsv the tests in LOG show
    Ledger { log: PathBuf },
    /// Read what the validation suite printed, and make its tables
    #[command(subcommand)]
    Conformance(Conformance),
    /// Make tables and pictures of what hack/bench has measured
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Conformance {
    /// Print a line for each program of DIR: what it printed is NAME.tap, its exit status NAME.status
    Results { dir: PathBuf },
    /// Print the results in FILE, the runtime's name with .tsv, side by side
    Table { files: Vec<PathBuf> },
    /// Put the table on standard input between the marks of DOCUMENT
    Put { document: PathBuf },
    /// Fail if the results in FILE are worse than the table of DOCUMENT; what it printed is in DIR
    Judge { document: PathBuf, file: PathBuf, dir: PathBuf },
}

#[derive(Subcommand)]
enum Bench {
    /// Print medians, percentiles and ratios of raw results
    Summary { raw: PathBuf },
    /// Print a summary as a table, for a terminal
    Table {
        /// For a page
        #[arg(long)]
        markdown: bool,
        summary: PathBuf,
    },
    /// Print a summary as a picture, in SVG
    Chart { summary: PathBuf },
    /// Print what a change did, from raw results of the lanes `old` and `new`
    Compare { raw: PathBuf },
    /// Print the critical path of a verb from a TRACE of bpftrace; NAMES has numbers of system calls
    Path { verb: bench::path::Verb, names: PathBuf, trace: PathBuf },
    /// Print which of the targets the summaries, QUESTION.tsv, meet
    Targets { targets: PathBuf, summaries: Vec<PathBuf> },
}

/// A file that is made: its path below the top of the repository, and its text.
type Made = (String, String);

fn main() -> ExitCode {
    let done = match Line::parse().task {
        Task::Man => man::pages().and_then(|pages| write(&pages)),
        Task::Completions { shell } => write(&completions::files(shell)),
        Task::Ledger { log } => print_ledger(&log),
        Task::Conformance(task) => task.run(),
        Task::Bench(task) => task.run().map(|text| print!("{text}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn print_ledger(log: &Path) -> Result<(), String> {
    let features = read(&top().join("docs/features.tsv"))?;
    let not_yet = read(&top().join("docs/not-yet.tsv"))?;
    let mut mutations = 0;
    for file in files(&top().join("hack/mutations"))? {
        mutations += read(&file)?.lines().filter(|line| line.starts_with('R')).count();
    }
    let (text, told) = ledger::text(&features, &not_yet, &read(log)?, mutations)?;
    told.iter().for_each(|line| eprintln!("{line}"));
    print!("{text}");
    Ok(())
}

impl Conformance {
    fn run(self) -> Result<(), String> {
        match self {
            Self::Results { dir } => {
                let tap = |path: &PathBuf| path.extension().is_some_and(|is| is == "tap");
                for path in files(&dir)?.into_iter().filter(tap) {
                    let status = read(&path.with_extension("status"))?;
                    let status = status.trim().parse().map_err(|e| format!("{status:?}: {e}"))?;
                    println!("{}\t{}", stem(&path), tap::verdict(&read(&path)?, status));
                }
            }
            Self::Table { files } => print!("{}", conformance::table(&named(&files)?)),
            Self::Put { document } => {
                let table = io::read_to_string(io::stdin()).map_err(|e| format!("read: {e}"))?;
                let text = conformance::put(&read(&document)?, &table)?;
                fs::write(&document, text)
                    .map_err(|error| format!("write {}: {error}", document.display()))?;
            }
            Self::Judge { document, file, dir } => {
                let wrong = conformance::judge(&read(&document)?, &read(&file)?)?;
                for (name, told) in &wrong {
                    eprintln!("{told}\n{}", read(&dir.join(format!("{name}.err")))?);
                }
                if !wrong.is_empty() {
                    let words = "programs neither pass nor have a reason in";
                    return Err(format!("{} {words} {}", wrong.len(), document.display()));
                }
            }
        }
        Ok(())
    }
}

impl Bench {
    fn run(self) -> Result<String, String> {
        Ok(match self {
            Self::Summary { raw } => bench::summary::text(&read(&raw)?),
            Self::Table { markdown: true, summary } => bench::table::markdown(&read(&summary)?),
            Self::Table { markdown: false, summary } => bench::table::terminal(&read(&summary)?),
            Self::Path { verb, names, trace } => {
                bench::path::text(verb, &read(&names)?, &read(&trace)?)
                    .map_err(|why| format!("{}: {why}", trace.display()))?
            }
            Self::Chart { summary } => bench::chart::text(&read(&summary)?)
                .map_err(|why| format!("{}: {why}", summary.display()))?,
            Self::Compare { raw } => bench::compare::text(&read(&raw)?),
            Self::Targets { targets, summaries } => {
                bench::targets::text(&read(&targets)?, &named(&summaries)?)
            }
        })
    }
}

/// The top of the repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a program printed need not be UTF-8.
fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Each with its name, without what is behind the dot.
fn named(paths: &[PathBuf]) -> Result<Vec<(String, String)>, String> {
    paths.iter().map(|path| Ok((stem(path), read(path)?))).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Those of a directory, by name.
fn files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("read {}: {error}", dir.display());
    let entries = fs::read_dir(dir).map_err(failed)?;
    let paths: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
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
