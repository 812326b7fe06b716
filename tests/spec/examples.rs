//! The spec's own examples.

use super::schema::Schemas;
use super::{fixtures, parse, preview};
use std::fs;

pub fn examples(kind: &str) -> Vec<(String, String)> {
    let dir = fixtures().join("test").join(kind);
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn good_configurations_parse() {
    let mut schemas = Schemas::default();
    let good = examples("config/good");
    assert_eq!(good.len(), 5);
    for (name, text) in good {
        let document = serde_json::from_str(&text).unwrap();
        assert_eq!(schemas.check("config-schema.json", &document), [""; 0], "{name}");
        if let Err(error) = parse(&text) {
            panic!("{name}: {error}");
        }
    }
}

/// By the parser, or else by the planner.
#[test]
fn r110_bad_configurations_are_refused() {
    let bad = examples("config/bad");
    assert_eq!(bad.len(), 4);
    for (name, text) in bad {
        match parse(&text) {
            Err(error) => assert!(error.to_string().starts_with("config.json: line "), "{error}"),
            Ok(spec) => assert!(preview(&spec).is_refused(), "{name} is accepted"),
        }
    }
}

/// Whoever checks our documents must see what is wrong with others.
#[test]
fn the_checker_finds_what_is_wrong() {
    let mut schemas = Schemas::default();
    for (kind, schema) in [("config", "config-schema.json"), ("features", "features-schema.json")] {
        for (name, text) in examples(&format!("{kind}/bad")) {
            let Ok(document) = serde_json::from_str(&text) else { continue };
            assert!(!schemas.check(schema, &document).is_empty(), "{name}");
        }
    }
    for (kind, schema) in [("features", "features-schema.json"), ("state", "state-schema.json")] {
        for (name, text) in examples(&format!("{kind}/good")) {
            let document = serde_json::from_str(&text).unwrap();
            assert_eq!(schemas.check(schema, &document), [""; 0], "{name}");
        }
    }
}
