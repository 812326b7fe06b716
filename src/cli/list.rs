//! `pinnace list`.

use super::Verb;
use super::arguments::arguments;
use super::usage::{print, print_json};
use crate::container::{self, Runtime};
use crate::error::Result;
use std::collections::BTreeMap;

arguments! {
    /// Arguments of `list`.
    pub struct List {
        /// Format of the output
        format: String = "-f, --format FORMAT" in ["table", "json"],
        /// Print the ids only
        quiet: bool = "-q, --quiet",
    }
}

impl Verb for List {
    fn run(self, runtime: &Runtime) -> Result<i32> {
        let entries = container::list(runtime)?;
        if self.quiet {
            let ids = entries.iter().map(|entry| format!("{}\n", entry.record.id));
            print(&ids.collect::<String>());
            return Ok(0);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let mut owners = BTreeMap::new();
        for entry in &entries {
            let owner = entry.record.owner;
            owners.entry(owner).or_insert_with(|| owner_name(&passwd, owner));
        }
        let states = entries.iter().map(|entry| {
            let mut state = entry.state();
            state.owner = owners.get(&entry.record.owner).map(String::as_str);
            state
        });
        if self.format == "json" {
            let states: Vec<_> = states.collect();
            // `null` for none, as Go prints a nil slice and runc's callers read it.
            print_json(&(!states.is_empty()).then_some(states))?;
            return Ok(0);
        }
        let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
        let rows = states.map(|state| {
            [
                state.id.to_owned(),
                state.pid.to_string(),
                state.status.as_str().to_owned(),
                state.bundle.to_owned(),
                state.created.unwrap_or_default().to_owned(),
                state.owner.unwrap_or_default().to_owned(),
            ]
        });
        print(&table(&[head].into_iter().chain(rows).collect::<Vec<_>>()));
        Ok(0)
    }
}

/// The name of a user by /etc/passwd, or `#uid`.
fn owner_name(passwd: &str, uid: u32) -> String {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}

/// Columns as wide as their widest cell and three spaces, at least 12: as
/// runc's.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].len() + 3).max().map_or(12, |w| w.max(12))
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}
