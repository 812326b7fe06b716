//! JSON text to types, with an error that names the place and the field.

use crate::error::Error;
use serde::de::DeserializeOwned;

/// Parses `bytes`, the content of `name` (a file's name for the message).
///
/// Only on failure is the text looked at again to learn the path of the field,
/// so success costs nothing extra.
pub fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::new(format!("{name}: not UTF-8 at byte {}", e.valid_up_to())))?;
    parse_str(name, text)
}

/// As [`parse`], for text that is known to be UTF-8.
pub fn parse_str<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| explain(name, text, &e))
}

fn explain(name: &str, text: &str, first: &serde_json::Error) -> Error {
    let place = format!("{name}: line {} column {}", first.line(), first.column());
    if text.trim().is_empty() {
        return Error::new(format!("{name}: the file is empty"));
    }
    let field = match path_at(text, offset(text, first.line(), first.column())) {
        path if path.is_empty() => path,
        path => format!("{path}: "),
    };
    let field = match first.to_string().split('`').collect::<Vec<_>>()[..] {
        ["missing field ", name, ..] => format!("{}{name}: ", field.replace(": ", ".")),
        _ => field,
    };
    // serde_json appends the place to its message; it stands in front here.
    let message = first.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    Error::new(format!("{place}: {field}{message}"))
}

/// The number of bytes before a place that serde_json has named.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column).min(text.len())
}

/// An object or array around a place in the text.
enum Level<'a> {
    /// With the key that was read last.
    Object(Option<&'a str>),
    /// With the number of elements before.
    Array(usize),
}

/// The path of the value at `offset`, as `mounts[2].options`. The text before
/// it has been read without an error, so brackets and strings are enough to
/// look at.
fn path_at(text: &str, offset: usize) -> String {
    let mut levels: Vec<Level<'_>> = Vec::new();
    let mut string = "";
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at).filter(|_| at < offset) {
        at += 1;
        match (byte, levels.last_mut()) {
            (b'{', _) => levels.push(Level::Object(None)),
            (b'[', _) => levels.push(Level::Array(0)),
            (b'}' | b']', _) => drop(levels.pop()),
            (b':', Some(Level::Object(key))) => *key = Some(string),
            (b',', Some(Level::Object(key))) => *key = None,
            (b',', Some(Level::Array(count))) => *count += 1,
            (b'"', _) => {
                let length = string_length(&text.as_bytes()[at..]);
                string = text.get(at..at + length).unwrap_or_default();
                at += length + 1;
            }
            _ => {}
        }
    }
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object(Some(key)) if path.is_empty() => path.push_str(key),
            Level::Object(Some(key)) => path.extend([".", key]),
            Level::Object(None) => {}
            Level::Array(count) => path.push_str(&format!("[{count}]")),
        }
    }
    path
}

/// How far the closing quote is.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    let closing = |byte: &u8| {
        let found = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        found
    };
    text.iter().position(closing).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::parse_str;
    use crate::spec::Spec;

    #[test]
    fn an_error_names_the_field() {
        for (text, wanted) in [
            (
                r#"{"ociVersion": 1}"#,
                "line 1 column 16: ociVersion: invalid type: integer `1`, expected a string",
            ),
            (
                r#"{"ociVersion": "1", "process": {"terminal": "yes"}}"#,
                "line 1 column 49: process.terminal: invalid type: string \"yes\", expected a boolean",
            ),
            (
                r#"{"ociVersion": "1", "process": {"args": ["\"]}", {}]}}"#,
                "process.args[1]: invalid type: map",
            ),
            (r#"{"ociVersion": "1", "process": {"args": {}}}"#, "process.args: invalid type: map"),
            (r#"{"ociVersion": "1", "process": [{}]}"#, "process"),
            (
                "{\"ociVersion\": \"1\",\n \"mounts\": [{\"destination\": \"/\"},\n{}]}",
                "line 3 column 2: mounts[1].destination: missing field `destination`",
            ),
            (
                r#"{"ociVersion": "1", "linux": {"resources": {"pids": {"limit": 1.5}}}}"#,
                "linux.resources.pids.limit: invalid type: floating point `1.5`",
            ),
            (
                r#"{"ociVersion": "1", "annotations": {"a.b": "c", "d": null}}"#,
                "annotations.d: invalid type: null",
            ),
            ("{}", "ociVersion: missing field"),
        ] {
            let error = parse_str::<Spec>("config.json", text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
