//! Numbers of headers, and the records of extended headers (pax(1)).

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// The most bytes of one extended attribute (`XATTR_SIZE_MAX`).
const XATTR: usize = 64 << 10;
/// The most bytes of the names of all that a file has (`XATTR_LIST_MAX`).
const XATTR_NAMES: usize = 64 << 10;

/// What an extended header says of the next entry.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Records {
    /// Instead of the name.
    pub path: Option<Vec<u8>>,
    /// Instead of the link's name.
    pub link: Option<Vec<u8>>,
    /// Instead of the size.
    pub size: Option<u64>,
    /// Instead of the owner.
    pub uid: Option<u64>,
    /// Instead of the group.
    pub gid: Option<u64>,
    /// Instead of the time.
    pub mtime: Option<(i64, u32)>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Records {
    /// Reads `LENGTH KEY=VALUE\n` to the end.
    ///
    /// # Errors
    /// What is no record; a sparse file.
    pub fn parse(mut text: &[u8]) -> Result<Self> {
        let mut records = Self::default();
        while !text.is_empty() {
            let (key, value, rest) = record(text)
                .ok_or_else(|| Error::new("an extended header that is not made of records"))?;
            records.take(key, value)?;
            text = rest;
        }
        if records.xattrs.keys().map(|name| name.len() + 1).sum::<usize>() > XATTR_NAMES {
            return Err(Error::new("extended attributes whose names have more than 64 KiB"));
        }
        Ok(records)
    }

    /// A record without a value takes back what was said.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let name = || String::from_utf8_lossy(key);
        let wrong =
            || Error::new(format!("{}={:?} is no number", name(), String::from_utf8_lossy(value)));
        let number = || match value {
            [] => Ok(None),
            value => decimal(value).map(Some).ok_or_else(wrong),
        };
        let text = || Some(value.to_vec()).filter(|value| !value.is_empty());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value).ok_or_else(wrong)?),
            _ if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    if attribute.is_empty() || attribute.len() > 255 || attribute.contains(&0) {
                        return Err(Error::new("an extended attribute without a name"));
                    }
                    if value.len() > XATTR {
                        return Err(Error::new(format!("{} has more than 64 KiB", name())));
                    }
                    self.xattrs.insert(attribute.to_vec(), value.to_vec());
                }
            }
        }
        Ok(())
    }

    /// Readers disagree on what a global header does: only comments are let through.
    ///
    /// # Errors
    /// If it says something of entries.
    pub fn refuse_globals(&self) -> Result<()> {
        if *self == Self::default() {
            return Ok(());
        }
        Err(Error::new("a global header that changes entries: readers disagree on it"))
    }
}

/// The error of a sparse file.
pub fn sparse() -> Error {
    Error::new("a sparse file in GNU tar's own format").hint("make the layer without --sparse")
}

/// The first record and what is behind it.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&text[..space])?).ok()?;
    let record = text.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then(|| (&record[..equals], &record[equals + 1..], &text[length..]))
}

fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if is_number { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Seconds with a fraction, also before 1970: the fraction counts forward, as the kernel's.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain([b'0'; 9]).take(9);
    let nanos = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    match (is_negative, nanos) {
        (false, nanos) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, nanos) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

/// A field of a header: octal digits, or a number to the base 256 (GNU).
///
/// # Errors
/// What is neither, or negative.
pub fn number(field: &[u8], what: &str) -> Result<u64> {
    u64::try_from(signed(field, what)?)
        .map_err(|_| Error::new("a negative number in a header").at(what))
}

/// The same, also below zero.
///
/// # Errors
/// What is no number of 64 bits.
pub fn signed(field: &[u8], what: &str) -> Result<i64> {
    let wrong = || {
        let shown = field.escape_ascii();
        Error::new(format!("\"{shown}\" in a header is no number")).at(what)
    };
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        return base_256(field).ok_or_else(wrong);
    }
    let text = field.trim_ascii_start();
    let end = text.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    // Behind the digits stands nothing that could be meant.
    if rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return Err(wrong());
    }
    digits
        .iter()
        .try_fold(0i64, |sum, digit| match digit {
            b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
            _ => None,
        })
        .ok_or_else(wrong)
}

/// Two's complement, the first bit being the mark.
fn base_256(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    let is_negative = first & 0x40 != 0;
    let start = i128::from(first & 0x7f) - if is_negative { 0x80 } else { 0 };
    let value = rest
        .iter()
        .try_fold(start, |sum, byte| sum.checked_mul(256)?.checked_add(i128::from(*byte)))?;
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_tar_does() {
        for (field, wanted) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\0", Some(-256)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"12x\0\0\0\0\0", None),
            (b"12\x00345\0\0", None),
            (b"0000008\0", None),
        ] {
            assert_eq!(signed(field, "x").ok(), wanted, "{field:?}");
        }
    }

    #[test]
    fn records_are_read_strictly() {
        let read = |text: &[u8]| Records::parse(text);
        let good = read(b"9 path=a\n16 mtime=-1.250\n23 SCHILY.xattr.a.b=c=\n").unwrap();
        assert_eq!(good.path.as_deref(), Some(&b"a"[..]));
        assert_eq!(good.mtime, Some((-2, 750_000_000)));
        assert_eq!(good.xattrs, BTreeMap::from([(b"a.b".to_vec(), b"c=".to_vec())]));
        assert_eq!(read(b"9 path=a\n8 path=\n").unwrap(), Records::default());
        for bad in [
            &b"9 path=a"[..],
            b"11 path=a\n",
            b"8 path=a\n",
            b" 9 path=a\n",
            b"+9 path=a\n",
            b"5 =a\n",
            b"6 abc\n",
            b"99999999999999999999 a=b\n",
            b"11 size=-1\n",
            b"11 size=1k\n",
            b"25 GNU.sparse.major=1 ..\n",
        ] {
            read(bad).unwrap_err();
        }
    }
}
