//! JSON text to types, with an error that names the place and the field.

use super::explain::{self, OBJECT};
use crate::error::Error;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Parses `bytes`, the content of `name` (a file's name for the message).
///
/// Only on failure is the text looked at again to learn the path of the field,
/// so success costs nothing extra.
pub fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let error = Error::new(format!("not UTF-8 at byte {}", e.valid_up_to())).at(name);
        // The mark that UTF-16 begins with, in both orders of bytes.
        match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => error.hint("it is UTF-16: save it as UTF-8"),
            _ => error,
        }
    })?;
    parse_str(name, text)
}

/// As [`parse`], for text that is known to be UTF-8.
///
/// No string that it returns has a NUL character: what is made of them are C
/// strings, which end there.
pub fn parse_str<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Error> {
    let value = serde_json::from_str(text).map_err(|e| told(name, text, &e))?;
    // serde would take a list for an object, its items for the fields.
    if text.trim_ascii_start().starts_with('[') {
        return Err(Error::new(format!("{OBJECT}, found a list")).at(name));
    }
    match next_nul(text, 0) {
        Some(first) => {
            let fits = |other: &str| serde_json::from_str::<T>(other).is_ok();
            no_nul(name, text, first, &fits).map(|()| value)
        }
        None => Ok(value),
    }
}

/// Where the next escaped NUL is. JSON allows no other.
fn next_nul(text: &str, mut from: usize) -> Option<usize> {
    loop {
        let at = from + text.get(from..)?.find('\\')?;
        if text.as_bytes().get(at + 1..at + 6) == Some(b"u0000") {
            return Some(at);
        }
        // The escaped character may be a backslash.
        from = at + 2;
    }
}

/// How many NULs in properties that nobody knows are passed over.
const UNKNOWN: usize = 16;

/// An error if a string of the type that other texts `fits` or not has a NUL. In a
/// property that the type does not know it is ignored (config.md, "Extensibility").
fn no_nul(name: &str, text: &str, first: usize, fits: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    let mut nul = Some(first);
    for _ in 0..UNKNOWN {
        let Some(at) = nul else { return Ok(()) };
        let path = path_at(text, at);
        let bad = || Error::new("contains a NUL character").at(&path).at(name);
        let (start, end) = string_around(text, at).ok_or_else(bad)?;
        let after = text[end..].trim_start();
        // Of a key it is the value whose type is asked for.
        let value = match after.strip_prefix(':') {
            Some(value) => {
                let value = value.trim_start();
                let from = text.len() - value.len();
                let mut values =
                    serde_json::Deserializer::from_str(value).into_iter::<IgnoredAny>();
                values.next();
                from..from + values.byte_offset()
            }
            None => start..end,
        };
        // No string, and no object: whoever knows the property refuses it.
        let other = [&text[..value.start], "[[]]", &text[value.end..]].concat();
        if !fits(&other) {
            return Err(bad());
        }
        nul = next_nul(text, value.end.max(end));
    }
    Err(Error::new("too many NUL characters").at(name))
}

/// The string with its quotes around a place in valid JSON.
fn string_around(text: &str, place: usize) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        let start = at + text.get(at..)?.find('"')?;
        let end = start + string_length(&text.as_bytes()[start + 1..]) + 2;
        if end > place {
            return Some((start, end));
        }
        at = end;
    }
}

fn told(name: &str, text: &str, first: &serde_json::Error) -> Error {
    if text.trim().is_empty() {
        return Error::new("the file is empty").at(name);
    }
    let place = format!("line {} column {}", first.line(), first.column());
    if text.starts_with('\u{feff}') {
        return Error::new("a byte order mark").at(place).at(name).hint("save it without one");
    }
    // Nothing that begins so is an object, whatever may be wrong behind it.
    let start = text.trim_start();
    let whole = [("[", "a list"), ("\"", "a string"), ("null", "null")];
    if let Some((_, found)) = whole.iter().find(|(begins, _)| start.starts_with(begins)) {
        return Error::new(format!("{OBJECT}, found {found}")).at(name);
    }
    let offset = offset(text, first.line(), first.column());
    // serde_json appends the place to its message; it stands in front here.
    let message = first.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(before, _)| before);
    // Of these the place is that of the letter that should not be there.
    let letter = ["expected ", "trailing ", "key must ", "invalid number"]
        .iter()
        .any(|beginning| message.starts_with(beginning));
    let path = path_at(text, offset - usize::from(letter && offset > 0));
    let (path, error) = explain::explain(message, text, offset, path);
    let error = if path.is_empty() { error } else { error.at(path) };
    error.at(place).at(name)
}

