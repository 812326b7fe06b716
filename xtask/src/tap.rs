//! A program's output in the Test Anything Protocol, in one line: verdict, tests passed, failed,
//! skipped, and why it is not `pass`; separated by tabs.
//!
//! A program passes if it plans at least one test, as many as planned were made, none failed, and it
//! exits with 0. It may print several documents, each with a plan of its own; in each the last plan
//! counts.

/// What one document says, or all of them do.
#[derive(Default)]
struct Count {
    has_begun: bool,
    plan: Option<usize>,
    made: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// The line for what was printed, and the exit status.
pub fn verdict(text: &str, status: i32) -> String {
    let (mut one, mut all) = (Count::default(), Count::default());
    let (mut documents, mut why) = (0, None);
    let (mut is_skipped, mut has_bailed, mut has_reported) = (false, false, false);
    for line in text.lines() {
        if line.starts_with("TAP version") {
            documents += finish(&mut one, &mut all, &mut why);
            one.has_begun = true;
        } else if let Some(plan) = plan(line) {
            one.plan = Some(plan);
            is_skipped |= has_directive(line, "SKIP");
        } else if line.starts_with("Bail out!") {
            has_bailed = true;
        } else if line.starts_with("  ") && one.made == 0 {
            let error = line.trim_start().strip_prefix("\"error\": \"");
            has_reported |= error.is_some_and(|rest| !rest.is_empty());
        }
        one.count(line);
    }
    documents += finish(&mut one, &mut all, &mut why);
    if has_bailed {
        why = Some("bailed out".to_owned());
    } else if documents == 0 {
        why = Some("no plan".to_owned());
    } else if status != 0 {
        why = why.or_else(|| Some(format!("exit status {status}")));
    }
    let (verdict, why) = match why {
        Some(why) => ("fail", why),
        None if all.made == 0 && !is_skipped && has_reported => {
            ("none", "tests nothing, reports an error".to_owned())
        }
        None if all.made == 0 && !is_skipped => ("none", "tests nothing".to_owned()),
        None if all.skipped == all.made => ("skip", "all skipped".to_owned()),
        None => ("pass", String::new()),
    };
    format!("{verdict}\t{}\t{}\t{}\t{why}", all.passed, all.failed, all.skipped)
}

impl Count {
    /// `ok`, or `not ok`.
    fn count(&mut self, line: &str) {
        let rest = line.strip_prefix("not ").unwrap_or(line).strip_prefix("ok");
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) {
            return;
        }
        self.made += 1;
        if has_directive(line, "SKIP") {
            self.skipped += 1;
        } else if line.starts_with("ok") {
            self.passed += 1;
        } else if !has_directive(line, "TODO") {
            // What is still to be done may fail.
            self.failed += 1;
        }
    }
}

/// `1..N`.
fn plan(line: &str) -> Option<usize> {
    let digits = line.strip_prefix("1..")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Whether `# WORD` stands there.
fn has_directive(line: &str, word: &str) -> bool {
    let line = line.to_ascii_uppercase();
    line.split('#').skip(1).any(|rest| rest.trim_start_matches(' ').starts_with(word))
}

/// The end of a document; how many there were. The first thing wrong is the reason.
fn finish(one: &mut Count, all: &mut Count, why: &mut Option<String>) -> usize {
    let one = std::mem::take(one);
    if !one.has_begun && one.plan.is_none() && one.made == 0 {
        return 0;
    }
    let wrong = match one.plan {
        None => Some("no plan".to_owned()),
        Some(_) if one.failed > 0 => Some(format!("{} of {}", one.failed, one.made)),
        Some(plan) if plan != one.made => Some(format!("{} of {plan} planned", one.made)),
        Some(_) => None,
    };
    *why = why.take().or(wrong);
    all.made += one.made;
    all.passed += one.passed;
    all.failed += one.failed;
    all.skipped += one.skipped;
    1
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn programs_pass_only_if_they_kept_their_plan() {
        let yaml = "ok 1 - a\n  ---\n  not ok in what was printed\n  ...\n";
        for (text, status, expected) in [
            (format!("TAP version 13\n{yaml}1..1\n"), 0, "pass\t1\t0\t0\t"),
            ("1..2\nok 1\nnot ok 2 - b # TODO later\n".into(), 0, "pass\t1\t0\t0\t"),
            ("ok 1\nok 2 # SKIP why\n1..2\n".into(), 0, "pass\t1\t0\t1\t"),
            ("1..1\nok 1 # SKIP why\n".into(), 0, "skip\t0\t0\t1\tall skipped"),
            ("ok 1\nnot ok 2 - b\n1..2\n".into(), 0, "fail\t1\t1\t0\t1 of 2"),
            ("ok 1\n1..2\n".into(), 0, "fail\t1\t0\t0\t1 of 2 planned"),
            ("ok 1\n".into(), 0, "fail\t1\t0\t0\tno plan"),
            (String::new(), 0, "fail\t0\t0\t0\tno plan"),
            ("ok 1\n1..1\n".into(), 1, "fail\t1\t0\t0\texit status 1"),
            ("ok 1\nBail out! no\n1..1\n".into(), 0, "fail\t1\t0\t0\tbailed out"),
            ("TAP version 13\n1..0\n".into(), 0, "none\t0\t0\t0\ttests nothing"),
            (
                "TAP version 13\n  ---\n  {\n    \"error\": \"bad\"\n  }\n  ...\n1..0\n".into(),
                0,
                "none\t0\t0\t0\ttests nothing, reports an error",
            ),
            // Two documents, and a plan that is said twice.
            (
                "TAP version 13\nok 1\n1..1\n1..1\nTAP version 13\n1..0\n".into(),
                0,
                "pass\t1\t0\t0\t",
            ),
            (
                "TAP version 13\nok 1\n1..1\nTAP version 13\nok 1\n".into(),
                0,
                "fail\t2\t0\t0\tno plan",
            ),
            (
                "TAP version 13\nok 1\nTAP version 13\nok 1\n1..2\n".into(),
                0,
                "fail\t2\t0\t0\tno plan",
            ),
        ] {
            assert_eq!(verdict(&text, status), expected, "{text}");
        }
    }
}
