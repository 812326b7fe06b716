//! Lists of CPUs and memory nodes, `0-3,7` (cpuset(7), "List format"), as the
//! bit masks that the kernel takes.

use super::Findings;
use crate::error::Error;

/// Bit `n` of the whole stands for CPU or node `n`.
pub type Mask = Vec<u64>;

/// The most CPUs that a kernel can be built for, and more than it can have of
/// memory nodes (`NR_CPUS` and `MAX_NUMNODES` of its configuration).
const LIMIT: u32 = 8192;

/// Reads a list; `None` if it is malformed, which is noted with `field`.
pub fn parse(field: &str, list: &str, findings: &mut Findings) -> Option<Mask> {
    let mut mask = Mask::new();
    for part in list.trim().split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = number(first).zip(number(last)).filter(|(first, last)| first <= last);
        let Some((first, last)) = range else {
            findings.error(
                Error::new(format!("{part:?} in {list:?} is neither a number nor a range"))
                    .at(field)
                    .hint("a list such as 0-3,7"),
            );
            return None;
        };
        if last >= LIMIT {
            findings.refuse(field, format!("{last} is above {}", LIMIT - 1));
            return None;
        }
        mask.resize(mask.len().max(last as usize / 64 + 1), 0);
        for word in first / 64..=last / 64 {
            let from = u64::MAX << first.saturating_sub(word * 64);
            let to = u64::MAX >> (63 - (last - word * 64).min(63));
            mask[word as usize] |= from & to;
        }
    }
    Some(mask)
}

/// Digits and nothing else: `str::parse` would take a sign.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks() {
        for (list, mask) in [
            ("0", vec![1]),
            ("0-3,7", vec![0x8f]),
            ("1, 3", vec![0xa]),
            ("64", vec![0, 1]),
            ("63-64", vec![1 << 63, 1]),
            ("0-127,62-193", vec![u64::MAX, u64::MAX, u64::MAX, 3]),
            ("70-71", vec![0, 0xc0]),
        ] {
            assert_eq!(parse("x", list, &mut Findings::default()), Some(mask), "{list}");
        }
    }

    #[test]
    fn nonsense_is_told_with_its_field() {
        for list in ["", "a", "1-", "-1", "3-1", "1,,2", "+1", "8192", "0-4294967296", "1-2-3"] {
            let mut findings = Findings::default();
            assert_eq!(parse("the.field", list, &mut findings), None, "{list}");
            let error = findings.finish(()).unwrap_err().to_string();
            assert!(error.contains("the.field: "), "{error}");
        }
    }
}
