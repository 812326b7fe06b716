//! The command line from outside: what is printed, where, and the exit status.
//! How words get to their places is tested beside the parser.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn pinnace(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pinnace"))
        .args(["--root", "/nonexistent/pinnace"])
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

#[test]
fn a_mistake_is_one_line_on_stderr() {
    for (line, code, wanted) in [
        ("nonsense", 1, "unknown command \"nonsense\" (`pinnace --help` lists what there is)"),
        (
            "--nonsense=secret list",
            1,
            "pinnace: --nonsense: unknown flag or argument (`pinnace --help` lists what stands",
        ),
        (
            "list --nonsense=secret",
            1,
            "pinnace: --nonsense: unknown flag or argument (`pinnace list --help` lists",
        ),
        ("list --root /x", 1, "--root: unknown flag or argument (it stands before the command: "),
        (
            "list --format xml",
            1,
            "--format: \"xml\" is not one of table, json (`pinnace list --help`",
        ),
        ("state", 1, "CONTAINER is missing"),
        ("state a b", 1, "b: unknown flag or argument"),
        ("create --pid-file", 1, "--pid-file: flag needs an argument"),
        ("--log-format xml state a", 1, "--log-format: \"xml\" is not one of text, json"),
        ("exec", 1, "CONTAINER is missing"),
        ("list", 1, "--root: read /nonexistent/pinnace: no such file or directory"),
        // The words were right: now it is the command's own failure.
        ("state a", 1, "container \"a\" does not exist"),
        ("exec a --nonsense", 255, "container \"a\" does not exist"),
        ("--log-format json -log-format=text state a", 1, "container \"a\" does not exist"),
        ("exec -tu 1:2 -e A=B a b -c d", 255, "container \"a\" does not exist"),
        ("ps -f json a -ef", 1, "container \"a\" does not exist"),
    ] {
        let output = pinnace(line);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(wanted), "{line}: {text}");
        assert_eq!(text.lines().count(), 1, "{line}: {text}");
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn what_was_asked_for_is_on_stdout() {
    for (line, code, wanted) in [
        ("--help", 0, "Usage: pinnace [OPTION]... COMMAND"),
        ("-h", 0, "  exec "),
        ("help", 0, "  --log-format FORMAT"),
        ("", 1, "  create "),
        ("--version", 0, "pinnace version "),
        ("-v", 0, "spec: 1.3.0"),
        ("create --help", 0, "  -b, --bundle DIR "),
        ("exec -h", 0, "Usage: pinnace exec [OPTION]... CONTAINER [COMMAND]..."),
        ("kill --help", 0, "Usage: pinnace kill [OPTION]... CONTAINER... [SIGNAL]"),
        ("help kill", 0, "Usage: pinnace kill [OPTION]... CONTAINER... [SIGNAL]"),
        ("version", 0, "pinnace version "),
        ("-V", 0, "spec: 1.3.0"),
    ] {
        let output = pinnace(line);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(wanted), "{line}: {text}");
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(output.stderr.is_empty(), "{line}");
    }
}

