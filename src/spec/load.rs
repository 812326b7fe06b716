//! JSON text to types, with an error that names the place and the field.

use crate::error::Error;
use serde::de::DeserializeOwned;

/// Parses `bytes`, the content of `name` (a file's name for the message).
///
/// The fast parser runs first; only when it fails is the text read again to
/// learn the path of the field, so success costs nothing extra.
pub fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::new(format!("{name}: not UTF-8 at byte {}", e.valid_up_to())))?;
    parse_str(name, text)
}

/// As [`parse`], for text that is known to be UTF-8.
pub fn parse_str<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| explain::<T>(name, text, &e))
}

fn explain<T: DeserializeOwned>(name: &str, text: &str, first: &serde_json::Error) -> Error {
    let place = format!("{name}: line {} column {}", first.line(), first.column());
    if text.trim().is_empty() {
        return Error::new(format!("{name}: the file is empty"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let field = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(e) if e.path().to_string() != "." => format!("{}: ", e.path()),
        _ => String::new(),
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
