//! D-Bus messages (D-Bus Specification, "Marshaling"): as much of them as the
//! calls to systemd need. Little-endian, as the first byte says.

use crate::error::{Error, Result};

/// A value with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `b`.
    Bool(bool),
    /// One of `y n q i u x t`.
    Number(u8, i128),
    /// `s`, `o` or `g`.
    Text(u8, String),
    /// Items of this type.
    Array(String, Vec<Value>),
    /// `(...)`.
    Struct(Vec<Value>),
    /// `v`.
    Variant(Box<Value>),
}

impl Value {
    /// `s`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(b's', text.into())
    }

    /// `t`.
    pub fn number(number: u64) -> Self {
        Self::Number(b't', number.into())
    }

    /// `(...)` of several.
    pub fn all(values: impl IntoIterator<Item = Self>) -> Self {
        Self::Struct(values.into_iter().collect())
    }

    /// Its type in the letters of D-Bus.
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".into(),
            Self::Number(kind, _) | Self::Text(kind, _) => char::from(*kind).into(),
            Self::Array(kind, _) => format!("a{kind}"),
            Self::Struct(values) => {
                format!("({})", values.iter().map(Self::signature).collect::<String>())
            }
            Self::Variant(_) => "v".into(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => number(out, u32::from(*value).into(), 4),
            Self::Number(kind, value) => number(out, *value, size_of(*kind)),
            Self::Text(b'g', text) => {
                debug_assert!(text.len() <= MOST_SIGNATURE);
                out.push(text.len() as u8);
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
            Self::Text(_, text) => {
                number(out, text.len() as i128, 4);
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
            Self::Array(kind, values) => {
                number(out, 0, 4);
                let length_at = out.len() - 4;
                pad(out, kind.bytes().next().map_or(1, alignment));
                let start = out.len();
                values.iter().for_each(|value| value.write(out));
                let length = (out.len() - start) as u32;
                out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
            Self::Struct(values) => {
                pad(out, 8);
                values.iter().for_each(|value| value.write(out));
            }
            Self::Variant(value) => {
                Self::Text(b'g', value.signature()).write(out);
                value.write(out);
            }
        }
    }
}

/// The longest signature (D-Bus Specification, "Valid Signatures").
pub const MOST_SIGNATURE: usize = 255;

/// Whether a text is one complete type (D-Bus Specification, "Type System"),
/// without dictionaries: nothing here writes any.
pub fn is_type(text: &str) -> bool {
    text.len() <= MOST_SIGNATURE && after_type(text.as_bytes(), 0) == Some(&[])
}

/// Whether a text is a list of complete types.
pub fn is_signature(text: &str) -> bool {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        let Some(rest) = after_type(left, 0) else { return false };
        left = rest;
    }
    text.len() <= MOST_SIGNATURE
}

/// What follows the first type. Arrays and structures may each be 32 deep; that
/// many of both are enough.
fn after_type(text: &[u8], depth: u8) -> Option<&[u8]> {
    let (kind, mut rest) = text.split_first()?;
    match kind {
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g'
        | b'h' | b'v' => Some(rest),
        _ if depth == 32 => None,
        b'a' => after_type(rest, depth + 1),
        b'(' => {
            rest = after_type(rest, depth + 1)?;
            while rest.first()? != &b')' {
                rest = after_type(rest, depth + 1)?;
            }
            rest.get(1..)
        }
        _ => None,
    }
}

/// Whether a text is an object path (D-Bus Specification, "Valid Object Paths").
pub fn is_object_path(text: &str) -> bool {
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(fits))
}

fn size_of(kind: u8) -> usize {
    match kind {
        b'y' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' => 8,
        _ => 4,
    }
}

fn alignment(kind: u8) -> usize {
    match kind {
        b'(' | b'{' => 8,
        b'g' | b'v' => 1,
        kind => size_of(kind),
    }
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn number(out: &mut Vec<u8>, value: i128, size: usize) {
    pad(out, size);
    out.extend_from_slice(&value.to_le_bytes()[..size]);
}

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Name on the bus.
    pub destination: &'a str,
    /// Object.
    pub path: &'a str,
    /// Interface.
    pub interface: &'a str,
}

/// A method call; `serial` must not be 0.
pub fn call(serial: u32, to: Target<'_>, member: &str, arguments: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|value| value.write(&mut body));
    let field = |code: i128, kind: u8, text: &str| {
        let value = Value::Text(kind, text.to_owned());
        Value::all([Value::Number(b'y', code), Value::Variant(Box::new(value))])
    };
    let mut fields = vec![
        field(1, b'o', to.path),
        field(2, b's', to.interface),
        field(3, b's', member),
        field(6, b's', to.destination),
    ];
    if !arguments.is_empty() {
        let signature: String = arguments.iter().map(Value::signature).collect();
        fields.push(field(8, b'g', &signature));
    }
    // Little-endian, a call, no flags, version 1.
    let mut out = vec![b'l', 1, 0, 1];
    number(&mut out, body.len() as i128, 4);
    number(&mut out, serial.into(), 4);
    Value::Array("(yv)".into(), fields).write(&mut out);
    pad(&mut out, 8);
    out.extend_from_slice(&body);
    out
}

/// What came in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// 2 a reply, 3 an error, 4 a signal.
    pub kind: u8,
    /// Of a signal: its name; of an error: its name, too.
    pub name: String,
    /// Of a reply: the serial of the call.
    pub reply_to: u32,
    /// The name on the bus of who has sent it.
    pub sender: String,
    /// The strings and paths of the body, in order.
    pub texts: Vec<String>,
}

