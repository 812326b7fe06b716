//! The text of `docs/conformance.md`: for each row of `docs/features.tsv` whether tests show it.

mod log;

use log::{Log, WORLDS};
use std::collections::HashMap;

/// The groups of rows, and how many of them runc 1.5.1, crun 1.29.1 and youki 0.7.0 have:
/// yes/partial/no, from reading their source.
const GROUPS: [(&str, &str); 5] = [
    ("the spec (1.1 to 1.9)", "213/60/17 | 207/47/36 | 164/61/64"),
    ("errors that it demands (1.10)", "12/7/3 | 11/7/4 | 10/9/3"),
    ("command line (2)", "90/2/13 | 78/5/22 | 52/13/40"),
    ("beyond the spec (3)", "19/6/30 | 40/3/12 | 16/6/33"),
    ("all", "334/75/63 | 336/62/74 | 242/89/140"),
];
const ALL: usize = GROUPS.len() - 1;

const PARTS: [(&str, &str); 19] = [
    ("1.1", "version, root, mounts"),
    ("1.2", "mount options"),
    ("1.3", "process, user, extensibility"),
    ("1.4", "hooks"),
    ("1.5", "file systems, namespaces, devices, network devices"),
    ("1.6", "cgroups"),
    ("1.7", "RDT, NUMA, sysctl, seccomp, propagation, masks, personality"),
    ("1.8", "state and operations"),
    ("1.9", "features"),
    ("1.10", "errors that the spec demands"),
    ("2.1", "global options"),
    ("2.2", "create, run, start"),
    ("2.3", "exec"),
    ("2.4", "state, list, ps, events, features"),
    ("2.5", "kill, delete, pause, resume, update, spec"),
    ("2.6", "checkpoint and restore"),
    ("3.1", "annotations"),
    ("3.2", "executors, libraries, builds"),
    ("3.3", "security and plumbing"),
];

const STATES: [&str; 4] = ["yes", "no", "refused", "not shown"];

/// A row of `docs/features.tsv`, and what tests say of it.
#[derive(Default)]
struct Row<'a> {
    id: &'a str,
    part: &'a str,
    title: &'a str,
    /// Of `docs/not-yet.tsv`: why it has no tests, and its state whatever tests it has.
    reason: Option<&'a str>,
    kept: &'a str,
    /// Those that show it.
    tests: Vec<&'a str>,
    /// In these of [`WORLDS`].
    seen: [bool; WORLDS.len()],
    fails: Option<&'a str>,
    /// Why a test of it has shown nothing.
    waits: Option<&'a str>,
}

/// The document, and what its writer should know.
///
/// # Errors
/// A row or a state in `not_yet` that there is not.
pub fn text(
    features: &str,
    not_yet: &str,
    log: &str,
    mutations: usize,
) -> Result<(String, Vec<String>), String> {
    let mut rows = rows(features, not_yet)?;
    let mut told = Vec::new();
    let log = Log::read(log);
    let places: HashMap<_, _> = rows.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
    for name in &log.tests {
        for id in ids(name) {
            match places.get(id.as_str()) {
                Some(at) => rows[*at].claim(name, &log),
                None => told.push(format!("a test claims a row that is not there: {name}")),
            }
        }
    }
    let has_tests_now = |row: &&Row<'_>| {
        row.fails.is_none() && row.kept.is_empty() && row.reason.is_some() && !row.tests.is_empty()
    };
    let ids = rows.iter().filter(has_tests_now).map(|row| row.id);
    told.extend(ids.map(|id| format!("docs/not-yet.tsv: {id} has tests now")));
    Ok((document(&rows, mutations), told))
}

fn rows<'a>(features: &'a str, not_yet: &'a str) -> Result<Vec<Row<'a>>, String> {
    let fields = |line: &'a str| {
        let mut fields = line.split('\t');
        [(); 3].map(|()| fields.next().unwrap_or_default())
    };
    let all = features.lines().map(fields).filter(|[id, ..]| *id != "id");
    let mut rows: Vec<_> =
        all.map(|[id, part, title]| Row { id, part, title, ..Row::default() }).collect();
    let is_id = |[id, ..]: &[&str; 3]| {
        id.strip_prefix('R').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    for [id, reason, kept] in not_yet.lines().map(fields).filter(is_id) {
        let row = rows.iter_mut().find(|row| row.id == id);
        let row = row.ok_or_else(|| format!("docs/not-yet.tsv: no such row: {id}"))?;
        if !matches!(kept, "" | "refused" | "not shown") {
            return Err(format!("docs/not-yet.tsv: no such state: {kept}"));
        }
        (row.reason, row.kept) = (Some(reason), kept);
    }
    Ok(rows)
}

/// The rows that the name of a test begins with: `a::r017_r018_both`.
fn ids(name: &str) -> Vec<String> {
    let words = name.rsplit("::").next().unwrap_or_default().split('_');
    let number = |word: &str| {
        let digits = word.strip_prefix('r')?;
        let is_id = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then(|| format!("R{digits}"))
    };
    words.map_while(number).collect()
}

impl<'a> Row<'a> {
    /// What the test shows of the row, in any of the worlds.
    fn claim(&mut self, name: &'a str, log: &Log<'a>) {
        let mut is_shown = false;
        for (at, world) in WORLDS.iter().enumerate() {
            let place = (name, *world);
            match (log.results.get(&place), log.skipped.get(&place)) {
                (None, _) => {}
                (_, Some(why)) => self.waits = Some(why),
                (Some(true), _) => (self.seen[at], is_shown) = (true, true),
                (Some(false), _) => self.fails = Some(name),
            }
        }
        if is_shown {
            self.tests.push(name);
        }
    }

