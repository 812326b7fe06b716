//! The crash harness: a runtime dies, its calls fail, commands overlap, everything is scarce; and then
//! nothing may be lost, left behind or said that is not true. As root. Built as the test target `crash`;
//! `hack/crash` builds and calls it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod at;
mod callers;
mod churn;
mod deaf;
mod fleet;
mod guard;
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../harness/mod.rs"]
mod harness;
mod judge;
mod model;
mod names;
mod options;
mod pairs;
mod parallel;
mod points;
mod proof;
mod race;
mod report;
#[allow(dead_code)]
#[path = "../security/rootless.rs"]
mod rootless;
mod run;
mod scarcity;
mod summary;
mod sys;
mod verbs;
mod world;

use options::Options;
use report::Worker;
use std::process::ExitCode;

/// A sub-command.
pub struct Suite {
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// One worker only, whatever `--jobs` says.
    pub is_alone: bool,
    /// Options of its own besides those of all: name, value, what it means.
    pub options: &'static [(&'static str, &'static str, &'static str)],
    /// What each worker does.
    pub work: fn(&mut Worker) -> anyhow::Result<()>,
}

const SUITES: &[Suite] = &[
    Suite {
        name: "points",
        about: "kill, or fail a call, at every system call of every verb",
        is_alone: false,
        options: points::OPTIONS,
        work: points::work,
    },
    Suite {
        name: "pairs",
        about: "hold one verb at each of its system calls while another one runs",
        is_alone: false,
        options: pairs::OPTIONS,
        work: pairs::work,
    },
    Suite {
        name: "proof",
        about: "runtimes that are made wrong are found: the harness can fail",
        is_alone: true,
        options: &[],
        work: proof::work,
    },
    race::SUITE,
    churn::SUITE,
    scarcity::SUITE,
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["suites"] {
        SUITES.iter().for_each(|suite| println!("{}", suite.name));
        return ExitCode::SUCCESS;
    }
    if let Some(("summary", files)) = words.split_first().map(|(word, rest)| (word.as_str(), rest))
    {
        return match summary::summary(files) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("crash: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let (suite, options) = match Options::parse(SUITES, &words) {
        Ok(found) => found,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    match options.worker {
        Some(index) => told(report::work(suite, &options, index)),
        None => guard::guarded(|| told(report::conduct(&options, &words)))
            .unwrap_or_else(|error| told(Err(error.into()))),
    }
}

fn told(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash: {error:#}");
            ExitCode::FAILURE
        }
    }
}
