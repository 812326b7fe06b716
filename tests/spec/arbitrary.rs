//! Configurations by chance, the same in every run: each is valid by the schema.

use super::rng::Rng;
use super::schema::{Place, Schemas};
use super::versus::is_told_apart;
use serde_json::{Map, Value, json};

/// Words where the schema takes any text, and a reader may not.
const WORDS: &[(&str, &[&str])] = &[
    ("ociVersion", &["1.0.0", "1.3.0"]),
    ("process.capabilities.", &["CAP_CHOWN", "CAP_BPF", "CAP_SYS_ADMIN"]),
    ("process.rlimits[0].type", &["RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_RTTIME"]),
    ("process.execCPUAffinity.", &["0", "0-3,7"]),
    ("linux.devices[0].type", &["c", "b", "u", "p"]),
    ("linux.resources.devices[0].type", &["a", "c", "b"]),
    ("linux.resources.hugepageLimits[0].pageSize", &["2MB", "1GB"]),
    ("linux.intelRdt.memBwSchema", &["MB:0=70", "MB:"]),
    ("", &["", "x", "/a/../b", "a=b", "\u{e4}\"\n\\", "null"]),
];

/// What one of the readers demands and the schema does not.
const NEEDED: &[&str] = &["linux.memoryPolicy.mode", "linux.personality.domain", "process.user"];

pub struct Arbitrary<'a> {
    pub rng: Rng,
    pub schemas: &'a mut Schemas,
}

impl Arbitrary<'_> {
    pub fn configuration(&mut self) -> Value {
        let whole = self.schemas.find("", "config-schema.json");
        self.value(&whole, "")
    }

    /// `field` as in our messages; all items of a list are `[0]` in it, all
    /// members of a map `any`.
    fn value(&mut self, place: &Place, field: &str) -> Value {
        if let Some(items) = place.schema.get("items") {
            let items = self.schemas.below(place, items);
            let count = place.schema["minItems"].as_u64().unwrap_or(0) + self.rng.below(3);
            return (0..count).map(|_| self.value(&items, &format!("{field}[0]"))).collect();
        }
        let members = self.members(place, field);
        if !members.is_empty()
            || place.schema["type"] == "object"
            || place.schema["allOf"].is_array()
        {
            return Value::Object(members);
        }
        let mut values = (0..100).map(|_| self.leaf(&place.schema, field));
        values.find(|value| !is_told_apart(field, value)).unwrap_or_else(|| panic!("{field}"))
    }

    fn members(&mut self, place: &Place, field: &str) -> Map<String, Value> {
        let schema = &place.schema;
        let mut all = Map::new();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let part = self.schemas.below(place, part);
            all.extend(self.members(&part, field));
        }
        let required = schema["required"].as_array();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let below = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
            let needed = required.is_some_and(|list| list.contains(&json!(name)))
                || NEEDED.contains(&below.as_str())
                || name == "rate";
            if !super::leaves::IGNORED.contains(&name.as_str()) && (needed || self.rng.below(4) > 0)
            {
                let place = self.schemas.below(place, schema);
                let value = self.value(&place, &below);
                all.insert(name.clone(), value);
            }
        }
        let any = schema["patternProperties"].as_object().and_then(|map| map.values().next());
        if let Some(schema) =
            any.or(Some(&schema["additionalProperties"]).filter(|s| s.is_object()))
        {
            let place = self.schemas.below(place, schema);
            for name in ["one", "t.w/o"].iter().take(usize::try_from(self.rng.below(3)).unwrap()) {
                let value = self.value(&place, &format!("{field}.any"));
                all.insert((*name).into(), value);
            }
        }
        all
    }

    fn leaf(&mut self, schema: &Value, field: &str) -> Value {
        if let Some(words) = schema["enum"].as_array() {
            return self.rng.pick(&words.iter().collect::<Vec<_>>()).clone();
        }
        match schema["type"].as_str() {
            Some("boolean") => json!(self.rng.below(2) == 0),
            Some("integer") => {
                // Without a limit in the schema it is an int of Go's; none needs more than 32 bits.
                let low = schema["minimum"].as_i64().unwrap_or(i32::MIN.into());
                let high = schema["maximum"].as_u64().unwrap_or(i32::MAX as u64);
                let between = [json!(self.rng.below(9)), json!(self.rng.below(70_000)), json!(-1)];
                let limits = [json!(low), json!(high), json!(low + 1), json!(high - 1)];
                let fits = |n: &&Value| {
                    n.as_u64().map_or(n.as_i64() >= Some(low), |n| n <= high)
                        && n.as_i64().is_none_or(|n| n >= low)
                };
                let all: Vec<&Value> = between.iter().chain(&limits).filter(fits).collect();
                self.rng.pick(&all).clone()
            }
            _ => {
                let words = WORDS.iter().find(|(place, _)| field.starts_with(place)).unwrap().1;
                json!(self.rng.pick(words))
            }
        }
    }
}
