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

/// What a shell prints, given the program; nothing where it is not installed.
fn shell(name: &str, options: &[&str], line: &str) -> Option<String> {
    let mut command = Command::new(name);
    command.args(options).args(["-c", line]).current_dir(env!("CARGO_MANIFEST_DIR"));
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {name} is not installed");
            None
        }
        output => {
            let output = output.unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && told.is_empty(), "{name}: {line}: {told}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
    }
}

/// The command and those below it, as its help lists them.
fn below(command: &str) -> Vec<String> {
    let help = String::from_utf8(pinnace(&format!("{command} --help")).stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.map_while(|line| line.split_whitespace().next());
    names.map(|name| format!("{command} {name}").trim().to_owned()).collect()
}

fn page(name: &str) -> String {
    let path = format!("{}/share/man/man8/{name}.8", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_manual_pages_have_every_command_and_option() {
    let commands = below("");
    assert!(commands.len() >= 16, "{commands:?}");
    let further = below("network");
    assert_eq!(further.len(), 8, "{further:?}");
    let main = page("pinnace");
    for command in commands.iter().chain(&further) {
        let help = String::from_utf8(pinnace(&format!("{command} --help")).stdout).unwrap();
        let page = page(&format!("pinnace-{}", command.split(' ').next().unwrap()));
        let section = match command.contains(' ') {
            true => page.split(&format!("\n.SS {command} ")).nth(1).unwrap(),
            false => {
                assert!(main.contains(&format!("\n.BR pinnace\\-{command} (8)\n")), "{command}");
                &page
            }
        };
        let section = section.split("\n.SS ").next().unwrap();
        let options = help.split("\nUsage: ").nth(1).unwrap();
        for line in
            options.lines().filter(|line| line.starts_with("  ") && !line.contains("--help"))
        {
            let (left, right) = line.trim().split_once("  ").unwrap();
            let left = left.replace('-', "\\-");
            let entry = format!(".TP\n\\fB{left}\\fR\n{}", right.trim());
            assert!(section.contains(&entry), "{command}: {entry}");
        }
    }
}

#[test]
fn the_other_program_has_a_page() {
    let page = page("pinnace-image");
    for command in ["unpack", "verify", "ls", "rm", "prune"] {
        let section = page.split(&format!("\n.SS {command} ")).nth(1);
        assert!(section.is_some_and(|text| text.contains("\\-\\-store DIR")), "{command}");
    }
    assert!(page.contains("\\-\\-platform OS/ARCHITECTURE"));
}

/// What bash offers for the last of these words, where there are three containers.
fn bash(words: &str) -> String {
    let program = words.split(' ').next().unwrap();
    let function = format!("_{}", program.replace('-', "_"));
    let line = format!(
        "{program}() {{ case \"$*\" in 'list --quiet' | *'/tmp list --quiet') printf '%s\\n' web web-2 other ;; esac; }}
         source share/bash-completion/completions/{program}; set -- {words}
         COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMPREPLY=()
         {function}; echo \"${{COMPREPLY[*]-}}\""
    );
    shell("bash", &["-eu"], &line).unwrap().trim().to_owned()
}

#[test]
fn r324_r471_bash_completes_commands_options_and_choices() {
    assert!(bash("pinnace ''").starts_with("create start run exec state list"));
    for (line, wanted) in [
        ("pinnace cr", "create"),
        ("pinnace --log-f", "--log-format"),
        ("pinnace --log-format ''", "text json"),
        ("pinnace --log-format json list --fo", "--format"),
        ("pinnace --root /tmp list -f t", "table"),
        ("pinnace create --bu", "--bundle"),
        ("pinnace create --bundle sr", "src"),
        ("pinnace update --cpuset-", "--cpuset-cpus --cpuset-mems"),
        ("pinnace network cr", "create"),
        ("pinnace network create --sub", "--subnet --subnet6"),
        ("pinnace network ls --format ''", "table json"),
        ("pinnace spec --from-o", "--from-oci"),
        ("pinnace spec --from-oci sr", "src"),
        ("pinnace run --netw", "--network"),
        ("pinnace run --firewall ''", "check insert none"),
        // The help's prose is no choice.
        ("pinnace exec -u ''", ""),
        ("pinnace exec --cap ''", ""),
        ("pinnace update --memory ''", ""),
        ("pinnace help cr", "create"),
        ("pinnace nonsense --fo", ""),
        ("pinnace list --format = ''", "table json"),
        ("pinnace list --format = j", "json"),
        ("pinnace list --format =", "table json"),
        ("pinnace --debug = true list --fo", "--format"),
        ("pinnace-image un", "unpack"),
        ("pinnace-image unpack --plat", "--platform"),
        ("pinnace-image unpack sr", "src"),
        ("pinnace-image unpack src sr", "src"),
        ("pinnace-image ls --format ''", "table json"),
    ] {
        assert_eq!(bash(line), wanted, "{line}");
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
        // From there on it is the container's.
        ("exec web --cw", ""),
        ("--root /tmp ps we", "web web-2"),
        ("--root /elsewhere ps we", ""),
        // The name of a new one is nobody's yet.
        ("run we", ""),
        ("create --bundle / we", ""),
    ] {
        assert_eq!(bash(&format!("pinnace {line}")), wanted, "{line}");
    }
}

#[test]
fn fish_completes_commands_options_and_places() {
    let ask = |line: &str| {
        let script = format!(
            "function pinnace; printf '%s\\n' web web-2 other; end
             for name in pinnace pinnace-image; source share/fish/vendor_completions.d/$name.fish; end
             complete -C '{line}'"
        );
        let found = shell("fish", &["--no-config"], &script)?;
        let words: Vec<_> = found.lines().filter_map(|line| line.split('\t').next()).collect();
        Some(words.join(" "))
    };
    for (line, wanted) in [
        ("pinnace cr", "create"),
        ("pinnace --log-format ", "json text"),
        ("pinnace --log-format json list --fo", "--format"),
        ("pinnace create --bundle sr", "src/"),
        ("pinnace network ls -f ", "json table"),
        ("pinnace exec -u ", ""),
        ("pinnace exec web --cw", ""),
        ("pinnace kill we", "web web-2"),
        ("pinnace kill web SIGTER", "SIGTERM"),
        ("pinnace state web we", ""),
        ("pinnace run we", ""),
        ("pinnace-image unpack src sr", "src/"),
    ] {
        let Some(found) = ask(line) else { return };
        assert_eq!(found, wanted, "{line}");
    }
}

#[test]
fn zsh_can_read_its_completions() {
    for name in ["_pinnace", "_pinnace-image"] {
        // With -n the words of -c would not be executed: so the shell that is asked is another.
        shell("zsh", &["-f"], &format!("zsh -f -n share/zsh/site-functions/{name}"));
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
    let page = "share/man/man8/pinnace.8";
    for file in ["LICENSE", "README.md", "Cargo.lock", "src/main.rs", page, "hack/no-unwind.ld"] {
        assert!(files.contains(&file), "{file}: {listed}");
    }
    for place in ["tests/", "integration/", "docs/", ".ci/", "hack/bench", "hack/fuzz", "xtask"] {
        assert!(!files.iter().any(|file| file.starts_with(place)), "{place}: {listed}");
    }
}
