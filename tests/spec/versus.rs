//! Our parser against oci-spec's: what both accept means the same, field by field,
//! and where only one accepts there is a reason.

use super::arbitrary::Arbitrary;
use super::leaves::{Leaf, Way, field, maximal, refusals, with};
use super::normal::normal;
use super::rng::Rng;
use super::schema::Schemas;
use super::values;
use super::{engines, examples, parse};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Which of the two takes what the other refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    ByUs,
    ByThem,
    /// Both take it, for different things.
    Otherwise,
}
use Taken::{ByThem, ByUs, Otherwise};

/// For which values of a field (`None`: left out), and why.
type Difference = (Taken, fn(&str, Option<&Value>) -> bool, &'static str);

const CAPABILITIES: &str = "process.capabilities.";
const FLAGS: &str = "process.scheduler.flags[0]";
const USER: [&str; 2] = ["process", "process.user"];
const UNSET: [&str; 4] = [
    "linux.resources.pids.limit",
    "process.ioPriority.priority",
    "process.user.gid",
    "process.user.uid",
];
const PAGES: &str = "linux.resources.hugepageLimits[0].limit";
const OURS: [&str; 2] = ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"];
const THEIRS: [&str; 2] = ["SCHED_RESET_ON_FORK", "SCHED_FLAG_D_L_OVERRUN"];
const PROPAGATIONS: [&str; 4] = ["private", "shared", "slave", "unbindable"];
const WAIT_KILLABLE: &str = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";

const DIFFERENCES: &[Difference] = &[
    (ByThem, |_, v| v == Some(&json!([])), "serde takes a list for an object"),
    (
        ByThem,
        |field, v| (v.is_none() || v == Some(&json!({}))) && !USER.contains(&field),
        "what is REQUIRED is 0 or empty if it is left out",
    ),
    (
        ByUs,
        |field, v| USER.contains(&field) && v != Some(&json!([])),
        "the schema lets `user` be left out: root",
    ),
    (
        ByThem,
        |field, v| field.ends_with(".args[0].index") && above(v, u32::MAX.into()),
        "a system call has six arguments",
    ),
    (
        ByThem,
        |field, v| field == "process.ioPriority.priority" && (above(v, 7) || below(v, 0)),
        "priorities are 0 to 7",
    ),
    (ByThem, |field, v| field == PAGES && below(v, 0), "uint64 in the spec; theirs has a sign"),
    (
        ByUs,
        |field, v| field == PAGES && above(v, i64::MAX as u64),
        "uint64 in the spec; theirs ends halfway",
    ),
    (
        ByUs,
        |field, v| UNSET.contains(&field) && v == Some(&Value::Null),
        "null is unset, as for Go",
    ),
    (
        Otherwise,
        |field, v| field.starts_with(CAPABILITIES) && v == Some(&json!("chown")),
        "CAP_CHOWN with them; with us not a name of capabilities(7)",
    ),
    (
        ByUs,
        |field, v| {
            let known = |v: &Value| v.as_str().is_none_or(|name| name.starts_with("CAP_"));
            field.starts_with(CAPABILITIES) && v.is_some_and(|v| !known(v))
        },
        "a capability that is not known only warns (config.md, `capabilities`)",
    ),
    (
        ByUs,
        |field, v| field.starts_with("process.execCPUAffinity.") && v == Some(&json!("")),
        "the schema allows it: unset",
    ),
    (
        ByUs,
        |field, v| field == "linux.resources.devices[0].type" && v == Some(&json!("")),
        "unset: all",
    ),
    (
        ByUs,
        |field, v| field == FLAGS && OURS.iter().any(|word| v == Some(&json!(word))),
        "theirs are made by a rule from the names in their code",
    ),
    (
        ByThem,
        |field, v| field == FLAGS && THEIRS.iter().any(|word| v == Some(&json!(word))),
        "not in the spec, see above",
    ),
    (
        ByThem,
        |field, v| field.ends_with("policy") && v == Some(&json!("SCHED_ISO")),
        "Linux has a number for it and nothing else",
    ),
    (
        ByThem,
        |field, v| field.ends_with("architectures[0]") && v == Some(&json!("SCMP_ARCH_NATIVE")),
        "a word of libseccomp, not of the spec",
    ),
    (
        ByThem,
        |field, v| {
            let known = |v: &Value| v.as_str().is_none_or(|v| PROPAGATIONS.contains(&v));
            field == "linux.rootfsPropagation" && v.is_some_and(|v| !known(v))
        },
        "they do not look at the word",
    ),
    (
        ByThem,
        |field, v| field == "linux.seccomp.flags[0]" && v == Some(&json!(WAIT_KILLABLE)),
        "seccomp(2) wants a listener with it",
    ),
];

fn above(value: Option<&Value>, limit: u64) -> bool {
    value.is_some_and(|n| n.as_u64() > Some(limit))
}

fn below(value: Option<&Value>, limit: i64) -> bool {
    value.is_some_and(|n| n.as_i64().is_some_and(|n| n < limit))
}

/// The row of the table for this value of a field.
fn difference(field: &str, value: Option<&Value>) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|(_, holds, _)| holds(field, value))
}

/// Whether the two may not agree on this value of a field.
pub fn is_told_apart(field: &str, value: &Value) -> bool {
    difference(field, Some(value)).is_some()
}

fn ours(text: &str) -> Result<Value, String> {
    let spec = parse(text).map_err(|error| error.to_string())?;
    Ok(normal("", values::spec(&spec)))
}

fn theirs(text: &str) -> Result<Value, String> {
    let spec: oci_spec::runtime::Spec =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(normal("", serde_json::to_value(spec).unwrap()))
}

