//! Raw results of the lanes `old` and `new` -> what the change did, case by case.
//!
//! Values of one round belong together. Whether a difference is more than noise is told by the sign
//! test: how likely is it that so many of the rounds, or more, favour one side if both are the same?
//! Below 1 % it counts as a difference. Of counted things (one value, or values that never vary) a
//! difference counts from 0.2 % on: pids have more or less digits.

use super::{Raw, divisor, header, median, sorted};
use crate::number::general;

/// A line for each case.
pub fn text(raw: &str) -> String {
    let (divide, unit) = (divisor(raw), header(raw, "unit"));
    let raw = Raw::read(raw);
    let mut text =
        format!("{:28}{:>12}{:>12}{:>8}  new is, in {unit}\n", "", "old", "new", "ratio");
    let why = |case: &str| {
        let of = raw.left_out.iter().filter(|[of, ..]| *of == case);
        of.map(|[_, lane, why]| format!(" {lane}: {why}")).collect::<String>()
    };
    let (measured, others): (Vec<_>, Vec<_>) =
        raw.cases.iter().partition(|case| raw.values.keys().any(|(of, _)| of == *case));
    for case in measured.into_iter().chain(others) {
        let why = why(case);
        if !why.is_empty() {
            text += &format!("{case:28} left out:{why}\n");
            continue;
        }
        let [old, new] =
            ["old", "new"].map(|lane| raw.values.get(&(case, lane)).map_or(&[][..], Vec::as_slice));
        let [before, after] = [old, new].map(|values| median(&sorted(values)));
        let ratio = if before == 0.0 { 0.0 } else { after / before };
        let [shown_before, shown_after] = [before, after].map(|v| general(v / divide, 5));
        let verdict = if is_exact(old) && is_exact(new) {
            of_counts(before, after, divide)
        } else {
            of_rounds(old, new)
        };
        text += &format!("{case:28}{shown_before:>12}{shown_after:>12}{ratio:8.3}  {verdict}\n");
    }
    text
}

fn is_exact(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

fn of_counts(old: f64, new: f64, divide: f64) -> String {
    if (new - old).abs() <= (0.002 * old).abs() {
        return "the same".to_owned();
    }
    let (word, sign) = if new < old { ("LESS", "") } else { ("MORE", "+") };
    format!("{word} ({sign}{})", general((new - old) / divide, 5))
}

fn of_rounds(old: &[f64], new: &[f64]) -> String {
    let rounds = || old.iter().zip(new);
    let less = rounds().filter(|(old, new)| new < old).count();
    let more = rounds().filter(|(old, new)| new > old).count();
    let all = less + more;
    let p = if all == 0 { 1.0 } else { chance(all, less.max(more)) };
    if p >= 0.01 {
        return format!("no difference beyond noise (less in {less} of {all} rounds, p = {p:.2})");
    }
    let word = if less > more { "LESS" } else { "MORE" };
    format!("{word} (in {} of {all} rounds, p = {})", less.max(more), general(p, 1))
}

/// The chance that of n fair coins at least k, or at most n - k, show the same side.
fn chance(n: usize, k: usize) -> f64 {
    let mut term = 0.5f64.powi(n as i32);
    let mut sum = 0.0;
    for i in 0..=n - k {
        sum += term;
        term *= (n - i) as f64 / (i + 1) as f64;
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins() {
        assert_eq!(chance(1, 1), 1.0);
        assert_eq!(chance(3, 3), 0.25);
        assert_eq!(chance(4, 3), 0.625);
    }

    #[test]
    fn a_difference_is_one_in_most_rounds_or_of_a_count() {
        let mut raw =
            "# unit: ms\n# divide: 10\nsize\told\t1000\nsize\tnew\t1001\ncount\told\t100\n\
                       count\tnew\t120\n!\tkill\tnew\tno\n"
                .to_owned();
        for round in 0..12 {
            let new = if round == 0 { 60 } else { 40 };
            raw += &format!("run\told\t{}\nrun\tnew\t{new}\n", 50 + round % 2);
            raw += &format!("noise\told\t50\nnoise\tnew\t{}\n", 49 + round % 3);
        }
        let text = text(&raw);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = text.lines().skip(1).map(words).collect();
        assert_eq!(
            lines,
            [
                "size 100 100.1 1.001 the same",
                "count 10 12 1.200 MORE (+2)",
                "run 5.05 4 0.792 LESS (in 11 of 12 rounds, p = 0.006)",
                "noise 5 5 1.000 no difference beyond noise (less in 4 of 8 rounds, p = 1.00)",
                "kill left out: new: no",
            ]
        );
    }
}
