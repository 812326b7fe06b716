//! How `hack/conformance` reads what the validation suite prints, how `hack/ledger` reads what the tests print, and
//! whether what they wrote belongs together.

#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

#[allow(dead_code)] // what hack/mutate alone uses
#[path = "../integration/mutate/list.rs"]
mod list;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
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

/// An entry that no longer fits the source breaks nothing, and so proves nothing.
#[test]
fn each_mutation_fits_the_source_as_it_is() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut bad = Vec::new();
    for entry in list::read(top).unwrap() {
        let text = std::fs::read_to_string(top.join(&entry.path)).unwrap_or_default();
        bad.extend(entry.apply(&text).err().map(|error| error.to_string()));
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Rows of the spec and of its errors that the ledger calls shown, but that nobody has tried to break.
#[test]
fn each_row_that_is_shown_has_a_mutation() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = list::read(top).unwrap();
    let broken: BTreeSet<&String> = entries.iter().flat_map(|entry| &entry.rows).collect();
    let ledger = std::fs::read_to_string(top.join("docs/conformance.md")).unwrap();
    let missing = ledger
        .split("\n## 2.1")
        .next()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("| R"))
        .map(|line| line.split(" | ").collect::<Vec<_>>())
        .filter(|cells| cells[2] == "yes")
        .map(|cells| cells[0].trim_start_matches("| ").to_lowercase())
        .filter(|row| !broken.contains(row));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_mutation_is_applied_once_or_not_at_all() {
    let text = "# It is kept.\nR001 R291 src/a.rs [v2]\n- keep(1);\n- keep(2);\n+ drop(1);\n";
    let entries = list::parse("part", text).unwrap();
    let [entry] = entries.as_slice() else { panic!("{} entries", entries.len()) };
    assert_eq!((entry.place.as_str(), entry.about.as_str()), ("part:2", "It is kept."));
    assert_eq!((entry.rows.join(" "), entry.world), ("r001 r291".into(), list::World::V2));
    let source = "a\n    keep(1);\n  keep(2);\nb\n";
    assert_eq!(entry.apply(source).unwrap(), "a\ndrop(1);\nb\n");
    entry.apply(&format!("{source}{source}")).err().unwrap();
    entry.apply("keep(1);\n").err().unwrap();
    for bad in
        ["R001 src/a.rs\n- a\n", "# a\nR1 src/a.rs\n- a\n", "# a\nR001 src/a.rs\n", "# a\n- a\n"]
    {
        assert!(list::parse("part", bad).is_err(), "{bad}");
    }
}

/// What `hack/ledger.awk` makes of rows, reasons and a log.
fn ledger(rows: &str, reasons: &str, log: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut awk = Command::new("awk");
    awk.args(["-F", "\t", "-f", "hack/ledger.awk"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in [("rows", rows), ("reasons", reasons), ("log", log)] {
        std::fs::write(dir.path().join(name), text).unwrap();
        awk.arg(dir.path().join(name));
    }
    let output = awk.output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_row_is_yes_by_tests_and_by_nothing_else() {
    let rows = "id\tpart\ttitle\nR001\t1.1\tone\nR002\t1.1\ttwo\nR003\t1.1\tthree\n\
                R004\t1.1\tfour\nR005\t1.1\tfive\nR006\t2.1\tsix\nR007\t2.1\tseven\n";
    let reasons = "id\treason\tstate\nR002\tno kernel has it\trefused\n\
                   R003\tno machine has it\tnot shown\nR005\tlater\nR007\twhy\tnot shown\n";
    let log = "world: v1\ntest a::r001_r002_both ... ok\ntest a::r001_fails_once ... ok\n\
               skipped: pinnace: a::r004_alone: a disk\ntest a::r004_alone ... ok\n\
               test r006_x ... FAILED\nworld: v2\ntest r007_y ... FAILED\ntest r003_z ... ok\n";
    let text = ledger(rows, reasons, log).unwrap();
    for line in [
        "| R001 | one | yes | v1 | `a::r001_fails_once`, `a::r001_r002_both` |",
        "| R002 | two | refused | v1 | no kernel has it: `a::r001_r002_both` |",
        "| R003 | three | not shown | v2 | no machine has it: `r003_z` |",
        "| R004 | four | not shown |  | not here: a disk |",
        "| R005 | five | no |  | later |",
        "| R006 | six | no |  | `r006_x` fails |",
        "| R007 | seven | no |  | `r007_y` fails |",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    let sums = |part: &str| text.lines().find(|line| line.starts_with(part)).unwrap().to_owned();
    assert!(sums("| the spec").contains("| 5 | 1/1/1/2 |"), "{text}");
    assert!(sums("| all").contains("| 7 | 1/3/1/2 |"), "{text}");
    assert_eq!(ledger(rows, "R002\twhy\tperhaps\n", log), None, "no such state");
}

/// The rows of `docs/conformance.md`, as cells: id, title, state, where, tests or why not.
fn rows_of_the_ledger() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md"))
        .unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| R"));
    // A title may have a bar in it, the other cells have none.
    let cells =
        |row: &str| row.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect();
    rows.map(cells).collect()
}

#[test]
fn the_ledger_has_the_sums_of_its_rows_and_so_has_the_readme() {
    let root = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{root}/docs/conformance.md")).unwrap();
    let features = std::fs::read_to_string(format!("{root}/docs/features.tsv")).unwrap();
    let is_spec = |id: &str| {
        let line = features.lines().find(|line| line.starts_with(&format!("{id}\t"))).unwrap();
        let part = line.split('\t').nth(1).unwrap();
        part.starts_with("1.") && part != "1.10"
    };
    let rows = rows_of_the_ledger();
    let count = |state: &str, spec: bool| {
        let of = rows.iter().filter(|row| !spec || is_spec(&row[0]));
        of.filter(|row| row[2] == state).count()
    };
    for (name, spec) in [("| all |", false), ("| the spec (1.1 to 1.9) |", true)] {
        let sums =
            ["yes", "no", "refused", "not shown"].map(|state| count(state, spec).to_string());
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split(" | ").nth(2).unwrap(), sums.join("/"), "{name}");
    }
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    let words = format!(
        "pinnace has {}; {} more are refused, as no kernel has them, and {} not shown",
        count("yes", true),
        count("refused", true),
        count("not shown", true)
    );
    assert!(readme.replace('\n', " ").contains(&words), "README.md: {words}");
}

/// Of each state that is no yes there is a reason, and the reasons of `docs/not-yet.tsv` are used.
#[test]
fn the_ledger_has_the_states_of_not_yet() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/not-yet.tsv")).unwrap();
    let rows = rows_of_the_ledger();
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        let row = rows.iter().find(|row| row[0] == fields[0]).unwrap();
        assert_eq!(row[2], *fields.get(2).unwrap_or(&"no"), "{line}");
        assert!(row[4].starts_with(fields[1]), "{line}: {row:?}");
    }
    for row in rows.iter().filter(|row| row[2] != "yes") {
        assert!(row[4].len() > 3, "{row:?}");
    }
}
