//! What is wrong with a document that does not parse, in words of people who write JSON by
//! hand: the parser speaks of its own types.

use super::known;
use crate::error::Error;
use std::borrow::Cow;

/// The longest value that is shown again, as it should have been written.
const SHOWN: usize = 80;

/// So many keys of an object are named.
const KEYS: usize = 5;

/// What a document as a whole must be.
pub(super) const OBJECT: &str = "expected an object, { ... }";

/// The parser's words for the text itself, and ours.
const SYNTAX: [(&str, &str); 11] = [
    ("EOF while parsing an object", "the file ends before the closing }"),
    ("EOF while parsing a list", "the file ends before the closing ]"),
    ("EOF while parsing a string", "the file ends within a string: its second quote is missing"),
    ("EOF while parsing a value", "the file ends where a value is expected"),
    ("key must be a string", "expected a key in double quotes"),
    ("expected ident", "expected true, false or null"),
    ("trailing characters", "there is more behind the end of the object"),
    ("recursion limit exceeded", "too many levels of lists and objects"),
    ("control character", "a line break or another control character in a string"),
    ("invalid escape", "a backslash that escapes nothing: write \\\\ for a backslash"),
    ("invalid number", "not a number in JSON"),
];

/// What the text has at the place of a mistake, and what JSON says of it.
const HABITS: [(&str, &str); 9] = [
    ("//", "JSON has no comments"),
    ("/*", "JSON has no comments"),
    ("#", "JSON has no comments"),
    ("'", "strings stand in double quotes"),
    ("\u{201c}", "strings stand in plain double quotes"),
    ("True", "true is written in lower case"),
    ("False", "false is written in lower case"),
    ("None", "nothing is written null"),
    ("NaN", "there is no such number in JSON"),
];

/// The parser's message at `offset` of `text`, which is the value of `path`: the path of the
/// field that it is about, and the error without it.
pub(super) fn explain(message: &str, text: &str, offset: usize, path: String) -> (String, Error) {
    for (kind, words) in
        [("missing field", "is missing"), ("duplicate field", "stands there twice")]
    {
        if let Some(name) = message.strip_prefix(kind).and_then(|rest| rest.split('`').nth(1)) {
            let dot = if path.is_empty() { "" } else { "." };
            return (format!("{path}{dot}{name}"), Error::new(words));
        }
    }
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some((found, wanted)) =
            message.strip_prefix(kind).and_then(|rest| rest.rsplit_once(", expected "))
        {
            // The parser has read the bracket of a list that is not wanted.
            let is_inside = found == "sequence"
                && wanted.starts_with("an object")
                && text[..offset].trim_end().ends_with('[');
            let outer = path.strip_suffix("[0]").filter(|_| is_inside).map(str::to_owned);
            let path = outer.unwrap_or(path);
            let error = of_type(found, wanted, &path);
            return (path, error);
        }
    }
    let words = SYNTAX.iter().find(|(theirs, _)| message.starts_with(theirs));
    let error = Error::new(words.map_or(message, |(_, ours)| ours));
    let at = text[..offset].char_indices().next_back().map_or(0, |(at, _)| at);
    let habit = HABITS.iter().find(|(habit, _)| text[at..].starts_with(habit));
    let hint = match habit {
        Some((_, hint)) => Some((*hint).to_owned()),
        None if message == "invalid number" => octal(zeros(text, at)),
        None => None,
    };
    (path, hinted(error, hint))
}

/// The number with leading zeros around `at`.
fn zeros(text: &str, at: usize) -> &str {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let start = at - text.as_bytes()[..at].iter().rev().take_while(|byte| digits(byte)).count();
    let length = text.as_bytes()[start..].iter().take_while(|byte| digits(byte)).count();
    &text[start..start + length]
}

/// What modes are usually written in.
fn octal(digits: &str) -> Option<String> {
    let number = u32::from_str_radix(digits, 8).ok()?;
    Some(format!("octal {digits} is {number}"))
}

