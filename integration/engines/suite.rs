//! Tests by engine, each checked for what it leaves behind, and counted as cargo counts.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::call;
use crate::leftovers::Leftovers;
use crate::machine::Machine;

/// Enters the machine, and runs there what `all` asks for.
pub fn run(all: impl FnOnce(&Machine, &mut Report)) -> ExitCode {
    let only = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let machine = match Machine::enter() {
        Ok(machine) => machine,
        Err(error) => {
            eprintln!("engines: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report { only, ..Report::default() };
    all(&machine, &mut report);
    report.end()
}

/// One test: its name, and what it does with a running engine.
pub type Test<E> = (&'static str, fn(&E) -> Result<()>);

/// An engine, ready for its tests. It is stopped when dropped.
pub trait Engine: Sized + 'static {
    /// First part of its tests' names.
    const NAME: &'static str;
    /// The programs without which it cannot be tested.
    const NEEDS: &'static [&'static str];
    /// In the order in which they are run.
    const TESTS: &'static [Test<Self>];

    /// Makes it ready.
    fn start(machine: &Machine) -> Result<Self>;

    /// Removes all containers after a failed test, so that the next one has a chance.
    fn reset(&self);
}

/// What has been run so far.
#[derive(Default)]
pub struct Report {
    only: Vec<String>,
    passed: usize,
    ignored: usize,
    filtered: usize,
    failures: Vec<(String, String)>,
}

impl Report {
    /// Runs the tests of an engine.
    pub fn test<E: Engine>(&mut self, machine: &Machine) {
        let name = |test: &Test<E>| format!("{}::{}", E::NAME, test.0);
        let wanted = |test: &&Test<E>| {
            self.only.is_empty() || self.only.iter().any(|part| name(test).contains(part))
        };
        let tests: Vec<_> = E::TESTS.iter().filter(wanted).collect();
        self.filtered += E::TESTS.len() - tests.len();
        if tests.is_empty() {
            return;
        }
        if let Some(program) = E::NEEDS.iter().find(|program| !call::installed(program)) {
            let why = format!("skipped: {program} is not installed");
            for test in tests {
                self.skip(name(test), &why);
            }
            return;
        }
        let engine = E::start(machine);
        for test in tests {
            let outcome = match &engine {
                Ok(engine) => checked(machine, engine, test.1),
                Err(error) => Err(anyhow::anyhow!("{} does not start: {error:#}", E::NAME)),
            };
            self.note(name(test), outcome);
        }
    }

    fn note(&mut self, name: String, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                println!("test {name} ... ok");
                self.passed += 1;
            }
            Err(error) if error.is::<call::Missing>() => self.skip(name, &format!("{error:#}")),
            Err(error) if error.is::<call::Lacks>() => {
                println!("test {name} ... ignored, {error:#}");
                self.ignored += 1;
            }
            Err(error) => {
                println!("test {name} ... FAILED");
                self.failures.push((name, format!("{error:#}")));
            }
        }
    }

    /// Skipping is for people's machines; where CI is set, all engines must be there.
    fn skip(&mut self, name: String, why: &str) {
        if std::env::var_os("CI").is_some() {
            println!("test {name} ... FAILED");
            self.failures.push((name, format!("{why}, and CI is set")));
        } else {
            println!("test {name} ... ignored, {why}");
            self.ignored += 1;
        }
    }

    fn end(&self) -> ExitCode {
        for (name, why) in &self.failures {
            println!("\n---- {name} ----\n{why}");
        }
        println!(
            "\ntest result: {}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out",
            if self.failures.is_empty() { "ok" } else { "FAILED" },
            self.passed,
            self.failures.len(),
            self.ignored,
            self.filtered
        );
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs one test; then nothing may be there that was not there before.
fn checked<E: Engine>(machine: &Machine, engine: &E, test: fn(&E) -> Result<()>) -> Result<()> {
    let before = Leftovers::look(machine)?;
    let outcome = test(engine).and_then(|()| {
        let more = Leftovers::wait(machine, &before)?;
        if more.is_empty() { Ok(()) } else { bail!("left behind:\n  {}", more.join("\n  ")) }
    });
    if outcome.is_err() {
        engine.reset();
    }
    outcome
}
