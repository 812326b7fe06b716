//! Results of `hack/bench`: raw values, and what is made of them.
//!
//! Raw is a line a value, CASE, LANE and VALUE, or `!`, CASE, LANE and why there is none, separated
//! by tabs. A summary is a line for each case and lane. In both `# name: value` tells of the whole.

pub mod chart;
pub mod compare;
pub mod path;
pub mod summary;
pub mod table;
pub mod targets;

use crate::number;
use std::collections::HashMap;

/// The value of `# name: value`.
fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let begin = format!("# {name}: ");
    text.lines().rev().find_map(|line| line.strip_prefix(&begin)).unwrap_or_default()
}

/// The number that [`header`] gives, or 1.
fn divisor(text: &str) -> f64 {
    match number::parse(header(text, "divide")) {
        0.0 => 1.0,
        divide => divide,
    }
}

/// Adds what is not there yet.
fn note<'a>(list: &mut Vec<&'a str>, word: &'a str) {
    if !list.contains(&word) {
        list.push(word);
    }
}

/// Values of cases and lanes, both in the order of their first appearance.
#[derive(Default)]
struct Raw<'a> {
    cases: Vec<&'a str>,
    lanes: Vec<&'a str>,
    values: HashMap<(&'a str, &'a str), Vec<f64>>,
    /// Case, lane, why.
    left_out: Vec<[&'a str; 3]>,
}

impl<'a> Raw<'a> {
    fn read(text: &'a str) -> Self {
        let mut raw = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            let mut next = || fields.next().unwrap_or_default();
            match (next(), next(), next()) {
                ("!", case, lane) => {
                    note(&mut raw.cases, case);
                    raw.left_out.push([case, lane, next()]);
                }
                (case, lane, value) => {
                    note(&mut raw.cases, case);
                    note(&mut raw.lanes, lane);
                    raw.values.entry((case, lane)).or_default().push(number::parse(value));
                }
            }
        }
        raw
    }
}

/// The values from the least on.
fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values.
fn median(values: &[f64]) -> f64 {
    let n = values.len();
    if n == 0 { 0.0 } else { (values[(n - 1) / 2] + values[n / 2]) / 2.0 }
}

/// A line of a summary.
struct Row<'a> {
    case: &'a str,
    lane: &'a str,
    rounds: f64,
    median: f64,
    p99: f64,
    /// To the first lane of the case.
    ratio: f64,
}

/// A summary; cases and lanes in the order of their first appearance.
#[derive(Default)]
struct Summary<'a> {
    cases: Vec<&'a str>,
    lanes: Vec<&'a str>,
    rows: Vec<Row<'a>>,
    /// Case, lane, why.
    left_out: Vec<[&'a str; 3]>,
}

impl<'a> Summary<'a> {
    fn read(text: &'a str) -> Self {
        let mut summary = Self::default();
        for line in text.lines() {
            let fields: Vec<_> = line.split('\t').collect();
            match fields.as_slice() {
                ["# left out", case, lane, why, ..] => summary.left_out.push([case, lane, why]),
                ["case", ..] => {}
                [case, lane, rounds, median, p99, _, ratio, ..] if !case.starts_with('#') => {
                    note(&mut summary.cases, case);
                    note(&mut summary.lanes, lane);
                    let [rounds, median, p99, ratio] =
                        [rounds, median, p99, ratio].map(|text| number::parse(text));
                    summary.rows.push(Row { case, lane, rounds, median, p99, ratio });
                }
                _ => {}
            }
        }
        summary
    }

    fn row(&self, case: &str, lane: &str) -> Option<&Row<'a>> {
        self.rows.iter().rev().find(|row| row.case == case && row.lane == lane)
    }

    fn is_repeated(&self) -> bool {
        self.rows.iter().any(|row| row.rounds > 1.0)
    }
}