/// The parser's types in the words of JSON.
const TYPES: [(&str, &str); 11] = [
    ("i64", "a whole number"),
    ("i32", "a whole number"),
    ("u64", "a whole number, 0 or more"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u16", "a whole number from 0 to 65535"),
    ("a boolean", "true or false"),
    ("a string", "a string in double quotes"),
    ("a sequence", "a list of strings, such as [\"a\", \"b\"]"),
    ("a map", "an object of strings, such as {\"a\": \"b\"}"),
    ("a list of objects", "a list of objects, [{ ... }]"),
    ("an object of objects", "an object of objects, {\"name\": { ... }}"),
];

/// Fields that can be told more of than their type.
const FIELDS: [(&str, &str); 5] = [
    ("args", "a list of words, such as [\"sh\", \"-c\", \"id\"]"),
    ("additionalGids", "a list of numbers, such as [10, 20]"),
    ("umask", MODE),
    ("fileMode", MODE),
    ("timeout", "a number of seconds, such as 10"),
];
const MODE: &str = "a decimal number, such as 18 for octal 022";
const BYTES: &str = "a number of bytes, such as 536870912";

/// A value of another type than that of its field.
fn of_type(found: &str, wanted: &str, path: &str) -> Error {
    let field = path.rsplit('.').next().unwrap_or_default();
    let (name, in_list) = field.split_once('[').map_or((field, false), |(name, _)| (name, true));
    let (kind, value) = found.split_once(' ').unwrap_or((found, ""));
    let value = value.rsplit('`').nth(1).unwrap_or(value);
    let shown = match kind {
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        "string" => format!("the string {value}"),
        "integer" | "floating" => format!("the number {value}"),
        "boolean" => value.to_owned(),
        _ => kind.to_owned(),
    };
    let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let text = text.filter(|text| text.len() <= SHOWN && !text.contains('\\'));
    let hint = match (wanted, text) {
        ("a boolean", _) => boolean(text.unwrap_or(value)).map(|value| format!("write {value}")),
        ("a string", _) if kind == "sequence" || kind == "map" || value.is_empty() => None,
        ("a string", _) => Some(format!("write {value:?}")),
        ("a list of objects", _) if kind == "map" => Some("write [{ ... }]".to_owned()),
        ("a sequence" | "a list of objects", Some(text)) => Some(list(text, name)),
        _ if is_number(wanted) => number(text.unwrap_or(value), text.is_some(), name),
        _ => None,
    };
    let expected = expected(wanted, path, (name, in_list));
    hinted(Error::new(format!("expected {expected}, found {shown}")), hint)
}

fn hinted(error: Error, hint: Option<String>) -> Error {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Whether one of the parser's types is a number.
fn is_number(wanted: &str) -> bool {
    wanted.ends_with(|letter: char| letter.is_ascii_digit())
}

/// Whether a field is a number of bytes.
fn is_size(path: &str, name: &str) -> bool {
    ["limit", "reservation", "swap", "kernel", "kernelTCP"].contains(&name)
        && (path.contains("memory.") || path.contains("hugepageLimits"))
}

fn expected(wanted: &str, path: &str, (name, in_list): (&str, bool)) -> Cow<'static, str> {
    let of = |table: &[(&str, &'static str)], key: &str| {
        table.iter().find(|(theirs, _)| *theirs == key).map(|(_, ours)| Cow::Borrowed(*ours))
    };
    if is_number(wanted) && is_size(path, name) {
        return BYTES.into();
    }
    let own = of(&FIELDS, name).filter(|_| !in_list && wanted != "a list of objects");
    own.or_else(|| of(&TYPES, wanted)).unwrap_or_else(|| {
        // Of a document that is not a configuration the keys are not known by their path.
        let mut keys = known::keys(path).filter(|_| !path.is_empty());
        let first: Vec<&str> = keys.by_ref().take(KEYS).collect();
        match (first.is_empty(), keys.next()) {
            (true, _) => "an object".into(),
            (false, more) => {
                let more = if more.is_some() { " ..." } else { "" };
                format!("an object with {}{more}", first.join(", ")).into()
            }
        }
    })
}

/// Something else in the place of a number.
fn number(text: &str, is_quoted: bool, name: &str) -> Option<String> {
    if name == "soft" || name == "hard" {
        // What getrlimit(2) calls RLIM_INFINITY has other names elsewhere.
        let words = ["-1", "unlimited", "infinity", "rlim_infinity"];
        let is_word = words.iter().any(|word| word.eq_ignore_ascii_case(text));
        return is_word.then(|| format!("no limit is {}", u64::MAX));
    }
    if !is_quoted {
        return None;
    }
    if name == "umask" || name == "fileMode" {
        return octal(text);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(format!("write {number}, without quotes"));
    }
    let of_names = match name {
        "uid" => Some(format!("`id -u {text}` tells the number")),
        "gid" => Some(format!("`getent group {text}` tells the number")),
        _ => None,
    };
    of_names.or_else(|| size(text).map(|bytes| format!("write {bytes}")))
}

/// A number of bytes with a unit by powers of 1024, such as `512m` or `1 GiB`.
fn size(text: &str) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    let power = ["k", "m", "g", "t"].iter().position(|known| *known == unit)?;
    number.parse::<u64>().ok()?.checked_mul(1024 << (10 * power))
}

fn boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match is_one_of(["true", "yes", "on", "1"]) {
        true => Some(true),
        false => is_one_of(["false", "no", "off", "0"]).then_some(false),
    }
}

/// A string in the place of a list.
fn list(text: &str, name: &str) -> String {
    let words: Vec<&str> = match name {
        "args" => text.split_whitespace().collect(),
        "additionalGids" => return format!("write [{text}]"),
        "options" => text.split(',').map(str::trim).collect(),
        _ => vec![text],
    };
    format!("write {words:?}")
}
