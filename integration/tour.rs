//! Documents whose commands are run as they are printed, on a host of their own
//! (`tour/world.sh`): what each prints is what stands below it.
//!
//! Of a block ```` ```console ```` a line `# ...` is a command, `> ...` goes on with it, and the
//! rest is its output. There, `...` stands for anything in a line, alone in a line for any lines;
//! how many blanks there are does not matter. A comment `<!-- run: v2 memory -->` above a block
//! names what it needs: a version of cgroups, controllers of v2, programs.

use crate::harness::{
    Call, Name, by_systemd, deviates, directory, is_cgroup, lacks, needs, runtime,
};
use std::fs;
use std::path::{Path, PathBuf};

/// A command, and the lines that it shall print.
#[derive(Debug, Clone)]
struct Command {
    text: String,
    printed: Vec<String>,
}

/// What stands below a heading.
#[derive(Debug)]
struct Section {
    title: String,
    commands: Vec<Command>,
}

/// As they were when this was built: it also runs where the source is not.
fn document(name: &str) -> &'static str {
    match name {
        "README.md" => include_str!("../README.md"),
        "README.zh.md" => include_str!("../README.zh.md"),
        "docs/zh/tour.md" => include_str!("../docs/zh/tour.md"),
        "docs/zh/network.md" => include_str!("../docs/zh/network.md"),
        other => panic!("{other} is no document with commands"),
    }
}

/// The sections that have commands for this host.
fn sections(text: &str) -> Vec<Section> {
    let mut all: Vec<Section> = Vec::new();
    let (mut needed, mut block) = (String::new(), None);
    for line in text.lines() {
        if line.starts_with("```") {
            block = match (block, line) {
                (None, "```console") => Some(is_there(&std::mem::take(&mut needed))),
                (None, _) => Some(false),
                (Some(_), _) => None,
            };
        } else if block == Some(true) {
            let commands = &mut all.last_mut().expect("a heading above").commands;
            let more = line.strip_prefix("> ");
            if let Some(text) = line.strip_prefix("# ") {
                commands.push(Command { text: text.to_owned(), printed: Vec::new() });
                continue;
            }
            let last = commands.last_mut().expect("a block begins with a command");
            match more.filter(|_| last.printed.is_empty()) {
                Some(text) => last.text = format!("{}\n{text}", last.text),
                None => last.printed.push(line.to_owned()),
            }
        } else if block.is_none() && line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_owned();
            all.push(Section { title, commands: Vec::new() });
        } else if let Some(words) = line.strip_prefix("<!-- run: ") {
            words.strip_suffix(" -->").expect("the end of a comment").clone_into(&mut needed);
        }
    }
    all.retain(|section| !section.commands.is_empty());
    all
}

/// Whether this host has what a block needs.
fn is_there(needed: &str) -> bool {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    needed.split_whitespace().all(|word| match word {
        "v1" => !is_cgroup(root),
        "v2" => is_cgroup(root),
        "memory" | "pids" => controllers.split_whitespace().any(|one| one == word),
        program => has(program),
    })
}

/// A program that is missing is a reason to skip, but not where all tests are to be run.
fn has(program: &str) -> bool {
    let mut places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter();
    let found = places.any(|place| Path::new(place).join(program).exists());
    assert!(found || std::env::var_os("CI").is_none(), "{program} is not installed");
    found
}

/// Whether the lines are those that are printed.
fn meets(printed: &[String], lines: &[String]) -> bool {
    let Some((first, rest)) = printed.split_first() else { return lines.is_empty() };
    if first.trim() == "..." {
        return (0..=lines.len()).any(|skipped| meets(rest, &lines[skipped..]));
    }
    let Some((line, others)) = lines.split_first() else { return false };
    let single = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    has_pieces(&single(first), &single(line)) && meets(rest, others)
}

/// Whether a line is the text, with something in the place of each `...`.
fn has_pieces(text: &str, line: &str) -> bool {
    let Some((head, tail)) = text.split_once("...") else { return text == line };
    let Some(left) = line.strip_prefix(head) else { return false };
    let starts = left.char_indices().map(|(at, _)| at).chain([left.len()]);
    starts.into_iter().any(|at| has_pieces(tail, &left[at..]))
}

