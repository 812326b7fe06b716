//! Names of system calls to rows, rows to numbers.
//!
//! `names.rs` is for people and never reaches the binary: what does is packed
//! from it here by the compiler into flat arrays without pointers (which would
//! each cost a relocation at start), about 33 KB.

use super::names::{ABIS, ROWS};

const COUNT: usize = ROWS.len();
const TEXT: usize = text_len();
/// A power of two, so sparse that two probes find nearly every name.
const BUCKETS: usize = 2048;
const EMPTY: u16 = u16::MAX;

/// The ABI lacks the call.
const NONE: u16 = u16::MAX;
/// From here on a cell is one of ARM's private calls.
const PRIVATE: u16 = 0xF000;

static NAMES: [u8; TEXT] = text();
static STARTS: [u16; COUNT + 1] = starts();
static NUMBERS: [[u16; COUNT]; ABIS] = numbers();
static INDEX: [u16; BUCKETS] = index();
static MUX: [u8; COUNT] = mux();

/// Calls that old ABIs reach through socketcall(2), by its first argument from
/// 1 on (linux/net.h), then those behind ipc(2) (linux/ipc.h).
const SOCKETCALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPCS: [(&str, u8); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];
const IPC: u8 = 100;

/// A system call, whatever its number is on some ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row(u16);

/// Which system call of an old ABI carries the call, and under which code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mux {
    Socketcall(u32),
    Ipc(u32),
}

/// Where a call stands in its ABI's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Counted from the ABI's base.
    Common(u16),
    /// Counted from ARM's private base.
    Private(u16),
}

impl Row {
    /// How many there are.
    pub(super) const COUNT: usize = COUNT;

    /// Its number among them.
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The row of a name.
    pub(super) fn find(name: &str) -> Option<Self> {
        let mut bucket = hash(name.as_bytes());
        loop {
            let row = INDEX[bucket];
            if row == EMPTY {
                return None;
            }
            let row = Self(row);
            if same(row.bytes(), name.as_bytes()) {
                return Some(row);
            }
            bucket = (bucket + 1) % BUCKETS;
        }
    }

    fn bytes(self) -> &'static [u8] {
        let row = usize::from(self.0);
        &NAMES[usize::from(STARTS[row])..usize::from(STARTS[row + 1])]
    }

    /// The name.
    pub(super) fn name(self) -> &'static str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// The place in the table of an ABI, if it has the call.
    pub(super) fn place(self, abi: usize) -> Option<Place> {
        match NUMBERS[abi][usize::from(self.0)] {
            NONE => None,
            cell if cell >= PRIVATE => Some(Place::Private(cell - PRIVATE)),
            cell => Some(Place::Common(cell)),
        }
    }

    /// How an ABI with socketcall(2) and ipc(2) may carry the call.
    pub(super) fn mux(self) -> Option<Mux> {
        match MUX[usize::from(self.0)] {
            0 => None,
            code if code > IPC => Some(Mux::Ipc(u32::from(code - IPC))),
            code => Some(Mux::Socketcall(u32::from(code))),
        }
    }

    /// All names, for tests and for those who list them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).filter_map(|row| u16::try_from(row).ok()).map(Self)
    }
}

/// Multiplies eight bytes at a time, folded to a bucket.
const fn hash(name: &[u8]) -> usize {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    let mut rest = name;
    while !rest.is_empty() {
        let word;
        (word, rest) = word_of(rest);
        state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 29;
    }
    (state >> 40) as usize % BUCKETS
}

/// The first eight bytes, or fewer if there are no more, and what follows.
const fn word_of(name: &[u8]) -> (u64, &[u8]) {
    if let Some((word, rest)) = name.split_first_chunk() {
        return (u64::from_be_bytes(*word), rest);
    }
    let (mut word, mut at) = (0, 0);
    while at < name.len() {
        word = word << 8 | name[at] as u64;
        at += 1;
    }
    (word, &[])
}

