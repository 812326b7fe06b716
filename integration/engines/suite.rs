//! Tests by engine, each checked for what it leaves behind; libtest-mimic runs, shows and counts them.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow, bail};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::call::{self, Lacks, Missing};
use crate::leftovers::Leftovers;
use crate::machine::Machine;

/// One test: its name, and what it does with a running engine.
pub type Test<E> = (&'static str, fn(&E) -> Result<()>);

/// An engine, ready for its tests. It is stopped when dropped.
pub trait Engine: Sized + Send + 'static {
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

/// [`test`] of an engine.
pub type Tested = fn(&Machine, &[String], &Arguments) -> bool;

/// Enters the machine, and runs there the tests of each engine: those whose names contain a word of the
/// command line, or all. Whether one has failed is the exit code.
pub fn run(engines: &[Tested]) -> ExitCode {
    let (options, names): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|word| word.starts_with('-'));
    let machine = match Machine::enter() {
        Ok(machine) => machine,
        Err(error) => {
            eprintln!("engines: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let given = Arguments::from_iter(std::iter::once("engines".to_owned()).chain(options));
    // Each looks at what the machine holds before and after.
    let arguments = Arguments { test_threads: Some(1), ..given };
    let failed = engines.iter().filter(|test| !test(&machine, &names, &arguments)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the tests of one engine, which is started for the first of them; whether none has failed.
pub fn test<E: Engine>(machine: &Machine, names: &[String], arguments: &Arguments) -> bool {
    let engine = Arc::new(Mutex::new(None));
    let trial = |&(name, test): &Test<E>| {
        let (engine, machine) = (Arc::clone(&engine), machine.clone());
        let name = format!("{}::{name}", E::NAME);
        let wanted = names.is_empty() || names.iter().any(|part| name.contains(part));
        wanted.then(|| Trial::ignorable_test(name, move || outcome(&machine, &engine, test)))
    };
    let trials: Vec<_> = E::TESTS.iter().filter_map(trial).collect();
    trials.is_empty() || !libtest_mimic::run(arguments, trials).has_failed()
}

fn outcome<E: Engine>(
    machine: &Machine,
    engine: &Mutex<Option<Result<E>>>,
    test: fn(&E) -> Result<()>,
) -> Result<Completion, Failed> {
    if let Some(program) = E::NEEDS.iter().find(|program| !call::installed(program)) {
        return skipped(&format!("skipped: {program} is not installed"));
    }
    let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
    let tested = match engine.get_or_insert_with(|| E::start(machine)) {
        Ok(engine) => checked(machine, engine, test),
        Err(error) => Err(anyhow!("{} does not start: {error:#}", E::NAME)),
    };
    match tested {
        Ok(()) => Ok(Completion::Completed),
        Err(error) if error.is::<Missing>() => skipped(&format!("{error:#}")),
        Err(error) if error.is::<Lacks>() => Ok(Completion::ignored_with(error)),
        Err(error) => Err(format!("{error:#}").into()),
    }
}

/// Skipping is for people's machines; where CI is set, all engines must be there.
fn skipped(why: &str) -> Result<Completion, Failed> {
    match std::env::var_os("CI") {
        Some(_) => Err(format!("{why}, and CI is set").into()),
        None => Ok(Completion::ignored_with(why)),
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