/// What the examples of the spec, engines and people have written.
#[test]
fn written_configurations_mean_the_same_to_another_parser() {
    let mut all = examples::examples("config/good");
    all.extend(engines::configurations());
    let golden = ["example", "kubernetes"].map(|name| {
        let path = format!("{}/tests/golden/plan/{name}.config.json", env!("CARGO_MANIFEST_DIR"));
        (name.to_owned(), std::fs::read_to_string(path).unwrap())
    });
    all.extend(golden);
    assert_eq!(all.len(), 5 + 8 + 2);
    for (name, text) in all {
        assert_eq!(ours(&text).unwrap(), theirs(&text).unwrap(), "{name}");
    }
}

#[test]
fn random_configurations_mean_the_same_to_another_parser() {
    let mut schemas = Schemas::default();
    let mut arbitrary = Arbitrary { rng: Rng(0x5eed), schemas: &mut schemas };
    let mut lengths = 0;
    for _ in 0..400 {
        let config = arbitrary.configuration();
        assert_eq!(arbitrary.schemas.check("config-schema.json", &config), [""; 0], "{config:#}");
        let text = config.to_string();
        lengths += text.len();
        assert_eq!(ours(&text), theirs(&text), "{config:#}");
        assert!(ours(&text).is_ok(), "nobody takes {config:#}");
    }
    println!("400 configurations of {} bytes", lengths / 400);
}

/// A configuration with everything that both take, and where each value is.
fn base() -> (Value, Vec<Leaf>) {
    let (mut config, leaves) = maximal();
    for (pointer, value) in [
        ("/linux/resources/devices/0/type", "c"),
        ("/process/capabilities/ambient/0", "CAP_CHOWN"),
        ("/process/capabilities/bounding/0", "CAP_CHOWN"),
        ("/process/capabilities/effective/0", "CAP_CHOWN"),
        ("/process/capabilities/inheritable/0", "CAP_CHOWN"),
        ("/process/capabilities/permitted/0", "CAP_CHOWN"),
        ("/process/cwd", "/"),
        ("/process/scheduler/flags/0", "SCHED_FLAG_RECLAIM"),
    ] {
        *config.pointer_mut(pointer).unwrap() = json!(value);
    }
    (config, leaves)
}

/// The text without this member, if it is one.
fn without(config: &Value, way: &[String]) -> Option<String> {
    let (name, above) = way.split_last()?;
    let mut changed = config.clone();
    let above = above.iter().map(|part| format!("/{part}")).collect::<String>();
    changed.pointer_mut(&above)?.as_object_mut()?.remove(name)?;
    Some(changed.to_string())
}

/// What a field may be given, rightly or wrongly.
fn values_of(schema: &Value) -> Vec<Value> {
    let mut all = vec![
        json!(null),
        json!({}),
        json!([]),
        json!(1.5),
        json!(true),
        json!(""),
        json!("text"),
        json!(0),
        json!(1),
        json!(-1),
        json!(70_000),
        json!(1_u64 << 32),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(i64::MAX),
        // Words of theirs that the schema does not have.
        json!("SCMP_ARCH_NATIVE"),
        json!(THEIRS[0]),
        json!(THEIRS[1]),
        json!("a"),
        json!("chown"),
    ];
    all.extend(schema["enum"].as_array().into_iter().flatten().cloned());
    all.extend(["minimum", "maximum"].iter().filter_map(|limit| schema.get(limit)).cloned());
    all
}

/// Every field with every kind of value, and without one: the two agree whether
/// to take it and what it means, or the table tells why not. Since they check
/// nothing else, our planner is asked for words and numbers alone.
#[test]
fn each_field_is_taken_by_both_parsers_or_the_reason_is_known() {
    let (base, leaves) = base();
    assert_eq!(ours(&base.to_string()).unwrap(), theirs(&base.to_string()).unwrap());
    let mut ways: BTreeSet<Way> = BTreeSet::new();
    let mut cases: Vec<(Way, Option<Value>, bool)> = Vec::new();
    for Leaf { way, schema } in &leaves {
        let is_word = schema["enum"].is_array();
        let values = values_of(schema).into_iter();
        cases.extend(values.map(|value| (way.clone(), Some(value), is_word)));
        ways.extend((1..=way.len()).map(|length| way[..length].to_vec()));
    }
    for way in ways {
        let values = [None, Some(json!(null)), Some(json!([])), Some(json!({}))];
        cases.extend(values.map(|value| (way.clone(), value, false)));
    }
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::<&str>::new());
    for (way, value, is_word) in &cases {
        let text = match value {
            Some(value) => with(&base, way, value.clone()),
            None => match without(&base, way) {
                Some(text) => text,
                None => continue,
            },
        };
        let field = field(way);
        let told = || refusals(&text, &field) > refusals(&base.to_string(), &field);
        let seen = match (ours(&text), theirs(&text)) {
            (Err(_), Err(_)) => continue,
            (Err(_), Ok(_)) => ByThem,
            (Ok(_), Err(_)) if told() => continue,
            (Ok(_), Err(_)) => ByUs,
            (Ok(_), Ok(_)) if *is_word && told() => ByThem,
            (Ok(ours), Ok(theirs)) if ours == theirs => continue,
            (Ok(_), Ok(_)) => Otherwise,
        };
        match difference(&field, value.as_ref()) {
            Some((taken, _, reason)) if *taken == seen => drop(used.insert(*reason)),
            _ => wrong.push(format!("{field} = {value:?}: {seen:?}; {:?}", theirs(&text).err())),
        }
    }
    let cases = cases.len();
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    for (_, _, reason) in DIFFERENCES {
        assert!(used.contains(reason), "no longer so: {reason}");
    }
    println!("{cases} values");
}
