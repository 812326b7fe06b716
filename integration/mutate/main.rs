//! Mutations: one effect of the program is broken at a time, and a test of each row that promises it
//! must turn red. As root. `hack/mutate` builds and calls it: `mutate INTEGRATION [OPTION|ROW|FILE]...`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod list;
mod tests;
mod tree;

use anyhow::{Context, Result, bail};
use list::{Mutation, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use tests::{BLACK_BOX, Outcome, Test};
use tree::Tree;

/// What is asked for.
#[derive(Default)]
struct Options {
    /// Rows (`r030`) and files of entries; all if there are none.
    wanted: Vec<String>,
    /// The part whose turn it is, and how many there are.
    share: Option<(usize, usize)>,
    /// The entries for the virtual machine, and only they.
    is_vm: bool,
    jobs: usize,
}

/// What came of it all.
#[derive(Default)]
struct Report {
    caught: usize,
    failed: usize,
    skipped: usize,
    /// What was red by a mutation of its row: row and test.
    shown: BTreeSet<(String, Test)>,
}

/// What all workers use.
struct Common {
    options: Options,
    /// The black-box tests.
    integration: PathBuf,
    rows: BTreeMap<String, BTreeSet<Test>>,
    /// Tests that show nothing in a world: red or skipped there on the program as it is.
    useless: BTreeSet<(World, Test)>,
    report: Mutex<Report>,
}

fn main() -> ExitCode {
    match mutate() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn mutate() -> Result<bool> {
    let mut words = std::env::args().skip(1);
    let integration = PathBuf::from(words.next().context("the program of the black-box tests")?);
    let options = Options::parse(words)?;
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = list::read(top)?;
    let entries: Vec<&Mutation> = all
        .iter()
        .filter(|entry| options.wants(entry))
        .enumerate()
        .filter(|(index, _)| options.share.is_none_or(|(turn, of)| index % of == turn % of))
        .map(|(_, entry)| entry)
        .collect();
    if entries.is_empty() {
        bail!("no entry of hack/mutations is meant");
    }
    let first = Tree::copy(top, "tree-0")?;
    let mut programs = first.units(&[])?;
    programs.insert(BLACK_BOX.into(), integration.clone());
    let mut common = Common {
        rows: tests::by_row(&programs)?,
        options,
        integration,
        useless: BTreeSet::new(),
        report: Mutex::default(),
    };
    common.as_it_is(&first, &entries, &programs)?;
    let queue = Mutex::new(entries.iter());
    std::thread::scope(|scope| {
        let mut trees = vec![first];
        for job in 1..common.options.jobs {
            trees.push(Tree::copy(top, &format!("tree-{job}"))?);
        }
        for tree in trees {
            let (common, queue) = (&common, &queue);
            scope.spawn(move || {
                loop {
                    let Some(entry) = queue.lock().unwrap().next() else { break };
                    common.tell(entry, common.attempt(&tree, entry));
                }
            });
        }
        anyhow::Ok(())
    })?;
    Ok(common.sum(&all))
}

impl Options {
    fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { jobs: 2, ..Self::default() };
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--vm" => options.is_vm = true,
                "--jobs" => options.jobs = words.next().context("--jobs N")?.parse()?,
                "--share" => {
                    let text = words.next().context("--share TURN/OF")?;
                    let (turn, of) = text.split_once('/').context("--share TURN/OF")?;
                    options.share = Some((turn.parse()?, of.parse::<usize>()?.max(1)));
                }
                word if word.starts_with('-') => bail!("{word}: --share TURN/OF, --jobs N, --vm"),
                word => options.wanted.push(word.trim_start_matches("hack/mutations/").into()),
            }
        }
        // The machine is one.
        options.jobs = if options.is_vm { 1 } else { options.jobs.max(1) };
        Ok(options)
    }

    fn wants(&self, entry: &Mutation) -> bool {
        let is_named = |word: &String| {
            entry.place.split(':').next() == Some(word)
                || entry.place == *word
                || entry.rows.contains(&word.to_lowercase())
        };
        (entry.world == World::Vm) == self.is_vm
            && (self.wanted.is_empty() || self.wanted.iter().any(is_named))
    }
}

impl Common {
    /// The tests of an entry's rows.
    fn tests(&self, entry: &Mutation) -> BTreeSet<Test> {
        entry
            .rows
            .iter()
            .flat_map(|row| self.rows.get(row).into_iter().flatten().cloned())
            .collect()
    }