/// What a script of `hack/` prints, given the program.
fn script(line: &str) -> String {
    let output = Command::new("bash")
        .args(["-euc", line, "bash", env!("CARGO_BIN_EXE_pinnace")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_manual_page_has_every_command_and_option() {
    let page = script("hack/man \"$1\"");
    let below = |command: &str| {
        let help = String::from_utf8(pinnace(&format!("{command} --help")).stdout).unwrap();
        let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = lines.map_while(|line| line.split_whitespace().next());
        names.map(|name| format!("{command} {name}").trim().to_owned()).collect::<Vec<_>>()
    };
    let mut commands = below("");
    assert!(commands.len() >= 16, "{commands:?}");
    let further = below("network");
    assert_eq!(further.len(), 8, "{further:?}");
    commands.extend(further);
    for command in commands {
        let help = String::from_utf8(pinnace(&format!("{command} --help")).stdout).unwrap();
        let section = page.split(&format!("\n.SS {command} ")).nth(1).unwrap();
        let section = section.split("\n.SS ").next().unwrap();
        for line in help.lines().filter(|line| line.starts_with("  ") && !line.contains("--help")) {
            let (left, right) = line.trim().split_once("  ").unwrap();
            let left = left.replace('-', "\\-");
            let entry = format!(".TP\n\\fB{left}\\fR\n{}", right.trim());
            assert!(section.contains(&entry), "{command}: {entry}");
        }
    }
    for line in page.lines() {
        assert!(!line.starts_with('@'), "a mark that nothing has replaced: {line}");
    }
}

/// The other program's page and completion are made of its own help.
#[test]
fn the_other_program_has_a_page_and_a_completion() {
    let image = env!("CARGO_BIN_EXE_pinnace-image");
    let page = script(&format!("hack/man {image}"));
    assert!(page.starts_with(".TH PINNACE-IMAGE 8"), "{page}");
    for command in ["unpack", "verify", "ls", "rm", "prune"] {
        let section = page.split(&format!("\n.SS {command} ")).nth(1);
        assert!(section.is_some_and(|text| text.contains("\\-\\-store DIR")), "{command}");
    }
    assert!(page.contains("\\-\\-platform OS/ARCHITECTURE") && !page.contains("\n@"));
    for (line, wanted) in [
        ("un", "unpack"),
        ("unpack --plat", "--platform"),
        ("unpack sr", "src"),
        ("unpack src sr", "src"),
        ("ls --format ''", "table json"),
    ] {
        let found = script(&format!(
            "set -- {image} {line}; source hack/completion.bash
             COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMPREPLY=()
             _pinnace; echo \"${{COMPREPLY[*]-}}\""
        ));
        assert_eq!(found.trim(), wanted, "{line}");
    }
}

#[test]
fn r324_r471_bash_completes_commands_options_and_choices() {
    for (line, wanted) in [
        ("''", "create start run exec state list"),
        ("cr", "create"),
        ("--log-f", "--log-format"),
        ("--log-format ''", "text json"),
        ("--log-format json list --fo", "--format"),
        ("--root /tmp list -f t", "table"),
        ("create --bu", "--bundle"),
        ("create --bundle sr", "src"),
        ("update --cpuset-", "--cpuset-cpus --cpuset-mems"),
        ("state ''", ""),
        ("network cr", "create"),
        ("network create --sub", "--subnet --subnet6"),
        ("network ls --format ''", "table json"),
        ("spec --from-o", "--from-oci"),
        ("spec --from-oci sr", "src"),
        ("run --netw", "--network"),
        // The help's prose is no choice.
        ("exec -u ''", ""),
        ("exec --cap ''", ""),
        ("update --memory ''", ""),
        ("help cr", "create"),
        ("list --format = ''", "table json"),
        ("list --format = j", "json"),
    ] {
        let found = script(&format!(
            "set -- \"$1\" {line}; source hack/completion.bash
             COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMPREPLY=()
             _pinnace; echo \"${{COMPREPLY[*]-}}\""
        ));
        let exact = wanted.is_empty() || !line.starts_with("''");
        assert!(
            if exact { found.trim() == wanted } else { found.starts_with(wanted) },
            "{line}: {found}"
        );
    }
}

#[test]
fn r324_r471_bash_completes_what_stands_at_a_place() {
    for (line, wanted) in [
        ("kill we", "web web-2"),
        ("kill web we", "web web-2"),
        ("kill web SIGTER", "SIGTERM"),
        ("kill SIGTER", ""),
        ("kill --regex web SIGKI", "SIGKILL"),
        ("delete web we", "web web-2"),
        ("delete --force we", "web web-2"),
        ("state we", "web web-2"),
        ("state web we", ""),
        ("exec --cwd / we", "web web-2"),
        ("exec --cwd /tmp web we", ""),
        ("--root /tmp ps we", "web web-2"),
        // The name of a new one is nobody's yet.
        ("run we", ""),
        ("create --bundle / we", ""),
    ] {
        let found = script(&format!(
            "fake() {{ case \"$*\" in *list\\ --quiet) printf '%s\\n' web web-2 other ;; *) \"$own\" \"$@\" ;; esac; }}
             own=$1; set -- fake {line}; source hack/completion.bash
             COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMPREPLY=()
             _pinnace; echo \"${{COMPREPLY[*]-}}\""
        ));
        assert_eq!(found.trim(), wanted, "{line}");
    }
}

#[test]
fn the_licence_is_there_and_in_the_package() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("LICENSE")).unwrap();
    for words in ["Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"] {
        assert!(text.contains(words), "{words}");
    }
    let listed = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<&str> = listed.lines().collect();
    for file in ["LICENSE", "README.md", "Cargo.lock", "src/main.rs", "docs/pinnace.8", "hack/man"]
    {
        assert!(files.contains(&file), "{file}: {listed}");
    }
    for place in ["tests/", "integration/", "docs/bench", ".ci/", "hack/bench", "hack/fuzz"] {
        assert!(!files.iter().any(|file| file.starts_with(place)), "{place}: {listed}");
    }
}