/// Runs commands in one shell, on a host that goes with them. Tells what is not as printed.
fn run(number: usize, commands: &[Command]) -> Vec<String> {
    let dir = directory();
    let path = |name: &str, number: usize| dir.path().join(name).join(format!("{number:03}"));
    for name in ["commands", "output", "status"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    for (number, command) in commands.iter().enumerate() {
        fs::write(path("commands", number), &command.text).unwrap();
    }
    let name = format!("{}tour-{number}", Name::of(std::process::id()).text());
    let script = dir.path().join("world.sh");
    fs::write(&script, include_str!("tour/world.sh")).unwrap();
    let out = Call::new("/bin/bash")
        .args([script.as_path(), Path::new(&name), dir.path(), &runtime().path, &unpacker()])
        .run();
    let mut wrong = Vec::new();
    if out.code != 0 || !out.stderr.is_empty() {
        wrong.push(format!("{out:?}"));
    }
    let read = |name, number| fs::read_to_string(path(name, number)).unwrap_or_default();
    for (number, Command { text, printed }) in commands.iter().enumerate() {
        let (output, status) = (read("output", number), read("status", number));
        let lines: Vec<_> = output.lines().map(str::to_owned).collect();
        // What fails has to say so, and that is printed.
        let is_told = status == "0\n" || (!status.is_empty() && !printed.is_empty());
        if !is_told || !meets(printed, &lines) {
            let wanted = printed.join("\n");
            wrong.push(format!("# {text}\n{output}[{}] but printed:\n{wanted}", status.trim()));
        }
    }
    let seen = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    if seen("before") != seen("after") {
        wrong.push(format!("left behind: {}\nbefore: {}", seen("after"), seen("before")));
    }
    wrong
}

/// That of the same build.
fn unpacker() -> PathBuf {
    let beside = runtime().path.with_file_name("pinnace-image");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("bin/pinnace-image");
    if beside.is_file() { beside } else { own }
}

macro_rules! needs_a_host {
    () => {
        deviates!(["runc", "crun"], "pinnace's documents");
        needs!(!by_systemd(), "cgroups made by hand");
        if let Some(name) = ["nft", "curl", "umoci", "pgrep"].iter().find(|name| !has(name)) {
            lacks(name);
            return;
        }
    };
}

/// Each section by itself, between what prepares and what tidies up.
fn each_section_of(name: &str, numbers: usize) {
    let mut all = sections(document(name));
    let last = all.pop().unwrap();
    let first = all.remove(0);
    assert_eq!((&*first.title, &*last.title), ("准备", "收拾"));
    let wrong = all.iter().enumerate().flat_map(|(number, section)| {
        let parts = [&first.commands[..], &section.commands, &last.commands];
        let wrong = run(numbers + number, &parts.concat());
        wrong.into_iter().map(|text| format!("{name}, {}:\n{text}\n", section.title))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tour_prints_what_is_printed() {
    needs_a_host!();
    each_section_of("docs/zh/tour.md", 100);
}

#[test]
fn the_tour_of_networks_prints_what_is_printed() {
    needs_a_host!();
    each_section_of("docs/zh/network.md", 200);
}

fn of_readme(name: &str) -> Vec<Command> {
    let mut sections = sections(document(name));
    assert_eq!(sections.len(), 1, "{name}");
    sections.remove(0).commands
}

fn quiet(text: &str) -> Command {
    Command { text: text.to_owned(), printed: Vec::new() }
}

/// The image is made by umoci; its page has the words of nginx's.
#[test]
fn four_commands_of_the_readme_lead_from_an_image_to_its_web_server() {
    needs_a_host!();
    let readme = of_readme("README.md");
    assert_eq!(readme.len(), 4);
    let layout = [
        "mkdir -p root/bin root/www && cp /bin/busybox root/bin/",
        "printf '%s\\n' '<html>' '<title>Welcome to nginx!</title>' '</html>' >root/www/index.html",
        "umoci init --layout oci && umoci new --image oci:web && umoci insert --image oci:web root /",
        "umoci config --image oci:web --config.entrypoint /bin/busybox --config.cmd httpd \
         --config.cmd=-f --config.cmd=-p --config.cmd=80 --config.cmd=-h --config.cmd=/www",
    ];
    let mut store = quiet("find /var/lib/pinnace/layers/sha256 -mindepth 1 | wc -l");
    store.printed.push("0".to_owned());
    let rest = ["pinnace list -q", "rm -r root oci web-bundle && pinnace-image prune >/dev/null"];
    let commands = layout.map(quiet).into_iter().chain(readme).chain(rest.map(quiet));
    let wrong = run(0, &commands.chain([store]).collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readmes_of_both_languages_have_the_same_commands() {
    let lines = |name| of_readme(name).into_iter().map(|one| (one.text, one.printed));
    assert!(lines("README.md").eq(lines("README.zh.md")));
    for (name, words) in [("README.md", "](README.zh.md)"), ("README.zh.md", "](README.md)")] {
        assert!(document(name).lines().take(3).any(|line| line.contains(words)), "{name}");
    }
}

#[test]
fn what_is_printed_is_met_by_nothing_else() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let is = |printed, output| meets(&lines(printed), &lines(output));
    assert!(is("NSpid: ... 1", "NSpid:\t4711\t1") && is("a...", "a") && is("...", ""));
    assert!(is("a\n...\nb", "a\nx\ny\nb") && is("a\n...\nb", "a\nb") && is("...b...b", "xbyb"));
    for (printed, output) in [
        ("NSpid: ... 1", "NSpid: 4711 12"),
        ("NSpid: ... 1", "NSpids: 4711 1"),
        ("a ... b", "a b"),
        ("a\n...\nb", "a\nx\nbc"),
        ("a\n...\nb", "a\nb\nc"),
        ("...b...b", "xb"),
        ("a", ""),
        ("", "a"),
        ("a b", "ab"),
    ] {
        assert!(!is(printed, output), "{printed:?} is met by {output:?}");
    }
}

#[test]
fn a_document_is_read_as_a_person_reads_it() {
    let text = "# T\n## A\n```console\n# one\n> two\nout\n> too\n```\n```text\n# none\n```\n\
        <!-- run: no-such-version -->\n## B\n<!-- run: v1 v2 -->\n```console\n# none\n```\n## C\n\
        ```console\n# three\n# four\n```\n";
    let all = sections(text);
    let titles: Vec<_> = all.iter().map(|section| &*section.title).collect();
    assert_eq!(titles, ["A", "C"]);
    assert_eq!(all[0].commands[0].text, "one\ntwo");
    assert_eq!(all[0].commands[0].printed, ["out", "> too"]);
    assert_eq!(all[1].commands.len(), 2);
}
