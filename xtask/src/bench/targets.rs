//! Which of the targets are met, as a table.

use super::Summary;
use crate::number::{general, parse};
use std::collections::HashMap;

/// A summary has the name of its question. A target is WHAT, OF, BY, RELATION and LIMIT, separated
/// by tabs: OF / BY must stand in that relation to the limit.
pub fn text(targets: &str, summaries: &[(String, String)]) -> String {
    let mut medians = HashMap::new();
    for (question, text) in summaries {
        for row in Summary::read(text).rows {
            medians.insert(format!("{question}/{}/{}", row.case, row.lane), row.median);
        }
    }
    let mut table = "| | measured | target | |\n|---|---:|---:|---|\n".to_owned();
    for target in targets.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = target.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let (what, of, by, relation, limit) = (next(), next(), next(), next(), next());
        let (Some(of), Some(by)) = (value(of, &medians), value(by, &medians).filter(|v| *v > 0.0))
        else {
            table += &format!("| {what} | | {relation} {limit} | not measured |\n");
            continue;
        };
        let found = of / by;
        let is_met = if relation == "<=" { found <= parse(limit) } else { found >= parse(limit) };
        let shown = if found < 100.0 { general(found, 3) } else { format!("{found:.0}") };
        let verdict = if is_met { "met" } else { "**missed**" };
        table += &format!("| {what} | {shown} | {relation} {limit} | {verdict} |\n");
    }
    table
}

/// The sum of the medians, if all of them were measured.
fn value(words: &str, medians: &HashMap<String, f64>) -> Option<f64> {
    if words == "1" {
        return Some(1.0);
    }
    words.split(" + ").map(|word| medians.get(word).copied()).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_target_is_met_missed_or_not_measured() {
        let targets = "# what\tof\nsize\tq/a/x\t1\t<=\t5\nsum\tq/a/x + q/a/y\tq/b/x\t>=\t500\n\
                       none\tq/a/z\t1\t<=\t1\n";
        let summary =
            "case\tlane\na\tx\t1\t4\t0\t0\t1\na\ty\t1\t6\t0\t0\t1\nb\tx\t1\t0.03\t0\t0\t1\n";
        let text = super::text(targets, &[("q".to_owned(), summary.to_owned())]);
        assert!(
            text.ends_with(
                "|---|\n| size | 4 | <= 5 | met |\n| sum | 333 | >= 500 | **missed** |\n\
                 | none | | <= 1 | not measured |\n"
            ),
            "{text}"
        );
    }
}
