//! "Did you mean": the known word that differs from a given one by the slip of a finger.
//! Pure, and for all who read words: the command line, keys and values of documents.

/// No known word is longer; a longer one is not compared.
const LONGEST: usize = 64;

/// The known word nearest to `word`: the same but for the case of letters, or at most two
/// letters are missing, too many, others, or swapped with their neighbour. In a word of
/// less than five letters it is one, and in a single letter none: else all would be near.
/// If there is none, the only one that ends in `_` and the word: `NET_ADMIN` is short for
/// `CAP_NET_ADMIN`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    among(word, &mut known.into_iter())
}

/// Compiled once, for all the lists there are.
fn among<'a>(word: &str, known: &mut dyn Iterator<Item = &'a str>) -> Option<&'a str> {
    let (mut best, mut ends, mut count) = (None, None, 0);
    // The first distance that is too far.
    let mut least = match word.len() {
        0 | 1 => 1,
        2..=4 => 2,
        _ => 3,
    };
    for candidate in known {
        let distance = distance(word.as_bytes(), candidate.as_bytes());
        if distance < least {
            (best, least) = (Some(candidate), distance);
        }
        if ends_in(candidate.as_bytes(), word.as_bytes()) {
            (ends, count) = (Some(candidate), count + 1);
        }
    }
    best.or(ends.filter(|_| count == 1))
}

/// Whether a known word is a prefix, `_` and `word`.
fn ends_in(known: &[u8], word: &[u8]) -> bool {
    let (before, end) = known.split_at(known.len().saturating_sub(word.len()));
    word.len() > 1 && before.ends_with(b"_") && end.eq_ignore_ascii_case(word)
}

/// The number of letters to add, to take away, to change or to swap with the next one; case
/// is no difference. `LONGEST` if a word is too long to be compared.
fn distance(one: &[u8], other: &[u8]) -> usize {
    if one.len() >= LONGEST || other.len() >= LONGEST || one.len().abs_diff(other.len()) > 2 {
        return LONGEST;
    }
    // Of the beginnings of `other` to the last three beginnings of `one`.
    let mut rows = [[0_usize; LONGEST]; 3];
    for (at, cell) in rows[0].iter_mut().enumerate() {
        *cell = at;
    }
    let same = |a: usize, b: usize| one[a].eq_ignore_ascii_case(&other[b]);
    for i in 1..=one.len() {
        let (now, before, two_before) = (i % 3, (i + 2) % 3, (i + 1) % 3);
        rows[now][0] = i;
        for j in 1..=other.len() {
            let changed = rows[before][j - 1] + usize::from(!same(i - 1, j - 1));
            let mut best = changed.min(rows[before][j] + 1).min(rows[now][j - 1] + 1);
            if i > 1 && j > 1 && same(i - 1, j - 2) && same(i - 2, j - 1) {
                best = best.min(rows[two_before][j - 2] + 1);
            }
            rows[now][j] = best;
        }
    }
    rows[one.len() % 3][other.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KNOWN: [&str; 12] = [
        "run",
        "list",
        "limit",
        "hostname",
        "namespaces",
        "capabilities",
        "prestart",
        "noNewPrivileges",
        "cpus",
        "CAP_NET_ADMIN",
        "rw",
        "ro",
    ];

    #[test]
    fn the_slip_of_a_finger_is_understood() {
        for (word, wanted) in [
            ("rum", "run"),
            ("rnu", "run"),
            ("RUN", "run"),
            ("lst", "list"),
            ("limits", "limit"),
            ("lmiit", "limit"),
            ("hostName", "hostname"),
            ("namespace", "namespaces"),
            ("nmaespaces", "namespaces"),
            ("capabilites", "capabilities"),
            ("capabilties", "capabilities"),
            ("preStart", "prestart"),
            ("noNewPrivilege", "noNewPrivileges"),
            ("noNewPriviliges", "noNewPrivileges"),
            ("cpu", "cpus"),
            ("cap_net_admin", "CAP_NET_ADMIN"),
        ] {
            assert_eq!(nearest(word, KNOWN), Some(wanted), "{word}");
        }
    }

    #[test]
    fn another_word_is_another_word() {
        let long = "x".repeat(100_000);
        for word in ["", "x", "xy", "qqq", "memory", "hostnames12", "caps", "runtime", &long] {
            assert_eq!(nearest(word, KNOWN), None, "{word}");
        }
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn the_nearest_one_is_taken_and_of_two_the_first() {
        assert_eq!(nearest("rwo", ["ro", "rw"]), Some("ro"));
        assert_eq!(nearest("limitt", ["limbo", "limits", "limit"]), Some("limits"));
        assert_eq!(nearest("Limit", ["limi", "limit"]), Some("limit"));
    }

    #[test]
    fn a_prefix_that_is_left_out_is_understood_if_one_word_has_it() {
        let known = ["CAP_KILL", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "SCMP_ACT_ALLOW"];
        for (word, wanted) in [
            ("NET_ADMIN", Some("CAP_NET_ADMIN")),
            ("net_admin", Some("CAP_NET_ADMIN")),
            ("kill", Some("CAP_KILL")),
            ("ALLOW", Some("SCMP_ACT_ALLOW")),
            ("ACT_ALLOW", Some("SCMP_ACT_ALLOW")),
            ("ADMIN", None),
            ("ILL", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), wanted, "{word}");
        }
    }

    #[test]
    fn letters_beyond_ascii_are_no_harm() {
        assert_eq!(nearest("l\u{ef}mit", KNOWN), Some("limit"));
        assert_eq!(nearest("\u{4e2d}\u{6587}", KNOWN), None);
    }
}
