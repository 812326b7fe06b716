//! The table of `integration/conformance.md`: what the programs of the OCI validation suite found,
//! runtime by runtime.

use std::collections::HashMap;

const BEGIN: &str = "<!-- table: written by";
const END: &str = "<!-- end of the table";

/// The results of a runtime, its name before them, side by side. A result is the program's name and
/// what [`crate::tap::verdict`] says.
pub fn table(runtimes: &[(String, String)]) -> String {
    let mut programs = Vec::new();
    let mut cells = HashMap::new();
    let mut sums = vec![[0; 3]; runtimes.len()];
    for (at, (_, text)) in runtimes.iter().enumerate() {
        for line in text.lines() {
            let mut fields = line.split('\t');
            let mut next = || fields.next().unwrap_or_default();
            let (program, verdict, passed, failed, _, why) =
                (next(), next(), next(), next(), next(), next());
            if !programs.contains(&program) {
                programs.push(program);
            }
            let colon = if why.is_empty() { "" } else { ": " };
            cells.insert((program, at), format!("{verdict}{colon}{why}"));
            let [good, ok, not_ok] = &mut sums[at];
            *good += usize::from(verdict == "pass");
            *ok += passed.parse().unwrap_or(0);
            *not_ok += failed.parse().unwrap_or(0);
        }
    }
    let line = |first: &str, cell: &dyn Fn(usize) -> String| {
        let cells: String = (0..runtimes.len()).map(|at| format!(" {} |", cell(at))).collect();
        format!("| {first} |{cells}\n")
    };
    let mut table = line("program", &|at| runtimes[at].0.clone());
    table += &format!("|---|{}\n", "---|".repeat(runtimes.len()));
    for program in &programs {
        table += &line(program, &|at| cells.get(&(*program, at)).cloned().unwrap_or_default());
    }
    let of = programs.len();
    table += &line("**programs passed**", &|at| format!("{} of {of}", sums[at][0]));
    table += &line("single tests passed", &|at| sums[at][1].to_string());
    table + &line("single tests failed", &|at| sums[at][2].to_string())
}

/// The document with the table in place of what stands between its marks.
///
/// # Errors
/// One that lacks a mark.
pub fn put(document: &str, table: &str) -> Result<String, String> {
    let (head, tail) = split(document)?;
    Ok(format!("{head}\n{table}\n{tail}"))
}

/// What is wrong with these results of ours: a program that passes in the document's table passes
/// here, too, and each that does not has its reason in the document, as a row of its own.
///
/// # Errors
/// A document that lacks a mark.
pub fn judge(document: &str, results: &str) -> Result<Vec<(String, String)>, String> {
    let (head, _) = split(document)?;
    let table = &document[head.len()..];
    let rows = |text: &str| -> Vec<Vec<String>> {
        let rows = text.lines().filter(|line| line.starts_with("| "));
        rows.map(|row| row.split('|').skip(1).map(|c| c.trim().to_owned()).collect()).collect()
    };
    let (with_reason, before) = (rows(head), rows(table));
    let mut wrong = Vec::new();
    for line in results.lines() {
        let (name, rest) = line.split_once('\t').unwrap_or((line, ""));
        let has_reason =
            || with_reason.iter().any(|row| row[0].split([',', ' ']).any(|word| word == name));
        let told = format!("{name}: {}", rest.replace('\t', " "));
        if rest.starts_with("pass\t") {
        } else if before
            .iter()
            .any(|row| row[0] == name && row.get(1).is_some_and(|verdict| verdict == "pass"))
        {
            wrong.push((name.to_owned(), format!("{told}; it passes in the document")));
        } else if !has_reason() {
            wrong.push((name.to_owned(), format!("{told}; the document has no reason for it")));
        }
    }
    Ok(wrong)
}

/// Up to the end of the line with the first mark, and from the second one on.
fn split(document: &str) -> Result<(&str, &str), String> {
    let lacks = |mark: &str| format!("the document has no {mark:?}");
    let begin = document.find(BEGIN).ok_or_else(|| lacks(BEGIN))?;
    let end = begin + document[begin..].find(END).ok_or_else(|| lacks(END))?;
    let line = begin + document[begin..].find('\n').unwrap_or(0) + 1;
    Ok((&document[..line], &document[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_side_by_side() {
        let results = [
            ("one", "create\tpass\t3\t0\t0\t\nhooks\tnone\t0\t0\t0\ttests nothing\n"),
            ("two", "create\tfail\t2\t1\t0\t1 of 3\nkill\tpass\t5\t0\t0\t\n"),
        ];
        assert_eq!(
            table(&results.map(|(name, text)| (name.to_owned(), text.to_owned()))),
            "| program | one | two |\n|---|---|---|\n\
             | create | pass | fail: 1 of 3 |\n\
             | hooks | none: tests nothing |  |\n\
             | kill |  | pass |\n\
             | **programs passed** | 1 of 3 | 1 of 3 |\n\
             | single tests passed | 3 | 7 |\n\
             | single tests failed | 0 | 1 |\n"
        );
    }

    const DOCUMENT: &str = "| program | why |\n| hooks, pid | nothing |\n\
                            <!-- table: written by hack/conformance -->\n\n| program | pinnace |\n\
                            | create | pass |\n| hooks | none |\n\n<!-- end of the table -->\nmore\n";

    #[test]
    fn the_table_stands_between_the_marks() {
        let done = put(DOCUMENT, "| new |\n").unwrap();
        assert!(
            done.ends_with("hack/conformance -->\n\n| new |\n\n<!-- end of the table -->\nmore\n")
        );
        assert!(done.starts_with("| program | why |\n"));
        assert!(put("text\n", "").is_err());
    }

    #[test]
    fn what_passed_passes_and_the_rest_has_a_reason() {
        let results = "create\tfail\t0\t1\t0\t1 of 1\nhooks\tfail\t0\t1\t0\t1 of 1\n\
                       kill\tpass\t1\t0\t0\t\nnew\tskip\t0\t0\t1\tall skipped\n";
        let wrong = judge(DOCUMENT, results).unwrap();
        let words: Vec<_> = wrong.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(
            words,
            [
                "create: fail 0 1 0 1 of 1; it passes in the document",
                "new: skip 0 0 1 all skipped; the document has no reason for it"
            ]
        );
    }
}