    fn tests(&self) -> String {
        self.tests.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// What it is, and the tests or why it is no yes. What is refused or not shown may have tests
    /// that show as much.
    fn judge(&self) -> (&'a str, String) {
        let tests = self.tests();
        match (self.fails, self.kept, self.reason, self.waits) {
            (Some(name), ..) => ("no", format!("`{name}` fails")),
            (_, kept, reason, _) if !kept.is_empty() => {
                let colon = if tests.is_empty() { "" } else { ": " };
                (kept, format!("{}{colon}{tests}", reason.unwrap_or_default()))
            }
            _ if !tests.is_empty() => ("yes", tests),
            (.., Some(reason), _) => ("no", reason.to_owned()),
            (.., Some(why)) => ("not shown", format!("not here: {why}")),
            _ => ("no", "no test yet".to_owned()),
        }
    }

    /// The worlds in which it was seen; those of pure functions have none.
    fn places(&self) -> String {
        let seen = WORLDS.iter().zip(self.seen).skip(1).filter(|(_, seen)| *seen);
        seen.map(|(world, _)| *world).collect::<Vec<_>>().join(", ")
    }

    fn group(&self) -> usize {
        match (self.part, self.part.as_bytes().first()) {
            ("1.10", _) => 1,
            (_, Some(b'1')) => 0,
            (_, Some(b'2')) => 2,
            _ => 3,
        }
    }
}

fn document(rows: &[Row<'_>], mutations: usize) -> String {
    let mut sums = [[0; STATES.len()]; GROUPS.len()];
    let judged: Vec<_> = rows.iter().map(|row| (row, row.judge())).collect();
    for (row, (state, _)) in &judged {
        let at = STATES.iter().position(|known| known == state).unwrap_or(1);
        sums[row.group()][at] += 1;
        sums[ALL][at] += 1;
    }
    let mut text = HEAD.to_owned();
    if mutations > 0 {
        text += &format!(
            "For the spec and its errors, {mutations} mutations (`hack/mutations`) break one effect \
             each: `make mutate` asks for a red test. All have; cgroup-drivers:106 that of \
             `hack/vm rootless`.\n"
        );
    }
    text += TABLE;
    for ((about, peers), sums) in GROUPS.iter().zip(&sums) {
        let rows: usize = sums.iter().sum();
        let [yes, no, refused, not_shown] = sums;
        text += &format!("| {about} | {rows} | {yes}/{no}/{refused}/{not_shown} | {peers} |\n");
    }
    for (part, name) in PARTS {
        text += &format!(
            "\n## {part} {name}\n\n| id | what | state | where | tests, or why not |\n|---|---|---|---|---|\n"
        );
        for (row, (state, why)) in judged.iter().filter(|(row, _)| row.part == part) {
            let Row { id, title, .. } = row;
            text += &format!("| {id} | {title} | {state} | {} | {why} |\n", row.places());
        }
    }
    text
}

const HEAD: &str = "\
# Conformance

Written by `make ledger` from the tests that passed; do not edit. Rows and titles are in `docs/features.tsv`.
A row is yes when every test whose name begins with its id passed, and at least one did. It is refused when what it
asks for is an error, as no kernel has it; not shown, when none of the machines has what it takes. Where they were run:
on a host with cgroup v1, on one with v2, and there by `--systemd-cgroup` (none named: pure functions).
";

const TABLE: &str = "\
The peers' figures (yes/partial/no) come from reading their source, not from tests.

| part | rows | pinnace yes/no/refused/not shown | runc 1.5.1 | crun 1.29.1 | youki 0.7.0 |
|---|---|---|---|---|---|
";

#[cfg(test)]
mod tests {
    #[test]
    fn a_row_is_yes_by_tests_and_by_nothing_else() {
        let rows = "id\tpart\ttitle\nR001\t1.1\tone\nR002\t1.1\ttwo\nR003\t1.1\tthree\n\
                    R004\t1.1\tfour\nR005\t1.1\tfive\nR006\t2.1\tsix\nR007\t2.1\tseven\n";
        let reasons = "id\treason\tstate\nR002\tno kernel has it\trefused\n\
                       R003\tno machine has it\tnot shown\nR005\tlater\nR007\twhy\tnot shown\n";
        let log = "world: v1\ntest a::r001_r002_both ... ok\ntest a::r001_fails_once ... ok\n\
                   skipped: pinnace: a::r004_alone: a disk\ntest a::r004_alone ... ok\n\
                   test r006_x ... FAILED\nworld: v2\ntest r007_y ... FAILED\ntest r003_z ... ok\n";
        let (text, told) = super::text(rows, reasons, log, 0).unwrap();
        assert_eq!(told, Vec::<String>::new());
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
        let sums =
            |part: &str| text.lines().find(|line| line.starts_with(part)).unwrap().to_owned();
        assert!(sums("| the spec").contains("| 5 | 1/1/1/2 |"), "{text}");
        assert!(sums("| all").contains("| 7 | 1/3/1/2 |"), "{text}");
        for wrong in ["R002\twhy\tperhaps\n", "R099\twhy\n"] {
            assert!(super::text(rows, wrong, log, 0).is_err(), "{wrong}");
        }
        let log = "test r005_a ... ok\ntest r098_b ... ok\n";
        let (_, told) = super::text(rows, reasons, log, 0).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
    }
}
