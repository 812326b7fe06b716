//! `pinnace list`.

use super::Verb;
use super::arguments::arguments;
use super::shared::together;
use super::usage::{json, print};
use crate::container::{self, Runtime};
use crate::error::{Result, printable};
use crate::spec::State;
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
        let mut owners = Owners::default();
        let mut all = String::new();
        let mut shown = 0;
        let unknown = if self.quiet {
            container::list(runtime, |state, _| {
                shown += 1;
                all.push_str(state.id);
                all.push('\n');
                Ok(())
            })?
        } else if self.format == "json" {
            let unknown = container::list(runtime, |state, owner| {
                shown += 1;
                let state = State { owner: Some(owners.name(owner)), ..state };
                all.push(if all.is_empty() { '[' } else { ',' });
                all.push_str(&json(&state)?);
                Ok(())
            })?;
            // `null` for none, as Go prints a nil slice and runc's callers read it.
            all.push_str(if all.is_empty() { "null\n" } else { "]\n" });
            unknown
        } else {
            let mut rows = vec![HEAD.map(str::to_owned)];
            let unknown = container::list(runtime, |state, owner| {
                shown += 1;
                rows.push([
                    state.id.to_owned(),
                    state.pid.to_string(),
                    state.status.as_str().to_owned(),
                    printable(state.bundle).into_owned(),
                    printable(state.created.unwrap_or_default()).into_owned(),
                    printable(owners.name(owner)).into_owned(),
                ]);
                Ok(())
            })?;
            all = table(&rows);
            unknown
        };
        print(&all)?;
        let of = shown + unknown.len();
        together(unknown, of).map(|()| 0)
    }
}

const HEAD: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/// Names of users, each looked for once.
#[derive(Default)]
struct Owners {
    passwd: Option<String>,
    names: BTreeMap<u32, String>,
}

impl Owners {
    fn name(&mut self, uid: u32) -> &str {
        let passwd = &mut self.passwd;
        self.names.entry(uid).or_insert_with(|| {
            let read = || std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            owner_name(passwd.get_or_insert_with(read), uid)
        })
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
