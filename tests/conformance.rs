//! Whether what `hack/conformance` and `hack/ledger` wrote belongs together; how it is made is tested in `xtask/`.

#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

#[allow(dead_code)] // what hack/mutate alone uses
#[path = "../integration/mutate/list.rs"]
mod list;

use std::collections::BTreeSet;
use std::path::Path;

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
