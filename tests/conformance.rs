//! How `hack/conformance` reads what the validation suite prints.

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
        ("one", "create\tpass\t3\t0\t0\t\nhooks\tnone\t0\t0\t0\ttests nothing\n"),
        ("two", "create\tfail\t2\t1\t0\t1 of 3\nkill\tpass\t5\t0\t0\t\n"),
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
         | **passed** | 1 of 3 | 1 of 3 |\n"
    );
}
