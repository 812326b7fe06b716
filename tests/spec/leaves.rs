//! Every property of the schema, from a configuration that has them all: a wrong
//! type, a number too small or too large, a word that the list does not have.

use super::schema::{Place, Schemas};
use super::{parse, preview};
use serde_json::{Map, Value, json};

/// A way to a value: names of members and places in lists.
pub type Way = Vec<String>;

/// A property, its schema, and where it is.
pub struct Leaf {
    pub way: Way,
    pub schema: Value,
}

/// Properties of other platforms.
pub const IGNORED: &[&str] = &["windows", "solaris", "zos", "vm", "freebsd", "username"];

/// A value for a schema, and the leaves in it.
fn fill(schemas: &mut Schemas, place: &Place, way: &Way, leaves: &mut Vec<Leaf>) -> Value {
    let schema = &place.schema;
    let below = |name: &str| -> Way { way.iter().cloned().chain([name.to_owned()]).collect() };
    let mut all = Map::new();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let part = schemas.below(place, part);
        if let Value::Object(object) = fill(schemas, &part, way, leaves) {
            all.extend(object);
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if !IGNORED.contains(&name.as_str()) {
            let place = schemas.below(place, schema);
            all.insert(name.clone(), fill(schemas, &place, &below(name), leaves));
        }
    }
    let any = schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
    if let Some(schema) = any.or(Some(&schema["additionalProperties"]).filter(|s| s.is_object())) {
        let place = schemas.below(place, schema);
        all.insert("any".into(), fill(schemas, &place, &below("any"), leaves));
    }
    let first = schema["enum"].as_array().and_then(|list| list.first());
    if let Some(items) = schema.get("items") {
        let items = schemas.below(place, items);
        return json!([fill(schemas, &items, &below("0"), leaves)]);
    }
    if !all.is_empty() || schema["type"] == "object" {
        return Value::Object(all);
    }
    leaves.push(Leaf { way: way.clone(), schema: schema.clone() });
    match (first, schema["type"].as_str(), schema["pattern"].as_str()) {
        (Some(first), ..) => first.clone(),
        (_, Some("boolean"), _) => json!(true),
        (_, Some("integer"), _) => json!(1),
        (.., Some("^[1-9][0-9]*[KMG]B$")) => json!("2MB"),
        (.., Some("^[cbup]$")) => json!("c"),
        (.., Some("^RLIMIT_[A-Z]+$")) => json!("RLIMIT_CORE"),
        (.., Some("^[0-9, -]*$")) => json!("0"),
        (.., Some("^MB:[^\\n]*$")) => json!("MB:0=70"),
        _ if way.len() == 1 && way[0] == "ociVersion" => json!("1.3.0"),
        _ => json!("x"),
    }
}

pub fn maximal() -> (Value, Vec<Leaf>) {
    let mut schemas = Schemas::default();
    let whole = schemas.find("", "config-schema.json");
    let mut leaves = Vec::new();
    let config = fill(&mut schemas, &whole, &Way::new(), &mut leaves);
    assert_eq!(schemas.check("config-schema.json", &config), [""; 0]);
    let mut config = config;
    // What the schema's first word does not go with, or would hide a finding.
    for (pointer, value) in [
        ("/linux/devices/0/path", json!("/dev/x")),
        ("/linux/seccomp/defaultAction", json!("SCMP_ACT_ERRNO")),
        ("/linux/seccomp/syscalls/0/action", json!("SCMP_ACT_ERRNO")),
    ] {
        *config.pointer_mut(pointer).unwrap() = value;
    }
    (config, leaves)
}

/// As our messages name it: `mounts[0].destination`.
pub fn field(way: &[String]) -> String {
    way.iter().fold(String::new(), |field, part| match part.as_str() {
        "0" => format!("{field}[0]"),
        part if field.is_empty() => part.to_owned(),
        part => format!("{field}.{part}"),
    })
}

pub fn with(config: &Value, way: &[String], value: Value) -> String {
    let mut changed = config.clone();
    *changed.pointer_mut(&format!("/{}", way.join("/"))).unwrap() = value;
    changed.to_string()
}

/// How often the text is refused by a message that names the field.
pub fn refusals(text: &str, field: &str) -> usize {
    let spec = match parse(text) {
        Err(error) => return error.to_string().contains(field).into(),
        Ok(spec) => spec,
    };
    let document = preview(&spec).to_json();
    let findings = document["findings"].as_array().unwrap().iter();
    let named = |finding: &&Value| {
        finding["severity"] == "error" && finding["field"].as_str().unwrap().starts_with(field)
    };
    findings.filter(named).count()
}

