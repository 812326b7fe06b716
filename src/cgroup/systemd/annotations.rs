//! `org.systemd.property.NAME` annotations: any property of the unit, its value
//! in the text format of GVariant, as runc and crun read it. A name that ends
//! in `Sec` is given in seconds and becomes `USec` in microseconds.

use super::wire::{MOST_SIGNATURE, is_object_path, is_signature, is_type};
use super::{Property, Value};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

const PREFIX: &str = "org.systemd.property.";

/// The properties that the annotations set.
///
/// # Errors
/// A name that is none, a value that is not understood.
pub fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut all = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let wrong = |what: &str| Error::new(what).at(format_args!("annotations[{key:?}]"));
        // As in runc: it keeps surprises out.
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(wrong("is not the name of a property"));
        }
        let value = value(text).ok_or_else(|| {
            wrong(&format!("{text:?} is not a value, such as 'text' or uint64 5"))
        })?;
        all.push(match (name.strip_suffix("Sec").filter(|rest| !rest.ends_with('U')), value) {
            (Some(rest), Value::Number(_, seconds)) => {
                let micros = seconds.checked_mul(1_000_000).and_then(|n| u64::try_from(n).ok());
                let micros = micros.ok_or_else(|| wrong("is not a number of seconds"))?;
                (format!("{rest}USec"), Value::number(micros))
            }
            (Some(_), _) => return Err(wrong("is not a number of seconds")),
            (None, value) => (name.to_owned(), value),
        });
    }
    Ok(all)
}

/// The GVariant text format, without dictionaries, floats and maybes.
fn value(text: &str) -> Option<Value> {
    let mut reader = Reader { left: text, depth: 0 };
    let value = reader.value(None)?;
    reader.skip();
    // A variant holds it on the bus, whose signature has a limit.
    let whole = reader.left.is_empty() && value.signature().len() <= MOST_SIGNATURE;
    whole.then_some(value)
}

/// How deep values may be nested: no property needs more.
const DEPTH: usize = 8;

struct Reader<'a> {
    left: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.left = self.left.trim_start();
    }

    fn eat(&mut self, text: &str) -> bool {
        self.skip();
        let rest = self.left.strip_prefix(text);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }

    fn word(&mut self) -> &str {
        self.skip();
        let fits = |c: char| c.is_ascii_alphanumeric() || "-+_".contains(c);
        let (word, rest) =
            self.left.split_at(self.left.find(|c| !fits(c)).unwrap_or(self.left.len()));
        self.left = rest;
        word
    }

    /// A value, of type `kind` if that is known.
    fn value(&mut self, kind: Option<&str>) -> Option<Value> {
        self.skip();
        self.depth += 1;
        let value = if self.depth > DEPTH { None } else { self.value_here(kind) };
        self.depth -= 1;
        value.filter(|value| kind.is_none_or(|kind| kind == value.signature()))
    }

    fn value_here(&mut self, kind: Option<&str>) -> Option<Value> {
        match self.left.chars().next()? {
            quote @ ('\'' | '"') => self.text(quote, kind),
            '[' => self.list(kind),
            '(' => self.tuple(),
            '@' => {
                let end = self.left.find(' ')?;
                let named = Some(&self.left[1..end]).filter(|named| is_type(named))?;
                self.left = &self.left[end..];
                self.value(Some(named))
            }
            _ => self.plain(kind),
        }
    }

    fn plain(&mut self, kind: Option<&str>) -> Option<Value> {
        let named = match self.word() {
            "true" => return kind.is_none_or(|kind| kind == "b").then_some(Value::Bool(true)),
            "false" => return kind.is_none_or(|kind| kind == "b").then_some(Value::Bool(false)),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            number => return parse(number, kind.unwrap_or("i")),
        };
        self.value(Some(named))
    }

    fn text(&mut self, quote: char, kind: Option<&str>) -> Option<Value> {
        let letter = match kind.unwrap_or("s") {
            kind @ ("s" | "o" | "g") => kind.as_bytes()[0],
            _ => return None,
        };
        let mut text = String::new();
        let mut chars = self.left[1..].char_indices();
        loop {
            match chars.next()? {
                (at, c) if c == quote => {
                    self.left = &self.left[1 + at + 1..];
                    let valid = match letter {
                        b'o' => is_object_path(&text),
                        b'g' => is_signature(&text),
                        _ => true,
                    };
                    return valid.then_some(Value::Text(letter, text));
                }
                (_, '\\') => text.push(match chars.next()?.1 {
                    '\0' => return None,
                    'n' => '\n',
                    't' => '\t',
                    c => c,
                }),
                (_, '\0') => return None,
                (_, c) => text.push(c),
            }
        }
    }

    fn list(&mut self, kind: Option<&str>) -> Option<Value> {
        let mut item = match kind {
            None => None,
            Some(kind) => Some(kind.strip_prefix('a')?.to_owned()),
        };
        self.left = &self.left[1..];
        let mut values = Vec::new();
        while !self.eat("]") {
            if !values.is_empty() && !self.eat(",") {
                return None;
            }
            // A tuple has its types written out; others follow the first.
            let wanted = item.as_deref().filter(|kind| !kind.starts_with('('));
            let value = self.value(wanted)?;
            if *item.get_or_insert_with(|| value.signature()) != value.signature() {
                return None;
            }
            values.push(value);
        }
        Some(Value::Array(item?, values))
    }

    fn tuple(&mut self) -> Option<Value> {
        self.left = &self.left[1..];
        let mut values = Vec::new();
        while !self.eat(")") {
            if !values.is_empty() && !self.eat(",") {
                return None;
            }
            values.push(self.value(None)?);
        }
        (!values.is_empty()).then_some(Value::Struct(values))
    }
}

