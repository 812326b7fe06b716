//! Words that nobody can guess: getrandom(2).

use rustix::io::{Result, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

/// `N` words of 128 bits, in hexadecimal digits.
///
/// # Errors
/// Those of getrandom(2).
pub fn words<const N: usize>() -> Result<[String; N]> {
    let mut bits = [[0u8; 16]; N];
    let mut buffer = bits.as_flattened_mut();
    while !buffer.is_empty() {
        let count = retry_on_intr(|| getrandom(&mut *buffer, GetRandomFlags::empty()))?;
        buffer = &mut buffer[count..];
    }
    Ok(bits.map(|word| format!("{:032x}", u128::from_ne_bytes(word))))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn no_two_are_the_same() {
        let [a, b, c] = words().unwrap();
        assert!(a != b && b != c && a != c);
        assert!([&a, &b, &c].iter().all(|word| word.len() == 32), "{a} {b} {c}");
    }
}