fn is_refused(text: &str, field: &str) -> bool {
    refusals(text, field) > 0
}

#[test]
fn a_configuration_with_everything_parses() {
    let (config, leaves) = maximal();
    assert!(leaves.len() > 170, "{} leaves", leaves.len());
    parse(&config.to_string()).unwrap();
}

#[test]
fn r110_r299_a_wrong_type_is_refused_by_its_path() {
    let (config, leaves) = maximal();
    let mut wrong = Vec::new();
    for leaf in &leaves {
        let field = field(&leaf.way);
        for value in [json!({"object": 1}), json!([[]]), json!(1.5), json!(true), json!("text")] {
            let fits = match leaf.schema["type"].as_str() {
                Some("boolean") => value.is_boolean(),
                Some("integer") => value.is_i64(),
                _ => value.is_string(),
            };
            if fits {
                continue;
            }
            match parse(&with(&config, &leaf.way, value.clone())) {
                Err(error) if error.to_string().contains(&field) => {}
                Err(error) => wrong.push(format!("{field} = {value}: {error}")),
                Ok(_) => wrong.push(format!("{field} = {value} is taken")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn r110_a_wrong_type_of_a_branch_is_refused_by_its_path() {
    let (config, leaves) = maximal();
    let mut wrong = Vec::new();
    let mut branches: Vec<&[String]> =
        leaves.iter().flat_map(|leaf| (1..leaf.way.len()).map(|n| &leaf.way[..n])).collect();
    branches.sort();
    branches.dedup();
    for way in branches {
        let field = field(way);
        let there = config.pointer(&format!("/{}", way.join("/"))).unwrap();
        let other = if there.is_array() { json!({}) } else { json!([]) };
        for value in [json!("text"), other] {
            match parse(&with(&config, way, value.clone())) {
                Err(error) if error.to_string().contains(&field) => {}
                Err(error) => wrong.push(format!("{field}: {error}")),
                Ok(_) => wrong.push(format!("{field} = {value} is taken")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// serde would take the items for the fields, one by one.
#[test]
fn r110_a_list_is_not_taken_for_an_object() {
    for (field, part) in [
        ("process.user", json!({"process": {"cwd": "/", "user": [0, 0, null, []]}})),
        ("linux.netDevices.eth0", json!({"linux": {"netDevices": {"eth0": ["eth1"]}}})),
        ("linux.timeOffsets.boottime", json!({"linux": {"timeOffsets": {"boottime": [1, 0]}}})),
        ("root", json!({"root": ["rootfs", false]})),
        ("mounts[0]", json!({"mounts": [["/a", "tmpfs", "tmpfs", [], [], []]]})),
    ] {
        let mut config = json!({"ociVersion": "1.3.0"});
        config.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        let error = parse(&config.to_string()).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains("expected an object"), "{error}");
    }
}

#[test]
fn r110_a_number_out_of_range_is_refused_by_its_path() {
    let (config, leaves) = maximal();
    let mut wrong = Vec::new();
    for leaf in leaves.iter().filter(|leaf| leaf.schema["type"] == "integer") {
        let field = field(&leaf.way);
        for (limit, step) in [("minimum", -1), ("maximum", 1)] {
            let Some(limit) = leaf.schema[limit].as_number() else { continue };
            // Beyond 64 bits only the text can hold it.
            let beyond = limit.to_string().parse::<i128>().unwrap() + step;
            let text = with(&config, &leaf.way, json!("BEYOND"))
                .replace("\"BEYOND\"", &beyond.to_string());
            // Engines pass st_mode with the bits of the type: they are cut off.
            if !is_refused(&text, &field) && field != "linux.devices[0].fileMode" {
                wrong.push(format!("{field} = {beyond} is taken"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn r110_r299_an_unknown_word_is_refused_by_its_path() {
    let (config, leaves) = maximal();
    let mut wrong = Vec::new();
    let lists = |leaf: &&Leaf| leaf.schema.get("enum").or(leaf.schema.get("pattern")).is_some();
    for leaf in leaves.iter().filter(lists) {
        let field = field(&leaf.way);
        if !is_refused(&with(&config, &leaf.way, json!("no such word")), &field) {
            wrong.push(format!("{field} is taken"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
