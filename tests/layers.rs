//! The import rule of ARCHITECTURE.md: data flows one way. Every `use crate::`
//! in `src/` is an edge between two modules; an edge that is not in the table
//! fails. Beside it stand the other rules on `src/` that a program can check.

#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules that it may import. `error` is open to all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("arguments", &[]),
    ("error", &[]),
    ("log", &[]),
    ("nearest", &[]),
    ("sys", &[]),
    ("spec", &["nearest"]),
    ("plan", &["spec", "nearest", "sys"]),
    ("sync", &["plan", "sys"]),
    ("namespaces", &["plan", "sys"]),
    ("rootfs", &["plan", "nearest", "sys"]),
    ("security", &["plan", "spec", "nearest", "sys"]),
    ("net", &["plan", "sys"]),
    ("hooks", &["plan", "spec", "sys"]),
    ("terminal", &["plan", "sys"]),
    ("cgroup", &["plan", "spec", "sys"]),
    ("resctrl", &["plan", "sys"]),
    // What must be found again after a crash is recorded as the value it is.
    ("store", &["spec", "cgroup", "resctrl", "sys"]),
    ("create", &["plan", "spec", "sync", "namespaces", "sys"]),
    (
        "init",
        &[
            "plan",
            "spec",
            "sync",
            "namespaces",
            "rootfs",
            "security",
            "net",
            "hooks",
            "terminal",
            "sys",
        ],
    ),
    (
        "container",
        &[
            "log",
            "nearest",
            "spec",
            "plan",
            "store",
            "sync",
            "create",
            "init",
            "namespaces",
            "rootfs",
            "cgroup",
            "resctrl",
            "security",
            "net",
            "hooks",
            "terminal",
            "sys",
        ],
    ),
    // Another program: none of the modules above may know it.
    ("image", &["arguments", "nearest", "spec", "sys"]),
    ("bin", &["image"]),
    ("cli", &["arguments", "log", "nearest", "spec", "plan", "store", "container", "sys"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// From the line with `fn` to the closing brace.
const FUNCTION_LINES: usize = 60;
const FILE_LINES: usize = 600;

#[test]
fn imports_point_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in files(&source) {
        let from = module(file.strip_prefix(&source).unwrap());
        let allowed = ALLOWED.iter().find(|(name, _)| *name == from);
        let Some((_, allowed)) = allowed else {
            wrong.push(format!("{}: the module {from:?} is not in the table", file.display()));
            continue;
        };
        for to in imports(&fs::read_to_string(&file).unwrap()) {
            if to != from && to != "error" && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{}: {from} must not import {to}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whoever reads a file needs only those that it builds on: no files of a module import each other
/// in a circle. A `mod.rs` gives its module's story, and may know all of it.
#[test]
fn no_circles_inside_a_module() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
    directories.extend(files(&source).iter().map(|file| file.parent().unwrap().to_owned()));
    for dir in directories.iter().filter(|dir| **dir != source) {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            if file.is_file() && name != "mod" {
                let text = fs::read_to_string(&file).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                edges.insert(name, after("super::", code));
            }
        }
        // What builds on nothing that is left, goes; a circle stays.
        loop {
            let before = edges.len();
            let names: BTreeSet<String> = edges.keys().cloned().collect();
            edges.retain(|name, to| to.iter().any(|to| to != name && names.contains(to)));
            if edges.len() == before {
                break;
            }
        }
        let module = dir.strip_prefix(&source).unwrap().display().to_string();
        assert!(edges.is_empty(), "{module}: {edges:#?}");
    }
}

#[test]
fn unsafe_code_lives_in_sys() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&source) {
        let text = fs::read_to_string(&file).unwrap();
        let in_sys = file.starts_with(source.join("sys"));
        assert!(in_sys || !text.contains("allow(unsafe_code)"), "{}", file.display());
    }
}

/// std seeds them from getrandom(2), and panics where an outer filter forbids that call.
#[test]
fn nothing_is_hashed_with_a_random_seed() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&source) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
        let found = code.filter(|line| line.contains("HashMap") || line.contains("HashSet"));
        assert_eq!(found.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", file.display());
    }
}

/// CONTRIBUTING.md, "How the code is written": what is longer is more than one step.
#[test]
fn functions_and_files_are_short() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in files(&source) {
        let text = fs::read_to_string(&file).unwrap();
        let at = file.strip_prefix(&source).unwrap().display();
        let lines = text.lines().count();
        if lines > FILE_LINES {
            wrong.push(format!("{at}: {lines} lines, more than {FILE_LINES}"));
        }
        for (line, name, lines) in functions(&text) {
            if lines > FUNCTION_LINES {
                wrong.push(format!(
                    "{at}:{line}: {name}: {lines} lines, more than {FUNCTION_LINES}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The functions in a text that rustfmt has laid out: line, name, number of lines. One ends in the
/// column in which it began: with its brace, or with a semicolon if it has no body.
fn functions(text: &str) -> Vec<(usize, &str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let Some((before, rest)) = code.split_once("fn ") else { continue };
        let is_qualifier = |word: &str| {
            ["pub", "const", "unsafe", "extern", "\"C\""].contains(&word)
                || word.starts_with("pub(")
                || word.ends_with(')')
        };
        if !before.split_whitespace().all(is_qualifier) {
            continue;
        }
        let ends = |line: &&str| {
            let own = line.strip_prefix(indent).filter(|own| !own.starts_with(' '));
            own.is_some_and(|own| own.ends_with([';', '}']))
        };
        let last = lines[at..].iter().position(ends).unwrap();
        let name = rest.split(['(', '<']).next().unwrap();
        found.push((at + 1, name, last + 1));
    }
    found
}

/// The first component of a path below src/, without `.rs`.
fn module(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// What follows `crate::`, also in `use crate::{a, b::c}` over several lines.
fn imports(text: &str) -> BTreeSet<String> {
    after("crate::", text)
}

fn after(root: &str, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(root) {
        let line_start = text[..at].rfind('\n').map_or(0, |i| i + 1);
        if text[line_start..at].trim_start().starts_with("//") {
            continue;
        }
        let rest = &text[at + root.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(top_level(list)),
            None => found.extend(word(rest)),
        }
    }
    found
}

/// The first words of a braced list, one level deep.
fn top_level(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut words = Vec::new();
    let mut fresh = true;
    for (i, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && depth == 0 && c.is_ascii_alphabetic() => {
                words.extend(word(&list[i..]));
                fresh = false;
            }
            _ => {}
        }
    }
    words
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

#[test]
fn the_reader_of_imports_reads_them_all() {
    let text = "use crate::plan::Plan;\n// crate::no\nuse crate::{\n  hooks, log::Log,\n  sync::{a, b},\n};\nlet x = crate::sys::f();";
    let found: Vec<_> = imports(text).into_iter().collect();
    assert_eq!(found, ["hooks", "log", "plan", "sync", "sys"]);
}

#[test]
fn the_reader_of_functions_counts_their_lines() {
    let text = "fn one() {}\npub(super) const fn three(\n) {\n}\ntrait A {\n    fn two(\n    );\n}\nimpl A {\n    pub unsafe fn four() {\n        if true {\n        }\n    }\n}\n// no fn here\n";
    let all = [(1, "one", 1), (2, "three", 3), (6, "two", 2), (10, "four", 4)];
    assert_eq!(functions(text), all);
}
