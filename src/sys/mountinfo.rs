//! The table of mounts (`proc_pid_mountinfo(5)`): one reader for all who ask it. A path in it may
//! be no text, so the table is bytes.

use super::file;
use crate::error::{Context, Result};
use rustix::fd::BorrowedFd;
use rustix::fs::CWD;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// The file below a procfs.
const FILE: &str = "self/mountinfo";

/// The table of the caller's own mount namespace, by the procfs at `/proc`.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read() -> Result<Vec<u8>> {
    file::read_at(CWD, format!("/proc/{FILE}")).call(|| format!("read /proc/{FILE}"))
}

/// The same by the procfs that `proc` is the root of.
///
/// # Errors
/// As [`read`].
pub fn read_at(proc: BorrowedFd<'_>) -> Result<Vec<u8>> {
    file::read_at(proc, FILE).call(|| format!("read /proc/{FILE}"))
}

/// One mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its id, as statx(2) has it.
    pub id: u64,
    /// The id of the mount that it lies on.
    pub parent: u64,
    /// The type of its file system.
    pub kind: &'a [u8],
    /// The options of its superblock.
    pub options: &'a [u8],
    point: &'a [u8],
}

impl Row<'_> {
    /// Where it is, seen from the reader's root, with the octal escapes undone.
    #[must_use]
    pub fn point(&self) -> PathBuf {
        let (mut path, mut rest) = (Vec::with_capacity(self.point.len()), self.point);
        while let Some((&byte, after)) = rest.split_first() {
            let escaped = (byte == b'\\').then(|| after.get(..3).and_then(octal)).flatten();
            path.push(escaped.unwrap_or(byte));
            rest = if escaped.is_some() { &after[3..] } else { after };
        }
        OsString::from_vec(path).into()
    }
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// The rows of a table, in its order. A line that is none is passed over.
pub fn rows(table: &[u8]) -> impl DoubleEndedIterator<Item = Row<'_>> {
    table.split(|byte| *byte == b'\n').filter_map(row)
}

/// `id parent device root point options [optional]... - kind source options`.
fn row(line: &[u8]) -> Option<Row<'_>> {
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let point = fields.nth(2)?;
    fields.find(|field| *field == b"-")?;
    let (kind, options) = (fields.next()?, fields.nth(1)?);
    Some(Row { id, parent, kind, options, point })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_row_is_taken_apart() {
        let table =
            b"31 23 0:28 / /a\\040b\\134040\xff rw shared:9 master:2 - tmpfs none rw,size=1\n\
            no row\n32 31 0:29 /x / rw - proc proc rw\n";
        let all: Vec<_> = rows(table).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].id, all[0].parent), (31, 23));
        assert_eq!((all[0].kind, all[0].options), (&b"tmpfs"[..], &b"rw,size=1"[..]));
        assert_eq!(all[0].point(), OsStr::from_bytes(b"/a b\\040\xff"));
        assert_eq!((all[1].kind, all[1].point()), (&b"proc"[..], PathBuf::from("/")));
    }

    #[test]
    fn the_own_table_has_a_root() {
        assert!(rows(&read().unwrap()).any(|row| row.point() == OsStr::new("/")));
    }
}
