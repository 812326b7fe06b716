//! The list of mutations: `hack/mutations/*`, one file for each chapter of `docs/features.tsv`.
//!
//! An entry is a line that says what is broken, a header (rows, file), the old lines, the new ones:
//!
//! ```text
//! # The option nodev sets nothing.
//! R030 src/rootfs/options.rs
//! - "nodev" => set(Flags::NODEV),
//! + "nodev" => set(Flags::empty()),
//! ```
//!
//! The old lines follow each other in the file, and only once; blanks around a line are of no matter.
//! A header may end in `[v2]` or `[vm]`: the tests need a hierarchy of cgroup v2, or the machine of
//! `hack/vm`.

use anyhow::{Context, Result, bail, ensure};
use std::path::Path;

/// Where the tests of an entry are run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum World {
    /// On this host as it is.
    Host,
    /// In a mount namespace whose /sys/fs/cgroup is the hierarchy of cgroup v2.
    V2,
    /// In the machine of `hack/vm`.
    Vm,
}

/// One change of the source that breaks one effect.
pub struct Mutation {
    /// `FILE:LINE` of the entry, without the directory.
    pub place: String,
    /// What is broken.
    pub about: String,
    /// The rows that it breaks, as `r030`.
    pub rows: Vec<String>,
    pub world: World,
    /// The file that it changes, from the top of the tree.
    pub path: String,
    old: Vec<String>,
    new: Vec<String>,
}

impl Mutation {
    /// The text of the file with the change in it.
    pub fn apply(&self, text: &str) -> Result<String> {
        let lines: Vec<&str> = text.lines().collect();
        let same = |at: &usize| {
            lines[*at..].iter().zip(&self.old).filter(|(line, old)| line.trim() == *old).count()
                == self.old.len()
        };
        let found: Vec<usize> = (0..lines.len()).filter(same).collect();
        ensure!(
            found.len() == 1,
            "{}: {}: the old lines are there {} times: {}",
            self.place,
            self.path,
            found.len(),
            self.old.join(" / ")
        );
        let (before, rest) = lines.split_at(found[0]);
        let new = self.new.iter().map(String::as_str);
        let all = before.iter().copied().chain(new).chain(rest[self.old.len()..].iter().copied());
        Ok(all.flat_map(|line| [line, "\n"]).collect())
    }
}

/// All entries, in the order of the files' names.
pub fn read(top: &Path) -> Result<Vec<Mutation>> {
    let directory = top.join("hack/mutations");
    let entries = std::fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(parse(&name, &std::fs::read_to_string(&file)?)?);
    }
    Ok(all)
}

/// The entries of a file.
pub fn parse(name: &str, text: &str) -> Result<Vec<Mutation>> {
    let mut all = Vec::new();
    let mut about = String::new();
    let mut open: Option<Mutation> = None;
    for (line, number) in text.lines().chain([""]).zip(1..) {
        let place = format!("{name}:{number}");
        match (line.chars().next(), &mut open) {
            (None, _) => {
                if let Some(done) = open.take() {
                    ensure!(!done.old.is_empty(), "{}: no old lines", done.place);
                    ensure!(done.old != done.new, "{}: changes nothing", done.place);
                    all.push(done);
                }
                about.clear();
            }
            (Some('#'), None) => about = line[1..].trim().to_owned(),
            (Some('R'), None) => open = Some(header(&place, &about, line)?),
            (Some('-'), Some(entry)) => entry.old.push(line[1..].trim().to_owned()),
            (Some('+'), Some(entry)) => entry.new.push(line[1..].trim().to_owned()),
            _ => bail!("{place}: neither a row, nor an old or a new line: {line}"),
        }
    }
    Ok(all)
}

fn header(place: &str, about: &str, line: &str) -> Result<Mutation> {
    ensure!(!about.is_empty(), "{place}: no line says what is broken");
    let (line, world) = if let Some(line) = line.strip_suffix(" [v2]") {
        (line, World::V2)
    } else if let Some(line) = line.strip_suffix(" [vm]") {
        (line, World::Vm)
    } else {
        (line, World::Host)
    };
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let path = words
        .pop()
        .filter(|word| word.contains('/'))
        .with_context(|| format!("{place}: rows, then a file"))?;
    let is_row = |word: &&str| word.len() == 4 && word[1..].bytes().all(|b| b.is_ascii_digit());
    ensure!(!words.is_empty() && words.iter().all(is_row), "{place}: rows, then a file: {line}");
    Ok(Mutation {
        place: place.to_owned(),
        about: about.to_owned(),
        rows: words.iter().map(|row| row.to_lowercase()).collect(),
        world,
        path: path.to_owned(),
        old: Vec::new(),
        new: Vec::new(),
    })
}

/// The rows that the name of a test begins with: `a::r001_r291_b` shows r001 and r291.
pub fn rows_of(test: &str) -> Vec<&str> {
    let mut name = test.rsplit("::").next().unwrap_or_default();
    let mut rows = Vec::new();
    while let Some((row, rest)) = name.split_once('_') {
        if row.len() != 4 || !row.starts_with('r') || !row[1..].bytes().all(|b| b.is_ascii_digit())
        {
            break;
        }
        rows.push(row);
        name = rest;
    }
    rows
}
