//! What the documents say is so: blocks of configuration parse, and name the program where
//! `make install` puts it; words of errors are those of the source; links lead somewhere.

#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

use std::fs;
use std::path::{Path, PathBuf};

const PROGRAM: &str = "/usr/local/sbin/pinnace";

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(top())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|is| is == "md"))
        .collect();
    all.extend(files_below(&top().join("docs"), "md"));
    all.extend(["integration/README.md", "examples/README.md"].map(|name| top().join(name)));
    all
}

/// The blocks of a document in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn blocks_of_engines_are_what_the_engines_read() {
    let mut seen = [0; 3];
    for path in files_below(&top().join("docs/engines"), "md") {
        let text = fs::read_to_string(&path).unwrap();
        let at = path.display();
        for block in blocks(&text, "toml") {
            let table: toml::Table = block.parse().unwrap_or_else(|e| panic!("{at}: {e}\n{block}"));
            assert!(!table.is_empty() && block.contains(PROGRAM), "{at}:\n{block}");
            seen[0] += 1;
        }
        for block in blocks(&text, "json") {
            let read: serde_json::Value = serde_json::from_str(&block).unwrap();
            assert_eq!(read["runtimes"]["pinnace"]["path"], PROGRAM, "{at}:\n{block}");
            seen[1] += 1;
        }
        for block in blocks(&text, "yaml") {
            for line in ["apiVersion: node.k8s.io/v1", "kind: RuntimeClass", "handler: pinnace"] {
                assert!(block.lines().any(|is| is == line), "{at}: {line}\n{block}");
            }
            seen[2] += 1;
        }
    }
    assert_eq!(seen, [5, 3, 1], "blocks of TOML, JSON and YAML");
}

/// The first column of a table row, if that is words in backticks.
fn quoted(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split("` |").next()
}

#[test]
fn words_of_errors_are_those_of_the_source() {
    // As the compiler joins them: a backslash at the end of a line takes the blanks with it.
    let sources = files_below(&top().join("src"), "rs");
    let sources: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let text = fs::read_to_string(top().join("docs/troubleshooting.md")).unwrap();
    let words: Vec<&str> = text.lines().filter_map(quoted).collect();
    assert!(words.len() > 20, "{words:?}");
    for words in words {
        assert!(sources.contains(words), "no message has {words:?}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            assert!(path.parent().unwrap().join(file).exists(), "{}: {link}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

/// `plan` finds nothing wrong with them, but for what the host of the test lacks.
#[test]
fn examples_are_good_configurations() {
    let bundle = tempfile::tempdir().unwrap();
    fs::create_dir_all(bundle.path().join("rootfs/bin")).unwrap();
    fs::create_dir(bundle.path().join("data")).unwrap();
    let mut seen = 0;
    for path in files_below(&top().join("examples"), "json") {
        fs::copy(&path, bundle.path().join("config.json")).unwrap();
        let plan = std::process::Command::new(env!("CARGO_BIN_EXE_pinnace"))
            .args(["plan", "--json", "--bundle"])
            .arg(bundle.path())
            .output()
            .unwrap();
        let told: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
        // What the host is: an empty root file system, an ordinary user, no cgroup.
        let of_the_host = ["process.args[0]", "linux.resources", "linux.uidMappings", "root"];
        let wrong: Vec<_> = told["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| {
                let field = finding["field"].as_str().unwrap_or_default();
                !of_the_host.iter().any(|of| field.starts_with(of))
            })
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 6);
}

/// Each engine has a list of its tests, in a file; README's table says how many, and how many need no controllers.
#[test]
fn readme_counts_the_tests_of_engines() {
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| engine | tests |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    let lists = [
        ("| containerd 1.6 (Debian 12)", "engines/containerd.rs"),
        ("| containerd 1.6 (Debian 12), as Kubernetes calls it", "cri/tests/main.rs"),
        ("| podman 4.3 (Debian 12), root", "engines/podman.rs"),
        ("| podman 4.3 (Debian 12), rootless", "engines/rootless.rs"),
        ("| buildah 1.28 (Debian 12)", "engines/buildah.rs"),
        ("| Docker 20.10 (Debian 12)", "engines/docker.rs"),
    ];
    assert_eq!(rows.len(), lists.len(), "{rows:?}");
    for (row, (engine, file)) in rows.iter().zip(lists) {
        let source = fs::read_to_string(top().join("integration").join(file)).unwrap();
        let list = source.split("const TESTS").nth(1).unwrap().split("];").next().unwrap();
        // Each entry has a name in quotes, and nothing else has.
        let count = list.matches("\",").count();
        assert_eq!(row[..2], [engine, &count.to_string()], "{file}");
        let tests = top().join("integration").join(file.replace("main.rs", "limits.rs"));
        let source = fs::read_to_string(tests).unwrap();
        let limits = ["needs_controllers()?;", "needs_limits()?;"]
            .map(|words| source.matches(words).count())
            .iter()
            .sum::<usize>();
        assert_eq!(row[2], (count - limits).to_string(), "{file}, on v2");
    }
}

/// A name that is none would skip nothing in one place, and run nothing in the other.
#[test]
fn tests_with_systemd_are_called_by_their_names() {
    let list = fs::read_to_string(top().join("integration/systemd.tests")).unwrap();
    let sources = files_below(&top().join("integration"), "rs");
    let sources: String = sources.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for name in list.lines().filter(|line| !line.starts_with('#')) {
        let items = match name.strip_suffix("::") {
            Some(module) => vec![format!("mod {module};")],
            // A table of bad_input.rs makes the latter.
            None => ["fn TEST(", " TEST: "]
                .map(|item| item.replace("TEST", name.rsplit("::").next().unwrap()))
                .to_vec(),
        };
        assert!(items.iter().any(|item| sources.contains(item)), "{name}");
    }
}
