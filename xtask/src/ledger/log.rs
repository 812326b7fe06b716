//! What `hack/test` and `hack/vm` print.

use std::collections::{BTreeSet, HashMap};

/// Where tests are run. `any` is that of pure functions.
pub const WORLDS: [&str; 4] = ["any", "v1", "v2", "systemd"];

/// Tests and what became of them, by name and world: what fails or is skipped in one world may
/// pass in another.
#[derive(Default)]
pub struct Log<'a> {
    /// All names.
    pub tests: BTreeSet<&'a str>,
    /// Whether it passed.
    pub results: HashMap<(&'a str, &'a str), bool>,
    /// Passed without having shown anything, and why.
    pub skipped: HashMap<(&'a str, &'a str), &'a str>,
}

impl<'a> Log<'a> {
    /// Reads it. `world: v1` says where the tests that follow were run.
    pub fn read(text: &'a str) -> Self {
        let mut log = Self::default();
        let mut world = "any";
        // With one thread libtest prints the name first, and what the test says comes in between.
        let mut open = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("world: ") {
                world = name;
            } else if let Some((name, verdict)) = test(line) {
                log.tests.insert(name);
                open = "";
                match verdict {
                    "ok" => drop(log.results.insert((name, world), true)),
                    _ if verdict.starts_with("FAILED") => {
                        log.results.insert((name, world), false);
                    }
                    _ => {
                        open = name;
                        log.note_skipped(line, open, world);
                    }
                }
            } else if matches!(line, "ok" | "FAILED") && !open.is_empty() {
                log.results.insert((open, world), line == "ok");
                open = "";
            } else if line.starts_with("skipped: ") {
                log.note_skipped(line, open, world);
            }
        }
        log
    }

    /// `skipped: RUNTIME: TEST: why`, or `skipped: why` of the test that is open.
    fn note_skipped(&mut self, line: &'a str, open: &'a str, world: &'a str) {
        let Some((_, line)) = line.rsplit_once("skipped: ") else { return };
        let mut words = line.splitn(3, ": ");
        match (words.next(), words.next(), words.next()) {
            (_, Some(test), Some(why)) => self.skipped.insert((test, world), why),
            _ if !open.is_empty() => self.skipped.insert((open, world), line),
            _ => None,
        };
    }
}

/// The name and the verdict in `test NAME ... VERDICT`.
fn test(line: &str) -> Option<(&str, &str)> {
    let (name, _) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let (_, verdict) = line.rsplit_once(" ... ")?;
    Some((name.strip_suffix(" - should panic").unwrap_or(name), verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_in_between_belongs_to_the_test() {
        let text = "world: v2\ntest a ... noise\nok\ntest b ... skipped: no disk\nok\n\
                    skipped: pinnace: c: why: so\ntest c - should panic ... ok\ntest d ... FAILED in x\n\
                    test e ... x\nFAILED\nok\n";
        let log = Log::read(text);
        assert_eq!(log.tests.iter().copied().collect::<String>(), "abcde");
        for (name, passed) in [("a", true), ("b", true), ("c", true), ("d", false), ("e", false)] {
            assert_eq!(log.results.get(&(name, "v2")), Some(&passed), "{name}");
        }
        assert_eq!(log.skipped.get(&("b", "v2")), Some(&"no disk"));
        assert_eq!(log.skipped.get(&("c", "v2")), Some(&"why: so"));
        assert_eq!(log.skipped.len(), 2);
    }
}