fn parse(text: &str, kind: &str) -> Option<Value> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => text.parse().ok()?,
    };
    let fits = match kind {
        "y" => u8::try_from(number).is_ok(),
        "n" => i16::try_from(number).is_ok(),
        "q" => u16::try_from(number).is_ok(),
        "i" => i32::try_from(number).is_ok(),
        "u" => u32::try_from(number).is_ok(),
        "x" => i64::try_from(number).is_ok(),
        "t" => u64::try_from(number).is_ok(),
        _ => false,
    };
    fits.then(|| Value::Number(kind.as_bytes()[0], number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Value {
        Value::Array("s".into(), texts.iter().map(|text| Value::text(*text)).collect())
    }

    #[test]
    fn values_have_types() {
        for (text, want) in [
            ("true", Value::Bool(true)),
            ("5", Value::Number(b'i', 5)),
            ("-1", Value::Number(b'i', -1)),
            ("uint64 5", Value::number(5)),
            ("@t 5", Value::number(5)),
            ("'a b'", Value::text("a b")),
            (r#""it\"s""#, Value::text("it\"s")),
            ("['a', 'b']", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            (
                "[('/dev/x', 'rw')]",
                Value::Array(
                    "(ss)".into(),
                    vec![Value::all([Value::text("/dev/x"), Value::text("rw")])],
                ),
            ),
        ] {
            assert_eq!(value(text), Some(want), "{text}");
        }
        assert_eq!(value(&"[".repeat(1 << 20)), None);
        for text in ["", "x", "'a", "[1, 'a']", "[]", "5 6", "byte 256", "@t -1", "()", "uint64"] {
            assert_eq!(value(text), None, "{text}");
        }
    }

    #[test]
    fn types_are_those_of_dbus_and_of_the_value() {
        for text in ["@as []", "@a(ss) []", "@(is) (1, 'a')", "@aai [[1], []]", "objectpath '/a'"] {
            assert!(value(text).is_some(), "{text}");
        }
        let long = format!("({})", ["1"; 300].join(","));
        for text in [
            "@a []",
            "[@a []]",
            "@azzz []",
            "@ []",
            "@a{sv} []",
            "@ss 'a'",
            "@(ii) (1, 'a')",
            "objectpath 'a'",
            "signature 'a'",
            "@aas ['a']",
            &format!("@a{} []", "a".repeat(300)),
            &format!("@a({}) []", "s".repeat(256)),
            &long,
            "'a\0b'",
            r"'\",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        let read = |name: &str, text: &str| {
            properties(&BTreeMap::from([(format!("{PREFIX}{name}"), text.to_owned())]))
        };
        let property = |name: &str, value| vec![(name.to_owned(), value)];
        assert_eq!(
            read("TimeoutStopSec", "uint64 2").unwrap(),
            property("TimeoutStopUSec", Value::number(2_000_000))
        );
        assert_eq!(
            read("TimeoutStopUSec", "uint64 2").unwrap(),
            property("TimeoutStopUSec", Value::number(2))
        );
        assert!(read("TimeoutStopSec", "'2'").is_err());
        assert!(read("Bad-Name", "true").is_err());
        assert!(read("KillMode", "control-group").is_err());
    }
}