/// The number of bytes before a place that serde_json has named.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let offset = (before + column).min(text.len());
    // Of a letter with several bytes the parser may name any.
    (offset..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(offset)
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
                "line 1 column 16: ociVersion: expected a string in double quotes, found the number 1 (write \"1\")",
            ),
            (
                r#"{"ociVersion": "1", "process": {"terminal": "yes"}}"#,
                "line 1 column 49: process.terminal: expected true or false, found the string \"yes\" (write true)",
            ),
            (
                r#"{"ociVersion": "1", "process": {"args": ["\"]}", {}]}}"#,
                "process.args[1]: expected a string in double quotes, found an object",
            ),
            (
                r#"{"ociVersion": "1", "process": {"args": {}}}"#,
                "process.args: expected a list of words, such as [\"sh\", \"-c\", \"id\"], found an object",
            ),
            (
                r#"{"ociVersion": "1", "process": [{}]}"#,
                "process: expected an object with terminal, consoleSize, cwd, env, args ..., found a list",
            ),
            (
                "{\"ociVersion\": \"1\",\n \"mounts\": [{\"destination\": \"/\"},\n{}]}",
                "line 3 column 2: mounts[1].destination: is missing",
            ),
            (
                r#"{"ociVersion": "1", "linux": {"resources": {"pids": {"limit": 1.5}}}}"#,
                "linux.resources.pids.limit: expected a whole number, found the number 1.5",
            ),
            (
                r#"{"ociVersion": "1", "annotations": {"a.b": "c", "d": null}}"#,
                "annotations.d: expected a string in double quotes, found null",
            ),
            ("{}", "ociVersion: is missing"),
        ] {
            let error = parse_str::<Spec>("config.json", text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn no_string_has_a_nul() {
        let parse = |rest: &str| {
            let text = format!(r#"{{"ociVersion": "1", {rest}}}"#);
            parse_str::<Spec>("config.json", &text).map_err(|error| error.to_string())
        };
        for (text, field) in [
            (r#""linux": {"maskedPaths": ["/a", "/p\u0000q"]}"#, "linux.maskedPaths[1]"),
            (r#""linux": {"sysctl": {"a": "\u0000"}}"#, "linux.sysctl.a"),
            (r#""linux": {"x": "\u0000", "sysctl": {"a\u0000": "1"}}"#, "linux.sysctl"),
            (r#""linux": {"mountLabel": "\\\u0000"}"#, "linux.mountLabel"),
            (r#""hostname": "h\u0000""#, "hostname"),
            (r#""mounts": [{"destination": "/", "options": ["\u0000"]}]"#, "mounts[0].options[0]"),
            (r#""annotations": {"\u0000": "x"}"#, "annotations"),
            (
                r#""linux": {"seccomp": {"defaultAction": "", "listenerPath": "\u0000"}}"#,
                "linux.seccomp.listenerPath",
            ),
            (
                r#""linux": {"resources": {"unified": {"a": "\u0000"}}}"#,
                "linux.resources.unified.a",
            ),
        ] {
            let wanted = format!("config.json: {field}: contains a NUL character");
            assert_eq!(parse(text).unwrap_err(), wanted, "{text}");
        }
        for text in [
            r#""unknown": "\u0000""#,
            r#""un\u0000known": {"a\u0000": ["\u0000", {"b": "\u0000"}]}, "hostname": "x""#,
            r#""hostname": "\\u0000""#,
        ] {
            parse(text).unwrap();
        }
        let many = vec![r#""\u0000""#; 100_000].join(",");
        assert!(parse(&format!(r#""unknown": [{many}]"#)).unwrap_err().contains("too many"));
    }
}