const fn text_len() -> usize {
    let (mut row, mut len) = (0, 0);
    while row < COUNT {
        len += ROWS[row].0.len();
        row += 1;
    }
    len
}

const fn text() -> [u8; TEXT] {
    let mut text = [0; TEXT];
    let (mut row, mut at) = (0, 0);
    while row < COUNT {
        let name = ROWS[row].0.as_bytes();
        let mut byte = 0;
        while byte < name.len() {
            text[at] = name[byte];
            byte += 1;
            at += 1;
        }
        row += 1;
    }
    text
}

const fn starts() -> [u16; COUNT + 1] {
    assert!(TEXT < u16::MAX as usize && COUNT < EMPTY as usize);
    let mut starts = [0; COUNT + 1];
    let mut row = 0;
    while row < COUNT {
        #[allow(clippy::cast_possible_truncation)] // asserted above
        let len = ROWS[row].0.len() as u16;
        starts[row + 1] = starts[row] + len;
        row += 1;
    }
    starts
}

const fn numbers() -> [[u16; COUNT]; ABIS] {
    let mut numbers = [[NONE; COUNT]; ABIS];
    let mut row = 0;
    while row < COUNT {
        let mut abi = 0;
        while abi < ABIS {
            numbers[abi][row] = ROWS[row].1[abi];
            abi += 1;
        }
        row += 1;
    }
    numbers
}

const fn index() -> [u16; BUCKETS] {
    let mut index = [EMPTY; BUCKETS];
    let mut row = 0;
    while row < COUNT {
        let mut bucket = hash(ROWS[row].0.as_bytes());
        while index[bucket] != EMPTY {
            bucket = (bucket + 1) % BUCKETS;
        }
        #[allow(clippy::cast_possible_truncation)] // COUNT < EMPTY, see starts()
        let cell = row as u16;
        index[bucket] = cell;
        row += 1;
    }
    index
}

const fn mux() -> [u8; COUNT] {
    let mut mux = [0; COUNT];
    let mut code: u8 = 0;
    while (code as usize) < SOCKETCALLS.len() {
        mux[row_of(SOCKETCALLS[code as usize])] = code + 1;
        code += 1;
    }
    let mut entry = 0;
    while entry < IPCS.len() {
        mux[row_of(IPCS[entry].0)] = IPC + IPCS[entry].1;
        entry += 1;
    }
    mux
}

const fn row_of(name: &str) -> usize {
    let mut row = 0;
    while row < COUNT {
        if same(ROWS[row].0.as_bytes(), name.as_bytes()) {
            return row;
        }
        row += 1;
    }
    panic!("a multiplexed call is not in the table")
}

/// memcmp(3) of musl goes byte by byte.
const fn same(mut one: &[u8], mut other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    while !one.is_empty() {
        let (left, right);
        (left, one) = word_of(one);
        (right, other) = word_of(other);
        if left != right {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_name_and_nothing_else() {
        for (row, (name, _)) in ROWS.iter().enumerate() {
            let found = Row::find(name).unwrap();
            assert_eq!((usize::from(found.0), found.name()), (row, *name));
        }
        for name in ["", "writ", "write_", "no_such_call"] {
            assert_eq!(Row::find(name), None, "{name}");
        }
    }

    #[test]
    fn knows_the_old_multiplexers() {
        let mux = |name| Row::find(name).unwrap().mux();
        assert_eq!(mux("socket"), Some(Mux::Socketcall(1)));
        assert_eq!(mux("sendmmsg"), Some(Mux::Socketcall(20)));
        assert_eq!(mux("shmctl"), Some(Mux::Ipc(24)));
        assert_eq!(mux("read"), None);
    }

    #[test]
    fn probes_are_short() {
        let most = Row::all().map(|row| {
            let home = hash(row.bytes());
            (0..BUCKETS).find(|step| INDEX[(home + step) % BUCKETS] == row.0).unwrap()
        });
        assert!(most.max().unwrap() <= 6);
    }
}
