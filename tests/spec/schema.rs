//! As much of JSON Schema (draft 4) as the spec's schemas use: `$ref`, `type`,
//! `properties`, `patternProperties`, `additionalProperties`, `required`,
//! `items`, `minItems`, `enum`, `pattern`, `minimum`, `maximum`, `anyOf`, `allOf`.

use super::fixtures;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs;

/// The schemas, each file read once.
#[derive(Default)]
pub struct Schemas {
    files: HashMap<String, Value>,
}

/// A schema, and the file that its `#` means.
#[derive(Clone)]
pub struct Place {
    pub file: String,
    pub schema: Value,
}

impl Schemas {
    /// The schema at a reference such as `defs.json#/definitions/Hook`.
    pub fn find(&mut self, from: &str, reference: &str) -> Place {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if file.is_empty() { from } else { file };
        let whole = self.files.entry(file.to_owned()).or_insert_with(|| {
            let text = fs::read(fixtures().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            serde_json::from_slice(&text).unwrap()
        });
        let schema = whole.pointer(pointer).unwrap_or_else(|| panic!("{reference}")).clone();
        self.follow(Place { file: file.to_owned(), schema })
    }

    /// Follows `$ref`, and takes the only member of an `anyOf`.
    pub fn follow(&mut self, place: Place) -> Place {
        if let Some(reference) = place.schema["$ref"].as_str() {
            return self.find(&place.file, reference);
        }
        match place.schema["anyOf"].as_array().map(Vec::as_slice) {
            Some([only]) => self.below(&place, only),
            _ => place,
        }
    }

    pub fn below(&mut self, place: &Place, schema: &Value) -> Place {
        self.follow(Place { file: place.file.clone(), schema: schema.clone() })
    }

    /// What is wrong with a document, each with its path.
    pub fn check(&mut self, reference: &str, document: &Value) -> Vec<String> {
        let place = self.find("", reference);
        let mut wrong = Vec::new();
        self.visit(&place, "", document, &mut wrong);
        wrong
    }

    fn visit(&mut self, place: &Place, path: &str, value: &Value, wrong: &mut Vec<String>) {
        let schema = place.schema.as_object().unwrap();
        let known = "description $schema id definitions default type properties required items \
            enum pattern minimum maximum additionalProperties patternProperties anyOf allOf minItems";
        for word in schema.keys() {
            assert!(known.split_whitespace().any(|k| k == word), "the checker lacks {word:?}");
        }
        if let Some(types) = schema.get("type") {
            let types = types.as_array().cloned().unwrap_or_else(|| vec![types.clone()]);
            if !types.iter().any(|name| is_a(value, name.as_str().unwrap())) {
                wrong.push(format!("{path}: not of type {types:?}"));
            }
        }
        if schema.get("enum").is_some_and(|list| !list.as_array().unwrap().contains(value)) {
            wrong.push(format!("{path}: {value} is not in the list"));
        }
        if let (Some(pattern), Some(text)) = (schema.get("pattern"), value.as_str())
            && !matches(pattern.as_str().unwrap(), text)
        {
            wrong.push(format!("{path}: {text:?} does not match {pattern}"));
        }
        for (word, sign) in [("minimum", 1.0), ("maximum", -1.0)] {
            if let (Some(limit), Some(n)) = (schema.get(word), value.as_f64())
                && (n - limit.as_f64().unwrap()) * sign < 0.0
            {
                wrong.push(format!("{path}: {n} is beyond {limit}"));
            }
        }
        for part in schema.get("allOf").into_iter().flat_map(|list| list.as_array().unwrap()) {
            let part = self.below(place, part);
            self.visit(&part, path, value, wrong);
        }
        if let Some(list) = schema.get("anyOf") {
            let fits = list.as_array().unwrap().iter().any(|part| {
                let (part, mut inner) = (self.below(place, part), Vec::new());
                self.visit(&part, path, value, &mut inner);
                inner.is_empty()
            });
            if !fits {
                wrong.push(format!("{path}: none of anyOf"));
            }
        }
        match value {
            Value::Object(object) => self.object(place, path, object, wrong),
            Value::Array(list) => {
                let least = schema.get("minItems").map_or(0, |n| n.as_u64().unwrap());
                if (list.len() as u64) < least {
                    wrong.push(format!("{path}: fewer than {least}"));
                }
                if let Some(items) = schema.get("items") {
                    let items = self.below(place, items);
                    for (i, item) in list.iter().enumerate() {
                        self.visit(&items, &format!("{path}/{i}"), item, wrong);
                    }
                }
            }
            _ => {}
        }
    }

    fn object(
        &mut self,
        place: &Place,
        path: &str,
        object: &Map<String, Value>,
        wrong: &mut Vec<String>,
    ) {
        let schema = &place.schema;
        for name in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(name.as_str().unwrap()) {
                wrong.push(format!("{path}: {name} is missing"));
            }
        }
        for (name, value) in object {
            let below = schema["properties"].get(name).or_else(|| {
                let patterns = schema["patternProperties"].as_object();
                let found = patterns.into_iter().flatten().find(|(p, _)| matches(p, name));
                found.map(|(_, below)| below)
            });
            let below = match (below, &schema["additionalProperties"]) {
                (Some(below), _) => below.clone(),
                (None, Value::Bool(false)) => {
                    wrong.push(format!("{path}: unknown {name:?}"));
                    continue;
                }
                (None, below @ Value::Object(_)) => below.clone(),
                _ => continue,
            };
            let below = self.below(place, &below);
            self.visit(&below, &format!("{path}/{name}"), value, wrong);
        }
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => panic!("type {name:?}"),
    }
}

/// The patterns of the schemas: there are seven.
fn matches(pattern: &str, text: &str) -> bool {
    let upper = |rest: &str| rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    match pattern {
        ".{1,}" => !text.is_empty(),
        "^[cbup]$" => matches!(text, "c" | "b" | "u" | "p"),
        "^CAP_[A-Z_]+$" => text.strip_prefix("CAP_").is_some_and(upper),
        "^RLIMIT_[A-Z]+$" => text.strip_prefix("RLIMIT_").is_some_and(upper),
        "^[0-9, -]*$" => text.bytes().all(|b| b.is_ascii_digit() || b", -".contains(&b)),
        "^MB:[^\\n]*$" => text.starts_with("MB:") && !text.contains('\n'),
        "^[1-9][0-9]*[KMG]B$" => {
            let number = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
            number.is_some_and(|n| !n.starts_with('0') && n.parse::<u64>().is_ok())
        }
        _ => panic!("the checker lacks the pattern {pattern:?}"),
    }
}