/// Takes the first message out of `bytes`, if it is there as a whole.
///
/// # Errors
/// What is not D-Bus, or big-endian.
pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Message>> {
    if bytes.len() < 16 {
        return Ok(None);
    }
    let bad = || Error::new("D-Bus: a message that makes no sense");
    let word = |at: usize| {
        bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    let (body, fields) = (word(4) as usize, word(12) as usize);
    // What is said of units is short; the specification allows 128 MiB.
    if bytes[0] != b'l' || body.max(fields) > 1 << 20 {
        return Err(bad());
    }
    let body_at = (16 + fields).next_multiple_of(8);
    if bytes.len() < body_at + body {
        return Ok(None);
    }
    let mut message = Message { kind: bytes[1], ..Message::default() };
    let mut reader = Reader { bytes: &bytes[..16 + fields], at: 16 };
    let mut signature = String::new();
    while reader.at < 16 + fields {
        reader.align(8);
        let code = reader.byte().ok_or_else(bad)?;
        let kind = reader.short_text().ok_or_else(bad)?;
        match (code, kind.as_str()) {
            (5, "u") => message.reply_to = reader.word().ok_or_else(bad)?,
            (8, "g") => signature = reader.short_text().ok_or_else(bad)?,
            (7, "s") => message.sender = reader.text().ok_or_else(bad)?,
            (3 | 4, "s") => message.name = reader.text().ok_or_else(bad)?,
            (_, "s" | "o") => drop(reader.text().ok_or_else(bad)?),
            (_, "u") => drop(reader.word().ok_or_else(bad)?),
            _ => return Err(bad()),
        }
    }
    let mut reader = Reader { bytes: &bytes[..body_at + body], at: body_at };
    // Only basic types are read, and a text that is a property's: no other is asked for.
    for kind in signature.bytes() {
        match kind {
            b's' | b'o' => message.texts.push(reader.text().ok_or_else(bad)?),
            b'u' | b'i' | b'b' => drop(reader.word().ok_or_else(bad)?),
            b'v' if reader.short_text().as_deref() == Some("s") => {
                message.texts.push(reader.text().ok_or_else(bad)?);
            }
            _ => break,
        }
    }
    bytes.drain(..body_at + body);
    Ok(Some(message))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn word(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn rest_of_text(&mut self, length: usize) -> Option<String> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.take(1)?;
        Some(text)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.word()?;
        self.rest_of_text(length as usize)
    }

    fn short_text(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.rest_of_text(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Target<'_> = Target { destination: "d.d", path: "/p", interface: "i.i" };

    /// As `dbus-send` and `busctl` put it on the wire.
    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let bytes = call(7, TO, "M", &[Value::text("ab"), Value::Number(b'u', 5)]);
        assert_eq!(&bytes[..16], [b'l', 1, 0, 1, 12, 0, 0, 0, 7, 0, 0, 0, 72, 0, 0, 0]);
        assert_eq!(&bytes[16..28], [1, 1, b'o', 0, 2, 0, 0, 0, b'/', b'p', 0, 0]);
        assert_eq!(bytes.len(), 16 + 72 + 12);
        assert_eq!(&bytes[bytes.len() - 12..], [2, 0, 0, 0, b'a', b'b', 0, 0, 5, 0, 0, 0]);
    }

    #[test]
    fn arrays_of_structs_are_aligned() {
        let pair = |n| Value::all([Value::text("a"), Value::number(n)]);
        let value = Value::Array("(st)".into(), vec![pair(1), pair(2)]);
        assert_eq!(value.signature(), "a(st)");
        let mut out = Vec::new();
        value.write(&mut out);
        let one = |n| [1, 0, 0, 0, b'a', 0, 0, 0, n, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(out, [&[32, 0, 0, 0, 0, 0, 0, 0][..], &one(1), &one(2)].concat());
    }

    #[test]
    fn what_is_written_can_be_read() {
        let first = call(3, TO, "First", &[Value::text("x"), Value::Text(b'o', "/y".into())]);
        let second = call(4, TO, "Second", &[Value::Number(b'u', 1), Value::text("z")]);
        let mut bytes = [first.as_slice(), second.as_slice()].concat();
        let last = bytes.pop().unwrap();
        let message = take(&mut bytes).unwrap().unwrap();
        assert_eq!((message.kind, message.name.as_str()), (1, "First"));
        assert_eq!(message.texts, ["x", "/y"]);
        assert_eq!(take(&mut bytes).unwrap(), None);
        bytes.push(last);
        assert_eq!(take(&mut bytes).unwrap().unwrap().texts, ["z"]);
        assert!(bytes.is_empty());
    }

    #[test]
    fn types_are_complete() {
        let longest = format!("({})", "s".repeat(MOST_SIGNATURE - 2));
        for good in [longest.as_str(), "s", "as", "a(ss)", "aa(sa(iv))", "(i)", "ad"] {
            assert!(is_type(good), "{good}");
        }
        let (deep, long) = ("a".repeat(33) + "s", format!("({})", "s".repeat(300)));
        for bad in ["", "a", "zzz", "ss", "()", "(s", "s)", "a{sv}", "(a)", "\u{e4}", &deep, &long]
        {
            assert!(!is_type(bad), "{bad}");
        }
        assert!(is_signature("") && is_signature("sa(ss)u") && !is_signature("sa"));
        assert!(is_object_path("/") && is_object_path("/a/b_1"));
        for bad in ["", "a", "/a/", "//", "/a-b", "/\u{e4}"] {
            assert!(!is_object_path(bad), "{bad}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(take(&mut vec![b'B'; 16]).is_err());
        let mut bytes = call(1, TO, "M", &[]);
        bytes[12] = 3; // fields that end within one
        assert!(take(&mut bytes).is_err());
    }
}