    /// Runs all tests in question on the program as it is: what is red or skipped then shows nothing.
    fn as_it_is(
        &mut self,
        tree: &Tree,
        entries: &[&Mutation],
        programs: &BTreeMap<String, PathBuf>,
    ) -> Result<()> {
        let program = tree.program()?;
        for world in [World::Host, World::V2, World::Vm] {
            let there = entries.iter().filter(|entry| entry.world == world);
            let wanted: BTreeSet<Test> = there.flat_map(|entry| self.tests(entry)).collect();
            let outcome = self.run(&wanted, programs, &program, world)?;
            for test in &outcome.red {
                println!("RED WITHOUT A MUTATION: {} ({world:?})", test.1);
            }
            self.report.get_mut().unwrap().failed += outcome.red.len();
            let useless = outcome.red.into_iter().chain(outcome.skipped);
            self.useless.extend(useless.map(|test| (world, test)));
        }
        Ok(())
    }

    fn run(
        &self,
        wanted: &BTreeSet<Test>,
        programs: &BTreeMap<String, PathBuf>,
        runtime: &Path,
        world: World,
    ) -> Result<Outcome> {
        let mut all = Outcome::default();
        for (target, program) in programs {
            let names = wanted.iter().filter(|test| test.0 == *target);
            let names: Vec<&str> = names.map(|test| test.1.as_str()).collect();
            let outcome = tests::run(program, target, &names, runtime, world)?;
            all.red.extend(outcome.red);
            all.skipped.extend(outcome.skipped);
            all.green.extend(outcome.green);
        }
        Ok(all)
    }

    /// Breaks it, builds it and runs the tests of its rows.
    fn attempt(&self, tree: &Tree, entry: &Mutation) -> Result<Outcome> {
        let wanted: BTreeSet<Test> = self.tests(entry);
        let units: BTreeSet<&String> = wanted.iter().map(|test| &test.0).collect();
        let units: Vec<String> =
            units.into_iter().filter(|target| *target != BLACK_BOX).cloned().collect();
        let outcome = tree.broken(entry, || {
            let runtime = tree.program()?;
            let mut programs = if units.is_empty() { BTreeMap::new() } else { tree.units(&units)? };
            programs.insert(BLACK_BOX.into(), self.integration.clone());
            self.run(&wanted, &programs, &runtime, entry.world)
        })?;
        Ok(outcome)
    }

    /// One line for an entry.
    fn tell(&self, entry: &Mutation, outcome: Result<Outcome>) {
        let mut report = self.report.lock().unwrap();
        let rows = entry.rows.join(" ").to_uppercase();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                report.failed += 1;
                println!("BROKEN    {} {rows}: {error:#}", entry.place);
                return;
            }
        };
        let mut alive = Vec::new();
        let mut nothing = Vec::new();
        for row in &entry.rows {
            let tests = self.rows.get(row).into_iter().flatten();
            let is_fit = |test: &&Test| !self.useless.contains(&(entry.world, (*test).clone()));
            let tests: Vec<&Test> = tests.filter(is_fit).collect();
            let red: Vec<&&Test> = tests.iter().filter(|test| outcome.red.contains(test)).collect();
            report.shown.extend(red.iter().map(|test| (row.clone(), (**test).clone())));
            if tests.iter().all(|test| outcome.skipped.contains(test)) {
                nothing.push(row.to_uppercase());
            } else if red.is_empty() {
                alive.push(row.to_uppercase());
            }
        }
        let (red, all) = (outcome.red.len(), outcome.red.len() + outcome.green.len());
        let place = &entry.place;
        if !alive.is_empty() {
            report.failed += 1;
            println!("SURVIVED  {place} {rows}: {} (green: {})", entry.about, alive.join(" "));
        } else if nothing.is_empty() {
            report.caught += 1;
            println!("caught    {place} {rows}: {} ({red} of {all} red)", entry.about);
        } else {
            report.skipped += 1;
            println!("skipped   {place} {rows}: no test of {} can run here", nothing.join(" "));
        }
    }

    /// The count; and, if all entries of a row had their turn, its tests that were never red.
    fn sum(&self, all: &[Mutation]) -> bool {
        let mut report = self.report.lock().unwrap();
        let mut entries = BTreeMap::<&String, Vec<&Mutation>>::new();
        for entry in all {
            entry.rows.iter().for_each(|row| entries.entry(row).or_default().push(entry));
        }
        for (row, entries) in entries {
            let had_all =
                |entry: &&Mutation| self.options.share.is_none() && self.options.wants(entry);
            if !entries.iter().all(had_all) {
                continue;
            }
            for test in self.rows.get(row).into_iter().flatten() {
                if !self.useless.contains(&(World::Host, test.clone()))
                    && !report.shown.contains(&(row.clone(), test.clone()))
                {
                    println!("PROVES NOTHING of {}: {}", row.to_uppercase(), test.1);
                    report.failed += 1;
                }
            }
        }
        let Report { caught, failed, skipped, .. } = *report;
        println!("{caught} passed, {failed} failed, {skipped} skipped");
        failed == 0
    }
}
