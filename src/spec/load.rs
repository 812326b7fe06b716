//! JSON text to types, with an error that names the place and the field.

use crate::error::Error;
use serde::de::DeserializeOwned;

/// Parses `bytes`, the content of `name` (a file's name for the message).
///
/// Only when that fails is the text looked at again, to learn the path of the
/// field from the place of the error: success costs nothing extra.
pub fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::new(format!("{name}: not UTF-8 at byte {}", e.valid_up_to())))?;
    parse_str(name, text)
}

/// As [`parse`], for text that is known to be UTF-8.
pub fn parse_str<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| explain(name, text, &e))
}

fn explain(name: &str, text: &str, error: &serde_json::Error) -> Error {
    if text.trim().is_empty() {
        return Error::new(format!("{name}: the file is empty"));
    }
    let place = format!("{name}: line {} column {}", error.line(), error.column());
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let read = before.map(str::len).sum::<usize>() + error.column();
    let field = match field_at(text, read) {
        field if field.is_empty() => field,
        field => format!("{field}: "),
    };
    // serde_json appends the place to its message; it stands in front here.
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    Error::new(format!("{place}: {field}{message}"))
}

/// Where a reader is.
enum Inside<'text> {
    Object(Option<&'text str>),
    List(usize),
}

/// The path of the value that a reader who has read `read` bytes is in, or has
/// just left, as `mounts[0].destination`.
fn field_at(text: &str, read: usize) -> String {
    let bytes = text.as_bytes();
    let mut inside = Vec::new();
    let mut at = 0;
    while at < read.min(bytes.len()) {
        match bytes[at] {
            b'{' => inside.push(Inside::Object(None)),
            b'[' => inside.push(Inside::List(0)),
            b'}' | b']' => drop(inside.pop()),
            b',' => match inside.last_mut() {
                Some(Inside::Object(key)) => *key = None,
                Some(Inside::List(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let start = at + 1;
                at = start;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if let Some(Inside::Object(key)) = inside.last_mut() {
                    *key = key.or(text.get(start..at));
                }
            }
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for step in inside {
        match step {
            Inside::Object(Some(key)) if path.is_empty() => path.push_str(key),
            Inside::Object(Some(key)) => path.extend([".", key]),
            Inside::Object(None) => {}
            Inside::List(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::field_at;

    #[test]
    fn a_place_has_a_path() {
        let text = r#"{"a": {"b\"": [1, {"c": "d", "e": 2}]}, "f": null}"#;
        for (until, path) in [
            ("", ""),
            ("{\"a\":", "a"),
            ("[", r#"a.b\"[0]"#),
            ("[1,", r#"a.b\"[1]"#),
            ("\"d", r#"a.b\"[1].c"#),
            ("\"e\": 2", r#"a.b\"[1].e"#),
            ("2}", r#"a.b\"[1]"#),
            ("2}]", r#"a.b\""#),
            ("2}]}", "a"),
            ("null", "f"),
            ("null}", ""),
        ] {
            let read = text.find(until).unwrap() + until.len();
            assert_eq!(field_at(text, read), path, "after {until:?}");
        }
    }
}
