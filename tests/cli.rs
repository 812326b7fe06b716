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
        ("nonsense", 1, "unknown command \"nonsense\" (--help lists what there is)"),
        ("--nonsense", 1, "--nonsense: unknown flag or argument (--help lists what there is)"),
        ("state", 1, "CONTAINER is missing"),
        ("state a b", 1, "b: unknown flag or argument"),
        ("create --pid-file", 1, "--pid-file: flag needs an argument"),
        ("--log-format xml state a", 1, "--log-format: \"xml\" is not one of text, json"),
        ("exec", 1, "CONTAINER is missing"),
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
        ("kill --help", 0, "Usage: pinnace kill [OPTION]... CONTAINER [SIGNAL]"),
        ("list", 0, "ID"),
    ] {
        let output = pinnace(line);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(wanted), "{line}: {text}");
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(output.stderr.is_empty(), "{line}");
    }
}
