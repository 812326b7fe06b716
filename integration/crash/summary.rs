//! `summary`: tables of what files of `--report` hold, as docs/reliability.md has them.

use super::report::{Outcome, Row};
use super::verbs::VERBS;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;

/// Tried, survived.
type Counts = [usize; 2];

/// One world: its groups.
#[derive(Default)]
struct World {
    groups: BTreeMap<String, Counts>,
}

const MODES: &[&str] = &[
    "kill main",
    "kill init",
    "kill intermediate",
    "kill both",
    "fail main",
    "fail init",
    "fail intermediate",
];

/// Prints them; `words`: WORLD=FILE, where files of the same world are added up.
pub fn summary(words: &[String]) -> Result<()> {
    let mut worlds: Vec<(&str, World)> = Vec::new();
    for word in words {
        let (name, file) = word.split_once('=').context("summary WORLD=FILE...")?;
        let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
        let at = worlds.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            worlds.push((name, World::default()));
            worlds.len() - 1
        });
        for line in text.lines() {
            worlds[at].1.add(&serde_json::from_str(line).with_context(|| file.to_owned())?);
        }
    }
    for (name, world) in &worlds {
        world.points(name);
    }
    others(&worlds);
    Ok(())
}

impl World {
    fn add(&mut self, row: &Row) {
        if row.outcome != Outcome::Skipped {
            let counts = self.groups.entry(row.group.clone()).or_default();
            counts[0] += 1;
            counts[1] += usize::from(row.outcome == Outcome::Passed);
        }
    }

    fn of(&self, is_meant: impl Fn(&str) -> bool) -> Option<Counts> {
        let meant = self.groups.iter().filter(|(name, _)| is_meant(name));
        meant.map(|(_, counts)| *counts).reduce(|a, b| [a[0] + b[0], a[1] + b[1]])
    }

    /// The points of each verb.
    fn points(&self, name: &str) {
        let has = |mode: &&&str| self.of(|group| of_point(group).is_some_and(|(_, m)| m == **mode));
        let modes: Vec<_> = MODES.iter().filter(|mode| has(mode).is_some()).collect();
        if modes.is_empty() {
            return;
        }
        println!("{name}, points:\n");
        let line = |first: &str, is_verb: &dyn Fn(&str) -> bool| {
            let of = |mode: &str| {
                let is_meant = |(verb, found): (&str, &str)| is_verb(verb) && found == mode;
                cell(self.of(|group| of_point(group).is_some_and(is_meant)))
            };
            row(first, modes.iter().map(|mode| of(mode)));
        };
        head("verb", modes.iter().map(|mode| (**mode).to_owned()));
        for (verb, _) in VERBS {
            line(verb, &|found| found == *verb);
        }
        line("all", &|_| true);
        println!();
    }
}

/// The verb and the mode of a group of points.
fn of_point(group: &str) -> Option<(&str, &str)> {
    let (verb, mode) = group.split_once(", ")?;
    let is_verb = VERBS.iter().any(|(known, _)| *known == verb);
    (is_verb && MODES.contains(&mode)).then_some((verb, mode))
}

/// All else, the worlds side by side.
fn others(worlds: &[(&str, World)]) {
    let mut groups: Vec<&str> = worlds
        .iter()
        .flat_map(|(_, world)| world.groups.keys())
        .map(String::as_str)
        .filter(|group| of_point(group).is_none())
        .collect();
    groups.sort_unstable();
    groups.dedup();
    if groups.is_empty() {
        return;
    }
    head("what", worlds.iter().map(|(name, _)| (*name).to_owned()));
    for group in groups {
        row(group, worlds.iter().map(|(_, world)| cell(world.groups.get(group).copied())));
    }
}

fn head(first: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.collect();
    let rule = "|---".repeat(cells.len() + 1);
    row(first, cells.into_iter());
    println!("{rule}|");
}

fn row(first: &str, cells: impl Iterator<Item = String>) {
    println!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

fn cell(counts: Option<Counts>) -> String {
    counts.map_or_else(String::new, |[tried, survived]| format!("{tried} / {survived}"))
}
