//! The one error type: how its parts are joined, which of them there are for who asks, and
//! that they cross the channel. What a planner finds is made of them.

#![allow(clippy::unwrap_used)] // what a test cannot do, it fails at

use pinnace::error::{At, Context, Error, Kind, LINE, Result, brief};
use pinnace::plan::Findings;
use pinnace::plan::findings::Severity;
use rustix::io::Errno;

/// What the parts are joined to, and what adds them.
type Added = (&'static str, fn(Error) -> Error);

/// Every way to put places around a failure, and what stands in front of it then.
fn placed() -> Vec<Added> {
    vec![
        ("", |error| error),
        ("mounts[3]: ", |error| error.at("mounts[3]")),
        ("mounts[3]: bind /a: ", |error| error.at("bind /a").at("mounts[3]")),
        ("config.json: mounts[3]: bind /a: ", |error| {
            error.at("bind /a").at(format_args!("mounts[{}]", 3)).at("config.json")
        }),
    ]
}

/// Every way to add what stands in the brackets, and the brackets.
fn noted() -> Vec<Added> {
    fn second() -> Result<()> {
        Err(Error::os("rmdir /b", Errno::BUSY).at("cgroup").hint("end it"))
    }
    vec![
        ("", |error| error),
        ("", |error| error.guess(None).and(Ok(()))),
        (" (do x)", |error| error.hint("do x")),
        (" (do x)", |error| error.hint("do x").hint("do y").guess(Some("z"))),
        (" (did you mean \"z\"?)", |error| error.guess(Some("z")).hint("do x")),
        (" (do y)", |error| error.also("do y")),
        (" (do x; do y)", |error| error.hint("do x").also("do y").hint("do z")),
        (" (and then: cgroup: rmdir /b: device or resource busy (end it))", |error| {
            error.and(second())
        }),
        (" (do x; and then: cgroup: rmdir /b: device or resource busy (end it))", |error| {
            error.hint("do x").and(second())
        }),
        // A hint that comes later is not lost, and the second failure is no hint.
        (" (do x; and then: cgroup: rmdir /b: device or resource busy (end it))", |error| {
            error.and(second()).hint("do x")
        }),
        (" (and then: cgroup: rmdir /b: device or resource busy (end it); do y)", |error| {
            error.and(second()).also("do y")
        }),
        (" (do x; do y; and then: first; and then: second)", |error| {
            let error = error.hint("do x").also("do y");
            error.and(Err(Error::new("first"))).and(Err(Error::new("second")))
        }),
        (" (and then: a (and then: b (do c)))", |error| {
            error.and(Err(Error::new("a").and(Err(Error::new("b").hint("do c")))))
        }),
    ]
}

/// Each combination, and the line that it is.
fn all() -> Vec<(String, Error)> {
    let bare = [
        ("is empty", Error::new("is empty")),
        ("mount x: operation not permitted", Error::os("mount x", Errno::PERM)),
    ];
    let mut all = Vec::new();
    for (line, error) in bare {
        for (front, place) in placed() {
            for (end, note) in noted() {
                all.push((format!("{front}{line}{end}"), note(place(error.clone()))));
                // In which order they were added does not matter.
                all.push((format!("{front}{line}{end}"), place(note(error.clone()))));
            }
        }
    }
    all
}

#[test]
fn it_reads_from_the_outside_in_whatever_parts_there_are() {
    for (line, error) in all() {
        assert_eq!(error.to_string(), line);
        assert_eq!(brief(&line), line);
    }
}

#[test]
fn the_outermost_place_is_apart_from_the_rest() {
    for (line, error) in all() {
        let rest = match error.place() {
            "" => error.rule(),
            place => format!("{place}: {}", error.rule()),
        };
        assert_eq!(rest, line);
    }
    let error = Error::new("x: y (z)").at("annotations[\"a: b\"]").hint("c");
    assert_eq!((error.place(), &*error.rule()), ("annotations[\"a: b\"]", "x: y (z) (c)"));
    assert_eq!((Error::new("a: b").place(), &*Error::new("a: b").rule()), ("", "a: b"));
}

#[test]
fn the_call_is_named_before_what_is_around_it() {
    let error = Error::os("setns 3: x", Errno::PERM).at("join").at("linux.namespaces").hint("h");
    assert!(error.outwards().eq(["setns 3: x", "join", "linux.namespaces"]));
}

#[test]
fn the_failure_alone_has_neither_kind_nor_brackets() {
    for (_, error) in all() {
        let bare = error.clone().kind(Kind::Hook).bare();
        assert_eq!((bare.get_kind(), bare.errno()), (Kind::Other, error.errno()));
        assert!(error.to_string().starts_with(&bare.to_string()));
        assert!(!bare.to_string().contains(" ("), "{bare}");
    }
}

#[test]
fn all_parts_cross_the_wire() {
    for (_, error) in all() {
        for kind in [Kind::Other, Kind::Hook, Kind::NotShown] {
            let heard = Error::decode(kind, &error.encode(4096));
            assert_eq!(heard, Some(error.clone().kind(kind)));
        }
    }
}

#[test]
fn what_is_too_long_for_the_wire_is_cut_between_letters() {
    let long = "\u{e4}".repeat(50_000);
    for most in [64, 100, 4000, 16_000] {
        for error in [
            Error::os(long.as_str(), Errno::PERM).at("mounts[1]").hint("do x"),
            Error::os("mount x", Errno::PERM).at(&long).at("mounts[1]").hint("do x"),
            Error::os(long.as_str(), Errno::PERM).at(&long).hint(long.as_str()),
            Error::new("a").hint("do x").and(Err(Error::new(long.as_str()).hint("do y"))),
        ] {
            let bytes = error.encode(most);
            assert!(bytes.len() <= most, "{} is above {most}", bytes.len());
            let heard = Error::decode(Kind::Other, &bytes).unwrap();
            assert_eq!(heard.errno(), error.errno());
            let text = heard.to_string();
            assert!(!text.contains('\u{fffd}'), "{text}");
            assert!(!error.to_string().contains("do x") || text.contains("do x"), "{text}");
            assert!(!error.place().starts_with("mounts") || text.starts_with("mounts[1]: "));
        }
    }
    let error = Error::new(long.as_str()).hint(long.as_str());
    assert!(error.encode(16_000).len() > 15_990, "the packet is filled");
}

#[test]
fn no_bytes_from_the_wire_do_harm() {
    assert_eq!(Error::decode(Kind::Other, b"\0\0\0"), None);
    for (code, wanted) in [(0, None), (1, Some(Errno::PERM)), (4096, Some(Errno::IO))]
        .into_iter()
        .chain([i32::MIN, -1, i32::MAX].map(|code| (code, Some(Errno::IO))))
    {
        let error = Error::decode(Kind::Other, &code.to_le_bytes()).unwrap();
        assert_eq!(error.errno(), wanted, "{code}");
    }
    let good = Error::os("c", Errno::PERM).at("p").hint("h").and(Err(Error::new("t"))).encode(999);
    for end in 0..good.len() {
        // Cut within a part it makes no sense, and between two it does.
        if let Some(error) = Error::decode(Kind::Other, &good[..end]) {
            assert!(error.to_string().len() < 100);
        }
    }
    let mut deep = 0_i32.to_le_bytes().to_vec();
    for _ in 0..1000 {
        deep = [&[0, 0, 0, 0, b't'], &(deep.len() as u32).to_le_bytes()[..], &deep].concat();
    }
    assert_eq!(Error::decode(Kind::Other, &deep), None);
    assert_eq!(Error::decode(Kind::Other, b"\0\0\0\0?\0\0\0\0"), None);
}

#[test]
fn a_result_takes_what_an_error_takes_and_only_if_it_is_one() {
    let fails = || -> rustix::io::Result<()> { Err(Errno::PERM) };
    let result = fails().call(|| "mount x".into()).at(|| "root.path").hint(|| "be root");
    let error = Error::os("mount x", Errno::PERM).at("root.path").hint("be root");
    assert_eq!(result, Err(error));
    let never = || -> &str { panic!("there is no failure to speak of") };
    assert_eq!(Ok::<_, Errno>(7).call(|| never().into()).at(never).hint(never), Ok(7));
    let other = std::io::Error::other("so it is");
    assert_eq!(Error::io("read x", &other).to_string(), "read x: so it is");
    let known = std::io::Error::from_raw_os_error(2);
    assert_eq!(Error::io("read x", &known), Error::os("read x", Errno::NOENT));
}

#[test]
fn it_is_as_small_as_a_pointer() {
    assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
}

#[test]
fn a_line_is_short_and_can_be_shown() {
    for (text, want) in [
        ("plain \u{e4}\u{4e2d} text", "plain \u{e4}\u{4e2d} text"),
        ("a\r\nb", "a  b"),
        ("\u{1b}[31m\u{7f}\u{9b}2J\u{0}\t", r"\u{1b}[31m\u{7f}\u{9b}2J\u{0}\t"),
        ("\u{202e}evil\u{2069}\u{2028}", r"\u{202e}evil\u{2069}\u{2028}"),
    ] {
        assert_eq!(brief(text), want);
    }
    let long = "\u{e4}".repeat(50_000);
    for value in [long.clone(), format!("{:?}", "a b ".repeat(50_000))] {
        let line = brief(&format!("mounts[1].type: {value} is none (so)"));
        assert!(line.len() < 600 && line.starts_with("mounts[1].type: "), "{line}");
        assert!(line.ends_with(" is none (so)") && line.contains("... "), "{line}");
    }
    let numbers: Vec<u32> = (0..70_000).collect();
    for value in [format!("{numbers:?}"), "a b ".repeat(1 << 20), "\u{1b} \n".repeat(999)]
        .into_iter()
        .chain(["e\"f\\ ", " \"x\" ", "\"", "'\"\\\""].map(|text| text.repeat(2000)))
    {
        let line = brief(&format!("process.x: call({value}): invalid (so); and {value}"));
        assert!(line.len() < 2400 && line.starts_with("process.x: call("), "{line}");
        assert!(line.contains("... "), "{line}");
        assert!(value.contains('"') || brief(&line) == line, "{line}");
    }
    for text in ["a: b ".repeat(1 << 20), "\u{1b} ".repeat(5000), "\"".repeat(9001)] {
        assert!(brief(&text).len() <= LINE);
    }
    assert_eq!(brief(""), "");
}

/// Of `field: rule`.
fn finding(text: &str) -> Error {
    let (field, rule) = text.split_once(": ").unwrap();
    Error::new(rule).at(field)
}

fn findings(errors: &[&str]) -> Findings {
    let mut findings = Findings::default();
    errors.iter().for_each(|text| findings.error(finding(text)));
    findings
}

#[test]
fn all_errors_are_one_line() {
    assert!(findings(&[]).finish(1).is_ok());
    let line = |texts: &[&str]| findings(texts).finish(()).unwrap_err().to_string();
    assert_eq!(line(&["root: required"]), "config.json: root: required");
    assert_eq!(line(&["a: b", "c: d"]), "config.json: 2 problems: a: b; c: d");
}

#[test]
fn a_thousand_errors_are_one_short_line() {
    let all: Vec<String> = (0..1000).map(|n| format!("mounts[{n}]: {}", "x".repeat(n))).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let line = findings(&all).finish(()).unwrap_err().to_string();
    assert!(line.len() < 4096, "{}", line.len());
    assert!(line.starts_with("config.json: 1000 problems: mounts[0]: ; mounts[1]: x; "));
    assert!(line.ends_with("; and 980 more (`pinnace plan` lists them all)"), "{line}");
    let mut findings = Findings::default();
    (0..1000).for_each(|n| findings.warn(Error::new(n.to_string())));
    let ((), warnings) = findings.finish(()).unwrap();
    assert_eq!(warnings.len(), 21);
    assert!(warnings[20].to_string().starts_with("and 980 more warnings: "), "{warnings:?}");
}

#[test]
fn what_is_told_to_who_asks_has_a_field_and_a_section_and_is_never_logged() {
    let mut findings = Findings::default();
    findings.tell(Error::new("x: y").at("hostName"));
    findings.tell(finding("process.capabilites: z"));
    findings.advise(finding("mounts: no /proc"));
    let list = findings.list();
    let seen: Vec<_> =
        list.iter().map(|f| (f.severity, f.field.as_str(), f.rule.as_str(), f.section)).collect();
    let warning = Severity::Warning;
    assert_eq!(
        seen,
        [
            (warning, "hostName", "x: y", "config.md, Extensibility"),
            (warning, "process.capabilites", "z", "config.md, Process"),
            (Severity::Advice, "mounts", "no /proc", "config.md, Mounts"),
        ]
    );
    assert_eq!(findings.finish(()).unwrap().1, []);
}

#[test]
fn a_finding_has_field_rule_and_section() {
    let mut findings =
        findings(&["process.rlimits[1].type: twice", "no cgroup: here", "linux.seccomp.x: y"]);
    findings.warn(finding("mounts[0].destination: is relative"));
    findings.advise(finding("mounts: no /proc"));
    let list = findings.list();
    let seen: Vec<_> = list.iter().map(|f| (f.field.as_str(), f.section)).collect();
    assert_eq!(
        seen,
        [
            ("process.rlimits[1].type", "config.md, POSIX process"),
            ("", ""),
            ("linux.seccomp.x", "config-linux.md, Seccomp"),
            ("mounts[0].destination", "config.md, Mounts"),
            ("mounts", "config.md, Mounts"),
        ]
    );
    assert_eq!((list[1].rule.as_str(), list[3].severity), ("no cgroup: here", Severity::Warning));
}
