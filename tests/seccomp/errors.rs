//! Every refusal names its field.

use crate::{compile, parse};
use pinnace::security::seccomp::{LOG, TRACE, USER_NOTIF};
use pinnace::sys::seccomp as sys;

#[test]
fn refusals_name_the_field() {
    let allow = r#""defaultAction":"SCMP_ACT_ALLOW","#;
    let rule = |rest: &str| format!(r#"{allow}"syscalls":[{{"names":["read"],{rest}}}]"#);
    let arg = |rest: &str| rule(&format!(r#""action":"SCMP_ACT_LOG","args":[{{{rest}}}]"#));
    for (json, message) in [
        (r#""defaultAction":"ALLOW""#.into(), "defaultAction: unknown value \"ALLOW\""),
        (
            r#""defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1"#.into(),
            "defaultErrnoRet: SCMP_ACT_KILL takes no errno",
        ),
        (
            r#""defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096"#.into(),
            "defaultErrnoRet: 4096 is above 4095",
        ),
        (
            format!(r#"{allow}"architectures":["SCMP_ARCH_VAX"]"#),
            "architectures[0]: unknown architecture \"SCMP_ARCH_VAX\"",
        ),
        (
            format!(r#"{allow}"flags":["SECCOMP_FILTER_FLAG_LOG","X"]"#),
            "flags[1]: unknown value \"X\"",
        ),
        (
            format!(r#"{allow}"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#),
            "flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no meaning without SCMP_ACT_NOTIFY",
        ),
        (
            format!(r#"{allow}"listenerMetadata":"x""#),
            "listenerMetadata: must not be set without listenerPath",
        ),
        (
            format!(r#"{allow}"syscalls":[{{"names":[],"action":"SCMP_ACT_LOG"}}]"#),
            "syscalls[0].names: must contain",
        ),
        (
            format!(r#"{allow}"syscalls":[{{"names":[""],"action":"SCMP_ACT_LOG"}}]"#),
            "syscalls[0].names[0]: is empty",
        ),
        (rule(r#""action":"LOG""#), "syscalls[0].action: unknown value \"LOG\""),
        (
            rule(r#""action":"SCMP_ACT_ALLOW","errnoRet":1"#),
            "syscalls[0].errnoRet: SCMP_ACT_ALLOW takes no errno",
        ),
        (
            rule(r#""action":"SCMP_ACT_TRACE","errnoRet":65536"#),
            "syscalls[0].errnoRet: 65536 is above 65535",
        ),
        (rule(r#""action":"SCMP_ACT_NOTIFY""#), "listenerPath: is needed for SCMP_ACT_NOTIFY"),
        (
            arg(r#""index":6,"value":0,"op":"SCMP_CMP_EQ""#),
            "syscalls[0].args[0].index: 6 is above 5",
        ),
        (arg(r#""index":0,"value":0,"op":"EQ""#), "syscalls[0].args[0].op: unknown value \"EQ\""),
    ] {
        let error = compile(&parse(&format!("{{{json}}}"))).unwrap_err().to_string();
        let expected = format!("linux.seccomp.{message}");
        assert!(error.starts_with(&expected), "{error}\nnot {expected}");
    }
}

#[test]
fn contradictions_are_refused_unless_an_unconditional_rule_decides() {
    let same = r#"{"names":["kill"],"action":"SCMP_ACT_LOG","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]},
        {"names":["kill"],"action":"SCMP_ACT_TRAP","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]}"#;
    let profile = |rules: &str| {
        parse(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rules}]}}"#))
    };
    let error = compile(&profile(same)).unwrap_err().to_string();
    assert!(
        error.starts_with("linux.seccomp.syscalls[1]: the same conditions for \"kill\""),
        "{error}"
    );
    let decided = format!(r#"{same},{{"names":["kill"],"action":"SCMP_ACT_LOG"}}"#);
    let kill = u32::try_from(libc::SYS_kill).unwrap();
    assert_eq!(compile(&profile(&decided)).unwrap().verdict_of(kill), Some(LOG));
}

#[test]
fn unknown_calls_are_skipped_and_told() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","nope"],"action":"SCMP_ACT_TRACE"}]}"#;
    let filter = compile(&parse(json)).unwrap();
    assert_eq!(filter.skipped, ["nope"]);
    assert_eq!(
        filter.verdict_of(u32::try_from(libc::SYS_read).unwrap()),
        Some(TRACE | 1),
        "EPERM is the default"
    );
}

#[test]
fn flags_are_spec_allow_unless_set() {
    let flags = |rest: &str| {
        compile(&parse(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{rest}}}"#))).unwrap().flags
    };
    assert_eq!(flags(""), sys::FLAG_SPEC_ALLOW);
    assert_eq!(flags(r#","flags":[]"#), 0);
    assert_eq!(
        flags(r#","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG"]"#),
        sys::FLAG_TSYNC | sys::FLAG_LOG
    );
    let notify = r#","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "listenerPath":"/x","syscalls":[{"names":["mount"],"action":"SCMP_ACT_NOTIFY"}]"#;
    let all = sys::FLAG_TSYNC
        | sys::FLAG_TSYNC_ESRCH
        | sys::FLAG_NEW_LISTENER
        | sys::FLAG_WAIT_KILLABLE_RECV;
    assert_eq!(flags(notify), all);
}

#[test]
fn what_can_be_said_under_a_filter_is_known() {
    let filter = |default: &str, names: &str, action: &str| {
        compile(&parse(&format!(
            r#"{{"defaultAction":"{default}","listenerPath":"/run/agent","listenerMetadata":"m",
                "syscalls":[{{"names":[{names}],"action":"{action}"}}]}}"#
        )))
        .unwrap()
    };
    let speaks = |default, names, action| filter(default, names, action).lets_us_speak();
    let (allow, notify, errno) = ("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY", "SCMP_ACT_ERRNO");
    assert!(speaks(allow, r#""mount","execve""#, notify));
    assert!(speaks(errno, r#""sendmsg","exit_group""#, "SCMP_ACT_LOG"));
    assert!(!speaks(allow, r#""sendmsg""#, notify));
    assert!(!speaks(allow, r#""exit_group""#, errno));
    assert!(!speaks(errno, r#""sendmsg""#, allow));
    assert!(!speaks(notify, r#""read""#, allow));
    assert_eq!(filter(errno, r#""execve""#, allow).allows("execve"), Some(true));
    assert_eq!(filter(notify, r#""read""#, allow).allows("execve"), None);
    assert_eq!(filter(errno, r#""read""#, allow).allows("execve"), Some(false));

    let one = filter(allow, r#""mount""#, notify);
    let listener = one.listener.as_ref().unwrap();
    assert_eq!((listener.path.as_str(), listener.metadata.as_str()), ("/run/agent", "m"));
    assert_eq!(one.verdict_of(u32::try_from(libc::SYS_mount).unwrap()), Some(USER_NOTIF));
    let ignored = filter(allow, r#""mount""#, "SCMP_ACT_LOG");
    assert_eq!(ignored.listener, None, "the path is ignored");
}
