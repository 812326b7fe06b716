//! A summary -> a table, rows and columns in the order of their first appearance.

use super::{Row, Summary, header};
use crate::number::short;

/// For a page.
pub fn markdown(text: &str) -> String {
    let summary = Summary::read(text);
    let lanes: String = summary.lanes.iter().map(|lane| format!(" {lane} |")).collect();
    let rule = "---:|".repeat(summary.lanes.len());
    let mut table = format!("| {} |{lanes}\n|---|{rule}\n", header(text, "unit"));
    for case in &summary.cases {
        let cell = |lane: &&str| {
            let row = summary.row(case, lane);
            format!(" {} |", row.map(|row| short(row.median) + &times(row)).unwrap_or_default())
        };
        let cells: String = summary.lanes.iter().map(cell).collect();
        table += &format!("| {case} |{cells}\n");
    }
    if !summary.left_out.is_empty() {
        table += "\n";
    }
    table + &left_out(&summary, "* ")
}

/// For a terminal, with 99th percentiles.
pub fn terminal(text: &str) -> String {
    let summary = Summary::read(text);
    let values = if summary.is_repeated() { ", median and 99th percentile" } else { "" };
    let width = summary.cases.iter().map(|case| case.len()).max().unwrap_or(0);
    let lanes: String = summary.lanes.iter().map(|lane| format!("{lane:>26}")).collect();
    let mut table = format!(
        "{}{values}; x: how often the first column's\n{:width$}{lanes}\n",
        header(text, "unit"),
        ""
    );
    for case in &summary.cases {
        let cell = |lane: &&str| {
            let Some(row) = summary.row(case, lane) else { return format!("{:>26}", "-") };
            let high =
                if row.rounds > 1.0 { format!(" {}", short(row.p99)) } else { String::new() };
            format!("{:>26}", short(row.median) + &high + &times(row))
        };
        let cells: String = summary.lanes.iter().map(cell).collect();
        table += &format!("{case:width$}{cells}\n");
    }
    table + &left_out(&summary, "")
}

fn times(row: &Row<'_>) -> String {
    if row.ratio == 1.0 { String::new() } else { format!(" ({} x)", short(row.ratio)) }
}

fn left_out(summary: &Summary<'_>, begin: &str) -> String {
    let line = |[case, lane, why]: &[&str; 3]| format!("{begin}left out: {lane} ({case}): {why}\n");
    summary.left_out.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    const SUMMARY: &str = "# unit: ms\n# left out\tkill\tb\tno\ncase\tlane\trounds\tmedian\tp99\tleast\tratio\n\
                           run\ta\t3\t2\t6\t1\t1.000\nrun\tb\t2\t4.5\t4.5\t4.5\t2.250\nkill\ta\t3\t12.34\t13\t1\t1.000\n";

    #[test]
    fn a_page_has_medians() {
        assert_eq!(
            super::markdown(SUMMARY),
            "| ms | a | b |\n|---|---:|---:|\n| run | 2 | 4.50 (2.25 x) |\n| kill | 12.3 |  |\n\
             \n* left out: b (kill): no\n"
        );
    }

    #[test]
    fn a_terminal_has_percentiles_too() {
        let (a, b) = (format!("{:>26}", "2 6"), format!("{:>26}", "4.50 4.50 (2.25 x)"));
        let text = super::terminal(SUMMARY);
        assert!(text.starts_with("ms, median and 99th percentile; x: how often"), "{text}");
        assert!(text.contains(&format!("\nrun {a}{b}\n")), "{text}");
        assert!(text.ends_with("                         -\nleft out: b (kill): no\n"), "{text}");
    }
}
