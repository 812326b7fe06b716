//! How `hack/conformance` reads what the validation suite prints, and whether what it wrote belongs together.

#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

use std::io::Write;
use std::process::{Command, Stdio};

/// What `hack/tap.awk` says of a program that printed `text` and exited so.
fn verdict(text: &str, status: i32) -> String {
    let mut awk = Command::new("awk")
        .args(["-v", &format!("status={status}"), "-f", "hack/tap.awk"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    awk.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = awk.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
}

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
        ("TAP version 13\nok 1\n1..1\n1..1\nTAP version 13\n1..0\n".into(), 0, "pass\t1\t0\t0\t"),
        ("TAP version 13\nok 1\n1..1\nTAP version 13\nok 1\n".into(), 0, "fail\t2\t0\t0\tno plan"),
        ("TAP version 13\nok 1\nTAP version 13\nok 1\n1..2\n".into(), 0, "fail\t2\t0\t0\tno plan"),
    ] {
        assert_eq!(verdict(&text, status), expected, "{text}");
    }
}

#[test]
fn results_stand_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let results = [
        ("one.tsv", "create\tpass\t3\t0\t0\t\nhooks\tnone\t0\t0\t0\ttests nothing\n"),
        ("two.tsv", "create\tfail\t2\t1\t0\t1 of 3\nkill\tpass\t5\t0\t0\t\n"),
    ];
    let mut table = Command::new("hack/conformance");
    table.arg("--table").current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in results {
        std::fs::write(dir.path().join(name), text).unwrap();
        table.arg(dir.path().join(name));
    }
    let output = table.output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "| program | one | two |\n|---|---|---|\n\
         | create | pass | fail: 1 of 3 |\n\
         | hooks | none: tests nothing |  |\n\
         | kill |  | pass |\n\
         | **programs passed** | 1 of 3 | 1 of 3 |\n\
         | single tests passed | 3 | 7 |\n\
         | single tests failed | 0 | 1 |\n"
    );
}

/// The rows between the marks of `hack/conformance`, as cells.
fn table(file: &str) -> Vec<Vec<String>> {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let begun = text.split("<!-- table: written by hack/conformance -->\n").nth(1).unwrap();
    let table = begun.split("<!-- end of the table -->").next().unwrap();
    let cells = |row: &str| row.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
    table.lines().filter(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn the_readme_has_the_sums_of_the_table() {
    let (whole, short) = (table("integration/conformance.md"), table("README.md"));
    assert_eq!(short[0][1..], whole[0][1..], "versions");
    assert_eq!(short[2..], whole[whole.len() - 3..], "sums");
    let passed = whole.iter().skip(2).filter(|row| row[1] == "pass").count();
    assert_eq!(short[2][1], format!("{passed} of {}", whole.len() - 5));
}

/// A program that does not pass has a reason, and no reason is left of one that does.
#[test]
fn each_program_that_does_not_pass_has_its_reason() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/conformance.md");
    let text = std::fs::read_to_string(path).unwrap();
    let reasons = text.split("and why\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = reasons.lines().filter(|line| line.starts_with("| ")).skip(1);
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(", ").map(str::trim));
    let mut with_reason: Vec<_> = names.collect();
    with_reason.sort_unstable();
    let table = table("integration/conformance.md");
    let programs = &table[2..table.len() - 3];
    let not_passed = programs.iter().filter(|row| row[1] != "pass").map(|row| row[0].as_str());
    assert_eq!(with_reason, not_passed.collect::<Vec<_>>());
}
