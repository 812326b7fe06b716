//! Raw results -> a line for each case and lane: medians, 99th percentiles, ratios to the case's
//! first lane. A lane that was left out of a case is left out whole, and said so in a comment.

use super::{Raw, divisor, median, sorted};
use crate::number::general;

/// In the unit that the header's `divide` leads to.
pub fn text(raw: &str) -> String {
    let divide = divisor(raw);
    let mut text = String::new();
    for line in raw.lines() {
        if line.starts_with("# ") {
            text += &format!("{line}\n");
        } else if let Some(left_out) = line.strip_prefix("!\t") {
            text += &format!("# left out\t{left_out}\n");
        }
    }
    text += "case\tlane\trounds\tmedian\tp99\tleast\tratio\n";
    let raw = Raw::read(raw);
    for case in &raw.cases {
        let mut first = 0.0;
        for lane in &raw.lanes {
            let Some(values) = raw.values.get(&(*case, *lane)) else { continue };
            if raw.left_out.iter().any(|[of, by, _]| of == case && by == lane) {
                continue;
            }
            let values: Vec<_> = values.iter().map(|value| value / divide).collect();
            let (values, n) = (sorted(&values), values.len());
            let median = median(&values);
            if first == 0.0 {
                first = median;
            }
            let p99 = values[(0.99 * (n as f64 - 1.0) + 0.5) as usize];
            let [middle, high, least] = [median, p99, values[0]].map(|value| general(value, 6));
            let ratio = if first == 0.0 { 0.0 } else { median / first };
            text += &format!("{case}\t{lane}\t{n}\t{middle}\t{high}\t{least}\t{ratio:.3}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_lane_is_told_by_its_median_or_left_out() {
        let raw = "# unit: ms\n# divide: 1000\nrun\ta\t2000\nrun\tb\t4500\nrun\ta\t1000\nrun\tb\t4500\n\
                   run\ta\t6000\n!\trun\tc\tno\nrun\tc\t1\n";
        assert_eq!(
            super::text(raw),
            "# unit: ms\n# divide: 1000\n# left out\trun\tc\tno\n\
             case\tlane\trounds\tmedian\tp99\tleast\tratio\n\
             run\ta\t3\t2\t6\t1\t1.000\nrun\tb\t2\t4.5\t4.5\t4.5\t2.250\n"
        );
    }
}
