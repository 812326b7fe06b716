//! `pinnace list`.

use super::Verb;
use super::arguments::arguments;
use super::usage::{print, print_json};
use crate::container::{self, Runtime};
use crate::error::Result;
use std::borrow::Cow;
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
        let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(Cow::Borrowed);
        let rows = states.map(|state| {
            [
                state.id.into(),
                state.pid.to_string().into(),
                state.status.as_str().into(),
                state.bundle.into(),
                state.created.unwrap_or_default().into(),
                state.owner.unwrap_or_default().into(),
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
fn table(rows: &[[Cow<'_, str>; 6]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].len() + 3).max().map_or(12, |w| w.max(12))
    };
    let widths = [0, 1, 2, 3, 4, 5].map(width);
    let mut text = String::with_capacity(rows.len() * (widths.iter().sum::<usize>() + 1));
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.len()));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}
